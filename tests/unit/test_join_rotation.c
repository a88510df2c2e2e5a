/*
 * test_join_rotation.c - that owners are the same wherever a rotation cut the evidence.
 * Mostly two segments, cut at 2500 ms: the readings at 2000 and 3000 ms are in both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/loading.h"

#define PACKETS                                                                                    \
	"SELECT p.time_ns, c.\"end\", r.rule, q.reason FROM packet p JOIN connection c "           \
	"USING (connection_id) LEFT JOIN rule r USING (rule_code) "                                \
	"LEFT JOIN reason q USING (reason_code) ORDER BY p.time_ns, c.\"end\""
/* And how many connections there are: it is never empty. */
#define CANDIDATES                                                                                 \
	"SELECT count(*), f.orig_port, p.pid FROM connection c JOIN flow f USING (flow_id) "       \
	"LEFT JOIN candidate k USING (connection_id) LEFT JOIN process p "                         \
	"ON p.process_id = k.process_id GROUP BY 2, 3 ORDER BY 2, 3"
/* Whether it is a connection's or not. */
#define TRAFFIC                                                                                    \
	"SELECT f.orig_port, c.\"end\", t.bucket, sum(t.sent_packets), sum(t.received_packets) "   \
	"FROM traffic t LEFT JOIN connection c USING (connection_id) "                             \
	"LEFT JOIN flow f USING (flow_id) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"

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
	loading_directory("reuse");
	loading_header(1);
	scene_frame("key", 2000, 2001);
	loading_addresses();
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	loading_write("reuse", 1, first, 4);
	loading_header(2);
	scene_frame("restated", 2000, 2001);
	loading_addresses();
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	loading_write("reuse", 2, second, 2);
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
	loading_directory("passed");
	loading_header(1);
	scene_frame("key", 0, 1);
	loading_addresses();
	scene_process('+', 10, OLD, "acceptor");
	scene_process('+', 11, OLD, "worker");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 400);
	scene_holder('+', 400, 10, OLD, 3);
	/* It was seen to serve, so what nobody saw accepted counts as its own. */
	scene_socket('+', "tcp " HOST " 80 " PEER " 50001 1", 401);
	scene_holder('+', 401, 10, OLD, 4);
	scene_frame("poll", 1000, 1001);
	loading_write("passed", 1, packets, 3);
	loading_header(2);
	scene_frame("restated", 1000, 1001);
	loading_addresses();
	scene_process('+', 10, OLD, "acceptor");
	scene_process('+', 11, OLD, "worker");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 400);
	scene_holder('+', 400, 10, OLD, 3);
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 80 " PEER " 50000 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 4000, 4001);
	loading_write("passed", 2, packets + 3, 1);
	db = LOAD("t.db", "passed");
	answers(db,
		"SELECT p.pid, c.rule, c.sent_packets + c.received_packets FROM connection c "
		"JOIN process p USING (process_id) ORDER BY c.start_ns",
		"10|listener|3\n11|exact|1\n");
}

/* However many events came between the reading that is restated and the rotation. */
static void a_restated_reading_is_one_snapshot(void **state)
{
	static const struct scene_packet none[1];

	(void)state;
	loading_directory("events");
	loading_header(1);
	scene_frame("key", 0, 1);
	for (int i = 0; i < 100; i++)
		scene_frame("event", 100 + i * 2, 101 + i * 2);
	scene_frame("poll", 1000, 1001);
	loading_write("events", 1, none, 0);
	loading_header(2);
	scene_frame("restated", 0, 1);
	scene_sequence = 102;
	scene_frame("poll", 1000, 1001);
	loading_write("events", 2, none, 0);
	answers(LOAD("t.db", "events"), "SELECT count(*), count(DISTINCT sequence) FROM snapshot",
		"102|102\n");
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

		loading_directory(directory);
		loading_header(1);
		scene_frame("key", 0, 1);
		loading_addresses();
		scene_process('+', 11, OLD, "new");
		scene_frame("poll", 1000, 1001);
		scene_frame("poll", 2000, 2001);
		scene_frame("poll", 3000, 3001);
		if (cut) {
			loading_write(directory, 1, packets, 1);
			loading_header(2);
			scene_sequence = 3;
			scene_frame("restated", 2000, 2001);
			loading_addresses();
			scene_process('+', 11, OLD, "new");
			scene_frame("poll", 3000, 3001);
		}
		scene_frame("poll", 4000, 4001);
		scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
		scene_holder('+', 500, 11, OLD, 5);
		scene_frame("poll", 5000, 5001);
		loading_write(directory, cut ? 2 : 1, packets + cut, cut ? 1 : 2);
	}
	one = LOAD("one.db", "one");
	agree(one, LOAD("two.db", "two"), CONNECTIONS);
}

