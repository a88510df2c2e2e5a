/* What each poll teaches the watcher: holders, starts, addresses, namespaces. */
#include "snapshot/watcher_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/mounts.h"
#include "snapshot/procnet.h"

void watcher_view_init(struct watcher_view *view)
{
	memset(view, 0, sizeof(*view));
	pthread_rwlock_init(&view->lock, NULL);
}

static void free_namespace(struct watcher_namespace *item)
{
	sockdiag_close(item->diag);
	pthread_mutex_destroy(&item->lock);
	free(item);
}

void watcher_view_release(struct watcher_view *view)
{
	free(view->holdings);
	free(view->processes);
	free(view->homes);
	for (size_t i = 0; i < view->namespace_count; i++)
		free_namespace(view->namespaces[i]);
	pthread_rwlock_destroy(&view->lock);
}

static int compare_holdings(const void *left, const void *right)
{
	const struct watcher_holding *a = left, *b = right;

	if (a->inode != b->inode)
		return a->inode < b->inode ? -1 : 1;
	return (a->pid > b->pid) - (a->pid < b->pid);
}

static int compare_homes(const void *left, const void *right)
{
	const struct watcher_home *a = left, *b = right;
	int result = memcmp(&a->address, &b->address, sizeof(a->address));

	return result ? result : (a->netns > b->netns) - (a->netns < b->netns);
}

