#include "analyze/bridge_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/format/quantity.h"

#include "analyze/grow.h"

const char *bridge_rule_name(enum bridge_rule rule)
{
	static const char *const names[BRIDGE_RULES] = {
		"exact", "ahead", "behind", "bound", "wildcard", "listener", "quoted",
	};

	return rule < BRIDGE_RULES ? names[rule] : NULL;
}

const char *bridge_reason_name(enum bridge_reason reason)
{
	static const char *const names[BRIDGE_REASONS] = {
		NULL,	      "forwarded", "multicast", "no-socket",	"no-holder",
		"unreadable", "gap",	   "ambiguous", "before-start",
	};

	return reason < BRIDGE_REASONS ? names[reason] : NULL;
}

int bridge_init(struct bridge *bridge, const struct timeline *timeline)
{
	*bridge = (struct bridge){
		.timeline = timeline,
		.addresses_known = timeline->count.addresses > 0,
		.full_from_ns = INT64_MAX,
		.full_until_ns = INT64_MIN,
	};
	bridge->stamps = calloc(timeline->count.processes + 1, sizeof(*bridge->stamps));
	return bridge->stamps == NULL || bridge_note_told(bridge) != 0 ||
			       bridge_note_listeners(bridge) != 0
		       ? -1
		       : bridge_note_accepted(bridge);
}

void bridge_release(struct bridge *bridge)
{
	bridge_release_crowds(bridge);
	free(bridge->listeners);
	free(bridge->listened);
	free(bridge->handed);
	free(bridge->fathers);
	hashindex_release(&bridge->fathering);
	hashindex_release(&bridge->listening);
	free(bridge->accepted);
	free(bridge->told);
	free(bridge->stamps);
	free(bridge->pool);
	free(bridge->sockets);
	*bridge = (struct bridge){0};
}

/* ---------------------------------------------------------------- time -- */

/* The stretch between two full readings that t lies in. */
static void find_full(struct bridge *bridge, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	size_t begun = timeline_fulls_until(tl, t_ns);

	bridge->full_from_ns = begun == 0 ? INT64_MIN : tl->frames[tl->full[begun - 1]].end_ns;
	bridge->full_until_ns =
		begun < tl->full_count ? tl->frames[tl->full[begun]].end_ns : INT64_MAX;
}

int64_t bridge_distance(struct bridge *bridge, const struct bridge_verdict *v, int64_t t_ns)
{
	if (v->frame == TIMELINE_NONE)
		return 0;
	if (t_ns < v->first_ns)
		return v->first_ns - t_ns;
	if (v->rule == BRIDGE_BEHIND)
		return t_ns > v->last_ns ? t_ns - v->last_ns : 0;
	if (t_ns < bridge->full_from_ns || t_ns >= bridge->full_until_ns)
		find_full(bridge, t_ns);
	return t_ns - (bridge->full_from_ns > v->first_ns ? bridge->full_from_ns : v->first_ns);
}

bool bridge_bracketed(const struct timeline *tl, int64_t t_ns)
{
	return t_ns >= tl->first_full_ns && t_ns <= tl->last_full_ns;
}

/* ------------------------------------------------------------ verdicts -- */

void bridge_say_no(struct bridge_verdict *v, enum bridge_reason reason)
{
	v->rule = BRIDGE_NO_RULE;
	v->reason = reason;
}

void bridge_say_lapsed(struct bridge_verdict *v)
{
	bridge_say_no(v, BRIDGE_GAP);
	v->lapsed = true;
}

void bridge_say_ambiguous(struct bridge *bridge, const struct bridge_subject *subject,
			  struct bridge_verdict *v)
{
	v->process = v->image = TIMELINE_NONE;
	bridge_say_no(v, subject->group ? BRIDGE_MULTICAST : BRIDGE_AMBIGUOUS);
	v->shared_by = (uint32_t)bridge->pool_count;
	v->candidates = bridge->pool;
	v->candidate_count = bridge->pool_count < BRIDGE_CANDIDATES_MAX ? bridge->pool_count
									: BRIDGE_CANDIDATES_MAX;
}

