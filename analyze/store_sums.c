/* Sums of traffic by process, kept beside it. */
#include "analyze/store_rows.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/storefile.h"

/* So many are held back before they are written: some megabytes, and most rows of a
 * segment meet there. */
#define MOST_HELD 65536
/* Connections whose owner is remembered, each in a place by its id: a megabyte. Those of one part
 * have traffic after all of them were written. */
#define OWNERS 65536

/* The period of ?1 buckets that a bucket lies in, also before 1970. */
#define PERIOD_OF(bucket) "((" bucket " - iif(" bucket " < 0, ?1 - 1, 0)) / ?1)"
#define SUMS		  "sum(sent_packets), sum(sent_bytes), sum(received_packets), sum(received_bytes)"

enum {
	OWNER_OF = STORE_SUMS,
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
	[TOUCH - STORE_SUMS] =
		"INSERT OR IGNORE INTO temp.touched VALUES (?2, " PERIOD_OF("?3") " * ?1)",
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
	"INSERT OR IGNORE INTO temp.touched SELECT ?3, " PERIOD_OF(
		"bucket") " * ?1 FROM traffic WHERE connection_id = ?2",
	"INSERT OR IGNORE INTO temp.touched SELECT ?4, " PERIOD_OF(
		"bucket") " * ?1 FROM traffic WHERE connection_id = ?2",
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

/* A statement with its first four parameters; those that it has not are left out. */
static int prepare(struct store *store, int which, const int64_t values[4], sqlite3_stmt **out,
		   struct error *error)
{
	int code = 0;

