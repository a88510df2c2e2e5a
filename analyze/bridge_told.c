#include "analyze/bridge_internal.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

bool bridge_use_fits(const struct bridge *bridge, const struct bridge_subject *subject,
		     uint64_t netns)
{
	if (netns == 0)
		return !endpoint_is_loopback(&subject->local.address);
	if (netns != bridge->timeline->capture_netns && bridge_is_ours(bridge, subject))
		return false;
	return bridge_namespace_fits(bridge, subject, netns);
}

static void name_process(const struct bridge *bridge, uint32_t place, enum bridge_rule rule,
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

/* ------------------------------------------------------------- streams -- */

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
	uint32_t before = TIMELINE_NONE, after = TIMELINE_NONE;
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
	return accepted ? after : before;
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
	name_process(bridge, turn->use,
		     use->at_ns <= t_ns + BRIDGE_CLOCKS_NS || turn->by_bytes ? BRIDGE_EXACT
									     : BRIDGE_AHEAD,
		     t_ns, v);
}

/* Whether the kernel told of a use of the connection's socket by process. */
bool bridge_told_user(const struct bridge *bridge, const struct bridge_subject *subject,
		      int64_t t_ns, uint32_t process, bool *any)
{
	const struct timeline *tl = bridge->timeline;
	struct timeline_stretch same;
	uint32_t socket = told_socket(bridge, subject, t_ns, &same);

	*any = socket != TIMELINE_NONE && tl->sockets[socket].users > 0;
	return *any && timeline_used_by(tl, socket, process);
}

/* The readings decide, and if they name nobody, those of another segment do not either. */
static bool refuse(const struct bridge *bridge, enum bridge_why why, struct bridge_verdict *v,
		   int64_t t_ns)
{
	bridge_tell(bridge, why, TIMELINE_NONE);
	v->refused = true;
	/* The next packet may be one of which it is known. */
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
	return false;
}

/* Of a connection that several use, where readings decide: they may not have seen the latest of
 * them yet. */
static uint32_t whose_turn(const struct timeline *tl, const struct timeline_socket *s,
			   const struct bridge_subject *subject, int64_t t_ns)
{
	struct turn turn = turn_by_time(tl, s, subject, t_ns);

	if (turn.use == TIMELINE_NONE || t_ns > tl->told_until_ns ||
	    !all_told(tl, tl->uses[turn.use].at_ns, t_ns))
		return TIMELINE_NONE;
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
	timeline_told_stretch(tl, true, t_ns, &same.from_ns, &same.until_ns);
	bridge_narrow(&told, same);
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
		return refuse(bridge, BRIDGE_WHY_SHARED, v, t_ns);
	/* Before Linux 6.3 a child that sends is not told. */
	if (tl->sends_untold && subject->sent && subject->payload_bytes > 0)
		return refuse(bridge, BRIDGE_WHY_SENDS_UNTOLD, v, t_ns);
	if (turn.several || t_ns > tl->told_until_ns || !all_told(tl, s->opened_ns, t_ns))
		return refuse(bridge, BRIDGE_WHY_USES_MISSING, v, t_ns);
	/* Who only closed it may have been handed it for that. */
	if (turn.use == TIMELINE_NONE)
		return refuse(bridge, BRIDGE_WHY_NO_TURN, v, t_ns);
	/* Whoever used it in between was not told. */
	if (!all_told(tl, s->opened_ns, tl->uses[turn.use].at_ns))
		return refuse(bridge, BRIDGE_WHY_USES_MISSING, v, t_ns);
	say_turn(bridge, subject, s, &turn, t_ns, &told);
	*v = told;
	return true;
}

/* ----------------------------------------------------------- datagrams -- */

static bool takes(const struct bridge *bridge, const struct bridge_subject *subject,
		  const struct endpoint *local, const struct timeline_use *use)
{
	return use->act != SNAP_SEND && bridge_use_fits(bridge, subject, use->netns) &&
	       (endpoint_is_any(&use->local.address) ||
		endpoint_equal(&use->local.address, &local->address));
}

/* The last use of the way up to t, the first after it, and the last by
 * another process than before's. */
struct around {
	uint32_t before, after, other;
};

