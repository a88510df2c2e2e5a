/* test_live.c - facts about the merger's live flows: each comes back from where it is packed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/grow.h"
#include "analyze/merge_internal.h"
#include "snapshot/format/quantity.h"

#define NONE  UINT32_MAX
#define FLOWS 3000u

static struct merge merge;
static struct merge_recording recording;
static uint64_t random_state;

static int begin(void **state)
{
	(void)state;
	recording = (struct merge_recording){.recording_id = 7};
	merge = (struct merge){.recording = &recording,
			       .limits = flow_default_limits,
			       .hand_place = NONE,
			       .last_ns = INT64_MIN,
			       .row = {.segment_id = 5}};
	random_state = 1;
	return 0;
}

static int end(void **state)
{
	(void)state;
	merge_release_live(&merge);
	return 0;
}

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* A number of any length. */
static uint64_t drawn(unsigned most_bits)
{
	return draw() >> (64 - most_bits) >> draw() % most_bits;
}

static int64_t drawn_time(int64_t none)
{
	return draw() % 4 == 0 ? none : (int64_t)drawn(62);
}

static void draw_count(struct flow_count *count)
{
	count->packets = drawn(62);
	count->bytes = drawn(62);
	count->payload_bytes = drawn(62);
}

static struct flow plain_flow(uint32_t number)
{
	struct flow flow = {
		.key = {.port = {443, (uint16_t)(number % 60000 + 1)},
			.protocol = 6,
			.ip_version = 4},
		.first_ns = INT64_C(1795290600000000000) + number * INT64_C(1000000),
		.began_ns = INT64_MIN,
		.count = {{1, 60, 0}, {2, 120, 10}},
		.history = {1 << 3 | FLOW_SYN, FLOW_SYN_ACK, 1 << 3 | FLOW_ACK},
		.history_length = 3,
		.ifindex = 2,
		.first_number = number,
		.first_offset_bytes = number * UINT64_C(100),
		.group_side = 2,
	};

	memset(flow.key.address[0] + 10, 0xff, 2);
	memset(flow.key.address[1] + 10, 0xff, 2);
	flow.key.address[0][12] = 10;
	memcpy(flow.key.address[1] + 12, &number, 4);
	flow.last_ns = flow.first_ns + 5000000;
	return flow;
}

/* All that is kept of a flow, each field with what it may be. */
static struct flow drawn_flow(uint32_t number)
{
	struct flow flow = plain_flow(number);

	for (int i = 0; i < 2; i++) {
		draw_count(&flow.count[i]);
		flow.tcp.isn[i] = (uint32_t)drawn(32);
		flow.tcp.fin_end[i] = (uint32_t)drawn(32);
		flow.tcp.isn_known[i] = draw() & 1;
		flow.tcp.isn_derived[i] = draw() & 1;
		flow.tcp.fin_known[i] = draw() & 1;
		flow.tcp.fin_moot[i] = draw() & 1;
		flow.end[i].local = draw() & 1;
	}
	flow.first_ns = (int64_t)drawn(62);
	flow.last_ns = (int64_t)drawn(62);
	flow.began_ns = drawn_time(INT64_MIN);
	flow.history_length = (uint8_t)(draw() % (FLOW_HISTORY_MAX + 1));
	memset(flow.history, 0, sizeof(flow.history));
	for (int i = 0; i < flow.history_length; i++)
		flow.history[i] = (uint8_t)((draw() & 1) << 3 | (draw() % FLOW_RST + 1));
	flow.originator = draw() & 1;
	flow.originator_sure = draw() & 1;
	flow.place = (uint8_t)(draw() % 4);
	flow.group_side = (uint8_t)(draw() % 3);
	flow.ifindex = (uint32_t)drawn(32);
	flow.first_number = drawn(62);
	flow.first_offset_bytes = drawn(62);
	if (draw() % 2 == 0) {
		flow.key.icmp_id = (uint16_t)drawn(16);
		flow.vlan = (uint16_t)drawn(16);
		flow.inner_vlan = (uint16_t)drawn(16);
		flow.repeats = drawn(62);
		flow.carried = (struct flow_carried){drawn(62), drawn(62), drawn(62), 1};
	}
	return flow;
}

