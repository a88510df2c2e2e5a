/* test_pcapin.c - capture files, whole and broken (test_pcapfast.c: longer than what is read of
 * one at once). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/quantity.h"
#include "tests/unit/capfile.h"

#define KUZNETZOV 0xa1b2cd34u

/* Records of 60, 1 and 100 bytes, 24 + 16 bytes of headers before the first. */
static void put_three(uint32_t magic)
{
	capfile_header(magic, 65535, 1);
	capfile_record(1000, 5, 60, 60);
	capfile_record(1001, 6, 1, 1500);
	capfile_record(1002, 7, 100, 100);
}

static int refuse(const void *content, size_t size, struct error *error)
{
	struct pcapin *in = (struct pcapin *)(uintptr_t)1;
	int result;

	memset(error, 0, sizeof(*error));
	capfile_write("file", content, size);
	result = pcapin_open(capfile_dirfd, "file", &in, error);
	assert_int_equal((uintptr_t)in, 1); /* untouched */
	assert_int_equal(error->code, result);
	return result;
}

static void assert_three(struct pcapin *in, int64_t unit_ns)
{
	struct pcapin_packet p;

	assert_int_equal(pcapin_link_type(in), 1);
	assert_int_equal(pcapin_snaplen(in), 65535);
	p = capfile_next(in);
	assert_int_equal(p.number, 1);
	assert_int_equal(p.offset_bytes, 24);
	assert_int_equal(p.time_ns, 1000 * INT64_C(1000000000) + 5 * unit_ns);
	assert_int_equal(p.captured_bytes, 60);
	assert_int_equal(p.original_bytes, 60);
	assert_int_equal(p.data[59], 60);
	p = capfile_next(in);
	assert_int_equal(p.number, 2);
	assert_int_equal(p.offset_bytes, 24 + 76);
	assert_int_equal(p.captured_bytes, 1);
	assert_int_equal(p.original_bytes, 1500);
	p = capfile_next(in);
	assert_int_equal(p.offset_bytes, 24 + 76 + 17);
	assert_int_equal(p.time_ns, 1002 * INT64_C(1000000000) + 7 * unit_ns);
	capfile_ends(in);
}

/* ------------------------------------------------------------ the facts -- */

static void reads_both_units_and_byte_orders(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		capfile_big_endian = order != 0;
		put_three(CAPFILE_MICROSECONDS);
		assert_three(capfile_open_bytes(), 1000);
		put_three(CAPFILE_NANOSECONDS);
		assert_three(capfile_open_bytes(), 1);
	}
	capfile_big_endian = false;
}

static void an_empty_capture_is_fine(void **state)
{
	(void)state;
	capfile_header(CAPFILE_NANOSECONDS, 262144, 276);
	capfile_ends(capfile_open_bytes());
}

static void reads_gzip_also_in_members_and_padded(void **state)
{
	static uint8_t zipped[4096];
	size_t all = capfile_length, size, half;

	(void)state;
	put_three(CAPFILE_NANOSECONDS);
	size = capfile_gzip(zipped, sizeof(zipped));
	capfile_write("file", zipped, size);
	assert_three(capfile_open(), 1);
	memset(zipped + size, 0, 512);
	capfile_write("file", zipped, size + 512);
	assert_three(capfile_open(), 1);

	all = capfile_length;
	half = 50;
	capfile_length = half;
	size = capfile_gzip(zipped, sizeof(zipped));
	memmove(capfile_bytes, capfile_bytes + half, all - half);
	capfile_length = all - half;
	size += 100; /* zeros between them */
	memset(zipped + size - 100, 0, 100);
	size += capfile_gzip(zipped + size, sizeof(zipped) - size);
	capfile_write("file", zipped, size);
	assert_three(capfile_open(), 1);
}

/* However it was compressed, and only where all of it was read. */
static void what_was_read_is_told_in_bytes_of_the_file(void **state)
{
	static uint8_t zipped[4096];
	size_t zipped_bytes;

	(void)state;
	put_three(CAPFILE_NANOSECONDS);
	zipped_bytes = capfile_gzip(zipped, sizeof(zipped));
	for (int i = 0; i < 2; i++) {
		struct pcapin_packet packet;
		struct error error = ERROR_NONE;
		struct pcapin *in;

		capfile_write("file", i == 0 ? capfile_bytes : zipped,
			      i == 0 ? capfile_length : zipped_bytes);
		in = capfile_open();
		assert_int_equal(pcapin_next(in, &packet, &error), 1);
		if (i == 0)
			assert_int_equal(pcapin_read_bytes(in), 24 + 16 + 60);
		while (pcapin_next(in, &packet, &error) == 1)
			;
		assert_int_equal(pcapin_read_bytes(in), i == 0 ? capfile_length : zipped_bytes);
		pcapin_close(in);
	}
}

