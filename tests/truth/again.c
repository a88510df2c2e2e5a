/* What comes again: the same port, the same pid; and what nobody answers. */
#include "tests/truth/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIFE_AGAIN_MS 500 /* at most: the second one comes within a second */
#define TICK_MS	      20  /* two clock ticks: the start times differ */
#define PID_TRIES     40  /* others fork too */

static int play_again(struct plan *plan, unsigned number, const void *context)
{
	struct client client = *(const struct client *)context;

	/* Both ways in which nothing of the first one is in the way of the second. */
	client.reset = number / 2 % 2 == 0;
	client.server_closes = !client.reset;
	return client_stream(plan, &client, plan_life_ms(plan) % LIFE_AGAIN_MS);
}

/* The same five-tuple by two processes, one after the other. */
int run_port_reuse(struct plan *plan)
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
			client.local_port = port_free(SOCK_STREAM, &local);
		status |= plan_client_alone(plan, play_again, i, &client) < 0;
	}
out:
	return server_stop(&server) != 0 || status != 0;
}

/* ---------------------------------------------------------- the same pid -- */

/* The next process that anyone starts gets pid. 0, or -1 if that can't be had. */
static int next_pid(pid_t pid)
{
	char text[16];
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC), length;
	ssize_t n;

	if (fd < 0)
		return -1;
	length = snprintf(text, sizeof(text), "%d", (int)pid - 1);
	n = write(fd, text, (size_t)length);
	close(fd);
	return n == length ? 0 : -1;
}

struct same_pid {
	struct client client;
	pid_t pid; /* talk only as this one; 0: as any */
};

static int play_as(struct plan *plan, unsigned number, const void *context)
{
	const struct same_pid *same = context;

	(void)number;
	if (same->pid != 0 && getpid() != same->pid)
		return 1;
	return client_stream(plan, &same->client, plan_life_ms(plan) % LIFE_AGAIN_MS);
}

/* Two processes, one after the other, with the same pid. */
int run_pid_reuse(struct plan *plan)
{
	struct server server = {0};
	struct same_pid same = {0};
	unsigned reused = 0;
	int status = 1;

	if (server_start(plan, &server) != 0)
		goto out;
	same.client.server = server.address;
	status = 0;
	for (unsigned i = 0; i < plan->count; i += 2) {
		same.pid = 0;
		same.pid = plan_client_alone(plan, play_as, i, &same);
		pause_ms(TICK_MS);
		for (int tries = 0; tries < PID_TRIES && same.pid > 0; tries++) {
			if (next_pid(same.pid) != 0) {
				status = TALK_CANNOT;
				goto out;
			}
			if (plan_client_alone(plan, play_as, i, &same) > 0) {
				reused++;
				break;
			}
		}
	}
	if (reused == 0)
		status = TALK_CANNOT;
out:
	if (server_stop(&server) != 0)
		return 1;
	return status;
}

/* -------------------------------------------------------------- refused -- */

/* To a port where nobody listens: the kernel answers. */
static int play_refused(struct plan *plan, unsigned number, const void *context)
{
	struct talk talk = {.protocol = "tcp", .role = "client", .sharing = "own"};
	socklen_t length = sizeof(talk.local);
	int refused;

	(void)number;
	(void)context;
	plan_server_address(plan, &talk.remote);
	address_set_port(&talk.remote, port_free(SOCK_STREAM, &talk.remote));
	plan_client_address(plan, &talk.local);
	talk.fd = socket(talk.local.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* Bound first: a socket that was refused has forgotten its port. */
	if (talk.fd < 0 ||
	    bind(talk.fd, (const struct sockaddr *)&talk.local, address_length(&talk.local)) != 0 ||
	    getsockname(talk.fd, (struct sockaddr *)&talk.local, &length) != 0)
		return 1;
	talk.first_ns = clock_ns(CLOCK_REALTIME);
	refused = connect(talk.fd, (const struct sockaddr *)&talk.remote,
			  address_length(&talk.remote)) != 0 &&
		  errno == ECONNREFUSED;
	pause_ms(plan_life_ms(plan));
	talk_close(plan, &talk);
	journal_write_kernel(plan, &talk);
	return !refused;
}

int run_refused(struct plan *plan)
{
	return plan_clients(plan, play_refused, NULL) > 0;
}
