#include "analyze/witness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "analyze/arguments.h"
#include "analyze/hashindex.h"
#include "analyze/walk.h"
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

/* ------------------------------------------------------------- what is sought -- */

/* What a record must have to be taken. Compared byte by byte: nothing between the fields. */
struct key {
	uint64_t sequence, netns, start_ticks;
	int64_t at_ns;
	uint32_t type, table, inode, pid, fd, ports;
	uint8_t addresses[2][16];
	uint64_t program; /* its hash, where the program is wanted; 0: any */
};

/* A record that one wants, or many. */
struct sought {
	struct key key;
	const struct witness *by; /* the first that wants it: its program is the one wanted */
	bool programs;		  /* some of these keys with a program are sought too */
	uint64_t line, in_frame;
	uint32_t uid, ppid;
};

struct search {
	struct sought *items; /* room for two of each that is wanted */
	uint32_t count;
	struct hashindex index;
	struct sought **any, **program; /* of each that is wanted; NULL: not sought */
};

/* A program as a database has it. */
struct program {
	char *comm, *exe, *cmdline; /* heap; NULL: not known */
	uint64_t hash;		    /* 0: not made yet */
	bool failed;
};

static uint64_t hash_of(const void *context, uint32_t place)
{
	const struct search *search = context;

	return hashindex_keyed(&search->items[place].key, sizeof(struct key));
}

static struct sought *find(const struct search *search, const struct key *key)
{
	uint64_t hash = hashindex_keyed(key, sizeof(*key));
	uint32_t probe = (uint32_t)hash, place;

	do {
		walk_step();
		place = hashindex_next(&search->index, hash, &probe);
	} while (place != HASHINDEX_NONE &&
		 memcmp(&search->items[place].key, key, sizeof(*key)) != 0);
	return place == HASHINDEX_NONE ? NULL : &search->items[place];
}

static struct sought *seek(struct search *search, const struct key *key, const struct witness *w)
{
	struct sought *known = find(search, key);

	if (known != NULL)
		return known;
	search->items[search->count] = (struct sought){.key = *key, .by = w};
	if (hashindex_add(&search->index, hashindex_keyed(key, sizeof(*key)), search->count,
			  hash_of, search) != 0)
		return NULL;
	return &search->items[search->count++];
}

static uint64_t hash_program(const char *comm, const char *exe, const char *cmdline)
{
	const char *all[] = {comm, exe, cmdline};
	uint64_t hash[3];

	for (int i = 0; i < 3; i++)
		hash[i] = all[i] == NULL ? 0 : hashindex_keyed(all[i], strlen(all[i]));
	return hashindex_keyed(hash, sizeof(hash)) | 1;
}

static void put_ends(struct key *key, const struct endpoint *local, const struct endpoint *remote)
{
	memcpy(key->addresses[0], local->address.bytes, 16);
	memcpy(key->addresses[1], remote->address.bytes, 16);
	key->ports = (uint32_t)local->port << 16 | remote->port;
}

static struct key key_of_wanted(const struct witness *w)
{
	struct key key = {.sequence = w->sequence, .type = (uint32_t)w->type};

	switch (w->type) {
	case SNAP_TYPE_SOCKET:
		key.netns = w->netns;
		key.table = (uint32_t)w->table;
		key.inode = w->inode;
		put_ends(&key, &w->local, &w->remote);
		break;
	case SNAP_TYPE_HOLDER:
		key.inode = w->inode;
		key.fd = w->fd;
		break;
	case SNAP_TYPE_USE:
	case SNAP_TYPE_EXEC:
		key.at_ns = w->at_ns;
		break;
	default:
		break;
	}
	if (w->type != SNAP_TYPE_SOCKET && w->type != SNAP_TYPE_FRAME) {
		key.pid = w->pid;
		key.start_ticks = w->start_ticks;
	}
	return key;
}

