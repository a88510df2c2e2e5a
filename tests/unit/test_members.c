/* test_members.c - captures in gzip members, ours and those of others, read from their
 * beginning and from their middle. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "analyze/pcapin.h"
#include "analyze/walk.h"
#include "snapshot/format/custody.h"
#include "snapshot/format/gzmember.h"
#include "snapshot/format/quantity.h"

#define MOST_PACKETS 5000
#define MOST_MEMBERS 600

enum kind { OURS, ZLIBS, BOTH, KINDS };

static char path[] = "/tmp/test_members.XXXXXX";
static uint8_t plain[8u << 20], zipped[9u << 20];
static size_t plain_bytes, zipped_bytes, packets, members;
static size_t packet_at[MOST_PACKETS + 1]; /* in plain */
static size_t member_at[MOST_MEMBERS];	   /* in zipped */
static size_t member_packet[MOST_MEMBERS]; /* the first one's number - 1 */
static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1;
	return (uint32_t)(random_state >> 33) % below;
}

static void put_words(const uint32_t *words, size_t count)
{
	memcpy(plain + plain_bytes, words, count * sizeof(*words));
	plain_bytes += count * sizeof(*words);
}

static void make_plain(size_t count, uint32_t longest)
{
	plain_bytes = 0;
	packets = count;
	random_state = count;
	put_words((const uint32_t[]){0xa1b23c4d, 2 | 4 << 16, 0, 0, 262144, 1}, 6);
	for (size_t i = 0; i < count; i++) {
		uint32_t length = draw(longest + 1);

		packet_at[i] = plain_bytes;
		put_words((const uint32_t[]){1000 + (uint32_t)i, draw(1000000000), length, length},
			  4);
		for (uint32_t j = 0; j < length; j++)
			plain[plain_bytes++] = (uint8_t)draw(4);
	}
	packet_at[count] = plain_bytes;
}

static void put_member(enum kind kind, const uint8_t *content, size_t length)
{
	z_stream z = {.next_in = (Bytef *)content,
		      .avail_in = (uInt)length,
		      .next_out = zipped + zipped_bytes,
		      .avail_out = (uInt)(sizeof(zipped) - zipped_bytes)};

	if (kind == OURS || (kind == BOTH && draw(2) == 0)) {
		struct gzmember_maker *maker = gzmember_maker_new();

		zipped_bytes += gzmember_make(maker, content, length, zipped + zipped_bytes);
		gzmember_maker_free(maker);
		return;
	}
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	zipped_bytes += z.total_out;
}

/* Members of so many packets each. */
static void zip(enum kind kind, size_t packets_each)
{
	zipped_bytes = members = 0;
	for (size_t i = 0; i < packets; i += packets_each) {
		size_t from = i == 0 ? 0 : packet_at[i];
		size_t until = packet_at[i + packets_each < packets ? i + packets_each : packets];

		member_at[members] = zipped_bytes;
		member_packet[members++] = i;
		put_member(kind, plain + from, until - from);
	}
}

static struct pcapin *open_file(const uint8_t *content, size_t length)
{
	struct error error = ERROR_NONE;
	struct pcapin *in = NULL;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, content, length), length);
	close(fd);
	assert_int_equal(pcapin_open_hashed(AT_FDCWD, path, &in, &error), 0);
	return in;
}

/* As the plain file has it. */
static void assert_packet(const struct pcapin_packet *packet, size_t i)
{
	uint32_t words[4];

	memcpy(words, plain + packet_at[i], sizeof(words));
	assert_int_equal(packet->number, i + 1);
	assert_int_equal(packet->offset_bytes, packet_at[i]);
	assert_int_equal(packet->time_ns, words[0] * NS_PER_SECOND + words[1]);
	assert_int_equal(packet->captured_bytes, words[2]);
	assert_memory_equal(packet->data, plain + packet_at[i] + 16, words[2]);
}

/* Reads on from packet i; the status at the end, and how far it came. */
static int read_on(struct pcapin *in, size_t *i, struct error *error)
{
	struct pcapin_packet packet;
	int status;

	while ((status = pcapin_next(in, &packet, error)) == 1) {
		assert_true(*i < packets);
		assert_packet(&packet, (*i)++);
	}
	return status;
}

static void assert_all_from(struct pcapin *in, size_t i)
{
	struct error error = ERROR_NONE;

	assert_int_equal(read_on(in, &i, &error), 0);
	assert_int_equal(i, packets);
}

