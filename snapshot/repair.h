/*
 * repair.h - closes up what a crashed recorder left behind.
 *
 * FORMAT.md, "After a crash", says what becomes of each kind of leftover.
 * Every step is logged in custody.log, and a crash in the middle of a repair
 * leaves something that the next one repairs.
 */
#ifndef SNAPSHOT_REPAIR_H
#define SNAPSHOT_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/segment.h"

struct repair_result {
	uint64_t files;	    /* closed up or set aside */
	uint64_t cut_bytes; /* of pcaps, those set aside included */
	uint64_t left;	    /* left alone: see notice */
};

/* The store is held by its lock, so nobody else writes these files. A name that
 * is no regular file, and a file that cannot be repaired, is left alone and
 * told to notice (may be NULL) and to custody.log: one name must not stop
 * every start. Negative only if the directory cannot be listed or synced. */
int repair_directory(struct segment_store *store, struct repair_result *result,
		     void (*notice)(void *context, const struct error *error), void *context,
		     struct error *error);

struct repair_scan {
	uint64_t whole_bytes; /* header and whole records; 0: it does not even begin as a pcap */
	uint64_t packets;
	/* What follows these is nothing, or the beginning of one more record; else
	 * something is missing in between. */
	bool is_torn;
};

/* Reads the pcap on fd from its start; bytes are untrusted. */
int repair_scan_pcap(int fd, const char *path, struct repair_scan *out, struct error *error);

#endif
