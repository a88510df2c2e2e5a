/*
 * decode_tunnel.h - what a packet carries for others: IP in IP, GRE, VXLAN, Geneve.
 *
 * Takes a packet that decode_packet put into a flow and decodes the packet in
 * it, by the same code. What something is follows from its protocol's number (4,
 * 41, 47), or from a well-known destination port together with a header that fits
 * its RFC to the last reserved bit and an IP packet behind it; a port alone proves
 * nothing. What is encrypted (IPsec, WireGuard) is never called a tunnel here: its
 * insides cannot be read, and random bytes look like anything.
 */
#ifndef ANALYZE_DECODE_TUNNEL_H
#define ANALYZE_DECODE_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "analyze/decode.h"

enum decode_tunnel {
	DECODE_NO_TUNNEL = 0,
	DECODE_TUNNEL_IP,     /* RFC 2003, 4213, 2473: IPv4 or IPv6 in either */
	DECODE_TUNNEL_GRE,    /* RFC 2784, 2890; IP, MPLS, or Ethernet frames */
	DECODE_TUNNEL_VXLAN,  /* RFC 7348 */
	DECODE_TUNNEL_GENEVE, /* RFC 8926 */
	DECODE_TUNNEL_END
};
/* Zeek's Tunnel::Type: "Tunnel::IP" …; NULL for DECODE_NO_TUNNEL. */
const char *decode_tunnel_name(enum decode_tunnel tunnel);

enum decode_inside {
	DECODE_INSIDE_READ,	  /* an IP packet: its headers were captured, and fit */
	DECODE_INSIDE_OTHER,	  /* no IP packet: ARP, spanning tree, a keepalive … */
	DECODE_INSIDE_UNREADABLE, /* a later fragment, cut by the snaplen, or it does not fit */
};

struct decode_carried {
	enum decode_tunnel tunnel;
	bool proven; /* it is that tunnel, and does not only have its port */
	enum decode_inside inside;
	int64_t key;	      /* VNI or GRE key; -1: none */
	struct packet packet; /* where it was read; time, number and offset of the outer one */
};

/* Destination ports of RFC 7348, of Linux before it (vxlan.ko's default still), of RFC 8926. */
#define DECODE_PORT_VXLAN	4789
#define DECODE_PORT_VXLAN_LINUX 8472
#define DECODE_PORT_GENEVE	6081

/* Whether decode_carried has anything to look at. */
static inline bool decode_may_carry(const struct packet *packet)
{
	uint16_t port = packet->destination.port;

	switch (packet->protocol) {
	case 4:	 /* IPv4 */
	case 41: /* IPv6 */
	case 47: /* GRE */
		return true;
	case 17: /* UDP */
		return port == DECODE_PORT_VXLAN || port == DECODE_PORT_VXLAN_LINUX ||
		       port == DECODE_PORT_GENEVE;
	default:
		return false;
	}
}

/* Looks into a packet with outcome DECODE_FLOW that decode_may_carry, with packet->ip as
 * decode_packet left it and the ports of a later fragment filled in. */
void decode_carried(const struct packet *packet, struct decode_carried *carried);

#endif
