#include "snapshot/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/format/pcaphead.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/usage.h"

enum {
	OPT_INTERVAL = 256,
	OPT_CPU_BUDGET,
	OPT_ROTATE_TIME,
	OPT_ROTATE_SIZE,
	OPT_KEEP_SIZE,
	OPT_KEEP_TIME,
	OPT_KEEP_FREE,
	OPT_COMPRESS,
	OPT_DURATION,
	OPT_USER,
	OPT_NO_WATCH,
	OPT_VERSION,
};

static const char letters[] = "+:o:i:f:s:B:qh";
static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'},
	{"interface", required_argument, NULL, 'i'},
	{"filter", required_argument, NULL, 'f'},
	{"snaplen", required_argument, NULL, 's'},
	{"buffer", required_argument, NULL, 'B'},
	{"interval", required_argument, NULL, OPT_INTERVAL},
	{"cpu-budget", required_argument, NULL, OPT_CPU_BUDGET},
	{"rotate-time", required_argument, NULL, OPT_ROTATE_TIME},
	{"rotate-size", required_argument, NULL, OPT_ROTATE_SIZE},
	{"keep-size", required_argument, NULL, OPT_KEEP_SIZE},
	{"keep-time", required_argument, NULL, OPT_KEEP_TIME},
	{"keep-free", required_argument, NULL, OPT_KEEP_FREE},
	{"compress", no_argument, NULL, OPT_COMPRESS},
	{"duration", required_argument, NULL, OPT_DURATION},
	{"user", required_argument, NULL, OPT_USER},
	{"no-watch", no_argument, NULL, OPT_NO_WATCH},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

const char options_help[] =
	"Usage: pcapwho-record -o DIR [options] [-- COMMAND ...]\n"
	"Record packets, and beside them which process had which socket open.\n"
	"\n"
	"  -o, --output DIR         evidence directory, made if it is missing (0700)\n"
	"  -i, --interface IFACE    interface; repeat for several; default any\n"
	"  -f, --filter FILTER      capture filter, as for tcpdump\n"
	"  -s, --snaplen BYTES      bytes kept of each packet; default 262144\n"
	"  -B, --buffer MIB         kernel capture buffer; default 16\n"
	"      --interval TIME      between snapshots; default 1s, 0 as often as\n"
	"                           --cpu-budget allows\n"
	"      --cpu-budget PERCENT of one core, for snapshots; default 2%\n"
	"      --rotate-time TIME   start a new segment after this; default 60s, 0 never\n"
	"      --rotate-size SIZE   start a new segment at this size; default 256M, 0 never\n"
	"      --keep-size SIZE     delete the oldest segments beyond this much\n"
	"      --keep-time TIME     delete segments older than this\n"
	"      --keep-free SIZE|PERCENT  delete the oldest while less than this is free\n"
	"      --compress           gzip each pcap once it is complete, with an index\n"
	"      --duration TIME      stop after this\n"
	"      --user USER          become USER once the directory is open\n"
	"      --no-watch           snapshots only: not what lives between them\n"
	"  -q, --quiet              print errors only\n"
	"  -h, --help               print this\n"
	"      --version            print the version\n"
	"\n"
	"Nothing is deleted unless a --keep option asks for it. With COMMAND, records\n"
	"from before its start until it has ended, and returns its status.\n"
	"Times: 500ms 10s 5m 2h 7d, a plain number is seconds. Sizes: 64K 256M 10G\n"
	"(1024-based).\n"
	"INT and TERM stop, HUP starts a new segment, USR1 prints statistics.\n";

static const char *option_name(int code)
{
	for (const struct option *option = long_options; option->name; option++)
		if (option->val == code)
			return option->name;
	return "?";
}

static int bad_value(struct error *error, int code, const char *value, const char *wanted)
{
	char option[32];

	snprintf(option, sizeof(option), "--%s", option_name(code));
	return usage_bad_value(option, wanted, value, error);
}

static int set_keep_free(struct options *options, const char *value)
{
	if (!strchr(value, '%'))
		return quantity_parse_size(value, &options->keep_free_bytes);
	return quantity_parse_percent(value, &options->keep_free_ppm);
}

static int set_number(int code, const char *value, uint64_t min, uint64_t max, uint32_t *out,
		      const char *wanted, struct error *error)
{
	uint64_t number;

	if (quantity_parse_uint(value, max, &number) || number < min)
		return bad_value(error, code, value, wanted);
	*out = (uint32_t)number;
	return 0;
}

static int set_duration(int code, const char *value, int64_t *out, struct error *error)
{
	if (quantity_parse_duration(value, out))
		return bad_value(error, code, value, "a time such as 500ms, 10s or 2h");
	return 0;
}

