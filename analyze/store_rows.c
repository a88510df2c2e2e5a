#include "analyze/store_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/storefile.h"
#include "snapshot/format/escape.h"

/*
 * The row structs of store.h, column by column: from this the statements are
 * made and the values bound. The first column is the key that an update goes by.
 */
#define ID(type, field)                                                                            \
	{                                                                                          \
#field, COLUMN_ID, offsetof(struct store_##type, field)                            \
	}
#define NUMBER_IN(type, in, field)                                                                 \
	{                                                                                          \
#field, COLUMN_NUMBER, offsetof(struct store_##type, in field)                     \
	}
#define TEXT_IN(type, in, field)                                                                   \
	{                                                                                          \
#field, COLUMN_TEXT, offsetof(struct store_##type, in field)                       \
	}
#define NUMBER(type, field) NUMBER_IN(type, , field)
#define TEXT(type, field)   TEXT_IN(type, , field)
#define COUNT(type, array, index, name)                                                            \
	{                                                                                          \
		name, COLUMN_NUMBER,                                                               \
			offsetof(struct store_##type, array) + (index) * sizeof(int64_t)           \
	}
#define END                                                                                        \
	{                                                                                          \
		NULL, COLUMN_ID, 0                                                                 \
	}

static const struct column recording_columns[] = {ID(recording, recording_id),
						  ID(recording, net_namespace),
						  TEXT(recording, recording_uuid),
						  TEXT(recording, hostname),
						  TEXT(recording, machine_id),
						  TEXT(recording, boot_id),
						  TEXT(recording, kernel),
						  TEXT(recording, architecture),
						  TEXT(recording, argv),
						  TEXT(recording, interface),
						  TEXT(recording, filter),
						  TEXT(recording, time_zone),
						  TEXT(recording, tool),
						  TEXT(recording, source),
						  TEXT(recording, privilege),
						  TEXT(recording, watcher),
						  NUMBER(recording, snaplen),
						  NUMBER(recording, link_type),
						  NUMBER(recording, clock_ticks),
						  NUMBER(recording, interval_ns),
						  END};

static const struct column segment_columns[] = {ID(segment, segment_id),
						ID(segment, recording_id),
						NUMBER(segment, number),
						TEXT(segment, pcap_name),
						TEXT(segment, snap_name),
						NUMBER(segment, pcap_bytes),
						NUMBER(segment, snap_bytes),
						TEXT(segment, pcap_sha256),
						TEXT(segment, snap_sha256),
						TEXT(segment, content_sha256),
						NUMBER(segment, link_type),
						NUMBER(segment, first_packet_ns),
						NUMBER(segment, last_packet_ns),
						NUMBER(segment, packets),
						NUMBER(segment, bytes),
						NUMBER(segment, flow_packets),
						NUMBER(segment, frames),
						NUMBER(segment, dropped),
						TEXT(segment, state),
						END};

static const struct column snapshot_columns[] = {ID(snapshot, snapshot_id),
						 ID(snapshot, segment_id),
						 NUMBER(snapshot, sequence),
						 TEXT(snapshot, kind),
						 TEXT(snapshot, cause),
						 NUMBER(snapshot, begin_ns),
						 NUMBER(snapshot, end_ns),
						 NUMBER(snapshot, sockets),
						 NUMBER(snapshot, processes),
						 NUMBER(snapshot, line),
						 END};

static const struct column interface_columns[] = {ID(interface, interface_id),
						  ID(interface, recording_id),
						  ID(interface, net_namespace),
						  NUMBER(interface, ifindex),
						  TEXT(interface, name),
						  NUMBER(interface, hardware_type),
						  NUMBER(interface, first_seen_ns),
						  NUMBER(interface, last_seen_ns),
						  END};

static const struct column address_columns[] = {ID(address, address_id),
						ID(address, recording_id),
						ID(address, net_namespace),
						NUMBER(address, ifindex),
						TEXT(address, address),
						NUMBER(address, prefix_length),
						NUMBER(address, first_seen_ns),
						NUMBER(address, last_seen_ns),
						END};

static const struct column process_columns[] = {ID(process, process_id),
						ID(process, recording_id),
						NUMBER(process, pid),
						NUMBER(process, start_ticks),
						NUMBER(process, start_ns),
						NUMBER(process, image),
						ID(process, parent_process_id),
						NUMBER(process, ppid),
						NUMBER(process, uid),
						TEXT(process, comm),
						TEXT(process, exe),
						TEXT(process, cmdline),
						TEXT(process, cgroup),
						TEXT(process, container_id),
						ID(process, net_namespace),
						NUMBER(process, first_seen_ns),
						NUMBER(process, last_seen_ns),
						NUMBER(process, exit_ns),
						NUMBER(process, exit_code),
						END};

static const struct column socket_columns[] = {ID(socket, socket_id),
					       ID(socket, recording_id),
					       ID(socket, net_namespace),
					       TEXT(socket, protocol),
					       NUMBER(socket, family),
					       TEXT(socket, local_address),
					       NUMBER(socket, local_port),
					       TEXT(socket, remote_address),
					       NUMBER(socket, remote_port),
					       NUMBER(socket, state),
					       NUMBER(socket, uid),
					       NUMBER(socket, inode),
					       ID(socket, cookie),
					       NUMBER(socket, first_seen_ns),
					       NUMBER(socket, last_seen_ns),
					       ID(socket, first_snapshot_id),
					       ID(socket, last_snapshot_id),
					       NUMBER(socket, opened_ns),
					       NUMBER(socket, closed_ns),
					       NUMBER(socket, kernel_bytes_acked),
					       NUMBER(socket, kernel_bytes_received),
					       NUMBER(socket, kernel_bytes_sent),
					       NUMBER(socket, kernel_bytes_retransmitted),
					       END};

static const struct column holder_columns[] = {ID(holder, holder_id),
					       ID(holder, socket_id),
					       ID(holder, process_id),
					       NUMBER(holder, fd),
					       NUMBER(holder, first_seen_ns),
					       NUMBER(holder, last_seen_ns),
					       END};

/* Of a struct store_flow, alone or within another one. */
#define CONVERSATION(type, in)                                                                     \
	TEXT_IN(type, in, protocol), NUMBER_IN(type, in, ip_version),                              \
		TEXT_IN(type, in, orig_address), TEXT_IN(type, in, resp_address),                  \
		NUMBER_IN(type, in, orig_port), NUMBER_IN(type, in, resp_port),                    \
		NUMBER_IN(type, in, icmp_id), NUMBER_IN(type, in, start_ns),                       \
		NUMBER_IN(type, in, end_ns), NUMBER_IN(type, in, orig_packets),                    \
		NUMBER_IN(type, in, orig_bytes), NUMBER_IN(type, in, orig_payload_bytes),          \
		NUMBER_IN(type, in, resp_packets), NUMBER_IN(type, in, resp_bytes),                \
		NUMBER_IN(type, in, resp_payload_bytes), TEXT_IN(type, in, conn_state),            \
		TEXT_IN(type, in, history), TEXT_IN(type, in, community_id),                       \
		NUMBER_IN(type, in, vlan), NUMBER_IN(type, in, first_packet_number),               \
		NUMBER_IN(type, in, first_packet_offset), TEXT_IN(type, in, carries),              \
		NUMBER_IN(type, in, carried_packets), NUMBER_IN(type, in, carried_other_packets),  \
		NUMBER_IN(type, in, carried_unreadable_packets)

static const struct column flow_columns[] = {ID(flow, flow_id),	    ID(flow, recording_id),
					     ID(flow, segment_id),  NUMBER(flow, repeat_packets),
					     NUMBER(flow, ifindex), NUMBER(flow, inner_vlan),
					     CONVERSATION(flow, ),  END};

static const struct column tunnel_columns[] = {
	ID(tunnel, tunnel_id),
	ID(tunnel, outer_tunnel_id),
	NUMBER(tunnel, depth),
	TEXT(tunnel, tunnel_type),
	NUMBER(tunnel, tunnel_key),
	{"flow_id", COLUMN_ID, offsetof(struct store_tunnel, flow.flow_id)},
	{"segment_id", COLUMN_ID, offsetof(struct store_tunnel, flow.segment_id)},
	CONVERSATION(tunnel, flow.),
	END};

static const struct column connection_columns[] = {
	ID(connection, connection_id),
	ID(connection, flow_id),
	TEXT(connection, end),
	ID(connection, process_id),
	ID(connection, socket_id),
	TEXT(connection, rule),
	TEXT(connection, reason),
	COUNT(connection, rule_packets, STORE_EXACT, "exact_packets"),
	COUNT(connection, rule_packets, STORE_AHEAD, "ahead_packets"),
	COUNT(connection, rule_packets, STORE_BEHIND, "behind_packets"),
	COUNT(connection, rule_packets, STORE_BOUND, "bound_packets"),
	COUNT(connection, rule_packets, STORE_WILDCARD, "wildcard_packets"),
	COUNT(connection, rule_packets, STORE_LISTENER, "listener_packets"),
	COUNT(connection, rule_packets, STORE_QUOTED, "quoted_packets"),
	NUMBER(connection, shared_by),
	ID(connection, snapshot_id),
	NUMBER(connection, distance_ns),
	NUMBER(connection, start_ns),
	NUMBER(connection, end_ns),
	NUMBER(connection, sent_packets),
	NUMBER(connection, sent_bytes),
	NUMBER(connection, sent_payload_bytes),
	NUMBER(connection, received_packets),
	NUMBER(connection, received_bytes),
	NUMBER(connection, received_payload_bytes),
	TEXT(connection, remote_address),
	END};

static const struct column candidate_columns[] = {
	ID(candidate, connection_id), ID(candidate, process_id), ID(candidate, socket_id), END};

static const struct column other_columns[] = {ID(other, segment_id), TEXT(other, reason),
					      NUMBER(other, packets), NUMBER(other, bytes), END};

static const struct column serving_columns[] = {ID(serving, recording_id),
						NUMBER(serving, port),
						NUMBER(serving, pid),
						NUMBER(serving, start_ticks),
						NUMBER(serving, inode),
						NUMBER(serving, listens_ns),
						NUMBER(serving, serves_ns),
						NUMBER(serving, again_ns),
						NUMBER(serving, others_ns),
						NUMBER(serving, hands_ns),
						END};

static const struct column coverage_columns[] = {
	ID(coverage, coverage_id),  ID(coverage, recording_id),
	ID(coverage, segment_id),   TEXT(coverage, kind),
	NUMBER(coverage, begin_ns), NUMBER(coverage, end_ns),
	NUMBER(coverage, count),    TEXT(coverage, subject),
	TEXT(coverage, detail),	    END};

/* Those of which there are many. */
#define HELD(type)                                                                                 \
	{                                                                                          \
#type, type##_columns, "", sizeof(struct store_##type)                             \
	}
_Static_assert(sizeof flow_columns / sizeof *flow_columns <= STORE_GIVEN_COLUMNS + 1 &&
		       sizeof connection_columns / sizeof *connection_columns <=
			       STORE_GIVEN_COLUMNS + 1 &&
		       sizeof socket_columns / sizeof *socket_columns <= STORE_GIVEN_COLUMNS + 1,
	       "the columns of table given");

const struct table store_tables[STORE_TABLES] = {
	[STORE_INSERT_RECORDING] = {"recording", recording_columns, "", 0},
	[STORE_INSERT_SEGMENT] = {"segment", segment_columns, "", 0},
	[STORE_INSERT_SNAPSHOT] = {"snapshot", snapshot_columns, "", 0},
	[STORE_INSERT_INTERFACE] = {"interface", interface_columns, "", 0},
	[STORE_INSERT_ADDRESS] = {"address", address_columns, "", 0},
	[STORE_INSERT_PROCESS] = {"process", process_columns, "", 0},
	[STORE_INSERT_SOCKET] = HELD(socket),
	[STORE_INSERT_HOLDER] = HELD(holder),
	[STORE_INSERT_FLOW] = HELD(flow),
	[STORE_INSERT_CONNECTION] = HELD(connection),
	[STORE_INSERT_CANDIDATE] = {"candidate", candidate_columns,
				    "ON CONFLICT (connection_id, process_id) DO NOTHING", 0},
	[STORE_INSERT_OTHER] =
		{"other", other_columns,
		 "ON CONFLICT (segment_id, reason) DO UPDATE SET "
		 "packets = packets + excluded.packets, bytes = bytes + excluded.bytes",
		 0},
	[STORE_INSERT_COVERAGE] = {"coverage", coverage_columns, "", 0},
	[STORE_INSERT_TUNNEL] = {"tunnel", tunnel_columns, "", 0},
	[STORE_INSERT_SERVING] =
		{"serving", serving_columns,
		 "ON CONFLICT (recording_id, port, pid, start_ticks) DO UPDATE SET "
		 "inode = excluded.inode, listens_ns = excluded.listens_ns, "
		 "serves_ns = excluded.serves_ns, again_ns = excluded.again_ns, "
		 "others_ns = excluded.others_ns, hands_ns = excluded.hands_ns",
		 0},
};

static char *insert_sql(const struct table *table)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	int count = 0;

	sqlite3_str_appendf(sql, "INSERT INTO %s (", table->name);
	for (const struct column *column = table->columns; column->name; column++)
		sqlite3_str_appendf(sql, "%s\"%s\"", count++ ? ", " : "", column->name);
	sqlite3_str_appendall(sql, ") VALUES (");
	for (int i = 1; i <= count; i++)
		sqlite3_str_appendf(sql, "%s?%d", i > 1 ? ", " : "", i);
	sqlite3_str_appendf(sql, ") %s", table->conflict);
	return sqlite3_str_finish(sql);
}

