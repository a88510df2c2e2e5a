/* From a tuple to its socket, from an inode to its holder, and into a frame. */
#include "snapshot/watcher_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

#define LISTING_BYTES (32u << 10)
#define LINK_SIZE     32 /* "socket:[4294967295]" */
/* Recently started processes that are looked into for one socket: some tens
 * of microseconds each, and what opens a socket is seldom further back. */
#define NEWEST	  24
#define NEWEST_NS INT64_C(200000000)
#define RECENT	  64
#define RECENT_NS INT64_C(10000000000)
#define ATTEMPTS  3
/* Where a small program's first sockets are. */
#define FIRST_FD   3
#define PROBED_FDS 5

int watcher_finder_init(struct watcher_finder *finder, struct watcher *watcher, struct error *error)
{
	finder->watcher = watcher;
	return sockdiag_open(&finder->diag, error);
}

void watcher_finder_release(struct watcher_finder *finder)
{
	sockdiag_close(finder->diag);
	procfs_walk_release(&finder->scratch);
	for (size_t i = 0; i < WATCHER_HINTS; i++) {
		if (finder->hints[i].pid)
			close(finder->hints[i].dir);
	}
	free(finder->listing);
	free(finder->fds);
}

void watcher_begin(struct watcher_sighting *sighting, const char *cause)
{
	sighting->cause = cause;
	sighting->holder_count = 0;
	sighting->monotonic_ns = quantity_now_ns(CLOCK_MONOTONIC);
	sighting->boot_ns = quantity_now_ns(CLOCK_BOOTTIME);
	sighting->begin_ns = quantity_now_ns(CLOCK_REALTIME);
}

/* ------------------------------------------------------------- sockets -- */

static int ask(struct sockdiag *diag, uint8_t protocol, const struct endpoint *local,
	       const struct endpoint *remote, struct snap_socket *out)
{
	if (protocol == IPPROTO_UDP)
		return sockdiag_lookup_udp(diag, local, remote, out, NULL);
	return sockdiag_lookup(diag, protocol, !endpoint_is_ipv4(&local->address), local, remote,
			       out, NULL);
}

/* In another namespace interfaces have other numbers. */
static int ask_elsewhere(struct watcher_view *view, uint64_t netns, uint8_t protocol,
			 const struct endpoint *local, const struct endpoint *remote,
			 struct snap_socket *out)
{
	int result = ERROR_LIMIT;

	pthread_rwlock_rdlock(&view->lock);
	for (size_t i = 0; i < view->namespace_count; i++) {
		struct watcher_namespace *item = view->namespaces[i];

		if (item->netns != netns)
			continue;
		pthread_mutex_lock(&item->lock);
		result = ask(item->diag, protocol, local, remote, out);
		pthread_mutex_unlock(&item->lock);
		break;
	}
	pthread_rwlock_unlock(&view->lock);
	return result;
}

int watcher_find_socket(struct watcher_finder *finder, uint64_t netns, uint8_t protocol,
			uint32_t ifindex, const struct endpoint *local,
			const struct endpoint *remote, struct snap_socket *out)
{
	struct snap_socket found;
	int result;

	if (netns != finder->watcher->netns) {
		result = ask_elsewhere(&finder->watcher->view, netns, protocol, local, remote,
				       &found);
	} else if (finder->diag) {
		sockdiag_set_device(finder->diag, ifindex);
		result = ask(finder->diag, protocol, local, remote, &found);
	} else {
		result = ERROR_LIMIT;
	}
	if (result <= 0)
		return result;
	found.netns = netns;
	*out = found;
	return 1;
}

/* ------------------------------------------------------------- holders -- */

/* statx(2) costs a third of readlink(2), and with DONT_SYNC it waits for no file
 * system; but only the link says that the number is that of a socket. */
static bool is_socket(int dir, uint32_t fd, uint32_t inode)
{
	char name[12], target[LINK_SIZE], wanted[LINK_SIZE];
	struct statx info;

	snprintf(name, sizeof(name), "%" PRIu32, fd);
	if (!statx(dir, name, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &info) &&
	    (info.stx_ino != inode || !S_ISSOCK(info.stx_mode)))
		return false;
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu32 "]", inode);
	return !procfs_read_link(dir, name, target, sizeof(target)) && !strcmp(target, wanted);
}

