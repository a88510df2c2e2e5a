/* The life of the watcher: what it opens, what it does without, its threads. */
#include "snapshot/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/watcher_internal.h"

/* So that a thread that spun for 0.3 ms may still interrupt another right after a
 * pause of 20 us: what it ran counts against it by its weight. */
#define FLUSH_NS INT64_C(500000000)
#define NICE	 (-20)
#define SLICE_NS 100000 /* the shortest there is */

void watcher_miss(struct watcher *watcher, enum watcher_missed what)
{
	atomic_fetch_or(&watcher->missed, what);
}

void watcher_submit(struct watcher *watcher, struct snapframe *frame)
{
	if (watcher->config.submit(watcher->config.context, frame))
		watcher_miss(watcher, WATCHER_MISSED_FRAMES);
}

/* ------------------------------------------------------------ priority -- */

/* Linux has one nice value for each thread. Not allowed: then it finds a
 * little less. */
static void raise_priority(struct watcher *watcher)
{
	errno = 0;
	watcher->nice = getpriority(PRIO_PROCESS, 0);
	watcher->is_raised = !errno && watcher->nice > NICE && !setpriority(PRIO_PROCESS, 0, NICE);
}

static void restore_priority(struct watcher *watcher)
{
	if (watcher->is_raised)
		setpriority(PRIO_PROCESS, 0, watcher->nice);
	watcher->is_raised = false;
}

/* ---------------------------------------------------------------- open -- */

/* "on: without A (EPERM), B (ENOENT)" */
static void add_missing(struct watcher *watcher, const char *what, const struct error *error)
{
	size_t length = strlen(watcher->status);
	const char *name = error->saved_errno ? strerrorname_np(error->saved_errno) : NULL;

	snprintf(watcher->status + length, sizeof(watcher->status) - length, "%s%s (%s)",
		 length > 2 ? ", " : ": without ", what, name ? name : "not in this kernel");
}

/* What is missing, in words that stand alone. */
static void add_without(struct watcher *watcher, const char *words)
{
	size_t length = strlen(watcher->status);

	if (*words)
		snprintf(watcher->status + length, sizeof(watcher->status) - length, "%s%s",
			 length > 2 ? ", " : ": without ", words);
}

static int allocate(struct watcher *watcher, struct error *error)
{
	watcher->recent = calloc(1, sizeof(*watcher->recent));
	watcher->said = calloc(1, sizeof(*watcher->said));
	watcher->cookies = calloc(1, sizeof(*watcher->cookies));
	watcher->queue = calloc(1, sizeof(*watcher->queue));
	if (!watcher->recent || !watcher->said || !watcher->cookies || !watcher->queue)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	pthread_mutex_init(&watcher->recent->lock, NULL);
	pthread_mutex_init(&watcher->said->lock, NULL);
	pthread_mutex_init(&watcher->cookies->lock, NULL);
	pthread_mutex_init(&watcher->queue->lock, NULL);
	watcher->queue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watcher->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watcher->drained_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watcher->ask_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watcher->queue->wake_fd < 0 || watcher->stop_fd < 0 || watcher->drained_fd < 0 ||
	    watcher->ask_fd < 0)
		return error_errno(error, NULL, "starting the watcher");
	return 0;
}

static int open_tap(struct watcher *watcher, struct error *error)
{
	const struct watcher_config *config = &watcher->config;
	struct watcher_filter *filter = &watcher->calls.filter;
	int status;
	bool any = config->interface_count == 0 || config->interface_count > WATCHER_TAP_INTERFACES;
	unsigned only = 0;

	for (size_t i = 0; i < config->interface_count && !any; i++) {
		only = if_nametoindex(config->interfaces[i]);
		any = !strcmp(config->interfaces[i], "any") || only == 0;
		filter->interfaces[i] = only;
	}
	filter->interface_count = any || config->interface_count == 1 ? 0 : config->interface_count;
	if (any || config->interface_count > 1)
		only = 0;
	watcher->answers.filter = *filter;
	watcher->answers.filter.side = WATCHER_ANSWERS;
	status = watcher_intake_open(&watcher->calls, watcher, only, error);
	return status ? status : watcher_intake_open(&watcher->answers, watcher, only, error);
}

static void close_tracepoints(struct watcher *watcher)
{
	watcher_trace_close(watcher->trace);
	watcher_people_free(watcher->people);
	tracepoint_close(watcher->tracepoints);
	watcher->trace = NULL;
	watcher->people = NULL;
	watcher->tracepoints = NULL;
}

/* The kernel itself tells who uses which socket: then nothing else has to
 * look, and nothing is too short-lived. */
