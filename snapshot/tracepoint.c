#include "snapshot/tracepoint.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/tracepoint_layout.h"

/* Of one processor. At 50 to 150 bytes an event, 1 MiB holds 10,000 of them, the
 * quarter of which wakes the reader. */
#define RING_BYTES_MOST	 (1u << 20)
#define RING_BYTES_LEAST (64u << 10)

/* No record is larger (PERF_MAX_TRACE_SIZE of the kernel, and the head): with
 * less room than this, the next may have been left out. */
#define RECORD_BYTES_MOST (8192 + 64)

/* The kernel's u16 size of a record. */
#define SCRATCH_BYTES (64u << 10)

/* Format files are 1 to 3 KiB; the fields come first. */
#define FORMAT_BYTES (32u << 10)

/* One processor's: a perf event for each tracepoint, and one that only holds the
 * buffer and tells forks, exits and namespaces. */
#define EVENT_TASKS TRACEPOINT_COUNT
#define EVENT_COUNT (TRACEPOINT_COUNT + 1)

/* Of the namespaces that the kernel tells, ours. */
static const char *const namespace_files[] = {
	"/proc/self/ns/net", "/proc/self/ns/uts",    "/proc/self/ns/ipc", "/proc/self/ns/pid",
	"/proc/self/ns/mnt", "/proc/self/ns/cgroup", "/proc/self/ns/user"};
#define NAMESPACE_COUNT (sizeof(namespace_files) / sizeof(namespace_files[0]))

/* Positions count bytes since the buffer was made and never go back. */
struct ring {
	uint32_t cpu;
	int fds[EVENT_COUNT]; /* -1: none */
	struct perf_event_mmap_page *page;
	const uint8_t *data;
	uint64_t head;	   /* records up to here are looked at in this round */
	uint64_t at;	   /* the next record */
	uint64_t released; /* what the kernel may write over ends here */
	uint32_t size;	   /* of the next record; 0: a loss is told instead */
	int64_t time_ns;   /* of the next record */
	bool unsure;	   /* events may be missing after head */
};

struct tracepoint_source {
	struct tracepoint_layout layout;
	struct ring *rings;
	size_t ring_count, ring_room;
	size_t ring_bytes, page_bytes;
	struct ring **heap; /* of this round, those with a record: the earliest first */
	size_t heap_count;
	bool in_round;
	int64_t until_ns; /* of this round */
	int epoll;
	int held[NAMESPACE_COUNT]; /* -1: none */
	bool started;
	bool namespaces; /* this kernel can tell them */
	bool off[TRACEPOINT_COUNT];
	bool lengths;
	char without[1024];
	uint8_t scratch[SCRATCH_BYTES]; /* a record that goes on at the buffer's start */
};

/* ---------------------------------------------------------- tracefs ----- */

/* A directory "events" of tracefs; -1 and errno. A mount of our own has no
 * place in the tree of files, and ends with its last descriptor. */
