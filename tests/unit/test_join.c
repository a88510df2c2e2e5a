/* test_join.c - facts about the whole way: from files of evidence to rows. */
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/load.h"
#include "tests/unit/scene.h"

static char root[64];
static struct load_result result;
static unsigned reports;

/* --------------------------------------------------------------- world -- */

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

#define UDP(ms, from, from_port, to, to_port)                                                      \
	{                                                                                          \
		T(ms), from, from_port, to, to_port, 17, 0, 0, 0, 30                               \
	}
#define TCP(ms, from, from_port, to, to_port, flags, seq, ack, payload)                            \
	{                                                                                          \
		T(ms), from, from_port, to, to_port, 6, flags, seq, ack, payload                   \
	}
#define OUT(ms, port, flags, seq, ack, payload)                                                    \
	TCP(ms, HOST, port, PEER, 80, flags, seq, ack, payload)
#define IN(ms, port, flags, seq, ack, payload)                                                     \
	TCP(ms, PEER, 80, HOST, port, flags, seq, ack, payload)
#define HANDSHAKE(ms, port)                                                                        \
	OUT(ms, port, SYN, 100, 0, 0), IN((ms) + 1, port, SYN | ACK, 900, 101, 0),                 \
		OUT((ms) + 2, port, ACK, 101, 901, 0)
#define LOCAL(ms, from_port, to_port, flags, seq, ack, payload)                                    \
	TCP(ms, "127.0.0.1", from_port, "127.0.0.1", to_port, flags, seq, ack, payload)

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

