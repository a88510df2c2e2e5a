/* Finished pcaps, compressed: what comes out, and when the plain one stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#include "analyze/members.h"
#include "analyze/pcapin.h"
#include "snapshot/compress.h"
#include "snapshot/format/gzmember.h"
#include "snapshot/format/pcapindex.h"
#include "snapshot/format/quantity.h"
#include "tests/unit/storedir.h"

#define NAME "000001-20261121T203000.123456789Z.pcap"

static char path[] = "/tmp/test_compress.XXXXXX";
static struct segment_store store;
static struct error error;
static atomic_bool cancel;
static uint8_t plain[12u << 20], back[12u << 20];
static size_t length;
static uint64_t packets;
static char sha256[CUSTODY_HEX_SIZE];

static int set_up(void **state)
{
	(void)state;
	cancel = false;
	return storedir_open(path, &store, &error);
}

static int tear_down(void **state)
{
	(void)state;
	return storedir_remove(path, &store);
}

static void put_words(const uint32_t *words, size_t count)
{
	memcpy(plain + length, words, count * sizeof *words);
	length += count * sizeof *words;
}

static void put_header(uint32_t magic)
{
	length = packets = 0;
	put_words((const uint32_t[]){magic, 2 | 4 << 16, 0, 0, 262144, 1}, 6);
}

static void put_packet(uint32_t captured)
{
	put_words((const uint32_t[]){1000 + (uint32_t)packets, 7, captured, captured}, 4);
	for (uint32_t i = 0; i < captured; i++)
		plain[length++] = (uint8_t)(i * packets >> 3);
	packets++;
}

/* Packets of all lengths, some MiB. */
static void put_many(uint32_t magic)
{
	put_header(magic);
	for (uint32_t i = 0; length < (4u << 20); i++)
		put_packet(i * 7919 % 5000);
}

static void write_plain(void)
{
	uint64_t bytes;
	int fd = openat(store.dirfd, NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, plain, length), length);
	close(fd);
	assert_int_equal(custody_hash_file(store.dirfd, NAME, sha256, &bytes, &error), 0);
}

static bool exists(const char *name)
{
	return faccessat(store.dirfd, name, F_OK, 0) == 0;
}

static int compress_it(void)
{
	return compress_segment(&store, NAME, sha256, &cancel, &error);
}

/* The plain file is as it was, and nothing else is there. */
static void assert_left(void)
{
	char now[CUSTODY_HEX_SIZE];
	uint64_t bytes;

	assert_int_equal(custody_hash_file(store.dirfd, NAME, now, &bytes, &error), 0);
	assert_int_equal(bytes, length);
	assert_false(exists(NAME ".gz") || exists(NAME ".gz.part") || exists(NAME ".gz.idx") ||
		     exists(NAME ".gz.idx.part"));
}

static void assert_gives_what_was_plain(void)
{
	gzFile from = gzdopen(openat(store.dirfd, NAME ".gz", O_RDONLY | O_CLOEXEC), "rb");

	assert_false(exists(NAME) || exists(NAME ".gz.part") || exists(NAME ".gz.idx.part"));
	assert_int_equal(gzread(from, back, sizeof back), length);
	assert_memory_equal(back, plain, length);
	gzclose(from);
}

/* As reading the whole finds the members. */
static void assert_index_is_right(size_t least)
{
	struct pcapin_packet packet;
	struct pcapindex index;
	struct pcapin *in = NULL;
	size_t member = 1;
	int fd = openat(store.dirfd, NAME ".gz", O_RDONLY | O_CLOEXEC);

	assert_int_equal(pcapindex_read(store.dirfd, NAME ".gz.idx", &index, &error), 0);
	assert_int_equal(pcapindex_belongs(&index, fd, "", &error), 0);
	close(fd);
	assert_int_equal(index.content_bytes, length);
	assert_int_equal(index.packets, packets);
	assert_true(index.count >= least);
	assert_int_equal(pcapin_open(store.dirfd, NAME ".gz", &in, &error), 0);
	for (uint64_t i = 0; i < packets; i++) {
		struct pcapin_place place = pcapin_where(in);

		if (pcapin_next(in, &packet, &error) != 1)
			break;
		if (i == 0)
			assert_int_equal(index.members[0].time_ns, packet.time_ns);
		if (place.file_offset_bytes == 0)
			continue;
		assert_true(member < index.count);
		assert_int_equal(index.members[member].offset_bytes, place.file_offset_bytes);
		assert_int_equal(index.members[member].content_bytes, packet.offset_bytes);
		assert_int_equal(index.members[member].packet, packet.number);
		assert_int_equal(index.members[member++].time_ns, packet.time_ns);
	}
	assert_int_equal(member, index.count);
	pcapin_close(in);
	pcapindex_release(&index);
}

