/*
 * tracepoint_internal.h - what the files of the tracepoints share: tracepoint_learn.c finds out
 * what this kernel has, tracepoint.c opens it and switches it on and off, tracepoint_read.c puts
 * what the processors' buffers hold in one order. tracepoint_layout.h is apart, without system
 * calls.
 */
#ifndef SNAPSHOT_TRACEPOINT_INTERNAL_H
#define SNAPSHOT_TRACEPOINT_INTERNAL_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/tracepoint.h"
#include "snapshot/tracepoint_layout.h"

/* The kernel's u16 size of a record. */
#define TRACEPOINT_SCRATCH (64u << 10)

/* One processor's: a perf event for each tracepoint, and one that only holds the
 * buffer and tells forks, exits and namespaces. */
#define TRACEPOINT_TASKS  TRACEPOINT_COUNT
#define TRACEPOINT_EVENTS (TRACEPOINT_COUNT + 1)

/* Kinds of namespaces that the kernel tells. */
#define TRACEPOINT_NAMESPACES 7

/* Of one processor. Positions count bytes since the buffer was made and never go back. */
struct tracepoint_ring {
	uint32_t cpu;
	int fds[TRACEPOINT_EVENTS]; /* -1: none */
	struct perf_event_mmap_page *page;
	const uint8_t *data;
	uint64_t head;	   /* records up to here are looked at in this round */
	uint64_t at;	   /* the next record */
	uint64_t released; /* what the kernel may write over ends here */
	uint32_t size;	   /* of the next record; 0: a loss is told instead */
	int64_t time_ns;   /* of the next record */
	bool unsure;	   /* events may be missing after head */
};

struct tracepoint_source {
	struct tracepoint_layout layout;
	struct tracepoint_ring *rings;
	size_t ring_count, ring_room;
	size_t ring_bytes, page_bytes;
	struct tracepoint_ring **heap; /* of this round, those with a record: the earliest first */
	size_t heap_count;
	bool in_round;
	int64_t until_ns; /* of this round */
	int epoll;
	int held[TRACEPOINT_NAMESPACES]; /* -1: none */
	bool started;
	bool namespaces; /* this kernel can tell them */
	bool off[TRACEPOINT_COUNT];
	bool lengths;
	char without[1024];
	uint8_t scratch[TRACEPOINT_SCRATCH]; /* a record that goes on at the buffer's start */
};

/* tracepoint_learn.c: the numbers and fields of all tracepoints into source->layout; what this
 * kernel has not is said in source->without. 0, or negative where there is no tracefs. */
int tracepoint_learn(struct tracepoint_source *source, struct error *error);
/* Says that something is missing, and why. */
void tracepoint_add_without(struct tracepoint_source *source, const char *what, const char *reason);
/* The same of a tracepoint, which is not known from now on. */
void tracepoint_say_without(struct tracepoint_source *source, enum tracepoint_number number,
			    const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
