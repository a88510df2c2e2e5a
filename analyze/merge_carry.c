/*
 * What the merger remembers, as bytes in the database: blobs of records of one
 * kind each, a record's numbers in the order of the functions below, which both
 * write and read. A number is the difference to the same one of the record
 * before in its blob (zigzag, LEB128): ids, times and addresses follow each
 * other. Independent of byte order and of structure layout.
 */
#include "analyze/merge_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/decode_tunnel.h"
#include "analyze/grow.h"

enum carry_kind { /* a shipped record keeps its fields; a changed one is a new kind */
		  CARRY_RECORDING = 11,
		  CARRY_PROCESS,
		  CARRY_SOCKET,
		  CARRY_HOLDER,
		  CARRY_ADDRESS,
		  CARRY_INTERFACE,
		  CARRY_SNAPSHOT,
		  CARRY_COUNTERS = 19, /* folding leaves ids unused; they stay so */
		  CARRY_FLOW,	       /* with the connections that belong to it */
		  CARRY_TUNNEL,
};

#define BLOB_BYTES (64u << 10) /* a blob ends with the record that reaches this */
/* Of one record: a tunnel's, the longest, has 75. Those of connections stand
 * among flows', and have places of their own. */
#define FLOW_NUMBERS	   96
#define CONNECTION_NUMBERS 32
#define MAX_NUMBERS	   (FLOW_NUMBERS + CONNECTION_NUMBERS)

struct codec {
	bool writing, failed;
	uint8_t *bytes;
	const uint8_t *in;
	size_t length, capacity;
	size_t place; /* of the next number in its record */
	uint64_t before[MAX_NUMBERS];
};

static void put_byte(struct codec *c, uint8_t byte)
{
	if (grow_one(&c->bytes, c->length, &c->capacity, 1) != 0)
		c->failed = true;
	else
		c->bytes[c->length++] = byte;
}

static void put_bits(struct codec *c, uint64_t bits)
{
	for (; bits >= 0x80; bits >>= 7)
		put_byte(c, (uint8_t)(bits | 0x80));
	put_byte(c, (uint8_t)bits);
}

static uint64_t take_bits(struct codec *c)
{
	uint64_t bits = 0;

	for (unsigned shift = 0; shift < 64 && c->length > 0; shift += 7) {
		bits |= (uint64_t)(*c->in & 0x7f) << shift;
		c->length--;
		if ((*c->in++ & 0x80) == 0)
			return bits;
	}
	c->failed = true;
	return 0;
}

/* Gives back what it wrote, so what uses it holds for both directions. */
static uint64_t number(struct codec *c, uint64_t value)
{
	uint64_t *before = &c->before[c->place], step;

	if (c->place == MAX_NUMBERS) {
		c->failed = true;
		return 0;
	}
	c->place++;
	if (c->writing) {
		step = value - *before;
		put_bits(c, step << 1 ^ (step >> 63 ? UINT64_MAX : 0));
	} else {
		step = take_bits(c);
		value = *before + (step >> 1 ^ (0 - (step & 1)));
	}
	*before = value;
	return value;
}

static void u64(struct codec *c, uint64_t *value)
{
	*value = number(c, *value);
}

static void i64(struct codec *c, int64_t *value)
{
	*value = (int64_t)number(c, (uint64_t)*value);
}

static void u32(struct codec *c, uint32_t *value)
{
	*value = (uint32_t)number(c, *value);
}

static void u16(struct codec *c, uint16_t *value)
{
	*value = (uint16_t)number(c, *value);
}

static void u8(struct codec *c, uint8_t *value)
{
	*value = (uint8_t)number(c, *value);
}

static void flag(struct codec *c, bool *value)
{
	*value = number(c, *value) != 0;
}

static void reason(struct codec *c, enum bridge_reason *value)
{
	uint64_t code = number(c, (uint64_t)*value);

	if (code < BRIDGE_REASONS)
		*value = (enum bridge_reason)code;
	else
		c->failed = true;
}

/* In two halves: where hosts are near, the first is the same. */
static void address(struct codec *c, uint8_t bytes[16])
{
	for (int half = 0; half < 2; half++, bytes += 8) {
		uint64_t value = 0;

		for (int i = 0; i < 8; i++)
			value = value << 8 | bytes[i];
		value = number(c, value);
		for (int i = 8; i-- > 0; value >>= 8)
			bytes[i] = (uint8_t)value;
	}
}

static void endpoint(struct codec *c, struct endpoint *e)
{
	address(c, e->address.bytes);
	u16(c, &e->port);
}

static void code_recording(struct codec *c, struct merge_recording *r)
{
	i64(c, &r->recording_id);
	i64(c, &r->boot);
	for (int i = 0; i < 2; i++) {
		u64(c, &r->uuid_hash[i]);
		u64(c, &r->boot_hash[i]);
	}
	u64(c, &r->last_number);
}

