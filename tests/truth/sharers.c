/* Two processes with one datagram socket or one port, where the kernel does not tell of one
 * of them what it does. */
#include "tests/truth/talk.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOST_MS	    2000		 /* an answer that takes longer was lost */
#define ROUND_MS    50			 /* a turn of both, at most */
#define GROUP	    UINT32_C(0xefff4d01) /* 239.255.77.1 */
#define REQUEST_MIN 4			 /* it says how long the answer is to be */

/* ---------------------------------------------------------------- turns -- */

/* One end of a UNIX socket each: who has a byte in it is to act. */
static int pass_turn(int turn)
{
	return send(turn, "", 1, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int await_turn(int turn)
{
	char byte;

	return recv(turn, &byte, 1, 0) == 1 ? 0 : -1;
}

/* Whether there is time for another round, after a pause. */
static bool goes_on(struct plan *plan, int64_t end_ns)
{
	int64_t left_ms = (end_ns - clock_ns(CLOCK_MONOTONIC)) / 1000000;

	if (left_ms <= 0)
		return false;
	pause_ms(left_ms < ROUND_MS ? (unsigned)left_ms : 1 + plan_random(plan, ROUND_MS));
	return true;
}

/* A request and its answer; to NULL: as connected. 0 or -1. */
static int exchange(struct plan *plan, struct talk *talk, const struct sockaddr_storage *to)
{
	uint8_t bytes[TALK_DATAGRAM_MAX] = {0};
	uint32_t wanted = 1 + plan_random(plan, sizeof(bytes) - 1);
	size_t length = REQUEST_MIN + plan_random(plan, sizeof(bytes) - REQUEST_MIN);
	ssize_t n;

	memcpy(bytes, &wanted, sizeof(wanted));
	n = sendto(talk->fd, bytes, length, 0, (const struct sockaddr *)to,
		   to ? address_length(to) : 0);
	if (n < 0)
		return -1;
	talk->sent += (uint64_t)n;
	n = recv(talk->fd, bytes, sizeof(bytes), 0);
	if (n < 0) {
		talk->disturbed++;
		return errno == EAGAIN ? 0 : -1;
	}
	talk->received += (uint64_t)n;
	return 0;
}

static int await_child(pid_t pid)
{
	int status = 1;

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

static int open_bound(const struct sockaddr_storage *at, struct sockaddr_storage *local)
{
	struct timeval patience = {.tv_sec = LOST_MS / 1000};
	int fd;

	*local = *at;
	fd = socket_bound(SOCK_DGRAM, local, false, false);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* ----------------------------------------------------------- to nowhere -- */

/* The child sends to 0.0.0.0 or ::, which is this host: for IPv4 no way is looked up. */
static int zero_child(struct plan *plan, struct talk *talk, int turn)
{
	struct sockaddr_storage any = {.ss_family = talk->remote.ss_family};
	int status = 0;

	plan_begin(plan);
	address_set_port(&any, address_port(&talk->remote));
	talk->first_ns = clock_ns(CLOCK_REALTIME);
	while (status == 0 && await_turn(turn) == 0) {
		status = exchange(plan, talk, &any);
		pass_turn(turn);
	}
	talk_close(plan, talk);
	return status != 0;
}

static int play_zero(struct plan *plan, unsigned number, const void *context)
{
	struct talk talk = {.protocol = "udp", .role = "client", .sharing = "moved"};
	int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)plan_life_ms(plan) * 1000000;
	struct sockaddr_storage local;
	int turns[2], status;
	pid_t child;

	(void)number;
	talk.remote = *(const struct sockaddr_storage *)context;
	plan_client_address(plan, &local);
	talk.first_ns = clock_ns(CLOCK_REALTIME);
	talk.fd = open_bound(&local, &talk.local);
	if (talk.fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, turns) != 0)
		return 1;
	child = fork();
	if (child == 0) {
		close(turns[0]);
		_exit(zero_child(plan, &talk, turns[1]));
	}
	close(turns[1]);
	do {
		status = exchange(plan, &talk, &talk.remote) != 0 || pass_turn(turns[0]) != 0 ||
			 await_turn(turns[0]) != 0;
	} while (status == 0 && goes_on(plan, end_ns));
	close(turns[0]);
	status |= await_child(child);
	talk_close(plan, &talk);
	return status;
}

static int run_with_server(struct plan *plan, plan_client *client)
{
	struct server server = {0};
	unsigned failed = 1;

	if (server_start(plan, &server) == 0)
		failed = plan_clients(plan, client, &server.address);
	return server_stop(&server) != 0 || failed > 0;
}

int run_datagram_zero(struct plan *plan)
{
	return run_with_server(plan, play_zero);
}

/* --------------------------------------------------------------- passed -- */

static int pass_child(struct plan *plan, struct talk *talk, int turn, int64_t end_ns)
{
	int status;

	plan_begin(plan);
	talk->fd = descriptor_take(turn, 0);
	talk->first_ns = clock_ns(CLOCK_REALTIME);
	if (talk->fd < 0 || talk_names(talk) != 0)
		return 1;
	do
		status = exchange(plan, talk, NULL);
	while (status == 0 && goes_on(plan, end_ns));
	talk_close(plan, talk);
	return status != 0;
}

/* One opens it and asks once, the other asks on; every second time the first one keeps it too. */
static int play_pass(struct plan *plan, unsigned number, const void *context)
{
	struct talk talk = {.protocol = "udp", .role = "client", .sharing = "moved"}, second = talk;
	int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)plan_life_ms(plan) * 1000000;
	struct sockaddr_storage local;
	int turns[2], status;
	pid_t child;

	talk.remote = *(const struct sockaddr_storage *)context;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, turns) != 0)
		return 1;
	child = fork();
	if (child == 0) {
		close(turns[0]);
		_exit(pass_child(plan, &second, turns[1], end_ns));
	}
	close(turns[1]);
	plan_client_address(plan, &local);
	talk.first_ns = clock_ns(CLOCK_REALTIME);
	talk.fd = open_bound(&local, &talk.local);
	status = talk.fd < 0 ||
		 connect(talk.fd, (const struct sockaddr *)&talk.remote,
			 address_length(&talk.remote)) != 0 ||
		 exchange(plan, &talk, NULL) != 0 || descriptor_pass(turns[0], talk.fd) != 0;
	if (number % 2 == 0)
		talk_close(plan, &talk);
	close(turns[0]);
	status |= await_child(child);
	if (number % 2 != 0)
		talk_close(plan, &talk);
	return status;
}

