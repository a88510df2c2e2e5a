/*
 * compressor.h - finished captures, compressed when there is time and room.
 *
 * A thread of low priority: nobody waits for it, and what a compression takes goes back as
 * soon as the recording needs it (compress.h). A capture that was given up waits as a plain
 * file, and wants more room each time. The newest goes first: where there is not time for
 * all, the oldest ones expire soonest, and compressing them would be for nothing.
 */
#ifndef SNAPSHOT_COMPRESSOR_H
#define SNAPSHOT_COMPRESSOR_H

#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/segment.h"

struct compressor;

struct compressor_config {
	struct segment_store *store; /* borrowed */
	/* From its thread: a line for the user. */
	void (*notice)(void *context, const struct error *error);
	void *context;
};

int compressor_start(const struct compressor_config *config, struct compressor **out,
		     struct error *error);
/* A finished capture and what custody.log has of it; copied. Without memory for it, it stays
 * as it is. */
void compressor_push(struct compressor *compressor, const char *pcap,
		     const char sha256[CUSTODY_HEX_SIZE], uint64_t bytes);
/* There may be room now for what waits; and, where something has expired, less that waits. */
void compressor_look_again(struct compressor *compressor, bool expired);
/* Gives up what it does, and does no more. */
void compressor_skip(struct compressor *compressor);
/* Nothing is pushed any more: waits until all is done for which there is room. */
void compressor_wait(struct compressor *compressor);
/* compressor_wait, frees. NULL works. */
void compressor_free(struct compressor *compressor);

#endif
