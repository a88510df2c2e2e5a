/*
 * fleet.h - the databases of many hosts as one: what pcapwho merge does (merge.h is the
 * loader's joining of segments).
 *
 * What a database has is divided into units: the recordings of one boot that were analyzed
 * together, or a capture of its own. The result is what the databases and the one that
 * stands there already have, each segment once: of units of which one has all segments of
 * the other, the larger one. So it is the same for any order of databases, for the same
 * ones again, and for a database that has more of a recording than when it was merged
 * before.
 */
#ifndef ANALYZE_FLEET_H
#define ANALYZE_FLEET_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

struct fleet_progress {
	size_t databases, numbered; /* numbered: counted and checked */
	size_t wanted, taken;	    /* of those that something is taken from */
	int64_t rows;
	int64_t elapsed_ns;
};

struct fleet_options {
	/* When there is something to undo from here on; NULL: not wanted. */
	void (*begin)(void *context);
	const volatile sig_atomic_t *stop; /* set: give up; NULL: never */
	/* A remark, of what is done all the same; NULL: not wanted. */
	void (*report)(const struct error *error, void *context);
	void (*progress)(const struct fleet_progress *progress, void *context);
	void *context;
};

struct fleet_result {
	size_t databases;  /* other than the one that stood there */
	size_t recordings; /* in the result */
	size_t segments;
	int64_t rows;	  /* written */
	bool nothing_new; /* what stood there has it all, and was not touched */
};

/* Makes or replaces the database to. On failure it is as it was. ERROR_USAGE: to cannot
 * be that, or they were made in ways that cannot be joined; ERROR_DAMAGED: one of them is no
 * database of ours, or damaged, or two contradict each other; ERROR_NO_INPUT: there is no
 * such; ERROR_INTERRUPTED; ERROR_SYSTEM: among others, one was changed meanwhile. The message
 * says which. */
int fleet_merge(const char *to, char *const *from, size_t count,
		const struct fleet_options *options, struct fleet_result *result,
		struct error *error);

#endif
