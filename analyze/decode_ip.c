/*
 * decode_ip.c - IPv4 and IPv6 with their extension headers, and the transports.
 */
#include <string.h>

#include "analyze/decode_icmp.h"
#include "analyze/decode_ip.h"

enum protocol {
	PROTOCOL_HOP_BY_HOP = 0,
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_DCCP = 33,
	PROTOCOL_ROUTING = 43,
	PROTOCOL_FRAGMENT = 44,
	PROTOCOL_AH = 51,
	PROTOCOL_ICMP6 = 58,
	PROTOCOL_NO_NEXT = 59,
	PROTOCOL_DESTINATION = 60,
	PROTOCOL_SCTP = 132,
	PROTOCOL_MOBILITY = 135,
	PROTOCOL_UDPLITE = 136,
	PROTOCOL_HIP = 139,
	PROTOCOL_SHIM6 = 140,
};

#define IPV4_BYTES     20
#define IPV6_BYTES     40
#define TCP_BYTES      20
#define TCP_FLAGS_END  14 /* ports, numbers, data offset and flags: all that a flow needs */
#define UDP_BYTES      8
#define SCTP_BYTES     12
#define DCCP_BYTES     12
#define ICMP_BYTES     8
#define ICMP_IDENT_END 6

/* A fragment's place in its datagram. */
struct fragment {
	bool first, later, last;
	uint32_t id;
};

/* As endpoint_from_ipv4(), but inlined: it runs twice for each packet. */
static inline void read_ipv4_address(const struct cursor *c, uint32_t offset,
				     struct endpoint_address *out)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	memcpy(out->bytes, mapped, sizeof(mapped));
	cursor_copy(c, offset, out->bytes + sizeof(mapped), 4);
}

static inline void read_ipv6_address(const struct cursor *c, uint32_t offset,
				     struct endpoint_address *out)
{
	cursor_copy(c, offset, out->bytes, sizeof(out->bytes));
}

/* IPv6 extension headers (RFC 8200 4, RFC 7045) up to the transport or up to a
 * later fragment's data. *next and *c move along. */
static enum decode_outcome walk_extensions(struct cursor *c, uint8_t *next,
					   struct fragment *fragment)
{
	for (;;) {
		uint32_t bytes;

		switch (*next) {
		case PROTOCOL_HOP_BY_HOP:
		case PROTOCOL_ROUTING:
		case PROTOCOL_DESTINATION:
		case PROTOCOL_MOBILITY:
		case PROTOCOL_HIP:
		case PROTOCOL_SHIM6:
		case PROTOCOL_AH:
			if (!cursor_has(c, 2))
				return decode_lack(c, 8);
			bytes = (cursor_u8(c, 1) + 1u) * 8;
			if (*next == PROTOCOL_AH)
				bytes = (cursor_u8(c, 1) + 2u) * 4;
			if (bytes > c->wire)
				return DECODE_MALFORMED;
			break;
		case PROTOCOL_FRAGMENT:
			if (!cursor_has(c, 8))
				return decode_lack(c, 8);
			if (fragment->first)
				return DECODE_MALFORMED;
			bytes = 8;
			fragment->later = (cursor_u16(c, 2) & 0xfff8) != 0;
			fragment->last = (cursor_u16(c, 2) & 1) == 0;
			fragment->first = !fragment->later && !fragment->last;
			fragment->id = cursor_u32(c, 4);
			break;
		default:
			return DECODE_FLOW;
		}
		*next = cursor_u8(c, 0);
		cursor_skip(c, bytes);
		if (fragment->later)
			return DECODE_FLOW;
	}
}

/* Ports, or the ident of an echo, of a quoted packet. False where they are
 * needed but not there: a tuple without its ports would name a wrong owner. */
static bool quoted_ports(const struct cursor *c, struct decode_quoted *quoted)
{
	uint8_t icmp = quoted->ip_version == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMP6;

	switch (quoted->protocol) {
	case PROTOCOL_TCP:
	case PROTOCOL_UDP:
	case PROTOCOL_UDPLITE:
	case PROTOCOL_SCTP:
	case PROTOCOL_DCCP:
		if (!cursor_has(c, 4))
			return false;
		quoted->source.port = cursor_u16(c, 0);
		quoted->destination.port = cursor_u16(c, 2);
		return true;
	default:
		if (quoted->protocol != icmp)
			return true;
		if (!cursor_has(c, 1))
			return false;
		if (!decode_icmp_is_echo(icmp, cursor_u8(c, 0)))
			return true;
		if (!cursor_has(c, ICMP_IDENT_END))
			return false;
		quoted->source.port = cursor_u16(c, 4);
		return true;
	}
}

