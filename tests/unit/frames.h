/*
 * frames.h - frames made by hand, for the tests of the decoder.
 *
 * One frame is built at a time, by putting fields after one another. Addresses
 * are 192.0.2.1 to 198.51.100.2 and 2001:db8::1 to 2001:db8::2.
 */
#ifndef TESTS_UNIT_FRAMES_H
#define TESTS_UNIT_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "analyze/decode.h"

enum { ETHERNET = 1, SLL = 113, SLL2 = 276, RAW = 12, LOOPBACK = 0, LOOP = 108 };

struct frame {
	int link_type;
	uint32_t length;
	uint8_t bytes[80000];
};

extern struct frame frame;
extern uint32_t frame_ip_at; /* where the IP header begins */

void frame_start(int link_type);
void frame_put8(uint32_t value);
void frame_put16(uint32_t value);
void frame_put32(uint32_t value);
void frame_put_n(uint32_t value, uint32_t count);
void frame_set16(uint32_t at, uint32_t value);
void frame_put_ethernet(uint32_t ethertype);
void frame_put_sll2(uint32_t ethertype, uint32_t ifindex, uint32_t packet_type);
/* 192.0.2.1 to 198.51.100.2; the total length is set by frame_finish(). */
void frame_put_ipv4(uint32_t protocol, uint32_t option_words, uint32_t id, uint32_t fragment);
/* 2001:db8::1 to 2001:db8::2 */
void frame_put_ipv6(uint32_t next);
void frame_put_tcp(uint32_t flags);
/* Its length is set for payload bytes after it. */
void frame_put_udp(uint32_t payload);
/* Ends the packet: payload, and the IP header's length filled in. */
void frame_finish(uint32_t payload);
/* Decodes from memory of exactly the captured size, over a packet full of poison. */
struct packet frame_decode_poisoned(uint32_t captured, uint32_t original, int poison);
struct packet frame_decode_cut(uint32_t captured, uint32_t original);
struct packet frame_decode(void);
void frame_assert_address(const struct endpoint *endpoint, uint32_t ipv4);
void frame_assert_flow(const struct packet *packet, uint32_t version, uint32_t protocol,
		       uint32_t ip_bytes, uint32_t payload_bytes);
void frame_assert_ports(const struct packet *packet, uint32_t source, uint32_t destination);
void frame_assert_outcome(const struct packet *packet, const char *name);
void frame_put_extension(uint32_t next, uint32_t length_field, uint32_t bytes);
void frame_put_fragment6(uint32_t next, uint32_t place, uint32_t id);
void frame_put_icmp(uint32_t type, uint32_t code, uint32_t id);

/* One of each kind. */
void frame_make_ethernet_tcp(void);
void frame_make_ethernet_tcp_options(void);
void frame_make_sll2_udp6(void);
void frame_make_sll_udp(void);
void frame_make_qinq_tcp(void);
void frame_make_snap_udp(void);
void frame_make_null_tcp6(void);
void frame_make_pppoe_udp(void);
void frame_make_mpls_udp(void);
void frame_make_ipv6_extensions(void);
void frame_make_ipv6_first_fragment(void);
void frame_make_ipv6_later_fragment(void);
void frame_make_ipv4_first_fragment(void);
void frame_make_ipv4_later_fragment(void);
void frame_make_icmp_unreachable(void);
void frame_make_icmp6_too_big(void);
void frame_make_icmp_echo(void);
void frame_make_sctp(void);
void frame_make_dccp(void);
void frame_make_jumbogram(void);
void frame_make_gre(void);
void frame_make_arp(void);

struct frame_sample {
	const char *name;
	void (*make)(void);
};
extern const struct frame_sample frame_samples[];
extern const size_t frame_sample_count;

#endif
