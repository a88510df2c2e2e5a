/*
 * store_rows.h - what store.c (the file's life), store_rows.c (its rows), store_held.c and
 * store_given.c (many at once), store_traffic.c (those of traffic), store_packets.c (single
 * packets), store_loaded.c (what is there), store_carry.c (what moves between them), store_sums.c
 * (what is added up), store_checks.c (what is held against the kernel's count) and store_fleet.c
 * (what comes of other databases) share. Nobody else includes it.
 */
#ifndef ANALYZE_STORE_ROWS_H
#define ANALYZE_STORE_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/store.h"

enum store_statement {
	STORE_INSERT_RECORDING,
	STORE_INSERT_SEGMENT,
	STORE_INSERT_SNAPSHOT,
	STORE_INSERT_INTERFACE,
	STORE_INSERT_ADDRESS,
	STORE_INSERT_PROCESS,
	STORE_INSERT_SOCKET,
	STORE_INSERT_HOLDER,
	STORE_INSERT_FLOW,
	STORE_INSERT_CONNECTION,
	STORE_INSERT_CANDIDATE,
	STORE_INSERT_OTHER,
	STORE_INSERT_COVERAGE,
	STORE_INSERT_TUNNEL,
	STORE_INSERT_SERVING,
	STORE_TABLES, /* so many tables; UPDATE statements follow in the same order */
	STORE_CARRY_PUT = 2 * STORE_TABLES,
	STORE_COMPARE_FLOW,
	STORE_COMPARE_CONNECTION,
	STORE_COMPARE_TUNNEL,
	STORE_GIVE, /* of each table */
	STORE_TRAFFIC = STORE_GIVE + STORE_TABLES,
	STORE_ADD_SUMS,
	STORE_FOLD, /* its statements, see fold_sql */
	STORE_PUT_PACKETS = STORE_FOLD + 5,
	STORE_PUT_STRETCH,
	STORE_PUT_STRETCHES,
	STORE_CHANGE_PACKETS,
	STORE_FOLD_STRETCHES,
	STORE_SUMS = STORE_FOLD_STRETCHES + 2, /* those of store_sums.c */
	STORE_STATEMENTS = STORE_SUMS + 11
};

#define STORE_MAX_CODES 64 /* rows of rule and of reason: a dozen, fixed by the schema */

struct store_codes {
	size_t count;
	struct {
		char name[24];
		int64_t code;
	} entry[STORE_MAX_CODES];
};

enum column_kind {
	COLUMN_ID,     /* 0 is NULL */
	COLUMN_NUMBER, /* STORE_NULL is NULL */
	COLUMN_TEXT,   /* NULL is NULL */
};

/* Of a row struct of store.h. */
struct column {
	const char *name;
	enum column_kind kind;
	size_t offset;
};

struct table {
	const char *name;
	const struct column *columns; /* the last one has no name */
	const char *conflict;	      /* what an insert does when the key is there; "" fails */
	size_t held_bytes;	      /* of a row, where new ones are held back; else 0 */
};
extern const struct table store_tables[STORE_TABLES];

static inline bool store_is_null(enum column_kind kind, int64_t number)
{
	return number == STORE_NULL || (number == 0 && kind == COLUMN_ID);
}

/* Rows that one statement takes; borrowed while it does. */
struct store_given {
	const char *rows;
	size_t row_bytes, count;
	const struct column *columns; /* NULL: a row is numbers only, in their order */
};
#define STORE_GIVEN_COLUMNS 32 /* that any table has which takes them */

/* New rows of a table that are still to be written, together. */
struct store_held {
	char *rows;
	size_t count;
	char *texts; /* what they point to */
	size_t text_bytes;
	int64_t first_id; /* the lowest */
};

#define STORE_ROW_PACKETS 8 /* of table packet_row, by its columns */
/* Rows of packet_stretch that are put in order before they are written: 4 MiB. */
#define STORE_STRETCHES ((size_t)1 << 18)

struct store_packet_slot {
	int64_t connection_id; /* 0: no packet */
	int64_t size, time, offset;
};

struct store_stretch {
	int64_t connection_id, stretch;
};

/* What is still to be written of the packets. */
struct store_packets {
	bool has_row;
	int64_t segment_id, place, time_ns, offset_bytes;
	struct store_packet_slot slots[STORE_ROW_PACKETS];
	struct store_stretch *stretches; /* of segment_id */
	size_t stretch_count;
};

/* What a process sent and received in a bucket. */
struct store_sum {
	int64_t process_id, bucket; /* process_id: 0 is nobody */
	int64_t count[4];	    /* as the columns of table traffic */
};

struct store_owner {
	int64_t connection_id, process_id; /* connection_id: 0 is none; process_id: 0 is nobody */
};

#define STORE_RECENT 16384 /* buckets of all processes that go on at a time: 128 KiB */

