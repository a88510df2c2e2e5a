/* test_parts.c - facts about captures that are read in parts: where they are cut, and who
 * reads which of them, is of no matter. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/pcapwalk.h"
#include "tests/unit/frames.h"
#include "tests/unit/loading.h"

#define FRAMES 40
#define ETH    2
#define BRIDGE 3
#define US     INT64_C(1000)
#define MS     INT64_C(1000000)

/* ---------------------------------------------------------------- captures -- */

static FILE *capture;
static int64_t now_ns;
static long seen_at[FRAMES]; /* where records begin */
static size_t seen_count;

static void put_le(uint32_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		fputc((int)(value >> 8 * i & 0xff), capture);
}

static const char *begin_capture(const char *name)
{
	const char *path = loading_path("%s", name);

	capture = fopen(path, "wb");
	assert_non_null(capture);
	put_le(0xa1b23c4d, 4);
	put_le(2 | 4 << 16, 4);
	put_le(0, 4);
	put_le(0, 4);
	put_le(262144, 4);
	put_le(SLL2, 4);
	now_ns = SCENE_ZERO_NS;
	seen_count = 0;
	return path;
}

/* The frame in hand, as an interface saw it after a pause. */
static void see(uint32_t ifindex, int64_t pause_ns)
{
	now_ns += pause_ns;
	if (seen_count < FRAMES)
		seen_at[seen_count++] = ftell(capture);
	frame.bytes[7] = (uint8_t)ifindex; /* of SLL2 */
	put_le((uint32_t)(now_ns / 1000000000), 4);
	put_le((uint32_t)(now_ns % 1000000000), 4);
	put_le(frame.length, 4);
	put_le(frame.length, 4);
	assert_int_equal(fwrite(frame.bytes, 1, frame.length, capture), frame.length);
}

static void end_capture(void)
{
	assert_int_equal(fclose(capture), 0);
}

static void put_tcp(uint64_t *seed, uint32_t id)
{
	static const uint8_t flags[] = {SYN, SYN | ACK, ACK, ACK, ACK, ACK | 8, FIN, RST};

	frame_put_sll2(0x0800, ETH, 0);
	frame_put_ipv4(6, 0, id, 0x4000);
	frame_put_tcp(flags[scene_random(seed, 8)]);
	frame_set16(frame_ip_at + 26, scene_random(seed, 6) * 50);
	frame_finish(scene_random(seed, 2) * 50);
}

static void put_fragment(uint64_t *seed)
{
	uint32_t id = 1 + scene_random(seed, 3), place = scene_random(seed, 3);

	if (scene_random(seed, 2) == 0) {
		frame_put_sll2(0x86dd, ETH, 0);
		frame_put_ipv6(44);
		frame_put_fragment6(17, place == 0 ? 1 : place == 1 ? 0x81 : 0x100, id);
	} else {
		frame_put_sll2(0x0800, ETH, 0);
		frame_put_ipv4(17, 0, id, place == 0 ? 0x2000 : place == 1 ? 0x2010 : 0x20);
	}
	if (place == 0) {
		frame_put_udp(300);
		frame_set16(frame.length - 8, 5000 + scene_random(seed, 2)); /* source port */
	}
	frame_finish(128 - (place == 0 ? 8 : 0));
}

static void put_quoting(void)
{
	uint32_t at;

	frame_put_sll2(0x0800, ETH, 0);
	frame_put_ipv4(1, 0, 9, 0);
	at = frame_ip_at;
	frame_put_icmp(3, 3, 0);
	frame_put_ipv4(17, 0, 8, 0);
	frame_set16(frame_ip_at + 2, 48);
	frame_put_udp(20);
	frame_ip_at = at;
	frame_finish(0);
}

