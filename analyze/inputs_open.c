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
	return error->code == ERROR_SYSTEM && error->saved_errno != 0 &&
	       error->saved_errno != EMFILE && error->saved_errno != ENFILE;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int say_replaced(const char *name, struct error *error)
{
	errno = 0; /* it can be read */
	return error_set(error, ERROR_SYSTEM, name, -1,
			 "it was replaced or changed after it was hashed: analyze it when nobody "
			 "changes it any more, or a copy of it");
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
	if (found.device == file->device && found.inode == file->inode) {
		/* One that is being recorded grows. */
		if (evidence_has_suffix(name, EVIDENCE_PART))
			return 0;
		if (found.bytes == file->bytes && same_time(&found.modified, &file->modified) &&
		    same_time(&found.changed, &file->changed))
			return 0;
	}
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