static const char *path(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *path(const char *format, ...)
{
	static char paths[8][256];
	static unsigned turn;
	char *out = paths[turn++ % 8];
	int length = snprintf(out, sizeof(paths[0]), "%s/", root);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(out + length, sizeof(paths[0]) - (size_t)length, format, arguments);
	va_end(arguments);
	return out;
}

static void header(unsigned number)
{
	char text[16];

	scene_begin();
	snprintf(text, sizeof(text), "%u", number);
	scene_meta("recording", "0123456789abcdef0123456789abcdef");
	scene_meta("boot_id", "f3d4e3d1");
	scene_meta("hostname", "alpha");
	scene_meta("interval_ns", "1000000000");
	scene_meta("segment", text);
}

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

static const char *stem(const char *directory, unsigned number)
{
	return path("%s/%06u-20261121T2030%02u.000000000Z", directory, number, number);
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
	snprintf(name, sizeof(name), "%s.pcap", stem(directory, number));
	scene_write_pcap(name, some, count);
}

static void write_snap(const char *directory, unsigned number, int first, int last)
{
	char name[300];

	header(number);
	write_readings(first, last);
	snprintf(name, sizeof(name), "%s.snap.gz", stem(directory, number));
	scene_write_snap(name);
}

static void make_directory(const char *name)
{
	assert_int_equal(mkdir(path("%s", name), 0700), 0);
}

/* Both neighbours of a rotation hold the readings on both sides of it. */
static void make_world(void)
{
	make_directory("one");
	write_snap("one", 1, 0, 9);
	write_packets("one", 1, 0, 99999);
	make_directory("three");
	write_snap("three", 1, 0, 3);
	write_packets("three", 1, 0, 2500);
	write_snap("three", 2, 2, 7);
	write_packets("three", 2, 2500, 5500);
	write_snap("three", 3, 6, 9);
	write_packets("three", 3, 5500, 99999);
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(name);
}

static int begin(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/test_join.XXXXXX");
	assert_non_null(mkdtemp(root));
	reports = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	scene_free();
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ------------------------------------------------------------- loading -- */

static void heard(const struct error *error, void *context)
{
	(void)error;
	(void)context;
	reports++;
}

/* names: below the root, up to a NULL. Returns the database. */
static const char *load_as(const char *database, unsigned workers, bool with_packets,
			   const char *const *names)
{
	struct load_options options = {
		.database = path("%s", database),
		.with_packets = with_packets,
		.workers = workers,
		.limits = flow_default_limits,
		.report = heard,
	};
	struct error error = ERROR_NONE;
	static char storage[8][300];
	char *paths[8];
	size_t count = 0;

	for (; names[count] != NULL; count++) {
		snprintf(storage[count], sizeof(storage[0]), "%s/%s", root, names[count]);
		paths[count] = storage[count];
	}
	if (load_run(paths, count, &options, &result, &error) != 0)
		fail_msg("%s: %s", error.path, error.message);
	return options.database;
}

#define LOAD(database, ...) load_as(database, 1, false, (const char *const[]){__VA_ARGS__, NULL})

static char *ask(const char *database, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *statement = NULL;
	char *answer = NULL, *line;
	size_t size = 0;
	FILE *out = open_memstream(&answer, &size);

	assert_int_equal(sqlite3_open_v2(database, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	while (sqlite3_step(statement) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(statement); i++) {
			line = (char *)(uintptr_t)sqlite3_column_text(statement, i);
			fprintf(out, "%s%s", i > 0 ? "|" : "", line != NULL ? line : "");
		}
		fputc('\n', out);
	}
	sqlite3_finalize(statement);
	sqlite3_close(db);
	fclose(out);
	return answer;
}

static void answers(const char *database, const char *sql, const char *wanted)
{
	char *answer = ask(database, sql);

	if (strcmp(answer, wanted) != 0)
		fail_msg("%s\nwanted:\n%sgot:\n%s", sql, wanted, answer);
	free(answer);
}

static void agree(const char *a, const char *b, const char *sql)
{
	char *answer = ask(a, sql);

	assert_true(answer[0] != '\0');
	answers(b, sql, answer);
	free(answer);
}

/* Every table that rows are counted on. */
static void same_rows(const char *a, const char *b)
{
	static const char *const tables[] = {
		"recording", "segment", "snapshot", "interface",  "address",   "process",
		"socket",    "holder",	"flow",	    "connection", "candidate", "traffic",
		"packet",    "other",	"coverage", "tunnel",
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		char sql[128], *answer;

		snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY 1, 2, 3", tables[i]);
		answer = ask(a, sql);
		answers(b, sql, answer);
		free(answer);
	}
}

static void same_bytes(const char *a, const char *b)
{
	FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
	int c, d;

	assert_non_null(f);
	assert_non_null(g);
	do {
		c = getc(f);
		d = getc(g);
		assert_int_equal(c, d);
	} while (c != EOF);
	fclose(f);
	fclose(g);
}

#define CONNECTIONS                                                                                \
	"SELECT f.protocol, f.orig_port, f.resp_port, c.\"end\", p.pid, c.rule, c.reason, "        \
	"c.exact_packets, c.ahead_packets, c.behind_packets, c.bound_packets, "                    \
	"c.wildcard_packets, c.listener_packets, c.sent_packets, c.received_packets "              \
	"FROM connection c JOIN flow f USING (flow_id) LEFT JOIN process p USING (process_id) "    \
	"ORDER BY f.start_ns, c.\"end\", c.start_ns"
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
/* --------------------------------------------------------------- facts -- */

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
	assert_int_equal(result.segments, 1);
	assert_int_equal(result.packets, WORLD);
	assert_int_equal(result.flow_packets, WORLD - 2);
	answers(db, "SELECT DISTINCT difference FROM accounting", "0\n");
	answers(db, "SELECT reason, packets FROM other", "arp|2\n");
	answers(db, "SELECT count(*) FROM snapshot", "10\n");
	answers(db, "SELECT conn_state FROM flow WHERE orig_port IN (40000, 40005)", "SF\nREJ\n");
	assert_int_equal(reports, 0);
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
	assert_int_equal(result.segments, 3);
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
	four = load_as("b.db", 4, false, (const char *const[]){"three", NULL});
	same_bytes(one, four);
	four = load_as("c.db", 2, false,
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
	whole = load_as("a.db", 2, true, (const char *const[]){"three", NULL});
	load_as("b.db", 1, true,
		(const char *const[]){"three/000001-20261121T203001.000000000Z.pcap", NULL});
	load_as("b.db", 1, true,
		(const char *const[]){"three/000002-20261121T203002.000000000Z.snap.gz", NULL});
	assert_int_equal(result.segments, 1);
	pieces = load_as("b.db", 1, true, (const char *const[]){"three", NULL});
	assert_int_equal(result.segments, 1);
	assert_int_equal(result.skipped, 2);
	same_rows(whole, pieces);
	load_as("b.db", 1, true, (const char *const[]){"three", NULL});
	assert_true(result.nothing_new);
	same_rows(whole, pieces);
}

static void a_capture_without_snapshots_is_accounted_for(void **state)
{
	const char *db;

	(void)state;
	make_directory("bare");
	write_packets("bare", 1, 0, 99999);
	db = LOAD("t.db", "bare");
	assert_int_equal(result.packets, WORLD);
	answers(db, "SELECT DISTINCT difference FROM accounting", "0\n");
	answers(db, "SELECT count(*) FROM connection WHERE process_id IS NOT NULL", "0\n");
	answers(db, "SELECT kind FROM coverage", "no-snapshot\n");
}

static void snapshots_without_a_capture_are_kept(void **state)
{
	const char *db;

	(void)state;
	make_directory("snaps");
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
	db = load_as("t.db", 2, true, (const char *const[]){"three", NULL});
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
	db = load_as("t.db", 1, true, (const char *const[]){"three", NULL});
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
	make_directory("copy");
	write_snap("copy", 1, 0, 9);
	write_packets("copy", 1, 0, 99999);
	assert_int_equal(rename(path("copy/000001-20261121T203001.000000000Z.pcap"),
				path("copy/000009-20261121T203009.000000000Z.pcap")),
			 0);
	assert_int_equal(rename(path("copy/000001-20261121T203001.000000000Z.snap.gz"),
				path("copy/000009-20261121T203009.000000000Z.snap.gz")),
			 0);
	db = LOAD("t.db", "one", "copy");
	assert_int_equal(result.segments, 1);
	assert_int_equal(result.skipped, 1);
	answers(db, "SELECT sum(packets) FROM segment", "38\n");
	LOAD("t.db", "copy");
	assert_true(result.nothing_new);
}

static void a_torn_capture_and_torn_snapshots_keep_what_precedes(void **state)
{
	const char *db;
	struct stat st;

	(void)state;
	make_world();
	assert_int_equal(stat(path("one/000001-20261121T203001.000000000Z.pcap"), &st), 0);
	assert_int_equal(
		truncate(path("one/000001-20261121T203001.000000000Z.pcap"), st.st_size - 1), 0);
	assert_int_equal(stat(path("one/000001-20261121T203001.000000000Z.snap.gz"), &st), 0);
	assert_int_equal(
		truncate(path("one/000001-20261121T203001.000000000Z.snap.gz"), st.st_size - 40),
		0);
	db = LOAD("t.db", "one");
	assert_int_equal(result.damaged, 1);
	assert_int_equal(reports, 2);
	answers(db, "SELECT packets, state FROM segment", "37|damaged\n");
	answers(db, "SELECT DISTINCT difference FROM accounting", "0\n");
	answers(db, "SELECT kind FROM coverage WHERE kind IN ('torn', 'damaged')",
		"torn\ndamaged\n");
}

/* ------------------------------------------------- small pairs of segments -- */

/* Two segments, cut at 2500 ms: the readings at 2000 and 3000 ms are in both. */
static void write_pair(const char *directory, unsigned number, const struct scene_packet *packets,
		       size_t count)
{
	char name[300];

	snprintf(name, sizeof(name), "%s.pcap", stem(directory, number));
	scene_write_pcap(name, packets, count);
	snprintf(name, sizeof(name), "%s.snap.gz", stem(directory, number));
	scene_write_snap(name);
}

static void hosts(void)
{
	scene_address('+', 1, "127.0.0.1", 8);
	scene_address('+', 1, HOST, 24);
}

/* The next connection on the tuple begins before the reading at 3000 ms, which
 * stands in both segments; its owner has nothing to do with the first one's packets. */
static void the_next_segments_connection_does_not_own_the_one_before(void **state)
{
	const struct scene_packet first[] = {HANDSHAKE(2100, 40000),
					     OUT(2200, 40000, RST, 101, 0, 0)},
				  second[] = {OUT(2600, 40000, SYN, 7000, 0, 0),
					      IN(2601, 40000, SYN | ACK, 8000, 7001, 0)};
	const char *db;

	(void)state;
	make_directory("reuse");
	header(1);
	scene_frame("key", 2000, 2001);
	hosts();
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	write_pair("reuse", 1, first, 4);
	header(2);
	scene_frame("restated", 2000, 2001);
	hosts();
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	write_pair("reuse", 2, second, 2);
	db = LOAD("t.db", "reuse");
	answers(db,
		"SELECT f.conn_state, p.pid, c.rule, c.reason FROM connection c JOIN flow f "
		"USING (flow_id) LEFT JOIN process p USING (process_id) ORDER BY f.start_ns",
		"RSTO|||gap\nS1|11|ahead|\n");
}

/* The connection came while one process listened; the first reading that has it,
 * after a rotation, shows another one that never did. */
static void before_a_rotation_a_passed_descriptor_was_anothers(void **state)
{
	const struct scene_packet packets[] = {
		TCP(500, PEER, 50000, HOST, 80, SYN, 100, 0, 0),
		TCP(501, HOST, 80, PEER, 50000, SYN | ACK, 900, 101, 0),
		TCP(502, PEER, 50000, HOST, 80, ACK, 101, 901, 5),
		TCP(3500, PEER, 50000, HOST, 80, ACK, 106, 901, 5)};
	const char *db;

	(void)state;
	make_directory("passed");
	header(1);
	scene_frame("key", 0, 1);
	hosts();
	scene_process('+', 10, OLD, "acceptor");
	scene_process('+', 11, OLD, "worker");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 400);
	scene_holder('+', 400, 10, OLD, 3);
	/* It was seen to serve, so what nobody saw accepted counts as its own. */
	scene_socket('+', "tcp " HOST " 80 " PEER " 50001 1", 401);
	scene_holder('+', 401, 10, OLD, 4);
	scene_frame("poll", 1000, 1001);
	write_pair("passed", 1, packets, 3);
	header(2);
	scene_frame("restated", 1000, 1001);
	hosts();
	scene_process('+', 10, OLD, "acceptor");
	scene_process('+', 11, OLD, "worker");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 400);
	scene_holder('+', 400, 10, OLD, 3);
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 80 " PEER " 50000 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 4000, 4001);
	write_pair("passed", 2, packets + 3, 1);
	db = LOAD("t.db", "passed");
	answers(db,
		"SELECT p.pid, c.rule, c.sent_packets + c.received_packets FROM connection c "
		"JOIN process p USING (process_id) ORDER BY c.start_ns",
		"10|listener|3\n11|exact|1\n");
}