/* The packet that an ICMP error quotes: its beginning only, so none of its
 * lengths is held against what is there. */
static void decode_quotation(struct cursor c, uint8_t ip_version, struct packet *packet)
{
	struct decode_quoted quoted = {.ip_version = ip_version};
	struct fragment fragment = {0};

	if (!cursor_has(&c, ip_version == 4 ? IPV4_BYTES : IPV6_BYTES) ||
	    cursor_u8(&c, 0) >> 4 != ip_version)
		return;
	if (ip_version == 4) {
		uint32_t header_bytes = (cursor_u8(&c, 0) & 15u) * 4;

		if (header_bytes < IPV4_BYTES || (cursor_u16(&c, 6) & 0x1fff) != 0)
			return;
		quoted.protocol = cursor_u8(&c, 9);
		read_ipv4_address(&c, 12, &quoted.source.address);
		read_ipv4_address(&c, 16, &quoted.destination.address);
		cursor_skip(&c, header_bytes);
	} else {
		quoted.protocol = cursor_u8(&c, 6);
		read_ipv6_address(&c, 8, &quoted.source.address);
		read_ipv6_address(&c, 24, &quoted.destination.address);
		cursor_skip(&c, IPV6_BYTES);
		if (walk_extensions(&c, &quoted.protocol, &fragment) != DECODE_FLOW ||
		    fragment.later)
			return;
	}
	if (!quoted_ports(&c, &quoted))
		return;
	quoted.present = true;
	packet->quoted = quoted;
}

static enum decode_outcome decode_icmp(struct cursor c, struct packet *packet)
{
	bool echo;

	if (c.wire < ICMP_BYTES)
		return DECODE_MALFORMED;
	if (!cursor_has(&c, 2))
		return DECODE_TRUNCATED;
	packet->icmp_type = cursor_u8(&c, 0);
	packet->icmp_code = cursor_u8(&c, 1);
	packet->payload_bytes = c.wire - ICMP_BYTES;
	echo = decode_icmp_is_echo(packet->protocol, packet->icmp_type);
	if (echo && !cursor_has(&c, ICMP_IDENT_END))
		return DECODE_TRUNCATED;
	if (echo)
		packet->icmp_id = cursor_u16(&c, 4);
	if (decode_icmp_is_error(packet->protocol, packet->icmp_type)) {
		cursor_skip(&c, ICMP_BYTES);
		decode_quotation(c, packet->ip_version, packet);
	}
	return DECODE_FLOW;
}

static inline void read_ports(const struct cursor *c, struct packet *packet)
{
	packet->source.port = cursor_u16(c, 0);
	packet->destination.port = cursor_u16(c, 2);
}

/* Looks at options only where they are not those of every segment: two of padding and time
 * stamps, ten bytes. */
static inline bool has_multipath(const struct cursor *c, uint32_t header_bytes)
{
	enum { END = 0, PAD = 1, MULTIPATH = 30, USUAL = 0x0101080a };
	uint32_t at = TCP_BYTES;

	if (header_bytes <= TCP_BYTES || !cursor_has(c, header_bytes) ||
	    (header_bytes == TCP_BYTES + 12 && cursor_u32(c, TCP_BYTES) == USUAL))
		return false;
	while (at + 1 < header_bytes && cursor_u8(c, at) != END) {
		uint8_t kind = cursor_u8(c, at), length = cursor_u8(c, at + 1);

		if (kind == MULTIPATH)
			return true;
		if (kind != PAD && length < 2)
			return false;
		at += kind == PAD ? 1 : length;
	}
	return false;
}

static inline enum decode_outcome decode_tcp(const struct cursor *c, struct packet *packet)
{
	uint32_t needed = packet->fragment_first ? TCP_FLAGS_END : TCP_BYTES;
	uint32_t header_bytes;

	if (c->wire < needed)
		return DECODE_MALFORMED;
	if (!cursor_has(c, TCP_FLAGS_END))
		return DECODE_TRUNCATED;
	read_ports(c, packet);
	packet->tcp_seq = cursor_u32(c, 4);
	packet->tcp_ack = cursor_u32(c, 8);
	packet->tcp_flags = cursor_u8(c, 13);
	header_bytes = (cursor_u8(c, 12) >> 4) * 4u;
	/* A first fragment may end inside the options. */
	if (header_bytes < TCP_BYTES || (header_bytes > c->wire && !packet->fragment_first))
		return DECODE_MALFORMED;
	packet->tcp_multipath = has_multipath(c, header_bytes);
	packet->payload_bytes = c->wire > header_bytes ? c->wire - header_bytes : 0;
	return DECODE_FLOW;
}

