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

static void read_all(const char *path)
{
	struct error error = ERROR_NONE;
	struct pcapin_packet packet;
	uint64_t count = 0, offset = 0;
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
		if (packet.captured_bytes > 0)
			touched = packet.data[packet.captured_bytes - 1];
	}
	if (pcapin_next(in, &packet, &error) != result)
		abort();
	pcapin_close(in);
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