/* The one that is made by reading is the one that was written. */
static void assert_made_again(void)
{
	struct pcapindex written, made;

	assert_int_equal(pcapindex_read(store.dirfd, NAME ".gz.idx", &written, &error), 0);
	assert_int_equal(members_index(store.dirfd, NAME ".gz", &made, &error), 0);
	assert_int_equal(made.count, written.count);
	assert_memory_equal(made.members, written.members, made.count * sizeof *made.members);
	assert_int_equal(made.file_bytes, written.file_bytes);
	assert_int_equal(made.content_bytes, written.content_bytes);
	assert_int_equal(made.packets, written.packets);
	assert_memory_equal(made.tail, written.tail, sizeof made.tail);
	pcapindex_release(&written);
	pcapindex_release(&made);
}

/* One that goes on behind the damage was written; none is made by reading. */
static void assert_not_made_again(void)
{
	struct pcapindex written, made;

	assert_int_equal(pcapindex_read(store.dirfd, NAME ".gz.idx", &written, &error), 0);
	assert_int_equal(written.content_bytes, length);
	pcapindex_release(&written);
	assert_int_equal(members_index(store.dirfd, NAME ".gz", &made, &error), ERROR_DAMAGED);
	assert_null(made.members);
}

static void test_members_of_whole_packets_and_their_index(void **state)
{
	const uint32_t magics[] = {0xa1b23c4d, 0xa1b2c3d4};

	(void)state;
	for (int i = 0; i < 2; i++) {
		put_many(magics[i]);
		write_plain();
		assert_int_equal(compress_it(), 0);
		assert_gives_what_was_plain();
		assert_index_is_right(5);
		assert_made_again();
		unlinkat(store.dirfd, NAME ".gz", 0);
		unlinkat(store.dirfd, NAME ".gz.idx", 0);
	}
}

static void test_no_packets_and_few(void **state)
{
	(void)state;
	for (int count = 0; count < 3; count++) {
		put_header(0xa1b23c4d);
		for (int i = 0; i < count; i++)
			put_packet(100);
		write_plain();
		assert_int_equal(compress_it(), 0);
		assert_gives_what_was_plain();
		assert_index_is_right(1);
		assert_made_again();
		unlinkat(store.dirfd, NAME ".gz", 0);
	}
}

/* As large as they come, and one that fills a member to the byte, or is too large for one. */
static void test_large_packets(void **state)
{
	(void)state;
	put_header(0xa1b23c4d);
	for (int i = 0; i < 20; i++)
		put_packet(262144);
	put_packet(GZMEMBER_CONTENT_BYTES - 16);
	put_packet(5);
	put_packet(GZMEMBER_CONTENT_BYTES - 15);
	put_packet(6);
	write_plain();
	assert_int_equal(compress_it(), 0);
	assert_gives_what_was_plain();
	assert_not_made_again(); /* no reader takes packets of that size */
}

/* Every byte stays, also those that make no sense. */
static void test_what_is_no_record_is_kept(void **state)
{
	const size_t rests[] = {1, 15, 16, 3u << 20};

	(void)state;
	for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
		put_many(0xa1b23c4d);
		for (size_t j = 0; j < rests[i]; j++)
			plain[length++] = (uint8_t)(j * j >> 3 | 0x80);
		write_plain();
		assert_int_equal(compress_it(), 0);
		assert_gives_what_was_plain();
		assert_index_is_right(5);
		assert_not_made_again();
		unlinkat(store.dirfd, NAME ".gz", 0);
	}
	length = 10; /* not even a header */
	write_plain();
	assert_int_equal(compress_it(), 0);
	assert_gives_what_was_plain();
}

