/* The servers: every way in which a process comes by an accepted connection. */
#include "tests/truth/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOW_CLOSE_MS 60

struct session {
	struct talk talk;
	uint8_t header[TALK_HEADER];
	size_t got; /* bytes of the request in progress */
	bool slow;
	int64_t close_at_ns; /* CLOCK_MONOTONIC; 0: open */
};

struct house {
	struct plan *plan;
	int source; /* where connections come from: a listener, or a UNIX socket */
	int stop;
	int handover;  /* where connections go after their first exchange; -1: they stay */
	bool received; /* source is a UNIX socket */
	struct session *sessions;
	size_t count, capacity;
	struct pollfd *polls; /* capacity + 2 */
};

static const char *sharing_of(const struct plan *plan)
{
	switch (plan->kind->server) {
	case SERVER_FORKING:
	case SERVER_INETD:
	case SERVER_PASS:
		return "moved";
	default:
		return "own";
	}
}

static void session_begin(const struct plan *plan, struct session *session, int fd)
{
	*session = (struct session){
		.talk = {.fd = fd,
			 .protocol = "tcp",
			 .role = "accepted",
			 .sharing = sharing_of(plan),
			 .first_ns = clock_ns(CLOCK_REALTIME)},
	};
	(void)talk_names(&session->talk);
}

/* Takes what is there of a request, and answers once it is whole. 1: goes on,
 * 0: the server is to close, -1: the client closed. */
static int session_step(struct session *session, int flags)
{
	uint8_t bytes[TALK_PART_MAX];
	uint32_t length, wanted;
	ssize_t n = recv(session->talk.fd, bytes, sizeof(bytes), flags);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (n <= 0)
		return -1;
	session->talk.received += (uint64_t)n;
	for (ssize_t i = 0; i < n && session->got + (size_t)i < TALK_HEADER; i++)
		session->header[session->got + (size_t)i] = bytes[i];
	session->got += (size_t)n;
	if (session->got < TALK_HEADER)
		return 1;
	memcpy(&length, session->header, sizeof(length));
	memcpy(&wanted, session->header + 4, sizeof(wanted));
	if (session->got < length)
		return 1;
	session->got = 0;
	session->slow = (wanted & WANT_SLOW) != 0;
	if (talk_send(&session->talk, wanted & WANT_MASK) != 0)
		return -1;
	return wanted & WANT_CLOSE ? 0 : 1;
}

/* One connection from here to its end, by a process that has no other. */
static int session_alone(struct plan *plan, struct session *session)
{
	if (plan->kind->server_speaks_first)
		(void)talk_send(&session->talk, TALK_GREETING);
	while (session_step(session, 0) > 0)
		;
	talk_close(plan, &session->talk);
	return 0;
}

int serve_inetd(struct plan *plan)
{
	struct session session;

	session_begin(plan, &session, STDIN_FILENO);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	return session_alone(plan, &session);
}

/* A child for the connection; the parent's own use of it ends here. */
static void hand_to_child(struct house *house, struct session *session)
{
	struct plan *plan = house->plan;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = session->talk.fd;

		plan_begin(plan);
		close(house->source);
		if (plan->kind->server == SERVER_FORKING) {
			session_begin(plan, session, fd);
			_exit(session_alone(plan, session));
		}
		for (int i = 0; i < 3; i++)
			dup2(fd, i);
		plan_execute(plan, "inetd");
		_exit(1);
	}
	talk_close(plan, &session->talk);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* After one exchange the connection goes to the worker, through a UNIX socket. */
static void hand_over(struct house *house, struct session *session)
{
	while (session->talk.received == 0 || session->got != 0) {
		if (session_step(session, 0) <= 0)
			break;
	}
	(void)descriptor_pass(house->handover, session->talk.fd);
	talk_close(house->plan, &session->talk);
}

