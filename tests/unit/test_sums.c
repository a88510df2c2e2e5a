/* Sums of traffic that the store keeps, and the named queries that go by them. */
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
#include "analyze/schema_sql.h"
#include "analyze/storefile.h"
#include "snapshot/format/quantity.h"
#include "tests/unit/rows.h"

#define BEGAN_NS    INT64_C(1795290600000000000)
#define SPAN_S	    (3 * 86400)
#define PROCESSES   12
#define CONNECTIONS 160
#define DATABASES   4
#define WINDOWS	    30 /* of each named query, on each database */
#define RECORDINGS  6

static uint64_t random_state;

static int64_t draw(int64_t below) /* xorshift64* */
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (int64_t)((random_state * UINT64_C(0x2545f4914f6cdd1d) >> 11) % (uint64_t)below);
}

static struct store_connection connections[CONNECTIONS + 1]; /* by id; flow_id 0: folded */
static int64_t recordings;				     /* 1, or all of them */
static char remotes[CONNECTIONS + 1][16];
static int64_t width_ns;

/* ------------------------------------------------------------ a random load -- */

/* Two of one host, two machines of one name, one whose machine and one whose name is not known. */
static void put_recordings(struct store *store)
{
	static const char *const hosts[RECORDINGS][2] = {
		{"alpha", "m1"}, {"alpha", "m1"}, {"twin", "m2"},
		{"twin", "m3"},	 {"beta", NULL},  {NULL, NULL},
	};

	for (int64_t i = 0; i < recordings; i++) {
		struct store_recording row = rows_recording;

		row.recording_id = 1 + i;
		row.recording_uuid = NULL;
		row.hostname = hosts[i][0];
		row.machine_id = hosts[i][1];
		OK(store_recording(store, &row, true, &rows_error));
	}
}

/* The same of a connection and of whoever can own it. */
static int64_t recording_of(int64_t id)
{
	return 1 + id % recordings;
}

static void put_process(struct store *store, int64_t id)
{
	char comm[16], exe[32];
	struct store_process row = rows_process(id, 500 + id, comm, exe, 7);

	snprintf(comm, sizeof(comm), "worker%d", (int)(id % 5));
	snprintf(exe, sizeof(exe), "/usr/bin/program%d", (int)(id % 3));
	row.recording_id = recording_of(id);
	if (id % 4 == 0)
		row.comm = NULL;
	OK(store_process(store, &row, true, &rows_error));
}

static void choose_owner(struct store_connection *c)
{
	static const char *const reasons[] = {"gap", "ambiguous", "no-socket"};
	int64_t packets = c->sent_packets + c->received_packets;

	c->process_id = draw(5) == 0 ? 0 : 1 + draw(PROCESSES);
	if (c->process_id != 0)
		c->process_id = 1 + (c->process_id * recordings + c->connection_id - 1) % PROCESSES;
	c->rule = c->process_id != 0 ? "exact" : NULL;
	c->reason = c->process_id != 0 ? NULL : reasons[draw(3)];
	memset(c->rule_packets, 0, sizeof(c->rule_packets));
	if (c->process_id != 0)
		c->rule_packets[draw(STORE_RULES)] = packets;
}

static void put_connection(struct store *store, int64_t id)
{
	struct store_flow flow = rows_flow(id);
	struct store_connection *c = &connections[id];
	struct store_candidate candidate = {id, 0, 0};

	*c = rows_unowned(id, id, "gap");
	c->sent_packets = c->sent_bytes = c->received_packets = c->received_bytes = 0;
	c->start_ns = INT64_MAX;
	c->end_ns = INT64_MIN + 1;
	snprintf(remotes[id], sizeof(remotes[id]), "192.0.2.%d", (int)(2 + draw(9)));
	c->remote_address = remotes[id];
	c->end = draw(2) == 0 ? "orig" : "resp";
	flow.orig_address = c->end[0] == 'o' ? "192.0.2.1" : remotes[id];
	flow.resp_address = c->end[0] == 'o' ? remotes[id] : "192.0.2.1";
	choose_owner(c);
	flow.recording_id = recording_of(id);
	OK(store_flow(store, &flow, STORE_INSERT, &rows_error));
	OK(store_connection(store, c, STORE_INSERT, &rows_error));
	for (int i = 0; c->reason != NULL && c->reason[0] == 'a' && i < 2; i++) {
		candidate.process_id = 1 + draw(PROCESSES);
		OK(store_candidate(store, &candidate, &rows_error));
	}
}

