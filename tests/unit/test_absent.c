/* test_absent.c - the segments that a log has and nobody gave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyze/absent.h"

static void note(struct absent *absent, uint64_t number, int64_t opened_ns, const char *directory)
{
	struct evidence_stem stem = {number, opened_ns};

	assert_int_equal(absent_note(absent, &stem, directory), 0);
}

static void what_is_here_or_expired_is_not_absent(void **state)
{
	struct absent absent = {0};

	(void)state;
	absent_reduce(&absent);
	assert_int_equal(absent.count, 0);
	for (uint64_t number = 1; number <= 40; number++)
		note(&absent, number, 1000, "a");
	for (uint64_t number = 40; number > 0; number--) {
		if (number != 7 && number != 9)
			note(&absent, number, 1000, NULL);
	}
	absent_reduce(&absent);
	assert_int_equal(absent.count, 2);
	assert_int_equal(absent.notes[0].stem.number, 7);
	note(&absent, 7, 1000, NULL);
	absent_reduce(&absent);
	assert_int_equal(absent.count, 1);
	assert_int_equal(absent.notes[0].stem.number, 9);
	absent_release(&absent);
}

/* Compressed later, so that the log has it twice; another recording has the number too. */
static void a_segment_is_its_number_and_time(void **state)
{
	struct absent absent = {0};

	(void)state;
	note(&absent, 3, 2000, "a");
	note(&absent, 3, 2000, "a");
	note(&absent, 3, 1000, NULL);
	absent_reduce(&absent);
	assert_int_equal(absent.count, 1);
	assert_int_equal(absent.notes[0].stem.opened_ns, 2000);
	absent_release(&absent);
}

/* Which is the first does not depend on the order in which they were read. */
static void each_is_of_one_directory(void **state)
{
	struct absent absent = {0};

	(void)state;
	note(&absent, 2, 1000, "b");
	note(&absent, 4, 1000, "b");
	note(&absent, 3, 1000, "a");
	note(&absent, 2, 1000, "a");
	note(&absent, 1, 1000, "b");
	absent_reduce(&absent);
	assert_int_equal(absent.count, 4);
	for (size_t i = 0; i < absent.count; i++) {
		static const uint64_t numbers[] = {2, 3, 1, 4};

		assert_int_equal(absent.notes[i].stem.number, numbers[i]);
		assert_string_equal(absent.notes[i].directory, i < 2 ? "a" : "b");
	}
	absent_release(&absent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_here_or_expired_is_not_absent),
		cmocka_unit_test(a_segment_is_its_number_and_time),
		cmocka_unit_test(each_is_of_one_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
