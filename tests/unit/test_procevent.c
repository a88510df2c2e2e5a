/* The kernel's process events: of real children, and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/procevent.h"

static struct procevent_source *source;
static struct error error;

static int set_up(void **state)
{
	(void)state;
	error = (struct error)ERROR_NONE;
	source = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	procevent_close(source);
	return 0;
}

static void need_events(void)
{
	if (procevent_open(0, &source, &error)) {
		print_message("%s\n", error.message);
		skip();
	}
}

/* Waits for the next event of this process, among those of the whole host. */
static struct procevent await(pid_t pid)
{
	struct pollfd ready = {.fd = procevent_fd(source), .events = POLLIN};
	struct procevent event = {0};

	for (;;) {
		int result = procevent_next(source, &event, &error);

		assert_true(result >= 0);
		if (result == 1 && event.pid == (uint32_t)pid)
			return event;
		/* A sanitizer's run on a busy machine is slow, but not this slow. */
		if (result == 0)
			assert_int_equal(poll(&ready, 1, 20000), 1);
	}
}

/* The kernel sends from each processor on its own: a child's events may come in
 * another order than they happened. */
static struct procevent await_kind(pid_t pid, enum procevent_kind kind)
{
	static struct procevent early[16];
	static size_t count;
	struct procevent event;
	size_t i = 0;

	while (i < count && (early[i].pid != (uint32_t)pid || early[i].kind != kind))
		i++;
	if (i < count) {
		event = early[i];
		early[i] = early[--count];
	} else {
		while ((event = await(pid)).kind != kind) {
			assert_true(count < sizeof(early) / sizeof(early[0]));
			early[count++] = event;
		}
	}
	assert_true(event.monotonic_ns > 0 &&
		    event.monotonic_ns <= quantity_now_ns(CLOCK_MONOTONIC));
	return event;
}

/* A child that runs what is given and has ended. */
static pid_t child(void (*run)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		run();
		_exit(42);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

static void nothing(void)
{
}

static void test_fork_and_exit(void **state)
{
	struct procevent event;
	int64_t before_ns = quantity_now_ns(CLOCK_MONOTONIC);
	pid_t pid;

	(void)state;
	need_events();
	pid = child(nothing);
	event = await_kind(pid, PROCEVENT_FORK);
	assert_int_equal(event.parent, getpid());
	assert_true(event.monotonic_ns >= before_ns);
	event = await_kind(pid, PROCEVENT_EXIT);
	assert_true(WIFEXITED(event.exit_code));
	assert_int_equal(WEXITSTATUS(event.exit_code), 42);
	assert_true(event.parent == 0 || event.parent == (uint32_t)getpid());
}

static void killed(void)
{
	raise(SIGKILL);
}

static void test_exit_by_a_signal(void **state)
{
	struct procevent event;
	pid_t pid;

	(void)state;
	need_events();
	pid = child(killed);
	await_kind(pid, PROCEVENT_FORK);
	event = await_kind(pid, PROCEVENT_EXIT);
	assert_true(WIFSIGNALED(event.exit_code));
	assert_int_equal(WTERMSIG(event.exit_code), SIGKILL);
}

static void run_true(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void test_exec(void **state)
{
	struct procevent event;
	pid_t pid;

	(void)state;
	need_events();
	pid = child(run_true);
	await_kind(pid, PROCEVENT_FORK);
	/* Some kernels tell the new name before the new image. */
	event = await(pid);
	if (event.kind == PROCEVENT_COMM)
		event = await(pid);
	assert_int_equal(event.kind, PROCEVENT_EXEC);
	event = await_kind(pid, PROCEVENT_EXIT);
	assert_int_equal(event.exit_code, 0);
}

static void rename_and_become_nobody(void)
{
	prctl(PR_SET_NAME, "renamed");
	if (setuid(65534))
		_exit(1);
}

static void test_comm_and_uid(void **state)
{
	pid_t pid;

	(void)state;
	need_events();
	if (getuid())
		skip();
	pid = child(rename_and_become_nobody);
	await_kind(pid, PROCEVENT_FORK);
	await_kind(pid, PROCEVENT_COMM);
	await_kind(pid, PROCEVENT_UID);
	await_kind(pid, PROCEVENT_EXIT);
}

static void *rename_itself(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "thread");
	return NULL;
}

static void run_threads(void)
{
	for (int i = 0; i < 5; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, rename_itself, NULL) ||
		    pthread_join(thread, NULL))
			_exit(1);
	}
}

