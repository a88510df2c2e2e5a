#include "analyze/timeline_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "snapshot/format/quantity.h"

/* -------------------------------------------------------------- hashes -- */

static uint64_t hash_endpoint(const struct endpoint *at, uint64_t seed)
{
	return hashindex_mix(hashindex_keyed(at->address.bytes, 16) ^ ((uint64_t)at->port << 17) ^
			     seed);
}

uint64_t timeline_hash_tuple(uint8_t protocol, const struct endpoint *local,
			     const struct endpoint *remote)
{
	return hash_endpoint(remote, hash_endpoint(local, protocol));
}

uint64_t timeline_hash_port(uint8_t protocol, const struct endpoint *local)
{
	return hash_endpoint(local, protocol | UINT64_C(1) << 48);
}

uint64_t timeline_hash_process(uint32_t pid, uint64_t start_ticks)
{
	return hashindex_mix(pid ^ hashindex_mix(start_ticks ^ hashindex_seed));
}

uint64_t timeline_hash_of_tuple(const void *context, uint32_t i)
{
	const struct timeline_socket *s = &((const struct timeline *)context)->sockets[i];

	return timeline_hash_tuple(s->protocol, &s->local, &s->remote);
}

uint64_t timeline_hash_identity(const struct timeline_socket *s)
{
	uint64_t hash = timeline_hash_tuple(s->protocol, &s->local, &s->remote);

	/* Each by itself: two that are chosen to cancel each other would make many alike. */
	return hashindex_mix(hashindex_mix(hash ^ s->netns) ^ ((uint64_t)s->inode << 8 | s->table));
}

uint64_t timeline_hash_of_identity(const void *context, uint32_t i)
{
	return timeline_hash_identity(&((const struct timeline *)context)->sockets[i]);
}

uint64_t timeline_hash_of_port(const void *context, uint32_t i)
{
	const struct timeline_socket *s = &((const struct timeline *)context)->sockets[i];

	return timeline_hash_port(s->protocol, &s->local);
}

uint64_t timeline_hash_of_process(const void *context, uint32_t i)
{
	const struct timeline_process *p = &((const struct timeline *)context)->processes[i];

	return timeline_hash_process(p->pid, p->start_ticks);
}

uint64_t timeline_hash_inode(uint32_t inode)
{
	return hashindex_mix(inode ^ hashindex_seed);
}

uint64_t timeline_hash_of_inode(const void *context, uint32_t i)
{
	return timeline_hash_inode(((const struct timeline *)context)->holders[i].inode);
}

uint64_t timeline_hash_of_address(const void *context, uint32_t i)
{
	return hashindex_keyed(((const struct timeline *)context)->addresses[i].address.bytes, 16);
}

/* -------------------------------------------------------------- chains -- */

bool timeline_endpoints_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && memcmp(a->address.bytes, b->address.bytes, 16) == 0;
}

uint32_t timeline_by_tuple(const struct timeline *tl, uint8_t protocol,
			   const struct endpoint *local, const struct endpoint *remote)
{
	uint64_t hash = timeline_hash_tuple(protocol, local, remote);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_tuple, hash, &probe)) != HASHINDEX_NONE) {
		const struct timeline_socket *s = &tl->sockets[i];

		if (s->protocol == protocol && timeline_endpoints_equal(&s->local, local) &&
		    timeline_endpoints_equal(&s->remote, remote))
			return i;
	}
	return TIMELINE_NONE;
}

uint32_t timeline_by_port(const struct timeline *tl, uint8_t protocol, const struct endpoint *local)
{
	uint64_t hash = timeline_hash_port(protocol, local);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_port, hash, &probe)) != HASHINDEX_NONE) {
		if (tl->sockets[i].protocol == protocol &&
		    timeline_endpoints_equal(&tl->sockets[i].local, local))
			return i;
	}
	return TIMELINE_NONE;
}

uint32_t timeline_holders(const struct timeline *tl, uint32_t inode)
{
	uint64_t hash = timeline_hash_inode(inode);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_inode, hash, &probe)) != HASHINDEX_NONE) {
		if (tl->holders[i].inode == inode)
			return i;
	}
	return TIMELINE_NONE;
}

uint32_t timeline_by_address(const struct timeline *tl, const struct endpoint_address *address)
{
	uint64_t hash = hashindex_keyed(address->bytes, 16);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_address, hash, &probe)) != HASHINDEX_NONE) {
		if (endpoint_equal(&tl->addresses[i].address, address))
			return i;
	}
	return TIMELINE_NONE;
}

uint64_t timeline_hash_home(const struct endpoint_address *address, uint64_t netns)
{
	return hashindex_mix(hashindex_keyed(address->bytes, 16) ^
			     hashindex_mix(netns + hashindex_seed));
}

