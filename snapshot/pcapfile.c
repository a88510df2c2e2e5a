#include "snapshot/pcapfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A page: no disk asks for more, and a file system that does is written
 * through the page cache. */
#define DIRECT_ALIGNMENT 4096u
/* Copied and hashed while it is in the processor's first cache. */
#define HASH_BYTES (16u << 10)

/* ---------------------------------------------------------------- hash -- */

static void forget_hash(struct pcapfile *file)
{
	EVP_MD_CTX_free(file->hash);
	file->hash = NULL;
}

/* The hash is taken as the bytes go by: to read the whole file once more at
 * its end costs more. */
static void add_to_hash(struct pcapfile *file, const uint8_t *bytes, size_t length)
{
	if (file->hash && EVP_DigestUpdate(file->hash, bytes, length) != 1)
		forget_hash(file);
}

static void begin_hash(struct pcapfile *file)
{
	file->hash = EVP_MD_CTX_new();
	if (file->hash && EVP_DigestInit_ex(file->hash, EVP_sha256(), NULL) != 1)
		forget_hash(file);
}

static bool end_hash(struct pcapfile *file, char hex[CUSTODY_HEX_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned length;

	if (!file->hash || EVP_DigestFinal_ex(file->hash, digest, &length) != 1 ||
	    length * 2 + 1 != CUSTODY_HEX_SIZE)
		return false;
	custody_hex(digest, length, hex);
	return true;
}

/* --------------------------------------------------------------- begin -- */

/* A second descriptor past the page cache, where the kernel says what that
 * asks for (Linux 6.1) and it is no more than what is kept to here. */
static int open_direct(int dirfd, const char *name, int fd)
{
#ifdef STATX_DIOALIGN
	struct statx about;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &about) != 0 ||
	    !(about.stx_mask & STATX_DIOALIGN) || about.stx_dio_offset_align == 0 ||
	    DIRECT_ALIGNMENT % about.stx_dio_offset_align != 0 ||
	    DIRECT_ALIGNMENT % about.stx_dio_mem_align != 0)
		return -1;
	return openat(dirfd, name, O_WRONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
#else
	(void)dirfd, (void)name, (void)fd;
	return -1;
#endif
}

/* Lets the bytes into the piece, as far as there is room. */
static size_t gather(struct pcapfile *file, const uint8_t *bytes, size_t length)
{
	size_t room = PCAPFILE_PIECE_BYTES - file->held;

	length = length < room ? length : room;
	for (size_t at = 0, part; at < length; at += part) {
		part = length - at < HASH_BYTES ? length - at : HASH_BYTES;
		memcpy(file->piece + file->held, bytes + at, part);
		add_to_hash(file, file->piece + file->held, part);
		file->held += part;
	}
	return length;
}

