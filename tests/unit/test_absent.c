/* test_absent.c - the segments that a log has and nobody gave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyze/absent.h"

static void note(struct absent *absent, uint64_t number, int64_t opened_ns, bool accounted)
{
	struct evidence_stem stem = {number, opened_ns};

	assert_int_equal(absent_note(absent, &stem, accounted), 0);
}

static void what_is_here_or_expired_is_not_absent(void **state)
{
	struct absent absent = {0};
	struct evidence_stem first;

	(void)state;
	assert_int_equal(absent_count(&absent, &first), 0);
	for (uint64_t number = 1; number <= 40; number++)
		note(&absent, number, 1000, false);
	for (uint64_t number = 40; number > 0; number--) {
		if (number != 7 && number != 9)
			note(&absent, number, 1000, true);
	}
	assert_int_equal(absent_count(&absent, &first), 2);
	assert_int_equal(first.number, 7);
	note(&absent, 7, 1000, true);
	assert_int_equal(absent_count(&absent, &first), 1);
	assert_int_equal(first.number, 9);
	absent_release(&absent);
}

/* Compressed later, so that the log has it twice; another recording has the number too. */
static void a_segment_is_its_number_and_time(void **state)
{
	struct absent absent = {0};
	struct evidence_stem first;

	(void)state;
	note(&absent, 3, 2000, false);
	note(&absent, 3, 2000, false);
	note(&absent, 3, 1000, true);
	assert_int_equal(absent_count(&absent, &first), 1);
	assert_int_equal(first.opened_ns, 2000);
	absent_release(&absent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_here_or_expired_is_not_absent),
		cmocka_unit_test(a_segment_is_its_number_and_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
