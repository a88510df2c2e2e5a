#include "analyze/load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analyze/inputs.h"
#include "analyze/load_copies.h"
#include "analyze/merge.h"
#include "analyze/pcapin.h"
#include "analyze/replay.h"
#include "analyze/store.h"
#include "analyze/timeline.h"
#include "snapshot/format/quantity.h"

/* So often the merger looks whether it is to stop while it waits for a worker. */
#define LOOK_UP_NS INT64_C(50000000)
/* Parts that a worker may be ahead of the merger: one being filled, one being merged. */
#define PARTS_AHEAD 2

enum job_state {
	JOB_WAITING, /* no worker has it yet */
	JOB_READY,   /* timeline read, capture open; parts follow */
	JOB_DONE,    /* no part follows those that are full */
};

struct job {
	struct input *input;
	enum job_state state;
	bool skip; /* another copy of it counts */
	unsigned worker;
	struct timeline timeline;
	int link_type;
	int status; /* of the job as a whole: 0 or a failure that ends the load */
	struct error error;
	bool snap_damaged, pcap_damaged;
	struct error snap_error, pcap_error;
	bool pcap_is_plain;		       /* it could be opened, and is no gzip */
	char content_sha256[CUSTODY_HEX_SIZE]; /* of gzip; "": not known */
};

struct slot {
	struct replay_part part;
	uint64_t read_bytes;	/* of the capture, up to the end of the part */
	const struct job *full; /* whose part it holds; NULL: free */
};

struct worker {
	struct load *load;
	pthread_t thread;
	unsigned number;
	bool started;
	struct slot slots[PARTS_AHEAD];
};

struct load {
	const struct load_options *options;
	struct replay_options replay;
	struct inputs inputs;
	struct job *jobs;
	struct worker *workers;
	unsigned worker_count;
	struct store *store;
	struct merge *merge;
	struct load_result *result;
	struct load_progress progress;
	int64_t begun_ns;
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t next_job;
	bool stop;
};

static bool interrupted(const struct load *load)
{
	return load->options->stop != NULL && *load->options->stop != 0;
}

