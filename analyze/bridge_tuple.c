/* Connected sockets: which of those of a tuple is meant, and who of its holders. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>

/* An accepted connection whose first known holder was there before it and has
 * never held the listening socket was handed over by somebody who had it first. */
static bool was_passed(const struct bridge *bridge, const struct bridge_subject *subject,
		       int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint16_t port = subject->local.port;
	bool older = false;

	if (!subject->responder || subject->protocol != IPPROTO_TCP ||
	    !bridge_listened(bridge, port, t_ns, v))
		return false;
	for (size_t i = 0; i < bridge->pool_count; i++) {
		uint32_t process = bridge->pool[i].process;

		if (bridge_held_listener(bridge, port, process, t_ns, v))
			return false;
		older = older || subject->began_ns == INT64_MIN ||
			tl->processes[process].start_ns < subject->began_ns;
	}
	return older;
}

/* Who accepts and hands on may have been caught in between: unless readings had it in its hands
 * twice, it is not known who serves. One that began after the connection was made for it. */
static bool was_caught_accepting(const struct bridge *bridge, const struct bridge_subject *subject,
				 uint32_t process, int64_t t_ns, struct bridge_verdict *v)
{
	return (subject->began_ns == INT64_MIN ||
		timeline_began(bridge->timeline, process, false) < subject->began_ns) &&
	       bridge_hands_on(bridge, subject->local.port, process, t_ns, v) &&
	       !bridge_kept(bridge, process);
}

/* Whether it was ever read whole, and not only looked up for an event. */
static bool in_full_reading(const struct timeline *tl, const struct timeline_life *life)
{
	return tl->frames[life->first].kind != SNAP_EVENT ||
	       tl->frames[life->last].kind != SNAP_EVENT;
}

static void judge_connected(struct bridge *bridge, const struct bridge_subject *subject,
			    uint32_t socket, enum bridge_rule rule, int64_t t_ns,
			    struct bridge_verdict *v)
{
	const struct timeline_socket *s = &bridge->timeline->sockets[socket];
	uint16_t port = subject->local.port;
	struct bridge_holding holding;

	bridge_empty_pool(bridge);
	holding = bridge_collect_holders(bridge, socket, t_ns, v);
	v->by_tuple = true;
	if (bridge->pool_count == 0) {
		bridge_rest_on(bridge, socket, &holding, rule, t_ns, v);
		bridge_say_no_holder(bridge, socket, v);
		return;
	}
	if (holding.rule > rule)
		rule = holding.rule;
	bridge_rest_on(bridge, socket, &holding, rule, t_ns, v);
	v->passed = was_passed(bridge, subject, t_ns, v);
	if (rule == BRIDGE_AHEAD && v->passed)
		holding.moved = true;
	if (holding.moved) {
		bridge_tell(bridge, BRIDGE_WHY_HANDED_ON, socket);
		v->socket = socket;
		bridge_say_ambiguous(bridge, subject, v);
		return;
	}
	bridge_say_owner(bridge, rule, bridge_pick_holder(bridge, s->inode), v);
	/* Who was caught accepting it may hand it on at once. */
	if (subject->responder && subject->protocol == IPPROTO_TCP &&
	    ((!in_full_reading(bridge->timeline, &s->life) &&
	      !bridge_serves(bridge, port, v->process, t_ns, v)) ||
	     was_caught_accepting(bridge, subject, v->process, t_ns, v))) {
		bridge_tell(bridge, BRIDGE_WHY_MAY_HAND_ON, socket);
		bridge_say_ambiguous(bridge, subject, v);
	}
}

/* Which of the lifetimes in bridge->sockets (all with an inode, of one tuple)
 * is meant at t. Leaves only what qualifies in bridge->sockets. */