static char *update_sql(const struct table *table)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	int parameter = 2;

	sqlite3_str_appendf(sql, "UPDATE %s SET ", table->name);
	for (const struct column *column = table->columns + 1; column->name; column++, parameter++)
		sqlite3_str_appendf(sql, "%s\"%s\" = ?%d", parameter > 2 ? ", " : "", column->name,
				    parameter);
	sqlite3_str_appendf(sql, " WHERE \"%s\" = ?1", table->columns[0].name);
	return sqlite3_str_finish(sql);
}

static char *compare_sql(const struct table *table)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	int parameter = 2;

	sqlite3_str_appendf(sql, "SELECT 1 FROM %s WHERE \"%s\" = ?1", table->name,
			    table->columns[0].name);
	for (const struct column *column = table->columns + 1; column->name; column++, parameter++)
		sqlite3_str_appendf(sql, " AND \"%s\" IS ?%d", column->name, parameter);
	return sqlite3_str_finish(sql);
}

int store_prepare(struct store *store, int which, const char *sql, struct error *error)
{
	if (!sql)
		return storefile_fail(NULL, store->path, "prepare", error);
	if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
			       &store->statements[which], NULL) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "prepare", error);
	return 0;
}

int store_run(struct store *store, sqlite3_stmt *statement, const char *what, struct error *error)
{
	int code = 0;

	if (sqlite3_step(statement) != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, what, error);
	sqlite3_reset(statement);
	return code;
}

