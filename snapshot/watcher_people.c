#include "snapshot/watcher_people.h"

#include <pthread.h>
#include <stdlib.h>

#define FIRST_BUCKETS  1024 /* a power of two */
#define PURGED_AT_ONCE 256  /* buckets, with the lock held */

/* One incarnation of a pid. */
struct person {
	struct person *next; /* in its bucket; of one pid the youngest comes first */
	struct person *gone_before, *gone_after;
	uint64_t id;
	uint32_t pid, parent;
	int64_t born_ns;      /* of its FORK; 0: not known */
	uint64_t start_ticks; /* exact unless is_derived */
	uint64_t named_start; /* as it stands in a frame; 0: in none */
	bool is_derived, is_kernel;
	bool is_split;	 /* its threads are in several namespaces */
	bool is_read;	 /* netns and facts are its own */
	int64_t gone_ns; /* 0: lives */
	int64_t exit_ns; /* of the last thread that ended; 0: none */
	bool is_leaderless;
	int64_t sure_ns;		    /* when it surely had the pid */
	uint64_t seen;			    /* the last poll that had it */
	uint64_t told;			    /* people.telling when what is known was told; 0: not */
	int64_t exec_ns;		    /* of its last EXEC; 0: none */
	uint64_t exec_told;		    /* as told, of that moment */
	int64_t placed_ns;		    /* when the kernel said so last; 0: it did not */
	uint64_t netns;			    /* 0: not known */
	struct procfs_facts *facts, *older; /* of its program image, and of the one before */
	int64_t facts_ns, older_ns;	    /* since when they hold */
	int64_t read_ns;		    /* when facts were read */
};

struct watcher_people {
	pthread_mutex_t lock; /* of all but the atomic ones */
	struct person **buckets;
	size_t bucket_count, count;
	struct person *first_gone, *last_gone;
	size_t gone_count;
	uint64_t last_id, polls, telling;
	int64_t tick_ns, lost_ns;
	_Atomic int64_t boot_ns;
	_Atomic uint64_t epoch;
};

struct watcher_people *watcher_people_new(int64_t tick_ns)
{
	struct watcher_people *people = calloc(1, sizeof(*people));

	if (!people)
		return NULL;
	people->buckets = calloc(FIRST_BUCKETS, sizeof(struct person *));
	if (!people->buckets) {
		free(people);
		return NULL;
	}
	people->bucket_count = FIRST_BUCKETS;
	people->tick_ns = tick_ns;
	people->telling = 1;
	people->epoch = 1;
	pthread_mutex_init(&people->lock, NULL);
	return people;
}

static void free_person(struct person *person)
{
	procfs_facts_unref(person->facts);
	procfs_facts_unref(person->older);
	free(person);
}

void watcher_people_free(struct watcher_people *people)
{
	if (!people)
		return;
	for (size_t i = 0; i < people->bucket_count; i++) {
		struct person *next;

		for (struct person *at = people->buckets[i]; at; at = next) {
			next = at->next;
			free_person(at);
		}
	}
	pthread_mutex_destroy(&people->lock);
	free(people->buckets);
	free(people);
}

void watcher_people_set_boot(struct watcher_people *people, int64_t offset_ns)
{
	atomic_store(&people->boot_ns, offset_ns);
}

uint64_t watcher_people_epoch(const struct watcher_people *people)
{
	return atomic_load_explicit(&people->epoch, memory_order_relaxed);
}

/* ---------------------------------------------------------------- time -- */

static int64_t ticks_ns(const struct watcher_people *people, uint64_t ticks)
{
	return (int64_t)ticks * people->tick_ns - atomic_load(&people->boot_ns);
}

/* A start read from /proc is cut to the tick. */
static int64_t earliest(const struct watcher_people *people, const struct person *person)
{
	return person->born_ns ? person->born_ns : ticks_ns(people, person->start_ticks);
}

static int64_t latest(const struct watcher_people *people, const struct person *person)
{
	return person->born_ns ? person->born_ns
			       : ticks_ns(people, person->start_ticks) + people->tick_ns;
}

bool watcher_people_could_act(const struct watcher_people *people, uint64_t start_ticks,
			      int64_t time_ns)
{
	return ticks_ns(people, start_ticks) <= time_ns + people->tick_ns;
}

