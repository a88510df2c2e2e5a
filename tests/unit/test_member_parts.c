/* test_member_parts.c - facts about compressed captures whose parts several workers read by
 * an index: whatever that says, the result is the same. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/members.h"
#include "snapshot/format/custody.h"
#include "snapshot/format/gzmember.h"
#include "tests/unit/frames.h"
#include "tests/unit/loading.h"

#define PACKETS 600
#define ETH	2
#define BRIDGE	3
#define PLAIN	"000001-20261121T203001.000000000Z.pcap"
#define NAME	PLAIN ".gz"
#define US	INT64_C(1000)
#define MS	INT64_C(1000000)

static uint8_t content[PACKETS * 400];
static size_t length, packets, packet_at[PACKETS + 1];
static int64_t now_ns;
static int directory = -1;

/* ---------------------------------------------------------------- evidence -- */

static void put(const void *bytes, size_t count)
{
	assert_true(length + count <= sizeof(content));
	memcpy(content + length, bytes, count);
	length += count;
}

static void see(uint32_t ifindex, int64_t pause_ns)
{
	uint32_t words[4];

	if (packets == PACKETS)
		return;
	now_ns += pause_ns;
	words[0] = (uint32_t)(now_ns / 1000000000);
	words[1] = (uint32_t)(now_ns % 1000000000);
	words[2] = words[3] = frame.length;
	frame.bytes[7] = (uint8_t)ifindex; /* of SLL2 */
	packet_at[packets++] = length;
	put(words, sizeof(words));
	put(frame.bytes, frame.length);
}

static void make_frame(uint64_t *seed, bool fragments)
{
	uint32_t id = scene_random(seed, 2) * (1 + scene_random(seed, 3));
	bool is_fragment = fragments && scene_random(seed, 3) == 0;
	bool later = is_fragment && scene_random(seed, 2) == 0;

	frame_put_sll2(0x0800, ETH, 0);
	frame_put_ipv4(17, 0, is_fragment ? 1 + scene_random(seed, 3) : id,
		       later	     ? 0x20
		       : is_fragment ? 0x2000
				     : 0x4000);
	if (!later) {
		frame_put_udp(is_fragment ? 300 : 20);
		frame_set16(frame.length - 8, 5000 + scene_random(seed, 9)); /* source port */
	}
	frame_finish(is_fragment ? 120 : 20);
}

/* Half of the packets are seen twice, and that may be behind a border. */
static void make_content(uint64_t seed, bool fragments)
{
	static const uint32_t header[] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 262144, SLL2};

	length = packets = 0;
	now_ns = SCENE_ZERO_NS;
	put(header, sizeof(header));
	while (packets < PACKETS) {
		make_frame(&seed, fragments);
		see(ETH, (int64_t)scene_random(&seed, 400) * US +
				 (scene_random(&seed, 9) == 0 ? 15 * MS : 0));
		if (scene_random(&seed, 2) == 0)
			see(BRIDGE, (int64_t)scene_random(&seed, 100) * US);
	}
	packet_at[packets] = length;
}

static void put_file(const char *name, const uint8_t *bytes, size_t count)
{
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, count), count);
	close(fd);
}

static void log_file(struct custody *custody, const char *name)
{
	char sha256[CUSTODY_HEX_SIZE];
	struct custody_entry entry = {.event = "close", .file = name, .sha256 = sha256};
	uint64_t bytes;

	assert_int_equal(custody_hash_file(directory, name, sha256, &bytes, NULL), 0);
	entry.bytes = (int64_t)bytes;
	entry.detail = "";
	assert_int_equal(custody_append(custody, &entry, NULL), 0);
}

/* As another writer may do: the first member has nothing but the capture's header. */
static bool header_apart;

