/*
 * pcapin.c - packets in, through libpcap or pcapng.c.
 *
 * A plain file goes to libpcap as a stdio stream with a large buffer; its records
 * are then read by pcapfast.c as long as they are as usual, and by libpcap from
 * the first one that is not. A gzip file, and anything that is no regular file, goes through a
 * stream of our own (source.h), so that one thread does all and a compressed file that breaks
 * off is told from one that ends.
 */
#include "analyze/pcapin.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyze/pcapfast.h"
#include "analyze/pcapng.h"
#include "analyze/source.h"
#include "snapshot/format/custody.h"
#include "snapshot/format/gzmember.h"
#include "snapshot/format/pcaphead.h"
#include "snapshot/format/quantity.h"

/* Reading through libpcap gets a third faster from stdio's 4 KiB to this, and
 * no faster beyond it. */
#define STREAM_BUFFER_BYTES (1u << 20)

/* A descriptor's file once more, with an offset of its own, also if its name is gone. */
#define PROC_FD	     "/proc/self/fd"
#define PROC_FD_SIZE 32

struct pcapin {
	char *path;
	FILE *stream; /* owned by pcap, once there is one */
	pcap_t *pcap;
	struct pcapng *ng;     /* either of the two */
	struct pcapfast *fast; /* reads in place of pcap, which goes on where it cannot; NULL */
	char *stream_buffer;
	struct source *source; /* NULL: a plain file, which stdio reads itself */
	uint32_t magic;
	bool big_endian;
	uint32_t record_header_bytes; /* 0: pcapng */
	uint32_t snaplen;
	int link_type; /* of a classic file */
	uint64_t packets;
	uint64_t next_offset_bytes;
	int stopped; /* 1 at the end; negative after a failure, told again by last_error */
	struct error last_error;
	char content_sha256[CUSTODY_HEX_SIZE]; /* "": not known yet */
};

/* ---------------------------------------------------------------- open -- */

/* What the first bytes say of the format; false: no capture file. */
static bool recognise(struct pcapin *in, const uint8_t *head, size_t length)
{
	uint32_t big, little;

	if (length < PCAPHEAD_MAGIC_BYTES)
		return false;
	big = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
	little = __builtin_bswap32(big);
	in->next_offset_bytes = PCAPHEAD_FILE_BYTES;
	in->record_header_bytes = PCAPHEAD_RECORD_BYTES;
	if (big == PCAPHEAD_PCAPNG) {
		in->magic = big;
		in->record_header_bytes = 0;
		in->next_offset_bytes = 0;
		return true;
	}
	in->big_endian = head[0] == PCAPHEAD_MICROSECONDS >> 24; /* of each of them */
	in->magic = in->big_endian ? big : little;
	if (in->magic == PCAPHEAD_KUZNETZOV)
		in->record_header_bytes = PCAPHEAD_KUZNETZOV_RECORD_BYTES;
	return in->magic == PCAPHEAD_MICROSECONDS || in->magic == PCAPHEAD_NANOSECONDS ||
	       in->magic == PCAPHEAD_KUZNETZOV;
}

static int no_capture(struct pcapin *in, const uint8_t *head, size_t length, struct error *error)
{
	static const char wanted[] = "a pcap or pcapng magic";
	int read_errno = 0;
	const char *fault = in->source ? source_fault(in->source, &read_errno) : NULL;

	if (read_errno) {
		errno = read_errno;
		return error_errno(error, in->path, "cannot read");
	}
	if (fault)
		return error_damage(error, in->path, 0, wanted, "a gzip stream of %zu bytes: %s",
				    length, fault);
	if (length < PCAPHEAD_MAGIC_BYTES)
		return error_damage(error, in->path, 0, wanted, "only %zu bytes", length);
	return error_damage(error, in->path, 0, wanted, "%02x%02x%02x%02x", head[0], head[1],
			    head[2], head[3]);
}

