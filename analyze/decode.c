/*
 * decode.c - link layers.
 *
 * Every step takes a cursor by value, narrows it by the lengths that the
 * headers give, and hands it on. Lengths come from the wire and the headers,
 * never from what was captured, so a packet decodes alike at every snaplen
 * that leaves its ports in. Checksums are never looked at: offload leaves them
 * wrong on the host that sends.
 */
#include "analyze/decode.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "analyze/cursor.h"
#include "analyze/decode_ip.h"
#include "analyze/ethertype.h"

/* libpcap's DLT numbers and, where a file keeps another one, its LINKTYPE.
 * Numbers, not <pcap/dlt.h>: its DLT_RAW and DLT_LOOP differ by platform. */
enum link_type {
	LINK_NULL = 0,
	LINK_ETHERNET = 1,
	LINK_PPP = 9,
	LINK_RAW = 12,
	LINK_RAW_OPENBSD = 14,
	LINK_PPP_SERIAL = 50,
	LINK_PPP_ETHER = 51,
	LINK_RAW_FILE = 101,
	LINK_CISCO_HDLC = 104,
	LINK_LOOP = 108,
	LINK_SLL = 113,
	LINK_PPP_WITH_DIRECTION = 204,
	LINK_IPV4 = 228,
	LINK_IPV6 = 229,
	LINK_SLL2 = 276,
};

#define ETHERNET_BYTES 14
#define SLL_BYTES      16
#define SLL2_BYTES     20

/* ARPHRD_* whose SLL protocol field is not an ethertype. */
#define HARDWARE_RADIOTAP 803
#define HARDWARE_NETLINK  824

const char *decode_outcome_name(enum decode_outcome outcome)
{
	static const char *const names[DECODE_OUTCOME_END] = {
		[DECODE_FLOW] = "flow",
		[DECODE_ARP] = "arp",
		[DECODE_NOT_IP] = "not-ip",
		[DECODE_TRUNCATED] = "truncated",
		[DECODE_MALFORMED] = "malformed",
		[DECODE_FRAGMENT] = "fragment",
		[DECODE_UNKNOWN_LINK] = "unknown-link",
	};

	if ((unsigned int)outcome >= DECODE_OUTCOME_END)
		return "unknown";
	return names[outcome];
}

/* The link layer is understood up to here. */
static inline void link_done(struct cursor *c, uint32_t bytes, struct packet *packet)
{
	cursor_skip(c, bytes);
	packet->ip_bytes = c->wire;
}

/* Label stack (RFC 3032). What follows has no type; the first nibble tells IP
 * from pseudowires, which begin with 0 or 1 (RFC 4385) or are not told apart. */
static enum decode_outcome decode_mpls(struct cursor c, struct packet *packet)
{
	bool bottom = false;

	while (!bottom) {
		if (!cursor_has(&c, 4))
			return decode_lack(&c, 4);
		bottom = (cursor_u8(&c, 2) & 1) != 0;
		link_done(&c, 4, packet);
	}
	if (!cursor_has(&c, 1))
		return decode_lack(&c, 1);
	if (cursor_u8(&c, 0) >> 4 != 4 && cursor_u8(&c, 0) >> 4 != 6)
		return DECODE_NOT_IP;
	return decode_ip(c, packet);
}

/* From the PPP protocol field on, which may be compressed to its odd byte
 * (RFC 1661 6.5). */
static enum decode_outcome decode_ppp_protocol(struct cursor c, struct packet *packet)
{
	uint32_t bytes = cursor_u8(&c, 0) & 1 ? 1 : 2;
	uint16_t protocol;

	if (!cursor_has(&c, bytes))
		return decode_lack(&c, bytes);
	protocol = bytes == 1 ? cursor_u8(&c, 0) : cursor_u16(&c, 0);
	link_done(&c, bytes, packet);
	switch (protocol) {
	case 0x0021:
		return decode_ipv4(c, packet);
	case 0x0057:
		return decode_ipv6(c, packet);
	case 0x0281:
	case 0x0283:
		return decode_mpls(c, packet);
	default:
		return DECODE_NOT_IP;
	}
}

