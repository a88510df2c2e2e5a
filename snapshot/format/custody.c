#include "snapshot/format/custody.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "snapshot/format/escape.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/quantity.h"

#define HEX_LENGTH (CUSTODY_HEX_SIZE - 1)
#define FIELDS	   8
#define READ_SIZE  (128u << 10)
/* A line: its detail may hold a whole command line (2 MiB), escaped. */
#define MAX_LINE  (16u << 20)
#define MAX_FIELD (3u << 20) /* so that four of them, escaped, stay below it */
#define PATH_SIZE 512

struct custody {
	int fd;
	pthread_mutex_t lock;
	char path[PATH_SIZE];
	uint64_t sequence; /* of the last line */
	int64_t size;	   /* of all whole lines */
	bool is_torn;	   /* part of a line stands behind them */
	char chain[CUSTODY_HEX_SIZE];
};

/* ---- SHA-256 ---- */

void custody_hex(const uint8_t *bytes, size_t length, char *out)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < length; i++) {
		*out++ = hex[bytes[i] >> 4];
		*out++ = hex[bytes[i] & 15];
	}
	*out = '\0';
}

static bool finish_hash(EVP_MD_CTX *context, char hex[CUSTODY_HEX_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int length;

	if (EVP_DigestFinal_ex(context, digest, &length) != 1 || length * 2 != HEX_LENGTH)
		return false;
	custody_hex(digest, length, hex);
	return true;
}

/* The chain value of a line whose fields before it are <fields, length>. */
static int make_chain(const char *previous, const char *fields, size_t length,
		      char chain[CUSTODY_HEX_SIZE], const char *path, struct error *error)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(context, previous, HEX_LENGTH) == 1 &&
		    EVP_DigestUpdate(context, "\n", 1) == 1 &&
		    EVP_DigestUpdate(context, fields, length) == 1 && finish_hash(context, chain);

	EVP_MD_CTX_free(context);
	return done ? 0 : error_set(error, ERROR_MEMORY, path, -1, "no memory for SHA-256");
}

int custody_hash_descriptor(int fd, const char *path, const volatile sig_atomic_t *stop,
			    char hex[CUSTODY_HEX_SIZE], uint64_t *bytes, struct error *error)
{
	EVP_MD_CTX *context = NULL;
	uint8_t *buffer = NULL;
	uint64_t total = 0;
	ssize_t length;
	int status = 0;

	context = EVP_MD_CTX_new();
	buffer = malloc(READ_SIZE);
	if (!context || !buffer || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
		status = error_set(error, ERROR_MEMORY, path, -1, "no memory for SHA-256");
		goto out;
	}
	while ((length = pread(fd, buffer, READ_SIZE, (off_t)total)) != 0) {
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0) {
			status = error_errno(error, path, "cannot read");
			goto out;
		}
		if (stop != NULL && *stop != 0) {
			status = error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
			goto out;
		}
		if (EVP_DigestUpdate(context, buffer, (size_t)length) != 1)
			break;
		total += (uint64_t)length;
	}
	if (length != 0 || !finish_hash(context, hex)) {
		status = error_set(error, ERROR_MEMORY, path, -1, "SHA-256 failed");
		goto out;
	}
	*bytes = total;
out:
	free(buffer);
	EVP_MD_CTX_free(context);
	return status;
}

int custody_hash_file(int dirfd, const char *name, char hex[CUSTODY_HEX_SIZE], uint64_t *bytes,
		      struct error *error)
{
	int fd = evidence_open_file(dirfd, name, O_RDONLY, name, error), status;

	if (fd < 0)
		return fd;
	status = custody_hash_descriptor(fd, name, NULL, hex, bytes, error);
	close(fd);
	return status;
}

/* ---- reading ---- */

struct line_reader {
	int fd;
	const char *path;
	char *text;
	size_t at, filled, capacity;
	int64_t offset; /* in the file of the line at `at` */
};

static int read_more(struct line_reader *reader, struct error *error)
{
	ssize_t length;

	memmove(reader->text, reader->text + reader->at, reader->filled - reader->at);
	reader->filled -= reader->at;
	reader->at = 0;
	if (reader->capacity - reader->filled < READ_SIZE) {
		size_t capacity = reader->capacity * 2;
		char *text = realloc(reader->text, capacity);
		if (!text)
			return error_set(error, ERROR_MEMORY, reader->path, -1,
					 "no memory to read it");
		reader->text = text;
		reader->capacity = capacity;
	}
	do
		length = read(reader->fd, reader->text + reader->filled, READ_SIZE);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return error_errno(error, reader->path, "cannot read");
	reader->filled += (size_t)length;
	return length > 0;
}

