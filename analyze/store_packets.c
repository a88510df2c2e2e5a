/*
 * Table packet_row: eight packets a row, so that what SQLite spends on a row is
 * spent once for eight; and packet_stretch, which finds a connection's. In the
 * order of the packets, so that rows are only ever appended.
 */
#include "analyze/store_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/storefile.h"

/* size_N of packet_row: bytes << SIZE_SHIFT | verdict << 1 | direction. */
#define SIZE_SHIFT   6
#define VERDICT_BITS 5
#define NO_OWNER     16 /* a verdict from here on is a reason_code */
#define VERDICT_MASK (((INT64_C(1) << VERDICT_BITS) - 1) << 1)
/* Rows of packet_row in a stretch of packet_stretch. */
#define STRETCH_SHIFT 4
/* Rows of packet_stretch that one statement writes. */
#define STRETCHES_AT_ONCE 32

_Static_assert(STORE_ROW_PACKETS == 8, "the columns of packet_row");

/* ------------------------------------------------------------- stretches -- */

static int compare_stretches(const void *left, const void *right)
{
	const struct store_stretch *a = left, *b = right;

	if (a->connection_id != b->connection_id)
		return a->connection_id < b->connection_id ? -1 : 1;
	return (a->stretch > b->stretch) - (a->stretch < b->stretch);
}

static void bind_stretch(sqlite3_stmt *statement, int row, int64_t segment_id,
			 const struct store_stretch *s)
{
	sqlite3_bind_int64(statement, 3 * row + 1, s->connection_id);
	sqlite3_bind_int64(statement, 3 * row + 2, segment_id);
	sqlite3_bind_int64(statement, 3 * row + 3, s->stretch);
}

/* The statement that puts so many rows. */
static int prepare_stretches(struct store *store, enum store_statement which, int rows,
			     struct error *error)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	char *text;
	int code;

	sqlite3_str_appendall(sql, "INSERT INTO packet_stretch (connection_id, segment_id, "
				   "stretch) VALUES ");
	for (int row = 0; row < rows; row++)
		sqlite3_str_appendf(sql, "%s(?, ?, ?)", row > 0 ? ", " : "");
	sqlite3_str_appendall(sql, " ON CONFLICT DO NOTHING");
	text = sqlite3_str_finish(sql);
	code = store_prepare(store, (int)which, text, error);
	sqlite3_free(text);
	return code;
}

/* Several rows at a time, as what a statement costs by itself is more than a row. */
static int put_stretches(struct store *store, const struct store_stretch *stretches, size_t count,
			 struct error *error)
{
	int rows = count < STRETCHES_AT_ONCE ? 1 : STRETCHES_AT_ONCE, code = 0;
	enum store_statement which = rows == 1 ? STORE_PUT_STRETCH : STORE_PUT_STRETCHES;

	if (!store->statements[which])
		code = prepare_stretches(store, which, rows, error);
	for (size_t i = 0; i + (size_t)rows <= count && code == 0; i += (size_t)rows) {
		for (int row = 0; row < rows; row++)
			bind_stretch(store->statements[which], row, store->packets.segment_id,
				     &stretches[i + (size_t)row]);
		code = store_run(store, store->statements[which], "packet_stretch", error);
	}
	if (code != 0 || rows == 1)
		return code;
	return put_stretches(store, stretches + count - count % (size_t)rows, count % (size_t)rows,
			     error);
}

/* In the order of the table: rows that stand beside each other there cost less. */
static int flush_stretches(struct store *store, struct error *error)
{
	struct store_packets *p = &store->packets;
	size_t kept = 0;

	if (p->stretch_count == 0)
		return 0;
	qsort(p->stretches, p->stretch_count, sizeof *p->stretches, compare_stretches);
	for (size_t i = 0; i < p->stretch_count; i++) {
		if (kept == 0 || compare_stretches(&p->stretches[kept - 1], &p->stretches[i]) != 0)
			p->stretches[kept++] = p->stretches[i];
	}
	p->stretch_count = 0;
	return put_stretches(store, p->stretches, kept, error);
}