/* False: no such record is ever wanted. */
static bool key_of_record(const struct snap_record *r, uint64_t sequence, struct key *key)
{
	*key = (struct key){.sequence = sequence, .type = (uint32_t)r->type};
	switch (r->type) {
	case SNAP_TYPE_FRAME:
		return true;
	case SNAP_TYPE_SOCKET:
		key->netns = r->u.socket.netns;
		key->table = (uint32_t)r->u.socket.table;
		key->inode = r->u.socket.inode;
		put_ends(key, &r->u.socket.local, &r->u.socket.remote);
		return true;
	case SNAP_TYPE_HOLDER:
		key->inode = r->u.holder.inode;
		key->pid = r->u.holder.pid;
		key->start_ticks = r->u.holder.start_ticks;
		key->fd = r->u.holder.fd;
		return true;
	case SNAP_TYPE_PROCESS:
		key->pid = r->u.process.pid;
		key->start_ticks = r->u.process.start_ticks;
		return true;
	case SNAP_TYPE_USE:
		key->pid = r->u.use.pid;
		key->start_ticks = r->u.use.start_ticks;
		key->at_ns = r->u.use.at_ns;
		return true;
	case SNAP_TYPE_BORN:
		key->pid = r->u.born.pid;
		key->start_ticks = r->u.born.start_ticks;
		return true;
	case SNAP_TYPE_EXEC:
		key->pid = r->u.exec.pid;
		key->start_ticks = r->u.exec.start_ticks;
		key->at_ns = r->u.exec.exec_ns;
		return true;
	default:
		return false;
	}
}

/* ------------------------------------------------------------------- records -- */

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static char *stored(const char *read, struct program *program)
{
	char *text = read == NULL ? NULL : escape_stored(read);

	program->failed = program->failed || (read != NULL && text == NULL);
	return text;
}

static void make_program(const struct snap_process *process, struct program *program)
{
	char *cmdline = arguments_join(process->cmdline, process->cmdline_length);

	if (program->hash != 0) {
		free(cmdline);
		return;
	}
	program->failed = process->cmdline != NULL && cmdline == NULL;
	program->comm = stored(process->comm, program);
	program->exe = stored(process->exe, program);
	program->cmdline = stored(cmdline, program);
	program->hash = hash_program(program->comm, program->exe, program->cmdline);
	free(cmdline);
}

static void take(struct sought *sought, const struct snap_record *r, uint64_t sequence)
{
	if (sought->line != 0)
		return;
	sought->line = r->line;
	sought->in_frame = sequence;
	if (r->type == SNAP_TYPE_SOCKET)
		sought->uid = r->u.socket.uid;
	if (r->type == SNAP_TYPE_PROCESS) {
		sought->uid = r->u.process.uid;
		sought->ppid = r->u.process.ppid;
	}
	if (r->type == SNAP_TYPE_BORN)
		sought->ppid = r->u.born.ppid;
}

static void note_key(const struct search *search, struct key *key, const struct snap_record *r,
		     uint64_t sequence, struct program *program)
{
	struct sought *sought = find(search, key);

	if (sought == NULL)
		return;
	take(sought, r, sequence);
	if (!sought->programs)
		return;
	make_program(&r->u.process, program);
	key->program = program->hash;
	sought = find(search, key);
	if (sought != NULL && !program->failed && same_text(sought->by->comm, program->comm) &&
	    same_text(sought->by->exe, program->exe) &&
	    same_text(sought->by->cmdline, program->cmdline))
		take(sought, r, sequence);
	key->program = 0;
}

static int note(const struct search *search, const struct snap_record *r, uint64_t sequence)
{
	struct program program = {0};
	struct key key;
	unsigned lowest;

	if (r->op == SNAP_GONE || !key_of_record(r, sequence, &key))
		return 0;
	/* A start that was told may be one higher than the one that was read. */
	lowest = key.start_ticks > 0 ? 1 : 0;
	for (unsigned lower = 0; lower <= lowest; lower++) {
		key.start_ticks -= lower;
		key.sequence = sequence;
		note_key(search, &key, r, sequence, &program);
		key.sequence = 0;
		note_key(search, &key, r, sequence, &program);
	}
	free(program.comm);
	free(program.exe);
	free(program.cmdline);
	return program.failed ? -1 : 0;
}

/* The first record stands, unless its frame has the expected program too: a frame may tell of
 * both sides of an exec. */
