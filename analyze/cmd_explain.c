/* pcapwho explain: why a packet, a connection or a flow has the owner that it has. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "analyze/cmd.h"
#include "analyze/explain.h"
#include "snapshot/format/error.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/usage.h"

#define PROGRAM "pcapwho explain"

static const char help[] =
	"Usage: pcapwho explain DATABASE --flow ID | --connection ID | --packet FILE:NUMBER\n"
	"                       [--evidence DIR] [OPTION]...\n"
	"Print the chain behind an answer: packet, flow, rule, frame, socket, descriptor or\n"
	"use, process and its parents.\n"
	"\n"
	"  --flow ID             all owners of this flow\n"
	"  --connection ID       one owner of one end of a flow\n"
	"  --packet FILE:NUMBER  the owners of one packet of a capture, counted from 1\n"
	"  --evidence DIR        analyze the segments that the answer rests on anew, say why\n"
	"                        the stronger rules did not apply, read each record again, and\n"
	"                        compare it all with the database and with custody.log\n"
	"  --format FORMAT       text (the default) or json\n"
	"  --udp-timeout T       as it was given to analyze (default 2m)\n"
	"  -h, --help            this text\n"
	"\n"
	"Of a database that has no row for each packet, --packet needs the evidence.\n"
	"\n"
	"Exit status: 0 done, and nothing differs; 1 failed, or something differs; 64 usage;\n"
	"66 no such database, evidence, flow, connection or packet.\n";

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static const int signals[] = {SIGINT, SIGTERM};
static struct sigaction before[2];

static void on_begin(void *context)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};

	(void)context;
	for (size_t i = 0; i < 2; i++)
		sigaction(signals[i], &action, &before[i]);
}

static void on_end(void *context)
{
	(void)context;
	for (size_t i = 0; i < 2; i++)
		sigaction(signals[i], &before[i], NULL);
}

static void on_report(const struct error *error, void *context)
{
	(void)context;
	error_print(PROGRAM, error);
}

struct arguments {
	struct explain_options options;
	bool json, help;
};

enum { OPT_FLOW = 256, OPT_CONNECTION, OPT_PACKET, OPT_EVIDENCE, OPT_FORMAT, OPT_UDP_TIMEOUT };

static const char letters[] = ":h";
static const struct option long_options[] = {
	{"flow", required_argument, NULL, OPT_FLOW},
	{"connection", required_argument, NULL, OPT_CONNECTION},
	{"packet", required_argument, NULL, OPT_PACKET},
	{"evidence", required_argument, NULL, OPT_EVIDENCE},
	{"format", required_argument, NULL, OPT_FORMAT},
	{"udp-timeout", required_argument, NULL, OPT_UDP_TIMEOUT},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int parse_id(const char *option, int64_t *out, struct error *error)
{
	uint64_t id;

	if (quantity_parse_uint(optarg, INT64_MAX, &id) != 0 || id == 0)
		return usage_bad_value(option, "a number from 1", optarg, error);
	*out = (int64_t)id;
	return 0;
}

static int parse_option(int option, struct arguments *out, char **argv, struct error *error)
{
	switch (option) {
	case OPT_FLOW:
		return parse_id("--flow", &out->options.flow_id, error);
	case OPT_CONNECTION:
		return parse_id("--connection", &out->options.connection_id, error);
	case OPT_PACKET:
		out->options.packet = optarg;
		return 0;
	case OPT_EVIDENCE:
		out->options.evidence = optarg;
		return 0;
	case OPT_FORMAT:
		out->json = strcmp(optarg, "json") == 0;
		if (!out->json && strcmp(optarg, "text") != 0)
			return usage_bad_value("--format", "text or json", optarg, error);
		return 0;
	case OPT_UDP_TIMEOUT:
		if (quantity_parse_duration(optarg, &out->options.limits.idle_ns) != 0 ||
		    out->options.limits.idle_ns <= 0)
			return usage_bad_value("--udp-timeout", "a length of time such as 2m",
					       optarg, error);
		return 0;
	case 'h':
		out->help = true;
		return 0;
	default:
		return usage_bad_option(PROGRAM, option, letters, argv, error);
	}
}

static int parse_arguments(int argc, char **argv, struct arguments *out, struct error *error)
{
	struct explain_options *o = &out->options;
	int option, code, targets;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		code = parse_option(option, out, argv, error);
		if (code != 0)
			return code;
	}
	if (out->help)
		return 0;
	if (argc - optind != 1)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "wanted one DATABASE, found %d; see --help", argc - optind);
	o->database = argv[optind];
	targets = (o->flow_id != 0) + (o->connection_id != 0) + (o->packet != NULL);
	if (targets != 1)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "wanted one of --flow, --connection and --packet, found %s of "
				 "them",
				 targets == 0 ? "none" : "several");
	return 0;
}

static void print(const struct arguments *arguments, const struct explain_report *report)
{
	struct explain_output output = {.terminal = isatty(STDOUT_FILENO) == 1};
	struct winsize window;

	if (output.terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0)
		output.width = window.ws_col;
	if (arguments->json)
		explain_print_json(report);
	else
		explain_print_text(report, &output);
}

int cmd_explain(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct arguments arguments = {.options = {
					      .limits = flow_default_limits,
					      .workers = processors > 0 ? (unsigned)processors : 1,
					      .begin = on_begin,
					      .end = on_end,
					      .stop = &stop,
					      .report = on_report,
				      }};
	struct error error = ERROR_NONE;
	struct explain_report report;
	bool differs = false;
	int code = parse_arguments(argc, argv, &arguments, &error);

	if (code == 0 && arguments.help) {
		fputs(help, stdout);
		return EXIT_DONE;
	}
	if (code == 0) {
		code = explain_run(&arguments.options, &report, &error);
		if (code == 0)
			print(&arguments, &report);
		differs = report.differs > 0;
		explain_release(&report);
	}
	if (code == 0)
		return differs ? EXIT_FAILED : EXIT_DONE;
	error_print(PROGRAM, &error);
	/* Damage that leaves nothing to explain is a failure. */
	return error.code == ERROR_DAMAGED ? EXIT_FAILED : (int)error_exit_status(&error);
}
