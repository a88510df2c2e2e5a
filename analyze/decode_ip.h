/*
 * decode_ip.h - the half of the decoder that knows IP, for the half that knows
 * links. Internal to decode*.c.
 */
#ifndef ANALYZE_DECODE_IP_H
#define ANALYZE_DECODE_IP_H

#include "analyze/cursor.h"
#include "analyze/decode.h"

/* Why bytes that a header needs cannot be read: the snaplen cut them, or the
 * packet never had them. */
static inline enum decode_outcome decode_lack(const struct cursor *c, uint32_t bytes)
{
	return c->wire >= bytes ? DECODE_TRUNCATED : DECODE_MALFORMED;
}

/* An IP header at c, and all that follows. Expect the fields of *packet that
 * come from IP and above to be zero, set those that there are, and return the
 * outcome without setting it. */
enum decode_outcome decode_ipv4(struct cursor c, struct packet *packet);
enum decode_outcome decode_ipv6(struct cursor c, struct packet *packet);
/* By the version nibble, for links that say no more. */
enum decode_outcome decode_ip(struct cursor c, struct packet *packet);

/* What follows the IP header, and an IPv6 packet's extension headers, of a packet with
 * outcome DECODE_FLOW that is no later fragment. False: no such header was read. */
bool decode_payload(const struct packet *packet, struct cursor *c);

#endif