/* Within one segment the SYN in between is seen. */
static void the_next_connection_does_not_own_the_one_before(void **state)
{
	const struct scene_packet packets[] = {
		HANDSHAKE(2100, 40000), OUT(2200, 40000, RST, 101, 0, 0),
		OUT(2600, 40000, SYN, 7000, 0, 0), IN(2601, 40000, SYN | ACK, 8000, 7001, 0)};
	const char *db;

	(void)state;
	make_directory("reuse");
	header(1);
	scene_frame("key", 2000, 2001);
	hosts();
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	write_pair("reuse", 1, packets, 6);
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
	make_directory("refused");
	header(1);
	scene_frame("key", 2000, 2001);
	hosts();
	scene_process('+', 10, OLD, "nginx");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 500);
	scene_holder('+', 500, 10, OLD, 5);
	scene_frame("poll", 3000, 3001);
	scene_socket('-', "tcp 0.0.0.0 80 0.0.0.0 0 10", 500);
	scene_holder('-', 500, 10, OLD, 5);
	write_pair("refused", 1, packets, 2);
	answers(LOAD("t.db", "refused"), CONNECTIONS,
		"tcp|50001|80|resp|||no-socket|0|0|0|0|0|0|1|1\n");
}

/* However many events came between the reading that is restated and the rotation. */
static void a_restated_reading_is_one_snapshot(void **state)
{
	static const struct scene_packet none[1];

	(void)state;
	make_directory("events");
	header(1);
	scene_frame("key", 0, 1);
	for (int i = 0; i < 100; i++)
		scene_frame("event", 100 + i * 2, 101 + i * 2);
	scene_frame("poll", 1000, 1001);
	write_pair("events", 1, none, 0);
	header(2);
	scene_frame("restated", 0, 1);
	scene_sequence = 102;
	scene_frame("poll", 1000, 1001);
	write_pair("events", 2, none, 0);
	answers(LOAD("t.db", "events"), "SELECT count(*), count(DISTINCT sequence) FROM snapshot",
		"102|102\n");
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
	make_directory("answer");
	header(1);
	scene_frame("key", 0, 1);
	hosts();
	scene_process('+', 11, OLD, "dig");
	scene_frame("poll", 1000, 1001);
	scene_socket('+', "udp " HOST " 40000 " PEER " 53 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_socket('-', "udp " HOST " 40000 " PEER " 53 1", 500);
	scene_holder('-', 500, 11, OLD, 5);
	scene_frame("poll", 4000, 4001);
	write_pair("answer", 1, packets, 4);
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
	make_directory("echo");
	header(1);
	scene_frame("key", 0, 1);
	hosts();
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
	write_pair("echo", 1, packets, 5);
	answers(LOAD("echo.db", "echo"),
		"SELECT pid, rule, reason, sent_packets, received_packets FROM connections "
		"WHERE direction = 'outbound' ORDER BY pid",
		"||no-socket|0|1\n11|quoted||1|1\n12|quoted||1|1\n");
}

/* Readings that had no such socket bound how far an owner reaches back, with a
 * rotation in between as well as without. */
static void looking_ahead_over_a_rotation_stops_where_it_does_within(void **state)
{
	const struct scene_packet packets[] = {OUT(500, 40000, ACK, 101, 901, 5),
					       OUT(4500, 40000, ACK, 106, 901, 5)};
	const char *one;

	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		const char *directory = cut ? "two" : "one";

		make_directory(directory);
		header(1);
		scene_frame("key", 0, 1);
		hosts();
		scene_process('+', 11, OLD, "new");
		scene_frame("poll", 1000, 1001);
		scene_frame("poll", 2000, 2001);
		scene_frame("poll", 3000, 3001);
		if (cut) {
			write_pair(directory, 1, packets, 1);
			header(2);
			scene_sequence = 3;
			scene_frame("restated", 2000, 2001);
			hosts();
			scene_process('+', 11, OLD, "new");
			scene_frame("poll", 3000, 3001);
		}
		scene_frame("poll", 4000, 4001);
		scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
		scene_holder('+', 500, 11, OLD, 5);
		scene_frame("poll", 5000, 5001);
		write_pair(directory, cut ? 2 : 1, packets + cut, cut ? 1 : 2);
	}
	one = LOAD("one.db", "one");
	agree(one, LOAD("two.db", "two"), CONNECTIONS);
}

