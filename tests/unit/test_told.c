/* test_told.c - facts about owners of streams, by what the kernel told of uses. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

#define NONE  TIMELINE_NONE
#define NEVER SCENE_NEVER

static void who_connected_owns_it(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "curl");
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	settle();
	ask_client(101);
	assert_sender(101, BRIDGE_EXACT, 10);
	assert_receiver(140, BRIDGE_EXACT, 10);
	assert_string_equal(tl.images[v.image].comm, "curl");
	assert_int_equal(v.shared_by, 1);
	assert_true(v.by_tuple);
	assert_int_equal(tl.sockets[v.socket].opened_ns, T(100));
}

static void who_took_what_was_accepted_owns_it_from_the_syn_on(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "nginx");
	scene_use(USE_ACCEPTED, 102, "receive", 120, NEVER, 10, OLD);
	settle();
	ask_server(100);
	assert_receiver(100, BRIDGE_AHEAD, 10);
	assert_sender(121, BRIDGE_EXACT, 10);
}

/* What readings show of others who have the descriptor does not count. */
static void an_inherited_descriptor_makes_no_owner(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "curl");
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	scene_process('+', 11, TICKS(110), "sleep");
	scene_holder('+', 500, 11, TICKS(110), 3);
	settle();
	ask_client(101);
	assert_sender(105, BRIDGE_EXACT, 10);
	assert_sender(1500, BRIDGE_EXACT, 10);
	assert_int_equal(tl.sockets[v.socket].inode, 500); /* both are one socket */
}

/* Between the last use by one and the first by the other: what is sent was
 * written before, what is received is read after. */
static void a_passed_connection_changes_hands_in_time(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "front");
	scene_process('!', 11, OLD, "back");
	scene_use(USE_ACCEPTED, 102, "receive", 110, NEVER, 10, OLD);
	scene_use(USE_ACCEPTED, 102, "send", 140, 120, 11, OLD);
	settle();
	ask_server(100);
	assert_receiver(101, BRIDGE_AHEAD, 10);
	assert_receiver(115, BRIDGE_EXACT, 10);
	assert_sender(130, BRIDGE_EXACT, 10);
	assert_receiver(130, BRIDGE_AHEAD, 11);
	assert_int_equal(v.until_ns - v.from_ns, 1);
	assert_receiver(141, BRIDGE_EXACT, 11);
	assert_int_equal(v.shared_by, 2);
}

static void ask_bytes(int64_t offset_bytes, uint32_t payload_bytes)
{
	subject.offset_bytes = offset_bytes;
	subject.payload_bytes = payload_bytes;
}

/* What a call wrote may leave before the call is told, or long after. */
static void bytes_tell_whose_turn_it_was(void **state)
{
	static const char turn[] = "use ! 1 " USE_ACCEPTED " 0 %lld %s %lld %lld %u %u %u 500 %u";

	(void)state;
	scene_frame("event", 150, 160);
	scene_say(turn, (long long)T(102), "receive", (long long)T(110), 0LL, 0, 0, 10, 10);
	scene_say(turn, (long long)T(102), "send", (long long)T(140), (long long)T(120), 100, 50,
		  11, 11);
	settle();
	ask_server(100);
	ask_bytes(99, 1);
	assert_sender(150, BRIDGE_EXACT, 10);
	ask_bytes(100, 16);
	assert_sender(139, BRIDGE_EXACT, 11);
	ask_bytes(49, 1);
	assert_receiver(150, BRIDGE_EXACT, 10);
	ask_bytes(50, 1);
	assert_receiver(115, BRIDGE_EXACT, 11);
	ask_bytes(49, 2); /* of both */
	assert_nobody_receives(150);
	assert_string_equal(bridge_reason_name(v.reason), "ambiguous");
	assert_int_equal(v.candidate_count, 2);
	ask_bytes(-1, 1); /* in a segment without the SYN: the buffers may hold another's */
	assert_nobody_receives(115);
	assert_nobody_sends(139);
	assert_int_equal(v.until_ns - v.from_ns, 1);
	ask_bytes(-1, 0);
	assert_receiver(139, BRIDGE_AHEAD, 11);
}

