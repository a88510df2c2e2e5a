#include "analyze/load.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "analyze/load_copies.h"
#include "analyze/load_internal.h"
#include "snapshot/format/quantity.h"

void load_report(struct load *load, const struct error *error)
{
	if (load->options->report != NULL)
		load->options->report(error, load->options->context);
}

void load_report_of(struct load *load, const struct input *input, const struct error *error)
{
	if (!input->told)
		load_report(load, error);
}

/* ------------------------------------------------------------ descriptors -- */

/* What a worker may have open: the capture it reads, or two files to begin with; and of each of
 * the jobs that wait for the merger what was opened first. */
#define WORKER_DESCRIPTORS (2 + LOAD_PARTS_AHEAD)
/* What the database and the merger open. */
#define OTHER_DESCRIPTORS 16

/* How many more files can be opened, up to wanted. */
static unsigned free_descriptors(unsigned wanted)
{
	struct rlimit limit;
	unsigned count = 0;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	for (int fd = 0; count < wanted && fd < INT_MAX && (rlim_t)fd < limit.rlim_cur; fd++)
		count += fcntl(fd, F_GETFD) < 0;
	return count;
}

/* No more workers than may have their files open at once; one goes on as far as it can. */
static unsigned workers_with_files(unsigned workers)
{
	const unsigned wanted = workers * WORKER_DESCRIPTORS + OTHER_DESCRIPTORS;
	const unsigned count = free_descriptors(wanted);
	const unsigned able =
		count > OTHER_DESCRIPTORS ? (count - OTHER_DESCRIPTORS) / WORKER_DESCRIPTORS : 0;

	return able > 0 ? able : 1;
}

/* ------------------------------------------------------------ identifying -- */

struct identify {
	struct load *load;
	size_t next;
	pthread_mutex_t lock;
	int status;
	struct error error;
};

static void *identify_inputs(void *context)
{
	struct identify *all = context;

	for (;;) {
		struct error error = ERROR_NONE;
		struct input *input;
		size_t mine;
		int status;

		pthread_mutex_lock(&all->lock);
		mine = all->next++;
		if (all->status != 0 || load_interrupted(all->load))
			mine = SIZE_MAX;
		pthread_mutex_unlock(&all->lock);
		if (mine >= all->load->inputs.count)
			return NULL;
		input = &all->load->inputs.items[mine];
		if (input->unreadable.code != 0)
			continue;
		status = input_identify(input, all->load->options->verify, all->load->options->stop,
					&error);
		if (status != 0 && input_is_unreadable(&error)) {
			input->unreadable = error;
		} else if (status != 0) {
			pthread_mutex_lock(&all->lock);
			all->status = status;
			all->error = error;
			pthread_mutex_unlock(&all->lock);
		}
	}
}

static int identify(struct load *load, struct error *error)
{
	struct identify all = {
		.load = load, .lock = PTHREAD_MUTEX_INITIALIZER, .error = ERROR_NONE};
	/* No more than there is something to do for. */
	unsigned count = load->inputs.count < load->worker_count ? (unsigned)load->inputs.count
								 : load->worker_count;
	unsigned started = 0;
	pthread_t *threads = calloc(count, sizeof(*threads));

	while (threads != NULL && started + 1 < count &&
	       pthread_create(&threads[started], NULL, identify_inputs, &all) == 0)
		started++;
	identify_inputs(&all);
	while (started > 0)
		pthread_join(threads[--started], NULL);
	free(threads);
	if (all.status != 0 && error != NULL)
		*error = all.error;
	return all.status;
}

static void say_unreadable(const struct input *input, struct error *out)
{
	char path[PATH_MAX];

	input_path(input, input->unreadable.path, path);
	error_set(out, ERROR_SYSTEM, path, input->unreadable.offset_bytes,
		  "%s: %s not loaded: analyze it again when it can be read",
		  input->unreadable.message, input->bare ? "it is" : "its segment is");
}

/* What cannot be read is loaded when it can be: nothing of it, so that all of it is new then. What
 * an existing database has got of the others stays. ERROR_SYSTEM: nothing is left, or loaded. */
