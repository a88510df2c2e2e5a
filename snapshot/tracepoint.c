#include "snapshot/tracepoint_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Of one processor. At 50 to 150 bytes an event, 1 MiB holds 10,000 of them, the
 * quarter of which wakes the reader. */
#define RING_BYTES_MOST	 (1u << 20)
#define RING_BYTES_LEAST (64u << 10)

/* Of the namespaces that the kernel tells, ours. */
static const char *const namespace_files[TRACEPOINT_NAMESPACES] = {
	"/proc/self/ns/net", "/proc/self/ns/uts",    "/proc/self/ns/ipc", "/proc/self/ns/pid",
	"/proc/self/ns/mnt", "/proc/self/ns/cgroup", "/proc/self/ns/user"};

static int open_event(const struct tracepoint_source *source, int number, uint32_t cpu)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
		.disabled = 1,
		.sample_id_all = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.watermark = 1,
		.wakeup_watermark = (uint32_t)(source->ring_bytes / 4),
	};

	if (number == TRACEPOINT_TASKS) {
		attr.task = 1;
		attr.namespaces = source->namespaces;
	} else {
		attr.type = PERF_TYPE_TRACEPOINT;
		attr.config = source->layout.of[number].id;
		attr.sample_period = 1;
	}
	if (number == TRACEPOINT_PROCESS_EXEC) {
		attr.watermark = 0;
		attr.wakeup_events = 1;
	}
	return (int)syscall(SYS_perf_event_open, &attr, -1, (int)cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static void close_descriptor(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static struct tracepoint_ring *add_ring(struct tracepoint_source *source, uint32_t cpu, int fd)
{
	struct tracepoint_ring *ring;

	if (source->ring_count == source->ring_room) {
		size_t room = source->ring_room ? 2 * source->ring_room : 8;
		struct tracepoint_ring *rings = realloc(source->rings, room * sizeof(*rings));

		if (!rings)
			return NULL;
		source->rings = rings;
		source->ring_room = room;
		/* Empty as yet: it fills when a round begins. */
		free(source->heap);
		source->heap = malloc(room * sizeof(struct tracepoint_ring *));
		if (!source->heap)
			return NULL;
	}
	ring = &source->rings[source->ring_count++];
	*ring = (struct tracepoint_ring){.cpu = cpu};
	for (int i = 0; i < TRACEPOINT_EVENTS; i++)
		ring->fds[i] = -1;
	ring->fds[TRACEPOINT_TASKS] = fd;
	return ring;
}

/* More descriptors than most limits allow for, where there are many processors. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* As open_event, with a second try where descriptors have run out. */
static int open_event_surely(const struct tracepoint_source *source, int number, uint32_t cpu)
{
	int fd = open_event(source, number, cpu);

	if (fd < 0 && errno == EMFILE) {
		raise_limit();
		fd = open_event(source, number, cpu);
	}
	return fd;
}

static int refuse_perf(struct error *error)
{
	int result = error_errno(error, NULL,
				 "the kernel gives no perf events (CAP_PERFMON, or the sysctl "
				 "kernel.perf_event_paranoid)");

	return result == ERROR_NO_INPUT ? ERROR_SYSTEM : result;
}

/* Linux before 4.12 says EINVAL to the bit that it does not know, and later ones may refuse
 * it to those whom they let see forks. */
static bool try_without_namespaces(struct tracepoint_source *source)
{
	if (!source->namespaces || source->ring_count || (errno != EINVAL && errno != EACCES))
		return false;
	tracepoint_add_without(source, "PERF_RECORD_NAMESPACES",
			       errno == EINVAL ? "no such record" : strerror(errno));
	source->namespaces = false;
	return true;
}

/* The perf event that tells forks and exits, of each processor: the kernel
 * says ENODEV for one that is offline, and EINVAL behind the last. */
static int find_processors(struct tracepoint_source *source, struct error *error)
{
	for (uint32_t cpu = 0;; cpu++) {
		int fd = open_event_surely(source, TRACEPOINT_TASKS, cpu);

		if (fd < 0 && errno == ENODEV)
			continue;
		if (fd < 0 && errno == EINVAL && source->ring_count)
			return 0;
		if (fd < 0 && try_without_namespaces(source))
			fd = open_event_surely(source, TRACEPOINT_TASKS, cpu);
		if (fd < 0)
			return refuse_perf(error);
		if (!add_ring(source, cpu, fd)) {
			close(fd);
			return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
		}
	}
}

static int map_rings(struct tracepoint_source *source, struct error *error)
{
	for (size_t i = 0; i < source->ring_count; i++) {
		struct tracepoint_ring *ring = &source->rings[i];
		struct epoll_event ready = {.events = EPOLLIN};
		void *map =
			mmap(NULL, source->page_bytes + source->ring_bytes, PROT_READ | PROT_WRITE,
			     MAP_SHARED, ring->fds[TRACEPOINT_TASKS], 0);

		if (map == MAP_FAILED)
			return error_errno(
				error, NULL,
				"cannot map a buffer for perf events (CAP_IPC_LOCK, or the "
				"sysctl kernel.perf_event_mlock_kb)");
		ring->page = map;
		ring->data = (const uint8_t *)map + source->page_bytes;
		/* One is enough: the kernel wakes all that share the buffer. */
		if (epoll_ctl(source->epoll, EPOLL_CTL_ADD, ring->fds[TRACEPOINT_TASKS], &ready))
			return error_errno(error, NULL, "cannot wait for perf events");
	}
	return 0;
}

static size_t choose_ring_bytes(size_t rings, size_t page_bytes)
{
	size_t bytes = RING_BYTES_MOST;

	while (bytes > RING_BYTES_LEAST && bytes > page_bytes &&
	       bytes * rings > TRACEPOINT_BUFFER_MAX)
		bytes /= 2;
	return bytes;
}

/* The perf events know how much of the buffer shall wake, so they are made
 * again once the number of processors has said how large it is. */
static int open_rings(struct tracepoint_source *source, struct error *error)
{
	int result;

	source->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	source->ring_bytes = RING_BYTES_MOST;
	result = find_processors(source, error);
	if (result)
		return result;
	source->ring_bytes = choose_ring_bytes(source->ring_count, source->page_bytes);
	for (size_t i = 0; i < source->ring_count && source->ring_bytes != RING_BYTES_MOST; i++) {
		int *fd = &source->rings[i].fds[TRACEPOINT_TASKS];

		close_descriptor(fd);
		*fd = open_event_surely(source, TRACEPOINT_TASKS, source->rings[i].cpu);
		if (*fd < 0)
			return refuse_perf(error);
	}
	source->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (source->epoll < 0)
		return error_errno(error, NULL, "cannot wait for perf events");
	return map_rings(source, error);
}

/* On every processor or on none: half an account would be believed. One that
 * went offline meanwhile has nothing to tell. */
static void open_tracepoint(struct tracepoint_source *source, enum tracepoint_number number)
{
	const char *filter = tracepoint_names[number].filter;

	for (size_t i = 0; i < source->ring_count; i++) {
		struct tracepoint_ring *ring = &source->rings[i];
		int fd = open_event_surely(source, number, ring->cpu);

		if (fd < 0 && errno == ENODEV)
			continue;
		ring->fds[number] = fd;
		if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, ring->fds[TRACEPOINT_TASKS])) {
			tracepoint_say_without(source, number, "%s", strerror(errno));
			for (size_t j = 0; j <= i; j++)
				close_descriptor(&source->rings[j].fds[number]);
			return;
		}
		/* Where the kernel refuses it, the parser does the same, later. */
		if (filter)
			ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter);
	}
}

