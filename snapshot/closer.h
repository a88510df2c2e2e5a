/*
 * closer.h - what happens to segments once nothing more is written to them.
 *
 * One thread syncs, hashes, logs and renames them and applies the quotas, so that nobody
 * else waits for it. What makes room waits for nothing, so compressing them is another
 * thread's (compressor.h).
 */
#ifndef SNAPSHOT_CLOSER_H
#define SNAPSHOT_CLOSER_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/quota.h"
#include "snapshot/segment.h"

struct closer;

struct closer_config {
	struct segment_store *store; /* borrowed */
	struct quota quota;
	bool compress;
	/* From the closer's thread. failed: evidence could not be finished as it
	 * should. notice: a line for the user, from the compressor's thread too. ended: the
	 * last act. */
	void (*failed)(void *context, const struct error *error);
	void (*notice)(void *context, const struct error *error);
	void (*ended)(void *context);
	void *context;
};

int closer_start(const struct closer_config *config, struct closer **out, struct error *error);
/* Takes the segment over. */
void closer_push(struct closer *closer, struct segment *segment);
/* Looks at the quotas soon: the disk is full. */
void closer_hasten_quota(struct closer *closer);
/* Nothing is pushed any more: the thread ends when it is done, compressing included. */
void closer_end(struct closer *closer);
/* Leaves out compression from now on. */
void closer_skip_compression(struct closer *closer);
uint64_t closer_expired(struct closer *closer); /* segments deleted so far */
void closer_wait(struct closer *closer);	/* closer_end, then for the thread */
/* closer_wait, frees. NULL works. */
void closer_free(struct closer *closer);

#endif
