/* test_pcapng.c - facts about pcapng files: of several interfaces, sections and
 * byte orders, and what is said of one that makes no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/pcapng.h"
#include "snapshot/format/quantity.h"

static uint8_t bytes[5u << 20];
static size_t length;
static bool big_endian;

static void put(uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		bytes[length + i] = (uint8_t)(value >> (8 * (big_endian ? size - 1 - i : i)));
	length += size;
}

static size_t begin_block(uint32_t type)
{
	put(type, 4);
	put(0, 4);
	return length - 8;
}

static void end_block(size_t at)
{
	uint32_t size;

	while (length % 4 != 0)
		put(0, 1);
	put(0, 4);
	size = (uint32_t)(length - at);
	length = at + 4;
	put(size, 4);
	length = at + size - 4;
	put(size, 4);
}

static void section(void)
{
	size_t at = begin_block(0x0a0d0d0a);

	put(0x1a2b3c4d, 4);
	put(1, 2);
	put(0, 2);
	put(UINT64_MAX, 8);
	end_block(at);
}

static void interface(uint16_t link_type, uint32_t snaplen, int resolution, int64_t offset_s)
{
	size_t at = begin_block(1);

	put(link_type, 2);
	put(0, 2);
	put(snaplen, 4);
	put(2, 2); /* a name */
	put(3, 2);
	put(0x306f6c, 4);
	if (resolution >= 0) {
		put(9, 2);
		put(1, 2);
		put((uint64_t)resolution, 1);
		put(0, 3);
	}
	if (offset_s != 0) {
		put(14, 2);
		put(8, 2);
		put((uint64_t)offset_s, 8);
	}
	put(0, 4);
	end_block(at);
}

static void enhanced(uint32_t number, uint64_t units, uint32_t captured, uint32_t original)
{
	size_t at = begin_block(6);

	put(number, 4);
	put(units >> 32, 4);
	put(units & UINT32_MAX, 4);
	put(captured, 4);
	put(original, 4);
	for (uint32_t i = 0; i < captured; i++)
		put(i + 1, 1);
	end_block(at);
}

static void simple(uint32_t captured, uint32_t original)
{
	size_t at = begin_block(3);

	put(original, 4);
	for (uint32_t i = 0; i < captured; i++)
		put(i + 1, 1);
	end_block(at);
}

static FILE *stream;
static struct pcapng *ng;
static uint64_t offset;
static char found[PCAPNG_TEXT_SIZE];

static void open_bytes(size_t size)
{
	stream = fmemopen(bytes, size, "rb");
	assert_non_null(stream);
	ng = pcapng_new(stream);
	assert_non_null(ng);
}

static void close_bytes(void)
{
	pcapng_free(ng);
	fclose(stream);
}

static void assert_packet(int link_type, int64_t time_ns, uint32_t captured, uint32_t original)
{
	struct pcapng_packet p;

	assert_int_equal(pcapng_next(ng, &p, &offset, found), 1);
	assert_int_equal(p.link_type, link_type);
	assert_int_equal(p.time_ns, time_ns);
	assert_int_equal(p.captured_bytes, captured);
	assert_int_equal(p.original_bytes, original);
	for (uint32_t i = 0; i < captured; i++)
		assert_int_equal(p.data[i], i + 1);
}

static void assert_stop(int status, const char *word)
{
	struct pcapng_packet p;

	for (int again = 0; again < 2; again++) {
		found[0] = '\0';
		assert_int_equal(pcapng_next(ng, &p, &offset, found), status);
		if (strstr(found, word) == NULL)
			fail_msg("no \"%s\" in: %s", word, found);
	}
	close_bytes();
}

static int begin(void **state)
{
	(void)state;
	length = 0;
	big_endian = false;
	return 0;
}

static void every_interface_has_its_own_link_type_clock_and_length(void **state)
{
	(void)state;
	section();
	interface(1, 65535, -1, 0);
	interface(276, 128, 9, 100);
	enhanced(0, 5000001, 3, 60);
	enhanced(1, 7, 4, 4);
	interface(101, 0, 0x80 | 1, 0); /* halves of a second */
	enhanced(2, 5, 1, 1);
	open_bytes(length);
	assert_int_equal(pcapng_link_type(ng), 1);
	assert_int_equal(pcapng_snaplen(ng), 65535);
	assert_packet(1, INT64_C(5000001000), 3, 60);
	assert_packet(276, INT64_C(100000000007), 4, 4);
	assert_packet(101, INT64_C(2500000000), 1, 1);
	assert_stop(0, "");
}

/* Interfaces are numbered anew in each section, whose byte order may be another. */
static void sections_stand_each_for_itself(void **state)
{
	(void)state;
	section();
	interface(1, 0, -1, 0);
	enhanced(0, 1, 3, 3);
	big_endian = true;
	section();
	interface(113, 0, 9, 0);
	enhanced(0, 1, 2, 2);
	section();
	enhanced(0, 1, 2, 2);
	open_bytes(length);
	assert_packet(1, 1000, 3, 3);
	assert_packet(113, 1, 2, 2);
	assert_stop(-1, "a packet of interface 0 of 0");
}

static void a_simple_packet_is_as_long_as_the_interface_let_it(void **state)
{
	(void)state;
	section();
	interface(1, 4, -1, 0);
	simple(4, 60);
	simple(2, 2);
	open_bytes(length);
	assert_packet(1, 0, 4, 60);
	assert_packet(1, 0, 2, 2);
	assert_stop(0, "");
}

