/* Single packets: how they come back, how they are found, and what changes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/loading.h"
#include "tests/unit/rows.h"

#define SECOND INT64_C(1000000000)

static struct store_packet packet_of(const struct store *store, int64_t number,
				     int64_t connection_id, const char *rule)
{
	return (struct store_packet){
		.segment_id = 1,
		.number = number,
		.connection_id = connection_id,
		.time_ns = number * SECOND,
		.offset_bytes = number * 100,
		.bytes = 60,
		.verdict = store_packet_verdict(store, rule, rule ? NULL : "gap"),
	};
}

static void put(struct store *store, int64_t number, int64_t connection_id, const char *rule)
{
	const struct store_packet row = packet_of(store, number, connection_id, rule);

	OK(store_packet(store, &row, &rows_error));
}

static struct store *begin(void)
{
	struct store *store = rows_open(rows_target, 0, true);

	OK(store_begin(store, &rows_error));
	return store;
}

static void finish(struct store *store)
{
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
}

static void ask_for(const char *sql, const char *wanted)
{
	assert_string_equal(rows_ask(rows_target, sql), wanted);
}

/* The rows of a small database, which has connection 1 of flow 1, and connections up to last. */
static struct store *begin_with_connections(int64_t last)
{
	struct store *store = begin();

	rows_fill_small(store);
	for (int64_t id = 2; id <= last; id++) {
		const struct store_connection row = rows_unowned(id, 1, "gap");

		OK(store_connection(store, &row, STORE_INSERT, &rows_error));
	}
	return store;
}

static void a_packet_comes_back_as_it_was(void **state)
{
	struct store *store = begin_with_connections(1);
	struct store_packet row = packet_of(store, 3, 1, "quoted");

	(void)state;
	OK(store_packet(store, &row, &rows_error));
	/* Earlier than the one before, longer than 64 KiB, and far into the file. */
	row.number = 4;
	row.time_ns = -5;
	row.bytes = UINT32_MAX;
	row.offset_bytes = INT64_C(1) << 50;
	row.direction = 1;
	row.verdict = store_packet_verdict(store, NULL, "before-start");
	OK(store_packet(store, &row, &rows_error));
	row.number = INT64_C(1) << 40;
	OK(store_packet(store, &row, &rows_error));
	finish(store);
	ask_for("SELECT group_concat(segment_id || ' ' || number || ' ' || connection_id || ' ' || "
		"flow_id || ' ' || offset_bytes || ' ' || time_ns || ' ' || bytes || ' ' || "
		"direction || ' ' || coalesce('rule ' || rule_code, 'reason ' || reason_code), "
		"'; ') FROM (SELECT * FROM packet ORDER BY number)",
		"1 3 1 1 300 3000000000 60 0 rule 7; "
		"1 4 1 1 1125899906842624 -5 4294967295 1 reason 8; "
		"1 1099511627776 1 1 1125899906842624 -5 4294967295 1 reason 8");
	ask_for("SELECT count(*) FROM packet WHERE (rule_code IS NULL) = (reason_code IS NULL)",
		"0");
}

/* Rows that are full, that have holes and that are missing, in two segments. */
static void fill_two_segments(struct store *store)
{
	struct store_segment segment = rows_segment(2, "2.pcap", "2.snap.gz");
	struct store_packet row;

	OK(store_segment(store, &segment, true, &rows_error));
	for (int64_t number = 1; number <= 1000; number += number % 50 == 0 ? 40 : 1)
		put(store, number, 1 + number % 7, "exact");
	for (int64_t number = 5; number <= 300; number += 3) {
		row = packet_of(store, number, 7, "ahead");
		row.segment_id = 2;
		OK(store_packet(store, &row, &rows_error));
	}
}

