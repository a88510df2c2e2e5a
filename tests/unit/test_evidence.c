#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/format/evidence.h"
#include "snapshot/format/quantity.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OPENED	     INT64_C(1795293000123456789) /* 2026-11-21T20:30:00.123456789Z */
#define STEM	     "000001-20261121T203000.123456789Z"

static void a_name_says_number_and_time(void **state)
{
	struct evidence_stem stem = {1, OPENED};
	char name[EVIDENCE_NAME_SIZE];

	(void)state;
	setenv("TZ", "America/St_Johns", 1);
	tzset();
	evidence_name(&stem, EVIDENCE_PCAP, name);
	assert_string_equal(name, STEM ".pcap");
	evidence_name(&stem, EVIDENCE_SNAP EVIDENCE_PART, name);
	assert_string_equal(name, STEM ".snap.gz.part");
	stem = (struct evidence_stem){1234567, 0};
	evidence_name(&stem, "", name);
	assert_string_equal(name, "1234567-19700101T000000.000000000Z");
	stem = (struct evidence_stem){UINT64_MAX, INT64_MAX};
	evidence_name(&stem, EVIDENCE_PCAP_GZ EVIDENCE_PART, name);
	assert_string_equal(name, "18446744073709551615-22620411T234716.854775807Z.pcap.gz.part");
}

static void a_suffix_has_a_name_before_it(void **state)
{
	(void)state;
	assert_true(evidence_has_suffix(STEM ".pcap.gz", EVIDENCE_PCAP_GZ));
	assert_false(evidence_has_suffix(STEM ".pcap.gz.part", EVIDENCE_PCAP_GZ));
	assert_false(evidence_has_suffix(EVIDENCE_PCAP_GZ, EVIDENCE_PCAP_GZ));
	assert_false(evidence_has_suffix("gz", EVIDENCE_PCAP_GZ));
	assert_false(evidence_has_suffix("", EVIDENCE_PCAP_GZ));
}

static void names_parse_back(void **state)
{
	static const struct evidence_stem stems[] = {
		{1, OPENED},
		{999999, 0},
		{1000000, 1},
		{EVIDENCE_MAX_NUMBER, QUANTITY_MAX_TIME_NS},
	};
	static const char *const suffixes[] = {
		"", ".pcap", ".pcap.gz", ".snap.gz", ".pcap.part", ".pcap.gz.part", ".snap.gz.part",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(stems); i++) {
		for (size_t k = 0; k < COUNT(suffixes); k++) {
			char name[EVIDENCE_NAME_SIZE];
			struct evidence_stem stem;
			const char *suffix;

			evidence_name(&stems[i], suffixes[k], name);
			assert_int_equal(evidence_parse_name(name, &stem, &suffix), 0);
			assert_int_equal(stem.number, stems[i].number);
			assert_int_equal(stem.opened_ns, stems[i].opened_ns);
			assert_string_equal(suffix, suffixes[k]);
			assert_ptr_equal(suffix, name + strlen(name) - strlen(suffixes[k]));
		}
	}
}

static void other_names_are_no_segments(void **state)
{
	static const char *const bad[] = {
		"",
		"custody.log",
		"000001",
		"000001-",
		"000001-20261121T203000.123456789",
		"00001-20261121T203000.123456789Z.pcap",
		"0000001-20261121T203000.123456789Z.pcap",
		"000000-20261121T203000.123456789Z.pcap",
		"1000000000001-20261121T203000.123456789Z.pcap",
		"18446744073709551615-20261121T203000.123456789Z.pcap",
		"18446744073709551616-20261121T203000.123456789Z.pcap",
		"000001-19691231T235959.999999999Z.pcap",
		"000001-21160314T000000.000000000Z.pcap",
		"999999999999999999999999999999-20261121T203000.123456789Z.pcap",
		"-00001-20261121T203000.123456789Z.pcap",
		"000001_20261121T203000.123456789Z.pcap",
		"000001-20260230T203000.123456789Z.pcap",
		"000001-20261321T203000.123456789Z.pcap",
		"000001-20261121T243000.123456789Z.pcap",
		"000001-20261121T203060.123456789Z.pcap",
		"000001-20261121T203000.12345678Z.pcap",
		"000001-20261121T203000.1234567890Z.pcap",
		"000001-20261121 203000.123456789Z.pcap",
		"000001-20261121T203000.123456789z.pcap",
		"000001-20261121T203000,123456789Z.pcap",
		"000001-20261121T203000.1234+0100Z.pcap",
		"000001-99991231T203000.123456789Z.pcap",
		STEM ".pcap.gz.part.part",
		STEM ".pcapng",
		STEM ".PCAP",
		STEM ".part",
		STEM ".",
		STEM "pcap",
		" " STEM ".pcap",
		"x/" STEM ".pcap",
	};
	struct evidence_stem stem;
	const char *suffix;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (evidence_parse_name(bad[i], &stem, &suffix) != -1)
			fail_msg("taken as a segment: \"%s\"", bad[i]);
	}
}

