/* Which segments expire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/quota.h"

#define COUNT 4

static struct evidence_segment segments[COUNT];
static const struct quota_space plenty = {1000000, 900000};
static const struct evidence_segment *first;
static const char *reason;

/* Four of 100 bytes, an index of five among them, opened a minute apart from second 0 on. */
static struct evidence_list list(void)
{
	for (size_t i = 0; i < COUNT; i++)
		segments[i] = (struct evidence_segment){
			.stem = {i + 1, (int64_t)i * 60 * NS_PER_SECOND},
			.pcap = "a.pcap.gz",
			.pcap_bytes = 90,
			.snap_bytes = 5,
			.index_bytes = 5,
		};
	return (struct evidence_list){.segments = segments, .count = COUNT, .capacity = COUNT};
}

static size_t choose(const struct quota *quota, const struct evidence_list *of,
		     const struct quota_space *space, int64_t now_seconds)
{
	return quota_choose(quota, of, space, now_seconds * NS_PER_SECOND, &first, &reason);
}

static void test_without_limits_nothing_goes(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {0};
	struct quota_space full = {1000, 0};

	(void)state;
	assert_int_equal(choose(&quota, &all, &full, 1000000), 0);
	assert_null(reason);
}

static void test_size(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_size = 400};

	(void)state;
	assert_int_equal(choose(&quota, &all, &plenty, 200), 0);
	quota.keep_size = 399;
	assert_int_equal(choose(&quota, &all, &plenty, 200), 1);
	assert_non_null(reason);
	quota.keep_size = 200;
	assert_int_equal(choose(&quota, &all, &plenty, 200), 2);
	segments[1].has_both = true;
	segments[1].both_bytes = 50;
	quota.keep_size = 450;
	assert_int_equal(choose(&quota, &all, &plenty, 200), 0);
	quota.keep_size = 300;
	assert_int_equal(choose(&quota, &all, &plenty, 200), 2);
}

static void test_the_last_one_always_stays(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_size = 1};

	(void)state;
	assert_int_equal(choose(&quota, &all, &plenty, 200), COUNT - 1);
	all.count = 0;
	assert_int_equal(choose(&quota, &all, &plenty, 200), 0);
}

static void test_age_counts_from_the_end_of_a_segment(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_time_ns = 100 * NS_PER_SECOND};

	(void)state;
	assert_int_equal(choose(&quota, &all, &plenty, 160), 0);
	assert_int_equal(choose(&quota, &all, &plenty, 161), 1);
	assert_int_equal(choose(&quota, &all, &plenty, 221), 2);
}

static void test_free_space(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_free_bytes = 150};
	struct quota_space space = {1000000, 0};

	(void)state;
	assert_int_equal(choose(&quota, &all, &space, 0), 2);
	space.free_bytes = 50;
	assert_int_equal(choose(&quota, &all, &space, 0), 1);
	space.free_bytes = 150;
	assert_int_equal(choose(&quota, &all, &space, 0), 0);
}

static void test_free_percent(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_free_ppm = 50000};
	struct quota_space space = {2000000, 99999};

	(void)state;
	assert_int_equal(choose(&quota, &all, &space, 0), 1);
	space.free_bytes = 100000;
	assert_int_equal(choose(&quota, &all, &space, 0), 0);
}

static void make_part(size_t i)
{
	snprintf(segments[i].pcap, sizeof segments[i].pcap, "a.pcap.part");
	segments[i].pcap_is_part = true;
}

/* One that is being closed, and one that packets are written to. */
static void test_segments_being_written_stay(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_size = 1};

	(void)state;
	make_part(3);
	segments[2].snap_is_part = true;
	assert_int_equal(choose(&quota, &all, &plenty, 0), 2);
	assert_ptr_equal(first, &segments[0]);
	quota.keep_size = 300; /* they count */
	assert_int_equal(choose(&quota, &all, &plenty, 0), 1);
	make_part(0);
	make_part(1);
	assert_int_equal(choose(&quota, &all, &plenty, 0), 0);
	assert_null(first);
}

/* A capture that was deleted, and what a copy of evidence left behind. */
static void make_lone_index(size_t i)
{
	segments[i].pcap[0] = '\0';
	segments[i].pcap_bytes = segments[i].snap_bytes = 0;
	segments[i].index_bytes = 1000;
}

static void test_an_index_alone_is_no_segment(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_size = 1};

	(void)state;
	make_lone_index(3);
	assert_int_equal(choose(&quota, &all, &plenty, 0), 2);
	quota.keep_size = 300;
	assert_int_equal(choose(&quota, &all, &plenty, 0), 0);
	make_lone_index(0);
	quota.keep_size = 100;
	assert_int_equal(choose(&quota, &all, &plenty, 0), 1);
	assert_ptr_equal(first, &segments[1]);
	make_lone_index(1);
	make_lone_index(2);
	assert_int_equal(choose(&quota, &all, &plenty, 0), 0);
}

