/*
 * quota.h - which finished segments go when a limit is reached, oldest first.
 *
 * Deletes only whole finished pairs, never a .part, and logs each file in
 * custody.log before it goes. No limit set: deletes nothing.
 */
#ifndef SNAPSHOT_QUOTA_H
#define SNAPSHOT_QUOTA_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/evidence.h"
#include "snapshot/segment.h"

struct quota {
	uint64_t keep_size;	  /* bytes of all segments together; 0: no limit */
	int64_t keep_time_ns;	  /* 0: no limit */
	uint64_t keep_free_bytes; /* 0: no limit */
	uint32_t keep_free_ppm;	  /* 0: no limit */
};

/* What the file system says. */
struct quota_space {
	uint64_t total_bytes, free_bytes;
};

/* How many of the list's finished segments go, from the oldest on: which is the first
 * (into the list; NULL if none), and why (a word of ours, the last one's; NULL if none). A
 * segment ends where the next one begins. Those with a .part stay and are passed over, and so
 * is an index alone; where nothing newer is being written, the last finished one stays. What
 * is passed over counts only where it is being written: behind all that is finished, and
 * more than a .pcap.gz.part. Pure. */
size_t quota_choose(const struct quota *quota, const struct evidence_list *list,
		    const struct quota_space *space, int64_t now_ns,
		    const struct evidence_segment **first, const char **reason);

/* Applies the limits once. *expired: how many segments were deleted. */
int quota_apply(const struct quota *quota, struct segment_store *store, uint64_t *expired,
		struct error *error);

#endif
