/* What the databases have that are merged: their numbers, and digests of their rows. */
#include "analyze/store_fleet.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/hashindex.h"
#include "analyze/store_fleet_taker.h"
#include "analyze/storefile.h"

void store_fleet_source_release(struct store_fleet_source *source)
{
	for (int i = 0; i < STORE_NUMBERED; i++)
		idruns_release(&source->ids[i]);
}

int store_taker_fail(const struct taker *t, const char *table)
{
	sqlite3 *db = t->store->db;
	int kind = sqlite3_errcode(db) & 0xff;
	bool is_target = kind == SQLITE_FULL || (kind == SQLITE_IOERR &&
						 sqlite3_extended_errcode(db) != SQLITE_IOERR_READ);

	if (t->failed != 0)
		return t->failed;
	if (kind == SQLITE_NOMEM || kind == SQLITE_INTERRUPT || kind == SQLITE_BUSY || is_target ||
	    kind == SQLITE_IOERR || kind == SQLITE_CORRUPT)
		return storefile_fail(db, is_target ? t->store->path : t->source->path, table,
				      t->error);
	return error_damage(t->error, t->source->path, -1, "rows that can be merged",
			    "in table %s: %s", table, sqlite3_errmsg(db));
}

int store_taker_damage(const struct taker *t, const char *table, const char *what, int64_t number)
{
	return error_damage(t->error, t->source->path, -1, "rows that can be merged",
			    "in table %s: %s %" PRId64, table, what, number);
}

int store_taker_prepare(const struct taker *t, const char *table, char *sql, sqlite3_stmt **out)
{
	int code = 0;

	if (sql == NULL)
		return storefile_fail(NULL, t->store->path, table, t->error);
	if (sqlite3_prepare_v2(t->store->db, sql, -1, out, NULL) != SQLITE_OK)
		code = store_taker_fail(t, table);
	sqlite3_free(sql);
	return code;
}

char *store_taker_from(const char *table)
{
	/* Only these are pointed to by a number. */
	if (store_reference_by_kind(table, STORE_OWN_NUMBER) != NULL)
		return sqlite3_mprintf(SOURCE ".%s NOT INDEXED", table);
	return sqlite3_mprintf(SOURCE ".%s INDEXED BY sqlite_autoindex_%s_1", table, table);
}

/* -------------------------------------------------------------- attaching -- */

static int changed(const struct taker *t)
{
	return error_set(t->error, ERROR_SYSTEM, t->source->path, -1,
			 "it was changed while it was being merged: try again");
}

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* By who does not keep to SQLite's locks, size and time of the file can tell. */
static int check_status(const struct taker *t)
{
	struct stat status;

	if (stat(t->source->path, &status) != 0)
		return error_errno(t->error, t->source->path, "open");
	return is_unchanged(&status, &t->source->status) ? 0 : changed(t);
}

/* The target locks for good what it reads (PRAGMA locking_mode, for what is attached too): the
 * file is read under one lock from here until it is detached, its schema and its rows, and who
 * keeps to SQLite's locks cannot write it. Between the times at which it is attached, of which
 * thousands of files can have no more than a few at once, its header tells whether somebody
 * did. */
int store_taker_begin(struct taker *t, struct store *store, struct store_fleet *fleet,
		      struct store_fleet_source *source, struct error *error)
{
	uint32_t changes = 0;
	int64_t objects;
	int code;

	*t = (struct taker){.store = store, .fleet = fleet, .source = source, .error = error};
	code = storefile_attach(store->db, SOURCE, source->path, error);
	if (code != 0)
		return code;
	code = store_execute(store, "BEGIN", t->error);
	if (code == 0)
		code = storefile_integer(store->db, t->source->path,
					 "SELECT count(*) FROM " SOURCE ".sqlite_schema", 0,
					 &objects, t->error);
	if (code == 0)
		code = check_status(t);
	if (code == 0)
		code = storefile_changes(store->db, SOURCE, source->path, &changes, error);
	if (code == 0 && changes != source->changes)
		code = changed(t);
	if (code == 0)
		code = store_ours_check(fleet->ours, store->db, SOURCE, source->path, error);
	return code;
}

