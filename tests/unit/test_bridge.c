/* test_bridge.c - facts about the join: each rule, each reason. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

/* ------------------------------------------------------------------ rules -- */

static void exact_in_the_current_snapshot(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "curl");
	scene_frame("poll", 1000, 1001);
	settle();
	ask_client(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 10);
	assert_true(v.by_tuple);
	assert_int_equal(v.shared_by, 1);
	assert_int_equal(v.frame, 0);
	assert_string_equal(tl.images[v.image].exe, "/bin/curl");
	assert_int_equal(bridge_distance(&bridge, &v, T(500)), 499000000);
	assert_owner(1500, BRIDGE_EXACT, 10);
	assert_int_equal(v.frame, 1);
	assert_int_equal(bridge_distance(&bridge, &v, T(1500)), 499000000);
}

static void ahead_of_the_first_sighting(void **state)
{
	(void)state;
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "curl");
	settle();
	ask_client(UNSEEN);
	subject.began_ns = T(400);
	assert_owner(400, BRIDGE_AHEAD, 10);
	assert_int_equal(bridge_distance(&bridge, &v, T(400)), 601000000);
	assert_int_equal(v.frame, 1);
	assert_owner(1001, BRIDGE_EXACT, 10);
}

static void behind_the_last_sighting(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	hold(500, 10, "curl");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_CLIENT, 500);
	scene_holder('-', 500, 10, OLD, 5);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 6", 0); /* TIME_WAIT */
	scene_frame("poll", 2000, 2001);
	settle();
	ask_client(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 10);
	assert_owner(1500, BRIDGE_BEHIND, 10);
	assert_int_equal(v.frame, 0);
	assert_int_equal(bridge_distance(&bridge, &v, T(1501)), 1500000000);
}

static void bound_to_the_address(void **state)
{
	(void)state;
	scene_socket('+', "udp " HOST " 53 0.0.0.0 0 7", 500);
	hold(500, 10, "named");
	scene_socket('+', ROW_DNS, 501); /* another's wildcard on the same port */
	hold(501, 11, "dnsmasq");
	settle();
	ask_udp(53);
	assert_owner(500, BRIDGE_BOUND, 10);
	ask(IPPROTO_UDP, "127.0.0.1", 53, "127.0.0.1", 9999);
	assert_owner(500, BRIDGE_WILDCARD, 11);
}

static void wildcard_on_the_port(void **state)
{
	(void)state;
	scene_socket('+', ROW_DNS, 500);
	hold(500, 10, "named");
	settle();
	ask_udp(53);
	assert_owner(500, BRIDGE_WILDCARD, 10);
	assert_false(v.by_tuple);
	ask_udp(54);
	assert_nobody(500, BRIDGE_GAP);
}

static void an_unconnected_socket_is_ahead_too(void **state)
{
	(void)state;
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', ROW_DNS, 500);
	hold(500, 10, "named");
	settle();
	ask_udp(53);
	assert_owner(1500, BRIDGE_WILDCARD, 10);
	assert_nobody(999, BRIDGE_GAP); /* the poll that began at 1000 had it not */
}

static void listener_for_what_comes_in(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "nginx");
	scene_socket('+', ROW_OTHERS, 502);
	scene_holder('+', 502, 10, OLD, 6);
	settle();
	ask_server(UNSEEN);
	assert_nobody(500, BRIDGE_GAP); /* who listened when it began is not known */
	subject.began_ns = T(500);
	assert_owner(500, BRIDGE_LISTENER, 10);
	subject.responder = false; /* one's own connection from port 80 is no listener's */
	assert_nobody(500, BRIDGE_GAP);
}

/* It may hand on what it accepts: no connection was seen in its hands. */
static void a_listener_that_was_not_seen_to_serve_is_a_candidate(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "inetd");
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_int_equal(v.candidate_count, 1);
	assert_int_equal(tl.processes[v.candidates[0].process].pid, 10);
}

/* 10 listens, and a look-up at 600 finds it with a connection. */
static void serve_once(void)
{
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "nginx");
	scene_process('+', 11, OLD, "worker");
	scene_frame("event", 600, 601);
	scene_socket('!', ROW_OTHERS, 502);
	scene_holder('!', 502, 10, OLD, 6);
}

