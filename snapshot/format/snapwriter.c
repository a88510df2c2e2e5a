/* Snapshot files out: a gzip stream on a descriptor, flushed after every frame. */
#include "snapshot/format/snapfile.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "snapshot/format/escape.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/snapfile_internal.h"

#define OUTPUT_SIZE  (64u << 10)
#define LEVEL	     6
#define GZIP_WINDOW  (15 + 16) /* zlib.h, deflateInit2: 16 more for a gzip header */
#define MEMORY_LEVEL 8	       /* zlib's default */

struct snapfile_writer {
	int fd;
	char *path;
	z_stream stream;
	bool has_stream;
	bool has_frames;
	uint64_t bytes;
	struct error failure; /* code 0: none yet */
	uint8_t output[OUTPUT_SIZE];
};

/* Once something failed, the stream on disk is torn and nothing can follow. */
static int fail(struct snapfile_writer *writer, struct error *error)
{
	if (error)
		*error = writer->failure;
	return writer->failure.code;
}

static int write_all(struct snapfile_writer *writer, const uint8_t *bytes, size_t length)
{
	if (evidence_write_all(writer->fd, bytes, length) != 0)
		return error_errno(&writer->failure, writer->path, "cannot write");
	writer->bytes += length;
	return 0;
}

static int write_output(struct snapfile_writer *writer)
{
	z_stream *stream = &writer->stream;
	int status = write_all(writer, writer->output, OUTPUT_SIZE - stream->avail_out);

	stream->next_out = writer->output;
	stream->avail_out = OUTPUT_SIZE;
	return status;
}

static int compress_bytes(struct snapfile_writer *writer, const void *bytes, uInt length, int flush)
{
	z_stream *stream = &writer->stream;

	/* zlib.h wants a pointer to what it only reads; ZLIB_CONST would spread to others. */
	memcpy(&stream->next_in, &bytes, sizeof(bytes));
	stream->avail_in = length;
	for (;;) {
		int status = deflate(stream, flush);

		assert(status != Z_STREAM_ERROR);
		if (stream->avail_out > 0)
			break;
		if (write_output(writer) != 0)
			return writer->failure.code;
	}
	assert(stream->avail_in == 0);
	return flush == Z_NO_FLUSH ? 0 : write_output(writer);
}

int snapfile_writer_text(struct snapfile_writer *writer, const char *text, size_t length,
			 struct error *error)
{
	if (writer->failure.code)
		return fail(writer, error);
	while (length > 0) {
		uInt part = length < SNAPFILE_MAX_FRAME ? (uInt)length : SNAPFILE_MAX_FRAME;

		if (compress_bytes(writer, text, part, Z_NO_FLUSH) != 0)
			return fail(writer, error);
		text += part;
		length -= part;
	}
	return 0;
}

int snapfile_writer_flush(struct snapfile_writer *writer, struct error *error)
{
	if (writer->failure.code || compress_bytes(writer, NULL, 0, Z_SYNC_FLUSH) != 0)
		return fail(writer, error);
	return 0;
}

static void free_writer(struct snapfile_writer *writer)
{
	if (writer->has_stream)
		deflateEnd(&writer->stream);
	close(writer->fd);
	free(writer->path);
	free(writer);
}

int snapfile_writer_open(int fd, const char *path, struct snapfile_writer **out,
			 struct error *error)
{
	struct snapfile_writer *writer = calloc(1, sizeof(*writer));
	char first[40];
	int status;

