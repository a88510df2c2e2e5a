/* test_work.c - evidence that somebody made up costs work in proportion to its size, where
 * owners are asked for (test_work_loading.c: where it is loaded). */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "analyze/bridge.h"
#include "analyze/walk.h"
#include "tests/unit/scene.h"
#include "tests/unit/work.h"

#define NEVER  SCENE_NEVER
#define CLIENT "6 " HOST " 40000 " PEER " 80"

/* Evidence of n things, and a question for each of them. */
struct work {
	void (*make)(unsigned n);
	void (*ask)(struct bridge *bridge, unsigned n);
};

static uint64_t steps_for(const struct work *work, unsigned n)
{
	struct timeline tl;
	struct serving serving;
	struct bridge bridge;
	uint64_t before = walk_steps;

	scene_begin();
	scene_frame("key", 0, 1);
	scene_address('+', 1, "127.0.0.1", 8);
	scene_address('+', 1, HOST, 24);
	work->make(n);
	scene_frame("poll", 1000000, 1000001);
	scene_read_whole(&tl);
	scene_join(&tl, &serving, &bridge);
	work->ask(&bridge, n);
	bridge_release(&bridge);
	serving_release(&serving);
	timeline_release(&tl);
	scene_free();
	return walk_steps - before;
}

static void assert_near_linear(const struct work *work)
{
	work_compare(1000, steps_for(work, 1000), steps_for(work, 4000));
}

static struct bridge_subject connection(uint16_t local_port, uint16_t remote_port)
{
	struct bridge_subject subject = {
		.protocol = IPPROTO_TCP, .ip_version = 4, .began_ns = INT64_MIN, .sent = true};

	assert_int_equal(endpoint_parse(HOST, &subject.local.address), 0);
	assert_int_equal(endpoint_parse(PEER, &subject.remote.address), 0);
	subject.local.port = local_port;
	subject.remote.port = remote_port;
	return subject;
}

static void ask_nothing(struct bridge *bridge, unsigned n)
{
	(void)bridge;
	(void)n;
}

/* ----------------------------------------------------------- streams -- */

static void use_at(int64_t opened_ms, unsigned i, int64_t at_ms, int64_t sent_bytes)
{
	uint32_t pid = 100 + i % 3;

	scene_say("use ! 1 " CLIENT " 0 %lld send %lld 0 %lld \\N %u %llu %u",
		  (long long)T(opened_ms), (long long)T(at_ms), (long long)sent_bytes, pid,
		  (unsigned long long)OLD, pid);
}

/* The last one first, as no recorder writes them. */
static void make_turns(unsigned n)
{
	scene_frame("event", 2, 3);
	for (unsigned i = n; i-- > 0;)
		use_at(10, i, 10 + (int64_t)i, i * 100);
}

static void ask_turns(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 80);
	struct bridge_verdict v;

	for (unsigned i = 0; i < n; i++) {
		subject.payload_bytes = 100;
		subject.offset_bytes = i * 100;
		bridge_judge(bridge, &subject, T(900000), &v);
		assert_int_equal(v.reason, BRIDGE_AMBIGUOUS); /* they come back to it */
		assert_int_equal(v.candidate_count, 3);
		subject.payload_bytes = 0;
		bridge_judge(bridge, &subject, T(10 + (int64_t)i), &v);
		assert_int_equal(v.reason, BRIDGE_OWNED);
		assert_int_equal(bridge->timeline->processes[v.process].pid, 100 + i % 3);
	}
}

static void many_turns_at_one_socket(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_turns, ask_turns});
}

/* Every other one is in a namespace that is not the capture's. */
static void make_told(unsigned n)
{
	scene_frame("event", 2, 3);
	for (unsigned i = n; i-- > 0;) {
		use_at(10 + (int64_t)i, i, 10 + (int64_t)i, 0);
		scene_say("use ! 2 " CLIENT " 0 %lld send %lld 0 0 0 1 1 1",
			  (long long)T(10 + (int64_t)i), (long long)T(10 + (int64_t)i));
		scene_say("closed ! 1 tcp " HOST " 40000 " PEER " 80 0 0 %lld 0 0 0 0 0 0 0 0",
			  (long long)T(10 + (int64_t)i) + 500000);
	}
}