/* A fork is noted some microseconds after the start that /proc tells, and so, where a clock tick
 * ended between the two, with a start that is one higher. */
static bool is_start_of_fork(uint64_t exact, uint64_t derived)
{
	return exact == derived || exact + 1 == derived;
}

static bool has_start(const struct person *person, uint64_t exact)
{
	return person->is_derived ? is_start_of_fork(exact, person->start_ticks)
				  : exact == person->start_ticks;
}

/* --------------------------------------------------------------- table -- */

static struct person **bucket_of(struct watcher_people *people, uint32_t pid)
{
	return &people->buckets[pid & (people->bucket_count - 1)];
}

static struct person *next_of(struct person *at, uint32_t pid)
{
	while (at && at->pid != pid)
		at = at->next;
	return at;
}

static struct person *youngest(struct watcher_people *people, uint32_t pid)
{
	return next_of(*bucket_of(people, pid), pid);
}

static void new_epoch(struct watcher_people *people)
{
	atomic_fetch_add(&people->epoch, 1);
}

/* Chains keep their order: each goes to the end of its new one. */
static void grow(struct watcher_people *people)
{
	size_t count = 2 * people->bucket_count;
	struct person **buckets = calloc(count, sizeof(struct person *));

	if (!buckets)
		return;
	for (size_t i = 0; i < people->bucket_count; i++) {
		struct person **ends[2] = {&buckets[i], &buckets[i + people->bucket_count]};
		struct person *next;

		for (struct person *at = people->buckets[i]; at; at = next) {
			struct person ***end = &ends[(at->pid & people->bucket_count) != 0];

			next = at->next;
			at->next = NULL;
			**end = at;
			*end = &at->next;
		}
	}
	free(people->buckets);
	people->buckets = buckets;
	people->bucket_count = count;
}

static void unlink_gone(struct watcher_people *people, struct person *person)
{
	*(person->gone_before ? &person->gone_before->gone_after : &people->first_gone) =
		person->gone_after;
	*(person->gone_after ? &person->gone_after->gone_before : &people->last_gone) =
		person->gone_before;
	person->gone_before = person->gone_after = NULL;
	people->gone_count--;
}

static void forget_oldest(struct watcher_people *people)
{
	struct person *oldest = people->first_gone;
	struct person **at = bucket_of(people, oldest->pid);

	while (*at != oldest)
		at = &(*at)->next;
	*at = oldest->next;
	unlink_gone(people, oldest);
	free_person(oldest);
	people->count--;
	new_epoch(people);
}

/* May forget another one that has gone, for ever. */
static void set_gone(struct watcher_people *people, struct person *person, int64_t time_ns)
{
	bool was_gone = person->gone_ns != 0;

	person->gone_ns = time_ns;
	if (was_gone)
		return;
	person->gone_before = people->last_gone;
	*(people->last_gone ? &people->last_gone->gone_after : &people->first_gone) = person;
	people->last_gone = person;
	if (++people->gone_count > WATCHER_PEOPLE_GONE)
		forget_oldest(people);
}

static void revoke_gone(struct watcher_people *people, struct person *person)
{
	if (!person->gone_ns)
		return;
	person->gone_ns = 0;
	unlink_gone(people, person);
}

/* A new incarnation, after those of its pid that are younger. */
static struct person *add(struct watcher_people *people, const struct person *model)
{
	struct person *person = malloc(sizeof(*person)), *younger = NULL, *older;
	struct person **at;

	if (!person)
		return NULL;
	if (people->count >= people->bucket_count)
		grow(people);
	*person = *model;
	person->id = ++people->last_id;
	for (at = bucket_of(people, person->pid); *at; at = &(*at)->next) {
		if ((*at)->pid != person->pid)
			continue;
		if (earliest(people, *at) <= earliest(people, person))
			break;
		younger = *at;
	}
	person->next = *at;
	*at = person;
	people->count++;
	older = next_of(person->next, person->pid);
	if (younger || older)
		new_epoch(people);
	if (older && !older->gone_ns)
		set_gone(people, older, earliest(people, person));
	if (younger)
		set_gone(people, person, earliest(people, younger));
	return person;
}

/* Who had the pid at that time: of those that surely began before it the youngest,
 * else one that may have. */
