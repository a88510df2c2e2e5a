/*
 * watcher_internal.h - what the watcher's threads share, and how they look for
 * holders. Included by snapshot/watcher*.c and their tests only.
 *
 * Locks are held for some microseconds and never two at a time, but for a
 * namespace's own inside the view's.
 */
#ifndef SNAPSHOT_WATCHER_INTERNAL_H
#define SNAPSHOT_WATCHER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "snapshot/procevent.h"
#include "snapshot/procfs.h"
#include "snapshot/sockdiag.h"
#include "snapshot/tracepoint.h"
#include "snapshot/watcher.h"
#include "snapshot/watcher_people.h"
#include "snapshot/watcher_tuples.h"
#include "snapshot/watcher_uses.h"

/* ---------------------------------------------- recently started ones -- */

#define WATCHER_RECENT	     4096 /* forks; a power of two */
#define WATCHER_RECENT_INDEX 8192

struct watcher_fork {
	uint32_t pid, parent;
	int64_t born_ns; /* CLOCK_MONOTONIC */
	bool gone;
};

struct watcher_recent {
	pthread_mutex_t lock;
	struct procevent_source *source; /* NULL: no process events */
	struct watcher_fork ring[WATCHER_RECENT];
	uint64_t count;			      /* ever */
	uint32_t index[WATCHER_RECENT_INDEX]; /* pid -> slot + 1, the last of those that collide */
};

/* Takes what the kernel has for us. */
void watcher_recent_drain(struct watcher_recent *recent);
/* Living ones, newest first, born at since_ns or later; parent: 0 for all. */
size_t watcher_recent_list(struct watcher_recent *recent, int64_t since_ns, uint32_t parent,
			   uint32_t *pids, size_t max);

/* ---------------------------------------------------- said and unsaid -- */

#define WATCHER_SAID 32768

/* Processes whose start is known, and whether their facts stand in a frame
 * since their last exec. */
struct watcher_said {
	pthread_mutex_t lock;
	struct {
		uint32_t pid;
		bool has_facts;
		uint64_t start_ticks;
	} items[WATCHER_SAID]; /* by pid; the later one of two that collide */
};

/* ------------------------------------------------------ closes' inodes -- */

#define WATCHER_COOKIES 65536

struct watcher_cookies {
	pthread_mutex_t lock;
	struct {
		uint64_t cookie, netns;
		uint32_t inode;
		int64_t found_ns; /* CLOCK_MONOTONIC, with a holder; 0: without */
	} items[WATCHER_COOKIES]; /* by cookie; the later one of two that collide */
};

/* ---------------------------------------------------- what polls teach -- */

#define WATCHER_NAMESPACES 256

struct watcher_holding { /* of listening and unconnected sockets */
	uint32_t inode, pid;
};

struct watcher_process {
	uint32_t pid;
	uint64_t start_ticks;
};

struct watcher_home { /* of an address that is not loopback */
	struct endpoint_address address;
	uint64_t netns;
};

struct watcher_namespace {
	uint64_t netns;
	bool present; /* in the last poll */
	struct sockdiag *diag;
	pthread_mutex_t lock; /* of diag */
};

struct watcher_view {
	pthread_rwlock_t lock;
	struct watcher_holding *holdings; /* sorted */
	size_t holding_count;
	struct watcher_process *processes; /* by pid */
	size_t process_count;
	struct watcher_home *homes; /* by address */
	size_t home_count;
	bool may_not_enter; /* the poll thread's own */
	struct watcher_namespace *namespaces[WATCHER_NAMESPACES];
	size_t namespace_count;
};

void watcher_view_init(struct watcher_view *view);
void watcher_view_release(struct watcher_view *view);
/* From the poll's thread. True when there are other namespaces to look into. */
bool watcher_view_learn(struct watcher_view *view, int proc_fd, const struct pollstate *state,
			uint64_t capture_netns);
size_t watcher_view_holders(struct watcher_view *view, uint32_t inode, uint32_t *pids, size_t max);
uint64_t watcher_view_start(struct watcher_view *view, uint32_t pid); /* 0: not known */
/* Namespaces that have the address. */
size_t watcher_view_homes(struct watcher_view *view, const struct endpoint_address *address,
			  uint64_t *netns, size_t max);

/* -------------------------------------------------------------- finder -- */

#define WATCHER_HINTS	 64 /* a descriptor each */
#define WATCHER_FOUND	 16
#define WATCHER_DEFERRED 256

