/* What procfs.h calls basics: files, numbers and links of /proc. */
#include "snapshot/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTING_BYTES (32u << 10)

void *procfs_grow(void *items, size_t *capacity, size_t need, size_t item_bytes)
{
	size_t grown = *capacity ? *capacity : 64;
	void *copy;

	if (need <= *capacity)
		return items;
	while (grown < need) {
		if (grown > SIZE_MAX / 2)
			return NULL;
		grown *= 2;
	}
	if (grown > SIZE_MAX / item_bytes)
		return NULL;
	copy = realloc(items, grown * item_bytes);
	if (copy)
		*capacity = grown;
	return copy;
}

static int text_reserve(struct procfs_text *text, size_t need)
{
	char *grown = procfs_grow(text->text, &text->capacity, need, 1);

	if (!grown)
		return ENOMEM;
	text->text = grown;
	return 0;
}

/* row_bytes: 0, or what no line is longer than; see procfs_read_table. */
static int read_all(int fd, size_t max_bytes, size_t row_bytes, struct procfs_text *out)
{
	out->length = 0;
	if (text_reserve(out, 4096))
		return ENOMEM;
	for (;;) {
		ssize_t got;

		/* The kernel hands out at most a page at a time; room for less
		 * than that would cost another call. */
		if (text_reserve(out, out->length + 4096 + 1))
			return ENOMEM;
		got = read(fd, out->text + out->length, out->capacity - out->length - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		out->length += (size_t)got;
		if (got == 0 || (max_bytes && out->length >= max_bytes) ||
		    (row_bytes && (size_t)got + row_bytes < 4096))
			break;
	}
	if (max_bytes && out->length > max_bytes)
		out->length = max_bytes;
	out->text[out->length] = '\0';
	return 0;
}

static int read_named(int dirfd, const char *name, size_t max_bytes, size_t row_bytes,
		      struct procfs_text *out)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	int result;

	out->length = 0;
	if (fd < 0)
		return errno;
	result = read_all(fd, max_bytes, row_bytes, out);
	close(fd);
	return result;
}

int procfs_read_file(int dirfd, const char *name, size_t max_bytes, struct procfs_text *out)
{
	return read_named(dirfd, name, max_bytes, 0, out);
}

int procfs_read_table(int dirfd, const char *name, size_t row_bytes, struct procfs_text *out)
{
	return read_named(dirfd, name, 0, row_bytes, out);
}

void procfs_text_release(struct procfs_text *text)
{
	free(text->text);
	*text = (struct procfs_text){0};
}

const char *procfs_errno_name(int number, char buffer[PROCFS_ERRNO_SIZE])
{
	switch (number) {
	case EACCES:
		return "EACCES";
	case EPERM:
		return "EPERM";
	case ENOENT:
		return "ENOENT";
	case ESRCH:
		return "ESRCH";
	case EINVAL:
		return "EINVAL";
	case EIO:
		return "EIO";
	case ELOOP:
		return "ELOOP";
	case EMFILE:
		return "EMFILE";
	case ENFILE:
		return "ENFILE";
	case ENOMEM:
		return "ENOMEM";
	case ENOSYS:
		return "ENOSYS";
	case ENOTDIR:
		return "ENOTDIR";
	case EAGAIN:
		return "EAGAIN";
	default:
		snprintf(buffer, PROCFS_ERRNO_SIZE, "errno %d", number);
		return buffer;
	}
}

bool procfs_parse_number(const char *text, uint64_t max, uint64_t *out, const char **end)
{
	uint64_t value = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		unsigned digit = (unsigned)(*at - '0');

		if (value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (at == text)
		return false;
	*out = value;
	*end = at;
	return true;
}

int procfs_read_link(int dirfd, const char *name, char *target, size_t size)
{
	ssize_t length = readlinkat(dirfd, name, target, size - 1);

	if (length < 0)
		return errno;
	target[length] = '\0';
	return 0;
}

bool procfs_parse_link(const char *link, const char *prefix, uint64_t max, uint64_t *out)
{
	size_t length = strlen(prefix);
	const char *end;

	return !strncmp(link, prefix, length) &&
	       procfs_parse_number(link + length, max, out, &end) && !strcmp(end, "]");
}

char *procfs_format_number(uint32_t number, char buffer[PROCFS_NUMBER_SIZE])
{
	char *at = &buffer[PROCFS_NUMBER_SIZE - 1];

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	return at;
}

int procfs_list_numbers(int fd, char **listing, struct procfs_numbers *out)
{
	out->count = 0;
	if (!*listing && !(*listing = malloc(LISTING_BYTES)))
		return ENOMEM;
	for (;;) {
		ssize_t got = getdents64(fd, *listing, LISTING_BYTES);
		unsigned short length;

		if (got < 0)
			return errno;
		if (got == 0)
			return 0;
		for (const char *at = *listing; at < *listing + got; at += length) {
			const char *name = at + offsetof(struct dirent64, d_name), *end;
			uint64_t number;
			uint32_t *grown;

			memcpy(&length, at + offsetof(struct dirent64, d_reclen), sizeof(length));
			if (!procfs_parse_number(name, UINT32_MAX, &number, &end) || *end)
				continue;
			grown = procfs_grow(out->items, &out->capacity, out->count + 1,
					    sizeof(*grown));
			if (!grown)
				return ENOMEM;
			out->items = grown;
			out->items[out->count++] = (uint32_t)number;
		}
	}
}

int procfs_list_directory(int dirfd, const char *name, char **listing, struct procfs_numbers *out)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	out->count = 0;
	if (fd < 0)
		return errno;
	result = procfs_list_numbers(fd, listing, out);
	close(fd);
	return result;
}
