/*
 * repeats.h - the same packet, captured on several interfaces.
 *
 * A host that captures on all of its interfaces sees a packet on a veth, on its
 * bridge and on the way out: one packet, several sightings. The first one is
 * counted. Never is what was sent again taken for what was sent before:
 *
 * - A packet can only repeat one of another interface. Of equal packets the
 *   interface that saw most of them says how many there were.
 * - Equal is all that identifies it: the IP header but for TTL and checksum, the
 *   transport header with its options and the beginning of the payload.
 * - It follows within REPEATS_MARKED_NS if its IP header numbers it (the sender
 *   gives a retransmission another number), else within REPEATS_UNMARKED_NS,
 *   which no retransmission timer undercuts. There, a TCP segment behind a later
 *   one of its own interface is not in the order of the way, and is counted; and
 *   so is a datagram to a group, which a program sends to each interface alike.
 *
 * What the rule does not show to be a repeat is counted: a packet that was
 * held up on the way, cut into segments by one interface, or translated.
 */
#ifndef ANALYZE_REPEATS_H
#define ANALYZE_REPEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/decode.h"

/* Between two interfaces of a host a packet takes microseconds; the recorder's
 * ring is filled by several processors, and a queue may hold it for some ms.
 * Linux takes 65536 numbers for each destination in more than that. */
#define REPEATS_MARKED_NS INT64_C(10000000)
/* The shortest timer is that of the tail loss probe: two clock ticks of the
 * kernel, 2 ms at 1000 ticks a second (RFC 8985 7, tcp_output.c). */
#define REPEATS_UNMARKED_NS INT64_C(1000000)

struct repeats;

struct repeats *repeats_new(void); /* NULL: no memory */
/* Notes a sighting of a packet that belongs to a flow, with packet->ip as
 * decode_packet left it. Whether it repeats one that was noted before. Packets without
 * ifindex, and loopback's, never do. */
bool repeats_seen(struct repeats *repeats, const struct packet *packet);
/* The same in steps, so that of several packets what is noted of each is on its way into the
 * processor's cache while the others are looked at: what tells it from others, of the packet
 * alone; what is noted of such; and whether it repeats one. */
struct repeats_look {
	uint64_t key, place;
	bool applies; /* false: it can be no repeat, and is not noted */
	bool marked;  /* numbered by its sender */
};
void repeats_look(const struct packet *packet, struct repeats_look *look);
void repeats_fetch(const struct repeats *repeats, const struct repeats_look *look);
bool repeats_seen_looked(struct repeats *repeats, const struct packet *packet,
			 const struct repeats_look *look);
/* Of the sighting that was noted last: which of the equal packets of its interface it was,
 * from 1, and whether no other interface had as many before it. */
struct repeats_sighting {
	uint32_t ordinal;
	bool first;
};
struct repeats_sighting repeats_last(const struct repeats *repeats);
/* Whether two packets, with packet->ip as decode_packet left it, are equal: sightings of one,
 * or of what was sent twice. */
bool repeats_equal(const struct packet *a, const struct packet *b);
void repeats_free(struct repeats *repeats);

/* What is noted of the time before a packet, as far as it can matter behind it. */
struct repeats_note {
	uint64_t key;
	int64_t time_ns;
	uint32_t set, count, latest;
	bool noted;
};
struct repeats_recent {
	struct repeats_note *notes; /* by set and key */
	size_t count, capacity;
};
/* Forgets what is further than REPEATS_MARKED_NS from now, and writes the rest down; what
 * goes on from there goes on as from the same notes restored. 0, or -1 without memory. */
int repeats_settle(struct repeats *repeats, int64_t now_ns, struct repeats_recent *recent);
/* Nothing else is noted then. */
void repeats_restore(struct repeats *repeats, const struct repeats_recent *recent);
bool repeats_recent_equal(const struct repeats_recent *a, const struct repeats_recent *b);
void repeats_recent_release(struct repeats_recent *recent);

#endif