/* Makes in->stream from fd, which it takes over if it succeeds. */
static int open_stream(struct pcapin *in, int fd, bool plain, struct error *error)
{
	if (!in->stream_buffer)
		in->stream_buffer = malloc(STREAM_BUFFER_BYTES);
	if (!in->stream_buffer)
		return error_set(error, ERROR_MEMORY, in->path, -1, "out of memory");
	in->stream = plain ? fdopen(fd, "rb") : source_stream(in->source);
	if (!in->stream)
		return error_errno(error, in->path, "cannot open a stream");
	setvbuf(in->stream, in->stream_buffer, _IOFBF, STREAM_BUFFER_BYTES);
	/* One thread reads a file: the lock that each fread() takes buys nothing. */
	__fsetlocking(in->stream, FSETLOCKING_BYCALLER);
	return 0;
}

static int open_pcap(struct pcapin *in, struct error *error)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	int snaplen;

	if (in->magic == PCAPHEAD_PCAPNG) {
		in->ng = pcapng_new(in->stream);
		if (!in->ng)
			return error_set(error, ERROR_MEMORY, in->path, -1, "out of memory");
		in->snaplen = pcapng_snaplen(in->ng);
		return 0;
	}
	in->pcap = pcap_fopen_offline_with_tstamp_precision(in->stream, PCAP_TSTAMP_PRECISION_NANO,
							    text);
	if (!in->pcap)
		return error_damage(error, in->path, 0, "a capture file's header", "%s", text);
	in->link_type = pcap_datalink(in->pcap);
	snaplen = pcap_snapshot(in->pcap);
	in->snaplen = snaplen > 0 ? (uint32_t)snaplen : 0;
	return 0;
}

/* Whether libpcap gives the records of a file just as they stand there. It swaps bytes also in
 * what some link layers hold, swaps the lengths of old versions, and puts right what some
 * kernels wrote about USB. */
static bool is_usual(const struct pcapin *in)
{
	return in->source == NULL && in->record_header_bytes == PCAPHEAD_RECORD_BYTES &&
	       !pcap_is_swapped(in->pcap) &&
	       pcap_major_version(in->pcap) == PCAPHEAD_VERSION_MAJOR &&
	       pcap_minor_version(in->pcap) == PCAPHEAD_VERSION_MINOR &&
	       in->link_type != DLT_USB_LINUX && in->link_type != DLT_USB_LINUX_MMAPPED;
}

static int open_fast(struct pcapin *in, struct error *error)
{
	if (in->pcap == NULL || !is_usual(in))
		return 0;
	in->fast = pcapfast_new(fileno(in->stream), in->next_offset_bytes, in->snaplen);
	if (in->fast == NULL)
		return error_set(error, ERROR_MEMORY, in->path, -1, "out of memory");
	return 0;
}

/* Reads the first bytes of fd and hands it, unread, to what suits it. */
static int open_fd(struct pcapin *in, int *fd, struct error *error)
{
	uint8_t head[PCAPHEAD_MAGIC_BYTES];
	ssize_t length = 0;
	struct stat status;
	int result;
	bool plain;

	if (fstat(*fd, &status) < 0)
		return error_errno(error, in->path, "cannot stat");
	if (S_ISDIR(status.st_mode)) {
		errno = EISDIR;
		return error_errno(error, in->path, "cannot read packets");
	}
	plain = S_ISREG(status.st_mode);
	if (plain) {
		length = pread(*fd, head, sizeof(head), 0);
		if (length < 0)
			return error_errno(error, in->path, "cannot read");
		plain = length < 2 || head[0] != GZMEMBER_ID1;
	}
	if (plain && !recognise(in, head, (size_t)length))
		return no_capture(in, head, (size_t)length, error);
	if (!plain) {
		const uint8_t *first;
		size_t count;

		in->source = source_new(*fd);
		if (!in->source)
			return error_set(error, ERROR_MEMORY, in->path, -1, "out of memory");
		*fd = -1;
		first = source_head(in->source, &count);
		if (!recognise(in, first, count))
			return no_capture(in, first, count, error);
	}
	result = open_stream(in, *fd, plain, error);
	if (result == 0)
		*fd = -1;
	return result;
}

int pcapin_open_descriptor(int fd, const char *path, bool hashed, struct pcapin **out,
			   struct error *error)
{
	struct pcapin *in = calloc(1, sizeof(*in));
	int result;

