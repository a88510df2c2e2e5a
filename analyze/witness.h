/*
 * witness.h - single records of a snapshot file, read again as they stand there.
 *
 * A record is found by its frame and by what tells it from others in the frame.
 * Reads the format and nothing else: knows no rules, no database.
 */
#ifndef ANALYZE_WITNESS_H
#define ANALYZE_WITNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"

/* What a reader is shown of a line: command lines go on for megabytes. */
#define WITNESS_TEXT_BYTES 65536

struct witness {
	/* wanted */
	enum snap_type type; /* FRAME, SOCKET, HOLDER, PROCESS, USE, BORN or EXEC */
	uint64_t sequence;   /* of its frame; 0: the first record of this identity in the file */
	uint64_t netns;	     /* SOCKET: its identity */
	enum snap_table table;
	struct endpoint local, remote;
	uint32_t inode; /* SOCKET, HOLDER */
	/* HOLDER, PROCESS, USE, BORN, EXEC. A start that was told may be one higher than
	 * the one that was read. */
	uint32_t pid;
	uint64_t start_ticks;
	uint32_t fd;   /* HOLDER */
	int64_t at_ns; /* USE, EXEC */
	/* PROCESS: this program, its arguments as one line (arguments.h), is expected, where
	 * a frame tells of several; with only_program no other record is taken. Borrowed;
	 * NULL: not known. */
	const char *comm, *exe, *cmdline;
	bool only_program;

	/* found */
	uint64_t line;	       /* in the uncompressed file, from 1; 0: it is not there */
	uint64_t offset_bytes; /* there, of the line's first byte */
	uint64_t in_frame;     /* sequence of the frame that it stands in */
	char *text;	       /* the line as it stands, heap, cut to WITNESS_TEXT_BYTES */
	bool text_is_shared;   /* it is that of another one of the same witness_read */
	size_t length;	       /* of the whole line */
	uint32_t uid;	       /* SOCKET, PROCESS: of the record */
	uint32_t ppid;	       /* PROCESS, BORN */
	bool same_program;     /* PROCESS: it is the one expected */
};

/* Fills in what is found of all that is wanted, in time that grows with the file and with
 * count, not with their product. Damage: what stands before it
 * is found, and ERROR_DAMAGED is returned with its place. */
int witness_read(int dirfd, const char *name, struct witness *wanted, size_t count,
		 struct error *error);
/* The texts; of those of one witness_read, all at once or none is used any more. */
void witness_release(struct witness *wanted, size_t count);

/* The name of the record's kind as it stands in the file. */
const char *witness_kind(enum snap_type type);

#endif
