/* How much of a pcap that a crash left is whole, and what is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/repair.h"
#include "tests/unit/storedir.h"

#define HEADER 24
#define RECORD (16 + 60)
#define HOLE   65536

static struct repair_scan scanned;

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
	assert_int_equal(repair_scan_pcap(fd, "pcap", &scanned, NULL), 0);
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
		assert_int_equal(scanned.packets, records);
		assert_int_equal(scanned.whole_bytes, cut < HEADER ? 0 : HEADER + records * RECORD);
		assert_true(cut < HEADER || scanned.is_torn);
	}
}

static void test_the_other_byte_order(void **state)
{
	uint8_t bytes[HEADER + 3 * RECORD];

	(void)state;
	scan(bytes, build(bytes, true));
	assert_int_equal(scanned.packets, 3);
}

static void test_not_a_pcap(void **state)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	(void)state;
	bytes[0] ^= 1;
	scan(bytes, length);
	assert_int_equal(scanned.whole_bytes, 0);
}

/* Each of these in the second record: the first one is kept. */
static void spoil(size_t field, uint32_t value)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	put(bytes + HEADER + RECORD + field, value, false);
	scan(bytes, length);
	assert_int_equal(scanned.packets, 1);
	assert_int_equal(scanned.whole_bytes, HEADER + RECORD);
	assert_false(scanned.is_torn);
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

/* The second record claims what a recorder writes, or not, and more than there is. */
static bool is_torn_with(uint32_t captured, uint32_t original)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	put(bytes + HEADER + RECORD + 8, captured, false);
	put(bytes + HEADER + RECORD + 12, original, false);
	scan(bytes, length);
	assert_int_equal(scanned.packets, 1);
	assert_int_equal(scanned.whole_bytes, HEADER + RECORD);
	return scanned.is_torn;
}

static void test_a_length_that_is_damaged_is_no_torn_record(void **state)
{
	(void)state;
	assert_true(is_torn_with(1500, 1500));
	assert_true(is_torn_with(65535, 70000));
	assert_false(is_torn_with(60 + 0x100, 60));
	assert_false(is_torn_with(1500, 1514));
	assert_false(is_torn_with(65534, 70000));
}

static void test_zeros_that_never_were_data(void **state)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);

	(void)state;
	memset(bytes + HEADER + 2 * RECORD, 0, RECORD);
	scan(bytes, length);
	assert_int_equal(scanned.packets, 2);
}

/* ---- directories ---- */

#define NAME(number) "00000" #number "-20261121T203000.123456789Z"

static char path[] = "/tmp/test_repair.XXXXXX";
static struct segment_store store;
static struct error error;
static unsigned notices;

static int set_up(void **state)
{
	(void)state;
	notices = 0;
	return storedir_open(path, &store, &error);
}

static int tear_down(void **state)
{
	(void)state;
	return storedir_remove(path, &store);
}

