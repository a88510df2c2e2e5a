#include "snapshot/closer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snapshot/compressor.h"
#include "snapshot/format/quantity.h"

#define QUOTA_EVERY_NS (10 * NS_PER_SECOND) /* others fill the disk too */

struct closer {
	struct closer_config config;
	pthread_t thread;
	bool joined;
	struct compressor *compressor; /* NULL: nothing is compressed */

	/* The thread's own: CLOCK_MONOTONIC; 0 at first, as what was left there counts. */
	int64_t quota_due_ns;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct segment *segments, **segments_tail;
	bool ending, quota_wanted;
	uint64_t expired;
};

static void finish_segment(struct closer *closer, struct segment *segment)
{
	char pcap[EVIDENCE_NAME_SIZE], sha256[CUSTODY_HEX_SIZE];
	uint64_t bytes = segment->packets.bytes;
	struct error error = ERROR_NONE;

	memcpy(pcap, segment->pcap, sizeof pcap);
	if (segment_finish(closer->config.store, segment, sha256, &error))
		closer->config.failed(closer->config.context, &error);
	else if (closer->compressor)
		compressor_push(closer->compressor, pcap, sha256, bytes);
}

static void apply_quota(struct closer *closer)
{
	struct error error = ERROR_NONE;
	uint64_t expired;

	if (quota_apply(&closer->config.quota, closer->config.store, &expired, &error))
		closer->config.notice(closer->config.context, &error);
	/* Of each file that comes or goes there is a line, also when the disk is full. */
	segment_store_reserve_log(closer->config.store);
	if (closer->compressor)
		compressor_look_again(closer->compressor, expired > 0);
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
		bool full;

		if (!quota) {
			struct timespec until = {closer->quota_due_ns / NS_PER_SECOND,
						 closer->quota_due_ns % NS_PER_SECOND};

			if (closer->ending)
				break;
			pthread_cond_timedwait(&closer->changed, &closer->lock, &until);
			continue;
		}
		full = closer->quota_wanted;
		closer->quota_wanted = false;
		pthread_mutex_unlock(&closer->lock);
		if (full)
			segment_take_back(closer->config.store);
		if (segment)
			finish_segment(closer, segment);
		apply_quota(closer);
		pthread_mutex_lock(&closer->lock);
	}
	pthread_mutex_unlock(&closer->lock);
}

static void *closer_thread(void *context)
{
	struct closer *closer = context;

	run(closer);
	if (closer->compressor)
		compressor_wait(closer->compressor);
	closer->config.ended(closer->config.context);
	return NULL;
}

static void release(struct closer *closer)
{
	compressor_free(closer->compressor);
	pthread_cond_destroy(&closer->changed);
	pthread_mutex_destroy(&closer->lock);
	free(closer);
}

int closer_start(const struct closer_config *config, struct closer **out, struct error *error)
{
	const struct compressor_config compressor = {
		.store = config->store,
		.notice = config->notice,
		.context = config->context,
	};
	struct closer *closer = calloc(1, sizeof *closer);
	pthread_condattr_t monotonic;
	int status = 0;

	if (!closer)
		return error_errno(error, NULL, "starting the closer thread");
	closer->config = *config;
	closer->segments_tail = &closer->segments;
	pthread_mutex_init(&closer->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&closer->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (config->compress)
		status = compressor_start(&compressor, &closer->compressor, error);
	errno = status ? 0 : pthread_create(&closer->thread, NULL, closer_thread, closer);
	if (errno)
		status = error_errno(error, NULL, "starting the closer thread");
	if (status) {
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
	if (closer->compressor)
		compressor_skip(closer->compressor);
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
