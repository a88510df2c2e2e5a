/* test_join.c - facts about the whole way: from files of evidence to rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "analyze/replay.h"
#include "tests/unit/loading.h"

/* ------------------------------------------------------------------ world -- */

/* What was read when. */
static const struct {
	const char *kind;
	int64_t ms;
} readings[] = {{"key", 0},	{"poll", 1000}, {"poll", 2000}, {"poll", 3000}, {"event", 3400},
		{"poll", 4000}, {"poll", 5000}, {"poll", 6000}, {"poll", 7000}, {"poll", 8000}};
#define READINGS (int)(sizeof(readings) / sizeof(readings[0]))
#define EVER	 99

/* A record is in the state from one reading to another. */
static const struct {
	int from, to;
	const char *kind, *rest;
} facts[] = {
	{0, EVER, "address", "1 1 127.0.0.1 8"},
	{0, EVER, "address", "1 2 " HOST " 24"},
	/* sighted within its segment */
	{1, 3, "socket", "1 tcp " HOST " 40000 " PEER " 80 1 1000 500 0 0"},
	{1, 3, "holder", "500 10 500 10 5"},
	{0, EVER, "process", "10 500 1 1000 curl /bin/curl curl / 1 \\N \\N"},
	/* begun before a rotation, sighted in the next segment only */
	{5, EVER, "socket", "1 tcp " HOST " 40001 " PEER " 80 1 1000 501 0 0"},
	{5, EVER, "holder", "501 11 500 11 5"},
	{0, EVER, "process", "11 500 1 1000 wget /bin/wget wget / 1 \\N \\N"},
	/* last sighted in a segment before its last packets */
	{5, 6, "socket", "1 tcp " HOST " 40002 " PEER " 80 1 1000 502 0 0"},
	{5, 6, "holder", "502 12 500 12 5"},
	{6, EVER, "socket", "1 tcp " HOST " 40002 " PEER " 80 6 0 0 0 0"},
	{0, EVER, "process", "12 500 1 1000 git /bin/git git / 1 \\N \\N"},
	/* a server over UDP, and one with a handed-out connection */
	{0, EVER, "socket", "1 udp 0.0.0.0 53 0.0.0.0 0 7 0 503 0 0"},
	{0, EVER, "holder", "503 13 500 13 5"},
	{0, EVER, "process", "13 500 1 0 dns /bin/dns dns / 1 \\N \\N"},
	{0, EVER, "socket", "1 tcp 0.0.0.0 22 0.0.0.0 0 10 0 504 0 0"},
	{0, EVER, "holder", "504 14 500 14 3"},
	{0, EVER, "process", "14 500 1 0 sshd /bin/sshd sshd / 1 \\N \\N"},
	{4, EVER, "socket", "1 tcp " HOST " 22 " PEER " 50000 1 0 505 0 0"},
	{4, EVER, "holder", "505 15 100338 15 4"}, /* started at 3380 ms */
	{4, EVER, "process", "15 100338 14 0 sshd /bin/sshd sshd / 1 \\N \\N"},
	/* both ends here */
	{1, EVER, "socket", "1 tcp 127.0.0.1 41000 127.0.0.1 6379 1 1000 506 0 0"},
	{1, EVER, "holder", "506 10 500 10 6"},
	{1, EVER, "socket", "1 tcp 127.0.0.1 6379 127.0.0.1 41000 1 0 507 0 0"},
	{1, EVER, "holder", "507 16 500 16 6"},
	{0, EVER, "process", "16 500 1 0 redis /bin/redis redis / 1 \\N \\N"},
};

