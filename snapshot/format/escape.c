#include "snapshot/format/escape.h"

#include <stdlib.h>
#include <string.h>

static bool is_continuation(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

size_t escape_utf8_length(const uint8_t *bytes, size_t available)
{
	uint8_t first = bytes[0];

	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return available >= 2 && is_continuation(bytes[1]) ? 2 : 0;
	if (first >= 0xe0 && first <= 0xef) {
		if (available < 3 || !is_continuation(bytes[1]) || !is_continuation(bytes[2]))
			return 0;
		if ((first == 0xe0 && bytes[1] < 0xa0) || (first == 0xed && bytes[1] > 0x9f))
			return 0;
		return 3;
	}
	if (first >= 0xf0 && first <= 0xf4) {
		if (available < 4 || !is_continuation(bytes[1]) || !is_continuation(bytes[2]) ||
		    !is_continuation(bytes[3]))
			return 0;
		if ((first == 0xf0 && bytes[1] < 0x90) || (first == 0xf4 && bytes[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

uint32_t escape_code_point(const uint8_t *bytes, size_t length)
{
	uint32_t value = length == 1 ? bytes[0] : bytes[0] & (0x7fu >> length);

	for (size_t i = 1; i < length && i < 4; i++)
		value = value << 6 | (bytes[i] & 0x3fu);
	return value;
}

bool escape_is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f || c == 0x061c ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static char *put_hex(uint8_t byte, char *to)
{
	static const char hex[] = "0123456789abcdef";

	*to++ = '\\';
	*to++ = 'x';
	*to++ = hex[byte >> 4];
	*to++ = hex[byte & 15];
	return to;
}

size_t escape_show(const uint8_t *bytes, size_t available, char shown[ESCAPE_SHOWN_SIZE],
		   size_t *shown_length)
{
	size_t length = escape_utf8_length(bytes, available);
	bool safe = length > 0 && !escape_is_unsafe(escape_code_point(bytes, length));
	char *to = shown;

	if (length == 0)
		length = 1;
	for (size_t i = 0; i < length; i++) {
		if (safe)
			*to++ = (char)bytes[i];
		else
			to = put_hex(bytes[i], to);
	}
	*shown_length = (size_t)(to - shown);
	return length;
}

char *escape_stored(const char *text)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);
	char *out = malloc((size_t)(end - at) * ESCAPE_GROWTH + 1), *to = out;

	while (out != NULL && at < end) {
		size_t size = escape_utf8_length(at, (size_t)(end - at));

		memcpy(to, at, size);
		to = size > 0 ? to + size : put_hex(*at, to);
		at += size > 0 ? size : 1;
	}
	if (out != NULL)
		*to = '\0';
	return out;
}

/* The letter after the backslash, 0 where there is none. */
static char short_escape(uint8_t byte)
{
	switch (byte) {
	case '\\':
		return '\\';
	case '\b':
		return 'b';
	case '\t':
		return 't';
	case '\n':
		return 'n';
	case '\v':
		return 'v';
	case '\f':
		return 'f';
	case '\r':
		return 'r';
	default:
		return 0;
	}
}

size_t escape_write(const void *bytes, size_t length, char *out)
{
	const uint8_t *in = bytes;
	char *to = out;

	for (size_t i = 0; i < length;) {
		uint8_t byte = in[i];
		size_t sequence = escape_utf8_length(in + i, length - i);

		if (sequence > 0 && byte >= 0x20 && byte != 0x7f && byte != '\\') {
			memcpy(to, in + i, sequence);
			to += sequence;
			i += sequence;
			continue;
		}
		char letter = short_escape(byte);
		if (letter) {
			*to++ = '\\';
			*to++ = letter;
		} else {
			to = put_hex(byte, to);
		}
		i++;
	}
	return (size_t)(to - out);
}

static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

/* One escape at <at, left>, at[0] being the backslash: its value, and its
 * length in *used. -1 if it is none. */
static int read_one(const char *at, size_t left, size_t *used)
{
	*used = 2;
	if (left < 2)
		return -1;
	switch (at[1]) {
	case '\\':
		return '\\';
	case 'b':
		return '\b';
	case 't':
		return '\t';
	case 'n':
		return '\n';
	case 'v':
		return '\v';
	case 'f':
		return '\f';
	case 'r':
		return '\r';
	case 'x':
		break;
	default:
		return -1;
	}
	if (left < 4)
		return -1;
	int high = hex_value(at[2]), low = hex_value(at[3]);
	*used = 4;
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

ptrdiff_t escape_read(const char *field, size_t length, char *out, bool *has_nul)
{
	size_t to = 0;

	*has_nul = false;
	if (length == 0)
		return 0;
	if (memchr(field, '\0', length))
		return -1;
	for (size_t i = 0; i < length;) {
		const char *slash = memchr(field + i, '\\', length - i);
		size_t plain = slash ? (size_t)(slash - (field + i)) : length - i;

		if (out && plain > 0)
			memmove(out + to, field + i, plain);
		to += plain;
		i += plain;
		if (i == length)
			break;
		size_t used;
		int value = read_one(field + i, length - i, &used);
		if (value < 0)
			return -1;
		if (value == 0)
			*has_nul = true;
		if (out)
			out[to] = (char)value;
		to++;
		i += used;
	}
	return (ptrdiff_t)to;
}
