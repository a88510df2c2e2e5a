/* test_tunnel.c - facts about the conversations that flows carry for others. */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/decode_tunnel.h"
#include "analyze/load.h"
#include "analyze/tunnel.h"
#include "tests/unit/frames.h"
#include "tests/unit/rows.h"
#include "tests/unit/scene.h"

enum { IN_IPV4 = 4, IN_TCP = 6, IN_UDP = 17, IN_GRE = 47, RAW_FILE = 101 };

/* -------------------------------------------------------------- frames -- */

/* Headers that are open; each is closed with the length of all that follows it. */
static uint32_t open_at[2 * TUNNEL_DEPTH + 8];
static uint8_t open_count;

static void open_ip(uint32_t protocol, bool swap, uint8_t host)
{
	const uint8_t ends[2][4] = {{10, 0, 0, host}, {10, 0, 1, host}};

	open_at[open_count++] = frame.length;
	frame_put_ipv4(protocol, 0, 1, 0);
	memcpy(frame.bytes + frame.length - 8, ends[swap], 4);
	memcpy(frame.bytes + frame.length - 4, ends[!swap], 4);
}

static void open_udp(uint32_t from, uint32_t to)
{
	open_at[open_count++] = frame.length | 1u << 31;
	frame_put16(from);
	frame_put16(to);
	frame_put32(0);
}

static void close_all(void)
{
	while (open_count > 0) {
		uint32_t at = open_at[--open_count];

		if (at >> 31)
			frame_set16((at & INT32_MAX) + 4, frame.length - (at & INT32_MAX));
		else
			frame_set16(at + 2, frame.length - at);
	}
}

static void open_gre(uint32_t key)
{
	frame_put32(0x20000800);
	frame_put32(key);
}

static void open_vxlan(uint32_t vni, uint32_t ethertype)
{
	open_udp(50000 + vni, 4789);
	frame_put32(0x08000000);
	frame_put32(vni << 8);
	frame_put_n(2, 12);
	frame_put16(ethertype);
}

static void begin_frame(void)
{
	frame_start(RAW_FILE);
	open_count = 0;
}

/* ---------------------------------------------------- one table, by hand -- */

static struct flow_table flows;
static struct tunnel_table tunnels;
static uint32_t place; /* of the last packet's flow */

static int begin(void **state)
{
	(void)state;
	flow_table_init(&flows, &flow_default_limits);
	tunnel_table_init(&tunnels, &flow_default_limits);
	return 0;
}

static int end(void **state)
{
	(void)state;
	flow_table_release(&flows);
	tunnel_table_release(&tunnels);
	return 0;
}

static const struct flow_carried *take(int64_t ms)
{
	struct packet packet;
	uint32_t ended;
	uint8_t side;

	close_all();
	decode_packet(frame.link_type, frame.bytes, frame.length, frame.length, &packet);
	assert_int_equal(packet.outcome, DECODE_FLOW);
	packet.time_ns = T(ms);
	packet.number = packet.offset_bytes = 1;
	place = flow_table_add(&flows, &packet, &side, &ended);
	assert_true(decode_may_carry(&packet));
	assert_int_equal(tunnel_table_take(&tunnels, &flows.flows[place], place, &packet), 0);
	return &flows.flows[place].carried;
}

static void both_directions_are_one_conversation(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		begin_frame();
		open_ip(IN_GRE, i % 2, 1);
		open_gre(7);
		open_ip(IN_UDP, i % 2, 9);
		open_udp(i % 2 ? 53 : 5353, i % 2 ? 5353 : 53);
		frame_put_n(1, (uint32_t)i);
		assert_int_equal(take(i)->read, i + 1);
	}
	assert_int_equal(flows.count, 1);
	assert_int_equal(flows.flows[0].carried.tunnel, DECODE_TUNNEL_GRE);
	assert_int_equal(tunnels.flows.count, 1);
	assert_int_equal(tunnels.flows.flows[0].count[0].packets, 3);
	assert_int_equal(tunnels.flows.flows[0].count[1].packets, 3);
	assert_int_equal(tunnels.flows.flows[0].count[0].payload_bytes, 0 + 2 + 4);
	assert_int_equal(tunnels.flows.flows[0].first_ns, T(0));
	assert_int_equal(tunnels.flows.flows[0].last_ns, T(5));
	assert_int_equal(tunnel_path_of(&tunnels, 0)->key, 7);
	assert_int_equal(tunnel_path_of(&tunnels, 0)->depth, 1);
	/* The outer one counts what it always did. */
	assert_int_equal(flows.flows[0].count[0].packets, 3);
	assert_int_equal(flows.flows[0].count[0].bytes, 3 * (20 + 8 + 28) + 0 + 2 + 4);
}

