/* test_decode_tunnel.c - what packets carry for others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/decode_tunnel.h"
#include "tests/unit/frames.h"

enum { IN_IPV4 = 4, IN_IPV6 = 41, IN_GRE = 47, IN_UDP = 17 };

static uint32_t outer_at, carried_at;

static void outer4(uint32_t protocol)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(protocol, 0, 9, 0);
	outer_at = frame_ip_at;
}

static void outer6(uint32_t next)
{
	frame_put_ethernet(0x86dd);
	frame_put_ipv6(next);
	outer_at = frame_ip_at;
}

static void outer_udp(uint32_t port)
{
	outer4(IN_UDP);
	frame_put16(50000);
	frame_put16(port);
	frame_put32(0);
}

/* 192.0.2.1 port 5353 to 198.51.100.2 port 53, and the end of all that is around it. */
static void inner4(void)
{
	carried_at = frame.length;
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(12);
	frame_finish(12);
	frame_ip_at = outer_at;
	frame_finish(0);
	if (frame.bytes[outer_at] == 0x45 && frame.bytes[outer_at + 9] == IN_UDP)
		frame_set16(outer_at + 24, frame.length - outer_at - 20);
}

static void inner6(void)
{
	carried_at = frame.length;
	frame_put_ipv6(6);
	frame_put_tcp(DECODE_TCP_SYN);
	frame_finish(0);
	frame_ip_at = outer_at;
	frame_finish(0);
}

static void ethernet_header(uint32_t ethertype)
{
	frame_put_n(0x02, 12);
	frame_put16(ethertype);
}

static void put_vxlan(uint32_t flags, uint32_t vni, uint32_t last)
{
	frame_put32(flags);
	frame_put32(vni << 8 | last);
}

/* Over poison, from memory of exactly the captured size. */
static struct decode_carried look_cut(uint32_t captured)
{
	uint8_t *copy = malloc(captured + 1);
	struct decode_carried carried;
	struct packet packet;

	assert_non_null(copy);
	memcpy(copy + 1, frame.bytes, captured);
	memset(&packet, 0xa5, sizeof(packet));
	memset(&carried, 0xa5, sizeof(carried));
	decode_packet(frame.link_type, copy + 1, captured, frame.length, &packet);
	assert_string_equal(decode_outcome_name(packet.outcome), "flow");
	assert_true(decode_may_carry(&packet));
	packet.time_ns = 77;
	packet.number = 5;
	packet.offset_bytes = 99;
	decode_carried(&packet, &carried);
	free(copy);
	return carried;
}

static struct decode_carried look(void)
{
	return look_cut(frame.length);
}

static void assert_read(const struct decode_carried *c, const char *name, int64_t key,
			uint32_t version)
{
	assert_string_equal(decode_tunnel_name(c->tunnel), name);
	assert_true(c->proven);
	assert_int_equal(c->inside, DECODE_INSIDE_READ);
	assert_int_equal(c->key, key);
	assert_int_equal(c->packet.time_ns, 77);
	assert_int_equal(c->packet.number, 5);
	assert_int_equal(c->packet.offset_bytes, 99);
	if (version == 4) {
		frame_assert_flow(&c->packet, 4, 17, 40, 12);
		frame_assert_ports(&c->packet, 5353, 53);
		frame_assert_address(&c->packet.source, 0xc0000201);
	} else {
		frame_assert_flow(&c->packet, 6, 6, 60, 0);
		frame_assert_ports(&c->packet, 40000, 443);
		assert_int_equal(c->packet.destination.address.bytes[15], 2);
		assert_int_equal(c->packet.tcp_flags, DECODE_TCP_SYN);
	}
}

static void assert_inside(enum decode_inside wanted, bool proven)
{
	struct decode_carried c = look();

	assert_int_equal(c.inside, wanted);
	assert_int_equal(c.proven, proven);
}

