/*
 * procevent.h - the kernel's process events (fork, exec, exit, comm, ids).
 *
 * Source: drivers/connector/cn_proc.c, include/uapi/linux/cn_proc.h. Only in
 * the initial user and pid namespaces. Times are CLOCK_MONOTONIC. Fork and exit come for
 * each thread; those of threads that are not the leader are left out here, of all kinds.
 *
 * So an EXIT is that of the leader thread. It is the process's unless other
 * threads live on (the leader called pthread_exit, or one of them called exec:
 * then an EXEC follows, of the same pid); the event cannot tell, /proc/PID/task
 * can. The end of the last of such threads makes no event here.
 */
#ifndef SNAPSHOT_PROCEVENT_H
#define SNAPSHOT_PROCEVENT_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

enum procevent_kind {
	PROCEVENT_FORK = 1, /* pid: the child */
	PROCEVENT_EXEC,
	PROCEVENT_EXIT,
	PROCEVENT_COMM,
	PROCEVENT_UID,
};

struct procevent {
	enum procevent_kind kind;
	uint32_t pid;	   /* thread group leader */
	uint32_t parent;   /* FORK, and EXIT where the kernel tells (4.18): its leader; else 0 */
	int32_t exit_code; /* EXIT: wait status word */
	int64_t monotonic_ns;
};

struct procevent_source;

/* Subscribes. Needs CAP_NET_ADMIN before Linux 6.6. ERROR_SYSTEM where the kernel has none or
 * permission is missing (the message says which). buffer_bytes: receive
 * buffer wanted (0: 8 MiB). */
int procevent_open(size_t buffer_bytes, struct procevent_source **out, struct error *error);
int procevent_fd(const struct procevent_source *source);
/* 1, 0: none is waiting, ERROR_LIMIT: events were lost (ENOBUFS) and the
 * source goes on, negative: it is over. Never blocks. A loss is told when it is
 * noticed and once more when it has ended, before the next 0. */
int procevent_next(struct procevent_source *source, struct procevent *out, struct error *error);
void procevent_close(struct procevent_source *source); /* unsubscribes; NULL works */

/* The parser, for tests and fuzzing: one datagram's bytes. Calls each for every event in it, up to
 * the first damage. 0 or ERROR_DAMAGED. */
int procevent_parse(const void *bytes, size_t length,
		    void (*each)(const struct procevent *event, void *context), void *context);

#endif