static void say_owner(struct bridge *bridge, enum bridge_rule rule, size_t which,
		      struct bridge_verdict *v)
{
	v->rule = rule;
	v->reason = BRIDGE_OWNED;
	v->socket = bridge->pool[which].socket;
	v->process = bridge->pool[which].process;
	v->image = bridge->pool[which].image;
	v->shared_by = (uint32_t)bridge->pool_count;
}

static void say_no_holder(const struct bridge *bridge, uint32_t socket, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t inode = tl->sockets[socket].inode;

	v->socket = socket;
	/* Those that were seen to hold it cannot have held it then. */
	if (inode != 0 && timeline_holders(tl, inode) != TIMELINE_NONE) {
		bridge_tell(bridge, BRIDGE_WHY_HELD_OTHERWISE, socket);
		bridge_say_no(v, BRIDGE_GAP);
	} else {
		bridge_say_no(v, tl->unreadable > 0 ? BRIDGE_UNREADABLE : BRIDGE_NO_HOLDER);
	}
}

/* The sighting a verdict rests on, for socket and holder together. */
static void rest_on(const struct bridge *bridge, uint32_t socket,
		    const struct bridge_holding *holding, enum bridge_rule rule, int64_t t_ns,
		    struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_life *life = &tl->sockets[socket].life;
	uint32_t now;

	v->first_ns = timeline_first_end(tl, life);
	v->last_ns = bridge_last_end(tl, life);
	if (holding->rule != BRIDGE_NO_RULE) {
		if (holding->first_ns > v->first_ns)
			v->first_ns = holding->first_ns;
		if (holding->last_ns < v->last_ns)
			v->last_ns = holding->last_ns;
	}
	if (rule == BRIDGE_BEHIND) {
		v->frame = life->last;
		return;
	}
	v->frame = life->first;
	now = timeline_full_at(tl, t_ns);
	if (now != TIMELINE_NONE && now > life->first)
		v->frame = now;
}

/* An accepted connection whose first known holder was there before it and has
 * never held the listening socket was handed over by somebody who had it first. */
static bool was_passed(const struct bridge *bridge, const struct bridge_subject *subject)
{
	const struct timeline *tl = bridge->timeline;
	uint16_t port = subject->local.port;
	bool older = false;

	if (!subject->responder || subject->protocol != IPPROTO_TCP || !bridge->listened[port])
		return false;
	for (size_t i = 0; i < bridge->pool_count; i++) {
		uint32_t process = bridge->pool[i].process;

		if (bridge_held_listener(bridge, port, process))
			return false;
		older = older || subject->began_ns == INT64_MIN ||
			tl->processes[process].start_ns < subject->began_ns;
	}
	return older;
}

/* Who accepts and hands on may have been caught in between: unless readings had it in its hands
 * twice, it is not known who serves. One that began after the connection was made for it. */
static bool was_caught_accepting(const struct bridge *bridge, const struct bridge_subject *subject,
				 uint32_t process)
{
	return (subject->began_ns == INT64_MIN ||
		timeline_began(bridge->timeline, process, false) < subject->began_ns) &&
	       bridge_hands_on(bridge, subject->local.port, process) &&
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
		rest_on(bridge, socket, &holding, rule, t_ns, v);
		say_no_holder(bridge, socket, v);
		return;
	}
	if (holding.rule > rule)
		rule = holding.rule;
	rest_on(bridge, socket, &holding, rule, t_ns, v);
	v->passed = was_passed(bridge, subject);
	if (rule == BRIDGE_AHEAD && v->passed)
		holding.moved = true;
	if (holding.moved) {
		bridge_tell(bridge, BRIDGE_WHY_HANDED_ON, socket);
		v->socket = socket;
		bridge_say_ambiguous(bridge, subject, v);
		return;
	}
	say_owner(bridge, rule, bridge_pick_holder(bridge, s->inode), v);
	/* Who was caught accepting it may hand it on at once. */
	if (subject->responder && subject->protocol == IPPROTO_TCP &&
	    ((!in_full_reading(bridge->timeline, &s->life) &&
	      bridge->accepted[port] != v->process) ||
	     was_caught_accepting(bridge, subject, v->process))) {
		bridge_tell(bridge, BRIDGE_WHY_MAY_HAND_ON, socket);
		bridge_say_ambiguous(bridge, subject, v);
	}
}

