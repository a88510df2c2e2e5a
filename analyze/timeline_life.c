#include "analyze/timeline_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"

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

/* --------------------------------------------------------------- lives -- */

static struct timeline_life *sighted_life(struct timeline *tl, const struct timeline_sighting *at)
{
	switch (at->kind) {
	case SIGHTED_SOCKET:
		return &tl->sockets[at->place].life;
	case SIGHTED_IMAGE:
		return &tl->images[at->place].life;
	case SIGHTED_HOLDER:
		return &tl->holders[at->place].life;
	}
	return NULL;
}

/* The last full reading that had ended when the frame in hand began. Event
 * frames are written when they are done, so a poll that was under way may
 * stand before or after them. */
static uint32_t full_before(const struct timeline *tl)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];

	for (size_t i = tl->full_count; i > 0; i--) {
		if (tl->frames[tl->full[i - 1]].end_ns <= frame->begin_ns ||
		    frame->kind != SNAP_EVENT)
			return tl->full[i - 1];
	}
	return TIMELINE_NONE;
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

int timeline_note_sighting(struct timeline *tl, enum snap_op op, const struct timeline_life *life,
			   int kind, uint32_t place)
{
	if (op != SNAP_ONCE || life->state)
		return 0;
	if (grow_one(&tl->sightings, tl->sighting_count, &tl->sighting_capacity,
		     sizeof(*tl->sightings)) != 0)
		return -1;
	tl->sightings[tl->sighting_count++] =
		(struct timeline_sighting){.kind = kind, .place = place};
	return 0;
}

/* After a full reading: what events had shown before it began, and it has not, is gone. */
void timeline_settle_sightings(struct timeline *tl)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];
	size_t kept = 0;

	for (size_t i = 0; i < tl->sighting_count; i++) {
		struct timeline_life *life = sighted_life(tl, &tl->sightings[i]);

		if (life->state || !timeline_life_open(life))
			continue;
		if (tl->frames[life->last].end_ns <= frame->begin_ns)
			timeline_life_end(tl, life, true);
		else
			tl->sightings[kept++] = tl->sightings[i];
	}
	tl->sighting_count = kept;
}

/* An ended life goes on if the same thing is seen again. An inode is not
 * reused before all 2^32 were; a row without one only if it was missing in
 * just the one full reading before this. */
bool timeline_life_resumes(const struct timeline *tl, const struct timeline_life *life,
			   bool has_identity)
{
	return timeline_life_open(life) || has_identity || life->gone == tl->last_full;
}
