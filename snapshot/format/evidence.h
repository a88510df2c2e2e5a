/*
 * evidence.h - the evidence directory: names of segments and their pairs.
 *
 * Knows names and nothing of content. Directories are used by descriptor.
 */
#ifndef SNAPSHOT_FORMAT_EVIDENCE_H
#define SNAPSHOT_FORMAT_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

#define EVIDENCE_NAME_SIZE 80 /* the longest stem, suffix and ".part", with NUL */

/* A segment a second for thirty thousand years. Names with more are none of
 * ours: without a limit one such name would leave no number for the next segment. */
#define EVIDENCE_MAX_NUMBER UINT64_C(1000000000000)

#define EVIDENCE_PCAP	 ".pcap"
#define EVIDENCE_PCAP_GZ ".pcap.gz"
#define EVIDENCE_IDX	 ".idx" /* behind .pcap.gz: its index */
#define EVIDENCE_SNAP	 ".snap.gz"
#define EVIDENCE_PART	 ".part"

struct evidence_stem {
	uint64_t number;   /* 1..EVIDENCE_MAX_NUMBER */
	int64_t opened_ns; /* CLOCK_REALTIME, 0..QUANTITY_MAX_TIME_NS */
};

/* One segment as found in a directory: which of its files are there. */
struct evidence_segment {
	struct evidence_stem stem;
	char pcap[EVIDENCE_NAME_SIZE]; /* file name, "" if missing; .part names included */
	char snap[EVIDENCE_NAME_SIZE];
	bool pcap_is_part, snap_is_part;
	uint64_t pcap_bytes, snap_bytes;
	uint64_t index_bytes; /* of a compressed pcap's index; 0: none */
	bool has_both;	      /* pcap is a .pcap, and a .pcap.gz is there too */
	uint64_t both_bytes;  /* of that .pcap.gz */
};

struct evidence_list {
	struct evidence_segment *segments; /* by number, then time; owned */
	size_t count, capacity;
	/* Names of segments' files that no regular file has, such as a link to nowhere, and the
	 * first of them; not among the segments. */
	size_t odd_count;
	char odd_name[EVIDENCE_NAME_SIZE];
};

/* By number, then time; as strcmp. */
int evidence_compare(const struct evidence_stem *a, const struct evidence_stem *b);
/* "000001-20261121T203000.123456789Z" + suffix into name. */
void evidence_name(const struct evidence_stem *stem, const char *suffix,
		   char name[EVIDENCE_NAME_SIZE]);
/* The reverse: 0 and the suffix (pointing into name), or -1 if it is no
 * segment's name, its number or time out of range included. */
int evidence_parse_name(const char *name, struct evidence_stem *stem, const char **suffix);
/* Whether name ends with suffix, and is not it alone. */
bool evidence_has_suffix(const char *name, const char *suffix);

/* Opens a regular file of an evidence directory and nothing else; never waits,
 * as opening a FIFO would. flags are open(2)'s; O_CLOEXEC, O_NOCTTY and
 * O_NONBLOCK are added, mode 0600 where O_CREAT is among them. The descriptor,
 * or ERROR_NO_INPUT, ERROR_SYSTEM, or ERROR_DAMAGED where another kind of file
 * (with O_NOFOLLOW: a symbolic link) has the name. path is for messages. */
int evidence_open_file(int dirfd, const char *name, int flags, const char *path,
		       struct error *error);

/* Writes all of length bytes where fd stands, in as many calls as it takes. 0, or -1 with
 * errno; how much was written then is not known. */
int evidence_write_all(int fd, const void *bytes, size_t length);

/* Lists the segments of a directory. Both .pcap and .pcap.gz of one stem: the
 * .pcap counts (the .gz is being made, or somebody unpacked it). What is there all the time
 * is found, under the one or the other name, also while a recorder renames, compresses and
 * deletes; ERROR_SYSTEM if so much changes that this cannot be said. */
int evidence_list_read(int dirfd, const char *path, struct evidence_list *out, struct error *error);
void evidence_list_release(struct evidence_list *list);

#endif