static void ask_told(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 80);
	struct bridge_verdict v;

	for (unsigned i = 0; i < n; i++) {
		subject.began_ns = T(10 + (int64_t)i);
		bridge_judge(bridge, &subject, T(10 + (int64_t)i), &v);
		assert_int_equal(v.reason, BRIDGE_OWNED);
		assert_int_equal(bridge->timeline->processes[v.process].pid, 100 + i % 3);
		assert_int_equal(bridge->timeline->sockets[v.socket].closed.closed_ns,
				 T(10 + (int64_t)i) + 500000);
	}
}

static void many_told_sockets_of_one_tuple(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_told, ask_told});
}

/* Each close in a namespace of its own, where one of them was told; as many were told in none. */
static void make_unplaced(unsigned n)
{
	scene_frame("event", 2, 3);
	for (unsigned i = 0; i < n; i++) {
		long long at = (long long)T(10 + (int64_t)i);

		scene_say("use ! 0 " CLIENT " 0 %lld send %lld 0 0 0 1 1 1", at, at);
		scene_say("use ! %u " CLIENT " 0 %lld send %lld 0 0 0 1 1 1", 10 + i, at, at);
		scene_say("closed ! %u tcp " HOST " 40000 " PEER " 80 0 0 %lld 0 0 0 0 0 0 0 0",
			  10 + i, at + 500000);
	}
}

static void many_told_sockets_in_no_known_namespace(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_unplaced, ask_nothing});
}

static void make_untold(unsigned n)
{
	scene_frame("event", 2, 3);
	use_at(900001, 0, 900001, 0);
	for (unsigned i = n; i-- > 0;) {
		scene_frame("event", 10 * ((int64_t)i + 1), 10 * ((int64_t)i + 1) + 5);
		scene_untold();
	}
}

static void ask_untold(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 80);
	struct bridge_verdict v;

	for (unsigned i = 0; i < n; i++) {
		int64_t at_ns = T(10 * ((int64_t)i + 1));
		struct timeline_stretch same = timeline_told_stretch(bridge->timeline, true, at_ns);

		assert_true(
			timeline_untold(bridge->timeline, true, at_ns + 5000000, at_ns + 7000000));
		assert_false(
			timeline_untold(bridge->timeline, true, at_ns + 5000001, at_ns + 7000000));
		assert_true(same.from_ns == at_ns && same.until_ns == at_ns + 5000001);
	}
	bridge_judge(bridge, &subject, T(900002), &v);
	assert_int_equal(v.reason, BRIDGE_OWNED);
}

static void many_stretches_in_which_uses_are_missing(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_untold, ask_untold});
}

static void make_images(unsigned n)
{
	scene_frame("event", 2, 3);
	use_at(4, 0, 5, 0);
	for (unsigned i = 0; i < n; i++) {
		scene_frame("event", 10 + (int64_t)i, 10 + (int64_t)i);
		scene_process('!', 100, OLD, i % 2 == 0 ? "even" : "odd");
	}
}

static void ask_images(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 80);
	struct bridge_verdict v;

	for (unsigned i = 0; i < n; i++) {
		bridge_judge(bridge, &subject, T(10 + (int64_t)i), &v);
		assert_int_equal(v.reason, BRIDGE_OWNED);
		assert_int_equal(v.image, i);
		assert_true(i == 0 || v.from_ns == T(10 + (int64_t)i));
	}
}

static void many_programs_of_one_process(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_images, ask_images});
}

/* ---------------------------------------------------------- datagrams -- */

static void make_closes(unsigned n)
{
	scene_frame("event", 2, 3);
	for (unsigned i = 0; i < n; i++)
		scene_say("closed ! 1 udp " HOST " 40000 10.1.%u.%u 53 0 0 %lld 0 0 0 0 0 0 0 0",
			  i / 256, i % 256, (long long)T(10 + (int64_t)i));
}

static void ask_closes(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 53);

	for (unsigned i = 0; i < n; i++) {
		char peer[32];

		snprintf(peer, sizeof(peer), "10.1.%u.%u", i / 256, i % 256);
		assert_int_equal(endpoint_parse(peer, &subject.remote.address), 0);
		assert_int_equal(timeline_closed(bridge->timeline, IPPROTO_UDP, &subject.local,
						 &subject.remote, T(9), T(900000)),
				 1);
	}
	assert_int_equal(endpoint_parse(PEER, &subject.remote.address), 0);
	assert_int_equal(timeline_closed(bridge->timeline, IPPROTO_UDP, &subject.local,
					 &subject.remote, T(9), T(900000)),
			 0);
}

