/* Datagrams: by the uses told of the way that one went, beside what readings say. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>

#include "analyze/walk.h"

static bool takes(const struct bridge *bridge, const struct bridge_subject *subject,
		  const struct endpoint *local, const struct timeline_use *use)
{
	return use->act != SNAP_SEND && bridge_use_fits(bridge, subject, use->netns) &&
	       (endpoint_is_any(&use->local.address) ||
		endpoint_equal(&use->local.address, &local->address));
}

/* Uses of one way that a judgement goes through: of other ends, as in other namespaces; and of one
 * process, more than are told in the time in which an answer is awaited. */
#define LOOKED_PAST 1024
#define LOOKED_AT   16384

/* The last use of the way up to t, the first after it, and the last by
 * another process than before's. */
struct around {
	uint32_t before, after, other;
	bool cut; /* there were too many to look at */
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
	struct around out = {TIMELINE_NONE, TIMELINE_NONE, TIMELINE_NONE, false};
	size_t low = bridge_first_after(tl, way, t_ns + BRIDGE_CLOCKS_NS);
	unsigned looked = 0, passed = 0;

	for (size_t i = low; i < way->count && out.after == TIMELINE_NONE && !out.cut; i++) {
		walk_step();
		if (takes(bridge, subject, local, &tl->uses[way->uses[i]]))
			out.after = way->uses[i];
		else
			out.cut = ++passed > LOOKED_PAST;
	}
	for (size_t i = low; i > 0 && out.other == TIMELINE_NONE && !out.cut; i--) {
		const struct timeline_use *use = &tl->uses[way->uses[i - 1]];

		walk_step();
		if (t_ns - use->at_ns > BRIDGE_ANSWER_NS && out.before != TIMELINE_NONE)
			break;
		if (!takes(bridge, subject, local, use))
			out.cut = ++passed > LOOKED_PAST;
		else if (out.before == TIMELINE_NONE)
			out.before = way->uses[i - 1];
		else if (use->process != tl->uses[out.before].process)
			out.other = way->uses[i - 1];
		else
			out.cut = ++looked > LOOKED_AT;
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

/* Whether readings have a socket of the port in the hands of another process than this one, or may
 * have had it then. */
static bool has_another(const struct bridge_verdict *v, uint32_t process)
{
	for (size_t i = 0; i < v->candidate_count; i++) {
		if (v->candidates[i].process != process)
			return true;
	}
	return false;
}

static bool is_current(const struct timeline *tl, const struct bridge_candidate *candidate,
		       int64_t t_ns)
{
	return timeline_current(tl, &tl->sockets[candidate->socket].life, t_ns);
}

/* Whether who answers need not have heard: readings have the port in another process's hands, which
 * may have taken what came, and that its socket closed is told late. In a group (SO_REUSEPORT),
 * where the process had a socket of its own by then, only one that ended since may have. */
static bool had_another(const struct timeline *tl, const struct timeline_use *answer, int64_t t_ns,
			const struct bridge_verdict *v)
{
	bool is_there = false, is_in_group = false;

	for (size_t i = 0; i < v->candidate_count; i++)
		is_there = is_there || is_current(tl, &v->candidates[i], t_ns);
	for (size_t i = 0; i < v->candidate_count; i++) {
		const struct bridge_candidate *c = &v->candidates[i];

		if (c->process == answer->process)
			is_in_group = is_in_group || !is_there || is_current(tl, c, t_ns);
		else if (bridge_is_gone(tl, c->process, answer->at_ns))
			return true;
	}
	return !is_in_group &&
	       ((v->lapsed && v->process != answer->process) || has_another(v, answer->process));
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
	       timeline_closed(tl, subject->protocol, &subject->local, &subject->remote, t_ns,
			       use->at_ns) == 0 &&
	       !had_another(tl, use, t_ns, v) && !timeline_untold(tl, false, t_ns, use->at_ns);
}

/* Whether the socket of a use is still the same, in the same hands, at t: it did not close, and
 * its process did not end or fork. A look-up just before needs none of it. */
static bool still_holds(const struct timeline *tl, const struct bridge_subject *subject,
			const struct around *around, int64_t t_ns)
{
	const struct timeline_use *use = &tl->uses[around->before];
	/* That of a user before, who is gone, may come only now. */
	bool others = around->other != TIMELINE_NONE &&
		      bridge_is_gone(tl, tl->uses[around->other].process, use->at_ns);
	int64_t since_ns = use->at_ns + (others ? BRIDGE_LATE_CLOSE_NS : 0);

	return !bridge_is_gone(tl, use->process, t_ns) && t_ns <= tl->told_until_ns &&
	       !timeline_untold(tl, false, use->at_ns, t_ns) &&
	       timeline_closed(tl, subject->protocol, &subject->local, &subject->remote, since_ns,
			       t_ns) == 0 &&
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

		/* Which socket of a group gets an answer the kernel decides, whoever asked. */
		if (use->act != SNAP_SEVERAL && t_ns - use->at_ns <= BRIDGE_ANSWER_NS &&
		    still_holds(tl, subject, around, t_ns) &&
		    (subject->responder || !has_another(v, use->process)))
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

/* When the first reading that a verdict rests on began: what was used while it went on may have
 * been after the row was read. */
static int64_t read_since(const struct timeline *tl, const struct bridge_verdict *v)
{
	uint32_t full = timeline_full_at(tl, v->first_ns);

	return full != TIMELINE_NONE && tl->frames[full].end_ns == v->first_ns
		       ? tl->frames[full].begin_ns
		       : v->first_ns;
}

/* Whether the close of a socket was told in (from, until]. */
static bool closed_until(const struct timeline *tl, uint32_t socket, int64_t from_ns,
			 int64_t until_ns)
{
	return socket != TIMELINE_NONE && tl->sockets[socket].closed.closed_ns > from_ns &&
	       tl->sockets[socket].closed.closed_ns <= until_ns;
}

/* A use by another process than readings name, and later than their first of the socket; not one
 * that came when the socket had closed. */
static bool contradicts(const struct timeline *tl, uint32_t use, int64_t t_ns,
			const struct bridge_verdict *v)
{
	int64_t apart_ns;

	if (use == TIMELINE_NONE || tl->uses[use].process == v->process ||
	    closed_until(tl, v->socket, t_ns, tl->uses[use].at_ns))
		return false;
	apart_ns = tl->uses[use].at_ns - t_ns;
	return tl->uses[use].at_ns >= read_since(tl, v) && apart_ns <= BRIDGE_ANSWER_NS &&
	       apart_ns >= -BRIDGE_ANSWER_NS && !bridge_is_gone(tl, tl->uses[use].process, t_ns);
}

/* Readings after t name somebody, but another process had the way then, or has it before them, and
 * nothing says that its socket closed: what waited may be read by who inherits it. A close may be
 * told late, of the socket of another one that had the way before. */
static bool comes_later(const struct timeline *tl, const struct bridge_subject *subject,
			const struct around *around, uint32_t place, int64_t t_ns,
			const struct bridge_verdict *v)
{
	const struct timeline_use *use;
	int64_t from_ns, until_ns;

	if (place == TIMELINE_NONE || v->first_ns <= t_ns)
		return false;
	use = &tl->uses[place];
	from_ns = use->at_ns < t_ns ? use->at_ns : t_ns;
	until_ns = use->at_ns < t_ns ? t_ns : use->at_ns;
	if (around->other != TIMELINE_NONE)
		from_ns += BRIDGE_LATE_CLOSE_NS;
	return use->process != v->process && until_ns - from_ns <= BRIDGE_ANSWER_NS &&
	       !bridge_is_gone(tl, use->process, t_ns) &&
	       (from_ns >= until_ns || timeline_closed(tl, subject->protocol, &subject->local,
						       &subject->remote, from_ns, until_ns) == 0);
}

/* Who is named forked since the reading that names it: the child has the socket too. */
static bool has_heir(const struct timeline *tl, int64_t t_ns, const struct bridge_verdict *v)
{
	uint32_t full = timeline_full_at(tl, t_ns);

	return v->by_tuple && full != TIMELINE_NONE &&
	       timeline_forked(tl, v->process, tl->frames[full].begin_ns, t_ns);
}

/* A socket of the port closed after a datagram and before the first sighting of the one that is
 * named: it may have been the datagram's. */
static bool closed_between(const struct bridge *bridge, const struct bridge_subject *subject,
			   int64_t t_ns, const struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	int64_t first_ns;

	if (v->reason != BRIDGE_OWNED || v->socket == TIMELINE_NONE || subject->group)
		return false;
	first_ns = timeline_first_end(tl, &tl->sockets[v->socket].life);
	return first_ns > t_ns && timeline_closed(tl, subject->protocol, &subject->local,
						  &subject->remote, t_ns, first_ns) > 0;
}

/* Readings name one, uses another: either may be late. */
static void doubt_reading(const struct bridge *bridge, const struct bridge_subject *subject,
			  const struct around *around, int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;

	if (contradicts(tl, around->before, t_ns, v) || contradicts(tl, around->after, t_ns, v))
		bridge_disown(bridge, BRIDGE_WHY_CONTRADICTED, v);
	else if (has_heir(tl, t_ns, v))
		bridge_disown(bridge, BRIDGE_WHY_HAS_HEIR, v);
	else if (comes_later(tl, subject, around, around->before, t_ns, v) ||
		 comes_later(tl, subject, around, around->after, t_ns, v))
		bridge_disown(bridge, BRIDGE_WHY_COMES_LATER, v);
}

/* Readings may know one of two who send through one socket. */
static void doubt_sender(const struct bridge *bridge, const struct bridge_subject *subject,
			 const struct around *around, int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;

	if (is_race(tl, around, t_ns))
		bridge_disown(bridge, BRIDGE_WHY_RACE, v);
	else if (contradicts(tl, around->before, t_ns, v) ||
		 contradicts(tl, around->other, t_ns, v))
		bridge_disown(bridge, BRIDGE_WHY_CONTRADICTED, v);
	else if (comes_later(tl, subject, around, around->before, t_ns, v))
		bridge_disown(bridge, BRIDGE_WHY_COMES_LATER, v);
}

/* What was read is not wrong, only of before. */
static void drop_ended(const struct bridge *bridge, struct bridge_verdict *v)
{
	bridge_disown(bridge, BRIDGE_WHY_ENDED, v);
	v->refused = false;
}

/* Every raw socket of a protocol takes its packets, and who sends through which is not told. */
static bool is_raw(const struct timeline *tl, uint32_t socket)
{
	return socket != TIMELINE_NONE && tl->sockets[socket].protocol == IPPROTO_RAW;
}

static void judge_by_uses(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			  struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	bool has_ports = subject->protocol == IPPROTO_UDP || subject->protocol == IPPROTO_UDPLITE;
	struct endpoint local = subject->local, remote = subject->remote;
	struct timeline_way way;
	struct around around;
	uint32_t named;

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
	if (around.cut) {
		/* Somebody who was not looked at may have it. */
		if (v->reason == BRIDGE_OWNED)
			bridge_disown(bridge, BRIDGE_WHY_CROWDED, v);
		else
			bridge_tell(bridge, BRIDGE_WHY_CROWDED, TIMELINE_NONE);
		return;
	}
	if (v->reason == BRIDGE_OWNED && !subject->sent && bridge_is_gone(tl, v->process, t_ns))
		drop_ended(bridge, v);
	if (v->reason == BRIDGE_OWNED && v->by_tuple && subject->sent && has_ports) {
		/* Its own look-up: the kernel told of whom readings name. */
		named = choose_sender(tl, subject, &around, t_ns);
		if (named != TIMELINE_NONE && tl->uses[named].process == v->process &&
		    t_ns - tl->uses[named].at_ns <= BRIDGE_AT_ONCE_NS)
			return;
	}
	if (v->reason == BRIDGE_OWNED && (v->by_tuple || !subject->sent)) {
		doubt_reading(bridge, subject, &around, t_ns, v);
		if (v->reason != BRIDGE_OWNED || !is_raw(tl, v->socket))
			return;
	}
	if (!subject->sent)
		named = choose_receiver(tl, subject, &around, has_ports, t_ns, v);
	else if (has_ports)
		named = choose_sender(tl, subject, &around, t_ns);
	else
		named = bridge_choose_echoer(bridge, subject, &local, &way, t_ns);
	if (named == TIMELINE_NONE ||
	    (!subject->sent &&
	     (shares_socket(v, tl->uses[named].process) ||
	      (v->reason == BRIDGE_OWNED && v->process != tl->uses[named].process)))) {
		bridge_tell(bridge, subject->sent ? BRIDGE_WHY_NO_SENDER : BRIDGE_WHY_NO_RECEIVER,
			    TIMELINE_NONE);
		if (v->reason == BRIDGE_OWNED && subject->sent)
			doubt_sender(bridge, subject, &around, t_ns, v);
		return;
	}
	if (v->process != tl->uses[named].process || is_raw(tl, v->socket))
		v->socket = TIMELINE_NONE;
	v->shared_by = 1;
	bridge_name_user(bridge, named,
			 !has_ports		 ? BRIDGE_QUOTED
			 : named == around.after ? BRIDGE_AHEAD
						 : BRIDGE_EXACT,
			 t_ns, v);
}

void bridge_judge_datagram(struct bridge *bridge, const struct bridge_subject *subject,
			   int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	int64_t from_ns, until_ns;

	if (closed_between(bridge, subject, t_ns, v))
		bridge_disown(bridge, BRIDGE_WHY_CLOSED_BETWEEN, v);
	if (tl->datagram_count > 0 && !subject->group &&
	    !timeline_doubtful(tl, t_ns, &from_ns, &until_ns))
		judge_by_uses(bridge, subject, t_ns, v);
}
