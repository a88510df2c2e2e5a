/*
 * squeeze DIRECTORY: compresses every pcap of an evidence directory as the recorder
 * does once it is finished: members, index, reading back, custody.log.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/compress.h"
#include "snapshot/format/evidence.h"

struct wanted {
	const char *name;
	char sha256[CUSTODY_HEX_SIZE];
};

static void note_entry(const struct custody_entry *entry, void *context)
{
	struct wanted *wanted = context;

	if (entry->file && entry->sha256 && strcmp(entry->file, wanted->name) == 0)
		snprintf(wanted->sha256, sizeof(wanted->sha256), "%s", entry->sha256);
}

static int fail(const struct error *error)
{
	error_print("squeeze", error);
	return 1;
}

int main(int argc, char **argv)
{
	static struct segment_store store;
	struct error error = ERROR_NONE;
	struct evidence_list list;
	atomic_bool cancel = false;
	uint64_t torn;
	bool made;
	int fd;

	if (argc != 2) {
		fputs("Usage: squeeze DIRECTORY\n", stderr);
		return 64;
	}
	if (segment_directory_open(argv[1], &made, &fd, &error) != 0 ||
	    segment_store_open(fd, argv[1], &store, &torn, &error) != 0 ||
	    evidence_list_read(fd, argv[1], &list, &error) != 0)
		return fail(&error);
	for (size_t i = 0; i < list.count; i++) {
		struct wanted wanted = {.name = list.segments[i].pcap};

		if (custody_verify(fd, argv[1], note_entry, &wanted, NULL, &error) != 0 ||
		    compress_segment(&store, wanted.name, wanted.sha256, &cancel, &error) != 0)
			return fail(&error);
	}
	evidence_list_release(&list);
	segment_store_close(&store);
	return 0;
}
