/* Rows of a source into the merged database. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/store_fleet_taker.h"
#include "analyze/storefile.h"
#include "snapshot/format/quantity.h"

/* What one table counts another one counts too, or has in parts: what has not the same of both
 * lost rows, or some of theirs were changed. Bytes are of layer 3 in all of these; those of a
 * segment are not. */
static const struct {
	const char *what, *tables[2];
	uint64_t most; /* times that the other table may count it */
} balances[] = {
	[STORE_BALANCE_FLOW_PACKETS] = {"packets", {"segment", "flow"}, 1},
	/* Of a tunnel, or a tunnel in one: whose inside has a row. */
	[STORE_BALANCE_CARRIED_PACKETS] = {"packets carried", {"flow", "tunnel"}, 1},
	/* A packet counts at each local end, and where none is local at one of them. */
	[STORE_BALANCE_END_PACKETS] = {"packets", {"flow", "connection"}, 2},
	[STORE_BALANCE_END_BYTES] = {"bytes", {"flow", "connection"}, 2},
	[STORE_BALANCE_END_PAYLOAD] = {"bytes of payload", {"flow", "connection"}, 2},
	[STORE_BALANCE_SENT_PACKETS] = {"packets sent", {"connection", "traffic"}, 1},
	[STORE_BALANCE_SENT_BYTES] = {"bytes sent", {"connection", "traffic"}, 1},
	[STORE_BALANCE_RECEIVED_PACKETS] = {"packets received", {"connection", "traffic"}, 1},
	[STORE_BALANCE_RECEIVED_BYTES] = {"bytes received", {"connection", "traffic"}, 1},
};
_Static_assert(sizeof(balances) / sizeof(*balances) == STORE_BALANCES, "all of them");

static const struct {
	const char *table, *column;
	enum store_balance to;
	int side; /* of the two tables */
} balanced[] = {
	{"segment", "flow_packets", STORE_BALANCE_FLOW_PACKETS, 0},
	{"flow", "orig_packets", STORE_BALANCE_FLOW_PACKETS, 1},
	{"flow", "resp_packets", STORE_BALANCE_FLOW_PACKETS, 1},
	{"flow", "repeat_packets", STORE_BALANCE_FLOW_PACKETS, 1},
	{"flow", "carried_packets", STORE_BALANCE_CARRIED_PACKETS, 0},
	{"tunnel", "carried_packets", STORE_BALANCE_CARRIED_PACKETS, 0},
	{"tunnel", "orig_packets", STORE_BALANCE_CARRIED_PACKETS, 1},
	{"tunnel", "resp_packets", STORE_BALANCE_CARRIED_PACKETS, 1},
	{"flow", "orig_packets", STORE_BALANCE_END_PACKETS, 0},
	{"flow", "resp_packets", STORE_BALANCE_END_PACKETS, 0},
	{"connection", "sent_packets", STORE_BALANCE_END_PACKETS, 1},
	{"connection", "received_packets", STORE_BALANCE_END_PACKETS, 1},
	{"flow", "orig_bytes", STORE_BALANCE_END_BYTES, 0},
	{"flow", "resp_bytes", STORE_BALANCE_END_BYTES, 0},
	{"connection", "sent_bytes", STORE_BALANCE_END_BYTES, 1},
	{"connection", "received_bytes", STORE_BALANCE_END_BYTES, 1},
	{"flow", "orig_payload_bytes", STORE_BALANCE_END_PAYLOAD, 0},
	{"flow", "resp_payload_bytes", STORE_BALANCE_END_PAYLOAD, 0},
	{"connection", "sent_payload_bytes", STORE_BALANCE_END_PAYLOAD, 1},
	{"connection", "received_payload_bytes", STORE_BALANCE_END_PAYLOAD, 1},
	{"connection", "sent_packets", STORE_BALANCE_SENT_PACKETS, 0},
	{"traffic", "sent_packets", STORE_BALANCE_SENT_PACKETS, 1},
	{"connection", "sent_bytes", STORE_BALANCE_SENT_BYTES, 0},
	{"traffic", "sent_bytes", STORE_BALANCE_SENT_BYTES, 1},
	{"connection", "received_packets", STORE_BALANCE_RECEIVED_PACKETS, 0},
	{"traffic", "received_packets", STORE_BALANCE_RECEIVED_PACKETS, 1},
	{"connection", "received_bytes", STORE_BALANCE_RECEIVED_BYTES, 0},
	{"traffic", "received_bytes", STORE_BALANCE_RECEIVED_BYTES, 1},
};

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

