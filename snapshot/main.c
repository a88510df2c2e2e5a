/* pcapwho-record: signals, the command to run, and what is said at the end. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/command.h"
#include "snapshot/format/error.h"
#include "snapshot/format/quantity.h"
#include "snapshot/options.h"
#include "snapshot/recorder.h"

#define PROGRAM OPTIONS_PROGRAM

struct session {
	struct options options;
	struct recorder *recorder;
	struct command command;
	sigset_t signals, before;
	int signal_fd;
	unsigned stops; /* INT and TERM so far */
	int64_t deadline_ns;
};

static void print_notice(const char *text)
{
	fprintf(stderr, PROGRAM ": %s\n", text);
}

/* tcpdump's three lines, then ours. */
static void print_statistics(const struct recorder_statistics *now)
{
	fprintf(stderr,
		"%" PRIu64 " packets captured\n%" PRIu64 " packets received by filter\n%" PRIu64
		" packets dropped by kernel\n",
		now->written, now->capture.received, now->capture.dropped);
	if (now->capture.interface_dropped)
		fprintf(stderr, "%" PRIu64 " packets dropped by interface\n",
			now->capture.interface_dropped);
	if (now->lost)
		fprintf(stderr, "%" PRIu64 " packets lost: the disk was full or too slow\n",
			now->lost);
	fprintf(stderr,
		"%" PRIu64 " snapshots, longest gap %.3f s (%" PRIu64 " sockets, %" PRIu64
		" processes in the last)\n",
		now->frames, (double)now->longest_gap_ns / 1e9, now->sockets, now->processes);
	if (now->failed_polls)
		fprintf(stderr, "%" PRIu64 " snapshots could not be read\n", now->failed_polls);
	fprintf(stderr, "%" PRIu64 " segment%s", now->segments, now->segments == 1 ? "" : "s");
	if (now->expired)
		fprintf(stderr, ", %" PRIu64 " expired", now->expired);
	fprintf(stderr, "%s\n", now->paused ? "; paused, the disk is full" : "");
}

/* systemd's readiness protocol: one datagram; see sd_notify(3). */
static void notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = path ? strlen(path) : 0;
	int fd;

	if (length < 2 || length > sizeof address.sun_path || !strchr("/@", path[0]))
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0'; /* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
}

static void stop(struct session *session)
{
	notify_manager("STOPPING=1");
	recorder_stop(session->recorder);
}

/* The first one goes to the command too, unless the terminal sent it there
 * itself, and the recording ends with it; without a command it ends at once.
 * The second one waits for no command and leaves out the compression. */
static void on_stop_signal(struct session *session, const struct signalfd_siginfo *info)
{
	bool running = session->command.pid && !session->command.ended;

	session->stops++;
	if (running && session->stops == 1) {
		if (info->ssi_code <= 0 || info->ssi_signo == SIGTERM)
			kill(session->command.pid, (int)info->ssi_signo);
		return;
	}
	if (session->stops > 1)
		recorder_hurry(session->recorder);
	stop(session);
}

static void on_signal(struct session *session, const struct signalfd_siginfo *info)
{
	struct recorder_statistics now;

	switch (info->ssi_signo) {
	case SIGHUP:
		recorder_rotate(session->recorder);
		break;
	case SIGUSR1:
		recorder_statistics(session->recorder, &now);
		print_statistics(&now);
		break;
	case SIGCHLD:
		command_reap(&session->command);
		if (session->command.ended)
			stop(session);
		break;
	default:
		on_stop_signal(session, info);
	}
}

static int wait_ms(struct session *session)
{
	int64_t left_ns = session->deadline_ns - quantity_now_ns(CLOCK_MONOTONIC);

	if (session->deadline_ns == 0)
		return -1;
	if (left_ns <= 0) {
		session->deadline_ns = 0;
		stop(session);
		return -1;
	}
	left_ns = left_ns / NS_PER_MS + 1;
	return left_ns > 3600000 ? 3600000 : (int)left_ns;
}

