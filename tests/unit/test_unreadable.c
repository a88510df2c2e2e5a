/* test_unreadable.c - facts about files that cannot be read, or not to their ends: they are told,
 * what else there is is loaded, and so are they when they can be read. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/evidence.h"
#include "tests/unit/recorded.h"

/* ---------------------------------------------- files that cannot be read -- */

/* Nobody opens a file of this name; 0: everybody does. */
static struct {
	const char *name;
	int number; /* errno */
} refused;

/* Nobody reads the last byte of these files. */
static ino_t failing[2];
static size_t failing_count;

static void break_off(const char *name)
{
	struct stat info;

	assert_int_equal(fstatat(recorded_directory, name, &info, 0), 0);
	failing[failing_count++] = info.st_ino;
}

static bool is_failing(ino_t inode)
{
	for (size_t i = 0; i < failing_count; i++) {
		if (failing[i] == inode)
			return true;
	}
	return false;
}

/* How much may be read there; negative, with errno. */
static ssize_t readable(int fd, size_t size, off_t at)
{
	struct stat info;

	if (failing_count == 0 || fstat(fd, &info) != 0 || !is_failing(info.st_ino))
		return (ssize_t)size;
	if (at < info.st_size - 1)
		return at + (off_t)size >= info.st_size ? (ssize_t)(info.st_size - 1 - at)
							: (ssize_t)size;
	errno = EIO;
	return -1;
}

/* Both in place of the library's. */
ssize_t pread(int fd, void *bytes, size_t size, off_t at)
{
	static ssize_t (*real)(int, void *, size_t, off_t);
	ssize_t length = readable(fd, size, at);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pread");
	return length < 0 ? -1 : real(fd, bytes, (size_t)length, at);
}

ssize_t read(int fd, void *bytes, size_t size)
{
	static ssize_t (*real)(int, void *, size_t);
	ssize_t length =
		failing_count == 0 ? (ssize_t)size : readable(fd, size, lseek(fd, 0, SEEK_CUR));

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "read");
	return length < 0 ? -1 : real(fd, bytes, (size_t)length);
}

/* In place of the library's. */
int openat(int dirfd, const char *name, int flags, ...)
{
	static int (*real)(int, const char *, int, ...);
	va_list arguments;
	mode_t mode = 0;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "openat");
	if ((flags & O_CREAT) != 0) {
		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	if (refused.number != 0 && strcmp(name, refused.name) == 0) {
		errno = refused.number;
		return -1;
	}
	return real(dirfd, name, flags, mode);
}

/* Before anything is loaded; in the two files of a segment. */
static void what_cannot_be_opened_is_left_and_told(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const char *database, *suffix = i % 2 == 0 ? ".pcap" : ".snap.gz";
		char name[EVIDENCE_NAME_SIZE];

		snprintf(name, sizeof(name), "%s", recorded_name(2, suffix));
		refused.name = name;
		refused.number = i < 2 ? EACCES : EIO;
		database = recorded_load(NULL, 1 + i % 2);
		assert_int_equal(loading_result.damaged, 1);
		assert_int_equal(recorded_told, 1);
		assert_int_equal(recorded_remark.code, ERROR_SYSTEM);
		assert_non_null(strstr(recorded_remark.path, name));
		assert_non_null(strchr(recorded_remark.path, '/'));
		assert_non_null(strstr(recorded_remark.message, strerror(refused.number)));
		assert_non_null(strstr(recorded_remark.message, "analyze it again"));
		answers(database, RECORDED_ROWS, "1|0|1|2\n3|0|1|2\n");
		answers(database, "SELECT kind, subject FROM coverage WHERE kind = 'missing'",
			"missing|segments 2 to 2\n");
	}
}

static void and_loaded_when_it_can_be(void **state)
{
	char name[EVIDENCE_NAME_SIZE];
	const char *database;

	(void)state;
	snprintf(name, sizeof(name), "%s", recorded_name(2, ".pcap"));
	refused.name = name;
	refused.number = EACCES;
	database = recorded_load(NULL, 1);
	assert_int_equal(recorded_add(NULL, 1, NULL), 0);
	assert_int_equal(loading_result.damaged, 1);
	assert_true(loading_result.nothing_new);
	refused.number = 0;
	assert_int_equal(recorded_add(NULL, 1, NULL), 0);
	assert_int_equal(loading_result.segments, 1);
	assert_int_equal(loading_result.damaged, 1);
	assert_non_null(strstr(recorded_remark.message, "later segments of its recording"));
	answers(database, RECORDED_ROWS " ORDER BY number", "1|0|1|2\n2|0|1|2\n3|0|1|2\n");
	answers(database, "SELECT kind FROM coverage WHERE kind = 'late'", "late\n");
	answers(database, "SELECT sum(difference <> 0) FROM accounting", "0\n");
}

