#include "analyze/replay.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/ahead.h"
#include "analyze/decode_icmp.h"
#include "analyze/decode_tunnel.h"
#include "analyze/replay_internal.h"

int replay_init(struct replay *replay, const struct timeline *timeline,
		const struct serving *serving, struct pcapin *in,
		const struct replay_options *options, struct error *error)
{
	*replay = (struct replay){
		.timeline = timeline,
		.options = *options,
		.in = in,
		.fragments = decode_fragments_new(),
		.repeats = repeats_new(),
		.last_ns = INT64_MIN,
	};
	if (replay->options.part_packets == 0)
		replay->options.part_packets = REPLAY_PART_PACKETS;
	if (replay->options.piece_flows == 0)
		replay->options.piece_flows = REPLAY_PIECE_FLOWS;
	if (replay->fragments == NULL || replay->repeats == NULL)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	if (bridge_init(&replay->bridge, timeline, serving) != 0)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	return 0;
}

void replay_release(struct replay *replay)
{
	bridge_release(&replay->bridge);
	decode_fragments_free(replay->fragments);
	repeats_free(replay->repeats);
	*replay = (struct replay){0};
}

/* -------------------------------------------------------------- places -- */

static void place_flow(struct replay *replay, const struct replay_part *part, struct flow *flow,
		       const struct packet *packet, uint8_t side)
{
	bool local[2], group;

	flow->locality_known = true;
	if (flow->before != FLOW_NONE) {
		const struct flow *before = &part->flows.flows[flow->before];

		flow->place = before->place;
		flow->group_side = before->group_side;
		for (int i = 0; i < 2; i++)
			flow->end[i].local = before->end[i].local;
		return;
	}
	flow->place = (uint8_t)bridge_locality(&replay->bridge, packet, local, &group);
	flow->end[side].local = local[0];
	flow->end[!side].local = local[1];
	flow->group_side = group ? !side : 2;
}

/* A flow without a local end is counted once, at its originator. */
static int judge_elsewhere(struct replay_part *part, struct flow *flow, uint32_t place)
{
	uint8_t side = flow->originator;
	struct bridge_verdict v = {
		.rule = BRIDGE_NO_RULE,
		.reason = flow->place == BRIDGE_PLACE_FORWARDED ? BRIDGE_FORWARDED : BRIDGE_GAP,
		.socket = TIMELINE_NONE,
		.process = TIMELINE_NONE,
		.image = TIMELINE_NONE,
		.frame = TIMELINE_NONE,
		.from_ns = INT64_MIN,
		.until_ns = INT64_MAX,
	};

	if (flow->end[side].span != LEDGER_NONE)
		return 0;
	return ledger_turn(&part->ledger, flow, place, side, &v);
}

/* ------------------------------------------------------------ subjects -- */

/* Where a packet's payload begins in the stream of its sender; -1: not known.
 * After 2 GiB the sequence number no longer tells. */
static int64_t stream_offset(const struct flow *flow, const struct packet *packet, uint8_t from)
{
	uint32_t offset = packet->tcp_seq - flow->tcp.isn[from];

	if (flow->key.protocol != IPPROTO_TCP || !flow->tcp.isn_known[from] ||
	    packet->fragment_later || flow->count[from].payload_bytes >= INT32_MAX)
		return -1;
	if (packet->tcp_flags & DECODE_TCP_SYN)
		return 0;
	return offset == 0 || offset > INT32_MAX ? -1 : (int64_t)offset - 1;
}

/* Whether an end is first seen answering a SYN that was not captured: what it accepts is later. */
static bool answers_syn(const struct flow *flow, uint8_t side)
{
	const uint8_t answer = DECODE_TCP_SYN | DECODE_TCP_ACK;

	return flow->key.protocol == IPPROTO_TCP && flow->head.side == side &&
	       !flow->head.ports_only && (flow->head.flags & answer) == answer;
}

