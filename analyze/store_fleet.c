#include "analyze/store_fleet.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/hashindex.h"
#include "analyze/store_rows.h"
#include "analyze/storefile.h"

#define SOURCE "source" /* under which a source is attached */

/* So that no query overflows that adds up two columns. */
#define MOST_COUNTED (INT64_MAX / 2)

/* Packets that are counted twice, one table after the other: what has not the same of
 * both lost rows. */
static const struct {
	const char *table, *packets;
} balances[] = {
	{"segment", "flow_packets"},
	{"flow", "orig_packets + resp_packets + repeat_packets"},
	{"connection", "sent_packets + received_packets"},
	{"traffic", "sent_packets + received_packets"},
};
#define BALANCES (sizeof(balances) / sizeof(*balances))

/* The source in hand. */
struct taker {
	struct store *store;
	struct store_fleet *fleet;
	struct store_fleet_source *source;
	struct error *error;
	struct taker_ids {
		struct taker *taker;
		enum store_numbered to;
		size_t hint;
	} ids[STORE_NUMBERED];
	int64_t *balance; /* of the table in hand; NULL: it has none */
	int64_t balances[BALANCES];
};

void store_fleet_source_release(struct store_fleet_source *source)
{
	for (int i = 0; i < STORE_NUMBERED; i++)
		idruns_release(&source->ids[i]);
}

/* What goes wrong is the source's fault unless it is the system's, or the target's disk. */
static int fail(const struct taker *t, const char *table)
{
	sqlite3 *db = t->store->db;
	int kind = sqlite3_errcode(db) & 0xff;
	bool is_target = kind == SQLITE_FULL || (kind == SQLITE_IOERR &&
						 sqlite3_extended_errcode(db) != SQLITE_IOERR_READ);

	if (kind == SQLITE_NOMEM || kind == SQLITE_INTERRUPT || kind == SQLITE_BUSY || is_target ||
	    kind == SQLITE_IOERR)
		return storefile_fail(db, is_target ? t->store->path : t->source->path, table,
				      t->error);
	return error_damage(t->error, t->source->path, -1, "rows that can be merged",
			    "in table %s: %s", table, sqlite3_errmsg(db));
}

static int damage(const struct taker *t, const char *table, const char *what, int64_t number)
{
	return error_damage(t->error, t->source->path, -1, "rows that can be merged",
			    "in table %s: %s %" PRId64, table, what, number);
}

/* Frees sql; NULL is out of memory. */
static int prepare(const struct taker *t, const char *table, char *sql, sqlite3_stmt **out)
{
	int code = 0;

	if (sql == NULL)
		return storefile_fail(NULL, t->store->path, table, t->error);
	if (sqlite3_prepare_v2(t->store->db, sql, -1, out, NULL) != SQLITE_OK)
		code = fail(t, table);
	sqlite3_free(sql);
	return code;
}

/* By the column's name: what it counts is what may be added up. An offset is a place. */
static bool is_count(const char *column, const char *type)
{
	return strcmp(type, "INTEGER") == 0 && strncmp(column, "offset", 6) != 0 &&
	       (strstr(column, "packets") != NULL || strstr(column, "bytes") != NULL);
}

/* Calls each for the table's columns, as this version has them. */
static int each_column(const struct taker *t, const char *table,
		       void (*each)(const char *table, const char *column, const char *type,
				    void *context),
		       void *context)
{
	sqlite3_stmt *statement = NULL;
	int result = SQLITE_ROW;
	int code = prepare(t, table,
			   /* The statement, not the table of that name: a source may have one. */
			   sqlite3_mprintf("PRAGMA main.table_info(%Q)", table), &statement);

	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW)
		each(table, (const char *)sqlite3_column_text(statement, 1),
		     (const char *)sqlite3_column_text(statement, 2), context);
	if (code == 0 && result != SQLITE_DONE)
		code = fail(t, table);
	sqlite3_finalize(statement);
	return code;
}

