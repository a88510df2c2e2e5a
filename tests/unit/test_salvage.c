/* test_salvage.c - facts about what is kept of a snapshot file that a crash left. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/sample.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct room {
	char path[40];
	int dirfd;
};

static struct room make_room(void)
{
	struct room room = {.path = "/tmp/test_salvage.XXXXXX"};

	assert_non_null(mkdtemp(room.path));
	room.dirfd = open(room.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(room.dirfd >= 0);
	return room;
}

static void put_file(const struct room *room, const char *name, const void *bytes, size_t length)
{
	int fd = openat(room->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

static void remove_room(struct room *room)
{
	unlinkat(room->dirfd, "from", 0);
	unlinkat(room->dirfd, "to", 0);
	close(room->dirfd);
	assert_int_equal(rmdir(room->path), 0);
}

static void salvage_keeps_every_whole_frame(void **state)
{
	struct room room = make_room();
	int fd = sample_file(3);
	struct sample_blob zipped = sample_contents(fd), plain = sample_unzipped(fd);
	struct sample_tally tally;

	(void)state;
	for (size_t cut = 0; cut <= zipped.length; cut += cut + 8 < zipped.length ? 7 : 1) {
		uint64_t frames = 99;
		put_file(&room, "from", zipped.bytes, cut);
		sample_read(zipped.bytes, cut, &tally);
		int status = snapfile_salvage(room.dirfd, "from", "to", &frames, NULL);
		if (status != 0) {
			assert_int_equal(status, ERROR_DAMAGED);
			assert_int_equal(tally.frames, 0);
			assert_int_equal(frames, 99);
			assert_int_equal(faccessat(room.dirfd, "to", F_OK, 0), -1);
			continue;
		}
		assert_int_equal(frames, tally.frames);
		int to = openat(room.dirfd, "to", O_RDONLY | O_CLOEXEC);
		struct sample_blob again = sample_contents(to), text = sample_unzipped(to);
		assert_true(text.length <= plain.length);
		assert_memory_equal(text.bytes, plain.bytes, text.length);
		assert_int_equal(sample_read(again.bytes, again.length, &tally), 0);
		assert_int_equal(tally.frames, frames);
		struct stat file;
		assert_int_equal(fstat(to, &file), 0);
		assert_int_equal(file.st_mode & 0777, 0600);
		free(again.bytes);
		free(text.bytes);
		close(to);
		unlinkat(room.dirfd, "to", 0);
	}
	assert_int_equal(tally.frames, 3);
	free(zipped.bytes);
	free(plain.bytes);
	close(fd);
	remove_room(&room);
}

static void salvage_needs_a_whole_header(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"pcapwho-snap", ERROR_DAMAGED},
		{SAMPLE_FIRST_LINE "meta\tto", ERROR_DAMAGED},
		{SAMPLE_FIRST_LINE "meta\tkey\t\\q\n", ERROR_DAMAGED},
		{SAMPLE_FIRST_LINE "socket\t+\n", ERROR_DAMAGED},
		{SAMPLE_FIRST_LINE "meta\tkey\tvalue\n", 0},
		{SAMPLE_FIRST_LINE "meta\tkey\tvalue\nfra", 0},
		{SAMPLE_FIRST_LINE "meta\tkey\tvalue\nframe\t1\tkey\tst", 0},
		{SAMPLE_FIRST_LINE "meta\tkey\tvalue\nframe\t1\tkey\tstart\t1\t2\t3\t4\nsocket\t*",
		 0},
	};
	struct room room = make_room();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t frames = 99;
		put_file(&room, "from", cases[i].text, strlen(cases[i].text));
		if (snapfile_salvage(room.dirfd, "from", "to", &frames, NULL) != cases[i].status)
			fail_msg("not %d: %s", cases[i].status, cases[i].text);
		assert_int_equal(frames, cases[i].status == 0 ? 0 : 99);
		unlinkat(room.dirfd, "to", 0);
	}
	remove_room(&room);
}

static void salvage_never_writes_over_a_file(void **state)
{
	struct room room = make_room();
	struct error error = ERROR_NONE;
	uint64_t frames;

	(void)state;
	put_file(&room, "from", SAMPLE_FIRST_LINE, strlen(SAMPLE_FIRST_LINE));
	put_file(&room, "to", "precious", 8);
	assert_int_equal(snapfile_salvage(room.dirfd, "from", "to", &frames, &error), ERROR_SYSTEM);
	assert_int_equal(error.saved_errno, EEXIST);
	int fd = openat(room.dirfd, "to", O_RDONLY | O_CLOEXEC);
	struct sample_blob blob = sample_contents(fd);
	assert_string_equal(blob.bytes, "precious");
	free(blob.bytes);
	close(fd);
	assert_int_equal(snapfile_salvage(room.dirfd, "none", "new", &frames, &error),
			 ERROR_NO_INPUT);
	remove_room(&room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(salvage_keeps_every_whole_frame),
		cmocka_unit_test(salvage_needs_a_whole_header),
		cmocka_unit_test(salvage_never_writes_over_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
