#include "analyze/merge_internal.h"

#include <netinet/in.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

#define NONE UINT32_MAX

struct merge_stretch merge_describe(const struct merge *merge, const struct replay_part *part,
				    uint32_t span)
{
	const struct timeline *tl = merge->timeline;
	const struct ledger_span *s = &part->ledger.spans[span];
	struct merge_stretch out = {
		.span = span,
		.process_start_ns = INT64_MIN,
		.sighted_first_ns = INT64_MAX,
		.sighted_last_ns = STORE_NULL,
	};

	if (s->socket != TIMELINE_NONE) {
		out.socket_id = merge->socket_ids[s->socket];
		out.sighted_first_ns = timeline_known_ns(tl, s->socket);
		out.sighted_last_ns = tl->frames[tl->sockets[s->socket].life.last].end_ns;
	}
	if (s->reason == BRIDGE_OWNED) {
		out.process_id = s->image != TIMELINE_NONE ? merge->image_ids[s->image]
							   : merge->process_ids[s->process];
		out.process_start_ns = tl->processes[s->process].start_ns;
	}
	return out;
}

void merge_add_count(struct flow_count *to, const struct flow_count *from)
{
	to->packets += from->packets;
	to->bytes += from->bytes;
	to->payload_bytes += from->payload_bytes;
}

/* -------------------------------------------------------------- finding -- */

/* So many of a flow's rows are looked at one by one, more than most flows have; those after them
 * stand in an index too, once they are asked for. */
#define SHORT_LIST 8

static bool is_owners(const struct merge_connection *c, uint8_t side, enum bridge_reason reason,
		      int64_t process_id)
{
	return c->side == side && c->reason == reason &&
	       (reason != BRIDGE_OWNED || c->process_id == process_id);
}

static uint64_t hash_owner(uint8_t side, enum bridge_reason reason, int64_t process_id)
{
	const uint64_t key[2] = {(uint64_t)reason << 1 | side,
				 reason == BRIDGE_OWNED ? (uint64_t)process_id : 0};

	return hashindex_double(hashindex_keyed(key, sizeof(key)));
}

/* Of one whose owner was another one, what stood there before stays: what is found is compared. */
int merge_note_owner(struct merge *merge, const struct merge_connection *c)
{
	if (!merge->connections_indexed)
		return 0;
	walk_step();
	return hashindex_add(&merge->connections_index,
			     hash_owner(c->side, c->reason, c->process_id),
			     (uint32_t)(c - merge->connections), NULL, NULL);
}

void merge_forget_owners(struct merge *merge)
{
	if (merge->connections_indexed)
		hashindex_release(&merge->connections_index);
	merge->connections_indexed = false;
}

static int note_owners(struct merge *merge)
{
	int status = 0;

	merge->connections_indexed = true;
	for (uint32_t i = merge->hand.connections; i != NONE && status == 0;
	     i = merge->connections[i].next)
		status = merge_note_owner(merge, &merge->connections[i]);
	return status;
}

int merge_find_connection(struct merge *merge, uint8_t side, enum bridge_reason reason,
			  int64_t process_id, struct merge_connection **out)
{
	const uint64_t hash = hash_owner(side, reason, process_id);
	uint32_t i = merge->hand.connections, probe = (uint32_t)hash, found = NONE;

	*out = NULL;
	for (int n = 0; i != NONE && n < SHORT_LIST; n++, i = merge->connections[i].next) {
		walk_step();
		if (is_owners(&merge->connections[i], side, reason, process_id)) {
			*out = &merge->connections[i];
			return 0;
		}
	}
	if (i == NONE)
		return 0;
	if (!merge->connections_indexed && note_owners(merge) != 0)
		return -1;
	while ((i = hashindex_next(&merge->connections_index, hash, &probe)) != HASHINDEX_NONE) {
		walk_step();
		if (i < found && is_owners(&merge->connections[i], side, reason, process_id))
			found = i;
	}
	if (found != NONE)
		*out = &merge->connections[found];
	return 0;
}

