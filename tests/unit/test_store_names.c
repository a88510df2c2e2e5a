/* That of two who make one database at once, neither takes the other's file for its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/rows.h"

/* What is done to the copy's name while it is synced: after it was filled, and before it is put
 * in place. */
static void (*at_sync)(const char *copy);

static size_t count_temporary(const char *suffix, char *first, size_t size)
{
	char pattern[128];
	glob_t found;
	size_t count;

	snprintf(pattern, sizeof(pattern), "%s.tmp-*%s", rows_target, suffix);
	count = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
	if (count > 0 && first != NULL)
		snprintf(first, size, "%s", found.gl_pathv[0]);
	globfree(&found);
	return count;
}

/* In place of the C library's. */
int fsync(int fd)
{
	char copy[160];

	if (at_sync != NULL && count_temporary("-copy", copy, sizeof(copy)) == 1) {
		at_sync(copy);
		at_sync = NULL;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* Two PID namespaces give one number to two processes, which are as two stores of one. */
static void of_one_process_number_each_fills_its_own(void **state)
{
	struct store *a = rows_open(rows_target, 0, false), *b = rows_open(rows_target, 0, false);

	(void)state;
	assert_int_equal(count_temporary("", NULL, 0), 2);
	rows_fill_small(a);
	rows_fill_small(b);
	OK(store_finish(a, &rows_error));
	assert_int_equal(count_temporary("", NULL, 0), 1);
	assert_int_equal(store_finish(b, &rows_error), ERROR_SYSTEM);
	assert_non_null(strstr(rows_error.message, "put the database in place"));
	assert_int_equal(count_temporary("", NULL, 0), 0);
	assert_string_equal(rows_ask(rows_target, "PRAGMA integrity_check"), "ok");
}

static void put_another_there(const char *copy)
{
	FILE *file;

	assert_int_equal(unlink(copy), 0);
	file = fopen(copy, "w");
	assert_non_null(file);
	fputs("half", file);
	fclose(file);
}

static void what_replaced_the_copy_is_not_put_in_place(void **state)
{
	struct store *store = rows_open(rows_target, 0, false);
	struct stat status;

	(void)state;
	rows_fill_small(store);
	at_sync = put_another_there;
	assert_int_equal(store_finish(store, &rows_error), ERROR_SYSTEM);
	assert_non_null(strstr(rows_error.message, "removed or replaced"));
	assert_int_not_equal(stat(rows_target, &status), 0);
	/* It is somebody's. */
	assert_int_equal(count_temporary("", NULL, 0), 1);
	rows_entries(true);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(of_one_process_number_each_fills_its_own),
		FACT(what_replaced_the_copy_is_not_put_in_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
