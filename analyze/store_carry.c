/* What moves between connections, and between segments: folds and the carry. */
#include "analyze/store_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "analyze/storefile.h"

/*
 * A new database has no index on packet.connection_id yet, so its packets are
 * moved in one pass at the end: owed holds from and to, and a chain of folds is
 * kept one link long.
 */
#define FOLD_TRAFFIC                                                                               \
	"INSERT INTO traffic SELECT ?2, bucket, sent_packets, sent_bytes, received_packets, "      \
	"received_bytes FROM traffic WHERE connection_id = ?1 " ADD_TRAFFIC
#define FOLD_CANDIDATE                                                                             \
	"INSERT INTO candidate SELECT ?2, process_id, socket_id FROM candidate "                   \
	"WHERE connection_id = ?1 "                                                                \
	"ON CONFLICT (connection_id, process_id) DO NOTHING"

static const char *const fold_sql[] = {
	FOLD_TRAFFIC,
	"DELETE FROM traffic WHERE connection_id = ?1",
	FOLD_CANDIDATE,
	"DELETE FROM candidate WHERE connection_id = ?1",
	"DELETE FROM connection WHERE connection_id = ?1",
	"UPDATE packet SET connection_id = ?2 WHERE connection_id = ?1", /* in place only */
	"UPDATE temp.owed SET to_id = ?2 WHERE to_id = ?1",		 /* the rest: new only */
	"INSERT INTO temp.owed (from_id, to_id) VALUES (?1, ?2)",
};
_Static_assert(sizeof fold_sql / sizeof *fold_sql == STORE_STATEMENTS - STORE_FOLD, "all of them");

int store_fold_connection(struct store *store, int64_t from_id, int64_t to_id, struct error *error)
{
	int code = 0;

	for (int i = 0; i < STORE_STATEMENTS - STORE_FOLD && code == 0; i++) {
		bool wanted = i < 5 || (store->with_packets && (i == 5) != store->is_new);

		if (!wanted)
			continue;
		if (!store->statements[STORE_FOLD + i])
			code = store_prepare(store, STORE_FOLD + i, fold_sql[i], error);
		if (code != 0)
			break;
		sqlite3_stmt *statement = store->statements[STORE_FOLD + i];
		sqlite3_bind_int64(statement, 1, from_id);
		if (sqlite3_bind_parameter_count(statement) > 1)
			sqlite3_bind_int64(statement, 2, to_id);
		code = store_run(store, statement, "fold connections", error);
	}
	return code;
}

int store_drop_candidates(struct store *store, int64_t connection_id, struct error *error)
{
	const int which = 3; /* of fold_sql */
	sqlite3_stmt **statement = &store->statements[STORE_FOLD + which];
	int code = 0;

	if (!*statement)
		code = store_prepare(store, STORE_FOLD + which, fold_sql[which], error);
	if (code != 0)
		return code;
	sqlite3_bind_int64(*statement, 1, connection_id);
	return store_run(store, *statement, "drop candidates", error);
}

/* What of a connection's packets a word on it speaks of: all, where they are nobody's; else those
 * that no row of their own five-tuple was known for. */
#define NO_ROW_KNOWN  "(packet.rule_code IS NULL OR packet.rule_code = " LISTENER_CODE ")"
#define LISTENER_CODE "(SELECT rule_code FROM rule WHERE rule = 'listener')"

/* Rare: only flows over a boundary. */
int store_restate_packets(struct store *store, int64_t connection_id, const char *reason,
			  enum store_rule rule, struct error *error)
{
	char sql[400], code[16] = "NULL";

	if (!store->with_packets)
		return 0;
	/* rule_code counts from 1 in the order of enum store_rule. */
	if (reason == NULL)
		snprintf(code, sizeof(code), "%d", (int)rule + 1);
	if (store->is_new)
		sqlite3_snprintf(sizeof(sql), sql,
				 "INSERT OR REPLACE INTO temp.restated VALUES (%lld, %s, "
				 "(SELECT reason_code FROM reason WHERE reason = %Q))",
				 (long long)connection_id, code, reason);
	else
		sqlite3_snprintf(sizeof(sql), sql,
				 "UPDATE packet SET rule_code = %s, reason_code = (SELECT "
				 "reason_code FROM reason WHERE reason = %Q) "
				 "WHERE connection_id = %lld%s",
				 code, reason, (long long)connection_id,
				 reason == NULL ? " AND " NO_ROW_KNOWN : "");
	return store_execute(store, sql, error);
}

/* The last word on a connection is what holds: what was stored of it since agrees. Whether there
 * is any is asked once, so that nothing costs no pass over the packets. */
int store_apply_folds(struct store *store, struct error *error)
{
	int code;

	if (!store->is_new || !store->with_packets)
		return 0;
	code = store_execute(store,
			     "UPDATE packet SET connection_id = (SELECT to_id FROM temp.owed "
			     "WHERE from_id = connection_id) "
			     "WHERE connection_id IN (SELECT from_id FROM temp.owed)",
			     error);
	if (code != 0)
		return code;
	return store_execute(store,
			     "UPDATE packet SET rule_code = r.rule_code, reason_code = "
			     "r.reason_code FROM temp.restated r "
			     "WHERE EXISTS (SELECT 1 FROM temp.restated) AND "
			     "r.connection_id = packet.connection_id AND "
			     "(r.reason_code IS NOT NULL OR " NO_ROW_KNOWN ")",
			     error);
}

int store_carry_clear(struct store *store, struct error *error)
{
	return store_execute(store, "DELETE FROM carry", error);
}

int store_carry_put(struct store *store, int64_t kind, const void *bytes, size_t length,
		    struct error *error)
{
	sqlite3_stmt **statement = &store->statements[STORE_CARRY_PUT];
	int code = 0;

	if (!*statement)
		code = store_prepare(store, STORE_CARRY_PUT,
				     "INSERT INTO carry (kind, state) VALUES (?1, ?2)", error);
	if (code != 0)
		return code;
	sqlite3_bind_int64(*statement, 1, kind);
	/* A NULL pointer would bind NULL; no bytes are an empty blob. */
	if (sqlite3_bind_blob64(*statement, 2, length ? bytes : "", length, SQLITE_STATIC) !=
	    SQLITE_OK)
		return storefile_fail(store->db, store->path, "carry", error);
	return store_run(store, *statement, "carry", error);
}

int store_carry_each(struct store *store,
		     int (*each)(int64_t kind, const void *bytes, size_t length, void *context,
				 struct error *error),
		     void *context, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int code = 0, result;

	result = sqlite3_prepare_v2(store->db, "SELECT kind, state FROM carry ORDER BY seq", -1,
				    &statement, NULL);
	while (code == 0 && (result == SQLITE_OK || result == SQLITE_ROW)) {
		result = sqlite3_step(statement);
		if (result != SQLITE_ROW)
			break;
		const void *bytes = sqlite3_column_blob(statement, 1);
		size_t length = (size_t)sqlite3_column_bytes(statement, 1);
		code = each(sqlite3_column_int64(statement, 0), length ? bytes : "", length,
			    context, error);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, "carry", error);
	sqlite3_finalize(statement);
	return code;
}
