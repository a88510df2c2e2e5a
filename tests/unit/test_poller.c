/* Frames out of two readings: from trees of files, then from the real /proc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/poller.h"
#include "snapshot/procfs.h"
#include "tests/unit/proctree.h"

#define LISTEN_12396                                                                               \
	"   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33       " \
	" 0 "                                                                                      \
	"12396 1 0 100 0 0 10 0\n"
#define OTHER_12397                                                                                \
	"   1: 00000000:0050 00000000:0000 01 00000000:00000000 00:00000000 00000000    33       " \
	" 0 "                                                                                      \
	"12397 1 0 100 0 0 10 0\n"

static struct proctree tree;
static struct poller *poller;
static struct snapframe frame;

/* Process 42, in namespace 7 as the recorder itself, listens on port 8080. */
static int set_up(void **state)
{
	struct poller_config config;

	(void)state;
	proctree_new(&tree);
	proctree_link(&tree, "self", "42");
	proctree_process(&tree, 42, 1000, 7);
	proctree_socket(&tree, 42, 6, 12396);
	proctree_file(&tree, "42/net/tcp", LISTEN_12396);
	proctree_file(&tree, "42/net/fib_trie", "");
	config.proc_fd = tree.fd;
	snapframe_init(&frame, SNAP_KEY, "test");
	return poller_new(&config, &poller, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	poller_free(poller);
	snapframe_release(&frame);
	proctree_free(&tree);
	return 0;
}

static void read_frame(enum snap_kind kind)
{
	snapframe_release(&frame);
	snapframe_init(&frame, kind, "test");
	frame.head.sequence = 5;
	assert_int_equal(poller_read(poller, &frame, NULL), 0);
}

/* Whether the frame has a line that begins so. */
static bool has_line(const char *start)
{
	const char *at = frame.text, *end = frame.text + frame.length;
	size_t length = strlen(start);

	while (at && at < end) {
		if ((size_t)(end - at) >= length && !memcmp(at, start, length))
			return true;
		at = memchr(at, '\n', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	return false;
}

/* All lines but those about tables that are missing. */
static void assert_lines(const char *expected)
{
	char *text = calloc(1, frame.length + 1), *to = text;
	const char *at = frame.text, *end = frame.text + frame.length;

	assert_non_null(text);
	while (at && at < end) {
		const char *next = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;

		if (strncmp(at, "absent\t+\ttable\t", 15) &&
		    strncmp(at, "absent\t-\ttable\t", 15)) {
			memcpy(to, at, (size_t)(next - at));
			to += next - at;
		}
		at = next;
	}
	assert_string_equal(text, expected);
	free(text);
}

#define PROCESS_42                                                                                 \
	"42\t1000\t1\t33\tprog\t/usr/bin/prog\tprog\\x00-x\\x00one two\t"                          \
	"/system.slice/prog.service\t7\t\\N\t\\N\n"
#define STATE_OF_SET_UP                                                                            \
	"netns\t+\t7\t0\t1\n"                                                                      \
	"process\t+\t" PROCESS_42                                                                  \
	"socket\t+\t7\ttcp\t0.0.0.0\t8080\t0.0.0.0\t0\t10\t33\t12396\t0\t0\n"                      \
	"holder\t+\t12396\t42\t1000\t42\t6\n"

static void test_a_key_frame_holds_everything(void **state)
{
	uint64_t sockets, processes, holders;

	(void)state;
	read_frame(SNAP_KEY);
	assert_lines(STATE_OF_SET_UP);
	poller_counts(poller, &sockets, &processes, &holders);
	assert_int_equal(sockets, 1);
	assert_int_equal(processes, 1);
	assert_int_equal(holders, 1);
	read_frame(SNAP_KEY);
	assert_lines(STATE_OF_SET_UP);
}

static void test_the_first_poll_holds_everything_too(void **state)
{
	(void)state;
	read_frame(SNAP_POLL);
	assert_lines(STATE_OF_SET_UP);
}

static void test_nothing_new_gives_no_line(void **state)
{
	(void)state;
	read_frame(SNAP_KEY);
	read_frame(SNAP_POLL);
	assert_int_equal(frame.records, 0);
}

static void test_queues_timers_and_slots_are_no_difference(void **state)
{
	(void)state;
	read_frame(SNAP_KEY);
	proctree_file(
		&tree, "42/net/tcp",
		"   9: 00000000:1F90 00000000:0000 0A 00000005:00000100 01:00000020 00000003    "
		"33       77 12396 3 0 7 7 7 7 7\n");
	read_frame(SNAP_POLL);
	assert_int_equal(frame.records, 0);
}

static void test_a_new_state_is_a_change(void **state)
{
	(void)state;
	proctree_file(&tree, "42/net/udp",
		      "1: 00000000:0035 00000000:0000 07 0:0 00:0 0 33 0 12396 2 0 0\n");
	read_frame(SNAP_KEY);
	proctree_file(&tree, "42/net/udp",
		      "1: 00000000:0035 00000000:0000 01 0:0 00:0 0 33 0 12396 2 0 0\n");
	read_frame(SNAP_POLL);
	assert_lines("socket\t~\t7\tudp\t0.0.0.0\t53\t0.0.0.0\t0\t1\t33\t12396\t0\t0\n");
}

static void test_gone_stands_before_new(void **state)
{
	(void)state;
	read_frame(SNAP_KEY);
	proctree_file(&tree, "42/net/tcp", OTHER_12397);
	proctree_socket(&tree, 42, 6, 12397);
	read_frame(SNAP_POLL);
	assert_lines("socket\t-\t7\ttcp\t0.0.0.0\t8080\t0.0.0.0\t0\t10\t33\t12396\t0\t0\n"
		     "socket\t+\t7\ttcp\t0.0.0.0\t80\t0.0.0.0\t0\t1\t33\t12397\t0\t0\n"
		     "holder\t-\t12396\t42\t1000\t42\t6\n"
		     "holder\t+\t12397\t42\t1000\t42\t6\n");
}

static void test_a_process_that_went_carries_what_was_known(void **state)
{
	(void)state;
	proctree_process(&tree, 43, 2000, 7);
	read_frame(SNAP_KEY);
	proctree_remove(&tree, "43");
	read_frame(SNAP_POLL);
	assert_lines("process\t-\t43\t2000\t1\t33\tprog\t/usr/bin/prog\tprog\\x00-x\\x00one two\t"
		     "/system.slice/prog.service\t7\t\\N\t\\N\n");
}

static void test_exec_is_a_change_and_a_new_parent_is_none(void **state)
{
	struct proctree_stat stat = {
		.pid = 42, .ppid = 77, .comm = "prog", .start_ticks = 1000, .image = 7};

	(void)state;
	read_frame(SNAP_KEY);
	proctree_stat(&tree, "42/stat", &stat);
	read_frame(SNAP_POLL);
	assert_int_equal(frame.records, 0);
	stat.image = 8;
	stat.comm = "new";
	proctree_stat(&tree, "42/stat", &stat);
	proctree_link(&tree, "42/exe", "/usr/bin/new");
	proctree_bytes(&tree, "42/cmdline", "new\0", 4);
	read_frame(SNAP_POLL);
	assert_lines("process\t~\t42\t1000\t77\t33\tnew\t/usr/bin/new\tnew\t"
		     "/system.slice/prog.service\t7\t\\N\t\\N\n");
}

static void test_a_number_used_again_is_another_process(void **state)
{
	(void)state;
	read_frame(SNAP_KEY);
	proctree_process(&tree, 42, 3000, 7);
	read_frame(SNAP_POLL);
	assert_true(has_line("process\t-\t42\t1000\t"));
	assert_true(has_line("process\t+\t42\t3000\t"));
	assert_true(has_line("holder\t-\t12396\t42\t1000\t42\t6"));
	assert_true(has_line("holder\t+\t12396\t42\t3000\t42\t6"));
}

static void test_holders_of_sockets_in_no_table_are_left_out(void **state)
{
	(void)state;
	proctree_socket(&tree, 42, 7, 99999);
	read_frame(SNAP_KEY);
	assert_lines(STATE_OF_SET_UP);
}

static void test_every_descriptor_is_a_holder(void **state)
{
	(void)state;
	proctree_process(&tree, 43, 2000, 7);
	proctree_socket(&tree, 43, 0, 12396);
	proctree_socket(&tree, 43, 1, 12396);
	read_frame(SNAP_KEY);
	assert_true(has_line("holder\t+\t12396\t42\t1000\t42\t6\n"
			     "holder\t+\t12396\t43\t2000\t43\t0\n"
			     "holder\t+\t12396\t43\t2000\t43\t1\n"));
}

static void test_a_socket_without_holder_is_searched_among_threads(void **state)
{
	struct proctree_stat stat = {.pid = 42,
				     .ppid = 1,
				     .comm = "prog",
				     .threads = 2,
				     .start_ticks = 1000,
				     .image = 7};

	(void)state;
	proctree_stat(&tree, "42/stat", &stat);
	proctree_file(&tree, "42/net/tcp", LISTEN_12396 OTHER_12397);
	proctree_link(&tree, "42/task/43/fd/4", "socket:[12397]");
	read_frame(SNAP_KEY);
	assert_true(has_line("holder\t+\t12397\t42\t1000\t43\t4"));
	/* It is found every time. */
	read_frame(SNAP_POLL);
	assert_int_equal(frame.records, 0);
}

static void test_each_namespace_is_read_through_a_process_of_it(void **state)
{
	(void)state;
	proctree_process(&tree, 50, 1000, 8);
	proctree_process(&tree, 51, 1000, 8);
	proctree_socket(&tree, 51, 3, 12397);
	proctree_file(&tree, "50/net/tcp", OTHER_12397);
	proctree_file(&tree, "50/net/fib_trie", "|-- 192.0.2.1\n /32 host LOCAL\n");
	read_frame(SNAP_KEY);
	assert_true(has_line("netns\t+\t7\t0\t1\nnetns\t+\t8\t50\t0\n"));
	assert_true(has_line("address\t+\t8\t0\t192.0.2.1\t32\n"));
	assert_true(has_line("socket\t+\t7\ttcp\t0.0.0.0\t8080\t"));
	assert_true(has_line("socket\t+\t8\ttcp\t0.0.0.0\t80\t"));
	assert_true(has_line("holder\t+\t12397\t51\t1000\t51\t3"));
}

static void test_another_process_serves_when_the_first_cannot(void **state)
{
	(void)state;
	proctree_process(&tree, 50, 1000, 8);
	proctree_process(&tree, 51, 1000, 8);
	proctree_file(&tree, "51/net/tcp", OTHER_12397);
	read_frame(SNAP_KEY);
	assert_true(has_line("netns\t+\t8\t51\t0\n"));
	assert_true(has_line("socket\t+\t8\ttcp\t0.0.0.0\t80\t"));

	/* 51 moves: its tables are those of another namespace now. */
	proctree_file(&tree, "50/net/tcp", OTHER_12397);
	proctree_link(&tree, "51/ns/net", "net:[9]");
	proctree_file(&tree, "51/net/tcp", "");
	read_frame(SNAP_POLL);
	assert_true(has_line("netns\t~\t8\t50\t0\nnetns\t+\t9\t51\t0\n"));
	assert_false(has_line("socket\t"));
}

static void test_a_namespace_goes_with_its_last_process(void **state)
{
	(void)state;
	proctree_process(&tree, 50, 1000, 8);
	proctree_file(&tree, "50/net/tcp", OTHER_12397);
	read_frame(SNAP_KEY);
	proctree_remove(&tree, "50");
	read_frame(SNAP_POLL);
	assert_true(has_line("netns\t-\t8\t50\t0\n"));
	assert_true(has_line("socket\t-\t8\ttcp\t0.0.0.0\t80\t"));
	assert_true(has_line("absent\t-\ttable\t8\t0\tudp\tENOENT\n"));
}

static void test_a_missing_table_is_a_state(void **state)
{
	(void)state;
	read_frame(SNAP_KEY);
	assert_true(has_line("absent\t+\ttable\t7\t0\tsctp/eps\tENOENT\n"));
	proctree_file(&tree, "42/net/sctp/eps",
		      " ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS\n");
	read_frame(SNAP_POLL);
	assert_true(has_line("absent\t-\ttable\t7\t0\tsctp/eps\tENOENT\n"));
	assert_int_equal(frame.records, 1);
}

static void test_a_damaged_row_is_an_absence(void **state)
{
	(void)state;
	proctree_file(&tree, "42/net/tcp", LISTEN_12396 "garbage\n");
	read_frame(SNAP_KEY);
	assert_true(has_line("absent\t+\trows\t7\t0\ttcp\tdamaged\n"));
	assert_true(has_line("socket\t+\t7\ttcp\t"));
}

static void test_hidepid_is_an_absence_where_it_hides(void **state)
{
	struct stat info;
	char text[200];

	(void)state;
	assert_int_equal(fstat(tree.fd, &info), 0);
	snprintf(text, sizeof(text), "22 27 %u:%u / /proc rw - proc proc rw,hidepid=2\n",
		 (unsigned)(info.st_dev >> 8 & 0xfff),
		 (unsigned)((info.st_dev & 0xff) | (info.st_dev >> 12 & 0xfff00)));
	proctree_file(&tree, "42/mountinfo", text);
	read_frame(SNAP_KEY);
	assert_true(has_line("absent\t+\tprocesses\t0\t0\t/proc\thidepid\n"));
	proctree_process(&tree, 1, 1, 7);
	read_frame(SNAP_POLL);
	assert_true(has_line("absent\t-\tprocesses\t0\t0\t/proc\thidepid\n"));
}

static void test_times_bracket_the_reading(void **state)
{
	struct timespec before, after;

	(void)state;
	clock_gettime(CLOCK_REALTIME, &before);
	read_frame(SNAP_KEY);
	clock_gettime(CLOCK_REALTIME, &after);
	assert_true(frame.head.begin_ns >= before.tv_sec * 1000000000 + before.tv_nsec);
	assert_true(frame.head.begin_ns <= frame.head.end_ns);
	assert_true(frame.head.end_ns <= after.tv_sec * 1000000000 + after.tv_nsec);
	assert_true(frame.head.monotonic_ns > 0);
	assert_true(frame.head.boot_ns >= frame.head.monotonic_ns);
	assert_true(poller_cost_ns(poller) > 0);
}

static void test_a_restated_frame_is_the_last_reading(void **state)
{
	struct snapframe restated;
	struct snap_frame head;

	(void)state;
	read_frame(SNAP_KEY);
	read_frame(SNAP_POLL);
	head = frame.head;
	proctree_file(&tree, "42/net/tcp", "");
	snapframe_init(&restated, SNAP_KEY, "restated");
	poller_restate(poller, &restated);
	snapframe_release(&frame);
	frame = restated;
	assert_lines(STATE_OF_SET_UP);
	assert_int_equal(frame.head.sequence, 5);
	assert_true(frame.head.begin_ns == head.begin_ns && frame.head.end_ns == head.end_ns);
	assert_true(frame.head.monotonic_ns == head.monotonic_ns);
	assert_true(frame.head.boot_ns == head.boot_ns);
	assert_int_equal(frame.head.kind, SNAP_KEY);
	assert_string_equal(frame.head.cause, "restated");
}

static void test_an_unusable_reading_is_an_error_and_leaves_the_state(void **state)
{
	struct snapframe failed;
	struct error error = ERROR_NONE;

	(void)state;
	read_frame(SNAP_KEY);
	proctree_remove(&tree, "self");
	snapframe_init(&failed, SNAP_POLL, "test");
	assert_true(poller_read(poller, &failed, &error) < 0);
	snapframe_release(&failed);
	assert_true(error.message[0] != '\0');
	proctree_link(&tree, "self", "42");
	read_frame(SNAP_POLL);
	assert_int_equal(frame.records, 0);
}

/* -------------------------------------------------------- the real /proc -- */

static void use_real_proc(void)
{
	struct poller_config config = {.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY)};

	if (config.proc_fd < 0 || !procfs_is_own(config.proc_fd))
		skip();
	poller_free(poller);
	assert_int_equal(poller_new(&config, &poller, NULL), 0);
}

static int listen_on_loopback(uint16_t *port, uint32_t *inode)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat info;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1) ||
	    getsockname(fd, (struct sockaddr *)&address, &length) || fstat(fd, &info))
		return -1;
	*port = ntohs(address.sin_port);
	*inode = (uint32_t)info.st_ino;
	return fd;
}

