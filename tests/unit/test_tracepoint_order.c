/* The kernel's account as a whole: its order, its losses, what is switched off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "tests/unit/sockets.h"
#include "tests/unit/traced.h"

/* --------------------------------------------------- order and losses --- */

#define TURNS 300

static void run_on(size_t turn)
{
	cpu_set_t all, one;

	traced_must(!sched_getaffinity(0, sizeof(all), &all));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &all) && turn-- == 0) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			traced_must(!sched_setaffinity(0, sizeof(one), &one));
			return;
		}
	}
	/* The only processor there is. */
}

/* A connection to ourselves, never accepted. */
static int child_stream(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(here);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	traced_must(!bind(listener, (struct sockaddr *)&here, length) && !listen(listener, 1) &&
		    !getsockname(listener, (struct sockaddr *)&here, &length) &&
		    !connect(fd, (struct sockaddr *)&here, length));
	return fd;
}

/* Takes turns with another: waits for a byte, does something, passes the byte on. */
static pid_t fork_player(size_t cpu, int from, int to)
{
	pid_t child = traced_fork();
	char byte = 'x';
	int fd;

	if (child)
		return child;
	run_on(cpu);
	fd = child_stream();
	for (int i = 0; i < TURNS; i++) {
		traced_must(read(from, &byte, 1) == 1);
		/* Told in the task's own context on every kernel: no receive waits. */
		traced_must(recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
		traced_must(write(to, &byte, 1) == 1);
	}
	_exit(0);
}

static void test_events_of_several_processors_come_in_order(void **state)
{
	int first[2], second[2];
	pid_t players[2];
	size_t turns = 0;

	(void)state;
	traced_start();
	if (!tracepoint_has_lengths(traced_source))
		skip();
	assert_int_equal(pipe(first) | pipe(second), 0);
	players[0] = fork_player(0, first[0], second[1]);
	players[1] = fork_player(1, second[0], first[1]);
	assert_int_equal(write(first[1], "x", 1), 1);
	traced_wait(players[0]);
	traced_wait(players[1]);
	for (int i = 0; i < 2; i++) {
		close(first[i]);
		close(second[i]);
	}
	traced_collect();
	for (size_t i = 0; i < traced_count; i++) {
		if (traced_events[i].kind != TRACEPOINT_RECEIVE ||
		    (traced_events[i].pid != (uint32_t)players[0] &&
		     traced_events[i].pid != (uint32_t)players[1]))
			continue;
		assert_int_equal(traced_events[i].pid, players[turns % 2]);
		assert_true(traced_events[i].u.length == -EAGAIN);
		turns++;
	}
	assert_int_equal(turns, 2 * TURNS);
}

#define TOO_MANY 40000

/* A child on one processor that makes this many events, in two goes; the
 * second when a byte comes. */
static pid_t fork_noisy(int from, int to)
{
	pid_t child = traced_fork();
	char byte = 'x';
	int fd;

	if (child)
		return child;
	run_on(0);
	fd = child_stream();
	for (int i = 0; i < TOO_MANY; i++)
		traced_must(recv(fd, &byte, 1, MSG_DONTWAIT) == -1);
	traced_must(write(to, &byte, 1) == 1 && read(from, &byte, 1) == 1);
	traced_must(recv(fd, &byte, 1, MSG_DONTWAIT) == -1);
	_exit(0);
}

static void test_what_no_buffer_holds_is_told_as_lost(void **state)
{
	uint64_t seen = 0, lost = 0;
	int from[2], to[2];
	bool doubt = false;
	char byte;
	pid_t child;

	(void)state;
	traced_start();
	if (!tracepoint_has_lengths(traced_source))
		skip();
	assert_int_equal(pipe(from) | pipe(to), 0);
	child = fork_noisy(from[0], to[1]);
	assert_int_equal(read(to[0], &byte, 1), 1);
	traced_collect();
	/* Known at once, before the kernel can say how many. */
	for (size_t i = 0; i < traced_count; i++)
		doubt |= traced_events[i].kind == TRACEPOINT_LOST && traced_events[i].u.lost == 0;
	assert_true(doubt);
	assert_int_equal(write(from[1], &byte, 1), 1);
	traced_wait(child);
	traced_collect();
	for (size_t i = 0; i < traced_count; i++) {
		seen += traced_events[i].kind == TRACEPOINT_RECEIVE &&
			traced_events[i].pid == (uint32_t)child;
		lost += traced_events[i].kind == TRACEPOINT_LOST ? traced_events[i].u.lost : 0;
	}
	assert_true(seen > 100 && seen < TOO_MANY);
	assert_true(lost > 0 && seen + lost >= TOO_MANY + 1);
	for (int i = 0; i < 2; i++) {
		close(from[i]);
		close(to[i]);
	}
}

static void test_what_comes_later_stays(void **state)
{
	struct tracepoint_event event;
	int64_t before_ns;
	size_t at = 0;
	pid_t child;

	(void)state;
	traced_start();
	before_ns = quantity_now_ns(CLOCK_MONOTONIC);
	child = traced_fork();
	if (child == 0)
		_exit(0);
	traced_wait(child);
	while (tracepoint_next(traced_source, before_ns, &event))
		assert_true(event.time_ns <= before_ns);
	traced_collect();
	assert_true(traced_need(TRACEPOINT_EXIT, child, &at)->time_ns > before_ns);
}

/* ------------------------------------------------------ on and off ------ */

static size_t count_transfers(pid_t pid)
{
	size_t count = 0;

	for (size_t i = 0; i < traced_count; i++) {
		count += traced_events[i].pid == (uint32_t)pid &&
			 (traced_events[i].kind == TRACEPOINT_SEND ||
			  traced_events[i].kind == TRACEPOINT_RECEIVE);
	}
	return count;
}

static void test_nothing_is_told_before_the_start(void **state)
{
	struct traced_conversation said;
	size_t at = 0;

	(void)state;
	traced_open();
	said = traced_converse(AF_INET, "127.0.0.1");
	assert_int_equal(traced_count, 0);
	assert_int_equal(tracepoint_start(traced_source, &traced_error), 0);
	said = traced_converse(AF_INET, "127.0.0.1");
	traced_need(TRACEPOINT_STATE, said.client, &at);
}

static void test_transfers_are_switched_off_and_on(void **state)
{
	struct traced_conversation said;
	size_t at = 0;

	(void)state;
	traced_open();
	tracepoint_switch(traced_source, TRACEPOINT_TRANSFERS, false);
	assert_int_equal(tracepoint_start(traced_source, &traced_error), 0);
	said = traced_converse(AF_INET, "127.0.0.1");
	assert_int_equal(count_transfers(said.client), 0);
	traced_need(TRACEPOINT_STATE, said.client, &at);
	tracepoint_switch(traced_source, TRACEPOINT_TRANSFERS, true);
	tracepoint_switch(traced_source, TRACEPOINT_ROUTES, false);
	said = traced_converse(AF_INET, "127.0.0.1");
	assert_true(count_transfers(said.client) > 0);
	tracepoint_switch(traced_source, TRACEPOINT_TRANSFERS, false);
	said = traced_converse(AF_INET, "127.0.0.1");
	assert_int_equal(count_transfers(said.client), 0);
}

static void test_routes_are_switched_off(void **state)
{
	int receiver = sockets_bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
	size_t at = 0;
	pid_t child;

	(void)state;
	traced_start();
	tracepoint_switch(traced_source, TRACEPOINT_ROUTES, false);
	child = traced_fork();
	if (child == 0) {
		traced_connect(AF_INET, SOCK_DGRAM, "127.0.0.1", LOCAL(receiver).port);
		_exit(0);
	}
	traced_wait(child);
	close(receiver);
	traced_collect();
	assert_null(traced_find(TRACEPOINT_ROUTE, child, &at));
	at = 0;
	traced_need(TRACEPOINT_EXIT, child, &at);
}

static void test_tracefs_need_not_be_mounted(void **state)
{
	pid_t child;

	(void)state;
	traced_open();
	child = traced_fork();
	if (child == 0) {
		struct tracepoint_source *other;

		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
			_exit(77);
		while (!umount2("/sys/kernel/tracing", MNT_DETACH) ||
		       !umount2("/sys/kernel/debug", MNT_DETACH))
			continue;
		traced_must(access("/sys/kernel/tracing/events", F_OK) == -1);
		traced_must(!tracepoint_open(&other, &traced_without, &traced_error));
		_exit(0);
	}
	traced_wait(child);
}

/* As told by this kernel's own files, not assumed. */
static void test_what_is_missing_is_said(void **state)
{
	(void)state;
	traced_open();
	assert_non_null(traced_without);
	if (access("/sys/kernel/tracing/events/sock/sock_send_length", F_OK) &&
	    !access("/sys/kernel/tracing/events", F_OK))
		assert_non_null(strstr(traced_without, "sock:sock_send_length ("));
	else
		assert_null(strstr(traced_without, "sock_send_length"));
	assert_true(tracepoint_has_lengths(traced_source) == !strstr(traced_without, "_length"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, traced_set_up, traced_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(events_of_several_processors_come_in_order),
		TEST(what_no_buffer_holds_is_told_as_lost),
		TEST(what_comes_later_stays),
		TEST(nothing_is_told_before_the_start),
		TEST(transfers_are_switched_off_and_on),
		TEST(routes_are_switched_off),
		TEST(tracefs_need_not_be_mounted),
		TEST(what_is_missing_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
