/*
 * snapfile_internal.h - what the parts of snapfile share: names of records and
 * the parser of one line, raw text into a writer. Included by snapshot/format/snap*.c and nothing
 * else.
 */
#ifndef SNAPSHOT_FORMAT_SNAPFILE_INTERNAL_H
#define SNAPSHOT_FORMAT_SNAPFILE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/snapfile.h"

/* What a writer cuts strings to, so that every line stays below
 * SNAPFILE_MAX_LINE with all bytes escaped: command lines and header values,
 * and everything else (paths and names have far lower limits in the kernel).
 * Without this, one process with a freak command line could stop the recording. */
#define SNAPRECORD_MAX_CMDLINE (3u << 20)
#define SNAPRECORD_MAX_STRING  (64u << 10)

/* "socket" and so on; NULL for SNAP_TYPE_OTHER. */
const char *snaprecord_type_name(enum snap_type type);
/* The kind of the line at <line, length>, by its first field. */
enum snap_type snaprecord_type(const char *line, size_t length);
/* The table of the name at <name, length>; false: there is none. */
bool snaprecord_table(const char *name, size_t length, enum snap_table *out);
const char *snapframe_kind_name(enum snap_kind kind);

/* "frame\t…\n" as it stands before the records, into *out, which the caller
 * frees. Returns its length, 0 without memory. */
size_t snapframe_head_text(const struct snap_frame *head, char **out);

struct snaprecord_end {
	uint64_t sequence, records;
	uint32_t crc;
};

/* Why a line is damaged. */
struct snaprecord_fault {
	const char *wanted; /* a constant */
	const char *field;  /* a constant: the field's name */
	const char *found;  /* into the line */
	size_t found_length;
};

/* Parses the line <line, length>, its LF at line[length] not counted. With
 * commit false nothing is changed, strings are checked and not set. With commit
 * true strings are unescaped in place and NUL-terminated: once only for a line.
 * record->type, op and u are set; the caller knows the line number. END goes
 * into *end (may be NULL for lines that cannot be one). True, or false and *fault. */
bool snaprecord_parse(char *line, size_t length, bool commit, struct snap_record *record,
		      struct snaprecord_end *end, struct snaprecord_fault *fault);

/* Puts text into the file as it is, without a flush: for salvage. */
int snapfile_writer_text(struct snapfile_writer *writer, const char *text, size_t length,
			 struct error *error);

#endif