/* All descriptors below dir, which is open. */
static size_t list_fds(struct watcher_finder *finder, int dir)
{
	size_t count = 0;

	if (!finder->listing && !(finder->listing = malloc(LISTING_BYTES)))
		return 0;
	for (;;) {
		ssize_t got = getdents64(dir, finder->listing, LISTING_BYTES);
		unsigned short length;

		if (got <= 0)
			return count;
		for (const char *at = finder->listing; at < finder->listing + got; at += length) {
			const char *name = at + offsetof(struct dirent64, d_name), *end;
			uint64_t number;
			uint32_t *grown;

			memcpy(&length, at + offsetof(struct dirent64, d_reclen), sizeof(length));
			if (!procfs_parse_number(name, UINT32_MAX, &number, &end) || *end)
				continue;
			grown = procfs_grow(finder->fds, &finder->fd_capacity, count + 1,
					    sizeof(*grown));
			if (!grown)
				return count;
			finder->fds = grown;
			finder->fds[count++] = (uint32_t)number;
		}
	}
}

/* A new descriptor is the lowest free number: in small programs one of the
 * first, in others mostly the highest of all. */
static bool search_fds(struct watcher_finder *finder, int process, uint32_t inode, uint32_t *out)
{
	int dir = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool found = false;
	size_t count;

	if (dir < 0)
		return false;
	/* Listing costs as much as these. */
	for (*out = FIRST_FD; *out < FIRST_FD + PROBED_FDS && !found; *out += !found)
		found = is_socket(dir, *out, inode);
	count = found ? 0 : list_fds(finder, dir);
	while (count && !found) {
		*out = finder->fds[--count];
		found = is_socket(dir, *out, inode);
	}
	close(dir);
	return found;
}

static bool is_found(const struct watcher_sighting *sighting, uint32_t pid)
{
	for (size_t i = 0; i < sighting->holder_count; i++) {
		if (sighting->holders[i].pid == pid)
			return true;
	}
	return false;
}

static void add_holder(struct watcher_sighting *sighting, const struct procfs_stat *stat,
		       uint32_t fd)
{
	sighting->stats[sighting->holder_count] = *stat;
	sighting->holders[sighting->holder_count++] = (struct snap_holder){
		.inode = sighting->socket.inode,
		.pid = stat->pid,
		.start_ticks = stat->start_ticks,
		.tid = stat->pid,
		.fd = fd,
	};
}

/* Where this process had its last socket: one system call. */
static bool find_by_hint(struct watcher_finder *finder, uint32_t pid,
			 struct watcher_sighting *sighting)
{
	const struct watcher_hint *hint = &finder->hints[pid % WATCHER_HINTS];
	char path[24], target[LINK_SIZE], wanted[LINK_SIZE];

	if (hint->pid != pid)
		return false;
	snprintf(path, sizeof(path), "fd/%" PRIu32, hint->fd);
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu32 "]", sighting->socket.inode);
	if (procfs_read_link(hint->dir, path, target, sizeof(target)) || strcmp(target, wanted))
		return false;
	add_holder(sighting, &hint->stat, hint->fd);
	return true;
}

/* Takes dir over. */
static void set_hint(struct watcher_finder *finder, const struct procfs_stat *stat, uint32_t fd,
		     int dir)
{
	struct watcher_hint *hint = &finder->hints[stat->pid % WATCHER_HINTS];

	if (hint->pid)
		close(hint->dir);
	*hint = (struct watcher_hint){stat->pid, fd, dir, *stat};
}

/* The directory is the process's and not its number's: what is read through it
 * is of one process. */
