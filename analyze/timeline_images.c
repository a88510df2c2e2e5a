/* Since when each program image of a process was there. */
#include "analyze/timeline_internal.h"

#include <stdlib.h>

#include "analyze/grow.h"

int timeline_take_exec(struct timeline *tl, const struct snap_exec *exec)
{
	uint32_t process = timeline_need_process(tl, exec->pid, exec->start_ticks);

	if (process == TIMELINE_NONE ||
	    grow_one(&tl->execs, tl->count.execs, &tl->capacity.execs, sizeof(*tl->execs)) != 0)
		return -1;
	tl->execs[tl->count.execs++] =
		(struct timeline_exec){.process = process, .at_ns = exec->exec_ns};
	return 0;
}

static int compare_execs(const void *a, const void *b)
{
	const struct timeline_exec *p = a, *q = b;

	if (p->process != q->process)
		return p->process < q->process ? -1 : 1;
	return (p->at_ns > q->at_ns) - (p->at_ns < q->at_ns);
}

/* The execs of a process, in order: a place and a number. */
static size_t find_execs(const struct timeline *tl, uint32_t process, size_t *count)
{
	size_t low = 0, high = tl->count.execs;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tl->execs[middle].process < process)
			low = middle + 1;
		else
			high = middle;
	}
	for (*count = 0;
	     low + *count < tl->count.execs && tl->execs[low + *count].process == process;)
		++*count;
	return low;
}

bool timeline_exec_told(const struct timeline *tl, uint32_t image)
{
	size_t count, first = find_execs(tl, tl->images[image].process, &count);

	for (size_t i = first; i < first + count; i++) {
		if (tl->execs[i].at_ns == tl->images[image].since_ns)
			return true;
	}
	return false;
}

/* By readings alone: an event's is of what had just begun, and a whole one may
 * have come to the process at its end. */
static int64_t read_since(const struct timeline *tl, const struct timeline_image *image)
{
	const struct timeline_frame *frame = &tl->frames[image->life.first];

	return frame->kind == SNAP_EVENT ? frame->begin_ns : frame->end_ns;
}

/* Each image after the first was made by an exec between the reading that last
 * had the one before and the one that first had it: the last exec there that
 * made none of those after it. images: of the process, in order. */
static void settle_process(struct timeline *tl, const uint32_t *images, size_t image_count,
			   const struct timeline_exec *execs, size_t exec_count)
{
	for (size_t i = image_count; i-- > 1;) {
		struct timeline_image *image = &tl->images[images[i]];
		int64_t from_ns = tl->frames[tl->images[images[i - 1]].life.last].begin_ns;
		int64_t until_ns = tl->frames[image->life.first].end_ns;

		while (exec_count > 0 && execs[exec_count - 1].at_ns > until_ns)
			exec_count--;
		if (exec_count > 0 && execs[exec_count - 1].at_ns >= from_ns)
			image->since_ns = execs[--exec_count].at_ns;
		if (i + 1 < image_count && image->since_ns > tl->images[images[i + 1]].since_ns)
			image->since_ns = tl->images[images[i + 1]].since_ns;
	}
}

int timeline_settle_images(struct timeline *tl)
{
	uint32_t *images = malloc((tl->count.images + 1) * sizeof(*images));

	if (images == NULL)
		return -1;
	for (size_t i = 0; i < tl->count.images; i++)
		tl->images[i].since_ns = read_since(tl, &tl->images[i]);
	for (size_t i = 0; i < tl->count.execs; i++) {
		uint32_t same = tl->processes[tl->execs[i].process].same_as;

		if (same != TIMELINE_NONE)
			tl->execs[i].process = same;
	}
	if (tl->count.execs > 1)
		qsort(tl->execs, tl->count.execs, sizeof(*tl->execs), compare_execs);
	for (uint32_t p = 0; p < tl->count.processes && tl->count.execs > 0; p++) {
		size_t image_count = 0, exec_count, first;

		for (uint32_t i = tl->processes[p].first_image; i != TIMELINE_NONE;
		     i = tl->images[i].next)
			images[image_count++] = i;
		if (image_count < 2)
			continue;
		first = find_execs(tl, p, &exec_count);
		settle_process(tl, images, image_count, &tl->execs[first], exec_count);
	}
	free(images);
	return 0;
}
