/* pcapwho record: becomes pcapwho-record, so that users learn one name. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyze/cmd.h"
#include "snapshot/format/error.h"

#define RECORDER "pcapwho-record"

/* The path of the recorder beside this program; "" where the system does not say. */
static void find_sibling(char *path, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", path, size - sizeof(RECORDER));
	char *slash;

	path[length > 0 ? length : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		memcpy(slash + 1, RECORDER, sizeof(RECORDER));
	else
		path[0] = '\0';
}

int cmd_record(int argc, char **argv)
{
	char sibling[PATH_MAX + sizeof(RECORDER)];
	struct error error = ERROR_NONE;
	char **arguments = calloc((size_t)argc + 1, sizeof(*arguments));
	char name[] = RECORDER;

	if (!arguments) {
		error_set(&error, ERROR_MEMORY, NULL, -1, "no memory for the arguments");
		error_print("pcapwho record", &error);
		return EXIT_FAILED;
	}
	for (int i = 1; i < argc; i++)
		arguments[i] = argv[i];
	arguments[0] = name;
	find_sibling(sibling, sizeof(sibling));
	errno = ENOENT;
	if (sibling[0])
		execv(sibling, arguments);
	/* One that is there and cannot be run is not passed over for another. */
	if (errno == ENOENT || errno == ENOTDIR) {
		execvp(RECORDER, arguments);
		error_errno(&error, NULL, "cannot run the recorder: looked for %s%sfor %s in PATH",
			    sibling, sibling[0] ? ", then " : "", RECORDER);
	} else {
		error_errno(&error, sibling, "cannot run the recorder");
	}
	error_print("pcapwho record", &error);
	free(arguments);
	return EXIT_FAILED;
}
