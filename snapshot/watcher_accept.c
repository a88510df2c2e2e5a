/* The thread that waits for accept(), and walks all processes for what the
 * likely ones do not hold. */
#include "snapshot/watcher_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

#define NS_PER_US INT64_C(1000)
/* On loopback the handshake is over and the listener's process wakes up by
 * now; what comes after this is a server that has other things to do. */
#define SPIN_NS (100 * NS_PER_US)
/* While the other thread works on the connecting end, it may hold the processor
 * that the listener's process waits for: that time does not count. */
#define SPIN_MAX_NS (1000 * NS_PER_US)
/* Where it waits for a processor, these pauses are shorter than the time from its
 * accept() to its close(); with many ends awaited all pauses grow. */
#define BRIEF_NS       (1000 * NS_PER_US)
#define BRIEF_PAUSE_NS (20 * NS_PER_US)
#define SOON_NS	       (5000 * NS_PER_US)
#define SOON_PAUSE_NS  (60 * NS_PER_US)
#define PAUSE_MAX_NS   (50 * NS_PER_MS)
#define CROWD	       8
#define GIVE_UP_NS     (2000 * NS_PER_MS)
#define LISTENERS      256
#define LISTENER_NS    (1000 * NS_PER_MS) /* so long its inode is taken as known */
#define ACCEPTORS      4
#define CANDIDATES     64
#define WALK_STEP      8 /* processes between two looks at the clock */
#define OFFSPRING_NS   (10000 * NS_PER_MS)

/* A port that is listened on: who accepted on it last. */
struct listener {
	struct endpoint local; /* as packets have it */
	uint64_t netns;
	uint32_t inode;
	int64_t asked_ns;
	uint32_t pids[ACCEPTORS]; /* newest first; 0: none */
};

struct walk {
	bool running;
	uint32_t *pids;
	size_t count, capacity, at;
	struct watcher_lost lost[WATCHER_LOST];
	size_t lost_count;
	int64_t cost_ns; /* CPU */
};

struct accept {
	struct watcher *watcher;
	struct watcher_finder *finder;
	struct watcher_accept jobs[WATCHER_ACCEPTS];
	size_t job_count;
	struct listener listeners[LISTENERS];
	struct walk walk;
};

/* --------------------------------------------------------------- queue -- */

bool watcher_push_lost(struct watcher *watcher, const struct watcher_sighting *sighting)
{
	struct watcher_queue *queue = watcher->queue;
	uint64_t one = 1;
	bool kept = false;

	if (quantity_now_ns(CLOCK_MONOTONIC) >= atomic_load(&watcher->walk_after_ns)) {
		pthread_mutex_lock(&queue->lock);
		kept = queue->lost_count < WATCHER_LOST;
		if (kept)
			queue->lost[queue->lost_count++].sighting = *sighting;
		pthread_mutex_unlock(&queue->lock);
	}
	if (kept)
		(void)!write(queue->wake_fd, &one, sizeof(one));
	else
		watcher->config.want_poll(watcher->config.context);
	return kept;
}

static void take_queue(struct accept *accept)
{
	struct watcher_queue *queue = accept->watcher->queue;
	struct walk *walk = &accept->walk;
	uint64_t ignored;

	(void)!read(queue->wake_fd, &ignored, sizeof(ignored));
	pthread_mutex_lock(&queue->lock);
	/* A walk that runs has passed processes already: for the next one. */
	if (!walk->running && queue->lost_count) {
		memcpy(walk->lost, queue->lost, queue->lost_count * sizeof(*walk->lost));
		walk->lost_count = queue->lost_count;
		queue->lost_count = 0;
	}
	pthread_mutex_unlock(&queue->lock);
}

