#include "analyze/absent.h"

#include <stdlib.h>

#include "analyze/grow.h"

int absent_note(struct absent *absent, const struct evidence_stem *stem, bool accounted)
{
	if (grow_one(&absent->notes, absent->count, &absent->capacity, sizeof(*absent->notes)) != 0)
		return -1;
	absent->notes[absent->count++] = (struct absent_note){*stem, accounted};
	return 0;
}

/* What accounts for a segment comes first of what is noted of it. */
static int compare_notes(const void *left, const void *right)
{
	const struct absent_note *a = left, *b = right;
	int order = evidence_compare(&a->stem, &b->stem);

	return order != 0 ? order : (int)b->accounted - (int)a->accounted;
}

size_t absent_count(struct absent *absent, struct evidence_stem *first)
{
	size_t count = 0;

	if (absent->count > 0)
		qsort(absent->notes, absent->count, sizeof(*absent->notes), compare_notes);
	for (size_t i = 0; i < absent->count; i++) {
		const struct absent_note *note = &absent->notes[i];

		if (note->accounted ||
		    (i > 0 && evidence_compare(&note[-1].stem, &note->stem) == 0))
			continue;
		if (count++ == 0)
			*first = note->stem;
	}
	return count;
}

void absent_release(struct absent *absent)
{
	free(absent->notes);
	*absent = (struct absent){0};
}
