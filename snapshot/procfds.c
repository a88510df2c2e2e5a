/* What procfs.h calls descriptors: which sockets a process has open, and when
 * that need not be read again. */
#include "snapshot/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

/* To ask once, and later once more, what a thread has run takes so many system
 * calls; to read a process without its links so many. */
#define CALLS_A_THREAD	6u
#define CALLS_A_PROCESS 20u
#define MOST_PATIENCE	31u /* readings in which a busy process is not asked whether it has run */

/* ------------------------------------------------------ one descriptor -- */

static int add_holder(struct procfs_walk *walk, const struct snap_holder *holder)
{
	struct snap_holder *grown = procfs_grow(walk->holders, &walk->holder_capacity,
						walk->holder_count + 1, sizeof(*grown));

	if (!grown)
		return ENOMEM;
	walk->holders = grown;
	walk->holders[walk->holder_count++] = *holder;
	return 0;
}

static int add_netns_fd(struct procfs_walk *walk, uint64_t netns, uint32_t pid, uint32_t fd)
{
	struct procfs_netns_fd *grown = procfs_grow(walk->netns_fds, &walk->netns_fd_capacity,
						    walk->netns_fd_count + 1, sizeof(*grown));

	if (!grown)
		return ENOMEM;
	walk->netns_fds = grown;
	walk->netns_fds[walk->netns_fd_count++] =
		(struct procfs_netns_fd){.netns = netns, .pid = pid, .fd = fd};
	return 0;
}

/* One descriptor of those below fd. A descriptor that is closed meanwhile is
 * none. 0, or an errno, ENOENT among them. */
static int read_descriptor(int fd, struct snap_holder *holder, struct procfs_walk *walk)
{
	char target[64], number[PROCFS_NUMBER_SIZE];
	uint64_t value;
	int result = procfs_read_link(fd, procfs_format_number(holder->fd, number), target,
				      sizeof(target));

	if (result)
		return result;
	if (procfs_parse_link(target, "socket:[", UINT32_MAX, &value)) {
		holder->inode = (uint32_t)value;
		return add_holder(walk, holder);
	}
	if (procfs_parse_link(target, "net:[", UINT64_MAX, &value))
		return add_netns_fd(walk, value, holder->pid, holder->fd);
	return 0;
}

/* How many descriptors the directory fd has: since Linux 6.2 that is its size.
 * 0: not known. */
static size_t count_descriptors(int fd)
{
	struct stat info;

	return !fstat(fd, &info) && info.st_size > 0 ? (size_t)info.st_size : 0;
}

/* ---------------------------------------------- whether it has run since -- */

