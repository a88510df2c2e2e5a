#include "snapshot/format/pcapindex.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/quantity.h"

#define FIRST_LINE "pcapwho-index\t1\n"
#define MEMBER	   "member"
#define END	   "end"
/* The longest line: its word, and five numbers of twenty digits. */
#define LINE_SIZE     160
#define MOST_FIELDS   6
#define TAIL_HEX_SIZE (2 * PCAPINDEX_TAIL_BYTES + 1)

void pcapindex_name(const char *pcap, char name[PCAPINDEX_NAME_SIZE])
{
	snprintf(name, PCAPINDEX_NAME_SIZE, "%s" EVIDENCE_IDX, pcap);
}

int pcapindex_add(struct pcapindex *index, const struct pcapindex_member *member,
		  struct error *error)
{
	if (index->count == PCAPINDEX_MAX_MEMBERS)
		return error_set(error, ERROR_LIMIT, NULL, -1, "an index of more than %u members",
				 PCAPINDEX_MAX_MEMBERS);
	if (index->count == index->capacity) {
		size_t capacity = index->capacity ? index->capacity * 2 : 64;
		struct pcapindex_member *members =
			reallocarray(index->members, capacity, sizeof(*members));

		if (!members)
			return error_set(error, ERROR_MEMORY, NULL, -1, "no memory for an index");
		index->members = members;
		index->capacity = capacity;
	}
	index->members[index->count++] = *member;
	return 0;
}

void pcapindex_release(struct pcapindex *index)
{
	free(index->members);
	*index = (struct pcapindex){0};
}

/* Size and last bytes of the file on fd; zeros before the first of a shorter one. */
static int read_tail(int fd, const char *path, uint64_t *bytes, uint8_t tail[PCAPINDEX_TAIL_BYTES],
		     struct error *error)
{
	struct stat file;
	size_t length;

	memset(tail, 0, PCAPINDEX_TAIL_BYTES);
	if (fstat(fd, &file) != 0)
		return error_errno(error, path, "cannot examine");
	*bytes = (uint64_t)file.st_size;
	length = *bytes < PCAPINDEX_TAIL_BYTES ? (size_t)*bytes : PCAPINDEX_TAIL_BYTES;
	if (pread(fd, tail + PCAPINDEX_TAIL_BYTES - length, length, (off_t)(*bytes - length)) !=
	    (ssize_t)length)
		return error_errno(error, path, "cannot read its end");
	return 0;
}

int pcapindex_seal(struct pcapindex *index, int fd, const char *path, struct error *error)
{
	return read_tail(fd, path, &index->file_bytes, index->tail, error);
}

int pcapindex_belongs(const struct pcapindex *index, int fd, const char *path, struct error *error)
{
	uint8_t tail[PCAPINDEX_TAIL_BYTES];
	uint64_t bytes;
	int status = read_tail(fd, path, &bytes, tail, error);

	if (status != 0)
		return status;
	if (bytes != index->file_bytes)
		return error_damage(error, path, -1, "the index of this capture",
				    "that of one of %" PRIu64 " bytes, not %" PRIu64,
				    index->file_bytes, bytes);
	if (memcmp(tail, index->tail, sizeof(tail)) != 0)
		return error_damage(error, path, -1, "the index of this capture",
				    "that of one with another end");
	return 0;
}

/* --------------------------------------------------------------- writing -- */

struct writer {
	FILE *file;
	uint32_t crc;
	bool failed;
};

static void put_line(struct writer *writer, const char *line)
{
	size_t length = strlen(line);

	writer->crc = (uint32_t)crc32(writer->crc, (const Bytef *)line, (uInt)length);
	writer->failed |= fwrite(line, 1, length, writer->file) != length;
}

static void put_all(const struct pcapindex *index, struct writer *writer)
{
	char tail[TAIL_HEX_SIZE], line[LINE_SIZE];

	put_line(writer, FIRST_LINE);
	for (size_t i = 0; i < index->count; i++) {
		const struct pcapindex_member *member = &index->members[i];

		snprintf(line, sizeof(line),
			 MEMBER "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRId64 "\n",
			 member->offset_bytes, member->content_bytes, member->packet,
			 member->time_ns);
		put_line(writer, line);
	}
	custody_hex(index->tail, sizeof(index->tail), tail);
	snprintf(line, sizeof(line), END "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%s\t",
		 index->file_bytes, index->content_bytes, index->packets, tail);
	put_line(writer, line);
	snprintf(line, sizeof(line), "%08" PRIx32 "\n", writer->crc);
	put_line(writer, line);
}

