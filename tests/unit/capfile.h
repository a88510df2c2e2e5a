/*
 * capfile.h - capture files, byte by byte, in a directory of the test's, and what the reader
 * (analyze/pcapin.h) makes of them.
 */
#ifndef TESTS_UNIT_CAPFILE_H
#define TESTS_UNIT_CAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "analyze/pcapin.h"

#define CAPFILE_MICROSECONDS 0xa1b2c3d4u
#define CAPFILE_NANOSECONDS  0xa1b23c4du

/* The file in hand: several times what the reader takes at once. */
#define CAPFILE_SIZE 400000
extern uint8_t capfile_bytes[CAPFILE_SIZE];
extern size_t capfile_length;
extern bool capfile_big_endian; /* what is put from now on */

/* Where files are written, and its name. */
extern int capfile_dirfd;
extern char capfile_directory[];
/* cmocka's setup and teardown of a group. */
int capfile_begin(void **state);
int capfile_end(void **state);

/* Into the file in hand: a number of so many bytes; a header, as the first thing; a record whose
 * data are bytes of its length. */
void capfile_put(uint32_t value, size_t size);
void capfile_header(uint32_t magic, uint32_t snaplen, uint32_t link_type);
void capfile_record(uint32_t seconds, uint32_t fraction, uint32_t captured, uint32_t original);
/* The file in hand as one gzip stream. Returns its length. */
size_t capfile_gzip(uint8_t *out, size_t size);

void capfile_write(const char *name, const void *content, size_t size);
int capfile_cut(const char *name, off_t size);

/* The file "file"; what is in hand, written there before. */
struct pcapin *capfile_open(void);
struct pcapin *capfile_open_bytes(void);
/* There is one. Its data are valid until the next. */
struct pcapin_packet capfile_next(struct pcapin *in);
/* No more, and it is closed: the end, which is told again; or damage after so many packets, at
 * that offset, with that word, told again too. */
void capfile_ends(struct pcapin *in);
void capfile_damaged(struct pcapin *in, uint64_t packets, int64_t offset, const char *word);

#endif