bool timeline_has_address(const struct timeline *tl, const struct endpoint_address *address,
			  uint64_t netns)
{
	uint64_t hash = timeline_hash_home(address, netns);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_home, hash, &probe)) != HASHINDEX_NONE) {
		if (tl->addresses[i].netns == netns &&
		    endpoint_equal(&tl->addresses[i].address, address))
			return true;
	}
	return false;
}

/* -------------------------------------------------------------- reading -- */

/* Numbers of the state after each frame, from the lives. */
static int count_states(struct timeline *tl)
{
	int64_t *delta = calloc(tl->count.frames + 1, 2 * sizeof(*delta));
	int64_t sockets = 0, processes = 0;

	if (delta == NULL)
		return -1;
	for (size_t i = 0; i < tl->count.sockets; i++) {
		const struct timeline_life *life = &tl->sockets[i].life;

		if (tl->sockets[i].opened_ns != 0)
			continue; /* told, not read */
		delta[2 * life->first]++;
		if (life->gone != TIMELINE_NONE)
			delta[2 * life->gone]--;
	}
	for (size_t i = 0; i < tl->count.images; i++) {
		const struct timeline_life *life = &tl->images[i].life;

		delta[2 * life->first + 1]++;
		if (life->gone != TIMELINE_NONE)
			delta[2 * life->gone + 1]--;
	}
	for (size_t i = 0; i < tl->count.frames; i++) {
		sockets += delta[2 * i];
		processes += delta[2 * i + 1];
		tl->frames[i].sockets = sockets > 0 ? (uint32_t)sockets : 0;
		tl->frames[i].processes = processes > 0 ? (uint32_t)processes : 0;
	}
	free(delta);
	return 0;
}

#define CLOSE_OPEN(tl, array)                                                                      \
	do {                                                                                       \
		for (size_t i_ = 0; i_ < (tl)->count.array; i_++) {                                \
			if (timeline_life_open(&(tl)->array[i_].life))                             \
				timeline_life_end(tl, &(tl)->array[i_].life, false);               \
		}                                                                                  \
	} while (0)

void timeline_init(struct timeline *timeline)
{
	*timeline = (struct timeline){
		.clock_ticks = 100,
		.last_full = TIMELINE_NONE,
		.first_full_ns = INT64_MAX,
		.last_full_ns = INT64_MIN,
		.told_until_ns = INT64_MIN,
	};
}

int timeline_read(struct snapfile_reader *reader, const volatile sig_atomic_t *stop,
		  struct timeline *out, struct error *error)
{
	struct snap_record record;
	int status;

	timeline_init(out);
	while ((status = snapfile_next(reader, &record, error)) == 1) {
		uint64_t limit =
			record.type == SNAP_TYPE_META ? TIMELINE_MAX_META : TIMELINE_MAX_TEXT;

		/* Frames are taken whole. */
		if (out->text_bytes > limit &&
		    (record.type == SNAP_TYPE_META || record.type == SNAP_TYPE_FRAME)) {
			status = error_damage(error, NULL, -1, "texts of a host's processes",
					      "more than %llu bytes of them by line %llu",
					      (unsigned long long)limit,
					      (unsigned long long)record.line);
			break;
		}
		if (timeline_take(out, &record) != 0)
			goto no_memory;
		if (stop != NULL && *stop != 0) {
			status = error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
			break;
		}
	}
	if (status < 0 && status != ERROR_DAMAGED) {
		timeline_release(out);
		timeline_init(out);
		return status;
	}
	CLOSE_OPEN(out, sockets);
	CLOSE_OPEN(out, images);
	CLOSE_OPEN(out, holders);
	CLOSE_OPEN(out, addresses);
	CLOSE_OPEN(out, interfaces);
	if (timeline_pair(out) != 0)
		goto no_memory;
	if (count_states(out) != 0)
		goto no_memory;
	out->unknown_records = snapfile_unknown_records(reader);
	return status;
no_memory:
	timeline_release(out);
	timeline_init(out);
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory while reading snapshots");
}