static void many_closes_of_one_port(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_closes, ask_closes});
}

/* One way, looked up in another namespace. */
static void make_ways(unsigned n)
{
	scene_frame("event", 2, 3);
	for (unsigned i = 0; i < n; i++)
		scene_say("use ! 2 17 " HOST " 40000 " PEER " 53 0 0 route %lld 0 \\N \\N 7 %llu 7",
			  (long long)T(10 + (int64_t)i), (unsigned long long)OLD);
}

static void ask_ways(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 53);
	struct bridge_verdict v;

	subject.protocol = IPPROTO_UDP;
	for (unsigned i = 0; i < n; i++) {
		bridge_judge(bridge, &subject, T(10 + (int64_t)i), &v);
		assert_int_not_equal(v.reason, BRIDGE_OWNED);
	}
}

static void many_uses_of_one_way_elsewhere(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_ways, ask_ways});
}

/* A group of sockets on one port, of one process, and uses by another, which has one too. */
static void make_group(unsigned n)
{
	for (unsigned i = 0; i <= n / 10; i++) {
		scene_socket('+', "udp " HOST " 40000 0.0.0.0 0 7", 500 + i);
		scene_holder('+', 500 + i, i == 0 ? 8 : 7, OLD, 3 + i);
	}
	scene_frame("event", 2, 3);
	for (unsigned i = 0; i < n; i++)
		scene_say("use ! 1 17 :: 40000 :: 0 0 0 receive %lld 0 \\N \\N 8 %llu 8",
			  (long long)T(10 + (int64_t)i), (unsigned long long)OLD);
	for (unsigned i = 0; i < n; i++)
		scene_say("use ! 1 17 " HOST " 40000 " PEER " 53 0 0 route %lld 0 \\N \\N 7 %llu 7",
			  (long long)T(10 + (int64_t)i), (unsigned long long)OLD);
}

static void ask_group(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 53);
	struct bridge_verdict v;

	subject.protocol = IPPROTO_UDP;
	for (unsigned i = 0; i < n; i++)
		bridge_judge(bridge, &subject, T(10 + (int64_t)i) + 1000, &v);
}

static void many_sockets_and_uses_of_one_port(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_group, ask_group});
}

/* One process holds the port; what is told of the port is in another namespace, or its own. */
static void make_hands(unsigned n)
{
	scene_socket('+', "udp " HOST " 40000 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 7, OLD, 3);
	scene_frame("event", 2, 3);
	for (unsigned i = 0; i < n; i++)
		scene_say("use ! %u 17 :: 40000 :: 0 0 0 receive %lld 0 \\N \\N 7 %llu 7",
			  1 + i % 2, (long long)T(10 + (int64_t)i), (unsigned long long)OLD);
	for (unsigned i = 0; i < n; i++)
		scene_say("use ! 2 17 :: 40000 :: 0 0 0 receive %lld 0 \\N \\N 7 %llu 7",
			  (long long)T(20000) + i, (unsigned long long)OLD);
}

static void ask_hands(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 53);
	struct bridge_verdict v;

	subject.protocol = IPPROTO_UDP;
	for (unsigned i = 0; i < 2 * n; i++) {
		subject.sent = i % 2 == 0;
		bridge_judge(bridge, &subject, T(10000 + i), &v);
		assert_true(v.reason == BRIDGE_OWNED || v.refused);
	}
}

static void many_users_of_one_port(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_hands, ask_hands});
}

/* A process that pings a host as fast as it can, in this namespace and in another one, of which
 * less is told. */
static void make_echoes(unsigned n)
{
	static const char way[] = "1 0.0.0.0 0 " PEER " 0";

	scene_frame("event", 2, 3);
	for (unsigned i = 0; i < n; i++) {
		long long at = (long long)T(10) + 1000LL * i;

		scene_say("use ! 1 %s 0 0 route %lld 0 \\N \\N 7 1 7", way, at);
		scene_say("use ! 1 %s 0 %lld send %lld 0 64 \\N 7 1 7", way, at, at + 500);
		scene_say("use ! 2 %s 0 0 route %lld 0 \\N \\N 8 1 8", way, at);
		scene_say("use ! 2 %s 0 0 several %lld 0 \\N \\N 8 1 8", way, at);
	}
}