/* Address and control bytes are left out where the peers agreed to. */
static enum decode_outcome decode_ppp(struct cursor c, struct packet *packet)
{
	if (cursor_u16(&c, 0) == 0xff03)
		link_done(&c, 2, packet);
	return decode_ppp_protocol(c, packet);
}

/* A byte for the direction before it: 0 received, else sent. */
static enum decode_outcome decode_ppp_directed(struct cursor c, struct packet *packet)
{
	if (!cursor_has(&c, 1))
		return decode_lack(&c, 1);
	packet->direction = cursor_u8(&c, 0) == 0 ? DECODE_TO_US : DECODE_OUTGOING;
	link_done(&c, 1, packet);
	return decode_ppp(c, packet);
}

/* A PPPoE session packet (RFC 2516): version, code, session, length. */
static enum decode_outcome decode_pppoe(struct cursor c, struct packet *packet)
{
	uint16_t length;

	if (!cursor_has(&c, 6))
		return decode_lack(&c, 6);
	if (cursor_u8(&c, 0) != 0x11)
		return DECODE_MALFORMED;
	if (cursor_u8(&c, 1) != 0)
		return DECODE_NOT_IP;
	length = cursor_u16(&c, 4);
	link_done(&c, 6, packet);
	if (length > c.wire)
		return DECODE_MALFORMED;
	cursor_limit(&c, length);
	packet->ip_bytes = c.wire;
	return decode_ppp_protocol(c, packet);
}

static inline enum decode_outcome decode_network(struct cursor c, uint16_t ethertype,
						 struct packet *packet)
{
	switch (ethertype) {
	case ETHERTYPE_IPV4:
		return decode_ipv4(c, packet);
	case ETHERTYPE_IPV6:
		return decode_ipv6(c, packet);
	case ETHERTYPE_ARP:
		return DECODE_ARP;
	case ETHERTYPE_MPLS:
	case ETHERTYPE_MPLS_MULTICAST:
		return decode_mpls(c, packet);
	case ETHERTYPE_PPPOE:
		return decode_pppoe(c, packet);
	default:
		return DECODE_NOT_IP;
	}
}

/* An 802.2 header is of interest only as SNAP with an ethertype (RFC 1042, and
 * 00-00-F8 for bridged frames). */
static enum decode_outcome decode_llc(struct cursor c, struct packet *packet)
{
	uint32_t organization;
	uint16_t ethertype;

	if (c.wire < 8 || (cursor_has(&c, 1) && cursor_u8(&c, 0) != 0xaa))
		return DECODE_NOT_IP;
	if (!cursor_has(&c, 8))
		return DECODE_TRUNCATED;
	organization = cursor_u32(&c, 2) & 0xffffff;
	if (cursor_u8(&c, 1) != 0xaa || cursor_u8(&c, 2) != 3 ||
	    (organization != 0 && organization != 0xf8))
		return DECODE_NOT_IP;
	ethertype = cursor_u16(&c, 6);
	link_done(&c, 8, packet);
	return decode_network(c, ethertype, packet);
}

static bool is_vlan(uint16_t ethertype)
{
	return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ ||
	       ethertype == ETHERTYPE_QINQ_OLD;
}

/* Tags, then what they tag. Ids 0 (priority only) and 4095 (reserved) name no VLAN. */
static enum decode_outcome decode_tagged(struct cursor c, uint16_t ethertype, struct packet *packet)
{
	uint32_t depth;

	for (depth = 0; is_vlan(ethertype); depth++) {
		uint16_t id = cursor_u16(&c, 0) & 0xfff;

		if (!cursor_has(&c, 4))
			return decode_lack(&c, 4);
		if (depth == 0)
			packet->vlan = id == 4095 ? 0 : id;
		else if (depth == 1)
			packet->inner_vlan = id == 4095 ? 0 : id;
		ethertype = cursor_u16(&c, 2);
		link_done(&c, 4, packet);
	}
	if (ethertype < ETHERTYPE_LENGTH_END) {
		cursor_limit(&c, ethertype); /* an 802.3 length; the rest is padding */
		packet->ip_bytes = c.wire;
		return decode_llc(c, packet);
	}
	return decode_network(c, ethertype, packet);
}