/* The segment as a recorder leaves it, in members of so many packets, without index. */
static void write_evidence(size_t each, bool with_log)
{
	static uint8_t zipped[sizeof(content)];
	struct gzmember_maker *maker = gzmember_maker_new();
	struct custody *custody = NULL;
	uint64_t repaired, broken;
	size_t count = 0;

	if (directory >= 0)
		close(directory);
	else
		loading_directory("evidence");
	directory = open(loading_path("evidence"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unlinkat(directory, CUSTODY_LOG, 0);
	unlinkat(directory, NAME ".idx", 0);
	if (header_apart)
		count = gzmember_make(maker, content, packet_at[0], zipped);
	for (size_t i = 0; i < packets; i += each) {
		size_t from = i == 0 && !header_apart ? 0 : packet_at[i];
		size_t until = packet_at[i + each < packets ? i + each : packets];

		count += gzmember_make(maker, content + from, until - from, zipped + count);
	}
	gzmember_maker_free(maker);
	put_file(PLAIN, content, length);
	put_file(NAME, zipped, count);
	if (with_log) {
		assert_int_equal(
			custody_open(directory, "evidence", &custody, &repaired, &broken, NULL), 0);
		log_file(custody, PLAIN);
		log_file(custody, NAME);
		custody_close(custody);
	}
	unlinkat(directory, PLAIN, 0);
}

static struct pcapindex true_index(void)
{
	struct pcapindex index;

	assert_int_equal(members_index(directory, NAME, &index, NULL), 0);
	return index;
}

static void write_index(struct pcapindex *index)
{
	struct error error = ERROR_NONE;

	if (pcapindex_write(index, directory, NAME ".idx", &error) != 0)
		fail_msg("%s", error.message);
	pcapindex_release(index);
}

static void write_true_index(void)
{
	struct pcapindex index = true_index();

	write_index(&index);
}

static int forget(void **state)
{
	if (directory >= 0)
		close(directory);
	directory = -1;
	header_apart = false;
	return loading_end(state);
}

/* ------------------------------------------------------------------- facts -- */

static const char *load(const char *database, unsigned workers, uint64_t part)
{
	const char *path;

	loading_part_packets = part;
	remove(loading_path("%s", database));
	path = loading_run(database, workers, true, (const char *const[]){"evidence", NULL});
	loading_part_packets = 0;
	return path;
}

static uint64_t apart, again;
static unsigned remarks;

static void same_for_all(const char *one, uint64_t part)
{
	apart = again = 0;
	loading_reports = 0;
	for (unsigned workers = 1; workers <= 4; workers++) {
		same_bytes(one, load("more.db", workers, part));
		apart += loading_result.parts_apart;
		again += loading_result.parts_again;
		assert_true(workers > 1 || loading_result.parts_apart == 0);
		assert_int_equal(loading_result.packets, PACKETS);
	}
	remarks = loading_reports;
}

static void a_true_index_lets_several_read(void **state)
{
	static const uint64_t parts[] = {30, 64, 200};

	(void)state;
	make_content(1, false);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const char *one;

		write_evidence(9, true);
		one = load("one.db", 1, parts[i]);
		same_for_all(one, parts[i]);
		assert_int_equal(apart, 0);
		write_true_index();
		same_for_all(one, parts[i]);
		assert_true(apart > 0);
		assert_int_equal(again, 0);
		assert_int_equal(remarks, 0);
	}
	answers(loading_path("one.db"), "SELECT sum(repeat_packets) > 100 FROM flow", "1\n");
}

/* The same where the merger gets the parts in pieces. */
static void it_lets_several_read_pieces(void **state)
{
	(void)state;
	loading_piece_flows = 2;
	a_true_index_lets_several_read(state);
	loading_piece_flows = 0;
}

static void a_member_of_the_header_alone_is_no_matter(void **state)
{
	struct pcapindex index;
	const char *one;

	(void)state;
	header_apart = true;
	make_content(1, false);
	write_evidence(9, true);
	one = load("one.db", 1, 40);
	index = true_index();
	assert_int_equal(index.members[0].offset_bytes, 0);
	assert_int_equal(index.members[1].packet, 10);
	write_index(&index);
	same_for_all(one, 40);
	assert_true(apart > 0);
	assert_int_equal(again, 0);
	assert_int_equal(remarks, 0);
}

/* Who begins at a member does not know those of long before. */
static void fragments_over_a_border_are_read_again(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 4; seed++) {
		make_content(seed, true);
		write_evidence(7, true);
		write_true_index();
		same_for_all(load("one.db", 1, 50), 50);
		assert_true(again > 0);
		assert_int_equal(remarks, 0);
	}
	answers(loading_path("one.db"), "SELECT sum(packets) > 0 FROM other", "1\n");
}

static void later_number(struct pcapindex_member *m)
{
	m->packet++;
}
static void earlier_number(struct pcapindex_member *m)
{
	m->packet--;
}
static void further_in(struct pcapindex_member *m)
{
	m->content_bytes += 16;
}
static void no_member(struct pcapindex_member *m)
{
	m->offset_bytes++;
}
/* The next one's number and bytes, at this one's beginning; increasing all the same. */
static void another_member(struct pcapindex_member *m)
{
	m->packet = m[1].packet - 1;
	m->content_bytes = m[1].content_bytes - 1;
}

