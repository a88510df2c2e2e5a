/* test_explain.c - facts about which owner an explanation of a packet names. */
#include <inttypes.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/explain.h"
#include "analyze/explain_rows.h"
#include "analyze/walk.h"
#include "tests/unit/casefile.h"

#define WAY "17 0.0.0.0 53 " PEER " 40000"

static struct explain_report report;

static struct scene_packet datagram(int64_t ms)
{
	return (struct scene_packet){.time_ns = T(ms),
				     .from = HOST,
				     .from_port = 53,
				     .to = PEER,
				     .to_port = 40000,
				     .protocol = 17,
				     .payload_bytes = 30};
}

/* Two workers send by one socket in turn: 10, 11, 10. */
static void turns(void)
{
	struct scene_packet packets[] = {datagram(1001), datagram(2001), datagram(3001)};
	struct load_options options = casefile_options();

	scene_process('+', 10, OLD, "dns");
	scene_process('+', 11, OLD, "dns");
	scene_socket('+', "udp 0.0.0.0 53 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 10, OLD, 5);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("event", 1000, 1001);
	scene_use(WAY, SCENE_NEVER, "route", 1000, SCENE_NEVER, 10, OLD);
	scene_frame("event", 2000, 2001);
	scene_use(WAY, SCENE_NEVER, "route", 2000, 1000, 11, OLD);
	scene_frame("event", 3000, 3001);
	scene_use(WAY, SCENE_NEVER, "route", 3000, 2000, 10, OLD);
	casefile_load(packets, NULL, 3, &options);
}

static void explain(const char *packet)
{
	struct error error = ERROR_NONE;
	struct explain_options options = {.database = casefile_database,
					  .evidence = casefile_root,
					  .packet = packet,
					  .flow_id = packet == NULL,
					  .limits = flow_default_limits,
					  .workers = 1};

	if (explain_run(&options, &report, &error) != 0)
		fail_msg("%s", error.message);
	assert_int_equal(report.differs, 0);
}

static void a_packet_between_anothers_has_one_owner(void **state)
{
	static const struct {
		const char *packet;
		int64_t pid;
	} facts[] = {{CASEFILE_STEM ".pcap:1", 10},
		     {CASEFILE_STEM ".pcap:2", 11},
		     {CASEFILE_STEM ".pcap:3", 10}};

	(void)state;
	turns();
	for (size_t i = 0; i < 3; i++) {
		explain(facts[i].packet);
		assert_int_equal(report.connection_count, 1);
		assert_int_equal(
			chain_number(&report.connections[0].process.items[0].database, "pid"),
			facts[i].pid);
		assert_int_equal(report.connections[0].judged->number, i + 1);
		explain_release(&report);
	}
}

static void a_flow_has_all_owners_of_its_end(void **state)
{
	(void)state;
	turns();
	explain(NULL);
	assert_int_equal(report.connection_count, 2);
	assert_true(report.connections[0].judged != report.connections[1].judged);
	assert_int_equal(report.unread, 0);
	explain_release(&report);
}

/* A flow whose packets n processes sent, one each, all named: steps to explain it. */
static uint64_t steps_for(unsigned n)
{
	struct scene_packet *packets = calloc(n, sizeof(*packets));
	struct load_options options = casefile_options();
	uint64_t before;

	assert_non_null(packets);
	for (unsigned i = 0; i < n; i++)
		scene_process('+', 100 + i, OLD, "dns");
	scene_socket('+', "udp 0.0.0.0 53 0.0.0.0 0 7", 500);
	for (unsigned i = 0; i < n; i++) {
		scene_frame("event", 1000 + 15 * i, 1001 + 15 * i);
		scene_use(WAY, SCENE_NEVER, "route", 1000 + 15 * i,
			  i == 0 ? SCENE_NEVER : 985 + 15 * i, 100 + i, OLD);
		packets[i] = datagram(1001 + 15 * i);
	}
	casefile_load(packets, NULL, n, &options);
	free(packets);
	before = walk_steps;
	explain(NULL);
	before = walk_steps - before;
	assert_int_equal(report.connection_count, n);
	assert_int_equal(report.unread, 0);
	explain_release(&report);
	return before;
}

static void many_owners_cost_no_more_than_their_number(void **state)
{
	uint64_t small = steps_for(100), large;

	casefile_end(state);
	casefile_begin(state);
	large = steps_for(400);
	if (small < 100 || large >= 6 * small)
		fail_msg("%" PRIu64 " steps for 100 owners, %" PRIu64 " for 400", small, large);
}

/* Steps of SQLite to ask for one process whose parents are n, beside n frames. */
static uint64_t sql_steps_for(int n)
{
	static const char make[] =
		"PRAGMA foreign_keys = 0;"
		"WITH RECURSIVE i(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM i WHERE i < %d)"
		" INSERT INTO process (process_id, recording_id, pid, parent_process_id, image,"
		"  first_seen_ns) SELECT i, 1, i, i + 1, 0, i FROM i;"
		"INSERT INTO snapshot (segment_id, sequence, kind, begin_ns, end_ns)"
		" SELECT 1, process_id, 'event', first_seen_ns, first_seen_ns FROM process"
		"  WHERE process_id >= 1000;";
	sqlite3_stmt *statement;
	char sql[1024];
	uint64_t steps;
	sqlite3 *db;
	int rows = 0;

	snprintf(sql, sizeof(sql), make, 1000 + n - 1);
	assert_int_equal(sqlite3_open(casefile_database, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, explain_process_sql, -1, &statement, NULL),
			 SQLITE_OK);
	sqlite3_bind_int(statement, 1, 1000);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		assert_int_equal(sqlite3_column_int(statement, 0), 1000 + rows++);
		assert_int_equal(sqlite3_column_int(statement, 7), 1);
	}
	assert_int_equal(rows, n);
	steps = (uint64_t)sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 0);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return steps;
}

