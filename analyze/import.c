#include "analyze/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "analyze/pcapin.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/gzmember.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/snapfile.h"

#define COPY_BYTES     ((size_t)1 << 20)
#define PART_NAME_SIZE (EVIDENCE_NAME_SIZE + sizeof(EVIDENCE_PART))

/* One import under way. */
struct run {
	const struct import_config *config;
	const struct import_state *state;
	struct import_segment *segments;
	size_t count;
	struct custody *custody;
	char recording[33];
	int dirfd;
	bool made_directory, made_log;
	bool logged; /* at least one entry was appended */
};

static void note(const struct run *run, const struct error *error)
{
	if (run->state->notes)
		run->state->notes->note(run->state->notes->context, error);
}

/* ------------------------------------------------------------ directory -- */

static int open_directory(struct run *run, struct error *error)
{
	const char *path = run->config->output;

	if (!mkdir(path, 0700))
		run->made_directory = true;
	else if (errno != EEXIST)
		return error_errno(error, path, "cannot make the evidence directory");
	run->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (run->dirfd < 0)
		return error_errno(error, path, "cannot open the evidence directory");
	/* Two writers would give the same number to two segments; the recorder
	 * takes this lock too. */
	if (flock(run->dirfd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return error_errno(error, path, "cannot lock the evidence directory");
		return error_set(error, ERROR_SYSTEM, path, -1,
				 "another program is writing to this evidence directory");
	}
	return 0;
}

/* The log first: without one nothing may be put here. */
static int open_log(struct run *run, struct error *error)
{
	struct error problem = ERROR_NONE;
	uint64_t repaired = 0, broken = 0;
	int status;

	run->made_log = faccessat(run->dirfd, CUSTODY_LOG, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
	status = custody_open(run->dirfd, run->config->output, &run->custody, &repaired, &broken,
			      error);
	if (status)
		return status;
	if (repaired) {
		error_set(&problem, ERROR_DAMAGED, CUSTODY_LOG, -1,
			  "a torn last line of %" PRIu64 " bytes was cut off", repaired);
		note(run, &problem);
	}
	if (broken) {
		error_set(&problem, ERROR_DAMAGED, CUSTODY_LOG, -1,
			  "the chain is broken at line %" PRIu64
			  "; the log goes on from its last line",
			  broken);
		note(run, &problem);
	}
	return 0;
}

static void highest_logged(const struct custody_entry *entry, void *context)
{
	uint64_t *highest = context;
	struct evidence_stem stem;
	const char *suffix;

	if (entry->file && !evidence_parse_name(entry->file, &stem, &suffix) &&
	    stem.number > *highest)
		*highest = stem.number;
}

/* Numbers are never reused: neither that of a segment that is there nor that
 * of one that expired, which only the log remembers. */
static int next_number(struct run *run, uint64_t *number, struct error *error)
{
	const char *path = run->config->output;
	char chain[CUSTODY_HEX_SIZE];
	struct evidence_list list = {0};
	uint64_t highest = 0;
	int status;

	status = evidence_list_read(run->dirfd, path, &list, error);
	if (status)
		return status;
	for (size_t i = 0; i < list.count; i++)
		if (list.segments[i].stem.number > highest)
			highest = list.segments[i].stem.number;
	evidence_list_release(&list);
	/* A broken chain was told when the log was opened; names up to there count. */
	custody_verify(run->dirfd, path, highest_logged, &highest, chain, NULL);
	if (highest == EVIDENCE_MAX_NUMBER)
		return error_set(error, ERROR_LIMIT, path, -1, "no segment number is left");
	*number = highest + 1;
	return 0;
}

static void part_name(const char *name, char part[PART_NAME_SIZE])
{
	snprintf(part, PART_NAME_SIZE, "%s%s", name, EVIDENCE_PART);
}

/* Takes back whatever stands under a name of this import. Once a log that was
 * there before vouches for the files they stay: they are whole, and an entry
 * without its file would look like a theft. */
static void remove_made(const struct run *run)
{
	char part[PART_NAME_SIZE];

	if (run->dirfd < 0 || (run->logged && !run->made_log))
		return;
	for (size_t i = 0; i < run->count; i++) {
		const struct import_segment *segment = &run->segments[i];

		if (segment->pcap[0]) {
			unlinkat(run->dirfd, segment->pcap, 0);
			part_name(segment->pcap, part);
			unlinkat(run->dirfd, part, 0);
		}
		if (segment->snap[0]) {
			unlinkat(run->dirfd, segment->snap, 0);
			part_name(segment->snap, part);
			unlinkat(run->dirfd, part, 0);
		}
	}
	if (run->made_log)
		unlinkat(run->dirfd, CUSTODY_LOG, 0);
	if (run->made_directory)
		rmdir(run->config->output);
}

/* ------------------------------------------------------------- captures -- */

/* Time of the first packet, for the segment's name and place. */
static int look_at_capture(const struct run *run, struct import_segment *segment,
			   struct error *error)
{
	struct error damage = ERROR_NONE;
	struct pcapin_packet packet;
	struct pcapin *in;
	int status = pcapin_open(AT_FDCWD, segment->source, &in, error);

	if (status)
		return status;
	segment->link_type = pcapin_link_type(in);
	segment->snaplen = pcapin_snaplen(in);
	segment->first_packet_ns = run->config->time_ns;
	if (pcapin_next(in, &packet, &damage) == 1)
		segment->first_packet_ns = packet.time_ns;
	pcapin_close(in);
	segment->stem.opened_ns = segment->first_packet_ns < run->config->time_ns
					  ? segment->first_packet_ns
					  : run->config->time_ns;
	return 0;
}

static int compare_segments(const void *a, const void *b)
{
	const struct import_segment *x = a, *y = b;

	if (x->first_packet_ns != y->first_packet_ns)
		return x->first_packet_ns < y->first_packet_ns ? -1 : 1;
	return x->source && y->source ? strcmp(x->source, y->source) : 0;
}

static int plan_segments(struct run *run, struct error *error)
{
	size_t captures = run->config->capture_count;
	int status = 0;

	run->segments = calloc(captures ? captures : 1, sizeof(*run->segments));
	if (!run->segments)
		return error_set(error, ERROR_MEMORY, NULL, -1, "no memory for the segments");
	run->count = captures ? captures : 1;
	for (size_t i = 0; i < captures && !status; i++) {
		run->segments[i].source = run->config->captures[i];
		status = look_at_capture(run, &run->segments[i], error);
	}
	if (!captures)
		run->segments[0].stem.opened_ns = run->config->time_ns;
	qsort(run->segments, run->count, sizeof(*run->segments), compare_segments);
	return status;
}

static int create_part(const struct run *run, const char *name, char part[PART_NAME_SIZE],
		       struct error *error)
{
	int fd;

	part_name(name, part);
	fd = openat(run->dirfd, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? error_errno(error, part, "cannot create") : fd;
}

static int copy_bytes(int in, const char *in_path, int out, const char *out_path,
		      struct error *error)
{
	char *buffer = malloc(COPY_BYTES);
	int status = 0;

	if (!buffer)
		return error_set(error, ERROR_MEMORY, in_path, -1, "no memory to copy it");
	while (!status) {
		ssize_t got = read(in, buffer, COPY_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			status = error_errno(error, in_path, "cannot read");
		else if (!got)
			break;
		else if (evidence_write_all(out, buffer, (size_t)got))
			status = error_errno(error, out_path, "cannot write");
	}
	if (!status && fsync(out))
		status = error_errno(error, out_path, "cannot sync");
	free(buffer);
	return status;
}

/* Whether the file is gzip, which the suffix of its copy will say. */
static int is_gzip(int fd, const char *path, bool *gzip, struct error *error)
{
	uint8_t magic[2] = {0};
	ssize_t got = pread(fd, magic, sizeof(magic), 0);

	if (got < 0)
		return error_errno(error, path, "cannot read");
	*gzip = got == 2 && magic[0] == GZMEMBER_ID1 && magic[1] == GZMEMBER_ID2;
	return 0;
}

/* Reads the copy through, so that the summary can say what it holds and damage
 * is known today and not when the original is gone. */
static int survey_capture(const struct run *run, struct import_segment *segment, const char *part,
			  struct error *error)
{
	struct error damage = ERROR_NONE;
	struct pcapin_packet packet;
	struct pcapin *in;
	int status = pcapin_open(run->dirfd, part, &in, error);

	if (status)
		return status;
	while ((status = pcapin_next(in, &packet, &damage)) == 1) {
		if (!segment->packets || packet.time_ns < segment->first_packet_ns)
			segment->first_packet_ns = packet.time_ns;
		if (!segment->packets || packet.time_ns > segment->last_packet_ns)
			segment->last_packet_ns = packet.time_ns;
		segment->packets++;
	}
	pcapin_close(in);
	if (status == ERROR_DAMAGED) {
		segment->damaged = true;
		snprintf(damage.path, sizeof(damage.path), "%s", segment->source);
		note(run, &damage);
		return 0;
	}
	if (status)
		*error = damage;
	return status;
}

static int copy_capture(const struct run *run, struct import_segment *segment, struct error *error)
{
	char part[PART_NAME_SIZE];
	int in = open(segment->source, O_RDONLY | O_CLOEXEC), out = -1, status;
	bool gzip = false;

	if (in < 0)
		return error_errno(error, segment->source, "cannot open");
	status = is_gzip(in, segment->source, &gzip, error);
	if (status)
		goto out;
	evidence_name(&segment->stem, gzip ? EVIDENCE_PCAP_GZ : EVIDENCE_PCAP, segment->pcap);
	out = create_part(run, segment->pcap, part, error);
	status = out < 0 ? out : copy_bytes(in, segment->source, out, part, error);
	if (!status)
		status = custody_hash_file(run->dirfd, part, segment->pcap_sha256,
					   &segment->pcap_bytes, error);
	if (!status)
		status = survey_capture(run, segment, part, error);
out:
	close(in);
	if (out >= 0 && close(out) && !status)
		status = error_errno(error, part, "cannot close");
	return status;
}

/* ------------------------------------------------------------ snapshots -- */

static void digest_text(EVP_MD_CTX *digest, const char *text)
{
	EVP_DigestUpdate(digest, text ? text : "\\N", text ? strlen(text) + 1 : 3);
}

/* The recording's id comes from what was imported, captures included, so that the
 * same import gives the same files again, can be checked against its sources, and is
 * not taken for one of other captures with the same listings. */
static int name_recording(struct run *run, const struct snapframe *frame, struct error *error)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	unsigned char hash[EVP_MAX_MD_SIZE] = {0};
	char time[QUANTITY_TIME_SIZE];
	bool good;

	good = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
	if (good) {
		digest_text(digest, quantity_format_time(run->config->time_ns, time, sizeof(time)));
		digest_text(digest, run->config->hostname);
		digest_text(digest, run->config->boot_id);
		EVP_DigestUpdate(digest, frame->text, frame->length);
		for (size_t i = 0; i < run->state->source_count; i++)
			digest_text(digest, run->state->sources[i].sha256);
		for (size_t i = 0; i < run->count; i++)
			if (run->segments[i].source)
				digest_text(digest, run->segments[i].pcap_sha256);
		good = EVP_DigestFinal_ex(digest, hash, NULL);
	}
	EVP_MD_CTX_free(digest);
	if (!good)
		return error_set(error, ERROR_MEMORY, NULL, -1, "SHA-256 failed");
	custody_hex(hash, (sizeof(run->recording) - 1) / 2, run->recording);
	return 0;
}

static int write_header(const struct run *run, const struct import_segment *segment,
			struct snapfile_writer *writer, struct error *error)
{
	const struct import_config *config = run->config;
	char number[24], ticks[24], snaplen[24], link_type[24], netns[24];
	const struct {
		const char *key, *value;
	} metas[] = {
		{"tool", "pcapwho " PCAPWHO_VERSION},
		{"recording", run->recording},
		{"segment", number},
		{"hostname", config->hostname},
		{"machine_id", NULL},
		{"boot_id", config->boot_id},
		{"kernel", NULL},
		{"architecture", NULL},
		{"byte_order", config->big_endian ? "big" : "little"},
		{"clock_ticks", ticks},
		{"interface", NULL},
		{"filter", NULL},
		{"snaplen", segment->source ? snaplen : NULL},
		{"link_type", segment->source && segment->link_type >= 0 ? link_type : NULL},
		{"time_zone", NULL},
		{"privilege", NULL},
		{"watcher", "a single reading, imported"},
		{"source", "import"},
		{"netns", netns},
		{"interval_ns", NULL},
	};
	int status = 0;

	snprintf(number, sizeof(number), "%" PRIu64, segment->stem.number);
	snprintf(ticks, sizeof(ticks), "%" PRIu64, config->clock_ticks);
	snprintf(snaplen, sizeof(snaplen), "%" PRIu32, segment->snaplen);
	snprintf(link_type, sizeof(link_type), "%d", segment->link_type);
	snprintf(netns, sizeof(netns), "%d", IMPORT_NETNS);
	for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]) && !status; i++)
		status = snapfile_writer_meta(writer, metas[i].key, metas[i].value, error);
	if (!status && config->arguments)
		status = snapfile_writer_meta_bytes(writer, "argv", config->arguments,
						    config->arguments_length, error);
	return status;
}

