#include "snapshot/format/quantity.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SECONDS_PER_DAY INT64_C(86400)

int64_t quantity_now_ns(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at *text into *out; moves *text behind them. False: none, or overflow. */
static bool take_digits(const char **text, uint64_t *out)
{
	const char *at = *text;
	uint64_t value = 0;

	if (!is_digit(*at))
		return false;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return false;
	}
	*text = at;
	*out = value;
	return true;
}

/* The end of "12" or "12.34" at text; NULL if neither. */
static const char *number_end(const char *text)
{
	if (!is_digit(*text))
		return NULL;
	while (is_digit(*text))
		text++;
	if (*text != '.')
		return text;
	if (!is_digit(*++text))
		return NULL;
	while (is_digit(*text))
		text++;
	return text;
}

/* The number <text, end> times unit, rounded down. False if it overflows. */
static bool scale_number(const char *text, const char *end, uint64_t unit, uint64_t *out)
{
	uint64_t whole, fraction = 0;

	if (!take_digits(&text, &whole) || __builtin_mul_overflow(whole, unit, &whole))
		return false;
	/* From the last digit to the first, so that each division rounds down
	 * what the one before left and the result is exact for any number of digits. */
	for (const char *at = end; at > text + 1;) {
		at--;
		fraction = (fraction + (uint64_t)(*at - '0') * unit) / 10;
	}
	return !__builtin_add_overflow(whole, fraction, out);
}

int quantity_parse_duration(const char *text, int64_t *out_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{"", 1000000000},
		{"s", 1000000000},
		{"ms", 1000000},
		{"us", 1000},
		{"ns", 1},
		{"m", UINT64_C(60000000000)},
		{"h", UINT64_C(3600000000000)},
		{"d", UINT64_C(86400000000000)},
	};
	const char *end = number_end(text);
	uint64_t value;

	for (size_t i = 0; end && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (!scale_number(text, end, units[i].ns, &value) || value > INT64_MAX)
			return -1;
		*out_ns = (int64_t)value;
		return 0;
	}
	return -1;
}

int quantity_parse_size(const char *text, uint64_t *out_bytes)
{
	static const char units[] = "KMGT";
	uint64_t value;

	if (!take_digits(&text, &value))
		return -1;
	if (*text != '\0') {
		char letter = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;
		const char *unit = strchr(units, letter);

		if (!unit || text[1] != '\0' ||
		    __builtin_mul_overflow(value, UINT64_C(1) << (10 * (unit - units + 1)), &value))
			return -1;
	}
	*out_bytes = value;
	return 0;
}

int quantity_parse_percent(const char *text, uint32_t *out_ppm)
{
	const char *end = number_end(text);
	uint64_t value;

	if (!end || strcmp(end, "%") != 0 || !scale_number(text, end, 10000, &value) ||
	    value > 1000000)
		return -1;
	/* 100.00001% rounds down to the whole, and is more than it. */
	if (value == 1000000 && strspn(text, "0123456789") < (size_t)(end - text)) {
		const char *fraction = text + strspn(text, "0123456789") + 1;
		if (strspn(fraction, "0") < (size_t)(end - fraction))
			return -1;
	}
	*out_ppm = (uint32_t)value;
	return 0;
}

int quantity_parse_uint(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t value;

	if (!take_digits(&text, &value) || *text != '\0' || value > max)
		return -1;
	*out = value;
	return 0;
}

/* Exactly count digits at *text, and behind them. */
static bool take_fixed(const char **text, int count, int *out)
{
	int value = 0;

	for (int i = 0; i < count; i++) {
		if (!is_digit((*text)[i]))
			return false;
		value = value * 10 + ((*text)[i] - '0');
	}
	*text += count;
	*out = value;
	return true;
}

static bool take_char(const char **text, char wanted)
{
	if (**text != wanted)
		return false;
	++*text;
	return true;
}

/* ".123" at *text, at most nine digits, as nanoseconds; nothing there is 0. */
static bool take_fraction(const char **text, int64_t *out_ns)
{
	int64_t value = 0, unit = NS_PER_SECOND;

	*out_ns = 0;
	if (**text != '.')
		return true;
	++*text;
	if (!is_digit(**text))
		return false;
	for (; is_digit(**text); ++*text) {
		unit /= 10;
		if (unit == 0)
			return false;
		value += (**text - '0') * unit;
	}
	*out_ns = value;
	return true;
}

