/* test_handed.c - facts about connections that go from hand to hand, where readings alone tell
 * of them: an heir, an acceptor, a pid that came back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

static void client_sends(int64_t began_ms)
{
	ask_client(began_ms);
	subject.sent = true;
}

static void server_sends(int64_t began_ms)
{
	ask_server(began_ms);
	subject.sent = true;
}

static void child(uint32_t pid, int64_t began_ms, uint32_t parent)
{
	scene_say("process + %u %llu %u 1000 a /bin/a a / 1 \\N \\N", pid,
		  (unsigned long long)TICKS(began_ms), parent);
}

/* --------------------------------------------------------------- heirs -- */

/* The SYN at 122 ms, in the tick from 120 on in which process 11 began. */
static void heir_of(uint32_t parent)
{
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	child(11, 120, parent);
	scene_holder('+', 500, 11, TICKS(120), 3);
}

static void an_heir_in_the_tick_of_the_syn_did_not_connect(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "a");
	heir_of(10);
	scene_process('-', 10, OLD, "a");
	settle();
	client_sends(122);
	assert_nobody(1500, BRIDGE_GAP);
	assert_true(v.refused);
	assert_nobody(500, BRIDGE_GAP);
}

static void an_heir_whose_parent_ended_before_it_was_seen_did_not_connect(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "a");
	scene_frame("event", 130, 140);
	scene_say("process - 10 %llu 0 1000 \\N \\N \\N \\N 0 0 %lld", (unsigned long long)OLD,
		  (long long)T(125));
	heir_of(10);
	settle();
	client_sends(122);
	assert_nobody(1500, BRIDGE_GAP);
	assert_true(asked_told(BRIDGE_WHY_MAY_BE_HEIR));
}

static void a_child_of_one_that_lives_connects_in_its_first_tick(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "sh");
	heir_of(10);
	settle();
	client_sends(122);
	assert_sender(1500, BRIDGE_EXACT, 11);
}

static void who_surely_began_before_the_syn_needs_no_parent(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "a");
	heir_of(10);
	scene_process('-', 10, OLD, "a");
	settle();
	client_sends(130);
	assert_sender(1500, BRIDGE_EXACT, 11);
}

/* ----------------------------------------------------------- acceptors -- */

static void acceptor(void)
{
	scene_process('+', 10, OLD, "acceptor");
	scene_process('+', 11, OLD, "worker");
	scene_socket('+', ROW_LISTENER, 400);
	scene_holder('+', 400, 10, OLD, 3);
}

/* Another connection of the port was seen in the worker's hands. */
static void hands_on(void)
{
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_OTHERS, 501);
	scene_holder('+', 501, 11, OLD, 5);
}

static void caught_once(void)
{
	scene_frame("poll", 2000, 2001);
	scene_socket('+', ROW_ACCEPTED, 502);
	scene_holder('+', 502, 10, OLD, 6);
	scene_frame("poll", 3000, 3001);
	scene_holder('-', 502, 10, OLD, 6);
	scene_socket('-', ROW_ACCEPTED, 502);
}

static void an_acceptor_that_was_caught_may_hand_on(void **state)
{
	(void)state;
	acceptor();
	hands_on();
	caught_once();
	settle();
	server_sends(1990);
	assert_nobody(1995, BRIDGE_AMBIGUOUS);
	assert_nobody(2500, BRIDGE_AMBIGUOUS);
	assert_int_equal(tl.processes[v.candidates[0].process].pid, 10);
}

static void an_acceptor_whose_children_serve_may_hand_on(void **state)
{
	(void)state;
	acceptor();
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_OTHERS, 501);
	child(12, 900, 10);
	scene_holder('+', 400, 12, TICKS(900), 3); /* it still has what it listened on */
	scene_holder('+', 501, 12, TICKS(900), 5);
	caught_once();
	settle();
	server_sends(1990);
	assert_nobody(2500, BRIDGE_AMBIGUOUS);
}

