#include "snapshot/repair.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/capture.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/pcaphead.h"
#include "snapshot/format/pcapindex.h"

#define SUFFIX_DAMAGED ".damaged"
#define SUFFIX_SALVAGE ".salvage"
#define SUFFIX_REST    ".rest"
#define COPY_BYTES     65536

/* ---------------------------------------------------------------- pcap -- */

struct pcap_scan {
	FILE *file;
	uint64_t size;
	bool swapped;
	bool nanoseconds;
	uint32_t snaplen;
	bool is_torn; /* the last record that was looked at breaks off with the file */
};

static uint32_t field(const struct pcap_scan *scan, const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof value);
	return scan->swapped ? __builtin_bswap32(value) : value;
}

static bool read_header(struct pcap_scan *scan)
{
	uint8_t header[PCAPHEAD_FILE_BYTES];
	uint32_t magic;

	if (fread(header, 1, sizeof header, scan->file) != sizeof header)
		return false;
	memcpy(&magic, header, sizeof magic);
	scan->swapped = magic == __builtin_bswap32(PCAPHEAD_MICROSECONDS) ||
			magic == __builtin_bswap32(PCAPHEAD_NANOSECONDS);
	magic = field(scan, header);
	scan->nanoseconds = magic == PCAPHEAD_NANOSECONDS;
	if (!scan->nanoseconds && magic != PCAPHEAD_MICROSECONDS)
		return false;
	scan->snaplen = field(scan, header + PCAPHEAD_SNAPLEN_AT);
	if (scan->snaplen == 0 || scan->snaplen > PCAPHEAD_MAX_SNAPLEN)
		scan->snaplen = PCAPHEAD_MAX_SNAPLEN;
	return true;
}

/* True if a whole and plausible record follows; its bytes are skipped. A file
 * system may have left zeros where data never reached the disk: a record
 * without a time or a length is none. */
static bool skip_record(struct pcap_scan *scan, uint64_t at, uint64_t *length)
{
	uint8_t header[PCAPHEAD_RECORD_BYTES];
	uint32_t captured, original;

	scan->is_torn = scan->size - at < sizeof header;
	if (scan->is_torn || fread(header, 1, sizeof header, scan->file) != sizeof header)
		return false;
	captured = field(scan, header + PCAPHEAD_CAPTURED_AT);
	original = field(scan, header + 12);
	if (field(scan, header) == 0 || original == 0 || captured > scan->snaplen ||
	    field(scan, header + 4) >= (scan->nanoseconds ? 1000000000u : 1000000u))
		return false;
	if (captured > scan->size - at - sizeof header) {
		/* The recorder leaves out no byte below the snaplen. Another length is damage, and
		 * what is behind it more than one record. */
		scan->is_torn = captured == (original < scan->snaplen ? original : scan->snaplen);
		return false;
	}
	if (fseeko(scan->file, captured, SEEK_CUR) != 0)
		return false;
	*length = sizeof header + captured;
	return true;
}

int repair_scan_pcap(int fd, const char *path, struct repair_scan *out, struct error *error)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct pcap_scan scan = {.file = copy < 0 ? NULL : fdopen(copy, "r")};
	uint64_t at = 0, count = 0, length;
	struct stat status;

	if (!scan.file || fstat(fd, &status) != 0 || fseeko(scan.file, 0, SEEK_SET) != 0) {
		int result = error_errno(error, path, "reading");

		if (scan.file)
			fclose(scan.file);
		else if (copy >= 0)
			close(copy);
		return result;
	}
	scan.size = (uint64_t)status.st_size;
	if (read_header(&scan)) {
		at = PCAPHEAD_FILE_BYTES;
		while (skip_record(&scan, at, &length)) {
			at += length;
			count++;
		}
	}
	fclose(scan.file);
	*out = (struct repair_scan){.whole_bytes = at, .packets = count, .is_torn = scan.is_torn};
	return 0;
}

/* --------------------------------------------------------------- files -- */

static int set_aside(struct segment_store *store, const char *part, const char *name,
		     struct repair_result *result, struct error *error)
{
	char damaged[EVIDENCE_NAME_SIZE + 32];

	snprintf(damaged, sizeof damaged, "%s" SUFFIX_DAMAGED, name);
	result->files++;
	return segment_publish(store, part, damaged, "repair",
			       "left by a crash, nothing whole in it: set aside", error);
}

