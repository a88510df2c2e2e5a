/* What store.h promises, on databases in a directory of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "analyze/schema_sql.h"
#include "analyze/storefile.h"
#include "tests/unit/rows.h"

/* ---------------------------------------------------------------- tests -- */

static void new_database_appears_only_at_finish(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);

	assert_int_equal(store_bucket_ns(store), 1000000000);
	assert_int_equal(access(rows_target, F_OK), -1);
	OK(store_finish(store, &rows_error));
	assert_int_equal(access(rows_target, F_OK), 0);
	assert_int_equal(rows_entries(false), 1);
}

static void new_database_is_ours_and_strict(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	assert_string_equal(rows_ask(rows_target, "PRAGMA application_id"), "1885566824");
	assert_string_equal(rows_ask(rows_target, "PRAGMA user_version"), STOREFILE_VERSION_TEXT);
	assert_string_equal(rows_ask(rows_target, "PRAGMA journal_mode"), "delete");
	assert_string_equal(rows_ask(rows_target, "PRAGMA page_size"), "4096");
	assert_string_equal(rows_ask(rows_target, "PRAGMA integrity_check"), "ok");
	assert_string_equal(rows_ask(rows_target, "PRAGMA foreign_key_check"), "");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT name FROM pragma_table_list WHERE type = 'table' "
				     "AND NOT strict AND name NOT LIKE 'sqlite_%'"),
			    "");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT count(*) FROM sqlite_schema WHERE type = 'index' "
				     "AND name = 'connection_start'"),
			    "1");
}

static void abandoned_database_leaves_nothing(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	store_abandon(store);
	assert_int_equal(rows_entries(false), 0);
	store_abandon(NULL);
}

static void every_column_is_described_once(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	const char *columns = "(SELECT s.name AS object, i.name AS \"column\", i.type "
			      "FROM sqlite_schema s, pragma_table_info(s.name) i "
			      "WHERE s.type IN ('table', 'view') AND s.name NOT LIKE 'sqlite_%' "
			      "UNION ALL SELECT name, '', type FROM sqlite_schema "
			      "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%')";
	char sql[2048];

	snprintf(sql, sizeof sql,
		 "SELECT object || '.' || \"column\" FROM %s "
		 "EXCEPT SELECT object || '.' || \"column\" FROM column_help",
		 columns);
	assert_string_equal(rows_ask(rows_target, sql), "");
	snprintf(sql, sizeof sql,
		 "SELECT object || '.' || \"column\" FROM column_help "
		 "EXCEPT SELECT object || '.' || \"column\" FROM %s",
		 columns);
	assert_string_equal(rows_ask(rows_target, sql), "");
	/* Computed columns of views have a type only for newer SQLite. */
	snprintf(sql, sizeof sql,
		 "SELECT h.object || '.' || h.\"column\" || ' is ' || c.type FROM column_help h "
		 "JOIN %s c USING (object, \"column\") JOIN sqlite_schema s ON s.name = h.object "
		 "WHERE h.type <> c.type AND s.type = 'table'",
		 columns);
	assert_string_equal(rows_ask(rows_target, sql), "");
	assert_string_equal(
		rows_ask(rows_target, "SELECT object FROM column_help WHERE description = ''"), "");
}

static void read_file(const char *path, char **bytes, size_t *length)
{
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	*length = (size_t)ftell(file);
	rewind(file);
	*bytes = malloc(*length);
	assert_int_equal(fread(*bytes, 1, *length, file), *length);
	fclose(file);
}

static void same_rows_give_the_same_bytes(void **state)
{
	(void)state;
	char other[128], *first, *second;
	size_t first_length, second_length;

	snprintf(other, sizeof other, "%s/other-name.db", rows_directory);
	rows_make_traffic(rows_target, 5000);
	rows_make_traffic(other, 17);
	read_file(rows_target, &first, &first_length);
	read_file(other, &second, &second_length);
	assert_int_equal(first_length, second_length);
	assert_memory_equal(first, second, first_length);
	/* The writer's version is not this machine's. */
	assert_memory_equal(first + 96, "\0\x2e\x57\x4a", 4);
	assert_string_equal(rows_ask(rows_target, "PRAGMA integrity_check"), "ok");
	assert_string_equal(
		rows_ask(rows_target, "SELECT count(*) FROM traffic WHERE connection_id = 9"), "0");
	free(first);
	free(second);
}

#define UUID "0123456789abcdef0123456789abcdef" /* of rows_recording */