static struct bridge_subject subject_of(const struct flow *flow, const struct packet *packet,
					uint8_t side, bool sent)
{
	struct bridge_subject subject = {
		.protocol = flow->key.protocol,
		.ip_version = flow->key.ip_version,
		.responder = side != flow->originator,
		.group = flow->group_side == side,
		.sent = sent,
		.payload_bytes = packet->payload_bytes,
		/* Urgent bytes are read out of their place, or never. */
		.offset_bytes = !sent && flow->tcp.urgent[!side]
					? -1
					: stream_offset(flow, packet, sent ? side : !side),
		.untold = flow->tcp.multipath[side],
		.ip_bytes = packet->fragment_first || packet->fragment_later ? 0 : packet->ip_bytes,
		.icmp_query = decode_is_icmp(packet->protocol) &&
			      decode_icmp_is_query(packet->protocol, packet->icmp_type),
		.began_ns = flow->began_ns,
		.first_ns = flow->first_ns,
	};

	memcpy(subject.local.address.bytes, flow->key.address[side], 16);
	memcpy(subject.remote.address.bytes, flow->key.address[!side], 16);
	subject.local.port = flow->key.port[side];
	subject.remote.port = flow->key.port[!side];
	if (decode_is_icmp(flow->key.protocol))
		subject.local.port = packet->icmp_id;
	if (answers_syn(flow, side))
		subject.began_ns = flow->head.time_ns;
	return subject;
}

/* An ICMP error belongs to whom the packet that it quotes belongs to. */
static bool quoted_subject(const struct replay_part *part, const struct packet *packet,
			   const struct bridge_subject *outer, struct bridge_subject *subject)
{
	const struct decode_quoted *q = &packet->quoted;
	struct flow_key key;
	uint32_t found;
	uint8_t source_side;
	bool from_us = endpoint_equal(&q->source.address, &outer->local.address);

	if (!from_us && !endpoint_equal(&q->destination.address, &outer->local.address))
		return false;
	*subject = (struct bridge_subject){
		.protocol = q->protocol,
		.ip_version = q->ip_version,
		.local = from_us ? q->source : q->destination,
		.remote = from_us ? q->destination : q->source,
		.sent = from_us,
		.offset_bytes = -1,
		.icmp_query = decode_is_icmp(q->protocol),
		.responder = !from_us,
		.began_ns = INT64_MIN,
		.first_ns = packet->time_ns,
	};
	if (decode_is_icmp(q->protocol))
		return true;
	source_side = flow_key_make(q->protocol, q->ip_version, &q->source, &q->destination, &key);
	found = flow_table_find(&part->flows, &key);
	if (found != FLOW_NONE) {
		const struct flow flow = flow_table_whole(&part->flows, found);

		subject->responder = (from_us ? source_side : !source_side) != flow.originator;
		subject->began_ns = flow.began_ns;
		subject->first_ns = flow.first_ns;
	}
	return true;
}

static void judge_quoted(struct replay *replay, const struct replay_part *part,
			 const struct packet *packet, const struct bridge_subject *outer,
			 struct bridge_verdict *v)
{
	struct bridge_subject subject;

	if (quoted_subject(part, packet, outer, &subject)) {
		bridge_judge(&replay->bridge, &subject, packet->time_ns, v);
		if (v->reason == BRIDGE_OWNED)
			v->rule = BRIDGE_QUOTED;
		else if (v->reason == BRIDGE_GAP)
			v->reason = BRIDGE_NO_SOCKET;
	} else {
		bridge_judge(&replay->bridge, outer, packet->time_ns, v);
	}
	v->by_tuple = false;
	/* The next error of this flow may quote another packet. */
	v->from_ns = INT64_MAX;
	v->until_ns = INT64_MIN;
}

/* ------------------------------------------------------------- packets -- */

/* An answer to what a socket sent goes to that socket, also when no later
 * reading has it: whoever took its port since has sent nothing from it yet. */
static void take_answer(const struct replay_part *part, const struct flow_end *end, int64_t t_ns,
			struct bridge_verdict *v)
{
	const struct ledger_span *asked;