/* ---- directories ---- */

struct room {
	char path[40];
	int dirfd;
};

static int make_room(void **state)
{
	struct room *room = calloc(1, sizeof(*room));

	if (!room)
		return -1;
	memcpy(room->path, "/tmp/test_evidence.XXXXXX", 26);
	if (!mkdtemp(room->path))
		return -1;
	room->dirfd = open(room->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = room;
	return room->dirfd < 0 ? -1 : 0;
}

static int remove_room(void **state)
{
	struct room *room = *state;
	char command[80];

	close(room->dirfd);
	snprintf(command, sizeof(command), "rm -r %s", room->path);
	free(room);
	return system(command);
}

static void put_file(const struct room *room, const char *name, size_t bytes)
{
	static const char filling[64];
	int fd = openat(room->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, filling, bytes), bytes);
	close(fd);
}

static void an_empty_directory_has_no_segments(void **state)
{
	struct room *room = *state;
	struct evidence_list list;

	put_file(room, "custody.log", 3);
	put_file(room, "notes.txt", 3);
	assert_int_equal(evidence_list_read(room->dirfd, room->path, &list, NULL), 0);
	assert_int_equal(list.count, 0);
	evidence_list_release(&list);
}

static void pairs_are_found_in_order(void **state)
{
	struct room *room = *state;
	struct evidence_list list;

	put_file(room, "1000000-20261121T203300.000000000Z.pcap.part", 6);
	put_file(room, "000002-20261121T203100.000000000Z.snap.gz", 4);
	put_file(room, STEM ".snap.gz", 2);
	put_file(room, STEM ".pcap", 1);
	put_file(room, "000002-20261121T203000.000000000Z.pcap.gz", 3);
	put_file(room, "1000000-20261121T203300.000000000Z.snap.gz.part", 5);
	assert_int_equal(mkdirat(room->dirfd, "000009-20261121T203000.000000000Z.pcap", 0700), 0);
	assert_int_equal(
		symlinkat("nowhere", room->dirfd, "000008-20261121T203000.000000000Z.pcap"), 0);
	/* Twice: the caller's descriptor keeps no position. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(evidence_list_read(room->dirfd, room->path, &list, NULL), 0);
		assert_int_equal(list.count, 4);
		assert_int_equal(list.segments[0].stem.number, 1);
		assert_int_equal(list.segments[0].stem.opened_ns, OPENED);
		assert_string_equal(list.segments[0].pcap, STEM ".pcap");
		assert_string_equal(list.segments[0].snap, STEM ".snap.gz");
		assert_int_equal(list.segments[0].pcap_bytes, 1);
		assert_int_equal(list.segments[0].snap_bytes, 2);
		assert_false(list.segments[0].pcap_is_part || list.segments[0].snap_is_part);
		/* One number, two times: two segments. */
		assert_string_equal(list.segments[1].pcap,
				    "000002-20261121T203000.000000000Z.pcap.gz");
		assert_string_equal(list.segments[1].snap, "");
		assert_string_equal(list.segments[2].pcap, "");
		assert_string_equal(list.segments[2].snap,
				    "000002-20261121T203100.000000000Z.snap.gz");
		assert_int_equal(list.segments[3].stem.number, 1000000);
		assert_true(list.segments[3].pcap_is_part && list.segments[3].snap_is_part);
		assert_int_equal(list.segments[3].pcap_bytes, 6);
		assert_int_equal(list.segments[3].snap_bytes, 5);
		assert_int_equal(list.odd_count, 2);
		assert_string_equal(list.odd_name, "000008-20261121T203000.000000000Z.pcap");
		evidence_list_release(&list);
	}
}

static void a_whole_file_counts_before_one_in_the_making(void **state)
{
	static const char *const order[] = {".pcap", ".pcap.gz", ".pcap.part", ".pcap.gz.part"};
	struct room *room = *state;
	char name[EVIDENCE_NAME_SIZE];

	put_file(room, STEM ".snap.gz.part", 1);
	put_file(room, STEM ".snap.gz", 2);
	for (size_t i = 0; i < COUNT(order); i++) {
		snprintf(name, sizeof(name), STEM "%s", order[i]);
		put_file(room, name, i + 1);
	}
	for (size_t i = 0; i < COUNT(order); i++) {
		struct evidence_list list;

		snprintf(name, sizeof(name), STEM "%s", order[i]);
		assert_int_equal(evidence_list_read(room->dirfd, room->path, &list, NULL), 0);
		assert_int_equal(list.count, 1);
		assert_string_equal(list.segments[0].pcap, name);
		assert_int_equal(list.segments[0].pcap_bytes, i + 1);
		assert_int_equal(list.segments[0].pcap_is_part, i >= 2);
		assert_int_equal(list.segments[0].has_both, i == 0);
		assert_int_equal(list.segments[0].both_bytes, i == 0 ? 2 : 0);
		assert_string_equal(list.segments[0].snap, STEM ".snap.gz");
		assert_false(list.segments[0].snap_is_part);
		evidence_list_release(&list);
		assert_int_equal(unlinkat(room->dirfd, name, 0), 0);
	}
}