static void a_lying_index_changes_nothing_and_is_told(void **state)
{
	static void (*const lies[])(struct pcapindex_member *) = {
		later_number, earlier_number, further_in, no_member, another_member};
	const char *one;

	(void)state;
	make_content(5, false);
	write_evidence(9, true);
	one = load("one.db", 1, 40);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		/* In one place, and from there on in all but the last. */
		for (size_t from = 1; from < 60; from += 13) {
			for (int all = 0; all < 2; all++) {
				struct pcapindex index = true_index();

				for (size_t at = from; at + 1 < index.count; at++) {
					lies[i](&index.members[at]);
					if (!all)
						break;
				}
				write_index(&index);
				same_for_all(one, 40);
				assert_int_equal(remarks, 3); /* once in each load by several */
			}
		}
	}
}

static void what_an_index_leaves_out_costs_nothing_but_time(void **state)
{
	struct pcapindex index;
	const char *one;

	(void)state;
	make_content(6, false);
	write_evidence(9, true);
	one = load("one.db", 1, 40);
	/* Half of the members. */
	index = true_index();
	for (size_t i = 1; 2 * i < index.count; i++)
		index.members[i] = index.members[2 * i];
	index.count = (index.count + 1) / 2;
	write_index(&index);
	same_for_all(one, 40);
	assert_true(apart > 0);
	assert_int_equal(remarks, 0);
	/* The second half of the capture. */
	index = true_index();
	index.count /= 2;
	index.packets = index.members[index.count - 1].packet + 5;
	write_index(&index);
	same_for_all(one, 40);
	/* Times, from which is told where to begin. */
	index = true_index();
	for (size_t i = 0; i < index.count; i++)
		index.members[i].time_ns = (int64_t)(i * 1000000000);
	write_index(&index);
	same_for_all(one, 40);
	assert_true(again > 0);
	/* A damaged one is worth a remark. */
	put_file(NAME ".idx", (const uint8_t *)"pcapwho-index\t1\n", 16);
	same_for_all(one, 40);
	assert_int_equal(apart, 0);
	assert_int_equal(remarks, 3);
}

/* Its row has the hash of what is in it. */
static void without_a_log_one_reads_all(void **state)
{
	const char *one;

	(void)state;
	make_content(7, false);
	write_evidence(9, false);
	one = load("one.db", 1, 40);
	write_true_index();
	same_for_all(one, 40);
	assert_int_equal(apart, 0);
	answers(one, "SELECT length(content_sha256) FROM segment", "64\n");
	write_evidence(9, true);
	agree(one, load("two.db", 2, 40), "SELECT content_sha256, pcap_sha256 FROM segment");
}

/* An index of a capture that is damaged, which `pcapwho index` does not make. */
static void index_as_cut(size_t each)
{
	struct pcapindex index = {.content_bytes = length, .packets = packets};
	static uint8_t zipped[sizeof(content)];
	struct gzmember_maker *maker = gzmember_maker_new();
	uint64_t offset = 0;
	int fd = openat(directory, NAME, O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; i < packets; i += each) {
		size_t from = i == 0 ? 0 : packet_at[i];
		size_t until = packet_at[i + each < packets ? i + each : packets];
		struct pcapindex_member member = {offset, from, i + 1,
						  SCENE_ZERO_NS + (int64_t)i * MS};

		assert_int_equal(pcapindex_add(&index, &member, NULL), 0);
		offset += gzmember_make(maker, content + from, until - from, zipped);
	}
	gzmember_maker_free(maker);
	assert_int_equal(pcapindex_seal(&index, fd, NAME, NULL), 0);
	close(fd);
	write_index(&index);
}

/* Whoever comes to it, and whatever others read behind it. */
static void damage_is_where_it_is(void **state)
{
	(void)state;
	make_content(8, false);
	for (size_t packet = 1; packet < PACKETS; packet += 97) {
		uint32_t huge = 0xffffff00, was;
		const char *one;

		memcpy(&was, content + packet_at[packet] + 8, 4);
		memcpy(content + packet_at[packet] + 8, &huge, 4);
		write_evidence(9, true);
		one = load("one.db", 1, 40);
		assert_int_equal(loading_result.packets, packet);
		answers(one, "SELECT content_sha256 IS NULL FROM segment", "1\n");
		index_as_cut(9);
		for (unsigned workers = 2; workers <= 4; workers++) {
			same_bytes(one, load("more.db", workers, 40));
			assert_int_equal(loading_result.damaged, 1);
		}
		memcpy(content + packet_at[packet] + 8, &was, 4);
	}
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, loading_begin, forget)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_true_index_lets_several_read),
		FACT(it_lets_several_read_pieces),
		FACT(a_member_of_the_header_alone_is_no_matter),
		FACT(fragments_over_a_border_are_read_again),
		FACT(a_lying_index_changes_nothing_and_is_told),
		FACT(what_an_index_leaves_out_costs_nothing_but_time),
		FACT(without_a_log_one_reads_all),
		FACT(damage_is_where_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
