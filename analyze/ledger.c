#include "analyze/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/fetch.h"
#include "analyze/grow.h"
#include "analyze/walk.h"

void ledger_init(struct ledger *ledger, int64_t bucket_ns, bool keep_packets)
{
	*ledger = (struct ledger){.bucket_ns = bucket_ns, .keep_packets = keep_packets};
}

void ledger_clear(struct ledger *ledger)
{
	hashindex_clear(&ledger->long_ends);
	ledger->span_count = 0;
	ledger->traffic_count = 0;
	ledger->candidate_count = 0;
	ledger->packet_count = 0;
	memset(ledger->other, 0, sizeof(ledger->other));
}

void ledger_release(struct ledger *ledger)
{
	hashindex_release(&ledger->long_ends);
	free(ledger->spans);
	free(ledger->traffic);
	free(ledger->candidates);
	free(ledger->packets);
	*ledger = (struct ledger){0};
}

uint32_t ledger_final(const struct ledger *ledger, uint32_t span)
{
	while (span != LEDGER_NONE && ledger->spans[span].folded != LEDGER_NONE)
		span = ledger->spans[span].folded;
	return span;
}

/* Of an end; an owner is a program image, and without one the reason stands for it. */
struct owner {
	uint32_t flow;
	uint8_t side;
	enum bridge_reason reason;
	uint32_t process, image;
};

static bool is_owners(const struct ledger_span *span, const struct owner *o)
{
	return span->folded == LEDGER_NONE && span->reason == o->reason &&
	       (o->reason != BRIDGE_OWNED ||
		(span->process == o->process && span->image == o->image));
}

static uint64_t hash_owner(const struct owner *o)
{
	const bool any = o->reason == BRIDGE_OWNED;
	const uint64_t words[5] = {o->flow, o->side, o->reason, any ? o->process : 0,
				   any ? o->image : 0};

	return hashindex_double(hashindex_keyed_5(words));
}

/* So many stretches of an end are looked at one by one, more than most have; those after them
 * stand in the index too. */
#define SHORT_END 8

/* Once more where its owner is another one: what is found is compared. */
static int index_span(struct ledger *ledger, uint32_t place)
{
	const struct ledger_span *span = &ledger->spans[place];
	const struct owner owner = {span->flow, span->side, span->reason, span->process,
				    span->image};

	return hashindex_add(&ledger->long_ends, hash_owner(&owner), place, NULL, NULL);
}

/* The stretch of an owner, but for one: there is one at most. */
static uint32_t find_span(const struct ledger *ledger, const struct flow_end *end,
			  const struct owner *owner, uint32_t except)
{
	uint32_t i = end->first_span, probe;
	uint64_t hash;

	for (int n = 0; i != LEDGER_NONE && n < SHORT_END; n++, i = ledger->spans[i].next) {
		walk_step();
		if (i != except && is_owners(&ledger->spans[i], owner))
			return i;
	}
	if (i == LEDGER_NONE)
		return i;
	hash = hash_owner(owner);
	probe = (uint32_t)hash;
	while ((i = hashindex_next(&ledger->long_ends, hash, &probe)) != HASHINDEX_NONE) {
		const struct ledger_span *span = &ledger->spans[i];

		walk_step();
		if (i != except && span->flow == owner->flow && span->side == owner->side &&
		    is_owners(span, owner))
			return i;
	}
	return LEDGER_NONE;
}

static uint32_t new_span(struct ledger *ledger, struct flow_end *end, uint32_t flow, uint8_t side,
			 const struct bridge_verdict *v)
{
	uint32_t place = (uint32_t)ledger->span_count;
	struct ledger_span *first;

	if (ledger->span_count >= LEDGER_NONE ||
	    grow_one(&ledger->spans, ledger->span_count, &ledger->span_capacity,
		     sizeof(*ledger->spans)) != 0)
		return LEDGER_NONE;
	ledger->spans[ledger->span_count++] = (struct ledger_span){
		.next = LEDGER_NONE,
		.folded = LEDGER_NONE,
		.last = place,
		.flow = flow,
		.side = side,
		.reason = v->reason,
		.socket = v->socket,
		.process = v->process,
		.image = v->image,
		.frame = v->frame,
		.start_ns = INT64_MAX,
		.end_ns = INT64_MIN,
	};
	if (end->first_span == LEDGER_NONE)
		end->first_span = place;
	first = &ledger->spans[end->first_span];
	if (first->count++ > 0)
		ledger->spans[first->last].next = place;
	first->last = place;
	return first->count > SHORT_END && index_span(ledger, place) != 0 ? LEDGER_NONE : place;
}

