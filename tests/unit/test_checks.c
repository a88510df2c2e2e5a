/* The verdicts of kernel_check that the store keeps, beside those made anew of all rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/query.h"
#include "analyze/storefile.h"
#include "snapshot/format/quantity.h"
#include "tests/unit/rows.h"

#define DATABASES   60
#define LOADS	    5	/* of each database, of some transactions each */
#define FIRST_STEPS 300 /* of a new database */
#define STEPS	    12	/* at most, of a transaction that adds */
#define WINDOWS	    20
#define MOST	    400 /* rows of a table */
#define SPAN_S	    100
#define RECORDINGS  2
#define PROCESSES   4
#define PLAIN	    "tests/data/kernel_check.sql"

static uint64_t random_state;

static int64_t draw(int64_t below) /* xorshift64* */
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (int64_t)((random_state * UINT64_C(0x2545f4914f6cdd1d) >> 11) % (uint64_t)below);
}

static int64_t draw_time(void)
{
	return draw(SPAN_S) * NS_PER_SECOND;
}

/* ------------------------------------------------------------ a random load -- */

/* What was written of each table, by id from 1. */
struct world {
	int64_t flows, sockets, connections, segments, coverages;
	struct store_flow flow[MOST + 1];
	struct store_socket socket[MOST + 1];
	struct store_connection connection[MOST + 1]; /* flow_id 0: folded */
	struct store_segment segment[MOST + 1];
};
static struct world world, kept;

/* Mostly the same for a flow and the socket of its number. */
static int64_t recording_of(int64_t id)
{
	return 1 + (draw(10) == 0 ? draw(RECORDINGS) : id % RECORDINGS);
}

/* Bytes as the kernel may have counted them, so small that they meet by chance. */
static int64_t draw_bytes(void)
{
	return draw(12) == 0 ? STORE_NULL : draw(4);
}

static void count_socket(struct store_socket *row)
{
	bool closed = draw(3) > 0;

	row->closed_ns = closed ? draw_time() : STORE_NULL;
	row->kernel_bytes_acked = closed ? draw_bytes() : STORE_NULL;
	row->kernel_bytes_received = closed ? draw_bytes() : STORE_NULL;
	row->kernel_bytes_sent = closed ? draw_bytes() : STORE_NULL;
	row->kernel_bytes_retransmitted = closed ? draw_bytes() : STORE_NULL;
	row->remote_port = draw(8) == 0 ? STORE_NULL : 443;
}

static void put_socket(struct store *store)
{
	int64_t id = ++world.sockets;
	struct store_socket row = {.socket_id = id,
				   .recording_id = recording_of(id),
				   .protocol = draw(8) == 0 ? "udp" : "tcp",
				   .family = 4,
				   .local_port = 40000,
				   .opened_ns = STORE_NULL};

	count_socket(&row);
	OK(store_socket(store, &row, true, &rows_error));
	world.socket[world.sockets] = row;
}

static const char *draw_history(void)
{
	static const char *const histories[] = {"ShADadFf", "ShADadfF", "ShADaRf",
						"ShADad",   "ShADar",	"ShAfDr",
						"ShADaR",   "DadF",	NULL};

	return histories[draw(9)];
}

static void put_flow(struct store *store)
{
	struct store_flow row = rows_flow(++world.flows);

	row.recording_id = recording_of(row.flow_id);
	row.history = draw_history();
	OK(store_flow(store, &row, STORE_INSERT, &rows_error));
	world.flow[world.flows] = row;
}

static void fill_connection(struct store_connection *row)
{
	int64_t near = row->flow_id + draw(4) / 3;

	/* Mostly the socket of its flow's number, or the next one. */
	row->socket_id = draw(6) == 0 ? 0 : 1 + draw(world.sockets);
	if (draw(6) > 0 && near <= world.sockets)
		row->socket_id = near;
	row->start_ns = draw_time();
	row->end_ns = row->start_ns + draw(20) * NS_PER_SECOND;
	row->sent_payload_bytes = draw(3);
	row->received_payload_bytes = draw(4);
	row->sent_packets = draw(4);
}

