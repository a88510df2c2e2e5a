#include "snapshot/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/mounts.h"
#include "snapshot/pollstate.h"
#include "snapshot/procnet.h"

/* An inode that no thread held is not looked for again before this many polls:
 * the kernel's own sockets never have a holder. */
#define VAIN_POLLS 64

struct inodes {
	uint32_t *items; /* sorted, each once */
	size_t count, capacity;
};

/* Which rows of the reading are of one namespace. */
struct segment {
	uint64_t netns;
	size_t first, count;
};

struct poller {
	int proc_fd;
	bool is_procfs;	    /* a kernel's, not a tree of files */
	bool may_not_enter; /* other namespaces: CAP_SYS_ADMIN is missing */
	uint64_t device;    /* st_dev of proc_fd */
	int mountinfo_fd;   /* kept open, as poll(2) tells on it when mounts change; -1: none */
	struct mounts mounts;
	struct pollstate *state, *next; /* as last read; being read */
	bool has_state;
	int64_t cost_ns;
	/* Room for one reading: */
	struct procfs_text scratch;
	struct procnet_rows rows; /* in the order of reading */
	struct segment *segments;
	size_t segment_count, segment_capacity;
	struct inodes inodes, ownerless, vain, still_vain;
	unsigned vain_age;
};

static int no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory while reading /proc");
}

/* ---------------------------------------------------------- namespaces -- */

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
	struct segment *grown = procfs_grow(poller->segments, &poller->segment_capacity,
					    poller->segment_count + 1, sizeof(*grown));

	if (!grown)
		return ERROR_MEMORY;
	poller->segments = grown;
	poller->segments[poller->segment_count++] = (struct segment){
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
		return no_memory(error);
	return 0;
}

static int read_own(struct poller *poller, struct error *error)
{
	char buffer[PROCFS_ERRNO_SIZE];
	int reason, result;
	uint64_t own = procfs_read_netns(poller->proc_fd, "self/ns/net", &reason);

	if (reason && pollstate_add_absence(poller->next, "netns", 0, 0, "self",
					    procfs_errno_name(reason, buffer)))
		return no_memory(error);
	result = read_namespace(poller, "self", own, poller->is_procfs ? DUMP_MOST : BY_TEXT,
				&reason, error);
	if (result)
		return result;
	if (reason) {
		errno = reason;
		return error_errno(error, "/proc/self/net",
				   "cannot read the capture's own network namespace");
	}
	return pollstate_add_netns(poller->next, own, 0, true) ? no_memory(error) : 0;
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
		result = no_memory(error);
	return result;
}

/* Before the walk, so that most tables are read close to each other. What
 * fails here is tried again through another process. */
static int read_known_namespaces(struct poller *poller, struct error *error)
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

/* The namespaces of all processes that are not read yet: through the process
 * with the lowest pid, and when that fails through the next. */
static int read_walked_namespaces(struct poller *poller, struct error *error)
{
	const struct procfs_walk *walk = &poller->next->walk;
	struct way *ways = calloc(walk->process_count + 1, sizeof(*ways));
	char buffer[PROCFS_ERRNO_SIZE];
	size_t count = 0;
	int result = 0, reason = 0;

	if (!ways)
		return no_memory(error);
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
			result = no_memory(error);
	}
	free(ways);
	return result;
}

/* ------------------------------------- namespaces without a process -- */

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
		return pollstate_add_netns(poller->next, netns, 0, false) ? no_memory(error) : 0;
	if (reason == ENOENT || reason == ESRCH)
		return 0;
	return pollstate_add_absence(poller->next, "netns", netns, 0, path,
				     procfs_errno_name(reason, buffer))
		       ? no_memory(error)
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
		return no_memory(error);
	return 0;
}

static int read_other_namespaces(struct poller *poller, struct error *error)
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

static int compare_segments(const void *left, const void *right)
{
	const struct segment *a = left, *b = right;

	return (a->netns > b->netns) - (a->netns < b->netns);
}

/* The rows of each namespace are sorted; put in the order of namespaces, all are. */
static int gather_sockets(struct poller *poller, struct error *error)
{
	struct procnet_rows *sockets = &poller->next->sockets;
	struct snap_socket *grown = procfs_grow(sockets->rows, &sockets->capacity,
						poller->rows.count + 1, sizeof(*grown));

	if (!grown)
		return no_memory(error);
	sockets->rows = grown;
	qsort(poller->segments, poller->segment_count, sizeof(*poller->segments), compare_segments);
	for (size_t i = 0; i < poller->segment_count; i++) {
		const struct segment *segment = &poller->segments[i];

		if (!segment->count)
			continue;
		memcpy(sockets->rows + sockets->count, poller->rows.rows + segment->first,
		       segment->count * sizeof(*grown));
		sockets->count += segment->count;
	}
	return 0;
}

/* ------------------------------------------------------------- holders -- */

