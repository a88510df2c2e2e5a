/* test_hands.c - facts about owners of datagrams where what is told of a port alone speaks of
 * others: too many to be told, or to be looked at. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "analyze/bridge.h"
#include "tests/unit/asked.h"
#include "tests/unit/scene.h"

#define NEVER SCENE_NEVER
#define HANDS "17 :: 40000 :: 0"

enum { READ = 20, OTHER }; /* who readings name; another one */

static struct timeline tl;
static struct bridge bridge;
static struct serving serving;
static struct bridge_verdict v;
static struct bridge_subject subject;

/* Readings have the port in one process's hands. */
static int begin(void **state)
{
	(void)state;
	scene_begin();
	scene_frame("key", 0, 1);
	scene_address('+', 1, HOST, 24);
	scene_process('+', 1, 1, "init");
	scene_process('+', READ, OLD, "read");
	scene_socket('+', "udp " HOST " 40000 0.0.0.0 0 7", 500);
	scene_holder('+', 500, READ, OLD, 3);
	scene_frame("event", 2, 3);
	subject = (struct bridge_subject){.protocol = IPPROTO_UDP,
					  .ip_version = 4,
					  .began_ns = INT64_MIN,
					  .local = {.port = 40000},
					  .remote = {.port = 53}};
	assert_int_equal(endpoint_parse(HOST, &subject.local.address), 0);
	assert_int_equal(endpoint_parse(PEER, &subject.remote.address), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	bridge_release(&bridge);
	serving_release(&serving);
	timeline_release(&tl);
	scene_free();
	return 0;
}

static void settle(void)
{
	scene_frame("poll", 100000, 100001);
	scene_read_whole(&tl);
	scene_join(&tl, &serving, &bridge);
}

static void ended(uint32_t pid, int64_t ms)
{
	scene_say("process - %u %llu 1 \\N \\N \\N \\N \\N \\N 0 %lld", pid,
		  (unsigned long long)OLD, (long long)T(ms));
}

static void assert_owner(int64_t ms, uint32_t pid)
{
	asked_judge(&bridge, &subject, T(ms), &v);
	if (v.reason != BRIDGE_OWNED)
		fail_msg("at %lld ms: %s", (long long)ms, bridge_reason_name(v.reason));
	assert_int_equal(tl.processes[v.process].pid, pid);
}

static void assert_nobody(int64_t ms, enum bridge_reason reason)
{
	asked_judge(&bridge, &subject, T(ms), &v);
	if (v.reason == BRIDGE_OWNED)
		fail_msg("at %lld ms: pid %u", (long long)ms, tl.processes[v.process].pid);
	assert_string_equal(bridge_reason_name(v.reason), bridge_reason_name(reason));
	assert_true(v.refused);
}

static void who_used_it_and_ended_is_no_rival(void **state)
{
	(void)state;
	scene_use(HANDS, NEVER, "receive", 500, NEVER, OTHER, OLD);
	ended(OTHER, 600);
	settle();
	assert_nobody(550, BRIDGE_AMBIGUOUS);
	assert_true(asked_told(BRIDGE_WHY_OTHER_HANDS));
	assert_owner(1000, READ);
}

/* The others that used it in turn were not told, and may live. */
static void of_several_one_that_ended_says_nothing_about_the_others(void **state)
{
	(void)state;
	scene_use(HANDS, NEVER, "several", 500, NEVER, OTHER, OLD);
	ended(OTHER, 600);
	settle();
	assert_nobody(1000, BRIDGE_AMBIGUOUS);
	subject.sent = true;
	assert_nobody(1000, BRIDGE_AMBIGUOUS);
}

/* It reads what waits; its parent by then is not who forked it, whom nobody told of. */
static void who_was_taken_over_may_be_an_heir(void **state)
{
	(void)state;
	scene_frame("event", 1400, 1410);
	scene_process('!', OTHER, TICKS(1100), "heir");
	scene_use(HANDS, NEVER, "receive", 1200, NEVER, OTHER, TICKS(1100));
	scene_say("closed ! 1 udp " HOST " 40000 0.0.0.0 0 0 0 %lld 0 0 0 0 0 0 0 0",
		  (long long)T(1300));
	settle();
	assert_nobody(1000, BRIDGE_AMBIGUOUS);
}

/* Its fork was told, and those of before. */
static void whose_forefathers_are_known_is_no_heir(void **state)
{
	(void)state;
	scene_frame("event", 1400, 1410);
	scene_born(OTHER, TICKS(1100), 1, 1100);
	scene_use(HANDS, NEVER, "receive", 1200, NEVER, OTHER, TICKS(1100));
	scene_say("closed ! 1 udp " HOST " 40000 0.0.0.0 0 0 0 %lld 0 0 0 0 0 0 0 0",
		  (long long)T(1300));
	settle();
	assert_owner(1000, READ);
}

/* So many uses in other namespaces that those of this one are not found among them. */
static void where_not_all_users_were_looked_at_nobody_is_named(void **state)
{
	(void)state;
	scene_use(HANDS, NEVER, "receive", 500, NEVER, OTHER, OLD);
	for (int i = -2000; i < 2000; i++)
		scene_say("use ! 2 " HANDS " 0 0 receive %lld 0 \\N \\N 30 1 30",
			  (long long)T(500) + i);
	settle();
	assert_nobody(1000, BRIDGE_GAP);
	assert_true(asked_told(BRIDGE_WHY_CROWDED));
	subject.sent = true;
	assert_nobody(1000, BRIDGE_GAP);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(who_used_it_and_ended_is_no_rival),
		FACT(of_several_one_that_ended_says_nothing_about_the_others),
		FACT(who_was_taken_over_may_be_an_heir),
		FACT(whose_forefathers_are_known_is_no_heir),
		FACT(where_not_all_users_were_looked_at_nobody_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
