/*
 * record.h - for tests of perf records: one is written, and parsed from memory of
 * exactly its size.
 */
#ifndef TESTS_UNIT_RECORD_H
#define TESTS_UNIT_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/tracepoint_layout.h"

/* Zero behind its end. */
extern uint8_t record_bytes[4096];
extern size_t record_length;

/* A header of this type, PERF_RECORD_*; its size is set by record_finish. */
void record_begin(uint32_t type);
void record_put16(uint16_t value);
void record_put32(uint32_t value);
void record_put64(uint64_t value);
void record_finish(void);
/* Writes over what is there: a number of 1, 2, 4 or 8 bytes. */
void record_set(uint8_t *at, uint64_t value, size_t size);

/* As tracepoint_parse, into an event full of 0xa5. */
int record_parse(const struct tracepoint_layout *layout, struct tracepoint_event *out);
/* That the record is an event, and damage wherever it is cut: both with the header's
 * size as it was, and as if it were meant. Leaves it one byte short. */
void record_check_cut(const struct tracepoint_layout *layout);

#endif