/* ------------------------------------------------ sockets of the tuple -- */

void bridge_push_socket(struct bridge *bridge, uint32_t socket)
{
	if (grow_one(&bridge->sockets, bridge->socket_count, &bridge->socket_capacity,
		     sizeof(*bridge->sockets)) != 0) {
		bridge->failed = true;
		return;
	}
	bridge->sockets[bridge->socket_count++] = socket;
}

static void say_several(struct bridge *bridge, const struct bridge_subject *subject,
			struct bridge_verdict *v)
{
	bridge_tell(bridge, BRIDGE_WHY_SEVERAL, TIMELINE_NONE);
	bridge_say_ambiguous(bridge, subject, v);
}

void bridge_judge_several(struct bridge *bridge, const struct bridge_subject *subject,
			  enum bridge_rule rule, int64_t t_ns, struct bridge_verdict *v)
{
	struct bridge_holding holding = {.rule = BRIDGE_NO_RULE};
	bool moved = false;

	bridge_empty_pool(bridge);
	for (size_t i = 0; i < bridge->socket_count; i++) {
		holding = bridge_collect_holders(bridge, bridge->sockets[i], t_ns, v);
		/* One whose holder is not known may as well be the one that is meant. */
		moved = moved || holding.moved || holding.rule == BRIDGE_NO_RULE;
		if (holding.rule != BRIDGE_NO_RULE && rule <= BRIDGE_BEHIND && holding.rule > rule)
			rule = holding.rule;
	}
	rest_on(bridge, bridge->sockets[0], &holding, rule, t_ns, v);
	if (bridge->pool_count == 0)
		say_no_holder(bridge, bridge->sockets[0], v);
	else if (bridge->pool_count == 1 && !moved)
		say_owner(bridge, rule, 0, v);
	else
		say_several(bridge, subject, v);
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

/* 1: judged. 0: no socket of this tuple. -1: rows of the tuple without inode only. */
static int judge_tuple(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
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
		    tl->frames[s->life.last].begin_ns < subject->began_ns) {
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

/* --------------------------------------------------------- all of them -- */

static void refuse_owner(const struct bridge *bridge, enum bridge_why why, struct bridge_verdict *v)
{
	bridge_tell(bridge, why, v->socket);
	v->process = v->image = TIMELINE_NONE;
	bridge_say_no(v, BRIDGE_GAP);
	v->refused = true;
}

/* Who has a connection's descriptor now may have inherited it from who uses it. Uses
 * that were told before some were missing say who does; else a process that began after
 * its own connect() did not connect. One that began in the clock tick of the connect() may have
 * begun after it: if who forked it, and ran the same program, has
 * gone since, that may be who connected. */
static void refuse_heirs(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			 struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	bool any, told, maybe = false;

	if (v->reason != BRIDGE_OWNED || subject->protocol != IPPROTO_TCP)
		return;
	told = bridge_told_user(bridge, subject, t_ns, v->process, &any);
	if (!told && any) {
		refuse_owner(bridge, BRIDGE_WHY_NOT_ITS_USER, v);
		return;
	}
	if (v->turn != TIMELINE_NONE && v->turn != v->process) {
		refuse_owner(bridge, BRIDGE_WHY_NOT_ITS_TURN, v);
		return;
	}
	if (subject->responder || subject->began_ns == INT64_MIN)
		return;
	for (size_t i = 0; i < bridge->pool_count; i++) {
		uint32_t process = bridge->pool[i].process;

		if (timeline_began(tl, process, true) <= subject->began_ns)
			return;
		if (timeline_began(tl, process, false) > subject->began_ns)
			continue;
		if (!timeline_orphaned(tl, process, v->first_ns))
			return;
		maybe = true;
	}
	refuse_owner(bridge, maybe ? BRIDGE_WHY_MAY_BE_HEIR : BRIDGE_WHY_HEIR, v);
}

static void judge(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		  struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	bool stream = subject->protocol == IPPROTO_TCP || subject->protocol == IPPROTO_SCTP;
	int tuple;

	*v = (struct bridge_verdict){
		.rule = BRIDGE_NO_RULE,
		.reason = BRIDGE_GAP,
		.socket = TIMELINE_NONE,
		.process = TIMELINE_NONE,
		.image = TIMELINE_NONE,
		.frame = TIMELINE_NONE,
		.turn = TIMELINE_NONE,
		.use = TIMELINE_NONE,
		.from_ns = INT64_MIN,
		.until_ns = INT64_MAX,
	};
	if (tl->count.frames == 0) {
		bridge_tell(bridge, BRIDGE_WHY_NO_FRAMES, TIMELINE_NONE);
		return;
	}
	if (timeline_doubtful(tl, t_ns, &v->from_ns, &v->until_ns)) {
		bridge_tell(bridge, BRIDGE_WHY_CLOCK, TIMELINE_NONE);
		return;
	}
	if (stream && subject->untold)
		bridge_tell(bridge, BRIDGE_WHY_MULTIPATH, TIMELINE_NONE);
	if (stream && !subject->untold && bridge_judge_stream(bridge, subject, t_ns, v))
		return;
	bridge_edge(v, t_ns, tl->first_full_ns);
	if (tl->last_full_ns < INT64_MAX)
		bridge_edge(v, t_ns, tl->last_full_ns + 1);
	if (!bridge_has_ports(subject->protocol)) {
		bridge_judge_raw(bridge, subject, t_ns, v);
		return;
	}
	tuple = judge_tuple(bridge, subject, t_ns, v);
	if (tuple == 1) {
		refuse_heirs(bridge, subject, t_ns, v);
		return;
	}
	if (stream && subject->responder && bridge_judge_listener(bridge, subject, v))
		return;
	if (!stream && bridge_judge_unconnected(bridge, subject, subject->protocol,
						subject->local.port, BRIDGE_NO_RULE, t_ns, v))
		return;
	if (subject->group) {
		bridge_say_no(v, BRIDGE_MULTICAST);
	} else if (tuple == -1) {
		bridge_say_no(v, BRIDGE_NO_HOLDER);
		v->by_tuple = true;
	} else {
		bridge_edge(v, t_ns, tl->frames[0].begin_ns);
		bridge_say_no(v, t_ns < tl->frames[0].begin_ns ? BRIDGE_BEFORE_START : BRIDGE_GAP);
	}
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
	return first_ns > t_ns && timeline_closed(tl, subject->protocol, subject->local.port,
						  &subject->remote, t_ns, first_ns) > 0;
}

void bridge_judge(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		  struct bridge_verdict *v)
{
	bridge->crowded = false;
	judge(bridge, subject, t_ns, v);
	/* Not all that could have had it were looked at. */
	if (v->reason == BRIDGE_OWNED && bridge->crowded)
		refuse_owner(bridge, BRIDGE_WHY_CROWDED, v);
	if (v->reason == BRIDGE_OWNED && v->socket != TIMELINE_NONE && !subject->group &&
	    bridge->timeline->capture_netns != 0 &&
	    bridge->timeline->sockets[v->socket].netns != bridge->timeline->capture_netns &&
	    bridge->timeline->sockets[v->socket].netns != 0 && bridge_is_ours(bridge, subject))
		refuse_owner(bridge, BRIDGE_WHY_NOT_OUR_NAMESPACE, v);
	if (subject->protocol != IPPROTO_TCP && subject->protocol != IPPROTO_SCTP) {
		if (closed_between(bridge, subject, t_ns, v)) {
			refuse_owner(bridge, BRIDGE_WHY_CLOSED_BETWEEN, v);
			v->socket = v->frame = TIMELINE_NONE;
			v->shared_by = 0;
		}
		bridge_judge_datagram(bridge, subject, t_ns, v);
	}
	if (subject->protocol == IPPROTO_UDP || subject->protocol == IPPROTO_UDPLITE)
		bridge_check_hands(bridge, subject, t_ns, v);
	/* Which of the two that bear its name is not known. */
	if (v->reason == BRIDGE_OWNED && bridge->timeline->processes[v->process].forked_twice)
		refuse_owner(bridge, BRIDGE_WHY_FORKED_TWICE, v);
}
