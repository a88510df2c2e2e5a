#include "snapshot/pollstate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/format/error.h"

void pollstate_reset(struct pollstate *state)
{
	procfs_walk_reset(&state->walk);
	state->netns_count = 0;
	state->absence_count = 0;
	state->netif.interface_count = 0;
	state->netif.address_count = 0;
	state->sockets.count = 0;
}

void pollstate_release(struct pollstate *state)
{
	procfs_walk_release(&state->walk);
	netif_list_release(&state->netif);
	procnet_rows_release(&state->sockets);
	free(state->netns);
	free(state->absences);
	*state = (struct pollstate){0};
}

int pollstate_add_netns(struct pollstate *state, uint64_t netns, uint32_t via_pid, bool is_capture)
{
	struct snap_netns *grown = procfs_grow(state->netns, &state->netns_capacity,
					       state->netns_count + 1, sizeof(*grown));

	if (!grown)
		return ERROR_MEMORY;
	state->netns = grown;
	state->netns[state->netns_count++] =
		(struct snap_netns){.netns = netns, .via_pid = via_pid, .is_capture = is_capture};
	return 0;
}

int pollstate_add_absence(struct pollstate *state, const char *what, uint64_t netns, uint32_t pid,
			  const char *subject, const char *reason)
{
	struct pollstate_absence *grown = procfs_grow(state->absences, &state->absence_capacity,
						      state->absence_count + 1, sizeof(*grown));
	struct pollstate_absence *item;

	if (!grown)
		return ERROR_MEMORY;
	state->absences = grown;
	item = &state->absences[state->absence_count++];
	memset(item, 0, sizeof(*item));
	item->what = what;
	item->netns = netns;
	item->pid = pid;
	snprintf(item->subject, sizeof(item->subject), "%s", subject);
	snprintf(item->reason, sizeof(item->reason), "%s", reason);
	return 0;
}

/* ------------------------------------------------- each kind of record -- */

/* compare: by identity. same: nothing recorded differs. record: fills u of
 * *record; false: this item is not recorded. */
struct kind {
	enum snap_type type;
	size_t size;
	int (*compare)(const void *a, const void *b);
	bool (*same)(const void *a, const void *b);
	bool (*record)(const void *item, struct snap_record *record);
};

