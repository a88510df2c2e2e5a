/* test_rivals.c - facts about owners where several sockets or processes could have it. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

/* ------------------------------------------ who could have it at one time -- */

static void mapped_rows_take_ipv4_packets(void **state)
{
	(void)state;
	scene_socket('+', "tcp6 ::ffff:10.0.0.1 80 ::ffff:10.0.0.2 40000 1", 500);
	hold(500, 10, "java");
	settle();
	ask_server(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 10);
}

static void a_dual_stack_wildcard_takes_ipv4_only_if_nobody_else_does(void **state)
{
	(void)state;
	scene_socket('+', "udp6 :: 53 :: 0 7", 500);
	hold(500, 10, "six");
	scene_socket('+', ROW_DNS, 501);
	hold(501, 11, "four");
	scene_socket('+', "udp6 :: 54 :: 0 7", 502);
	hold(502, 12, "both");
	settle();
	ask_udp(53);
	assert_owner(500, BRIDGE_WILDCARD, 11);
	ask_udp(54);
	assert_owner(500, BRIDGE_WILDCARD, 12);
	ask(IPPROTO_UDP, "2001:db8::1", 53, "2001:db8::2", 9);
	assert_owner(500, BRIDGE_WILDCARD, 10);
}

static void an_ipv4_wildcard_never_takes_ipv6(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 501);
	hold(501, 11, "four");
	settle();
	ask(IPPROTO_UDP, "2001:db8::1", 53, "2001:db8::2", 9);
	assert_nobody(500, BRIDGE_GAP);
}

static void reuseport_groups_are_ambiguous(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	hold(500, 10, "dns");
	scene_socket('+', ROW_DNS, 501);
	hold(501, 11, "dns");
	scene_socket('+', ROW_LISTENER, 600);
	scene_holder('+', 600, 10, OLD, 6);
	scene_socket('+', ROW_LISTENER, 601);
	scene_holder('+', 601, 11, OLD, 6);
	settle();
	ask_udp(53);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
}

static void several_sockets_of_one_process_are_one_owner(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	hold(500, 10, "dns");
	scene_socket('+', ROW_DNS, 501);
	scene_holder('+', 501, 10, OLD, 6);
	settle();
	ask_udp(53);
	assert_owner(500, BRIDGE_WILDCARD, 10);
}

static void a_rival_without_known_holder_is_a_rival(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	hold(500, 10, "dns");
	scene_socket('+', ROW_DNS, 501); /* whose it is could not be read */
	settle();
	ask_udp(53);
	judge(T(500));
	assert_int_not_equal(v.reason, BRIDGE_OWNED);
}

static void preforked_listeners_are_ambiguous(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "nginx");
	scene_process('+', 11, TICKS(-100), "nginx");
	scene_holder('+', 500, 11, TICKS(-100), 5);
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
}

static void of_one_program_the_latest_started_has_the_connection(void **state)
{
	(void)state;
	scene_socket('+', ROW_ACCEPTED, 500);
	hold(500, 10, "sshd");
	scene_process('+', 11, TICKS(-100), "sshd");
	scene_holder('+', 500, 11, TICKS(-100), 5);
	scene_process('+', 9, TICKS(-50), "sshd"); /* pids wrap */
	scene_holder('+', 500, 9, TICKS(-50), 5);
	settle();
	ask_server(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 9);
	assert_int_equal(v.shared_by, 3);
}

static void a_child_of_another_program_that_inherited_never_wins(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "daemon");
	scene_process('+', 11, TICKS(-100), "helper");
	scene_holder('+', 500, 11, TICKS(-100), 5);
	settle();
	ask_client(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 10);
	assert_int_equal(v.shared_by, 2);
}

static void a_program_that_was_handed_it_as_standard_input_has_it(void **state)
{
	(void)state;
	scene_socket('+', ROW_ACCEPTED, 500);
	hold(500, 10, "inetd");
	scene_process('+', 11, TICKS(-100), "fingerd");
	for (uint32_t fd = 0; fd < 3; fd++)
		scene_holder('+', 500, 11, TICKS(-100), fd);
	settle();
	ask_server(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 11);
	assert_int_equal(v.shared_by, 2);
}