static void damage_noted(struct load *load, const struct error *error)
{
	if (load->options->report != NULL)
		load->options->report(error, load->options->context);
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
		size_t mine;
		int status;

		pthread_mutex_lock(&all->lock);
		mine = all->next++;
		if (all->status != 0 || interrupted(all->load))
			mine = SIZE_MAX;
		pthread_mutex_unlock(&all->lock);
		if (mine >= all->load->inputs.count)
			return NULL;
		status = input_identify(&all->load->inputs.items[mine], all->load->options->verify,
					&error);
		if (status != 0) {
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
	unsigned count = load->options->workers, started = 0;
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

/* ---------------------------------------------------------------- workers -- */

static void read_snapshots(struct job *job, const volatile sig_atomic_t *stop)
{
	const struct input *input = job->input;
	struct snapfile_reader *reader = NULL;
	int status;

	timeline_init(&job->timeline);
	if (input->snap == NULL)
		return;
	job->snap_error = (struct error)ERROR_NONE;
	status = snapfile_open(input->dirfd, input->snap, &reader, &job->snap_error);
	if (status == 0)
		status = timeline_read(reader, stop, &job->timeline, &job->snap_error);
	snapfile_close(reader);
	if (status == ERROR_DAMAGED) {
		job->snap_damaged = true;
	} else if (status != 0) {
		job->status = status;
		job->error = job->snap_error;
	}
}

static void open_capture(struct job *job, struct pcapin **in)
{
	const struct input *input = job->input;
	int status;

	*in = NULL;
	job->link_type = -1;
	if (input->pcap == NULL)
		return;
	job->pcap_error = (struct error)ERROR_NONE;
	status = pcapin_open_hashed(input->dirfd, input->pcap, in, &job->pcap_error);
	if (status == ERROR_DAMAGED) {
		job->pcap_damaged = true;
	} else if (status != 0) {
		job->status = status;
		job->error = job->pcap_error;
	} else {
		job->link_type = pcapin_link_type(*in);
	}
}

/* A slot that the merger is done with; NULL: the load was stopped. */
static struct slot *free_slot(struct worker *worker, unsigned turn)
{
	struct load *load = worker->load;
	struct slot *slot = &worker->slots[turn % PARTS_AHEAD];

	pthread_mutex_lock(&load->lock);
	while (slot->full != NULL && !load->stop)
		pthread_cond_wait(&load->changed, &load->lock);
	if (load->stop)
		slot = NULL;
	pthread_mutex_unlock(&load->lock);
	return slot;
}

static void announce(struct load *load, struct job *job, enum job_state state, struct slot *full)
{
	pthread_mutex_lock(&load->lock);
	if (full != NULL)
		full->full = job;
	job->state = state;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
}

static struct trace *wanted_trace(struct load *load, const struct job *job)
{
	struct trace *trace = NULL;

	if (load->options->trace == NULL || job->input->pcap == NULL)
		return NULL;
	pthread_mutex_lock(&load->lock);
	trace = load->options->trace(job->input->pcap, load->options->context);
	pthread_mutex_unlock(&load->lock);
	return trace;
}

/* Of gzip it takes the last packet. */
static void note_content(struct job *job, struct pcapin *in)
{
	const char *content = in != NULL ? pcapin_content_sha256(in) : NULL;

	job->pcap_is_plain = in != NULL && !pcapin_is_gzip(in);
	if (content != NULL)
		memcpy(job->content_sha256, content, sizeof(job->content_sha256));
}

static const char *content_of(const struct job *job)
{
	if (job->pcap_is_plain)
		return job->input->pcap_sha256;
	return job->content_sha256[0] != '\0' ? job->content_sha256 : NULL;
}

static void replay_job(struct worker *worker, struct job *job, unsigned *turn)
{
	struct load *load = worker->load;
	struct replay replay = {0};
	struct pcapin *in;
	int status = 1;

	read_snapshots(job, load->options->stop);
	open_capture(job, &in);
	if (job->status == 0)
		job->status = replay_init(&replay, &job->timeline, in, &load->replay, &job->error);
	if (job->status != 0)
		goto out;
	replay.trace = wanted_trace(load, job);
	announce(load, job, JOB_READY, NULL);
	while (status == 1) {
		struct slot *slot = free_slot(worker, *turn);
		struct error error = ERROR_NONE;

		if (slot == NULL)
			goto out;
		status = replay_next(&replay, &slot->part, &error);
		if (status == ERROR_DAMAGED) {
			job->pcap_damaged = true;
			job->pcap_error = error;
		} else if (status < 0) {
			job->status = status;
			job->error = error;
			goto out;
		}
		slot->read_bytes = in != NULL ? pcapin_read_bytes(in) : 0;
		if (status != 1)
			note_content(job, in);
		(*turn)++;
		announce(load, job, status == 1 ? JOB_READY : JOB_DONE, slot);
	}
out:
	replay_release(&replay);
	pcapin_close(in);
	announce(load, job, JOB_DONE, NULL);
}

static void *work(void *context)
{
	struct worker *worker = context;
	struct load *load = worker->load;
	unsigned turn = 0;

	for (;;) {
		struct job *job = NULL;

		pthread_mutex_lock(&load->lock);
		while (load->next_job < load->inputs.count && load->jobs[load->next_job].skip)
			load->next_job++;
		if (load->next_job < load->inputs.count && !load->stop)
			job = &load->jobs[load->next_job++];
		if (job != NULL)
			job->worker = worker->number;
		pthread_mutex_unlock(&load->lock);
		if (job == NULL)
			return NULL;
		replay_job(worker, job, &turn);
		/* The merger reads the timeline until the job's last part is merged. */
	}
}

static int start_workers(struct load *load, struct error *error)
{
	load->workers = calloc(load->worker_count, sizeof(*load->workers));
	if (load->workers == NULL)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	for (unsigned i = 0; i < load->worker_count; i++) {
		struct worker *worker = &load->workers[i];

		worker->load = load;
		worker->number = i;
		for (int s = 0; s < PARTS_AHEAD; s++)
			replay_part_init(&worker->slots[s].part, &load->replay);
		if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
			if (i == 0)
				return error_set(error, ERROR_SYSTEM, NULL, -1,
						 "cannot start a thread");
			load->worker_count = i + 1; /* fewer do */
			for (int s = 0; s < PARTS_AHEAD; s++)
				replay_part_release(&worker->slots[s].part);
			load->worker_count = i;
			return 0;
		}
		worker->started = true;
	}
	return 0;
}

static void stop_workers(struct load *load)
{
	if (load->workers == NULL)
		return;
	pthread_mutex_lock(&load->lock);
	load->stop = true;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
	for (unsigned i = 0; i < load->worker_count; i++) {
		struct worker *worker = &load->workers[i];

		if (worker->started)
			pthread_join(worker->thread, NULL);
		for (int s = 0; s < PARTS_AHEAD; s++)
			replay_part_release(&worker->slots[s].part);
	}
	free(load->workers);
	load->workers = NULL;
}

/* ----------------------------------------------------------------- merging -- */

static void show_progress(struct load *load)
{
	if (load->options->progress == NULL)
		return;
	load->progress.packets = merge_totals(load->merge)->packets;
	load->progress.elapsed_ns = quantity_now_ns(CLOCK_MONOTONIC) - load->begun_ns;
	load->options->progress(&load->progress, load->options->context);
}

/* Waits under the lock for a worker to announce something, but not for long. */
static void wait_a_little(struct load *load)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_UP_NS;
	until.tv_sec += until.tv_nsec / NS_PER_SECOND;
	until.tv_nsec %= NS_PER_SECOND;
	pthread_cond_timedwait(&load->changed, &load->lock, &until);
}

