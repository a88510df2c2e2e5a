/* The kernel's account of which task is in which network namespace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/format/snapfile.h"
#include "tests/unit/sockets.h"
#include "tests/unit/traced.h"

/* ----------------------------------------------- kernels of long ago ---- */

static int refuse_namespaces; /* errno for attr.namespaces; 0: none */

/* In place of the C library's, in this program, where nothing passes more than five. */
long syscall(long number, ...)
{
	long (*next)(long number, ...);
	void *found = dlsym(RTLD_NEXT, "syscall");
	long with[5];
	va_list arguments;

	memcpy(&next, &found, sizeof(next));
	va_start(arguments, number);
	for (int i = 0; i < 5; i++)
		with[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_perf_event_open && refuse_namespaces) {
		struct perf_event_attr attr;

		memcpy(&attr, (const void *)with[0], sizeof(attr));
		if (attr.namespaces) {
			errno = refuse_namespaces;
			return -1;
		}
	}
	return next(number, with[0], with[1], with[2], with[3], with[4]);
}

static int set_up(void **state)
{
	refuse_namespaces = 0;
	return traced_set_up(state);
}

/* ----------------------------------------------------- what was told ---- */

/* 0: it cannot be read. */
static uint64_t own_netns(void)
{
	struct stat status;

	return stat("/proc/thread-self/ns/net", &status) ? 0 : status.st_ino;
}

/* The first NETNS of a task at or after *at. */
static const struct tracepoint_event *need_netns(pid_t pid, uint32_t tid, size_t *at)
{
	const struct tracepoint_event *event;

	while ((event = traced_need(TRACEPOINT_NETNS, pid, at))->tid != tid)
		++*at;
	assert_true(event->in_task && event->sk == 0);
	return event;
}

static size_t count_netns(pid_t pid)
{
	size_t count = 0;

	for (size_t at = 0; traced_find(TRACEPOINT_NETNS, pid, &at); at++)
		count++;
	return count;
}

/* ------------------------------------------------------------ a start --- */

static void test_a_new_process_is_told_between_its_fork_and_what_it_does(void **state)
{
	struct traced_conversation said;
	size_t fork_at, at, first;

	(void)state;
	traced_start();
	said = traced_converse(AF_INET, "127.0.0.1");
	fork_at = traced_need_fork(said.client);
	for (first = 0; traced_events[first].pid != (uint32_t)said.client; first++)
		assert_true(first + 1 < traced_count);
	at = first;
	assert_true(need_netns(said.client, (uint32_t)said.client, &at)->u.netns == own_netns());
	assert_true(fork_at < first);
	assert_int_equal(at, first);
	assert_int_equal(count_netns(said.client), 1);
}

/* What a child has seen for itself. */
struct seen {
	uint64_t netns;
	pid_t pid;
};

static pid_t clone_child(int flags, struct seen *seen)
{
	int ends[2];
	pid_t child;

	traced_start();
	assert_int_equal(pipe(ends), 0);
	child = (pid_t)syscall(SYS_clone, (long)(flags | SIGCHLD), 0L, 0L, 0L, 0L);
	if (child < 0)
		skip();
	if (child == 0) {
		*seen = (struct seen){own_netns(), getpid()};
		traced_must(write(ends[1], seen, sizeof(*seen)) == sizeof(*seen));
		_exit(0);
	}
	traced_wait(child);
	assert_int_equal(read(ends[0], seen, sizeof(*seen)), sizeof(*seen));
	close(ends[0]);
	close(ends[1]);
	traced_collect();
	return child;
}

static void test_a_child_in_a_new_network_namespace(void **state)
{
	struct seen seen;
	pid_t child = clone_child(CLONE_NEWNET, &seen);
	size_t at = traced_need_fork(child);

	(void)state;
	assert_true(seen.netns != 0 && seen.netns != own_netns());
	assert_true(need_netns(child, (uint32_t)child, &at)->u.netns == seen.netns);
	assert_int_equal(count_netns(child), 1);
	traced_need(TRACEPOINT_EXIT, child, &at);
}

static void test_pids_are_those_of_the_opener(void **state)
{
	struct seen seen;
	pid_t child = clone_child(CLONE_NEWNET | CLONE_NEWPID, &seen);
	size_t at = traced_need_fork(child);

	(void)state;
	assert_int_equal(seen.pid, 1);
	assert_true(need_netns(child, (uint32_t)child, &at)->u.netns == seen.netns);
}

