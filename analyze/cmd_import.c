/* pcapwho import: evidence gathered by hand becomes an evidence directory. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analyze/cmd.h"
#include "analyze/fdlist.h"
#include "analyze/import.h"
#include "analyze/import_state.h"
#include "snapshot/format/error.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/usage.h"

#define PROGRAM "pcapwho import"

/* A snapshot this far from the packets is more often a local time given as UTC. */
#define SUSPECT_NS (10 * 60 * NS_PER_SECOND)

static const char help[] =
	"Usage: pcapwho import --time T [options] -o DIR\n"
	"Make evidence of what was gathered by hand: copies of /proc/net files, listings\n"
	"of /proc/PID/fd (ls -l), and captures.\n"
	"\n"
	"  -o, --output DIR    evidence directory; made if missing (0700), else added to\n"
	"      --time T        when the copies were made: 2014-11-19T12:52:00Z (UTC unless\n"
	"                      it ends in an offset such as +08:00), @SECONDS, or -10m\n"
	"      --tcp FILE      copy of /proc/net/tcp; likewise --tcp6 --udp --udp6 --udplite\n"
	"                      --udplite6 --raw --raw6 --icmp --icmp6 --packet\n"
	"      --fds FILE      listing made by ls -l /proc/PID/fd, ls -l /proc/[0-9]*/fd or\n"
	"                      find /proc/*/fd -ls; repeat for several\n"
	"      --pid N         process that the next --fds is of, where neither a heading in\n"
	"                      it nor its name (proc-2143-fd.txt) says so\n"
	"      --pcap FILE     capture of the same host, pcap or pcapng, plain or gzip; copied;\n"
	"                      repeat for several\n"
	"      --address A     an address of the host, perhaps with /PREFIX; those of connected\n"
	"                      sockets are known without it; repeat for several\n"
	"      --hostname H    name of the host\n"
	"      --boot-id B     its /proc/sys/kernel/random/boot_id then\n"
	"      --byte-order O  little (default) or big: of the host\n"
	"      --clock-ticks N its clock ticks a second; default 100\n"
	"  -h, --help          this text\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 done, but some input was damaged and skipped;\n"
	"64 wrong usage; 66 no such input.\n";

struct listing {
	const char *path;
	uint32_t pid; /* 0: not given */
};

struct request {
	const char *time, *output;
	const char *tables[SNAP_TABLE_END];
	struct listing *listings;
	const char **captures, **addresses;
	size_t listing_count, capture_count, address_count, table_count;
	uint32_t pid; /* for the next listing */
	struct import_config config;
	bool help;
};

enum {
	OPT_TABLE = 512, /* plus the enum snap_table */
	OPT_TIME = 256,
	OPT_FDS,
	OPT_PID,
	OPT_PCAP,
	OPT_ADDRESS,
	OPT_HOSTNAME,
	OPT_BOOT_ID,
	OPT_BYTE_ORDER,
	OPT_CLOCK_TICKS,
};

static const char letters[] = "+:ho:";
static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'},
	{"time", required_argument, NULL, OPT_TIME},
	{"tcp", required_argument, NULL, OPT_TABLE + SNAP_TCP},
	{"tcp6", required_argument, NULL, OPT_TABLE + SNAP_TCP6},
	{"udp", required_argument, NULL, OPT_TABLE + SNAP_UDP},
	{"udp6", required_argument, NULL, OPT_TABLE + SNAP_UDP6},
	{"udplite", required_argument, NULL, OPT_TABLE + SNAP_UDPLITE},
	{"udplite6", required_argument, NULL, OPT_TABLE + SNAP_UDPLITE6},
	{"raw", required_argument, NULL, OPT_TABLE + SNAP_RAW},
	{"raw6", required_argument, NULL, OPT_TABLE + SNAP_RAW6},
	{"icmp", required_argument, NULL, OPT_TABLE + SNAP_ICMP},
	{"icmp6", required_argument, NULL, OPT_TABLE + SNAP_ICMP6},
	{"packet", required_argument, NULL, OPT_TABLE + SNAP_PACKET},
	{"fds", required_argument, NULL, OPT_FDS},
	{"pid", required_argument, NULL, OPT_PID},
	{"pcap", required_argument, NULL, OPT_PCAP},
	{"address", required_argument, NULL, OPT_ADDRESS},
	{"hostname", required_argument, NULL, OPT_HOSTNAME},
	{"boot-id", required_argument, NULL, OPT_BOOT_ID},
	{"byte-order", required_argument, NULL, OPT_BYTE_ORDER},
	{"clock-ticks", required_argument, NULL, OPT_CLOCK_TICKS},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* As /proc/sys/kernel/random/boot_id has it: it identifies processes, so that
 * a slip of the keyboard would make another host of this one. */
