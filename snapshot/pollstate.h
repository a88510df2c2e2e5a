/*
 * pollstate.h - the state that a poll reads, and the difference of two states
 * as records of a frame. The poller makes it, the watcher learns from it. Reads
 * nothing by itself.
 */
#ifndef SNAPSHOT_POLLSTATE_H
#define SNAPSHOT_POLLSTATE_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/procnet_text.h"
#include "snapshot/format/snapfile.h"
#include "snapshot/netif.h"
#include "snapshot/procfs.h"

/* A path longer than this is cut: it is there for people. */
#define POLLSTATE_SUBJECT_SIZE 108

struct pollstate_absence {
	const char *what; /* a literal */
	uint64_t netns;
	uint32_t pid;
	char subject[POLLSTATE_SUBJECT_SIZE];
	char reason[PROCFS_ERRNO_SIZE];
};

/* All owned, reused from poll to poll. {0} is an empty one. */
struct pollstate {
	struct snap_frame head; /* sequence and times of the reading */
	struct snap_netns *netns;
	size_t netns_count, netns_capacity;
	struct netif_list netif;
	struct pollstate_absence *absences;
	size_t absence_count, absence_capacity;
	struct procnet_rows sockets;
	struct procfs_walk walk; /* processes and holders */
};

void pollstate_reset(struct pollstate *state); /* empty, memory kept */
void pollstate_release(struct pollstate *state);

/* 0 or ERROR_MEMORY. */
int pollstate_add_netns(struct pollstate *state, uint64_t netns, uint32_t via_pid, bool is_capture);
int pollstate_add_absence(struct pollstate *state, const char *what, uint64_t netns, uint32_t pid,
			  const char *subject, const char *reason);

/* Sorts by identity and removes repetitions, but for sockets and processes,
 * which their readers sort. */
void pollstate_sort(struct pollstate *state);

/* Adds to frame what turns before (NULL: nothing) into after, both sorted: by
 * kind of record, what is gone before what is new. */
void pollstate_difference(struct snapframe *frame, const struct pollstate *before,
			  const struct pollstate *after);

#endif