static void what_gzip_gives_is_hashed(void **state)
{
	static uint8_t zipped[4096];
	char wanted[CUSTODY_HEX_SIZE];
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;
	struct pcapin *in = NULL;
	uint64_t size;
	size_t zipped_size;

	(void)state;
	put_three(CAPFILE_NANOSECONDS);
	capfile_write("file", capfile_bytes, capfile_length);
	assert_int_equal(custody_hash_file(capfile_dirfd, "file", wanted, &size, &error), 0);
	assert_int_equal(pcapin_open_hashed(capfile_dirfd, "file", &in, &error), 0);
	assert_false(pcapin_is_gzip(in));
	while (pcapin_next(in, &packet, &error) == 1)
		;
	assert_null(pcapin_content_sha256(in));
	pcapin_close(in);
	zipped_size = capfile_gzip(zipped, sizeof(zipped));
	for (size_t cut = 0; cut < 2; cut++) {
		capfile_write("file", zipped, zipped_size - cut);
		assert_int_equal(pcapin_open_hashed(capfile_dirfd, "file", &in, &error), 0);
		assert_true(pcapin_is_gzip(in));
		assert_null(pcapin_content_sha256(in));
		while (pcapin_next(in, &packet, &error) == 1)
			;
		if (cut == 0) {
			assert_non_null(pcapin_content_sha256(in));
			assert_string_equal(pcapin_content_sha256(in), wanted);
		} else {
			assert_null(pcapin_content_sha256(in));
		}
		pcapin_close(in);
	}
}

static void put_block(uint32_t type, uint32_t body)
{
	capfile_put(type, 4);
	capfile_put(12 + body, 4);
}

/* One section, one interface whose clock has the given if_tsresol, one packet. */
static void put_pcapng(uint32_t resolution, uint32_t high, uint32_t low)
{
	capfile_length = 0;
	put_block(0x0a0d0d0a, 16);
	capfile_put(0x1a2b3c4d, 4);
	capfile_put(1, 2);
	capfile_put(0, 2);
	capfile_put(UINT32_MAX, 4);
	capfile_put(UINT32_MAX, 4);
	capfile_put(28, 4);
	put_block(1, 20);
	capfile_put(113, 2);
	capfile_put(0, 2);
	capfile_put(65535, 4);
	capfile_put(9, 2);
	capfile_put(1, 2);
	capfile_put(resolution, 1);
	capfile_put(0, 3);
	capfile_put(0, 4);
	capfile_put(32, 4);
	put_block(6, 24);
	capfile_put(0, 4);
	capfile_put(high, 4);
	capfile_put(low, 4);
	capfile_put(4, 4);
	capfile_put(60, 4);
	capfile_put(0x04030201, 4);
	capfile_put(36, 4);
}

static void reads_pcapng(void **state)
{
	struct pcapin_packet p;
	struct pcapin *in;

	(void)state;
	put_pcapng(9, 1, 7);
	in = capfile_open_bytes();
	assert_int_equal(pcapin_link_type(in), 113);
	p = capfile_next(in);
	assert_int_equal(p.time_ns, (INT64_C(1) << 32) + 7);
	assert_int_equal(p.offset_bytes, 0);
	assert_int_equal(p.number, 1);
	assert_int_equal(p.captured_bytes, 4);
	assert_int_equal(p.original_bytes, 60);
	capfile_ends(in);
	capfile_length -= 5;
	in = capfile_open_bytes();
	capfile_damaged(in, 0, 28 + 32, "5 bytes are missing");
}

static void any_timestamp_is_taken(void **state)
{
	struct pcapin *in;

	(void)state;
	for (int order = 0; order < 2; order++) {
		capfile_big_endian = order != 0;
		capfile_header(CAPFILE_NANOSECONDS, 65535, 1);
		capfile_record(UINT32_MAX, 999999999, 0, 0); /* the year 2106 */
		capfile_record(10, UINT32_MAX, 0, 0);
		in = capfile_open_bytes();
		assert_int_equal(capfile_next(in).time_ns, INT64_C(4294967295999999999));
		assert_int_equal(capfile_next(in).time_ns, INT64_C(14294967295));
		capfile_ends(in);
		capfile_header(CAPFILE_MICROSECONDS, 65535, 1);
		capfile_record(10, UINT32_MAX, 0, 0);
		in = capfile_open_bytes();
		assert_int_equal(capfile_next(in).time_ns, INT64_C(4304967295000));
		capfile_ends(in);
	}
	capfile_big_endian = false;
	put_pcapng(0, 0x7fffffff, 0); /* whole seconds, more than fit */
	in = capfile_open_bytes();
	assert_int_equal(capfile_next(in).time_ns, QUANTITY_MAX_TIME_NS);
	capfile_ends(in);
}