static const struct scene_packet world[] = {
	{.time_ns = T(100)}, /* ARP */
	UDP(200, PEER, 9999, HOST, 53),
	UDP(201, HOST, 53, PEER, 9999),
	UDP(300, PEER, 5353, "224.0.0.251", 5353),
	UDP(310, "192.0.2.1", 1, "192.0.2.2", 2),
	HANDSHAKE(400, 40000),
	LOCAL(500, 41000, 6379, SYN, 1, 0, 0),
	LOCAL(501, 6379, 41000, SYN | ACK, 5, 2, 0),
	LOCAL(502, 41000, 6379, ACK, 2, 6, 7),
	OUT(1100, 40000, ACK, 101, 901, 50),
	IN(1900, 40000, ACK, 901, 151, 500),
	OUT(2000, 40000, FIN, 151, 1401, 0),
	IN(2001, 40000, FIN, 1401, 152, 0),
	OUT(2002, 40000, ACK, 152, 1402, 0),
	OUT(2050, 40005, SYN, 100, 0, 0), /* refused */
	IN(2051, 40005, RST | ACK, 0, 101, 0),
	TCP(2060, PEER, 50001, HOST, 81, SYN, 100, 0, 0), /* refused here */
	TCP(2061, HOST, 81, PEER, 50001, RST | ACK, 0, 101, 0),
	HANDSHAKE(2450, 40001),
	/* the first rotation, at 2500 */
	TCP(3390, PEER, 50000, HOST, 22, SYN, 100, 0, 0),
	TCP(3391, HOST, 22, PEER, 50000, SYN | ACK, 900, 101, 0),
	TCP(3500, HOST, 22, PEER, 50000, ACK, 901, 101, 40),
	HANDSHAKE(3600, 40002),
	LOCAL(3700, 41000, 6379, ACK, 9, 6, 70),
	IN(4500, 40001, ACK, 901, 101, 300),
	OUT(4600, 40002, FIN, 101, 901, 0),
	IN(4601, 40002, FIN, 901, 102, 0),
	/* the second rotation, at 5500 */
	OUT(6200, 40002, ACK, 102, 902, 0),
	OUT(6300, 40001, ACK, 101, 1201, 10),
	LOCAL(6400, 6379, 41000, ACK, 6, 79, 700),
	UDP(7700, PEER, 9999, HOST, 53),
	{.time_ns = T(7800)}, /* ARP */
};
#define WORLD (sizeof(world) / sizeof(world[0]))

/* The readings from one to another, the first as the state that it left. */
static void write_readings(int first, int last)
{
	for (int now = first, before = -1; now <= last; before = now++) {
		scene_sequence = (uint64_t)now + 1;
		scene_frame(now == first && first > 0 ? "restated" : readings[now].kind,
			    readings[now].ms, readings[now].ms + 1);
		for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
			bool had = before >= 0 && facts[i].from <= before && before < facts[i].to;
			bool has = facts[i].from <= now && now < facts[i].to;

			if (has != had)
				scene_say("%s %c %s", facts[i].kind, has ? '+' : '-',
					  facts[i].rest);
		}
	}
}

static void write_packets(const char *directory, unsigned number, int64_t from_ms, int64_t to_ms)
{
	static struct scene_packet some[WORLD];
	char name[300];
	size_t count = 0;

	for (size_t i = 0; i < WORLD; i++) {
		if (world[i].time_ns >= T(from_ms) && world[i].time_ns < T(to_ms))
			some[count++] = world[i];
	}
	snprintf(name, sizeof(name), "%s.pcap", loading_stem(directory, number));
	scene_write_pcap(name, some, count);
}

static void write_snap(const char *directory, unsigned number, int first, int last)
{
	char name[300];

	loading_header(number);
	write_readings(first, last);
	snprintf(name, sizeof(name), "%s.snap.gz", loading_stem(directory, number));
	scene_write_snap(name);
}

/* Both neighbours of a rotation hold the readings on both sides of it. */
static void make_world(void)
{
	loading_directory("one");
	write_snap("one", 1, 0, 9);
	write_packets("one", 1, 0, 99999);
	loading_directory("three");
	write_snap("three", 1, 0, 3);
	write_packets("three", 1, 0, 2500);
	write_snap("three", 2, 2, 7);
	write_packets("three", 2, 2500, 5500);
	write_snap("three", 3, 6, 9);
	write_packets("three", 3, 5500, 99999);
}

