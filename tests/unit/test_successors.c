/* test_successors.c - facts about sockets that follow each other on one tuple or port, and hands
 * that a socket goes through, where the kernel told of some only, or late. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "analyze/bridge.h"
#include "tests/unit/asked.h"
#include "tests/unit/scene.h"

#define NEVER	 SCENE_NEVER
#define CLIENT	 "6 " HOST " 40000 " PEER " 80"
#define ACCEPTED "6 " HOST " 80 " PEER " 40000"

static struct timeline tl;
static struct bridge bridge;
static struct serving serving;
static struct bridge_verdict v;
static struct bridge_subject subject;

static int begin(void **state)
{
	(void)state;
	scene_begin();
	scene_frame("key", 0, 1);
	scene_address('+', 1, HOST, 24);
	scene_frame("event", 2, 3);
	return 0;
}

static int end(void **state)
{
	(void)state;
	bridge_release(&bridge);
	serving_release(&serving);
	timeline_release(&tl);
	scene_free();
	return 0;
}

static void settle(void)
{
	scene_frame("poll", 10000, 10001);
	scene_read_whole(&tl);
	scene_join(&tl, &serving, &bridge);
}

static void closed(uint16_t port, uint16_t remote_port, int64_t ms, unsigned cookie)
{
	scene_say("closed ! 1 tcp " HOST " %u " PEER " %u 0 %u %lld 0 0 0 0 0 0 0 0", port,
		  remote_port, cookie, (long long)T(ms));
}

static void ask(uint16_t port, uint16_t remote_port, int64_t began_ms)
{
	subject = (struct bridge_subject){.protocol = IPPROTO_TCP,
					  .ip_version = 4,
					  .began_ns = T(began_ms),
					  .first_ns = T(began_ms),
					  .responder = port == 80,
					  .local = {.port = port},
					  .remote = {.port = remote_port},
					  .offset_bytes = -1};
	assert_int_equal(endpoint_parse(HOST, &subject.local.address), 0);
	assert_int_equal(endpoint_parse(PEER, &subject.remote.address), 0);
}

static void assert_owner(int64_t ms, uint32_t pid)
{
	asked_judge(&bridge, &subject, T(ms), &v);
	if (v.reason != BRIDGE_OWNED)
		fail_msg("at %lld ms: %s", (long long)ms, bridge_reason_name(v.reason));
	assert_int_equal(tl.processes[v.process].pid, pid);
}

static void assert_nobody(int64_t ms)
{
	asked_judge(&bridge, &subject, T(ms), &v);
	if (v.reason == BRIDGE_OWNED)
		fail_msg("at %lld ms: pid %u", (long long)ms, tl.processes[v.process].pid);
}

/* A worker accepted it and found it reset: nothing is told of it but its close. */
static void what_closed_before_the_next_was_accepted_is_not_the_next_ones(void **state)
{
	(void)state;
	closed(80, 40000, 250, 5);
	scene_use(ACCEPTED, 502, "receive", 503, NEVER, 11, OLD);
	closed(80, 40000, 600, 6);
	settle();
	ask(80, 40000, 200);
	assert_nobody(200);
	assert_nobody(250);
	ask(80, 40000, 500);
	assert_owner(501, 11);
	assert_owner(550, 11);
}

/* Its close is heard of when the next one is there already. */
static void a_close_that_comes_late_is_of_the_one_before(void **state)
{
	(void)state;
	scene_use(ACCEPTED, 502, "receive", 503, NEVER, 11, OLD);
	closed(80, 40000, 510, 5);
	closed(80, 40000, 600, 6);
	settle();
	ask(80, 40000, 200);
	assert_nobody(250);
}

