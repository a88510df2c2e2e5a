#include "tests/unit/sockets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

struct endpoint sockets_at(const char *text, uint16_t port)
{
	struct endpoint endpoint = {.port = port};

	assert_int_equal(endpoint_parse(text, &endpoint.address), 0);
	return endpoint;
}

static struct endpoint endpoint_of(const struct sockaddr_storage *address)
{
	struct sockaddr_in6 ip6;
	struct sockaddr_in ip4;
	struct endpoint endpoint;

	if (address->ss_family == AF_INET) {
		memcpy(&ip4, address, sizeof(ip4));
		endpoint.address = endpoint_from_ipv4((const uint8_t *)&ip4.sin_addr);
		endpoint.port = ntohs(ip4.sin_port);
	} else {
		memcpy(&ip6, address, sizeof(ip6));
		endpoint.address = endpoint_from_ipv6(ip6.sin6_addr.s6_addr);
		endpoint.port = ntohs(ip6.sin6_port);
	}
	return endpoint;
}

struct endpoint sockets_name(int fd, bool peer)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);

	assert_int_equal(
		(peer ? getpeername : getsockname)(fd, (struct sockaddr *)&address, &length), 0);
	return endpoint_of(&address);
}

socklen_t sockets_fill(int family, const char *text, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(port)};

	memset(out, 0, sizeof(*out));
	if (family == AF_INET) {
		assert_int_equal(inet_pton(AF_INET, text, &ip4.sin_addr), 1);
		memcpy(out, &ip4, sizeof(ip4));
		return sizeof(ip4);
	}
	assert_int_equal(inet_pton(AF_INET6, text, &ip6.sin6_addr), 1);
	memcpy(out, &ip6, sizeof(ip6));
	return sizeof(ip6);
}

int sockets_bound_to(int family, int type, const char *text, uint16_t port, bool only_ipv6)
{
	struct sockaddr_storage address;
	socklen_t length = sockets_fill(family, text, port, &address);
	int one = 1, only = only_ipv6, fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		skip();
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	if (bind(fd, (struct sockaddr *)&address, length)) {
		print_message("cannot bind to %s: %s\n", text, strerror(errno));
		skip();
	}
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

int sockets_bound(int family, int type, const char *text)
{
	return sockets_bound_to(family, type, text, 0, false);
}

void sockets_connect(int fd, int family, const char *text, uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t length = sockets_fill(family, text, port, &address);

	if (connect(fd, (struct sockaddr *)&address, length)) {
		if (errno != ENETUNREACH)
			fail_msg("connect to %s: %s", text, strerror(errno));
		print_message("no way to %s: loopback is down\n", text);
		skip();
	}
}

int sockets_connected(int family, int type, const char *text, uint16_t port)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	sockets_connect(fd, family, text, port);
	return fd;
}

uint64_t sockets_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length))
		skip();
	return cookie;
}
