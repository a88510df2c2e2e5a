/*
 * traced.h - for tests of tracepoints: children that do something, and what
 * the kernel told of them. Where there are no tracepoints, the test is skipped.
 */
#ifndef TESTS_UNIT_TRACED_H
#define TESTS_UNIT_TRACED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "snapshot/tracepoint.h"

extern struct tracepoint_source *traced_source;
extern const char *traced_without;
extern struct error traced_error;

/* All that was collected since the test began. */
extern struct tracepoint_event *traced_events;
extern size_t traced_count;

int traced_set_up(void **state);
int traced_tear_down(void **state);

void traced_open(void);
void traced_start(void); /* opens, too */
/* What was told until now. */
void traced_collect(void);

/* The first event of this kind and process at or after *at; its place goes to *at. NULL: none. */
const struct tracepoint_event *traced_find(enum tracepoint_kind kind, pid_t pid, size_t *at);
/* The same; fails the test if there is none. */
const struct tracepoint_event *traced_need(enum tracepoint_kind kind, pid_t pid, size_t *at);
/* The place of a child's FORK; fails the test if there is none. */
size_t traced_need_fork(pid_t child);

/* As fork(2). Children end with _exit, status 0; or 77: the host cannot do it, skip. */
pid_t traced_fork(void);
void traced_wait(pid_t pid);
/* In a child, where assertions are of no use: ends it with status 1 if it does not hold. */
void traced_must(bool held);
/* In a child: a socket that is connected. */
int traced_connect(int family, int type, const char *address, uint16_t port);

struct traced_conversation {
	struct endpoint server_end, client_end;
	pid_t server, client;
};

/* A child accepts, takes 5 bytes and gives 7; another connects and does the
 * opposite. Both have ended, and what was told is collected. */
struct traced_conversation traced_converse(int family, const char *address);

#endif
