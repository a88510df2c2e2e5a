/*
 * trace.h - one packet's judgement, written down while it is made.
 *
 * replay.h asks for it: it judges a wanted packet once more, with the trace as
 * the bridge's observer (bridge_why.h). What is kept are facts that outlive the
 * timeline: frames by their sequence numbers, processes by pid and start, and
 * the records to read again (witness.h). Decides nothing.
 */
#ifndef ANALYZE_TRACE_H
#define ANALYZE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/bridge_why.h"
#include "analyze/flow.h"
#include "analyze/hashindex.h"
#include "analyze/ledger.h"
#include "analyze/witness.h"

struct trace_frame {
	uint64_t sequence, line; /* sequence 0: none */
	enum snap_kind kind;
	char cause[32];
	int64_t begin_ns, end_ns;
};

struct trace_note {
	enum bridge_why why;
	uint32_t inode; /* of the socket it speaks of; 0: none, or none known */
	struct trace_frame first, last;
};

struct trace_process {
	uint32_t pid; /* 0: none */
	uint64_t start_ticks;
};

struct trace_candidate {
	struct trace_process process;
	uint32_t inode;
};

/* A socket whose records are to be read, its use, its holder, the holder's program and its
 * exec. */
#define TRACE_WITNESSES 5

/* Rows that one end is told of: a five-tuple has a new socket some times a minute at most, and a
 * reader is not helped by more. */
#define TRACE_MAX_NOTES 256

/* One local end of the packet. */
struct trace_end {
	bool local, sent;
	struct endpoint address, peer;
	struct trace_note *notes;
	size_t note_count, note_capacity;
	size_t notes_left_out; /* behind TRACE_MAX_NOTES */
	/* as judged */
	enum bridge_rule rule;
	enum bridge_reason reason;
	struct trace_process process;
	uint32_t inode; /* 0: no socket, or none that a reading had */
	uint32_t shared_by;
	struct trace_frame frame;
	int64_t first_ns, last_ns; /* as in struct bridge_verdict */
	int64_t distance_ns;
	enum snap_act act; /* of the use that it rests on; 0: on readings */
	int64_t at_ns;
	struct trace_candidate *candidates;
	size_t candidate_count;
	struct witness witness[TRACE_WITNESSES];
	size_t witness_count;
	/* after the whole of the flow was seen */
	enum bridge_reason final_reason;
	enum bridge_rule final_rule;
	struct trace_process final_process;
	const char *taken_back; /* why the owner was taken away; NULL: it was not */
	uint32_t span;
};

struct trace_judgement {
	uint64_t number, offset_bytes;
	int64_t time_ns;
	uint32_t bytes;
	struct flow_key key;
	int64_t flow_first_ns;
	uint8_t sender;	    /* side of the key that sent it */
	uint8_t originator; /* side, as the whole part shows it */
	bool settled;
	struct trace_end end[2]; /* by side */
};

struct trace {
	/* wanted */
	uint64_t number; /* this packet; 0: those of the flow, one for each rule and owner */
	uint64_t repeat; /* a second sighting of it; 0: none is asked for */
	struct flow_key key;
	int64_t from_ns, until_ns;
	/* found */
	struct trace_judgement *items;
	size_t count, capacity;
	bool repeated; /* that sighting was counted as one */
	/* private */
	struct hashindex known; /* local ends not yet settled, by their span */
	struct bridge_observer observer;
	const struct timeline *timeline;
	struct trace_end *asking;
	bool failed;
};

void trace_release(struct trace *trace);

/* For replay.c. Those that return int: 0, or -1 without memory. */
bool trace_wants(const struct trace *trace, const struct ledger *ledger, const struct flow *flow,
		 const struct packet *packet);
int trace_begin(struct trace *trace, const struct ledger *ledger, const struct flow *flow,
		const struct packet *packet, uint8_t sender);
const struct bridge_observer *trace_observer(struct trace *trace, const struct timeline *timeline,
					     uint8_t side);
int trace_verdict(struct trace *trace, const struct timeline *timeline, uint8_t side,
		  const struct bridge_verdict *v, int64_t distance_ns);
/* A packet that is counted as a repeat and not judged. */
void trace_repeated(struct trace *trace, uint64_t number);
void trace_taken_back(struct trace *trace, uint32_t span, const char *why);
/* At the end of a part: what its stretches came to. */
void trace_settle(struct trace *trace, const struct timeline *timeline,
		  const struct ledger *ledger);

#endif