size_t bridge_first_after(const struct timeline *tl, const struct timeline_way *way, int64_t t_ns)
{
	size_t low = 0, high = way->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (tl->uses[way->uses[middle]].at_ns <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct around uses_around(const struct bridge *bridge, const struct bridge_subject *subject,
				 const struct endpoint *local, const struct timeline_way *way,
				 int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	struct around out = {TIMELINE_NONE, TIMELINE_NONE, TIMELINE_NONE};
	size_t low = bridge_first_after(tl, way, t_ns + BRIDGE_CLOCKS_NS);

	for (size_t i = low; i < way->count && out.after == TIMELINE_NONE; i++) {
		if (takes(bridge, subject, local, &tl->uses[way->uses[i]]))
			out.after = way->uses[i];
	}
	for (size_t i = low; i > 0 && out.other == TIMELINE_NONE; i--) {
		const struct timeline_use *use = &tl->uses[way->uses[i - 1]];

		if (t_ns - use->at_ns > BRIDGE_ANSWER_NS && out.before != TIMELINE_NONE)
			break;
		if (!takes(bridge, subject, local, use))
			continue;
		if (out.before == TIMELINE_NONE)
			out.before = way->uses[i - 1];
		else if (use->process != tl->uses[out.before].process)
			out.other = way->uses[i - 1];
	}
	return out;
}

/* Whether the process of another use could have received a packet at t too:
 * the socket is one of several workers'. */
static bool could_receive(const struct timeline *tl, uint32_t use, uint32_t process, int64_t t_ns)
{
	uint32_t other = use == TIMELINE_NONE ? process : tl->uses[use].process;

	return other != process && !bridge_is_gone(tl, other, t_ns) &&
	       timeline_began(tl, other, false) <= t_ns;
}

/* What an answer will tell of the request: its process had the port already,
 * and nobody else used the way until then. */
static bool will_answer(const struct timeline *tl, const struct bridge_subject *subject,
			uint32_t after, int64_t t_ns, const struct bridge_verdict *v)
{
	const struct timeline_use *use = &tl->uses[after];
	int64_t began_ns = timeline_began(tl, use->process, true);

	return use->at_ns - t_ns <= BRIDGE_ANSWER_NS && use->previous_ns <= t_ns &&
	       began_ns != INT64_MIN && began_ns <= t_ns && use->at_ns <= tl->told_until_ns &&
	       timeline_closed(tl, subject->protocol, subject->local.port, &subject->remote, t_ns,
			       use->at_ns) == 0 &&
	       !(v->lapsed && v->process != use->process) &&
	       !timeline_untold(tl, false, t_ns, use->at_ns);
}

/* Whether the socket of a use is still the same, in the same hands, at t: it did not close, and
 * its process did not end or fork. A look-up just before needs none of it. */
static bool still_holds(const struct timeline *tl, const struct bridge_subject *subject,
			const struct around *around, int64_t t_ns)
{
	const struct timeline_use *use = &tl->uses[around->before];
	uint16_t port = subject->local.port;
	/* That of a user before, who is gone, may come only now. */
	bool others = around->other != TIMELINE_NONE &&
		      bridge_is_gone(tl, tl->uses[around->other].process, use->at_ns);
	int64_t since_ns = use->at_ns + (others ? BRIDGE_LATE_CLOSE_NS : 0);

	return !bridge_is_gone(tl, use->process, t_ns) && t_ns <= tl->told_until_ns &&
	       !timeline_untold(tl, false, use->at_ns, t_ns) &&
	       timeline_closed(tl, subject->protocol, port, &subject->remote, since_ns, t_ns) ==
		       0 &&
	       !timeline_forked(tl, use->process, use->at_ns, t_ns);
}

/* Two looked up, and which of them sends first is not told. */
static bool is_race(const struct timeline *tl, const struct around *around, int64_t t_ns)
{
	const struct timeline_use *use, *other;

	if (around->before == TIMELINE_NONE || around->other == TIMELINE_NONE)
		return false;
	use = &tl->uses[around->before];
	other = &tl->uses[around->other];
	return t_ns - use->at_ns <= BRIDGE_AT_ONCE_NS &&
	       use->at_ns - other->at_ns <= BRIDGE_RACE_NS &&
	       !bridge_is_gone(tl, other->process, t_ns);
}

/* Whether the kernel may send this way without a look-up, and so without a word: to IPv4 groups
 * where the caller names the interface or its own address. */
static bool may_be_silent(const struct endpoint_address *remote)
{
	return endpoint_is_broadcast(remote) ||
	       (endpoint_is_ipv4(remote) && endpoint_is_multicast(remote));
}

/* Of what is sent: the latest look-up, if it is the packet's own, or if nobody else who
 * lives has looked this way (a connected socket looks once). */
static uint32_t choose_sender(const struct timeline *tl, const struct bridge_subject *subject,
			      const struct around *around, int64_t t_ns)
{
	const struct timeline_use *use, *other;
	bool at_once;

	if (around->before == TIMELINE_NONE || may_be_silent(&subject->remote.address))
		return TIMELINE_NONE;
	use = &tl->uses[around->before];
	if (use->act == SNAP_SEVERAL)
		return TIMELINE_NONE;
	other = around->other == TIMELINE_NONE ? NULL : &tl->uses[around->other];
	at_once = t_ns - use->at_ns <= BRIDGE_AT_ONCE_NS;
	if (is_race(tl, around, t_ns))
		return TIMELINE_NONE;
	/* A connected socket looks once, so what a child sends over it looks the same. */
	if (at_once)
		return bridge_is_gone(tl, use->process, t_ns) || t_ns > tl->told_until_ns ||
				       timeline_untold(tl, false, use->at_ns, t_ns) ||
				       timeline_forked(tl, use->process, use->at_ns, t_ns)
			       ? TIMELINE_NONE
			       : around->before;
	if (!still_holds(tl, subject, around, t_ns) ||
	    (other != NULL && !bridge_is_gone(tl, other->process, t_ns)))
		return TIMELINE_NONE;
	return around->before;
}

/* Of what is received: who sent on this way before, or, if nobody did, who answers. */
static uint32_t choose_receiver(const struct timeline *tl, const struct bridge_subject *subject,
				const struct around *around, bool has_ports, int64_t t_ns,
				const struct bridge_verdict *v)
{
	uint32_t named = TIMELINE_NONE, process;

	if (around->before != TIMELINE_NONE) {
		const struct timeline_use *use = &tl->uses[around->before];

		if (use->act != SNAP_SEVERAL && t_ns - use->at_ns <= BRIDGE_ANSWER_NS &&
		    still_holds(tl, subject, around, t_ns))
			named = around->before;
	} else if (around->after != TIMELINE_NONE && has_ports &&
		   will_answer(tl, subject, around->after, t_ns, v)) {
		named = around->after;
	}
	if (named == TIMELINE_NONE)
		return named;
	process = tl->uses[named].process;
	return could_receive(tl, around->other, process, t_ns) ||
			       could_receive(tl, around->after, process, t_ns)
		       ? TIMELINE_NONE
		       : named;
}

/* Of several that may have taken it, one alone has the socket that this process answers with. */
static bool shares_socket(const struct bridge_verdict *v, uint32_t process)
{
	uint32_t socket = TIMELINE_NONE;

	for (size_t i = 0; i < v->candidate_count; i++) {
		if (v->candidates[i].process == process)
			socket = v->candidates[i].socket;
	}
	for (size_t i = 0; i < v->candidate_count && socket != TIMELINE_NONE; i++) {
		if (v->candidates[i].process != process && v->candidates[i].socket == socket)
			return true;
	}
	return false;
}

/* A use by another process than readings name, and later than their first of the socket. */
static bool contradicts(const struct timeline *tl, uint32_t use, int64_t t_ns,
			const struct bridge_verdict *v)
{
	int64_t apart_ns;

	if (use == TIMELINE_NONE || tl->uses[use].process == v->process)
		return false;
	apart_ns = tl->uses[use].at_ns - t_ns;
	return tl->uses[use].at_ns >= v->first_ns && apart_ns <= BRIDGE_ANSWER_NS &&
	       apart_ns >= -BRIDGE_ANSWER_NS && !bridge_is_gone(tl, tl->uses[use].process, t_ns);
}

/* Readings after t name somebody, but another process had the way then, or has it before them, and
 * nothing says that its socket closed: what waited may be read by who inherits it. */
static bool comes_later(const struct timeline *tl, const struct bridge_subject *subject,
			uint32_t place, int64_t t_ns, const struct bridge_verdict *v)
{
	const struct timeline_use *use;
	int64_t from_ns, until_ns;

	if (place == TIMELINE_NONE || v->first_ns <= t_ns)
		return false;
	use = &tl->uses[place];
	from_ns = use->at_ns < t_ns ? use->at_ns : t_ns;
	until_ns = use->at_ns < t_ns ? t_ns : use->at_ns;
	return use->process != v->process && until_ns - from_ns <= BRIDGE_ANSWER_NS &&
	       !bridge_is_gone(tl, use->process, t_ns) &&
	       timeline_closed(tl, subject->protocol, subject->local.port, &subject->remote,
			       from_ns, until_ns) == 0;
}

/* Who is named forked since the reading that names it: the child has the socket too. */
static bool has_heir(const struct timeline *tl, int64_t t_ns, const struct bridge_verdict *v)
{
	uint32_t full = timeline_full_at(tl, t_ns);

	return v->by_tuple && full != TIMELINE_NONE &&
	       timeline_forked(tl, v->process, tl->frames[full].begin_ns, t_ns);
}

static void disown(const struct bridge *bridge, enum bridge_why why, struct bridge_verdict *v)
{
	bridge_tell(bridge, why, v->socket);
	v->rule = BRIDGE_NO_RULE;
	v->reason = BRIDGE_GAP;
	v->refused = true;
	v->process = v->image = v->socket = v->frame = TIMELINE_NONE;
	v->shared_by = 0;
}

void bridge_judge_datagram(struct bridge *bridge, const struct bridge_subject *subject,
			   int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	bool has_ports = subject->protocol == IPPROTO_UDP || subject->protocol == IPPROTO_UDPLITE;
	struct endpoint local = subject->local, remote = subject->remote;
	struct timeline_way way;
	struct around around;
	int64_t from_ns, until_ns;
	uint32_t named;

	if (tl->datagram_count == 0 || subject->group ||
	    timeline_doubtful(tl, t_ns, &from_ns, &until_ns))
		return;
	if (!has_ports) {
		local.port = remote.port = 0;
		if (!subject->icmp_query || subject->responder)
			return;
	}
	way = timeline_way(tl, subject->protocol, &local, &remote);
	if (way.count == 0) {
		bridge_tell(bridge, BRIDGE_WHY_NO_WAY, TIMELINE_NONE);
		return;
	}
	/* What is sent and what is received are judged apart. */
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
	around = uses_around(bridge, subject, &local, &way, t_ns);
	if (v->reason == BRIDGE_OWNED && (v->by_tuple || !subject->sent)) {
		/* Readings name one, uses another: either may be late. */
		if (contradicts(tl, around.before, t_ns, v) ||
		    contradicts(tl, around.after, t_ns, v))
			disown(bridge, BRIDGE_WHY_CONTRADICTED, v);
		else if (has_heir(tl, t_ns, v))
			disown(bridge, BRIDGE_WHY_HAS_HEIR, v);
		else if (comes_later(tl, subject, around.before, t_ns, v) ||
			 comes_later(tl, subject, around.after, t_ns, v))
			disown(bridge, BRIDGE_WHY_COMES_LATER, v);
		return;
	}
	if (!subject->sent)
		named = choose_receiver(tl, subject, &around, has_ports, t_ns, v);
	else if (has_ports)
		named = choose_sender(tl, subject, &around, t_ns);
	else
		named = bridge_choose_echoer(bridge, subject, &local, &way, t_ns);
	if (named == TIMELINE_NONE ||
	    (!subject->sent && shares_socket(v, tl->uses[named].process))) {
		bridge_tell(bridge, subject->sent ? BRIDGE_WHY_NO_SENDER : BRIDGE_WHY_NO_RECEIVER,
			    TIMELINE_NONE);
		/* Readings may know one of two who send through one socket. */
		if (v->reason != BRIDGE_OWNED || !subject->sent)
			return;
		if (is_race(tl, &around, t_ns))
			disown(bridge, BRIDGE_WHY_RACE, v);
		else if (contradicts(tl, around.before, t_ns, v) ||
			 contradicts(tl, around.other, t_ns, v))
			disown(bridge, BRIDGE_WHY_CONTRADICTED, v);
		else if (comes_later(tl, subject, around.before, t_ns, v))
			disown(bridge, BRIDGE_WHY_COMES_LATER, v);
		return;
	}
	if (v->process != tl->uses[named].process)
		v->socket = TIMELINE_NONE;
	v->shared_by = 1;
	name_process(bridge, named,
		     !has_ports		     ? BRIDGE_QUOTED
		     : named == around.after ? BRIDGE_AHEAD
					     : BRIDGE_EXACT,
		     t_ns, v);
}
