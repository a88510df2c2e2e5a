/* Which members of a long chain of lives can matter at a moment. */
#include "analyze/bridge_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"

/* A chain of up to so many is walked. Nearly all are shorter. */
#define SHORT_CHAIN 32
/* Those that a question takes from a longer one beyond what is there at the moment: so many that
 * were seen before, and so many that were first seen later than they can have been there. One
 * does where readings follow each other as they should. */
#define NEIGHBOURS 64
/* And of all together. What is shared by more is nobody's. */
#define NEAR_MAX 4096

struct bridge_crowd {
	enum bridge_chain chain;
	uint32_t head;
	size_t count, edge_count, member_count;
	uint32_t *by_first,
		*by_gone;      /* by the end of the reading that first had it; that lost it */
	int64_t *latest_ns;    /* of by_first: at the middle of a range, the latest gone in it */
	int64_t *edges;	       /* where anything changes */
	struct bridge_member { /* of holders: each process once */
		uint32_t process, first;
		bool standard;
	} * members;
};

static const struct timeline_life *life_of(const struct timeline *tl, enum bridge_chain chain,
					   uint32_t place)
{
	return chain == BRIDGE_CHAIN_HOLDERS ? &tl->holders[place].life : &tl->sockets[place].life;
}

static uint32_t next_of(const struct timeline *tl, enum bridge_chain chain, uint32_t place)
{
	return chain == BRIDGE_CHAIN_HOLDERS ? tl->holders[place].next_inode
	       : chain == BRIDGE_CHAIN_PORT  ? tl->sockets[place].next_port
					     : tl->sockets[place].next_tuple;
}

/* ------------------------------------------------------------ building -- */

struct ordering {
	const struct timeline *tl;
	enum bridge_chain chain;
	bool gone;
};

static int64_t key_of(const struct ordering *by, uint32_t place)
{
	const struct timeline_life *life = life_of(by->tl, by->chain, place);

	return by->gone ? timeline_gone_end(by->tl, life) : timeline_first_end(by->tl, life);
}

static int compare_places(const void *left, const void *right, void *context)
{
	uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
	int64_t a = key_of(context, i), b = key_of(context, j);

	return a != b ? (a < b ? -1 : 1) : (i > j) - (i < j);
}

static int compare_times(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

	return (a > b) - (a < b);
}

static int compare_members(const void *left, const void *right)
{
	const struct bridge_member *a = left, *b = right;

	if (a->process != b->process)
		return a->process < b->process ? -1 : 1;
	return (a->first > b->first) - (a->first < b->first);
}

static int64_t note_latest(const struct timeline *tl, struct bridge_crowd *crowd, size_t low,
			   size_t high)
{
	size_t middle = low + (high - low) / 2;
	int64_t latest, other;

	if (low >= high)
		return INT64_MIN;
	latest = timeline_gone_end(tl, life_of(tl, crowd->chain, crowd->by_first[middle]));
	other = note_latest(tl, crowd, low, middle);
	if (other > latest)
		latest = other;
	other = note_latest(tl, crowd, middle + 1, high);
	if (other > latest)
		latest = other;
	crowd->latest_ns[middle] = latest;
	return latest;
}

static void note_edges(const struct timeline *tl, struct bridge_crowd *crowd)
{
	for (size_t i = 0; i < crowd->count; i++) {
		const struct timeline_life *life = life_of(tl, crowd->chain, crowd->by_first[i]);
		int64_t *at = &crowd->edges[crowd->edge_count];

		*at++ = timeline_first_end(tl, life);
		if (life->gone != TIMELINE_NONE) {
			*at++ = timeline_gone_end(tl, life);
			*at++ = tl->frames[life->last].begin_ns + 1;
		}
		if (life->absent_before != TIMELINE_NONE)
			*at++ = tl->frames[life->absent_before].begin_ns;
		if (crowd->chain == BRIDGE_CHAIN_HOLDERS) {
			uint32_t process = tl->holders[crowd->by_first[i]].process;

			*at++ = timeline_began(tl, process, false);
			*at++ = timeline_began(tl, process, true);
		}
		crowd->edge_count = (size_t)(at - crowd->edges);
	}
	qsort(crowd->edges, crowd->edge_count, sizeof(*crowd->edges), compare_times);
}

static void note_members(const struct timeline *tl, struct bridge_crowd *crowd)
{
	size_t kept = 0;

	for (size_t i = 0; i < crowd->count; i++) {
		const struct timeline_holder *h = &tl->holders[crowd->by_first[i]];

		crowd->members[i] = (struct bridge_member){
			.process = h->process, .first = h->life.first, .standard = h->fd <= 2};
	}
	qsort(crowd->members, crowd->count, sizeof(*crowd->members), compare_members);
	for (size_t i = 0; i < crowd->count; i++) {
		if (kept > 0 && crowd->members[kept - 1].process == crowd->members[i].process)
			crowd->members[kept - 1].standard |= crowd->members[i].standard;
		else
			crowd->members[kept++] = crowd->members[i];
	}
	crowd->member_count = kept;
}