#define MORE                                                                                       \
	"SELECT f.orig_port, c.\"end\", c.start_ns, c.end_ns, c.shared_by, c.sent_bytes, "         \
	"c.sent_payload_bytes, c.received_bytes, s.inode FROM connection c "                       \
	"JOIN flow f USING (flow_id) LEFT JOIN socket s USING (socket_id) "                        \
	"ORDER BY f.start_ns, c.\"end\", c.start_ns"
#define FLOWS                                                                                      \
	"SELECT protocol, orig_address, orig_port, resp_port, start_ns, end_ns, orig_packets, "    \
	"orig_bytes, resp_packets, resp_payload_bytes, conn_state, history, community_id "         \
	"FROM flow ORDER BY start_ns"
#define TRAFFIC                                                                                    \
	"SELECT f.orig_port, c.\"end\", p.pid, t.bucket, t.sent_packets, t.sent_bytes, "           \
	"t.received_packets, t.received_bytes FROM traffic t JOIN connection c "                   \
	"USING (connection_id) JOIN flow f USING (flow_id) LEFT JOIN process p USING "             \
	"(process_id) ORDER BY f.start_ns, c.\"end\", p.pid, t.bucket"

/* ------------------------------------------------------------------ facts -- */

static void every_packet_has_its_owner_or_its_reason(void **state)
{
	const char *db;

	(void)state;
	make_world();
	db = LOAD("t.db", "one");
	answers(db, CONNECTIONS,
		"udp|9999|53|resp|13|wildcard||0|0|0|0|3|0|1|2\n"
		"udp|5353|5353|resp|||multicast|0|0|0|0|0|0|0|1\n"
		"udp|1|2|orig|||forwarded|0|0|0|0|0|0|1|0\n"
		"tcp|40000|80|orig|10|exact||5|3|0|0|0|0|5|3\n"
		"tcp|41000|6379|orig|10|exact||2|3|0|0|0|0|3|2\n"
		"tcp|41000|6379|resp|16|exact||2|3|0|0|0|0|2|3\n"
		"tcp|40005|80|orig|||gap|0|0|0|0|0|0|1|1\n"
		"tcp|50001|81|resp|||no-socket|0|0|0|0|0|0|1|1\n"
		"tcp|40001|80|orig|11|exact||2|3|0|0|0|0|3|2\n"
		"tcp|50000|22|resp|||ambiguous|0|0|0|0|0|0|1|1\n"
		"tcp|50000|22|resp|15|exact||1|0|0|0|0|0|1|0\n"
		"tcp|40002|80|orig|12|exact||2|3|1|0|0|0|4|2\n");
	assert_int_equal(loading_result.segments, 1);
	assert_int_equal(loading_result.packets, WORLD);
	assert_int_equal(loading_result.flow_packets, WORLD - 2);
	answers(db, "SELECT DISTINCT difference FROM accounting", "0\n");
	answers(db, "SELECT reason, packets FROM other", "arp|2\n");
	answers(db, "SELECT count(*) FROM snapshot", "10\n");
	answers(db, "SELECT conn_state FROM flow WHERE orig_port IN (40000, 40005)", "SF\nREJ\n");
	assert_int_equal(loading_reports, 0);
}

static void all_that_is_counted_adds_up(void **state)
{
	const char *db;

	(void)state;
	make_world();
	db = LOAD("t.db", "three");
	answers(db, "SELECT DISTINCT difference FROM accounting", "0\n");
	answers(db,
		"SELECT count(*) FROM connection c WHERE rule IS NOT NULL AND exact_packets + "
		"ahead_packets + behind_packets + bound_packets + wildcard_packets + "
		"listener_packets + quoted_packets <> sent_packets + received_packets",
		"0\n");
	answers(db,
		"SELECT count(*) FROM connection c WHERE sent_packets <> (SELECT sum(sent_packets) "
		"FROM traffic t WHERE t.connection_id = c.connection_id) OR received_bytes <> "
		"(SELECT sum(received_bytes) FROM traffic t WHERE t.connection_id = "
		"c.connection_id)",
		"0\n");
	answers(db,
		"SELECT count(*) FROM traffic WHERE connection_id NOT IN "
		"(SELECT connection_id FROM connection)",
		"0\n");
}

