/* The thread that takes the kernel's tracepoints: who used which socket becomes
 * a frame, and processes that only these show stand in it before their uses. */
#include "snapshot/watcher_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

#define BUSY_MS	    50 /* between two drains, unless a buffer fills or a program is executed */
#define IDLE_MS	    500
#define SPACING_NS  INT64_C(1000000)
#define SETTLE_NS   INT64_C(2000000) /* by then every processor's events are in order */
#define FRAME_LIMIT 256
#define STEP_NS	    INT64_C(1000000) /* of the clock; less is no step */
#define CLOCK_TRIES 3
#define SHED_NS	    INT64_C(1000000000)
#define KTHREADD    2 /* every kernel thread's parent */

struct watcher_trace {
	struct watcher *watcher;
	struct watcher_uses *uses;
	struct snapframe frame;
	int64_t frame_begin_ns; /* CLOCK_REALTIME */
	bool is_open;
	/* CLOCK_REALTIME and CLOCK_BOOTTIME less CLOCK_MONOTONIC, of the events at
	 * hand; measured: now. */
	int64_t real_ns, boot_ns, measured_ns;
	int64_t drained_ns;			    /* CLOCK_MONOTONIC, of the last drain */
	int64_t shed_until_ns[WATCHER_USES_GROUPS]; /* 0: taken */
	int64_t shed_told_ns[WATCHER_USES_GROUPS];
};

/* -------------------------------------------------------------- clocks -- */

/* CLOCK_REALTIME less CLOCK_MONOTONIC, by the try that was interrupted least. */
static int64_t measure_real(void)
{
	int64_t best_ns = INT64_MAX, offset_ns = 0;

	for (unsigned i = 0; i < CLOCK_TRIES; i++) {
		int64_t before_ns = quantity_now_ns(CLOCK_MONOTONIC);
		int64_t real_ns = quantity_now_ns(CLOCK_REALTIME);
		int64_t took_ns = quantity_now_ns(CLOCK_MONOTONIC) - before_ns;

		if (took_ns >= best_ns)
			continue;
		best_ns = took_ns;
		offset_ns = real_ns - before_ns - took_ns / 2;
	}
	return offset_ns;
}

/* Events before a step have the time that was true until then. */
static void set_clocks(struct watcher_trace *trace)
{
	int64_t before_ns = trace->measured_ns;

	trace->measured_ns = measure_real();
	trace->real_ns = trace->measured_ns;
	if (before_ns && llabs(trace->measured_ns - before_ns) > STEP_NS)
		trace->real_ns = before_ns;
	watcher_uses_set_real(trace->uses, trace->real_ns);
	trace->boot_ns = quantity_now_ns(CLOCK_BOOTTIME) - quantity_now_ns(CLOCK_MONOTONIC);
	watcher_people_set_boot(trace->watcher->people, trace->boot_ns);
}

/* -------------------------------------------------------------- frames -- */

/* A frame that begins at a moment of CLOCK_REALTIME. */
static void init_frame(const struct watcher_trace *trace, struct snapframe *frame,
		       const char *cause, int64_t begin_ns)
{
	snapframe_init(frame, SNAP_EVENT, cause);
	frame->head.begin_ns = begin_ns;
	frame->head.monotonic_ns = begin_ns - trace->real_ns;
	frame->head.boot_ns = frame->head.monotonic_ns + trace->boot_ns;
}

static bool submit(struct watcher_trace *trace, struct snapframe *frame)
{
	const struct watcher_config *config = &trace->watcher->config;

	frame->head.end_ns = quantity_now_ns(CLOCK_REALTIME);
	return config->submit(config->context, frame) == 0;
}

static void end_frame(struct watcher_trace *trace)
{
	int64_t since_ns = trace->frame_begin_ns - trace->real_ns;

	if (!trace->is_open)
		return;
	trace->is_open = false;
	if (submit(trace, &trace->frame))
		return;
	watcher_people_forget_told(trace->watcher->people);
	watcher_uses_miss(trace->uses, TRACEPOINT_TRANSFERS, WATCHER_UNTOLD_FRAMES, since_ns);
	watcher_uses_miss(trace->uses, TRACEPOINT_ROUTES, WATCHER_UNTOLD_FRAMES, since_ns);
}