static void every_packet_has_its_row(void **state)
{
	struct store *store = begin_with_connections(7);

	(void)state;
	fill_two_segments(store);
	finish(store);
	ask_for("WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + iif(number % 50, "
		"1, 40) FROM n WHERE number < 1000), m(number) AS (SELECT 5 UNION ALL SELECT "
		"number + 3 FROM m WHERE number < 298), wanted AS (SELECT 1, number, 1 + number % "
		"7, number * 100, number * 1000000000, 1 FROM n WHERE number <= 1000 UNION ALL "
		"SELECT 2, number, 7, number * 100, number * 1000000000, 2 FROM m), stored AS "
		"(SELECT segment_id, number, connection_id, offset_bytes, time_ns, rule_code FROM "
		"packet) SELECT (SELECT count(*) FROM (SELECT * FROM wanted EXCEPT SELECT * FROM "
		"stored)) || ' ' || (SELECT count(*) FROM (SELECT * FROM stored EXCEPT SELECT * "
		"FROM wanted)) || ' ' || (SELECT count(*) FROM stored) = (SELECT '0 0 ' || "
		"count(*) FROM wanted)",
		"1");
	ask_for("SELECT count(*) = (SELECT count(*) FROM packet WHERE +connection_id = 7) "
		"FROM packet WHERE connection_id = 7",
		"1");
	ask_for("PRAGMA foreign_key_check", "");
}

/* No step of the plan reads all of a table that grows with the packets, or of a segment. */
static void searches(const char *sql)
{
	char question[512], *plan;

	snprintf(question, sizeof(question), "EXPLAIN QUERY PLAN %s", sql);
	plan = loading_ask(rows_target, question);
	if (strstr(plan, "|SEARCH packet_row USING PRIMARY KEY") == NULL &&
	    strstr(plan, "|SEARCH p USING PRIMARY KEY") == NULL)
		fail_msg("%s:\n%s", sql, plan);
	if (strstr(plan, "(segment_id=?)") != NULL || strstr(plan, "|SCAN p") != NULL ||
	    strstr(plan, "|SCAN s") != NULL || strstr(plan, "|SCAN c") != NULL)
		fail_msg("%s:\n%s", sql, plan);
	free(plan);
}

static void packets_are_found_without_reading_all(void **state)
{
	struct store *store = begin_with_connections(7);

	(void)state;
	fill_two_segments(store);
	finish(store);
	searches("SELECT * FROM packet WHERE segment_id = 1 AND number = 30");
	searches("SELECT * FROM packet WHERE segment_id = ?1 AND number = ?2");
	searches("SELECT count(*) FROM packet WHERE segment_id = 1 AND number = 30");
	searches("SELECT * FROM packet WHERE connection_id = 3");
	searches("SELECT sum(bytes) FROM packet WHERE connection_id = 3");
	searches("SELECT * FROM packets WHERE connection_id = 3 ORDER BY time_ns");
	searches("SELECT * FROM packets WHERE segment_id = 1 AND number = 30");
	searches("SELECT * FROM packets WHERE pcap_name = 'aa' AND number = 30");
	searches("SELECT * FROM packet WHERE flow_id = 1");
	searches("SELECT count(*) FROM packet WHERE flow_id = 1");
	searches("SELECT k.* FROM connection c JOIN packet k USING (connection_id) "
		 "WHERE c.process_id = 1");
	searches("SELECT * FROM packet WHERE connection_id IN "
		 "(SELECT connection_id FROM connection WHERE process_id = 1)");
}

static const char verdicts_sql[] =
	"SELECT group_concat(connection_id || ':' || coalesce(rule, reason)) FROM "
	"(SELECT * FROM packets ORDER BY number)";

/* Packets 1 to 4 are of connections 1, 1, 2 and 3; in the table, or still being gathered. */
static struct store *begin_change(bool stored)
{
	struct store *store = begin_with_connections(3);

	put(store, 1, 1, NULL);
	put(store, 2, 1, "listener");
	put(store, 3, 2, NULL);
	put(store, 4, 3, "exact");
	if (stored) {
		finish(store);
		store = begin();
	}
	return store;
}

