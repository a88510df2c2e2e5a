/* Snapshot files in: gzip or plain text, a whole checked frame at a time; and salvage. */
#include "snapshot/format/gzmember.h"
#include "snapshot/format/snapfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "snapshot/format/evidence.h"
#include "snapshot/format/snapfile_internal.h"

#define INPUT_SIZE   (128u << 10)
#define FILL_SIZE    (256u << 10) /* room made for each step of reading */
#define GZIP_WINDOW  (15 + 16)
#define FIRST_FIELD  "pcapwho-snapshot\t"
#define FRAME_PREFIX "frame\t"

/* The bytes of the file, and the text that they hold. */
struct source {
	int fd;		/* -1: memory */
	uint8_t *input; /* INPUT_SIZE bytes; NULL: memory */
	const uint8_t *next;
	size_t left;
	bool at_end; /* nothing comes after <next, left> */
	bool is_gzip, in_member;
	z_stream stream;
	const char *fault; /* why the text ends here, if it is not the file's end */
};

enum stage {
	STAGE_HEADER,
	STAGE_BETWEEN, /* frames */
	STAGE_IN_FRAME,
	STAGE_DONE,
};

struct snapfile_reader {
	char *path;
	struct source source;
	char *text; /* [at, filled) is not yet consumed */
	size_t at, filled, capacity;
	uint64_t base; /* offset in the whole text of text[0] */
	uint64_t line; /* number of the line at `at` */
	enum stage stage;
	size_t frame_left; /* bytes of the open frame from `at` on */
	struct snap_frame frame;
	uint32_t frame_crc32; /* of the open frame */
	uint64_t unknown;
	int status; /* what DONE returns */
	struct error failure;
};

/* ---- the source ---- */

static int refill(struct snapfile_reader *reader)
{
	struct source *source = &reader->source;
	ssize_t length;

	if (source->at_end || !source->input) {
		source->at_end = true;
		return 0;
	}
	do
		length = read(source->fd, source->input, INPUT_SIZE);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return error_errno(&reader->failure, reader->path, "cannot read");
	source->next = source->input;
	source->left = (size_t)length;
	source->at_end = length == 0;
	return 0;
}

/* gzip or plain, by the first two bytes (RFC 1952). */
static int recognise(struct snapfile_reader *reader)
{
	struct source *source = &reader->source;
	uint8_t first[2];

	/* A read may give less than it was asked for. */
	while (source->input && source->left < sizeof(first)) {
		ssize_t length =
			read(source->fd, source->input + source->left, INPUT_SIZE - source->left);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return error_errno(&reader->failure, reader->path, "cannot read");
		source->next = source->input;
		source->left += (size_t)length;
		if (length == 0)
			break;
	}
	if (source->left < sizeof(first) || source->next[0] != GZMEMBER_ID1 ||
	    source->next[1] != GZMEMBER_ID2)
		return 0;
	if (inflateInit2(&source->stream, GZIP_WINDOW) != Z_OK)
		return error_set(&reader->failure, ERROR_MEMORY, reader->path, -1,
				 "no memory to decompress");
	source->is_gzip = source->in_member = true;
	return 0;
}

/* One step of decompression into <out, room>. Sets *produced; 0 with nothing
 * produced means that more input is wanted or that the text has ended. */
static int inflate_step(struct snapfile_reader *reader, char *out, size_t room, size_t *produced)
{
	struct source *source = &reader->source;
	z_stream *stream = &source->stream;
	uInt given = source->left < UINT32_MAX ? (uInt)source->left : UINT32_MAX;

	memcpy(&stream->next_in, &source->next, sizeof(source->next));
	stream->avail_in = given;
	stream->next_out = (Bytef *)out;
	stream->avail_out = (uInt)room;
	int status = inflate(stream, Z_SYNC_FLUSH);
	source->next += given - stream->avail_in;
	source->left -= given - stream->avail_in;
	*produced = room - stream->avail_out;
	switch (status) {
	case Z_OK:
	case Z_BUF_ERROR:
		return 0;
	case Z_STREAM_END:
		source->in_member = false;
		inflateReset(stream);
		return 0;
	case Z_MEM_ERROR:
		return error_set(&reader->failure, ERROR_MEMORY, reader->path, -1,
				 "no memory to decompress");
	default:
		source->fault = "gzip data that does not decompress";
		return 0;
	}
}