static void open_frame(struct watcher_trace *trace, const char *cause, int64_t begin_ns)
{
	if (trace->is_open && trace->frame.records >= FRAME_LIMIT)
		end_frame(trace);
	if (!trace->is_open) {
		init_frame(trace, &trace->frame, cause, begin_ns);
		trace->frame_begin_ns = begin_ns;
		trace->is_open = true;
	} else if (begin_ns < trace->frame_begin_ns) {
		/* A connect that was told late. */
		trace->frame_begin_ns = begin_ns;
		trace->frame.head.begin_ns = begin_ns;
		trace->frame.head.monotonic_ns = begin_ns - trace->real_ns;
		trace->frame.head.boot_ns = begin_ns - trace->real_ns + trace->boot_ns;
	}
}

static const struct {
	enum watcher_untold bit;
	const char *reason;
} reasons[] = {
	{WATCHER_UNTOLD_LOST, "ENOBUFS"},	{WATCHER_UNTOLD_SHED, "shed"},
	{WATCHER_UNTOLD_SEVERAL, "several"},	{WATCHER_UNTOLD_STRANGER, "ESRCH"},
	{WATCHER_UNTOLD_FRAMES, "frames lost"},
};

/* The frame spans the time in which something is missing. One that is lost
 * itself is told again with the next. */
static void tell_missing(struct watcher_trace *trace, enum tracepoint_group group)
{
	static const char *const subjects[] = {
		[TRACEPOINT_TRANSFERS] = "uses of streams",
		[TRACEPOINT_ROUTES] = "uses of datagrams",
	};
	struct watcher *watcher = trace->watcher;
	struct snapframe frame;
	int64_t since_ns;
	unsigned missing = watcher_uses_take_missing(trace->uses, group, &since_ns);

	if (!missing)
		return;
	init_frame(trace, &frame, "missed", since_ns + trace->real_ns);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
		struct snap_record record = {.type = SNAP_TYPE_ABSENT, .op = SNAP_ONCE};

		if (!(missing & reasons[i].bit))
			continue;
		record.u.absent = (struct snap_absent){
			.what = "event", .subject = subjects[group], .reason = reasons[i].reason};
		snapframe_add(&frame, &record);
	}
	if (!submit(trace, &frame))
		watcher_uses_miss(trace->uses, group, WATCHER_UNTOLD_FRAMES, since_ns);
	watcher->config.want_poll(watcher->config.context);
}

/* ----------------------------------------------------------------- who -- */

/* What has no facts of its own yet, while it still lives. */
static void read_person(struct watcher_trace *trace, uint32_t pid, int64_t time_ns)
{
	struct watcher *watcher = trace->watcher;
	struct procfs_text *text = &watcher->reader.scratch.stat;
	int64_t read_ns = quantity_now_ns(CLOCK_MONOTONIC);
	struct procfs_facts *facts;
	struct procfs_stat stat;
	char path[24];

	snprintf(path, sizeof(path), "%" PRIu32 "/stat", pid);
	if (procfs_read_file(watcher->config.proc_fd, path, 0, text) ||
	    procfs_parse_stat(text->text, text->length, &stat, NULL) ||
	    !watcher_people_could_act(watcher->people, stat.start_ticks, time_ns))
		return;
	if (procfs_is_kernel_thread(&stat)) {
		watcher_people_read_kernel(watcher->people, pid, stat.start_ticks, read_ns);
		return;
	}
	facts = watcher_read_facts(&watcher->reader, pid);
	if (facts && watcher_people_could_act(watcher->people, facts->record.start_ticks, time_ns))
		watcher_people_read(watcher->people, facts, 0, read_ns, false);
	procfs_facts_unref(facts);
}

