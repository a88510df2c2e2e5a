/* test_decode_ip.c - IP, its extension headers, and the transports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/frames.h"

static void tcp_over_ethernet(void **state)
{
	struct packet p;

	(void)state;
	frame_make_ethernet_tcp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 140, 100);
	frame_assert_ports(&p, 40000, 443);
	frame_assert_address(&p.source, 0xc0000201);
	frame_assert_address(&p.destination, 0xc6336402);
	assert_int_equal(p.tcp_flags, DECODE_TCP_PSH | DECODE_TCP_ACK);
	assert_int_equal(p.tcp_seq, 0x01020304);
	assert_int_equal(p.tcp_ack, 0x05060708);
	assert_int_equal(p.direction, DECODE_NO_DIRECTION);
	assert_false(p.fragment_first || p.fragment_later || p.quoted.present);
	assert_int_equal(p.fragment_id, 0);

	frame_make_ethernet_tcp_options();
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 32 + 32 + 5, 5);
	frame_assert_ports(&p, 40000, 443);
	assert_int_equal(p.tcp_flags, DECODE_TCP_SYN);
}

static void multipath_tcp_is_known_by_its_option(void **state)
{
	static const struct {
		uint8_t options[12];
		bool is_multipath;
	} cases[] = {
		{{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 30}, false},
		{{2, 4, 5, 180, 30, 4, 0, 0, 1, 1, 1, 1}, true},
		{{30, 12}, true},
		{{1, 1, 1, 30, 8}, true},
		{{5, 0, 30, 4}, false}, /* no length */
		{{0, 30, 4}, false},	/* after the end */
		{{5, 255, 30, 4}, false},
		{{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 30}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct packet p;

		frame_make_ethernet_tcp_options();
		memcpy(frame.bytes + 14 + 32 + 20, cases[i].options, 12);
		p = frame_decode();
		frame_assert_flow(&p, 4, 6, 32 + 32 + 5, 5);
		assert_int_equal(p.tcp_multipath, cases[i].is_multipath);
	}
}

static void ipv4_lengths(void **state)
{
	struct packet p;

	(void)state;
	frame_make_ethernet_tcp();
	frame_set16(16, 0); /* segmentation offload: the frame's length */
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 140, 100);
	p = frame_decode_cut(70, frame.length);
	frame_assert_flow(&p, 4, 6, 140, 100);
	frame_set16(16, 141); /* more than the wire had */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	assert_int_equal(p.ip_bytes, 140);
	frame.bytes[23] = 47;
	frame_set16(16, 19); /* less than its own header */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame.bytes[23] = 6;
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame_set16(16, 140);
	frame.bytes[14] = 0x44; /* header of 16 bytes */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame.bytes[14] = 0x55; /* IPv5 */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	assert_int_equal(p.ip_version, 0);
	frame.bytes[14] = 0x45;
	p = frame_decode_cut(frame.length, 20); /* a record that denies what it holds */
	frame_assert_flow(&p, 4, 6, 140, 100);
}

static void tcp_header_length(void **state)
{
	struct packet p;

	(void)state;
	frame_make_ethernet_tcp();
	frame.bytes[46] = 0x40;
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame.bytes[46] = 0xf0;
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 140, 60);
	frame_put_ethernet(0x0800);
	frame_put_ipv4(6, 0, 1, 0);
	frame_put_tcp(0);
	frame_finish(0);
	frame.bytes[46] = 0x60;
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
}

static void udp_lengths(void **state)
{
	struct packet p;

	(void)state;
	frame_put_ethernet(0x0800);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(10);
	frame_finish(10);
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 38, 10);
	frame_set16(38, 19); /* more than IP gives it */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame_set16(38, 7);
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame_set16(38, 0);
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame_set16(16, 0); /* but with offload nothing is filled in */
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 38, 10);
	frame_set16(16, 38);
	frame.bytes[23] = 136; /* UDP-Lite: the field is the checksum's coverage */
	p = frame_decode();
	frame_assert_flow(&p, 4, 136, 38, 10);
	frame_assert_ports(&p, 5353, 53);

	frame_make_sll2_udp6(); /* 0 counts as the rest, as Linux has it */
	frame_set16(20 + 40 + 4, 0);
	p = frame_decode();
	frame_assert_flow(&p, 6, 17, 68, 20);
}