/* The next line without its LF: 1; 0 at the end (*length: of what has no LF there). */
static int next_line(struct line_reader *reader, char **line, size_t *length, struct error *error)
{
	size_t searched = 0;

	for (;;) {
		char *start = reader->text + reader->at;
		size_t there = reader->filled - reader->at;
		const char *lf = memchr(start + searched, '\n', there - searched);

		if (lf) {
			*line = start;
			*length = (size_t)(lf - start);
			reader->at += *length + 1;
			return 1;
		}
		searched = there;
		if (searched > MAX_LINE)
			return error_damage(error, reader->path, reader->offset,
					    "a line of at most 16 MiB", "a longer one");
		int status = read_more(reader, error);
		if (status < 0)
			return status;
		if (status == 0) {
			*length = searched;
			return 0;
		}
	}
}

struct line {
	char *fields[FIELDS];
	size_t lengths[FIELDS];
	size_t chained; /* length of the fields before the chain, with their TABs between */
};

static bool split(char *text, size_t length, struct line *line)
{
	char *at = text, *end = text + length;

	for (int i = 0; i < FIELDS; i++) {
		char *tab = memchr(at, '\t', (size_t)(end - at));

		if ((tab == NULL) != (i == FIELDS - 1))
			return false;
		line->fields[i] = at;
		line->lengths[i] = (size_t)((tab ? tab : end) - at);
		if (tab)
			at = tab + 1;
	}
	line->chained = (size_t)(line->fields[FIELDS - 1] - text) - 1;
	const char *chain = line->fields[FIELDS - 1];
	if (line->lengths[FIELDS - 1] != HEX_LENGTH)
		return false;
	for (size_t i = 0; i < HEX_LENGTH; i++) {
		if (!((chain[i] >= '0' && chain[i] <= '9') || (chain[i] >= 'a' && chain[i] <= 'f')))
			return false;
	}
	return true;
}

/* A field undone in place; NULL for \N. */
static bool take_text(struct line *line, int field, const char **out)
{
	char *text = line->fields[field];
	size_t length = line->lengths[field];
	bool has_nul;

	*out = NULL;
	if (length == 2 && memcmp(text, "\\N", 2) == 0)
		return true;
	ptrdiff_t undone = escape_read(text, length, text, &has_nul);
	if (undone < 0 || has_nul)
		return false;
	text[undone] = '\0';
	*out = text;
	return true;
}

static bool take_time(const char *text, int64_t *out_ns)
{
	char again[QUANTITY_TIME_SIZE];

	return text && quantity_parse_time(text, 0, out_ns) == 0 &&
	       strcmp(quantity_format_time(*out_ns, again, sizeof(again)), text) == 0;
}

/* The fields of a line into an entry; changes the line. */
static bool to_entry(struct line *line, struct custody_entry *entry)
{
	const char *sequence, *time, *bytes;
	uint64_t number = 0;

	if (!take_text(line, 0, &sequence) || !take_text(line, 1, &time) ||
	    !take_text(line, 2, &entry->event) || !take_text(line, 3, &entry->file) ||
	    !take_text(line, 4, &bytes) || !take_text(line, 5, &entry->sha256) ||
	    !take_text(line, 6, &entry->detail))
		return false;
	if (!sequence || quantity_parse_uint(sequence, UINT64_MAX, &entry->sequence) != 0 ||
	    !take_time(time, &entry->time_ns) || !entry->event || !entry->detail ||
	    (bytes && quantity_parse_uint(bytes, INT64_MAX, &number) != 0))
		return false;
	entry->bytes = bytes ? (int64_t)number : -1;
	return true;
}

/* What a walk over the log finds. */
struct walk {
	uint64_t lines, sequence; /* the last whole line's; 0: none */
	char chain[CUSTODY_HEX_SIZE];
	uint64_t broken_line; /* the first; 0: none */
	int64_t broken_offset;
	const char *broken_how;
	int64_t whole_bytes, torn_bytes;
	void (*each)(const struct custody_entry *entry, void *context);
	void *context;
};

static void note_broken(struct walk *walk, int64_t offset, const char *how)
{
	if (walk->broken_line > 0)
		return;
	walk->broken_line = walk->lines;
	walk->broken_offset = offset;
	walk->broken_how = how;
}

static int walk_line(struct walk *walk, char *text, size_t length, int64_t offset, const char *path,
		     struct error *error)
{
	char wanted[CUSTODY_HEX_SIZE], found[CUSTODY_HEX_SIZE];
	struct custody_entry entry;
	struct line line;

