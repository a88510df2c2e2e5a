/*
 * watcher_uses_internal.h - what watcher_uses.c (streams, and what is missing)
 * and watcher_ways.c (datagrams) share.
 */
#ifndef SNAPSHOT_WATCHER_USES_INTERNAL_H
#define SNAPSHOT_WATCHER_USES_INTERNAL_H

#include "snapshot/watcher_uses.h"

#define STREAMS	  TRACEPOINT_TRANSFERS
#define DATAGRAMS TRACEPOINT_ROUTES

/* A TCP socket. */
struct stream {
	uint64_t sk, cookie;
	struct endpoint local, remote;
	uint64_t netns;		    /* of whoever was told first, so that all its uses agree */
	int64_t opened_ns, last_ns; /* CLOCK_REALTIME; last: of user's last act */
	uint64_t user;		    /* 0: nobody yet */
	uint64_t epoch;		    /* in which pid was user */
	uint64_t gap;		    /* the state of uses.gap when user was told */
	uint32_t pid;
	uint16_t turns; /* users so far */
	uint8_t state;
	bool has_tuple, is_placed, was_used, was_shut, is_silenced;
	bool is_counted; /* sent and received are all that there was */
	uint64_t sent_bytes, received_bytes;
	bool is_pending;	 /* to be told when the tuple is known */
	struct watcher_use last; /* what was told, or is to be, when user became it */
};

/* A way of datagrams. */
struct way {
	struct endpoint_address remote;
	uint64_t netns;
	uint16_t local_port, remote_port;
	uint8_t protocol;
	uint32_t pid;
	uint64_t user, epoch, gap, segment;
	int64_t time_ns;	      /* CLOCK_MONOTONIC of the last event; 0: free */
	int64_t last_ns, previous_ns; /* CLOCK_REALTIME */
	int64_t second;
	uint32_t told; /* in that second */
	/* To tell it once more. */
	struct endpoint_address local;
	uint32_t tid;
	uint8_t looks; /* so far, up to RESTATED_LOOKS + 1 */
	bool is_placed;
	bool is_crowded; /* too many in this second, and not of one process */
};

struct rate {
	int64_t window;
	uint32_t count;
	bool is_hot;
};

struct watcher_uses {
	struct watcher_uses_config config;
	int64_t real_ns;
	/* Streams by sk: open addressing, places + 1. */
	uint32_t *slots;
	size_t slot_count;
	struct stream *streams;
	size_t count, capacity;
	struct way (*ways)[WATCHER_USES_SET];
	struct watcher_calls *calls;
	struct watcher_hands *hands;
	struct ended { /* streams, a ring */
		struct watcher_use last;
		int64_t ended_ns; /* CLOCK_MONOTONIC; 0: none */
	} * ended;
	size_t ended_next;
	int64_t event_ns; /* the latest */
	struct rate rates[WATCHER_USES_GROUPS];
	uint64_t segment; /* grows with each restating */
	uint64_t
		gap[WATCHER_USES_GROUPS]; /* grow with each stretch in which something is missing */
	unsigned missing[WATCHER_USES_GROUPS];
	int64_t missing_since_ns[WATCHER_USES_GROUPS];
	int64_t *cpu_ns; /* time of each processor's last event */
	size_t cpu_count;
	int64_t first_ns; /* of all */
};

uint64_t watcher_uses_mix(uint64_t hash, uint64_t value);
struct watcher_use watcher_uses_make(const struct watcher_uses *uses,
				     const struct tracepoint_event *event, enum snap_act act,
				     const struct watcher_user *user);
/* Who acted; one who cannot be known makes the group's uses missing. */
enum watcher_known watcher_uses_ask(struct watcher_uses *uses, enum tracepoint_group group,
				    const struct tracepoint_event *event,
				    struct watcher_user *user);
void watcher_uses_note_rate(struct watcher_uses *uses, enum tracepoint_group group,
			    int64_t time_ns);

/* watcher_ways.c: who looks up a way; of an echo, the end of its call, which goes with its
 * look-up; and who sent or received on a socket with ports. */
void watcher_ways_take(struct watcher_uses *uses, const struct tracepoint_event *event);
void watcher_ways_echo(struct watcher_uses *uses, const struct tracepoint_event *event);
void watcher_ways_datagram(struct watcher_uses *uses, const struct tracepoint_event *event);
void watcher_ways_restate(struct watcher_uses *uses); /* for the next segment */

#endif
