/* The threads of a recording that write: packets, and snapshots. */
#include "snapshot/recorder_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

#include "snapshot/format/quantity.h"

/* A rotation waits until the packets that come are later than the snapshot
 * that the new segment begins with; where the clock was set back, no longer than this. */
#define SWITCH_LIMIT_NS (2 * NS_PER_SECOND)
/* On a silent link: packets may be this late out of the ring. */
#define SWITCH_IDLE_NS (3 * CAPTURE_TIMEOUT_MS * NS_PER_MS)
#define RECENT_NS      INT64_C(2000000000)
#define RECENT_BYTES   (32u << 20)
#define RETRY_NS       NS_PER_SECOND	/* after a full disk */
#define CLOCK_STEP_NS  (50 * NS_PER_MS) /* less is what NTP slews */

static void list_push(struct recorder_list *list, struct segment *segment)
{
	segment->next = NULL;
	*list->tail = segment;
	list->tail = &segment->next;
}

static struct segment *list_pop(struct recorder_list *list)
{
	struct segment *segment = list->head;

	if (segment) {
		list->head = segment->next;
		if (!list->head)
			list->tail = &list->head;
		segment->next = NULL;
	}
	return segment;
}

static void wait_until(struct recorder *recorder, int64_t monotonic_ns)
{
	struct timespec until = {monotonic_ns / NS_PER_SECOND, monotonic_ns % NS_PER_SECOND};

	pthread_cond_timedwait(&recorder->changed, &recorder->lock, &until);
}

/* -------------------------------------------------------------- writer -- */

/* With the lock. Whether CLOCK_REALTIME was set back since the last reading, which was before the
 * offer: less of its time has passed than of the other clock's. */
static bool was_set_back(const struct recorder *recorder, int64_t offered_for_ns)
{
	return quantity_now_ns(CLOCK_REALTIME) - recorder->snapshot_end_ns <
	       offered_for_ns - CLOCK_STEP_NS;
}

bool recorder_may_switch(const struct recorder *recorder, const struct capture_block *block)
{
	int64_t offered_for_ns = quantity_now_ns(CLOCK_MONOTONIC) - recorder->offered_ns;
	struct capture_counters counters;

	if (!recorder->offered)
		return false;
	/* A disk that stalled for as long is no reason: what comes then is from before. */
	if (offered_for_ns > SWITCH_LIMIT_NS && was_set_back(recorder, offered_for_ns))
		return true;
	if (block)
		return block->first_ns > recorder->snapshot_end_ns;
	capture_counters(recorder->capture, &counters);
	return counters.drained_ns - SWITCH_IDLE_NS > recorder->snapshot_end_ns;
}

/* Counts what the file has since and what it will not have; after a failure
 * packets are not recorded until there is another file. */
static void account(struct recorder *recorder, uint64_t safe_before, uint64_t lost, int status,
		    const struct error *error)
{
	struct pcapfile *file = &recorder->current->packets;

	pthread_mutex_lock(&recorder->lock);
	recorder->statistics.written += file->safe_packets - safe_before;
	if (status) {
		recorder->lost_before_pause = recorder->statistics.lost;
		recorder->pause_error = *error;
		recorder->paused = recorder->log_pause = true;
	}
	recorder->statistics.lost += lost;
	if (recorder->options->rotate_size && file->bytes >= recorder->options->rotate_size)
		recorder->rotate_wanted = true;
	if (status || recorder->rotate_wanted)
		pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
}

/* What has waited for more packets goes into the file as it is. */
static void settle(struct recorder *recorder)
{
	struct pcapfile *file = &recorder->current->packets; /* only this thread changes it */
	struct error error = ERROR_NONE;
	uint64_t safe_before = file->safe_packets, lost;
	int status;

	if (safe_before == file->packets)
		return;
	status = pcapfile_settle(file, &lost, &error);
	account(recorder, safe_before, lost, status, &error);
}

static void switch_segment(struct recorder *recorder, const struct capture_block *block)
{
	bool may;

	pthread_mutex_lock(&recorder->lock);
	may = recorder_may_switch(recorder, block);
	pthread_mutex_unlock(&recorder->lock);
	if (!may)
		return;
	settle(recorder);
	pcapfile_end(&recorder->current->packets);
	pthread_mutex_lock(&recorder->lock);
	list_push(&recorder->awaiting, recorder->current);
	recorder->current = recorder->to_commit = recorder->offered;
	recorder->offered = NULL;
	recorder->rotate_wanted = false;
	recorder->log_resume = recorder->paused;
	recorder->paused = false;
	recorder->statistics.segments++;
	recorder->statistics.segment = recorder->current->stem.number;
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
}

