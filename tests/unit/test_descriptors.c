/* A process whose descriptors change between two readings is read as it is,
 * also where their number stays, by which the list of before is trusted. */
#include "snapshot/procfs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_stays_is_found_each_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_another_socket_at_the_same_number, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_as_many_at_other_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_more_and_one_less, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
