/* Whom the kernel told to use a socket, and whose turn on a connection a packet falls into. */
#include "analyze/bridge_internal.h"

#include <stdlib.h>

#include "analyze/walk.h"

bool bridge_use_fits(const struct bridge *bridge, const struct bridge_subject *subject,
		     uint64_t netns)
{
	if (netns == 0)
		return !endpoint_is_loopback(&subject->local.address);
	if (netns != bridge->timeline->capture_netns && bridge_is_ours(bridge, subject))
		return false;
	return bridge_namespace_fits(bridge, subject, netns);
}

void bridge_name_user(const struct bridge *bridge, uint32_t place, enum bridge_rule rule,
		      int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_use *use = &tl->uses[place];

	v->lapsed = v->passed = false;
	v->reason = BRIDGE_OWNED;
	v->rule = rule;
	v->process = use->process;
	v->image = timeline_image_at(tl, use->process, use->at_ns > t_ns ? use->at_ns : t_ns);
	bridge_narrow(v, timeline_image_stretch(tl, use->process, t_ns));
	v->frame = use->frame;
	v->use = place;
	v->first_ns = v->last_ns = use->at_ns;
	v->candidates = NULL;
	v->candidate_count = 0;
}

/* The told lifetimes that a connection of this host's can be, by tuple and time: each tuple's
 * where the timeline has them, those that cannot (of another namespace) left out at its end. */
int bridge_note_told(struct bridge *bridge)
{
	const struct timeline *tl = bridge->timeline;

	bridge->told = malloc((tl->count.sockets + 1) * sizeof(*bridge->told));
	if (bridge->told == NULL)
		return -1;
	for (size_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_socket *head = &tl->sockets[i];
		const uint32_t *all = tl->lifetimes + head->lifetimes_at;
		uint32_t *kept = bridge->told + head->lifetimes_at;
		struct bridge_subject subject = {.local = head->local};

		if (head->opened_ns == 0 || head->lifetime_count == 0)
			continue;
		for (uint32_t k = 0; k < head->lifetime_count; k++) {
			if (bridge_use_fits(bridge, &subject, tl->sockets[all[k]].netns))
				*kept++ = all[k];
		}
		while (kept < bridge->told + head->lifetimes_at + head->lifetime_count)
			*kept++ = TIMELINE_NONE;
	}
	return 0;
}