/* Puts more text into <out, room>: *produced is 0 only at its end, be that the
 * file's or a fault. */
static int read_text(struct snapfile_reader *reader, char *out, size_t room, size_t *produced)
{
	struct source *source = &reader->source;

	*produced = 0;
	while (*produced == 0 && !source->fault) {
		if (source->left == 0) {
			int status = refill(reader);
			if (status != 0)
				return status;
		}
		if (source->left == 0) {
			if (source->in_member)
				source->fault = "the file's end within its gzip data";
			return 0;
		}
		if (!source->is_gzip) {
			*produced = source->left < room ? source->left : room;
			memcpy(out, source->next, *produced);
			source->next += *produced;
			source->left -= *produced;
			return 0;
		}
		if (!source->in_member && source->next[0] != GZMEMBER_ID1) {
			source->fault = "other bytes behind its gzip data";
			return 0;
		}
		source->in_member = true;
		int status = inflate_step(reader, out, room, produced);
		if (status != 0)
			return status;
	}
	return 0;
}

/* ---- the text ---- */

/* Appends to the text; what is before `at` is given up. 1, 0 at its end, negative. */
static int fill(struct snapfile_reader *reader)
{
	size_t produced;

	if (reader->capacity - reader->filled < FILL_SIZE && reader->at > 0) {
		memmove(reader->text, reader->text + reader->at, reader->filled - reader->at);
		reader->base += reader->at;
		reader->filled -= reader->at;
		reader->at = 0;
	}
	if (reader->capacity - reader->filled < FILL_SIZE) {
		size_t capacity = reader->capacity ? reader->capacity * 2 : 2 * FILL_SIZE;
		char *text = realloc(reader->text, capacity);
		if (!text)
			return error_set(&reader->failure, ERROR_MEMORY, reader->path, -1,
					 "no memory for a frame of more than %zu bytes",
					 reader->capacity);
		reader->text = text;
		reader->capacity = capacity;
	}
	int status = read_text(reader, reader->text + reader->filled, FILL_SIZE, &produced);
	if (status != 0)
		return status;
	reader->filled += produced;
	return produced > 0;
}

static int damage(struct snapfile_reader *reader, size_t ahead, uint64_t line, const char *wanted,
		  const char *found_format, ...) __attribute__((format(printf, 5, 6)));

/* Damage `ahead` bytes behind `at`, in the given line. */
static int damage(struct snapfile_reader *reader, size_t ahead, uint64_t line, const char *wanted,
		  const char *found_format, ...)
{
	char found[300];
	va_list arguments;

	va_start(arguments, found_format);
	vsnprintf(found, sizeof(found), found_format, arguments);
	va_end(arguments);
	return error_damage(&reader->failure, reader->path,
			    (int64_t)(reader->base + reader->at + ahead), wanted,
			    "%s (line %" PRIu64 ")", found, line);
}

/* The length, without LF, of the line that begins `ahead` bytes behind `at`.
 * 1; 0 where the text ends there; negative: torn, too long, or failed. */
static int find_line(struct snapfile_reader *reader, size_t ahead, uint64_t line, size_t *length)
{
	size_t searched = 0;

	for (;;) {
		const char *start = reader->text + reader->at + ahead;
		size_t there = reader->filled - reader->at - ahead;
		const char *lf =
			there > searched ? memchr(start + searched, '\n', there - searched) : NULL;

		searched = lf ? (size_t)(lf - start) : there;
		if (searched > SNAPFILE_MAX_LINE)
			return damage(reader, ahead, line, "a line of at most 16 MiB",
				      "a longer one");
		if (lf) {
			*length = searched;
			return 1;
		}
		int status = fill(reader);
		if (status < 0)
			return status;
		if (status > 0)
			continue;
		if (reader->source.fault)
			return damage(reader, ahead + searched, line, "the rest of the text", "%s",
				      reader->source.fault);
		if (searched > 0)
			return damage(reader, ahead, line, "a line that ends with LF",
				      "the file's end after %zu bytes of it", searched);
		return 0;
	}
}

