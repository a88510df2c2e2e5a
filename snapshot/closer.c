#include "snapshot/closer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/compress.h"
#include "snapshot/format/quantity.h"

#define QUOTA_EVERY_NS (10 * NS_PER_SECOND) /* others fill the disk too */
#define CLOSER_NICE    10

struct compression {
	struct compression *next;
	char name[EVIDENCE_NAME_SIZE];
	char sha256[CUSTODY_HEX_SIZE];
};

struct closer {
	struct closer_config config;
	pthread_t thread;
	bool joined;
	atomic_bool skip_compression;

	/* The thread's own. */
	struct compression *compressions, **compressions_tail;
	int64_t quota_due_ns; /* CLOCK_MONOTONIC; 0 at first: what was left there counts */

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct segment *segments, **segments_tail;
	bool ending, quota_wanted;
	uint64_t expired;
};

static void finish_segment(struct closer *closer, struct segment *segment)
{
	struct compression *job = closer->config.compress ? calloc(1, sizeof *job) : NULL;
	char sha256[CUSTODY_HEX_SIZE];
	struct error error = ERROR_NONE;

	if (job)
		memcpy(job->name, segment->pcap, sizeof job->name);
	if (segment_finish(closer->config.store, segment, sha256, &error)) {
		closer->config.failed(closer->config.context, &error);
		free(job);
	} else if (job) {
		memcpy(job->sha256, sha256, sizeof job->sha256);
		*closer->compressions_tail = job;
		closer->compressions_tail = &job->next;
	}
}

static void compress_one(struct closer *closer)
{
	struct compression *job = closer->compressions;
	struct error error = ERROR_NONE;
	int status;

	closer->compressions = job->next;
	if (!closer->compressions)
		closer->compressions_tail = &closer->compressions;
	status = compress_segment(closer->config.store, job->name, job->sha256,
				  &closer->skip_compression, &error);
	/* Not compressed is still whole evidence. */
	if (status && status != ERROR_INTERRUPTED)
		closer->config.notice(closer->config.context, &error);
	free(job);
}

static void apply_quota(struct closer *closer)
{
	struct error error = ERROR_NONE;
	uint64_t expired;

	if (quota_apply(&closer->config.quota, closer->config.store, &expired, &error))
		closer->config.notice(closer->config.context, &error);
	closer->quota_due_ns = quantity_now_ns(CLOCK_MONOTONIC) + QUOTA_EVERY_NS;
	pthread_mutex_lock(&closer->lock);
	closer->expired += expired;
	pthread_mutex_unlock(&closer->lock);
}

/* With the lock. */
static struct segment *pop_segment(struct closer *closer)
{
	struct segment *segment = closer->segments;

	if (segment) {
		closer->segments = segment->next;
		if (!closer->segments)
			closer->segments_tail = &closer->segments;
		segment->next = NULL;
	}
	return segment;
}

static void run(struct closer *closer)
{
	pthread_mutex_lock(&closer->lock);
	for (;;) {
		struct segment *segment = pop_segment(closer);
		bool quota = segment || closer->quota_wanted ||
			     closer->quota_due_ns <= quantity_now_ns(CLOCK_MONOTONIC);

		if (!quota && !closer->compressions) {
			struct timespec until = {closer->quota_due_ns / NS_PER_SECOND,
						 closer->quota_due_ns % NS_PER_SECOND};

			if (closer->ending)
				break;
			pthread_cond_timedwait(&closer->changed, &closer->lock, &until);
			continue;
		}
		closer->quota_wanted = false;
		pthread_mutex_unlock(&closer->lock);
		if (segment)
			finish_segment(closer, segment);
		if (quota)
			apply_quota(closer);
		else
			compress_one(closer);
		pthread_mutex_lock(&closer->lock);
	}
	pthread_mutex_unlock(&closer->lock);
}

static void *closer_thread(void *context)
{
	struct closer *closer = context;

	setpriority(PRIO_PROCESS, (id_t)gettid(), CLOSER_NICE);
	run(closer);
	closer->config.ended(closer->config.context);
	return NULL;
}

static void release(struct closer *closer)
{
	pthread_cond_destroy(&closer->changed);
	pthread_mutex_destroy(&closer->lock);
	free(closer);
}

int closer_start(const struct closer_config *config, struct closer **out, struct error *error)
{
	struct closer *closer = calloc(1, sizeof *closer);
	pthread_condattr_t monotonic;

	if (!closer)
		return error_errno(error, NULL, "starting the closer thread");
	closer->config = *config;
	closer->segments_tail = &closer->segments;
	closer->compressions_tail = &closer->compressions;
	pthread_mutex_init(&closer->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&closer->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	errno = pthread_create(&closer->thread, NULL, closer_thread, closer);
	if (errno) {
		int status = error_errno(error, NULL, "starting the closer thread");

		release(closer);
		return status;
	}
	*out = closer;
	return 0;
}

void closer_push(struct closer *closer, struct segment *segment)
{
	pthread_mutex_lock(&closer->lock);
	segment->next = NULL;
	*closer->segments_tail = segment;
	closer->segments_tail = &segment->next;
	pthread_cond_signal(&closer->changed);
	pthread_mutex_unlock(&closer->lock);
}

void closer_hasten_quota(struct closer *closer)
{
	pthread_mutex_lock(&closer->lock);
	closer->quota_wanted = true;
	pthread_cond_signal(&closer->changed);
	pthread_mutex_unlock(&closer->lock);
}

void closer_end(struct closer *closer)
{
	pthread_mutex_lock(&closer->lock);
	closer->ending = true;
	pthread_cond_signal(&closer->changed);
	pthread_mutex_unlock(&closer->lock);
}

void closer_skip_compression(struct closer *closer)
{
	atomic_store(&closer->skip_compression, true);
}

uint64_t closer_expired(struct closer *closer)
{
	uint64_t expired;

	pthread_mutex_lock(&closer->lock);
	expired = closer->expired;
	pthread_mutex_unlock(&closer->lock);
	return expired;
}

void closer_wait(struct closer *closer)
{
	closer_end(closer);
	if (!closer->joined)
		pthread_join(closer->thread, NULL);
	closer->joined = true;
}

void closer_free(struct closer *closer)
{
	if (!closer)
		return;
	closer_wait(closer);
	release(closer);
}
