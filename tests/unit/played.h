/*
 * played.h - kernel events played to what follows uses (watcher_uses.h), one at a time,
 * and what it tells of them. All of one host, 10.0.0.1, and its peer 10.0.0.2.
 */
#ifndef TESTS_UNIT_PLAYED_H
#define TESTS_UNIT_PLAYED_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/watcher_uses.h"

#define MS     INT64_C(1000000)
#define SECOND (1000 * MS)
#define T0     (1000 * SECOND)		    /* of events: CLOCK_MONOTONIC */
#define REAL   INT64_C(1795290600000000000) /* added to it: CLOCK_REALTIME */

/* A pid is its own user; the last two are a kernel thread and one nobody knows. */
enum { CLIENT = 10, SERVER, CHILD, KERNEL, STRANGER };

#define PLAYED_TOLD 128 /* the last ones are kept */

/* What the uses ask and tell; cmocka's state. */
struct played_world {
	struct watcher_uses *uses;
	uint64_t epoch;
	uint64_t again; /* added to ids: every pid is another process */
	uint64_t asked; /* how often who a pid is */
	struct watcher_use told[PLAYED_TOLD];
	size_t count;
};

int played_set_up(void **state);
int played_set_up_old_kernel(void **state); /* which does not tell how much is sent */
int played_tear_down(void **state);

struct endpoint played_endpoint(const char *address, uint16_t port);
/* TCP over IPv4, of the task pid. */
struct tracepoint_event played_event(enum tracepoint_kind kind, int64_t time_ns, uint32_t pid,
				     uint64_t sk);

/* Of the socket sk: 40000 to 443 where its number is odd, the client's; the server's are even.
 * pid 0: by no task. */
void state_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk, uint8_t from,
	      uint8_t to);
void connect_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk);
void accept_at(struct played_world *world, int64_t time_ns, uint64_t sk);
void send_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk,
	     int64_t length);
void receive_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk,
		int64_t length);
void destroy_at(struct played_world *world, int64_t time_ns, uint64_t sk);
/* Events of that processor. */
void lost_at(struct played_world *world, int64_t time_ns, uint32_t cpu);
/* A way is looked up. */
void route_to(struct played_world *world, int64_t time_ns, uint32_t pid, uint8_t protocol,
	      uint16_t local, const char *remote, uint16_t port);
void udp_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint16_t local,
	    uint16_t remote);
void ping_at(struct played_world *world, int64_t time_ns, uint32_t pid);

/* The last that was told; the test fails if nothing was. */
const struct watcher_use *told_last(const struct played_world *world);
/* It is this one, of so many; times are those of events, previous 0: none. */
void expect_told(const struct played_world *world, size_t count, enum snap_act act, uint32_t pid,
		 int64_t at_ns, int64_t previous_ns);
/* Of whichever group: each test has one that misses something. */
void expect_missing(struct played_world *world, unsigned why, int64_t since_ns);
void expect_whole(struct played_world *world);

#endif
