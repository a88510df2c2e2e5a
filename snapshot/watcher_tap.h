/*
 * watcher_tap.h - the watcher's view of the wire: a packet socket that hands
 * out the headers of first packets, and the filter that keeps the rest away.
 *
 * The socket is a cooked one (packet(7), SOCK_DGRAM), so that bytes begin at
 * the IP header on every link type, with VLAN tags taken off by the kernel.
 */
#ifndef SNAPSHOT_WATCHER_TAP_H
#define SNAPSHOT_WATCHER_TAP_H

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/endpoint.h"
#include "snapshot/format/error.h"

#define WATCHER_TAP_SNAPLEN  128 /* IPv4 with all options, and TCP's fixed part */
#define WATCHER_TAP_EXCLUDED 64
/* More interfaces than this are not told apart by the filter: all are watched. */
#define WATCHER_TAP_INTERFACES 256
#define WATCHER_TAP_PROGRAM    2048 /* instructions: all of the above, with room */

struct watcher_packet {
	struct endpoint source, destination; /* ports 0 where the protocol has none */
	uint8_t protocol;		     /* IPPROTO_* */
	bool ipv6;
	bool outgoing, loopback;
	uint32_t ifindex;
	bool is_answer;	   /* TCP SYN-ACK, SCTP INIT-ACK */
	uint32_t sequence; /* of a SYN; SCTP: the initiate tag */
	uint16_t ident;	   /* of an echo request */
};

/* What the kernel keeps away. */
struct watcher_filter {
	uint32_t interfaces[WATCHER_TAP_INTERFACES];
	size_t interface_count; /* 0: all */
	bool foreign;		/* packets of other network namespaces are of interest */
	bool no_tcp, no_udp;
	enum { WATCHER_CALLS, WATCHER_ANSWERS } side; /* SYN and all else; SYN-ACK, INIT-ACK only */
	uint32_t pairs[WATCHER_TAP_EXCLUDED]; /* UDP, source port << 16 | destination port; both
						 ways */
	size_t pair_count;
	uint16_t ports[WATCHER_TAP_EXCLUDED]; /* UDP, source or destination */
	size_t port_count;
	uint8_t protocols[WATCHER_TAP_EXCLUDED];
	size_t protocol_count;
};

/* Writes the program; returns its length, at most WATCHER_TAP_PROGRAM. */
size_t watcher_filter_compile(const struct watcher_filter *filter,
			      struct sock_filter program[WATCHER_TAP_PROGRAM]);

/* Opens with this filter, on one interface (0: all). Needs CAP_NET_RAW. Returns
 * a descriptor, non-blocking, or negative. */
int watcher_tap_open(const struct watcher_filter *filter, unsigned ifindex, struct error *error);
int watcher_tap_filter(int fd, const struct watcher_filter *filter, struct error *error);

/* The bytes of one packet, from its IP header on. False: not a first packet,
 * or not whole. */
bool watcher_tap_parse(const uint8_t *bytes, size_t length, const struct sockaddr_ll *from,
		       struct watcher_packet *out);

#endif
