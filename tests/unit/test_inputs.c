/* test_inputs.c - facts about evidence that a recorder at work changes after it was listed: what
 * it compressed is read, what it removed is told, and the rest is loaded; so with what cannot be
 * read. */
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
#include <zlib.h>

#include <cmocka.h>

#include "analyze/inputs.h"
#include "tests/unit/loading.h"

#define SEGMENTS 3

static int directory = -1;
static bool verify;
/* Between identifying and reading. */
static void (*meanwhile)(void);

/* ---------------------------------------------- files that cannot be read -- */

/* Nobody opens a file of this name; 0: everybody does. */
static struct {
	const char *name;
	int number; /* errno */
} refused;

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

/* -------------------------------------------------------------- a recorder -- */

/* Valid for the next three calls. */
static const char *name_of(unsigned number, const char *suffix)
{
	static char names[4][EVIDENCE_NAME_SIZE];
	static unsigned next;
	const char *stem = loading_stem("evidence", number);
	char *name = names[next++ % 4];

	snprintf(name, EVIDENCE_NAME_SIZE, "%s%s", strrchr(stem, '/') + 1, suffix);
	return name;
}

static void note(const char *event, unsigned number, const char *suffix)
{
	char sha256[CUSTODY_HEX_SIZE];
	struct custody_entry entry = {
		.event = event, .file = name_of(number, suffix), .detail = ""};
	struct custody *custody;
	uint64_t bytes, repaired, broken;

	assert_int_equal(custody_open(directory, "evidence", &custody, &repaired, &broken, NULL),
			 0);
	assert_int_equal(custody_hash_file(directory, entry.file, sha256, &bytes, NULL), 0);
	entry.bytes = (int64_t)bytes;
	entry.sha256 = strcmp(event, "expire") == 0 ? NULL : sha256;
	assert_int_equal(custody_append(custody, &entry, NULL), 0);
	custody_close(custody);
}

static void take_away(unsigned number, const char *suffix)
{
	assert_int_equal(unlinkat(directory, name_of(number, suffix), 0), 0);
}

static void expire(unsigned number, const char *suffix)
{
	note("expire", number, suffix);
	take_away(number, suffix);
}

static size_t read_capture(unsigned number, uint8_t *bytes, size_t size)
{
	int fd = openat(directory, name_of(number, ".pcap"), O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, bytes, size);

	assert_true(length > 0 && (size_t)length < size);
	close(fd);
	return (size_t)length;
}