int store_taker_end(struct taker *t, int code)
{
	if (code == 0)
		code = check_status(t);
	if (code == 0)
		code = store_commit(t->store, t->error);
	store_finalize_all(t->store);
	if (!sqlite3_get_autocommit(t->store->db))
		sqlite3_exec(t->store->db, "ROLLBACK", NULL, NULL, NULL);
	storefile_detach(t->store->db, SOURCE);
	return code;
}

/* -------------------------------------------------------------- numbering -- */

static int add_id(const struct taker *t, enum store_numbered table, int64_t id, uint32_t unit)
{
	switch (idruns_add(&t->source->ids[table], id, unit, t->fleet->units[unit].rows[table])) {
	case IDRUNS_ADDED:
		t->fleet->units[unit].rows[table]++;
		return 0;
	case IDRUNS_NO_MEMORY:
		return storefile_fail(NULL, t->source->path, store_numbered_tables[table],
				      t->error);
	default:
		return store_taker_damage(t, store_numbered_tables[table], "out of order: number",
					  id);
	}
}

static int number_recordings(const struct taker *t)
{
	int code = 0;

	for (size_t i = 0; i < t->source->recording_count && code == 0; i++) {
		code = add_id(t, STORE_OF_RECORDING, t->source->recording_ids[i],
			      t->source->recording_units[i]);
		t->source->has_unwanted |= !t->fleet->units[t->source->recording_units[i]].wanted;
	}
	return code;
}

static int number_rows(const struct taker *t, enum store_numbered table)
{
	const char *name = store_numbered_tables[table];
	const struct store_reference *own = store_reference_by_kind(name, STORE_OWN_NUMBER);
	const struct store_reference *owner = store_reference_by_kind(name, STORE_OWNER);
	sqlite3_stmt *statement = NULL;
	size_t hint = 0;
	int result = SQLITE_ROW;
	int code =
		store_taker_prepare(t, name,
				    sqlite3_mprintf("SELECT %s, %s FROM " SOURCE ".%s NOT INDEXED "
						    "ORDER BY 1",
						    own->column, owner->column, name),
				    &statement);

	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(statement, 0);
		const struct idrun *run =
			sqlite3_column_type(statement, 1) == SQLITE_INTEGER
				? idruns_find(&t->source->ids[owner->to],
					      sqlite3_column_int64(statement, 1), &hint)
				: NULL;

		code = run != NULL ? add_id(t, table, id, run->unit)
				   : store_taker_damage(t, name, "of no recording: number", id);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = store_taker_fail(t, name);
	sqlite3_finalize(statement);
	return code;
}

/* --------------------------------------------------------------- checking -- */

static int check_segments(const struct taker *t)
{
	sqlite3_stmt *statement = NULL;
	char *segments = store_taker_from("segment"), *others = store_taker_from("other");
	int code = store_taker_prepare(
		t, "segment",
		segments != NULL && others != NULL
			? sqlite3_mprintf("SELECT count(*) FROM %s WHERE packets <> flow_packets + "
					  "coalesce((SELECT sum(other.packets) FROM %s WHERE "
					  "other.segment_id = segment.segment_id), 0)",
					  segments, others)
			: NULL,
		&statement);

	sqlite3_free(segments);
	sqlite3_free(others);
	if (code == 0 && sqlite3_step(statement) != SQLITE_ROW)
		code = store_taker_fail(t, "segment");
	if (code == 0 && sqlite3_column_int64(statement, 0) != 0)
		code = store_taker_damage(t, "segment", "packets that do not add up, segments:",
					  sqlite3_column_int64(statement, 0));
	sqlite3_finalize(statement);
	return code;
}

/* -------------------------------------------------------------- comparing -- */

static uint64_t hash_of_value(sqlite3_value *value)
{
	int64_t number;
	double real;

	switch (sqlite3_value_type(value)) {
	case SQLITE_INTEGER:
		number = sqlite3_value_int64(value);
		return hashindex_keyed(&number, sizeof(number));
	case SQLITE_FLOAT:
		real = sqlite3_value_double(value);
		return hashindex_keyed(&real, sizeof(real));
	case SQLITE_NULL:
		return 1;
	default: {
		const void *bytes = sqlite3_value_blob(value);

		return hashindex_keyed(bytes, (size_t)sqlite3_value_bytes(value));
	}
	}
}