static inline enum decode_outcome decode_ethernet(struct cursor c, struct packet *packet)
{
	uint16_t ethertype = cursor_u16(&c, 12);

	if (!cursor_has(&c, ETHERNET_BYTES))
		return decode_lack(&c, ETHERNET_BYTES);
	link_done(&c, ETHERNET_BYTES, packet);
	if (ethertype == ETHERTYPE_IPV4)
		return decode_ipv4(c, packet);
	return decode_tagged(c, ethertype, packet);
}

/* Address and control, then an ethertype (RFC 1547 4.3.1). */
static enum decode_outcome decode_cisco_hdlc(struct cursor c, struct packet *packet)
{
	uint16_t ethertype = cursor_u16(&c, 2);

	if (!cursor_has(&c, 4))
		return decode_lack(&c, 4);
	link_done(&c, 4, packet);
	return decode_network(c, ethertype, packet);
}

static enum decode_direction direction_of(uint32_t packet_type)
{
	if (packet_type > DECODE_OUTGOING - DECODE_TO_US)
		return DECODE_NO_DIRECTION; /* PACKET_LOOPBACK and other inner ones */
	return (enum decode_direction)(packet_type + DECODE_TO_US);
}

/* What both cooked headers lead to. */
static inline enum decode_outcome decode_cooked(struct cursor c, uint16_t hardware,
						uint16_t ethertype, struct packet *packet)
{
	if (hardware == HARDWARE_NETLINK || hardware == HARDWARE_RADIOTAP)
		return DECODE_NOT_IP;
	if (ethertype == ETHERTYPE_IPV4)
		return decode_ipv4(c, packet);
	if (ethertype == ETHERTYPE_SLL_LLC)
		return decode_llc(c, packet);
	if (ethertype < ETHERTYPE_LENGTH_END)
		return DECODE_NOT_IP;
	return decode_tagged(c, ethertype, packet);
}

static inline enum decode_outcome decode_sll2(struct cursor c, struct packet *packet)
{
	uint16_t ethertype = cursor_u16(&c, 0), hardware = cursor_u16(&c, 8);

	if (!cursor_has(&c, SLL2_BYTES))
		return decode_lack(&c, SLL2_BYTES);
	packet->ifindex = cursor_u32(&c, 4);
	packet->direction = direction_of(cursor_u8(&c, 10));
	link_done(&c, SLL2_BYTES, packet);
	return decode_cooked(c, hardware, ethertype, packet);
}

static enum decode_outcome decode_sll(struct cursor c, struct packet *packet)
{
	uint16_t ethertype = cursor_u16(&c, 14), hardware = cursor_u16(&c, 2);

	if (!cursor_has(&c, SLL_BYTES))
		return decode_lack(&c, SLL_BYTES);
	packet->direction = direction_of(cursor_u16(&c, 0));
	link_done(&c, SLL_BYTES, packet);
	return decode_cooked(c, hardware, ethertype, packet);
}

/* BSD loopback: an address family, in the writer's byte order (LOOP: big
 * endian), with the number that the writer's system gives to IPv6. */
static enum decode_outcome decode_loopback(struct cursor c, struct packet *packet)
{
	uint32_t family = cursor_u32(&c, 0);

	if (!cursor_has(&c, 4))
		return decode_lack(&c, 4);
	if (family > UINT16_MAX)
		family = __builtin_bswap32(family);
	link_done(&c, 4, packet);
	switch (family) {
	case 2:
		return decode_ipv4(c, packet);
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* macOS */
		return decode_ipv6(c, packet);
	default:
		return DECODE_NOT_IP;
	}
}