static void open_tracepoints(struct watcher *watcher)
{
	struct error error = ERROR_NONE;
	const char *without = "";
	int status = tracepoint_open(&watcher->tracepoints, &without, &error);

	if (!status) {
		watcher->people = watcher_people_new(watcher->tick_ns);
		if (!watcher->people)
			status = error_set(&error, ERROR_MEMORY, NULL, -1, "out of memory");
	}
	watcher->reader.watcher = watcher;
	if (!status)
		status = watcher_trace_open(watcher, &error);
	if (!status)
		status = tracepoint_start(watcher->tracepoints, &error);
	if (!status) {
		add_without(watcher, without);
		return;
	}
	close_tracepoints(watcher);
	add_missing(watcher, "tracepoints", &error);
}

/* What looks at packets needs these, too. */
static void open_finders(struct watcher *watcher)
{
	struct error error = ERROR_NONE;

	if (watcher_finder_init(&watcher->accept, watcher, &error) |
	    watcher_finder_init(&watcher->look, watcher, &error))
		add_missing(watcher, "sock_diag", &error);
	error = (struct error)ERROR_NONE;
	if (procevent_open(0, &watcher->recent->source, &error))
		add_missing(watcher, "process events", &error);
}

static void open_parts(struct watcher *watcher)
{
	struct error error = ERROR_NONE;

	watcher->netns = procfs_read_netns(watcher->config.proc_fd, "self/ns/net", NULL);
	/* Reads facts only. */
	watcher->process.watcher = watcher;
	if ((watcher->people || watcher->recent->source) &&
	    procevent_open(0, &watcher->processes, &error))
		add_missing(watcher, "process events", &error);
	error = (struct error)ERROR_NONE;
	if (sockdiag_listen(&watcher->closes, &error))
		add_missing(watcher, "close events", &error);
}

static void init_told(struct watcher *watcher)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&watcher->told_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&watcher->told, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

int watcher_open(const struct watcher_config *config, struct watcher **out, struct error *error)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	long ticks = sysconf(_SC_CLK_TCK);
	int status;

	if (!watcher)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	watcher->config = *config;
	watcher->calls.fd = watcher->answers.fd = watcher->stop_fd = watcher->drained_fd = -1;
	watcher->ask_fd = -1;
	init_told(watcher);
	watcher->tick_ns = NS_PER_SECOND / (ticks > 0 ? ticks : 100);
	watcher_view_init(&watcher->view);
	snprintf(watcher->status, sizeof(watcher->status), "on");
	status = allocate(watcher, error);
	if (!status)
		open_tracepoints(watcher);
	if (!status && !watcher->people) {
		status = open_tap(watcher, error);
		if (!status)
			open_finders(watcher);
	}
	if (status) {
		watcher_close(watcher);
		return status;
	}
	open_parts(watcher);
	raise_priority(watcher);
	*out = watcher;
	return 0;
}

const char *watcher_status(const struct watcher *watcher)
{
	return watcher->status;
}

void watcher_learn(struct watcher *watcher, const struct pollstate *state)
{
	bool foreign =
		watcher_view_learn(&watcher->view, watcher->config.proc_fd, state, watcher->netns);

	atomic_store(&watcher->foreign, foreign);
	if (watcher->people)
		watcher_people_learn(watcher->people, state);
}

static void ask_trace(struct watcher *watcher)
{
	uint64_t one = 1;

	(void)!write(watcher->ask_fd, &one, sizeof(one));
}

static void init_missed(struct watcher *watcher, struct snapframe *frame)
{
	static const char *const subjects[] = {"uses of streams", "uses of datagrams"};
	int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);
	int64_t since_ns = atomic_load(&watcher->told_until_ns);

	snapframe_init(frame, SNAP_EVENT, "missed");
	frame->head.end_ns = quantity_now_ns(CLOCK_REALTIME);
	frame->head.begin_ns = frame->head.end_ns - (now_ns - since_ns);
	frame->head.monotonic_ns = since_ns;
	frame->head.boot_ns = quantity_now_ns(CLOCK_BOOTTIME) - (now_ns - since_ns);
	for (size_t i = 0; i < 2; i++) {
		struct snap_record record = {.type = SNAP_TYPE_ABSENT, .op = SNAP_ONCE};

		record.u.absent = (struct snap_absent){
			.what = "event", .subject = subjects[i], .reason = "late"};
		snapframe_add(frame, &record);
	}
}

bool watcher_flush(struct watcher *watcher, struct snapframe *missed)
{
	int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC), limit_ns = now_ns + FLUSH_NS;
	const struct timespec limit = {limit_ns / NS_PER_SECOND, limit_ns % NS_PER_SECOND};
	int failed = 0;

	if (!watcher->people || watcher->stopped)
		return true;
	pthread_mutex_lock(&watcher->told_lock);
	atomic_store(&watcher->flush_ns, now_ns);
	ask_trace(watcher);
	while (!failed && atomic_load(&watcher->told_until_ns) < now_ns)
		failed = pthread_cond_timedwait(&watcher->told, &watcher->told_lock, &limit);
	pthread_mutex_unlock(&watcher->told_lock);
	if (atomic_load(&watcher->told_until_ns) >= now_ns)
		return true;
	init_missed(watcher, missed);
	return false;
}

