/* What becomes of segments that end: nothing that makes room waits for a compression. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/closer.h"
#include "snapshot/compressor.h"
#include "snapshot/format/pcaphead.h"
#include "tests/unit/storedir.h"

#define NAMES 3

static const char *const names[NAMES] = {
	"000001-20261121T203000.123456789Z.pcap",
	"000002-20261121T203100.123456789Z.pcap",
	"000003-20261121T203200.123456789Z.pcap",
};
static char path[] = "/tmp/test_closer.XXXXXX";
static struct segment_store store;
static struct error error;
static atomic_uint notices;
static char last_notice[sizeof error.message];

static int set_up(void **state)
{
	(void)state;
	notices = 0;
	*last_notice = '\0';
	return storedir_open(path, &store, &error);
}

static int tear_down(void **state)
{
	(void)state;
	return storedir_remove(path, &store);
}

static void on_notice(void *context, const struct error *what)
{
	(void)context;
	snprintf(last_notice, sizeof last_notice, "%s", what->message);
	notices++;
}

static void on_ended(void *context)
{
	(void)context;
}

static bool exists(const char *pcap, const char *suffix)
{
	char name[EVIDENCE_NAME_SIZE + 16];

	snprintf(name, sizeof name, "%s%s", pcap, suffix);
	return faccessat(store.dirfd, name, F_OK, 0) == 0;
}

/* The harness ends what hangs. */
static void wait_for(const char *pcap, const char *suffix)
{
	while (!exists(pcap, suffix))
		nanosleep(&(struct timespec){0, 1000000}, NULL);
}

struct logged {
	const char *event;
	char files[NAMES][EVIDENCE_NAME_SIZE];
	size_t count;
};

static void note_entry(const struct custody_entry *entry, void *context)
{
	struct logged *logged = context;

	if (strcmp(entry->event, logged->event) != 0)
		return;
	assert_true(logged->count < NAMES);
	snprintf(logged->files[logged->count++], EVIDENCE_NAME_SIZE, "%s", entry->file);
}

static struct logged read_log(const char *event)
{
	struct logged logged = {.event = event};

	assert_int_equal(custody_verify(store.dirfd, path, note_entry, &logged, NULL, &error), 0);
	return logged;
}

/* ---------------------------------------------------------------- closer -- */

static struct segment *open_segment(char pcap[EVIDENCE_NAME_SIZE])
{
	static const uint8_t header[PCAPHEAD_FILE_BYTES] = {0x4d, 0x3c, 0xb2, 0xa1};
	struct segment *segment = NULL;
	struct snapframe key;

	snapframe_init(&key, SNAP_KEY, "start");
	key.head.sequence = 1;
	assert_int_equal(segment_open(&store, header, NULL, 0, &key, &segment, &error), 0);
	snapframe_release(&key);
	assert_int_equal(segment_commit(&store, segment, &error), 0);
	memcpy(pcap, segment->pcap, EVIDENCE_NAME_SIZE);
	return segment;
}

/* Zeros that take no room, and many seconds to compress. */
static void grow(struct segment *segment)
{
	const uint64_t most = UINT64_C(64) << 30;
	struct statvfs fs;

	assert_int_equal(fstatvfs(store.dirfd, &fs), 0);
	segment->packets.bytes = (uint64_t)fs.f_bavail * fs.f_frsize / 4;
	if (segment->packets.bytes > most)
		segment->packets.bytes = most;
	segment->packets.safe_bytes = segment->packets.bytes;
}

static void test_segments_end_and_expire_while_one_is_compressed(void **state)
{
	const struct closer_config config = {
		.store = &store,
		.quota = {.keep_size = 1},
		.compress = true,
		.failed = on_notice,
		.notice = on_notice,
		.ended = on_ended,
	};
	char large[EVIDENCE_NAME_SIZE], small[EVIDENCE_NAME_SIZE];
	struct segment *segment = open_segment(large);
	struct closer *closer;
	struct logged logged;

	(void)state;
	grow(segment);
	assert_int_equal(closer_start(&config, &closer, &error), 0);
	closer_push(closer, segment);
	wait_for(large, ".gz.part");
	closer_push(closer, open_segment(small));
	wait_for(small, ".gz");
	assert_int_equal(closer_expired(closer), 1);
	closer_free(closer);
	assert_false(exists(large, "") || exists(large, ".gz") || exists(large, ".gz.part") ||
		     exists(large, ".gz.idx"));
	assert_true(exists(small, ".gz.idx") && !exists(small, ""));
	logged = read_log("compress");
	assert_int_equal(logged.count, 1);
	assert_memory_equal(logged.files[0], small, strlen(small));
	logged = read_log("expire");
	assert_int_equal(logged.count, 2); /* its snap file too */
	assert_string_equal(logged.files[0], large);
	assert_int_equal(store.lent_bytes, 0);
	assert_int_equal(notices, 0);
}

static uint64_t log_room(void)
{
	struct stat file;

	assert_int_equal(fstatat(store.dirfd, CUSTODY_LOG, &file, 0), 0);
	return (uint64_t)file.st_blocks * 512 - (uint64_t)file.st_size;
}