static struct merge_connection drawn_connection(void)
{
	struct merge_connection k = {
		.side = draw() & 1,
		.by_tuple = draw() & 1,
		.refused = draw() & 1,
		.reason = (enum bridge_reason)(draw() % BRIDGE_REASONS),
		.connection_id = (int64_t)drawn(62),
		.distance_ns = STORE_NULL,
		.start_ns = (int64_t)drawn(62),
		.end_ns = (int64_t)drawn(62),
		.sighted_first_ns = INT64_MAX,
		.sighted_last_ns = STORE_NULL,
	};

	draw_count(&k.sent);
	draw_count(&k.received);
	if (draw() % 2 == 0)
		return k;
	k.process_id = (int64_t)drawn(62);
	k.socket_id = (int64_t)drawn(62);
	k.snapshot_id = (int64_t)drawn(62);
	k.shared_by = (int64_t)drawn(32);
	k.distance_ns = drawn_time(STORE_NULL);
	k.sighted_first_ns = drawn_time(INT64_MAX);
	k.sighted_last_ns = drawn_time(STORE_NULL);
	for (int i = 0; i < BRIDGE_RULES; i++)
		k.rule_packets[i] = (int64_t)drawn(62);
	return k;
}

static void same_flow(const struct flow *a, const struct flow *b)
{
	assert_true(flow_key_equal(&a->key, &b->key));
	assert_memory_equal(a->count, b->count, sizeof(a->count));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(a->tcp.isn[i], b->tcp.isn[i]);
		assert_int_equal(a->tcp.fin_end[i], b->tcp.fin_end[i]);
		assert_int_equal(a->tcp.isn_known[i], b->tcp.isn_known[i]);
		assert_int_equal(a->tcp.isn_derived[i], b->tcp.isn_derived[i]);
		assert_int_equal(a->tcp.fin_known[i], b->tcp.fin_known[i]);
		assert_int_equal(a->tcp.fin_moot[i], b->tcp.fin_moot[i]);
		assert_int_equal(a->end[i].local, b->end[i].local);
	}
	assert_int_equal(a->first_ns, b->first_ns);
	assert_int_equal(a->last_ns, b->last_ns);
	assert_int_equal(a->began_ns, b->began_ns);
	assert_int_equal(a->history_length, b->history_length);
	assert_memory_equal(a->history, b->history, a->history_length);
	assert_int_equal(a->originator, b->originator);
	assert_int_equal(a->originator_sure, b->originator_sure);
	assert_int_equal(a->place, b->place);
	assert_int_equal(a->group_side, b->group_side);
	assert_int_equal(a->vlan, b->vlan);
	assert_int_equal(a->inner_vlan, b->inner_vlan);
	assert_int_equal(a->ifindex, b->ifindex);
	assert_int_equal(a->first_number, b->first_number);
	assert_int_equal(a->first_offset_bytes, b->first_offset_bytes);
	assert_int_equal(a->repeats, b->repeats);
	assert_int_equal(a->carried.read, b->carried.read);
	assert_int_equal(a->carried.other, b->carried.other);
	assert_int_equal(a->carried.unreadable, b->carried.unreadable);
	assert_int_equal(a->carried.tunnel, b->carried.tunnel);
}

static void same_connection(const struct merge_connection *a, const struct merge_connection *b)
{
	assert_int_equal(a->side, b->side);
	assert_int_equal(a->by_tuple, b->by_tuple);
	assert_int_equal(a->refused, b->refused);
	assert_int_equal(a->reason, b->reason);
	assert_int_equal(a->connection_id, b->connection_id);
	assert_int_equal(a->process_id, b->process_id);
	assert_int_equal(a->socket_id, b->socket_id);
	assert_memory_equal(a->rule_packets, b->rule_packets, sizeof(a->rule_packets));
	assert_int_equal(a->shared_by, b->shared_by);
	assert_int_equal(a->snapshot_id, b->snapshot_id);
	assert_int_equal(a->distance_ns, b->distance_ns);
	assert_int_equal(a->start_ns, b->start_ns);
	assert_int_equal(a->end_ns, b->end_ns);
	assert_memory_equal(&a->sent, &b->sent, sizeof(a->sent));
	assert_memory_equal(&a->received, &b->received, sizeof(a->received));
	assert_int_equal(a->sighted_first_ns, b->sighted_first_ns);
	assert_int_equal(a->sighted_last_ns, b->sighted_last_ns);
}

