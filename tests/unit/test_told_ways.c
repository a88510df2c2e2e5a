/* test_told_ways.c - facts about datagrams, by who looked up their way. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

#define NEVER SCENE_NEVER

static void who_sent_last_on_a_way_owns_what_is_sent(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_ANSWER, NEVER, "route", 100, NEVER, 10, OLD);
	scene_use(USE_ANSWER, NEVER, "route", 200, 150, 11, OLD);
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	assert_sender(100, BRIDGE_EXACT, 10);
	assert_sender(199, BRIDGE_EXACT, 10);
	assert_sender(200, BRIDGE_EXACT, 11);
	assert_nobody_receives(199); /* either may read it */
	assert_nobody_sends(500);    /* without a look-up: of a connected socket of either */
}

/* The next one's process was born after it, or the one before had ended. */
static void what_comes_for_one_of_two_who_did_not_live_at_once_is_his(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "dig");
	scene_born(11, TICKS(180), 1, 180);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_use(USE_QUERY, NEVER, "route", 200, 100, 11, TICKS(180));
	scene_say("process - 10 500 1 \\N \\N \\N \\N \\N \\N 0 %lld", (long long)T(170));
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_receiver(150, BRIDGE_EXACT, 10);
	assert_nobody_receives(190);
	assert_receiver(210, BRIDGE_EXACT, 11);
}

/* One socket that two processes have; two sockets on one port. */
static void several_workers_of_one_socket_are_not_told_by_their_answers(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	scene_process('+', 10, OLD, "named");
	scene_process('+', 11, OLD, "named");
	scene_holder('+', 500, 10, OLD, 5);
	scene_holder('+', 500, 11, OLD, 5);
	scene_socket('+', "udp 0.0.0.0 54 0.0.0.0 0 7", 501);
	scene_socket('+', "udp 0.0.0.0 54 0.0.0.0 0 7", 502);
	scene_holder('+', 501, 10, OLD, 6);
	scene_holder('+', 502, 11, OLD, 6);
	scene_frame("event", 150, 160);
	scene_use(USE_ANSWER, NEVER, "route", 100, NEVER, 10, OLD);
	scene_use("17 0.0.0.0 54 " PEER " 40000", NEVER, "route", 100, NEVER, 10, OLD);
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	assert_nobody_receives(99);
	assert_sender(101, BRIDGE_EXACT, 10);
	ask_host(IPPROTO_UDP, 54, 40000);
	assert_receiver(99, BRIDGE_AHEAD, 10);
}

static void a_request_is_its_answerers(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_ANSWER, NEVER, "route", 100, NEVER, 10, OLD);
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	subject.responder = true;
	assert_receiver(99, BRIDGE_AHEAD, 10);
}

static void a_request_is_not_of_who_was_born_after_it(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_born(11, TICKS(50), 10, 50);
	scene_use(USE_ANSWER, NEVER, "route", 100, NEVER, 11, TICKS(50));
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	assert_nobody_receives(49);
	assert_receiver(51, BRIDGE_AHEAD, 11);
}

static void a_request_before_anothers_use_is_not_the_later_ones(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_ANSWER, NEVER, "route", 100, 90, 10, OLD);
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	assert_nobody_receives(80);
	assert_receiver(95, BRIDGE_AHEAD, 10);
}

static void who_has_ended_sends_and_receives_no_more(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "dig");
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_say("process - 10 500 1 \\N \\N \\N \\N \\N \\N 0 %lld", (long long)T(120));
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_receiver(110, BRIDGE_EXACT, 10);
	assert_nobody_receives(130);
	assert_nobody_sends(130);
}

static void a_way_on_which_uses_may_be_missing_says_nothing_further(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_ANSWER, NEVER, "route", 100, NEVER, 10, OLD);
	scene_frame("event", 200, 300);
	scene_untold();
	scene_frame("event", 410, 420);
	scene_use("17 0.0.0.0 54 " PEER " 40000", NEVER, "route", 400, NEVER, 10, OLD);
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	assert_sender(190, BRIDGE_EXACT, 10);
	assert_nobody_sends(250);
	assert_nobody_receives(400);
	ask_host(IPPROTO_UDP, 54, 40000);
	assert_nobody_receives(250);
	assert_receiver(350, BRIDGE_AHEAD, 10);
}

/* A port that went from one to the other in between: either may have taken it. */
static void a_request_to_a_port_that_changed_hands_is_nobodys(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	scene_process('+', 10, OLD, "named");
	scene_holder('+', 500, 10, OLD, 5);
	scene_frame("event", 300, 310);
	scene_use(USE_ANSWER, NEVER, "route", 300, NEVER, 11, OLD);
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_DNS, 500);
	scene_holder('-', 500, 10, OLD, 5);
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	assert_nobody_receives(250);
	assert_sender(310, BRIDGE_EXACT, 11);
}

