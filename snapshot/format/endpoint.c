#include "snapshot/format/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct endpoint_address endpoint_from_ipv4(const uint8_t bytes[4])
{
	struct endpoint_address address;

	memcpy(address.bytes, mapped_prefix, sizeof(mapped_prefix));
	memcpy(address.bytes + sizeof(mapped_prefix), bytes, 4);
	return address;
}

struct endpoint_address endpoint_from_ipv6(const uint8_t bytes[16])
{
	struct endpoint_address address;

	memcpy(address.bytes, bytes, sizeof(address.bytes));
	return address;
}

bool endpoint_is_ipv4(const struct endpoint_address *address)
{
	return memcmp(address->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static bool is_ipv4_of(const struct endpoint_address *address, uint8_t a, uint8_t b, uint8_t c,
		       uint8_t d)
{
	const uint8_t quad[4] = {a, b, c, d};

	return endpoint_is_ipv4(address) && memcmp(address->bytes + 12, quad, 4) == 0;
}

bool endpoint_is_any(const struct endpoint_address *address)
{
	static const struct endpoint_address zero;

	return endpoint_equal(address, &zero) || is_ipv4_of(address, 0, 0, 0, 0);
}

bool endpoint_is_loopback(const struct endpoint_address *address)
{
	static const struct endpoint_address loopback = {{[15] = 1}};

	if (endpoint_is_ipv4(address))
		return address->bytes[12] == 127;
	return endpoint_equal(address, &loopback);
}

bool endpoint_is_multicast(const struct endpoint_address *address)
{
	if (endpoint_is_ipv4(address))
		return (address->bytes[12] & 0xf0) == 0xe0;
	return address->bytes[0] == 0xff;
}

bool endpoint_is_broadcast(const struct endpoint_address *address)
{
	return is_ipv4_of(address, 255, 255, 255, 255);
}

bool endpoint_equal(const struct endpoint_address *a, const struct endpoint_address *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static char *format_octet(uint8_t octet, char *out)
{
	if (octet >= 100)
		*out++ = (char)('0' + octet / 100);
	if (octet >= 10)
		*out++ = (char)('0' + octet / 10 % 10);
	*out++ = (char)('0' + octet % 10);
	return out;
}

char *endpoint_format(const struct endpoint_address *address, char buffer[ENDPOINT_TEXT_SIZE])
{
	if (!endpoint_is_ipv4(address)) {
		/* Cannot fail: the family is known and the buffer is large enough. */
		if (!inet_ntop(AF_INET6, address->bytes, buffer, ENDPOINT_TEXT_SIZE))
			buffer[0] = '\0';
		return buffer;
	}
	char *out = buffer;
	for (int i = 12; i < 16; i++) {
		if (i > 12)
			*out++ = '.';
		out = format_octet(address->bytes[i], out);
	}
	*out = '\0';
	return buffer;
}

/* A dotted quad and nothing else: four numbers without leading zeros (octal
 * for some readers, decimal for others). Most addresses are this; inet_pton
 * takes several times as long. */
static bool parse_quad(const char *text, const char *end, uint8_t quad[4])
{
	for (int i = 0; i < 4; i++) {
		unsigned int value, digit;

		if (i > 0 && (text == end || *text++ != '.'))
			return false;
		if (text == end || (value = (unsigned int)*text - '0') > 9)
			return false;
		for (text++; text < end && (digit = (unsigned int)*text - '0') <= 9; text++) {
			if (value == 0)
				return false;
			value = value * 10 + digit;
			if (value > 255)
				return false;
		}
		quad[i] = (uint8_t)value;
	}
	return text == end;
}

int endpoint_parse_bytes(const char *text, size_t length, struct endpoint_address *out)
{
	static const char mapped[] = "::ffff:";
	struct endpoint_address address;
	char terminated[ENDPOINT_TEXT_SIZE];
	uint8_t quad[4];
	size_t prefix = sizeof(mapped) - 1;

	if (parse_quad(text, text + length, quad) ||
	    (length > prefix && memcmp(text, mapped, prefix) == 0 &&
	     parse_quad(text + prefix, text + length, quad))) {
		*out = endpoint_from_ipv4(quad);
		return 0;
	}
	if (length >= sizeof(terminated) || memchr(text, '\0', length))
		return -1;
	memcpy(terminated, text, length);
	terminated[length] = '\0';
	if (inet_pton(AF_INET6, terminated, address.bytes) != 1)
		return -1;
	*out = address;
	return 0;
}

int endpoint_parse(const char *text, struct endpoint_address *out)
{
	return endpoint_parse_bytes(text, strlen(text), out);
}

const char *endpoint_protocol_name(uint8_t protocol, char buffer[ENDPOINT_PROTOCOL_SIZE])
{
	switch (protocol) {
	case 1:
		return "icmp";
	case 2:
		return "igmp";
	case 6:
		return "tcp";
	case 17:
		return "udp";
	case 33:
		return "dccp";
	case 50:
		return "esp";
	case 51:
		return "ah";
	case 58:
		return "icmp6";
	case 132:
		return "sctp";
	case 136:
		return "udplite";
	default:
		snprintf(buffer, ENDPOINT_PROTOCOL_SIZE, "%u", (unsigned int)protocol);
		return buffer;
	}
}
