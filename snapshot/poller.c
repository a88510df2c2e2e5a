#include "snapshot/poller_internal.h"

#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

int poller_no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory while reading /proc");
}

static int compare_segments(const void *left, const void *right)
{
	const struct poller_segment *a = left, *b = right;

	return (a->netns > b->netns) - (a->netns < b->netns);
}

/* The rows of each namespace are sorted; put in the order of namespaces, all are. */
static int gather_sockets(struct poller *poller, struct error *error)
{
	struct procnet_rows *sockets = &poller->next->sockets;
	struct snap_socket *grown = procfs_grow(sockets->rows, &sockets->capacity,
						poller->rows.count + 1, sizeof(*grown));

	if (!grown)
		return poller_no_memory(error);
	sockets->rows = grown;
	qsort(poller->segments, poller->segment_count, sizeof(*poller->segments), compare_segments);
	for (size_t i = 0; i < poller->segment_count; i++) {
		const struct poller_segment *segment = &poller->segments[i];

		if (!segment->count)
			continue;
		memcpy(sockets->rows + sockets->count, poller->rows.rows + segment->first,
		       segment->count * sizeof(*grown));
		sockets->count += segment->count;
	}
	return 0;
}

/* ------------------------------------------------------------ absences -- */

static int note_absences(struct poller *poller)
{
	struct pollstate *next = poller->next;
	char buffer[PROCFS_ERRNO_SIZE];
	int result = 0;

	for (size_t i = 0; i < next->walk.process_count && !result; i++) {
		const struct procfs_process *process = &next->walk.processes[i];

		if (process->descriptors_errno)
			result = pollstate_add_absence(
				next, process->facts ? "descriptors" : "process", 0,
				process->stat.pid, "",
				procfs_errno_name(process->descriptors_errno, buffer));
		if (!result && process->facts && process->facts->cmdline_cut)
			result = pollstate_add_absence(next, "cmdline", 0, process->stat.pid, "",
						       "longer than 2 MiB");
	}
	/* hidepid hides others' processes unless one has the right to see them;
	 * pid 1 exists always and is mostly another's. */
	if (!result && poller->mounts.hidepid && !procfs_find(&next->walk, 1))
		result = pollstate_add_absence(next, "processes", 0, 0, "/proc", "hidepid");
	return result;
}

/* -------------------------------------------------------------- reading -- */

static int read_all(struct poller *poller, struct error *error)
{
	static const struct procfs_walk nothing;
	const struct procfs_walk *known = poller->has_state ? &poller->state->walk : &nothing;
	int result;

	pollstate_reset(poller->next);
	poller->rows.count = 0;
	poller->segment_count = 0;
	result = poller_read_own(poller, error);
	if (!result && poller->has_state)
		result = poller_read_known_namespaces(poller, error);
	if (!result)
		result = procfs_walk(poller->proc_fd, known, &poller->next->walk, error);
	if (!result)
		result = poller_read_walked_namespaces(poller, error);
	if (!result)
		result = poller_read_other_namespaces(poller, error);
	if (!result)
		result = poller_read_holders(poller, error);
	return result;
}

int poller_read(struct poller *poller, struct snapframe *frame, struct error *error)
{
	int64_t cpu = quantity_now_ns(CLOCK_THREAD_CPUTIME_ID);
	struct snap_frame *head = &frame->head;
	struct pollstate *read = poller->next;
	int result;

	poller->cost_ns = 0;
	head->monotonic_ns = quantity_now_ns(CLOCK_MONOTONIC);
	head->boot_ns = quantity_now_ns(CLOCK_BOOTTIME);
	head->begin_ns = quantity_now_ns(CLOCK_REALTIME);
	result = read_all(poller, error);
	head->end_ns = quantity_now_ns(CLOCK_REALTIME);
	if (!result)
		result = gather_sockets(poller, error);
	if (!result && note_absences(poller))
		result = poller_no_memory(error);
	if (!result) {
		pollstate_sort(read);
		pollstate_difference(
			frame, head->kind == SNAP_KEY || !poller->has_state ? NULL : poller->state,
			read);
		if (frame->failed)
			result = poller_no_memory(error);
	}
	if (!result) {
		read->head = *head;
		poller->next = poller->state;
		poller->state = read;
		poller->has_state = true;
	}
	poller->cost_ns += quantity_now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	return result;
}

void poller_restate(struct poller *poller, struct snapframe *frame)
{
	const struct snap_frame *head = &poller->state->head;

	frame->head.sequence = head->sequence;
	frame->head.begin_ns = head->begin_ns;
	frame->head.end_ns = head->end_ns;
	frame->head.monotonic_ns = head->monotonic_ns;
	frame->head.boot_ns = head->boot_ns;
	pollstate_difference(frame, NULL, poller->state);
}

const struct pollstate *poller_state(const struct poller *poller)
{
	return poller->state;
}

int64_t poller_cost_ns(const struct poller *poller)
{
	return poller->cost_ns;
}

void poller_counts(const struct poller *poller, uint64_t *sockets, uint64_t *processes,
		   uint64_t *holders)
{
	*sockets = poller->state->sockets.count;
	*processes = poller->state->walk.process_count;
	*holders = poller->state->walk.holder_count;
}

/* ----------------------------------------------------------------- life -- */

int poller_new(const struct poller_config *config, struct poller **out, struct error *error)
{
	struct poller *poller;
	struct statfs info;
	struct stat status;

	if (fstat(config->proc_fd, &status) || fstatfs(config->proc_fd, &info))
		return error_errno(error, "/proc", "cannot use it");
	poller = calloc(1, sizeof(*poller));
	if (!poller)
		return poller_no_memory(error);
	poller->proc_fd = config->proc_fd;
	poller->is_procfs = info.f_type == PROC_SUPER_MAGIC;
	poller->device = status.st_dev;
	poller->mountinfo_fd = -1;
	poller->state = calloc(1, sizeof(*poller->state));
	poller->next = calloc(1, sizeof(*poller->next));
	if (!poller->state || !poller->next) {
		poller_free(poller);
		return poller_no_memory(error);
	}
	*out = poller;
	return 0;
}

void poller_free(struct poller *poller)
{
	if (!poller)
		return;
	if (poller->mountinfo_fd >= 0)
		close(poller->mountinfo_fd);
	if (poller->state)
		pollstate_release(poller->state);
	if (poller->next)
		pollstate_release(poller->next);
	free(poller->state);
	free(poller->next);
	mounts_release(&poller->mounts);
	procfs_text_release(&poller->scratch);
	procnet_rows_release(&poller->rows);
	free(poller->segments);
	free(poller->inodes.items);
	free(poller->ownerless.items);
	free(poller->vain.items);
	free(poller->still_vain.items);
	free(poller);
}