/* Processors without a tick (nohz_full) add up seldom. */
static bool has_tickless_processors(void)
{
	static _Atomic int known; /* 0: not looked */
	char text[8];
	ssize_t got;
	int fd;

	if (known)
		return known > 1;
	fd = open("/sys/devices/system/cpu/nohz_full", O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? 0 : read(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	/* "(null)" or nothing but a line's end: none. */
	known = got > 0 && text[0] >= '0' && text[0] <= '9' ? 2 : 1;
	return known > 1;
}

/* Whether what was noted tells by now. */
static bool would_show(int64_t noted_ns)
{
	return quantity_now_ns(CLOCK_MONOTONIC) - noted_ns >= PROCFS_RUN_SHOWS_NS;
}

/* "NANOSECONDS WAITED TIMES" of a thread: how long it has run, and how often it
 * was given a processor (kernel/sched/stats.h). False where the kernel does
 * not count. */
static bool read_runs(int dir, const char *name, struct procfs_run *run)
{
	char text[96];
	const char *at;
	uint64_t waited;
	ssize_t got;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return false;
	text[got] = '\0';
	return procfs_parse_number(text, UINT64_MAX, &run->run_ns, &at) && *at++ == ' ' &&
	       procfs_parse_number(at, UINT64_MAX, &waited, &at) && *at++ == ' ' &&
	       procfs_parse_number(at, UINT64_MAX, &run->times, &at) && run->times;
}

static bool is_worth_it(uint32_t threads, const struct procfs_fds *fds)
{
	return (uint64_t)threads * CALLS_A_THREAD <= CALLS_A_PROCESS + fds->numbers.count;
}

static int list_threads(int dir, uint32_t pid, uint32_t threads, struct procfs_walk *walk)
{
	uint32_t *grown;

	if (threads > 1)
		return procfs_list_directory(dir, "task", &walk->listing, &walk->tids);
	grown = procfs_grow(walk->tids.items, &walk->tids.capacity, 1, sizeof(*grown));
	if (!grown)
		return ENOMEM;
	walk->tids.items = grown;
	walk->tids.items[0] = pid;
	walk->tids.count = 1;
	return 0;
}

int procfs_fds_note(int dir, uint32_t pid, uint32_t threads, struct procfs_fds *fds,
		    struct procfs_walk *walk)
{
	char path[sizeof("task//schedstat") + PROCFS_NUMBER_SIZE], number[PROCFS_NUMBER_SIZE];
	struct procfs_run *grown;

	fds->run_count = 0;
	if (fds->unnoted > 0) {
		fds->unnoted--;
		return 0;
	}
	if (!threads || !is_worth_it(threads, fds) || has_tickless_processors() ||
	    list_threads(dir, pid, threads, walk))
		return 0;
	grown = procfs_grow(fds->runs, &fds->run_capacity, walk->tids.count, sizeof(*grown));
	if (!grown)
		return ENOMEM;
	fds->runs = grown;
	fds->noted_ns = quantity_now_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < walk->tids.count; i++) {
		fds->runs[i].tid = walk->tids.items[i];
		snprintf(path, sizeof(path), "task/%s/schedstat",
			 procfs_format_number(fds->runs[i].tid, number));
		if (!read_runs(dir, path, &fds->runs[i]))
			return 0;
	}
	fds->run_count = walk->tids.count;
	return 0;
}

bool procfs_fds_sleeps(int proc_fd, uint32_t pid, struct procfs_fds *fds)
{
	char path[sizeof("/task//schedstat") + 2 * PROCFS_NUMBER_SIZE];
	char process[PROCFS_NUMBER_SIZE], thread[PROCFS_NUMBER_SIZE];
	const char *text = procfs_format_number(pid, process);
	size_t same = 0;

	if (!fds->run_count || !would_show(fds->noted_ns))
		return false;
	for (; same < fds->run_count; same++) {
		const struct procfs_run *noted = &fds->runs[same];
		struct procfs_run now;

		snprintf(path, sizeof(path), "%s/task/%s/schedstat", text,
			 procfs_format_number(noted->tid, thread));
		if (!read_runs(proc_fd, path, &now) || now.times != noted->times ||
		    now.run_ns != noted->run_ns)
			break;
	}
	if (same == fds->run_count) {
		fds->patience = 0;
		return true;
	}
	fds->run_count = 0;
	fds->patience = fds->patience * 2 + 1;
	if (fds->patience > MOST_PATIENCE)
		fds->patience = MOST_PATIENCE;
	fds->unnoted = fds->patience;
	return false;
}

/* ------------------------------------------------------------- reading -- */

/* Whether fd has the descriptors of the list and no others; then all were read.
 * *result is 0 or an errno that ends the reading. */
static bool read_listed(int fd, const struct procfs_numbers *list, struct snap_holder holder,
			struct procfs_walk *walk, int *result)
{
	size_t holders = walk->holder_count, netns_fds = walk->netns_fd_count;
	bool same = list->count && count_descriptors(fd) == list->count;

	*result = 0;
	for (size_t i = 0; i < list->count && same && !*result; i++) {
		int why;

		holder.fd = list->items[i];
		why = read_descriptor(fd, &holder, walk);
		if (why == EACCES || why == EPERM || why == ENOMEM)
			*result = why;
		else if (why)
			same = false;
	}
	same = same && (*result || count_descriptors(fd) == list->count);
	if (!same) {
		walk->holder_count = holders;
		walk->netns_fd_count = netns_fds;
	}
	return same;
}

static int read_all(int fd, struct snap_holder holder, struct procfs_walk *walk)
{
	int result = procfs_list_numbers(fd, &walk->listing, &walk->fds);

	for (size_t i = 0; i < walk->fds.count && !result; i++) {
		int why;

		holder.fd = walk->fds.items[i];
		why = read_descriptor(fd, &holder, walk);
		if (why == EACCES || why == EPERM || why == ENOMEM)
			result = why;
	}
	return result;
}

static int keep_numbers(const struct procfs_numbers *from, struct procfs_numbers *to)
{
	to->count = 0;
	if (from->count) {
		uint32_t *grown =
			procfs_grow(to->items, &to->capacity, from->count, sizeof(*grown));

		if (!grown)
			return ENOMEM;
		to->items = grown;
		memcpy(grown, from->items, from->count * sizeof(*grown));
		to->count = from->count;
	}
	return 0;
}

/* The holders of the walk from first on. */
static int keep_sockets(const struct procfs_walk *walk, size_t first, struct procfs_fds *fds)
{
	size_t count = walk->holder_count - first;
	struct procfs_socket *grown =
		procfs_grow(fds->sockets, &fds->socket_capacity, count, sizeof(*grown));

	if (!grown && count)
		return ENOMEM;
	fds->sockets = grown;
	fds->socket_count = count;
	for (size_t i = 0; i < count; i++)
		fds->sockets[i] = (struct procfs_socket){.fd = walk->holders[first + i].fd,
							 .inode = walk->holders[first + i].inode};
	return 0;
}

int procfs_fds_repeat(const struct procfs_fds *fds, struct snap_holder holder,
		      struct procfs_walk *walk)
{
	int result = 0;

	for (size_t i = 0; i < fds->socket_count && !result; i++) {
		holder.fd = fds->sockets[i].fd;
		holder.inode = fds->sockets[i].inode;
		result = add_holder(walk, &holder);
	}
	return result;
}

int procfs_fds_read(int base, struct snap_holder holder, struct procfs_walk *walk)
{
	int fd = openat(base, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return errno;
	result = read_all(fd, holder, walk);
	close(fd);
	return result;
}

int procfs_fds_reread(int dir, struct snap_holder holder, struct procfs_fds *fds,
		      struct procfs_walk *walk)
{
	size_t holders = walk->holder_count;
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return errno;
	if (!read_listed(fd, &fds->numbers, holder, walk, &result)) {
		result = read_all(fd, holder, walk);
		if (!result)
			result = keep_numbers(&walk->fds, &fds->numbers);
	}
	close(fd);
	return result ? result : keep_sockets(walk, holders, fds);
}

void procfs_fds_release(struct procfs_fds *fds)
{
	free(fds->numbers.items);
	free(fds->sockets);
	free(fds->runs);
	*fds = (struct procfs_fds){0};
}
