#include "analyze/merge_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/arguments.h"
#include "analyze/grow.h"

static uint64_t hash_process(int64_t boot, uint32_t pid, uint64_t start_ticks)
{
	return hashindex_mix((uint64_t)boot ^ pid ^
			     hashindex_mix(start_ticks ^ hashindex_seed) * 31);
}

uint64_t merge_hash_of_process(const void *context, uint32_t place)
{
	const struct merge_process *p = &((const struct merge *)context)->processes[place];

	return hash_process(p->boot, p->pid, p->start_ticks);
}

bool merge_same_process(const void *left, const void *right)
{
	const struct merge_process *a = left, *b = right;

	return a->boot == b->boot && a->pid == b->pid && a->start_ticks == b->start_ticks;
}

static struct merge_process *find_process(struct merge *merge, uint32_t pid, uint64_t start_ticks)
{
	const struct merge_process wanted = {
		.boot = merge->recording->boot, .pid = pid, .start_ticks = start_ticks};
	uint64_t hash = hash_process(wanted.boot, pid, start_ticks);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&merge->processes_index, hash, &probe)) != HASHINDEX_NONE) {
		struct merge_process *p = &merge->processes[i];

		if (merge_same_process(p, &wanted))
			return p;
	}
	return NULL;
}

static int image_facts(const struct timeline_image *image, struct merge_digest *out,
		       struct error *error)
{
	const struct merge_text texts[] = {{&image->uid, sizeof(image->uid)},
					   merge_text(image->comm),
					   merge_text(image->exe),
					   {image->cmdline, image->cmdline_length}};

	return merge_digest(texts, sizeof(texts) / sizeof(*texts), out, error);
}

/* The one before, gone beyond: it is met again where a segment begins. */
static bool is_previous(const struct merge_process *have, const struct merge_digest *facts)
{
	return have->previous_id != 0 && merge_same_digest(&have->previous_facts, facts);
}

static int put_process(struct merge *merge, const struct merge_process *p, uint32_t process,
		       uint32_t image, bool insert, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_process *tp = &tl->processes[process];
	struct store_process row = {
		.process_id = p->process_id,
		.recording_id = p->row_recording_id,
		.pid = p->pid,
		.start_ticks = p->start_ticks <= INT64_MAX ? (int64_t)p->start_ticks : STORE_NULL,
		.start_ns = p->start_ns,
		.image = p->image,
		.parent_process_id = p->parent_process_id,
		.ppid = STORE_NULL,
		.uid = STORE_NULL,
		.net_namespace = STORE_NULL,
		.first_seen_ns = p->first_seen_ns,
		.last_seen_ns = STORE_NULL,
		.exit_ns = tp->exit_ns != 0 ? tp->exit_ns : STORE_NULL,
		.exit_code = tp->exit_known ? tp->exit_code : STORE_NULL,
	};
	char container[ARGUMENTS_CONTAINER_SIZE];
	char *cmdline = NULL;
	int status;

	if (image != TIMELINE_NONE) {
		const struct timeline_image *i = &tl->images[image];

		row.ppid = i->ppid;
		row.uid = i->uid != SNAP_UNKNOWN_UID ? (int64_t)i->uid : STORE_NULL;
		row.comm = i->comm;
		row.exe = i->exe;
		row.cmdline = cmdline = arguments_join(i->cmdline, i->cmdline_length);
		row.cgroup = i->cgroup;
		row.container_id = arguments_container(i->cgroup, container);
		row.net_namespace = i->netns != 0 ? (int64_t)i->netns : STORE_NULL;
		row.last_seen_ns = merge_seen_last(merge, &i->life);
	}
	status = store_process(merge->store, &row, insert, error);
	free(cmdline);
	return status;
}

static bool is_repeated(const struct merge *merge, uint32_t frame)
{
	return frame > 0 && merge->frame_ids[frame] < merge->first_new_snapshot_id;
}

