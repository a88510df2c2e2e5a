#include "analyze/arguments.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool is_plain(unsigned char c)
{
	return isalnum(c) || c >= 0x80 || (c != '\0' && strchr("%+,-./:=@_^[]{}", c) != NULL);
}

static bool needs_quotes(const char *argument, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!is_plain((unsigned char)argument[i]))
			return true;
	}
	return length == 0;
}

static size_t append(char *to, const char *argument, size_t length)
{
	size_t used = 0;

	if (!needs_quotes(argument, length)) {
		memcpy(to, argument, length);
		return length;
	}
	to[used++] = '\'';
	for (size_t i = 0; i < length; i++) {
		if (argument[i] == '\'') {
			memcpy(to + used, "'\\'", 3);
			used += 3;
		}
		to[used++] = argument[i];
	}
	to[used++] = '\'';
	return used;
}

/* A program may have put free text in place of its arguments (setproctitle):
 * a single "argument" with spaces stands as it is. */
char *arguments_join(const char *bytes, size_t length)
{
	char *line;
	size_t used = 0;

	if (bytes == NULL || length > SIZE_MAX / 8)
		return NULL;
	/* A quote costs four bytes; an argument two quotes and a space, and its NUL is one
	 * of the bytes. */
	line = malloc(length * 4 + 8);
	if (line == NULL)
		return NULL;
	if (memchr(bytes, '\0', length) == NULL) {
		memcpy(line, bytes, length);
		line[length] = '\0';
		return line;
	}
	for (size_t at = 0; at <= length;) {
		const char *end = memchr(bytes + at, '\0', length - at);
		size_t one = end == NULL ? length - at : (size_t)(end - bytes) - at;

		if (at > 0)
			line[used++] = ' ';
		used += append(line + used, bytes + at, one);
		at += one + 1;
	}
	line[used] = '\0';
	return line;
}

const char *arguments_container(const char *cgroup, char container[ARGUMENTS_CONTAINER_SIZE])
{
	size_t run = 0;

	container[0] = '\0';
	if (cgroup == NULL)
		return NULL;
	for (const char *at = cgroup;; at++) {
		if (isxdigit((unsigned char)*at)) {
			run++;
			continue;
		}
		if (run == ARGUMENTS_CONTAINER_SIZE - 1) {
			const char *start = at - run;

			if (start == cgroup || strchr("/-:", start[-1]) != NULL) {
				memcpy(container, start, run);
				container[run] = '\0';
				return container;
			}
		}
		if (*at == '\0')
			return NULL;
		run = 0;
	}
}
