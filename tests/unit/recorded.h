/*
 * recorded.h - a directory of three segments as a recorder left it, with its custody.log; what
 * happens to them; and loading them: for the tests of evidence that is not all there.
 */
#ifndef TESTS_UNIT_RECORDED_H
#define TESTS_UNIT_RECORDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "tests/unit/loading.h"

#define RECORDED_SEGMENTS 3 /* of two packets each */

extern int recorded_directory;
extern bool recorded_verify; /* what is loaded; false for each test */
/* Remarks of the last load, and the last one. */
extern unsigned recorded_told;
extern struct error recorded_remark;

/* cmocka's setup and teardown. */
int recorded_begin(void **state);
int recorded_end(void **state);

/* A file's name in the directory; valid for the next three calls. */
const char *recorded_name(unsigned number, const char *suffix);
/* A line of its log, of a file that is there. */
void recorded_note(const char *event, unsigned number, const char *suffix);
void recorded_take_away(unsigned number, const char *suffix);
/* A capture compressed, as its log says. */
void recorded_pack(unsigned number);
size_t recorded_read(unsigned number, uint8_t *bytes, size_t size);
/* A capture under another name, or all but its last byte. */
void recorded_copy(unsigned number, const char *to, bool whole);

/* Loads the directory, and the one "copy" if there is one; what (NULL: nothing) happens between
 * identifying and reading, where something is read. As load_run; error may be NULL. */
int recorded_add(void (*what)(void), unsigned workers, struct error *error);
/* The same into a new database. */
int recorded_try(void (*what)(void), unsigned workers, struct error *error);
/* The same, which succeeds. Returns the database. */
const char *recorded_load(void (*what)(void), unsigned workers);

#define RECORDED_ROWS                                                                              \
	"SELECT number, pcap_name LIKE '%.pcap.gz', snap_name IS NOT NULL, packets FROM segment"

#endif
