/* What a walk of /proc finds: from trees of files, then from real processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/procfs.h"
#include "tests/unit/proctree.h"

static struct proctree tree;
static struct procfs_walk walk, before;
static const struct procfs_walk nothing;

static int set_up(void **state)
{
	(void)state;
	proctree_new(&tree);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	procfs_walk_release(&walk);
	procfs_walk_release(&before);
	proctree_free(&tree);
	return 0;
}

static void walk_tree(void)
{
	assert_int_equal(procfs_walk(tree.fd, &nothing, &walk, NULL), 0);
}

/* Walks with what the walk before found as known. */
static void walk_again(void)
{
	struct procfs_walk swap = before;

	before = walk;
	walk = swap;
	assert_int_equal(procfs_walk(tree.fd, &before, &walk, NULL), 0);
}

static const struct snap_process *only_process(void)
{
	assert_int_equal(walk.process_count, 1);
	assert_non_null(walk.processes[0].facts);
	return &walk.processes[0].facts->record;
}

/* ----------------------------------------------------------------- stat -- */

static void test_names_may_hold_spaces_and_parentheses(void **state)
{
	static const char text[] = "42 (a) S 9) (b\n) R 7 0 0 0 0 4194304 0 0 0 0 0 0 0 0 20 0 3 0 "
				   "108733 1 2 3 400 500 600 0 0 0 0 0 0 0 0 0 0\n";
	struct procfs_stat stat;

	(void)state;
	assert_int_equal(procfs_parse_stat(text, sizeof(text) - 1, &stat, NULL), 0);
	assert_int_equal(stat.pid, 42);
	assert_string_equal(stat.comm, "a) S 9) (b\n");
	assert_int_equal(stat.state, 'R');
	assert_int_equal(stat.ppid, 7);
	assert_int_equal(stat.threads, 3);
	assert_int_equal(stat.start_ticks, 108733);
	assert_true(stat.image != 0);
	assert_false(procfs_is_kernel_thread(&stat));
}

static void test_no_cut_of_stat_gives_a_start_time(void **state)
{
	static const char text[] = "42 (cat) R 7 0 0 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 108733 ";
	size_t whole = strstr(text, "108733") - text;
	struct procfs_stat stat;

	(void)state;
	for (size_t cut = 0; cut <= whole; cut++) {
		char *copy = strndup(text, cut);

		assert_non_null(copy);
		assert_int_equal(procfs_parse_stat(copy, cut, &stat, NULL), ERROR_DAMAGED);
		free(copy);
	}
	assert_int_equal(procfs_parse_stat(text, sizeof(text) - 1, &stat, NULL), 0);
	assert_int_equal(stat.start_ticks, 108733);
}

/* ---------------------------------------------------------------- facts -- */

static void test_facts_of_a_process(void **state)
{
	const struct snap_process *process;

	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	walk_tree();
	process = only_process();
	assert_int_equal(process->pid, 42);
	assert_int_equal(process->start_ticks, 1000);
	assert_int_equal(process->ppid, 1);
	assert_int_equal(process->uid, 33); /* the real one */
	assert_string_equal(process->comm, "prog");
	assert_string_equal(process->exe, "/usr/bin/prog");
	assert_int_equal(process->cmdline_length, 15);
	assert_memory_equal(process->cmdline, "prog\0-x\0one two", 16);
	assert_string_equal(process->cgroup, "/system.slice/prog.service");
	assert_int_equal(process->netns, 99);
}

static void test_several_cgroup_lines_are_joined(void **state)
{
	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_file(&tree, "42/cgroup", "2:cpu:/a\n1:name=systemd:/b\n0::/c\n");
	walk_tree();
	assert_string_equal(only_process()->cgroup, "2:cpu:/a;1:name=systemd:/b;0::/c");
}

static void test_the_rest_of_a_rewritten_title_is_cut(void **state)
{
	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_bytes(&tree, "42/cmdline", "nginx: worker process\0\0\0\0\0\0", 27);
	walk_tree();
	assert_int_equal(only_process()->cmdline_length, 21);
}

static void test_a_deleted_program_keeps_its_mark(void **state)
{
	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_link(&tree, "42/exe", "/usr/bin/prog (deleted)");
	walk_tree();
	assert_string_equal(only_process()->exe, "/usr/bin/prog (deleted)");
}

