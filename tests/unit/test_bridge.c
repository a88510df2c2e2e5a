/* test_bridge.c - facts about the join: each rule, each reason, and the traps. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/judged.h"

#define CLIENT	 "tcp " HOST " 40000 " PEER " 80 1"
#define ACCEPTED "tcp " HOST " 80 " PEER " 40000 1"
#define OTHERS	 "tcp " HOST " 80 " PEER " 40001 1"
#define LISTENER "tcp 0.0.0.0 80 0.0.0.0 0 10"
#define DNS	 "udp 0.0.0.0 53 0.0.0.0 0 7"

static void ask_udp(uint16_t port)
{
	ask_host(IPPROTO_UDP, port, 9999);
}

/* One process with one descriptor for the inode. */
static void hold(uint32_t inode, uint32_t pid, const char *name)
{
	scene_process('+', pid, OLD, name);
	scene_holder('+', inode, pid, OLD, 5);
}

/* --------------------------------------------------------------- rules -- */

static void exact_in_the_current_snapshot(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', CLIENT, 500);
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
	judged_host();
	scene_frame("poll", 1000, 1001);
	scene_socket('+', CLIENT, 500);
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
	judged_host();
	scene_socket('+', CLIENT, 500);
	hold(500, 10, "curl");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
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
	judged_host();
	scene_socket('+', "udp " HOST " 53 0.0.0.0 0 7", 500);
	hold(500, 10, "named");
	scene_socket('+', DNS, 501); /* another's wildcard on the same port */
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
	judged_host();
	scene_socket('+', DNS, 500);
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
	judged_host();
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', DNS, 500);
	hold(500, 10, "named");
	settle();
	ask_udp(53);
	assert_owner(1500, BRIDGE_WILDCARD, 10);
	assert_nobody(999, BRIDGE_GAP); /* the poll that began at 1000 had it not */
}

static void listener_for_what_comes_in(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', LISTENER, 500);
	hold(500, 10, "nginx");
	scene_socket('+', OTHERS, 502);
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
	judged_host();
	scene_socket('+', LISTENER, 500);
	hold(500, 10, "inetd");
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_int_equal(v.candidate_count, 1);
	assert_int_equal(tl.processes[v.candidates[0].process].pid, 10);
}

static void a_listener_whose_children_serve_is_a_candidate(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', LISTENER, 500);
	hold(500, 10, "sshd");
	scene_socket('+', OTHERS, 502);
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
	judged_host();
	scene_socket('+', LISTENER, 500);
	hold(500, 10, "acceptor");
	scene_process('+', 11, OLD, "worker");
	scene_frame("poll", 1000, 1001);
	scene_socket('+', ACCEPTED, 501);
	scene_holder('+', 501, 11, OLD, 5);
	scene_frame("poll", 2000, 2001);
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_nobody(600, BRIDGE_AMBIGUOUS);
	assert_owner(1500, BRIDGE_EXACT, 11);
}

static void the_accepted_socket_is_better_than_the_listener(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', LISTENER, 500);
	hold(500, 10, "nginx");
	hold(500, 11, "nginx");
	scene_frame("event", 500, 501);
	scene_socket('+', ACCEPTED, 501);
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
	judged_host();
	scene_socket('+', LISTENER, 500);
	hold(500, 10, "nginx");
	scene_socket('+', ACCEPTED, 0);
	scene_socket('+', OTHERS, 502);
	scene_holder('+', 502, 10, OLD, 6);
	settle();
	ask_server(UNSEEN);
	subject.began_ns = T(500);
	assert_owner(500, BRIDGE_LISTENER, 10);
}

static void echo_belongs_to_the_ping_socket_of_its_ident(void **state)
{
	(void)state;
	judged_host();
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
	judged_host();
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
	judged_host();
	scene_socket('+', "raw 0.0.0.0 89 0.0.0.0 0 7", 500);
	hold(500, 10, "ospfd");
	settle();
	ask_host(89, 0, 0);
	assert_owner(500, BRIDGE_WILDCARD, 10);
	ask_host(47, 0, 0);
	assert_nobody(500, BRIDGE_NO_SOCKET);
}

/* ------------------------------------------------------------- reasons -- */

static void locality_tells_forwarded_groups_and_the_unknown(void **state)
{
	struct packet p = {.time_ns = T(500)};
	bool local[2], group;

	(void)state;
	judged_host();
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
	judged_host();
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
	judged_host();
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
	judged_host();
	scene_socket('+', CLIENT, 500);
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_NO_HOLDER);
	assert_true(v.by_tuple);
}

