/* What the views of schema/views.sql promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/rows.h"

static void accounting_holds_flows_against_packets(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(scope || ':' || packets || '=' || "
				     "flow_packets || '+' || other_packets || '+' || difference) "
				     "FROM accounting"),
			    "segment:4=3+1+0,total:4=3+1+0");
	/* A flow's row that lost a packet shows in the total, whatever was counted. */
	struct store *store = rows_open(rows_target, 0, false);
	struct store_flow flow = rows_flow(1);
	flow.orig_packets = 1;
	OK(store_begin(store, &rows_error));
	OK(store_flow(store, &flow, false, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target, "SELECT group_concat(scope || ':' || difference) "
						  "FROM accounting"),
			    "segment:0,total:1");
}

static void candidates(struct store *store, int64_t connection, int64_t first, int64_t second)
{
	struct store_connection row = rows_unowned(connection, 1, "ambiguous");
	struct store_candidate candidate = {connection, first, 1};

	OK(store_connection(store, &row, true, &rows_error));
	OK(store_candidate(store, &candidate, &rows_error));
	candidate.process_id = second;
	OK(store_candidate(store, &candidate, &rows_error));
}

static void connections_show_what_all_candidates_agree_on(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	const struct store_process processes[] = {
		rows_process(2, 80, "nginx", "/usr/sbin/nginx", 33),
		rows_process(3, 81, "nginx", "/usr/sbin/nginx", 33),
		rows_process(4, 82, "worker", "/usr/sbin/nginx", 0),
		rows_process(5, 83, "nginx", "/opt/nginx", 33),
		rows_process(6, 84, "nginx", NULL, STORE_NULL),
		rows_process(7, 85, "nginx", NULL, 33),
	};

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	for (size_t i = 0; i < sizeof processes / sizeof *processes; i++)
		OK(store_process(store, &processes[i], true, &rows_error));
	candidates(store, 2, 2, 3); /* same program, same user */
	candidates(store, 3, 2, 4); /* same program under another name, other user */
	candidates(store, 4, 2, 5); /* same name, another program, same user */
	candidates(store, 5, 2, 6); /* one program is not known */
	candidates(store, 6, 6, 7); /* no program is known, the names agree */
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(
		rows_ask(rows_target,
			 "SELECT group_concat(connection_id || ' ' || ifnull(pid, '-') || ' ' || "
			 "ifnull(process, '-') || ' ' || ifnull(exe, '-') || ' ' || "
			 "ifnull(uid, '-'), ';') FROM connections"),
		"1 77 curl /usr/bin/curl 1000;"
		"2 - nginx /usr/sbin/nginx 33;"
		"3 - nginx /usr/sbin/nginx -;"
		"4 - - - 33;"
		"5 - - - -;"
		"6 - nginx - -");
}

static void connections_are_seen_from_their_end(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	struct store_process nameless = rows_process(2, 78, NULL, "/usr/bin/my server", 5);
	struct store_connection row = rows_owned(2, 1, 2);

	row.end = "resp";
	row.start_ns = 1795290600123456789;
	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	OK(store_process(store, &nameless, true, &rows_error));
	OK(store_connection(store, &row, true, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	const char *sql =
		"SELECT local_address || ':' || local_port || ' ' || remote_address || "
		"':' || remote_port || ' ' || direction || ' ' || process || ' ' || start "
		"|| ' ' || hostname FROM connections WHERE connection_id = ";
	char whole[512];
	snprintf(whole, sizeof whole, "%s1", sql);
	assert_string_equal(rows_ask(rows_target, whole),
			    "192.0.2.1:40000 192.0.2.2:443 outbound curl "
			    "1970-01-01T00:00:01.000000000Z alpha");
	snprintf(whole, sizeof whole, "%s2", sql);
	assert_string_equal(rows_ask(rows_target, whole),
			    "192.0.2.2:443 192.0.2.1:40000 inbound my server "
			    "2026-11-21T19:50:00.123456789Z alpha");
}

static void process_traffic_has_mean_and_peak(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store); /* 300 bytes in 2 s */
	struct store_connection more = rows_owned(2, 1, 1), none = rows_unowned(3, 1, "gap");
	OK(store_connection(store, &more, true, &rows_error));
	OK(store_connection(store, &none, true, &rows_error));
	rows_add_traffic(store, 1, 1, 40);
	rows_add_traffic(store, 2, 1, 40);
	rows_add_traffic(store, 1, 2, 60);
	rows_add_traffic(store, 3, 2, 1000);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(pid || ' ' || connections || ' ' || "
				     "remote_hosts || ' ' || sent_bytes || ' ' || "
				     "mean_bytes_per_second || ' ' || peak_bytes_per_second) "
				     "FROM process_traffic"),
			    "77 2 1 400 200 240");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(bucket || ':' || ifnull(pid, '-') || "
				     "':' || sent_bytes) FROM process_timeline"),
			    "1:77:80,2:-:1000,2:77:60");
	assert_string_equal(rows_ask(rows_target, "SELECT reason || ' ' || connections || ' ' || "
						  "packets_percent FROM unattributed"),
			    "gap 1 33.333");
}

/* A window in time must not read all of table traffic. */
static void a_bucket_of_the_timeline_is_found_by_index(void **state)
{
	(void)state;
	rows_make_traffic(rows_target, 5000);
	sqlite3 *db;
	sqlite3_stmt *statement;
	bool by_index = false;

	assert_int_equal(sqlite3_open_v2(rows_target, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "EXPLAIN QUERY PLAN SELECT * FROM process_timeline "
					    "WHERE bucket BETWEEN 5 AND 6",
					    -1, &statement, NULL),
			 SQLITE_OK);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		const char *detail = (const char *)sqlite3_column_text(statement, 3);
		by_index = by_index || (strstr(detail, "SEARCH t ") && strstr(detail, "bucket>?"));
		assert_null(strstr(detail, "SCAN t"));
	}
	assert_true(by_index);
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accounting_holds_flows_against_packets),
		TEST(connections_show_what_all_candidates_agree_on),
		TEST(connections_are_seen_from_their_end),
		TEST(process_traffic_has_mean_and_peak),
		TEST(a_bucket_of_the_timeline_is_found_by_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
