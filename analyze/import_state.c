/* The inputs: each file read, hashed, parsed and taken into the state. */
#include "analyze/import_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "analyze/fdlist.h"
#include "analyze/grow.h"
#include "snapshot/format/endpoint.h"
#include "snapshot/format/quantity.h"

/* The content of one input file. */
struct content {
	char *bytes;
	size_t length, capacity;
};

/* Bad rows of one input file. */
struct bad {
	uint64_t rows;
	int64_t first_offset;
};

void import_state_init(struct import_state *state, const struct import_notes *notes)
{
	memset(state, 0, sizeof(*state));
	state->notes = notes;
}

void import_state_release(struct import_state *state)
{
	procnet_rows_release(&state->sockets);
	free(state->holders);
	free(state->pids);
	free(state->addresses);
	free(state->absences);
	for (size_t i = 0; i < state->source_count; i++)
		free(state->sources[i].path);
	free(state->sources);
	memset(state, 0, sizeof(*state));
}

/* Makes room for one more in an array that doubles. */
static int grow(void *array, size_t count, size_t *capacity, size_t size, struct error *error)
{
	if (grow_one(array, count, capacity, size) != 0)
		return error_set(error, ERROR_MEMORY, NULL, -1, "no memory for %zu rows", count);
	return 0;
}

/* Whole file into memory. Works for /proc too, whose files have no size. */
static int read_content(const char *path, struct content *out, struct error *error)
{
	struct content content = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC), status;
	ssize_t got;

	if (fd < 0)
		return error_errno(error, path, "cannot open");
	for (;;) {
		if (content.length == content.capacity) {
			size_t wanted = content.capacity ? content.capacity * 2 : 65536;
			char *larger =
				wanted <= IMPORT_MAX_FILE ? realloc(content.bytes, wanted) : NULL;

			if (wanted > IMPORT_MAX_FILE)
				status = error_set(error, ERROR_LIMIT, path, -1,
						   "larger than %" PRIu64
						   " bytes: not a copy from /proc",
						   IMPORT_MAX_FILE);
			else if (!larger)
				status = error_set(error, ERROR_MEMORY, path, -1,
						   "no memory for its content");
			else
				status = 0;
			if (status)
				goto out;
			content.bytes = larger;
			content.capacity = wanted;
		}
		got = read(fd, content.bytes + content.length, content.capacity - content.length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			status = error_errno(error, path, "cannot read");
			goto out;
		}
		if (!got)
			break;
		content.length += (size_t)got;
	}
	status = 0;
	*out = content;
	content.bytes = NULL;
out:
	free(content.bytes);
	close(fd);
	return status;
}

static int hash_content(const struct content *content, char hex[CUSTODY_HEX_SIZE],
			struct error *error)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	if (!EVP_Digest(content->bytes, content->length, digest, &length, EVP_sha256(), NULL))
		return error_set(error, ERROR_MEMORY, NULL, -1, "SHA-256 failed");
	custody_hex(digest, length, hex);
	return 0;
}

static int add_source(struct import_state *state, const char *path, const struct content *content,
		      const char *what, struct error *error)
{
	struct import_source *source;
	int status = grow(&state->sources, state->source_count, &state->source_capacity,
			  sizeof(*state->sources), error);

	if (status)
		return status;
	source = &state->sources[state->source_count];
	memset(source, 0, sizeof(*source));
	source->bytes = content->length;
	snprintf(source->what, sizeof(source->what), "%s", what);
	status = hash_content(content, source->sha256, error);
	if (status)
		return status;
	source->path = realpath(path, NULL);
	if (!source->path)
		source->path = strdup(path);
	if (!source->path)
		return error_set(error, ERROR_MEMORY, path, -1, "no memory for its name");
	state->source_count++;
	return 0;
}

int import_add_absence(struct import_state *state, enum snap_op op, const char *what, uint32_t pid,
		       const char *subject, const char *reason, struct error *error)
{
	struct import_absence *absence;
	int status = grow(&state->absences, state->absence_count, &state->absence_capacity,
			  sizeof(*state->absences), error);

	if (status || !state->absences)
		return status;
	absence = &state->absences[state->absence_count++];
	memset(absence, 0, sizeof(*absence));
	absence->op = op;
	absence->what = what;
	absence->pid = pid;
	snprintf(absence->subject, sizeof(absence->subject), "%s", subject);
	snprintf(absence->reason, sizeof(absence->reason), "%s", reason);
	return 0;
}

static void note(const struct import_state *state, const struct error *error)
{
	if (state->notes)
		state->notes->note(state->notes->context, error);
}

static void bad_row(struct import_state *state, struct bad *bad, const struct error *row)
{
	if (!bad->rows)
		bad->first_offset = row->offset_bytes;
	bad->rows++;
	state->bad_rows++;
	if (bad->rows <= IMPORT_NAMED_ROWS)
		note(state, row);
}

