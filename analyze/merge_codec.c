#include "analyze/merge_codec.h"

#include "analyze/decode_tunnel.h"
#include "analyze/grow.h"
#include "analyze/merge_internal.h"

/* ---------------------------------------------------------------- numbers -- */

/* Seven bits a byte. */
#define MOST_BYTES 10

__attribute__((noinline)) static bool make_room(struct merge_codec *c)
{
	while (c->capacity - c->length < MOST_BYTES && !c->failed)
		c->failed = grow_one(&c->bytes, c->capacity, &c->capacity, 1) != 0;
	return !c->failed;
}

/* Bytes may lie anywhere, the codec itself included: what changes from one to the next is held
 * apart from it, or it would be read again after each. */
static inline void put_bits(struct merge_codec *c, uint64_t bits)
{
	uint8_t *out;

	if (c->capacity - c->length < MOST_BYTES && !make_room(c))
		return;
	out = c->bytes + c->length;
	for (; bits >= 0x80; bits >>= 7)
		*out++ = (uint8_t)(bits | 0x80);
	*out++ = (uint8_t)bits;
	c->length = (size_t)(out - c->bytes);
}

__attribute__((noinline)) static uint64_t take_long(struct merge_codec *c)
{
	const uint8_t *in = c->in;
	size_t left = c->length;
	uint64_t bits = 0;

	for (unsigned shift = 0; shift < 64 && left > 0; shift += 7) {
		uint8_t byte = *in++;

		left--;
		bits |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0) {
			c->in = in;
			c->length = left;
			return bits;
		}
	}
	c->failed = true;
	c->in = in;
	c->length = left;
	return 0;
}

/* Most are one byte. */
static inline uint64_t take_bits(struct merge_codec *c)
{
	if (c->length == 0 || (*c->in & 0x80) != 0)
		return take_long(c);
	c->length--;
	return *c->in++;
}

static inline uint64_t number(struct merge_codec *c, uint64_t value)
{
	uint64_t *before, step;

	if (c->place == MERGE_MAX_NUMBERS) {
		c->failed = true;
		return 0;
	}
	before = &c->before[c->place++];
	if (c->writing) {
		step = value - *before;
		*before = value;
		put_bits(c, step << 1 ^ (step >> 63 ? UINT64_MAX : 0));
	} else {
		step = take_bits(c);
		value = *before + (step >> 1 ^ (0 - (step & 1)));
		*before = value;
	}
	return value;
}

uint64_t merge_number(struct merge_codec *c, uint64_t value)
{
	return number(c, value);
}

uint64_t merge_number_up_to(struct merge_codec *c, uint64_t value, uint64_t most)
{
	value = merge_number(c, value);
	if (value <= most)
		return value;
	c->failed = true;
	return 0;
}

void merge_code_address(struct merge_codec *c, uint8_t bytes[16])
{
	for (int half = 0; half < 2; half++, bytes += 8) {
		uint64_t value = 0;

		for (int i = 0; i < 8; i++)
			value = value << 8 | bytes[i];
		value = merge_number(c, value);
		for (int i = 8; i-- > 0; value >>= 8)
			bytes[i] = (uint8_t)value;
	}
}

/* A time by another one, which it is near. none: the one that says there is none; it is 0, and
 * what is not before the other one is counted from 1. */
static void code_time(struct merge_codec *c, int64_t *value, int64_t by, int64_t none)
{
	uint64_t step = 0;

	if (c->writing && *value != none) {
		step = (uint64_t)*value - (uint64_t)by;
		step += step >> 63 == 0;
	}
	step = merge_number(c, step);
	*value = step == 0 ? none : (int64_t)((uint64_t)by + step - (step >> 63 == 0));
}

/* A count by another one that it mostly is. */
static void code_like(struct merge_codec *c, uint64_t *value, uint64_t like)
{
	*value = like - merge_number(c, like - *value);
}

/* Flags are one number, from its lowest bit on. */
static uint64_t bit(bool flag, unsigned *at)
{
	return (uint64_t)flag << (*at)++;
}

static bool take_bit(uint64_t *bits)
{
	bool flag = (*bits & 1) != 0;

	*bits >>= 1;
	return flag;
}

/* ------------------------------------------------------------------ flows -- */

