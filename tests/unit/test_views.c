/* What the views of schema/views.sql promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/rows.h"

static void accounting_holds_flows_against_packets(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(scope || ':' || packets || '=' || "
				     "flow_packets || '+' || other_packets || '+' || difference) "
				     "FROM accounting"),
			    "segment:4=3+1+0,total:4=3+1+0");
	/* A flow's row that lost a packet shows in the total, whatever was counted. */
	struct store *store = rows_open(rows_target, 0, false);
	struct store_flow flow = rows_flow(1);
	flow.orig_packets = 1;
	OK(store_begin(store, &rows_error));
	OK(store_flow(store, &flow, false, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target, "SELECT group_concat(scope || ':' || difference) "
						  "FROM accounting"),
			    "segment:0,total:1");
}

static void candidates(struct store *store, int64_t connection, int64_t first, int64_t second)
{
	struct store_connection row = rows_unowned(connection, 1, "ambiguous");
	struct store_candidate candidate = {connection, first, 1};

	OK(store_connection(store, &row, true, &rows_error));
	OK(store_candidate(store, &candidate, &rows_error));
	candidate.process_id = second;
	OK(store_candidate(store, &candidate, &rows_error));
}

static void connections_show_what_all_candidates_agree_on(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	const struct store_process processes[] = {
		rows_process(2, 80, "nginx", "/usr/sbin/nginx", 33),
		rows_process(3, 81, "nginx", "/usr/sbin/nginx", 33),
		rows_process(4, 82, "worker", "/usr/sbin/nginx", 0),
		rows_process(5, 83, "nginx", "/opt/nginx", 33),
		rows_process(6, 84, "nginx", NULL, STORE_NULL),
		rows_process(7, 85, "nginx", NULL, 33),
	};

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	for (size_t i = 0; i < sizeof processes / sizeof *processes; i++)
		OK(store_process(store, &processes[i], true, &rows_error));
	candidates(store, 2, 2, 3); /* same program, same user */
	candidates(store, 3, 2, 4); /* same program under another name, other user */
	candidates(store, 4, 2, 5); /* same name, another program, same user */
	candidates(store, 5, 2, 6); /* one program is not known */
	candidates(store, 6, 6, 7); /* no program is known, the names agree */
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(
		rows_ask(rows_target,
			 "SELECT group_concat(connection_id || ' ' || ifnull(pid, '-') || ' ' || "
			 "ifnull(process, '-') || ' ' || ifnull(exe, '-') || ' ' || "
			 "ifnull(uid, '-'), ';') FROM connections"),
		"1 77 curl /usr/bin/curl 1000;"
		"2 - nginx /usr/sbin/nginx 33;"
		"3 - nginx /usr/sbin/nginx -;"
		"4 - - - 33;"
		"5 - - - -;"
		"6 - nginx - -");
}

static void connections_are_seen_from_their_end(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);
	struct store_process nameless = rows_process(2, 78, NULL, "/usr/bin/my server", 5);
	struct store_connection row = rows_owned(2, 1, 2);

	row.end = "resp";
	row.start_ns = 1795290600123456789;
	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	OK(store_process(store, &nameless, true, &rows_error));
	OK(store_connection(store, &row, true, &rows_error));
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	const char *sql =
		"SELECT local_address || ':' || local_port || ' ' || remote_address || "
		"':' || remote_port || ' ' || direction || ' ' || process || ' ' || start "
		"|| ' ' || hostname FROM connections WHERE connection_id = ";
	char whole[512];
	snprintf(whole, sizeof whole, "%s1", sql);
	assert_string_equal(rows_ask(rows_target, whole),
			    "192.0.2.1:40000 192.0.2.2:443 outbound curl "
			    "1970-01-01T00:00:01.000000000Z alpha");
	snprintf(whole, sizeof whole, "%s2", sql);
	assert_string_equal(rows_ask(rows_target, whole),
			    "192.0.2.2:443 192.0.2.1:40000 inbound my server "
			    "2026-11-21T19:50:00.123456789Z alpha");
}

