#include "snapshot/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

/* Numbers beyond this are of no recorder: counting on from one could run into
 * EVIDENCE_MAX_NUMBER, and readers know no names behind that. */
#define HIGHEST_BELIEVED (EVIDENCE_MAX_NUMBER / 2)

/* ----------------------------------------------------------- directory -- */

int segment_directory_open(const char *path, bool *made, int *dirfd, struct error *error)
{
	*made = mkdir(path, 0700) == 0;
	if (!*made && errno != EEXIST)
		return error_errno(error, path, "cannot make the evidence directory");
	*dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*dirfd < 0)
		return error_errno(error, path, "cannot open the evidence directory");
	return 0;
}

static void note_number(struct segment_store *store, uint64_t number)
{
	if (number > HIGHEST_BELIEVED)
		store->ignored_numbers++;
	else if (number >= store->next_number)
		store->next_number = number + 1;
}

static void on_entry(const struct custody_entry *entry, void *context)
{
	struct evidence_stem stem;
	const char *suffix;

	if (!entry->file)
		return;
	if (evidence_parse_name(entry->file, &stem, &suffix) == 0)
		note_number(context, stem.number);
	else if (strspn(entry->file, "0123456789") > strlen("999999999999"))
		note_number(context, UINT64_MAX);
}

/* Numbers are never reused, so what has expired counts too: the log knows. */
static int find_next_number(struct segment_store *store, struct error *error)
{
	struct evidence_list list;
	int status = evidence_list_read(store->dirfd, store->path, &list, error);

	if (status)
		return status;
	store->next_number = 1;
	for (size_t i = 0; i < list.count; i++)
		note_number(store, list.segments[i].stem.number);
	evidence_list_release(&list);
	/* A log that does not hold is open_log's matter; what can be read counts. */
	custody_verify(store->dirfd, store->path, on_entry, store, NULL, NULL);
	return 0;
}

