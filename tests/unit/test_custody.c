#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/format/custody.h"

#define OPENED	     INT64_C(1795293000123456789) /* 2026-11-21T20:30:00.123456789Z */
#define HELLO_SHA256 "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
/* Made with Python's hashlib from FORMAT.md's words. */
#define CHAIN_1 "4f5dbc59240896a993d187f6702b53b0b081deec353f7e3fcaa8d70252615113"
#define CHAIN_2 "5c4b474a5f5ed674fe05211ec686d622d0e7a8ba2acbfb7f5f1f942cb27912b2"
#define LINE_1                                                                                     \
	"1\t2026-11-21T20:30:00.123456789Z\tstart\t\\N\t\\N\t\\N\tpcapwho-record -o "              \
	"evidence\t" CHAIN_1 "\n"
#define LINE_2                                                                                     \
	"2\t2026-11-21T20:31:00.000000000Z\tclose\ta.pcap\t5\t" HELLO_SHA256                       \
	"\ttab\\tand\\nline\t" CHAIN_2 "\n"

static const struct custody_entry entry_1 = {
	0, OPENED, "start", NULL, -1, NULL, "pcapwho-record -o evidence"};
static const struct custody_entry entry_2 = {
	0, INT64_C(1795293060000000000), "close", "a.pcap", 5, HELLO_SHA256, "tab\tand\nline"};

struct room {
	char path[40];
	int dirfd;
};