/* The SYN is in one segment; the next one has a packet before the first
 * sighting, and one after it. */
static void an_owner_reaches_back_over_a_rotation_within_its_own_segment_too(void **state)
{
	const struct scene_packet packets[] = {OUT(2450, 40000, SYN, 100, 0, 0),
					       OUT(2600, 40000, ACK, 101, 901, 5),
					       OUT(4500, 40000, ACK, 106, 901, 5)};
	const char *one;

	SCENE_OPEN(state);
	for (int cut = 0; cut < 2; cut++) {
		const char *directory = cut ? "two" : "one";

		make_directory(directory);
		for (int part = 0; part <= cut; part++) {
			header((unsigned)part + 1);
			scene_frame(part ? "restated" : "key", 2000, 2001);
			hosts();
			scene_process('+', 11, OLD, "new");
			scene_frame("poll", 3000, 3001);
			if (part == cut) {
				scene_frame("poll", 4000, 4001);
				scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
				scene_holder('+', 500, 11, OLD, 5);
				scene_frame("poll", 5000, 5001);
			}
			write_pair(directory, (unsigned)part + 1, packets + part,
				   !cut	  ? 3
				   : part ? 2
					  : 1);
		}
	}
	one = LOAD("one.db", "one");
	answers(one, CONNECTIONS, "tcp|40000|80|orig|11|exact||1|2|0|0|0|0|3|0\n");
	agree(one, LOAD("two.db", "two"), CONNECTIONS);
}

