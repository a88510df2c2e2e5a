/*
 * pcapindex.h - the index of a compressed capture: where in the file, and at which
 * packet, its members begin. FORMAT.md has its fields.
 *
 * It is an aid and no evidence: whoever uses a place of it holds what is read
 * there against it. Never reads packets.
 */
#ifndef SNAPSHOT_FORMAT_PCAPINDEX_H
#define SNAPSHOT_FORMAT_PCAPINDEX_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

/* A capture of a TiB in members of a MiB. What has more is read without its index:
 * memory for a file's claims must have an end. */
#define PCAPINDEX_MAX_MEMBERS (1u << 20)

/* A gzip file ends with the CRC-32 and the length of what its last member holds. */
#define PCAPINDEX_TAIL_BYTES 8

/* A member that begins at a packet, or with the header of the capture. */
struct pcapindex_member {
	uint64_t offset_bytes;	/* in the file as it lies there */
	uint64_t content_bytes; /* before it, of the uncompressed capture */
	uint64_t packet;	/* number of its first one, from 1 */
	int64_t time_ns;	/* of that packet, 0..QUANTITY_MAX_TIME_NS; 0: there is none */
};

struct pcapindex {
	struct pcapindex_member *members; /* from the front; owned */
	size_t count, capacity;
	uint64_t file_bytes, content_bytes, packets; /* of the whole */
	uint8_t tail[PCAPINDEX_TAIL_BYTES];	     /* the last bytes of the file */
};

/* The name of a capture's index into name, which is as long as names get. */
#define PCAPINDEX_NAME_SIZE 272
void pcapindex_name(const char *pcap, char name[PCAPINDEX_NAME_SIZE]);
/* Adds a member behind the others. ERROR_MEMORY; ERROR_LIMIT: there are PCAPINDEX_MAX_MEMBERS. */
int pcapindex_add(struct pcapindex *index, const struct pcapindex_member *member,
		  struct error *error);
/* Takes the size and the last bytes of the capture on fd, which is complete. */
int pcapindex_seal(struct pcapindex *index, int fd, const char *path, struct error *error);
/* Replaces name in dirfd, by way of name.part: it is whole, or as it was. What is there and
 * does not begin as an index does is somebody else's, and stays (ERROR_SYSTEM). */
int pcapindex_write(const struct pcapindex *index, int dirfd, const char *name,
		    struct error *error);
/* Removes it, or what else is there stays (ERROR_SYSTEM). 0 if nothing is there. */
int pcapindex_remove(int dirfd, const char *name, struct error *error);
/* 0; ERROR_NO_INPUT, ERROR_DAMAGED (no index, not whole, or what it says cannot be) or another
 * failure; *out is empty then. */
int pcapindex_read(int dirfd, const char *name, struct pcapindex *out, struct error *error);
/* Whether it is that of the capture on fd, as far as can be told without reading that: its
 * size and its last bytes. ERROR_DAMAGED: it is not, or no longer. path is the index's. */
int pcapindex_belongs(const struct pcapindex *index, int fd, const char *path, struct error *error);
void pcapindex_release(struct pcapindex *index);

#endif
