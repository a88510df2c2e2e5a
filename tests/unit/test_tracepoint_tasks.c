/* Records from bytes that no tracepoint writes: of tasks, and of losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/perf_event.h>

#include "snapshot/tracepoint_layout.h"
#include "tests/unit/record.h"

/* They need none. */
static const struct tracepoint_layout layout;

static void make_task(uint32_t type, uint32_t pid, uint32_t parent, uint32_t tid,
		      uint32_t parent_tid)
{
	record_begin(type);
	record_put32(pid);
	record_put32(parent);
	record_put32(tid);
	record_put32(parent_tid);
	record_put64(6000000000);
	record_put64(UINT64_MAX); /* the id's pid and tid */
	record_put64(7000000000);
	record_finish();
}

static void test_a_process_is_forked(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_task(PERF_RECORD_FORK, 300, 200, 300, 201);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_FORK);
	assert_int_equal(event.u.child, 300);
	assert_int_equal(event.pid, 200);
	assert_int_equal(event.tid, 201);
	assert_true(event.time_ns == 6000000000);
	assert_true(event.in_task);
	assert_true(event.sk == 0);
	make_task(PERF_RECORD_FORK, 200, 200, 301, 201);
	assert_int_equal(record_parse(&layout, &event), 0); /* a thread */
	make_task(PERF_RECORD_FORK, UINT32_MAX, 200, UINT32_MAX, 201);
	assert_int_equal(record_parse(&layout, &event), 0); /* without a number here */
}

static void test_a_task_ends(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_task(PERF_RECORD_EXIT, 300, 200, 305, 200);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_EXIT);
	assert_int_equal(event.pid, 300);
	assert_int_equal(event.tid, 305);
	make_task(PERF_RECORD_EXIT, UINT32_MAX, 0, UINT32_MAX, 0);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.pid, 0);
}

/* The network's namespace and count - 1 others. */
static void make_namespaces(uint32_t pid, uint32_t tid, uint64_t netns, uint64_t count)
{
	record_begin(PERF_RECORD_NAMESPACES);
	record_put32(pid);
	record_put32(tid);
	record_put64(count);
	for (uint64_t i = 0; i < count; i++) {
		record_put64(4); /* the device */
		record_put64(i ? 4026531830 + i : netns);
	}
	record_put32(200); /* who made it */
	record_put32(201);
	record_put64(7000000000);
	record_finish();
}

static void assert_netns_parsed(uint64_t netns)
{
	struct tracepoint_event event;

	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_NETNS);
	assert_int_equal(event.pid, 300);
	assert_int_equal(event.tid, 301);
	assert_true(event.time_ns == 7000000000);
	assert_true(event.in_task);
	assert_int_equal(event.cpu, 0);
	assert_true(event.sk == 0);
	assert_true(event.u.netns == netns);
}

static void test_a_task_is_in_a_network_namespace(void **state)
{
	(void)state;
	make_namespaces(300, 301, 4026532177, 7);
	assert_netns_parsed(4026532177);
	make_namespaces(300, 301, 0x123456789abcdef, 7);
	assert_netns_parsed(0x123456789abcdef);
	make_namespaces(300, 301, 4026532177, 1); /* the kernel may have fewer, or more */
	assert_netns_parsed(4026532177);
	make_namespaces(300, 301, 4026532177, 200);
	assert_netns_parsed(4026532177);
}

static void test_a_namespace_without_a_number_is_not_told(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_namespaces(300, 301, 0, 7);
	assert_int_equal(record_parse(&layout, &event), 0);
	make_namespaces(300, 301, 0, 0);
	assert_int_equal(record_parse(&layout, &event), 0);
	/* Nor of a task without one. */
	make_namespaces(UINT32_MAX, UINT32_MAX, 4026532177, 7);
	assert_int_equal(record_parse(&layout, &event), 0);
	make_namespaces(0, 0, 4026532177, 7);
	assert_int_equal(record_parse(&layout, &event), 0);
}

static void test_more_namespaces_than_there_are_make_no_sense(void **state)
{
	static const uint64_t counts[] = {8, 9, UINT32_MAX, 1ULL << 60, UINT64_MAX};
	struct tracepoint_event event;

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		make_namespaces(300, 301, 4026532177, 7);
		record_set(record_bytes + 16, counts[i], 8);
		assert_int_equal(record_parse(&layout, &event), ERROR_DAMAGED);
	}
}

static void make_lost(uint32_t type)
{
	record_begin(type);
	record_put64(9);
	record_put64(1234);
	record_put64(UINT64_MAX);
	record_put64(8000000000);
	record_finish();
}

static void test_events_are_lost(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_lost(PERF_RECORD_LOST);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_LOST);
	assert_true(event.u.lost == 1234);
	assert_true(event.time_ns == 8000000000);
	make_lost(PERF_RECORD_THROTTLE);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_LOST);
	assert_true(event.u.lost == 0);
}

static void test_a_record_cut_anywhere_makes_no_sense(void **state)
{
	(void)state;
	make_task(PERF_RECORD_FORK, 300, 200, 300, 201);
	record_check_cut(&layout);
	make_task(PERF_RECORD_EXIT, 300, 200, 300, 201);
	record_check_cut(&layout);
	make_namespaces(300, 301, 4026532177, 7);
	record_check_cut(&layout);
	make_namespaces(300, 301, 4026532177, 1);
	record_check_cut(&layout);
	make_lost(PERF_RECORD_LOST);
	record_check_cut(&layout);
}

#define TEST(name) cmocka_unit_test(test_##name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_process_is_forked),
		TEST(a_task_ends),
		TEST(a_task_is_in_a_network_namespace),
		TEST(a_namespace_without_a_number_is_not_told),
		TEST(more_namespaces_than_there_are_make_no_sense),
		TEST(events_are_lost),
		TEST(a_record_cut_anywhere_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
