#include "snapshot/format/evidence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

#define NUMBER_DIGITS 6
#define TIME_LENGTH   26 /* 20261121T203000.123456789Z */
/* Listings of a directory in which names change meanwhile. */
#define TRIES 8

enum kind { KIND_PCAP, KIND_SNAP, KIND_INDEX };
enum { RANK_PCAP = 1, RANK_PCAP_GZ };

/* What a name can end with. Of several files of one kind, the lowest rank
 * counts: a whole file before one being written, and the plain pcap before the
 * gzip that is being made from it. */
static const struct {
	const char *text;
	enum kind kind;
	bool is_part;
	int rank;
} suffixes[] = {
	{EVIDENCE_PCAP, KIND_PCAP, false, RANK_PCAP},
	{EVIDENCE_PCAP_GZ, KIND_PCAP, false, RANK_PCAP_GZ},
	{EVIDENCE_PCAP EVIDENCE_PART, KIND_PCAP, true, 3},
	{EVIDENCE_PCAP_GZ EVIDENCE_PART, KIND_PCAP, true, 4},
	{EVIDENCE_SNAP, KIND_SNAP, false, 1},
	{EVIDENCE_SNAP EVIDENCE_PART, KIND_SNAP, true, 2},
	{EVIDENCE_PCAP_GZ EVIDENCE_IDX, KIND_INDEX, false, 1},
};
#define SUFFIXES (sizeof(suffixes) / sizeof(suffixes[0]))

static int find_suffix(const char *text)
{
	for (size_t i = 0; i < SUFFIXES; i++) {
		if (strcmp(suffixes[i].text, text) == 0)
			return (int)i;
	}
	return -1;
}

/* "2026-11-21T20:30:00.123456789Z" without its dashes and colons. */
static void compact_time(int64_t ns, char out[TIME_LENGTH + 1])
{
	char text[QUANTITY_TIME_SIZE];
	size_t length = 0;

	quantity_format_time(ns, text, sizeof(text));
	for (const char *at = text; *at && length < TIME_LENGTH; at++) {
		if (*at != '-' && *at != ':')
			out[length++] = *at;
	}
	out[length] = '\0';
}

void evidence_name(const struct evidence_stem *stem, const char *suffix,
		   char name[EVIDENCE_NAME_SIZE])
{
	char time[TIME_LENGTH + 1];

	compact_time(stem->opened_ns, time);
	snprintf(name, EVIDENCE_NAME_SIZE, "%0*" PRIu64 "-%s%s", NUMBER_DIGITS, stem->number, time,
		 suffix);
}

int evidence_parse_name(const char *name, struct evidence_stem *stem, const char **suffix)
{
	size_t digits = strspn(name, "0123456789");
	char number[24], time[QUANTITY_TIME_SIZE], whole[EVIDENCE_NAME_SIZE];
	struct evidence_stem parsed;

	if (digits < NUMBER_DIGITS || digits >= sizeof(number) || name[digits] != '-')
		return -1;
	const char *at = name + digits + 1;
	if (strlen(at) < TIME_LENGTH)
		return -1;
	memcpy(number, name, digits);
	number[digits] = '\0';
	snprintf(time, sizeof(time), "%.4s-%.2s-%.5s:%.2s:%.13s", at, at + 4, at + 6, at + 11,
		 at + 13);
	if (quantity_parse_uint(number, EVIDENCE_MAX_NUMBER, &parsed.number) != 0 ||
	    parsed.number == 0 || quantity_parse_time(time, 0, &parsed.opened_ns) != 0 ||
	    parsed.opened_ns < 0 || parsed.opened_ns > QUANTITY_MAX_TIME_NS)
		return -1;
	at += TIME_LENGTH;
	if (*at != '\0' && find_suffix(at) < 0)
		return -1;
	/* A time can be written in several ways; a name in one. */
	evidence_name(&parsed, at, whole);
	if (strcmp(whole, name) != 0)
		return -1;
	*stem = parsed;
	*suffix = at;
	return 0;
}

bool evidence_has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), suffix_length = strlen(suffix);

	return length > suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

int evidence_open_file(int dirfd, const char *name, int flags, const char *path,
		       struct error *error)
{
	int fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	struct stat status;
	int result;