static void write_block(struct recorder *recorder, const struct capture_block *block)
{
	struct pcapfile *file = &recorder->current->packets;
	struct error error = ERROR_NONE;
	uint64_t safe_before = file->safe_packets, lost = block->packets;
	int status = 0;

	if (block->waiting >= CAPTURE_BEHIND_BLOCKS)
		pcapfile_use_cache(file);
	if (!recorder->paused)
		status = pcapfile_write(file, block->bytes, block->length, block->packets,
					block->full, &lost, &error);
	account(recorder, safe_before, lost, status, &error);
}

void *recorder_writer_thread(void *context)
{
	struct recorder *recorder = context;
	struct capture_block *block;
	struct error error = ERROR_NONE;
	int taken;

	while ((taken = capture_take(recorder->capture, CAPTURE_TIMEOUT_MS, &block)) >= 0) {
		switch_segment(recorder, taken ? block : NULL);
		if (!taken) {
			settle(recorder);
			continue;
		}
		write_block(recorder, block);
		capture_give_back(recorder->capture, block);
	}
	settle(recorder);
	if (capture_failure(recorder->capture, &error))
		recorder_fail(recorder, &error);
	if (recorder->watcher)
		watcher_stop(recorder->watcher);
	pthread_mutex_lock(&recorder->lock);
	recorder->packets_ended = true;
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
	return NULL;
}

/* ---------------------------------------------------------------- poll -- */

static void write_frame_to(struct recorder *recorder, struct segment *segment,
			   const struct snapframe *frame, bool more)
{
	struct error error = ERROR_NONE;

	if (!segment || (more ? !segment_write_event(segment, frame, &error)
			      : !segment_write_frame(&recorder->store, segment, frame, &error)))
		return;
	recorder->retry_ns = quantity_now_ns(CLOCK_MONOTONIC) + RETRY_NS;
	recorder_notice(recorder,
			"%s: %s; snapshots go on in a new segment as soon as one can be opened",
			error.path, error.message);
}

/* Into everything that is open, or what is restated for it into the newest; to the disk unless more
 * follow at once. Only this thread removes segments from where they are found here, so they stay
 * while the lock is not held. */
static void write_frame(struct recorder *recorder, const struct snapframe *frame, bool more)
{
	struct segment *open[2], *old;

	bool newest =
		frame->head.kind == SNAP_EVENT && strcmp(frame->head.cause, WATCHER_RESTATED) == 0;

	pthread_mutex_lock(&recorder->lock);
	open[0] = newest && recorder->offered ? NULL : recorder->current;
	open[1] = recorder->offered;
	old = newest ? NULL : recorder->awaiting.head;
	pthread_mutex_unlock(&recorder->lock);
	/* A segment that joins the awaiting list meanwhile is open[0], once. */
	while (old) {
		struct segment *next;

		if (old != open[0])
			write_frame_to(recorder, old, frame, more);
		pthread_mutex_lock(&recorder->lock);
		next = old->next;
		pthread_mutex_unlock(&recorder->lock);
		old = next;
	}
	write_frame_to(recorder, open[0], frame, more);
	write_frame_to(recorder, open[1], frame, more);
}

static void add_capture(struct recorder *recorder, struct snapframe *frame)
{
	struct snap_record record = {.type = SNAP_TYPE_CAPTURE, .op = SNAP_ONCE};
	struct recorder_statistics now;

	recorder_statistics(recorder, &now);
	record.u.capture = (struct snap_capture){
		.received = now.capture.received,
		.dropped = now.capture.dropped,
		.interface_dropped = now.capture.interface_dropped,
		.written = now.written,
		.lost = now.lost,
	};
	snapframe_add(frame, &record);
}

