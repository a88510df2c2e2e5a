/* The tables, interfaces and addresses of each network namespace of the host, and the ways into it.
 */
#include "snapshot/poller_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_read(const struct poller *poller, uint64_t netns)
{
	for (size_t i = 0; i < poller->segment_count; i++) {
		if (poller->segments[i].netns == netns)
			return true;
	}
	return false;
}

static int add_segment(struct poller *poller, uint64_t netns, size_t first)
{
	struct poller_segment *grown = procfs_grow(poller->segments, &poller->segment_capacity,
						   poller->segment_count + 1, sizeof(*grown));

	if (!grown)
		return ERROR_MEMORY;
	poller->segments = grown;
	poller->segments[poller->segment_count++] = (struct poller_segment){
		.netns = netns, .first = first, .count = poller->rows.count - first};
	return 0;
}

static int add_gaps(struct pollstate *state, uint64_t netns, const struct procnet_gaps *gaps)
{
	char buffer[PROCFS_ERRNO_SIZE];
	int result = 0;

	for (enum snap_table table = SNAP_TCP; table < SNAP_TABLE_END && !result; table++) {
		const char *name = snap_table_name(table);

		if (gaps->reason[table])
			result = pollstate_add_absence(
				state, "table", netns, 0, name,
				procfs_errno_name(gaps->reason[table], buffer));
		else if (gaps->bad_rows[table])
			result = pollstate_add_absence(state, "rows", netns, 0, name, "damaged");
	}
	return result;
}

enum way_of_reading {
	BY_TEXT,   /* /proc/net only */
	DUMP_TCP,  /* the calling thread is in the namespace: the kernel is asked for TCP */
	DUMP_MOST, /* and for interfaces and addresses */
};

/* Tables, interfaces and addresses of netns through the directory base/net,
 * where base is one of /proc's for a process or thread. Nothing is kept when
 * base is not in netns at the end: its process went or moved meanwhile.
 * *reason: 0, or the errno why it is not read. 0 or negative. */
static int read_namespace(struct poller *poller, const char *base, uint64_t netns,
			  enum way_of_reading how, int *reason, struct error *error)
{
	struct pollstate *next = poller->next;
	size_t rows = poller->rows.count, interfaces = next->netif.interface_count;
	size_t addresses = next->netif.address_count;
	char path[64], buffer[PROCFS_ERRNO_SIZE];
	struct procnet_gaps gaps = {0};
	int net_fd, result, netif;