static void members_give_what_the_plain_file_has(void **state)
{
	const size_t each[] = {10, 700, MOST_PACKETS};
	char wanted[CUSTODY_HEX_SIZE];
	struct error error = ERROR_NONE;
	uint64_t size;

	(void)state;
	make_plain(MOST_PACKETS, 2500);
	pcapin_close(open_file(plain, plain_bytes));
	assert_int_equal(custody_hash_file(AT_FDCWD, path, wanted, &size, &error), 0);
	for (enum kind kind = OURS; kind < KINDS; kind++) {
		/* One member of all is more than ours can be. */
		for (size_t i = 0; i < (kind == ZLIBS ? 3 : 2); i++) {
			struct pcapin *in;

			zip(kind, each[i]);
			in = open_file(zipped, zipped_bytes);
			assert_all_from(in, 0);
			assert_string_equal(pcapin_content_sha256(in), wanted);
			assert_int_equal(pcapin_read_bytes(in), zipped_bytes);
			pcapin_close(in);
		}
	}
}

static void where_names_the_members_and_nothing_else(void **state)
{
	(void)state;
	make_plain(MOST_PACKETS, 1500);
	for (enum kind kind = OURS; kind < KINDS; kind++) {
		struct pcapin_packet packet;
		struct error error = ERROR_NONE;
		struct pcapin *in;
		size_t member = 1;

		zip(kind, kind == BOTH ? 9 : 450);
		in = open_file(zipped, zipped_bytes);
		for (size_t i = 0; i < packets; i++) {
			struct pcapin_place place = pcapin_where(in);
			bool begins = member < members && member_packet[member] == i;

			assert_int_equal(place.number, i + 1);
			assert_int_equal(place.offset_bytes, packet_at[i]);
			assert_int_equal(place.file_offset_bytes, begins ? member_at[member] : 0);
			member += begins;
			assert_int_equal(pcapin_next(in, &packet, &error), 1);
		}
		assert_int_equal(member, members);
		assert_int_equal(pcapin_where(in).file_offset_bytes, 0);
		assert_int_equal(pcapin_next(in, &packet, &error), 0);
		pcapin_close(in);
	}
}

/* Before the second packet: nothing, zeros as tapes have them, a member of nothing, and the rest.
 */
static void what_is_between_members_is_passed_over(void **state)
{
	(void)state;
	make_plain(2, 100);
	for (enum kind kind = OURS; kind <= ZLIBS; kind++) {
		struct pcapin_packet packet;
		struct error error = ERROR_NONE;
		struct pcapin_place place;
		struct pcapin *in;
		size_t empty;

		zip(kind, 1);
		zipped_bytes = member_at[1];
		memset(zipped + zipped_bytes, 0, 1000);
		empty = zipped_bytes += 1000;
		put_member(kind, plain, 0);
		put_member(kind, plain + packet_at[1], packet_at[2] - packet_at[1]);
		in = open_file(zipped, zipped_bytes);
		assert_int_equal(pcapin_next(in, &packet, &error), 1);
		place = pcapin_where(in);
		assert_int_equal(place.file_offset_bytes, empty);
		assert_all_from(in, 1);
		assert_int_equal(pcapin_seek(in, &place, &error), 0);
		assert_all_from(in, 1);
		pcapin_close(in);
	}
}

static void reading_goes_on_from_each_member(void **state)
{
	(void)state;
	make_plain(MOST_PACKETS, 1500);
	for (enum kind kind = OURS; kind < KINDS; kind++) {
		struct pcapin *in;

		zip(kind, 450);
		in = open_file(zipped, zipped_bytes);
		for (size_t i = members; i-- > 1;) {
			const struct pcapin_place place = {
				member_at[i], packet_at[member_packet[i]], member_packet[i] + 1};
			struct pcapin_packet packet;
			struct error error = ERROR_NONE;

			assert_int_equal(pcapin_seek(in, &place, &error), 0);
			/* Here or to the end. */
			if (i % 2 == 0) {
				assert_int_equal(pcapin_next(in, &packet, &error), 1);
				assert_packet(&packet, member_packet[i]);
			} else {
				assert_all_from(in, member_packet[i]);
			}
		}
		assert_null(pcapin_content_sha256(in)); /* not of all of it in a row */
		pcapin_close(in);
	}
}

static void no_member_no_place(void **state)
{
	struct error error = ERROR_NONE;
	struct pcapin_packet packet;
	struct pcapin *in;

	(void)state;
	make_plain(100, 100);
	zip(OURS, 10);
	in = open_file(zipped, zipped_bytes);
	assert_int_equal(pcapin_next(in, &packet, &error), 1);
	for (size_t at = 1; at < zipped_bytes + 5; at++) {
		const struct pcapin_place place = {at, packet_at[50], 51};

		if (at == member_at[1] || memcmp(zipped + at, "\x1f\x8b\x08", 3) == 0)
			continue;
		assert_int_equal(pcapin_seek(in, &place, &error), ERROR_SYSTEM);
	}
	assert_int_equal(pcapin_seek(in, &(struct pcapin_place){UINT64_MAX, 1000, 2}, &error),
			 ERROR_SYSTEM);
	assert_int_equal(pcapin_seek(in, &(struct pcapin_place){member_at[1], 23, 2}, &error),
			 ERROR_SYSTEM);
	assert_all_from(in, 1);
	pcapin_close(in);
}