static bool is_boot_id(const char *text)
{
	if (strlen(text) != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
			return false;
	}
	return true;
}

static int take_table(struct request *request, enum snap_table table, struct error *error)
{
	if (request->tables[table])
		return error_set(error, ERROR_USAGE, optarg, -1,
				 "a second --%s: a snapshot has one table of each kind",
				 snap_table_name(table));
	request->tables[table] = optarg;
	request->table_count++;
	return 0;
}

static int take_number(const char *option, uint64_t max, uint64_t *out, struct error *error)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "a number from 1 to %" PRIu64, max);
	if (quantity_parse_uint(optarg, max, out) || !*out)
		return usage_bad_value(option, wanted, optarg, error);
	return 0;
}

static int take_option(struct request *request, int option, struct error *error)
{
	uint64_t number = 0;
	int status = 0;

	switch (option) {
	case 'o':
		request->output = optarg;
		break;
	case OPT_TIME:
		request->time = optarg;
		break;
	case OPT_FDS:
		request->listings[request->listing_count++] =
			(struct listing){optarg, request->pid};
		request->pid = 0;
		break;
	case OPT_PID:
		if (request->pid)
			return error_set(error, ERROR_USAGE, NULL, -1,
					 "--pid %s: no --fds between it and the --pid before",
					 optarg);
		status = take_number("--pid", FDLIST_MAX_PID, &number, error);
		request->pid = (uint32_t)number;
		break;
	case OPT_PCAP:
		request->captures[request->capture_count++] = optarg;
		break;
	case OPT_ADDRESS:
		request->addresses[request->address_count++] = optarg;
		break;
	case OPT_HOSTNAME:
		request->config.hostname = optarg;
		break;
	case OPT_BOOT_ID:
		if (!is_boot_id(optarg))
			return usage_bad_value("--boot-id",
					       "it as /proc/sys/kernel/random/boot_id has it",
					       optarg, error);
		request->config.boot_id = optarg;
		break;
	case OPT_BYTE_ORDER:
		request->config.big_endian = !strcmp(optarg, "big");
		if (!request->config.big_endian && strcmp(optarg, "little"))
			return usage_bad_value("--byte-order", "little or big", optarg, error);
		break;
	case OPT_CLOCK_TICKS:
		return take_number("--clock-ticks", 1000000, &request->config.clock_ticks, error);
	case 'h':
		request->help = true;
		break;
	default:
		return take_table(request, (enum snap_table)(option - OPT_TABLE), error);
	}
	return status;
}

/* What must be there, once all options are known. */
static int check_request(struct request *request, struct error *error)
{

	if (request->pid)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "--pid %" PRIu32 ": no --fds after it that it could be of",
				 request->pid);
	if (!request->time)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "--time is missing: when the copies were made");
	if (quantity_parse_time(request->time, quantity_now_ns(CLOCK_REALTIME),
				&request->config.time_ns) ||
	    request->config.time_ns < 0 || request->config.time_ns > QUANTITY_MAX_TIME_NS)
		return usage_bad_value("--time", "2014-11-19T12:52:00Z, @SECONDS or -10m",
				       request->time, error);
	if (!request->output)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "-o is missing: the evidence directory to make or to add to");
	if (!request->table_count && !request->listing_count)
		return error_set(
			error, ERROR_USAGE, NULL, -1,
			"nothing to import: give copies of /proc/net files (--tcp FILE …) "
			"and listings of /proc/PID/fd (--fds FILE)%s",
			request->capture_count ? "; captures alone are analyzed as they are" : "");
	request->config.output = request->output;
	request->config.captures = request->captures;
	request->config.capture_count = request->capture_count;
	return 0;
}

static int parse_request(struct request *request, int argc, char **argv, struct error *error)
{
	int option, status;

	request->config.clock_ticks = 100;
	request->listings = calloc((size_t)argc, sizeof(*request->listings));
	request->captures = calloc((size_t)argc, sizeof(*request->captures));
	request->addresses = calloc((size_t)argc, sizeof(*request->addresses));
	if (!request->listings || !request->captures || !request->addresses)
		return error_set(error, ERROR_MEMORY, NULL, -1, "no memory for the arguments");
	optind = 0;
	opterr = 0;
	while ((option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		if (option == '?' || option == ':')
			return usage_bad_option(PROGRAM, option, letters, argv, error);
		status = take_option(request, option, error);
		if (status)
			return status;
		if (request->help)
			return 0;
	}
	if (optind < argc)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "%s: only options are taken; see %s --help", argv[optind],
				 PROGRAM);
	return check_request(request, error);
}

static void release_request(struct request *request)
{
	free(request->listings);
	free(request->captures);
	free(request->addresses);
}

