#include "analyze/merge_internal.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/community.h"
#include "analyze/grow.h"
#include "snapshot/format/quantity.h"

#define NONE UINT32_MAX

_Static_assert((int)STORE_RULES == (int)BRIDGE_RULES &&
		       (int)STORE_QUOTED == (int)BRIDGE_QUOTED &&
		       (int)STORE_BOUND == (int)BRIDGE_BOUND,
	       "the store counts packets by the bridge's rules");

/* ------------------------------------------------------------ live flows -- */

static uint64_t hash_live(int64_t recording_id, const struct flow_key *key)
{
	return hashindex_mix(flow_key_hash(key) ^ (uint64_t)recording_id * 31);
}

uint64_t merge_hash_of_flow(const void *context, uint32_t place)
{
	const struct merge_flow *f = &((const struct merge *)context)->flows[place];

	return hash_live(f->recording_id, &f->flow.key);
}

/* The newest instance of a key. */
static uint32_t find_live(const struct merge *merge, const struct flow_key *key)
{
	int64_t recording_id = merge->recording->recording_id;
	uint64_t hash = hash_live(recording_id, key);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&merge->flows_index, hash, &probe)) != HASHINDEX_NONE) {
		const struct merge_flow *f = &merge->flows[i];

		if (!f->replaced && f->recording_id == recording_id &&
		    flow_key_equal(&f->flow.key, key))
			return i;
	}
	return NONE;
}

static uint32_t new_live(struct merge *merge, const struct flow *flow)
{
	uint32_t place = (uint32_t)merge->flows_count;

	if (grow_one(&merge->flows, merge->flows_count, &merge->flows_capacity,
			   sizeof(*merge->flows)) != 0)
		return NONE;
	merge->flows[merge->flows_count++] = (struct merge_flow){
		.flow = *flow,
		.recording_id = merge->recording->recording_id,
		.flow_id = ++merge->flow_id,
		.segment_id = merge->row.segment_id,
		.connections = NONE,
	};
	if (hashindex_add(&merge->flows_index,
			  hash_live(merge->recording->recording_id, &flow->key), place,
			  merge_hash_of_flow, merge) != 0)
		return NONE;
	return place;
}

/* What the flows and stretches of a part became. */
struct mapping {
	int64_t *flow_ids, *span_ids;
	uint8_t *originators; /* by flow: of the whole flow, not of the part */
	bool *swapped;	      /* by span: seen from the other end */
};

/* ------------------------------------------------------------ connections -- */

/* A stretch in the terms of the database. */
struct stretch {
	uint32_t span;
	int64_t process_id, socket_id;
	int64_t process_start_ns; /* INT64_MIN: not known */
	int64_t sighted_last_ns;  /* STORE_NULL: no socket */
};

static struct stretch describe(const struct merge *merge, const struct replay_part *part,
			       uint32_t span)
{
	const struct timeline *tl = merge->timeline;
	const struct ledger_span *s = &part->ledger.spans[span];
	struct stretch out = {
		.span = span, .process_start_ns = INT64_MIN, .sighted_last_ns = STORE_NULL};

	if (s->socket != TIMELINE_NONE) {
		out.socket_id = merge->socket_ids[s->socket];
		out.sighted_last_ns = tl->frames[tl->sockets[s->socket].life.last].end_ns;
	}
	if (s->reason == BRIDGE_OWNED) {
		out.process_id = s->image != TIMELINE_NONE ? merge->image_ids[s->image]
							   : merge->process_ids[s->process];
		out.process_start_ns = tl->processes[s->process].start_ns;
	}
	return out;
}

/* Whether nothing of the very five-tuple was seen for it: what the readings
 * of a neighbouring segment may settle. */
static bool unsettled(enum bridge_reason reason, bool by_tuple, bool listener)
{
	if (reason == BRIDGE_OWNED)
		return listener;
	return reason == BRIDGE_GAP || reason == BRIDGE_BEFORE_START ||
	       (reason == BRIDGE_NO_SOCKET && !by_tuple) ||
	       (reason == BRIDGE_NO_HOLDER && by_tuple);
}

static bool span_is_listener(const struct ledger_span *span)
{
	return span->reason == BRIDGE_OWNED && span->rule_packets[BRIDGE_LISTENER] > 0 &&
	       span->rule_packets[BRIDGE_EXACT] + span->rule_packets[BRIDGE_AHEAD] +
			       span->rule_packets[BRIDGE_BEHIND] ==
		       0;
}

