/* The thread that writes down what the kernel tells by itself: programs
 * executed, processes that ended, sockets closed; and what was left out. */
#include "snapshot/watcher_internal.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/format/quantity.h"

#define TICK_MS	      50 /* a frame of these takes no longer */
#define FRAME_LIMIT   256
#define EXECS_LIMIT   100 /* in WATCHER_WINDOW_NS; see the table in watcher.h */
#define CLOSES_LIMIT  2000
#define EXITS_WAITING 65536 /* beyond, the oldest do not wait for what they used */

/* One frame being filled. */
struct batch {
	struct snapframe frame;
	bool open;
};

/* The end of a process's leader. */
struct ending {
	struct procevent event;
	int64_t seen_ns; /* CLOCK_MONOTONIC: when it was looked whether other threads */
	bool lives_on;	 /* go on */
};

struct process {
	struct watcher *watcher;
	struct batch execs, exits, closes;
	int64_t opened_ns; /* CLOCK_MONOTONIC, of the oldest of them; 0: none */
	int64_t window;
	int64_t closes_after_ns; /* they can wait: not each wakes this thread */
	unsigned exec_count, close_count;
	/* Ends of processes whose uses are not told yet; from first on. */
	struct ending *waiting;
	size_t waiting_first, waiting_count, waiting_capacity;
};

static void open_batch(struct process *process, struct batch *batch, const char *cause)
{
	struct watcher_sighting now;

	if (batch->open)
		return;
	watcher_begin(&now, cause);
	snapframe_init(&batch->frame, SNAP_EVENT, cause);
	batch->frame.head.begin_ns = now.begin_ns;
	batch->frame.head.monotonic_ns = now.monotonic_ns;
	batch->frame.head.boot_ns = now.boot_ns;
	batch->open = true;
	if (!process->opened_ns)
		process->opened_ns = now.monotonic_ns;
}

static void end_batch(struct process *process, struct batch *batch)
{
	if (!batch->open)
		return;
	batch->open = false;
	batch->frame.head.end_ns = quantity_now_ns(CLOCK_REALTIME);
	if (batch->frame.records)
		watcher_submit(process->watcher, &batch->frame);
	else
		snapframe_release(&batch->frame);
}

static void add(struct process *process, struct batch *batch, const struct snap_record *record)
{
	snapframe_add(&batch->frame, record);
	if (batch->frame.records >= FRAME_LIMIT)
		end_batch(process, batch);
}

/* -------------------------------------------------------------- events -- */

static void on_exec(struct process *process, const struct procevent *event)
{
	struct watcher *watcher = process->watcher;
	struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_ONCE};
	struct procfs_facts *facts;
	int64_t read_ns;

	if (!watcher->people)
		watcher_unsay(watcher, event->pid);
	if (++process->exec_count > EXECS_LIMIT)
		return;
	open_batch(process, &process->execs, "exec");
	read_ns = quantity_now_ns(CLOCK_MONOTONIC);
	facts = watcher_read_facts(&watcher->process, event->pid);
	if (!facts)
		return;
	record.u.process = facts->record;
	if (watcher->people)
		watcher_people_read(watcher->people, facts, event->monotonic_ns, read_ns, true);
	else
		watcher_say(watcher, event->pid, facts->record.start_ticks, true);
	add(process, &process->execs, &record);
	procfs_facts_unref(facts);
}

/* Only of a process that some frame names: its start must be known. */
static void tell_exit(struct process *process, const struct procevent *event, uint64_t start_ticks,
		      int64_t exit_ns)
{
	struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_GONE};

	open_batch(process, &process->exits, "exit");
	record.u.process = (struct snap_process){
		.pid = event->pid,
		.start_ticks = start_ticks,
		.ppid = event->parent,
		.uid = SNAP_UNKNOWN_UID,
		.exit_known = true,
		.exit_code = event->exit_code,
		.exit_ns = quantity_now_ns(CLOCK_REALTIME) -
			   (quantity_now_ns(CLOCK_MONOTONIC) - exit_ns),
	};
	/* What the kernel tells was true before it is read here. */
	if (record.u.process.exit_ns < process->exits.frame.head.begin_ns)
		process->exits.frame.head.begin_ns = record.u.process.exit_ns;
	add(process, &process->exits, &record);
}