/* Four bits each, the first one lowest: none of them is 0. */
static void code_history(struct merge_codec *c, struct flow *flow)
{
	uint64_t letters = 0;

	for (int i = flow->history_length; c->writing && i-- > 0;)
		letters = letters << 4 | flow->history[i];
	letters = merge_number_up_to(c, letters, (UINT64_C(1) << 4 * FLOW_HISTORY_MAX) - 1);
	for (flow->history_length = 0; letters != 0; letters >>= 4)
		flow->history[flow->history_length++] = letters & 15;
}

static void code_flags(struct merge_codec *c, struct flow *flow)
{
	struct flow_tcp *tcp = &flow->tcp;
	uint64_t bits = 0;
	unsigned at = 0;

	for (int i = 0; i < 2; i++)
		bits |= bit(tcp->isn_known[i], &at) | bit(tcp->isn_derived[i], &at) |
			bit(tcp->fin_known[i], &at) | bit(tcp->fin_moot[i], &at) |
			bit(flow->end[i].local, &at);
	bits |= bit(flow->originator != 0, &at) | bit(flow->originator_sure, &at);
	bits = merge_number_up_to(c, bits, (UINT64_C(1) << at) - 1);
	for (int i = 0; i < 2; i++) {
		tcp->isn_known[i] = take_bit(&bits);
		tcp->isn_derived[i] = take_bit(&bits);
		tcp->fin_known[i] = take_bit(&bits);
		tcp->fin_moot[i] = take_bit(&bits);
		flow->end[i].local = take_bit(&bits);
	}
	flow->originator = take_bit(&bits);
	flow->originator_sure = take_bit(&bits);
}

/* What few flows have. */
static void code_rarities(struct merge_codec *c, struct flow *flow)
{
	struct flow_carried *carried = &flow->carried;
	const size_t behind = c->place + 9;
	const bool any = flow->key.icmp_id != 0 || flow->vlan != 0 || flow->inner_vlan != 0 ||
			 flow->repeats != 0 || carried->read != 0 || carried->other != 0 ||
			 carried->unreadable != 0 || carried->tunnel != 0;

	if (merge_number_up_to(c, any, 1) != 0) {
		merge_code_u16(c, &flow->key.icmp_id);
		merge_code_u16(c, &flow->vlan);
		merge_code_u16(c, &flow->inner_vlan);
		merge_code_u64(c, &flow->repeats);
		merge_code_u64(c, &carried->read);
		merge_code_u64(c, &carried->other);
		merge_code_u64(c, &carried->unreadable);
		merge_code_u8(c, &carried->tunnel);
		if (carried->tunnel >= DECODE_TUNNEL_END)
			c->failed = true;
	}
	c->place = behind;
}

static void code_count(struct merge_codec *c, struct flow_count *count)
{
	merge_code_u64(c, &count->packets);
	merge_code_u64(c, &count->bytes);
	merge_code_u64(c, &count->payload_bytes);
}

void merge_code_packets(struct merge_codec *c, struct flow *flow)
{
	for (int i = 0; i < 2; i++) {
		merge_code_address(c, flow->key.address[i]);
		merge_code_u16(c, &flow->key.port[i]);
		code_count(c, &flow->count[i]);
		merge_code_u32(c, &flow->tcp.isn[i]);
		merge_code_u32(c, &flow->tcp.fin_end[i]);
	}
	merge_code_u8(c, &flow->key.protocol);
	merge_code_u8(c, &flow->key.ip_version);
	merge_code_i64(c, &flow->first_ns);
	code_time(c, &flow->last_ns, flow->first_ns, INT64_MIN);
	code_time(c, &flow->began_ns, flow->first_ns, INT64_MIN);
	code_history(c, flow);
	code_flags(c, flow);
	merge_code_u8(c, &flow->place);
	merge_code_u8(c, &flow->group_side);
	merge_code_u32(c, &flow->ifindex);
	merge_code_u64(c, &flow->first_number);
	merge_code_u64(c, &flow->first_offset_bytes);
	code_rarities(c, flow);
}

void merge_code_flow(struct merge_codec *c, struct merge_flow *f, uint32_t *connections)
{
	c->place = 0;
	merge_code_u32(c, connections);
	merge_code_i64(c, &f->recording_id);
	merge_code_i64(c, &f->flow_id);
	merge_code_i64(c, &f->segment_id);
	merge_code_packets(c, &f->flow);
	code_time(c, &f->reading_ns, f->flow.first_ns, INT64_MAX);
}

