#include "analyze/chain.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/storefile.h"

static int add_field(struct chain_row *row, const char *name, const char *text, size_t length,
		     bool number)
{
	struct chain_field field = {.name = strdup(name), .length = length, .number = number};

	if (text != NULL) {
		field.text = malloc(length + 1);
		if (field.text != NULL) {
			memcpy(field.text, text, length);
			field.text[length] = '\0';
		}
	}
	if (field.name == NULL || (text != NULL && field.text == NULL) ||
	    grow_one(&row->fields, row->count, &row->capacity, sizeof(*row->fields)) != 0) {
		free(field.name);
		free(field.text);
		return -1;
	}
	row->fields[row->count++] = field;
	return 0;
}

int chain_add(struct chain_row *row, const struct chain_field *field)
{
	return add_field(row, field->name, field->text, field->length, field->number);
}

int chain_add_number(struct chain_row *row, const char *name, int64_t number)
{
	char text[24];
	int length = snprintf(text, sizeof(text), "%" PRId64, number);

	return add_field(row, name, number == CHAIN_NULL ? NULL : text, (size_t)length, true);
}

int chain_add_text(struct chain_row *row, const char *name, const char *text)
{
	return add_field(row, name, text, text == NULL ? 0 : strlen(text), false);
}

static int take_row(sqlite3_stmt *statement, struct chain_rows *out)
{
	struct chain_row *row;

	if (grow_one(&out->rows, out->count, &out->capacity, sizeof(*out->rows)) != 0)
		return -1;
	row = &out->rows[out->count++];
	*row = (struct chain_row){0};
	for (int i = 0; i < sqlite3_column_count(statement); i++) {
		int type = sqlite3_column_type(statement, i);
		const char *name = sqlite3_column_name(statement, i);
		const char *text = type == SQLITE_NULL
					   ? NULL
					   : (const char *)sqlite3_column_text(statement, i);

		if (name == NULL || (type != SQLITE_NULL && text == NULL) ||
		    add_field(row, name, text, (size_t)sqlite3_column_bytes(statement, i),
			      type == SQLITE_INTEGER) != 0)
			return -1;
	}
	return 0;
}

int chain_too_many(const char *path, struct error *error)
{
	return error_set(error, ERROR_LIMIT, path, -1,
			 "wanted an answer of at most %d rows, found more: ask by --connection",
			 CHAIN_MAX_ROWS);
}

int chain_query(struct sqlite3 *db, const char *path, const char *sql,
		const struct chain_value *values, size_t count, struct chain_rows *out,
		struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int result, status = 0;

	*out = (struct chain_rows){0};
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		return storefile_fail(db, path, "read", error);
	for (size_t i = 0; i < count; i++) {
		if (values[i].text != NULL)
			sqlite3_bind_text(statement, (int)i + 1, values[i].text, -1, SQLITE_STATIC);
		else if (values[i].number != CHAIN_NULL)
			sqlite3_bind_int64(statement, (int)i + 1, values[i].number);
	}
	while (status == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		if (out->count == CHAIN_MAX_ROWS)
			status = chain_too_many(path, error);
		else if (take_row(statement, out) != 0)
			status = error_set(error, ERROR_MEMORY, path, -1, "out of memory");
	}
	if (status == 0 && result != SQLITE_DONE)
		status = storefile_fail(db, path, "read", error);
	sqlite3_finalize(statement);
	if (status != 0)
		chain_rows_release(out);
	return status;
}

void chain_row_release(struct chain_row *row)
{
	for (size_t i = 0; i < row->count; i++) {
		free(row->fields[i].name);
		free(row->fields[i].text);
	}
	free(row->fields);
	*row = (struct chain_row){0};
}

void chain_rows_release(struct chain_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		chain_row_release(&rows->rows[i]);
	free(rows->rows);
	*rows = (struct chain_rows){0};
}

struct chain_row chain_take(struct chain_rows *rows, size_t i)
{
	struct chain_row row = {0};

	if (i < rows->count) {
		row = rows->rows[i];
		rows->rows[i] = (struct chain_row){0};
	}
	return row;
}

const struct chain_field *chain_field(const struct chain_row *row, const char *name)
{
	for (size_t i = 0; i < row->count; i++) {
		if (strcmp(row->fields[i].name, name) == 0)
			return &row->fields[i];
	}
	return NULL;
}

const char *chain_text(const struct chain_row *row, const char *name)
{
	const struct chain_field *field = chain_field(row, name);

	return field == NULL ? NULL : field->text;
}

int64_t chain_number(const struct chain_row *row, const char *name)
{
	const char *text = chain_text(row, name);

	return text == NULL ? CHAIN_NULL : strtoll(text, NULL, 10);
}

bool chain_is_internal(const struct chain_field *field)
{
	return field->name[0] == '_';
}

bool chain_same_field(const struct chain_field *a, const struct chain_row *b)
{
	const struct chain_field *other = chain_field(b, a->name);

	if (other == NULL || (a->text == NULL) != (other->text == NULL))
		return false;
	return a->text == NULL ||
	       (a->length == other->length && memcmp(a->text, other->text, a->length) == 0);
}

bool chain_same(const struct chain_row *a, const struct chain_row *b)
{
	for (size_t i = 0; i < a->count; i++) {
		if (!chain_is_internal(&a->fields[i]) && !chain_same_field(&a->fields[i], b))
			return false;
	}
	return true;
}
