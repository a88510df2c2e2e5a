/* Who serves on a TCP port: who listens there, who was seen with what was accepted, who hands it
 * on.
 *
 * Of a packet counts what is seen up to the end of the first complete reading that begins after
 * it. What only later readings show changes nothing, and as a segment ends with a reading, where
 * it ends changes little. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"

#define PORTS 65536

#define NEVER INT64_MAX

/* ---------------------------------------------------------------- what is asked -- */

/* Whether what counts from since on does at t. */
static bool counts(int64_t since_ns, int64_t t_ns, struct bridge_verdict *v)
{
	bridge_edge(v, t_ns, since_ns);
	return since_ns <= t_ns;
}

static uint64_t hash_listener(uint16_t port, uint32_t process)
{
	return hashindex_mix((uint64_t)process << 16 | port);
}

static uint64_t hash_of_listener(const void *context, uint32_t place)
{
	const struct bridge_listener *l = &((const struct bridge *)context)->listeners[place];

	return hash_listener(l->port, l->process);
}

static struct bridge_listener *find_listener(const struct bridge *bridge, uint16_t port,
					     uint32_t process)
{
	uint64_t hash = hash_listener(port, process);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&bridge->listening, hash, &probe)) != HASHINDEX_NONE) {
		if (bridge->listeners[i].port == port && bridge->listeners[i].process == process)
			return &bridge->listeners[i];
	}
	return NULL;
}

static uint64_t hash_of_father(const void *context, uint32_t place)
{
	const struct bridge_father *f = &((const struct bridge *)context)->fathers[place];

	return hash_listener(f->port, f->pid);
}

static const struct bridge_father *find_father(const struct bridge *bridge, uint16_t port,
					       uint32_t pid)
{
	uint64_t hash = hash_listener(port, pid);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&bridge->fathering, hash, &probe)) != HASHINDEX_NONE) {
		if (bridge->fathers[i].port == port && bridge->fathers[i].pid == pid)
			return &bridge->fathers[i];
	}
	return NULL;
}

static struct bridge_port *find_port(const struct bridge *bridge, uint16_t port)
{
	return bridge->port_places[port] == 0 ? NULL
					      : &bridge->ports[bridge->port_places[port] - 1];
}

bool bridge_listened(const struct bridge *bridge, uint16_t port, int64_t t_ns,
		     struct bridge_verdict *v)
{
	const struct bridge_port *p = find_port(bridge, port);

	return p != NULL && counts(p->listened_ns, t_ns, v);
}

bool bridge_held_listener(const struct bridge *bridge, uint16_t port, uint32_t process,
			  int64_t t_ns, struct bridge_verdict *v)
{
	const struct bridge_listener *l = find_listener(bridge, port, process);

	return l != NULL && counts(l->since_ns, t_ns, v);
}

bool bridge_serves(const struct bridge *bridge, uint16_t port, uint32_t process, int64_t t_ns,
		   struct bridge_verdict *v)
{
	const struct bridge_port *p = find_port(bridge, port);
	bool again, others;

	if (p == NULL)
		return false;
	again = counts(p->again_ns, t_ns, v);
	others = counts(p->others_ns, t_ns, v);
	return p->server == process && again && !others;
}

bool bridge_hands_on(const struct bridge *bridge, uint16_t port, uint32_t process, int64_t t_ns,
		     struct bridge_verdict *v)
{
	const struct bridge_port *p = find_port(bridge, port);
	const struct bridge_father *f;

	if (p == NULL || !bridge_held_listener(bridge, port, process, t_ns, v))
		return false;
	if (counts(p->handed_ns, t_ns, v))
		return true;
	f = find_father(bridge, port, bridge->timeline->processes[process].pid);
	return f != NULL && counts(f->since_ns, t_ns, v);
}

/* -------------------------------------------------------------- what is noted -- */

static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

