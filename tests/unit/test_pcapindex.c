/* test_pcapindex.c - indexes of compressed captures: written, read, made up. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "snapshot/format/pcapindex.h"

#define NAME "capture.pcap.gz.idx"

static char path[] = "/tmp/test_pcapindex.XXXXXX";
static int dirfd_of_test = -1;
static struct error error;

static int set_up(void **state)
{
	(void)state;
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	if (!mkdtemp(path))
		return -1;
	dirfd_of_test = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_of_test < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	close(dirfd_of_test);
	snprintf(command, sizeof(command), "rm -rf %s", path);
	return system(command);
}

static void put_file(const char *name, const void *bytes, size_t length)
{
	int fd = openat(dirfd_of_test, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

/* Three members of a capture of 1,000 bytes that holds 50 packets in 9,000. */
static struct pcapindex three(void)
{
	const struct pcapindex_member members[] = {{0, 0, 1, 1000},
						   {400, 4024, 21, 999},
						   {700, 8000, 41, INT64_C(1795000000123456789)}};
	struct pcapindex index = {.content_bytes = 9000, .packets = 50};
	uint8_t capture[1000];
	int fd;

	for (size_t i = 0; i < sizeof(capture); i++)
		capture[i] = (uint8_t)i;
	put_file("capture", capture, sizeof(capture));
	for (int i = 0; i < 3; i++)
		assert_int_equal(pcapindex_add(&index, &members[i], &error), 0);
	fd = openat(dirfd_of_test, "capture", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pcapindex_seal(&index, fd, "capture", &error), 0);
	close(fd);
	return index;
}

static void test_what_is_written_is_read(void **state)
{
	struct pcapindex index = three(), got;

	(void)state;
	assert_int_equal(pcapindex_write(&index, dirfd_of_test, NAME, &error), 0);
	assert_int_equal(faccessat(dirfd_of_test, NAME ".part", F_OK, 0), -1);
	assert_int_equal(pcapindex_read(dirfd_of_test, NAME, &got, &error), 0);
	assert_int_equal(got.count, 3);
	assert_memory_equal(got.members, index.members, 3 * sizeof(*index.members));
	assert_int_equal(got.file_bytes, 1000);
	assert_int_equal(got.content_bytes, 9000);
	assert_int_equal(got.packets, 50);
	assert_memory_equal(got.tail, index.tail, sizeof(got.tail));
	pcapindex_release(&got);
	pcapindex_release(&index);
}

static void test_one_that_is_there_is_replaced(void **state)
{
	struct pcapindex index = three(), got;

	(void)state;
	put_file(NAME, "pcapwho-index\t1\nold", 19);
	for (size_t cut = 0; cut < 19; cut++) {
		put_file(NAME ".part", "pcapwho-index\t1\nold", cut); /* left by a crash */
		assert_int_equal(pcapindex_write(&index, dirfd_of_test, NAME, &error), 0);
		assert_int_equal(pcapindex_read(dirfd_of_test, NAME, &got, &error), 0);
		pcapindex_release(&got);
	}
	pcapindex_release(&index);
	assert_int_equal(pcapindex_remove(dirfd_of_test, NAME, &error), 0);
	assert_int_equal(faccessat(dirfd_of_test, NAME, F_OK, 0), -1);
	assert_int_equal(pcapindex_remove(dirfd_of_test, NAME, &error), 0);
}

static void assert_holds(const char *name, const char *content)
{
	char got[64] = "";
	int fd = openat(dirfd_of_test, name, O_RDONLY | O_CLOEXEC);

	assert_int_equal(read(fd, got, sizeof(got) - 1), strlen(content));
	assert_string_equal(got, content);
	close(fd);
}

static void test_what_is_no_index_stays(void **state)
{
	static const char *const others[] = {"", "pcapwho-index\t1", "pcapwho-index\t2\n",
					     "precious"};
	struct pcapindex index = three();

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		put_file(NAME, others[i], strlen(others[i]));
		assert_int_equal(pcapindex_write(&index, dirfd_of_test, NAME, &error),
				 ERROR_SYSTEM);
		assert_int_equal(pcapindex_remove(dirfd_of_test, NAME, &error), ERROR_SYSTEM);
		assert_holds(NAME, others[i]);
	}
	assert_int_equal(unlinkat(dirfd_of_test, NAME, 0), 0);
	put_file(NAME ".part", "precious", 8);
	assert_int_equal(pcapindex_write(&index, dirfd_of_test, NAME, &error), ERROR_SYSTEM);
	assert_holds(NAME ".part", "precious");
	assert_int_equal(unlinkat(dirfd_of_test, NAME ".part", 0), 0);
	put_file("other", "pcapwho-index\t1\n", 16);
	assert_int_equal(symlinkat("other", dirfd_of_test, NAME), 0);
	assert_int_equal(pcapindex_write(&index, dirfd_of_test, NAME, &error), ERROR_SYSTEM);
	assert_int_equal(pcapindex_remove(dirfd_of_test, NAME, &error), ERROR_SYSTEM);
	assert_holds(NAME, "pcapwho-index\t1\n");
	pcapindex_release(&index);
}

