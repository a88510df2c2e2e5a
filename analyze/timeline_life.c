#include "analyze/timeline_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"

#define BLOCK_BYTES 65536

/* ------------------------------------------------------------- strings -- */

const char *timeline_keep(struct timeline *tl, const char *text, size_t length, bool *failed)
{
	struct timeline_block *block = tl->blocks;
	char *copy;

	if (text == NULL)
		return NULL;
	if (block == NULL || block->size - block->used < length + 1) {
		size_t size = length + 1 > BLOCK_BYTES ? length + 1 : BLOCK_BYTES;

		block = malloc(sizeof(*block) + size);
		if (block == NULL) {
			*failed = true;
			return NULL;
		}
		*block = (struct timeline_block){.next = tl->blocks, .size = size};
		tl->blocks = block;
	}
	copy = block->bytes + block->used;
	memcpy(copy, text, length);
	copy[length] = '\0';
	block->used += length + 1;
	tl->text_bytes += length + 1;
	return copy;
}

const char *timeline_keep_string(struct timeline *tl, const char *text, bool *failed)
{
	return text == NULL ? NULL : timeline_keep(tl, text, strlen(text), failed);
}

bool timeline_same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* --------------------------------------------------------------- lives -- */

static struct timeline_life *life_at(struct timeline *tl, enum timeline_kind kind, uint32_t place)
{
	switch (kind) {
	case TIMELINE_SOCKET:
		return &tl->sockets[place].life;
	case TIMELINE_IMAGE:
		return &tl->images[place].life;
	case TIMELINE_HOLDER:
		return &tl->holders[place].life;
	case TIMELINE_ADDRESS:
		return &tl->addresses[place].life;
	case TIMELINE_INTERFACE:
		return &tl->interfaces[place].life;
	case TIMELINE_KINDS:
		break;
	}
	return NULL;
}

/* The last full reading that had ended when the frame in hand began. Event
 * frames are written when they are done, so a poll that was under way may
 * stand before or after them. */
static uint32_t full_before(const struct timeline *tl)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];
	size_t low = 0, high = tl->full_by_end_count;

	if (frame->kind != SNAP_EVENT)
		return tl->full_count > 0 ? tl->full[tl->full_count - 1] : TIMELINE_NONE;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (tl->frames[tl->full_by_end[middle]].end_ns <= frame->begin_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? tl->full_by_end[low - 1] : TIMELINE_NONE;
}

int timeline_note_full(struct timeline *tl)
{
	uint32_t now = (uint32_t)tl->count.frames - 1;

	if (grow_one(&tl->full, tl->full_count, &tl->full_capacity, sizeof(*tl->full)) != 0 ||
	    grow_one(&tl->full_by_end, tl->full_by_end_count, &tl->full_by_end_capacity,
		     sizeof(*tl->full_by_end)) != 0)
		return -1;
	while (tl->full_by_end_count > 0 &&
	       tl->frames[tl->full_by_end[tl->full_by_end_count - 1]].end_ns >=
		       tl->frames[now].end_ns)
		tl->full_by_end_count--;
	tl->full_by_end[tl->full_by_end_count++] = now;
	tl->full[tl->full_count++] = tl->last_full = now;
	return 0;
}

struct timeline_life timeline_life_begin(const struct timeline *tl, enum snap_op op)
{
	return (struct timeline_life){
		.first = (uint32_t)tl->count.frames - 1,
		.last = (uint32_t)tl->count.frames - 1,
		.absent_before = full_before(tl),
		.gone = TIMELINE_NONE,
		.state = op != SNAP_ONCE,
	};
}

void timeline_life_confirm(const struct timeline *tl, struct timeline_life *life, enum snap_op op)
{
	life->last = (uint32_t)tl->count.frames - 1;
	life->gone = TIMELINE_NONE; /* a single missed row is no absence */
	life->state = life->state || op != SNAP_ONCE;
}

/* The last full frame before this one confirmed what was in the state merely
 * by not saying "gone". */
void timeline_life_end(const struct timeline *tl, struct timeline_life *life, bool has_gone)
{
	uint32_t full = tl->last_full;

	if (life->state && full != TIMELINE_NONE && full > life->last)
		life->last = full;
	life->gone = has_gone ? (uint32_t)tl->count.frames - 1 : TIMELINE_NONE;
	life->state = false;
}