static void what_moved_between_two_readings_is_ambiguous_in_between(void **state)
{
	(void)state;
	scene_socket('+', ROW_ACCEPTED, 500);
	hold(500, 10, "master");
	scene_process('+', 11, OLD, "worker");
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_holder('-', 500, 10, OLD, 5);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 3000, 3001);
	settle();
	ask_server(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 10);
	assert_nobody(1500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
	assert_true(v.by_tuple);
	assert_owner(2500, BRIDGE_EXACT, 11);
}

static void who_gave_it_away_and_got_it_back_is_not_the_owner_meanwhile(void **state)
{
	(void)state;
	scene_socket('+', ROW_ACCEPTED, 500);
	hold(500, 10, "a");
	scene_process('+', 11, OLD, "b");
	scene_frame("poll", 1000, 1001);
	scene_holder('-', 500, 10, OLD, 5);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_holder('-', 500, 11, OLD, 5);
	scene_holder('+', 500, 10, OLD, 5);
	settle();
	ask_server(UNSEEN);
	assert_owner(1500, BRIDGE_EXACT, 11);
	assert_owner(3500, BRIDGE_EXACT, 10);
}

static void nobody_holds_what_was_in_flight(void **state)
{
	(void)state;
	scene_socket('+', ROW_ACCEPTED, 500);
	hold(500, 10, "a");
	scene_process('+', 11, OLD, "b");
	scene_frame("poll", 1000, 1001);
	scene_holder('-', 500, 10, OLD, 5);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_frame("poll", 4000, 4001);
	scene_holder('+', 500, 11, OLD, 5);
	settle();
	ask_server(UNSEEN);
	judge(T(1500));
	assert_false(v.reason == BRIDGE_OWNED && tl.processes[v.process].pid == 11);
	assert_owner(4500, BRIDGE_EXACT, 11);
}

static void who_started_later_cannot_have_sent_it(void **state)
{
	(void)state;
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	scene_process('+', 10, TICKS(600), "late");
	scene_holder('+', 500, 10, TICKS(600), 5);
	settle();
	ask_client(UNSEEN);
	subject.began_ns = T(400);
	judge(T(500));
	assert_int_not_equal(v.reason, BRIDGE_OWNED);
	judge(T(700)); /* nor connected: it has inherited the descriptor, or was given it */
	assert_int_not_equal(v.reason, BRIDGE_OWNED);
}

static void loopback_is_of_the_namespace_of_the_capture(void **state)
{
	(void)state;
	scene_address('+', 7, "127.0.0.1", 8);
	scene_socket_in('+', 1, "tcp 127.0.0.1 80 127.0.0.1 40000 1", 500);
	hold(500, 10, "host");
	scene_socket_in('+', 7, "tcp 127.0.0.1 80 127.0.0.1 40000 1", 501);
	hold(501, 11, "container");
	settle();
	ask(IPPROTO_TCP, "127.0.0.1", 80, "127.0.0.1", 40000);
	subject.responder = true;
	assert_owner(500, BRIDGE_EXACT, 10);
}

static void a_tuple_is_of_the_namespace_that_has_the_address(void **state)
{
	(void)state;
	scene_address('+', 7, "172.17.0.2", 16);
	scene_socket_in('+', 7, ROW_DNS, 500);
	hold(500, 10, "container");
	scene_socket_in('+', 1, ROW_DNS, 501);
	hold(501, 11, "host");
	settle();
	ask_udp(53);
	assert_owner(500, BRIDGE_WILDCARD, 11);
	ask(IPPROTO_UDP, "172.17.0.2", 53, PEER, 9);
	assert_owner(500, BRIDGE_WILDCARD, 10);
}

static void the_same_tuple_in_two_namespaces_with_the_address_is_ambiguous(void **state)
{
	(void)state;
	scene_address('+', 7, HOST, 24);
	scene_socket_in('+', 1, ROW_CLIENT, 500);
	hold(500, 10, "a");
	scene_socket_in('+', 7, ROW_CLIENT, 501);
	hold(501, 11, "b");
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
}