static void code_process(struct codec *c, struct merge_process *p)
{
	i64(c, &p->boot);
	i64(c, &p->recording_id);
	u32(c, &p->pid);
	u64(c, &p->start_ticks);
	u64(c, &p->facts);
	i64(c, &p->process_id);
	i64(c, &p->row_recording_id);
	i64(c, &p->image);
	i64(c, &p->parent_process_id);
	i64(c, &p->start_ns);
	i64(c, &p->first_seen_ns);
	u64(c, &p->previous_facts);
	i64(c, &p->previous_id);
}

static void code_socket(struct codec *c, struct merge_socket *s)
{
	i64(c, &s->recording_id);
	u64(c, &s->netns);
	u32(c, &s->table);
	u32(c, &s->inode);
	endpoint(c, &s->local);
	endpoint(c, &s->remote);
	i64(c, &s->opened_ns);
	i64(c, &s->socket_id);
	i64(c, &s->first_seen_ns);
	i64(c, &s->first_snapshot_id);
	i64(c, &s->closed_ns);
	i64(c, &s->acked);
	i64(c, &s->received);
	i64(c, &s->sent);
	i64(c, &s->retransmitted);
}

static void code_holder(struct codec *c, struct merge_holder *h)
{
	i64(c, &h->recording_id);
	i64(c, &h->socket_id);
	i64(c, &h->boot);
	u64(c, &h->start_ticks);
	u32(c, &h->pid);
	u32(c, &h->fd);
	i64(c, &h->holder_id);
	i64(c, &h->process_id);
	i64(c, &h->first_seen_ns);
}

static void code_place(struct codec *c, struct merge_place *p)
{
	i64(c, &p->recording_id);
	u64(c, &p->netns);
	u64(c, &p->name);
	u32(c, &p->ifindex);
	u32(c, &p->prefix_length);
	address(c, p->address.bytes);
	i64(c, &p->place_id);
	i64(c, &p->first_seen_ns);
}

static void code_snapshot(struct codec *c, struct merge_snapshot *s)
{
	i64(c, &s->recording_id);
	i64(c, &s->snapshot_id);
	u64(c, &s->sequence);
}

static void code_count(struct codec *c, struct flow_count *count)
{
	u64(c, &count->packets);
	u64(c, &count->bytes);
	u64(c, &count->payload_bytes);
}

static void code_packets(struct codec *c, struct flow *flow)
{
	for (int i = 0; i < 2; i++) {
		address(c, flow->key.address[i]);
		u16(c, &flow->key.port[i]);
		code_count(c, &flow->count[i]);
		u32(c, &flow->tcp.isn[i]);
		u32(c, &flow->tcp.fin_end[i]);
		flag(c, &flow->tcp.isn_known[i]);
		flag(c, &flow->tcp.fin_known[i]);
		u32(c, &flow->tcp.data_from[i]);
		u32(c, &flow->tcp.data_until[i]);
		flag(c, &flow->tcp.data_known[i]);
		flag(c, &flow->tcp.isn_derived[i]);
		flag(c, &flow->tcp.fin_moot[i]);
		flag(c, &flow->end[i].local);
	}
	u16(c, &flow->key.icmp_id);
	u8(c, &flow->key.protocol);
	u8(c, &flow->key.ip_version);
	i64(c, &flow->first_ns);
	i64(c, &flow->last_ns);
	i64(c, &flow->began_ns);
	u8(c, &flow->history_length);
	if (flow->history_length > FLOW_HISTORY_MAX)
		c->failed = true;
	/* All places, so that those behind them stand still. */
	for (int i = 0; i < FLOW_HISTORY_MAX; i++)
		u8(c, &flow->history[i]);
	u8(c, &flow->originator);
	flag(c, &flow->originator_sure);
	u8(c, &flow->place);
	u8(c, &flow->group_side);
	u16(c, &flow->vlan);
	u16(c, &flow->inner_vlan);
	u32(c, &flow->ifindex);
	u64(c, &flow->first_number);
	u64(c, &flow->first_offset_bytes);
	u64(c, &flow->repeats);
	u64(c, &flow->carried.read);
	u64(c, &flow->carried.other);
	u64(c, &flow->carried.unreadable);
	u8(c, &flow->carried.tunnel);
	if (flow->originator > 1 || flow->carried.tunnel >= DECODE_TUNNEL_END)
		c->failed = true;
}

/* connections: how many of its connections follow. */
static void code_flow(struct codec *c, struct merge_flow *f, uint32_t *connections)
{
	u32(c, connections);
	i64(c, &f->recording_id);
	i64(c, &f->flow_id);
	i64(c, &f->segment_id);
	code_packets(c, &f->flow);
}

