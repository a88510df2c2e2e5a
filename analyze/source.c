#include "analyze/source.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include <zlib.h>

#include "analyze/grow.h"
#include "analyze/walk.h"
#include "snapshot/format/gzmember.h"

/* What is read from the file at a time, where nothing says how much is wanted. */
#define PIECE_BYTES  (256u << 10)
#define BUFFER_BYTES (GZMEMBER_MOST_BYTES + PIECE_BYTES)

/* Where a member began. */
struct beginning {
	uint64_t offset_bytes; /* in the file */
	uint64_t content_bytes;
};

struct source {
	int fd; /* owned */
	bool can_seek;
	bool gzip;
	bool in_member; /* inside a gzip member: the input may not end here */
	bool untouched; /* nothing of that member was read yet */
	z_stream z;	/* set up if gzip */
	struct gzmember_reader *members;
	EVP_MD_CTX *hash;  /* of the bytes handed to stdio; NULL: not wanted */
	size_t at, have;   /* of buffer: what is read and not yet used */
	uint64_t taken;	   /* where in the file the buffer's bytes end */
	uint64_t made;	   /* bytes that came out: the content's place of what comes next */
	uint64_t given;	   /* bytes handed to stdio */
	const char *fault; /* why the bytes stop before their end; NULL: they did not */
	int read_errno;	   /* or the read that failed; 0: none */
	size_t head_at;	   /* of the head: what stdio has of it */
	size_t head_have;
	uint8_t head[SOURCE_HEAD_BYTES];
	/* A member for which who asked had no room. */
	uint8_t *content; /* NULL: none so far */
	size_t content_at, content_have;
	/* Members that began where stdio is, or ahead of it; in order. */
	struct beginning *beginnings;
	size_t beginning_count, beginning_capacity;
	uint8_t buffer[BUFFER_BYTES];
};

/* --------------------------------------------------------------- reading -- */

/* Reads up to `most` bytes behind what is in the buffer, which has room. 1, or 0 at
 * the end of the input or after a failed read, which is noted. */
static int read_more(struct source *source, size_t most)
{
	ssize_t got;

	if (source->read_errno)
		return 0;
	do
		got = read(source->fd, source->buffer + source->have, most);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		source->read_errno = errno;
	if (got <= 0)
		return 0;
	source->have += (size_t)got;
	source->taken += (uint64_t)got;
	return 1;
}

/* 1 if there is something in the buffer. */
static int fill(struct source *source)
{
	if (source->at < source->have)
		return 1;
	source->at = source->have = 0;
	return read_more(source, PIECE_BYTES);
}

/* Whether so many bytes, BUFFER_BYTES at most, are there in a row; reads no more than these. */
static bool fill_to(struct source *source, size_t bytes)
{
	if (source->at + bytes > BUFFER_BYTES) {
		source->have -= source->at;
		memmove(source->buffer, source->buffer + source->at, source->have);
		source->at = 0;
	}
	while (source->have - source->at < bytes) {
		if (read_more(source, bytes - (source->have - source->at)) == 0)
			return false;
	}
	return true;
}

uint64_t source_used_bytes(const struct source *source)
{
	return source->taken - (source->have - source->at);
}

/* ------------------------------------------------------------- inflating -- */

/* Without memory for it a place is not known, which costs time and nothing else. */
static void note_beginning(struct source *source)
{
	/* Behind an empty member, of which there may be millions: that one's place serves. */
	if (source->beginning_count > 0 &&
	    source->beginnings[source->beginning_count - 1].content_bytes == source->made)
		return;
	if (grow_one(&source->beginnings, source->beginning_count, &source->beginning_capacity,
		     sizeof(*source->beginnings)) != 0)
		return;
	source->beginnings[source->beginning_count++] = (struct beginning){
		.offset_bytes = source_used_bytes(source),
		.content_bytes = source->made,
	};
}

/* What lies behind where stdio is now is asked for no more. */
static void forget_beginnings(struct source *source)
{
	size_t kept = 0;

	for (size_t i = 0; i < source->beginning_count; i++) {
		walk_step();
		if (source->beginnings[i].content_bytes >= source->given)
			source->beginnings[kept++] = source->beginnings[i];
	}
	source->beginning_count = kept;
}

/* Between members: another one, the end, or zeros as tapes pad with (gzip(1)
 * skips them too). 1 if a member begins, 0 if nothing more comes. */