static void ipv6_extension_headers(void **state)
{
	struct packet p;

	(void)state;
	frame_make_ipv6_extensions();
	p = frame_decode();
	frame_assert_flow(&p, 6, 17, frame.length - 14, 6);
	frame_assert_ports(&p, 5353, 53);
	assert_false(p.fragment_first || p.fragment_later);
	assert_int_equal(p.fragment_id, 0);
	frame.bytes[14 + 40 + 1] = 200; /* longer than the packet */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");

	frame_put_ethernet(0x86dd);
	frame_put_ipv6(60);
	frame_put_extension(50, 0, 8);
	frame_finish(20);
	p = frame_decode();
	frame_assert_flow(&p, 6, 50, 68, 20); /* ESP ends the chain */
	frame.bytes[14 + 40 + 1] = 4;	      /* 40 bytes, of 28 */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame.bytes[14 + 40 + 1] = 0;
	p = frame_decode();
	frame_assert_ports(&p, 0, 0);

	frame_put_ethernet(0x86dd);
	frame_put_ipv6(59);
	frame_finish(0);
	frame_put_n(0, 6);
	p = frame_decode();
	frame_assert_flow(&p, 6, 59, 40, 0); /* no next header, and padding */
}

static void ipv6_jumbo_and_offload(void **state)
{
	struct packet p;

	(void)state;
	frame_make_jumbogram();
	p = frame_decode();
	frame_assert_flow(&p, 6, 17, 40 + 8 + 8 + 70000, 70000);
	p = frame_decode_cut(100, frame.length);
	frame_assert_flow(&p, 6, 17, 40 + 8 + 8 + 70000, 70000);
	frame.bytes[14 + 40 + 7]++; /* one more than the wire had */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	memset(frame.bytes + 14 + 40 + 4, 0, 4); /* jumbo, but small: RFC 2675 3 */
	frame.bytes[14 + 40 + 7] = 100;
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");

	frame_put_ethernet(0x86dd);
	frame_put_ipv6(6);
	frame_put_tcp(DECODE_TCP_ACK);
	frame_put_n(0, 70000);
	p = frame_decode();
	frame_assert_flow(&p, 6, 6, 70060, 70000);
}

static void protocols_without_ports(void **state)
{
	static const uint32_t protocols[] = {2, 4, 47, 50, 51, 58, 89, 255};
	struct packet p;
	uint32_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		frame_put_ethernet(0x0800);
		frame_put_ipv4(protocols[i], 0, 1, 0);
		frame_finish(30);
		p = frame_decode();
		frame_assert_flow(&p, 4, protocols[i], 50, 30);
		frame_assert_ports(&p, 0, 0);
		assert_int_equal(p.icmp_type, 0);
	}
}

static void sctp_and_dccp_ports(void **state)
{
	struct packet p;

	(void)state;
	frame_make_sctp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 132, 48, 16);
	frame_assert_ports(&p, 2905, 2906);
	frame_make_dccp();
	p = frame_decode();
	frame_assert_flow(&p, 4, 33, 46, 10);
	frame_assert_ports(&p, 5001, 5002);
	frame.bytes[38] = 2;
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
}

static void icmp_echo_has_its_ident(void **state)
{
	struct packet p;

	(void)state;
	frame_make_icmp_echo();
	p = frame_decode();
	frame_assert_flow(&p, 4, 1, 84, 56);
	assert_int_equal(p.icmp_type, 8);
	assert_int_equal(p.icmp_id, 0x4242);
	frame_assert_ports(&p, 0, 0);
	for (uint32_t i = 0; i < 3; i++) {
		static const uint8_t types[] = {0, 42, 43}; /* replies; RFC 8335 */

		frame.bytes[34] = types[i];
		assert_int_equal(frame_decode().icmp_id, 0x4242);
	}
	frame.bytes[34] = 13; /* not an echo */
	assert_int_equal(frame_decode().icmp_id, 0);
	frame_put_ethernet(0x86dd);
	frame_put_ipv6(58);
	frame_put_icmp(129, 0, 77);
	frame_finish(0);
	p = frame_decode();
	frame_assert_flow(&p, 6, 58, 48, 0);
	assert_int_equal(p.icmp_type, 129);
	assert_int_equal(p.icmp_id, 77);
	frame_put_ethernet(0x0800);
	frame_put_ipv4(1, 0, 1, 0);
	frame_finish(7); /* shorter than any ICMP */
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
}

