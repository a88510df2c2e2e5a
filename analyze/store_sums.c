/* Sums of traffic by process, kept beside it. */
#include "analyze/store_rows.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/storefile.h"

/* So many are held back before they are sorted, and what is left of them written: some
 * megabytes, and most rows of a segment, or of a database that is merged, meet there. */
#define MOST_HELD ((size_t)1 << 18)
/* Connections whose owner is remembered, each in a place by its id: a megabyte. Those of one part
 * have traffic after all of them were written. */
#define OWNERS 65536

/* The period of ?1 buckets that a bucket lies in, also before 1970. */
#define PERIOD_OF(bucket) "(" bucket " / ?1 - (" bucket " % ?1 < 0))"
#define SUMS		  "sum(sent_packets), sum(sent_bytes), sum(received_packets), sum(received_bytes)"

enum {
	OWNER_OF = STORE_SUMS,
	/* Of process ?1, the period ?3 of ?2 buckets, unless there is one. */
	PUT_PERIOD,
	TOUCH,
	/* Traffic of connection ?2 from process ?3 to process ?4; ?1 is the shortest period. */
	MOVE,
	MOVE_LAST = MOVE + 4,
	/* Of process ?2, the period ?3 of ?1 buckets, made of those of ?4. */
	FORGET,
	SUM_BUCKETS,
	SUM_PERIODS,
};

static const char *const sql[] = {
	[OWNER_OF - STORE_SUMS] =
		"SELECT coalesce(process_id, 0) FROM connection WHERE connection_id = ?1",
	[PUT_PERIOD - STORE_SUMS] =
		"INSERT OR IGNORE INTO process_period VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[TOUCH - STORE_SUMS] = "INSERT INTO temp.touched VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE "
			       "SET is_summed = min(is_summed, excluded.is_summed)",
	[MOVE - STORE_SUMS] =
		"INSERT INTO process_bucket SELECT ?4, bucket, sent_packets, sent_bytes, "
		"received_packets, received_bytes FROM traffic WHERE connection_id = ?2 " ADD_SUMS,
	"UPDATE process_bucket AS b SET sent_packets = b.sent_packets - t.sent_packets, "
	"sent_bytes = b.sent_bytes - t.sent_bytes, "
	"received_packets = b.received_packets - t.received_packets, "
	"received_bytes = b.received_bytes - t.received_bytes FROM traffic t "
	"WHERE t.connection_id = ?2 AND b.process_id = ?3 AND b.bucket = t.bucket",
	"DELETE FROM process_bucket WHERE process_id = ?3 AND sent_packets + received_packets = 0 "
	"AND bucket IN (SELECT bucket FROM traffic WHERE connection_id = ?2)",
	"INSERT OR REPLACE INTO temp.touched SELECT ?3, " PERIOD_OF(
		"bucket") " * ?1, 0 FROM traffic WHERE connection_id = ?2",
	"INSERT OR REPLACE INTO temp.touched SELECT ?4, " PERIOD_OF(
		"bucket") " * ?1, 0 FROM traffic WHERE connection_id = ?2",
	[FORGET - STORE_SUMS] =
		"DELETE FROM process_period WHERE process_id = ?2 AND buckets = ?1 AND period = ?3",
	[SUM_BUCKETS - STORE_SUMS] =
		"INSERT INTO process_period SELECT ?2, ?1, ?3, " SUMS
		", max(sent_bytes + received_bytes) FROM process_bucket WHERE process_id = ?2 "
		"AND bucket >= ?3 * ?1 AND bucket < (?3 + 1) * ?1 GROUP BY process_id",
	[SUM_PERIODS - STORE_SUMS] =
		"INSERT INTO process_period SELECT ?2, ?1, ?3, " SUMS
		", max(peak_bytes) FROM process_period WHERE process_id = ?2 AND buckets = ?4 "
		"AND period >= ?3 * ?1 / ?4 AND period < (?3 + 1) * ?1 / ?4 GROUP BY process_id",
};
_Static_assert(sizeof sql / sizeof *sql == STORE_STATEMENTS - STORE_SUMS, "all of them");

static const char add_sql[] = "INSERT OR FAIL INTO process_bucket SELECT c0, c1, c2, c3, c4, c5 "
			      "FROM given WHERE true " ADD_SUMS;

/* No statement has more. */
#define PARAMETERS 8