void timeline_release(struct timeline *timeline)
{
	struct timeline_block *block = timeline->blocks;

	while (block != NULL) {
		struct timeline_block *next = block->next;

		free(block);
		block = next;
	}
	free(timeline->frames);
	free(timeline->sockets);
	free(timeline->images);
	free(timeline->execs);
	free(timeline->processes);
	free(timeline->holders);
	free(timeline->addresses);
	free(timeline->interfaces);
	free(timeline->absences);
	free(timeline->steps);
	free(timeline->metas);
	free(timeline->full);
	free(timeline->sightings);
	free(timeline->full_by_end);
	for (int i = 0; i < TIMELINE_KINDS; i++)
		free(timeline->open[i].places);
	free(timeline->doubtful);
	free(timeline->untold[0].stretches);
	free(timeline->untold[1].stretches);
	free(timeline->uses);
	free(timeline->lifetimes);
	free(timeline->turns);
	free(timeline->users);
	free(timeline->images_in_order);
	free(timeline->by_pid);
	free(timeline->datagrams);
	free(timeline->calls);
	free(timeline->forks);
	free(timeline->closes_in_order);
	free(timeline->untold_closes);
	free(timeline->closes);
	hashindex_release(&timeline->by_told);
	hashindex_release(&timeline->by_opening);
	hashindex_release(&timeline->by_way);
	hashindex_release(&timeline->by_identity);
	hashindex_release(&timeline->by_tuple);
	hashindex_release(&timeline->by_port);
	hashindex_release(&timeline->by_process);
	hashindex_release(&timeline->by_inode);
	hashindex_release(&timeline->by_address);
	hashindex_release(&timeline->by_holding);
	hashindex_release(&timeline->by_place);
	hashindex_release(&timeline->by_home);
	hashindex_release(&timeline->by_interface);
	hashindex_release(&timeline->by_absence);
	*timeline = (struct timeline){0};
}

/* ------------------------------------------------------------- queries -- */

const char *timeline_meta(const struct timeline *timeline, const char *key, size_t *length)
{
	for (size_t i = 0; i < timeline->count.metas; i++) {
		if (strcmp(timeline->metas[i].key, key) == 0) {
			if (length != NULL)
				*length = timeline->metas[i].value_length;
			return timeline->metas[i].value;
		}
	}
	return NULL;
}

size_t timeline_fulls_until(const struct timeline *timeline, int64_t t_ns)
{
	size_t low = 0, high = timeline->full_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (timeline->frames[timeline->full[middle]].end_ns <= t_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* How many of them stand before a frame. */
static size_t fulls_before(const struct timeline *timeline, uint32_t frame)
{
	size_t low = 0, high = timeline->full_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (timeline->full[middle] < frame)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t timeline_fulls_between(const struct timeline *timeline, uint32_t first, uint32_t last)
{
	return fulls_before(timeline, last + 1) - fulls_before(timeline, first);
}

uint32_t timeline_full_after(const struct timeline *timeline, uint32_t frame, size_t count)
{
	size_t place = fulls_before(timeline, frame) + count;

	return place < timeline->full_count ? timeline->full[place] : TIMELINE_NONE;
}

uint32_t timeline_full_at(const struct timeline *timeline, int64_t t_ns)
{
	size_t count = timeline_fulls_until(timeline, t_ns);

	return count == 0 ? TIMELINE_NONE : timeline->full[count - 1];
}

bool timeline_doubtful(const struct timeline *timeline, int64_t t_ns, int64_t *from_ns,
		       int64_t *until_ns)
{
	struct timeline_stretch around;
	bool doubtful =
		timeline_stretch_at(timeline->doubtful, timeline->doubtful_count, t_ns, &around);

	*from_ns = around.from_ns;
	*until_ns = around.until_ns;
	return doubtful;
}

bool timeline_untold(const struct timeline *timeline, bool streams, int64_t from_ns,
		     int64_t until_ns)
{
	const struct timeline_untold *untold = &timeline->untold[streams];
	size_t begun = timeline_stretches_begun(untold->stretches, untold->count, until_ns);

	return begun > 0 && untold->stretches[begun - 1].until_ns > from_ns;
}

struct timeline_stretch timeline_told_stretch(const struct timeline *timeline, bool streams,
					      int64_t t_ns)
{
	const struct timeline_untold *untold = &timeline->untold[streams];
	struct timeline_stretch around;

	timeline_stretch_at(untold->stretches, untold->count, t_ns, &around);
	return around;
}

int64_t timeline_began(const struct timeline *timeline, uint32_t process, bool surely)
{
	const struct timeline_process *p = &timeline->processes[process];

	if (p->born_ns != 0)
		return surely ? p->last_fork_ns : p->first_fork_ns;
	if (p->start_ns == INT64_MIN || !surely)
		return p->start_ns;
	/* A start time is cut to the clock tick: it began within the tick after it. */
	return p->start_ns + NS_PER_SECOND / timeline->clock_ticks;
}

bool timeline_current(const struct timeline *timeline, const struct timeline_life *life,
		      int64_t t_ns)
{
	return timeline_first_end(timeline, life) <= t_ns &&
	       t_ns < timeline_gone_end(timeline, life);
}
