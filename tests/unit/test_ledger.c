/* test_ledger.c - facts about adding up: stretches by owner, buckets, folding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/ledger.h"

#define SECOND INT64_C(1000000000)

static struct ledger ledger;
static struct flow flow;

static int begin(void **state)
{
	(void)state;
	ledger_init(&ledger, SECOND, false);
	flow = (struct flow){0};
	for (int i = 0; i < 2; i++) {
		flow.end[i].span = flow.end[i].first_span = FLOW_NONE;
		flow.end[i].bucket = INT64_MIN;
	}
	return 0;
}

static int end(void **state)
{
	(void)state;
	ledger_release(&ledger);
	return 0;
}

static struct bridge_verdict owned(uint32_t process, uint32_t image, enum bridge_rule rule)
{
	return (struct bridge_verdict){
		.rule = rule,
		.reason = BRIDGE_OWNED,
		.by_tuple = rule <= BRIDGE_BEHIND,
		.socket = process,
		.process = process,
		.image = image,
		.shared_by = 1,
		.from_ns = INT64_MIN,
		.until_ns = INT64_MAX,
	};
}

static struct bridge_verdict unowned(enum bridge_reason reason)
{
	return (struct bridge_verdict){
		.rule = BRIDGE_NO_RULE,
		.reason = reason,
		.socket = TIMELINE_NONE,
		.process = TIMELINE_NONE,
		.image = TIMELINE_NONE,
		.frame = TIMELINE_NONE,
	};
}

static void turn(uint8_t side, struct bridge_verdict v)
{
	assert_int_equal(ledger_turn(&ledger, &flow, 0, side, &v), 0);
}

static void count(uint8_t side, int64_t time_ns, uint32_t bytes, bool sent, int64_t distance_ns)
{
	struct packet p = {.time_ns = time_ns, .ip_bytes = bytes, .payload_bytes = bytes - 40};

	assert_int_equal(ledger_count(&ledger, &flow, side, &p, sent, distance_ns), 0);
}

static void flush(void)
{
	assert_int_equal(ledger_flush(&ledger, &flow, 0), 0);
	assert_int_equal(ledger_flush(&ledger, &flow, 1), 0);
}

static void assert_traffic(size_t i, uint32_t span, int64_t bucket, uint32_t sent,
			   uint32_t received)
{
	assert_in_range(i, 0, ledger.traffic_count - 1);
	assert_int_equal(ledger.traffic[i].span, span);
	assert_int_equal(ledger.traffic[i].bucket, bucket);
	assert_int_equal(ledger.traffic[i].sent_packets, sent);
	assert_int_equal(ledger.traffic[i].received_packets, received);
}

static void buckets_hold_what_is_in_them(void **state)
{
	(void)state;
	turn(0, owned(1, 1, BRIDGE_EXACT));
	count(0, 5 * SECOND, 100, true, 0);
	count(0, 6 * SECOND - 1, 50, false, 0);
	count(0, 6 * SECOND, 60, true, 0);
	flush();
	assert_int_equal(ledger.traffic_count, 2);
	assert_traffic(0, 0, 5, 1, 1);
	assert_int_equal(ledger.traffic[0].sent_bytes, 100);
	assert_int_equal(ledger.traffic[0].received_bytes, 50);
	assert_traffic(1, 0, 6, 1, 0);
	flush();
	assert_int_equal(ledger.traffic_count, 2);
}

static void buckets_before_1970_go_down(void **state)
{
	(void)state;
	turn(0, owned(1, 1, BRIDGE_EXACT));
	count(0, -1, 100, true, 0);
	count(0, -SECOND, 100, true, 0);
	count(0, -SECOND - 1, 100, true, 0);
	flush();
	assert_traffic(0, 0, -1, 2, 0);
	assert_traffic(1, 0, -2, 1, 0);
}

static void one_owner_is_one_stretch_by_whatever_rule(void **state)
{
	(void)state;
	turn(0, owned(1, 1, BRIDGE_AHEAD));
	count(0, 10, 100, true, 500);
	turn(0, owned(1, 1, BRIDGE_EXACT));
	count(0, 20, 100, false, 7);
	turn(0, owned(2, 2, BRIDGE_EXACT));
	count(0, 30, 100, true, 0);
	turn(0, owned(1, 1, BRIDGE_BEHIND));
	count(0, 40, 60, true, 9);
	assert_int_equal(ledger.span_count, 2);
	assert_int_equal(ledger.spans[0].rule_packets[BRIDGE_AHEAD], 1);
	assert_int_equal(ledger.spans[0].rule_packets[BRIDGE_EXACT], 1);
	assert_int_equal(ledger.spans[0].rule_packets[BRIDGE_BEHIND], 1);
	assert_int_equal(ledger.spans[0].distance_ns, 500);
	assert_int_equal(ledger.spans[0].start_ns, 10);
	assert_int_equal(ledger.spans[0].end_ns, 40);
	assert_int_equal(ledger.spans[0].sent.bytes, 160);
	assert_int_equal(ledger.spans[0].sent.payload_bytes, 80);
	assert_int_equal(ledger.spans[0].received.packets, 1);
	assert_int_equal(ledger.spans[0].next, 1);
}

/* The traffic of a bucket goes to whom its packets went to. */
static void a_turn_within_a_bucket_splits_it(void **state)
{
	(void)state;
	turn(0, owned(1, 1, BRIDGE_EXACT));
	count(0, 10, 100, true, 0);
	turn(0, owned(2, 2, BRIDGE_EXACT));
	count(0, 20, 100, true, 0);
	count(0, 30, 100, true, 0);
	flush();
	assert_int_equal(ledger.traffic_count, 2);
	assert_traffic(0, 0, 0, 1, 0);
	assert_traffic(1, 1, 0, 2, 0);
}

