#include "analyze/explain_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "analyze/explain_rows.h"
#include "analyze/grow.h"
#include "analyze/load.h"
#include "analyze/serving.h"
#include "analyze/storefile.h"
#include "analyze/walk.h"
#include "snapshot/format/evidence.h"

#define READ_BYTES (256u << 10)

/* --------------------------------------------------------------- digests -- */

/* SHA-256 of what a gzip file holds: a capture that was compressed since. */
static int hash_content(int dirfd, const char *name, char hex[CUSTODY_HEX_SIZE],
			struct error *error)
{
	unsigned char digest[EVP_MAX_MD_SIZE], *buffer = malloc(READ_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int fd = evidence_open_file(dirfd, name, O_RDONLY, name, error), got = -1, status = 0;
	gzFile in = fd < 0 ? NULL : gzdopen(fd, "rb");
	unsigned int length = 0;

	if (in == NULL || buffer == NULL || context == NULL ||
	    EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
		status = fd < 0 ? fd : explain_no_memory(error);
		if (fd >= 0 && in == NULL)
			close(fd);
		goto out;
	}
	while ((got = gzread(in, buffer, READ_BYTES)) > 0)
		EVP_DigestUpdate(context, buffer, (size_t)got);
	if (EVP_DigestFinal_ex(context, digest, &length) != 1 || 2 * length >= CUSTODY_HEX_SIZE)
		length = 0;
	custody_hex(digest, length, hex);
out:
	if (in != NULL)
		gzclose(in);
	EVP_MD_CTX_free(context);
	free(buffer);
	return status;
}

/* ----------------------------------------------------------------- names -- */

/* By name; of one name those whose packets are asked for first. */
static int compare_names(const void *a, const void *b)
{
	const struct explain_name *p = a, *q = b;
	int order = strcmp(p->name, q->name);

	if (order != 0)
		return order;
	if (p->segment->of_flow != q->segment->of_flow)
		return p->segment->of_flow ? -1 : 1;
	return (p->segment > q->segment) - (p->segment < q->segment);
}

static int sort_names(struct explain_report *report, struct error *error)
{
	report->names = calloc(2 * report->segment_count + 1, sizeof(*report->names));
	if (report->names == NULL)
		return explain_no_memory(error);
	report->name_count = 0;
	for (size_t i = 0; i < report->segment_count; i++) {
		struct explain_segment *s = &report->segments[i];
		const char *names[2] = {s->pcap, s->snap};

		for (int k = 0; k < 2; k++) {
			if (names[k] != NULL)
				report->names[report->name_count++] =
					(struct explain_name){.name = names[k], .segment = s};
		}
	}
	qsort(report->names, report->name_count, sizeof(*report->names), compare_names);
	return 0;
}

/* The first of that name, or NULL. */
static struct explain_name *find_name(const struct explain_report *report, const char *name)
{
	size_t low = 0, high = report->name_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (strcmp(report->names[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < report->name_count && strcmp(report->names[low].name, name) == 0
		       ? &report->names[low]
		       : NULL;
}

/* What custody.log says last of each file that is asked for. */
static void note_entry(const struct custody_entry *entry, void *context)
{
	struct explain_name *name;

	if (entry->file == NULL || entry->sha256 == NULL)
		return;
	name = find_name(context, entry->file);
	if (name != NULL)
		snprintf(name->vouched, sizeof(name->vouched), "%s", entry->sha256);
}

static int judge_file(struct explain_link *link, const char *found, const char *vouched)
{
	const char *wanted = chain_text(&link->database, "sha256");

	link->state = EXPLAIN_DIFFERS;
	if (wanted != NULL && strcmp(wanted, found) == 0) {
		if (vouched[0] == '\0' || strcmp(vouched, found) == 0)
			link->state = EXPLAIN_SAME;
		else
			explain_remark(&link->remark, "custody.log has another SHA-256 for it: %s",
				       vouched);
		return 0;
	}
	if (vouched[0] != '\0' && wanted != NULL && strcmp(vouched, wanted) == 0)
		explain_remark(
			&link->remark,
			"altered since it was recorded: custody.log has the SHA-256 that the "
			"database has; take an unaltered copy");
	else if (vouched[0] != '\0' && strcmp(vouched, found) == 0)
		explain_remark(&link->remark,
			       "custody.log vouches for this file: it is other evidence than the "
			       "database was made from, or the database was altered");
	else
		explain_remark(&link->remark, "not the file that the database was made from");
	return 0;
}

static int add_file(struct explain_report *report, const char *recorded, const char *name,
		    const char *sha256, struct error *error)
{
	const char *vouched = find_name(report, name)->vouched;
	struct explain_link *link = explain_add_link(&report->files, "file");
	char found[CUSTODY_HEX_SIZE] = "";
	uint64_t bytes;
	int status;

	if (link == NULL)
		return explain_no_memory(error);
	if (strcmp(recorded, name) == 0) {
		status = custody_hash_file(report->directory, name, found, &bytes, error);
	} else {
		status = hash_content(report->directory, name, found, error);
		vouched = ""; /* the log tells of the compressed file */
	}
	if (status != 0)
		return status;
	if (chain_add_text(&link->database, "file", recorded) != 0 ||
	    chain_add_text(&link->database, "sha256", sha256) != 0 ||
	    chain_add_text(&link->evidence, "file", name) != 0 ||
	    chain_add_text(&link->evidence, "sha256", found) != 0)
		return explain_no_memory(error);
	return judge_file(link, found, vouched);
}

/* ----------------------------------------------------------------- files -- */

static bool is_there(const struct explain_report *report, const char *name)
{
	return faccessat(report->directory, name, R_OK, 0) == 0;
}

/* Names come from the database, which anybody may have written. */
static bool is_plain_name(const char *name)
{
	return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

static int locate(struct explain_report *report, struct explain_segment *segment, const char *field,
		  char **out, struct error *error)
{
	const char *name = chain_text(&segment->row, field);
	char compressed[NAME_MAX + 1];

	if (name == NULL)
		return 0;
	if (!is_plain_name(name))
		return error_damage(error, report->options->database, -1, "the name of a file",
				    "\"%.80s\" in table segment", name);
	snprintf(compressed, sizeof(compressed), "%s.gz", name);
	if (is_there(report, name))
		*out = strdup(name);
	else if (is_there(report, compressed))
		*out = strdup(compressed);
	else if (segment->of_flow)
		return error_set(
			error, ERROR_NO_INPUT, report->options->evidence, -1,
			"wanted %.120s, which the answer rests on, found no such file "
			"(custody.log tells if it expired): give the directory that has it",
			name);
	else
		report->missing = name;
	if (*out == NULL && report->missing == name)
		return 0;
	return *out == NULL ? explain_no_memory(error) : 0;
}

static int check_custody(struct explain_report *report, struct error *error)
{
	struct error why = ERROR_NONE;
	struct explain_link *link;
	int status;

	if (!is_there(report, CUSTODY_LOG))
		return 0;
	status = custody_verify(report->directory, report->options->evidence, note_entry, report,
				NULL, &why);
	if (status != 0 && status != ERROR_DAMAGED) {
		*error = why;
		return status;
	}
	link = explain_add_link(&report->files, "custody");
	if (link == NULL || chain_add_text(&link->evidence, "file", CUSTODY_LOG) != 0)
		return explain_no_memory(error);
	link->state = status == 0 ? EXPLAIN_SAME : EXPLAIN_DIFFERS;
	if (status != 0)
		explain_remark(&link->remark, "at byte %" PRId64 ": %s", why.offset_bytes,
			       why.message);
	return 0;
}

static int add_files_of(struct explain_report *report, const struct explain_segment *s,
			struct error *error)
{
	int status = 0;

	if (s->pcap != NULL)
		status = add_file(report, chain_text(&s->row, "pcap_name"), s->pcap,
				  chain_text(&s->row, "pcap_sha256"), error);
	if (status == 0 && s->snap != NULL)
		status = add_file(report, chain_text(&s->row, "snap_name"), s->snap,
				  chain_text(&s->row, "snap_sha256"), error);
	return status;
}

int explain_find_files(struct explain_report *report, struct error *error)
{
	int status = 0;

	report->directory = open(report->options->evidence, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (report->directory < 0)
		return error_errno(error, report->options->evidence,
				   "cannot open it as a directory of evidence");
	for (size_t i = 0; i < report->segment_count && status == 0; i++) {
		struct explain_segment *s = &report->segments[i];

		status = locate(report, s, "pcap_name", &s->pcap, error);
		if (status == 0)
			status = locate(report, s, "snap_name", &s->snap, error);
	}
	if (status == 0)
		status = sort_names(report, error);
	if (status == 0)
		status = check_custody(report, error);
	for (size_t i = 0; i < report->segment_count && status == 0; i++)
		status = add_files_of(report, &report->segments[i], error);
	return status;
}

/* ------------------------------------------------------------------ anew -- */

/* The paths of what is there, each segment by one of its files. */
static int name_paths(const struct explain_report *report, char ***out, size_t *count,
		      struct error *error)
{
	char **paths = calloc(report->segment_count + 1, sizeof(*paths));

	*out = paths;
	*count = 0;
	if (paths == NULL)
		return explain_no_memory(error);
	for (size_t i = 0; i < report->segment_count; i++) {
		const struct explain_segment *s = &report->segments[i];
		const char *name = s->pcap != NULL ? s->pcap : s->snap;

		if (name == NULL)
			continue;
		if (asprintf(&paths[*count], "%s/%s", report->options->evidence, name) < 0) {
			paths[*count] = NULL;
			return explain_no_memory(error);
		}
		(*count)++;
	}
	return 0;
}

static int setting(struct explain_report *report, const char *sql, int64_t *out,
		   struct error *error)
{
	return storefile_integer(report->database, report->options->database, sql, 0, out, error);
}

/* Where the evidence is analyzed anew: a directory with one database, made when the load
 * has something to write. */
struct scratch {
	struct explain_report *report;
	char *directory, *path; /* heap; directory ends in XXXXXX until it is made */
	bool begun, made;
	struct error why_not;
};

static int name_scratch(struct scratch *scratch, struct error *error)
{
	const char *parent = getenv("TMPDIR");

	if (asprintf(&scratch->directory, "%s/pcapwho-explain.XXXXXX",
		     parent != NULL && parent[0] != '\0' ? parent : "/tmp") < 0)
		scratch->directory = NULL;
	if (scratch->directory == NULL ||
	    asprintf(&scratch->path, "%s/anew.db", scratch->directory) < 0)
		scratch->path = NULL;
	return scratch->path == NULL ? explain_no_memory(error) : 0;
}

/* Where this fails the load does, for want of a directory. */
static void make_scratch(void *context)
{
	struct scratch *scratch = context;
	const struct explain_options *options = scratch->report->options;

	if (options->begin != NULL)
		options->begin(options->context);
	scratch->begun = true;
	scratch->made = mkdtemp(scratch->directory) != NULL;
	if (scratch->made)
		memcpy(scratch->path, scratch->directory, strlen(scratch->directory));
	else
		error_errno(&scratch->why_not, scratch->directory,
			    "cannot make a directory (TMPDIR)");
}

static void remove_scratch(struct scratch *scratch)
{
	const struct explain_options *options = scratch->report->options;

	if (scratch->made && scratch->path != NULL) {
		unlink(scratch->path);
		rmdir(scratch->directory);
	}
	free(scratch->path);
	free(scratch->directory);
	if (scratch->begun && options->end != NULL)
		options->end(options->context);
}

static struct trace *trace_of(const char *pcap, void *context)
{
	const struct scratch *scratch = context;
	struct explain_name *name = find_name(scratch->report, pcap);

	return name != NULL && name->segment->of_flow && name->name == name->segment->pcap
		       ? &name->segment->trace
		       : NULL;
}

static void forward(const struct error *error, void *context)
{
	const struct explain_options *options = ((struct scratch *)context)->report->options;

	if (options->report != NULL)
		options->report(error, options->context);
}

/* What the segments before those of the answer showed of who serves: as the database has it. */
static int read_book(struct explain_report *report, struct serving_book *book, struct error *error)
{
	const struct chain_value recording = {.number = report->recording_id};
	struct chain_rows rows;
	int status = explain_ask(report, explain_recordings_sql, &recording, 1, &rows, error);

	for (size_t i = 0; status == 0 && i < rows.count; i++) {
		const char *uuid = chain_text(&rows.rows[i], "recording_uuid");

		if (uuid != NULL)
			status = storefile_serving(report->database, report->options->database,
						   chain_number(&rows.rows[i], "recording_id"),
						   uuid, book, error);
	}
	chain_rows_release(&rows);
	book->has_later = true;
	return status;
}

static int load_into(struct scratch *scratch, struct error *error)
{
	struct explain_report *report = scratch->report;
	struct serving_book book = {0};
	struct load_options options = {
		.database = scratch->path,
		.book = &book,
		.workers = report->options->workers,
		.limits = report->options->limits,
		.begin = make_scratch,
		.stop = report->options->stop,
		.report = forward,
		.trace = trace_of,
		.context = scratch,
	};
	struct load_result result;
	int64_t with_packets;
	size_t count = 0;
	char **paths = NULL;
	int status = setting(report, "SELECT value FROM setting WHERE key = 'bucket_ns'",
			     &options.bucket_ns, error);

	if (status == 0)
		status = setting(report, "SELECT value FROM setting WHERE key = 'with_packets'",
				 &with_packets, error);
	if (status == 0)
		status = name_paths(report, &paths, &count, error);
	if (status == 0)
		status = read_book(report, &book, error);
	if (status == 0) {
		options.with_packets = with_packets != 0;
		status = load_run(paths, count, &options, &result, &report->anew_error);
		if (status == ERROR_DAMAGED || status == ERROR_NO_INPUT)
			status = 0; /* the evidence's fault: nothing came out */
		else if (status != 0)
			*error = report->anew_error;
	}
	for (size_t i = 0; paths != NULL && i < count; i++)
		free(paths[i]);
	free(paths);
	serving_book_release(&book);
	return status;
}

/* A signal that came when the load looked no more. */
static int look_for_stop(const struct explain_report *report, struct error *error)
{
	const volatile sig_atomic_t *stop = report->options->stop;

	return stop != NULL && *stop != 0
		       ? error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted")
		       : 0;
}

int explain_analyze_anew(struct explain_report *report, struct error *error)
{
	struct scratch scratch = {.report = report, .why_not = ERROR_NONE};
	int status = name_scratch(&scratch, error);

	report->anew_error = (struct error)ERROR_NONE;
	if (status == 0)
		status = load_into(&scratch, error);
	if (scratch.why_not.code != 0) {
		*error = scratch.why_not;
		status = scratch.why_not.code;
	}
	if (status == 0 && report->anew_error.code == 0)
		status = storefile_open(scratch.path, &report->anew, error);
	/* What is open stays readable. */
	remove_scratch(&scratch);
	return status != 0 ? status : look_for_stop(report, error);
}