static int open_events(void)
{
	static const char *const places[] = {"/sys/kernel/tracing/events",
					     "/sys/kernel/debug/tracing/events"};
	int context, mount = -1, events = -1, saved_errno;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		events = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (events >= 0)
			return events;
	}
	context = fsopen("tracefs", FSOPEN_CLOEXEC);
	if (context >= 0 && !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
	if (mount >= 0)
		events = openat(mount, "events", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	saved_errno = errno;
	if (mount >= 0)
		close(mount);
	if (context >= 0)
		close(context);
	errno = saved_errno;
	return events;
}

/* The first bytes of a tracepoint's file; -1: it cannot be read. */
static ssize_t read_file(int events, enum tracepoint_number number, const char *file, char *out,
			 size_t room)
{
	const struct tracepoint_name *name = &tracepoint_names[number];
	char path[128];
	size_t length = 0;
	ssize_t got = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", name->system, name->name, file);
	fd = openat(events, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (length < room) {
		got = read(fd, out + length, room - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length += (size_t)got;
	}
	close(fd);
	return got < 0 ? -1 : (ssize_t)length;
}

/* ------------------------------------------- what this kernel has not --- */

static void add_without(struct tracepoint_source *source, const char *what, const char *reason)
{
	size_t length = strlen(source->without);

	snprintf(source->without + length, sizeof(source->without) - length, "%s%s (%s)",
		 length ? ", " : "", what, reason);
}

static void say_without(struct tracepoint_source *source, enum tracepoint_number number,
			const char *format, ...) __attribute__((format(printf, 3, 4)));

static void say_without(struct tracepoint_source *source, enum tracepoint_number number,
			const char *format, ...)
{
	char what[64], reason[128];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	snprintf(what, sizeof(what), "%s:%s", tracepoint_names[number].system,
		 tracepoint_names[number].name);
	add_without(source, what, reason);
	source->layout.of[number].known = false;
}

/* Learns one tracepoint's number and fields, or says what is missing. */
static void learn(struct tracepoint_source *source, int events, enum tracepoint_number number,
		  char *format)
{
	char id_text[16] = "";
	const char *missing;
	ssize_t length = read_file(events, number, "id", id_text, sizeof(id_text) - 1);
	unsigned long id = length > 0 ? strtoul(id_text, NULL, 10) : 0;

	/* common_type has 16 bits. */
	if (id == 0 || id > UINT16_MAX) {
		say_without(source, number, "no such tracepoint");
		return;
	}
	length = read_file(events, number, "format", format, FORMAT_BYTES);
	if (length < 0) {
		say_without(source, number, "its format cannot be read: %s", strerror(errno));
		return;
	}
	missing = tracepoint_layout_add(&source->layout, number, (uint16_t)id, format,
					(size_t)length);
	if (missing)
		say_without(source, number, "no usable field %s", missing);
}

static int learn_all(struct tracepoint_source *source, struct error *error)
{
	char *format = malloc(FORMAT_BYTES);
	int events = open_events(), result = 0;

	if (events < 0) {
		result = error_errno(error, "/sys/kernel/tracing",
				     "cannot open tracefs, nor mount it (CAP_SYS_ADMIN)");
		result = result == ERROR_NO_INPUT ? ERROR_SYSTEM : result;
	} else if (!format) {
		result = error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	} else {
		for (int i = 0; i < TRACEPOINT_COUNT; i++) {
			if (i != TRACEPOINT_SPACE_ADJUST)
				learn(source, events, (enum tracepoint_number)i, format);
		}
		source->lengths = source->layout.of[TRACEPOINT_SEND_LENGTH].known &&
				  source->layout.of[TRACEPOINT_RECV_LENGTH].known;
		if (!source->lengths) {
			if (source->layout.of[TRACEPOINT_SEND_LENGTH].known)
				say_without(source, TRACEPOINT_SEND_LENGTH, "no lengths received");
			source->layout.of[TRACEPOINT_RECV_LENGTH].known = false;
			learn(source, events, TRACEPOINT_SPACE_ADJUST, format);
		}
	}
	if (events >= 0)
		close(events);
	free(format);
	return result;
}

/* ------------------------------------------------------ perf events ----- */

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

	if (number == EVENT_TASKS) {
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

static struct ring *add_ring(struct tracepoint_source *source, uint32_t cpu, int fd)
{
	struct ring *ring;

	if (source->ring_count == source->ring_room) {
		size_t room = source->ring_room ? 2 * source->ring_room : 8;
		struct ring *rings = realloc(source->rings, room * sizeof(*rings));

		if (!rings)
			return NULL;
		source->rings = rings;
		source->ring_room = room;
		/* Empty as yet: it fills when a round begins. */
		free(source->heap);
		source->heap = malloc(room * sizeof(struct ring *));
		if (!source->heap)
			return NULL;
	}
	ring = &source->rings[source->ring_count++];
	*ring = (struct ring){.cpu = cpu};
	for (int i = 0; i < EVENT_COUNT; i++)
		ring->fds[i] = -1;
	ring->fds[EVENT_TASKS] = fd;
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
	add_without(source, "PERF_RECORD_NAMESPACES",
		    errno == EINVAL ? "no such record" : strerror(errno));
	source->namespaces = false;
	return true;
}

/* The perf event that tells forks and exits, of each processor: the kernel
 * says ENODEV for one that is offline, and EINVAL behind the last. */
static int find_processors(struct tracepoint_source *source, struct error *error)
{
	for (uint32_t cpu = 0;; cpu++) {
		int fd = open_event_surely(source, EVENT_TASKS, cpu);

		if (fd < 0 && errno == ENODEV)
			continue;
		if (fd < 0 && errno == EINVAL && source->ring_count)
			return 0;
		if (fd < 0 && try_without_namespaces(source))
			fd = open_event_surely(source, EVENT_TASKS, cpu);
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
		struct ring *ring = &source->rings[i];
		struct epoll_event ready = {.events = EPOLLIN};
		void *map = mmap(NULL, source->page_bytes + source->ring_bytes,
				 PROT_READ | PROT_WRITE, MAP_SHARED, ring->fds[EVENT_TASKS], 0);

		if (map == MAP_FAILED)
			return error_errno(
				error, NULL,
				"cannot map a buffer for perf events (CAP_IPC_LOCK, or the "
				"sysctl kernel.perf_event_mlock_kb)");
		ring->page = map;
		ring->data = (const uint8_t *)map + source->page_bytes;
		/* One is enough: the kernel wakes all that share the buffer. */
		if (epoll_ctl(source->epoll, EPOLL_CTL_ADD, ring->fds[EVENT_TASKS], &ready))
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
		int *fd = &source->rings[i].fds[EVENT_TASKS];

		close_descriptor(fd);
		*fd = open_event_surely(source, EVENT_TASKS, source->rings[i].cpu);
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
		struct ring *ring = &source->rings[i];
		int fd = open_event_surely(source, number, ring->cpu);

		if (fd < 0 && errno == ENODEV)
			continue;
		ring->fds[number] = fd;
		if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, ring->fds[EVENT_TASKS])) {
			say_without(source, number, "%s", strerror(errno));
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
	for (size_t i = 0; source->namespaces && i < NAMESPACE_COUNT; i++)
		source->held[i] = open(namespace_files[i], O_RDONLY | O_CLOEXEC);
}

int tracepoint_open(struct tracepoint_source **out, const char **without, struct error *error)
{
	struct tracepoint_source *source = calloc(1, sizeof(*source));
	int result;

	if (!source)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	source->epoll = -1;
	for (size_t i = 0; i < NAMESPACE_COUNT; i++)
		source->held[i] = -1;
	source->namespaces = true;
	result = learn_all(source, error);
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
		struct ring *ring = &source->rings[i];

		if (ring->page)
			munmap(ring->page, source->page_bytes + source->ring_bytes);
		for (int j = 0; j < EVENT_COUNT; j++)
			close_descriptor(&ring->fds[j]);
	}
	for (size_t i = 0; i < NAMESPACE_COUNT; i++)
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
	for (int i = EVENT_COUNT - 1; i >= 0; i--) {
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

/* ---------------------------------------------------------- reading ----- */

static void release(struct ring *ring)
{
	if (ring->released != ring->at)
		__atomic_store_n(&ring->page->data_tail, ring->at, __ATOMIC_RELEASE);
	ring->released = ring->at;
}

/* Finds the next record and its time. Sizes and places are multiples of 8, so
 * neither header nor time ever lies across the buffer's end. False: there is
 * none in this round. */
static bool find_next(const struct tracepoint_source *source, struct ring *ring)
{
	size_t mask = source->ring_bytes - 1;

	while (ring->at < ring->head) {
		struct perf_event_header header;
		size_t time_at;

		memcpy(&header, ring->data + (ring->at & mask), sizeof(header));
		if (header.size < sizeof(header) || header.size % 8 ||
		    header.size > ring->head - ring->at) {
			/* Nothing says where the next would begin. */
			ring->at = ring->head;
			ring->unsure = true;
			break;
		}
		time_at = header.type == PERF_RECORD_SAMPLE ? 16 : header.size - 8u;
		if (header.size >= sizeof(header) + 16) {
			ring->size = header.size;
			memcpy(&ring->time_ns, ring->data + ((ring->at + time_at) & mask),
			       sizeof(ring->time_ns));
			return true;
		}
		ring->at += header.size;
	}
	ring->size = 0;
	ring->time_ns = source->until_ns;
	return ring->unsure;
}

static void sift_down(struct tracepoint_source *source, size_t i)
{
	struct ring **heap = source->heap, *moved = heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= source->heap_count)
			break;
		if (child + 1 < source->heap_count &&
		    heap[child + 1]->time_ns < heap[child]->time_ns)
			child++;
		if (heap[child]->time_ns >= moved->time_ns)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

/* What the kernel has written by now. Later records wait for the next round, so
 * that the buffers' heads, which other processors write, are read only here. */
static void begin_round(struct tracepoint_source *source, int64_t until_ns)
{
	source->in_round = true;
	source->until_ns = until_ns;
	source->heap_count = 0;
	for (size_t i = 0; i < source->ring_count; i++) {
		struct ring *ring = &source->rings[i];

		ring->head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
		if (source->ring_bytes - (ring->head - ring->released) < RECORD_BYTES_MOST)
			ring->unsure = true;
		if (find_next(source, ring))
			source->heap[source->heap_count++] = ring;
	}
	for (size_t i = source->heap_count / 2; i-- > 0;)
		sift_down(source, i);
}

/* The buffer was full or unreadable, and is now read to where that was found. */
static void tell_loss(struct ring *ring, int64_t until_ns, struct tracepoint_event *out)
{
	int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);

	ring->unsure = false;
	out->kind = TRACEPOINT_LOST;
	out->time_ns = now_ns < until_ns ? now_ns : until_ns;
	out->pid = out->tid = 0;
	out->in_task = false;
	out->sk = 0;
	out->u.lost = 0;
}

/* Takes the next record: true if it is an event. */
static bool take(struct tracepoint_source *source, struct ring *ring, struct tracepoint_event *out)
{
	size_t offset = ring->at & (source->ring_bytes - 1);
	size_t left = source->ring_bytes - offset;
	const uint8_t *record = ring->data + offset;
	bool got = true;

	if (ring->size == 0) {
		tell_loss(ring, source->until_ns, out);
	} else {
		if (ring->size > left) {
			memcpy(source->scratch, record, left);
			memcpy(source->scratch + left, ring->data, ring->size - left);
			record = source->scratch;
		}
		got = tracepoint_parse(&source->layout, record, ring->size, out) > 0;
		ring->at += ring->size;
		/* Not at each record: the kernel reads the same cache line. */
		if (ring->at - ring->released > source->ring_bytes / 8)
			release(ring);
	}
	if (got)
		out->cpu = ring->cpu;
	return got;
}

int tracepoint_next(struct tracepoint_source *source, int64_t until_ns,
		    struct tracepoint_event *out)
{
	if (!source->in_round || until_ns != source->until_ns)
		begin_round(source, until_ns);
	while (source->heap_count && source->heap[0]->time_ns <= until_ns) {
		struct ring *ring = source->heap[0];
		bool got = take(source, ring, out);

		if (!find_next(source, ring))
			source->heap[0] = source->heap[--source->heap_count];
		if (source->heap_count)
			sift_down(source, 0);
		if (got)
			return 1;
	}
	for (size_t i = 0; i < source->ring_count; i++)
		release(&source->rings[i]);
	source->in_round = false;
	return 0;
}
