#include "tests/truth/talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

socklen_t address_length(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					      : sizeof(struct sockaddr_in);
}

uint16_t address_port(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
}

void address_set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
}

void address_map(struct sockaddr_storage *address)
{
	const struct sockaddr_in *in = (const void *)address;
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = in->sin_port};

	if (address->ss_family != AF_INET)
		return;
	memset(mapped.sin6_addr.s6_addr + 10, 0xff, 2);
	memcpy(mapped.sin6_addr.s6_addr + 12, &in->sin_addr, 4);
	memset(address, 0, sizeof(*address));
	memcpy(address, &mapped, sizeof(mapped));
}

void address_unmap(struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *in6 = (const void *)address;
	struct sockaddr_in plain = {.sin_family = AF_INET, .sin_port = in6->sin6_port};

	if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return;
	memcpy(&plain.sin_addr, in6->sin6_addr.s6_addr + 12, 4);
	memset(address, 0, sizeof(*address));
	memcpy(address, &plain, sizeof(plain));
}

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h since Linux 6.3 */
#endif

int socket_open(int family, int type)
{
	/* The lower end in the lower half. */
	uint32_t low = UINT32_C(46999) << 16 | 32768, high = UINT32_C(60999) << 16 | 47000;
	uint32_t range = family == AF_INET6 ? high : low;
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd >= 0 && type == SOCK_DGRAM)
		setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
	return fd;
}

int socket_bound(int type, struct sockaddr_storage *address, bool dual_stack, bool reuseport)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	socklen_t length = sizeof(*address);
	int fd, on = 1, off = 0;

	if (dual_stack) {
		any.sin6_port = htons(address_port(address));
		memset(address, 0, sizeof(*address));
		memcpy(address, &any, sizeof(any));
	}
	fd = socket_open(address->ss_family, type);
	if (fd < 0)
		return -1;
	/* With it the kernel gives two datagram sockets one port, even where it chooses. */
	if (type != SOCK_DGRAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (dual_stack)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)address, address_length(address)) != 0 ||
	    (type == SOCK_STREAM && listen(fd, 1024) != 0) ||
	    getsockname(fd, (struct sockaddr *)address, &length) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

uint16_t port_free(int type, const struct sockaddr_storage *address)
{
	struct sockaddr_storage mine = *address;
	socklen_t length = sizeof(mine);
	uint16_t port = 0;
	int fd = socket_open(mine.ss_family, type);

	if (fd < 0)
		return 0;
	address_set_port(&mine, 0);
	if (bind(fd, (const struct sockaddr *)&mine, address_length(&mine)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&mine, &length) == 0)
		port = address_port(&mine);
	close(fd);
	return port;
}

int talk_names(struct talk *talk)
{
	socklen_t local = sizeof(talk->local), remote = sizeof(talk->remote);

	if (getsockname(talk->fd, (struct sockaddr *)&talk->local, &local) != 0)
		return -1;
	return getpeername(talk->fd, (struct sockaddr *)&talk->remote, &remote);
}

static int send_bytes(struct talk *talk, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = send(talk->fd, bytes, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes += n;
		length -= (size_t)n;
		talk->sent += (uint64_t)n;
	}
	return 0;
}

int talk_send(struct talk *talk, size_t length)
{
	uint8_t bytes[TALK_PART_MAX] = {0};

	return send_bytes(talk, bytes, length);
}

int talk_receive(struct talk *talk, size_t length)
{
	uint8_t bytes[TALK_PART_MAX];

	while (length > 0) {
		ssize_t n =
			recv(talk->fd, bytes, length < sizeof(bytes) ? length : sizeof(bytes), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		length -= (size_t)n;
		talk->received += (uint64_t)n;
	}
	return 0;
}

int talk_exchange(struct talk *talk, size_t request, uint32_t wanted)
{
	uint8_t bytes[TALK_PART_MAX] = {0};
	uint32_t length = (uint32_t)request;

	memcpy(bytes, &length, sizeof(length));
	memcpy(bytes + 4, &wanted, sizeof(wanted));
	if (send_bytes(talk, bytes, request) != 0)
		return -1;
	return talk_receive(talk, wanted & WANT_MASK);
}

/* ----------------------------------------------------------- passed on -- */

union passed {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int descriptor_pass(int to, int fd)
{
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union passed control = {0};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(to, &message, 0) == 1 ? 0 : -1;
}

int descriptor_take(int from, int flags)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union passed control;
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(from, &message, flags | MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (header == NULL || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}