/* A history that stands in one segment, or in two. */
struct cut {
	const struct scene_packet *packets;
	size_t first, count; /* packets of the first of two; of all */
	/* What stands in a segment's snapshots behind the addresses; last: of the history. */
	void (*say)(bool last);
	const char *first_wanted, *wanted; /* CONNECTIONS of the first of two; of all */
};

static void write_cut(const struct cut *cut, const char *directory, unsigned segments)
{
	loading_directory(directory);
	for (unsigned part = 1; part <= segments; part++) {
		size_t from = part > 1 ? cut->first : 0;
		size_t until = part < segments ? cut->first : cut->count;

		loading_header(part);
		scene_frame(part > 1 ? "restated" : "key", 2000, 2001);
		loading_addresses();
		cut->say(part == segments);
		loading_write(directory, part, cut->packets + from, until - from);
		if (part < segments)
			answers(loading_run("parts.db", 1, true,
					    (const char *const[]){directory, NULL}),
				CONNECTIONS, cut->first_wanted);
	}
}

/* The same connections and packets as of one segment come of two that are loaded at once, and
 * of two of which the second comes later. */
static void same_wherever_it_was_cut(const struct cut *cut)
{
	const char *one, *two, *parts;

	write_cut(cut, "one", 1);
	write_cut(cut, "two", 2);
	one = loading_run("one.db", 1, true, (const char *const[]){"one", NULL});
	two = loading_run("two.db", 1, true, (const char *const[]){"two", NULL});
	parts = loading_run("parts.db", 1, true, (const char *const[]){"two", NULL});
	answers(one, CONNECTIONS, cut->wanted);
	agree(one, two, CONNECTIONS);
	agree(one, parts, CONNECTIONS);
	agree(one, two, PACKETS);
	agree(one, parts, PACKETS);
	agree(one, two, "SELECT distance_ns FROM connection ORDER BY start_ns");
}