void store_finalize_all(struct store *store)
{
	for (int i = 0; i < STORE_STATEMENTS; i++) {
		sqlite3_finalize(store->statements[i]);
		store->statements[i] = NULL;
	}
}

/* ------------------------------------------------------------- binding -- */

bool store_is_utf8(const char *text, size_t length)
{
	size_t at = 0, step = 1;

	for (; at < length && step > 0; at += step)
		step = escape_utf8_length((const uint8_t *)text + at, length - at);
	return step > 0;
}

/* What reads the database may refuse a text that is not UTF-8. */
static int bind_text(struct store *store, sqlite3_stmt *statement, int parameter, const char *text,
		     struct error *error)
{
	size_t length = text != NULL ? strlen(text) : 0;
	char *stored;
	int result;

	if (!text) {
		result = sqlite3_bind_null(statement, parameter);
	} else if (store_is_utf8(text, length)) {
		/* The caller's text outlives the step that follows. */
		result = sqlite3_bind_text64(statement, parameter, text, length, SQLITE_STATIC,
					     SQLITE_UTF8);
	} else {
		stored = escape_stored(text);
		if (!stored)
			return storefile_fail(NULL, store->path, "text", error);
		result = sqlite3_bind_text64(statement, parameter, stored, strlen(stored), free,
					     SQLITE_UTF8);
	}
	return result == SQLITE_OK ? 0 : storefile_fail(store->db, store->path, "text", error);
}

