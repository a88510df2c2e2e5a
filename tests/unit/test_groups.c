/* test_groups.c - facts about datagrams of several sockets on one port (SO_REUSEPORT): the kernel
 * chooses which of them gets one, whoever sent before. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

#define NEVER SCENE_NEVER
#define HANDS "17 :: 53 :: 0"

static const char row[] = "udp " HOST " 53 0.0.0.0 0 7";

/* 10 and 11 have a socket each, as far as count goes; 12 is there, and has none yet. */
static void read_group(uint32_t count)
{
	scene_frame("poll", 50, 51);
	for (uint32_t i = 0; i < 3; i++)
		scene_process('+', 10 + i, OLD, "worker");
	for (uint32_t i = 0; i < count; i++) {
		scene_socket('+', row, 500 + i);
		scene_holder('+', 500 + i, 10 + i, OLD, 3);
	}
}

static void answer_at(int64_t ms, uint32_t pid)
{
	scene_frame("event", 520, 540);
	scene_use("17 " HOST " 53 " PEER " 40000", NEVER, "route", ms, NEVER, pid, OLD);
}

static void closed_at(int64_t ms, unsigned cookie)
{
	scene_say("closed ! 1 udp " HOST " 53 0.0.0.0 0 0 %u %lld 0 0 0 0 0 0 0 0", cookie,
		  (long long)T(ms));
}

/* The next reading has that socket no more. */
static void lose(uint32_t place)
{
	scene_holder('-', 500 + place, 10 + place, OLD, 3);
	scene_socket('-', row, 500 + place);
}

static void settle_and_ask(void)
{
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
}

/* All close soon after. */
static void who_answers_has_heard(void **state)
{
	(void)state;
	read_group(2);
	answer_at(501, 11);
	closed_at(535, 7);
	closed_at(535, 8);
	scene_frame("poll", 1000, 1001);
	lose(0);
	lose(1);
	settle_and_ask();
	assert_receiver(500, BRIDGE_AHEAD, 11);
}

/* The peer asked again, and another one answered. */
static void who_ended_before_the_answer_may_have_heard(void **state)
{
	(void)state;
	read_group(2);
	answer_at(511, 11);
	scene_say("process - 10 %u 1 1000 x /bin/x x / 1 0 %lld", (unsigned)OLD, (long long)T(502));
	closed_at(535, 7);
	scene_frame("poll", 1000, 1001);
	lose(0);
	settle_and_ask();
	assert_nobody_receives(500);
}

static void who_has_no_socket_when_it_comes_has_not_heard(void **state)
{
	(void)state;
	read_group(2);
	answer_at(511, 12);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', row, 502);
	scene_holder('+', 502, 12, OLD, 3);
	settle_and_ask();
	assert_nobody_receives(500);
}

/* Nor where the others were seen only later. */
static void who_answers_is_not_whom_the_next_reading_shows(void **state)
{
	(void)state;
	answer_at(900, 12);
	scene_frame("poll", 600, 601);
	for (uint32_t i = 0; i < 3; i++)
		scene_process('+', 10 + i, OLD, "worker");
	scene_socket('+', row, 500);
	scene_holder('+', 500, 10, OLD, 3);
	scene_holder('+', 500, 11, OLD, 3);
	settle_and_ask();
	assert_nobody_receives(500);
}

static void who_is_in_no_reading_has_not_heard_either(void **state)
{
	(void)state;
	read_group(2);
	answer_at(511, 12);
	scene_frame("poll", 1000, 1001);
	settle_and_ask();
	assert_nobody_receives(500);
}

/* It goes by a hash of the ends. */
static void who_asks_need_not_get_the_answer(void **state)
{
	(void)state;
	read_group(2);
	answer_at(501, 10);
	settle_and_ask();
	assert_nobody_receives(511);
	subject.responder = true; /* of who was asked, the hash is the same */
	assert_receiver(511, BRIDGE_EXACT, 10);
}

/* One socket in two hands, as the kernel says; later each has its own. */
static void who_was_told_to_share_a_socket_is_a_rival(void **state)
{
	(void)state;
	read_group(1);
	scene_frame("event", 150, 160);
	scene_use("17 " HOST " 53 " PEER " 40000", NEVER, "route", 100, NEVER, 10, OLD);
	scene_use(HANDS, 40, "send", 101, NEVER, 10, OLD);
	scene_use(HANDS, 40, "receive", 110, 101, 11, OLD);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', row, 501);
	scene_holder('+', 501, 11, OLD, 3);
	settle_and_ask();
	assert_nobody_receives(109);
}

/* A worker's socket has closed, and another program's has its place in memory. */
static void who_has_a_socket_of_its_own_is_no_rival(void **state)
{
	(void)state;
	read_group(2);
	scene_frame("event", 450, 460);
	scene_use("17 " HOST " 53 " PEER " 40000", NEVER, "route", 101, NEVER, 11, OLD);
	scene_use(HANDS, 40, "receive", 300, NEVER, 10, OLD);
	closed_at(305, 7);
	scene_born(20, TICKS(200), 1, 200);
	scene_use(HANDS, 40, "receive", 310, 300, 20, TICKS(200));
	settle_and_ask();
	assert_sender(102, BRIDGE_EXACT, 11);
	assert_receiver(100, BRIDGE_AHEAD, 11);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, judged_begin, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(who_answers_has_heard),
		FACT(who_ended_before_the_answer_may_have_heard),
		FACT(who_has_no_socket_when_it_comes_has_not_heard),
		FACT(who_answers_is_not_whom_the_next_reading_shows),
		FACT(who_is_in_no_reading_has_not_heard_either),
		FACT(who_asks_need_not_get_the_answer),
		FACT(who_was_told_to_share_a_socket_is_a_rival),
		FACT(who_has_a_socket_of_its_own_is_no_rival),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
