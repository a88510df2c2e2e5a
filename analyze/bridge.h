/*
 * bridge.h - the join: tuple and time to socket, inode, process.
 *
 * One judgement for one local end of a packet, by the rules of the join in
 * README.md. Whatever is not certain carries no owner and a reason; when
 * several qualify they are candidates, never a choice.
 */
#ifndef ANALYZE_BRIDGE_H
#define ANALYZE_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/decode.h"
#include "analyze/serving.h"
#include "analyze/timeline.h"

enum bridge_rule { /* strongest first; the order of enum store_rule */
		   BRIDGE_EXACT,
		   BRIDGE_AHEAD,
		   BRIDGE_BEHIND,
		   BRIDGE_BOUND,
		   BRIDGE_WILDCARD,
		   BRIDGE_LISTENER,
		   BRIDGE_QUOTED,
		   BRIDGE_RULES,
		   BRIDGE_NO_RULE = BRIDGE_RULES
};
const char *bridge_rule_name(enum bridge_rule rule); /* NULL for BRIDGE_NO_RULE */

enum bridge_reason {
	BRIDGE_OWNED,
	BRIDGE_FORWARDED,    /* neither end is this host's */
	BRIDGE_MULTICAST,    /* to a group, and not one single receiver */
	BRIDGE_NO_SOCKET,    /* the kernel itself answered */
	BRIDGE_NO_HOLDER,    /* a socket, but no process has it open */
	BRIDGE_UNREADABLE,   /* a socket, and some descriptors could not be read */
	BRIDGE_GAP,	     /* no snapshot near enough */
	BRIDGE_AMBIGUOUS,    /* no one owner is certain: the candidates are who qualifies */
	BRIDGE_BEFORE_START, /* before the first snapshot */
	BRIDGE_REASONS
};
const char *bridge_reason_name(enum bridge_reason reason); /* NULL for BRIDGE_OWNED */

/* What is asked: one local end. */
struct bridge_subject {
	uint8_t protocol, ip_version;
	struct endpoint local, remote;
	bool responder; /* the local end is the flow's responder */
	bool group;	/* local is a multicast or broadcast address */
	bool sent;	/* the packet in hand leaves the local end */
	/* TCP: its payload, and where that begins in the stream of its direction; -1: not known. */
	uint32_t payload_bytes;
	int64_t offset_bytes;
	bool untold;	   /* the kernel does not tell who uses it: MPTCP */
	uint32_t ip_bytes; /* of the whole packet; 0: not known, or a fragment */
	bool icmp_query;   /* ICMP query or answer; local.port is the ident */
	int64_t began_ns;  /* this instance began no earlier (its SYN); INT64_MIN: not known */
	int64_t first_ns;  /* its first packet that was captured */
};

struct bridge_candidate {
	uint32_t image; /* of the timeline; NONE: process without facts */
	uint32_t process, socket;
};

/* A flow end with more candidates than this keeps the first ones, by socket
 * and sighting; shared_by still counts all. 64 pre-forked workers are usual, 1024 are not. */
#define BRIDGE_CANDIDATES_MAX 1024

#define BRIDGE_TURN_TORN (TIMELINE_NONE - 1)

/* Between the clock of the packets and that of the uses: the recorder reads
 * both within a microsecond. */
#define BRIDGE_CLOCKS_NS INT64_C(5000)

struct bridge_verdict {
	enum bridge_rule rule; /* BRIDGE_NO_RULE unless reason is BRIDGE_OWNED */
	enum bridge_reason reason;
	bool refused; /* nobody, though readings name somebody: they may be wrong, and so may those
			 of another segment */
	/* By the kernel's account, which does not decide, it was this process's turn to use the
	 * connection; BRIDGE_TURN_TORN: one of several's; NONE: not known. */
	uint32_t turn;
	bool by_tuple;		   /* rests on a socket of the very five-tuple, owned or not */
	bool passed;		   /* an accepted connection that its holder did not accept itself:
				      packets before the sighting are not the holder's */
	bool lapsed;		   /* BRIDGE_GAP only because a socket was last seen before t and is
				      gone in the next reading: socket, process, image and frame are its */
	uint32_t socket;	   /* NONE: none */
	uint32_t process, image;   /* NONE: none */
	uint32_t shared_by;	   /* processes that hold it (or could have taken it) */
	uint32_t frame;		   /* the sighting it rests on; NONE */
	uint32_t use;		   /* the use that it rests on; NONE: on readings */
	int64_t from_ns, until_ns; /* the same verdict for packets in [from, until) */
	/* For distances: packets before first_ns count ahead, after last_ns behind. */
	int64_t first_ns, last_ns;
	const struct bridge_candidate
		*candidates; /* of BRIDGE_AMBIGUOUS; until the next judgement */
	size_t candidate_count;
};

/* The chains of the timeline that a judgement looks through. */
enum bridge_chain { BRIDGE_CHAIN_TUPLE, BRIDGE_CHAIN_PORT, BRIDGE_CHAIN_HOLDERS, BRIDGE_CHAINS };

struct bridge_near {
	uint32_t *places; /* in order of first sighting */
	size_t count, capacity;
	bool cut; /* there are more */
};

struct bridge_observer; /* bridge_why.h */

struct bridge {
	const struct timeline *timeline;
	const struct serving *serving;
	const struct bridge_observer *observer; /* borrowed; NULL: nobody asks why */
	bool addresses_known; /* the snapshots say which addresses are this host's */
	/* private */
	uint32_t *told; /* lifetimes told of, that can be this host's, by tuple and time */
	struct bridge_candidate *pool;
	size_t pool_count, pool_capacity;
	uint32_t *stamps;  /* by process: the pool that it was last put into */
	uint32_t stamp;	   /* of the pool in hand */
	uint32_t *sockets; /* scratch */
	size_t socket_count, socket_capacity;
	struct bridge_crowd *crowds; /* of long chains, as they are asked for */
	size_t crowd_count, crowd_capacity;
	struct hashindex crowd_index;
	struct bridge_near near[BRIDGE_CHAINS]; /* scratch */
	bool crowded;				/* something was cut in this judgement */
	int64_t full_from_ns, full_until_ns; /* between two full readings: the last one looked up */
	bool failed; /* out of memory: the verdicts since are not to be used */
};

/* Both are borrowed. serving: of that timeline. 0, or -1 without memory. */
int bridge_init(struct bridge *bridge, const struct timeline *timeline,
		const struct serving *serving);
void bridge_release(struct bridge *bridge);

enum bridge_locality {
	BRIDGE_LOCAL,		/* at least one end is */
	BRIDGE_PLACE_FORWARDED, /* the addresses are known, and neither is ours */
	BRIDGE_PLACE_UNKNOWN,	/* no snapshot says which addresses are ours */
	BRIDGE_PLACE_GROUP,	/* to a group, from elsewhere */
};

/* Which ends of a packet are local: local[0] the source, local[1] the
 * destination. group: the destination is multicast or broadcast. */
enum bridge_locality bridge_locality(struct bridge *bridge, const struct packet *packet,
				     bool local[2], bool *group);

/* Judges. *verdict is filled whole. */
void bridge_judge(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		  struct bridge_verdict *verdict);

/* Whether what comes at t in answer to an echo that process sent at since goes to it: the ident
 * is its socket's, which nobody else has got since. */
bool bridge_awaits_echo(const struct bridge *bridge, uint32_t process, int64_t since_ns,
			int64_t t_ns);

/* How far a packet at t is from the sighting that its verdict rests on, ns >= 0. */
int64_t bridge_distance(struct bridge *bridge, const struct bridge_verdict *verdict, int64_t t_ns);

#endif
