#include "analyze/fdlist.h"

#include <string.h>

#define FDLIST_WANTED "a row of a listing of /proc/PID/fd (\"… FD -> TARGET\")"
#define FDLIST_SHOWN  60 /* bytes of a bad line that a message quotes */

/* Part of the line at hand. */
struct slice {
	const char *text;
	size_t length;
};

/* What a path says about the descriptor table that it names. */
enum owner {
	OWNER_NONE,	/* not a descriptor table */
	OWNER_KNOWN,	/* /proc/PID/fd, /proc/PID/task/TID/fd */
	OWNER_RELATIVE, /* "fd", ".": the process is not in the path */
	OWNER_OTHER,	/* /proc/self/fd: the process that made the listing */
};

void fdlist_init(struct fdlist *list, const char *path, const void *bytes, size_t length,
		 uint32_t hint)
{
	memset(list, 0, sizeof(*list));
	list->path = path;
	list->bytes = bytes;
	list->length_bytes = length;
	list->hint = hint;
	list->fresh = true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool slice_is(struct slice slice, const char *text)
{
	return slice.length == strlen(text) && !memcmp(slice.text, text, slice.length);
}

static bool slice_starts(struct slice slice, const char *text)
{
	size_t length = strlen(text);

	return slice.length >= length && !memcmp(slice.text, text, length);
}

/* The whole slice as a decimal number of at most max. */
static bool slice_number(struct slice slice, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (!slice.length || slice.length > 20)
		return false;
	for (size_t i = 0; i < slice.length; i++) {
		if (!is_digit(slice.text[i]))
			return false;
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(slice.text[i] - '0');
	}
	if (value > max)
		return false;
	*out = value;
	return true;
}

/* ls quotes names on a terminal ('socket:[1]') and with -Q ("socket:[1]"). */
static struct slice unquoted(struct slice slice)
{
	if (slice.length >= 2 && (slice.text[0] == '\'' || slice.text[0] == '"') &&
	    slice.text[slice.length - 1] == slice.text[0])
		return (struct slice){slice.text + 1, slice.length - 2};
	return slice;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts the first word off *rest; an empty slice at the end. */
static struct slice first_word(struct slice *rest)
{
	struct slice word;

	while (rest->length && is_blank(*rest->text)) {
		rest->text++;
		rest->length--;
	}
	word = (struct slice){rest->text, 0};
	while (rest->length && !is_blank(*rest->text)) {
		rest->text++;
		rest->length--;
		word.length++;
	}
	return word;
}

static struct slice last_word(struct slice text)
{
	size_t end = text.length, begin;

	while (end && is_blank(text.text[end - 1]))
		end--;
	begin = end;
	while (begin && !is_blank(text.text[begin - 1]))
		begin--;
	return (struct slice){text.text + begin, end - begin};
}

/* "lrwx------", perhaps with the mark of a security context or an ACL. */
static bool is_mode(struct slice word)
{
	if (word.length == 11 && memchr(".+@", word.text[10], 3))
		word.length = 10;
	if (word.length != 10 || !memchr("-lbcdpsD?", word.text[0], 9))
		return false;
	for (size_t i = 1; i < 10; i++)
		if (!memchr("-rwxsStT?", word.text[i], 9))
			return false;
	return true;
}

/* The type letter of the row's mode column; 0 without one. Inode and block
 * columns may stand before it. */
static char mode_letter(struct slice line)
{
	for (int column = 0; column < 3; column++) {
		struct slice word = first_word(&line);

		if (is_mode(word))
			return word.text[0];
		if (!word.length || !(is_digit(word.text[0]) || word.text[0] == '?'))
			return 0;
	}
	return 0;
}

/* Cuts the last component off *path. */
static struct slice last_component(struct slice *path)
{
	size_t end = path->length, begin;

	while (end && path->text[end - 1] == '/')
		end--;
	begin = end;
	while (begin && path->text[begin - 1] != '/')
		begin--;
	path->length = begin;
	return (struct slice){path->text + begin, end - begin};
}

/* Whose descriptor table a directory is. */
static enum owner directory_owner(struct slice path, uint32_t *pid, uint32_t *tid)
{
	struct slice last = last_component(&path), thread, task;
	uint64_t number, leader;

	if (slice_is(last, "."))
		return path.length ? OWNER_NONE : OWNER_RELATIVE;
	if (!slice_is(last, "fd"))
		return OWNER_NONE;
	thread = last_component(&path);
	if (!thread.length || slice_is(thread, "."))
		return OWNER_RELATIVE;
	if (!slice_number(thread, FDLIST_MAX_PID, &number) || !number)
		return OWNER_OTHER;
	leader = number;
	task = last_component(&path);
	if (slice_is(task, "task") &&
	    (!slice_number(last_component(&path), FDLIST_MAX_PID, &leader) || !leader))
		return OWNER_OTHER;
	*pid = (uint32_t)leader;
	*tid = (uint32_t)number;
	return OWNER_KNOWN;
}

static int damage(const struct fdlist *list, size_t line_offset, const char *wanted,
		  struct slice found, struct error *error)
{
	int shown = found.length > FDLIST_SHOWN ? FDLIST_SHOWN : (int)found.length;

	return error_damage(error, list->path, (int64_t)line_offset, wanted,
			    "line %llu: \"%.*s%s\"", (unsigned long long)list->line, shown,
			    found.text, found.length > FDLIST_SHOWN ? "…" : "");
}

/* Takes the next line into list->text without its end and without terminal
 * colours (ESC [ … letter). 1, 0 at the end, ERROR_DAMAGED for a line that is no text. */
static int take_line(struct fdlist *list, struct slice *out, struct error *error)
{
	const char *begin = list->bytes + list->offset_bytes, *end;
	size_t left = list->length_bytes - list->offset_bytes, length, kept = 0;
	size_t offset = list->offset_bytes;

	if (!left)
		return 0;
	end = memchr(begin, '\n', left);
	list->terminated = end != NULL;
	length = end ? (size_t)(end - begin) : left;
	list->offset_bytes += length + (end ? 1 : 0);
	list->line++;
	if (length > sizeof(list->text))
		return error_damage(error, list->path, (int64_t)offset, FDLIST_WANTED,
				    "line %llu of %zu bytes", (unsigned long long)list->line,
				    length);
	if (memchr(begin, 0, length))
		return error_damage(error, list->path, (int64_t)offset, FDLIST_WANTED,
				    "line %llu with a zero byte: no text",
				    (unsigned long long)list->line);
	if (length && begin[length - 1] == '\r')
		length--;
	for (size_t i = 0; i < length; i++) {
		if (begin[i] == '\033' && i + 1 < length && begin[i + 1] == '[') {
			i += 2;
			while (i < length && (is_digit(begin[i]) || begin[i] == ';'))
				i++;
			continue;
		}
		list->text[kept++] = begin[i];
	}
	*out = (struct slice){list->text, kept};
	return 1;
}

/* "/proc/2143/fd:" and others. */
static int take_heading(struct fdlist *list, struct slice line, size_t offset,
			struct fdlist_row *row, struct error *error)
{
	struct slice path = unquoted((struct slice){line.text, line.length - 1});

	list->fresh = true;
	list->pid = list->tid = 0;
	switch (directory_owner(path, &list->pid, &list->tid)) {
	case OWNER_KNOWN:
		list->ignoring = false;
		list->recognised++;
		*row = (struct fdlist_row){.kind = FDLIST_PROCESS,
					   .pid = list->pid,
					   .tid = list->tid,
					   .line = list->line};
		return 1;
	case OWNER_RELATIVE:
		list->ignoring = false;
		return 0;
	case OWNER_OTHER:
		list->ignoring = true;
		return damage(list, offset, "a heading with the pid (\"/proc/PID/fd:\")", line,
			      error);
	case OWNER_NONE:
		break;
	}
	list->ignoring = true;
	return 0;
}

/* Fills in whose descriptor the name column says: 1, 0 when the name is that
 * of something else, ERROR_USAGE when the pid is not known. */
static int name_owner(const struct fdlist *list, struct slice name, size_t offset,
		      struct fdlist_row *row, struct error *error)
{
	struct slice path = unquoted(name), fd = last_component(&path);
	enum owner owner = OWNER_RELATIVE;
	uint64_t number;

	if (!slice_number(fd, INT32_MAX, &number))
		return 0;
	if (path.length && !slice_is(path, "./"))
		owner = directory_owner(path, &row->pid, &row->tid);
	if (owner == OWNER_NONE || owner == OWNER_OTHER)
		return 0;
	if (owner == OWNER_RELATIVE) {
		row->pid = list->pid ? list->pid : list->hint;
		row->tid = list->pid ? list->tid : list->hint;
	}
	if (!row->pid)
		return error_set(error, ERROR_USAGE, list->path, (int64_t)offset,
				 "line %llu: the listing does not say of which process it is: "
				 "give --pid N before this --fds",
				 (unsigned long long)list->line);
	row->fd = (uint32_t)number;
	row->line = list->line;
	return 1;
}

/* "FD -> TARGET" with whatever columns stand before. */
static int take_link(struct fdlist *list, struct slice line, size_t arrow, size_t offset,
		     struct fdlist_row *row, struct error *error)
{
	struct slice name = last_word((struct slice){line.text, arrow});
	struct slice target = {line.text + arrow + 4, line.length - arrow - 4};
	char letter = mode_letter(line);
	bool classified = target.length && target.text[target.length - 1] == '=';
	struct fdlist_row found = {.kind = FDLIST_OTHER};
	uint64_t inode = 0;
	int status;

	if (letter && letter != 'l')
		return damage(list, offset, FDLIST_WANTED, line, error);
	/* ls -F marks what a link leads to: "socket:[1]=". */
	if (classified)
		target.length--;
	target = unquoted(target);
	if (slice_starts(target, "socket:")) {
		struct slice number = {target.text + 8, target.length > 9 ? target.length - 9 : 0};

		if (!slice_starts(target, "socket:[") || target.text[target.length - 1] != ']' ||
		    !slice_number(number, UINT32_MAX, &inode) || !inode)
			return damage(list, offset, "\"FD -> socket:[INODE]\"", line, error);
		found.kind = FDLIST_SOCKET;
	}
	found.inode = (uint32_t)inode;
	status = name_owner(list, name, offset, &found, error);
	if (status < 0)
		return status;
	if (!status) {
		/* /proc/PID/exe and other links, as `find /proc/PID -ls` lists them. */
		if (letter && found.kind == FDLIST_OTHER && memchr(name.text, '/', name.length))
			return 0;
		return damage(list, offset, FDLIST_WANTED, line, error);
	}
	list->recognised++;
	*row = found;
	return 1;
}

/* A row without an arrow: a link that ls could not read, or a directory. */
static int take_bare(struct fdlist *list, struct slice line, char letter, size_t offset,
		     struct fdlist_row *row, struct error *error)
{
	/* find breaks off the row that it cannot finish, and complains behind it. */
	const char *complaint = memmem(line.text, line.length, "find: ", 6);
	struct fdlist_row found = {.kind = FDLIST_UNREADABLE};
	struct slice name;
	int status;

	if (letter != 'l')
		return 0;
	name = last_word((struct slice){line.text,
					complaint ? (size_t)(complaint - line.text) : line.length});
	/* Where the text breaks off, the rest of the row may be missing. */
	if (!list->terminated)
		return damage(list, offset, FDLIST_WANTED, line, error);
	status = name_owner(list, name, offset, &found, error);
	if (status < 0)
		return status;
	if (!status) {
		if (memchr(name.text, '/', name.length))
			return 0;
		return damage(list, offset, FDLIST_WANTED, line, error);
	}
	list->recognised++;
	*row = found;
	return 1;
}

/* "ls: cannot open directory '/proc/1/fd': Permission denied", in any language. */
static int take_message(struct fdlist *list, struct slice line, struct fdlist_row *row)
{
	uint64_t pid;

	*row = (struct fdlist_row){.kind = FDLIST_UNREADABLE, .line = list->line};
	for (size_t i = 0; i + 6 < line.length; i++) {
		struct slice number = {line.text + i + 6, 0};

		if (memcmp(line.text + i, "/proc/", 6))
			continue;
		while (i + 6 + number.length < line.length && is_digit(number.text[number.length]))
			number.length++;
		if (slice_number(number, FDLIST_MAX_PID, &pid) && pid) {
			row->pid = row->tid = (uint32_t)pid;
			list->recognised++;
		}
		break;
	}
	return 1;
}

/* "total 0", whose word depends on the locale; always the first line. */
static bool is_total(struct slice line)
{
	struct slice word = first_word(&line), number = first_word(&line);

	return word.length && !is_digit(word.text[0]) && number.length &&
	       is_digit(number.text[0]) && !first_word(&line).length;
}

/* 1 a row, 0 a line that says nothing of descriptors, negative. */
static int take(struct fdlist *list, struct slice line, size_t offset, struct fdlist_row *row,
		struct error *error)
{
	bool fresh = list->fresh;
	struct slice rest = line;
	const char *arrow;
	char letter;

	if (!first_word(&rest).length)
		return 0;
	letter = mode_letter(line);
	arrow = memmem(line.text, line.length, " -> ", 4);
	if (!arrow && !letter && line.text[line.length - 1] == ':')
		return take_heading(list, line, offset, row, error);
	if (list->ignoring)
		return 0;
	if (slice_starts(line, "ls: ") || slice_starts(line, "find: "))
		return take_message(list, line, row);
	list->fresh = false;
	if (arrow)
		return take_link(list, line, (size_t)(arrow - line.text), offset, row, error);
	if (letter)
		return take_bare(list, line, letter, offset, row, error);
	if (fresh && is_total(line)) {
		/* All that there is of a process without descriptors. */
		list->recognised += slice_is(last_word(line), "0");
		return 0;
	}
	return damage(list, offset, FDLIST_WANTED, line, error);
}

int fdlist_next(struct fdlist *list, struct fdlist_row *row, struct error *error)
{
	struct slice line = {NULL, 0};
	int status;

	for (;;) {
		size_t offset = list->offset_bytes;

		status = take_line(list, &line, error);
		if (status <= 0)
			return status;
		status = take(list, line, offset, row, error);
		if (status == ERROR_USAGE) {
			list->offset_bytes = offset;
			list->line--;
		}
		if (status)
			return status;
	}
}

/* A digit run of a base name that stands beside "proc", "pid" or "fd", with
 * at most one of "-_." between: so that a date in the name is not a pid. */
static bool beside_word(const char *name, size_t begin, size_t end, size_t length)
{
	static const char *const before[] = {"proc", "pid", "fd", "fds"};
	size_t left = begin, right = end;

	if (left && memchr("-_.", name[left - 1], 3))
		left--;
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		size_t word = strlen(before[i]);

		if (left >= word && !memcmp(name + left - word, before[i], word))
			return true;
	}
	if (right < length && memchr("-_.", name[right], 3))
		right++;
	return length - right >= 2 && !memcmp(name + right, "fd", 2);
}

int fdlist_pid_from_name(const char *path, uint32_t *pid)
{
	struct slice rest = {path, strlen(path)}, base = last_component(&rest), parent;
	uint64_t found = 0, number;
	int runs = 0;

	for (size_t i = 0; i < base.length;) {
		size_t begin = i;

		while (i < base.length && is_digit(base.text[i]))
			i++;
		if (i == begin) {
			i++;
			continue;
		}
		runs++;
		if (slice_number((struct slice){base.text + begin, i - begin}, FDLIST_MAX_PID,
				 &number) &&
		    (i - begin == base.length || beside_word(base.text, begin, i, base.length)))
			found = number;
	}
	parent = last_component(&rest);
	if (!runs && slice_starts(base, "fd") && slice_number(parent, FDLIST_MAX_PID, &number))
		found = number;
	else if (runs != 1)
		return -1;
	if (!found)
		return -1;
	*pid = (uint32_t)found;
	return 0;
}
