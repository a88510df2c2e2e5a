#include "tests/unit/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

uint8_t record_bytes[4096];
size_t record_length;

static void put(const void *bytes, size_t length)
{
	memcpy(record_bytes + record_length, bytes, length);
	record_length += length;
}

void record_put16(uint16_t value)
{
	put(&value, sizeof(value));
}

void record_put32(uint32_t value)
{
	put(&value, sizeof(value));
}

void record_put64(uint64_t value)
{
	put(&value, sizeof(value));
}

void record_begin(uint32_t type)
{
	memset(record_bytes, 0, sizeof(record_bytes));
	record_length = 0;
	record_put32(type);
	record_put16(0);
	record_put16(0);
}

void record_finish(void)
{
	uint16_t size = (uint16_t)record_length;

	memcpy(record_bytes + 6, &size, sizeof(size));
}

void record_set(uint8_t *at, uint64_t value, size_t size)
{
	uint16_t two = (uint16_t)value;
	uint32_t four = (uint32_t)value;

	if (size == 1)
		*at = (uint8_t)value;
	else
		memcpy(at, size == 2 ? (void *)&two : size == 4 ? (void *)&four : &value, size);
}

int record_parse(const struct tracepoint_layout *layout, struct tracepoint_event *out)
{
	uint8_t *exact = malloc(record_length ? record_length : 1);
	int got;

	memcpy(exact, record_bytes, record_length);
	memset(out, 0xa5, sizeof(*out));
	got = tracepoint_parse(layout, exact, record_length, out);
	free(exact);
	return got;
}

void record_check_cut(const struct tracepoint_layout *layout)
{
	size_t whole = record_length;
	struct tracepoint_event event;

	assert_int_equal(record_parse(layout, &event), 1);
	for (record_length = 0; record_length < whole; record_length++) {
		assert_int_equal(record_parse(layout, &event), ERROR_DAMAGED);
		assert_true((uint32_t)event.kind == 0xa5a5a5a5); /* untouched */
		if (record_length < 8)
			continue;
		record_finish();
		assert_int_equal(record_parse(layout, &event), ERROR_DAMAGED);
		record_set(record_bytes + 6, whole, 2);
	}
}