/* Ids are given in the order of the list. */
const struct merge_connection *merge_by_id(const struct merge *merge, int64_t connection_id)
{
	size_t low = 0, high = merge->connection_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (merge->connections[middle].connection_id < connection_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < merge->connection_count &&
			       merge->connections[low].connection_id == connection_id
		       ? &merge->connections[low]
		       : NULL;
}

struct merge_connection *merge_new_connection(struct merge *merge, uint8_t side)
{
	size_t last = merge->connection_count;
	uint32_t *link;

	if (grow_one(&merge->connections, merge->connection_count, &merge->connection_capacity,
		     sizeof(*merge->connections)) != 0)
		return NULL;
	while (last > 0 && merge->connections[last - 1].reason == BRIDGE_REASONS) {
		walk_step();
		last--;
	}
	link = last > 0 ? &merge->connections[last - 1].next : &merge->hand.connections;
	*link = (uint32_t)merge->connection_count;
	merge->connections[merge->connection_count] = (struct merge_connection){
		.next = NONE,
		.side = side,
		.connection_id = ++merge->connection_id,
		.distance_ns = STORE_NULL,
		.start_ns = INT64_MAX,
		.end_ns = INT64_MIN,
		.sighted_first_ns = INT64_MAX,
		.sighted_last_ns = STORE_NULL,
	};
	return &merge->connections[merge->connection_count++];
}

void merge_unlink_connection(struct merge *merge, uint32_t *link)
{
	struct merge_connection *c = &merge->connections[*link];

	*link = c->next;
	c->reason = BRIDGE_REASONS;
}

void merge_own(struct merge *merge, struct merge_connection *c, const struct ledger_span *span,
	       const struct merge_stretch *stretch)
{
	c->reason = span->reason;
	c->process_id = stretch->process_id;
	c->socket_id = stretch->socket_id;
	if (span->frame != TIMELINE_NONE)
		c->snapshot_id = merge->frame_ids[span->frame];
}

/* Adds a stretch to its connection row. */
void merge_add_span(struct merge_connection *c, const struct ledger_span *span,
		    const struct merge_stretch *stretch)
{
	for (int i = 0; i < BRIDGE_RULES; i++)
		c->rule_packets[i] += (int64_t)span->rule_packets[i];
	if (span->reason == BRIDGE_OWNED && span->distance_ns > c->distance_ns)
		c->distance_ns = span->distance_ns;
	if (span->shared_by > c->shared_by)
		c->shared_by = span->shared_by;
	if (span->start_ns < c->start_ns)
		c->start_ns = span->start_ns;
	if (span->end_ns > c->end_ns)
		c->end_ns = span->end_ns;
	if (stretch->sighted_first_ns < c->sighted_first_ns)
		c->sighted_first_ns = stretch->sighted_first_ns;
	if (stretch->sighted_last_ns > c->sighted_last_ns)
		c->sighted_last_ns = stretch->sighted_last_ns;
	if (c->socket_id == 0)
		c->socket_id = stretch->socket_id;
	c->by_tuple = c->by_tuple || span->by_tuple;
	c->refused = c->refused || span->refused;
	merge_add_count(&c->sent, &span->sent);
	merge_add_count(&c->received, &span->received);
}

static const char *strongest(const struct merge_connection *c)
{
	for (int i = 0; i < BRIDGE_RULES; i++) {
		if (c->rule_packets[i] > 0)
			return bridge_rule_name((enum bridge_rule)i);
	}
	return NULL;
}

bool merge_is_listeners(const struct merge_connection *c)
{
	return c->reason == BRIDGE_OWNED && !c->by_tuple && c->rule_packets[BRIDGE_LISTENER] > 0 &&
	       strongest(c) == bridge_rule_name(BRIDGE_LISTENER);
}

bool merge_is_answered(const struct merge_flow *live, const struct merge_connection *c)
{
	return flow_refused(&live->flow, c->side) &&
	       (c->reason == BRIDGE_GAP || merge_is_listeners(c) ||
		(c->reason == BRIDGE_AMBIGUOUS && !c->by_tuple));
}

int merge_restate(struct merge *merge, struct merge_connection *c, bool answered,
		  struct error *error)
{
	enum bridge_reason reason = answered ? BRIDGE_NO_SOCKET : c->reason;

	c->said = answered;
	return store_restate_packets(merge->store, c->connection_id, bridge_reason_name(reason),
				     c->by_tuple ? STORE_AHEAD : STORE_LISTENER, error);
}

void merge_note_said(struct merge *merge, const struct merge_flow *live)
{
	for (uint32_t i = live->connections; i != NONE; i = merge->connections[i].next)
		merge->connections[i].said = merge_is_answered(live, &merge->connections[i]);
}

int merge_say_answered(struct merge *merge, const struct merge_flow *live, struct error *error)
{
	int status = 0;

	for (uint32_t i = live->connections; i != NONE && status == 0;
	     i = merge->connections[i].next) {
		struct merge_connection *c = &merge->connections[i];
		bool answered = merge_is_answered(live, c);

		if (answered && !c->said)
			status = merge_restate(merge, c, true, error);
		/* Those packets came before the five-tuple was seen, if it is by now. */
		else if (!answered && c->said)
			status = store_restate_packets(merge->store, c->connection_id,
						       bridge_reason_name(c->reason),
						       STORE_LISTENER, error);
		if (status == 0 && answered && c->reason == BRIDGE_AMBIGUOUS)
			status = store_drop_candidates(merge->store, c->connection_id, error);
	}
	return status;
}

int merge_note_answered(struct merge *merge, const struct replay_part *part,
			struct merge_mapping *map, struct error *error)
{
	for (size_t i = 0; i < part->ledger.span_count; i++) {
		const struct ledger_span *s = &part->ledger.spans[i];
		const struct merge_connection *c;

		if (merge_take_live(merge, map->places[s->flow]) != 0)
			return merge_no_memory(error);
		c = merge_by_id(merge, map->span_ids[i]);
		if (s->folded == LEDGER_NONE && c != NULL && merge_is_answered(&merge->hand, c))
			map->reasons[i] = BRIDGE_NO_SOCKET;
	}
	return 0;
}

int merge_put_connection(struct merge *merge, const struct merge_flow *live,
			 const struct merge_connection *c, enum store_how how, struct error *error)
{
	bool answered = merge_is_answered(live, c);
	bool owned = c->reason == BRIDGE_OWNED && !answered;
	char remote[ENDPOINT_TEXT_SIZE];
	struct endpoint_address address;
	struct store_connection row = {
		.connection_id = c->connection_id,
		.flow_id = live->flow_id,
		.end = c->side == live->flow.originator ? "orig" : "resp",
		.process_id = owned ? c->process_id : 0,
		.socket_id = answered ? 0 : c->socket_id,
		.rule = owned ? strongest(c) : NULL,
		.reason = bridge_reason_name(answered ? BRIDGE_NO_SOCKET : c->reason),
		.shared_by = answered ? 0 : c->shared_by,
		.snapshot_id = owned ? c->snapshot_id : 0,
		.distance_ns = owned ? c->distance_ns : STORE_NULL,
		.start_ns = c->start_ns,
		.end_ns = c->end_ns,
		.sent_packets = (int64_t)c->sent.packets,
		.sent_bytes = (int64_t)c->sent.bytes,
		.sent_payload_bytes = (int64_t)c->sent.payload_bytes,
		.received_packets = (int64_t)c->received.packets,
		.received_bytes = (int64_t)c->received.bytes,
		.received_payload_bytes = (int64_t)c->received.payload_bytes,
	};

	memcpy(address.bytes, live->flow.key.address[!c->side], sizeof(address.bytes));
	row.remote_address = endpoint_format(&address, remote);
	if (owned)
		memcpy(row.rule_packets, c->rule_packets, sizeof(row.rule_packets));
	return store_connection(merge->store, &row, how, error);
}
