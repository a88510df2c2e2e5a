/* The pcap being written: whole pieces past the page cache, the rest through it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/pcapfile.h"

#define RECORD 100u /* bytes of each, with its header */
#define BATCH  1000u
#define NAME   "a.pcap.part"

static char path[] = "/tmp/test_pcapfile.XXXXXX";
static int dirfd;
static struct pcapfile file;
static struct error error;
static const uint8_t header[PCAPHEAD_FILE_BYTES] = {0x4d, 0x3c, 0xb2, 0xa1};
static uint8_t batch[BATCH * RECORD];
static uint8_t given[10 * (size_t)PCAPFILE_PIECE_BYTES]; /* what the file must have */
static size_t given_length;

static int set_up(void **state)
{
	const uint32_t captured = RECORD - PCAPHEAD_RECORD_BYTES;

	(void)state;
	for (size_t i = 0; i < sizeof batch; i++)
		batch[i] = (uint8_t)(i * 7 + i / 251);
	for (uint32_t i = 0; i < BATCH; i++) {
		memcpy(batch + i * RECORD, &i, sizeof i); /* no two are equal */
		memcpy(batch + i * RECORD + 8, &captured, sizeof captured);
	}
	given_length = 0;
	signal(SIGXFSZ, SIG_IGN);
	memcpy(path + sizeof path - 7, "XXXXXX", 6);
	if (!mkdtemp(path))
		return -1;
	dirfd = open(path, O_RDONLY | O_DIRECTORY);
	return pcapfile_create(&file, dirfd, path, NAME, header, &error);
}

static int tear_down(void **state)
{
	(void)state;
	pcapfile_release(&file);
	unlinkat(dirfd, NAME, 0);
	close(dirfd);
	return rmdir(path);
}

static uint64_t size_of_file(void)
{
	struct stat about;

	assert_int_equal(fstatat(dirfd, NAME, &about, 0), 0);
	return (uint64_t)about.st_size;
}

/* Gives it count records of the batch. */
static int put(size_t count, bool more, uint64_t *lost)
{
	int status = pcapfile_write(&file, batch, count * RECORD, count, more, lost, &error);

	assert_in_range(given_length + count * RECORD, 1, sizeof given);
	memcpy(given + given_length, batch, count * RECORD);
	given_length += count * RECORD;
	if (status)
		given_length -= *lost * RECORD;
	return status;
}

static void put_well(size_t count, bool more)
{
	uint64_t lost = 1;

	assert_int_equal(put(count, more, &lost), 0);
	assert_int_equal(lost, 0);
}

/* The file is the header and the records that were given, but for those that were lost. */
static void assert_records(uint64_t count)
{
	FILE *in = fdopen(openat(dirfd, NAME, O_RDONLY), "r");
	uint8_t bytes[RECORD];

	assert_int_equal(given_length, count * RECORD);
	assert_int_equal(fread(bytes, 1, sizeof header, in), sizeof header);
	assert_memory_equal(bytes, header, sizeof header);
	for (size_t at = 0; at < given_length; at += RECORD) {
		assert_int_equal(fread(bytes, 1, RECORD, in), RECORD);
		assert_memory_equal(bytes, given + at, RECORD);
	}
	assert_int_equal(fgetc(in), EOF);
	fclose(in);
}

static void close_and_compare_hash(bool wanted)
{
	char sha256[CUSTODY_HEX_SIZE], of_file[CUSTODY_HEX_SIZE];
	uint64_t bytes, taken = file.bytes;
	bool hashed;

	assert_int_equal(pcapfile_close(&file, sha256, &hashed, &error), 0);
	assert_int_equal(hashed, wanted);
	assert_int_equal(custody_hash_file(dirfd, NAME, of_file, &bytes, &error), 0);
	assert_int_equal(bytes, taken);
	if (hashed)
		assert_string_equal(sha256, of_file);
}