static bool span_settles(const struct ledger_span *span)
{
	return span->reason == BRIDGE_OWNED && span->by_tuple;
}

static void add_count(struct flow_count *to, const struct flow_count *from)
{
	to->packets += from->packets;
	to->bytes += from->bytes;
	to->payload_bytes += from->payload_bytes;
}

static struct merge_connection *find_connection(struct merge *merge, const struct merge_flow *live,
						uint8_t side, enum bridge_reason reason,
						int64_t process_id)
{
	for (uint32_t i = live->connections; i != NONE; i = merge->connections[i].next) {
		struct merge_connection *c = &merge->connections[i];

		if (c->side == side && c->reason == reason &&
		    (reason != BRIDGE_OWNED || c->process_id == process_id))
			return c;
	}
	return NULL;
}

static struct merge_connection *new_connection(struct merge *merge, struct merge_flow *live,
					       uint8_t side)
{
	uint32_t place = (uint32_t)merge->connection_count, *link = &live->connections;

	if (grow_one(&merge->connections, merge->connection_count,
			   &merge->connection_capacity, sizeof(*merge->connections)) != 0)
		return NULL;
	merge->connections[merge->connection_count++] = (struct merge_connection){
		.next = NONE,
		.side = side,
		.connection_id = ++merge->connection_id,
		.distance_ns = STORE_NULL,
		.start_ns = INT64_MAX,
		.end_ns = INT64_MIN,
		.sighted_last_ns = STORE_NULL,
	};
	while (*link != NONE)
		link = &merge->connections[*link].next;
	*link = place;
	return &merge->connections[place];
}

static void own(struct merge *merge, struct merge_connection *c, const struct ledger_span *span,
		const struct stretch *stretch)
{
	c->reason = span->reason;
	c->process_id = stretch->process_id;
	c->socket_id = stretch->socket_id;
	if (span->frame != TIMELINE_NONE)
		c->snapshot_id = merge->frame_ids[span->frame];
}

/* Adds a stretch to its connection row. */
static void add_span(struct merge_connection *c, const struct ledger_span *span,
		     const struct stretch *stretch)
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
	if (stretch->sighted_last_ns > c->sighted_last_ns)
		c->sighted_last_ns = stretch->sighted_last_ns;
	if (c->socket_id == 0)
		c->socket_id = stretch->socket_id;
	c->by_tuple = c->by_tuple || span->by_tuple;
	c->listener = span_is_listener(span);
	add_count(&c->sent, &span->sent);
	add_count(&c->received, &span->received);
}

/* Packets without a sighting of their own rest on one in another segment. */
static void add_span_as(struct merge_connection *c, const struct ledger_span *span,
			enum bridge_rule rule, int64_t distance_ns)
{
	c->rule_packets[rule] += (int64_t)(span->sent.packets + span->received.packets);
	if (distance_ns > c->distance_ns)
		c->distance_ns = distance_ns;
	if (span->start_ns < c->start_ns)
		c->start_ns = span->start_ns;
	if (span->end_ns > c->end_ns)
		c->end_ns = span->end_ns;
	add_count(&c->sent, &span->sent);
	add_count(&c->received, &span->received);
}

static const char *strongest(const struct merge_connection *c)
{
	for (int i = 0; i < BRIDGE_RULES; i++) {
		if (c->rule_packets[i] > 0)
			return bridge_rule_name((enum bridge_rule)i);
	}
	return NULL;
}