static int next_member(struct source *source)
{
	while (fill(source)) {
		if (source->buffer[source->at] == GZMEMBER_ID1) {
			source->in_member = source->untouched = true;
			inflateReset(&source->z);
			note_beginning(source);
			return 1;
		}
		if (source->buffer[source->at] != 0) {
			source->fault = "bytes that are not gzip follow it";
			return 0;
		}
		source->at++;
	}
	return 0;
}

/* One step of zlib's, of a member that is in the buffer at least in part. */
static size_t inflate_some(struct source *source, uint8_t *out, size_t room)
{
	z_stream *z = &source->z;
	int status;

	z->next_out = out;
	z->avail_out = (uInt)room;
	z->next_in = source->buffer + source->at;
	z->avail_in = (uInt)(source->have - source->at);
	status = inflate(z, Z_NO_FLUSH);
	source->at = source->have - z->avail_in;
	if (status == Z_STREAM_END)
		source->in_member = false;
	else if (status != Z_OK && status != Z_BUF_ERROR)
		source->fault = z->msg ? z->msg : zError(status);
	return room - z->avail_out;
}

/* A member that says how long it is, at once: into out, or where there is no room into
 * source->content. *got: bytes in out. False: zlib may see what there is of it. */
static bool inflate_whole(struct source *source, uint8_t *out, size_t room, size_t *got)
{
	const uint8_t *member;
	uint8_t *to = out;
	size_t bytes, content_bytes;

	if (source->members == NULL || !fill_to(source, GZMEMBER_HEAD_BYTES))
		return false;
	bytes = gzmember_said_bytes(source->buffer + source->at);
	if (bytes == 0 || !fill_to(source, bytes))
		return false;
	member = source->buffer + source->at;
	content_bytes = gzmember_tail(member + bytes - GZMEMBER_TAIL_BYTES).content_bytes;
	if (content_bytes > room) {
		if (source->content == NULL)
			source->content = malloc(GZMEMBER_CONTENT_BYTES);
		to = source->content;
	}
	if (to == NULL || !gzmember_read(source->members, member, bytes, to))
		return false;
	source->at += bytes;
	source->in_member = false;
	source->made += content_bytes;
	*got = to == out ? content_bytes : 0;
	if (to != out) {
		source->content_at = 0;
		source->content_have = content_bytes;
	}
	return true;
}

static size_t take_content(struct source *source, uint8_t *out, size_t room)
{
	size_t bytes = source->content_have - source->content_at;

	if (bytes > room)
		bytes = room;
	memcpy(out, source->content + source->content_at, bytes);
	source->content_at += bytes;
	return bytes;
}

static size_t get_inflated(struct source *source, uint8_t *out, size_t size)
{
	size_t room = size < UINT_MAX ? size : UINT_MAX, got = 0;

	while (got == 0 && !source->fault) {
		if (source->content_at < source->content_have)
			return take_content(source, out, room);
		if (!source->in_member && !next_member(source))
			break;
		if (source->untouched) {
			source->untouched = false;
			if (inflate_whole(source, out, room, &got))
				continue;
		}
		if (!fill(source)) {
			source->fault = source->read_errno ? NULL : "it breaks off";
			break;
		}
		got = inflate_some(source, out, room);
		source->made += got;
	}
	return got;
}

static size_t get_plain(struct source *source, uint8_t *out, size_t size)
{
	size_t bytes;

	if (!fill(source))
		return 0;
	bytes = source->have - source->at;
	if (bytes > size)
		bytes = size;
	memcpy(out, source->buffer + source->at, bytes);
	source->at += bytes;
	return bytes;
}

static size_t get(struct source *source, uint8_t *out, size_t size)
{
	return source->gzip ? get_inflated(source, out, size) : get_plain(source, out, size);
}

/* ---------------------------------------------------------------- stream -- */

static void end_hash(struct source *source)
{
	EVP_MD_CTX_free(source->hash);
	source->hash = NULL;
}

/* For fopencookie(3). */
static ssize_t read_stream(void *cookie, char *out, size_t size)
{
	struct source *source = cookie;
	size_t bytes;

	forget_beginnings(source);
	if (source->head_at < source->head_have) {
		bytes = source->head_have - source->head_at;
		if (bytes > size)
			bytes = size;
		memcpy(out, source->head + source->head_at, bytes);
		source->head_at += bytes;
	} else {
		bytes = get(source, (uint8_t *)out, size);
	}
	source->given += bytes;
	if (source->hash && EVP_DigestUpdate(source->hash, out, bytes) != 1)
		end_hash(source);
	return (ssize_t)bytes;
}

