/* test_gzmember.c - members of a compressed capture, and what calls itself one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "snapshot/format/gzmember.h"

static uint8_t content[GZMEMBER_CONTENT_BYTES], member[GZMEMBER_MOST_BYTES];
static uint8_t again[GZMEMBER_CONTENT_BYTES];
static struct gzmember_maker *maker;
static struct gzmember_reader *reader;

static int set_up(void **state)
{
	(void)state;
	maker = gzmember_maker_new();
	reader = gzmember_reader_new();
	return maker && reader ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	gzmember_maker_free(maker);
	gzmember_reader_free(reader);
	return 0;
}

/* As any program on zlib reads it. */
static size_t gunzip(const uint8_t *bytes, size_t length)
{
	z_stream z = {.next_in = (Bytef *)bytes,
		      .avail_in = (uInt)length,
		      .next_out = again,
		      .avail_out = sizeof(again)};

	assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	inflateEnd(&z);
	return z.total_out;
}

static void assert_comes_back(size_t length)
{
	size_t bytes = gzmember_make(maker, content, length, member);

	assert_int_equal(gzmember_said_bytes(member), bytes);
	assert_int_equal(gzmember_tail(member + bytes - GZMEMBER_TAIL_BYTES).content_bytes, length);
	memset(again, 0xee, sizeof(again));
	assert_true(gzmember_read(reader, member, bytes, again));
	assert_memory_equal(again, content, length);
	memset(again, 0xee, sizeof(again));
	assert_int_equal(gunzip(member, bytes), length);
	assert_memory_equal(again, content, length);
}

static void test_what_is_put_in_comes_out(void **state)
{
	const size_t lengths[] = {0, 1, 24, 65535, 65536, sizeof(content) - 1, sizeof(content)};

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		uint64_t random = 88172645463325252;

		/* Zeros; what cannot be compressed; text of some kind. */
		for (size_t i = 0; i < sizeof(content); i++) {
			random ^= random << 13, random ^= random >> 7, random ^= random << 17;
			content[i] = kind == 0	 ? 0
				     : kind == 1 ? (uint8_t)(random >> 32)
						 : (uint8_t)("aeiou \n"[random % 7]);
		}
		for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
			assert_comes_back(lengths[i]);
	}
}

/* 5,000 bytes that compress. */
static size_t make_some(void)
{
	for (size_t i = 0; i < 5000; i++)
		content[i] = (uint8_t)(i * i >> 7);
	return gzmember_make(maker, content, 5000, member);
}

static void test_gzip_of_others_is_none(void **state)
{
	uint8_t other[GZMEMBER_HEAD_BYTES];
	size_t bytes = make_some();

	(void)state;
	for (size_t i = 0; i < 16; i++) {
		memcpy(other, member, sizeof(other));
		other[i] ^= 1;
		assert_int_equal(gzmember_said_bytes(other), 0);
	}
	memcpy(other, member, sizeof(other));
	other[18] = 0xff;
	assert_int_equal(gzmember_said_bytes(other), 0); /* of 16 MiB */
	other[18] = other[17] = 0;
	other[16] = GZMEMBER_HEAD_BYTES + GZMEMBER_TAIL_BYTES;
	assert_int_equal(gzmember_said_bytes(other), 0);
	assert_int_equal(gzmember_said_bytes(member), bytes);
}

/* But for those of the last byte that are behind the data's end. */
static void test_each_changed_bit_is_seen(void **state)
{
	size_t bytes = make_some(), padded = bytes - GZMEMBER_TAIL_BYTES - 1;

	(void)state;
	for (size_t i = GZMEMBER_HEAD_BYTES; i < bytes; i++) {
		for (int bit = 0; bit < 8; bit++) {
			member[i] ^= (uint8_t)(1 << bit);
			if (gzmember_read(reader, member, bytes, again)) {
				assert_int_equal(i, padded);
				assert_memory_equal(again, content, 5000);
			}
			member[i] ^= (uint8_t)(1 << bit);
		}
	}
	assert_true(gzmember_read(reader, member, bytes, again));
}

static void test_a_length_that_is_not_the_members(void **state)
{
	size_t bytes = make_some();

	(void)state;
	memset(member + bytes, 0, 64);
	for (size_t length = GZMEMBER_HEAD_BYTES + GZMEMBER_TAIL_BYTES + 1; length < bytes + 64;
	     length++) {
		if (length != bytes)
			assert_false(gzmember_read(reader, member, length, again));
	}
}

/* The tail moved behind a longer body: the deflate data end before it. */
static void test_bytes_between_data_and_tail_are_seen(void **state)
{
	size_t bytes = make_some();

	(void)state;
	memmove(member + bytes, member + bytes - GZMEMBER_TAIL_BYTES, GZMEMBER_TAIL_BYTES);
	assert_false(gzmember_read(reader, member, bytes + GZMEMBER_TAIL_BYTES, again));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_put_in_comes_out),
		cmocka_unit_test(test_gzip_of_others_is_none),
		cmocka_unit_test(test_each_changed_bit_is_seen),
		cmocka_unit_test(test_a_length_that_is_not_the_members),
		cmocka_unit_test(test_bytes_between_data_and_tail_are_seen),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
