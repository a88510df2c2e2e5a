/* test_pcapin.c - capture files, whole and broken. */
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

#include "analyze/pcapin.h"
#include "snapshot/format/custody.h"
#include "snapshot/format/quantity.h"

#define MICROSECONDS 0xa1b2c3d4u
#define NANOSECONDS  0xa1b23c4du
#define KUZNETZOV    0xa1b2cd34u
#define DBUS	     231u /* its records may be of any length for libpcap */

static char directory[] = "/tmp/test_pcapin.XXXXXX";
static int dirfd_of_test = -1;

/* ------------------------------------------------------- building files -- */

static uint8_t bytes[400000];
static size_t length;
static bool big_endian;

static void put(uint32_t value, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++)
		bytes[length++] = (uint8_t)(value >> 8 * (big_endian ? size - 1 - i : i));
}

static void put_header(uint32_t magic, uint32_t snaplen, uint32_t link_type)
{
	length = 0;
	put(magic, 4);
	put(2, 2);
	put(4, 2);
	put(0, 4);
	put(0, 4);
	put(snaplen, 4);
	put(link_type, 4);
}

static void put_record(uint32_t seconds, uint32_t fraction, uint32_t captured, uint32_t original)
{
	put(seconds, 4);
	put(fraction, 4);
	put(captured, 4);
	put(original, 4);
	memset(bytes + length, (int)(captured & 0xff), captured);
	length += captured;
}

/* Records of 60, 1 and 100 bytes, 24 + 16 bytes of headers before the first. */
static void put_three(uint32_t magic)
{
	put_header(magic, 65535, 1);
	put_record(1000, 5, 60, 60);
	put_record(1001, 6, 1, 1500);
	put_record(1002, 7, 100, 100);
}

static void write_file(const char *name, const void *content, size_t size)
{
	int fd = openat(dirfd_of_test, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, size), size);
	close(fd);
}

static int cut_file(const char *name, off_t size)
{
	int fd = openat(dirfd_of_test, name, O_WRONLY | O_CLOEXEC), result = ftruncate(fd, size);

	close(fd);
	return result;
}

static size_t gzip(uint8_t *out, size_t size)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = bytes;
	z.avail_in = (uInt)length;
	z.next_out = out;
	z.avail_out = (uInt)size;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return size - z.avail_out;
}

static struct pcapin *open_file(void)
{
	struct error error = ERROR_NONE;
	struct pcapin *in = NULL;
	int result = pcapin_open(dirfd_of_test, "file", &in, &error);

	if (result < 0)
		print_message("%s\n", error.message);
	assert_int_equal(result, 0);
	return in;
}

static struct pcapin *open_bytes(void)
{
	write_file("file", bytes, length);
	return open_file();
}

static int refuse(const void *content, size_t size, struct error *error)
{
	struct pcapin *in = (struct pcapin *)(uintptr_t)1;
	int result;

	memset(error, 0, sizeof(*error));
	write_file("file", content, size);
	result = pcapin_open(dirfd_of_test, "file", &in, error);
	assert_int_equal((uintptr_t)in, 1); /* untouched */
	assert_int_equal(error->code, result);
	return result;
}

static struct pcapin_packet next_packet(struct pcapin *in)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;

	memset(&packet, 0, sizeof(packet));
	assert_int_equal(pcapin_next(in, &packet, &error), 1);
	return packet;
}

static void assert_end(struct pcapin *in)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;

	assert_int_equal(pcapin_next(in, &packet, &error), 0);
	assert_int_equal(pcapin_next(in, &packet, &error), 0);
	pcapin_close(in);
}