static void add_clock(struct recorder *recorder, struct snapframe *frame, bool first)
{
	struct snap_record record = {.type = SNAP_TYPE_CLOCK, .op = SNAP_ONCE};
	int64_t monotonic_ns = quantity_now_ns(CLOCK_MONOTONIC);
	int64_t real_ns = quantity_now_ns(CLOCK_REALTIME) - monotonic_ns;
	int64_t boot_ns = quantity_now_ns(CLOCK_BOOTTIME) - monotonic_ns;

	record.u.clock.step_ns = real_ns - recorder->real_offset_ns;
	record.u.clock.suspend_ns = boot_ns - recorder->boot_offset_ns;
	recorder->real_offset_ns = real_ns;
	recorder->boot_offset_ns = boot_ns;
	if (!first && (llabs(record.u.clock.step_ns) > CLOCK_STEP_NS ||
		       llabs(record.u.clock.suspend_ns) > CLOCK_STEP_NS))
		snapframe_add(frame, &record);
}

void recorder_count_frame(struct recorder *recorder, const struct snap_frame *head)
{
	struct recorder_statistics *statistics = &recorder->statistics;
	int64_t gap_ns = head->monotonic_ns - recorder->poll_end_monotonic_ns;
	uint64_t holders;

	pthread_mutex_lock(&recorder->lock);
	/* A frame that no file took is a gap, not a snapshot. */
	if (!recorder->current->snap_failed) {
		if (statistics->frames > 0 && gap_ns > statistics->longest_gap_ns)
			statistics->longest_gap_ns = gap_ns;
		statistics->frames++;
		poller_counts(recorder->poller, &statistics->sockets, &statistics->processes,
			      &holders);
		recorder->poll_end_monotonic_ns =
			head->monotonic_ns + head->end_ns - head->begin_ns;
	}
	pthread_mutex_unlock(&recorder->lock);
}

int recorder_read_state(struct recorder *recorder, enum snap_kind kind, const char *cause,
			struct snapframe *frame, struct error *error)
{
	int status;

	snapframe_init(frame, kind, cause);
	frame->head.sequence = ++recorder->sequence;
	recorder->poll_start_ns = quantity_now_ns(CLOCK_MONOTONIC);
	status = poller_read(recorder->poller, frame, error);
	if (status)
		return status;
	add_clock(recorder, frame, kind == SNAP_KEY);
	pthread_mutex_lock(&recorder->lock);
	recorder->snapshot_end_ns = frame->head.end_ns;
	pthread_mutex_unlock(&recorder->lock);
	return 0;
}

static int poll_once(struct recorder *recorder, const char *cause)
{
	int64_t cpu_ns = quantity_now_ns(CLOCK_THREAD_CPUTIME_ID);
	struct error error = ERROR_NONE;
	struct segment *segment;
	struct snapframe frame;
	int status = recorder_read_state(recorder, SNAP_POLL, cause, &frame, &error);

	if (!status) {
		if (recorder->watcher)
			watcher_learn(recorder->watcher, poller_state(recorder->poller));
		add_capture(recorder, &frame);
		write_frame(recorder, &frame, false);
		recorder_count_frame(recorder, &frame.head);
	}
	snapframe_release(&frame);
	/* What compressing and writing the frame took belongs to its price. */
	recorder->poll_cost_ns = quantity_now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	if (recorder->poll_cost_ns < poller_cost_ns(recorder->poller))
		recorder->poll_cost_ns = poller_cost_ns(recorder->poller);
	pthread_mutex_lock(&recorder->lock);
	if (status)
		recorder->statistics.failed_polls++;
	while (!status && (segment = list_pop(&recorder->awaiting)) != NULL)
		closer_push(recorder->closer, segment);
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
	if (status)
		recorder_notice(recorder, "no snapshot: %s", error.message);
	return status;
}

void recorder_forget_recent(struct recorder *recorder, int64_t before_ns)
{
	while (recorder->recent && (recorder->recent->written_ns < before_ns ||
				    recorder->recent_bytes > RECENT_BYTES)) {
		struct recorder_event *event = recorder->recent;

		recorder->recent = event->next;
		recorder->recent_bytes -= event->frame.capacity;
		snapframe_release(&event->frame);
		free(event);
	}
	if (!recorder->recent)
		recorder->recent_tail = &recorder->recent;
}

static void keep_recent(struct recorder *recorder, struct recorder_event *event)
{
	event->next = NULL;
	event->written_ns = quantity_now_ns(CLOCK_MONOTONIC);
	*recorder->recent_tail = event;
	recorder->recent_tail = &event->next;
	recorder->recent_bytes += event->frame.capacity;
	recorder_forget_recent(recorder, event->written_ns - RECENT_NS);
}

