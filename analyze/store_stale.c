/* What runs that were killed left beside a database. */
#include "analyze/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

/* The process that made a file of this name: BASE.tmp-PID-RANDOM and BASE.tmp-PID-RANDOM-copy,
 * RANDOM of eight hexadecimal digits; 0: it is none of ours. */
static pid_t maker_of(const char *name, const char *base)
{
	static const char hex[] = "0123456789abcdef";
	size_t length = strlen(base);
	char number[16];
	const char *digits, *end;
	uint64_t pid;

	if (strncmp(name, base, length) != 0 || strncmp(name + length, ".tmp-", 5) != 0)
		return 0;
	digits = name + length + 5;
	end = strchr(digits, '-');
	if (end == NULL || strspn(end + 1, hex) != 8 ||
	    (end[9] != '\0' && strcmp(end + 9, "-copy") != 0))
		return 0;
	if (end == digits || (size_t)(end - digits) >= sizeof(number))
		return 0;
	memcpy(number, digits, (size_t)(end - digits));
	number[end - digits] = '\0';
	return quantity_parse_uint(number, INT32_MAX, &pid) == 0 ? (pid_t)pid : 0;
}

/* SQLite holds a lock on what it fills, also where another machine does that. */
static bool is_locked(int dirfd, const char *name)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool locked = fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

static bool is_dead(pid_t pid)
{
	return kill(pid, 0) != 0 && errno == ESRCH;
}

static void remove_of(int dirfd, const char *base, DIR *directory,
		      void (*report)(const struct error *, void *), void *context)
{
	const struct dirent *entry;

	while ((entry = readdir(directory)) != NULL) {
		pid_t pid = maker_of(entry->d_name, base);
		struct error remark = ERROR_NONE;

		if (pid == 0 || !is_dead(pid) || is_locked(dirfd, entry->d_name) ||
		    unlinkat(dirfd, entry->d_name, 0) != 0)
			continue;
		error_set(&remark, ERROR_INTERRUPTED, entry->d_name, -1,
			  "left by a run that was killed (process %d): removed", (int)pid);
		if (report != NULL)
			report(&remark, context);
	}
}

void store_remove_stale(const char *path, void (*report)(const struct error *, void *),
			void *context)
{
	char *for_directory = strdup(path), *for_base = strdup(path);
	DIR *directory = for_directory == NULL ? NULL : opendir(dirname(for_directory));

	if (directory != NULL && for_base != NULL)
		remove_of(dirfd(directory), basename(for_base), directory, report, context);
	if (directory != NULL)
		closedir(directory);
	free(for_directory);
	free(for_base);
}
