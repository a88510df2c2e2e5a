/* How much of a pcap that a crash left is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/repair.h"

#define HEADER 24
#define RECORD (16 + 60)

static uint64_t whole, packets;

static void put(uint8_t *at, uint32_t value, bool swapped)
{
	if (swapped)
		value = __builtin_bswap32(value);
	memcpy(at, &value, sizeof value);
}

/* A nanosecond pcap of three packets of 60 bytes, cut or grown to length. */
static size_t build(uint8_t bytes[HEADER + 3 * RECORD], bool swapped)
{
	memset(bytes, 0, HEADER + 3 * RECORD);
	put(bytes, 0xa1b23c4d, swapped);
	put(bytes + 16, 65535, swapped);
	for (size_t i = 0; i < 3; i++) {
		uint8_t *record = bytes + HEADER + i * RECORD;

		put(record, 1795290600, swapped);
		put(record + 4, 999999999, swapped);
		put(record + 8, 60, swapped);
		put(record + 12, 60, swapped);
	}
	return HEADER + 3 * RECORD;
}

static void scan(const uint8_t *bytes, size_t length)
{
	int fd = memfd_create("pcap", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	assert_int_equal(repair_scan_pcap(fd, "pcap", &whole, &packets, NULL), 0);
	close(fd);
}

static void test_cut_at_every_byte(void **state)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	(void)state;
	for (size_t cut = 0; cut <= length; cut++) {
		size_t records = cut < HEADER ? 0 : (cut - HEADER) / RECORD;

		scan(bytes, cut);
		assert_int_equal(packets, records);
		assert_int_equal(whole, cut < HEADER ? 0 : HEADER + records * RECORD);
	}
}

static void test_the_other_byte_order(void **state)
{
	uint8_t bytes[HEADER + 3 * RECORD];

	(void)state;
	scan(bytes, build(bytes, true));
	assert_int_equal(packets, 3);
}

static void test_not_a_pcap(void **state)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	(void)state;
	bytes[0] ^= 1;
	scan(bytes, length);
	assert_int_equal(whole, 0);
}

/* Each of these in the second record: the first one is kept. */
static void spoil(size_t field, uint32_t value)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	put(bytes + HEADER + RECORD + field, value, false);
	scan(bytes, length);
	assert_int_equal(packets, 1);
	assert_int_equal(whole, HEADER + RECORD);
}

static void test_records_that_cannot_be(void **state)
{
	(void)state;
	spoil(0, 0);
	spoil(4, 1000000000);
	spoil(8, 65536);
	spoil(8, UINT32_MAX);
	spoil(12, 0);
}

static void test_zeros_that_never_were_data(void **state)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	(void)state;
	memset(bytes + HEADER + 2 * RECORD, 0, RECORD);
	scan(bytes, length);
	assert_int_equal(packets, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_the_other_byte_order),
		cmocka_unit_test(test_not_a_pcap),
		cmocka_unit_test(test_records_that_cannot_be),
		cmocka_unit_test(test_zeros_that_never_were_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
