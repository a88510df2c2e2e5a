/* test_snapfile_damage.c - facts about what is read of snapshot files that are damaged. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "snapshot/format/quantity.h"
#include "tests/unit/sample.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void cut_anywhere_it_gives_its_whole_frames(void **state)
{
	int fd = sample_file(3);
	struct sample_blob zipped = sample_contents(fd), plain = sample_unzipped(fd);
	uint64_t borders[3];
	struct sample_tally tally;
	int found = 0;

	(void)state;
	for (const char *at = plain.bytes; (at = strstr(at, "\nend\t")) != NULL;) {
		at = strchr(at + 1, '\n');
		borders[found++] = (uint64_t)(at + 1 - plain.bytes);
	}
	assert_int_equal(found, 3);
	uint64_t header = (uint64_t)(strstr(plain.bytes, "frame\t") - plain.bytes);
	for (size_t length = 0; length <= plain.length; length++) {
		int status = sample_read(plain.bytes, length, &tally);
		int whole = 0;
		while (whole < 3 && borders[whole] <= length)
			whole++;
		assert_int_equal(tally.frames, whole);
		assert_int_equal(tally.ends, whole);
		/* A header may end behind any of its lines; a frame only at its end. */
		bool clean = whole > 0 ? borders[whole - 1] == length
				       : length > 0 && length <= header &&
						 plain.bytes[length - 1] == '\n';
		assert_int_equal(status, clean ? 0 : ERROR_DAMAGED);
	}
	int most = 0;
	for (size_t length = 0; length < zipped.length; length++) {
		assert_int_equal(sample_read(zipped.bytes, length, &tally), ERROR_DAMAGED);
		assert_true(tally.frames >= most);
		most = tally.frames;
	}
	/* The flush behind the last frame comes before the gzip trailer. */
	assert_int_equal(most, 3);
	assert_int_equal(sample_read(zipped.bytes, zipped.length, &tally), 0);
	assert_int_equal(tally.frames, 3);
	free(zipped.bytes);
	free(plain.bytes);
	close(fd);
}

/* What a frame's CRC covers is delivered as it was written or not at all. */
static void a_flipped_byte_costs_its_frame(void **state)
{
	static const uint8_t flips[] = {0x01, 0x80, 0x20, 0xff};
	int fd = sample_file(2);
	struct sample_blob zipped = sample_contents(fd), plain = sample_unzipped(fd);
	struct sample_tally tally;
	size_t first = (size_t)(strstr(plain.bytes, "frame\t") - plain.bytes);
	size_t end = (size_t)(strstr(plain.bytes, "\nend\t") - plain.bytes);

	(void)state;
	for (size_t i = 0; i < plain.length; i++) {
		for (size_t k = 0; k < COUNT(flips); k++) {
			plain.bytes[i] = (char)((uint8_t)plain.bytes[i] ^ flips[k]);
			int status = sample_read(plain.bytes, plain.length, &tally);
			if (i >= first && i <= end) {
				assert_int_equal(status, ERROR_DAMAGED);
				assert_int_equal(tally.frames, 0);
			}
			plain.bytes[i] = (char)((uint8_t)plain.bytes[i] ^ flips[k]);
		}
	}
	for (size_t i = 0; i < zipped.length; i++) {
		for (size_t k = 0; k < COUNT(flips); k++) {
			zipped.bytes[i] = (char)((uint8_t)zipped.bytes[i] ^ flips[k]);
			sample_read(zipped.bytes, zipped.length, &tally);
			zipped.bytes[i] = (char)((uint8_t)zipped.bytes[i] ^ flips[k]);
		}
	}
	free(zipped.bytes);
	free(plain.bytes);
	close(fd);
}