static void another_key_flow_or_tuple_is_another_conversation(void **state)
{
	(void)state;
	for (uint8_t i = 0; i < 8; i++) {
		begin_frame();
		open_ip(IN_GRE, false, (uint8_t)(1 + (i & 1)));
		open_gre((i & 2) != 0);
		open_ip(IN_UDP, false, (uint8_t)(1 + ((i & 4) != 0)));
		open_udp(1, 2);
		take(i);
	}
	assert_int_equal(flows.count, 2);
	assert_int_equal(tunnels.flows.count, 8);
	assert_int_equal(tunnels.path_count, 4);
}

static void a_long_silence_ends_one(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		begin_frame();
		open_ip(IN_IPV4, false, 1);
		open_ip(IN_UDP, false, (uint8_t)(i == 1 ? 2 : 3));
		open_udp(1, 2);
		take(i * 100000);
	}
	assert_int_equal(flows.count, 1);
	assert_int_equal(tunnels.flows.count, 3);
}

static void tunnels_in_tunnels_down_to_a_depth(void **state)
{
	const struct flow *in = NULL;

	(void)state;
	begin_frame();
	for (uint8_t i = 0; i < TUNNEL_DEPTH + 3; i++)
		open_ip(IN_IPV4, false, i);
	open_ip(IN_UDP, false, 99);
	open_udp(1, 2);
	assert_int_equal(take(0)->read, 1);
	assert_int_equal(tunnels.flows.count, TUNNEL_DEPTH);
	for (uint32_t i = 0; i < TUNNEL_DEPTH; i++) {
		in = &tunnels.flows.flows[i];
		assert_int_equal(tunnel_path_of(&tunnels, i)->depth, i + 1);
		assert_int_equal(tunnel_path_of(&tunnels, i)->carrier, i > 0 ? i - 1 : 0);
		assert_int_equal(in->carried.tunnel, DECODE_TUNNEL_IP);
		assert_int_equal(in->carried.read, i + 1 < TUNNEL_DEPTH);
	}
	assert_int_equal(in->carried.unreadable, 1);
}

static void what_is_not_shown_is_counted(void **state)
{
	const struct flow_carried *carried;

	(void)state;
	begin_frame();
	open_ip(IN_UDP, false, 1);
	open_vxlan(5, 0x0806);
	frame_put_n(1, 28);
	carried = take(0);
	assert_int_equal(carried->tunnel, DECODE_NO_TUNNEL); /* not yet shown */
	begin_frame();
	open_ip(IN_UDP, false, 1);
	open_vxlan(5, 0x0800);
	open_ip(IN_UDP, false, 1);
	open_udp(1, 2);
	carried = take(1);
	assert_int_equal(carried->tunnel, DECODE_TUNNEL_VXLAN);
	begin_frame();
	open_ip(IN_UDP, false, 1);
	open_udp(50005, 4789);
	frame_put_n('x', 40);
	carried = take(2);
	assert_int_equal(carried->tunnel, DECODE_TUNNEL_VXLAN);
	assert_int_equal(carried->read, 1);
	assert_int_equal(carried->other, 1);
	assert_int_equal(carried->unreadable, 1);
	assert_int_equal(flows.count, 1);
	assert_int_equal(tunnels.flows.count, 1);
}

/* ---------------------------------------------- the whole way, with cuts -- */

#define PACKETS 40
#define ROUNDS	30

static struct {
	uint8_t bytes[400];
	uint32_t length;
	int64_t time_ns;
} packets[PACKETS];

/* Few ends and few keys, so that conversations meet, end and begin anew. */
static void random_inside(uint64_t *seed, bool swap)
{
	static const uint8_t flags[] = {SYN, SYN | ACK, ACK, ACK, ACK, FIN, RST};
	uint8_t host = (uint8_t)scene_random(seed, 2);

	if (scene_random(seed, 4) == 0) {
		open_ip(IN_GRE, swap, host);
		open_gre(scene_random(seed, 2));
	}
	if (scene_random(seed, 3) == 0) {
		open_ip(IN_UDP, swap, host);
		open_udp(swap ? 53 : 5353, swap ? 5353 : 53);
	} else {
		open_ip(IN_TCP, swap, host);
		frame_put_tcp(flags[scene_random(seed, sizeof(flags))]);
		frame_set16(frame.length - 20, swap ? 443 : 40000);
		frame_set16(frame.length - 18, swap ? 40000 : 443);
		frame_set16(frame.length - 14, scene_random(seed, 3) * 100);
	}
	frame_put_n(0xda, scene_random(seed, 3) * 10);
}