	if (in)
		in->path = strdup(path);
	if (!in || !in->path) {
		result = error_set(error, ERROR_MEMORY, path, -1, "out of memory");
		goto out;
	}
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* advice may fail */
	result = open_fd(in, &fd, error);
	if (result == 0 && hashed && pcapin_is_gzip(in) && !source_hash(in->source))
		result = error_set(error, ERROR_MEMORY, path, -1, "cannot hash: out of memory");
	if (result == 0)
		result = open_pcap(in, error);
	if (result == 0)
		result = open_fast(in, error);
out:
	if (fd >= 0)
		close(fd);
	if (result < 0)
		pcapin_close(in);
	else
		*out = in;
	return result;
}

/* name is opened, of whatever kind it is. */
static int open_as(int dirfd, const char *name, const char *path, bool hashed, struct pcapin **out,
		   struct error *error)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? error_errno(error, path, "cannot open")
		      : pcapin_open_descriptor(fd, path, hashed, out, error);
}

int pcapin_open(int dirfd, const char *path, struct pcapin **out, struct error *error)
{
	return open_as(dirfd, path, path, false, out, error);
}

int pcapin_open_hashed(int dirfd, const char *path, struct pcapin **out, struct error *error)
{
	return open_as(dirfd, path, path, true, out, error);
}

int pcapin_open_anew(int fd, const char *path, struct pcapin **out, struct error *error)
{
	char name[PROC_FD_SIZE];

	snprintf(name, sizeof(name), PROC_FD "/%d", fd);
	return open_as(AT_FDCWD, name, path, false, out, error);
}

bool pcapin_can_open_anew(void)
{
	return access(PROC_FD, X_OK) == 0;
}

bool pcapin_is_gzip(const struct pcapin *in)
{
	return in->source != NULL && source_is_gzip(in->source);
}

int pcapin_descriptor(const struct pcapin *in)
{
	return in->source != NULL ? source_descriptor(in->source) : fileno(in->stream);
}

const char *pcapin_content_sha256(struct pcapin *in)
{
	if (in->stopped == 1 && in->content_sha256[0] == '\0' && pcapin_is_gzip(in))
		source_sha256(in->source, in->content_sha256);
	return in->content_sha256[0] != '\0' ? in->content_sha256 : NULL;
}

void pcapin_close(struct pcapin *in)
{
	if (!in)
		return;
	if (in->pcap)
		pcap_close(in->pcap);
	else if (in->stream)
		fclose(in->stream);
	pcapng_free(in->ng);
	pcapfast_free(in->fast);
	source_free(in->source);
	free(in->stream_buffer);
	free(in->path);
	free(in);
}

int pcapin_link_type(const struct pcapin *in)
{
	return in->ng ? pcapng_link_type(in->ng) : in->link_type;
}

uint32_t pcapin_snaplen(const struct pcapin *in)
{
	return in->snaplen;
}

uint64_t pcapin_read_bytes(const struct pcapin *in)
{
	return in->source ? source_used_bytes(in->source) : in->next_offset_bytes;
}

/* -------------------------------------------------------------- records -- */

/* Any value is taken as it stands: more than 10^9 ns carries into the seconds. */
static inline int64_t classic_time_ns(const struct pcapin *in, uint32_t seconds, uint32_t fraction)
{
	return seconds * NS_PER_SECOND +
	       (in->magic == PCAPHEAD_NANOSECONDS ? (int64_t)fraction : (int64_t)fraction * 1000);
}

/* libpcap gives a file's unsigned fields as signed ones, scaled. */
static int64_t libpcap_time_ns(const struct pcapin *in, const struct timeval *ts)
{
	return classic_time_ns(
		in, (uint32_t)ts->tv_sec,
		(uint32_t)(in->magic == PCAPHEAD_NANOSECONDS ? ts->tv_usec : ts->tv_usec / 1000));
}

/* Who reads from a place behind the end of a file hears of nothing but the end, also where what
 * was read ahead of it has been cut off since. 1, or ERROR_DAMAGED in last_error. */
static int end(struct pcapin *in, const char *wanted)
{
	struct stat status;

	if (in->source || fstat(fileno(in->stream), &status) != 0 ||
	    (uint64_t)status.st_size >= in->next_offset_bytes)
		return 1;
	return error_damage(&in->last_error, in->path, status.st_size, wanted,
			    "the end: the file became shorter while it was read");
}