static void ask_echoes(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(77, 0);
	struct bridge_verdict v;

	subject.protocol = IPPROTO_ICMP;
	subject.icmp_query = true;
	subject.payload_bytes = 56;
	subject.ip_bytes = 84;
	for (unsigned i = 0; i < n; i++) {
		bridge_judge(bridge, &subject, T(10) + 1000 * (int64_t)i + 200, &v);
		assert_true(v.reason == BRIDGE_OWNED ||
			    v.reason == BRIDGE_NO_SOCKET); /* more than are looked at */
	}
}

static void many_echoes_to_one_host(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_echoes, ask_echoes});
}

/* ----------------------------------------------------------- readings -- */

/* One after the other, each with a holder of its own; and one that stays. */
static void make_lifetimes(unsigned n)
{
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 1);
	for (unsigned i = 0; i < n; i++) {
		scene_frame("poll", 10 * ((int64_t)i + 1), 10 * ((int64_t)i + 1) + 1);
		if (i > 0)
			scene_socket('-', "tcp " HOST " 40000 " PEER " 80 1", 100 + i - 1);
		scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 100 + i);
		scene_holder('+', 100 + i, 100 + i % 3, OLD, 5);
	}
}

static void ask_lifetimes(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 80);
	struct bridge_verdict v;

	for (unsigned i = 0; i < n; i++) {
		bridge_judge(bridge, &subject, T(10 * ((int64_t)i + 1) + 5), &v);
		assert_int_equal(v.reason, BRIDGE_AMBIGUOUS); /* two are there */
		assert_true(v.candidate_count > 0 && v.candidate_count <= 3);
	}
}

static void many_lifetimes_of_one_tuple(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_lifetimes, ask_lifetimes});
}

static void make_listeners(unsigned n)
{
	scene_socket('+', "udp " HOST " 53 0.0.0.0 0 7", 7);
	scene_holder('+', 7, 7, OLD, 5);
	for (unsigned i = 0; i < n; i++) {
		char where[64];

		scene_frame("poll", 10 * ((int64_t)i + 1), 10 * ((int64_t)i + 1) + 1);
		snprintf(where, sizeof(where), "udp 10.1.%u.%u 53 0.0.0.0 0 7", i / 256, i % 256);
		scene_socket('+', where, 100 + i);
		scene_socket('!', "udp 0.0.0.0 53 0.0.0.0 0 7", 100000 + i);
	}
}

static void ask_listeners(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(53, 40000);
	struct bridge_verdict v;

	subject.protocol = IPPROTO_UDP;
	for (unsigned i = 0; i < n; i++) {
		bridge_judge(bridge, &subject, T(10 * ((int64_t)i + 1) + 5), &v);
		assert_int_equal(v.reason, BRIDGE_OWNED);
		assert_int_equal(bridge->timeline->processes[v.process].pid, 7);
	}
}

static void many_sockets_on_one_port(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_listeners, ask_listeners});
}

/* Children that inherit a connection for a moment, and leave it to their parent. */
static void make_heirs(unsigned n)
{
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 1);
	scene_process('+', 50, OLD, "server");
	scene_holder('+', 1, 50, OLD, 5);
	for (unsigned i = 0; i < n; i++) {
		scene_frame("poll", 10 * ((int64_t)i + 1), 10 * ((int64_t)i + 1) + 1);
		if (i > 0)
			scene_holder('-', 1, 100 + i - 1, TICKS(10 * (int64_t)i), 5);
		scene_process('!', 100 + i, TICKS(10 * ((int64_t)i + 1)), "child");
		scene_holder('+', 1, 100 + i, TICKS(10 * ((int64_t)i + 1)), 5);
	}
}