static int bind_row(struct store *store, sqlite3_stmt *statement, const struct column *columns,
		    const char *row, struct error *error)
{
	int parameter = 1, code = 0;
	const char *text;
	int64_t number;

	for (const struct column *column = columns; column->name && code == 0;
	     column++, parameter++) {
		if (column->kind == COLUMN_ID || column->kind == COLUMN_NUMBER) {
			memcpy(&number, row + column->offset, sizeof number);
			if (store_is_null(column->kind, number))
				sqlite3_bind_null(statement, parameter);
			else
				sqlite3_bind_int64(statement, parameter, number);
			continue;
		}
		memcpy(&text, row + column->offset, sizeof text);
		code = bind_text(store, statement, parameter, text, error);
	}
	return code;
}

int store_write_now(struct store *store, enum store_statement which, const void *row, bool insert,
		    struct error *error)
{
	const struct table *table = &store_tables[which];
	int index = insert ? (int)which : STORE_TABLES + (int)which;
	char *sql = NULL;
	int code = 0;

	if (!store->statements[index]) {
		sql = insert ? insert_sql(table) : update_sql(table);
		code = store_prepare(store, index, sql, error);
		sqlite3_free(sql);
	}
	if (code == 0)
		code = bind_row(store, store->statements[index], table->columns, row, error);
	if (code == 0)
		code = store_run(store, store->statements[index], table->name, error);
	return code;
}

