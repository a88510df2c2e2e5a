#include "analyze/serving.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/serving_internal.h"
#include "analyze/walk.h"

#define PORTS 65536

static const struct serving_facts no_facts = {
	.listens_ns = SERVING_NEVER,
	.serves_ns = SERVING_NEVER,
	.again_ns = SERVING_NEVER,
	.others_ns = SERVING_NEVER,
	.hands_ns = SERVING_NEVER,
};

/* --------------------------------------------------------------- what is found -- */

static uint64_t hash_of(uint16_t port, uint32_t whom)
{
	return hashindex_mix((uint64_t)whom << 16 | port);
}

static uint64_t hash_of_user(const void *context, uint32_t place)
{
	const struct serving_user *u = &((const struct serving *)context)->users[place];

	return hash_of(u->port, u->process);
}

static uint64_t hash_of_father(const void *context, uint32_t place)
{
	const struct serving_father *f = &((const struct serving *)context)->fathers[place];

	return hash_of(f->port, f->pid);
}

static struct serving_port *find_port(const struct serving *serving, uint16_t port)
{
	uint32_t place = serving->port_places == NULL ? 0 : serving->port_places[port];

	return place == 0 ? NULL : &serving->ports[place - 1];
}

static struct serving_user *find_user(const struct serving *serving, uint16_t port,
				      uint32_t process)
{
	uint64_t hash = hash_of(port, process);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&serving->by_user, hash, &probe)) != HASHINDEX_NONE) {
		if (serving->users[i].port == port && serving->users[i].process == process)
			return &serving->users[i];
	}
	return NULL;
}

static const struct serving_father *find_father(const struct serving *serving, uint16_t port,
						uint32_t pid)
{
	uint64_t hash = hash_of(port, pid);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&serving->by_father, hash, &probe)) != HASHINDEX_NONE) {
		if (serving->fathers[i].port == port && serving->fathers[i].pid == pid)
			return &serving->fathers[i];
	}
	return NULL;
}

const struct serving_port *serving_find_port(const struct serving *serving, uint16_t port)
{
	return find_port(serving, port);
}

const struct serving_user *serving_find_user(const struct serving *serving, uint16_t port,
					     uint32_t process)
{
	return find_user(serving, port, process);
}

int64_t serving_fathers(const struct serving *serving, uint16_t port, uint32_t pid)
{
	const struct serving_father *f = find_father(serving, port, pid);

	return f == NULL ? SERVING_NEVER : f->since_ns;
}

/* ---------------------------------------------------------------- what counts -- */

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
		       ? SERVING_NEVER
		       : counts_from(tl, tl->frames[second].end_ns);
}

/* -------------------------------------------------------------- what is noted -- */

static int note_port(struct serving *serving, uint16_t port, int64_t since_ns)
{
	struct serving_port *p = find_port(serving, port);

	if (p != NULL) {
		p->listens_ns = earlier(p->listens_ns, since_ns);
		return 0;
	}
	if (grow_one(&serving->ports, serving->port_count, &serving->port_capacity,
		     sizeof(*serving->ports)) != 0 ||
	    serving->ports == NULL)
		return -1;
	serving->ports[serving->port_count] = (struct serving_port){
		.port = port,
		.listens_ns = since_ns,
		.server = TIMELINE_NONE,
		.serves_ns = SERVING_NEVER,
		.others_ns = SERVING_NEVER,
		.hands_ns = SERVING_NEVER,
	};
	serving->port_places[port] = (uint32_t)++serving->port_count;
	return 0;
}

/* NULL: out of memory. Until another one is needed. */
static struct serving_user *need_user(struct serving *serving, uint16_t port, uint32_t process)
{
	struct serving_user *u = find_user(serving, port, process);
	const uint32_t place = (uint32_t)serving->user_count;

	if (u != NULL)
		return u;
	if (grow_one(&serving->users, serving->user_count, &serving->user_capacity,
		     sizeof(*serving->users)) != 0)
		return NULL;
	serving->users[serving->user_count++] =
		(struct serving_user){.process = process, .port = port, .facts = no_facts};
	return hashindex_add(&serving->by_user, hash_of(port, process), place, hash_of_user,
			     serving) != 0
		       ? NULL
		       : &serving->users[place];
}

/* A socket listens on one port: the holders of an inode that stands with several (it came back,
 * or somebody made it up) are taken for those of the first. */
