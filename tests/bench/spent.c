/*
 * spent FILE COMMAND…: runs the command, passes INT and TERM on to it, and
 * writes into FILE what it and all its threads spent, by wait4:
 * user and system CPU in microseconds, largest resident set in KiB, wall clock
 * in microseconds. Its exit status is the command's.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

static volatile sig_atomic_t child;

static void pass_on(int number)
{
	kill(child, number);
}

static int64_t now_us(void)
{
	return quantity_now_ns(CLOCK_MONOTONIC) / 1000;
}

static int64_t microseconds(struct timeval time)
{
	return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
	sigset_t passed, before;
	struct rusage usage;
	int64_t begin_us;
	int status;
	FILE *out;

	if (argc < 3) {
		fputs("Usage: spent FILE COMMAND ...\n", stderr);
		return 64;
	}
	sigemptyset(&passed);
	sigaddset(&passed, SIGINT);
	sigaddset(&passed, SIGTERM);
	sigprocmask(SIG_BLOCK, &passed, &before);
	begin_us = now_us();
	child = fork();
	if (child == 0) {
		/* A background job of a shell without job control ignores INT. */
		signal(SIGINT, SIG_DFL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	while (child < 0 || wait4(child, &status, 0, &usage) < 0) {
		if (child < 0 || errno != EINTR) {
			perror("spent");
			return 1;
		}
	}
	out = fopen(argv[1], "we");
	if (!out ||
	    fprintf(out, "%lld %lld %ld %lld\n", (long long)microseconds(usage.ru_utime),
		    (long long)microseconds(usage.ru_stime), usage.ru_maxrss,
		    (long long)(now_us() - begin_us)) < 0 ||
	    fclose(out) != 0) {
		perror(argv[1]);
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
