#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "snapshot/format/quantity.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define UNTOUCHED    4242

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{"0", 0},
		{"10", 10 * NS_PER_SECOND},
		{"10s", 10 * NS_PER_SECOND},
		{"1.5s", 1500000000},
		{"500ms", 500000000},
		{"0.25ms", 250000},
		{"3us", 3000},
		{"7ns", 7},
		{"5m", 300 * NS_PER_SECOND},
		{"2h", 7200 * NS_PER_SECOND},
		{"7d", 604800 * NS_PER_SECOND},
		{"0.000000001", 1},
		{"0.9999999999999999999999s", 999999999},
		{"9223372036854775807ns", INT64_MAX},
		{"9223372036.854775807", INT64_MAX},
	};
	static const char *const bad[] = {
		"",
		"s",
		"-1s",
		"+1s",
		" 1s",
		"1s ",
		"1 s",
		"1.",
		".5s",
		"1..5",
		"1w",
		"1S",
		"1e3",
		"0x1",
		"1m5s",
		"inf",
		"nan",
		"9223372036854775808ns",
		"9223372036.854775808",
		"106752d",
		"99999999999999999999",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		int64_t ns = UNTOUCHED;
		assert_int_equal(quantity_parse_duration(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		int64_t ns = UNTOUCHED;
		if (quantity_parse_duration(bad[i], &ns) != -1 || ns != UNTOUCHED)
			fail_msg("taken as a duration: \"%s\"", bad[i]);
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"64K", 65536},
		{"64k", 65536},
		{"256M", UINT64_C(268435456)},
		{"10G", UINT64_C(10737418240)},
		{"1T", UINT64_C(1099511627776)},
		{"18446744073709551615", UINT64_MAX},
	};
	static const char *const bad[] = {
		"",	     "K",  "-1", "1.5G", "1KB", "1B", "1 K", "18446744073709551616",
		"16777216T", "1Q",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		uint64_t bytes = UNTOUCHED;
		assert_int_equal(quantity_parse_size(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t bytes = UNTOUCHED;
		if (quantity_parse_size(bad[i], &bytes) != -1 || bytes != UNTOUCHED)
			fail_msg("taken as a size: \"%s\"", bad[i]);
	}
}

static void percents(void **state)
{
	static const struct {
		const char *text;
		uint32_t ppm;
	} good[] = {
		{"0%", 0},	{"2%", 20000},	   {"0.5%", 5000},
		{"0.0001%", 1}, {"100%", 1000000}, {"100.000%", 1000000},
	};
	static const char *const bad[] = {
		"", "%", "2", "2 %", "-2%", "101%", "100.00001%", "2%%", "99999999999999999999%",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		uint32_t ppm = UNTOUCHED;
		assert_int_equal(quantity_parse_percent(good[i].text, &ppm), 0);
		assert_int_equal(ppm, good[i].ppm);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		uint32_t ppm = UNTOUCHED;
		if (quantity_parse_percent(bad[i], &ppm) != -1 || ppm != UNTOUCHED)
			fail_msg("taken as a percentage: \"%s\"", bad[i]);
	}
}

static void numbers(void **state)
{
	uint64_t value = UNTOUCHED;

	(void)state;
	assert_int_equal(quantity_parse_uint("65535", 65535, &value), 0);
	assert_int_equal(value, 65535);
	assert_int_equal(quantity_parse_uint("18446744073709551615", UINT64_MAX, &value), 0);
	assert_int_equal(value, UINT64_MAX);
	value = UNTOUCHED;
	assert_int_equal(quantity_parse_uint("65536", 65535, &value), -1);
	assert_int_equal(quantity_parse_uint("18446744073709551616", UINT64_MAX, &value), -1);
	assert_int_equal(quantity_parse_uint("", 1, &value), -1);
	assert_int_equal(quantity_parse_uint("-1", UINT64_MAX, &value), -1);
	assert_int_equal(quantity_parse_uint("1 ", 9, &value), -1);
	assert_int_equal(value, UNTOUCHED);
}

static void times(void **state)
{
	static const int64_t now = INT64_C(1795293000123456789);
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"1970-01-01", 0},
		{"2026-11-21T20:30:00Z", INT64_C(1795293000000000000)},
		{"2026-11-21 20:30:00", INT64_C(1795293000000000000)},
		{"2026-11-21T20:30", INT64_C(1795293000000000000)},
		{"2026-11-21T20:30:00.123456789Z", INT64_C(1795293000123456789)},
		{"2026-11-21T20:30:00.5", INT64_C(1795293000500000000)},
		{"2026-11-21T21:30:00+01:00", INT64_C(1795293000000000000)},
		{"2026-11-21T15:00:00-0530", INT64_C(1795293000000000000)},
		{"2024-02-29", INT64_C(1709164800000000000)},
		{"2000-02-29", INT64_C(951782400000000000)},
		{"2016-12-31T23:59:60Z", INT64_C(1483228800000000000)},
		{"1969-12-31T23:59:59.999999999Z", -1},
		{"2262-04-11T23:47:16.854775807Z", INT64_MAX},
		{"1677-09-21T00:12:43.145224192Z", INT64_MIN},
		{"@0", 0},
		{"@1795293000.123456789", INT64_C(1795293000123456789)},
		{"-10m", INT64_C(1795292400123456789)},
		{"-0", INT64_C(1795293000123456789)},
	};
	static const char *const bad[] = {
		"",
		"now",
		"2026",
		"2026-11",
		"2026-11-21T",
		"2026-11-21T20",
		"2026-02-30",
		"2023-02-29",
		"1900-02-29",
		"2026-13-01",
		"2026-00-01",
		"2026-01-00",
		"2026-1-01",
		"2026-11-21T24:00:00Z",
		"2026-11-21T20:60:00Z",
		"2026-11-21T20:30:61Z",
		"2026-11-21T20:30:00.Z",
		"2026-11-21T20:30:00.1234567890Z",
		"2026-11-21T20:30:00Zx",
		"2026-11-21T20:30:00+1",
		"2026-11-21T20:30:00+24:00",
		"2026-11-21T20:30:00+01:60",
		"2026-11-21Z",
		"26-11-21",
		"2262-04-11T23:47:17Z",
		"1677-09-21T00:12:43.145224191Z",
		"0000-01-01",
		"9999-12-31",
		"@",
		"@-1",
		"@1.",
		"@9223372037",
		"@99999999999999999999",
		"-",
		"-10x",
		"--10m",
		" 2026-11-21",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		int64_t ns = UNTOUCHED;
		if (quantity_parse_time(good[i].text, now, &ns) != 0 || ns != good[i].ns)
			fail_msg("%s: %" PRId64 " instead of %" PRId64, good[i].text, ns,
				 good[i].ns);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		int64_t ns = UNTOUCHED;
		if (quantity_parse_time(bad[i], now, &ns) != -1 || ns != UNTOUCHED)
			fail_msg("taken as a time: \"%s\"", bad[i]);
	}
	int64_t ns = UNTOUCHED;
	assert_int_equal(quantity_parse_time("-1d", INT64_MIN + 1, &ns), -1);
	assert_int_equal(ns, UNTOUCHED);
}