/* From when on what was seen at a moment counts. */
static int64_t counts_from(const struct timeline *tl, int64_t seen_ns)
{
	size_t ended = timeline_fulls_until(tl, seen_ns - 1);

	return ended == 0 ? INT64_MIN : tl->frames[tl->full[ended - 1]].begin_ns;
}

/* When a holder of a socket was first seen with it. */
static int64_t held_from(const struct timeline *tl, const struct timeline_socket *s,
			 const struct timeline_holder *h)
{
	int64_t socket_ns = timeline_first_end(tl, &s->life),
		holder_ns = timeline_first_end(tl, &h->life);

	return counts_from(tl, socket_ns > holder_ns ? socket_ns : holder_ns);
}

/* From when on it counts that it kept a connection: that two complete readings had it. */
static int64_t kept_from(const struct timeline *tl, const struct timeline_life *life)
{
	uint32_t second = timeline_full_after(tl, life->first, 1);

	return second == TIMELINE_NONE || second > life->last
		       ? NEVER
		       : counts_from(tl, tl->frames[second].end_ns);
}

static int note_port(struct bridge *bridge, uint16_t port, int64_t since_ns)
{
	struct bridge_port *p = find_port(bridge, port);

	if (p != NULL) {
		p->listened_ns = earlier(p->listened_ns, since_ns);
		return 0;
	}
	if (grow_one(&bridge->ports, bridge->port_count, &bridge->port_capacity,
		     sizeof(*bridge->ports)) != 0)
		return -1;
	bridge->ports[bridge->port_count] = (struct bridge_port){
		.listened_ns = since_ns,
		.server = TIMELINE_NONE,
		.again_ns = NEVER,
		.others_ns = NEVER,
		.handed_ns = NEVER,
	};
	bridge->port_places[port] = (uint32_t)++bridge->port_count;
	return 0;
}

static int note_listener(struct bridge *bridge, uint16_t port, uint32_t process, int64_t since_ns)
{
	struct bridge_listener *l = find_listener(bridge, port, process);

	if (l != NULL) {
		l->since_ns = earlier(l->since_ns, since_ns);
		return 0;
	}
	if (grow_one(&bridge->listeners, bridge->listener_count, &bridge->listener_capacity,
		     sizeof(*bridge->listeners)) != 0)
		return -1;
	bridge->listeners[bridge->listener_count++] =
		(struct bridge_listener){.port = port, .process = process, .since_ns = since_ns};
	return hashindex_add(&bridge->listening, hash_listener(port, process),
			     (uint32_t)bridge->listener_count - 1, hash_of_listener, bridge);
}

/* A socket listens on one port: the holders of an inode that stands with several (it came back,
 * or somebody made it up) are taken for those of the first. */
static int note_listeners(struct bridge *bridge, bool *seen)
{
	const struct timeline *tl = bridge->timeline;
	int status = 0;

	for (size_t i = 0; i < tl->count.sockets && status == 0; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		uint32_t head;

		if (s->protocol != IPPROTO_TCP || s->connected || s->inode == 0 ||
		    s->state != SNAP_LISTEN)
			continue;
		status = note_port(bridge, s->local.port,
				   counts_from(tl, timeline_first_end(tl, &s->life)));
		head = timeline_holders(tl, s->inode);
		if (head == TIMELINE_NONE || seen[head])
			continue;
		seen[head] = true;
		for (uint32_t h = head; h != TIMELINE_NONE && status == 0;
		     h = tl->holders[h].next_inode) {
			walk_step();
			status = note_listener(bridge, s->local.port, tl->holders[h].process,
					       held_from(tl, s, &tl->holders[h]));
		}
	}
	return status;
}

/* Somebody was seen with a connection that a port's listener accepted. */
struct served {
	int64_t since_ns, kept_ns;
	uint32_t process, inode;
	uint16_t port;
};

struct all_served {
	struct served *items;
	size_t count, capacity;
};

static int compare_served(const void *a, const void *b)
{
	const struct served *p = a, *q = b;

	if (p->port != q->port)
		return p->port < q->port ? -1 : 1;
	if (p->since_ns != q->since_ns)
		return p->since_ns < q->since_ns ? -1 : 1;
	if (p->process != q->process)
		return p->process < q->process ? -1 : 1;
	return (p->inode > q->inode) - (p->inode < q->inode);
}