/* Waits until the job has a full slot at turn, or nothing more to come. */
static struct slot *full_slot(struct load *load, struct job *job, unsigned turn)
{
	struct slot *slot;

	pthread_mutex_lock(&load->lock);
	for (;;) {
		slot = job->state == JOB_WAITING
			       ? NULL
			       : &load->workers[job->worker].slots[turn % PARTS_AHEAD];
		if (slot != NULL && slot->full == job)
			break;
		if (job->state == JOB_DONE || interrupted(load)) {
			slot = NULL;
			break;
		}
		wait_a_little(load);
	}
	pthread_mutex_unlock(&load->lock);
	return slot;
}

static int say_interrupted(struct error *error)
{
	return error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
}

static int wait_ready(struct load *load, struct job *job, struct error *error)
{
	pthread_mutex_lock(&load->lock);
	while (job->state == JOB_WAITING && !interrupted(load))
		wait_a_little(load);
	pthread_mutex_unlock(&load->lock);
	return interrupted(load) ? say_interrupted(error) : 0;
}

static void free_full(struct load *load, struct slot *slot)
{
	pthread_mutex_lock(&load->lock);
	slot->full = NULL;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
}

/* Files are opened by their names in their directories; users are told which one it was. */
static void say_path(const struct input *input, struct error *error)
{
	const struct error said = *error;
	char path[PATH_MAX];

	if (said.path[0] == '\0' || strchr(said.path, '/') != NULL)
		return;
	input_path(input, said.path, path);
	error_set(error, said.code, path, said.offset_bytes, "%s", said.message);
	error->saved_errno = said.saved_errno;
}

/* is_whole: all of the file was read. */
static int note_damage(struct load *load, const struct input *input, const struct error *why,
		       const char *kind, const char *subject, bool is_whole, struct error *error)
{
	struct error said = *why;
	char detail[sizeof(why->message) + 64];
	struct merge_damage damage = {
		.kind = kind, .subject = subject, .detail = detail, .is_whole = is_whole};

	if (why->offset_bytes >= 0)
		snprintf(detail, sizeof(detail), "at byte %lld: %s", (long long)why->offset_bytes,
			 why->message);
	else
		snprintf(detail, sizeof(detail), "%s", why->message);
	say_path(input, &said);
	damage_noted(load, &said);
	return merge_damaged(load->merge, &damage, error);
}