/* What events showed lately stands in the segment before too. */
static void restate_recent(struct recorder *recorder, struct segment *segment)
{
	recorder_forget_recent(recorder, quantity_now_ns(CLOCK_MONOTONIC) - RECENT_NS);
	/* Programs are told with their uses: what they executed before is of no use here. */
	for (const struct recorder_event *event = recorder->recent; event; event = event->next) {
		if (strcmp(event->frame.head.cause, "exec") == 0)
			continue;
		write_frame_to(recorder, segment, &event->frame, event->next != NULL);
	}
}

/* Opens the next segment with the state as last read, for the writer to take. */
static void offer_segment(struct recorder *recorder)
{
	struct error error = ERROR_NONE;
	struct segment *segment;
	struct snapframe key;
	int status;

	snapframe_init(&key, SNAP_KEY, "restated");
	poller_restate(recorder->poller, &key);
	status = segment_open(&recorder->store, recorder->pcap_header, recorder->meta.entries,
			      recorder->meta.count, &key, &segment, &error);
	snapframe_release(&key);
	if (!status)
		restate_recent(recorder, segment);
	if (status) {
		recorder->retry_ns = quantity_now_ns(CLOCK_MONOTONIC) + RETRY_NS;
		if (!recorder->told_no_segment && !recorder->paused)
			recorder_notice(recorder, "%s: %s; going on in the old segment", error.path,
					error.message);
		recorder->told_no_segment = true;
		closer_hasten_quota(recorder->closer);
	}
	pthread_mutex_lock(&recorder->lock);
	if (!status) {
		recorder->told_no_segment = false;
		recorder->offered = segment;
		recorder->offered_ns = quantity_now_ns(CLOCK_MONOTONIC);
	}
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
	if (!status && recorder->watcher)
		watcher_restate(recorder->watcher);
}

static void log_pause(struct recorder *recorder, const struct error *reason)
{
	struct error error = ERROR_NONE;

	recorder->retry_ns = quantity_now_ns(CLOCK_MONOTONIC) + RETRY_NS;
	closer_hasten_quota(recorder->closer);
	recorder_notice(recorder, "%s: %s; packets are not recorded until there is room",
			reason->path, reason->message);
	if (segment_log(&recorder->store, "pause", NULL, -1, NULL, reason->message, &error))
		recorder_notice(recorder, "%s: %s", error.path, error.message);
}

static void log_resume(struct recorder *recorder, uint64_t lost)
{
	struct error error = ERROR_NONE;
	char detail[64];

	recorder_notice(recorder, "recording packets again, %" PRIu64 " were lost", lost);
	snprintf(detail, sizeof detail, "%" PRIu64 " packets lost", lost);
	segment_store_reserve(&recorder->store);
	if (segment_log(&recorder->store, "resume", NULL, -1, NULL, detail, &error))
		recorder_fail(recorder, &error);
}

/* With the lock on entry and return, without it while it works. True if
 * there was something to write down about what other threads did. */
static bool write_news(struct recorder *recorder, bool events_due)
{
	struct segment *commit = recorder->to_commit;
	struct recorder_event *event = events_due ? recorder->events : NULL;
	bool paused = recorder->log_pause, resumed = recorder->log_resume;
	uint64_t lost = recorder->statistics.lost - recorder->lost_before_pause;
	struct error pause_error = recorder->pause_error, error = ERROR_NONE;

	if (!commit && !event && !paused && !resumed)
		return false;
	recorder->to_commit = NULL;
	recorder->log_pause = recorder->log_resume = false;
	if (event) {
		recorder->events = NULL;
		recorder->events_tail = &recorder->events;
		recorder->event_count = 0;
	}
	pthread_mutex_unlock(&recorder->lock);
	if (paused)
		log_pause(recorder, &pause_error);
	if (commit && segment_commit(&recorder->store, commit, &error))
		recorder_fail(recorder, &error);
	if (resumed)
		log_resume(recorder, lost);
	while (event) {
		struct recorder_event *next = event->next;

		event->frame.head.sequence = ++recorder->sequence;
		write_frame(recorder, &event->frame, next != NULL);
		keep_recent(recorder, event);
		event = next;
	}
	pthread_mutex_lock(&recorder->lock);
	return true;
}

