/* frames.c - frames made by hand, and what is expected of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/frames.h"

struct frame frame;
uint32_t frame_ip_at;

void frame_start(int link_type)
{
	frame.link_type = link_type;
	frame.length = 0;
}

void frame_put8(uint32_t value)
{
	frame.bytes[frame.length++] = (uint8_t)value;
}

void frame_put16(uint32_t value)
{
	frame_put8(value >> 8);
	frame_put8(value);
}

void frame_put32(uint32_t value)
{
	frame_put16(value >> 16);
	frame_put16(value);
}

void frame_put_n(uint32_t value, uint32_t count)
{
	while (count-- > 0)
		frame_put8(value);
}

void frame_set16(uint32_t at, uint32_t value)
{
	frame.bytes[at] = (uint8_t)(value >> 8);
	frame.bytes[at + 1] = (uint8_t)value;
}

void frame_put_ethernet(uint32_t ethertype)
{
	frame_start(ETHERNET);
	frame_put_n(0x02, 12);
	frame_put16(ethertype);
}

void frame_put_sll2(uint32_t ethertype, uint32_t ifindex, uint32_t packet_type)
{
	frame_start(SLL2);
	frame_put16(ethertype);
	frame_put16(0);
	frame_put32(ifindex);
	frame_put16(1);
	frame_put8(packet_type);
	frame_put8(6);
	frame_put_n(0x02, 8);
}

void frame_put_ipv4(uint32_t protocol, uint32_t option_words, uint32_t id, uint32_t fragment)
{
	frame_ip_at = frame.length;
	frame_put8(0x45 + option_words);
	frame_put8(0);
	frame_put16(0);
	frame_put16(id);
	frame_put16(fragment);
	frame_put8(64);
	frame_put8(protocol);
	frame_put16(0);
	frame_put32(0xc0000201);
	frame_put32(0xc6336402);
	frame_put_n(1, option_words * 4);
}

void frame_put_ipv6(uint32_t next)
{
	frame_ip_at = frame.length;
	frame_put32(0x60000000);
	frame_put16(0);
	frame_put8(next);
	frame_put8(64);
	frame_put32(0x20010db8);
	frame_put_n(0, 11);
	frame_put8(1);
	frame_put32(0x20010db8);
	frame_put_n(0, 11);
	frame_put8(2);
}

void frame_put_tcp(uint32_t flags)
{
	frame_put16(40000);
	frame_put16(443);
	frame_put32(0x01020304);
	frame_put32(0x05060708);
	frame_put8(0x50);
	frame_put8(flags);
	frame_put_n(0, 6);
}

void frame_put_udp(uint32_t payload)
{
	frame_put16(5353);
	frame_put16(53);
	frame_put16(8 + payload);
	frame_put16(0);
}

void frame_finish(uint32_t payload)
{
	frame_put_n(0xda, payload);
	if (frame.bytes[frame_ip_at] >> 4 == 4)
		frame_set16(frame_ip_at + 2, frame.length - frame_ip_at);
	else
		frame_set16(frame_ip_at + 4, frame.length - frame_ip_at - 40);
}

struct packet frame_decode_poisoned(uint32_t captured, uint32_t original, int poison)
{
	uint8_t *copy = malloc(captured ? captured : 1);
	struct packet packet;

	assert_non_null(copy);
	memcpy(copy, frame.bytes, captured);
	memset(&packet, poison, sizeof(packet));
	decode_packet(frame.link_type, captured ? copy : copy + 1, captured, original, &packet);
	free(copy);
	return packet;
}

struct packet frame_decode_cut(uint32_t captured, uint32_t original)
{
	return frame_decode_poisoned(captured, original, 0xa5);
}

struct packet frame_decode(void)
{
	return frame_decode_cut(frame.length, frame.length);
}

void frame_assert_address(const struct endpoint *endpoint, uint32_t ipv4)
{
	uint8_t expected[16] = {0};

	expected[10] = expected[11] = 0xff;
	expected[12] = (uint8_t)(ipv4 >> 24);
	expected[13] = (uint8_t)(ipv4 >> 16);
	expected[14] = (uint8_t)(ipv4 >> 8);
	expected[15] = (uint8_t)ipv4;
	assert_memory_equal(endpoint->address.bytes, expected, 16);
}

void frame_assert_flow(const struct packet *packet, uint32_t version, uint32_t protocol,
		       uint32_t ip_bytes, uint32_t payload_bytes)
{
	assert_string_equal(decode_outcome_name(packet->outcome), "flow");
	assert_int_equal(packet->ip_version, version);
	assert_int_equal(packet->protocol, protocol);
	assert_int_equal(packet->ip_bytes, ip_bytes);
	assert_int_equal(packet->payload_bytes, payload_bytes);
}

void frame_assert_ports(const struct packet *packet, uint32_t source, uint32_t destination)
{
	assert_int_equal(packet->source.port, source);
	assert_int_equal(packet->destination.port, destination);
}

void frame_assert_outcome(const struct packet *packet, const char *name)
{
	assert_string_equal(decode_outcome_name(packet->outcome), name);
}

void frame_make_ethernet_tcp(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(6, 0, 7, 0x4000);
	frame_put_tcp(DECODE_TCP_PSH | DECODE_TCP_ACK);
	frame_finish(100);
}

void frame_make_ethernet_tcp_options(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(6, 3, 7, 0);
	frame_put_tcp(DECODE_TCP_SYN);
	frame.bytes[frame.length - 8] = 0x80; /* 12 bytes of options */
	frame_put_n(1, 12);
	frame_finish(5);
}