static bool has_candidate(const struct ledger *ledger, const struct ledger_span *span,
			  const struct bridge_candidate *candidate)
{
	for (uint32_t i = 0; i < span->candidate_count; i++) {
		const struct bridge_candidate *have =
			&ledger->candidates[span->first_candidate + i];

		if (have->process == candidate->process && have->image == candidate->image)
			return true;
	}
	return false;
}

/* A stretch's candidates stand together; when they grow they move to the end. */
static int take_candidates(struct ledger *ledger, struct ledger_span *span,
			   const struct bridge_verdict *v)
{
	for (size_t n = 0; n < v->candidate_count; n++) {
		if (has_candidate(ledger, span, &v->candidates[n]))
			continue;
		if (span->first_candidate + span->candidate_count != ledger->candidate_count) {
			uint32_t moved = (uint32_t)ledger->candidate_count;

			for (uint32_t i = 0; i < span->candidate_count; i++) {
				if (grow_one(&ledger->candidates, ledger->candidate_count,
					     &ledger->candidate_capacity,
					     sizeof(*ledger->candidates)) != 0)
					return -1;
				ledger->candidates[ledger->candidate_count++] =
					ledger->candidates[span->first_candidate + i];
			}
			span->first_candidate = moved;
		}
		if (grow_one(&ledger->candidates, ledger->candidate_count,
			     &ledger->candidate_capacity, sizeof(*ledger->candidates)) != 0)
			return -1;
		ledger->candidates[ledger->candidate_count++] = v->candidates[n];
		span->candidate_count++;
	}
	return 0;
}

int ledger_turn(struct ledger *ledger, struct flow *flow, uint32_t flow_place, uint8_t side,
		const struct bridge_verdict *v)
{
	struct flow_end *end = &flow->end[side];
	const struct owner owner = {flow_place, side, v->reason, v->process, v->image};
	uint32_t place = find_span(ledger, end, &owner, LEDGER_NONE);
	struct ledger_span *span;

	if (ledger->lacks_memory)
		return -1;
	if (place == LEDGER_NONE)
		place = new_span(ledger, end, flow_place, side, v);
	if (place == LEDGER_NONE)
		return -1;
	if (place != end->span && ledger_flush(ledger, flow, side) != 0)
		return -1;
	span = &ledger->spans[place];
	span->rule = v->rule;
	span->first_ns = v->first_ns;
	span->last_ns = v->last_ns;
	span->by_tuple = span->by_tuple || v->by_tuple;
	span->passed = span->passed || v->passed;
	span->refused = span->refused || v->refused;
	if (v->shared_by > span->shared_by)
		span->shared_by = v->shared_by;
	if (span->socket == TIMELINE_NONE)
		span->socket = v->socket;
	end->span = place;
	end->from_ns = v->from_ns;
	end->until_ns = v->until_ns;
	return take_candidates(ledger, span, v);
}

int ledger_flush(struct ledger *ledger, struct flow *flow, uint8_t side)
{
	struct flow_end *end = &flow->end[side];

	if (end->bucket == INT64_MIN || end->sent_packets + end->received_packets == 0)
		return 0;
	if (grow_one(&ledger->traffic, ledger->traffic_count, &ledger->traffic_capacity,
		     sizeof(*ledger->traffic)) != 0)
		return -1;
	ledger->traffic[ledger->traffic_count++] = (struct ledger_traffic){
		.span = end->span,
		.bucket = end->bucket,
		.sent_packets = end->sent_packets,
		.received_packets = end->received_packets,
		.sent_bytes = end->sent_bytes,
		.received_bytes = end->received_bytes,
	};
	end->sent_packets = end->received_packets = 0;
	end->sent_bytes = end->received_bytes = 0;
	end->bucket = INT64_MIN;
	return 0;
}

void ledger_fetch(const struct ledger *ledger, const struct flow *flow)
{
	for (int side = 0; side < 2; side++) {
		if (flow->end[side].span != LEDGER_NONE)
			fetch(&ledger->spans[flow->end[side].span], sizeof(struct ledger_span));
	}
}

static int64_t bucket_of(const struct ledger *ledger, int64_t time_ns)
{
	int64_t bucket = time_ns / ledger->bucket_ns;

	return time_ns % ledger->bucket_ns < 0 ? bucket - 1 : bucket;
}

/* Without dividing, as most packets are in the bucket of the one before. */
static inline bool is_in_bucket(const struct ledger *ledger, int64_t bucket, int64_t time_ns)
{
	return bucket != INT64_MIN &&
	       (uint64_t)time_ns - (uint64_t)bucket * (uint64_t)ledger->bucket_ns <
		       (uint64_t)ledger->bucket_ns;
}