/* How many of them were opened before t, or at it. */
static size_t told_before(const struct bridge *bridge, const struct timeline_socket *head,
			  int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	size_t low = 0, high = head->lifetime_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t i = bridge->told[head->lifetimes_at + middle];

		walk_step();
		if (i != TIMELINE_NONE && tl->sockets[i].opened_ns <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether another socket of the tuple than a told one, of which only its close was told, comes
 * between it and the beginning of a connection: nobody used it, or the kernel itself did. What an
 * accepted one finds is told after its SYN, a connecting one before. */
static bool has_another(const struct timeline *tl, uint32_t socket, bool accepted, int64_t began_ns)
{
	const struct timeline_socket *s = &tl->sockets[socket];

	if (accepted)
		return timeline_closed_untold(tl, socket, began_ns,
					      s->opened_ns + BRIDGE_LATE_CLOSE_NS);
	return (s->closed.closed_ns != 0 && s->closed.closed_ns < began_ns) ||
	       timeline_closed_untold(tl, socket, s->opened_ns, began_ns);
}

/* Which socket of the tuple this connection is: a connecting one was opened
 * just before its SYN, an accepted one after. Without a SYN it is the last one opened, and
 * the answer changes with the next: *same is the stretch in which it does not. */
static uint32_t told_socket(const struct bridge *bridge, const struct bridge_subject *subject,
			    int64_t t_ns, struct timeline_stretch *same)
{
	const struct timeline *tl = bridge->timeline;
	bool accepted = subject->responder && subject->began_ns != INT64_MIN;
	/* Where its SYN was not captured, it began between the last packet of the one before and
	 * its first. */
	int64_t limit_ns = subject->began_ns == INT64_MIN		       ? t_ns
			   : accepted || subject->first_ns < subject->began_ns ? subject->began_ns
									       : subject->first_ns;
	uint32_t first = timeline_told(tl, subject->protocol, &subject->local, &subject->remote);
	uint32_t before = TIMELINE_NONE, after = TIMELINE_NONE, next = TIMELINE_NONE;
	const struct timeline_socket *head;
	size_t count;

	*same = (struct timeline_stretch){.from_ns = INT64_MIN, .until_ns = INT64_MAX};
	if (first == TIMELINE_NONE)
		return TIMELINE_NONE;
	head = &tl->sockets[first];
	count = told_before(bridge, head,
			    accepted ? limit_ns - BRIDGE_CLOCKS_NS - 1
				     : limit_ns + BRIDGE_CLOCKS_NS);
	if (count > 0)
		before = bridge->told[head->lifetimes_at + count - 1];
	if (count < head->lifetime_count)
		after = bridge->told[head->lifetimes_at + count];
	if (subject->began_ns == INT64_MIN && before != TIMELINE_NONE)
		same->from_ns = tl->sockets[before].opened_ns - BRIDGE_CLOCKS_NS;
	if (subject->began_ns == INT64_MIN && after != TIMELINE_NONE)
		same->until_ns = tl->sockets[after].opened_ns - BRIDGE_CLOCKS_NS;
	if (accepted && count + 1 < head->lifetime_count)
		next = bridge->told[head->lifetimes_at + count + 1];
	else if (!accepted)
		next = after;
	if (accepted)
		before = after;
	/* Its SYN was not captured: the tuple is the next one's from there on. */
	if (subject->began_ns != INT64_MIN && next != TIMELINE_NONE) {
		int64_t ended_ns = tl->sockets[next].opened_ns - BRIDGE_CLOCKS_NS;

		if (t_ns >= ended_ns) {
			same->from_ns = ended_ns;
			return TIMELINE_NONE;
		}
		same->until_ns = ended_ns;
	}
	return subject->began_ns != INT64_MIN && before != TIMELINE_NONE &&
			       has_another(tl, before, accepted, limit_ns)
		       ? TIMELINE_NONE
		       : before;
}

/* What the processes that used a socket in turn make of one packet. */
struct turn {
	uint32_t use;  /* the packet's; NONE: no turn was told */
	uint32_t with; /* bytes of it are this one's too; NONE */
	bool several;  /* there are too many turns: the rest was not told */
	bool by_bytes; /* all positions are known, so time does not matter */
};

/* How many of a socket's turns lie before a place: all up to the last one that does. */
static uint32_t turns_below(const struct timeline_turn *turns, uint32_t count, bool sent,
			    uint64_t place)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		walk_step();
		if (turns[middle].least_bytes[sent] < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* By the place of the payload in its stream: exact whatever the kernel held back.
 * A turn whose place is not known began somewhere after the one before it. */
static struct turn turn_by_bytes(const struct timeline *tl, const struct timeline_socket *s,
				 const struct bridge_subject *subject)
{
	struct turn out = {.use = TIMELINE_NONE, .with = TIMELINE_NONE, .by_bytes = true};
	const struct timeline_turn *turns = &tl->turns[s->turns_at];
	uint64_t begin = (uint64_t)subject->offset_bytes, end = begin + subject->payload_bytes, at;
	bool sent = subject->sent;
	uint32_t its, last, with;

	if (s->turn_count == 0)
		return out;
	at = timeline_position(&tl->uses[turns[0].use], sent);
	if (at == SNAP_UNKNOWN_BYTES)
		return (struct turn){.use = TIMELINE_NONE, .with = TIMELINE_NONE};
	/* What went through before the first turn that is told was another's. */
	if (at > begin)
		return out;
	its = turns_below(turns, s->turn_count, sent, begin + 1) - 1;
	last = turns_below(turns, s->turn_count, sent, end) - 1;
	with = turns[its].unplaced[sent];
	if (tl->uses[turns[last].use].process != tl->uses[turns[its].use].process)
		with = last;
	else if (turns[last].other[sent] != TIMELINE_NONE && turns[last].other[sent] > its)
		with = turns[last].other[sent];
	out.use = turns[its].use;
	out.with = with == TIMELINE_NONE ? with : turns[with].use;
	out.several = s->several_from_bytes[sent] < end;
	return out;
}

static uint32_t turns_begun(const struct timeline *tl, const struct timeline_socket *s,
			    int64_t t_ns)
{
	uint32_t low = 0, high = s->turn_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		walk_step();
		if (tl->uses[tl->turns[s->turns_at + middle].use].at_ns <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* By time, for what carries no bytes or where their place is not known. Between
 * the last use by one and the first by the next, what is sent is the former's, and what is
 * received waits for the latter. A call that sends is told when it ends: what leaves before
 * may be its own. */
static struct turn turn_by_time(const struct timeline *tl, const struct timeline_socket *s,
				const struct bridge_subject *subject, int64_t t_ns)
{
	struct turn out = {.use = TIMELINE_NONE, .with = TIMELINE_NONE};
	const struct timeline_turn *turns = &tl->turns[s->turns_at];
	uint32_t count = s->several_at != TIMELINE_NONE ? s->several_at : s->turn_count;
	uint32_t next = turns_begun(tl, s, t_ns);
	bool heavy = subject->sent && subject->payload_bytes > 0;
	const struct timeline_use *use;

	if (next > count)
		next = count;
	if (next > 0)
		out.use = turns[next - 1].use;
	if (next < count && out.use == TIMELINE_NONE) {
		use = &tl->uses[turns[next].use];
		/* Another one's, whose turn is told in another segment. */
		if (use->previous_ns != 0 && (use->previous_ns >= t_ns || heavy))
			return out;
		out.use = turns[next++].use;
	}
	if (next < count) {
		use = &tl->uses[turns[next].use];
		if (tl->uses[out.use].process == use->process || use->previous_ns >= t_ns)
			return out;
		if (subject->payload_bytes > 0 && (use->previous_ns == 0 || subject->sent))
			out.with = turns[next].use;
		else if (!subject->sent && use->previous_ns != 0)
			out.use = turns[next].use;
	} else if (count < s->turn_count) {
		out.several = tl->uses[turns[count].use].previous_ns < t_ns;
	}
	return out;
}

/* The first turn that is told is not the first of the socket: a rotation lies between. */
static bool follows_others(const struct timeline *tl, const struct timeline_socket *s)
{
	const struct timeline_use *use = &tl->uses[s->first_use];

	return use->previous_ns != 0 ||
	       (use->sent_bytes != SNAP_UNKNOWN_BYTES && use->sent_bytes > 0) ||
	       (use->received_bytes != SNAP_UNKNOWN_BYTES && use->received_bytes > 0);
}

static bool all_told(const struct timeline *tl, int64_t a_ns, int64_t b_ns)
{
	return !timeline_untold(tl, true, a_ns < b_ns ? a_ns : b_ns, a_ns < b_ns ? b_ns : a_ns);
}

/* The one or those that a packet may belong to. */
static void say_turn(struct bridge *bridge, const struct bridge_subject *subject,
		     const struct timeline_socket *s, const struct turn *turn, int64_t t_ns,
		     struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_use *use = &tl->uses[turn->use];

	bridge_empty_pool(bridge);
	bridge_push_candidate(bridge, v->socket, use->process,
			      timeline_image_at(tl, use->process, t_ns));
	if (turn->with != TIMELINE_NONE)
		bridge_push_candidate(bridge, v->socket, tl->uses[turn->with].process,
				      timeline_image_at(tl, tl->uses[turn->with].process, t_ns));
	if (turn->by_bytes)
		bridge_push_rivals(bridge, subject, s, turn->use, v->socket, t_ns);
	if (bridge->pool_count > 1) {
		bridge_tell(bridge, BRIDGE_WHY_AT_ONCE, v->socket);
		bridge_say_ambiguous(bridge, subject, v);
		return;
	}
	bridge_name_user(bridge, turn->use,
			 use->at_ns <= t_ns + BRIDGE_CLOCKS_NS || turn->by_bytes ? BRIDGE_EXACT
										 : BRIDGE_AHEAD,
			 t_ns, v);
}

bool bridge_told_user(const struct bridge *bridge, const struct bridge_subject *subject,
		      int64_t t_ns, uint32_t process, bool *any)
{
	const struct timeline *tl = bridge->timeline;
	struct timeline_stretch same;
	uint32_t socket = told_socket(bridge, subject, t_ns, &same);

	*any = socket != TIMELINE_NONE && tl->sockets[socket].users > 0;
	return *any && timeline_used_by(tl, socket, process);
}

bool bridge_told_others(const struct bridge *bridge, const struct bridge_subject *subject,
			int64_t t_ns, uint32_t process)
{
	const struct timeline *tl = bridge->timeline;
	struct timeline_stretch same;
	uint32_t socket = told_socket(bridge, subject, t_ns, &same);
	const struct timeline_socket *s;

	if (socket == TIMELINE_NONE)
		return false;
	s = &tl->sockets[socket];
	return s->users > 0 ? !timeline_used_by(tl, socket, process)
			    : s->closer != TIMELINE_NONE && s->closer != process;
}

/* The readings decide, and if they name nobody, those of another segment do not either. */
static bool leave_to_readings(const struct bridge *bridge, enum bridge_why why,
			      struct bridge_verdict *v, int64_t t_ns)
{
	bridge_tell(bridge, why, TIMELINE_NONE);
	v->refused = true;
	/* The next packet may be one of which it is known. */
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
	return false;
}

/* Where uses may be missing around t: it was in the hands of who used it last before and first
 * after, if both are the same. TORN: they are not, and when it was handed on is not known. */
static uint32_t turn_among_missing(const struct timeline *tl, const struct timeline_socket *s,
				   int64_t t_ns)
{
	uint32_t next = turns_begun(tl, s, t_ns), before;

	if (next == 0 || next == s->turn_count)
		return TIMELINE_NONE;
	before = tl->uses[tl->turns[s->turns_at + next - 1].use].process;
	return tl->uses[tl->turns[s->turns_at + next].use].process == before ? before
									     : BRIDGE_TURN_TORN;
}

/* Of a connection that several use, where readings decide: they may not have seen the latest of
 * them yet, or only the next one. */
static uint32_t whose_turn(const struct timeline *tl, const struct timeline_socket *s,
			   const struct bridge_subject *subject, int64_t t_ns)
{
	struct turn turn = turn_by_time(tl, s, subject, t_ns);

	if (turn.use == TIMELINE_NONE || t_ns > tl->told_until_ns)
		return TIMELINE_NONE;
	if (!all_told(tl, tl->uses[turn.use].at_ns, t_ns))
		return turn_among_missing(tl, s, t_ns);
	return turn.with != TIMELINE_NONE ? BRIDGE_TURN_TORN : tl->uses[turn.use].process;
}

bool bridge_judge_stream(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			 struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	struct timeline_stretch same;
	uint32_t socket = told_socket(bridge, subject, t_ns, &same);
	struct turn turn = {.use = TIMELINE_NONE};
	const struct timeline_socket *s;
	struct bridge_verdict told;
	bool shared;

	bridge_narrow(v, same);
	told = *v;
	if (socket == TIMELINE_NONE) {
		bridge_tell(bridge, BRIDGE_WHY_NOT_TOLD, TIMELINE_NONE);
		return false;
	}
	s = &tl->sockets[socket];
	told.socket = s->other != TIMELINE_NONE ? s->other : socket;
	told.by_tuple = true;
	told.shared_by = s->users > 0 ? s->users : 1;
	shared = told.shared_by > 1 || follows_others(tl, s);
	bridge_narrow(&told, timeline_told_stretch(tl, true, t_ns));
	bridge_edge(&told, t_ns, tl->uses[s->first_use].at_ns);
	if (shared) {
		/* The next packet may be another's. */
		told.from_ns = t_ns;
		told.until_ns = t_ns + 1;
	}
	if (shared && subject->payload_bytes > 0 && subject->offset_bytes >= 0)
		turn = turn_by_bytes(tl, s, subject);
	if (!turn.by_bytes)
		turn = turn_by_time(tl, s, subject, t_ns);
	if (shared && subject->payload_bytes > 0)
		v->turn = whose_turn(tl, s, subject, t_ns);
	/* What one process left in the buffer goes out, or is read, in the turn of the next. Who
	 * has the descriptor by readings is no better known to have moved it. */
	if (s->users > 1 && (turn.several || (subject->payload_bytes > 0 && !turn.by_bytes))) {
		bridge_tell(bridge, BRIDGE_WHY_SHARED, told.socket);
		bridge_empty_pool(bridge);
		bridge_push_users(bridge, s, told.socket, t_ns);
		bridge_say_ambiguous(bridge, subject, &told);
		*v = told;
		return true;
	}
	if (shared && !turn.by_bytes && subject->payload_bytes > 0)
		return leave_to_readings(bridge, BRIDGE_WHY_SHARED, v, t_ns);
	/* Before Linux 6.3 a child that sends is not told. */
	if (tl->sends_untold && subject->sent && subject->payload_bytes > 0)
		return leave_to_readings(bridge, BRIDGE_WHY_SENDS_UNTOLD, v, t_ns);
	if (turn.several || t_ns > tl->told_until_ns || !all_told(tl, s->opened_ns, t_ns))
		return leave_to_readings(bridge, BRIDGE_WHY_USES_MISSING, v, t_ns);
	/* Who only closed it may have been handed it for that. */
	if (turn.use == TIMELINE_NONE)
		return leave_to_readings(bridge, BRIDGE_WHY_NO_TURN, v, t_ns);
	/* Whoever used it in between was not told. */
	if (!all_told(tl, s->opened_ns, tl->uses[turn.use].at_ns))
		return leave_to_readings(bridge, BRIDGE_WHY_USES_MISSING, v, t_ns);
	say_turn(bridge, subject, s, &turn, t_ns, &told);
	*v = told;
	return true;
}