static enum bridge_rule choose_lifetime(struct bridge *bridge, const struct bridge_subject *subject,
					int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	bool tcp = subject->protocol == IPPROTO_TCP;
	uint32_t now = TIMELINE_NONE, previous = TIMELINE_NONE, next = TIMELINE_NONE;
	uint32_t others = 0;

	for (size_t n = 0; n < bridge->socket_count; n++) {
		uint32_t i = bridge->sockets[n];
		const struct timeline_life *life = &tl->sockets[i].life;

		if (timeline_current(tl, life, t_ns)) {
			/* Of two current ones the older is stale, unless both were seen at once. */
			if (now != TIMELINE_NONE && tl->sockets[now].life.last >= life->first)
				others++;
			now = i;
		} else if (timeline_first_end(tl, life) > t_ns) {
			bool possible = (tcp && subject->began_ns != INT64_MIN) ||
					bridge_may_precede(tl, life, t_ns);

			if (possible && next == TIMELINE_NONE)
				next = i;
		} else if (tcp && timeline_gone_end(tl, life) > subject->first_ns) {
			previous = i; /* it was not gone yet when the flow began */
		}
	}
	if (others > 0)
		return BRIDGE_EXACT; /* all of them stay */
	bridge->socket_count = 0;
	if (now != TIMELINE_NONE) {
		bridge_push_socket(bridge, now);
		if (next != TIMELINE_NONE && bridge_is_stale(tl, &tl->sockets[now].life, t_ns) &&
		    bridge_may_precede(tl, &tl->sockets[next].life, t_ns))
			bridge_push_socket(bridge, next);
		return t_ns > tl->last_full_ns ? BRIDGE_BEHIND : BRIDGE_EXACT;
	}
	if (previous != TIMELINE_NONE)
		bridge_push_socket(bridge, previous);
	if (next != TIMELINE_NONE)
		bridge_push_socket(bridge, next);
	return next != TIMELINE_NONE ? BRIDGE_AHEAD : BRIDGE_BEHIND;
}

int bridge_judge_tuple(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		       struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	bool without_inode = false, certain;
	const struct bridge_near *near;
	enum bridge_rule rule;

	bridge->socket_count = 0;
	if (subject->protocol != IPPROTO_TCP && !bridge_bracketed(tl, t_ns)) {
		bridge_tell(bridge, BRIDGE_WHY_OUTSIDE, TIMELINE_NONE);
		return 0;
	}
	bridge_near_clear(bridge, BRIDGE_CHAIN_TUPLE);
	near = bridge_near_add(
		bridge, BRIDGE_CHAIN_TUPLE,
		timeline_by_tuple(tl, subject->protocol, &subject->local, &subject->remote), t_ns,
		v);
	for (size_t n = 0; n < near->count; n++) {
		uint32_t i = near->places[n];
		const struct timeline_socket *s = &tl->sockets[i];

		if (!bridge_namespace_fits(bridge, subject, s->netns)) {
			bridge_tell(bridge, BRIDGE_WHY_OTHER_NAMESPACE, i);
			continue;
		}
		/* Seen only before this instance began: another connection's. */
		if (subject->began_ns != INT64_MIN &&
		    timeline_shown_ns(tl, &s->life) < subject->began_ns) {
			bridge_tell(bridge, BRIDGE_WHY_EARLIER_CONNECTION, i);
			continue;
		}
		bridge_life_edges(tl, &s->life, t_ns, v);
		if (s->inode != 0) {
			bridge_push_socket(bridge, i);
		} else {
			bridge_tell(bridge, BRIDGE_WHY_NO_INODE, i);
			without_inode = true;
		}
	}
	if (bridge->socket_count == 0) {
		bridge_tell(bridge, BRIDGE_WHY_NO_ROW, TIMELINE_NONE);
		return without_inode ? -1 : 0;
	}
	rule = choose_lifetime(bridge, subject, t_ns);
	if (bridge->socket_count == 0) {
		bridge_tell(bridge, BRIDGE_WHY_NOT_THEN, TIMELINE_NONE);
		return without_inode ? -1 : 0;
	}
	v->by_tuple = true;
	certain = subject->protocol == IPPROTO_TCP ||
		  (rule == BRIDGE_EXACT &&
		   !bridge_is_stale(tl, &tl->sockets[bridge->sockets[0]].life, t_ns));
	if (bridge->socket_count == 1 && !certain && rule == BRIDGE_EXACT) {
		/* It may have been closed, and its port taken, since. */
		judge_connected(bridge, subject, bridge->sockets[0], rule, t_ns, v);
		if (v->reason == BRIDGE_OWNED) {
			bridge_tell(bridge, BRIDGE_WHY_MAY_BE_CLOSED, bridge->sockets[0]);
			bridge_say_lapsed(v);
		}
		return 1;
	}
	if (bridge->socket_count == 1 &&
	    (certain || !bridge_add_unconnected_rivals(bridge, subject, t_ns, v)))
		judge_connected(bridge, subject, bridge->sockets[0], rule, t_ns, v);
	else
		bridge_judge_several(bridge, subject, rule, t_ns, v);
	return 1;
}
