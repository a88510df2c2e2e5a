/* pcapwho analyze: evidence into a database. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "analyze/cmd.h"
#include "analyze/display.h"
#include "analyze/load.h"
#include "snapshot/format/error.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/usage.h"

#define PROGRAM "pcapwho analyze"

static const char help[] =
	"Usage: pcapwho analyze [options] DIR|SEGMENT|PCAP...\n"
	"Join packets to the processes that sent and received them, into a database.\n"
	"\n"
	"DIR is an evidence directory (pcapwho record, pcapwho import), SEGMENT one file of\n"
	"such a directory (its pair is found beside it), PCAP any pcap or pcapng, plain or\n"
	"gzip: without snapshots its packets are loaded unattributed.\n"
	"\n"
	"  -o, --output FILE    database; made if missing, else what is new is added to it\n"
	"                       (default traffic.db)\n"
	"      --bucket TIME    resolution of traffic over time (default 1s)\n"
	"      --packets        keep a row for each packet too\n"
	"  -j, --jobs N         workers, on segments or parts of them (default: all processors)\n"
	"      --udp-timeout T  a conversation without connection ends after this silence\n"
	"                       (default 2m)\n"
	"      --verify         hash the captures too, and tell which are not what\n"
	"                       custody.log says (snapshots always are)\n"
	"  -q, --quiet          no progress, no summary\n"
	"  -h, --help           this text\n"
	"\n"
	"TIME and T are 500ms, 10s, 5m, 2h or 7d; a plain number counts seconds.\n"
	"\n"
	"Segments that the database already has are skipped. Of copies of a segment of which\n"
	"one is whole and the others are damaged, or not what their log says, the whole one\n"
	"counts, and the others are named. Where copies differ in another way, or the database\n"
	"has the damaged one, nothing is loaded. Damaged input is loaded up to the damage;\n"
	"table coverage says what is missing. A segment of which a file cannot be read is named,\n"
	"and loaded by the same command once it can be.\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 done, but some input was damaged, or could not be\n"
	"read, and was skipped; 64 wrong usage; 66 no such input.\n";

static void on_progress(const struct load_progress *p, void *context)
{
	struct display *display = context;
	char bytes[32];
	double seconds = (double)p->elapsed_ns / 1e9;
	double done = p->bytes == 0 ? 1.0 : (double)p->bytes_done / (double)p->bytes;

	if (!display_is_due(display, p->elapsed_ns))
		return;
	fprintf(stderr, "%zu of %zu segment%s, %" PRIu64 " packet%s, %.1f M packets/s, %s",
		p->segments_done, p->segments, display_plural(p->segments), p->packets,
		display_plural(p->packets), seconds > 0 ? (double)p->packets / seconds / 1e6 : 0.0,
		quantity_format_bytes(p->bytes_done, bytes, sizeof(bytes)));
	if (done > 0.02 && done < 1)
		fprintf(stderr, ", %.0f s left", seconds * (1 - done) / done);
	fflush(stderr);
}

static void summarize(const struct load_options *options, const struct load_result *r)
{
	uint64_t outside = r->packets - r->flow_packets;

	display_name(stderr, options->database);
	if (r->nothing_new) {
		fprintf(stderr, ": nothing new: %" PRIu64 " segment%s loaded before", r->skipped,
			r->skipped == 1 ? " was" : "s were");
		if (r->damaged > 0)
			fprintf(stderr, "; %" PRIu64 " damaged", r->damaged);
		fputs("\n", stderr);
		return;
	}
	fprintf(stderr, ": %" PRIu64 " packet%s of %" PRIu64 " segment%s in %" PRIu64 " flow%s",
		r->packets, display_plural(r->packets), r->segments, display_plural(r->segments),
		r->flows, display_plural(r->flows));
	if (outside > 0)
		fprintf(stderr, ", %" PRIu64 " packet%s in none", outside, display_plural(outside));
	if (r->skipped > 0)
		fprintf(stderr, "; %" PRIu64 " segment%s loaded before", r->skipped,
			r->skipped == 1 ? " was" : "s were");
	if (r->damaged > 0)
		fprintf(stderr, "; %" PRIu64 " damaged", r->damaged);
	fputs("\n", stderr);
}

enum { OPT_BUCKET = 256, OPT_PACKETS, OPT_UDP_TIMEOUT, OPT_VERIFY };

static const char letters[] = ":o:j:qh";
static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'},
	{"bucket", required_argument, NULL, OPT_BUCKET},
	{"packets", no_argument, NULL, OPT_PACKETS},
	{"jobs", required_argument, NULL, 'j'},
	{"udp-timeout", required_argument, NULL, OPT_UDP_TIMEOUT},
	{"verify", no_argument, NULL, OPT_VERIFY},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

#define HELP_PRINTED 1

/* 0 to go on, HELP_PRINTED, or a negative error. */
static int parse_options(int argc, char **argv, struct load_options *options, bool *quiet,
			 struct error *error)
{
	uint64_t jobs;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		switch (c) {
		case 'o':
			options->database = optarg;
			break;
		case OPT_BUCKET:
			if (quantity_parse_duration(optarg, &options->bucket_ns) != 0 ||
			    options->bucket_ns <= 0)
				return usage_bad_value("--bucket", "a length of time such as 1s",
						       optarg, error);
			break;
		case OPT_PACKETS:
			options->with_packets = true;
			break;
		case 'j':
			if (quantity_parse_uint(optarg, 1024, &jobs) != 0 || jobs == 0)
				return usage_bad_value("--jobs", "a number from 1 to 1024", optarg,
						       error);
			options->workers = (unsigned)jobs;
			break;
		case OPT_UDP_TIMEOUT:
			if (quantity_parse_duration(optarg, &options->limits.idle_ns) != 0 ||
			    options->limits.idle_ns <= 0)
				return usage_bad_value("--udp-timeout",
						       "a length of time such as 2m", optarg,
						       error);
			break;
		case OPT_VERIFY:
			options->verify = true;
			break;
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
	return 0;
}

/* Each worker has files open, and each directory that is given is one: the limit that a shell sets
 * is for programs that would not know what to do with more. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit); /* without it fewer work */
}

