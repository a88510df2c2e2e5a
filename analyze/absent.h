/*
 * absent.h - the segments of which a custody log says that they were closed, and which
 * are neither given nor logged as expired.
 */
#ifndef ANALYZE_ABSENT_H
#define ANALYZE_ABSENT_H

#include <stdbool.h>
#include <stddef.h>

#include "snapshot/format/evidence.h"

struct absent_note {
	struct evidence_stem stem;
	bool accounted; /* it is here, or it expired */
};

struct absent {
	struct absent_note *notes; /* owned */
	size_t count, capacity;
};

/* One segment was closed, or is accounted for; in any order, as often as wanted. 0, or -1 without
 * memory. */
int absent_note(struct absent *absent, const struct evidence_stem *stem, bool accounted);
/* How many were closed and are not accounted for, and the first of them. Sorts. */
size_t absent_count(struct absent *absent, struct evidence_stem *first);
void absent_release(struct absent *absent);

#endif