/* UDP's own length must fit into IP's. It is not compared in a first fragment
 * (it counts the whole datagram) nor where offload left IP's open, and 0 means
 * a jumbogram in IPv6 (RFC 2675 4; Linux takes it at any size). */
static inline bool udp_length_fits(const struct cursor *c, const struct packet *packet,
				   bool length_open)
{
	uint16_t length = cursor_u16(c, 4);

	if (!cursor_has(c, 6) || length_open || packet->fragment_first)
		return true;
	if (length == 0)
		return packet->ip_version == 6;
	return length >= UDP_BYTES && length <= c->wire;
}

static inline enum decode_outcome decode_udp(const struct cursor *c, struct packet *packet,
					     bool length_open)
{
	if (c->wire < UDP_BYTES)
		return DECODE_MALFORMED;
	if (!cursor_has(c, 4))
		return DECODE_TRUNCATED;
	read_ports(c, packet);
	if (packet->protocol == PROTOCOL_UDP && !udp_length_fits(c, packet, length_open))
		return DECODE_MALFORMED;
	packet->payload_bytes = c->wire - UDP_BYTES;
	return DECODE_FLOW;
}

/* A first fragment has at least 8 bytes, which hold the ports but not all of
 * the header. */
static enum decode_outcome decode_sctp_dccp(const struct cursor *c, struct packet *packet)
{
	uint32_t header_bytes = SCTP_BYTES;
	uint32_t needed = 4;

	if (packet->protocol == PROTOCOL_DCCP)
		needed = 5;
	if (c->wire < (packet->fragment_first ? 8 : SCTP_BYTES))
		return DECODE_MALFORMED;
	if (!cursor_has(c, needed))
		return DECODE_TRUNCATED;
	read_ports(c, packet);
	if (packet->protocol == PROTOCOL_DCCP) { /* RFC 4340 5.1: data offset in words */
		header_bytes = cursor_u8(c, 4) * 4u;
		if (header_bytes < DCCP_BYTES ||
		    (header_bytes > c->wire && !packet->fragment_first))
			return DECODE_MALFORMED;
	}
	packet->payload_bytes = c->wire > header_bytes ? c->wire - header_bytes : 0;
	return DECODE_FLOW;
}

/* c is the IP payload. length_open: the IP header left its length to the frame. */
static inline enum decode_outcome decode_transport(struct cursor c, struct packet *packet,
						   bool length_open)
{
	switch (packet->protocol) {
	case PROTOCOL_TCP:
		return decode_tcp(&c, packet);
	case PROTOCOL_UDP:
	case PROTOCOL_UDPLITE:
		return decode_udp(&c, packet, length_open);
	case PROTOCOL_SCTP:
	case PROTOCOL_DCCP:
		return decode_sctp_dccp(&c, packet);
	case PROTOCOL_ICMP:
		if (packet->ip_version == 4)
			return decode_icmp(c, packet);
		break;
	case PROTOCOL_ICMP6:
		if (packet->ip_version == 6)
			return decode_icmp(c, packet);
		break;
	default:
		break;
	}
	packet->payload_bytes = c.wire;
	return DECODE_FLOW;
}

enum decode_outcome decode_ipv4(struct cursor c, struct packet *packet)
{
	uint32_t header_bytes, total_bytes;
	uint16_t place;
	bool length_open;

	packet->ip_bytes = c.wire;
	if (!cursor_has(&c, IPV4_BYTES))
		return decode_lack(&c, IPV4_BYTES);
	if (cursor_u8(&c, 0) >> 4 != 4)
		return DECODE_MALFORMED;
	packet->ip_version = 4;
	packet->protocol = cursor_u8(&c, 9);
	read_ipv4_address(&c, 12, &packet->source.address);
	read_ipv4_address(&c, 16, &packet->destination.address);
	header_bytes = (cursor_u8(&c, 0) & 15u) * 4;
	total_bytes = cursor_u16(&c, 2);
	/* Segmentation offload hands packets over with the length not filled in. */
	length_open = total_bytes == 0;
	if (length_open)
		total_bytes = c.wire;
	if (header_bytes < IPV4_BYTES || total_bytes < header_bytes || total_bytes > c.wire)
		return DECODE_MALFORMED;
	packet->ip_bytes = total_bytes;
	place = cursor_u16(&c, 6);
	if ((place & 0x3fff) != 0) {
		packet->fragment_id = cursor_u16(&c, 4);
		packet->fragment_later = (place & 0x1fff) != 0;
		packet->fragment_first = !packet->fragment_later;
		packet->fragment_last = (place & 0x2000) == 0;
	}
	cursor_limit(&c, total_bytes); /* Ethernet's padding ends here */
	packet->ip = c.at;
	packet->ip_captured = c.captured;
	cursor_skip(&c, header_bytes);
	if (packet->fragment_later) {
		packet->payload_bytes = c.wire;
		return DECODE_FLOW;
	}
	return decode_transport(c, packet, length_open);
}

