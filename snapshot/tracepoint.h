/*
 * tracepoint.h - the kernel's own account of who opens, uses and closes
 * sockets, and of processes that begin and end, as it happens, in order.
 *
 * perf_event_open(2) on tracepoints, for all processes: no eBPF, no module, and
 * nothing of the host's tracing is changed. The only file that knows perf and
 * tracefs. Never reads /proc (it holds /proc/self/ns/N open, unread), never decides
 * what an event means.
 *
 * Sources: include/uapi/linux/perf_event.h; perf_event_fork() and
 * perf_event_namespaces() in kernel/events/core.c and their callers; the format
 * files below events/{sock,tcp,fib,fib6,sched} of tracefs; include/trace/events/.
 */
#ifndef SNAPSHOT_TRACEPOINT_H
#define SNAPSHOT_TRACEPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/endpoint.h"
#include "snapshot/format/error.h"

enum tracepoint_kind {
	TRACEPOINT_STATE = 1, /* sock:inet_sock_set_state: a TCP or SCTP socket changes its state */
	TRACEPOINT_SEND,      /* sock:sock_send_length (Linux 6.3): TCP, UDP, ICMP */
	TRACEPOINT_RECEIVE,   /* sock:sock_recv_length: TCP, UDP; before 6.3
				 tcp:tcp_rcv_space_adjust */
	TRACEPOINT_ROUTE,     /* fib:fib_table_lookup, fib6:fib6_table_lookup: a route is looked up
				 for a datagram to send, or by its connect(). Neither TCP's nor
				 forwarded packets' */
	TRACEPOINT_DESTROY,   /* tcp:tcp_destroy_sock: no process has it any more */
	TRACEPOINT_FORK,      /* a process; threads are left out */
	TRACEPOINT_NETNS,     /* the task pid, tid is in the network namespace u.netns from here on;
				 see below */
	TRACEPOINT_EXEC,      /* sched:sched_process_exec */
	TRACEPOINT_EXIT,      /* a task, of any thread */
	TRACEPOINT_LOST,      /* the buffer was full: lost events, some time between the event
				 before it of the same processor and time_ns. The kernel says how
				 many with the first event that it has room for again; a buffer
				 that is found full and read empty is told at once, with lost 0 */
};

/* NETNS (PERF_RECORD_NAMESPACES, Linux 4.12) comes
 *
 *   - for every new task, threads too, in a new namespace or its parent's: after the
 *     FORK (which threads do not have), before anything that the task does;
 *   - at the end of each setns(2) and unshare(2) that succeeds, of whatever kind, so
 *     also when the network namespace is the same as before: after all that the task
 *     did before the call, before all that it does after it. A call that fails tells
 *     nothing.
 *
 * It holds for that task alone: other threads of the process stay where they are, unless
 * they have a NETNS of their own. Sockets stay in the namespace they were made in: what
 * a task does with one from before its NETNS, or with one that was handed to it, is
 * done in the other namespace. Nothing is told of tasks that were there before
 * tracepoint_start, nor by kernels without network namespaces. */

#define TRACEPOINT_PATH 256 /* longer ones are cut */

struct tracepoint_event {
	enum tracepoint_kind kind;
	int64_t time_ns; /* CLOCK_MONOTONIC */
	uint32_t cpu;
	uint32_t pid, tid; /* who ran: in a task's own context the one whose doing it is. Numbers of
			      the pid namespace that tracepoint_open was called in; 0: of none */
	bool in_task;	   /* not in an interrupt, a soft interrupt or with those held off. SEND,
			      RECEIVE and ROUTE always are: others are left out */
	uint8_t protocol;  /* SEND, RECEIVE: IPPROTO_* */
	uint64_t sk;	   /* the socket's address in the kernel: its identity from its opening to
			      DESTROY; 0 for ROUTE */
	union {
		struct { /* STATE, DESTROY, RECEIVE of tcp_rcv_space_adjust, ROUTE */
			uint16_t family;	       /* AF_INET, AF_INET6 */
			uint16_t protocol;	       /* IPPROTO_* */
			uint8_t old_state, new_state;  /* STATE: enum snap_tcp_state; else 0 */
			struct endpoint local, remote; /* IPv4-mapped as everywhere; ROUTE: the
							  local address may be any, and only UDP
							  (and TCP) have ports, else 0 */
			uint64_t cookie;	       /* 0: not told */
		} socket;
		int64_t length; /* SEND, RECEIVE with lengths: bytes, or negative errno; 0 for
				   what was only looked at (MSG_PEEK, MSG_ERRQUEUE) */
		uint32_t child; /* FORK: its pid; pid and tid are the parent's */
		uint64_t netns; /* NETNS: inode of the namespace, never 0, as /proc/PID/ns/net has
				   it; pid and tid are the task's own */
		struct {
			char path[TRACEPOINT_PATH]; /* as execve was given it, or an interpreter's
						     */
		} exec;
		uint64_t lost; /* 0: not known how many, perhaps none */
	} u;
};

struct tracepoint_source;

/* Buffers of all processors together; with more than 256 processors, each still has 64 KiB. */
#define TRACEPOINT_BUFFER_MAX (16u << 20)

/* Needs CAP_PERFMON, CAP_DAC_READ_SEARCH where the user is not root (tracefs is root's), and
 * CAP_SYS_ADMIN where tracefs is not mounted (fsopen(2) makes a mount that nobody sees): no longer
 * than it runs. ERROR_SYSTEM, with what was missing, when STATE or FORK cannot be had; others that
 * this kernel has not are said in *without (owned by the source, "" if all are there), in words
 * that stand alone: "fib:fib_table_lookup (no such tracepoint)". Raises the soft limit of
 * descriptors if it does not allow for eight for each processor. Processors that come online later
 * are not watched. Nothing is recorded before tracepoint_start. From then on, each task that is
 * made costs the kernel some 3 us, and 10 us more where its namespaces are not the caller's. */
int tracepoint_open(struct tracepoint_source **out, const char **without, struct error *error);
/* NULL works. Takes some 0.3 s, in which the kernel waits for all processors. */
void tracepoint_close(struct tracepoint_source *source);
int tracepoint_start(struct tracepoint_source *source, struct error *error);
/* Switches SEND and RECEIVE, or ROUTE, off and on: what is shed when there are too many. Before
 * tracepoint_start: how they start. */
enum tracepoint_group { TRACEPOINT_TRANSFERS, TRACEPOINT_ROUTES };
void tracepoint_switch(struct tracepoint_source *source, enum tracepoint_group group, bool on);
/* True when SEND and RECEIVE come with their lengths. */
bool tracepoint_has_lengths(const struct tracepoint_source *source);

/* A descriptor that becomes readable when a buffer has filled to a quarter, or at
 * an EXEC at once (epoll; the source's own). The kernel tells it once: who polls it
 * must then call tracepoint_next until that returns 0. */
int tracepoint_fd(const struct tracepoint_source *source);

/* Events up to until_ns (of all processors, in the order of their times) that
 * are in the buffers: 1 and *out, 0: none left. What comes later stays. An event that a
 * processor was still writing then comes with the next call, late; and one that an
 * interrupt wrote amid the writing of another stands before it, some microseconds late
 * the other. Of u, only what belongs to the kind is set. */
int tracepoint_next(struct tracepoint_source *source, int64_t until_ns,
		    struct tracepoint_event *out);

#endif
