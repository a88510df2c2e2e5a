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
#include "analyze/pcapin.h"
#include "analyze/repeats.h"
#include "analyze/timeline.h"
#include "analyze/trace.h"
#include "analyze/tunnel.h"
#include "snapshot/format/error.h"

/* Packets in one part: what bounds the memory of a capture of any size. */
#define REPLAY_PART_PACKETS (UINT64_C(1) << 21)

struct replay_options {
	int64_t bucket_ns;
	bool keep_packets;
	struct flow_limits limits;
	const volatile sig_atomic_t *stop; /* set: give up (ERROR_INTERRUPTED); NULL: never */
};

/* What a stretch of packets came to. */
struct replay_part {
	struct flow_table flows;
	struct ledger ledger;
	struct tunnel_table tunnels;	       /* what the flows carry for others */
	uint64_t packets, bytes, flow_packets; /* bytes: original lengths */
	int64_t first_ns, last_ns;	       /* of any packet; INT64_MAX, INT64_MIN: none */
};

struct replay {
	const struct timeline *timeline;
	struct replay_options options;
	struct bridge bridge;
	struct trace *trace; /* borrowed, set after replay_init; NULL: nobody asks why */
	struct decode_fragments *fragments;
	struct repeats *repeats;
	struct pcapin *in;
	uint64_t parts; /* begun so far */
};

void replay_part_init(struct replay_part *part, const struct replay_options *options);
void replay_part_release(struct replay_part *part);

/* in is borrowed and may be NULL (snapshots only); timeline is borrowed and may be empty. */
int replay_init(struct replay *replay, const struct timeline *timeline, struct pcapin *in,
		const struct replay_options *options, struct error *error);
/* Fills part (cleared first) with up to REPLAY_PART_PACKETS packets. 1: more
 * may follow; 0: the capture ended, part holds the last ones (maybe none); negative: the
 * capture is damaged (part holds what precedes the damage) or memory ran out. */
int replay_next(struct replay *replay, struct replay_part *part, struct error *error);
void replay_release(struct replay *replay);

#endif