static void a_damaged_field_is_refused_with_its_whole_frame(void **state)
{
#define SOCKET "socket\t+\t1\t"
	static const char *const bad[] = {
		SOCKET "tcp\t1.2.3.4\t65536\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t256\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t4294967296\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t18446744073709551616\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t99999999999999999999\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t100000000000000000000\t0\n",
		SOCKET "tcp\t1.2.3.4\t01\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t+1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t-1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t\\N\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp7\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\n",
		"socket\n",
		"socket\t\n",
		"socket\t+\n",
		"socket\t*\t1\ttcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		"socket\t++\t1\ttcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		"process\t+\t1\t2\t1\t0\ta\\\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\\q\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\\x0\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\\x00\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t2147483648\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t-0\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t\\N\t9223372036854775808\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t\\N\n",
		"address\t+\t1\t1\t10.0.0.1\t33\n",
		"address\t+\t1\t1\t::1\t129\n",
		"address\t+\t1\t1\t::1%lo\t128\n",
		"netns\t+\t1\t0\t2\n",
		"clock\t+\t1\t1\n",
		"clock\t!\t-9223372036854775809\t1\n",
		"clock\t!\t--1\t1\n",
		"capture\t~\t1\t2\t3\t4\t5\n",
		"absent\t+\t\\N\t0\t0\t\tENOENT\n",
		"meta\tlate\tline\n",
		"frame\t2\tpoll\tinterval\t1\t2\t3\t4\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		char *good = sample_framed(1, "netns\t+\t1\t0\t1\n"),
		     *body = sample_framed(2, bad[i]);
		char *text = sample_joined(SAMPLE_FIRST_LINE, good, body);
		struct sample_tally tally;

		if (sample_read_text(text, &tally) != ERROR_DAMAGED || tally.frames != 1)
			fail_msg("accepted: %s", bad[i]);
		assert_true(tally.error.offset_bytes >=
			    (int64_t)(strlen(SAMPLE_FIRST_LINE) + strlen(good)));
		free(good);
		free(body);
		free(text);
	}
}

/* A file with one empty frame of these times. */
static int read_times(int64_t begin_ns, int64_t end_ns, int64_t monotonic_ns, int64_t boot_ns,
		      struct sample_tally *tally)
{
	struct snapframe frame;
	struct snapfile_writer *writer;
	int fd = memfd_create("x", MFD_CLOEXEC), status;
	struct sample_blob blob;

	snapframe_init(&frame, SNAP_KEY, "start");
	frame.head = (struct snap_frame){1,	 SNAP_KEY,     "start", begin_ns,
					 end_ns, monotonic_ns, boot_ns, 0};
	assert_int_equal(snapfile_writer_open(dup(fd), "x", &writer, NULL), 0);
	assert_int_equal(snapfile_writer_frame(writer, &frame, NULL), 0);
	assert_int_equal(snapfile_writer_close(writer, NULL), 0);
	blob = sample_contents(fd);
	status = sample_read(blob.bytes, blob.length, tally);
	free(blob.bytes);
	close(fd);
	snapframe_release(&frame);
	return status;
}

static void times_are_of_this_era(void **state)
{
	const int64_t last = QUANTITY_MAX_TIME_NS;
	struct sample_tally tally;

	(void)state;
	assert_int_equal(read_times(0, 0, 0, 0, &tally), 0);
	assert_int_equal(read_times(last, last, last, last, &tally), 0);
	assert_int_equal(read_times(-1, 0, 0, 0, &tally), ERROR_DAMAGED);
	assert_non_null(strstr(tally.error.message, "a time of this era"));
	assert_int_equal(read_times(0, last + 1, 0, 0, &tally), ERROR_DAMAGED);
	assert_int_equal(read_times(0, 0, INT64_MIN, 0, &tally), ERROR_DAMAGED);
	assert_int_equal(read_times(0, 0, 0, INT64_MAX, &tally), ERROR_DAMAGED);
	/* The writer's clock was set back in between; no reader meets such a frame. */
	assert_int_equal(read_times(5, 4, 0, 0, &tally), 0);
	assert_int_equal(sample_read_text(SAMPLE_FIRST_LINE
					  "frame\t1\tkey\tstart\t5\t4\t0\t0\nend\t1\t0\t6653dc08\n",
					  &tally),
			 ERROR_DAMAGED);
	assert_non_null(strstr(tally.error.message, "not before begin_ns"));
}