static void test_what_cannot_be_read_is_null(void **state)
{
	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_remove(&tree, "42/exe");
	proctree_remove(&tree, "42/cmdline");
	proctree_remove(&tree, "42/cgroup");
	proctree_remove(&tree, "42/status");
	proctree_remove(&tree, "42/ns/net");
	walk_tree();
	assert_null(only_process()->exe);
	assert_null(only_process()->cmdline);
	assert_null(only_process()->cgroup);
	assert_int_equal(only_process()->uid, SNAP_UNKNOWN_UID);
	assert_int_equal(only_process()->netns, 0);
}

static void test_a_command_line_of_more_than_2_mib_is_cut_and_says_so(void **state)
{
	size_t length = PROCFS_MAX_CMDLINE + 5;
	char *text = malloc(length);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', length);
	proctree_process(&tree, 42, 1000, 99);
	proctree_bytes(&tree, "42/cmdline", text, length);
	walk_tree();
	assert_int_equal(only_process()->cmdline_length, PROCFS_MAX_CMDLINE);
	assert_true(walk.processes[0].facts->cmdline_cut);
	proctree_bytes(&tree, "42/cmdline", text, PROCFS_MAX_CMDLINE);
	free(text);
	walk_tree();
	assert_false(walk.processes[0].facts->cmdline_cut);
}

static void test_kernel_threads_are_no_processes(void **state)
{
	struct proctree_stat stat = {
		.pid = 2, .comm = "kthreadd", .flags = 0x00208040, .start_ticks = 1};

	(void)state;
	proctree_process(&tree, 2, 1, 99);
	proctree_stat(&tree, "2/stat", &stat);
	walk_tree();
	assert_int_equal(walk.process_count, 0);
}

static void test_facts_are_read_again_only_when_something_shows_a_change(void **state)
{
	struct proctree_stat stat = {
		.pid = 42, .ppid = 1, .comm = "prog", .start_ticks = 1000, .image = 7};
	const struct procfs_facts *facts;

	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	walk_tree();
	facts = walk.processes[0].facts;
	proctree_file(&tree, "42/cmdline", "rewritten");
	walk_again();
	assert_ptr_equal(walk.processes[0].facts, facts);

	stat.image = 8; /* exec, even of a program of the same name */
	proctree_stat(&tree, "42/stat", &stat);
	walk_again();
	assert_string_equal(only_process()->cmdline, "rewritten");

	proctree_file(&tree, "42/cmdline", "again");
	stat.comm = "other";
	proctree_stat(&tree, "42/stat", &stat);
	walk_again();
	assert_string_equal(only_process()->cmdline, "again");

	proctree_link(&tree, "42/ns/net", "net:[100]");
	walk_again();
	assert_int_equal(only_process()->netns, 100);

	proctree_file(&tree, "42/cmdline", "another process");
	stat.start_ticks = 2000;
	proctree_stat(&tree, "42/stat", &stat);
	walk_again();
	assert_string_equal(only_process()->cmdline, "another process");
}

static void test_a_process_on_its_way_out_keeps_its_facts(void **state)
{
	struct proctree_stat stat = {
		.pid = 42, .ppid = 1, .comm = "prog", .start_ticks = 1000, .state = 'Z'};

	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	walk_tree();
	proctree_stat(&tree, "42/stat", &stat);
	proctree_remove(&tree, "42/exe");
	proctree_file(&tree, "42/cmdline", "");
	walk_again();
	assert_string_equal(only_process()->exe, "/usr/bin/prog");
	assert_int_equal(only_process()->cmdline_length, 15);
	assert_int_equal(walk.processes[0].descriptors_errno, 0);
}

/* ---------------------------------------------------------- descriptors -- */

static void test_socket_descriptors_are_holders(void **state)
{
	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_socket(&tree, 42, 3, 12396);
	proctree_socket(&tree, 42, 100, 4294967295u);
	proctree_link(&tree, "42/fd/0", "/dev/null");
	proctree_link(&tree, "42/fd/1", "pipe:[5]");
	proctree_link(&tree, "42/fd/2", "/tmp/socket:[77]");
	proctree_link(&tree, "42/fd/4", "socket:[4294967296]");
	proctree_link(&tree, "42/fd/5", "socket:[12");
	walk_tree();
	assert_int_equal(walk.holder_count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct snap_holder *holder = &walk.holders[i];

		assert_int_equal(holder->pid, 42);
		assert_int_equal(holder->tid, 42);
		assert_int_equal(holder->start_ticks, 1000);
		assert_int_equal(holder->inode, holder->fd == 3 ? 12396 : 4294967295u);
	}
}