static int note_loaded(const struct store_loaded *row, void *context, struct error *error)
{
	char *text = context;
	size_t length = strlen(text);

	(void)error;
	snprintf(text + length, 200 - length, "%s %s %s %s %d %d %d\n", row->pcap_sha256,
		 row->snap_sha256 ? row->snap_sha256 : "-",
		 row->content_sha256 ? row->content_sha256 : "-",
		 row->recording_uuid ? row->recording_uuid : "-", (int)row->packets, row->is_bare,
		 row->is_sound);
	return 0;
}

static void what_is_loaded_can_be_listed(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	struct store_segment bare = rows_segment(2, "cc", NULL), altered, damaged;
	struct store_coverage coverage = {.coverage_id = 1, .segment_id = 3, .kind = "altered"};
	char text[200] = "";

	bare.number = STORE_NULL;
	bare.content_sha256 = "c0";
	altered = rows_segment(3, "dd", "ee");
	damaged = rows_segment(4, "ff", "gg");
	damaged.state = "damaged";
	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	OK(store_segment(store, &bare, true, &rows_error));
	OK(store_segment(store, &altered, true, &rows_error));
	OK(store_coverage(store, &coverage, &rows_error));
	OK(store_segment(store, &damaged, true, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_loaded_each(store, note_loaded, text, &rows_error));
	assert_string_equal(text, "aa bb - " UUID " 4 0 1\n"
				  "cc - c0 " UUID " 0 1 1\n"
				  "dd ee - " UUID " 0 0 0\n"
				  "ff gg - " UUID " 0 0 0\n");
	assert_int_equal(store_last_id(store, "segment", &rows_error), 4);
	assert_int_equal(store_last_id(store, "snapshot", &rows_error), 0);
	assert_true(store_last_id(store, "traffic", &rows_error) < 0);
	assert_true(store_last_id(store, "flow; DROP TABLE flow", &rows_error) < 0);
	store_abandon(store);
}

static void adding_goes_on_in_place(void **state)
{
	(void)state;
	struct store_segment segment = rows_segment(2, "cc", "dd");

	rows_make_small(rows_target);
	struct store *store = rows_open(rows_target, 0, false);
	assert_int_equal(store_last_id(store, "flow", &rows_error), 1);
	OK(store_begin(store, &rows_error));
	OK(store_segment(store, &segment, true, &rows_error));
	OK(store_commit(store, &rows_error));
	/* The next segment fails half-way. */
	segment.segment_id = 3;
	OK(store_begin(store, &rows_error));
	OK(store_segment(store, &segment, true, &rows_error));
	rows_add_traffic(store, 1, 1, 1);
	store_abandon(store);
	assert_int_equal(rows_entries(false), 1);
	assert_string_equal(rows_ask(rows_target, "SELECT max(segment_id) FROM segment"), "2");
	assert_string_equal(rows_ask(rows_target, "SELECT count(*) FROM traffic"), "0");
	assert_string_equal(rows_ask(rows_target, "PRAGMA integrity_check"), "ok");
}

static void bucket_and_packets_are_fixed_at_creation(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 5000, true);

	OK(store_finish(store, &rows_error));
	store = rows_open(rows_target, 0, false);
	assert_int_equal(store_bucket_ns(store), 5000);
	assert_true(store_with_packets(store));
	OK(store_finish(store, &rows_error));
	assert_int_equal(store_open(rows_target, 6000, false, &store, &rows_error), ERROR_USAGE);
	assert_non_null(strstr(rows_error.message, "of 5us, and not of 6us"));
	unlink(rows_target);
	rows_make_small(rows_target);
	assert_int_equal(store_open(rows_target, 0, true, &store, &rows_error), ERROR_USAGE);
}