/* Whatever is changed, no packet is another one, and none is missing without a word. */
static void a_changed_byte_is_harmless_or_damage(void **state)
{
	(void)state;
	make_plain(60, 40);
	zip(OURS, 20);
	for (size_t at = 0; at < zipped_bytes; at++) {
		struct error error = ERROR_NONE;
		struct pcapin *in = NULL;
		size_t i = 0;
		int fd, status;

		zipped[at] ^= 0x14;
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, zipped, zipped_bytes), zipped_bytes);
		close(fd);
		zipped[at] ^= 0x14;
		status = pcapin_open(AT_FDCWD, path, &in, &error);
		if (status == 0) {
			struct pcapin_packet packet;

			/* What zlib gives before it finds a member's sum wrong may differ. */
			while ((status = pcapin_next(in, &packet, &error)) == 1)
				i++;
			pcapin_close(in);
		}
		if (status == 0)
			assert_int_equal(i, packets);
		else
			assert_int_equal(status, ERROR_DAMAGED);
	}
}

/* The length that a member says it has: too small, too large, of the next one too. */
static void a_member_that_is_not_so_long_is_read_all_the_same(void **state)
{
	(void)state;
	make_plain(60, 40);
	zip(OURS, 20);
	for (size_t member = 0; member < members; member++) {
		for (int change = 0; change < 5; change++) {
			uint8_t *size = zipped + member_at[member] + 16, before = size[change % 4];
			struct pcapin *in;

			size[change % 4] += change == 4 ? 30 : 1;
			in = open_file(zipped, zipped_bytes);
			size[change % 4] = before;
			assert_all_from(in, 0);
			pcapin_close(in);
		}
	}
}

static void a_cut_is_told_but_between_members(void **state)
{
	(void)state;
	make_plain(60, 40);
	zip(OURS, 20);
	for (size_t cut = member_at[1], member = 1; cut < zipped_bytes; cut++) {
		struct error error = ERROR_NONE;
		struct pcapin *in = open_file(zipped, cut);
		size_t i = 0;
		int status = read_on(in, &i, &error);

		if (member < members && cut == member_at[member]) {
			assert_int_equal(status, 0);
			assert_int_equal(i, member_packet[member++]);
		} else {
			assert_int_equal(status, ERROR_DAMAGED);
			assert_true(i >= member_packet[member - 1]);
		}
		pcapin_close(in);
	}
}

static int begin(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int end(void **state)
{
	(void)state;
	return unlink(path);
}

/* Members in front of the second packet that hold nothing: how much is looked through for the
 * places of all packets. */
static uint64_t steps_with_empty(enum kind kind, size_t empty)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;
	struct pcapin *in;
	const uint64_t before = walk_steps;

	zipped_bytes = 0;
	put_member(kind, plain, packet_at[1]);
	member_at[1] = zipped_bytes;
	for (size_t i = 0; i < empty; i++)
		put_member(kind, plain, 0);
	put_member(kind, plain + packet_at[1], packet_at[packets] - packet_at[1]);
	in = open_file(zipped, zipped_bytes);
	for (size_t i = 0; i < packets; i++) {
		const struct pcapin_place place = pcapin_where(in);

		assert_int_equal(place.file_offset_bytes, i == 1 ? member_at[1] : 0);
		assert_int_equal(pcapin_next(in, &packet, &error), 1);
		assert_packet(&packet, i);
	}
	assert_int_equal(pcapin_next(in, &packet, &error), 0);
	pcapin_close(in);
	return walk_steps - before;
}

static void empty_members_cost_no_more_than_their_bytes(void **state)
{
	(void)state;
	make_plain(500, 40);
	for (enum kind kind = OURS; kind <= ZLIBS; kind++) {
		uint64_t without = steps_with_empty(kind, 0), with = steps_with_empty(kind, 2000);

		assert_true(without > 0);
		assert_true(with <= without + 2000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_give_what_the_plain_file_has),
		cmocka_unit_test(where_names_the_members_and_nothing_else),
		cmocka_unit_test(what_is_between_members_is_passed_over),
		cmocka_unit_test(reading_goes_on_from_each_member),
		cmocka_unit_test(no_member_no_place),
		cmocka_unit_test(a_changed_byte_is_harmless_or_damage),
		cmocka_unit_test(a_member_that_is_not_so_long_is_read_all_the_same),
		cmocka_unit_test(empty_members_cost_no_more_than_their_bytes),
		cmocka_unit_test(a_cut_is_told_but_between_members),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