static void test_descriptors_on_namespaces_are_noted(void **state)
{
	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_link(&tree, "42/fd/7", "net:[4026532281]");
	walk_tree();
	assert_int_equal(walk.netns_fd_count, 1);
	assert_int_equal(walk.netns_fds[0].netns, 4026532281u);
	assert_int_equal(walk.netns_fds[0].pid, 42);
	assert_int_equal(walk.netns_fds[0].fd, 7);
}

static void test_processes_are_sorted_by_number(void **state)
{
	(void)state;
	proctree_process(&tree, 100, 1000, 99);
	proctree_process(&tree, 9, 1000, 99);
	proctree_process(&tree, 42, 1000, 99);
	walk_tree();
	assert_int_equal(walk.process_count, 3);
	assert_int_equal(walk.processes[0].stat.pid, 9);
	assert_int_equal(walk.processes[2].stat.pid, 100);
	assert_int_equal(procfs_find(&walk, 42)->stat.pid, 42);
	assert_null(procfs_find(&walk, 43));
}

static void test_a_process_without_its_directories_has_gone(void **state)
{
	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_remove(&tree, "42/fd");
	proctree_directory(&tree, "43");
	walk_tree();
	assert_int_equal(walk.process_count, 0);
	assert_int_equal(procfs_read_process(tree.fd, 44, NULL, &walk), ENOENT);
}

static void test_an_exited_leader_is_read_through_a_living_thread(void **state)
{
	struct proctree_stat leader = {.pid = 42,
				       .ppid = 1,
				       .comm = "prog",
				       .state = 'Z',
				       .threads = 3,
				       .start_ticks = 1000};
	struct proctree_stat dead = {.pid = 43,
				     .ppid = 1,
				     .comm = "dead",
				     .state = 'X',
				     .threads = 3,
				     .start_ticks = 1001};
	struct proctree_stat alive = {.pid = 44,
				      .ppid = 1,
				      .comm = "alive",
				      .threads = 3,
				      .start_ticks = 1002,
				      .image = 7};

	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_stat(&tree, "42/stat", &leader);
	proctree_remove(&tree, "42/exe");
	proctree_file(&tree, "42/cmdline", "");
	proctree_remove(&tree, "42/ns/net");
	proctree_stat(&tree, "42/task/42/stat", &leader);
	proctree_stat(&tree, "42/task/43/stat", &dead);
	proctree_stat(&tree, "42/task/44/stat", &alive);
	proctree_link(&tree, "42/task/44/exe", "/usr/bin/prog");
	proctree_link(&tree, "42/task/44/ns/net", "net:[99]");
	proctree_file(&tree, "42/task/44/cmdline", "prog");
	proctree_file(&tree, "42/task/44/cgroup", "0::/x\n");
	proctree_link(&tree, "42/task/44/fd/3", "socket:[12396]");
	walk_tree();
	assert_string_equal(only_process()->exe, "/usr/bin/prog");
	assert_string_equal(only_process()->cmdline, "prog");
	assert_string_equal(only_process()->comm, "prog");
	assert_int_equal(only_process()->netns, 99);
	assert_int_equal(only_process()->start_ticks, 1000);
	assert_int_equal(walk.processes[0].via_tid, 44);
	/* The table is the process's, not that thread's. */
	assert_int_equal(walk.holder_count, 1);
	assert_int_equal(walk.holders[0].tid, 42);
	assert_int_equal(walk.holders[0].start_ticks, 1000);
}

static void test_threads_are_searched_for_wanted_inodes_only(void **state)
{
	struct proctree_stat stat = {.pid = 42,
				     .ppid = 1,
				     .comm = "prog",
				     .threads = 3,
				     .start_ticks = 1000,
				     .image = 7};
	static const uint32_t wanted[] = {500, 501};

	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_stat(&tree, "42/stat", &stat);
	proctree_socket(&tree, 42, 3, 12396);
	proctree_link(&tree, "42/task/42/fd/3", "socket:[12396]");
	proctree_link(&tree, "42/task/43/fd/3", "socket:[12396]");
	proctree_link(&tree, "42/task/43/fd/4", "socket:[500]");
	/* 44 shares the table of 43. */
	proctree_link(&tree, "42/task/44/fd/4", "socket:[500]");
	walk_tree();
	assert_int_equal(walk.holder_count, 1);
	assert_int_equal(procfs_walk_threads(tree.fd, &walk, wanted, 2, NULL), 0);
	assert_int_equal(walk.holder_count, 2);
	assert_int_equal(walk.holders[1].inode, 500);
	assert_int_equal(walk.holders[1].pid, 42);
	assert_int_equal(walk.holders[1].tid, 43);
	assert_int_equal(walk.holders[1].fd, 4);
	assert_int_equal(walk.holders[1].start_ticks, 1000);
}