int run_datagram_pass(struct plan *plan)
{
	return run_with_server(plan, play_pass);
}

/* --------------------------------------------------------------- helper -- */

struct errand {
	struct sockaddr_storage peer;
	uint32_t wanted;
};

/* Answers on the socket of who receives. */
static int help(struct plan *plan, struct talk *talk, int errands)
{
	uint8_t bytes[TALK_DATAGRAM_MAX] = {0};
	struct errand errand;
	int status = 0;

	plan_begin(plan);
	talk->first_ns = clock_ns(CLOCK_REALTIME);
	while (status == 0 && recv(errands, &errand, sizeof(errand), 0) == sizeof(errand)) {
		ssize_t n =
			sendto(talk->fd, bytes, errand.wanted, 0,
			       (const struct sockaddr *)&errand.peer, address_length(&errand.peer));

		talk->remote = errand.peer;
		talk->sent += n > 0 ? (uint64_t)n : 0;
		status = n < 0;
	}
	talk_close(plan, talk);
	return status;
}

static int dispatch(struct talk *talk, int errands, int stop)
{
	uint8_t bytes[TALK_DATAGRAM_MAX];
	struct timeval patience = {.tv_usec = 1000};
	struct errand errand = {0};
	char byte;

	setsockopt(talk->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	talk->first_ns = clock_ns(CLOCK_REALTIME);
	while (recv(stop, &byte, 1, MSG_DONTWAIT) < 0) {
		socklen_t length = sizeof(errand.peer);
		ssize_t n = recvfrom(talk->fd, bytes, sizeof(bytes), 0,
				     (struct sockaddr *)&errand.peer, &length);

		if (n < REQUEST_MIN)
			continue;
		talk->received += (uint64_t)n;
		talk->remote = errand.peer;
		memcpy(&errand.wanted, bytes, sizeof(errand.wanted));
		if (send(errands, &errand, sizeof(errand), MSG_NOSIGNAL) != sizeof(errand))
			return 1;
	}
	return 0;
}

static int serve_with_helper(struct plan *plan, struct talk *talk, int stop)
{
	struct talk helper = *talk;
	int errands[2], status;
	pid_t child;

	plan_begin(plan);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, errands) != 0)
		return 1;
	child = fork();
	if (child == 0) {
		close(errands[0]);
		_exit(help(plan, &helper, errands[1]));
	}
	close(errands[1]);
	status = dispatch(talk, errands[0], stop);
	close(errands[0]);
	status |= await_child(child);
	talk_close(plan, talk);
	return status;
}