static void ask_unseen_of(int64_t ms)
{
	ask_server(UNSEEN);
	subject.began_ns = T(ms);
}

/* That it was caught with one may be before it hands it on. */
static void who_was_once_seen_with_a_connection_need_not_serve(void **state)
{
	(void)state;
	serve_once();
	scene_frame("poll", 1000, 1001);
	settle();
	ask_unseen_of(700);
	assert_nobody(700, BRIDGE_AMBIGUOUS);
}

static void who_was_seen_with_two_connections_serves(void **state)
{
	(void)state;
	serve_once();
	scene_frame("event", 900, 901);
	scene_socket('!', ROW_THIRD, 503);
	scene_holder('!', 503, 10, OLD, 6);
	scene_frame("poll", 1000, 1001);
	settle();
	ask_unseen_of(700);
	assert_owner(700, BRIDGE_LISTENER, 10);
}

/* Readings that begin after the one behind a packet say nothing of it, for or against. */
static void what_shows_much_later_counts_not(void **state)
{
	(void)state;
	serve_once();
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', ROW_THIRD, 503);
	scene_holder('+', 503, 10, OLD, 6);
	scene_frame("poll", 3000, 3001);
	scene_frame("poll", 4000, 4001);
	scene_socket('+', "tcp " HOST " 80 " PEER " 50003 1", 504);
	scene_holder('+', 504, 11, OLD, 6);
	settle();
	ask_unseen_of(700);
	assert_nobody(700, BRIDGE_AMBIGUOUS);
	ask_unseen_of(1500);
	assert_owner(1500, BRIDGE_LISTENER, 10);
	ask_unseen_of(2500);
	assert_owner(2500, BRIDGE_LISTENER, 10);
	ask_unseen_of(3500);
	assert_nobody(3500, BRIDGE_AMBIGUOUS); /* another one serves too */
}

/* Of a socket that connects from the port what a process did counts before it is known that it is
 * one of the port's connections; another one had one first. */
static void only_the_first_one_serves(void **state)
{
	(void)state;
	scene_process('+', 9, OLD, "first");
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "nginx");
	scene_socket('+', "tcp " HOST " 80 0.0.0.0 0 7", 502);
	scene_holder('+', 502, 10, OLD, 6);
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('-', "tcp " HOST " 80 0.0.0.0 0 7", 502);
	scene_socket('+', ROW_OTHERS, 502);
	scene_socket('+', ROW_THIRD, 503);
	scene_holder('+', 503, 9, OLD, 6);
	scene_frame("poll", 3000, 3001);
	settle();
	ask_unseen_of(500);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
}

static void a_listener_whose_children_serve_is_a_candidate(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "sshd");
	scene_socket('+', ROW_OTHERS, 502);
	hold(502, 11, "sshd");
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
}

/* Its first known holder was there before, and never listened: it was passed. */
static void before_a_descriptor_was_passed_it_was_anothers(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "acceptor");
	scene_process('+', 11, OLD, "worker");
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_ACCEPTED, 501);
	scene_holder('+', 501, 11, OLD, 5);
	scene_frame("poll", 2000, 2001);
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_nobody(600, BRIDGE_AMBIGUOUS);
	assert_owner(1500, BRIDGE_EXACT, 11);
}

/* One of some ten thousand rows is missed, and a port that nobody has looks the same. */
static void a_listener_that_one_reading_has_not_may_listen_still(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_LISTENER, 500);
	scene_holder('-', 500, 10, OLD, 5);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_socket('+', ROW_LISTENER, 501);
	hold(501, 11, "new");
	scene_socket('+', ROW_OTHERS, 502);
	scene_holder('+', 502, 11, OLD, 6);
	scene_socket('+', ROW_THIRD, 503);
	scene_holder('+', 503, 11, OLD, 7);
	settle();
	ask_server(1500);
	assert_nobody(1500, BRIDGE_GAP); /* the next reading has neither */
	ask_server(2500);
	assert_owner(2500, BRIDGE_LISTENER, 11);
}

