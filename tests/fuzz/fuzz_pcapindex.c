/* fuzz_pcapindex.c - any bytes as the index of a compressed capture, also with a sum behind
 * them that agrees. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "snapshot/format/pcapindex.h"
#include "snapshot/format/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What its reader promises of one that it takes. */
static void check(const struct pcapindex *index)
{
	const struct pcapindex_member *last = &index->members[index->count - 1];

	if (index->count == 0 || index->count > PCAPINDEX_MAX_MEMBERS ||
	    index->members[0].offset_bytes != 0 || index->members[0].content_bytes != 0 ||
	    index->members[0].packet != 1)
		abort();
	for (size_t i = 0; i < index->count; i++) {
		const struct pcapindex_member *member = &index->members[i];

		if (member->time_ns < 0 || member->time_ns > QUANTITY_MAX_TIME_NS)
			abort();
		if (i > 0 && (member->offset_bytes <= member[-1].offset_bytes ||
			      member->content_bytes <= member[-1].content_bytes ||
			      member->packet <= member[-1].packet))
			abort();
	}
	if (last->offset_bytes >= index->file_bytes ||
	    last->content_bytes >= index->content_bytes || last->packet > index->packets + 1)
		abort();
}

static void read_it(int fd)
{
	struct error error = ERROR_NONE;
	struct pcapindex index;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (pcapindex_read(AT_FDCWD, path, &index, &error) == 0)
		check(&index);
	else if (error.code == 0 || error.message[0] == '\0' || index.members != NULL)
		abort();
	pcapindex_release(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char sum[16];
	int fd = memfd_create("fuzz_pcapindex", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	if (write(fd, data, size) != (ssize_t)size)
		abort();
	read_it(fd);
	snprintf(sum, sizeof(sum), "%08lx\n", crc32(0, data, (uInt)size));
	if (write(fd, sum, 9) != 9)
		abort();
	read_it(fd);
	close(fd);
	return 0;
}