	if (!store->statements[which])
		code = store_prepare(store, which, sql[which - STORE_SUMS], error);
	if (code != 0)
		return code;
	*out = store->statements[which];
	for (int i = 0; i < 4 && i < sqlite3_bind_parameter_count(*out); i++)
		sqlite3_bind_int64(*out, i + 1, values[i]);
	return 0;
}

static int run(struct store *store, int which, const int64_t values[4], struct error *error)
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
	const int64_t values[4] = {connection_id};
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

static uint64_t hash_of(const void *context, uint32_t place)
{
	const struct store_sum *row = &((const struct store_sums *)context)->held[place];

	return hashindex_keyed(row, offsetof(struct store_sum, count));
}

static int compare(const void *a, const void *b)
{
	const struct store_sum *p = a, *q = b;

	if (p->process_id != q->process_id)
		return p->process_id < q->process_id ? -1 : 1;
	return p->bucket < q->bucket ? -1 : p->bucket > q->bucket;
}

static void drop_held(struct store *store)
{
	store->sums.held_count = 0;
	store->sums.connection_id = 0;
	hashindex_clear(&store->sums.index);
}

void store_sums_drop(struct store *store)
{
	drop_held(store);
	forget_owners(store);
}

void store_sums_release(struct store *store)
{
	free(store->sums.held);
	free(store->sums.owners);
	hashindex_release(&store->sums.index);
}

static int64_t period_of(int64_t bucket, int64_t buckets)
{
	return (bucket - (bucket < 0 ? buckets - 1 : 0)) / buckets;
}

static int touch(struct store *store, struct error *error)
{
	const struct store_sums *sums = &store->sums;
	const struct store_sum *last = NULL;
	int code = 0;

	for (size_t i = 0; i < sums->held_count && code == 0; i++) {
		const struct store_sum *row = &sums->held[i];
		const int64_t touched[4] = {sums->shortest, row->process_id, row->bucket};

		if (!last || last->process_id != row->process_id ||
		    period_of(row->bucket, sums->shortest) !=
			    period_of(last->bucket, sums->shortest))
			code = run(store, TOUCH, touched, error);
		last = row;
	}
	return code;
}

static int flush(struct store *store, struct error *error)
{
	struct store_sums *sums = &store->sums;
	const struct store_given given = {.rows = (const char *)sums->held,
					  .row_bytes = sizeof *sums->held,
					  .count = sums->held_count};
	int code = 0;

	_Static_assert(sizeof *sums->held == 6 * sizeof(int64_t),
		       "numbers in the order of the columns");
	/* In the order of the table. */
	if (sums->held_count > 0) {
		qsort(sums->held, sums->held_count, sizeof *sums->held, compare);
		code = store_give(store, STORE_ADD_SUMS, add_sql, &given, "process_bucket", error);
	}
	if (code == 0)
		code = touch(store, error);
	drop_held(store);
	return code;
}

int store_sums_add(struct store *store, const struct store_traffic *row, struct error *error)
{
	struct store_sums *sums = &store->sums;
	struct store_sum sum = {.bucket = row->bucket};
	int code = 0;

	/* Rows come by connection. */
	if (row->connection_id != sums->connection_id)
		code = owner_of(store, row->connection_id, &sums->process_id, error);
	if (code == 0 && sums->held_count >= MOST_HELD) {
		sum.process_id = sums->process_id;
		code = flush(store, error);
		sums->process_id = sum.process_id;
	}
	if (code != 0)
		return code;
	sums->connection_id = row->connection_id;
	sum.process_id = sums->process_id;
	uint64_t hash = hashindex_keyed(&sum, offsetof(struct store_sum, count));
	uint32_t place, probe = (uint32_t)hash;
	while ((place = hashindex_next(&sums->index, hash, &probe)) != HASHINDEX_NONE &&
	       compare(&sums->held[place], &sum) != 0)
		;
	if (place == HASHINDEX_NONE) {
		place = (uint32_t)sums->held_count;
		if (grow_one(&sums->held, sums->held_count, &sums->held_capacity,
			     sizeof *sums->held) != 0 ||
		    hashindex_add(&sums->index, hash, place, hash_of, sums) != 0)
			return storefile_fail(NULL, store->path, "process_bucket", error);
		sums->held[sums->held_count++] = sum;
	}
	sums->held[place].count[0] += row->sent_packets;
	sums->held[place].count[1] += row->sent_bytes;
	sums->held[place].count[2] += row->received_packets;
	sums->held[place].count[3] += row->received_bytes;
	return 0;
}

/* ------------------------------------------------------------ other owners -- */

static int move(struct store *store, int64_t connection_id, int64_t from, int64_t to,
		struct error *error)
{
	const int64_t values[4] = {store->sums.shortest, connection_id, from, to};
	int code = from == to ? 0 : flush(store, error);

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

int store_sum_connections(struct store *store, int64_t first_id, int64_t last_id,
			  struct error *error)
{
	char *text = sqlite3_mprintf(
		"INSERT INTO process_bucket SELECT owner, bucket, " SUMS " FROM (SELECT "
		"coalesce(c.process_id, 0) AS owner, t.* FROM connection c "
		"JOIN traffic t ON t.connection_id = c.connection_id "
		"WHERE c.connection_id BETWEEN %lld AND %lld) WHERE true GROUP BY 1, 2 " ADD_SUMS
		";"
		"INSERT OR IGNORE INTO temp.touched SELECT coalesce(c.process_id, 0), "
		"(t.bucket - iif(t.bucket < 0, %lld - 1, 0)) / %lld * %lld "
		"FROM connection c JOIN traffic t ON t.connection_id = c.connection_id "
		"WHERE c.connection_id BETWEEN %lld AND %lld",
		(long long)first_id, (long long)last_id, (long long)store->sums.shortest,
		(long long)store->sums.shortest, (long long)store->sums.shortest,
		(long long)first_id, (long long)last_id);
	int code = text ? store_held_flush(store, error)
			: storefile_fail(NULL, store->path, "process_bucket", error);

	if (code == 0)
		code = flush(store, error);

	forget_owners(store);
	if (code == 0)
		code = store_execute(store, text, error);
	sqlite3_free(text);
	return code;
}

/* ----------------------------------------------------------------- periods -- */

/* All that was touched, in periods of so many buckets. */
static int sum_periods(struct store *store, int64_t buckets, int64_t part, struct error *error)
{
	sqlite3_stmt *touched = NULL;
	int code = 0, result;

	if (sqlite3_prepare_v2(store->db,
			       "SELECT DISTINCT process_id, " PERIOD_OF(
				       "bucket") " FROM temp.touched ORDER BY 1, 2",
			       -1, &touched, NULL) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "process_period", error);
	sqlite3_bind_int64(touched, 1, buckets);
	while ((result = sqlite3_step(touched)) == SQLITE_ROW && code == 0) {
		const int64_t values[4] = {buckets, sqlite3_column_int64(touched, 0),
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
				     "bucket INTEGER, PRIMARY KEY (process_id, bucket)) "
				     "WITHOUT ROWID",
				     error);
	return code;
}

int store_sums_commit(struct store *store, bool last, struct error *error)
{
	sqlite3_stmt *periods = NULL;
	int code = flush(store, error), result;

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