/* One row for an image: the known one goes on if it is the same program. */
static int merge_image(struct merge *merge, uint32_t process, uint32_t image, int64_t *id,
		       struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_process *tp = &tl->processes[process];
	struct merge_digest facts = {0};
	struct merge_process *have = find_process(merge, tp->pid, tp->start_ticks);
	bool insert;

	if (image != TIMELINE_NONE && image_facts(&tl->images[image], &facts, error) != 0)
		return error->code;
	insert = have == NULL || !merge_same_digest(&have->facts, &facts);
	if (have != NULL && image == TIMELINE_NONE)
		insert = false; /* its facts were seen before */
	/* A frame that stands in two segments tells nothing new the second time. */
	if (insert && have != NULL && is_repeated(merge, tl->images[image].life.first)) {
		have->recording_id = merge->recording->recording_id;
		have->seen = true;
		*id = is_previous(have, &facts) ? have->previous_id : have->process_id;
		return 0;
	}
	if (insert && have != NULL && is_previous(have, &facts) && tl->frames[0].restated &&
	    tl->images[image].life.first == 0) {
		have->recording_id = merge->recording->recording_id;
		have->seen = true;
		*id = have->previous_id;
		return 0;
	}
	if (have == NULL) {
		uint32_t place = (uint32_t)merge->processes_count;

		if (grow_one(&merge->processes, merge->processes_count, &merge->processes_capacity,
			     sizeof(*merge->processes)) != 0)
			return merge_no_memory(error);
		have = &merge->processes[merge->processes_count++];
		*have = (struct merge_process){
			.boot = merge->recording->boot,
			.pid = tp->pid,
			.start_ticks = tp->start_ticks,
			.start_ns = tp->start_ns != INT64_MIN ? tp->start_ns : STORE_NULL,
		};
		if (hashindex_add(&merge->processes_index,
				  hash_process(have->boot, have->pid, have->start_ticks), place,
				  merge_hash_of_process, merge) != 0)
			return merge_no_memory(error);
	}
	if (insert) {
		have->previous_facts = have->facts;
		have->previous_id = have->process_id;
		have->process_id = ++merge->process_id;
		have->row_recording_id = merge->recording->recording_id;
		have->image++;
		have->facts = facts;
		have->first_seen_ns = image == TIMELINE_NONE
					      ? STORE_NULL
					      : merge_seen_first(merge, &tl->images[image].life);
	}
	have->recording_id = merge->recording->recording_id;
	have->seen = true;
	*id = have->process_id;
	if (!insert && image == TIMELINE_NONE)
		return 0;
	return put_process(merge, have, process, image, insert, error);
}

static int merge_parents(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	int status = 0;

	for (size_t i = 0; i < tl->count.processes && status == 0; i++) {
		const struct timeline_process *tp = &tl->processes[i];
		struct merge_process *have =
			tp->same_as != TIMELINE_NONE
				? NULL
				: find_process(merge, tp->pid, tp->start_ticks);
		uint32_t last = tp->last_image, found;
		int64_t parent;

		if (have == NULL || have->parent_process_id != 0 || last == TIMELINE_NONE)
			continue;
		/* The latest process of that pid that had started when the child did. */
		found = timeline_process_of(tl, tl->images[last].ppid, tp->start_ticks);
		parent = found == TIMELINE_NONE ? 0 : merge->process_ids[found];
		if (parent == 0 || parent == have->process_id)
			continue;
		have->parent_process_id = parent;
		status = put_process(merge, have, (uint32_t)i, last, false, error);
	}
	return status;
}

int merge_processes(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	int status = 0;

	for (uint32_t p = 0; p < tl->count.processes && status == 0; p++) {
		uint32_t image = tl->processes[p].first_image;

		if (tl->processes[p].same_as != TIMELINE_NONE)
			continue;
		if (image == TIMELINE_NONE)
			status = merge_image(merge, p, image, &merge->process_ids[p], error);
		for (; image != TIMELINE_NONE && status == 0; image = tl->images[image].next) {
			status = merge_image(merge, p, image, &merge->image_ids[image], error);
			merge->process_ids[p] = merge->image_ids[image];
		}
	}
	return status == 0 ? merge_parents(merge, error) : status;
}
