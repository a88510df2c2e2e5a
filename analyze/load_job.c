/* A job of a load: its files, opened and read by the worker that comes to it first. */
#include "analyze/load_internal.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void read_snapshots(struct job *job, const volatile sig_atomic_t *stop)
{
	const struct input *input = job->input;
	struct snapfile_reader *reader = NULL;
	int status;

	timeline_init(&job->timeline);
	if (input->snap == NULL)
		return;
	job->snap_error = (struct error)ERROR_NONE;
	status = input_open_snap(input, &reader, &job->snap_error);
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

int load_open_capture(const struct job *job, struct pcapin **in, struct error *error)
{
	*in = NULL;
	if (job->input->pcap == NULL)
		return 0;
	/* What the log says is believed of what is in a capture as it is of the capture. */
	return input_open_pcap(job->input, job->input->content_sha256[0] == '\0', in, error);
}

int load_open_again(const struct job *job, struct pcapin **in, struct error *error)
{
	*in = NULL;
	return pcapin_open_anew(job->capture_fd, job->input->pcap, in, error);
}

static void read_capture_head(struct job *job, struct pcapin **in)
{
	int status;

	job->link_type = -1;
	job->pcap_error = (struct error)ERROR_NONE;
	status = load_open_capture(job, in, &job->pcap_error);
	if (status == ERROR_DAMAGED) {
		job->pcap_damaged = true;
	} else if (status != 0) {
		job->status = status;
		job->error = job->pcap_error;
	} else if (*in != NULL) {
		job->link_type = pcapin_link_type(*in);
		job->pcap_is_plain = !pcapin_is_gzip(*in);
	}
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

/* Whether there is an index, and nobody has to read all of the capture in a row, to hash it. */
static bool prepare_members(struct job *job, const struct pcapin *in)
{
	const struct input *input = job->input;
	int status;

	job->index_error = (struct error)ERROR_NONE;
	/* A pcapng, which is read from its beginning only, has no offset there. */
	if (input->content_sha256[0] == '\0' || pcapin_where(in).offset_bytes == 0)
		return false;
	status = members_places(input->dirfd, input->pcap, &job->members, &job->index_error);
	if (status != ERROR_DAMAGED) /* without it one worker does */
		job->index_error = (struct error)ERROR_NONE;
	return status == 0 && job->members.count > 0;
}

/* The name of a capture may be another file's before all have opened it, or nobody's: recorders
 * compress and remove what they have. */
static bool keep_file(struct job *job, const struct pcapin *in)
{
	if (!pcapin_can_open_anew())
		return false;
	job->capture_fd = fcntl(pcapin_descriptor(in), F_DUPFD_CLOEXEC, 0);
	return job->capture_fd >= 0;
}

/* Whether parts may go to several workers: what is asked of one flow goes from part to part. */
static bool prepare_parts(struct load *load, struct job *job, const struct pcapin *in)
{
	struct pcapin_layout layout;
	struct pcapin_place first;

	if (load->worker_count == 1 || load->options->trace != NULL || in == NULL)
		return false;
	if (pcapin_is_gzip(in))
		return keep_file(job, in) && prepare_members(job, in);
	if (!pcapin_layout(in, &layout))
		return false;
	first = pcapin_where(in);
	/* Without memory for it, one worker does. */
	return keep_file(job, in) && pcapwalk_init(&job->walk) == 0 &&
	       pcapwalk_begin(&job->walk, &first, NULL) == 0;
}

const struct members *load_members_of(const struct job *job)
{
	return job->members.count > 0 ? &job->members : NULL;
}

/* By the names that its files have now. */
static void read_files(struct job *job, struct pcapin **in, const volatile sig_atomic_t *stop)
{
	int followed;

	do {
		followed = 0;
		job->status = 0;
		read_snapshots(job, stop);
		if (job->status == 0)
			read_capture_head(job, in);
		if (job->status == ERROR_NO_INPUT)
			followed = input_follow(job->input, &job->error);
		if (followed == 1)
			timeline_release(&job->timeline);
		else if (followed < 0)
			job->status = followed;
	} while (followed == 1);
}

/* ------------------------------------------------------------- who serves -- */

/* Under the lock. */
static void skip_noted(struct load *load)
{
	while (load->noting < load->inputs.count && load->jobs[load->noting].skip)
		load->noting++;
}

int load_open_book(struct load *load, struct error *error)
{
	load->book = load->options->book != NULL ? load->options->book : &load->own_book;
	for (size_t i = 0; i < load->inputs.count; i++) {
		const size_t before = load->book->recording_count;
		struct job *job = &load->jobs[i];
		int status = 0;

		job->recording = SERVING_NONE;
		if (job->skip || job->input->recording[0] == '\0')
			continue;
		job->recording = serving_recording(load->book, job->input->recording);
		if (job->recording == SERVING_NONE)
			return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
		if (load->book->recording_count > before)
			status = store_serving_read(load->store, job->input->recording, load->book,
						    error);
		if (status != 0)
			return status;
	}
	skip_noted(load);
	return 0;
}

/* In the order of the jobs, so that each knows what those before it showed. */
static int note_serving(struct load *load, struct job *job)
{
	int status = job->status;
	bool stopped;

	pthread_mutex_lock(&load->lock);
	while (&load->jobs[load->noting] != job && !load->stop)
		pthread_cond_wait(&load->changed, &load->lock);
	stopped = load->stop;
	pthread_mutex_unlock(&load->lock);
	if (stopped)
		return error_set(&job->error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
	if (status == 0 && serving_note(&job->serving, &job->timeline, load->book, job->recording,
					job->input->number) != 0)
		status = error_set(&job->error, ERROR_MEMORY, NULL, -1, "out of memory");
	pthread_mutex_lock(&load->lock);
	load->noting++;
	skip_noted(load);
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
	return status;
}

/* What all of its workers need, by the first of them. */
int load_prepare_job(struct worker *worker, struct job *job)
{
	struct load *load = worker->load;
	bool divisible = false;

	read_files(job, &worker->in, load->options->stop);
	job->status = note_serving(load, job);
	if (job->status == 0)
		job->status = replay_init(&worker->replay, &job->timeline, &job->serving,
					  worker->in, &load->replay, &job->error);
	if (job->status == 0) {
		worker->replay.trace = wanted_trace(load, job);
		divisible = prepare_parts(load, job, worker->in);
		worker->replay.members = load_members_of(job);
	}
	pthread_mutex_lock(&load->lock);
	job->divisible = divisible;
	job->state = job->status == 0 ? JOB_READY : JOB_FAILED;
	if (job->status != 0)
		load_end_job(load, job);
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
	return job->status;
}

void load_forget_job(struct job *job)
{
	timeline_release(&job->timeline);
	serving_release(&job->serving);
	pcapwalk_release(&job->walk);
	members_release(&job->members);
	if (job->capture_fd >= 0)
		close(job->capture_fd);
	job->capture_fd = -1;
}