/* ------------------------------------------------------- SQL's functions -- */

static void result_error(sqlite3_context *context, const char *what, const char *table,
			 sqlite3_value *value)
{
	const char *text = (const char *)sqlite3_value_text(value);
	char *message = sqlite3_mprintf("%s %s %.80s", what, table, text != NULL ? text : "NULL");

	sqlite3_result_error(context, message != NULL ? message : "out of memory", -1);
	sqlite3_free(message);
}

static const struct idrun *run_of(sqlite3_context *context, sqlite3_value *value)
{
	struct taker_ids *ids = sqlite3_user_data(context);
	const struct idrun *run = sqlite3_value_type(value) == SQLITE_INTEGER
					  ? idruns_find(&ids->taker->source->ids[ids->to],
							sqlite3_value_int64(value), &ids->hint)
					  : NULL;

	if (run == NULL)
		result_error(context, "it points to no", store_numbered_tables[ids->to], value);
	return run;
}

/* counts: an OR of all counts of a row, which is negative if any is, and never less than
 * any. false: an error was set. */
static bool add_counts(sqlite3_context *context, struct taker *taker, sqlite3_value *counts,
		       sqlite3_value *packets)
{
	int64_t counted = sqlite3_value_int64(counts);

	if (counted < 0 || counted > MOST_COUNTED - taker->fleet->counted) {
		result_error(context, "too large or negative a", "count", counts);
		return false;
	}
	taker->fleet->counted += counted;
	/* Neither is more than three times what was counted. */
	if (taker->balance != NULL)
		*taker->balance = (int64_t)((uint64_t)*taker->balance +
					    (uint64_t)sqlite3_value_int64(packets));
	return true;
}

/* new_TABLE(number[, counts, packets]): the row's new number. */
static void new_number(sqlite3_context *context, int count, sqlite3_value **values)
{
	const struct taker_ids *ids = sqlite3_user_data(context);
	const struct idrun *run;
	const struct store_unit *unit;

	if (count > 1 && !add_counts(context, ids->taker, values[1], values[2]))
		return;
	if (sqlite3_value_type(values[0]) == SQLITE_NULL)
		return;
	run = run_of(context, values[0]);
	if (run == NULL)
		return;
	unit = &ids->taker->fleet->units[run->unit];
	if (!unit->wanted)
		result_error(context, "it points into other evidence, to",
			     store_numbered_tables[ids->to], values[0]);
	else
		sqlite3_result_int64(context,
				     unit->before[ids->to] + run->rank + 1 +
					     (sqlite3_value_int64(values[0]) - run->first));
}

/* has_TABLE(number): whether the unit of that row is taken. */
static void has_number(sqlite3_context *context, int count, sqlite3_value **values)
{
	const struct taker_ids *ids = sqlite3_user_data(context);
	const struct idrun *run = run_of(context, values[0]);

	(void)count;
	if (run != NULL)
		sqlite3_result_int(context, ids->taker->fleet->units[run->unit].wanted);
}

/* known_rule(value), known_reason(value): a name or a code of that table, as it is. */
static void known_verdict(sqlite3_context *context, int count, sqlite3_value **values)
{
	const struct store_codes *codes = sqlite3_user_data(context);
	int type = sqlite3_value_type(values[0]);
	const char *name = type == SQLITE_TEXT ? (const char *)sqlite3_value_text(values[0]) : NULL;
	bool known = type == SQLITE_NULL;

	(void)count;
	for (size_t i = 0; i < codes->count && !known; i++)
		known = name != NULL ? strcmp(name, codes->entry[i].name) == 0
				     : type == SQLITE_INTEGER && sqlite3_value_int64(values[0]) ==
									 codes->entry[i].code;
	if (known)
		sqlite3_result_value(context, values[0]);
	else
		result_error(context, "unknown", "verdict", values[0]);
}