/* Its leader has ended, but another thread has not. */
static bool lives_on(struct process *process, uint32_t pid)
{
	struct procfs_text *text = &process->watcher->process.scratch.stat;
	struct procfs_stat stat;
	char path[24];

	snprintf(path, sizeof(path), "%" PRIu32 "/stat", pid);
	return !procfs_read_file(process->watcher->config.proc_fd, path, 0, text) &&
	       !procfs_parse_stat(text->text, text->length, &stat, NULL) && stat.state == 'Z' &&
	       stat.threads > 1;
}

static void push_ending(struct process *process, const struct procevent *event)
{
	struct ending *grown;

	/* Those in front are gone: the others move up before room is made. */
	if (process->waiting_first && process->waiting_first >= process->waiting_count) {
		memmove(process->waiting, process->waiting + process->waiting_first,
			process->waiting_count * sizeof(*process->waiting));
		process->waiting_first = 0;
	}
	grown = procfs_grow(process->waiting, &process->waiting_capacity,
			    process->waiting_first + process->waiting_count + 1, sizeof(*grown));
	if (!grown) {
		watcher_miss(process->watcher, WATCHER_MISSED_PROCESSES);
		return;
	}
	process->waiting = grown;
	grown[process->waiting_first + process->waiting_count++] = (struct ending){
		*event, quantity_now_ns(CLOCK_MONOTONIC), lives_on(process, event->pid)};
}

/* Whether any frame names a process shows once all that it did is told. */
static void tell_exits(struct process *process)
{
	struct watcher *watcher = process->watcher;
	int64_t told_until_ns = atomic_load(&watcher->told_until_ns);

	for (size_t count = process->waiting_count; count; count--) {
		const struct ending ending = process->waiting[process->waiting_first];
		int64_t exit_ns = ending.event.monotonic_ns, last_ns = 0;
		uint64_t start_ticks;

		if (ending.seen_ns > told_until_ns && process->waiting_count <= EXITS_WAITING)
			return;
		process->waiting_first++;
		if (--process->waiting_count == 0)
			process->waiting_first = 0;
		if (ending.lives_on) {
			push_ending(process, &ending.event);
			continue;
		}
		start_ticks = watcher_people_named_start(watcher->people, ending.event.pid, exit_ns,
							 &last_ns);
		if (start_ticks)
			tell_exit(process, &ending.event, start_ticks,
				  last_ns > exit_ns ? last_ns : exit_ns);
	}
}

static void take_exit(struct process *process, const struct procevent *event)
{
	struct watcher *watcher = process->watcher;
	int64_t ago_ns = quantity_now_ns(CLOCK_MONOTONIC) - event->monotonic_ns;
	uint64_t start_ticks;

	if (watcher->people) {
		push_ending(process, event);
		return;
	}
	start_ticks =
		watcher_said_start(watcher, event->pid, quantity_now_ns(CLOCK_BOOTTIME) - ago_ns);
	if (start_ticks)
		tell_exit(process, event, start_ticks, event->monotonic_ns);
}

static void take_events(struct process *process)
{
	struct watcher *watcher = process->watcher;
	struct procevent event;
	int result;

	while ((result = procevent_next(watcher->processes, &event, NULL)) != 0) {
		if (result == ERROR_LIMIT) {
			watcher_miss(watcher, WATCHER_MISSED_PROCESSES);
			continue;
		}
		if (result < 0) {
			watcher_miss(watcher, WATCHER_MISSED_PROCESSES);
			procevent_close(watcher->processes);
			watcher->processes = NULL;
			return;
		}
		if (event.kind == PROCEVENT_EXEC)
			on_exec(process, &event);
		else if (event.kind == PROCEVENT_EXIT)
			take_exit(process, &event);
	}
}

/* -------------------------------------------------------------- closes -- */

static uint32_t inode_of(struct watcher *watcher, uint64_t cookie)
{
	struct watcher_cookies *cookies = watcher->cookies;
	size_t at = cookie % WATCHER_COOKIES;
	uint32_t inode = 0;

	pthread_mutex_lock(&cookies->lock);
	if (cookie && cookies->items[at].cookie == cookie)
		inode = cookies->items[at].inode;
	pthread_mutex_unlock(&cookies->lock);
	return inode;
}

static void on_close(struct process *process, const struct snap_closed *closed)
{
	struct watcher *watcher = process->watcher;
	struct snap_record record = {.type = SNAP_TYPE_CLOSED, .op = SNAP_ONCE};

	if (++process->close_count > CLOSES_LIMIT) {
		watcher_miss(watcher, WATCHER_MISSED_CLOSES_SHED);
		return;
	}
	open_batch(process, &process->closes, "close");
	record.u.closed = *closed;
	record.u.closed.netns = watcher->netns;
	record.u.closed.inode = inode_of(watcher, closed->cookie);
	if (closed->closed_ns && closed->closed_ns < process->closes.frame.head.begin_ns)
		process->closes.frame.head.begin_ns = closed->closed_ns;
	add(process, &process->closes, &record);
}

