#include "analyze/decode_tunnel.h"

#include <stddef.h>

#include "analyze/cursor.h"
#include "analyze/decode_ip.h"
#include "analyze/ethertype.h"

#define PROTOCOL_IPV4 4
#define PROTOCOL_IPV6 41
#define PROTOCOL_GRE  47

#define UDP_BYTES    8
#define VXLAN_BYTES  8
#define GENEVE_BYTES 8

const char *decode_tunnel_name(enum decode_tunnel tunnel)
{
	static const char *const names[DECODE_TUNNEL_END] = {
		[DECODE_TUNNEL_IP] = "Tunnel::IP",
		[DECODE_TUNNEL_GRE] = "Tunnel::GRE",
		[DECODE_TUNNEL_VXLAN] = "Tunnel::VXLAN",
		[DECODE_TUNNEL_GENEVE] = "Tunnel::GENEVE",
	};

	return (unsigned int)tunnel < DECODE_TUNNEL_END ? names[tunnel] : NULL;
}

/* Version 0. What RFC 2784 wants discarded (routing, strict route, recursion) and
 * what it reserves must be zero, so PPTP's version 1 does not pass either. */
static bool read_gre(struct cursor *c, uint16_t *ethertype, int64_t *key)
{
	enum { CHECKSUM = 0x8000, KEY = 0x2000, SEQUENCE = 0x1000 };
	uint16_t flags = cursor_u16(c, 0);
	uint32_t bytes = 4, key_at;

	if (!cursor_has(c, bytes) || (flags & ~(CHECKSUM | KEY | SEQUENCE)) != 0)
		return false;
	*ethertype = cursor_u16(c, 2);
	bytes += flags & CHECKSUM ? 4 : 0;
	key_at = bytes;
	bytes += flags & KEY ? 4 : 0;
	bytes += flags & SEQUENCE ? 4 : 0;
	if (!cursor_has(c, bytes))
		return false;
	if (flags & KEY)
		*key = cursor_u32(c, key_at);
	cursor_skip(c, bytes);
	return true;
}

/* Flag I and a VNI, all else zero. */
static bool read_vxlan(struct cursor *c, uint16_t *ethertype, int64_t *key)
{
	if (!cursor_has(c, VXLAN_BYTES) || cursor_u32(c, 0) != 0x08000000 || cursor_u8(c, 7) != 0)
		return false;
	*ethertype = DECODE_ETHERNET;
	*key = cursor_u32(c, 4) >> 8;
	cursor_skip(c, VXLAN_BYTES);
	return true;
}

/* Options must fill their length exactly. Bit O: for the endpoints, not for who is behind them. */
static bool read_geneve(struct cursor *c, uint16_t *ethertype, int64_t *key)
{
	enum { CONTROL = 0x80, RESERVED = 0x3f };
	uint32_t end = GENEVE_BYTES + (cursor_u8(c, 0) & 0x3fu) * 4, at = GENEVE_BYTES;

	if (!cursor_has(c, GENEVE_BYTES) || !cursor_has(c, end) || cursor_u8(c, 0) >> 6 != 0 ||
	    (cursor_u8(c, 1) & (CONTROL | RESERVED)) != 0 || cursor_u8(c, 7) != 0)
		return false;
	while (at < end) {
		if ((cursor_u8(c, at + 3) & 0xe0) != 0)
			return false;
		at += 4 + (cursor_u8(c, at + 3) & 0x1fu) * 4;
	}
	if (at != end)
		return false;
	*ethertype = cursor_u16(c, 2);
	*key = cursor_u32(c, 4) >> 8;
	cursor_skip(c, end);
	return true;
}

static bool read_udp_tunnel(struct cursor *c, const struct packet *packet,
			    struct decode_carried *carried, uint16_t *ethertype)
{
	uint16_t length = cursor_u16(c, 4);

	if (!cursor_has(c, UDP_BYTES))
		return false;
	/* 0: a jumbogram, or left to offload. */
	if (length >= UDP_BYTES)
		cursor_limit(c, length);
	cursor_skip(c, UDP_BYTES);
	if (packet->destination.port == DECODE_PORT_GENEVE)
		return read_geneve(c, ethertype, &carried->key);
	return read_vxlan(c, ethertype, &carried->key);
}

static enum decode_tunnel tunnel_of(const struct packet *packet)
{
	switch (packet->protocol) {
	case PROTOCOL_IPV4:
	case PROTOCOL_IPV6:
		return DECODE_TUNNEL_IP;
	case PROTOCOL_GRE:
		return DECODE_TUNNEL_GRE;
	default:
		return packet->destination.port == DECODE_PORT_GENEVE ? DECODE_TUNNEL_GENEVE
								      : DECODE_TUNNEL_VXLAN;
	}
}

/* Moves c to what is carried. False: the header is not there, or does not fit. */
static bool read_header(struct cursor *c, const struct packet *packet,
			struct decode_carried *carried, uint16_t *ethertype)
{
	switch (carried->tunnel) {
	case DECODE_TUNNEL_IP:
		*ethertype = packet->protocol == PROTOCOL_IPV4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
		return true;
	case DECODE_TUNNEL_GRE:
		return read_gre(c, ethertype, &carried->key);
	default:
		return read_udp_tunnel(c, packet, carried, ethertype);
	}
}

/* Offload leaves the length to the frame. */
static bool has_open_length(const struct packet *packet)
{
	const uint8_t *length = packet->ip + (packet->ip_version == 4 ? 2 : 4);

	return length[0] == 0 && length[1] == 0;
}

static enum decode_inside inside_of(const struct packet *outer, const struct packet *inner)
{
	switch (inner->outcome) {
	case DECODE_FLOW:
		/* Without its ports it is of no conversation; and of a first fragment
		 * no frame tells how long its whole is. */
		if (inner->fragment_later || (outer->fragment_first && has_open_length(inner)))
			return DECODE_INSIDE_UNREADABLE;
		return DECODE_INSIDE_READ;
	case DECODE_ARP:
	case DECODE_NOT_IP:
		return DECODE_INSIDE_OTHER;
	default:
		return DECODE_INSIDE_UNREADABLE;
	}
}

void decode_carried(const struct packet *packet, struct decode_carried *carried)
{
	struct packet *inner = &carried->packet;
	struct cursor c;
	uint16_t ethertype;

	carried->tunnel = tunnel_of(packet);
	carried->proven =
		carried->tunnel == DECODE_TUNNEL_IP || carried->tunnel == DECODE_TUNNEL_GRE;
	carried->inside = DECODE_INSIDE_UNREADABLE;
	carried->key = -1;
	if (packet->fragment_later || !decode_payload(packet, &c))
		return;
	/* The rest of a first fragment's datagram comes in the others. */
	if (packet->fragment_first)
		c.wire += UINT16_MAX;
	if (!read_header(&c, packet, carried, &ethertype))
		return;
	decode_behind(ethertype, c.at, c.captured, c.wire, inner);
	inner->time_ns = packet->time_ns;
	inner->number = packet->number;
	inner->offset_bytes = packet->offset_bytes;
	carried->inside = inside_of(packet, inner);
	carried->proven = carried->proven || carried->inside == DECODE_INSIDE_READ;
}