static inline enum decode_outcome decode_link(int link_type, const struct cursor *c,
					      struct packet *packet)
{
	switch (link_type) {
	case LINK_SLL2:
		return decode_sll2(*c, packet);
	case LINK_ETHERNET:
		return decode_ethernet(*c, packet);
	case LINK_SLL:
		return decode_sll(*c, packet);
	case LINK_NULL:
	case LINK_LOOP:
		return decode_loopback(*c, packet);
	case LINK_RAW:
	case LINK_RAW_OPENBSD:
	case LINK_RAW_FILE:
		return decode_ip(*c, packet);
	case LINK_IPV4:
		return decode_ipv4(*c, packet);
	case LINK_IPV6:
		return decode_ipv6(*c, packet);
	case LINK_PPP:
	case LINK_PPP_SERIAL:
		return decode_ppp(*c, packet);
	case LINK_PPP_WITH_DIRECTION:
		return decode_ppp_directed(*c, packet);
	case LINK_PPP_ETHER:
		return decode_pppoe(*c, packet);
	case LINK_CISCO_HDLC:
		return decode_cisco_hdlc(*c, packet);
	default:
		return DECODE_UNKNOWN_LINK;
	}
}

/* Every field that no step sets is zero; of constant size, so a few stores. */
static inline void begin_packet(struct packet *packet, const struct cursor *c)
{
	const size_t kept = offsetof(struct packet, outcome);

	memset((char *)packet + kept, 0, sizeof(*packet) - kept);
	packet->ip_bytes = c->wire;
}

void decode_behind(uint16_t ethertype, const uint8_t *data, uint32_t captured_bytes,
		   uint32_t wire_bytes, struct packet *packet)
{
	const struct cursor c = {.at = data, .captured = captured_bytes, .wire = wire_bytes};

	begin_packet(packet, &c);
	if (ethertype == DECODE_ETHERNET)
		packet->outcome = decode_ethernet(c, packet);
	else if (ethertype < ETHERTYPE_LENGTH_END)
		packet->outcome = DECODE_NOT_IP;
	else
		packet->outcome = decode_tagged(c, ethertype, packet);
}

void decode_packet(int link_type, const uint8_t *data, uint32_t captured_bytes,
		   uint32_t original_bytes, struct packet *packet)
{
	struct cursor c = {.at = data, .captured = captured_bytes, .wire = original_bytes};

	/* Bytes that are there were on the wire, whatever the record says. */
	if (c.wire < c.captured)
		c.wire = c.captured;
	begin_packet(packet, &c);
	packet->outcome = decode_link(link_type, &c, packet);
}

bool decode_tells_interface(int link_type)
{
	return link_type == LINK_SLL2;
}

/* Whether there may be a fragment in what follows the link layer. */
static bool network_may_be_fragment(struct cursor c, uint16_t ethertype)
{
	if (!cursor_has(&c, 8))
		return true;
	if (ethertype == ETHERTYPE_IPV4)
		return (cursor_u16(&c, 6) & 0x3fff) != 0;
	if (ethertype == ETHERTYPE_IPV6)
		return cursor_u8(&c, 6) != IPPROTO_TCP && cursor_u8(&c, 6) != IPPROTO_UDP;
	return ethertype != ETHERTYPE_ARP;
}

bool decode_may_be_fragment(int link_type, const uint8_t *data, uint32_t captured_bytes)
{
	struct cursor c = {.at = data, .captured = captured_bytes, .wire = captured_bytes};
	uint16_t ethertype;

	switch (link_type) {
	case LINK_SLL2:
		ethertype = cursor_u16(&c, 0);
		cursor_skip(&c, SLL2_BYTES);
		break;
	case LINK_ETHERNET:
		ethertype = cursor_u16(&c, 12);
		cursor_skip(&c, ETHERNET_BYTES);
		break;
	case LINK_SLL:
		ethertype = cursor_u16(&c, 14);
		cursor_skip(&c, SLL_BYTES);
		break;
	case LINK_RAW:
	case LINK_RAW_OPENBSD:
	case LINK_RAW_FILE:
		ethertype = cursor_u8(&c, 0) >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
		break;
	default:
		return true;
	}
	return network_may_be_fragment(c, ethertype);
}