	walk->lines++;
	if (!split(text, length, &line)) {
		note_broken(walk, offset, "a line without eight fields that end in a SHA-256");
		return 0;
	}
	int status = make_chain(walk->chain, text, line.chained, wanted, path, error);
	if (status != 0)
		return status;
	memcpy(found, line.fields[FIELDS - 1], HEX_LENGTH);
	found[HEX_LENGTH] = '\0';
	if (strcmp(wanted, found) != 0)
		note_broken(walk, offset, "another chain value than its content gives");
	memcpy(walk->chain, found, sizeof(found));
	if (!to_entry(&line, &entry)) {
		note_broken(walk, offset, "fields that are not an entry's");
		return 0;
	}
	if (entry.sequence != walk->sequence + 1)
		note_broken(walk, offset, "a sequence number that does not follow the one before");
	walk->sequence = entry.sequence;
	if (walk->each)
		walk->each(&entry, walk->context);
	return 0;
}

/* Reads the whole log. 0 also when the chain is broken: *walk says so. */
static int walk_log(int fd, const char *path, struct walk *walk, struct error *error)
{
	struct line_reader reader = {.fd = fd, .path = path, .capacity = 2 * READ_SIZE};
	size_t length = 0;
	char *text = NULL;
	int status;

	memset(walk->chain, '0', HEX_LENGTH);
	walk->chain[HEX_LENGTH] = '\0';
	reader.text = malloc(reader.capacity);
	if (!reader.text)
		return error_set(error, ERROR_MEMORY, path, -1, "no memory to read it");
	while ((status = next_line(&reader, &text, &length, error)) > 0) {
		status = walk_line(walk, text, length, reader.offset, path, error);
		if (status != 0)
			break;
		reader.offset += (int64_t)length + 1;
	}
	if (status == 0) {
		walk->whole_bytes = reader.offset;
		walk->torn_bytes = (int64_t)length;
	}
	free(reader.text);
	return status;
}

/* "DIRECTORY/custody.log" for messages. */
static void join_path(const char *directory, char out[PATH_SIZE])
{
	size_t length = directory ? strlen(directory) : 0;

	/* As in struct error, what is too long loses its left end. */
	const char *kept = length > PATH_SIZE / 2 ? directory + length - PATH_SIZE / 2 : directory;
	if (length == 0)
		snprintf(out, PATH_SIZE, "%s", CUSTODY_LOG);
	else
		snprintf(out, PATH_SIZE, "%s%s%s", kept, directory[length - 1] == '/' ? "" : "/",
			 CUSTODY_LOG);
}

int custody_verify(int dirfd, const char *path,
		   void (*each)(const struct custody_entry *entry, void *context), void *context,
		   char last_chain[CUSTODY_HEX_SIZE], struct error *error)
{
	struct walk walk = {.each = each, .context = context};
	char log_path[PATH_SIZE];
	int fd, status;

	join_path(path, log_path);
	fd = evidence_open_file(dirfd, CUSTODY_LOG, O_RDONLY, log_path, error);
	if (fd < 0)
		return fd;
	status = walk_log(fd, log_path, &walk, error);
	close(fd);
	if (status != 0)
		return status;
	if (walk.broken_line > 0)
		return error_damage(error, log_path, walk.broken_offset, "the unbroken chain",
				    "%s (line %" PRIu64 ")", walk.broken_how, walk.broken_line);
	if (walk.torn_bytes > 0)
		return error_damage(error, log_path, walk.whole_bytes, "a line that ends with LF",
				    "%" PRId64 " bytes of one (line %" PRIu64 ")", walk.torn_bytes,
				    walk.lines + 1);
	if (last_chain)
		memcpy(last_chain, walk.chain, CUSTODY_HEX_SIZE);
	return 0;
}

/* ---- writing ---- */

/* So that a new log is still there after a crash. Not every file system can. */
static void sync_directory(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

/* One writer at a time, or the chain would fork. */
static int lock_log(int fd, const char *path, struct error *error)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(error, ERROR_USAGE, path, -1,
				 "another program is recording into this directory");
	return 0; /* a file system without locks */
}

static int begin(struct custody *custody, int dirfd, uint64_t *repaired_bytes,
		 uint64_t *broken_line, struct error *error)
{
	struct walk walk = {0};
	int status = lock_log(custody->fd, custody->path, error);

	if (status == 0)
		status = walk_log(custody->fd, custody->path, &walk, error);
	if (status != 0)
		return status;
	if (walk.torn_bytes > 0 &&
	    (ftruncate(custody->fd, walk.whole_bytes) != 0 || fsync(custody->fd) != 0))
		return error_errno(error, custody->path, "cannot cut off its torn last line");
	if (walk.lines == 0)
		sync_directory(dirfd);
	custody->sequence = walk.sequence;
	custody->size = walk.whole_bytes;
	memcpy(custody->chain, walk.chain, sizeof(custody->chain));
	*repaired_bytes = (uint64_t)walk.torn_bytes;
	*broken_line = walk.broken_line;
	return 0;
}