static void add_rows(struct store *store, int64_t id)
{
	struct store_connection *c = &connections[id];
	int64_t time_ns = BEGAN_NS + draw(SPAN_S) * NS_PER_SECOND;
	int64_t most = draw(4) == 0 ? 9000 : 5;

	for (int64_t i = draw(30); i >= 0; i--, time_ns += (1 + draw(most)) * width_ns) {
		const struct store_traffic row = {
			id, time_ns / width_ns, 1 + draw(9), 1 + draw(9000), draw(9), draw(9000)};

		OK(store_traffic(store, &row, 1, &rows_error));
		c->sent_packets += row.sent_packets;
		c->sent_bytes += row.sent_bytes;
		c->received_packets += row.received_packets;
		c->received_bytes += row.received_bytes;
		c->start_ns = time_ns < c->start_ns ? time_ns : c->start_ns;
		c->end_ns = time_ns > c->end_ns ? time_ns : c->end_ns;
	}
}

static void fold(struct store *store, int64_t from, int64_t to)
{
	struct store_connection *f = &connections[from], *t = &connections[to];

	OK(store_fold_connection(store, from, to, &rows_error));
	t->sent_packets += f->sent_packets;
	t->sent_bytes += f->sent_bytes;
	t->received_packets += f->received_packets;
	t->received_bytes += f->received_bytes;
	t->start_ns = f->start_ns < t->start_ns ? f->start_ns : t->start_ns;
	t->end_ns = f->end_ns > t->end_ns ? f->end_ns : t->end_ns;
	f->flow_id = 0;
}

/* A segment: new connections, traffic of these and of earlier ones, other owners, folds. */
static void put_segment(struct store *store, int64_t first, int64_t last)
{
	for (int64_t id = first; id <= last; id++)
		put_connection(store, id);
	for (int64_t id = 1; id <= last; id++)
		if (connections[id].flow_id != 0 && (id >= first || draw(4) == 0))
			add_rows(store, id);
	for (int i = 0; i < 5; i++) {
		int64_t from = 1 + draw(last), to = 1 + draw(last);

		if (from != to && connections[from].flow_id != 0 && connections[to].flow_id != 0)
			fold(store, from, to);
	}
	for (int64_t id = 1; id <= last; id++) {
		if (connections[id].flow_id == 0)
			continue;
		if (draw(5) == 0)
			choose_owner(&connections[id]);
		OK(store_connection(store, &connections[id], STORE_REWRITE, &rows_error));
	}
}

/* What does not stay: another owner, and traffic of his. */
static void give_up(struct store *store)
{
	const struct store_traffic lost = {1, 5, 1, 1, 1, 1};

	OK(store_begin(store, &rows_error));
	for (int64_t id = 1; id <= CONNECTIONS; id++) {
		struct store_connection other = connections[id];

		if (other.flow_id == 0)
			continue;
		choose_owner(&other);
		OK(store_connection(store, &other, STORE_REWRITE, &rows_error));
	}
	OK(store_traffic(store, &lost, 1, &rows_error));
	store_rollback(store);
}

