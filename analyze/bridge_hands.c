/* Sockets of datagrams that go from hand to hand: whether who is named had it alone. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>

#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

/* Uses of one port that a judgement goes through, those in other namespaces counted: the turns of
 * sixteen sockets. */
#define LOOKED_AT 1024

/* The turns of a port around t: who used it last before, and who is the next. */
struct turns {
	const struct timeline_use *now, *next;
	bool cut; /* there were too many to look at */
};

/* Whether the port closed between the two times, and not late for something before. */
static bool closed_between(const struct timeline *tl, const struct bridge_subject *subject,
			   int64_t from_ns, int64_t until_ns)
{
	return timeline_closed(tl, subject->protocol, subject->local.port, &subject->remote,
			       from_ns + BRIDGE_LATE_CLOSE_NS, until_ns) > 0;
}

/* The first use of the end that is asked for, from a place of the way on, in steps of 1 or -1. */
static const struct timeline_use *first_fit(const struct bridge *bridge,
					    const struct bridge_subject *subject,
					    const struct timeline_way *way, size_t from,
					    size_t step, bool *cut)
{
	const struct timeline *tl = bridge->timeline;
	unsigned looked = 0;

	for (size_t i = from; i < way->count; i += step) {
		walk_step();
		if (looked++ == LOOKED_AT) {
			*cut = true;
			return NULL;
		}
		if (bridge_use_fits(bridge, subject, tl->uses[way->uses[i]].netns))
			return &tl->uses[way->uses[i]];
	}
	return NULL;
}

static struct turns find_turns(const struct bridge *bridge, const struct bridge_subject *subject,
			       const struct timeline_way *way, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	size_t after = bridge_first_after(tl, way, t_ns);
	struct turns out = {.cut = false};

	out.now = first_fit(bridge, subject, way, after - 1, SIZE_MAX, &out.cut);
	out.next = first_fit(bridge, subject, way, after, 1, &out.cut);
	if (out.now != NULL && closed_between(tl, subject, out.now->at_ns, t_ns))
		out.now = NULL;
	if (out.next != NULL && closed_between(tl, subject, t_ns, out.next->at_ns))
		out.next = NULL;
	return out;
}

/* Whether the user of a turn is another one than process, and lives at t or later. Of several, one
 * that has ended says nothing about the others. */
static bool is_other(const struct timeline *tl, const struct timeline_use *use, uint32_t process,
		     int64_t t_ns)
{
	return use != NULL &&
	       (use->act == SNAP_SEVERAL ||
		(use->process != process && !bridge_is_gone(tl, use->process, t_ns)));
}

/* And could be the one that sends at t. */
static bool is_rival(const struct timeline *tl, const struct timeline_use *use, uint32_t process,
		     int64_t t_ns)
{
	return is_other(tl, use, process, t_ns) && timeline_began(tl, use->process, false) <= t_ns;
}

/* What is sent left in a call that ended at or after t: the last of one turn, or the first of the
 * next. NULL: it was process's. */
static const struct timeline_use *rival_sender(const struct timeline *tl, const struct turns *turns,
					       uint32_t process, int64_t looked_ns, int64_t t_ns)
{
	const struct timeline_use *now =
		is_rival(tl, turns->now, process, t_ns) ? turns->now : NULL;
	const struct timeline_use *next = turns->next;

	if (next == NULL)
		return now;
	if (is_rival(tl, next, process, t_ns)) {
		/* It goes on with its own turn, and the other's call had not begun. */
		bool is_before = t_ns <= next->previous_ns && next->at_ns > t_ns + BRIDGE_RACE_NS;

		return is_before ? now : next;
	}
	/* Its turn begins with this call; what the other one sent may leave late. */
	if (next->process == process && next->previous_ns < t_ns &&
	    ((looked_ns > next->previous_ns && looked_ns <= t_ns) ||
	     t_ns > next->previous_ns + BRIDGE_RACE_NS))
		return NULL;
	return now;
}

/* So many generations lie between who opens a socket and who uses it, at most. */
#define GENERATIONS 8

/* Whether a process may have inherited what another one had: it may descend from it. Who began
 * before it does not. Whom a reading has as the parent may have taken it over from one who ended
 * before: only a fork that was told says more. */
