/* loading.c - evidence made by hand, loaded, and what the database answers. */
#include "tests/unit/loading.h"

#include <ftw.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char loading_root[64];

struct load_result loading_result;
unsigned loading_reports;
uint64_t loading_progress[8];
size_t loading_progress_count;
uint64_t loading_part_packets;
uint32_t loading_piece_flows;

const char *loading_path(const char *format, ...)
{
	static char paths[8][256];
	static unsigned turn;
	char *out = paths[turn++ % 8];
	int length = snprintf(out, sizeof(paths[0]), "%s/", loading_root);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(out + length, sizeof(paths[0]) - (size_t)length, format, arguments);
	va_end(arguments);
	return out;
}

void loading_header(unsigned number)
{
	char text[16];

	scene_begin();
	snprintf(text, sizeof(text), "%u", number);
	scene_meta("recording", "0123456789abcdef0123456789abcdef");
	scene_meta("boot_id", "f3d4e3d1");
	scene_meta("hostname", "alpha");
	scene_meta("interval_ns", "1000000000");
	scene_meta("segment", text);
}

const char *loading_stem(const char *directory, unsigned number)
{
	return loading_path("%s/%06u-20261121T2030%02u.000000000Z", directory, number, number);
}

void loading_directory(const char *name)
{
	assert_int_equal(mkdir(loading_path("%s", name), 0700), 0);
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(name);
}

int loading_begin(void **state)
{
	(void)state;
	snprintf(loading_root, sizeof(loading_root), "/tmp/pcapwho-loading.XXXXXX");
	assert_non_null(mkdtemp(loading_root));
	loading_reports = 0;
	return 0;
}

int loading_end(void **state)
{
	(void)state;
	scene_free();
	return nftw(loading_root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void heard(const struct error *error, void *context)
{
	(void)error;
	(void)context;
	loading_reports++;
}

static void went_on(const struct load_progress *progress, void *context)
{
	size_t count = loading_progress_count;

	(void)context;
	assert_true(progress->bytes_done <= progress->bytes);
	if (count < sizeof(loading_progress) / sizeof(*loading_progress) &&
	    (count == 0 || progress->bytes_done > loading_progress[count - 1]))
		loading_progress[loading_progress_count++] = progress->bytes_done;
}

const char *loading_run(const char *database, unsigned workers, bool with_packets,
			const char *const *names)
{
	struct load_options options = {
		.database = loading_path("%s", database),
		.with_packets = with_packets,
		.workers = workers,
		.part_packets = loading_part_packets,
		.piece_flows = loading_piece_flows,
		.limits = flow_default_limits,
		.report = heard,
		.progress = went_on,
	};
	struct error error = ERROR_NONE;
	static char storage[8][300];
	char *paths[8];
	size_t count = 0;

	for (; names[count] != NULL; count++) {
		snprintf(storage[count], sizeof(storage[0]), "%s/%s", loading_root, names[count]);
		paths[count] = storage[count];
	}
	loading_progress_count = 0;
	if (load_run(paths, count, &options, &loading_result, &error) != 0)
		fail_msg("%s: %s", error.path, error.message);
	return options.database;
}

char *loading_ask(const char *database, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *statement = NULL;
	char *answer = NULL, *line;
	size_t size = 0;
	FILE *out = open_memstream(&answer, &size);

	assert_int_equal(sqlite3_open_v2(database, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	while (sqlite3_step(statement) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(statement); i++) {
			line = (char *)(uintptr_t)sqlite3_column_text(statement, i);
			fprintf(out, "%s%s", i > 0 ? "|" : "", line != NULL ? line : "");
		}
		fputc('\n', out);
	}
	sqlite3_finalize(statement);
	sqlite3_close(db);
	fclose(out);
	return answer;
}

void answers(const char *database, const char *sql, const char *wanted)
{
	char *answer = loading_ask(database, sql);

	if (strcmp(answer, wanted) != 0)
		fail_msg("%s\nwanted:\n%sgot:\n%s", sql, wanted, answer);
	free(answer);
}

void agree(const char *a, const char *b, const char *sql)
{
	char *answer = loading_ask(a, sql);

	assert_true(answer[0] != '\0');
	answers(b, sql, answer);
	free(answer);
}

void same_rows(const char *a, const char *b)
{
	static const char *const tables[] = {
		"recording", "segment", "snapshot", "interface",  "address",   "process",
		"socket",    "holder",	"flow",	    "connection", "candidate", "traffic",
		"packet",    "other",	"coverage", "tunnel",	  "serving",
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		char sql[128], *answer;

		snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY 1, 2, 3", tables[i]);
		answer = loading_ask(a, sql);
		answers(b, sql, answer);
		free(answer);
	}
}

void same_bytes(const char *a, const char *b)
{
	FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
	int c, d;

	assert_non_null(f);
	assert_non_null(g);
	do {
		c = getc(f);
		d = getc(g);
		assert_int_equal(c, d);
	} while (c != EOF);
	fclose(f);
	fclose(g);
}

void loading_write(const char *directory, unsigned number, const struct scene_packet *packets,
		   size_t count)
{
	char name[300];

	snprintf(name, sizeof(name), "%s.pcap", loading_stem(directory, number));
	scene_write_pcap(name, packets, count);
	snprintf(name, sizeof(name), "%s.snap.gz", loading_stem(directory, number));
	scene_write_snap(name);
}

void loading_addresses(void)
{
	scene_address('+', 1, "127.0.0.1", 8);
	scene_address('+', 1, HOST, 24);
}
