/* What the kernel told of uses and forks, as chains in order of time. */
#include "analyze/timeline_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

static bool is_stream(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP;
}

/* -------------------------------------------------------------- chains -- */

static uint64_t hash_way(uint8_t protocol, uint16_t port, const struct endpoint *remote)
{
	const struct endpoint local = {.port = port};

	return timeline_hash_tuple(protocol, &local, remote);
}

static uint64_t hash_of_way(const void *context, uint32_t i)
{
	const struct timeline *tl = context;
	const struct timeline_use *use = &tl->uses[tl->datagrams[i]];

	return hash_way(use->protocol, use->local.port, &use->remote);
}

uint32_t timeline_told(const struct timeline *tl, uint8_t protocol, const struct endpoint *local,
		       const struct endpoint *remote)
{
	uint64_t hash = timeline_hash_tuple(protocol, local, remote);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_told, hash, &probe)) != HASHINDEX_NONE) {
		const struct timeline_socket *s = &tl->sockets[i];

		if (s->protocol == protocol && timeline_endpoints_equal(&s->local, local) &&
		    timeline_endpoints_equal(&s->remote, remote))
			return i;
	}
	return TIMELINE_NONE;
}

static bool is_way(const struct timeline_use *use, uint8_t protocol, uint16_t port,
		   const struct endpoint *remote)
{
	return use->protocol == protocol && use->local.port == port &&
	       timeline_endpoints_equal(&use->remote, remote);
}

struct timeline_way timeline_way(const struct timeline *tl, uint8_t protocol,
				 const struct endpoint *local, const struct endpoint *remote)
{
	uint64_t hash = hash_way(protocol, local->port, remote);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_way, hash, &probe)) != HASHINDEX_NONE) {
		if (!is_way(&tl->uses[tl->datagrams[i]], protocol, local->port, remote))
			continue;
		return (struct timeline_way){&tl->datagrams[i], tl->uses[tl->datagrams[i]].next};
	}
	return (struct timeline_way){NULL, 0};
}

uint32_t timeline_told_of(const struct timeline *tl, uint32_t socket)
{
	return tl->sockets[socket].opened_ns != 0 ? socket : tl->sockets[socket].other;
}

int64_t timeline_known_ns(const struct timeline *tl, uint32_t socket)
{
	uint32_t told = timeline_told_of(tl, socket);

	return told != TIMELINE_NONE ? tl->sockets[told].opened_ns
				     : timeline_first_end(tl, &tl->sockets[socket].life);
}

/* ---------------------------------------------------------------- uses -- */

static uint64_t hash_opening(const struct timeline_socket *s)
{
	return hashindex_mix(timeline_hash_tuple(s->protocol, &s->local, &s->remote) ^
			     hashindex_mix((uint64_t)s->opened_ns ^ hashindex_seed) ^
			     hashindex_mix(s->netns + hashindex_seed));
}

static uint64_t hash_of_opening(const void *context, uint32_t i)
{
	return hash_opening(&((const struct timeline *)context)->sockets[i]);
}

/* A told lifetime of this tuple, namespace and opening; NONE. */
static uint32_t find_told(const struct timeline *tl, const struct timeline_socket *wanted)
{
	uint64_t hash = hash_opening(wanted);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_opening, hash, &probe)) != HASHINDEX_NONE) {
		const struct timeline_socket *s = &tl->sockets[i];

		if (s->protocol == wanted->protocol && s->opened_ns == wanted->opened_ns &&
		    s->netns == wanted->netns &&
		    timeline_endpoints_equal(&s->local, &wanted->local) &&
		    timeline_endpoints_equal(&s->remote, &wanted->remote))
			return i;
	}
	return TIMELINE_NONE;
}