/* A statement with its parameters; those that it has not are left out. */
static int prepare(struct store *store, int which, const int64_t values[PARAMETERS],
		   sqlite3_stmt **out, struct error *error)
{
	int code = 0;

	if (!store->statements[which])
		code = store_prepare(store, which, sql[which - STORE_SUMS], error);
	if (code != 0)
		return code;
	*out = store->statements[which];
	for (int i = 0; i < sqlite3_bind_parameter_count(*out); i++)
		sqlite3_bind_int64(*out, i + 1, values[i]);
	return 0;
}

static int run(struct store *store, int which, const int64_t values[PARAMETERS],
	       struct error *error)
{
	sqlite3_stmt *statement;
	int code = prepare(store, which, values, &statement, error);

	return code == 0 ? store_run(store, statement, "sums by process", error) : code;
}

static struct store_owner *owner_at(struct store *store, int64_t connection_id)
{
	return &store->sums.owners[(uint64_t)connection_id % OWNERS];
}

void store_sums_note(struct store *store, int64_t connection_id, int64_t process_id)
{
	*owner_at(store, connection_id) = (struct store_owner){connection_id, process_id};
}

static void forget_owners(struct store *store)
{
	memset(store->sums.owners, 0, OWNERS * sizeof *store->sums.owners);
}

/* 0: nobody, or no such connection. */
static int owner_of(struct store *store, int64_t connection_id, int64_t *out, struct error *error)
{
	const int64_t values[PARAMETERS] = {connection_id};
	const struct store_owner *known = owner_at(store, connection_id);
	sqlite3_stmt *statement;
	int result, code;

	if (known->connection_id == connection_id) {
		*out = known->process_id;
		return 0;
	}
	code = store_held_flush(store, error);
	if (code == 0)
		code = prepare(store, OWNER_OF, values, &statement, error);
	if (code != 0)
		return code;
	result = sqlite3_step(statement);
	*out = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, "connection", error);
	else
		store_sums_note(store, connection_id, *out);
	sqlite3_reset(statement);
	return code;
}

/* --------------------------------------------------------------- held back -- */

static int compare(const void *a, const void *b)
{
	const struct store_sum *p = a, *q = b;

	if (p->process_id != q->process_id)
		return p->process_id < q->process_id ? -1 : 1;
	return p->bucket < q->bucket ? -1 : p->bucket > q->bucket;
}

void store_sums_drop(struct store *store)
{
	store->sums.held_count = 0;
	store->sums.connection_id = 0;
	forget_owners(store);
}

void store_sums_release(struct store *store)
{
	free(store->sums.held);
	free(store->sums.owners);
}

/* Rows of held that are in order. */
struct run {
	const struct store_sum *first;
	size_t count;
};

static int compare_runs(const void *a, const void *b)
{
	return compare(((const struct run *)a)->first, ((const struct run *)b)->first);
}

static void find_runs(const struct store_sums *sums, struct run *runs, size_t *count)
{
	*count = 0;
	for (size_t i = 0; i < sums->held_count; i++) {
		if (i == 0 || compare(&sums->held[i - 1], &sums->held[i]) > 0)
			runs[(*count)++] = (struct run){.first = &sums->held[i]};
		runs[*count - 1].count++;
	}
}

static void sort(struct store_sum *rows, size_t count)
{
	qsort(rows, count, sizeof *rows, compare);
}

/* Rows come by connection, and each connection's are in order: often all that is left to do
 * is to put these one after the other. */
static void join_runs(struct store_sum *out, struct run *runs, size_t count)
{
	const struct store_sum *last = NULL; /* the highest so far */
	size_t placed = 0, first = 0;	     /* first: of those that overlap */
	bool overlap = false;

	qsort(runs, count, sizeof *runs, compare_runs);
	for (size_t i = 0; i < count; i++) {
		const struct store_sum *end = runs[i].first + runs[i].count - 1;

		if (last && compare(last, runs[i].first) > 0) {
			overlap = true;
		} else {
			if (overlap)
				sort(out + first, placed - first);
			overlap = false;
			first = placed;
		}
		memcpy(out + placed, runs[i].first, runs[i].count * sizeof *out);
		placed += runs[i].count;
		if (!last || compare(end, last) > 0)
			last = end;
	}
	if (overlap)
		sort(out + first, placed - first);
}

/* One row of those of one process and bucket. */
static size_t add_alike(struct store_sum *rows, size_t count)
{
	size_t kept = 0;

	for (size_t i = 1; i < count; i++) {
		if (compare(&rows[kept], &rows[i]) != 0) {
			rows[++kept] = rows[i];
			continue;
		}
		for (int c = 0; c < 4; c++)
			rows[kept].count[c] += rows[i].count[c];
	}
	return count > 0 ? kept + 1 : 0;
}

