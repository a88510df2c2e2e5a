/* Pairs of files: opened, written, finished, compressed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "snapshot/capture.h"
#include "snapshot/segment.h"

#define RECORD (16 + 84)

static char path[] = "/tmp/test_segment.XXXXXX";
static struct segment_store store;
static struct error error;
static const uint8_t header[CAPTURE_PCAP_HEADER_BYTES] = {0x4d, 0x3c, 0xb2, 0xa1};

static int set_up(void **state)
{
	uint64_t torn, broken;
	bool made;
	int fd;

	(void)state;
	memcpy(path + sizeof path - 7, "XXXXXX", 6);
	if (!mkdtemp(path) || segment_directory_open(path, &made, &fd, &error) || made)
		return -1;
	return segment_store_open(fd, path, &store, &torn, &broken, &error);
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	segment_store_close(&store);
	snprintf(command, sizeof command, "rm -rf %s", path);
	return system(command);
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
	uint64_t written;

	(void)state;
	memcpy(pcap, segment->pcap, sizeof pcap);
	memcpy(snap, segment->snap, sizeof snap);
	assert_int_equal(segment_commit(&store, segment, &error), 0);
	fill(records, 3);
	assert_int_equal(segment_write_packets(&store, segment, records, sizeof records, 3,
					       &written, &error),
			 0);
	assert_int_equal(written, 3);
	assert_true(exists(pcap, ".part") && exists(snap, ".part"));
	assert_false(exists(pcap, "") || exists(snap, ""));
	assert_int_equal(segment_finish(&store, segment, &error), 0);
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
	assert_int_equal(segment_finish(&store, segment, &error), 0);
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

/* A limit on the file's size stands in for a full disk. */
static void test_a_torn_write_keeps_whole_records(void **state)
{
	struct segment *segment = open_segment();
	uint8_t records[10 * RECORD];
	struct rlimit before, small;
	uint64_t written;
	int status;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	fill(records, 10);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 24 + 4 * RECORD + 50;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	status = segment_write_packets(&store, segment, records, sizeof records, 10, &written,
				       &error);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(status, ERROR_SYSTEM);
	assert_int_equal(written, 4);
	assert_int_equal(size_of(segment->pcap, ".part"), 24 + 4 * RECORD);
	assert_int_equal(
		segment_write_packets(&store, segment, records, RECORD, 1, &written, &error), 0);
	assert_int_equal(size_of(segment->pcap, ".part"), 24 + 5 * RECORD);
	segment_abandon(&store, segment);
}

static void test_a_second_store_is_refused(void **state)
{
	struct segment_store second;
	uint64_t torn, broken;
	bool made;
	int fd;

	(void)state;
	assert_int_equal(segment_directory_open(path, &made, &fd, &error), 0);
	assert_int_equal(segment_store_open(fd, path, &second, &torn, &broken, &error),
			 ERROR_SYSTEM);
	assert_non_null(strstr(error.message, "another recorder"));
	segment_store_close(&second);
}

static void test_compression_replaces_the_pcap_or_leaves_it(void **state)
{
	struct segment *segment = open_segment();
	char pcap[EVIDENCE_NAME_SIZE];
	atomic_bool cancel = true;

	(void)state;
	memcpy(pcap, segment->pcap, sizeof pcap);
	assert_int_equal(segment_finish(&store, segment, &error), 0);
	assert_int_equal(segment_compress(&store, pcap, &cancel, &error), ERROR_INTERRUPTED);
	assert_true(exists(pcap, ""));
	assert_false(exists(pcap, ".gz") || exists(pcap, ".gz.part"));
	cancel = false;
	assert_int_equal(segment_compress(&store, pcap, &cancel, &error), 0);
	assert_true(exists(pcap, ".gz"));
	assert_false(exists(pcap, "") || exists(pcap, ".gz.part"));
	assert_int_equal(segment_compress(&store, pcap, &cancel, &error), 0);
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
		EACH(test_a_torn_write_keeps_whole_records),
		EACH(test_a_second_store_is_refused),
		EACH(test_compression_replaces_the_pcap_or_leaves_it),
		cmocka_unit_test(test_whole_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
