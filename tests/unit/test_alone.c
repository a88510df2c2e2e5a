/* test_alone.c - facts about a capture that is analyzed alone: it is hashed while it is read, and
 * nothing comes out otherwise than if it had been hashed before. */
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

#include "analyze/inputs.h"
#include "tests/unit/loading.h"

#define NAMES                                                                                      \
	"SELECT r.recording_uuid, s.pcap_sha256, s.content_sha256 FROM segment s JOIN recording "  \
	"r USING (recording_id) ORDER BY 1"

static void write_capture(const char *name, int64_t ms)
{
	const struct scene_packet packets[] = {UDP(ms, HOST, 5000, PEER, 53),
					       UDP(ms + 100, PEER, 53, HOST, 5000)};

	scene_write_pcap(loading_path("%s", name), packets, 2);
}

static void wanted_names(const char *name, char *out, size_t size)
{
	char sha256[CUSTODY_HEX_SIZE];
	uint64_t bytes;

	assert_int_equal(
		custody_hash_file(AT_FDCWD, loading_path("%s", name), sha256, &bytes, NULL), 0);
	snprintf(out, size, "pcap-%s|%s|%s\n", sha256, sha256, sha256);
}

/* The load as it is, and not asserted to succeed. */
static void (*meanwhile)(void);
static struct load_result tried;

static void begin(void *context)
{
	(void)context;
	meanwhile();
}

static int try_load(const char *database, const char *capture, void (*change)(void),
		    struct error *error)
{
	char path[300], db[300];
	char *paths[] = {path};
	struct load_options options = {
		.database = db, .workers = 2, .limits = flow_default_limits, .begin = begin};

	snprintf(path, sizeof(path), "%s", loading_path("%s", capture));
	snprintf(db, sizeof(db), "%s", loading_path("%s", database));
	meanwhile = change;
	return load_run(paths, 1, &options, &tried, error);
}

static void its_hash_names_it(void **state)
{
	char wanted[300];

	(void)state;
	write_capture("a.pcap", 1000);
	wanted_names("a.pcap", wanted, sizeof(wanted));
	answers(LOAD("a.db", "a.pcap"), NAMES, wanted);
	assert_int_equal(loading_result.packets, 2);
}

static void it_is_known_again(void **state)
{
	(void)state;
	write_capture("a.pcap", 1000);
	LOAD("a.db", "a.pcap");
	LOAD("a.db", "a.pcap");
	assert_true(loading_result.nothing_new);
	assert_int_equal(loading_result.skipped, 1);
}

static void the_next_one_goes_on_from_it(void **state)
{
	const char *both, *after;

	(void)state;
	write_capture("a.pcap", 1000);
	write_capture("b.pcap", 2000);
	both = LOAD("both.db", "a.pcap", "b.pcap");
	LOAD("after.db", "a.pcap");
	after = LOAD("after.db", "b.pcap");
	same_rows(both, after);
	agree(both, after, "SELECT kind, hex(state) FROM carry ORDER BY seq");
	answers(after, "SELECT count(DISTINCT recording_uuid), count(*) FROM recording", "2|2\n");
}

static void change_it(void)
{
	int fd = open(loading_path("a.pcap"), O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "x", 1, 60), 1);
	close(fd);
}

static void replace_it(void)
{
	assert_int_equal(unlink(loading_path("a.pcap")), 0);
	write_capture("a.pcap", 3000);
}

static void remove_it(void)
{
	assert_int_equal(unlink(loading_path("a.pcap")), 0);
}

static void what_is_changed_meanwhile_is_not_loaded(void **state)
{
	void (*const changes[])(void) = {change_it, replace_it, remove_it};
	static const struct timespec long_ago[2] = {{1, 0}, {1, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct error error = ERROR_NONE;

		write_capture("a.pcap", 1000);
		/* Two changes within a tick of its clock have one time. */
		assert_int_equal(utimensat(AT_FDCWD, loading_path("a.pcap"), long_ago, 0), 0);
		assert_true(try_load("a.db", "a.pcap", changes[i], &error) < 0);
		assert_non_null(strstr(error.path, "a.pcap"));
		assert_int_equal(access(loading_path("a.db"), F_OK), -1);
	}
}

/* By who hashes it, too: whoever reads it may have opened it before. */
static void what_is_changed_has_no_hash(void **state)
{
	static const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
	struct error error = ERROR_NONE;
	char path[300], *paths[] = {path}, sha256[CUSTODY_HEX_SIZE];
	struct inputs inputs;
	struct input *input;

	(void)state;
	write_capture("a.pcap", 1000);
	assert_int_equal(utimensat(AT_FDCWD, loading_path("a.pcap"), long_ago, 0), 0);
	snprintf(path, sizeof(path), "%s", loading_path("a.pcap"));
	assert_int_equal(inputs_find(paths, 1, &inputs, NULL), 0);
	input = &inputs.items[0];
	input->hash_later = true;
	assert_int_equal(input_identify(input, false, NULL, NULL), 0);
	assert_string_equal(input->pcap_sha256, "");
	assert_int_equal(input_hash_later(input, NULL, sha256, &error), 0);
	assert_int_equal(strlen(sha256), CUSTODY_HEX_SIZE - 1);
	change_it();
	assert_int_equal(input_hash_later(input, NULL, sha256, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.message, "replaced or changed"));
	inputs_release(&inputs);
}

/* What is made a link to, or somebody else's, has the same bytes. */
static void another_link_changes_nothing(void **state)
{
	struct error error = ERROR_NONE;
	char path[300], *paths[] = {path}, sha256[CUSTODY_HEX_SIZE];
	struct inputs inputs;

	(void)state;
	write_capture("a.pcap", 1000);
	snprintf(path, sizeof(path), "%s", loading_path("a.pcap"));
	assert_int_equal(inputs_find(paths, 1, &inputs, NULL), 0);
	inputs.items[0].hash_later = true;
	assert_int_equal(input_identify(&inputs.items[0], false, NULL, NULL), 0);
	inputs.items[0].pcap_file.changed.tv_sec--;
	assert_int_equal(input_hash_later(&inputs.items[0], NULL, sha256, &error), 0);
	assert_int_equal(input_look_again(&inputs.items[0], &error), 0);
	inputs.items[0].pcap_file.modified.tv_sec--;
	assert_int_equal(input_look_again(&inputs.items[0], &error), ERROR_SYSTEM);
	write_capture("b.pcap", 3000);
	assert_int_equal(renameat(AT_FDCWD, loading_path("b.pcap"), AT_FDCWD, path), 0);
	assert_int_equal(input_look_again(&inputs.items[0], &error), 0);
	remove_it();
	assert_int_equal(input_look_again(&inputs.items[0], &error), 0);
	inputs_release(&inputs);
}

static void make_database(void)
{
	LOAD("a.db", "a.pcap");
}

/* What it is compared with then is what the database has. */
static void a_database_that_is_made_meanwhile_is_asked(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	write_capture("a.pcap", 1000);
	assert_int_equal(try_load("a.db", "a.pcap", make_database, &error), 0);
	assert_true(tried.nothing_new);
	answers(loading_path("a.db"), "SELECT count(*) FROM segment", "1\n");
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, loading_begin, loading_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(its_hash_names_it),
		FACT(it_is_known_again),
		FACT(the_next_one_goes_on_from_it),
		FACT(what_is_changed_meanwhile_is_not_loaded),
		FACT(what_is_changed_has_no_hash),
		FACT(another_link_changes_nothing),
		FACT(a_database_that_is_made_meanwhile_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
