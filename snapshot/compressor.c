#include "snapshot/compressor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "snapshot/compress.h"

#define COMPRESSOR_NICE 10

struct waiting {
	struct waiting *next; /* an older one */
	char pcap[EVIDENCE_NAME_SIZE];
	char sha256[CUSTODY_HEX_SIZE];
	uint64_t bytes;
	uint64_t more_bytes; /* what it wants beyond others, as it was given up before */
};

struct compressor {
	struct compressor_config config;
	pthread_t thread;
	bool joined;
	bool told; /* the thread's own: that there is no room, since there was */
	atomic_bool skip;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct waiting *newest; /* only the thread removes */
	bool look, expired, ending;
};

/* With the lock. */
static void drop(struct compressor *compressor, const struct waiting *capture)
{
	struct waiting **at = &compressor->newest, *next = capture->next;

	while (*at != capture)
		at = &(*at)->next;
	free(*at);
	*at = next;
}

/* With the lock. */
static void drop_expired(struct compressor *compressor)
{
	int dirfd = compressor->config.store->dirfd;

	for (struct waiting *capture = compressor->newest, *next; capture; capture = next) {
		next = capture->next;
		if (faccessat(dirfd, capture->pcap, F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
		    errno == ENOENT)
			drop(compressor, capture);
	}
}

/* Once until there is room again. */
static void tell(struct compressor *compressor, const struct error *error)
{
	if (!compressor->told)
		compressor->config.notice(compressor->config.context, error);
	compressor->told = true;
}

/* With the lock. The newest for which there is room. */
static struct waiting *choose(struct compressor *compressor)
{
	struct error error = ERROR_NONE;

	for (struct waiting *capture = compressor->newest; capture; capture = capture->next) {
		if (!compress_look_for_room(compressor->config.store, capture->pcap, capture->bytes,
					    capture->more_bytes, &error))
			return capture;
	}
	if (compressor->newest)
		tell(compressor, &error);
	return NULL;
}

/* True if it need not wait any longer. */
static bool compress(struct compressor *compressor, struct waiting *capture)
{
	const struct compressor_config *config = &compressor->config;
	struct error error = ERROR_NONE;
	int status = compress_segment(config->store, capture->pcap, capture->sha256,
				      &compressor->skip, &error);

	if (status == ERROR_LIMIT) {
		tell(compressor, &error);
		capture->more_bytes += capture->bytes;
		return false;
	}
	/* Not compressed is still whole evidence. */
	if (status && status != ERROR_INTERRUPTED)
		config->notice(config->context, &error);
	compressor->told = compressor->told && status;
	return true;
}

static void *compressor_thread(void *context)
{
	struct compressor *compressor = context;

	setpriority(PRIO_PROCESS, (id_t)gettid(), COMPRESSOR_NICE);
	pthread_mutex_lock(&compressor->lock);
	while (!atomic_load(&compressor->skip)) {
		struct waiting *capture;
		bool done;

		if (compressor->expired)
			drop_expired(compressor);
		compressor->look = compressor->expired = false;
		capture = choose(compressor);
		if (capture) {
			pthread_mutex_unlock(&compressor->lock);
			done = compress(compressor, capture);
			pthread_mutex_lock(&compressor->lock);
			if (done)
				drop(compressor, capture);
			continue;
		}
		if (compressor->ending)
			break;
		while (!compressor->look && !compressor->ending)
			pthread_cond_wait(&compressor->changed, &compressor->lock);
	}
	pthread_mutex_unlock(&compressor->lock);
	return NULL;
}

static void release(struct compressor *compressor)
{
	while (compressor->newest)
		drop(compressor, compressor->newest);
	pthread_cond_destroy(&compressor->changed);
	pthread_mutex_destroy(&compressor->lock);
	free(compressor);
}

int compressor_start(const struct compressor_config *config, struct compressor **out,
		     struct error *error)
{
	struct compressor *compressor = calloc(1, sizeof *compressor);

	if (!compressor)
		return error_errno(error, NULL, "starting the compressor thread");
	compressor->config = *config;
	pthread_mutex_init(&compressor->lock, NULL);
	pthread_cond_init(&compressor->changed, NULL);
	errno = pthread_create(&compressor->thread, NULL, compressor_thread, compressor);
	if (errno) {
		int status = error_errno(error, NULL, "starting the compressor thread");

		release(compressor);
		return status;
	}
	*out = compressor;
	return 0;
}

/* With the lock. */
static void wake(struct compressor *compressor)
{
	compressor->look = true;
	pthread_cond_signal(&compressor->changed);
}

void compressor_push(struct compressor *compressor, const char *pcap,
		     const char sha256[CUSTODY_HEX_SIZE], uint64_t bytes)
{
	struct waiting *capture = calloc(1, sizeof *capture);

	if (!capture)
		return;
	snprintf(capture->pcap, sizeof capture->pcap, "%s", pcap);
	memcpy(capture->sha256, sha256, sizeof capture->sha256);
	capture->bytes = bytes;
	pthread_mutex_lock(&compressor->lock);
	capture->next = compressor->newest;
	compressor->newest = capture;
	wake(compressor);
	pthread_mutex_unlock(&compressor->lock);
}

void compressor_look_again(struct compressor *compressor, bool expired)
{
	pthread_mutex_lock(&compressor->lock);
	compressor->expired = compressor->expired || expired;
	wake(compressor);
	pthread_mutex_unlock(&compressor->lock);
}

void compressor_skip(struct compressor *compressor)
{
	atomic_store(&compressor->skip, true);
	pthread_mutex_lock(&compressor->lock);
	wake(compressor);
	pthread_mutex_unlock(&compressor->lock);
}

void compressor_wait(struct compressor *compressor)
{
	pthread_mutex_lock(&compressor->lock);
	compressor->ending = true;
	wake(compressor);
	pthread_mutex_unlock(&compressor->lock);
	if (!compressor->joined)
		pthread_join(compressor->thread, NULL);
	compressor->joined = true;
}

void compressor_free(struct compressor *compressor)
{
	if (!compressor)
		return;
	compressor_wait(compressor);
	release(compressor);
}
