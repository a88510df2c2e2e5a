#include "snapshot/mounts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "snapshot/format/error.h"
#include "snapshot/procfs.h"

struct span {
	const char *at;
	size_t length;
};

static struct span next_field(const char **at, const char *end)
{
	struct span field;

	while (*at < end && **at == ' ')
		(*at)++;
	field.at = *at;
	while (*at < end && **at != ' ')
		(*at)++;
	field.length = (size_t)(*at - field.at);
	return field;
}

static bool is_octal(const char *at)
{
	return at[0] >= '0' && at[0] <= '3' && at[1] >= '0' && at[1] <= '7' && at[2] >= '0' &&
	       at[2] <= '7';
}

/* Space, TAB, newline, backslash and '#' stand as \ooo. */
static char *unescape(struct span field)
{
	char *text = malloc(field.length + 1), *to = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < field.length; i++) {
		const char *at = field.at + i;

		if (*at == '\\' && field.length - i > 3 && is_octal(at + 1)) {
			*to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			i += 3;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
	return text;
}

static bool starts(struct span field, const char *prefix)
{
	size_t length = strlen(prefix);

	return field.length >= length && !memcmp(field.at, prefix, length);
}

static bool is_device(struct span field, uint64_t device)
{
	uint64_t major_number, minor_number;
	const char *end;

	return procfs_parse_number(field.at, UINT32_MAX, &major_number, &end) && *end == ':' &&
	       procfs_parse_number(end + 1, UINT32_MAX, &minor_number, &end) &&
	       makedev(major_number, minor_number) == device;
}

static bool has_hidepid(struct span options)
{
	const char *found = memmem(options.at, options.length, "hidepid=", 8);

	return found && strncmp(found + 8, "0", 1) && strncmp(found + 8, "off", 3);
}

static int add(struct mounts *mounts, uint64_t netns, struct span path)
{
	struct mounts_netns *grown =
		procfs_grow(mounts->items, &mounts->capacity, mounts->count + 1, sizeof(*grown));
	char *copy;

	if (!grown)
		return ERROR_MEMORY;
	mounts->items = grown;
	copy = unescape(path);
	if (!copy)
		return ERROR_MEMORY;
	mounts->items[mounts->count++] = (struct mounts_netns){.netns = netns, .path = copy};
	return 0;
}

static int parse_line(const char *at, const char *end, uint64_t proc_device, struct mounts *out)
{
	struct span device, root, point, field;
	const char *stop;
	uint64_t netns;

	next_field(&at, end);
	next_field(&at, end);
	device = next_field(&at, end);
	root = next_field(&at, end);
	point = next_field(&at, end);
	if (starts(root, "net:[") && procfs_parse_number(root.at + 5, UINT64_MAX, &netns, &stop) &&
	    *stop == ']')
		return add(out, netns, point);
	do
		field = next_field(&at, end);
	while (field.length && !(field.length == 1 && *field.at == '-'));
	field = next_field(&at, end);
	if (field.length == 4 && starts(field, "proc") && is_device(device, proc_device)) {
		next_field(&at, end);
		out->hidepid = has_hidepid(next_field(&at, end));
	}
	return 0;
}

static void clear(struct mounts *mounts)
{
	for (size_t i = 0; i < mounts->count; i++)
		free(mounts->items[i].path);
	mounts->count = 0;
	mounts->hidepid = false;
}

int mounts_parse(const char *text, size_t length, uint64_t proc_device, struct mounts *out)
{
	const char *at = text, *end = text + length;
	int result = 0;

	clear(out);
	while (at < end && !result) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		if (!newline)
			break;
		result = parse_line(at, newline, proc_device, out);
		at = newline + 1;
	}
	return result;
}

void mounts_release(struct mounts *mounts)
{
	clear(mounts);
	free(mounts->items);
	*mounts = (struct mounts){0};
}