static void settle(const struct search *search, struct witness *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct sought *any = search->any[i], *program = search->program[i];
		struct witness *w = &wanted[i];

		w->same_program = program != NULL && program->line != 0 &&
				  (w->only_program || program->in_frame == any->in_frame);
		if (!w->same_program && w->only_program)
			continue;
		if (w->same_program)
			any = program;
		w->line = any->line;
		w->in_frame = any->in_frame;
		w->uid = any->uid;
		w->ppid = any->ppid;
	}
}

static int begin_search(struct search *search, const struct witness *wanted, size_t count)
{
	*search = (struct search){
		.items = calloc(2 * count + 1, sizeof(*search->items)),
		.any = calloc(count + 1, sizeof(struct sought *)),
		.program = calloc(count + 1, sizeof(struct sought *)),
	};
	if (search->items == NULL || search->any == NULL || search->program == NULL ||
	    count > UINT32_MAX / 2)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const struct witness *w = &wanted[i];
		struct key key = key_of_wanted(w);

		search->any[i] = seek(search, &key, w);
		if (search->any[i] == NULL)
			return -1;
		if (w->type != SNAP_TYPE_PROCESS)
			continue;
		search->any[i]->programs = true;
		key.program = hash_program(w->comm, w->exe, w->cmdline);
		search->program[i] = seek(search, &key, w);
		if (search->program[i] == NULL)
			return -1;
	}
	return 0;
}

static void end_search(struct search *search)
{
	free(search->items);
	free(search->any);
	free(search->program);
	hashindex_release(&search->index);
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

/* Of several that want one line, the first has the text. */
static int read_texts(int dirfd, const char *name, struct witness *wanted, size_t count,
		      struct error *error)
{
	struct lines l = {.line = 1};
	struct line *all = malloc((count + 1) * sizeof(*all));
	size_t found = 0;
	int status;

	l.by_line = malloc((count + 1) * sizeof(*l.by_line));
	if (all == NULL || l.by_line == NULL) {
		free(all);
		free(l.by_line);
		return error_set(error, ERROR_MEMORY, name, -1, "out of memory");
	}
	for (size_t i = 0; i < count; i++) {
		if (wanted[i].line != 0)
			all[found++].witness = &wanted[i];
	}
	qsort(all, found, sizeof(*all), compare_lines);
	for (size_t i = 0; i < found; i++) {
		if (i == 0 || all[i].witness->line != all[i - 1].witness->line)
			l.by_line[l.count++] = all[i];
	}
	status = read_lines(dirfd, name, &l, error);
	for (size_t i = 1; i < found; i++) {
		const struct witness *before = all[i - 1].witness;

		if (all[i].witness->line != before->line)
			continue;
		all[i].witness->text = before->text;
		all[i].witness->length = before->length;
		all[i].witness->offset_bytes = before->offset_bytes;
		all[i].witness->text_is_shared = true;
	}
	free(all);
	free(l.by_line);
	return status;
}

static int read_records(struct snapfile_reader *reader, const struct search *search,
			const char *name, struct error *error)
{
	struct snap_record record;
	uint64_t sequence = 0;
	int status;

	while ((status = snapfile_next(reader, &record, error)) == 1) {
		if (record.type == SNAP_TYPE_FRAME)
			sequence = record.u.frame.sequence;
		if (record.type != SNAP_TYPE_META && note(search, &record, sequence) != 0)
			return error_set(error, ERROR_MEMORY, name, -1, "out of memory");
	}
	return status;
}

int witness_read(int dirfd, const char *name, struct witness *wanted, size_t count,
		 struct error *error)
{
	struct snapfile_reader *reader = NULL;
	struct search search;
	int status = begin_search(&search, wanted, count), texts;

	if (status != 0)
		status = error_set(error, ERROR_MEMORY, name, -1, "out of memory");
	else
		status = snapfile_open(dirfd, name, &reader, error);
	if (status == 0) {
		status = read_records(reader, &search, name, error);
		snapfile_close(reader);
		settle(&search, wanted, count);
		if (status == 0 || status == ERROR_DAMAGED) {
			texts = read_texts(dirfd, name, wanted, count, status == 0 ? error : NULL);
			status = texts != 0 ? texts : status;
		}
	}
	end_search(&search);
	return status;
}

void witness_release(struct witness *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!wanted[i].text_is_shared)
			free(wanted[i].text);
		wanted[i].text = NULL;
	}
}