static int put_connection(struct merge *merge, const struct merge_flow *live,
			  const struct merge_connection *c, bool insert, struct error *error)
{
	bool anywhere = !live->flow.end[0].local && !live->flow.end[1].local;
	bool owned = c->reason == BRIDGE_OWNED;
	struct store_connection row = {
		.connection_id = c->connection_id,
		.flow_id = live->flow_id,
		.end = anywhere || c->side == live->flow.originator ? "orig" : "resp",
		.process_id = owned ? c->process_id : 0,
		.socket_id = c->socket_id,
		.rule = owned ? strongest(c) : NULL,
		.reason = bridge_reason_name(c->reason),
		.shared_by = c->shared_by,
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

	if (owned)
		memcpy(row.rule_packets, c->rule_packets, sizeof(row.rule_packets));
	return store_connection(merge->store, &row, insert, error);
}

static int put_candidates(struct merge *merge, const struct replay_part *part,
			  const struct ledger_span *span, int64_t connection_id,
			  struct error *error)
{
	for (uint32_t i = 0; i < span->candidate_count; i++) {
		const struct bridge_candidate *c =
			&part->ledger.candidates[span->first_candidate + i];
		struct store_candidate row = {
			.connection_id = connection_id,
			.process_id = c->image != TIMELINE_NONE ? merge->image_ids[c->image]
								: merge->process_ids[c->process],
			.socket_id = c->socket != TIMELINE_NONE ? merge->socket_ids[c->socket] : 0,
		};
		int status = store_candidate(merge->store, &row, error);

		if (status != 0)
			return status;
	}
	return 0;
}

/* ------------------------------------------------- owners across segments -- */

/* The one owner by five-tuple that this part shows for an end; NONE: none or several. */
static uint32_t sole_settler(const struct replay_part *part, const struct flow *flow, uint8_t side)
{
	const struct ledger *ledger = &part->ledger;
	uint32_t found = NONE;

	for (uint32_t i = flow->end[side].first_span; i != NONE; i = ledger->spans[i].next) {
		const struct ledger_span *s = &ledger->spans[i];

		if (s->folded != LEDGER_NONE || !span_settles(s))
			continue;
		if (found != NONE)
			return NONE;
		found = i;
	}
	return found;
}

static bool has_settled(const struct merge *merge, const struct merge_flow *live, uint8_t side,
			uint32_t *last)
{
	*last = NONE;
	for (uint32_t i = live->connections; i != NONE; i = merge->connections[i].next) {
		const struct merge_connection *c = &merge->connections[i];

		if (c->side == side && c->reason == BRIDGE_OWNED && c->by_tuple)
			*last = i;
	}
	return *last != NONE;
}

/* Earlier packets of this end, for which their own segment showed no socket,
 * are the first sighted one's: look-ahead over the boundary. */
static int settle_earlier(struct merge *merge, struct merge_flow *live,
			  const struct replay_part *part, uint8_t side, uint32_t span,
			  struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct ledger_span *s = &part->ledger.spans[span];
	struct stretch stretch = describe(merge, part, span);
	int64_t sighted = timeline_first_end(tl, &tl->sockets[s->socket].life);
	struct merge_connection *owner = NULL;
	uint32_t *link = &live->connections;
	int status = 0;

	while (*link != NONE && status == 0) {
		struct merge_connection *c = &merge->connections[*link];
		int64_t packets = (int64_t)(c->sent.packets + c->received.packets);
		int64_t distance = sighted > c->start_ns ? sighted - c->start_ns : 0;

		if (c->side != side || !unsettled(c->reason, c->by_tuple, c->listener) ||
		    stretch.process_start_ns > c->start_ns) {
			link = &c->next;
			continue;
		}
		if (owner == NULL) {
			owner = c;
			memset(c->rule_packets, 0, sizeof(c->rule_packets));
			c->rule_packets[BRIDGE_AHEAD] = packets;
			c->distance_ns = distance;
			c->by_tuple = true;
			c->listener = false;
			own(merge, c, s, &stretch);
			link = &c->next;
			continue;
		}
		owner->rule_packets[BRIDGE_AHEAD] += packets;
		add_count(&owner->sent, &c->sent);
		add_count(&owner->received, &c->received);
		if (c->end_ns > owner->end_ns)
			owner->end_ns = c->end_ns;
		status = store_fold_connection(merge->store, c->connection_id,
					       owner->connection_id, error);
		*link = c->next;
	}
	return status;
}

/* In the part of a flow that goes on, readings from before the flow began
 * speak of another connection. */
static bool predates(const struct merge *merge, const struct merge_flow *live,
		     const struct ledger_span *span)
{
	const struct timeline *tl = merge->timeline;

	return live->flow.began_ns != INT64_MIN && span->by_tuple &&
	       span->socket != TIMELINE_NONE &&
	       tl->frames[tl->sockets[span->socket].life.last].begin_ns < live->flow.began_ns;
}

/* Finds or makes the row for a stretch and adds it. Returns its connection id, negative on failure. */
static int64_t take_span(struct merge *merge, struct merge_flow *live, uint32_t settled,
			 const struct replay_part *part, uint32_t span, bool swapped, bool *fresh)
{
	const struct ledger_span *s = &part->ledger.spans[span];
	struct stretch stretch = describe(merge, part, span);
	struct ledger_span plain = *s;
	struct merge_connection *c;

	*fresh = false;
	if (swapped) {
		plain.side = !plain.side;
		plain.sent = s->received;
		plain.received = s->sent;
		s = &plain;
	}
	if (settled != NONE && unsettled(s->reason, s->by_tuple, span_is_listener(s))) {
		c = &merge->connections[settled];
		add_span_as(c, s, BRIDGE_BEHIND,
			    c->sighted_last_ns != STORE_NULL && s->end_ns > c->sighted_last_ns
				    ? s->end_ns - c->sighted_last_ns
				    : 0);
		return c->connection_id;
	}
	if (predates(merge, live, s)) {
		plain.reason = BRIDGE_GAP;
		plain.by_tuple = false;
		plain.shared_by = plain.candidate_count = 0;
		memset(plain.rule_packets, 0, sizeof(plain.rule_packets));
		s = &plain;
		stretch = (struct stretch){.span = span, .process_start_ns = INT64_MIN,
					   .sighted_last_ns = STORE_NULL};
	}
	c = find_connection(merge, live, s->side, s->reason, stretch.process_id);
	if (c == NULL) {
		c = new_connection(merge, live, s->side);
		if (c == NULL)
			return ERROR_MEMORY;
		own(merge, c, s, &stretch);
		*fresh = true;
	}
	add_span(c, s, &stretch);
	return c->connection_id;
}

static int merge_end_of_flow(struct merge *merge, uint32_t place, const struct replay_part *part,
			     const struct flow *flow, uint8_t side, struct mapping *map,
			     struct error *error)
{
	struct merge_flow *live = &merge->flows[place];
	/* A flow without a local end is told from its originator's. */
	bool swapped = !live->flow.end[0].local && !live->flow.end[1].local &&
		       side != live->flow.originator;
	uint32_t settled, sole = sole_settler(part, flow, side);
	bool tcp = flow->key.protocol == IPPROTO_TCP, fresh;
	int status;

	if (has_settled(merge, live, side, &settled) ? sole != NONE || !tcp : true)
		settled = NONE;
	if (tcp && sole != NONE && !predates(merge, live, &part->ledger.spans[sole])) {
		uint32_t none;

		if (!has_settled(merge, live, side, &none)) {
			status = settle_earlier(merge, live, part, side, sole, error);
			if (status != 0)
				return status;
		}
	}
	for (uint32_t i = flow->end[side].first_span; i != NONE; i = part->ledger.spans[i].next) {
		const struct ledger_span *s = &part->ledger.spans[i];

		if (s->folded != LEDGER_NONE)
			continue;
		map->swapped[i] = swapped;
		map->span_ids[i] = take_span(merge, live, settled, part, i, swapped, &fresh);
		if (map->span_ids[i] < 0)
			return merge_no_memory(error);
		if (fresh) {
			const struct merge_connection *c =
				&merge->connections[merge->connection_count - 1];

			status = put_connection(merge, live, c, true, error);
			if (status != 0)
				return status;
		}
		status = put_candidates(merge, part, s, map->span_ids[i], error);
		if (status != 0)
			return status;
	}
	return 0;
}

/* ----------------------------------------------------------------- flows -- */

static int put_flow(struct merge *merge, const struct merge_flow *live, bool insert,
		    struct error *error)
{
	const struct flow *f = &live->flow;
	uint8_t o = f->originator;
	struct endpoint_address orig, resp;
	char orig_text[ENDPOINT_TEXT_SIZE], resp_text[ENDPOINT_TEXT_SIZE];
	char protocol[ENDPOINT_PROTOCOL_SIZE], history[FLOW_HISTORY_SIZE];
	char community[COMMUNITY_ID_SIZE];
	bool icmp = f->key.protocol == IPPROTO_ICMP || f->key.protocol == IPPROTO_ICMPV6;
	struct store_flow row = {
		.flow_id = live->flow_id,
		.recording_id = live->recording_id,
		.segment_id = live->segment_id,
		.protocol = endpoint_protocol_name(f->key.protocol, protocol),
		.ip_version = f->key.ip_version,
		.orig_port = f->key.port[o],
		.resp_port = f->key.port[!o],
		.icmp_id = icmp ? f->key.icmp_id : STORE_NULL,
		.start_ns = f->first_ns,
		.end_ns = f->last_ns,
		.orig_packets = (int64_t)f->count[o].packets,
		.orig_bytes = (int64_t)f->count[o].bytes,
		.orig_payload_bytes = (int64_t)f->count[o].payload_bytes,
		.resp_packets = (int64_t)f->count[!o].packets,
		.resp_bytes = (int64_t)f->count[!o].bytes,
		.resp_payload_bytes = (int64_t)f->count[!o].payload_bytes,
		.repeat_packets = (int64_t)f->repeats,
		.conn_state = flow_conn_state(f),
		.history = history,
		.community_id = community_id(&f->key, o, community),
		.ifindex = f->ifindex != 0 ? (int64_t)f->ifindex : STORE_NULL,
		.vlan = f->vlan != 0 ? f->vlan : STORE_NULL,
		.inner_vlan = f->inner_vlan != 0 ? f->inner_vlan : STORE_NULL,
		.first_packet_number = (int64_t)f->first_number,
	};

	memcpy(orig.bytes, f->key.address[o], 16);
	memcpy(resp.bytes, f->key.address[!o], 16);
	row.orig_address = endpoint_format(&orig, orig_text);
	row.resp_address = endpoint_format(&resp, resp_text);
	flow_history(f, history);
	return store_flow(merge->store, &row, insert, error);
}

static int merge_flow_part(struct merge *merge, const struct replay_part *part, uint32_t i,
			   struct mapping *map, struct error *error)
{
	const struct flow *flow = &part->flows.flows[i];
	uint32_t place = find_live(merge, &flow->key);
	bool insert = place == NONE ||
		      !flow_continues(&merge->flows[place].flow, flow, &merge->limits);
	int status;

	if (insert) {
		if (place != NONE)
			merge->flows[place].replaced = true;
		place = new_live(merge, flow);
		if (place == NONE)
			return merge_no_memory(error);
		merge->totals.flows++;
		status = put_flow(merge, &merge->flows[place], true, error);
		if (status != 0)
			return status;
	} else {
		flow_join(&merge->flows[place].flow, flow);
	}
	map->flow_ids[i] = merge->flows[place].flow_id;
	map->originators[i] = merge->flows[place].flow.originator;
	for (uint8_t side = 0; side < 2; side++) {
		status = merge_end_of_flow(merge, place, part, flow, side, map, error);
		if (status != 0)
			return status;
	}
	if (!insert) {
		status = put_flow(merge, &merge->flows[place], false, error);
		for (uint32_t c = merge->flows[place].connections; c != NONE && status == 0;
		     c = merge->connections[c].next)
			status = put_connection(merge, &merge->flows[place],
						&merge->connections[c], false, error);
		return status;
	}
	return 0;
}

/* ------------------------------------------------------ traffic, packets -- */

static int merge_traffic(struct merge *merge, const struct replay_part *part,
			 const struct mapping *map, struct error *error)
{
	for (size_t i = 0; i < part->ledger.traffic_count; i++) {
		const struct ledger_traffic *t = &part->ledger.traffic[i];
		uint32_t span = ledger_final(&part->ledger, t->span);
		bool swap = map->swapped[span];
		struct store_traffic row = {
			.connection_id = map->span_ids[span],
			.bucket = t->bucket,
			.sent_packets = swap ? t->received_packets : t->sent_packets,
			.sent_bytes = (int64_t)(swap ? t->received_bytes : t->sent_bytes),
			.received_packets = swap ? t->sent_packets : t->received_packets,
			.received_bytes = (int64_t)(swap ? t->sent_bytes : t->received_bytes),
		};
		int status = store_traffic(merge->store, &row, error);

		if (status != 0)
			return status;
	}
	return 0;
}

static int merge_packets(struct merge *merge, const struct replay_part *part,
			 const struct mapping *map, struct error *error)
{
	for (size_t i = 0; i < part->ledger.packet_count; i++) {
		const struct ledger_packet *p = &part->ledger.packets[i];
		uint32_t span = ledger_final(&part->ledger, p->span);
		const struct ledger_span *s = &part->ledger.spans[span];
		bool owned = s->reason == BRIDGE_OWNED && p->reason == BRIDGE_OWNED;
		struct store_packet row = {
			.segment_id = merge->row.segment_id,
			.number = (int64_t)p->number,
			.offset_bytes = (int64_t)p->offset_bytes,
			.flow_id = map->flow_ids[p->flow],
			.connection_id = map->span_ids[span],
			.time_ns = p->time_ns,
			.bytes = p->bytes,
			.direction = p->side == map->originators[p->flow] ? 0 : 1,
			.rule = owned ? bridge_rule_name(p->rule) : NULL,
			.reason = owned ? NULL
				  : s->reason == BRIDGE_OWNED ? bridge_reason_name(p->reason)
							      : bridge_reason_name(s->reason),
		};
		int status = store_packet(merge->store, &row, error);

		if (status != 0)
			return status;
	}
	return 0;
}

static int merge_other(struct merge *merge, const struct replay_part *part, struct error *error)
{
	for (int i = 0; i < DECODE_OUTCOME_END; i++) {
		struct store_other row = {
			.segment_id = merge->row.segment_id,
			.reason = decode_outcome_name((enum decode_outcome)i),
			.packets = (int64_t)part->ledger.other[i].packets,
			.bytes = (int64_t)part->ledger.other[i].bytes,
		};
		int status;

		if (row.packets == 0)
			continue;
		status = store_other(merge->store, &row, error);
		if (status != 0)
			return status;
	}
	return 0;
}

static void count_totals(struct merge *merge, const struct replay_part *part)
{
	struct merge_totals *t = &merge->totals;

	t->packets += part->packets;
	t->flow_packets += part->flow_packets;
	merge->row.packets += (int64_t)part->packets;
	merge->row.bytes += (int64_t)part->bytes;
	merge->row.flow_packets += (int64_t)part->flow_packets;
	if (part->packets == 0)
		return;
	if (merge->row.first_packet_ns == STORE_NULL ||
	    part->first_ns < merge->row.first_packet_ns)
		merge->row.first_packet_ns = part->first_ns;
	if (merge->row.last_packet_ns == STORE_NULL || part->last_ns > merge->row.last_packet_ns)
		merge->row.last_packet_ns = part->last_ns;
}

int merge_part(struct merge *merge, const struct replay_part *part, struct error *error)
{
	struct mapping map = {
		.flow_ids = calloc(part->flows.count + 1, sizeof(*map.flow_ids)),
		.span_ids = calloc(part->ledger.span_count + 1, sizeof(*map.span_ids)),
		.originators = calloc(part->flows.count + 1, sizeof(*map.originators)),
		.swapped = calloc(part->ledger.span_count + 1, sizeof(*map.swapped)),
	};
	int status = 0;

	if (map.flow_ids == NULL || map.span_ids == NULL || map.originators == NULL ||
	    map.swapped == NULL) {
		status = merge_no_memory(error);
		goto out;
	}
	for (uint32_t i = 0; i < part->flows.count && status == 0; i++)
		status = merge_flow_part(merge, part, i, &map, error);
	if (status == 0)
		status = merge_traffic(merge, part, &map, error);
	if (status == 0)
		status = merge_packets(merge, part, &map, error);
	if (status == 0)
		status = merge_other(merge, part, error);
	count_totals(merge, part);
out:
	free(map.flow_ids);
	free(map.span_ids);
	free(map.originators);
	free(map.swapped);
	return status;
}

/* -------------------------------------------------------------- segments -- */

int merge_begin(struct merge *merge, const struct merge_segment *segment, struct error *error)
{
	merge->row = (struct store_segment){
		.segment_id = ++merge->segment_id,
		.number = segment->number != 0 ? (int64_t)segment->number : STORE_NULL,
		.pcap_name = segment->pcap_name,
		.snap_name = segment->snap_name,
		.pcap_bytes = segment->pcap_name != NULL ? segment->pcap_bytes : STORE_NULL,
		.snap_bytes = segment->snap_name != NULL ? segment->snap_bytes : STORE_NULL,
		.pcap_sha256 = segment->pcap_sha256,
		.snap_sha256 = segment->snap_sha256,
		.link_type = segment->pcap_name != NULL ? segment->link_type : STORE_NULL,
		.first_packet_ns = STORE_NULL,
		.last_packet_ns = STORE_NULL,
		.dropped = STORE_NULL,
		.state = segment->repaired ? "repaired" : "whole",
	};
	merge->totals.segments++;
	return merge_state_begin(merge, segment, error);
}

int merge_damaged(struct merge *merge, const struct merge_damage *damage, struct error *error)
{
	struct store_coverage row = {
		.kind = damage->kind,
		.begin_ns = merge->row.last_packet_ns,
		.end_ns = STORE_NULL,
		.count = 1,
		.subject = damage->subject,
		.detail = damage->detail,
	};

	merge->row.state = "damaged";
	return merge_cover(merge, &row, error);
}

/* What has been silent for longer than it may is finished. */
static void forget_flows(struct merge *merge)
{
	struct merge_connection *connections = NULL;
	size_t connection_count = 0, connection_capacity = 0, kept = 0;

	for (size_t i = 0; i < merge->flows_count; i++) {
		struct merge_flow live = merge->flows[i];
		uint32_t *link = &live.connections, c = live.connections;

		if (live.replaced || (live.recording_id == merge->recording->recording_id &&
				      merge->last_ns != INT64_MIN &&
				      merge->last_ns - live.flow.last_ns >
					      flow_idle_limit(&live.flow, &merge->limits)))
			continue;
		for (; c != NONE; c = merge->connections[c].next) {
			if (grow_one(&connections, connection_count, &connection_capacity,
					   sizeof(*connections)) != 0) {
				free(connections);
				return; /* keeps all: more memory, the same rows */
			}
			connections[connection_count] = merge->connections[c];
			connections[connection_count].next = NONE;
			*link = (uint32_t)connection_count;
			link = &connections[connection_count++].next;
		}
		merge->flows[kept++] = live;
	}
	free(merge->connections);
	merge->connections = connections;
	merge->connection_count = connection_count;
	merge->connection_capacity = connection_capacity;
	merge->flows_count = kept;
	hashindex_clear(&merge->flows_index);
	for (uint32_t i = 0; i < kept; i++)
		(void)hashindex_add(&merge->flows_index, merge_hash_of_flow(merge, i), i,
				    merge_hash_of_flow, merge);
}

int merge_end(struct merge *merge, struct error *error)
{
	int status = merge_state_coverage(merge, error);

	if (status == 0)
		status = store_segment(merge->store, &merge->row, false, error);
	merge->last_ns = merge->row.last_packet_ns != STORE_NULL ? merge->row.last_packet_ns
								  : INT64_MIN;
	forget_flows(merge);
	merge_state_end(merge);
	merge->recording = NULL;
	return status;
}

const struct merge_totals *merge_totals(const struct merge *merge)
{
	return &merge->totals;
}

int merge_new(struct store *store, const struct flow_limits *limits, struct merge **out,
	      struct error *error)
{
	struct merge *merge = calloc(1, sizeof(*merge));
	const struct {
		const char *table;
		size_t offset;
	} ids[] = {
		{"recording", offsetof(struct merge, recording_id)},
		{"segment", offsetof(struct merge, segment_id)},
		{"snapshot", offsetof(struct merge, snapshot_id)},
		{"interface", offsetof(struct merge, interface_id)},
		{"address", offsetof(struct merge, address_id)},
		{"process", offsetof(struct merge, process_id)},
		{"socket", offsetof(struct merge, socket_id)},
		{"holder", offsetof(struct merge, holder_id)},
		{"flow", offsetof(struct merge, flow_id)},
		{"connection", offsetof(struct merge, connection_id)},
		{"coverage", offsetof(struct merge, coverage_id)},
	};
	int status;

	if (merge == NULL)
		return merge_no_memory(error);
	merge->store = store;
	merge->limits = *limits;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		int64_t last = store_last_id(store, ids[i].table, error);

		if (last < 0) {
			merge_free(merge);
			return (int)last;
		}
		memcpy((char *)merge + ids[i].offset, &last, sizeof(last));
	}
	status = merge_carry_read(merge, error);
	if (status != 0) {
		merge_free(merge);
		return status;
	}
	*out = merge;
	return 0;
}

void merge_free(struct merge *merge)
{
	if (merge == NULL)
		return;
	merge_state_release(merge);
	free(merge->recordings);
	free(merge->processes);
	free(merge->sockets);
	free(merge->holders);
	free(merge->addresses);
	free(merge->interfaces);
	free(merge->snapshots);
	free(merge->flows);
	free(merge->connections);
	hashindex_release(&merge->processes_index);
	hashindex_release(&merge->sockets_index);
	hashindex_release(&merge->holders_index);
	hashindex_release(&merge->flows_index);
	free(merge);
}
