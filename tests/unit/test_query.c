/* What query.h promises, on a small database made from the schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyze/query.h"
#include "analyze/store.h"
#include "analyze/storefile.h"

static char path[] = "/tmp/test_query.XXXXXX";
static struct sqlite3 *db;
static struct error error = ERROR_NONE;
static char *printed;

static int make_database(void **state)
{
	struct store *store;
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	unlink(path);
	if (store_open(path, 0, false, &store, &error) != 0 || store_finish(store, &error) != 0 ||
	    storefile_open(path, &db, &error) != 0)
		fail_msg("%s", error.message);
	return 0;
}

static int remove_database(void **state)
{
	(void)state;
	free(printed);
	sqlite3_close(db);
	return unlink(path);
}

/* Runs sql with everything given; the output is in printed. */
static int run_with(const char *sql, const struct query_parameters *parameters,
		    struct query_output output)
{
	size_t size;

	free(printed);
	printed = NULL;
	output.stream = open_memstream(&printed, &size);
	int code = query_run(db, path, sql, parameters, &output, &error);
	fclose(output.stream);
	return code;
}

static const char *run(const char *sql, enum query_format format)
{
	struct query_parameters none = QUERY_NO_PARAMETERS;

	if (run_with(sql, &none, (struct query_output){.format = format}) != 0)
		fail_msg("%s: %s", sql, error.message);
	return printed;
}

static void refused(const char *sql, const char *wanted)
{
	struct query_parameters none = QUERY_NO_PARAMETERS;

	assert_int_equal(run_with(sql, &none, (struct query_output){.format = QUERY_CSV}),
			 ERROR_USAGE);
	if (!strstr(error.message, wanted))
		fail_msg("%s: \"%s\" lacks \"%s\"", sql, error.message, wanted);
	assert_string_equal(printed, "");
}

static void a_table_is_aligned(void **state)
{
	(void)state;
	assert_string_equal(run("SELECT 'a' AS name, 1 AS n, NULL AS x, 'p' AS last UNION ALL "
				"SELECT 'long one', 1000, NULL, 'q' UNION ALL "
				"SELECT NULL, -5, 2.5, 'r'",
				QUERY_TABLE),
			    "name         n    x  last\n"
			    "a            1    -  p\n"
			    "long one  1000    -  q\n"
			    "-           -5  2.5  r\n");
	assert_string_equal(run("SELECT 1 AS a, 2 AS b WHERE 0", QUERY_TABLE), "a  b\n");
	assert_string_equal(run("SELECT NULL AS cmdline", QUERY_TABLE), "cmdline\n-\n");
	assert_string_equal(run("SELECT '' AS a, x'' AS b, 'c' AS c", QUERY_TABLE),
			    "a  b  c\n      c\n");
	assert_string_equal(run("SELECT '' AS a, x'' AS b", QUERY_CSV), "a,b\r\n\"\",\"\"\r\n");
	assert_string_equal(run("SELECT '' AS a, x'' AS b", QUERY_JSON),
			    "[\n{\"a\":\"\",\"b\":\"\"}\n]\n");
}

static void a_table_counts_columns_and_not_bytes(void **state)
{
	(void)state;
	assert_string_equal(run("SELECT 'é' AS a, 'x' AS b UNION ALL SELECT '漢字', 'y' UNION ALL "
				"SELECT 'e' || char(0x301), 'z'",
				QUERY_TABLE),
			    "a     b\né     x\n漢字  y\ne\u0301     z\n");
}

static void a_table_shows_no_control_character(void **state)
{
	(void)state;
	assert_string_equal(run("SELECT char(27) || '[2J' || char(10, 9, 13, 127, 0x9b, 0x202e) || "
				"CAST(x'ff41' AS TEXT) AS t",
				QUERY_TABLE),
			    "t\n\\x1b[2J\\n\\t\\r\\x7f\\xc2\\x9b\\xe2\\x80\\xae\\xffA\n");
	assert_string_equal(run("SELECT 1 AS \"a\nb\"", QUERY_TABLE), "a\\nb\n   1\n");
}

static void many_rows_come_in_blocks_under_one_header(void **state)
{
	(void)state;
	const char *text = run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
			       "WHERE i < 2500) SELECT i FROM n",
			       QUERY_TABLE);
	int lines = 0;

	for (const char *at = text; *at; at++)
		lines += *at == '\n';
	assert_int_equal(lines, 2501);
	assert_int_equal(strncmp(text, "   i\n   1\n", 10), 0);
	assert_non_null(strstr(text, "\n1000\n1001\n"));
	assert_non_null(strstr(text, "\n2500\n"));
}