static int merge_parts(struct load *load, struct job *job, unsigned *turn, struct error *error)
{
	const uint64_t before_bytes = load->progress.bytes_done;
	struct slot *slot;
	int status = 0;

	while (status == 0 && (slot = full_slot(load, job, *turn)) != NULL) {
		status = merge_part(load->merge, &slot->part, error);
		/* A capture may have grown since its size was taken. */
		load->progress.bytes_done =
			before_bytes + (slot->read_bytes < job->input->pcap_bytes
						? slot->read_bytes
						: job->input->pcap_bytes);
		(*turn)++;
		free_full(load, slot);
		show_progress(load);
	}
	return interrupted(load) ? say_interrupted(error) : status;
}

static int note_damages(struct load *load, struct job *job, struct error *error)
{
	struct input *input = job->input;
	int status = 0;

	/* What is damaged is not the file that its log tells of: its row says which it is. */
	if (job->pcap_damaged)
		status = input_hash_believed(input, error);
	if (status == 0 && input->snap_altered.code != 0)
		status = note_damage(load, input, &input->snap_altered, "altered", input->snap,
				     true, error);
	if (status == 0 && input->pcap_altered.code != 0)
		status = note_damage(load, input, &input->pcap_altered, "altered", input->pcap,
				     true, error);
	if (status == 0 && job->snap_damaged)
		status = note_damage(load, input, &job->snap_error, "torn", input->snap, false,
				     error);
	if (status == 0 && job->pcap_damaged)
		status = note_damage(load, input, &job->pcap_error, "damaged", input->pcap, false,
				     error);
	return status;
}

static int merge_job(struct load *load, struct job *job, unsigned *turn, bool is_last,
		     struct error *error)
{
	const struct input *input = job->input;
	struct merge_segment segment = {
		.pcap_name = input->pcap,
		.snap_name = input->snap,
		.pcap_sha256 = input->pcap != NULL ? input->pcap_sha256 : NULL,
		.snap_sha256 = input->snap != NULL ? input->snap_sha256 : NULL,
		.pcap_bytes = (int64_t)input->pcap_bytes,
		.snap_bytes = (int64_t)input->snap_bytes,
		.number = input->number,
		.repaired = input->repaired,
		.timeline = &job->timeline,
	};
	int status;

	if (job->status != 0)
		goto failed;
	segment.link_type = job->link_type;
	status = store_begin(load->store, error);
	if (status == 0)
		status = merge_begin(load->merge, &segment, error);
	if (status == 0)
		status = merge_parts(load, job, turn, error);
	if (status == 0 && job->status != 0)
		goto failed;
	if (status == 0)
		status = note_damages(load, job, error);
	if (status == 0)
		status = merge_end(load->merge, content_of(job), error);
	/* What was loaded in place stands, whatever becomes of the next segment. */
	if (status == 0 && (is_last || !store_is_new(load->store)))
		status = merge_carry(load->merge, error);
	if (status == 0)
		status = store_commit(load->store, error);
	if (job->snap_damaged || job->pcap_damaged || input->snap_altered.code != 0 ||
	    input->pcap_altered.code != 0)
		load->result->damaged++;
	return status;
failed:
	*error = job->error;
	say_path(input, error);
	return job->status;
}

static int merge_all(struct load *load, struct error *error)
{
	unsigned *turns = calloc(load->worker_count, sizeof(*turns));
	int status = 0;

	if (turns == NULL)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	for (size_t i = 0; i < load->inputs.count && status == 0; i++) {
		struct job *job = &load->jobs[i];
		const uint64_t before_bytes = load->progress.bytes_done;

		if (job->skip)
			continue;
		status = wait_ready(load, job, error);
		if (status != 0)
			break; /* a worker may still be reading it */
		status = merge_job(load, job, &turns[job->worker],
				   load->progress.segments_done + 1 == load->progress.segments,
				   error);
		if (status == 0)
			timeline_release(&job->timeline);
		load->progress.segments_done++;
		load->progress.bytes_done = before_bytes + job->input->pcap_bytes;
		show_progress(load);
	}
	free(turns);
	return status;
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

	for (size_t i = 0; i < load->inputs.count && status == 0; i++) {
		struct job *job = &load->jobs[i];

		job->input = &load->inputs.items[i];
		job->skip = fates[i] != LOAD_IT;
		load->result->skipped += fates[i] == LOAD_THERE;
		load->result->damaged += fates[i] == LOAD_LEFT_OUT;
		if (job->skip)
			continue;
		load->progress.segments++;
		load->progress.bytes += job->input->pcap_bytes;
	}
	free(fates);
	return status;
}