int ledger_count(struct ledger *ledger, struct flow *flow, uint8_t side,
		 const struct packet *packet, bool sent, int64_t distance_ns)
{
	struct flow_end *end = &flow->end[side];
	struct ledger_span *span = &ledger->spans[end->span];
	struct flow_count *count = sent ? &span->sent : &span->received;

	count->packets++;
	count->bytes += packet->ip_bytes;
	count->payload_bytes += packet->payload_bytes;
	if (span->rule < BRIDGE_RULES)
		span->rule_packets[span->rule]++;
	if (distance_ns > span->distance_ns)
		span->distance_ns = distance_ns;
	if (packet->time_ns < span->start_ns)
		span->start_ns = packet->time_ns;
	if (packet->time_ns > span->end_ns)
		span->end_ns = packet->time_ns;
	if (!is_in_bucket(ledger, end->bucket, packet->time_ns)) {
		if (ledger_flush(ledger, flow, side) != 0)
			return -1;
		end->bucket = bucket_of(ledger, packet->time_ns);
	}
	if (sent) {
		end->sent_packets++;
		end->sent_bytes += packet->ip_bytes;
	} else {
		end->received_packets++;
		end->received_bytes += packet->ip_bytes;
	}
	return 0;
}

int ledger_keep(struct ledger *ledger, const struct ledger_packet *packet)
{
	if (grow_one(&ledger->packets, ledger->packet_count, &ledger->packet_capacity,
		     sizeof(*ledger->packets)) != 0)
		return -1;
	ledger->packets[ledger->packet_count++] = *packet;
	return 0;
}

static void add_count(struct flow_count *to, const struct flow_count *from)
{
	to->packets += from->packets;
	to->bytes += from->bytes;
	to->payload_bytes += from->payload_bytes;
}

/* Adds a stretch to another one of the same end, for good. */
static void fold(struct ledger *ledger, struct flow *flow, uint32_t place, uint32_t into)
{
	struct ledger_span *span = &ledger->spans[place], *other = &ledger->spans[into];

	add_count(&other->sent, &span->sent);
	add_count(&other->received, &span->received);
	for (int i = 0; i < BRIDGE_RULES; i++)
		other->rule_packets[i] += span->rule_packets[i];
	if (span->distance_ns > other->distance_ns)
		other->distance_ns = span->distance_ns;
	if (span->start_ns < other->start_ns)
		other->start_ns = span->start_ns;
	if (span->end_ns > other->end_ns)
		other->end_ns = span->end_ns;
	span->folded = into;
	if (flow->end[span->side].span == place)
		flow->end[span->side].span = into;
}

/* A stretch has another owner: into that one's, if there is one. */
static void fold_or_index(struct ledger *ledger, struct flow *flow, uint32_t place, uint32_t into)
{
	const struct ledger_span *first =
		&ledger->spans[flow->end[ledger->spans[place].side].first_span];

	if (into != LEDGER_NONE)
		fold(ledger, flow, place, into);
	else if (first->count > SHORT_END && index_span(ledger, place) != 0)
		ledger->lacks_memory = true;
}

void ledger_disown(struct ledger *ledger, struct flow *flow, uint32_t place,
		   enum bridge_reason reason)
{
	struct ledger_span *span = &ledger->spans[place];
	const struct owner none = {.flow = span->flow, .side = span->side, .reason = reason};
	uint32_t i = find_span(ledger, &flow->end[span->side], &none, place);

	span->reason = reason;
	span->rule = BRIDGE_NO_RULE;
	span->socket = span->process = span->image = span->frame = TIMELINE_NONE;
	span->shared_by = 0;
	span->distance_ns = 0;
	span->candidate_count = 0;
	span->by_tuple = false;
	memset(span->rule_packets, 0, sizeof(span->rule_packets));
	fold_or_index(ledger, flow, place, i);
}

void ledger_own(struct ledger *ledger, struct flow *flow, uint32_t place,
		const struct bridge_candidate *owner, enum bridge_rule rule, int64_t distance_ns)
{
	struct ledger_span *span = &ledger->spans[place];
	const struct owner new = {span->flow, span->side, BRIDGE_OWNED, owner->process,
				  owner->image};
	uint32_t i = find_span(ledger, &flow->end[span->side], &new, place);

	span->reason = BRIDGE_OWNED;
	span->rule = rule;
	span->socket = owner->socket;
	span->process = owner->process;
	span->image = owner->image;
	span->shared_by = 1;
	span->candidate_count = 0;
	span->distance_ns = distance_ns;
	span->rule_packets[rule] = span->sent.packets + span->received.packets;
	fold_or_index(ledger, flow, place, i);
}
