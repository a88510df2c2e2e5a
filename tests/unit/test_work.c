/* test_work.c - evidence that somebody made up costs work in proportion to its size. */
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
	struct bridge bridge;
	uint64_t before = walk_steps;

	scene_begin();
	scene_frame("key", 0, 1);
	scene_address('+', 1, "127.0.0.1", 8);
	scene_address('+', 1, HOST, 24);
	work->make(n);
	scene_frame("poll", 1000000, 1000001);
	scene_read_whole(&tl);
	assert_int_equal(bridge_init(&bridge, &tl), 0);
	work->ask(&bridge, n);
	bridge_release(&bridge);
	timeline_release(&tl);
	scene_free();
	return walk_steps - before;
}

/* Four times as much evidence: four times the work, and searches that are two steps longer;
 * a walk for each of them would be sixteen times as long. */
static void assert_near_linear(const struct work *work)
{
	uint64_t small = steps_for(work, 1000), large = steps_for(work, 4000);

	if (small < 1000 || large >= 6 * small)
		fail_msg("%llu steps for 1,000 things, %llu for 4,000", (unsigned long long)small,
			 (unsigned long long)large);
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
		assert_int_equal(v.reason, BRIDGE_OWNED);
		assert_int_equal(bridge->timeline->processes[v.process].pid, 100 + i % 3);
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
		int64_t from_ns, until_ns, at_ns = T(10 * ((int64_t)i + 1));

		assert_true(timeline_untold(bridge->timeline, true, at_ns + 1, at_ns + 2));
		assert_false(
			timeline_untold(bridge->timeline, true, at_ns + 6000000, at_ns + 7000000));
		timeline_told_stretch(bridge->timeline, true, at_ns, &from_ns, &until_ns);
		assert_true(from_ns == at_ns && until_ns == at_ns + 5000001);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_turns_at_one_socket),
		cmocka_unit_test(many_told_sockets_of_one_tuple),
		cmocka_unit_test(many_stretches_in_which_uses_are_missing),
		cmocka_unit_test(many_programs_of_one_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
