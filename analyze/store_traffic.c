/*
 * store_traffic.c - rows of traffic, and of their sums, many in one statement.
 *
 * A statement for each row costs more than the row. So one statement takes all of them out of
 * a virtual table that is the caller's array.
 */
#include <stddef.h>
#include <stdlib.h>

#include "analyze/store_rows.h"
#include "analyze/storefile.h"

#define MODULE "given_traffic"

/* Of whom the counts are: a connection, or a process. */
static const char module_schema[] = "CREATE TABLE given (whose, bucket, sent_packets, "
				    "sent_bytes, received_packets, received_bytes)";
/* FAIL: what failed is rolled back as a whole, so no statement need be undone by itself.
 * WHERE: without it ON could be a join's. */
#define INSERT_INTO(table)                                                                         \
	"INSERT OR FAIL INTO " table " SELECT whose, bucket, sent_packets, sent_bytes, "           \
	"received_packets, received_bytes FROM " MODULE " WHERE true "
static const char *const insert_sql[] = {
	[STORE_TRAFFIC - STORE_TRAFFIC] = INSERT_INTO("traffic") ADD_TRAFFIC,
	[STORE_ADD_SUMS - STORE_TRAFFIC] = INSERT_INTO("process_bucket") ADD_SUMS,
};

struct given {
	sqlite3_vtab base;
	const struct store_given *rows;
};

struct given_cursor {
	sqlite3_vtab_cursor base;
	const int64_t (*at)[STORE_GIVEN], (*end)[STORE_GIVEN];
};

static int given_connect(sqlite3 *db, void *context, int argc, const char *const *argv,
			 sqlite3_vtab **out, char **error)
{
	struct given *given;
	int result = sqlite3_declare_vtab(db, module_schema);

	(void)argc, (void)argv, (void)error;
	if (result != SQLITE_OK)
		return result;
	given = calloc(1, sizeof(*given));
	if (given == NULL)
		return SQLITE_NOMEM;
	given->rows = context;
	*out = &given->base;
	return SQLITE_OK;
}

static int given_disconnect(sqlite3_vtab *vtab)
{
	free(vtab);
	return SQLITE_OK;
}

/* There is one way to read it: from its beginning to its end. */
static int given_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
	(void)vtab, (void)info;
	return SQLITE_OK;
}

static int given_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
	struct given_cursor *cursor = calloc(1, sizeof(*cursor));

	(void)vtab;
	if (cursor == NULL)
		return SQLITE_NOMEM;
	*out = &cursor->base;
	return SQLITE_OK;
}

static int given_close(sqlite3_vtab_cursor *cursor)
{
	free(cursor);
	return SQLITE_OK;
}

static struct given_cursor *cursor_of(sqlite3_vtab_cursor *base)
{
	_Static_assert(offsetof(struct given_cursor, base) == 0, "it begins with SQLite's part");
	return (struct given_cursor *)base;
}

static int given_filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
			sqlite3_value **argv)
{
	_Static_assert(offsetof(struct given, base) == 0, "it begins with SQLite's part");
	const struct given *given = (const struct given *)base->pVtab;
	struct given_cursor *cursor = cursor_of(base);

	(void)number, (void)text, (void)argc, (void)argv;
	cursor->at = given->rows->values;
	cursor->end = cursor->at + given->rows->count;
	return SQLITE_OK;
}

static int given_next(sqlite3_vtab_cursor *base)
{
	cursor_of(base)->at++;
	return SQLITE_OK;
}

static int given_eof(sqlite3_vtab_cursor *base)
{
	return cursor_of(base)->at == cursor_of(base)->end;
}

static int given_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	sqlite3_result_int64(context, (*cursor_of(base)->at)[column]);
	return SQLITE_OK;
}

static int given_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
	*rowid = (sqlite3_int64)(uintptr_t)cursor_of(base)->at;
	return SQLITE_OK;
}

static const sqlite3_module given_module = {
	.xConnect = given_connect,
	.xBestIndex = given_best_index,
	.xDisconnect = given_disconnect,
	.xOpen = given_open,
	.xClose = given_close,
	.xFilter = given_filter,
	.xNext = given_next,
	.xEof = given_eof,
	.xColumn = given_column,
	.xRowid = given_rowid,
};

static int prepare(struct store *store, int which, struct error *error)
{
	/* The other one has made it. */
	bool is_there = store->statements[STORE_TRAFFIC] || store->statements[STORE_ADD_SUMS];

	if (!is_there &&
	    sqlite3_create_module(store->db, MODULE, &given_module, &store->given) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "traffic", error);
	return store_prepare(store, which, insert_sql[which - STORE_TRAFFIC], error);
}

int store_give(struct store *store, int which, const int64_t (*values)[STORE_GIVEN], size_t count,
	       struct error *error)
{
	int code = 0;

	if (store->statements[which] == NULL)
		code = prepare(store, which, error);
	if (code != 0)
		return code;
	store->given = (struct store_given){values, count};
	code = store_run(store, store->statements[which], "traffic", error);
	store->given = (struct store_given){0};
	return code;
}

int store_traffic(struct store *store, const struct store_traffic *rows, size_t count,
		  struct error *error)
{
	_Static_assert(sizeof(*rows) == sizeof(int64_t[STORE_GIVEN]) &&
			       offsetof(struct store_traffic, connection_id) == 0 &&
			       offsetof(struct store_traffic, sent_packets) == 2 * sizeof(int64_t),
		       "numbers in the order of the columns");
	int code;

	for (size_t i = 0; i < count; i++) {
		if (rows[i].connection_id <= 0)
			return error_set(error, ERROR_USAGE, store->path, -1,
					 "table traffic: %lld is no connection_id",
					 (long long)rows[i].connection_id);
	}
	code = store_give(store, STORE_TRAFFIC, (const int64_t(*)[STORE_GIVEN])rows, count, error);
	for (size_t i = 0; i < count && code == 0; i++)
		code = store_sums_add(store, &rows[i], error);
	return code;
}
