/*
 * endpoint.h - addresses, ports, tuples and their text forms.
 *
 * One address is 16 bytes in network order whatever its family: IPv4 is held
 * IPv4-mapped (::ffff:a.b.c.d). So a dual-stack socket's row in tcp6 and the
 * IPv4 packet on the wire compare equal, and a tuple has one size.
 */
#ifndef SNAPSHOT_FORMAT_ENDPOINT_H
#define SNAPSHOT_FORMAT_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct endpoint_address {
	uint8_t bytes[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

struct endpoint {
	struct endpoint_address address;
	uint16_t port; /* host order */
};

#define ENDPOINT_TEXT_SIZE 48 /* the longest address text + NUL */

struct endpoint_address endpoint_from_ipv4(const uint8_t bytes[4]);
struct endpoint_address endpoint_from_ipv6(const uint8_t bytes[16]);
bool endpoint_is_ipv4(const struct endpoint_address *address); /* is mapped */
/* :: and 0.0.0.0 (mapped) both. */
bool endpoint_is_any(const struct endpoint_address *address);
bool endpoint_is_loopback(const struct endpoint_address *address); /* 127/8, ::1 */
bool endpoint_is_multicast(const struct endpoint_address *address);
bool endpoint_is_broadcast(const struct endpoint_address *address); /* 255.255.255.255 */
bool endpoint_equal(const struct endpoint_address *a, const struct endpoint_address *b);

/* Canonical text (inet_ntop: RFC 5952 for IPv6; a mapped address prints as
 * IPv4). Returns buffer. */
char *endpoint_format(const struct endpoint_address *address, char buffer[ENDPOINT_TEXT_SIZE]);

/* IPv4 dotted quad or any IPv6 text, no zone. 0 or -1. */
int endpoint_parse(const char *text, struct endpoint_address *out);
/* The same for text without a NUL behind it. */
int endpoint_parse_bytes(const char *text, size_t length, struct endpoint_address *out);

/* "tcp" "udp" "icmp" "ipv6-icmp"->"icmp6" "udplite" "sctp" ...; a number as
 * text ("47") for the rest. Never NULL; buffer is used for numbers only. */
#define ENDPOINT_PROTOCOL_SIZE 12
const char *endpoint_protocol_name(uint8_t protocol, char buffer[ENDPOINT_PROTOCOL_SIZE]);

#endif
