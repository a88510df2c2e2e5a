/* What store.h promises of rows, on databases in a directory of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/rows.h"

static void traffic_of_many_rows_adds_up(void **state)
{
	(void)state;
	static struct store_traffic rows[3000];
	struct store *store = rows_open(rows_target, 0, false);
	struct store_traffic wrong = {0, 5, 1, 1, 1, 1};

	for (int i = 0; i < 3000; i++)
		rows[i] = (struct store_traffic){1 + i / 300, -5 + i % 100, 1, i, 2, 2 * i};
	OK(store_begin(store, &rows_error));
	OK(store_traffic(store, rows, 0, &rows_error));
	OK(store_traffic(store, rows + 1, 2999, &rows_error));
	OK(store_traffic(store, rows, 2, &rows_error));
	assert_int_equal(store_traffic(store, &wrong, 1, &rows_error), ERROR_USAGE);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target,
				     "SELECT count(*) || ' ' || min(bucket) || ' ' || "
				     "sum(sent_packets) || ' ' || sum(sent_bytes) || ' ' || "
				     "sum(received_packets) || ' ' || sum(received_bytes) "
				     "FROM traffic"),
			    "1000 -5 3001 4498501 6002 8997002");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT sent_packets || ' ' || sent_bytes || ' ' || "
				     "received_packets || ' ' || received_bytes FROM traffic "
				     "WHERE connection_id = 1 AND bucket = -4"),
			    "4 304 8 608");
}

static void traffic_and_other_add_up(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	struct store_other other = {1, "arp", 2, 100};

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	rows_add_traffic(store, 1, 5, 10);
	rows_add_traffic(store, 1, 5, 7);
	rows_add_traffic(store, 1, 6, 1);
	OK(store_other(store, &other, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target,
				     "SELECT sent_packets || ' ' || sent_bytes || ' ' || "
				     "received_packets || ' ' || received_bytes FROM traffic "
				     "WHERE bucket = 5"),
			    "2 17 4 34");
	assert_string_equal(rows_ask(rows_target, "SELECT packets || ' ' || bytes FROM other"),
			    "3 128");
}

static void zero_and_null_become_null(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	assert_string_equal(rows_ask(rows_target, "SELECT interval_ns FROM recording"), "NULL");
	assert_string_equal(rows_ask(rows_target, "SELECT machine_id FROM recording"), "NULL");
	assert_string_equal(rows_ask(rows_target, "SELECT parent_process_id FROM process"), "NULL");
	assert_string_equal(rows_ask(rows_target, "SELECT icmp_id FROM flow"), "NULL");
	assert_string_equal(rows_ask(rows_target, "SELECT first_packet_ns FROM segment"), "NULL");
	assert_string_equal(rows_ask(rows_target, "SELECT ahead_packets FROM connection"), "0");
}

static void text_that_is_not_utf8_is_stored_as_utf8(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	struct store_process process = rows_process(1, 77, "\xff\xfe", "/caf\xc3\xa9", 0);

	process.cmdline = "a\xc3\x28\x80z";
	OK(store_begin(store, &rows_error));
	OK(store_recording(store, &rows_recording, true, &rows_error));
	OK(store_process(store, &process, true, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target, "SELECT comm || cmdline || exe FROM process"),
			    "\\xff\\xfe"
			    "a\\xc3(\\x80z/caf\xc3\xa9");
}

static void a_row_is_rewritten_whole(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	struct store_flow flow = rows_flow(1);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	flow.orig_packets = 99;
	flow.conn_state = "SF";
	OK(store_flow(store, &flow, STORE_REWRITE, &rows_error));
	flow.flow_id = 2;
	assert_true(store_flow(store, &flow, STORE_REWRITE, &rows_error) < 0);
	assert_non_null(strstr(rows_error.message, "no row 2"));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target, "SELECT orig_packets || conn_state FROM flow"),
			    "99SF");
}

static void refused_by_the_schema(const struct store_connection *row)
{
	struct store *store = rows_open(rows_target, 0, false);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	OK(store_connection(store, row, STORE_INSERT, &rows_error));
	assert_true(store_commit(store, &rows_error) < 0);
	assert_non_null(strstr(rows_error.message, "connection"));
	store_abandon(store);
}

static void rows_that_contradict_the_schema_are_refused(void **state)
{
	(void)state;
	struct store_connection row = rows_owned(2, 1, 1);
	struct store *store;

	row.reason = "gap"; /* and an owner */
	refused_by_the_schema(&row);
	row = rows_unowned(2, 1, "gap");
	row.process_id = 1;
	refused_by_the_schema(&row);
	row = rows_owned(2, 1, 0); /* a rule without an owner */
	refused_by_the_schema(&row);
	row = rows_owned(1, 1, 1); /* the id is taken */
	refused_by_the_schema(&row);
	store = rows_open(rows_target, 0, false);
	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	row = rows_unowned(2, 1, "tuesday");
	assert_true(store_connection(store, &row, STORE_INSERT, &rows_error) < 0);
	assert_non_null(strstr(rows_error.message, "tuesday"));
	row = rows_owned(0, 1, 1);
	assert_true(store_connection(store, &row, STORE_INSERT, &rows_error) < 0);
	row = rows_unowned(2, 1, "gap");
	OK(store_connection(store, &row, STORE_INSERT, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target, "SELECT count(*) FROM connection"), "2");
}

/* More rows than are held back at once, more texts, and one text longer than all of these; a row
 * is rewritten while it is held, or one is that was written before it. */
static void rows_that_are_held_back_are_all_written(void **state)
{
	enum { ROWS = 3000, LONGEST = 2000, NOT_UTF8 = 2009 };
	static char longest[1 << 18], wanted[64];
	static int64_t is[ROWS + 1]; /* the number that its text is */
	struct store *store = rows_open(rows_target, 0, false);
	char digits[400];
	long long sum = 0;

	(void)state;
	memset(longest, 'x', sizeof longest - 1);
	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	for (int64_t id = 2; id <= ROWS; id++) {
		struct store_flow flow = rows_flow(id);

		snprintf(digits, sizeof digits, "%0*d", (int)(id % 399), (int)id);
		flow.history = id == LONGEST ? longest : id == NOT_UTF8 ? "a\xff" : digits;
		OK(store_flow(store, &flow, STORE_INSERT, &rows_error));
		is[id] = flow.history == digits ? id : 0;
		if (id % 7 == 0)
			continue;
		flow.flow_id = id % 2 == 0 ? id : id / 2;
		OK(store_flow(store, &flow, STORE_REWRITE, &rows_error));
		is[flow.flow_id] = is[id];
	}
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	for (int64_t id = 2; id <= ROWS; id++)
		sum += id * is[id];
	snprintf(wanted, sizeof wanted, "%d %lld %zu", ROWS, sum + is[1], sizeof longest - 1);
	assert_string_equal(rows_ask(rows_target, "SELECT count(*) || ' ' || sum(flow_id * "
						  "CAST(history AS INTEGER)) || ' ' || "
						  "max(length(history)) FROM flow"),
			    wanted);
	assert_string_equal(rows_ask(rows_target, "SELECT history FROM flow WHERE flow_id = 2009"),
			    "a\\xff");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(traffic_of_many_rows_adds_up),
		TEST(traffic_and_other_add_up),
		TEST(zero_and_null_become_null),
		TEST(text_that_is_not_utf8_is_stored_as_utf8),
		TEST(a_row_is_rewritten_whole),
		TEST(rows_that_contradict_the_schema_are_refused),
		TEST(rows_that_are_held_back_are_all_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