static void put_connection(struct store *store)
{
	int64_t id = ++world.connections, flow = 1 + draw(world.flows);
	struct store_connection row = draw(3) == 0 ? rows_unowned(id, flow, "gap")
						   : rows_owned(id, flow, 1 + draw(PROCESSES));

	row.end = draw(2) == 0 ? "orig" : "resp";
	fill_connection(&row);
	OK(store_connection(store, &row, STORE_INSERT, &rows_error));
	world.connection[id] = row;
}

static void change_connection(struct store *store)
{
	int64_t id = 1 + draw(world.connections), to = 1 + draw(world.connections);
	struct store_connection *row = &world.connection[id];

	if (row->flow_id == 0)
		return;
	if (draw(5) == 0 && to != id && world.connection[to].flow_id != 0) {
		OK(store_fold_connection(store, id, to, &rows_error));
		row->flow_id = 0;
		return;
	}
	fill_connection(row);
	OK(store_connection(store, row, STORE_REWRITE, &rows_error));
}

static void put_segment(struct store *store)
{
	static const char *const states[] = {"damaged", "repaired"};
	int64_t id =
		world.segments > 0 && draw(3) == 0 ? 1 + draw(world.segments) : world.segments + 1;
	bool is_new = id > world.segments;
	struct store_segment row = is_new ? rows_segment(id, "aa", "bb") : world.segment[id];

	if (is_new) {
		row.recording_id = draw(20) == 0 ? 0 : 1 + draw(RECORDINGS);
		row.number = draw(8) == 0 ? STORE_NULL : 1 + draw(60);
		world.segments = id;
	}
	row.state = draw(8) == 0 ? states[draw(2)] : "whole";
	row.first_packet_ns = row.last_packet_ns = STORE_NULL;
	row.pcap_name = draw(10) == 0 ? NULL : "a.pcap";
	if (draw(6) > 0) {
		row.first_packet_ns =
			row.number == STORE_NULL ? draw_time() : row.number * 2 * NS_PER_SECOND;
		row.first_packet_ns += draw(3) * NS_PER_SECOND;
		row.last_packet_ns = row.first_packet_ns + draw(3) * NS_PER_SECOND;
	}
	OK(store_segment(store, &row, is_new, &rows_error));
	world.segment[id] = row;
}

static void put_hole(struct store *store)
{
	static const char *const reasons[] = {"truncated", "malformed", "fragment", "not-ip"};
	int64_t segment = 1 + draw(world.segments);
	struct store_other other = {segment, reasons[draw(4)], 1, 28};
	struct store_coverage row = {.recording_id = 1 + draw(RECORDINGS),
				     .segment_id = segment,
				     .kind = draw(2) == 0 ? "dropped" : "missing",
				     .begin_ns = draw(8) == 0 ? STORE_NULL : draw_time(),
				     .count = draw(3)};

	if (draw(2) == 0) {
		OK(store_other(store, &other, &rows_error));
		return;
	}
	row.coverage_id = ++world.coverages;
	row.end_ns =
		row.begin_ns == STORE_NULL ? STORE_NULL : row.begin_ns + draw(9) * NS_PER_SECOND;
	OK(store_coverage(store, &row, &rows_error));
}

static void put_recording(struct store *store, int64_t id, bool insert)
{
	static const char *const kernels[] = {"4.9.0-19-amd64", "6.1.0", "4.19.0", NULL};
	static const char *const filters[] = {NULL, "", "port 80", "src port 80"};
	struct store_recording row = rows_recording;

	row.recording_id = id;
	row.machine_id = id > 1 ? "m" : NULL; /* two machines of one name */
	row.kernel = kernels[draw(4)];
	row.filter = filters[draw(4)];
	OK(store_recording(store, &row, insert, &rows_error));
}