static int order(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* Where the identity is all there is. */
static bool always_same(const void *a, const void *b)
{
	(void)a;
	(void)b;
	return true;
}

static int compare_netns(const void *left, const void *right)
{
	const struct snap_netns *a = left, *b = right;

	return order(a->netns, b->netns);
}

static bool same_netns(const void *left, const void *right)
{
	const struct snap_netns *a = left, *b = right;

	return a->via_pid == b->via_pid && a->is_capture == b->is_capture;
}

static bool record_netns(const void *item, struct snap_record *record)
{
	record->u.netns = *(const struct snap_netns *)item;
	return true;
}

static int compare_interface(const void *a, const void *b)
{
	return netif_interface_compare(a, b);
}

static bool same_interface(const void *left, const void *right)
{
	const struct netif_interface *a = left, *b = right;

	return a->hardware_type == b->hardware_type && !strcmp(a->name, b->name);
}

static bool record_interface(const void *item, struct snap_record *record)
{
	const struct netif_interface *interface = item;

	record->u.interface = (struct snap_interface){.netns = interface->netns,
						      .ifindex = interface->ifindex,
						      .name = interface->name,
						      .hardware_type = interface->hardware_type};
	return true;
}

static int compare_address(const void *a, const void *b)
{
	return netif_address_compare(a, b);
}

static bool record_address(const void *item, struct snap_record *record)
{
	record->u.address = *(const struct snap_address *)item;
	return true;
}

static int compare_absence(const void *left, const void *right)
{
	const struct pollstate_absence *a = left, *b = right;
	int result = strcmp(a->what, b->what);

	if (!result)
		result = order(a->netns, b->netns);
	if (!result)
		result = order(a->pid, b->pid);
	return result ? result : strcmp(a->subject, b->subject);
}

static bool same_absence(const void *left, const void *right)
{
	const struct pollstate_absence *a = left, *b = right;

	return !strcmp(a->reason, b->reason);
}

static bool record_absence(const void *item, struct snap_record *record)
{
	const struct pollstate_absence *absence = item;

	record->u.absent = (struct snap_absent){.what = absence->what,
						.netns = absence->netns,
						.pid = absence->pid,
						.subject = absence->subject,
						.reason = absence->reason};
	return true;
}

static int compare_process(const void *left, const void *right)
{
	const struct procfs_process *a = left, *b = right;
	int result = order(a->stat.pid, b->stat.pid);

	if (!result)
		result = order(a->stat.start_ticks, b->stat.start_ticks);
	return result ? result : order(a->facts != NULL, b->facts != NULL);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* The parent is left out: it changes when the old one dies, and then says
 * less than before. */
static bool same_process(const void *left, const void *right)
{
	const struct procfs_facts *f = ((const struct procfs_process *)left)->facts;
	const struct procfs_facts *g = ((const struct procfs_process *)right)->facts;
	const struct snap_process *a, *b;

	if (f == g)
		return true;
	a = &f->record;
	b = &g->record;
	return a->uid == b->uid && a->netns == b->netns && same_text(a->comm, b->comm) &&
	       same_text(a->exe, b->exe) && same_text(a->cgroup, b->cgroup) &&
	       a->cmdline_length == b->cmdline_length && !a->cmdline == !b->cmdline &&
	       (!a->cmdline || !memcmp(a->cmdline, b->cmdline, a->cmdline_length));
}

static bool record_process(const void *item, struct snap_record *record)
{
	const struct procfs_process *process = item;

	if (!process->facts)
		return false;
	record->u.process = process->facts->record;
	return true;
}

static int compare_socket(const void *a, const void *b)
{
	return procnet_socket_compare(a, b);
}

static bool same_socket(const void *left, const void *right)
{
	const struct snap_socket *a = left, *b = right;

	return a->state == b->state && a->uid == b->uid && a->ifindex == b->ifindex;
}

static bool record_socket(const void *item, struct snap_record *record)
{
	record->u.socket = *(const struct snap_socket *)item;
	return true;
}

static int compare_holder(const void *a, const void *b)
{
	return procfs_holder_compare(a, b);
}

static bool record_holder(const void *item, struct snap_record *record)
{
	record->u.holder = *(const struct snap_holder *)item;
	return true;
}

static const struct kind netns_kind = {SNAP_TYPE_NETNS, sizeof(struct snap_netns), compare_netns,
				       same_netns, record_netns};
static const struct kind interface_kind = {SNAP_TYPE_INTERFACE, sizeof(struct netif_interface),
					   compare_interface, same_interface, record_interface};
static const struct kind address_kind = {SNAP_TYPE_ADDRESS, sizeof(struct snap_address),
					 compare_address, always_same, record_address};
static const struct kind absence_kind = {SNAP_TYPE_ABSENT, sizeof(struct pollstate_absence),
					 compare_absence, same_absence, record_absence};
static const struct kind process_kind = {SNAP_TYPE_PROCESS, sizeof(struct procfs_process),
					 compare_process, same_process, record_process};
static const struct kind socket_kind = {SNAP_TYPE_SOCKET, sizeof(struct snap_socket),
					compare_socket, same_socket, record_socket};
static const struct kind holder_kind = {SNAP_TYPE_HOLDER, sizeof(struct snap_holder),
					compare_holder, always_same, record_holder};

/* ---------------------------------------------------------------- order -- */

/* Keeps the first of equal items; returns the count that remains. */
static size_t sort_unique(const struct kind *kind, void *items, size_t count)
{
	char *bytes = items;
	size_t kept = 0;

	if (count < 2)
		return count;
	qsort(items, count, kind->size, kind->compare);
	for (size_t i = 0; i < count; i++) {
		const char *item = bytes + i * kind->size;

		if (kept && !kind->compare(bytes + (kept - 1) * kind->size, item))
			continue;
		if (kept != i)
			memcpy(bytes + kept * kind->size, item, kind->size);
		kept++;
	}
	return kept;
}

void pollstate_sort(struct pollstate *state)
{
	state->netns_count = sort_unique(&netns_kind, state->netns, state->netns_count);
	state->absence_count = sort_unique(&absence_kind, state->absences, state->absence_count);
	state->walk.holder_count =
		sort_unique(&holder_kind, state->walk.holders, state->walk.holder_count);
	netif_list_sort(&state->netif);
}

/* ----------------------------------------------------------- difference -- */

struct items {
	const void *at;
	size_t count;
};

static void add(struct snapframe *frame, const struct kind *kind, enum snap_op op, const void *item)
{
	struct snap_record record;

	memset(&record, 0, sizeof(record));
	record.type = kind->type;
	record.op = op;
	if (kind->record(item, &record))
		snapframe_add(frame, &record);
}

/* One merge of both lists: with gone the items that only before has, else
 * those that are new or changed. */
static void merge(struct snapframe *frame, const struct kind *kind, struct items before,
		  struct items after, bool gone)
{
	const char *old = before.at, *new = after.at;
	size_t i = 0, j = 0;

	while (i < before.count || j < after.count) {
		const char *a = i < before.count ? old + i * kind->size : NULL;
		const char *b = j < after.count ? new + j * kind->size : NULL;
		int difference = !a ? 1 : !b ? -1 : kind->compare(a, b);

		if (difference < 0 && gone)
			add(frame, kind, SNAP_GONE, a);
		else if (difference > 0 && !gone)
			add(frame, kind, SNAP_ADD, b);
		else if (difference == 0 && !gone && !kind->same(a, b))
			add(frame, kind, SNAP_CHANGE, b);
		i += difference <= 0;
		j += difference >= 0;
	}
}

static void differ(struct snapframe *frame, const struct kind *kind, const void *before,
		   size_t before_count, const void *after, size_t after_count)
{
	struct items old = {before, before_count}, new = {after, after_count};

	if (before_count)
		merge(frame, kind, old, new, true);
	merge(frame, kind, old, new, false);
}

void pollstate_difference(struct snapframe *frame, const struct pollstate *before,
			  const struct pollstate *after)
{
	static const struct pollstate nothing;

	if (!before)
		before = &nothing;
	differ(frame, &netns_kind, before->netns, before->netns_count, after->netns,
	       after->netns_count);
	differ(frame, &interface_kind, before->netif.interfaces, before->netif.interface_count,
	       after->netif.interfaces, after->netif.interface_count);
	differ(frame, &address_kind, before->netif.addresses, before->netif.address_count,
	       after->netif.addresses, after->netif.address_count);
	differ(frame, &absence_kind, before->absences, before->absence_count, after->absences,
	       after->absence_count);
	differ(frame, &process_kind, before->walk.processes, before->walk.process_count,
	       after->walk.processes, after->walk.process_count);
	differ(frame, &socket_kind, before->sockets.rows, before->sockets.count,
	       after->sockets.rows, after->sockets.count);
	differ(frame, &holder_kind, before->walk.holders, before->walk.holder_count,
	       after->walk.holders, after->walk.holder_count);
}