static void test_it_belongs_to_one_capture(void **state)
{
	struct pcapindex index = three();
	int fd = openat(dirfd_of_test, "capture", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(pcapindex_belongs(&index, fd, NAME, &error), 0);
	assert_int_equal(pwrite(fd, "x", 1, 999), 1);
	assert_int_equal(pcapindex_belongs(&index, fd, NAME, &error), ERROR_DAMAGED);
	index.tail[7] = 'x';
	assert_int_equal(pcapindex_belongs(&index, fd, NAME, &error), 0);
	assert_int_equal(ftruncate(fd, 1001), 0);
	assert_int_equal(pcapindex_belongs(&index, fd, NAME, &error), ERROR_DAMAGED);
	assert_int_equal(ftruncate(fd, 3), 0);
	assert_int_equal(pcapindex_belongs(&index, fd, NAME, &error), ERROR_DAMAGED);
	close(fd);
	pcapindex_release(&index);
}

static void test_cut_anywhere_or_changed_anywhere_it_is_none(void **state)
{
	struct pcapindex index = three(), got;
	char text[1024];
	ssize_t length;
	int fd;

	(void)state;
	assert_int_equal(pcapindex_write(&index, dirfd_of_test, NAME, &error), 0);
	pcapindex_release(&index);
	fd = openat(dirfd_of_test, NAME, O_RDONLY | O_CLOEXEC);
	length = read(fd, text, sizeof(text));
	close(fd);
	assert_true(length > 100 && length < (ssize_t)sizeof(text));
	for (ssize_t cut = 0; cut < length; cut++) {
		put_file("cut", text, (size_t)cut);
		assert_int_equal(pcapindex_read(dirfd_of_test, "cut", &got, &error), ERROR_DAMAGED);
		assert_null(got.members);
		text[cut] ^= 1;
		put_file("changed", text, (size_t)length);
		text[cut] ^= 1;
		assert_int_equal(pcapindex_read(dirfd_of_test, "changed", &got, &error),
				 ERROR_DAMAGED);
	}
}

/* The lines with a right sum behind them. */
static int read_made_up(const char *members, const char *end)
{
	struct pcapindex got = {0};
	char text[1024];
	int length = snprintf(text, sizeof(text), "pcapwho-index\t1\n%s", members), status;

	length += snprintf(text + length, sizeof(text) - (size_t)length,
			   "end\t%s\t0001020304050607\t", end);
	length += snprintf(text + length, sizeof(text) - (size_t)length, "%08lx\n",
			   crc32(0, (const Bytef *)text, (uInt)length));
	put_file("made-up", text, (size_t)length);
	status = pcapindex_read(dirfd_of_test, "made-up", &got, &error);
	pcapindex_release(&got);
	return status;
}

static void test_what_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *members, *end;
	} wrong[] = {
		{"", "1000\t9000\t50"},			    /* nothing begins it */
		{"member\t1\t0\t1\t5\n", "1000\t9000\t50"}, /* not at the beginning */
		{"member\t0\t1\t1\t5\n", "1000\t9000\t50"}, /* nor of the content */
		{"member\t0\t0\t2\t5\n", "1000\t9000\t50"}, /* nor at the first packet */
		{"member\t0\t0\t1\t5\nmember\t0\t10\t2\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\nmember\t10\t0\t2\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\nmember\t10\t10\t1\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\nmember\t1000\t10\t2\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\nmember\t10\t9000\t2\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\nmember\t10\t10\t52\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t4611686018427387904\n", "1000\t9000\t50"}, /* after 2116 */
		{"member\t0\t0\t01\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t-5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\t6\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\nother\t5\n", "1000\t9000\t50"},
		{"member\t0\t0\t1\t5\n", "1000\t9000"},
		{"member\t0\t0\t1\t5\n", "9223372036854775808\t9000\t50"},
	};

	(void)state;
	assert_int_equal(
		read_made_up("member\t0\t0\t1\t5\nmember\t999\t8999\t51\t5\n", "1000\t9000\t50"),
		0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		if (read_made_up(wrong[i].members, wrong[i].end) != ERROR_DAMAGED)
			fail_msg("not refused: number %zu", i);
	}
}

static void test_what_is_no_file_is_none(void **state)
{
	struct pcapindex got;

	(void)state;
	assert_int_equal(pcapindex_read(dirfd_of_test, "none", &got, &error), ERROR_NO_INPUT);
	assert_int_equal(mkfifoat(dirfd_of_test, "fifo", 0600), 0);
	assert_int_equal(pcapindex_read(dirfd_of_test, "fifo", &got, &error), ERROR_DAMAGED);
}

static void test_it_has_so_many_members_and_no_more(void **state)
{
	struct pcapindex index = {0};
	struct pcapindex_member member = {0};

	(void)state;
	for (unsigned i = 0; i < PCAPINDEX_MAX_MEMBERS; i++)
		assert_int_equal(pcapindex_add(&index, &member, &error), 0);
	assert_int_equal(pcapindex_add(&index, &member, &error), ERROR_LIMIT);
	pcapindex_release(&index);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		EACH(test_what_is_written_is_read),
		EACH(test_one_that_is_there_is_replaced),
		EACH(test_what_is_no_index_stays),
		EACH(test_it_belongs_to_one_capture),
		EACH(test_cut_anywhere_or_changed_anywhere_it_is_none),
		EACH(test_what_cannot_be_is_refused),
		EACH(test_what_is_no_file_is_none),
		EACH(test_it_has_so_many_members_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
