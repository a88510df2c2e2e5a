/*
 * load.h - evidence into a database: segments in parallel, merged in order.
 */
#ifndef ANALYZE_LOAD_H
#define ANALYZE_LOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/flow.h"
#include "analyze/trace.h"
#include "snapshot/format/error.h"

struct serving_book;

struct load_progress {
	size_t segments, segments_done;
	uint64_t packets;	    /* so far */
	uint64_t bytes, bytes_done; /* of the capture files; read so far */
	int64_t elapsed_ns;
};

struct load_options {
	const char *database;
	int64_t bucket_ns; /* 0: as the database has it, else 1 s */
	bool with_packets;
	bool verify;	       /* hash captures that a custody log vouches for too */
	unsigned workers;      /* >= 1 */
	uint64_t part_packets; /* of one capture for a worker at a time; 0: as replay.h has it */
	uint32_t piece_flows;  /* of such a part for the merger at a time; 0: as replay.h has it */
	struct flow_limits limits;
	/* Who was known to serve, besides what the database says; filled further. NULL: nobody. */
	struct serving_book *book;
	/* Called when there is something to undo from here on: until then a signal may just
	 * end the process. NULL: not wanted. */
	void (*begin)(void *context);
	const volatile sig_atomic_t *stop; /* set: give up at once; NULL: never */
	/* Damage and skipped input, one call each, in evidence order; NULL: not wanted. */
	void (*report)(const struct error *error, void *context);
	void (*progress)(const struct load_progress *progress, void *context); /* or NULL */
	/* What to ask of the packets of a capture, by its name in its directory; returns NULL
	 * for nothing. Called in a worker, one at a time. NULL: not wanted. */
	struct trace *(*trace)(const char *pcap, void *context);
	void *context;
};

struct load_result {
	uint64_t segments, skipped; /* loaded now; there already with all that they have */
	uint64_t damaged;	    /* segments or files with something missing */
	uint64_t packets, flow_packets, flows;
	/* Parts of captures that a worker began at a place that it did not come to by reading, and
	 * that were right; parts that had to be read again. */
	uint64_t parts_apart, parts_again;
	bool nothing_new;
};

/* Loads what paths name: evidence directories, files of segments (the pair is
 * found beside them), bare captures. Order of paths does not matter. A new database
 * is whole or absent; in an existing one each segment is. On failure (negative)
 * error says why. */
int load_run(char *const *paths, size_t count, const struct load_options *options,
	     struct load_result *result, struct error *error);

#endif