static void house_grow(struct house *house)
{
	size_t capacity = house->capacity ? house->capacity * 2 : 64;
	struct session *sessions = realloc(house->sessions, capacity * sizeof(*sessions));
	struct pollfd *polls = realloc(house->polls, (capacity + 2) * sizeof(*polls));

	if (sessions == NULL || polls == NULL)
		_exit(1);
	house->sessions = sessions;
	house->polls = polls;
	house->capacity = capacity;
}

static void house_take(struct house *house)
{
	struct session session;
	int fd = house->received ? descriptor_take(house->source, MSG_DONTWAIT)
				 : accept4(house->source, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	session_begin(house->plan, &session, fd);
	if (house->handover >= 0) {
		hand_over(house, &session);
		return;
	}
	if (house->plan->kind->server == SERVER_FORKING ||
	    house->plan->kind->server == SERVER_INETD) {
		hand_to_child(house, &session);
		return;
	}
	if (house->received)
		(void)talk_send(&session.talk, TALK_GREETING);
	if (house->count == house->capacity)
		house_grow(house);
	house->sessions[house->count++] = session;
}

static void house_step(struct house *house, size_t i, short events)
{
	struct session *session = &house->sessions[i];
	int more = 1;

	if (session->close_at_ns == 0 && events != 0)
		more = session_step(session, MSG_DONTWAIT);
	if (more < 0 && session->slow)
		session->close_at_ns = clock_ns(CLOCK_MONOTONIC) + SLOW_CLOSE_MS * INT64_C(1000000);
	else if (more <= 0 ||
		 (session->close_at_ns != 0 && session->close_at_ns <= clock_ns(CLOCK_MONOTONIC)))
		goto close;
	return;
close:
	talk_close(house->plan, &session->talk);
	house->sessions[i] = house->sessions[--house->count];
}

/* Until it was told to stop and the last connection has ended. */
static void house_run(struct house *house)
{
	bool stopping = false;

	house_grow(house);
	while (!stopping || house->count > 0) {
		size_t count = house->count;
		int wait_ms = -1;

		for (size_t i = 0; i < count; i++) {
			bool closing = house->sessions[i].close_at_ns != 0;

			house->polls[i] = (struct pollfd){
				.fd = closing ? -1 : house->sessions[i].talk.fd, .events = POLLIN};
			if (closing)
				wait_ms = 5;
		}
		house->polls[count] = (struct pollfd){.fd = house->source, .events = POLLIN};
		house->polls[count + 1] =
			(struct pollfd){.fd = stopping ? -1 : house->stop, .events = POLLIN};
		if (poll(house->polls, count + 2, wait_ms) < 0 && errno != EINTR)
			_exit(1);
		if (house->polls[count + 1].revents != 0)
			stopping = true;
		for (size_t i = count; i-- > 0;)
			house_step(house, i, house->polls[i].revents);
		if (house->polls[count].revents & POLLIN)
			house_take(house);
		else if (house->polls[count].revents != 0)
			house->source = -1;
	}
	free(house->sessions);
	free(house->polls);
}

/* ----------------------------------------------------- processes of it -- */

static bool is_of_datagrams(const struct kind *kind)
{
	return kind->run == run_datagrams || kind->run == run_datagram_reuse ||
	       kind->run == run_datagram_zero || kind->run == run_datagram_pass;
}

static void serve(struct plan *plan, int fd, int stop)
{
	struct house house = {.plan = plan, .source = fd, .stop = stop, .handover = -1};

	if (is_of_datagrams(plan->kind)) {
		serve_datagrams(plan, fd, stop);
		return;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	house_run(&house);
}

static void report(int to, const struct sockaddr_storage *address)
{
	if (write(to, address, sizeof(*address)) != (ssize_t)sizeof(*address))
		_exit(1);
	close(to);
}

static void wait_for_all(void)
{
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

/* A listening socket, and where its address goes when all who serve it are there: one that is
 * born later may have inherited a connection that waits. */
struct place {
	int fd, to;
	struct sockaddr_storage address;
};

/* Workers on one socket that their parent opened. */
static void serve_preforked(struct plan *plan, const struct place *place, int stop)
{
	for (unsigned i = 0; i < PLAN_WORKERS; i++) {
		if (fork() == 0) {
			plan_begin(plan);
			close(place->to);
			serve(plan, place->fd, stop);
			_exit(0);
		}
	}
	report(place->to, &place->address);
	wait_for_all();
}

/* Workers that each open a socket of their own on one port; the first one's
 * address goes to the others. */
static void serve_group(struct plan *plan, int type, struct sockaddr_storage *address, int stop,
			int to)
{
	int told[2];

	for (unsigned i = 0; i < PLAN_WORKERS; i++) {
		if (pipe2(told, O_CLOEXEC) != 0)
			_exit(1);
		if (fork() == 0) {
			int fd = socket_bound(type, address, plan->kind->dual_stack, true);

			plan_begin(plan);
			close(to);
			close(told[0]);
			if (fd < 0)
				_exit(1);
			report(told[1], address);
			serve(plan, fd, stop);
			_exit(0);
		}
		close(told[1]);
		if (read(told[0], address, sizeof(*address)) != (ssize_t)sizeof(*address))
			_exit(1);
		close(told[0]);
	}
	report(to, address);
	wait_for_all();
}

static void serve_and_pass(struct plan *plan, const struct place *place, int stop)
{
	struct house house = {.plan = plan, .source = place->fd, .stop = stop, .handover = -1};
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		_exit(1);
	if (fork() == 0) {
		plan_begin(plan);
		close(place->fd);
		close(place->to);
		close(ends[0]);
		house.source = ends[1];
		house.received = true;
		house_run(&house);
		_exit(0);
	}
	close(ends[1]);
	report(place->to, &place->address);
	house.handover = ends[0];
	fcntl(place->fd, F_SETFL, O_NONBLOCK);
	house_run(&house);
	close(ends[0]);
	wait_for_all();
}

static void server_main(struct plan *plan, int stop, int to)
{
	bool datagrams = is_of_datagrams(plan->kind);
	int type = datagrams ? SOCK_DGRAM : SOCK_STREAM;
	struct place place = {.to = to};

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (plan_enter(plan, plan->kind->server_far) != 0)
		_exit(1);
	plan_server_address(plan, &place.address);
	if (plan->kind->server == SERVER_REUSEPORT) {
		serve_group(plan, type, &place.address, stop, to);
		return;
	}
	place.fd = socket_bound(type, &place.address, plan->kind->dual_stack, false);
	if (place.fd < 0)
		_exit(1);
	if (plan->kind->server == SERVER_PREFORK) {
		serve_preforked(plan, &place, stop);
	} else if (plan->kind->server == SERVER_PASS) {
		serve_and_pass(plan, &place, stop);
	} else {
		report(to, &place.address);
		serve(plan, place.fd, stop);
	}
	close(place.fd);
	wait_for_all();
}

int server_start(struct plan *plan, struct server *server)
{
	int stop[2], told[2];
	uint16_t port;
	ssize_t n;

	if (pipe2(stop, O_CLOEXEC) != 0)
		return -1;
	if (pipe2(told, O_CLOEXEC) != 0) {
		close(stop[0]);
		close(stop[1]);
		return -1;
	}
	server->pid = fork();
	if (server->pid == 0) {
		plan_begin(plan);
		close(stop[1]);
		close(told[0]);
		server_main(plan, stop[0], told[1]);
		_exit(0);
	}
	close(stop[0]);
	close(told[1]);
	server->stop = stop[1];
	n = read(told[0], &server->address, sizeof(server->address));
	close(told[0]);
	if (n != (ssize_t)sizeof(server->address))
		return -1;
	port = address_port(&server->address);
	plan_server_address(plan, &server->address);
	address_set_port(&server->address, port);
	return 0;
}

int server_stop(struct server *server)
{
	int status = 0;

	close(server->stop);
	if (server->pid <= 0 || waitpid(server->pid, &status, 0) != server->pid)
		return 1;
	return status != 0;
}