/* What is left of a compression or a recording that did not end holds up nothing, and nothing
 * goes for its size. */
static void test_what_is_left_of_another_run_is_passed_over(void **state)
{
	struct evidence_list all = list();
	struct quota quota = {.keep_size = 200};

	(void)state;
	make_part(0);
	snprintf(segments[0].pcap, sizeof segments[0].pcap, "a.pcap.gz.part");
	segments[0].pcap_bytes = 1000;
	assert_int_equal(choose(&quota, &all, &plenty, 0), 1);
	assert_ptr_equal(first, &segments[1]);
	make_part(0);
	assert_int_equal(choose(&quota, &all, &plenty, 0), 1);
	assert_ptr_equal(first, &segments[1]);
	/* Nor is it what is being written now. */
	all = list();
	make_part(3);
	snprintf(segments[3].pcap, sizeof segments[3].pcap, "a.pcap.gz.part");
	quota.keep_size = 1;
	assert_int_equal(choose(&quota, &all, &plenty, 0), 2);
}

static void put(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, name, 10), 10);
	close(fd);
}

static void count_expired(const struct custody_entry *entry, void *context)
{
	unsigned *count = context;

	*count += strcmp(entry->event, "expire") == 0 && entry->bytes == 10;
}

static void test_a_pcap_goes_with_what_was_compressed_beside_it(void **state)
{
	static const char *const gone[] = {
		"000001-20261121T203000.123456789Z.pcap",
		"000001-20261121T203000.123456789Z.pcap.gz",
		"000001-20261121T203000.123456789Z.pcap.gz.idx",
		"000001-20261121T203000.123456789Z.snap.gz",
	};
	static const char last[] = "000002-20261121T203100.123456789Z.pcap";
	char path[] = "/tmp/test_quota.XXXXXX", command[96];
	struct quota quota = {.keep_size = 1};
	struct segment_store store;
	uint64_t torn, expired;
	unsigned logged = 0;
	bool made;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(segment_directory_open(path, &made, &fd, NULL), 0);
	assert_int_equal(segment_store_open(fd, path, &store, &torn, NULL), 0);
	for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
		put(fd, gone[i]);
	put(fd, last);
	assert_int_equal(quota_apply(&quota, &store, &expired, NULL), 0);
	assert_int_equal(expired, 1);
	for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
		assert_int_equal(faccessat(fd, gone[i], F_OK, 0), -1);
	assert_int_equal(faccessat(fd, last, F_OK, 0), 0);
	assert_int_equal(custody_verify(fd, path, count_expired, &logged, NULL, NULL), 0);
	assert_int_equal(logged, 3);
	segment_store_close(&store);
	snprintf(command, sizeof command, "rm -rf %s", path);
	assert_int_equal(system(command), 0);
}

/* How many of three segments go where more than there is has to be free. */
static uint64_t expired_with(uint64_t lent_bytes)
{
	const uint64_t more_bytes = UINT64_C(1) << 40;
	char path[] = "/tmp/test_quota.XXXXXX", command[96];
	struct segment_store store;
	struct quota quota = {0};
	uint64_t torn, expired;
	struct statvfs fs;
	bool made;
	int fd;

	assert_non_null(mkdtemp(path));
	assert_int_equal(segment_directory_open(path, &made, &fd, NULL), 0);
	assert_int_equal(segment_store_open(fd, path, &store, &torn, NULL), 0);
	put(fd, "000001-20261121T203000.123456789Z.pcap");
	put(fd, "000002-20261121T203100.123456789Z.pcap");
	put(fd, "000003-20261121T203200.123456789Z.pcap");
	assert_int_equal(fstatvfs(fd, &fs), 0);
	quota.keep_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize + more_bytes;
	store.lent_bytes = lent_bytes;
	assert_int_equal(quota_apply(&quota, &store, &expired, NULL), 0);
	segment_store_close(&store);
	snprintf(command, sizeof command, "rm -rf %s", path);
	assert_int_equal(system(command), 0);
	return expired;
}

static void test_what_is_lent_is_as_good_as_free(void **state)
{
	(void)state;
	assert_int_equal(expired_with(0), 2);
	assert_int_equal(expired_with(UINT64_C(1) << 41), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_limits_nothing_goes),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_the_last_one_always_stays),
		cmocka_unit_test(test_age_counts_from_the_end_of_a_segment),
		cmocka_unit_test(test_free_space),
		cmocka_unit_test(test_free_percent),
		cmocka_unit_test(test_segments_being_written_stay),
		cmocka_unit_test(test_an_index_alone_is_no_segment),
		cmocka_unit_test(test_what_is_left_of_another_run_is_passed_over),
		cmocka_unit_test(test_a_pcap_goes_with_what_was_compressed_beside_it),
		cmocka_unit_test(test_what_is_lent_is_as_good_as_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