static int note_listeners(struct serving *serving, const struct timeline *tl, bool *seen)
{
	for (size_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		uint32_t head;

		if (s->protocol != IPPROTO_TCP || s->connected || s->inode == 0 ||
		    s->state != SNAP_LISTEN)
			continue;
		if (note_port(serving, s->local.port,
			      counts_from(tl, timeline_first_end(tl, &s->life))) != 0)
			return -1;
		head = timeline_holders(tl, s->inode);
		if (head == TIMELINE_NONE || seen[head])
			continue;
		seen[head] = true;
		for (uint32_t h = head; h != TIMELINE_NONE; h = tl->holders[h].next_inode) {
			struct serving_user *u =
				need_user(serving, s->local.port, tl->holders[h].process);

			walk_step();
			if (u == NULL)
				return -1;
			u->facts.listens_ns =
				earlier(u->facts.listens_ns, held_from(tl, s, &tl->holders[h]));
		}
	}
	return 0;
}

/* Somebody was seen with a connection that a port's listener accepted. */
struct served {
	int64_t since_ns, kept_ns;
	uint32_t process, inode;
	uint32_t other; /* the next one of the port that another process was seen with; NO_OTHER */
	uint16_t port;
};

#define NO_OTHER UINT32_MAX

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

static int add_served(struct all_served *to, const struct served *served)
{
	if (grow_one(&to->items, to->count, &to->capacity, sizeof(*to->items)) != 0)
		return -1;
	to->items[to->count++] = *served;
	return 0;
}

/* Once for each inode. */
static int find_served(const struct serving *serving, const struct timeline *tl, bool *seen,
		       struct all_served *out)
{
	for (size_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_socket *s = &tl->sockets[i];
		uint32_t head;

		if (s->protocol != IPPROTO_TCP || !s->connected || s->inode == 0 ||
		    find_port(serving, s->local.port) == NULL)
			continue;
		head = timeline_holders(tl, s->inode);
		if (head == TIMELINE_NONE || seen[head])
			continue;
		seen[head] = true;
		for (uint32_t h = head; h != TIMELINE_NONE; h = tl->holders[h].next_inode) {
			const struct served served = {.since_ns = held_from(tl, s, &tl->holders[h]),
						      .kept_ns =
							      kept_from(tl, &tl->holders[h].life),
						      .process = tl->holders[h].process,
						      .inode = s->inode,
						      .port = s->local.port};

			walk_step();
			if (add_served(out, &served) != 0)
				return -1;
		}
	}
	return 0;
}

static int note_father(struct serving *serving, const struct timeline *tl,
		       const struct served *served)
{
	const struct timeline_process *p = &tl->processes[served->process];
	uint32_t parent = p->parent != 0		    ? p->parent
			  : p->first_image != TIMELINE_NONE ? tl->images[p->first_image].ppid
							    : 0;

	if (parent == 0 || find_father(serving, served->port, parent) != NULL)
		return 0;
	if (grow_one(&serving->fathers, serving->father_count, &serving->father_capacity,
		     sizeof(*serving->fathers)) != 0)
		return -1;
	serving->fathers[serving->father_count++] = (struct serving_father){
		.port = served->port, .pid = parent, .since_ns = served->since_ns};
	return hashindex_add(&serving->by_father, hash_of(served->port, parent),
			     (uint32_t)serving->father_count - 1, hash_of_father, serving);
}

/* What was known before the segment holds in all of it, as what its first reading shows does. */
static bool listens_later(const struct timeline *tl, const struct serving_user *u,
			  const struct served *served)
{
	return u->facts.listens_ns > served->since_ns &&
	       u->facts.listens_ns >= tl->frames[0].begin_ns;
}

/* In order of time. *handed: whether it is one that did not listen. */
static int note_served(struct serving *serving, const struct timeline *tl,
		       const struct served *served, bool *handed)
{
	struct serving_port *p = find_port(serving, served->port);
	struct serving_user *u = need_user(serving, served->port, served->process);

	if (u == NULL)
		return -1;
	if (u->facts.serves_ns == SERVING_NEVER) {
		u->facts.serves_ns = served->since_ns;
		u->facts.inode = served->inode;
	}
	u->facts.again_ns =
		earlier(u->facts.again_ns,
			u->facts.inode != served->inode ? served->since_ns : served->kept_ns);
	*handed = listens_later(tl, u, served);
	if (*handed)
		p->hands_ns = earlier(p->hands_ns, served->since_ns);
	return note_father(serving, tl, served);
}

/* Who of all was first, and when it was not alone any more. */
static void note_server(struct serving *serving, const struct serving_user *u)
{
	struct serving_port *p = find_port(serving, u->port);

	if (u->facts.serves_ns == SERVING_NEVER)
		return;
	if (p->server == TIMELINE_NONE || u->facts.serves_ns < p->serves_ns ||
	    (u->facts.serves_ns == p->serves_ns && u->process < p->server)) {
		p->others_ns = p->serves_ns;
		p->serves_ns = u->facts.serves_ns;
		p->server = u->process;
	} else {
		p->others_ns = earlier(p->others_ns, u->facts.serves_ns);
	}
}

