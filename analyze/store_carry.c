/* What moves between connections, and between segments: folds and the carry. */
#include "analyze/store_rows.h"

#include "analyze/storefile.h"

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
};
_Static_assert(sizeof fold_sql / sizeof *fold_sql == STORE_PUT_PACKETS - STORE_FOLD, "all of them");

int store_fold_connection(struct store *store, int64_t from_id, int64_t to_id, struct error *error)
{
	int code = store_held_flush(store, error);

	if (code == 0 && store->with_packets)
		code = store_fold_packets(store, from_id, to_id, error);
	if (code == 0)
		code = store_sums_fold(store, from_id, to_id, error);
	for (int i = 0; i < STORE_PUT_PACKETS - STORE_FOLD && code == 0; i++) {
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
