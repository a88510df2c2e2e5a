/*
 * What the merger remembers, as bytes in the database: blobs of records of one kind each, a
 * record's numbers (merge_codec.h) in the order of the functions below, which both write and
 * read, and of those of merge_codec.c for flows.
 */
#include "analyze/merge_internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/decode_tunnel.h"
#include "analyze/grow.h"

enum carry_kind { /* a shipped record keeps its fields; a changed one is a new kind */
		  CARRY_SOCKET = 13,
		  CARRY_HOLDER,
		  CARRY_SNAPSHOT = 17,
		  CARRY_COUNTERS = 19, /* folding leaves ids unused; they stay so */
		  CARRY_TUNNEL = 23,
		  CARRY_FLOW, /* with the connections that belong to it */
		  CARRY_RECORDING,
		  CARRY_PROCESS,
		  CARRY_ADDRESS,
		  CARRY_INTERFACE,
};

#define BLOB_BYTES (64u << 10) /* a blob ends with the record that reaches this */

static void endpoint(struct merge_codec *c, struct endpoint *e)
{
	merge_code_address(c, e->address.bytes);
	merge_code_u16(c, &e->port);
}

static void digest(struct merge_codec *c, struct merge_digest *d)
{
	merge_code_u64(c, &d->words[0]);
	merge_code_u64(c, &d->words[1]);
}

static void code_recording(struct merge_codec *c, struct merge_recording *r)
{
	merge_code_i64(c, &r->recording_id);
	merge_code_i64(c, &r->boot);
	digest(c, &r->uuid);
	digest(c, &r->boot_name);
	merge_code_u64(c, &r->last_number);
}

static void code_process(struct merge_codec *c, struct merge_process *p)
{
	merge_code_i64(c, &p->boot);
	merge_code_i64(c, &p->recording_id);
	merge_code_u32(c, &p->pid);
	merge_code_u64(c, &p->start_ticks);
	digest(c, &p->facts);
	merge_code_i64(c, &p->process_id);
	merge_code_i64(c, &p->row_recording_id);
	merge_code_i64(c, &p->image);
	merge_code_i64(c, &p->parent_process_id);
	merge_code_i64(c, &p->start_ns);
	merge_code_i64(c, &p->first_seen_ns);
	digest(c, &p->previous_facts);
	merge_code_i64(c, &p->previous_id);
}

static void code_socket(struct merge_codec *c, struct merge_socket *s)
{
	merge_code_i64(c, &s->recording_id);
	merge_code_u64(c, &s->netns);
	merge_code_u32(c, &s->table);
	merge_code_u32(c, &s->inode);
	endpoint(c, &s->local);
	endpoint(c, &s->remote);
	merge_code_i64(c, &s->opened_ns);
	merge_code_i64(c, &s->socket_id);
	merge_code_i64(c, &s->first_seen_ns);
	merge_code_i64(c, &s->first_snapshot_id);
	merge_code_i64(c, &s->closed_ns);
	merge_code_i64(c, &s->acked);
	merge_code_i64(c, &s->received);
	merge_code_i64(c, &s->sent);
	merge_code_i64(c, &s->retransmitted);
}

static void code_holder(struct merge_codec *c, struct merge_holder *h)
{
	merge_code_i64(c, &h->recording_id);
	merge_code_i64(c, &h->socket_id);
	merge_code_i64(c, &h->boot);
	merge_code_u64(c, &h->start_ticks);
	merge_code_u32(c, &h->pid);
	merge_code_u32(c, &h->fd);
	merge_code_i64(c, &h->holder_id);
	merge_code_i64(c, &h->process_id);
	merge_code_i64(c, &h->first_seen_ns);
}

static void code_place(struct merge_codec *c, struct merge_place *p)
{
	merge_code_i64(c, &p->recording_id);
	merge_code_u64(c, &p->netns);
	digest(c, &p->name);
	merge_code_u32(c, &p->ifindex);
	merge_code_u32(c, &p->prefix_length);
	merge_code_address(c, p->address.bytes);
	merge_code_i64(c, &p->place_id);
	merge_code_i64(c, &p->first_seen_ns);
}

static void code_snapshot(struct merge_codec *c, struct merge_snapshot *s)
{
	merge_code_i64(c, &s->recording_id);
	merge_code_i64(c, &s->snapshot_id);
	merge_code_u64(c, &s->sequence);
}

static void code_tunnel(struct merge_codec *c, struct merge_tunnel *t)
{
	merge_code_i64(c, &t->recording_id);
	merge_code_i64(c, &t->tunnel_id);
	merge_code_i64(c, &t->segment_id);
	merge_code_i64(c, &t->flow_id);
	merge_code_i64(c, &t->outer_tunnel_id);
	merge_code_i64(c, &t->key);
	merge_code_u8(c, &t->tunnel);
	merge_code_u8(c, &t->depth);
	merge_code_packets(c, &t->flow);
	if (t->tunnel == DECODE_NO_TUNNEL || t->tunnel >= DECODE_TUNNEL_END)
		c->failed = true;
}

static void code_counters(struct merge_codec *c, struct merge *merge)
{
	merge_code_i64(c, &merge->connection_id);
}