static void write_file(const char *path, const void *bytes, size_t length)
{
	FILE *file = fopen(path, "wb");

	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

static void refused(const char *found)
{
	struct store *store = NULL;
	struct sqlite3 *db = NULL;
	int before = rows_entries(false);

	assert_int_equal(store_open(rows_target, 0, false, &store, &rows_error), ERROR_DAMAGED);
	if (!strstr(rows_error.message, found))
		fail_msg("\"%s\" lacks \"%s\"", rows_error.message, found);
	assert_int_equal(storefile_open(rows_target, &db, &rows_error), ERROR_DAMAGED);
	assert_null(store);
	assert_null(db);
	assert_int_equal(rows_entries(false), before);
}

static void a_file_that_is_not_ours_is_left_alone(void **state)
{
	(void)state;
	char *bytes;
	size_t length;
	sqlite3 *db;

	write_file(rows_target, "hello, world", 12);
	refused("not a database");
	read_file(rows_target, &bytes, &length);
	assert_int_equal(length, 12);
	assert_memory_equal(bytes, "hello, world", 12);
	free(bytes);
	write_file(rows_target, "", 0);
	refused("empty");
	assert_int_equal(sqlite3_open(rows_target, &db), SQLITE_OK);
	sqlite3_exec(db, "CREATE TABLE t (a)", NULL, NULL, NULL);
	sqlite3_close(db);
	refused("application_id 0x00000000");
	assert_int_equal(sqlite3_open(rows_target, &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA application_id = 0x70637768; PRAGMA user_version = 1000", NULL,
		     NULL, NULL);
	sqlite3_close(db);
	refused("wanted a database of version " STOREFILE_VERSION_TEXT ", found version 1000");
	unlink(rows_target);
	assert_int_equal(mkdir(rows_target, 0700), 0);
	refused("a directory");
	rmdir(rows_target);
	assert_int_equal(mkfifo(rows_target, 0600), 0);
	refused("no regular file");
}

static void a_file_that_appears_meanwhile_is_not_replaced(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	char *bytes;
	size_t length;

	write_file(rows_target, "mine", 4);
	assert_int_equal(store_finish(store, &rows_error), ERROR_SYSTEM);
	read_file(rows_target, &bytes, &length);
	assert_int_equal(length, 4);
	free(bytes);
	assert_int_equal(rows_entries(false), 1);
}

/* SQLite would write it into the new database. */
static void what_an_old_database_left_is_not_taken_in(void **state)
{
	(void)state;
	static const char *const suffixes[] = {"-journal", "-wal"};
	char left[128];
	struct store *store = NULL;

	for (int i = 0; i < 2; i++) {
		snprintf(left, sizeof(left), "%s%s", rows_target, suffixes[i]);
		write_file(left, "", 0);
		assert_int_equal(store_open(rows_target, 0, false, &store, &rows_error),
				 ERROR_USAGE);
		assert_string_equal(rows_error.path, left);
		assert_int_equal(rows_entries(false), 1);
		unlink(left);
		store = rows_open(rows_target, 0, false);
		write_file(left, "", 0);
		assert_int_equal(store_finish(store, &rows_error), ERROR_USAGE);
		assert_string_equal(rows_error.path, left);
		assert_int_equal(rows_entries(false), 1);
		unlink(left);
		rows_make_small(rows_target);
		OK(store_open_merged(rows_target, true, 1, false, &store, &rows_error));
		write_file(left, "", 0);
		assert_int_equal(store_finish(store, &rows_error), ERROR_USAGE);
		assert_string_equal(rows_error.path, left);
		unlink(left);
		assert_string_equal(rows_ask(rows_target, "SELECT count(*) FROM segment"), "1");
		unlink(rows_target);
	}
}

static void a_missing_directory_is_named(void **state)
{
	(void)state;
	struct store *store = NULL;
	char path[128];

	snprintf(path, sizeof path, "%s/none/t.db", rows_directory);
	assert_int_equal(store_open(path, 0, false, &store, &rows_error), ERROR_SYSTEM);
	assert_non_null(strstr(rows_error.path, "/none/t.db"));
}

/* A limit on the size of files stands in for a full disk. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int fill_until_failure(struct store *store)
{
	int code = store_begin(store, &rows_error);

	for (int i = 0; i < 200000 && code == 0; i++) {
		struct store_traffic row = {1 + i, 1, 1, 1, 1, 1};
		code = store_traffic(store, &row, 1, &rows_error);
	}
	if (code == 0)
		code = store_commit(store, &rows_error);
	if (code == 0)
		code = store_finish(store, &rows_error);
	else
		store_abandon(store);
	return code;
}

static void a_full_disk_leaves_no_new_database(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);

	limit_files(1 << 20);
	int code = fill_until_failure(store);
	limit_files(RLIM_INFINITY);
	assert_int_equal(code, ERROR_SYSTEM);
	assert_string_equal(rows_error.path, rows_target);
	assert_true(strlen(rows_error.message) > 10);
	assert_int_equal(rows_entries(false), 0);
}

static void a_full_disk_leaves_an_old_database_as_it_was(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	struct store *store = rows_open(rows_target, 0, false);
	limit_files(1 << 20);
	int code = fill_until_failure(store);
	limit_files(RLIM_INFINITY);
	assert_int_equal(code, ERROR_SYSTEM);
	assert_string_equal(rows_ask(rows_target, "SELECT count(*) FROM traffic"), "0");
	assert_string_equal(rows_ask(rows_target, "SELECT count(*) FROM connection"), "1");
	assert_string_equal(rows_ask(rows_target, "PRAGMA integrity_check"), "ok");
	assert_int_equal(rows_entries(false), 1);
}

static void packet(struct store *store, int64_t number, int64_t connection, const char *rule)
{
	struct store_packet row = {.segment_id = 1,
				   .number = number,
				   .connection_id = connection,
				   .bytes = 60,
				   .verdict =
					   store_packet_verdict(store, rule, rule ? NULL : "gap")};

	OK(store_packet(store, &row, &rows_error));
}

static void fold_all(struct store *store)
{
	struct store_connection row = rows_unowned(2, 1, "ambiguous");
	struct store_candidate candidate = {2, 1, 5}, same = {1, 1, 5};

	OK(store_connection(store, &row, STORE_INSERT, &rows_error));
	row.connection_id = 3;
	OK(store_connection(store, &row, STORE_INSERT, &rows_error));
	OK(store_candidate(store, &candidate, &rows_error));
	OK(store_candidate(store, &candidate, &rows_error)); /* once more is ignored */
	OK(store_candidate(store, &same, &rows_error));
	for (int connection = 1; connection <= 3; connection++) {
		rows_add_traffic(store, connection, 10, 100);
		rows_add_traffic(store, connection, 10 + connection, 1);
		packet(store, connection, connection, connection == 1 ? "exact" : NULL);
	}
	OK(store_fold_connection(store, 3, 2, &rows_error));
	OK(store_fold_connection(store, 2, 1, &rows_error));
}

static void assert_folded(void)
{
	assert_string_equal(
		rows_ask(rows_target, "SELECT group_concat(connection_id) FROM connection"), "1");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(connection_id || ':' || bucket || ':' "
				     "|| sent_bytes) FROM traffic"),
			    "1:10:300,1:11:1,1:12:1,1:13:1");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(connection_id || ':' || process_id) "
				     "FROM candidate"),
			    "1:1");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(number || ':' || connection_id || ':' "
				     "|| coalesce(rule, reason)) FROM (SELECT * FROM packets ORDER "
				     "BY number)"),
			    "1:1:exact,2:1:gap,3:1:gap");
}