static void step(struct store *store)
{
	int64_t which = draw(40);

	if (which < 7 && world.flows < MOST)
		put_flow(store);
	else if (which < 14 && world.sockets < MOST)
		put_socket(store);
	else if (which < 21 && world.connections < MOST && world.flows > 0 && world.sockets > 0)
		put_connection(store);
	else if (which < 25 && world.connections > 0)
		change_connection(store);
	else if (which < 30 && world.segments < MOST)
		put_segment(store);
	else if (which < 36 && world.segments > 0)
		put_hole(store);
	else if (which < 38 && world.sockets > 0) {
		struct store_socket *row = &world.socket[1 + draw(world.sockets)];

		count_socket(row);
		OK(store_socket(store, row, false, &rows_error));
	} else if (which < 39 && world.flows > 0) {
		struct store_flow *row = &world.flow[1 + draw(world.flows)];

		row->history = draw_history();
		OK(store_flow(store, row, STORE_REWRITE, &rows_error));
	} else if (draw(4) == 0) {
		put_recording(store, 1 + draw(RECORDINGS), false);
	}
}

static void begin_database(struct store *store)
{
	char comm[16];

	world = (struct world){0};
	for (int64_t id = 1; id <= RECORDINGS; id++)
		put_recording(store, id, true);
	for (int64_t id = 1; id <= PROCESSES; id++) {
		const struct store_process row =
			rows_process(id, 500 + id, id == 3 ? NULL : comm, "/usr/bin/program", 7);

		snprintf(comm, sizeof(comm), "worker%d", (int)id);
		OK(store_process(store, &row, true, &rows_error));
	}
}

/* Of some transactions; now and then one is given up. */
static void load(bool is_first)
{
	struct store *store = rows_open(rows_target, 0, false);

	for (int64_t transactions = 1 + draw(4); transactions > 0; transactions--) {
		int64_t steps = is_first ? FIRST_STEPS : draw(STEPS);
		bool given_up = !is_first && draw(4) == 0;

		OK(store_begin(store, &rows_error));
		if (is_first)
			begin_database(store);
		is_first = false;
		kept = world;
		while (steps-- > 0)
			step(store);
		if (!given_up) {
			OK(store_commit(store, &rows_error));
			continue;
		}
		store_rollback(store);
		world = kept;
	}
	OK(store_finish(store, &rows_error));
}

/* ----------------------------------------------------------------- verdicts -- */

static char *text_of(const char *path)
{
	char *text = calloc(1, 16384);
	FILE *file = fopen(path, "r");

	assert_non_null(text);
	assert_non_null(file);
	assert_true(fread(text, 1, 16383, file) < 16383);
	fclose(file);
	return text;
}

/* Rows that only one of both has. */
static int64_t differences(void)
{
	char *plain = text_of(PLAIN);
	char *sql = sqlite3_mprintf(
		"WITH plain AS MATERIALIZED (SELECT * FROM (%s)) SELECT "
		"(SELECT count(*) FROM (SELECT * FROM kernel_check EXCEPT SELECT * FROM plain)) "
		"+ (SELECT count(*) FROM (SELECT * FROM plain EXCEPT SELECT * FROM kernel_check)) "
		"+ abs((SELECT count(*) FROM kernel_check) - (SELECT count(*) FROM plain))",
		plain);
	int64_t count = strtoll(rows_ask(rows_target, sql), NULL, 10);

	sqlite3_free(sql);
	free(plain);
	return count;
}

