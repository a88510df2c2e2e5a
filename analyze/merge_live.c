/* Live flows, each packed but for the one in hand. */
#include "analyze/merge_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"

#define NONE UINT32_MAX

static uint64_t hash_live(int64_t recording_id, const struct flow_key *key)
{
	return hashindex_double(hashindex_mix(flow_key_hash(key) ^ (uint64_t)recording_id * 31));
}

/* --------------------------------------------------------------- packing -- */

/* What is not carried to the next load. It comes first, so that a look needs no connections. */
static void code_rest(struct merge_codec *c, struct merge_flow *f)
{
	c->place = MERGE_FLOW_NUMBERS - 4;
	f->replaced = merge_number(c, f->replaced) != 0;
	merge_code_u64(c, &f->stale);
	merge_code_u64(c, &f->part);
	merge_code_u32(c, &f->part_flow);
}

/* A record says itself where it ends. */
static void begin_reading(const struct merge *merge, uint32_t place, struct merge_codec *c)
{
	c->writing = c->failed = false;
	c->trusted = true;
	c->in = merge->flows[place];
	c->length = SIZE_MAX;
	c->place = 0;
	memcpy(c->before, merge->packed_first, sizeof(c->before));
}

static void begin_writing(const struct merge *merge, struct merge_codec *c)
{
	c->writing = true;
	c->failed = false;
	c->length = 0;
	memcpy(c->before, merge->packed_first, sizeof(c->before));
}

int merge_take_live(struct merge *merge, uint32_t place)
{
	struct merge_codec c;

	if (merge->hand_place == place)
		return 0;
	merge->hand_place = NONE;
	merge_forget_owners(merge);
	begin_reading(merge, place, &c);
	merge->hand = (struct merge_flow){0};
	code_rest(&c, &merge->hand);
	if (merge_read_live(&c, merge) != 0)
		return -1;
	merge->hand_place = place;
	return 0;
}

static int pack(struct merge *merge)
{
	struct merge_codec *c = &merge->packing;

	begin_writing(merge, c);
	code_rest(c, &merge->hand);
	merge_write_live(c, merge);
	return c->failed ? -1 : 0;
}

int merge_keep_live(struct merge *merge)
{
	struct merge_codec *c = &merge->packing;
	uint8_t **bytes = &merge->flows[merge->hand_place], *packed;

	if (pack(merge) != 0)
		return -1;
	if (!merge->packed_any) {
		merge->packed_any = true;
		memcpy(merge->packed_first, c->before, sizeof(c->before));
		if (pack(merge) != 0)
			return -1;
	}
	packed = realloc(*bytes, c->length);
	if (packed == NULL)
		return -1;
	memcpy(packed, c->bytes, c->length);
	*bytes = packed;
	return 0;
}

/* ---------------------------------------------------------------- finding -- */

static bool is_of(const struct merge_flow *f, int64_t recording_id, const struct flow_key *key)
{
	return f->recording_id == recording_id && flow_key_equal(&f->flow.key, key);
}

/* Without its connections, and without taking it in hand. */
static struct merge_flow look_at(const struct merge *merge, uint32_t place)
{
	struct merge_flow flow = {0};
	struct merge_codec c;
	uint32_t connections = 0;

	begin_reading(merge, place, &c);
	code_rest(&c, &flow);
	merge_code_flow(&c, &flow, &connections);
	return flow;
}

static int add_to_index(struct merge *merge, uint64_t hash, uint32_t place)
{
	return hashindex_add(&merge->flows_index, hash, place, NULL, NULL);
}

int merge_find_live(struct merge *merge, const struct flow_key *key, uint32_t *place)
{
	int64_t recording_id = merge->recording->recording_id;
	uint64_t hash = hash_live(recording_id, key);
	uint32_t probe = (uint32_t)hash, i;

	*place = NONE;
	while ((i = hashindex_next(&merge->flows_index, hash, &probe)) != HASHINDEX_NONE) {
		if (merge_take_live(merge, i) != 0)
			return -1;
		if (is_of(&merge->hand, recording_id, key)) {
			*place = i;
			break;
		}
	}
	return 0;
}

/* ------------------------------------------------------------ coming, going -- */

/* A place for the one in hand. */
static int add_place(struct merge *merge)
{
	if (merge->flows_count >= NONE ||
	    grow_one(&merge->flows, merge->flows_count, &merge->flows_capacity,
		     sizeof(*merge->flows)) != 0)
		return -1;
	merge->hand_place = (uint32_t)merge->flows_count;
	merge->flows[merge->flows_count++] = NULL;
	return 0;
}

int merge_begin_live(struct merge *merge, const struct flow *flow, uint32_t replaced)
{
	uint64_t hash = hash_live(merge->recording->recording_id, &flow->key);

	if (add_place(merge) != 0)
		return -1;
	merge_forget_owners(merge);
	merge->connection_count = 0;
	merge->hand = (struct merge_flow){
		.flow = *flow,
		.recording_id = merge->recording->recording_id,
		.flow_id = ++merge->flow_id,
		.segment_id = merge->row.segment_id,
		.connections = NONE,
		.reading_ns = INT64_MAX,
	};
	if (replaced == NONE)
		return add_to_index(merge, hash, merge->hand_place);
	hashindex_move(&merge->flows_index, hash, replaced, merge->hand_place);
	return 0;
}

int merge_add_live(struct merge *merge, bool *is_there)
{
	const struct merge_flow *flow = &merge->hand;
	uint64_t hash = hash_live(flow->recording_id, &flow->flow.key);
	uint32_t probe = (uint32_t)hash, i;

	*is_there = false;
	while ((i = hashindex_next(&merge->flows_index, hash, &probe)) != HASHINDEX_NONE) {
		const struct merge_flow other = look_at(merge, i);

		*is_there = *is_there || is_of(&other, flow->recording_id, &flow->flow.key);
	}
	if (*is_there)
		return 0;
	if (add_place(merge) != 0 || merge_keep_live(merge) != 0)
		return -1;
	return add_to_index(merge, hash, merge->hand_place);
}

static bool is_finished(const struct merge *merge, const struct merge_flow *live)
{
	return live->replaced || merge_is_silent(merge, &live->flow, live->recording_id);
}

int merge_forget_live(struct merge *merge)
{
	size_t kept = 0;

	hashindex_clear(&merge->flows_index);
	merge->hand_place = NONE;
	for (size_t i = 0; i < merge->flows_count; i++) {
		const struct merge_flow flow = look_at(merge, (uint32_t)i);
		uint8_t *packed = merge->flows[i];

		merge->flows[i] = NULL; /* one that moves stands in one place also on failure */
		if (is_finished(merge, &flow)) {
			free(packed);
			continue;
		}
		merge->flows[kept] = packed;
		if (add_to_index(merge, hash_live(flow.recording_id, &flow.flow.key),
				 (uint32_t)kept++) != 0)
			return -1;
	}
	merge->flows_count = kept;
	merge->hand_place = NONE;
	return 0;
}

void merge_release_live(struct merge *merge)
{
	for (size_t i = 0; i < merge->flows_count; i++)
		free(merge->flows[i]);
	free(merge->flows);
	free(merge->connections);
	merge_forget_owners(merge);
	free(merge->packing.bytes);
	hashindex_release(&merge->flows_index);
}
