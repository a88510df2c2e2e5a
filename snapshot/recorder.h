/*
 * recorder.h - one run of the recorder: its threads, and what they hand over.
 *
 *   watch     three threads that make event frames; see watcher.h
 *   capture   takes packets from the ring into blocks of memory
 *   writer    writes blocks into the open pcap; decides rotation by size
 *   poll      reads /proc; the only writer of snap files; opens segments
 *   closer    syncs, hashes, renames, expires; a thread of its own, of low priority,
 *             compresses what is finished
 *
 * Stopping runs down this list from capture on: each thread ends once the one
 * before it has, and has nothing left to do; the writer, before it ends, stops
 * the watch. Never prints: what a user should know at once
 * goes to a callback.
 */
#ifndef SNAPSHOT_RECORDER_H
#define SNAPSHOT_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/capture.h"
#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"
#include "snapshot/options.h"

struct recorder;

struct recorder_config {
	const struct options *options; /* borrowed, outlives the recorder */
	char *const *argv;	       /* the same */
	int argc;
	/* A line for the user, from any thread, while recording. May be NULL. */
	void (*notice)(const char *text);
	/* Called once in recorder_start, when all is prepared and before the
	 * first file and the first thread: an interruption until then needs no
	 * orderly end. May be NULL. */
	void (*beginning)(void *context);
	void *context; /* of beginning */
};

struct recorder_statistics {
	struct capture_counters capture;
	uint64_t written; /* packets in pcaps */
	uint64_t lost;	  /* taken from libpcap and not written */
	uint64_t frames;  /* snapshots, events not counted */
	uint64_t events;
	uint64_t failed_polls;
	uint64_t segments; /* opened by this run */
	uint64_t expired;
	int64_t longest_gap_ns;	     /* between two snapshots */
	uint64_t sockets, processes; /* in the last snapshot */
	uint64_t segment;	     /* number of the open one */
	bool paused;
};

/* Does all of the start: privileges, directory, repair, first snapshot,
 * capture, threads. When it returns 0 packets are being recorded. It must be
 * called while the process has one thread. */
int recorder_start(const struct recorder_config *config, struct recorder **out,
		   struct error *error);
/* Readable once everything has ended: stopped, or failed by itself. */
int recorder_done_fd(const struct recorder *recorder);

/* Requests; they return at once. */
void recorder_stop(struct recorder *recorder);
void recorder_hurry(struct recorder *recorder); /* leave out what can be done later: compression */
void recorder_rotate(struct recorder *recorder);

void recorder_statistics(struct recorder *recorder, struct recorder_statistics *out);

/* Waits until everything has ended and frees. 0, or the first failure of the
 * run, which has been given to notice already. out is filled in both cases. */
int recorder_finish(struct recorder *recorder, struct recorder_statistics *out,
		    struct error *error);

#endif
