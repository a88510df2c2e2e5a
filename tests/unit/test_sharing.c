/* test_sharing.c - facts about owners where several processes use one connection at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

/* The kernel tells for 300 ms. */
static int begin(void **state)
{
	judged_begin(state);
	scene_frame("event", 100, 400);
	return 0;
}

/* A turn of the connection that was opened at T(100); bytes below 0: not known. */
static void turn(const char *act, int64_t at_ms, int64_t previous_ms, int sent, int received,
		 uint32_t pid, uint64_t start_ticks)
{
	char places[2][24] = {"\\N", "\\N"};

	if (sent >= 0)
		snprintf(places[0], sizeof(places[0]), "%d", sent);
	if (received >= 0)
		snprintf(places[1], sizeof(places[1]), "%d", received);
	scene_say("use ! 1 " USE_CLIENT " 0 %lld %s %lld %lld %s %s %u %llu %u", (long long)T(100),
		  act, (long long)T(at_ms), previous_ms == 0 ? 0LL : (long long)T(previous_ms),
		  places[0], places[1], pid, (unsigned long long)start_ticks, pid);
}

/* Readings have the last one alone. */
static void settle_with(uint32_t pid)
{
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	scene_process('+', pid, OLD, "last");
	scene_holder('+', 500, pid, OLD, 3);
	settle();
	ask_client(101);
	subject.payload_bytes = 1;
}

static void ask_bytes(bool sent, int64_t offset_bytes)
{
	subject.sent = sent;
	subject.offset_bytes = offset_bytes;
}

static void assert_bytes(int64_t ms, bool sent, int64_t offset_bytes, uint32_t pid)
{
	ask_bytes(sent, offset_bytes);
	assert_owner(ms, BRIDGE_EXACT, pid);
}

static void assert_ambiguous(int64_t ms, bool sent, int64_t offset_bytes)
{
	ask_bytes(sent, offset_bytes);
	assert_nobody(ms, BRIDGE_AMBIGUOUS);
	assert_int_equal(v.candidate_count, 2);
}

/* Calls of both may have overlapped. */
static void bytes_of_two_that_send_in_turn_are_of_either(void **state)
{
	(void)state;
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("send", 150, 140, 100, 0, 11, OLD);
	turn("send", 180, 170, 200, 0, 10, OLD);
	settle_with(11);
	assert_ambiguous(120, true, 50);
	assert_ambiguous(160, true, 150);
	assert_ambiguous(200, true, 250);
	assert_true(asked_told(BRIDGE_WHY_AT_ONCE));
	assert_bytes(200, false, 50, 10); /* nobody else received */
}

static void who_was_not_born_yet_sent_nothing(void **state)
{
	(void)state;
	scene_born(11, TICKS(130), 10, 130);
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("send", 150, 140, 100, 0, 11, TICKS(130));
	turn("send", 180, 170, 200, 0, 10, OLD);
	settle_with(11);
	assert_bytes(120, true, 50, 10);
	assert_ambiguous(135, true, 50);
	assert_ambiguous(160, true, 150);
}

static void one_that_reads_and_one_that_writes_do_not_share(void **state)
{
	(void)state;
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("receive", 150, 140, 100, 0, 11, OLD);
	turn("send", 180, 170, 100, 70, 10, OLD);
	turn("receive", 220, 200, 250, 70, 11, OLD);
	turn("send", 250, 230, 250, 90, 10, OLD);
	settle_with(11);
	assert_bytes(120, true, 50, 10);
	assert_bytes(190, true, 150, 10);
	assert_bytes(260, true, 250, 10);
	assert_bytes(145, false, 60, 11);
	assert_bytes(205, false, 80, 11);
}

static void who_hands_it_over_owns_what_it_sent(void **state)
{
	(void)state;
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("send", 150, 140, 100, 0, 11, OLD);
	settle_with(11);
	assert_bytes(120, true, 50, 10);
	assert_bytes(145, true, 100, 11);
	assert_bytes(160, true, 150, 11);
}

static void who_goes_on_after_a_child_got_it_shares_it(void **state)
{
	(void)state;
	scene_born(11, TICKS(120), 10, 120);
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("send", 150, 130, 100, 0, 11, TICKS(120));
	settle_with(11);
	assert_bytes(115, true, 50, 10);
	assert_ambiguous(125, true, 50);
	assert_ambiguous(160, true, 150);
}

static void who_stops_before_a_child_gets_it_does_not_share_it(void **state)
{
	(void)state;
	scene_born(11, TICKS(120), 10, 120);
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("send", 150, 115, 100, 0, 11, TICKS(120));
	settle_with(11);
	assert_bytes(125, true, 50, 10);
	assert_bytes(160, true, 150, 11);
}

/* Its bytes were on the way before the call of the one before it had ended. */
static void who_begins_before_the_last_call_has_ended_shares_it(void **state)
{
	(void)state;
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("send", 150, 140, 100, 0, 11, OLD);
	settle_with(11);
	assert_ambiguous(139, true, 120);
}

/* Who has the descriptor by readings did not move all that several did. */
static void after_too_many_turns_no_holder_is_named(void **state)
{
	(void)state;
	turn("send", 110, 0, 0, 0, 10, OLD);
	turn("several", 150, 140, 100, 0, 11, OLD);
	settle_with(11);
	assert_bytes(120, true, 50, 10);
	assert_ambiguous(1500, true, 150);
	assert_ambiguous(1500, true, -1);
	subject.payload_bytes = 0;
	assert_ambiguous(1500, true, 150);
}

static void bytes_of_unknown_place_are_no_holders(void **state)
{
	(void)state;
	turn("send", 110, 0, -1, -1, 10, OLD);
	turn("send", 150, 140, -1, -1, 11, OLD);
	settle_with(11);
	assert_ambiguous(1500, true, 150);
	assert_ambiguous(1500, false, -1);
}

/* Of MPTCP only the connect() is told; who sends is seen at another socket. */
static void what_is_not_told_of_a_stream_makes_no_owner(void **state)
{
	(void)state;
	turn("connect", 100, 0, 0, 0, 10, OLD);
	settle_with(11);
	assert_bytes(1500, true, 50, 10);
	ask_bytes(true, 50);
	subject.untold = true;
	judge(T(1500));
	assert_int_not_equal(v.reason, BRIDGE_OWNED);
	judge(T(200));
	assert_int_not_equal(v.reason, BRIDGE_OWNED);
	assert_true(asked_told(BRIDGE_WHY_MULTIPATH));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(bytes_of_two_that_send_in_turn_are_of_either),
		FACT(who_was_not_born_yet_sent_nothing),
		FACT(one_that_reads_and_one_that_writes_do_not_share),
		FACT(who_hands_it_over_owns_what_it_sent),
		FACT(who_goes_on_after_a_child_got_it_shares_it),
		FACT(who_stops_before_a_child_gets_it_does_not_share_it),
		FACT(who_begins_before_the_last_call_has_ended_shares_it),
		FACT(after_too_many_turns_no_holder_is_named),
		FACT(what_is_not_told_of_a_stream_makes_no_owner),
		FACT(bytes_of_unknown_place_are_no_holders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