/* After a gap the places are lost; those before it stand. */
static void a_turn_of_unknown_place_takes_nothing_from_those_before(void **state)
{
	static const char turn[] = "use ! 1 " USE_ACCEPTED " 0 %lld %s %lld %lld %s %s %u 500 %u";

	(void)state;
	scene_frame("event", 150, 160);
	scene_say(turn, (long long)T(102), "receive", (long long)T(110), 0LL, "0", "0", 10, 10);
	scene_say(turn, (long long)T(102), "send", (long long)T(140), (long long)T(120), "100",
		  "50", 11, 11);
	scene_say(turn, (long long)T(102), "send", (long long)T(150), 0LL, "\\N", "\\N", 11, 11);
	scene_say(turn, (long long)T(102), "send", (long long)T(160), 0LL, "\\N", "\\N", 12, 12);
	settle();
	ask_server(100);
	ask_bytes(99, 1);
	assert_sender(150, BRIDGE_EXACT, 10);
	ask_bytes(100, 16);
	assert_nobody_sends(139);
	assert_int_equal(v.candidate_count, 2);
	ask_bytes(99, 2);
	assert_nobody_sends(139);
}

/* What a rotation restates is the last turn; those before it are told elsewhere. */
static void a_turn_that_follows_another_takes_nothing_of_it(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_say("use ! 1 " USE_ACCEPTED " 0 %lld send %lld %lld 100 50 11 500 11",
		  (long long)T(102), (long long)T(140), (long long)T(120));
	settle();
	ask_server(100);
	ask_bytes(99, 1);
	assert_nobody_sends(150);
	ask_bytes(100, 1);
	assert_sender(139, BRIDGE_EXACT, 11);
	ask_bytes(-1, 0);
	assert_nobody_receives(119);
	assert_receiver(130, BRIDGE_AHEAD, 11);
	assert_sender(141, BRIDGE_EXACT, 11);
}

/* Over a gap in what was told, a reading may confirm a user and name no other one. */
static void who_only_inherited_is_not_named_by_readings_either(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_frame("event", 200, 300);
	scene_untold();
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	scene_process('+', 11, OLD, "sleep");
	scene_holder('+', 500, 11, OLD, 3);
	scene_frame("poll", 2000, 2001);
	scene_process('+', 10, OLD, "curl");
	scene_holder('+', 500, 10, OLD, 3);
	scene_holder('-', 500, 11, OLD, 3);
	settle();
	ask_client(101);
	assert_nobody_sends(1500);
	assert_sender(2500, BRIDGE_EXACT, 10);
}

static void who_began_after_the_syn_did_not_connect(void **state)
{
	(void)state;
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	scene_socket('+', ROW_ACCEPTED, 501);
	scene_process('+', 11, TICKS(120), "sleep");
	scene_holder('+', 500, 11, TICKS(120), 3);
	scene_holder('+', 501, 11, TICKS(120), 4);
	settle();
	ask_client(101);
	assert_nobody_sends(1500);
	subject.began_ns = T(131);
	assert_sender(1500, BRIDGE_EXACT, 11);
	ask_server(101); /* a server's child does take what it inherits */
	assert_sender(1500, BRIDGE_EXACT, 11);
}

static void after_too_many_turns_nothing_is_claimed(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_ACCEPTED, 102, "receive", 110, NEVER, 10, OLD);
	scene_use(USE_ACCEPTED, 102, "several", 140, 120, 11, OLD);
	settle();
	ask_server(100);
	assert_receiver(115, BRIDGE_EXACT, 10);
	assert_true(v.until_ns <= T(121));
	assert_nobody_receives(130);
	assert_nobody_sends(141);
}

static void without_a_syn_a_verdict_holds_until_the_next_opening(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "curl");
	scene_process('!', 11, OLD, "wget");
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_use(USE_CLIENT, 500, "connect", 500, NEVER, 11, OLD);
	settle();
	ask_host(IPPROTO_TCP, 40000, 80);
	assert_sender(200, BRIDGE_EXACT, 10);
	assert_true(v.until_ns <= T(500));
	assert_sender(600, BRIDGE_EXACT, 11);
	assert_true(v.from_ns > T(200) && v.from_ns <= T(500));
}

