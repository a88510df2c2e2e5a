/*
 * merge_codec.h - records as numbers: one function for each kind of record both writes and reads.
 *
 * A number is the difference to the one at the same place of the record before (zigzag, LEB128):
 * ids, times and addresses follow each other. Independent of byte order and of structure layout.
 * What is read may be made up; failed then says so, and values are still those of their types.
 */
#ifndef ANALYZE_MERGE_CODEC_H
#define ANALYZE_MERGE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one record: a tunnel's, the longest, has 45. Those of connections stand
 * among flows', and have places of their own. */
#define MERGE_FLOW_NUMBERS	 64
#define MERGE_CONNECTION_NUMBERS 32
#define MERGE_MAX_NUMBERS	 (MERGE_FLOW_NUMBERS + MERGE_CONNECTION_NUMBERS)

struct merge_codec {
	bool writing, failed; /* failed: damage, or when writing, no memory */
	bool trusted;	      /* what is read was written in this run: it is not checked */
	uint8_t *bytes;	      /* written so far: length of them */
	const uint8_t *in;    /* to be read: length of them */
	size_t length, capacity;
	size_t place; /* of the next number in its record */
	uint64_t before[MERGE_MAX_NUMBERS];
};

/* Each gives back what it wrote, so what uses it holds for both directions. */
uint64_t merge_number(struct merge_codec *c, uint64_t value);
uint64_t merge_number_up_to(struct merge_codec *c, uint64_t value, uint64_t most);

static inline void merge_code_u64(struct merge_codec *c, uint64_t *value)
{
	*value = merge_number(c, *value);
}

static inline void merge_code_i64(struct merge_codec *c, int64_t *value)
{
	*value = (int64_t)merge_number(c, (uint64_t)*value);
}

static inline void merge_code_u32(struct merge_codec *c, uint32_t *value)
{
	*value = (uint32_t)merge_number_up_to(c, *value, UINT32_MAX);
}

static inline void merge_code_u16(struct merge_codec *c, uint16_t *value)
{
	*value = (uint16_t)merge_number_up_to(c, *value, UINT16_MAX);
}

static inline void merge_code_u8(struct merge_codec *c, uint8_t *value)
{
	*value = (uint8_t)merge_number_up_to(c, *value, UINT8_MAX);
}

/* In two halves: where hosts are near, the first is the same. */
void merge_code_address(struct merge_codec *c, uint8_t bytes[16]);

struct flow;
struct merge;
struct merge_flow;
/* What packets say of a flow, as far as packets still to come can change it or need it. */
void merge_code_packets(struct merge_codec *c, struct flow *flow);
/* connections: how many of its connections follow. */
void merge_code_flow(struct merge_codec *c, struct merge_flow *flow, uint32_t *connections);
/* The live flow in hand (merge_live.c), with its connections. */
void merge_write_live(struct merge_codec *c, struct merge *merge);
/* Into the hand, of which other fields stay as they are. What is read is checked by
 * merge_check.c. 0, or -1 without memory. */
int merge_read_live(struct merge_codec *c, struct merge *merge);

#endif
