/*
 * idruns.h - what becomes of the ids of a table when databases are joined.
 *
 * An id belongs to a unit (rows that are taken or left together) and has a rank
 * there: its place among the unit's rows of that table, from 0. Ids mostly follow
 * each other, so what is kept is runs, and their number does not grow with the rows.
 */
#ifndef ANALYZE_IDRUNS_H
#define ANALYZE_IDRUNS_H

#include <stddef.h>
#include <stdint.h>

struct idrun {
	int64_t first, count; /* ids first to first + count - 1 */
	int64_t rank;	      /* of the first */
	uint32_t unit;
};

struct idruns {
	struct idrun *runs;
	size_t count, capacity;
};

enum idruns_added {
	IDRUNS_ADDED,
	IDRUNS_NO_MEMORY,
	IDRUNS_NO_ORDER, /* not above the id before, or below 1 */
};

/* Ids in rising order. */
enum idruns_added idruns_add(struct idruns *ids, int64_t id, uint32_t unit, int64_t rank);

/* The run that has id, or NULL. *hint: the run found last, 0 at first; ids that are
 * asked for one after the other then cost no search. */
const struct idrun *idruns_find(const struct idruns *ids, int64_t id, size_t *hint);

void idruns_release(struct idruns *ids);

#endif