static void pack(unsigned number)
{
	static uint8_t bytes[1 << 16];
	size_t length = read_capture(number, bytes, sizeof(bytes));
	int fd;
	gzFile gz;

	fd = openat(directory, name_of(number, ".pcap.gz"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	gz = gzdopen(fd, "wb");
	assert_int_equal(gzwrite(gz, bytes, (unsigned)length), (int)length);
	gzclose(gz);
	note("compress", number, ".pcap.gz");
	take_away(number, ".pcap");
}

static int begin(void **state)
{
	int status = loading_begin(state);

	verify = false;
	refused.number = 0;
	loading_directory("evidence");
	directory = open(loading_path("evidence"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 1; i <= SEGMENTS; i++) {
		const struct scene_packet packets[] = {
			UDP(i * 1000 + 100, HOST, 5000 + i, PEER, 53),
			UDP(i * 1000 + 200, HOST, 5000 + i, PEER, 53),
		};

		loading_header(i);
		scene_frame("key", i * 1000, i * 1000 + 1);
		loading_addresses();
		loading_write("evidence", i, packets, 2);
		note("close", i, ".pcap");
		note("close", i, ".snap.gz");
	}
	return status;
}

static int end(void **state)
{
	close(directory);
	return loading_end(state);
}

/* ---------------------------------------------------------------- loading -- */

static void change(void *context)
{
	(void)context;
	meanwhile();
}

static unsigned told; /* remarks of the last load, and the last one */
static struct error remark;

static void hear(const struct error *error, void *context)
{
	(void)context;
	told++;
	remark = *error;
}

/* Into the database that is there, of the directory, and of a second one if there is one. */
static int add_load(void (*what)(void), unsigned workers, struct error *error)
{
	char database[300], paths[2][300], *const path[] = {paths[0], paths[1]};
	struct load_options options = {.database = database,
				       .workers = workers,
				       .verify = verify,
				       .begin = change,
				       .report = hear,
				       .limits = flow_default_limits};

	meanwhile = what;
	snprintf(database, sizeof(database), "%s", loading_path("out.db"));
	snprintf(paths[0], sizeof(paths[0]), "%s", loading_path("evidence"));
	snprintf(paths[1], sizeof(paths[1]), "%s", loading_path("copy"));
	told = 0;
	return load_run(path, access(paths[1], F_OK) == 0 ? 2 : 1, &options, &loading_result,
			error);
}

static int try_load(void (*what)(void), unsigned workers, struct error *error)
{
	unlink(loading_path("out.db"));
	return add_load(what, workers, error);
}

static const char *load(void (*what)(void), unsigned workers)
{
	struct error error = ERROR_NONE;

	if (try_load(what, workers, &error) != 0)
		fail_msg("%s: %s", error.path, error.message);
	return loading_path("out.db");
}

#define SEGMENT_ROWS                                                                               \
	"SELECT number, pcap_name LIKE '%.pcap.gz', snap_name IS NOT NULL, packets FROM segment"
#define GONE_ROWS                                                                                  \
	"SELECT kind, substr(subject, 1, 6), substr(subject, 34) FROM coverage "                   \
	"WHERE kind IN ('missing-file', 'expired')"

static void compress_two(void)
{
	pack(1);
	pack(3);
}

static void what_is_compressed_meanwhile_is_read(void **state)
{
	const char *database;

	(void)state;
	database = load(compress_two, 2);
	assert_int_equal(loading_result.damaged, 0);
	answers(database, SEGMENT_ROWS, "1|1|1|2\n2|0|1|2\n3|1|1|2\n");
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
	verify = true;
	database = load(compress_two, 1);
	assert_int_equal(loading_result.damaged, 0);
	answers(database, SEGMENT_ROWS, "1|1|1|2\n2|0|1|2\n3|1|1|2\n");
	answers(database, "SELECT count(*) FROM coverage WHERE kind = 'altered'", "0\n");
}

static void remove_files(void)
{
	take_away(1, ".pcap");
	take_away(3, ".snap.gz");
}

static void what_is_removed_meanwhile_is_missing(void **state)
{
	const char *database;

	(void)state;
	database = load(remove_files, 2);
	assert_int_equal(loading_result.damaged, 2);
	answers(database, SEGMENT_ROWS, "1||1|0\n2|0|1|2\n3|0|0|2\n");
	answers(database, GONE_ROWS, "missing-file|000001|.pcap\nmissing-file|000003|.snap.gz\n");
}

static void expire_capture(void)
{
	pack(1);
	expire(1, ".pcap.gz");
}

static void what_expires_meanwhile_is_no_failure(void **state)
{
	const char *database;

	(void)state;
	database = load(expire_capture, 2);
	assert_int_equal(loading_result.damaged, 0);
	answers(database, SEGMENT_ROWS, "1||1|0\n2|0|1|2\n3|0|1|2\n");
	answers(database, GONE_ROWS, "expired|000001|.pcap.gz\n");
}

static void expire_first(void)
{
	expire(1, ".pcap");
	expire(1, ".snap.gz");
}

static void remove_last(void)
{
	take_away(3, ".pcap");
	take_away(3, ".snap.gz");
}

static void of_whole_segments_there_is_no_row(void **state)
{
	const char *database;

	(void)state;
	database = load(expire_first, 2);
	assert_int_equal(loading_result.damaged, 0);
	assert_int_equal(loading_result.segments, 2);
	answers(database, SEGMENT_ROWS, "2|0|1|2\n3|0|1|2\n");
	database = load(remove_last, 2);
	assert_int_equal(loading_result.damaged, 1);
	answers(database, SEGMENT_ROWS, "2|0|1|2\n");
	/* What goes on from there knows what was before. */
	answers(database, "SELECT count(*) > 0 FROM carry", "1\n");
}

static void remove_all(void)
{
	for (unsigned i = 1; i <= SEGMENTS; i++) {
		take_away(i, ".pcap");
		take_away(i, ".snap.gz");
	}
}

static void nothing_is_no_result(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	assert_int_equal(try_load(remove_all, 2, &error), ERROR_NO_INPUT);
	assert_int_equal(access(loading_path("out.db"), F_OK), -1);
}

static void remove_first(void)
{
	take_away(1, ".pcap");
	take_away(1, ".snap.gz");
}

static void put_fifo(void)
{
	take_away(2, ".pcap");
	assert_int_equal(mkfifoat(directory, name_of(2, ".pcap"), 0600), 0);
}

static void another_kind_of_file_is_not_waited_for(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	assert_int_equal(try_load(put_fifo, 2, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.path, name_of(2, ".pcap")));
}

static void copy_capture(unsigned number, const char *to, bool whole)
{
	static uint8_t bytes[1 << 16];
	size_t length = read_capture(number, bytes, sizeof(bytes)) - !whole;
	int fd = openat(directory, to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

static void put_another(void)
{
	take_away(2, ".pcap");
	copy_capture(1, name_of(2, ".pcap"), true);
}

static void put_another_snapshot(void)
{
	take_away(2, ".snap.gz");
	assert_int_equal(
		linkat(directory, name_of(1, ".snap.gz"), directory, name_of(2, ".snap.gz"), 0), 0);
}

static void write_into(void)
{
	int fd = openat(directory, name_of(2, ".pcap"), O_WRONLY | O_CLOEXEC);

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

		assert_int_equal(utimensat(directory, name_of(2, ".pcap"), long_ago, 0), 0);
		assert_int_equal(try_load(changes[i], 2, &error), ERROR_SYSTEM);
		assert_non_null(
			strstr(error.path, i == 1 ? name_of(2, ".snap.gz") : name_of(2, ".pcap")));
		assert_non_null(strstr(error.message, "replaced or changed"));
		assert_int_equal(access(loading_path("out.db"), F_OK), -1);
		end(state);
		begin(state);
	}
}

static void touch(void)
{
	copy_capture(2, "copy", true);
	assert_int_equal(renameat(directory, "copy", directory, name_of(2, ".pcap")), 0);
	assert_int_equal(fchmodat(directory, name_of(3, ".snap.gz"), 0400, 0), 0);
}

static void of_the_same_content_it_is(void **state)
{
	(void)state;
	answers(load(touch, 2), SEGMENT_ROWS, "1|0|1|2\n2|0|1|2\n3|0|1|2\n");
}

static void nothing(void)
{
}

/* Its damaged copy is loaded then. */
static void what_went_stands_for_no_other(void **state)
{
	static uint8_t bytes[1 << 16];
	size_t length = read_capture(1, bytes, sizeof(bytes));
	int copy, fd;

	(void)state;
	loading_directory("copy");
	copy = open(loading_path("copy"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(linkat(directory, name_of(1, ".snap.gz"), copy, name_of(1, ".snap.gz"), 0),
			 0);
	fd = openat(copy, name_of(1, ".pcap"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, bytes, length - 1), length - 1);
	close(fd);
	close(copy);
	answers(load(nothing, 1), SEGMENT_ROWS, "1|0|1|2\n2|0|1|2\n3|0|1|2\n");
	answers(load(remove_first, 1), SEGMENT_ROWS, "1|0|1|1\n2|0|1|2\n3|0|1|2\n");
	assert_int_equal(loading_result.damaged, 1);
}

/* Before anything is loaded; in the two files of a segment. */
static void what_cannot_be_opened_is_left_and_told(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const char *database, *suffix = i % 2 == 0 ? ".pcap" : ".snap.gz";
		char name[EVIDENCE_NAME_SIZE];

		snprintf(name, sizeof(name), "%s", name_of(2, suffix));
		refused.name = name;
		refused.number = i < 2 ? EACCES : EIO;
		database = load(nothing, 1 + i % 2);
		assert_int_equal(loading_result.damaged, 1);
		assert_int_equal(told, 1);
		assert_int_equal(remark.code, ERROR_SYSTEM);
		assert_non_null(strstr(remark.path, name));
		assert_non_null(strchr(remark.path, '/'));
		assert_non_null(strstr(remark.message, strerror(refused.number)));
		assert_non_null(strstr(remark.message, "analyze it again"));
		answers(database, SEGMENT_ROWS, "1|0|1|2\n3|0|1|2\n");
		answers(database, "SELECT kind, subject FROM coverage WHERE kind = 'missing'",
			"missing|segments 2 to 2\n");
	}
}

static void and_loaded_when_it_can_be(void **state)
{
	char name[EVIDENCE_NAME_SIZE];
	const char *database;

	(void)state;
	snprintf(name, sizeof(name), "%s", name_of(2, ".pcap"));
	refused.name = name;
	refused.number = EACCES;
	database = load(nothing, 1);
	assert_int_equal(add_load(nothing, 1, NULL), 0);
	assert_int_equal(loading_result.damaged, 1);
	assert_true(loading_result.nothing_new);
	refused.number = 0;
	assert_int_equal(add_load(nothing, 1, NULL), 0);
	assert_int_equal(loading_result.segments, 1);
	assert_int_equal(loading_result.damaged, 1);
	assert_non_null(strstr(remark.message, "later segments of its recording"));
	answers(database, SEGMENT_ROWS " ORDER BY number", "1|0|1|2\n2|0|1|2\n3|0|1|2\n");
	answers(database, "SELECT kind FROM coverage WHERE kind = 'late'", "late\n");
	answers(database, "SELECT sum(difference <> 0) FROM accounting", "0\n");
}

/* No file is at fault. */
static void what_the_machine_lacks_ends_the_load(void **state)
{
	static const int numbers[] = {EMFILE, ENFILE, ENOMEM};
	char name[EVIDENCE_NAME_SIZE];

	(void)state;
	snprintf(name, sizeof(name), "%s", name_of(2, ".pcap"));
	refused.name = name;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct error error = ERROR_NONE;

		refused.number = numbers[i];
		assert_true(try_load(nothing, 2, &error) < 0);
		assert_non_null(strstr(error.path, name));
		assert_int_equal(told, 0);
	}
}

/* ------------------------------------------------------------ identifying -- */

static void find(struct inputs *inputs)
{
	char path[300], *const paths[] = {path};

	snprintf(path, sizeof(path), "%s", loading_path("evidence"));
	assert_int_equal(inputs_find(paths, 1, inputs, NULL), 0);
	assert_int_equal(inputs->count, SEGMENTS);
}

static void inputs_follow_what_was_listed(void **state)
{
	char plain[CUSTODY_HEX_SIZE], packed[CUSTODY_HEX_SIZE];
	struct inputs inputs;
	struct input *input;
	uint64_t bytes;

	(void)state;
	find(&inputs);
	assert_int_equal(custody_hash_file(directory, name_of(1, ".pcap"), plain, &bytes, NULL), 0);
	pack(1);
	assert_int_equal(custody_hash_file(directory, name_of(1, ".pcap.gz"), packed, &bytes, NULL),
			 0);
	expire(2, ".pcap");
	remove_last();
	for (size_t i = 0; i < inputs.count; i++)
		assert_int_equal(input_identify(&inputs.items[i], false, NULL, NULL), 0);
	input = &inputs.items[0];
	assert_string_equal(input->pcap, name_of(1, ".pcap.gz"));
	assert_string_equal(input->pcap_sha256, packed);
	assert_string_equal(input->content_sha256, plain);
	assert_int_equal(input->pcap_bytes, bytes);
	assert_true(input->pcap_is_believed);
	assert_string_equal(input->missing, "");
	input = &inputs.items[1];
	assert_null(input->pcap);
	assert_non_null(input->snap);
	assert_string_equal(input->missing, name_of(2, ".pcap"));
	assert_true(input->missing_expired);
	input = &inputs.items[2];
	assert_true(input->pcap == NULL && input->snap == NULL);
	assert_false(input->missing_expired);
	assert_true(input->missing_went);
	assert_int_equal(inputs_sort(&inputs, NULL), 0);
	assert_int_equal(inputs.count, SEGMENTS);
	inputs_release(&inputs);
}

/* A name that stays a name of nothing is followed once. */
static void without_a_log_too(void **state)
{
	struct inputs inputs;

	(void)state;
	find(&inputs);
	pack(1);
	take_away(2, ".pcap");
	assert_int_equal(unlinkat(directory, CUSTODY_LOG, 0), 0);
	for (size_t i = 0; i < inputs.count; i++)
		assert_int_equal(input_identify(&inputs.items[i], false, NULL, NULL), 0);
	assert_string_equal(inputs.items[0].pcap, name_of(1, ".pcap.gz"));
	assert_false(inputs.items[0].pcap_is_believed);
	assert_string_equal(inputs.items[0].content_sha256, "");
	assert_string_equal(inputs.items[1].missing, name_of(2, ".pcap"));
	assert_false(inputs.items[1].missing_expired);
	assert_int_equal(input_follow(&inputs.items[1], NULL), 0);
	inputs_release(&inputs);
}

#define IN_A_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, begin, end)

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
		IN_A_DIRECTORY(what_cannot_be_opened_is_left_and_told),
		IN_A_DIRECTORY(and_loaded_when_it_can_be),
		IN_A_DIRECTORY(what_the_machine_lacks_ends_the_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