static void ip_in_ip_in_each_of_four_ways(void **state)
{
	struct decode_carried c;

	(void)state;
	outer4(IN_IPV4);
	inner4();
	c = look();
	assert_read(&c, "Tunnel::IP", -1, 4);
	outer4(IN_IPV6);
	inner6();
	c = look();
	assert_read(&c, "Tunnel::IP", -1, 6);
	outer6(60); /* as Linux does: with the encapsulation limit of RFC 2473 */
	frame_put8(IN_IPV4);
	frame_put8(0);
	frame_put16(0x0401);
	frame_put16(0x0401);
	frame_put16(0x0100);
	inner4();
	c = look();
	assert_read(&c, "Tunnel::IP", -1, 4);
	outer6(IN_IPV6);
	inner6();
	c = look();
	assert_read(&c, "Tunnel::IP", -1, 6);
}

static void what_the_protocol_does_not_say_is_unreadable(void **state)
{
	(void)state;
	outer4(IN_IPV4); /* says IPv4, holds IPv6 */
	inner6();
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
	outer4(IN_IPV6);
	inner4();
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
	outer4(IN_IPV4);
	frame_finish(0); /* nothing in it */
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
	outer4(IN_IPV4);
	inner4();
	frame_set16(carried_at + 2, 41); /* longer than what is around it */
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
	frame_set16(carried_at + 2, 40);
	frame.bytes[carried_at] = 0x44; /* a header of 16 bytes */
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
}

static void gre_with_each_of_its_fields(void **state)
{
	static const struct {
		uint32_t flags, words;
		int64_t key;
	} cases[] = {{0, 0, -1},
		     {0x8000, 1, -1},
		     {0x2000, 1, 0xfffffff1},
		     {0x1000, 1, -1},
		     {0xa000, 2, 0xfffffff2},
		     {0x3000, 2, 0xfffffff1},
		     {0xb000, 3, 0xfffffff2}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct decode_carried c;

		outer4(IN_GRE);
		frame_put16(cases[i].flags);
		frame_put16(0x0800);
		for (uint32_t w = 1; w <= cases[i].words; w++)
			frame_put32(0xfffffff0 + w);
		inner4();
		c = look();
		assert_read(&c, "Tunnel::GRE", cases[i].key, 4);
	}
}

static void gre_carries_more_than_ipv4(void **state)
{
	struct decode_carried c;

	(void)state;
	outer6(IN_GRE);
	frame_put32(0x000086dd);
	inner6();
	c = look();
	assert_read(&c, "Tunnel::GRE", -1, 6);
	outer4(IN_GRE);
	frame_put32(0x20006558); /* gretap, with a key */
	frame_put32(7);
	ethernet_header(0x8100);
	frame_put16(100);
	frame_put16(0x0800);
	inner4();
	c = look();
	assert_read(&c, "Tunnel::GRE", 7, 4);
	assert_int_equal(c.packet.vlan, 100);
	outer4(IN_GRE);
	frame_put32(0x00008847);
	frame_put32(0x00010140);
	inner4();
	c = look();
	assert_read(&c, "Tunnel::GRE", -1, 4);
	outer4(IN_GRE);
	frame_put32(0x00006558);
	ethernet_header(0x0806);
	frame_finish(28);
	assert_inside(DECODE_INSIDE_OTHER, true);
	outer4(IN_GRE); /* a keepalive's answer */
	frame_put32(0);
	frame_finish(0);
	assert_inside(DECODE_INSIDE_OTHER, true);
}

static void gre_of_other_kinds_is_not_read(void **state)
{
	static const uint32_t flags[] = {0x4000, 0x0800, 0x0100, 0x0008, 0x2001, 0x0007};

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		outer4(IN_GRE);
		frame_put16(flags[i]);
		frame_put16(0x0800);
		inner4();
		assert_inside(DECODE_INSIDE_UNREADABLE, true);
	}
}

static void vxlan_on_its_ports(void **state)
{
	static const uint32_t ports[] = {4789, 8472};
	struct decode_carried c;

	(void)state;
	for (int i = 0; i < 2; i++) {
		outer_udp(ports[i]);
		put_vxlan(0x08000000, 0xabcdef, 0);
		ethernet_header(0x0800);
		inner4();
		c = look();
		assert_read(&c, "Tunnel::VXLAN", 0xabcdef, 4);
	}
	outer_udp(4789);
	put_vxlan(0x08000000, 1, 0);
	ethernet_header(0x0806);
	frame_finish(28);
	frame_set16(outer_at + 24, frame.length - outer_at - 20);
	assert_inside(DECODE_INSIDE_OTHER, false); /* an ARP frame alone proves nothing */
}