static void the_next_listener_is_not_sure_until_two_readings_had_not_the_one_before(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_LISTENER, 500);
	scene_holder('-', 500, 10, OLD, 5);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', ROW_LISTENER, 501);
	hold(501, 11, "new");
	scene_socket('+', ROW_OTHERS, 502);
	scene_holder('+', 502, 11, OLD, 6);
	settle();
	ask_server(1500);
	assert_nobody(1500, BRIDGE_AMBIGUOUS);
	assert_candidates(11, 10);
	ask_server(2500);
	assert_owner(2500, BRIDGE_LISTENER, 11);
}

/* A look-up caught it in the first one's hands, before or after the packet. */
static void what_was_handed_on_as_it_was_first_seen_is_not_surely_the_first_ones(void **state)
{
	(void)state;
	look_up(ROW_CLIENT);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ROW_CLIENT, 501);
	scene_holder('+', 501, 11, OLD, 5);
	settle();
	ask_client(400);
	assert_owner(500, BRIDGE_AHEAD, 10);
	assert_nobody(505, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
}

/* The long reading began before the connection, and is written after the look-up. */
static void a_look_up_tells_when_a_row_of_a_long_reading_was_there(void **state)
{
	(void)state;
	scene_frame("event", 500, 501);
	scene_socket('!', ROW_CLIENT, 501);
	scene_process('!', 10, OLD, "curl");
	scene_holder('!', 501, 10, OLD, 5);
	scene_frame("poll", 300, 600);
	scene_socket('+', ROW_CLIENT, 501);
	hold(501, 10, "curl");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', ROW_CLIENT, 501);
	scene_holder('-', 501, 10, OLD, 5);
	settle();
	ask_client(499);
	assert_owner(499, BRIDGE_AHEAD, 10);
	ask_client(502);
	assert_nobody(502, BRIDGE_GAP);
}

/* The reading in between found it in nobody's hands: it went from one to the other meanwhile. */
static void what_a_reading_found_in_nobodys_hands_had_been_handed_on(void **state)
{
	(void)state;
	look_up(ROW_CLIENT);
	scene_frame("poll", 1000, 1100);
	scene_socket('+', ROW_CLIENT, 501);
	scene_frame("poll", 2000, 2001);
	scene_holder('+', 501, 11, OLD, 5);
	settle();
	ask_client(400);
	assert_owner(600, BRIDGE_EXACT, 10);
	assert_nobody(1050, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
	assert_owner(1500, BRIDGE_AHEAD, 11);
}

static void the_accepted_socket_is_better_than_the_listener(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "nginx");
	hold(500, 11, "nginx");
	scene_frame("event", 500, 501);
	scene_socket('+', ROW_ACCEPTED, 501);
	scene_holder('+', 501, 11, OLD, 6);
	scene_frame("poll", 1000, 1001);
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(499);
	assert_owner(499, BRIDGE_AHEAD, 11);
	assert_owner(800, BRIDGE_EXACT, 11);
}

static void a_connection_not_accepted_yet_is_the_listeners(void **state)
{
	(void)state;
	scene_socket('+', ROW_LISTENER, 500);
	hold(500, 10, "nginx");
	scene_socket('+', ROW_ACCEPTED, 0);
	scene_socket('+', ROW_OTHERS, 502);
	scene_holder('+', 502, 10, OLD, 6);
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_owner(500, BRIDGE_LISTENER, 10);
}

static void echo_belongs_to_the_ping_socket_of_its_ident(void **state)
{
	(void)state;
	scene_socket('+', "icmp 0.0.0.0 77 0.0.0.0 0 7", 500);
	hold(500, 10, "ping");
	scene_socket('+', "icmp 0.0.0.0 78 0.0.0.0 0 7", 501);
	hold(501, 11, "ping");
	settle();
	ask_host(IPPROTO_ICMP, 77, 0);
	subject.icmp_query = true;
	assert_owner(500, BRIDGE_QUOTED, 10);
	subject.responder = true; /* the kernel answers */
	assert_nobody(500, BRIDGE_NO_SOCKET);
}