static void process_traffic_has_mean_and_peak(void **state)
{
	(void)state;
	struct store *store = rows_open(rows_target, 0, false);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store); /* 300 bytes in 2 s */
	struct store_connection more = rows_owned(2, 1, 1), none = rows_unowned(3, 1, "gap");
	OK(store_connection(store, &more, true, &rows_error));
	OK(store_connection(store, &none, true, &rows_error));
	rows_add_traffic(store, 1, 1, 40);
	rows_add_traffic(store, 2, 1, 40);
	rows_add_traffic(store, 1, 2, 60);
	rows_add_traffic(store, 3, 2, 1000);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(pid || ' ' || connections || ' ' || "
				     "remote_hosts || ' ' || sent_bytes || ' ' || "
				     "mean_bytes_per_second || ' ' || peak_bytes_per_second) "
				     "FROM process_traffic"),
			    "77 2 1 400 200 240");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(bucket || ':' || ifnull(pid, '-') || "
				     "':' || sent_bytes) FROM (SELECT * FROM process_timeline "
				     "ORDER BY bucket, process_id IS NULL DESC)"),
			    "1:77:80,2:-:1000,2:77:60");
	assert_string_equal(rows_ask(rows_target, "SELECT reason || ' ' || connections || ' ' || "
						  "packets_percent FROM unattributed"),
			    "gap 1 33.333");
}

/* A window in time must not read all of table traffic. */
static void a_bucket_of_the_timeline_is_found_by_index(void **state)
{
	(void)state;
	rows_make_traffic(rows_target, 5000);
	sqlite3 *db;
	sqlite3_stmt *statement;
	bool by_index = false;

	assert_int_equal(sqlite3_open_v2(rows_target, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "EXPLAIN QUERY PLAN SELECT * FROM process_timeline "
					    "WHERE bucket BETWEEN 5 AND 6",
					    -1, &statement, NULL),
			 SQLITE_OK);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		const char *detail = (const char *)sqlite3_column_text(statement, 3);
		by_index = by_index || (strstr(detail, "SEARCH t ") && strstr(detail, "bucket>?"));
		assert_null(strstr(detail, "SCAN t"));
	}
	assert_true(by_index);
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

/* ------------------------------------------------------- kernel_check -- */

/* One end of a flow, and what its socket's close event said. */
struct check {
	int64_t recording_id;	/* 0: 1 */
	const char *end;	/* NULL: orig */
	const char *history;	/* NULL: "ShADadFf" */
	int64_t start_ns;	/* 0: 1 s; it ends, and closes, a second later */
	int64_t sent, received; /* payload in the pcaps */
	int64_t kernel_acked, kernel_received, kernel_sent, kernel_retransmitted;
};

static void add_socket(struct store *store, int64_t id, const struct check *c, bool closed)
{
	struct store_socket row = {.socket_id = id,
				   .recording_id = c->recording_id ? c->recording_id : 1,
				   .net_namespace = STORE_NULL,
				   .protocol = "tcp",
				   .family = 4,
				   .local_address = "192.0.2.1",
				   .local_port = 40000,
				   .remote_address = "192.0.2.2",
				   .remote_port = 443,
				   .state = 1,
				   .uid = 0,
				   .inode = id,
				   .cookie = STORE_NULL,
				   .opened_ns = STORE_NULL,
				   .closed_ns = STORE_NULL,
				   .kernel_bytes_acked = STORE_NULL,
				   .kernel_bytes_received = STORE_NULL,
				   .kernel_bytes_sent = STORE_NULL,
				   .kernel_bytes_retransmitted = STORE_NULL};

	if (closed) {
		row.closed_ns = (c->start_ns ? c->start_ns : 1000000000) + 1000000000;
		row.kernel_bytes_acked = c->kernel_acked;
		row.kernel_bytes_received = c->kernel_received;
		row.kernel_bytes_sent = c->kernel_sent;
		row.kernel_bytes_retransmitted = c->kernel_retransmitted;
	}
	OK(store_socket(store, &row, true, &rows_error));
}

static void add_flow(struct store *store, int64_t id, const struct check *c)
{
	struct store_flow row = rows_flow(id);

	row.recording_id = c->recording_id ? c->recording_id : 1;
	row.start_ns = c->start_ns ? c->start_ns : 1000000000;
	row.end_ns = row.start_ns + 1000000000;
	row.history = c->history ? c->history : "ShADadFf";
	OK(store_flow(store, &row, true, &rows_error));
}

static struct store_connection end_of(int64_t id, int64_t flow, int64_t socket,
				      const struct check *c)
{
	struct store_connection row = rows_owned(id, flow, 1);

	row.end = c->end ? c->end : "orig";
	row.socket_id = socket;
	row.start_ns = c->start_ns ? c->start_ns : 1000000000;
	row.end_ns = row.start_ns + 1000000000;
	row.sent_payload_bytes = c->sent;
	row.received_payload_bytes = c->received;
	return row;
}