static int load_jobs(struct load *load, struct error *error)
{
	int status = choose_jobs(load, error);

	if (status != 0 || load->progress.segments == 0)
		return status;
	if (load->worker_count > load->progress.segments)
		load->worker_count = (unsigned)load->progress.segments;
	load->replay = (struct replay_options){
		.part_packets = load->options->part_packets,
		.bucket_ns = store_bucket_ns(load->store),
		.keep_packets = store_with_packets(load->store),
		.limits = load->options->limits,
		.stop = load->options->stop,
	};
	status = merge_new(load->store, &load->options->limits, &load->merge, error);
	if (status == ERROR_DAMAGED && error != NULL && error->path[0] == '\0')
		snprintf(error->path, sizeof(error->path), "%s", load->options->database);
	if (status == 0)
		status = start_workers(load, error);
	if (status == 0)
		status = merge_all(load, error);
	stop_workers(load);
	if (load->merge != NULL) {
		const struct merge_totals *totals = merge_totals(load->merge);

		load->result->segments = totals->segments;
		load->result->packets = totals->packets;
		load->result->flow_packets = totals->flow_packets;
		load->result->flows = totals->flows;
	}
	return status;
}

static void report_unfinished(struct load *load)
{
	struct error remark = ERROR_NONE;

	if (load->inputs.broken_custody.code != 0)
		damage_noted(load, &load->inputs.broken_custody);
	if (load->inputs.unfinished == 0)
		return;
	error_set(&remark, ERROR_DAMAGED, load->inputs.unfinished_name, -1,
		  "%zu unfinished segment%s passed over: being recorded, or left by a crash "
		  "(the next recording into that directory repairs it; or name the file itself)",
		  load->inputs.unfinished, load->inputs.unfinished == 1 ? "" : "s");
	damage_noted(load, &remark);
}

static void release(struct load *load)
{
	for (size_t i = 0; load->jobs != NULL && i < load->inputs.count; i++)
		timeline_release(&load->jobs[i].timeline);
	free(load->jobs);
	merge_free(load->merge);
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
		.worker_count = options->workers,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.begun_ns = quantity_now_ns(CLOCK_MONOTONIC),
	};
	int status = inputs_find(paths, count, &load.inputs, error);

	*result = (struct load_result){0};
	if (status != 0)
		goto out;
	report_unfinished(&load);
	if (load.inputs.count == 0) {
		status = error_set(error, ERROR_NO_INPUT, paths[0], -1,
				   "no finished segment to analyze");
		goto out;
	}
	status = identify(&load, error);
	if (status != 0)
		goto out;
	status = inputs_sort(&load.inputs, error);
	if (status != 0)
		goto out;
	load.jobs = calloc(load.inputs.count + 1, sizeof(*load.jobs));
	if (load.jobs == NULL) {
		status = error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
		goto out;
	}
	if (options->begin != NULL)
		options->begin(options->context);
	store_remove_stale(options->database, options->report, options->context);
	status = store_open(options->database, options->bucket_ns, options->with_packets,
			    &load.store, error);
	if (status != 0)
		goto out;
	store_stop_when(load.store, options->stop);
	status = load_jobs(&load, error);
	result->nothing_new = status == 0 && result->segments == 0;
	if (status != 0) {
		store_rollback(load.store);
		store_abandon(load.store);
		goto out;
	}
	status = store_finish(load.store, error);
out:
	release(&load);
	return status;
}
