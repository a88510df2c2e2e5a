/*
 * gzmember.h - one member of a compressed capture: a gzip member (RFC 1952) that
 * says how long it is, so that it can be made and read as a whole, which takes
 * half the time of a stream or less.
 *
 * To every other program it is gzip like any other. Knows nothing of packets.
 */
#ifndef SNAPSHOT_FORMAT_GZMEMBER_H
#define SNAPSHOT_FORMAT_GZMEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 1952's names for what any gzip member begins with, ours or not. */
#define GZMEMBER_ID1 0x1f
#define GZMEMBER_ID2 0x8b

/* | offset | bytes | field, numbers little-endian |
 * |---|---|---|
 * | 0 | 4 | 1f 8b 08 04: gzip, deflate, an extra field follows |
 * | 4 | 6 | 0 0 0 0 0 255: no time, no level, no system |
 * | 10 | 2 | 8: length of the extra field |
 * | 12 | 4 | 'P' 'W' 4 0: a subfield of four bytes |
 * | 16 | 4 | bytes of this member, head and tail included |
 * | 20 | … | deflate |
 * | -8 | 4 | CRC-32 of the content |
 * | -4 | 4 | bytes of the content | */
#define GZMEMBER_HEAD_BYTES 20
#define GZMEMBER_TAIL_BYTES 8
/* The most content of a member. Twice as much makes it no smaller by a hundredth, and
 * this much fits into a processor's cache while it is read. */
#define GZMEMBER_CONTENT_BYTES (1u << 20)
/* What a member with content that cannot be compressed may grow to, and more. */
#define GZMEMBER_MOST_BYTES (GZMEMBER_CONTENT_BYTES + (64u << 10))

struct gzmember_tail {
	uint32_t crc32;
	uint32_t content_bytes;
};

struct gzmember_maker;
struct gzmember_reader;

struct gzmember_maker *gzmember_maker_new(void); /* NULL: no memory */
void gzmember_maker_free(struct gzmember_maker *maker);
/* out has room for GZMEMBER_MOST_BYTES, length is at most GZMEMBER_CONTENT_BYTES.
 * The member's bytes. */
size_t gzmember_make(struct gzmember_maker *maker, const uint8_t *content, size_t length,
		     uint8_t *out);

/* What the first bytes of a member say of its length; 0: it is none of ours, or too
 * long to be one. */
size_t gzmember_said_bytes(const uint8_t head[GZMEMBER_HEAD_BYTES]);
struct gzmember_tail gzmember_tail(const uint8_t tail[GZMEMBER_TAIL_BYTES]);

struct gzmember_reader *gzmember_reader_new(void); /* NULL: no memory */
void gzmember_reader_free(struct gzmember_reader *reader);
/* <member, length> is one member by gzmember_said_bytes, untrusted; out has room for
 * what its tail says, which is at most GZMEMBER_CONTENT_BYTES. True if the
 * member is whole and all of it is as its head and tail say; else out holds
 * anything. */
bool gzmember_read(struct gzmember_reader *reader, const uint8_t *member, size_t length,
		   uint8_t *out);

#endif