bool timeline_life_open(const struct timeline_life *life)
{
	return life->gone == TIMELINE_NONE;
}

static int push_sighting(struct timeline *tl, enum timeline_kind kind, uint32_t place)
{
	int64_t end_ns = tl->frames[tl->count.frames - 1].end_ns;
	size_t at = tl->sighting_count;

	if (grow_one(&tl->sightings, tl->sighting_count, &tl->sighting_capacity,
		     sizeof(*tl->sightings)) != 0)
		return -1;
	for (tl->sighting_count++; at > 0 && tl->sightings[(at - 1) / 2].end_ns > end_ns;
	     at = (at - 1) / 2) {
		walk_step();
		tl->sightings[at] = tl->sightings[(at - 1) / 2];
	}
	tl->sightings[at] =
		(struct timeline_sighting){.end_ns = end_ns, .kind = kind, .place = place};
	return 0;
}

static struct timeline_sighting pop_sighting(struct timeline *tl)
{
	struct timeline_sighting top = tl->sightings[0];
	struct timeline_sighting last = tl->sightings[--tl->sighting_count];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < tl->sighting_count) {
		walk_step();
		if (child + 1 < tl->sighting_count &&
		    tl->sightings[child + 1].end_ns < tl->sightings[child].end_ns)
			child++;
		if (tl->sightings[child].end_ns >= last.end_ns)
			break;
		tl->sightings[at] = tl->sightings[child];
		at = child;
	}
	tl->sightings[at] = last;
	return top;
}

/* After a full reading: what events had shown before it began, and it has not, is gone. What was
 * shown again later is settled by its later sighting. */
void timeline_settle_sightings(struct timeline *tl)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];

	while (tl->sighting_count > 0 && tl->sightings[0].end_ns <= frame->begin_ns) {
		struct timeline_sighting top = pop_sighting(tl);
		struct timeline_life *life = life_at(tl, top.kind, top.place);

		if (!life->state && timeline_life_open(life) &&
		    tl->frames[life->last].end_ns <= frame->begin_ns)
			timeline_life_end(tl, life, true);
	}
}

int timeline_note_life(struct timeline *tl, enum snap_op op, enum timeline_kind kind,
		       uint32_t place)
{
	struct timeline_life *life = life_at(tl, kind, place);
	struct timeline_open *open = &tl->open[kind];

	if (!life->listed) {
		if (grow_one(&open->places, open->count, &open->capacity, sizeof(*open->places)) !=
		    0)
			return -1;
		open->places[open->count++] = place;
		life->listed = true;
	}
	return op != SNAP_ONCE || life->state ? 0 : push_sighting(tl, kind, place);
}

/* A later key frame has everything; what it has not is gone. */
void timeline_end_unseen(struct timeline *tl)
{
	uint32_t now = (uint32_t)tl->count.frames - 1;

	for (int kind = 0; kind < TIMELINE_KINDS && now > 0; kind++) {
		struct timeline_open *open = &tl->open[kind];
		size_t kept = 0;

		for (size_t i = 0; i < open->count; i++) {
			struct timeline_life *life =
				life_at(tl, (enum timeline_kind)kind, open->places[i]);

			walk_step();
			if (timeline_life_open(life) && life->last < now)
				timeline_life_end(tl, life, true);
			life->listed = timeline_life_open(life);
			if (life->listed)
				open->places[kept++] = open->places[i];
		}
		open->count = kept;
	}
}

/* An ended life goes on if the same thing is seen again. An inode is not
 * reused before all 2^32 were; a row without one only if it was missing in
 * just the one full reading before this. */
bool timeline_life_resumes(const struct timeline *tl, const struct timeline_life *life,
			   bool has_identity)
{
	return timeline_life_open(life) || has_identity || life->gone == tl->last_full;
}

int timeline_index_latest(struct timeline *tl, struct hashindex *index, uint32_t before,
			  uint32_t place, uint64_t (*hash_of)(const void *, uint32_t))
{
	if (before == TIMELINE_NONE)
		return hashindex_add(index, hash_of(tl, place), place, hash_of, tl);
	hashindex_move(index, hash_of(tl, place), before, place);
	return 0;
}
