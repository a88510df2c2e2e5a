/* Whose the packets of a flow are that crosses segments: what one of them shows holds for the
 * others, as it would if they were one. */
#include "analyze/merge_internal.h"

#include <netinet/in.h>
#include <string.h>

#include "snapshot/format/quantity.h"

#define NONE UINT32_MAX

/* What packets rest on for which their own part shows nothing. */
struct rest {
	uint32_t connection;   /* NONE: nothing */
	enum bridge_rule rule; /* NO_RULE: what is said of the connection, which is nobody's */
	int64_t until_ns;      /* ahead: of the first sighting */
};

static bool span_is_listener(const struct ledger_span *span)
{
	return span->reason == BRIDGE_OWNED && span->rule_packets[BRIDGE_LISTENER] > 0 &&
	       span->rule_packets[BRIDGE_EXACT] + span->rule_packets[BRIDGE_AHEAD] +
			       span->rule_packets[BRIDGE_BEHIND] ==
		       0;
}

/* What is said of packets whose own part says something else. */
struct said {
	int64_t connection_id;
	enum bridge_rule rule;
	enum bridge_reason reason;
};

/* Whether nothing of the very five-tuple was seen for it: what the readings
 * of a neighbouring segment may settle. */
static bool unsettled(enum bridge_reason reason, bool by_tuple, bool listener, bool refused)
{
	if (refused)
		return false;
	if (reason == BRIDGE_OWNED)
		return listener;
	return reason == BRIDGE_GAP || reason == BRIDGE_BEFORE_START ||
	       ((reason == BRIDGE_NO_SOCKET || reason == BRIDGE_AMBIGUOUS) && !by_tuple) ||
	       (reason == BRIDGE_NO_HOLDER && by_tuple);
}

static bool span_settles(const struct ledger_span *span)
{
	return span->reason == BRIDGE_OWNED && span->by_tuple;
}