/* A flow of its own, with this end. */
static void add_check(struct store *store, int64_t id, const struct check *c)
{
	struct store_connection row = end_of(id, id, id, c);

	add_flow(store, id, c);
	add_socket(store, id, c, true);
	OK(store_connection(store, &row, true, &rows_error));
}

static struct store *open_checks(void)
{
	struct store *store = rows_open(rows_target, 0, false);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	return store;
}

static void close_checks(struct store *store)
{
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
}

static const char *const verdicts =
	"SELECT group_concat(flow_id || ' ' || sent_difference || ' ' || "
	"received_difference || ' ' || verdict, '; ') FROM (SELECT * FROM kernel_check "
	"ORDER BY flow_id, direction DESC)";

static void check_of_one(const struct check *c, const char *wanted)
{
	struct store *store = open_checks();

	add_check(store, 2, c);
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, verdicts), wanted);
	remove(rows_target);
}

static void the_kernel_counts_a_fin_while_the_socket_is_whole(void **state)
{
	(void)state;
	/* It closed first and was gone before the other's FIN; or was not. */
	check_of_one(&(struct check){.sent = 100,
				     .received = 50,
				     .kernel_acked = 102,
				     .kernel_sent = 100,
				     .kernel_received = 50},
		     "2 0 0 equal");
	check_of_one(&(struct check){.sent = 100,
				     .received = 50,
				     .kernel_acked = 102,
				     .kernel_sent = 100,
				     .kernel_received = 51},
		     "2 0 0 equal");
	/* The other closed first: its FIN was counted, for certain. */
	check_of_one(&(struct check){.history = "ShADadfF",
				     .sent = 100,
				     .received = 50,
				     .kernel_acked = 102,
				     .kernel_sent = 100,
				     .kernel_received = 51},
		     "2 0 0 equal");
	check_of_one(&(struct check){.history = "ShADadfF",
				     .sent = 100,
				     .received = 50,
				     .kernel_acked = 102,
				     .kernel_sent = 100,
				     .kernel_received = 50},
		     "2 0 1 surplus");
	/* It had reset before. */
	check_of_one(&(struct check){.history = "ShADaRf",
				     .sent = 100,
				     .received = 50,
				     .kernel_acked = 101,
				     .kernel_sent = 100,
				     .kernel_received = 50},
		     "2 0 0 equal");
	/* Seen from the responder: the originator closed first. */
	check_of_one(&(struct check){.end = "resp",
				     .sent = 50,
				     .received = 100,
				     .kernel_acked = 51,
				     .kernel_sent = 50,
				     .kernel_received = 101},
		     "2 0 0 equal");
}

static void the_kernel_check_explains_what_is_sent_again(void **state)
{
	(void)state;
	/* All copies are in the pcaps: nothing to explain. */
	check_of_one(&(struct check){.sent = 130,
				     .kernel_acked = 102,
				     .kernel_sent = 130,
				     .kernel_retransmitted = 30},
		     "2 0 0 equal");
	/* Some are not: the host itself lost them after the count. */
	check_of_one(&(struct check){.sent = 110,
				     .kernel_acked = 102,
				     .kernel_sent = 130,
				     .kernel_retransmitted = 30},
		     "2 -20 0 retransmitted");
	/* Refused by a full queue, tried again: not counted as retransmitted. */
	check_of_one(&(struct check){.sent = 100, .kernel_acked = 102, .kernel_sent = 900},
		     "2 -800 0 retransmitted");
	/* Fewer packets than what the other end acknowledged. */
	check_of_one(&(struct check){.sent = 99, .kernel_acked = 102, .kernel_sent = 900},
		     "2 -801 0 differs");
	/* After a reset nobody knows what arrived. */
	check_of_one(
		&(struct check){
			.history = "ShADar", .sent = 100, .kernel_acked = 1, .kernel_sent = 900},
		"2 -800 0 differs");
	check_of_one(
		&(struct check){
			.history = "ShADaFr", .sent = 100, .kernel_acked = 1, .kernel_sent = 900},
		"2 -800 0 differs");
	/* More packets than it sent: never. */
	check_of_one(&(struct check){.sent = 200,
				     .kernel_acked = 102,
				     .kernel_sent = 100,
				     .kernel_retransmitted = 900},
		     "2 100 0 differs");
}

