/*
 * store_fleet.h - rows of other databases into a merged one.
 *
 * Rows keep their meaning and get new numbers. What a database has is divided into
 * units (evidence that was analyzed together: no row of one points to a row of
 * another), and a unit is taken whole or not at all. A row's number is the unit's base in
 * its table plus its rank in the unit, so that it depends on which units there are, and
 * neither on the file that a unit came in nor on the order of the files.
 */
#ifndef ANALYZE_STORE_FLEET_H
#define ANALYZE_STORE_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/idruns.h"
#include "analyze/store.h"
#include "analyze/store_source.h"

/* carry.kind of a merged database: seq is a recording_id, state the number of its unit
 * in decimal, counted from 1. */
#define STORE_CARRY_UNIT 64

/* The tables whose rows have numbers that others point to, each before those that point
 * to it. */
enum store_numbered {
	STORE_OF_RECORDING,
	STORE_OF_SEGMENT,
	STORE_OF_SNAPSHOT,
	STORE_OF_INTERFACE,
	STORE_OF_ADDRESS,
	STORE_OF_PROCESS,
	STORE_OF_SOCKET,
	STORE_OF_HOLDER,
	STORE_OF_FLOW,
	STORE_OF_TUNNEL,
	STORE_OF_CONNECTION,
	STORE_OF_COVERAGE,
	STORE_NUMBERED
};
extern const char *const store_numbered_tables[STORE_NUMBERED]; /* their names */

enum store_reference_kind {
	STORE_OWN_NUMBER, /* the row's own */
	STORE_OWNER,	  /* the row belongs to the unit of the row that it points to */
	STORE_POINTER,	  /* points to another row, or is NULL */
};

/* Each column that has a number of a row, by table, the tables in the order in which
 * they are taken. What a table has besides is taken as it is. A test (test_fleet.c) holds this
 * against the schema: a new table or column that points to rows must stand here, or there among
 * those of which a merged database has its own rows. That is all a new table needs, if it has a
 * number of its own or is WITHOUT ROWID, and one of its columns tells whose unit it belongs to;
 * store_numbered too, if others point to its rows. */
struct store_reference {
	const char *table, *column;
	enum store_reference_kind kind;
	enum store_numbered to;
};
extern const struct store_reference store_references[];			/* ends with table NULL */
bool store_reference_is_first(const struct store_reference *reference); /* of its table */
/* NULL: the column has none, or the table has none of that kind. */
const struct store_reference *store_reference_of(const char *table, const char *column);
const struct store_reference *store_reference_by_kind(const char *table,
						      enum store_reference_kind kind);
/* The one that tells the unit of a row as it is taken, and the table's first column: what is
 * pointed to must be of that unit. */
const struct store_reference *store_reference_of_unit(const char *table);

/* Whether two analyses of the same segments must have the same there. */
bool store_column_is_compared(const char *table, const char *column);

/* Columns that name a verdict, and the column of table rule or reason that has it. */
struct store_verdict_column {
	const char *table, *column, *verdicts, *verdict;
};
extern const struct store_verdict_column store_verdict_columns[]; /* ends with table NULL */

/* What two tables tell of the same packets. */
enum store_balance {
	STORE_BALANCE_FLOW_PACKETS,
	STORE_BALANCE_CARRIED_PACKETS,
	STORE_BALANCE_END_PACKETS,
	STORE_BALANCE_END_BYTES,
	STORE_BALANCE_END_PAYLOAD,
	STORE_BALANCE_SENT_PACKETS,
	STORE_BALANCE_SENT_BYTES,
	STORE_BALANCE_RECEIVED_PACKETS,
	STORE_BALANCE_RECEIVED_BYTES,
	STORE_BALANCES
};

struct store_unit {
	const char *host, *boot; /* whose it is, for messages; borrowed */
	bool wanted;
	bool compared;			/* its digest is wanted */
	int64_t rows[STORE_NUMBERED];	/* found by store_fleet_number */
	int64_t before[STORE_NUMBERED]; /* rows of the units that stand before it */
	int64_t position;		/* among the wanted ones, from 1 */
	uint64_t digest;		/* of all its rows, whatever their numbers */
	/* Of what was taken: by the one table and by the other. */
	uint64_t balances[STORE_BALANCES][2];
};

/* A database whose units are taken. */
struct store_fleet_source {
	const char *path;
	struct stat status; /* as it was when its units were read */
	uint32_t changes;   /* likewise: storefile_changes */
	/* Its recordings in rising order, and which unit each belongs to. */
	const int64_t *recording_ids;
	const uint32_t *recording_units;
	size_t recording_count;
	/* found by store_fleet_number */
	struct idruns ids[STORE_NUMBERED];
	bool has_unwanted;
};
void store_fleet_source_release(struct store_fleet_source *source);

struct store_fleet {
	const struct store_ours *ours; /* what the tables of each source are held against */
	struct store_unit *units;
	int64_t rows_taken;
	int64_t counted; /* no sum of packets or bytes of what was taken is more */
};
/* Called after each table that was taken; NULL: not wanted. */
typedef void store_fleet_progress(const struct store_fleet *fleet, void *context);

/* Counts what a source has, and makes the digests that are wanted. ERROR_SYSTEM, here and by
 * store_fleet_take: it is no more as it was when its units were read. */
int store_fleet_number(struct store *store, struct store_fleet *fleet,
		       struct store_fleet_source *source, struct error *error);
/* Takes the rows of the source's wanted units; before[] of each is set. Every pointer
 * must point to a row, counts must add up in each unit and verdicts be known: ERROR_DAMAGED. */
int store_fleet_take(struct store *store, struct store_fleet *fleet,
		     struct store_fleet_source *source, store_fleet_progress *progress,
		     void *context, struct error *error);
/* In a database with packets, once all sources are taken: whether a wanted unit has as many
 * rows of packets as its flows have packets, and each a verdict. path: the database that it
 * came from. ERROR_DAMAGED. */
int store_fleet_check_packets(struct store *store, const struct store_unit *unit, const char *path,
			      struct error *error);

#endif
