#include "tests/unit/storedir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int storedir_open(char *path, struct segment_store *store, struct error *error)
{
	uint64_t torn;
	bool made;
	int fd;

	memcpy(path + strlen(path) - 6, "XXXXXX", 6);
	if (!mkdtemp(path) || segment_directory_open(path, &made, &fd, error) || made)
		return -1;
	return segment_store_open(fd, path, store, &torn, error);
}

int storedir_remove(const char *path, struct segment_store *store)
{
	char command[96];

	segment_store_close(store);
	snprintf(command, sizeof command, "rm -rf %s", path);
	return system(command);
}
