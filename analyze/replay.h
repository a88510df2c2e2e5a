/*
 * replay.h - one capture with its snapshots through decode, flow, bridge and
 * ledger, in parts of bounded size. Runs in a worker thread; touches no database.
 */
#ifndef ANALYZE_REPLAY_H
#define ANALYZE_REPLAY_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/bridge.h"
#include "analyze/decode.h"
#include "analyze/flow.h"
#include "analyze/ledger.h"
#include "analyze/members.h"
#include "analyze/pcapin.h"
#include "analyze/repeats.h"
#include "analyze/timeline.h"
#include "analyze/trace.h"
#include "analyze/tunnel.h"
#include "snapshot/format/error.h"

/* Packets in one part: what bounds the memory of a capture of any size, and what several workers
 * share it out by. Half of it costs a tenth more, since flows are joined more often. */
#define REPLAY_PART_PACKETS (UINT64_C(1) << 19)

/* Flows in one piece of a part: a part in which more begin is handed on in pieces, so that its
 * memory does not grow with how many conversations there are at a time. Most have fewer. */
#define REPLAY_PIECE_FLOWS (UINT32_C(1) << 13)

/* What replay_next says if more pieces of the part follow. */
#define REPLAY_GOES_ON 2

struct replay_options {
	uint64_t part_packets; /* 0: REPLAY_PART_PACKETS */
	uint32_t piece_flows;  /* 0: REPLAY_PIECE_FLOWS */
	int64_t bucket_ns;
	bool keep_packets;
	struct flow_limits limits;
	const volatile sig_atomic_t *stop; /* set: give up (ERROR_INTERRUPTED); NULL: never */
};

/* What the packets before a part mean for those in it, but for the flows, which are joined
 * afterwards (merge.h). */
struct replay_border {
	struct decode_fragments *fragments; /* NULL: none */
	struct repeats_recent repeats;
	int64_t last_ns; /* of the packet before; INT64_MIN: not known, or none */
};
void replay_border_release(struct replay_border *border);
bool replay_border_equal(const struct replay_border *a, const struct replay_border *b);

/* Repeated sightings of packets of a flow that no packet in the part before them is of. */
struct replay_stray {
	struct flow_key key;
	uint64_t packets, bytes;
};

/* What reading with an index in hand shows of the index. Whoever begins at a place of it rests on
 * that place; each one that he comes by he holds against where he is. */
struct replay_held {
	size_t rests_on; /* so many places, from the first; 0: it began with the file */
	size_t until;	 /* if these are true, so many are */
	bool lied;	 /* the next one is not: there it is */
	struct pcapin_place found;
};

/* What a stretch of packets came to: a part, or a piece of one. */
struct replay_part {
	struct flow_table flows;
	struct ledger ledger;
	struct tunnel_table tunnels;	       /* what the flows carry for others */
	uint64_t packets, bytes, flow_packets; /* bytes: original lengths */
	int64_t first_ns, last_ns;	       /* of any packet; INT64_MAX, INT64_MIN: none */
	struct replay_stray *strays;
	size_t stray_count, stray_capacity;
	struct hashindex stray_index;
	struct pcapin_place place, next; /* where it begins, and the part behind it */
	struct replay_border before, after;
	struct replay_held held; /* up to its end */
	bool goes_on;		 /* it is a piece, and not the last one of its part */
};

struct replay {
	const struct timeline *timeline;
	struct replay_options options;
	struct bridge bridge;
	struct trace *trace; /* borrowed, set after replay_init; NULL: nobody asks why */
	struct decode_fragments *fragments;
	struct repeats *repeats;
	struct pcapin *in;
	const struct members *members; /* borrowed, set after replay_init; NULL: no index */
	struct replay_held held;
	uint64_t parts;	 /* begun so far, or before the place that it was sent to */
	uint64_t taken;	 /* packets of the part in hand, in the pieces of it that were filled */
	int64_t last_ns; /* of the packet read last */
};

void replay_part_init(struct replay_part *part, const struct replay_options *options);
void replay_part_release(struct replay_part *part);

/* in is borrowed and may be NULL (snapshots only); timeline is borrowed and may be empty, as may
 * serving, which is of that timeline. */
int replay_init(struct replay *replay, const struct timeline *timeline,
		const struct serving *serving, struct pcapin *in,
		const struct replay_options *options, struct error *error);
/* Goes on with the part at place, the first of the capture having number 0, as behind border.
 * With members it reads up to there, from where it is: replay_seek_member. 0 or negative. */
int replay_resume(struct replay *replay, uint64_t number, const struct pcapin_place *place,
		  const struct replay_border *border, struct error *error);
/* The same without having been told of the border: reads the packets from start on to see what
 * repeats. fragments: as those before place leave it. Whether it came to what is true, who knows
 * the end of the part before can tell (replay_border_equal). */
int replay_approach(struct replay *replay, uint64_t number, const struct pcapin_place *place,
		    const struct pcapin_place *start, const struct decode_fragments *fragments,
		    struct error *error);
/* The same by an index: begins at one of the places of members, early enough before the first
 * packet of the part, and reads up to that. */
int replay_approach_member(struct replay *replay, uint64_t number, size_t member,
			   struct error *error);
/* To a place of members. */
int replay_seek_member(struct replay *replay, size_t member, struct error *error);
/* Fills part (cleared first) with up to part_packets packets, or the next piece of them. 1: more
 * parts may follow; REPLAY_GOES_ON: more of this one may; 0: the capture ended, part holds the
 * last ones (maybe none); negative: the capture is damaged (part holds what precedes the damage)
 * or memory ran out. Where a piece ends depends on where the part begins alone. */
int replay_next(struct replay *replay, struct replay_part *part, struct error *error);
void replay_release(struct replay *replay);

#endif