static void rows_without_inode_only_have_no_holder(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 6", 0);
	scene_holder('+', 0, 10, OLD, 3); /* must lead nowhere */
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_NO_HOLDER);
}

static void what_could_not_be_read_is_said(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', CLIENT, 500);
	scene_say("absent + descriptors 0 10  EACCES");
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_UNREADABLE);
}

static void without_snapshots_all_is_gap(void **state)
{
	(void)state;
	timeline_init(&tl);
	assert_int_equal(bridge_init(&bridge, &tl), 0);
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_GAP);
	assert_true(v.from_ns == INT64_MIN && v.until_ns == INT64_MAX);
}

static void before_the_first_snapshot(void **state)
{
	(void)state;
	judged_host();
	settle();
	ask_client(UNSEEN);
	assert_nobody(-500, BRIDGE_BEFORE_START);
	assert_nobody(500, BRIDGE_GAP);
}

/* --------------------------------------------------------------- traps -- */

static void mapped_rows_take_ipv4_packets(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', "tcp6 ::ffff:10.0.0.1 80 ::ffff:10.0.0.2 40000 1", 500);
	hold(500, 10, "java");
	settle();
	ask_server(UNSEEN);
	assert_owner(500, BRIDGE_EXACT, 10);
}

static void a_dual_stack_wildcard_takes_ipv4_only_if_nobody_else_does(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', "udp6 :: 53 :: 0 7", 500);
	hold(500, 10, "six");
	scene_socket('+', DNS, 501);
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
	judged_host();
	scene_socket('+', DNS, 501);
	hold(501, 11, "four");
	settle();
	ask(IPPROTO_UDP, "2001:db8::1", 53, "2001:db8::2", 9);
	assert_nobody(500, BRIDGE_GAP);
}

static void reuseport_groups_are_ambiguous(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', DNS, 500);
	hold(500, 10, "dns");
	scene_socket('+', DNS, 501);
	hold(501, 11, "dns");
	scene_socket('+', LISTENER, 600);
	scene_holder('+', 600, 10, OLD, 6);
	scene_socket('+', LISTENER, 601);
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
	judged_host();
	scene_socket('+', DNS, 500);
	hold(500, 10, "dns");
	scene_socket('+', DNS, 501);
	scene_holder('+', 501, 10, OLD, 6);
	settle();
	ask_udp(53);
	assert_owner(500, BRIDGE_WILDCARD, 10);
}

static void a_rival_without_known_holder_is_a_rival(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', DNS, 500);
	hold(500, 10, "dns");
	scene_socket('+', DNS, 501); /* whose it is could not be read */
	settle();
	ask_udp(53);
	judge(T(500));
	assert_int_not_equal(v.reason, BRIDGE_OWNED);
}

static void preforked_listeners_are_ambiguous(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', LISTENER, 500);
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
	judged_host();
	scene_socket('+', ACCEPTED, 500);
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
	judged_host();
	scene_socket('+', CLIENT, 500);
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
	judged_host();
	scene_socket('+', ACCEPTED, 500);
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
	judged_host();
	scene_socket('+', ACCEPTED, 500);
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
	judged_host();
	scene_socket('+', ACCEPTED, 500);
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
	judged_host();
	scene_socket('+', ACCEPTED, 500);
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
	judged_host();
	scene_frame("poll", 1000, 1001);
	scene_socket('+', CLIENT, 500);
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
	judged_host();
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
	judged_host();
	scene_address('+', 7, "172.17.0.2", 16);
	scene_socket_in('+', 7, DNS, 500);
	hold(500, 10, "container");
	scene_socket_in('+', 1, DNS, 501);
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
	judged_host();
	scene_address('+', 7, HOST, 24);
	scene_socket_in('+', 1, CLIENT, 500);
	hold(500, 10, "a");
	scene_socket_in('+', 7, CLIENT, 501);
	hold(501, 11, "b");
	settle();
	ask_client(UNSEEN);
	assert_nobody(500, BRIDGE_AMBIGUOUS);
	assert_candidates(10, 11);
}

/* ----------------------------------------------------------- instances -- */