static int leave_unreadable(struct load *load, struct error *error)
{
	struct inputs *inputs = &load->inputs;
	struct error said = ERROR_NONE;
	size_t kept = 0;
	bool is_all;

	for (size_t i = 0; i < inputs->count; i++) {
		struct input *input = &inputs->items[i];

		if (input->unreadable.code == 0 && !input->is_done) {
			inputs->items[kept++] = *input;
			continue;
		}
		if (input->unreadable.code != 0) {
			if (said.code != 0)
				load_report(load, &said);
			say_unreadable(input, &said);
			load->result->damaged++;
		}
		input_release(input);
	}
	inputs->count = kept;
	is_all = said.code != 0 && kept == 0 && load->result->segments == 0;
	if (said.code != 0 && !is_all)
		load_report(load, &said);
	else if (said.code != 0 && error != NULL)
		*error = said;
	return is_all ? ERROR_SYSTEM : 0;
}

/* After a failure: whether it is that of inputs without which there is something left to do.
 * *status is 0 if nothing is. */
static bool goes_on(struct load *load, int *status, struct error *error)
{
	bool any = false;

	for (size_t i = 0; i < load->inputs.count; i++)
		any |= load->inputs.items[i].unreadable.code != 0;
	/* What was asked of the packets would be answered twice. */
	if (*status == 0 || !any || load_interrupted(load) || load->options->trace != NULL)
		return false;
	if (error != NULL)
		*error = (struct error)ERROR_NONE;
	*status = leave_unreadable(load, error);
	return *status == 0 && load->inputs.count > 0;
}

/* -------------------------------------------------------------------- run -- */

static int choose_jobs(struct load *load, struct error *error)
{
	enum load_fate *fates = calloc(load->inputs.count, sizeof(*fates));
	int status = fates == NULL
			     ? error_set(error, ERROR_MEMORY, NULL, -1, "out of memory")
			     : load_copies(&load->inputs, load->store, load->options->database,
					   load->options->stop, load->options->report,
					   load->options->context, fates, error);

	for (size_t i = 0; fates != NULL && i < load->inputs.count && status == 0; i++) {
		struct job *job = &load->jobs[i];

		job->input = &load->inputs.items[i];
		job->skip = fates[i] != LOAD_IT;
		load->result->skipped += fates[i] == LOAD_THERE;
		load->left_out += fates[i] == LOAD_LEFT_OUT;
		if (job->skip)
			continue;
		load->progress.segments++;
		load->progress.bytes += job->input->pcap_bytes;
	}
	free(fates);
	return status;
}

/* No more than can have something to do: a record header has 16 bytes, of which gzip may make
 * one or less. */
static void limit_workers(struct load *load)
{
	const uint64_t part_packets = load->options->part_packets != 0 ? load->options->part_packets
								       : REPLAY_PART_PACKETS;
	uint64_t parts = 0;

	for (size_t i = 0; i < load->inputs.count; i++) {
		const struct input *input = &load->inputs.items[i];
		const uint64_t least_bytes = input->content_sha256[0] != '\0' ? 1 : 16;

		if (!load->jobs[i].skip)
			parts += 1 + input->pcap_bytes / (least_bytes * part_packets);
	}
	if (load->worker_count > parts)
		load->worker_count = (unsigned)parts;
}

static int load_jobs(struct load *load, struct error *error)
{
	int status = 0;

	/* It is compared with what is there. */
	if (!store_is_new(load->store))
		status = load_end_hash(load, &load->inputs.items[0], error);
	if (status == 0)
		status = choose_jobs(load, error);
	if (status != 0 || load->progress.segments == 0)
		return status;
	limit_workers(load);
	load->open_jobs = load->progress.segments;
	load->replay = (struct replay_options){
		.part_packets = load->options->part_packets,
		.piece_flows = load->options->piece_flows,
		.bucket_ns = store_bucket_ns(load->store),
		.keep_packets = store_with_packets(load->store),
		.limits = load->options->limits,
		.stop = load->options->stop,
	};
	load_begin_hash(load);
	status = load_open_book(load, error);
	if (status == 0)
		status = merge_new(load->store, &load->options->limits, &load->merge, error);
	if (status == ERROR_DAMAGED && error != NULL && error->path[0] == '\0')
		snprintf(error->path, sizeof(error->path), "%s", load->options->database);
	if (status == 0)
		status = load_start_workers(load, error);
	if (status == 0)
		status = load_merge_all(load, error);
	if (status == 0 && load->result->segments == 0 && load->result->skipped == 0)
		status = error_set(error, ERROR_NO_INPUT, NULL, -1,
				   "no segment that was listed is here any more");
	load_stop_workers(load);
	return status;
}

