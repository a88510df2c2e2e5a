/*
 * query_print.h - the rows of a statement as a table, CSV or JSON.
 * Content is evidence and may be hostile: see enum query_format in query.h.
 */
#ifndef ANALYZE_QUERY_PRINT_H
#define ANALYZE_QUERY_PRINT_H

#include "analyze/query.h"

struct sqlite3_stmt;
struct query_printer;

/* NULL: no memory. statement and output are borrowed. */
struct query_printer *query_printer_new(struct sqlite3_stmt *statement,
					const struct query_output *output);
/* Prints the row that the statement stands on, now or later. 0 or ERROR_MEMORY. */
int query_printer_row(struct query_printer *printer);
/* Prints what is left, and the end. Errors of the stream are left to ferror. */
int query_printer_end(struct query_printer *printer);
void query_printer_free(struct query_printer *printer);

/* A JSON string: what is not UTF-8 becomes U+FFFD, what steers a terminal an escape. */
void query_json_text(FILE *stream, const char *text, size_t length);

#endif