/* errno of the read of a file that failed, just now; 0: none did. */
static int failed_read(const struct pcapin *in)
{
	if (in->fast != NULL)
		return pcapfast_errno(in->fast);
	return ferror(in->stream) ? errno : 0;
}

/* Why there is no further packet: ended, or found says what is wrong. */
static int stop(struct pcapin *in, bool ended, const char *found, struct error *error)
{
	int64_t offset = (int64_t)in->next_offset_bytes;
	int read_errno = in->source ? 0 : failed_read(in);
	const char *fault = in->source ? source_fault(in->source, &read_errno) : NULL;
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "a whole record after packet %llu",
		 (unsigned long long)in->packets);
	if (read_errno)
		in->stopped = error_damage(&in->last_error, in->path, offset, wanted,
					   "a read error: %s", strerror(read_errno));
	else if (fault)
		in->stopped =
			error_damage(&in->last_error, in->path, offset, wanted,
				     "a damaged gzip stream, at its byte %llu: %s",
				     (unsigned long long)source_used_bytes(in->source), fault);
	else if (ended)
		in->stopped = end(in, wanted);
	else
		in->stopped = error_damage(&in->last_error, in->path, offset, wanted, "%s", found);
	if (in->stopped == 1)
		return 0;
	in->last_error.saved_errno = read_errno;
	if (error)
		*error = in->last_error;
	return in->stopped;
}

/* libpcap cuts a record that is longer than the file's snaplen to it, without
 * a word; only the stream knows then where the next one begins. */
static uint64_t end_of_record(const struct pcapin *in, uint32_t captured_bytes)
{
	off_t position = -1;

	if (captured_bytes >= in->snaplen)
		position = ftello(in->stream);
	if (position >= 0)
		return (uint64_t)position;
	return in->next_offset_bytes + in->record_header_bytes + captured_bytes;
}

static int next_of_pcapng(struct pcapin *in, struct pcapin_packet *packet, struct error *error)
{
	char found[PCAPNG_TEXT_SIZE] = "";
	struct pcapng_packet got;
	int status = pcapng_next(in->ng, &got, &in->next_offset_bytes, found);

	if (status != 1)
		return stop(in, status == 0, found, error);
	*packet = (struct pcapin_packet){
		.time_ns = got.time_ns,
		.number = ++in->packets,
		.captured_bytes = got.captured_bytes,
		.original_bytes = got.original_bytes,
		.link_type = got.link_type,
		.data = got.data,
	};
	return 1;
}

static bool next_fast(struct pcapin *in, struct pcapin_packet *packet)
{
	struct pcapfast_record record;

	if (!pcapfast_next(in->fast, &record))
		return false;
	*packet = (struct pcapin_packet){
		.time_ns = classic_time_ns(in, record.seconds, record.fraction),
		.number = ++in->packets,
		.offset_bytes = in->next_offset_bytes,
		.captured_bytes = record.captured_bytes,
		.original_bytes = record.original_bytes,
		.link_type = in->link_type,
		.data = record.data,
	};
	in->next_offset_bytes += PCAPHEAD_RECORD_BYTES + (uint64_t)record.captured_bytes;
	return true;
}

/* From here on libpcap reads, which so far has the file header only. */
static bool leave_to_libpcap(struct pcapin *in)
{
	pcapfast_free(in->fast);
	in->fast = NULL;
	return fseeko(in->stream, (off_t)in->next_offset_bytes, SEEK_SET) == 0;
}

int pcapin_next(struct pcapin *in, struct pcapin_packet *packet, struct error *error)
{
	struct pcap_pkthdr *header;
	const uint8_t *data;
	int status;

	if (in->fast != NULL && next_fast(in, packet))
		return 1;
	if (in->stopped) {
		if (in->stopped < 0 && error)
			*error = in->last_error;
		return in->stopped < 0 ? in->stopped : 0;
	}
	if (in->ng)
		return next_of_pcapng(in, packet, error);
	if (in->fast != NULL && pcapfast_errno(in->fast) != 0)
		return stop(in, false, NULL, error);
	if (in->fast != NULL && !leave_to_libpcap(in))
		return stop(in, false, "a file that cannot be sought in", error);
	status = pcap_next_ex(in->pcap, &header, &data);
	if (status != 1)
		return stop(in, status == PCAP_ERROR_BREAK, pcap_geterr(in->pcap), error);
	in->packets++;
	packet->number = in->packets;
	packet->offset_bytes = in->next_offset_bytes;
	packet->captured_bytes = header->caplen;
	packet->original_bytes = header->len;
	packet->link_type = in->link_type;
	packet->data = data;
	packet->time_ns = libpcap_time_ns(in, &header->ts);
	in->next_offset_bytes = end_of_record(in, header->caplen);
	return 1;
}

