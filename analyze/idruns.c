#include "analyze/idruns.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "analyze/grow.h"

enum idruns_added idruns_add(struct idruns *ids, int64_t id, uint32_t unit, int64_t rank)
{
	struct idrun *last = ids->count > 0 ? &ids->runs[ids->count - 1] : NULL;

	if (id < 1 || (last != NULL && id - last->first < last->count))
		return IDRUNS_NO_ORDER;
	if (last != NULL && unit == last->unit && id - last->first == last->count &&
	    rank - last->rank == last->count) {
		last->count++;
		return IDRUNS_ADDED;
	}
	if (grow_one(&ids->runs, ids->count, &ids->capacity, sizeof(*ids->runs)) != 0)
		return IDRUNS_NO_MEMORY;
	assert(ids->runs);
	ids->runs[ids->count++] =
		(struct idrun){.first = id, .count = 1, .rank = rank, .unit = unit};
	return IDRUNS_ADDED;
}

static bool has(const struct idrun *run, int64_t id)
{
	return id >= run->first && id - run->first < run->count;
}

const struct idrun *idruns_find(const struct idruns *ids, int64_t id, size_t *hint)
{
	size_t low = 0, high = ids->count;

	if (*hint < ids->count && has(&ids->runs[*hint], id))
		return &ids->runs[*hint];
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ids->runs[middle].first <= id)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || !has(&ids->runs[low - 1], id))
		return NULL;
	*hint = low - 1;
	return &ids->runs[low - 1];
}

void idruns_release(struct idruns *ids)
{
	free(ids->runs);
	*ids = (struct idruns){0};
}
