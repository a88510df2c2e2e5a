/* A database that is merged is what it was when it was looked at first, or is refused. */
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
#include <unistd.h>

#include "analyze/store_fleet.h"
#include "analyze/store_source.h"
#include "snapshot/format/quantity.h"
#include "tests/unit/rows.h"

/* ------------------------------------------------------ somebody who writes -- */

static struct stat times; /* that the file keeps, whatever is done to it */

static void keep_times(void)
{
	const struct timespec both[2] = {times.st_atim, times.st_mtim};

	assert_int_equal(utimensat(AT_FDCWD, rows_target, both, 0), 0);
}

/* By way of SQLite, as any other program would. */
static void alter(const char *sql)
{
	sqlite3 *db = NULL;
	char *message = NULL;

	assert_int_equal(stat(rows_target, &times), 0);
	assert_int_equal(sqlite3_open(rows_target, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	sqlite3_close(db);
	keep_times();
}

/* https://www.sqlite.org/fileformat2.html 1.3: the number of changes, and what it was when the
 * pages were counted. */
static const off_t counters[] = {24, 92};

static void alter_uncounted(const char *sql)
{
	uint8_t before[2][4];
	int fd = open(rows_target, O_RDWR | O_CLOEXEC);

	for (int i = 0; i < 2; i++)
		assert_int_equal(pread(fd, before[i], 4, counters[i]), 4);
	alter(sql);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pwrite(fd, before[i], 4, counters[i]), 4);
	close(fd);
	keep_times();
}

/* At the first statement that begins so, of whoever asks SQLite anything. */
static const char *moment;
static void (*at_moment)(void);

static int on_statement(unsigned kind, void *context, void *statement, void *text)
{
	void (*act)(void) = at_moment;

	(void)kind;
	(void)context;
	(void)statement;
	if (act == NULL || strncmp(text, moment, strlen(moment)) != 0)
		return 0;
	at_moment = NULL;
	act();
	return 0;
}

static int watch(sqlite3 *db, char **message, const struct sqlite3_api_routines *routines)
{
	(void)message;
	(void)routines;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_statement, NULL);
}

static void when(const char *statement, void (*act)(void))
{
	moment = statement;
	at_moment = act;
	assert_int_equal(sqlite3_auto_extension((void (*)(void))watch), SQLITE_OK);
}

/* ----------------------------------------------------------- who merges it -- */

static struct store_ours *ours;
static struct store *store;
static struct store_unit unit;
static struct store_fleet fleet;
static struct store_fleet_source source;
static const int64_t recording_ids[] = {1};
static const uint32_t recording_units[] = {0};

/* What is watched is what is opened afterwards. */
static void open_store(void)
{
	char out[128];

	snprintf(out, sizeof(out), "%s/out.db", rows_directory);
	OK(store_open_merged(out, false, NS_PER_SECOND, false, &store, &rows_error));
}

static void open_watched(void)
{
	void (*act)(void) = at_moment;

	store_abandon(store);
	at_moment = NULL;
	open_store();
	at_moment = act;
}

static int set_up(void **state)
{
	rows_set_up(state);
	rows_make_small(rows_target);
	ours = NULL;
	store = NULL;
	OK(store_ours_new(&ours, &rows_error));
	open_store();
	unit = (struct store_unit){.host = "alpha", .boot = "b", .wanted = true};
	fleet = (struct store_fleet){.ours = ours, .units = &unit};
	return 0;
}

static int tear_down(void **state)
{
	sqlite3_reset_auto_extension();
	at_moment = NULL;
	store_fleet_source_release(&source);
	store_abandon(store);
	store_ours_free(ours);
	return rows_tear_down(state);
}

/* Looks at it first. */
static struct store_source *look(void)
{
	struct store_source *looked = NULL;

	OK(store_source_open(rows_target, ours, &looked, &rows_error));
	source = (struct store_fleet_source){
		.path = rows_target,
		.status = store_source_facts(looked)->status,
		.changes = store_source_facts(looked)->changes,
		.recording_ids = recording_ids,
		.recording_units = recording_units,
		.recording_count = 1,
	};
	return looked;
}