/* Whether what has the name may go: 0 where it begins as an index does, or nothing has it.
 * cut: also what ends before its first line does, as a crash leaves it. */
static int look_before(int dirfd, const char *name, bool cut, struct error *error)
{
	char line[sizeof(FIRST_LINE) - 1];
	ssize_t length = -1;
	int fd = evidence_open_file(dirfd, name, O_RDONLY | O_NOFOLLOW, name, error);

	if (fd == ERROR_NO_INPUT)
		return 0;
	if (fd < 0 && fd != ERROR_DAMAGED)
		return fd;
	if (fd >= 0) {
		length = pread(fd, line, sizeof(line), 0);
		close(fd);
	}
	if (length >= 0 && (cut || length == (ssize_t)sizeof(line)) &&
	    memcmp(line, FIRST_LINE, (size_t)length) == 0)
		return 0;
	errno = EEXIST;
	return error_errno(error, name,
			   "is no index and stays: move it away to have one in its place");
}

int pcapindex_remove(int dirfd, const char *name, struct error *error)
{
	int status = look_before(dirfd, name, false, error);

	if (status == 0 && unlinkat(dirfd, name, 0) != 0 && errno != ENOENT)
		status = error_errno(error, name, "cannot remove");
	return status;
}

int pcapindex_write(const struct pcapindex *index, int dirfd, const char *name, struct error *error)
{
	char part[NAME_MAX + sizeof(EVIDENCE_PART)];
	struct writer writer = {0};
	int fd, status;

	if ((size_t)snprintf(part, sizeof(part), "%s" EVIDENCE_PART, name) >= sizeof(part))
		return error_set(error, ERROR_LIMIT, name, -1, "too long a name for an index");
	status = look_before(dirfd, name, false, error);
	if (status == 0)
		status = look_before(dirfd, part, true, error);
	if (status != 0)
		return status;
	unlinkat(dirfd, part, 0); /* what a crash left */
	fd = openat(dirfd, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	writer.file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!writer.file) {
		status = error_errno(error, name, "cannot create its .part");
		if (fd >= 0)
			close(fd);
		return status;
	}
	put_all(index, &writer);
	if (fflush(writer.file) != 0 || writer.failed || fsync(fd) != 0)
		status = error_errno(error, name, "cannot write");
	fclose(writer.file);
	if (status == 0 && renameat(dirfd, part, dirfd, name) != 0)
		status = error_errno(error, name, "cannot rename its .part");
	if (status != 0)
		unlinkat(dirfd, part, 0);
	return status;
}

/* --------------------------------------------------------------- reading -- */

struct reader {
	FILE *file;
	const char *path;
	int64_t offset_bytes; /* of line */
	char line[LINE_SIZE];
	size_t length;
	uint32_t crc; /* of what was taken of the lines before */
};

static int bad(const struct reader *reader, const char *wanted, struct error *error)
{
	return error_damage(error, reader->path, reader->offset_bytes, wanted, "something else");
}

/* Adds the line's first bytes to the sum. */
static void sum(struct reader *reader, size_t length)
{
	reader->crc = (uint32_t)crc32(reader->crc, (const Bytef *)reader->line, (uInt)length);
}

static int next_line(struct reader *reader, struct error *error)
{
	sum(reader, reader->length);
	reader->offset_bytes += (int64_t)reader->length;
	if (!fgets(reader->line, sizeof(reader->line), reader->file)) {
		if (ferror(reader->file))
			return error_errno(error, reader->path, "cannot read");
		return bad(reader, "its last line, which begins with \"" END "\"", error);
	}
	reader->length = strlen(reader->line);
	if (reader->length == 0 || reader->line[reader->length - 1] != '\n')
		return bad(reader, "a line", error);
	return 0;
}

/* Cuts a copy of the line at its TABs; how many fields it has. */
static size_t split(const struct reader *reader, char copy[LINE_SIZE], char *fields[MOST_FIELDS])
{
	size_t count = 0;
	char *at = copy;

	memcpy(copy, reader->line, reader->length);
	copy[reader->length - 1] = '\0';
	while (count < MOST_FIELDS) {
		char *tab = strchr(at, '\t');

		fields[count++] = at;
		if (!tab)
			return count;
		*tab = '\0';
		at = tab + 1;
	}
	return MOST_FIELDS + 1;
}