static void the_kernel_check_asks_the_other_end(void **state)
{
	(void)state;
	struct check orig = {
		.sent = 130, .kernel_acked = 102, .kernel_sent = 130, .kernel_retransmitted = 30};
	struct check resp = {
		.end = "resp", .received = 130, .kernel_acked = 1, .kernel_received = 101};
	struct store *store = open_checks();
	struct store_connection row = end_of(10, 2, 10, &resp);

	add_check(store, 2, &orig);
	add_socket(store, 10, &resp, true);
	OK(store_connection(store, &row, true, &rows_error));
	/* The same with fewer retransmissions than came twice. */
	orig.kernel_retransmitted = 29;
	add_check(store, 3, &orig);
	add_socket(store, 11, &resp, true);
	row = end_of(11, 3, 11, &resp);
	OK(store_connection(store, &row, true, &rows_error));
	/* The other end is on another host. */
	add_check(store, 4, &resp);
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, verdicts),
			    "2 0 0 equal; 2 0 30 retransmitted; 3 0 0 equal; 3 0 30 differs; "
			    "4 0 30 surplus");
	assert_string_equal(rows_ask(rows_target,
				     "SELECT group_concat(kernel_retransmitted_bytes || ' ' || "
				     "ifnull(peer_retransmitted_bytes, '-'), '; ') "
				     "FROM (SELECT * FROM kernel_check ORDER BY flow_id, direction "
				     "DESC)"),
			    "30 0; 0 30; 29 0; 0 29; 0 -");
}

static void the_kernel_check_knows_resets(void **state)
{
	(void)state;
	/* Data came after it had closed. */
	check_of_one(
		&(struct check){
			.end = "resp", .history = "ShAfDr", .received = 1000, .kernel_acked = 1},
		"2 0 1000 reset");
	/* The one that resets disconnects, and its counters are zero. */
	check_of_one(&(struct check){.history = "ShADaR", .sent = 1000}, "2 1000 0 reset");
	check_of_one(&(struct check){.history = "ShADar", .sent = 1000}, "2 1000 0 differs");
}

static void the_kernel_check_knows_what_older_kernels_count(void **state)
{
	(void)state;
	struct store_recording old = rows_recording, new = rows_recording;
	struct store *store = open_checks();

	old.recording_id = 2;
	old.kernel = "4.9.0-19-amd64";
	new.recording_id = 3;
	new.kernel = "4.19.0-27-amd64";
	OK(store_recording(store, &old, true, &rows_error));
	OK(store_recording(store, &new, true, &rows_error));
	add_check(store, 2, &(struct check){.recording_id = 2, .sent = 100, .kernel_acked = 102});
	add_check(store, 3,
		  &(struct check){
			  .recording_id = 2, .end = "resp", .sent = 100, .kernel_acked = 101});
	add_check(store, 4, &(struct check){.recording_id = 2, .sent = 130, .kernel_acked = 102});
	add_check(store, 5, &(struct check){.recording_id = 2, .sent = 99, .kernel_acked = 102});
	add_check(store, 6, &(struct check){.recording_id = 3, .sent = 100, .kernel_acked = 102});
	/* Reset: no FIN was acknowledged. */
	add_check(
		store, 7,
		&(struct check){
			.recording_id = 2, .history = "ShADar", .sent = 130, .kernel_acked = 101});
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, verdicts),
			    "2 0 0 equal; 3 0 0 equal; 4 30 0 surplus; 5 -1 0 differs; "
			    "6 100 0 differs; 7 30 0 surplus");
}

/* Of 100 bytes that the kernel received, half is in the pcaps. */
static struct check half(int64_t recording_id, int64_t start_ns, const char *history)
{
	return (struct check){.recording_id = recording_id,
			      .start_ns = start_ns,
			      .history = history,
			      .received = 50,
			      .kernel_acked = 2,
			      .kernel_received = 100};
}

static void add_half(struct store *store, int64_t id, int64_t recording_id, int64_t start_ns,
		     const char *history)
{
	struct check c = half(recording_id, start_ns, history);

	add_check(store, id, &c);
}