static void a_line_of_parents_costs_no_more_than_its_length(void **state)
{
	uint64_t small, large;

	turns();
	small = sql_steps_for(500);
	casefile_end(state);
	casefile_begin(state);
	turns();
	large = sql_steps_for(2000);
	if (small < 500 || large >= 6 * small)
		fail_msg("%" PRIu64 " steps for 500 parents, %" PRIu64 " for 2,000", small, large);
}

/* Two equal datagrams leave through a bridge (3) and its cable (2), within a millisecond, and a
 * third one when nothing is left of them. */
static void sightings(void)
{
	static const uint32_t ifindex[] = {3, 3, 2, 2, 2};
	static const int64_t after_us[] = {0, 100, 150, 200, 300000};
	struct scene_packet packets[5];
	struct load_options options = casefile_options();

	for (size_t i = 0; i < 5; i++) {
		packets[i] = datagram(1001);
		packets[i].time_ns += after_us[i] * 1000;
	}
	scene_process('+', 10, OLD, "dns");
	scene_socket('+', "udp 0.0.0.0 53 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 10, OLD, 5);
	casefile_load(packets, ifindex, 5, &options);
}

static void a_second_sighting_is_explained_by_the_first(void **state)
{
	static const struct {
		const char *packet;
		uint64_t counted;
	} facts[] = {{CASEFILE_STEM ".pcap:1", 1},
		     {CASEFILE_STEM ".pcap:2", 2},
		     {CASEFILE_STEM ".pcap:3", 1},
		     {CASEFILE_STEM ".pcap:4", 2},
		     {CASEFILE_STEM ".pcap:5", 5}};

	(void)state;
	sightings();
	for (size_t i = 0; i < 5; i++) {
		explain(facts[i].packet);
		assert_int_equal(report.bytes.number, i + 1);
		assert_int_equal(report.bytes.counted, facts[i].counted);
		assert_int_equal(chain_number(&report.flow.database, "repeat_packets"), 2);
		assert_int_equal(report.connection_count, 1);
		assert_int_equal(report.connections[0].judged->number, facts[i].counted);
		explain_release(&report);
	}
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, casefile_begin, casefile_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_packet_between_anothers_has_one_owner),
		FACT(a_flow_has_all_owners_of_its_end),
		FACT(many_owners_cost_no_more_than_their_number),
		FACT(a_line_of_parents_costs_no_more_than_its_length),
		FACT(a_second_sighting_is_explained_by_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
