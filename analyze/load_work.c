/* The workers of a load, and what each of them does next. */
#include "analyze/load_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snapshot/format/quantity.h"

/* So often the merger looks whether it is to stop while it waits for a worker. */
#define LOOK_UP_NS INT64_C(50000000)
/* So far before its part a worker begins to look what repeats. What is noted of a packet counts
 * for REPEATS_MARKED_NS, and for longer only while others keep it alive. */
#define LOOK_BACK_NS (10 * REPEATS_MARKED_NS)
/* But no more than what a walk keeps of a plain capture. */
#define LOOK_BACK_PACKETS (PCAPWALK_STRIDE * PCAPWALK_MARKS)

/* ---------------------------------------------------------------- the job -- */

void load_end_job(struct load *load, struct job *job)
{
	load->open_jobs -= !job->ended;
	job->ended = true;
	job->holder = NULL;
	pthread_cond_broadcast(&load->changed);
}

static void leave_job(struct worker *worker)
{
	struct load *load = worker->load;
	struct job *job = worker->job;
	bool last;

	if (job == NULL)
		return;
	replay_release(&worker->replay);
	pcapin_close(worker->in);
	worker->in = NULL;
	worker->job = NULL;
	pthread_mutex_lock(&load->lock);
	last = --job->users == 0 && job->merged;
	pthread_mutex_unlock(&load->lock);
	if (last)
		load_forget_job(job);
}

void load_end_sharing(struct load *load, struct job *job)
{
	pthread_mutex_lock(&load->lock);
	load_end_job(load, job);
	pthread_mutex_unlock(&load->lock);
}

/* Under the lock: nobody wants what follows in a slot. Whoever is in the middle of a part frees it
 * himself, when he has come to its end. */
static void give_up(struct slot *slot)
{
	if (slot->status == REPLAY_GOES_ON) {
		slot->unwanted = true;
		slot->full = false;
	} else {
		slot->job = NULL;
	}
}

void load_job_merged(struct load *load, struct job *job)
{
	bool last;

	pthread_mutex_lock(&load->lock);
	job->merged = true;
	load_end_job(load, job);
	for (unsigned i = 0; i < LOAD_PARTS_AHEAD * load->worker_count; i++) {
		if (load->slots[i].job == job && load->slots[i].full)
			give_up(&load->slots[i]);
	}
	last = job->users == 0;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
	if (last)
		load_forget_job(job);
}

/* ---------------------------------------------------------- what to do next -- */

/* All of these under the lock. */

/* A slot for the worker's next part. All workers together may be ahead by one part each and
 * the one that is merged, or as far as that the merger has something to do. */
static struct slot *free_slot(struct worker *worker)
{
	struct load *load = worker->load;
	struct slot *slot = NULL;
	unsigned taken = 0, own = 0;
	bool merging = false;

	for (unsigned i = LOAD_PARTS_AHEAD * load->worker_count; i-- > 0;) {
		const struct job *job = load->slots[i].job;

		if (job == NULL) {
			slot = &load->slots[i]; /* the first one: the last ones stay small */
			continue;
		}
		taken++;
		own += load->slots[i].owner == worker;
		merging |= job == &load->jobs[load->merging];
	}
	if (own == LOAD_PARTS_AHEAD || (taken > load->worker_count && merging))
		return NULL;
	return slot;
}

/* It has a part that waits for another job to be merged: the next should be of that one. */
static bool is_ahead(const struct worker *worker)
{
	const struct load *load = worker->load;

	for (unsigned i = 0; i < LOAD_PARTS_AHEAD * load->worker_count; i++) {
		const struct slot *slot = &load->slots[i];

		if (slot->owner == worker && slot->job != NULL &&
		    slot->job != &load->jobs[load->merging])
			return true;
	}
	return false;
}

static bool can_go_on(const struct worker *worker, const struct job *job)
{
	if (job == NULL || job->state != JOB_READY || job->ended)
		return false;
	return job->holder == worker || (job->holder == NULL && job->divisible);
}

static struct job *job_to_help(const struct worker *worker)
{
	const struct load *load = worker->load;

	for (size_t i = load->merging; i < load->next_job; i++) {
		if (can_go_on(worker, &load->jobs[i]))
			return &load->jobs[i];
	}
	return NULL;
}

