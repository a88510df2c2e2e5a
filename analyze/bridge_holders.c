#include "analyze/bridge_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "snapshot/format/quantity.h"

void bridge_empty_pool(struct bridge *bridge)
{
	bridge->pool_count = 0;
	if (++bridge->stamp == 0) { /* once in four thousand million judgements */
		memset(bridge->stamps, 0,
		       bridge->timeline->count.processes * sizeof(*bridge->stamps));
		bridge->stamp = 1;
	}
}

void bridge_push_candidate(struct bridge *bridge, uint32_t socket, uint32_t process, uint32_t image)
{
	if (bridge->stamps[process] == bridge->stamp)
		return;
	bridge->stamps[process] = bridge->stamp;
	if (grow_one(&bridge->pool, bridge->pool_count, &bridge->pool_capacity,
		     sizeof(*bridge->pool)) != 0) {
		bridge->failed = true;
		return;
	}
	bridge->pool[bridge->pool_count++] =
		(struct bridge_candidate){.image = image, .process = process, .socket = socket};
}

static uint32_t image_at(const struct timeline *tl, uint32_t process, int64_t at_ns, int64_t t_ns,
			 struct bridge_verdict *v)
{
	bridge_narrow(v, timeline_image_stretch(tl, process, t_ns));
	return timeline_image_at(tl, process, at_ns);
}

/* A connection vouches for its holder; a port without one does not. Unknown is INT64_MIN. */
static bool existed(const struct timeline *tl, uint32_t process, bool surely, int64_t t_ns)
{
	return timeline_began(tl, process, surely) <= t_ns;
}

/* The frame that decides among holders not current at t: the earliest first
 * sighting after t, else the latest last sighting before. */
static enum bridge_rule nearest_holding(const struct timeline *tl,
					const struct timeline_socket *socket, uint32_t head,
					int64_t t_ns, uint32_t *frame)
{
	enum bridge_rule rule = BRIDGE_NO_RULE;

	for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
		const struct timeline_life *life = &tl->holders[i].life;

		if (timeline_first_end(tl, life) > t_ns) {
			if (!existed(tl, tl->holders[i].process, false, t_ns))
				continue;
			/* A reading after t had the socket, and not in these hands. */
			if (!bridge_may_precede(tl, life, t_ns) &&
			    life->absent_before >= socket->life.first)
				continue;
			if (rule != BRIDGE_AHEAD || life->first < *frame)
				*frame = life->first;
			rule = BRIDGE_AHEAD;
		} else if (rule != BRIDGE_AHEAD && timeline_gone_end(tl, life) <= t_ns) {
			if (rule != BRIDGE_BEHIND || life->last > *frame)
				*frame = life->last;
			rule = BRIDGE_BEHIND;
		}
	}
	return rule;
}

/* A holder whose first sighting is the reading that lost a current one may
 * have had the socket already. */
static bool may_have_moved(const struct timeline *tl, uint32_t head, uint32_t candidate,
			   int64_t t_ns)
{
	const struct timeline_life *life = &tl->holders[candidate].life;

	if (timeline_first_end(tl, life) <= t_ns || !bridge_may_precede(tl, life, t_ns) ||
	    !existed(tl, tl->holders[candidate].process, false, t_ns))
		return false;
	for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
		const struct timeline_life *other = &tl->holders[i].life;

		if (timeline_current(tl, other, t_ns) && bridge_is_stale(tl, other, t_ns) &&
		    other->gone >= life->first)
			return true;
	}
	return false;
}

static void hold(struct bridge *bridge, uint32_t socket, uint32_t holder, int64_t t_ns,
		 struct bridge_verdict *v, struct bridge_holding *out)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_holder *h = &tl->holders[holder];
	int64_t first = timeline_first_end(tl, &h->life), last = bridge_last_end(tl, &h->life);

	/* A holder first seen after t was read together with its program. */
	bridge_push_candidate(bridge, socket, h->process,
			      image_at(tl, h->process, first > t_ns ? first : t_ns, t_ns, v));
	if (out->first_ns == INT64_MAX || first < out->first_ns)
		out->first_ns = first;
	if (last > out->last_ns)
		out->last_ns = last;
}