/* Puts what is held in the order of the table, each process and bucket once. */
static int sort_held(struct store_sums *sums)
{
	struct store_sum *rows = calloc(sums->held_capacity, sizeof *rows);
	struct run *runs = calloc(sums->held_count, sizeof *runs);
	size_t count;

	if (!rows || !runs) {
		free(rows);
		free(runs);
		return -1;
	}
	find_runs(sums, runs, &count);
	join_runs(rows, runs, count);
	free(runs);
	free(sums->held);
	sums->held = rows;
	sums->held_count = add_alike(rows, sums->held_count);
	return 0;
}

static int64_t period_of(int64_t bucket, int64_t buckets)
{
	return bucket / buckets - (bucket % buckets < 0);
}

/* Of the rows from first on, those of its process and shortest period: how many they are. Where
 * nothing of the period was there before, that is all of it; else it is added up again. */
static int put_period(struct store *store, const struct store_sum *first, size_t left,
		      size_t *taken, struct error *error)
{
	int64_t shortest = store->sums.shortest, period = period_of(first->bucket, shortest);
	int64_t values[PARAMETERS] = {first->process_id, shortest, period};
	const struct store_sum *row = first;
	int code;

	for (; row < first + left && row->process_id == first->process_id &&
	       period_of(row->bucket, shortest) == period;
	     row++) {
		int64_t bytes = row->count[1] + row->count[3];

		for (int i = 0; i < 4; i++)
			values[3 + i] += row->count[i];
		if (bytes > values[7])
			values[7] = bytes;
	}
	*taken = (size_t)(row - first);
	code = run(store, PUT_PERIOD, values, error);
	if (code == 0) {
		const int64_t touched[PARAMETERS] = {first->process_id, period * shortest,
						     sqlite3_changes(store->db)};

		code = run(store, TOUCH, touched, error);
	}
	return code;
}

/* most: so many may stay held back, once they are sorted. */
static int flush(struct store *store, size_t most, struct error *error)
{
	struct store_sums *sums = &store->sums;
	struct store_given given;
	size_t taken;
	int code = 0;

	_Static_assert(sizeof *sums->held == 6 * sizeof(int64_t),
		       "numbers in the order of the columns");
	if (sums->held_count <= most)
		return 0;
	if (sort_held(sums) != 0)
		code = storefile_fail(NULL, store->path, "process_bucket", error);
	if (code == 0 && sums->held_count <= most)
		return 0;
	given = (struct store_given){.rows = (const char *)sums->held,
				     .row_bytes = sizeof *sums->held,
				     .count = sums->held_count};
	if (code == 0)
		code = store_give(store, STORE_ADD_SUMS, add_sql, &given, "process_bucket", error);
	for (size_t at = 0; at < sums->held_count && code == 0; at += taken)
		code = put_period(store, &sums->held[at], sums->held_count - at, &taken, error);
	sums->held_count = 0;
	return code;
}

/* The row of this process and bucket, or a new one; NULL: no memory. */
static struct store_sum *find_held(struct store_sums *sums, const struct store_sum *key)
{
	/* Buckets that follow each other stand beside each other. Who prepares keys that meet
	 * has more rows sorted, and no more. */
	uint64_t spread = (uint64_t)key->process_id * UINT64_C(0x9e3779b97f4a7c15) >> 32;
	uint64_t slot = (uint64_t)key->bucket + spread;
	struct store_recent *recent = &sums->recent[slot % STORE_RECENT];
	uint32_t tag = (uint32_t)(slot / STORE_RECENT);

	if (recent->tag == tag && recent->place < sums->held_count &&
	    compare(&sums->held[recent->place], key) == 0)
		return &sums->held[recent->place];
	if (grow_one(&sums->held, sums->held_count, &sums->held_capacity, sizeof *sums->held) != 0)
		return NULL;
	*recent = (struct store_recent){.tag = tag, .place = (uint32_t)sums->held_count};
	sums->held[sums->held_count] = *key;
	return &sums->held[sums->held_count++];
}