/* ------------------------------------------------------------- a move --- */

/* Puts the calling thread into a new namespace with a loopback interface. */
static void child_unshare(void)
{
	struct ifreq loopback = {.ifr_name = "lo"};
	int fd;

	if (unshare(CLONE_NEWNET))
		_exit(77);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	loopback.ifr_flags = IFF_UP;
	traced_must(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &loopback));
	close(fd);
}

/* A stream that listens, and a datagram socket that connects to it. */
static void child_acts(void)
{
	struct sockaddr_storage here;
	socklen_t length = sockets_fill(AF_INET, "127.0.0.1", 0, &here);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	traced_must(fd >= 0 && !bind(fd, (struct sockaddr *)&here, length) && !listen(fd, 1));
	traced_connect(AF_INET, SOCK_DGRAM, "127.0.0.1", LOCAL(fd).port);
}

/* That a task has acted as child_acts does between two of the events. */
static void need_acts(pid_t pid, size_t from, size_t to)
{
	size_t listens = 0, routes = 0;

	for (size_t i = from; i < to; i++) {
		const struct tracepoint_event *event = &traced_events[i];

		if (event->pid != (uint32_t)pid || event->tid != (uint32_t)pid)
			continue;
		listens +=
			event->kind == TRACEPOINT_STATE && event->u.socket.new_state == SNAP_LISTEN;
		routes += event->kind == TRACEPOINT_ROUTE &&
			  event->u.socket.protocol == IPPROTO_UDP &&
			  event->u.socket.remote.port != 0;
	}
	assert_int_equal(listens, 1);
	assert_true(routes > 0);
}

/* A child that acts, moves and acts again; what it sees of itself then goes to *netns. */
static pid_t fork_mover(void (*move)(void *context), void *context, uint64_t *netns)
{
	int ends[2];
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = traced_fork();
	if (child == 0) {
		child_acts();
		move(context);
		child_acts();
		*netns = own_netns();
		traced_must(write(ends[1], netns, sizeof(*netns)) == sizeof(*netns));
		_exit(0);
	}
	traced_wait(child);
	assert_int_equal(read(ends[0], netns, sizeof(*netns)), sizeof(*netns));
	close(ends[0]);
	close(ends[1]);
	traced_collect();
	return child;
}

static void check_moved(pid_t child, uint64_t netns)
{
	size_t first, at = traced_need_fork(child);

	assert_true(need_netns(child, (uint32_t)child, &at)->u.netns == own_netns());
	first = at++;
	assert_true(need_netns(child, (uint32_t)child, &at)->u.netns == netns);
	need_acts(child, first, at);
	need_acts(child, at, traced_count);
	assert_int_equal(count_netns(child), 2);
}

static void move_by_unshare(void *context)
{
	(void)context;
	child_unshare();
}

static void test_a_task_unshares_its_network_namespace(void **state)
{
	uint64_t netns;
	pid_t child;

	(void)state;
	traced_start();
	child = fork_mover(move_by_unshare, NULL, &netns);
	assert_true(netns != own_netns());
	check_moved(child, netns);
}

/* The descriptor of a new namespace, in which a child waits until the end of *keeper. */
static int make_namespace(int *keeper)
{
	int ready[2], done[2], fd;
	char path[64], byte;
	pid_t child;

	assert_int_equal(pipe(ready) | pipe(done), 0);
	child = traced_fork();
	if (child == 0) {
		close(ready[0]);
		close(done[1]);
		child_unshare();
		traced_must(write(ready[1], "x", 1) == 1 && read(done[0], &byte, 1) == 0);
		_exit(0);
	}
	close(ready[1]);
	close(done[0]);
	if (read(ready[0], &byte, 1) != 1)
		skip();
	close(ready[0]);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	*keeper = done[1];
	return fd;
}

static void move_by_setns(void *context)
{
	traced_must(!setns(*(int *)context, CLONE_NEWNET));
}

static void test_a_task_enters_a_network_namespace(void **state)
{
	int keeper, fd = make_namespace(&keeper);
	struct stat status;
	uint64_t netns;
	pid_t child;

	(void)state;
	assert_int_equal(fstat(fd, &status), 0);
	traced_start();
	child = fork_mover(move_by_setns, &fd, &netns);
	assert_true(netns == status.st_ino && netns != own_netns());
	check_moved(child, netns);
	close(keeper);
	close(fd);
	assert_true(wait(NULL) > 0);
}