/* A SYN and the refusal in the next segment; and a connection whose last packet
 * alone, a reset, is in the next segment. */
static void a_refusal_is_one_wherever_it_was_cut(void **state)
{
	const struct scene_packet packets[] = {
		TCP(2450, PEER, 50001, HOST, 81, SYN, 100, 0, 0),
		TCP(2451, PEER, 50002, HOST, 82, ACK, 100, 1, 5),
		TCP(2452, HOST, 82, PEER, 50002, ACK, 1, 105, 5),
		TCP(2550, HOST, 81, PEER, 50001, RST | ACK, 0, 101, 0),
		TCP(2551, PEER, 50002, HOST, 82, ACK, 105, 6, 0),
		TCP(2552, HOST, 82, PEER, 50002, RST, 6, 0, 0),
	};
	const char *one;

	SCENE_OPEN(state);
	for (int cut = 0; cut < 2; cut++) {
		const char *directory = cut ? "two" : "one";

		make_directory(directory);
		header(1);
		scene_frame("key", 2000, 2001);
		hosts();
		scene_frame("poll", 3000, 3001);
		if (cut) {
			write_pair(directory, 1, packets, 3);
			header(2);
			scene_frame("restated", 2000, 2001);
			hosts();
			scene_frame("poll", 3000, 3001);
		}
		write_pair(directory, cut ? 2 : 1, packets + (cut ? 3 : 0), cut ? 3 : 6);
	}
	one = LOAD("one.db", "one");
	agree(one, LOAD("two.db", "two"), CONNECTIONS);
}

