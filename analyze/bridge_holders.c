/* Who held a socket. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"
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
					const struct timeline_socket *socket,
					const struct bridge_near *near, int64_t t_ns,
					uint32_t *frame)
{
	enum bridge_rule rule = BRIDGE_NO_RULE;

	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_holder *h = &tl->holders[near->places[n]];
		const struct timeline_life *life = &h->life;

		if (timeline_first_end(tl, life) > t_ns) {
			if (!existed(tl, h->process, false, t_ns))
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

/* The last reading that lost a holder which is still current, or, of first, one that this reading
 * had first; -1: none did. */
static int64_t last_lost(const struct timeline *tl, const struct bridge_near *near, uint32_t first,
			 int64_t t_ns)
{
	int64_t lost = -1;

	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_life *life = &tl->holders[near->places[n]].life;

		if ((first != TIMELINE_NONE ? life->first == first
					    : timeline_current(tl, life, t_ns)) &&
		    bridge_is_stale(tl, life, t_ns) && life->gone > lost)
			lost = life->gone;
	}
	return lost;
}

/* A holder whose first sighting is the reading that lost a current one, or the next to have any,
 * may have had the socket already. */
static bool may_have_moved(const struct timeline *tl, const struct timeline_holder *h,
			   int64_t until, int64_t t_ns)
{
	return timeline_first_end(tl, &h->life) > t_ns && bridge_may_precede(tl, &h->life, t_ns) &&
	       existed(tl, h->process, false, t_ns) && until >= h->life.first;
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

/* The reading that had the next holder first, once nobody is left: the one that lost the last, or,
 * where that found it in nobody's hands, a later one. */
static int64_t next_held(const struct timeline *tl, const struct bridge_near *near, int64_t lost,
			 int64_t t_ns)
{
	int64_t next = INT64_MAX;

	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_life *life = &tl->holders[near->places[n]].life;

		if (timeline_first_end(tl, life) > t_ns) {
			if (life->first > lost && life->first < next)
				next = life->first;
			if (life->first == lost)
				return lost;
		} else if (timeline_current(tl, life, t_ns) &&
			   (life->gone == TIMELINE_NONE || life->gone > lost)) {
			return lost;
		}
	}
	return next == INT64_MAX ? lost : next;
}

/* Puts those into the pool that may have got the socket by t from a holder that is there already.
 * Whether there are any. */
static bool push_next(struct bridge *bridge, uint32_t socket, const struct bridge_near *near,
		      uint32_t first, int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	size_t before = bridge->pool_count;
	int64_t lost = last_lost(tl, near, first, t_ns);
	int64_t until = lost >= 0 ? next_held(tl, near, lost, t_ns) : lost;

	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_holder *h = &tl->holders[near->places[n]];

		if (may_have_moved(tl, h, until, t_ns))
			bridge_push_candidate(bridge, socket, h->process,
					      image_at(tl, h->process, t_ns, t_ns, v));
	}
	return bridge->pool_count > before;
}

/* A look-up finds one who holds a socket, and it may have several: until the first complete reading
 * since, those that it shows and that were there may have had it too. Whether there are any. */
static bool push_unread(struct bridge *bridge, uint32_t socket, const struct bridge_near *near,
			int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	size_t before = bridge->pool_count, begun = timeline_fulls_until(tl, t_ns);
	uint32_t read = begun > 0 ? tl->full[begun - 1] : 0, next;

	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_life *life = &tl->holders[near->places[n]].life;

		if (timeline_current(tl, life, t_ns) && begun > 0 && life->first <= read)
			return false;
	}
	if (begun == tl->full_count)
		return false;
	next = tl->full[begun];
	bridge_edge(v, t_ns, tl->frames[next].end_ns);
	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_holder *h = &tl->holders[near->places[n]];

		if (timeline_first_end(tl, &h->life) > t_ns && h->life.first <= next &&
		    existed(tl, h->process, false, t_ns))
			bridge_push_candidate(bridge, socket, h->process,
					      image_at(tl, h->process, t_ns, t_ns, v));
	}
	return bridge->pool_count > before;
}