/* *out has a reference to facts. */
static enum watcher_known identify(struct watcher_trace *trace, uint32_t pid, uint32_t tid,
				   int64_t time_ns, struct watcher_person *out)
{
	struct watcher_people *people = trace->watcher->people;
	bool found = watcher_people_find(people, pid, tid, time_ns, out);

	if (!found || (!out->is_read && !out->is_told && !out->is_gone && !out->is_kernel)) {
		if (found)
			procfs_facts_unref(out->facts);
		read_person(trace, pid, time_ns);
		found = watcher_people_find(people, pid, tid, time_ns, out);
	}
	if (!found)
		return WATCHER_STRANGER;
	if (!out->is_kernel)
		return WATCHER_KNOWN;
	procfs_facts_unref(out->facts);
	return WATCHER_KERNEL;
}

/* A socket stays where it was made: its address is in a namespace that has it.
 * Where the kernel does not say which one a process is in, it may be elsewhere
 * until it has been read. */
static uint64_t place(void *context, const struct watcher_user *user, const struct endpoint *local,
		      const struct endpoint *remote)
{
	struct watcher_trace *trace = context;
	uint64_t homes[WATCHER_HOMES];
	size_t count;

	if (endpoint_is_loopback(&remote->address) || endpoint_is_loopback(&local->address))
		return user->is_placed ? user->netns : 0;
	/* Ports tell it from those of other namespaces; without them it is as good as it gets. */
	if (endpoint_is_any(&local->address))
		return user->is_placed || !local->port ? user->netns : 0;
	count = watcher_view_homes(&trace->watcher->view, &local->address, homes, WATCHER_HOMES);
	for (size_t i = 0; i < count; i++) {
		if (homes[i] == user->netns)
			return user->is_placed || count == 1 ? user->netns : 0;
	}
	return user->is_placed && !count ? user->netns : 0;
}

static enum watcher_known who(void *context, const struct tracepoint_event *event,
			      struct watcher_user *out)
{
	struct watcher_trace *trace = context;
	struct watcher_person person;
	enum watcher_known known;

	/* The idle task, or one of a pid namespace that is not below ours. */
	if (!event->pid)
		return WATCHER_KERNEL;
	known = identify(trace, event->pid, event->tid, event->time_ns, &person);
	if (known != WATCHER_KNOWN)
		return known;
	*out = (struct watcher_user){person.id, person.netns, person.is_placed};
	procfs_facts_unref(person.facts);
	return WATCHER_KNOWN;
}

static uint64_t epoch(void *context)
{
	return watcher_people_epoch(((struct watcher_trace *)context)->watcher->people);
}

/* ---------------------------------------------------------------- tell -- */

static void tell_person(struct watcher_trace *trace, const struct watcher_person *person)
{
	struct snap_record record = {.type = SNAP_TYPE_BORN, .op = SNAP_ONCE};

	if (!person->is_told && person->born_ns) {
		record.u.born = (struct snap_born){.pid = person->pid,
						   .start_ticks = person->start_ticks,
						   .ppid = person->parent,
						   .born_ns = person->born_ns + trace->real_ns};
		snapframe_add(&trace->frame, &record);
	}
	if (person->exec_ns) {
		record.type = SNAP_TYPE_EXEC;
		record.u.exec = (struct snap_exec){.pid = person->pid,
						   .start_ticks = person->start_ticks,
						   .exec_ns = person->exec_ns + trace->real_ns};
		snapframe_add(&trace->frame, &record);
	}
	if (!person->is_told) {
		record.type = SNAP_TYPE_PROCESS;
		record.u.process = watcher_person_record(person);
		snapframe_add(&trace->frame, &record);
	}
	watcher_people_told(trace->watcher->people, person->pid, person->id);
}