/* ------------------------------------------------------ one after another -- */

static void a_sighting_before_the_syn_is_another_connections(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_CLIENT, 500);
	settle();
	ask_client(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 10);
	subject.began_ns = T(600);
	assert_nobody(700, BRIDGE_GAP);
	assert_nobody(2000, BRIDGE_GAP);
}

static void the_next_connection_of_the_tuple_has_its_own_owner(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_CLIENT, 500);
	scene_socket('+', ROW_CLIENT, 501);
	hold(501, 11, "new");
	settle();
	ask_client(UNSEEN);
	subject.began_ns = T(600);
	assert_owner(700, BRIDGE_AHEAD, 11);
	subject.began_ns = UNSEEN;
	assert_nobody(700, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
}

static void a_listener_that_came_after_the_syn_accepted_nothing(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "old");
	scene_socket('+', ROW_OTHERS, 502);
	scene_holder('+', 502, 10, OLD, 6);
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('-', ROW_LISTENER, 500);
	scene_socket('+', ROW_LISTENER, 501);
	hold(501, 11, "new");
	scene_frame("poll", 3000, 3001);
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_owner(600, BRIDGE_LISTENER, 10);
	assert_owner(2500, BRIDGE_LISTENER, 10);
	assert_true(v.from_ns <= T(2500) && T(2500) < v.until_ns);
}

static void a_port_taken_over_is_ambiguous_between_the_readings(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	hold(500, 10, "old");
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('-', ROW_DNS, 500);
	scene_holder('-', 500, 10, OLD, 5);
	scene_socket('+', ROW_DNS, 501);
	scene_holder('+', 501, 11, OLD, 5);
	settle();
	ask_udp(53);
	assert_owner(900, BRIDGE_WILDCARD, 10);
	assert_nobody(1500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
	assert_owner(2500, BRIDGE_WILDCARD, 11);
}

static void a_connected_udp_port_taken_over_is_ambiguous_too(void **state)
{
	(void)state;
	scene_socket('+', "udp " HOST " 5000 " PEER " 9999 1", 500);
	hold(500, 10, "old");
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', "udp " HOST " 5000 " PEER " 9999 1", 500);
	scene_socket('+', "udp " HOST " 5000 " PEER " 9999 1", 501);
	scene_holder('+', 501, 11, OLD, 5);
	settle();
	ask_udp(5000);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_owner(1500, BRIDGE_EXACT, 11);
}

static void before_it_connected_another_may_have_had_the_port(void **state)
{
	(void)state;
	scene_socket('+', "udp 0.0.0.0 5000 0.0.0.0 0 7", 500);
	hold(500, 10, "old");
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', "udp 0.0.0.0 5000 0.0.0.0 0 7", 500);
	scene_socket('+', "udp " HOST " 5000 " PEER " 9999 1", 501);
	scene_holder('+', 501, 11, OLD, 5);
	settle();
	ask_udp(5000);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
}

static void a_socket_that_connects_is_the_same_owner_before(void **state)
{
	(void)state;
	scene_socket('+', "udp 0.0.0.0 5000 0.0.0.0 0 7", 500);
	hold(500, 10, "dig");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', "udp 0.0.0.0 5000 0.0.0.0 0 7", 500);
	scene_socket('+', "udp " HOST " 5000 " PEER " 9999 1", 500);
	settle();
	ask_udp(5000);
	assert_owner(500, BRIDGE_AHEAD, 10);
	assert_owner(1500, BRIDGE_EXACT, 10);
}

static void what_no_reading_brackets_is_not_claimed(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	hold(500, 10, "named");
	scene_frame("poll", 1000, 1001);
	settle_torn();
	ask_udp(53);
	assert_owner(1000, BRIDGE_WILDCARD, 10);
	assert_nobody(1002, BRIDGE_GAP);
}

static void exec_changes_the_image_not_the_process(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "bash");
	scene_frame("event", 500, 501);
	scene_process('~', 10, OLD, "curl");
	settle();
	ask_client(UNSEEN);
	assert_owner(400, BRIDGE_EXACT, 10);
	assert_string_equal(tl.images[v.image].comm, "bash");
	assert_int_equal(v.until_ns, T(500));
	assert_owner(600, BRIDGE_EXACT, 10);
	assert_string_equal(tl.images[v.image].comm, "curl");
	assert_int_equal(v.from_ns, T(500));
}