/* An index is of the segment whose compressed pcap it is beside. */
static void an_index_is_its_segments(void **state)
{
	struct room *room = *state;
	struct evidence_list list;

	put_file(room, STEM ".pcap.gz.idx", 7);
	put_file(room, STEM ".pcap.gz", 3);
	put_file(room, STEM ".snap.gz", 2);
	put_file(room, STEM ".pcap.gz.idx.part", 1);
	put_file(room, "000009-20261121T203000.000000000Z.pcap.idx", 1);
	assert_int_equal(evidence_list_read(room->dirfd, room->path, &list, NULL), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.segments[0].pcap, STEM ".pcap.gz");
	assert_int_equal(list.segments[0].pcap_bytes, 3);
	assert_int_equal(list.segments[0].snap_bytes, 2);
	assert_int_equal(list.segments[0].index_bytes, 7);
	evidence_list_release(&list);
}

/* Nothing here waits for somebody to write into it. */
static void only_regular_files_are_opened(void **state)
{
	struct room *room = *state;
	struct error error = ERROR_NONE;
	struct evidence_list list;

	put_file(room, "file", 1);
	assert_int_equal(mkfifoat(room->dirfd, STEM ".pcap", 0600), 0);
	assert_int_equal(symlinkat("file", room->dirfd, "link"), 0);
	assert_int_equal(evidence_open_file(room->dirfd, STEM ".pcap", O_RDONLY, "p", &error),
			 ERROR_DAMAGED);
	assert_string_equal(error.path, "p");
	assert_int_equal(evidence_open_file(room->dirfd, STEM ".pcap", O_RDWR, "p", NULL),
			 ERROR_DAMAGED);
	assert_int_equal(evidence_open_file(room->dirfd, ".", O_RDONLY, "p", NULL), ERROR_DAMAGED);
	assert_int_equal(evidence_open_file(room->dirfd, "none", O_RDONLY, "p", NULL),
			 ERROR_NO_INPUT);
	assert_int_equal(evidence_open_file(room->dirfd, "link", O_RDONLY | O_NOFOLLOW, "p", NULL),
			 ERROR_DAMAGED);
	int fd = evidence_open_file(room->dirfd, "link", O_RDONLY, "p", &error);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(evidence_list_read(room->dirfd, room->path, &list, NULL), 0);
	assert_int_equal(list.count, 0);
	evidence_list_release(&list);
}

static void thousands_of_segments_are_sorted(void **state)
{
	struct room *room = *state;
	struct evidence_list list;
	char name[EVIDENCE_NAME_SIZE];

	for (uint64_t i = 1; i <= 1000; i++) {
		struct evidence_stem stem = {i * 7919 % 1009, OPENED + (int64_t)i};
		evidence_name(&stem, EVIDENCE_PCAP, name);
		put_file(room, name, 0);
		evidence_name(&stem, EVIDENCE_SNAP, name);
		put_file(room, name, 0);
	}
	assert_int_equal(evidence_list_read(room->dirfd, room->path, &list, NULL), 0);
	assert_int_equal(list.count, 1000);
	for (size_t i = 0; i < list.count; i++) {
		assert_true(i == 0 ||
			    list.segments[i - 1].stem.number < list.segments[i].stem.number);
		assert_true(list.segments[i].pcap[0] && list.segments[i].snap[0]);
	}
	evidence_list_release(&list);
}