/* ------------------------------------------------------------ connections -- */

static bool has_owner(const struct merge_connection *k)
{
	bool any = k->process_id != 0 || k->socket_id != 0 || k->snapshot_id != 0 ||
		   k->shared_by != 0 || k->distance_ns != STORE_NULL ||
		   k->sighted_first_ns != INT64_MAX || k->sighted_last_ns != STORE_NULL;

	for (int i = 0; i < BRIDGE_RULES; i++)
		any = any || k->rule_packets[i] != 0;
	return any;
}

/* Of one that was never anybody's there is none. */
static void code_owner(struct merge_codec *c, const struct flow *flow, struct merge_connection *k)
{
	const bool any = c->writing && has_owner(k);

	if (merge_number_up_to(c, any, 1) == 0) {
		k->distance_ns = k->sighted_last_ns = STORE_NULL;
		k->sighted_first_ns = INT64_MAX;
		return;
	}
	merge_code_i64(c, &k->process_id);
	merge_code_i64(c, &k->socket_id);
	merge_code_i64(c, &k->snapshot_id);
	for (int i = 0; i < BRIDGE_RULES; i++)
		merge_code_i64(c, &k->rule_packets[i]);
	merge_code_i64(c, &k->shared_by);
	code_time(c, &k->distance_ns, 0, STORE_NULL);
	code_time(c, &k->sighted_first_ns, flow->first_ns, INT64_MAX);
	code_time(c, &k->sighted_last_ns, flow->first_ns, STORE_NULL);
}

/* Much of it is told by the flow that it belongs to. */
static void code_connection(struct merge_codec *c, const struct flow *flow,
			    struct merge_connection *k)
{
	struct flow_count *counts[2] = {&k->sent, &k->received};
	uint64_t bits;
	unsigned at = 0;

	c->place = MERGE_FLOW_NUMBERS;
	bits = bit(k->side != 0, &at);
	bits |= bit(k->by_tuple, &at) | bit(k->refused, &at);
	bits = merge_number_up_to(c, bits, (UINT64_C(1) << at) - 1);
	k->side = take_bit(&bits);
	k->by_tuple = take_bit(&bits);
	k->refused = take_bit(&bits);
	k->reason =
		(enum bridge_reason)merge_number_up_to(c, (uint64_t)k->reason, BRIDGE_REASONS - 1);
	merge_code_i64(c, &k->connection_id);
	code_time(c, &k->start_ns, flow->first_ns, INT64_MAX);
	code_time(c, &k->end_ns, flow->last_ns, INT64_MIN);
	for (int i = 0; i < 2; i++) {
		const struct flow_count *like = &flow->count[k->side ^ i];

		code_like(c, &counts[i]->packets, like->packets);
		code_like(c, &counts[i]->bytes, like->bytes);
		code_like(c, &counts[i]->payload_bytes, like->payload_bytes);
	}
	code_owner(c, flow, k);
}

void merge_write_live(struct merge_codec *c, struct merge *merge)
{
	struct merge_flow *flow = &merge->hand;
	uint32_t count = 0;

	for (uint32_t k = flow->connections; k != UINT32_MAX; k = merge->connections[k].next)
		count++;
	merge_code_flow(c, flow, &count);
	for (uint32_t k = flow->connections; k != UINT32_MAX; k = merge->connections[k].next)
		code_connection(c, &flow->flow, &merge->connections[k]);
}

int merge_read_live(struct merge_codec *c, struct merge *merge)
{
	struct merge_flow *flow = &merge->hand;
	uint32_t count = 0;

	merge->connection_count = 0;
	merge_code_flow(c, flow, &count);
	flow->connections = count > 0 ? 0 : UINT32_MAX;
	c->failed = c->failed || !(c->trusted || merge_check_flow(merge, flow));
	for (uint32_t i = 0; i < count && !c->failed; i++) {
		struct merge_connection *k;

		if (grow_one(&merge->connections, merge->connection_count,
			     &merge->connection_capacity, sizeof(*merge->connections)) != 0)
			return -1;
		k = &merge->connections[merge->connection_count++];
		*k = (struct merge_connection){.next = i + 1 < count ? i + 1 : UINT32_MAX};
		code_connection(c, &flow->flow, k);
		c->failed = c->failed || !(c->trusted || merge_check_connection(merge, k));
	}
	return 0;
}
