/*
 * explain_internal.h - what the files of explain share: explain_target.c (which
 * flow), explain.c (which rows, and whether they are the same), explain_judged.c (which
 * judgement), explain_packet.c (a packet of a capture), explain_evidence.c (files, the
 * analysis anew), explain_lines.c (records read again), explain_text.c and explain_json.c
 * (printing).
 */
#ifndef ANALYZE_EXPLAIN_INTERNAL_H
#define ANALYZE_EXPLAIN_INTERNAL_H

#include "analyze/explain.h"

/* explain_evidence.c. Those that return int: 0 or a negative code. */

/* Finds the files of report->segments in the directory and compares their SHA-256 with the
 * database's and with custody.log's: report->files. */
int explain_find_files(struct explain_report *report, struct error *error);
/* Analyzes the segments anew into report->anew. What only the evidence is to blame for
 * is no failure: report->anew_error says it, and report->anew stays NULL. */
int explain_analyze_anew(struct explain_report *report, struct error *error);

/* explain_lines.c */

/* The lines that a connection rests on, not yet read. */
int explain_want_lines(const struct explain_report *report, struct explain_connection *connection,
		       struct error *error);
/* Reads those of all connections, each file once, and judges them. */
int explain_read_lines(struct explain_report *report, struct error *error);

/* explain_packet.c */

/* Reads one packet of a capture in the evidence, and what flow it is of. */
int explain_read_packet(struct explain_report *report, const char *pcap, uint64_t number,
			struct explain_packet *out, struct error *error);
/* Which packet the one that was read is a second sighting of, into out->counted. */
int explain_find_first_sighting(struct explain_report *report, const char *pcap,
				struct explain_packet *out, struct error *error);

/* explain_target.c */

/* The flow that is asked for, into report->flow_id; it stays 0 where only the evidence
 * can tell. Of a packet the segment and the number too. */
int explain_find_target(struct explain_report *report, struct error *error);
/* The database's flow of the packet that was read into report->bytes. */
int explain_find_flow_of_bytes(struct explain_report *report, struct error *error);

/* explain_judged.c */

/* Puts what the traces have in order, for the searches below. */
int explain_sort_judgements(struct explain_report *report, struct error *error);
/* Finds the judgement that stands for a connection, one of so many, into it. How well it does;
 * 0: none. */
int explain_find_judgement(const struct explain_report *report, struct explain_connection *c,
			   size_t connections);
/* Of the owners of the ends, rows: judged[i] says whether it is who the judgement of the packet
 * names. */
int explain_mark_judged(const struct explain_report *report, const struct explain_links *rows,
			bool *judged, struct error *error);

/* explain.c */

/* The segment of that number; NULL: it is not among those that the answer rests on. */
struct explain_segment *explain_segment_of(const struct explain_report *report, int64_t id);
int explain_ask(struct explain_report *report, const char *sql, const struct chain_value *values,
		size_t count, struct chain_rows *out, struct error *error);
int explain_no_memory(struct error *error);
struct explain_link *explain_add_link(struct explain_links *links, const char *name);
void explain_remark(char **remark, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