static void a_port_alone_proves_nothing(void **state)
{
	static const struct {
		uint32_t flags, last;
	} cases[] = {{0, 0},	      {0x88000000, 0}, {0x0c000000, 0}, {0x08000001, 0},
		     {0x08010000, 0}, {0x08000000, 1}, {0x09000000, 0}};
	struct packet packet;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		outer_udp(4789);
		put_vxlan(cases[i].flags, 5, cases[i].last);
		ethernet_header(0x0800);
		inner4();
		assert_inside(DECODE_INSIDE_UNREADABLE, false);
	}
	outer_udp(4789); /* the header fits, what follows does not */
	put_vxlan(0x08000000, 5, 0);
	ethernet_header(0x0800);
	inner4();
	frame_set16(carried_at + 2, 2000);
	assert_inside(DECODE_INSIDE_UNREADABLE, false);
	outer_udp(4790);
	put_vxlan(0x08000000, 5, 0);
	ethernet_header(0x0800);
	inner4();
	packet = frame_decode();
	assert_false(decode_may_carry(&packet));
	frame_set16(outer_at + 20, 4789); /* from the port, not to it */
	packet = frame_decode();
	assert_false(decode_may_carry(&packet));
	frame_set16(outer_at + 22, 51820); /* WireGuard's usual port */
	packet = frame_decode();
	assert_false(decode_may_carry(&packet));
}

static void udp_says_where_the_tunnel_ends(void **state)
{
	struct decode_carried c;

	(void)state;
	outer_udp(4789);
	put_vxlan(0x08000000, 5, 0);
	ethernet_header(0x0800);
	inner4();
	frame_set16(outer_at + 24, frame.length - outer_at - 20 - 1); /* one byte is not its own */
	assert_inside(DECODE_INSIDE_UNREADABLE, false);
	frame_set16(outer_at + 2, 0); /* offload: both lengths open */
	frame_set16(outer_at + 24, 0);
	c = look();
	assert_read(&c, "Tunnel::VXLAN", 5, 4);
}

static void put_geneve(uint32_t first, uint32_t second, uint32_t type)
{
	outer_udp(6081);
	frame_put8(first);
	frame_put8(second);
	frame_put16(type);
	frame_put32(0x00123400);
}

static void geneve_with_and_without_options(void **state)
{
	struct decode_carried c;

	(void)state;
	put_geneve(0, 0, 0x6558);
	ethernet_header(0x0800);
	inner4();
	c = look();
	assert_read(&c, "Tunnel::GENEVE", 0x1234, 4);
	put_geneve(5, 0x40, 0x0800); /* bit C, options of 2 and of 3 words */
	frame_put32(0x01028001);
	frame_put32(0);
	frame_put32(0x01020002);
	frame_put32(0);
	frame_put32(0);
	inner4();
	c = look();
	assert_read(&c, "Tunnel::GENEVE", 0x1234, 4);
}

static void geneve_that_does_not_fit_is_not_claimed(void **state)
{
	static const struct {
		uint32_t first, second, option;
	} cases[] = {
		{0x41, 0, 0},	    /* version 1 */
		{1, 0x80, 0},	    /* bit O: between the endpoints */
		{1, 0x01, 0},	    /* reserved */
		{1, 0, 0x01020020}, /* reserved in an option */
		{1, 0, 0x01020001}, /* an option beyond the end */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		put_geneve(cases[i].first, cases[i].second, 0x0800);
		frame_put32(cases[i].option);
		inner4();
		assert_inside(DECODE_INSIDE_UNREADABLE, false);
	}
	put_geneve(0, 0, 0x0800);
	frame.bytes[frame.length - 1] = 1;
	inner4();
	assert_inside(DECODE_INSIDE_UNREADABLE, false);
}