bool watcher_find_in(struct watcher_finder *finder, uint32_t pid, struct watcher_sighting *sighting)
{
	struct procfs_text *text = &finder->scratch.stat;
	struct procfs_stat stat;
	char name[12];
	uint32_t fd;
	int dir;

	if (!pid || is_found(sighting, pid) ||
	    sighting->holder_count == sizeof(sighting->holders) / sizeof(*sighting->holders))
		return false;
	if (find_by_hint(finder, pid, sighting))
		return true;
	snprintf(name, sizeof(name), "%" PRIu32, pid);
	dir = openat(finder->watcher->config.proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return false;
	if (!search_fds(finder, dir, sighting->socket.inode, &fd) ||
	    procfs_read_file(dir, "stat", 0, text) ||
	    procfs_parse_stat(text->text, text->length, &stat, NULL)) {
		close(dir);
		return false;
	}
	add_holder(sighting, &stat, fd);
	set_hint(finder, &stat, fd, dir);
	return true;
}

static void remember_holder(struct watcher_finder *finder, uint32_t pid, uint32_t uid)
{
	for (size_t i = 0; i < WATCHER_FOUND; i++) {
		if (finder->found[i].pid == pid && finder->found[i].uid == uid)
			return;
	}
	finder->found[finder->found_next].pid = pid;
	finder->found[finder->found_next].uid = uid;
	finder->found_next = (finder->found_next + 1) % WATCHER_FOUND;
}

static bool is_lost(const struct watcher_lost *lost, size_t count, uint32_t inode)
{
	for (size_t i = 0; i < count; i++) {
		if (lost[i].sighting.socket.inode == inode)
			return true;
	}
	return false;
}

/* One reading of the descriptors for all of them. */
size_t watcher_find_all(struct watcher_finder *finder, uint32_t pid, struct watcher_lost *lost,
			size_t count)
{
	uint32_t inodes[WATCHER_LOST];
	char path[24], name[12], target[LINK_SIZE];
	size_t fds, matches = 0, news = 0;
	int dir;

	snprintf(path, sizeof(path), "%" PRIu32 "/fd", pid);
	dir = openat(finder->watcher->config.proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return 0;
	fds = list_fds(finder, dir);
	for (size_t i = 0; i < fds && matches < WATCHER_LOST; i++) {
		const char *end;
		uint64_t inode;

		snprintf(name, sizeof(name), "%" PRIu32, finder->fds[i]);
		if (!procfs_read_link(dir, name, target, sizeof(target)) &&
		    !strncmp(target, "socket:[", 8) &&
		    procfs_parse_number(target + 8, UINT32_MAX, &inode, &end) &&
		    is_lost(lost, count, (uint32_t)inode))
			inodes[matches++] = (uint32_t)inode;
	}
	close(dir);
	/* Again one by one, with what makes it this process's and not its number's. */
	for (size_t i = 0; i < count; i++) {
		struct watcher_sighting *sighting = &lost[i].sighting;
		bool was_none = sighting->holder_count == 0;

		for (size_t j = 0; j < matches; j++) {
			if (inodes[j] != sighting->socket.inode ||
			    !watcher_find_in(finder, pid, sighting) || !was_none)
				continue;
			remember_holder(finder, pid, sighting->socket.uid);
			news++;
			break;
		}
	}
	return news;
}

static bool try_recent(struct watcher_finder *finder, struct watcher_sighting *sighting,
		       int64_t age_ns, size_t max)
{
	uint32_t pids[RECENT];
	size_t count = watcher_recent_list(finder->watcher->recent,
					   quantity_now_ns(CLOCK_MONOTONIC) - age_ns, 0, pids, max);

	for (size_t i = 0; i < count; i++) {
		if (watcher_find_in(finder, pids[i], sighting))
			return true;
	}
	return false;
}

static bool try_found(struct watcher_finder *finder, struct watcher_sighting *sighting)
{
	for (size_t i = 0; i < WATCHER_FOUND; i++) {
		size_t at = (finder->found_next + WATCHER_FOUND - 1 - i) % WATCHER_FOUND;

		if (finder->found[at].pid && finder->found[at].uid == sighting->socket.uid &&
		    watcher_find_in(finder, finder->found[at].pid, sighting))
			return true;
	}
	return false;
}

/* What was inherited has the same number on both sides, unless it was handed
 * over as standard input, output or error. */
static void find_inherited(struct watcher_finder *finder, uint32_t pid,
			   struct watcher_sighting *sighting)
{
	uint32_t fd = sighting->holders[0].fd;
	struct statx info;
	char path[32];

	snprintf(path, sizeof(path), "%" PRIu32 "/fd/%" PRIu32, pid, fd);
	if (fd >= FIRST_FD &&
	    (statx(finder->watcher->config.proc_fd, path, AT_STATX_DONT_SYNC, STATX_INO, &info) ||
	     info.stx_ino != sighting->socket.inode))
		return;
	watcher_find_in(finder, pid, sighting);
}

/* Who else may have it: the parent it came from, and who came from the holder. */
void watcher_find_sharers(struct watcher_finder *finder, struct watcher_sighting *sighting)
{
	uint32_t pids[8];
	size_t count;

	find_inherited(finder, sighting->stats[0].ppid, sighting);
	count = watcher_recent_list(finder->watcher->recent,
				    quantity_now_ns(CLOCK_MONOTONIC) - RECENT_NS,
				    sighting->holders[0].pid, pids, 8);
	for (size_t i = 0; i < count; i++)
		find_inherited(finder, pids[i], sighting);
}

bool watcher_find_holder(struct watcher_finder *finder, struct watcher_sighting *sighting,
			 const uint32_t *first, size_t first_count)
{
	bool found = false;

	for (size_t i = 0; i < first_count && !found; i++)
		found = watcher_find_in(finder, first[i], sighting);
	if (!found)
		found = try_recent(finder, sighting, NEWEST_NS, NEWEST);
	if (!found)
		found = try_found(finder, sighting);
	if (!found)
		found = try_recent(finder, sighting, RECENT_NS, RECENT);
	if (!found)
		return false;
	remember_holder(finder, sighting->holders[0].pid, sighting->socket.uid);
	watcher_find_sharers(finder, sighting);
	return true;
}

/* --------------------------------------------------------------- facts -- */

static bool said_facts(struct watcher *watcher, uint32_t pid, uint64_t start_ticks)
{
	struct watcher_said *said = watcher->said;
	size_t at = pid % WATCHER_SAID;
	bool has_facts;

	pthread_mutex_lock(&said->lock);
	has_facts = said->items[at].pid == pid && said->items[at].start_ticks == start_ticks &&
		    said->items[at].has_facts;
	pthread_mutex_unlock(&said->lock);
	return has_facts;
}

void watcher_say(struct watcher *watcher, uint32_t pid, uint64_t start_ticks, bool has_facts)
{
	struct watcher_said *said = watcher->said;
	size_t at = pid % WATCHER_SAID;

	pthread_mutex_lock(&said->lock);
	if (said->items[at].pid == pid && said->items[at].start_ticks == start_ticks)
		has_facts = has_facts || said->items[at].has_facts;
	said->items[at].pid = pid;
	said->items[at].start_ticks = start_ticks;
	said->items[at].has_facts = has_facts;
	pthread_mutex_unlock(&said->lock);
}

void watcher_unsay(struct watcher *watcher, uint32_t pid)
{
	struct watcher_said *said = watcher->said;
	size_t at = pid % WATCHER_SAID;

	pthread_mutex_lock(&said->lock);
	if (said->items[at].pid == pid)
		said->items[at].has_facts = false;
	pthread_mutex_unlock(&said->lock);
}

uint64_t watcher_said_start(struct watcher *watcher, uint32_t pid, int64_t boot_ns)
{
	struct watcher_said *said = watcher->said;
	size_t at = pid % WATCHER_SAID;
	uint64_t start_ticks = 0;

	pthread_mutex_lock(&said->lock);
	if (said->items[at].pid == pid)
		start_ticks = said->items[at].start_ticks;
	pthread_mutex_unlock(&said->lock);
	if (!start_ticks)
		start_ticks = watcher_view_start(&watcher->view, pid);
	/* The number may have been given to a younger process meanwhile. */
	return (int64_t)start_ticks * watcher->tick_ns <= boot_ns ? start_ticks : 0;
}

static int read_stat(struct watcher_finder *finder, int dir, struct procfs_stat *out)
{
	struct procfs_text *text = &finder->scratch.stat;

	if (procfs_read_file(dir, "stat", 0, text) ||
	    procfs_parse_stat(text->text, text->length, out, NULL))
		return -1;
	return 0;
}

struct procfs_facts *watcher_read_facts(struct watcher_finder *finder, uint32_t pid)
{
	struct procfs_process process = {0};
	struct procfs_facts *facts = NULL;
	struct procfs_stat after;
	struct stat info;
	char name[12];
	int dir;

	snprintf(name, sizeof(name), "%" PRIu32, pid);
	dir = openat(finder->watcher->config.proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return NULL;
	if (read_stat(finder, dir, &process.stat) || procfs_is_kernel_thread(&process.stat) ||
	    fstat(dir, &info))
		goto out;
	process.euid = info.st_uid;
	/* Read again what a new image came in between. */
	for (unsigned attempt = 1;; attempt++) {
		process.via_tid = pid;
		process.netns = procfs_read_netns(dir, "ns/net", NULL);
		facts = procfs_facts_read(dir, dir, &process, &finder->scratch);
		if (!facts || read_stat(finder, dir, &after))
			break; /* gone meanwhile: what was read is of this process */
		if (after.image == process.stat.image || !after.image || attempt == ATTEMPTS)
			break;
		procfs_facts_unref(facts);
		process.stat = after;
	}
out:
	close(dir);
	return facts;
}

/* -------------------------------------------------------------- frames -- */

static void add_process(struct snapframe *frame, const struct snap_process *process)
{
	struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_ONCE};

	record.u.process = *process;
	snapframe_add(frame, &record);
}

/* Facts, or what the stat had to say of a process that has gone since. */
static void describe(struct watcher_finder *finder, const struct procfs_stat *stat,
		     struct snapframe *frame)
{
	struct procfs_facts *facts = watcher_read_facts(finder, stat->pid);

	if (facts && facts->record.start_ticks == stat->start_ticks) {
		add_process(frame, &facts->record);
	} else {
		const struct snap_process process = {.pid = stat->pid,
						     .start_ticks = stat->start_ticks,
						     .ppid = stat->ppid,
						     .uid = SNAP_UNKNOWN_UID,
						     .comm = stat->comm};

		add_process(frame, &process);
	}
	procfs_facts_unref(facts);
	watcher_say(finder->watcher, stat->pid, stat->start_ticks, true);
}

static void learn_cookie(struct watcher_finder *finder, const struct watcher_sighting *sighting)
{
	struct watcher_cookies *cookies = finder->watcher->cookies;
	const struct snap_socket *socket = &sighting->socket;
	size_t at = socket->cookie % WATCHER_COOKIES;

	if (!socket->cookie || !socket->inode)
		return;
	pthread_mutex_lock(&cookies->lock);
	cookies->items[at].cookie = socket->cookie;
	cookies->items[at].netns = socket->netns;
	cookies->items[at].inode = socket->inode;
	cookies->items[at].found_ns = sighting->holder_count ? sighting->monotonic_ns : 0;
	pthread_mutex_unlock(&cookies->lock);
}

void watcher_tell(struct watcher_finder *finder, struct watcher_sighting *sighting, bool now)
{
	struct watcher *watcher = finder->watcher;
	struct snap_record record = {.type = SNAP_TYPE_SOCKET, .op = SNAP_ONCE};
	struct snapframe frame;

	snapframe_init(&frame, SNAP_EVENT, sighting->cause);
	frame.head.begin_ns = sighting->begin_ns;
	frame.head.monotonic_ns = sighting->monotonic_ns;
	frame.head.boot_ns = sighting->boot_ns;
	record.u.socket = sighting->socket;
	snapframe_add(&frame, &record);
	record.type = SNAP_TYPE_HOLDER;
	for (size_t i = 0; i < sighting->holder_count; i++) {
		const struct procfs_stat *stat = &sighting->stats[i];

		record.u.holder = sighting->holders[i];
		snapframe_add(&frame, &record);
		if (said_facts(watcher, stat->pid, stat->start_ticks))
			continue;
		if (!now && finder->deferred_count < WATCHER_DEFERRED) {
			finder->deferred[finder->deferred_count++] =
				(struct watcher_deferred){*stat, sighting->cause};
			watcher_say(watcher, stat->pid, stat->start_ticks, false);
		} else {
			describe(finder, stat, &frame);
		}
	}
	learn_cookie(finder, sighting);
	frame.head.end_ns = quantity_now_ns(CLOCK_REALTIME);
	watcher_submit(watcher, &frame);
}

void watcher_describe_deferred(struct watcher_finder *finder)
{
	for (size_t i = 0; i < finder->deferred_count; i++) {
		const struct watcher_deferred *item = &finder->deferred[i];
		struct watcher_sighting times;
		struct snapframe frame;

		if (said_facts(finder->watcher, item->stat.pid, item->stat.start_ticks))
			continue;
		watcher_begin(&times, item->cause);
		snapframe_init(&frame, SNAP_EVENT, item->cause);
		frame.head.begin_ns = times.begin_ns;
		frame.head.monotonic_ns = times.monotonic_ns;
		frame.head.boot_ns = times.boot_ns;
		describe(finder, &item->stat, &frame);
		frame.head.end_ns = quantity_now_ns(CLOCK_REALTIME);
		watcher_submit(finder->watcher, &frame);
	}
	finder->deferred_count = 0;
}