static void test_a_real_socket_comes_and_goes(void **state)
{
	uint64_t own = procfs_read_netns(AT_FDCWD, "/proc/self/ns/net", NULL);
	char socket_line[100], holder_line[100];
	uint32_t inode;
	uint16_t port;
	int fd;

	(void)state;
	use_real_proc();
	read_frame(SNAP_KEY);
	fd = listen_on_loopback(&port, &inode);
	assert_true(fd >= 0);
	read_frame(SNAP_POLL);
	snprintf(socket_line, sizeof(socket_line),
		 "socket\t+\t%" PRIu64 "\ttcp\t127.0.0.1\t%u\t0.0.0.0\t0\t10\t%u\t%" PRIu32 "\t",
		 own, port, getuid(), inode);
	snprintf(holder_line, sizeof(holder_line), "holder\t+\t%" PRIu32 "\t%d\t", inode, getpid());
	assert_true(has_line(socket_line));
	assert_true(has_line(holder_line));
	close(fd);
	read_frame(SNAP_POLL);
	socket_line[7] = holder_line[7] = '-';
	assert_true(has_line(socket_line));
	assert_true(has_line(holder_line));
}

/* A child that has a socket in a network namespace of its own: tells port,
 * inode and namespace, and waits. -1 where that is not permitted. */