/* At every byte: the whole records come out, then damage, unless it is a boundary. */
static void cut_anywhere_the_whole_records_come_out(void **state)
{
	static const size_t ends[] = {24, 24 + 76, 24 + 76 + 17, 24 + 76 + 17 + 116};
	struct pcapin *in;
	size_t cut, whole;

	(void)state;
	put_three(CAPFILE_NANOSECONDS);
	assert_int_equal(capfile_length, ends[3]);
	for (cut = 24; cut <= ends[3]; cut++) {
		capfile_write("file", capfile_bytes, cut);
		in = capfile_open();
		for (whole = 0; whole < 3 && ends[whole + 1] <= cut; whole++)
			capfile_next(in);
		if (cut == ends[whole])
			capfile_ends(in);
		else
			capfile_damaged(in, whole, (int64_t)ends[whole], "truncated");
	}
}

static void a_file_that_is_no_capture_says_what_it_is(void **state)
{
	static const char text[] = "hello world, no packets";
	struct error error;
	size_t cut;

	(void)state;
	assert_int_equal(refuse(text, sizeof(text), &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "pcap or pcapng magic"));
	assert_non_null(strstr(error.message, "68656c6c"));
	assert_int_equal(error.offset_bytes, 0);
	assert_int_equal(refuse("", 0, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "only 0 bytes"));
	assert_int_equal(refuse("\xd4\xc3\xb2", 3, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "only 3 bytes"));
	capfile_header(CAPFILE_NANOSECONDS, 1, 1);
	for (cut = 4; cut < 24; cut++)
		assert_int_equal(refuse(capfile_bytes, cut, &error), ERROR_DAMAGED);
	capfile_bytes[4] = 9; /* a version of the future */
	assert_int_equal(refuse(capfile_bytes, 24, &error), ERROR_DAMAGED);
	assert_int_equal(refuse("\x1f\x8b\x08", 3, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "gzip"));
	assert_int_equal(refuse("\x1fnot gzip", 9, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "gzip"));
}

static void what_cannot_be_opened(void **state)
{
	struct error error = ERROR_NONE;
	struct pcapin *in = NULL;

	(void)state;
	assert_int_equal(pcapin_open(capfile_dirfd, "absent", &in, &error), ERROR_NO_INPUT);
	assert_int_equal(pcapin_open(AT_FDCWD, capfile_directory, &in, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.message, "directory"));
	assert_null(in);
	pcapin_close(NULL);
}

static void an_absurd_length_is_damage(void **state)
{
	struct pcapin *in;

	(void)state;
	capfile_header(CAPFILE_NANOSECONDS, 65535, 1);
	capfile_record(1, 1, 60, 60);
	capfile_record(1, 1, 300000, 300000);
	in = capfile_open_bytes();
	capfile_next(in);
	capfile_damaged(in, 1, 24 + 76, "300000");
}

/* libpcap cuts it to the snaplen; the offsets after it stay true. */
static void a_record_longer_than_the_snaplen_is_cut(void **state)
{
	static uint8_t zipped[4096];
	struct pcapin_packet p;
	struct pcapin *in;

	(void)state;
	capfile_header(CAPFILE_NANOSECONDS, 64, 1);
	capfile_record(1, 1, 100, 1500);
	capfile_record(1, 1, 64, 1500);
	capfile_record(1, 1, 10, 10);
	for (int zip = 0; zip < 2; zip++) {
		if (zip)
			capfile_write("file", zipped, capfile_gzip(zipped, sizeof(zipped)));
		in = zip ? capfile_open() : capfile_open_bytes();
		p = capfile_next(in);
		assert_int_equal(p.captured_bytes, 64);
		assert_int_equal(p.original_bytes, 1500);
		assert_int_equal(capfile_next(in).offset_bytes, 24 + 116);
		assert_int_equal(capfile_next(in).offset_bytes, 24 + 116 + 80);
		capfile_ends(in);
	}
}