static int write_snapshot(const struct run *run, struct import_segment *segment,
			  const struct snapframe *frame, struct error *error)
{
	struct snapfile_writer *writer = NULL;
	struct error closing = ERROR_NONE;
	char part[PART_NAME_SIZE];
	int fd, status;

	fd = create_part(run, segment->snap, part, error);
	if (fd < 0)
		return fd;
	status = snapfile_writer_open(fd, part, &writer, error);
	if (status)
		return status;
	status = write_header(run, segment, writer, error);
	if (!status)
		status = snapfile_writer_frame(writer, frame, error);
	/* A failure to close counts, unless there was one before it. */
	if (snapfile_writer_close(writer, &closing) && !status) {
		*error = closing;
		status = closing.code;
	}
	if (status)
		return status;
	return custody_hash_file(run->dirfd, part, segment->snap_sha256, &segment->snap_bytes,
				 error);
}

static int make_segments(struct run *run, uint64_t number, struct error *error)
{
	struct snapframe frame;
	int status = 0;

	/* There is one reading: later segments repeat it, under its own number. */
	snapframe_init(&frame, SNAP_KEY, "import");
	frame.head.sequence = 1;
	frame.head.begin_ns = frame.head.end_ns = run->config->time_ns;
	import_state_frame(run->state, &frame);
	if (frame.failed)
		status = error_set(error, ERROR_MEMORY, NULL, -1, "no memory for the snapshot");
	for (size_t i = 0; i < run->count && !status; i++) {
		struct import_segment *segment = &run->segments[i];

		segment->stem.number = number + i;
		evidence_name(&segment->stem, EVIDENCE_SNAP, segment->snap);
		if (segment->source)
			status = copy_capture(run, segment, error);
	}
	if (!status)
		status = name_recording(run, &frame, error);
	for (size_t i = 0; i < run->count && !status; i++) {
		if (i)
			frame.head.cause = "restated";
		status = write_snapshot(run, &run->segments[i], &frame, error);
	}
	snapframe_release(&frame);
	return status;
}