struct report {
	bool done;
	uint16_t port;
	uint32_t inode;
	uint64_t netns;
};

static pid_t start_in_namespace(struct report *report)
{
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		memset(report, 0, sizeof(*report));
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!unshare(CLONE_NEWNET) &&
		    listen_on_loopback(&report->port, &report->inode) >= 0) {
			report->netns = procfs_read_netns(AT_FDCWD, "/proc/self/ns/net", NULL);
			report->done = true;
		}
		if (write(ready[1], report, sizeof(*report)) != sizeof(*report))
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], report, sizeof(*report)), sizeof(*report));
	close(ready[0]);
	return pid;
}

static void assert_namespace_lines(const struct report *report, pid_t via)
{
	char line[120];

	snprintf(line, sizeof(line), "netns\t+\t%" PRIu64 "\t%d\t0\n", report->netns, via);
	assert_true(has_line(line));
	snprintf(line, sizeof(line), "socket\t+\t%" PRIu64 "\ttcp\t127.0.0.1\t%u\t", report->netns,
		 report->port);
	assert_true(has_line(line));
}

static void test_a_namespace_of_a_process(void **state)
{
	struct report report;
	char line[100];
	pid_t pid;

	(void)state;
	use_real_proc();
	pid = start_in_namespace(&report);
	if (report.done)
		read_frame(SNAP_KEY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!report.done)
		skip();
	assert_namespace_lines(&report, pid);
	snprintf(line, sizeof(line), "holder\t+\t%" PRIu32 "\t%d\t", report.inode, pid);
	assert_true(has_line(line));
}