static void await(void *context, const struct watcher_packet *packet, bool is_last)
{
	struct accept *accept = context;
	uint64_t netns[WATCHER_HOMES];
	size_t count = watcher_homes_of(&accept->watcher->answers, packet, &packet->source, netns);

	(void)is_last;
	for (size_t i = 0; i < count; i++) {
		int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);

		if (accept->job_count == WATCHER_ACCEPTS) {
			watcher_miss(accept->watcher, WATCHER_MISSED_SHED);
			return;
		}
		accept->jobs[accept->job_count++] =
			(struct watcher_accept){.local = packet->source,
						.remote = packet->destination,
						.protocol = packet->protocol,
						.loopback = packet->loopback,
						.ifindex = packet->ifindex,
						.netns = netns[i],
						.seen_ns = now_ns,
						.due_ns = now_ns};
	}
}

/* ----------------------------------------------------------- listeners -- */

static struct listener *listener_of(struct accept *accept, const struct watcher_accept *job)
{
	struct listener *listener =
		&accept->listeners[(job->local.port ^ job->local.address.bytes[15] ^ job->netns) %
				   LISTENERS];

	if (listener->netns != job->netns || listener->local.port != job->local.port ||
	    !endpoint_equal(&listener->local.address, &job->local.address))
		*listener = (struct listener){.local = job->local, .netns = job->netns};
	return listener;
}

/* Bound to the address, to any, or to any of both families. */
static void ask_listener(struct accept *accept, const struct watcher_accept *job,
			 struct listener *listener)
{
	static const uint8_t zero[16];
	struct endpoint local = job->local, remote = {.port = 0};
	bool ipv4 = endpoint_is_ipv4(&job->local.address);
	struct snap_socket found;
	int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);

	if (listener->asked_ns && now_ns - listener->asked_ns < LISTENER_NS)
		return;
	listener->asked_ns = now_ns;
	for (unsigned way = 0; way < 3; way++) {
		if (way == 1)
			local.address = ipv4 ? endpoint_from_ipv4(zero) : endpoint_from_ipv6(zero);
		if (way == 2)
			local.address = endpoint_from_ipv6(zero);
		remote.address =
			way == 2 || !ipv4 ? endpoint_from_ipv6(zero) : endpoint_from_ipv4(zero);
		if (watcher_find_socket(accept->finder, job->netns, job->protocol, job->ifindex,
					&local, &remote, &found) == 1) {
			listener->inode = found.inode;
			return;
		}
	}
}

static size_t add_candidate(uint32_t *pids, size_t count, uint32_t pid)
{
	for (size_t i = 0; i < count; i++) {
		if (pids[i] == pid)
			return count;
	}
	if (pid && count < CANDIDATES)
		pids[count++] = pid;
	return count;
}

/* Who accepted here last, who has the listening socket, and their children. */
static size_t candidates_of(struct accept *accept, struct listener *listener,
			    uint32_t pids[CANDIDATES])
{
	struct watcher *watcher = accept->watcher;
	uint32_t more[CANDIDATES];
	size_t count = 0, found, parents;

	for (size_t i = 0; i < ACCEPTORS; i++)
		count = add_candidate(pids, count, listener->pids[i]);
	found = listener->inode ? watcher_view_holders(&watcher->view, listener->inode, more,
						       CANDIDATES / 2)
				: 0;
	for (size_t i = 0; i < found; i++)
		count = add_candidate(pids, count, more[i]);
	parents = count;
	for (size_t i = 0; i < parents; i++) {
		found = watcher_recent_list(watcher->recent,
					    quantity_now_ns(CLOCK_MONOTONIC) - OFFSPRING_NS,
					    pids[i], more, 4);
		for (size_t j = 0; j < found; j++)
			count = add_candidate(pids, count, more[j]);
	}
	return count;
}

static void remember_acceptor(struct listener *listener, uint32_t pid)
{
	size_t at = 0;

	while (at < ACCEPTORS - 1 && listener->pids[at] != pid)
		at++;
	memmove(listener->pids + 1, listener->pids, at * sizeof(*listener->pids));
	listener->pids[0] = pid;
}

/* ---------------------------------------------------------------- jobs -- */

static bool may_be_accepted(uint8_t state)
{
	return state == SNAP_SYN_RECV || state == SNAP_NEW_SYN_RECV || state == SNAP_ESTABLISHED ||
	       state == SNAP_CLOSE_WAIT;
}