static void another_image_is_another_owner(void **state)
{
	(void)state;
	turn(0, owned(1, 1, BRIDGE_EXACT));
	turn(0, owned(1, 2, BRIDGE_EXACT));
	assert_int_equal(ledger.span_count, 2);
}

static void the_two_ends_are_apart(void **state)
{
	(void)state;
	turn(0, owned(1, 1, BRIDGE_EXACT));
	turn(1, owned(1, 1, BRIDGE_EXACT));
	count(0, 10, 100, true, 0);
	count(1, 10, 100, false, 0);
	flush();
	assert_int_equal(ledger.span_count, 2);
	assert_int_equal(ledger.spans[0].sent.packets, 1);
	assert_int_equal(ledger.spans[1].received.packets, 1);
	assert_int_equal(ledger.traffic_count, 2);
}

static void reasons_are_stretches_without_rules(void **state)
{
	(void)state;
	turn(0, unowned(BRIDGE_GAP));
	count(0, 10, 100, true, 0);
	turn(0, unowned(BRIDGE_NO_HOLDER));
	count(0, 20, 100, true, 0);
	turn(0, unowned(BRIDGE_GAP));
	count(0, 30, 100, true, 0);
	assert_int_equal(ledger.span_count, 2);
	assert_int_equal(ledger.spans[0].sent.packets, 2);
	for (int i = 0; i < BRIDGE_RULES; i++)
		assert_int_equal(ledger.spans[0].rule_packets[i], 0);
}

static void candidates_are_gathered_once_each(void **state)
{
	const struct bridge_candidate first[] = {{1, 1, 1}, {2, 2, 2}},
				      second[] = {{2, 2, 2}, {3, 3, 3}};
	struct bridge_verdict v = unowned(BRIDGE_AMBIGUOUS);

	(void)state;
	v.candidates = first;
	v.candidate_count = v.shared_by = 2;
	turn(0, v);
	turn(1, v); /* so that the first one's must move when they grow */
	v.candidates = second;
	turn(0, v);
	assert_int_equal(ledger.spans[0].candidate_count, 3);
	assert_int_equal(ledger.spans[1].candidate_count, 2);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(ledger.candidates[ledger.spans[0].first_candidate + i].process,
				 i + 1);
	assert_int_equal(ledger.spans[0].shared_by, 2);
}

static void a_disowned_stretch_keeps_its_packets(void **state)
{
	(void)state;
	turn(0, owned(1, 1, BRIDGE_AHEAD));
	count(0, 10, 100, true, 500);
	ledger_disown(&ledger, &flow, 0, BRIDGE_GAP);
	assert_int_equal(ledger.spans[0].reason, BRIDGE_GAP);
	assert_int_equal(ledger.spans[0].process, TIMELINE_NONE);
	assert_int_equal(ledger.spans[0].rule_packets[BRIDGE_AHEAD], 0);
	assert_int_equal(ledger.spans[0].distance_ns, 0);
	assert_int_equal(ledger.spans[0].sent.packets, 1);
	assert_int_equal(ledger_final(&ledger, 0), 0);
}

static void a_disowned_stretch_is_folded_into_one_of_the_same_reason(void **state)
{
	(void)state;
	turn(0, unowned(BRIDGE_GAP));
	count(0, 20, 100, true, 0);
	turn(0, owned(1, 1, BRIDGE_AHEAD));
	count(0, 10, 60, false, 500);
	count(0, 50, 60, true, 500);
	ledger_disown(&ledger, &flow, 1, BRIDGE_GAP);
	assert_int_equal(ledger_final(&ledger, 1), 0);
	assert_int_equal(ledger_final(&ledger, LEDGER_NONE), LEDGER_NONE);
	assert_int_equal(ledger.spans[0].sent.packets, 2);
	assert_int_equal(ledger.spans[0].sent.bytes, 160);
	assert_int_equal(ledger.spans[0].received.packets, 1);
	assert_int_equal(ledger.spans[0].start_ns, 10);
	assert_int_equal(ledger.spans[0].end_ns, 50);
	assert_int_equal(flow.end[0].span, 0);
	/* What is folded is never found again. */
	turn(0, owned(1, 1, BRIDGE_EXACT));
	assert_int_equal(ledger.span_count, 3);
	assert_int_equal(flow.end[0].span, 2);
}

static void a_cleared_ledger_is_empty(void **state)
{
	const struct ledger_packet kept = {.number = 7};

	(void)state;
	turn(0, owned(1, 1, BRIDGE_EXACT));
	ledger.other[DECODE_ARP].packets = 3;
	assert_int_equal(ledger_keep(&ledger, &kept), 0);
	assert_int_equal(ledger.packets[0].number, 7);
	ledger_clear(&ledger);
	assert_int_equal(ledger.span_count + ledger.traffic_count + ledger.packet_count, 0);
	assert_int_equal(ledger.other[DECODE_ARP].packets, 0);
	assert_int_equal(ledger.bucket_ns, SECOND);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(buckets_hold_what_is_in_them),
		FACT(buckets_before_1970_go_down),
		FACT(one_owner_is_one_stretch_by_whatever_rule),
		FACT(a_turn_within_a_bucket_splits_it),
		FACT(another_image_is_another_owner),
		FACT(the_two_ends_are_apart),
		FACT(reasons_are_stretches_without_rules),
		FACT(candidates_are_gathered_once_each),
		FACT(a_disowned_stretch_keeps_its_packets),
		FACT(a_disowned_stretch_is_folded_into_one_of_the_same_reason),
		FACT(a_cleared_ledger_is_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