/* So that ftello(3) works; nothing can be sought. */
static int tell_stream(void *cookie, off64_t *offset, int whence)
{
	struct source *source = cookie;

	if (whence != SEEK_CUR || *offset != 0) {
		errno = ESPIPE;
		return -1;
	}
	*offset = (off64_t)source->given;
	return 0;
}

FILE *source_stream(struct source *source)
{
	const cookie_io_functions_t functions = {.read = read_stream, .seek = tell_stream};

	return fopencookie(source, "rb", functions);
}

const char *source_fault(const struct source *source, int *read_errno)
{
	*read_errno = source->read_errno;
	return source->fault;
}

bool source_is_gzip(const struct source *source)
{
	return source->gzip;
}

int source_descriptor(const struct source *source)
{
	return source->fd;
}

const uint8_t *source_head(const struct source *source, size_t *length)
{
	*length = source->head_have;
	return source->head;
}

bool source_hash(struct source *source)
{
	source->hash = EVP_MD_CTX_new();
	return source->hash && EVP_DigestInit_ex(source->hash, EVP_sha256(), NULL) == 1;
}

bool source_sha256(struct source *source, char hex[CUSTODY_HEX_SIZE])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	bool done = source->hash && EVP_DigestFinal_ex(source->hash, hash, &length) == 1 &&
		    2 * length + 1 == CUSTODY_HEX_SIZE;

	end_hash(source);
	if (done)
		custody_hex(hash, length, hex);
	return done;
}

/* --------------------------------------------------------------- members -- */

bool source_member_at(struct source *source, uint64_t content_bytes, uint64_t *offset_bytes)
{
	if (!source->gzip || !source->can_seek)
		return false;
	/* All that came out is read: whether the member ends here, and another begins. */
	if (content_bytes == source->made && source->content_at == source->content_have &&
	    !source->fault) {
		uint8_t none;
		size_t before = SIZE_MAX;

		while (source->in_member && !source->untouched && !source->fault && fill(source) &&
		       source->have - source->at != before) {
			before = source->have - source->at;
			inflate_some(source, &none, 0);
		}
		if (!source->in_member && !source->fault)
			next_member(source);
	}
	for (size_t i = 0; i < source->beginning_count; i++) {
		walk_step();
		if (source->beginnings[i].content_bytes == content_bytes) {
			*offset_bytes = source->beginnings[i].offset_bytes;
			return true;
		}
	}
	return false;
}

int source_seek(struct source *source, uint64_t offset_bytes, uint64_t content_bytes)
{
	uint8_t magic[3];
	bool member =
		source->gzip && offset_bytes <= INT64_MAX && content_bytes >= source->head_have &&
		pread(source->fd, magic, sizeof(magic), (off_t)offset_bytes) ==
			(ssize_t)sizeof(magic) &&
		magic[0] == GZMEMBER_ID1 && magic[1] == GZMEMBER_ID2 && magic[2] == Z_DEFLATED;

	if (!member) {
		errno = EINVAL;
		return -1;
	}
	if (lseek(source->fd, (off_t)offset_bytes, SEEK_SET) < 0)
		return -1;
	end_hash(source);
	source->at = source->have = source->content_at = source->content_have = 0;
	source->in_member = source->untouched = false;
	source->fault = NULL;
	source->read_errno = 0;
	source->beginning_count = 0;
	source->head_at = 0;
	source->taken = offset_bytes;
	source->made = content_bytes;
	source->given = content_bytes - source->head_have;
	return 0;
}

/* ------------------------------------------------------------------ life -- */

void source_free(struct source *source)
{
	if (!source)
		return;
	if (source->gzip)
		inflateEnd(&source->z);
	gzmember_reader_free(source->members);
	if (source->fd >= 0)
		close(source->fd);
	end_hash(source);
	free(source->content);
	free(source->beginnings);
	free(source);
}

/* Looks at the first bytes without using them up. */
static void look_at_head(struct source *source)
{
	size_t got;

	while (source->head_have < SOURCE_HEAD_BYTES) {
		got = get(source, source->head + source->head_have,
			  SOURCE_HEAD_BYTES - source->head_have);
		if (got == 0)
			return;
		source->head_have += got;
	}
}

struct source *source_new(int fd)
{
	struct source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->fd = fd;
	source->can_seek = lseek(fd, 0, SEEK_CUR) >= 0;
	if (fill(source) && source->buffer[0] == GZMEMBER_ID1) {
		if (inflateInit2(&source->z, 16 + MAX_WBITS) != Z_OK) {
			free(source);
			return NULL;
		}
		source->gzip = true;
		source->members = gzmember_reader_new();
	}
	look_at_head(source);
	return source;
}