/* So many directories are named by remarks of one kind; the others are counted. */
#define MOST_NAMED 16

/* Of a directory, or of the segments that its log has. */
static void report_directory(struct load *load, size_t *named, const char *path,
			     const struct error *remark)
{
	struct error said = ERROR_NONE;

	if ((*named)++ >= MOST_NAMED)
		return;
	error_set(&said, ERROR_DAMAGED, path, remark->offset_bytes, "%s", remark->message);
	load_report(load, &said);
}

static void report_others(struct load *load, size_t named, const char *what)
{
	struct error remark = ERROR_NONE;
	const size_t others = named > MOST_NAMED ? named - MOST_NAMED : 0;

	if (others == 0)
		return;
	error_set(&remark, ERROR_DAMAGED, NULL, -1, "%zu more director%s with %s", others,
		  others == 1 ? "y" : "ies", what);
	load_report(load, &remark);
}

/* What they say of the files of their directories is not known. */
static void report_custody(struct load *load)
{
	size_t named = 0;

	for (size_t i = 0; i < load->inputs.directory_count; i++) {
		const struct error *log = &load->inputs.directories[i].log;
		struct error remark = ERROR_NONE;

		if (log->code == 0)
			continue;
		load->result->damaged++;
		error_set(&remark, ERROR_DAMAGED, NULL, log->offset_bytes,
			  "%s: no file was held against it", log->message);
		report_directory(load, &named, log->path, &remark);
	}
	report_others(load, named, "a " CUSTODY_LOG " that no file was held against");
}

static void report_unfinished(struct load *load)
{
	size_t named = 0;

	for (size_t i = 0; i < load->inputs.directory_count; i++) {
		const struct input_directory *directory = &load->inputs.directories[i];
		struct error remark = ERROR_NONE;
		char path[PATH_MAX];

		if (directory->unfinished == 0)
			continue;
		input_path_in(directory->path, directory->unfinished_name, path);
		error_set(&remark, ERROR_DAMAGED, NULL, -1,
			  "%zu unfinished segment%s passed over: being recorded, or left by a "
			  "crash (the next recording into that directory repairs it; or name the "
			  "file itself)",
			  directory->unfinished, directory->unfinished == 1 ? "" : "s");
		report_directory(load, &named, path, &remark);
	}
	report_others(load, named, "unfinished segments that were passed over");
}

/* A link to nowhere, a FIFO: what they were to have is not here. */
static void report_odd(struct load *load)
{
	size_t named = 0;

	for (size_t i = 0; i < load->inputs.directory_count; i++) {
		const struct input_directory *directory = &load->inputs.directories[i];
		const size_t count = directory->odd;
		struct error remark = ERROR_NONE;
		char path[PATH_MAX];

		if (count == 0)
			continue;
		load->result->damaged += count;
		input_path_in(directory->path, directory->odd_name, path);
		error_set(&remark, ERROR_DAMAGED, NULL, -1,
			  "%zu file%s of segments passed over, which %s no regular file%s: this "
			  "%s",
			  count, count == 1 ? "" : "s", count == 1 ? "is" : "are",
			  count == 1 ? "" : "s", count == 1 ? "one" : "is the first");
		report_directory(load, &named, path, &remark);
	}
	report_others(load, named, "files of segments that are no regular files");
}

/* Whole segments that a log has, and nobody gave. */
static void report_absent(struct load *load)
{
	const struct absent *absent = &load->inputs.absent;
	size_t named = 0;

	absent_reduce(&load->inputs.absent);
	for (size_t i = 0, next; i < absent->count; i = next) {
		const char *directory = absent->notes[i].directory;
		struct error remark = ERROR_NONE;
		char name[EVIDENCE_NAME_SIZE], path[PATH_MAX];
		size_t count;

		for (next = i + 1; next < absent->count; next++) {
			if (strcmp(absent->notes[next].directory, directory) != 0)
				break;
		}
		count = next - i;
		evidence_name(&absent->notes[i].stem, "", name);
		input_path_in(directory, name, path);
		error_set(&remark, ERROR_DAMAGED, NULL, -1,
			  "%zu segment%s that " CUSTODY_LOG
			  " has, and does not call expired, %s not here: this %s",
			  count, count == 1 ? "" : "s", count == 1 ? "is" : "are",
			  count == 1 ? "one" : "is the first");
		report_directory(load, &named, path, &remark);
	}
	report_others(load, named, "a " CUSTODY_LOG " that has segments that are not here");
}

