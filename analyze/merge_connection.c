#include "analyze/merge_internal.h"

#include <netinet/in.h>
#include <string.h>

#include "analyze/grow.h"
#include "snapshot/format/quantity.h"

#define NONE UINT32_MAX

/* A stretch in the terms of the database. */
struct stretch {
	uint32_t span;
	int64_t process_id, socket_id;
	int64_t process_start_ns; /* INT64_MIN: not known */
	int64_t sighted_first_ns; /* INT64_MAX: no socket */
	int64_t sighted_last_ns;  /* STORE_NULL: no socket */
};

/* What packets rest on for which their own part shows nothing. */
struct rest {
	uint32_t connection; /* NONE: nothing */
	enum bridge_rule rule;
	int64_t until_ns; /* ahead: of the first sighting */
};

static struct stretch describe(const struct merge *merge, const struct replay_part *part,
			       uint32_t span)
{
	const struct timeline *tl = merge->timeline;
	const struct ledger_span *s = &part->ledger.spans[span];
	struct stretch out = {
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

/* Whether nothing of the very five-tuple was seen for it: what the readings
 * of a neighbouring segment may settle. */
static bool unsettled(enum bridge_reason reason, bool by_tuple, bool listener, bool refused)
{
	if (refused)
		return false;
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

static const struct merge_connection *by_id(const struct merge *merge,
					    const struct merge_flow *live, int64_t connection_id)
{
	uint32_t i = live->connections;

	while (merge->connections[i].connection_id != connection_id)
		i = merge->connections[i].next;
	return &merge->connections[i];
}

static struct merge_connection *new_connection(struct merge *merge, struct merge_flow *live,
					       uint8_t side)
{
	uint32_t place = (uint32_t)merge->connection_count, *link = &live->connections;

	if (grow_one(&merge->connections, merge->connection_count, &merge->connection_capacity,
		     sizeof(*merge->connections)) != 0)
		return NULL;
	merge->connections[merge->connection_count++] = (struct merge_connection){
		.next = NONE,
		.side = side,
		.connection_id = ++merge->connection_id,
		.distance_ns = STORE_NULL,
		.start_ns = INT64_MAX,
		.end_ns = INT64_MIN,
		.sighted_first_ns = INT64_MAX,
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
	if (stretch->sighted_first_ns < c->sighted_first_ns)
		c->sighted_first_ns = stretch->sighted_first_ns;
	if (stretch->sighted_last_ns > c->sighted_last_ns)
		c->sighted_last_ns = stretch->sighted_last_ns;
	if (c->socket_id == 0)
		c->socket_id = stretch->socket_id;
	c->by_tuple = c->by_tuple || span->by_tuple;
	c->refused = c->refused || span->refused;
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

static bool is_listeners(const struct merge_connection *c)
{
	return c->reason == BRIDGE_OWNED && !c->by_tuple && c->rule_packets[BRIDGE_LISTENER] > 0 &&
	       strongest(c) == bridge_rule_name(BRIDGE_LISTENER);
}

bool merge_is_answered(const struct merge_flow *live, const struct merge_connection *c)
{
	return flow_refused(&live->flow, c->side) && (c->reason == BRIDGE_GAP || is_listeners(c));
}

int merge_say_answered(struct merge *merge, const struct merge_flow *live, bool answered,
		       struct error *error)
{
	int status = 0;

	for (uint32_t i = live->connections; i != NONE && status == 0;
	     i = merge->connections[i].next) {
		const struct merge_connection *c = &merge->connections[i];

		if (merge_is_answered(live, c))
			status = store_answer_packets(
				merge->store, c->connection_id, answered,
				c->reason == BRIDGE_OWNED ? STORE_LISTENER : STORE_RULES, error);
	}
	return status;
}

void merge_note_answered(const struct merge *merge, const struct replay_part *part,
			 struct merge_mapping *map)
{
	for (size_t i = 0; i < part->ledger.span_count; i++) {
		const struct ledger_span *s = &part->ledger.spans[i];
		const struct merge_flow *live = &merge->flows[map->places[s->flow]];
		uint32_t c = live->connections;

		while (c != NONE && merge->connections[c].connection_id != map->span_ids[i])
			c = merge->connections[c].next;
		map->answered[i] = s->folded == LEDGER_NONE && c != NONE &&
				   merge_is_answered(live, &merge->connections[c]);
	}
}

int merge_put_connection(struct merge *merge, const struct merge_flow *live,
			 const struct merge_connection *c, enum store_how how, struct error *error)
{
	bool answered = merge_is_answered(live, c);
	bool owned = c->reason == BRIDGE_OWNED && !answered;
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

	if (owned)
		memcpy(row.rule_packets, c->rule_packets, sizeof(row.rule_packets));
	return store_connection(merge->store, &row, how, error);
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

/* The owner by five-tuple that this part shows for an end, and how many there are. */
static uint32_t find_settler(const struct replay_part *part, const struct flow *flow, uint8_t side,
			     unsigned *count)
{
	const struct ledger *ledger = &part->ledger;
	uint32_t found = NONE;

	*count = 0;
	for (uint32_t i = flow->end[side].first_span; i != NONE; i = ledger->spans[i].next) {
		const struct ledger_span *s = &ledger->spans[i];

		if (s->folded != LEDGER_NONE || !span_settles(s))
			continue;
		(*count)++;
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
	int64_t sighted = stretch.sighted_first_ns;
	uint32_t before = tl->sockets[s->socket].life.absent_before;
	int64_t absent_ns = before == TIMELINE_NONE ? INT64_MIN : tl->frames[before].begin_ns;
	struct merge_connection *owner = NULL;
	uint32_t *link = &live->connections;
	int status = 0;

	while (*link != NONE && status == 0) {
		struct merge_connection *c = &merge->connections[*link];
		int64_t packets = (int64_t)(c->sent.packets + c->received.packets);
		int64_t distance = sighted > c->start_ns ? sighted - c->start_ns : 0;

		/* Absent in a reading in between: another connection's socket. */
		bool absent = absent_ns >
			      (live->flow.began_ns != INT64_MIN ? live->flow.last_ns : c->start_ns);

		if (c->side != side ||
		    !unsettled(c->reason, c->by_tuple, c->listener, c->refused) || absent ||
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
			c->sighted_first_ns = stretch.sighted_first_ns;
			c->sighted_last_ns = stretch.sighted_last_ns;
			own(merge, c, s, &stretch);
			link = &c->next;
			continue;
		}
		owner->rule_packets[BRIDGE_AHEAD] += packets;
		add_count(&owner->sent, &c->sent);
		add_count(&owner->received, &c->received);
		if (c->end_ns > owner->end_ns)
			owner->end_ns = c->end_ns;
		status = store_fold_connection(merge->store, c->connection_id, owner->connection_id,
					       error);
		*link = c->next;
	}
	if (owner != NULL && status == 0)
		status = store_settle_packets(merge->store, owner->connection_id, STORE_AHEAD,
					      error);
	return status;
}

/* What a connection of nobody's is: a gap, with the one that is there already. */
static int take_away(struct merge *merge, struct merge_flow *live, uint32_t *link,
		     struct error *error)
{
	struct merge_connection *c = &merge->connections[*link], *gap;
	int status;

	gap = find_connection(merge, live, c->side, BRIDGE_GAP, 0);
	/* It may be one already, of a socket that nobody is named for. */
	if (gap == NULL || gap == c) {
		c->reason = BRIDGE_GAP;
		c->by_tuple = c->listener = false;
		c->socket_id = c->shared_by = 0;
		c->sighted_first_ns = INT64_MAX;
		return merge_put_connection(merge, live, c, STORE_REWRITE, error);
	}
	add_count(&gap->sent, &c->sent);
	add_count(&gap->received, &c->received);
	if (c->start_ns < gap->start_ns)
		gap->start_ns = c->start_ns;
	if (c->end_ns > gap->end_ns)
		gap->end_ns = c->end_ns;
	status = store_fold_connection(merge->store, c->connection_id, gap->connection_id, error);
	if (status == 0)
		status = merge_put_connection(merge, live, gap, STORE_REWRITE, error);
	*link = c->next;
	return status;
}

/* The next connection on the same tuple began at next_ns: what was first seen
 * of a socket after that is not of the flow before. */
int merge_end_live(struct merge *merge, struct merge_flow *live, int64_t next_ns,
		   struct error *error)
{
	uint32_t *link = &live->connections;
	int status = 0;

	live->replaced = true;
	while (*link != NONE && status == 0) {
		struct merge_connection *c = &merge->connections[*link];
		uint32_t place = *link;

		if (live->flow.key.protocol == IPPROTO_TCP && c->by_tuple &&
		    c->sighted_first_ns != INT64_MAX && c->sighted_first_ns > next_ns)
			status = take_away(merge, live, link, error);
		if (*link == place)
			link = &c->next;
	}
	return status;
}

/* In the part of a flow that goes on, readings from before the flow began
 * speak of another connection. */
static bool predates(const struct merge *merge, const struct merge_flow *live,
		     const struct ledger_span *span)
{
	const struct timeline *tl = merge->timeline;
	uint32_t told =
		span->socket == TIMELINE_NONE ? TIMELINE_NONE : timeline_told_of(tl, span->socket);

	if (live->flow.began_ns == INT64_MIN || !span->by_tuple || span->socket == TIMELINE_NONE)
		return false;
	/* A connecting one was opened just before its SYN. */
	if (told != TIMELINE_NONE)
		return tl->sockets[told].opened_ns + NS_PER_SECOND < live->flow.began_ns;
	return tl->frames[tl->sockets[span->socket].life.last].begin_ns < live->flow.began_ns;
}

/* ------------------------------------------------- what was not seen here -- */

/* The one owner of an end, if it is named as who listens. */
static uint32_t find_listeners(const struct merge *merge, const struct merge_flow *live,
			       uint8_t side)
{
	uint32_t found = NONE;

	for (uint32_t i = live->connections; i != NONE; i = merge->connections[i].next) {
		const struct merge_connection *c = &merge->connections[i];

		if (c->side != side || c->reason != BRIDGE_OWNED)
			continue;
		if (found != NONE || !is_listeners(c))
			return NONE;
		found = i;
	}
	return found;
}

/* Whether all that could show who has the connection is in the segment in hand, and none of it
 * does: the flow began behind a reading of it, and no row has the five-tuple. */
static bool is_unseen(const struct merge *merge, const struct merge_flow *live, uint8_t side)
{
	const struct timeline *tl = merge->timeline;
	const struct flow_key *key = &live->flow.key;
	struct endpoint local = {.port = key->port[side]}, remote = {.port = key->port[!side]};

	memcpy(local.address.bytes, key->address[side], 16);
	memcpy(remote.address.bytes, key->address[!side], 16);
	return live->flow.began_ns != INT64_MIN && tl->full_count > 0 &&
	       tl->frames[tl->full[0]].begin_ns < live->flow.first_ns &&
	       timeline_by_tuple(tl, key->protocol, &local, &remote) == TIMELINE_NONE;
}

/* Stretches that this very part has given to a connection go with it. */
static int take_away_listeners(struct merge *merge, struct merge_flow *live, uint8_t side,
			       uint32_t place, const struct replay_part *part,
			       struct merge_mapping *map, struct error *error)
{
	int64_t id = merge->connections[place].connection_id, gap_id = id;
	const struct merge_connection *gap = find_connection(merge, live, side, BRIDGE_GAP, 0);
	uint32_t *link = &live->connections;
	int status = store_answer_packets(merge->store, id, false, STORE_RULES, error);

	if (gap != NULL)
		gap_id = gap->connection_id;
	while (*link != place)
		link = &merge->connections[*link].next;
	if (status == 0)
		status = take_away(merge, live, link, error);
	for (size_t i = 0; i < part->ledger.span_count; i++) {
		if (map->span_ids[i] != id)
			continue;
		map->span_ids[i] = gap_id;
		map->rules[i] = BRIDGE_NO_RULE;
		map->disowned[i] = true;
	}
	return status;
}

/* A connection stands in the tables, and one that two readings have not is not its listener's.
 * What goes on without its SYN is judged as if nobody listened: it is who listened then. */
static int find_rest(struct merge *merge, struct merge_flow *live, const struct replay_part *part,
		     const struct flow *flow, uint8_t side, struct merge_mapping *map,
		     struct rest *rest, struct error *error)
{
	uint32_t place = find_listeners(merge, live, side);

	if (place == NONE)
		return 0;
	if (replay_readings_within(merge->timeline, live->flow.first_ns, live->flow.last_ns) >= 2)
		return take_away_listeners(merge, live, side, place, part, map, error);
	if (flow->began_ns == INT64_MIN && is_unseen(merge, live, side))
		*rest = (struct rest){.connection = place, .rule = BRIDGE_LISTENER};
	return 0;
}

/* Who was found for the SYN has what came between it and the sighting too: readings without the
 * row do not bound that, where the flow's beginning is known. */
static struct rest reach_back(const struct merge *merge, const struct merge_flow *live,
			      const struct replay_part *part, uint8_t side, uint32_t settler)
{
	const struct stretch stretch = describe(merge, part, settler);
	struct rest rest = {.connection = NONE, .rule = BRIDGE_AHEAD};
	uint32_t place;

	if (live->flow.began_ns == INT64_MIN || !has_settled(merge, live, side, &place) ||
	    merge->connections[place].process_id != stretch.process_id)
		return rest;
	rest.connection = place;
	rest.until_ns = stretch.sighted_first_ns;
	return rest;
}

static bool rests(const struct rest *rest, const struct ledger_span *s)
{
	if (rest->connection == NONE ||
	    !unsettled(s->reason, s->by_tuple, span_is_listener(s), s->refused))
		return false;
	if (rest->rule == BRIDGE_AHEAD)
		return s->end_ns < rest->until_ns;
	return rest->rule == BRIDGE_LISTENER ? s->reason == BRIDGE_GAP : true;
}

/* No packet of a stretch is further from the sighting that it rests on. */
static int64_t rest_distance(const struct merge *merge, const struct rest *rest,
			     const struct ledger_span *s)
{
	const struct timeline *tl = merge->timeline;
	const struct merge_connection *c = &merge->connections[rest->connection];
	int64_t from_ns = c->sighted_last_ns;

	if (rest->rule == BRIDGE_AHEAD)
		return rest->until_ns - s->start_ns;
	if (rest->rule == BRIDGE_LISTENER) {
		uint32_t frame = timeline_full_at(tl, s->start_ns);

		from_ns = frame == TIMELINE_NONE ? STORE_NULL : tl->frames[frame].end_ns;
	}
	return from_ns != STORE_NULL && s->end_ns > from_ns ? s->end_ns - from_ns : 0;
}

/* Finds or makes the row for a stretch and adds it. Returns its connection id, negative on failure.
 */
static int64_t take_span(struct merge *merge, struct merge_flow *live, const struct rest *rest,
			 const struct replay_part *part, uint32_t span, bool swapped,
			 struct merge_mapping *map, bool *fresh)
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
	if (rests(rest, s)) {
		c = &merge->connections[rest->connection];
		map->rules[span] = (uint8_t)rest->rule;
		add_span_as(c, s, rest->rule, rest_distance(merge, rest, s));
		return c->connection_id;
	}
	if (predates(merge, live, s)) {
		map->disowned[span] = true;
		plain.reason = BRIDGE_GAP;
		plain.by_tuple = false;
		plain.shared_by = plain.candidate_count = 0;
		memset(plain.rule_packets, 0, sizeof(plain.rule_packets));
		s = &plain;
		stretch = (struct stretch){.span = span,
					   .process_start_ns = INT64_MIN,
					   .sighted_first_ns = INT64_MAX,
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

int merge_flow_end(struct merge *merge, uint32_t place, const struct replay_part *part,
		   const struct flow *flow, uint8_t side, struct merge_mapping *map,
		   struct error *error)
{
	struct merge_flow *live = &merge->flows[place];
	/* A flow without a local end is told from its originator's. */
	bool swapped = !flow->end[0].local && !flow->end[1].local && side != live->flow.originator;
	struct rest rest = {.connection = NONE, .rule = BRIDGE_BEHIND};
	unsigned settlers;
	uint32_t earlier, settler = find_settler(part, flow, side, &settlers);
	bool tcp = flow->key.protocol == IPPROTO_TCP, fresh;
	bool settled = has_settled(merge, live, side, &earlier);
	int status;

	/* Who was handed the connection did not have it before. */
	if (tcp && !settled && settlers == 1 && !part->ledger.spans[settler].passed &&
	    !predates(merge, live, &part->ledger.spans[settler])) {
		status = settle_earlier(merge, live, part, side, settler, error);
		if (status != 0)
			return status;
		if (flow->began_ns == INT64_MIN)
			rest = reach_back(merge, live, part, side, settler);
	}
	if (tcp && settled && settlers == 0)
		rest.connection = earlier;
	status = !tcp || settled || settlers > 0
			 ? 0
			 : find_rest(merge, live, part, flow, side, map, &rest, error);
	if (status != 0)
		return status;
	for (uint32_t i = flow->end[side].first_span; i != NONE; i = part->ledger.spans[i].next) {
		const struct ledger_span *s = &part->ledger.spans[i];

		if (s->folded != LEDGER_NONE)
			continue;
		map->swapped[i] = swapped;
		map->span_ids[i] = take_span(merge, live, &rest, part, i, swapped, map, &fresh);
		if (map->span_ids[i] < 0)
			return merge_no_memory(error);
		if (fresh) {
			const struct merge_connection *c =
				&merge->connections[merge->connection_count - 1];

			status = merge_put_connection(merge, live, c, STORE_INSERT, error);
			if (status != 0)
				return status;
		}
		/* It may have met a row that this very part has made. */
		if (!fresh) {
			status = merge_put_connection(merge, live,
						      by_id(merge, live, map->span_ids[i]),
						      STORE_REWRITE, error);
			if (status != 0)
				return status;
		}
		status = map->disowned[i] ? 0
					  : put_candidates(merge, part, s, map->span_ids[i], error);
		if (status != 0)
			return status;
	}
	return 0;
}
