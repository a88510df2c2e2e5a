/* test_told_datagrams.c - facts about datagrams that the kernel's account alone tells apart. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "analyze/bridge.h"
#include "tests/unit/scene.h"

#define NEVER SCENE_NEVER

static struct timeline tl;
static struct bridge bridge;
static struct bridge_verdict v;
static struct bridge_subject subject;

static int begin(void **state)
{
	(void)state;
	scene_begin();
	scene_frame("key", 0, 1);
	scene_address('+', 1, "127.0.0.1", 8);
	scene_address('+', 1, HOST, 24);
	return 0;
}

static int end(void **state)
{
	(void)state;
	bridge_release(&bridge);
	timeline_release(&tl);
	scene_free();
	return 0;
}

static void settle(void)
{
	scene_frame("poll", 10000, 10001);
	scene_read_whole(&tl);
	assert_int_equal(bridge_init(&bridge, &tl), 0);
}

static void ask(uint8_t protocol, uint16_t local_port, uint16_t remote_port)
{
	subject = (struct bridge_subject){
		.protocol = protocol, .ip_version = 4, .began_ns = INT64_MIN, .sent = true};
	assert_int_equal(endpoint_parse(HOST, &subject.local.address), 0);
	assert_int_equal(endpoint_parse(PEER, &subject.remote.address), 0);
	subject.local.port = local_port;
	subject.remote.port = remote_port;
}

static void assert_owner(int64_t ms, bool sent, enum bridge_rule rule, uint32_t pid)
{
	subject.sent = sent;
	bridge_judge(&bridge, &subject, T(ms), &v);
	if (v.reason != BRIDGE_OWNED)
		fail_msg("at %lld ms: %s", (long long)ms, bridge_reason_name(v.reason));
	assert_int_equal(tl.processes[v.process].pid, pid);
	assert_string_equal(bridge_rule_name(v.rule), bridge_rule_name(rule));
	assert_true(v.from_ns <= T(ms) && T(ms) < v.until_ns);
}

static void assert_nobody(int64_t ms, bool sent)
{
	subject.sent = sent;
	bridge_judge(&bridge, &subject, T(ms), &v);
	if (v.reason == BRIDGE_OWNED)
		fail_msg("at %lld ms: pid %u", (long long)ms, tl.processes[v.process].pid);
}

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
	ask(IPPROTO_ICMP, 77, 0);
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
	assert_owner(102, true, BRIDGE_QUOTED, 10);
	ask_echo(100);
	assert_owner(102, true, BRIDGE_QUOTED, 11);
	ask_echo(90); /* neither */
	assert_nobody(102, true);
	ask_echo(100);
	subject.ip_bytes = 0; /* a fragment */
	assert_nobody(102, true);
}

static void two_pings_of_one_length_at_once_are_nobodys(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	echo_call(10, 100, 101, 64);
	echo_call(11, 104, 105, 64);
	settle();
	ask_echo(56);
	assert_nobody(105, true); /* the kernel may have been late with the first one's */
	assert_owner(109, true, BRIDGE_QUOTED, 11);
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
	assert_owner(120, true, BRIDGE_QUOTED, 10);
	assert_nobody(131, true);
}

static void a_look_up_without_an_end_may_be_of_any_length(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "route", 100, NEVER, 10, OLD);
	echo_call(11, 101, 106, 64);
	settle();
	ask_echo(56);
	assert_nobody(102, true);
	assert_owner(111, true, BRIDGE_QUOTED, 11);
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
	assert_nobody(102, true);
}

static void where_pings_were_too_many_to_be_told_nobody_is_named(void **state)
{
	(void)state;
	scene_frame("event", 150, 160);
	scene_use("1 0.0.0.0 0 " PEER " 0", NEVER, "several", 90, NEVER, 10, OLD);
	echo_call(11, 101, 104, 64);
	settle();
	ask_echo(56);
	assert_nobody(102, true);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(of_two_pings_at_once_the_length_tells),
		FACT(two_pings_of_one_length_at_once_are_nobodys),
		FACT(a_ping_of_a_call_that_goes_on_is_not_a_later_ones),
		FACT(a_look_up_without_an_end_may_be_of_any_length),
		FACT(an_end_across_what_is_missing_is_none),
		FACT(where_pings_were_too_many_to_be_told_nobody_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
