/* fuzz_pcapin.c - any bytes as a capture file. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "analyze/pcapin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t touched; /* keeps the reads of the data */

/* From a place that reading came to: the same packets from there on. */
static void read_from(const char *path, const struct pcapin_place *place, uint64_t count)
{
	struct error error = ERROR_NONE;
	struct pcapin_packet packet;
	struct pcapin *in = NULL;
	uint64_t number = place->number;

	if (pcapin_open(AT_FDCWD, path, &in, &error) < 0)
		abort();
	/* What begins as a member may be none, and then nothing comes. */
	if (pcapin_seek(in, place, &error) < 0 && count + 1 != number)
		abort();
	while (count + 1 != number && pcapin_next(in, &packet, &error) == 1) {
		if (packet.number != number++)
			abort();
	}
	if (number != count + 1)
		abort();
	pcapin_close(in);
}

static void read_all(const char *path)
{
	struct error error = ERROR_NONE;
	struct pcapin_packet packet;
	uint64_t count = 0, offset = 0;
	struct pcapin_place place = {0};
	struct pcapin *in = NULL;
	int result;

	if (pcapin_open(AT_FDCWD, path, &in, &error) < 0) {
		if (error.code == 0 || error.message[0] == '\0')
			abort();
		return;
	}
	while ((result = pcapin_next(in, &packet, &error)) == 1) {
		count++;
		if (packet.number != count || packet.offset_bytes < offset)
			abort();
		offset = packet.offset_bytes;
		if (place.file_offset_bytes == 0)
			place = pcapin_where(in);
		if (packet.captured_bytes > 0)
			touched = packet.data[packet.captured_bytes - 1];
	}
	if (pcapin_next(in, &packet, &error) != result)
		abort();
	pcapin_close(in);
	if (place.file_offset_bytes != 0)
		read_from(path, &place, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	int fd = memfd_create("fuzz_pcapin", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	if (write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_all(path);
	close(fd);
	return 0;
}