/* The arguments joined by NULs, as the snapshot's header keeps them. */
static char *join_arguments(int argc, char **argv, size_t *length)
{
	size_t total = sizeof("pcapwho"), used = sizeof("pcapwho");
	char *joined;

	for (int i = 0; i < argc; i++)
		total += strlen(argv[i]) + 1;
	joined = malloc(total);
	if (!joined)
		return NULL;
	memcpy(joined, "pcapwho", sizeof("pcapwho"));
	for (int i = 0; i < argc; i++) {
		size_t size = strlen(argv[i]) + 1;

		memcpy(joined + used, argv[i], size);
		used += size;
	}
	*length = used - 1;
	return joined;
}

static int gather(const struct request *request, struct import_state *state, struct error *error)
{
	int status = 0;

	for (int table = SNAP_TCP; table < SNAP_TABLE_END && !status; table++)
		if (request->tables[table])
			status = import_state_table(state, (enum snap_table)table,
						    request->config.big_endian,
						    request->tables[table], error);
	for (size_t i = 0; i < request->listing_count && !status; i++)
		status = import_state_listing(state, request->listings[i].path,
					      request->listings[i].pid, error);
	for (size_t i = 0; i < request->address_count && !status; i++)
		status = import_state_address(state, request->addresses[i], error);
	return status ? status : import_state_finish(state, error);
}

static void print_note(void *context, const struct error *error)
{
	(void)context;
	error_print(PROGRAM, error);
}

/* A capture's line, and a word on a snapshot that is far from its packets. */
static void print_capture(const struct import_segment *segment, int64_t time_ns)
{
	char first[QUANTITY_TIME_SIZE], last[QUANTITY_TIME_SIZE], given[QUANTITY_TIME_SIZE];
	int64_t before = segment->first_packet_ns - time_ns;
	int64_t after = time_ns - segment->last_packet_ns;

	if (!segment->packets) {
		printf("%s  no packets\n", segment->pcap);
		return;
	}
	quantity_format_time(segment->first_packet_ns, first, sizeof(first));
	quantity_format_time(segment->last_packet_ns, last, sizeof(last));
	printf("%s  %" PRIu64 " packets, %s to %s\n", segment->pcap, segment->packets, first, last);
	if (before < SUSPECT_NS && after < SUSPECT_NS)
		return;
	fprintf(stderr,
		PROGRAM ": the snapshot (%s) is %" PRId64 " s %s of %s: is --time in UTC?\n",
		quantity_format_time(time_ns, given, sizeof(given)),
		(before > 0 ? before : after) / NS_PER_SECOND,
		before > 0 ? "before the first packet" : "after the last packet", segment->pcap);
}

/* The lines of the summary; whether a capture was damaged. */
static bool print_result(const struct import_result *result, const struct import_state *state,
			 int64_t time_ns)
{
	char time[QUANTITY_TIME_SIZE];
	bool damaged = false;

	quantity_format_time(time_ns, time, sizeof(time));
	for (size_t i = 0; i < result->count; i++) {
		if (result->segments[i].source)
			print_capture(&result->segments[i], time_ns);
		printf("%s  %zu sockets, %zu of them with a holder; %zu %s listed; at %s\n",
		       result->segments[i].snap, state->sockets.count, import_state_held(state),
		       state->pid_count, state->pid_count == 1 ? "process" : "processes", time);
		damaged = damaged || result->segments[i].damaged;
	}
	return damaged;
}

static int run(struct request *request, struct error *error)
{
	const struct import_notes notes = {.note = print_note};
	struct import_result result = {0};
	struct import_state state;
	int status;

	import_state_init(&state, &notes);
	status = gather(request, &state, error);
	if (!status)
		status = import_write(&request->config, &state, &result, error);
	if (!status) {
		bool damaged = print_result(&result, &state, request->config.time_ns);

		status = damaged || state.bad_rows ? EXIT_DAMAGED : EXIT_DONE;
	}
	import_result_release(&result);
	import_state_release(&state);
	return status;
}

int cmd_import(int argc, char **argv)
{
	struct error error = ERROR_NONE;
	struct request request = {0};
	char *arguments = NULL;
	int status = parse_request(&request, argc, argv, &error);

	if (!status && request.help) {
		fputs(help, stdout);
	} else if (!status) {
		arguments = join_arguments(argc, argv, &request.config.arguments_length);
		request.config.arguments = arguments;
		status = arguments ? run(&request, &error)
				   : error_set(&error, ERROR_MEMORY, NULL, -1, "no memory");
	}
	if (status < 0) {
		error_print(PROGRAM, &error);
		/* Nothing was made: that is a failure, whatever the input's fault. */
		status = error.code == ERROR_DAMAGED ? EXIT_FAILED : (int)error_exit_status(&error);
	}
	free(arguments);
	release_request(&request);
	return status;
}