static void lines_are_cut_at_the_terminal_only(void **state)
{
	(void)state;
	struct query_parameters none = QUERY_NO_PARAMETERS;
	struct query_output terminal = {.format = QUERY_TABLE, .terminal = true, .width = 10};
	const char *sql = "SELECT 'abc' AS a, '漢字漢字漢字' AS b";

	assert_int_equal(run_with(sql, &none, terminal), 0);
	assert_string_equal(printed, "a    b\nabc  漢字…\n");
	terminal.width = 17;
	assert_int_equal(run_with(sql, &none, terminal), 0);
	assert_string_equal(printed, "a    b\nabc  漢字漢字漢字\n");
	terminal.width = 3;
	assert_int_equal(run_with(sql, &none, terminal), 0);
	assert_string_equal(printed, "a …\nab…\n");
	assert_string_equal(run(sql, QUERY_TABLE), "a    b\nabc  漢字漢字漢字\n");
}

static void bytes_are_for_people_only_where_asked(void **state)
{
	(void)state;
	struct query_parameters none = QUERY_NO_PARAMETERS;
	struct query_output output = {.format = QUERY_TABLE, .human = "x,sent"};
	const char *sql = "SELECT 1400000 AS sent, 1400000 AS sen";

	assert_int_equal(run_with(sql, &none, output), 0);
	assert_string_equal(printed, "  sent      sen\n1.4 MB  1400000\n");
	output.format = QUERY_CSV;
	assert_int_equal(run_with(sql, &none, output), 0);
	assert_string_equal(printed, "sent,sen\r\n1400000,1400000\r\n");
}

static void csv_is_that_of_rfc_4180(void **state)
{
	(void)state;
	assert_string_equal(run("SELECT 'plain' AS a, 'a,b' AS \"b,c\", 'say \"hi\"' AS c, "
				"'two' || char(13, 10) || 'lines' AS d, NULL AS e, '' AS f, "
				"-9223372036854775808 AS g, 1.5 AS h, x'00ff' AS i",
				QUERY_CSV),
			    "a,\"b,c\",c,d,e,f,g,h,i\r\n"
			    "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\",,\"\","
			    "-9223372036854775808,1.5,00ff\r\n");
	/* The bytes themselves to a file, harmless ones to a terminal. */
	struct query_parameters none = QUERY_NO_PARAMETERS;
	struct query_output terminal = {.format = QUERY_CSV, .terminal = true};
	const char *sql = "SELECT char(27) || 'c' AS a";
	assert_string_equal(run(sql, QUERY_CSV), "a\r\n\x1b"
						 "c\r\n");
	assert_int_equal(run_with(sql, &none, terminal), 0);
	assert_string_equal(printed, "a\r\n\\x1bc\r\n");
}

static void json_is_an_array_of_objects_one_a_line(void **state)
{
	(void)state;
	assert_string_equal(
		run("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 9007199254740993, NULL", QUERY_JSON),
		"[\n{\"a\":1,\"b\":\"x\"},\n{\"a\":9007199254740993,\"b\":null}\n]\n");
	assert_string_equal(run("SELECT 1 AS a WHERE 0", QUERY_JSON), "[]\n");
	assert_string_equal(
		run("SELECT '\"\\' || char(10, 27, 0x202e) || 'é' || "
		    "CAST(x'ff41c3' AS TEXT) AS \"k\"\"\", 9e999 AS b, x'0aff' AS c, 0.5 AS d",
		    QUERY_JSON),
		"[\n{\"k\\\"\":\"\\\"\\\\\\u000a\\u001b\\u202eé\xef\xbf\xbd"
		"A\xef\xbf\xbd\",\"b\":null,\"c\":\"0aff\",\"d\":0.5}\n]\n");
}

static void nothing_can_be_written(void **state)
{
	(void)state;
	refused("DELETE FROM flow", "only reads");
	refused("INSERT INTO setting VALUES ('a', 1)", "only reads");
	refused("CREATE TABLE t (a)", "only reads");
	refused("CREATE TEMP TABLE t (a)", "only reads");
	refused("CREATE TEMP VIEW v AS SELECT 1", "only reads");
	refused("DROP TABLE flow", "only reads");
	refused("ATTACH '/tmp/other' AS other", "only reads");
	refused("VACUUM INTO '/tmp/copy'", "only reads");
	refused("PRAGMA user_version = 7", "only reads");
	refused("PRAGMA writable_schema = 1", "only reads");
	refused("PRAGMA journal_mode = wal", "only reads");
	refused("BEGIN", "only reads");
	refused("SELECT load_extension('/tmp/x.so')", "not authorized");
	refused("REINDEX", "only reads");
	refused("UPDATE sqlite_master SET sql = ''", "");
	refused("INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)", "");
}

static void what_only_tells_is_allowed(void **state)
{
	(void)state;
	assert_string_equal(run("PRAGMA user_version", QUERY_CSV),
			    "user_version\r\n" STOREFILE_VERSION_TEXT "\r\n");
	assert_non_null(strstr(run("PRAGMA table_info(traffic)", QUERY_CSV), "received_bytes"));
	assert_non_null(strstr(run("SELECT name FROM pragma_table_info('traffic')", QUERY_CSV),
			       "received_bytes"));
	assert_string_equal(run("SELECT sum(value) AS s FROM json_each('[1,2]')", QUERY_CSV),
			    "s\r\n3\r\n");
	assert_non_null(
		strstr(run("EXPLAIN QUERY PLAN SELECT * FROM connections", QUERY_TABLE), "SCAN"));
}

