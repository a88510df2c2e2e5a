/* test_inputs.c - facts about evidence that a recorder at work changes after it was listed: what
 * it compressed is read, what it removed is told, and the rest is loaded. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "analyze/inputs.h"
#include "tests/unit/recorded.h"

/* ---------------------------------------------------------------- loading -- */

#define GONE_ROWS                                                                                  \
	"SELECT kind, substr(subject, 1, 6), substr(subject, 34) FROM coverage "                   \
	"WHERE kind IN ('missing-file', 'expired')"

static void expire(unsigned number, const char *suffix)
{
	recorded_note("expire", number, suffix);
	recorded_take_away(number, suffix);
}

static void compress_two(void)
{
	recorded_pack(1);
	recorded_pack(3);
}

static void what_is_compressed_meanwhile_is_read(void **state)
{
	const char *database;

	(void)state;
	database = recorded_load(compress_two, 2);
	assert_int_equal(loading_result.damaged, 0);
	answers(database, RECORDED_ROWS, "1|1|1|2\n2|0|1|2\n3|1|1|2\n");
	answers(database,
		"SELECT count(DISTINCT content_sha256), sum(content_sha256 = pcap_sha256) FROM "
		"segment",
		"3|1\n");
	answers(database, GONE_ROWS, "");
}

static void and_measured_if_nothing_is_believed(void **state)
{
	const char *database;

	(void)state;
	recorded_verify = true;
	database = recorded_load(compress_two, 1);
	assert_int_equal(loading_result.damaged, 0);
	answers(database, RECORDED_ROWS, "1|1|1|2\n2|0|1|2\n3|1|1|2\n");
	answers(database, "SELECT count(*) FROM coverage WHERE kind = 'altered'", "0\n");
}

static void remove_files(void)
{
	recorded_take_away(1, ".pcap");
	recorded_take_away(3, ".snap.gz");
}

static void what_is_removed_meanwhile_is_missing(void **state)
{
	const char *database;

	(void)state;
	database = recorded_load(remove_files, 2);
	assert_int_equal(loading_result.damaged, 2);
	answers(database, RECORDED_ROWS, "1||1|0\n2|0|1|2\n3|0|0|2\n");
	answers(database, GONE_ROWS, "missing-file|000001|.pcap\nmissing-file|000003|.snap.gz\n");
}

static void expire_capture(void)
{
	recorded_pack(1);
	expire(1, ".pcap.gz");
}

static void what_expires_meanwhile_is_no_failure(void **state)
{
	const char *database;

	(void)state;
	database = recorded_load(expire_capture, 2);
	assert_int_equal(loading_result.damaged, 0);
	answers(database, RECORDED_ROWS, "1||1|0\n2|0|1|2\n3|0|1|2\n");
	answers(database, GONE_ROWS, "expired|000001|.pcap.gz\n");
}

static void expire_first(void)
{
	expire(1, ".pcap");
	expire(1, ".snap.gz");
}

static void remove_last(void)
{
	recorded_take_away(3, ".pcap");
	recorded_take_away(3, ".snap.gz");
}

static void of_whole_segments_there_is_no_row(void **state)
{
	const char *database;

	(void)state;
	database = recorded_load(expire_first, 2);
	assert_int_equal(loading_result.damaged, 0);
	assert_int_equal(loading_result.segments, 2);
	answers(database, RECORDED_ROWS, "2|0|1|2\n3|0|1|2\n");
	database = recorded_load(remove_last, 2);
	assert_int_equal(loading_result.damaged, 1);
	answers(database, RECORDED_ROWS, "2|0|1|2\n");
	/* What goes on from there knows what was before. */
	answers(database, "SELECT count(*) > 0 FROM carry", "1\n");
}

static void remove_all(void)
{
	for (unsigned i = 1; i <= RECORDED_SEGMENTS; i++) {
		recorded_take_away(i, ".pcap");
		recorded_take_away(i, ".snap.gz");
	}
}