/* And then reads its rows. */
static int number(struct error *error)
{
	*error = (struct error)ERROR_NONE;
	return store_fleet_number(store, &fleet, &source, error);
}

/* ------------------------------------------------------------------- tests -- */

static void what_stays_as_it_was_is_read(void **state)
{
	struct error error;

	(void)state;
	store_source_close(look());
	assert_int_equal(number(&error), 0);
	assert_int_equal(unit.rows[STORE_OF_SEGMENT], 1);
}

static void what_was_written_since_is_refused_though_size_and_time_are_the_same(void **state)
{
	struct error error;

	(void)state;
	store_source_close(look());
	alter("UPDATE recording SET hostname = 'omega'");
	assert_int_equal(number(&error), ERROR_SYSTEM);
	assert_non_null(strstr(error.message, "it was changed while it was being merged"));
}

/* Its header says that nothing was written. */
static void tables_are_checked_where_rows_are_read(void **state)
{
	struct error error;

	(void)state;
	store_source_close(look());
	alter_uncounted("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET "
			"sql = replace(sql, ') STRICT', ')') WHERE name = 'coverage'");
	assert_int_equal(number(&error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "another table coverage"));
}

#define SWAP                                                                                       \
	"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(replace(replace("     \
	"sql, 'hostname TEXT', 'x TEXT'), 'kernel TEXT', 'hostname TEXT'), 'x TEXT', "             \
	"'kernel TEXT') WHERE name = 'recording'"

static void swap_back(void)
{
	alter(SWAP);
}

static int on_recording(const struct store_source_recording *row, void *context,
			struct error *error)
{
	(void)error;
	snprintf(context, 16, "%s", row->hostname != NULL ? row->hostname : "NULL");
	return 0;
}

/* SQLite has read it already, and its number is the same. */
static void the_schema_that_is_checked_is_the_one_that_is_gone_by(void **state)
{
	char host[16] = "";
	struct store_source *looked;

	(void)state;
	alter(SWAP);
	when("BEGIN", swap_back);
	looked = look();
	assert_null(at_moment);
	OK(store_source_recordings(looked, on_recording, host, &rows_error));
	assert_string_equal(host, "alpha");
	store_source_close(looked);
}

static void touch(void)
{
	struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, source.status.st_mtim};

	now[1].tv_sec++;
	assert_int_equal(utimensat(AT_FDCWD, rows_target, now, 0), 0);
}

/* By who keeps to no lock. */
static void what_is_written_while_it_is_read_is_refused(void **state)
{
	struct error error;

	(void)state;
	store_source_close(look());
	when("SELECT segment_id, recording_id", touch);
	open_watched();
	assert_int_equal(number(&error), ERROR_SYSTEM);
	assert_null(at_moment);
	assert_non_null(strstr(error.message, "it was changed while it was being merged"));
}

static bool is_locked;

static void try_to_write(void)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(rows_target, &db), SQLITE_OK);
	is_locked = sqlite3_exec(db, "UPDATE recording SET hostname = 'omega'", NULL, NULL, NULL) ==
		    SQLITE_BUSY;
	sqlite3_close(db);
}

/* From when SQLite reads its schema: it is not let go of before its rows are read. */
static void nobody_writes_it_while_it_is_attached(void **state)
{
	struct error error;

	(void)state;
	store_source_close(look());
	when("BEGIN", try_to_write);
	open_watched();
	is_locked = false;
	assert_int_equal(number(&error), 0);
	assert_null(at_moment);
	assert_true(is_locked);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_stays_as_it_was_is_read),
		TEST(what_was_written_since_is_refused_though_size_and_time_are_the_same),
		TEST(tables_are_checked_where_rows_are_read),
		TEST(the_schema_that_is_checked_is_the_one_that_is_gone_by),
		TEST(what_is_written_while_it_is_read_is_refused),
		TEST(nobody_writes_it_while_it_is_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
