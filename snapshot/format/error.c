#include "snapshot/format/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/format/escape.h"

/* Everything is made in a local first: the arguments may point into *error. */
static int fill(struct error *error, enum error_code code, int saved_errno, const char *path,
		int64_t offset_bytes, const char *message)
{
	struct error made = {.code = code, .offset_bytes = offset_bytes};

	if (!error)
		return code;
	if (code == ERROR_SYSTEM)
		made.saved_errno = saved_errno;
	if (path) {
		/* What a variable that is not set leaves on a command line. */
		if (path[0] == '\0')
			path = "\"\"";
		size_t length = strlen(path);
		if (length < sizeof(made.path)) {
			memcpy(made.path, path, length + 1);
		} else {
			size_t kept = sizeof(made.path) - 4;
			memcpy(made.path, "...", 3);
			memcpy(made.path + 3, path + length - kept, kept + 1);
		}
	}
	snprintf(made.message, sizeof(made.message), "%s", message);
	*error = made;
	return code;
}

int error_set(struct error *error, enum error_code code, const char *path, int64_t offset_bytes,
	      const char *format, ...)
{
	char message[sizeof(error->message)];
	int saved_errno = errno;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	return fill(error, code, saved_errno, path, offset_bytes, message);
}

int error_errno(struct error *error, const char *path, const char *format, ...)
{
	char message[sizeof(error->message)], whole[sizeof(error->message)];
	int saved_errno = errno;
	enum error_code code = ERROR_SYSTEM;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	if (saved_errno == ENOENT)
		code = ERROR_NO_INPUT;
	else if (saved_errno == ENOMEM)
		code = ERROR_MEMORY;
	/* The reason is worth more than the end of a long message. */
	snprintf(whole, sizeof(whole), "%.400s: %.100s", message, strerror(saved_errno));
	return fill(error, code, saved_errno, path, -1, whole);
}

int error_damage(struct error *error, const char *path, int64_t offset_bytes, const char *wanted,
		 const char *found_format, ...)
{
	char found[sizeof(error->message)], message[sizeof(error->message)];
	va_list arguments;

	va_start(arguments, found_format);
	vsnprintf(found, sizeof(found), found_format, arguments);
	va_end(arguments);
	snprintf(message, sizeof(message), "wanted %.200s, found %.280s", wanted, found);
	return fill(error, ERROR_DAMAGED, 0, path, offset_bytes, message);
}

/* out has room for ESCAPE_GROWTH * strlen(text) + 1. */
static void make_visible(const char *text, char *out)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);
	char shown[ESCAPE_SHOWN_SIZE];
	size_t length;

	while (at < end) {
		at += escape_show(at, (size_t)(end - at), shown, &length);
		memcpy(out, shown, length);
		out += length;
	}
	*out = '\0';
}

void error_print(const char *program, const struct error *error)
{
	char path[sizeof(error->path) * ESCAPE_GROWTH + 1];
	char message[sizeof(error->message) * ESCAPE_GROWTH + 1];
	char offset[48] = "";

	make_visible(error->path, path);
	make_visible(error->message, message);
	if (error->offset_bytes >= 0)
		snprintf(offset, sizeof(offset), "at byte %" PRId64 ": ", error->offset_bytes);
	fprintf(stderr, "%s: %s%s%s%s\n", program, path, path[0] ? ": " : "", offset, message);
}

int error_end_output(const char *program, int status)
{
	struct error error = ERROR_NONE;

	if ((fflush(stdout) == 0 && !ferror(stdout)) ||
	    (status != EXIT_DONE && status != EXIT_DAMAGED))
		return status;
	error_errno(&error, NULL, "cannot write to standard output");
	error_print(program, &error);
	return EXIT_FAILED;
}

enum exit_status error_exit_status(const struct error *error)
{
	switch ((int)error->code) {
	case 0:
		return EXIT_DONE;
	case ERROR_DAMAGED:
		return EXIT_DAMAGED;
	case ERROR_USAGE:
		return EXIT_BAD_USAGE;
	case ERROR_NO_INPUT:
		return EXIT_NO_INPUT;
	default:
		return EXIT_FAILED;
	}
}
