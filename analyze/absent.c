#include "analyze/absent.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"

int absent_note(struct absent *absent, const struct evidence_stem *stem, const char *directory)
{
	if (grow_one(&absent->notes, absent->count, &absent->capacity, sizeof(*absent->notes)) != 0)
		return -1;
	absent->notes[absent->count++] = (struct absent_note){*stem, directory};
	return 0;
}

/* What accounts for a segment comes first of what is noted of it. */
static int compare_notes(const void *left, const void *right)
{
	const struct absent_note *a = left, *b = right;
	int order = evidence_compare(&a->stem, &b->stem);

	if (order != 0)
		return order;
	if (a->directory == NULL || b->directory == NULL)
		return (a->directory != NULL) - (b->directory != NULL);
	return strcmp(a->directory, b->directory);
}

static int compare_directories(const void *left, const void *right)
{
	const struct absent_note *a = left, *b = right;
	int order = strcmp(a->directory, b->directory);

	return order != 0 ? order : evidence_compare(&a->stem, &b->stem);
}

void absent_reduce(struct absent *absent)
{
	struct absent_note *notes = absent->notes;
	size_t kept = 0;

	if (absent->count == 0)
		return;
	qsort(notes, absent->count, sizeof(*notes), compare_notes);
	for (size_t i = 0, next; i < absent->count; i = next) {
		const struct absent_note note = notes[i];

		next = i + 1;
		while (next < absent->count && evidence_compare(&notes[next].stem, &note.stem) == 0)
			next++;
		if (note.directory != NULL)
			notes[kept++] = note;
	}
	absent->count = kept;
	if (kept > 0)
		qsort(notes, kept, sizeof(*notes), compare_directories);
}

void absent_release(struct absent *absent)
{
	free(absent->notes);
	*absent = (struct absent){0};
}