static int define(const struct taker *t, char *name, int arguments, void *context,
		  void (*function)(sqlite3_context *, int, sqlite3_value **))
{
	int code = 0;

	if (name == NULL)
		return storefile_fail(NULL, t->store->path, "define", t->error);
	if (sqlite3_create_function_v2(t->store->db, name, arguments,
				       SQLITE_UTF8 | SQLITE_DIRECTONLY, context, function, NULL,
				       NULL, NULL) != SQLITE_OK)
		code = storefile_fail(t->store->db, t->store->path, "define", t->error);
	sqlite3_free(name);
	return code;
}

static int define_functions(struct taker *t)
{
	int code = define(t, sqlite3_mprintf("known_rule"), 1, &t->store->rules, known_verdict);

	if (code == 0)
		code = define(t, sqlite3_mprintf("known_reason"), 1, &t->store->reasons,
			      known_verdict);
	for (int i = 0; i < STORE_NUMBERED && code == 0; i++) {
		t->ids[i] = (struct taker_ids){.taker = t, .to = (enum store_numbered)i};
		for (int arguments = 1; arguments <= 3 && code == 0; arguments += 2)
			code = define(t, sqlite3_mprintf("new_%s", store_numbered_tables[i]),
				      arguments, &t->ids[i], new_number);
		if (code == 0)
			code = define(t, sqlite3_mprintf("has_%s", store_numbered_tables[i]), 1,
				      &t->ids[i], has_number);
	}
	return code;
}

/* -------------------------------------------------------------- attaching -- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* From here on the source is as it is now. */
static int attach(struct taker *t)
{
	struct store *store = t->store;
	struct stat status;
	int64_t objects;
	int code = storefile_attach(store->db, SOURCE, t->source->path, t->error);

	if (code != 0)
		return code;
	code = store_execute(store, "BEGIN", t->error);
	if (code == 0)
		code = storefile_integer(store->db, t->source->path,
					 "SELECT count(*) FROM " SOURCE ".sqlite_schema", 0,
					 &objects, t->error);
	if (code == 0 && stat(t->source->path, &status) != 0)
		code = error_errno(t->error, t->source->path, "open");
	if (code == 0 && !is_same_file(&status, &t->source->status))
		code = error_set(t->error, ERROR_SYSTEM, t->source->path, -1,
				 "it was changed while it was being merged: try again");
	if (code == 0)
		code = define_functions(t);
	return code;
}

static int detach(struct taker *t, int code)
{
	if (code == 0)
		code = store_commit(t->store, t->error);
	store_finalize_all(t->store);
	if (!sqlite3_get_autocommit(t->store->db))
		sqlite3_exec(t->store->db, "ROLLBACK", NULL, NULL, NULL);
	storefile_detach(t->store->db, SOURCE);
	return code;
}

static void begin_taker(struct taker *t, struct store *store, struct store_fleet *fleet,
			struct store_fleet_source *source, struct error *error)
{
	*t = (struct taker){.store = store, .fleet = fleet, .source = source, .error = error};
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
		return damage(t, store_numbered_tables[table], "out of order: number", id);
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
	int code = prepare(t, name,
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
				   : damage(t, name, "of no recording: number", id);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = fail(t, name);
	sqlite3_finalize(statement);
	return code;
}

/* --------------------------------------------------------------- checking -- */

static int check_segments(const struct taker *t)
{
	sqlite3_stmt *statement = NULL;
	int code = prepare(t, "segment",
			   sqlite3_mprintf("SELECT count(*) FROM " SOURCE ".segment g NOT INDEXED "
					   "WHERE packets <> flow_packets + coalesce((SELECT "
					   "sum(o.packets) FROM " SOURCE ".other o "
					   "WHERE o.segment_id = g.segment_id), 0)"),
			   &statement);

	if (code == 0 && sqlite3_step(statement) != SQLITE_ROW)
		code = fail(t, "segment");
	if (code == 0 && sqlite3_column_int64(statement, 0) != 0)
		code = damage(t, "segment", "packets that do not add up, segments:",
			      sqlite3_column_int64(statement, 0));
	sqlite3_finalize(statement);
	return code;
}

/* Of what was taken. */
static int check_balances(const struct taker *t)
{
	for (size_t i = 0; i + 1 < BALANCES; i += 2)
		if (t->balances[i] != t->balances[i + 1])
			return damage(t, balances[i + 1].table,
				      "packets that do not add up: off by",
				      t->balances[i + 1] - t->balances[i]);
	return 0;
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
	const struct store_reference *own = store_reference_by_kind(table, STORE_OWN_NUMBER);

	d->owner = store_reference_by_kind(table, STORE_OWNER);
	if (d->owner == NULL)
		d->owner = own;
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
	int code =
		prepare(t, table, sqlite3_mprintf("SELECT * FROM " SOURCE ".%s NOT INDEXED", table),
			&statement);

	if (code == 0)
		code = begin_digest(t, table, statement, &digest);
	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW)
		digest_row(t, &digest, statement);
	if (code == 0 && result != SQLITE_DONE)
		code = fail(t, table);
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

