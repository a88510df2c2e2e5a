/* pcapwho merge: the databases of many hosts into one. */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "analyze/cmd.h"
#include "analyze/display.h"
#include "analyze/fleet.h"
#include "snapshot/format/error.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/usage.h"

#define PROGRAM "pcapwho merge"

static const char help[] =
	"Usage: pcapwho merge [options] OUT IN...\n"
	"Join the databases of many hosts, so that one can ask all of them at once.\n"
	"\n"
	"OUT is the merged database; made if missing, else what is new is merged into it.\n"
	"IN are databases that pcapwho analyze or pcapwho merge made. They are only read.\n"
	"\n"
	"  -q, --quiet   no progress, no summary\n"
	"  -h, --help    this text\n"
	"\n"
	"Each segment counts once: the same IN again adds nothing, and an IN that has more of\n"
	"a recording than at the last merge takes the place of what was merged then. The\n"
	"result does not depend on the order of the IN. They must have the same bucket, and\n"
	"all or none of them packets. Nothing is merged if two contradict each other (the same\n"
	"segment with other content or rows, or each with segments of one boot that the other\n"
	"lacks beside some that both have), or if one is damaged, no such database, or has\n"
	"the journal of an interrupted load or a log (WAL) beside it.\n"
	"\n"
	"To a merged database no evidence can be added: go on analyzing into the IN, and\n"
	"merge again. OUT is replaced when the new one is whole; until then it is as it was.\n"
	"\n"
	"Exit status: 0 done; 1 failed, as by an IN that is damaged or contradicts another;\n"
	"64 wrong usage; 66 no such input.\n";

static void on_progress(const struct fleet_progress *p, void *context)
{
	double seconds = (double)p->elapsed_ns / 1e9;

	if (!display_is_due(context, p->elapsed_ns))
		return;
	if (p->rows == 0)
		fprintf(stderr, "%zu of %zu databases checked", p->numbered, p->databases);
	else
		fprintf(stderr, "%zu of %zu databases merged, %.1f M rows, %.1f M rows/s", p->taken,
			p->wanted, (double)p->rows / 1e6,
			seconds > 0 ? (double)p->rows / seconds / 1e6 : 0.0);
	fflush(stderr);
}

static void summarize(const char *to, const struct fleet_result *r)
{
	display_name(stderr, to);
	if (r->nothing_new)
		fprintf(stderr, ": nothing new in %zu database%s\n", r->databases,
			display_plural(r->databases));
	else
		fprintf(stderr, ": %zu recording%s with %zu segment%s, %" PRId64 " rows\n",
			r->recordings, display_plural(r->recordings), r->segments,
			display_plural(r->segments), r->rows);
}

static const char letters[] = ":qh";
static const struct option long_options[] = {
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

#define HELP_PRINTED 1

/* 0 to go on, HELP_PRINTED, or a negative error. */
static int parse_options(int argc, char **argv, bool *quiet, struct error *error)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		switch (c) {
		case 'q':
			*quiet = true;
			break;
		case 'h':
			fputs(help, stdout);
			return HELP_PRINTED;
		default:
			return usage_bad_option(PROGRAM, c, letters, argv, error);
		}
	}
	if (argc - optind < 2)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "wanted OUT and one IN or more: pcapwho merge OUT.db IN.db...; "
				 "see --help");
	return 0;
}

int cmd_merge(int argc, char **argv)
{
	struct display display = {.program = PROGRAM, .terminal = isatty(STDERR_FILENO)};
	struct fleet_options options = {
		.begin = display_begin,
		.stop = &display_stop,
		.report = display_report,
		.progress = on_progress,
		.context = &display,
	};
	struct error error = ERROR_NONE;
	struct fleet_result result;
	bool quiet = false;
	int status = parse_options(argc, argv, &quiet, &error);

	if (status == HELP_PRINTED)
		return EXIT_DONE;
	if (status != 0) {
		error_print(PROGRAM, &error);
		return EXIT_BAD_USAGE;
	}
	if (quiet)
		display.terminal = false;
	status = fleet_merge(argv[optind], argv + optind + 1, (size_t)(argc - optind - 1), &options,
			     &result, &error);
	display_clear(&display);
	if (status != 0) {
		error_print(PROGRAM, &error);
		/* Nothing is skipped and the rest done. */
		return error.code == ERROR_DAMAGED ? EXIT_FAILED : (int)error_exit_status(&error);
	}
	if (!quiet)
		summarize(argv[optind], &result);
	return EXIT_DONE;
}
