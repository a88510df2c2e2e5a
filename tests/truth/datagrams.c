/* Datagrams: servers, clients, and the kinds that play them. */
#include "tests/truth/talk.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LOST_MS 2000 /* an answer that takes longer was lost */

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* Asks for the address that each datagram was sent to. */
static void want_destination(int fd, int family)
{
	int on = 1;

	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
}

/* The address a datagram was sent to, into *local (its port stays). What is in
 * the control message afterwards sends from there. */
static void take_destination(struct msghdr *message, struct sockaddr_storage *local)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&info6, CMSG_DATA(c), sizeof(info6));
			((struct sockaddr_in6 *)(void *)local)->sin6_addr = info6.ipi6_addr;
			info6.ipi6_ifindex = 0;
			memcpy(CMSG_DATA(c), &info6, sizeof(info6));
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			((struct sockaddr_in *)(void *)local)->sin_addr = info.ipi_addr;
			info.ipi_ifindex = 0;
			info.ipi_spec_dst = info.ipi_addr;
			memcpy(CMSG_DATA(c), &info, sizeof(info));
		}
	}
}

/* One datagram in, its answer out, one line. 0, or -1 when nothing is there. */
static int serve_one(struct plan *plan, int fd)
{
	uint8_t bytes[TALK_DATAGRAM_MAX] = {0};
	union control control;
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct talk talk = {.fd = fd, .protocol = "udp", .role = "bound", .sharing = "own"};
	struct msghdr message = {.msg_name = &talk.remote,
				 .msg_namelen = sizeof(talk.remote),
				 .msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	socklen_t length = sizeof(talk.local);
	uint32_t wanted;
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);

	if (n < 0)
		return -1;
	getsockname(fd, (struct sockaddr *)&talk.local, &length);
	take_destination(&message, &talk.local);
	talk.first_ns = clock_ns(CLOCK_REALTIME);
	talk.received = (uint64_t)n;
	memcpy(&wanted, bytes, sizeof(wanted));
	iov.iov_len = n >= 4 && wanted <= sizeof(bytes) ? wanted : 1;
	n = sendmsg(fd, &message, 0);
	talk.sent = n > 0 ? (uint64_t)n : 0;
	talk.last_ns = clock_ns(CLOCK_REALTIME);
	journal_write(plan, &talk);
	return 0;
}