	begin_taker(&t, store, fleet, source, error);
	code = attach(&t);
	if (code == 0)
		code = number_recordings(&t);
	for (int i = STORE_OF_RECORDING + 1; i < STORE_NUMBERED && code == 0; i++)
		code = number_rows(&t, (enum store_numbered)i);
	if (code == 0)
		code = check_segments(&t);
	if (code != 0 || !has_compared(&t))
		return detach(&t, code);
	for (const struct store_reference *r = store_references; r->table != NULL && code == 0; r++)
		if (store_reference_is_first(r))
			code = digest_table(&t, r->table);
	return detach(&t, code);
}

/* ----------------------------------------------------------------- taking -- */

struct lists {
	sqlite3_str *columns, *values, *counts;
	const char *packets;
	bool has_counted; /* a value has the counts as an argument */
};

static const char *verdicts_of(const char *table, const char *column)
{
	for (const struct store_verdict_column *v = store_verdict_columns; v->table != NULL; v++)
		if (strcmp(v->table, table) == 0 && strcmp(v->column, column) == 0)
			return v->verdicts;
	return NULL;
}

static void add_count(const char *table, const char *column, const char *type, void *context)
{
	(void)table;
	if (is_count(column, type))
		sqlite3_str_appendf(context, " | coalesce(\"%w\", 0)", column);
}

static void add_to_lists(const char *table, const char *column, const char *type, void *context)
{
	struct lists *lists = context;
	const char *comma = sqlite3_str_length(lists->columns) > 0 ? ", " : "";
	const struct store_reference *r = store_reference_of(table, column);
	const char *verdicts = verdicts_of(table, column);

	(void)type;
	sqlite3_str_appendf(lists->columns, "%s\"%w\"", comma, column);
	if (r != NULL && !lists->has_counted && sqlite3_str_length(lists->counts) > 0)
		sqlite3_str_appendf(lists->values, "%snew_%s(\"%w\", 0%s, %s)", comma,
				    store_numbered_tables[r->to], column,
				    sqlite3_str_value(lists->counts), lists->packets);
	else if (r != NULL)
		sqlite3_str_appendf(lists->values, "%snew_%s(\"%w\")", comma,
				    store_numbered_tables[r->to], column);
	else if (verdicts != NULL)
		sqlite3_str_appendf(lists->values, "%sknown_%s(\"%w\")", comma, verdicts, column);
	else
		sqlite3_str_appendf(lists->values, "%s\"%w\"", comma, column);
	lists->has_counted |= r != NULL;
}