/* No file is at fault. */
static void what_the_machine_lacks_ends_the_load(void **state)
{
	static const int numbers[] = {EMFILE, ENFILE, ENOMEM};
	char name[EVIDENCE_NAME_SIZE];

	(void)state;
	snprintf(name, sizeof(name), "%s", recorded_name(2, ".pcap"));
	refused.name = name;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct error error = ERROR_NONE;

		refused.number = numbers[i];
		assert_true(recorded_try(NULL, 2, &error) < 0);
		assert_non_null(strstr(error.path, name));
		assert_int_equal(recorded_told, 0);
	}
}

static void without_the_second(const char *database)
{
	answers(database, RECORDED_ROWS, "1|0|1|2\n3|0|1|2\n");
	answers(database, "SELECT kind, subject FROM coverage WHERE kind IN ('missing', 'damaged')",
		"missing|segments 2 to 2\n");
}

/* Its log vouches for it, so that this is found when packets of it are merged already. */
static void what_cannot_be_read_to_its_end_is_left_whole(void **state)
{
	char name[EVIDENCE_NAME_SIZE], opened[300];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const char *database;

		if (i == 2)
			recorded_pack(2);
		snprintf(name, sizeof(name), "%s", recorded_name(2, i < 2 ? ".pcap" : ".pcap.gz"));
		refused.name = name;
		refused.number = EIO;
		database = recorded_load(NULL, 1);
		snprintf(opened, sizeof(opened), "%s", loading_path("opened.db"));
		assert_int_equal(rename(database, opened), 0);
		refused.number = 0;
		break_off(name);
		database = recorded_load(NULL, 1 + i % 2 * 2);
		assert_int_equal(loading_result.damaged, 1);
		assert_int_equal(loading_result.segments, 2);
		assert_int_equal(loading_result.packets, 4);
		assert_int_equal(recorded_told, 1);
		assert_non_null(strstr(recorded_remark.path, name));
		assert_non_null(strstr(recorded_remark.message, strerror(EIO)));
		without_the_second(database);
		same_bytes(database, opened);
		failing_count = 0;
	}
}

/* What was told before counts, and is told, once. */
static void what_else_is_wrong_is_told_once(void **state)
{
	(void)state;
	recorded_take_away(1, ".snap.gz");
	break_off(recorded_name(2, ".pcap"));
	answers(recorded_load(NULL, 2), RECORDED_ROWS, "1|0|0|2\n3|0|1|2\n");
	assert_int_equal(loading_result.damaged, 2);
	assert_int_equal(recorded_told, 2);
	break_off(recorded_name(3, ".pcap"));
	answers(recorded_load(NULL, 2), RECORDED_ROWS, "1|0|0|2\n");
	assert_int_equal(loading_result.damaged, 3);
	assert_int_equal(recorded_told, 3);
}

/* What an existing database got before is not loaded again. */
static void an_existing_database_goes_on_from_where_it_is(void **state)
{
	(void)state;
	for (unsigned bad = 2; bad <= RECORDED_SEGMENTS; bad++) {
		char names[2][EVIDENCE_NAME_SIZE];

		snprintf(names[0], sizeof(names[0]), "%s", recorded_name(2, ".pcap"));
		snprintf(names[1], sizeof(names[1]), "%s", recorded_name(3, ".pcap"));
		assert_int_equal(
			renameat(recorded_directory, names[0], recorded_directory, "second"), 0);
		assert_int_equal(
			renameat(recorded_directory, names[1], recorded_directory, "third"), 0);
		assert_int_equal(unlinkat(recorded_directory, recorded_name(2, ".snap.gz"), 0), 0);
		assert_int_equal(unlinkat(recorded_directory, recorded_name(3, ".snap.gz"), 0), 0);
		assert_int_equal(unlinkat(recorded_directory, CUSTODY_LOG, 0), 0);
		answers(recorded_load(NULL, 2), RECORDED_ROWS, "1|0|1|2\n");
		assert_int_equal(
			renameat(recorded_directory, "second", recorded_directory, names[0]), 0);
		assert_int_equal(
			renameat(recorded_directory, "third", recorded_directory, names[1]), 0);
		recorded_note("close", 2, ".pcap");
		recorded_note("close", 3, ".pcap");
		break_off(names[bad - 2]);
		assert_int_equal(recorded_add(NULL, 2, NULL), 0);
		assert_int_equal(loading_result.segments, 1);
		assert_int_equal(loading_result.skipped, 1);
		assert_int_equal(loading_result.packets, 2);
		assert_int_equal(loading_result.damaged, 1);
		assert_int_equal(recorded_told, 1);
		answers(loading_path("out.db"), RECORDED_ROWS " ORDER BY number",
			bad == 2 ? "1|0|1|2\n3|0|0|2\n" : "1|0|1|2\n2|0|0|2\n");
		failing_count = 0;
		assert_int_equal(recorded_add(NULL, 2, NULL), 0);
		assert_int_equal(loading_result.segments, 1);
		answers(loading_path("out.db"), RECORDED_ROWS " ORDER BY number",
			"1|0|1|2\n2|0|0|2\n3|0|0|2\n");
		answers(loading_path("out.db"), "SELECT sum(difference <> 0) FROM accounting",
			"0\n");
		recorded_end(state);
		recorded_begin(state);
	}
}