static void times_are_written_in_utc_whatever_the_zone(void **state)
{
	char text[QUANTITY_TIME_SIZE];

	(void)state;
	setenv("TZ", "Asia/Kathmandu", 1);
	tzset();
	assert_string_equal(quantity_format_time(INT64_C(1795293000123456789), text, sizeof(text)),
			    "2026-11-21T20:30:00.123456789Z");
	assert_string_equal(quantity_format_time(0, text, sizeof(text)),
			    "1970-01-01T00:00:00.000000000Z");
	assert_string_equal(quantity_format_time(-1, text, sizeof(text)),
			    "1969-12-31T23:59:59.999999999Z");
	assert_string_equal(quantity_format_time(INT64_MIN, text, sizeof(text)),
			    "1677-09-21T00:12:43.145224192Z");
	assert_string_equal(quantity_format_time(INT64_MAX, text, sizeof(text)),
			    "2262-04-11T23:47:16.854775807Z");
}

/* The C library's calendar, day by day over all days that fit. */
static void dates_agree_with_gmtime(void **state)
{
	(void)state;
	for (int64_t day = -106750; day <= 106750; day++) {
		time_t seconds = (time_t)(day * 86400 + 3661);
		char text[QUANTITY_TIME_SIZE], wanted[QUANTITY_TIME_SIZE];
		struct tm tm;
		int64_t again;

		gmtime_r(&seconds, &tm);
		strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%S.000000000Z", &tm);
		quantity_format_time((int64_t)seconds * NS_PER_SECOND, text, sizeof(text));
		assert_string_equal(text, wanted);
		assert_int_equal(quantity_parse_time(text, 0, &again), 0);
		assert_int_equal(again, (int64_t)seconds * NS_PER_SECOND);
	}
}

static void bytes_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{312, "312 B"},
		{999, "999 B"},
		{1000, "1.0 kB"},
		{1049, "1.0 kB"},
		{1050, "1.1 kB"},
		{999949, "999.9 kB"},
		{999950, "1.0 MB"},
		{1400000, "1.4 MB"},
		{UINT64_C(2500000000), "2.5 GB"},
		{UINT64_C(1000000000000), "1.0 TB"},
		{UINT64_MAX, "18.4 EB"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[32];
		assert_string_equal(quantity_format_bytes(cases[i].bytes, text, sizeof(text)),
				    cases[i].text);
	}
}

static void durations_are_told_as_they_are_read(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} cases[] = {
		{0, "0ns"},
		{1, "1ns"},
		{1500, "1500ns"},
		{500 * INT64_C(1000000), "500ms"},
		{10 * NS_PER_SECOND, "10s"},
		{3600 * NS_PER_SECOND, "3600s"},
		{INT64_MAX, "9223372036854775807ns"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[QUANTITY_DURATION_SIZE];
		int64_t read_ns;

		assert_string_equal(quantity_format_duration(cases[i].ns, text, sizeof(text)),
				    cases[i].text);
		assert_int_equal(quantity_parse_duration(text, &read_ns), 0);
		assert_int_equal(read_ns, cases[i].ns);
	}
}

static void now_lies_between_two_looks_at_its_clock(void **state)
{
	struct timespec before, after;
	int64_t now_ns;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &before);
	now_ns = quantity_now_ns(CLOCK_MONOTONIC);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(now_ns >= before.tv_sec * NS_PER_SECOND + before.tv_nsec);
	assert_true(now_ns <= after.tv_sec * NS_PER_SECOND + after.tv_nsec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),
		cmocka_unit_test(sizes),
		cmocka_unit_test(percents),
		cmocka_unit_test(numbers),
		cmocka_unit_test(times),
		cmocka_unit_test(times_are_written_in_utc_whatever_the_zone),
		cmocka_unit_test(dates_agree_with_gmtime),
		cmocka_unit_test(bytes_for_people),
		cmocka_unit_test(durations_are_told_as_they_are_read),
		cmocka_unit_test(now_lies_between_two_looks_at_its_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
