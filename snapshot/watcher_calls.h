/*
 * watcher_calls.h - calls that send datagrams, each from its look-up of the way to
 * its end.
 *
 * Two processes that ping one host at one moment differ by nothing else that
 * the kernel tells; and only its look-up tells the port of a socket that sends. Pure logic, as
 * watcher_uses.h, which feeds it.
 */
#ifndef SNAPSHOT_WATCHER_CALLS_H
#define SNAPSHOT_WATCHER_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/tracepoint.h"
#include "snapshot/watcher_uses.h"

/* Tasks that are in a call at one time, by tid: a call lasts some 20 us. What finds
 * its place taken is not told: its look-up stands alone then. */
#define WATCHER_CALLS 1024

struct watcher_calls {
	struct watcher_call {
		struct watcher_use use; /* its first look-up; at_ns 0: none */
		bool is_told;		/* all its look-ups were */
	} of[WATCHER_CALLS];
};

/* A task looked up a way. */
void watcher_calls_look(struct watcher_calls *calls, const struct watcher_use *use, bool is_told);
/* A call ended: true and *out, what is to be told of it. */
bool watcher_calls_end(struct watcher_calls *calls, const struct tracepoint_event *event,
		       int64_t real_ns, struct watcher_use *out);

/* The latest look-up of the task that sent now, once: false if there is none. */
bool watcher_calls_take(struct watcher_calls *calls, const struct tracepoint_event *event,
			struct watcher_use *out);

#endif
