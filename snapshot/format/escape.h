/*
 * escape.h - fields as text: PostgreSQL COPY's escapes, as FORMAT.md has them.
 *
 * Shared by snapshot files, custody.log, messages and whatever else is shown. Knows
 * nothing of records.
 */
#ifndef SNAPSHOT_FORMAT_ESCAPE_H
#define SNAPSHOT_FORMAT_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ESCAPE_GROWTH 4 /* one byte becomes at most \xHH */

/* Length of the UTF-8 sequence at bytes (1..4), 0 if there is none: RFC 3629,
 * so no overlong forms, no surrogates, nothing over U+10FFFF. available >= 1. */
size_t escape_utf8_length(const uint8_t *bytes, size_t available);

/* The code point of the UTF-8 sequence at bytes, whose length escape_utf8_length() gave. */
uint32_t escape_code_point(const uint8_t *bytes, size_t length);

/* Characters that would steer a terminal or reorder a line on it: control
 * characters (C0, DEL, C1), Unicode's bidirectional controls, its line and
 * paragraph separators, and the byte order mark. */
bool escape_is_unsafe(uint32_t c);

/* What a terminal may be shown of the character at <bytes, available>, available >= 1: the
 * character itself; \xHH for each byte of one that is unsafe, or of what is not UTF-8. No NUL is
 * appended. Returns how many bytes it is of; what is shown is longer than that if it is
 * escaped. */
#define ESCAPE_SHOWN_SIZE (4 * ESCAPE_GROWTH)
size_t escape_show(const uint8_t *bytes, size_t available, char shown[ESCAPE_SHOWN_SIZE],
		   size_t *shown_length);

/* What a database has of a text: the same, with \xHH in place of each byte that is no part of
 * valid UTF-8. Heap; NULL: no memory. */
char *escape_stored(const char *text);

/* Writes <bytes, length> escaped to out, which has room for ESCAPE_GROWTH *
 * length; no NUL is appended. The result never is "\N". Returns bytes written. */
size_t escape_write(const void *bytes, size_t length, char *out);

/* Undoes the escapes of <field, length> into out, which may be field itself
 * (the result is never longer) or NULL to check and count only; no NUL is
 * appended. Returns the length of the result; -1 for an unknown or torn
 * escape or a raw NUL. *has_nul says whether the result holds a NUL byte. */
ptrdiff_t escape_read(const char *field, size_t length, char *out, bool *has_nul);

#endif
