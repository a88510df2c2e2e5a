/* What comes again: the same port, the same pid; and what nobody answers. */
#include "tests/truth/talk.h"

#include <errno.h>
#include <netinet/in.h>
#include <time.h>

#define LIFE_AGAIN_MS 500 /* at most: the second one comes within a second */
#define TICK_MS	      20  /* two clock ticks: the start times differ */

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

static int play_as(struct plan *plan, unsigned number, const void *context)
{
	(void)number;
	return client_stream(plan, context, plan_life_ms(plan) % LIFE_AGAIN_MS);
}

/* Two processes, one after the other, with the same pid. */
int run_pid_reuse(struct plan *plan)
{
	struct server server = {0};
	struct client client = {0};
	unsigned reused = 0;
	int status = 1;

	if (server_start(plan, &server) != 0)
		goto out;
	client.server = server.address;
	status = 0;
	for (unsigned i = 0; i < plan->count; i += 2) {
		plan->next_pid = 0;
		plan->next_pid = plan_client_alone(plan, play_as, i, &client);
		pause_ms(TICK_MS);
		/* Somebody else may have it by now. */
		if (plan->next_pid > 0 && plan_client_alone(plan, play_as, i, &client) > 0)
			reused++;
	}
	plan->next_pid = 0;
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