/* Asks those who hold a job that could be divided; false: there is none and will be none. */
static bool ask_to_help(struct load *load)
{
	bool any = false;

	for (size_t i = load->merging; i < load->next_job; i++) {
		struct job *job = &load->jobs[i];

		if (job->skip || job->ended || (job->state == JOB_READY && !job->divisible))
			continue;
		job->wanted = true;
		any = true;
	}
	return any;
}

static struct job *new_job(struct load *load)
{
	while (load->next_job < load->inputs.count && load->jobs[load->next_job].skip)
		load->next_job++;
	return load->next_job < load->inputs.count ? &load->jobs[load->next_job] : NULL;
}

/* NULL: there is nothing to do until something changes; *over: and nothing will. */
static struct job *choose_job(struct worker *worker, bool *over)
{
	struct load *load = worker->load;
	struct job *fresh = new_job(load), *helped;
	bool ahead = is_ahead(worker);

	*over = false;
	if (can_go_on(worker, worker->job))
		return worker->job;
	helped = ahead || fresh == NULL ? job_to_help(worker) : NULL;
	if (helped != NULL)
		return helped;
	if (fresh != NULL) {
		if (ahead)
			ask_to_help(load);
		load->next_job++;
		return fresh;
	}
	*over = !ask_to_help(load);
	return NULL;
}

/* The next part, whose job it holds then. NULL: there is nothing more to do. */
static struct slot *take_part(struct worker *worker, struct job **job)
{
	struct load *load = worker->load;
	struct slot *slot = NULL;
	bool over = false;

	pthread_mutex_lock(&load->lock);
	for (*job = NULL; *job == NULL && !over && !load->stop;) {
		slot = free_slot(worker);
		if (slot != NULL)
			*job = choose_job(worker, &over);
		if (*job == NULL && !over && !load->stop)
			pthread_cond_wait(&load->changed, &load->lock);
	}
	if (*job != NULL) {
		(*job)->holder = worker;
		(*job)->users += worker->job != *job;
		slot->owner = worker;
		slot->job = *job;
		slot->number = (*job)->next_part++;
		slot->full = slot->unwanted = false;
	}
	pthread_mutex_unlock(&load->lock);
	return *job != NULL ? slot : NULL;
}

/* --------------------------------------------------------------- the parts -- */

static int open_job(struct worker *worker, struct job *job, struct error *error)
{
	struct load *load = worker->load;
	int status;

	if (worker->job == job)
		return 0;
	leave_job(worker);
	worker->job = job;
	if (job->state == JOB_WAITING) /* none but its holder changes that */
		return load_prepare_job(worker, job);
	status = load_open_again(job, &worker->in, error);
	if (status == 0)
		status = replay_init(&worker->replay, &job->timeline, &job->serving, worker->in,
				     &load->replay, error);
	worker->replay.members = load_members_of(job);
	return status;
}

/* The first packet of a part. */
static uint64_t first_of(const struct worker *worker, uint64_t number)
{
	return number * worker->replay.options.part_packets + 1;
}

/* Whether the index has a place for who begins a part, so that he need not read all of the one
 * before it. Without, or behind what the index says there is, whoever holds the job reads on. */
static bool index_tells(const struct worker *worker, const struct job *job, uint64_t number)
{
	const uint64_t first = first_of(worker, number);
	const size_t until = members_until(&job->members, first);

	return until > 0 && first <= job->members.packets + 1 &&
	       job->members.places[until - 1].number > first_of(worker, number - 1);
}

/* Early enough before a part to see what repeats, by the times that the index says. */
static size_t member_before(const struct worker *worker, const struct job *job, uint64_t number)
{
	const struct members *members = &job->members;
	const uint64_t first = first_of(worker, number);
	size_t member = members_until(members, first) - 1;
	const int64_t until_ns = members->times_ns[member] - LOOK_BACK_NS;

	while (member > 0 && members->times_ns[member] > until_ns &&
	       first - members->places[member].number < LOOK_BACK_PACKETS)
		member--;
	return member;
}