static uint32_t need_told(struct timeline *tl, const struct snap_use *use)
{
	struct timeline_socket fresh = {
		.life = timeline_life_begin(tl, SNAP_ONCE),
		.netns = use->netns,
		.table = use->protocol == IPPROTO_SCTP		 ? SNAP_SCTP_ASSOCS
			 : endpoint_is_ipv4(&use->local.address) ? SNAP_TCP
								 : SNAP_TCP6,
		.protocol = use->protocol,
		.connected = true,
		.local = use->local,
		.remote = use->remote,
		.uid = SNAP_UNKNOWN_UID,
		.cookie = use->cookie,
		.next_tuple = TIMELINE_NONE,
		.next_port = TIMELINE_NONE,
		.tail = (uint32_t)tl->count.sockets,
		.opened_ns = use->opened_ns,
		.other = TIMELINE_NONE,
		.first_use = TIMELINE_NONE,
		.last_use = TIMELINE_NONE,
		.closer = TIMELINE_NONE,
	};
	uint32_t place = find_told(tl, &fresh), head;

	if (place != TIMELINE_NONE)
		return place;
	if (grow_one(&tl->sockets, tl->count.sockets, &tl->capacity.sockets,
		     sizeof(*tl->sockets)) != 0)
		return TIMELINE_NONE;
	place = (uint32_t)tl->count.sockets++;
	tl->sockets[place] = fresh;
	if (timeline_note_life(tl, SNAP_ADD, TIMELINE_SOCKET, place) != 0)
		return TIMELINE_NONE;
	if (hashindex_add(&tl->by_opening, hash_opening(&fresh), place, hash_of_opening, tl) != 0)
		return TIMELINE_NONE;
	head = timeline_told(tl, use->protocol, &use->local, &use->remote);
	if (head == TIMELINE_NONE)
		return hashindex_add(&tl->by_told, timeline_hash_of_tuple(tl, place), place,
				     timeline_hash_of_tuple, tl) == 0
			       ? place
			       : TIMELINE_NONE;
	tl->sockets[tl->sockets[head].tail].next_tuple = place;
	tl->sockets[head].tail = place;
	return place;
}

/* As it was written; in order of time when all is read. */
static void chain_stream(struct timeline *tl, struct timeline_socket *s, uint32_t place)
{
	if (s->last_use == TIMELINE_NONE)
		s->first_use = place;
	else
		tl->uses[s->last_use].next = place;
	s->last_use = place;
}

int timeline_take_use(struct timeline *tl, const struct snap_use *use)
{
	uint32_t process = timeline_need_process(tl, use->pid, use->start_ticks);
	uint32_t place = (uint32_t)tl->count.uses, told;

	if (process == TIMELINE_NONE ||
	    grow_one(&tl->uses, tl->count.uses, &tl->capacity.uses, sizeof(*tl->uses)) != 0)
		return -1;
	/* A stream whose opening nobody saw could be any of its tuple. */
	if (is_stream(use->protocol) && use->opened_ns == 0)
		return 0;
	tl->uses[tl->count.uses++] = (struct timeline_use){
		.frame = (uint32_t)tl->count.frames - 1,
		.process = process,
		.next = TIMELINE_NONE,
		.act = use->act,
		.at_ns = use->at_ns,
		.previous_ns = use->previous_ns,
		.netns = use->netns,
		.protocol = use->protocol,
		.local = use->local,
		.remote = use->remote,
		.tid = use->tid,
		.looked_ns = is_stream(use->protocol) ? 0 : use->opened_ns,
		.sent_bytes = use->sent_bytes,
		.received_bytes = use->received_bytes,
	};
	if (is_stream(use->protocol)) {
		told = need_told(tl, use);
		if (told == TIMELINE_NONE)
			return -1;
		if (tl->sockets[told].cookie == 0)
			tl->sockets[told].cookie = use->cookie;
		chain_stream(tl, &tl->sockets[told], place);
		return 0;
	}
	return 0; /* a datagram: into its way when all are there */
}

int timeline_take_untold(struct timeline *tl, bool streams)
{
	struct timeline_untold *untold = &tl->untold[streams];
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];

	if (grow_one(&untold->stretches, untold->count, &untold->capacity,
		     sizeof(*untold->stretches)) != 0)
		return -1;
	untold->stretches[untold->count++] =
		timeline_stretch_between(frame->begin_ns, frame->end_ns);
	return 0;
}

/* --------------------------------------------------------------- forks -- */

/* A fork is told again with a later use, and the recorder has compared the clocks anew by then. No
 * pid comes back so soon. */
#define SAME_FORK_NS INT64_C(100000)

static bool is_same_time(int64_t a_ns, int64_t b_ns)
{
	return a_ns - b_ns <= SAME_FORK_NS && b_ns - a_ns <= SAME_FORK_NS;
}