	/* A link that is not followed, a directory, a socket or a FIFO without a reader. */
	if (fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
		return error_damage(error, path, -1, "a regular file", "%s", strerror(errno));
	if (fd < 0)
		return error_errno(error, path, "cannot open");
	if (fstat(fd, &status) != 0)
		result = error_errno(error, path, "cannot examine");
	else if (!S_ISREG(status.st_mode))
		result = error_damage(error, path, -1, "a regular file",
				      S_ISDIR(status.st_mode) ? "a directory" : "another kind");
	else
		return fd;
	close(fd);
	return result;
}

int evidence_write_all(int fd, const void *bytes, size_t length)
{
	const uint8_t *next = bytes;

	while (length > 0) {
		ssize_t written = write(fd, next, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written == 0)
			errno = EIO;
		if (written <= 0)
			return -1;
		next += written;
		length -= (size_t)written;
	}
	return 0;
}

static int append(struct evidence_list *list, const struct evidence_segment *segment)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 64;
		struct evidence_segment *segments =
			reallocarray(list->segments, capacity, sizeof(*segments));
		if (!segments)
			return -1;
		list->segments = segments;
		list->capacity = capacity;
	}
	list->segments[list->count++] = *segment;
	return 0;
}

int evidence_compare(const struct evidence_stem *a, const struct evidence_stem *b)
{
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return (a->opened_ns > b->opened_ns) - (a->opened_ns < b->opened_ns);
}

static int compare(const void *a, const void *b)
{
	return evidence_compare(&((const struct evidence_segment *)a)->stem,
				&((const struct evidence_segment *)b)->stem);
}

static int rank_of(const char *name)
{
	struct evidence_stem stem;
	const char *suffix;

	if (name[0] == '\0' || evidence_parse_name(name, &stem, &suffix) != 0 || *suffix == '\0')
		return INT32_MAX;
	return suffixes[find_suffix(suffix)].rank;
}

/* Takes from `from` what is better than what `into` has. */
static void merge(struct evidence_segment *into, const struct evidence_segment *from)
{
	bool into_is_plain = rank_of(into->pcap) == RANK_PCAP;
	bool from_is_plain = rank_of(from->pcap) == RANK_PCAP;

	if (rank_of((from_is_plain ? into : from)->pcap) == RANK_PCAP_GZ &&
	    into_is_plain != from_is_plain) {
		into->has_both = true;
		into->both_bytes = (from_is_plain ? into : from)->pcap_bytes;
	}
	if (rank_of(from->pcap) < rank_of(into->pcap)) {
		memcpy(into->pcap, from->pcap, sizeof(into->pcap));
		into->pcap_is_part = from->pcap_is_part;
		into->pcap_bytes = from->pcap_bytes;
	}
	if (rank_of(from->snap) < rank_of(into->snap)) {
		memcpy(into->snap, from->snap, sizeof(into->snap));
		into->snap_is_part = from->snap_is_part;
		into->snap_bytes = from->snap_bytes;
	}
	if (from->index_bytes > 0)
		into->index_bytes = from->index_bytes;
}

/* Files of one stem, each found alone, become one segment. */
static void sort_and_merge(struct evidence_list *list)
{
	size_t kept = 0;

	if (list->count == 0)
		return;
	qsort(list->segments, list->count, sizeof(*list->segments), compare);
	for (size_t i = 1; i < list->count; i++) {
		if (compare(&list->segments[kept], &list->segments[i]) == 0)
			merge(&list->segments[kept], &list->segments[i]);
		else
			list->segments[++kept] = list->segments[i];
	}
	list->count = kept + 1;
}

#define NO_REGULAR_FILE 2

/* A file of a segment as a segment with this file alone. 1, NO_REGULAR_FILE, 0: it is
 * none, or has gone since it was listed, -1: errno. A name that parses fits, as
 * evidence_name() made it again. */