static void each_connection_of_a_tuple_has_its_own_user(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_CLIENT, 200, "connect", 200, NEVER, 11, OLD); /* in no order */
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_use(USE_CLIENT, 300, "connect", 300, NEVER, 12, OLD);
	scene_use(USE_ACCEPTED, 202, "send", 203, NEVER, 21, OLD);
	scene_use(USE_ACCEPTED, 102, "send", 103, NEVER, 20, OLD);
	settle();
	ask_client(101);
	assert_sender(150, BRIDGE_EXACT, 10);
	ask_client(201);
	assert_sender(250, BRIDGE_EXACT, 11);
	ask_client(301);
	assert_sender(350, BRIDGE_EXACT, 12);
	ask_server(101);
	assert_sender(150, BRIDGE_EXACT, 20);
	ask_server(201);
	assert_sender(250, BRIDGE_EXACT, 21);
	ask_host(IPPROTO_TCP, 40000, 80); /* in the middle of one */
	assert_sender(250, BRIDGE_EXACT, 11);
}

static void who_only_shut_it_is_not_its_user(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "inetd");
	scene_use(USE_ACCEPTED, 102, "shut", 140, NEVER, 10, OLD);
	settle();
	ask_server(100);
	assert_nobody_sends(141);
}

static void who_was_born_later_and_only_shut_it_may_have_inherited_it(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_born(11, TICKS(110), 10, 110);
	scene_use(USE_ACCEPTED, 102, "shut", 140, NEVER, 11, TICKS(110));
	settle();
	ask_server(100);
	assert_nobody_sends(141);
}

static void a_use_that_may_be_missing_makes_the_next_packets_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_frame("event", 200, 300);
	scene_untold();
	settle();
	ask_client(101);
	assert_sender(199, BRIDGE_EXACT, 10);
	assert_true(v.until_ns <= T(200));
	assert_nobody_sends(250);
	assert_nobody_sends(400);
}

static void a_use_that_may_be_missing_before_the_first_makes_it_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 110, 120);
	scene_untold();
	scene_frame("event", 150, 160);
	scene_use(USE_ACCEPTED, 102, "send", 140, NEVER, 10, OLD);
	settle();
	ask_server(100);
	assert_nobody_receives(101);
	assert_nobody_sends(141);
}

/* Each close is of the newest socket that was open by then. */
static void a_close_is_of_the_socket_that_was_open(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_use(USE_CLIENT, 200, "connect", 200, NEVER, 11, OLD);
	scene_say("closed ! 1 tcp " HOST " 40000 " PEER " 80 0 0 %lld 7 8 9 0 1 1 1 1",
		  (long long)T(150));
	settle();
	ask_client(101);
	assert_sender(150, BRIDGE_EXACT, 10);
	assert_int_equal(tl.sockets[v.socket].closed.bytes_sent, 9);
	ask_client(201);
	assert_sender(250, BRIDGE_EXACT, 11);
	assert_int_equal(tl.sockets[v.socket].closed.closed_ns, 0);
}

/* The same tuple in two namespaces, opened at one moment. */
static void namespaces_do_not_share_a_socket(void **state)
{
	(void)state;
	scene_address('+', 2, "10.9.9.9", 24);
	scene_frame("event", 150, 160);
	scene_say("use ! 2 " USE_CLIENT " 0 %lld connect %lld 0 \\N \\N 11 500 11",
		  (long long)T(100), (long long)T(100));
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	settle();
	ask_client(101);
	assert_sender(140, BRIDGE_EXACT, 10);
	assert_int_equal(v.shared_by, 1);
}

static void a_socket_of_another_namespace_is_another(void **state)
{
	(void)state;
	scene_address('+', 2, "10.9.9.9", 24);
	scene_frame("event", 150, 160);
	scene_say("use ! 2 " USE_CLIENT " 0 %lld connect %lld 0 \\N \\N 10 500 10",
		  (long long)T(100), (long long)T(100));
	settle();
	ask_client(101);
	assert_nobody_sends(140);
}

static void after_the_last_frame_of_a_torn_file_a_stream_is_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "front");
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	settle_torn();
	ask_client(101);
	assert_nobody_sends(150); /* who uses it by then may stand in what was torn off */
	assert_nobody_sends(9000);
}

