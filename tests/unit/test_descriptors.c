/* A process whose descriptors change between two readings is read as it is,
 * also where their number stays, by which the list of before is trusted. */
#include "snapshot/procfs.h"

#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct procfs_walk before, now;
static int proc_fd;

static int setup(void **state)
{
	(void)state;
	proc_fd = open("/proc", O_RDONLY | O_DIRECTORY);
	return proc_fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	procfs_walk_release(&before);
	procfs_walk_release(&now);
	return close(proc_fd);
}

/* Of this process, with what the reading before knew. */
static void read_again(void)
{
	struct procfs_walk swap = before;

	before = now;
	now = swap;
	procfs_walk_reset(&now);
	assert_int_equal(procfs_read_process(proc_fd, (uint32_t)getpid(),
					     before.process_count ? before.processes : NULL, &now),
			 0);
}

static uint32_t inode_of(int fd)
{
	struct stat info;

	assert_int_equal(fstat(fd, &info), 0);
	return (uint32_t)info.st_ino;
}

static bool holds(uint32_t inode, int fd)
{
	for (size_t i = 0; i < now.holder_count; i++)
		if (now.holders[i].inode == inode && now.holders[i].fd == (uint32_t)fd)
			return true;
	return false;
}

/* Away from the numbers that the reading itself takes in this process. */
static int new_socket(void)
{
	int first = socket(AF_UNIX, SOCK_STREAM, 0);
	int fd = fcntl(first, F_DUPFD, 100);

	assert_true(fd >= 0);
	close(first);
	return fd;
}

static void read_until_known(void)
{
	for (unsigned i = 0; i < 3; i++)
		read_again();
}

static void test_what_stays_is_found_each_time(void **state)
{
	int fd = new_socket();

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		read_again();
		assert_true(holds(inode_of(fd), fd));
	}
	close(fd);
}

static void test_another_socket_at_the_same_number(void **state)
{
	int fd = new_socket(), other = new_socket();
	uint32_t gone = inode_of(fd);

	(void)state;
	read_until_known();
	dup2(other, fd);
	close(other);
	other = new_socket(); /* as many as before, at the same numbers */
	read_again();
	assert_false(holds(gone, fd));
	assert_true(holds(inode_of(fd), fd));
	assert_true(holds(inode_of(other), other));
	close(fd);
	close(other);
}

static void test_as_many_at_other_numbers(void **state)
{
	int fd = new_socket(), moved;
	size_t count;

	(void)state;
	read_until_known();
	count = now.holder_count;
	moved = fcntl(fd, F_DUPFD, 500);
	close(fd);
	read_again();
	assert_true(holds(inode_of(moved), moved));
	assert_int_equal(now.holder_count, count);
	close(moved);
}

static void test_one_more_and_one_less(void **state)
{
	int fd, second;

	(void)state;
	read_until_known();
	fd = new_socket();
	read_again();
	assert_true(holds(inode_of(fd), fd));
	read_again();
	second = new_socket();
	read_again();
	assert_true(holds(inode_of(second), second));
	close(fd);
	read_again();
	assert_true(holds(inode_of(second), second));
	for (size_t i = 0; i < now.holder_count; i++)
		assert_int_not_equal(now.holders[i].fd, fd);
	close(second);
}

/* ------------------------------------- a process that sleeps in between -- */

#define MANY 32

enum order { ORDER_SWAP = 's', ORDER_WAKE = 'w', ORDER_ANSWER = '.' };

/* A child with MANY sockets from the descriptor MANY on, which all its threads
 * but obey() leave alone. */
struct sleeper {
	int orders, answers;
	pid_t pid;
};

static void *obey(void *argument)
{
	const int *ends = argument;
	char order;

	while (read(ends[0], &order, 1) == 1) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		if (order == ORDER_SWAP)
			dup2(fd, MANY);
		close(fd);
		order = ORDER_ANSWER;
		if (write(ends[1], &order, 1) != 1)
			break;
	}
	_exit(0);
}

/* In read(2) as well: settle() knows that call. */
static void *sleep_on(void *argument)
{
	int ends[2];
	char byte;

	(void)argument;
	if (pipe(ends) || read(ends[0], &byte, 1) != 1)
		_exit(1);
	return NULL;
}

static void be_sleeper(unsigned threads, int ends[2])
{
	pthread_t thread;
	char ready = ORDER_ANSWER;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < MANY; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		dup2(fd, MANY + i);
		close(fd);
	}
	for (unsigned i = 1; i < threads; i++)
		pthread_create(&thread, NULL, i == 1 ? obey : sleep_on, ends);
	if (write(ends[1], &ready, 1) != 1)
		_exit(1);
	if (threads > 1)
		sleep_on(NULL);
	obey(ends);
}

static void take_answer(const struct sleeper *sleeper)
{
	char answer;

	assert_int_equal(read(sleeper->answers, &answer, 1), 1);
}

/* Until each of its threads has left its processor, to wait for what to do: on
 * the way there it still runs. */
static void settle(const struct sleeper *sleeper)
{
	char pattern[48];

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/syscall", sleeper->pid);
	for (bool waits = false; !waits; sched_yield()) {
		glob_t threads;

		assert_int_equal(glob(pattern, 0, NULL, &threads), 0);
		waits = true;
		for (size_t i = 0; i < threads.gl_pathc; i++) {
			FILE *file = fopen(threads.gl_pathv[i], "r");
			long number = -1;

			assert_non_null(file);
			if (fscanf(file, "%ld", &number) != 1 || number != SYS_read)
				waits = false;
			fclose(file);
		}
		globfree(&threads);
	}
}