#define EDGES_EACH 6 /* note_edges */

static bool build(const struct timeline *tl, struct bridge_crowd *crowd)
{
	struct ordering by = {.tl = tl, .chain = crowd->chain};
	size_t count = 0;

	for (uint32_t i = crowd->head; i != TIMELINE_NONE; i = next_of(tl, crowd->chain, i))
		count++;
	crowd->by_first = malloc(count * sizeof(*crowd->by_first));
	crowd->by_gone = malloc(count * sizeof(*crowd->by_gone));
	crowd->latest_ns = malloc(count * sizeof(*crowd->latest_ns));
	crowd->edges = malloc(count * EDGES_EACH * sizeof(*crowd->edges));
	crowd->members = malloc(count * sizeof(*crowd->members));
	if (crowd->by_first == NULL || crowd->by_gone == NULL || crowd->latest_ns == NULL ||
	    crowd->edges == NULL || crowd->members == NULL)
		return false;
	for (uint32_t i = crowd->head; i != TIMELINE_NONE; i = next_of(tl, crowd->chain, i)) {
		walk_step();
		crowd->by_gone[crowd->count] = i;
		crowd->by_first[crowd->count++] = i;
	}
	qsort_r(crowd->by_first, count, sizeof(*crowd->by_first), compare_places, &by);
	by.gone = true;
	qsort_r(crowd->by_gone, count, sizeof(*crowd->by_gone), compare_places, &by);
	note_latest(tl, crowd, 0, count);
	note_edges(tl, crowd);
	if (crowd->chain == BRIDGE_CHAIN_HOLDERS)
		note_members(tl, crowd);
	return true;
}

static uint64_t hash_crowd(enum bridge_chain chain, uint32_t head)
{
	return hashindex_mix((uint64_t)chain << 32 | head);
}

static uint64_t hash_of_crowd(const void *context, uint32_t place)
{
	const struct bridge_crowd *crowd = &((const struct bridge *)context)->crowds[place];

	return hash_crowd(crowd->chain, crowd->head);
}

/* NULL without memory, and the bridge has failed. */
static const struct bridge_crowd *need_crowd(struct bridge *bridge, enum bridge_chain chain,
					     uint32_t head)
{
	uint64_t hash = hash_crowd(chain, head);
	uint32_t probe = (uint32_t)hash, i;
	struct bridge_crowd *crowd;

	while ((i = hashindex_next(&bridge->crowd_index, hash, &probe)) != HASHINDEX_NONE) {
		if (bridge->crowds[i].chain == chain && bridge->crowds[i].head == head)
			return &bridge->crowds[i];
	}
	if (grow_one(&bridge->crowds, bridge->crowd_count, &bridge->crowd_capacity,
		     sizeof(*bridge->crowds)) != 0)
		goto failed;
	crowd = &bridge->crowds[bridge->crowd_count++];
	*crowd = (struct bridge_crowd){.chain = chain, .head = head};
	if (!build(bridge->timeline, crowd) ||
	    hashindex_add(&bridge->crowd_index, hash, (uint32_t)bridge->crowd_count - 1,
			  hash_of_crowd, bridge) != 0)
		goto failed;
	return crowd;
failed:
	bridge->failed = true;
	return NULL;
}

void bridge_release_crowds(struct bridge *bridge)
{
	for (size_t i = 0; i < bridge->crowd_count; i++) {
		struct bridge_crowd *crowd = &bridge->crowds[i];

		free(crowd->by_first);
		free(crowd->by_gone);
		free(crowd->latest_ns);
		free(crowd->edges);
		free(crowd->members);
	}
	free(bridge->crowds);
	hashindex_release(&bridge->crowd_index);
	for (int i = 0; i < BRIDGE_CHAINS; i++)
		free(bridge->near[i].places);
}

/* -------------------------------------------------------------- asking -- */

static void push(struct bridge *bridge, struct bridge_near *near, uint32_t place)
{
	walk_step();
	if (near->count >= NEAR_MAX) {
		near->cut = bridge->crowded = true;
		return;
	}
	if (grow_one(&near->places, near->count, &near->capacity, sizeof(*near->places)) != 0)
		bridge->failed = true;
	else
		near->places[near->count++] = place;
}