/* A fault of the parser as damage; what was found is cut to a few bytes. */
static int damage_of_fault(struct snapfile_reader *reader, size_t ahead, uint64_t line,
			   const struct snaprecord_fault *fault)
{
	char wanted[120];

	snprintf(wanted, sizeof(wanted), "%s as field \"%s\"", fault->wanted, fault->field);
	if (!fault->found)
		return damage(reader, ahead, line, wanted, "the line's end");
	int shown = fault->found_length < 60 ? (int)fault->found_length : 60;
	return damage(reader, ahead, line, wanted, "\"%.*s\"", shown, fault->found);
}

static void consume(struct snapfile_reader *reader, size_t length)
{
	reader->at += length;
	reader->line++;
}

/* ---- the first line, header lines, frames ---- */

static int read_first_line(struct snapfile_reader *reader)
{
	static const char wanted[] = "a snapshot file, which begins with \"pcapwho-snapshot\"";
	size_t length = 0, field = strlen(FIRST_FIELD);
	int status;

	/* Before looking for an LF, which a large file of another kind may not have. */
	while (reader->filled < field) {
		status = fill(reader);
		if (status < 0)
			return status;
		if (status == 0)
			break;
	}
	if (reader->filled < field)
		return damage(reader, 0, 1, wanted, "%s after %zu bytes",
			      reader->source.fault ? reader->source.fault : "the file's end",
			      reader->filled);
	if (memcmp(reader->text, FIRST_FIELD, field) != 0) {
		const uint8_t *found = (const uint8_t *)reader->text;
		return damage(reader, 0, 1, wanted, "bytes %02x %02x %02x %02x", found[0], found[1],
			      found[2], found[3]);
	}
	status = find_line(reader, 0, 1, &length);
	if (status <= 0)
		return status;
	const char *version = reader->text + field;
	size_t version_length = length - field;
	const char *tab = memchr(version, '\t', version_length);
	if (tab)
		version_length = (size_t)(tab - version);
	char supported[16];
	int supported_length = snprintf(supported, sizeof(supported), "%d", SNAPFILE_VERSION);
	if (version_length != (size_t)supported_length ||
	    memcmp(version, supported, version_length) != 0)
		return damage(reader, field, 1, "snapshot version 1", "version \"%.*s\"",
			      (int)(version_length < 40 ? version_length : 40), version);
	consume(reader, length + 1);
	return 0;
}

/* Reads the frame at `at` wholly into memory and checks all of it: every
 * record, the count, the CRC. Nothing is consumed. 1, or negative. */
static int load_frame(struct snapfile_reader *reader)
{
	struct snaprecord_fault fault;
	struct snaprecord_end end = {0};
	struct snap_record record;
	size_t ahead = 0, length = 0;
	uint64_t lines = 0, sequence = 0;

	for (;; ahead += length + 1, lines++) {
		uint64_t line = reader->line + lines;
		int status = find_line(reader, ahead, line, &length);

		if (status == 0)
			status = damage(reader, ahead, line, "the end of a frame",
					"the file's end %" PRIu64 " lines into it", lines);
		if (status < 0)
			return status;
		if (ahead + length + 1 > SNAPFILE_MAX_FRAME)
			return damage(reader, ahead, line, "a frame of at most 1 GiB",
				      "a longer one");
		if (!snaprecord_parse(reader->text + reader->at + ahead, length, false, &record,
				      &end, &fault))
			return damage_of_fault(reader, ahead, line, &fault);
		if (record.type == SNAP_TYPE_END)
			break;
		if (lines == 0)
			sequence = record.u.frame.sequence;
		else if (record.type == SNAP_TYPE_FRAME || record.type == SNAP_TYPE_META)
			return damage(reader, ahead, line, "a record of a frame or its end",
				      "a line %s", snaprecord_type_name(record.type));
	}
	if (end.sequence != sequence)
		return damage(reader, ahead, reader->line + lines, "the end of the open frame",
			      "that of frame %" PRIu64 " instead of %" PRIu64, end.sequence,
			      sequence);
	if (end.records != lines - 1)
		return damage(reader, ahead, reader->line + lines, "a frame's right record count",
			      "%" PRIu64 " for %" PRIu64 " records", end.records, lines - 1);
	uLong crc = crc32_z(crc32_z(0, NULL, 0), (const Bytef *)reader->text + reader->at, ahead);
	if (end.crc != crc)
		return damage(reader, ahead, reader->line + lines, "a frame's right CRC-32",
			      "%08" PRIx32 " for content with %08lx", end.crc, crc);
	reader->frame_left = ahead + length + 1;
	reader->frame_crc32 = end.crc;
	return 1;
}

