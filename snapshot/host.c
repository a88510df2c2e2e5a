#include "snapshot/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "snapshot/format/custody.h"
#include "snapshot/privilege.h"

#define ZONE_ROOT "/zoneinfo/"

/* Takes value over; NULL means not known. */
static void put(struct host_meta *meta, const char *key, char *value, size_t length)
{
	meta->entries[meta->count].key = key;
	meta->entries[meta->count].value = value;
	meta->entries[meta->count].length = value ? length : 0;
	meta->count++;
}

/* value must not be NULL unless it is an allocation that failed. */
static int put_text(struct host_meta *meta, const char *key, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -1;
	put(meta, key, copy, strlen(copy));
	return 0;
}

static int put_number(struct host_meta *meta, const char *key, int64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, value);
	return put_text(meta, key, text);
}

/* The first line of a small file. */
static int put_file(struct host_meta *meta, const char *key, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[256];
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (length <= 0) {
		put(meta, key, NULL, 0);
		return 0;
	}
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return put_text(meta, key, text);
}

static int put_host(struct host_meta *meta)
{
	const uint16_t one = 1;
	struct utsname name;
	uint8_t first;

	memcpy(&first, &one, 1);
	if (uname(&name) != 0)
		return -1;
	if (put_text(meta, "hostname", name.nodename) ||
	    put_file(meta, "machine_id", "/etc/machine-id") ||
	    put_file(meta, "boot_id", "/proc/sys/kernel/random/boot_id") ||
	    put_text(meta, "kernel", name.release) || put_text(meta, "architecture", name.machine))
		return -1;
	return put_text(meta, "byte_order", first ? "little" : "big");
}

static int put_recording(struct host_meta *meta)
{
	uint8_t random[16];
	char hex[33];

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -1;
	custody_hex(random, sizeof random, hex);
	return put_text(meta, "recording", hex);
}

static int put_argv(struct host_meta *meta, int argc, char *const *argv)
{
	size_t length = 0, at = 0;
	char *text;

	for (int i = 0; i < argc; i++)
		length += strlen(argv[i]) + 1;
	text = malloc(length + 1);
	if (!text)
		return -1;
	for (int i = 0; i < argc; i++) {
		size_t size = strlen(argv[i]) + 1;

		memcpy(text + at, argv[i], size);
		at += size;
	}
	put(meta, "argv", text, length ? length - 1 : 0);
	return 0;
}

static int put_interfaces(struct host_meta *meta, const struct options *options)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	bool any = options->interface_count == 0;

	if (!stream)
		return -1;
	for (size_t i = 0; i < options->interface_count; i++)
		if (strcmp(options->interfaces[i], "any") == 0)
			any = true;
	for (size_t i = 0; !any && i < options->interface_count; i++)
		fprintf(stream, "%s%s", i ? "," : "", options->interfaces[i]);
	if (any)
		fputs("any", stream);
	if (fclose(stream) != 0) {
		free(text);
		return -1;
	}
	put(meta, "interface", text, size);
	return 0;
}

static int put_time_zone(struct host_meta *meta)
{
	const char *zone = getenv("TZ");
	char target[512];
	ssize_t length;

	if (zone && *zone)
		return put_text(meta, "time_zone", zone);
	length = readlink("/etc/localtime", target, sizeof target - 1);
	if (length < 0)
		return put_text(meta, "time_zone", "UTC"); /* what libc takes without the file */
	target[length] = '\0';
	zone = strstr(target, ZONE_ROOT);
	return put_text(meta, "time_zone", zone ? zone + strlen(ZONE_ROOT) : target);
}

static int put_netns(struct host_meta *meta)
{
	struct stat file;

	if (stat("/proc/self/ns/net", &file) == 0)
		return put_number(meta, "netns", (int64_t)file.st_ino);
	put(meta, "netns", NULL, 0);
	return 0;
}

static int put_run(struct host_meta *meta, const struct options *options, uint32_t link_type,
		   const char *watcher)
{
	char privilege[PRIVILEGE_TEXT_SIZE];

	if (put_interfaces(meta, options) || put_text(meta, "filter", options->filter) ||
	    put_number(meta, "snaplen", options->snaplen) ||
	    put_number(meta, "link_type", link_type) || put_time_zone(meta) ||
	    put_text(meta, "privilege", privilege_describe(privilege)) ||
	    put_text(meta, "watcher", watcher) || put_text(meta, "source", "recorder") ||
	    put_netns(meta))
		return -1;
	return put_number(meta, "interval_ns", options->interval_ns);
}

int host_meta_read(const struct options *options, int argc, char *const *argv, uint32_t link_type,
		   const char *watcher, struct host_meta *meta, struct error *error)
{
	*meta = (struct host_meta){0};
	errno = ENOMEM;
	if (put_text(meta, "tool", "pcapwho-record " PCAPWHO_VERSION) || put_recording(meta) ||
	    put_host(meta) || put_number(meta, "clock_ticks", sysconf(_SC_CLK_TCK)) ||
	    put_argv(meta, argc, argv) || put_run(meta, options, link_type, watcher)) {
		host_meta_release(meta);
		return error_errno(error, NULL, "collecting the facts of this host");
	}
	return 0;
}

const char *host_meta_get(const struct host_meta *meta, const char *key)
{
	for (size_t i = 0; i < meta->count; i++)
		if (strcmp(meta->entries[i].key, key) == 0)
			return meta->entries[i].value;
	return NULL;
}

void host_meta_release(struct host_meta *meta)
{
	for (size_t i = 0; i < meta->count; i++)
		free((void *)(uintptr_t)meta->entries[i].value);
	meta->count = 0;
}