/* What is not zeros from a place on. Negative if it cannot be read. */
static int has_bytes(int fd, uint64_t at, const char *part, struct error *error)
{
	uint8_t bytes[COPY_BYTES];
	ssize_t got;

	while ((got = pread(fd, bytes, sizeof bytes, (off_t)at)) > 0) {
		for (ssize_t i = 0; i < got; i++)
			if (bytes[i] != 0)
				return 1;
		at += (uint64_t)got;
	}
	return got < 0 ? error_errno(error, part, "reading") : 0;
}

static int copy_from(int from, uint64_t at, int to, const char *name, struct error *error)
{
	uint8_t bytes[COPY_BYTES];
	ssize_t got;

	while ((got = pread(from, bytes, sizeof bytes, (off_t)at)) > 0) {
		if (evidence_write_all(to, bytes, (size_t)got) != 0)
			return error_errno(error, name, "writing");
		at += (uint64_t)got;
	}
	return got < 0 || fsync(to) != 0 ? error_errno(error, name, "copying to") : 0;
}

/* A power loss can lose a piece of the file and keep later ones. What is behind the hole
 * may be good packets, so it is kept before the file is cut. */
static int keep_rest(struct segment_store *store, int fd, uint64_t at, const char *name,
		     struct error *error)
{
	char salvage[EVIDENCE_NAME_SIZE + 32], rest[EVIDENCE_NAME_SIZE + 48], detail[192];
	int status, to;

