/*
 * pcapfast.h - the records of a plain pcap file where nothing is unusual about them, read in
 * blocks and not copied out of them. What is the end, damage, or anything else that libpcap
 * has a rule for, is not told apart here: pcapin.c asks libpcap from that record on.
 */
#ifndef ANALYZE_PCAPFAST_H
#define ANALYZE_PCAPFAST_H

#include <stdbool.h>
#include <stdint.h>

struct pcapfast;

struct pcapfast_record {
	uint32_t seconds, fraction; /* as they stand in the file */
	uint32_t captured_bytes;    /* at data */
	uint32_t original_bytes;
	const uint8_t *data; /* valid until the next call */
};

/* fd: a regular file in the byte order of this host, borrowed; its offset is left alone. The
 * first record header stands at offset_bytes; no record is longer than longest_bytes, or it
 * is unusual. NULL: no memory. */
struct pcapfast *pcapfast_new(int fd, uint64_t offset_bytes, uint32_t longest_bytes);
/* True: the next record, and all of it. False: it is unusual, not all there, or cannot be
 * read; asked again, that may be the same or not. */
bool pcapfast_next(struct pcapfast *fast, struct pcapfast_record *record);
/* Whether the next record is there without reading, so that those given stay valid. */
bool pcapfast_has_next(const struct pcapfast *fast);
/* Why it cannot be read; 0: no read failed. */
int pcapfast_errno(const struct pcapfast *fast);
void pcapfast_free(struct pcapfast *fast);

#endif
