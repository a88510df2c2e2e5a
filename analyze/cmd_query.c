#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "analyze/cmd.h"
#include "analyze/query.h"
#include "analyze/storefile.h"
#include "snapshot/format/error.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/usage.h"

#define PROGRAM "pcapwho query"

static const char help[] =
	"Usage: pcapwho query DATABASE NAME|SQL [OPTION]...\n"
	"       pcapwho query --list\n"
	"Print the result of a named query, or of one SQL statement, which may only read.\n"
	"\n"
	"  --format FORMAT  table (the default), csv or json\n"
	"  --since TIME     only what was not over before TIME\n"
	"  --until TIME     only what began before TIME\n"
	"  --process P      only processes of this pid, or whose name matches this pattern\n"
	"                   (as in the shell: nginx, 'python*', /usr/bin/*)\n"
	"  --host NAME      only this host of a database of several; query hosts lists them\n"
	"  --limit N        at most N rows\n"
	"  --bucket LENGTH  step of a timeline, a multiple of the database's bucket: 10s, 1m\n"
	"  --list           the named queries; so does DATABASE without a query\n"
	"  -h, --help       this text\n"
	"\n"
	"TIME is ISO 8601 (UTC unless it has an offset), @SECONDS since 1970, or -10m: that\n"
	"long before the last packet in the database. A window in time counts whole buckets.\n"
	"A terminal cuts lines at its width: pipe them through less -S, or ask for\n"
	"--format csv.\n"
	"Where several machines have one name, --host takes NAME@MACHINE-ID, as it is shown.\n"
	"SQL may use :since_ns :until_ns :process :limit :bucket :host, NULL where not given.\n"
	"\n"
	"Exit status: 0 done, 1 failed, 64 usage, 66 no such database.\n";

struct arguments {
	const char *database, *query, *since, *until, *host;
	char *found_host; /* what the queries call it */
	enum query_format format;
	struct query_parameters parameters;
	bool list, help;
};

static int parse_number(const char *option, const char *text, int64_t *out, struct error *error)
{
	uint64_t number;

	if (quantity_parse_uint(text, INT64_MAX, &number) != 0)
		return usage_bad_value(option, "a number", text, error);
	*out = (int64_t)number;
	return 0;
}

static const char letters[] = ":h";

static int parse_option(int option, struct arguments *out, char **argv, struct error *error)
{
	switch (option) {
	case 'f':
		if (query_parse_format(optarg, &out->format) != 0)
			return usage_bad_value("--format", "table, csv or json", optarg, error);
		return 0;
	case 's':
		out->since = optarg;
		return 0;
	case 'u':
		out->until = optarg;
		return 0;
	case 'p':
		out->parameters.process = optarg;
		return 0;
	case 'o':
		out->host = optarg;
		return 0;
	case 'n':
		return parse_number("--limit", optarg, &out->parameters.limit, error);
	case 'b':
		if (quantity_parse_duration(optarg, &out->parameters.bucket_ns) != 0 ||
		    out->parameters.bucket_ns == 0)
			return usage_bad_value("--bucket", "a length of time such as 10s", optarg,
					       error);
		return 0;
	case 'l':
		out->list = true;
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
	static const struct option options[] = {
		{"format", required_argument, NULL, 'f'}, {"since", required_argument, NULL, 's'},
		{"until", required_argument, NULL, 'u'},  {"process", required_argument, NULL, 'p'},
		{"host", required_argument, NULL, 'o'},	  {"limit", required_argument, NULL, 'n'},
		{"bucket", required_argument, NULL, 'b'}, {"list", no_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},	  {NULL, 0, NULL, 0}};
	int option, code;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		code = parse_option(option, out, argv, error);
		if (code != 0)
			return code;
	}
	if (argc - optind > 2)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "wanted DATABASE and one query, found also \"%s\": quote the SQL",
				 argv[optind + 2]);
	if (argc == optind && !out->list && !out->help)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "wanted DATABASE and a query; see --help");
	if (argc - optind > 0)
		out->database = argv[optind];
	if (argc - optind > 1)
		out->query = argv[optind + 1];
	return 0;
}

static void list_queries(void)
{
	char title[128];

	for (const struct schema_query *query = schema_queries; query->name; query++)
		printf("%-14s %s\n", query->name,
		       query_directive(query->text, "", title, sizeof title) ? title : "");
}

