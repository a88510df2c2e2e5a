/* pcapwho index: makes the indexes of compressed captures anew. */
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyze/cmd.h"
#include "analyze/display.h"
#include "analyze/members.h"
#include "snapshot/format/error.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/pcapindex.h"
#include "snapshot/format/usage.h"

#define PROGRAM "pcapwho index"

static const char help[] =
	"Usage: pcapwho index DIR|FILE...\n"
	"Make the index of compressed captures (FILE.pcap.gz.idx beside each FILE.pcap.gz) by\n"
	"reading them: of these files, or of all in an evidence directory. With it several\n"
	"workers can read one capture of an evidence directory at once. The recorder makes it\n"
	"too; analyze does without, and a wrong one changes no result. A file of the index's\n"
	"name that is no index stays, and is an error.\n"
	"\n"
	"  -h, --help          this text\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 done, but some input was damaged and has no index;\n"
	"64 wrong usage; 66 no such input.\n";

static const char letters[] = ":h";
static const struct option long_options[] = {
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* The rest is done all the same; the first failure that is no damage is the exit status. */
static void note_failure(enum exit_status *outcome, const struct error *error)
{
	error_print(PROGRAM, error);
	if (*outcome == EXIT_DONE || *outcome == EXIT_DAMAGED)
		*outcome = error_exit_status(error);
}

/* directory: as it is written before the file's name, for people. */
static void index_file(int dirfd, const char *directory, const char *pcap,
		       enum exit_status *outcome)
{
	char name[PCAPINDEX_NAME_SIZE];
	struct error error = ERROR_NONE;
	struct pcapindex index = {0};
	int status = 0;

	pcapindex_name(pcap, name);
	/* The file beside another one is not ours to write. */
	if (!evidence_has_suffix(pcap, EVIDENCE_PCAP_GZ))
		status = error_set(&error, ERROR_USAGE, pcap, -1,
				   "no name of a compressed capture: wanted one that ends "
				   "in " EVIDENCE_PCAP_GZ);
	if (status == 0)
		status = members_index(dirfd, pcap, &index, &error);
	if (status == 0)
		status = pcapindex_write(&index, dirfd, name, &error);
	if (status == 0) {
		display_name(stdout, directory);
		display_name(stdout, name);
		printf(": %zu member%s, %llu packet%s\n", index.count, display_plural(index.count),
		       (unsigned long long)index.packets, display_plural(index.packets));
	}
	/* An index that is there is not of this file, or of more than can be read of it. */
	if (status == ERROR_DAMAGED)
		pcapindex_remove(dirfd, name, NULL);
	if (status != 0) {
		char path[sizeof(error.path)];

		/* Named as the user did. */
		snprintf(path, sizeof(path), "%s%s", directory, error.path);
		memcpy(error.path, path, sizeof(path));
		note_failure(outcome, &error);
	}
	pcapindex_release(&index);
}

static void index_directory(const char *path, enum exit_status *outcome)
{
	struct evidence_list list = {0};
	struct error error = ERROR_NONE;
	char *directory = NULL;
	bool found = false;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int status = fd < 0 ? error_errno(&error, path, "cannot open the directory")
			    : evidence_list_read(fd, path, &list, &error);

	if (status == 0 && asprintf(&directory, "%s/", path) < 0)
		status = error_set(&error, ERROR_MEMORY, path, -1, "out of memory");
	if (status != 0)
		note_failure(outcome, &error);
	for (size_t i = 0; i < list.count && status == 0; i++) {
		if (!evidence_has_suffix(list.segments[i].pcap, EVIDENCE_PCAP_GZ))
			continue;
		index_file(fd, directory, list.segments[i].pcap, outcome);
		found = true;
	}
	if (status == 0 && !found) {
		error_set(&error, ERROR_NO_INPUT, path, -1,
			  "no compressed capture in this directory: wanted files such as "
			  "000001-...Z.pcap.gz");
		note_failure(outcome, &error);
	}
	free(directory);
	evidence_list_release(&list);
	if (fd >= 0)
		close(fd);
}

static void index_path(const char *path, enum exit_status *outcome)
{
	const char *slash = strrchr(path, '/');
	char *directory = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	struct error error = ERROR_NONE;
	struct stat file;
	int fd;

	if (!directory) {
		error_set(&error, ERROR_MEMORY, path, -1, "out of memory");
		note_failure(outcome, &error);
		return;
	}
	if (stat(path, &file) != 0) {
		error_errno(&error, path, "cannot open");
		note_failure(outcome, &error);
		goto out;
	}
	if (S_ISDIR(file.st_mode)) {
		index_directory(path, outcome);
		goto out;
	}
	fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		error_errno(&error, path, "cannot open its directory");
		note_failure(outcome, &error);
		goto out;
	}
	index_file(fd, directory, slash ? slash + 1 : path, outcome);
	close(fd);
out:
	free(directory);
}

int cmd_index(int argc, char **argv)
{
	enum exit_status outcome = EXIT_DONE;
	struct error error = ERROR_NONE;
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return EXIT_DONE;
		}
		usage_bad_option(PROGRAM, option, letters, argv, &error);
		error_print(PROGRAM, &error);
		return EXIT_BAD_USAGE;
	}
	if (optind == argc) {
		error_set(&error, ERROR_USAGE, NULL, -1,
			  "no capture: wanted an evidence directory or .pcap.gz files");
		error_print(PROGRAM, &error);
		return EXIT_BAD_USAGE;
	}
	for (int i = optind; i < argc; i++)
		index_path(argv[i], &outcome);
	return outcome;
}