void timeline_note_before(struct timeline_process *p, int64_t at_ns)
{
	if (p->born_ns == 0 || at_ns + SAME_FORK_NS >= p->first_fork_ns)
		return;
	p->forked_twice = true;
	p->first_fork_ns = p->start_ns < at_ns ? p->start_ns : at_ns;
}

static int note_fork(struct timeline *tl, uint32_t parent, int64_t born_ns)
{
	if (grow_one(&tl->forks, tl->fork_count, &tl->fork_capacity, sizeof(*tl->forks)) != 0)
		return -1;
	tl->forks[tl->fork_count++] = (struct timeline_fork){parent, born_ns};
	return 0;
}

int timeline_take_born(struct timeline *tl, const struct snap_born *born)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];
	int64_t monotonic_ns = born->born_ns - frame->begin_ns + frame->monotonic_ns;
	uint32_t i = timeline_need_process(tl, born->pid, born->start_ticks);
	struct timeline_process *p;

	if (i == TIMELINE_NONE)
		return -1;
	p = &tl->processes[i];
	if (p->born_ns != 0 && !is_same_time(born->born_ns, p->born_ns)) {
		/* The clock was set since it was told. */
		if (is_same_time(monotonic_ns, p->born_monotonic_ns))
			return 0;
		p->forked_twice = true;
		if (note_fork(tl, p->parent, p->born_ns) != 0)
			return -1;
	}
	if (p->born_ns == 0 || !p->forked_twice)
		p->first_fork_ns = p->last_fork_ns = born->born_ns;
	if (born->born_ns < p->first_fork_ns)
		p->first_fork_ns = born->born_ns;
	if (born->born_ns > p->last_fork_ns)
		p->last_fork_ns = born->born_ns;
	p->born_ns = born->born_ns;
	p->born_frame = (uint32_t)tl->count.frames - 1;
	p->born_monotonic_ns = monotonic_ns;
	p->parent = born->ppid;
	if (p->exit_ns != 0)
		timeline_note_before(p, p->exit_ns);
	return 0;
}

static bool same_program(const struct timeline_image *a, const struct timeline_image *b)
{
	if (a->cmdline_length != b->cmdline_length || !timeline_same_text(a->exe, b->exe) ||
	    !timeline_same_text(a->comm, b->comm))
		return false;
	return a->cmdline == NULL || b->cmdline == NULL
		       ? a->cmdline == b->cmdline
		       : memcmp(a->cmdline, b->cmdline, a->cmdline_length) == 0;
}

/* What was told when it acted comes before what a reading had, unless it is the same. */
static void join_images(struct timeline *tl, struct timeline_process *told,
			struct timeline_process *read)
{
	uint32_t last = told->last_image;

	if (last == TIMELINE_NONE ||
	    (read->first_image != TIMELINE_NONE &&
	     same_program(&tl->images[last], &tl->images[read->first_image])))
		return;
	for (uint32_t i = told->first_image; i != TIMELINE_NONE; i = tl->images[i].next)
		tl->images[i].process = (uint32_t)(read - tl->processes);
	tl->images[last].next = read->first_image;
	if (read->last_image == TIMELINE_NONE)
		read->last_image = last;
	read->first_image = told->first_image;
}

/* A fork is noted some microseconds after the start that /proc tells, sometimes in the
 * next tick. One of that pid and tick that had not ended by then is the same, unless its own
 * fork was told. */
static void join_processes(struct timeline *tl)
{
	for (uint32_t i = 0; i < tl->count.processes; i++) {
		struct timeline_process *told = &tl->processes[i], *read;
		uint32_t same =
			told->born_ns == 0 || told->start_ticks == 0
				? TIMELINE_NONE
				: timeline_find_process(tl, told->pid, told->start_ticks - 1);

		if (same == TIMELINE_NONE)
			continue;
		read = &tl->processes[same];
		if (read->born_ns != 0 || (read->exit_ns != 0 && read->exit_ns < told->born_ns))
			continue;
		join_images(tl, told, read);
		told->same_as = same;
		told->first_image = told->last_image = TIMELINE_NONE;
		read->born_ns = told->born_ns;
		read->first_fork_ns = told->first_fork_ns;
		read->last_fork_ns = told->last_fork_ns;
		read->forked_twice = told->forked_twice;
		read->parent = told->parent;
		if (read->exit_ns == 0) {
			read->exit_ns = told->exit_ns;
			read->exit_known = told->exit_known;
			read->exit_code = told->exit_code;
		}
	}
	for (size_t i = 0; i < tl->count.uses; i++) {
		uint32_t same = tl->processes[tl->uses[i].process].same_as;

		if (same != TIMELINE_NONE)
			tl->uses[i].process = same;
		timeline_note_before(&tl->processes[tl->uses[i].process], tl->uses[i].at_ns);
	}
	for (size_t i = 0; i < tl->count.holders; i++) {
		uint32_t same = tl->processes[tl->holders[i].process].same_as;

		if (same != TIMELINE_NONE)
			tl->holders[i].process = same;
	}
}