static int compare_inodes(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

static int compare_holders(const void *a, const void *b)
{
	return procfs_holder_compare(a, b);
}

static int inodes_reserve(struct inodes *inodes, size_t need)
{
	uint32_t *grown = procfs_grow(inodes->items, &inodes->capacity, need, sizeof(*grown));

	if (!grown)
		return ERROR_MEMORY;
	inodes->items = grown;
	return 0;
}

static bool has_inode(const struct inodes *inodes, uint32_t inode)
{
	return inodes->count && bsearch(&inode, inodes->items, inodes->count,
					sizeof(*inodes->items), compare_inodes);
}

/* Inodes of all rows that have one. */
static int collect_inodes(struct poller *poller)
{
	struct inodes *inodes = &poller->inodes;
	size_t kept = 0;

	inodes->count = 0;
	if (inodes_reserve(inodes, poller->rows.count + 1))
		return ERROR_MEMORY;
	for (size_t i = 0; i < poller->rows.count; i++) {
		if (poller->rows.rows[i].inode)
			inodes->items[inodes->count++] = poller->rows.rows[i].inode;
	}
	qsort(inodes->items, inodes->count, sizeof(*inodes->items), compare_inodes);
	for (size_t i = 0; i < inodes->count; i++) {
		if (!kept || inodes->items[kept - 1] != inodes->items[i])
			inodes->items[kept++] = inodes->items[i];
	}
	inodes->count = kept;
	return 0;
}

/* Only holders of sockets in the tables: most sockets of a host are local
 * (unix) ones. Sorts what remains. */
static void keep_table_holders(struct poller *poller)
{
	struct procfs_walk *walk = &poller->next->walk;
	size_t kept = 0;

	for (size_t i = 0; i < walk->holder_count; i++) {
		if (has_inode(&poller->inodes, walk->holders[i].inode))
			walk->holders[kept++] = walk->holders[i];
	}
	walk->holder_count = kept;
	if (kept > 1)
		qsort(walk->holders, kept, sizeof(*walk->holders), compare_holders);
}

/* Into out: the inodes that no sorted holder has, without those in except. */
static int find_ownerless(const struct poller *poller, const struct inodes *except,
			  struct inodes *out)
{
	const struct procfs_walk *walk = &poller->next->walk;
	size_t holder = 0;

	out->count = 0;
	if (inodes_reserve(out, poller->inodes.count + 1))
		return ERROR_MEMORY;
	for (size_t i = 0; i < poller->inodes.count; i++) {
		uint32_t inode = poller->inodes.items[i];

		while (holder < walk->holder_count && walk->holders[holder].inode < inode)
			holder++;
		if (holder < walk->holder_count && walk->holders[holder].inode == inode)
			continue;
		if (!except || !has_inode(except, inode))
			out->items[out->count++] = inode;
	}
	return 0;
}

/* Sockets that no process's descriptor table has may be in one that a thread
 * has for itself. Those that are not found there are remembered, so that the
 * search costs something only when there is a new one. */
static int read_holders(struct poller *poller, struct error *error)
{
	struct procfs_walk *walk = &poller->next->walk;
	struct inodes swap;
	int result;

	if (collect_inodes(poller))
		return no_memory(error);
	keep_table_holders(poller);
	if (++poller->vain_age >= VAIN_POLLS) {
		poller->vain_age = 0;
		poller->vain.count = 0;
	}
	if (find_ownerless(poller, &poller->vain, &poller->ownerless))
		return no_memory(error);
	if (poller->ownerless.count) {
		result = procfs_walk_threads(poller->proc_fd, walk, poller->ownerless.items,
					     poller->ownerless.count, error);
		if (result)
			return result;
		if (walk->holder_count > 1)
			qsort(walk->holders, walk->holder_count, sizeof(*walk->holders),
			      compare_holders);
	}
	if (find_ownerless(poller, NULL, &poller->still_vain))
		return no_memory(error);
	swap = poller->vain;
	poller->vain = poller->still_vain;
	poller->still_vain = swap;
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
	result = read_own(poller, error);
	if (!result && poller->has_state)
		result = read_known_namespaces(poller, error);
	if (!result)
		result = procfs_walk(poller->proc_fd, known, &poller->next->walk, error);
	if (!result)
		result = read_walked_namespaces(poller, error);
	if (!result)
		result = read_other_namespaces(poller, error);
	if (!result)
		result = read_holders(poller, error);
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
		result = no_memory(error);
	if (!result) {
		pollstate_sort(read);
		pollstate_difference(
			frame, head->kind == SNAP_KEY || !poller->has_state ? NULL : poller->state,
			read);
		if (frame->failed)
			result = no_memory(error);
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
		return no_memory(error);
	poller->proc_fd = config->proc_fd;
	poller->is_procfs = info.f_type == PROC_SUPER_MAGIC;
	poller->device = status.st_dev;
	poller->mountinfo_fd = -1;
	poller->state = calloc(1, sizeof(*poller->state));
	poller->next = calloc(1, sizeof(*poller->next));
	if (!poller->state || !poller->next) {
		poller_free(poller);
		return no_memory(error);
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