/* Damage after so many packets, at that offset; asked twice it says it twice. */
static void assert_damage(struct pcapin *in, uint64_t packets, int64_t offset, const char *word)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;
	char after[40];

	assert_int_equal(pcapin_next(in, &packet, &error), ERROR_DAMAGED);
	assert_int_equal(error.code, ERROR_DAMAGED);
	assert_int_equal(error.offset_bytes, offset);
	assert_string_equal(error.path, "file");
	snprintf(after, sizeof(after), "after packet %u", (unsigned)packets);
	assert_non_null(strstr(error.message, after));
	if (!strstr(error.message, word))
		fail_msg("no \"%s\" in: %s", word, error.message);
	assert_int_equal(pcapin_next(in, &packet, NULL), ERROR_DAMAGED);
	pcapin_close(in);
}

static void assert_three(struct pcapin *in, int64_t unit_ns)
{
	struct pcapin_packet p;

	assert_int_equal(pcapin_link_type(in), 1);
	assert_int_equal(pcapin_snaplen(in), 65535);
	p = next_packet(in);
	assert_int_equal(p.number, 1);
	assert_int_equal(p.offset_bytes, 24);
	assert_int_equal(p.time_ns, 1000 * INT64_C(1000000000) + 5 * unit_ns);
	assert_int_equal(p.captured_bytes, 60);
	assert_int_equal(p.original_bytes, 60);
	assert_int_equal(p.data[59], 60);
	p = next_packet(in);
	assert_int_equal(p.number, 2);
	assert_int_equal(p.offset_bytes, 24 + 76);
	assert_int_equal(p.captured_bytes, 1);
	assert_int_equal(p.original_bytes, 1500);
	p = next_packet(in);
	assert_int_equal(p.offset_bytes, 24 + 76 + 17);
	assert_int_equal(p.time_ns, 1002 * INT64_C(1000000000) + 7 * unit_ns);
	assert_end(in);
}

/* ------------------------------------------------------------ the facts -- */

static void reads_both_units_and_byte_orders(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		big_endian = order != 0;
		put_three(MICROSECONDS);
		assert_three(open_bytes(), 1000);
		put_three(NANOSECONDS);
		assert_three(open_bytes(), 1);
	}
	big_endian = false;
}

static void an_empty_capture_is_fine(void **state)
{
	(void)state;
	put_header(NANOSECONDS, 262144, 276);
	assert_end(open_bytes());
}

static void reads_gzip_also_in_members_and_padded(void **state)
{
	static uint8_t zipped[4096];
	size_t all = length, size, half;

	(void)state;
	put_three(NANOSECONDS);
	size = gzip(zipped, sizeof(zipped));
	write_file("file", zipped, size);
	assert_three(open_file(), 1);
	memset(zipped + size, 0, 512);
	write_file("file", zipped, size + 512);
	assert_three(open_file(), 1);

	all = length;
	half = 50;
	length = half;
	size = gzip(zipped, sizeof(zipped));
	memmove(bytes, bytes + half, all - half);
	length = all - half;
	size += 100; /* zeros between them */
	memset(zipped + size - 100, 0, 100);
	size += gzip(zipped + size, sizeof(zipped) - size);
	write_file("file", zipped, size);
	assert_three(open_file(), 1);
}

