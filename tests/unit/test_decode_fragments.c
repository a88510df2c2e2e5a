/* test_decode_fragments.c - whose ports a later fragment gets, and whose not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/decode.h"

#define SECOND INT64_C(1000000000)
#define START  (INT64_C(1795290600) * SECOND)

static struct decode_fragments *table;

static int set_up(void **state)
{
	(void)state;
	table = decode_fragments_new();
	return table ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	decode_fragments_free(table);
	return 0;
}

static struct packet fragment(int64_t time_ns, uint32_t id)
{
	struct packet packet;

	memset(&packet, 0, sizeof(packet));
	packet.time_ns = time_ns;
	packet.outcome = DECODE_FLOW;
	packet.ip_version = 4;
	packet.protocol = 17;
	packet.source.address.bytes[15] = 1;
	packet.destination.address.bytes[15] = 2;
	packet.fragment_id = id;
	return packet;
}

static struct packet first(int64_t time_ns, uint32_t id, uint16_t port)
{
	struct packet packet = fragment(time_ns, id);

	packet.fragment_first = true;
	packet.source.port = port;
	packet.destination.port = 53;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FLOW);
	return packet;
}

static struct packet later(int64_t time_ns, uint32_t id, bool last)
{
	struct packet packet = fragment(time_ns, id);

	packet.fragment_later = true;
	packet.fragment_last = last;
	decode_fragments_apply(table, &packet);
	return packet;
}

/* 0: it got no ports. */
static uint16_t port_of_later(int64_t time_ns, uint32_t id, bool last)
{
	struct packet packet = later(time_ns, id, last);

	if (packet.outcome == DECODE_FRAGMENT) {
		assert_int_equal(packet.source.port, 0);
		return 0;
	}
	assert_int_equal(packet.outcome, DECODE_FLOW);
	assert_int_equal(packet.destination.port, 53);
	return packet.source.port;
}

static void later_fragments_get_the_ports_of_the_first(void **state)
{
	(void)state;
	first(START, 7, 4000);
	first(START, 8, 4001);
	assert_int_equal(port_of_later(START + 1, 7, false), 4000);
	assert_int_equal(port_of_later(START + 2, 8, true), 4001);
	assert_int_equal(port_of_later(START + 3, 7, true), 4000);
	assert_int_equal(later(START + 3, 7, true).tcp_flags, 0);
}

static void without_its_first_a_fragment_is_no_flow(void **state)
{
	(void)state;
	assert_int_equal(port_of_later(START, 7, true), 0);
	first(START, 7, 4000);
	assert_int_equal(port_of_later(START, 6, true), 0);
}

static void the_key_is_addresses_protocol_and_id(void **state)
{
	struct packet packet;

	(void)state;
	first(START, 7, 4000);
	packet = fragment(START, 7);
	packet.fragment_later = true;
	packet.protocol = 6;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FRAGMENT);
	packet = fragment(START, 7);
	packet.fragment_later = true;
	packet.source.address.bytes[15] = 3;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FRAGMENT);
	packet = fragment(START, 7);
	packet.fragment_later = true;
	packet.ip_version = 6;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FRAGMENT);
}

static void icmp_keeps_type_code_and_ident(void **state)
{
	struct packet packet = fragment(START, 7);

	(void)state;
	packet.fragment_first = true;
	packet.protocol = 1;
	packet.icmp_type = 8;
	packet.icmp_code = 1;
	packet.icmp_id = 0x4242;
	decode_fragments_apply(table, &packet);
	packet = fragment(START, 7);
	packet.fragment_later = true;
	packet.protocol = 1;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FLOW);
	assert_int_equal(packet.icmp_type, 8);
	assert_int_equal(packet.icmp_code, 1);
	assert_int_equal(packet.icmp_id, 0x4242);
}

/* The fragment header of a later one may name an extension header. */
static void ipv6_fragments_get_the_protocol_too(void **state)
{
	struct packet packet = fragment(START, 0xdeadbeef);

	(void)state;
	packet.ip_version = 6;
	packet.fragment_first = true;
	packet.source.port = 4000;
	decode_fragments_apply(table, &packet);
	packet = fragment(START, 0xdeadbeef);
	packet.ip_version = 6;
	packet.fragment_later = true;
	packet.protocol = 60;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FLOW);
	assert_int_equal(packet.protocol, 17);
	assert_int_equal(packet.source.port, 4000);
}

static void protocols_without_ports_need_no_first(void **state)
{
	struct packet packet = fragment(START, 7);

	(void)state;
	packet.fragment_later = true;
	packet.protocol = 47;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FLOW);
}

static void entries_age_by_packet_time(void **state)
{
	(void)state;
	first(START, 7, 4000);
	assert_int_equal(port_of_later(START + 60 * SECOND, 7, false), 4000);
	assert_int_equal(port_of_later(START + 60 * SECOND + 1, 7, false), 0);
	assert_int_equal(port_of_later(START - 10 * SECOND, 7, false), 4000);
	assert_int_equal(port_of_later(START - 61 * SECOND, 7, false), 0);
	first(INT64_MIN, 9, 4000);
	assert_int_equal(port_of_later(INT64_MAX, 9, false), 0);
}

/* An id comes round soon on a fast link, and its new first may be missing. */
static void a_finished_datagram_is_soon_forgotten(void **state)
{
	(void)state;
	first(START, 7, 4000);
	assert_int_equal(port_of_later(START + 1, 7, true), 4000);
	assert_int_equal(port_of_later(START + SECOND, 7, true), 4000); /* a repeat */
	assert_int_equal(port_of_later(START + 2 * SECOND, 7, false), 0);
	first(START + 3 * SECOND, 7, 4001);
	assert_int_equal(port_of_later(START + 3 * SECOND, 7, false), 4001);
}

static void a_second_first_replaces(void **state)
{
	(void)state;
	first(START, 7, 4000);
	first(START + 1, 7, 5000);
	assert_int_equal(port_of_later(START + 2, 7, true), 5000);
}

static void the_newest_survive_a_flood(void **state)
{
	uint32_t id, found = 0;

	(void)state;
	for (id = 0; id < 100000; id++)
		first(START, id, 4000);
	for (id = 0; id < 100000; id++)
		found += port_of_later(START, id, false) != 0;
	assert_int_equal(found, 8192);
	for (id = 99000; id < 100000; id++)
		assert_int_equal(port_of_later(START, id, false), 4000);
}

static void what_is_no_fragment_or_no_flow_is_left_alone(void **state)
{
	struct packet packet = fragment(START, 7);

	(void)state;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_FLOW);
	packet.outcome = DECODE_TRUNCATED;
	packet.fragment_first = true;
	decode_fragments_apply(table, &packet);
	assert_int_equal(packet.outcome, DECODE_TRUNCATED);
	assert_int_equal(port_of_later(START, 7, true), 0);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(later_fragments_get_the_ports_of_the_first),
		FACT(without_its_first_a_fragment_is_no_flow),
		FACT(the_key_is_addresses_protocol_and_id),
		FACT(icmp_keeps_type_code_and_ident),
		FACT(ipv6_fragments_get_the_protocol_too),
		FACT(protocols_without_ports_need_no_first),
		FACT(entries_age_by_packet_time),
		FACT(a_finished_datagram_is_soon_forgotten),
		FACT(a_second_first_replaces),
		FACT(the_newest_survive_a_flood),
		FACT(what_is_no_fragment_or_no_flow_is_left_alone),
	};

	decode_fragments_free(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