	if (!v->lapsed || end->sent_span == LEDGER_NONE)
		return;
	asked = &part->ledger.spans[ledger_final(&part->ledger, end->sent_span)];
	if (asked->reason != BRIDGE_OWNED || asked->process != v->process ||
	    asked->image != v->image)
		return;
	v->reason = BRIDGE_OWNED;
	v->rule = BRIDGE_BEHIND;
	/* The next packet may be one that it sends, or that somebody else does. */
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
}

/* The answer to an echo comes for the ident, which is the socket that sent it, whoever else
 * pings the same host. */
static void take_echo(const struct replay *replay, const struct replay_part *part,
		      const struct flow *flow, const struct flow_end *end, int64_t t_ns,
		      struct bridge_verdict *v)
{
	const struct ledger_span *asked;

	if (flow->key.icmp_id == 0 || v->refused || end->sent_span == LEDGER_NONE ||
	    (v->reason != BRIDGE_NO_SOCKET && v->reason != BRIDGE_GAP))
		return;
	asked = &part->ledger.spans[ledger_final(&part->ledger, end->sent_span)];
	if (asked->reason != BRIDGE_OWNED ||
	    !bridge_awaits_echo(&replay->bridge, asked->process, end->sent_ns, t_ns))
		return;
	v->reason = BRIDGE_OWNED;
	v->rule = BRIDGE_QUOTED;
	v->socket = asked->socket;
	v->process = asked->process;
	v->image = asked->image;
	v->frame = asked->frame;
	v->shared_by = asked->shared_by;
	v->first_ns = v->last_ns = end->sent_ns;
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
}

static void judge_end(struct replay *replay, const struct replay_part *part, uint32_t place,
		      uint8_t side, const struct packet *packet, bool sent,
		      struct bridge_verdict *v)
{
	const struct flow whole = flow_table_whole(&part->flows, place);
	struct bridge_subject subject = subject_of(&whole, packet, side, sent);

	if (packet->quoted.present)
		judge_quoted(replay, part, packet, &subject, v);
	else
		bridge_judge(&replay->bridge, &subject, packet->time_ns, v);
	if (v->lapsed && !sent && !packet->quoted.present)
		take_answer(part, &whole.end[side], packet->time_ns, v);
	if (!sent && subject.icmp_query && !subject.responder)
		take_echo(replay, part, &whole, &whole.end[side], packet->time_ns, v);
	if (v->lapsed && v->reason != BRIDGE_OWNED) {
		v->socket = v->process = v->image = v->frame = TIMELINE_NONE;
		v->shared_by = 0;
		/* What is sent and what is received differ here. */
		v->from_ns = packet->time_ns;
		v->until_ns = packet->time_ns + 1;
	}
}

static int count_end(struct replay *replay, struct replay_part *part, struct flow *flow,
		     uint32_t place, uint8_t side, const struct packet *packet, bool sent)
{
	struct flow_end *end = &flow->end[side];
	struct bridge_verdict v;
	int64_t distance = 0;

	if (packet->time_ns < end->from_ns || packet->time_ns >= end->until_ns) {
		judge_end(replay, part, place, side, packet, sent, &v);
		if (replay->bridge.failed || ledger_turn(&part->ledger, flow, place, side, &v) != 0)
			return -1;
	}
	if (end->span != LEDGER_NONE) {
		const struct ledger_span *span = &part->ledger.spans[end->span];

		if (span->reason == BRIDGE_OWNED) {
			v.rule = span->rule;
			v.frame = span->frame;
			v.first_ns = span->first_ns;
			v.last_ns = span->last_ns;
			distance = bridge_distance(&replay->bridge, &v, packet->time_ns);
		}
	}
	if (sent) {
		end->sent_span = end->span;
		end->sent_ns = packet->time_ns;
	}
	return ledger_count(&part->ledger, flow, side, packet, sent, distance);
}