static void say_owner_seen_late(bool last)
{
	scene_process('+', 11, OLD, "new");
	scene_frame("poll", 3000, 3001);
	if (!last)
		return;
	scene_frame("poll", 4000, 4001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("poll", 5000, 5001);
}

/* The SYN is in one segment; the next one has a packet before the first
 * sighting, and one after it. */
static void an_owner_reaches_back_over_a_rotation_within_its_own_segment_too(void **state)
{
	const struct scene_packet packets[] = {OUT(2450, 40000, SYN, 100, 0, 0),
					       OUT(2600, 40000, ACK, 101, 901, 5),
					       OUT(4500, 40000, ACK, 106, 901, 5)};

	(void)state;
	same_wherever_it_was_cut(&(struct cut){packets, 1, 3, say_owner_seen_late,
					       "tcp|40000|80|orig|||gap|0|0|0|0|0|0|1|0\n",
					       "tcp|40000|80|orig|11|exact||1|2|0|0|0|0|3|0\n"});
}

static void say_server(unsigned port)
{
	char row[64];

	scene_process('+', 10, OLD, "nginx");
	snprintf(row, sizeof(row), "tcp 0.0.0.0 %u 0.0.0.0 0 10", port);
	scene_socket('+', row, 500);
	scene_holder('+', 500, 10, OLD, 5);
	/* It was seen to serve, so what nobody saw accepted counts as its own. */
	snprintf(row, sizeof(row), "tcp " HOST " %u " PEER " 50009 1", port);
	scene_socket('+', row, 501);
	scene_holder('+', 501, 10, OLD, 6);
	scene_frame("poll", 3000, 3001);
}

static void say_server_of_83(bool last)
{
	(void)last;
	say_server(83);
}

/* A SYN and the refusal in the next segment; a connection whose last packet alone, a reset,
 * is in the next segment; and a refused SYN that is accepted there when it is sent again. */
static void a_refusal_is_one_wherever_it_was_cut(void **state)
{
	const struct scene_packet packets[] = {
		TCP(2450, PEER, 50001, HOST, 81, SYN, 100, 0, 0),
		TCP(2451, PEER, 50002, HOST, 82, ACK, 100, 1, 5),
		TCP(2452, HOST, 82, PEER, 50002, ACK, 1, 105, 5),
		TCP(2460, PEER, 50003, HOST, 83, SYN, 100, 0, 0),
		TCP(2461, HOST, 83, PEER, 50003, RST | ACK, 0, 101, 0),
		TCP(2462, PEER, 50004, HOST, 84, SYN, 100, 0, 0),
		TCP(2463, HOST, 84, PEER, 50004, RST | ACK, 0, 101, 0),
		TCP(2550, HOST, 81, PEER, 50001, RST | ACK, 0, 101, 0),
		TCP(2551, PEER, 50002, HOST, 82, ACK, 105, 6, 0),
		TCP(2552, HOST, 82, PEER, 50002, RST, 6, 0, 0),
		TCP(2560, PEER, 50003, HOST, 83, SYN, 100, 0, 0),
		TCP(2561, HOST, 83, PEER, 50003, SYN | ACK, 900, 101, 0),
		TCP(2562, PEER, 50004, HOST, 84, SYN, 100, 0, 0),
		TCP(2563, HOST, 84, PEER, 50004, SYN | ACK, 900, 101, 0),
	};
	const size_t count = sizeof(packets) / sizeof(packets[0]);

	(void)state;
	same_wherever_it_was_cut(&(struct cut){packets, count / 2, count, say_server_of_83,
					       "tcp|50001|81|resp|||gap|0|0|0|0|0|0|0|1\n"
					       "tcp|50002|82|resp|||gap|0|0|0|0|0|0|1|1\n"
					       "tcp|50003|83|resp|||no-socket|0|0|0|0|0|0|1|1\n"
					       "tcp|50004|84|resp|||no-socket|0|0|0|0|0|0|1|1\n",
					       "tcp|50001|81|resp|||no-socket|0|0|0|0|0|0|1|1\n"
					       "tcp|50002|82|resp|||gap|0|0|0|0|0|0|2|2\n"
					       "tcp|50003|83|resp|10|listener||0|0|0|0|0|4|2|2\n"
					       "tcp|50004|84|resp|||gap|0|0|0|0|0|0|2|2\n"});
}

static void say_server_of_80(bool last)
{
	say_server(80);
	for (int late = 4000; last && late <= 5000; late += 1000)
		scene_frame("poll", late, late + 1);
}

/* The first packet after a rotation comes from the server: it is still the server. One that two
 * readings have not, of which the first segment saw none, is nobody's in both. */
static void a_listeners_connection_stays_its_own_over_a_rotation(void **state)
{
	const struct scene_packet packets[] = {
		TCP(2450, PEER, 50001, HOST, 80, SYN, 100, 0, 0),
		TCP(2451, HOST, 80, PEER, 50001, SYN | ACK, 900, 101, 0),
		TCP(2460, PEER, 50002, HOST, 80, SYN, 100, 0, 0),
		TCP(2461, HOST, 80, PEER, 50002, SYN | ACK, 900, 101, 0),
		TCP(2550, HOST, 80, PEER, 50001, ACK, 901, 101, 5),
		TCP(2551, PEER, 50001, HOST, 80, ACK, 101, 906, 0),
		TCP(2560, HOST, 80, PEER, 50002, ACK, 901, 101, 5),
		TCP(4500, PEER, 50002, HOST, 80, ACK, 101, 906, 0),
	};

	(void)state;
	same_wherever_it_was_cut(&(struct cut){packets, 4, 8, say_server_of_80,
					       "tcp|50001|80|resp|10|listener||0|0|0|0|0|2|1|1\n"
					       "tcp|50002|80|resp|10|listener||0|0|0|0|0|2|1|1\n",
					       "tcp|50001|80|resp|10|listener||0|0|0|0|0|4|2|2\n"
					       "tcp|50002|80|resp|||gap|0|0|0|0|0|0|2|2\n"});
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
	loading_directory("heir");
	loading_header(1);
	scene_frame("key", 2000, 2001);
	loading_addresses();
	scene_process('+', 10, OLD, "front");
	scene_process('+', 11, OLD, "heir");
	scene_frame("event", 2300, 2310);
	scene_use("6 " HOST " 40000 " PEER " 80", 2099, "connect", 2099, SCENE_NEVER, 10, OLD);
	scene_frame("rotate", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 10, OLD, 5);
	loading_write("heir", 1, first, 4);
	loading_header(2);
	scene_frame("restated", 2000, 2001);
	loading_addresses();
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
	loading_write("heir", 2, second, 1);
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
	loading_directory("heir");
	loading_header(1);
	scene_frame("key", 2000, 2001);
	loading_addresses();
	scene_process('+', 11, OLD, "heir");
	scene_frame("event", 2050, 2310); /* all of it was lost */
	scene_untold();
	scene_frame("event", 2400, 2410);
	scene_process('!', 10, OLD, "front");
	scene_use("6 " HOST " 40000 " PEER " 80", 2099, "send", 2350, SCENE_NEVER, 10, OLD);
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	loading_write("heir", 1, first, 4);
	loading_header(2);
	scene_frame("restated", 2000, 2001);
	loading_addresses();
	scene_process('+', 11, OLD, "heir");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
	scene_holder('+', 500, 11, OLD, 5);
	scene_frame("event", 4500, 4510);
	scene_use("6 " HOST " 40000 " PEER " 80", 2099, "send", 4500, 2350, 11, OLD);
	scene_frame("poll", 5000, 5001);
	loading_write("heir", 2, second, 1);
	db = LOAD("t.db", "heir");
	answers(db,
		"SELECT p.pid, c.rule, c.reason, c.sent_payload_bytes FROM connection c "
		"LEFT JOIN process p USING (process_id) WHERE sent_packets > 0 ORDER BY c.start_ns",
		"||gap|5\n11|exact||50\n");
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
	loading_directory("reuse");
	for (unsigned number = 1; number <= 2; number++) {
		loading_header(number);
		scene_frame(number == 1 ? "key" : "restated", 2000, 2001);
		loading_addresses();
		scene_frame("poll", 3000, 3001);
		scene_process('+', 11, TICKS(2150), "new");
		scene_socket('+', "tcp " HOST " 40000 " PEER " 80 1", 500);
		scene_holder('+', 500, 11, TICKS(2150), 5);
		loading_write("reuse", number, number == 1 ? first : second, number == 1 ? 4 : 2);
	}
	db = LOAD("t.db", "reuse");
	answers(db,
		"SELECT p.pid, c.rule, c.reason, c.sent_packets, c.received_packets "
		"FROM connection c LEFT JOIN process p USING (process_id) ORDER BY c.start_ns",
		"||gap|3|1\n11|ahead||1|1\n");
}

/* Its SYN was not captured, and what it accepts opens after the answer: the last socket of the
 * tuple before is another connection's, of another segment. */
static void who_answers_a_syn_that_is_missing_begins_a_connection(void **state)
{
	const struct scene_packet packets[] = {
		TCP(5000, HOST, 80, PEER, 40000, SYN | ACK, 900, 101, 0),
		TCP(5001, PEER, 40000, HOST, 80, ACK, 101, 901, 0),
		TCP(5100, HOST, 80, PEER, 40000, ACK, 901, 101, 30)};
	const char *db;

	(void)state;
	loading_directory("answer");
	loading_header(2);
	scene_frame("restated", 3000, 3001);
	loading_addresses();
	scene_process('+', 10, OLD, "before");
	scene_process('+', 11, OLD, "after");
	scene_frame("event", 2000, 2010);
	scene_use("6 " HOST " 80 " PEER " 40000", 2000, "send", 2005, SCENE_NEVER, 10, OLD);
	scene_frame("event", 5050, 5060);
	scene_use("6 " HOST " 80 " PEER " 40000", 5001, "send", 5050, SCENE_NEVER, 11, OLD);
	scene_frame("rotate", 6000, 6001);
	loading_write("answer", 2, packets, 3);
	db = LOAD("t.db", "answer");
	answers(db,
		"SELECT p.pid, c.rule, c.reason, c.sent_packets, c.received_packets "
		"FROM connection c LEFT JOIN process p USING (process_id) ORDER BY c.start_ns",
		"11|exact||2|1\n");
}

/* ---------------------------------------------------- cut at each place -- */

/* A row with its holder, in the readings from the one at a time up to, not with, another's. */
struct row {
	const char *where;
	uint32_t inode, pid;
	int64_t from_ms, until_ms;
};

/* A reading each second, from 0 on. */
struct history {
	const struct row *rows;
	size_t row_count;
	const struct scene_packet *packets;
	size_t packet_count;
	int64_t last_ms;
};

static void say_reading(const struct history *h, int64_t ms, bool is_first)
{
	scene_frame(is_first ? (ms == 0 ? "key" : "restated") : "poll", ms, ms + 1);
	if (is_first) {
		loading_addresses();
		scene_process('+', 10, OLD, "nginx");
		scene_process('+', 11, OLD, "other");
	}
	for (size_t i = 0; i < h->row_count; i++) {
		const struct row *r = &h->rows[i];
		bool is_there = r->from_ms <= ms && ms < r->until_ms;
		char op = is_first || r->from_ms == ms ? '+' : '-';

		if (!(is_first ? is_there : r->from_ms == ms || r->until_ms == ms))
			continue;
		scene_socket(op, r->where, r->inode);
		scene_holder(op, r->inode, r->pid, OLD, 100 + r->inode);
	}
}

/* One segment with the packets in [from, until), from the reading that it restates up to the first
 * one behind its packets. */
static void write_segment(const struct history *h, const char *directory, unsigned number,
			  int64_t from_ms, int64_t until_ms)
{
	size_t first = 0, count = 0;
	int64_t reading = from_ms / 1000 * 1000, begin = reading;

	while (first < h->packet_count && h->packets[first].time_ns < T(from_ms))
		first++;
	while (first + count < h->packet_count && h->packets[first + count].time_ns < T(until_ms))
		count++;
	loading_header(number);
	scene_sequence = (uint64_t)reading / 1000 + 1;
	for (; reading < until_ms + 1000 && reading <= h->last_ms; reading += 1000)
		say_reading(h, reading, reading == begin);
	loading_write(directory, number, h->packets + first, count);
}

/* The history says the same whole, and cut at this time, loaded at once or one after the other. */
static void same_when_cut(const struct history *h, int64_t cut_ms)
{
	char directory[32];
	const char *sql[] = {CONNECTIONS, PACKETS, CANDIDATES, TRAFFIC,
			     "SELECT distance_ns FROM connection ORDER BY start_ns, \"end\""};
	const char *whole, *two, *parts;

	snprintf(directory, sizeof(directory), "cut-%d", (int)cut_ms);
	loading_directory(directory);
	write_segment(h, directory, 1, 0, cut_ms);
	loading_run("parts.db", 1, true, (const char *const[]){directory, NULL});
	write_segment(h, directory, 2, cut_ms, h->last_ms);
	parts = loading_run("parts.db", 1, true, (const char *const[]){directory, NULL});
	two = loading_run("two.db", 1, true, (const char *const[]){directory, NULL});
	whole = loading_path("whole.db");
	for (size_t i = 0; i < sizeof(sql) / sizeof(*sql); i++) {
		agree(whole, two, sql[i]);
		agree(whole, parts, sql[i]);
	}
	unlink(parts);
	unlink(two);
}

static const char *load_whole(const struct history *h)
{
	loading_directory("whole");
	write_segment(h, "whole", 1, 0, h->last_ms);
	return loading_run("whole.db", 1, true, (const char *const[]){"whole", NULL});
}

/* 10 was seen to serve on 80, so what nobody saw accepted there counts as its own; 11 on 81 and 82
 * was not. */
#define SERVERS                                                                                    \
	{"tcp 0.0.0.0 80 0.0.0.0 0 10", 500, 10, 0, NEVER_MS},                                     \
		{"tcp " HOST " 80 " PEER " 50099 1", 501, 10, 0, NEVER_MS},                        \
		{"tcp 0.0.0.0 81 0.0.0.0 0 10", 502, 11, 0, NEVER_MS},                             \
	{                                                                                          \
		"tcp 0.0.0.0 82 0.0.0.0 0 10", 503, 11, 0, NEVER_MS                                \
	}
#define NEVER_MS 100000

/* Connections that a reading does not have are their listener's, if no second one has them not;
 * a refused one is nobody's, whoever might have listened. */
static void what_listeners_accept_is_the_same_wherever_it_was_cut(void **state)
{
	static const struct row rows[] = {
		SERVERS,
		{"tcp " HOST " 82 " PEER " 50006 1", 506, 11, 4000, NEVER_MS},
		{"tcp " HOST " 80 " PEER " 50007 1", 507, 10, 4000, NEVER_MS},
	};
	static const struct scene_packet packets[] = {
		TCP(500, PEER, 50002, HOST, 80, SYN, 100, 0, 0),
		TCP(501, HOST, 80, PEER, 50002, SYN | ACK, 900, 101, 0),
		TCP(1500, PEER, 50001, HOST, 80, SYN, 100, 0, 0),
		TCP(1501, HOST, 80, PEER, 50001, SYN | ACK, 900, 101, 0),
		TCP(1600, PEER, 50003, HOST, 81, SYN, 100, 0, 0),
		TCP(1601, HOST, 81, PEER, 50003, SYN | ACK, 900, 101, 0),
		TCP(1610, PEER, 50004, HOST, 81, SYN, 100, 0, 0),
		TCP(1620, PEER, 50005, HOST, 80, SYN, 100, 0, 0),
		TCP(1630, PEER, 50006, HOST, 82, SYN, 100, 0, 0),
		TCP(1631, HOST, 82, PEER, 50006, SYN | ACK, 900, 101, 0),
		TCP(1640, PEER, 50007, HOST, 80, SYN, 100, 0, 0),
		TCP(1641, HOST, 80, PEER, 50007, SYN | ACK, 900, 101, 0),
		TCP(2600, PEER, 50001, HOST, 80, ACK, 101, 901, 5),
		TCP(2610, PEER, 50002, HOST, 80, ACK, 101, 901, 5),
		TCP(2700, PEER, 50003, HOST, 81, ACK, 101, 901, 5),
		TCP(2710, HOST, 81, PEER, 50004, RST | ACK, 0, 101, 0),
		TCP(2720, HOST, 80, PEER, 50005, RST | ACK, 0, 101, 0),
		TCP(2730, PEER, 50006, HOST, 82, ACK, 101, 901, 5),
		TCP(2740, PEER, 50007, HOST, 80, ACK, 101, 901, 5),
		TCP(4500, HOST, 82, PEER, 50006, ACK, 901, 106, 5),
		TCP(4510, HOST, 80, PEER, 50007, ACK, 901, 106, 5),
	};
	const struct history h = {rows, sizeof(rows) / sizeof(*rows), packets,
				  sizeof(packets) / sizeof(*packets), 6000};
	static const int64_t cuts[] = {450,  505,  1450, 1550, 1605, 1615, 1625, 1635, 1645,
				       2500, 2605, 2705, 2715, 2725, 2735, 3500, 4505};

	(void)state;
	answers(load_whole(&h), CONNECTIONS,
		"tcp|50002|80|resp|||gap|0|0|0|0|0|0|1|2\n"
		"tcp|50001|80|resp|10|listener||0|0|0|0|0|3|1|2\n"
		"tcp|50003|81|resp|||ambiguous|0|0|0|0|0|0|1|2\n"
		"tcp|50004|81|resp|||no-socket|0|0|0|0|0|0|1|1\n"
		"tcp|50005|80|resp|||no-socket|0|0|0|0|0|0|1|1\n"
		"tcp|50006|82|resp|11|exact||1|3|0|0|0|0|2|2\n"
		"tcp|50007|80|resp|10|exact||1|3|0|0|0|0|2|2\n");
	answers(loading_path("whole.db"), CANDIDATES,
		"1|50001|\n1|50002|\n1|50003|11\n1|50004|\n1|50005|\n1|50006|\n1|50007|\n");
	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++)
		same_when_cut(&h, cuts[i]);
}