static void two_raw_sockets_cannot_be_told_apart(void **state)
{
	(void)state;
	scene_socket('+', "raw 0.0.0.0 1 0.0.0.0 0 7", 500);
	hold(500, 10, "ping");
	scene_socket('+', "raw 0.0.0.0 1 0.0.0.0 0 7", 501);
	hold(501, 11, "fping");
	settle();
	ask_host(IPPROTO_ICMP, 77, 0);
	subject.icmp_query = true;
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
}

static void other_protocols_belong_to_their_raw_socket(void **state)
{
	(void)state;
	scene_socket('+', "raw 0.0.0.0 89 0.0.0.0 0 7", 500);
	hold(500, 10, "ospfd");
	settle();
	ask_host(89, 0, 0);
	assert_owner(500, BRIDGE_WILDCARD, 10);
	ask_host(47, 0, 0);
	assert_nobody(500, BRIDGE_NO_SOCKET);
}

/* ---------------------------------------------------------------- reasons -- */

static void locality_tells_forwarded_groups_and_the_unknown(void **state)
{
	struct packet p = {.time_ns = T(500)};
	bool local[2], group;

	(void)state;
	settle();
	assert_int_equal(endpoint_parse("192.0.2.1", &p.source.address), 0);
	assert_int_equal(endpoint_parse("192.0.2.2", &p.destination.address), 0);
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_PLACE_FORWARDED);
	assert_int_equal(endpoint_parse("224.0.0.251", &p.destination.address), 0);
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_PLACE_GROUP);
	assert_true(group && local[1] && !local[0]);
	assert_int_equal(endpoint_parse("10.0.0.255", &p.destination.address), 0);
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_PLACE_GROUP);
	assert_int_equal(endpoint_parse(HOST, &p.source.address), 0);
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_LOCAL);
	assert_true(group && local[0] && !local[1]);
	assert_int_equal(endpoint_parse(HOST, &p.destination.address), 0);
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_LOCAL);
	assert_true(local[0] && local[1] && !group);
	assert_int_equal(endpoint_parse("127.0.0.1", &p.source.address), 0);
	assert_int_equal(endpoint_parse("127.0.0.1", &p.destination.address), 0);
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_LOCAL);
	assert_true(local[0] && local[1]);
}

static void without_addresses_the_link_layer_tells(void **state)
{
	struct packet p = {.time_ns = T(500), .direction = DECODE_OUTGOING};
	bool local[2], group;

	(void)state;
	scene_frame("key", 0, 1);
	settle();
	assert_int_equal(endpoint_parse("192.0.2.1", &p.source.address), 0);
	assert_int_equal(endpoint_parse("192.0.2.2", &p.destination.address), 0);
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_LOCAL);
	assert_true(local[0] && !local[1]);
	p.direction = DECODE_TO_US;
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_LOCAL);
	assert_true(!local[0] && local[1]);
	p.direction = DECODE_NO_DIRECTION;
	assert_int_equal(bridge_locality(&bridge, &p, local, &group), BRIDGE_PLACE_UNKNOWN);
}

static void a_group_with_several_receivers_is_multicast(void **state)
{
	(void)state;
	scene_socket('+', "udp 0.0.0.0 5353 0.0.0.0 0 7", 500);
	hold(500, 10, "avahi");
	scene_socket('+', "udp 0.0.0.0 5353 0.0.0.0 0 7", 501);
	hold(501, 11, "chrome");
	settle();
	ask(IPPROTO_UDP, "224.0.0.251", 5353, PEER, 5353);
	subject.group = true;
	assert_nobody(500, BRIDGE_MULTICAST);
	assert_candidates(10, 11);
	subject.local.port = 5354;
	assert_nobody(500, BRIDGE_MULTICAST);
	assert_int_equal(v.candidate_count, 0);
}

/* Every matching socket gets a copy, however it is bound. */
static void a_group_does_not_choose_the_better_bound_receiver(void **state)
{
	(void)state;
	scene_socket('+', "udp 224.0.0.251 5353 0.0.0.0 0 7", 500);
	hold(500, 10, "avahi");
	scene_socket('+', "udp 0.0.0.0 5353 0.0.0.0 0 7", 501);
	hold(501, 11, "chrome");
	settle();
	ask(IPPROTO_UDP, "224.0.0.251", 5353, PEER, 5353);
	subject.group = true;
	assert_nobody(500, BRIDGE_MULTICAST);
	assert_candidates(10, 11);
}

