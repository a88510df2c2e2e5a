/*
 * pcapin.h - packets in, from plain or gzip files: pcap through libpcap, pcapng
 * through pcapng.h. The only file of the analyzer that knows libpcap. Never decodes.
 */
#ifndef ANALYZE_PCAPIN_H
#define ANALYZE_PCAPIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "snapshot/format/error.h"

struct pcapin;

struct pcapin_packet {
	int64_t time_ns;	 /* Unix time, clamped to 0..QUANTITY_MAX_TIME_NS */
	uint64_t number;	 /* from 1, as tshark's frame.number */
	uint64_t offset_bytes;	 /* of the record header in the uncompressed file; 0 for pcapng */
	uint32_t captured_bytes; /* at data */
	uint32_t original_bytes; /* on the wire */
	int link_type;		 /* libpcap DLT number; pcapng: LINKTYPE_ of its interface */
	const uint8_t *data;	 /* valid until the next call */
};

/* Where a packet begins, so that reading can go on from there. */
struct pcapin_place {
	uint64_t file_offset_bytes; /* in the file as it lies there: a record header, or the
				       beginning of a gzip member */
	uint64_t offset_bytes;	    /* of the record header in the uncompressed file */
	uint64_t number;	    /* of that packet, from 1 */
};

/* Opens pcap or pcapng, plain or gzip, by path relative to dirfd (AT_FDCWD
 * works). ERROR_NO_INPUT, ERROR_DAMAGED (no pcap: says which bytes were
 * found) or ERROR_SYSTEM. An empty capture is fine. */
int pcapin_open(int dirfd, const char *path, struct pcapin **out, struct error *error);
/* The same, and hashes what gzip gives as it is read. */
int pcapin_open_hashed(int dirfd, const char *path, struct pcapin **out, struct error *error);
/* Either of the two of an open file, which is taken over, also on failure; path is for
 * messages. */
int pcapin_open_descriptor(int fd, const char *path, bool hashed, struct pcapin **out,
			   struct error *error);
/* Its file, borrowed: to be kept by dup(2), not read. */
int pcapin_descriptor(const struct pcapin *in);
/* Opens the file of a descriptor once more, to be read by itself from its beginning, whatever
 * has its name by now; needs /proc. As pcapin_open, path is for messages. */
int pcapin_open_anew(int fd, const char *path, struct pcapin **out, struct error *error);
bool pcapin_can_open_anew(void); /* whether there is a /proc */
bool pcapin_is_gzip(const struct pcapin *in);
/* SHA-256 of the capture as it was before gzip, in hex, once pcapin_next has returned 0.
 * NULL: it was opened without, is not gzip, or was not read to its end. Lives as in does. */
const char *pcapin_content_sha256(struct pcapin *in);
/* libpcap DLT number; pcapng: LINKTYPE_ of the first interface, -1 if it has none. */
int pcapin_link_type(const struct pcapin *in);
uint32_t pcapin_snaplen(const struct pcapin *in);
/* How much of the file, as it lies there, is behind the last packet: of gzip, and of what is
 * no regular file, the bytes taken from it, some of them ahead of that packet. */
uint64_t pcapin_read_bytes(const struct pcapin *in);
/* 1 packet, 0 end, ERROR_DAMAGED when the file breaks off or a record header
 * makes no sense, or when the file became shorter than what was read: error says at which offset
 * and after which packet; the packets before it are good. Never returns a packet that is only
 * partly there. */
int pcapin_next(struct pcapin *in, struct pcapin_packet *packet, struct error *error);
/* As many of the next packets as stand beside each other in memory, from 1 to count; the data of
 * all is valid until the next call. 0 where pcapin_next would not return 1: *status is what it
 * would return, else 1. */
size_t pcapin_next_few(struct pcapin *in, struct pcapin_packet *packets, size_t count, int *status,
		       struct error *error);
/* The next packet is the one at place, which is one of this file; what ended or stopped the
 * reading before is forgotten. ERROR_SYSTEM: the capture is not one that can be read from its
 * middle, the file cannot be sought in, or no gzip member begins there; it goes on as it was then.
 * In a gzip file a place that somebody else names may be none: what is read from there counts
 * only if reading up to it ends in it, by pcapin_where. */
int pcapin_seek(struct pcapin *in, const struct pcapin_place *place, struct error *error);
/* The place behind the last packet; file_offset_bytes is 0 where pcapin_seek has no use for it, as
 * in the middle of a gzip member. */
struct pcapin_place pcapin_where(const struct pcapin *in);
static inline bool pcapin_same_place(const struct pcapin_place *a, const struct pcapin_place *b)
{
	return a->file_offset_bytes == b->file_offset_bytes && a->offset_bytes == b->offset_bytes &&
	       a->number == b->number;
}
/* How the records of a capture lie that pcapin_seek can go to, for who reads them by
 * themselves (pcapwalk.h). */
struct pcapin_layout {
	int fd; /* borrowed; its position is not to be moved: pread(2) */
	int link_type;
	bool big_endian;
	uint32_t record_header_bytes;
	uint32_t snaplen; /* a record that has more may be cut by who reads it */
	int64_t unit_ns;  /* of the fraction in a time: it is seconds and unit_ns times that */
};
/* false: the capture is no such one. */
bool pcapin_layout(const struct pcapin *in, struct pcapin_layout *layout);
void pcapin_close(struct pcapin *in);

#endif
