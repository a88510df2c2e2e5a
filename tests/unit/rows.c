#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/rows.h"

char rows_directory[64];
char rows_target[96];
struct error rows_error = ERROR_NONE;

int rows_set_up(void **state)
{
	(void)state;
	snprintf(rows_directory, sizeof rows_directory, "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(rows_directory));
	snprintf(rows_target, sizeof rows_target, "%s/t.db", rows_directory);
	return 0;
}

/* Names in the directory, besides . and .. */
int rows_entries(bool remove_them)
{
	DIR *dir = opendir(rows_directory);
	int count = 0;

	for (struct dirent *entry; (entry = readdir(dir));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		if (remove_them)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	return count;
}

int rows_tear_down(void **state)
{
	(void)state;
	rows_entries(true);
	return rmdir(rows_directory);
}

struct store *rows_open(const char *path, int64_t bucket_ns, bool with_packets)
{
	struct store *store = NULL;

	OK(store_open(path, bucket_ns, with_packets, &store, &rows_error));
	return store;
}

/* First column of the first row as text, "NULL", or "" for no row. */
char *rows_ask(const char *path, const char *sql)
{
	static char answer[16384];
	sqlite3 *db = NULL;
	sqlite3_stmt *statement = NULL;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	answer[0] = '\0';
	if (sqlite3_step(statement) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(statement, 0);
		int length = snprintf(answer, sizeof answer, "%s", text ? text : "NULL");
		assert_true(length < (int)sizeof answer);
	}
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return answer;
}

const struct store_recording rows_recording = {.recording_id = 1,
					       .recording_uuid = "0123456789abcdef0123456789abcdef",
					       .hostname = "alpha",
					       .boot_id = "b",
					       .source = "recorder",
					       .snaplen = 262144,
					       .link_type = 276,
					       .clock_ticks = 100,
					       .net_namespace = 4026531840,
					       .interval_ns = STORE_NULL};

static void add_file(FILE *out, const char *path)
{
	FILE *file = fopen(path, "r");
	int c;

	assert_non_null(file);
	while ((c = getc(file)) != EOF)
		putc(c, out);
	fclose(file);
}

char *rows_plain_query(const char *name)
{
	char path[96], *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	snprintf(path, sizeof path, "tests/data/queries/%s.sql", name);
	add_file(out, "tests/data/hosts.sql");
	add_file(out, path);
	assert_int_equal(fclose(out), 0);
	return text;
}

struct store_segment rows_segment(int64_t id, const char *pcap, const char *snap)
{
	return (struct store_segment){.segment_id = id,
				      .recording_id = 1,
				      .number = id,
				      .pcap_name = "p",
				      .pcap_sha256 = pcap,
				      .snap_sha256 = snap,
				      .first_packet_ns = STORE_NULL,
				      .last_packet_ns = STORE_NULL,
				      .state = "whole"};
}

struct store_flow rows_flow(int64_t id)
{
	return (struct store_flow){.flow_id = id,
				   .recording_id = 1,
				   .segment_id = 1,
				   .protocol = "tcp",
				   .ip_version = 4,
				   .orig_address = "192.0.2.1",
				   .resp_address = "192.0.2.2",
				   .orig_port = 40000,
				   .resp_port = 443,
				   .icmp_id = STORE_NULL,
				   .start_ns = 1000000000,
				   .end_ns = 3000000000,
				   .orig_packets = 2,
				   .resp_packets = 1,
				   .ifindex = STORE_NULL,
				   .vlan = STORE_NULL,
				   .inner_vlan = STORE_NULL};
}

struct store_process rows_process(int64_t id, int64_t pid, const char *comm, const char *exe,
				  int64_t uid)
{
	return (struct store_process){.process_id = id,
				      .recording_id = 1,
				      .pid = pid,
				      .image = 1,
				      .uid = uid,
				      .comm = comm,
				      .exe = exe,
				      .exit_ns = STORE_NULL,
				      .exit_code = STORE_NULL};
}

struct store_connection rows_owned(int64_t id, int64_t flow_id, int64_t process_id)
{
	return (struct store_connection){.connection_id = id,
					 .flow_id = flow_id,
					 .end = "orig",
					 .process_id = process_id,
					 .rule = "exact",
					 .rule_packets = {[STORE_EXACT] = 3},
					 .shared_by = 1,
					 .distance_ns = STORE_NULL,
					 .start_ns = 1000000000,
					 .end_ns = 3000000000,
					 .sent_packets = 2,
					 .sent_bytes = 200,
					 .received_packets = 1,
					 .received_bytes = 100,
					 .remote_address = "192.0.2.2"};
}

struct store_connection rows_unowned(int64_t id, int64_t flow_id, const char *reason)
{
	struct store_connection row = rows_owned(id, flow_id, 0);

	row.rule = NULL;
	row.reason = reason;
	row.rule_packets[STORE_EXACT] = 0;
	row.shared_by = 0;
	return row;
}

/* A recording, a segment of 4 packets, a process, a flow of 3, one connection. */
void rows_fill_small(struct store *store)
{
	struct store_segment segment = rows_segment(1, "aa", "bb");
	struct store_flow flow = rows_flow(1);
	struct store_process process = rows_process(1, 77, "curl", "/usr/bin/curl", 1000);
	struct store_connection connection = rows_owned(1, 1, 1);
	struct store_other other = {1, "arp", 1, 28};

	segment.packets = 4;
	segment.flow_packets = 3;
	OK(store_recording(store, &rows_recording, true, &rows_error));
	OK(store_segment(store, &segment, true, &rows_error));
	OK(store_process(store, &process, true, &rows_error));
	OK(store_flow(store, &flow, STORE_INSERT, &rows_error));
	OK(store_connection(store, &connection, STORE_INSERT, &rows_error));
	OK(store_other(store, &other, &rows_error));
}

void rows_make_small(const char *path)
{
	struct store *store = rows_open(path, 0, false);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
}

void rows_add_traffic(struct store *store, int64_t connection, int64_t bucket, int64_t bytes)
{
	struct store_traffic row = {connection, bucket, 1, bytes, 2, 2 * bytes};

	OK(store_traffic(store, &row, 1, &rows_error));
}

/* Rows in transactions of the given size, with one rolled back on the way. */
void rows_make_traffic(const char *path, int per_transaction)
{
	struct store *store = rows_open(path, 0, false);

	OK(store_begin(store, &rows_error));
	rows_fill_small(store);
	for (int i = 0; i < 5000; i++) {
		if (i % per_transaction == 0) {
			OK(store_commit(store, &rows_error));
			OK(store_begin(store, &rows_error));
			for (int k = 0; k < per_transaction; k++)
				rows_add_traffic(store, 9, k, 1);
			store_rollback(store);
			OK(store_begin(store, &rows_error));
		}
		rows_add_traffic(store, 1 + i % 7, i / 7, i);
	}
	OK(store_commit(store, &rows_error));
	OK(store_finish(store, &rows_error));
}