/* Judges once more what was just counted, while somebody asks why. */
static int trace_packet(struct replay *replay, const struct replay_part *part, uint32_t place,
			const struct packet *packet, uint8_t sender)
{
	const struct flow *flow = &part->flows.flows[place];
	struct trace *trace = replay->trace;

	if (!trace_wants(trace, &part->ledger, flow, packet))
		return 0;
	if (trace_begin(trace, &part->ledger, flow, packet, sender) != 0)
		return -1;
	for (uint8_t side = 0; side < 2; side++) {
		struct bridge_verdict v;

		if (!flow->end[side].local)
			continue;
		replay->bridge.observer = trace_observer(trace, replay->timeline, side);
		judge_end(replay, part, place, side, packet, side == sender, &v);
		replay->bridge.observer = NULL;
		if (replay->bridge.failed ||
		    trace_verdict(trace, replay->timeline, side, &v,
				  bridge_distance(&replay->bridge, &v, packet->time_ns)) != 0)
			return -1;
	}
	return 0;
}

/* What the rest of the flow shows against an owner. */
static void take_back(struct replay *replay, struct replay_part *part, struct flow *flow,
		      uint32_t span, enum bridge_reason reason, const char *why)
{
	if (replay->trace != NULL)
		trace_taken_back(replay->trace, span, why);
	ledger_disown(&part->ledger, flow, span, reason);
}

static bool sighted_by(const struct timeline *tl, uint32_t socket, int64_t t_ns)
{
	return socket == TIMELINE_NONE || timeline_known_ns(tl, socket) <= t_ns;
}

static const char seen_too_late[] =
	"the socket was first seen when the next connection on the same tuple had begun";

/* Candidates that can only be of the next connection drop out; who is left
 * alone, and was seen before, is the owner. */
static void settle_candidates(struct replay *replay, struct replay_part *part, struct flow *flow,
			      uint32_t place, int64_t next_ns)
{
	const struct timeline *tl = replay->timeline;
	const struct ledger_span *span = &part->ledger.spans[place];
	const struct bridge_candidate *left = NULL;
	int64_t last_ns;

	for (uint32_t i = 0; i < span->candidate_count; i++) {
		const struct bridge_candidate *c =
			&part->ledger.candidates[span->first_candidate + i];

		if (c->socket == TIMELINE_NONE ||
		    (sighted_by(tl, c->socket, next_ns) && left != NULL))
			return;
		if (sighted_by(tl, c->socket, next_ns))
			left = c;
	}
	if (left == NULL) {
		take_back(replay, part, flow, place, BRIDGE_GAP, seen_too_late);
		return;
	}
	last_ns = tl->frames[tl->sockets[left->socket].life.last].end_ns;
	if (span->start_ns >= last_ns)
		ledger_own(&part->ledger, flow, place, left, BRIDGE_BEHIND, span->end_ns - last_ns);
}

/* Sightings that came after the next connection on the same tuple had begun
 * say nothing about the one before. */
static void end_part(struct replay *replay, struct replay_part *part, struct flow *flow,
		     const struct packet *packet)
{
	for (uint8_t side = 0; side < 2; side++) {
		for (uint32_t i = flow->end[side].first_span; i != LEDGER_NONE;
		     i = part->ledger.spans[i].next) {
			const struct ledger_span *span = &part->ledger.spans[i];

			if (!span->by_tuple || span->folded != LEDGER_NONE)
				continue;
			if (span->reason == BRIDGE_AMBIGUOUS)
				settle_candidates(replay, part, flow, i, packet->time_ns);
			else if (!sighted_by(replay->timeline, span->socket, packet->time_ns))
				take_back(replay, part, flow, i, BRIDGE_GAP, seen_too_late);
		}
	}
}

static void end_instance(struct replay *replay, struct replay_part *part, uint32_t place,
			 const struct packet *packet)
{
	struct flow *flows = part->flows.flows;

	if (flows[place].key.protocol != IPPROTO_TCP)
		return;
	for (; place != FLOW_NONE; place = flows[place].before)
		end_part(replay, part, &flows[place], packet);
}

