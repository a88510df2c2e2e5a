#include "analyze/pcapfast.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/format/pcaphead.h"

/* What is read at once: small enough to stay in a processor's second cache with what the
 * packets lead to, so large that system calls do not count. */
#define READ_BYTES (128u << 10)

struct pcapfast {
	int fd; /* borrowed */
	uint32_t longest_bytes;
	uint64_t offset_bytes; /* in the file, of what is read next */
	size_t at, have;       /* of buffer: what is read and not yet given */
	int read_errno;	       /* of the read that failed; 0: none did */
	uint8_t buffer[PCAPHEAD_RECORD_BYTES + PCAPHEAD_MAX_SNAPLEN + READ_BYTES];
};

struct pcapfast *pcapfast_new(int fd, uint64_t offset_bytes, uint32_t longest_bytes)
{
	struct pcapfast *fast = malloc(sizeof(*fast));

	if (fast == NULL)
		return NULL;
	fast->fd = fd;
	/* libpcap takes so long a record for real, whatever the link type. */
	fast->longest_bytes =
		longest_bytes < PCAPHEAD_MAX_SNAPLEN ? longest_bytes : PCAPHEAD_MAX_SNAPLEN;
	fast->offset_bytes = offset_bytes;
	fast->at = fast->have = 0;
	fast->read_errno = 0;
	return fast;
}

int pcapfast_errno(const struct pcapfast *fast)
{
	return fast->read_errno;
}

void pcapfast_free(struct pcapfast *fast)
{
	free(fast);
}

/* Until wanted bytes, at most a header and the longest record, are there. */
static bool fill(struct pcapfast *fast, size_t wanted)
{
	memmove(fast->buffer, fast->buffer + fast->at, fast->have - fast->at);
	fast->have -= fast->at;
	fast->at = 0;
	while (fast->have < wanted) {
		ssize_t got =
			pread(fast->fd, fast->buffer + fast->have,
			      wanted - fast->have > READ_BYTES ? wanted - fast->have : READ_BYTES,
			      (off_t)fast->offset_bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			fast->read_errno = errno;
		if (got <= 0)
			return false;
		fast->have += (size_t)got;
		fast->offset_bytes += (uint64_t)got;
	}
	return true;
}

static inline bool has(struct pcapfast *fast, size_t wanted)
{
	return fast->have - fast->at >= wanted || fill(fast, wanted);
}

bool pcapfast_has_next(const struct pcapfast *fast)
{
	size_t have = fast->have - fast->at;
	uint32_t header[PCAPHEAD_RECORD_BYTES / sizeof(uint32_t)];

	if (have < PCAPHEAD_RECORD_BYTES)
		return false;
	memcpy(header, fast->buffer + fast->at, PCAPHEAD_RECORD_BYTES);
	return header[2] <= have - PCAPHEAD_RECORD_BYTES;
}

bool pcapfast_next(struct pcapfast *fast, struct pcapfast_record *record)
{
	uint32_t header[PCAPHEAD_RECORD_BYTES / sizeof(uint32_t)];

	if (!has(fast, PCAPHEAD_RECORD_BYTES))
		return false;
	memcpy(header, fast->buffer + fast->at, PCAPHEAD_RECORD_BYTES);
	if (header[2] > fast->longest_bytes ||
	    !has(fast, PCAPHEAD_RECORD_BYTES + (size_t)header[2]))
		return false;
	*record = (struct pcapfast_record){
		.seconds = header[0],
		.fraction = header[1],
		.captured_bytes = header[2],
		.original_bytes = header[3],
		.data = fast->buffer + fast->at + PCAPHEAD_RECORD_BYTES,
	};
	fast->at += PCAPHEAD_RECORD_BYTES + header[2];
	return true;
}