/* ---------------------------------------------------------------- ends -- */

/* A socket of the same tuple can be opened while another one is read, and one in another
 * namespace may have it too. So many are looked past. */
#define OTHER_LIFETIMES 64

/* The one told lifetime that the first reading of a socket can have seen: the last that was
 * opened before it, or the only one since; NONE: none, or one of several. */
static uint32_t told_at(const struct timeline *tl, const struct timeline_socket *read)
{
	const struct timeline_frame *frame = &tl->frames[read->life.first];
	struct timeline_places all = timeline_lifetimes(
		tl, timeline_told(tl, read->protocol, &read->local, &read->remote));
	size_t begun = timeline_lifetimes_begun(tl, &all, frame->end_ns);
	uint32_t before = TIMELINE_NONE, during = TIMELINE_NONE;

	for (size_t i = begun; i > 0 && before == TIMELINE_NONE; i--) {
		const struct timeline_socket *s = &tl->sockets[all.places[i - 1]];

		walk_step();
		if (begun - i == OTHER_LIFETIMES)
			return TIMELINE_NONE;
		if (s->netns != 0 && s->netns != read->netns)
			continue;
		if (s->opened_ns <= frame->begin_ns)
			before = all.places[i - 1];
		else if (during == TIMELINE_NONE)
			during = all.places[i - 1];
		else
			return TIMELINE_NONE;
	}
	if (before == TIMELINE_NONE || (tl->sockets[before].closed.closed_ns != 0 &&
					tl->sockets[before].closed.closed_ns < frame->begin_ns))
		return during;
	return during == TIMELINE_NONE ? before : TIMELINE_NONE;
}

static int compare_datagrams(const void *left, const void *right, void *context)
{
	const struct timeline *tl = context;
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	const struct timeline_use *a = &tl->uses[i], *b = &tl->uses[j];
	int result;

	if (a->protocol != b->protocol)
		return (int)a->protocol - (int)b->protocol;
	if (a->local.port != b->local.port)
		return (int)a->local.port - (int)b->local.port;
	if (a->remote.port != b->remote.port)
		return (int)a->remote.port - (int)b->remote.port;
	result = memcmp(a->remote.address.bytes, b->remote.address.bytes, 16);
	if (result != 0)
		return result;
	if (a->at_ns != b->at_ns)
		return a->at_ns < b->at_ns ? -1 : 1;
	return i < j ? -1 : i > j;
}

/* Side by side and in order; the first of each way knows how many they are. */
static int sort_datagrams(struct timeline *tl)
{
	size_t head = 0;

	tl->datagrams = malloc((tl->count.uses + 1) * sizeof(*tl->datagrams));
	if (tl->datagrams == NULL)
		return -1;
	for (uint32_t i = 0; i < tl->count.uses; i++) {
		if (!is_stream(tl->uses[i].protocol))
			tl->datagrams[tl->datagram_count++] = i;
	}
	qsort_r(tl->datagrams, tl->datagram_count, sizeof(*tl->datagrams), compare_datagrams, tl);
	for (size_t i = 0; i < tl->datagram_count; i++) {
		struct timeline_use *first = &tl->uses[tl->datagrams[head]];
		const struct timeline_use *use = &tl->uses[tl->datagrams[i]];

		if (i > 0 && is_way(first, use->protocol, use->local.port, &use->remote)) {
			first->next++;
			continue;
		}
		head = i;
		tl->uses[tl->datagrams[i]].next = 1;
		if (hashindex_add(&tl->by_way,
				  hash_way(use->protocol, use->local.port, &use->remote),
				  (uint32_t)i, hash_of_way, tl) != 0)
			return -1;
	}
	return 0;
}

