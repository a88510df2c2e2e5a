#include "tests/unit/traced.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "tests/unit/sockets.h"

struct tracepoint_source *traced_source;
const char *traced_without;
struct error traced_error;

struct tracepoint_event *traced_events;
size_t traced_count;
static size_t event_room;

int traced_set_up(void **state)
{
	(void)state;
	traced_error = (struct error)ERROR_NONE;
	traced_source = NULL;
	traced_count = 0;
	return 0;
}

int traced_tear_down(void **state)
{
	(void)state;
	tracepoint_close(traced_source);
	free(traced_events);
	traced_events = NULL;
	event_room = 0;
	return 0;
}

void traced_open(void)
{
	int why;

	if (!tracepoint_open(&traced_source, &traced_without, &traced_error))
		return;
	why = traced_error.saved_errno;
	if (why != EPERM && why != EACCES && why != ENOSYS && why != ENOENT && why != ENODEV)
		fail_msg("%s", traced_error.message);
	print_message("%s\n", traced_error.message);
	skip();
}

void traced_start(void)
{
	traced_open();
	assert_int_equal(tracepoint_start(traced_source, &traced_error), 0);
}

void traced_collect(void)
{
	int64_t until_ns = quantity_now_ns(CLOCK_MONOTONIC);

	for (;;) {
		if (traced_count == event_room) {
			event_room = event_room ? 2 * event_room : 1024;
			traced_events = realloc(traced_events, event_room * sizeof(*traced_events));
			assert_non_null(traced_events);
		}
		if (!tracepoint_next(traced_source, until_ns, &traced_events[traced_count]))
			return;
		assert_true(traced_events[traced_count].time_ns <= until_ns);
		traced_count++;
	}
}

const struct tracepoint_event *traced_find(enum tracepoint_kind kind, pid_t pid, size_t *at)
{
	for (; *at < traced_count; ++*at) {
		if (traced_events[*at].kind == kind && traced_events[*at].pid == (uint32_t)pid)
			return &traced_events[*at];
	}
	return NULL;
}

const struct tracepoint_event *traced_need(enum tracepoint_kind kind, pid_t pid, size_t *at)
{
	const struct tracepoint_event *event = traced_find(kind, pid, at);

	if (!event)
		fail_msg("nothing of kind %d was told of process %d, %zu events", kind, (int)pid,
			 traced_count);
	return event;
}

size_t traced_need_fork(pid_t child)
{
	for (size_t i = 0; i < traced_count; i++) {
		if (traced_events[i].kind == TRACEPOINT_FORK &&
		    traced_events[i].u.child == (uint32_t)child)
			return i;
	}
	fail_msg("no fork of %d was told", (int)child);
	return 0;
}

pid_t traced_fork(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	return pid;
}

void traced_wait(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

void traced_must(bool held)
{
	if (!held)
		_exit(1);
}

int traced_connect(int family, int type, const char *address, uint16_t port)
{
	struct sockaddr_storage there;
	socklen_t length = sockets_fill(family, address, port, &there);
	int fd = socket(family, type, 0);

	traced_must(fd >= 0 && !connect(fd, (struct sockaddr *)&there, length));
	return fd;
}

struct traced_conversation traced_converse(int family, const char *address)
{
	int listener = sockets_bound(family, SOCK_STREAM, address), ends[2], fd;
	struct traced_conversation said = {.server_end = LOCAL(listener)};
	char bytes[8];

	assert_int_equal(pipe(ends), 0);
	said.server = traced_fork();
	if (said.server == 0) {
		fd = accept(listener, NULL, NULL);
		traced_must(fd >= 0 && recv(fd, bytes, 5, MSG_WAITALL) == 5 &&
			    send(fd, "1234567", 7, 0) == 7 && recv(fd, bytes, 1, 0) == 0);
		_exit(0);
	}
	said.client = traced_fork();
	if (said.client == 0) {
		struct endpoint end;

		fd = traced_connect(family, SOCK_STREAM, address, said.server_end.port);
		end = LOCAL(fd);
		traced_must(write(ends[1], &end, sizeof(end)) == sizeof(end));
		traced_must(send(fd, "12345", 5, 0) == 5 && recv(fd, bytes, 7, MSG_WAITALL) == 7);
		_exit(0);
	}
	traced_wait(said.client);
	traced_wait(said.server);
	assert_int_equal(read(ends[0], &said.client_end, sizeof(said.client_end)),
			 sizeof(said.client_end));
	close(ends[0]);
	close(ends[1]);
	close(listener);
	traced_collect();
	return said;
}