static void a_mistake_is_shown_where_it_is(void **state)
{
	(void)state;
	refused("SELECT * FORM flow", "near \"FORM\"");
	refused("SELECT pidd FROM connections", "no such column: pidd");
	refused("SELECT 1; SELECT 2", "one statement");
	refused("SELECT 1; nonsense", "one statement");
	refused("", "no statement");
	refused("-- only this", "no statement");
	assert_string_equal(run("-- a comment\n;SELECT 1 AS a; -- and another\n ; ", QUERY_CSV),
			    "a\r\n1\r\n");
#if SQLITE_VERSION_NUMBER >= 3038000
	refused("SELECT * FORM flow", "at character 10: FORM flow");
#endif
}

static void parameters_are_bound_by_name(void **state)
{
	(void)state;
	struct query_parameters given = QUERY_NO_PARAMETERS;
	struct query_output csv = {.format = QUERY_CSV};
	const char *sql = "SELECT :since_ns AS s, :until_ns AS u, :process AS p, :limit AS l, "
			  ":bucket AS b, :host AS h";

	assert_int_equal(run_with(sql, &given, csv), 0);
	assert_string_equal(printed, "s,u,p,l,b,h\r\n,,,,,\r\n");
	given.since_ns = 5;
	assert_int_equal(run_with(sql, &given, csv), 0);
	assert_string_equal(printed, "s,u,p,l,b,h\r\n5,9223372036854775807,,,,\r\n");
	given = (struct query_parameters){QUERY_NULL, 9, "ng*x", 3, 10, "web"};
	assert_int_equal(run_with(sql, &given, csv), 0);
	assert_string_equal(printed, "s,u,p,l,b,h\r\n0,9,ng*x,3,10,web\r\n");
	assert_int_equal(run_with("SELECT :since_ns, :until_ns, :process, :limit", &given, csv),
			 ERROR_USAGE);
	assert_non_null(strstr(error.message, "--bucket"));
	assert_int_equal(
		run_with("SELECT :since_ns, :until_ns, :process, :limit, :bucket", &given, csv),
		ERROR_USAGE);
	assert_non_null(strstr(error.message, "--host"));
	refused("SELECT :other", ":other");
	refused("SELECT ?", "no value");
}

static void every_named_query_runs_and_says_what_it_is(void **state)
{
	(void)state;
	char text[512];
	int count = 0;

	for (const struct schema_query *query = schema_queries; query->name; query++, count++) {
		run(query->text, QUERY_TABLE);
		assert_non_null(query_directive(query->text, "", text, sizeof text));
		assert_true(strlen(text) > 5 && strlen(text) < 60);
		assert_ptr_equal(query_find(query->name), query);
		/* Columns shown for people are columns of the result. */
		char *human = query_directive(query->text, "human", text, sizeof text), *rest;
		run(query->text, QUERY_CSV);
		for (char *name = human; name; name = rest) {
			rest = strchr(name, ',');
			if (rest)
				*rest++ = '\0';
			if (!strstr(printed, name))
				fail_msg("%s has no column %s", query->name, name);
		}
	}
	assert_int_equal(count, 11);
	assert_null(query_find("nothing"));
}

/* Each has what it takes from the parts that several have in common. */
static void all_named_queries_ask_for_the_host(void **state)
{
	(void)state;
	for (const struct schema_query *query = schema_queries; query->name; query++) {
		if (!strstr(query->text, ":host"))
			fail_msg("%s does not ask for the host", query->name);
		if (strstr(query->text, "-- part:"))
			fail_msg("%s lacks a part", query->name);
	}
}

static void a_full_device_is_an_error(void **state)
{
	(void)state;
	struct query_parameters none = QUERY_NO_PARAMETERS;
	struct query_output output = {.format = QUERY_CSV, .stream = fopen("/dev/full", "w")};

	assert_non_null(output.stream);
	assert_int_equal(query_run(db, path, "SELECT 1", &none, &output, &error), ERROR_SYSTEM);
	fclose(output.stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_aligned),
		cmocka_unit_test(a_table_counts_columns_and_not_bytes),
		cmocka_unit_test(a_table_shows_no_control_character),
		cmocka_unit_test(many_rows_come_in_blocks_under_one_header),
		cmocka_unit_test(lines_are_cut_at_the_terminal_only),
		cmocka_unit_test(bytes_are_for_people_only_where_asked),
		cmocka_unit_test(csv_is_that_of_rfc_4180),
		cmocka_unit_test(json_is_an_array_of_objects_one_a_line),
		cmocka_unit_test(nothing_can_be_written),
		cmocka_unit_test(what_only_tells_is_allowed),
		cmocka_unit_test(a_mistake_is_shown_where_it_is),
		cmocka_unit_test(parameters_are_bound_by_name),
		cmocka_unit_test(every_named_query_runs_and_says_what_it_is),
		cmocka_unit_test(all_named_queries_ask_for_the_host),
		cmocka_unit_test(a_full_device_is_an_error),
	};

	return cmocka_run_group_tests(tests, make_database, remove_database);
}