static int keep_packet(struct replay_part *part, uint32_t place, uint8_t side,
		       const struct packet *packet)
{
	const struct flow *flow = &part->flows.flows[place];
	uint8_t end = flow->end[side].span != LEDGER_NONE ? side : !side;
	uint32_t span = flow->end[end].span;

	if (part->ledger.packet_count == 0)
		part->ledger.first_number = packet->number;
	return ledger_keep(&part->ledger,
			   &(struct ledger_packet){
				   .offset_bytes = packet->offset_bytes,
				   .time_ns = packet->time_ns,
				   .number = (uint32_t)(packet->number - part->ledger.first_number),
				   .span = span,
				   .bytes = packet->ip_bytes,
				   .side = side,
				   .rule = (uint8_t)part->ledger.spans[span].rule,
				   .reason = (uint8_t)part->ledger.spans[span].reason,
			   });
}

static int take_flow_packet(struct replay *replay, struct replay_part *part,
			    const struct packet *packet, const struct flow_look *look)
{
	uint8_t side = look->side;
	uint32_t ended, place = flow_table_add_looked(&part->flows, packet, look, &ended);
	struct flow *flow;
	int status = 0;

	if (place == FLOW_NONE)
		return -1;
	if (ended != FLOW_NONE)
		end_instance(replay, part, ended, packet);
	flow = &part->flows.flows[place];
	if (!flow->locality_known)
		place_flow(replay, part, flow, packet, side);
	if (!flow->end[0].local && !flow->end[1].local) {
		status = judge_elsewhere(part, flow, place);
		if (status == 0)
			status = ledger_count(&part->ledger, flow, flow->originator, packet,
					      side == flow->originator, 0);
	}
	for (uint8_t end = 0; end < 2 && status == 0; end++) {
		if (flow->end[end].local)
			status = count_end(replay, part, flow, place, end, packet, end == side);
	}
	part->flow_packets++;
	if (status == 0 && decode_may_carry(packet))
		status = tunnel_table_take(&part->tunnels, flow, place, packet);
	if (status == 0 && replay->options.keep_packets)
		status = keep_packet(part, place, side, packet);
	if (status == 0 && replay->trace != NULL)
		status = trace_packet(replay, part, place, packet, side);
	return status;
}

/* Whether a packet was one more sighting, of which there is nothing to count but that: 1 or 0,
 * or -1 without memory. */
static int take_repeat(struct replay *replay, struct replay_part *part, const struct packet *packet,
		       const struct repeats_look *look)
{
	if (!repeats_seen_looked(replay->repeats, packet, look))
		return 0;
	if (flow_table_repeat(&part->flows, packet))
		return 1;
	/* The flow has a packet before the part, or the table of repeats does not fit to it. */
	if (replay->parts == 1 && replay->taken == 0)
		return 0;
	return replay_stray(part, packet) == 0 ? 1 : -1;
}

static int take_packet(struct replay *replay, struct replay_part *part, const struct ahead *ahead,
		       size_t i)
{
	const struct pcapin_packet *raw = &ahead->raw[i];
	const struct packet *packet = &ahead->packet[i];
	int repeated;

	replay->last_ns = raw->time_ns;
	part->packets++;
	part->bytes += raw->original_bytes;
	if (raw->time_ns < part->first_ns)
		part->first_ns = raw->time_ns;
	if (raw->time_ns > part->last_ns)
		part->last_ns = raw->time_ns;
	if (packet->outcome != DECODE_FLOW) {
		part->ledger.other[packet->outcome].packets++;
		part->ledger.other[packet->outcome].bytes += packet->ip_bytes;
		return 0;
	}
	repeated = take_repeat(replay, part, packet, &ahead->sighting[i]);
	if (repeated == 0)
		return take_flow_packet(replay, part, packet, &ahead->look[i]);
	part->flow_packets++;
	if (replay->trace != NULL)
		trace_repeated(replay->trace, packet->number);
	return repeated < 0 ? -1 : 0;
}