static void put_tunnelled(uint64_t *seed)
{
	uint32_t at;

	frame_put_sll2(0x0800, ETH, 0);
	frame_put_ipv4(47, 0, 5, 0);
	at = frame_ip_at;
	frame_put16(0);
	frame_put16(0x0800);
	frame_put_ipv4(17, 0, 6, 0);
	frame_set16(frame_ip_at + 2, 38);
	frame_put_udp(10);
	frame_set16(frame.length - 8, 7000 + scene_random(seed, 2));
	frame_ip_at = at;
	frame_finish(10);
}

static void put_arp(void)
{
	frame_put_sll2(0x0806, ETH, 0);
	frame_put_n(0, 28);
}

static void put_any(uint64_t *seed)
{
	/* Some senders number their packets, some do not. */
	uint32_t id = scene_random(seed, 2) * (1 + scene_random(seed, 3));

	switch (scene_random(seed, 8)) {
	case 0:
	case 1:
		put_fragment(seed);
		break;
	case 2:
		put_quoting();
		break;
	case 3:
		put_tunnelled(seed);
		break;
	case 4:
		put_arp();
		break;
	case 5:
		frame_put_sll2(0x0800, ETH, 0);
		frame_put_ipv4(17, 0, id, 0x4000);
		frame_put_udp(20);
		frame_finish(20);
		break;
	default:
		put_tcp(seed, id);
	}
}

/* Many of the packets are seen twice, the later sightings after some others. */
static const char *random_capture(uint64_t *seed)
{
	static struct frame held[4];
	const char *path = begin_capture("capture.pcap");
	unsigned holding = 0;

	for (int i = 0; i < FRAMES; i++) {
		/* Each table has something. */
		if (i == 0)
			put_tunnelled(seed);
		else if (i == 1)
			put_arp();
		else
			put_any(seed);
		see(ETH, (int64_t)scene_random(seed, 400) * US +
				 (scene_random(seed, 9) == 0 ? 15 * MS : 0));
		if (scene_random(seed, 2) == 0 && holding < 4)
			held[holding++] = frame;
		while (holding > 0 && scene_random(seed, 3) != 0) {
			frame = held[--holding];
			see(BRIDGE, (int64_t)scene_random(seed, 100) * US);
		}
	}
	end_capture();
	return path;
}

/* ------------------------------------------------------------------- facts -- */

#define FLOW_KEY "f.first_packet_number, f.protocol, f.orig_port"
#define FLOWS                                                                                      \
	"SELECT protocol, ip_version, orig_address, resp_address, orig_port, resp_port, icmp_id, " \
	"start_ns, end_ns, orig_packets, orig_bytes, orig_payload_bytes, resp_packets, "           \
	"resp_bytes, resp_payload_bytes, repeat_packets, conn_state, history, ifindex, "           \
	"first_packet_number, first_packet_offset, carries, carried_packets, "                     \
	"carried_other_packets, carried_unreadable_packets FROM flow ORDER BY first_packet_number"
static const char *const questions[] = {
	FLOWS,
	"SELECT packets, bytes, flow_packets, first_packet_ns, last_packet_ns FROM segment",
	"SELECT reason, packets, bytes FROM other ORDER BY reason",
	"SELECT scope, difference FROM accounting ORDER BY 1, 2",
	"SELECT " FLOW_KEY ", depth, tunnel_type, t.protocol, t.orig_port, t.orig_packets, "
	"t.resp_packets, t.start_ns, t.end_ns FROM tunnel t JOIN flow f USING (flow_id) "
	"ORDER BY 1, t.orig_port, t.start_ns",
	"SELECT " FLOW_KEY
	", \"end\", rule, reason, c.start_ns, c.end_ns, sent_packets, sent_bytes, "
	"received_packets, received_bytes FROM connection c JOIN flow f USING (flow_id) "
	"ORDER BY 1, \"end\", c.start_ns, reason",
	"SELECT " FLOW_KEY ", \"end\", bucket, t.sent_packets, t.received_bytes FROM traffic t "
	"JOIN connection c USING (connection_id) JOIN flow f USING (flow_id) ORDER BY 1, 4, 5",
	("SELECT number, offset_bytes, time_ns, p.bytes, direction, rule_code, reason_code, "
	 "first_packet_number FROM packet p JOIN flow f USING (flow_id) ORDER BY number"),
};