static void move_not_at_all(void *context)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)context;
	traced_must(!unshare(CLONE_FILES));
	traced_must(fd >= 0 && setns(fd, CLONE_NEWUTS) == -1 && errno == EINVAL);
	traced_must(unshare(CLONE_NEWNET | 1) == -1 && errno == EINVAL);
}

/* Told again of one that stays where it is; nothing of what fails. */
static void test_a_task_that_stays_where_it_is(void **state)
{
	uint64_t netns;
	pid_t child;

	(void)state;
	traced_start();
	child = fork_mover(move_not_at_all, NULL, &netns);
	assert_true(netns == own_netns());
	check_moved(child, netns);
}

/* ------------------------------------------------------------ threads --- */

static void *move_thread(void *context)
{
	struct {
		uint64_t tid, netns;
	} seen;

	child_unshare();
	seen.tid = (uint64_t)gettid();
	seen.netns = own_netns();
	traced_must(write(*(int *)context, &seen, sizeof(seen)) == sizeof(seen));
	return NULL;
}

static void test_a_thread_moves_alone(void **state)
{
	uint64_t home = own_netns(), seen[2];
	size_t at = 0, moved_at;
	int ends[2];
	pid_t child;

	(void)state;
	traced_start();
	assert_int_equal(pipe(ends), 0);
	child = traced_fork();
	if (child == 0) {
		pthread_t thread;

		traced_must(!pthread_create(&thread, NULL, move_thread, &ends[1]) &&
			    !pthread_join(thread, NULL) && own_netns() == home);
		_exit(0);
	}
	traced_wait(child);
	assert_int_equal(read(ends[0], seen, sizeof(seen)), sizeof(seen));
	close(ends[0]);
	close(ends[1]);
	traced_collect();
	assert_true(seen[0] != (uint64_t)child && seen[1] != home);
	assert_true(need_netns(child, (uint32_t)child, &at)->u.netns == home);
	moved_at = at + 1;
	assert_true(need_netns(child, (uint32_t)seen[0], &moved_at)->u.netns == home);
	moved_at++;
	assert_true(need_netns(child, (uint32_t)seen[0], &moved_at)->u.netns == seen[1]);
	assert_int_equal(count_netns(child), 3);
}

/* ------------------------------------------------ where it is missing --- */

static void check_without(int refused_with, const char *reason)
{
	struct traced_conversation said;
	size_t at = 0;

	traced_open();
	tracepoint_close(traced_source);
	traced_source = NULL;
	refuse_namespaces = refused_with;
	assert_int_equal(tracepoint_open(&traced_source, &traced_without, &traced_error), 0);
	assert_int_equal(tracepoint_start(traced_source, &traced_error), 0);
	assert_non_null(strstr(traced_without, reason));
	said = traced_converse(AF_INET, "127.0.0.1");
	traced_need_fork(said.client);
	traced_need(TRACEPOINT_STATE, said.client, &at);
	assert_int_equal(count_netns(said.client), 0);
}

static void test_a_kernel_that_knows_no_such_record(void **state)
{
	(void)state;
	check_without(EINVAL, "PERF_RECORD_NAMESPACES (no such record)");
}

static void test_a_kernel_that_refuses_it(void **state)
{
	(void)state;
	check_without(EACCES, "PERF_RECORD_NAMESPACES (Permission denied)");
}

static void test_where_it_can_be_had_nothing_is_said(void **state)
{
	(void)state;
	traced_open();
	assert_null(strstr(traced_without, "NAMESPACES"));
}

static size_t count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static void test_no_descriptor_stays_open(void **state)
{
	size_t before = count_descriptors();

	(void)state;
	traced_open();
	assert_true(count_descriptors() > before);
	tracepoint_close(traced_source);
	traced_source = NULL;
	assert_int_equal(count_descriptors(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, traced_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_process_is_told_between_its_fork_and_what_it_does),
		TEST(a_child_in_a_new_network_namespace),
		TEST(pids_are_those_of_the_opener),
		TEST(a_task_unshares_its_network_namespace),
		TEST(a_task_enters_a_network_namespace),
		TEST(a_task_that_stays_where_it_is),
		TEST(a_thread_moves_alone),
		TEST(a_kernel_that_knows_no_such_record),
		TEST(a_kernel_that_refuses_it),
		TEST(where_it_can_be_had_nothing_is_said),
		TEST(no_descriptor_stays_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
