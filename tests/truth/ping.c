/* ICMP echoes, through ping sockets where the namespace allows them, and through raw ones. */
#include "tests/truth/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ECHO_HEADER   8 /* type, code, checksum, ident, sequence */
#define ECHO_DATA_MAX 1000
#define ECHOES	      3

struct echo {
	bool raw; /* what is received begins with an IPv4 header, and may be anybody's */
	uint16_t ident, sequence;
};

static uint16_t checksum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* The answer to this echo. 0; -1 when it does not come. */
static int receive_answer(struct talk *talk, const struct echo *echo)
{
	uint8_t bytes[64 + ECHO_HEADER + ECHO_DATA_MAX], *at;
	size_t skip = 0;

	for (;;) {
		ssize_t n = recv(talk->fd, bytes, sizeof(bytes), 0);

		if (n < 0)
			return -1;
		if (echo->raw)
			skip = (size_t)(bytes[0] & 15) * 4;
		at = bytes + skip;
		if ((size_t)n < skip + ECHO_HEADER)
			continue;
		if (echo->raw && (at[0] != ICMP_ECHOREPLY || (at[4] << 8 | at[5]) != echo->ident))
			continue;
		talk->received += (size_t)n - skip - ECHO_HEADER;
		return 0;
	}
}

static int send_echo(struct plan *plan, struct talk *talk, struct echo *echo)
{
	uint8_t bytes[ECHO_HEADER + ECHO_DATA_MAX] = {0};
	size_t length = ECHO_HEADER + 1 + plan_random(plan, ECHO_DATA_MAX);

	bytes[0] = plan->kind->family == AF_INET6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO;
	put16(bytes + 4, echo->ident);
	put16(bytes + 6, ++echo->sequence);
	put16(bytes + 2, checksum(bytes, length)); /* the kernel's task on a ping socket */
	if (sendto(talk->fd, bytes, length, 0, (const struct sockaddr *)&talk->remote,
		   address_length(&talk->remote)) != (ssize_t)length)
		return -1;
	talk->sent += length - ECHO_HEADER;
	if (receive_answer(talk, echo) != 0)
		talk->disturbed++;
	return 0;
}

static int talk_echoes(struct plan *plan, bool raw)
{
	struct talk talk = {.protocol = plan->kind->family == AF_INET6 ? "icmp6" : "icmp",
			    .role = "client",
			    .sharing = "own"};
	struct timeval patience = {.tv_sec = 2};
	struct echo echo = {.raw = raw, .ident = (uint16_t)(1 + plan_random(plan, 65535))};
	unsigned rest_ms = plan_life_ms(plan) / ECHOES;
	struct sockaddr_storage name = {0};
	socklen_t length = sizeof(name);

	plan_client_address(plan, &talk.local);
	plan_server_address(plan, &talk.remote);
	talk.fd = socket(plan->kind->family, (raw ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC,
			 plan->kind->family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	if (talk.fd < 0)
		return TALK_CANNOT;
	setsockopt(talk.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	talk.first_ns = clock_ns(CLOCK_REALTIME);
	for (int i = 0; i < ECHOES; i++) {
		if (i > 0)
			pause_ms(rest_ms);
		if (send_echo(plan, &talk, &echo) != 0)
			return 1;
	}
	if (!raw && getsockname(talk.fd, (struct sockaddr *)&name, &length) == 0)
		echo.ident = address_port(&name);
	address_set_port(&talk.local, echo.ident);
	address_set_port(&talk.remote, echo.ident);
	talk_close(plan, &talk);
	journal_write_kernel(plan, &talk);
	return 0;
}

static int play_ping(struct plan *plan, unsigned number, const void *context)
{
	(void)number;
	(void)context;
	if (plan_enter(plan, plan->kind->client_far) != 0)
		return 1;
	return talk_echoes(plan, false);
}

static int play_raw_ping(struct plan *plan, unsigned number, const void *context)
{
	(void)number;
	(void)context;
	if (plan_enter(plan, plan->kind->client_far) != 0)
		return 1;
	return talk_echoes(plan, true);
}

int run_ping(struct plan *plan)
{
	return plan_clients(plan, play_ping, NULL) > 0;
}

/* One after the other: all raw sockets take every packet of their protocol. */
int run_raw_ping(struct plan *plan)
{
	int status = 0;

	for (unsigned i = 0; i < plan->count; i++)
		status |= plan_client_alone(plan, play_raw_ping, i, NULL) < 0;
	return status;
}