/* Remembers that rows of a file are missing. */
static int bad_rows_end(struct import_state *state, const struct bad *bad, const char *path,
			const char *what, const char *subject, struct error *error)
{
	struct error more = ERROR_NONE;
	char reason[100];

	if (!bad->rows)
		return 0;
	if (bad->rows > IMPORT_NAMED_ROWS) {
		error_set(&more, ERROR_DAMAGED, path, -1, "%" PRIu64 " more bad rows skipped",
			  bad->rows - IMPORT_NAMED_ROWS);
		note(state, &more);
	}
	snprintf(reason, sizeof(reason), "%" PRIu64 " bad rows skipped, the first at byte %" PRId64,
		 bad->rows, bad->first_offset);
	return import_add_absence(state, SNAP_ONCE, what, 0, subject, reason, error);
}

/* The heading line of a table, or NULL: its first line, if it starts with a word. */
static const char *heading(const struct content *content, size_t *length)
{
	size_t begin = 0;
	const char *end;

	while (begin < content->length && strchr(" \t", content->bytes[begin]) &&
	       content->bytes[begin])
		begin++;
	if (content->length - begin < 3 || memcmp(content->bytes + begin, "s", 1) ||
	    !strchr("lk", content->bytes[begin + 1]) || !content->bytes[begin + 1])
		return NULL;
	end = memchr(content->bytes + begin, '\n', content->length - begin);
	*length = end ? (size_t)(end - content->bytes) - begin : content->length - begin;
	return content->bytes + begin;
}

/* Tables look alike, and a mix-up would give packets of one protocol to
 * sockets of another. Only headings of datagram tables have a "drops" column,
 * only "sk" heads the packet table, and only TCP has states but 1 and 7. */
static int check_kind(const struct import_state *state, size_t from, enum snap_table table,
		      const char *path, const struct content *content, uint64_t bad_rows,
		      struct error *error)
{
	size_t length = 0;
	const char *head = heading(content, &length);
	bool other = head && (head[1] == 'k') != (table == SNAP_PACKET);
	bool has_rows = state->sockets.count > from;

	if (head && snap_table_protocol(table) == IPPROTO_TCP && memmem(head, length, "drops", 5))
		other = true;
	if (table != SNAP_PACKET && snap_table_protocol(table) != IPPROTO_TCP)
		for (size_t i = from; i < state->sockets.count && !other; i++)
			other = state->sockets.rows[i].state != SNAP_ESTABLISHED &&
				state->sockets.rows[i].state != SNAP_CLOSE;
	if (other || (!has_rows && (!head || bad_rows)))
		return error_damage(error, path, 0,
				    "a copy of the /proc/net table that the option names",
				    "%s, where %s was announced",
				    !content->length ? "an empty file"
				    : other	     ? "a table of another kind"
						     : "no good row",
				    snap_table_name(table));
	return 0;
}

/* The parser was given one line: its offset and line number become those in
 * the file. */
static void place_row(struct error *row, const char *path, size_t offset, uint64_t line)
{
	static const char only_line[] = "line 1";
	size_t length = strlen(row->message), tail = sizeof(only_line) - 1;
	char message[sizeof(row->message)];

	memcpy(message, row->message, length + 1);
	if (row->offset_bytes > 0)
		offset += (size_t)row->offset_bytes;
	if (length >= tail && !strcmp(message + length - tail, only_line))
		error_set(row, ERROR_DAMAGED, path, (int64_t)offset, "%.*s%" PRIu64,
			  (int)(length - 1), message, line);
	else
		error_set(row, ERROR_DAMAGED, path, (int64_t)offset, "%s in line %" PRIu64, message,
			  line);
}

/* Row by row, so that each bad one can be named. */
static int parse_rows(struct import_state *state, enum snap_table table, bool big_endian,
		      const char *path, const struct content *content, struct bad *bad,
		      struct error *error)
{
	size_t offset = 0;

	for (uint64_t line = 1; offset < content->length; line++) {
		const char *text = content->bytes + offset;
		const char *end = memchr(text, '\n', content->length - offset);
		size_t length = end ? (size_t)(end - text) + 1 : content->length - offset;
		uint64_t bad_rows = 0;
		struct error row = ERROR_NONE;
		int status = procnet_text_parse(table, big_endian, IMPORT_NETNS, path, text, length,
						&state->sockets, &bad_rows, &row);

		if (status)
			return error_set(error, ERROR_MEMORY, path, (int64_t)offset,
					 "no memory for its rows");
		if (bad_rows) {
			place_row(&row, path, offset, line);
			bad_row(state, bad, &row);
		}
		offset += length;
	}
	return 0;
}

int import_state_table(struct import_state *state, enum snap_table table, bool big_endian,
		       const char *path, struct error *error)
{
	size_t from = state->sockets.count;
	struct content content = {0};
	struct bad bad = {0};
	char what[100];
	int status;

	if (state->tables_given[table])
		return error_set(error, ERROR_USAGE, path, -1,
				 "a second %s table: a snapshot has one of each",
				 snap_table_name(table));
	status = read_content(path, &content, error);
	if (status)
		return status;
	status = parse_rows(state, table, big_endian, path, &content, &bad, error);
	if (status)
		goto out;
	status = check_kind(state, from, table, path, &content, bad.rows, error);
	if (status)
		goto out;
	snprintf(what, sizeof(what), "%s table, %zu rows, %" PRIu64 " bad", snap_table_name(table),
		 state->sockets.count - from, bad.rows);
	procnet_rows_sort(&state->sockets, from);
	state->tables_given[table] = true;
	status = bad_rows_end(state, &bad, path, "table", snap_table_name(table), error);
	if (!status)
		status = add_source(state, path, &content, what, error);
out:
	free(content.bytes);
	return status;
}

