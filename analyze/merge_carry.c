/*
 * What the merger remembers, as bytes in the database: blobs of records of one
 * kind each, a record's numbers in the order of the functions below, which both
 * write and read. A number is the difference to the same one of the record
 * before in its blob (zigzag, LEB128): ids, times and addresses follow each
 * other. Independent of byte order and of structure layout.
 */
#include "analyze/merge_internal.h"

#include <stddef.h>
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
		  CARRY_TUNNEL = 21,
		  CARRY_FLOW, /* with the connections that belong to it */
};

#define BLOB_BYTES (64u << 10) /* a blob ends with the record that reaches this */
/* Of one record: a tunnel's, the longest, has 73. Those of connections stand
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

static uint64_t up_to(struct codec *c, uint64_t value, uint64_t most)
{
	value = number(c, value);
	if (value <= most)
		return value;
	c->failed = true;
	return 0;
}

static void u32(struct codec *c, uint32_t *value)
{
	*value = (uint32_t)up_to(c, *value, UINT32_MAX);
}

static void u16(struct codec *c, uint16_t *value)
{
	*value = (uint16_t)up_to(c, *value, UINT16_MAX);
}

static void u8(struct codec *c, uint8_t *value)
{
	*value = (uint8_t)up_to(c, *value, UINT8_MAX);
}

static void flag(struct codec *c, bool *value)
{
	*value = up_to(c, *value, 1) != 0;
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
	i64(c, &f->reading_ns);
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

/* check is asked when the record is decoded. */
#define READ_INTO(array, n, capacity, code, check)                                                 \
	do {                                                                                       \
		if (grow_one(&(array), (n), &(capacity), sizeof(*(array))) != 0)                   \
			return -1;                                                                 \
		memset(&(array)[n], 0, sizeof(*(array)));                                          \
		c->place = 0;                                                                      \
		code;                                                                              \
		c->failed = c->failed || !(check);                                                 \
		(n)++;                                                                             \
	} while (0)

