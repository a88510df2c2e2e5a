/* What is asked by time, put in order once all is read. */
#include "analyze/timeline_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/walk.h"

/* ---------------------------------------------------------- stretches -- */

static int compare_stretches(const void *left, const void *right)
{
	const struct timeline_stretch *a = left, *b = right;

	return (a->from_ns > b->from_ns) - (a->from_ns < b->from_ns);
}

void timeline_order_stretches(struct timeline_stretch *stretches, size_t *count)
{
	size_t kept = 0;

	if (*count > 1)
		qsort(stretches, *count, sizeof(*stretches), compare_stretches);
	for (size_t i = 0; i < *count; i++) {
		if (kept > 0 && stretches[i].from_ns <= stretches[kept - 1].until_ns) {
			if (stretches[i].until_ns > stretches[kept - 1].until_ns)
				stretches[kept - 1].until_ns = stretches[i].until_ns;
		} else {
			stretches[kept++] = stretches[i];
		}
	}
	*count = kept;
}

size_t timeline_stretches_begun(const struct timeline_stretch *stretches, size_t count,
				int64_t t_ns)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (stretches[middle].from_ns <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool timeline_stretch_at(const struct timeline_stretch *stretches, size_t count, int64_t t_ns,
			 struct timeline_stretch *around)
{
	size_t begun = timeline_stretches_begun(stretches, count, t_ns);
	const struct timeline_stretch *last = begun > 0 ? &stretches[begun - 1] : NULL;
	const struct timeline_stretch *next = begun < count ? &stretches[begun] : NULL;

	if (last != NULL && t_ns < last->until_ns) {
		*around = *last;
		return true;
	}
	around->from_ns = last != NULL ? last->until_ns : INT64_MIN;
	around->until_ns = next != NULL ? next->from_ns : INT64_MAX;
	return false;
}

struct timeline_stretch timeline_stretch_between(int64_t a_ns, int64_t b_ns)
{
	return (struct timeline_stretch){.from_ns = a_ns < b_ns ? a_ns : b_ns,
					 .until_ns = (a_ns < b_ns ? b_ns : a_ns) + 1};
}

/* ---------------------------------------------------------- lifetimes -- */

/* When a told one was opened, else the beginning of the first reading that had it. */
static int64_t begun_ns(const struct timeline *tl, uint32_t socket)
{
	const struct timeline_socket *s = &tl->sockets[socket];

	return s->opened_ns != 0 ? s->opened_ns : tl->frames[s->life.first].begin_ns;
}

static int compare_lifetimes(const void *left, const void *right, void *context)
{
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	int64_t a = begun_ns(context, i), b = begun_ns(context, j);

	return a != b ? (a < b ? -1 : 1) : (i > j) - (i < j);
}

/* The lifetimes of each tuple side by side, told ones and read ones apart, each chain's first
 * knows where they are. */
int timeline_order_lifetimes(struct timeline *tl)
{
	bool *follows = calloc(tl->count.sockets + 1, sizeof(*follows));
	size_t place = 0;

	tl->lifetimes = malloc((tl->count.sockets + 1) * sizeof(*tl->lifetimes));
	if (follows == NULL || tl->lifetimes == NULL) {
		free(follows);
		return -1;
	}
	for (size_t i = 0; i < tl->count.sockets; i++) {
		if (tl->sockets[i].next_tuple != TIMELINE_NONE)
			follows[tl->sockets[i].next_tuple] = true;
	}
	for (uint32_t i = 0; i < tl->count.sockets; i++) {
		struct timeline_socket *head = &tl->sockets[i];
		size_t first = place;

		if (!head->connected || follows[i])
			continue;
		for (uint32_t k = i; k != TIMELINE_NONE; k = tl->sockets[k].next_tuple)
			tl->lifetimes[place++] = k;
		head->lifetimes_at = (uint32_t)first;
		head->lifetime_count = (uint32_t)(place - first);
		if (place - first > 1)
			qsort_r(tl->lifetimes + first, place - first, sizeof(*tl->lifetimes),
				compare_lifetimes, tl);
	}
	free(follows);
	return 0;
}

struct timeline_places timeline_lifetimes(const struct timeline *tl, uint32_t head)
{
	if (head == TIMELINE_NONE)
		return (struct timeline_places){NULL, 0};
	return (struct timeline_places){tl->lifetimes + tl->sockets[head].lifetimes_at,
					tl->sockets[head].lifetime_count};
}

size_t timeline_lifetimes_begun(const struct timeline *tl, const struct timeline_places *places,
				int64_t t_ns)
{
	size_t low = 0, high = places->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (begun_ns(tl, places->places[middle]) <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* -------------------------------------------------------------- turns -- */

static int compare_uses(const void *left, const void *right, void *context)
{
	const struct timeline *tl = context;
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	int64_t a = tl->uses[i].at_ns, b = tl->uses[j].at_ns;

	return a != b ? (a < b ? -1 : 1) : (i > j) - (i < j);
}

/* Chains the uses of a socket in order of time. scratch has room for all of them. */
static void order_uses(struct timeline *tl, struct timeline_socket *s, uint32_t *scratch)
{
	size_t count = 0;
	bool in_order = true;

	for (uint32_t i = s->first_use; i != TIMELINE_NONE; i = tl->uses[i].next) {
		walk_step();
		in_order = in_order &&
			   (count == 0 || tl->uses[scratch[count - 1]].at_ns <= tl->uses[i].at_ns);
		scratch[count++] = i;
	}
	if (in_order)
		return;
	qsort_r(scratch, count, sizeof(*scratch), compare_uses, tl);
	s->first_use = scratch[0];
	s->last_use = scratch[count - 1];
	for (size_t i = 0; i < count; i++)
		tl->uses[scratch[i]].next = i + 1 < count ? scratch[i + 1] : TIMELINE_NONE;
}

uint64_t timeline_position(const struct timeline_use *use, bool sent)
{
	return sent ? use->sent_bytes : use->received_bytes;
}

/* From the last turn to the first: what is the least place after it, and who follows it
 * without a place; and forwards who was there before. */
static void link_turns(struct timeline *tl, const struct timeline_socket *s, bool sent)
{
	struct timeline_turn *turns = &tl->turns[s->turns_at];
	uint64_t least = SNAP_UNKNOWN_BYTES;
	uint32_t known = TIMELINE_NONE, other = TIMELINE_NONE;
	/* The run of turns without a place behind the one in hand: its first, and the first
	 * of it that is another process's than that. */
	uint32_t run = TIMELINE_NONE, change = TIMELINE_NONE;

	for (uint32_t i = 0; i < s->turn_count; i++) {
		uint32_t process = tl->uses[turns[i].use].process;

		turns[i].other[sent] = TIMELINE_NONE;
		if (timeline_position(&tl->uses[turns[i].use], sent) == SNAP_UNKNOWN_BYTES)
			continue;
		if (known != TIMELINE_NONE && tl->uses[turns[known].use].process != process)
			other = known;
		turns[i].other[sent] = other;
		known = i;
	}
	for (uint32_t i = s->turn_count; i-- > 0;) {
		uint32_t process = tl->uses[turns[i].use].process;
		uint64_t at = timeline_position(&tl->uses[turns[i].use], sent);

		if (at < least)
			least = at;
		turns[i].least_bytes[sent] = least;
		turns[i].unplaced[sent] =
			run != TIMELINE_NONE && tl->uses[turns[run].use].process != process
				? run
				: change;
		if (at != SNAP_UNKNOWN_BYTES) {
			run = change = TIMELINE_NONE;
		} else {
			change = turns[i].unplaced[sent];
			run = i;
		}
	}
}

static int compare_numbers(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

/* Who used the socket, each process once. */
static void list_users(struct timeline *tl, struct timeline_socket *s, size_t *place)
{
	size_t first = *place, kept = first;

	for (uint32_t i = 0; i < s->turn_count; i++)
		tl->users[(*place)++] = tl->uses[tl->turns[s->turns_at + i].use].process;
	if (*place - first > 1)
		qsort(tl->users + first, *place - first, sizeof(*tl->users), compare_numbers);
	for (size_t i = first; i < *place; i++) {
		if (kept == first || tl->users[kept - 1] != tl->users[i])
			tl->users[kept++] = tl->users[i];
	}
	*place = kept;
	s->users_at = (uint32_t)first;
	s->users = (uint32_t)(kept - first);
}

static void list_turns(struct timeline *tl, struct timeline_socket *s, size_t *place)
{
	s->turns_at = (uint32_t)*place;
	s->several_at = TIMELINE_NONE;
	s->several_from_bytes[0] = s->several_from_bytes[1] = UINT64_MAX;
	for (uint32_t i = s->first_use; i != TIMELINE_NONE; i = tl->uses[i].next) {
		const struct timeline_use *use = &tl->uses[i];

		if (use->act == SNAP_SHUT) {
			s->closer = use->process;
			continue;
		}
		if (use->act == SNAP_SEVERAL && s->several_at == TIMELINE_NONE)
			s->several_at = (uint32_t)(*place - s->turns_at);
		for (int sent = 0; sent < 2 && use->act == SNAP_SEVERAL; sent++) {
			uint64_t at = timeline_position(use, sent);

			if (at == SNAP_UNKNOWN_BYTES)
				at = 0;
			if (at < s->several_from_bytes[sent])
				s->several_from_bytes[sent] = at;
		}
		tl->turns[(*place)++].use = i;
	}
	s->turn_count = (uint32_t)(*place - s->turns_at);
	link_turns(tl, s, false);
	link_turns(tl, s, true);
}

int timeline_order_turns(struct timeline *tl)
{
	uint32_t *scratch = malloc((tl->count.uses + 1) * sizeof(*scratch));
	size_t turns = 0, users = 0;

	tl->turns = malloc((tl->count.uses + 1) * sizeof(*tl->turns));
	tl->users = malloc((tl->count.uses + 1) * sizeof(*tl->users));
	if (scratch == NULL || tl->turns == NULL || tl->users == NULL) {
		free(scratch);
		return -1;
	}
	for (size_t i = 0; i < tl->count.sockets; i++) {
		struct timeline_socket *s = &tl->sockets[i];

		if (s->first_use == TIMELINE_NONE)
			continue;
		order_uses(tl, s, scratch);
		list_turns(tl, s, &turns);
		list_users(tl, s, &users);
	}
	free(scratch);
	return 0;
}

bool timeline_used_by(const struct timeline *tl, uint32_t socket, uint32_t process)
{
	const struct timeline_socket *s = &tl->sockets[socket];

	return s->users > 0 && bsearch(&process, tl->users + s->users_at, s->users,
				       sizeof(*tl->users), compare_numbers) != NULL;
}

/* -------------------------------------------------------------- calls -- */

struct calls_order {
	const struct timeline *tl;
	const uint32_t *uses; /* of the way */
};

static int compare_tasks(const void *left, const void *right, void *context)
{
	const struct calls_order *order = context;
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	const struct timeline_use *a = &order->tl->uses[order->uses[i]];
	const struct timeline_use *b = &order->tl->uses[order->uses[j]];

	if (a->process != b->process)
		return a->process < b->process ? -1 : 1;
	if (a->tid != b->tid)
		return a->tid < b->tid ? -1 : 1;
	return (i > j) - (i < j);
}

/* Of each use of a way the next call's end of the same task. scratch has room for all of them. */
static void link_sends(const struct timeline *tl, const struct timeline_way *way,
		       struct timeline_call *calls, uint32_t *scratch)
{
	struct calls_order order = {tl, way->uses};
	uint32_t next = TIMELINE_NONE;

	for (uint32_t i = 0; i < way->count; i++)
		scratch[i] = i;
	qsort_r(scratch, way->count, sizeof(*scratch), compare_tasks, &order);
	for (size_t i = way->count; i-- > 0;) {
		const struct timeline_use *use = &tl->uses[way->uses[scratch[i]]];
		const struct timeline_use *after =
			i + 1 < way->count ? &tl->uses[way->uses[scratch[i + 1]]] : NULL;

		walk_step();
		if (after == NULL || after->process != use->process || after->tid != use->tid)
			next = TIMELINE_NONE;
		calls[scratch[i]].next_send = next;
		if (use->act == SNAP_SEND)
			next = scratch[i];
	}
}

static void link_calls(const struct timeline *tl, const struct timeline_way *way,
		       struct timeline_call *calls)
{
	uint32_t several = TIMELINE_NONE;
	int64_t looked_ns = INT64_MAX;

	for (uint32_t i = 0; i < way->count; i++) {
		if (tl->uses[way->uses[i]].act == SNAP_SEVERAL)
			several = i;
		calls[i].several = several;
	}
	for (size_t i = way->count; i-- > 0;) {
		const struct timeline_use *use = &tl->uses[way->uses[i]];
		int64_t least_ns = use->at_ns - TIMELINE_CALL_NS;

		if (use->act == SNAP_SEND && use->looked_ns > least_ns)
			least_ns = use->looked_ns;
		if (use->act == SNAP_SEND && least_ns < looked_ns)
			looked_ns = least_ns;
		calls[i].looked_ns = looked_ns;
	}
}

int timeline_order_calls(struct timeline *tl)
{
	uint32_t *scratch = malloc((tl->datagram_count + 1) * sizeof(*scratch));
	struct timeline_way way;

	tl->calls = calloc(tl->datagram_count + 1, sizeof(*tl->calls));
	if (scratch == NULL || tl->calls == NULL) {
		free(scratch);
		return -1;
	}
	for (size_t i = 0; i < tl->datagram_count; i += way.count) {
		const struct timeline_use *first = &tl->uses[tl->datagrams[i]];

		way = (struct timeline_way){&tl->datagrams[i], first->next};
		if (first->local.port != 0 || first->remote.port != 0)
			continue;
		link_sends(tl, &way, &tl->calls[i], scratch);
		link_calls(tl, &way, &tl->calls[i]);
	}
	free(scratch);
	return 0;
}

const struct timeline_call *timeline_calls(const struct timeline *tl,
					   const struct timeline_way *way)
{
	return tl->calls + (way->uses - tl->datagrams);
}

/* ------------------------------------------------------------- images -- */

/* A process ran its first image before it was seen to, and shows the others one after the other;
 * where times say otherwise (the clock was set), an image begins with the one before it at the
 * earliest. */
int timeline_order_images(struct timeline *tl)
{
	uint32_t place = 0;

	tl->images_in_order = malloc((tl->count.images + 1) * sizeof(*tl->images_in_order));
	if (tl->images_in_order == NULL)
		return -1;
	for (size_t p = 0; p < tl->count.processes; p++) {
		struct timeline_process *process = &tl->processes[p];
		int64_t since_ns = INT64_MIN;

		process->images_at = place;
		for (uint32_t i = process->first_image; i != TIMELINE_NONE;
		     i = tl->images[i].next) {
			if (i != process->first_image && tl->images[i].since_ns > since_ns)
				since_ns = tl->images[i].since_ns;
			tl->images[i].since_ns = since_ns;
			tl->images_in_order[place++] = i;
		}
		process->image_count = place - process->images_at;
	}
	return 0;
}

/* How many images of a process began by t. */
static uint32_t images_begun(const struct timeline *tl, const struct timeline_process *p,
			     int64_t t_ns)
{
	uint32_t low = 0, high = p->image_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		walk_step();
		if (tl->images[tl->images_in_order[p->images_at + middle]].since_ns <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t timeline_image_at(const struct timeline *tl, uint32_t process, int64_t t_ns)
{
	const struct timeline_process *p = &tl->processes[process];
	uint32_t begun = images_begun(tl, p, t_ns);

	if (p->image_count == 0)
		return TIMELINE_NONE;
	return tl->images_in_order[p->images_at + (begun > 0 ? begun - 1 : 0)];
}

struct timeline_stretch timeline_image_stretch(const struct timeline *tl, uint32_t process,
					       int64_t t_ns)
{
	const struct timeline_process *p = &tl->processes[process];
	const uint32_t *images = tl->images_in_order + p->images_at;
	uint32_t begun = images_begun(tl, p, t_ns);

	return (struct timeline_stretch){
		.from_ns = begun > 0 ? tl->images[images[begun - 1]].since_ns : INT64_MIN,
		.until_ns = begun < p->image_count ? tl->images[images[begun]].since_ns : INT64_MAX,
	};
}

/* --------------------------------------------------------------- pids -- */

static int compare_pids(const void *left, const void *right, void *context)
{
	const struct timeline *tl = context;
	const struct timeline_process *p = &tl->processes[*(const uint32_t *)left];
	const struct timeline_process *q = &tl->processes[*(const uint32_t *)right];

	if (p->pid != q->pid)
		return p->pid < q->pid ? -1 : 1;
	return p->start_ticks < q->start_ticks ? -1 : p->start_ticks > q->start_ticks;
}

int timeline_order_pids(struct timeline *tl)
{
	tl->by_pid = malloc((tl->count.processes + 1) * sizeof(*tl->by_pid));
	if (tl->by_pid == NULL)
		return -1;
	for (uint32_t i = 0; i < tl->count.processes; i++)
		tl->by_pid[i] = i;
	qsort_r(tl->by_pid, tl->count.processes, sizeof(*tl->by_pid), compare_pids, tl);
	return 0;
}

uint32_t timeline_process_of(const struct timeline *tl, uint32_t pid, uint64_t until_ticks)
{
	size_t low = 0, high = tl->count.processes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct timeline_process *p = &tl->processes[tl->by_pid[middle]];

		walk_step();
		if (p->pid < pid || (p->pid == pid && p->start_ticks <= until_ticks))
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && tl->processes[tl->by_pid[low - 1]].pid == pid ? tl->by_pid[low - 1]
									: TIMELINE_NONE;
}

bool timeline_orphaned(const struct timeline *tl, uint32_t process, int64_t by_ns)
{
	const struct timeline_process *p = &tl->processes[process], *parent;
	const struct timeline_image *own, *its;
	uint32_t found;

	if (p->first_image == TIMELINE_NONE)
		return false;
	own = &tl->images[p->first_image];
	found = timeline_process_of(tl, own->ppid, p->start_ticks);
	if (found == TIMELINE_NONE || tl->processes[found].last_image == TIMELINE_NONE)
		return false;
	parent = &tl->processes[found];
	its = &tl->images[parent->last_image];
	return timeline_same_text(own->comm, its->comm) && timeline_same_text(own->exe, its->exe) &&
	       ((parent->exit_ns != 0 && parent->exit_ns <= by_ns) ||
		timeline_gone_end(tl, &its->life) <= by_ns);
}