/* Whatever has the log's name gets another one that is free. */
static int set_log_aside(struct segment_store *store, struct error *error)
{
	char *name = store->damaged_log;
	size_t size = sizeof store->damaged_log;

	snprintf(name, size, "%s.damaged", CUSTODY_LOG);
	for (unsigned next = 2; faccessat(store->dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	     next++)
		snprintf(name, size, "%s.damaged.%u", CUSTODY_LOG, next);
	if (renameat(store->dirfd, CUSTODY_LOG, store->dirfd, name) != 0)
		return error_errno(error, store->path, "renaming %s", CUSTODY_LOG);
	return 0;
}

/* The first line of the new log vouches for the old one as it is. */
static int log_damaged_log(struct segment_store *store, struct error *error)
{
	char sha256[CUSTODY_HEX_SIZE], detail[600];
	struct stat file;
	uint64_t bytes;
	bool hashed =
		fstatat(store->dirfd, store->damaged_log, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISREG(file.st_mode) &&
		custody_hash_file(store->dirfd, store->damaged_log, sha256, &bytes, NULL) == 0;

	snprintf(detail, sizeof detail, "was %s, set aside: %s", CUSTODY_LOG,
		 store->log_damage.message);
	return segment_log(store, "repair", store->damaged_log, hashed ? (int64_t)bytes : -1,
			   hashed ? sha256 : NULL, detail, error);
}

static int open_log(struct segment_store *store, uint64_t *repaired_bytes, struct error *error)
{
	struct error *damage = &store->log_damage;
	uint64_t broken_line = 0;
	int status = custody_open(store->dirfd, store->path, &store->custody, repaired_bytes,
				  &broken_line, damage);

	if (status && status != ERROR_DAMAGED) {
		if (error)
			*error = *damage;
		return status;
	}
	if (!status && broken_line == 0)
		return 0;
	if (!status)
		error_set(damage, ERROR_DAMAGED, CUSTODY_LOG, -1,
			  "the chain is broken at line %" PRIu64, broken_line);
	custody_close(store->custody);
	store->custody = NULL;
	status = set_log_aside(store, error);
	if (!status)
		status = custody_open(store->dirfd, store->path, &store->custody, repaired_bytes,
				      &broken_line, error);
	return status ? status : log_damaged_log(store, error);
}

static void set_path(struct segment_store *store, const char *path)
{
	size_t length = strlen(path);
	size_t cut = length >= sizeof store->path ? length - sizeof store->path + 1 : 0;

	memcpy(store->path, path + cut, length - cut + 1);
}

int segment_store_open(int dirfd, const char *path, struct segment_store *store,
		       uint64_t *repaired_bytes, struct error *error)
{
	int status;

	*store = (struct segment_store){.dirfd = dirfd, .lent_fd = -1};
	pthread_mutex_init(&store->finished, NULL);
	pthread_mutex_init(&store->lending, NULL);
	set_path(store, path);
	/* Some network file systems cannot lock a directory: there, O_EXCL alone guards. */
	if (flock(dirfd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		return error_set(error, ERROR_SYSTEM, path, -1,
				 "another recorder is writing into this directory");
	status = find_next_number(store, error);
	if (!status)
		status = open_log(store, repaired_bytes, error);
	if (status)
		return status;
	segment_store_reserve(store);
	return 0;
}

void segment_store_close(struct segment_store *store)
{
	custody_close(store->custody);
	store->custody = NULL;
	if (store->dirfd >= 0)
		close(store->dirfd);
	store->dirfd = -1;
}

static uint64_t free_bytes(int fd)
{
	struct statvfs fs;

	if (fstatvfs(fd, &fs) != 0)
		return UINT64_MAX;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* At most so much, and an eighth of what is free. */
static uint64_t reserve_bytes(const struct segment_store *store, uint64_t most)
{
	uint64_t share = free_bytes(store->dirfd) / 8;

	return share < most ? share : most;
}

void segment_store_reserve_log(struct segment_store *store)
{
	uint64_t share = reserve_bytes(store, SEGMENT_CUSTODY_RESERVE);
	struct stat status;
	int fd = evidence_open_file(store->dirfd, CUSTODY_LOG, O_WRONLY | O_NOFOLLOW, NULL, NULL);

	if (fd < 0)
		return;
	if (share > 0 && fstat(fd, &status) == 0)
		(void)fallocate(fd, FALLOC_FL_KEEP_SIZE, status.st_size, (off_t)share);
	close(fd);
}

void segment_store_reserve(struct segment_store *store)
{
	store->snap_reserve = reserve_bytes(store, SEGMENT_SNAP_RESERVE);
	segment_store_reserve_log(store);
}

/* --------------------------------------------------------------- lending -- */

void segment_lend(struct segment_store *store, int fd)
{
	pthread_mutex_lock(&store->lending);
	store->lent_fd = fd;
	store->lent_bytes = 0;
	pthread_mutex_unlock(&store->lending);
}

bool segment_lend_more(struct segment_store *store, uint64_t bytes)
{
	bool is_lent;

	pthread_mutex_lock(&store->lending);
	is_lent = store->lent_fd >= 0;
	if (is_lent)
		store->lent_bytes += bytes;
	pthread_mutex_unlock(&store->lending);
	return is_lent;
}

bool segment_end_lending(struct segment_store *store)
{
	bool was_lent;

	pthread_mutex_lock(&store->lending);
	was_lent = store->lent_fd >= 0;
	store->lent_fd = -1;
	store->lent_bytes = 0;
	pthread_mutex_unlock(&store->lending);
	return was_lent;
}

bool segment_take_back(struct segment_store *store)
{
	bool taken;

	pthread_mutex_lock(&store->lending);
	taken = store->lent_fd >= 0 && ftruncate(store->lent_fd, 0) == 0;
	if (taken) {
		store->lent_fd = -1;
		store->lent_bytes = 0;
	}
	pthread_mutex_unlock(&store->lending);
	return taken;
}

int segment_log(struct segment_store *store, const char *event, const char *file, int64_t bytes,
		const char *sha256, const char *detail, struct error *error)
{
	struct custody_entry entry = {
		.event = event,
		.file = file,
		.bytes = bytes,
		.sha256 = sha256,
		.detail = detail,
		.time_ns = quantity_now_ns(CLOCK_REALTIME),
	};

	return custody_append(store->custody, &entry, error);
}

/* --------------------------------------------------------------- begin -- */

static void part_name(const char *name, char part[EVIDENCE_NAME_SIZE + 8])
{
	snprintf(part, EVIDENCE_NAME_SIZE + 8, "%s%s", name, EVIDENCE_PART);
}

static int create(struct segment_store *store, const char *name, struct error *error)
{
	char part[EVIDENCE_NAME_SIZE + 8];
	int fd;

	part_name(name, part);
	fd = openat(store->dirfd, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(error, store->path, "cannot create %s", part);
	return fd;
}

static void remove_part(struct segment_store *store, const char *name)
{
	char part[EVIDENCE_NAME_SIZE + 8];

	part_name(name, part);
	unlinkat(store->dirfd, part, 0);
}

static void keep_snap_reserve(struct segment_store *store, struct segment *segment)
{
	if (segment->snap_bytes + store->snap_reserve / 2 < segment->snap_reserved)
		return;
	if (store->snap_reserve == 0 ||
	    fallocate(segment->snap_fd, FALLOC_FL_KEEP_SIZE, (off_t)segment->snap_bytes,
		      (off_t)store->snap_reserve) != 0)
		return;
	segment->snap_reserved = segment->snap_bytes + store->snap_reserve;
}

static bool make_room(void *store)
{
	return segment_take_back(store);
}

static int begin_pcap(struct segment_store *store, struct segment *segment,
		      const uint8_t header[PCAPHEAD_FILE_BYTES], struct error *error)
{
	char part[EVIDENCE_NAME_SIZE + 8];
	int status;

	part_name(segment->pcap, part);
	status = pcapfile_create(&segment->packets, store->dirfd, store->path, part, header, error);
	segment->packets.make_room = make_room;
	segment->packets.room_context = store;
	return status;
}

static int begin_snap(struct segment_store *store, struct segment *segment,
		      const struct segment_meta *meta, size_t meta_count,
		      const struct snapframe *key, struct error *error)
{
	char number[24];
	int fd = create(store, segment->snap, error);
	int status;

	if (fd < 0)
		return fd;
	segment->snap_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	status = snapfile_writer_open(fd, segment->snap, &segment->writer, error);
	if (status)
		return status;
	if (segment->snap_fd < 0)
		return error_errno(error, store->path, "opening %s", segment->snap);
	snprintf(number, sizeof number, "%" PRIu64, segment->stem.number);
	status = snapfile_writer_meta(segment->writer, "segment", number, error);
	for (size_t i = 0; !status && i < meta_count; i++)
		status = snapfile_writer_meta_bytes(segment->writer, meta[i].key, meta[i].value,
						    meta[i].length, error);
	if (!status)
		status = segment_write_frame(store, segment, key, error);
	return status;
}

/* Forgets the files, whatever there is of them, and frees. */
static void release(struct segment *segment)
{
	pcapfile_release(&segment->packets);
	if (segment->writer)
		snapfile_writer_close(segment->writer, NULL);
	if (segment->snap_fd >= 0)
		close(segment->snap_fd);
	free(segment);
}

void segment_abandon(struct segment_store *store, struct segment *segment)
{
	if (segment->packets.fd >= 0)
		remove_part(store, segment->pcap);
	if (segment->writer || segment->snap_fd >= 0)
		remove_part(store, segment->snap);
	release(segment);
}

static int open_once(struct segment_store *store, const uint8_t pcap_header[24],
		     const struct segment_meta *meta, size_t meta_count,
		     const struct snapframe *key, struct segment **out, struct error *error)
{
	struct segment *segment = calloc(1, sizeof *segment);
	int status;

	if (!segment)
		return error_errno(error, NULL, "opening a segment");
	segment->packets.fd = segment->packets.direct_fd = segment->snap_fd = -1;
	segment->stem.number = store->next_number;
	segment->stem.opened_ns = quantity_now_ns(CLOCK_REALTIME);
	segment->opened_monotonic_ns = quantity_now_ns(CLOCK_MONOTONIC);
	evidence_name(&segment->stem, EVIDENCE_PCAP, segment->pcap);
	evidence_name(&segment->stem, EVIDENCE_SNAP, segment->snap);
	status = begin_pcap(store, segment, pcap_header, error);
	if (!status)
		status = begin_snap(store, segment, meta, meta_count, key, error);
	if (status) {
		segment_abandon(store, segment);
		return status;
	}
	*out = segment;
	return 0;
}

int segment_open(struct segment_store *store, const uint8_t pcap_header[24],
		 const struct segment_meta *meta, size_t meta_count, const struct snapframe *key,
		 struct segment **out, struct error *error)
{
	int status = open_once(store, pcap_header, meta, meta_count, key, out, error);

	if (status && segment_take_back(store))
		status = open_once(store, pcap_header, meta, meta_count, key, out, error);
	return status;
}

int segment_commit(struct segment_store *store, struct segment *segment, struct error *error)
{
	int status;

	store->next_number = segment->stem.number + 1;
	status = segment_log(store, "open", segment->pcap, -1, NULL, "", error);
	return status ? status : segment_log(store, "open", segment->snap, -1, NULL, "", error);
}

/* -------------------------------------------------------------- frames -- */

static int flush(struct segment_store *store, struct segment *segment, struct error *error)
{
	int status = snapfile_writer_flush(segment->writer, error);

	if (status) {
		segment->snap_failed = true;
		return status;
	}
	segment->snap_bytes = snapfile_writer_bytes(segment->writer);
	keep_snap_reserve(store, segment);
	return 0;
}

int segment_write_frame(struct segment_store *store, struct segment *segment,
			const struct snapframe *frame, struct error *error)
{
	int status;

	if (segment->snap_failed)
		return 0;
	status = segment_write_event(segment, frame, error);
	return status ? status : flush(store, segment, error);
}

int segment_write_event(struct segment *segment, const struct snapframe *frame, struct error *error)
{
	int status;

	if (segment->snap_failed)
		return 0;
	status = snapfile_writer_frame_unflushed(segment->writer, frame, error);
	if (status)
		segment->snap_failed = true;
	else
		segment->frames++;
	return status;
}

/* -------------------------------------------------------------- finish -- */

int segment_publish_hashed(struct segment_store *store, const char *part, const char *name,
			   const char *event, const char *sha256, uint64_t bytes,
			   const char *detail, struct error *error)
{
	int status = segment_log(store, event, name, (int64_t)bytes, sha256, detail, error);

	if (status)
		return status;
	if (renameat2(store->dirfd, part, store->dirfd, name, RENAME_NOREPLACE) != 0) {
		/* Not every file system has it; the names are ours alone. */
		if (errno != EINVAL && errno != ENOSYS)
			return error_errno(error, store->path, "renaming %s", part);
		if (renameat(store->dirfd, part, store->dirfd, name) != 0)
			return error_errno(error, store->path, "renaming %s", part);
	}
	if (fsync(store->dirfd) != 0)
		return error_errno(error, store->path, "syncing the directory");
	return 0;
}

int segment_publish(struct segment_store *store, const char *part, const char *name,
		    const char *event, const char *detail, struct error *error)
{
	char sha256[CUSTODY_HEX_SIZE];
	uint64_t bytes;
	int status = custody_hash_file(store->dirfd, part, sha256, &bytes, error);

	return status ? status
		      : segment_publish_hashed(store, part, name, event, sha256, bytes, detail,
					       error);
}

static int finish_pcap(struct segment_store *store, struct segment *segment,
		       char sha256[CUSTODY_HEX_SIZE], struct error *error)
{
	char part[EVIDENCE_NAME_SIZE + 8];
	uint64_t bytes = segment->packets.bytes;
	char detail[64];
	bool hashed;
	int status;

	snprintf(detail, sizeof detail, "%" PRIu64 " packets", segment->packets.packets);
	status = pcapfile_close(&segment->packets, sha256, &hashed, error);
	if (status)
		return status;
	part_name(segment->pcap, part);
	if (!hashed)
		status = custody_hash_file(store->dirfd, part, sha256, &bytes, error);
	pthread_mutex_lock(&store->lending);
	store->last_pcap_bytes = bytes;
	pthread_mutex_unlock(&store->lending);
	return status ? status
		      : segment_publish_hashed(store, part, segment->pcap, "close", sha256, bytes,
					       detail, error);
}

/* A snap file whose last write failed: its gzip stream has no end. It is
 * copied to a whole one where there is room, else kept as it is, readable up
 * to its last frame. */
static void salvage_snap(struct segment_store *store, struct segment *segment)
{
	char part[EVIDENCE_NAME_SIZE + 8], whole[EVIDENCE_NAME_SIZE + 16];
	uint64_t frames;

	(void)!ftruncate(segment->snap_fd, (off_t)segment->snap_bytes);
	part_name(segment->snap, part);
	snprintf(whole, sizeof whole, "%s.salvage", segment->snap);
	if (snapfile_salvage(store->dirfd, part, whole, &frames, NULL) != 0 ||
	    frames < segment->frames || renameat(store->dirfd, whole, store->dirfd, part) != 0)
		unlinkat(store->dirfd, whole, 0);
}

static int finish_snap(struct segment_store *store, struct segment *segment, struct error *error)
{
	char part[EVIDENCE_NAME_SIZE + 8];
	char detail[96];
	struct stat file;
	int status = snapfile_writer_close(segment->writer, error);

	segment->writer = NULL;
	if (status)
		segment->snap_failed = true;
	if (segment->snap_failed)
		salvage_snap(store, segment);
	else if (fstat(segment->snap_fd, &file) == 0)
		(void)!ftruncate(segment->snap_fd, file.st_size); /* the reserve */
	close(segment->snap_fd);
	segment->snap_fd = -1;
	snprintf(detail, sizeof detail, "%" PRIu64 " frames%s", segment->frames,
		 segment->snap_failed ? ", cut short: writing failed" : "");
	part_name(segment->snap, part);
	return segment_publish(store, part, segment->snap, "close", detail, error);
}

int segment_finish(struct segment_store *store, struct segment *segment,
		   char pcap_sha256[CUSTODY_HEX_SIZE], struct error *error)
{
	/* The first failure is reported; the other file is finished all the same. */
	int status = finish_pcap(store, segment, pcap_sha256, error);
	int snap_status = finish_snap(store, segment, status ? NULL : error);

	release(segment);
	return status ? status : snap_status;
}
