#include "analyze/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyze/grow.h"
#include "analyze/pcapin.h"

static int no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
}

/* ------------------------------------------------------------- finding -- */

/* *out is valid until the next one is added. */
static int add_directory(struct inputs *inputs, const char *path, struct input_directory **out,
			 struct error *error)
{
	struct input_directory directory = {.log = ERROR_NONE};

	for (size_t i = 0; i < inputs->directory_count; i++) {
		if (strcmp(inputs->directories[i].path, path) == 0) {
			*out = &inputs->directories[i];
			return 0;
		}
	}
	directory.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory.fd < 0)
		return error_errno(error, path, "cannot open the directory");
	directory.path = strdup(path);
	if (directory.path == NULL ||
	    grow_one(&inputs->directories, inputs->directory_count, &inputs->directory_capacity,
		     sizeof(*inputs->directories)) != 0) {
		close(directory.fd);
		free(directory.path);
		return no_memory(error);
	}
	*out = &inputs->directories[inputs->directory_count++];
	**out = directory;
	return 0;
}

static int add_input(struct inputs *inputs, const struct input *model, const char *pcap,
		     const char *snap, struct error *error)
{
	struct input item = *model;

	item.pcap = pcap != NULL && *pcap != '\0' ? strdup(pcap) : NULL;
	item.snap = snap != NULL && *snap != '\0' ? strdup(snap) : NULL;
	if ((item.pcap == NULL && item.snap == NULL) ||
	    grow_one(&inputs->items, inputs->count, &inputs->capacity, sizeof(*inputs->items)) !=
		    0) {
		free(item.pcap);
		free(item.snap);
		return no_memory(error);
	}
	inputs->items[inputs->count++] = item;
	return 0;
}

struct custody_reading {
	struct inputs *inputs;
	const char *directory;
	size_t first; /* inputs of this directory begin here */
	const struct evidence_list *list;
	bool is_whole; /* all of the directory was asked for */
	bool failed;   /* for want of memory */
};

/* A directory's inputs are in the order of its listing. */
static int compare_stem(const void *key, const void *element)
{
	const struct input *input = element;

	return evidence_compare(key, &(struct evidence_stem){input->number, input->opened_ns});
}

/* Whether name is that of the capture before it was compressed. */
static bool is_content(const struct input *input, const char *name)
{
	size_t length = strlen(name);

	return input->pcap != NULL && strncmp(input->pcap, name, length) == 0 &&
	       strcmp(input->pcap + length, ".gz") == 0;
}

static bool is_capture(const char *suffix)
{
	return strcmp(suffix, EVIDENCE_PCAP) == 0 || strcmp(suffix, EVIDENCE_PCAP_GZ) == 0;
}

static bool has_expired(const struct custody_entry *entry)
{
	return strcmp(entry->event, "expire") == 0;
}

/* A recorder at work closes more while the directory is listed, and then the log read. */
static bool may_be_newer(const struct evidence_list *list, const struct evidence_stem *stem)
{
	const struct evidence_segment *last =
		list->count > 0 ? &list->segments[list->count - 1] : NULL;

	return last != NULL && stem->number > last->stem.number &&
	       (last->pcap_is_part || last->snap_is_part);
}

/* The segment of an entry may be none that is here. */
static void note_segment(struct custody_reading *reading, const struct custody_entry *entry,
			 const struct evidence_stem *stem, const char *suffix)
{
	bool expired = has_expired(entry);

	if (!reading->is_whole || !is_capture(suffix) || (entry->sha256 == NULL && !expired) ||
	    may_be_newer(reading->list, stem))
		return;
	reading->failed |= absent_note(&reading->inputs->absent, stem,
				       expired ? NULL : reading->directory) != 0;
}

/* An entry tells of the other file of a pair. */
static void note_missing(struct input *input, const struct custody_entry *entry, const char *suffix)
{
	bool is_pcap = input->pcap == NULL && is_capture(suffix);
	bool is_snap = input->snap == NULL && strcmp(suffix, EVIDENCE_SNAP) == 0;

	if ((!is_pcap && !is_snap) || (entry->sha256 == NULL && !has_expired(entry)))
		return;
	snprintf(input->missing, sizeof(input->missing), "%s", entry->file);
	input->missing_expired = has_expired(entry);
}

