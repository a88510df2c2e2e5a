/*
 * explain.h - one answer of a database as its chain: packet, flow, rule, frame,
 * socket, descriptor or use, process and parents.
 *
 * From the database alone, or with the evidence: then the segments that the
 * answer rests on are analyzed anew by the same code that made the database, while
 * somebody asks why (trace.h); each row is compared with what came out, and the
 * records are read again (witness.h). Knows no rule itself.
 */
#ifndef ANALYZE_EXPLAIN_H
#define ANALYZE_EXPLAIN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/chain.h"
#include "analyze/flow.h"
#include "analyze/trace.h"
#include "analyze/witness.h"
#include "snapshot/format/custody.h"
#include "snapshot/format/error.h"

struct sqlite3;

struct explain_options {
	const char *database;
	const char *evidence; /* directory; NULL: the database alone */
	/* One of the three. */
	int64_t flow_id, connection_id; /* 0: not this */
	const char *packet;		/* FILE:NUMBER; NULL: not this */
	struct flow_limits limits;	/* as given to analyze */
	unsigned workers;
	/* From begin to end there is something to undo, and a signal is to set *stop; before and
	 * after, however long it takes, it may just end the process. NULL: not wanted. */
	void (*begin)(void *context), (*end)(void *context);
	const volatile sig_atomic_t *stop;
	void (*report)(const struct error *error, void *context); /* damage on the way */
	void *context;
};

enum explain_state {
	EXPLAIN_NOT_READ, /* nobody looked into the evidence */
	EXPLAIN_SAME,
	EXPLAIN_DIFFERS,
};

/* One link: a row, and the same row as the evidence gives it. */
struct explain_link {
	const char *name;
	struct chain_row database, evidence; /* no fields: there is none */
	enum explain_state state;
	char *remark; /* heap: what the fields do not say; NULL */
	size_t line;  /* of a process: its record among the connection's lines, from 1; 0: none */
};

struct explain_links {
	struct explain_link *items;
	size_t count, capacity;
};

/* A record read again, and the file that it stands in. */
struct explain_line {
	const char *file; /* borrowed */
	struct witness witness;
	const struct chain_row *row; /* that it stands for; borrowed; NULL: none */
	enum explain_state state;
	char *remark;
};

struct explain_lines {
	struct explain_line *items;
	size_t count, capacity;
};

/* An owner of one end, or the reason why there is none. */
struct explain_connection {
	struct explain_link row;
	struct explain_links frame, socket, holders, process, parents, candidates;
	/* With the evidence: the packet that was judged, the end, and its lines. */
	const struct trace_judgement *judged; /* borrowed from the report; NULL: none */
	int side;
	const char *pcap, *snap; /* borrowed */
	struct explain_lines lines;
};

/* A packet as its file has it. */
struct explain_packet {
	uint64_t number, offset_bytes;
	int64_t time_ns;
	uint32_t captured_bytes, original_bytes;
	int link_type;
	uint8_t *data;	     /* heap */
	const char *outcome; /* why it is in no flow; NULL: it is in one */
	struct flow_key key;
	uint8_t sender;
	/* Another number than its own: it is a second sighting, on another interface, of that
	 * packet, which is counted. */
	uint64_t counted;
	int64_t counted_ns;
};

static inline bool explain_is_repeat(const struct explain_packet *packet)
{
	return packet->counted != packet->number;
}

struct explain_segment {
	int64_t id; /* in the database */
	struct chain_row row;
	char *pcap, *snap; /* names in the directory; NULL: none */
	bool of_flow;	   /* its packets are asked for */
	struct trace trace;
};

/* A file of a segment that is there. */
struct explain_name {
	const char *name; /* the segment's */
	struct explain_segment *segment;
	char vouched[CUSTODY_HEX_SIZE]; /* of the first of this name: what custody.log has; "" */
};

struct explain_report {
	const struct explain_options *options;
	int64_t flow_id, recording_id, segment_id; /* segment: of the packet */
	uint64_t number;			   /* of the packet asked for; 0: none */
	struct explain_link packet, flow;
	struct explain_packet bytes; /* with the evidence */
	struct explain_links other;  /* the packet is in no flow: what its segment has of those */
	struct explain_connection *connections;
	size_t connection_count, connection_capacity;
	struct explain_links files;
	size_t same, differs, unread;
	size_t row_count;    /* of all links that are rows: at most CHAIN_MAX_ROWS */
	const char *missing; /* a file in which somebody was first seen, and which is not there */
	/* private */
	struct explain_segment *segments; /* by id */
	size_t segment_count;
	struct explain_name *names; /* sorted */
	size_t name_count;
	struct explain_judged *judged; /* explain_judged.c */
	size_t judged_count;
	struct sqlite3 *database, *anew; /* anew: what the evidence gave; NULL: not read */
	struct error anew_error;
	int directory;
};

/* Fills *report, which the caller releases in any case. 0 also where things
 * differ: report->differs counts them. */
int explain_run(const struct explain_options *options, struct explain_report *report,
		struct error *error);
void explain_release(struct explain_report *report);

struct explain_output {
	bool terminal; /* lines are folded at width */
	unsigned width;
};
void explain_print_text(const struct explain_report *report, const struct explain_output *output);
void explain_print_json(const struct explain_report *report);

#endif