/* Once for each inode. */
static int find_served(const struct bridge *bridge, bool *seen, struct all_served *out)
{
	const struct timeline *tl = bridge->timeline;

	for (size_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		uint32_t head;

		if (s->protocol != IPPROTO_TCP || !s->connected || s->inode == 0 ||
		    find_port(bridge, s->local.port) == NULL)
			continue;
		head = timeline_holders(tl, s->inode);
		if (head == TIMELINE_NONE || seen[head])
			continue;
		seen[head] = true;
		for (uint32_t h = head; h != TIMELINE_NONE; h = tl->holders[h].next_inode) {
			walk_step();
			if (grow_one(&out->items, out->count, &out->capacity,
				     sizeof(*out->items)) != 0)
				return -1;
			out->items[out->count++] =
				(struct served){.since_ns = held_from(tl, s, &tl->holders[h]),
						.kept_ns = kept_from(tl, &tl->holders[h].life),
						.process = tl->holders[h].process,
						.inode = s->inode,
						.port = s->local.port};
		}
	}
	return 0;
}

static int note_father(struct bridge *bridge, const struct served *served)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_process *p = &tl->processes[served->process];
	uint32_t parent = p->parent != 0		    ? p->parent
			  : p->first_image != TIMELINE_NONE ? tl->images[p->first_image].ppid
							    : 0;

	if (parent == 0 || find_father(bridge, served->port, parent) != NULL)
		return 0;
	if (grow_one(&bridge->fathers, bridge->father_count, &bridge->father_capacity,
		     sizeof(*bridge->fathers)) != 0)
		return -1;
	bridge->fathers[bridge->father_count++] = (struct bridge_father){
		.port = served->port, .pid = parent, .since_ns = served->since_ns};
	return hashindex_add(&bridge->fathering, hash_listener(served->port, parent),
			     (uint32_t)bridge->father_count - 1, hash_of_father, bridge);
}

/* In order of time. */
static int note_served(struct bridge *bridge, const struct served *served)
{
	struct bridge_port *p = &bridge->ports[bridge->port_places[served->port] - 1];
	const struct bridge_listener *l = find_listener(bridge, served->port, served->process);

	if (p->server == TIMELINE_NONE) {
		p->server = served->process;
		p->inode = served->inode;
	}
	if (p->server != served->process)
		p->others_ns = earlier(p->others_ns, served->since_ns);
	else
		p->again_ns = earlier(p->again_ns, p->inode != served->inode ? served->since_ns
									     : served->kept_ns);
	if (p->handed_ns == NEVER && (l == NULL || l->since_ns > served->since_ns))
		p->handed_ns = served->since_ns;
	return note_father(bridge, served);
}

int bridge_note_serving(struct bridge *bridge)
{
	size_t holders = bridge->timeline->count.holders + 1;
	bool *seen = calloc(holders, sizeof(*seen));
	struct all_served all = {0};
	int status = -1;

	bridge->port_places = calloc(PORTS, sizeof(*bridge->port_places));
	if (seen != NULL && bridge->port_places != NULL)
		status = note_listeners(bridge, seen);
	if (status == 0) {
		memset(seen, 0, holders * sizeof(*seen));
		status = find_served(bridge, seen, &all);
	}
	if (all.count > 1)
		qsort(all.items, all.count, sizeof(*all.items), compare_served);
	for (size_t i = 0; i < all.count && status == 0; i++)
		status = note_served(bridge, &all.items[i]);
	free(all.items);
	free(seen);
	return status;
}

void bridge_release_serving(struct bridge *bridge)
{
	hashindex_release(&bridge->listening);
	hashindex_release(&bridge->fathering);
	free(bridge->listeners);
	free(bridge->fathers);
	free(bridge->ports);
	free(bridge->port_places);
}