/* --------------------------------------------------------------- finish -- */

static int put_in_place(const struct run *run, const char *name, struct error *error)
{
	char part[PART_NAME_SIZE];

	part_name(name, part);
	if (renameat(run->dirfd, part, run->dirfd, name))
		return error_errno(error, part, "cannot rename");
	return 0;
}

static int put_all_in_place(const struct run *run, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < run->count && !status; i++) {
		if (run->segments[i].source)
			status = put_in_place(run, run->segments[i].pcap, error);
		if (!status)
			status = put_in_place(run, run->segments[i].snap, error);
	}
	if (!status && fsync(run->dirfd))
		status = error_errno(error, run->config->output, "cannot sync the directory");
	return status;
}

static int append(struct run *run, const char *file, uint64_t bytes, const char *sha256,
		  const char *detail, struct error *error)
{
	struct custody_entry entry = {.time_ns = quantity_now_ns(CLOCK_REALTIME),
				      .event = "import",
				      .file = file,
				      .bytes = (int64_t)bytes,
				      .sha256 = sha256,
				      .detail = detail};
	int status;

	status = custody_append(run->custody, &entry, error);
	if (!status)
		run->logged = true;
	return status;
}

static int log_segment(struct run *run, const struct import_segment *segment, struct error *error)
{
	char time[QUANTITY_TIME_SIZE], *path, *detail = NULL;
	int status = 0;

	if (segment->source) {
		path = realpath(segment->source, NULL);
		if (asprintf(&detail, "copy of %s, %" PRIu64 " packets%s",
			     path ? path : segment->source, segment->packets,
			     segment->damaged ? ", damaged" : "") < 0)
			detail = NULL;
		free(path);
		if (!detail)
			return error_set(error, ERROR_MEMORY, NULL, -1, "no memory");
		status = append(run, segment->pcap, segment->pcap_bytes, segment->pcap_sha256,
				detail, error);
		free(detail);
	}
	if (status)
		return status;
	if (asprintf(&detail, "state at %s from %zu files, by user %lu",
		     quantity_format_time(run->config->time_ns, time, sizeof(time)),
		     run->state->source_count, (unsigned long)getuid()) < 0)
		return error_set(error, ERROR_MEMORY, NULL, -1, "no memory");
	status = append(run, segment->snap, segment->snap_bytes, segment->snap_sha256, detail,
			error);
	free(detail);
	return status;
}

