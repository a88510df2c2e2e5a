/*
 * serving.h - who serves on the TCP ports of a recording: who listens there, who was seen with
 * what was accepted, who hands it on.
 *
 * Of a packet counts what is seen up to the end of the first complete reading that begins after
 * it. What only later readings show changes nothing, so each fact here is a time, ns: from then
 * on it counts; SERVING_NEVER: it was not seen. As nothing later changes what counts, what one
 * segment showed of a process holds in the next ones that see that process, and a book keeps it
 * for them: where a rotation falls changes little.
 */
#ifndef ANALYZE_SERVING_H
#define ANALYZE_SERVING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/hashindex.h"
#include "analyze/timeline.h"

#define SERVING_NEVER INT64_MAX

/* Of a process, and a port. */
struct serving_facts {
	int64_t listens_ns; /* it held a socket that listens there */
	int64_t serves_ns;  /* it was seen with a connection that the port accepted */
	int64_t again_ns;   /* with another one, or with that for long */
	/* In the book: while it listened another one was; and one that did not listen, or is a
	 * child of its. What they have of themselves there is not asked for when they are gone. */
	int64_t others_ns, hands_ns;
	uint32_t inode; /* the connection of serves_ns */
};

/* ------------------------------------------------------------------ the book -- */

/* What the segments so far showed of those who listened in any of them. */
struct serving_row {
	uint32_t recording; /* which one, as serving_recording says */
	uint32_t pid;
	uint64_t start_ticks;
	uint16_t port;
	/* private: the next one of the same process, by place; SERVING_NONE. Of its first one:
	 * how many it has. */
	uint32_t next, count;
	struct serving_facts facts;
};

#define SERVING_NONE UINT32_MAX

/* All zero is an empty one. */
struct serving_book {
	struct serving_row *rows;
	size_t count, capacity;
	struct serving_recording {
		char *uuid;	      /* heap; 32 hex digits */
		uint64_t last_number; /* of its segments that were noted */
	} * recordings;
	size_t recording_count, recording_capacity;
	/* It has what later segments showed too, which times alone tell apart from what earlier
	 * ones did. Else it has the latter only, whatever the clock was set to; but of a segment
	 * that comes late. */
	bool has_later;
	struct hashindex by_process, by_port; /* private */
};

void serving_book_release(struct serving_book *book);
/* The number of a recording, a new one if need be; SERVING_NONE: out of memory. */
uint32_t serving_recording(struct serving_book *book, const char *uuid);
/* Segments of a recording up to this number are there. */
void serving_book_reached(struct serving_book *book, uint32_t recording, uint64_t number);
/* A row of another load, or of a database; of one that is there the earlier times count. 0, or -1
 * without memory. */
int serving_book_add(struct serving_book *book, const struct serving_row *row);

/* ---------------------------------------------------------------- of a segment -- */

struct serving_user {
	uint32_t process; /* of the timeline */
	uint16_t port;
	struct serving_facts facts;
};

struct serving_port {
	uint16_t port;
	int64_t listens_ns;	      /* somebody listens, whoever it is */
	uint32_t server;	      /* who was first seen with a connection; TIMELINE_NONE */
	int64_t serves_ns, others_ns; /* that one, and another one */
	int64_t hands_ns;	      /* one that did not listen then */
};

/* All zero is one of a segment of which nothing is known. Read by any number of threads. */
struct serving {
	struct serving_user *users;
	size_t user_count, user_capacity;
	struct serving_port *ports;
	size_t port_count, port_capacity;
	struct serving_father { /* whose children were seen with what a port accepted */
		uint32_t pid;
		uint16_t port;
		int64_t since_ns;
	} * fathers;
	size_t father_count, father_capacity;
	struct hashindex by_user, by_father; /* private */
	uint32_t *port_places;	  /* by port, from 1; 0: nobody was seen to listen there */
	struct serving_row *told; /* rows of the book that it made or changed */
	size_t told_count, told_capacity;
};

/* What a segment shows, and what the book has of its processes. With a book it is noted there too,
 * and stands in told, unless later segments are there (number; 0: it has none), which were judged
 * without it. NULL, or SERVING_NONE for the recording: the segment stands alone. 0, or -1 without
 * memory. */
int serving_note(struct serving *serving, const struct timeline *timeline,
		 struct serving_book *book, uint32_t recording, uint64_t number);
void serving_release(struct serving *serving);

/* NULL: nothing is known of it. */
const struct serving_port *serving_find_port(const struct serving *serving, uint16_t port);
const struct serving_user *serving_find_user(const struct serving *serving, uint16_t port,
					     uint32_t process);
/* From when on a child of pid was seen with what the port accepted. */
int64_t serving_fathers(const struct serving *serving, uint16_t port, uint32_t pid);

#endif
