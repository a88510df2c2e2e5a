/*
 * segment.h - pairs of files: opened, written, finished.
 *
 * A segment is a pcap and a snap file of one window. Both are written as
 * *.part; finishing syncs, hashes, logs and renames them. The packets and the
 * frames may be written by two threads, one each.
 */
#ifndef SNAPSHOT_SEGMENT_H
#define SNAPSHOT_SEGMENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/error.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/snapfile.h"
#include "snapshot/pcapfile.h"

/* Kept aside on the file system for the snap file being written, and a part
 * of it for custody.log, so that a disk full of packets still takes what
 * explains them. Never more than an eighth of what is free. */
#define SEGMENT_SNAP_RESERVE	(UINT64_C(1) << 20)
#define SEGMENT_CUSTODY_RESERVE (UINT64_C(64) << 10)

/* The evidence directory of one recorder, held by a lock. */
struct segment_store {
	int dirfd;
	char path[256]; /* for messages */
	struct custody *custody;
	uint64_t next_number;
	uint64_t ignored_numbers; /* names with numbers that nothing follows; see segment.c */
	uint64_t snap_reserve;
	/* A custody.log that could not be continued: its name now ("" if there
	 * was none), and what is wrong with it. */
	char damaged_log[32];
	struct error log_damage;

	/* Held while finished files go or take another's place, so that each decision sees them
	 * as they are. */
	pthread_mutex_t finished;
	pthread_mutex_t lending;  /* held for a moment only; what is below */
	uint64_t last_pcap_bytes; /* of the capture that was finished last */
	/* What a compression has written so far, and nothing vouches for: room that can be had
	 * back at any time. */
	int lent_fd; /* -1: nothing */
	uint64_t lent_bytes;
};

struct segment_meta {
	const char *key;
	const char *value; /* NULL: not known */
	size_t length;
};

struct segment {
	struct segment *next; /* for the lists of who owns it */
	struct evidence_stem stem;
	char pcap[EVIDENCE_NAME_SIZE], snap[EVIDENCE_NAME_SIZE]; /* without .part */
	int64_t opened_monotonic_ns;

	struct pcapfile packets; /* of the thread that writes packets */

	/* Of the thread that writes frames. */
	struct snapfile_writer *writer;
	int snap_fd;	     /* a second descriptor of the same file, for its reserve */
	uint64_t snap_bytes; /* up to the last whole frame */
	uint64_t snap_reserved;
	uint64_t frames;
	bool snap_failed; /* nothing can be added any more */
};

/* Opens the directory, which is made (0700) if it is missing, takes its lock
 * and opens custody.log. *repaired_bytes as custody_open. A custody.log that is
 * damaged or no file is renamed (damaged_log), and a new one begun.
 * The store does not own what path points to. */
int segment_directory_open(const char *path, bool *made, int *dirfd, struct error *error);
int segment_store_open(int dirfd, const char *path, struct segment_store *store,
		       uint64_t *repaired_bytes, struct error *error);
void segment_store_close(struct segment_store *store); /* dirfd too */
/* Keeps room for the log and the snap files to come, as far as the file system allows; call
 * after space came back. */
void segment_store_reserve(struct segment_store *store);
/* Of that the log's part, which each line takes from. From any thread. */
void segment_store_reserve_log(struct segment_store *store);

/* A new file, open for writing, becomes what is lent. Until segment_end_lending it can be emptied
 * at any time, by another thread. */
void segment_lend(struct segment_store *store, int fd);
/* So many bytes more were written. False: it was taken back, and is worth nothing. */
bool segment_lend_more(struct segment_store *store, uint64_t bytes);
/* It can no longer be taken back. False: it was. */
bool segment_end_lending(struct segment_store *store);
/* For who finds no room; empties what is lent. False: nothing was. */
bool segment_take_back(struct segment_store *store);

int segment_log(struct segment_store *store, const char *event, const char *file, int64_t bytes,
		const char *sha256, const char *detail, struct error *error);

/* Opens the next pair under the store's next number, writes both headers and
 * the key frame. On failure nothing is left behind. The number is used up only
 * by segment_commit, which logs `open`. */
int segment_open(struct segment_store *store, const uint8_t pcap_header[24],
		 const struct segment_meta *meta, size_t meta_count, const struct snapframe *key,
		 struct segment **out, struct error *error);
int segment_commit(struct segment_store *store, struct segment *segment, struct error *error);
/* Removes a segment that was never committed. */
void segment_abandon(struct segment_store *store, struct segment *segment);

/* On failure snap_failed is set and the file keeps its whole frames. Once
 * snap_failed is set, does nothing and returns 0. */
int segment_write_frame(struct segment_store *store, struct segment *segment,
			const struct snapframe *frame, struct error *error);

/* The same without a flush to disk, for frames that come in numbers: the next frame's flush is of
 * everything since the last. */
int segment_write_event(struct segment *segment, const struct snapframe *frame,
			struct error *error);

/* Closes, syncs, hashes, logs and renames both files; frees the segment. All
 * packets must have been settled (pcapfile.h). The pcap's hash is in pcap_sha256 if 0. */
int segment_finish(struct segment_store *store, struct segment *segment,
		   char pcap_sha256[CUSTODY_HEX_SIZE], struct error *error);

/* Renames name.part to name after logging event with its hash; never replaces a file. */
int segment_publish(struct segment_store *store, const char *part, const char *name,
		    const char *event, const char *detail, struct error *error);
/* The same of a file that was hashed as it was written. */
int segment_publish_hashed(struct segment_store *store, const char *part, const char *name,
			   const char *event, const char *sha256, uint64_t bytes,
			   const char *detail, struct error *error);

#endif