static void code_tunnel(struct codec *c, struct merge_tunnel *t)
{
	i64(c, &t->recording_id);
	i64(c, &t->tunnel_id);
	i64(c, &t->segment_id);
	i64(c, &t->flow_id);
	i64(c, &t->outer_tunnel_id);
	i64(c, &t->key);
	u8(c, &t->tunnel);
	u8(c, &t->depth);
	code_packets(c, &t->flow);
	if (t->tunnel == DECODE_NO_TUNNEL || t->tunnel >= DECODE_TUNNEL_END)
		c->failed = true;
}

static void code_connection(struct codec *c, struct merge_connection *k)
{
	c->place = FLOW_NUMBERS;
	u8(c, &k->side);
	flag(c, &k->by_tuple);
	flag(c, &k->refused);
	reason(c, &k->reason);
	flag(c, &k->listener);
	i64(c, &k->connection_id);
	i64(c, &k->process_id);
	i64(c, &k->socket_id);
	for (int i = 0; i < BRIDGE_RULES; i++)
		i64(c, &k->rule_packets[i]);
	i64(c, &k->shared_by);
	i64(c, &k->snapshot_id);
	i64(c, &k->distance_ns);
	i64(c, &k->start_ns);
	i64(c, &k->end_ns);
	code_count(c, &k->sent);
	code_count(c, &k->received);
	i64(c, &k->sighted_first_ns);
	i64(c, &k->sighted_last_ns);
	if (k->side > 1)
		c->failed = true;
}

static void code_counters(struct codec *c, struct merge *merge)
{
	i64(c, &merge->connection_id);
}

/* --------------------------------------------------------------- writing -- */

static int put(struct merge *merge, struct codec *c, enum carry_kind kind, struct error *error)
{
	int status = 0;

	if (c->failed)
		return merge_no_memory(error);
	if (c->length > 0)
		status = store_carry_put(merge->store, kind, c->bytes, c->length, error);
	c->length = 0;
	memset(c->before, 0, sizeof(c->before));
	return status;
}

#define PUT_ALL(kind, code, array, n)                                                              \
	do {                                                                                       \
		for (size_t i = 0; i < (n) && status == 0; i++) {                                  \
			c.place = 0;                                                               \
			code(&c, &(array)[i]);                                                     \
			if (c.length >= BLOB_BYTES)                                                \
				status = put(merge, &c, kind, error);                              \
		}                                                                                  \
		if (status == 0)                                                                   \
			status = put(merge, &c, kind, error);                                      \
	} while (0)

static void put_flow(struct codec *c, struct merge *merge, struct merge_flow *flow)
{
	uint32_t count = 0;

	for (uint32_t k = flow->connections; k != UINT32_MAX; k = merge->connections[k].next)
		count++;
	c->place = 0;
	code_flow(c, flow, &count);
	for (uint32_t k = flow->connections; k != UINT32_MAX; k = merge->connections[k].next)
		code_connection(c, &merge->connections[k]);
}

static int put_flows(struct codec *c, struct merge *merge, struct error *error)
{
	int status = 0;

	for (size_t f = 0; f < merge->flows_count && status == 0; f++) {
		if (merge->flows[f].replaced)
			continue;
		put_flow(c, merge, &merge->flows[f]);
		if (c->length >= BLOB_BYTES)
			status = put(merge, c, CARRY_FLOW, error);
	}
	return status == 0 ? put(merge, c, CARRY_FLOW, error) : status;
}

int merge_carry(struct merge *merge, struct error *error)
{
	struct codec c = {.writing = true};
	int status = store_carry_clear(merge->store, error);

	if (status == 0) {
		code_counters(&c, merge);
		status = put(merge, &c, CARRY_COUNTERS, error);
	}
	PUT_ALL(CARRY_RECORDING, code_recording, merge->recordings, merge->recording_count);
	PUT_ALL(CARRY_PROCESS, code_process, merge->processes, merge->processes_count);
	PUT_ALL(CARRY_SOCKET, code_socket, merge->sockets, merge->sockets_count);
	PUT_ALL(CARRY_HOLDER, code_holder, merge->holders, merge->holders_count);
	PUT_ALL(CARRY_ADDRESS, code_place, merge->addresses, merge->addresses_count);
	PUT_ALL(CARRY_INTERFACE, code_place, merge->interfaces, merge->interfaces_count);
	PUT_ALL(CARRY_SNAPSHOT, code_snapshot, merge->snapshots, merge->snapshot_count);
	if (status == 0)
		status = put_flows(&c, merge, error);
	PUT_ALL(CARRY_TUNNEL, code_tunnel, merge->tunnels, merge->tunnels_count);
	free(c.bytes);
	return status;
}