static bool may_inherit(const struct timeline *tl, uint32_t heir, uint32_t process)
{
	int64_t since_ns = timeline_began(tl, process, false);

	for (unsigned i = 0; i < GENERATIONS && heir != TIMELINE_NONE; i++) {
		const struct timeline_process *p = &tl->processes[heir];
		int64_t began_ns = timeline_began(tl, heir, true);

		if (heir == process || p->forked_twice || p->parent == tl->processes[process].pid)
			return true;
		if (began_ns != INT64_MIN && began_ns < since_ns)
			return false;
		if (p->parent == 0)
			return true;
		heir = timeline_process_of(tl, p->parent, p->start_ticks);
	}
	return true;
}

/* Whether a user of the port may take what is received at t: at once or later. Who was not there
 * yet may inherit the socket, if that did not close before; or be handed it, if nothing says that
 * it closed: a close is told late, and what is told of the port may be of another socket then. */
static bool may_receive(const struct timeline *tl, const struct bridge_subject *subject,
			const struct timeline_use *use, uint32_t process, int64_t t_ns)
{
	bool inherits;

	if (!is_other(tl, use, process, t_ns))
		return false;
	if (timeline_began(tl, use->process, false) <= t_ns)
		return use->at_ns <= t_ns ? !closed_between(tl, subject, use->at_ns, t_ns)
					  : !closed_between(tl, subject, t_ns, use->at_ns);
	inherits = may_inherit(tl, use->process, process);
	return timeline_closed(tl, subject->protocol, subject->local.port, &subject->remote, t_ns,
			       use->at_ns + (inherits ? 0 : BRIDGE_LATE_CLOSE_NS)) == 0;
}

static const struct timeline_use *
rival_receiver(const struct bridge *bridge, const struct bridge_subject *subject,
	       const struct timeline_way *way, struct turns *turns, uint32_t process, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	unsigned looked = 0;

	if (is_rival(tl, turns->now, process, t_ns))
		return turns->now;
	for (size_t i = bridge_first_after(tl, way, t_ns - BRIDGE_ANSWER_NS); i < way->count; i++) {
		const struct timeline_use *use = &tl->uses[way->uses[i]];

		walk_step();
		if (use->at_ns > t_ns + BRIDGE_ANSWER_NS)
			break;
		if (looked++ == LOOKED_AT) {
			turns->cut = true;
			break;
		}
		if (bridge_use_fits(bridge, subject, use->netns) &&
		    may_receive(tl, subject, use, process, t_ns))
			return use;
	}
	return NULL;
}

/* Somebody who was not looked at may have the socket. */
static void refuse_crowded(const struct bridge *bridge, struct bridge_verdict *v)
{
	bridge_tell(bridge, BRIDGE_WHY_CROWDED, v->socket);
	v->rule = BRIDGE_NO_RULE;
	v->reason = BRIDGE_GAP;
	v->process = v->image = TIMELINE_NONE;
	v->refused = true;
}

void bridge_check_hands(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			struct bridge_verdict *v)
{
	static const struct endpoint nobody; /* what is told of a port alone has no remote end */
	const struct timeline *tl = bridge->timeline;
	const struct timeline_use *rival;
	struct timeline_way way;
	struct turns turns;

	if (v->reason != BRIDGE_OWNED)
		return;
	way = timeline_way(tl, subject->protocol, &subject->local, &nobody);
	if (way.count == 0)
		return;
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
	turns = find_turns(bridge, subject, &way, t_ns);
	rival = subject->sent ? rival_sender(tl, &turns, v->process, v->first_ns, t_ns)
			      : rival_receiver(bridge, subject, &way, &turns, v->process, t_ns);
	if (rival == NULL && turns.cut)
		refuse_crowded(bridge, v);
	if (rival == NULL)
		return;
	bridge_tell(bridge, BRIDGE_WHY_OTHER_HANDS, v->socket);
	bridge_empty_pool(bridge);
	bridge_push_candidate(bridge, v->socket, v->process, v->image);
	bridge_push_candidate(bridge, v->socket, rival->process,
			      timeline_image_at(tl, rival->process, t_ns));
	v->refused = true;
	bridge_say_ambiguous(bridge, subject, v);
}
