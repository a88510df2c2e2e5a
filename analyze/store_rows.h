/*
 * store_rows.h - what store.c (the file's life), store_rows.c (its rows), store_traffic.c (those of
 * traffic), store_packets.c (single packets), store_loaded.c (what is there) and store_carry.c
 * (what moves between them) share. Nobody else includes it.
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
	STORE_TABLES, /* so many tables; UPDATE statements follow in the same order */
	STORE_CARRY_PUT = 2 * STORE_TABLES,
	STORE_COMPARE_FLOW,
	STORE_COMPARE_CONNECTION,
	STORE_COMPARE_TUNNEL,
	STORE_TRAFFIC,
	STORE_FOLD, /* its statements, see fold_sql */
	STORE_PUT_PACKETS = STORE_FOLD + 5,
	STORE_PUT_STRETCH,
	STORE_PUT_STRETCHES,
	STORE_CHANGE_PACKETS,
	STORE_FOLD_STRETCHES,
	STORE_STATEMENTS = STORE_FOLD_STRETCHES + 2
};

#define STORE_MAX_CODES 64 /* rows of rule and of reason: a dozen, fixed by the schema */

struct store_codes {
	size_t count;
	struct {
		char name[24];
		int64_t code;
	} entry[STORE_MAX_CODES];
};

/* What store_traffic.c takes at once; borrowed while it does. */
struct store_given {
	const struct store_traffic *traffic;
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
};

/* What is there already is added to. */
#define ADD_TRAFFIC                                                                                \
	"ON CONFLICT (connection_id, bucket) DO UPDATE SET "                                       \
	"sent_packets = sent_packets + excluded.sent_packets, "                                    \
	"sent_bytes = sent_bytes + excluded.sent_bytes, "                                          \
	"received_packets = received_packets + excluded.received_packets, "                        \
	"received_bytes = received_bytes + excluded.received_bytes"

/* Runs one or several statements. */
int store_execute(struct store *store, const char *sql, struct error *error);
/* statements[which] from sql; NULL is out of memory. */
int store_prepare(struct store *store, int which, const char *sql, struct error *error);
/* Runs a bound statement to its end. */
int store_run(struct store *store, sqlite3_stmt *statement, const char *what, struct error *error);
void store_finalize_all(struct store *store);
/* Names and codes of rule and reason, as the database has them. */
int store_load_codes(struct store *store, struct error *error);
/* store_packets.c */
int store_packets_flush(struct store *store, struct error *error);
void store_packets_forget(struct store *store); /* what was not flushed */
void store_packets_release(struct store *store);
int store_fold_packets(struct store *store, int64_t from_id, int64_t to_id, struct error *error);

#endif