/* Packets without a sighting of their own rest on one in another segment. */
static void add_span_as(struct merge_connection *c, const struct ledger_span *span,
			enum bridge_rule rule, int64_t distance_ns)
{
	if (rule != BRIDGE_NO_RULE)
		c->rule_packets[rule] += (int64_t)(span->sent.packets + span->received.packets);
	if (distance_ns > c->distance_ns)
		c->distance_ns = distance_ns;
	if (span->start_ns < c->start_ns)
		c->start_ns = span->start_ns;
	if (span->end_ns > c->end_ns)
		c->end_ns = span->end_ns;
	merge_add_count(&c->sent, &span->sent);
	merge_add_count(&c->received, &span->received);
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

/* What this very part has given to a connection becomes another one's, or is the same one's by
 * another word: by rule, or nobody's for a reason (NO_RULE, REASONS: what its own verdict says). */
static void say_of_part(const struct merge *merge, const struct merge_flow *live,
			const struct replay_part *part, struct merge_mapping *map, int64_t from_id,
			const struct said *said)
{
	uint32_t f = live->part == merge->part ? live->part_flow : NONE;

	for (; f != NONE; f = map->siblings[f]) {
		for (int side = 0; side < 2; side++) {
			uint32_t i = part->flows.flows[f].end[side].first_span;

			for (; i != NONE; i = part->ledger.spans[i].next) {
				if (map->span_ids[i] != from_id)
					continue;
				map->span_ids[i] = said->connection_id;
				map->rules[i] = (uint8_t)said->rule;
				map->reasons[i] = (uint8_t)said->reason;
			}
		}
	}
}

/* A row without a sighting has the first one that came. */
static int settle_one(struct merge *merge, struct merge_connection *c, const struct ledger_span *s,
		      const struct merge_stretch *stretch)
{
	memset(c->rule_packets, 0, sizeof(c->rule_packets));
	c->rule_packets[BRIDGE_AHEAD] = (int64_t)(c->sent.packets + c->received.packets);
	c->distance_ns = stretch->sighted_first_ns > c->start_ns
				 ? stretch->sighted_first_ns - c->start_ns
				 : 0;
	c->by_tuple = true;
	c->sighted_first_ns = stretch->sighted_first_ns;
	c->sighted_last_ns = stretch->sighted_last_ns;
	merge_own(merge, c, s, stretch);
	return merge_note_owner(merge, c);
}

/* Whether a row is of packets that the socket of the stretch, absent in a reading at absent_ns,
 * can have had. Absent in a reading in between: another connection's. */
static bool may_settle(const struct merge_flow *live, const struct merge_connection *c,
		       const struct merge_stretch *stretch, int64_t absent_ns)
{
	return unsettled(c->reason, c->by_tuple, merge_is_listeners(c), c->refused) &&
	       absent_ns <= (live->flow.began_ns != INT64_MIN ? live->flow.last_ns : c->start_ns) &&
	       stretch->process_start_ns <= c->start_ns;
}

/* Earlier packets of this end, for which their own segment showed no socket,
 * are the first sighted one's: look-ahead over the boundary. */
static int settle_earlier(struct merge *merge, struct merge_flow *live,
			  const struct replay_part *part, uint8_t side, uint32_t span,
			  struct merge_mapping *map, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct ledger_span *s = &part->ledger.spans[span];
	struct merge_stretch stretch = merge_describe(merge, part, span);
	uint32_t before = tl->sockets[s->socket].life.absent_before;
	int64_t absent_ns = before == TIMELINE_NONE ? INT64_MIN : tl->frames[before].begin_ns;
	struct said said = {.rule = BRIDGE_AHEAD, .reason = BRIDGE_REASONS};
	struct merge_connection *owner = NULL;
	uint32_t *link = &live->connections;
	int status = 0;

	while (*link != NONE && status == 0) {
		struct merge_connection *c = &merge->connections[*link];

		if (c->side != side || !may_settle(live, c, &stretch, absent_ns)) {
			link = &c->next;
			continue;
		}
		if (c->reason == BRIDGE_AMBIGUOUS)
			status = store_drop_candidates(merge->store, c->connection_id, error);
		if (owner == NULL) {
			owner = c;
			said.connection_id = c->connection_id;
			if (settle_one(merge, c, s, &stretch) != 0)
				return merge_no_memory(error);
			say_of_part(merge, live, part, map, c->connection_id, &said);
			link = &c->next;
			continue;
		}
		owner->rule_packets[BRIDGE_AHEAD] +=
			(int64_t)(c->sent.packets + c->received.packets);
		merge_add_count(&owner->sent, &c->sent);
		merge_add_count(&owner->received, &c->received);
		if (c->end_ns > owner->end_ns)
			owner->end_ns = c->end_ns;
		if (status == 0)
			status = store_fold_connection(merge->store, c->connection_id,
						       owner->connection_id, error);
		say_of_part(merge, live, part, map, c->connection_id, &said);
		merge_unlink_connection(merge, link);
	}
	return owner != NULL && status == 0 ? merge_restate(merge, owner, false, error) : status;
}

/* What a connection of nobody's is: a gap, with the one that is there already. */
static int take_away(struct merge *merge, struct merge_flow *live, uint32_t *link,
		     const struct replay_part *part, struct merge_mapping *map, struct error *error)
{
	struct merge_connection *c = &merge->connections[*link], *gap;
	struct said said = {.rule = BRIDGE_NO_RULE, .reason = BRIDGE_GAP};
	int64_t from_id = c->connection_id;
	int status = c->reason == BRIDGE_AMBIGUOUS
			     ? store_drop_candidates(merge->store, from_id, error)
			     : 0;

	if (merge_find_connection(merge, c->side, BRIDGE_GAP, 0, &gap) != 0)
		return merge_no_memory(error);
	/* It may be one already, of a socket that nobody is named for. */
	if (gap == NULL || gap == c) {
		gap = c;
		c->reason = BRIDGE_GAP;
		c->by_tuple = false;
		c->socket_id = c->shared_by = 0;
		c->sighted_first_ns = INT64_MAX;
		if (merge_note_owner(merge, c) != 0)
			return merge_no_memory(error);
	} else {
		merge_add_count(&gap->sent, &c->sent);
		merge_add_count(&gap->received, &c->received);
		if (c->start_ns < gap->start_ns)
			gap->start_ns = c->start_ns;
		if (c->end_ns > gap->end_ns)
			gap->end_ns = c->end_ns;
		merge_unlink_connection(merge, link);
		if (status == 0)
			status = store_fold_connection(merge->store, from_id, gap->connection_id,
						       error);
	}
	said.connection_id = gap->connection_id;
	say_of_part(merge, live, part, map, from_id, &said);
	if (status == 0)
		status = merge_put_connection(merge, live, gap, STORE_REWRITE, error);
	return status == 0 ? merge_restate(merge, gap, merge_is_answered(live, gap), error)
			   : status;
}

/* The next connection on the same tuple began at next_ns: what was first seen
 * of a socket after that is not of the flow before. */
int merge_end_live(struct merge *merge, struct merge_flow *live, int64_t next_ns,
		   const struct replay_part *part, struct merge_mapping *map, struct error *error)
{
	uint32_t *link = &live->connections;
	int status = 0;

	live->replaced = true;
	while (*link != NONE && status == 0) {
		struct merge_connection *c = &merge->connections[*link];
		uint32_t place = *link;

		if (live->flow.key.protocol == IPPROTO_TCP && c->by_tuple &&
		    c->sighted_first_ns != INT64_MAX && c->sighted_first_ns > next_ns)
			status = take_away(merge, live, link, part, map, error);
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
	/* A connecting one was opened just before its SYN, one that accepts after it. */
	if (told != TIMELINE_NONE)
		return tl->sockets[told].opened_ns + (span->side == live->flow.originator
							      ? NS_PER_SECOND
							      : BRIDGE_CLOCKS_NS) <
		       live->flow.began_ns;
	return timeline_shown_ns(tl, &tl->sockets[span->socket].life) < live->flow.began_ns;
}

/* ------------------------------------------------- what was not seen here -- */

void merge_note_reading(const struct merge *merge, struct merge_flow *live)
{
	const struct timeline *tl = merge->timeline;
	size_t i = timeline_fulls_until(tl, live->flow.first_ns);

	/* One may be under way. */
	if (i < tl->full_count && tl->frames[tl->full[i]].begin_ns < live->flow.first_ns)
		i++;
	if (live->reading_ns == INT64_MAX && i < tl->full_count)
		live->reading_ns = tl->frames[tl->full[i]].end_ns;
}

/* Whether two complete readings began and ended during the flow, the second in the segment in
 * hand: the first may be one that it restates. */
static bool is_read_twice(const struct merge *merge, const struct merge_flow *live)
{
	const struct timeline *tl = merge->timeline;
	uint32_t last = timeline_full_at(tl, live->flow.last_ns);

	return last != TIMELINE_NONE && tl->frames[last].end_ns > live->reading_ns;
}

/* The one row of an end that says who listens, or could have: the others are nobody's. */
static uint32_t find_listeners(const struct merge *merge, const struct merge_flow *live,
			       uint8_t side)
{
	uint32_t found = NONE;

	for (uint32_t i = live->connections; i != NONE; i = merge->connections[i].next) {
		const struct merge_connection *c = &merge->connections[i];
		bool several = c->reason == BRIDGE_AMBIGUOUS && side != live->flow.originator;

		if (c->side != side || (c->reason != BRIDGE_OWNED && !several))
			continue;
		if (found != NONE || c->by_tuple || (!several && !merge_is_listeners(c)))
			return NONE;
		found = i;
	}
	return found;
}

/* Whether no row of the five-tuple is in the segment in hand, which begins with a reading from
 * before this part. What stood in the segment before, and was read as the flow went on, does
 * there too: two readings at least are in both. */
static bool is_unseen(const struct merge *merge, const struct merge_flow *live,
		      const struct flow *flow, uint8_t side)
{
	const struct timeline *tl = merge->timeline;
	const struct flow_key *key = &live->flow.key;
	struct endpoint local = {.port = key->port[side]}, remote = {.port = key->port[!side]};

	memcpy(local.address.bytes, key->address[side], 16);
	memcpy(remote.address.bytes, key->address[!side], 16);
	return live->flow.began_ns != INT64_MIN && tl->full_count > 0 &&
	       tl->frames[tl->full[0]].begin_ns < flow->first_ns &&
	       timeline_by_tuple(tl, key->protocol, &local, &remote) == TIMELINE_NONE;
}

/* A connection stands in the tables, and one that two readings have not is not its listener's.
 * What goes on without its SYN is judged as if nobody listened: it is who listened then. */
static int find_rest(struct merge *merge, struct merge_flow *live, const struct replay_part *part,
		     const struct flow *flow, uint8_t side, struct merge_mapping *map,
		     struct rest *rest, struct error *error)
{
	uint32_t place = find_listeners(merge, live, side), *link = &live->connections;
	bool is_owned = place != NONE && merge->connections[place].reason == BRIDGE_OWNED;

	if (place == NONE)
		return 0;
	if (is_owned && is_read_twice(merge, live)) {
		while (*link != place)
			link = &merge->connections[*link].next;
		return take_away(merge, live, link, part, map, error);
	}
	if (flow->began_ns == INT64_MIN && is_unseen(merge, live, flow, side))
		*rest = (struct rest){.connection = place,
				      .rule = is_owned ? BRIDGE_LISTENER : BRIDGE_NO_RULE};
	return 0;
}

/* Who was found for the SYN has what came between it and the sighting too: readings without the
 * row do not bound that, where the flow's beginning is known. */
static struct rest reach_back(const struct merge *merge, const struct merge_flow *live,
			      const struct replay_part *part, uint8_t side, uint32_t settler)
{
	const struct merge_stretch stretch = merge_describe(merge, part, settler);
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
	return rest->rule == BRIDGE_BEHIND || s->reason == BRIDGE_GAP;
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

/* Finds or makes the row for a stretch and adds it. NULL without memory. */
static struct merge_connection *take_span(struct merge *merge, const struct merge_flow *live,
					  const struct rest *rest, const struct replay_part *part,
					  uint32_t span, bool swapped, struct merge_mapping *map,
					  bool *fresh)
{
	const struct ledger_span *s = &part->ledger.spans[span];
	struct merge_stretch stretch = merge_describe(merge, part, span);
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
		if (rest->rule == BRIDGE_NO_RULE)
			map->reasons[span] = (uint8_t)c->reason;
		add_span_as(c, s, rest->rule, rest_distance(merge, rest, s));
		return c;
	}
	if (predates(merge, live, s)) {
		map->reasons[span] = BRIDGE_GAP;
		plain.reason = BRIDGE_GAP;
		plain.by_tuple = false;
		plain.shared_by = plain.candidate_count = 0;
		memset(plain.rule_packets, 0, sizeof(plain.rule_packets));
		s = &plain;
		stretch = (struct merge_stretch){.span = span,
						 .process_start_ns = INT64_MIN,
						 .sighted_first_ns = INT64_MAX,
						 .sighted_last_ns = STORE_NULL};
	}
	if (merge_find_connection(merge, s->side, s->reason, stretch.process_id, &c) != 0)
		return NULL;
	if (c == NULL) {
		c = merge_new_connection(merge, s->side);
		if (c == NULL)
			return NULL;
		merge_own(merge, c, s, &stretch);
		if (merge_note_owner(merge, c) != 0)
			return NULL;
		*fresh = true;
	}
	merge_add_span(c, s, &stretch);
	return c;
}

int merge_flow_end(struct merge *merge, uint32_t place, const struct replay_part *part,
		   const struct flow *flow, uint8_t side, struct merge_mapping *map,
		   struct error *error)
{
	struct merge_flow *live = &merge->hand;
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
		status = settle_earlier(merge, live, part, side, settler, map, error);
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
		const struct merge_connection *c;

		if (s->folded != LEDGER_NONE)
			continue;
		map->swapped[i] = swapped;
		c = take_span(merge, live, &rest, part, i, swapped, map, &fresh);
		if (c == NULL)
			return merge_no_memory(error);
		map->span_ids[i] = c->connection_id;
		/* One that is not fresh may be a row that this very part has made. */
		status = fresh ? merge_put_connection(merge, live, c, STORE_INSERT, error)
			       : merge_note_stale(merge, place, error);
		if (status == 0 && map->reasons[i] == BRIDGE_REASONS &&
		    map->rules[i] == BRIDGE_NO_RULE && !merge_is_answered(live, c))
			status = put_candidates(merge, part, s, map->span_ids[i], error);
		if (status != 0)
			return status;
	}
	return 0;
}
