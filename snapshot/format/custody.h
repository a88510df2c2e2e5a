/*
 * custody.h - the hash-chained log of what happened to the evidence.
 * FORMAT.md has its fields. Appends are whole lines, synced before returning.
 */
#ifndef SNAPSHOT_FORMAT_CUSTODY_H
#define SNAPSHOT_FORMAT_CUSTODY_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"

#define CUSTODY_LOG	 "custody.log"
#define CUSTODY_HEX_SIZE 65 /* SHA-256 in hex + NUL */

struct custody;

struct custody_entry {
	uint64_t sequence;
	int64_t time_ns;
	const char *event;
	const char *file;   /* NULL: none */
	int64_t bytes;	    /* -1: none */
	const char *sha256; /* hex; NULL: none */
	const char *detail; /* may be "" */
};

/* Opens or creates custody.log in dirfd for appending. An existing log is
 * read to its last whole line; a torn last line (crash) is cut off and
 * *repaired says how many bytes that was (0 usually). A log whose chain does
 * not verify is left as it is and continued from its last line, and
 * *broken_line is that line's number (0: chain whole). ERROR_DAMAGED if it is
 * no regular file or nothing like a log. */
int custody_open(int dirfd, const char *path, struct custody **out, uint64_t *repaired_bytes,
		 uint64_t *broken_line, struct error *error);
/* Appends; sequence is assigned. Thread-safe. */
int custody_append(struct custody *custody, const struct custody_entry *entry, struct error *error);
void custody_close(struct custody *custody);

/* Reads and checks a log. For each line that has the fields of an entry calls
 * each(entry, context) if given, also behind a break in the chain; strings live
 * during the call. 0, or ERROR_DAMAGED naming the first line that breaks the
 * chain. path is the directory's, for messages. last_chain may be NULL. */
int custody_verify(int dirfd, const char *path,
		   void (*each)(const struct custody_entry *entry, void *context), void *context,
		   char last_chain[CUSTODY_HEX_SIZE], struct error *error);

/* Bytes as lower-case hex digits and a NUL; out has room for 2 * length + 1. */
void custody_hex(const uint8_t *bytes, size_t length, char *out);
/* SHA-256 and size of a regular file in dirfd; of another kind ERROR_DAMAGED. */
int custody_hash_file(int dirfd, const char *name, char hex[CUSTODY_HEX_SIZE], uint64_t *bytes,
		      struct error *error);
/* The same of an open one, from its beginning, wherever it is read; path is for messages.
 * ERROR_INTERRUPTED once *stop is not 0 (NULL: never). */
int custody_hash_descriptor(int fd, const char *path, const volatile sig_atomic_t *stop,
			    char hex[CUSTODY_HEX_SIZE], uint64_t *bytes, struct error *error);

#endif