static void a_rotation_changes_nothing(void **state)
{
	const char *one, *three;

	(void)state;
	make_world();
	one = LOAD("one.db", "one");
	three = LOAD("three.db", "three");
	assert_int_equal(loading_result.segments, 3);
	agree(one, three, CONNECTIONS);
	agree(one, three, FLOWS);
	agree(one, three, MORE);
	agree(one, three, TRAFFIC);
	agree(one, three,
	      "SELECT pid, start_ticks, image, comm, first_seen_ns, last_seen_ns FROM "
	      "process ORDER BY pid");
	agree(one, three,
	      "SELECT inode, local_port, first_seen_ns, last_seen_ns FROM socket "
	      "ORDER BY inode");
	agree(one, three, "SELECT sequence, kind, begin_ns FROM snapshot ORDER BY sequence");
	agree(one, three,
	      "SELECT s.inode, p.pid, h.fd, h.first_seen_ns, h.last_seen_ns FROM "
	      "holder h JOIN socket s USING (socket_id) JOIN process p USING "
	      "(process_id) ORDER BY 1, 2, 3");
}

static void a_rotation_does_not_change_distances(void **state)
{
	const char *one;

	(void)state;
	make_world();
	one = LOAD("one.db", "one");
	agree(one, LOAD("three.db", "three"),
	      "SELECT f.orig_port, c.\"end\", c.distance_ns FROM connection c JOIN flow f USING "
	      "(flow_id) ORDER BY f.start_ns, c.\"end\", c.start_ns");
}

static void workers_and_order_change_no_byte(void **state)
{
	const char *one, *four;

	(void)state;
	make_world();
	one = LOAD("a.db", "three");
	four = loading_run("b.db", 4, false, (const char *const[]){"three", NULL});
	same_bytes(one, four);
	four = loading_run("c.db", 2, false,
			   (const char *const[]){"three/000003-20261121T203003.000000000Z.pcap",
						 "three/000001-20261121T203001.000000000Z.snap.gz",
						 "three/000002-20261121T203002.000000000Z.pcap",
						 "three", NULL});
	same_bytes(one, four);
}

static void loading_piece_by_piece_gives_the_same_rows(void **state)
{
	const char *whole, *pieces;

	(void)state;
	make_world();
	whole = loading_run("a.db", 2, true, (const char *const[]){"three", NULL});
	loading_run("b.db", 1, true,
		    (const char *const[]){"three/000001-20261121T203001.000000000Z.pcap", NULL});
	loading_run("b.db", 1, true,
		    (const char *const[]){"three/000002-20261121T203002.000000000Z.snap.gz", NULL});
	assert_int_equal(loading_result.segments, 1);
	pieces = loading_run("b.db", 1, true, (const char *const[]){"three", NULL});
	assert_int_equal(loading_result.segments, 1);
	assert_int_equal(loading_result.skipped, 2);
	same_rows(whole, pieces);
	loading_run("b.db", 1, true, (const char *const[]){"three", NULL});
	assert_true(loading_result.nothing_new);
	same_rows(whole, pieces);
}

static void a_capture_without_snapshots_is_accounted_for(void **state)
{
	const char *db;

	(void)state;
	loading_directory("bare");
	write_packets("bare", 1, 0, 99999);
	db = LOAD("t.db", "bare");
	assert_int_equal(loading_result.packets, WORLD);
	answers(db, "SELECT DISTINCT difference FROM accounting", "0\n");
	answers(db, "SELECT count(*) FROM connection WHERE process_id IS NOT NULL", "0\n");
	answers(db, "SELECT kind FROM coverage", "no-snapshot\n");
}