static struct person *find(struct watcher_people *people, uint32_t pid, uint32_t tid,
			   int64_t time_ns)
{
	struct person *first = youngest(people, pid), *at;

	for (at = first; at && latest(people, at) > time_ns; at = next_of(at->next, pid))
		;
	if (!at) {
		for (at = first; at && earliest(people, at) > time_ns; at = next_of(at->next, pid))
			;
	}
	if (!at || at->sure_ns < people->lost_ns)
		return NULL;
	if (at->gone_ns && at == first && tid != pid && time_ns > at->gone_ns)
		revoke_gone(people, at);
	if (at->gone_ns && time_ns > at->gone_ns + WATCHER_PEOPLE_LAST_NS)
		return NULL;
	return at;
}

/* --------------------------------------------------------------- facts -- */

static struct procfs_facts *facts_of_exec(const struct person *person, const char *path)
{
	return procfs_facts_of_exec(
		&(struct snap_process){
			.pid = person->pid,
			.start_ticks = person->start_ticks,
			.ppid = person->parent,
			.netns = person->netns,
		},
		path);
}

/* Takes the reference over. */
static void put_facts(struct person *person, struct procfs_facts *facts, int64_t since_ns)
{
	procfs_facts_unref(person->older);
	person->older = person->facts;
	person->older_ns = person->facts_ns;
	person->facts = facts;
	person->facts_ns = since_ns;
}

/* What its program was then: it may have executed another since, and another
 * thread already read that one's facts. */
static struct procfs_facts *facts_at(const struct person *person, int64_t time_ns)
{
	if (person->facts && person->facts_ns <= time_ns)
		return person->facts;
	return person->older && person->older_ns <= time_ns ? person->older : NULL;
}

/* -------------------------------------------------------------- events -- */

static void on_fork(struct watcher_people *people, const struct tracepoint_event *event)
{
	struct person *parent = find(people, event->pid, event->tid, event->time_ns), *at;
	int64_t boot_ns = event->time_ns + atomic_load(&people->boot_ns);
	struct person child = {
		.pid = event->u.child,
		.parent = event->pid,
		.born_ns = event->time_ns,
		.start_ticks = (uint64_t)(boot_ns / people->tick_ns),
		.is_derived = true,
		.sure_ns = event->time_ns,
		.facts_ns = event->time_ns,
	};

	for (at = youngest(people, child.pid); at; at = next_of(at->next, child.pid)) {
		if (at->born_ns || at->is_derived ||
		    (at->gone_ns && at->gone_ns < event->time_ns) ||
		    !is_start_of_fork(at->start_ticks, child.start_ticks))
			continue;
		at->born_ns = child.born_ns;
		at->parent = child.parent;
		return;
	}
	if (parent) {
		child.is_kernel = parent->is_kernel;
		child.netns = parent->netns;
		child.facts = procfs_facts_ref(facts_at(parent, event->time_ns));
	}
	if (!add(people, &child))
		procfs_facts_unref(child.facts);
}

static void on_exec(struct watcher_people *people, const struct tracepoint_event *event)
{
	struct person *person = find(people, event->pid, event->tid, event->time_ns);

	/* A thread that outlived its leader, for however long. */
	if (!person)
		person = youngest(people, event->pid);
	if (!person || person->sure_ns < people->lost_ns)
		return;
	if (person == youngest(people, event->pid))
		revoke_gone(people, person);
	person->is_kernel = person->is_leaderless = false;
	person->exec_ns = event->time_ns;
	person->exec_told = 0;
	if (person->is_read && person->read_ns >= event->time_ns) {
		if (person->facts_ns < event->time_ns)
			person->facts_ns = event->time_ns;
		return;
	}
	put_facts(person, facts_of_exec(person, event->u.exec.path), event->time_ns);
	person->is_read = false;
	person->told = 0;
}

static void on_netns(struct watcher_people *people, const struct tracepoint_event *event)
{
	struct person *person = find(people, event->pid, event->tid, event->time_ns);

	if (!person)
		return;
	/* Of a thread that goes another way than its process, nothing is known for sure. */
	if (event->tid != event->pid && event->u.netns != person->netns)
		person->is_split = true;
	if (event->tid == event->pid && person->netns != event->u.netns)
		new_epoch(people);
	if (event->tid == event->pid)
		person->netns = event->u.netns;
	person->placed_ns = event->time_ns;
}