static int compare_inodes(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* Those of sockets that more than one conversation goes through. */
static size_t copy_holdings(const struct pollstate *state, struct watcher_holding **out)
{
	uint32_t *inodes = calloc(state->sockets.count + 1, sizeof(*inodes));
	struct watcher_holding *holdings = calloc(state->walk.holder_count + 1, sizeof(*holdings));
	size_t inode_count = 0, count = 0;

	for (size_t i = 0; inodes && i < state->sockets.count; i++) {
		const struct snap_socket *socket = &state->sockets.rows[i];

		if (socket->inode && socket->remote.port == 0)
			inodes[inode_count++] = socket->inode;
	}
	if (inode_count)
		qsort(inodes, inode_count, sizeof(*inodes), compare_inodes);
	for (size_t i = 0; holdings && inode_count && i < state->walk.holder_count; i++) {
		const struct snap_holder *holder = &state->walk.holders[i];

		if (bsearch(&holder->inode, inodes, inode_count, sizeof(*inodes), compare_inodes))
			holdings[count++] = (struct watcher_holding){holder->inode, holder->pid};
	}
	if (count)
		qsort(holdings, count, sizeof(*holdings), compare_holdings);
	free(inodes);
	*out = holdings;
	return count;
}

static size_t copy_processes(const struct pollstate *state, struct watcher_process **out)
{
	const struct procfs_walk *walk = &state->walk;
	struct watcher_process *processes = calloc(walk->process_count + 1, sizeof(*processes));
	size_t count = 0;

	for (size_t i = 0; processes && i < walk->process_count; i++)
		processes[count++] = (struct watcher_process){walk->processes[i].stat.pid,
							      walk->processes[i].stat.start_ticks};
	*out = processes;
	return count;
}

static size_t copy_homes(const struct pollstate *state, struct watcher_home **out)
{
	struct watcher_home *homes = calloc(state->netif.address_count + 1, sizeof(*homes));
	size_t count = 0;

	for (size_t i = 0; homes && i < state->netif.address_count; i++) {
		const struct snap_address *address = &state->netif.addresses[i];

		if (!endpoint_is_loopback(&address->address))
			homes[count++] = (struct watcher_home){address->address, address->netns};
	}
	if (count)
		qsort(homes, count, sizeof(*homes), compare_homes);
	*out = homes;
	return count;
}

/* ---------------------------------------------------------- namespaces -- */

static void open_here(void *context)
{
	sockdiag_open(context, NULL);
}

/* A namespace that no process was in: through the mount that holds it. */
static int open_mounted(int proc_fd, uint64_t netns)
{
	struct mounts mounts = {0};
	struct procfs_text text = {0};
	struct stat info;
	int fd = -1;

	if (!procfs_read_file(proc_fd, "self/mountinfo", 0, &text) &&
	    !mounts_parse(text.text, text.length, 0, &mounts)) {
		for (size_t i = 0; i < mounts.count && fd < 0; i++) {
			if (mounts.items[i].netns == netns)
				fd = open(mounts.items[i].path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		}
	}
	/* The path may be another's by now. */
	if (fd >= 0 && (fstat(fd, &info) || info.st_ino != netns)) {
		close(fd);
		fd = -1;
	}
	mounts_release(&mounts);
	procfs_text_release(&text);
	return fd;
}

static int open_via(int proc_fd, const struct snap_netns *netns)
{
	char path[32];

	snprintf(path, sizeof(path), "%" PRIu32 "/ns/net", netns->via_pid);
	if (procfs_read_netns(proc_fd, path, NULL) != netns->netns)
		return -1;
	return openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
}

static struct sockdiag *open_in(struct watcher_view *view, int proc_fd,
				const struct snap_netns *netns)
{
	struct sockdiag *diag = NULL;
	int64_t cost_ns = 0;
	int fd;

	if (view->may_not_enter)
		return NULL;
	fd = netns->via_pid ? open_via(proc_fd, netns) : open_mounted(proc_fd, netns->netns);
	if (fd < 0)
		return NULL;
	view->may_not_enter = procnet_enter(fd, open_here, (void *)&diag, &cost_ns) == EPERM;
	close(fd);
	return diag;
}

static bool has_namespace(struct watcher_view *view, uint64_t netns)
{
	for (size_t i = 0; i < view->namespace_count; i++) {
		if (view->namespaces[i]->netns != netns)
			continue;
		view->namespaces[i]->present = true;
		return true;
	}
	return false;
}

static void add_namespace(struct watcher_view *view, int proc_fd, const struct snap_netns *netns)
{
	struct watcher_namespace *item;
	struct sockdiag *diag;

	if (view->namespace_count == WATCHER_NAMESPACES)
		return;
	diag = open_in(view, proc_fd, netns);
	item = diag ? calloc(1, sizeof(*item)) : NULL;
	if (!item) {
		sockdiag_close(diag);
		return;
	}
	item->netns = netns->netns;
	item->present = true;
	item->diag = diag;
	pthread_mutex_init(&item->lock, NULL);
	pthread_rwlock_wrlock(&view->lock);
	view->namespaces[view->namespace_count++] = item;
	pthread_rwlock_unlock(&view->lock);
}

/* An open request socket holds its namespace: one that has gone is let go. */
static void update_namespaces(struct watcher_view *view, int proc_fd, const struct pollstate *state,
			      uint64_t capture_netns)
{
	size_t kept = 0;

	for (size_t i = 0; i < view->namespace_count; i++)
		view->namespaces[i]->present = false;
	for (size_t i = 0; i < state->netns_count; i++) {
		if (state->netns[i].netns != capture_netns &&
		    !has_namespace(view, state->netns[i].netns))
			add_namespace(view, proc_fd, &state->netns[i]);
	}
	pthread_rwlock_wrlock(&view->lock);
	for (size_t i = 0; i < view->namespace_count; i++) {
		if (view->namespaces[i]->present)
			view->namespaces[kept++] = view->namespaces[i];
		else
			free_namespace(view->namespaces[i]);
	}
	view->namespace_count = kept;
	pthread_rwlock_unlock(&view->lock);
}

bool watcher_view_learn(struct watcher_view *view, int proc_fd, const struct pollstate *state,
			uint64_t capture_netns)
{
	struct watcher_holding *holdings, *old_holdings;
	struct watcher_process *processes, *old_processes;
	struct watcher_home *homes, *old_homes;
	size_t holding_count = copy_holdings(state, &holdings);
	size_t process_count = copy_processes(state, &processes);
	size_t home_count = copy_homes(state, &homes);

	pthread_rwlock_wrlock(&view->lock);
	old_holdings = view->holdings;
	old_processes = view->processes;
	old_homes = view->homes;
	view->holdings = holdings;
	view->holding_count = holding_count;
	view->processes = processes;
	view->process_count = process_count;
	view->homes = homes;
	view->home_count = home_count;
	pthread_rwlock_unlock(&view->lock);
	free(old_holdings);
	free(old_processes);
	free(old_homes);
	update_namespaces(view, proc_fd, state, capture_netns);
	return view->namespace_count > 0;
}

/* ------------------------------------------------------------- answers -- */

size_t watcher_view_holders(struct watcher_view *view, uint32_t inode, uint32_t *pids, size_t max)
{
	size_t low = 0, high, count = 0;

	pthread_rwlock_rdlock(&view->lock);
	high = view->holding_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (view->holdings[middle].inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < view->holding_count && view->holdings[low].inode == inode; low++) {
		uint32_t pid = view->holdings[low].pid;

		if (count < max && (!count || pids[count - 1] != pid))
			pids[count++] = pid;
	}
	pthread_rwlock_unlock(&view->lock);
	return count;
}

static int compare_pid(const void *key, const void *item)
{
	const uint32_t *pid = key;
	const struct watcher_process *process = item;

	return (*pid > process->pid) - (*pid < process->pid);
}

uint64_t watcher_view_start(struct watcher_view *view, uint32_t pid)
{
	const struct watcher_process *process = NULL;
	uint64_t start_ticks;

	pthread_rwlock_rdlock(&view->lock);
	if (view->process_count)
		process = bsearch(&pid, view->processes, view->process_count,
				  sizeof(*view->processes), compare_pid);
	start_ticks = process ? process->start_ticks : 0;
	pthread_rwlock_unlock(&view->lock);
	return start_ticks;
}

size_t watcher_view_homes(struct watcher_view *view, const struct endpoint_address *address,
			  uint64_t *netns, size_t max)
{
	size_t low = 0, high, count = 0;

	pthread_rwlock_rdlock(&view->lock);
	high = view->home_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(&view->homes[middle].address, address, sizeof(*address)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < view->home_count && count < max &&
	       endpoint_equal(&view->homes[low].address, address);
	     low++) {
		if (!count || netns[count - 1] != view->homes[low].netns)
			netns[count++] = view->homes[low].netns;
	}
	pthread_rwlock_unlock(&view->lock);
	return count;
}
