/*
 * watcher_tuples.h - which conversations have been looked up already, and
 * which of them are too many packets to see.
 *
 * One thread uses a table. Sizes are fixed: a flood costs memory no more than
 * silence does, and what is forgotten is looked up once more.
 */
#ifndef SNAPSHOT_WATCHER_TUPLES_H
#define SNAPSHOT_WATCHER_TUPLES_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/watcher_tap.h"

#define WATCHER_TUPLES	  65536
#define WATCHER_WAYS	  4
#define WATCHER_IDLE_NS	  INT64_C(2000000000)  /* a silent one is new again */
#define WATCHER_RESEND_NS INT64_C(60000000000) /* the same SYN again is the same attempt */

struct watcher_tuple {
	struct endpoint low, high; /* both directions are one; TCP: as on the wire */
	uint32_t sequence;
	uint8_t protocol;
	bool is_answer;
	int64_t last_ns; /* CLOCK_MONOTONIC; 0: free */
	int64_t window;	 /* in which packets were counted */
	uint32_t packets;
};

struct watcher_tuples {
	struct watcher_tuple sets[WATCHER_TUPLES / WATCHER_WAYS][WATCHER_WAYS];
};

/* Notes a packet. True when it is the first of its conversation. */
bool watcher_tuples_see(struct watcher_tuples *table, const struct watcher_packet *packet,
			int64_t now_ns, struct watcher_tuple **out);

/* Packets are counted by windows of this length. */
#define WATCHER_WINDOW_NS   INT64_C(100000000)
#define WATCHER_PAIR_LIMIT  50 /* of one window: see the table in watcher.h */
#define WATCHER_PORT_LIMIT  200
#define WATCHER_UDP_LIMIT   500
#define WATCHER_TCP_LIMIT   2000
#define WATCHER_OTHER_LIMIT 200
#define WATCHER_EXCLUDE_NS  INT64_C(10000000000)
#define WATCHER_SHED_NS	    INT64_C(1000000000)

struct watcher_exclusion {
	enum { WATCHER_BY_PAIR = 1, WATCHER_BY_PORT, WATCHER_BY_PROTOCOL } by;
	uint32_t what; /* the pair, port or protocol as the filter has it */
	int64_t until_ns;
};

/* What is kept away for how long, and the counts that lead to it. {0} begins. */
struct watcher_rates {
	struct watcher_exclusion excluded[WATCHER_TAP_EXCLUDED];
	size_t excluded_count;
	int64_t tcp_until_ns, udp_until_ns; /* left out; 0: not */
	int64_t window;
	uint32_t tcp, udp;
	uint32_t by_port[65536];
	uint32_t by_protocol[256];
	uint16_t touched[2 * WATCHER_UDP_LIMIT + 2];
	size_t touched_count;
};

enum watcher_verdict {
	WATCHER_PASS = 0,   /* nothing exceeded */
	WATCHER_STALE = 1,  /* came before the filter that keeps it away */
	WATCHER_FILTER = 2, /* the filter has to change: something is excluded now */
	WATCHER_SHED = 3,   /* the same, and what is left out was not all known */
};

/* Counts a packet, whose conversation is tuple. */
enum watcher_verdict watcher_rates_count(struct watcher_rates *rates,
					 const struct watcher_packet *packet,
					 struct watcher_tuple *tuple, int64_t now_ns);
/* Lets in again what was kept away long enough: true when the filter has to change. */
bool watcher_rates_expire(struct watcher_rates *rates, int64_t now_ns);
/* Into the parts of *filter that this module decides. */
void watcher_rates_apply(const struct watcher_rates *rates, struct watcher_filter *filter);

#endif
