/*
 * watcher_people.h - which process a pid was at a given time, by the kernel's
 * tracepoints and by what was read of it.
 *
 * Several threads use one table: the one that takes the tracepoints feeds and
 * asks, polls and exec facts teach it. Locks itself, shortly; never reads
 * /proc. Events come up to some 100 ms late, so the incarnations of one pid
 * stand beside each other and the time decides. Times are CLOCK_MONOTONIC.
 *
 * Of those that have gone the WATCHER_PEOPLE_GONE last ones are kept; the
 * living are as many as the host has.
 */
#ifndef SNAPSHOT_WATCHER_PEOPLE_H
#define SNAPSHOT_WATCHER_PEOPLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/snapfile.h"
#include "snapshot/pollstate.h"
#include "snapshot/procfs.h"
#include "snapshot/tracepoint.h"

#define WATCHER_PEOPLE_GONE 8192
#define WATCHER_PEOPLE_LAST_NS                                                                     \
	INT64_C(1000000000) /* acts of one's own this late after the exit                          \
			     */

struct watcher_people;

/* tick_ns: of process start times. NULL without memory. */
struct watcher_people *watcher_people_new(int64_t tick_ns);
void watcher_people_free(struct watcher_people *people); /* NULL works */

/* CLOCK_BOOTTIME less CLOCK_MONOTONIC; 0 until it is set. */
void watcher_people_set_boot(struct watcher_people *people, int64_t offset_ns);

/* ------------------------------------------------------------ teaching -- */

/* FORK, NETNS, EXEC, EXIT and LOST, in their order; others change nothing. */
void watcher_people_feed(struct watcher_people *people, const struct tracepoint_event *event);
/* Everyone that a finished poll read; its frame tells them. */
void watcher_people_learn(struct watcher_people *people, const struct pollstate *state);
/* Facts read at once after the exec of image_ns, or (0) some time later, at
 * read_ns. Takes a reference of its own. is_told: a frame has them. */
void watcher_people_read(struct watcher_people *people, struct procfs_facts *facts,
			 int64_t image_ns, int64_t read_ns, bool is_told);
/* A kernel thread, which has no facts. */
void watcher_people_read_kernel(struct watcher_people *people, uint32_t pid, uint64_t start_ticks,
				int64_t read_ns);

/* -------------------------------------------------------------- asking -- */

struct watcher_person {
	uint64_t id; /* of this incarnation, never reused */
	uint32_t pid, parent;
	int64_t born_ns;      /* 0: not known */
	uint64_t start_ticks; /* is_derived: from born_ns, or one too high */
	bool is_derived, is_kernel, is_gone;
	bool is_read;		    /* facts and netns were read of it, since its last exec */
	bool is_placed;		    /* in netns, by the kernel's word or a reading of its own */
	bool is_told;		    /* some frame has it, with what is known of it now */
	bool is_named;		    /* some frame has its start */
	bool is_fork_told;	    /* some frame has its fork, or that is not known */
	int64_t exec_ns;	    /* its last EXEC, if no frame has it; else 0 */
	uint64_t netns;		    /* 0: not known */
	struct procfs_facts *facts; /* a reference, or NULL; of an ancestor unless is_read */
};

/* Who had the pid at time_ns; tid tells a thread that outlives its leader.
 * False: nobody that is known for sure. facts are the caller's to unref. */
bool watcher_people_find(struct watcher_people *people, uint32_t pid, uint32_t tid, int64_t time_ns,
			 struct watcher_person *out);
/* Changes whenever the answer of watcher_people_find for some pid may be
 * another person than before, but for those that were unknown. Never 0. */
uint64_t watcher_people_epoch(const struct watcher_people *people);
void watcher_people_told(struct watcher_people *people, uint32_t pid, uint64_t id);
void watcher_people_fork_told(struct watcher_people *people, uint32_t pid, uint64_t id);
/* A frame was lost: what was told must be told again. */
void watcher_people_forget_told(struct watcher_people *people);
/* Start of who had the pid at time_ns, as some frame has it; 0: none has. *exit_ns:
 * when its last thread ended, as far as one did (else 0); set if the pid is known. */
uint64_t watcher_people_named_start(struct watcher_people *people, uint32_t pid, int64_t time_ns,
				    int64_t *exit_ns);
/* Could a process with this start have acted at time_ns? */
bool watcher_people_could_act(const struct watcher_people *people, uint64_t start_ticks,
			      int64_t time_ns);

/* The record of a person; strings live as long as its facts. */
struct snap_process watcher_person_record(const struct watcher_person *person);

#endif
