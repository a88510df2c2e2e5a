/*
 * flow.h - flow instances: one conversation each, both directions.
 *
 * A flow here is the part of a conversation that one stretch of packets shows.
 * It is written so that two parts can be joined in order (flow_continues,
 * flow_join) and give what one pass would have given; nothing in it depends on
 * where the evidence was cut. Knows nothing of sockets and owners.
 */
#ifndef ANALYZE_FLOW_H
#define ANALYZE_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/decode.h"
#include "analyze/hashindex.h"

/* The smaller end first (address bytes, then port). Ports: ICMP has type and
 * counterpart type or code, as Community ID and Zeek have them. */
struct flow_key {
	uint8_t address[2][16];
	uint16_t port[2];
	uint16_t icmp_id; /* echo ident, else 0 */
	uint8_t protocol, ip_version;
};

/* History letters, Zeek's; stored as (side << 3 | letter) in order of first occurrence. */
enum flow_letter {
	FLOW_SYN = 1, /* s */
	FLOW_SYN_ACK, /* h */
	FLOW_ACK,     /* a: nothing but an ACK */
	FLOW_DATA,    /* d */
	FLOW_FIN,     /* f */
	FLOW_RST,     /* r */
};

#define FLOW_HISTORY_MAX 12 /* six letters, two sides */

/* What the sequence numbers told, by side of the key. */
struct flow_tcp {
	uint32_t isn[2], fin_end[2]; /* fin_end: sequence number after the FIN */
	/* Data that came without a hole, while a FIN from before these packets may
	 * still count: it lies below that FIN, or shows that it counts no more. */
	uint32_t data_from[2], data_until[2];
	bool isn_known[2], fin_known[2], data_known[2];
	bool isn_derived[2]; /* from the other side's acknowledgement alone */
	bool fin_moot[2];    /* a FIN from before these packets counts no more */
	/* So far in this part of the conversation, and of no use when parts are joined. */
	bool multipath[2], urgent[2]; /* sent an option of MPTCP, urgent bytes */
};

/* The first packet, so that a part can be tested against the one before it
 * just as the packet would have been. */
struct flow_head {
	int64_t time_ns;
	uint32_t seq, ack, payload_bytes;
	uint8_t side, flags;
	bool ports_only; /* a later fragment: no TCP header */
};

/* Counters by direction: [0] sent by the key's first end. */
struct flow_count {
	uint64_t packets, bytes, payload_bytes;
};

/* The end of a flow as ledger.h fills it: [0] the key's first end. */
struct flow_end {
	int64_t from_ns, until_ns; /* the current verdict holds in [from, until) */
	uint32_t span;		   /* current one; NONE before the first packet */
	uint32_t first_span;	   /* all of this end's, linked */
	uint32_t sent_span;	   /* that of the last packet it sent; NONE */
	int64_t sent_ns;	   /* and its time */
	int64_t bucket;		   /* the open bucket; INT64_MIN: none */
	uint32_t sent_packets, received_packets;
	uint64_t sent_bytes, received_bytes; /* in the open bucket */
	bool local;
};

/* What a flow's packets carry for others, if it is a tunnel: enum decode_tunnel once a
 * packet has shown it, and how many packets were read, hold no IP, could not be read. */
struct flow_carried {
	uint64_t read, other, unreadable;
	uint8_t tunnel;
};

#define FLOW_NONE UINT32_MAX

struct flow {
	struct flow_key key;
	uint32_t within; /* what tells equal keys of a table apart; 0 on the wire, see tunnel.h */
	int64_t first_ns, last_ns;
	int64_t began_ns; /* this instance began no earlier: its SYN, or the last packet of the
			     one before; INT64_MIN: not known */
	struct flow_count count[2];
	struct flow_tcp tcp;
	struct flow_head head;
	uint8_t history[FLOW_HISTORY_MAX];
	uint8_t history_length;
	uint8_t originator;   /* side of the key that is the originator */
	bool originator_sure; /* a SYN or SYN-ACK said so */
	bool locality_known;  /* the ends' local flags were decided */
	uint8_t place;	      /* enum bridge_locality */
	uint8_t group_side;   /* the side that is a multicast or broadcast address; 2: neither */
	uint16_t vlan, inner_vlan;
	uint32_t ifindex;
	uint64_t first_number, first_offset_bytes; /* of its first packet, in its file */
	uint64_t repeats;
	struct flow_carried carried;
	uint32_t before; /* the part of it that precedes this one in the same table; NONE */
	bool divided;	 /* such a part follows */
	struct flow_end end[2];
};

struct flow_limits {
	int64_t idle_ns;	/* all but TCP */
	int64_t tcp_idle_ns;	/* TCP, open */
	int64_t tcp_closed_ns;	/* TCP after FIN from both sides or RST */
	int64_t tcp_attempt_ns; /* TCP, one SYN and no answer */
};
extern const struct flow_limits flow_default_limits; /* 2 min, 3 h, 2 min, 5 min */