/* Long after the last row of a tuple, without a SYN in sight. */
static void behind_does_not_reach_past_complete_readings_without_the_tuple(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_CLIENT, 500);
	for (int i = 2; i < 10; i++)
		scene_frame("poll", i * 60000, i * 60000 + 1);
	settle();
	ask_client(UNSEEN);
	subject.first_ns = T(500000);
	assert_nobody(500000, BRIDGE_GAP);
}

/* The kernel tells of its close, and no reading ever had it. */
static void what_closed_in_between_may_have_been_the_one(void **state)
{
	(void)state;
	scene_frame("event", 600, 601);
	scene_say("closed ! 1 udp " HOST " 53 " PEER " 9999 0 7 %lld 0 0 0 0 0 0 0 0",
		  (long long)T(600));
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_DNS, 500);
	scene_process('+', 10, OLD, "dnsmasq");
	scene_holder('+', 500, 10, OLD, 4);
	settle();
	ask_udp(53);
	assert_nobody(500, BRIDGE_GAP);
	assert_true(asked_told(BRIDGE_WHY_CLOSED_BETWEEN));
	assert_owner(700, BRIDGE_WILDCARD, 10);
}

/* Between two readings a second apart it was set back by more than that. */
static void what_the_clock_passed_twice_is_nobodys_to_its_ends(void **state)
{
	(void)state;
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_DNS, 500);
	scene_process('+', 10, OLD, "dnsmasq");
	scene_holder('+', 500, 10, OLD, 4);
	scene_set_clock(-1100);
	scene_frame("poll", 900, 901);
	settle();
	ask_udp(53);
	assert_nobody(1400, BRIDGE_GAP); /* perhaps before the second reading */
	assert_nobody(600, BRIDGE_GAP);	 /* perhaps after the first */
	assert_owner(2200, BRIDGE_WILDCARD, 10);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, judged_begin, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(mapped_rows_take_ipv4_packets),
		FACT(a_dual_stack_wildcard_takes_ipv4_only_if_nobody_else_does),
		FACT(an_ipv4_wildcard_never_takes_ipv6),
		FACT(reuseport_groups_are_ambiguous),
		FACT(several_sockets_of_one_process_are_one_owner),
		FACT(a_rival_without_known_holder_is_a_rival),
		FACT(preforked_listeners_are_ambiguous),
		FACT(of_one_program_the_latest_started_has_the_connection),
		FACT(a_child_of_another_program_that_inherited_never_wins),
		FACT(a_program_that_was_handed_it_as_standard_input_has_it),
		FACT(what_moved_between_two_readings_is_ambiguous_in_between),
		FACT(who_gave_it_away_and_got_it_back_is_not_the_owner_meanwhile),
		FACT(nobody_holds_what_was_in_flight),
		FACT(who_started_later_cannot_have_sent_it),
		FACT(loopback_is_of_the_namespace_of_the_capture),
		FACT(a_tuple_is_of_the_namespace_that_has_the_address),
		FACT(the_same_tuple_in_two_namespaces_with_the_address_is_ambiguous),
		FACT(a_sighting_before_the_syn_is_another_connections),
		FACT(the_next_connection_of_the_tuple_has_its_own_owner),
		FACT(a_listener_that_came_after_the_syn_accepted_nothing),
		FACT(a_port_taken_over_is_ambiguous_between_the_readings),
		FACT(a_connected_udp_port_taken_over_is_ambiguous_too),
		FACT(before_it_connected_another_may_have_had_the_port),
		FACT(a_socket_that_connects_is_the_same_owner_before),
		FACT(what_no_reading_brackets_is_not_claimed),
		FACT(exec_changes_the_image_not_the_process),
		FACT(behind_does_not_reach_past_complete_readings_without_the_tuple),
		FACT(what_closed_in_between_may_have_been_the_one),
		FACT(what_the_clock_passed_twice_is_nobodys_to_its_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