static void the_kernel_check_knows_what_was_dropped(void **state)
{
	(void)state;
	struct store *store = open_checks();
	struct store_coverage row = {.coverage_id = 1,
				     .recording_id = 1,
				     .segment_id = 1,
				     .kind = "dropped",
				     .begin_ns = 1500000000,
				     .end_ns = 9000000000,
				     .count = 7};
	struct check more = {.sent = 51, .kernel_acked = 52, .kernel_sent = 50};

	OK(store_coverage(store, &row, &rows_error));
	add_half(store, 2, 1, 0, "ShADadF");
	/* In another time; and one that drops do not explain. */
	add_half(store, 3, 1, 20000000000, "ShADadF");
	add_check(store, 4, &more);
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, verdicts),
			    "2 0 -50 dropped; 3 0 -50 differs; 4 1 0 differs");
	assert_string_equal(
		rows_ask(rows_target, "SELECT group_concat(dropped_packets) FROM kernel_check"),
		"7,0,7");
}

/* The sum is more than a number can be. */
static void drops_that_somebody_made_up_do_not_end_the_kernel_check(void **state)
{
	(void)state;
	struct store *store = open_checks();
	struct store_coverage row = {.recording_id = 1,
				     .segment_id = 1,
				     .kind = "dropped",
				     .begin_ns = 1500000000,
				     .end_ns = 9000000000,
				     .count = STORE_MAX_COUNT};

	while (++row.coverage_id <= 4)
		OK(store_coverage(store, &row, &rows_error));
	add_half(store, 2, 1, 0, "ShADadF");
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, "SELECT dropped_packets FROM kernel_check"),
			    "2305843009213693952");
}

static void the_kernel_check_knows_what_was_cut(void **state)
{
	(void)state;
	const char *const filters[] = {"tcp[tcpflags] & tcp-syn != 0", "src port 80",
				       "host 192.0.2.1 and port 80", ""};
	struct store *store = open_checks();
	struct store_segment second = rows_segment(2, "cc", "dd");
	struct store_coverage missing = {.coverage_id = 1,
					 .recording_id = 1,
					 .segment_id = 2,
					 .kind = "missing",
					 .begin_ns = STORE_NULL,
					 .end_ns = STORE_NULL,
					 .count = 3};
	struct store_segment first = rows_segment(1, "aa", "bb");
	struct store_recording recording = rows_recording;

	first.first_packet_ns = 1000000000;
	first.last_packet_ns = 10000000000;
	OK(store_segment(store, &first, false, &rows_error));
	second.number = 5;
	second.first_packet_ns = 20000000000;
	second.last_packet_ns = 40000000000;
	OK(store_segment(store, &second, true, &rows_error));
	OK(store_coverage(store, &missing, &rows_error));
	/* No SYN: it began before the recording. Then: before the hole, at its edge, after it. */
	add_half(store, 2, 1, 30000000000, "DadF");
	add_half(store, 3, 1, 5000000000, "ShADadF");
	add_half(store, 4, 1, 9500000000, "ShADadF");
	add_half(store, 5, 1, 30000000000, "ShADadF");
	/* Where the filter does not take conversations whole. */
	for (int64_t i = 0; i < 4; i++) {
		recording.recording_id = 2 + i;
		recording.filter = filters[i];
		OK(store_recording(store, &recording, true, &rows_error));
		add_half(store, 6 + i, 2 + i, 0, "ShADadF");
	}
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, verdicts),
			    "2 0 -50 cut; 3 0 -50 differs; 4 0 -50 cut; 5 0 -50 differs; "
			    "6 0 -50 cut; 7 0 -50 cut; 8 0 -50 differs; 9 0 -50 differs");
}

static void the_kernel_check_knows_damage_and_what_is_no_flow(void **state)
{
	(void)state;
	struct store *store = open_checks();
	struct store_segment segment = rows_segment(2, "cc", "dd");
	struct store_other other = {3, "truncated", 1, 28};

	segment.state = "damaged";
	segment.first_packet_ns = 20000000000;
	segment.last_packet_ns = 21000000000;
	OK(store_segment(store, &segment, true, &rows_error));
	segment = rows_segment(3, "ee", "ff");
	segment.first_packet_ns = 40000000000;
	segment.last_packet_ns = 50000000000;
	OK(store_segment(store, &segment, true, &rows_error));
	OK(store_other(store, &other, &rows_error));
	/* What is lost of a damaged segment lies between what was read and the next; and behind
	 * the last one nobody knows. */
	add_half(store, 2, 1, 10000000000, "ShADadF");
	add_half(store, 3, 1, 30000000000, "ShADadF");
	add_half(store, 4, 1, 45000000000, "ShADadF");
	add_half(store, 5, 1, 60000000000, "ShADadF");
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, verdicts),
			    "2 0 -50 differs; 3 0 -50 cut; 4 0 -50 cut; 5 0 -50 cut");
}

