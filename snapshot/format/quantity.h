/*
 * quantity.h - durations, sizes and times as users write them, and the time it is.
 * All parsers take the whole string or nothing, never saturate, and leave
 * *out untouched on failure.
 */
#ifndef SNAPSHOT_FORMAT_QUANTITY_H
#define SNAPSHOT_FORMAT_QUANTITY_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS     INT64_C(1000000)

/* What a clock says now; 0 where it cannot be read. */
int64_t quantity_now_ns(clockid_t clock);

/* Times of evidence lie in 0..QUANTITY_MAX_TIME_NS (1970 to 2116): then no sum
 * or difference of two of them overflows. Readers refuse or clamp others. */
#define QUANTITY_MAX_TIME_NS (INT64_MAX / 2)

/* "500ms" "10s" "5m" "2h" "7d", "us" and "ns" too; a plain number is seconds;
 * decimals allowed ("1.5s"). >= 0. 0, or -1 if it is none of these or overflows. */
int quantity_parse_duration(const char *text, int64_t *out_ns);

/* "256M" "10G" "4096" "64K" "1T": 1024-based bytes. 0 or -1. */
int quantity_parse_size(const char *text, uint64_t *out_bytes);

/* "2%" or "0.5%": parts per million of the whole, 0..1000000. 0 or -1. */
int quantity_parse_percent(const char *text, uint32_t *out_ppm);

/* A decimal unsigned number of at most max. 0 or -1. */
int quantity_parse_uint(const char *text, uint64_t max, uint64_t *out);

/* ISO 8601 UTC ("2026-11-21T20:30:00Z", fraction to 9 digits, date alone, "T"
 * or a space; a numeric offset "+01:00" is honoured, no zone means UTC), "@SECONDS[.FRACTION]"
 * since the epoch, or "-10m" = that long before now_ns. Out: Unix time in ns. 0 or -1. */
int quantity_parse_time(const char *text, int64_t now_ns, int64_t *out_ns);

/* "2026-11-21T20:30:00.123456789Z" (30 bytes + NUL). Independent of locale and
 * TZ. size must be at least QUANTITY_TIME_SIZE; returns buffer. */
#define QUANTITY_TIME_SIZE 40
char *quantity_format_time(int64_t ns, char *buffer, size_t size);

/* "10s", "500ms", "7ns": a length of time exactly, as quantity_parse_duration reads it. size must
 * be at least QUANTITY_DURATION_SIZE; returns buffer. */
#define QUANTITY_DURATION_SIZE 32
char *quantity_format_duration(int64_t ns, char *buffer, size_t size);

/* "1.4 MB", "312 B": decimal units, for people. Returns buffer. */
char *quantity_format_bytes(uint64_t bytes, char *buffer, size_t size);

#endif
