/*
 * chain.h - rows of a database by name: the links of an explanation, and whether
 * two databases say the same of a link. Reads only.
 */
#ifndef ANALYZE_CHAIN_H
#define ANALYZE_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

struct sqlite3;

#define CHAIN_NULL INT64_MIN

struct chain_field {
	char *name;
	char *text;    /* NULL: SQL's NULL */
	size_t length; /* of text, which may hold NULs */
	bool number;
};

/* Fields whose name begins with "_" lead to other rows: their numbers differ
 * from one database to another, and they are neither shown nor compared. */
struct chain_row {
	struct chain_field *fields;
	size_t count, capacity;
};

struct chain_rows {
	struct chain_row *rows;
	size_t count, capacity;
};

/* What a parameter of a statement is bound to. */
struct chain_value {
	const char *text; /* NULL: the number */
	int64_t number;	  /* CHAIN_NULL: SQL's NULL */
};

/* An answer is read by somebody, and stands in memory at some kilobytes a row: what many
 * thousand processes did is asked for one by one. */
#define CHAIN_MAX_ROWS 250000

/* All rows of sql, at most CHAIN_MAX_ROWS (else ERROR_LIMIT), its parameters ?1 … bound to values.
 * path is for messages. */
int chain_query(struct sqlite3 *db, const char *path, const char *sql,
		const struct chain_value *values, size_t count, struct chain_rows *out,
		struct error *error);
/* Says that an answer is over that limit. */
int chain_too_many(const char *path, struct error *error);
void chain_rows_release(struct chain_rows *rows);
void chain_row_release(struct chain_row *row);
/* Takes row i out of rows; an empty row if there is none. */
struct chain_row chain_take(struct chain_rows *rows, size_t i);

/* By hand. 0, or -1 without memory. */
int chain_add(struct chain_row *row, const struct chain_field *field); /* a copy of it */
int chain_add_number(struct chain_row *row, const char *name, int64_t number);
int chain_add_text(struct chain_row *row, const char *name, const char *text);

const struct chain_field *chain_field(const struct chain_row *row, const char *name);
const char *chain_text(const struct chain_row *row, const char *name); /* NULL: none */
int64_t chain_number(const struct chain_row *row, const char *name);   /* CHAIN_NULL: none */

bool chain_is_internal(const struct chain_field *field);
/* Whether a field of a and its like in b have one value. */
bool chain_same_field(const struct chain_field *a, const struct chain_row *b);
/* Whether all that a has, b has too. */
bool chain_same(const struct chain_row *a, const struct chain_row *b);

#endif