/* A pcap of three packets and a torn fourth one. */
static void put_torn(const char *name)
{
	uint8_t bytes[HEADER + 3 * RECORD];
	size_t length = build(bytes, false);
	int fd = openat(store.dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	assert_int_equal(write(fd, "torn", 4), 4);
	close(fd);
}

static int64_t size_of(const char *name)
{
	struct stat file;

	return fstatat(store.dirfd, name, &file, AT_SYMLINK_NOFOLLOW) == 0 ? file.st_size : -1;
}

static void notice(void *context, const struct error *problem)
{
	(void)context;
	notices++;
	assert_non_null(strstr(problem->message, "left alone: "));
}

static void count_left(const struct custody_entry *entry, void *context)
{
	unsigned *left = context;

	*left += !strcmp(entry->event, "repair") &&
		 !strcmp(entry->detail, "left alone: not a regular file");
}

/* None of them stops the start, nor the repair of the file behind them. */
static void test_what_is_no_file_of_ours_is_left_alone(void **state)
{
	struct repair_result result;
	unsigned left = 0;

	(void)state;
	assert_int_equal(mkfifoat(store.dirfd, NAME(1) ".pcap.part", 0600), 0);
	assert_int_equal(mkfifoat(store.dirfd, NAME(1) ".snap.gz.part", 0600), 0);
	assert_int_equal(mkdirat(store.dirfd, NAME(2) ".pcap.part", 0700), 0);
	put_torn("elsewhere");
	assert_int_equal(symlinkat("elsewhere", store.dirfd, NAME(3) ".pcap.part"), 0);
	put_torn(NAME(4) ".pcap.part");
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(result.left, 4);
	assert_int_equal(notices, 4);
	assert_int_equal(result.files, 1);
	assert_int_equal(size_of(NAME(4) ".pcap"), HEADER + 3 * RECORD);
	assert_int_equal(size_of("elsewhere"), HEADER + 3 * RECORD + 4);
	assert_true(size_of(NAME(3) ".pcap.part") > 0);
	assert_int_equal(custody_verify(store.dirfd, path, count_left, &left, NULL, &error), 0);
	assert_int_equal(left, 4);
}

/* A plain file as a recorder left it: the log has its hash. */
static void put_logged(const char *name)
{
	put_torn("torn");
	assert_int_equal(segment_publish(&store, "torn", name, "close", "", &error), 0);
}

/* The plain file counts as long as it is there, and the compressed one once it is alone. */
static void test_what_was_not_compressed_to_the_end_is_undone(void **state)
{
	struct repair_result result;
	int64_t size;

	(void)state;
	put_torn(NAME(1) ".pcap");
	put_torn(NAME(1) ".pcap.gz.part");
	put_logged(NAME(2) ".pcap");
	put_torn(NAME(2) ".pcap.gz");
	put_torn(NAME(2) ".pcap.gz.idx");
	put_torn(NAME(3) ".pcap.gz");
	put_torn(NAME(3) ".pcap.gz.idx");
	put_torn(NAME(3) ".pcap.gz.idx.part");
	size = size_of(NAME(1) ".pcap");
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(result.left, 0);
	assert_int_equal(result.files, 2);
	assert_int_equal(size_of(NAME(1) ".pcap"), size);
	assert_true(size_of(NAME(1) ".pcap.gz.part") < 0);
	assert_int_equal(size_of(NAME(2) ".pcap"), size);
	assert_true(size_of(NAME(2) ".pcap.gz") < 0 && size_of(NAME(2) ".pcap.gz.idx") < 0);
	assert_int_equal(size_of(NAME(3) ".pcap.gz"), size);
	assert_int_equal(size_of(NAME(3) ".pcap.gz.idx"), size);
	assert_true(size_of(NAME(3) ".pcap.gz.idx.part") < 0);
}

static void count_both_kept(const struct custody_entry *entry, void *context)
{
	unsigned *kept = context;

	*kept += !strcmp(entry->event, "repair") && entry->file != NULL &&
		 strstr(entry->file, ".pcap.gz") != NULL &&
		 strstr(entry->detail, "both are kept") != NULL;
}

static void write_over(const char *name, size_t length)
{
	int fd = openat(store.dirfd, name, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)length), 0);
	close(fd);
}

/* Somebody unpacked a part of it, or wrote to it, or the log does not know it. */
static void test_what_was_compressed_is_kept_beside_a_plain_file_that_is_another(void **state)
{
	struct repair_result result;
	unsigned kept = 0;
	int64_t size;

	(void)state;
	put_logged(NAME(1) ".pcap");
	size = size_of(NAME(1) ".pcap");
	write_over(NAME(1) ".pcap", HEADER + RECORD);
	put_torn(NAME(1) ".pcap.gz");
	put_torn(NAME(1) ".pcap.gz.idx");
	put_torn(NAME(2) ".pcap");
	put_torn(NAME(2) ".pcap.gz");
	/* The last hash counts. */
	put_logged(NAME(3) ".pcap");
	write_over(NAME(3) ".pcap", HEADER);
	assert_int_equal(segment_publish(&store, NAME(3) ".pcap", "3", "repair", "", &error), 0);
	assert_int_equal(segment_publish(&store, "3", NAME(3) ".pcap", "repair", "", &error), 0);
	put_torn(NAME(3) ".pcap.gz");
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(result.left, 2);
	assert_int_equal(notices, 2);
	assert_int_equal(result.files, 1);
	assert_int_equal(size_of(NAME(1) ".pcap"), HEADER + RECORD);
	assert_int_equal(size_of(NAME(1) ".pcap.gz"), size);
	assert_int_equal(size_of(NAME(1) ".pcap.gz.idx"), size);
	assert_int_equal(size_of(NAME(2) ".pcap"), size);
	assert_int_equal(size_of(NAME(2) ".pcap.gz"), size);
	assert_true(size_of(NAME(3) ".pcap.gz") < 0);
	assert_int_equal(custody_verify(store.dirfd, path, count_both_kept, &kept, NULL, &error),
			 0);
	assert_int_equal(kept, 2);
}

static void test_what_has_another_name_is_not_cut(void **state)
{
	struct repair_result result;

	(void)state;
	put_torn("elsewhere");
	assert_int_equal(linkat(store.dirfd, "elsewhere", store.dirfd, NAME(1) ".pcap.part", 0), 0);
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(result.left, 1);
	assert_int_equal(size_of("elsewhere"), HEADER + 3 * RECORD + 4);
}

/* The name is taken by what the repair must not replace. */
static void test_after_a_failure_the_next_one_is_repaired(void **state)
{
	struct repair_result result;

	(void)state;
	put_torn(NAME(1) ".pcap.part");
	assert_int_equal(mkdirat(store.dirfd, NAME(1) ".pcap", 0700), 0);
	put_torn(NAME(2) ".pcap.part");
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(result.left, 1);
	assert_int_equal(size_of(NAME(2) ".pcap"), HEADER + 3 * RECORD);
}