/* Those that had a row of their own five-tuple keep their rule. */
static void packets_of_a_connection_are_settled(void **state)
{
	(void)state;
	for (int stored = 0; stored < 2; stored++) {
		struct store *store = begin_change(stored != 0);

		OK(store_restate_packets(store, 1, NULL, STORE_AHEAD, &rows_error));
		OK(store_restate_packets(store, 3, NULL, STORE_AHEAD, &rows_error));
		finish(store);
		ask_for(verdicts_sql, "1:ahead,1:ahead,2:gap,3:exact");
		rows_entries(true);
	}
}

static void packets_that_the_kernel_answered_change_and_go_back(void **state)
{
	(void)state;
	for (int stored = 0; stored < 2; stored++) {
		struct store *store = begin_change(stored != 0);

		OK(store_restate_packets(store, 1, "no-socket", STORE_LISTENER, &rows_error));
		OK(store_restate_packets(store, 3, "no-socket", STORE_RULES, &rows_error));
		OK(store_commit(store, &rows_error));
		OK(store_begin(store, &rows_error));
		OK(store_restate_packets(store, 1, NULL, STORE_LISTENER, &rows_error));
		finish(store);
		ask_for(verdicts_sql, "1:listener,1:listener,2:gap,3:no-socket");
		store = begin();
		OK(store_restate_packets(store, 1, "gap", STORE_RULES, &rows_error));
		finish(store);
		ask_for(verdicts_sql, "1:gap,1:gap,2:gap,3:no-socket");
		rows_entries(true);
	}
}

static void folded_packets_are_found_under_their_new_connection(void **state)
{
	(void)state;
	for (int stored = 0; stored < 2; stored++) {
		struct store *store = begin_change(stored != 0);

		OK(store_fold_connection(store, 3, 2, &rows_error));
		OK(store_fold_connection(store, 2, 1, &rows_error));
		put(store, 5 + 8 * stored, 1, "exact");
		finish(store);
		ask_for(verdicts_sql, "1:gap,1:listener,1:gap,1:exact,1:exact");
		ask_for("SELECT count(*) FROM packet WHERE connection_id = 1", "5");
		ask_for("SELECT count(*) FROM packet WHERE connection_id <> 1", "0");
		ask_for("SELECT group_concat(DISTINCT connection_id) FROM packet_stretch", "1");
		rows_entries(true);
	}
}

static void a_packet_comes_once_with_a_verdict(void **state)
{
	struct store *store = begin_with_connections(1);
	struct store_packet row = packet_of(store, 9, 1, "exact");

	(void)state;
	assert_true(store_packet_verdict(store, "guessed", NULL) < 0);
	assert_true(store_packet_verdict(store, NULL, NULL) < 0);
	OK(store_packet(store, &row, &rows_error));
	assert_int_equal(store_packet(store, &row, &rows_error), ERROR_USAGE);
	row.number = 10;
	row.verdict = store_packet_verdict(store, "guessed", NULL);
	assert_int_equal(store_packet(store, &row, &rows_error), ERROR_USAGE);
	assert_int_equal(store_restate_packets(store, 1, "guessed", STORE_RULES, &rows_error),
			 ERROR_DAMAGED);
	store_abandon(store);
}

static void a_transaction_that_is_undone_takes_its_packets_along(void **state)
{
	struct store *store = begin_change(true);

	(void)state;
	put(store, 20, 1, "exact");
	store_rollback(store);
	OK(store_begin(store, &rows_error));
	put(store, 30, 1, "exact");
	finish(store);
	ask_for("SELECT group_concat(number) FROM (SELECT * FROM packet ORDER BY number)",
		"1,2,3,4,30");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_packet_comes_back_as_it_was),
		TEST(every_packet_has_its_row),
		TEST(packets_are_found_without_reading_all),
		TEST(packets_of_a_connection_are_settled),
		TEST(packets_that_the_kernel_answered_change_and_go_back),
		TEST(folded_packets_are_found_under_their_new_connection),
		TEST(a_packet_comes_once_with_a_verdict),
		TEST(a_transaction_that_is_undone_takes_its_packets_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