static bool is_leap_year(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap_year(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01 of a date in the Gregorian calendar, by eras of 400
 * years that begin on 1 March (H. Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_from_civil(int year, int month, int day)
{
	int64_t shifted = month <= 2 ? year - 1 : year;
	int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
	int64_t year_of_era = shifted - era * 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t day_of_era = shifted - era * 146097;
	int64_t year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month_from_march = (5 * day_of_year + 2) / 153;

	*day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
	*month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
	*year = year_of_era + era * 400 + (*month <= 2);
}

/* "Z", "+01:00", "+0100", "-05" or nothing: seconds east of UTC. */
static bool take_zone(const char **text, int64_t *out_seconds)
{
	int hours, minutes = 0;

	*out_seconds = 0;
	if (**text == '\0' || take_char(text, 'Z'))
		return true;
	if (**text != '+' && **text != '-')
		return false;
	int64_t sign = **text == '-' ? -1 : 1;
	++*text;
	if (!take_fixed(text, 2, &hours))
		return false;
	if (**text != '\0') {
		if (**text == ':')
			++*text;
		if (!take_fixed(text, 2, &minutes))
			return false;
	}
	if (hours > 23 || minutes > 59)
		return false;
	*out_seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

static bool to_ns(int64_t seconds, int64_t fraction_ns, int64_t *out_ns)
{
	int64_t ns;

	/* The earliest second is only partly representable: step over it from above. */
	if (seconds < 0 && fraction_ns > 0) {
		seconds++;
		fraction_ns -= NS_PER_SECOND;
	}
	if (__builtin_mul_overflow(seconds, NS_PER_SECOND, &ns) ||
	    __builtin_add_overflow(ns, fraction_ns, &ns))
		return false;
	*out_ns = ns;
	return true;
}

static int parse_iso(const char *text, int64_t *out_ns)
{
	int year, month, day, hour = 0, minute = 0, second = 0;
	int64_t fraction_ns = 0, zone_seconds = 0;

	if (!take_fixed(&text, 4, &year) || !take_char(&text, '-') ||
	    !take_fixed(&text, 2, &month) || !take_char(&text, '-') || !take_fixed(&text, 2, &day))
		return -1;
	if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
		return -1;
	if (*text != '\0') {
		if (!take_char(&text, 'T') && !take_char(&text, ' '))
			return -1;
		if (!take_fixed(&text, 2, &hour) || !take_char(&text, ':') ||
		    !take_fixed(&text, 2, &minute))
			return -1;
		if (take_char(&text, ':') &&
		    (!take_fixed(&text, 2, &second) || !take_fraction(&text, &fraction_ns)))
			return -1;
		if (!take_zone(&text, &zone_seconds) || *text != '\0')
			return -1;
	}
	/* 60: a leap second, which Unix time counts as the second after it. */
	if (hour > 23 || minute > 59 || second > 60)
		return -1;
	int64_t seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 +
			  minute * 60 + second - zone_seconds;
	return to_ns(seconds, fraction_ns, out_ns) ? 0 : -1;
}

int quantity_parse_time(const char *text, int64_t now_ns, int64_t *out_ns)
{
	int64_t ago_ns, fraction_ns;
	uint64_t seconds;

	if (*text == '-') {
		if (quantity_parse_duration(text + 1, &ago_ns) != 0 ||
		    __builtin_sub_overflow(now_ns, ago_ns, &ago_ns))
			return -1;
		*out_ns = ago_ns;
		return 0;
	}
	if (*text != '@')
		return parse_iso(text, out_ns);
	text++;
	if (!take_digits(&text, &seconds) || seconds > INT64_MAX ||
	    !take_fraction(&text, &fraction_ns) || *text != '\0')
		return -1;
	return to_ns((int64_t)seconds, fraction_ns, out_ns) ? 0 : -1;
}

char *quantity_format_time(int64_t ns, char *buffer, size_t size)
{
	int64_t seconds = ns / NS_PER_SECOND, fraction_ns = ns % NS_PER_SECOND, year;
	int month, day;

	if (fraction_ns < 0) {
		fraction_ns += NS_PER_SECOND;
		seconds--;
	}
	int64_t days = seconds / SECONDS_PER_DAY, of_day = seconds % SECONDS_PER_DAY;
	if (of_day < 0) {
		of_day += SECONDS_PER_DAY;
		days--;
	}
	civil_from_days(days, &year, &month, &day);
	snprintf(buffer, size, "%04d-%02d-%02dT%02d:%02d:%02d.%09" PRId64 "Z", (int)year, month,
		 day, (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60),
		 fraction_ns);
	return buffer;
}

char *quantity_format_duration(int64_t ns, char *buffer, size_t size)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	size_t unit = 0;

	for (; ns != 0 && ns % 1000 == 0 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		ns /= 1000;
	snprintf(buffer, size, "%" PRId64 "%s", ns, units[unit]);
	return buffer;
}

char *quantity_format_bytes(uint64_t bytes, char *buffer, size_t size)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	uint64_t unit = 1000;
	size_t i = 0;

	if (bytes < 1000) {
		snprintf(buffer, size, "%" PRIu64 " B", bytes);
		return buffer;
	}
	/* Tenths, rounded; 999.95 kB already reads 1.0 MB. Dividing first keeps it in 64 bits. */
	uint64_t tenths = (bytes / (unit / 20) + 1) / 2;
	while (tenths >= 10000 && i + 1 < sizeof(units) / sizeof(units[0])) {
		unit *= 1000;
		i++;
		tenths = (bytes / (unit / 20) + 1) / 2;
	}
	snprintf(buffer, size, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10, units[i]);
	return buffer;
}