/* Steps over lines of unknown kinds to the next header line or frame, which is
 * then at `at`, a frame wholly loaded. 1 and its type and length (of a frame:
 * all of it; of a line: without LF), 0 at the end, negative. */
static int next_unit(struct snapfile_reader *reader, enum snap_type *type, size_t *length)
{
	for (*length = 0;;) {
		int status = find_line(reader, 0, reader->line, length);
		if (status <= 0)
			return status;
		*type = snaprecord_type(reader->text + reader->at, *length);
		if (*type == SNAP_TYPE_FRAME) {
			status = load_frame(reader);
			*length = reader->frame_left;
			return status;
		}
		if (*type == SNAP_TYPE_META && reader->stage == STAGE_HEADER)
			return 1;
		if (*type != SNAP_TYPE_OTHER)
			return damage(reader, 0, reader->line, "a frame",
				      "a line %s outside of one", snaprecord_type_name(*type));
		reader->unknown++;
		consume(reader, *length + 1);
	}
}

/* Parses the line at `at` for good, and consumes it. */
static int deliver(struct snapfile_reader *reader, size_t length, struct snap_record *record)
{
	struct snaprecord_fault fault;

	if (!snaprecord_parse(reader->text + reader->at, length, true, record, NULL, &fault))
		return damage_of_fault(reader, 0, reader->line, &fault);
	record->line = reader->line;
	consume(reader, length + 1);
	return 1;
}

static int next_in_frame(struct snapfile_reader *reader, struct snap_record *record)
{
	for (;;) {
		const char *start = reader->text + reader->at;
		const char *lf = memchr(start, '\n', reader->frame_left);
		size_t length = (size_t)(lf - start);
		int status = deliver(reader, length, record);

		assert(status == 1); /* load_frame has seen it */
		reader->frame_left -= length + 1;
		if (record->type == SNAP_TYPE_OTHER) {
			reader->unknown++;
			continue;
		}
		if (record->type == SNAP_TYPE_FRAME)
			reader->frame = record->u.frame;
		if (record->type == SNAP_TYPE_END) {
			record->u.frame = reader->frame;
			record->u.frame.crc32 = reader->frame_crc32;
			reader->stage = STAGE_BETWEEN;
		}
		return status;
	}
}

static int next_outside(struct snapfile_reader *reader, struct snap_record *record)
{
	enum snap_type type;
	size_t length;
	int status = next_unit(reader, &type, &length);

	if (status <= 0)
		return status;
	if (type == SNAP_TYPE_FRAME) {
		reader->stage = STAGE_IN_FRAME;
		return next_in_frame(reader, record);
	}
	return deliver(reader, length, record);
}

int snapfile_next(struct snapfile_reader *reader, struct snap_record *record, struct error *error)
{
	if (reader->stage != STAGE_DONE) {
		int status = reader->stage == STAGE_IN_FRAME ? next_in_frame(reader, record)
							     : next_outside(reader, record);
		if (status > 0)
			return status;
		reader->stage = STAGE_DONE;
		reader->status = status;
	}
	if (reader->status < 0 && error)
		*error = reader->failure;
	return reader->status;
}

uint64_t snapfile_unknown_records(const struct snapfile_reader *reader)
{
	return reader->unknown;
}

/* ---- opening and closing ---- */

static struct snapfile_reader *new_reader(const char *path)
{
	struct snapfile_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return NULL;
	reader->source.fd = -1;
	reader->line = 1;
	reader->path = strdup(path);
	if (!reader->path) {
		free(reader);
		return NULL;
	}
	return reader;
}

/* The common end of both opens; takes reader over. */
static int start(struct snapfile_reader *reader, struct snapfile_reader **out, struct error *error)
{
	int status = recognise(reader);

	if (status == 0)
		status = read_first_line(reader);
	if (status != 0) {
		if (error)
			*error = reader->failure;
		snapfile_close(reader);
		return status;
	}
	*out = reader;
	return 0;
}

int snapfile_open_descriptor(int fd, const char *name, struct snapfile_reader **out,
			     struct error *error)
{
	struct snapfile_reader *reader = new_reader(name);

