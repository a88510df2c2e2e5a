/*
 * store_held.c - new rows of the tables that have many, held back so that one statement writes
 * many of them.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/store_rows.h"
#include "analyze/storefile.h"

/* Held back of a table, and of their texts: so many that what a statement costs by itself is
 * little beside them. */
#define HELD_ROWS	512
#define HELD_TEXT_BYTES ((size_t)128 << 10)

static char *give_sql(const struct table *table)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	int count = 0;

	sqlite3_str_appendf(sql, "INSERT OR FAIL INTO %s (", table->name);
	for (const struct column *column = table->columns; column->name; column++)
		sqlite3_str_appendf(sql, "%s\"%s\"", count++ ? ", " : "", column->name);
	sqlite3_str_appendall(sql, ") SELECT ");
	for (int i = 0; i < count; i++)
		sqlite3_str_appendf(sql, "%sc%d", i > 0 ? ", " : "", i);
	sqlite3_str_appendall(sql, " FROM given");
	return sqlite3_str_finish(sql);
}

static int flush_table(struct store *store, enum store_statement which, struct error *error)
{
	const struct table *table = &store_tables[which];
	struct store_held *held = &store->held[which];
	const struct store_given given = {.rows = held->rows,
					  .row_bytes = table->held_bytes,
					  .count = held->count,
					  .columns = table->columns};
	const int index = STORE_GIVE + (int)which;
	char *sql = NULL;
	int code = 0;

	if (held->count == 0)
		return 0;
	if (!store->statements[index] && !(sql = give_sql(table)))
		return storefile_fail(NULL, store->path, table->name, error);
	code = store_give(store, index, sql, &given, table->name, error);
	sqlite3_free(sql);
	held->count = held->text_bytes = 0;
	return code;
}

int store_held_flush(struct store *store, struct error *error)
{
	int code = 0;

	for (int i = 0; i < STORE_TABLES && code == 0; i++)
		code = flush_table(store, (enum store_statement)i, error);
	return code;
}

void store_held_drop(struct store *store)
{
	for (int i = 0; i < STORE_TABLES; i++)
		store->held[i].count = store->held[i].text_bytes = 0;
}

void store_held_release(struct store *store)
{
	for (int i = 0; i < STORE_TABLES; i++) {
		free(store->held[i].rows);
		free(store->held[i].texts);
	}
}

/* Bytes of its texts; more than are ever held where one is to be changed first. */
static size_t text_bytes(const struct table *table, const char *row)
{
	size_t bytes = 0;

	for (const struct column *column = table->columns; column->name; column++) {
		const char *text;

		if (column->kind != COLUMN_TEXT)
			continue;
		memcpy(&text, row + column->offset, sizeof text);
		if (text && !store_is_utf8(text, strlen(text)))
			return SIZE_MAX;
		bytes += text ? strlen(text) + 1 : 0;
	}
	return bytes;
}

static void keep_texts(const struct table *table, struct store_held *held, char *row)
{
	for (const struct column *column = table->columns; column->name; column++) {
		char *text, *kept = held->texts + held->text_bytes;

		if (column->kind != COLUMN_TEXT)
			continue;
		memcpy(&text, row + column->offset, sizeof text);
		if (!text)
			continue;
		size_t bytes = strlen(text) + 1;
		memcpy(kept, text, bytes);
		memcpy(row + column->offset, &kept, sizeof kept);
		held->text_bytes += bytes;
	}
}

int store_held_add(struct store *store, enum store_statement which, const void *row, int64_t id,
		   struct error *error)
{
	const struct table *table = &store_tables[which];
	struct store_held *held = &store->held[which];
	size_t bytes = text_bytes(table, row);
	int code = 0;

	if (held->count == HELD_ROWS || bytes > HELD_TEXT_BYTES - held->text_bytes)
		code = flush_table(store, which, error);
	if (code == 0 && bytes > HELD_TEXT_BYTES)
		return store_write_now(store, which, row, true, error);
	if (code != 0)
		return code;
	if (!held->rows)
		held->rows = calloc(HELD_ROWS, table->held_bytes);
	if (!held->texts)
		held->texts = malloc(HELD_TEXT_BYTES);
	if (!held->rows || !held->texts)
		return storefile_fail(NULL, store->path, table->name, error);
	char *kept = held->rows + held->count * table->held_bytes;
	memcpy(kept, row, table->held_bytes);
	keep_texts(table, held, kept);
	if (held->count == 0 || id < held->first_id)
		held->first_id = id;
	held->count++;
	return 0;
}

int store_held_flush_before(struct store *store, enum store_statement which, int64_t id,
			    struct error *error)
{
	const struct store_held *held = &store->held[which];

	return held->count > 0 && id >= held->first_id ? flush_table(store, which, error) : 0;
}