/* Puts the processes that held the socket at t into the pool. */
struct bridge_holding bridge_collect_holders(struct bridge *bridge, uint32_t socket, int64_t t_ns,
					     struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t inode = tl->sockets[socket].inode, frame = 0;
	uint32_t head = inode == 0 ? TIMELINE_NONE : timeline_holders(tl, inode);
	bool surely = tl->sockets[socket].protocol != IPPROTO_TCP;
	const struct bridge_near *near;
	struct bridge_holding out = {
		.rule = BRIDGE_NO_RULE, .first_ns = INT64_MAX, .last_ns = INT64_MIN};

	bridge_near_clear(bridge, BRIDGE_CHAIN_HOLDERS);
	near = bridge_near_add(bridge, BRIDGE_CHAIN_HOLDERS, head, t_ns, v);
	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_holder *h = &tl->holders[near->places[n]];

		bridge_life_edges(tl, &h->life, t_ns, v);
		bridge_edge(v, t_ns, timeline_began(tl, h->process, false));
		bridge_edge(v, t_ns, timeline_began(tl, h->process, true));
		if (timeline_current(tl, &h->life, t_ns)) {
			hold(bridge, socket, near->places[n], t_ns, v, &out);
			out.rule = BRIDGE_EXACT;
		}
	}
	if (out.rule == BRIDGE_EXACT) {
		out.moved = push_next(bridge, socket, near, TIMELINE_NONE, t_ns, v);
		if (push_unread(bridge, socket, near, t_ns, v))
			out.moved = true;
		return out;
	}
	out.rule = nearest_holding(tl, &tl->sockets[socket], near, t_ns, &frame);
	for (size_t n = 0; n < near->count && out.rule != BRIDGE_NO_RULE; n++) {
		const struct timeline_holder *h = &tl->holders[near->places[n]];

		if (out.rule == BRIDGE_AHEAD
			    ? h->life.first == frame && existed(tl, h->process, false, t_ns)
			    : h->life.last == frame && timeline_gone_end(tl, &h->life) <= t_ns)
			hold(bridge, socket, near->places[n], t_ns, v, &out);
		/* It may have been there, and may not. */
		if (out.rule == BRIDGE_AHEAD && h->life.first == frame &&
		    existed(tl, h->process, false, t_ns) && !existed(tl, h->process, surely, t_ns))
			out.moved = true;
	}
	/* The reading that had it first was under way at t, and may have seen it before. */
	if (out.rule == BRIDGE_AHEAD && push_next(bridge, socket, near, frame, t_ns, v))
		out.moved = true;
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

static bool started_before(const struct timeline *tl, uint32_t a, uint32_t b)
{
	const struct timeline_process *p = &tl->processes[a], *q = &tl->processes[b];

	return p->start_ticks != q->start_ticks ? p->start_ticks < q->start_ticks : p->pid < q->pid;
}

/* Which of several holders of one connected socket is named: one that was
 * handed it as a standard descriptor; else, among those of the same program as
 * the earliest holder, the one that started last. */
size_t bridge_pick_holder(struct bridge *bridge, uint32_t inode)
{
	const struct timeline *tl = bridge->timeline;
	const struct bridge_candidate *pool = bridge->pool;
	size_t earliest = 0, best = SIZE_MAX, handed = SIZE_MAX;
	uint32_t earliest_since = TIMELINE_NONE, head = timeline_holders(tl, inode);

	for (size_t i = 0; i < bridge->pool_count; i++) {
		bool standard;
		uint32_t since = bridge_held_since(bridge, head, pool[i].process, &standard);

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

bool bridge_kept(const struct bridge *bridge, uint32_t process)
{
	const struct timeline *tl = bridge->timeline;
	const struct bridge_near *near = &bridge->near[BRIDGE_CHAIN_HOLDERS];

	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_holder *h = &tl->holders[near->places[n]];

		if (h->process == process &&
		    timeline_fulls_between(tl, h->life.first, h->life.last) > 1)
			return true;
	}
	return false;
}