static int64_t new_id(const struct taker_ids *ids, const struct idrun *run, sqlite3_value *value)
{
	return ids->taker->fleet->units[run->unit].before[ids->to] + run->rank + 1 +
	       (sqlite3_value_int64(value) - run->first);
}

/* Takes the counts of a row in hand. Each is a number or absent: what only looks like a number
 * would become one as it is written. false: an error was set. */
static bool take_counts(sqlite3_context *context, struct taker *taker, int count,
			sqlite3_value **counts)
{
	int64_t all = 0;

	assert(count <= STORE_COUNTS);
	for (int i = 0; i < count; i++) {
		int type = sqlite3_value_type(counts[i]);
		int64_t value = sqlite3_value_int64(counts[i]);

		if (type != SQLITE_INTEGER && type != SQLITE_NULL) {
			result_error(context, "no number but a text", "where a count belongs,",
				     counts[i]);
			return false;
		}
		if (value < 0 || value > STORE_MAX_COUNT) {
			result_error(context, "too large or negative a", "count", counts[i]);
			return false;
		}
		taker->counts[i] = value;
		if (taker->summed >> i & 1)
			all |= value; /* never less than any */
	}
	if (count > 0 && all > STORE_MAX_COUNT - taker->fleet->counted) {
		result_error(context, "too large a", "sum of counts with", counts[0]);
		return false;
	}
	taker->fleet->counted += all;
	return true;
}

/* Adds them to what the row's unit has. No sum is more than three times what was counted. */
static void add_counts(struct taker *taker)
{
	struct store_unit *unit = &taker->fleet->units[taker->unit];

	for (int i = 0; i < taker->addend_count; i++) {
		const struct taker_addend *addend = &taker->addends[i];

		unit->balances[addend->to][addend->side] += (uint64_t)taker->counts[addend->count];
	}
}

/* What becomes of a number; 0: an error was set. It is the row's own, or that of the row that
 * it belongs to: what else the row points to must be of the same unit, to which its counts
 * are added. */
static int64_t number_of_row(sqlite3_context *context, sqlite3_value *value)
{
	const struct taker_ids *ids = sqlite3_user_data(context);
	const struct idrun *run = run_of(context, value);

	if (run == NULL)
		return 0;
	ids->taker->unit = run->unit;
	add_counts(ids->taker);
	return new_id(ids, run, value);
}

/* row_TABLE(number, count...): the row's new number. */
static void row_number(sqlite3_context *context, int count, sqlite3_value **values)
{
	const struct taker_ids *ids = sqlite3_user_data(context);
	int64_t number;

	if (!take_counts(context, ids->taker, count - 1, values + 1))
		return;
	number = number_of_row(context, values[0]);
	if (number > 0)
		sqlite3_result_int64(context, number);
}

/* new_TABLE(number): that of a row that is pointed to. */
static void new_number(sqlite3_context *context, int count, sqlite3_value **values)
{
	const struct taker_ids *ids = sqlite3_user_data(context);
	const struct idrun *run;

	(void)count;
	if (sqlite3_value_type(values[0]) == SQLITE_NULL)
		return;
	run = run_of(context, values[0]);
	if (run == NULL)
		return;
	if (run->unit == ids->taker->unit)
		sqlite3_result_int64(context, new_id(ids, run, values[0]));
	else
		result_error(context, "it points into other evidence, to",
			     store_numbered_tables[ids->to], values[0]);
}

