/* pcapwho merge: the databases of many hosts into one. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "analyze/cmd.h"
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
	"lacks beside some that both have), or if one is damaged or no such database.\n"
	"\n"
	"To a merged database no evidence can be added: go on analyzing into the IN, and\n"
	"merge again. OUT is replaced when the new one is whole; until then it is as it was.\n"
	"\n"
	"Exit status: 0 done; 1 failed, as by an IN that is damaged or contradicts another;\n"
	"64 wrong usage; 66 no such input.\n";

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

/* From here on there is something to undo. */
static void on_begin(void *context)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};

	(void)context;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

struct display {
	bool terminal, quiet, shown;
	int64_t shown_ns;
};

static void clear_line(struct display *display)
{
	if (display->shown)
		fputs("\r\033[K", stderr);
	display->shown = false;
}

static void on_report(const struct error *error, void *context)
{
	clear_line(context);
	error_print(PROGRAM, error);
}

static void on_progress(const struct fleet_progress *p, void *context)
{
	struct display *display = context;
	double seconds = (double)p->elapsed_ns / 1e9;
	double done = p->bytes == 0 ? 1.0 : (double)p->bytes_taken / (double)p->bytes;

	/* Twice a second is as often as one can read. */
	if (!display->terminal || p->elapsed_ns - display->shown_ns < NS_PER_SECOND / 2)
		return;
	display->shown_ns = p->elapsed_ns;
	display->shown = true;
	if (p->rows == 0) {
		fprintf(stderr, "\r\033[K%zu of %zu databases checked", p->numbered, p->databases);
	} else {
		fprintf(stderr, "\r\033[K%zu database%s merged, %.1f M rows, %.1f M rows/s",
			p->taken, p->taken == 1 ? "" : "s", (double)p->rows / 1e6,
			seconds > 0 ? (double)p->rows / seconds / 1e6 : 0.0);
		if (done > 0.02 && done < 1)
			fprintf(stderr, ", %.0f s left", seconds * (1 - done) / done);
	}
	fflush(stderr);
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void summarize(const char *to, const struct fleet_result *r)
{
	if (r->nothing_new)
		fprintf(stderr, "%s: nothing new in %zu database%s\n", to, r->databases,
			plural(r->databases));
	else
		fprintf(stderr, "%s: %zu recording%s with %zu segment%s, %" PRId64 " rows\n", to,
			r->recordings, plural(r->recordings), r->segments, plural(r->segments),
			r->rows);
}

static const char letters[] = ":qh";
static const struct option long_options[] = {
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

#define HELP_PRINTED 1

/* 0 to go on, HELP_PRINTED, or a negative error. */
static int parse_options(int argc, char **argv, struct display *display, struct error *error)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		switch (c) {
		case 'q':
			display->quiet = true;
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
	struct display display = {.terminal = isatty(STDERR_FILENO)};
	struct fleet_options options = {
		.begin = on_begin,
		.stop = &stop,
		.report = on_report,
		.progress = on_progress,
		.context = &display,
	};
	struct error error = ERROR_NONE;
	struct fleet_result result;
	int status = parse_options(argc, argv, &display, &error);

	if (status == HELP_PRINTED)
		return EXIT_DONE;
	if (status != 0) {
		error_print(PROGRAM, &error);
		return EXIT_BAD_USAGE;
	}
	if (display.quiet)
		display.terminal = false;
	status = fleet_merge(argv[optind], argv + optind + 1, (size_t)(argc - optind - 1), &options,
			     &result, &error);
	clear_line(&display);
	if (status != 0) {
		error_print(PROGRAM, &error);
		/* Nothing is skipped and the rest done. */
		return error.code == ERROR_DAMAGED ? EXIT_FAILED : (int)error_exit_status(&error);
	}
	if (!display.quiet)
		summarize(argv[optind], &result);
	return EXIT_DONE;
}