static void who_keeps_what_it_accepts_serves_it(void **state)
{
	(void)state;
	acceptor();
	hands_on();
	scene_frame("poll", 2000, 2001);
	scene_socket('+', ROW_ACCEPTED, 502);
	scene_holder('+', 502, 10, OLD, 6);
	scene_frame("poll", 3000, 3001);
	scene_frame("poll", 4000, 4001);
	scene_holder('-', 502, 10, OLD, 6);
	scene_socket('-', ROW_ACCEPTED, 502);
	settle();
	server_sends(1990);
	assert_sender(2500, BRIDGE_EXACT, 10);
}

static void workers_that_accept_themselves_serve_what_they_accept(void **state)
{
	(void)state;
	acceptor();
	scene_holder('+', 400, 11, OLD, 3);
	hands_on();
	caught_once();
	settle();
	server_sends(1990);
	assert_sender(2500, BRIDGE_EXACT, 10);
}

static void a_child_that_was_made_for_a_connection_serves_it(void **state)
{
	(void)state;
	acceptor();
	hands_on();
	scene_frame("poll", 2000, 2001);
	scene_socket('+', ROW_ACCEPTED, 502);
	child(12, 1980, 10);
	scene_holder('+', 400, 12, TICKS(1980), 3);
	scene_holder('+', 502, 12, TICKS(1980), 6);
	scene_frame("poll", 3000, 3001);
	scene_holder('-', 502, 12, TICKS(1980), 6);
	scene_socket('-', ROW_ACCEPTED, 502);
	settle();
	server_sends(1970);
	assert_sender(2500, BRIDGE_EXACT, 12);
}

/* ---------------------------------------------------------------- pids -- */

static void two_processes_of_one_pid_and_tick_are_not_told_apart(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_born(10, TICKS(120), 1, 121);
	scene_use(USE_CLIENT, 122, "connect", 122, SCENE_NEVER, 10, TICKS(120));
	scene_born(10, TICKS(120), 1, 127);
	settle();
	client_sends(122);
	assert_nobody(123, BRIDGE_GAP);
	assert_true(v.refused);
	assert_true(asked_told(BRIDGE_WHY_FORKED_TWICE));
}

static void a_fork_that_is_told_again_is_the_same(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_born(10, TICKS(120), 1, 121);
	scene_use(USE_CLIENT, 122, "connect", 122, SCENE_NEVER, 10, TICKS(120));
	scene_frame("event", 170, 180);
	/* Told again, after the clocks were compared anew. */
	scene_say("born ! 10 %llu 1 %lld", (unsigned long long)TICKS(120), (long long)T(121) + 5);
	settle();
	client_sends(122);
	assert_sender(123, BRIDGE_EXACT, 10);
}

static void a_fork_that_is_told_again_after_the_clock_was_set_is_the_same(void **state)
{
	(void)state;
	scene_frame("event", 120, 160);
	scene_born(10, TICKS(120), 1, 121);
	scene_frame("poll", 1000, 1001);
	scene_set_clock(3000);
	scene_frame("poll", 5000, 5001);
	scene_say("clock ! 3000000000 0");
	scene_frame("event", 9000, 9100);
	scene_born(10, TICKS(120), 1, 3121);
	scene_use(USE_CLIENT, 9022, "connect", 9022, SCENE_NEVER, 10, TICKS(120));
	settle_at(12000);
	ask_client(9022);
	assert_sender(9023, BRIDGE_EXACT, 10);
	assert_false(asked_told(BRIDGE_WHY_FORKED_TWICE));
}

/* ------------------------------------------------------------- forks -- */

static void owner_from_the_beginning(void)
{
	scene_process('+', 10, OLD, "a");
	scene_socket('+', ROW_CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 3);
}

/* By the last reading but that of the end; what it sends itself is asked for. */
static void a_child_of_the_owner_is_found(int64_t read_ms, int64_t began_ms)
{
	scene_frame("poll", read_ms, read_ms + 1);
	child(11, began_ms, 10);
	settle();
	client_sends(UNSEEN);
	subject.payload_bytes = 5;
}