static void test_an_altered_one_stays_as_it_is(void **state)
{
	(void)state;
	put_many(0xa1b23c4d);
	write_plain();
	sha256[0] = sha256[0] == '0' ? '1' : '0';
	assert_int_equal(compress_it(), ERROR_DAMAGED);
	assert_left();
}

static void test_given_up_it_leaves_no_trace(void **state)
{
	(void)state;
	put_many(0xa1b23c4d);
	write_plain();
	cancel = true;
	assert_int_equal(compress_it(), ERROR_INTERRUPTED);
	assert_left();
	cancel = false;
	assert_int_equal(compress_it(), 0);
	assert_gives_what_was_plain();
	assert_int_equal(compress_it(), 0); /* it is gone: no matter */
}

/* ------------------------------------------------- begun, and then another thing -- */

static void *compress_thread(void *status)
{
	*(int *)status = compress_it();
	return NULL;
}

/* A descriptor of this process is open for it. */
static bool is_open(const char *name)
{
	DIR *directory = opendir("/proc/self/fd");
	char link[300];
	bool found = false;

	for (struct dirent *entry; !found && (entry = readdir(directory));) {
		ssize_t bytes = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);

		link[bytes > 0 ? bytes : 0] = '\0';
		found = strstr(link, name) != NULL;
	}
	closedir(directory);
	return found;
}

static pthread_t begin(int *status)
{
	pthread_t thread;

	put_many(0xa1b23c4d);
	write_plain();
	assert_int_equal(pthread_create(&thread, NULL, compress_thread, status), 0);
	return thread;
}

/* What compressing comes to when, once it has begun, change is called. */
static int compress_and(void (*change)(void))
{
	pthread_t thread;
	int status;

	pthread_mutex_lock(&store.lending);
	thread = begin(&status);
	while (!is_open(NAME))
		sched_yield();
	change();
	pthread_mutex_unlock(&store.lending);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(store.lent_fd, -1);
	assert_int_equal(store.lent_bytes, 0);
	return status;
}

static void note_compress(const struct custody_entry *entry, void *context)
{
	*(bool *)context |= strcmp(entry->event, "compress") == 0;
}

static bool is_logged(void)
{
	bool logged = false;

	assert_int_equal(custody_verify(store.dirfd, path, note_compress, &logged, NULL, &error),
			 0);
	return logged;
}

static void expire(void)
{
	assert_int_equal(unlinkat(store.dirfd, NAME, 0), 0);
}

static void expire_and_keep(void)
{
	assert_int_equal(linkat(store.dirfd, NAME, store.dirfd, "kept", 0), 0);
	expire();
}

static void test_what_expires_meanwhile_does_not_come_back(void **state)
{
	(void)state;
	assert_int_equal(compress_and(expire), 0);
	assert_false(exists(NAME ".gz") || exists(NAME ".gz.part") || exists(NAME ".gz.idx"));
	assert_false(is_logged());
	/* Also when its bytes have another name. */
	assert_int_equal(compress_and(expire_and_keep), 0);
	assert_false(exists(NAME ".gz") || exists(NAME ".gz.part") || exists(NAME ".gz.idx"));
	assert_false(is_logged());
}

static void record_much(void)
{
	store.last_pcap_bytes = INT64_MAX;
}

static bool is_lent(void)
{
	return segment_lend_more(&store, 0);
}

/* When all but its last step is done. */
static void test_what_expires_at_last_does_not_come_back(void **state)
{
	pthread_t thread;
	int status;

	(void)state;
	pthread_mutex_lock(&store.finished);
	thread = begin(&status);
	while (!exists(NAME ".gz.part") || is_lent())
		sched_yield();
	expire();
	pthread_mutex_unlock(&store.finished);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(status, 0);
	assert_false(exists(NAME ".gz") || exists(NAME ".gz.part") || exists(NAME ".gz.idx"));
	assert_false(is_logged());
}