void serve_datagrams(struct plan *plan, int fd, int stop)
{
	struct pollfd polls[2] = {{.fd = fd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
	int size = 4 << 20;

	want_destination(fd, plan->kind->dual_stack ? AF_INET6 : plan->kind->family);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	while (polls[1].revents == 0) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		while (serve_one(plan, fd) == 0)
			;
	}
}

/* ------------------------------------------------------------- clients -- */

static int ask(struct plan *plan, struct talk *talk)
{
	uint8_t bytes[TALK_DATAGRAM_MAX] = {0};
	union control control;
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	bool connected = plan->kind->connected;
	uint32_t wanted = 1 + plan_random(plan, TALK_DATAGRAM_MAX - 1);
	size_t length = 4 + plan_random(plan, TALK_DATAGRAM_MAX - 4);
	ssize_t n;

	memcpy(bytes, &wanted, sizeof(wanted));
	n = sendto(talk->fd, bytes, length, 0,
		   connected ? NULL : (const struct sockaddr *)&talk->remote,
		   connected ? 0 : address_length(&talk->remote));
	if (n < 0)
		return -1;
	talk->sent += (uint64_t)n;
	n = recvmsg(talk->fd, &message, 0);
	if (n < 0) {
		talk->disturbed++;
		return errno == EAGAIN ? 0 : -1;
	}
	talk->received += (uint64_t)n;
	if (!connected)
		take_destination(&message, &talk->local);
	return 0;
}

/* A datagram socket towards the server, from local_port if that is not 0. */
static int open_talk(struct plan *plan, const struct client *client, struct talk *talk)
{
	struct timeval patience = {.tv_sec = LOST_MS / 1000};
	struct sockaddr_storage local = {0};
	socklen_t length = sizeof(talk->local);
	bool named = client->local_port != 0;

	*talk = (struct talk){.protocol = "udp", .role = "client", .sharing = "own"};
	talk->remote = client->server;
	talk->fd = socket_open(client->server.ss_family, SOCK_DGRAM);
	if (talk->fd < 0)
		return -1;
	setsockopt(talk->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	want_destination(talk->fd, client->server.ss_family);
	if (named)
		plan_client_address(plan, &local);
	local.ss_family = client->server.ss_family;
	address_set_port(&local, client->local_port);
	talk->first_ns = clock_ns(CLOCK_REALTIME);
	if ((named || !plan->kind->connected) &&
	    bind(talk->fd, (const struct sockaddr *)&local, address_length(&local)) != 0)
		goto out;
	if (plan->kind->connected && connect(talk->fd, (const struct sockaddr *)&talk->remote,
					     address_length(&talk->remote)) != 0)
		goto out;
	if (getsockname(talk->fd, (struct sockaddr *)&talk->local, &length) == 0)
		return 0;
out:
	close(talk->fd);
	return -1;
}

static int client_datagrams(struct plan *plan, const struct client *client, unsigned life_ms)
{
	int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)life_ms * 1000000, left_ms;
	struct talk talk;
	int status;

	if (open_talk(plan, client, &talk) != 0)
		return 1;
	while ((status = ask(plan, &talk)) == 0) {
		left_ms = (end_ns - clock_ns(CLOCK_MONOTONIC)) / 1000000;
		if (left_ms <= 0)
			break;
		pause_ms(left_ms < 100 ? (unsigned)left_ms : 1 + plan_random(plan, 100));
	}
	talk_close(plan, &talk);
	return status != 0;
}

static int play_client(struct plan *plan, unsigned number, const void *context)
{
	struct client client = {.server = *(const struct sockaddr_storage *)context};

	(void)number;
	if (plan_enter(plan, plan->kind->client_far) != 0)
		return 1;
	return client_datagrams(plan, &client, plan_life_ms(plan));
}

int run_datagrams(struct plan *plan)
{
	struct server server = {0};
	unsigned failed = 1;

	if (server_start(plan, &server) == 0)
		failed = plan_clients(plan, play_client, &server.address);
	return server_stop(&server) != 0 || failed > 0;
}

static int play_named(struct plan *plan, unsigned number, const void *context)
{
	(void)number;
	return client_datagrams(plan, context, plan_life_ms(plan) % 500);
}

/* Two processes, one after the other, from the same port to the same server. */
int run_datagram_reuse(struct plan *plan)
{
	struct server server = {0};
	struct client client = {0};
	struct sockaddr_storage local;
	int status = 1;

	if (server_start(plan, &server) != 0)
		goto out;
	client.server = server.address;
	plan_client_address(plan, &local);
	status = 0;
	for (unsigned i = 0; i < plan->count; i++) {
		if (i % 2 == 0)
			client.local_port = port_free(SOCK_DGRAM, &local);
		status |= plan_client_alone(plan, play_named, i, &client) < 0;
	}
out:
	return server_stop(&server) != 0 || status != 0;
}

/* To a port that nobody has: the kernel answers with an ICMP error. */
static int play_refused(struct plan *plan, unsigned number, const void *context)
{
	struct client client = {0};
	struct talk talk;
	int status;

	(void)number;
	(void)context;
	plan_server_address(plan, &client.server);
	address_set_port(&client.server, port_free(SOCK_DGRAM, &client.server));
	if (open_talk(plan, &client, &talk) != 0)
		return 1;
	status = ask(plan, &talk) == 0 || errno != ECONNREFUSED;
	talk.disturbed = 0;
	pause_ms(plan_life_ms(plan));
	talk_close(plan, &talk);
	journal_write_kernel(plan, &talk);
	return status;
}

int run_datagram_refused(struct plan *plan)
{
	return plan_clients(plan, play_refused, NULL) > 0;
}
