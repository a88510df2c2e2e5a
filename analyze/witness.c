#include "analyze/witness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "analyze/arguments.h"
#include "snapshot/format/escape.h"
#include "snapshot/format/evidence.h"

#define READ_BYTES (256u << 10)

const char *witness_kind(enum snap_type type)
{
	switch (type) {
	case SNAP_TYPE_FRAME:
		return "frame";
	case SNAP_TYPE_SOCKET:
		return "socket";
	case SNAP_TYPE_HOLDER:
		return "holder";
	case SNAP_TYPE_PROCESS:
		return "process";
	case SNAP_TYPE_USE:
		return "use";
	case SNAP_TYPE_BORN:
		return "born";
	case SNAP_TYPE_EXEC:
		return "exec";
	default:
		return "record";
	}
}

static bool same_start(const struct witness *w, uint64_t start_ticks)
{
	return start_ticks == w->start_ticks || start_ticks == w->start_ticks + 1;
}

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && endpoint_equal(&a->address, &b->address);
}

static bool is_wanted(const struct witness *w, const struct snap_record *r)
{
	switch (w->type) {
	case SNAP_TYPE_FRAME:
		return true;
	case SNAP_TYPE_SOCKET:
		return r->u.socket.inode == w->inode && r->u.socket.netns == w->netns &&
		       r->u.socket.table == w->table &&
		       same_endpoint(&r->u.socket.local, &w->local) &&
		       same_endpoint(&r->u.socket.remote, &w->remote);
	case SNAP_TYPE_HOLDER:
		return r->u.holder.inode == w->inode && r->u.holder.pid == w->pid &&
		       r->u.holder.fd == w->fd && same_start(w, r->u.holder.start_ticks);
	case SNAP_TYPE_PROCESS:
		return r->u.process.pid == w->pid && same_start(w, r->u.process.start_ticks);
	case SNAP_TYPE_USE:
		return r->u.use.pid == w->pid && r->u.use.at_ns == w->at_ns &&
		       same_start(w, r->u.use.start_ticks);
	case SNAP_TYPE_BORN:
		return r->u.born.pid == w->pid && same_start(w, r->u.born.start_ticks);
	case SNAP_TYPE_EXEC:
		return r->u.exec.pid == w->pid && r->u.exec.exec_ns == w->at_ns &&
		       same_start(w, r->u.exec.start_ticks);
	default:
		return false;
	}
}

static bool same_text(const char *stored, const char *read)
{
	return stored == NULL || read == NULL ? stored == read : escape_is_stored(stored, read);
}

static bool same_program(const struct witness *w, const struct snap_process *process)
{
	char *cmdline = arguments_join(process->cmdline, process->cmdline_length);
	bool same = same_text(w->comm, process->comm) && same_text(w->exe, process->exe) &&
		    same_text(w->cmdline, cmdline);

	free(cmdline);
	return same;
}

/* The first record stands, unless its frame has the expected program too: a frame may tell of
 * both sides of an exec. */
static bool is_settled(const struct witness *w, uint64_t sequence)
{
	return w->line != 0 &&
	       (w->type != SNAP_TYPE_PROCESS || w->same_program || w->in_frame != sequence);
}

static void note(struct witness *w, const struct snap_record *r, uint64_t sequence)
{
	bool same = false;

	if (r->type != w->type || is_settled(w, sequence) ||
	    (w->sequence != 0 && w->sequence != sequence) || r->op == SNAP_GONE || !is_wanted(w, r))
		return;
	if (w->type == SNAP_TYPE_PROCESS)
		same = same_program(w, &r->u.process);
	if (!same && (w->only_program || w->line != 0))
		return;
	w->same_program = same;
	w->line = r->line;
	w->in_frame = sequence;
	if (w->type == SNAP_TYPE_SOCKET)
		w->uid = r->u.socket.uid;
	if (w->type == SNAP_TYPE_PROCESS) {
		w->uid = r->u.process.uid;
		w->ppid = r->u.process.ppid;
	}
	if (w->type == SNAP_TYPE_BORN)
		w->ppid = r->u.born.ppid;
}

/* ---------------------------------------------------- lines as they stand -- */

struct line {
	struct witness *witness;
};

struct lines {
	struct line *by_line; /* in order of line */
	size_t count, next;
	uint64_t line, offset_bytes;
	bool failed;
};