static void snapshots_without_a_capture_are_kept(void **state)
{
	const char *db;

	(void)state;
	loading_directory("snaps");
	write_snap("snaps", 1, 0, 9);
	db = LOAD("t.db", "snaps");
	answers(db, "SELECT count(*) FROM snapshot", "10\n");
	answers(db, "SELECT count(*) FROM process", "7\n");
	answers(db, "SELECT packets, pcap_name FROM segment", "0|\n");
	answers(db, "SELECT count(*) FROM flow", "0\n");
}

static void packet_rows_join_up(void **state)
{
	const char *db;

	(void)state;
	make_world();
	db = loading_run("t.db", 2, true, (const char *const[]){"three", NULL});
	answers(db, "SELECT count(DISTINCT segment_id * 1000 + number) FROM packet", "36\n");
	answers(db,
		"SELECT count(*) FROM packet p LEFT JOIN connection c USING (connection_id) "
		"WHERE c.flow_id IS NOT p.flow_id",
		"0\n");
	answers(db, "SELECT count(*) FROM packet WHERE (rule_code IS NULL) = (reason_code IS NULL)",
		"0\n");
	answers(db,
		"SELECT sum(p.bytes) = (SELECT sum(orig_bytes + resp_bytes) FROM flow) FROM packet "
		"p",
		"1\n");
	answers(db,
		"SELECT count(*) FROM flow f WHERE orig_packets <> (SELECT count(*) FROM "
		"packet p WHERE p.flow_id = f.flow_id AND direction = 0)",
		"0\n");
}

/* An owned connection has no packets with a reason, and as many by rule as it says. */
static void packet_rows_have_the_rules_of_their_connection(void **state)
{
	const char *db;

	(void)state;
	make_world();
	db = loading_run("t.db", 1, true, (const char *const[]){"three", NULL});
	answers(db,
		"SELECT f.orig_port, p.number, u.rule, r.reason FROM packet p JOIN connection c "
		"USING (connection_id) JOIN flow f ON f.flow_id = c.flow_id LEFT JOIN rule u "
		"USING (rule_code) LEFT JOIN reason r USING (reason_code) WHERE "
		"(c.rule IS NULL) <> (u.rule IS NULL)",
		"");
}

static void a_copy_under_another_name_is_loaded_once(void **state)
{
	const char *db;

	(void)state;
	make_world();
	loading_directory("copy");
	write_snap("copy", 1, 0, 9);
	write_packets("copy", 1, 0, 99999);
	assert_int_equal(rename(loading_path("copy/000001-20261121T203001.000000000Z.pcap"),
				loading_path("copy/000009-20261121T203009.000000000Z.pcap")),
			 0);
	assert_int_equal(rename(loading_path("copy/000001-20261121T203001.000000000Z.snap.gz"),
				loading_path("copy/000009-20261121T203009.000000000Z.snap.gz")),
			 0);
	db = LOAD("t.db", "one", "copy");
	assert_int_equal(loading_result.segments, 1);
	assert_int_equal(loading_result.skipped, 1);
	answers(db, "SELECT sum(packets) FROM segment", "38\n");
	LOAD("t.db", "copy");
	assert_true(loading_result.nothing_new);
}

static void a_torn_capture_and_torn_snapshots_keep_what_precedes(void **state)
{
	const char *db;
	struct stat st;

	(void)state;
	make_world();
	assert_int_equal(stat(loading_path("one/000001-20261121T203001.000000000Z.pcap"), &st), 0);
	assert_int_equal(truncate(loading_path("one/000001-20261121T203001.000000000Z.pcap"),
				  st.st_size - 1),
			 0);
	assert_int_equal(stat(loading_path("one/000001-20261121T203001.000000000Z.snap.gz"), &st),
			 0);
	assert_int_equal(truncate(loading_path("one/000001-20261121T203001.000000000Z.snap.gz"),
				  st.st_size - 40),
			 0);
	db = LOAD("t.db", "one");
	assert_int_equal(loading_result.damaged, 1);
	assert_int_equal(loading_reports, 2);
	answers(db, "SELECT packets, state FROM segment", "37|damaged\n");
	answers(db, "SELECT DISTINCT difference FROM accounting", "0\n");
	answers(db, "SELECT kind FROM coverage WHERE kind IN ('torn', 'damaged')",
		"torn\ndamaged\n");
}