/* A chain that holds says nothing of what is in the fields. */
static bool has_hash(const struct custody_entry *entry)
{
	return entry->sha256 != NULL && strlen(entry->sha256) == CUSTODY_HEX_SIZE - 1 &&
	       strspn(entry->sha256, "0123456789abcdef") == CUSTODY_HEX_SIZE - 1;
}

/* The entry is of its segment. */
static void note_input(struct input *input, const struct custody_entry *entry, const char *suffix)
{
	bool pcap = input->pcap != NULL && strcmp(input->pcap, entry->file) == 0;
	bool snap = input->snap != NULL && strcmp(input->snap, entry->file) == 0;
	struct input_logged *logged = pcap ? &input->pcap_logged : &input->snap_logged;

	if (has_hash(entry) && is_content(input, entry->file))
		snprintf(input->content_sha256, sizeof(input->content_sha256), "%s", entry->sha256);
	if (has_hash(entry) && (is_content(input, entry->file) ||
				(pcap && !evidence_has_suffix(entry->file, EVIDENCE_PCAP_GZ))))
		snprintf(input->recorded_sha256, sizeof(input->recorded_sha256), "%s",
			 entry->sha256);
	if (!pcap && !snap) {
		note_missing(input, entry, suffix);
		return;
	}
	input->repaired |= strcmp(entry->event, "repair") == 0;
	if (has_hash(entry) && entry->bytes >= 0) {
		logged->bytes = (uint64_t)entry->bytes;
		snprintf(logged->sha256, sizeof(logged->sha256), "%s", entry->sha256);
	}
}

static void note_entry(const struct custody_entry *entry, void *context)
{
	struct custody_reading *reading = context;
	struct input *input = NULL;
	struct evidence_stem stem;
	const char *suffix;
	size_t count;

	if (entry->file == NULL || evidence_parse_name(entry->file, &stem, &suffix) != 0)
		return;
	note_segment(reading, entry, &stem, suffix);
	count = reading->inputs->count - reading->first;
	if (count > 0)
		input = bsearch(&stem, &reading->inputs->items[reading->first], count,
				sizeof(*input), compare_stem);
	if (input != NULL)
		note_input(input, entry, suffix);
}

static void forget_entries(struct input *input)
{
	input->pcap_logged = input->snap_logged = (struct input_logged){0};
	input->content_sha256[0] = input->content_doubted[0] = '\0';
	input->recorded_sha256[0] = input->missing[0] = '\0';
	input->missing_expired = false;
}