static void patched_libpcaps_have_longer_record_headers(void **state)
{
	struct pcapin *in;

	(void)state;
	capfile_header(KUZNETZOV, 65535, 113);
	for (int i = 0; i < 2; i++) {
		capfile_record(1, 1, 0, 40);
		capfile_put(0, 4);
		capfile_put(0, 4);
	}
	in = capfile_open_bytes();
	assert_int_equal(capfile_next(in).offset_bytes, 24);
	assert_int_equal(capfile_next(in).offset_bytes, 48);
	capfile_ends(in);
}

/* Cut at every byte of the compressed file: never an end as if it were whole. */
static void a_cut_gzip_stream_is_damage(void **state)
{
	static uint8_t zipped[4096];
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;
	struct pcapin *in;
	size_t size, cut;
	int result;

	(void)state;
	put_three(CAPFILE_NANOSECONDS);
	size = capfile_gzip(zipped, sizeof(zipped));
	for (cut = 0; cut < size; cut++) {
		capfile_write("file", zipped, cut);
		result = pcapin_open(capfile_dirfd, "file", &in, &error);
		if (result == 0) {
			while ((result = pcapin_next(in, &packet, &error)) == 1)
				continue;
			pcapin_close(in);
		}
		assert_int_equal(result, ERROR_DAMAGED);
	}
	capfile_write("file", zipped, size - 4); /* all packets are there, the length is not */
	in = capfile_open();
	for (int i = 0; i < 3; i++)
		capfile_next(in);
	capfile_damaged(in, 3, (int64_t)capfile_length, "gzip stream");
}

static void a_damaged_gzip_stream_is_damage(void **state)
{
	static uint8_t zipped[4096];
	struct pcapin *in;
	size_t size;

	(void)state;
	put_three(CAPFILE_NANOSECONDS);
	size = capfile_gzip(zipped, sizeof(zipped));
	zipped[size - 8] ^= 1; /* its CRC */
	capfile_write("file", zipped, size);
	in = capfile_open();
	for (int i = 0; i < 3; i++)
		capfile_next(in);
	capfile_damaged(in, 3, (int64_t)capfile_length, "incorrect data check");
	zipped[size - 8] ^= 1;
	memcpy(zipped + size, "trailing", 8);
	capfile_write("file", zipped, size + 8);
	in = capfile_open();
	for (int i = 0; i < 3; i++)
		capfile_next(in);
	capfile_damaged(in, 3, (int64_t)capfile_length, "not gzip");
}

static void a_pipe_can_be_read(void **state)
{
	static uint8_t zipped[4096];
	struct error error = ERROR_NONE;
	struct pcapin *in = NULL;
	char path[64];
	int ends[2];
	size_t size;

	(void)state;
	for (int zip = 0; zip < 2; zip++) {
		put_three(CAPFILE_NANOSECONDS);
		size = capfile_gzip(zipped, sizeof(zipped));
		assert_int_equal(pipe(ends), 0);
		if (zip)
			assert_int_equal(write(ends[1], zipped, size), size);
		else
			assert_int_equal(write(ends[1], capfile_bytes, capfile_length),
					 capfile_length);
		close(ends[1]);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
		assert_int_equal(pcapin_open(AT_FDCWD, path, &in, &error), 0);
		close(ends[0]);
		assert_three(in, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_both_units_and_byte_orders),
		cmocka_unit_test(an_empty_capture_is_fine),
		cmocka_unit_test(reads_gzip_also_in_members_and_padded),
		cmocka_unit_test(what_gzip_gives_is_hashed),
		cmocka_unit_test(what_was_read_is_told_in_bytes_of_the_file),
		cmocka_unit_test(reads_pcapng),
		cmocka_unit_test(any_timestamp_is_taken),
		cmocka_unit_test(cut_anywhere_the_whole_records_come_out),
		cmocka_unit_test(a_file_that_is_no_capture_says_what_it_is),
		cmocka_unit_test(what_cannot_be_opened),
		cmocka_unit_test(an_absurd_length_is_damage),
		cmocka_unit_test(a_record_longer_than_the_snaplen_is_cut),
		cmocka_unit_test(patched_libpcaps_have_longer_record_headers),
		cmocka_unit_test(a_cut_gzip_stream_is_damage),
		cmocka_unit_test(a_damaged_gzip_stream_is_damage),
		cmocka_unit_test(a_pipe_can_be_read),
	};

	return cmocka_run_group_tests(tests, capfile_begin, capfile_end);
}