static void limit_size(uint64_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes ? bytes : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_what_follows_at_once_waits_for_a_piece(void **state)
{
	(void)state;
	assert_int_equal(size_of_file(), sizeof header);
	put_well(10, true);
	assert_int_equal(size_of_file(), sizeof header);
	assert_int_equal(file.packets, 10);
	assert_int_equal(file.safe_packets, 0);
	put_well(5, false);
	assert_int_equal(size_of_file(), sizeof header + 15 * RECORD);
	assert_int_equal(file.safe_packets, 15);
	assert_records(15);
}

static void test_a_whole_piece_does_not_wait(void **state)
{
	uint64_t calls = PCAPFILE_PIECE_BYTES / sizeof batch + 1;

	(void)state;
	for (uint64_t i = 0; i < calls; i++)
		put_well(BATCH, true);
	assert_int_equal(size_of_file(), PCAPFILE_PIECE_BYTES);
	/* All before the call that filled it. */
	assert_int_equal(file.safe_packets, (calls - 1) * BATCH);
}

static void test_a_piece_leaves_the_page_cache_alone(void **state)
{
	uint8_t resident[PCAPFILE_PIECE_BYTES / 4096];
	size_t count = 0;
	void *mapped;

	(void)state;
	if (file.direct_fd < 0)
		skip(); /* this file system cannot */
	while (size_of_file() < PCAPFILE_PIECE_BYTES)
		put_well(BATCH, true);
	mapped = mmap(NULL, PCAPFILE_PIECE_BYTES, PROT_READ, MAP_SHARED, file.fd, 0);
	assert_true(mapped != MAP_FAILED);
	assert_int_equal(mincore(mapped, PCAPFILE_PIECE_BYTES, resident), 0);
	munmap(mapped, PCAPFILE_PIECE_BYTES);
	for (size_t i = 0; i < sizeof resident; i++)
		count += resident[i] & 1;
	assert_int_equal(count, 0);
}

/* Pieces and rests at many places: the bytes are those given, and the hash theirs. */
static void write_in_turns(void)
{
	uint64_t sum = 0;

	for (size_t i = 1; sum * RECORD < 8 * (uint64_t)PCAPFILE_PIECE_BYTES; i++) {
		size_t count = i * 37 % BATCH + 1;

		put_well(count, i % 61 != 0); /* pieces fill in between */
		sum += count;
	}
	put_well(1, false);
	assert_int_equal(size_of_file(), file.bytes);
	assert_int_equal(file.packets, sum + 1);
	assert_records(sum + 1);
	close_and_compare_hash(true);
}

static void test_rests_between_pieces(void **state)
{
	(void)state;
	write_in_turns();
}

static void test_the_page_cache_alone(void **state)
{
	(void)state;
	pcapfile_use_cache(&file);
	assert_int_equal(file.direct_fd, -1);
	write_in_turns();
}

static void test_a_rest_that_finds_no_room_is_lost_with_what_waited(void **state)
{
	uint64_t lost;

	(void)state;
	put_well(3, false);
	limit_size(sizeof header + 7 * RECORD + 50);
	put_well(6, true);
	assert_int_equal(put(2, false, &lost), ERROR_SYSTEM);
	limit_size(0);
	assert_int_equal(lost, 4);
	assert_int_equal(file.safe_packets, 7);
	assert_records(7);
	put_well(2, false);
	assert_int_equal(file.packets, 9);
	assert_records(9);
	close_and_compare_hash(false);
}

/* The file is full somewhere in a piece, after records that were given long before. */
static void fill_to(uint64_t limit)
{
	uint64_t fit = (limit - sizeof header) / RECORD, taken = 0, lost = 0;
	int status = 0;

	limit_size(limit);
	while (!status) {
		status = put(BATCH, true, &lost);
		taken += BATCH;
	}
	limit_size(0);
	assert_int_equal(status, ERROR_SYSTEM);
	assert_int_equal(taken - lost, fit);
	assert_int_equal(file.packets, fit);
	assert_int_equal(file.safe_packets, fit);
	assert_records(fit);
	put_well(BATCH, false);
	assert_records(fit + BATCH);
	close_and_compare_hash(false);
}

static void test_full_within_the_first_piece(void **state)
{
	(void)state;
	fill_to(PCAPFILE_PIECE_BYTES / 2 + 13);
}

static void test_full_where_a_piece_begins(void **state)
{
	(void)state;
	fill_to(PCAPFILE_PIECE_BYTES);
}

static void test_full_within_a_later_piece(void **state)
{
	(void)state;
	fill_to(2 * PCAPFILE_PIECE_BYTES + 4096);
}

static unsigned rooms;

/* Twice there is more, the second time enough. */
static bool more_room(void *context)
{
	assert_ptr_equal(context, &rooms);
	limit_size(rooms++ ? 0 : PCAPFILE_PIECE_BYTES / 2);
	return rooms <= 2;
}

static void test_who_finds_no_room_asks_for_it_and_loses_nothing(void **state)
{
	(void)state;
	rooms = 0;
	file.make_room = more_room;
	file.room_context = &rooms;
	limit_size(PCAPFILE_PIECE_BYTES / 2 - 4096);
	while (file.bytes < PCAPFILE_PIECE_BYTES)
		put_well(BATCH, true);
	put_well(1, false);
	limit_size(0);
	assert_int_equal(rooms, 2);
	assert_records(file.packets);
	close_and_compare_hash(true);
}

static void test_a_name_is_not_taken_twice(void **state)
{
	struct pcapfile second;

	(void)state;
	assert_int_equal(pcapfile_create(&second, dirfd, path, NAME, header, &error), ERROR_SYSTEM);
	assert_int_equal(second.fd, -1);
	pcapfile_release(&second);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		EACH(test_what_follows_at_once_waits_for_a_piece),
		EACH(test_a_whole_piece_does_not_wait),
		EACH(test_a_piece_leaves_the_page_cache_alone),
		EACH(test_rests_between_pieces),
		EACH(test_the_page_cache_alone),
		EACH(test_a_rest_that_finds_no_room_is_lost_with_what_waited),
		EACH(test_full_within_the_first_piece),
		EACH(test_full_where_a_piece_begins),
		EACH(test_full_within_a_later_piece),
		EACH(test_who_finds_no_room_asks_for_it_and_loses_nothing),
		EACH(test_a_name_is_not_taken_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