/* The first packet after a rotation comes from the server: it is still the server. */
static void a_listeners_connection_stays_its_own_over_a_rotation(void **state)
{
	const struct scene_packet packets[] = {
		TCP(2450, PEER, 50001, HOST, 80, SYN, 100, 0, 0),
		TCP(2451, HOST, 80, PEER, 50001, SYN | ACK, 900, 101, 0),
		TCP(2550, HOST, 80, PEER, 50001, ACK, 901, 101, 5),
		TCP(2551, PEER, 50001, HOST, 80, ACK, 101, 906, 0),
	};
	const char *one;

	SCENE_OPEN(state);
	for (int cut = 0; cut < 2; cut++) {
		const char *directory = cut ? "two" : "one";

		make_directory(directory);
		for (int part = 0; part <= cut; part++) {
			header((unsigned)part + 1);
			scene_frame(part ? "restated" : "key", 2000, 2001);
			hosts();
			scene_process('+', 10, OLD, "nginx");
			scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 500);
			scene_holder('+', 500, 10, OLD, 5);
			scene_frame("poll", 3000, 3001);
			write_pair(directory, (unsigned)part + 1, packets + 2 * part, cut ? 2 : 4);
		}
	}
	one = LOAD("one.db", "one");
	answers(one, CONNECTIONS, "tcp|50001|80|resp|10|listener||0|0|0|0|0|4|2|2\n");
	agree(one, LOAD("two.db", "two"), CONNECTIONS);
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
	make_directory("one");
	header(1);
	scene_frame("key", 2000, 2001);
	hosts();
	scene_process('+', 11, OLD, "old");
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 3000, 3001);
	write_pair("one", 1, packets, 5);
	db = LOAD("one.db", "one");
	answers(db, CONNECTIONS, "tcp|40000|80|orig|11|exact||5|0|0|0|0|0|3|2\n");
	answers(db, "SELECT count(*), sum(orig_packets), sum(resp_packets) FROM flow", "1|3|2\n");
}