/* A socket whose process is in another namespace than the socket: the test's
 * own, with a descriptor on the namespace that it left. */
static void test_a_namespace_that_only_a_descriptor_keeps(void **state)
{
	struct report report = {0};
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other, fd;
	char line[100];

	(void)state;
	use_real_proc();
	if (home < 0 || unshare(CLONE_NEWNET))
		skip();
	other = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	report.netns = procfs_read_netns(AT_FDCWD, "/proc/self/ns/net", NULL);
	fd = listen_on_loopback(&report.port, &report.inode);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	read_frame(SNAP_KEY);
	close(home);
	close(other);
	close(fd);
	assert_namespace_lines(&report, 0);
	snprintf(line, sizeof(line), "interface\t+\t%" PRIu64 "\t1\tlo\t772\n", report.netns);
	assert_true(has_line(line));
	snprintf(line, sizeof(line), "holder\t+\t%" PRIu32 "\t%d\t", report.inode, getpid());
	assert_true(has_line(line));
}

/* As `ip netns add` makes it, in a mount namespace of the test's own. */
static void poll_a_mounted_namespace(const char *directory, struct report *report)
{
	char path[100];
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	snprintf(path, sizeof(path), "%s/a b", directory);
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", directory, "tmpfs", 0, NULL))
		_exit(77);
	use_real_proc();
	read_frame(SNAP_KEY);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	if (unshare(CLONE_NEWNET) || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL))
		_exit(77);
	report->netns = procfs_read_netns(AT_FDCWD, "/proc/self/ns/net", NULL);
	fd = listen_on_loopback(&report->port, &report->inode);
	if (fd < 0 || setns(home, CLONE_NEWNET))
		_exit(1);
	read_frame(SNAP_POLL);
	assert_namespace_lines(report, 0);
	umount2(path, MNT_DETACH);
	close(fd);
	read_frame(SNAP_POLL);
	snprintf(path, sizeof(path), "netns\t-\t%" PRIu64 "\t0\t0\n", report->netns);
	assert_true(has_line(path));
}

