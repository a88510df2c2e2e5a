/* Sockets of datagrams that go from hand to hand: whether who is named had it alone. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>

#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

/* Uses of one port that a judgement goes through, those in other namespaces counted: the turns of
 * sixteen sockets. */
#define LOOKED_AT 1024

/* So many sockets of one port that one process used with others are told apart. */
#define SOCKETS_MAX 16

/* The uses of a port that speak of the sockets of one process. */
struct hands {
	struct bridge *bridge;
	const struct bridge_subject *subject;
	struct timeline_way way;
	size_t after; /* the place in the way of the first one after t */
	int64_t t_ns;
	uint32_t process;
	/* Those that it was told to use; none: of all of the port any may be meant. */
	int64_t sockets[SOCKETS_MAX];
	size_t socket_count;
	/* The turns around t: who used it last before, and who is the next. */
	const struct timeline_use *now, *next;
	bool cut; /* there were too many to look at */
	/* The process that was asked for last, and whether it has a socket of its own. */
	uint32_t asked;
	bool is_apart;
	size_t asked_count;
};

static const struct timeline_use *use_at(const struct hands *hands, size_t place)
{
	return &hands->bridge->timeline->uses[hands->way.uses[place]];
}

/* A socket that the process was told to use. False: there are too many. */
static bool note_socket(struct hands *hands, int64_t socket)
{
	for (size_t i = 0; i < hands->socket_count; i++) {
		if (hands->sockets[i] == socket)
			return true;
	}
	if (hands->socket_count == SOCKETS_MAX || socket == 0)
		return false;
	hands->sockets[hands->socket_count++] = socket;
	return true;
}

/* Whose own sockets are not all known: any of the port may be its. */
static void note_sockets(struct hands *hands)
{
	bool known = hands->way.count <= LOOKED_AT;

	for (size_t i = 0; known && i < hands->way.count; i++) {
		walk_step();
		if (use_at(hands, i)->process == hands->process)
			known = note_socket(hands, use_at(hands, i)->looked_ns);
	}
	if (!known)
		hands->socket_count = 0;
}

/* Sockets times processes that one judgement asks for, at most: the holders of sixteen sockets by
 * sixteen users. */
#define ASKED_MAX 256

/* Whether readings have another user of the port with a socket of its own there (SO_REUSEPORT), as
 * the process has one, and neither with both. */
static bool has_its_own(struct hands *hands, uint32_t other)
{
	struct bridge *bridge = hands->bridge;
	bool one = false, another = false, both = false, standard;

	if (hands->asked == other)
		return hands->is_apart;
	hands->asked = other;
	hands->is_apart = false;
	hands->asked_count += bridge->socket_count;
	if (hands->asked_count > ASKED_MAX)
		return false;
	for (size_t i = 0; i < bridge->socket_count && !both; i++) {
		uint32_t inode = bridge->timeline->sockets[bridge->sockets[i]].inode;
		uint32_t head = timeline_holders(bridge->timeline, inode);
		bool is_held =
			bridge_held_since(bridge, head, hands->process, &standard) != TIMELINE_NONE;
		bool is_others = bridge_held_since(bridge, head, other, &standard) != TIMELINE_NONE;

		walk_step();
		both = is_held && is_others;
		one = one || is_held;
		another = another || is_others;
	}
	hands->is_apart = one && another && !both;
	return hands->is_apart;
}

/* Whether a use is of the end that is asked for, and may be of a socket that the process has: that
 * two were told to share one counts for more than that readings have each with its own. Of several,
 * it may be one of them. */
static bool fits(struct hands *hands, const struct timeline_use *use)
{
	bool is_several = use->act == SNAP_SEVERAL, is_told = false;

	if (!bridge_use_fits(hands->bridge, hands->subject, use->netns))
		return false;
	for (size_t i = 0; i < hands->socket_count && use->looked_ns != 0 && !is_told; i++)
		is_told = hands->sockets[i] == use->looked_ns;
	if (is_told || is_several || use->process == hands->process)
		return true;
	return (hands->socket_count == 0 || use->looked_ns == 0) &&
	       !has_its_own(hands, use->process);
}