/* What the kernel told until now, or the word that it is not all. */
static void flush_watcher(struct recorder *recorder)
{
	struct snapframe missed;

	if (watcher_flush(recorder->watcher, &missed))
		return;
	missed.head.sequence = ++recorder->sequence;
	write_frame(recorder, &missed, false);
	snapframe_release(&missed);
}

/* With the lock. INT64_MAX: never. */
static int64_t rotation_due_ns(const struct recorder *recorder)
{
	int64_t due_ns = INT64_MAX;

	if (recorder->options->rotate_time_ns)
		due_ns = recorder->current->opened_monotonic_ns + recorder->options->rotate_time_ns;
	if (recorder->rotate_wanted || recorder->paused || recorder->current->snap_failed)
		due_ns = 0;
	return due_ns > recorder->retry_ns ? due_ns : recorder->retry_ns;
}

/* With the lock. */
static int64_t poll_due_ns(const struct recorder *recorder)
{
	int64_t interval_ns = recorder->awaiting.head || recorder->poll_wanted
				      ? 0
				      : recorder->options->interval_ns;
	int64_t price_ns =
		(int64_t)((double)recorder->poll_cost_ns * 1e6 / recorder->options->cpu_budget_ppm);

	return recorder->poll_start_ns + (interval_ns > price_ns ? interval_ns : price_ns);
}

static void run_polls(struct recorder *recorder)
{
	bool flushed = false;

	pthread_mutex_lock(&recorder->lock);
	for (;;) {
		int64_t monotonic_ns = quantity_now_ns(CLOCK_MONOTONIC);
		int64_t rotation_ns = rotation_due_ns(recorder);
		int64_t poll_ns = poll_due_ns(recorder);

		int64_t news_ns = recorder->events ? recorder->events_due_ns : INT64_MAX;

		/* What events showed before a snapshot stands before it. */
		if (write_news(recorder, monotonic_ns >= news_ns || monotonic_ns >= poll_ns ||
						 recorder->packets_ended))
			continue;
		if (recorder->packets_ended)
			break;
		if (recorder->offered) {
			/* No polls now: what the offered segment begins with must
			 * stay the last reading until the writer has taken it. */
			wait_until(recorder, news_ns < monotonic_ns + SWITCH_LIMIT_NS
						     ? news_ns
						     : monotonic_ns + SWITCH_LIMIT_NS);
		} else if (rotation_ns <= monotonic_ns) {
			pthread_mutex_unlock(&recorder->lock);
			offer_segment(recorder);
			pthread_mutex_lock(&recorder->lock);
		} else if (recorder->awaiting.head && !flushed && recorder->watcher) {
			/* What happened before the switch belongs into the old segment too. */
			flushed = true;
			pthread_mutex_unlock(&recorder->lock);
			flush_watcher(recorder);
			pthread_mutex_lock(&recorder->lock);
			recorder->events_due_ns = 0;
		} else if (poll_ns <= monotonic_ns) {
			const char *cause = recorder->awaiting.head ? "rotate"
					    : recorder->poll_wanted ? "miss"
								    : "interval";

			recorder->poll_wanted = flushed = false;
			pthread_mutex_unlock(&recorder->lock);
			poll_once(recorder, cause);
			pthread_mutex_lock(&recorder->lock);
		} else {
			int64_t due_ns = poll_ns < rotation_ns ? poll_ns : rotation_ns;

			wait_until(recorder, due_ns < news_ns ? due_ns : news_ns);
		}
	}
	pthread_mutex_unlock(&recorder->lock);
}

void *recorder_poll_thread(void *context)
{
	struct recorder *recorder = context;
	struct segment *segment;

	run_polls(recorder);
	if (recorder->offered)
		segment_abandon(&recorder->store, recorder->offered);
	recorder->offered = NULL;
	poll_once(recorder, "stop");
	pthread_mutex_lock(&recorder->lock);
	while ((segment = list_pop(&recorder->awaiting)) != NULL)
		closer_push(recorder->closer, segment);
	closer_push(recorder->closer, recorder->current);
	recorder->current = NULL;
	pthread_mutex_unlock(&recorder->lock);
	closer_end(recorder->closer);
	return NULL;
}