/* INSERT INTO main.TABLE ... SELECT ...; NULL: no memory, or error is set. */
static char *taking_sql(struct taker *t, const char *table, int *code)
{
	struct lists lists = {sqlite3_str_new(NULL), sqlite3_str_new(NULL), sqlite3_str_new(NULL),
			      "0", false};
	const struct store_reference *owner = store_reference_by_kind(table, STORE_OWNER);
	char *where, *sql = NULL;

	if (owner == NULL)
		owner = store_reference_by_kind(table, STORE_OWN_NUMBER);
	t->balance = NULL;
	for (size_t i = 0; i < BALANCES; i++) {
		if (strcmp(balances[i].table, table) == 0) {
			t->balance = &t->balances[i];
			lists.packets = balances[i].packets;
		}
	}
	*code = each_column(t, table, add_count, lists.counts);
	if (*code == 0)
		*code = each_column(t, table, add_to_lists, &lists);
	where = t->source->has_unwanted
			? sqlite3_mprintf("WHERE has_%s(%s)", store_numbered_tables[owner->to],
					  owner->column)
			: sqlite3_mprintf("");
	if (*code == 0 && where != NULL && sqlite3_str_errcode(lists.columns) == SQLITE_OK &&
	    sqlite3_str_errcode(lists.values) == SQLITE_OK)
		sql = sqlite3_mprintf("INSERT INTO main.%s (%s) SELECT %s FROM " SOURCE
				      ".%s NOT INDEXED %s",
				      table, sqlite3_str_value(lists.columns),
				      sqlite3_str_value(lists.values), table, where);
	sqlite3_free(sqlite3_str_finish(lists.columns));
	sqlite3_free(sqlite3_str_finish(lists.values));
	sqlite3_free(sqlite3_str_finish(lists.counts));
	sqlite3_free(where);
	return sql;
}

static int take_table(struct taker *t, const char *table)
{
	sqlite3_stmt *statement = NULL;
	int code;
	char *sql = taking_sql(t, table, &code);

	if (code == 0)
		code = prepare(t, table, sql, &statement);
	if (code == 0 && sqlite3_step(statement) != SQLITE_DONE)
		code = fail(t, table);
	if (code == 0)
		t->fleet->rows_taken += sqlite3_changes64(t->store->db);
	sqlite3_finalize(statement);
	return code;
}

/* What each recording was analyzed together with, for the next merge. */
static int put_parts(const struct taker *t)
{
	const struct idruns *ids = &t->source->ids[STORE_OF_RECORDING];
	sqlite3_stmt *statement = NULL;
	size_t hint = 0;
	int code = prepare(t, "carry",
			   sqlite3_mprintf("INSERT INTO main.carry (seq, kind, state) VALUES "
					   "(?1, %d, CAST(CAST(?2 AS TEXT) AS BLOB))",
					   STORE_CARRY_PART),
			   &statement);

	for (size_t i = 0; i < t->source->recording_count && code == 0; i++) {
		const struct store_unit *unit = &t->fleet->units[t->source->recording_units[i]];
		int64_t id = t->source->recording_ids[i];
		const struct idrun *run = idruns_find(ids, id, &hint);

		assert(run);
		if (!unit->wanted)
			continue;
		sqlite3_bind_int64(statement, 1,
				   unit->before[STORE_OF_RECORDING] + run->rank + 1 +
					   (id - run->first));
		sqlite3_bind_int64(statement, 2, unit->position);
		if (sqlite3_step(statement) != SQLITE_DONE)
			code = fail(t, "carry");
		sqlite3_reset(statement);
	}
	sqlite3_finalize(statement);
	return code;
}

int store_fleet_take(struct store *store, struct store_fleet *fleet,
		     struct store_fleet_source *source, store_fleet_progress *progress,
		     void *context, struct error *error)
{
	struct taker t;
	int code;

	begin_taker(&t, store, fleet, source, error);
	code = attach(&t);
	for (const struct store_reference *r = store_references; r->table != NULL && code == 0;
	     r++) {
		if (!store_reference_is_first(r))
			continue;
		code = take_table(&t, r->table);
		if (progress != NULL)
			progress(fleet, context);
	}
	if (code == 0)
		code = check_balances(&t);
	if (code == 0)
		code = put_parts(&t);
	return detach(&t, code);
}