static int add_pid(struct import_state *state, uint32_t pid, struct error *error)
{
	int status;

	/* Rows of one process stand together; the rest is dropped by the sort. */
	if (!pid || (state->pid_count && state->pids[state->pid_count - 1] == pid))
		return 0;
	status = grow(&state->pids, state->pid_count, &state->pid_capacity, sizeof(*state->pids),
		      error);
	if (!status)
		state->pids[state->pid_count++] = pid;
	return status;
}

static int take_descriptor(struct import_state *state, const struct fdlist_row *row,
			   struct error *error)
{
	int status = add_pid(state, row->pid, error);

	if (status)
		return status;
	if (row->kind == FDLIST_UNREADABLE) {
		const struct import_absence *last =
			state->absence_count ? &state->absences[state->absence_count - 1] : NULL;

		if (last && !strcmp(last->what, "descriptors") && last->pid == row->pid)
			return 0;
		return import_add_absence(state, SNAP_ADD, "descriptors", row->pid, "",
					  "unreadable", error);
	}
	if (row->kind != FDLIST_SOCKET)
		return 0;
	status = grow(&state->holders, state->holder_count, &state->holder_capacity,
		      sizeof(*state->holders), error);
	if (!status)
		state->holders[state->holder_count++] = (struct snap_holder){
			.inode = row->inode, .pid = row->pid, .tid = row->tid, .fd = row->fd};
	return status;
}

static int parse_listing(struct import_state *state, struct fdlist *list, struct bad *bad,
			 struct error *error)
{
	struct error row_error = ERROR_NONE;
	struct fdlist_row row;
	int status;

	while ((status = fdlist_next(list, &row, &row_error))) {
		if (status == ERROR_DAMAGED) {
			bad_row(state, bad, &row_error);
			continue;
		}
		if (status < 0) {
			*error = row_error;
			return status;
		}
		status = take_descriptor(state, &row, error);
		if (status)
			return status;
	}
	if (!list->recognised)
		return error_damage(error, list->path, 0,
				    "a listing of /proc/PID/fd (\"ls -l /proc/PID/fd\")",
				    list->length_bytes ? "no row of one" : "an empty file");
	return 0;
}

int import_state_listing(struct import_state *state, const char *path, uint32_t pid,
			 struct error *error)
{
	size_t holders = state->holder_count;
	struct content content = {0};
	struct fdlist *list = NULL;
	struct bad bad = {0};
	char what[120];
	int status;

	if (!pid && fdlist_pid_from_name(path, &pid))
		pid = 0;
	status = read_content(path, &content, error);
	if (status)
		return status;
	list = malloc(sizeof(*list));
	if (!list) {
		status = error_set(error, ERROR_MEMORY, path, -1, "no memory to read it");
		goto out;
	}
	fdlist_init(list, path, content.bytes, content.length, pid);
	status = parse_listing(state, list, &bad, error);
	if (!status)
		status = bad_rows_end(state, &bad, path, "descriptors", basename(path), error);
	if (status)
		goto out;
	snprintf(what, sizeof(what), "descriptors, %zu sockets, %" PRIu64 " bad rows, %s %" PRIu32,
		 state->holder_count - holders, bad.rows,
		 pid ? "where not headed of process" : "headings say the process; no other", pid);
	status = add_source(state, path, &content, what, error);
out:
	free(list);
	free(content.bytes);
	return status;
}

int import_add_address(struct import_state *state, const struct endpoint_address *address,
		       uint8_t prefix_length, struct error *error)
{
	int status = grow(&state->addresses, state->address_count, &state->address_capacity,
			  sizeof(*state->addresses), error);

	if (!status)
		state->addresses[state->address_count++] = (struct snap_address){
			.netns = IMPORT_NETNS, .address = *address, .prefix_length = prefix_length};
	return status;
}

int import_state_address(struct import_state *state, const char *text, struct error *error)
{
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	struct endpoint_address address;
	char host[ENDPOINT_TEXT_SIZE];
	uint64_t prefix, longest;

	if (length < sizeof(host)) {
		memcpy(host, text, length);
		host[length] = '\0';
	}
	if (length >= sizeof(host) || endpoint_parse(host, &address) || endpoint_is_any(&address))
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "--address: wanted an address of the host such as 192.0.2.1 or "
				 "2001:db8::1/64, found \"%s\"",
				 text);
	longest = endpoint_is_ipv4(&address) ? 32 : 128;
	prefix = longest;
	if (slash && quantity_parse_uint(slash + 1, longest, &prefix))
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "--address: wanted a prefix length of 0 to %" PRIu64
				 ", found \"%s\"",
				 longest, slash + 1);
	return import_add_address(state, &address, (uint8_t)prefix, error);
}