/* However it was compressed, and only where all of it was read. */
static void what_was_read_is_told_in_bytes_of_the_file(void **state)
{
	static uint8_t zipped[4096];
	size_t zipped_bytes;

	(void)state;
	put_three(NANOSECONDS);
	zipped_bytes = gzip(zipped, sizeof(zipped));
	for (int i = 0; i < 2; i++) {
		struct pcapin_packet packet;
		struct error error = ERROR_NONE;
		struct pcapin *in;

		write_file("file", i == 0 ? bytes : zipped, i == 0 ? length : zipped_bytes);
		in = open_file();
		assert_int_equal(pcapin_next(in, &packet, &error), 1);
		if (i == 0)
			assert_int_equal(pcapin_read_bytes(in), 24 + 16 + 60);
		while (pcapin_next(in, &packet, &error) == 1)
			;
		assert_int_equal(pcapin_read_bytes(in), i == 0 ? length : zipped_bytes);
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
	put_three(NANOSECONDS);
	write_file("file", bytes, length);
	assert_int_equal(custody_hash_file(dirfd_of_test, "file", wanted, &size, &error), 0);
	assert_int_equal(pcapin_open_hashed(dirfd_of_test, "file", &in, &error), 0);
	assert_false(pcapin_is_gzip(in));
	while (pcapin_next(in, &packet, &error) == 1)
		;
	assert_null(pcapin_content_sha256(in));
	pcapin_close(in);
	zipped_size = gzip(zipped, sizeof(zipped));
	for (size_t cut = 0; cut < 2; cut++) {
		write_file("file", zipped, zipped_size - cut);
		assert_int_equal(pcapin_open_hashed(dirfd_of_test, "file", &in, &error), 0);
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
	put(type, 4);
	put(12 + body, 4);
}

/* One section, one interface whose clock has the given if_tsresol, one packet. */
static void put_pcapng(uint32_t resolution, uint32_t high, uint32_t low)
{
	length = 0;
	put_block(0x0a0d0d0a, 16);
	put(0x1a2b3c4d, 4);
	put(1, 2);
	put(0, 2);
	put(UINT32_MAX, 4);
	put(UINT32_MAX, 4);
	put(28, 4);
	put_block(1, 20);
	put(113, 2);
	put(0, 2);
	put(65535, 4);
	put(9, 2);
	put(1, 2);
	put(resolution, 1);
	put(0, 3);
	put(0, 4);
	put(32, 4);
	put_block(6, 24);
	put(0, 4);
	put(high, 4);
	put(low, 4);
	put(4, 4);
	put(60, 4);
	put(0x04030201, 4);
	put(36, 4);
}

static void reads_pcapng(void **state)
{
	struct pcapin_packet p;
	struct pcapin *in;

	(void)state;
	put_pcapng(9, 1, 7);
	in = open_bytes();
	assert_int_equal(pcapin_link_type(in), 113);
	p = next_packet(in);
	assert_int_equal(p.time_ns, (INT64_C(1) << 32) + 7);
	assert_int_equal(p.offset_bytes, 0);
	assert_int_equal(p.number, 1);
	assert_int_equal(p.captured_bytes, 4);
	assert_int_equal(p.original_bytes, 60);
	assert_end(in);
	length -= 5;
	in = open_bytes();
	assert_damage(in, 0, 28 + 32, "5 bytes are missing");
}

static void any_timestamp_is_taken(void **state)
{
	struct pcapin *in;

	(void)state;
	for (int order = 0; order < 2; order++) {
		big_endian = order != 0;
		put_header(NANOSECONDS, 65535, 1);
		put_record(UINT32_MAX, 999999999, 0, 0); /* the year 2106 */
		put_record(10, UINT32_MAX, 0, 0);
		in = open_bytes();
		assert_int_equal(next_packet(in).time_ns, INT64_C(4294967295999999999));
		assert_int_equal(next_packet(in).time_ns, INT64_C(14294967295));
		assert_end(in);
		put_header(MICROSECONDS, 65535, 1);
		put_record(10, UINT32_MAX, 0, 0);
		in = open_bytes();
		assert_int_equal(next_packet(in).time_ns, INT64_C(4304967295000));
		assert_end(in);
	}
	big_endian = false;
	put_pcapng(0, 0x7fffffff, 0); /* whole seconds, more than fit */
	in = open_bytes();
	assert_int_equal(next_packet(in).time_ns, QUANTITY_MAX_TIME_NS);
	assert_end(in);
}

/* At every byte: the whole records come out, then damage, unless it is a boundary. */
static void cut_anywhere_the_whole_records_come_out(void **state)
{
	static const size_t ends[] = {24, 24 + 76, 24 + 76 + 17, 24 + 76 + 17 + 116};
	struct pcapin *in;
	size_t cut, whole;

	(void)state;
	put_three(NANOSECONDS);
	assert_int_equal(length, ends[3]);
	for (cut = 24; cut <= ends[3]; cut++) {
		write_file("file", bytes, cut);
		in = open_file();
		for (whole = 0; whole < 3 && ends[whole + 1] <= cut; whole++)
			next_packet(in);
		if (cut == ends[whole])
			assert_end(in);
		else
			assert_damage(in, whole, (int64_t)ends[whole], "truncated");
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
	put_header(NANOSECONDS, 1, 1);
	for (cut = 4; cut < 24; cut++)
		assert_int_equal(refuse(bytes, cut, &error), ERROR_DAMAGED);
	bytes[4] = 9; /* a version of the future */
	assert_int_equal(refuse(bytes, 24, &error), ERROR_DAMAGED);
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
	assert_int_equal(pcapin_open(dirfd_of_test, "absent", &in, &error), ERROR_NO_INPUT);
	assert_int_equal(pcapin_open(AT_FDCWD, directory, &in, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.message, "directory"));
	assert_null(in);
	pcapin_close(NULL);
}

static void an_absurd_length_is_damage(void **state)
{
	struct pcapin *in;

	(void)state;
	put_header(NANOSECONDS, 65535, 1);
	put_record(1, 1, 60, 60);
	put_record(1, 1, 300000, 300000);
	in = open_bytes();
	next_packet(in);
	assert_damage(in, 1, 24 + 76, "300000");
}

/* libpcap cuts it to the snaplen; the offsets after it stay true. */
static void a_record_longer_than_the_snaplen_is_cut(void **state)
{
	static uint8_t zipped[4096];
	struct pcapin_packet p;
	struct pcapin *in;

	(void)state;
	put_header(NANOSECONDS, 64, 1);
	put_record(1, 1, 100, 1500);
	put_record(1, 1, 64, 1500);
	put_record(1, 1, 10, 10);
	for (int zip = 0; zip < 2; zip++) {
		if (zip)
			write_file("file", zipped, gzip(zipped, sizeof(zipped)));
		in = zip ? open_file() : open_bytes();
		p = next_packet(in);
		assert_int_equal(p.captured_bytes, 64);
		assert_int_equal(p.original_bytes, 1500);
		assert_int_equal(next_packet(in).offset_bytes, 24 + 116);
		assert_int_equal(next_packet(in).offset_bytes, 24 + 116 + 80);
		assert_end(in);
	}
}

static void patched_libpcaps_have_longer_record_headers(void **state)
{
	struct pcapin *in;

	(void)state;
	put_header(KUZNETZOV, 65535, 113);
	for (int i = 0; i < 2; i++) {
		put_record(1, 1, 0, 40);
		put(0, 4);
		put(0, 4);
	}
	in = open_bytes();
	assert_int_equal(next_packet(in).offset_bytes, 24);
	assert_int_equal(next_packet(in).offset_bytes, 48);
	assert_end(in);
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
	put_three(NANOSECONDS);
	size = gzip(zipped, sizeof(zipped));
	for (cut = 0; cut < size; cut++) {
		write_file("file", zipped, cut);
		result = pcapin_open(dirfd_of_test, "file", &in, &error);
		if (result == 0) {
			while ((result = pcapin_next(in, &packet, &error)) == 1)
				continue;
			pcapin_close(in);
		}
		assert_int_equal(result, ERROR_DAMAGED);
	}
	write_file("file", zipped, size - 4); /* all packets are there, the length is not */
	in = open_file();
	for (int i = 0; i < 3; i++)
		next_packet(in);
	assert_damage(in, 3, (int64_t)length, "gzip stream");
}

static void a_damaged_gzip_stream_is_damage(void **state)
{
	static uint8_t zipped[4096];
	struct pcapin *in;
	size_t size;

	(void)state;
	put_three(NANOSECONDS);
	size = gzip(zipped, sizeof(zipped));
	zipped[size - 8] ^= 1; /* its CRC */
	write_file("file", zipped, size);
	in = open_file();
	for (int i = 0; i < 3; i++)
		next_packet(in);
	assert_damage(in, 3, (int64_t)length, "incorrect data check");
	zipped[size - 8] ^= 1;
	memcpy(zipped + size, "trailing", 8);
	write_file("file", zipped, size + 8);
	in = open_file();
	for (int i = 0; i < 3; i++)
		next_packet(in);
	assert_damage(in, 3, (int64_t)length, "not gzip");
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
		put_three(NANOSECONDS);
		size = gzip(zipped, sizeof(zipped));
		assert_int_equal(pipe(ends), 0);
		if (zip)
			assert_int_equal(write(ends[1], zipped, size), size);
		else
			assert_int_equal(write(ends[1], bytes, length), length);
		close(ends[1]);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
		assert_int_equal(pcapin_open(AT_FDCWD, path, &in, &error), 0);
		close(ends[0]);
		assert_three(in, 1);
	}
}

/* More than the stream's buffers hold, so that they are filled several times. */
static void large_files_come_out_whole(void **state)
{
	static uint8_t zipped[400000];
	struct pcapin_packet p;
	struct pcapin *in;
	uint32_t i;

	(void)state;
	put_header(NANOSECONDS, 65535, 1);
	for (i = 0; length < 390000; i++)
		put_record(i, i, i % 1500, i % 1500);
	for (int zip = 0; zip < 2; zip++) {
		in = zip ? open_file() : open_bytes();
		for (uint32_t n = 0; n < i; n++) {
			p = next_packet(in);
			assert_int_equal(p.captured_bytes, n % 1500);
			assert_int_equal(p.time_ns, n * INT64_C(1000000001));
			if (p.captured_bytes)
				assert_int_equal(p.data[p.captured_bytes - 1], n % 1500 & 0xff);
		}
		assert_end(in);
		write_file("file", zipped, gzip(zipped, sizeof(zipped)));
	}
}

/* In the middle of a file: longer than the blocks that plain files are read in, or than the
 * snaplen; what follows is read too. */
static void what_is_unusual_does_not_end_a_capture(void **state)
{
	static const uint32_t snaplens[2] = {1u << 20, 1000}, lengths[2] = {300000, 200000},
			      captured[2] = {300000, 1000};
	struct pcapin_packet p;
	struct pcapin *in;

	(void)state;
	for (int i = 0; i < 2; i++) {
		put_header(MICROSECONDS, snaplens[i], DBUS);
		put_record(1, 1, 60, 60);
		put_record(2, 1, lengths[i], 300000);
		put_record(3, 1, 70, 70);
		put_record(4, 4294967295, 0, 80);
		in = open_bytes();
		assert_int_equal(next_packet(in).captured_bytes, 60);
		p = next_packet(in);
		assert_int_equal(p.captured_bytes, captured[i]);
		assert_int_equal(p.original_bytes, 300000);
		assert_int_equal(p.offset_bytes, 24 + 76);
		assert_int_equal(p.data[captured[i] - 1], lengths[i] & 0xff);
		p = next_packet(in);
		assert_int_equal(p.number, 3);
		assert_int_equal(p.offset_bytes, 24 + 76 + 16 + lengths[i]);
		assert_int_equal(p.data[69], 70);
		assert_int_equal(next_packet(in).time_ns, INT64_C(4298967295000));
		assert_end(in);
	}
}

static void a_file_may_be_cut_and_grow_while_it_is_read(void **state)
{
	const off_t cut = 24 + 300 * 1016 + 500;
	struct pcapin *in;

	(void)state;
	put_header(NANOSECONDS, 65535, 1);
	while (length < 350000)
		put_record(1, 1, 1000, 1000);
	in = open_bytes();
	assert_int_equal(next_packet(in).number, 1);
	assert_int_equal(cut_file("file", cut), 0);
	for (uint64_t n = 2; n <= 300; n++)
		assert_int_equal(next_packet(in).number, n);
	assert_damage(in, 300, 24 + 300 * 1016, "truncated");
	put_header(NANOSECONDS, 65535, 1);
	put_record(1, 1, 1000, 1000);
	in = open_bytes();
	put_record(2, 2, 1000, 1000);
	write_file("file", bytes, length);
	assert_int_equal(next_packet(in).number, 1);
	assert_int_equal(next_packet(in).time_ns, INT64_C(2000000002));
	assert_end(in);
}

/* What was read ahead is given; then there is no end to be heard of, as more was there. */
static void a_file_cut_behind_what_was_read_of_it_is_damage(void **state)
{
	const off_t cut = 24 + 50 * 1016;
	struct error error = ERROR_NONE;
	struct pcapin_packet packet;
	struct pcapin *in;
	uint64_t n = 1;
	int status;

	(void)state;
	put_header(NANOSECONDS, 65535, 1);
	while (length < 390000)
		put_record(1, 1, 1000, 1000);
	in = open_bytes();
	assert_int_equal(next_packet(in).number, 1);
	assert_int_equal(cut_file("file", cut), 0);
	while ((status = pcapin_next(in, &packet, &error)) == 1)
		assert_int_equal(packet.number, ++n);
	assert_true(n > 50);
	assert_int_equal(status, ERROR_DAMAGED);
	assert_int_equal(error.offset_bytes, cut);
	assert_non_null(strstr(error.message, "became shorter while it was read"));
	assert_int_equal(pcapin_next(in, &packet, &error), ERROR_DAMAGED);
	pcapin_close(in);
}

/* All data of a call stands at once, also where the file is cut behind it. */
static void a_few_at_once_are_what_one_after_the_other_is(void **state)
{
	static uint8_t zipped[400000];
	struct error error = ERROR_NONE;
	struct pcapin_packet few[7];
	struct pcapin *in;
	size_t got, most;
	uint32_t i;
	int status;

	(void)state;
	put_header(NANOSECONDS, 65535, 1);
	for (i = 0; length < 390000; i++)
		put_record(i, i, i % 1500, i % 1500);
	length -= 5;
	for (int zip = 0; zip < 2; zip++) {
		uint32_t n = 0;

		most = 0;
		in = zip ? open_file() : open_bytes();
		while ((got = pcapin_next_few(in, few, 7, &status, &error)) > 0) {
			assert_int_equal(status, 1);
			most = got > most ? got : most;
			for (size_t k = 0; k < got; k++, n++) {
				assert_int_equal(few[k].number, n + 1);
				assert_int_equal(few[k].time_ns, n * INT64_C(1000000001));
				assert_int_equal(few[k].captured_bytes, n % 1500);
				if (few[k].captured_bytes)
					assert_int_equal(few[k].data[few[k].captured_bytes - 1],
							 n % 1500 & 0xff);
			}
		}
		assert_int_equal(most, zip ? 1 : 7);
		assert_int_equal(n, i - 1);
		assert_int_equal(status, ERROR_DAMAGED);
		assert_non_null(strstr(error.message, "truncated"));
		pcapin_close(in);
		write_file("file", zipped, gzip(zipped, sizeof(zipped)));
	}
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	dirfd_of_test = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_of_test < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlinkat(dirfd_of_test, "file", 0);
	close(dirfd_of_test);
	return rmdir(directory);
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
		cmocka_unit_test(large_files_come_out_whole),
		cmocka_unit_test(what_is_unusual_does_not_end_a_capture),
		cmocka_unit_test(a_file_may_be_cut_and_grow_while_it_is_read),
		cmocka_unit_test(a_file_cut_behind_what_was_read_of_it_is_damage),
		cmocka_unit_test(a_few_at_once_are_what_one_after_the_other_is),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
