/*
 * decode_icmp.h - what the types of ICMP and ICMPv6 mean: which of them are queries, which answers
 * belong to them, and which are errors. Everybody who asks by type asks here.
 */
#ifndef ANALYZE_DECODE_ICMP_H
#define ANALYZE_DECODE_ICMP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* Of either IP version. Inlined: it is asked several times for each packet. */
static inline bool decode_is_icmp(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* In all of these protocol is IPPROTO_ICMP or IPPROTO_ICMPV6, and type one of its. */

/* The answering type of a query, and the other way round; -1: it has none, and goes one way. */
int decode_icmp_counterpart(uint8_t protocol, uint8_t type);
/* Whether a process asks it with a socket that awaits the answer, or it is such an answer: echo,
 * and what else IPv4 has of times, masks and information. */
bool decode_icmp_is_query(uint8_t protocol, uint8_t type);
/* Whether an ident follows the header: echo and extended echo, and their answers. */
bool decode_icmp_is_echo(uint8_t protocol, uint8_t type);
/* Whether it quotes the packet that it is about. */
bool decode_icmp_is_error(uint8_t protocol, uint8_t type);

#endif
