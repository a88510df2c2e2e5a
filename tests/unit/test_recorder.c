/* When the writer takes the next segment: its packets are all later than the reading that it
 * begins with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "snapshot/format/quantity.h"
#include "snapshot/recorder_internal.h"

#define LONG_NS (60 * NS_PER_SECOND)

static struct segment segment;
static struct recorder recorder;
static struct capture_block block;

/* A reading that ended so long ago, after which the segment was offered. */
static void offer(int64_t ago_ns)
{
	recorder = (struct recorder){
		.offered = &segment,
		.offered_ns = quantity_now_ns(CLOCK_MONOTONIC) - ago_ns,
		.snapshot_end_ns = quantity_now_ns(CLOCK_REALTIME) - ago_ns,
	};
}

static bool may_switch(int64_t first_ns)
{
	block.first_ns = first_ns;
	return recorder_may_switch(&recorder, &block);
}

static void test_packets_later_than_the_reading_are_the_next_segment_s(void **state)
{
	(void)state;
	offer(0);
	assert_true(may_switch(recorder.snapshot_end_ns + 1));
	assert_false(may_switch(recorder.snapshot_end_ns));
	assert_false(may_switch(recorder.snapshot_end_ns - NS_PER_SECOND));
}

static void test_without_an_offer_there_is_none(void **state)
{
	(void)state;
	offer(LONG_NS);
	recorder.offered = NULL;
	assert_false(may_switch(recorder.snapshot_end_ns + 1));
}

/* The writer was held up for long: what it takes now has waited. */
static void test_after_a_stall_packets_of_before_the_reading_stay_with_the_old_segment(void **state)
{
	(void)state;
	offer(LONG_NS);
	assert_false(may_switch(recorder.snapshot_end_ns));
	assert_false(may_switch(recorder.snapshot_end_ns - NS_PER_SECOND));
	assert_true(may_switch(recorder.snapshot_end_ns + 1));
}

/* Then packets are earlier than the reading for as long as it was set back. */
static void test_where_the_clock_was_set_back_it_is_not_waited_for(void **state)
{
	(void)state;
	offer(LONG_NS);
	recorder.snapshot_end_ns += 100 * LONG_NS;
	assert_true(may_switch(recorder.snapshot_end_ns - 100 * LONG_NS));
	offer(0);
	recorder.snapshot_end_ns += 100 * LONG_NS;
	assert_false(may_switch(recorder.snapshot_end_ns - 100 * LONG_NS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets_later_than_the_reading_are_the_next_segment_s),
		cmocka_unit_test(test_without_an_offer_there_is_none),
		cmocka_unit_test(
			test_after_a_stall_packets_of_before_the_reading_stay_with_the_old_segment),
		cmocka_unit_test(test_where_the_clock_was_set_back_it_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