/* Of those in order of time. */
static void link_others(struct all_served *served)
{
	for (size_t i = served->count; i-- > 0;) {
		struct served *s = &served->items[i];
		const struct served *next = i + 1 < served->count ? s + 1 : NULL;

		if (next == NULL || next->port != s->port)
			s->other = NO_OTHER;
		else
			s->other = next->process != s->process ? (uint32_t)i + 1 : next->other;
	}
}

/* *handed: those of all that did not listen. */
static int note_all(struct serving *serving, const struct timeline *tl, struct all_served *all,
		    struct all_served *handed)
{
	int status = 0;

	if (all->count > 1)
		qsort(all->items, all->count, sizeof(*all->items), compare_served);
	for (size_t i = 0; i < all->count && status == 0; i++) {
		bool is_handed = false;

		status = note_served(serving, tl, &all->items[i], &is_handed);
		if (status == 0 && is_handed)
			status = add_served(handed, &all->items[i]);
	}
	link_others(all);
	link_others(handed);
	for (size_t i = 0; i < serving->user_count; i++)
		note_server(serving, &serving->users[i]);
	return status;
}

/* --------------------------------------------------------------- and the book -- */

/* What the segments before it showed counted before it began; what a later one did, as far as the
 * book has it, did not. */
static int64_t if_before(int64_t since_ns, int64_t begin_ns)
{
	return since_ns < begin_ns ? since_ns : SERVING_NEVER;
}

/* What is known against somebody is not lost to a clock that was set back: it counts from just
 * before the segment, and is told so, as the later segments will look for it by its time. */
static int64_t against(bool by_time, int64_t since_ns, int64_t begin_ns)
{
	if (since_ns < begin_ns || since_ns == SERVING_NEVER || by_time)
		return if_before(since_ns, begin_ns);
	return begin_ns == INT64_MIN ? INT64_MIN : begin_ns - 1;
}

static int learn_row(struct serving *serving, uint32_t process, bool by_time,
		     const struct serving_row *row, int64_t begin_ns)
{
	const struct serving_facts *f = &row->facts;
	struct serving_user *u;

	if (if_before(f->listens_ns, begin_ns) == SERVING_NEVER ||
	    find_port(serving, row->port) == NULL)
		return 0;
	u = need_user(serving, row->port, process);
	if (u == NULL || note_port(serving, row->port, f->listens_ns) != 0)
		return -1;
	u->facts = (struct serving_facts){
		.listens_ns = earlier(u->facts.listens_ns, f->listens_ns),
		.serves_ns = if_before(f->serves_ns, begin_ns),
		.again_ns = if_before(f->again_ns, begin_ns),
		.others_ns = against(by_time, f->others_ns, begin_ns),
		.hands_ns = against(by_time, f->hands_ns, begin_ns),
		.inode = f->inode,
	};
	return 0;
}

/* Of the ports where anybody listens in this one too: other numbers are used again for anything.
 * A process may have listened on all ports once, and many short segments follow. */
static int learn_process(struct serving *serving, uint32_t process, const struct serving_book *book,
			 bool by_time, const struct serving_row *first, int64_t begin_ns)
{
	struct serving_row like = *first;
	int status = 0;

	if (first->count <= serving->port_count) {
		for (const struct serving_row *row = first; row != NULL && status == 0;
		     row = row->next == SERVING_NONE ? NULL : &book->rows[row->next]) {
			walk_step();
			status = learn_row(serving, process, by_time, row, begin_ns);
		}
		return status;
	}
	for (size_t i = 0; i < serving->port_count && status == 0; i++) {
		const struct serving_row *row;

		walk_step();
		like.port = serving->ports[i].port;
		row = serving_book_find(book, &like);
		if (row != NULL)
			status = learn_row(serving, process, by_time, row, begin_ns);
	}
	return status;
}

static int learn(struct serving *serving, const struct timeline *tl,
		 const struct serving_book *book, uint32_t recording, bool by_time)
{
	for (size_t i = 0; i < tl->count.processes; i++) {
		const struct timeline_process *p = &tl->processes[i];
		const struct serving_row *first =
			serving_book_first(book, recording, p->pid, p->start_ticks);

		if (first != NULL && learn_process(serving, (uint32_t)i, book, by_time, first,
						   tl->frames[0].begin_ns) != 0)
			return -1;
	}
	return 0;
}

/* What a segment's first reading shows counts for all before it too, if one has only this one. For
 * others it counts from there on. */
