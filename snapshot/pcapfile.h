/*
 * pcapfile.h - the pcap file that is being written.
 *
 * Packets are gathered into pieces, hashed as they are gathered, and whole
 * pieces go to the disk past the page cache (O_DIRECT) where the file system
 * can: a write through the page cache costs as much CPU as hashing, and a
 * recording would push out of it what the host needs. What is left over when
 * nothing more is coming, and all of it while the disk is slower than the
 * packets, goes through the page cache. One thread at a time; never syncs
 * before pcapfile_close, never waits for anything but its own writes.
 */
#ifndef SNAPSHOT_PCAPFILE_H
#define SNAPSHOT_PCAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/capture.h"
#include "snapshot/format/custody.h"
#include "snapshot/format/error.h"
#include "snapshot/format/evidence.h"

/* One huge page (x86, arm64 with 4 KiB pages): its memory is handed to the
 * disk as one, and the cost of a write does not show beside that of hashing. */
#define PCAPFILE_PIECE_BYTES (2u << 20)
/* A file is only begun with room for this many bytes of packets, so that a
 * full disk does not fill with empty segments. */
#define PCAPFILE_ROOM_BYTES (256u << 10)

struct pcapfile {
	uint64_t bytes, packets; /* taken */
	/* A place between two records before which everything is in the file. */
	uint64_t safe_bytes, safe_packets;

	/* For messages: the directory, which outlives this, and the file. */
	const char *path;
	char name[EVIDENCE_NAME_SIZE + sizeof EVIDENCE_PART];
	int fd;			    /* -1: there is no file */
	int direct_fd;		    /* of the same file, O_DIRECT; -1: not used */
	uint8_t *piece;		    /* bytes of the file from base on */
	size_t held;		    /* bytes in piece */
	size_t settled;		    /* of these already in the file */
	uint64_t base;		    /* a multiple of the alignment while direct_fd is used */
	struct evp_md_ctx_st *hash; /* of what was taken; NULL: unknown */
	/* Asked when a write finds no room; true: there is more now. NULL: nobody is. Set by
	 * whoever created the file. */
	bool (*make_room)(void *context);
	void *room_context;
};

/* Makes name in dirfd, which must not exist, and writes the header. Fails when
 * there is no room for a few packets. On failure a file may be left (fd). */
int pcapfile_create(struct pcapfile *file, int dirfd, const char *path, const char *name,
		    const uint8_t header[PCAPHEAD_FILE_BYTES], struct error *error);

/* Takes whole records. more: others follow at once, so that what fills no
 * piece may wait for them; else everything is in the file afterwards. On
 * failure (a full disk) the file is cut back to its last whole record, which
 * is safe_bytes then, and goes on from there; *lost says how many packets, of
 * these and of those that waited, it does not have. 0 on success. */
int pcapfile_write(struct pcapfile *file, const uint8_t *records, size_t length, uint64_t packets,
		   bool more, uint64_t *lost, struct error *error);
/* Writes what waits. *lost as above. */
int pcapfile_settle(struct pcapfile *file, uint64_t *lost, struct error *error);
/* From now on through the page cache, which takes more than the disk can. */
void pcapfile_use_cache(struct pcapfile *file);
/* Nothing more is written: frees what writing needs. */
void pcapfile_end(struct pcapfile *file);

/* Cuts off what was kept aside, syncs, closes. *hashed: sha256 is the file's;
 * else it must be read for it. Everything must have been settled. */
int pcapfile_close(struct pcapfile *file, char sha256[CUSTODY_HEX_SIZE], bool *hashed,
		   struct error *error);
/* Closes as it is; a second time does nothing. */
void pcapfile_release(struct pcapfile *file);

#endif