/* --------------------------------------------------------------- reading -- */

#define READ_INTO(array, n, capacity, ...)                                                         \
	do {                                                                                       \
		if (grow_one(&(array), (n), &(capacity), sizeof(*(array))) != 0)                   \
			return -1;                                                                 \
		memset(&(array)[n], 0, sizeof(*(array)));                                          \
		c->place = 0;                                                                      \
		__VA_ARGS__;                                                                       \
		(n)++;                                                                             \
	} while (0)

#define INDEX_LAST(field, hash_of)                                                                 \
	hashindex_add(&merge->field##_index, hash_of(merge, (uint32_t)merge->field##_count - 1),   \
		      (uint32_t)merge->field##_count - 1, hash_of, merge)

static int take_flow(struct merge *merge, struct codec *c)
{
	uint32_t count = 0, last = UINT32_MAX;
	struct merge_flow *flow;

	READ_INTO(merge->flows, merge->flows_count, merge->flows_capacity,
		  code_flow(c, &merge->flows[merge->flows_count], &count));
	flow = &merge->flows[merge->flows_count - 1];
	flow->connections = UINT32_MAX;
	for (; count > 0 && !c->failed; count--) {
		uint32_t place = (uint32_t)merge->connection_count;

		READ_INTO(merge->connections, merge->connection_count, merge->connection_capacity,
			  code_connection(c, &merge->connections[place]));
		merge->connections[place].next = UINT32_MAX;
		*(last == UINT32_MAX ? &flow->connections : &merge->connections[last].next) = place;
		last = place;
	}
	return INDEX_LAST(flows, merge_hash_of_flow);
}

/* One record. 0, or -1 without memory; damage sets failed. */
static int take_record(struct merge *merge, int64_t kind, struct codec *c)
{
	switch (kind) {
	case CARRY_RECORDING:
		READ_INTO(merge->recordings, merge->recording_count, merge->recording_capacity,
			  code_recording(c, &merge->recordings[merge->recording_count]));
		return 0;
	case CARRY_PROCESS:
		READ_INTO(merge->processes, merge->processes_count, merge->processes_capacity,
			  code_process(c, &merge->processes[merge->processes_count]));
		return INDEX_LAST(processes, merge_hash_of_process);
	case CARRY_SOCKET:
		READ_INTO(merge->sockets, merge->sockets_count, merge->sockets_capacity,
			  code_socket(c, &merge->sockets[merge->sockets_count]));
		return INDEX_LAST(sockets, merge_hash_of_socket);
	case CARRY_HOLDER:
		READ_INTO(merge->holders, merge->holders_count, merge->holders_capacity,
			  code_holder(c, &merge->holders[merge->holders_count]));
		return INDEX_LAST(holders, merge_hash_of_holder);
	case CARRY_ADDRESS:
		READ_INTO(merge->addresses, merge->addresses_count, merge->addresses_capacity,
			  code_place(c, &merge->addresses[merge->addresses_count]));
		return INDEX_LAST(addresses, merge_hash_of_address);
	case CARRY_INTERFACE:
		READ_INTO(merge->interfaces, merge->interfaces_count, merge->interfaces_capacity,
			  code_place(c, &merge->interfaces[merge->interfaces_count]));
		return INDEX_LAST(interfaces, merge_hash_of_interface);
	case CARRY_SNAPSHOT:
		READ_INTO(merge->snapshots, merge->snapshot_count, merge->snapshot_capacity,
			  code_snapshot(c, &merge->snapshots[merge->snapshot_count]));
		return 0;
	case CARRY_FLOW:
		return take_flow(merge, c);
	case CARRY_TUNNEL:
		READ_INTO(merge->tunnels, merge->tunnels_count, merge->tunnels_capacity,
			  code_tunnel(c, &merge->tunnels[merge->tunnels_count]));
		return INDEX_LAST(tunnels, merge_hash_of_tunnel);
	case CARRY_COUNTERS:
		c->place = 0;
		code_counters(c, merge);
		return 0;
	default:
		c->failed = true;
		return 0;
	}
}

static int take_carried(int64_t kind, const void *bytes, size_t length, void *context,
			struct error *error)
{
	struct codec c = {.in = bytes, .length = length, .failed = length == 0};

	while (c.length > 0 && !c.failed) {
		if (take_record(context, kind, &c) != 0)
			return merge_no_memory(error);
	}
	if (c.failed)
		return error_damage(error, NULL, -1, "carry records of this version",
				    "a blob of kind %lld, damaged %zu bytes before its end",
				    (long long)kind, c.length);
	return 0;
}

int merge_carry_read(struct merge *merge, struct error *error)
{
	return store_carry_each(merge->store, take_carried, merge, error);
}
