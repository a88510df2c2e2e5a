/*
 * compress.h - a finished pcap becomes gzip members of whole packets, with an index
 * beside it (FORMAT.md, "Compressed captures").
 *
 * The plain file goes when the compressed one is synced, read back and found equal,
 * logged and renamed, and not before. Runs in the background; never touches
 * what is still being written.
 */
#ifndef SNAPSHOT_COMPRESS_H
#define SNAPSHOT_COMPRESS_H

#include <stdatomic.h>

#include "snapshot/format/error.h"
#include "snapshot/segment.h"

/* Whether a finished pcap of so many bytes can be compressed (0), or the packets that come need
 * the room more (ERROR_LIMIT): files expire when a segment ends, and the next one gets about as
 * large as this one or the last, so that much, and a member, stays free for it. more_bytes: on
 * top of that. */
int compress_look_for_room(struct segment_store *store, const char *name, uint64_t bytes,
			   uint64_t more_bytes, struct error *error);

/* name is that of a finished pcap; sha256 what custody.log has of it: one that is another
 * by now is left as it is (ERROR_DAMAGED). So is one for which there is no room any more
 * (ERROR_LIMIT), which is looked at with each member. What it writes is lent (segment.h) until
 * it is whole.
 * Gives up without a trace when *cancel becomes true (ERROR_INTERRUPTED). A file that
 * has expired meanwhile is no error. On failure the plain file is there, unless only
 * its index could not be written, which error then names. */
int compress_segment(struct segment_store *store, const char *name, const char *sha256,
		     const atomic_bool *cancel, struct error *error);

#endif