static int examine(int dirfd, const char *name, struct evidence_segment *segment)
{
	const char *suffix;
	struct stat status;

	memset(segment, 0, sizeof(*segment));
	if (evidence_parse_name(name, &segment->stem, &suffix) != 0 || *suffix == '\0')
		return 0;
	if (fstatat(dirfd, name, &status, 0) != 0) {
		if (errno != ENOENT && errno != ELOOP)
			return -1;
		/* A link to nowhere, or nothing. */
		return fstatat(dirfd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? NO_REGULAR_FILE
									       : 0;
	}
	if (!S_ISREG(status.st_mode))
		return NO_REGULAR_FILE;
	int found = find_suffix(suffix);
	if (suffixes[found].kind == KIND_PCAP) {
		memcpy(segment->pcap, name, strlen(name) + 1);
		segment->pcap_is_part = suffixes[found].is_part;
		segment->pcap_bytes = (uint64_t)status.st_size;
	} else if (suffixes[found].kind == KIND_SNAP) {
		memcpy(segment->snap, name, strlen(name) + 1);
		segment->snap_is_part = suffixes[found].is_part;
		segment->snap_bytes = (uint64_t)status.st_size;
	} else {
		segment->index_bytes = (uint64_t)status.st_size;
	}
	return 1;
}

/* What is done with each file of a segment that a listing shows. 1 to go on, 0 to stop, -1:
 * errno. */
typedef int visit(int dirfd, const char *name, struct evidence_list *list);

static int visit_take(int dirfd, const char *name, struct evidence_list *list)
{
	struct evidence_segment segment;
	int found = examine(dirfd, name, &segment);

	if (found == NO_REGULAR_FILE) {
		if (list->odd_count++ == 0 || strcmp(name, list->odd_name) < 0)
			memcpy(list->odd_name, name, strlen(name) + 1);
		return 1;
	}
	if (found <= 0)
		return found < 0 ? -1 : 1;
	return append(list, &segment) == 0 ? 1 : -1;
}

/* Whether a segment's file of one kind is there, and whole unless none has to be. */
static bool has_file(const struct evidence_segment *segment, enum kind kind, bool part_will_do)
{
	if (kind == KIND_PCAP)
		return segment->pcap[0] != '\0' && (part_will_do || !segment->pcap_is_part);
	return segment->snap[0] != '\0' && (part_will_do || !segment->snap_is_part);
}

/* Whether the list has this file. Another whole one of its kind will do, as of what was
 * compressed: names change after a listing as well as within. */
static int visit_compare(int dirfd, const char *name, struct evidence_list *list)
{
	struct evidence_segment segment;
	const struct evidence_segment *listed = NULL;
	const char *suffix;

	if (evidence_parse_name(name, &segment.stem, &suffix) != 0 || *suffix == '\0')
		return 1;
	int suffix_at = find_suffix(suffix);
	if (suffixes[suffix_at].kind == KIND_INDEX)
		return 1;
	if (list->count > 0)
		listed = bsearch(&segment, list->segments, list->count, sizeof(*list->segments),
				 compare);
	if (listed && has_file(listed, suffixes[suffix_at].kind, suffixes[suffix_at].is_part))
		return 1;
	int found = examine(dirfd, name, &segment);
	return found < 0 ? -1 : found != 1;
}

/* 1: all were visited; 0: it was stopped. */
static int visit_all(int dirfd, const char *path, visit *do_visit, struct evidence_list *list,
		     struct error *error)
{
	struct dirent *entry;
	int status = 1;
	DIR *directory = NULL;
	/* A descriptor of its own: the caller's has one position for all its users. */
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		directory = fdopendir(fd);
	if (!directory) {
		status = error_errno(error, path, "cannot list the directory");
		if (fd >= 0)
			close(fd);
		return status;
	}
	while (status == 1 && (errno = 0, entry = readdir(directory)) != NULL) {
		status = do_visit(fd, entry->d_name, list);
		if (status < 0 && errno == ENOMEM)
			status = error_set(error, ERROR_MEMORY, path, -1,
					   "no memory for a list of %zu segments", list->count);
		else if (status < 0)
			status = error_errno(error, path, "cannot examine %s", entry->d_name);
	}
	if (status == 1 && errno != 0)
		status = error_errno(error, path, "cannot list the directory");
	closedir(directory);
	return status;
}

/* 1: a second listing has nothing that the first one lacks; 0: it has. A directory is read in
 * pieces: of a file that is renamed meanwhile, the old name may be gone before it is come to,
 * and the new one made behind that. The second listing begins when it is made. */
static int read_twice(int dirfd, const char *path, struct evidence_list *list, struct error *error)
{
	int status = visit_all(dirfd, path, visit_take, list, error);

	if (status != 1)
		return status;
	sort_and_merge(list);
	return visit_all(dirfd, path, visit_compare, list, error);
}

int evidence_list_read(int dirfd, const char *path, struct evidence_list *out, struct error *error)
{
	for (int tries = 0; tries < TRIES; tries++) {
		struct evidence_list list = {0};
		int status = read_twice(dirfd, path, &list, error);

		if (status == 1) {
			*out = list;
			return 0;
		}
		evidence_list_release(&list);
		if (status < 0)
			return status;
	}
	return error_set(error, ERROR_SYSTEM, path, -1,
			 "cannot list the directory: its files changed during each of %d listings",
			 TRIES);
}

void evidence_list_release(struct evidence_list *list)
{
	free(list->segments);
	memset(list, 0, sizeof(*list));
}