#define TRAFFIC_COLUMNS 6

/* sum_traffic(connection_id, bucket, and the four that are counted): the connection's new
 * number. The sums by process are made of what passes here, and never taken. */
static void sum_traffic(sqlite3_context *context, int count, sqlite3_value **values)
{
	struct taker *t = ((struct taker_ids *)sqlite3_user_data(context))->taker;
	/* So that no time of a bucket overflows, nor the period that a bucket is in. */
	int64_t most = QUANTITY_MAX_TIME_NS / t->store->bucket_ns;
	struct store_traffic row = {.bucket = sqlite3_value_int64(values[1])};

	if (!take_counts(context, t, count - 2, values + 2))
		return;
	row.sent_packets = t->counts[0];
	row.sent_bytes = t->counts[1];
	row.received_packets = t->counts[2];
	row.received_bytes = t->counts[3];
	if (sqlite3_value_type(values[1]) != SQLITE_INTEGER || row.bucket > most ||
	    row.bucket < -most) {
		result_error(context, "no time that can be told:", "bucket", values[1]);
		return;
	}
	row.connection_id = number_of_row(context, values[0]);
	if (row.connection_id == 0)
		return;
	t->failed = store_sums_add(t->store, &row, t->error);
	if (t->failed != 0)
		sqlite3_result_error(context, "sums", -1);
	else
		sqlite3_result_int64(context, row.connection_id);
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

/* told_time(value): a time, or its distance from another, as it is. */
static void told_time(sqlite3_context *context, int count, sqlite3_value **values)
{
	int type = sqlite3_value_type(values[0]);
	int64_t value = sqlite3_value_int64(values[0]);

	(void)count;
	if (type == SQLITE_NULL || (type == SQLITE_INTEGER && value <= QUANTITY_MAX_TIME_NS &&
				    value >= -QUANTITY_MAX_TIME_NS))
		sqlite3_result_value(context, values[0]);
	else
		result_error(context, "no time that can be told:", "ns", values[0]);
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
	if (code == 0)
		code = define(t, sqlite3_mprintf("told_time"), 1, t, told_time);
	if (code == 0)
		code = define(t, sqlite3_mprintf("sum_traffic"), TRAFFIC_COLUMNS,
			      &t->ids[STORE_OF_CONNECTION], sum_traffic);
	for (int i = 0; i < STORE_NUMBERED && code == 0; i++) {
		t->ids[i] = (struct taker_ids){.taker = t, .to = (enum store_numbered)i};
		code = define(t, sqlite3_mprintf("row_%s", store_numbered_tables[i]), -1,
			      &t->ids[i], row_number);
		if (code == 0)
			code = define(t, sqlite3_mprintf("new_%s", store_numbered_tables[i]), 1,
				      &t->ids[i], new_number);
		if (code == 0)
			code = define(t, sqlite3_mprintf("has_%s", store_numbered_tables[i]), 1,
				      &t->ids[i], has_number);
	}
	return code;
}

/* By the column's name: what it counts is what may be added up. An offset is a place. */
static bool is_count(const char *column, const char *type)
{
	static const char *const counts[] = {"packets", "bytes", "dropped", "count"};
	bool found = false;

	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		found = found || strstr(column, counts[i]) != NULL;
	return found && strcmp(type, "INTEGER") == 0 && strncmp(column, "offset", 6) != 0;
}

/* What others counted, and whole files: it is evidence as it was found, of which each can say what
 * it likes, and nobody adds it up but with care. */
static bool is_summed(const char *table, const char *column)
{
	return strcmp(table, "socket") != 0 && strcmp(table, "coverage") != 0 &&
	       (strcmp(table, "segment") != 0 || strcmp(column, "packets") == 0 ||
		strcmp(column, "flow_packets") == 0);
}

/* By the column's name, too. How often a recorder meant to read is added to nothing. */
static bool is_time(const char *column, const char *type)
{
	size_t length = strlen(column);

	return strcmp(type, "INTEGER") == 0 && strcmp(column, "interval_ns") != 0 &&
	       (strncmp(column, "time_", 5) == 0 ||
		(length > 3 && strcmp(column + length - 3, "_ns") == 0));
}

/* Calls each for the table's columns, as this version has them. */
static int each_column(const struct taker *t, const char *table,
		       void (*each)(const char *table, const char *column, const char *type,
				    void *context),
		       void *context)
{
	sqlite3_stmt *statement = NULL;
	int result = SQLITE_ROW;
	int code = store_taker_prepare(
		t, table,
		/* The statement, not the table of that name: a source may have one. */
		sqlite3_mprintf("PRAGMA main.table_info(%Q)", table), &statement);

	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW)
		each(table, (const char *)sqlite3_column_text(statement, 1),
		     (const char *)sqlite3_column_text(statement, 2), context);
	if (code == 0 && result != SQLITE_DONE)
		code = store_taker_fail(t, table);
	sqlite3_finalize(statement);
	return code;
}

