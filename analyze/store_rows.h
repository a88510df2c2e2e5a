/*
 * store_rows.h - what store.c (the file's life), store_rows.c (its rows), store_traffic.c (those of
 * traffic), store_packets.c (single packets), store_loaded.c (what is there), store_carry.c (what
 * moves between them), store_sums.c (what is added up), store_checks.c (what is held against the
 * kernel's count) and store_fleet.c (what comes of other databases) share. Nobody else includes it.
 */
#ifndef ANALYZE_STORE_ROWS_H
#define ANALYZE_STORE_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/hashindex.h"
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
	STORE_TABLES, /* so many tables; UPDATE statements follow in the same order */
	STORE_CARRY_PUT = 2 * STORE_TABLES,
	STORE_COMPARE_FLOW,
	STORE_COMPARE_CONNECTION,
	STORE_COMPARE_TUNNEL,
	STORE_TRAFFIC, /* many rows each, by store_give */
	STORE_ADD_SUMS,
	STORE_FOLD, /* its statements, see fold_sql */
	STORE_PUT_PACKETS = STORE_FOLD + 5,
	STORE_PUT_STRETCH,
	STORE_PUT_STRETCHES,
	STORE_CHANGE_PACKETS,
	STORE_FOLD_STRETCHES,
	STORE_SUMS = STORE_FOLD_STRETCHES + 2, /* those of store_sums.c */
	STORE_STATEMENTS = STORE_SUMS + 10
};

#define STORE_MAX_CODES 64 /* rows of rule and of reason: a dozen, fixed by the schema */

struct store_codes {
	size_t count;
	struct {
		char name[24];
		int64_t code;
	} entry[STORE_MAX_CODES];
};

#define STORE_GIVEN 6 /* columns of tables traffic and process_bucket */

/* What store_traffic.c takes at once; borrowed while it does. */
struct store_given {
	const int64_t (*values)[STORE_GIVEN];
	size_t count;
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

/* Not yet written. What is written agrees with tables traffic and connection. */
struct store_sums {
	struct store_sum *held;
	size_t held_count, held_capacity;
	struct hashindex index;		   /* of held, by process and bucket */
	int64_t connection_id, process_id; /* whose the last row of traffic was */
	struct store_owner *owners;	   /* as table connection has them, as far as is known */
	int64_t shortest;		   /* of table period, in buckets */
};

struct store {
	sqlite3 *db;
	char *path;	 /* the target */
	char *fill_path; /* a new database is filled here; NULL: in place */
	char *copy_path; /* and copied here before it is renamed */
	bool is_new, with_packets;
	bool is_merged; /* made of other databases */
	bool replaces;	/* new, and takes the place of what stands at path */
	int64_t bucket_ns;
	sqlite3_stmt *statements[STORE_STATEMENTS]; /* prepared when first used */
	struct store_codes rules, reasons;
	struct store_given given;
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
/* store_traffic.c: adds rows to the table of STORE_TRAFFIC or STORE_ADD_SUMS. */
int store_give(struct store *store, int which, const int64_t (*values)[STORE_GIVEN], size_t count,
	       struct error *error);
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
