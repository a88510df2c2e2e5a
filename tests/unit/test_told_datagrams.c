/* test_told_datagrams.c - facts about datagrams that the kernel's account alone tells apart. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

#define NEVER SCENE_NEVER

/* -------------------------------------------------------------- echoes -- */

/* A call that sends an echo: who, its look-up, its end, how long its message was. */
static void echo_call(uint32_t pid, int64_t looked_ms, int64_t end_ms, unsigned sent_bytes)
{
	static const char end[] =
		"use ! 1 1 0.0.0.0 0 " PEER " 0 0 %lld send %lld 0 %u \\N %u %u %u";

	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "route", looked_ms, NEVER, pid, OLD);
	scene_say(end, (long long)T(looked_ms), (long long)T(end_ms), sent_bytes, pid,
		  (unsigned)OLD, pid);
}

static void ask_echo(uint32_t payload_bytes)
{
	ask_host(IPPROTO_ICMP, 77, 0);
	subject.icmp_query = true;
	subject.payload_bytes = payload_bytes;
	subject.ip_bytes = payload_bytes + 28;
}

static void of_two_pings_at_once_the_length_tells(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	echo_call(10, 100, 103, 64);
	echo_call(11, 101, 104, 108);
	settle();
	ask_echo(56);
	assert_sender(102, BRIDGE_QUOTED, 10);
	ask_echo(100);
	assert_sender(102, BRIDGE_QUOTED, 11);
	ask_echo(90); /* neither */
	assert_nobody_sends(102);
	ask_echo(100);
	subject.ip_bytes = 0; /* a fragment */
	assert_nobody_sends(102);
}

static void two_pings_of_one_length_at_once_are_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	echo_call(10, 100, 101, 64);
	echo_call(11, 104, 105, 64);
	settle();
	ask_echo(56);
	assert_nobody_sends(105); /* the kernel may have been late with the first one's */
	assert_sender(109, BRIDGE_QUOTED, 11);
}

/* It lost the processor amid its call. */
static void a_ping_of_a_call_that_goes_on_is_not_a_later_ones(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	echo_call(10, 100, 140, 64);
	echo_call(11, 130, 131, 64);
	settle();
	ask_echo(56);
	assert_sender(120, BRIDGE_QUOTED, 10);
	assert_nobody_sends(131);
}

static void a_look_up_without_an_end_may_be_of_any_length(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "route", 100, NEVER, 10, OLD);
	echo_call(11, 101, 106, 64);
	settle();
	ask_echo(56);
	assert_nobody_sends(102);
	assert_sender(111, BRIDGE_QUOTED, 11);
}

/* The end that was told may be that of a later call. */
static void an_end_across_what_is_missing_is_none(void **state)
{
	(void)state;
	scene_frame("event", 105, 106);
	scene_say("absent ! event 1 0 uses\\x20of\\x20streams hot");
	scene_frame("event", 150, 160);
	echo_call(10, 100, 107, 108);
	echo_call(11, 101, 104, 64);
	settle();
	ask_echo(56);
	assert_nobody_sends(102);
}

static void where_pings_were_too_many_to_be_told_nobody_is_named(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "several", 90, NEVER, 10, OLD);
	echo_call(11, 101, 104, 64);
	settle();
	ask_echo(56);
	assert_nobody_sends(102);
}

