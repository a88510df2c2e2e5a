#include "snapshot/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* A process that executes a new program while it is being read is read again,
 * but not for ever. */
#define ATTEMPTS 3

bool procfs_is_own(int proc_fd)
{
	struct statfs info;
	char target[32];
	const char *end;
	uint64_t pid;

	return !fstatfs(proc_fd, &info) && info.f_type == PROC_SUPER_MAGIC &&
	       !procfs_read_link(proc_fd, "self", target, sizeof(target)) &&
	       procfs_parse_number(target, UINT32_MAX, &pid, &end) && !*end &&
	       pid == (uint64_t)getpid();
}

uint64_t procfs_read_netns(int dirfd, const char *name, int *reason)
{
	char target[64];
	uint64_t netns = 0;
	int result = procfs_read_link(dirfd, name, target, sizeof(target));

	if (!result && !procfs_parse_link(target, "net:[", UINT64_MAX, &netns))
		result = EINVAL;
	if (reason)
		*reason = result;
	return netns;
}

static int compare_numbers(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

static void sort_numbers(struct procfs_numbers *numbers)
{
	if (numbers->count > 1)
		qsort(numbers->items, numbers->count, sizeof(*numbers->items), compare_numbers);
}

static bool is_dead(const struct procfs_stat *stat)
{
	return stat->state == 'Z' || stat->state == 'X' || stat->state == 'x';
}

/* From an open stat file, from its start: one line, which the kernel gives
 * whole to one call. 0 or an errno. */
static int read_stat(int fd, struct procfs_text *scratch, struct procfs_stat *out)
{
	char *grown = procfs_grow(scratch->text, &scratch->capacity, 4096 + 1, 1);
	ssize_t got;
	int result = 0;

	if (!grown)
		return ENOMEM;
	scratch->text = grown;
	got = pread(fd, scratch->text, scratch->capacity - 1, 0);
	if (got < 0)
		return errno;
	scratch->length = (size_t)got;
	scratch->text[got] = '\0';
	if (procfs_parse_stat(scratch->text, scratch->length, out, NULL))
		result = scratch->length ? EINVAL : ESRCH;
	return result;
}

/* Without a program (exiting, zombie) there is nothing newer to learn. */
static bool facts_hold(const struct procfs_process *known, const struct procfs_process *now)
{
	if (!known || !known->facts || known->stat.pid != now->stat.pid ||
	    known->stat.start_ticks != now->stat.start_ticks)
		return false;
	if (!now->stat.image)
		return true;
	return known->stat.image == now->stat.image && known->euid == now->euid &&
	       (known->facts->record.netns == now->netns || !now->netns) &&
	       !strcmp(known->stat.comm, now->stat.comm);
}

static int open_task(int dir, uint32_t tid)
{
	char path[sizeof("task/") + PROCFS_NUMBER_SIZE], number[PROCFS_NUMBER_SIZE];

	snprintf(path, sizeof(path), "task/%s", procfs_format_number(tid, number));
	return openat(dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* A thread that lives on after the leader has exited: the lowest, so that it
 * stays the same from walk to walk. Its directory, or -1. */
static int open_living_thread(int dir, uint32_t pid, struct procfs_walk *walk, uint32_t *tid)
{
	if (procfs_list_directory(dir, "task", &walk->listing, &walk->tids))
		return -1;
	sort_numbers(&walk->tids);
	for (size_t i = 0; i < walk->tids.count; i++) {
		struct procfs_stat stat;
		int task;

		if (walk->tids.items[i] == pid)
			continue;
		task = open_task(dir, walk->tids.items[i]);
		if (task < 0)
			continue;
		if (!procfs_read_file(task, "stat", 0, &walk->stat) &&
		    !procfs_parse_stat(walk->stat.text, walk->stat.length, &stat, NULL) &&
		    !is_dead(&stat)) {
			*tid = walk->tids.items[i];
			return task;
		}
		close(task);
	}
	return -1;
}

/* ------------------------------------------------------------ process -- */

/* Everything of one process, once. Appends holders; sets all of *process but
 * stat. *fresh: something was read that must be of one moment. 0 or an errno. */
static int read_once(int dir, const struct procfs_process *known, struct procfs_process *process,
		     struct procfs_walk *walk, bool *fresh)
{
	size_t holders = walk->holder_count, netns_fds = walk->netns_fd_count;
	struct snap_holder holder = {.pid = process->stat.pid,
				     .tid = process->stat.pid,
				     .start_ticks = process->stat.start_ticks};
	/* Another thread's may be others. */
	struct procfs_fds *before =
		known && known->facts && !is_dead(&process->stat) ? &known->facts->fds : NULL;
	struct stat info;
	int base = dir, result = 0;

	process->descriptors_errno = 0;
	process->via_tid = process->stat.pid;
	if (is_dead(&process->stat)) {
		process->via_tid = 0;
		base = process->stat.threads > 1
			       ? open_living_thread(dir, process->stat.pid, walk, &process->via_tid)
			       : -1;
	}
	if (fstat(dir, &info)) {
		result = errno;
		goto out;
	}
	process->euid = info.st_uid;
	process->netns = base < 0 ? 0 : procfs_read_netns(base, "ns/net", NULL);
	if (before)
		process->descriptors_errno = procfs_fds_reread(dir, holder, before, walk);
	else if (base >= 0)
		process->descriptors_errno = procfs_fds_read(base, holder, walk);
	if (process->descriptors_errno == ENOMEM || process->descriptors_errno == ENOENT ||
	    process->descriptors_errno == ESRCH) {
		result = process->descriptors_errno;
		goto out;
	}
	if (known && known->facts && facts_hold(known, process)) {
		process->facts = procfs_facts_ref(known->facts);
	} else {
		process->facts = procfs_facts_read(dir, base, process, walk);
		if (!process->facts)
			result = ENOMEM;
	}
	*fresh = walk->holder_count > holders || walk->netns_fd_count > netns_fds || !known ||
		 process->facts != known->facts;
out:
	if (base >= 0 && base != dir)
		close(base);
	return result;
}

static void drop(struct procfs_walk *walk, struct procfs_process *process, size_t holders,
		 size_t netns_fds)
{
	procfs_facts_unref(process->facts);
	process->facts = NULL;
	walk->holder_count = holders;
	walk->netns_fd_count = netns_fds;
}

/* Reads it until its image was the same before and after. */
static int read_stable(int dir, int stat_fd, const struct procfs_process *known,
		       struct procfs_process *process, struct procfs_walk *walk)
{
	size_t holders = walk->holder_count, netns_fds = walk->netns_fd_count;

	for (unsigned attempt = 1;; attempt++) {
		struct procfs_stat after = {0};
		bool fresh = false;
		int result = read_once(dir, known, process, walk, &fresh);

		if (!result && !fresh)
			return 0;
		if (!result)
			result = read_stat(stat_fd, &walk->stat, &after);
		if (!result && after.start_ticks != process->stat.start_ticks)
			result = ESRCH;
		if (!result && (after.image == process->stat.image || attempt == ATTEMPTS))
			return 0;
		drop(walk, process, holders, netns_fds);
		if ((result == ENOENT || result == ESRCH) && is_dead(&process->stat) &&
		    attempt < ATTEMPTS)
			result = read_stat(stat_fd, &walk->stat, &after); /* the thread went */
		if (result)
			return result;
		process->stat = after;
	}
}

static int add_process(struct procfs_walk *walk, const struct procfs_process *process)
{
	struct procfs_process *grown = procfs_grow(walk->processes, &walk->process_capacity,
						   walk->process_count + 1, sizeof(*grown));

	if (!grown)
		return ENOMEM;
	walk->processes = grown;
	walk->processes[walk->process_count++] = *process;
	return 0;
}

/* As it was known: it has not run since. */
static int repeat_process(const struct procfs_process *known, struct procfs_walk *walk)
{
	size_t holders = walk->holder_count, netns_fds = walk->netns_fd_count;
	struct procfs_process process = *known;
	struct snap_holder holder = {.pid = process.stat.pid,
				     .tid = process.stat.pid,
				     .start_ticks = process.stat.start_ticks};
	int result = procfs_fds_repeat(&process.facts->fds, holder, walk);

	procfs_facts_ref(process.facts);
	if (!result)
		result = add_process(walk, &process);
	if (result)
		drop(walk, &process, holders, netns_fds);
	return result;
}

/* Whether what was noted ahead of the reading tells when it need not be done
 * again: every thread was noted, the leader lives (what was read before it died is
 * not its any more), and nothing was read that fds does not keep. */
static bool is_repeatable(const struct procfs_process *known, const struct procfs_process *process,
			  bool has_netns_fds)
{
	return process->facts == known->facts &&
	       process->stat.threads == known->facts->fds.run_count &&
	       process->via_tid == process->stat.pid && !process->descriptors_errno &&
	       process->netns && !has_netns_fds;
}

int procfs_read_process(int proc_fd, uint32_t pid, const struct procfs_process *known,
			struct procfs_walk *walk)
{
	struct procfs_fds *before = known && known->facts ? &known->facts->fds : NULL;
	size_t holders = walk->holder_count, netns_fds = walk->netns_fd_count;
	struct procfs_process process = {0};
	char number[PROCFS_NUMBER_SIZE];
	int dir, stat_fd = -1, result;

	if (before && procfs_fds_sleeps(proc_fd, pid, before))
		return repeat_process(known, walk);
	dir = openat(proc_fd, procfs_format_number(pid, number), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno;
	result = before ? procfs_fds_note(dir, pid, known->stat.threads, before, walk) : 0;
	if (!result) {
		stat_fd = openat(dir, "stat", O_RDONLY | O_CLOEXEC);
		result = stat_fd < 0 ? errno : read_stat(stat_fd, &walk->stat, &process.stat);
	}
	if (result == EACCES || result == EPERM) {
		/* hidepid=1: it is there, and that is all. */
		process.stat.pid = pid;
		process.descriptors_errno = result;
		result = 0;
	} else if (!result && procfs_is_kernel_thread(&process.stat)) {
		result = ESRCH;
	} else if (!result) {
		result = read_stable(dir, stat_fd, known, &process, walk);
	}
	if (before && (result || !is_repeatable(known, &process, walk->netns_fd_count > netns_fds)))
		before->run_count = 0;
	if (!result) {
		result = add_process(walk, &process);
		if (result)
			drop(walk, &process, holders, netns_fds);
	}
	if (stat_fd >= 0)
		close(stat_fd);
	close(dir);
	return result;
}

const struct procfs_process *procfs_find(const struct procfs_walk *walk, uint32_t pid)
{
	size_t low = 0, high = walk->process_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (walk->processes[middle].stat.pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < walk->process_count && walk->processes[low].stat.pid == pid)
		return &walk->processes[low];
	return NULL;
}

/* --------------------------------------------------------------- walk -- */

void procfs_walk_reset(struct procfs_walk *walk)
{
	for (size_t i = 0; i < walk->process_count; i++)
		procfs_facts_unref(walk->processes[i].facts);
	walk->process_count = walk->holder_count = walk->netns_fd_count = 0;
}

void procfs_walk_release(struct procfs_walk *walk)
{
	procfs_walk_reset(walk);
	free(walk->processes);
	free(walk->holders);
	free(walk->netns_fds);
	procfs_text_release(&walk->stat);
	procfs_text_release(&walk->cmdline);
	procfs_text_release(&walk->cgroup);
	free(walk->pids.items);
	free(walk->tids.items);
	free(walk->fds.items);
	free(walk->listing);
	*walk = (struct procfs_walk){0};
}

int procfs_walk(int proc_fd, const struct procfs_walk *known, struct procfs_walk *out,
		struct error *error)
{
	int result;

	procfs_walk_reset(out);
	result = procfs_list_directory(proc_fd, ".", &out->listing, &out->pids);
	if (result) {
		errno = result;
		return error_errno(error, "/proc", "cannot list the processes");
	}
	sort_numbers(&out->pids);
	for (size_t i = 0; i < out->pids.count; i++) {
		uint32_t pid = out->pids.items[i];

		result = procfs_read_process(proc_fd, pid, procfs_find(known, pid), out);
		if (result == ENOMEM)
			return error_set(error, ERROR_MEMORY, "/proc", -1,
					 "out of memory after %zu processes and %zu descriptors",
					 out->process_count, out->holder_count);
	}
	return 0;
}

int procfs_holder_compare(const struct snap_holder *a, const struct snap_holder *b)
{
	if (a->inode != b->inode)
		return a->inode < b->inode ? -1 : 1;
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	if (a->start_ticks != b->start_ticks)
		return a->start_ticks < b->start_ticks ? -1 : 1;
	if (a->tid != b->tid)
		return a->tid < b->tid ? -1 : 1;
	return (a->fd > b->fd) - (a->fd < b->fd);
}

/* ------------------------------------------- threads' own descriptors -- */

static int compare_descriptors(const void *left, const void *right)
{
	const struct snap_holder *a = left, *b = right;

	if (a->inode != b->inode)
		return a->inode < b->inode ? -1 : 1;
	return (a->fd > b->fd) - (a->fd < b->fd);
}

/* Of the holders from mark on keeps those of wanted inodes, and one for each descriptor, as
 * threads may share a table without the leader. Those from first on are kept in order. */
static void keep_wanted(struct procfs_walk *walk, size_t first, size_t mark, const uint32_t *inodes,
			size_t inode_count)
{
	size_t kept = mark;

	for (size_t i = mark; i < walk->holder_count; i++) {
		struct snap_holder holder = walk->holders[i];

		if (!bsearch(&holder.inode, inodes, inode_count, sizeof(*inodes), compare_numbers))
			continue;
		if (mark == first || !bsearch(&holder, walk->holders + first, mark - first,
					      sizeof(holder), compare_descriptors))
			walk->holders[kept++] = holder;
	}
	walk->holder_count = kept;
	if (kept > mark)
		qsort(walk->holders + first, kept - first, sizeof(*walk->holders),
		      compare_descriptors);
}

static bool shares_table(uint32_t leader, uint32_t tid)
{
	return syscall(SYS_kcmp, (pid_t)leader, (pid_t)tid, KCMP_FILES, 0ul, 0ul) == 0;
}

static int walk_threads_of(int dir, const struct procfs_process *process, bool own,
			   struct procfs_walk *walk, const uint32_t *inodes, size_t inode_count)
{
	struct snap_holder holder = {.pid = process->stat.pid,
				     .start_ticks = process->stat.start_ticks};
	size_t first = walk->holder_count;

	if (procfs_list_directory(dir, "task", &walk->listing, &walk->tids))
		return 0;
	sort_numbers(&walk->tids);
	for (size_t i = 0; i < walk->tids.count; i++) {
		size_t mark = walk->holder_count, netns_fds = walk->netns_fd_count;
		int task, result;

		holder.tid = walk->tids.items[i];
		if (holder.tid == process->stat.pid || holder.tid == process->via_tid ||
		    (own && shares_table(process->via_tid, holder.tid)))
			continue;
		task = open_task(dir, holder.tid);
		if (task < 0)
			continue;
		result = procfs_fds_read(task, holder, walk);
		close(task);
		walk->netns_fd_count = netns_fds;
		keep_wanted(walk, first, mark, inodes, inode_count);
		if (result == ENOMEM)
			return result;
	}
	return 0;
}

int procfs_walk_threads(int proc_fd, struct procfs_walk *walk, const uint32_t *inodes,
			size_t inode_count, struct error *error)
{
	bool own = procfs_is_own(proc_fd);

	for (size_t i = 0; i < walk->process_count; i++) {
		const struct procfs_process *process = &walk->processes[i];
		char number[PROCFS_NUMBER_SIZE];
		struct procfs_stat now;
		int dir, result = 0;

		if (process->stat.threads < 2 || !process->via_tid || process->descriptors_errno)
			continue;
		dir = openat(proc_fd, procfs_format_number(process->stat.pid, number),
			     O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		if (!procfs_read_file(dir, "stat", 0, &walk->stat) &&
		    !procfs_parse_stat(walk->stat.text, walk->stat.length, &now, NULL) &&
		    now.start_ticks == process->stat.start_ticks)
			result = walk_threads_of(dir, process, own, walk, inodes, inode_count);
		close(dir);
		if (result)
			return error_set(error, ERROR_MEMORY, "/proc", -1, "out of memory");
	}
	return 0;
}