/* ----------------------------------------------------------- small worlds -- */

/* Within one segment the SYN in between is seen. */
static void the_next_connection_does_not_own_the_one_before(void **state)
{
	const struct scene_packet packets[] = {
		HANDSHAKE(2100, 40000), OUT(2200, 40000, RST, 101, 0, 0),
		OUT(2600, 40000, SYN, 7000, 0, 0), IN(2601, 40000, SYN | ACK, 8000, 7001, 0)};
	const char *db;

	(void)state;
	loading_directory("reuse");
	loading_header(1);
	scene_frame("key", 2000, 2001);
	loading_addresses();
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	loading_write("reuse", 1, packets, 6);
	db = LOAD("t.db", "reuse");
	answers(db,
		"SELECT f.conn_state, p.pid, c.rule, c.reason FROM connection c JOIN flow f "
		"USING (flow_id) LEFT JOIN process p USING (process_id) ORDER BY f.start_ns",
		"RSTO|||gap\nS1|11|ahead|\n");
}

/* The listener went away between two readings: the kernel itself refused. */
static void what_was_refused_is_no_listeners(void **state)
{
	const struct scene_packet packets[] = {
		TCP(2500, PEER, 50001, HOST, 80, SYN, 100, 0, 0),
		TCP(2501, HOST, 80, PEER, 50001, RST | ACK, 0, 101, 0),
	};

	(void)state;
	loading_directory("refused");
	loading_header(1);
	scene_frame("key", 2000, 2001);
	loading_addresses();
	scene_process('+', 10, OLD, "nginx");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 500);
	scene_holder('+', 500, 10, OLD, 5);
	scene_frame("poll", 3000, 3001);
	scene_socket('-', "tcp 0.0.0.0 80 0.0.0.0 0 10", 500);
	scene_holder('-', 500, 10, OLD, 5);
	loading_write("refused", 1, packets, 2);
	answers(LOAD("t.db", "refused"), CONNECTIONS,
		"tcp|50001|80|resp|||no-socket|0|0|0|0|0|0|1|1\n");
}

#define UDP_OUT(ms)                                                                                \
	{                                                                                          \
		.time_ns = T(ms), .from = HOST, .from_port = 40000, .to = PEER, .to_port = 53,     \
		.protocol = 17, .payload_bytes = 10                                                \
	}
#define UDP_IN(ms)                                                                                 \
	{                                                                                          \
		.time_ns = T(ms), .from = PEER, .from_port = 53, .to = HOST, .to_port = 40000,     \
		.protocol = 17, .payload_bytes = 20                                                \
	}

/* After the last reading that had the socket: the answer to what it sent is its
 * own; what is sent then may be another's, and so may be the answer to that. */