static void icmp_errors_quote(void **state)
{
	static const uint8_t types[] = {3, 4, 5, 11, 12};
	struct packet p;
	uint32_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		frame_make_icmp_unreachable();
		frame.bytes[34] = types[i];
		p = frame_decode();
		frame_assert_flow(&p, 4, 1, 20 + 8 + 24 + 8, 32);
		assert_true(p.quoted.present);
		assert_int_equal(p.quoted.ip_version, 4);
		assert_int_equal(p.quoted.protocol, 17);
		frame_assert_address(&p.quoted.source, 0xc0000201);
		frame_assert_address(&p.quoted.destination, 0xc6336402);
		assert_int_equal(p.quoted.source.port, 5353);
		assert_int_equal(p.quoted.destination.port, 53);
		assert_int_equal(p.icmp_type, types[i]);
	}
	frame.bytes[34] = 0; /* a reply quotes nothing */
	assert_false(frame_decode().quoted.present);
	frame_make_icmp_unreachable();
	p = frame_decode_cut(14 + 20 + 8 + 24 + 3, frame.length); /* the quoted ports are cut */
	frame_assert_flow(&p, 4, 1, 60, 32);
	assert_false(p.quoted.present);
	frame_set16(14 + 20 + 8 + 6, 0x00b9); /* a later fragment has no ports to quote */
	assert_false(frame_decode().quoted.present);
	frame_set16(14 + 20 + 8 + 6, 0);
	frame.bytes[14 + 20 + 8] = 0x66;
	assert_false(frame_decode().quoted.present);

	frame_make_icmp6_too_big();
	p = frame_decode();
	frame_assert_flow(&p, 6, 58, 40 + 8 + 40 + 8 + 20, 68);
	assert_true(p.quoted.present);
	assert_int_equal(p.quoted.ip_version, 6);
	assert_int_equal(p.quoted.protocol, 6);
	assert_int_equal(p.quoted.source.port, 40000);
	assert_int_equal(p.quoted.destination.port, 443);
}

static void quoted_echo_gives_the_ident(void **state)
{
	struct packet p;
	uint32_t outer;

	(void)state;
	frame_put_ethernet(0x0800);
	frame_put_ipv4(1, 0, 1, 0);
	frame_put_icmp(11, 0, 0);
	outer = frame_ip_at;
	frame_put_ipv4(1, 0, 1, 0);
	frame_put_icmp(8, 0, 999);
	frame_ip_at = outer;
	frame_finish(0);
	p = frame_decode();
	assert_true(p.quoted.present);
	assert_int_equal(p.quoted.protocol, 1);
	assert_int_equal(p.quoted.source.port, 999);
	assert_int_equal(p.quoted.destination.port, 0);
	assert_int_equal(p.icmp_id, 0);
}

static void fragments_are_told_apart(void **state)
{
	struct packet p;

	(void)state;
	frame_make_ipv4_first_fragment();
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 1500, 1472); /* UDP's length counts the whole datagram */
	assert_true(p.fragment_first && !p.fragment_later);
	assert_int_equal(p.fragment_id, 0x1234);
	frame_assert_ports(&p, 5353, 53);
	frame_make_ipv4_later_fragment();
	p = frame_decode();
	frame_assert_flow(&p, 4, 17, 60, 40);
	assert_true(p.fragment_later && !p.fragment_first && p.fragment_last);
	assert_int_equal(p.fragment_id, 0x1234);
	frame_assert_ports(&p, 0, 0);
	frame_set16(20, 0x2000 | 1480 / 8);
	assert_false(frame_decode().fragment_last);
	frame_make_ipv6_first_fragment();
	p = frame_decode();
	frame_assert_flow(&p, 6, 17, 40 + 8 + 8 + 1192, 1192);
	assert_true(p.fragment_first && !p.fragment_later);
	assert_int_equal(p.fragment_id, 0xdeadbeef);
	frame_make_ipv6_later_fragment();
	p = frame_decode();
	frame_assert_flow(&p, 6, 17, 40 + 8 + 48, 48);
	assert_true(p.fragment_later && p.fragment_last);

	frame_put_ethernet(0x0800); /* a first fragment without its ports */
	frame_put_ipv4(6, 0, 1, 0x2000);
	frame_finish(8);
	p = frame_decode();
	frame_assert_outcome(&p, "malformed");
	frame_put_ethernet(0x0800); /* in the middle of the TCP options */
	frame_put_ipv4(6, 0, 1, 0x2000);
	frame_put_tcp(DECODE_TCP_SYN);
	frame.bytes[46] = 0xa0;
	frame_finish(4);
	p = frame_decode();
	frame_assert_flow(&p, 4, 6, 44, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_over_ethernet),
		cmocka_unit_test(ipv4_lengths),
		cmocka_unit_test(multipath_tcp_is_known_by_its_option),
		cmocka_unit_test(tcp_header_length),
		cmocka_unit_test(udp_lengths),
		cmocka_unit_test(ipv6_extension_headers),
		cmocka_unit_test(ipv6_jumbo_and_offload),
		cmocka_unit_test(protocols_without_ports),
		cmocka_unit_test(sctp_and_dccp_ports),
		cmocka_unit_test(icmp_echo_has_its_ident),
		cmocka_unit_test(icmp_errors_quote),
		cmocka_unit_test(quoted_echo_gives_the_ident),
		cmocka_unit_test(fragments_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