static void kept_verdicts_are_those_made_anew(void **state)
{
	static const char *const verdicts[] = {"equal",	  "retransmitted", "surplus", "reset",
					       "dropped", "cut",	   "differs"};
	int64_t seen[7] = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= DATABASES; seed++) {
		random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
		for (int i = 0; i < LOADS; i++) {
			load(i == 0);
			if (differences() != 0)
				fail_msg("seed %d, load %d: %d rows differ", (int)seed, i,
					 (int)differences());
		}
		for (int i = 0; i < 7; i++) {
			char sql[80];

			snprintf(sql, sizeof(sql),
				 "SELECT count(*) FROM kernel_check WHERE verdict = '%s'",
				 verdicts[i]);
			seen[i] += strtoll(rows_ask(rows_target, sql), NULL, 10);
		}
		rows_entries(true);
	}
	for (int i = 0; i < 7; i++)
		if (seen[i] < DATABASES / 4)
			fail_msg("only %d ends %s", (int)seen[i], verdicts[i]);
}

/* ------------------------------------------------------- one change at a time -- */

#define AT(seconds) ((seconds)*NS_PER_SECOND)

/* Of 9 bytes that the kernel received, the packets have none. */
static struct store_connection lacking(int64_t id, int64_t socket)
{
	struct store_connection row = rows_unowned(id, id, "gap");

	row.socket_id = socket;
	row.start_ns = AT(50);
	row.end_ns = AT(51);
	return row;
}

static void put_lacking(struct store *store, int64_t id, int64_t socket)
{
	const struct store_socket row = {.socket_id = id,
					 .recording_id = 1,
					 .protocol = "tcp",
					 .family = 4,
					 .remote_port = 443,
					 .opened_ns = STORE_NULL,
					 .closed_ns = AT(51),
					 .kernel_bytes_received = 9};
	const struct store_connection connection = lacking(id, socket);
	struct store_flow flow = rows_flow(id);

	flow.history = "ShADadFf";
	OK(store_flow(store, &flow, STORE_INSERT, &rows_error));
	OK(store_socket(store, &row, true, &rows_error));
	OK(store_connection(store, &connection, STORE_INSERT, &rows_error));
}

static struct store_segment numbered(int64_t id, int64_t first_s, const char *state)
{
	struct store_segment row = rows_segment(id, "aa", "bb");

	row.number = id == 4 ? STORE_NULL : id;
	row.state = state;
	row.first_packet_ns = AT(first_s);
	row.last_packet_ns = AT(first_s + 9);
	return row;
}

/* Segments from 40, 45 and 60 s on, of nine seconds each, and one of which nobody knows. */
static void begin_segments(struct store *store)
{
	struct store_recording recording = rows_recording;
	const struct store_segment rows[] = {numbered(1, 40, "whole"), numbered(2, 45, "whole"),
					     numbered(3, 60, "whole"), numbered(4, 70, "whole")};

	OK(store_recording(store, &recording, true, &rows_error));
	for (int i = 0; i < 4; i++)
		OK(store_segment(store, &rows[i], true, &rows_error));
	put_lacking(store, 1, 1);
	put_lacking(store, 2, 2);
}

static void move_segment(struct store *store, int64_t id, int64_t first_s, const char *state)
{
	const struct store_segment row = numbered(id, first_s, state);

	OK(store_segment(store, &row, false, &rows_error));
}

static void cover(struct store *store, int64_t id, const char *kind)
{
	const struct store_coverage row = {.coverage_id = id,
					   .recording_id = 1,
					   .segment_id = 3,
					   .kind = kind,
					   .begin_ns = AT(50),
					   .end_ns = AT(60),
					   .count = 1};

	OK(store_coverage(store, &row, &rows_error));
}

static void own(struct store *store, int64_t socket, bool insert)
{
	const struct store_connection row = lacking(1, socket);

	OK(store_connection(store, &row, insert ? STORE_INSERT : STORE_REWRITE, &rows_error));
}

