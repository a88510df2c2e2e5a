/* The order of a judgement, and what each of its ways says of whom it names, or of nobody. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>
#include <stdlib.h>

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

int bridge_init(struct bridge *bridge, const struct timeline *timeline,
		const struct serving *serving)
{
	*bridge = (struct bridge){
		.timeline = timeline,
		.serving = serving,
		.addresses_known = timeline->count.addresses > 0,
		.full_from_ns = INT64_MAX,
		.full_until_ns = INT64_MIN,
	};
	bridge->stamps = calloc(timeline->count.processes + 1, sizeof(*bridge->stamps));
	return bridge->stamps == NULL ? -1 : bridge_note_told(bridge);
}

void bridge_release(struct bridge *bridge)
{
	bridge_release_crowds(bridge);
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

void bridge_refuse_owner(const struct bridge *bridge, enum bridge_why why, struct bridge_verdict *v)
{
	bridge_tell(bridge, why, v->socket);
	v->process = v->image = TIMELINE_NONE;
	bridge_say_no(v, BRIDGE_GAP);
	v->refused = true;
}

void bridge_disown(const struct bridge *bridge, enum bridge_why why, struct bridge_verdict *v)
{
	bridge_refuse_owner(bridge, why, v);
	v->socket = v->frame = TIMELINE_NONE;
	v->shared_by = 0;
}

void bridge_say_owner(struct bridge *bridge, enum bridge_rule rule, size_t which,
		      struct bridge_verdict *v)
{
	v->rule = rule;
	v->reason = BRIDGE_OWNED;
	v->socket = bridge->pool[which].socket;
	v->process = bridge->pool[which].process;
	v->image = bridge->pool[which].image;
	v->shared_by = (uint32_t)bridge->pool_count;
}

void bridge_say_no_holder(const struct bridge *bridge, uint32_t socket, struct bridge_verdict *v)
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

void bridge_rest_on(const struct bridge *bridge, uint32_t socket,
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
	bridge_rest_on(bridge, bridge->sockets[0], &holding, rule, t_ns, v);
	if (bridge->pool_count == 0)
		bridge_say_no_holder(bridge, bridge->sockets[0], v);
	else if (bridge->pool_count == 1 && !moved)
		bridge_say_owner(bridge, rule, 0, v);
	else
		say_several(bridge, subject, v);
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
		bridge_refuse_owner(bridge, BRIDGE_WHY_NOT_ITS_USER, v);
		return;
	}
	if (v->turn != TIMELINE_NONE && v->turn != v->process) {
		bridge_refuse_owner(bridge, BRIDGE_WHY_NOT_ITS_TURN, v);
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
	bridge_refuse_owner(bridge, maybe ? BRIDGE_WHY_MAY_BE_HEIR : BRIDGE_WHY_HEIR, v);
}

/* Who is named forked since the last complete reading, and since the connection began: the child
 * has it too, and may be who moves bytes. What has none the kernel sends, for whoever has it. */
static void refuse_forked(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			  struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t full = timeline_full_at(tl, t_ns);
	int64_t from_ns = full == TIMELINE_NONE ? INT64_MIN : tl->frames[full].begin_ns, fork_ns;

	if (v->reason != BRIDGE_OWNED || subject->protocol != IPPROTO_TCP)
		return;
	if (full != TIMELINE_NONE)
		bridge_edge(v, t_ns, tl->frames[full].end_ns);
	if (subject->began_ns > from_ns)
		from_ns = subject->began_ns;
	/* A child that nobody was told of began somewhere in the tick that /proc has for it. */
	if (from_ns != INT64_MIN)
		from_ns -= NS_PER_SECOND / tl->clock_ticks;
	fork_ns = timeline_next_fork(tl, v->process, from_ns);
	bridge_edge(v, t_ns, fork_ns);
	if (fork_ns > t_ns)
		return;
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
	if (subject->payload_bytes > 0)
		bridge_refuse_owner(bridge, BRIDGE_WHY_HAS_HEIR, v);
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
		/* What this segment shows of it is left aside, and may be another one than what
		 * other segments show. */
		v->refused = true;
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
	tuple = bridge_judge_tuple(bridge, subject, t_ns, v);
	if (tuple == 1) {
		refuse_heirs(bridge, subject, t_ns, v);
		refuse_forked(bridge, subject, t_ns, v);
		return;
	}
	if (stream && subject->responder && bridge_judge_listener(bridge, subject, v)) {
		/* Who listened need not be who accepted, or it was handed on. */
		if (v->reason == BRIDGE_OWNED &&
		    bridge_told_others(bridge, subject, t_ns, v->process))
			bridge_refuse_owner(bridge, BRIDGE_WHY_NOT_ITS_USER, v);
		return;
	}
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

void bridge_judge(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		  struct bridge_verdict *v)
{
	bridge->crowded = false;
	judge(bridge, subject, t_ns, v);
	/* Not all that could have had it were looked at. */
	if (v->reason == BRIDGE_OWNED && bridge->crowded)
		bridge_refuse_owner(bridge, BRIDGE_WHY_CROWDED, v);
	if (v->reason == BRIDGE_OWNED && v->socket != TIMELINE_NONE && !subject->group &&
	    bridge->timeline->capture_netns != 0 &&
	    bridge->timeline->sockets[v->socket].netns != bridge->timeline->capture_netns &&
	    bridge->timeline->sockets[v->socket].netns != 0 && bridge_is_ours(bridge, subject))
		bridge_refuse_owner(bridge, BRIDGE_WHY_NOT_OUR_NAMESPACE, v);
	if (subject->protocol != IPPROTO_TCP && subject->protocol != IPPROTO_SCTP)
		bridge_judge_datagram(bridge, subject, t_ns, v);
	if (subject->protocol == IPPROTO_UDP || subject->protocol == IPPROTO_UDPLITE)
		bridge_check_hands(bridge, subject, t_ns, v);
	/* It stands for two processes, and which of them it was is not known. */
	if (v->reason == BRIDGE_OWNED && bridge->timeline->processes[v->process].forked_twice)
		bridge_refuse_owner(bridge, BRIDGE_WHY_FORKED_TWICE, v);
}
