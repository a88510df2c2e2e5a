/* test_decode.c - link layers, and which packet is IP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/frames.h"

static void padding_does_not_count(void **state)
{
	struct packet p;

	(void)state;
	frame_put_ethernet(0x0800);
	frame_put_ipv4(6, 0, 1, 0);
	frame_put_tcp(DECODE_TCP_ACK);
	frame_finish(0);
	frame_put_n(0, 6);
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 40, 0);
	frame_make_pppoe_udp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 31, 3);
}

static void cooked_headers_tell_direction_and_interface(void **state)
{
	static const enum decode_direction directions[] = {
		DECODE_TO_US,	 DECODE_BROADCAST,    DECODE_MULTICAST,	   DECODE_OTHER_HOST,
		DECODE_OUTGOING, DECODE_NO_DIRECTION, DECODE_NO_DIRECTION,
	};
	struct packet p;
	uint32_t i;

	(void)state;
	frame_make_sll2_udp6();
	p = frame_decode();
	frame_assert_flow(&p, 6, 17, 68, 20);
	frame_assert_ports(&p, 5353, 53);
	assert_int_equal(p.ifindex, 3);
	assert_memory_equal(p.source.address.bytes, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_memory_equal(p.destination.address.bytes, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2",
			    16);
	for (i = 0; i < 7; i++) {
		frame.bytes[10] = (uint8_t)i;
		assert_int_equal(frame_decode().direction, directions[i]);
	}
	frame_set16(8, 824); /* a netlink message on nlmon */
	p = frame_decode();
	frame_assert_outcome(&p, "not-ip");

	frame_make_sll_udp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 37, 9);
	assert_int_equal(p.direction, DECODE_OUTGOING);
	assert_int_equal(p.ifindex, 0);
}

static void vlan_tags_outer_and_inner(void **state)
{
	struct packet p;

	(void)state;
	frame_make_qinq_tcp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 41, 1);
	assert_int_equal(p.vlan, 100);
	assert_int_equal(p.inner_vlan, 200);

	frame_set16(14, 0x2fff); /* reserved */
	assert_int_equal(frame_decode().vlan, 0);
	frame_set16(14, 0x2000); /* priority only */
	frame_set16(18, 0x0fff); /* reserved */
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 41, 1);
	assert_int_equal(p.vlan, 0);
	assert_int_equal(p.inner_vlan, 0);

	frame_put_ethernet(0x8100);
	frame_put16(5);
	frame_put16(0x0806);
	frame_put_n(0, 28);
	p = frame_decode();
	frame_assert_outcome(&p, "arp");
	assert_int_equal(p.vlan, 5);
	assert_int_equal(p.ip_bytes, 28);
}

static void what_is_not_ip(void **state)
{
	struct packet p;

	(void)state;
	frame_make_arp();
	p = frame_decode();
	frame_assert_outcome(&p, "arp");
	assert_int_equal(p.ip_bytes, 46);
	assert_int_equal(p.ip_version, 0);

	frame_put_ethernet(0x88cc); /* LLDP */
	frame_put_n(0, 46);
	p = frame_decode();
	frame_assert_outcome(&p, "not-ip");
	assert_int_equal(p.ip_bytes, 46);

	frame_put_ethernet(38); /* spanning tree: LLC, then padding */
	frame_put_n(0x42, 46);
	p = frame_decode();
	frame_assert_outcome(&p, "not-ip");

	frame_put_ethernet(0x8847); /* a pseudowire's control word */
	frame_put32(0x00010140);
	frame_put_n(0, 40);
	p = frame_decode();
	frame_assert_outcome(&p, "not-ip");

	frame_start(147);
	frame_put_n(0, 30);
	p = frame_decode();
	frame_assert_outcome(&p, "unknown-link");
	assert_int_equal(p.ip_bytes, 30);
}

static void other_ways_to_ip(void **state)
{
	struct packet p;

	(void)state;
	frame_make_snap_udp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 32, 4);
	frame.bytes[14 + 5] = 0xf8; /* bridged (RFC 1042's 00-00-F8) */
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 32, 4);
	frame.bytes[14 + 5] = 0x0c; /* another organization's numbers */
	p = frame_decode();
	frame_assert_outcome(&p, "not-ip");
	frame_make_mpls_udp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 31, 3);
	frame.bytes[14 + 2] |= 0x0e; /* the traffic class is not the bottom of the stack */
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 31, 3);
	frame_make_pppoe_udp();
	frame_set16(14 + 8 + 2, 0); /* offload: PPPoE's length ends it before the padding */
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 31, 3);
	frame_set16(14 + 4, 100);
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame_start(9);
	frame_put16(0xff03);
	frame_put8(0x21); /* compressed protocol */
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(1);
	frame_finish(1);
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 29, 1);
}

static void loopback_families(void **state)
{
	static const uint32_t families6[] = {10, 24, 28, 30};
	struct packet p;
	uint32_t i, order;

	(void)state;
	for (i = 0; i < 4; i++) {
		for (order = 0; order < 2; order++) {
			frame_make_null_tcp6();
			memset(frame.bytes, 0, 4);
			frame.bytes[order ? 3 : 0] = (uint8_t)families6[i];
			p = frame_decode();
			frame_assert_flow(&p, 6, 6, 60, 0);
		}
	}
	frame.bytes[0] = frame.bytes[3] = 0;
	frame.bytes[3] = 7;
	p = frame_decode();
	frame_assert_outcome(&p, "not-ip");
	frame_start(LOOP);
	frame_put32(2);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(0);
	frame_finish(0);
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 28, 0);
}

static void raw_links(void **state)
{
	static const int either[] = {12, 14, 101};
	struct packet p;
	uint32_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		frame_start(either[i]);
		frame_put_ipv6(17);
		frame_put_udp(0);
		frame_finish(0);
		p = frame_decode();
		frame_assert_flow(&p, 6, 17, 48, 0);
	}
	frame.link_type = 229;
	p = frame_decode();
	frame_assert_flow(&p, 6, 17, 48, 0);
	frame.link_type = 228;
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame_start(RAW);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(0);
	frame_finish(0);
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 28, 0);
}

static void outcomes_have_names(void **state)
{
	int outcome;

	(void)state;
	for (outcome = 0; outcome < DECODE_OUTCOME_END; outcome++)
		assert_string_not_equal(decode_outcome_name((enum decode_outcome)outcome),
					"unknown");
	assert_string_equal(decode_outcome_name(DECODE_OUTCOME_END), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(padding_does_not_count),
		cmocka_unit_test(cooked_headers_tell_direction_and_interface),
		cmocka_unit_test(vlan_tags_outer_and_inner),
		cmocka_unit_test(what_is_not_ip),
		cmocka_unit_test(other_ways_to_ip),
		cmocka_unit_test(loopback_families),
		cmocka_unit_test(raw_links),
		cmocka_unit_test(outcomes_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
