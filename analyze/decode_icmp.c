#include "analyze/decode_icmp.h"

#include <stddef.h>

int decode_icmp_counterpart(uint8_t protocol, uint8_t type)
{
	/* The pairs that Community ID knows, as its text has to be the same everywhere: echo,
	 * timestamp, information, router, mask. */
	static const uint8_t v4[][2] = {{8, 0}, {13, 14}, {15, 16}, {10, 9}, {17, 18}};
	/* echo, listener, router, neighbour, node information, home agent. */
	static const uint8_t v6[][2] = {{128, 129}, {130, 131}, {133, 134},
					{135, 136}, {139, 140}, {144, 145}};
	const uint8_t(*pairs)[2] = protocol == IPPROTO_ICMP ? v4 : v6;
	size_t count = protocol == IPPROTO_ICMP ? sizeof(v4) / 2 : sizeof(v6) / 2;

	for (size_t i = 0; i < count; i++) {
		if (pairs[i][0] == type)
			return pairs[i][1];
		if (pairs[i][1] == type)
			return pairs[i][0];
	}
	return -1;
}

bool decode_icmp_is_query(uint8_t protocol, uint8_t type)
{
	if (protocol == IPPROTO_ICMP)
		return type == 0 || type == 8 || (type >= 13 && type <= 18);
	return type == 128 || type == 129;
}

bool decode_icmp_is_echo(uint8_t protocol, uint8_t type)
{
	if (protocol == IPPROTO_ICMP) /* echo, reply (RFC 792); extended echo, reply (RFC 8335) */
		return type == 8 || type == 0 || type == 42 || type == 43;
	return type == 128 || type == 129 || type == 160 || type == 161;
}

bool decode_icmp_is_error(uint8_t protocol, uint8_t type)
{
	if (protocol == IPPROTO_ICMP)
		return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
	return type >= 1 && type <= 4;
}
