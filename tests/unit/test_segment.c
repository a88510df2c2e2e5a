/* Pairs of files: opened, written, finished. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/capture.h"
#include "snapshot/segment.h"
#include "tests/unit/storedir.h"

#define RECORD (16 + 84)

static char path[] = "/tmp/test_segment.XXXXXX";
static struct segment_store store;
static struct error error;
static char sha256[CUSTODY_HEX_SIZE];
static const uint8_t header[PCAPHEAD_FILE_BYTES] = {0x4d, 0x3c, 0xb2, 0xa1};

static int set_up(void **state)
{
	(void)state;
	return storedir_open(path, &store, &error);
}

static int tear_down(void **state)
{
	(void)state;
	return storedir_remove(path, &store);
}

static struct segment *open_segment(void)
{
	const struct segment_meta meta[] = {{"tool", "test", 4}, {"argv", "a\0b", 3}};
	struct segment *segment = NULL;
	struct snapframe key;

	snapframe_init(&key, SNAP_KEY, "start");
	key.head.sequence = 1;
	assert_int_equal(segment_open(&store, header, meta, 2, &key, &segment, &error), 0);
	snapframe_release(&key);
	return segment;
}

static bool exists(const char *name, const char *suffix)
{
	char full[EVIDENCE_NAME_SIZE + 8];

	snprintf(full, sizeof full, "%s%s", name, suffix);
	return faccessat(store.dirfd, full, F_OK, 0) == 0;
}

static int64_t size_of(const char *name, const char *suffix)
{
	char full[EVIDENCE_NAME_SIZE + 8];
	struct stat file;

	snprintf(full, sizeof full, "%s%s", name, suffix);
	return fstatat(store.dirfd, full, &file, 0) == 0 ? file.st_size : -1;
}

static void fill(uint8_t *bytes, size_t records)
{
	const uint32_t captured = RECORD - 16;

	memset(bytes, 0x55, records * RECORD);
	for (size_t i = 0; i < records; i++)
		memcpy(bytes + i * RECORD + 8, &captured, sizeof captured);
}

static void test_a_pair_is_part_until_it_is_finished(void **state)
{
	struct segment *segment = open_segment();
	char pcap[EVIDENCE_NAME_SIZE], snap[EVIDENCE_NAME_SIZE];
	uint8_t records[3 * RECORD];
	uint64_t lost;

	(void)state;
	memcpy(pcap, segment->pcap, sizeof pcap);
	memcpy(snap, segment->snap, sizeof snap);
	assert_int_equal(segment_commit(&store, segment, &error), 0);
	fill(records, 3);
	assert_int_equal(
		pcapfile_write(&segment->packets, records, sizeof records, 3, false, &lost, &error),
		0);
	assert_true(exists(pcap, ".part") && exists(snap, ".part"));
	assert_false(exists(pcap, "") || exists(snap, ""));
	assert_int_equal(segment_finish(&store, segment, sha256, &error), 0);
	assert_false(exists(pcap, ".part") || exists(snap, ".part"));
	assert_int_equal(size_of(pcap, ""), 24 + 3 * RECORD);
	assert_true(exists(snap, ""));
}

static void test_numbers_go_on_and_only_with_commit(void **state)
{
	struct segment *segment = open_segment();

	(void)state;
	assert_int_equal(segment->stem.number, 1);
	segment_abandon(&store, segment);
	segment = open_segment();
	assert_int_equal(segment->stem.number, 1);
	assert_int_equal(segment_commit(&store, segment, &error), 0);
	assert_int_equal(segment_finish(&store, segment, sha256, &error), 0);
	segment = open_segment();
	assert_int_equal(segment->stem.number, 2);
	segment_abandon(&store, segment);
}

static void test_abandoned_leaves_nothing(void **state)
{
	struct segment *segment = open_segment();
	char pcap[EVIDENCE_NAME_SIZE], snap[EVIDENCE_NAME_SIZE];

	(void)state;
	memcpy(pcap, segment->pcap, sizeof pcap);
	memcpy(snap, segment->snap, sizeof snap);
	segment_abandon(&store, segment);
	assert_false(exists(pcap, ".part") || exists(snap, ".part"));
}

static void test_a_second_store_is_refused(void **state)
{
	struct segment_store second;
	uint64_t torn;
	bool made;
	int fd;

	(void)state;
	assert_int_equal(segment_directory_open(path, &made, &fd, &error), 0);
	assert_int_equal(segment_store_open(fd, path, &second, &torn, &error), ERROR_SYSTEM);
	assert_non_null(strstr(error.message, "another recorder"));
	segment_store_close(&second);
}

static void open_again(void)
{
	uint64_t torn;
	bool made;
	int fd;

	segment_store_close(&store);
	assert_int_equal(segment_directory_open(path, &made, &fd, &error), 0);
	assert_int_equal(segment_store_open(fd, path, &store, &torn, &error), 0);
}

static void put_log(const char *text)
{
	int fd;

	unlinkat(store.dirfd, CUSTODY_LOG, 0);
	fd = openat(store.dirfd, CUSTODY_LOG, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void note_entry(const struct custody_entry *entry, void *context)
{
	if (entry->sequence == 1)
		snprintf(context, 160, "%s %s %s", entry->event, entry->file ? entry->file : "-",
			 entry->detail);
}

static void test_a_log_that_does_not_hold_is_set_aside(void **state)
{
	char first[160] = "", chain[CUSTODY_HEX_SIZE];

	(void)state;
	open_again();
	assert_string_equal(store.damaged_log, "");
	put_log("not\na log\n");
	open_again();
	assert_string_equal(store.damaged_log, "custody.log.damaged");
	assert_int_equal(size_of("custody.log.damaged", ""), 10);
	assert_int_equal(custody_verify(store.dirfd, path, note_entry, first, chain, &error), 0);
	assert_non_null(strstr(first, "repair custody.log.damaged was custody.log, set aside: "
				      "the chain is broken at line 1"));
	/* One name more for each; a FIFO is not waited for, a link not followed. */
	unlinkat(store.dirfd, CUSTODY_LOG, 0);
	assert_int_equal(mkfifoat(store.dirfd, CUSTODY_LOG, 0600), 0);
	open_again();
	assert_string_equal(store.damaged_log, "custody.log.damaged.2");
	unlinkat(store.dirfd, CUSTODY_LOG, 0);
	assert_int_equal(symlinkat("custody.log.damaged", store.dirfd, CUSTODY_LOG), 0);
	open_again();
	assert_string_equal(store.damaged_log, "custody.log.damaged.3");
	assert_int_equal(size_of("custody.log.damaged", ""), 10);
	open_again();
	assert_string_equal(store.damaged_log, "");
}