static void test_threads_make_no_events(void **state)
{
	struct procevent event;
	pid_t pid;

	(void)state;
	need_events();
	pid = child(run_threads);
	await_kind(pid, PROCEVENT_FORK);
	event = await_kind(pid, PROCEVENT_EXIT);
	assert_int_equal(WEXITSTATUS(event.exit_code), 42);
}

static void *exec_true(void *unused)
{
	(void)unused;
	run_true();
	_exit(1);
}

static void exec_in_a_thread(void)
{
	pthread_t thread;

	if (!pthread_create(&thread, NULL, exec_true, NULL))
		pthread_join(thread, NULL);
}

static void test_exec_by_a_thread_is_an_exit_and_an_exec_of_one_pid(void **state)
{
	struct procevent exec, exits[2];
	bool swapped;
	pid_t pid;

	(void)state;
	need_events();
	pid = child(exec_in_a_thread);
	await_kind(pid, PROCEVENT_FORK);
	exits[0] = await_kind(pid, PROCEVENT_EXIT);
	exec = await_kind(pid, PROCEVENT_EXEC);
	exits[1] = await_kind(pid, PROCEVENT_EXIT);
	swapped = exits[1].monotonic_ns < exits[0].monotonic_ns;
	assert_true(exits[swapped].monotonic_ns <= exec.monotonic_ns);
	assert_true(exec.monotonic_ns <= exits[!swapped].monotonic_ns);
	assert_int_equal(exits[!swapped].exit_code, 0);
}

static void test_no_event_is_0_and_at_once(void **state)
{
	struct procevent event;
	int result;

	(void)state;
	need_events();
	child(nothing);
	while ((result = procevent_next(source, &event, &error)) == 1)
		;
	assert_int_equal(result, 0);
}