static int set_size(int code, const char *value, uint64_t *out, struct error *error)
{
	if (quantity_parse_size(value, out))
		return bad_value(error, code, value, "a size such as 64K, 256M or 10G");
	return 0;
}

static int set_quantity(struct options *options, int code, const char *value, struct error *error)
{
	switch (code) {
	case 's':
		return set_number(code, value, 0, PCAPHEAD_MAX_SNAPLEN, &options->snaplen,
				  "bytes, at most 262144", error);
	case 'B':
		return set_number(code, value, 1, OPTIONS_MAX_BUFFER_MIB, &options->buffer_mib,
				  "MiB, 1 to 2047", error);
	case OPT_INTERVAL:
		return set_duration(code, value, &options->interval_ns, error);
	case OPT_ROTATE_TIME:
		return set_duration(code, value, &options->rotate_time_ns, error);
	case OPT_KEEP_TIME:
		return set_duration(code, value, &options->keep_time_ns, error);
	case OPT_DURATION:
		return set_duration(code, value, &options->duration_ns, error);
	case OPT_ROTATE_SIZE:
		return set_size(code, value, &options->rotate_size, error);
	case OPT_KEEP_SIZE:
		return set_size(code, value, &options->keep_size, error);
	case OPT_CPU_BUDGET:
		if (quantity_parse_percent(value, &options->cpu_budget_ppm) ||
		    options->cpu_budget_ppm == 0)
			return bad_value(error, code, value, "a percentage above 0%, at most 100%");
		return 0;
	case OPT_KEEP_FREE:
		if (set_keep_free(options, value))
			return bad_value(error, code, value, "a size or a percentage");
		return 0;
	default:
		return error_set(error, ERROR_USAGE, NULL, -1, "--%s cannot be used here",
				 option_name(code));
	}
}

static int set_option(struct options *options, int code, const char *value, struct error *error)
{
	switch (code) {
	case 'o':
		options->output = value;
		return 0;
	case 'i':
		if (!*value)
			return bad_value(error, code, value, "the name of an interface");
		options->interfaces[options->interface_count++] = value;
		return 0;
	case 'f':
		options->filter = value;
		return 0;
	case 'q':
		options->quiet = true;
		return 0;
	case OPT_COMPRESS:
		options->compress = true;
		return 0;
	case OPT_NO_WATCH:
		options->watch = false;
		return 0;
	case OPT_USER:
		options->user = value;
		return 0;
	default:
		return set_quantity(options, code, value, error);
	}
}

static int check(struct options *options, int argc, char **argv, struct error *error)
{
	if (!options->output || !*options->output)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "wanted -o DIR, the directory to record into");
	if (options->snaplen == 0) /* tcpdump's word for everything */
		options->snaplen = PCAPHEAD_MAX_SNAPLEN;
	if (optind == argc && strcmp(argv[argc - 1], "--") != 0)
		return 0;
	if (strcmp(argv[optind - 1], "--") != 0)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "unexpected \"%s\": a filter follows -f, a command follows --",
				 argv[optind]);
	if (optind == argc)
		return error_set(error, ERROR_USAGE, NULL, -1, "wanted a command after --");
	options->command = argv + optind;
	return 0;
}

static int parse(int argc, char **argv, struct options *options, struct error *error)
{
	int code, status;

	optind = 0; /* getopt starts over, for callers that parse twice */
	opterr = 0;
	while ((code = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		if (code == 'h' || code == OPT_VERSION) {
			options->action = code == 'h' ? OPTIONS_HELP : OPTIONS_VERSION;
			return 0;
		}
		if (code == ':' || code == '?')
			return usage_bad_option(OPTIONS_PROGRAM, code, letters, argv, error);
		status = set_option(options, code, optarg, error);
		if (status)
			return status;
	}
	return check(options, argc, argv, error);
}

int options_parse(int argc, char **argv, struct options *options, struct error *error)
{
	struct options parsed = {
		.action = OPTIONS_RECORD,
		.filter = "",
		.snaplen = PCAPHEAD_MAX_SNAPLEN,
		.buffer_mib = 16,
		.interval_ns = NS_PER_SECOND,
		.watch = true,
		.cpu_budget_ppm = 20000,
		.rotate_time_ns = 60 * NS_PER_SECOND,
		.rotate_size = UINT64_C(256) << 20,
	};
	int status;

	/* There cannot be more interfaces than words. */
	parsed.interfaces = calloc((size_t)argc + 1, sizeof *parsed.interfaces);
	if (!parsed.interfaces)
		return error_errno(error, NULL, "reading the command line");
	status = parse(argc, argv, &parsed, error);
	if (status) {
		free(parsed.interfaces);
		return status;
	}
	*options = parsed;
	return 0;
}

void options_release(struct options *options)
{
	free(options->interfaces);
	options->interfaces = NULL;
	options->interface_count = 0;
}
