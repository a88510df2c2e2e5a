/* What this kernel has of the tracepoints: their numbers and fields, out of tracefs. */
#include "snapshot/tracepoint_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* Format files are 1 to 3 KiB; the fields come first. */
#define FORMAT_BYTES (32u << 10)

/* A directory "events" of tracefs; -1 and errno. A mount of our own has no
 * place in the tree of files, and ends with its last descriptor. */
static int open_events(void)
{
	static const char *const places[] = {"/sys/kernel/tracing/events",
					     "/sys/kernel/debug/tracing/events"};
	int context, mount = -1, events = -1, saved_errno;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		events = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (events >= 0)
			return events;
	}
	context = fsopen("tracefs", FSOPEN_CLOEXEC);
	if (context >= 0 && !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
	if (mount >= 0)
		events = openat(mount, "events", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	saved_errno = errno;
	if (mount >= 0)
		close(mount);
	if (context >= 0)
		close(context);
	errno = saved_errno;
	return events;
}

/* The first bytes of a tracepoint's file; -1: it cannot be read. */
static ssize_t read_file(int events, enum tracepoint_number number, const char *file, char *out,
			 size_t room)
{
	const struct tracepoint_name *name = &tracepoint_names[number];
	char path[128];
	size_t length = 0;
	ssize_t got = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", name->system, name->name, file);
	fd = openat(events, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (length < room) {
		got = read(fd, out + length, room - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length += (size_t)got;
	}
	close(fd);
	return got < 0 ? -1 : (ssize_t)length;
}

/* ------------------------------------------- what this kernel has not --- */

void tracepoint_add_without(struct tracepoint_source *source, const char *what, const char *reason)
{
	size_t length = strlen(source->without);

	snprintf(source->without + length, sizeof(source->without) - length, "%s%s (%s)",
		 length ? ", " : "", what, reason);
}

void tracepoint_say_without(struct tracepoint_source *source, enum tracepoint_number number,
			    const char *format, ...)
{
	char what[64], reason[128];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	snprintf(what, sizeof(what), "%s:%s", tracepoint_names[number].system,
		 tracepoint_names[number].name);
	tracepoint_add_without(source, what, reason);
	source->layout.of[number].known = false;
}

/* Learns one tracepoint's number and fields, or says what is missing. */
static void learn(struct tracepoint_source *source, int events, enum tracepoint_number number,
		  char *format)
{
	char id_text[16] = "";
	const char *missing;
	ssize_t length = read_file(events, number, "id", id_text, sizeof(id_text) - 1);
	unsigned long id = length > 0 ? strtoul(id_text, NULL, 10) : 0;

	/* common_type has 16 bits. */
	if (id == 0 || id > UINT16_MAX) {
		tracepoint_say_without(source, number, "no such tracepoint");
		return;
	}
	length = read_file(events, number, "format", format, FORMAT_BYTES);
	if (length < 0) {
		tracepoint_say_without(source, number, "its format cannot be read: %s",
				       strerror(errno));
		return;
	}
	missing = tracepoint_layout_add(&source->layout, number, (uint16_t)id, format,
					(size_t)length);
	if (missing)
		tracepoint_say_without(source, number, "no usable field %s", missing);
}

int tracepoint_learn(struct tracepoint_source *source, struct error *error)
{
	char *format = malloc(FORMAT_BYTES);
	int events = open_events(), result = 0;

	if (events < 0) {
		result = error_errno(error, "/sys/kernel/tracing",
				     "cannot open tracefs, nor mount it (CAP_SYS_ADMIN)");
		result = result == ERROR_NO_INPUT ? ERROR_SYSTEM : result;
	} else if (!format) {
		result = error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	} else {
		for (int i = 0; i < TRACEPOINT_COUNT; i++) {
			if (i != TRACEPOINT_SPACE_ADJUST)
				learn(source, events, (enum tracepoint_number)i, format);
		}
		source->lengths = source->layout.of[TRACEPOINT_SEND_LENGTH].known &&
				  source->layout.of[TRACEPOINT_RECV_LENGTH].known;
		if (!source->lengths) {
			if (source->layout.of[TRACEPOINT_SEND_LENGTH].known)
				tracepoint_say_without(source, TRACEPOINT_SEND_LENGTH,
						       "no lengths received");
			source->layout.of[TRACEPOINT_RECV_LENGTH].known = false;
			learn(source, events, TRACEPOINT_SPACE_ADJUST, format);
		}
	}
	if (events >= 0)
		close(events);
	free(format);
	return result;
}