int cmd_analyze(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct display display = {.program = PROGRAM, .terminal = isatty(STDERR_FILENO)};
	struct load_options options = {
		.database = "traffic.db",
		.workers = processors > 0 ? (unsigned)processors : 1,
		.limits = flow_default_limits,
		.begin = display_begin,
		.stop = &display_stop,
		.report = display_report,
		.progress = on_progress,
		.context = &display,
	};
	struct error error = ERROR_NONE;
	struct load_result result;
	bool quiet = false;
	int status;

	status = parse_options(argc, argv, &options, &quiet, &error);
	if (status == HELP_PRINTED)
		return EXIT_DONE;
	if (status != 0) {
		error_print(PROGRAM, &error);
		return EXIT_BAD_USAGE;
	}
	if (optind >= argc) {
		fputs(PROGRAM ": nothing to analyze: give an evidence directory or a capture; see "
			      "--help\n",
		      stderr);
		return EXIT_BAD_USAGE;
	}
	if (quiet)
		display.terminal = false;
	raise_descriptor_limit();
	status = load_run(argv + optind, (size_t)(argc - optind), &options, &result, &error);
	display_clear(&display);
	if (status != 0) {
		error_print(PROGRAM, &error);
		/* Damage that left nothing to load is a failure. */
		return error.code == ERROR_DAMAGED ? EXIT_FAILED : (int)error_exit_status(&error);
	}
	if (!quiet)
		summarize(&options, &result);
	return result.damaged > 0 ? EXIT_DAMAGED : EXIT_DONE;
}
