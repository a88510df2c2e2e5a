/* Who held a socket, and who listens, accepts and hands on. */
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

#define PORTS 65536

static uint64_t hash_listener(uint16_t port, uint32_t process)
{
	return hashindex_mix((uint64_t)process << 16 | port);
}

static uint64_t hash_of_listener(const void *context, uint32_t place)
{
	const struct bridge_listener *l = &((const struct bridge *)context)->listeners[place];

	return hash_listener(l->port, l->process);
}

bool bridge_held_listener(const struct bridge *bridge, uint16_t port, uint32_t process)
{
	uint64_t hash = hash_listener(port, process);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&bridge->listening, hash, &probe)) != HASHINDEX_NONE) {
		if (bridge->listeners[i].port == port && bridge->listeners[i].process == process)
			return true;
	}
	return false;
}

static int add_listener(struct bridge *bridge, uint16_t port, uint32_t process)
{
	if (bridge_held_listener(bridge, port, process))
		return 0;
	if (grow_one(&bridge->listeners, bridge->listener_count, &bridge->listener_capacity,
		     sizeof(*bridge->listeners)) != 0)
		return -1;
	bridge->listeners[bridge->listener_count++] =
		(struct bridge_listener){.port = port, .process = process};
	return hashindex_add(&bridge->listening, hash_listener(port, process),
			     (uint32_t)bridge->listener_count - 1, hash_of_listener, bridge);
}

/* A socket listens on one port: the holders of an inode that stands with several (it came back,
 * or somebody made it up) are taken for those of the first. */
int bridge_note_listeners(struct bridge *bridge)
{
	const struct timeline *tl = bridge->timeline;
	bool *seen = calloc(tl->count.holders + 1, sizeof(*seen));
	int status = 0;

	bridge->listened = calloc(PORTS, sizeof(*bridge->listened));
	if (seen == NULL || bridge->listened == NULL)
		status = -1;
	for (size_t i = 0; i < tl->count.sockets && status == 0; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		uint32_t head;

		if (s->protocol != IPPROTO_TCP || s->connected || s->inode == 0 ||
		    s->state != SNAP_LISTEN)
			continue;
		bridge->listened[s->local.port] = true;
		head = timeline_holders(tl, s->inode);
		if (head == TIMELINE_NONE || seen[head])
			continue;
		seen[head] = true;
		for (uint32_t h = head; h != TIMELINE_NONE && status == 0;
		     h = tl->holders[h].next_inode) {
			walk_step();
			status = add_listener(bridge, s->local.port, tl->holders[h].process);
		}
	}
	free(seen);
	return status;
}

static uint64_t hash_of_father(const void *context, uint32_t place)
{
	const struct bridge_father *f = &((const struct bridge *)context)->fathers[place];

	return hash_listener(f->port, f->pid);
}

static bool is_father(const struct bridge *bridge, uint16_t port, uint32_t pid)
{
	uint64_t hash = hash_listener(port, pid);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&bridge->fathering, hash, &probe)) != HASHINDEX_NONE) {
		if (bridge->fathers[i].port == port && bridge->fathers[i].pid == pid)
			return true;
	}
	return false;
}

/* Somebody was seen with a connection that a port's listener accepted. */
static int note_server(struct bridge *bridge, uint16_t port, uint32_t process)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_process *p = &tl->processes[process];
	uint32_t parent = p->parent != 0		    ? p->parent
			  : p->first_image != TIMELINE_NONE ? tl->images[p->first_image].ppid
							    : 0;

	if (!bridge_held_listener(bridge, port, process))
		bridge->handed[port] = true;
	if (parent == 0 || is_father(bridge, port, parent))
		return 0;
	if (grow_one(&bridge->fathers, bridge->father_count, &bridge->father_capacity,
		     sizeof(*bridge->fathers)) != 0)
		return -1;
	bridge->fathers[bridge->father_count++] =
		(struct bridge_father){.port = port, .pid = parent};
	return hashindex_add(&bridge->fathering, hash_listener(port, parent),
			     (uint32_t)bridge->father_count - 1, hash_of_father, bridge);
}

/* Of one accepted connection, once for each inode. */
static int note_servers(struct bridge *bridge, const struct timeline_socket *s,
			const uint32_t *known)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t head = timeline_holders(tl, s->inode);
	int status = 0;

	if (!bridge->listened[s->local.port] || head == TIMELINE_NONE ||
	    known[head] != TIMELINE_NONE)
		return 0;
	for (uint32_t h = head; h != TIMELINE_NONE && status == 0; h = tl->holders[h].next_inode) {
		walk_step();
		status = note_server(bridge, s->local.port, tl->holders[h].process);
	}
	return status;
}

bool bridge_hands_on(const struct bridge *bridge, uint16_t port, uint32_t process)
{
	return bridge_held_listener(bridge, port, process) &&
	       (bridge->handed[port] ||
		is_father(bridge, port, bridge->timeline->processes[process].pid));
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

/* The one process that was ever seen to hold an inode; several; NONE. known: by its first holder,
 * NONE: not looked at yet. */
static uint32_t sole_holder(const struct timeline *tl, uint32_t inode, uint32_t several,
			    uint32_t *known)
{
	uint32_t head = timeline_holders(tl, inode), one;

	if (head == TIMELINE_NONE || known[head] != TIMELINE_NONE)
		return head == TIMELINE_NONE ? head : known[head];
	one = tl->holders[head].process;
	for (uint32_t h = head; h != TIMELINE_NONE && one != several;
	     h = tl->holders[h].next_inode) {
		walk_step();
		if (tl->holders[h].process != one)
			one = several;
	}
	return known[head] = one;
}

/* Who holds the connections that a port's listener accepted. A server that
 * hands them on (forks, passes descriptors, is inetd) is not the owner of those
 * that no reading caught. */
int bridge_note_accepted(struct bridge *bridge)
{
	const struct timeline *tl = bridge->timeline;
	const uint32_t nobody = TIMELINE_NONE, several = TIMELINE_NONE - 1;
	uint32_t *known = malloc((tl->count.holders + 1) * sizeof(*known));
	int status = 0;

	bridge->accepted = malloc(PORTS * sizeof(*bridge->accepted));
	bridge->handed = calloc(PORTS, sizeof(*bridge->handed));
	if (bridge->accepted == NULL || bridge->handed == NULL || known == NULL) {
		free(known);
		return -1;
	}
	for (size_t i = 0; i < PORTS; i++)
		bridge->accepted[i] = nobody;
	for (size_t i = 0; i < tl->count.holders; i++)
		known[i] = nobody;
	for (size_t i = 0; i < tl->count.sockets && status == 0; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		uint32_t *one = &bridge->accepted[s->local.port], sole;

		if (s->protocol != IPPROTO_TCP || !s->connected || s->inode == 0)
			continue;
		status = note_servers(bridge, s, known);
		sole = sole_holder(tl, s->inode, several, known);
		if (sole != nobody)
			*one = *one == nobody || *one == sole ? sole : several;
	}
	for (size_t i = 0; i < PORTS; i++) {
		if (bridge->accepted[i] == several)
			bridge->accepted[i] = nobody;
	}
	free(known);
	return status;
}
