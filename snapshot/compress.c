#include "snapshot/compress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#include "snapshot/capture.h"
#include "snapshot/format/gzmember.h"
#include "snapshot/format/pcaphead.h"
#include "snapshot/format/pcapindex.h"
#include "snapshot/format/quantity.h"

/* What is read back and compared at a time. */
#define CHECK_BYTES (256u << 10)

/* One file on its way. */
struct job {
	struct segment_store *store;
	const char *name;
	const atomic_bool *cancel;
	int compressed; /* a descriptor; -1: not made */
	char part[EVIDENCE_NAME_SIZE + 16];
	EVP_MD_CTX *hash; /* of what is written */
	struct pcapindex index;
};

/* ------------------------------------------------------------------ room -- */

int compress_look_for_room(struct segment_store *store, const char *name, uint64_t bytes,
			   uint64_t more_bytes, struct error *error)
{
	struct statvfs fs;

	pthread_mutex_lock(&store->lending);
	if (bytes < store->last_pcap_bytes)
		bytes = store->last_pcap_bytes;
	pthread_mutex_unlock(&store->lending);
	if (fstatvfs(store->dirfd, &fs) != 0)
		return error_errno(error, store->path, "compressing %s", name);
	if (bytes + more_bytes + GZMEMBER_MOST_BYTES <= (uint64_t)fs.f_bavail * fs.f_frsize)
		return 0;
	return error_set(error, ERROR_LIMIT, store->path, -1,
			 "no room to compress %s and to record as much again: it stays as it is "
			 "until there is",
			 name);
}

/* Opens the plain file, for a moment only: once it has expired its room is needed. Looks for
 * room each time, as giving up makes room. */
static int open_plain(const struct job *job, struct error *error)
{
	int fd = evidence_open_file(job->store->dirfd, job->name, O_RDONLY | O_NOFOLLOW, job->name,
				    error);
	struct stat file;
	int status;

	if (fd < 0)
		return fd;
	if (fstat(fd, &file) != 0)
		status = error_errno(error, job->store->path, "compressing %s", job->name);
	else
		status = compress_look_for_room(job->store, job->name, (uint64_t)file.st_size, 0,
						error);
	if (!status)
		return fd;
	close(fd);
	return status;
}

static int no_room_left(const struct job *job, struct error *error)
{
	return error_set(error, ERROR_LIMIT, job->store->path, -1,
			 "no room to compress %s and to record: it stays as it is until there is",
			 job->name);
}

/* What is written is on its way to the disk at once: the sync at the end, and with it each one
 * that others wait for, is short then. */
static int write_compressed(struct job *job, const uint8_t *bytes, size_t length,
			    struct error *error)
{
	struct segment_store *store = job->store;

	if (EVP_DigestUpdate(job->hash, bytes, length) != 1)
		return error_set(error, ERROR_MEMORY, job->name, -1, "SHA-256 failed");
	if (evidence_write_all(job->compressed, bytes, length) != 0)
		return errno == ENOSPC || errno == EDQUOT
			       ? no_room_left(job, error)
			       : error_errno(error, store->path, "writing %s", job->part);
	(void)sync_file_range(job->compressed, (off_t)job->index.file_bytes, (off_t)length,
			      SYNC_FILE_RANGE_WRITE);
	job->index.file_bytes += length;
	return segment_lend_more(store, length) ? 0 : no_room_left(job, error);
}

static int read_full(const struct job *job, uint8_t *bytes, size_t wanted, uint64_t at, size_t *got,
		     struct error *error)
{
	int fd, status = 0;

	*got = 0;
	if (atomic_load(job->cancel))
		return error_set(error, ERROR_INTERRUPTED, job->name, -1, "not compressed");
	fd = open_plain(job, error);
	if (fd < 0)
		return fd;
	while (!status && *got < wanted) {
		ssize_t length = pread(fd, bytes + *got, wanted - *got, (off_t)(at + *got));

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			status = error_errno(error, job->name, "reading");
		if (length == 0)
			break;
		*got += length > 0 ? (size_t)length : 0;
	}
	close(fd);
	return status;
}

/* --------------------------------------------------------------- members -- */

/* What is read of the plain file and not yet compressed: members are cut off its front. */
struct cutter {
	uint8_t *bytes; /* room for GZMEMBER_CONTENT_BYTES */
	size_t held;
	uint64_t at; /* of bytes in the plain file */
	bool nanoseconds;
	bool astray; /* a record made no sense: where the next one begins is not known */
};

static uint32_t word(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof value);
	return value;
}