static int64_t for_others(int64_t since_ns, int64_t begin_ns)
{
	return since_ns == INT64_MIN ? begin_ns : since_ns;
}

/* When another one than that user was first seen with what its port accepted, from a time on. */
static int64_t others_since(const struct all_served *served, const struct serving_user *u,
			    int64_t since_ns, int64_t begin_ns)
{
	size_t low = 0, high = served->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct served *s = &served->items[middle];

		walk_step();
		if (s->port < u->port ||
		    (s->port == u->port && for_others(s->since_ns, begin_ns) < since_ns))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == served->count || served->items[low].port != u->port)
		return SERVING_NEVER;
	if (served->items[low].process == u->process)
		low = served->items[low].other;
	return low == NO_OTHER ? SERVING_NEVER : for_others(served->items[low].since_ns, begin_ns);
}

static struct serving_facts facts_for_others(const struct serving *serving,
					     const struct timeline *tl,
					     const struct all_served *all,
					     const struct all_served *handed,
					     const struct serving_user *u)
{
	const int64_t begin_ns = tl->frames[0].begin_ns;
	const int64_t listens_ns = for_others(u->facts.listens_ns, begin_ns);
	const int64_t hands_ns =
		earlier(others_since(handed, u, listens_ns, begin_ns),
			for_others(serving_fathers(serving, u->port, tl->processes[u->process].pid),
				   begin_ns));

	const int64_t others_ns = earlier(others_since(all, u, listens_ns, begin_ns), hands_ns);

	return (struct serving_facts){
		.listens_ns = listens_ns,
		.serves_ns = for_others(u->facts.serves_ns, begin_ns),
		.again_ns = for_others(u->facts.again_ns, begin_ns),
		.others_ns = earlier(u->facts.others_ns, others_ns),
		.hands_ns = earlier(u->facts.hands_ns, hands_ns),
		.inode = u->facts.inode,
	};
}

/* Of those that listen, or did: there may be any number of others. */
static int tell(struct serving *serving, const struct timeline *tl, const struct all_served *all,
		const struct all_served *handed, struct serving_book *book, uint32_t recording)
{
	for (size_t i = 0; i < serving->user_count; i++) {
		const struct serving_user *u = &serving->users[i];
		const struct timeline_process *p = &tl->processes[u->process];
		const struct serving_row *changed;
		struct serving_row row = {.recording = recording,
					  .pid = p->pid,
					  .start_ticks = p->start_ticks,
					  .port = u->port};

		/* Nothing tells of some who they are. */
		if (u->facts.listens_ns == SERVING_NEVER || p->start_ticks == 0 || p->forked_twice)
			continue;
		row.facts = facts_for_others(serving, tl, all, handed, u);
		if (serving_book_put(book, &row, &changed) != 0)
			return -1;
		if (changed == NULL)
			continue;
		if (grow_one(&serving->told, serving->told_count, &serving->told_capacity,
			     sizeof(*serving->told)) != 0)
			return -1;
		serving->told[serving->told_count++] = *changed;
	}
	return 0;
}

int serving_note(struct serving *serving, const struct timeline *timeline,
		 struct serving_book *book, uint32_t recording, uint64_t number)
{
	const bool alone = book == NULL || recording == SERVING_NONE || timeline->count.frames == 0;
	const bool late = !alone && number != 0 && number < book->recordings[recording].last_number;
	bool *seen = calloc(timeline->count.holders + 1, sizeof(*seen));
	struct all_served all = {0}, handed = {0};
	int status = -1;

	*serving = (struct serving){0};
	serving->port_places = calloc(PORTS, sizeof(*serving->port_places));
	if (seen != NULL && serving->port_places != NULL)
		status = note_listeners(serving, timeline, seen);
	if (status == 0 && !alone)
		status = learn(serving, timeline, book, recording, late || book->has_later);
	if (status == 0) {
		memset(seen, 0, (timeline->count.holders + 1) * sizeof(*seen));
		status = find_served(serving, timeline, seen, &all);
	}
	if (status == 0)
		status = note_all(serving, timeline, &all, &handed);
	if (status == 0 && !alone && !late)
		status = tell(serving, timeline, &all, &handed, book, recording);
	if (!alone)
		serving_book_reached(book, recording, number);
	free(all.items);
	free(handed.items);
	free(seen);
	return status;
}

void serving_release(struct serving *serving)
{
	hashindex_release(&serving->by_user);
	hashindex_release(&serving->by_father);
	free(serving->users);
	free(serving->fathers);
	free(serving->ports);
	free(serving->port_places);
	free(serving->told);
	*serving = (struct serving){0};
}