void watcher_restate(struct watcher *watcher)
{
	if (!watcher->people)
		return;
	atomic_store(&watcher->restate_wanted, true);
	ask_trace(watcher);
}

/* ------------------------------------------------------------- threads -- */

/* Of sched_setattr(2), first version; its header and glibc's exclude each other. */
struct slice {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* A short slice lets a thread that wakes up run at once, where the kernel
 * gives slices by thread (Linux 6.12, sched_setattr(2)); elsewhere it changes nothing. */
static void shorten_slice(void)
{
	struct slice slice = {.size = sizeof(slice),
			      .policy = SCHED_OTHER,
			      .nice = getpriority(PRIO_PROCESS, 0),
			      .runtime = SLICE_NS};

	(void)!syscall(SYS_sched_setattr, 0, &slice, 0);
}

/* The two that race with the ends of a connection never wait for each other:
 * each has half of the processors that this process may use. */
static void take_half(unsigned half)
{
	cpu_set_t allowed, mine;
	unsigned seen = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) || CPU_COUNT(&allowed) < 2)
		return;
	CPU_ZERO(&mine);
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &allowed) && seen++ % 2 == half)
			CPU_SET(i, &mine);
	}
	(void)!sched_setaffinity(0, sizeof(mine), &mine);
}

static void *run_look(void *context)
{
	shorten_slice();
	take_half(0);
	return watcher_look_thread(context);
}

static void *run_accept(void *context)
{
	shorten_slice();
	take_half(1);
	return watcher_accept_thread(context);
}

/* Less urgent than the other two: it must not take the processor from them. */
static void *run_process(void *context)
{
	const struct watcher *watcher = context;

	if (watcher->nice > NICE / 2)
		setpriority(PRIO_PROCESS, 0, NICE / 2);
	return watcher_process_thread(context);
}

static void *run_trace(void *context)
{
	const struct watcher *watcher = context;

	if (watcher->nice > NICE / 2)
		setpriority(PRIO_PROCESS, 0, NICE / 2);
	return watcher_trace_thread(context);
}

int watcher_start(struct watcher *watcher, struct error *error)
{
	static void *(*const by_packets[])(void *) = {run_look, run_accept, run_process, NULL};
	static void *(*const by_tracepoints[])(void *) = {run_trace, run_process, NULL};
	void *(*const *threads)(void *) = watcher->people ? by_tracepoints : by_packets;
	sigset_t all, before;
	int failed = 0;

	/* Signals belong to the threads that wait for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (size_t i = 0; threads[i] && !failed; i++) {
		failed = pthread_create(&watcher->threads[i], NULL, threads[i], watcher);
		watcher->thread_count += failed == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	restore_priority(watcher);
	errno = failed;
	return failed ? error_errno(error, NULL, "starting the watcher") : 0;
}

void watcher_stop(struct watcher *watcher)
{
	uint64_t one = 1;

	if (watcher->stopped || watcher->stop_fd < 0)
		return;
	watcher->stopped = true;
	(void)!write(watcher->stop_fd, &one, sizeof(one));
	for (unsigned i = 0; i < watcher->thread_count; i++) {
		pthread_join(watcher->threads[i], NULL);
		/* The first one drains the tracepoints, for which process waits. */
		(void)!write(watcher->drained_fd, &one, sizeof(one));
	}
}

void watcher_close(struct watcher *watcher)
{
	if (!watcher)
		return;
	watcher_stop(watcher);
	restore_priority(watcher);
	watcher_finder_release(&watcher->look);
	watcher_finder_release(&watcher->accept);
	watcher_finder_release(&watcher->process);
	if (watcher->recent)
		procevent_close(watcher->recent->source);
	procevent_close(watcher->processes);
	sockdiag_listen_close(watcher->closes);
	watcher_view_release(&watcher->view);
	watcher_intake_release(&watcher->calls);
	watcher_intake_release(&watcher->answers);
	if (watcher->queue && watcher->queue->wake_fd >= 0)
		close(watcher->queue->wake_fd);
	if (watcher->stop_fd >= 0)
		close(watcher->stop_fd);
	if (watcher->drained_fd >= 0)
		close(watcher->drained_fd);
	if (watcher->ask_fd >= 0)
		close(watcher->ask_fd);
	pthread_cond_destroy(&watcher->told);
	pthread_mutex_destroy(&watcher->told_lock);
	close_tracepoints(watcher);
	watcher_finder_release(&watcher->reader);
	free(watcher->recent);
	free(watcher->said);
	free(watcher->cookies);
	free(watcher->queue);
	free(watcher);
}
