/*
 * explain_rows.h - what explain asks of a database. A column whose name begins
 * with "_" only leads on: see chain.h. What a later segment may change (last
 * sightings, states, ends, a process's namespace and control group) is not asked for, so that the
 * segments of an answer are enough to check it.
 */
#ifndef ANALYZE_EXPLAIN_ROWS_H
#define ANALYZE_EXPLAIN_ROWS_H

extern const char explain_segment_sql[];	/* ?1 name: the segments of a capture */
extern const char explain_recordings_sql[];	/* ?1 recording: it, and those of its boot */
extern const char explain_segments_sql[];	/* ?1 flow, ?2 segment: those an answer rests on */
extern const char explain_flow_sql[];		/* ?1 flow */
extern const char explain_flow_by_packet_sql[]; /* ?1 capture, ?2 number of the first packet */
/* ?1 recording, ?2 time, ?3 ?4 Community IDs, ?5 protocol, ?6 ?7 addresses, ?8 ?9 ports */
extern const char explain_flow_of_packet_sql[];
extern const char explain_packet_sql[];	     /* ?1 segment, ?2 number */
extern const char explain_packet_anew_sql[]; /* ?2 number, ?3 capture */
extern const char explain_connection_sql[];  /* ?1 flow: its connections, end by end */
extern const char explain_frame_sql[];	     /* ?1 snapshot */
extern const char explain_socket_sql[];	     /* ?1 socket */
extern const char explain_holder_sql[];	     /* ?1 socket, ?2 process: what that one has of it */
extern const char explain_process_sql[];     /* ?1 process: it, its parent, its parent's … */
extern const char explain_candidate_sql[];   /* ?1 connection */
/* ?1 segment or 0, ?2 reason or NULL, ?3 capture where ?1 is 0: packets in no flow */
extern const char explain_other_sql[];

#endif