static int log_sources(struct run *run, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < run->state->source_count && !status; i++) {
		const struct import_source *source = &run->state->sources[i];
		char *detail;

		if (asprintf(&detail, "%s, from %s", source->what, source->path) < 0)
			return error_set(error, ERROR_MEMORY, NULL, -1, "no memory");
		status = append(run, NULL, source->bytes, source->sha256, detail, error);
		free(detail);
	}
	return status;
}

static int log_all(struct run *run, struct error *error)
{
	int status = log_sources(run, error);

	for (size_t i = 0; i < run->count && !status; i++)
		status = log_segment(run, &run->segments[i], error);
	return status;
}

int import_write(const struct import_config *config, const struct import_state *state,
		 struct import_result *result, struct error *error)
{
	struct run run = {.config = config, .state = state, .dirfd = -1};
	uint64_t number = 0;
	int status;

	status = plan_segments(&run, error);
	if (!status)
		status = open_directory(&run, error);
	if (!status)
		status = open_log(&run, error);
	if (!status)
		status = next_number(&run, &number, error);
	if (!status)
		status = make_segments(&run, number, error);
	if (!status)
		status = put_all_in_place(&run, error);
	if (!status)
		status = log_all(&run, error);
	if (status) {
		remove_made(&run);
		free(run.segments);
	} else {
		*result = (struct import_result){run.segments, run.count};
	}
	custody_close(run.custody);
	if (run.dirfd >= 0)
		close(run.dirfd);
	return status;
}

void import_result_release(struct import_result *result)
{
	free(result->segments);
	*result = (struct import_result){0};
}