static void an_answer_belongs_to_the_socket_that_asked(void **state)
{
	const struct scene_packet packets[] = {UDP_OUT(1500), UDP_IN(2500), UDP_OUT(2600),
					       UDP_IN(2700)};

	(void)state;
	loading_directory("answer");
	loading_header(1);
	scene_frame("key", 0, 1);
	loading_addresses();
	scene_process('+', 11, OLD, "dig");
	scene_frame("poll", 1000, 1001);
	scene_socket('+', "udp " HOST " 40000 " PEER " 53 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_socket('-', "udp " HOST " 40000 " PEER " 53 1", 500);
	scene_holder('-', 500, 11, OLD, 5);
	scene_frame("poll", 4000, 4001);
	loading_write("answer", 1, packets, 4);
	answers(LOAD("answer.db", "answer"), CONNECTIONS,
		"udp|40000|53|orig|11|exact||1|0|1|0|0|0|1|1\n"
		"udp|40000|53|orig|||gap|0|0|0|0|0|0|1|1\n");
}

#define PING(ms, type, from_host, to_host, ident, payload)                                         \
	{                                                                                          \
		.time_ns = T(ms), .from = from_host, .from_port = ident, .to = to_host,            \
		.protocol = 1, .flags = type, .payload_bytes = payload                             \
	}

/* Two ping one host; each has its own ident, and so what comes for it. */
static void an_echo_comes_back_to_who_sent_it(void **state)
{
	static const char end[] =
		"use ! 1 1 0.0.0.0 0 " PEER " 0 0 %lld send %lld 0 %u \\N %u 500 %u";
	const struct scene_packet packets[] = {
		PING(1100, 8, HOST, PEER, 7, 56),  PING(1102, 8, HOST, PEER, 8, 100),
		PING(1104, 0, PEER, HOST, 8, 100), PING(1105, 0, PEER, HOST, 7, 56),
		PING(1700, 0, PEER, HOST, 8, 100), /* of one that is gone by then */
	};

	(void)state;
	loading_directory("echo");
	loading_header(1);
	scene_frame("key", 0, 1);
	loading_addresses();
	scene_process('+', 11, OLD, "ping");
	scene_process('+', 12, OLD, "fping");
	scene_frame("event", 1090, 1200);
	for (unsigned i = 0; i < 2; i++) {
		scene_use("1 0.0.0.0 0 " PEER " 0", SCENE_NEVER, "route", 1099 + i, SCENE_NEVER,
			  11 + i, OLD);
		scene_say(end, (long long)T(1099 + i), (long long)T(1103), i ? 108u : 64u, 11 + i,
			  11 + i);
	}
	scene_frame("event", 1500, 1510);
	scene_say("process - 12 500 1 1000 fping /bin/fping fping / 1 0 %lld", (long long)T(1505));
	scene_frame("rotate", 2000, 2001);
	loading_write("echo", 1, packets, 5);
	answers(LOAD("echo.db", "echo"),
		"SELECT pid, rule, reason, sent_packets, received_packets FROM connections "
		"WHERE direction = 'outbound' ORDER BY pid",
		"||no-socket|0|1\n11|quoted||1|1\n12|quoted||1|1\n");
}

/* Data from both sides, and beyond a hole: each could follow a FIN from before the
 * capture. Nobody sent one, so it is one conversation, with one row for its end. */
static void a_conversation_that_could_have_ended_before_is_one(void **state)
{
	const struct scene_packet packets[] = {
		OUT(2450, 40000, ACK, 101, 901, 5),  IN(2460, 40000, ACK, 901, 106, 5),
		OUT(2470, 40000, ACK, 106, 906, 5),  OUT(2480, 40000, ACK, 500, 906, 5),
		IN(2490, 40000, ACK, 906, 505, 100),
	};
	const char *db;

	(void)state;
	loading_directory("one");
	loading_header(1);
	scene_frame("key", 2000, 2001);
	loading_addresses();
	scene_process('+', 11, OLD, "old");
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 3000, 3001);
	loading_write("one", 1, packets, 5);
	db = LOAD("one.db", "one");
	answers(db, CONNECTIONS, "tcp|40000|80|orig|11|exact||5|0|0|0|0|0|3|2\n");
	answers(db, "SELECT count(*), sum(orig_packets), sum(resp_packets) FROM flow", "1|3|2\n");
}