static void the_extremes_of_fields_are_fine(void **state)
{
	static const char *const good[] = {
		SOCKET "tcp\t1.2.3.4\t65535\t0.0.0.0\t0\t255\t4294967295\t4294967295\t"
		       "18446744073709551615\t4294967295\n",
		SOCKET "udp6\t::\t0\t::ffff:255.255.255.255\t0\t\\N\t\\N\t0\t\\N\t\\N\n",
		"process\t-\t1\t2\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t-2147483648\t0\n",
		"process\t+\t1\t2\t1\t0\t\t\t\t\t1\t0\t0\n",
		"process\t+\t1\t2\t1\t0\t\\\\N\tb\tc\td\t1\t0\t4611686018427387903\n",
		"address\t+\t1\t1\t0.0.0.0\t0\n",
		"absent\t!\tevent\t0\t0\t\t\\N\n",
		"netns\t+\t1\t0\t1\ta later version's field\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		char *body = sample_framed(1, good[i]),
		     *text = sample_joined(SAMPLE_FIRST_LINE, body, "");
		struct sample_tally tally;

		if (sample_read_text(text, &tally) != 0 || tally.records != 1)
			fail_msg("refused: %s%s", good[i], tally.error.message);
		free(body);
		free(text);
	}
}

static void kinds_of_later_versions_are_counted(void **state)
{
	char *body = sample_framed(1, "tunnel\t+\tx\nnetns\t+\t1\t0\t1\nsockets\n\n");
	char *text = sample_joined(SAMPLE_FIRST_LINE "notice\tx\nmeta\tkey\tvalue\n", body,
				   "between\tframes\n");
	struct snapfile_reader *reader;
	struct snap_record record;
	int records = 0, status;

	(void)state;
	assert_int_equal(snapfile_open_memory(text, strlen(text), "m", &reader, NULL), 0);
	while ((status = snapfile_next(reader, &record, NULL)) > 0) {
		assert_int_not_equal(record.type, SNAP_TYPE_OTHER);
		records++;
		if (record.type == SNAP_TYPE_NETNS)
			assert_int_equal(record.line, 6);
	}
	assert_int_equal(status, 0);
	assert_int_equal(records, 4);
	assert_int_equal(snapfile_unknown_records(reader), 5);
	snapfile_close(reader);
	free(body);
	free(text);
}

static void a_frame_must_close_as_it_opened(void **state)
{
	static const char *const bad[] = {
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t1\t00000000\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t2\t0\t00000000\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t0\t00000000\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t0\t0000000\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t0\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\t4\n",
		SAMPLE_FIRST_LINE "frame\t1\tfull\tstart\t1\t2\t3\t4\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\t\\N\t1\t2\t3\t4\n",
		SAMPLE_FIRST_LINE "frame\t1\tkey\tstart\t1\t2\t3\n",
		SAMPLE_FIRST_LINE "frame\n",
		SAMPLE_FIRST_LINE "end\t1\t0\t00000000\n",
		SAMPLE_FIRST_LINE "socket\t+\n",
		SAMPLE_FIRST_LINE "meta\n",
		SAMPLE_FIRST_LINE "meta\tkey\n",
		SAMPLE_FIRST_LINE "meta\tkey\t\\z\n",
	};
	struct sample_tally tally;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (sample_read_text(bad[i], &tally) != ERROR_DAMAGED ||
		    tally.frames + tally.metas != 0)
			fail_msg("accepted: %s", bad[i]);
	}
	char *body = sample_framed(1, "");
	char *text = sample_joined(SAMPLE_FIRST_LINE, body, "");
	assert_int_equal(sample_read_text(text, &tally), 0);
	/* The CRC does not cover the closing line: its numbers count by themselves. */
	char *end = strstr(text, "end\t1\t0\t");
	end[4] = '2';
	assert_int_equal(sample_read_text(text, &tally), ERROR_DAMAGED);
	end[4] = '1';
	end[6] = '1';
	assert_int_equal(sample_read_text(text, &tally), ERROR_DAMAGED);
	end[6] = '0';
	assert_int_equal(sample_read_text(text, &tally), 0);
	char *late = sample_joined(SAMPLE_FIRST_LINE, body, "meta\tkey\tvalue\n");
	assert_int_equal(sample_read_text(late, &tally), ERROR_DAMAGED);
	assert_int_equal(tally.frames, 1);
	free(body);
	free(text);
	free(late);
}

