/*
 * storefile.h - a database file: whether it is ours, opening it to read, and
 * SQLite's failures as struct error.
 *
 * Used by whatever reads a database, and by store. Never writes.
 */
#ifndef ANALYZE_STOREFILE_H
#define ANALYZE_STOREFILE_H

#include <stdint.h>

#include "snapshot/format/error.h"

struct serving_book;
struct sqlite3;

/* For what comes from elsewhere: pages are checked as they are read. */
#define STOREFILE_CHECK_PAGES "PRAGMA cell_size_check = ON;"

#define STOREFILE_APPLICATION_ID 0x70637768 /* "pcwh" */
#define STOREFILE_VERSION	 10	    /* user_version; raised when a table changes */
/* The same, in quotes. */
#define STOREFILE_TEXT_OF(number)     #number
#define STOREFILE_TEXT(number)	      STOREFILE_TEXT_OF(number)
#define STOREFILE_APPLICATION_ID_TEXT STOREFILE_TEXT(STOREFILE_APPLICATION_ID)
#define STOREFILE_VERSION_TEXT	      STOREFILE_TEXT(STOREFILE_VERSION)

/* Before the first database of a program whose work is to write one: makes SQLite cheaper. */
void storefile_configure(void);

/* What a file that db opens, or that is attached to it, has of its own is not run. */
void storefile_distrust(struct sqlite3 *db);

/* Opens an existing database of ours to read; nothing can be written through
 * it, and its schema is not trusted to call anything that has side effects. A
 * load that was killed in the middle is undone first where the file is writable.
 * On media where SQLite cannot lock or make its own files it is read as it is,
 * unless an interrupted load has left it half-written; a journal that storefile_check_journal
 * refuses is not undone. Close with
 * storefile_close. ERROR_NO_INPUT; ERROR_DAMAGED when it is not ours, the message
 * says what was found; else as storefile_fail. */
int storefile_open(const char *path, struct sqlite3 **out, struct error *error);

/* The same, for a database that is nobody's to change: where a load would have to be
 * undone first it fails, and so it does in WAL mode (ERROR_USAGE). */
int storefile_open_untouched(const char *path, struct sqlite3 **out, struct error *error);

void storefile_close(struct sqlite3 *db); /* NULL works */

/* The same file beside what db has open, to read, under the name schema; it was opened
 * by storefile_open_untouched before, and db was opened with SQLITE_OPEN_URI. */
int storefile_attach(struct sqlite3 *db, const char *schema, const char *path, struct error *error);
void storefile_detach(struct sqlite3 *db, const char *schema);

/* Reads the file's header and touches nothing: 0 when it is a database of ours,
 * of a version that we know; else as above. */
int storefile_identify(const char *path, struct error *error);

/* And none in WAL mode, nor with a log of that beside it: ERROR_USAGE. */
int storefile_identify_plain(const char *path, struct error *error);

/* Before path is opened to write, which undoes an interrupted load: a journal can tell SQLite
 * to remove any other file, and one that does is refused. ERROR_DAMAGED. */
int storefile_check_journal(const char *path, struct error *error);

/* For a database that is about to be put at path: fails, naming it, when a journal or a log
 * is there already, of any size. SQLite would take it for the new one's and write it into
 * that. ERROR_USAGE. */
int storefile_check_alone(const char *path, struct error *error);

/* The name under which SQLite opens path as a plain file: no path is taken for
 * a URI or for :memory:. Freed with sqlite3_free; NULL: no memory. */
char *storefile_name(const char *path);

/* Fills *error with what the last call on db said: "WHAT: SQLite's message".
 * Returns the code that belongs to it. db may be NULL (out of memory). */
int storefile_fail(struct sqlite3 *db, const char *path, const char *what, struct error *error);

/* Adds to the book what a database has of who serves in a recording (serving.h). recording_id: the
 * one of its rows in a merged database that is meant; 0: it has one. */
int storefile_serving(struct sqlite3 *db, const char *path, int64_t recording_id, const char *uuid,
		      struct serving_book *book, struct error *error);

/* How often the file of schema has been written, as its header counts it: in a transaction that
 * has read of it, nobody who keeps to SQLite's locks has written it since this is what it was.
 * Elsewhere it tells whether somebody has, whatever the file's size and times say. */
int storefile_changes(struct sqlite3 *db, const char *schema, const char *path, uint32_t *out,
		      struct error *error);

/* First column of the first row of sql; its absence and NULL give fallback. */
int storefile_integer(struct sqlite3 *db, const char *path, const char *sql, int64_t fallback,
		      int64_t *out, struct error *error);

#endif