/* Not yet written. What is written agrees with tables traffic and connection, but for the
 * periods that stand in temp.touched. */
struct store_sums {
	struct store_sum *held;
	size_t held_count, held_capacity;
	/* Where the row of a process and bucket may stand in held: rows of
	 * connections that go on beside each other meet before they are sorted. */
	struct store_recent {
		uint32_t tag, place;
	} recent[STORE_RECENT];
	int64_t connection_id, process_id; /* whose the last row of traffic was */
	struct store_owner *owners;	   /* as table connection has them, as far as is known */
	int64_t shortest;		   /* of table period, in buckets */
};

struct store {
	sqlite3 *db;
	char *path;	      /* the target */
	char *fill_path;      /* a new database is filled here; NULL: in place */
	char *copy_path;      /* and copied here before it is renamed */
	int fill_fd, copy_fd; /* of these files as they were made, locked; -1: not yet */
	bool is_new, with_packets;
	bool is_merged; /* made of other databases */
	bool replaces;	/* new, and takes the place of what stands at path */
	int64_t bucket_ns;
	sqlite3_stmt *statements[STORE_STATEMENTS]; /* prepared when first used */
	struct store_codes rules, reasons;
	struct store_held held[STORE_TABLES];
	struct store_given given;
	bool has_given_table;
	struct store_packets packets;
	struct store_sums sums;
};

/* What is there already is added to. */
#define ADD_COUNTS                                                                                 \
	" DO UPDATE SET sent_packets = sent_packets + excluded.sent_packets, "                     \
	"sent_bytes = sent_bytes + excluded.sent_bytes, "                                          \
	"received_packets = received_packets + excluded.received_packets, "                        \
	"received_bytes = received_bytes + excluded.received_bytes"
#define ADD_TRAFFIC "ON CONFLICT (connection_id, bucket)" ADD_COUNTS
#define ADD_SUMS    "ON CONFLICT (process_id, bucket)" ADD_COUNTS

/* Runs one or several statements. */
int store_execute(struct store *store, const char *sql, struct error *error);
/* statements[which] from sql; NULL is out of memory. */
int store_prepare(struct store *store, int which, const char *sql, struct error *error);
/* Runs a bound statement to its end. */
int store_run(struct store *store, sqlite3_stmt *statement, const char *what, struct error *error);
void store_finalize_all(struct store *store);
/* Names and codes of rule and reason, as the database has them. */
int store_load_codes(struct store *store, struct error *error);
/* store_given.c: statements[which], from sql, with table given. Its inserts say OR FAIL: what
 * failed is rolled back as a whole, so no statement need be undone by itself. A WHERE keeps an ON
 * behind it from being a join's. */
int store_give(struct store *store, int which, const char *sql, const struct store_given *given,
	       const char *what, struct error *error);
/* store_rows.c: a row by a statement of its own. */
int store_write_now(struct store *store, enum store_statement which, const void *row, bool insert,
		    struct error *error);
bool store_is_utf8(const char *text, size_t length);
/* store_held.c: new rows of tables that have held_bytes. Texts are copied. */
int store_held_add(struct store *store, enum store_statement which, const void *row, int64_t id,
		   struct error *error);
/* Before the row of that id is asked for; before anything else is asked of those tables. */
int store_held_flush_before(struct store *store, enum store_statement which, int64_t id,
			    struct error *error);
int store_held_flush(struct store *store, struct error *error);
void store_held_drop(struct store *store); /* what was not flushed */
void store_held_release(struct store *store);
/* store_packets.c */
int store_packets_flush(struct store *store, struct error *error);
void store_packets_forget(struct store *store); /* what was not flushed */
void store_packets_release(struct store *store);
int store_fold_packets(struct store *store, int64_t from_id, int64_t to_id, struct error *error);

/* store_sums.c: tables process_bucket and process_period. Opening makes a table of what
 * was touched; within a transaction, add is told of each row of traffic, own of an owner
 * before it is written, fold before from_id is folded, commit before the end. last: of a
 * new database, with all its rows. */
int store_sums_open(struct store *store, struct error *error);
int store_sums_add(struct store *store, const struct store_traffic *row, struct error *error);
int store_sums_own(struct store *store, int64_t connection_id, int64_t process_id,
		   struct error *error);
/* Of a connection that is new. */
void store_sums_note(struct store *store, int64_t connection_id, int64_t process_id);
int store_sums_fold(struct store *store, int64_t from_id, int64_t to_id, struct error *error);
int store_sums_commit(struct store *store, bool last, struct error *error);
/* A transaction was given up. */
void store_sums_drop(struct store *store);
void store_sums_release(struct store *store);

/* store_checks.c: table kernel_end. Commit comes at the end of a transaction; finish once,
 * when a new database has its indexes. */
int store_checks_open(struct store *store, struct error *error);
int store_checks_commit(struct store *store, struct error *error);
int store_checks_finish(struct store *store, struct error *error);

#endif