/* Which of two files was read, where they may not be the same. */
static void report_both(struct load *load)
{
	const struct input *first = NULL;
	struct error remark = ERROR_NONE;
	char path[PATH_MAX];
	size_t count = 0;

	for (size_t i = 0; i < load->inputs.count; i++) {
		if (load->inputs.items[i].has_both && count++ == 0)
			first = &load->inputs.items[i];
	}
	if (first == NULL)
		return;
	input_path(first, first->pcap, path);
	error_set(&remark, ERROR_DAMAGED, path, -1,
		  "this one is read, and not the .pcap.gz beside it (%zu such capture%s)", count,
		  count == 1 ? "" : "s");
	load_report(load, &remark);
}

static void release_jobs(struct load *load)
{
	load_stop_hash(load);
	for (size_t i = 0; load->jobs != NULL && i < load->inputs.count; i++)
		load_forget_job(&load->jobs[i]);
	serving_book_release(&load->own_book);
	free(load->jobs);
	merge_free(load->merge);
	load->jobs = NULL;
	load->merge = NULL;
}

static int make_jobs(struct load *load, struct error *error)
{
	load->jobs = calloc(load->inputs.count + 1, sizeof(*load->jobs));
	if (load->jobs == NULL)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	for (size_t i = 0; i < load->inputs.count; i++)
		load->jobs[i].capture_fd = -1;
	load->next_job = load->merging = load->noting = 0;
	load->stop = false;
	load->progress = (struct load_progress){0};
	load->result->skipped = load->left_out = 0;
	return 0;
}

/* All inputs. Of what failed a new database keeps nothing. */
static int load_inputs(struct load *load, struct error *error)
{
	const struct load_options *options = load->options;
	const struct load_result before = *load->result;
	int status = make_jobs(load, error);

	if (status == 0)
		status = store_open(options->database, options->bucket_ns, options->with_packets,
				    &load->store, error);
	if (status != 0)
		goto out;
	store_stop_when(load->store, options->stop);
	status = load_jobs(load, error);
	if (status == 0) {
		status = store_finish(load->store, error);
		goto out;
	}
	if (store_is_new(load->store))
		*load->result = before;
	store_rollback(load->store);
	store_abandon(load->store);
out:
	release_jobs(load);
	return status;
}

static void release(struct load *load)
{
	inputs_release(&load->inputs);
	pthread_mutex_destroy(&load->lock);
	pthread_cond_destroy(&load->changed);
}

int load_run(char *const *paths, size_t count, const struct load_options *options,
	     struct load_result *result, struct error *error)
{
	struct load load = {
		.options = options,
		.result = result,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.begun_ns = quantity_now_ns(CLOCK_MONOTONIC),
	};
	int status = inputs_find(paths, count, &load.inputs, error);

	*result = (struct load_result){0};
	if (status != 0)
		goto out;
	report_custody(&load);
	report_unfinished(&load);
	report_odd(&load);
	report_absent(&load);
	if (load.inputs.count == 0) {
		status = error_set(error, ERROR_NO_INPUT, paths[0], -1,
				   "no finished segment to analyze");
		goto out;
	}
	load.worker_count = workers_with_files(options->workers);
	load_hash_later(&load);
	status = identify(&load, error);
	if (status == 0)
		status = leave_unreadable(&load, error);
	if (status != 0)
		goto out;
	do {
		status = inputs_sort(&load.inputs, error);
	} while (goes_on(&load, &status, error));
	if (status != 0)
		goto out;
	report_both(&load);
	if (options->begin != NULL)
		options->begin(options->context);
	store_remove_stale(options->database, options->report, options->context);
	do {
		status = load_inputs(&load, error);
	} while (goes_on(&load, &status, error));
	result->damaged += load.left_out;
	result->nothing_new = status == 0 && result->segments == 0;
out:
	release(&load);
	return status;
}
