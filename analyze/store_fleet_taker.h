/*
 * store_fleet_taker.h - what store_fleet.c (what a source has) and store_fleet_take.c (its rows
 * into the merged database) share. Nobody else includes it.
 */
#ifndef ANALYZE_STORE_FLEET_TAKER_H
#define ANALYZE_STORE_FLEET_TAKER_H

#include <stdint.h>

#include "analyze/store_fleet.h"
#include "analyze/store_rows.h"

#define SOURCE "source" /* under which a source is attached */

/* More than any table has: columns that count, and what these are added to. */
enum { STORE_COUNTS = 16, STORE_ADDENDS = 16 };

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
	uint32_t unit; /* of the row in hand */
	int64_t counts[STORE_COUNTS];
	/* Of the table in hand: which of a row's counts is added to what. */
	struct taker_addend {
		int count;
		enum store_balance to;
		int side;
	} addends[STORE_ADDENDS];
	int addend_count;
	uint32_t summed; /* which of them add up to what can be asked: bits */
	int failed;	 /* what a function of ours met that is no damage; error says it */
};

/* Attaches the source, in a transaction of store: from here on it is as it is now. Whatever
 * comes of it, to be ended. */
int store_taker_begin(struct taker *t, struct store *store, struct store_fleet *fleet,
		      struct store_fleet_source *source, struct error *error);
/* Writes what was taken if code is 0, else gives it up. Returns code, or why it failed. */
int store_taker_end(struct taker *t, int code);

/* What goes wrong is the source's fault unless it is the system's, or the target's disk. */
int store_taker_fail(const struct taker *t, const char *table);
/* "in table TABLE: WHAT NUMBER" */
int store_taker_damage(const struct taker *t, const char *table, const char *what, int64_t number);
/* Frees sql; NULL is out of memory. */
int store_taker_prepare(const struct taker *t, const char *table, char *sql, sqlite3_stmt **out);
/* The source's table as a statement reads it: itself, and no index on it, of which a crafted
 * file may have one with other content. "NOT INDEXED" says nothing of tables without row
 * numbers, which are indexes by their primary key. Freed with sqlite3_free; NULL: no memory. */
char *store_taker_from(const char *table);

#endif