static int make_room(void **state)
{
	struct room *room = calloc(1, sizeof(*room));

	if (!room)
		return -1;
	memcpy(room->path, "/tmp/test_custody.XXXXXX", 25);
	if (!mkdtemp(room->path))
		return -1;
	room->dirfd = open(room->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = room;
	return room->dirfd < 0 ? -1 : 0;
}

static int remove_room(void **state)
{
	struct room *room = *state;
	int status;

	unlinkat(room->dirfd, CUSTODY_LOG, 0);
	unlinkat(room->dirfd, "file", 0);
	close(room->dirfd);
	status = rmdir(room->path);
	free(room);
	return status;
}

static void put_log(const struct room *room, const char *text, size_t length)
{
	int fd = openat(room->dirfd, CUSTODY_LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	close(fd);
}

static void expect_log(const struct room *room, const char *wanted)
{
	char text[4096];
	int fd = openat(room->dirfd, CUSTODY_LOG, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	ssize_t length = read(fd, text, sizeof(text) - 1);
	assert_true(length >= 0);
	text[length] = '\0';
	close(fd);
	assert_string_equal(text, wanted);
}

static struct custody *opened(const struct room *room, uint64_t wanted_repaired,
			      uint64_t wanted_broken)
{
	struct custody *custody;
	uint64_t repaired, broken;
	struct error error = ERROR_NONE;

	if (custody_open(room->dirfd, room->path, &custody, &repaired, &broken, &error) != 0)
		fail_msg("%s", error.message);
	assert_int_equal(repaired, wanted_repaired);
	assert_int_equal(broken, wanted_broken);
	return custody;
}

static int verified(const struct room *room, struct error *error)
{
	char chain[CUSTODY_HEX_SIZE];

	return custody_verify(room->dirfd, room->path, NULL, NULL, chain, error);
}

static void count(const struct custody_entry *entry, void *context)
{
	(void)entry;
	++*(int *)context;
}

static void lines_are_as_documented(void **state)
{
	struct room *room = *state;
	struct custody *custody = opened(room, 0, 0);
	struct stat status;

	assert_int_equal(custody_append(custody, &entry_1, NULL), 0);
	expect_log(room, LINE_1);
	assert_int_equal(custody_append(custody, &entry_2, NULL), 0);
	expect_log(room, LINE_1 LINE_2);
	custody_close(custody);
	assert_int_equal(fstatat(room->dirfd, CUSTODY_LOG, &status, 0), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	custody_close(NULL);
}

static void a_log_is_continued(void **state)
{
	struct room *room = *state;
	struct custody *custody;

	put_log(room, LINE_1, strlen(LINE_1));
	custody = opened(room, 0, 0);
	assert_int_equal(custody_append(custody, &entry_2, NULL), 0);
	custody_close(custody);
	expect_log(room, LINE_1 LINE_2);
}

static void see(const struct custody_entry *entry, void *context)
{
	uint64_t *seen = context;

	++*seen;
	assert_int_equal(entry->sequence, *seen);
	const struct custody_entry *wanted = *seen == 1 ? &entry_1 : &entry_2;
	assert_int_equal(entry->time_ns, wanted->time_ns);
	assert_string_equal(entry->event, wanted->event);
	assert_int_equal(entry->bytes, wanted->bytes);
	assert_string_equal(entry->detail, wanted->detail);
	if (*seen == 1) {
		assert_null(entry->file);
		assert_null(entry->sha256);
	} else {
		assert_string_equal(entry->file, "a.pcap");
		assert_string_equal(entry->sha256, HELLO_SHA256);
	}
}

static void verify_gives_every_line_and_the_last_chain(void **state)
{
	struct room *room = *state;
	char chain[CUSTODY_HEX_SIZE];
	uint64_t seen = 0;

	put_log(room, LINE_1 LINE_2, strlen(LINE_1 LINE_2));
	assert_int_equal(custody_verify(room->dirfd, room->path, see, &seen, chain, NULL), 0);
	assert_int_equal(seen, 2);
	assert_string_equal(chain, CHAIN_2);
	put_log(room, "", 0);
	assert_int_equal(custody_verify(room->dirfd, room->path, see, &seen, chain, NULL), 0);
	assert_int_equal(seen, 2);
	assert_int_equal(strspn(chain, "0"), 64);
}

static void no_log_is_no_input(void **state)
{
	struct room *room = *state;
	struct error error = ERROR_NONE;

	assert_int_equal(verified(room, &error), ERROR_NO_INPUT);
	assert_memory_equal(error.path, room->path, strlen(room->path));
	assert_string_equal(error.path + strlen(room->path), "/custody.log");
}

/* Whatever byte is changed, verify sees it. */
static void no_byte_can_be_changed(void **state)
{
	static const uint8_t flips[] = {0x01, 0x20, 0x80};
	struct room *room = *state;
	char log[] = LINE_1 LINE_2;
	struct error error;

	for (size_t i = 0; i < strlen(log); i++) {
		for (size_t k = 0; k < sizeof(flips); k++) {
			char kept = log[i];
			log[i] = (char)((uint8_t)kept ^ flips[k]);
			put_log(room, log, sizeof(log) - 1);
			if (verified(room, &error) != ERROR_DAMAGED)
				fail_msg("unseen: byte %zu flipped by %02x", i, flips[k]);
			log[i] = kept;
		}
	}
	put_log(room, log, sizeof(log) - 1);
	assert_int_equal(verified(room, &error), 0);
}

static void no_line_can_be_removed_doubled_or_swapped(void **state)
{
	static const char *const bad[] = {
		LINE_2, LINE_2 LINE_1, LINE_1 LINE_1,	  LINE_1 LINE_2 LINE_2, LINE_1 "\n" LINE_2,
		"\n",	"1\n",	       LINE_1 LINE_2 "x",
	};
	struct room *room = *state;
	struct error error;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_log(room, bad[i], strlen(bad[i]));
		if (verified(room, &error) != ERROR_DAMAGED)
			fail_msg("unseen: %s", bad[i]);
	}
	/* Chained as it should be, but not the first. */
	static const char gap[] =
		"2\t2026-11-21T20:30:00.123456789Z\tstart\t\\N\t\\N\t\\N\tx\t"
		"0fa6b4bbf8cae367c8408ae736bde91b8e89253dabae8dfe6a03bf91b71c6917\n";
	put_log(room, gap, sizeof(gap) - 1);
	assert_int_equal(verified(room, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "sequence"));
	put_log(room, LINE_1 LINE_1, strlen(LINE_1 LINE_1));
	assert_int_equal(verified(room, &error), ERROR_DAMAGED);
	assert_int_equal(error.offset_bytes, strlen(LINE_1));
	assert_non_null(strstr(error.message, "line 2"));
}

/* A crash leaves part of a line; the log goes on behind the last whole one. */
static void a_torn_last_line_is_cut_off(void **state)
{
	static const char log[] = LINE_1 LINE_2;
	struct room *room = *state;
	size_t first = strlen(LINE_1);
	struct error error;

	for (size_t cut = 0; cut < sizeof(log) - 1; cut++) {
		size_t whole = cut < first ? 0 : first;
		put_log(room, log, cut);
		assert_int_equal(verified(room, &error), cut == whole ? 0 : ERROR_DAMAGED);
		struct custody *custody = opened(room, cut - whole, 0);
		assert_int_equal(custody_append(custody, whole ? &entry_2 : &entry_1, NULL), 0);
		custody_close(custody);
		expect_log(room, whole ? LINE_1 LINE_2 : LINE_1);
	}
}

/* The line that was changed stays as evidence of it. */
static void a_broken_chain_is_left_and_continued(void **state)
{
	char log[] = LINE_1 LINE_2;
	struct room *room = *state;
	struct error error;

	*strstr(log, "evidence") = 'E';
	put_log(room, log, sizeof(log) - 1);
	struct custody *custody = opened(room, 0, 1);
	assert_int_equal(custody_append(custody, &entry_1, NULL), 0);
	custody_close(custody);
	assert_int_equal(verified(room, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "line 1"));

	char text[4096];
	int fd = openat(room->dirfd, CUSTODY_LOG, O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(length > 0);
	text[length] = '\0';
	assert_memory_equal(text, log, sizeof(log) - 1);
	assert_memory_equal(text + sizeof(log) - 1, "3\t", 2);
}

/* Numbers of expired segments stand only there. */
static void lines_behind_a_break_are_still_given(void **state)
{
	char log[] = LINE_1 LINE_2;
	struct room *room = *state;
	int lines = 0;

	*strstr(log, "evidence") = 'E';
	put_log(room, log, sizeof(log) - 1);
	assert_int_equal(custody_verify(room->dirfd, room->path, count, &lines, NULL, NULL),
			 ERROR_DAMAGED);
	assert_int_equal(lines, 2);
}

static void a_second_writer_is_refused(void **state)
{
	struct room *room = *state;
	struct custody *first = opened(room, 0, 0), *second = NULL;
	uint64_t repaired, broken;
	struct error error = ERROR_NONE;

	assert_int_equal(custody_open(room->dirfd, room->path, &second, &repaired, &broken, &error),
			 ERROR_USAGE);
	assert_null(second);
	custody_close(first);
	custody_close(opened(room, 0, 0));
}

static void a_link_in_its_place_is_refused(void **state)
{
	struct room *room = *state;
	struct custody *custody;
	uint64_t repaired, broken;
	struct error error = ERROR_NONE;

	assert_int_equal(symlinkat("file", room->dirfd, CUSTODY_LOG), 0);
	assert_int_equal(
		custody_open(room->dirfd, room->path, &custody, &repaired, &broken, &error),
		ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "a regular file"));
}

/* A file size limit stands in for a full disk: part of the line gets written. */
static void a_failed_append_leaves_no_trace(void **state)
{
	struct room *room = *state;
	struct custody *custody = opened(room, 0, 0);
	struct rlimit kept, limit;
	struct error error = ERROR_NONE;

	assert_int_equal(custody_append(custody, &entry_1, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
	limit = kept;
	limit.rlim_cur = strlen(LINE_1) + 20;
	void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	int status = custody_append(custody, &entry_2, &error);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
	signal(SIGXFSZ, before);
	assert_int_equal(status, ERROR_SYSTEM);
	assert_int_equal(error.saved_errno, EFBIG);
	expect_log(room, LINE_1);
	assert_int_equal(custody_append(custody, &entry_2, NULL), 0);
	expect_log(room, LINE_1 LINE_2);
	custody_close(custody);
}

static void *append_many(void *context)
{
	for (int i = 0; i < 25; i++) {
		if (custody_append(context, &entry_2, NULL) != 0)
			return context;
	}
	return NULL;
}

static void threads_append_one_after_the_other(void **state)
{
	struct room *room = *state;
	struct custody *custody = opened(room, 0, 0);
	pthread_t threads[4];
	int lines = 0;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, append_many, custody), 0);
	for (int i = 0; i < 4; i++) {
		void *failed;
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	custody_close(custody);
	assert_int_equal(custody_verify(room->dirfd, room->path, count, &lines, NULL, NULL), 0);
	assert_int_equal(lines, 100);
}

/* Details may hold what a command line may. */
static void a_long_detail_survives(void **state)
{
	struct room *room = *state;
	struct custody *custody = opened(room, 0, 0);
	struct custody_entry entry = entry_1;
	size_t length = 2u << 20;
	char *detail = malloc(length + 1);
	int lines = 0;

	assert_non_null(detail);
	memset(detail, '\xff', length);
	detail[length] = '\0';
	entry.detail = detail;
	assert_int_equal(custody_append(custody, &entry, NULL), 0);
	custody_close(custody);
	custody_close(opened(room, 0, 0));
	assert_int_equal(custody_verify(room->dirfd, room->path, count, &lines, NULL, NULL), 0);
	assert_int_equal(lines, 1);
	free(detail);
}

static void bytes_are_lower_case_hex(void **state)
{
	static const uint8_t bytes[] = {0x00, 0x09, 0x0a, 0x7f, 0x80, 0xab, 0xff};
	char hex[] = "................";

	(void)state;
	custody_hex(bytes, sizeof(bytes), hex);
	assert_string_equal(hex, "00090a7f80abff");
	assert_int_equal(hex[15], '.'); /* no further than the NUL */
	custody_hex(bytes, 0, hex);
	assert_string_equal(hex, "");
}

static void a_file_has_its_hash_and_size(void **state)
{
	struct room *room = *state;
	char hex[CUSTODY_HEX_SIZE];
	uint64_t bytes;
	struct error error = ERROR_NONE;
	int fd = openat(room->dirfd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(custody_hash_file(room->dirfd, "file", hex, &bytes, &error), 0);
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_int_equal(bytes, 0);
	assert_int_equal(write(fd, "hello", 5), 5);
	close(fd);
	assert_int_equal(custody_hash_file(room->dirfd, "file", hex, &bytes, &error), 0);
	assert_string_equal(hex, HELLO_SHA256);
	assert_int_equal(bytes, 5);
	assert_int_equal(custody_hash_file(room->dirfd, "none", hex, &bytes, &error),
			 ERROR_NO_INPUT);
	assert_int_equal(custody_hash_file(room->dirfd, ".", hex, &bytes, &error), ERROR_DAMAGED);
}

#define IN_A_ROOM(test) cmocka_unit_test_setup_teardown(test, make_room, remove_room)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_ROOM(lines_are_as_documented),
		IN_A_ROOM(a_log_is_continued),
		IN_A_ROOM(verify_gives_every_line_and_the_last_chain),
		IN_A_ROOM(no_log_is_no_input),
		IN_A_ROOM(no_byte_can_be_changed),
		IN_A_ROOM(no_line_can_be_removed_doubled_or_swapped),
		IN_A_ROOM(a_torn_last_line_is_cut_off),
		IN_A_ROOM(a_broken_chain_is_left_and_continued),
		IN_A_ROOM(lines_behind_a_break_are_still_given),
		IN_A_ROOM(a_second_writer_is_refused),
		IN_A_ROOM(a_link_in_its_place_is_refused),
		IN_A_ROOM(a_failed_append_leaves_no_trace),
		IN_A_ROOM(threads_append_one_after_the_other),
		IN_A_ROOM(a_long_detail_survives),
		IN_A_ROOM(a_file_has_its_hash_and_size),
		cmocka_unit_test(bytes_are_lower_case_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