static int note_stretch(struct store *store, int64_t connection_id, int64_t stretch,
			struct error *error)
{
	struct store_packets *p = &store->packets;
	const struct store_stretch *last =
		p->stretch_count > 0 ? &p->stretches[p->stretch_count - 1] : NULL;
	int code = 0;

	if (last && last->connection_id == connection_id && last->stretch == stretch)
		return 0;
	if (!p->stretches) {
		p->stretches = calloc(STORE_STRETCHES, sizeof *p->stretches);
		if (!p->stretches)
			return storefile_fail(NULL, store->path, "packet_stretch", error);
	}
	if (p->stretch_count == STORE_STRETCHES)
		code = flush_stretches(store, error);
	p->stretches[p->stretch_count++] =
		(struct store_stretch){.connection_id = connection_id, .stretch = stretch};
	return code;
}

/* ------------------------------------------------------------------ rows -- */

static const char put_row_sql[] =
	"INSERT INTO packet_row (segment_id, place, time_ns, offset_bytes,\n"
	"connection_1, connection_2, connection_3, connection_4,\n"
	"connection_5, connection_6, connection_7, connection_8,\n"
	"size_1, size_2, size_3, size_4, size_5, size_6, size_7, size_8,\n"
	"time_1, time_2, time_3, time_4, time_5, time_6, time_7, time_8,\n"
	"offset_1, offset_2, offset_3, offset_4, offset_5, offset_6, offset_7, offset_8)\n"
	"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,\n"
	"?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34,\n"
	"?35, ?36)";
#define FIRST_SLOT_PARAMETER 5

static void bind_slot(sqlite3_stmt *statement, int slot, const struct store_packet_slot *s)
{
	const int64_t values[] = {s->connection_id, s->size, s->time, s->offset};

	for (int i = 0; i < (int)(sizeof values / sizeof *values); i++) {
		int parameter = FIRST_SLOT_PARAMETER + i * STORE_ROW_PACKETS + slot;

		if (s->connection_id == 0)
			sqlite3_bind_null(statement, parameter);
		else
			sqlite3_bind_int64(statement, parameter, values[i]);
	}
}

static int flush_row(struct store *store, struct error *error)
{
	struct store_packets *p = &store->packets;
	sqlite3_stmt **statement = &store->statements[STORE_PUT_PACKETS];
	int code = 0;

	if (!p->has_row)
		return 0;
	if (!*statement)
		code = store_prepare(store, STORE_PUT_PACKETS, put_row_sql, error);
	if (code != 0)
		return code;
	sqlite3_bind_int64(*statement, 1, p->segment_id);
	sqlite3_bind_int64(*statement, 2, p->place);
	sqlite3_bind_int64(*statement, 3, p->time_ns);
	sqlite3_bind_int64(*statement, 4, p->offset_bytes);
	for (int i = 0; i < STORE_ROW_PACKETS; i++)
		bind_slot(*statement, i, &p->slots[i]);
	code = store_run(store, *statement, "packet", error);
	for (int i = 0; i < STORE_ROW_PACKETS && code == 0; i++) {
		if (p->slots[i].connection_id != 0)
			code = note_stretch(store, p->slots[i].connection_id,
					    p->place >> STRETCH_SHIFT, error);
	}
	p->has_row = false;
	return code;
}

int store_packets_flush(struct store *store, struct error *error)
{
	int code = flush_row(store, error);

	return code == 0 ? flush_stretches(store, error) : code;
}

void store_packets_forget(struct store *store)
{
	store->packets.has_row = false;
	store->packets.stretch_count = 0;
}

void store_packets_release(struct store *store)
{
	free(store->packets.stretches);
	store->packets = (struct store_packets){0};
}

