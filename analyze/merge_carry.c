/*
 * What the merger remembers, as bytes in the database: one record for each
 * thing, unsigned LEB128 numbers in the order of the functions below, which
 * both write and read. Independent of byte order and of structure layout.
 */
#include "analyze/merge_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"

enum carry_kind { /* a shipped record keeps its fields; a changed one is a new kind */
		  CARRY_RECORDING = 1,
		  CARRY_PROCESS,
		  CARRY_SOCKET,
		  CARRY_HOLDER,
		  CARRY_ADDRESS,
		  CARRY_INTERFACE,
		  CARRY_SNAPSHOT,
		  CARRY_FLOW,
		  CARRY_CONNECTION, /* belongs to the flow before it */
		  CARRY_COUNTERS,   /* folding leaves ids unused; they stay so */
};

struct codec {
	bool writing, failed;
	uint8_t *bytes;
	const uint8_t *in;
	size_t length, capacity;
};

static void put_byte(struct codec *c, uint8_t byte)
{
	if (grow_one(&c->bytes, c->length, &c->capacity, 1) != 0)
		c->failed = true;
	else
		c->bytes[c->length++] = byte;
}

static uint64_t number(struct codec *c, uint64_t value)
{
	uint64_t out = 0;

	if (c->writing) {
		for (out = value; out >= 0x80; out >>= 7)
			put_byte(c, (uint8_t)(out | 0x80));
		put_byte(c, (uint8_t)out);
		return value;
	}
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (c->length == 0)
			break;
		out |= (uint64_t)(*c->in & 0x7f) << shift;
		c->length--;
		if ((*c->in++ & 0x80) == 0)
			return out;
	}
	c->failed = true;
	return 0;
}

static void u64(struct codec *c, uint64_t *value)
{
	*value = number(c, *value);
}

/* number() gives back what it wrote, so all of these hold for both directions.
 * Zigzag, so that small negative numbers are short too. */
static void i64(struct codec *c, int64_t *value)
{
	uint64_t bits = ((uint64_t)*value << 1) ^ (*value < 0 ? UINT64_MAX : 0);
	uint64_t read = number(c, bits);

	*value = (int64_t)((read >> 1) ^ (0 - (read & 1)));
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

static void raw(struct codec *c, uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (c->writing) {
			put_byte(c, bytes[i]);
		} else if (c->length == 0) {
			c->failed = true;
		} else {
			bytes[i] = *c->in++;
			c->length--;
		}
	}
}

