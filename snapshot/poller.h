/*
 * poller.h - reads the whole state of sockets and processes, and says what
 * changed since the last reading, as frames.
 *
 * Knows procnet and procfs; never writes a file. One thread uses it.
 */
#ifndef SNAPSHOT_POLLER_H
#define SNAPSHOT_POLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"

struct poller;

struct poller_config {
	int proc_fd; /* the root of a /proc (tests give a tree of files); borrowed */
};

int poller_new(const struct poller_config *config, struct poller **out, struct error *error);

/* Reads everything: /proc/net tables once in each network namespace, /proc/PID
 * facts, descriptors; network interfaces and addresses by namespace. Fills *frame
 * (initialised by the caller with kind KEY or POLL): KEY holds everything,
 * POLL the differences to the reading before. Sets the frame's four times; the
 * sequence is set by the caller before, and remembered for poller_restate.
 * What could not be read becomes absent records, not errors; an error means
 * that there is no usable reading at all, and the state before stays. */
int poller_read(struct poller *poller, struct snapframe *frame, struct error *error);

/* The state as last read, as a key frame with that reading's sequence and times. */
void poller_restate(struct poller *poller, struct snapframe *frame);

/* The state as last read, until the next reading. */
struct pollstate;
const struct pollstate *poller_state(const struct poller *poller);

/* CPU time that the last reading took, for the budget rule. */
int64_t poller_cost_ns(const struct poller *poller);
/* Numbers of the last reading, for statistics. */
void poller_counts(const struct poller *poller, uint64_t *sockets, uint64_t *processes,
		   uint64_t *holders);
void poller_free(struct poller *poller);

#endif
