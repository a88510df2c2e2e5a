/*
 * pcapng.h - packets of a pcapng file (draft-ietf-opsawg-pcapng).
 *
 * libpcap reads one link type and one snaplen from such a file and gives up at a
 * second one; a file of several interfaces has several. Only pcapin.c uses
 * this. Blocks that hold no packet are passed over. Never decodes.
 */
#ifndef ANALYZE_PCAPNG_H
#define ANALYZE_PCAPNG_H

#include <stdint.h>
#include <stdio.h>

#define PCAPNG_TEXT_SIZE 128

/* | block | type | body that is read; numbers in the byte order of the section |
 * |---|---|---|
 * | section header | 0x0a0d0d0a | order u32 0x1a2b3c4d, major u16 1, minor u16, … |
 * | interface | 1 | link type u16, reserved u16, snaplen u32, options |
 * | packet, obsolete | 2 | interface u16, drops u16, time u32 u32, captured u32, original u32, data
 * | | simple packet | 3 | original u32, data | | enhanced packet | 6 | interface u32, time u32 u32,
 * captured u32, original u32, data |
 *
 * Around each body: type u32, length of the whole block u32; length u32 again.
 * Options of an interface: code u16, length u16, value padded to 4 bytes; 9 is the
 * resolution of its clock (u8: power of ten, with the top bit of two, that a second
 * is divided by; without it microseconds), 14 seconds to add (i64). */

struct pcapng;

struct pcapng_packet {
	int64_t time_ns; /* 0 where the block has none; clamped to 0..QUANTITY_MAX_TIME_NS */
	uint32_t captured_bytes, original_bytes;
	int link_type;	     /* LINKTYPE_ number */
	const uint8_t *data; /* valid until the next call */
};

/* Begins to read at the stream's place, which is the file's beginning. The stream is
 * borrowed. Reads on up to the first interface. NULL: no memory. */
struct pcapng *pcapng_new(FILE *stream);
/* Of the first interface: LINKTYPE_ number, -1 if there is none before the first packet. */
int pcapng_link_type(const struct pcapng *ng);
uint32_t pcapng_snaplen(const struct pcapng *ng); /* 0: no limit, or no interface */
/* 1 packet, 0 end; -1: the file breaks off, a block makes no sense or a section has
 * more than 65,536 interfaces, and found says what was found at *offset_bytes. After 0 and -1 the
 * same again. */
int pcapng_next(struct pcapng *ng, struct pcapng_packet *packet, uint64_t *offset_bytes,
		char found[PCAPNG_TEXT_SIZE]);
void pcapng_free(struct pcapng *ng);

#endif
