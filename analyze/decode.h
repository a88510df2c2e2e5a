/*
 * decode.h - link layer to transport: bytes into one struct packet.
 *
 * Never allocates, keeps no pointer but packet.ip, never reads past the captured
 * bytes. What does not come out as a flow's packet comes out with the reason,
 * so that every packet is accounted for.
 */
#ifndef ANALYZE_DECODE_H
#define ANALYZE_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/format/endpoint.h"

/* What the packet is for the ledger. DECODE_FLOW: belongs to a flow. The
 * others are the reasons in table "other". */
enum decode_outcome {
	DECODE_FLOW = 0,
	DECODE_ARP,
	DECODE_NOT_IP,	  /* another network protocol (LLDP, STP, 802.1X …) */
	DECODE_TRUNCATED, /* snaplen cut it before the ports */
	DECODE_MALFORMED, /* lengths or versions contradict each other */
	DECODE_FRAGMENT,  /* a later fragment whose first was not seen (set by decode_fragment) */
	DECODE_UNKNOWN_LINK, /* a link type that is not decoded */
	DECODE_OUTCOME_END
};
const char *decode_outcome_name(enum decode_outcome outcome); /* "arp" "not-ip" … */

/* Direction as the link layer tells it (SLL, SLL2), else DECODE_NO_DIRECTION.
 * Values are the kernel's PACKET_* plus one. */
enum decode_direction {
	DECODE_NO_DIRECTION = 0,
	DECODE_TO_US,
	DECODE_BROADCAST,
	DECODE_MULTICAST,
	DECODE_OTHER_HOST,
	DECODE_OUTGOING,
};

#define DECODE_TCP_FIN 0x01
#define DECODE_TCP_SYN 0x02
#define DECODE_TCP_RST 0x04
#define DECODE_TCP_PSH 0x08
#define DECODE_TCP_ACK 0x10
#define DECODE_TCP_URG 0x20

/* The tuple inside an ICMP error's quotation. */
struct decode_quoted {
	bool present;
	uint8_t ip_version, protocol;
	struct endpoint source, destination; /* as quoted: the quoted packet's own direction */
	/* quoted ICMP echo: source.port = the ident, destination.port 0 */
};

struct packet {
	int64_t time_ns;
	uint64_t number;       /* in its file, from 1 */
	uint64_t offset_bytes; /* in its file */
	enum decode_outcome outcome;
	enum decode_direction direction;
	uint32_t ifindex;		     /* SLL2 only, else 0 */
	uint16_t vlan, inner_vlan;	     /* VLAN id 1..4094 (0: none); outer, inner of QinQ */
	uint8_t ip_version;		     /* 4 or 6; 0 if outcome is before IP */
	uint8_t protocol;		     /* transport: the last next-header */
	struct endpoint source, destination; /* ports 0 where the protocol has none */
	uint32_t ip_bytes;	/* layer-3 bytes: IP total length (IPv6: payload + 40), or what the
				   frame holds on the wire after the link layer where offload leaves it
				   zero */
	const uint8_t *ip;	/* the IP header, in the caller's bytes; NULL: none was read */
	uint32_t ip_captured;	/* bytes there, without padding */
	uint32_t payload_bytes; /* transport payload, by the IP length, not by what was captured */
	/* TCP */
	uint8_t tcp_flags;
	bool tcp_multipath; /* has an option of MPTCP (RFC 8684), as all of its segments but resets
			     */
	uint32_t tcp_seq, tcp_ack;
	/* ICMP and ICMPv6 */
	uint8_t icmp_type, icmp_code;
	uint16_t icmp_id; /* echo ident, else 0 */
	struct decode_quoted quoted;
	/* fragments */
	bool fragment_first; /* first of several: has the ports */
	bool fragment_later; /* has none; see decode_fragments */
	bool fragment_last;  /* a later one that no more follow */
	uint32_t fragment_id;
};

/* Decodes one frame. Sets every field of *packet except time_ns, number and
 * offset_bytes, which are the caller's. captured may be less than original. For outcomes other than
 * DECODE_FLOW, ip_bytes is still set where an IP header was readable, else to the
 * on-the-wire bytes after what was understood of the link layer. */
void decode_packet(int link_type, const uint8_t *data, uint32_t captured_bytes,
		   uint32_t original_bytes, struct packet *packet);

/* Whether the link layer tells which interface saw a packet. */
bool decode_tells_interface(int link_type);

/* What an ethertype leads to: the same from there on, for what tunnels carry. Where a
 * link's type is wanted of a frame by itself: */
#define DECODE_ETHERNET 0x6558 /* transparent Ethernet bridging (RFC 1701) */
void decode_behind(uint16_t ethertype, const uint8_t *data, uint32_t captured_bytes,
		   uint32_t wire_bytes, struct packet *packet);

/* Ports of later fragments. A bounded table keyed by (source, destination,
 * protocol, id): a first fragment is noted; a later one gets its ports, or
 * outcome DECODE_FRAGMENT. Entries age out after 60 s of packet time
 * (IPv6: RFC 8200 4.5; Linux ip_fragment: 30 s). */
struct decode_fragments;
struct decode_fragments *decode_fragments_new(void); /* NULL: no memory */
void decode_fragments_apply(struct decode_fragments *table, struct packet *packet);
/* Makes to, NULL for an empty one, the same as from. 0, or -1 without memory. */
int decode_fragments_copy(struct decode_fragments **to, const struct decode_fragments *from);
/* NULL: an empty one. */
bool decode_fragments_equal(const struct decode_fragments *a, const struct decode_fragments *b);
void decode_fragments_free(struct decode_fragments *table);
/* Whether decode_packet may find a fragment here; false for nearly all that are none, at a
 * fraction of its cost. */
bool decode_may_be_fragment(int link_type, const uint8_t *data, uint32_t captured_bytes);

#endif