/* Who reads them, and whether, is seen at no place of the stream. */
static void after_urgent_bytes_places_tell_no_receiver(void **state)
{
	static const char turn[] =
		"use ! 1 6 " HOST " 40000 " PEER " 80 0 %lld %s %lld %lld 0 %u %u 500 %u";
	const struct scene_packet packets[] = {
		HANDSHAKE(2100, 40000), IN(2200, 40000, ACK, 901, 101, 10),
		IN(2300, 40000, ACK | 0x20u, 911, 101, 1), IN(2400, 40000, ACK, 912, 101, 10)};
	const char *db;

	(void)state;
	loading_directory("urgent");
	loading_header(1);
	scene_frame("key", 2000, 2001);
	loading_addresses();
	scene_frame("event", 2090, 2360);
	scene_process('!', 10, OLD, "front");
	scene_process('!', 11, OLD, "back");
	scene_say(turn, (long long)T(2099), "connect", (long long)T(2099), 0LL, 0, 10, 10);
	scene_say(turn, (long long)T(2099), "receive", (long long)T(2350), (long long)T(2250), 10,
		  11, 11);
	scene_frame("rotate", 3000, 3001);
	loading_write("urgent", 1, packets, 6);
	db = LOAD("t.db", "urgent");
	answers(db,
		"SELECT p.pid, c.reason, c.received_payload_bytes FROM connection c "
		"LEFT JOIN process p USING (process_id) WHERE received_payload_bytes > 0 "
		"ORDER BY c.start_ns",
		"10||10\n|ambiguous|11\n");
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, loading_begin, loading_end)

static void records_of_a_later_version_are_told(void **state)
{
	const struct scene_packet packets[] = {HANDSHAKE(100, 40000)};
	const char *db;

	(void)state;
	loading_directory("later");
	loading_header(1);
	scene_frame("key", 0, 1);
	loading_addresses();
	scene_say("quic + 1");
	scene_say("quic + 2");
	scene_frame("poll", 1000, 1001);
	loading_write("later", 1, packets, 3);
	db = LOAD("t.db", "later");
	answers(db, "SELECT count, subject FROM coverage WHERE kind = 'unknown-records'",
		"2|000001-20261121T203001.000000000Z.snap.gz\n");
	assert_int_equal(loading_result.damaged, 0);
}

/* More packets than a part takes, each of which holds one byte. */
static void what_is_read_of_a_large_capture_is_told_on_the_way(void **state)
{
	static const uint8_t header[24] = {0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, [18] = 4, [20] = 1};
	static const uint8_t record[17] = {[8] = 1, [12] = 1};
	const uint64_t half = sizeof(header) + REPLAY_PART_PACKETS * sizeof(record);
	FILE *file = fopen(loading_path("large.pcap"), "wb");

	(void)state;
	assert_non_null(file);
	assert_int_equal(fwrite(header, sizeof(header), 1, file), 1);
	for (uint64_t i = 0; i <= REPLAY_PART_PACKETS; i++)
		assert_int_equal(fwrite(record, sizeof(record), 1, file), 1);
	assert_int_equal(fclose(file), 0);
	LOAD("large.db", "large.pcap");
	assert_int_equal(loading_result.packets, REPLAY_PART_PACKETS + 1);
	assert_int_equal(loading_progress_count, 2);
	assert_int_equal(loading_progress[0], half);
	assert_int_equal(loading_progress[1], half + sizeof(record));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_conversation_that_could_have_ended_before_is_one),
		FACT(after_urgent_bytes_places_tell_no_receiver),
		FACT(every_packet_has_its_owner_or_its_reason),
		FACT(all_that_is_counted_adds_up),
		FACT(a_rotation_changes_nothing),
		FACT(a_rotation_does_not_change_distances),
		FACT(workers_and_order_change_no_byte),
		FACT(loading_piece_by_piece_gives_the_same_rows),
		FACT(a_capture_without_snapshots_is_accounted_for),
		FACT(snapshots_without_a_capture_are_kept),
		FACT(packet_rows_join_up),
		FACT(packet_rows_have_the_rules_of_their_connection),
		FACT(an_answer_belongs_to_the_socket_that_asked),
		FACT(an_echo_comes_back_to_who_sent_it),
		FACT(a_copy_under_another_name_is_loaded_once),
		FACT(a_torn_capture_and_torn_snapshots_keep_what_precedes),
		FACT(records_of_a_later_version_are_told),
		FACT(the_next_connection_does_not_own_the_one_before),
		FACT(what_was_refused_is_no_listeners),
		FACT(what_is_read_of_a_large_capture_is_told_on_the_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
