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

/* name is that of a finished pcap; sha256 what custody.log has of it: one that is another
 * by now is left as it is (ERROR_DAMAGED). So is one beside which not as much as it has, and
 * a member, stays free for what is being recorded (ERROR_LIMIT).
 * Gives up without a trace when *cancel becomes true (ERROR_INTERRUPTED). A file that
 * has expired meanwhile is no error. On failure the plain file is there, unless only
 * its index could not be written, which error then names. */
int compress_segment(struct segment_store *store, const char *name, const char *sha256,
		     const atomic_bool *cancel, struct error *error);

#endif