static void only_our_files_of_our_version_open(void **state)
{
	static const char *const bad[] = {
		"",
		"\x1f",
		"\x1f\x8b",
		"p",
		"pcapwho-snapshot",
		"pcapwho-snapshot\t",
		"pcapwho-snapshot\t1",
		"pcapwho-snapshot\t\n",
		"pcapwho-snapshot\t2\n",
		"pcapwho-snapshot\t10\n",
		"pcapwho-snapshot\t01\n",
		"pcapwho-snapshot 1\n",
		"\nframe\t1\n",
		"SQLite format 3\0 and so on, which has no line at all",
	};
	struct snapfile_reader *reader;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		error.code = 0;
		if (snapfile_open_memory(bad[i], strlen(bad[i]), "m", &reader, &error) !=
			    ERROR_DAMAGED ||
		    error.code != ERROR_DAMAGED)
			fail_msg("opened: %s", bad[i]);
	}
	assert_int_equal(snapfile_open_memory("pcapwho-snapshot\t2\n", 19, "m", &reader, &error),
			 ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "wanted snapshot version 1, found version \"2\""));
	assert_int_equal(snapfile_open(AT_FDCWD, "/nonexistent/x", &reader, &error),
			 ERROR_NO_INPUT);
	assert_int_equal(snapfile_open(AT_FDCWD, "/", &reader, &error), ERROR_DAMAGED);
	assert_int_equal(snapfile_open(AT_FDCWD, "/dev/null", &reader, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "regular file"));
	struct sample_tally tally;
	assert_int_equal(sample_read_text(SAMPLE_FIRST_LINE, &tally), 0);
	assert_int_equal(sample_read_text("pcapwho-snapshot\t1\tmore\nmeta\ta\tb\n", &tally), 0);
	assert_int_equal(tally.metas, 1);
}

static void a_line_without_an_end_is_not_read_forever(void **state)
{
	size_t length = 40u << 20;
	char *text = malloc(length);
	struct sample_tally tally;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', length);
	memcpy(text, SAMPLE_FIRST_LINE, strlen(SAMPLE_FIRST_LINE));
	assert_int_equal(sample_read(text, length, &tally), ERROR_DAMAGED);
	assert_non_null(strstr(tally.error.message, "16 MiB"));
	free(text);
}

static void gzip_members_may_follow_each_other_but_nothing_else(void **state)
{
	int fd = sample_file(0);
	struct sample_blob blob = sample_contents(fd);
	struct sample_tally tally;
	char *twice = malloc(blob.length * 2);

	(void)state;
	assert_non_null(twice);
	memcpy(twice, blob.bytes, blob.length);
	memcpy(twice + blob.length, blob.bytes, blob.length);
	/* The second one's first line is a line of unknown kind. */
	assert_int_equal(sample_read(twice, blob.length * 2, &tally), 0);
	assert_int_equal(tally.metas, 6);
	twice[blob.length] = 'x';
	assert_int_equal(sample_read(twice, blob.length + 1, &tally), ERROR_DAMAGED);
	assert_int_equal(tally.metas, 3);
	free(twice);
	free(blob.bytes);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_anywhere_it_gives_its_whole_frames),
		cmocka_unit_test(a_flipped_byte_costs_its_frame),
		cmocka_unit_test(a_damaged_field_is_refused_with_its_whole_frame),
		cmocka_unit_test(times_are_of_this_era),
		cmocka_unit_test(the_extremes_of_fields_are_fine),
		cmocka_unit_test(kinds_of_later_versions_are_counted),
		cmocka_unit_test(a_frame_must_close_as_it_opened),
		cmocka_unit_test(only_our_files_of_our_version_open),
		cmocka_unit_test(a_line_without_an_end_is_not_read_forever),
		cmocka_unit_test(gzip_members_may_follow_each_other_but_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
