/*
 * judged.h - for the tests of the join: a scene is settled into a timeline, an end
 * of it is asked for, and its owner is asserted, or that it has none and why.
 *
 * What is asserted of each answer, besides: it holds at the time that was asked for,
 * an owner has its rule and nobody has none, and who asks why is told (asked.h).
 */
#ifndef TESTS_UNIT_JUDGED_H
#define TESTS_UNIT_JUDGED_H

#include <stdbool.h>
#include <stdint.h>

#include "analyze/bridge.h"
#include "tests/unit/asked.h"
#include "tests/unit/scene.h"

/* Rows of sockets: the two ends of a connection, of another one to the same server,
 * what listens there, and a server of datagrams. */
#define ROW_CLIENT   "tcp " HOST " 40000 " PEER " 80 1"
#define ROW_ACCEPTED "tcp " HOST " 80 " PEER " 40000 1"
#define ROW_OTHERS   "tcp " HOST " 80 " PEER " 40001 1"
#define ROW_THIRD    "tcp " HOST " 80 " PEER " 40002 1"
#define ROW_LISTENER "tcp 0.0.0.0 80 0.0.0.0 0 10"
#define ROW_DNS	     "udp 0.0.0.0 53 0.0.0.0 0 7"
/* The same ends, and those of datagrams, as the kernel tells of their uses. */
#define USE_CLIENT   "6 " HOST " 40000 " PEER " 80"
#define USE_ACCEPTED "6 " HOST " 80 " PEER " 40000"
#define USE_QUERY    "17 " HOST " 40000 " PEER " 53"
#define USE_ANSWER   "17 0.0.0.0 53 " PEER " 40000"

#define UNSEEN SCENE_NEVER /* of a connection whose SYN was not captured */

/* Of the scene, once it is settled. */
extern struct timeline tl;
extern struct bridge bridge;
/* What was asked for last, to be changed at will, and the last answer. */
extern struct bridge_subject subject;
extern struct bridge_verdict v;

/* cmocka's setup and teardown: an empty scene; one with a key frame at 0 ms, which has
 * the host's addresses. */
int judged_begin_empty(void **state);
int judged_begin(void **state);
int judged_end(void **state);

/* A process that began long before, with one descriptor for the inode. */
void hold(uint32_t inode, uint32_t pid, const char *name);
/* Processes 10 and 11, and a look-up at 500 ms, which finds the socket of that row, of inode 501,
 * in the hands of 10. */
void look_up(const char *row);
/* The last reading, and what a timeline makes of all. What no reading brackets is
 * not claimed: without a time it comes after an hour. */
void settle(void);
void settle_at(int64_t ms);
/* The same of a scene without a last reading, as a torn file is. */
void settle_torn(void);

/* An end that receives; nothing else is known of it. */
void ask(uint8_t protocol, const char *local, uint16_t local_port, const char *remote,
	 uint16_t remote_port);
void ask_host(uint8_t protocol, uint16_t local_port, uint16_t remote_port); /* HOST and PEER */
void ask_client(int64_t began_ms);					    /* 40000 to 80 */
void ask_server(int64_t began_ms); /* 80, the responder of 40000 */
void ask_udp(uint16_t local_port); /* and port 9999 */

void judge(int64_t t_ns);
void assert_owner(int64_t ms, enum bridge_rule rule, uint32_t pid);
void assert_sender(int64_t ms, enum bridge_rule rule, uint32_t pid);
void assert_receiver(int64_t ms, enum bridge_rule rule, uint32_t pid);
void assert_nobody(int64_t ms, enum bridge_reason reason);
/* For any reason. */
void assert_nobody_sends(int64_t ms);
void assert_nobody_receives(int64_t ms);
/* Of the last answer: these two, in this order, and no others. */
void assert_candidates(uint32_t a, uint32_t b);

#endif
