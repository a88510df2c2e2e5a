#include "analyze/bridge.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

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

void bridge_init(struct bridge *bridge, const struct timeline *timeline)
{
	*bridge = (struct bridge){
		.timeline = timeline,
		.addresses_known = timeline->count.addresses > 0,
		.full_from_ns = INT64_MAX,
		.full_until_ns = INT64_MIN,
	};
}

void bridge_release(struct bridge *bridge)
{
	free(bridge->pool);
	free(bridge->sockets);
	*bridge = (struct bridge){0};
}

/* ---------------------------------------------------------------- time -- */

/* A judgement holds between the moments at which anything it looked at changes. */
static void edge(struct bridge_verdict *v, int64_t t_ns, int64_t at_ns)
{
	if (at_ns > t_ns && at_ns < v->until_ns)
		v->until_ns = at_ns;
	if (at_ns <= t_ns && at_ns > v->from_ns)
		v->from_ns = at_ns;
}

static int64_t last_end(const struct timeline *tl, const struct timeline_life *life)
{
	return tl->frames[life->last].end_ns;
}

static void life_edges(const struct timeline *tl, const struct timeline_life *life, int64_t t_ns,
		       struct bridge_verdict *v)
{
	edge(v, t_ns, timeline_first_end(tl, life));
	if (life->gone != TIMELINE_NONE) {
		edge(v, t_ns, timeline_gone_end(tl, life));
		edge(v, t_ns, last_end(tl, life) + 1);
	}
	if (life->absent_before != TIMELINE_NONE)
		edge(v, t_ns, tl->frames[life->absent_before].begin_ns);
}

/* Whether something first seen after t can have been there at t: no complete
 * reading that began after t had it not. */
static bool may_precede(const struct timeline *tl, const struct timeline_life *life, int64_t t_ns)
{
	return life->absent_before == TIMELINE_NONE ||
	       tl->frames[life->absent_before].begin_ns <= t_ns;
}

/* Whether it is in the current state only because the next reading, which
 * has it no more, is still to come. */
static bool is_stale(const struct timeline *tl, const struct timeline_life *life, int64_t t_ns)
{
	return life->gone != TIMELINE_NONE && t_ns > last_end(tl, life);
}