	snprintf(salvage, sizeof salvage, "%s" SUFFIX_SALVAGE, name);
	snprintf(rest, sizeof rest, "%s" SUFFIX_REST SUFFIX_DAMAGED, name);
	/* One that an interrupted repair left; the name then has a number. */
	for (unsigned next = 2; faccessat(store->dirfd, rest, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	     next++)
		snprintf(rest, sizeof rest, "%s" SUFFIX_REST SUFFIX_DAMAGED ".%u", name, next);
	unlinkat(store->dirfd, salvage, 0);
	to = openat(store->dirfd, salvage, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (to < 0)
		return error_errno(error, store->path, "cannot create %s", salvage);
	status = copy_from(fd, at, to, salvage, error);
	close(to);
	snprintf(detail, sizeof detail,
		 "left by a crash: what %s had from byte %" PRIu64 " on, behind damage", name, at);
	if (!status)
		status = segment_publish(store, salvage, rest, "repair", detail, error);
	if (status)
		unlinkat(store->dirfd, salvage, 0);
	return status;
}

static int repair_pcap(struct segment_store *store, const char *part, const char *name,
		       struct repair_result *result, struct error *error)
{
	int fd = evidence_open_file(store->dirfd, part, O_RDWR | O_NOFOLLOW, part, error);
	struct repair_scan scan;
	char detail[128];
	struct stat file;
	int status, kept;

	if (fd < 0)
		return fd;
	if (fstat(fd, &file) != 0) {
		status = error_errno(error, store->path, "repairing %s", part);
		goto out;
	}
	/* Cutting it would cut what another name calls its own. */
	if (file.st_nlink != 1) {
		status = error_set(error, ERROR_DAMAGED, part, -1, "it has other names");
		goto out;
	}
	status = repair_scan_pcap(fd, part, &scan, error);
	if (status)
		goto out;
	if (scan.whole_bytes == 0) {
		status = set_aside(store, part, name, result, error);
		goto out;
	}
	kept = scan.is_torn ? 0 : has_bytes(fd, scan.whole_bytes, part, error);
	status = kept == 1 ? keep_rest(store, fd, scan.whole_bytes, name, error) : kept;
	if (status)
		goto out;
	if (ftruncate(fd, (off_t)scan.whole_bytes) != 0 || fsync(fd) != 0) {
		status = error_errno(error, store->path, "cutting %s", part);
		goto out;
	}
	snprintf(detail, sizeof detail,
		 "left by a crash: %" PRIu64 " packets kept, %" PRIu64 " bytes %s", scan.packets,
		 (uint64_t)file.st_size - scan.whole_bytes, kept == 1 ? "set aside" : "cut");
	result->files++;
	result->cut_bytes += (uint64_t)file.st_size - scan.whole_bytes;
	status = segment_publish(store, part, name, "repair", detail, error);
out:
	close(fd);
	return status;
}

static int repair_snap(struct segment_store *store, const char *part, const char *name,
		       struct repair_result *result, struct error *error)
{
	char salvage[EVIDENCE_NAME_SIZE + 32], detail[128];
	struct stat before = {0}, after = {0};
	uint64_t frames;
	int status;

	snprintf(salvage, sizeof salvage, "%s" SUFFIX_SALVAGE, name);
	unlinkat(store->dirfd, salvage, 0); /* a copy that an interrupted repair left */
	status = snapfile_salvage(store->dirfd, part, salvage, &frames, error);
	if (status == ERROR_DAMAGED) {
		unlinkat(store->dirfd, salvage, 0);
		return set_aside(store, part, name, result, error);
	}
	if (status)
		return status;
	(void)fstatat(store->dirfd, part, &before, AT_SYMLINK_NOFOLLOW);
	(void)fstatat(store->dirfd, salvage, &after, AT_SYMLINK_NOFOLLOW);
	snprintf(detail, sizeof detail,
		 "left by a crash: %" PRIu64 " whole frames kept, %" PRId64
		 " bytes before, %" PRId64 " after",
		 frames, (int64_t)before.st_size, (int64_t)after.st_size);
	result->files++;
	status = segment_publish(store, salvage, name, "repair", detail, error);
	if (status)
		return status;
	if (unlinkat(store->dirfd, part, 0) != 0)
		return error_errno(error, store->path, "removing %s", part);
	return 0;
}

/* A compression that did not come to its end: the pcap is still there. */
static int undo_compression(struct segment_store *store, const char *name,
			    struct repair_result *result, struct error *error)
{
	char index[PCAPINDEX_NAME_SIZE];
	int status = segment_log(store, "repair", name, -1, NULL,
				 "unfinished compression removed, the pcap is there", error);

	if (status)
		return status;
	if (unlinkat(store->dirfd, name, 0) != 0)
		return error_errno(error, store->path, "removing %s", name);
	pcapindex_name(name, index);
	unlinkat(store->dirfd, index, 0); /* mostly there is none yet */
	result->files++;
	return 0;
}

/* What the log has of one file: its last hash. */
struct logged_hash {
	const char *name;
	char sha256[CUSTODY_HEX_SIZE]; /* "": none */
};

static void note_hash(const struct custody_entry *entry, void *context)
{
	struct logged_hash *logged = context;

	if (entry->file && entry->sha256 && strcmp(entry->file, logged->name) == 0)
		snprintf(logged->sha256, sizeof logged->sha256, "%s", entry->sha256);
}

/* Both are published. The compressed one was checked before it got its name, and the plain one
 * may be there again because somebody unpacked it, or a part of it: only what the log vouches
 * for is as good. */
static int choose_of_both(struct segment_store *store, const char *compressed,
			  struct repair_result *result, struct error *error)
{
	char plain[EVIDENCE_NAME_SIZE], sha256[CUSTODY_HEX_SIZE];
	struct logged_hash logged = {.name = plain};
	uint64_t bytes;
	int status;

	snprintf(plain, sizeof plain, "%.*s",
		 (int)(strlen(compressed) - strlen(EVIDENCE_PCAP_GZ) + strlen(EVIDENCE_PCAP)),
		 compressed);
	status = custody_verify(store->dirfd, store->path, note_hash, &logged, NULL, error);
	if (!status)
		status = custody_hash_file(store->dirfd, plain, sha256, &bytes, error);
	if (status)
		return status;
	if (strcmp(sha256, logged.sha256) == 0)
		return undo_compression(store, compressed, result, error);
	return error_set(error, ERROR_DAMAGED, compressed, -1,
			 "%s is there too and is not what " CUSTODY_LOG " has of it: both are kept",
			 plain);
}

/* ----------------------------------------------------------- directory -- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static int push_name(char ***names, size_t *count, const char *name)
{
	char **grown;

	/* Doubles at each power of two. */
	if ((*count & (*count - 1)) == 0) {
		grown = reallocarray(*names, *count ? *count * 2 : 1, sizeof **names);
		if (!grown)
			return -1;
		*names = grown;
	}
	(*names)[*count] = strdup(name);
	if (!(*names)[*count])
		return -1;
	++*count;
	return 0;
}

static int read_names(struct segment_store *store, char ***names, size_t *count,
		      struct error *error)
{
	int fd = openat(store->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int status = 0;

	if (!directory) {
		status = error_errno(error, store->path, "listing the directory");
		if (fd >= 0)
			close(fd);
		return status;
	}
	while (errno = 0, (entry = readdir(directory)) != NULL) {
		/* Segments begin with their number. */
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		if (push_name(names, count, entry->d_name) != 0)
			break;
	}
	if (errno)
		status = error_errno(error, store->path, "listing the directory");
	closedir(directory);
	if (*count)
		qsort(*names, *count, sizeof **names, compare_names);
	return status;
}

static bool is_regular(struct segment_store *store, const char *name)
{
	struct stat file;

	return fstatat(store->dirfd, name, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(file.st_mode);
}

/* Is the file name, without what its last cut characters say, in the directory? */
static bool stem_exists(struct segment_store *store, const char *name, size_t cut)
{
	char other[EVIDENCE_NAME_SIZE + 16];

	snprintf(other, sizeof other, "%.*s", (int)(strlen(name) - cut), name);
	return is_regular(store, other);
}

static int repair_file(struct segment_store *store, const char *file, struct repair_result *result,
		       struct error *error)
{
	const size_t part_length = sizeof EVIDENCE_PART - 1;
	char name[EVIDENCE_NAME_SIZE + 16];
	struct evidence_stem stem;
	const char *suffix;

	if (strlen(file) <= part_length || strlen(file) >= EVIDENCE_NAME_SIZE)
		return 0;
	snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - part_length), file);
	/* It says nothing of its own. */
	if (evidence_has_suffix(file, EVIDENCE_PCAP_GZ EVIDENCE_IDX EVIDENCE_PART))
		return unlinkat(store->dirfd, file, 0) == 0
			       ? 0
			       : error_errno(error, store->path, "removing %s", file);
	if (evidence_has_suffix(file, EVIDENCE_PCAP_GZ) &&
	    stem_exists(store, file, sizeof ".gz" - 1))
		return choose_of_both(store, file, result, error);
	if (evidence_has_suffix(file, EVIDENCE_PCAP_GZ EVIDENCE_PART) &&
	    stem_exists(store, file, sizeof ".gz" EVIDENCE_PART - 1))
		return undo_compression(store, file, result, error);
	if (!evidence_has_suffix(file, EVIDENCE_PART) ||
	    evidence_parse_name(name, &stem, &suffix) != 0)
		return 0;
	if (!is_regular(store, file))
		return error_set(error, ERROR_DAMAGED, file, -1, "not a regular file");
	if (strcmp(suffix, EVIDENCE_PCAP) == 0)
		return repair_pcap(store, file, name, result, error);
	if (strcmp(suffix, EVIDENCE_SNAP) != 0)
		return 0;
	/* A repair that was itself interrupted between renaming and removing. */
	if (stem_exists(store, file, part_length))
		return unlinkat(store->dirfd, file, 0) == 0
			       ? 0
			       : error_errno(error, store->path, "removing %s", file);
	return repair_snap(store, file, name, result, error);
}

/* What the log says of it is all that can be done. */
static void leave_alone(struct segment_store *store, const char *name, struct error *problem,
			struct repair_result *result,
			void (*notice)(void *context, const struct error *error), void *context)
{
	char detail[sizeof problem->message + 16];

	snprintf(detail, sizeof detail, "left alone: %s", problem->message);
	result->left++;
	(void)segment_log(store, "repair", name, -1, NULL, detail, NULL);
	error_set(problem, problem->code, name, -1, "%s", detail);
	if (notice)
		notice(context, problem);
}

int repair_directory(struct segment_store *store, struct repair_result *result,
		     void (*notice)(void *context, const struct error *error), void *context,
		     struct error *error)
{
	char **names = NULL;
	size_t count = 0;
	int status = read_names(store, &names, &count, error);

	*result = (struct repair_result){0};
	for (size_t i = 0; !status && i < count; i++) {
		struct error problem = ERROR_NONE;

		if (repair_file(store, names[i], result, &problem) != 0)
			leave_alone(store, names[i], &problem, result, notice, context);
	}
	if (!status && result->files && fsync(store->dirfd) != 0)
		status = error_errno(error, store->path, "syncing the directory");
	free_names(names, count);
	return status;
}