/* Looks where the next part begins, for the others, if there may be any. */
static void walk_ahead(struct worker *worker, struct job *job)
{
	struct load *load = worker->load;
	enum pcapwalk_status status = PCAPWALK_STOPPED;
	struct pcapin_layout layout;
	bool walk;

	pthread_mutex_lock(&load->lock);
	walk = job->divisible && (job->wanted || load->worker_count > load->open_jobs);
	job->wanted = false;
	if (walk && job->members.count > 0 && index_tells(worker, job, job->next_part)) {
		job->holder = NULL;
		pthread_cond_broadcast(&load->changed);
	}
	pthread_mutex_unlock(&load->lock);
	if (walk && pcapin_layout(worker->in, &layout))
		status = pcapwalk_go(&job->walk, &layout, worker->replay.options.part_packets,
				     load->options->stop);
	if (status == PCAPWALK_STOPPED)
		return;
	pthread_mutex_lock(&load->lock);
	if (status == PCAPWALK_END)
		load_end_job(load, job);
	job->holder = NULL;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
}

static int go_where_walk_was(struct worker *worker, struct job *job, uint64_t number,
			     struct error *error)
{
	const struct pcapin_place place = job->walk.place,
				  start = pcapwalk_before(&job->walk, LOOK_BACK_NS);

	if (decode_fragments_copy(&worker->fragments, job->walk.fragments) != 0)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	walk_ahead(worker, job);
	return replay_approach(&worker->replay, number, &place, &start, worker->fragments, error);
}

/* As its holder, to a part that it does not come to from the one before. */
static int go_to_part(struct worker *worker, struct job *job, uint64_t number, struct error *error)
{
	if (job->members.count > 0) {
		walk_ahead(worker, job);
		return replay_approach_member(&worker->replay, number,
					      member_before(worker, job, number), error);
	}
	return go_where_walk_was(worker, job, number, error);
}

/* Of gzip it takes the last packet. */
static void note_content(struct job *job, struct pcapin *in)
{
	const char *content = in != NULL ? pcapin_content_sha256(in) : NULL;

	if (content != NULL)
		memcpy(job->content_sha256, content, sizeof(job->content_sha256));
}

static int fill_piece(struct worker *worker, struct job *job, struct slot *slot)
{
	int status = replay_next(&worker->replay, &slot->part, &slot->error);

	slot->read_bytes = worker->in != NULL ? pcapin_read_bytes(worker->in) : 0;
	if (status <= 0)
		note_content(job, worker->in);
	return status;
}

static int fill(struct worker *worker, struct job *job, struct slot *slot)
{
	struct error *error = &slot->error;
	int status;

	slot->part.held = (struct replay_held){0};
	status = open_job(worker, job, error);
	if (status == 0 && worker->replay.parts == slot->number)
		walk_ahead(worker, job);
	else if (status == 0)
		status = go_to_part(worker, job, slot->number, error);
	/* Nothing was read, so there is no part: damage here is that of a file that was replaced.
	 */
	if (status != 0) {
		slot->part.held = worker->replay.held;
		return status == ERROR_DAMAGED ? ERROR_SYSTEM : status;
	}
	return fill_piece(worker, job, slot);
}

/* Hands a piece of a part on and waits until it is merged, as often as another one follows.
 * Whoever is ahead of the merger thus has one piece, however many flows there are. */
static void hand_on_pieces(struct worker *worker, struct job *job, struct slot *slot)
{
	struct load *load = worker->load;

	while (slot->status == REPLAY_GOES_ON) {
		bool over;

		pthread_mutex_lock(&load->lock);
		slot->full = !slot->unwanted && !job->merged;
		pthread_cond_broadcast(&load->changed);
		while (slot->full && !load->stop)
			pthread_cond_wait(&load->changed, &load->lock);
		over = load->stop || job->merged;
		pthread_mutex_unlock(&load->lock);
		if (over)
			slot->status = 0;
		else
			slot->status = fill_piece(worker, job, slot);
	}
}

/* Hands a part on, and its job if it still holds it and there is a next part. */
static void announce(struct worker *worker, struct job *job, struct slot *slot)
{
	struct load *load = worker->load;

	pthread_mutex_lock(&load->lock);
	if (slot->status == 1 && job->holder == worker && job->divisible &&
	    job->members.count == 0 &&
	    pcapwalk_begin(&job->walk, &slot->part.next, slot->part.after.fragments) != 0)
		job->divisible = false;
	if (slot->status != 1)
		load_end_job(load, job);
	slot->full = true;
	if (slot->unwanted || job->merged || job->state == JOB_FAILED)
		slot->job = NULL;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
}