static void two_local_addresses_are_two_ways(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use("17 10.0.0.7 40000 " PEER " 53", NEVER, "route", 100, NEVER, 10, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_sends(110);
}

static void after_the_last_frame_of_a_torn_file_a_way_is_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "front");
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	settle_torn();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_sends(150); /* who uses it by then may stand in what was torn off */
	assert_nobody_sends(9000);
}

/* Who was read with the socket may have taken what another one answers. */
static void what_readings_showed_of_the_way_is_not_overruled(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	scene_process('+', 10, OLD, "parent");
	scene_holder('+', 500, 10, OLD, 5);
	scene_frame("event", 150, 160);
	scene_process('!', 11, TICKS(100), "child");
	scene_born(11, TICKS(100), 10, 105);
	scene_use(USE_ANSWER, NEVER, "route", 120, NEVER, 11, TICKS(100));
	settle();
	ask_host(IPPROTO_UDP, 53, 40000);
	assert_sender(121, BRIDGE_EXACT, 11);
	assert_nobody_receives(119); /* the child answers: it or its parent took it */
}

/* ---------------------------------------- what readings have not seen yet -- */

#define UNCONNECTED "udp 0.0.0.0 40000 0.0.0.0 0 7"
#define CONNECTED   "udp " HOST " 40000 " PEER " 53 1"

static void read_holder(int64_t ms, const char *where, uint32_t pid)
{
	scene_frame("poll", ms, ms + 1);
	scene_socket('+', where, 500);
	scene_process('+', pid, OLD, "dig");
	scene_holder('+', 500, pid, OLD, 5);
}

static void a_child_born_since_the_look_up_may_have_sent(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "dig");
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_born(11, TICKS(100), 10, 102);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(101, BRIDGE_EXACT, 10);
	assert_nobody_sends(103);
}

static void a_child_born_since_the_reading_has_the_socket_too(void **state)
{
	(void)state;
	scene_frame("event", 910, 920);
	scene_process('!', 10, OLD, "dig");
	scene_use(USE_QUERY, NEVER, "route", 900, NEVER, 10, OLD);
	read_holder(1000, CONNECTED, 10);
	scene_frame("event", 1510, 1520);
	scene_born(11, TICKS(1500), 10, 1500);
	scene_process('!', 11, TICKS(1500), "dig");
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(1400, BRIDGE_EXACT, 10);
	assert_nobody_sends(1510);
	assert_true(asked_told(BRIDGE_WHY_HAS_HEIR));
}

static void who_is_read_later_did_not_send_what_another_looked_up(void **state)
{
	(void)state;
	scene_frame("event", 110, 120);
	scene_process('!', 10, OLD, "dig");
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	read_holder(1000, CONNECTED, 11);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_receives(200);
	assert_true(asked_told(BRIDGE_WHY_COMES_LATER));
}

static void the_same_holds_of_a_socket_that_any_peer_may_use(void **state)
{
	(void)state;
	scene_frame("event", 110, 120);
	scene_process('!', 10, OLD, "dig");
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_born(12, TICKS(100), 10, 102);
	read_holder(1000, UNCONNECTED, 11);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_sends(104);
}

static void of_two_who_look_up_at_once_readings_do_not_name_one(void **state)
{
	(void)state;
	read_holder(500, UNCONNECTED, 10);
	scene_frame("event", 1010, 1020);
	scene_process('!', 11, OLD, "dig");
	scene_use(USE_QUERY, NEVER, "route", 1000, NEVER, 10, OLD);
	scene_use(USE_QUERY, NEVER, "route", 1002, 1000, 11, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_sends(1003);
	assert_true(asked_told(BRIDGE_WHY_RACE));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, judged_begin, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(after_the_last_frame_of_a_torn_file_a_way_is_nobodys),
		FACT(what_readings_showed_of_the_way_is_not_overruled),
		FACT(who_sent_last_on_a_way_owns_what_is_sent),
		FACT(what_comes_for_one_of_two_who_did_not_live_at_once_is_his),
		FACT(several_workers_of_one_socket_are_not_told_by_their_answers),
		FACT(a_request_is_its_answerers),
		FACT(a_request_is_not_of_who_was_born_after_it),
		FACT(a_request_before_anothers_use_is_not_the_later_ones),
		FACT(who_has_ended_sends_and_receives_no_more),
		FACT(a_way_on_which_uses_may_be_missing_says_nothing_further),
		FACT(a_request_to_a_port_that_changed_hands_is_nobodys),
		FACT(two_local_addresses_are_two_ways),
		FACT(a_child_born_since_the_look_up_may_have_sent),
		FACT(a_child_born_since_the_reading_has_the_socket_too),
		FACT(who_is_read_later_did_not_send_what_another_looked_up),
		FACT(the_same_holds_of_a_socket_that_any_peer_may_use),
		FACT(of_two_who_look_up_at_once_readings_do_not_name_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
