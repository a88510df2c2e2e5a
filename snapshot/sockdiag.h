/*
 * sockdiag.h - asks the kernel about one socket by its exact tuple, and hears
 * of sockets that close. The only file besides procevent.c that knows netlink.
 *
 * Sources: include/uapi/linux/{sock_diag,inet_diag}.h, net/ipv4/inet_diag.c,
 * net/ipv4/udp_diag.c, net/core/sock_diag.c. A descriptor belongs to the
 * network namespace that its opening thread was in. Never reads /proc.
 */
#ifndef SNAPSHOT_SOCKDIAG_H
#define SNAPSHOT_SOCKDIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/endpoint.h"
#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"

struct sockdiag; /* one request socket, in one namespace; one thread uses it */

/* In the calling thread's namespace. ERROR_SYSTEM where the kernel has no sock_diag, or none of
 * TCP. sockdiag_close(NULL) works. */
int sockdiag_open(struct sockdiag **out, struct error *error);
void sockdiag_close(struct sockdiag *diag);

/* The device that the packet was seen on, for the look-ups that follow; 0 (at
 * first): none. Without it the kernel does not find sockets that are bound to
 * a device, and every connection of an IPv6 link-local address is. With it,
 * it finds those of this device and all that are bound to none. */
void sockdiag_set_device(struct sockdiag *diag, uint32_t ifindex);

/* The socket of exactly this tuple: remote all zero and port 0 for an unconnected one. protocol:
 * IPPROTO_TCP, UDP, UDPLITE, SCTP (associations) and RAW (local port: the protocol) where the
 * kernel can; ICMP and ICMPV6 (ping) it cannot so far. ipv6: which table to ask; a mapped IPv4
 * tuple is found in both, TCP's dual-stack ends with ipv6 false too, and 0.0.0.0 also finds a
 * dual-stack socket bound to ::. *out tells the table that it is in. The caller gives local and
 * remote; who is "src" differs by protocol (TCP local, UDP remote) and is this file's business.
 *
 * 1: found: *out has table, local, remote, state, uid, inode (0: not accepted
 * yet, or closing), cookie, ifindex; netns is left to the caller, 0. 0: there is
 * none. Negative: the request failed. ERROR_LIMIT: this kernel cannot answer
 * for this protocol (asked once, remembered). ERROR_USAGE: an IPv6 address without ipv6. */
int sockdiag_lookup(struct sockdiag *diag, uint8_t protocol, bool ipv6,
		    const struct endpoint *local, const struct endpoint *remote,
		    struct snap_socket *out, struct error *error);

/* The UDP socket that would take a packet to local from remote, by the kernel's own scoring:
 * connected, then bound to the address, then the wildcard; of the packet's family before
 * dual-stack. *out has its own addresses, as /proc/net/udp prints them. Of a SO_REUSEPORT group it
 * is one, by the kernel's hash: a BPF program may choose another for the packet. The same
 * returns. */
int sockdiag_lookup_udp(struct sockdiag *diag, const struct endpoint *local,
			const struct endpoint *remote, struct snap_socket *out,
			struct error *error);

struct sockdiag_close_listener; /* groups SKNLGRP_INET{,6}_{TCP,UDP}_DESTROY */

/* Non-blocking; poll its descriptor for POLLIN. */
int sockdiag_listen(struct sockdiag_close_listener **out, struct error *error);
int sockdiag_listen_fd(const struct sockdiag_close_listener *listener);
void sockdiag_listen_close(struct sockdiag_close_listener *listener);

/* Next close: 1 with *out filled but for netns and inode (join by cookie; uid
 * and inode are 0 in these messages; after a RST the remote port may be 0), 0: none is waiting,
 * ERROR_LIMIT: some were lost (ENOBUFS) and the listener goes on (told when it is noticed, and once
 * more when it has ended, before the next 0), negative: it is over.
 *
 * They come for every socket, listeners and those never bound or connected (ports 0) too. Counters
 * are TCP's, 0 for UDP, and 0 where the kernel is older than the counter. bytes_acked and
 * bytes_received count a FIN as one byte, and bytes_acked of the connecting end counts the SYN;
 * bytes_sent is payload alone, with retransmissions. */
int sockdiag_next_close(struct sockdiag_close_listener *listener, struct snap_closed *out,
			struct error *error);

/* The parsers, for tests and fuzzing: one netlink message's bytes. 1, 0 (not one of ours),
 * negative, and then *out is as it was. A reply does not tell its protocol unless the kernel adds
 * it: the table is TCP's then, and sockdiag_lookup puts the one it asked for. closed_ns is 0. */
int sockdiag_parse_reply(const void *bytes, size_t length, struct snap_socket *out);
int sockdiag_parse_close(const void *bytes, size_t length, struct snap_closed *out);

#endif
