/*
 * store_given.c - many rows in one statement, out of an array.
 *
 * A statement for each row costs more than the row. So one statement takes all of them out of
 * a virtual table that is the array: table given, whose columns are c0, c1 and so on.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/store_rows.h"
#include "analyze/storefile.h"

#define MODULE "given"

struct given {
	sqlite3_vtab base;
	const struct store_given *rows;
};

struct given_cursor {
	sqlite3_vtab_cursor base;
	const char *at, *end; /* rows */
};

static int given_connect(sqlite3 *db, void *context, int argc, const char *const *argv,
			 sqlite3_vtab **out, char **error)
{
	struct given *given;
	sqlite3_str *schema = sqlite3_str_new(db);
	char *text;
	int result;

	(void)argc, (void)argv, (void)error;
	for (int i = 0; i < STORE_GIVEN_COLUMNS; i++)
		sqlite3_str_appendf(schema, "%s c%d", i ? "," : "CREATE TABLE given (", i);
	sqlite3_str_appendall(schema, ")");
	text = sqlite3_str_finish(schema);
	result = text ? sqlite3_declare_vtab(db, text) : SQLITE_NOMEM;
	sqlite3_free(text);
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

static const struct store_given *given_of(const sqlite3_vtab_cursor *base)
{
	_Static_assert(offsetof(struct given, base) == 0, "it begins with SQLite's part");
	return ((const struct given *)base->pVtab)->rows;
}

static int given_filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
			sqlite3_value **argv)
{
	const struct store_given *given = given_of(base);
	struct given_cursor *cursor = cursor_of(base);

	(void)number, (void)text, (void)argc, (void)argv;
	cursor->at = given->rows;
	cursor->end = given->rows + given->count * given->row_bytes;
	return SQLITE_OK;
}

static int given_next(sqlite3_vtab_cursor *base)
{
	cursor_of(base)->at += given_of(base)->row_bytes;
	return SQLITE_OK;
}

static int given_eof(sqlite3_vtab_cursor *base)
{
	return cursor_of(base)->at == cursor_of(base)->end;
}

static int given_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	const struct column *columns = given_of(base)->columns;
	const char *row = cursor_of(base)->at, *text;
	int64_t number;

	if (columns && columns[column].kind == COLUMN_TEXT) {
		memcpy(&text, row + columns[column].offset, sizeof text);
		if (text)
			sqlite3_result_text(context, text, -1, SQLITE_STATIC);
		return SQLITE_OK; /* what has no result is NULL */
	}
	memcpy(&number, row + (columns ? columns[column].offset : (size_t)column * sizeof number),
	       sizeof number);
	if (!columns || !store_is_null(columns[column].kind, number))
		sqlite3_result_int64(context, number);
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

int store_give(struct store *store, int which, const char *sql, const struct store_given *given,
	       const char *what, struct error *error)
{
	int code = 0;

	if (!store->has_given_table &&
	    sqlite3_create_module(store->db, MODULE, &given_module, &store->given) != SQLITE_OK)
		return storefile_fail(store->db, store->path, what, error);
	store->has_given_table = true;
	if (store->statements[which] == NULL)
		code = store_prepare(store, which, sql, error);
	if (code != 0)
		return code;
	store->given = *given;
	code = store_run(store, store->statements[which], what, error);
	store->given = (struct store_given){0};
	return code;
}