/* The jumbo payload option (RFC 2675) of the hop-by-hop header at c. Leaves
 * *payload_bytes where there is none: then it is offload. */
static enum decode_outcome read_jumbo_length(const struct cursor *c, uint32_t *payload_bytes)
{
	uint32_t end = (cursor_u8(c, 1) + 1u) * 8;
	uint32_t at = 2;

	if (!cursor_has(c, 2) || !cursor_has(c, end))
		return decode_lack(c, cursor_has(c, 2) ? end : 8);
	while (at < end) {
		uint8_t option = cursor_u8(c, at);
		uint32_t bytes = option == 0 ? 1 : cursor_u8(c, at + 1) + 2u;

		if (bytes > end - at)
			return DECODE_MALFORMED;
		if (option == 0xc2) {
			*payload_bytes = cursor_u32(c, at + 2);
			return bytes == 6 && *payload_bytes > UINT16_MAX ? DECODE_FLOW
									 : DECODE_MALFORMED;
		}
		at += bytes;
	}
	return DECODE_FLOW;
}

enum decode_outcome decode_ipv6(struct cursor c, struct packet *packet)
{
	struct fragment fragment = {0};
	enum decode_outcome outcome;
	uint32_t payload_bytes;
	bool length_open = false;

	packet->ip_bytes = c.wire;
	if (!cursor_has(&c, IPV6_BYTES))
		return decode_lack(&c, IPV6_BYTES);
	if (cursor_u8(&c, 0) >> 4 != 6)
		return DECODE_MALFORMED;
	packet->ip_version = 6;
	packet->protocol = cursor_u8(&c, 6);
	read_ipv6_address(&c, 8, &packet->source.address);
	read_ipv6_address(&c, 24, &packet->destination.address);
	payload_bytes = cursor_u16(&c, 4);
	cursor_skip(&c, IPV6_BYTES);
	/* 0 is a length only where nothing follows; else it is a jumbogram or offload. */
	if (payload_bytes == 0 && packet->protocol != PROTOCOL_NO_NEXT) {
		length_open = true;
		payload_bytes = c.wire;
		if (packet->protocol == PROTOCOL_HOP_BY_HOP) {
			outcome = read_jumbo_length(&c, &payload_bytes);
			if (outcome != DECODE_FLOW)
				return outcome;
		}
	}
	if (payload_bytes > c.wire)
		return DECODE_MALFORMED;
	packet->ip_bytes = payload_bytes + IPV6_BYTES;
	cursor_limit(&c, payload_bytes);
	packet->ip = c.at - IPV6_BYTES;
	packet->ip_captured = c.captured + IPV6_BYTES;
	outcome = walk_extensions(&c, &packet->protocol, &fragment);
	packet->fragment_first = fragment.first;
	packet->fragment_later = fragment.later;
	packet->fragment_last = fragment.later && fragment.last;
	packet->fragment_id = fragment.first || fragment.later ? fragment.id : 0;
	if (outcome != DECODE_FLOW)
		return outcome;
	if (fragment.later) {
		packet->payload_bytes = c.wire;
		return DECODE_FLOW;
	}
	return decode_transport(c, packet, length_open);
}

enum decode_outcome decode_ip(struct cursor c, struct packet *packet)
{
	if (!cursor_has(&c, 1))
		return decode_lack(&c, 1);
	if (cursor_u8(&c, 0) >> 4 == 6)
		return decode_ipv6(c, packet);
	return decode_ipv4(c, packet);
}

bool decode_payload(const struct packet *packet, struct cursor *c)
{
	struct fragment fragment = {0};
	uint8_t next;

	if (packet->ip == NULL)
		return false;
	*c = (struct cursor){
		.at = packet->ip, .captured = packet->ip_captured, .wire = packet->ip_bytes};
	if (packet->ip_version == 4) {
		cursor_skip(c, (cursor_u8(c, 0) & 15u) * 4);
		return true;
	}
	next = cursor_u8(c, 6);
	cursor_skip(c, IPV6_BYTES);
	return walk_extensions(c, &next, &fragment) == DECODE_FLOW && !fragment.later;
}