static void the_kernel_check_adds_up_the_owners_of_an_end(void **state)
{
	(void)state;
	struct store *store = open_checks();
	struct store_process worker = rows_process(2, 78, "worker", "/usr/bin/worker", 0);
	struct check whole = {.kernel_acked = 102, .kernel_sent = 100, .kernel_received = 60};
	struct check part = {.sent = 30, .received = 20}, rest = {.sent = 70, .received = 40};
	struct store_connection row;

	OK(store_process(store, &worker, true, &rows_error));
	add_flow(store, 2, &whole);
	add_socket(store, 2, &whole, true);
	row = end_of(2, 2, 2, &part);
	OK(store_connection(store, &row, true, &rows_error));
	row = end_of(3, 2, 2, &rest);
	row.process_id = 2;
	row.sent_packets = 50;
	OK(store_connection(store, &row, true, &rows_error));
	/* Its first packet went to the listening socket, whose counters say nothing. */
	add_flow(store, 3, &whole);
	add_socket(store, 3, &whole, true);
	struct store_socket listening = {.socket_id = 4,
					 .recording_id = 1,
					 .protocol = "tcp",
					 .family = 4,
					 .local_address = "0.0.0.0",
					 .local_port = 443,
					 .remote_port = STORE_NULL,
					 .opened_ns = STORE_NULL,
					 .closed_ns = 9000000000};
	OK(store_socket(store, &listening, true, &rows_error));
	row = end_of(4, 3, 4, &part);
	OK(store_connection(store, &row, true, &rows_error));
	row = end_of(5, 3, 3, &rest);
	OK(store_connection(store, &row, true, &rows_error));
	/* A socket without a close event, and one of two flows. */
	add_flow(store, 4, &whole);
	add_socket(store, 5, &whole, false);
	row = end_of(6, 4, 5, &part);
	OK(store_connection(store, &row, true, &rows_error));
	add_flow(store, 5, &whole);
	add_flow(store, 6, &whole);
	add_socket(store, 6, &whole, true);
	row = end_of(7, 5, 6, &part);
	OK(store_connection(store, &row, true, &rows_error));
	row = end_of(8, 6, 6, &rest);
	OK(store_connection(store, &row, true, &rows_error));
	/* Never accepted, so nothing but the listening socket's. */
	add_flow(store, 7, &whole);
	row = end_of(9, 7, 4, &part);
	OK(store_connection(store, &row, true, &rows_error));
	/* It closed in another recording than it began in. */
	add_flow(store, 8, &whole);
	whole.recording_id = 2;
	add_socket(store, 7, &whole, true);
	row = end_of(10, 8, 7, &part);
	OK(store_connection(store, &row, true, &rows_error));
	close_checks(store);
	assert_string_equal(rows_ask(rows_target, verdicts),
			    "2 0 0 equal; 3 0 0 equal; 5 -70 -39 cut; 6 -30 -19 cut; "
			    "8 -70 -39 cut");
	assert_string_equal(rows_ask(rows_target, "SELECT pid || ' ' || process || ' ' || "
						  "local_port || ' ' || sent_payload_bytes || ' ' "
						  "|| kernel_received_bytes FROM kernel_check "
						  "WHERE flow_id = 2"),
			    "78 worker 40000 100 60");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rows_set_up, rows_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accounting_holds_flows_against_packets),
		TEST(connections_show_what_all_candidates_agree_on),
		TEST(connections_are_seen_from_their_end),
		TEST(process_traffic_has_mean_and_peak),
		TEST(a_bucket_of_the_timeline_is_found_by_index),
		TEST(the_kernel_counts_a_fin_while_the_socket_is_whole),
		TEST(the_kernel_check_explains_what_is_sent_again),
		TEST(the_kernel_check_asks_the_other_end),
		TEST(the_kernel_check_knows_resets),
		TEST(the_kernel_check_knows_what_older_kernels_count),
		TEST(the_kernel_check_knows_what_was_dropped),
		TEST(drops_that_somebody_made_up_do_not_end_the_kernel_check),
		TEST(the_kernel_check_knows_what_was_cut),
		TEST(the_kernel_check_knows_damage_and_what_is_no_flow),
		TEST(the_kernel_check_adds_up_the_owners_of_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