static void a_sighting_before_the_syn_is_another_connections(void **state)
{
	(void)state;
	judged_host();
	scene_socket('+', CLIENT, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
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
	judged_host();
	scene_socket('+', CLIENT, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
	scene_socket('+', CLIENT, 501);
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
	judged_host();
	scene_socket('+', LISTENER, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('-', LISTENER, 500);
	scene_socket('+', LISTENER, 501);
	hold(501, 11, "new");
	scene_socket('+', OTHERS, 502);
	scene_holder('+', 502, 10, OLD, 6);
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
	judged_host();
	scene_socket('+', DNS, 500);
	hold(500, 10, "old");
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_socket('-', DNS, 500);
	scene_holder('-', 500, 10, OLD, 5);
	scene_socket('+', DNS, 501);
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
	judged_host();
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
	judged_host();
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
	judged_host();
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
	judged_host();
	scene_socket('+', DNS, 500);
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
	judged_host();
	scene_socket('+', CLIENT, 500);
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
	judged_host();
	scene_socket('+', CLIENT, 500);
	hold(500, 10, "old");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
	for (int i = 2; i < 10; i++)
		scene_frame("poll", i * 60000, i * 60000 + 1);
	settle();
	ask_client(UNSEEN);
	subject.first_ns = T(500000);
	assert_nobody(500000, BRIDGE_GAP);
}

/* -------------------------------------------------------------- caching -- */

static void random_frame(uint64_t *seed, int64_t ms)
{
	static const char *const kinds[] = {"poll", "poll", "event", "key"};
	static const char *const wheres[] = {
		"udp 0.0.0.0 53 0.0.0.0 0 7",
		"udp " HOST " 53 0.0.0.0 0 7",
		"udp6 :: 53 :: 0 7",
		"udp " HOST " 53 " PEER " 9999 1",
		"tcp " HOST " 80 " PEER " 40000 1",
		"tcp 0.0.0.0 80 0.0.0.0 0 10",
		"raw 0.0.0.0 1 0.0.0.0 0 7",
	};
	const char ops[] = {'+', '+', '-'};

	scene_frame(ms == 0 ? "key" : kinds[scene_random(seed, 4)], ms,
		    ms + 1 + scene_random(seed, 30));
	for (uint32_t n = scene_random(seed, 5); n > 0; n--)
		scene_socket(ops[scene_random(seed, 3)], wheres[scene_random(seed, 7)],
			     scene_random(seed, 4));
	for (uint32_t n = scene_random(seed, 6); n > 0; n--) {
		uint32_t pid = 10 + scene_random(seed, 4);

		scene_holder(ops[scene_random(seed, 3)], 1 + scene_random(seed, 3), pid,
			     TICKS(pid * 20 - 100), 2 + scene_random(seed, 2));
	}
	for (uint32_t n = scene_random(seed, 3); n > 0; n--) {
		uint32_t pid = 10 + scene_random(seed, 4);

		scene_process(ops[scene_random(seed, 3)], pid, TICKS(pid * 20 - 100),
			      scene_random(seed, 2) ? "one" : "two");
	}
}

static void random_subject(uint64_t *seed)
{
	switch (scene_random(seed, 5)) {
	case 0:
		ask_server(UNSEEN);
		break;
	case 1:
		ask_server(UNSEEN);
		subject.began_ns = T(scene_random(seed, 400));
		break;
	case 2:
		ask_host(IPPROTO_ICMP, 1, 0);
		subject.icmp_query = true;
		break;
	case 3:
		ask_udp(53);
		subject.group = true;
		break;
	default:
		ask_udp(53);
	}
}

#define KEPT 24

struct kept {
	struct bridge_verdict v;
	struct bridge_candidate candidates[8];
};

static bool same_verdict(const struct kept *kept)
{
	const struct bridge_verdict *a = &kept->v;

	if (a->rule != v.rule || a->reason != v.reason || a->socket != v.socket ||
	    a->process != v.process || a->image != v.image || a->shared_by != v.shared_by ||
	    a->by_tuple != v.by_tuple || a->candidate_count != v.candidate_count)
		return false;
	for (size_t i = 0; i < a->candidate_count; i++) {
		if (memcmp(&kept->candidates[i], &v.candidates[i], sizeof(v.candidates[i])) != 0)
			return false;
	}
	return true;
}

static int64_t random_time(uint64_t *seed)
{
	int64_t t = T(-20) + (int64_t)scene_random(seed, 560) * 1000000;
	uint32_t frame = scene_random(seed, (uint32_t)tl.count.frames);

	switch (scene_random(seed, 4)) { /* just at what may be an edge */
	case 0:
		return tl.frames[frame].end_ns - 1 + scene_random(seed, 3);
	case 1:
		return tl.frames[frame].begin_ns - 1 + scene_random(seed, 3);
	default:
		return t;
	}
}

static unsigned within; /* verdicts that hold at the time that was asked for */

static unsigned check_windows(uint64_t *seed)
{
	static struct kept kept[KEPT];
	unsigned hits = 0;

	random_subject(seed);
	for (size_t n = 0; n < KEPT; n++) {
		int64_t t = random_time(seed);

		judge(t);
		for (size_t k = 0; k < n; k++) {
			if (t < kept[k].v.from_ns || t >= kept[k].v.until_ns)
				continue;
			hits++;
			if (!same_verdict(&kept[k]))
				fail_msg("at %lld: %s %s, but kept from %lld: %s %s", (long long)t,
					 bridge_rule_name(v.rule), bridge_reason_name(v.reason),
					 (long long)kept[k].v.from_ns,
					 bridge_rule_name(kept[k].v.rule),
					 bridge_reason_name(kept[k].v.reason));
		}
		within += v.from_ns <= t && t < v.until_ns;
		assert_true(bridge_distance(&bridge, &v, t) >= 0);
		assert_in_range(v.candidate_count, 0, 8);
		kept[n].v = v;
		if (v.candidate_count > 0)
			memcpy(kept[n].candidates, v.candidates,
			       v.candidate_count * sizeof(*v.candidates));
	}
	return hits;
}

static void judge_many(unsigned *judged, unsigned *hits)
{
	uint64_t seed = 20261121;

	*judged = *hits = within = 0;
	for (int round = 0; round < 400; round++) {
		scene_begin();
		for (int64_t ms = 0; ms < 500; ms += 40 + scene_random(&seed, 40))
			random_frame(&seed, ms);
		settle();
		for (int n = 0; n < 6; n++) {
			*hits += check_windows(&seed);
			*judged += KEPT;
		}
		bridge_release(&bridge);
		timeline_release(&tl);
	}
}

static void a_verdict_holds_as_long_as_it_says(void **state)
{
	unsigned judged, hits;

	(void)state;
	judge_many(&judged, &hits);
	assert_true(judged >= 20000);
	assert_true(hits > judged);
}

/* Else it is never kept, and each packet is judged anew. */
static void a_verdict_holds_when_it_was_asked_for(void **state)
{
	unsigned judged, hits;

	(void)state;
	judge_many(&judged, &hits);
	assert_int_equal(within, judged);
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

/* The kernel tells of its close, and no reading ever had it. */
static void what_closed_in_between_may_have_been_the_one(void **state)
{
	(void)state;
	judged_host();
	scene_frame("event", 600, 601);
	scene_say("closed ! 1 udp " HOST " 53 " PEER " 9999 0 7 %lld 0 0 0 0 0 0 0 0",
		  (long long)T(600));
	scene_frame("poll", 1000, 1001);
	scene_socket('+', DNS, 500);
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
	judged_host();
	scene_frame("poll", 1000, 1001);
	scene_socket('+', DNS, 500);
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

#define FACT(test) cmocka_unit_test_setup_teardown(test, judged_begin_empty, judged_end)

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
		FACT(a_listener_whose_children_serve_is_a_candidate),
		FACT(before_a_descriptor_was_passed_it_was_anothers),
		FACT(the_accepted_socket_is_better_than_the_listener),
		FACT(a_connection_not_accepted_yet_is_the_listeners),
		FACT(echo_belongs_to_the_ping_socket_of_its_ident),
		FACT(two_raw_sockets_cannot_be_told_apart),
		FACT(other_protocols_belong_to_their_raw_socket),
		FACT(locality_tells_forwarded_groups_and_the_unknown),
		FACT(without_addresses_the_link_layer_tells),
		FACT(a_group_with_several_receivers_is_multicast),
		FACT(a_group_does_not_choose_the_better_bound_receiver),
		FACT(a_socket_that_nobody_has_open),
		FACT(rows_without_inode_only_have_no_holder),
		FACT(what_could_not_be_read_is_said),
		FACT(without_snapshots_all_is_gap),
		FACT(before_the_first_snapshot),
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
		FACT(a_verdict_holds_as_long_as_it_says),
		FACT(a_verdict_holds_when_it_was_asked_for),
		FACT(words),
		FACT(what_closed_in_between_may_have_been_the_one),
		FACT(what_the_clock_passed_twice_is_nobodys_to_its_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
