/* A main() for fuzz targets without a fuzzer: runs the target over every file
 * given, and over every file in every directory given, in order of names. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t inputs;

static int complain(const char *path)
{
	fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
	return -1;
}

static int replay_file(const char *path, size_t size)
{
	/* Exactly as large as the input, so that a sanitizer sees the first byte behind it. */
	uint8_t *data = malloc(size > 0 ? size : 1);
	FILE *file = fopen(path, "rb");
	int status = 0;

	if (!data || !file || fread(data, 1, size, file) != size) {
		status = complain(path);
	} else {
		LLVMFuzzerTestOneInput(data, size);
		inputs++;
	}
	if (file)
		fclose(file);
	free(data);
	return status;
}

static int replay(const char *path);

static int replay_directory(const char *path)
{
	struct dirent **entries;
	int status = 0, count = scandir(path, &entries, NULL, alphasort);

	if (count < 0)
		return complain(path);
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		size_t room = strlen(path) + strlen(name) + 2;
		char *inner = name[0] == '.' ? NULL : malloc(room);

		if (inner) {
			snprintf(inner, room, "%s/%s", path, name);
			if (replay(inner) != 0)
				status = -1;
		}
		free(inner);
		free(entries[i]);
	}
	free(entries);
	return status;
}

static int replay(const char *path)
{
	struct stat status;

	if (stat(path, &status) != 0)
		return complain(path);
	if (S_ISDIR(status.st_mode))
		return replay_directory(path);
	return replay_file(path, (size_t)status.st_size);
}

int main(int argc, char **argv)
{
	int status = EXIT_SUCCESS;

	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]) != 0)
			status = EXIT_FAILURE;
	}
	printf("%" PRIu64 " inputs replayed\n", inputs);
	return status;
}
