#include "analyze/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"

void trace_release(struct trace *trace)
{
	for (size_t i = 0; i < trace->count; i++) {
		for (int side = 0; side < 2; side++) {
			struct trace_end *end = &trace->items[i].end[side];

			free(end->notes);
			free(end->candidates);
			witness_release(end->witness, end->witness_count);
		}
	}
	free(trace->items);
	hashindex_release(&trace->known);
	*trace = (struct trace){0};
}

/* ---------------------------------------------------------------- facts -- */

static struct trace_frame frame_of(const struct timeline *tl, uint32_t frame)
{
	struct trace_frame out = {0};

	if (frame == TIMELINE_NONE)
		return out;
	out.sequence = tl->frames[frame].sequence;
	out.line = tl->frames[frame].line;
	out.kind = tl->frames[frame].kind;
	out.begin_ns = tl->frames[frame].begin_ns;
	out.end_ns = tl->frames[frame].end_ns;
	snprintf(out.cause, sizeof(out.cause), "%s",
		 tl->frames[frame].cause != NULL ? tl->frames[frame].cause : "");
	return out;
}

static struct trace_process process_of(const struct timeline *tl, uint32_t process)
{
	if (process == TIMELINE_NONE)
		return (struct trace_process){0};
	return (struct trace_process){tl->processes[process].pid,
				      tl->processes[process].start_ticks};
}

/* --------------------------------------------------------- what is known -- */

static uint64_t hash_span(uint32_t span)
{
	return hashindex_keyed(&span, sizeof(span));
}

/* Of an end of the newest judgement. */
static uint32_t place_of(const struct trace *trace, uint8_t side)
{
	return (uint32_t)(2 * (trace->count - 1) + side);
}

static uint64_t hash_of_place(const void *context, uint32_t place)
{
	const struct trace *trace = context;

	return hash_span(trace->items[place / 2].end[place % 2].span);
}

static struct trace_end *next_of_span(const struct trace *trace, uint32_t span, uint32_t *probe)
{
	for (;;) {
		uint32_t place = hashindex_next(&trace->known, hash_span(span), probe);
		struct trace_end *end;

		walk_step();
		if (place == HASHINDEX_NONE)
			return NULL;
		end = &trace->items[place / 2].end[place % 2];
		if (end->span == span)
			return end;
	}
}

static struct trace_end *first_of_span(const struct trace *trace, uint32_t span, uint32_t *probe)
{
	*probe = (uint32_t)hash_span(span);
	return next_of_span(trace, span, probe);
}

/* ------------------------------------------------------------ what to ask -- */

static bool is_known(const struct trace *trace, const struct ledger *ledger,
		     const struct flow *flow, uint8_t side)
{
	uint32_t span = flow->end[side].span, probe;
	struct trace_end *end;

	for (end = first_of_span(trace, span, &probe); end != NULL;
	     end = next_of_span(trace, span, &probe)) {
		if (end->rule == ledger->spans[span].rule)
			return true;
	}
	return false;
}

bool trace_wants(const struct trace *trace, const struct ledger *ledger, const struct flow *flow,
		 const struct packet *packet)
{
	if (trace->number != 0)
		return packet->number == trace->number;
	if (packet->time_ns < trace->from_ns || packet->time_ns > trace->until_ns ||
	    !flow_key_equal(&flow->key, &trace->key))
		return false;
	for (uint8_t side = 0; side < 2; side++) {
		if (flow->end[side].span != LEDGER_NONE && !is_known(trace, ledger, flow, side))
			return true;
	}
	return false;
}