static void tell(void *context, const struct watcher_use *use)
{
	struct watcher_trace *trace = context;
	struct snap_record record = {.type = SNAP_TYPE_USE, .op = SNAP_ONCE};
	struct watcher_person person = {0};

	watcher_people_find(trace->watcher->people, use->use.pid, use->use.tid, use->time_ns,
			    &person);
	/* Who has gone sends no more; a stream goes on in the hands of its heirs. */
	if (use->is_restated && use->use.act == SNAP_ROUTE && person.is_gone &&
	    trace->drained_ns - use->time_ns > WATCHER_USES_LATE_NS)
		person.id = 0;
	if (person.id == use->user.id) {
		open_frame(trace, use->is_restated ? WATCHER_RESTATED : "use", use->use.at_ns);
		if (!person.is_told || person.exec_ns)
			tell_person(trace, &person);
		record.u.use = use->use;
		record.u.use.start_ticks = person.start_ticks;
		snapframe_add(&trace->frame, &record);
	} else if (!use->is_restated) {
		/* A connect of long ago, whose process is forgotten by now. */
		watcher_uses_miss(trace->uses,
				  use->use.protocol == IPPROTO_TCP ? TRACEPOINT_TRANSFERS
								   : TRACEPOINT_ROUTES,
				  WATCHER_UNTOLD_STRANGER, use->time_ns);
	}
	procfs_facts_unref(person.facts);
}

/* A child of a process that some use names may use what it inherits. */
static void tell_heir(struct watcher_trace *trace, const struct tracepoint_event *event)
{
	struct watcher_people *people = trace->watcher->people;
	struct watcher_person parent = {0}, child = {0};

	if (watcher_people_find(people, event->pid, event->tid, event->time_ns, &parent) &&
	    (parent.is_told || parent.is_named) &&
	    watcher_people_find(people, event->u.child, event->u.child, event->time_ns, &child) &&
	    !child.is_told && !child.is_kernel) {
		open_frame(trace, "use", event->time_ns + trace->real_ns);
		tell_person(trace, &child);
	}
	procfs_facts_unref(parent.facts);
	procfs_facts_unref(child.facts);
}

/* --------------------------------------------------------------- drain -- */

/* Left out from now on for a while: all that happens meanwhile is missing. */
static void shed(struct watcher_trace *trace)
{
	struct watcher *watcher = trace->watcher;
	int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);

	for (enum tracepoint_group group = 0; group < WATCHER_USES_GROUPS; group++) {
		int64_t *until_ns = &trace->shed_until_ns[group];

		if (watcher_uses_is_hot(trace->uses, group) && !*until_ns) {
			trace->shed_told_ns[group] = now_ns;
			*until_ns = now_ns + SHED_NS;
			tracepoint_switch(watcher->tracepoints, group, false);
		}
		if (!*until_ns)
			continue;
		if (now_ns >= *until_ns) {
			tracepoint_switch(watcher->tracepoints, group, true);
			now_ns = quantity_now_ns(CLOCK_MONOTONIC);
			*until_ns = 0;
		}
		watcher_uses_miss(trace->uses, group, WATCHER_UNTOLD_SHED,
				  trace->shed_told_ns[group]);
		/* Who uses the socket of another is told by transfers too. */
		if (group == TRACEPOINT_TRANSFERS)
			watcher_uses_miss(trace->uses, TRACEPOINT_ROUTES, WATCHER_UNTOLD_SHED,
					  trace->shed_told_ns[group]);
		trace->shed_told_ns[group] = now_ns;
	}
}

static bool is_shedding(const struct watcher_trace *trace)
{
	return trace->shed_until_ns[TRACEPOINT_TRANSFERS] ||
	       trace->shed_until_ns[TRACEPOINT_ROUTES];
}