static void test_a_number_that_is_another_process_by_now_is_not_searched(void **state)
{
	struct proctree_stat stat = {.pid = 42,
				     .ppid = 1,
				     .comm = "prog",
				     .threads = 2,
				     .start_ticks = 1000,
				     .image = 7};
	static const uint32_t wanted[] = {500};

	(void)state;
	proctree_process(&tree, 42, 1000, 99);
	proctree_stat(&tree, "42/stat", &stat);
	walk_tree();
	stat.start_ticks = 2000;
	proctree_stat(&tree, "42/stat", &stat);
	proctree_link(&tree, "42/task/43/fd/4", "socket:[500]");
	assert_int_equal(procfs_walk_threads(tree.fd, &walk, wanted, 1, NULL), 0);
	assert_int_equal(walk.holder_count, 0);
}

/* -------------------------------------------------------- real processes -- */

/* Forks a child that calls run and then waits to be killed; returns when run
 * has returned. */
static pid_t start_child(void (*run)(void))
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void stop_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int open_proc(void)
{
	int fd = open("/proc", O_RDONLY | O_DIRECTORY);

	if (fd < 0 || !procfs_is_own(fd))
		skip();
	return fd;
}

static int ready_pipe[2];

static void *wait_for_ever(void *argument)
{
	(void)argument;
	if (write(ready_pipe[1], "t", 1) != 1)
		_exit(1);
	for (;;)
		pause();
	return NULL;
}

static void *open_alone(void *argument)
{
	if (unshare(CLONE_FILES) || socket(AF_INET, SOCK_DGRAM, 0) < 0)
		_exit(1);
	return wait_for_ever(argument);
}

static void start_thread(void *(*run)(void *))
{
	pthread_t thread;
	char byte;

	if (pipe(ready_pipe) || pthread_create(&thread, NULL, run, NULL) ||
	    read(ready_pipe[0], &byte, 1) != 1)
		_exit(1);
}

static void open_in_thread(void)
{
	start_thread(open_alone);
}

static void test_a_socket_in_a_threads_own_table_is_found(void **state)
{
	pid_t pid = start_child(open_in_thread);
	int proc = open_proc();
	uint32_t inode = 0;
	char path[64];

	(void)state;
	assert_int_equal(procfs_read_process(proc, (uint32_t)pid, NULL, &walk), 0);
	assert_int_equal(walk.process_count, 1);
	for (uint32_t tid = (uint32_t)pid + 1; tid < (uint32_t)pid + 1000 && !inode; tid++) {
		char target[64];

		for (int fd = 0; fd < 20 && !inode; fd++) {
			snprintf(path, sizeof(path), "/proc/%d/task/%u/fd/%d", pid, tid, fd);
			if (!procfs_read_link(AT_FDCWD, path, target, sizeof(target)) &&
			    !strncmp(target, "socket:[", 8))
				inode = (uint32_t)strtoul(target + 8, NULL, 10);
		}
	}
	if (!inode) {
		stop_child(pid);
		skip();
	}
	for (size_t i = 0; i < walk.holder_count; i++)
		assert_true(walk.holders[i].inode != inode);
	walk.holder_count = 0;
	assert_int_equal(procfs_walk_threads(proc, &walk, &inode, 1, NULL), 0);
	stop_child(pid);
	close(proc);
	assert_int_equal(walk.holder_count, 1);
	assert_int_equal(walk.holders[0].pid, pid);
	assert_true(walk.holders[0].tid != (uint32_t)pid);
}