int trace_begin(struct trace *trace, const struct ledger *ledger, const struct flow *flow,
		const struct packet *packet, uint8_t sender)
{
	struct trace_judgement *item;

	if (grow_one(&trace->items, trace->count, &trace->capacity, sizeof(*trace->items)) != 0)
		return -1;
	item = &trace->items[trace->count++];
	*item = (struct trace_judgement){
		.number = packet->number,
		.offset_bytes = packet->offset_bytes,
		.time_ns = packet->time_ns,
		.bytes = packet->ip_bytes,
		.key = flow->key,
		.flow_first_ns = flow->first_ns,
		.sender = sender,
		.originator = flow->originator,
	};
	for (uint8_t side = 0; side < 2; side++) {
		struct trace_end *end = &item->end[side];

		*end = (struct trace_end){
			.local = flow->end[side].span != LEDGER_NONE,
			.sent = side == sender,
			.rule = BRIDGE_NO_RULE,
			.final_rule = BRIDGE_NO_RULE,
			.span = flow->end[side].span,
		};
		memcpy(end->address.address.bytes, flow->key.address[side], 16);
		memcpy(end->peer.address.bytes, flow->key.address[!side], 16);
		end->address.port = flow->key.port[side];
		end->peer.port = flow->key.port[!side];
		if (!end->local)
			continue;
		end->reason = ledger->spans[end->span].reason;
		if (hashindex_add(&trace->known, hash_span(end->span), place_of(trace, side),
				  hash_of_place, trace) != 0)
			return -1;
	}
	return 0;
}

static void note(enum bridge_why why, uint32_t socket, void *context)
{
	struct trace *trace = context;
	struct trace_end *end = trace->asking;
	const struct timeline *tl = trace->timeline;
	struct trace_note *fresh;

	if (end->note_count == TRACE_MAX_NOTES) {
		end->notes_left_out++;
		return;
	}
	if (grow_one(&end->notes, end->note_count, &end->note_capacity, sizeof(*end->notes)) != 0) {
		trace->failed = true;
		return;
	}
	fresh = &end->notes[end->note_count++];
	*fresh = (struct trace_note){.why = why};
	if (socket == TIMELINE_NONE)
		return;
	fresh->inode = tl->sockets[socket].inode;
	fresh->first = frame_of(tl, tl->sockets[socket].life.first);
	fresh->last = frame_of(tl, tl->sockets[socket].life.last);
}

const struct bridge_observer *trace_observer(struct trace *trace, const struct timeline *timeline,
					     uint8_t side)
{
	trace->timeline = timeline;
	trace->asking = &trace->items[trace->count - 1].end[side];
	trace->observer = (struct bridge_observer){.note = note, .context = trace};
	return &trace->observer;
}

/* -------------------------------------------------------------- verdicts -- */

static void want(struct trace_end *end, const struct witness *witness)
{
	if (end->witness_count < TRACE_WITNESSES)
		end->witness[end->witness_count++] = *witness;
}

static void want_socket(struct trace_end *end, const struct timeline *tl, uint32_t socket)
{
	const struct timeline_socket *s = &tl->sockets[socket];

	if (s->opened_ns != 0)
		return; /* told by its uses alone: no reading has a row of it */
	end->inode = s->inode;
	want(end, &(struct witness){.type = SNAP_TYPE_SOCKET,
				    .sequence = tl->frames[s->life.first].sequence,
				    .netns = s->netns,
				    .table = s->table,
				    .local = s->local,
				    .remote = s->remote,
				    .inode = s->inode});
}

static void want_use(struct trace_end *end, const struct timeline *tl, uint32_t place)
{
	const struct timeline_use *use = &tl->uses[place];

	end->act = use->act;
	end->at_ns = use->at_ns;
	want(end, &(struct witness){.type = SNAP_TYPE_USE,
				    .sequence = tl->frames[use->frame].sequence,
				    .pid = tl->processes[use->process].pid,
				    .start_ticks = tl->processes[use->process].start_ticks,
				    .at_ns = use->at_ns});
}

static void want_holder(struct trace_end *end, const struct timeline *tl, uint32_t inode,
			uint32_t process)
{
	for (uint32_t i = timeline_holders(tl, inode); i != TIMELINE_NONE;
	     i = tl->holders[i].next_inode) {
		const struct timeline_holder *h = &tl->holders[i];

		if (h->process != process)
			continue;
		want(end, &(struct witness){.type = SNAP_TYPE_HOLDER,
					    .sequence = tl->frames[h->life.first].sequence,
					    .inode = inode,
					    .fd = h->fd,
					    .pid = tl->processes[process].pid,
					    .start_ticks = tl->processes[process].start_ticks});
		return;
	}
}

