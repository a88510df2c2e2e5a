/*
 * schema_sql.h - the text of schema/, as schema/embed.sh puts it into a C file
 * of the build directory. Text only; store and query know what to do with it.
 */
#ifndef ANALYZE_SCHEMA_SQL_H
#define ANALYZE_SCHEMA_SQL_H

extern const char schema_tables[];  /* schema.sql */
extern const char schema_views[];   /* views.sql */
extern const char schema_indexes[]; /* indexes.sql: after the rows of a new database */

/* checks/: how table kernel_end is made; store_checks.c knows when. */
extern const char schema_checks_open[], schema_checks_watch[], schema_checks_holes[],
	schema_checks_weigh[], schema_checks_keep[];

/* columns.tsv: one line for each column and, with an empty column, for each
 * table and view: object TAB column TAB type TAB unit TAB description LF. The
 * first line names these fields. */
extern const char schema_columns[];

/* queries/NAME.sql. The text begins with comment lines: the title, then what
 * it shows, then directives ("-- human: COLUMN,COLUMN"). */
struct schema_query {
	const char *name, *text;
};
extern const struct schema_query schema_queries[]; /* by name; ends with name NULL */

#endif