int custody_open(int dirfd, const char *path, struct custody **out, uint64_t *repaired_bytes,
		 uint64_t *broken_line, struct error *error)
{
	struct custody *custody = calloc(1, sizeof(*custody));
	int status;

	if (!custody)
		return error_set(error, ERROR_MEMORY, path, -1, "no memory for custody.log");
	join_path(path, custody->path);
	custody->fd = evidence_open_file(
		dirfd, CUSTODY_LOG, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, custody->path, error);
	status = custody->fd < 0 ? custody->fd
				 : begin(custody, dirfd, repaired_bytes, broken_line, error);
	if (status == 0 && pthread_mutex_init(&custody->lock, NULL) != 0)
		status = error_set(error, ERROR_MEMORY, path, -1, "no memory for custody.log");
	if (status != 0) {
		if (custody->fd >= 0)
			close(custody->fd);
		free(custody);
		return status;
	}
	*out = custody;
	return 0;
}

static size_t field_length(const char *text)
{
	size_t length = text ? strlen(text) : 0;

	return length < MAX_FIELD ? length : MAX_FIELD;
}

static char *put_field(char *out, const char *text, char after)
{
	if (text) {
		out += escape_write(text, field_length(text), out);
	} else {
		*out++ = '\\';
		*out++ = 'N';
	}
	*out++ = after;
	return out;
}

/* The whole line with its LF, to be freed by the caller; its chain goes into chain. */
static int make_line(struct custody *custody, const struct custody_entry *entry, char **out,
		     size_t *length, char chain[CUSTODY_HEX_SIZE], struct error *error)
{
	const char *detail = entry->detail ? entry->detail : "";
	char number[32], time[QUANTITY_TIME_SIZE], bytes[32];
	size_t room = field_length(entry->event) + field_length(entry->file) +
		      field_length(entry->sha256) + field_length(detail);
	char *line = malloc(room * ESCAPE_GROWTH + 512);

	if (!line)
		return error_set(error, ERROR_MEMORY, custody->path, -1, "no memory for a line");
	snprintf(number, sizeof(number), "%" PRIu64, custody->sequence + 1);
	snprintf(bytes, sizeof(bytes), "%" PRId64, entry->bytes);
	char *at = put_field(line, number, '\t');
	at = put_field(at, quantity_format_time(entry->time_ns, time, sizeof(time)), '\t');
	at = put_field(at, entry->event, '\t');
	at = put_field(at, entry->file, '\t');
	at = put_field(at, entry->bytes < 0 ? NULL : bytes, '\t');
	at = put_field(at, entry->sha256, '\t');
	at = put_field(at, detail, '\t');
	int status = make_chain(custody->chain, line, (size_t)(at - line) - 1, chain, custody->path,
				error);
	if (status != 0) {
		free(line);
		return status;
	}
	at = put_field(at, chain, '\n');
	*out = line;
	*length = (size_t)(at - line);
	return 0;
}

static int write_synced(struct custody *custody, const char *text, size_t length,
			struct error *error)
{
	if (evidence_write_all(custody->fd, text, length) != 0)
		return error_errno(error, custody->path, "cannot write");
	if (fsync(custody->fd) != 0)
		return error_errno(error, custody->path, "cannot sync");
	return 0;
}

static int append_locked(struct custody *custody, const struct custody_entry *entry,
			 struct error *error)
{
	char chain[CUSTODY_HEX_SIZE], *line = NULL;
	size_t length = 0;
	int status = make_line(custody, entry, &line, &length, chain, error);

	if (status != 0)
		return status;
	if (custody->is_torn && ftruncate(custody->fd, custody->size) != 0) {
		status = error_errno(error, custody->path, "cannot cut off a torn line");
		goto out;
	}
	custody->is_torn = false;
	status = write_synced(custody, line, length, error);
	if (status != 0) {
		/* Where this fails, the next append or the next open does it. */
		custody->is_torn = ftruncate(custody->fd, custody->size) != 0;
		goto out;
	}
	custody->sequence++;
	custody->size += (int64_t)length;
	memcpy(custody->chain, chain, sizeof(chain));
out:
	free(line);
	return status;
}

int custody_append(struct custody *custody, const struct custody_entry *entry, struct error *error)
{
	int status;

	pthread_mutex_lock(&custody->lock);
	status = append_locked(custody, entry, error);
	pthread_mutex_unlock(&custody->lock);
	return status;
}

void custody_close(struct custody *custody)
{
	if (!custody)
		return;
	close(custody->fd);
	pthread_mutex_destroy(&custody->lock);
	free(custody);
}