/* The stretch between two full readings that t lies in. */
static void find_full(struct bridge *bridge, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t full = timeline_full_at(tl, t_ns), next;

	bridge->full_from_ns = full == TIMELINE_NONE ? INT64_MIN : tl->frames[full].end_ns;
	next = full == TIMELINE_NONE ? 0 : full + 1;
	while (next < tl->count.frames && tl->frames[next].kind == SNAP_EVENT)
		next++;
	bridge->full_until_ns = next < tl->count.frames ? tl->frames[next].end_ns : INT64_MAX;
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

/* Whether complete readings stand on both sides of t (a segment begins and ends
 * with one). Outside, only what one connection's own packets show holds. */
static bool bracketed(const struct timeline *tl, int64_t t_ns)
{
	return t_ns >= tl->first_full_ns && t_ns <= tl->last_full_ns;
}

/* ------------------------------------------------------------ locality -- */

static bool address_at(const struct bridge *bridge, const struct endpoint_address *address,
		       int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;

	for (uint32_t i = timeline_by_address(tl, address); i != TIMELINE_NONE;
	     i = tl->addresses[i].next_address) {
		const struct timeline_life *life = &tl->addresses[i].life;

		if (may_precede(tl, life, t_ns) && t_ns < timeline_gone_end(tl, life))
			return true;
	}
	return false;
}

static bool prefix_broadcast(const struct timeline_address *own,
			     const struct endpoint_address *address)
{
	uint32_t a = 0, b = 0, host;

	if (!endpoint_is_ipv4(&own->address) || own->prefix_length > 30 || own->prefix_length == 0)
		return false;
	for (int i = 12; i < 16; i++) {
		a = a << 8 | own->address.bytes[i];
		b = b << 8 | address->bytes[i];
	}
	host = UINT32_MAX >> own->prefix_length;
	return b == (a | host);
}

static bool is_group(const struct bridge *bridge, const struct packet *packet)
{
	const struct endpoint_address *to = &packet->destination.address;

	if (endpoint_is_multicast(to) || endpoint_is_broadcast(to))
		return true;
	if (packet->direction == DECODE_BROADCAST || packet->direction == DECODE_MULTICAST)
		return true;
	if (!endpoint_is_ipv4(to))
		return false;
	for (size_t i = 0; i < bridge->timeline->count.addresses; i++) {
		if (prefix_broadcast(&bridge->timeline->addresses[i], to))
			return true;
	}
	return false;
}

enum bridge_locality bridge_locality(struct bridge *bridge, const struct packet *packet,
				     bool local[2], bool *group)
{
	const struct endpoint_address *from = &packet->source.address;
	const struct endpoint_address *to = &packet->destination.address;

	*group = is_group(bridge, packet);
	local[0] = endpoint_is_loopback(from);
	local[1] = endpoint_is_loopback(to);
	if (bridge->addresses_known) {
		local[0] = local[0] || address_at(bridge, from, packet->time_ns);
		local[1] = local[1] || address_at(bridge, to, packet->time_ns);
	} else {
		local[0] = local[0] || packet->direction == DECODE_OUTGOING;
		local[1] = local[1] || packet->direction == DECODE_TO_US;
	}
	/* Before it has an address (DHCP), a host sends from the unspecified one. */
	if (endpoint_is_any(from) && packet->direction == DECODE_OUTGOING)
		local[0] = true;
	if (*group) {
		local[1] = !local[0];
		return local[0] ? BRIDGE_LOCAL : BRIDGE_PLACE_GROUP;
	}
	if (local[0] || local[1])
		return BRIDGE_LOCAL;
	return bridge->addresses_known ? BRIDGE_PLACE_FORWARDED : BRIDGE_PLACE_UNKNOWN;
}

/* A loopback address belongs to the namespace of the capture; any other one
 * to the namespaces that have it. */
static bool namespace_fits(const struct bridge *bridge, const struct bridge_subject *subject,
			   uint64_t netns)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t i;

	if (subject->group || tl->capture_netns == 0)
		return true;
	if (endpoint_is_loopback(&subject->local.address))
		return netns == tl->capture_netns;
	i = timeline_by_address(tl, &subject->local.address);
	if (i == TIMELINE_NONE)
		return true;
	for (; i != TIMELINE_NONE; i = tl->addresses[i].next_address) {
		if (tl->addresses[i].netns == netns)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------- holders -- */

static void push_candidate(struct bridge *bridge, uint32_t socket, uint32_t process, uint32_t image)
{
	for (size_t i = 0; i < bridge->pool_count; i++) {
		if (bridge->pool[i].process == process)
			return;
	}
	if (grow_one(&bridge->pool, bridge->pool_count, &bridge->pool_capacity,
			   sizeof(*bridge->pool)) != 0) {
		bridge->failed = true;
		return;
	}
	bridge->pool[bridge->pool_count++] =
		(struct bridge_candidate){.image = image, .process = process, .socket = socket};
}

static uint32_t image_at(const struct timeline *tl, uint32_t process, int64_t t_ns,
			 struct bridge_verdict *v)
{
	for (uint32_t i = tl->processes[process].first_image; i != TIMELINE_NONE;
	     i = tl->images[i].next)
		edge(v, t_ns, timeline_first_end(tl, &tl->images[i].life));
	return timeline_image_at(tl, process, t_ns);
}

struct holding {
	enum bridge_rule rule; /* exact, ahead, behind; NO_RULE: none */
	bool moved;	       /* between two readings it went from one process to another */
	int64_t first_ns, last_ns;
};

static bool existed(const struct timeline *tl, uint32_t process, int64_t t_ns)
{
	return tl->processes[process].start_ns <= t_ns; /* unknown is INT64_MIN */
}

/* The frame that decides among holders not current at t: the earliest first
 * sighting after t, else the latest last sighting before. */
static enum bridge_rule nearest_holding(const struct timeline *tl, uint32_t head, int64_t t_ns,
					uint32_t *frame)
{
	enum bridge_rule rule = BRIDGE_NO_RULE;

	for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
		const struct timeline_life *life = &tl->holders[i].life;

		if (timeline_first_end(tl, life) > t_ns) {
			if (!existed(tl, tl->holders[i].process, t_ns))
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

	if (timeline_first_end(tl, life) <= t_ns || !may_precede(tl, life, t_ns) ||
	    !existed(tl, tl->holders[candidate].process, t_ns))
		return false;
	for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
		const struct timeline_life *other = &tl->holders[i].life;

		if (timeline_current(tl, other, t_ns) && is_stale(tl, other, t_ns) &&
		    other->gone >= life->first)
			return true;
	}
	return false;
}

static void hold(struct bridge *bridge, uint32_t socket, uint32_t holder, int64_t t_ns,
		 struct bridge_verdict *v, struct holding *out)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_holder *h = &tl->holders[holder];
	int64_t first = timeline_first_end(tl, &h->life), last = last_end(tl, &h->life);

	/* A holder first seen after t was read together with its program. */
	push_candidate(bridge, socket, h->process,
		       image_at(tl, h->process, first > t_ns ? first : t_ns, v));
	if (out->first_ns == INT64_MAX || first < out->first_ns)
		out->first_ns = first;
	if (last > out->last_ns)
		out->last_ns = last;
}

/* Puts the processes that held the socket at t into the pool. */
static struct holding collect_holders(struct bridge *bridge, uint32_t socket, int64_t t_ns,
				      struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t inode = tl->sockets[socket].inode, frame = 0;
	uint32_t head = inode == 0 ? TIMELINE_NONE : timeline_holders(tl, inode);
	struct holding out = {
		.rule = BRIDGE_NO_RULE, .first_ns = INT64_MAX, .last_ns = INT64_MIN};

	for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
		life_edges(tl, &tl->holders[i].life, t_ns, v);
		edge(v, t_ns, tl->processes[tl->holders[i].process].start_ns);
		if (timeline_current(tl, &tl->holders[i].life, t_ns)) {
			hold(bridge, socket, i, t_ns, v, &out);
			out.rule = BRIDGE_EXACT;
		}
	}
	if (out.rule == BRIDGE_EXACT) {
		size_t before = bridge->pool_count;

		for (uint32_t i = head; i != TIMELINE_NONE; i = tl->holders[i].next_inode) {
			if (may_have_moved(tl, head, i, t_ns))
				push_candidate(bridge, socket, tl->holders[i].process,
					       image_at(tl, tl->holders[i].process, t_ns, v));
		}
		out.moved = bridge->pool_count > before;
		return out;
	}
	out.rule = nearest_holding(tl, head, t_ns, &frame);
	for (uint32_t i = head; i != TIMELINE_NONE && out.rule != BRIDGE_NO_RULE;
	     i = tl->holders[i].next_inode) {
		const struct timeline_holder *h = &tl->holders[i];

		if (out.rule == BRIDGE_AHEAD
			    ? h->life.first == frame && existed(tl, h->process, t_ns)
			    : h->life.last == frame && timeline_gone_end(tl, &h->life) <= t_ns)
			hold(bridge, socket, i, t_ns, v, &out);
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
static size_t pick_holder(const struct bridge *bridge, uint32_t inode)
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

/* ------------------------------------------------------------ verdicts -- */

static void say_no(struct bridge_verdict *v, enum bridge_reason reason)
{
	v->rule = BRIDGE_NO_RULE;
	v->reason = reason;
}

static void say_ambiguous(struct bridge *bridge, const struct bridge_subject *subject,
			  struct bridge_verdict *v)
{
	say_no(v, subject->group ? BRIDGE_MULTICAST : BRIDGE_AMBIGUOUS);
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
	if (inode != 0 && timeline_holders(tl, inode) != TIMELINE_NONE)
		say_no(v, BRIDGE_GAP);
	else
		say_no(v, tl->unreadable > 0 ? BRIDGE_UNREADABLE : BRIDGE_NO_HOLDER);
}

/* The sighting a verdict rests on, for socket and holder together. */
static void rest_on(const struct bridge *bridge, uint32_t socket, const struct holding *holding,
		    enum bridge_rule rule, int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_life *life = &tl->sockets[socket].life;
	uint32_t now;

	v->first_ns = timeline_first_end(tl, life);
	v->last_ns = last_end(tl, life);
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

static void judge_connected(struct bridge *bridge, const struct bridge_subject *subject,
			    uint32_t socket, enum bridge_rule rule, int64_t t_ns,
			    struct bridge_verdict *v)
{
	struct holding holding;

	bridge->pool_count = 0;
	holding = collect_holders(bridge, socket, t_ns, v);
	v->by_tuple = true;
	if (bridge->pool_count == 0) {
		rest_on(bridge, socket, &holding, rule, t_ns, v);
		say_no_holder(bridge, socket, v);
		return;
	}
	if (holding.rule > rule)
		rule = holding.rule;
	rest_on(bridge, socket, &holding, rule, t_ns, v);
	if (holding.moved) {
		v->socket = socket;
		say_ambiguous(bridge, subject, v);
		return;
	}
	say_owner(bridge, rule, pick_holder(bridge, bridge->timeline->sockets[socket].inode), v);
}

/* ------------------------------------------------ sockets of the tuple -- */

static void push_socket(struct bridge *bridge, uint32_t socket)
{
	if (grow_one(&bridge->sockets, bridge->socket_count, &bridge->socket_capacity,
			   sizeof(*bridge->sockets)) != 0) {
		bridge->failed = true;
		return;
	}
	bridge->sockets[bridge->socket_count++] = socket;
}

/* Several sockets of one tuple cannot be told apart at t, unless one process has them all. */
static void judge_several(struct bridge *bridge, const struct bridge_subject *subject,
			  enum bridge_rule rule, int64_t t_ns, struct bridge_verdict *v)
{
	struct holding holding = {.rule = BRIDGE_NO_RULE};
	bool moved = false;

	bridge->pool_count = 0;
	for (size_t i = 0; i < bridge->socket_count; i++) {
		holding = collect_holders(bridge, bridge->sockets[i], t_ns, v);
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
		say_ambiguous(bridge, subject, v);
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
					may_precede(tl, life, t_ns);

			if (possible && next == TIMELINE_NONE)
				next = i;
		} else if (tcp) {
			previous = i;
		}
	}
	if (others > 0)
		return BRIDGE_EXACT; /* all of them stay */
	bridge->socket_count = 0;
	if (now != TIMELINE_NONE) {
		push_socket(bridge, now);
		if (next != TIMELINE_NONE && is_stale(tl, &tl->sockets[now].life, t_ns) &&
		    may_precede(tl, &tl->sockets[next].life, t_ns))
			push_socket(bridge, next);
		return t_ns > tl->last_full_ns ? BRIDGE_BEHIND : BRIDGE_EXACT;
	}
	if (previous != TIMELINE_NONE)
		push_socket(bridge, previous);
	if (next != TIMELINE_NONE)
		push_socket(bridge, next);
	return next != TIMELINE_NONE ? BRIDGE_AHEAD : BRIDGE_BEHIND;
}

/* A socket that connects after its first packets stood unconnected before, and
 * one that was last seen before may have gone: a different one on its port
 * that was or may have been there then may have taken them. */
static bool add_unconnected_rivals(struct bridge *bridge, const struct bridge_subject *subject,
				   int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t inode = tl->sockets[bridge->sockets[0]].inode;
	size_t before = bridge->socket_count;

	for (uint32_t i = timeline_by_port(tl, subject->protocol, subject->local.port);
	     i != TIMELINE_NONE; i = tl->sockets[i].next_port) {
		const struct timeline_socket *s = &tl->sockets[i];

		life_edges(tl, &s->life, t_ns, v);
		if (s->inode != inode && namespace_fits(bridge, subject, s->netns) &&
		    (timeline_current(tl, &s->life, t_ns) ||
		     (timeline_first_end(tl, &s->life) > t_ns &&
		      may_precede(tl, &s->life, t_ns))) &&
		    (endpoint_is_any(&s->local.address) ||
		     endpoint_equal(&s->local.address, &subject->local.address)))
			push_socket(bridge, i);
	}
	return bridge->socket_count > before;
}

/* 1: judged. 0: no socket of this tuple. -1: rows of the tuple without inode only. */
static int judge_tuple(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		       struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	bool without_inode = false, certain;
	enum bridge_rule rule;

	bridge->socket_count = 0;
	if (subject->protocol != IPPROTO_TCP && !bracketed(tl, t_ns))
		return 0;
	for (uint32_t i = timeline_by_tuple(tl, subject->protocol, &subject->local,
					    &subject->remote);
	     i != TIMELINE_NONE; i = tl->sockets[i].next_tuple) {
		const struct timeline_socket *s = &tl->sockets[i];

		if (!namespace_fits(bridge, subject, s->netns))
			continue;
		/* Seen only before this instance began: another connection's. */
		if (subject->began_ns != INT64_MIN &&
		    tl->frames[s->life.last].begin_ns < subject->began_ns)
			continue;
		life_edges(tl, &s->life, t_ns, v);
		if (s->inode != 0)
			push_socket(bridge, i);
		else
			without_inode = true;
	}
	if (bridge->socket_count == 0)
		return without_inode ? -1 : 0;
	rule = choose_lifetime(bridge, subject, t_ns);
	if (bridge->socket_count == 0)
		return without_inode ? -1 : 0;
	v->by_tuple = true;
	certain = subject->protocol == IPPROTO_TCP ||
		  (rule == BRIDGE_EXACT &&
		   !is_stale(tl, &tl->sockets[bridge->sockets[0]].life, t_ns));
	if (bridge->socket_count == 1 &&
	    (certain || !add_unconnected_rivals(bridge, subject, t_ns, v)))
		judge_connected(bridge, subject, bridge->sockets[0], rule, t_ns, v);
	else
		judge_several(bridge, subject, rule, t_ns, v);
	return 1;
}

/* -------------------------------------------------- unconnected sockets -- */

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

enum tier { TIER_ADDRESS, TIER_WILDCARD, TIER_DUAL_STACK, TIERS };

static enum tier tier_of(const struct bridge_subject *subject, const struct timeline_socket *s)
{
	if (endpoint_equal(&s->local.address, &subject->local.address))
		return TIER_ADDRESS;
	if (!endpoint_is_any(&s->local.address))
		return TIERS;
	if (snap_table_is_ipv6(s->table) == (subject->ip_version == 6))
		return TIER_WILDCARD;
	/* Raw and ping sockets take their own family only. */
	return subject->ip_version == 4 && has_ports(s->protocol) ? TIER_DUAL_STACK : TIERS;
}

static bool takes_unconnected(const struct bridge *bridge, const struct bridge_subject *subject,
			      const struct timeline_socket *s)
{
	if (s->protocol == IPPROTO_TCP && s->state != SNAP_LISTEN)
		return false;
	return s->inode != 0 && namespace_fits(bridge, subject, s->netns);
}

/* Fills bridge->sockets with what qualifies at t on a port, by the strongest
 * tier that has any; a tier that is only ahead does not hide one that is there. */
static enum tier collect_unconnected(struct bridge *bridge, const struct bridge_subject *subject,
				     uint8_t protocol, uint16_t port, int64_t t_ns,
				     struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t head = timeline_by_port(tl, protocol, port);
	enum tier found = TIERS;

	bridge->socket_count = 0;
	for (enum tier tier = TIER_ADDRESS; tier < TIERS; tier++) {
		bool current = false, stale = true;

		for (uint32_t i = head; i != TIMELINE_NONE; i = tl->sockets[i].next_port) {
			const struct timeline_socket *s = &tl->sockets[i];

			if (!takes_unconnected(bridge, subject, s) || tier_of(subject, s) != tier)
				continue;
			life_edges(tl, &s->life, t_ns, v);
			if (!timeline_current(tl, &s->life, t_ns))
				continue;
			push_socket(bridge, i);
			current = true;
			stale = stale && is_stale(tl, &s->life, t_ns);
		}
		for (uint32_t i = head; i != TIMELINE_NONE; i = tl->sockets[i].next_port) {
			const struct timeline_socket *s = &tl->sockets[i];

			if ((!current || stale) && takes_unconnected(bridge, subject, s) &&
			    tier_of(subject, s) == tier &&
			    timeline_first_end(tl, &s->life) > t_ns &&
			    may_precede(tl, &s->life, t_ns)) {
				push_socket(bridge, i);
				if (found == TIERS)
					found = tier;
			}
		}
		if (current && found == TIERS)
			found = tier;
		/* Of a group's datagram each socket gets a copy. */
		if (current && !stale && !subject->group)
			return found;
	}
	return found;
}

static bool judge_unconnected(struct bridge *bridge, const struct bridge_subject *subject,
			      uint8_t protocol, uint16_t port, enum bridge_rule rule, int64_t t_ns,
			      struct bridge_verdict *v)
{
	enum tier tier;

	if (!bracketed(bridge->timeline, t_ns))
		return false;
	tier = collect_unconnected(bridge, subject, protocol, port, t_ns, v);
	if (bridge->socket_count == 0)
		return false;
	if (rule == BRIDGE_NO_RULE)
		rule = tier == TIER_ADDRESS ? BRIDGE_BOUND : BRIDGE_WILDCARD;
	judge_several(bridge, subject, rule, t_ns, v);
	return true;
}

/* What the kernel itself sends and answers unless a raw socket is open. */
static void judge_raw(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		      struct bridge_verdict *v)
{
	bool icmp = subject->protocol == IPPROTO_ICMP || subject->protocol == IPPROTO_ICMPV6;

	if (subject->icmp_query && !subject->responder &&
	    judge_unconnected(bridge, subject, subject->protocol, subject->local.port,
			      BRIDGE_QUOTED, t_ns, v))
		return;
	if (!(icmp && (subject->responder || !subject->icmp_query)) &&
	    judge_unconnected(bridge, subject, IPPROTO_RAW, subject->protocol,
			      icmp ? BRIDGE_QUOTED : BRIDGE_NO_RULE, t_ns, v))
		return;
	say_no(v, BRIDGE_NO_SOCKET);
}

void bridge_judge(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
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
		.from_ns = INT64_MIN,
		.until_ns = INT64_MAX,
	};
	if (tl->count.frames == 0)
		return;
	if (timeline_doubtful(tl, t_ns, &v->from_ns, &v->until_ns))
		return;
	edge(v, t_ns, tl->first_full_ns);
	if (tl->last_full_ns < INT64_MAX)
		edge(v, t_ns, tl->last_full_ns + 1);
	if (!has_ports(subject->protocol)) {
		judge_raw(bridge, subject, t_ns, v);
		return;
	}
	tuple = judge_tuple(bridge, subject, t_ns, v);
	if (tuple == 1)
		return;
	if ((!stream || subject->responder) &&
	    judge_unconnected(bridge, subject, subject->protocol, subject->local.port,
			      stream ? BRIDGE_LISTENER : BRIDGE_NO_RULE, t_ns, v))
		return;
	if (subject->group) {
		say_no(v, BRIDGE_MULTICAST);
	} else if (tuple == -1) {
		say_no(v, BRIDGE_NO_HOLDER);
		v->by_tuple = true;
	} else {
		edge(v, t_ns, tl->frames[0].begin_ns);
		say_no(v, t_ns < tl->frames[0].begin_ns ? BRIDGE_BEFORE_START : BRIDGE_GAP);
	}
}