static void test_a_namespace_that_only_a_mount_keeps(void **state)
{
	struct report report = {0};
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		poll_a_mounted_namespace(tree.path, &report);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FACT(test_a_key_frame_holds_everything),
		FACT(test_the_first_poll_holds_everything_too),
		FACT(test_nothing_new_gives_no_line),
		FACT(test_queues_timers_and_slots_are_no_difference),
		FACT(test_a_new_state_is_a_change),
		FACT(test_gone_stands_before_new),
		FACT(test_a_process_that_went_carries_what_was_known),
		FACT(test_exec_is_a_change_and_a_new_parent_is_none),
		FACT(test_a_number_used_again_is_another_process),
		FACT(test_holders_of_sockets_in_no_table_are_left_out),
		FACT(test_every_descriptor_is_a_holder),
		FACT(test_a_socket_without_holder_is_searched_among_threads),
		FACT(test_each_namespace_is_read_through_a_process_of_it),
		FACT(test_another_process_serves_when_the_first_cannot),
		FACT(test_a_namespace_goes_with_its_last_process),
		FACT(test_a_missing_table_is_a_state),
		FACT(test_a_damaged_row_is_an_absence),
		FACT(test_hidepid_is_an_absence_where_it_hides),
		FACT(test_times_bracket_the_reading),
		FACT(test_a_restated_frame_is_the_last_reading),
		FACT(test_an_unusable_reading_is_an_error_and_leaves_the_state),
		FACT(test_a_real_socket_comes_and_goes),
		FACT(test_a_namespace_of_a_process),
		FACT(test_a_namespace_that_only_a_descriptor_keeps),
		FACT(test_a_namespace_that_only_a_mount_keeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