static void resize(int fd, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static void test_lost_events_are_told_and_the_source_goes_on(void **state)
{
	struct procevent event;
	int result, last = 0, limits = 0;
	pid_t pid;

	(void)state;
	if (procevent_open(1, &source, &error))
		skip();
	for (int i = 0; i < 200; i++)
		child(nothing);
	resize(procevent_fd(source), 8 << 20);
	while ((result = procevent_next(source, &event, &error)) != 0) {
		assert_true(result == 1 || result == ERROR_LIMIT);
		limits += result == ERROR_LIMIT;
		last = result;
	}
	assert_true(limits >= 2);
	assert_int_equal(last, ERROR_LIMIT);
	assert_int_equal(error.code, ERROR_LIMIT);
	pid = child(nothing);
	await_kind(pid, PROCEVENT_FORK);
}

static void test_two_sources_hear_the_same(void **state)
{
	struct procevent_source *other = NULL;
	pid_t pid;

	(void)state;
	need_events();
	assert_int_equal(procevent_open(0, &other, &error), 0);
	pid = child(nothing);
	await_kind(pid, PROCEVENT_FORK);
	procevent_close(other);
	await_kind(pid, PROCEVENT_EXIT);
	pid = child(nothing);
	await_kind(pid, PROCEVENT_FORK);
}

/* 0: refused with words, as it should be. */
static int open_refused(bool may_work)
{
	struct procevent_source *unwanted = NULL;
	struct error why = ERROR_NONE;
	int result = procevent_open(0, &unwanted, &why);

	if (result == 0 && may_work) {
		procevent_close(unwanted);
		return 0;
	}
	return result != ERROR_SYSTEM || why.code != ERROR_SYSTEM || !why.message[0] || unwanted;
}

/* Linux 6.6 and later let everyone listen. */
static void refused_without_capability(void)
{
	_exit(setgid(65534) || setuid(65534) ? 2 : open_refused(true));
}

static void refused_in_a_namespace(void)
{
	pid_t inner;
	int status;

	if (unshare(CLONE_NEWPID))
		_exit(0);
	inner = fork();
	if (inner == 0)
		_exit(open_refused(false));
	_exit(inner < 0 || waitpid(inner, &status, 0) != inner || status);
}

static int status_of(void (*run)(void))
{
	pid_t pid = fork();
	int status = -1;

	assert_true(pid >= 0);
	if (pid == 0)
		run();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_without_permission_there_is_no_source(void **state)
{
	(void)state;
	if (getuid())
		skip();
	assert_int_equal(status_of(refused_without_capability), 0);
	assert_int_equal(status_of(refused_in_a_namespace), 0);
}

/* --------------------------------------------------------------- bytes -- */

struct built {
	uint8_t bytes[1024];
	size_t length;
};

/* Appends one message with so much of the event's bytes. */
static void append(struct built *built, const struct proc_event *event, size_t length)
{
	struct nlmsghdr head = {.nlmsg_type = NLMSG_DONE};
	struct cn_msg connector = {
		.id = {.idx = CN_IDX_PROC, .val = CN_VAL_PROC},
		.len = (uint16_t)length,
	};

	head.nlmsg_len = (uint32_t)(sizeof(head) + sizeof(connector) + length);
	assert_true(built->length + NLMSG_ALIGN(head.nlmsg_len) <= sizeof(built->bytes));
	memcpy(built->bytes + built->length, &head, sizeof(head));
	memcpy(built->bytes + built->length + sizeof(head), &connector, sizeof(connector));
	memcpy(built->bytes + built->length + sizeof(head) + sizeof(connector), event, length);
	built->length += NLMSG_ALIGN(head.nlmsg_len);
}

struct heard {
	struct procevent events[16];
	size_t count;
};

static void hear(const struct procevent *event, void *context)
{
	struct heard *heard = context;

	assert_true(heard->count < 16);
	heard->events[heard->count++] = *event;
}

/* From memory of exactly its length, so that a sanitizer sees a read past it. */
static int parse(const void *bytes, size_t length, struct heard *heard)
{
	uint8_t *copy = malloc(length + !length);
	int result;

	assert_non_null(copy);
	memcpy(copy, bytes, length);
	heard->count = 0;
	result = procevent_parse(copy, length, hear, heard);
	free(copy);
	return result;
}

static struct proc_event fork_event(void)
{
	struct proc_event event = {.what = PROC_EVENT_FORK, .timestamp_ns = 77};

	event.event_data.fork.parent_pid = 11;
	event.event_data.fork.parent_tgid = 10;
	event.event_data.fork.child_pid = 20;
	event.event_data.fork.child_tgid = 20;
	return event;
}

static struct proc_event exit_event(void)
{
	struct proc_event event = {.what = PROC_EVENT_EXIT, .timestamp_ns = 78};

	event.event_data.exit.process_pid = 20;
	event.event_data.exit.process_tgid = 20;
	event.event_data.exit.exit_code = 0x2a00;
	event.event_data.exit.parent_pid = 11;
	event.event_data.exit.parent_tgid = 10;
	return event;
}

static void test_events_field_by_field(void **state)
{
	struct proc_event forked = fork_event(), exited = exit_event();
	struct built built = {.length = 0};
	struct heard heard;

	(void)state;
	append(&built, &forked, sizeof(forked));
	append(&built, &exited, sizeof(exited));
	assert_int_equal(parse(built.bytes, built.length, &heard), 0);
	assert_int_equal(heard.count, 2);
	assert_int_equal(heard.events[0].kind, PROCEVENT_FORK);
	assert_int_equal(heard.events[0].pid, 20);
	assert_int_equal(heard.events[0].parent, 10);
	assert_int_equal(heard.events[0].monotonic_ns, 77);
	assert_int_equal(heard.events[1].kind, PROCEVENT_EXIT);
	assert_int_equal(heard.events[1].pid, 20);
	assert_int_equal(heard.events[1].parent, 10);
	assert_int_equal(heard.events[1].exit_code, 0x2a00);
	assert_int_equal(heard.events[1].monotonic_ns, 78);
}

static void test_an_older_kernel_s_exit_has_no_parent(void **state)
{
	struct proc_event exited = exit_event();
	struct built built = {.length = 0};
	struct heard heard;

	(void)state;
	append(&built, &exited, offsetof(struct proc_event, event_data.exit.parent_pid));
	assert_int_equal(parse(built.bytes, built.length, &heard), 0);
	assert_int_equal(heard.count, 1);
	assert_int_equal(heard.events[0].pid, 20);
	assert_int_equal(heard.events[0].parent, 0);
}

static void test_other_events_and_messages_are_passed_over(void **state)
{
	static const uint32_t others[] = {PROC_EVENT_NONE,   PROC_EVENT_GID,	  PROC_EVENT_SID,
					  PROC_EVENT_PTRACE, PROC_EVENT_COREDUMP, 0x400};
	struct proc_event event = fork_event();
	struct built built = {.length = 0};
	struct heard heard;
	uint16_t type = NLMSG_NOOP;
	size_t at;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		memcpy(&event, &others[i], sizeof(others[i]));
		append(&built, &event, sizeof(event));
	}
	event = fork_event();
	at = built.length;
	append(&built, &event, sizeof(event));
	memcpy(built.bytes + at + 4, &type, sizeof(type));
	at = built.length;
	append(&built, &event, sizeof(event));
	built.bytes[at + sizeof(struct nlmsghdr)] ^= 0xff; /* another connector */
	assert_int_equal(parse(built.bytes, built.length, &heard), 0);
	assert_int_equal(heard.count, 0);
	append(&built, &event, sizeof(event));
	assert_int_equal(parse(built.bytes, built.length, &heard), 0);
	assert_int_equal(heard.count, 1);
}

static void test_a_thread_s_events_are_passed_over(void **state)
{
	struct proc_event forked = fork_event(), exited = exit_event();
	struct built built = {.length = 0};
	struct heard heard;

	(void)state;
	forked.event_data.fork.child_pid = 21;
	exited.event_data.exit.process_pid = 21;
	append(&built, &forked, sizeof(forked));
	append(&built, &exited, sizeof(exited));
	assert_int_equal(parse(built.bytes, built.length, &heard), 0);
	assert_int_equal(heard.count, 0);
}

static void test_a_cut_datagram_is_damage(void **state)
{
	struct proc_event forked = fork_event();
	struct built built = {.length = 0};
	struct heard heard;
	size_t whole;

	(void)state;
	append(&built, &forked, sizeof(forked));
	whole = built.length;
	append(&built, &forked, sizeof(forked));
	for (size_t length = 1; length < built.length; length++) {
		int wanted = length == whole ? 0 : ERROR_DAMAGED;

		assert_int_equal(parse(built.bytes, length, &heard), wanted);
		assert_int_equal(heard.count, length >= whole);
	}
	assert_int_equal(parse(built.bytes, 0, &heard), 0);
}

static void test_an_event_that_ends_early_is_damage(void **state)
{
	static const struct {
		uint32_t what;
		size_t needed;
	} kinds[] = {
		{PROC_EVENT_FORK, 16 + 16}, {PROC_EVENT_EXEC, 16 + 8}, {PROC_EVENT_EXIT, 16 + 16},
		{PROC_EVENT_COMM, 16 + 8},  {PROC_EVENT_UID, 16 + 8},
	};
	struct heard heard;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct proc_event event = {0};

		memcpy(&event, &kinds[i].what, sizeof(kinds[i].what));
		for (size_t length = 0; length <= sizeof(event); length++) {
			struct built built = {.length = 0};
			bool enough = length >= kinds[i].needed;

			append(&built, &event, length);
			assert_int_equal(parse(built.bytes, built.length, &heard),
					 enough ? 0 : ERROR_DAMAGED);
			assert_int_equal(heard.count, enough);
		}
	}
}