int store_sums_add(struct store *store, const struct store_traffic *row, struct error *error)
{
	struct store_sums *sums = &store->sums;
	struct store_sum key = {.bucket = row->bucket}, *held;
	int code = 0;

	/* Rows come by connection. */
	if (row->connection_id != sums->connection_id) {
		code = owner_of(store, row->connection_id, &sums->process_id, error);
		sums->connection_id = code == 0 ? row->connection_id : 0;
	}
	if (code == 0 && sums->held_count == MOST_HELD)
		code = flush(store, MOST_HELD / 2, error);
	if (code != 0)
		return code;
	key.process_id = sums->process_id;
	held = find_held(sums, &key);
	if (!held)
		return storefile_fail(NULL, store->path, "process_bucket", error);
	held->count[0] += row->sent_packets;
	held->count[1] += row->sent_bytes;
	held->count[2] += row->received_packets;
	held->count[3] += row->received_bytes;
	return 0;
}

/* ------------------------------------------------------------ other owners -- */

static int move(struct store *store, int64_t connection_id, int64_t from, int64_t to,
		struct error *error)
{
	const int64_t values[PARAMETERS] = {store->sums.shortest, connection_id, from, to};
	int code = from == to ? 0 : flush(store, 0, error);

	for (int which = MOVE; which <= MOVE_LAST && from != to && code == 0; which++)
		code = run(store, which, values, error);
	return code;
}

int store_sums_own(struct store *store, int64_t connection_id, int64_t process_id,
		   struct error *error)
{
	int64_t before;
	int code = owner_of(store, connection_id, &before, error);

	store->sums.connection_id = 0;
	if (code == 0)
		code = move(store, connection_id, before, process_id, error);
	store_sums_note(store, connection_id, process_id);
	return code;
}

int store_sums_fold(struct store *store, int64_t from_id, int64_t to_id, struct error *error)
{
	int64_t to;
	int code = owner_of(store, to_id, &to, error);

	return code == 0 ? store_sums_own(store, from_id, to, error) : code;
}

/* ----------------------------------------------------------------- periods -- */

/* All that was touched, in periods of so many buckets. */
static int sum_periods(struct store *store, int64_t buckets, int64_t part, struct error *error)
{
	sqlite3_stmt *touched = NULL;
	int code = 0, result;

	if (sqlite3_prepare_v2(store->db,
			       "SELECT DISTINCT process_id, " PERIOD_OF(
				       "bucket") " FROM temp.touched WHERE ?2 OR NOT is_summed "
						 "ORDER BY 1, 2",
			       -1, &touched, NULL) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "process_period", error);
	sqlite3_bind_int64(touched, 1, buckets);
	sqlite3_bind_int(touched, 2, buckets != store->sums.shortest);
	while ((result = sqlite3_step(touched)) == SQLITE_ROW && code == 0) {
		const int64_t values[PARAMETERS] = {buckets, sqlite3_column_int64(touched, 0),
						    sqlite3_column_int64(touched, 1), part};

		code = run(store, FORGET, values, error);
		if (code == 0)
			code = run(store, part == 1 ? SUM_BUCKETS : SUM_PERIODS, values, error);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, "process_period", error);
	sqlite3_finalize(touched);
	return code;
}

int store_sums_open(struct store *store, struct error *error)
{
	int code = storefile_integer(store->db, store->path, "SELECT min(buckets) FROM period", 0,
				     &store->sums.shortest, error);

	store->sums.owners = calloc(OWNERS, sizeof *store->sums.owners);
	if (!store->sums.owners)
		return storefile_fail(NULL, store->path, "open", error);
	if (code == 0 && store->sums.shortest <= 1)
		code = error_damage(error, store->path, -1, "periods of some buckets",
				    "others in table period");
	if (code == 0)
		code = store_execute(store,
				     "CREATE TEMP TABLE touched (process_id INTEGER, "
				     "bucket INTEGER, is_summed INTEGER, "
				     "PRIMARY KEY (process_id, bucket)) WITHOUT ROWID",
				     error);
	return code;
}

int store_sums_commit(struct store *store, bool last, struct error *error)
{
	sqlite3_stmt *periods = NULL;
	int code = flush(store, 0, error), result;

	/* Those of a new database are made once, when all is there. */
	if (code != 0 || (store->is_new && !last))
		return code;
	if (sqlite3_prepare_v2(store->db, "SELECT buckets, part FROM period ORDER BY buckets", -1,
			       &periods, NULL) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "period", error);
	while ((result = sqlite3_step(periods)) == SQLITE_ROW && code == 0)
		code = sum_periods(store, sqlite3_column_int64(periods, 0),
				   sqlite3_column_int64(periods, 1), error);
	if (code == 0 && result != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, "period", error);
	sqlite3_finalize(periods);
	return code == 0 ? store_execute(store, "DELETE FROM temp.touched", error) : code;
}
