/* Clients of stream servers, and the kinds that play them. */
#include "tests/truth/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REST_MS 100 /* at most, between two exchanges */

/* Connected to the server; the talk began before the first packet. 0 or -1. */
static int open_talk(const struct client *client, const struct plan *plan, struct talk *talk)
{
	struct sockaddr_storage local;
	struct linger linger = {.l_onoff = 1};
	int on = 1;

	*talk = (struct talk){.protocol = "tcp", .role = "client", .sharing = "own"};
	talk->fd = socket(client->server.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (talk->fd < 0)
		return -1;
	if (client->reset)
		setsockopt(talk->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (client->local_port != 0) {
		plan_client_address(plan, &local);
		address_set_port(&local, client->local_port);
		setsockopt(talk->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(talk->fd, (const struct sockaddr *)&local, address_length(&local)) != 0)
			goto out;
	}
	talk->first_ns = clock_ns(CLOCK_REALTIME);
	if (connect(talk->fd, (const struct sockaddr *)&client->server,
		    address_length(&client->server)) == 0 &&
	    talk_names(talk) == 0)
		return 0;
out:
	close(talk->fd);
	return -1;
}

static int exchange(struct plan *plan, struct talk *talk, uint32_t flags)
{
	return talk_exchange(talk, TALK_HEADER + plan_random(plan, TALK_PART_MAX - TALK_HEADER),
			     (1 + plan_random(plan, TALK_PART_MAX - 1)) | flags);
}

/* At least one exchange, and more until the life is over. */
static int converse(struct plan *plan, struct talk *talk, unsigned life_ms, uint32_t flags)
{
	int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)life_ms * 1000000;

	for (bool first = true;; first = false) {
		int64_t left_ms = (end_ns - clock_ns(CLOCK_MONOTONIC)) / 1000000;
		bool last = left_ms <= 0;

		if (exchange(plan, talk, last ? flags : flags & ~WANT_CLOSE) != 0)
			return -1;
		/* What was passed on is spoken for by its new owner first. */
		if (first && plan->kind->server == SERVER_PASS &&
		    (talk_receive(talk, TALK_GREETING) != 0 || exchange(plan, talk, flags) != 0))
			return -1;
		if (last)
			return 0;
		pause_ms(left_ms < REST_MS ? (unsigned)left_ms : 1 + plan_random(plan, REST_MS));
	}
}

int client_stream(struct plan *plan, const struct client *client, unsigned life_ms)
{
	struct talk talk;
	uint32_t flags = client->server_closes ? WANT_CLOSE : 0;
	int status = 0;
	char byte;

	if (open_talk(client, plan, &talk) != 0)
		return 1;
	if (plan->kind->server_speaks_first)
		status |= talk_receive(&talk, TALK_GREETING);
	if (status == 0)
		status |= converse(plan, &talk, life_ms, flags);
	if (client->server_closes)
		(void)recv(talk.fd, &byte, 1, 0); /* the end of the file */
	talk_close(plan, &talk);
	return status != 0;
}

/* ------------------------------------------------------------- threads -- */

struct thread {
	struct plan plan;
	const struct client *client;
	unsigned life_ms;
	int status;
	bool leader_ends;
};

/* Whether the leading thread has ended: its state is Z. */
static bool leader_ended(void)
{
	char path[64], text[256];
	const char *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return true;
	text[n] = '\0';
	at = strrchr(text, ')');
	return at != NULL && at[1] == ' ' && at[2] == 'Z';
}

static void *thread_main(void *argument)
{
	struct thread *thread = argument;

	thread->plan.random ^= (uint64_t)(uintptr_t)thread;
	if (thread->leader_ends) {
		while (!leader_ended())
			sched_yield();
	}
	thread->status = client_stream(&thread->plan, thread->client, thread->life_ms);
	if (thread->leader_ends)
		_exit(thread->status);
	return NULL;
}

static int client_threads(struct plan *plan, const struct client *client)
{
	struct thread threads[PLAN_THREADS];
	pthread_t ids[PLAN_THREADS];
	int status = 0;

	for (int i = 0; i < PLAN_THREADS; i++) {
		threads[i] = (struct thread){
			.plan = *plan, .client = client, .life_ms = plan_life_ms(plan)};
		if (pthread_create(&ids[i], NULL, thread_main, &threads[i]) != 0)
			_exit(1);
	}
	for (int i = 0; i < PLAN_THREADS; i++) {
		pthread_join(ids[i], NULL);
		status |= threads[i].status;
	}
	return status;
}

static int client_leader(struct plan *plan, const struct client *client)
{
	static struct thread thread;
	static struct client kept;
	pthread_t id;

	kept = *client;
	thread = (struct thread){
		.plan = *plan, .client = &kept, .life_ms = plan_life_ms(plan), .leader_ends = true};
	if (pthread_create(&id, NULL, thread_main, &thread) != 0)
		return 1;
	pthread_exit(NULL);
}

/* -------------------------------------------------- shared and leaked -- */

/* A child of another program that has the descriptor and never uses it. */
static pid_t leak(const struct talk *talk, const char *seconds)
{
	pid_t pid;

	fcntl(talk->fd, F_SETFD, 0);
	pid = fork();
	if (pid == 0) {
		execlp("sleep", "sleep", seconds, (char *)NULL);
		_exit(1);
	}
	fcntl(talk->fd, F_SETFD, FD_CLOEXEC);
	return pid;
}

/* The child ends before the client, or, every second time, long after: then it
 * has the only descriptor when the server's end of the connection closes. */
static int client_leak(struct plan *plan, const struct client *client, unsigned number)
{
	bool outlived = number % 2 == 1;
	struct talk talk;
	pid_t child;
	int status;

	if (open_talk(client, plan, &talk) != 0)
		return 1;
	child = leak(&talk, outlived ? "0.25" : "60");
	status = converse(plan, &talk, plan_life_ms(plan), outlived ? WANT_SLOW : 0);
	if (!outlived && child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	shutdown(talk.fd, SHUT_WR);
	talk_close(plan, &talk);
	return status != 0;
}

/* Parent and child, one after the other, each counting its own bytes. */
static int client_shared(struct plan *plan, const struct client *client)
{
	struct talk talk;
	unsigned life_ms = plan_life_ms(plan);
	int status = 0, failed;
	pid_t pid;

	if (open_talk(client, plan, &talk) != 0)
		return 1;
	talk.sharing = "shared";
	failed = converse(plan, &talk, life_ms / 2, 0);
	pid = fork();
	if (pid == 0) {
		plan_begin(plan);
		talk.sent = talk.received = 0;
		talk.first_ns = clock_ns(CLOCK_REALTIME);
		failed = converse(plan, &talk, life_ms / 2, 0);
		talk_close(plan, &talk);
		_exit(failed != 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		failed = -1;
	talk_close(plan, &talk);
	return failed != 0 || status != 0;
}

#define AT_ONCE_CALLS	 8
#define AT_ONCE_BUFFER	 4096 /* of what is sent: less than one call, so that calls wait */
#define AT_ONCE_RECEIVES 512

/* Its part of the request, then of the answer, while the other one does the same. */
static int take_part(struct talk *talk)
{
	uint8_t bytes[AT_ONCE_RECEIVES];
	ssize_t n;

	for (int i = 0; i < AT_ONCE_CALLS; i++) {
		if (talk_send(talk, TALK_PART_MAX) != 0)
			return -1;
	}
	while ((n = recv(talk->fd, bytes, sizeof(bytes), 0)) > 0)
		talk->received += (uint64_t)n;
	return n == 0 ? 0 : -1;
}

/* One request of both, which the server answers and then closes. */
static int client_at_once(struct plan *plan, const struct client *client)
{
	uint32_t header[2] = {TALK_HEADER + 2 * AT_ONCE_CALLS * TALK_PART_MAX,
			      TALK_PART_MAX | WANT_CLOSE};
	int buffer = AT_ONCE_BUFFER, status = 0, failed;
	struct talk talk;
	pid_t pid;

	if (open_talk(client, plan, &talk) != 0)
		return 1;
	talk.sharing = "moved";
	setsockopt(talk.fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (send(talk.fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return 1;
	talk.sent = sizeof(header);
	pid = fork();
	if (pid == 0) {
		plan_begin(plan);
		talk.sent = 0;
		talk.first_ns = clock_ns(CLOCK_REALTIME);
	}
	failed = pid < 0 || take_part(&talk) != 0;
	if (pid > 0 && waitpid(pid, &status, 0) != pid)
		failed = 1;
	talk_close(plan, &talk);
	if (pid == 0)
		_exit(failed);
	return failed || status != 0;
}

/* --------------------------------------------------------------- kinds -- */

/* The words that a client of its own program gets: life and port. */
static int execute_client(const struct plan *plan, const struct client *client, unsigned life_ms)
{
	char words[32];

	snprintf(words, sizeof(words), "%u:%u", life_ms, address_port(&client->server));
	plan_execute(plan, words);
	return 1;
}

int client_executed(struct plan *plan, const char *words)
{
	struct client client = {0};
	char *end;
	unsigned long life_ms = strtoul(words, &end, 10), port;

	if (*end != ':')
		return 64;
	port = strtoul(end + 1, NULL, 10);
	plan_server_address(plan, &client.server);
	address_set_port(&client.server, (uint16_t)port);
	return client_stream(plan, &client, (unsigned)life_ms);
}

static int play_client(struct plan *plan, unsigned number, const void *context)
{
	struct client client = {.server = *(const struct sockaddr_storage *)context};

	if (plan_enter(plan, plan->kind->client_far) != 0)
		return 1;
	switch (plan->kind->client) {
	case CLIENT_EXEC:
		return execute_client(plan, &client, plan_life_ms(plan));
	case CLIENT_THREADS:
		return client_threads(plan, &client);
	case CLIENT_LEADER:
		return client_leader(plan, &client);
	case CLIENT_LEAK:
		return client_leak(plan, &client, number);
	case CLIENT_SHARED:
		return client_shared(plan, &client);
	case CLIENT_AT_ONCE:
		return client_at_once(plan, &client);
	case CLIENT_MAPPED:
		if (number % 2 == 1)
			address_map(&client.server);
		break;
	case CLIENT_PLAIN:
		break;
	}
	return client_stream(plan, &client, plan_life_ms(plan));
}

int run_streams(struct plan *plan)
{
	struct server server = {0};
	unsigned failed = 1;

	if (server_start(plan, &server) == 0)
		failed = plan_clients(plan, play_client, &server.address);
	return server_stop(&server) != 0 || failed > 0;
}