static void tell(const struct sleeper *sleeper, enum order order)
{
	char byte = (char)order;

	assert_int_equal(write(sleeper->orders, &byte, 1), 1);
	take_answer(sleeper);
	settle(sleeper);
}

static void start_sleeper(struct sleeper *sleeper, unsigned threads)
{
	int orders[2], answers[2];

	assert_int_equal(pipe(orders) | pipe(answers), 0);
	sleeper->pid = fork();
	if (sleeper->pid == 0)
		be_sleeper(threads, (int[]){orders[0], answers[1]});
	close(orders[0]);
	close(answers[1]);
	sleeper->orders = orders[1];
	sleeper->answers = answers[0];
	take_answer(sleeper);
	settle(sleeper);
}

static void stop_sleeper(struct sleeper *sleeper)
{
	kill(sleeper->pid, SIGKILL);
	waitpid(sleeper->pid, NULL, 0);
	close(sleeper->orders);
	close(sleeper->answers);
}

/* Before that nothing is repeated. */
static void until_runs_show(void)
{
	usleep(PROCFS_RUN_SHOWS_NS / 1000 + 1000);
}

static void assert_holds_what_it_holds(const struct sleeper *sleeper)
{
	char path[48];

	assert_int_equal(now.holder_count, MANY);
	for (int i = 0; i < MANY; i++) {
		struct stat info;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", sleeper->pid, MANY + i);
		assert_int_equal(stat(path, &info), 0);
		assert_true(holds((uint32_t)info.st_ino, MANY + i));
	}
}

/* With what the reading before knew. Whether that was repeated: then not even
 * its stat was read. */
static bool read_sleeper(const struct sleeper *sleeper)
{
	struct procfs_walk swap = before;

	until_runs_show();
	before = now;
	now = swap;
	procfs_walk_reset(&now);
	now.stat.length = 0;
	assert_int_equal(procfs_read_process(proc_fd, (uint32_t)sleeper->pid,
					     before.process_count ? before.processes : NULL, &now),
			 0);
	assert_int_equal(now.process_count, 1);
	assert_int_equal(now.processes[0].stat.pid, sleeper->pid);
	assert_non_null(now.processes[0].facts);
	assert_holds_what_it_holds(sleeper);
	return now.stat.length == 0;
}

/* Readings until one is repeated. */
static unsigned readings_until_repeated(const struct sleeper *sleeper)
{
	unsigned count = 1;

	while (!read_sleeper(sleeper) && count < 100)
		count++;
	return count;
}

static void check_sleeper(unsigned threads)
{
	struct sleeper sleeper = {0};

	start_sleeper(&sleeper, threads);
	/* What it is; what it had run until then. */
	assert_int_equal(readings_until_repeated(&sleeper), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true(read_sleeper(&sleeper));
	tell(&sleeper, ORDER_WAKE);
	assert_false(read_sleeper(&sleeper));
	readings_until_repeated(&sleeper);
	tell(&sleeper, ORDER_SWAP);
	assert_false(read_sleeper(&sleeper));
	readings_until_repeated(&sleeper);
	stop_sleeper(&sleeper);
}

static void test_who_sleeps_is_not_read_again(void **state)
{
	(void)state;
	check_sleeper(1);
}

static void test_each_thread_of_it_counts(void **state)
{
	(void)state;
	check_sleeper(3);
}

/* One that came after they were listed. */
static void test_a_thread_that_was_not_noted(void **state)
{
	struct sleeper sleeper = {0};

	(void)state;
	start_sleeper(&sleeper, 2);
	for (unsigned i = 0; i < 5; i++) {
		assert_false(read_sleeper(&sleeper));
		now.processes[0].stat.threads = 1;
	}
	stop_sleeper(&sleeper);
}

/* More calls than to read it. */
static void test_many_threads_are_not_asked(void **state)
{
	struct sleeper sleeper = {0};

	(void)state;
	start_sleeper(&sleeper, 2 * MANY);
	for (unsigned i = 0; i < 5; i++)
		assert_false(read_sleeper(&sleeper));
	stop_sleeper(&sleeper);
}

/* A thread that has its processor all the while has not been counted yet. */
static void test_too_soon_nothing_is_repeated(void **state)
{
	struct sleeper sleeper = {0};

	(void)state;
	start_sleeper(&sleeper, 1);
	readings_until_repeated(&sleeper);
	now.processes[0].facts->fds.noted_ns = INT64_MAX / 2; /* as if it were now */
	assert_false(read_sleeper(&sleeper));
	stop_sleeper(&sleeper);
}

/* It is asked less and less often whether it has run, and as ever once it sleeps. */
static void test_who_runs_is_asked_seldom(void **state)
{
	struct sleeper sleeper = {0};
	unsigned last = 0;

	(void)state;
	start_sleeper(&sleeper, 1);
	readings_until_repeated(&sleeper);
	for (unsigned i = 0; i < 5; i++) {
		unsigned asked = 0;

		do {
			tell(&sleeper, ORDER_WAKE);
			assert_false(read_sleeper(&sleeper));
			asked++;
		} while (!now.processes[0].facts->fds.run_count);
		assert_true(asked > last);
		last = asked;
	}
	assert_int_equal(readings_until_repeated(&sleeper), 1);
	stop_sleeper(&sleeper);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_stays_is_found_each_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_another_socket_at_the_same_number, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_as_many_at_other_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_more_and_one_less, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_sleeps_is_not_read_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_thread_of_it_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_thread_that_was_not_noted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_threads_are_not_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_soon_nothing_is_repeated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_runs_is_asked_seldom, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
