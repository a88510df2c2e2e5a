/* test_repeats.c - facts about packets that were captured on several interfaces,
 * and about what only looks like it. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/flow.h"
#include "analyze/repeats.h"

#define LINK_RAW 101
#define US	 INT64_C(1000)
#define MS	 INT64_C(1000000)

enum { ETH = 2, BRIDGE = 3, VETH = 4, OTHER_VETH = 5 };

static struct repeats *repeats;
static uint8_t bytes[256];
static uint32_t length;
static int64_t now_ns;

static int begin(void **state)
{
	(void)state;
	repeats = repeats_new();
	assert_non_null(repeats);
	now_ns = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	repeats_free(repeats);
	return 0;
}

/* The packet in bytes, seen there after a pause. */
static bool seen(uint32_t ifindex, int64_t pause_ns)
{
	struct packet packet;

	decode_packet(LINK_RAW, bytes, length, length, &packet);
	assert_int_equal(packet.outcome, DECODE_FLOW);
	packet.time_ns = now_ns += pause_ns;
	packet.ifindex = ifindex;
	return repeats_seen(repeats, &packet);
}

static void put(uint32_t at, uint32_t value, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		bytes[at + i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static void ipv4(uint16_t id, uint8_t protocol, uint8_t to, uint32_t payload_bytes)
{
	memset(bytes, 0, sizeof(bytes));
	length = 20 + (protocol == IPPROTO_TCP ? 20 : 8) + payload_bytes;
	put(0, 0x4500, 2);
	put(2, length, 2);
	put(4, id, 2);
	put(8, 64, 1);
	put(9, protocol, 1);
	put(12, 0x0a000001, 4);
	put(16, (uint32_t)to << 24 | 2, 4);
	put(20, 40000, 2);
	put(22, 80, 2);
	if (protocol == IPPROTO_UDP)
		put(24, 8 + payload_bytes, 2);
}

static void tcp4(uint16_t id, uint32_t seq, uint32_t payload_bytes)
{
	ipv4(id, IPPROTO_TCP, 10, payload_bytes);
	put(24, seq, 4);
	put(32, 0x5010, 2);
}

static void tcp6(uint32_t seq, uint32_t payload_bytes)
{
	memset(bytes, 0, sizeof(bytes));
	length = 40 + 20 + payload_bytes;
	put(0, 0x60000000, 4);
	put(4, 20 + payload_bytes, 2);
	put(6, IPPROTO_TCP, 1);
	put(7, 64, 1);
	put(8, 0x20010db8, 4);
	put(23, 1, 1);
	put(24, 0x20010db8, 4);
	put(39, 2, 1);
	put(40, 40000, 2);
	put(42, 80, 2);
	put(44, seq, 4);
	put(52, 0x5010, 2);
}

static void one_packet_of_three_interfaces_is_counted_once(void **state)
{
	(void)state;
	tcp4(7, 100, 50);
	assert_false(seen(VETH, 0));
	assert_true(seen(BRIDGE, 5 * US));
	assert_true(seen(OTHER_VETH, 5 * US));
	tcp6(100, 50);
	assert_false(seen(VETH, 0));
	assert_true(seen(BRIDGE, 5 * US));
	assert_true(seen(OTHER_VETH, 5 * US));
}

static void one_interface_never_repeats_itself(void **state)
{
	(void)state;
	tcp4(7, 100, 50);
	assert_false(seen(VETH, 0));
	assert_false(seen(VETH, 1));
	tcp6(100, 50);
	assert_false(seen(VETH, 0));
	assert_false(seen(VETH, 1));
}

static void without_an_interface_nothing_is_a_repeat(void **state)
{
	(void)state;
	tcp4(7, 100, 50);
	assert_false(seen(0, 0));
	assert_false(seen(0, 0));
	assert_false(seen(VETH, 0));
}

static void routing_changes_ttl_and_checksums_alone(void **state)
{
	(void)state;
	tcp4(7, 100, 50);
	assert_false(seen(VETH, 0));
	put(8, 63, 1);
	put(10, 0xbeef, 2);
	put(36, 0xdead, 2); /* TCP's, left to the last interface */
	assert_true(seen(ETH, 5 * US));
	put(12, 0xc0000201, 4); /* translated: another conversation */
	assert_false(seen(BRIDGE, 5 * US));
	tcp6(100, 50);
	assert_false(seen(VETH, 0));
	put(7, 63, 1);
	assert_true(seen(ETH, 5 * US));
}

static void every_other_byte_of_the_headers_tells_packets_apart(void **state)
{
	(void)state;
	for (uint32_t at = 1; at < 60; at++) {
		if (at == 2 || at == 3 || at == 6 || at == 7 || at == 8 || at == 9 || at == 10 ||
		    at == 11 || at == 32 || at == 36 || at == 37)
			continue; /* lengths, fragments, protocol, and what may differ */
		now_ns += 100 * MS;
		tcp4(7, 100, 50);
		assert_false(seen(VETH, 0));
		bytes[at] ^= 1;
		assert_false(seen(ETH, 5 * US));
	}
}

/* A retransmission of Linux has another number; the same segment went out before. */
static void a_retransmission_is_counted(void **state)
{
	(void)state;
	tcp4(7, 100, 50);
	assert_false(seen(VETH, 0));
	tcp4(8, 100, 50);
	assert_false(seen(ETH, 5 * US));
	assert_true(seen(VETH, 5 * US));
}

/* Without numbers, it is the interface on the way of both that tells. */
static void equal_packets_are_as_many_as_one_interface_saw(void **state)
{
	(void)state;
	tcp6(100, 50);
	assert_false(seen(VETH, 0)); /* lost behind it */
	assert_false(seen(VETH, 300 * US));
	assert_true(seen(BRIDGE, 5 * US));
	now_ns += 100 * MS;
	assert_false(seen(VETH, 0));
	assert_false(seen(VETH, US)); /* both in a burst, before either goes on */
	assert_true(seen(BRIDGE, US));
	assert_true(seen(BRIDGE, US));
	assert_false(seen(BRIDGE, US)); /* one that was not seen there */
}

/* Two links that share the load: the second try takes the other one. */
static void a_fast_retransmission_on_another_way_is_counted(void **state)
{
	(void)state;
	tcp6(100, 50);
	assert_false(seen(ETH, 0)); /* lost */
	tcp6(150, 50);
	assert_false(seen(VETH, 10 * US));
	tcp6(200, 50);
	assert_false(seen(ETH, 10 * US));
	tcp6(100, 50);
	assert_false(seen(VETH, 200 * US));
}

static void what_a_timer_sends_again_is_counted(void **state)
{
	(void)state;
	tcp6(100, 50);
	assert_false(seen(ETH, 0));
	assert_false(seen(VETH, 2 * MS)); /* a tail loss probe */
	assert_true(seen(OTHER_VETH, 10 * US));
	tcp4(0, 100, 50); /* not numbered */
	assert_false(seen(ETH, 0));
	assert_false(seen(VETH, 2 * MS));
	tcp4(7, 100, 50); /* numbered: 2 ms late, not sent again */
	assert_false(seen(ETH, 0));
	assert_true(seen(VETH, 2 * MS));
	assert_false(seen(BRIDGE, 200 * MS));
}

static void datagrams_count_once_too(void **state)
{
	(void)state;
	ipv4(0, IPPROTO_UDP, 10, 30);
	assert_false(seen(VETH, 0));
	assert_true(seen(BRIDGE, 5 * US));
	put(35, 1, 1);
	assert_false(seen(BRIDGE, 5 * US));
	ipv4(9, IPPROTO_ICMP, 10, 30);
	assert_false(seen(VETH, 0));
	assert_true(seen(BRIDGE, 5 * US));
}

/* A program announces itself to each of its networks in the same words. */
static void an_unnumbered_datagram_to_a_group_is_counted_on_each_interface(void **state)
{
	(void)state;
	ipv4(0, IPPROTO_UDP, 224, 30);
	assert_false(seen(VETH, 0));
	assert_false(seen(ETH, 5 * US));
	ipv4(9, IPPROTO_UDP, 224, 30);
	assert_false(seen(VETH, 0));
	assert_true(seen(BRIDGE, 5 * US));
}

/* The checksum stands for the payload that the snaplen cut off. */
static void a_cut_packet_is_known_by_its_checksum(void **state)
{
	struct packet packet;

	(void)state;
	ipv4(0, IPPROTO_UDP, 10, 100);
	for (int i = 0; i < 3; i++) {
		put(26, i < 2 ? 0x1234 : 0x4321, 2);
		decode_packet(LINK_RAW, bytes, 40, length, &packet);
		packet.ifindex = (uint32_t)i + 1;
		packet.time_ns = i;
		assert_int_equal(repeats_seen(repeats, &packet), i == 1);
	}
}

/* More equal packets at once than a set has room for: forgotten, so counted. */
static void what_is_forgotten_is_counted(void **state)
{
	unsigned counted = 0;

	(void)state;
	tcp4(7, 100, 50);
	for (uint32_t ifindex = 1; ifindex <= 200; ifindex++)
		counted += !seen(ifindex, 1);
	assert_in_range(counted, 1, 20);
	/* Never fewer than any one interface saw. */
	now_ns += 100 * MS;
	counted = 0;
	for (unsigned round = 1; round <= 5; round++) {
		counted += !seen(1, 1);
		for (uint32_t ifindex = 1; ifindex <= 40; ifindex++)
			counted += !seen(100 * round + ifindex, 1);
		assert_in_range(counted, round, 5 * 41);
	}
}

static void a_repeat_is_kept_on_its_flow(void **state)
{
	struct flow_table table;
	struct packet packet;
	uint32_t ended;
	uint8_t side;

	(void)state;
	flow_table_init(&table, &flow_default_limits);
	tcp4(7, 100, 50);
	decode_packet(LINK_RAW, bytes, length, length, &packet);
	packet.time_ns = 1;
	assert_false(flow_table_repeat(&table, &packet));
	assert_int_equal(flow_table_add(&table, &packet, &side, &ended), 0);
	assert_true(flow_table_repeat(&table, &packet));
	assert_int_equal(table.flows[0].repeats, 1);
	assert_int_equal(table.flows[0].count[side].packets, 1);
	flow_table_release(&table);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(one_packet_of_three_interfaces_is_counted_once),
		FACT(one_interface_never_repeats_itself),
		FACT(without_an_interface_nothing_is_a_repeat),
		FACT(routing_changes_ttl_and_checksums_alone),
		FACT(every_other_byte_of_the_headers_tells_packets_apart),
		FACT(a_retransmission_is_counted),
		FACT(equal_packets_are_as_many_as_one_interface_saw),
		FACT(a_fast_retransmission_on_another_way_is_counted),
		FACT(what_a_timer_sends_again_is_counted),
		FACT(datagrams_count_once_too),
		FACT(an_unnumbered_datagram_to_a_group_is_counted_on_each_interface),
		FACT(a_cut_packet_is_known_by_its_checksum),
		FACT(what_is_forgotten_is_counted),
		FACT(a_repeat_is_kept_on_its_flow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