static void what_cannot_be_listed_is_an_error(void **state)
{
	struct room *room = *state;
	struct evidence_list list;
	struct error error = ERROR_NONE;

	put_file(room, "file", 0);
	int fd = openat(room->dirfd, "file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(evidence_list_read(fd, "file", &list, &error), ERROR_SYSTEM);
	assert_string_equal(error.path, "file");
	close(fd);
}

/* ---- names that change while they are listed ---- */

/* Names with this suffix are not seen in listings of which the bit is set, the first one's
 * lowest: their names were made, or removed, where it had been, or was not yet. */
static struct {
	const char *suffix;
	unsigned listings;
} hidden;

/* Both in place of the library's. */
struct dirent *readdir(DIR *directory)
{
	static struct dirent *(*real)(DIR *);
	struct dirent *entry;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	do {
		entry = real(directory);
	} while (entry && (hidden.listings & 1) != 0 &&
		 evidence_has_suffix(entry->d_name, hidden.suffix));
	return entry;
}

int closedir(DIR *directory)
{
	static int (*real)(DIR *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "closedir");
	hidden.listings >>= 1;
	return real(directory);
}

static void list_with(const struct room *room, const char *suffix, unsigned listings,
		      struct evidence_list *list)
{
	hidden.suffix = suffix;
	hidden.listings = listings;
	assert_int_equal(evidence_list_read(room->dirfd, room->path, list, NULL), 0);
	assert_int_equal(list->count, 1);
}

static void what_is_renamed_meanwhile_is_found(void **state)
{
	static const struct {
		const char *beside, *name;
	} of[] = {
		{NULL, STEM ".pcap.gz"},
		{STEM ".pcap.gz.part", STEM ".pcap.gz"},
		{STEM ".pcap.part", STEM ".pcap"},
	};
	struct room *room = *state;
	struct evidence_list list;

	put_file(room, STEM ".snap.gz", 2);
	for (size_t i = 0; i < COUNT(of); i++) {
		if (of[i].beside)
			put_file(room, of[i].beside, 1);
		put_file(room, of[i].name, 3);
		list_with(room, of[i].name + strlen(STEM), 1, &list);
		assert_string_equal(list.segments[0].pcap, of[i].name);
		assert_int_equal(list.segments[0].pcap_bytes, 3);
		assert_string_equal(list.segments[0].snap, STEM ".snap.gz");
		evidence_list_release(&list);
		list_with(room, ".snap.gz", 1, &list);
		assert_string_equal(list.segments[0].snap, STEM ".snap.gz");
		evidence_list_release(&list);
		assert_int_equal(unlinkat(room->dirfd, of[i].name, 0), 0);
		if (of[i].beside)
			assert_int_equal(unlinkat(room->dirfd, of[i].beside, 0), 0);
	}
}

/* A recorder at work is listed however many of its segments it compresses meanwhile. */
static void what_is_compressed_meanwhile_is_one_capture(void **state)
{
	struct room *room = *state;
	struct evidence_list list;

	put_file(room, STEM ".pcap", 1);
	put_file(room, STEM ".pcap.gz", 2);
	put_file(room, STEM ".pcap.gz.idx", 3);
	put_file(room, STEM ".snap.gz", 4);
	list_with(room, ".pcap.gz", 0x55555555, &list);
	assert_string_equal(list.segments[0].pcap, STEM ".pcap");
	assert_false(list.segments[0].has_both);
	evidence_list_release(&list);
}

static void a_directory_that_does_not_keep_still_is_an_error(void **state)
{
	struct room *room = *state;
	struct evidence_list list;
	struct error error = ERROR_NONE;

	put_file(room, STEM ".pcap", 1);
	put_file(room, STEM ".snap.gz", 2);
	hidden.suffix = ".pcap";
	hidden.listings = 0x55555555;
	assert_int_equal(evidence_list_read(room->dirfd, room->path, &list, &error), ERROR_SYSTEM);
	assert_string_equal(error.path, room->path);
	assert_non_null(strstr(error.message, "changed"));
	hidden.listings = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_says_number_and_time),
		cmocka_unit_test(a_suffix_has_a_name_before_it),
		cmocka_unit_test(names_parse_back),
		cmocka_unit_test(other_names_are_no_segments),
		cmocka_unit_test_setup_teardown(an_empty_directory_has_no_segments, make_room,
						remove_room),
		cmocka_unit_test_setup_teardown(pairs_are_found_in_order, make_room, remove_room),
		cmocka_unit_test_setup_teardown(a_whole_file_counts_before_one_in_the_making,
						make_room, remove_room),
		cmocka_unit_test_setup_teardown(an_index_is_its_segments, make_room, remove_room),
		cmocka_unit_test_setup_teardown(only_regular_files_are_opened, make_room,
						remove_room),
		cmocka_unit_test_setup_teardown(thousands_of_segments_are_sorted, make_room,
						remove_room),
		cmocka_unit_test_setup_teardown(what_cannot_be_listed_is_an_error, make_room,
						remove_room),
		cmocka_unit_test_setup_teardown(what_is_renamed_meanwhile_is_found, make_room,
						remove_room),
		cmocka_unit_test_setup_teardown(what_is_compressed_meanwhile_is_one_capture,
						make_room, remove_room),
		cmocka_unit_test_setup_teardown(a_directory_that_does_not_keep_still_is_an_error,
						make_room, remove_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