static void damage(struct store *store)
{
	move_segment(store, 2, 45, "damaged");
}
static void mend(struct store *store)
{
	move_segment(store, 2, 45, "whole");
}
/* So that of what comes before the third segment the first ends last. */
static void put_back(struct store *store)
{
	move_segment(store, 2, 30, "whole");
}
static void miss(struct store *store)
{
	cover(store, 1, "missing");
}
static void share(struct store *store)
{
	own(store, 2, false);
}
static void part(struct store *store)
{
	own(store, 1, false);
}
static void fold(struct store *store)
{
	OK(store_fold_connection(store, 1, 2, &rows_error));
}
static void own_again(struct store *store)
{
	own(store, 1, true);
}
static void damage_bare(struct store *store)
{
	struct store_segment row = numbered(4, 70, "damaged");

	row.first_packet_ns = STORE_NULL;
	OK(store_segment(store, &row, false, &rows_error));
}
static void mend_bare(struct store *store)
{
	move_segment(store, 4, 70, "whole");
}
static void put_other(struct store *store, int64_t id, int64_t number, int64_t first_s, bool insert)
{
	struct store_segment row = numbered(id, first_s, "whole");

	row.number = number;
	OK(store_segment(store, &row, insert, &rows_error));
}
/* Another second one, of which only the snapshots are there. */
static void lose_capture(struct store *store)
{
	struct store_segment row = numbered(5, 0, "whole");

	row.number = 2;
	row.pcap_name = NULL;
	row.first_packet_ns = row.last_packet_ns = STORE_NULL;
	OK(store_segment(store, &row, true, &rows_error));
}
/* Another first one: what the lost one had begins behind it. */
static void precede(struct store *store)
{
	put_other(store, 6, 1, 52, true);
}
static void find_capture(struct store *store)
{
	put_other(store, 5, 2, 20, false);
	put_other(store, 6, 1, 20, false);
}
/* Both ends closed behind all packets. */
static void end_before(struct store *store)
{
	move_segment(store, 3, 30, "whole");
}
/* The recording was stopped: there is no more. */
static void stop_recording(struct store *store)
{
	const struct store_snapshot row = {.snapshot_id = 1,
					   .segment_id = 3,
					   .sequence = 1,
					   .kind = "poll",
					   .cause = "stop",
					   .line = 1};

	OK(store_snapshot(store, &row, true, &rows_error));
	end_before(store);
}
static void end_behind(struct store *store)
{
	move_segment(store, 3, 60, "whole");
}
static void leave_out(struct store *store)
{
	const struct store_other row = {2, "fragment", 1, 28};

	OK(store_other(store, &row, &rows_error));
}
static void drop(struct store *store)
{
	cover(store, 2, "dropped");
}