/* ----------------------------------------------------------------- tables -- */

struct lists {
	struct taker *taker;
	sqlite3_str *columns, *values, *counts;
	int count_count;
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
	struct lists *lists = context;
	struct taker *t = lists->taker;

	if (!is_count(column, type))
		return;
	sqlite3_str_appendf(lists->counts, ", \"%w\"", column);
	for (size_t i = 0; i < sizeof(balanced) / sizeof(*balanced); i++) {
		if (strcmp(balanced[i].table, table) != 0 ||
		    strcmp(balanced[i].column, column) != 0)
			continue;
		assert(t->addend_count < STORE_ADDENDS);
		t->addends[t->addend_count++] =
			(struct taker_addend){lists->count_count, balanced[i].to, balanced[i].side};
	}
	t->summed |= (uint32_t)is_summed(table, column) << lists->count_count;
	lists->count_count++;
}

static void add_to_lists(const char *table, const char *column, const char *type, void *context)
{
	struct lists *lists = context;
	const char *comma = sqlite3_str_length(lists->columns) > 0 ? ", " : "";
	const struct store_reference *r = store_reference_of(table, column);
	const char *verdicts = verdicts_of(table, column);

	sqlite3_str_appendf(lists->columns, "%s\"%w\"", comma, column);
	if (r == store_reference_of_unit(table) && strcmp(table, "traffic") == 0)
		sqlite3_str_appendf(lists->values, "%ssum_traffic(\"%w\", bucket%s)", comma, column,
				    sqlite3_str_value(lists->counts));
	else if (r == store_reference_of_unit(table))
		sqlite3_str_appendf(lists->values, "%srow_%s(\"%w\"%s)", comma,
				    store_numbered_tables[r->to], column,
				    sqlite3_str_value(lists->counts));
	else if (r != NULL)
		sqlite3_str_appendf(lists->values, "%snew_%s(\"%w\")", comma,
				    store_numbered_tables[r->to], column);
	else if (verdicts != NULL)
		sqlite3_str_appendf(lists->values, "%sknown_%s(\"%w\")", comma, verdicts, column);
	else if (is_time(column, type))
		sqlite3_str_appendf(lists->values, "%stold_time(\"%w\")", comma, column);
	else
		sqlite3_str_appendf(lists->values, "%s\"%w\"", comma, column);
}