static int64_t time_of(const struct cutter *cutter, const uint8_t *record)
{
	return word(record) * NS_PER_SECOND +
	       (int64_t)word(record + 4) * (cutter->nanoseconds ? 1 : 1000);
}

/* How much of what is held the next member takes; notes where it begins. */
static int cut(struct job *job, struct cutter *cutter, size_t *length, struct error *error)
{
	struct pcapindex_member member = {
		.offset_bytes = job->index.file_bytes,
		.content_bytes = cutter->at,
		.packet = job->index.packets + 1,
	};
	size_t header = 0, whole = 0;
	uint64_t packets = 0;

	if (cutter->at == 0) {
		header = cutter->held < PCAPHEAD_FILE_BYTES ? cutter->held : PCAPHEAD_FILE_BYTES;
		cutter->nanoseconds =
			header >= sizeof(uint32_t) && word(cutter->bytes) == PCAPHEAD_NANOSECONDS;
	}
	if (!cutter->astray)
		whole = capture_whole_records(cutter->bytes + header, cutter->held - header,
					      &packets);
	*length = header + whole;
	if (packets > 0)
		member.time_ns = time_of(cutter, cutter->bytes + header);
	job->index.packets += packets;
	/* The end of the file, or no packet that fits: the bytes go as they are. */
	if (packets == 0) {
		cutter->astray = cutter->held > header;
		*length = cutter->held;
	}
	return packets > 0 || header > 0 ? pcapindex_add(&job->index, &member, error) : 0;
}

static int write_members(struct job *job, struct cutter *cutter, struct gzmember_maker *maker,
			 uint8_t *out, struct error *error)
{
	for (;;) {
		size_t got, length, bytes;
		int status = read_full(job, cutter->bytes + cutter->held,
				       GZMEMBER_CONTENT_BYTES - cutter->held,
				       cutter->at + cutter->held, &got, error);

		if (status)
			return status;
		cutter->held += got;
		if (cutter->held == 0)
			return 0;
		status = cut(job, cutter, &length, error);
		/* With more members than an index has, the capture goes without one. */
		if (status == ERROR_LIMIT)
			status = 0;
		if (status)
			return status;
		bytes = gzmember_make(maker, cutter->bytes, length, out);
		status = write_compressed(job, out, bytes, error);
		if (status)
			return status;
		cutter->at += length;
		cutter->held -= length;
		memmove(cutter->bytes, cutter->bytes + length, cutter->held);
		job->index.content_bytes = cutter->at;
	}
}

static int compress_all(struct job *job, struct error *error)
{
	struct gzmember_maker *maker = gzmember_maker_new();
	struct cutter cutter = {.bytes = malloc(GZMEMBER_CONTENT_BYTES)};
	uint8_t *out = malloc(GZMEMBER_MOST_BYTES);
	int status;

	if (!maker || !cutter.bytes || !out)
		status = error_set(error, ERROR_MEMORY, job->name, -1, "no memory to compress it");
	else
		status = write_members(job, &cutter, maker, out, error);
	if (!status && fsync(job->compressed) != 0)
		status = error_errno(error, job->store->path, "syncing %s", job->part);
	if (!status)
		status = pcapindex_seal(&job->index, job->compressed, job->part, error);
	gzmember_maker_free(maker);
	free(cutter.bytes);
	free(out);
	return status;
}

/* ----------------------------------------------------------------- check -- */

/* Reads both to their ends, the compressed one as any other program would, by another
 * library than the one that made it. */
static int compare(struct job *job, gzFile from, EVP_MD_CTX *hash, uint8_t *bytes,
		   struct error *error)
{
	uint8_t *other = bytes + CHECK_BYTES;

	for (uint64_t at = 0;;) {
		int inflated = gzread(from, other, CHECK_BYTES);
		size_t got;
		int status = read_full(job, bytes, CHECK_BYTES, at, &got, error);

		if (status)
			return status;
		if (inflated < 0 || (size_t)inflated != got || memcmp(bytes, other, got) != 0)
			return error_set(error, ERROR_DAMAGED, job->part, -1,
					 "does not give what %s has behind its byte %" PRIu64
					 ": not compressed",
					 job->name, at);
		if (got == 0)
			return 0;
		if (EVP_DigestUpdate(hash, bytes, got) != 1)
			return error_set(error, ERROR_MEMORY, job->name, -1, "SHA-256 failed");
		at += got;
	}
}

static int end_hash(const struct job *job, EVP_MD_CTX *hash, char hex[CUSTODY_HEX_SIZE],
		    struct error *error)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned length;

	if (EVP_DigestFinal_ex(hash, digest, &length) != 1 || 2 * length + 1 != CUSTODY_HEX_SIZE)
		return error_set(error, ERROR_MEMORY, job->name, -1, "SHA-256 failed");
	custody_hex(digest, length, hex);
	return 0;
}

