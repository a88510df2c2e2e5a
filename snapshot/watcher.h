/*
 * watcher.h - sees who opens, uses and closes sockets between two polls.
 *
 * A second capture handle, of headers only, shows the first packet of each
 * conversation. Its socket is asked for by its exact tuple (sockdiag), its
 * holder is looked for first where it most likely is, and what was found
 * becomes an event frame. Process events and closes become frames too.
 * Never writes a file, never says who owns a packet.
 *
 * Threads (nice -20, process -10, where allowed: what they look for lives half a
 * millisecond; look and accept each keep to one half of the processors):
 *
 *   look     TCP connecting ends, UDP, ICMP echo, SCTP, other protocols
 *   accept   TCP accepting ends, which have no inode before accept();
 *            walks of all processes, for what the candidates do not hold
 *   process  process events, closes, and what was left out
 *
 * Limits; whatever exceeds one is left to the polls, one of which is asked
 * for, and an absence `event` `watch` is recorded once for each episode:
 *
 *   conversations known            65,536  the longest silent ones are forgotten
 *   a known one is new again       after 2 s of silence; TCP: with each new SYN
 *   UDP, one pair of ports         above 500 packets/s, and UDP, one port, above
 *                                  2,000/s: known by then; the kernel's filter
 *                                  leaves it out for 10 s (64 such at a time)
 *   UDP beside those               above 5,000 packets/s: left out for 1 s
 *   TCP, SYN and SYN-ACK           above 20,000/s: left out for 1 s
 *   one other protocol             above 2,000/s: left out for 10 s
 *   an accepting end is awaited    2 s, 4,096 at a time
 *   a walk of all processes        not sooner after the last one than its cost
 *                                  divided by --cpu-budget
 *   facts of executed programs     above 1,000/s: left out (no absence: the
 *                                  next poll has those that still run)
 *   closes                         above 20,000/s: left out
 *   network namespaces entered     256, beside the capture's own
 */
#ifndef SNAPSHOT_WATCHER_H
#define SNAPSHOT_WATCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"
#include "snapshot/pollstate.h"

struct watcher;

struct watcher_config {
	int proc_fd; /* the kernel's own /proc; borrowed */
	const char *const
		*interfaces; /* none, or one of them "any": all; read by watcher_open only */
	size_t interface_count;
	uint32_t cpu_budget_ppm;
	/* Both from any of the threads; they return at once. submit takes the
	 * frame over in any case and says -1 when it is lost. */
	int (*submit)(void *context, struct snapframe *frame);
	void (*want_poll)(void *context);
	void *context;
};

#define WATCHER_STATUS_SIZE 400

/* Opens all that needs a privilege (net_raw, net_admin). What is missing costs
 * only its part; an error means that nothing can be watched. Where allowed
 * (sys_nice) the calling thread has a raised priority from here on, which the
 * watcher's threads inherit: until watcher_start or watcher_close. */
int watcher_open(const struct watcher_config *config, struct watcher **out, struct error *error);
/* "on", or "on: without " and what is missing and why. Lives as long as the watcher. */
const char *watcher_status(const struct watcher *watcher);
/* After the privileges are dropped: starts the threads. */
int watcher_start(struct watcher *watcher, struct error *error);
/* What a poll read: holders of listening sockets, processes, addresses and
 * namespaces. Copies what it needs. From the thread that polls. */
void watcher_learn(struct watcher *watcher, const struct pollstate *state);
/* Submits all that the kernel has told until now; with tracepoints only, else the threads submit at
 * once. False: not within half a second; then *missed is a frame, the caller's, that says from
 * when on something may be missing. */
bool watcher_flush(struct watcher *watcher, struct snapframe *missed);
/* A file begins: who uses each living socket is submitted once more, soon, in
 * frames of cause WATCHER_RESTATED, and processes when they are named next. */
void watcher_restate(struct watcher *watcher);
#define WATCHER_RESTATED "restated"
/* Submits what is not yet submitted and ends the threads. */
void watcher_stop(struct watcher *watcher);
/* Stops if it runs; frees. NULL works. */
void watcher_close(struct watcher *watcher);

#endif