static void after_the_last_frame_of_a_torn_file_the_next_connection_is_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "front");
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	settle_torn();
	ask_client(8000); /* another SYN of the tuple: its connect is not told */
	assert_nobody_sends(8001);
}

/* Who was handed a connection that another one only spliced from, and closed it. */
static void who_only_shut_it_may_have_been_handed_it(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 400);
	scene_process('+', 9, OLD, "acceptor");
	scene_holder('+', 400, 9, OLD, 3);
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "closer");
	scene_use(USE_ACCEPTED, 102, "shut", 140, NEVER, 10, OLD);
	settle();
	ask_server(100);
	assert_nobody_receives(110);
}

static void a_reading_that_does_not_know_the_latest_turn_names_nobody(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "sh");
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "sh");
	scene_frame("event", 1310, 1320);
	scene_process('!', 11, OLD, "sh");
	scene_use(USE_CLIENT, 100, "send", 1300, 1200, 11, OLD);
	settle();
	/* Its SYN stands in another segment: the place of the bytes is not known. */
	ask_host(IPPROTO_TCP, 40000, 80);
	subject.payload_bytes = 10;
	subject.offset_bytes = -1;
	assert_nobody_sends(1100);
	assert_nobody_sends(1250);
	assert_nobody_sends(1400);
	assert_true(asked_told(BRIDGE_WHY_SHARED));
}

static void a_connection_without_its_syn_is_not_the_one_before(void **state)
{
	(void)state;
	scene_frame("event", 550, 560);
	scene_process('!', 10, OLD, "curl");
	scene_process('!', 11, OLD, "wget");
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_use(USE_CLIENT, 500, "connect", 500, NEVER, 11, OLD);
	settle();
	ask_client(200); /* the last packet of the one before */
	subject.first_ns = T(501);
	assert_receiver(501, BRIDGE_EXACT, 11);
}

/* ----------------------------------------------------------- who they are -- */

/* The process that has the number for itself. */
static uint32_t process_of(uint32_t pid, uint64_t start_ticks)
{
	for (uint32_t i = 0; i < tl.count.processes; i++) {
		if (tl.processes[i].pid == pid && tl.processes[i].start_ticks == start_ticks)
			return tl.processes[i].same_as != NONE ? tl.processes[i].same_as : i;
	}
	return NONE;
}

static void a_told_start_may_be_one_too_high(void **state)
{
	uint32_t wget;

	(void)state;
	scene_frame("event", 150, 160);
	scene_process('!', 11, TICKS(100), "curl");
	scene_born(11, TICKS(110), 1, 109);
	scene_use(USE_CLIENT, 112, "connect", 112, NEVER, 11, TICKS(110));
	scene_frame("event", 160, 170);
	scene_born(12, TICKS(110), 1, 109);
	scene_process('!', 12, TICKS(110), "sh");
	scene_use("6 " HOST " 40001 " PEER " 80", 112, "connect", 112, NEVER, 12, TICKS(110));
	scene_process('!', 12, TICKS(100), "wget");
	scene_use("6 " HOST " 40002 " PEER " 80", 113, "connect", 113, NEVER, 12, TICKS(100));
	settle();
	assert_int_equal(process_of(11, TICKS(110)), process_of(11, TICKS(100)));
	wget = process_of(12, TICKS(100));
	assert_int_equal(process_of(12, TICKS(110)), wget);
	assert_int_equal(tl.uses[0].process, process_of(11, TICKS(100)));
	assert_int_equal(tl.uses[1].process, wget);
	assert_int_equal(tl.uses[2].process, wget);
	assert_int_equal(tl.processes[wget].born_ns, T(109));
	assert_string_equal(tl.images[tl.processes[wget].first_image].comm, "sh");
	assert_string_equal(tl.images[tl.processes[wget].last_image].comm, "wget");
}