	if (reader)
		reader->source.input = malloc(INPUT_SIZE);
	if (!reader || !reader->source.input) {
		snapfile_close(reader);
		close(fd);
		return error_set(error, ERROR_MEMORY, name, -1, "no memory to read snapshots");
	}
	reader->source.fd = fd;
	return start(reader, out, error);
}

static int open_file(int dirfd, const char *name, int flags, struct snapfile_reader **out,
		     struct error *error)
{
	int fd = evidence_open_file(dirfd, name, O_RDONLY | flags, name, error);

	return fd < 0 ? fd : snapfile_open_descriptor(fd, name, out, error);
}

int snapfile_open(int dirfd, const char *name, struct snapfile_reader **out, struct error *error)
{
	return open_file(dirfd, name, 0, out, error);
}

int snapfile_open_memory(const void *bytes, size_t length, const char *path,
			 struct snapfile_reader **out, struct error *error)
{
	struct snapfile_reader *reader = new_reader(path);

	if (!reader)
		return error_set(error, ERROR_MEMORY, path, -1, "no memory to read snapshots");
	reader->source.next = bytes;
	reader->source.left = length;
	return start(reader, out, error);
}

void snapfile_close(struct snapfile_reader *reader)
{
	if (!reader)
		return;
	if (reader->source.is_gzip)
		inflateEnd(&reader->source.stream);
	if (reader->source.fd >= 0)
		close(reader->source.fd);
	free(reader->source.input);
	free(reader->text);
	free(reader->path);
	free(reader);
}

/* ---- salvage ---- */

/* Whether a header that damage follows is whole: it is when the damage is in
 * the first frame, even in its first word, and not in one of its own lines. */
static bool header_is_whole(const struct snapfile_reader *reader)
{
	size_t left = reader->filled - reader->at, prefix = strlen(FRAME_PREFIX);

	return reader->stage != STAGE_HEADER ||
	       memcmp(reader->text + reader->at, FRAME_PREFIX, left < prefix ? left : prefix) == 0;
}

/* Header lines and frames of reader into writer, as they are. */
static int copy_units(struct snapfile_reader *reader, struct snapfile_writer *writer,
		      uint64_t *frames, struct error *error)
{
	enum snap_type type;
	size_t length;

	for (;;) {
		int status = next_unit(reader, &type, &length);
		if (status == ERROR_DAMAGED && header_is_whole(reader))
			return 0;
		if (status <= 0) {
			if (status < 0 && error)
				*error = reader->failure;
			return status;
		}
		const char *text = reader->text + reader->at;
		if (type == SNAP_TYPE_FRAME) {
			if (reader->stage == STAGE_HEADER)
				status = snapfile_writer_flush(writer, error);
			else
				status = 0;
			reader->stage = STAGE_BETWEEN;
			if (status == 0)
				status = snapfile_writer_text(writer, text, length, error);
			if (status == 0)
				status = snapfile_writer_flush(writer, error);
			reader->at += length;
			++*frames;
		} else {
			struct snaprecord_fault fault;
			struct snap_record record;
			if (!snaprecord_parse(reader->text + reader->at, length, false, &record,
					      NULL, &fault)) {
				damage_of_fault(reader, 0, reader->line, &fault);
				if (error)
					*error = reader->failure;
				return ERROR_DAMAGED;
			}
			status = snapfile_writer_text(writer, text, length + 1, error);
			consume(reader, length + 1);
		}
		if (status != 0)
			return status;
	}
}

int snapfile_salvage(int dirfd, const char *from, const char *to, uint64_t *frames_out,
		     struct error *error)
{
	struct snapfile_reader *reader;
	struct snapfile_writer *writer = NULL;
	uint64_t frames = 0;
	int status = open_file(dirfd, from, O_NOFOLLOW, &reader, error);

	if (status != 0)
		return status;
	int fd = openat(dirfd, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		status = error_errno(error, to, "cannot create");
		goto out;
	}
	status = snapfile_writer_open(fd, to, &writer, error);
	if (status == 0)
		status = copy_units(reader, writer, &frames, error);
	if (writer) {
		struct error close_error = ERROR_NONE;
		int close_status = snapfile_writer_close(writer, &close_error);
		if (status == 0 && close_status != 0) {
			status = close_status;
			if (error)
				*error = close_error;
		}
	}
	if (status != 0)
		unlinkat(dirfd, to, 0);
	else
		*frames_out = frames;
out:
	snapfile_close(reader);
	return status;
}