void frame_make_sll2_udp6(void)
{
	frame_put_sll2(0x86dd, 3, 4);
	frame_put_ipv6(17);
	frame_put_udp(20);
	frame_finish(20);
}

void frame_make_sll_udp(void)
{
	frame_start(SLL);
	frame_put16(4);
	frame_put16(1);
	frame_put16(6);
	frame_put_n(2, 8);
	frame_put16(0x0800);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(9);
	frame_finish(9);
}

void frame_make_qinq_tcp(void)
{
	frame_put_ethernet(0x88a8);
	frame_put16(0x2064); /* priority 1, id 100 */
	frame_put16(0x8100);
	frame_put16(200);
	frame_put16(0x9100);
	frame_put16(300);
	frame_put16(0x0800);
	frame_put_ipv4(6, 0, 1, 0);
	frame_put_tcp(DECODE_TCP_ACK);
	frame_finish(1);
}

void frame_make_snap_udp(void)
{
	frame_put_ethernet(8 + 28 + 4);
	frame_put32(0xaaaa0300);
	frame_put32(0x00000800);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(4);
	frame_finish(4);
}

void frame_make_null_tcp6(void)
{
	frame_start(LOOPBACK);
	frame_put32(0x1e000000); /* macOS, little endian */
	frame_put_ipv6(6);
	frame_put_tcp(DECODE_TCP_FIN);
	frame_finish(0);
}

void frame_make_pppoe_udp(void)
{
	frame_put_ethernet(0x8864);
	frame_put16(0x1100);
	frame_put16(9);
	frame_put16(2 + 28 + 3);
	frame_put16(0x0021);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(3);
	frame_finish(3);
	frame_put_n(0, 6); /* padding */
}

void frame_make_mpls_udp(void)
{
	frame_put_ethernet(0x8847);
	frame_put32(0x00010040);
	frame_put32(0x00020140);
	frame_put_ipv4(17, 0, 1, 0);
	frame_put_udp(3);
	frame_finish(3);
}

void frame_put_extension(uint32_t next, uint32_t length_field, uint32_t bytes)
{
	frame_put8(next);
	frame_put8(length_field);
	frame_put_n(0, bytes - 2);
}

void frame_make_ipv6_extensions(void)
{
	frame_put_ethernet(0x86dd);
	frame_put_ipv6(0);
	frame_put_extension(43, 0, 8);	 /* hop-by-hop */
	frame_put_extension(60, 1, 16);	 /* routing */
	frame_put_extension(51, 0, 8);	 /* destination options */
	frame_put_extension(135, 4, 24); /* AH: (4 + 2) * 4 */
	frame_put_extension(140, 0, 8);	 /* mobility */
	frame_put_extension(139, 0, 8);	 /* shim6 */
	frame_put_extension(44, 0, 8);	 /* HIP */
	frame_put_extension(17, 0, 8);	 /* atomic fragment */
	frame_put_udp(6);
	frame_finish(6);
}

void frame_put_fragment6(uint32_t next, uint32_t place, uint32_t id)
{
	frame_put8(next);
	frame_put8(0);
	frame_put16(place);
	frame_put32(id);
}

void frame_make_ipv6_first_fragment(void)
{
	frame_put_ethernet(0x86dd);
	frame_put_ipv6(44);
	frame_put_fragment6(17, 1, 0xdeadbeef);
	frame_put_udp(3000);
	frame_finish(1192);
}

