/*
 * poller_internal.h - what the files of the poller share: poller.c puts a reading together,
 * poller_netns.c reads the tables of each network namespace, poller_holders.c finds who holds the
 * sockets in them.
 */
#ifndef SNAPSHOT_POLLER_INTERNAL_H
#define SNAPSHOT_POLLER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/mounts.h"
#include "snapshot/poller.h"
#include "snapshot/pollstate.h"
#include "snapshot/procnet.h"

/* Of sockets. */
struct poller_inodes {
	uint32_t *items; /* sorted, each once */
	size_t count, capacity;
};

/* Which rows of the reading are of one namespace. */
struct poller_segment {
	uint64_t netns;
	size_t first, count;
};

struct poller {
	int proc_fd;
	bool is_procfs;	    /* a kernel's, not a tree of files */
	bool may_not_enter; /* other namespaces: CAP_SYS_ADMIN is missing */
	uint64_t device;    /* st_dev of proc_fd */
	int mountinfo_fd;   /* kept open, as poll(2) tells on it when mounts change; -1: none */
	struct mounts mounts;
	struct pollstate *state, *next; /* as last read; being read */
	bool has_state;
	int64_t cost_ns;
	/* Room for one reading: */
	struct procfs_text scratch;
	struct procnet_rows rows; /* in the order of reading */
	struct poller_segment *segments;
	size_t segment_count, segment_capacity;
	struct poller_inodes inodes, ownerless, vain, still_vain;
	unsigned vain_age; /* polls since vain began to be gathered */
};

/* ERROR_MEMORY, and says so. */
int poller_no_memory(struct error *error);

/* poller_netns.c: rows, interfaces and addresses into poller->rows and poller->next. 0 or negative.
 * The namespace of the capture, without which there is no reading. */
int poller_read_own(struct poller *poller, struct error *error);
/* Those of the reading before, ahead of the walk, so that most tables are read close to each
 * other. What fails here is tried again through another process. */
int poller_read_known_namespaces(struct poller *poller, struct error *error);
/* The namespaces of all processes that are not read yet: through the process
 * with the lowest pid, and when that fails through the next. */
int poller_read_walked_namespaces(struct poller *poller, struct error *error);
/* Those without a process: bound to a file, or held open. */
int poller_read_other_namespaces(struct poller *poller, struct error *error);

/* poller_holders.c: leaves in the walk of poller->next the holders of the sockets in poller->rows,
 * sorted, with those among threads that have a descriptor table of their own. 0 or negative. */
int poller_read_holders(struct poller *poller, struct error *error);

#endif
