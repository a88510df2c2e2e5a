/*
 * ledger.h - what is added up while packets are replayed: for each local end of
 * each flow its stretches by owner, traffic by time bucket, and the packets
 * that belong to no flow. Knows nothing of sockets beyond their numbers.
 */
#ifndef ANALYZE_LEDGER_H
#define ANALYZE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/bridge.h"
#include "analyze/decode.h"
#include "analyze/flow.h"
#include "analyze/hashindex.h"

#define LEDGER_NONE UINT32_MAX

/* One owner (or one reason for none) of one end of one flow: what becomes a connection. */
struct ledger_span {
	uint32_t next;	 /* next of the same end */
	uint32_t folded; /* what this one became part of; NONE */
	uint32_t last;	 /* of the first of an end: the last, and how many they are */
	uint32_t count;
	uint32_t flow;
	uint8_t side; /* of the flow's key */
	bool by_tuple, passed, refused;
	bool answered; /* by the kernel itself, if the flow is no more than this part of it */
	enum bridge_reason reason;
	enum bridge_rule rule;		 /* of the current verdict */
	uint32_t socket, process, image; /* of the timeline; NONE */
	uint32_t shared_by, frame;
	int64_t first_ns, last_ns; /* of the current verdict, for distances */
	int64_t distance_ns;	   /* the largest */
	uint64_t rule_packets[BRIDGE_RULES];
	int64_t start_ns, end_ns;
	struct flow_count sent, received;
	uint32_t first_candidate, candidate_count;
};

struct ledger_traffic {
	uint32_t span;
	uint32_t sent_packets, received_packets;
	int64_t bucket;
	uint64_t sent_bytes, received_bytes;
};

/* With --packets only. */
struct ledger_packet {
	uint64_t offset_bytes;
	int64_t time_ns;
	uint32_t number; /* less the ledger's first_number */
	uint32_t span, bytes;
	uint8_t side; /* of its flow, that sent it */
	uint8_t rule, reason;
};

struct ledger_other {
	uint64_t packets, bytes;
};

struct ledger {
	struct ledger_span *spans;
	size_t span_count, span_capacity;
	struct hashindex long_ends; /* stretches by owner, of ends that have many */
	struct ledger_traffic *traffic;
	size_t traffic_count, traffic_capacity;
	struct bridge_candidate *candidates;
	size_t candidate_count, candidate_capacity;
	struct ledger_packet *packets;
	size_t packet_count, packet_capacity;
	uint64_t first_number; /* of the first of them */
	struct ledger_other other[DECODE_OUTCOME_END];
	int64_t bucket_ns;
	bool keep_packets;
	bool lacks_memory; /* for long_ends: no more turns */
};

void ledger_init(struct ledger *ledger, int64_t bucket_ns, bool keep_packets);
void ledger_clear(struct ledger *ledger); /* keeps the memory */
void ledger_release(struct ledger *ledger);

/* Makes the stretch that a verdict belongs to the current one of an end,
 * beginning it if the end has none of that owner. 0, or -1 without memory. */
int ledger_turn(struct ledger *ledger, struct flow *flow, uint32_t flow_place, uint8_t side,
		const struct bridge_verdict *verdict);
/* Counts a packet for the current stretch of an end. */
int ledger_count(struct ledger *ledger, struct flow *flow, uint8_t side,
		 const struct packet *packet, bool sent, int64_t distance_ns);
/* Fetches what counting a packet of a flow needs into the processor's cache. */
void ledger_fetch(const struct ledger *ledger, const struct flow *flow);
int ledger_keep(struct ledger *ledger, const struct ledger_packet *packet);
/* Writes an end's open bucket to the traffic. */
int ledger_flush(struct ledger *ledger, struct flow *flow, uint8_t side);

/* Takes a stretch's owner away, and folds it into another one of the same
 * end that has this reason. */
void ledger_disown(struct ledger *ledger, struct flow *flow, uint32_t span,
		   enum bridge_reason reason);
/* Gives a stretch without owner the one that is left of its candidates. */
void ledger_own(struct ledger *ledger, struct flow *flow, uint32_t span,
		const struct bridge_candidate *owner, enum bridge_rule rule, int64_t distance_ns);
/* What a span became, following folds. */
uint32_t ledger_final(const struct ledger *ledger, uint32_t span);

#endif