size_t pcapin_next_few(struct pcapin *in, struct pcapin_packet *packets, size_t count, int *status,
		       struct error *error)
{
	size_t got = 0;

	if (in->fast != NULL)
		while (got < count && (got == 0 || pcapfast_has_next(in->fast)) &&
		       next_fast(in, &packets[got]))
			got++;
	*status = 1;
	if (got == 0 && count > 0) {
		*status = pcapin_next(in, packets, error);
		got = *status == 1;
	}
	return got;
}

/* --------------------------------------------------------------- places -- */

/* A file in which one record follows the other, each with all that is told of it. */
static bool has_places(const struct pcapin *in)
{
	return in->pcap != NULL && (in->source == NULL || source_is_gzip(in->source));
}

struct pcapin_place pcapin_where(const struct pcapin *in)
{
	struct pcapin_place place = {
		.offset_bytes = in->next_offset_bytes,
		.number = in->packets + 1,
	};

	if (has_places(in) && in->source == NULL)
		place.file_offset_bytes = in->next_offset_bytes;
	else if (has_places(in))
		source_member_at(in->source, in->next_offset_bytes, &place.file_offset_bytes);
	return place;
}

static int cannot_seek(const struct pcapin *in, const struct pcapin_place *place,
		       struct error *error)
{
	return error_errno(error, in->path, "cannot go on from packet %llu",
			   (unsigned long long)place->number);
}

/* libpcap reads the file's header anew, and then what the member holds. */
static int seek_member(struct pcapin *in, const struct pcapin_place *place, struct error *error)
{
	int result;

	if (source_seek(in->source, place->file_offset_bytes, place->offset_bytes) != 0)
		return cannot_seek(in, place, error);
	pcap_close(in->pcap);
	in->pcap = NULL;
	in->stream = NULL;
	result = open_stream(in, -1, false, &in->last_error);
	if (result == 0)
		result = open_pcap(in, &in->last_error);
	in->stopped = result;
	if (result != 0 && error)
		*error = in->last_error;
	return result;
}

int pcapin_seek(struct pcapin *in, const struct pcapin_place *place, struct error *error)
{
	int result = 0;

	errno = !has_places(in) ? ESPIPE : place->file_offset_bytes > INT64_MAX ? EOVERFLOW : 0;
	if (errno != 0)
		return cannot_seek(in, place, error);
	if (in->source != NULL)
		result = seek_member(in, place, error);
	else if (fseeko(in->stream, (off_t)place->file_offset_bytes, SEEK_SET) != 0)
		result = cannot_seek(in, place, error);
	if (result != 0)
		return result;
	in->next_offset_bytes = place->offset_bytes;
	in->packets = place->number - 1;
	in->stopped = 0;
	pcapfast_free(in->fast);
	in->fast = NULL;
	return open_fast(in, error);
}

bool pcapin_layout(const struct pcapin *in, struct pcapin_layout *layout)
{
	/* Older versions have, or may have, the lengths the other way round. */
	if (in->pcap == NULL || in->source != NULL ||
	    pcap_major_version(in->pcap) != PCAPHEAD_VERSION_MAJOR ||
	    pcap_minor_version(in->pcap) < PCAPHEAD_VERSION_MINOR)
		return false;
	*layout = (struct pcapin_layout){
		.fd = fileno(in->stream),
		.link_type = in->link_type,
		.big_endian = in->big_endian,
		.record_header_bytes = in->record_header_bytes,
		.snaplen = in->snaplen,
		.unit_ns = in->magic == PCAPHEAD_NANOSECONDS ? 1 : 1000,
	};
	return true;
}