/* A server of its own for each client, as short-lived as that. */
static int play_helper(struct plan *plan, unsigned number, const void *context)
{
	struct talk server = {.protocol = "udp", .role = "bound", .sharing = "moved"};
	struct talk talk = {.protocol = "udp", .role = "client", .sharing = "own"};
	int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)plan_life_ms(plan) * 1000000;
	struct sockaddr_storage local;
	int stop[2], status;
	pid_t child;

	(void)number;
	(void)context;
	plan_server_address(plan, &local);
	server.fd = open_bound(&local, &server.local);
	if (server.fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stop) != 0)
		return 1;
	child = fork();
	if (child == 0) {
		close(stop[0]);
		_exit(serve_with_helper(plan, &server, stop[1]));
	}
	close(stop[1]);
	close(server.fd);
	talk.remote = server.local;
	plan_client_address(plan, &local);
	talk.first_ns = clock_ns(CLOCK_REALTIME);
	talk.fd = open_bound(&local, &talk.local);
	do
		status = talk.fd < 0 || exchange(plan, &talk, &talk.remote) != 0;
	while (status == 0 && goes_on(plan, end_ns));
	close(stop[0]);
	status |= await_child(child);
	talk_close(plan, &talk);
	return status;
}

int run_datagram_helper(struct plan *plan)
{
	return plan_clients(plan, play_helper, NULL) > 0;
}

/* ----------------------------------------------------------- to a group -- */

/* Of a group, on loopback. With an interface named the way is looked up, with a source address
 * alone it is not. */
static int open_member(struct sockaddr_storage *local, bool told)
{
	struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
	struct ip_mreqn member = {.imr_multiaddr = {htonl(GROUP)}, .imr_address = loopback};
	struct timeval patience = {.tv_sec = LOST_MS / 1000};
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(address_port(local))};
	int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &member, sizeof(member)) != 0 ||
	    (told &&
	     setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof(loopback)) != 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int cast(struct plan *plan, struct talk *talk, bool told)
{
	uint8_t bytes[TALK_DATAGRAM_MAX] = {0};
	struct iovec iov = {.iov_base = bytes, .iov_len = 1 + plan_random(plan, sizeof(bytes) - 1)};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control = {0};
	struct in_pktinfo source = {.ipi_spec_dst = {htonl(INADDR_LOOPBACK)}};
	struct msghdr message = {.msg_name = &talk->remote,
				 .msg_namelen = address_length(&talk->remote),
				 .msg_iov = &iov,
				 .msg_iovlen = 1};
	ssize_t n;

	if (!told) {
		control.header.cmsg_level = IPPROTO_IP;
		control.header.cmsg_type = IP_PKTINFO;
		control.header.cmsg_len = CMSG_LEN(sizeof(source));
		memcpy(CMSG_DATA(&control.header), &source, sizeof(source));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	n = sendmsg(talk->fd, &message, 0);
	talk->sent += n > 0 ? (uint64_t)n : 0;
	return n < 0 ? -1 : 0;
}

static int cast_child(struct plan *plan, struct talk *talk, int turn)
{
	int status = 0;

	plan_begin(plan);
	talk->first_ns = clock_ns(CLOCK_REALTIME);
	talk->fd = open_member(&talk->local, false);
	if (talk->fd < 0)
		return 1;
	while (status == 0 && await_turn(turn) == 0) {
		status = cast(plan, talk, false);
		pass_turn(turn);
	}
	talk_close(plan, talk);
	return status != 0;
}

/* Two with a socket each on one port speak to the group in turn. */
static int play_cast(struct plan *plan, unsigned number, const void *context)
{
	struct talk talk = {.protocol = "udp", .role = "client", .sharing = "moved"};
	struct sockaddr_in *group = (void *)&talk.remote;
	int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)plan_life_ms(plan) * 1000000;
	int turns[2], status;
	pid_t child;

	(void)number;
	(void)context;
	plan_client_address(plan, &talk.local);
	address_set_port(&talk.local, port_free(SOCK_DGRAM, &talk.local));
	*group = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_port = htons(address_port(&talk.local)),
				      .sin_addr = {htonl(GROUP)}};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, turns) != 0)
		return 1;
	child = fork();
	if (child == 0) {
		close(turns[0]);
		_exit(cast_child(plan, &talk, turns[1]));
	}
	close(turns[1]);
	talk.first_ns = clock_ns(CLOCK_REALTIME);
	talk.fd = open_member(&talk.local, true);
	do
		status = talk.fd < 0 || cast(plan, &talk, true) != 0 || pass_turn(turns[0]) != 0 ||
			 await_turn(turns[0]) != 0;
	while (status == 0 && goes_on(plan, end_ns));
	close(turns[0]);
	status |= await_child(child);
	talk_close(plan, &talk);
	return status;
}

int run_datagram_cast(struct plan *plan)
{
	return plan_clients(plan, play_cast, NULL) > 0;
}