/* INSERT INTO main.TABLE ... SELECT ...; NULL: no memory, or error is set. */
static char *taking_sql(struct taker *t, const char *table, int *code)
{
	struct lists lists = {t, sqlite3_str_new(NULL), sqlite3_str_new(NULL),
			      sqlite3_str_new(NULL), 0};
	const struct store_reference *unit = store_reference_of_unit(table);
	char *from = store_taker_from(table), *where, *sql = NULL;

	t->addend_count = 0;
	t->summed = 0;
	*code = each_column(t, table, add_count, &lists);
	if (*code == 0)
		*code = each_column(t, table, add_to_lists, &lists);
	where = t->source->has_unwanted
			? sqlite3_mprintf("WHERE has_%s(%s)", store_numbered_tables[unit->to],
					  unit->column)
			: sqlite3_mprintf("");
	if (*code == 0 && from != NULL && where != NULL &&
	    sqlite3_str_errcode(lists.columns) == SQLITE_OK &&
	    sqlite3_str_errcode(lists.values) == SQLITE_OK &&
	    sqlite3_str_errcode(lists.counts) == SQLITE_OK)
		sql = sqlite3_mprintf("INSERT INTO main.%s (%s) SELECT %s FROM %s %s", table,
				      sqlite3_str_value(lists.columns),
				      sqlite3_str_value(lists.values), from, where);
	sqlite3_free(sqlite3_str_finish(lists.columns));
	sqlite3_free(sqlite3_str_finish(lists.values));
	sqlite3_free(sqlite3_str_finish(lists.counts));
	sqlite3_free(from);
	sqlite3_free(where);
	return sql;
}

static int take_table(struct taker *t, const char *table)
{
	sqlite3_stmt *statement = NULL;
	int code;
	char *sql = taking_sql(t, table, &code);

	if (code == 0)
		code = store_taker_prepare(t, table, sql, &statement);
	if (code == 0 && sqlite3_step(statement) != SQLITE_DONE)
		code = store_taker_fail(t, table);
	if (code == 0)
		t->fleet->rows_taken += sqlite3_changes64(t->store->db);
	sqlite3_finalize(statement);
	return code;
}

/* What each recording was analyzed together with, for the next merge. */
static int put_units(const struct taker *t)
{
	const struct idruns *ids = &t->source->ids[STORE_OF_RECORDING];
	sqlite3_stmt *statement = NULL;
	size_t hint = 0;
	int code = store_taker_prepare(
		t, "carry",
		sqlite3_mprintf("INSERT INTO main.carry (seq, kind, state) VALUES "
				"(?1, %d, CAST(CAST(?2 AS TEXT) AS BLOB))",
				STORE_CARRY_UNIT),
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
			code = store_taker_fail(t, "carry");
		sqlite3_reset(statement);
	}
	sqlite3_finalize(statement);
	return code;
}

static int check_unit(const struct taker *t, const struct store_unit *unit)
{
	for (int i = 0; i < STORE_BALANCES; i++) {
		uint64_t one = unit->balances[i][0], other = unit->balances[i][1];

		if (other < one || other - one > one * (balances[i].most - 1))
			return error_damage(
				t->error, t->source->path, -1, "rows that can be merged",
				"of what %.60s recorded (boot %.60s), counts that do not add up: "
				"%" PRIu64 " %s in table %s, %" PRIu64 " in table %s",
				unit->host[0] != '\0' ? unit->host : "a host", unit->boot, one,
				balances[i].what, balances[i].tables[0], other,
				balances[i].tables[1]);
	}
	return 0;
}

/* Each unit by itself: what one lacks another one may have too much. */
static int check_balances(const struct taker *t)
{
	int code = 0;

	for (size_t i = 0; i < t->source->recording_count && code == 0; i++) {
		const struct store_unit *unit = &t->fleet->units[t->source->recording_units[i]];

		if (unit->wanted)
			code = check_unit(t, unit);
	}
	return code;
}

int store_fleet_take(struct store *store, struct store_fleet *fleet,
		     struct store_fleet_source *source, store_fleet_progress *progress,
		     void *context, struct error *error)
{
	struct taker t;
	int code;

	code = store_taker_begin(&t, store, fleet, source, error);
	if (code == 0)
		code = define_functions(&t);
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
		code = put_units(&t);
	return store_taker_end(&t, code);
}