static bool has_log_name(int dirfd)
{
	struct stat info;

	return fstatat(dirfd, CUSTODY_LOG, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Evidence without its log is evidence too; a log that does not hold, or cannot be read, is worth
 * a remark, and vouches for nothing. */
static int read_custody(struct inputs *inputs, struct input_directory *directory, size_t first,
			const struct evidence_list *list, bool is_whole, struct error *failure)
{
	const size_t noted = inputs->absent.count;
	struct custody_reading reading = {.inputs = inputs,
					  .directory = directory->path,
					  .first = first,
					  .list = list,
					  .is_whole = is_whole};
	struct error error = ERROR_NONE;
	int status =
		custody_verify(directory->fd, directory->path, note_entry, &reading, NULL, &error);

	if (status == ERROR_MEMORY || reading.failed)
		return no_memory(failure);
	/* A link to nowhere is no log that is not there. */
	if (status != 0 && (status != ERROR_NO_INPUT || has_log_name(directory->fd)))
		directory->log = error;
	if (status != 0)
		inputs->absent.count = noted;
	for (size_t i = first; i < inputs->count && status != 0; i++)
		forget_entries(&inputs->items[i]);
	return 0;
}

static int add_segment(struct inputs *inputs, struct input_directory *directory,
		       const struct input *group, const struct evidence_segment *segment,
		       bool unfinished_too, struct error *error)
{
	struct input item = *group;
	bool pcap = segment->pcap[0] != '\0' && (unfinished_too || !segment->pcap_is_part);
	bool snap = segment->snap[0] != '\0' && (unfinished_too || !segment->snap_is_part);

	/* Of some there is but an index. */
	if (segment->pcap[0] == '\0' && segment->snap[0] == '\0')
		return 0;
	if (absent_note(&inputs->absent, &segment->stem, NULL) != 0)
		return no_memory(error);
	if (!unfinished_too && (segment->pcap_is_part || segment->snap_is_part)) {
		if (directory->unfinished++ == 0)
			snprintf(directory->unfinished_name, sizeof(directory->unfinished_name),
				 "%s", segment->pcap_is_part ? segment->pcap : segment->snap);
		/* A pair of which one half is unfinished is loaded when both are done. */
		return 0;
	}
	item.has_both = segment->has_both;
	item.number = segment->stem.number;
	item.opened_ns = segment->stem.opened_ns;
	return add_input(inputs, &item, pcap ? segment->pcap : NULL, snap ? segment->snap : NULL,
			 error);
}

/* An argument that names a directory, or one of its segments. */
struct wanted {
	char *directory; /* owned */
	bool is_whole;
	struct evidence_stem stem; /* of one segment */
	bool found;
};

static int compare_wanted(const void *left, const void *right)
{
	const struct wanted *a = left, *b = right;
	int order = strcmp(a->directory, b->directory);

	if (order == 0)
		order = (int)b->is_whole - (int)a->is_whole;
	return order != 0 ? order : evidence_compare(&a->stem, &b->stem);
}

/* Whatever of one directory is wanted, sorted: it is listed, and its log read, once. */
struct wanted_directory {
	struct wanted *items; /* borrowed */
	size_t count;
};

static struct wanted *find_wanted(const struct wanted_directory *wanted,
				  const struct evidence_stem *stem)
{
	const struct wanted key = {.directory = wanted->items[0].directory, .stem = *stem};

	return bsearch(&key, wanted->items, wanted->count, sizeof(key), compare_wanted);
}

static int say_no_segments(const char *path, struct error *error)
{
	return error_set(error, ERROR_NO_INPUT, path, -1,
			 "no segments here: wanted files such as "
			 "000001-20261121T203000.123456789Z.pcap with their .snap.gz");
}

static int add_segments(struct inputs *inputs, struct input_directory *directory,
			const struct evidence_list *list, const struct wanted_directory *wanted,
			struct error *error)
{
	const size_t before = inputs->count;
	struct input group = {.dirfd = directory->fd, .path = directory->path};
	int status = 0;

	for (size_t i = 0; i < list->count && status == 0; i++) {
		const struct evidence_segment *segment = &list->segments[i];
		struct wanted *named = find_wanted(wanted, &segment->stem);
		size_t count = inputs->count;

		group.group_ns = list->segments[0].stem.opened_ns;
		evidence_name(&list->segments[0].stem, "", group.group_name);
		if (named == NULL && !wanted->items[0].is_whole)
			continue;
		status = add_segment(inputs, directory, &group, segment, named != NULL, error);
		if (named != NULL)
			named->found = inputs->count > count;
	}
	if (status == 0 && wanted->items[0].is_whole && inputs->count == before &&
	    directory->unfinished == 0)
		return say_no_segments(directory->path, error);
	for (size_t i = 0; i < wanted->count && status == 0; i++) {
		const struct wanted *item = &wanted->items[i];

		if (!item->is_whole && !find_wanted(wanted, &item->stem)->found)
			return say_no_segments(directory->path, error);
	}
	return status;
}

static int find_segments(struct inputs *inputs, const struct wanted_directory *wanted,
			 struct error *error)
{
	const char *path = wanted->items[0].directory;
	const bool is_whole = wanted->items[0].is_whole;
	const size_t before = inputs->count;
	struct input_directory *directory = NULL;
	struct evidence_list list = {0};
	int status = add_directory(inputs, path, &directory, error);

	if (status == 0)
		status = evidence_list_read(directory->fd, path, &list, error);
	if (status == 0)
		status = add_segments(inputs, directory, &list, wanted, error);
	if (status == 0)
		status = read_custody(inputs, directory, before, &list, is_whole, error);
	if (status == 0 && is_whole) {
		directory->odd = list.odd_count;
		memcpy(directory->odd_name, list.odd_name, sizeof(directory->odd_name));
	}
	evidence_list_release(&list);
	return status;
}

/* A bare capture is ordered by its first packet. */
static int find_capture(struct inputs *inputs, const char *path, struct error *error)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	char *parent = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
	struct input_directory *directory = NULL;
	struct pcapin *in = NULL;
	struct pcapin_packet packet;
	struct error why = ERROR_NONE;
	struct input item = {.bare = true, .group_ns = INT64_MAX};
	int status = parent == NULL ? no_memory(error)
				    : add_directory(inputs, parent, &directory, error);

	free(parent);
	if (status != 0)
		return status;
	status = pcapin_open(directory->fd, name, &in, &why);
	if (status != 0 && !input_is_unreadable(&why)) {
		/* Name it as the user did. */
		if (strcmp(why.path, name) == 0)
			snprintf(why.path, sizeof(why.path), "%s", path);
		if (error != NULL)
			*error = why;
		return status;
	}
	item.unreadable = why;
	if (in != NULL && pcapin_next(in, &packet, NULL) == 1)
		item.group_ns = packet.time_ns;
	pcapin_close(in);
	item.dirfd = directory->fd;
	item.path = directory->path;
	item.opened_ns = item.group_ns;
	return add_input(inputs, &item, name, NULL, error);
}

/* The directory of a path, as far as its last slash; the caller frees it. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Bare captures are added, of all else *wanted gets one more. */
static int find_path(struct inputs *inputs, const char *path, struct wanted *wanted, size_t *count,
		     struct error *error)
{
	const char *slash = strrchr(path, '/'), *suffix;
	struct wanted *item = &wanted[*count];
	struct stat st;

	if (stat(path, &st) != 0)
		return error_errno(error, path, "cannot read it");
	*item = (struct wanted){.is_whole = S_ISDIR(st.st_mode)};
	if (!item->is_whole &&
	    evidence_parse_name(slash == NULL ? path : slash + 1, &item->stem, &suffix) != 0)
		return find_capture(inputs, path, error);
	item->directory = item->is_whole ? strdup(path) : directory_of(path);
	if (item->directory == NULL)
		return no_memory(error);
	++*count;
	return 0;
}

int inputs_find(char *const *paths, size_t count, struct inputs *out, struct error *error)
{
	struct wanted *wanted = calloc(count + 1, sizeof(*wanted));
	size_t wanted_count = 0;
	int status = wanted == NULL ? no_memory(error) : 0;

	*out = (struct inputs){0};
	for (size_t i = 0; i < count && status == 0; i++)
		status = find_path(out, paths[i], wanted, &wanted_count, error);
	if (status == 0 && wanted_count > 0)
		qsort(wanted, wanted_count, sizeof(*wanted), compare_wanted);
	for (size_t i = 0, next; i < wanted_count && status == 0; i = next) {
		next = i + 1;
		while (next < wanted_count &&
		       strcmp(wanted[next].directory, wanted[i].directory) == 0)
			next++;
		status =
			find_segments(out, &(struct wanted_directory){&wanted[i], next - i}, error);
	}
	for (size_t i = 0; i < wanted_count; i++)
		free(wanted[i].directory);
	free(wanted);
	if (status != 0)
		inputs_release(out);
	return status;
}

/* ---------------------------------------------------------- identifying -- */

/* Whether it can be read is to be known before anything is loaded. */
static int look_at_pcap(struct input *input, struct error *error)
{
	int fd = evidence_open_file(input->dirfd, input->pcap, O_RDONLY, input->pcap, error);
	struct stat info;
	int status;

	if (fd < 0)
		return fd;
	status = fstat(fd, &info) == 0 ? 0 : error_errno(error, input->pcap, "cannot examine");
	close(fd);
	if (status == 0)
		input->pcap_file = input_file_of(&info);
	return status;
}

/* 1: it has the size that was logged. */
static int has_logged_size(struct input *input, struct error *error)
{
	const struct input_logged *logged = &input->pcap_logged;
	int status;

	if (logged->sha256[0] == '\0')
		return 0;
	status = look_at_pcap(input, error);
	return status != 0 ? status : (uint64_t)input->pcap_file.bytes == logged->bytes;
}

static int hash(const struct input *input, const char *name, const struct input_logged *logged,
		struct input_file *file, char sha256[CUSTODY_HEX_SIZE], uint64_t *bytes,
		struct error *altered, struct error *error)
{
	int fd = evidence_open_file(input->dirfd, name, O_RDONLY, name, error), status;
	struct stat info;

	if (fd < 0)
		return fd;
	status = fstat(fd, &info) == 0
			 ? custody_hash_descriptor(fd, name, input->stop, sha256, bytes, error)
			 : error_errno(error, name, "cannot examine");
	close(fd);
	if (status == 0)
		*file = input_file_of(&info);
	if (status == 0 && logged->sha256[0] != '\0' && strcmp(sha256, logged->sha256) != 0)
		error_damage(altered, name, -1, "what " CUSTODY_LOG " has of it",
			     "another SHA-256: it was changed since, to %s", sha256);
	return status;
}

void input_doubt_content(struct input *input)
{
	if (input->content_sha256[0] == '\0')
		return;
	memcpy(input->content_doubted, input->content_sha256, sizeof(input->content_doubted));
	input->content_sha256[0] = '\0';
}

static int hash_pcap(struct input *input, struct error *error)
{
	int status = hash(input, input->pcap, &input->pcap_logged, &input->pcap_file,
			  input->pcap_sha256, &input->pcap_bytes, &input->pcap_altered, error);

	if (status != 0)
		return status;
	input->pcap_is_believed = false;
	/* Who compressed it told the log nothing: what is in it has to be read. */
	if (input->pcap_logged.sha256[0] == '\0')
		input_doubt_content(input);
	else if (strcmp(input->pcap_sha256, input->pcap_logged.sha256) != 0)
		input->content_sha256[0] = input->content_doubted[0] = '\0';
	return 0;
}

int input_hash_believed(struct input *input, bool follow, struct error *error)
{
	int followed = 1, status = 0;

	while (input->pcap_is_believed && followed == 1) {
		status = hash_pcap(input, error);
		followed = status == ERROR_NO_INPUT && follow ? input_follow(input, error) : 0;
		if (followed != 0)
			status = followed < 0 ? followed : 0;
	}
	if (status != 0 && error != NULL)
		input_note_unreadable(input, error);
	return status;
}

static int identify_files(struct input *input, struct error *error)
{
	int status = 0;

	input->pcap_altered = (struct error)ERROR_NONE;
	if (!input->snap_is_foreign)
		input->snap_altered = (struct error)ERROR_NONE;
	if (input->pcap != NULL) {
		const struct input_logged *logged = &input->pcap_logged;

		if (input->verify)
			input_doubt_content(input);
		status = input->verify ? 0 : has_logged_size(input, error);
		input->pcap_is_believed = status == 1;
		if (status == 1) {
			input->pcap_bytes = logged->bytes;
			memcpy(input->pcap_sha256, logged->sha256, sizeof(logged->sha256));
			status = 0;
		} else if (status == 0 && input->hash_later) {
			status = look_at_pcap(input, error);
			input->pcap_bytes = (uint64_t)input->pcap_file.bytes;
		} else if (status == 0) {
			status = hash_pcap(input, error);
		}
	}
	if (status == 0 && input->snap != NULL)
		status = hash(input, input->snap, &input->snap_logged, &input->snap_file,
			      input->snap_sha256, &input->snap_bytes, &input->snap_altered, error);
	if (status == 0 && input->snap != NULL)
		input_read_header(input);
	return status;
}

/* ------------------------------------------------------------- following -- */

static void note_again(const struct custody_entry *entry, void *context)
{
	struct input *input = context;
	struct evidence_stem stem;
	const char *suffix;

	if (entry->file != NULL && evidence_parse_name(entry->file, &stem, &suffix) == 0 &&
	    compare_stem(&stem, input) == 0)
		note_input(input, entry, suffix);
}

static bool is_there(const struct input *input, const char *name)
{
	struct stat info;

	return fstatat(input->dirfd, name, &info, 0) == 0 || errno != ENOENT;
}

/* The name that a file has now, NULL if none. 1: it is another than before; 0; negative. */
static int find_again(const struct input *input, char **file, const char *const *suffixes,
		      struct error *error)
{
	const struct evidence_stem stem = {input->number, input->opened_ns};
	char name[EVIDENCE_NAME_SIZE], *found = NULL;

	if (*file == NULL || is_there(input, *file))
		return 0;
	for (; *suffixes != NULL && found == NULL; suffixes++) {
		evidence_name(&stem, *suffixes, name);
		if (!is_there(input, name))
			continue;
		found = strdup(name);
		if (found == NULL)
			return no_memory(error);
	}
	free(*file);
	*file = found;
	return 1;
}

/* 1: some file has another name or none, and the log is read again; 0; negative. */
static int find_files_again(struct input *input, struct error *error)
{
	/* In the order that a recorder gives them. */
	static const char *const captures[] = {EVIDENCE_PCAP, EVIDENCE_PCAP_GZ, NULL};
	static const char *const snapshots[] = {EVIDENCE_SNAP, NULL};
	const struct evidence_stem stem = {input->number, input->opened_ns};
	int pcap, snap = 0;

	if (input->bare)
		return 0;
	pcap = find_again(input, &input->pcap, captures, error);
	if (pcap >= 0)
		snap = find_again(input, &input->snap, snapshots, error);
	if (pcap < 0 || snap < 0 || (pcap == 0 && snap == 0))
		return pcap < 0 ? pcap : snap;
	input->has_both &= pcap == 0;
	forget_entries(input);
	if (custody_verify(input->dirfd, input->path, note_again, input, NULL, NULL) != 0)
		forget_entries(input);
	if ((pcap == 0 || input->pcap != NULL) && (snap == 0 || input->snap != NULL))
		return 1;
	input->missing_went = true;
	if (input->missing[0] == '\0')
		evidence_name(&stem,
			      pcap == 1 && input->pcap == NULL ? EVIDENCE_PCAP : EVIDENCE_SNAP,
			      input->missing);
	return 1;
}

/* What is not there has no hash. */
static int identify(struct input *input, struct error *error)
{
	int status, followed;

	do {
		if (input->pcap == NULL) {
			input->pcap_sha256[0] = '\0';
			input->pcap_bytes = 0;
			input->pcap_is_believed = false;
		}
		if (input->snap == NULL) {
			input->snap_sha256[0] = '\0';
			input->snap_bytes = 0;
			input->snap_tells = false;
		}
		status = identify_files(input, error);
		followed = status == ERROR_NO_INPUT ? find_files_again(input, error) : 0;
	} while (followed == 1);
	return followed < 0 ? followed : status;
}

int input_identify(struct input *input, bool verify, const volatile sig_atomic_t *stop,
		   struct error *error)
{
	input->verify = verify;
	input->stop = stop;
	return identify(input, error);
}

int input_follow(struct input *input, struct error *error)
{
	int followed = find_files_again(input, error);
	int status = followed == 1 ? identify(input, error) : followed;

	return status != 0 ? status : followed;
}

/* -------------------------------------------------------------- releasing -- */

void input_release(struct input *input)
{
	free(input->pcap);
	free(input->snap);
}

void inputs_release(struct inputs *inputs)
{
	for (size_t i = 0; i < inputs->count; i++)
		input_release(&inputs->items[i]);
	for (size_t i = 0; i < inputs->directory_count; i++) {
		close(inputs->directories[i].fd);
		free(inputs->directories[i].path);
	}
	free(inputs->items);
	free(inputs->directories);
	absent_release(&inputs->absent);
	*inputs = (struct inputs){0};
}