/* At each new task the kernel looks up the file of each of its namespaces, and makes it
 * first unless it is in use: 12 us instead of 2. Without them it works, too. */
static void hold_namespaces(struct tracepoint_source *source)
{
	for (size_t i = 0; source->namespaces && i < TRACEPOINT_NAMESPACES; i++)
		source->held[i] = open(namespace_files[i], O_RDONLY | O_CLOEXEC);
}

int tracepoint_open(struct tracepoint_source **out, const char **without, struct error *error)
{
	struct tracepoint_source *source = calloc(1, sizeof(*source));
	int result;

	if (!source)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	source->epoll = -1;
	for (size_t i = 0; i < TRACEPOINT_NAMESPACES; i++)
		source->held[i] = -1;
	source->namespaces = true;
	result = tracepoint_learn(source, error);
	if (!result)
		result = open_rings(source, error);
	for (int i = 0; !result && i < TRACEPOINT_COUNT; i++) {
		if (source->layout.of[i].known)
			open_tracepoint(source, (enum tracepoint_number)i);
	}
	if (!result && !source->layout.of[TRACEPOINT_SET_STATE].known)
		result = error_set(error, ERROR_SYSTEM, NULL, -1,
				   "this kernel cannot tell what its sockets do: %s",
				   source->without);
	if (result) {
		tracepoint_close(source);
		return result;
	}
	hold_namespaces(source);
	*out = source;
	*without = source->without;
	return 0;
}

void tracepoint_close(struct tracepoint_source *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < source->ring_count; i++) {
		struct tracepoint_ring *ring = &source->rings[i];

		if (ring->page)
			munmap(ring->page, source->page_bytes + source->ring_bytes);
		for (int j = 0; j < TRACEPOINT_EVENTS; j++)
			close_descriptor(&ring->fds[j]);
	}
	for (size_t i = 0; i < TRACEPOINT_NAMESPACES; i++)
		close_descriptor(&source->held[i]);
	close_descriptor(&source->epoll);
	free(source->heap);
	free(source->rings);
	free(source);
}

/* ----------------------------------------------------- on and off ------- */

static int switch_event(struct tracepoint_source *source, int number, bool on)
{
	unsigned long request = on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE;
	int result = 0;

	for (size_t i = 0; i < source->ring_count; i++) {
		int fd = source->rings[i].fds[number];

		if (fd >= 0 && ioctl(fd, request, 0))
			result = -1;
	}
	return result;
}

/* Processes first, so that whoever is seen to do something has been told of. */
int tracepoint_start(struct tracepoint_source *source, struct error *error)
{
	for (int i = TRACEPOINT_EVENTS - 1; i >= 0; i--) {
		if (!(i < TRACEPOINT_COUNT && source->off[i]) && switch_event(source, i, true))
			return error_errno(error, NULL, "cannot start perf events");
	}
	source->started = true;
	return 0;
}

void tracepoint_switch(struct tracepoint_source *source, enum tracepoint_group group, bool on)
{
	static const enum tracepoint_number members[2][3] = {
		[TRACEPOINT_TRANSFERS] = {TRACEPOINT_SEND_LENGTH, TRACEPOINT_RECV_LENGTH,
					  TRACEPOINT_SPACE_ADJUST},
		[TRACEPOINT_ROUTES] = {TRACEPOINT_FIB, TRACEPOINT_FIB6, TRACEPOINT_FIB6},
	};

	for (int i = 0; i < 3; i++) {
		enum tracepoint_number number = members[group][i];

		if (source->started && source->off[number] == on)
			switch_event(source, number, on);
		source->off[number] = !on;
	}
}

bool tracepoint_has_lengths(const struct tracepoint_source *source)
{
	return source->lengths;
}

int tracepoint_fd(const struct tracepoint_source *source)
{
	return source->epoll;
}