#define INDEX_LAST(field, hash_of, same)                                                           \
	index_last(merge, c, &merge->field##_index, merge->field, sizeof(*merge->field),           \
		   (uint32_t)merge->field##_count - 1, hash_of, same)

/* A key that stands there already is damage. */
static int index_last(struct merge *merge, struct codec *c, struct hashindex *index,
		      const void *array, size_t size, uint32_t last,
		      uint64_t (*hash_of)(const void *merge, uint32_t place),
		      bool (*same)(const void *a, const void *b))
{
	const char *bytes = array;
	uint64_t hash = hash_of(merge, last);
	uint32_t probe = (uint32_t)hash, i;

	while (!c->failed && (i = hashindex_next(index, hash, &probe)) != HASHINDEX_NONE)
		c->failed = c->failed || same(bytes + i * size, bytes + last * size);
	return hashindex_add(index, hash, last, hash_of, merge);
}

static bool same_flow(const void *left, const void *right)
{
	const struct merge_flow *a = left, *b = right;

	return a->recording_id == b->recording_id && flow_key_equal(&a->flow.key, &b->flow.key);
}

static int take_flow(struct merge *merge, struct codec *c)
{
	uint32_t count = 0, last = UINT32_MAX;
	struct merge_flow *flow;

	READ_INTO(merge->flows, merge->flows_count, merge->flows_capacity,
		  code_flow(c, &merge->flows[merge->flows_count], &count),
		  !c->failed && merge_check_flow(merge, &merge->flows[merge->flows_count]));
	flow = &merge->flows[merge->flows_count - 1];
	flow->connections = UINT32_MAX;
	for (; count > 0 && !c->failed; count--) {
		uint32_t place = (uint32_t)merge->connection_count;

		READ_INTO(merge->connections, merge->connection_count, merge->connection_capacity,
			  code_connection(c, &merge->connections[place]),
			  merge_check_connection(merge, &merge->connections[place]));
		merge->connections[place].next = UINT32_MAX;
		*(last == UINT32_MAX ? &flow->connections : &merge->connections[last].next) = place;
		last = place;
	}
	return INDEX_LAST(flows, merge_hash_of_flow, same_flow);
}

#define READ_LAST(type, field)                                                                     \
	READ_INTO(merge->field##s, merge->field##_count, merge->field##_capacity,                  \
		  code_##type(c, &merge->field##s[merge->field##_count]),                          \
		  merge_check_##type(merge, &merge->field##s[merge->field##_count]))
#define READ_INDEXED(type, field, ...)                                                             \
	READ_INTO(merge->field, merge->field##_count, merge->field##_capacity,                     \
		  code_##type(c, &merge->field[merge->field##_count]),                             \
		  merge_check_##type(merge, &merge->field[merge->field##_count], ##__VA_ARGS__))

/* One record. 0, or -1 without memory; damage sets failed. */
static int take_record(struct merge *merge, int64_t kind, struct codec *c)
{
	int64_t given = merge->connection_id;

	switch (kind) {
	case CARRY_RECORDING:
		READ_LAST(recording, recording);
		return 0;
	case CARRY_PROCESS:
		READ_INDEXED(process, processes);
		return INDEX_LAST(processes, merge_hash_of_process, merge_same_process);
	case CARRY_SOCKET:
		READ_INDEXED(socket, sockets);
		return INDEX_LAST(sockets, merge_hash_of_socket, merge_same_socket);
	case CARRY_HOLDER:
		READ_INDEXED(holder, holders);
		return INDEX_LAST(holders, merge_hash_of_holder, merge_same_holder);
	case CARRY_ADDRESS:
		READ_INDEXED(place, addresses, merge->address_id);
		return INDEX_LAST(addresses, merge_hash_of_address, merge_same_place);
	case CARRY_INTERFACE:
		READ_INDEXED(place, interfaces, merge->interface_id);
		return INDEX_LAST(interfaces, merge_hash_of_interface, merge_same_place);
	case CARRY_SNAPSHOT:
		READ_LAST(snapshot, snapshot);
		return 0;
	case CARRY_FLOW:
		return take_flow(merge, c);
	case CARRY_TUNNEL:
		READ_INDEXED(tunnel, tunnels);
		return INDEX_LAST(tunnels, merge_hash_of_tunnel, merge_same_tunnel);
	case CARRY_COUNTERS:
		c->place = 0;
		code_counters(c, merge);
		c->failed = c->failed || merge->connection_id < given ||
			    merge->connection_id > INT64_MAX / 2;
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

static int compare_ids(const void *left, const void *right)
{
	const int64_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* No two records may be of one row: the second would be written over the first. */
static int check_unique(const void *array, size_t count, size_t size, size_t offset,
			const char *what, struct error *error)
{
	int64_t *ids = calloc(count + 1, sizeof(*ids));
	int status = 0;

	if (ids == NULL)
		return merge_no_memory(error);
	for (size_t i = 0; i < count; i++)
		memcpy(&ids[i], (const char *)array + i * size + offset, sizeof(*ids));
	qsort(ids, count, sizeof(*ids), compare_ids);
	for (size_t i = 1; i < count && status == 0; i++)
		if (ids[i] == ids[i - 1])
			status = error_damage(error, NULL, -1, "one carry record for each row",
					      "two of %s %lld", what, (long long)ids[i]);
	free(ids);
	return status;
}

#define UNIQUE(type, array, n, id)                                                                 \
	do {                                                                                       \
		if (status == 0)                                                                   \
			status = check_unique((array), (n), sizeof(struct type),                   \
					      offsetof(struct type, id), #id, error);              \
	} while (0)

static int check_row(int same, const char *what, int64_t id, struct error *error)
{
	if (same == 1)
		return 0;
	if (same < 0)
		return same;
	return error_damage(error, NULL, -1, "carry records that agree with their rows",
			    "another row %lld in table %s", (long long)id, what);
}

/* A row that is written again must be the one that the record was of. */
static int check_rows(struct merge *merge, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < merge->flows_count && status == 0; i++) {
		const struct merge_flow *f = &merge->flows[i];

		status = check_row(merge_put_flow(merge, f, STORE_COMPARE, error), "flow",
				   f->flow_id, error);
		for (uint32_t k = f->connections; k != UINT32_MAX && status == 0;
		     k = merge->connections[k].next) {
			const struct merge_connection *c = &merge->connections[k];

			status = check_row(merge_put_connection(merge, f, c, STORE_COMPARE, error),
					   "connection", c->connection_id, error);
		}
	}
	for (size_t i = 0; i < merge->tunnels_count && status == 0; i++) {
		const struct merge_tunnel *t = &merge->tunnels[i];

		status = check_row(merge_put_tunnel(merge, t, STORE_COMPARE, error), "tunnel",
				   t->tunnel_id, error);
	}
	return status;
}

int merge_carry_read(struct merge *merge, struct error *error)
{
	int status = store_carry_each(merge->store, take_carried, merge, error);

	UNIQUE(merge_recording, merge->recordings, merge->recording_count, recording_id);
	UNIQUE(merge_recording, merge->recordings, merge->recording_count, uuid_hash);
	UNIQUE(merge_process, merge->processes, merge->processes_count, process_id);
	UNIQUE(merge_socket, merge->sockets, merge->sockets_count, socket_id);
	UNIQUE(merge_holder, merge->holders, merge->holders_count, holder_id);
	UNIQUE(merge_place, merge->addresses, merge->addresses_count, place_id);
	UNIQUE(merge_place, merge->interfaces, merge->interfaces_count, place_id);
	UNIQUE(merge_flow, merge->flows, merge->flows_count, flow_id);
	UNIQUE(merge_tunnel, merge->tunnels, merge->tunnels_count, tunnel_id);
	UNIQUE(merge_connection, merge->connections, merge->connection_count, connection_id);
	return status == 0 ? check_rows(merge, error) : status;
}