static void folding_moves_everything(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, true);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	fold_all(store);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_folded();
}

static void folding_moves_everything_in_place_too(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, true);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	store = rows_open(rows_target, 0, true);
	OK(store_begin(store, &rows_error));
	fold_all(store);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_folded();
}

static int collect(int64_t kind, const void *bytes, size_t length, void *context,
		   struct error *problem)
{
	char *text = context;
	size_t used = strlen(text);

	if (kind == 99)
		return error_set(problem, ERROR_INTERRUPTED, NULL, -1, "enough");
	snprintf(text + used, 256 - used, "%d=%.*s;", (int)kind, (int)length, (const char *)bytes);
	return 0;
}

static void carry_comes_back_in_order(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	char text[256] = "";

	OK(store_begin(store, &rows_error));
	OK(store_carry_put(store, 7, "old", 3, &rows_error));
	OK(store_carry_clear(store, &rows_error));
	OK(store_carry_put(store, 2, "b", 1, &rows_error));
	OK(store_carry_put(store, 1, NULL, 0, &rows_error));
	OK(store_carry_put(store, 3, "a", 1, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	store = rows_open(rows_target, 0, false);
	OK(store_carry_each(store, collect, text, &rows_error));
	assert_string_equal(text, "2=b;1=;3=a;");
	OK(store_begin(store, &rows_error));
	OK(store_carry_put(store, 99, "", 0, &rows_error));
	assert_int_equal(store_carry_each(store, collect, text, &rows_error), ERROR_INTERRUPTED);
	store_abandon(store);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(new_database_appears_only_at_finish),
		TEST(new_database_is_ours_and_strict),
		TEST(abandoned_database_leaves_nothing),
		TEST(every_column_is_described_once),
		TEST(same_rows_give_the_same_bytes),
		TEST(what_is_loaded_can_be_listed),
		TEST(adding_goes_on_in_place),
		TEST(bucket_and_packets_are_fixed_at_creation),
		TEST(a_file_that_is_not_ours_is_left_alone),
		TEST(a_file_that_appears_meanwhile_is_not_replaced),
		TEST(what_an_old_database_left_is_not_taken_in),
		TEST(a_missing_directory_is_named),
		TEST(a_full_disk_leaves_no_new_database),
		TEST(a_full_disk_leaves_an_old_database_as_it_was),
		TEST(folding_moves_everything),
		TEST(folding_moves_everything_in_place_too),
		TEST(carry_comes_back_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
