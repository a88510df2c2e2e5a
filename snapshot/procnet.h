/*
 * procnet.h - reads the socket tables of one network namespace.
 *
 * A namespace is read through the net directory of a process in it, or, where
 * it has no process, in a thread that enters it. The text is procnet_text's.
 * Never walks processes.
 */
#ifndef SNAPSHOT_PROCNET_H
#define SNAPSHOT_PROCNET_H

#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/procnet_text.h"
#include "snapshot/procfs.h"

/* What was missing, by enum snap_table. */
struct procnet_gaps {
	int reason[SNAP_TABLE_END];	   /* errno; 0: the table was read */
	uint64_t bad_rows[SNAP_TABLE_END]; /* skipped, not understood */
};

/* Appends the sockets of all tables below net_fd (a /proc/PID/net) to *rows,
 * sorted by identity and without repetitions among themselves. Tables that
 * cannot be read are noted in *gaps, which is filled anew. scratch is room to work in. 0 or
 * ERROR_MEMORY. */
int procnet_read(int net_fd, uint64_t netns, struct procfs_text *scratch, struct procnet_rows *rows,
		 struct procnet_gaps *gaps, struct error *error);

/* The same where net_fd is the kernel's own and the calling thread is in that
 * namespace: the TCP tables by tcpdiag_read, where the kernel has that. */
int procnet_read_inside(int net_fd, uint64_t netns, struct procfs_text *scratch,
			struct procnet_rows *rows, struct procnet_gaps *gaps, struct error *error);

/* Calls run(context) in a thread of its own that has entered the network
 * namespace that netns_fd refers to, and waits for it; the caller's namespace
 * stays as it is. *cost_ns grows by the CPU time of that thread. 0 or an errno
 * (EPERM: CAP_SYS_ADMIN is missing), then run was not called. */
int procnet_enter(int netns_fd, void (*run)(void *context), void *context, int64_t *cost_ns);

#endif