/* The second segment has losses from before its first packet of the flow, and the heir
 * is refused there: no word of the first segment may name anybody for it. */
static void losses_after_a_rotation_leave_it_nobodys(void **state)
{
	const struct scene_packet first[] = {HANDSHAKE(2100, 40000),
					     OUT(2200, 40000, ACK, 101, 901, 5)},
				  second[] = {OUT(4600, 40000, ACK, 106, 901, 50)};
	const char *db;

	(void)state;
	make_directory("heir");
	header(1);
	scene_frame("key", 2000, 2001);
	hosts();
	scene_process('+', 10, OLD, "front");
	scene_process('+', 11, OLD, "heir");
	scene_frame("event", 2300, 2310);
	scene_use("6 " HOST " 40000 " PEER " 80", 2099, "connect", 2099, SCENE_NEVER, 10, OLD);
	scene_frame("rotate", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 10, OLD, 5);
	write_pair("heir", 1, first, 4);
	header(2);
	scene_frame("restated", 2000, 2001);
	hosts();
	scene_process('+', 10, OLD, "front");
	scene_process('+', 11, OLD, "heir");
	scene_frame("event", 3002, 3003);
	scene_use("6 " HOST " 40000 " PEER " 80", 2099, "connect", 2099, SCENE_NEVER, 10, OLD);
	scene_frame("rotate", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 10, OLD, 5);
	scene_frame("event", 3100, 4700);
	scene_untold();
	scene_frame("poll", 4000, 4001); /* by now it was handed on */
	scene_holder('-', 500, 10, OLD, 5);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("rotate", 5000, 5001);
	write_pair("heir", 2, second, 1);
	db = LOAD("t.db", "heir");
	answers(db,
		"SELECT p.pid, c.rule, c.reason, c.sent_payload_bytes FROM connection c "
		"LEFT JOIN process p USING (process_id) WHERE sent_packets > 0 ORDER BY c.start_ns",
		"10|exact||5\n||gap|50\n");
}