/* How many of an order have come by t. */
static size_t come(const struct timeline *tl, const struct bridge_crowd *crowd,
		   const uint32_t *order, bool gone, int64_t t_ns)
{
	const struct ordering by = {.tl = tl, .chain = crowd->chain, .gone = gone};
	size_t low = 0, high = crowd->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (key_of(&by, order[middle]) <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Of those below end, those that are not gone by t. */
static void push_current(struct bridge *bridge, const struct bridge_crowd *crowd,
			 struct bridge_near *near, size_t low, size_t high, size_t end,
			 int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	size_t middle = low + (high - low) / 2;

	walk_step();
	if (low >= high || low >= end || crowd->latest_ns[middle] <= t_ns || near->cut)
		return;
	push_current(bridge, crowd, near, low, middle, end, t_ns);
	if (middle < end &&
	    timeline_gone_end(tl, life_of(tl, crowd->chain, crowd->by_first[middle])) > t_ns)
		push(bridge, near, crowd->by_first[middle]);
	push_current(bridge, crowd, near, middle + 1, high, end, t_ns);
}

static void push_later(struct bridge *bridge, const struct bridge_crowd *crowd,
		       struct bridge_near *near, size_t first, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	unsigned absent = 0;

	for (size_t i = first; i < crowd->count && absent < NEIGHBOURS && !near->cut; i++) {
		push(bridge, near, crowd->by_first[i]);
		if (!bridge_may_precede(tl, life_of(tl, crowd->chain, crowd->by_first[i]), t_ns))
			absent++;
	}
}

/* All that the same reading lost stay together. */
static void push_gone(struct bridge *bridge, const struct bridge_crowd *crowd,
		      struct bridge_near *near, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	size_t count = come(tl, crowd, crowd->by_gone, true, t_ns), taken = 0;
	uint32_t reading = TIMELINE_NONE;

	for (size_t i = count; i > 0 && !near->cut; i--, taken++) {
		uint32_t gone = life_of(tl, crowd->chain, crowd->by_gone[i - 1])->gone;

		if (taken >= NEIGHBOURS && gone != reading)
			return;
		reading = taken == 0 ? gone : reading;
		push(bridge, near, crowd->by_gone[i - 1]);
	}
}

static void narrow(const struct bridge_crowd *crowd, int64_t t_ns, struct bridge_verdict *v)
{
	size_t low = 0, high = crowd->edge_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (crowd->edges[middle] <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0)
		bridge_edge(v, t_ns, crowd->edges[low - 1]);
	if (low < crowd->edge_count)
		bridge_edge(v, t_ns, crowd->edges[low]);
}

static int compare_numbers(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

/* Pushes all of a short chain; false: it is long. */
static bool push_short(struct bridge *bridge, enum bridge_chain chain, uint32_t head,
		       struct bridge_near *near)
{
	size_t before = near->count;

	for (uint32_t i = head; i != TIMELINE_NONE; i = next_of(bridge->timeline, chain, i)) {
		if (near->count - before == SHORT_CHAIN) {
			near->count = before;
			return false;
		}
		push(bridge, near, i);
	}
	return true;
}

void bridge_near_clear(struct bridge *bridge, enum bridge_chain chain)
{
	bridge->near[chain].count = 0;
	bridge->near[chain].cut = false;
}

const struct bridge_near *bridge_near_add(struct bridge *bridge, enum bridge_chain chain,
					  uint32_t head, int64_t t_ns, struct bridge_verdict *v)
{
	struct bridge_near *near = &bridge->near[chain];
	size_t before = near->count, kept = 0, begun;
	bool is_short = push_short(bridge, chain, head, near);
	const struct bridge_crowd *crowd;

	if (is_short && (before == 0 || near->count == before))
		return near;
	if (!is_short) {
		crowd = need_crowd(bridge, chain, head);
		if (crowd == NULL)
			return near;
		begun = come(bridge->timeline, crowd, crowd->by_first, false, t_ns);
		push_current(bridge, crowd, near, 0, crowd->count, begun, t_ns);
		push_later(bridge, crowd, near, begun, t_ns);
		push_gone(bridge, crowd, near, t_ns);
		narrow(crowd, t_ns, v);
	}
	if (near->count > 1)
		qsort(near->places, near->count, sizeof(*near->places), compare_numbers);
	for (size_t i = 0; i < near->count; i++) {
		if (kept == 0 || near->places[kept - 1] != near->places[i])
			near->places[kept++] = near->places[i];
	}
	near->count = kept;
	return near;
}

uint32_t bridge_held_since(struct bridge *bridge, uint32_t head, uint32_t process, bool *standard)
{
	const struct timeline *tl = bridge->timeline;
	const struct bridge_crowd *crowd;
	uint32_t first = TIMELINE_NONE;
	unsigned length = 0;
	size_t low = 0, high;

	*standard = false;
	for (uint32_t i = head; i != TIMELINE_NONE && length <= SHORT_CHAIN;
	     i = tl->holders[i].next_inode, length++) {
		const struct timeline_holder *h = &tl->holders[i];

		if (h->process != process)
			continue;
		*standard = *standard || h->fd <= 2;
		if (h->life.first < first)
			first = h->life.first;
	}
	if (length <= SHORT_CHAIN)
		return first;
	crowd = need_crowd(bridge, BRIDGE_CHAIN_HOLDERS, head);
	for (high = crowd == NULL ? 0 : crowd->member_count; low < high;) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (crowd->members[middle].process < process)
			low = middle + 1;
		else
			high = middle;
	}
	if (crowd == NULL || low == crowd->member_count || crowd->members[low].process != process)
		return TIMELINE_NONE;
	*standard = crowd->members[low].standard;
	return crowd->members[low].first;
}