	snprintf(path, sizeof(path), "%s/net", base);
	net_fd = openat(poller->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*reason = net_fd < 0 ? errno : 0;
	if (net_fd < 0)
		return 0;
	result = (how == BY_TEXT ? procnet_read : procnet_read_inside)(
		net_fd, netns, &poller->scratch, &poller->rows, &gaps, error);
	netif = how == DUMP_MOST ? netif_read_live(netns, &next->netif) : -1;
	if (netif)
		netif = netif_read_proc(net_fd, netns, &poller->scratch, &next->netif);
	close(net_fd);
	if (result)
		return result;
	snprintf(path, sizeof(path), "%s/ns/net", base);
	if (netns && procfs_read_netns(poller->proc_fd, path, reason) != netns) {
		poller->rows.count = rows;
		next->netif.interface_count = interfaces;
		next->netif.address_count = addresses;
		if (!*reason)
			*reason = ESRCH;
		return 0;
	}
	*reason = 0;
	if (netif == ENOMEM || add_segment(poller, netns, rows) || add_gaps(next, netns, &gaps) ||
	    (netif && pollstate_add_absence(next, "addresses", netns, 0, "",
					    procfs_errno_name(netif, buffer))))
		return poller_no_memory(error);
	return 0;
}

int poller_read_own(struct poller *poller, struct error *error)
{
	char buffer[PROCFS_ERRNO_SIZE];
	int reason, result;
	uint64_t own = procfs_read_netns(poller->proc_fd, "self/ns/net", &reason);

	if (reason && pollstate_add_absence(poller->next, "netns", 0, 0, "self",
					    procfs_errno_name(reason, buffer)))
		return poller_no_memory(error);
	result = read_namespace(poller, "self", own, poller->is_procfs ? DUMP_MOST : BY_TEXT,
				&reason, error);
	if (result)
		return result;
	if (reason) {
		errno = reason;
		return error_errno(error, "/proc/self/net",
				   "cannot read the capture's own network namespace");
	}
	return pollstate_add_netns(poller->next, own, 0, true) ? poller_no_memory(error) : 0;
}

struct visit {
	struct poller *poller;
	uint64_t netns;
	enum way_of_reading how;
	int reason, result;
	struct error *error;
};

static void visit_namespace(void *context)
{
	struct visit *visit = context;

	visit->result = read_namespace(visit->poller, "thread-self", visit->netns, visit->how,
				       &visit->reason, visit->error);
}

/* Through a thread that enters it, for the sake of the dump. False where that
 * cannot be: mostly the first reading alone has the right. So interfaces, of
 * which text says less, come from the same source each time. */
static bool read_inside(struct poller *poller, const char *base, uint64_t netns, int *reason,
			int *result, struct error *error)
{
	struct visit visit = {.poller = poller, .netns = netns, .how = DUMP_TCP, .error = error};
	char path[64];
	int fd;

	if (!poller->is_procfs || poller->may_not_enter)
		return false;
	snprintf(path, sizeof(path), "%s/ns/net", base);
	fd = openat(poller->proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	*reason = procnet_enter(fd, visit_namespace, &visit, &poller->cost_ns);
	close(fd);
	poller->may_not_enter = *reason == EPERM;
	if (*reason)
		return false;
	*reason = visit.reason;
	*result = visit.result;
	return true;
}

static int read_via(struct poller *poller, uint32_t pid, uint32_t tid, uint64_t netns, int *reason,
		    struct error *error)
{
	char base[48];
	int result;

	if (pid == tid)
		snprintf(base, sizeof(base), "%" PRIu32, pid);
	else
		snprintf(base, sizeof(base), "%" PRIu32 "/task/%" PRIu32, pid, tid);
	if (!read_inside(poller, base, netns, reason, &result, error))
		result = read_namespace(poller, base, netns, BY_TEXT, reason, error);
	if (!result && !*reason && pollstate_add_netns(poller->next, netns, pid, false))
		result = poller_no_memory(error);
	return result;
}

int poller_read_known_namespaces(struct poller *poller, struct error *error)
{
	const struct pollstate *state = poller->state;
	int result = 0, reason;

	for (size_t i = 0; i < state->netns_count && !result; i++) {
		const struct snap_netns *netns = &state->netns[i];

		if (netns->via_pid && !is_read(poller, netns->netns))
			result = read_via(poller, netns->via_pid, netns->via_pid, netns->netns,
					  &reason, error);
	}
	return result;
}

/* One way into a namespace that the walk found. */
struct way {
	uint64_t netns;
	uint32_t pid, tid;
};

static int compare_ways(const void *left, const void *right)
{
	const struct way *a = left, *b = right;

	if (a->netns != b->netns)
		return a->netns < b->netns ? -1 : 1;
	return (a->pid > b->pid) - (a->pid < b->pid);
}

int poller_read_walked_namespaces(struct poller *poller, struct error *error)
{
	const struct procfs_walk *walk = &poller->next->walk;
	struct way *ways = calloc(walk->process_count + 1, sizeof(*ways));
	char buffer[PROCFS_ERRNO_SIZE];
	size_t count = 0;
	int result = 0, reason = 0;

	if (!ways)
		return poller_no_memory(error);
	for (size_t i = 0; i < walk->process_count; i++) {
		const struct procfs_process *process = &walk->processes[i];

		if (process->netns && !is_read(poller, process->netns))
			ways[count++] =
				(struct way){process->netns, process->stat.pid, process->via_tid};
	}
	qsort(ways, count, sizeof(*ways), compare_ways);
	for (size_t i = 0; i < count && !result; i++) {
		bool last = i + 1 == count || ways[i + 1].netns != ways[i].netns;

		if (is_read(poller, ways[i].netns))
			continue;
		result = read_via(poller, ways[i].pid, ways[i].tid, ways[i].netns, &reason, error);
		if (!result && last && reason && reason != ENOENT && reason != ESRCH &&
		    pollstate_add_absence(poller->next, "netns", ways[i].netns, 0, "",
					  procfs_errno_name(reason, buffer)))
			result = poller_no_memory(error);
	}
	free(ways);
	return result;
}

/* ------------------------------------------------- without a process -- */

/* path is relative to dirfd unless it begins with '/'. A file that has gone or
 * is of another namespace by now is none. */
static int read_entered(struct poller *poller, int dirfd, const char *path, uint64_t netns,
			struct error *error)
{
	struct visit visit = {.poller = poller, .netns = netns, .how = DUMP_MOST, .error = error};
	char buffer[PROCFS_ERRNO_SIZE];
	int fd, reason;

	if (is_read(poller, netns))
		return 0;
	fd = openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	reason = fd < 0 ? errno : procnet_enter(fd, visit_namespace, &visit, &poller->cost_ns);
	if (fd >= 0)
		close(fd);
	if (visit.result)
		return visit.result;
	if (!reason)
		reason = visit.reason;
	if (!reason)
		return pollstate_add_netns(poller->next, netns, 0, false) ? poller_no_memory(error)
									  : 0;
	if (reason == ENOENT || reason == ESRCH)
		return 0;
	return pollstate_add_absence(poller->next, "netns", netns, 0, path,
				     procfs_errno_name(reason, buffer))
		       ? poller_no_memory(error)
		       : 0;
}

/* The mount table is parsed when it has changed. In a tree of files that
 * cannot be told, so it is parsed each time. */
static int read_mounts(struct poller *poller, struct error *error)
{
	struct pollfd changed = {.fd = poller->mountinfo_fd, .events = POLLPRI};

	if (poller->is_procfs && poller->mountinfo_fd >= 0) {
		if (poll(&changed, 1, 0) <= 0)
			return 0;
	} else if (poller->mountinfo_fd < 0) {
		poller->mountinfo_fd =
			openat(poller->proc_fd, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	}
	if (poller->mountinfo_fd < 0 ||
	    procfs_read_file(poller->proc_fd, "self/mountinfo", 0, &poller->scratch))
		return 0;
	if (mounts_parse(poller->scratch.text, poller->scratch.length, poller->device,
			 &poller->mounts))
		return poller_no_memory(error);
	return 0;
}

int poller_read_other_namespaces(struct poller *poller, struct error *error)
{
	const struct procfs_walk *walk = &poller->next->walk;
	int result = read_mounts(poller, error);

	for (size_t i = 0; i < poller->mounts.count && !result; i++)
		result = read_entered(poller, AT_FDCWD, poller->mounts.items[i].path,
				      poller->mounts.items[i].netns, error);
	for (size_t i = 0; i < walk->netns_fd_count && !result; i++) {
		char path[48];

		snprintf(path, sizeof(path), "%" PRIu32 "/fd/%" PRIu32, walk->netns_fds[i].pid,
			 walk->netns_fds[i].fd);
		result = read_entered(poller, poller->proc_fd, path, walk->netns_fds[i].netns,
				      error);
	}
	return result;
}