static int write_row(struct store *store, enum store_statement which, const void *row, bool insert,
		     struct error *error)
{
	const struct table *table = &store_tables[which];
	int64_t id;
	int code;

	memcpy(&id, (const char *)row + table->columns[0].offset, sizeof id);
	/* NULL would make SQLite choose an id of its own. */
	if (id <= 0)
		return error_set(error, ERROR_USAGE, store->path, -1, "table %s: %lld is no %s",
				 table->name, (long long)id, table->columns[0].name);
	if (insert && table->held_bytes > 0)
		return store_held_add(store, which, row, id, error);
	code = store_held_flush_before(store, which, id, error);
	if (code == 0)
		code = store_write_now(store, which, row, insert, error);
	if (code == 0 && !insert && sqlite3_changes64(store->db) != 1)
		code = error_set(error, ERROR_USAGE, store->path, -1,
				 "table %s has no row %lld to rewrite", table->name, (long long)id);
	return code;
}

static int compare_row(struct store *store, enum store_statement which, int index, const void *row,
		       struct error *error)
{
	const struct table *table = &store_tables[which];
	int code, result;
	int64_t id;

	memcpy(&id, (const char *)row + table->columns[0].offset, sizeof id);
	code = store_held_flush_before(store, which, id, error);
	if (code == 0 && !store->statements[index]) {
		char *sql = compare_sql(table);

		code = store_prepare(store, index, sql, error);
		sqlite3_free(sql);
	}
	if (code == 0)
		code = bind_row(store, store->statements[index], table->columns, row, error);
	if (code != 0)
		return code;
	result = sqlite3_step(store->statements[index]);
	code = result == SQLITE_ROW;
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, table->name, error);
	sqlite3_reset(store->statements[index]);
	return code;
}

/* A verdict that the schema does not know is our own mistake; it is told before it is stored. */
static int check_verdict(struct store *store, const struct store_codes *codes, const char *name,
			 const char *kind, struct error *error)
{
	for (size_t i = 0; name && i < codes->count; i++)
		if (strcmp(codes->entry[i].name, name) == 0)
			return 0;
	if (!name)
		return 0;
	return error_set(error, ERROR_USAGE, store->path, -1, "\"%s\" is not in table %s", name,
			 kind);
}

int store_recording(struct store *store, const struct store_recording *row, bool insert,
		    struct error *error)
{
	return write_row(store, STORE_INSERT_RECORDING, row, insert, error);
}

int store_segment(struct store *store, const struct store_segment *row, bool insert,
		  struct error *error)
{
	return write_row(store, STORE_INSERT_SEGMENT, row, insert, error);
}

int store_snapshot(struct store *store, const struct store_snapshot *row, bool insert,
		   struct error *error)
{
	return write_row(store, STORE_INSERT_SNAPSHOT, row, insert, error);
}

int store_interface(struct store *store, const struct store_interface *row, bool insert,
		    struct error *error)
{
	return write_row(store, STORE_INSERT_INTERFACE, row, insert, error);
}

int store_address(struct store *store, const struct store_address *row, bool insert,
		  struct error *error)
{
	return write_row(store, STORE_INSERT_ADDRESS, row, insert, error);
}

int store_process(struct store *store, const struct store_process *row, bool insert,
		  struct error *error)
{
	return write_row(store, STORE_INSERT_PROCESS, row, insert, error);
}

int store_socket(struct store *store, const struct store_socket *row, bool insert,
		 struct error *error)
{
	return write_row(store, STORE_INSERT_SOCKET, row, insert, error);
}

int store_holder(struct store *store, const struct store_holder *row, bool insert,
		 struct error *error)
{
	return write_row(store, STORE_INSERT_HOLDER, row, insert, error);
}

int store_flow(struct store *store, const struct store_flow *row, enum store_how how,
	       struct error *error)
{
	if (how == STORE_COMPARE)
		return compare_row(store, STORE_INSERT_FLOW, STORE_COMPARE_FLOW, row, error);
	return write_row(store, STORE_INSERT_FLOW, row, how == STORE_INSERT, error);
}