/* Numbers as they are written, and no others. */
static bool take_numbers(char *const *fields, size_t count, uint64_t *out)
{
	for (size_t i = 0; i < count; i++) {
		if ((fields[i][0] == '0' && fields[i][1] != '\0') ||
		    quantity_parse_uint(fields[i], INT64_MAX, &out[i]) != 0)
			return false;
	}
	return true;
}

static bool follows(const struct pcapindex *index, const struct pcapindex_member *member)
{
	const struct pcapindex_member *before;

	if (index->count == 0)
		return member->offset_bytes == 0 && member->content_bytes == 0 &&
		       member->packet == 1;
	before = &index->members[index->count - 1];
	return member->offset_bytes > before->offset_bytes &&
	       member->content_bytes > before->content_bytes && member->packet > before->packet;
}

static int take_member(const struct reader *reader, char *const *fields, size_t count,
		       struct pcapindex *index, struct error *error)
{
	struct pcapindex_member member;
	uint64_t numbers[4];

	if (count != 5 || !take_numbers(fields + 1, 4, numbers) ||
	    numbers[3] > QUANTITY_MAX_TIME_NS)
		return bad(reader, "a member's four numbers", error);
	member = (struct pcapindex_member){numbers[0], numbers[1], numbers[2], (int64_t)numbers[3]};
	if (!follows(index, &member))
		return bad(reader, "a member behind the one before", error);
	return pcapindex_add(index, &member, error);
}

static bool take_tail(const char *text, uint8_t tail[PCAPINDEX_TAIL_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 2 * PCAPINDEX_TAIL_BYTES; i++) {
		const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);

		if (!digit)
			return false;
		tail[i / 2] = (uint8_t)(tail[i / 2] << 4 | (digit - digits));
	}
	return text[2 * PCAPINDEX_TAIL_BYTES] == '\0';
}

static int take_end(struct reader *reader, char *const *fields, size_t count,
		    struct pcapindex *index, struct error *error)
{
	const struct pcapindex_member *last =
		index->count ? &index->members[index->count - 1] : NULL;
	uint64_t numbers[3];
	char crc[16];

	if (count != MOST_FIELDS)
		return bad(reader, "an end of five fields", error);
	sum(reader, reader->length - strlen(fields[5]) - 1);
	snprintf(crc, sizeof(crc), "%08" PRIx32, reader->crc);
	if (!take_numbers(fields + 1, 3, numbers) || !take_tail(fields[4], index->tail) ||
	    strcmp(fields[5], crc) != 0)
		return bad(reader, "sums that agree with the lines before", error);
	index->file_bytes = numbers[0];
	index->content_bytes = numbers[1];
	index->packets = numbers[2];
	if (!last || last->offset_bytes >= index->file_bytes ||
	    last->content_bytes >= index->content_bytes || last->packet > index->packets + 1)
		return bad(reader, "an end behind the last member", error);
	if (fgetc(reader->file) != EOF)
		return bad(reader, "nothing behind the last line", error);
	return 0;
}

static int read_all(struct reader *reader, struct pcapindex *index, struct error *error)
{
	char copy[LINE_SIZE], *fields[MOST_FIELDS];
	int status = next_line(reader, error);

	if (status == 0 && strcmp(reader->line, FIRST_LINE) != 0)
		return bad(reader, "\"pcapwho-index\", version 1", error);
	while (status == 0 && (status = next_line(reader, error)) == 0) {
		size_t count = split(reader, copy, fields);

		if (strcmp(fields[0], END) == 0)
			return take_end(reader, fields, count, index, error);
		if (strcmp(fields[0], MEMBER) != 0)
			return bad(reader, "\"" MEMBER "\" or \"" END "\"", error);
		status = take_member(reader, fields, count, index, error);
	}
	return status;
}

int pcapindex_read(int dirfd, const char *name, struct pcapindex *out, struct error *error)
{
	struct reader reader = {.path = name};
	int fd = evidence_open_file(dirfd, name, O_RDONLY, name, error);
	int status;

	*out = (struct pcapindex){0};
	if (fd < 0)
		return fd;
	reader.file = fdopen(fd, "r");
	if (!reader.file) {
		status = error_errno(error, name, "cannot read");
		close(fd);
		return status;
	}
	status = read_all(&reader, out, error);
	fclose(reader.file);
	if (status != 0)
		pcapindex_release(out);
	return status;
}