/* Some of the packets that belong to a part. As pcapin_next. */
static int take_some(struct replay *replay, struct replay_part *part, struct error *error)
{
	struct ahead ahead;
	const uint64_t number = part->place.number + part->packets;
	const uint64_t most = replay_until_held(replay, number, replay_room(replay, part));
	int status = ahead_read(&ahead, replay->in, most, replay->fragments, error);

	ahead_fetch(&ahead, &part->flows, &part->ledger, replay->repeats);
	for (size_t i = 0; i < ahead.count; i++) {
		if (take_packet(replay, part, &ahead, i) != 0)
			return error_set(error, ERROR_MEMORY, NULL, -1,
					 "out of memory after %llu packets of this part",
					 (unsigned long long)part->packets);
	}
	if (status == 1)
		replay_hold(replay, number + ahead.count);
	return status;
}

/* Complete readings that began and ended between two times; two are counted at most. */
static unsigned readings_within(const struct timeline *tl, int64_t from_ns, int64_t until_ns)
{
	unsigned count = 0;

	for (size_t i = timeline_fulls_until(tl, until_ns);
	     i > 0 && count < 2 && tl->frames[tl->full[i - 1]].begin_ns >= from_ns; i--)
		count++;
	return count;
}

/* A handshake is over at its last packet; so long the kernel may take to say so. */
#define LATE_ACCEPT_NS INT64_C(1000000)

static bool is_listener_span(const struct ledger_span *span)
{
	return span->reason == BRIDGE_OWNED && !span->by_tuple && span->rule == BRIDGE_LISTENER;
}

/* What the whole of a flow shows about one owner of one of its ends. *why: in words, if that
 * is another reason than the one it has. */
static enum bridge_reason review(const struct replay *replay, const struct flow *flow,
				 const struct ledger_span *span, const char **why)
{
	const struct timeline *tl = replay->timeline;
	uint8_t protocol = flow->key.protocol;
	unsigned within = span->reason != BRIDGE_OWNED
				  ? 0
				  : readings_within(tl, flow->first_ns, flow->last_ns);

	if (protocol == IPPROTO_TCP) {
		uint32_t told = span->socket == TIMELINE_NONE ? TIMELINE_NONE
							      : timeline_told_of(tl, span->socket);
		const struct timeline_life *life =
			span->socket == TIMELINE_NONE || told != TIMELINE_NONE
				? NULL
				: &tl->sockets[span->socket].life;

		/* Accepted after the last packet: the next connection's. */
		*why = "the socket was accepted after the last packet";
		if (told != TIMELINE_NONE && span->reason == BRIDGE_OWNED &&
		    tl->sockets[told].opened_ns > flow->last_ns + LATE_ACCEPT_NS)
			return BRIDGE_GAP;
		/* A connection of this host stands in the tables; this one did not in two
		 * readings: it passed through (address translation), or the rows are not ours. */
		*why = "two complete snapshots during the flow do not have the connection: it "
		       "passed through, or is not this socket's";
		if (is_listener_span(span) && within >= 2)
			return BRIDGE_GAP;
		*why = "the socket was first seen when silence would long have ended the flow";
		/* First seen when silence would long have ended the flow. */
		if (span->by_tuple && span->reason == BRIDGE_OWNED && life != NULL &&
		    timeline_first_end(tl, life) > flow->last_ns &&
		    timeline_first_end(tl, life) - flow->last_ns >
			    flow_idle_limit(flow, &replay->options.limits))
			return BRIDGE_GAP;
		*why = "a complete snapshot after the last packet has not the socket, which was "
		       "seen later only";
		/* Absent after the last packet and there later: the next connection's. */
		if (span->by_tuple && span->reason == BRIDGE_OWNED && life != NULL &&
		    life->absent_before != TIMELINE_NONE &&
		    tl->frames[life->absent_before].begin_ns > flow->last_ns)
			return BRIDGE_GAP;
	} else if (decode_is_icmp(protocol) && span->reason == BRIDGE_OWNED &&
		   flow->key.icmp_id != 0 && span->socket != TIMELINE_NONE &&
		   tl->sockets[span->socket].protocol == IPPROTO_RAW && within == 0) {
		/* A raw socket takes every echo; one that sent this one for long enough
		 * to be read is the only one there was. */
		*why = "no complete snapshot during the flow shows that this raw socket was the "
		       "only one";
		return BRIDGE_GAP;
	}
	return span->reason;
}