/* A reading has a raw socket of 10, which ends while the reading goes on. */
static void read_raw_socket(bool ended)
{
	scene_frame("event", 150, 155);
	echo_call(10, 140, 141, 64);
	scene_frame("poll", 160, 200);
	scene_process('+', 10, OLD, "ping");
	scene_socket('+', "raw 0.0.0.0 1 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("event", 201, 202);
	if (ended)
		scene_say("process - 10 %u 1 \\N \\N \\N \\N \\N \\N 0 %lld", (unsigned)OLD,
			  (long long)T(170));
	echo_call(ended ? 11 : 10, 180, 181, 64);
	scene_frame("poll", 300, 301);
	scene_holder('-', 500, 10, OLD, 3);
	scene_socket('-', "raw 0.0.0.0 1 0.0.0.0 0 7", 500);
	settle();
	ask_echo(56);
}

static void who_had_ended_before_an_answer_has_it_not(void **state)
{
	(void)state;
	read_raw_socket(true);
	assert_receiver(182, BRIDGE_QUOTED, 11);
}

/* What the kernel told of an echo needs no reading to vouch for it. */
static void a_told_echo_does_not_rest_on_the_raw_socket_that_was_read(void **state)
{
	(void)state;
	read_raw_socket(false);
	assert_sender(181, BRIDGE_QUOTED, 10);
	assert_int_equal(v.socket, TIMELINE_NONE);
	assert_receiver(182, BRIDGE_QUOTED, 10);
	assert_int_equal(v.socket, TIMELINE_NONE);
}

static void a_ping_is_of_who_looked_up_its_way_just_before(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "route", 100, NEVER, 10, OLD);
	settle();
	ask_host(IPPROTO_ICMP, 77, 0);
	subject.icmp_query = true;
	assert_sender(101, BRIDGE_QUOTED, 10);
	assert_receiver(140, BRIDGE_QUOTED, 10);
	assert_nobody_sends(140); /* a look-up nobody told: of a connected one */
	subject.responder = true;
	assert_nobody_sends(101);
}

/* Two look up the way to one host; whose packet leaves first is not known. */
static void a_ping_just_after_two_look_ups_is_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "route", 100, NEVER, 10, OLD);
	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "route", 101, 100, 11, OLD);
	settle();
	ask_host(IPPROTO_ICMP, 77, 0);
	subject.icmp_query = true;
	assert_nobody_sends(102);
}

/* --------------------------------------------------------------- hands -- */

#define HANDS "17 :: 40000 :: 0"

static void closed(int64_t ms)
{
	scene_say("closed ! 1 udp " HOST " 40000 0.0.0.0 0 0 0 %lld 0 0 0 0 0 0 0 0",
		  (long long)T(ms));
}

/* It looked up the way at 100; another one uses the socket from 200 on. */
static void hand_on(void)
{
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "send", 150, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "send", 200, 150, 11, OLD);
}

static void a_connected_socket_that_was_passed_on_is_who_acts_next(void **state)
{
	(void)state;
	hand_on();
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(101, BRIDGE_EXACT, 10);
	assert_sender(150, BRIDGE_EXACT, 10);
	assert_nobody_sends(190); /* the call that ended at 200 */
	assert_string_equal(bridge_reason_name(v.reason), "ambiguous");
	assert_int_equal(v.candidate_count, 2);
	assert_true(v.refused && v.until_ns - v.from_ns == 1);
	assert_nobody_sends(5000);
	assert_nobody_receives(160); /* the next one may read it */
	assert_nobody_receives(5000);
}

static void who_has_had_it_for_long_may_read_what_comes(void **state)
{
	(void)state;
	hand_on();
	scene_frame("event", 50050, 50060);
	scene_use(USE_QUERY, NEVER, "route", 50000, 100, 10, OLD);
	settle_at(100000);
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_receives(50001);
}