/* Two packets, then a hole of length bytes, then two more. */
static void put_holed(const char *name, size_t length, bool all_lost)
{
	static uint8_t hole[HOLE];
	uint8_t bytes[HEADER + 3 * RECORD];
	int fd = openat(store.dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	build(bytes, false);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, HEADER + 2 * RECORD), HEADER + 2 * RECORD);
	assert_int_equal(write(fd, hole, length), length);
	if (!all_lost)
		assert_int_equal(write(fd, bytes + HEADER, 2 * RECORD), 2 * RECORD);
	close(fd);
}

static void hear_of_rest(const struct custody_entry *entry, void *context)
{
	unsigned *heard = context;

	*heard += !strcmp(entry->event, "repair") && entry->file != NULL &&
		  !strcmp(entry->file, NAME(1) ".pcap.rest.damaged") &&
		  entry->bytes == HOLE + 2 * RECORD && entry->sha256 != NULL &&
		  strstr(entry->detail, "from byte 176 on") != NULL;
	*heard += entry->file != NULL && !strcmp(entry->file, NAME(1) ".pcap") &&
		  !strcmp(entry->detail, "left by a crash: 2 packets kept, 65688 bytes set aside");
}

/* A power loss: an earlier piece never reached the disk, a later one did. */
static void test_what_is_behind_a_hole_is_kept(void **state)
{
	struct repair_result result;
	uint8_t bytes[HEADER + 3 * RECORD], found[2 * RECORD];
	unsigned heard = 0;
	int fd;

	(void)state;
	build(bytes, false);
	put_holed(NAME(1) ".pcap.part", HOLE, false);
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(result.files, 1);
	assert_int_equal(size_of(NAME(1) ".pcap"), HEADER + 2 * RECORD);
	assert_int_equal(size_of(NAME(1) ".pcap.rest.damaged"), HOLE + 2 * RECORD);
	fd = openat(store.dirfd, NAME(1) ".pcap.rest.damaged", O_RDONLY);
	assert_int_equal(pread(fd, found, sizeof found, HOLE), sizeof found);
	assert_memory_equal(found, bytes + HEADER, sizeof found);
	close(fd);
	assert_int_equal(custody_verify(store.dirfd, path, hear_of_rest, &heard, NULL, &error), 0);
	assert_int_equal(heard, 2);
	/* The copy of a repair that was interrupted before the file was cut. */
	put_holed(NAME(2) ".pcap.part", HOLE, false);
	put_holed(NAME(2) ".pcap.rest.damaged", HOLE, false);
	put_holed(NAME(2) ".pcap.salvage", HOLE, false);
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(size_of(NAME(2) ".pcap"), HEADER + 2 * RECORD);
	assert_int_equal(size_of(NAME(2) ".pcap.rest.damaged.2"), HOLE + 2 * RECORD);
	assert_int_equal(size_of(NAME(2) ".pcap.salvage"), -1);
	/* Nothing came after the hole. */
	put_holed(NAME(3) ".pcap.part", HOLE, true);
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(size_of(NAME(3) ".pcap"), HEADER + 2 * RECORD);
	assert_int_equal(size_of(NAME(3) ".pcap.rest.damaged"), -1);
}

/* What cannot be set aside is not cut either. */
static void test_what_cannot_be_set_aside_stays(void **state)
{
	struct repair_result result;
	int64_t size;

	(void)state;
	put_holed(NAME(1) ".pcap.part", HOLE, false);
	size = size_of(NAME(1) ".pcap.part");
	assert_int_equal(mkdirat(store.dirfd, NAME(1) ".pcap.salvage", 0700), 0);
	assert_int_equal(repair_directory(&store, &result, notice, NULL, &error), 0);
	assert_int_equal(result.left, 1);
	assert_int_equal(size_of(NAME(1) ".pcap.part"), size);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_the_other_byte_order),
		cmocka_unit_test(test_not_a_pcap),
		cmocka_unit_test(test_records_that_cannot_be),
		cmocka_unit_test(test_a_length_that_is_damaged_is_no_torn_record),
		cmocka_unit_test(test_zeros_that_never_were_data),
		EACH(test_what_is_no_file_of_ours_is_left_alone),
		EACH(test_what_is_behind_a_hole_is_kept),
		EACH(test_what_cannot_be_set_aside_stays),
		EACH(test_what_was_not_compressed_to_the_end_is_undone),
		EACH(test_what_was_compressed_is_kept_beside_a_plain_file_that_is_another),
		EACH(test_what_has_another_name_is_not_cut),
		EACH(test_after_a_failure_the_next_one_is_repaired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