static void nothing_is_no_result(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	assert_int_equal(recorded_try(remove_all, 2, &error), ERROR_NO_INPUT);
	assert_int_equal(access(loading_path("out.db"), F_OK), -1);
}

static void remove_first(void)
{
	recorded_take_away(1, ".pcap");
	recorded_take_away(1, ".snap.gz");
}

static void put_fifo(void)
{
	recorded_take_away(2, ".pcap");
	assert_int_equal(mkfifoat(recorded_directory, recorded_name(2, ".pcap"), 0600), 0);
}

static void another_kind_of_file_is_not_waited_for(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	assert_int_equal(recorded_try(put_fifo, 2, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.path, recorded_name(2, ".pcap")));
}

static void put_another(void)
{
	recorded_take_away(2, ".pcap");
	recorded_copy(1, recorded_name(2, ".pcap"), true);
}

static void put_another_snapshot(void)
{
	recorded_take_away(2, ".snap.gz");
	assert_int_equal(linkat(recorded_directory, recorded_name(1, ".snap.gz"),
				recorded_directory, recorded_name(2, ".snap.gz"), 0),
			 0);
}

static void write_into(void)
{
	int fd = openat(recorded_directory, recorded_name(2, ".pcap"), O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "x", 1, 60), 1);
	close(fd);
}

/* What is known of a file is not true of another. */
static void what_is_replaced_meanwhile_is_not_loaded(void **state)
{
	void (*const changes[])(void) = {put_another, put_another_snapshot, write_into};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		/* Two changes within a tick of its clock have one time. */
		static const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
		struct error error = ERROR_NONE;

		assert_int_equal(
			utimensat(recorded_directory, recorded_name(2, ".pcap"), long_ago, 0), 0);
		assert_int_equal(recorded_try(changes[i], 2, &error), ERROR_SYSTEM);
		assert_non_null(strstr(error.path, i == 1 ? recorded_name(2, ".snap.gz")
							  : recorded_name(2, ".pcap")));
		assert_non_null(strstr(error.message, "replaced or changed"));
		assert_int_equal(access(loading_path("out.db"), F_OK), -1);
		recorded_end(state);
		recorded_begin(state);
	}
}

static void touch(void)
{
	recorded_copy(2, "copy", true);
	assert_int_equal(
		renameat(recorded_directory, "copy", recorded_directory, recorded_name(2, ".pcap")),
		0);
	assert_int_equal(fchmodat(recorded_directory, recorded_name(3, ".snap.gz"), 0400, 0), 0);
}

static void of_the_same_content_it_is(void **state)
{
	(void)state;
	answers(recorded_load(touch, 2), RECORDED_ROWS, "1|0|1|2\n2|0|1|2\n3|0|1|2\n");
}