/* Else nothing could expire once the disk is full. */
static void test_each_end_of_a_segment_keeps_room_for_the_log(void **state)
{
	const struct closer_config config = {
		.store = &store,
		.failed = on_notice,
		.notice = on_notice,
		.ended = on_ended,
	};
	char pcap[EVIDENCE_NAME_SIZE], detail[4096];
	struct closer *closer;

	(void)state;
	if (log_room() < SEGMENT_CUSTODY_RESERVE / 2)
		skip(); /* not on this file system */
	memset(detail, 'x', sizeof detail - 1);
	detail[sizeof detail - 1] = '\0';
	for (uint64_t bytes = 0; bytes < SEGMENT_CUSTODY_RESERVE; bytes += sizeof detail)
		assert_int_equal(segment_log(&store, "start", NULL, -1, NULL, detail, &error), 0);
	assert_true(log_room() < SEGMENT_CUSTODY_RESERVE / 2);
	assert_int_equal(closer_start(&config, &closer, &error), 0);
	closer_push(closer, open_segment(pcap));
	closer_free(closer);
	assert_true(log_room() > SEGMENT_CUSTODY_RESERVE / 2);
}

/* ------------------------------------------------------------ compressor -- */

static struct compressor *start(void)
{
	const struct compressor_config config = {.store = &store, .notice = on_notice};
	struct compressor *compressor = NULL;

	assert_int_equal(compressor_start(&config, &compressor, &error), 0);
	return compressor;
}

static void push(struct compressor *compressor, const char *pcap)
{
	static const uint32_t header[] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 262144, 1};
	int fd = openat(store.dirfd, pcap, O_WRONLY | O_CREAT | O_EXCL, 0600);
	char sha256[CUSTODY_HEX_SIZE];
	uint64_t bytes;

	assert_int_equal(write(fd, header, sizeof header), sizeof header);
	close(fd);
	assert_int_equal(custody_hash_file(store.dirfd, pcap, sha256, &bytes, &error), 0);
	compressor_push(compressor, pcap, sha256, bytes);
}

/* As large as what is recorded gets, by the one before. */
static void set_last(uint64_t bytes)
{
	pthread_mutex_lock(&store.lending);
	store.last_pcap_bytes = bytes;
	pthread_mutex_unlock(&store.lending);
}

static void wait_for_notice(unsigned count)
{
	while (notices < count)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void test_the_newest_goes_first_once_there_is_room(void **state)
{
	struct compressor *compressor = start();
	struct logged logged;

	(void)state;
	set_last(INT64_MAX);
	for (size_t i = 0; i < NAMES; i++)
		push(compressor, names[i]);
	wait_for_notice(1);
	assert_non_null(strstr(last_notice, "no room to compress"));
	for (size_t i = 0; i < NAMES; i++)
		assert_true(exists(names[i], "") && !exists(names[i], ".gz"));
	set_last(0);
	compressor_look_again(compressor, false);
	compressor_wait(compressor);
	compressor_free(compressor);
	assert_int_equal(notices, 1); /* once, whatever waits */
	logged = read_log("compress");
	assert_int_equal(logged.count, NAMES);
	for (size_t i = 0; i < NAMES; i++)
		assert_memory_equal(logged.files[i], names[NAMES - 1 - i], strlen(names[0]));
}

static void test_it_is_told_again_when_there_was_room_between(void **state)
{
	struct compressor *compressor = start();

	(void)state;
	for (unsigned i = 0; i < NAMES; i++) {
		set_last(INT64_MAX);
		push(compressor, names[i]);
		wait_for_notice(i + 1);
		set_last(0);
		compressor_look_again(compressor, false);
		wait_for(names[i], ".gz.idx");
	}
	compressor_free(compressor);
	assert_int_equal(notices, NAMES);
}

static void test_what_finds_no_room_to_the_end_stays_plain(void **state)
{
	struct compressor *compressor = start();

	(void)state;
	set_last(INT64_MAX);
	push(compressor, names[0]);
	push(compressor, names[1]);
	compressor_free(compressor);
	assert_int_equal(notices, 1);
	assert_int_equal(read_log("compress").count, 0);
	assert_true(exists(names[0], "") && exists(names[1], ""));
}

static void test_skipped_all_stay_as_they_are(void **state)
{
	struct compressor *compressor = start();

	(void)state;
	compressor_skip(compressor);
	for (size_t i = 0; i < NAMES; i++)
		push(compressor, names[i]);
	compressor_free(compressor);
	assert_int_equal(notices, 0);
	assert_int_equal(read_log("compress").count, 0);
	for (size_t i = 0; i < NAMES; i++)
		assert_true(exists(names[i], "") && !exists(names[i], ".gz.part"));
}

static void test_what_expired_while_it_waited_is_nothing(void **state)
{
	struct compressor *compressor = start();

	(void)state;
	set_last(INT64_MAX);
	for (size_t i = 0; i < NAMES; i++)
		push(compressor, names[i]);
	wait_for_notice(1);
	assert_int_equal(unlinkat(store.dirfd, names[0], 0), 0);
	assert_int_equal(unlinkat(store.dirfd, names[2], 0), 0);
	set_last(0);
	compressor_look_again(compressor, true);
	compressor_free(compressor);
	assert_int_equal(notices, 1);
	assert_int_equal(read_log("compress").count, 1);
	assert_true(exists(names[1], ".gz"));
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		EACH(test_segments_end_and_expire_while_one_is_compressed),
		EACH(test_each_end_of_a_segment_keeps_room_for_the_log),
		EACH(test_the_newest_goes_first_once_there_is_room),
		EACH(test_it_is_told_again_when_there_was_room_between),
		EACH(test_what_finds_no_room_to_the_end_stays_plain),
		EACH(test_skipped_all_stay_as_they_are),
		EACH(test_what_expired_while_it_waited_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