static void add_connection(const struct merge_connection *k)
{
	uint32_t *link = &merge.hand.connections;

	assert_int_equal(grow_one(&merge.connections, merge.connection_count,
				  &merge.connection_capacity, sizeof(*merge.connections)),
			 0);
	while (*link != NONE)
		link = &merge.connections[*link].next;
	*link = (uint32_t)merge.connection_count;
	merge.connections[merge.connection_count] = *k;
	merge.connections[merge.connection_count++].next = NONE;
}

static void add(const struct flow *flow, uint32_t replaced)
{
	assert_int_equal(merge_begin_live(&merge, flow, replaced), 0);
}

static void keep(void)
{
	assert_int_equal(merge_keep_live(&merge), 0);
}

static void take(uint32_t place)
{
	assert_int_equal(merge_take_live(&merge, place), 0);
}

static uint32_t find(const struct flow *flow)
{
	uint32_t place;

	assert_int_equal(merge_find_live(&merge, &flow->key, &place), 0);
	return place;
}

static void all_that_is_kept_comes_back(void **state)
{
	struct flow *flows = calloc(FLOWS, sizeof(*flows));
	struct merge_connection(*ks)[4] = calloc(FLOWS, sizeof(*ks));
	int64_t reading_ns[FLOWS];

	(void)state;
	assert_non_null(flows);
	assert_non_null(ks);
	for (uint32_t i = 0; i < FLOWS; i++) {
		flows[i] = drawn_flow(i);
		add(&flows[i], NONE);
		merge.hand.part = i;
		merge.hand.part_flow = i * 3;
		merge.hand.stale = i % 2;
		merge.hand.reading_ns = reading_ns[i] = drawn_time(INT64_MAX);
		for (uint32_t k = 0; k < i % 5; k++) {
			ks[i][k] = drawn_connection();
			add_connection(&ks[i][k]);
		}
		keep();
	}
	for (uint32_t i = FLOWS; i-- > 0;) {
		uint32_t at;

		assert_int_equal(find(&flows[i]), i);
		same_flow(&merge.hand.flow, &flows[i]);
		assert_int_equal(merge.hand.recording_id, 7);
		assert_int_equal(merge.hand.flow_id, i + 1);
		assert_int_equal(merge.hand.segment_id, 5);
		assert_int_equal(merge.hand.part, i);
		assert_int_equal(merge.hand.part_flow, i * 3);
		assert_int_equal(merge.hand.stale, i % 2);
		assert_int_equal(merge.hand.reading_ns, reading_ns[i]);
		at = merge.hand.connections;
		for (uint32_t k = 0; k < i % 5; k++, at = merge.connections[at].next)
			same_connection(&merge.connections[at], &ks[i][k]);
		assert_int_equal(at, NONE);
	}
	free(flows);
	free(ks);
}

static void what_changes_in_hand_is_kept_and_no_other(void **state)
{
	const struct flow flows[] = {plain_flow(0), plain_flow(1), plain_flow(2)};
	struct flow changed = flows[1];
	struct merge_connection k = drawn_connection();

	(void)state;
	for (int i = 0; i < 3; i++) {
		add(&flows[i], NONE);
		keep();
	}
	changed.count[0].bytes = UINT64_C(1) << 60;
	changed.last_ns += NS_PER_SECOND;
	take(1);
	merge.hand.flow = changed;
	add_connection(&k);
	keep();
	for (uint32_t i = 0; i < 3; i++) {
		take(i);
		same_flow(&merge.hand.flow, i == 1 ? &changed : &flows[i]);
		assert_int_equal(merge.connection_count, i == 1);
	}
	take(1);
	same_connection(&merge.connections[0], &k);
}

