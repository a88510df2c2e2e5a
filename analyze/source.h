/*
 * source.h - the bytes of a file, unzipped where they are gzip, as a stdio stream.
 *
 * Members that say how long they are (gzmember.h) are read as a whole, all others
 * by zlib as a stream; so is one that is not what it says. Never knows what the
 * bytes are. One thread at a time.
 */
#ifndef ANALYZE_SOURCE_H
#define ANALYZE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "snapshot/format/custody.h"

/* As many bytes as can be looked at before anybody reads: a pcap's header. */
#define SOURCE_HEAD_BYTES 24

struct source;

/* Takes fd over if it succeeds. NULL: no memory. */
struct source *source_new(int fd);
void source_free(struct source *source);
bool source_is_gzip(const struct source *source);
int source_descriptor(const struct source *source); /* borrowed */
/* The first bytes, fewer if there are no more; they live as the source does. */
const uint8_t *source_head(const struct source *source, size_t *length);

/* A stream of the bytes, from the beginning or where source_seek went; it borrows the source.
 * What is wrong ends it as an end of file does, after all bytes before it. NULL: errno. */
FILE *source_stream(struct source *source);
/* Why the bytes stop before their end; NULL: they did not. errno of a read: *read_errno, else 0.
 * *at_bytes: how much of the file was used. */
const char *source_fault(const struct source *source, int *read_errno);
/* Bytes of the file that were used for what was read from the stream, or for what it reads ahead.
 */
uint64_t source_used_bytes(const struct source *source);

/* Hashes from here on what the stream gets. False: no memory. */
bool source_hash(struct source *source);
/* In hex, once all of it was read. False: not hashed, or not from its beginning. */
bool source_sha256(struct source *source, char hex[CUSTODY_HEX_SIZE]);

/* Whether a member begins in the file where content_bytes are before it, of which those that
 * were read from the stream must not be more: *offset_bytes says where. */
bool source_member_at(struct source *source, uint64_t content_bytes, uint64_t *offset_bytes);
/* The next stream gives the file's first SOURCE_HEAD_BYTES and then what the member at offset_bytes
 * holds, and what follows it; content_bytes are before that, SOURCE_HEAD_BYTES at least. The one
 * before is then of no use but to be closed. It is hashed no more. 0; -1: errno, and it goes on
 * as it was. EINVAL: no member begins there, or it is no gzip. */
int source_seek(struct source *source, uint64_t offset_bytes, uint64_t content_bytes);

#endif