static void resize_plain(uint64_t bytes)
{
	int fd = openat(store.dirfd, NAME, O_WRONLY | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

/* Whoever finds no room has it back at once. */
static void test_what_it_wrote_is_taken_back(void **state)
{
	pthread_t thread;
	struct statvfs fs;
	int status;

	(void)state;
	put_many(0xa1b23c4d);
	write_plain();
	/* Zeros that take no room, and many seconds to compress. */
	assert_int_equal(fstatvfs(store.dirfd, &fs), 0);
	resize_plain(fs.f_bavail * fs.f_frsize / 4);
	assert_int_equal(pthread_create(&thread, NULL, compress_thread, &status), 0);
	while (!segment_take_back(&store))
		sched_yield();
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(status, ERROR_LIMIT);
	resize_plain(length);
	assert_left();
	assert_false(is_logged() || segment_take_back(&store));
}

/* As much as was recorded last is to be recorded next. */
static void test_it_gives_way_to_what_is_recorded(void **state)
{
	(void)state;
	assert_int_equal(compress_and(record_much), ERROR_LIMIT);
	assert_left();
	assert_false(is_logged());
	store.last_pcap_bytes = 0;
	assert_int_equal(compress_it(), 0);
	assert_gives_what_was_plain();
	assert_true(is_logged());
}

/* What a compression of another process, or a user, put there is not written over. */
static void test_a_file_in_the_way_stays(void **state)
{
	int fd;

	(void)state;
	put_many(0xa1b23c4d);
	write_plain();
	fd = openat(store.dirfd, NAME ".gz", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	close(fd);
	assert_int_equal(compress_it(), ERROR_SYSTEM);
	assert_true(exists(NAME) && exists(NAME ".gz") && !exists(NAME ".gz.part"));
}

static void test_without_its_index_it_is_compressed(void **state)
{
	(void)state;
	put_many(0xa1b23c4d);
	write_plain();
	assert_int_equal(mkdirat(store.dirfd, NAME ".gz.idx", 0700), 0);
	assert_int_equal(compress_it(), ERROR_SYSTEM);
	assert_gives_what_was_plain();
}

static int places(size_t *count)
{
	struct members got = {0};
	int status = members_places(store.dirfd, NAME ".gz", &got, &error);

	*count = got.count;
	members_release(&got);
	return status;
}

static void test_its_places_are_believed_of_this_file_only(void **state)
{
	struct pcapindex index;
	size_t count;
	int fd;

	(void)state;
	put_many(0xa1b23c4d);
	write_plain();
	assert_int_equal(compress_it(), 0);
	assert_int_equal(pcapindex_read(store.dirfd, NAME ".gz.idx", &index, &error), 0);
	assert_int_equal(places(&count), 0);
	assert_int_equal(count, index.count - 1);
	pcapindex_release(&index);
	fd = openat(store.dirfd, NAME ".gz", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "", 1), 1);
	assert_int_equal(places(&count), ERROR_DAMAGED);
	assert_int_equal(ftruncate(fd, 1000), 0);
	assert_int_equal(members_index(store.dirfd, NAME ".gz", &index, &error), ERROR_DAMAGED);
	assert_null(index.members);
	close(fd);
	unlinkat(store.dirfd, NAME ".gz.idx", 0);
	assert_int_equal(places(&count), ERROR_NO_INPUT);
}

static void test_what_has_no_index(void **state)
{
	struct pcapindex index;

	(void)state;
	put_many(0xa1b23c4d);
	write_plain();
	assert_int_equal(members_index(store.dirfd, NAME, &index, &error), ERROR_USAGE);
	assert_int_equal(members_index(store.dirfd, "none", &index, &error), ERROR_NO_INPUT);
	assert_null(index.members);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		EACH(test_members_of_whole_packets_and_their_index),
		EACH(test_no_packets_and_few),
		EACH(test_large_packets),
		EACH(test_what_is_no_record_is_kept),
		EACH(test_an_altered_one_stays_as_it_is),
		EACH(test_given_up_it_leaves_no_trace),
		EACH(test_what_expires_meanwhile_does_not_come_back),
		EACH(test_what_expires_at_last_does_not_come_back),
		EACH(test_what_it_wrote_is_taken_back),
		EACH(test_it_gives_way_to_what_is_recorded),
		EACH(test_a_file_in_the_way_stays),
		EACH(test_without_its_index_it_is_compressed),
		EACH(test_its_places_are_believed_of_this_file_only),
		EACH(test_what_has_no_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