static void pair_sockets(struct timeline *tl)
{
	for (uint32_t i = 0; i < tl->count.sockets; i++) {
		struct timeline_socket *s = &tl->sockets[i];
		uint32_t told;

		if (s->opened_ns != 0 || s->inode == 0 || !s->connected || !is_stream(s->protocol))
			continue;
		told = told_at(tl, s);
		if (told == TIMELINE_NONE || tl->sockets[told].other != TIMELINE_NONE)
			continue;
		tl->sockets[told].other = i;
		s->other = told;
	}
}

static int compare_forks(const void *left, const void *right)
{
	const struct timeline_fork *a = left, *b = right;

	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	return (a->born_ns > b->born_ns) - (a->born_ns < b->born_ns);
}

/* A fork that was not told: of who was read as the parent, to the tick. */
static int note_child(struct timeline *tl, const struct timeline_process *p)
{
	uint32_t parent = p->first_image != TIMELINE_NONE ? tl->images[p->first_image].ppid : 0;

	if (parent == 0 || p->start_ns == INT64_MIN)
		return 0;
	return note_fork(tl, parent, p->start_ns);
}

/* Those that another fork of the same pid and tick followed are there already. */
static int sort_forks(struct timeline *tl)
{
	for (uint32_t i = 0; i < tl->count.processes; i++) {
		const struct timeline_process *p = &tl->processes[i];

		if (p->same_as != TIMELINE_NONE)
			continue;
		if (p->parent != 0 ? note_fork(tl, p->parent, p->born_ns) != 0
				   : note_child(tl, p) != 0)
			return -1;
	}
	if (tl->fork_count > 0)
		qsort(tl->forks, tl->fork_count, sizeof(*tl->forks), compare_forks);
	return 0;
}

int64_t timeline_next_fork(const struct timeline *tl, uint32_t process, int64_t from_ns)
{
	uint32_t pid = tl->processes[process].pid;
	size_t low = 0, high = tl->fork_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct timeline_fork *fork = &tl->forks[middle];

		walk_step();
		if (fork->parent < pid || (fork->parent == pid && fork->born_ns <= from_ns))
			low = middle + 1;
		else
			high = middle;
	}
	return low < tl->fork_count && tl->forks[low].parent == pid ? tl->forks[low].born_ns
								    : INT64_MAX;
}

bool timeline_forked(const struct timeline *tl, uint32_t process, int64_t from_ns, int64_t until_ns)
{
	return timeline_next_fork(tl, process, from_ns) <= until_ns;
}

/* A file that ends as it should has a last reading, before which all that the
 * kernel told was written. Of another one the last words may be missing. */
#define TORN_NS INT64_C(1000000000)

static void find_told_until(struct timeline *tl)
{
	const struct timeline_frame *last;

	if (tl->full_count == 0)
		return;
	last = &tl->frames[tl->full[tl->full_count - 1]];
	tl->told_until_ns = last->begin_ns;
	if (strcmp(last->cause, "stop") != 0 && strcmp(last->cause, "rotate") != 0)
		tl->told_until_ns -= TORN_NS;
}

int timeline_pair(struct timeline *tl)
{
	timeline_order_stretches(tl->doubtful, &tl->doubtful_count);
	timeline_order_stretches(tl->untold[false].stretches, &tl->untold[false].count);
	timeline_order_stretches(tl->untold[true].stretches, &tl->untold[true].count);
	if (timeline_order_lifetimes(tl) != 0 || timeline_close_told(tl) != 0)
		return -1;
	join_processes(tl);
	if (timeline_settle_images(tl) != 0 || timeline_order_images(tl) != 0 ||
	    timeline_order_pids(tl) != 0 || timeline_order_closes(tl) != 0)
		return -1;
	if (tl->count.uses == 0)
		return sort_forks(tl) != 0 ? -1 : timeline_close_read(tl);
	find_told_until(tl);
	pair_sockets(tl);
	/* Once more, with the cookies that were read. */
	return timeline_close_told(tl) != 0 || timeline_close_read(tl) != 0 ||
			       timeline_order_turns(tl) != 0 || sort_datagrams(tl) != 0 ||
			       timeline_order_calls(tl) != 0 || sort_forks(tl) != 0
		       ? -1
		       : 0;
}
