#include "analyze/serving.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/serving_internal.h"
#include "analyze/walk.h"

static uint64_t hash_process(uint32_t recording, uint32_t pid, uint64_t start_ticks)
{
	const uint64_t words[2] = {(uint64_t)recording << 32 | pid, start_ticks};

	return hashindex_keyed(words, sizeof(words));
}

static uint64_t hash_of_process(const void *context, uint32_t place)
{
	const struct serving_row *r = &((const struct serving_book *)context)->rows[place];

	return hash_process(r->recording, r->pid, r->start_ticks);
}

static uint64_t hash_port(const struct serving_row *r)
{
	const uint64_t words[3] = {(uint64_t)r->recording << 32 | r->pid, r->start_ticks, r->port};

	return hashindex_keyed(words, sizeof(words));
}

static uint64_t hash_of_port(const void *context, uint32_t place)
{
	return hash_port(&((const struct serving_book *)context)->rows[place]);
}

static bool same_process(const struct serving_row *a, uint32_t recording, uint32_t pid,
			 uint64_t start_ticks)
{
	return a->recording == recording && a->pid == pid && a->start_ticks == start_ticks;
}

uint32_t serving_recording(struct serving_book *book, const char *uuid)
{
	for (size_t i = book->recording_count; i-- > 0;) {
		if (strcmp(book->recordings[i].uuid, uuid) == 0)
			return (uint32_t)i;
	}
	if (grow_one(&book->recordings, book->recording_count, &book->recording_capacity,
		     sizeof(*book->recordings)) != 0)
		return SERVING_NONE;
	book->recordings[book->recording_count] = (struct serving_recording){.uuid = strdup(uuid)};
	if (book->recordings[book->recording_count].uuid == NULL)
		return SERVING_NONE;
	return (uint32_t)book->recording_count++;
}

void serving_book_reached(struct serving_book *book, uint32_t recording, uint64_t number)
{
	struct serving_recording *r = &book->recordings[recording];

	if (number > r->last_number)
		r->last_number = number;
}

struct serving_row *serving_book_first(const struct serving_book *book, uint32_t recording,
				       uint32_t pid, uint64_t start_ticks)
{
	uint64_t hash = hash_process(recording, pid, start_ticks);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&book->by_process, hash, &probe)) != HASHINDEX_NONE) {
		if (same_process(&book->rows[i], recording, pid, start_ticks))
			return &book->rows[i];
	}
	return NULL;
}

struct serving_row *serving_book_find(const struct serving_book *book,
				      const struct serving_row *like)
{
	uint64_t hash = hash_port(like);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&book->by_port, hash, &probe)) != HASHINDEX_NONE) {
		struct serving_row *r = &book->rows[i];

		if (r->port == like->port &&
		    same_process(r, like->recording, like->pid, like->start_ticks))
			return r;
	}
	return NULL;
}

/* Whether it changes anything. */
static bool add_time(int64_t *to_ns, int64_t ns)
{
	if (ns >= *to_ns)
		return false;
	*to_ns = ns;
	return true;
}

static bool add_facts(struct serving_facts *to, const struct serving_facts *facts)
{
	bool changed = add_time(&to->listens_ns, facts->listens_ns);

	if (add_time(&to->serves_ns, facts->serves_ns)) {
		to->inode = facts->inode;
		changed = true;
	}
	changed |= add_time(&to->again_ns, facts->again_ns);
	changed |= add_time(&to->others_ns, facts->others_ns);
	return add_time(&to->hands_ns, facts->hands_ns) || changed;
}

int serving_book_put(struct serving_book *book, const struct serving_row *row,
		     const struct serving_row **changed)
{
	struct serving_row *there = serving_book_find(book, row), *first;
	const uint32_t place = (uint32_t)book->count;

	*changed = NULL;
	if (there != NULL) {
		if (add_facts(&there->facts, &row->facts))
			*changed = there;
		return 0;
	}
	if (book->count == SERVING_NONE ||
	    grow_one(&book->rows, book->count, &book->capacity, sizeof(*book->rows)) != 0)
		return -1;
	book->rows[book->count++] = *row;
	there = &book->rows[place];
	there->next = SERVING_NONE;
	there->count = 1;
	first = serving_book_first(book, row->recording, row->pid, row->start_ticks);
	if (first != NULL) {
		there->next = first->next;
		first->next = place;
		first->count++;
	} else if (hashindex_add(&book->by_process, hash_of_process(book, place), place,
				 hash_of_process, book) != 0) {
		return -1;
	}
	*changed = there;
	return hashindex_add(&book->by_port, hash_port(there), place, hash_of_port, book);
}

int serving_book_add(struct serving_book *book, const struct serving_row *row)
{
	const struct serving_row *changed;

	return serving_book_put(book, row, &changed);
}

void serving_book_release(struct serving_book *book)
{
	hashindex_release(&book->by_process);
	hashindex_release(&book->by_port);
	for (size_t i = 0; i < book->recording_count; i++)
		free(book->recordings[i].uuid);
	free(book->recordings);
	free(book->rows);
	*book = (struct serving_book){0};
}