/* By the kernel's word, of which nothing is missing since. */
static bool is_placed(const struct watcher_people *people, const struct person *person)
{
	return person->placed_ns > people->lost_ns && !person->is_split;
}

/* Without its leader each thread may be the last one: what another does revokes it. */
static void on_end(struct watcher_people *people, const struct tracepoint_event *event)
{
	struct person *person = find(people, event->pid, event->tid, event->time_ns);

	if (!person)
		return;
	person->exit_ns = event->time_ns;
	if (event->pid == event->tid)
		person->is_leaderless = true;
	if (person->is_leaderless)
		set_gone(people, person, event->time_ns);
}

void watcher_people_feed(struct watcher_people *people, const struct tracepoint_event *event)
{
	pthread_mutex_lock(&people->lock);
	switch (event->kind) {
	case TRACEPOINT_FORK:
		on_fork(people, event);
		break;
	case TRACEPOINT_NETNS:
		on_netns(people, event);
		break;
	case TRACEPOINT_EXEC:
		on_exec(people, event);
		break;
	case TRACEPOINT_EXIT:
		on_end(people, event);
		break;
	case TRACEPOINT_LOST:
		/* Whoever was not seen since may be another by now. */
		people->lost_ns = event->time_ns;
		new_epoch(people);
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&people->lock);
}

/* ------------------------------------------------------------ readings -- */

static void set_told(struct watcher_people *people, struct person *person)
{
	person->told = people->telling;
	person->named_start = person->start_ticks;
}

/* With the lock. The one of that pid and start; made if there is none. */
static struct person *need(struct watcher_people *people, uint32_t pid, uint64_t start_ticks,
			   uint32_t parent, int64_t read_ns)
{
	struct person model = {
		.pid = pid, .parent = parent, .start_ticks = start_ticks, .sure_ns = read_ns};
	struct person *at = youngest(people, pid);

	while (at && !has_start(at, start_ticks))
		at = next_of(at->next, pid);
	if (!at)
		return add(people, &model);
	if (at->sure_ns < read_ns)
		at->sure_ns = read_ns;
	if (at->is_derived) {
		at->is_derived = false;
		at->start_ticks = start_ticks;
	}
	return at;
}

static void take_facts(const struct watcher_people *people, struct person *person,
		       struct procfs_facts *facts, int64_t image_ns, int64_t read_ns)
{
	const struct procfs_facts *had = person->facts;
	int64_t since_ns = image_ns ? image_ns : read_ns;

	/* Read before the program was executed that is known by now. */
	if (had && since_ns < person->facts_ns)
		return;
	person->is_read = true;
	person->read_ns = read_ns;
	if (facts->record.netns && !is_placed(people, person))
		person->netns = facts->record.netns;
	/* Of one that is ending there is less to read than its parent told. */
	if (facts == had || (had && had->record.exe && !facts->record.exe))
		return;
	if (!image_ns && (!had || procfs_facts_same_image(had, facts)))
		since_ns = had ? person->facts_ns : person->born_ns;
	put_facts(person, procfs_facts_ref(facts), since_ns);
}

static void read_one(struct watcher_people *people, struct procfs_facts *facts, int64_t image_ns,
		     int64_t read_ns, bool is_told, uint64_t poll)
{
	struct person *person;

	pthread_mutex_lock(&people->lock);
	person = need(people, facts->record.pid, facts->record.start_ticks, facts->record.ppid,
		      read_ns);
	if (person) {
		if (image_ns && person == youngest(people, person->pid))
			revoke_gone(people, person);
		person->is_kernel = false;
		take_facts(people, person, facts, image_ns, read_ns);
		if (poll)
			person->seen = poll;
		/* Another one of that pid and tick may have been read, whose fork is still to
		 * come: the fork of this one is to be told. */
		if (is_told && (!person->born_ns || facts->record.ppid == person->parent))
			set_told(people, person);
		else if (is_told)
			person->named_start = person->start_ticks;
	}
	pthread_mutex_unlock(&people->lock);
}

void watcher_people_read(struct watcher_people *people, struct procfs_facts *facts,
			 int64_t image_ns, int64_t read_ns, bool is_told)
{
	read_one(people, facts, image_ns, read_ns, is_told, 0);
}