/* In two loads of two segments, some with one that is given up between them. */
static void make_database(uint64_t seed)
{
	static const int64_t widths_ns[] = {NS_PER_SECOND, NS_PER_SECOND / 2, 10 * NS_PER_SECOND};
	int64_t last = 0;

	random_state = seed;
	width_ns = widths_ns[seed % 3];
	recordings = seed % 2 == 0 ? 1 : RECORDINGS;
	memset(connections, 0, sizeof(connections));
	for (int load = 0; load < 2; load++) {
		struct store *store = rows_open(rows_target, width_ns, false);

		OK(store_begin(store, &rows_error));
		if (load == 0) {
			struct store_segment segment = rows_segment(1, "aa", "bb");

			put_recordings(store);
			OK(store_segment(store, &segment, true, &rows_error));
			for (int64_t id = 1; id <= PROCESSES; id++)
				put_process(store, id);
		}
		for (int segment = 0; segment < 2; segment++) {
			put_segment(store, last + 1, last + CONNECTIONS / 4);
			last += CONNECTIONS / 4;
			OK(store_commit(store, &rows_error));
			if (draw(2) == 0)
				give_up(store);
			OK(store_begin(store, &rows_error));
		}
		OK(store_commit(store, &rows_error));
		OK(store_finish(store, &rows_error));
	}
}

/* ------------------------------------------------------------------- sums -- */

#define COUNTS                                                                                     \
	"sum(sent_packets) AS sent_packets, sum(sent_bytes) AS sent_bytes, "                       \
	"sum(received_packets) AS received_packets, sum(received_bytes) AS received_bytes"
#define OWNED                                                                                      \
	"(SELECT coalesce(c.process_id, 0) AS process_id, t.* FROM traffic t "                     \
	"LEFT JOIN connection c ON c.connection_id = t.connection_id)"
#define BUCKETS "SELECT process_id, bucket, " COUNTS " FROM " OWNED " GROUP BY 1, 2"
#define PERIODS                                                                                    \
	"SELECT process_id, p.buckets, bucket / p.buckets, " COUNTS                                \
	", max(sent_bytes + received_bytes) FROM process_bucket CROSS JOIN period p "              \
	"GROUP BY 1, 2, 3"
#define DIFFERENCE(a, b)                                                                           \
	"SELECT (SELECT count(*) FROM (SELECT * FROM (" a ") EXCEPT SELECT * FROM (" b ")))"       \
	" + (SELECT count(*) FROM (SELECT * FROM (" b ") EXCEPT SELECT * FROM (" a ")))"

static void check_sums(void)
{
	assert_string_equal(
		rows_ask(rows_target, DIFFERENCE(BUCKETS, "SELECT * FROM process_bucket")), "0");
	assert_string_equal(
		rows_ask(rows_target, DIFFERENCE(PERIODS, "SELECT * FROM process_period")), "0");
	assert_string_not_equal(rows_ask(rows_target, "SELECT count(*) FROM process_bucket"), "0");
}

static void sums_are_those_of_traffic(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= DATABASES; seed++) {
		make_database(seed);
		check_sums();
		rows_entries(true);
	}
}

#define MANY 200000

/* Connections of one process in the same buckets, so that little is left of them once they are
 * added up; and then one with more buckets than are held back. */
static void more_rows_than_are_held_back_add_up(void **state)
{
	(void)state;
	struct store_traffic *rows = calloc(MANY, sizeof(*rows));
	int found = 0;

	make_database(41);
	struct store *store = rows_open(rows_target, 0, false);
	OK(store_begin(store, &rows_error));
	for (int64_t id = 1; found < 5; id++) {
		struct store_connection *c = &connections[id];
		size_t count = ++found < 5 ? MANY / 3 : MANY;

		if (c->flow_id == 0) {
			found--;
			continue;
		}
		c->process_id = 3;
		c->rule = "exact";
		c->reason = NULL;
		OK(store_connection(store, c, STORE_REWRITE, &rows_error));
		for (size_t i = 0; i < count; i++)
			rows[i] = (struct store_traffic){
				id, BEGAN_NS / width_ns + (int64_t)i * 2, 1, draw(900), 0, 0};
		OK(store_traffic(store, rows, count, &rows_error));
	}
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	free(rows);
	check_sums();
}