static void each_change_shows(void **state)
{
	static const struct {
		void (*change)(struct store *store);
		const char *wanted;
	} changes[] = {
		{begin_segments, "1 differs 2 differs"},
		{damage, "1 cut 2 cut"},
		{mend, "1 differs 2 differs"},
		{put_back, "1 differs 2 differs"},
		{lose_capture, "1 cut 2 cut"},
		{precede, "1 differs 2 differs"},
		{find_capture, "1 differs 2 differs"},
		{end_before, "1 cut 2 cut"},
		{stop_recording, "1 differs 2 differs"},
		{end_behind, "1 differs 2 differs"},
		{miss, "1 cut 2 cut"},
		{mend, "1 differs 2 differs"},
		{share, "1 cut 2 cut"},
		{part, "1 differs 2 differs"},
		{share, "1 cut 2 cut"},
		{fold, "2 differs"},
		{own_again, "1 differs 2 differs"},
		{damage_bare, "1 cut 2 cut"},
		{mend_bare, "1 differs 2 differs"},
		{leave_out, "1 cut 2 cut"},
		{drop, "1 dropped 2 dropped"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct store *store = rows_open(rows_target, 0, false);

		OK(store_begin(store, &rows_error));
		changes[i].change(store);
		OK(store_commit(store, &rows_error));
		OK(store_finish(store, &rows_error));
		const char *found =
			rows_ask(rows_target, "SELECT group_concat(flow_id || ' ' || verdict, ' ') "
					      "FROM (SELECT * FROM kernel_check ORDER BY flow_id)");
		if (strcmp(found, changes[i].wanted) != 0)
			fail_msg("change %zu: found %s, wanted %s", i, found, changes[i].wanted);
		assert_int_equal(differences(), 0);
	}
}

static void counters_of_any_size_are_loaded(void **state)
{
	const struct store_recording recording = rows_recording;
	struct store *store = rows_open(rows_target, 0, false);

	(void)state;
	OK(store_begin(store, &rows_error));
	OK(store_recording(store, &recording, true, &rows_error));
	for (int64_t id = 1; id <= 3; id++) {
		struct store_flow flow = rows_flow(1);
		struct store_socket socket = {.socket_id = id,
					      .recording_id = 1,
					      .protocol = "tcp",
					      .family = 4,
					      .remote_port = 443,
					      .opened_ns = STORE_NULL,
					      .closed_ns = id,
					      .kernel_bytes_acked = INT64_MAX,
					      .kernel_bytes_received = INT64_MIN + 1,
					      .kernel_bytes_sent = INT64_MAX,
					      .kernel_bytes_retransmitted = INT64_MAX};
		struct store_connection row = rows_unowned(id, 1, "gap");

		flow.history = "ShADadFf";
		row.socket_id = id;
		row.sent_payload_bytes = 100;
		if (id == 1)
			OK(store_flow(store, &flow, STORE_INSERT, &rows_error));
		OK(store_socket(store, &socket, true, &rows_error));
		OK(store_connection(store, &row, STORE_INSERT, &rows_error));
	}
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target, "SELECT group_concat(verdict || ' ' || "
						  "(kernel_sent_bytes > 1000000000000) || "
						  "(kernel_received_bytes < -1000000000000)) "
						  "FROM kernel_check"),
			    "surplus 11");
}

/* -------------------------------------------------------------- named query -- */

static char *ask(sqlite3 *db, const char *sql, const struct query_parameters *parameters)
{
	char *printed = NULL;
	size_t size;
	struct query_output output = {.stream = open_memstream(&printed, &size),
				      .format = QUERY_CSV};

	OK(query_run(db, rows_target, sql, parameters, &output, &rows_error));
	fclose(output.stream);
	return printed;
}

static void the_named_query_says_what_a_plain_one_does(void **state)
{
	static const char *const patterns[] = {"worker1",  "worker*", "503",
					       "program*", "nobody",  "/usr/bin/*"};
	static const char *const hosts[] = {"alpha@m", "alpha@", "alpha"};
	char *plain = rows_plain_query("kernel_check");
	sqlite3 *db = NULL;

	(void)state;
	random_state = 77;
	for (int i = 0; i < LOADS; i++)
		load(i == 0);
	OK(storefile_open(rows_target, &db, &rows_error));
	for (int i = 0; i < WINDOWS; i++) {
		struct query_parameters p = QUERY_NO_PARAMETERS;

		p.limit = draw(2) == 0 ? QUERY_NULL : draw(20);
		p.since_ns = draw(2) == 0 ? QUERY_NULL : draw_time();
		p.until_ns = draw(2) == 0 ? QUERY_NULL : draw_time();
		p.process = draw(2) == 0 ? NULL : patterns[draw(6)];
		p.host = draw(2) == 0 ? NULL : hosts[draw(3)];
		char *found = ask(db, query_find("kernel_check")->text, &p);
		char *wanted = ask(db, plain, &p);
		if (strcmp(found, wanted) != 0)
			fail_msg("since %lld until %lld process %s host %s limit %lld: found\n"
				 "%.2000s\nwanted\n%.2000s",
				 (long long)p.since_ns, (long long)p.until_ns,
				 p.process ? p.process : "-", p.host ? p.host : "-",
				 (long long)p.limit, found, wanted);
		free(found);
		free(wanted);
	}
	sqlite3_close(db);
	free(plain);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kept_verdicts_are_those_made_anew),
		TEST(each_change_shows),
		TEST(counters_of_any_size_are_loaded),
		TEST(the_named_query_says_what_a_plain_one_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