/* Of a number, by its rank in its unit. */
static uint64_t hash_of_number(const struct taker *t, const struct store_reference *r,
			       sqlite3_value *value)
{
	int64_t id = sqlite3_value_int64(value), rank;
	size_t hint = 0;
	const struct idrun *run = sqlite3_value_type(value) == SQLITE_INTEGER
					  ? idruns_find(&t->source->ids[r->to], id, &hint)
					  : NULL;

	if (run == NULL)
		return 2;
	rank = run->rank + (id - run->first);
	return hashindex_keyed(&rank, sizeof(rank));
}

/* What is the same for each row of a table. */
struct digest {
	const struct store_reference *owner; /* tells the unit */
	struct digest_column {
		const struct store_reference *reference;
		bool is_compared;
	} * columns;
	int count;
	uint64_t begin; /* of each hash */
};

static int begin_digest(const struct taker *t, const char *table, sqlite3_stmt *rows,
			struct digest *d)
{
	d->owner = store_reference_of_unit(table);
	d->count = sqlite3_column_count(rows);
	d->begin = hashindex_keyed(table, strlen(table));
	d->columns = calloc((size_t)d->count, sizeof(*d->columns));
	if (d->columns == NULL)
		return storefile_fail(NULL, t->source->path, table, t->error);
	for (int i = 0; i < d->count; i++) {
		const char *column = sqlite3_column_name(rows, i);

		d->columns[i].reference = store_reference_of(table, column);
		d->columns[i].is_compared = store_column_is_compared(table, column);
	}
	return 0;
}

/* Adds to the digest of the row's unit, if that is compared. */
static void digest_row(const struct taker *t, const struct digest *d, sqlite3_stmt *row)
{
	struct store_unit *unit = NULL;
	uint64_t hash = d->begin;

	for (int i = 0; i < d->count; i++) {
		const struct store_reference *r = d->columns[i].reference;
		sqlite3_value *value = sqlite3_column_value(row, i);
		size_t hint = 0;

		if (r == d->owner) {
			const struct idrun *run = idruns_find(&t->source->ids[r->to],
							      sqlite3_value_int64(value), &hint);

			if (run == NULL || !t->fleet->units[run->unit].compared)
				return;
			unit = &t->fleet->units[run->unit];
		}
		if (d->columns[i].is_compared)
			hash = hashindex_mix(hash ^ (r != NULL ? hash_of_number(t, r, value)
							       : hash_of_value(value)));
	}
	if (unit != NULL)
		unit->digest += hash;
}

static int digest_table(const struct taker *t, const char *table)
{
	sqlite3_stmt *statement = NULL;
	struct digest digest = {0};
	int result = SQLITE_ROW;
	char *from = store_taker_from(table);
	int code = store_taker_prepare(
		t, table, from != NULL ? sqlite3_mprintf("SELECT * FROM %s", from) : NULL,
		&statement);

	sqlite3_free(from);
	if (code == 0)
		code = begin_digest(t, table, statement, &digest);
	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW)
		digest_row(t, &digest, statement);
	if (code == 0 && result != SQLITE_DONE)
		code = store_taker_fail(t, table);
	sqlite3_finalize(statement);
	free(digest.columns);
	return code;
}

static bool has_compared(const struct taker *t)
{
	for (size_t i = 0; i < t->source->recording_count; i++)
		if (t->fleet->units[t->source->recording_units[i]].compared)
			return true;
	return false;
}

int store_fleet_number(struct store *store, struct store_fleet *fleet,
		       struct store_fleet_source *source, struct error *error)
{
	struct taker t;
	int code;

	code = store_taker_begin(&t, store, fleet, source, error);
	if (code == 0)
		code = number_recordings(&t);
	for (int i = STORE_OF_RECORDING + 1; i < STORE_NUMBERED && code == 0; i++)
		code = number_rows(&t, (enum store_numbered)i);
	if (code == 0)
		code = check_segments(&t);
	if (code != 0 || !has_compared(&t))
		return store_taker_end(&t, code);
	for (const struct store_reference *r = store_references; r->table != NULL && code == 0; r++)
		if (store_reference_is_first(r))
			code = digest_table(&t, r->table);
	return store_taker_end(&t, code);
}