/* Puts the processes that held the socket at t into the pool. */
struct bridge_holding bridge_collect_holders(struct bridge *bridge, uint32_t socket, int64_t t_ns,
					     struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t inode = tl->sockets[socket].inode, frame = 0;
	uint32_t head = inode == 0 ? TIMELINE_NONE : timeline_holders(tl, inode);
	bool surely = tl->sockets[socket].protocol != IPPROTO_TCP;
	struct bridge_holding out = {
		.rule = BRIDGE_NO_RULE, .first_ns = INT64_MAX, .last_ns = INT64_MIN};

	for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
		bridge_life_edges(tl, &tl->holders[i].life, t_ns, v);
		bridge_edge(v, t_ns, timeline_began(tl, tl->holders[i].process, false));
		bridge_edge(v, t_ns, timeline_began(tl, tl->holders[i].process, true));
		if (timeline_current(tl, &tl->holders[i].life, t_ns)) {
			hold(bridge, socket, i, t_ns, v, &out);
			out.rule = BRIDGE_EXACT;
		}
	}
	if (out.rule == BRIDGE_EXACT) {
		size_t before = bridge->pool_count;

		for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
			if (may_have_moved(tl, head, i, t_ns))
				bridge_push_candidate(
					bridge, socket, tl->holders[i].process,
					image_at(tl, tl->holders[i].process, t_ns, t_ns, v));
		}
		out.moved = bridge->pool_count > before;
		return out;
	}
	out.rule = nearest_holding(tl, &tl->sockets[socket], head, t_ns, &frame);
	for (uint32_t i = head; i != TIMELINE_NONE && out.rule != BRIDGE_NO_RULE;
	     i = tl->holders[i].next_inode) {
		const struct timeline_holder *h = &tl->holders[i];

		if (out.rule == BRIDGE_AHEAD
			    ? h->life.first == frame && existed(tl, h->process, false, t_ns)
			    : h->life.last == frame && timeline_gone_end(tl, &h->life) <= t_ns)
			hold(bridge, socket, i, t_ns, v, &out);
		/* It may have been there, and may not. */
		if (out.rule == BRIDGE_AHEAD && h->life.first == frame &&
		    existed(tl, h->process, false, t_ns) && !existed(tl, h->process, surely, t_ns))
			out.moved = true;
	}
	return out;
}

static const char *program(const struct timeline *tl, const struct bridge_candidate *c)
{
	const struct timeline_image *image;

	if (c->image == TIMELINE_NONE)
		return "";
	image = &tl->images[c->image];
	return image->exe != NULL ? image->exe : image->comm != NULL ? image->comm : "";
}

/* First sighting of a process as a holder of the inode, and whether as a standard descriptor. */
static uint32_t held_since(const struct timeline *tl, uint32_t inode, uint32_t process,
			   bool *standard)
{
	uint32_t first = TIMELINE_NONE;

	*standard = false;
	for (uint32_t i = timeline_holders(tl, inode); i != TIMELINE_NONE;
	     i = tl->holders[i].next_inode) {
		const struct timeline_holder *h = &tl->holders[i];

		if (h->process != process)
			continue;
		if (h->fd <= 2)
			*standard = true;
		if (first == TIMELINE_NONE || h->life.first < first)
			first = h->life.first;
	}
	return first;
}

static bool started_before(const struct timeline *tl, uint32_t a, uint32_t b)
{
	const struct timeline_process *p = &tl->processes[a], *q = &tl->processes[b];

	return p->start_ticks != q->start_ticks ? p->start_ticks < q->start_ticks : p->pid < q->pid;
}

/* Which of several holders of one connected socket is named: one that was
 * handed it as a standard descriptor; else, among those of the same program as
 * the earliest holder, the one that started last. */
size_t bridge_pick_holder(const struct bridge *bridge, uint32_t inode)
{
	const struct timeline *tl = bridge->timeline;
	const struct bridge_candidate *pool = bridge->pool;
	size_t earliest = 0, best = SIZE_MAX, handed = SIZE_MAX;
	uint32_t earliest_since = TIMELINE_NONE;

	for (size_t i = 0; i < bridge->pool_count; i++) {
		bool standard;
		uint32_t since = held_since(tl, inode, pool[i].process, &standard);

		if (since < earliest_since ||
		    (since == earliest_since &&
		     started_before(tl, pool[i].process, pool[earliest].process))) {
			earliest = i;
			earliest_since = since;
		}
		if (standard && (handed == SIZE_MAX ||
				 started_before(tl, pool[handed].process, pool[i].process)))
			handed = i;
	}
	if (handed != SIZE_MAX)
		return handed;
	for (size_t i = 0; i < bridge->pool_count; i++) {
		if (strcmp(program(tl, &pool[i]), program(tl, &pool[earliest])) == 0 &&
		    (best == SIZE_MAX || started_before(tl, pool[best].process, pool[i].process)))
			best = i;
	}
	return best;
}

/* Who holds the connections that a port's listener accepted. A server that
 * hands them on (forks, passes descriptors, is inetd) is not the owner of those
 * that no reading caught. */
int bridge_note_accepted(struct bridge *bridge)
{
	enum { PORTS = 65536 };
	const struct timeline *tl = bridge->timeline;
	const uint32_t nobody = TIMELINE_NONE, several = TIMELINE_NONE - 1;

	bridge->accepted = malloc(PORTS * sizeof(*bridge->accepted));
	if (bridge->accepted == NULL)
		return -1;
	for (size_t i = 0; i < PORTS; i++)
		bridge->accepted[i] = nobody;
	for (size_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		uint32_t *one = &bridge->accepted[s->local.port];

		if (s->protocol != IPPROTO_TCP || !s->connected || s->inode == 0)
			continue;
		for (uint32_t h = timeline_holders(tl, s->inode); h != TIMELINE_NONE;
		     h = tl->holders[h].next_inode)
			*one = *one == nobody || *one == tl->holders[h].process
				       ? tl->holders[h].process
				       : several;
	}
	for (size_t i = 0; i < PORTS; i++) {
		if (bridge->accepted[i] == several)
			bridge->accepted[i] = nobody;
	}
	return 0;
}