struct flow_table {
	struct flow *flows;
	size_t count, capacity;
	struct hashindex index; /* by key: the newest instance of each is found */
	struct flow_limits limits;
	/* Packets precede those of this table. Where they may decide that another
	 * instance begins, a flow is divided, so that whoever joins the parts decides. */
	bool cut_before;
};

void flow_table_init(struct flow_table *table, const struct flow_limits *limits);
void flow_table_clear(struct flow_table *table); /* keeps the memory */
void flow_table_release(struct flow_table *table);

/* Finds or begins the flow of a packet (outcome DECODE_FLOW) and adds the
 * packet to it. *side: which side of the key sent it. *ended: the instance on the
 * same key that this packet ended by beginning a new one, else FLOW_NONE; where
 * that is for the joining to decide, FLOW_NONE and the new flow's before is set.
 * Returns the flow's place, FLOW_NONE without memory. */
uint32_t flow_table_add(struct flow_table *table, const struct packet *packet, uint8_t *side,
			uint32_t *ended);
/* Where a packet's flow is looked for. It is a step of its own, so that of several packets what
 * each leads to is on its way into the processor's cache while the others are looked at. */
struct flow_look {
	struct flow_key key;
	uint64_t hash;
	uint8_t side; /* of the key that sent it */
};
void flow_look(const struct packet *packet, struct flow_look *look);
/* Fetches what flow_table_fetch needs, and that what flow_table_add_looked needs, where the look
 * most likely leads to; FLOW_NONE: nowhere. */
void flow_table_fetch_slot(const struct flow_table *table, const struct flow_look *look);
uint32_t flow_table_fetch(const struct flow_table *table, const struct flow_look *look);
/* As flow_table_add. */
uint32_t flow_table_add_looked(struct flow_table *table, const struct packet *packet,
			       const struct flow_look *look, uint32_t *ended);
/* The same for one that was carried: within, not 0, is a part of its key. */
uint32_t flow_table_add_within(struct flow_table *table, const struct packet *packet,
			       uint32_t within, uint8_t *side, uint32_t *ended);
/* Counts a packet as a repeat of one that its flow has. False: no flow of the table has it. */
bool flow_table_repeat(struct flow_table *table, const struct packet *packet);
/* The newest flow of a tuple as it stood on the wire; FLOW_NONE: none. */
uint32_t flow_table_find(const struct flow_table *table, const struct flow_key *key);

/* The flow at place with the parts of it that precede it in the table. The ends
 * are those of the part at place. */
struct flow flow_table_whole(const struct flow_table *table, uint32_t place);

/* The key of a tuple; returns the side of the key that the source is. */
uint8_t flow_key_make(uint8_t protocol, uint8_t ip_version, const struct endpoint *source,
		      const struct endpoint *destination, struct flow_key *key);
/* The same of a packet's flow. */
uint8_t flow_key_of(const struct packet *packet, struct flow_key *key);
uint64_t flow_key_hash(const struct flow_key *key);
bool flow_key_equal(const struct flow_key *a, const struct flow_key *b);

/* Whether later, a flow that begins after earlier's packets, is the same instance. */
bool flow_continues(const struct flow *earlier, const struct flow *later,
		    const struct flow_limits *limits);
/* What later, which does not continue earlier, knows of its beginning by that: began_ns. */
void flow_follow(struct flow *later, const struct flow *earlier, const struct flow_limits *limits);
/* Adds later to earlier: counts, what they carry, history, sequence numbers, last_ns. Not the ends.
 */
void flow_join(struct flow *earlier, const struct flow *later);
/* How long it lives without a packet. */
int64_t flow_idle_limit(const struct flow *flow, const struct flow_limits *limits);

static inline bool flow_has_letter(const struct flow *flow, uint8_t side, enum flow_letter letter)
{
	for (uint8_t i = 0; i < flow->history_length; i++) {
		if (flow->history[i] == (side << 3 | letter))
			return true;
	}
	return false;
}

#define FLOW_HISTORY_SIZE (FLOW_HISTORY_MAX + 1)
/* Zeek's words. history is filled with letters, upper case for the originator. */
const char *flow_conn_state(const struct flow *flow);
void flow_history(const struct flow *flow, char history[FLOW_HISTORY_SIZE]);

/* Whether side sent nothing but RST segments (or nothing). */
bool flow_only_reset(const struct flow *flow, uint8_t side);
/* TCP: whether side answered the other one with nothing but resets, as a kernel does that has no
 * socket for it. What precedes or follows a part may show otherwise: to be asked of the whole. */
bool flow_refused(const struct flow *flow, uint8_t side);

#endif
