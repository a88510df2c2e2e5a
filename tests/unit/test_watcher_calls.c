/* test_watcher_calls.c - facts about calls that send echoes: what is told at their end. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "snapshot/watcher_calls.h"

#define REAL INT64_C(1795290600000000000)

enum { PING = 10, OTHER };

static struct watcher_calls calls;
static struct watcher_use told;

static int begin(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	told = (struct watcher_use){0};
	return 0;
}

static void look(int64_t time_ns, uint32_t tid, const char *remote, bool is_told)
{
	struct watcher_use use = {
		.use = {.protocol = IPPROTO_ICMP,
			.act = SNAP_ROUTE,
			.at_ns = REAL + time_ns,
			.previous_ns = 5,
			.sent_bytes = SNAP_UNKNOWN_BYTES,
			.received_bytes = SNAP_UNKNOWN_BYTES,
			.pid = PING,
			.tid = tid},
		.user = {.id = PING},
		.time_ns = time_ns,
	};

	assert_int_equal(endpoint_parse(remote, &use.use.remote.address), 0);
	watcher_calls_look(&calls, &use, is_told);
}

static bool ends(int64_t time_ns, uint32_t pid, uint32_t tid, uint8_t protocol, int64_t length)
{
	struct tracepoint_event event = {.kind = TRACEPOINT_SEND,
					 .time_ns = time_ns,
					 .pid = pid,
					 .tid = tid,
					 .protocol = protocol,
					 .u.length = length};

	return watcher_calls_end(&calls, &event, REAL, &told);
}

static void a_call_is_told_from_its_first_look_up_to_its_end(void **state)
{
	(void)state;
	look(100, PING, "10.0.0.2", true);
	look(105, PING, "10.0.0.2", true); /* another table */
	assert_true(ends(120, PING, PING, IPPROTO_ICMP, 64));
	assert_int_equal(told.use.act, SNAP_SEND);
	assert_true(told.use.opened_ns == REAL + 100 && told.use.at_ns == REAL + 120);
	assert_true(told.use.sent_bytes == 64 && told.use.previous_ns == 0);
	assert_int_equal(told.time_ns, 120);
	assert_int_equal(told.user.id, PING);
	assert_false(ends(130, PING, PING, IPPROTO_ICMP, 64)); /* nobody looked up its way */
}

static void another_host_is_another_call(void **state)
{
	(void)state;
	look(100, PING, "10.0.0.2", true);
	look(110, PING, "10.0.0.3", true);
	assert_true(ends(120, PING, PING, IPPROTO_ICMP, 64));
	assert_int_equal(told.use.opened_ns, REAL + 110);
}

static void what_another_task_or_protocol_sends_is_not_it(void **state)
{
	(void)state;
	look(100, PING, "10.0.0.2", true);
	assert_false(ends(110, PING, PING + WATCHER_CALLS, IPPROTO_ICMP, 64));
	assert_false(ends(110, OTHER, PING, IPPROTO_ICMP, 64));
	assert_false(ends(110, PING, PING, IPPROTO_ICMPV6, 64));
	assert_true(ends(110, PING, PING, IPPROTO_ICMP, 64));
}

/* Of two that fall on one place the later one's is told. */
static void a_taken_place_is_lost_and_not_mixed_up(void **state)
{
	(void)state;
	look(100, PING, "10.0.0.2", true);
	look(101, PING + WATCHER_CALLS, "10.0.0.2", true);
	assert_false(ends(110, PING, PING, IPPROTO_ICMP, 64));
	assert_true(ends(111, PING, PING + WATCHER_CALLS, IPPROTO_ICMP, 64));
	assert_int_equal(told.use.opened_ns, REAL + 101);
}

static void what_failed_has_no_length(void **state)
{
	(void)state;
	look(100, PING, "10.0.0.2", true);
	assert_true(ends(110, PING, PING, IPPROTO_ICMP, -105));
	assert_true(told.use.sent_bytes == SNAP_UNKNOWN_BYTES);
}

static void a_call_whose_look_up_was_not_told_is_not_either(void **state)
{
	(void)state;
	look(100, PING, "10.0.0.2", false);
	assert_false(ends(110, PING, PING, IPPROTO_ICMP, 64));
	look(200, PING, "10.0.0.2", true);
	assert_true(ends(210, PING, PING, IPPROTO_ICMP, 64));
}

static void a_look_up_is_taken_once(void **state)
{
	struct tracepoint_event event = {
		.kind = TRACEPOINT_SEND, .pid = PING, .tid = PING, .protocol = IPPROTO_ICMP};

	(void)state;
	assert_false(watcher_calls_take(&calls, &event, &told));
	look(100, PING, "10.0.0.2", false);
	assert_true(watcher_calls_take(&calls, &event, &told));
	assert_int_equal(told.use.at_ns, REAL + 100);
	assert_false(watcher_calls_take(&calls, &event, &told));
}

#define FACT(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_call_is_told_from_its_first_look_up_to_its_end),
		FACT(another_host_is_another_call),
		FACT(what_another_task_or_protocol_sends_is_not_it),
		FACT(a_taken_place_is_lost_and_not_mixed_up),
		FACT(what_failed_has_no_length),
		FACT(a_call_whose_look_up_was_not_told_is_not_either),
		FACT(a_look_up_is_taken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