static void random_packet(uint64_t *seed)
{
	bool swap = scene_random(seed, 3) == 0;
	uint32_t kind = scene_random(seed, 4);

	begin_frame();
	open_ip(kind == 0 ? IN_IPV4 : kind == 1 ? IN_GRE : IN_UDP, swap, 1);
	if (kind == 1)
		open_gre(scene_random(seed, 2));
	else if (kind > 1)
		open_vxlan(scene_random(seed, 2), kind == 2 ? 0x0800 : 0x0806);
	if (kind == 3)
		frame_put_n(1, 28);
	else
		random_inside(seed, swap);
	close_all();
	if (kind < 2 && scene_random(seed, 8) == 0)
		frame_set16(6, 185); /* a later fragment */
}

static void random_packets(uint64_t *seed)
{
	int64_t now_ms = 0;

	for (int i = 0; i < PACKETS; i++) {
		random_packet(seed);
		assert_in_range(frame.length, 0, sizeof(packets[i].bytes));
		memcpy(packets[i].bytes, frame.bytes, frame.length);
		packets[i].length = frame.length;
		now_ms += scene_random(seed, 40);
		if (scene_random(seed, 6) == 0)
			now_ms += scene_random(seed, 200) * 1000;
		packets[i].time_ns = T(now_ms);
	}
}

static void write_pcap(const char *path, int from, int until)
{
	const uint32_t header[] = {0xa1b23c4d, 2 | 4u << 16, 0, 0, 262144, RAW_FILE};
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(header, sizeof(header), 1, file), 1);
	for (int i = from; i < until; i++) {
		const uint32_t record[] = {(uint32_t)(packets[i].time_ns / 1000000000),
					   (uint32_t)(packets[i].time_ns % 1000000000),
					   packets[i].length, packets[i].length};

		assert_int_equal(fwrite(record, sizeof(record), 1, file), 1);
		assert_int_equal(fwrite(packets[i].bytes, packets[i].length, 1, file), 1);
	}
	assert_int_equal(fclose(file), 0);
}

/* A segment with nothing in its snapshots but that they are of the same recording. */
static void write_segment(const char *directory, int number, int from, int until)
{
	char name[200], text[16];

	snprintf(text, sizeof(text), "%d", number);
	scene_begin();
	scene_meta("recording", "0123456789abcdef0123456789abcdef");
	scene_meta("boot_id", "f3d4e3d1");
	scene_meta("segment", text);
	scene_frame("key", number, number + 1);
	snprintf(name, sizeof(name), "%s/%06d-20261121T2030%02d.000000000Z.snap.gz", directory,
		 number, number);
	scene_write_snap(name);
	memcpy(strstr(name, ".snap.gz"), ".pcap", sizeof(".pcap"));
	write_pcap(name, from, until);
}

static const char *load(const char *database, unsigned workers, const char *pattern)
{
	static char path[300];
	char paths[1][300], *pointers[1] = {paths[0]};
	struct load_options options = {
		.database = path, .workers = workers, .limits = flow_default_limits};
	struct load_result result;
	struct error error = ERROR_NONE;

	snprintf(path, sizeof(path), "%s/%s", rows_directory, database);
	snprintf(paths[0], sizeof(paths[0]), "%s/%s", rows_directory, pattern);
	if (load_run(pointers, 1, &options, &result, &error) != 0)
		fail_msg("%s: %s", error.path, error.message);
	return path;
}