static void want_process(struct trace_end *end, const struct timeline *tl, uint32_t process,
			 uint32_t image)
{
	struct witness witness = {.type = SNAP_TYPE_BORN,
				  .pid = tl->processes[process].pid,
				  .start_ticks = tl->processes[process].start_ticks};

	if (image != TIMELINE_NONE) {
		witness.type = SNAP_TYPE_PROCESS;
		witness.sequence = tl->frames[tl->images[image].life.first].sequence;
	} else if (tl->processes[process].born_ns == 0) {
		return; /* only its descriptors were seen */
	}
	want(end, &witness);
	if (image == TIMELINE_NONE || !timeline_exec_told(tl, image))
		return;
	witness.type = SNAP_TYPE_EXEC;
	witness.sequence = 0; /* any frame may tell of it */
	witness.at_ns = tl->images[image].since_ns;
	want(end, &witness);
}

int trace_verdict(struct trace *trace, const struct timeline *timeline, uint8_t side,
		  const struct bridge_verdict *v, int64_t distance_ns)
{
	const struct timeline *tl = timeline;
	struct trace_end *end = &trace->items[trace->count - 1].end[side];

	end->rule = v->rule;
	end->reason = v->reason;
	end->process = process_of(tl, v->process);
	end->shared_by = v->shared_by;
	end->frame = frame_of(tl, v->frame);
	end->first_ns = v->first_ns;
	end->last_ns = v->last_ns;
	end->distance_ns = v->reason == BRIDGE_OWNED ? distance_ns : 0;
	if (v->socket != TIMELINE_NONE)
		want_socket(end, tl, v->socket);
	if (v->reason == BRIDGE_OWNED && v->use != TIMELINE_NONE)
		want_use(end, tl, v->use);
	if (v->reason == BRIDGE_OWNED && end->inode != 0)
		want_holder(end, tl, end->inode, v->process);
	if (v->reason == BRIDGE_OWNED)
		want_process(end, tl, v->process, v->image);
	if (v->candidate_count > 0 && v->reason != BRIDGE_OWNED) {
		end->candidates = calloc(v->candidate_count, sizeof(*end->candidates));
		if (end->candidates == NULL)
			return -1;
		for (size_t i = 0; i < v->candidate_count; i++) {
			const struct bridge_candidate *c = &v->candidates[i];

			end->candidates[i] = (struct trace_candidate){
				.process = process_of(tl, c->process),
				.inode = c->socket == TIMELINE_NONE ? 0
								    : tl->sockets[c->socket].inode,
			};
		}
		end->candidate_count = v->candidate_count;
	}
	return trace->failed ? -1 : 0;
}

void trace_repeated(struct trace *trace, uint64_t number)
{
	trace->repeated = trace->repeated || number == trace->repeat;
}

void trace_taken_back(struct trace *trace, uint32_t span, const char *why)
{
	struct trace_end *end;
	uint32_t probe;

	for (end = first_of_span(trace, span, &probe); end != NULL;
	     end = next_of_span(trace, span, &probe))
		end->taken_back = why;
}

void trace_settle(struct trace *trace, const struct timeline *timeline, const struct ledger *ledger)
{
	for (size_t i = trace->count; i > 0 && !trace->items[i - 1].settled; i--) {
		struct trace_judgement *item = &trace->items[i - 1];

		for (int side = 0; side < 2; side++) {
			struct trace_end *end = &item->end[side];
			const struct ledger_span *span;
			bool owned;

			if (!end->local)
				continue;
			span = &ledger->spans[ledger_final(ledger, end->span)];
			owned = span->reason == BRIDGE_OWNED && !span->answered;
			end->final_reason = span->answered ? BRIDGE_NO_SOCKET : span->reason;
			end->final_rule = owned ? end->rule : BRIDGE_NO_RULE;
			end->final_process = owned ? process_of(timeline, span->process)
						   : (struct trace_process){0};
		}
		item->settled = true;
	}
	/* The next part numbers its stretches anew. */
	hashindex_release(&trace->known);
}