static void a_pid_that_came_back_is_another_process(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_born(11, TICKS(110), 1, 112);
	scene_use(USE_CLIENT, 113, "connect", 113, NEVER, 11, TICKS(110));
	scene_process('!', 11, TICKS(100), "cat"); /* of another thread, written later */
	scene_say("process - 11 %llu 1 \\N \\N \\N \\N \\N \\N 0 %lld",
		  (unsigned long long)TICKS(100), (long long)T(108));
	scene_born(12, TICKS(110), 1, 112);
	scene_born(12, TICKS(100), 1, 104);
	settle();
	assert_int_not_equal(process_of(11, TICKS(110)), process_of(11, TICKS(100)));
	assert_int_not_equal(process_of(12, TICKS(110)), process_of(12, TICKS(100)));
}

/* The end of the one before stands later in the file than the use. */
static void a_pid_that_came_back_is_another_process_wherever_its_end_is_told(void **state)
{
	(void)state;
	scene_frame("event", 100, 101);
	scene_process('!', 11, TICKS(100), "sleep");
	scene_frame("event", 150, 160);
	scene_born(11, TICKS(110), 1, 112);
	scene_process('!', 11, TICKS(110), "curl");
	scene_use(USE_CLIENT, 113, "connect", 113, NEVER, 11, TICKS(110));
	scene_frame("event", 161, 170);
	scene_say("process - 11 %llu 1 \\N \\N \\N \\N \\N \\N 9 %lld",
		  (unsigned long long)TICKS(100), (long long)T(108));
	settle();
	ask_client(114);
	assert_sender(115, BRIDGE_EXACT, 11);
	assert_string_equal(tl.images[v.image].comm, "curl");
	assert_int_equal(tl.processes[v.process].start_ticks, TICKS(110));
}

/* An image after an exec: verdicts end where it begins. */
static void a_program_executed_in_between_is_another_image(void **state)
{
	(void)state;
	scene_process('+', 10, OLD, "sh");
	scene_frame("event", 150, 160);
	scene_use(USE_CLIENT, 100, "connect", 100, NEVER, 10, OLD);
	scene_frame("event", 300, 301);
	scene_process('!', 10, OLD, "nc");
	settle();
	ask_client(101);
	assert_sender(200, BRIDGE_EXACT, 10);
	assert_string_equal(tl.images[v.image].comm, "sh");
	assert_true(v.until_ns <= T(301));
	assert_sender(400, BRIDGE_EXACT, 10);
	assert_string_equal(tl.images[v.image].comm, "nc");
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, judged_begin, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(after_the_last_frame_of_a_torn_file_a_stream_is_nobodys),
		FACT(after_the_last_frame_of_a_torn_file_the_next_connection_is_nobodys),
		FACT(who_only_shut_it_may_have_been_handed_it),
		FACT(a_program_executed_in_between_is_another_image),
		FACT(a_pid_that_came_back_is_another_process_wherever_its_end_is_told),
		FACT(who_connected_owns_it),
		FACT(who_took_what_was_accepted_owns_it_from_the_syn_on),
		FACT(an_inherited_descriptor_makes_no_owner),
		FACT(a_passed_connection_changes_hands_in_time),
		FACT(bytes_tell_whose_turn_it_was),
		FACT(a_turn_of_unknown_place_takes_nothing_from_those_before),
		FACT(a_turn_that_follows_another_takes_nothing_of_it),
		FACT(who_only_inherited_is_not_named_by_readings_either),
		FACT(who_began_after_the_syn_did_not_connect),
		FACT(after_too_many_turns_nothing_is_claimed),
		FACT(each_connection_of_a_tuple_has_its_own_user),
		FACT(without_a_syn_a_verdict_holds_until_the_next_opening),
		FACT(who_only_shut_it_is_not_its_user),
		FACT(who_was_born_later_and_only_shut_it_may_have_inherited_it),
		FACT(a_use_that_may_be_missing_makes_the_next_packets_nobodys),
		FACT(a_use_that_may_be_missing_before_the_first_makes_it_nobodys),
		FACT(a_close_is_of_the_socket_that_was_open),
		FACT(namespaces_do_not_share_a_socket),
		FACT(a_socket_of_another_namespace_is_another),
		FACT(a_told_start_may_be_one_too_high),
		FACT(a_pid_that_came_back_is_another_process),
		FACT(a_reading_that_does_not_know_the_latest_turn_names_nobody),
		FACT(a_connection_without_its_syn_is_not_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