static void endpoint(struct codec *c, struct endpoint *e)
{
	raw(c, e->address.bytes, 16);
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
	raw(c, p->address.bytes, 16);
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

static void code_flow(struct codec *c, struct merge_flow *f)
{
	struct flow *flow = &f->flow;

	i64(c, &f->recording_id);
	i64(c, &f->flow_id);
	i64(c, &f->segment_id);
	for (int i = 0; i < 2; i++) {
		raw(c, flow->key.address[i], 16);
		u16(c, &flow->key.port[i]);
		code_count(c, &flow->count[i]);
		u32(c, &flow->tcp.isn[i]);
		u32(c, &flow->tcp.fin_end[i]);
		flag(c, &flow->tcp.isn_known[i]);
		flag(c, &flow->tcp.fin_known[i]);
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
	else
		raw(c, flow->history, flow->history_length);
	u8(c, &flow->originator);
	flag(c, &flow->originator_sure);
	u8(c, &flow->place);
	u8(c, &flow->group_side);
	u16(c, &flow->vlan);
	u16(c, &flow->inner_vlan);
	u32(c, &flow->ifindex);
	u64(c, &flow->first_number);
	u64(c, &flow->repeats);
	if (flow->originator > 1)
		c->failed = true;
}

static void code_connection(struct codec *c, struct merge_connection *k)
{
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
	int status;

	if (c->failed)
		return merge_no_memory(error);
	status = store_carry_put(merge->store, kind, c->bytes, c->length, error);
	c->length = 0;
	return status;
}

#define PUT_ALL(kind, code, array, n)                                                              \
	for (size_t i = 0; i < (n) && status == 0; i++) {                                          \
		code(&c, &(array)[i]);                                                             \
		status = put(merge, &c, kind, error);                                              \
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
	for (size_t f = 0; f < merge->flows_count && status == 0; f++) {
		if (merge->flows[f].replaced)
			continue;
		code_flow(&c, &merge->flows[f]);
		status = put(merge, &c, CARRY_FLOW, error);
		for (uint32_t k = merge->flows[f].connections; k != UINT32_MAX && status == 0;
		     k = merge->connections[k].next) {
			code_connection(&c, &merge->connections[k]);
			status = put(merge, &c, CARRY_CONNECTION, error);
		}
	}
	free(c.bytes);
	return status;
}

/* --------------------------------------------------------------- reading -- */

#define READ_INTO(array, n, capacity, code)                                                        \
	do {                                                                                       \
		if (grow_one(&(array), (n), &(capacity), sizeof(*(array))) != 0)                   \
			return merge_no_memory(error);                                             \
		memset(&(array)[n], 0, sizeof(*(array)));                                          \
		code(&c, &(array)[n]);                                                             \
		(n)++;                                                                             \
	} while (0)

#define INDEX_LAST(field)                                                                          \
	hashindex_add(&merge->field##_index, hash_of(merge, (uint32_t)merge->field##_count - 1),   \
		      (uint32_t)merge->field##_count - 1, hash_of, merge)

static int link_connection(struct merge *merge)
{
	uint32_t place = (uint32_t)merge->connection_count - 1, *link;

	if (merge->flows_count == 0)
		return -1;
	merge->connections[place].next = UINT32_MAX;
	link = &merge->flows[merge->flows_count - 1].connections;
	while (*link != UINT32_MAX)
		link = &merge->connections[*link].next;
	*link = place;
	return 0;
}

static int take_carried(int64_t kind, const void *bytes, size_t length, void *context,
			struct error *error)
{
	struct merge *merge = context;
	struct codec c = {.in = bytes, .length = length};
	uint64_t (*hash_of)(const void *, uint32_t);
	int status = 0;

	switch (kind) {
	case CARRY_RECORDING:
		READ_INTO(merge->recordings, merge->recording_count, merge->recording_capacity,
			  code_recording);
		break;
	case CARRY_PROCESS:
		READ_INTO(merge->processes, merge->processes_count, merge->processes_capacity,
			  code_process);
		hash_of = merge_hash_of_process;
		status = INDEX_LAST(processes);
		break;
	case CARRY_SOCKET:
		READ_INTO(merge->sockets, merge->sockets_count, merge->sockets_capacity,
			  code_socket);
		hash_of = merge_hash_of_socket;
		status = INDEX_LAST(sockets);
		break;
	case CARRY_HOLDER:
		READ_INTO(merge->holders, merge->holders_count, merge->holders_capacity,
			  code_holder);
		hash_of = merge_hash_of_holder;
		status = INDEX_LAST(holders);
		break;
	case CARRY_ADDRESS:
		READ_INTO(merge->addresses, merge->addresses_count, merge->addresses_capacity,
			  code_place);
		hash_of = merge_hash_of_address;
		status = INDEX_LAST(addresses);
		break;
	case CARRY_INTERFACE:
		READ_INTO(merge->interfaces, merge->interfaces_count, merge->interfaces_capacity,
			  code_place);
		hash_of = merge_hash_of_interface;
		status = INDEX_LAST(interfaces);
		break;
	case CARRY_SNAPSHOT:
		READ_INTO(merge->snapshots, merge->snapshot_count, merge->snapshot_capacity,
			  code_snapshot);
		break;
	case CARRY_FLOW:
		READ_INTO(merge->flows, merge->flows_count, merge->flows_capacity, code_flow);
		merge->flows[merge->flows_count - 1].connections = UINT32_MAX;
		hash_of = merge_hash_of_flow;
		status = INDEX_LAST(flows);
		break;
	case CARRY_CONNECTION:
		READ_INTO(merge->connections, merge->connection_count, merge->connection_capacity,
			  code_connection);
		if (link_connection(merge) != 0)
			c.failed = true;
		break;
	case CARRY_COUNTERS:
		code_counters(&c, merge);
		break;
	default:
		c.failed = true;
	}
	if (status != 0)
		return merge_no_memory(error);
	if (c.failed || c.length != 0)
		return error_damage(error, NULL, -1, "a carry record of this version",
				    "kind %lld of %zu bytes", (long long)kind, length);
	return 0;
}

int merge_carry_read(struct merge *merge, struct error *error)
{
	return store_carry_each(merge->store, take_carried, merge, error);
}
