/* test_work_loading.c - loading evidence that somebody made up costs work in proportion to its
 * size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/load.h"
#include "analyze/walk.h"
#include "tests/unit/loading.h"
#include "tests/unit/work.h"

/* The merger's, which is the calling thread. */
static uint64_t merge_steps_for(void (*make)(unsigned n), unsigned n)
{
	char directory[] = "/tmp/pcapwho-work.XXXXXX", snap[128], database[64];
	char *const paths[] = {directory};
	struct load_options options = {
		.database = database, .workers = 1, .limits = flow_default_limits};
	struct load_result result;
	struct error error = ERROR_NONE;
	uint64_t before;

	assert_non_null(mkdtemp(directory));
	snprintf(snap, sizeof(snap), "%s/000001-20261121T203000.123456789Z.snap.gz", directory);
	snprintf(database, sizeof(database), "%s/out.db", directory);
	scene_begin();
	scene_frame("key", 0, 1);
	make(n);
	scene_frame("poll", 1000000, 1000001);
	scene_write_snap(snap);
	before = walk_steps;
	if (load_run(paths, 1, &options, &result, &error) != 0)
		fail_msg("%s: %s", error.path, error.message);
	assert_int_equal(result.segments, 1);
	unlink(snap);
	unlink(database);
	rmdir(directory);
	scene_free();
	return walk_steps - before;
}

static void make_addresses(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		scene_say("address + 1 2 10.1.%u.%u 24", i / 256, i % 256);
		scene_say("interface + 1 %u eth%u 1", i + 1, i);
	}
}

static void many_addresses_and_interfaces(void **state)
{
	(void)state;
	work_compare(1000, merge_steps_for(make_addresses, 1000),
		     merge_steps_for(make_addresses, 4000));
}

static void make_namesakes(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		scene_say("process + 77 %u 77 1000 a /bin/a a / 1 \\N \\N", 1000 + i);
	}
}

static void many_processes_of_one_pid(void **state)
{
	(void)state;
	work_compare(1000, merge_steps_for(make_namesakes, 1000),
		     merge_steps_for(make_namesakes, 4000));
}

static uint64_t segment_steps_for(unsigned n)
{
	char name[16], database[16];
	uint64_t before;

	snprintf(name, sizeof(name), "of%u", n);
	snprintf(database, sizeof(database), "%u.db", n);
	loading_directory(name);
	for (unsigned i = 1; i <= n; i++) {
		loading_header(i);
		scene_frame("key", i, i + 1);
		loading_write(name, i, NULL, 0);
	}
	before = walk_steps;
	LOAD(database, name);
	assert_int_equal(loading_result.segments, n);
	LOAD(database, name);
	assert_true(loading_result.nothing_new);
	return walk_steps - before;
}

/* As a quiet host's: the captures of all of them are the same. */
static void many_segments_without_packets(void **state)
{
	(void)state;
	work_compare(12, segment_steps_for(12), segment_steps_for(48));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_addresses_and_interfaces),
		cmocka_unit_test(many_processes_of_one_pid),
		cmocka_unit_test_setup_teardown(many_segments_without_packets, loading_begin,
						loading_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
