#include "analyze/bridge_internal.h"

#include <netinet/in.h>

#include "snapshot/format/quantity.h"

/* Between the clock of the packets and that of the uses: the recorder reads
 * both within a microsecond. */
#define CLOCKS_NS INT64_C(5000)
/* So long after it was sent is an answer surely its sender's, in whose hands
 * the port has been; and so long before its answer a request. */
#define ANSWER_NS INT64_C(30000000000)
/* A raw or ping socket's look-up is this close to its packet. */
#define AT_ONCE_NS INT64_C(5000000)

static bool fits(const struct bridge *bridge, const struct bridge_subject *subject, uint64_t netns)
{
	if (netns == 0)
		return !endpoint_is_loopback(&subject->local.address);
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
	v->frame = use->frame;
	v->first_ns = v->last_ns = use->at_ns;
	v->candidates = NULL;
	v->candidate_count = 0;
}

/* ------------------------------------------------------------- streams -- */

/* Which socket of the tuple this connection is: a connecting one was opened
 * just before its SYN, an accepted one after. */
static uint32_t told_socket(const struct bridge *bridge, const struct bridge_subject *subject,
			    int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	bool accepted = subject->responder && subject->began_ns != INT64_MIN;
	int64_t limit_ns = subject->began_ns == INT64_MIN ? t_ns : subject->began_ns;
	uint32_t best = TIMELINE_NONE;

	for (uint32_t i = timeline_told(tl, subject->protocol, &subject->local, &subject->remote);
	     i != TIMELINE_NONE; i = tl->sockets[i].next_tuple) {
		const struct timeline_socket *s = &tl->sockets[i];
		int64_t best_ns = best == TIMELINE_NONE ? 0 : tl->sockets[best].opened_ns;

		if (!fits(bridge, subject, s->netns))
			continue;
		if (accepted ? s->opened_ns >= limit_ns - CLOCKS_NS &&
				       (best == TIMELINE_NONE || s->opened_ns < best_ns)
			     : s->opened_ns <= limit_ns + CLOCKS_NS &&
				       (best == TIMELINE_NONE || s->opened_ns > best_ns))
			best = i;
	}
	return best;
}

/* Only its closing was told: its holder then, and if it was there before the
 * connection, it did not merely inherit it. */
static bool judge_shut(struct bridge *bridge, const struct timeline_socket *s, int64_t t_ns,
		       struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t process = tl->uses[s->first_use].process;
	int64_t began_ns = timeline_began(tl, process, true);

	for (uint32_t i = s->first_use; i != TIMELINE_NONE; i = tl->uses[i].next) {
		if (tl->uses[i].process != process)
			return false;
	}
	if (began_ns == INT64_MIN || began_ns > s->opened_ns)
		return false;
	name_process(bridge, s->first_use, BRIDGE_EXACT, t_ns, v);
	return true;
}

/* The use whose process a packet at t belongs to. Between the last use by one
 * and the first by the next process, what is sent is the former's, what is
 * received waits for the latter. *several: there are too many to tell. */
static uint32_t turn_at(const struct bridge *bridge, const struct timeline_socket *s, bool sent,
			int64_t t_ns, struct bridge_verdict *v, bool *several)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t turn = TIMELINE_NONE;

	for (uint32_t i = s->first_use; i != TIMELINE_NONE; i = tl->uses[i].next) {
		const struct timeline_use *use = &tl->uses[i];

		if (use->act == SNAP_SHUT || (use->act != SNAP_SEVERAL && turn != TIMELINE_NONE &&
					      tl->uses[turn].process == use->process))
			continue;
		bridge_edge(v, t_ns, use->at_ns);
		if (use->previous_ns != 0)
			bridge_edge(v, t_ns, use->previous_ns + 1);
		*several = use->act == SNAP_SEVERAL && use->previous_ns < t_ns;
		if (*several || use->act == SNAP_SEVERAL)
			return turn;
		if (turn != TIMELINE_NONE && use->at_ns > t_ns) {
			bool between = use->previous_ns != 0 && use->previous_ns < t_ns;

			if (between) {
				v->from_ns = t_ns;
				v->until_ns = t_ns + 1;
			}
			return between && !sent ? i : turn;
		}
		turn = i;
	}
	return turn;
}

static uint32_t count_users(const struct timeline *tl, const struct timeline_socket *s)
{
	uint32_t count = 0;

	for (uint32_t i = s->first_use; i != TIMELINE_NONE; i = tl->uses[i].next) {
		uint32_t j = s->first_use;

		while (j != i &&
		       (tl->uses[j].process != tl->uses[i].process || tl->uses[j].act == SNAP_SHUT))
			j = tl->uses[j].next;
		count += j == i && tl->uses[i].act != SNAP_SHUT;
	}
	return count > 0 ? count : 1;
}

static bool all_told(const struct timeline *tl, int64_t a_ns, int64_t b_ns)
{
	return !timeline_untold(tl, a_ns < b_ns ? a_ns : b_ns, a_ns < b_ns ? b_ns : a_ns);
}