int pcapfile_create(struct pcapfile *file, int dirfd, const char *path, const char *name,
		    const uint8_t header[PCAPHEAD_FILE_BYTES], struct error *error)
{
	uint64_t lost;

	*file = (struct pcapfile){.path = path, .fd = -1, .direct_fd = -1};
	snprintf(file->name, sizeof file->name, "%s", name);
	file->piece = aligned_alloc(PCAPFILE_PIECE_BYTES, PCAPFILE_PIECE_BYTES);
	if (!file->piece)
		return error_errno(error, path, "cannot create %s", name);
	madvise(file->piece, PCAPFILE_PIECE_BYTES, MADV_HUGEPAGE);
	/* Read as well: after a failure the last whole record is looked for. */
	file->fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file->fd < 0)
		return error_errno(error, path, "cannot create %s", name);
	/* EOPNOTSUPP: then the writes themselves will tell. */
	if (fallocate(file->fd, FALLOC_FL_KEEP_SIZE, 0, PCAPFILE_ROOM_BYTES) != 0 &&
	    (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
		return error_errno(error, path, "no room for a new segment");
	file->direct_fd = open_direct(dirfd, name, file->fd);
	begin_hash(file);
	file->bytes = gather(file, header, PCAPHEAD_FILE_BYTES);
	return pcapfile_settle(file, &lost, error);
}

/* --------------------------------------------------------------- write -- */

void pcapfile_use_cache(struct pcapfile *file)
{
	if (file->direct_fd >= 0)
		close(file->direct_fd);
	file->direct_fd = -1;
}

/* What begins a block of the disk and does not fill it stays, to be written
 * again with the rest of its block. */
static void keep_unaligned(struct pcapfile *file)
{
	size_t keep = file->held % DIRECT_ALIGNMENT;

	memmove(file->piece, file->piece + file->held - keep, keep);
	file->base += file->held - keep;
	file->held = file->settled = keep;
}

/* How much of the file from safe_bytes to end is whole records; in *packets their number. */
static size_t whole_records_before(struct pcapfile *file, uint64_t end, uint64_t *packets)
{
	size_t length = (size_t)(end - file->safe_bytes), done = 0;
	uint8_t *bytes = malloc(length);

	while (bytes && done < length) {
		ssize_t got = pread(file->fd, bytes + done, length - done,
				    (off_t)(file->safe_bytes + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	done = capture_whole_records(bytes, done, packets);
	free(bytes);
	return done;
}

/* After a failed write. Returns status, or what went wrong here. */
static int cut_back(struct pcapfile *file, int status, uint64_t *lost, struct error *error)
{
	uint64_t end = file->base + file->settled, packets = 0;

	file->safe_bytes += whole_records_before(file, end, &packets);
	file->safe_packets += packets;
	*lost = file->packets - file->safe_packets;
	file->bytes = file->base = file->safe_bytes;
	file->packets = file->safe_packets;
	file->held = file->settled = 0;
	forget_hash(file);
	pcapfile_use_cache(file);
	if (ftruncate(file->fd, (off_t)file->bytes) != 0)
		return error_errno(error, file->path, "cutting %s", file->name);
	return status;
}

/* errno stays what the write left. */
static bool make_room(struct pcapfile *file)
{
	int reason = errno;
	bool made = file->make_room && file->make_room(file->room_context);

	errno = reason;
	return made;
}

static int write_cached(struct pcapfile *file, struct error *error)
{
	while (file->settled < file->held) {
		ssize_t bytes =
			pwrite(file->fd, file->piece + file->settled, file->held - file->settled,
			       (off_t)(file->base + file->settled));

		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes == 0)
			errno = ENOSPC;
		if (bytes <= 0 && make_room(file))
			continue;
		if (bytes <= 0)
			return error_errno(error, file->path, "writing %s", file->name);
		file->settled += (size_t)bytes;
	}
	return 0;
}

static int write_piece(struct pcapfile *file, struct error *error)
{
	/* What cannot be written so is written, or refused, by the page cache. */
	if (file->direct_fd >= 0 && pwrite(file->direct_fd, file->piece, PCAPFILE_PIECE_BYTES,
					   (off_t)file->base) == PCAPFILE_PIECE_BYTES)
		file->settled = file->held;
	else
		pcapfile_use_cache(file);
	return write_cached(file, error);
}

int pcapfile_write(struct pcapfile *file, const uint8_t *records, size_t length, uint64_t packets,
		   bool more, uint64_t *lost, struct error *error)
{
	uint64_t begin_bytes = file->bytes, begin_packets = file->packets;

	*lost = 0;
	file->bytes += length;
	file->packets += packets;
	while (length > 0) {
		size_t taken = gather(file, records, length);
		int status;

		records += taken;
		length -= taken;
		if (file->held < PCAPFILE_PIECE_BYTES)
			break;
		status = write_piece(file, error);
		if (status)
			return cut_back(file, status, lost, error);
		keep_unaligned(file);
		file->safe_bytes = begin_bytes;
		file->safe_packets = begin_packets;
	}
	return more ? 0 : pcapfile_settle(file, lost, error);
}

int pcapfile_settle(struct pcapfile *file, uint64_t *lost, struct error *error)
{
	int status = write_cached(file, error);

	*lost = 0;
	if (status)
		return cut_back(file, status, lost, error);
	keep_unaligned(file);
	file->safe_bytes = file->bytes;
	file->safe_packets = file->packets;
	return 0;
}

/* ----------------------------------------------------------------- end -- */

void pcapfile_end(struct pcapfile *file)
{
	pcapfile_use_cache(file);
	free(file->piece);
	file->piece = NULL;
}

int pcapfile_close(struct pcapfile *file, char sha256[CUSTODY_HEX_SIZE], bool *hashed,
		   struct error *error)
{
	int status = 0;

	assert(file->safe_bytes == file->bytes);
	/* Gives back the room that was kept aside. */
	if (ftruncate(file->fd, (off_t)file->bytes) != 0 || fsync(file->fd) != 0)
		status = error_errno(error, file->path, "syncing %s", file->name);
	*hashed = !status && end_hash(file, sha256);
	pcapfile_release(file);
	return status;
}

void pcapfile_release(struct pcapfile *file)
{
	pcapfile_end(file);
	forget_hash(file);
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}