static void an_obsolete_packet_is_one(void **state)
{
	size_t at;

	(void)state;
	section();
	interface(1, 0, -1, 0);
	at = begin_block(2);
	put(0, 2);
	put(9, 2); /* drops */
	put(0, 4);
	put(3, 4);
	put(1, 4);
	put(1, 4);
	put(1, 1);
	end_block(at);
	open_bytes(length);
	assert_packet(1, 3000, 1, 1);
	assert_stop(0, "");
}

static void blocks_without_packets_are_passed_over(void **state)
{
	static const uint32_t types[] = {4, 5, 7, 10, 0xbad, 0x80000001};

	(void)state;
	section();
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t at = begin_block(types[i]);

		put(i, 4);
		end_block(at);
	}
	interface(1, 0, -1, 0);
	enhanced(0, 1, 3, 3);
	open_bytes(length);
	assert_packet(1, 1000, 3, 3);
	assert_stop(0, "");
}

static void without_interface_or_packet_it_is_empty(void **state)
{
	(void)state;
	section();
	open_bytes(length);
	assert_int_equal(pcapng_link_type(ng), -1);
	assert_stop(0, "");
}

static void times_out_of_range_are_at_its_end(void **state)
{
	(void)state;
	section();
	interface(1, 0, 0, 0);
	interface(1, 0, -1, -100);
	interface(1, 0, 0x80 | 63, 0);
	enhanced(0, UINT64_MAX, 1, 1);
	enhanced(1, 5, 1, 1);
	enhanced(2, UINT64_MAX, 1, 1);
	open_bytes(length);
	assert_packet(1, QUANTITY_MAX_TIME_NS, 1, 1);
	assert_packet(1, 0, 1, 1);
	assert_packet(1, 1999999999, 1, 1);
	assert_stop(0, "");
}

static void cut_anywhere_it_ends_as_damaged_and_never_before_its_packets(void **state)
{
	size_t first, second, interface_end;

	(void)state;
	section();
	interface(1, 0, -1, 0);
	interface_end = length;
	enhanced(0, 1, 3, 3);
	first = length;
	enhanced(0, 2, 3, 3);
	second = length;
	for (size_t cut = 1; cut <= second; cut++) {
		open_bytes(cut);
		if (cut >= first)
			assert_packet(1, 1000, 3, 3);
		if (cut >= second)
			assert_packet(1, 2000, 3, 3);
		if (cut == 28 || cut == interface_end || cut == first || cut == second)
			assert_stop(0, "");
		else
			assert_stop(-1, "bytes");
	}
}

/* Each of these bytes makes nonsense of the first block that has it. */
static void nonsense_is_named(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *word;
	} wrong[] = {
		{4, 12, "length of 12"},       {4, 29, "length of 29"},
		{8, 0, "byte order"},	       {12, 2, "version 2.0"},
		{24, 0, "ends as one of"},     {28 + 18, 200, "option 2 has"},
		{60 + 8, 1, "interface 1 of"}, {60 + 20, 99, "packet of 99 bytes"},
		{60 + 4, 8, "length of 8"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		length = 0;
		section();
		interface(1, 0, -1, 0);
		assert_int_equal(length, 28 + 32);
		enhanced(0, 1, 3, 3);
		bytes[wrong[i].at] = wrong[i].value;
		open_bytes(length);
		assert_stop(-1, wrong[i].word);
	}
}

static void a_length_that_the_file_has_not_costs_no_memory(void **state)
{
	(void)state;
	section();
	interface(1, 0, -1, 0);
	put(6, 4);
	put(UINT32_C(136) << 20, 4);
	put(0, 4);
	open_bytes(length);
	assert_stop(-1, "missing");
	length -= 8;
	put((UINT32_C(136) << 20) + 4, 4);
	put(0, 4);
	open_bytes(length);
	assert_stop(-1, "length of");
}

/* Of each section; a section more costs nothing. */
static void interfaces_without_end_are_refused(void **state)
{
	size_t wrong;

	(void)state;
	for (int sections = 0; sections < 2; sections++) {
		section();
		for (int i = 0; i < 65536; i++)
			interface(1, 0, -1, 0);
		enhanced(65535, 5000001, 3, 60);
	}
	wrong = length;
	interface(1, 0, -1, 0);
	open_bytes(length);
	assert_packet(1, INT64_C(5000001000), 3, 60);
	assert_packet(1, INT64_C(5000001000), 3, 60);
	assert_stop(-1, "interface 65537 of one section, which may have 65536");
	assert_int_equal(offset, wrong);
}

#define FACT(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(every_interface_has_its_own_link_type_clock_and_length),
		FACT(sections_stand_each_for_itself),
		FACT(a_simple_packet_is_as_long_as_the_interface_let_it),
		FACT(an_obsolete_packet_is_one),
		FACT(blocks_without_packets_are_passed_over),
		FACT(without_interface_or_packet_it_is_empty),
		FACT(times_out_of_range_are_at_its_end),
		FACT(cut_anywhere_it_ends_as_damaged_and_never_before_its_packets),
		FACT(nonsense_is_named),
		FACT(a_length_that_the_file_has_not_costs_no_memory),
		FACT(interfaces_without_end_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