static void same_answers(const char *whole, const char *cut)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		agree(whole, cut, questions[i]);
}

static const char *load_in_parts(const char *database, unsigned workers, uint64_t packets)
{
	const char *path;

	loading_part_packets = packets;
	remove(loading_path("%s", database));
	path = loading_run(database, workers, true, (const char *const[]){"capture.pcap", NULL});
	loading_part_packets = 0;
	return path;
}

/* A flow that is cut in two is put together; what is repeated behind the cut was counted
 * before it; a fragment's ports may be known from before it. */
static void where_a_capture_is_cut_changes_no_row(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < 4; round++) {
		const char *whole;

		random_capture(&seed);
		whole = load_in_parts("whole.db", 1, 0);
		for (uint64_t packets = 1; packets < FRAMES; packets += 1 + packets / 2)
			same_answers(whole, load_in_parts("cut.db", 1, packets));
	}
	answers(loading_path("whole.db"),
		"SELECT sum(repeat_packets) > 0, sum(carried_packets) > 0, "
		"(SELECT sum(packets) > 0 FROM other WHERE reason = 'fragment') FROM flow",
		"1|1|1\n");
}

static const char *load_in_pieces(const char *database, unsigned workers, uint64_t packets,
				  uint32_t flows)
{
	const char *path;

	loading_piece_flows = flows;
	path = load_in_parts(database, workers, packets);
	loading_piece_flows = 0;
	return path;
}

static void where_a_part_is_cut_in_pieces_changes_no_row(void **state)
{
	uint64_t seed = 50;

	(void)state;
	for (int round = 0; round < 3; round++) {
		const char *whole;

		random_capture(&seed);
		whole = load_in_parts("whole.db", 1, 0);
		for (uint32_t flows = 1; flows < 20; flows += 1 + flows)
			for (uint64_t packets = 0; packets < FRAMES; packets += 40)
				same_answers(whole, load_in_pieces("cut.db", 1, packets, flows));
	}
}

/* Who is ahead waits with one piece; who began at the wrong place reads on for nobody. */
static void workers_change_no_byte_of_pieces(void **state)
{
	uint64_t seed = 150;

	(void)state;
	for (int round = 0; round < 3; round++) {
		random_capture(&seed);
		for (uint32_t flows = 1; flows < 8; flows += 1 + flows) {
			for (uint64_t packets = 5; packets < FRAMES; packets += packets) {
				const char *one = load_in_pieces("one.db", 1, packets, flows);

				for (unsigned workers = 2; workers <= 5; workers += 3)
					same_bytes(one, load_in_pieces("more.db", workers, packets,
								       flows));
			}
		}
	}
}

/* Whoever begins in the middle has to find out what repeats. */
static void workers_change_no_byte(void **state)
{
	uint64_t seed = 100;

	(void)state;
	for (int round = 0; round < 4; round++) {
		random_capture(&seed);
		for (uint64_t packets = 1; packets < FRAMES; packets += 1 + packets) {
			const char *one = load_in_parts("one.db", 1, packets);

			for (unsigned workers = 2; workers <= 5; workers += 3)
				same_bytes(one, load_in_parts("more.db", workers, packets));
		}
	}
}

/* Equal datagrams without numbers, each seen twice with the next one between: where somebody
 * begins to look among them, the second sightings come first. */