/* True if there was anything. */
static bool drain(struct watcher_trace *trace, int64_t until_ns)
{
	struct watcher *watcher = trace->watcher;
	struct tracepoint_event event;
	bool any = false;

	set_clocks(trace);
	while (tracepoint_next(watcher->tracepoints, until_ns, &event)) {
		any = true;
		watcher_people_feed(watcher->people, &event);
		if (event.kind == TRACEPOINT_FORK)
			tell_heir(trace, &event);
		watcher_uses_feed(trace->uses, &event);
	}
	end_frame(trace);
	shed(trace);
	tell_missing(trace, TRACEPOINT_TRANSFERS);
	tell_missing(trace, TRACEPOINT_ROUTES);
	trace->drained_ns = quantity_now_ns(CLOCK_MONOTONIC);
	atomic_store(&watcher->told_until_ns, until_ns);
	return any;
}

/* What the recorder asks for: all until a moment, or all once more. */
static void answer(struct watcher_trace *trace)
{
	struct watcher *watcher = trace->watcher;
	int64_t flush_ns = atomic_load(&watcher->flush_ns);
	uint64_t ignored;

	(void)!read(watcher->ask_fd, &ignored, sizeof(ignored));
	if (flush_ns > atomic_load(&watcher->told_until_ns)) {
		int64_t wait_ns = flush_ns + SETTLE_NS - quantity_now_ns(CLOCK_MONOTONIC);
		const struct timespec pause = {.tv_nsec = wait_ns};

		if (wait_ns > 0)
			nanosleep(&pause, NULL);
		drain(trace, flush_ns);
		pthread_mutex_lock(&watcher->told_lock);
		pthread_cond_broadcast(&watcher->told);
		pthread_mutex_unlock(&watcher->told_lock);
	}
	if (atomic_exchange(&watcher->restate_wanted, false)) {
		watcher_people_forget_told(watcher->people);
		watcher_uses_restate(trace->uses);
		end_frame(trace);
	}
}

static void run(struct watcher_trace *trace)
{
	struct watcher *watcher = trace->watcher;
	struct pollfd ready[3] = {
		{.fd = watcher->stop_fd, .events = POLLIN},
		{.fd = tracepoint_fd(watcher->tracepoints), .events = POLLIN},
		{.fd = watcher->ask_fd, .events = POLLIN},
	};
	int timeout_ms = BUSY_MS;

	while (!ready[0].revents) {
		int64_t wait_ns;
		bool was_woken;

		poll(ready, 3, timeout_ms);
		was_woken = ready[1].revents != 0;
		if (ready[2].revents)
			answer(trace);
		wait_ns = trace->drained_ns + SPACING_NS - quantity_now_ns(CLOCK_MONOTONIC);
		if (wait_ns > 0 && !ready[0].revents) {
			const struct timespec pause = {.tv_nsec = wait_ns};

			ppoll(ready, 1, &pause, NULL);
		}
		if (drain(trace, quantity_now_ns(CLOCK_MONOTONIC) - SETTLE_NS) || was_woken ||
		    is_shedding(trace))
			timeout_ms = BUSY_MS;
		else if (2 * timeout_ms <= IDLE_MS)
			timeout_ms *= 2;
		else
			timeout_ms = IDLE_MS;
	}
	drain(trace, INT64_MAX);
}

int watcher_trace_open(struct watcher *watcher, struct error *error)
{
	struct watcher_trace *trace = calloc(1, sizeof(*trace));
	const struct watcher_uses_config config = {
		.has_lengths = tracepoint_has_lengths(watcher->tracepoints),
		.who = who,
		.place = place,
		.epoch = epoch,
		.tell = tell,
		.context = trace,
	};

	if (!trace)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	trace->watcher = watcher;
	trace->uses = watcher_uses_new(&config);
	if (!trace->uses) {
		free(trace);
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	}
	watcher->trace = trace;
	return 0;
}

void watcher_trace_close(struct watcher_trace *trace)
{
	if (!trace)
		return;
	watcher_uses_free(trace->uses);
	free(trace);
}

void *watcher_trace_thread(void *context)
{
	struct watcher *watcher = context;

	read_person(watcher->trace, KTHREADD, quantity_now_ns(CLOCK_MONOTONIC));
	/* Who was there before the events began, as near to it as can be. */
	watcher->config.want_poll(watcher->config.context);
	run(watcher->trace);
	return NULL;
}
