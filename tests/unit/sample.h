/*
 * sample.h - snapshot files for tests of their format: a small one with a record of
 * each kind, text between the lines of a frame, and all of a file read at once.
 */
#ifndef TESTS_UNIT_SAMPLE_H
#define TESTS_UNIT_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/snapfile.h"

#define SAMPLE_FIRST_LINE "pcapwho-snapshot\t1\n"
#define SAMPLE_RECORDS	  13 /* what sample_records gives */

/* With a NUL behind its end. To be freed. */
struct sample_blob {
	char *bytes;
	size_t length;
};

/* Of a file from its beginning, as it is and without its compression. */
struct sample_blob sample_contents(int fd);
struct sample_blob sample_unzipped(int fd);

struct endpoint_address sample_address(const char *text);
struct endpoint sample_endpoint(const char *text, uint16_t port);

/* One of each kind, with every field different from zero. Returns how many. */
size_t sample_records(struct snap_record *records);
/* A file of header and frames, each with all samples; the second one has none. */
int sample_file(int frames);

/* "frame … end" around lines, with the right count and CRC. To be freed. */
char *sample_framed(uint64_t sequence, const char *lines);
/* One after the other. To be freed. */
char *sample_joined(const char *a, const char *b, const char *c);

struct sample_tally {
	int metas, frames, ends, records;
	struct error error;
};

/* Reads all, and asserts what holds for every file: frames are whole. Returns what the
 * reader ended with. */
int sample_read(const void *bytes, size_t length, struct sample_tally *tally);
int sample_read_text(const char *text, struct sample_tally *tally);

#endif