static void until_the_next_reading_a_child_may_be_who_sends(void **state)
{
	(void)state;
	owner_from_the_beginning();
	a_child_of_the_owner_is_found(1000, 500);
	assert_sender(450, BRIDGE_EXACT, 10);
	assert_nobody(600, BRIDGE_GAP);
	assert_true(asked_told(BRIDGE_WHY_HAS_HEIR));
	assert_sender(1500, BRIDGE_EXACT, 10);
	/* The kernel sends what has no payload, for both. */
	subject.payload_bytes = 0;
	assert_sender(600, BRIDGE_EXACT, 10);
}

static void a_child_has_nothing_that_was_opened_after_it_began(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "a");
	scene_frame("poll", 1000, 1001);
	child(11, 500, 10);
	scene_socket('+', ROW_CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 3);
	settle();
	client_sends(550);
	subject.payload_bytes = 5;
	assert_sender(600, BRIDGE_AHEAD, 10);
}

static void a_look_up_finds_one_of_several_who_have_a_socket(void **state)
{
	(void)state;
	look_up(ROW_DNS);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_DNS, 501);
	scene_holder('+', 501, 10, OLD, 5);
	scene_holder('+', 501, 11, OLD, 5);
	settle();
	ask_host(17, 53, 40000);
	assert_nobody(700, BRIDGE_AMBIGUOUS);
	assert_int_equal(v.candidate_count, 2);
}

static void forks_after_a_reading_at_1005_ms(int64_t tick_ms)
{
	owner_from_the_beginning();
	scene_frame("poll", 1005, 1006);
	a_child_of_the_owner_is_found(2000, tick_ms);
	assert_nobody(1500, BRIDGE_GAP);
}

/* /proc has the tick in which a process began, which lasts for 10 ms. */
static void a_child_of_the_tick_of_a_reading_may_be_younger_than_it(void **state)
{
	(void)state;
	forks_after_a_reading_at_1005_ms(1000);
}

static void a_child_of_the_next_tick_is_younger_than_a_reading(void **state)
{
	(void)state;
	forks_after_a_reading_at_1005_ms(1010);
}

/* As who accepts and forks at once. */
static void a_child_of_the_tick_of_the_syn_may_be_younger_than_it(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "a");
	scene_frame("poll", 1000, 1001);
	child(11, 120, 10);
	scene_socket('+', ROW_CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 3);
	settle();
	client_sends(122);
	subject.payload_bytes = 5;
	assert_nobody(300, BRIDGE_GAP);
}

/* Packets may stand in another order in the file. */
static void who_forked_before_a_reading_is_no_answer_for_the_time_before_it(void **state)
{
	(void)state;
	owner_from_the_beginning();
	a_child_of_the_owner_is_found(1000, 500);
	assert_nobody(600, BRIDGE_GAP);
	assert_sender(1500, BRIDGE_EXACT, 10);
	assert_true(v.from_ns > T(600));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, judged_begin, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(an_heir_in_the_tick_of_the_syn_did_not_connect),
		FACT(an_heir_whose_parent_ended_before_it_was_seen_did_not_connect),
		FACT(a_child_of_one_that_lives_connects_in_its_first_tick),
		FACT(who_surely_began_before_the_syn_needs_no_parent),
		FACT(an_acceptor_that_was_caught_may_hand_on),
		FACT(an_acceptor_whose_children_serve_may_hand_on),
		FACT(who_keeps_what_it_accepts_serves_it),
		FACT(workers_that_accept_themselves_serve_what_they_accept),
		FACT(a_child_that_was_made_for_a_connection_serves_it),
		FACT(two_processes_of_one_pid_and_tick_are_not_told_apart),
		FACT(a_fork_that_is_told_again_is_the_same),
		FACT(a_fork_that_is_told_again_after_the_clock_was_set_is_the_same),
		FACT(until_the_next_reading_a_child_may_be_who_sends),
		FACT(a_child_has_nothing_that_was_opened_after_it_began),
		FACT(a_look_up_finds_one_of_several_who_have_a_socket),
		FACT(a_child_of_the_tick_of_a_reading_may_be_younger_than_it),
		FACT(a_child_of_the_next_tick_is_younger_than_a_reading),
		FACT(a_child_of_the_tick_of_the_syn_may_be_younger_than_it),
		FACT(who_forked_before_a_reading_is_no_answer_for_the_time_before_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
