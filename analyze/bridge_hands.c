/* Sockets of datagrams that go from hand to hand: whether who is named had it alone. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>

#include "snapshot/format/quantity.h"

/* The turns of a port around t: who used it last before, and who is the next. */
struct turns {
	const struct timeline_use *now, *next;
};

/* Whether the port closed between the two times, and not late for something before. */
static bool closed_between(const struct timeline *tl, const struct bridge_subject *subject,
			   int64_t from_ns, int64_t until_ns)
{
	return timeline_closed(tl, subject->protocol, subject->local.port, &subject->remote,
			       from_ns + BRIDGE_LATE_CLOSE_NS, until_ns) > 0;
}

static struct turns find_turns(const struct bridge *bridge, const struct bridge_subject *subject,
			       const struct timeline_way *way, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	size_t after = bridge_first_after(tl, way, t_ns);
	struct turns out = {NULL, NULL};

	for (size_t i = after; i > 0 && out.now == NULL; i--) {
		const struct timeline_use *use = &tl->uses[way->uses[i - 1]];

		if (bridge_use_fits(bridge, subject, use->netns))
			out.now = use;
	}
	for (size_t i = after; i < way->count && out.next == NULL; i++) {
		const struct timeline_use *use = &tl->uses[way->uses[i]];

		if (bridge_use_fits(bridge, subject, use->netns))
			out.next = use;
	}
	if (out.now != NULL && closed_between(tl, subject, out.now->at_ns, t_ns))
		out.now = NULL;
	if (out.next != NULL && closed_between(tl, subject, t_ns, out.next->at_ns))
		out.next = NULL;
	return out;
}

/* Whether the user of a turn is another one than process, and could be the one at t. */
static bool is_rival(const struct timeline *tl, const struct timeline_use *use, uint32_t process,
		     int64_t t_ns)
{
	return use != NULL && (use->process != process || use->act == SNAP_SEVERAL) &&
	       !bridge_is_gone(tl, use->process, t_ns) &&
	       timeline_began(tl, use->process, false) <= t_ns;
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

/* Any of the users may take what is received, at once or later. */
static const struct timeline_use *rival_receiver(const struct bridge *bridge,
						 const struct bridge_subject *subject,
						 const struct timeline_way *way,
						 const struct turns *turns, uint32_t process,
						 int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;

	if (is_rival(tl, turns->now, process, t_ns))
		return turns->now;
	for (size_t i = bridge_first_after(tl, way, t_ns - BRIDGE_ANSWER_NS); i < way->count; i++) {
		const struct timeline_use *use = &tl->uses[way->uses[i]];
		bool is_past = use->at_ns <= t_ns;

		if (use->at_ns > t_ns + BRIDGE_ANSWER_NS)
			break;
		if (bridge_use_fits(bridge, subject, use->netns) &&
		    is_rival(tl, use, process, t_ns) &&
		    !closed_between(tl, subject, is_past ? use->at_ns : t_ns,
				    is_past ? t_ns : use->at_ns))
			return use;
	}
	return NULL;
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
	if (rival == NULL)
		return;
	bridge_empty_pool(bridge);
	bridge_push_candidate(bridge, v->socket, v->process, v->image);
	bridge_push_candidate(bridge, v->socket, rival->process,
			      timeline_image_at(tl, rival->process, t_ns));
	v->refused = true;
	bridge_say_ambiguous(bridge, subject, v);
}
