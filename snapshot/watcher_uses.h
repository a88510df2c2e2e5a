/*
 * watcher_uses.h - from the kernel's tracepoints to who used which socket: what
 * is told of them, and what is not.
 *
 * Pure logic: fed events in their order, tells through callbacks; no system
 * call, no lock, one thread. An event of a socket whose user stays the same
 * costs one look-up.
 *
 * TCP sockets are followed from their opening to their end by their address
 * in the kernel; those that were open before are not. A use is told at the
 * first act of a socket and whenever another process acts than last time.
 * Datagrams are told by protocol, namespace, local port, remote address and
 * port, when these are new, of another process, or silent for 2 s; those
 * without ports each, as long as they are few, and of echoes how long they were. Who sends
 * and receives on a socket of datagrams is told when another process does than before.
 */
#ifndef SNAPSHOT_WATCHER_USES_H
#define SNAPSHOT_WATCHER_USES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/snapfile.h"
#include "snapshot/tracepoint.h"

/* Live TCP sockets; beyond, new ones are not followed. 90 MB. */
#define WATCHER_USES_SOCKETS 262144
/* Ways of datagrams; the longest silent one of a set is forgotten. */
#define WATCHER_USES_WAYS      65536
#define WATCHER_USES_SET       4
#define WATCHER_USES_SILENT_NS INT64_C(2000000000)
/* Look-ups of one way without ports, in a second: 100 echoes, each of which may look up
 * several tables. What the same process does beyond is
 * not told; what another one does is missing. */
#define WATCHER_USES_PORTLESS 400
/* What a file that begins may still need: packets of before are on their way to it. */
#define WATCHER_USES_LATE_NS INT64_C(2000000000)
#define WATCHER_USES_LATE    16384
/* Events of a group in WATCHER_USES_WINDOW_NS that are too many to take. */
#define WATCHER_USES_WINDOW_NS INT64_C(100000000)
#define WATCHER_USES_HOT       50000
#define WATCHER_USES_GROUPS    2 /* enum tracepoint_group */

/* Who acted, as far as the uses care. */
struct watcher_user {
	uint64_t id; /* struct watcher_person's */
	uint64_t netns;
	bool is_placed; /* in netns for sure, not only begun there */
};

enum watcher_known {
	WATCHER_KNOWN,
	WATCHER_KERNEL,	  /* a kernel thread: nothing is told of it */
	WATCHER_STRANGER, /* nobody knows: what it did is missing */
};

struct watcher_use {
	struct snap_use use; /* start_ticks: not set; times: CLOCK_REALTIME */
	bool is_restated;    /* told before */
	struct watcher_user user;
	int64_t time_ns; /* at_ns, in CLOCK_MONOTONIC */
};

struct watcher_uses_config {
	bool has_lengths; /* tracepoint_has_lengths */
	enum watcher_known (*who)(void *context, const struct tracepoint_event *event,
				  struct watcher_user *out);
	/* In which namespace these ends (ports may be 0) are that the user has: its own, or 0. */
	uint64_t (*place)(void *context, const struct watcher_user *user,
			  const struct endpoint *local, const struct endpoint *remote);
	/* Not the same number as before: the same pid may be another user. Never 0. */
	uint64_t (*epoch)(void *context);
	void (*tell)(void *context, const struct watcher_use *use);
	void *context;
};

/* Why something was not told; bits. */
enum watcher_untold {
	WATCHER_UNTOLD_LOST = 1,     /* the kernel's buffer was full */
	WATCHER_UNTOLD_SHED = 2,     /* more than a limit above */
	WATCHER_UNTOLD_SEVERAL = 4,  /* a socket had two users before its tuple was known */
	WATCHER_UNTOLD_STRANGER = 8, /* the process was gone before anything was known of it */
	WATCHER_UNTOLD_FRAMES = 16,  /* told, but not written (watcher_uses_miss) */
};

struct watcher_uses;

/* NULL without memory. */
struct watcher_uses *watcher_uses_new(const struct watcher_uses_config *config);
void watcher_uses_free(struct watcher_uses *uses); /* NULL works */
/* CLOCK_REALTIME less CLOCK_MONOTONIC, of the events to come. */
void watcher_uses_set_real(struct watcher_uses *uses, int64_t offset_ns);
/* STATE, SEND, RECEIVE, DESTROY, ROUTE and LOST; others change nothing. */
void watcher_uses_feed(struct watcher_uses *uses, const struct tracepoint_event *event);
/* Something is missing from since_ns (CLOCK_MONOTONIC) on: of streams
 * (TRACEPOINT_TRANSFERS) or of datagrams (TRACEPOINT_ROUTES). */
void watcher_uses_miss(struct watcher_uses *uses, enum tracepoint_group group,
		       enum watcher_untold why, int64_t since_ns);
/* What is missing, bits of enum watcher_untold, and since when (CLOCK_MONOTONIC).
 * 0: nothing. It is counted as told from here on, up to now; each socket's
 * next act is told anew, as its user in between is not known. */
unsigned watcher_uses_take_missing(struct watcher_uses *uses, enum tracepoint_group group,
				   int64_t *since_ns);
/* Tells once more who uses each TCP socket that lives or has ended lately; each way of datagrams is
 * told anew when it is used next. */
void watcher_uses_restate(struct watcher_uses *uses);
/* The group had too many events in one window, since it was asked last. */
bool watcher_uses_is_hot(struct watcher_uses *uses, enum tracepoint_group group);
size_t watcher_uses_sockets(const struct watcher_uses *uses); /* followed now */

#endif
