/*
 * timeline_internal.h - what timeline.c (chains, reading, questions) and
 * timeline_take.c (one record after the other into lives) share.
 */
#ifndef ANALYZE_TIMELINE_INTERNAL_H
#define ANALYZE_TIMELINE_INTERNAL_H

#include "analyze/timeline.h"

struct timeline_block {
	struct timeline_block *next;
	size_t used, size;
	char bytes[];
};

uint64_t timeline_hash_tuple(uint8_t protocol, const struct endpoint *local,
			     const struct endpoint *remote);
uint64_t timeline_hash_identity(const struct timeline_socket *s);
uint64_t timeline_hash_of_identity(const void *context, uint32_t i);
uint64_t timeline_hash_port(uint8_t protocol, uint16_t port);
uint64_t timeline_hash_process(uint32_t pid, uint64_t start_ticks);
uint64_t timeline_hash_of_tuple(const void *context, uint32_t i);
uint64_t timeline_hash_of_port(const void *context, uint32_t i);
uint64_t timeline_hash_of_process(const void *context, uint32_t i);
uint64_t timeline_hash_of_inode(const void *context, uint32_t i);
uint64_t timeline_hash_of_address(const void *context, uint32_t i);
bool timeline_endpoints_equal(const struct endpoint *a, const struct endpoint *b);

bool timeline_life_open(const struct timeline_life *life);
/* Ends a life at the frame in hand, or, without has_gone, at the end of the file. */
void timeline_life_end(const struct timeline *tl, struct timeline_life *life, bool has_gone);
/* Takes one record in. 0, or -1 without memory. */
int timeline_take(struct timeline *tl, const struct snap_record *record);

#endif