static void take_closes(struct process *process)
{
	struct watcher *watcher = process->watcher;
	struct snap_closed closed;
	int result;

	while ((result = sockdiag_next_close(watcher->closes, &closed, NULL)) != 0) {
		if (result == 1) {
			on_close(process, &closed);
			continue;
		}
		watcher_miss(watcher, WATCHER_MISSED_CLOSES);
		if (result == ERROR_LIMIT)
			continue;
		sockdiag_listen_close(watcher->closes);
		watcher->closes = NULL;
		return;
	}
}

/* ------------------------------------------------------------ absences -- */

static const struct {
	enum watcher_missed bit;
	const char *subject, *reason;
} absences[] = {
	{WATCHER_MISSED_PROCESSES, "process events", "ENOBUFS"},
	{WATCHER_MISSED_CLOSES, "close events", "ENOBUFS"},
	{WATCHER_MISSED_CLOSES_SHED, "close events", "shed"},
	{WATCHER_MISSED_SHED, "watch", "shed"},
	{WATCHER_MISSED_BUFFER, "watch", "ENOBUFS"},
	{WATCHER_MISSED_FRAMES, "watch", "frames lost"},
};

/* Once for each tick that it lasted in, and the reading that fills the hole. */
static void tell_missed(struct process *process)
{
	struct watcher *watcher = process->watcher;
	unsigned missed = atomic_exchange(&watcher->missed, 0);
	struct batch batch = {.open = false};

	if (!missed)
		return;
	open_batch(process, &batch, "missed");
	for (size_t i = 0; i < sizeof(absences) / sizeof(*absences); i++) {
		struct snap_record record = {.type = SNAP_TYPE_ABSENT, .op = SNAP_ONCE};

		if (!(missed & absences[i].bit))
			continue;
		record.u.absent = (struct snap_absent){.what = "event",
						       .netns = watcher->netns,
						       .subject = absences[i].subject,
						       .reason = absences[i].reason};
		snapframe_add(&batch.frame, &record);
	}
	end_batch(process, &batch);
	watcher->config.want_poll(watcher->config.context);
}

/* ---------------------------------------------------------------- loop -- */

static void end_batches(struct process *process)
{
	end_batch(process, &process->execs);
	end_batch(process, &process->exits);
	end_batch(process, &process->closes);
	process->opened_ns = 0;
}

static void run(struct process *process)
{
	struct watcher *watcher = process->watcher;
	/* The uses of the last processes are told before their exits. */
	struct pollfd ready[3] = {
		{.fd = watcher->people ? watcher->drained_fd : watcher->stop_fd, .events = POLLIN},
		{.events = POLLIN},
		{.events = POLLIN}};

	while (!ready[0].revents) {
		int64_t now_ns;

		ready[1].fd = watcher->processes ? procevent_fd(watcher->processes) : -1;
		ready[2].fd = -1;
		if (watcher->closes && quantity_now_ns(CLOCK_MONOTONIC) >= process->closes_after_ns)
			ready[2].fd = sockdiag_listen_fd(watcher->closes);
		poll(ready, 3,
		     process->opened_ns || process->waiting_count ? TICK_MS : 10 * TICK_MS);
		now_ns = quantity_now_ns(CLOCK_MONOTONIC);
		if (process->window != now_ns / WATCHER_WINDOW_NS) {
			process->window = now_ns / WATCHER_WINDOW_NS;
			process->exec_count = process->close_count = 0;
		}
		if (ready[1].revents)
			take_events(process);
		if (ready[2].revents) {
			take_closes(process);
			process->closes_after_ns = now_ns + TICK_MS * NS_PER_MS;
		}
		tell_exits(process);
		now_ns = quantity_now_ns(CLOCK_MONOTONIC);
		if (process->opened_ns && now_ns - process->opened_ns >= TICK_MS * NS_PER_MS)
			end_batches(process);
		if (!process->opened_ns)
			tell_missed(process);
	}
}

void *watcher_process_thread(void *context)
{
	struct process process = {.watcher = context};

	run(&process);
	/* What the kernel has told until now. */
	if (process.watcher->processes)
		take_events(&process);
	if (process.watcher->closes)
		take_closes(&process);
	tell_exits(&process);
	end_batches(&process);
	tell_missed(&process);
	free(process.waiting);
	return NULL;
}