/* The thread is the one that reports and waits; the leader exits. */
static void *outlive(void *argument)
{
	int *ready = argument;
	char path[64];
	struct procfs_text text = {0};
	struct procfs_stat stat = {0};

	snprintf(path, sizeof(path), "/proc/%d/stat", getpid());
	while (stat.state != 'Z') {
		if (procfs_read_file(AT_FDCWD, path, 0, &text) ||
		    procfs_parse_stat(text.text, text.length, &stat, NULL))
			_exit(1);
	}
	if (write(*ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
	return NULL;
}

static void test_a_real_process_whose_leader_has_exited(void **state)
{
	static int ready[2];
	int proc = open_proc();
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (socket(AF_INET, SOCK_DGRAM, 0) < 0 ||
		    pthread_create(&thread, NULL, outlive, &ready[1]))
			_exit(1);
		syscall(SYS_exit, 0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	assert_int_equal(procfs_read_process(proc, (uint32_t)pid, NULL, &walk), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(proc);
	assert_true(walk.holder_count >= 1);
	assert_int_equal(walk.holders[0].tid, pid);
	assert_non_null(only_process()->exe);
	assert_true(only_process()->cmdline_length > 0);
	assert_true(only_process()->netns != 0);
}

static void open_socket(void)
{
	if (socket(AF_INET, SOCK_DGRAM, 0) < 0)
		_exit(1);
}

/* A shell that replaces itself by a shell: same name, same program, same
 * number. It says a line before and after, and waits for one in between. */
static void test_exec_of_the_same_program_is_noticed(void **state)
{
	int proc = open_proc(), said[2], go[2];
	const struct procfs_process *second;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(said), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(go[0], 0);
		dup2(said[1], 1);
		execl("/bin/sh", "sh", "-c", "echo; read x; exec sh -c 'echo; read x' second",
		      (char *)NULL);
		_exit(1);
	}
	assert_int_equal(read(said[0], &byte, 1), 1);
	assert_int_equal(procfs_read_process(proc, (uint32_t)pid, NULL, &before), 0);
	assert_int_equal(write(go[1], "\n", 1), 1);
	assert_int_equal(read(said[0], &byte, 1), 1);
	assert_int_equal(procfs_read_process(proc, (uint32_t)pid, &before.processes[0], &walk), 0);
	stop_child(pid);
	for (unsigned i = 0; i < 2; i++) {
		close(said[i]);
		close(go[i]);
	}
	close(proc);
	second = &walk.processes[0];
	assert_string_equal(second->stat.comm, before.processes[0].stat.comm);
	assert_int_equal(second->stat.start_ticks, before.processes[0].stat.start_ticks);
	assert_ptr_not_equal(second->facts, before.processes[0].facts);
	assert_string_equal(only_process()->cmdline + only_process()->cmdline_length - 6, "second");
}

static void test_a_real_child(void **state)
{
	pid_t pid = start_child(open_socket);
	int proc = open_proc();
	bool found = false;

	(void)state;
	assert_int_equal(procfs_walk(proc, &nothing, &walk, NULL), 0);
	stop_child(pid);
	assert_int_equal(procfs_read_process(proc, (uint32_t)pid, NULL, &before), ENOENT);
	close(proc);
	for (size_t i = 0; i < walk.holder_count; i++)
		found = found || walk.holders[i].pid == (uint32_t)pid;
	assert_true(found);
	assert_int_equal(procfs_find(&walk, (uint32_t)pid)->facts->record.ppid, getpid());
	assert_int_equal(procfs_find(&walk, (uint32_t)pid)->facts->record.uid, getuid());
}

int main(void)
{
#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FACT(test_names_may_hold_spaces_and_parentheses),
		FACT(test_no_cut_of_stat_gives_a_start_time),
		FACT(test_facts_of_a_process),
		FACT(test_several_cgroup_lines_are_joined),
		FACT(test_the_rest_of_a_rewritten_title_is_cut),
		FACT(test_a_deleted_program_keeps_its_mark),
		FACT(test_what_cannot_be_read_is_null),
		FACT(test_a_command_line_of_more_than_2_mib_is_cut_and_says_so),
		FACT(test_kernel_threads_are_no_processes),
		FACT(test_facts_are_read_again_only_when_something_shows_a_change),
		FACT(test_a_process_on_its_way_out_keeps_its_facts),
		FACT(test_socket_descriptors_are_holders),
		FACT(test_descriptors_on_namespaces_are_noted),
		FACT(test_processes_are_sorted_by_number),
		FACT(test_a_process_without_its_directories_has_gone),
		FACT(test_an_exited_leader_is_read_through_a_living_thread),
		FACT(test_threads_are_searched_for_wanted_inodes_only),
		FACT(test_a_number_that_is_another_process_by_now_is_not_searched),
		FACT(test_a_socket_in_a_threads_own_table_is_found),
		FACT(test_a_real_process_whose_leader_has_exited),
		FACT(test_exec_of_the_same_program_is_noticed),
		FACT(test_a_real_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
