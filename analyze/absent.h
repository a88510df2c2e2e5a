/*
 * absent.h - the segments of which a custody log says that they were closed, and which
 * are neither given nor logged as expired.
 */
#ifndef ANALYZE_ABSENT_H
#define ANALYZE_ABSENT_H

#include <stddef.h>

#include "snapshot/format/evidence.h"

struct absent_note {
	struct evidence_stem stem;
	const char *directory; /* whose log has it; borrowed; NULL: it is here, or it expired */
};

struct absent {
	struct absent_note *notes; /* owned */
	size_t count, capacity;
};

/* One segment was closed, as the log of a directory says, or is accounted for (directory NULL); in
 * any order, as often as wanted. 0, or -1 without memory. */
int absent_note(struct absent *absent, const struct evidence_stem *stem, const char *directory);
/* Leaves those that were closed and are not accounted for, each once, by directory and segment; of
 * one that several logs have, the first directory. */
void absent_reduce(struct absent *absent);
void absent_release(struct absent *absent);

#endif