static void a_socket_that_nobody_has_open(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_NO_HOLDER);
	assert_true(v.by_tuple);
}

static void rows_without_inode_only_have_no_holder(void **state)
{
	(void)state;
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 6", 0);
	scene_holder('+', 0, 10, OLD, 3); /* must lead nowhere */
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_NO_HOLDER);
}

static void what_could_not_be_read_is_said(void **state)
{
	(void)state;
	scene_socket('+', ROW_CLIENT, 500);
	scene_say("absent + descriptors 0 10  EACCES");
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_UNREADABLE);
}

static void without_snapshots_all_is_gap(void **state)
{
	const struct serving nothing = {0};

	(void)state;
	timeline_init(&tl);
	assert_int_equal(bridge_init(&bridge, &tl, &nothing), 0);
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_GAP);
	assert_true(v.from_ns == INT64_MIN && v.until_ns == INT64_MAX);
}

static void before_the_first_snapshot(void **state)
{
	(void)state;
	settle();
	ask_client(UNSEEN);
	assert_nobody(-500, BRIDGE_BEFORE_START);
	assert_nobody(500, BRIDGE_GAP);
}

static void words(void **state)
{
	(void)state;
	assert_string_equal(bridge_rule_name(BRIDGE_EXACT), "exact");
	assert_string_equal(bridge_rule_name(BRIDGE_QUOTED), "quoted");
	assert_null(bridge_rule_name(BRIDGE_NO_RULE));
	assert_null(bridge_reason_name(BRIDGE_OWNED));
	assert_string_equal(bridge_reason_name(BRIDGE_FORWARDED), "forwarded");
	assert_string_equal(bridge_reason_name(BRIDGE_BEFORE_START), "before-start");
}

#define FACT(test)  cmocka_unit_test_setup_teardown(test, judged_begin, judged_end)
#define EMPTY(test) cmocka_unit_test_setup_teardown(test, judged_begin_empty, judged_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(exact_in_the_current_snapshot),
		FACT(ahead_of_the_first_sighting),
		FACT(behind_the_last_sighting),
		FACT(bound_to_the_address),
		FACT(wildcard_on_the_port),
		FACT(an_unconnected_socket_is_ahead_too),
		FACT(listener_for_what_comes_in),
		FACT(a_listener_that_was_not_seen_to_serve_is_a_candidate),
		FACT(who_was_once_seen_with_a_connection_need_not_serve),
		FACT(who_was_seen_with_two_connections_serves),
		FACT(what_shows_much_later_counts_not),
		FACT(only_the_first_one_serves),
		FACT(a_listener_whose_children_serve_is_a_candidate),
		FACT(before_a_descriptor_was_passed_it_was_anothers),
		FACT(a_listener_that_one_reading_has_not_may_listen_still),
		FACT(the_next_listener_is_not_sure_until_two_readings_had_not_the_one_before),
		FACT(what_was_handed_on_as_it_was_first_seen_is_not_surely_the_first_ones),
		FACT(a_look_up_tells_when_a_row_of_a_long_reading_was_there),
		FACT(what_a_reading_found_in_nobodys_hands_had_been_handed_on),
		FACT(the_accepted_socket_is_better_than_the_listener),
		FACT(a_connection_not_accepted_yet_is_the_listeners),
		FACT(echo_belongs_to_the_ping_socket_of_its_ident),
		FACT(two_raw_sockets_cannot_be_told_apart),
		FACT(other_protocols_belong_to_their_raw_socket),
		FACT(locality_tells_forwarded_groups_and_the_unknown),
		EMPTY(without_addresses_the_link_layer_tells),
		FACT(a_group_with_several_receivers_is_multicast),
		FACT(a_group_does_not_choose_the_better_bound_receiver),
		FACT(a_socket_that_nobody_has_open),
		FACT(rows_without_inode_only_have_no_holder),
		FACT(what_could_not_be_read_is_said),
		EMPTY(without_snapshots_all_is_gap),
		FACT(before_the_first_snapshot),
		EMPTY(words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
