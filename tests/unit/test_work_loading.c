/* test_work_loading.c - loading evidence that somebody made up costs work in proportion to its
 * size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/ledger.h"
#include "analyze/load.h"
#include "analyze/walk.h"
#include "snapshot/format/quantity.h"
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

/* A connection that goes from process to process, and back to each of them. */
static uint64_t owners_steps_for(unsigned n)
{
	const char *where = "6 " HOST " 40000 " PEER " 80";
	const struct scene_packet handshake[] = {HANDSHAKE(5, 40000)};
	struct scene_packet *packets = calloc(2 * n + 3, sizeof(*packets));
	char name[16], database[16], wanted[32];
	uint64_t before;

	assert_non_null(packets);
	snprintf(name, sizeof(name), "of%u", n);
	snprintf(database, sizeof(database), "%u.db", n);
	snprintf(wanted, sizeof(wanted), "%u|%u\n", n, n);
	loading_directory(name);
	loading_header(1);
	scene_frame("key", 0, 1);
	loading_addresses();
	scene_frame("event", 2, 3);
	memcpy(packets, handshake, sizeof(handshake));
	for (unsigned i = 0; i < 2 * n; i++) {
		int64_t at_ms = 10 + (int64_t)i;

		scene_use(where, 4, "send", at_ms, i == 0 ? SCENE_NEVER : at_ms - 1, 100 + i % n,
			  OLD);
		packets[3 + i] = (struct scene_packet)OUT(at_ms, 40000, ACK, 101, 901, 0);
	}
	scene_frame("poll", 1000000, 1000001);
	loading_write(name, 1, packets, 2 * n + 3);
	free(packets);
	before = walk_steps;
	loading_part_packets = n; /* so that they are found again in the next one */
	loading_run(database, 1, true, (const char *const[]){name, NULL});
	loading_part_packets = 0;
	answers(loading_path("%s", database),
		"SELECT count(*), count(DISTINCT process_id) FROM connection WHERE rule IS NOT "
		"NULL",
		wanted);
	return walk_steps - before;
}

static void many_owners_of_one_flow(void **state)
{
	(void)state;
	work_compare(1000, owners_steps_for(1000), owners_steps_for(4000));
}

static uint64_t turns_steps_for(unsigned n)
{
	struct flow flow = {
		.end = {{.first_span = LEDGER_NONE, .bucket = INT64_MIN, .span = LEDGER_NONE}}};
	struct bridge_verdict v = {.reason = BRIDGE_OWNED, .rule = BRIDGE_EXACT};
	struct ledger ledger;
	uint64_t before = walk_steps;

	ledger_init(&ledger, NS_PER_SECOND, false);
	for (unsigned i = 0; i < 2 * n; i++) {
		v.process = v.image = i % n;
		assert_int_equal(ledger_turn(&ledger, &flow, 0, 0, &v), 0);
		assert_int_equal(flow.end[0].span, i % n);
	}
	assert_int_equal(ledger.span_count, n);
	for (unsigned i = 0; i < n; i++) {
		ledger_disown(&ledger, &flow, i, i < n / 2 ? BRIDGE_GAP : BRIDGE_AMBIGUOUS);
		assert_int_equal(ledger_final(&ledger, i), i < n / 2 ? 0 : n / 2);
	}
	ledger_release(&ledger);
	return walk_steps - before;
}

static void many_turns_of_one_end(void **state)
{
	(void)state;
	work_compare(1000, turns_steps_for(1000), turns_steps_for(4000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_addresses_and_interfaces),
		cmocka_unit_test(many_processes_of_one_pid),
		cmocka_unit_test_setup_teardown(many_segments_without_packets, loading_begin,
						loading_end),
		cmocka_unit_test_setup_teardown(many_owners_of_one_flow, loading_begin,
						loading_end),
		cmocka_unit_test(many_turns_of_one_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
