/*
 * cursor.h - bounded reads of a captured frame.
 *
 * A frame has two lengths: what was captured and what was on the wire. The
 * cursor carries both, so that "the snaplen cut it" and "it never was there"
 * stay apart. No function reads outside the captured bytes, whatever offset it
 * is given. Inline, because it runs several times for each packet.
 */
#ifndef ANALYZE_CURSOR_H
#define ANALYZE_CURSOR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct cursor {
	const uint8_t *at; /* borrowed */
	uint32_t captured; /* bytes at `at`; never more than wire */
	uint32_t wire;	   /* bytes from here on that the frame had, or that a header grants it */
};

static inline bool cursor_has(const struct cursor *c, uint32_t bytes)
{
	return c->captured >= bytes;
}

/* Big-endian fields at an offset; 0 where they were not captured: ask
 * cursor_has() first where that matters. */
static inline uint8_t cursor_u8(const struct cursor *c, uint32_t offset)
{
	return offset < c->captured ? c->at[offset] : 0;
}

static inline uint16_t cursor_u16(const struct cursor *c, uint32_t offset)
{
	if ((uint64_t)offset + 2 > c->captured)
		return 0;
	return (uint16_t)(c->at[offset] << 8 | c->at[offset + 1]);
}

static inline uint32_t cursor_u32(const struct cursor *c, uint32_t offset)
{
	if ((uint64_t)offset + 4 > c->captured)
		return 0;
	return (uint32_t)c->at[offset] << 24 | (uint32_t)c->at[offset + 1] << 16 |
	       (uint32_t)c->at[offset + 2] << 8 | (uint32_t)c->at[offset + 3];
}

/* Copies bytes out; zeros where they were not captured. */
static inline void cursor_copy(const struct cursor *c, uint32_t offset, void *out, uint32_t bytes)
{
	if ((uint64_t)offset + bytes > c->captured)
		memset(out, 0, bytes);
	else
		memcpy(out, c->at + offset, bytes);
}

/* Moves on by bytes, which may lie beyond the captured ones and are cut to
 * what was on the wire. */
static inline void cursor_skip(struct cursor *c, uint32_t bytes)
{
	uint32_t step = bytes < c->captured ? bytes : c->captured;

	c->at += step;
	c->captured -= step;
	c->wire -= bytes < c->wire ? bytes : c->wire;
}

/* Lets a header's length field end the packet before the frame does. */
static inline void cursor_limit(struct cursor *c, uint32_t bytes)
{
	if (bytes < c->wire)
		c->wire = bytes;
	if (bytes < c->captured)
		c->captured = bytes;
}

#endif