static int check(struct job *job, const char *sha256, struct error *error)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t *bytes = malloc(2 * CHECK_BYTES);
	int fd = openat(job->store->dirfd, job->part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	gzFile from = fd < 0 ? NULL : gzdopen(fd, "rb");
	char hex[CUSTODY_HEX_SIZE];
	int status;

	if (fd < 0)
		status = error_errno(error, job->store->path, "reading %s back", job->part);
	else if (!hash || !bytes || !from || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
		status = error_set(error, ERROR_MEMORY, job->name, -1, "no memory to compress it");
	else
		status = compare(job, from, hash, bytes, error);
	if (!status)
		status = end_hash(job, hash, hex, error);
	if (!status && strcmp(hex, sha256) != 0)
		status = error_damage(error, job->name, -1, "what " CUSTODY_LOG " has of it",
				      "another SHA-256, %s: not compressed", hex);
	if (from)
		gzclose(from);
	else if (fd >= 0)
		close(fd);
	EVP_MD_CTX_free(hash);
	free(bytes);
	return status;
}

/* ------------------------------------------------------------------ file -- */

static int make(struct job *job, const char *sha256, char hex[CUSTODY_HEX_SIZE],
		struct error *error)
{
	int status;

	if (!job->hash || EVP_DigestInit_ex(job->hash, EVP_sha256(), NULL) != 1)
		return error_set(error, ERROR_MEMORY, job->name, -1, "no memory to compress it");
	job->compressed = openat(job->store->dirfd, job->part,
				 O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (job->compressed < 0)
		return error_errno(error, job->store->path, "cannot create %s", job->part);
	segment_lend(job->store, job->compressed);
	status = compress_all(job, error);
	if (!status)
		status = check(job, sha256, error);
	/* From here on it is evidence. */
	if (!segment_end_lending(job->store))
		status = no_room_left(job, error);
	return status ? status : end_hash(job, job->hash, hex, error);
}

/* With the lock: whatever expires does so before, or finds the compressed one. */
static int replace(struct job *job, const char *hex, struct error *error)
{
	char detail[EVIDENCE_NAME_SIZE + 64], compressed[EVIDENCE_NAME_SIZE + 8];
	char index[PCAPINDEX_NAME_SIZE];
	struct segment_store *store = job->store;
	int status;

	if (faccessat(store->dirfd, job->name, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		return error_set(error, ERROR_NO_INPUT, job->name, -1, "has expired");
	snprintf(compressed, sizeof compressed, "%s.gz", job->name);
	snprintf(detail, sizeof detail, "replaces %s", job->name);
	status = segment_publish_hashed(store, job->part, compressed, "compress", hex,
					job->index.file_bytes, detail, error);
	if (!status && (unlinkat(store->dirfd, job->name, 0) != 0 || fsync(store->dirfd) != 0))
		status = error_errno(error, store->path, "removing %s", job->name);
	pcapindex_name(compressed, index);
	if (!status && job->index.count < PCAPINDEX_MAX_MEMBERS)
		status = pcapindex_write(&job->index, store->dirfd, index, error);
	return status;
}

static void clean_up(struct job *job)
{
	if (job->compressed >= 0) {
		unlinkat(job->store->dirfd, job->part, 0); /* unless it has its name */
		/* It is on the disk; what else the host has in its memory is needed more. */
		posix_fadvise(job->compressed, 0, 0, POSIX_FADV_DONTNEED);
		close(job->compressed);
	}
	EVP_MD_CTX_free(job->hash);
	pcapindex_release(&job->index);
}

int compress_segment(struct segment_store *store, const char *name, const char *sha256,
		     const atomic_bool *cancel, struct error *error)
{
	struct job job = {.store = store, .name = name, .cancel = cancel, .compressed = -1};
	char hex[CUSTODY_HEX_SIZE];
	int fd, status;

	fd = open_plain(&job, error);
	if (fd < 0)
		return fd == ERROR_NO_INPUT ? 0 : fd;
	close(fd);
	snprintf(job.part, sizeof job.part, "%s.gz" EVIDENCE_PART, name);
	job.hash = EVP_MD_CTX_new();
	status = make(&job, sha256, hex, error);
	if (!status) {
		pthread_mutex_lock(&store->finished);
		status = replace(&job, hex, error);
		pthread_mutex_unlock(&store->finished);
	}
	clean_up(&job);
	return status == ERROR_NO_INPUT ? 0 : status;
}