/* A code that leaves no room for others is as good as none. */
int64_t store_packet_verdict(const struct store *store, const char *rule, const char *reason)
{
	const struct store_codes *codes = rule ? &store->rules : &store->reasons;
	const char *name = rule ? rule : reason;

	for (size_t i = 0; name && i < codes->count; i++) {
		int64_t code = codes->entry[i].code;

		if (strcmp(codes->entry[i].name, name) == 0)
			return code > 0 && code < NO_OWNER ? code + (rule ? 0 : NO_OWNER) : -1;
	}
	return -1;
}

static int begin_row(struct store *store, const struct store_packet *row, int64_t place,
		     struct error *error)
{
	struct store_packets *p = &store->packets;
	int code = flush_row(store, error);

	if (code == 0 && p->segment_id != row->segment_id)
		code = flush_stretches(store, error);
	p->has_row = code == 0;
	p->segment_id = row->segment_id;
	p->place = place;
	p->time_ns = row->time_ns;
	p->offset_bytes = row->offset_bytes;
	memset(p->slots, 0, sizeof p->slots);
	return code;
}

int store_packet(struct store *store, const struct store_packet *row, struct error *error)
{
	struct store_packets *p = &store->packets;
	int64_t place = (row->number - 1) / STORE_ROW_PACKETS;
	struct store_packet_slot *slot = &p->slots[(row->number - 1) % STORE_ROW_PACKETS];
	int code = 0;

	if (row->verdict < 0)
		return error_set(error, ERROR_USAGE, store->path, -1,
				 "packet %" PRId64
				 ": its verdict is in neither table rule nor table reason",
				 row->number);
	assert(row->segment_id > 0 && row->number > 0 && row->connection_id > 0);
	if (!p->has_row || p->segment_id != row->segment_id || p->place != place)
		code = begin_row(store, row, place, error);
	if (code != 0)
		return code;
	if (slot->connection_id != 0)
		return error_set(error, ERROR_USAGE, store->path, -1,
				 "packet %" PRId64 " is there already", row->number);
	*slot = (struct store_packet_slot){
		.connection_id = row->connection_id,
		.size = row->bytes << SIZE_SHIFT | row->verdict << 1 | row->direction,
		.time = row->time_ns - p->time_ns,
		.offset = row->offset_bytes - p->offset_bytes,
	};
	return 0;
}

/* ---------------------------------------------------------- what changes -- */

/* Of the packets of one connection: those whose size has, under mask, this value. */
struct change {
	int64_t connection_id, to_id;
	int64_t mask, equals;
	int64_t verdict; /* in its place in size */
};

/* "TEXT 1, TEXT 2 …", % in the text being the number. */
static void each_slot(sqlite3_str *sql, const char *text)
{
	for (int slot = 1; slot <= STORE_ROW_PACKETS; slot++) {
		if (slot > 1)
			sqlite3_str_appendall(sql, ", ");
		for (const char *at = text; *at; at++) {
			if (*at == '%')
				sqlite3_str_appendf(sql, "%d", slot);
			else
				sqlite3_str_appendchar(sql, 1, *at);
		}
	}
}

/* ?1 connection_id, ?2 to_id, ?3 mask, ?4 equals, ?5 all but the verdict, ?6 verdict. */
static char *change_sql(void)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);

	sqlite3_str_appendall(sql, "UPDATE packet_row SET ");
	each_slot(sql, "connection_% = iif(connection_% = ?1, ?2, connection_%)");
	sqlite3_str_appendall(sql, ", ");
	each_slot(sql, "size_% = iif(connection_% = ?1 AND size_% & ?3 = ?4, size_% & ?5 | ?6, "
		       "size_%)");
	sqlite3_str_appendf(sql,
			    " FROM packet_stretch s WHERE s.connection_id = ?1 AND "
			    "packet_row.segment_id = s.segment_id AND place BETWEEN "
			    "s.stretch << %d AND (s.stretch + 1 << %d) - 1 AND ?1 IN (",
			    STRETCH_SHIFT, STRETCH_SHIFT);
	each_slot(sql, "connection_%");
	sqlite3_str_appendall(sql, ")");
	return sqlite3_str_finish(sql);
}