static void a_copy_that_can_be_read_counts(void **state)
{
	char name[EVIDENCE_NAME_SIZE + sizeof("../copy/")];

	(void)state;
	loading_directory("copy");
	snprintf(name, sizeof(name), "../copy/%s", recorded_name(2, ".pcap"));
	recorded_copy(2, name, true);
	snprintf(name, sizeof(name), "../copy/%s", recorded_name(2, ".snap.gz"));
	assert_int_equal(linkat(recorded_directory, recorded_name(2, ".snap.gz"),
				recorded_directory, name, 0),
			 0);
	break_off(recorded_name(2, ".pcap"));
	answers(recorded_load(NULL, 2), RECORDED_ROWS " ORDER BY number",
		"1|0|1|2\n2|0|1|2\n3|0|1|2\n");
	/* It comes late, in its directory. */
	assert_int_equal(loading_result.damaged, 2);
	assert_int_equal(recorded_told, 2);
	answers(loading_path("out.db"),
		"SELECT kind FROM coverage WHERE kind IN ('late', 'damaged')", "late\n");
}

static void nothing_to_read_is_no_result(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	for (unsigned number = 1; number <= RECORDED_SEGMENTS; number += 2) {
		recorded_take_away(number, ".pcap");
		recorded_take_away(number, ".snap.gz");
	}
	assert_int_equal(unlinkat(recorded_directory, CUSTODY_LOG, 0), 0);
	recorded_note("close", 2, ".pcap");
	break_off(recorded_name(2, ".pcap"));
	assert_int_equal(recorded_try(NULL, 2, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.message, "analyze it again"));
	assert_int_equal(recorded_told, 0);
	assert_int_equal(access(loading_path("out.db"), F_OK), -1);
}

/* Who hashes it and who reads it come to it at the same time. */
static void nor_is_a_capture_that_is_alone(void **state)
{
	struct error error = ERROR_NONE;
	char capture[300], database[300];
	char *paths[] = {capture};
	struct load_options options = {
		.database = database, .workers = 2, .limits = flow_default_limits};

	(void)state;
	snprintf(capture, sizeof(capture), "%s", loading_path("alone.pcap"));
	snprintf(database, sizeof(database), "%s", loading_path("alone.db"));
	recorded_copy(1, "../alone.pcap", true);
	break_off("../alone.pcap");
	assert_int_equal(load_run(paths, 1, &options, &loading_result, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.path, "alone.pcap"));
	assert_non_null(strstr(error.message, "analyze it again"));
	assert_int_equal(access(database, F_OK), -1);
}

static int begin(void **state)
{
	refused.number = 0;
	failing_count = 0;
	return recorded_begin(state);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, begin, recorded_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_DIRECTORY(what_cannot_be_opened_is_left_and_told),
		IN_A_DIRECTORY(and_loaded_when_it_can_be),
		IN_A_DIRECTORY(what_the_machine_lacks_ends_the_load),
		IN_A_DIRECTORY(what_cannot_be_read_to_its_end_is_left_whole),
		IN_A_DIRECTORY(what_else_is_wrong_is_told_once),
		IN_A_DIRECTORY(an_existing_database_goes_on_from_where_it_is),
		IN_A_DIRECTORY(a_copy_that_can_be_read_counts),
		IN_A_DIRECTORY(nothing_to_read_is_no_result),
		IN_A_DIRECTORY(nor_is_a_capture_that_is_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