static void put_name(uint64_t number)
{
	struct evidence_stem stem = {number, 0};
	char name[EVIDENCE_NAME_SIZE];
	int fd;

	evidence_name(&stem, EVIDENCE_PCAP, name);
	assert_int_equal(segment_log(&store, "close", name, -1, NULL, "", &error), 0);
	fd = openat(store.dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void test_absurd_numbers_are_not_counted_on_from(void **state)
{
	(void)state;
	put_name(41);
	open_again();
	assert_int_equal(store.next_number, 42);
	assert_int_equal(store.ignored_numbers, 0);
	put_name(EVIDENCE_MAX_NUMBER);
	put_name(UINT64_MAX);
	open_again();
	assert_int_equal(store.next_number, 42);
	assert_int_equal(store.ignored_numbers, 3);
}

static void test_whole_records(void **state)
{
	uint8_t records[3 * RECORD];
	uint64_t packets;

	(void)state;
	fill(records, 3);
	for (size_t length = 0; length <= sizeof records; length++) {
		assert_int_equal(capture_whole_records(records, length, &packets),
				 length / RECORD * RECORD);
		assert_int_equal(packets, length / RECORD);
	}
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		EACH(test_a_pair_is_part_until_it_is_finished),
		EACH(test_numbers_go_on_and_only_with_commit),
		EACH(test_abandoned_leaves_nothing),
		EACH(test_a_second_store_is_refused),
		EACH(test_a_log_that_does_not_hold_is_set_aside),
		EACH(test_absurd_numbers_are_not_counted_on_from),
		cmocka_unit_test(test_whole_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