/* The kernel itself refused it: merge.h says so of the whole flow, of which this may be a part. */
static void note_answered(struct replay *replay, struct replay_part *part, const struct flow *whole,
			  uint32_t place)
{
	struct ledger_span *span = &part->ledger.spans[place];

	span->answered = flow_refused(whole, span->side) &&
			 (span->reason == BRIDGE_GAP || is_listener_span(span) ||
			  (span->reason == BRIDGE_AMBIGUOUS && !span->by_tuple));
	if (span->answered && replay->trace != NULL)
		trace_taken_back(
			replay->trace, place,
			"it answered with nothing but resets: the kernel refused the connection");
}

/* whole: the flow with all its parts. */
static void review_end(struct replay *replay, struct replay_part *part, struct flow *flow,
		       const struct flow *whole, uint8_t side)
{
	for (uint32_t i = flow->end[side].first_span; i != LEDGER_NONE;
	     i = part->ledger.spans[i].next) {
		const struct ledger_span *span = &part->ledger.spans[i];
		enum bridge_reason reason;
		const char *why = NULL;

		if (span->folded != LEDGER_NONE)
			continue;
		reason = review(replay, whole, span, &why);
		if (reason != span->reason)
			take_back(replay, part, flow, i, reason, why);
		if (span->folded == LEDGER_NONE)
			note_answered(replay, part, whole, i);
	}
}

static int finish_flow(struct replay *replay, struct replay_part *part, uint32_t place)
{
	const struct flow whole = flow_table_whole(&part->flows, place);

	for (; place != FLOW_NONE; place = part->flows.flows[place].before) {
		struct flow *flow = &part->flows.flows[place];

		for (uint8_t side = 0; side < 2; side++) {
			if (ledger_flush(&part->ledger, flow, side) != 0)
				return -1;
			review_end(replay, part, flow, &whole, side);
		}
	}
	return 0;
}

static int finish_part(struct replay *replay, struct replay_part *part)
{
	for (uint32_t i = 0; i < part->flows.count; i++) {
		if (!part->flows.flows[i].divided && finish_flow(replay, part, i) != 0)
			return -1;
	}
	if (replay->trace != NULL)
		trace_settle(replay->trace, replay->timeline, &part->ledger);
	return 0;
}

int replay_next(struct replay *replay, struct replay_part *part, struct error *error)
{
	const volatile sig_atomic_t *stop = replay->options.stop;
	int status = 1;

	replay_part_clear(part);
	/* A capture without snapshots is all that there is of its host. */
	part->flows.cut_before = replay->parts > 0 || replay->timeline->count.frames > 0;
	part->tunnels.flows.cut_before = part->flows.cut_before;
	replay->parts += replay->taken == 0;
	if (replay_begin_part(replay, part) != 0)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	while (status == 1 && replay_room(replay, part) > 0) {
		status = replay->in != NULL ? take_some(replay, part, error) : 0;
		if (status == 1 && stop != NULL && *stop != 0)
			return error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
	}
	if (status == ERROR_MEMORY)
		return status;
	if (finish_part(replay, part) != 0 || replay_end_part(replay, part) != 0)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	replay->taken += part->packets;
	part->goes_on = status == 1 && replay->taken < replay->options.part_packets;
	if (part->goes_on)
		return REPLAY_GOES_ON;
	replay->taken = 0;
	return status;
}
