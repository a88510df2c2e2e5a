/* The files of inputs, opened: those that were identified, and no others. */
#include "analyze/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

void input_path_in(const char *directory, const char *name, char out[PATH_MAX])
{
	size_t length = strlen(directory);
	const char *slash = length > 0 && directory[length - 1] == '/' ? "" : "/";

	/* A file is given without its directory there, and so it is named. */
	if (strcmp(directory, ".") == 0)
		snprintf(out, PATH_MAX, "%s", name);
	else
		snprintf(out, PATH_MAX, "%s%s%s", directory, slash, name);
}

void input_path(const struct input *input, const char *name, char out[PATH_MAX])
{
	input_path_in(input->path, name, out);
}

struct input_file input_file_of(const struct stat *status)
{
	return (struct input_file){
		.device = status->st_dev,
		.inode = status->st_ino,
		.bytes = status->st_size,
		.modified = status->st_mtim,
		.changed = status->st_ctim,
	};
}

bool input_is_unreadable(const struct error *error)
{
	return (error->code == ERROR_SYSTEM || error->code == ERROR_DAMAGED) &&
	       error->path[0] != '\0' && error->saved_errno != 0 && error->saved_errno != EMFILE &&
	       error->saved_errno != ENFILE;
}

void input_note_unreadable(struct input *input, const struct error *why)
{
	if (input_is_unreadable(why))
		input->unreadable = *why;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int say_replaced(const char *name, struct error *error)
{
	errno = 0; /* it can be read */
	return error_set(
		error, ERROR_SYSTEM, name, -1,
		"it was replaced or changed after it was looked at: analyze it when nobody "
		"changes it any more, or a copy of it");
}

static bool same_file(const struct input_file *a, const struct input_file *b)
{
	return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
	       same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}

/* But for what a link that is made, or another owner, changes. */
static bool same_bytes(const struct input_file *a, const struct input_file *b)
{
	return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
	       same_time(&a->modified, &b->modified);
}

int input_hash_later(const struct input *input, const volatile sig_atomic_t *stop,
		     char sha256[CUSTODY_HEX_SIZE], struct error *error)
{
	char again[CUSTODY_HEX_SIZE];
	struct input_file found;
	int fd = evidence_open_file(input->dirfd, input->pcap, O_RDONLY, input->pcap, error);
	struct stat info;
	uint64_t bytes;
	int status;

	if (fd < 0)
		return fd == ERROR_DAMAGED ? say_replaced(input->pcap, error) : fd;
	status = custody_hash_descriptor(fd, input->pcap, stop, sha256, &bytes, error);
	if (status == 0 && fstat(fd, &info) != 0)
		status = error_errno(error, input->pcap, "cannot examine");
	if (status == 0) {
		found = input_file_of(&info);
		if (!same_bytes(&found, &input->pcap_file))
			status = say_replaced(input->pcap, error);
	}
	if (status == 0 && !same_file(&found, &input->pcap_file)) {
		status = custody_hash_descriptor(fd, input->pcap, stop, again, &bytes, error);
		if (status == 0 && strcmp(sha256, again) != 0)
			status = say_replaced(input->pcap, error);
	}
	close(fd);
	return status;
}

int input_look_again(const struct input *input, struct error *error)
{
	struct stat info;
	struct input_file found;

	if (fstatat(input->dirfd, input->pcap, &info, 0) != 0)
		return errno == ENOENT ? 0 : error_errno(error, input->pcap, "cannot examine");
	found = input_file_of(&info);
	return found.device != input->pcap_file.device || found.inode != input->pcap_file.inode ||
			       same_bytes(&found, &input->pcap_file)
		       ? 0
		       : say_replaced(input->pcap, error);
}

/* A link that was made, or an owner, changes a file's times too. */
static int compare_content(const struct input *input, int fd, const char *name, const char *sha256,
			   struct error *error)
{
	char found[CUSTODY_HEX_SIZE];
	uint64_t bytes;
	int status = custody_hash_descriptor(fd, name, input->stop, found, &bytes, error);

	if (status != 0)
		return status;
	return strcmp(found, sha256) == 0 ? 0 : say_replaced(name, error);
}

/* 0: it is that file, with what was in it. */
static int compare(const struct input *input, int fd, const char *name,
		   const struct input_file *file, const char *sha256, struct error *error)
{
	struct input_file found;
	struct stat info;

	if (fstat(fd, &info) != 0)
		return error_errno(error, name, "cannot examine");
	found = input_file_of(&info);
	if (same_file(&found, file))
		return 0;
	/* One that is being recorded grows. */
	if (found.device == file->device && found.inode == file->inode &&
	    evidence_has_suffix(name, EVIDENCE_PART))
		return 0;
	if (sha256[0] == '\0')
		return say_replaced(name, error);
	return compare_content(input, fd, name, sha256, error);
}

/* The descriptor, or negative. */
static int open_identified(const struct input *input, const char *name,
			   const struct input_file *file, const char *sha256, struct error *error)
{
	int fd = evidence_open_file(input->dirfd, name, O_RDONLY, name, error), status;

	/* It was a regular file. */
	if (fd < 0)
		return fd == ERROR_DAMAGED ? say_replaced(name, error) : fd;
	status = compare(input, fd, name, file, sha256, error);
	if (status == 0)
		return fd;
	close(fd);
	return status;
}

int input_open_pcap(const struct input *input, bool hashed, struct pcapin **out,
		    struct error *error)
{
	int fd = open_identified(input, input->pcap, &input->pcap_file, input->pcap_sha256, error);

	return fd < 0 ? fd : pcapin_open_descriptor(fd, input->pcap, hashed, out, error);
}

int input_open_snap(const struct input *input, struct snapfile_reader **out, struct error *error)
{
	int fd = open_identified(input, input->snap, &input->snap_file, input->snap_sha256, error);

	return fd < 0 ? fd : snapfile_open_descriptor(fd, input->snap, out, error);
}

/* Snapshots of another time and other processes would name wrong owners. */
static void refuse_foreign(struct input *input, uint64_t number)
{
	char wanted[sizeof("snapshots of segment 18446744073709551615")];

	snprintf(wanted, sizeof(wanted), "snapshots of segment %" PRIu64, input->number);
	error_damage(&input->snap_altered, input->snap, -1, wanted,
		     "those of segment %" PRIu64 ": the capture is loaded without them", number);
	input->snap_is_foreign = true;
	input->snap_tells = false;
	input->recording[0] = input->snap_sha256[0] = '\0';
	input->snap_bytes = 0;
	free(input->snap);
	input->snap = NULL;
}

/* Damage is found again when it is loaded. */
void input_read_header(struct input *input)
{
	struct snapfile_reader *reader = NULL;
	struct snap_record record;
	uint64_t number = 0;

	input->snap_tells = snapfile_open(input->dirfd, input->snap, &reader, NULL) == 0;
	while (input->snap_tells && snapfile_next(reader, &record, NULL) == 1 &&
	       record.type == SNAP_TYPE_META) {
		const char *key = record.u.meta.key, *value = record.u.meta.value;

		if (strcmp(key, "recording") == 0 && value != NULL)
			snprintf(input->recording, sizeof(input->recording), "%s", value);
		if (strcmp(key, "segment") == 0 && value != NULL &&
		    quantity_parse_uint(value, EVIDENCE_MAX_NUMBER, &number) != 0)
			number = 0;
	}
	snapfile_close(reader);
	if (input->pcap != NULL && number != 0 && number != input->number)
		refuse_foreign(input, number);
}

void input_check_content(struct input *input, const char *sha256)
{
	if (input->content_doubted[0] == '\0' || sha256[0] == '\0' ||
	    input->pcap_altered.code != 0 || strcmp(sha256, input->content_doubted) == 0)
		return;
	error_damage(&input->pcap_altered, input->pcap, -1,
		     "what " CUSTODY_LOG " has of it before it was compressed",
		     "another SHA-256 of what is in it, %s", sha256);
}
