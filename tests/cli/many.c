/*
 * many.c - many runs of pcapwho in one process, for tests that need thousands: to start one
 * costs more than most of them do, under a sanitizer above all.
 *
 * Each line of standard input is a run: STEM, a verb and its arguments, with tabs between them.
 * What it prints goes to STEM.out and STEM.err. STEM.txt gets the exit status, and is not there
 * where a run ended this process. Exit status 1: a line or a file that is not to be had; else
 * a sanitizer's word on what all runs left behind.
 */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyze/cmd.h"

/* A run that hangs ends all. None needs a tenth of it on a busy machine. */
#define RUN_SECONDS 20
#define MOST_WORDS  64 /* in a line: no test says as many */

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{"analyze", cmd_analyze},
	{"explain", cmd_explain},
};

static FILE *open_beside(const char *stem, const char *suffix)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", stem, suffix);
	return fopen(path, "w");
}

/* What is written to the stream goes to the file from now on. */
static bool turn(FILE *stream, const char *stem, const char *suffix)
{
	FILE *to = open_beside(stem, suffix);
	bool turned;

	if (!to)
		return false;
	turned = dup2(fileno(to), fileno(stream)) >= 0;
	fclose(to);
	return turned;
}

static bool run(int argc, char **argv, int *status)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[0], verbs[i].name) != 0)
			continue;
		optind = 0; /* getopt begins anew */
		alarm(RUN_SECONDS);
		*status = verbs[i].run(argc, argv);
		alarm(0);
		return true;
	}
	return false;
}

static bool run_line(char *line)
{
	char *words[MOST_WORDS + 1], *rest = line, *stem = strsep(&rest, "\t\n"), *word;
	int count = 0, status;
	FILE *to;

	while ((word = strsep(&rest, "\t\n")) && (rest || *word)) {
		if (count == MOST_WORDS)
			return false;
		words[count++] = word;
	}
	words[count] = NULL;
	if (count == 0 || !turn(stdout, stem, ".out") || !turn(stderr, stem, ".err") ||
	    !run(count, words, &status))
		return false;
	fflush(stdout);
	to = open_beside(stem, ".txt");
	return to && fprintf(to, "%d", status) > 0 && fclose(to) == 0;
}

int main(void)
{
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
	bool well = out >= 0 && err >= 0;
	char *line = NULL;
	size_t size = 0;

	while (well && getline(&line, &size, stdin) > 0)
		well = run_line(line);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	if (!well)
		fprintf(stderr, "many: cannot run: %s\n", line ? line : "");
	free(line);
	return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