/* Whether the port closed between the two times, and not late for something before. */
static bool closed_between(const struct timeline *tl, const struct bridge_subject *subject,
			   int64_t from_ns, int64_t until_ns)
{
	return timeline_closed(tl, subject->protocol, &subject->local, &subject->remote,
			       from_ns + BRIDGE_LATE_CLOSE_NS, until_ns) > 0;
}

/* The first use that fits, from a place of the way on, in steps of 1 or -1. */
static const struct timeline_use *first_fit(struct hands *hands, size_t from, size_t step)
{
	unsigned looked = 0;

	for (size_t i = from; i < hands->way.count; i += step) {
		walk_step();
		if (looked++ == LOOKED_AT) {
			hands->cut = true;
			return NULL;
		}
		if (fits(hands, use_at(hands, i)))
			return use_at(hands, i);
	}
	return NULL;
}

static void find_turns(struct hands *hands)
{
	const struct timeline *tl = hands->bridge->timeline;

	hands->now = first_fit(hands, hands->after - 1, SIZE_MAX);
	hands->next = first_fit(hands, hands->after, 1);
	if (hands->now != NULL &&
	    closed_between(tl, hands->subject, hands->now->at_ns, hands->t_ns))
		hands->now = NULL;
	if (hands->next != NULL &&
	    closed_between(tl, hands->subject, hands->t_ns, hands->next->at_ns))
		hands->next = NULL;
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
static const struct timeline_use *rival_sender(const struct hands *hands, uint32_t process,
					       int64_t looked_ns)
{
	const struct timeline *tl = hands->bridge->timeline;
	int64_t t_ns = hands->t_ns;
	const struct timeline_use *now =
		is_rival(tl, hands->now, process, t_ns) ? hands->now : NULL;
	const struct timeline_use *next = hands->next;

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
	return timeline_closed(tl, subject->protocol, &subject->local, &subject->remote, t_ns,
			       use->at_ns + (inherits ? 0 : BRIDGE_LATE_CLOSE_NS)) == 0;
}

static const struct timeline_use *rival_receiver(struct hands *hands, uint32_t process)
{
	const struct timeline *tl = hands->bridge->timeline;
	int64_t t_ns = hands->t_ns;
	unsigned looked = 0;

	if (is_rival(tl, hands->now, process, t_ns))
		return hands->now;
	for (size_t i = bridge_first_after(tl, &hands->way, t_ns - BRIDGE_ANSWER_NS);
	     i < hands->way.count; i++) {
		const struct timeline_use *use = use_at(hands, i);

		walk_step();
		if (use->at_ns > t_ns + BRIDGE_ANSWER_NS)
			break;
		if (looked++ == LOOKED_AT) {
			hands->cut = true;
			break;
		}
		if (fits(hands, use) && may_receive(tl, hands->subject, use, process, t_ns))
			return use;
	}
	return NULL;
}

void bridge_check_hands(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			struct bridge_verdict *v)
{
	static const struct endpoint nobody; /* what is told of a port alone has no remote end */
	const struct timeline *tl = bridge->timeline;
	struct hands hands = {.bridge = bridge,
			      .subject = subject,
			      .t_ns = t_ns,
			      .process = v->process,
			      .asked = TIMELINE_NONE};
	const struct timeline_use *rival;

	if (v->reason != BRIDGE_OWNED)
		return;
	hands.way = timeline_way(tl, subject->protocol, &subject->local, &nobody);
	if (hands.way.count == 0)
		return;
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
	hands.after = bridge_first_after(tl, &hands.way, t_ns);
	note_sockets(&hands);
	find_turns(&hands);
	rival = subject->sent ? rival_sender(&hands, v->process, v->first_ns)
			      : rival_receiver(&hands, v->process);
	/* Somebody who was not looked at may have the socket. */
	if (rival == NULL && hands.cut)
		bridge_refuse_owner(bridge, BRIDGE_WHY_CROWDED, v);
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