/* True when nothing more is to be awaited. */
static bool try_accept(struct accept *accept, struct watcher_accept *job)
{
	struct listener *listener = listener_of(accept, job);
	struct watcher *watcher = accept->watcher;
	uint32_t pids[CANDIDATES];
	struct watcher_sighting sighting;
	bool found, was_seen;
	size_t count;
	int result;

	watcher_begin(&sighting, "accept");
	result = watcher_find_socket(accept->finder, job->netns, job->protocol, job->ifindex,
				     &job->local, &job->remote, &sighting.socket);
	if (result < 0) {
		watcher->config.want_poll(watcher->config.context);
		return true;
	}
	if (result == 0 || !sighting.socket.inode) {
		ask_listener(accept, job, listener);
		/* One that was there and is not, or that closes, was accepted already. */
		was_seen = job->was_seen;
		job->was_seen = result == 1;
		return result == 1 ? !may_be_accepted(sighting.socket.state) : was_seen;
	}
	/* A server that closes at once leaves no time to think. */
	found = watcher_find_in(accept->finder, listener->pids[0], &sighting);
	watcher_recent_drain(watcher->recent);
	ask_listener(accept, job, listener);
	count = found ? 0 : candidates_of(accept, listener, pids);
	if (found)
		watcher_find_sharers(accept->finder, &sighting);
	else
		found = watcher_find_holder(accept->finder, &sighting, pids, count);
	if (found)
		remember_acceptor(listener, sighting.holders[0].pid);
	else if (watcher_push_lost(watcher, &sighting))
		return true;
	watcher_tell(accept->finder, &sighting, accept->job_count <= 1);
	return true;
}

static int64_t pause_ns(const struct accept *accept, const struct watcher_accept *job,
			int64_t age_ns)
{
	int64_t look_end_ns = atomic_load(&accept->watcher->look_end_ns);
	int64_t crowd = 1 + (int64_t)accept->job_count / CROWD;
	bool wait = look_end_ns == INT64_MAX || job->seen_ns + age_ns - look_end_ns < SPIN_NS;

	if (job->loopback && (age_ns < SPIN_NS || (wait && age_ns < SPIN_MAX_NS)))
		return 0;
	if (job->loopback && age_ns < BRIEF_NS)
		return crowd * BRIEF_PAUSE_NS;
	if ((job->loopback && age_ns < SOON_NS) || age_ns / 4 < SOON_PAUSE_NS)
		return crowd * SOON_PAUSE_NS;
	return age_ns / 4 > PAUSE_MAX_NS ? PAUSE_MAX_NS : age_ns / 4;
}

/* One try for each job that is due; when the next one is. */
static int64_t run_jobs(struct accept *accept)
{
	int64_t next_ns = INT64_MAX;

	for (size_t i = 0; i < accept->job_count;) {
		struct watcher_accept *job = &accept->jobs[i];
		int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);

		if (job->due_ns <= now_ns) {
			if (now_ns - job->seen_ns > GIVE_UP_NS || try_accept(accept, job)) {
				*job = accept->jobs[--accept->job_count];
				continue;
			}
			now_ns = quantity_now_ns(CLOCK_MONOTONIC);
			job->due_ns = now_ns + pause_ns(accept, job, now_ns - job->seen_ns);
		}
		if (job->due_ns < next_ns)
			next_ns = job->due_ns;
		i++;
	}
	return next_ns;
}

/* ---------------------------------------------------------------- walk -- */

