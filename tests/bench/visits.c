/*
 * visits RATE SECONDS: RATE processes a second, each of which opens one TCP
 * connection over loopback to one server, sends a request, reads the answer and
 * ends. Prints how many there were; exit 1 when it could not keep up.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

#define MAX_LATE_NS 300000000

/* The client closes first, so that its own ports wait out TIME_WAIT. */
static void serve(int listener)
{
	char bytes[64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			continue;
		while (read(client, bytes, sizeof bytes) > 0)
			if (write(client, bytes, sizeof bytes) < 0)
				break;
		close(client);
	}
}

/* Another local address for each, so that no ports run out. */
static int visit(const struct sockaddr_in *server, uint32_t number)
{
	struct sockaddr_in own = {.sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(0x7f020001u + number % 60000)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char bytes[64] = "request";

	return fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) ||
	       connect(fd, (const struct sockaddr *)server, sizeof *server) ||
	       write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes ||
	       read(fd, bytes, sizeof bytes) <= 0;
}

/* How many visitors have ended; *failed of them without an answer. The server
 * is no visitor. */
static uint64_t reap(pid_t server, uint64_t *failed, int options)
{
	uint64_t ended = 0;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, options)) > 0) {
		if (pid == server)
			continue;
		ended++;
		*failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
		if (!(options & WNOHANG))
			break;
	}
	return ended;
}

static int listen_on(struct sockaddr_in *server)
{
	socklen_t length = sizeof *server;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*server = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return bind(fd, (struct sockaddr *)server, sizeof *server) || listen(fd, 4096) ||
			       getsockname(fd, (struct sockaddr *)server, &length)
		       ? -1
		       : fd;
}

int main(int argc, char **argv)
{
	uint64_t total, ended = 0, failed = 0;
	struct sockaddr_in server;
	int64_t rate, begin_ns, late_ns;
	int listener;
	pid_t serving;

	if (argc != 3 || (rate = atoll(argv[1])) <= 0) {
		fputs("Usage: visits RATE SECONDS\n", stderr);
		return 64;
	}
	total = (uint64_t)(rate * atoll(argv[2]));
	listener = listen_on(&server);
	if (listener < 0) {
		perror("visits");
		return 1;
	}
	serving = fork();
	if (serving == 0)
		serve(listener);
	begin_ns = quantity_now_ns(CLOCK_MONOTONIC);
	for (uint64_t i = 0; i < total; i++) {
		int64_t due_ns = begin_ns + (int64_t)i * 1000000000 / rate;
		struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		pid_t visitor = fork();

		if (visitor < 0)
			return 1;
		if (visitor == 0)
			_exit(visit(&server, (uint32_t)i));
		ended += reap(serving, &failed, WNOHANG);
	}
	while (ended < total)
		ended += reap(serving, &failed, 0);
	late_ns = quantity_now_ns(CLOCK_MONOTONIC) - begin_ns - atoll(argv[2]) * 1000000000;
	kill(serving, SIGKILL);
	printf("%llu\n", (unsigned long long)total);
	if (failed)
		fprintf(stderr, "visits: %llu failed\n", (unsigned long long)failed);
	if (late_ns > MAX_LATE_NS)
		fputs("visits: this machine does not make as many processes a second\n", stderr);
	return failed > 0 || late_ns > MAX_LATE_NS;
}