/* The kernel's own socket, of which nobody is told, has the tuple after a process's. */
static void what_began_after_a_socket_closed_is_not_its_own(void **state)
{
	(void)state;
	scene_use(CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	closed(40000, 80, 150, 5);
	settle();
	ask(40000, 80, 100);
	assert_owner(101, 10);
	assert_owner(151, 10); /* what its FIN is answered with */
	ask(40000, 80, 200);
	assert_nobody(201);
}

static void closes_of_told_sockets_part_none_from_its_own(void **state)
{
	(void)state;
	scene_use(ACCEPTED, 102, "receive", 103, NEVER, 11, OLD);
	closed(80, 40000, 202, 5); /* late: the next one has begun */
	scene_use(ACCEPTED, 204, "receive", 205, NEVER, 12, OLD);
	closed(80, 40000, 300, 6);
	settle();
	ask(80, 40000, 100);
	assert_owner(150, 11);
	ask(80, 40000, 200);
	assert_owner(250, 12);
}

/* It answers the peer that the socket before it on the port heard last, whose close the recorder
 * hears of later. */
static void who_answers_on_a_port_that_was_anothers_did_not_hear_what_came_before(void **state)
{
	(void)state;
	scene_frame("poll", 100, 101);
	scene_socket('+', "udp " HOST " 53 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("event", 520, 550);
	scene_use("17 0.0.0.0 53 " PEER " 40000", NEVER, "route", 530, NEVER, 11, OLD);
	scene_say("closed ! 1 udp " HOST " 53 0.0.0.0 0 0 7 %lld 0 0 0 0 0 0 0 0",
		  (long long)T(535));
	scene_frame("poll", 1000, 1001);
	scene_socket('-', "udp " HOST " 53 0.0.0.0 0 7", 500);
	scene_holder('-', 500, 10, OLD, 3);
	scene_socket('+', "udp6 :: 53 :: 0 7", 501);
	scene_holder('+', 501, 11, OLD, 3);
	settle();
	ask(53, 40000, 500);
	subject.protocol = IPPROTO_UDP;
	subject.began_ns = INT64_MIN;
	subject.responder = true;
	assert_nobody(500);
	assert_owner(1500, 11);
}

/* The listener of the next reading had not begun to listen. */
static void whoever_shut_a_connection_had_it_and_not_who_listens(void **state)
{
	(void)state;
	scene_use(ACCEPTED, 502, "shut", 600, NEVER, 11, OLD);
	scene_use("6 " HOST " 80 " PEER " 40001", 702, "shut", 800, NEVER, 10, OLD);
	scene_frame("poll", 100, 101);
	scene_socket('+', "tcp " HOST " 80 0.0.0.0 0 10", 500);
	scene_holder('+', 500, 10, OLD, 3);
	scene_socket('+', "tcp " HOST " 80 " PEER " 40002 1", 501);
	scene_holder('+', 501, 10, OLD, 4);
	settle();
	ask(80, 40000, 500);
	assert_nobody(500);
	ask(80, 40001, 700);
	assert_owner(700, 10);
}

/* Nothing shows the SYN of the second one, so that its packets seem to be the first one's. */
static void what_comes_after_the_next_opening_is_not_of_the_one_before(void **state)
{
	(void)state;
	scene_use(CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_use(CLIENT, 500, "connect", 500, NEVER, 11, OLD);
	settle();
	ask(40000, 80, 100);
	assert_owner(400, 10);
	assert_true(v.until_ns <= T(500));
	assert_nobody(501);
	assert_true(v.from_ns > T(400));
}

/* By less than lies between two readings: the second connection began before the first one's last
 * packets, by its time. */
static void where_the_clock_was_set_back_a_little_nobody_is_named_either(void **state)
{
	(void)state;
	scene_frame("poll", 500, 501);
	scene_frame("event", 10, 20);
	scene_use(CLIENT, 10, "connect", 10, NEVER, 10, OLD);
	scene_set_clock(-475);
	scene_frame("event", 950, 960);
	scene_use(CLIENT, 950, "connect", 950, NEVER, 11, OLD);
	scene_frame("poll", 1025, 1026);
	scene_say("clock ! -475000000 0");
	settle();
	ask(40000, 80, 10);
	assert_owner(11, 10);
	subject.began_ns = INT64_MIN;
	assert_nobody(1000);
}

/* A child sends while the descriptors of its parent are read. */
static void who_looks_up_while_another_one_is_read_may_have_it_too(void **state)
{
	(void)state;
	scene_frame("poll", 100, 200);
	scene_socket('+', "udp " HOST " 53 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("event", 110, 170);
	scene_use("17 0.0.0.0 53 " PEER " 40000", NEVER, "route", 110, NEVER, 10, OLD);
	scene_use("17 0.0.0.0 53 " PEER " 40000", NEVER, "route", 150, 110, 11, OLD);
	scene_frame("poll", 1000, 1001);
	scene_holder('+', 500, 11, OLD, 3);
	settle();
	ask(53, 40000, 400);
	subject.protocol = IPPROTO_UDP;
	subject.began_ns = INT64_MIN;
	subject.sent = true;
	assert_nobody(400);
}

/* One handed it to the next while uses were missing, and readings know only the last of them. */
static void whose_it_was_while_uses_were_missing_is_not_the_next_ones(void **state)
{
	(void)state;
	scene_say("use ! 1 " CLIENT " 0 %lld connect %lld 0 0 0 10 500 10", (long long)T(100),
		  (long long)T(100));
	scene_frame("event", 110, 200);
	scene_untold();
	scene_frame("event", 300, 310);
	scene_use(CLIENT, 100, "send", 300, NEVER, 11, OLD);
	scene_use(CLIENT, 100, "send", 500, 400, 10, OLD);
	scene_use(CLIENT, 100, "send", 600, 550, 11, OLD);
	scene_frame("event", 610, 700);
	scene_untold();
	scene_frame("event", 750, 760);
	scene_use(CLIENT, 100, "send", 750, NEVER, 11, OLD);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 3);
	settle();
	ask(40000, 80, 100);
	subject.offset_bytes = 0;
	subject.payload_bytes = 100;
	subject.sent = true;
	assert_nobody(150);
	assert_true(asked_told(BRIDGE_WHY_NOT_ITS_TURN));
	assert_owner(650, 11); /* the same before and after */
}

/* What this segment shows of it is left aside: who another one shows may have handed it on. */
static void no_other_segment_says_whose_it_was_when_the_clock_was_set_back(void **state)
{
	(void)state;
	scene_frame("poll", 500, 501);
	scene_frame("event", 10, 20);
	scene_use(CLIENT, 10, "connect", 10, NEVER, 10, OLD);
	scene_set_clock(-475);
	scene_frame("poll", 1025, 1026);
	scene_say("clock ! -475000000 0");
	settle();
	ask(40000, 80, 10);
	assert_nobody(1000);
	assert_true(v.refused);
}

/* A segment that begins after the clock was set back repeats what was told before. */
static void what_was_told_before_the_clock_was_set_back_is_not_to_come(void **state)
{
	(void)state;
	scene_set_clock(475);
	scene_frame("event", 400, 410);
	scene_socket('!', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_process('!', 10, OLD, "before");
	scene_holder('!', 500, 10, OLD, 3);
	scene_set_clock(-475);
	scene_frame("event", 800, 810);
	scene_socket('!', "tcp " HOST " 40001 " PEER " 80 1", 501);
	scene_process('!', 10, OLD, "before");
	scene_holder('!', 501, 10, OLD, 3);
	settle();
	ask(40000, 80, 200);
	assert_nobody(250);
	ask(40001, 80, 700);
	assert_owner(805, 10);
}

/* The close is told late, of another one's socket that had the port before. */
static void whose_port_was_anothers_just_before_has_not_surely_closed(void **state)
{
	(void)state;
	scene_use("17 0.0.0.0 40000 " PEER " 53", NEVER, "route", 400, NEVER, 12, OLD);
	scene_use("17 0.0.0.0 40000 " PEER " 53", NEVER, "route", 500, 450, 10, OLD);
	scene_use("17 0.0.0.0 40001 " PEER " 53", NEVER, "route", 500, NEVER, 10, OLD);
	for (unsigned port = 40000; port <= 40001; port++)
		scene_say("closed ! 1 udp 0.0.0.0 %u 0.0.0.0 0 0 7 %lld 0 0 0 0 0 0 0 0", port,
			  (long long)T(540));
	scene_frame("poll", 1000, 1001);
	scene_process('+', 11, OLD, "next");
	scene_socket('+', "udp " HOST " 40000 " PEER " 53 1", 501);
	scene_holder('+', 501, 11, OLD, 3);
	scene_socket('+', "udp " HOST " 40001 " PEER " 53 1", 502);
	scene_holder('+', 502, 11, OLD, 4);
	settle();
	ask(40000, 53, 500);
	subject.protocol = IPPROTO_UDP;
	subject.began_ns = INT64_MIN;
	subject.sent = true;
	assert_nobody(560);
	assert_true(asked_told(BRIDGE_WHY_COMES_LATER));
	subject.local.port = 40001;
	assert_owner(560, 11);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(what_closed_before_the_next_was_accepted_is_not_the_next_ones),
		FACT(a_close_that_comes_late_is_of_the_one_before),
		FACT(what_began_after_a_socket_closed_is_not_its_own),
		FACT(who_answers_on_a_port_that_was_anothers_did_not_hear_what_came_before),
		FACT(whoever_shut_a_connection_had_it_and_not_who_listens),
		FACT(what_comes_after_the_next_opening_is_not_of_the_one_before),
		FACT(where_the_clock_was_set_back_a_little_nobody_is_named_either),
		FACT(who_looks_up_while_another_one_is_read_may_have_it_too),
		FACT(whose_it_was_while_uses_were_missing_is_not_the_next_ones),
		FACT(no_other_segment_says_whose_it_was_when_the_clock_was_set_back),
		FACT(what_was_told_before_the_clock_was_set_back_is_not_to_come),
		FACT(whose_port_was_anothers_just_before_has_not_surely_closed),
		FACT(closes_of_told_sockets_part_none_from_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
