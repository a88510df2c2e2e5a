/* test_pcapfast.c - captures that are longer than what is read of one at once, and read a few
 * packets at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/capfile.h"

#define DBUS 231u /* its records may be of any length for libpcap */

/* Records of 0 bytes, of 1 and so on, as many as there is room for. Returns their count. */
static uint32_t put_growing(void)
{
	uint32_t i;

	capfile_header(CAPFILE_NANOSECONDS, 65535, 1);
	for (i = 0; capfile_length < 390000; i++)
		capfile_record(i, i, i % 1500, i % 1500);
	return i;
}

/* More than the stream's buffers hold, so that they are filled several times. */
static void large_files_come_out_whole(void **state)
{
	static uint8_t zipped[CAPFILE_SIZE];
	struct pcapin_packet p;
	struct pcapin *in;
	uint32_t count;

	(void)state;
	count = put_growing();
	for (int zip = 0; zip < 2; zip++) {
		in = zip ? capfile_open() : capfile_open_bytes();
		for (uint32_t n = 0; n < count; n++) {
			p = capfile_next(in);
			assert_int_equal(p.captured_bytes, n % 1500);
			assert_int_equal(p.time_ns, n * INT64_C(1000000001));
			if (p.captured_bytes)
				assert_int_equal(p.data[p.captured_bytes - 1], n % 1500 & 0xff);
		}
		capfile_ends(in);
		capfile_write("file", zipped, capfile_gzip(zipped, sizeof(zipped)));
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
		capfile_header(CAPFILE_MICROSECONDS, snaplens[i], DBUS);
		capfile_record(1, 1, 60, 60);
		capfile_record(2, 1, lengths[i], 300000);
		capfile_record(3, 1, 70, 70);
		capfile_record(4, 4294967295, 0, 80);
		in = capfile_open_bytes();
		assert_int_equal(capfile_next(in).captured_bytes, 60);
		p = capfile_next(in);
		assert_int_equal(p.captured_bytes, captured[i]);
		assert_int_equal(p.original_bytes, 300000);
		assert_int_equal(p.offset_bytes, 24 + 76);
		assert_int_equal(p.data[captured[i] - 1], lengths[i] & 0xff);
		p = capfile_next(in);
		assert_int_equal(p.number, 3);
		assert_int_equal(p.offset_bytes, 24 + 76 + 16 + lengths[i]);
		assert_int_equal(p.data[69], 70);
		assert_int_equal(capfile_next(in).time_ns, INT64_C(4298967295000));
		capfile_ends(in);
	}
}

static void a_file_may_be_cut_and_grow_while_it_is_read(void **state)
{
	const off_t cut = 24 + 300 * 1016 + 500;
	struct pcapin *in;

	(void)state;
	capfile_header(CAPFILE_NANOSECONDS, 65535, 1);
	while (capfile_length < 350000)
		capfile_record(1, 1, 1000, 1000);
	in = capfile_open_bytes();
	assert_int_equal(capfile_next(in).number, 1);
	assert_int_equal(capfile_cut("file", cut), 0);
	for (uint64_t n = 2; n <= 300; n++)
		assert_int_equal(capfile_next(in).number, n);
	capfile_damaged(in, 300, 24 + 300 * 1016, "truncated");
	capfile_header(CAPFILE_NANOSECONDS, 65535, 1);
	capfile_record(1, 1, 1000, 1000);
	in = capfile_open_bytes();
	capfile_record(2, 2, 1000, 1000);
	capfile_write("file", capfile_bytes, capfile_length);
	assert_int_equal(capfile_next(in).number, 1);
	assert_int_equal(capfile_next(in).time_ns, INT64_C(2000000002));
	capfile_ends(in);
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
	capfile_header(CAPFILE_NANOSECONDS, 65535, 1);
	while (capfile_length < 390000)
		capfile_record(1, 1, 1000, 1000);
	in = capfile_open_bytes();
	assert_int_equal(capfile_next(in).number, 1);
	assert_int_equal(capfile_cut("file", cut), 0);
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
	static uint8_t zipped[CAPFILE_SIZE];
	struct error error = ERROR_NONE;
	struct pcapin_packet few[7];
	struct pcapin *in;
	size_t got, most;
	uint32_t count;
	int status;

	(void)state;
	count = put_growing();
	capfile_length -= 5;
	for (int zip = 0; zip < 2; zip++) {
		uint32_t n = 0;

		most = 0;
		in = zip ? capfile_open() : capfile_open_bytes();
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
		assert_int_equal(n, count - 1);
		assert_int_equal(status, ERROR_DAMAGED);
		assert_non_null(strstr(error.message, "truncated"));
		pcapin_close(in);
		capfile_write("file", zipped, capfile_gzip(zipped, sizeof(zipped)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_files_come_out_whole),
		cmocka_unit_test(what_is_unusual_does_not_end_a_capture),
		cmocka_unit_test(a_file_may_be_cut_and_grow_while_it_is_read),
		cmocka_unit_test(a_file_cut_behind_what_was_read_of_it_is_damage),
		cmocka_unit_test(a_few_at_once_are_what_one_after_the_other_is),
	};

	return cmocka_run_group_tests(tests, capfile_begin, capfile_end);
}