static void in_its_own_turn_a_process_is_sure(void **state)
{
	(void)state;
	hand_on();
	scene_frame("event", 650, 660);
	scene_use(USE_QUERY, NEVER, "route", 299, 100, 10, OLD);
	scene_use(HANDS, NEVER, "send", 301, 298, 10, OLD);
	scene_use(HANDS, NEVER, "send", 400, 340, 11, OLD);
	scene_use(HANDS, NEVER, "send", 500, 450, 10, OLD);
	scene_use(HANDS, NEVER, "send", 503, 502, 11, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(300, BRIDGE_EXACT, 10); /* it looked up after the other's last */
	assert_sender(320, BRIDGE_EXACT, 10);
	assert_nobody_sends(341);
	assert_nobody_sends(452); /* the other's may leave late */
	assert_sender(456, BRIDGE_EXACT, 10);
	assert_nobody_sends(501); /* both were in a call */
}

static void after_its_close_a_port_is_in_other_hands(void **state)
{
	(void)state;
	hand_on();
	scene_frame("event", 650, 660);
	closed(600);
	scene_use(USE_QUERY, NEVER, "route", 1000, 100, 12, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(1001, BRIDGE_EXACT, 12);
}

/* A place that was used again: what was told of the port before is not its own. */
static void a_use_after_the_close_says_nothing_of_before(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_frame("event", 450, 460);
	closed(400);
	scene_use(HANDS, NEVER, "send", 101, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "receive", 1000, 101, 11, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(101, BRIDGE_EXACT, 10);
	assert_sender(150, BRIDGE_EXACT, 10);
	assert_receiver(120, BRIDGE_EXACT, 10);
}

static void who_had_ended_or_was_not_there_is_no_rival(void **state)
{
	(void)state;
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "send", 50, NEVER, 9, OLD);
	scene_say("process - 9 %u 1 1000 x /bin/x x / 1 0 %lld", (unsigned)OLD, (long long)T(60));
	scene_use(HANDS, NEVER, "send", 101, 50, 10, OLD);
	scene_use(HANDS, NEVER, "send", 400, 350, 11, TICKS(300));
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(100, BRIDGE_EXACT, 10);
	assert_nobody_receives(110); /* but what waits may be read by whom it is handed to */
}

static void born(uint32_t pid, int64_t ms, uint32_t parent, int64_t at_ms)
{
	scene_say("born ! %u %llu %u %lld", pid, (unsigned long long)TICKS(ms), parent,
		  (long long)T(at_ms));
}

/* 11 begins after what comes at 110, and uses the socket. */
static void use_later(uint32_t parent)
{
	scene_process('+', 9, OLD - 100, "elder");
	scene_process('+', 10, OLD, "first");
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	born(11, 300, parent, 300);
	scene_use(HANDS, NEVER, "send", 101, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "receive", 400, 101, 11, TICKS(300));
}

static void what_waits_may_be_read_by_who_inherits_it(void **state)
{
	(void)state;
	use_later(10);
	closed(500);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_receives(110);
	assert_sender(102, BRIDGE_EXACT, 10);
}

static void what_closes_at_another_address_is_another_socket(void **state)
{
	(void)state;
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_say("closed ! 1 udp6 ::1 40000 :: 0 0 0 %lld 0 0 0 0 0 0 0 0", (long long)T(150));
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_receiver(160, BRIDGE_EXACT, 10);
}

/* Two sockets of one port: 9, which ends at 90, and then 10 use the one, 8 and then 11 the other.
 */
static void use_two_sockets(int64_t one_ms, int64_t other_ms)
{
	scene_frame("event", 450, 460);
	scene_use("17 " HOST " 40000 " PEER " 53", NEVER, "route", 99, NEVER, 10, OLD);
	scene_use(HANDS, one_ms, "receive", 60, NEVER, 9, OLD);
	scene_use(HANDS, other_ms, "receive", 80, NEVER, 8, OLD);
	scene_use(HANDS, one_ms, "send", 100, 60, 10, OLD);
	scene_use(HANDS, other_ms, "send", 140, 80, 11, OLD);
	scene_say("process - 9 %u 1 1000 x /bin/x x / 1 0 %lld", (unsigned)OLD, (long long)T(90));
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
}

static void who_has_another_socket_of_the_port_is_no_rival(void **state)
{
	(void)state;
	use_two_sockets(50, 70);
	assert_sender(101, BRIDGE_EXACT, 10);
	assert_receiver(120, BRIDGE_EXACT, 10);
}

static void of_sockets_that_are_not_told_apart_all_users_are_rivals(void **state)
{
	(void)state;
	use_two_sockets(NEVER, NEVER);
	assert_nobody_sends(101);
	assert_nobody_receives(120);
}

/* A close is told late. */
static void who_inherits_nothing_may_have_the_next_socket(void **state)
{
	(void)state;
	use_later(9);
	closed(500);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_receiver(110, BRIDGE_EXACT, 10);
}

static void who_inherits_nothing_may_be_handed_what_stays_open(void **state)
{
	(void)state;
	use_later(9);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_receives(110);
}

/* A pid came back within a clock tick: the first to have it was forked by 10. */
static void fork_two(void)
{
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	born(11, 120, 10, 121);
	born(11, 120, 9, 128);
	scene_say("process - 11 %llu 1 1000 x /bin/x x / 1 0 %lld", (unsigned long long)TICKS(120),
		  (long long)T(127));
}

static void of_two_with_one_pid_and_tick_either_is_a_rival(void **state)
{
	(void)state;
	fork_two();
	scene_use(HANDS, NEVER, "send", 101, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "send", 125, 102, 11, TICKS(120));
	scene_use(HANDS, NEVER, "send", 132, 125, 10, OLD);
	scene_use(HANDS, NEVER, "send", 140, 133, 11, TICKS(120));
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(101, BRIDGE_EXACT, 10);
	assert_nobody_sends(124);
	assert_nobody_sends(139);
}

/* The fork of the first was not told. */
static void who_acted_before_its_fork_is_another_with_its_pid(void **state)
{
	(void)state;
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "send", 101, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "send", 125, 102, 11, TICKS(120));
	born(11, 120, 9, 128);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(101, BRIDGE_EXACT, 10);
	assert_nobody_sends(124);
	assert_true(tl.processes[timeline_process_of(&tl, 11, TICKS(120))].forked_twice);
}

static void who_ended_before_its_fork_is_another_with_its_pid(void **state)
{
	(void)state;
	scene_frame("event", 450, 460);
	for (unsigned i = 0; i < 2; i++) {
		born(11 + i, 120, 9, i == 0 ? 128 : 121);
		scene_say("process - %u %llu 1 1000 x /bin/x x / 1 0 %lld", 11 + i,
			  (unsigned long long)TICKS(120), (long long)T(125));
	}
	settle();
	assert_true(tl.processes[timeline_process_of(&tl, 11, TICKS(120))].forked_twice);
	assert_false(tl.processes[timeline_process_of(&tl, 12, TICKS(120))].forked_twice);
}

static void a_fork_stays_one_when_its_pid_comes_back(void **state)
{
	(void)state;
	fork_two();
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_sender(119, BRIDGE_EXACT, 10);
	assert_nobody_sends(150);
}

/* A worker is born, reads what waited, and answers, before any reading has the socket. */
static void whom_readings_show_first_need_not_have_received(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "first");
	scene_frame("event", 450, 460);
	born(11, 115, 10, 115);
	scene_use(USE_QUERY, NEVER, "route", 120, NEVER, 11, TICKS(115));
	scene_frame("poll", 1000, 1001);
	scene_socket('+', "udp " HOST " 40000 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 10, OLD, 3);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	subject.responder = true;
	assert_nobody_receives(110);
}

/* The dispatcher receives and its helper answers. */
static void who_answers_need_not_be_who_received(void **state)
{
	(void)state;
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 110, NEVER, 11, OLD);
	scene_use(HANDS, NEVER, "receive", 101, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "send", 111, 101, 11, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	subject.responder = true;
	assert_nobody_receives(100);
	assert_string_equal(bridge_reason_name(v.reason), "ambiguous");
	assert_sender(110, BRIDGE_EXACT, 11);
	assert_nobody_receives(300);
}

static void of_too_many_hands_nobody_is_named(void **state)
{
	(void)state;
	scene_frame("event", 450, 460);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_use(HANDS, NEVER, "several", 90, 80, 10, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_sends(101);
}

/* The reading shows the one it was passed to, who did not send what was sent before. */
static void whom_readings_show_later_did_not_send_what_was_sent_before(void **state)
{
	(void)state;
	hand_on();
	scene_frame("poll", 1000, 1001);
	scene_process('+', 11, OLD, "second");
	scene_socket('+', "udp " HOST " 40000 " PEER " 53 1", 500);
	scene_holder('+', 500, 11, OLD, 3);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	assert_nobody_sends(101);
	assert_nobody_sends(300);
	assert_sender(1500, BRIDGE_EXACT, 11);
}

/* Readings at 300 and 500 have the socket of the one that looked up at 100, and at 2000 another
 * one goes the same way. */
static void use_way_again(bool is_closed)
{
	scene_frame("event", 150, 160);
	scene_use(USE_QUERY, NEVER, "route", 100, NEVER, 10, OLD);
	scene_frame("poll", 300, 301);
	scene_process('+', 10, OLD, "first");
	scene_socket('+', "udp " HOST " 40000 " PEER " 53 1", 500);
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("poll", 500, 501);
	scene_frame("event", 1000, 1010);
	if (is_closed)
		scene_say("closed ! 1 udp " HOST " 40000 " PEER " 53 0 0 %lld 0 0 0 0 0 0 0 0",
			  (long long)T(600));
	scene_frame("poll", 1500, 1501);
	if (is_closed) {
		scene_holder('-', 500, 10, OLD, 3);
		scene_socket('-', "udp " HOST " 40000 " PEER " 53 1", 500);
	}
	scene_frame("event", 2050, 2060);
	scene_use(USE_QUERY, NEVER, "route", 2000, 100, 11, OLD);
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
}

static void whom_its_own_look_up_and_readings_name_no_later_one_disputes(void **state)
{
	(void)state;
	use_way_again(false);
	assert_sender(101, BRIDGE_AHEAD, 10);
	assert_nobody_sends(400); /* the other may have had the socket too */
}

static void who_comes_after_the_close_disputes_nothing(void **state)
{
	(void)state;
	use_way_again(true);
	assert_sender(101, BRIDGE_AHEAD, 10);
	assert_sender(400, BRIDGE_EXACT, 10);
}

/* With the interface or its own address named, no way is looked up. */
static void to_a_group_a_look_up_does_not_tell_who_sends(void **state)
{
	static const char *const groups[] = {"224.0.0.251", "239.255.77.1", "255.255.255.255"};

	(void)state;
	scene_frame("event", 450, 460);
	for (size_t i = 0; i < 3; i++)
		scene_say("use ! 1 17 " HOST " 40000 %s 53 0 0 route %lld 0 \\N \\N 10 500 10",
			  groups[i], (long long)T(100));
	settle();
	ask_host(IPPROTO_UDP, 40000, 53);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(endpoint_parse(groups[i], &subject.remote.address), 0);
		assert_nobody_sends(101);
	}
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, judged_begin, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_ping_is_of_who_looked_up_its_way_just_before),
		FACT(a_ping_just_after_two_look_ups_is_nobodys),
		FACT(of_two_pings_at_once_the_length_tells),
		FACT(two_pings_of_one_length_at_once_are_nobodys),
		FACT(a_ping_of_a_call_that_goes_on_is_not_a_later_ones),
		FACT(a_look_up_without_an_end_may_be_of_any_length),
		FACT(an_end_across_what_is_missing_is_none),
		FACT(where_pings_were_too_many_to_be_told_nobody_is_named),
		FACT(who_had_ended_before_an_answer_has_it_not),
		FACT(a_told_echo_does_not_rest_on_the_raw_socket_that_was_read),
		FACT(a_connected_socket_that_was_passed_on_is_who_acts_next),
		FACT(who_has_had_it_for_long_may_read_what_comes),
		FACT(in_its_own_turn_a_process_is_sure),
		FACT(what_closes_at_another_address_is_another_socket),
		FACT(who_has_another_socket_of_the_port_is_no_rival),
		FACT(of_sockets_that_are_not_told_apart_all_users_are_rivals),
		FACT(after_its_close_a_port_is_in_other_hands),
		FACT(whom_its_own_look_up_and_readings_name_no_later_one_disputes),
		FACT(who_comes_after_the_close_disputes_nothing),
		FACT(a_use_after_the_close_says_nothing_of_before),
		FACT(who_had_ended_or_was_not_there_is_no_rival),
		FACT(who_answers_need_not_be_who_received),
		FACT(of_too_many_hands_nobody_is_named),
		FACT(what_waits_may_be_read_by_who_inherits_it),
		FACT(who_inherits_nothing_may_have_the_next_socket),
		FACT(who_inherits_nothing_may_be_handed_what_stays_open),
		FACT(of_two_with_one_pid_and_tick_either_is_a_rival),
		FACT(who_acted_before_its_fork_is_another_with_its_pid),
		FACT(who_ended_before_its_fork_is_another_with_its_pid),
		FACT(a_fork_stays_one_when_its_pid_comes_back),
		FACT(whom_readings_show_first_need_not_have_received),
		FACT(whom_readings_show_later_did_not_send_what_was_sent_before),
		FACT(to_a_group_a_look_up_does_not_tell_who_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
