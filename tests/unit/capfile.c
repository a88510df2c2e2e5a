/* capfile.c - capture files, byte by byte, and what the reader makes of them. */
#include "tests/unit/capfile.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

char capfile_directory[] = "/tmp/pcapwho-capfile.XXXXXX";
int capfile_dirfd = -1;

uint8_t capfile_bytes[CAPFILE_SIZE];
size_t capfile_length;
bool capfile_big_endian;

void capfile_put(uint32_t value, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++)
		capfile_bytes[capfile_length++] =
			(uint8_t)(value >> 8 * (capfile_big_endian ? size - 1 - i : i));
}

void capfile_header(uint32_t magic, uint32_t snaplen, uint32_t link_type)
{
	capfile_length = 0;
	capfile_put(magic, 4);
	capfile_put(2, 2);
	capfile_put(4, 2);
	capfile_put(0, 4);
	capfile_put(0, 4);
	capfile_put(snaplen, 4);
	capfile_put(link_type, 4);
}

void capfile_record(uint32_t seconds, uint32_t fraction, uint32_t captured, uint32_t original)
{
	capfile_put(seconds, 4);
	capfile_put(fraction, 4);
	capfile_put(captured, 4);
	capfile_put(original, 4);
	memset(capfile_bytes + capfile_length, (int)(captured & 0xff), captured);
	capfile_length += captured;
}

void capfile_write(const char *name, const void *content, size_t size)
{
	int fd = openat(capfile_dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, size), size);
	close(fd);
}

int capfile_cut(const char *name, off_t size)
{
	int fd = openat(capfile_dirfd, name, O_WRONLY | O_CLOEXEC), result = ftruncate(fd, size);

	close(fd);
	return result;
}

size_t capfile_gzip(uint8_t *out, size_t size)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = capfile_bytes;
	z.avail_in = (uInt)capfile_length;
	z.next_out = out;
	z.avail_out = (uInt)size;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return size - z.avail_out;
}

struct pcapin *capfile_open(void)
{
	struct error error = ERROR_NONE;
	struct pcapin *in = NULL;
	int result = pcapin_open(capfile_dirfd, "file", &in, &error);

	if (result < 0)
		print_message("%s\n", error.message);
	assert_int_equal(result, 0);
	return in;
}

struct pcapin *capfile_open_bytes(void)
{
	capfile_write("file", capfile_bytes, capfile_length);
	return capfile_open();
}

struct pcapin_packet capfile_next(struct pcapin *in)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;

	memset(&packet, 0, sizeof(packet));
	assert_int_equal(pcapin_next(in, &packet, &error), 1);
	return packet;
}

void capfile_ends(struct pcapin *in)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;

	assert_int_equal(pcapin_next(in, &packet, &error), 0);
	assert_int_equal(pcapin_next(in, &packet, &error), 0);
	pcapin_close(in);
}

void capfile_damaged(struct pcapin *in, uint64_t packets, int64_t offset, const char *word)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;
	char after[40];

	assert_int_equal(pcapin_next(in, &packet, &error), ERROR_DAMAGED);
	assert_int_equal(error.code, ERROR_DAMAGED);
	assert_int_equal(error.offset_bytes, offset);
	assert_string_equal(error.path, "file");
	snprintf(after, sizeof(after), "after packet %u", (unsigned)packets);
	assert_non_null(strstr(error.message, after));
	if (!strstr(error.message, word))
		fail_msg("no \"%s\" in: %s", word, error.message);
	assert_int_equal(pcapin_next(in, &packet, NULL), ERROR_DAMAGED);
	pcapin_close(in);
}

int capfile_begin(void **state)
{
	(void)state;
	if (!mkdtemp(capfile_directory))
		return -1;
	capfile_dirfd = open(capfile_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return capfile_dirfd < 0 ? -1 : 0;
}

int capfile_end(void **state)
{
	(void)state;
	unlinkat(capfile_dirfd, "file", 0);
	close(capfile_dirfd);
	return rmdir(capfile_directory);
}