static void change_slot(struct store_packet_slot *slot, const struct change *change)
{
	if (slot->connection_id != change->connection_id)
		return;
	slot->connection_id = change->to_id;
	if ((slot->size & change->mask) == change->equals)
		slot->size = (slot->size & ~VERDICT_MASK) | change->verdict;
}

/* Also of the row that is being filled, which is not in the table. */
static int change_packets(struct store *store, const struct change *change, struct error *error)
{
	const int64_t values[] = {change->connection_id, change->to_id, change->mask,
				  change->equals,	 ~VERDICT_MASK, change->verdict};
	sqlite3_stmt **statement = &store->statements[STORE_CHANGE_PACKETS];
	int code = flush_stretches(store, error);

	for (int i = 0; i < STORE_ROW_PACKETS && store->packets.has_row; i++)
		change_slot(&store->packets.slots[i], change);
	if (code == 0 && !*statement) {
		char *sql = change_sql();

		code = store_prepare(store, STORE_CHANGE_PACKETS, sql, error);
		sqlite3_free(sql);
	}
	if (code != 0)
		return code;
	for (int i = 0; i < (int)(sizeof values / sizeof *values); i++)
		sqlite3_bind_int64(*statement, i + 1, values[i]);
	return store_run(store, *statement, "packet", error);
}

int store_fold_packets(struct store *store, int64_t from_id, int64_t to_id, struct error *error)
{
	static const char *const sql[] = {
		"INSERT INTO packet_stretch SELECT ?2, segment_id, stretch FROM packet_stretch "
		"WHERE connection_id = ?1 ON CONFLICT DO NOTHING",
		"DELETE FROM packet_stretch WHERE connection_id = ?1",
	};
	/* No size has a bit that is not in the mask. */
	struct change change = {
		.connection_id = from_id, .to_id = to_id, .mask = 0, .equals = 1, .verdict = 0};
	int code = change_packets(store, &change, error);

	for (int i = 0; i < (int)(sizeof sql / sizeof *sql) && code == 0; i++) {
		sqlite3_stmt **statement = &store->statements[STORE_FOLD_STRETCHES + i];

		if (!*statement)
			code = store_prepare(store, STORE_FOLD_STRETCHES + i, sql[i], error);
		if (code != 0)
			break;
		sqlite3_bind_int64(*statement, 1, from_id);
		if (sqlite3_bind_parameter_count(*statement) > 1)
			sqlite3_bind_int64(*statement, 2, to_id);
		code = store_run(store, *statement, "fold connections", error);
	}
	return code;
}

/* rule_code counts from 1 in the order of enum store_rule. */
static int64_t rule_verdict(enum store_rule rule)
{
	return ((int64_t)rule + 1) << 1;
}

/* Rare: only flows over a boundary. What of a connection's packets a word on it speaks of: all,
 * where they are nobody's; else those that no row of their own five-tuple was known for. */
int store_restate_packets(struct store *store, int64_t connection_id, const char *reason,
			  enum store_rule rule, struct error *error)
{
	struct change change = {.connection_id = connection_id, .to_id = connection_id};
	int code;

	if (!store->with_packets)
		return 0;
	if (reason) {
		int64_t verdict = store_packet_verdict(store, NULL, reason);

		if (verdict < 0)
			return error_damage(error, store->path, -1, "the rules and reasons we know",
					    "no reason %s", reason);
		change.verdict = verdict << 1;
		return change_packets(store, &change, error);
	}
	change.verdict = rule_verdict(rule);
	change.mask = change.equals = NO_OWNER << 1;
	code = change_packets(store, &change, error);
	change.mask = VERDICT_MASK;
	change.equals = rule_verdict(STORE_LISTENER);
	return code == 0 ? change_packets(store, &change, error) : code;
}