bool bridge_judge_stream(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			 struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t socket = told_socket(bridge, subject, t_ns), turn;
	struct bridge_verdict told = *v;
	bool several = false;
	const struct timeline_socket *s;

	if (socket == TIMELINE_NONE)
		return false;
	s = &tl->sockets[socket];
	told.socket = s->other != TIMELINE_NONE ? s->other : socket;
	told.by_tuple = true;
	told.shared_by = count_users(tl, s);
	for (size_t i = 0; i < tl->untold_count; i++) {
		bridge_edge(&told, t_ns, tl->untold[i].from_ns);
		bridge_edge(&told, t_ns, tl->untold[i].until_ns + 1);
	}
	turn = turn_at(bridge, s, subject->sent, t_ns, &told, &several);
	if (several)
		return false;
	if (turn == TIMELINE_NONE) {
		if (!all_told(tl, s->opened_ns, tl->uses[s->first_use].at_ns) ||
		    !judge_shut(bridge, s, t_ns, &told))
			return false;
	} else {
		/* Whoever used it in between was not told. */
		if (!all_told(tl, s->opened_ns, tl->uses[turn].at_ns) ||
		    !all_told(tl, s->opened_ns, t_ns))
			return false;
		name_process(bridge, turn,
			     tl->uses[turn].at_ns <= t_ns + CLOCKS_NS ? BRIDGE_EXACT : BRIDGE_AHEAD,
			     t_ns, &told);
	}
	*v = told;
	return true;
}

/* ----------------------------------------------------------- datagrams -- */

/* The last use of the way up to t, and the first after it. */
static void uses_around(const struct bridge *bridge, const struct bridge_subject *subject,
			const struct endpoint *local, const struct endpoint *remote, int64_t t_ns,
			uint32_t *before, uint32_t *after)
{
	const struct timeline *tl = bridge->timeline;

	*before = *after = TIMELINE_NONE;
	for (uint32_t i = timeline_way(tl, subject->protocol, local, remote); i != TIMELINE_NONE;
	     i = tl->uses[i].next) {
		const struct timeline_use *use = &tl->uses[i];

		if (!fits(bridge, subject, use->netns) ||
		    (!endpoint_is_any(&use->local.address) &&
		     !endpoint_equal(&use->local.address, &local->address)))
			continue;
		if (use->at_ns <= t_ns + CLOCKS_NS) {
			if (*before == TIMELINE_NONE || use->at_ns >= tl->uses[*before].at_ns)
				*before = i;
		} else if (*after == TIMELINE_NONE || use->at_ns < tl->uses[*after].at_ns) {
			*after = i;
		}
	}
}

static bool is_gone(const struct timeline *tl, uint32_t process, int64_t t_ns)
{
	const struct timeline_process *p = &tl->processes[process];

	return p->exit_ns != 0 && p->exit_ns < t_ns;
}

/* What an answer will tell of the request: its process had the port already,
 * and nobody else used the way until then. */
static bool will_answer(const struct timeline *tl, uint32_t after, int64_t t_ns,
			const struct bridge_verdict *v)
{
	const struct timeline_use *use = &tl->uses[after];
	int64_t began_ns = timeline_began(tl, use->process, true);

	return use->at_ns - t_ns <= ANSWER_NS && use->previous_ns <= t_ns &&
	       began_ns != INT64_MIN && began_ns <= t_ns &&
	       !(v->lapsed && v->process != use->process) && !timeline_untold(tl, t_ns, use->at_ns);
}

void bridge_judge_datagram(struct bridge *bridge, const struct bridge_subject *subject,
			   int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	bool has_ports = subject->protocol == IPPROTO_UDP || subject->protocol == IPPROTO_UDPLITE;
	struct endpoint local = subject->local, remote = subject->remote;
	int64_t reach_ns = has_ports ? (subject->sent ? INT64_MAX : ANSWER_NS) : AT_ONCE_NS;
	uint32_t before, after, named = TIMELINE_NONE;
	int64_t from_ns, until_ns;

	if (tl->count.uses == 0 || subject->group ||
	    timeline_doubtful(tl, t_ns, &from_ns, &until_ns) ||
	    (v->reason == BRIDGE_OWNED && (v->by_tuple || !subject->sent)))
		return;
	if (!has_ports) {
		local.port = remote.port = 0;
		if (!subject->icmp_query || subject->responder)
			return;
		if (!subject->sent)
			reach_ns = ANSWER_NS;
	}
	uses_around(bridge, subject, &local, &remote, t_ns, &before, &after);
	if (before != TIMELINE_NONE && t_ns - tl->uses[before].at_ns <= reach_ns &&
	    !is_gone(tl, tl->uses[before].process, t_ns) &&
	    !timeline_untold(tl, tl->uses[before].at_ns, t_ns))
		named = before;
	else if (before == TIMELINE_NONE && after != TIMELINE_NONE && has_ports &&
		 will_answer(tl, after, t_ns, v))
		named = after;
	if (named == TIMELINE_NONE)
		return;
	/* What is sent and what is received are judged apart. */
	v->from_ns = t_ns;
	v->until_ns = t_ns + 1;
	if (v->process != tl->uses[named].process)
		v->socket = TIMELINE_NONE;
	v->shared_by = 1;
	name_process(bridge, named,
		     !has_ports	      ? BRIDGE_QUOTED
		     : named == after ? BRIDGE_AHEAD
				      : BRIDGE_EXACT,
		     t_ns, v);
}