/* --------------------------------------------------------------- writing -- */

static int put(struct merge *merge, struct merge_codec *c, enum carry_kind kind,
	       struct error *error)
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

static int put_flows(struct merge_codec *c, struct merge *merge, struct error *error)
{
	int status = 0;

	for (size_t f = 0; f < merge->flows_count && status == 0; f++) {
		if (merge_take_live(merge, (uint32_t)f) != 0)
			return merge_no_memory(error);
		if (merge->hand.replaced)
			continue;
		merge_write_live(c, merge);
		if (c->length >= BLOB_BYTES)
			status = put(merge, c, CARRY_FLOW, error);
	}
	return status == 0 ? put(merge, c, CARRY_FLOW, error) : status;
}

int merge_carry(struct merge *merge, struct error *error)
{
	struct merge_codec c = {.writing = true};
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
static int index_last(struct merge *merge, struct merge_codec *c, struct hashindex *index,
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

static int take_flow(struct merge *merge, struct merge_codec *c)
{
	bool is_there = false;

	merge->hand_place = UINT32_MAX;
	merge->hand = (struct merge_flow){0};
	if (merge_read_live(c, merge) != 0)
		return -1;
	if (c->failed)
		return 0;
	if (merge_add_live(merge, &is_there) != 0)
		return -1;
	c->failed = is_there;
	return 0;
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
static int take_record(struct merge *merge, int64_t kind, struct merge_codec *c)
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
	struct merge_codec c = {.in = bytes, .length = length, .failed = length == 0};

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

/* No two records may be of one row: the second would be written over the first. Sorts ids. */
static int check_unique(int64_t *ids, size_t count, const char *what, struct error *error)
{
	int status = 0;

	if (count > 0)
		qsort(ids, count, sizeof(*ids), compare_ids);
	for (size_t i = 1; i < count && status == 0; i++)
		if (ids[i] == ids[i - 1])
			status = error_damage(error, NULL, -1, "one carry record for each row",
					      "two of %s %lld", what, (long long)ids[i]);
	return status;
}

static int check_array(const void *array, size_t count, size_t size, size_t offset,
		       const char *what, struct error *error)
{
	int64_t *ids = calloc(count + 1, sizeof(*ids));
	int status;

	if (ids == NULL)
		return merge_no_memory(error);
	for (size_t i = 0; i < count; i++)
		memcpy(&ids[i], (const char *)array + i * size + offset, sizeof(*ids));
	status = check_unique(ids, count, what, error);
	free(ids);
	return status;
}

/* The ids of live flows and of their connections. */
struct live_ids {
	int64_t *flows, *connections;
	size_t flow_count, flow_capacity, connection_count, connection_capacity;
};

static int gather_ids(struct merge *merge, struct live_ids *ids)
{
	for (size_t i = 0; i < merge->flows_count; i++) {
		if (merge_take_live(merge, (uint32_t)i) != 0 ||
		    grow_one(&ids->flows, ids->flow_count, &ids->flow_capacity,
			     sizeof(*ids->flows)) != 0)
			return -1;
		ids->flows[ids->flow_count++] = merge->hand.flow_id;
		for (size_t k = 0; k < merge->connection_count; k++) {
			if (grow_one(&ids->connections, ids->connection_count,
				     &ids->connection_capacity, sizeof(*ids->connections)) != 0)
				return -1;
			ids->connections[ids->connection_count++] =
				merge->connections[k].connection_id;
		}
	}
	return 0;
}

static int check_live(struct merge *merge, struct error *error)
{
	struct live_ids ids = {0};
	int status = 0;

	if (gather_ids(merge, &ids) != 0)
		status = merge_no_memory(error);
	if (status == 0)
		status = check_unique(ids.flows, ids.flow_count, "flow_id", error);
	if (status == 0)
		status =
			check_unique(ids.connections, ids.connection_count, "connection_id", error);
	free(ids.flows);
	free(ids.connections);
	return status;
}

#define UNIQUE(type, array, n, id)                                                                 \
	do {                                                                                       \
		if (status == 0)                                                                   \
			status = check_array((array), (n), sizeof(struct type),                    \
					     offsetof(struct type, id), #id, error);               \
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
		const struct merge_flow *f = &merge->hand;

		if (merge_take_live(merge, (uint32_t)i) != 0)
			return merge_no_memory(error);
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
	UNIQUE(merge_recording, merge->recordings, merge->recording_count, uuid);
	UNIQUE(merge_process, merge->processes, merge->processes_count, process_id);
	UNIQUE(merge_socket, merge->sockets, merge->sockets_count, socket_id);
	UNIQUE(merge_holder, merge->holders, merge->holders_count, holder_id);
	UNIQUE(merge_place, merge->addresses, merge->addresses_count, place_id);
	UNIQUE(merge_place, merge->interfaces, merge->interfaces_count, place_id);
	UNIQUE(merge_tunnel, merge->tunnels, merge->tunnels_count, tunnel_id);
	if (status == 0)
		status = check_live(merge, error);
	return status == 0 ? check_rows(merge, error) : status;
}