void watcher_people_read_kernel(struct watcher_people *people, uint32_t pid, uint64_t start_ticks,
				int64_t read_ns)
{
	struct person *person;

	pthread_mutex_lock(&people->lock);
	person = need(people, pid, start_ticks, 0, read_ns);
	if (person)
		person->is_kernel = true;
	pthread_mutex_unlock(&people->lock);
}

/* Whose exit was lost. A kernel thread is in no poll. */
static void purge(struct watcher_people *people, uint64_t poll, int64_t begin_ns)
{
	size_t bucket = 0, count = 1;

	while (bucket < count) {
		pthread_mutex_lock(&people->lock);
		count = people->bucket_count;
		for (size_t end = bucket + PURGED_AT_ONCE; bucket < end && bucket < count;
		     bucket++) {
			struct person *next;

			for (struct person *at = people->buckets[bucket]; at; at = next) {
				/* What set_gone forgets is gone already: not the next to go,
				 * but it may be the next of the chain. */
				bool stays = at->seen == poll || at->gone_ns || at->is_kernel ||
					     at->sure_ns >= begin_ns;

				if (stays) {
					next = at->next;
					continue;
				}
				set_gone(people, at, begin_ns);
				/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is the newest */
				next = at->next;
			}
		}
		pthread_mutex_unlock(&people->lock);
	}
}

void watcher_people_learn(struct watcher_people *people, const struct pollstate *state)
{
	int64_t begin_ns = state->head.monotonic_ns;
	uint64_t poll;

	pthread_mutex_lock(&people->lock);
	poll = ++people->polls;
	pthread_mutex_unlock(&people->lock);
	for (size_t i = 0; i < state->walk.process_count; i++) {
		struct procfs_facts *facts = state->walk.processes[i].facts;

		if (facts)
			read_one(people, facts, 0, begin_ns, true, poll);
	}
	purge(people, poll, begin_ns);
}

/* -------------------------------------------------------------- asking -- */

bool watcher_people_find(struct watcher_people *people, uint32_t pid, uint32_t tid, int64_t time_ns,
			 struct watcher_person *out)
{
	struct person *person;

	pthread_mutex_lock(&people->lock);
	person = find(people, pid, tid, time_ns);
	if (person)
		*out = (struct watcher_person){
			.id = person->id,
			.pid = person->pid,
			.parent = person->parent,
			.born_ns = person->born_ns,
			.start_ticks = person->start_ticks,
			.is_derived = person->is_derived,
			.is_kernel = person->is_kernel,
			.is_gone = person->gone_ns != 0,
			.is_read = person->is_read,
			.is_placed =
				!person->is_split && (person->is_read || is_placed(people, person)),
			.is_told = person->told == people->telling,
			.is_named = person->named_start != 0,
			.exec_ns = person->exec_told == people->telling ? 0 : person->exec_ns,
			.netns = person->netns,
			.facts = procfs_facts_ref(person->facts),
		};
	pthread_mutex_unlock(&people->lock);
	return person != NULL;
}

void watcher_people_told(struct watcher_people *people, uint32_t pid, uint64_t id)
{
	struct person *at;

	pthread_mutex_lock(&people->lock);
	for (at = youngest(people, pid); at && at->id != id; at = next_of(at->next, pid))
		;
	if (at) {
		set_told(people, at);
		at->exec_told = people->telling;
	}
	pthread_mutex_unlock(&people->lock);
}

void watcher_people_forget_told(struct watcher_people *people)
{
	pthread_mutex_lock(&people->lock);
	people->telling++;
	pthread_mutex_unlock(&people->lock);
}

uint64_t watcher_people_named_start(struct watcher_people *people, uint32_t pid, int64_t time_ns,
				    int64_t *exit_ns)
{
	uint64_t start_ticks = 0;
	struct person *person;

	pthread_mutex_lock(&people->lock);
	person = find(people, pid, pid, time_ns);
	if (person) {
		start_ticks = person->named_start;
		*exit_ns = person->exit_ns;
	}
	pthread_mutex_unlock(&people->lock);
	return start_ticks;
}

struct snap_process watcher_person_record(const struct watcher_person *person)
{
	struct snap_process record = {.uid = SNAP_UNKNOWN_UID, .ppid = person->parent};

	if (person->facts)
		record = person->facts->record;
	if (!person->is_read)
		record.ppid = person->parent;
	record.pid = person->pid;
	record.start_ticks = person->start_ticks;
	record.netns = person->netns;
	return record;
}