static void periods_before_1970_are_whole(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	struct store *store = rows_open(rows_target, 0, false);

	OK(store_begin(store, &rows_error));
	rows_add_traffic(store, 1, -1, 10);
	rows_add_traffic(store, 1, -600, 20);
	rows_add_traffic(store, 1, 0, 40);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(buckets || ' ' || period || ' ' || "
				     "sent_bytes || ' ' || peak_bytes) FROM process_period"),
			    "600 -1 30 60,600 0 40 120,3600 -1 30 60,3600 0 40 120,"
			    "86400 -1 30 60,86400 0 40 120");
}

/* ---------------------------------------------------------- named queries -- */

static const char *const summed[] = {"top",	    "talkers", "timeline",
				     "connections", "rules",   "unattributed"};
#define SUMMED (int)(sizeof(summed) / sizeof(summed[0]))

/* What a query prints; the caller's to free. */
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

static int64_t draw_time(void)
{
	int64_t time_ns = BEGAN_NS - 86400 * NS_PER_SECOND + draw(5 * SPAN_S) * NS_PER_SECOND / 2;

	/* Where buckets and periods begin, and elsewhere. */
	return draw(2) == 0 ? time_ns / (3600 * width_ns) * (3600 * width_ns)
			    : time_ns + draw(NS_PER_SECOND);
}

static struct query_parameters draw_parameters(const char *name)
{
	static const char *const patterns[] = {"worker1",  "worker*",	 "503",
					       "program2", "/usr/bin/*", "nobody"};
	static const char *const hosts[] = {"alpha", "twin@m3",	 "twin@m2",
					    "beta",  "alpha@m1", "twin"};
	static const int64_t steps[] = {1, 7, 600, 900, 3600, 5400, 86400};
	struct query_parameters out = QUERY_NO_PARAMETERS;

	out.limit = draw(2) == 0 ? QUERY_NULL : draw(2) == 0 ? draw(6) : draw(300);
	out.host = draw(2) == 0 ? NULL : hosts[draw(6)];
	if (strcmp(name, "rules") == 0 || strcmp(name, "unattributed") == 0)
		return out;
	if (draw(3) > 0)
		out.since_ns = draw_time();
	if (draw(3) > 0)
		out.until_ns = out.since_ns != QUERY_NULL && draw(3) == 0
				       ? out.since_ns + draw(30 * NS_PER_SECOND)
				       : draw_time();
	if (draw(3) == 0)
		out.process = patterns[draw(6)];
	if (strcmp(name, "timeline") == 0 && draw(2) == 0)
		out.bucket_ns = steps[draw(7)] * width_ns;
	return out;
}

static void named_queries_say_what_plain_ones_do(void **state)
{
	(void)state;
	for (uint64_t seed = 11; seed < 11 + DATABASES; seed++) {
		sqlite3 *db = NULL;

		make_database(seed);
		OK(storefile_open(rows_target, &db, &rows_error));
		for (int i = 0; i < WINDOWS * SUMMED; i++) {
			const char *name = summed[i % SUMMED];
			struct query_parameters p = draw_parameters(name);
			char *found = ask(db, query_find(name)->text, &p);
			char *plain = rows_plain_query(name);
			char *wanted = ask(db, plain, &p);

			if (strcmp(found, wanted) != 0)
				fail_msg("%s since %lld until %lld process %s host %s limit %lld "
					 "step %lld, seed %d: found\n%s\nwanted\n%s",
					 name, (long long)p.since_ns, (long long)p.until_ns,
					 p.process ? p.process : "-", p.host ? p.host : "-",
					 (long long)p.limit, (long long)p.bucket_ns, (int)seed,
					 found, wanted);
			free(found);
			free(wanted);
			free(plain);
		}
		sqlite3_close(db);
		rows_entries(true);
	}
}