/* All but where in the files they begin. */
static char *dump(const char *path)
{
	static const char *const selects[] = {
		"SELECT tunnel_id, flow_id, outer_tunnel_id, depth, tunnel_type, tunnel_key, "
		"protocol, orig_address, orig_port, resp_address, resp_port, start_ns - "
		"1795290600000000000, end_ns - start_ns, orig_packets, orig_bytes, "
		"orig_payload_bytes, resp_packets, resp_bytes, resp_payload_bytes, conn_state, "
		"history, carries, carried_packets, carried_other_packets, "
		"carried_unreadable_packets FROM tunnel ORDER BY tunnel_id",
		"SELECT flow_id, protocol, orig_packets, resp_packets, carries, carried_packets, "
		"carried_other_packets, carried_unreadable_packets FROM flow ORDER BY flow_id",
	};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	for (size_t s = 0; s < sizeof(selects) / sizeof(selects[0]); s++) {
		sqlite3_stmt *statement = NULL;

		if (sqlite3_prepare_v2(db, selects[s], -1, &statement, NULL) != SQLITE_OK)
			fail_msg("%s", sqlite3_errmsg(db));
		while (sqlite3_step(statement) == SQLITE_ROW) {
			for (int i = 0; i < sqlite3_column_count(statement); i++)
				fprintf(out, "%s|",
					(const char *)sqlite3_column_text(statement, i));
			fputc('\n', out);
		}
		sqlite3_finalize(statement);
	}
	sqlite3_close(db);
	fclose(out);
	return text;
}

static void agree(const char *wanted, const char *path, const char *how)
{
	char *got = dump(path);

	if (strcmp(got, wanted) != 0)
		fail_msg("%s\nwanted:\n%sgot:\n%s", how, wanted, got);
	free(got);
}

static int tear_down(void **state)
{
	scene_free();
	return rows_tear_down(state);
}

static void it_does_not_matter_where_the_evidence_was_cut(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		int first = (int)scene_random(&seed, PACKETS / 2);
		int second = first + (int)scene_random(&seed, PACKETS / 2);
		char *wanted;

		random_packets(&seed);
		write_segment(rows_directory, 1, 0, PACKETS);
		wanted = dump(load("whole.db", 1, ""));
		assert_non_null(strstr(wanted, "Tunnel::"));
		rows_entries(true);
		write_segment(rows_directory, 1, 0, first);
		write_segment(rows_directory, 2, first, second);
		write_segment(rows_directory, 3, second, PACKETS);
		agree(wanted, load("three.db", 3, ""), "in three segments, by three workers");
		load("steps.db", 1, "000001-20261121T203001.000000000Z.pcap");
		load("steps.db", 1, "000002-20261121T203002.000000000Z.pcap");
		agree(wanted, load("steps.db", 1, ""), "one segment after the other");
		free(wanted);
		rows_entries(true);
	}
}

static void no_outer_packet_counts_twice(void **state)
{
	uint64_t seed = 7;
	const char *path;

	(void)state;
	random_packets(&seed);
	write_segment(rows_directory, 1, 0, PACKETS);
	path = load("t.db", 1, "");
	assert_string_equal(rows_ask(path, "SELECT packets || ' ' || flow_packets || ' ' || "
					   "difference FROM accounting WHERE scope = 'total'"),
			    "40 40 0");
	/* What tunnels say of their own packets is all of them. */
	assert_string_equal(rows_ask(path,
				     "SELECT count(*) > 0 AND min(orig_packets + resp_packets "
				     "= carried_packets + carried_other_packets + "
				     "carried_unreadable_packets) FROM flow WHERE carries "
				     "IS NOT NULL"),
			    "1");
	assert_string_equal(rows_ask(path,
				     "SELECT count(*) FROM flow f WHERE carried_packets IS NOT "
				     "(SELECT sum(orig_packets + resp_packets) FROM tunnel t "
				     "WHERE t.flow_id = f.flow_id AND depth = 1) AND "
				     "carried_packets > 0"),
			    "0");
	assert_string_equal(rows_ask(path,
				     "SELECT count(*) FROM tunnel o WHERE carried_packets IS "
				     "NOT (SELECT sum(orig_packets + resp_packets) FROM tunnel "
				     "t WHERE t.outer_tunnel_id = o.tunnel_id)"),
			    "0");
}

#define FACT(test)  cmocka_unit_test_setup_teardown(test, begin, end)
#define WHOLE(test) cmocka_unit_test_setup_teardown(test, rows_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(both_directions_are_one_conversation),
		FACT(another_key_flow_or_tuple_is_another_conversation),
		FACT(a_long_silence_ends_one),
		FACT(tunnels_in_tunnels_down_to_a_depth),
		FACT(what_is_not_shown_is_counted),
		WHOLE(it_does_not_matter_where_the_evidence_was_cut),
		WHOLE(no_outer_packet_counts_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