static void supervise(struct session *session)
{
	struct pollfd ready[2] = {
		{.fd = session->signal_fd, .events = POLLIN},
		{.fd = recorder_done_fd(session->recorder), .events = POLLIN},
	};
	struct signalfd_siginfo info;

	while (!ready[1].revents) {
		if (poll(ready, 2, wait_ms(session)) < 0 && errno != EINTR)
			break;
		if (ready[0].revents &&
		    read(session->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
			on_signal(session, &info);
	}
}

static void ignore_signal(int number)
{
	(void)number;
}

/* A signal that is ignored at the start (a background job's INT, nohup's HUP)
 * would not be queued: all that are waited for get a handler, and exec sets
 * them back to their defaults. Those that stop keep their default until there
 * is something to stop in order: a large directory takes its time to repair. */
static int take_signals(struct session *session, struct error *error)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD};
	struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
	sigset_t at_once;

	sigemptyset(&session->signals);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		bool stops = numbers[i] == SIGINT || numbers[i] == SIGTERM;
		struct sigaction before;

		sigaddset(&session->signals, numbers[i]);
		if (!stops ||
		    (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN))
			sigaction(numbers[i], &action, NULL);
	}
	at_once = session->signals;
	sigdelset(&at_once, SIGINT);
	sigdelset(&at_once, SIGTERM);
	sigprocmask(SIG_BLOCK, &at_once, &session->before);
	session->signal_fd = signalfd(-1, &session->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return session->signal_fd < 0 ? error_errno(error, NULL, "waiting for signals") : 0;
}

/* From here on a stop is an orderly one. */
static void take_stop_signals(void *context)
{
	const struct session *session = context;

	sigprocmask(SIG_BLOCK, &session->signals, NULL);
}

/* After the command was forked, so that it does not inherit them. */
static void ignore_write_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

static int begin(struct session *session, int argc, char **argv, struct error *error)
{
	const struct recorder_config config = {
		.options = &session->options,
		.argv = argv,
		.argc = argc,
		.notice = print_notice,
		.beginning = take_stop_signals,
		.context = session,
	};
	int status = take_signals(session, error);

	if (!status && session->options.command)
		status = command_prepare(&session->command, session->options.command,
					 &session->before, error);
	if (status)
		return status;
	ignore_write_signals();
	status = recorder_start(&config, &session->recorder, error);
	if (status)
		return status;
	if (session->options.duration_ns)
		session->deadline_ns =
			quantity_now_ns(CLOCK_MONOTONIC) + session->options.duration_ns;
	notify_manager("READY=1");
	if (!session->options.quiet)
		fprintf(stderr, PROGRAM ": recording into %s\n", session->options.output);
	return 0;
}

/* Returns the exit status. */
static int record(struct session *session, int argc, char **argv)
{
	struct recorder_statistics statistics;
	struct error error = ERROR_NONE, command_error = ERROR_NONE;
	int status = begin(session, argc, argv, &error);

	if (status) {
		error_print(PROGRAM, &error);
		return error_exit_status(&error);
	}
	if (session->options.command &&
	    command_run(&session->command, session->options.command[0], &command_error))
		error_print(PROGRAM, &command_error);
	supervise(session);
	status = recorder_finish(session->recorder, &statistics, &error);
	if (!session->options.quiet)
		print_statistics(&statistics);
	if (status)
		return error_exit_status(&error);
	return session->command.ended ? session->command.status : EXIT_DONE;
}

int main(int argc, char **argv)
{
	struct session session = {.command = COMMAND_NONE, .signal_fd = -1};
	struct error error = ERROR_NONE;
	int status;

	if (options_parse(argc, argv, &session.options, &error)) {
		error_print(PROGRAM, &error);
		return error_exit_status(&error);
	}
	if (session.options.action == OPTIONS_HELP) {
		fputs(options_help, stdout);
		status = EXIT_DONE;
	} else if (session.options.action == OPTIONS_VERSION) {
		puts(PROGRAM " " PCAPWHO_VERSION);
		status = EXIT_DONE;
	} else {
		status = record(&session, argc, argv);
	}
	command_release(&session.command);
	options_release(&session.options);
	if (session.signal_fd >= 0)
		close(session.signal_fd);
	return error_end_output(PROGRAM, status);
}