static void ask_heirs(struct bridge *bridge, unsigned n)
{
	struct bridge_subject subject = connection(40000, 80);
	struct bridge_verdict v;

	for (unsigned i = 0; i < n; i++) {
		bridge_judge(bridge, &subject, T(10 * ((int64_t)i + 1) + 5), &v);
		assert_int_equal(v.reason, BRIDGE_OWNED);
		assert_int_equal(bridge->timeline->processes[v.process].pid, 50);
	}
}

static void many_holders_of_one_connection(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_heirs, ask_heirs});
}

/* Nobody can say whose a packet is where more share a connection than are looked at. */
static void a_connection_of_thousands_is_nobodys(void **state)
{
	struct bridge_subject subject = connection(40000, 80);
	struct bridge_verdict v;
	struct timeline tl;
	struct serving serving;
	struct bridge bridge;

	(void)state;
	scene_begin();
	scene_frame("key", 0, 1);
	scene_address('+', 1, HOST, 24);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 1);
	for (unsigned i = 0; i < 5000; i++)
		scene_holder('+', 1, 100 + i, OLD, 5);
	scene_frame("poll", 1000, 1001);
	scene_read_whole(&tl);
	scene_join(&tl, &serving, &bridge);
	bridge_judge(&bridge, &subject, T(500), &v);
	assert_int_equal(v.reason, BRIDGE_GAP);
	assert_true(v.refused);
	bridge_release(&bridge);
	serving_release(&serving);
	timeline_release(&tl);
	scene_free();
}

/* -------------------------------------------------------- the records -- */

static void make_descriptors(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		scene_holder('+', 1, 100, OLD, i);
	for (unsigned i = n; i-- > 0;)
		scene_holder('~', 1, 100, OLD, i);
}

static void many_descriptors_of_one_socket(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_descriptors, ask_nothing});
}

static void make_homes(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		scene_address('+', 10 + i, HOST, 24);
		scene_say("interface + 1 %u eth%u 1", i + 1, i);
		scene_say("absent + netns 1 %u x EACCES", i + 1);
		scene_say("absent + descriptors 1 7 x EACCES");
	}
	for (unsigned i = 0; i < n; i++) {
		scene_address('-', 10 + i, HOST, 24);
		scene_say("interface - 1 %u eth%u 1", i + 1, i);
		scene_say("absent - netns 1 %u x EACCES", i + 1);
		scene_say("absent - descriptors 1 7 x EACCES");
	}
}

static void many_namespaces_with_one_address(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_homes, ask_nothing});
}

/* Each of them says that it was collected until long after. */
static void make_sightings(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		scene_frame("event", 5, 900000 + (int64_t)i);
		scene_holder('!', 1, 100 + i, OLD, 3);
		scene_frame("poll", 10 + (int64_t)i, 10 + (int64_t)i);
	}
}

static void many_sightings_that_no_reading_settles(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_sightings, ask_nothing});
}

static void make_keys(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		scene_holder('+', 1, 100 + i, OLD, 3);
	for (unsigned i = 0; i < n; i++) {
		scene_frame("key", 10 + (int64_t)i, 10 + (int64_t)i);
		scene_holder('+', 2, 7, OLD, 3);
	}
}

static void many_key_frames(void **state)
{
	(void)state;
	assert_near_linear(&(struct work){make_keys, ask_nothing});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_turns_at_one_socket),
		cmocka_unit_test(many_told_sockets_of_one_tuple),
		cmocka_unit_test(many_told_sockets_in_no_known_namespace),
		cmocka_unit_test(many_stretches_in_which_uses_are_missing),
		cmocka_unit_test(many_programs_of_one_process),
		cmocka_unit_test(many_closes_of_one_port),
		cmocka_unit_test(many_uses_of_one_way_elsewhere),
		cmocka_unit_test(many_sockets_and_uses_of_one_port),
		cmocka_unit_test(many_users_of_one_port),
		cmocka_unit_test(many_echoes_to_one_host),
		cmocka_unit_test(many_lifetimes_of_one_tuple),
		cmocka_unit_test(many_sockets_on_one_port),
		cmocka_unit_test(many_holders_of_one_connection),
		cmocka_unit_test(a_connection_of_thousands_is_nobodys),
		cmocka_unit_test(many_descriptors_of_one_socket),
		cmocka_unit_test(many_namespaces_with_one_address),
		cmocka_unit_test(many_sightings_that_no_reading_settles),
		cmocka_unit_test(many_key_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
