/*
 * crowd SOCKETS PROCESSES [WAKE_MS]: opens SOCKETS established TCP sockets on
 * loopback, evenly in PROCESSES processes, prints a line once all are there,
 * and keeps them until its standard input ends. Each process runs for a moment
 * every WAKE_MS milliseconds, or never.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

/* Each pair is its own client and server; a listener of its own for each
 * process, on an address of its own, so that no ports run out. */
static int open_pairs(unsigned number, unsigned pairs)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(0x7f010001u + number)};
	socklen_t length = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&at, &length))
		return 1;
	for (unsigned i = 0; i < pairs; i++) {
		int client = socket(AF_INET, SOCK_STREAM, 0);

		if (client < 0 || connect(client, (struct sockaddr *)&at, sizeof at) ||
		    accept(listener, NULL, NULL) < 0)
			return 1;
	}
	close(listener);
	return 0;
}

static void live(unsigned number, unsigned pairs, int wake_ms, int ready)
{
	struct rlimit limit = {pairs * 2 + 64, pairs * 2 + 64};
	char done = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_NOFILE, &limit);
	if (open_pairs(number, pairs)) {
		perror("crowd");
		done = 1;
	}
	if (write(ready, &done, 1) == 1)
		for (;;)
			poll(NULL, 0, wake_ms);
	_exit(1);
}

int main(int argc, char **argv)
{
	unsigned sockets, processes;
	int wake_ms;
	int ready[2];
	char byte;

	if (argc < 3 || argc > 4 || (processes = (unsigned)atol(argv[2])) == 0) {
		fputs("Usage: crowd SOCKETS PROCESSES [WAKE_MS]\n", stderr);
		return 64;
	}
	sockets = (unsigned)atol(argv[1]);
	wake_ms = argc == 4 ? (int)atol(argv[3]) : -1;
	if (pipe(ready))
		return 1;
	for (unsigned i = 0; i < processes; i++) {
		pid_t child = fork();

		if (child == 0)
			live(i, sockets / processes / 2, wake_ms, ready[1]);
		if (child < 0 || read(ready[0], &byte, 1) != 1 || byte)
			return 1;
	}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