void frame_make_ipv6_later_fragment(void)
{
	frame_put_ethernet(0x86dd);
	frame_put_ipv6(44);
	frame_put_fragment6(17, 1200, 0xdeadbeef);
	frame_finish(48);
}

void frame_make_ipv4_first_fragment(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(17, 0, 0x1234, 0x2000);
	frame_put_udp(3000);
	frame_finish(1472);
}

void frame_make_ipv4_later_fragment(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(17, 0, 0x1234, 1480 / 8);
	frame_finish(40);
}

void frame_put_icmp(uint32_t type, uint32_t code, uint32_t id)
{
	frame_put8(type);
	frame_put8(code);
	frame_put16(0);
	frame_put16(id);
	frame_put16(1);
}

/* The quoted header's length is that of the whole quoted packet. */
void frame_make_icmp_unreachable(void)
{
	uint32_t outer;

	frame_put_ethernet(0x0800);
	frame_put_ipv4(1, 0, 1, 0);
	frame_put_icmp(3, 3, 0);
	outer = frame_ip_at;
	frame_put_ipv4(17, 1, 1, 0);
	frame_set16(frame_ip_at + 2, 1500);
	frame_put_udp(1472);
	frame_ip_at = outer;
	frame_finish(0);
}

void frame_make_icmp6_too_big(void)
{
	uint32_t outer;

	frame_put_sll2(0x86dd, 2, 0);
	frame_put_ipv6(58);
	frame_put_icmp(2, 0, 0);
	outer = frame_ip_at;
	frame_put_ipv6(60);
	frame_set16(frame_ip_at + 4, 1400);
	frame_put_extension(6, 0, 8);
	frame_put_tcp(DECODE_TCP_ACK);
	frame_ip_at = outer;
	frame_finish(0);
}

void frame_make_icmp_echo(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(1, 0, 1, 0);
	frame_put_icmp(8, 0, 0x4242);
	frame_finish(56);
}

void frame_make_sctp(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(132, 0, 1, 0);
	frame_put16(2905);
	frame_put16(2906);
	frame_put_n(0, 8);
	frame_finish(16);
}

void frame_make_dccp(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(33, 0, 1, 0);
	frame_put16(5001);
	frame_put16(5002);
	frame_put8(4);
	frame_put_n(0, 11);
	frame_finish(10);
}

void frame_make_jumbogram(void)
{
	frame_put_ethernet(0x86dd);
	frame_put_ipv6(0);
	frame_put8(17);
	frame_put8(0);
	frame_put16(0xc204);
	frame_put32(8 + 8 + 70000);
	frame_put_udp(0);
	frame_set16(frame.length - 4, 0);
	frame_put_n(0xda, 70000);
}

void frame_make_gre(void)
{
	frame_put_ethernet(0x0800);
	frame_put_ipv4(47, 0, 1, 0);
	frame_finish(30);
}

void frame_make_arp(void)
{
	frame_put_ethernet(0x0806);
	frame_put_n(1, 28);
	frame_put_n(0, 18);
}

const struct frame_sample frame_samples[] = {
	{"ethernet-tcp", frame_make_ethernet_tcp},
	{"ethernet-tcp-options", frame_make_ethernet_tcp_options},
	{"sll2-udp6", frame_make_sll2_udp6},
	{"sll-udp", frame_make_sll_udp},
	{"qinq-tcp", frame_make_qinq_tcp},
	{"snap-udp", frame_make_snap_udp},
	{"null-tcp6", frame_make_null_tcp6},
	{"pppoe-udp", frame_make_pppoe_udp},
	{"mpls-udp", frame_make_mpls_udp},
	{"ipv6-extensions", frame_make_ipv6_extensions},
	{"ipv6-first-fragment", frame_make_ipv6_first_fragment},
	{"ipv6-later-fragment", frame_make_ipv6_later_fragment},
	{"ipv4-first-fragment", frame_make_ipv4_first_fragment},
	{"ipv4-later-fragment", frame_make_ipv4_later_fragment},
	{"icmp-unreachable", frame_make_icmp_unreachable},
	{"icmp6-too-big", frame_make_icmp6_too_big},
	{"icmp-echo", frame_make_icmp_echo},
	{"sctp", frame_make_sctp},
	{"dccp", frame_make_dccp},
	{"gre", frame_make_gre},
	{"arp", frame_make_arp},
	{"ipv6-jumbogram", frame_make_jumbogram},
};
const size_t frame_sample_count = sizeof(frame_samples) / sizeof(frame_samples[0]);