static void fragments(void **state)
{
	struct decode_carried c;

	(void)state;
	/* The first one has the headers, and the length of what goes on elsewhere. */
	outer4(IN_IPV4);
	inner4();
	frame_set16(outer_at + 6, 0x2000);
	frame_set16(carried_at + 2, 1500);
	frame_set16(carried_at + 24, 1480);
	c = look();
	assert_int_equal(c.inside, DECODE_INSIDE_READ);
	frame_assert_flow(&c.packet, 4, 17, 1500, 1472);
	frame_set16(carried_at + 2, 0); /* no frame holds all of it */
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
	frame_set16(outer_at + 6, 185); /* a later one */
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
	outer4(IN_IPV4);
	inner4();
	frame_set16(carried_at + 6, 185); /* carried, and itself a later one */
	assert_inside(DECODE_INSIDE_UNREADABLE, true);
	outer6(44);
	frame_put_fragment6(IN_IPV6, 1, 3);
	inner6();
	c = look();
	assert_int_equal(c.inside, DECODE_INSIDE_READ);
	frame_assert_flow(&c.packet, 6, 6, 60, 0);
	outer_udp(4789);
	put_vxlan(0x08000000, 5, 0);
	ethernet_header(0x0800);
	inner4();
	frame_set16(outer_at + 6, 0x2000);
	frame_set16(outer_at + 24, 8 + 8 + 14 + 1500);
	frame_set16(carried_at + 2, 1500);
	c = look();
	assert_int_equal(c.inside, DECODE_INSIDE_READ);
	assert_int_equal(c.packet.ip_bytes, 1500);
	frame_set16(carried_at + 2, 1501); /* longer than the datagram will be */
	assert_inside(DECODE_INSIDE_UNREADABLE, false);
}

static void one_in_another(void **state)
{
	struct decode_carried c, d;

	(void)state;
	outer_udp(4789);
	put_vxlan(0x08000000, 5, 0);
	ethernet_header(0x0800);
	carried_at = frame.length;
	frame_put_ipv4(IN_GRE, 0, 1, 0);
	frame_put32(0x20000800);
	frame_put32(42);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(12);
	frame_finish(12);
	frame_set16(carried_at + 2, frame.length - carried_at);
	frame_ip_at = outer_at;
	frame_finish(0);
	frame_set16(outer_at + 24, frame.length - outer_at - 20);
	{
		struct packet packet;

		decode_packet(ETHERNET, frame.bytes, frame.length, frame.length, &packet);
		decode_carried(&packet, &c);
	}
	assert_int_equal(c.inside, DECODE_INSIDE_READ);
	assert_true(decode_may_carry(&c.packet));
	decode_carried(&c.packet, &d);
	assert_int_equal(d.tunnel, DECODE_TUNNEL_GRE);
	assert_int_equal(d.key, 42);
	frame_assert_flow(&d.packet, 4, 17, 40, 12);
}

/* At every snaplen: read alike, or unreadable, never something else. */
static void cut_at_every_byte(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		struct decode_carried whole;

		if (kind == 0) {
			outer4(IN_IPV4);
		} else if (kind == 1) {
			outer4(IN_GRE);
			frame_put32(0xb0006558);
			frame_put_n(1, 12);
			ethernet_header(0x0800);
		} else if (kind == 2) {
			outer_udp(4789);
			put_vxlan(0x08000000, 9, 0);
			ethernet_header(0x0800);
		} else {
			put_geneve(1, 0, 0x0800);
			frame_put32(0);
		}
		inner4();
		whole = look();
		for (uint32_t captured = outer_at + 24; captured < frame.length; captured++) {
			struct decode_carried c = look_cut(captured);

			assert_int_equal(c.tunnel, whole.tunnel);
			if (captured < carried_at + 24) {
				assert_int_equal(c.inside, DECODE_INSIDE_UNREADABLE);
				continue;
			}
			assert_read(&c, decode_tunnel_name(whole.tunnel), whole.key, 4);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ip_in_ip_in_each_of_four_ways),
		cmocka_unit_test(what_the_protocol_does_not_say_is_unreadable),
		cmocka_unit_test(gre_with_each_of_its_fields),
		cmocka_unit_test(gre_carries_more_than_ipv4),
		cmocka_unit_test(gre_of_other_kinds_is_not_read),
		cmocka_unit_test(vxlan_on_its_ports),
		cmocka_unit_test(a_port_alone_proves_nothing),
		cmocka_unit_test(udp_says_where_the_tunnel_ends),
		cmocka_unit_test(geneve_with_and_without_options),
		cmocka_unit_test(geneve_that_does_not_fit_is_not_claimed),
		cmocka_unit_test(fragments),
		cmocka_unit_test(one_in_another),
		cmocka_unit_test(cut_at_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