static void views_are_those_of_traffic(void **state)
{
	(void)state;
	make_database(21);
	assert_string_equal(
		rows_ask(rows_target,
			 DIFFERENCE("SELECT bucket, nullif(process_id, 0), " COUNTS " FROM " OWNED
				    " GROUP BY 1, 2",
				    "SELECT bucket, process_id, sent_packets, sent_bytes, "
				    "received_packets, received_bytes FROM process_timeline")),
		"0");
	assert_string_equal(
		rows_ask(rows_target,
			 DIFFERENCE(
				 "SELECT process_id, CAST(max(sent_bytes + received_bytes) * 1e9 / "
				 "(SELECT value FROM setting WHERE key = 'bucket_ns') AS INTEGER) "
				 "FROM (" BUCKETS ") WHERE process_id > 0 GROUP BY 1",
				 "SELECT process_id, peak_bytes_per_second FROM process_traffic")),
		"0");
}

/* ------------------------------------------------------------------- plans -- */

/* Numbers of the pages where a table and its indexes begin. */
static bool is_root(sqlite3 *db, const char *table, int64_t page)
{
	char sql[160];
	int64_t found = 0;

	snprintf(sql, sizeof(sql),
		 "SELECT count(*) FROM sqlite_schema WHERE tbl_name = '%s' AND rootpage = %lld",
		 table, (long long)page);
	OK(storefile_integer(db, rows_target, sql, 0, &found, &rows_error));
	return found > 0;
}

#define MOST_CURSORS 2048 /* of one statement */

/* Of SQLite's machine: a cursor on the table that is set to its first or last row walks it. */
static bool walks(sqlite3 *db, const char *query, const char *table)
{
	char *sql = sqlite3_mprintf("EXPLAIN %s", query);
	sqlite3_stmt *statement = NULL;
	bool is_on[MOST_CURSORS] = {false}, found = false;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	for (int pass = 0; pass < 2; pass++) {
		while (sqlite3_step(statement) == SQLITE_ROW) {
			const char *code = (const char *)sqlite3_column_text(statement, 1);
			int cursor = sqlite3_column_int(statement, 2);

			if (strcmp(code, "OpenRead") == 0) {
				assert_true(cursor < MOST_CURSORS);
				is_on[cursor] =
					is_on[cursor] ||
					is_root(db, table, sqlite3_column_int64(statement, 3));
			} else if (strcmp(code, "Rewind") == 0 || strcmp(code, "Last") == 0) {
				found = found || (cursor < MOST_CURSORS && is_on[cursor]);
			}
		}
		sqlite3_reset(statement);
	}
	sqlite3_finalize(statement);
	sqlite3_free(sql);
	return found;
}

/* With what is given, and without: parameters are bound after a statement is prepared, so a
 * query has one plan for all of its arguments. */
static void no_query_reads_all_traffic(void **state)
{
	static const char *const large[] = {"traffic", "packet", "process_bucket"};
	static const char *const checked[] = {"connection", "socket", "flow"};
	sqlite3 *db = NULL;

	(void)state;
	for (int is_empty = 0; is_empty < 2; is_empty++) {
		if (is_empty)
			OK(store_finish(rows_open(rows_target, 0, true), &rows_error));
		else
			make_database(31);
		OK(storefile_open(rows_target, &db, &rows_error));
		assert_true(walks(db, "SELECT sum(sent_bytes) FROM traffic", "traffic"));
		assert_true(walks(db, "SELECT max(bucket) FROM process_bucket", "process_bucket"));
		for (const struct schema_query *q = schema_queries; q->name; q++)
			for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
				if (walks(db, q->text, large[i]))
					fail_msg("%s walks all of %s", q->name, large[i]);
		for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++)
			assert_false(walks(db, query_find("kernel_check")->text, checked[i]));
		sqlite3_close(db);
		rows_entries(true);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sums_are_those_of_traffic),     TEST(more_rows_than_are_held_back_add_up),
		TEST(periods_before_1970_are_whole), TEST(named_queries_say_what_plain_ones_do),
		TEST(views_are_those_of_traffic),    TEST(no_query_reads_all_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