static int list_processes(struct accept *accept, struct walk *walk)
{
	int fd = openat(accept->watcher->config.proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	walk->count = walk->at = 0;
	if (!directory) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((entry = readdir(directory)) != NULL) {
		uint64_t pid;
		const char *end;
		uint32_t *grown;

		if (!procfs_parse_number(entry->d_name, UINT32_MAX, &pid, &end) || *end)
			continue;
		grown = procfs_grow(walk->pids, &walk->capacity, walk->count + 1, sizeof(*grown));
		if (!grown)
			break;
		walk->pids = grown;
		walk->pids[walk->count++] = (uint32_t)pid;
	}
	closedir(directory);
	return 0;
}

static int64_t price_ns(const struct accept *accept)
{
	uint32_t ppm = accept->watcher->config.cpu_budget_ppm;

	return (int64_t)((double)accept->walk.cost_ns * 1e6 / (ppm ? ppm : 1));
}

static void end_walk(struct accept *accept)
{
	struct walk *walk = &accept->walk;

	/* A socket alone says which user it is of. */
	for (size_t i = 0; i < walk->lost_count; i++)
		watcher_tell(accept->finder, &walk->lost[i].sighting, true);
	walk->lost_count = 0;
	walk->running = false;
	atomic_store(&accept->watcher->walk_after_ns,
		     quantity_now_ns(CLOCK_MONOTONIC) + price_ns(accept));
}

/* Some processes, newest first: pids grow. */
static void step_walk(struct accept *accept)
{
	struct walk *walk = &accept->walk;
	int64_t cpu_ns = quantity_now_ns(CLOCK_THREAD_CPUTIME_ID);
	size_t left = 0;

	for (size_t i = 0; i < walk->lost_count; i++)
		left += walk->lost[i].sighting.holder_count == 0;
	if (!walk->running) {
		walk->running = true;
		atomic_store(&accept->watcher->walk_after_ns, INT64_MAX);
		walk->cost_ns = 0;
		if (list_processes(accept, walk))
			walk->count = 0;
	}
	for (unsigned i = 0; i < WALK_STEP && walk->at < walk->count && left; i++)
		left -= watcher_find_all(accept->finder, walk->pids[walk->count - 1 - walk->at++],
					 walk->lost, walk->lost_count);
	walk->cost_ns += quantity_now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	if (walk->at == walk->count || !left)
		end_walk(accept);
}

/* ---------------------------------------------------------------- loop -- */

static void run(struct accept *accept)
{
	struct watcher *watcher = accept->watcher;
	struct pollfd ready[3] = {{.fd = watcher->queue->wake_fd, .events = POLLIN},
				  {.fd = watcher->stop_fd, .events = POLLIN},
				  {.fd = watcher->answers.fd, .events = POLLIN}};
	int64_t next_ns = INT64_MAX;

	for (;;) {
		int64_t left_ns = next_ns - quantity_now_ns(CLOCK_MONOTONIC);
		struct timespec pause = {0};

		if (accept->walk.lost_count || left_ns < 0)
			left_ns = 0;
		else if (left_ns > WATCHER_KEEP_MS * NS_PER_MS)
			left_ns = WATCHER_KEEP_MS * NS_PER_MS;
		pause.tv_sec = left_ns / (1000 * NS_PER_MS);
		pause.tv_nsec = left_ns % (1000 * NS_PER_MS);
		ppoll(ready, 3, &pause, NULL);
		if (ready[1].revents)
			return;
		if (ready[0].revents)
			take_queue(accept);
		if (ready[2].revents)
			watcher_intake_take(&watcher->answers, await, accept);
		next_ns = run_jobs(accept);
		if (accept->walk.lost_count) {
			step_walk(accept);
			if (!accept->walk.lost_count)
				take_queue(accept); /* what came while it ran */
		} else if (accept->job_count == 0) {
			watcher_describe_deferred(accept->finder);
		}
		watcher_intake_keep(&watcher->answers);
	}
}

void *watcher_accept_thread(void *context)
{
	struct watcher *watcher = context;
	struct accept *accept = calloc(1, sizeof(*accept));

	if (!accept)
		return NULL;
	accept->watcher = watcher;
	accept->finder = &watcher->accept;
	prctl(PR_SET_TIMERSLACK, NS_PER_US); /* pauses as long as asked for */
	run(accept);
	if (accept->walk.lost_count)
		end_walk(accept);
	watcher_describe_deferred(accept->finder);
	free(accept->walk.pids);
	free(accept);
	return NULL;
}