	if (!writer) {
		close(fd);
		return error_set(error, ERROR_MEMORY, path, -1, "no memory to write snapshots");
	}
	writer->fd = fd;
	writer->path = strdup(path);
	writer->stream.next_out = writer->output;
	writer->stream.avail_out = OUTPUT_SIZE;
	if (writer->path && deflateInit2(&writer->stream, LEVEL, Z_DEFLATED, GZIP_WINDOW,
					 MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK)
		writer->has_stream = true;
	if (!writer->has_stream) {
		free_writer(writer);
		return error_set(error, ERROR_MEMORY, path, -1, "no memory to write snapshots");
	}
	int length = snprintf(first, sizeof(first), "pcapwho-snapshot\t%d\n", SNAPFILE_VERSION);
	status = snapfile_writer_text(writer, first, (size_t)length, error);
	if (status != 0) {
		free_writer(writer);
		return status;
	}
	*out = writer;
	return 0;
}

int snapfile_writer_meta_bytes(struct snapfile_writer *writer, const char *key, const char *value,
			       size_t value_length, struct error *error)
{
	size_t key_length = strlen(key), length = 0;
	int status;

	assert(!writer->has_frames);
	if (value && value_length > SNAPRECORD_MAX_CMDLINE)
		value_length = SNAPRECORD_MAX_CMDLINE;
	if (key_length > SNAPRECORD_MAX_STRING)
		key_length = SNAPRECORD_MAX_STRING;
	char *line = malloc(ESCAPE_GROWTH * (key_length + value_length) + 16);
	if (!line)
		return error_set(error, ERROR_MEMORY, writer->path, -1,
				 "no memory for the header line %.64s", key);
	memcpy(line, "meta\t", 5);
	length = 5;
	length += escape_write(key, key_length, line + length);
	line[length++] = '\t';
	if (value) {
		length += escape_write(value, value_length, line + length);
	} else {
		memcpy(line + length, "\\N", 2);
		length += 2;
	}
	line[length++] = '\n';
	status = snapfile_writer_text(writer, line, length, error);
	free(line);
	return status;
}

int snapfile_writer_meta(struct snapfile_writer *writer, const char *key, const char *value,
			 struct error *error)
{
	return snapfile_writer_meta_bytes(writer, key, value, value ? strlen(value) : 0, error);
}

int snapfile_writer_frame_unflushed(struct snapfile_writer *writer, const struct snapframe *frame,
				    struct error *error)
{
	char end[80], *head = NULL;
	int status;

	if (writer->failure.code)
		return fail(writer, error);
	/* These two leave the stream whole, so the writer can go on with other frames. */
	size_t head_length = frame->failed ? 0 : snapframe_head_text(&frame->head, &head);
	if (head_length == 0)
		return error_set(error, ERROR_MEMORY, writer->path, -1,
				 "no memory for frame %" PRIu64, frame->head.sequence);
	if (frame->length > SNAPFILE_MAX_FRAME - head_length - sizeof(end)) {
		status = error_set(error, ERROR_LIMIT, writer->path, -1,
				   "frame %" PRIu64 " has %zu bytes, a reader takes at most %u",
				   frame->head.sequence, frame->length, SNAPFILE_MAX_FRAME);
		goto out;
	}
	uLong crc = crc32_z(crc32_z(0, NULL, 0), (const Bytef *)head, head_length);
	if (frame->length > 0)
		crc = crc32_z(crc, (const Bytef *)frame->text, frame->length);
	int end_length = snprintf(end, sizeof(end), "end\t%" PRIu64 "\t%" PRIu64 "\t%08lx\n",
				  frame->head.sequence, frame->records, crc);
	status = 0;
	if (!writer->has_frames)
		status = snapfile_writer_flush(writer, error);
	writer->has_frames = true;
	if (status == 0)
		status = snapfile_writer_text(writer, head, head_length, error);
	if (status == 0)
		status = snapfile_writer_text(writer, frame->text, frame->length, error);
	if (status == 0)
		status = snapfile_writer_text(writer, end, (size_t)end_length, error);
out:
	free(head);
	return status;
}

int snapfile_writer_frame(struct snapfile_writer *writer, const struct snapframe *frame,
			  struct error *error)
{
	int status = snapfile_writer_frame_unflushed(writer, frame, error);

	return status ? status : snapfile_writer_flush(writer, error);
}

uint64_t snapfile_writer_bytes(const struct snapfile_writer *writer)
{
	return writer->bytes;
}

int snapfile_writer_close(struct snapfile_writer *writer, struct error *error)
{
	int status;

	if (!writer)
		return 0;
	if (!writer->failure.code)
		compress_bytes(writer, NULL, 0, Z_FINISH);
	/* EINVAL: a pipe or the like, which has nothing to sync. */
	if (fsync(writer->fd) != 0 && errno != EINVAL && !writer->failure.code)
		error_errno(&writer->failure, writer->path, "cannot sync");
	status = writer->failure.code;
	if (status != 0)
		fail(writer, error);
	free_writer(writer);
	return status;
}