static void a_row_of_equal_packets_is_longer_than_anybody_looks_back(void **state)
{
	enum { PAIRS = 80 * PCAPWALK_STRIDE };
	const char *one;

	(void)state;
	begin_capture("capture.pcap");
	frame_put_sll2(0x0800, ETH, 0);
	frame_put_ipv4(17, 0, 0, 0x4000);
	frame_put_udp(20);
	frame_finish(20);
	see(ETH, US);
	for (int i = 1; i < PAIRS; i++) {
		see(ETH, US);
		see(BRIDGE, US);
	}
	see(BRIDGE, US);
	end_capture();
	one = load_in_parts("one.db", 1, PAIRS / 4 + 1);
	same_bytes(one, load_in_parts("more.db", 3, PAIRS / 4 + 1));
	answers(one, "SELECT orig_packets = repeat_packets, orig_packets FROM flow", "1|81920\n");
	agree(load_in_parts("whole.db", 1, 0), one, FLOWS);
}

/* What stands behind it belongs to no part, whoever has begun to read it. */
static void damage_ends_a_capture_whoever_reads_behind_it(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (size_t packet = 0; packet < FRAMES; packet += 7) {
		const char *path = random_capture(&seed), *one;

		capture = fopen(path, "r+b");
		assert_non_null(capture);
		assert_int_equal(fseek(capture, seen_at[packet] + 8, SEEK_SET), 0);
		put_le(0xffffff00, 4);
		end_capture();
		const uint32_t flows = packet % 2 == 0 ? 2 : 0;

		one = load_in_pieces("one.db", 1, 5, flows);
		assert_int_equal(loading_result.damaged, 1);
		for (unsigned workers = 2; workers <= 4; workers++) {
			same_bytes(one, load_in_pieces("more.db", workers, 5, flows));
			assert_int_equal(loading_result.damaged, 1);
		}
		assert_int_equal(loading_result.packets, packet);
		answers(one,
			"SELECT DISTINCT difference, (SELECT count(*) FROM coverage WHERE kind = "
			"'damaged') FROM accounting",
			"0|1\n");
	}
}

static void read_one(struct pcapin *in, struct decode_fragments *fragments)
{
	struct pcapin_packet raw;
	struct packet packet;

	assert_int_equal(pcapin_next(in, &raw, NULL), 1);
	decode_packet(raw.link_type, raw.data, raw.captured_bytes, raw.original_bytes, &packet);
	packet.time_ns = raw.time_ns;
	if (packet.fragment_first || packet.fragment_later)
		decode_fragments_apply(fragments, &packet);
}

/* Else each part would have to be read again: nothing shows it but the time that takes. */
static void a_walk_knows_the_fragments_that_reading_knows(void **state)
{
	struct decode_fragments *fragments = decode_fragments_new();
	struct pcapin_layout layout;
	struct pcapin_place first;
	struct pcapwalk walk;
	struct pcapin *in = NULL;
	uint64_t seed = 3;

	(void)state;
	assert_int_equal(pcapin_open(AT_FDCWD, random_capture(&seed), &in, NULL), 0);
	assert_true(pcapin_layout(in, &layout));
	first = pcapin_where(in);
	assert_int_equal(pcapwalk_init(&walk), 0);
	assert_int_equal(pcapwalk_begin(&walk, &first, NULL), 0);
	for (int i = 0; i < FRAMES; i++) {
		read_one(in, fragments);
		assert_int_equal(pcapwalk_go(&walk, &layout, 1, NULL), PCAPWALK_THERE);
		assert_true(decode_fragments_equal(walk.fragments, fragments));
	}
	assert_false(decode_fragments_equal(fragments, NULL));
	decode_fragments_free(fragments);
	pcapwalk_release(&walk);
	pcapin_close(in);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, loading_begin, loading_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(where_a_capture_is_cut_changes_no_row),
		FACT(where_a_part_is_cut_in_pieces_changes_no_row),
		FACT(workers_change_no_byte_of_pieces),
		FACT(workers_change_no_byte),
		FACT(a_row_of_equal_packets_is_longer_than_anybody_looks_back),
		FACT(damage_ends_a_capture_whoever_reads_behind_it),
		FACT(a_walk_knows_the_fragments_that_reading_knows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
