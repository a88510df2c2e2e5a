/*
 * repair.h - closes up what a crashed recorder left behind.
 *
 * FORMAT.md, "After a crash", says what becomes of each kind of leftover.
 * Every step is logged in custody.log, and a crash in the middle of a repair
 * leaves something that the next one repairs.
 */
#ifndef SNAPSHOT_REPAIR_H
#define SNAPSHOT_REPAIR_H

#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/segment.h"

struct repair_result {
	uint64_t files;	    /* closed up or set aside */
	uint64_t cut_bytes; /* of pcaps */
	uint64_t left;	    /* left alone: see notice */
};

/* The store is held by its lock, so nobody else writes these files. A name that
 * is no regular file, and a file that cannot be repaired, is left alone and
 * told to notice (may be NULL) and to custody.log: one name must not stop
 * every start. Negative only if the directory cannot be listed or synced. */
int repair_directory(struct segment_store *store, struct repair_result *result,
		     void (*notice)(void *context, const struct error *error), void *context,
		     struct error *error);

/* How many bytes of the pcap on fd are a header and whole records, and how
 * many records these are; whole_bytes 0 if it does not even begin as a pcap.
 * Reads the file from its start; bytes are untrusted. */
int repair_scan_pcap(int fd, const char *path, uint64_t *whole_bytes, uint64_t *packets,
		     struct error *error);

#endif
