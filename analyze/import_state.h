/*
 * import_state.h - copies of /proc/net files and listings of /proc/PID/fd, as
 * the one state that they show together.
 *
 * Reads input files and nothing else; writes no file (import.h does). What a
 * file does not say stays not known: no start times, no program names.
 */
#ifndef ANALYZE_IMPORT_STATE_H
#define ANALYZE_IMPORT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/error.h"
#include "snapshot/format/procnet_text.h"
#include "snapshot/format/snapfile.h"

/* The copies do not name their network namespace: all is in this one. */
#define IMPORT_NETNS 1

/* Of one input file: a listing of ten million descriptors. */
#define IMPORT_MAX_FILE (UINT64_C(1) << 30)

/* Bad rows of one file that are named one by one; the rest is counted. */
#define IMPORT_NAMED_ROWS 20

/* Told of each bad row and of whatever else is skipped; error lives during the call. */
struct import_notes {
	void (*note)(void *context, const struct error *error);
	void *context;
};

/* An input file, for the custody log. */
struct import_source {
	char *path;		       /* absolute where the system can say, owned */
	char sha256[CUSTODY_HEX_SIZE]; /* of the bytes that were parsed */
	uint64_t bytes;
	char what[120]; /* "tcp table, 27 rows, 0 bad" */
};

struct import_absence {
	const char *what; /* static text */
	uint32_t pid;
	enum snap_op op;
	char subject[64], reason[120];
};

struct import_state {
	const struct import_notes *notes; /* borrowed; NULL: nobody listens */
	bool tables_given[SNAP_TABLE_END];
	struct procnet_rows sockets;
	struct snap_holder *holders;
	uint32_t *pids; /* whose descriptors were listed */
	struct snap_address *addresses;
	struct import_absence *absences;
	struct import_source *sources;
	size_t holder_count, holder_capacity, pid_count, pid_capacity;
	size_t address_count, address_capacity, absence_count, absence_capacity;
	size_t source_count, source_capacity;
	uint64_t bad_rows;
};

void import_state_init(struct import_state *state, const struct import_notes *notes);
void import_state_release(struct import_state *state);

/* Takes in a copy of /proc/net/TABLE. Rows that are damaged are noted, counted
 * and remembered as absent; ERROR_DAMAGED when nothing in the file is of that
 * table, ERROR_USAGE when the same table was taken in before. */
int import_state_table(struct import_state *state, enum snap_table table, bool big_endian,
		       const char *path, struct error *error);

/* Takes in one or more listings of /proc/PID/fd. pid: of rows under no heading;
 * 0: the one in the file's name. ERROR_USAGE when neither says it. */
int import_state_listing(struct import_state *state, const char *path, uint32_t pid,
			 struct error *error);

/* "192.0.2.1" or "192.0.2.1/24": an address of the host. ERROR_USAGE. */
int import_state_address(struct import_state *state, const char *text, struct error *error);

/* Sorts, drops what repeats, adds the addresses that connected and listening
 * sockets prove, and what was not given. Call once, after the last input. */
int import_state_finish(struct import_state *state, struct error *error);

/* How many of the sockets have a holder in the listings; after finish. */
size_t import_state_held(const struct import_state *state);

/* The whole state as records of a key frame. */
void import_state_frame(const struct import_state *state, struct snapframe *frame);

#endif
