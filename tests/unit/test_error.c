#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/format/error.h"

static void a_failure_is_one_statement(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	errno = EIO;
	assert_int_equal(error_set(&error, ERROR_USAGE, "a/b", 7, "wanted %d", 3), ERROR_USAGE);
	assert_int_equal(error.code, ERROR_USAGE);
	assert_int_equal(error.saved_errno, 0);
	assert_int_equal(error.offset_bytes, 7);
	assert_string_equal(error.path, "a/b");
	assert_string_equal(error.message, "wanted 3");
}

static void no_error_struct_is_fine(void **state)
{
	(void)state;
	errno = EACCES;
	assert_int_equal(error_set(NULL, ERROR_LIMIT, NULL, -1, "x"), ERROR_LIMIT);
	assert_int_equal(error_errno(NULL, NULL, "x"), ERROR_SYSTEM);
	assert_int_equal(error_damage(NULL, NULL, 0, "x", "y"), ERROR_DAMAGED);
}

static void errno_decides_the_code_and_ends_the_message(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	errno = EACCES;
	assert_int_equal(error_errno(&error, "f", "cannot open %s", "f"), ERROR_SYSTEM);
	assert_int_equal(error.saved_errno, EACCES);
	assert_string_equal(error.message, "cannot open f: Permission denied");
	assert_int_equal(error.offset_bytes, -1);
	errno = ENOENT;
	assert_int_equal(error_errno(&error, "f", "cannot open"), ERROR_NO_INPUT);
	assert_int_equal(error.saved_errno, 0);
	errno = ENOMEM;
	assert_int_equal(error_errno(&error, "f", "cannot open"), ERROR_MEMORY);
}

static void a_long_message_keeps_the_reason(void **state)
{
	struct error error = ERROR_NONE;
	char longer[2000];

	(void)state;
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	errno = ENOSPC;
	error_errno(&error, NULL, "%s", longer);
	assert_non_null(strstr(error.message, ": No space left on device"));
}

static void damage_says_wanted_and_found(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	assert_int_equal(error_damage(&error, "f", 9, "a port", "\"%s\"", "x"), ERROR_DAMAGED);
	assert_string_equal(error.message, "wanted a port, found \"x\"");
	assert_int_equal(error.offset_bytes, 9);
}

static void a_long_path_loses_its_left_end(void **state)
{
	struct error error = ERROR_NONE;
	char path[600];

	(void)state;
	memset(path, 'd', sizeof(path) - 1);
	memcpy(path + sizeof(path) - 6, "/end!", 6);
	error_set(&error, ERROR_LIMIT, path, -1, "x");
	assert_int_equal(strlen(error.path), sizeof(error.path) - 1);
	assert_memory_equal(error.path, "...d", 4);
	assert_string_equal(error.path + strlen(error.path) - 5, "/end!");
}

static void an_empty_path_is_seen(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	errno = ENOENT;
	error_errno(&error, "", "cannot open");
	assert_string_equal(error.path, "\"\"");
	error_errno(&error, NULL, "cannot open");
	assert_string_equal(error.path, "");
}

static void an_error_can_be_made_of_itself(void **state)
{
	struct error error = ERROR_NONE;

	(void)state;
	error_set(&error, ERROR_DAMAGED, "inner", 5, "torn");
	error_set(&error, error.code, error.path, error.offset_bytes, "segment 1: %s",
		  error.message);
	assert_string_equal(error.path, "inner");
	assert_string_equal(error.message, "segment 1: torn");
}

/* What error_print() puts on stderr. */
static void printed(const struct error *error, char *out, size_t size)
{
	int ends[2], kept = dup(STDERR_FILENO);

	assert_true(kept >= 0);
	assert_int_equal(pipe(ends), 0);
	fflush(stderr);
	dup2(ends[1], STDERR_FILENO);
	error_print("pcapwho", error);
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(ends[1]);
	ssize_t length = read(ends[0], out, size - 1);
	close(ends[0]);
	assert_true(length >= 0);
	out[length] = '\0';
}

static void it_prints_program_path_place_and_message(void **state)
{
	struct error error = ERROR_NONE;
	char out[4096];

	(void)state;
	error_set(&error, ERROR_DAMAGED, "x.snap", 12, "torn");
	printed(&error, out, sizeof(out));
	assert_string_equal(out, "pcapwho: x.snap: at byte 12: torn\n");
	error_set(&error, ERROR_USAGE, NULL, -1, "no such verb");
	printed(&error, out, sizeof(out));
	assert_string_equal(out, "pcapwho: no such verb\n");
}

static void nothing_printed_can_steer_a_terminal(void **state)
{
	struct error error = ERROR_NONE;
	char out[4096];

	(void)state;
	error_set(&error, ERROR_USAGE, "a\nb", -1, "\x1b[2J \x7f \xc2\x9b \xff \xc3\xa4 \\");
	printed(&error, out, sizeof(out));
	assert_string_equal(out, "pcapwho: a\\x0ab: \\x1b[2J \\x7f \\xc2\\x9b \\xff \xc3\xa4 \\\n");
	error_set(&error, ERROR_USAGE, "\xe2\x80\xaegnp.exe", -1,
		  "\xd8\x9c \xe2\x81\xa9 \xe2\x82\xac");
	printed(&error, out, sizeof(out));
	assert_string_equal(out, "pcapwho: \\xe2\\x80\\xaegnp.exe: \\xd8\\x9c \\xe2\\x81\\xa9 "
				 "\xe2\x82\xac\n");
}

static void every_error_has_its_exit_status(void **state)
{
	static const struct {
		int code;
		enum exit_status status;
	} cases[] = {
		{0, EXIT_DONE},
		{ERROR_SYSTEM, EXIT_FAILED},
		{ERROR_MEMORY, EXIT_FAILED},
		{ERROR_DAMAGED, EXIT_DAMAGED},
		{ERROR_USAGE, EXIT_BAD_USAGE},
		{ERROR_NO_INPUT, EXIT_NO_INPUT},
		{ERROR_LIMIT, EXIT_FAILED},
		{ERROR_INTERRUPTED, EXIT_FAILED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error error = ERROR_NONE;
		error.code = (enum error_code)cases[i].code;
		assert_int_equal(error_exit_status(&error), cases[i].status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_is_one_statement),
		cmocka_unit_test(no_error_struct_is_fine),
		cmocka_unit_test(errno_decides_the_code_and_ends_the_message),
		cmocka_unit_test(a_long_message_keeps_the_reason),
		cmocka_unit_test(damage_says_wanted_and_found),
		cmocka_unit_test(a_long_path_loses_its_left_end),
		cmocka_unit_test(an_empty_path_is_seen),
		cmocka_unit_test(an_error_can_be_made_of_itself),
		cmocka_unit_test(it_prints_program_path_place_and_message),
		cmocka_unit_test(nothing_printed_can_steer_a_terminal),
		cmocka_unit_test(every_error_has_its_exit_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
