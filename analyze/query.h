/*
 * query.h - runs one SQL statement on a database of ours and prints the result.
 *
 * Never writes to the database: what is not reading is refused when the
 * statement is prepared. Knows the named queries of schema/queries.
 */
#ifndef ANALYZE_QUERY_H
#define ANALYZE_QUERY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "analyze/schema_sql.h"
#include "snapshot/format/error.h"

struct sqlite3;

enum query_format {
	QUERY_TABLE, /* aligned columns; control characters made visible; NULL is "-" */
	QUERY_CSV,   /* RFC 4180, with a header; NULL is empty, an empty text is "" */
	QUERY_JSON,  /* an array of objects, one a line; what is not UTF-8 becomes U+FFFD */
};
/* "table" "csv" "json". 0 or -1. */
int query_parse_format(const char *name, enum query_format *out);

#define QUERY_NULL INT64_MIN /* a parameter that is not given */

/* Bound to :since_ns :until_ns :process :limit :bucket :host, as NULL where not given. */
struct query_parameters {
	int64_t since_ns, until_ns; /* from, and before. One given alone gets the edge of time as
				       the other. */
	const char *process;	    /* pid, or GLOB pattern of a program's name; NULL: not given */
	int64_t limit;		    /* rows */
	int64_t bucket_ns;
	const char *host; /* as query_find_host gives it; NULL: not given */
};
#define QUERY_NO_PARAMETERS                                                                        \
	{                                                                                          \
		QUERY_NULL, QUERY_NULL, NULL, QUERY_NULL, QUERY_NULL, NULL                         \
	}

struct query_output {
	FILE *stream;
	enum query_format format;
	const char *human; /* columns that a table shows as "1.4 MB": "a,b"; NULL: none */
	bool terminal; /* lines of a table are cut at width; no format emits control characters */
	unsigned int width; /* of the terminal, in columns; 0: not known, nothing is cut */
	uint64_t *rows;	    /* set to how many there were; NULL: not wanted */
};

/* Runs sql, exactly one statement, on a database opened by storefile_open;
 * path is for messages. ERROR_USAGE when the statement is wrong (the message
 * says where), is not one, would write, or when a parameter is given that it
 * does not have or asks for one that we don't know. ERROR_SYSTEM when the
 * output cannot be written. */
int query_run(struct sqlite3 *db, const char *path, const char *sql,
	      const struct query_parameters *parameters, const struct query_output *output,
	      struct error *error);

/* The host that name stands for, by query hosts: its name, or where several machines have
 * that name, "name@machine-id", which is always taken. *out is the name that the queries show,
 * the caller's to free. ERROR_USAGE where it is not exactly one host: the message lists them. */
int query_find_host(struct sqlite3 *db, const char *path, const char *name, char **out,
		    struct error *error);

/* A named query, or NULL. */
const struct schema_query *query_find(const char *name);
/* Value of a directive in the comment that opens text ("human" for "-- human:
 * a,b"), at most size - 1 bytes of it; the empty directive "" is the title.
 * Returns buffer, or NULL if there is none. */
char *query_directive(const char *text, const char *directive, char *buffer, size_t size);

#endif