/* The part <bytes, length> of the line in hand, for all that want it. */
static void take_part(struct lines *l, const char *bytes, size_t length, bool first)
{
	for (size_t i = l->next; i < l->count && l->by_line[i].witness->line == l->line; i++) {
		struct witness *w = l->by_line[i].witness;
		size_t room = w->length < WITNESS_TEXT_BYTES ? WITNESS_TEXT_BYTES - w->length : 0;
		size_t taken = length < room ? length : room;
		char *text = realloc(w->text, w->length + taken + 1);

		if (text == NULL) {
			l->failed = true;
			return;
		}
		if (first)
			w->offset_bytes = l->offset_bytes;
		memcpy(text + (w->length < WITNESS_TEXT_BYTES ? w->length : WITNESS_TEXT_BYTES),
		       bytes, taken);
		w->text = text;
		w->length += length;
		text[w->length < WITNESS_TEXT_BYTES ? w->length : WITNESS_TEXT_BYTES] = '\0';
	}
}

static void take_block(struct lines *l, const char *bytes, size_t length, bool *begun)
{
	while (length > 0 && l->next < l->count && !l->failed) {
		const char *end = memchr(bytes, '\n', length);
		size_t part = end == NULL ? length : (size_t)(end - bytes);

		take_part(l, bytes, part, !*begun);
		*begun = end == NULL;
		l->offset_bytes += part + (end != NULL);
		bytes += part + (end != NULL);
		length -= part + (end != NULL);
		if (end == NULL)
			continue;
		while (l->next < l->count && l->by_line[l->next].witness->line == l->line)
			l->next++;
		l->line++;
	}
}

static int compare_lines(const void *a, const void *b)
{
	const struct line *p = a, *q = b;

	return (p->witness->line > q->witness->line) - (p->witness->line < q->witness->line);
}

static int read_lines(int dirfd, const char *name, struct lines *l, struct error *error)
{
	int fd = evidence_open_file(dirfd, name, O_RDONLY, name, error), got = 0;
	int status = fd < 0 ? fd : 0;
	gzFile in = fd < 0 ? NULL : gzdopen(fd, "rb");
	char *buffer = malloc(READ_BYTES);
	bool begun = false;

	if (fd >= 0 && (in == NULL || buffer == NULL))
		status = error_set(error, ERROR_MEMORY, name, -1, "out of memory");
	if (fd >= 0 && in == NULL)
		close(fd);
	while (status == 0 && l->next < l->count && !l->failed &&
	       (got = gzread(in, buffer, READ_BYTES)) > 0)
		take_block(l, buffer, (size_t)got, &begun);
	if (status == 0 && l->failed)
		status = error_set(error, ERROR_MEMORY, name, -1, "out of memory");
	if (in != NULL)
		gzclose(in);
	free(buffer);
	return status;
}

static int read_texts(int dirfd, const char *name, struct witness *wanted, size_t count,
		      struct error *error)
{
	struct lines l = {.by_line = malloc((count + 1) * sizeof(*l.by_line)), .line = 1};
	int status;

	if (l.by_line == NULL)
		return error_set(error, ERROR_MEMORY, name, -1, "out of memory");
	for (size_t i = 0; i < count; i++) {
		if (wanted[i].line != 0)
			l.by_line[l.count++].witness = &wanted[i];
	}
	qsort(l.by_line, l.count, sizeof(*l.by_line), compare_lines);
	status = read_lines(dirfd, name, &l, error);
	free(l.by_line);
	return status;
}

int witness_read(int dirfd, const char *name, struct witness *wanted, size_t count,
		 struct error *error)
{
	struct snapfile_reader *reader = NULL;
	struct snap_record record;
	uint64_t sequence = 0;
	int status = snapfile_open(dirfd, name, &reader, error), texts;

	if (status != 0)
		return status;
	while ((status = snapfile_next(reader, &record, error)) == 1) {
		if (record.type == SNAP_TYPE_FRAME)
			sequence = record.u.frame.sequence;
		for (size_t i = 0; i < count && record.type != SNAP_TYPE_META; i++)
			note(&wanted[i], &record, sequence);
	}
	snapfile_close(reader);
	if (status < 0 && status != ERROR_DAMAGED)
		return status;
	texts = read_texts(dirfd, name, wanted, count, status == 0 ? error : NULL);
	return texts != 0 ? texts : status;
}

void witness_release(struct witness *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(wanted[i].text);
		wanted[i].text = NULL;
	}
}