static void *work(void *context)
{
	struct worker *worker = context;
	struct slot *slot;
	struct job *job;

	while ((slot = take_part(worker, &job)) != NULL) {
		bool ended;

		slot->error = (struct error)ERROR_NONE;
		slot->status = fill(worker, job, slot);
		hand_on_pieces(worker, job, slot);
		announce(worker, job, slot);
		pthread_mutex_lock(&worker->load->lock);
		ended = job->ended;
		pthread_mutex_unlock(&worker->load->lock);
		if (ended)
			leave_job(worker);
	}
	leave_job(worker);
	return NULL;
}

/* ------------------------------------------------------------- the threads -- */

int load_start_workers(struct load *load, struct error *error)
{
	load->slots = calloc((size_t)LOAD_PARTS_AHEAD * load->worker_count, sizeof(*load->slots));
	load->workers = calloc(load->worker_count, sizeof(*load->workers));
	if (load->slots == NULL || load->workers == NULL)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	for (unsigned i = 0; i < LOAD_PARTS_AHEAD * load->worker_count; i++)
		replay_part_init(&load->slots[i].part, &load->replay);
	for (unsigned i = 0; i < load->worker_count; i++) {
		struct worker *worker = &load->workers[i];

		worker->load = load;
		if (pthread_create(&worker->thread, NULL, work, worker) == 0)
			worker->started = true;
		else if (i == 0)
			return error_set(error, ERROR_SYSTEM, NULL, -1, "cannot start a thread");
		else
			break; /* fewer do */
	}
	return 0;
}

void load_stop_workers(struct load *load)
{
	pthread_mutex_lock(&load->lock);
	load->stop = true;
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
	for (unsigned i = 0; load->workers != NULL && i < load->worker_count; i++) {
		if (load->workers[i].started)
			pthread_join(load->workers[i].thread, NULL);
		decode_fragments_free(load->workers[i].fragments);
	}
	for (unsigned i = 0; load->slots != NULL && i < LOAD_PARTS_AHEAD * load->worker_count; i++)
		replay_part_release(&load->slots[i].part);
	free(load->workers);
	free(load->slots);
	load->workers = NULL;
	load->slots = NULL;
}

/* ----------------------------------------------------------- for the merger -- */

void load_wait_a_little(struct load *load)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_UP_NS;
	until.tv_sec += until.tv_nsec / NS_PER_SECOND;
	until.tv_nsec %= NS_PER_SECOND;
	pthread_cond_timedwait(&load->changed, &load->lock, &until);
}

void load_wait_ready(struct load *load, struct job *job)
{
	pthread_mutex_lock(&load->lock);
	load->merging = (size_t)(job - load->jobs);
	pthread_cond_broadcast(&load->changed);
	while (job->state == JOB_WAITING && !load_interrupted(load))
		load_wait_a_little(load);
	pthread_mutex_unlock(&load->lock);
}

static struct slot *find_part(struct load *load, const struct job *job, uint64_t number)
{
	for (unsigned i = 0; i < LOAD_PARTS_AHEAD * load->worker_count; i++) {
		struct slot *slot = &load->slots[i];

		if (slot->job == job && slot->number == number && slot->full)
			return slot;
	}
	return NULL;
}

struct slot *load_wait_part(struct load *load, struct job *job, uint64_t number)
{
	struct slot *slot = NULL;

	pthread_mutex_lock(&load->lock);
	while (!load_interrupted(load) && (slot = find_part(load, job, number)) == NULL &&
	       (!job->ended || number < job->next_part))
		load_wait_a_little(load);
	pthread_mutex_unlock(&load->lock);
	return slot;
}

bool load_wait_piece(struct load *load, struct slot *slot)
{
	bool is_there;

	pthread_mutex_lock(&load->lock);
	slot->full = false;
	pthread_cond_broadcast(&load->changed);
	while (!slot->full && !load_interrupted(load))
		load_wait_a_little(load);
	is_there = slot->full;
	pthread_mutex_unlock(&load->lock);
	return is_there;
}

void load_free_slot(struct load *load, struct slot *slot)
{
	pthread_mutex_lock(&load->lock);
	give_up(slot);
	pthread_cond_broadcast(&load->changed);
	pthread_mutex_unlock(&load->lock);
}