/* A process that a socket was found in, and at which descriptor. Its directory
 * stays that process's when the number is another's. */
struct watcher_hint {
	uint32_t pid, fd; /* pid 0: none */
	int dir;	  /* of /proc/PID */
	struct procfs_stat stat;
};

/* Which process to describe once there is time. */
struct watcher_deferred {
	struct procfs_stat stat;
	const char *cause;
};

/* One thread's way to find sockets and holders. */
struct watcher_finder {
	struct watcher *watcher;
	struct sockdiag *diag;
	struct procfs_walk scratch; /* its buffers only */
	char *listing;
	uint32_t *fds;
	size_t fd_capacity;
	struct watcher_hint hints[WATCHER_HINTS]; /* by pid; the later one of two that collide */
	struct {
		uint32_t pid, uid;
	} found[WATCHER_FOUND]; /* last holders, newest at found_next - 1 */
	size_t found_next;
	struct watcher_deferred deferred[WATCHER_DEFERRED];
	size_t deferred_count;
};

/* A socket seen, to be told in one frame. */
struct watcher_sighting {
	const char *cause;
	int64_t begin_ns, monotonic_ns, boot_ns;
	struct snap_socket socket;
	struct snap_holder holders[8];
	struct procfs_stat stats[8]; /* of the holders */
	size_t holder_count;
};

int watcher_finder_init(struct watcher_finder *finder, struct watcher *watcher,
			struct error *error);
void watcher_finder_release(struct watcher_finder *finder);

/* Now is the time that the sighting begins. */
void watcher_begin(struct watcher_sighting *sighting, const char *cause);
/* By the exact tuple in netns; for UDP whichever socket takes the packets. 1, 0,
 * or negative: the kernel could not answer. */
int watcher_find_socket(struct watcher_finder *finder, uint64_t netns, uint8_t protocol,
			uint32_t ifindex, const struct endpoint *local,
			const struct endpoint *remote, struct snap_socket *out);
/* Holder of the sighting's inode in process pid: true and appended if it has it
 * and is not among them yet. */
bool watcher_find_in(struct watcher_finder *finder, uint32_t pid,
		     struct watcher_sighting *sighting);
/* Those of the lost ones that process pid holds: appended to them. How many had
 * no holder before. */
struct watcher_lost;
size_t watcher_find_all(struct watcher_finder *finder, uint32_t pid, struct watcher_lost *lost,
			size_t count);
/* In the likeliest processes, best first: first (given), recent ones, last holders. */
bool watcher_find_holder(struct watcher_finder *finder, struct watcher_sighting *sighting,
			 const uint32_t *first, size_t first_count);
/* Who else may have it: its first holder's parent and children. */
void watcher_find_sharers(struct watcher_finder *finder, struct watcher_sighting *sighting);
/* Submits the frame; facts of holders that are not told yet: at once if now,
 * else by watcher_describe_deferred. */
void watcher_tell(struct watcher_finder *finder, struct watcher_sighting *sighting, bool now);
void watcher_describe_deferred(struct watcher_finder *finder);

/* Facts of a living process. NULL: gone, or a kernel thread. One reference. */
struct procfs_facts *watcher_read_facts(struct watcher_finder *finder, uint32_t pid);
/* After an exec: what was told is not true any more. */
void watcher_unsay(struct watcher *watcher, uint32_t pid);
void watcher_say(struct watcher *watcher, uint32_t pid, uint64_t start_ticks, bool has_facts);
/* Start of pid, known to have begun no later than boot_ns; 0: not known. */
uint64_t watcher_said_start(struct watcher *watcher, uint32_t pid, int64_t boot_ns);

/* -------------------------------------------------------------- accept -- */

#define WATCHER_ACCEPTS 4096 /* ends that are awaited */

struct watcher_accept {
	struct endpoint local, remote;
	uint8_t protocol;
	bool loopback, was_seen;
	uint32_t ifindex;
	uint64_t netns;
	int64_t seen_ns, due_ns; /* CLOCK_MONOTONIC */
};

/* A socket without a holder among the candidates, for the next walk. */
struct watcher_lost {
	struct watcher_sighting sighting;
};

#define WATCHER_LOST 64

struct watcher_queue { /* from look to accept */
	pthread_mutex_t lock;
	int wake_fd;
	struct watcher_lost lost[WATCHER_LOST];
	size_t lost_count;
};

/* False: too many wait, or no walk is allowed yet; nothing is kept. */
bool watcher_push_lost(struct watcher *watcher, const struct watcher_sighting *sighting);

