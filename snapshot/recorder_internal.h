/*
 * recorder_internal.h - what recorder.c and its threads share.
 */
#ifndef SNAPSHOT_RECORDER_INTERNAL_H
#define SNAPSHOT_RECORDER_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "snapshot/closer.h"
#include "snapshot/host.h"
#include "snapshot/poller.h"
#include "snapshot/recorder.h"
#include "snapshot/segment.h"
#include "snapshot/watcher.h"

struct recorder_event {
	struct recorder_event *next;
	struct snapframe frame;
	int64_t written_ns; /* CLOCK_MONOTONIC */
};

struct recorder_list { /* of segments, first in first out */
	struct segment *head, **tail;
};

struct recorder {
	struct recorder_config config;
	const struct options *options;
	struct segment_store store;
	struct capture *capture;
	struct poller *poller;
	struct watcher *watcher; /* NULL: not watching */
	struct host_meta meta;
	uint8_t pcap_header[PCAPHEAD_FILE_BYTES];
	int proc_fd;
	int done_fd;
	struct closer *closer;
	pthread_t writer, poll;
	bool has_writer, has_poll;

	/* The poll thread's own. */
	uint64_t sequence;
	int64_t poll_start_ns, poll_cost_ns; /* CLOCK_MONOTONIC; CPU */
	int64_t poll_end_monotonic_ns;
	int64_t real_offset_ns, boot_offset_ns; /* from CLOCK_MONOTONIC */
	int64_t retry_ns;
	bool told_no_segment;
	/* Event frames written lately: packets of their time are still on their way, and may
	 * come into a segment that is not open yet. */
	struct recorder_event *recent, **recent_tail;
	size_t recent_bytes;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct segment *current;       /* the writer switches; packets and frames go there */
	struct segment *offered;       /* opened by the poll thread, not yet taken by the writer */
	int64_t offered_ns;	       /* CLOCK_MONOTONIC */
	int64_t snapshot_end_ns;       /* CLOCK_REALTIME: end of the last reading */
	struct segment *to_commit;     /* taken by the writer, not yet logged */
	struct recorder_list awaiting; /* no more packets; the next poll is their last frame */
	struct recorder_event *events, **events_tail;
	size_t event_count;
	int64_t events_due_ns; /* CLOCK_MONOTONIC: when those that wait are written together */
	bool poll_wanted;
	bool rotate_wanted, packets_ended;
	bool paused, log_pause, log_resume;
	uint64_t lost_before_pause;
	struct error pause_error;
	struct recorder_statistics statistics;
	struct error failure;
};

/* A line for the user, at once. */
void recorder_notice(struct recorder *recorder, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The first failure is the run's. Recording goes on as far as it can. */
void recorder_fail(struct recorder *recorder, const struct error *error);

/* Reads the state into *frame and numbers it; the caller releases the frame
 * in any case. Once it is written it is counted. Both are of the poll thread,
 * and of the start before it. */
int recorder_read_state(struct recorder *recorder, enum snap_kind kind, const char *cause,
			struct snapframe *frame, struct error *error);

void recorder_count_frame(struct recorder *recorder, const struct snap_frame *head);

/* Frees the event frames kept that were written before before_ns (CLOCK_MONOTONIC). */
void recorder_forget_recent(struct recorder *recorder, int64_t before_ns);

/* With the lock. May the offered segment be taken before this block (NULL: the link is silent)?
 * Its snap file begins with the last reading, so its packets must all be later than that. */
bool recorder_may_switch(const struct recorder *recorder, const struct capture_block *block);

/* The threads; context is the recorder. */
void *recorder_writer_thread(void *context);
void *recorder_poll_thread(void *context);

#endif