/* The first segment refused the heir; that he uses it in the next does not make it his before. */
static void an_heir_of_the_next_segment_has_nothing_of_the_one_before(void **state)
{
	const struct scene_packet first[] = {HANDSHAKE(2100, 40000),
					     OUT(2200, 40000, ACK, 101, 901, 5)},
				  second[] = {OUT(4600, 40000, ACK, 106, 901, 50)};
	const char *db;

	(void)state;
	make_directory("heir");
	header(1);
	scene_frame("key", 2000, 2001);
	hosts();
	scene_process('+', 11, OLD, "heir");
	scene_frame("event", 2050, 2310); /* all of it was lost */
	scene_untold();
	scene_frame("event", 2400, 2410);
	scene_process('!', 10, OLD, "front");
	scene_use("6 " HOST " 40000 " PEER " 80", 2099, "send", 2350, SCENE_NEVER, 10, OLD);
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	write_pair("heir", 1, first, 4);
	header(2);
	scene_frame("restated", 2000, 2001);
	hosts();
	scene_process('+', 11, OLD, "heir");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("event", 4500, 4510);
	scene_use("6 " HOST " 40000 " PEER " 80", 2099, "send", 4500, 2350, 11, OLD);
	scene_frame("poll", 5000, 5001);
	write_pair("heir", 2, second, 1);
	db = LOAD("t.db", "heir");
	answers(db,
		"SELECT p.pid, c.rule, c.reason, c.sent_payload_bytes FROM connection c "
		"LEFT JOIN process p USING (process_id) WHERE sent_packets > 0 ORDER BY c.start_ns",
		"||gap|5\n11|exact||50\n");
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
	make_directory("urgent");
	header(1);
	scene_frame("key", 2000, 2001);
	hosts();
	scene_frame("event", 2090, 2360);
	scene_process('!', 10, OLD, "front");
	scene_process('!', 11, OLD, "back");
	scene_say(turn, (long long)T(2099), "connect", (long long)T(2099), 0LL, 0, 10, 10);
	scene_say(turn, (long long)T(2099), "receive", (long long)T(2350), (long long)T(2250), 10,
		  11, 11);
	scene_frame("rotate", 3000, 3001);
	write_pair("urgent", 1, packets, 6);
	db = LOAD("t.db", "urgent");
	answers(db,
		"SELECT p.pid, c.reason, c.received_payload_bytes FROM connection c "
		"LEFT JOIN process p USING (process_id) WHERE received_payload_bytes > 0 "
		"ORDER BY c.start_ns",
		"10||10\n|ambiguous|11\n");
}

/* It has no owner already, as who has its socket began after it: the next connection of the
 * tuple takes nothing from it, and nothing of it counts twice. */
static void what_is_nobodys_already_stays_one_row_when_the_next_begins(void **state)
{
	const struct scene_packet first[] = {HANDSHAKE(2100, 40000),
					     OUT(2200, 40000, RST, 101, 0, 0)},
				  second[] = {OUT(2600, 40000, SYN, 7000, 0, 0),
					      IN(2601, 40000, SYN | ACK, 8000, 7001, 0)};
	const char *db;

	(void)state;
	make_directory("reuse");
	for (unsigned number = 1; number <= 2; number++) {
		header(number);
		scene_frame(number == 1 ? "key" : "restated", 2000, 2001);
		hosts();
		scene_frame("poll", 3000, 3001);
		scene_process('+', 11, TICKS(2150), "new");
		scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
		scene_holder('+', 500, 11, TICKS(2150), 5);
		write_pair("reuse", number, number == 1 ? first : second, number == 1 ? 4 : 2);
	}
	db = LOAD("t.db", "reuse");
	answers(db,
		"SELECT p.pid, c.rule, c.reason, c.sent_packets, c.received_packets "
		"FROM connection c LEFT JOIN process p USING (process_id) ORDER BY c.start_ns",
		"||gap|3|1\n11|ahead||1|1\n");
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_conversation_that_could_have_ended_before_is_one),
		FACT(after_urgent_bytes_places_tell_no_receiver),
		FACT(losses_after_a_rotation_leave_it_nobodys),
		FACT(an_heir_of_the_next_segment_has_nothing_of_the_one_before),
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
		FACT(the_next_segments_connection_does_not_own_the_one_before),
		FACT(before_a_rotation_a_passed_descriptor_was_anothers),
		FACT(the_next_connection_does_not_own_the_one_before),
		FACT(what_was_refused_is_no_listeners),
		FACT(a_restated_reading_is_one_snapshot),
		FACT(looking_ahead_over_a_rotation_stops_where_it_does_within),
		FACT(an_owner_reaches_back_over_a_rotation_within_its_own_segment_too),
		FACT(a_refusal_is_one_wherever_it_was_cut),
		FACT(a_listeners_connection_stays_its_own_over_a_rotation),
		FACT(what_is_nobodys_already_stays_one_row_when_the_next_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