/* ------------------------------------------------------------- watcher -- */

#define WATCHER_BATCH 64

/* The packets of one thread. Two of them, so that both ends of a connection
 * are looked at at the same moment. */
struct watcher_intake {
	struct watcher *watcher;
	int fd;
	struct watcher_filter filter;
	struct watcher_tuples *tuples;
	struct watcher_rates *rates;
	struct mmsghdr *messages;
	struct iovec *vectors;
	struct sockaddr_ll *from;
	uint8_t (*bytes)[WATCHER_TAP_SNAPLEN];
	int64_t kept_ns;
};

int watcher_intake_open(struct watcher_intake *intake, struct watcher *watcher, unsigned ifindex,
			struct error *error);
void watcher_intake_release(struct watcher_intake *intake);
/* Takes all that waits; calls first for the first packet of each conversation;
 * is_last: no further packet is known. */
void watcher_intake_take(struct watcher_intake *intake,
			 void (*first)(void *context, const struct watcher_packet *packet,
				       bool is_last),
			 void *context);
/* Every now and then: ends exclusions, counts what was dropped. */
#define WATCHER_KEEP_MS 250
void watcher_intake_keep(struct watcher_intake *intake);

/* Namespaces whose socket an end may be: the capture's where the link layer
 * says so, and each other one that has the address. */
#define WATCHER_HOMES 5
size_t watcher_homes_of(struct watcher_intake *intake, const struct watcher_packet *packet,
			const struct endpoint *end, uint64_t netns[WATCHER_HOMES]);

/* What was left out since it was told last; bits of watcher.missed. */
enum watcher_missed {
	WATCHER_MISSED_PROCESSES = 1,
	WATCHER_MISSED_CLOSES = 2,
	WATCHER_MISSED_CLOSES_SHED = 4,
	WATCHER_MISSED_SHED = 8,    /* packets */
	WATCHER_MISSED_BUFFER = 16, /* packets: the socket's buffer was full */
	WATCHER_MISSED_FRAMES = 32, /* too many waited for the disk */
};

struct watcher {
	struct watcher_config config;
	/* With tracepoints: no packet is looked at, so there are neither calls and
	 * answers nor their finders. Else NULL. */
	struct tracepoint_source *tracepoints;
	struct watcher_people *people;
	struct watcher_trace *trace;
	struct watcher_finder reader;  /* trace's own, to read facts */
	_Atomic int64_t told_until_ns; /* CLOCK_MONOTONIC: until then all uses are told */
	/* What is asked of trace, which ask_fd wakes. */
	_Atomic int64_t flush_ns; /* CLOCK_MONOTONIC: to be told until then; 0: nothing */
	int ask_fd;
	atomic_bool restate_wanted, foreign;
	pthread_mutex_t told_lock;
	pthread_cond_t told; /* told_until_ns has reached flush_ns; CLOCK_MONOTONIC */
	char status[WATCHER_STATUS_SIZE];
	uint64_t netns; /* of the capture */
	int64_t tick_ns;
	int stop_fd;
	int drained_fd; /* process goes on until the tracepoints are drained; -1: there are none */
	struct watcher_intake calls, answers;	/* look's own, and accept's own */
	struct sockdiag_close_listener *closes; /* process's own */
	struct procevent_source *processes;
	struct watcher_finder look, accept, process;
	struct watcher_recent *recent;
	struct watcher_said *said;
	struct watcher_cookies *cookies;
	struct watcher_queue *queue;
	struct watcher_view view;
	_Atomic int64_t walk_after_ns; /* CLOCK_MONOTONIC */
	_Atomic int64_t
		look_end_ns; /* CLOCK_MONOTONIC: look was busy until then; INT64_MAX: it is */
	atomic_uint missed;
	pthread_t threads[3];
	unsigned thread_count;
	bool stopped;
	int nice; /* as it was before it was raised */
	bool is_raised;
};

void watcher_submit(struct watcher *watcher, struct snapframe *frame);
void watcher_miss(struct watcher *watcher, enum watcher_missed what);

void *watcher_look_thread(void *watcher);
void *watcher_accept_thread(void *watcher);
void *watcher_process_thread(void *watcher);
/* With watcher->tracepoints and people. 0 or ERROR_MEMORY. */
int watcher_trace_open(struct watcher *watcher, struct error *error);
void watcher_trace_close(struct watcher_trace *trace); /* NULL works */
void *watcher_trace_thread(void *watcher);

#endif
