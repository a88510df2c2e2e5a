#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "snapshot/format/escape.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void every_byte_comes_back(void **state)
{
	char in[256 * 2], out[sizeof(in) * ESCAPE_GROWTH];
	bool has_nul;

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (char)(i % 2 ? 'a' : (uint8_t)(i / 2));
	size_t length = escape_write(in, sizeof(in), out);
	assert_null(memchr(out, '\t', length));
	assert_null(memchr(out, '\n', length));
	assert_int_equal(escape_read(out, length, NULL, &has_nul), sizeof(in));
	assert_int_equal(escape_read(out, length, out, &has_nul), sizeof(in));
	assert_true(has_nul);
	assert_memory_equal(out, in, sizeof(in));
}

static void escapes_are_those_of_copy(void **state)
{
	static const char *const cases[][2] = {
		{"a b", "a b"},
		{"\\", "\\\\"},
		{"\\N", "\\\\N"},
		{"\t\n\r", "\\t\\n\\r"},
		{"\b\f\v", "\\b\\f\\v"},
		{"\x01\x1f\x7f", "\\x01\\x1f\\x7f"},
		{"\xc3\xa4", "\xc3\xa4"},
		{"\xff", "\\xff"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char out[64];
		size_t length = escape_write(cases[i][0], strlen(cases[i][0]), out);
		assert_int_equal(length, strlen(cases[i][1]));
		assert_memory_equal(out, cases[i][1], length);
	}
}

static void only_utf8_stays_as_it_is(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} cases[] = {
		{"a", 1},
		{"\xc2\x80", 2},
		{"\xdf\xbf", 2},
		{"\xe0\xa0\x80", 3},
		{"\xed\x9f\xbf", 3},
		{"\xef\xbf\xbf", 3},
		{"\xf0\x90\x80\x80", 4},
		{"\xf4\x8f\xbf\xbf", 4},
		{"\x80", 0},	 /* a continuation alone */
		{"\xc0\x80", 0}, /* overlong */
		{"\xc1\xbf", 0},
		{"\xe0\x9f\xbf", 0},
		{"\xf0\x8f\xbf\xbf", 0},
		{"\xed\xa0\x80", 0},	 /* a surrogate */
		{"\xf4\x90\x80\x80", 0}, /* over U+10FFFF */
		{"\xf5\x80\x80\x80", 0},
		{"\xc3", 0}, /* torn */
		{"\xe2\x82", 0},
		{"\xf0\x9f\x98", 0},
		{"\xc3\x28", 0},
		{"\xe2\x28\xa1", 0},
		{"\xe2\x82\x28", 0},
		{"\xf0\x9f\x98\x28", 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *bytes = cases[i].bytes;
		if (escape_utf8_length((const uint8_t *)bytes, strlen(bytes)) != cases[i].length)
			fail_msg("case %zu is not of length %zu", i, cases[i].length);
	}
}

static void torn_and_unknown_escapes_are_refused(void **state)
{
	static const char *const bad[] = {
		"\\", "a\\", "\\q", "\\N", "\\X41", "\\x", "\\x4", "\\x4g", "\\xg4", "\\1", "\\ ",
	};
	bool has_nul;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(escape_read(bad[i], strlen(bad[i]), NULL, &has_nul), -1);
	assert_int_equal(escape_read("a\0b", 3, NULL, &has_nul), -1);
	/* Cut where it is told, not where the text ends. */
	assert_int_equal(escape_read("\\x41", 3, NULL, &has_nul), -1);
}

static void what_steers_a_terminal_is_shown_as_hex(void **state)
{
	static const struct {
		const char *bytes, *shown;
		size_t taken;
	} facts[] = {
		{"a", "a", 1},
		{"\\", "\\", 1}, /* a record has its own */
		{"\xc3\xa9x", "\xc3\xa9", 2},
		{"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", 4},
		{"\x1b[2J", "\\x1b", 1},
		{"\x7f", "\\x7f", 1},
		{"\xc2\x9b", "\\xc2\\x9b", 2},		/* C1 */
		{"\xe2\x80\xae", "\\xe2\\x80\\xae", 3}, /* right to left */
		{"\x9b", "\\x9b", 1},
		{"\xe2\x80", "\\xe2", 1}, /* torn */
	};
	char shown[ESCAPE_SHOWN_SIZE];
	size_t length;

	(void)state;
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		const uint8_t *bytes = (const uint8_t *)facts[i].bytes;

		assert_int_equal(escape_show(bytes, strlen(facts[i].bytes), shown, &length),
				 facts[i].taken);
		assert_int_equal(length, strlen(facts[i].shown));
		assert_memory_equal(shown, facts[i].shown, length);
	}
}

static void a_database_has_utf8_alone(void **state)
{
	static const char *const facts[][2] = {
		{"", ""},
		{"a\xc3\xa9", "a\xc3\xa9"},
		{"a\xe9 b\xff", "a\\xe9 b\\xff"},
		{"\xe2\x80", "\\xe2\\x80"},
		{"\x1b\\", "\x1b\\"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		char *stored = escape_stored(facts[i][0]);

		assert_string_equal(stored, facts[i][1]);
		free(stored);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_comes_back),
		cmocka_unit_test(escapes_are_those_of_copy),
		cmocka_unit_test(only_utf8_stays_as_it_is),
		cmocka_unit_test(torn_and_unknown_escapes_are_refused),
		cmocka_unit_test(what_steers_a_terminal_is_shown_as_hex),
		cmocka_unit_test(a_database_has_utf8_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