/* A connection that was folded into another one is in no list. */
static void what_is_in_no_list_is_not_kept(void **state)
{
	const struct flow flow = plain_flow(0), other = plain_flow(1);
	struct merge_connection first = drawn_connection(), second = drawn_connection();

	(void)state;
	add(&flow, NONE);
	add_connection(&first);
	add_connection(&second);
	merge.hand.connections = merge.connections[0].next;
	keep();
	add(&other, NONE);
	keep();
	take(0);
	assert_int_equal(merge.connection_count, 1);
	same_connection(&merge.connections[merge.hand.connections], &second);
}

static void one_of_many_owners_comes_back(void **state)
{
	struct merge_connection ks[100];
	const uint32_t count = sizeof(ks) / sizeof(*ks);
	const struct flow flow = plain_flow(0), other = plain_flow(1);
	uint32_t at;

	(void)state;
	add(&flow, NONE);
	for (uint32_t k = 0; k < count; k++) {
		ks[k] = drawn_connection();
		add_connection(&ks[k]);
	}
	keep();
	add(&other, NONE);
	keep();
	/* As in the next load, which has held none yet. */
	free(merge.connections);
	merge.connections = NULL;
	merge.connection_capacity = 0;
	take(0);
	at = merge.hand.connections;
	for (uint32_t k = 0; k < count; k++, at = merge.connections[at].next)
		same_connection(&merge.connections[at], &ks[k]);
	assert_int_equal(at, NONE);
}

static void the_newest_of_a_key_is_found(void **state)
{
	const struct flow flow = plain_flow(0), absent = plain_flow(1);

	(void)state;
	add(&flow, NONE);
	merge.hand.replaced = true;
	keep();
	add(&flow, 0);
	keep();
	assert_int_equal(find(&flow), 1);
	assert_int_equal(find(&absent), NONE);
	recording.recording_id = 8;
	assert_int_equal(find(&flow), NONE);
}

static void finished_ones_are_forgotten(void **state)
{
	struct flow flow;

	(void)state;
	for (uint32_t i = 0; i < FLOWS; i++) {
		flow = plain_flow(i);
		add(&flow, NONE);
		merge.hand.replaced = i % 3 == 0;
		keep();
	}
	merge.last_ns = flow.last_ns;
	assert_int_equal(merge_forget_live(&merge), 0);
	assert_int_equal(merge.flows_count, FLOWS / 3 * 2);
	for (uint32_t i = 0; i < FLOWS; i++) {
		flow = plain_flow(i);
		if (i % 3 == 0) {
			assert_int_equal(find(&flow), NONE);
			continue;
		}
		assert_int_not_equal(find(&flow), NONE);
		same_flow(&merge.hand.flow, &flow);
	}
	merge.last_ns = INT64_MAX / 2;
	assert_int_equal(merge_forget_live(&merge), 0);
	assert_int_equal(merge.flows_count, 0);
}

/* With one connection of nobody's and nothing rare; its row has some 300 bytes. */
static void a_plain_flow_is_kept_in_few_bytes(void **state)
{
	const size_t most = 72;
	size_t bytes = 0;

	(void)state;
	for (uint32_t i = 0; i < FLOWS; i++) {
		const struct flow flow = plain_flow(i);
		const struct merge_connection k = {
			.reason = BRIDGE_GAP,
			.connection_id = i,
			.start_ns = flow.first_ns,
			.end_ns = flow.last_ns,
			.sent = flow.count[0],
			.received = flow.count[1],
			.distance_ns = STORE_NULL,
			.sighted_first_ns = INT64_MAX,
			.sighted_last_ns = STORE_NULL,
		};

		add(&flow, NONE);
		add_connection(&k);
		keep();
		bytes += merge.packing.length;
	}
	assert_in_range(bytes, 1, most * FLOWS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_that_is_kept_comes_back, begin, end),
		cmocka_unit_test_setup_teardown(what_changes_in_hand_is_kept_and_no_other, begin,
						end),
		cmocka_unit_test_setup_teardown(what_is_in_no_list_is_not_kept, begin, end),
		cmocka_unit_test_setup_teardown(one_of_many_owners_comes_back, begin, end),
		cmocka_unit_test_setup_teardown(the_newest_of_a_key_is_found, begin, end),
		cmocka_unit_test_setup_teardown(finished_ones_are_forgotten, begin, end),
		cmocka_unit_test_setup_teardown(a_plain_flow_is_kept_in_few_bytes, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