/* A lone word is a name: as SQL it could not read anything. */
static int choose_sql(const char *query, const char **sql, struct error *error)
{
	static const char word[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	const struct schema_query *named = query_find(query);
	char names[256] = "";

	*sql = named ? named->text : query;
	if (named || query[strspn(query, word)] != '\0')
		return 0;
	for (named = schema_queries; named->name; named++) {
		size_t length = strlen(names);
		snprintf(names + length, sizeof names - length, " %s", named->name);
	}
	return error_set(error, ERROR_USAGE, NULL, -1, "no query is named \"%s\"; there are:%s",
			 query, names);
}

static int parse_time(struct sqlite3 *db, const char *path, const char *option, const char *text,
		      int64_t *out, struct error *error)
{
	int64_t last = 0;
	int code = storefile_integer(db, path, "SELECT max(last_packet_ns) FROM segment", 0, &last,
				     error);

	if (code == 0 && quantity_parse_time(text, last, out) != 0)
		code = usage_bad_value(option, "a time such as 2026-11-21T20:30:00Z or -10m", text,
				       error);
	return code;
}

static int check_bucket(struct sqlite3 *db, const char *path, int64_t asked_ns, struct error *error)
{
	char mine[QUANTITY_DURATION_SIZE], asked[QUANTITY_DURATION_SIZE];
	int64_t bucket_ns = 1;
	int code = storefile_integer(db, path, "SELECT value FROM setting WHERE key = 'bucket_ns'",
				     1, &bucket_ns, error);

	if (code != 0)
		return code;
	if (bucket_ns < 1)
		return error_damage(error, path, -1, "a bucket of some nanoseconds", "%lld",
				    (long long)bucket_ns);
	if (asked_ns % bucket_ns != 0)
		return error_set(error, ERROR_USAGE, path, -1,
				 "--bucket: wanted a multiple of %s, the bucket of this "
				 "database, found %s",
				 quantity_format_duration(bucket_ns, mine, sizeof(mine)),
				 quantity_format_duration(asked_ns, asked, sizeof(asked)));
	return 0;
}

static int fill_parameters(struct sqlite3 *db, struct arguments *arguments, struct error *error)
{
	struct query_parameters *parameters = &arguments->parameters;
	int code = 0;

	if (arguments->since)
		code = parse_time(db, arguments->database, "--since", arguments->since,
				  &parameters->since_ns, error);
	if (code == 0 && arguments->until)
		code = parse_time(db, arguments->database, "--until", arguments->until,
				  &parameters->until_ns, error);
	if (code == 0 && arguments->since && arguments->until &&
	    parameters->until_ns < parameters->since_ns)
		code = error_set(error, ERROR_USAGE, NULL, -1,
				 "--until: wanted a time that is not before --since %s, found "
				 "\"%s\"",
				 arguments->since, arguments->until);
	if (code == 0 && parameters->bucket_ns != QUERY_NULL)
		code = check_bucket(db, arguments->database, parameters->bucket_ns, error);
	if (code == 0 && arguments->host)
		code = query_find_host(db, arguments->database, arguments->host,
				       &arguments->found_host, error);
	parameters->host = arguments->found_host;
	return code;
}

static int run(struct arguments *arguments, struct error *error)
{
	uint64_t rows = 0;
	struct query_output output = {.stream = stdout, .format = arguments->format, .rows = &rows};
	struct sqlite3 *db = NULL;
	struct winsize window;
	const char *sql = NULL;
	char human[512];
	int code = storefile_open(arguments->database, &db, error);

	if (code == 0 && !arguments->query) {
		list_queries();
		goto out;
	}
	if (code == 0)
		code = choose_sql(arguments->query, &sql, error);
	if (code == 0)
		code = fill_parameters(db, arguments, error);
	/* Not ours is not "damaged and skipped": there is nothing that could be done. */
	if (code == ERROR_DAMAGED)
		error->code = ERROR_SYSTEM;
	if (code != 0)
		goto out;
	output.terminal = isatty(STDOUT_FILENO) == 1;
	if (output.terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0)
		output.width = window.ws_col;
	if (sql != arguments->query)
		output.human = query_directive(sql, "human", human, sizeof human);
	code = query_run(db, arguments->database, sql, &arguments->parameters, &output, error);
	if (code == ERROR_DAMAGED)
		error->code = ERROR_SYSTEM;
	/* Column names alone look like something that was cut off. */
	if (code == 0 && output.terminal && rows == 0)
		fputs(PROGRAM ": no rows\n", stderr);
out:
	storefile_close(db);
	return code;
}

int cmd_query(int argc, char **argv)
{
	struct arguments arguments = {.parameters = QUERY_NO_PARAMETERS};
	struct error error = ERROR_NONE;
	int code = parse_arguments(argc, argv, &arguments, &error);

	if (code == 0 && arguments.help)
		fputs(help, stdout);
	else if (code == 0 && arguments.list)
		list_queries();
	else if (code == 0)
		code = run(&arguments, &error);
	free(arguments.found_host);
	if (code == 0)
		return EXIT_DONE;
	error_print(PROGRAM, &error);
	return error_exit_status(&error);
}