int store_tunnel(struct store *store, const struct store_tunnel *row, enum store_how how,
		 struct error *error)
{
	if (how == STORE_COMPARE)
		return compare_row(store, STORE_INSERT_TUNNEL, STORE_COMPARE_TUNNEL, row, error);
	return write_row(store, STORE_INSERT_TUNNEL, row, how == STORE_INSERT, error);
}

int store_connection(struct store *store, const struct store_connection *row, enum store_how how,
		     struct error *error)
{
	int code = check_verdict(store, &store->rules, row->rule, "rule", error);

	if (code == 0)
		code = check_verdict(store, &store->reasons, row->reason, "reason", error);
	if (code == 0 && how == STORE_COMPARE)
		return compare_row(store, STORE_INSERT_CONNECTION, STORE_COMPARE_CONNECTION, row,
				   error);
	if (code == 0 && how == STORE_REWRITE)
		code = store_sums_own(store, row->connection_id, row->process_id, error);
	if (code == 0)
		code = write_row(store, STORE_INSERT_CONNECTION, row, how == STORE_INSERT, error);
	if (code == 0 && how == STORE_INSERT)
		store_sums_note(store, row->connection_id, row->process_id);
	return code;
}

int store_candidate(struct store *store, const struct store_candidate *row, struct error *error)
{
	return write_row(store, STORE_INSERT_CANDIDATE, row, true, error);
}

int store_other(struct store *store, const struct store_other *row, struct error *error)
{
	return write_row(store, STORE_INSERT_OTHER, row, true, error);
}

int store_coverage(struct store *store, const struct store_coverage *row, struct error *error)
{
	return write_row(store, STORE_INSERT_COVERAGE, row, true, error);
}

int store_serving(struct store *store, const struct store_serving *row, struct error *error)
{
	return write_row(store, STORE_INSERT_SERVING, row, true, error);
}

/* -------------------------------------------------------------- others -- */

static int load_codes(struct store *store, const char *sql, struct store_codes *codes,
		      struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int code = 0, result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

	codes->count = 0;
	while (result == SQLITE_OK || result == SQLITE_ROW) {
		result = sqlite3_step(statement);
		if (result != SQLITE_ROW)
			break;
		const char *name = (const char *)sqlite3_column_text(statement, 1);
		if (!name || strlen(name) >= sizeof codes->entry[0].name ||
		    codes->count == STORE_MAX_CODES) {
			code = error_damage(error, store->path, -1, "the rules and reasons we know",
					    "others");
			break;
		}
		memcpy(codes->entry[codes->count].name, name, strlen(name) + 1);
		codes->entry[codes->count++].code = sqlite3_column_int64(statement, 0);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, "read", error);
	sqlite3_finalize(statement);
	return code;
}

int store_load_codes(struct store *store, struct error *error)
{
	int code = load_codes(store, "SELECT rule_code, rule FROM rule", &store->rules, error);

	if (code == 0)
		code = load_codes(store, "SELECT reason_code, reason FROM reason", &store->reasons,
				  error);
	return code;
}

int64_t store_last_id(struct store *store, const char *table, struct error *error)
{
	for (size_t i = 0; i < STORE_TABLES; i++) {
		const char *key = store_tables[i].columns[0].name;
		size_t length = strlen(table);

		/* Tables whose first column is their own id, "flow" with "flow_id". */
		if (strcmp(store_tables[i].name, table) != 0 || strncmp(key, table, length) != 0 ||
		    strcmp(key + length, "_id") != 0)
			continue;
		int code = store_held_flush(store, error);
		if (code != 0)
			return code;
		char *sql = sqlite3_mprintf("SELECT max(%s) FROM %s", key, table);
		int64_t last = 0;
		code = sql ? storefile_integer(store->db, store->path, sql, 0, &last, error)
			   : storefile_fail(NULL, store->path, table, error);
		sqlite3_free(sql);
		/* Ids count from 1; one that leaves no room for more is not ours. */
		if (code == 0 && (last < 0 || last > INT64_MAX / 2))
			code = error_damage(error, store->path, -1, "ids that count from 1",
					    "%s %" PRId64 " in table %s", key, last, table);
		return code == 0 ? last : code;
	}
	return error_set(error, ERROR_USAGE, store->path, -1, "no table \"%s\" with ids", table);
}