/* The next connection on a tuple takes what was first seen of a socket after it began, from each
 * packet of the one before. */
static void what_the_next_connection_takes_is_the_same_wherever_it_was_cut(void **state)
{
	static const struct row rows[] = {
		{"tcp " HOST " 40000 " PEER " 80 1", 500, 11, 3000, NEVER_MS},
	};
	static const struct scene_packet packets[] = {
		HANDSHAKE(2100, 40000), OUT(2200, 40000, RST, 101, 0, 0),
		OUT(2600, 40000, SYN, 7000, 0, 0), IN(2601, 40000, SYN | ACK, 8000, 7001, 0),
		OUT(3500, 40000, ACK, 7001, 8001, 5)};
	const struct history h = {rows, 1, packets, sizeof(packets) / sizeof(*packets), 5000};
	static const int64_t cuts[] = {2050, 2150, 2250, 2500, 2650, 3200};

	(void)state;
	answers(load_whole(&h), CONNECTIONS,
		"tcp|40000|80|orig|||gap|0|0|0|0|0|0|3|1\n"
		"tcp|40000|80|orig|11|exact||1|2|0|0|0|0|2|1\n");
	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++)
		same_when_cut(&h, cuts[i]);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, loading_begin, loading_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(losses_after_a_rotation_leave_it_nobodys),
		FACT(an_heir_of_the_next_segment_has_nothing_of_the_one_before),
		FACT(the_next_segments_connection_does_not_own_the_one_before),
		FACT(before_a_rotation_a_passed_descriptor_was_anothers),
		FACT(a_restated_reading_is_one_snapshot),
		FACT(looking_ahead_over_a_rotation_stops_where_it_does_within),
		FACT(an_owner_reaches_back_over_a_rotation_within_its_own_segment_too),
		FACT(a_refusal_is_one_wherever_it_was_cut),
		FACT(what_listeners_accept_is_the_same_wherever_it_was_cut),
		FACT(what_the_next_connection_takes_is_the_same_wherever_it_was_cut),
		FACT(a_listeners_connection_stays_its_own_over_a_rotation),
		FACT(what_is_nobodys_already_stays_one_row_when_the_next_begins),
		FACT(who_answers_a_syn_that_is_missing_begins_a_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