static void test_lengths_that_lie_are_damage(void **state)
{
	struct proc_event forked = fork_event();
	struct built built = {.length = 0};
	struct heard heard;
	uint16_t event_length = sizeof(forked) + 1;

	(void)state;
	append(&built, &forked, sizeof(forked));
	memcpy(built.bytes + sizeof(struct nlmsghdr) + offsetof(struct cn_msg, len), &event_length,
	       sizeof(event_length));
	assert_int_equal(parse(built.bytes, built.length, &heard), ERROR_DAMAGED);
	for (uint32_t said = 0; said < sizeof(struct nlmsghdr); said++) {
		memcpy(built.bytes, &said, sizeof(said));
		assert_int_equal(parse(built.bytes, built.length, &heard), ERROR_DAMAGED);
	}
	assert_int_equal(heard.count, 0);
}

int main(void)
{
#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FACT(test_fork_and_exit),
		FACT(test_exit_by_a_signal),
		FACT(test_exec),
		FACT(test_comm_and_uid),
		FACT(test_threads_make_no_events),
		FACT(test_exec_by_a_thread_is_an_exit_and_an_exec_of_one_pid),
		FACT(test_no_event_is_0_and_at_once),
		FACT(test_lost_events_are_told_and_the_source_goes_on),
		FACT(test_two_sources_hear_the_same),
		FACT(test_without_permission_there_is_no_source),
		FACT(test_events_field_by_field),
		FACT(test_an_older_kernel_s_exit_has_no_parent),
		FACT(test_other_events_and_messages_are_passed_over),
		FACT(test_a_thread_s_events_are_passed_over),
		FACT(test_a_cut_datagram_is_damage),
		FACT(test_an_event_that_ends_early_is_damage),
		FACT(test_lengths_that_lie_are_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