/* Its damaged copy is loaded then. */
static void what_went_stands_for_no_other(void **state)
{
	static uint8_t bytes[1 << 16];
	size_t length = recorded_read(1, bytes, sizeof(bytes));
	int copy, fd;

	(void)state;
	loading_directory("copy");
	copy = open(loading_path("copy"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(linkat(recorded_directory, recorded_name(1, ".snap.gz"), copy,
				recorded_name(1, ".snap.gz"), 0),
			 0);
	fd = openat(copy, recorded_name(1, ".pcap"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, bytes, length - 1), length - 1);
	close(fd);
	close(copy);
	answers(recorded_load(NULL, 1), RECORDED_ROWS, "1|0|1|2\n2|0|1|2\n3|0|1|2\n");
	answers(recorded_load(remove_first, 1), RECORDED_ROWS, "1|0|1|1\n2|0|1|2\n3|0|1|2\n");
	assert_int_equal(loading_result.damaged, 1);
}

/* ------------------------------------------------------------ identifying -- */

static void find(struct inputs *inputs)
{
	char path[300], *const paths[] = {path};

	snprintf(path, sizeof(path), "%s", loading_path("evidence"));
	assert_int_equal(inputs_find(paths, 1, inputs, NULL), 0);
	assert_int_equal(inputs->count, RECORDED_SEGMENTS);
}

static void inputs_follow_what_was_listed(void **state)
{
	char plain[CUSTODY_HEX_SIZE], packed[CUSTODY_HEX_SIZE];
	struct inputs inputs;
	struct input *input;
	uint64_t bytes;

	(void)state;
	find(&inputs);
	assert_int_equal(custody_hash_file(recorded_directory, recorded_name(1, ".pcap"), plain,
					   &bytes, NULL),
			 0);
	recorded_pack(1);
	assert_int_equal(custody_hash_file(recorded_directory, recorded_name(1, ".pcap.gz"), packed,
					   &bytes, NULL),
			 0);
	expire(2, ".pcap");
	remove_last();
	for (size_t i = 0; i < inputs.count; i++)
		assert_int_equal(input_identify(&inputs.items[i], false, NULL, NULL), 0);
	input = &inputs.items[0];
	assert_string_equal(input->pcap, recorded_name(1, ".pcap.gz"));
	assert_string_equal(input->pcap_sha256, packed);
	assert_string_equal(input->content_sha256, plain);
	assert_int_equal(input->pcap_bytes, bytes);
	assert_true(input->pcap_is_believed);
	assert_string_equal(input->missing, "");
	input = &inputs.items[1];
	assert_null(input->pcap);
	assert_non_null(input->snap);
	assert_string_equal(input->missing, recorded_name(2, ".pcap"));
	assert_true(input->missing_expired);
	input = &inputs.items[2];
	assert_true(input->pcap == NULL && input->snap == NULL);
	assert_false(input->missing_expired);
	assert_true(input->missing_went);
	assert_int_equal(inputs_sort(&inputs, NULL), 0);
	assert_int_equal(inputs.count, RECORDED_SEGMENTS);
	inputs_release(&inputs);
}

/* A name that stays a name of nothing is followed once. */
static void without_a_log_too(void **state)
{
	struct inputs inputs;

	(void)state;
	find(&inputs);
	recorded_pack(1);
	recorded_take_away(2, ".pcap");
	assert_int_equal(unlinkat(recorded_directory, CUSTODY_LOG, 0), 0);
	for (size_t i = 0; i < inputs.count; i++)
		assert_int_equal(input_identify(&inputs.items[i], false, NULL, NULL), 0);
	assert_string_equal(inputs.items[0].pcap, recorded_name(1, ".pcap.gz"));
	assert_false(inputs.items[0].pcap_is_believed);
	assert_string_equal(inputs.items[0].content_sha256, "");
	assert_string_equal(inputs.items[1].missing, recorded_name(2, ".pcap"));
	assert_false(inputs.items[1].missing_expired);
	assert_int_equal(input_follow(&inputs.items[1], NULL), 0);
	inputs_release(&inputs);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, recorded_begin, recorded_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_DIRECTORY(inputs_follow_what_was_listed),
		IN_A_DIRECTORY(without_a_log_too),
		IN_A_DIRECTORY(what_is_compressed_meanwhile_is_read),
		IN_A_DIRECTORY(and_measured_if_nothing_is_believed),
		IN_A_DIRECTORY(what_is_removed_meanwhile_is_missing),
		IN_A_DIRECTORY(what_expires_meanwhile_is_no_failure),
		IN_A_DIRECTORY(of_whole_segments_there_is_no_row),
		IN_A_DIRECTORY(nothing_is_no_result),
		IN_A_DIRECTORY(another_kind_of_file_is_not_waited_for),
		IN_A_DIRECTORY(what_is_replaced_meanwhile_is_not_loaded),
		IN_A_DIRECTORY(of_the_same_content_it_is),
		IN_A_DIRECTORY(what_went_stands_for_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
