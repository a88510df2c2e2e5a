/*
 * timeline.h - the frames of one segment as lifetimes: sockets, the processes
 * that hold them, and the host's addresses, each with its first and last sighting.
 *
 * Says what was seen and when. Never decides who owns a packet (bridge.h).
 * Everything is an index into an array, so that results can be handed to
 * another thread; strings live in the timeline.
 */
#ifndef ANALYZE_TIMELINE_H
#define ANALYZE_TIMELINE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/hashindex.h"
#include "snapshot/format/endpoint.h"
#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"

#define TIMELINE_NONE UINT32_MAX

/* Of one segment's snapshots. A header of 16 MiB would hold arguments of the
 * largest size a kernel takes eight times over; a host with 100,000 processes
 * and command lines of 4 KiB has texts of 400 MiB. */
#define TIMELINE_MAX_META (UINT64_C(16) << 20)
#define TIMELINE_MAX_TEXT (UINT64_C(1) << 30)

struct timeline_frame {
	uint64_t sequence, line;
	enum snap_kind kind;
	bool restated; /* a key frame that repeats an earlier reading */
	const char *cause;
	int64_t begin_ns, end_ns;
	int64_t monotonic_ns, boot_ns;
	uint32_t sockets, processes; /* in the state after this frame */
};

/* What has a life. */
enum timeline_kind {
	TIMELINE_SOCKET,
	TIMELINE_IMAGE,
	TIMELINE_HOLDER,
	TIMELINE_ADDRESS,
	TIMELINE_INTERFACE,
	TIMELINE_KINDS
};

/* When something was in the state. All are frame numbers. */
struct timeline_life {
	uint32_t first;		/* first sighting */
	uint32_t last;		/* last sighting */
	uint32_t absent_before; /* last frame before first that read all and had it not; NONE: none
				 */
	uint32_t gone; /* the frame that first had it no more; NONE: still there at the end */
	bool state;    /* while read: part of the state that polls take differences from */
	bool listed;   /* while read: among those that a key frame may end */
};

struct timeline_socket {
	struct timeline_life life;
	uint64_t netns;
	enum snap_table table;
	uint8_t protocol; /* IPPROTO; IPPROTO_RAW for raw (local.port is what it takes), 0 for
			     packet sockets */
	uint8_t state;	  /* as last seen */
	bool connected;	  /* has a remote address and port */
	struct endpoint local, remote;
	uint32_t uid, inode;
	uint64_t cookie;
	uint32_t next_tuple;	   /* next lifetime of the same tuple, in order of first sighting */
	uint32_t next_port;	   /* unconnected: next of the same protocol and local end */
	uint32_t tail;		   /* of the chain, in its first member only */
	struct snap_closed closed; /* closed_ns 0: no close event */
	uint32_t close;		   /* private: which one of closes that is */

	/* Told by its uses (inode 0) instead of read from /proc: only on the chain of
	 * timeline_told. The other one is the same socket as readings had it; NONE. */
	int64_t opened_ns; /* 0: read, not told */
	uint32_t other;
	uint32_t first_use, last_use;
	uint32_t users;	 /* processes that used it */
	uint32_t closer; /* the process that shut it, if that was told of; NONE */
	/* private: where the arrays in order have what is the socket's */
	uint32_t turns_at, turn_count, users_at;
	uint32_t several_at;		/* the first of its turns after which there were too many */
	uint64_t several_from_bytes[2]; /* and the place from which that holds; [1]: sent */
	uint32_t lifetimes_at, lifetime_count; /* of the tuple, in its first member only */
};

/* The kernel's word that a process used a socket, and every use until the next
 * one was the same process's. */
struct timeline_use {
	uint32_t frame, process;
	/* Of the same socket, in order of time; of a way's first datagram: how many
	 * the way has. */
	uint32_t next;
	enum snap_act act;
	int64_t at_ns;
	int64_t previous_ns; /* last use by who used it before; 0: nobody did, or not known */
	uint64_t netns;	     /* 0: not known */
	/* Streams: what had gone through before it; SNAP_UNKNOWN_BYTES. */
	uint64_t sent_bytes, received_bytes;
	/* Datagrams only; the local address may be any. A send of one without ports is a call
	 * that looked up its way at looked_ns, ended at at_ns, and sent sent_bytes. Of a port
	 * alone looked_ns tells its sockets apart; 0: not known. */
	uint8_t protocol;
	struct endpoint local, remote;
	uint32_t tid;
	int64_t looked_ns;
};

/* A use by which somebody took a stream over (all but SNAP_SHUT), in order of time. Places are
 * those in the stream of one direction, [1]: sent; others are turns of the same socket, by number.
 */
struct timeline_turn {
	uint32_t use;
	/* Of those with a place: the last one before, of another process than this one and those
	 * between; NONE. */
	uint32_t other[2];
	/* Of those without one that follow at once: the first of another process; NONE. */
	uint32_t unplaced[2];
	uint64_t least_bytes[2]; /* the least place of this one and all later ones */
};

/* The uses of one way of datagrams: (protocol, local port, remote). */
struct timeline_way {
	const uint32_t *uses; /* in order of time */
	size_t count;
};

/* What a use of a way without ports has around it: places in the way. */
struct timeline_call {
	uint32_t next_send; /* the next call's end that its task is told to have had; NONE */
	uint32_t several;   /* the latest, itself included, after which not all was told; NONE */
	int64_t looked_ns;  /* the earliest look-up of the calls that end with it or later, each
			       TIMELINE_CALL_NS before its end at the earliest */
};

/* No call that sends an echo lasts longer: it waits for nobody. */
#define TIMELINE_CALL_NS INT64_C(1000000000)

/* One program image of one process. */
struct timeline_image {
	struct timeline_life life;
	uint32_t process;
	uint32_t next; /* the image after the next exec; NONE: the last */
	uint32_t ppid, uid;
	const char *comm, *exe, *cmdline, *cgroup; /* NULL: not known */
	size_t cmdline_length;
	uint64_t netns;
	int64_t since_ns; /* its exec; where that was not told, when it was first read;
			     INT64_MIN: from the process's beginning */
};

/* The kernel's word that a process executed a program. */
struct timeline_exec {
	uint32_t process;
	int64_t at_ns;
};

/* Of time: until is not part of it. INT64_MIN and INT64_MAX: without an end. */
struct timeline_stretch {
	int64_t from_ns, until_ns;
};

struct timeline_fork {
	uint32_t parent; /* pid */
	int64_t born_ns;
};

struct timeline_process {
	uint32_t pid;
	uint64_t start_ticks;
	int64_t start_ns;		  /* Unix time, to the clock tick; INT64_MIN: not known */
	uint32_t first_image, last_image; /* NONE: only its descriptors were seen */
	int64_t born_ns;		  /* the fork that was told last; 0: not known */
	int64_t born_monotonic_ns;	  /* the same by CLOCK_MONOTONIC */
	int64_t first_fork_ns, last_fork_ns; /* of those that were told */
	uint32_t parent;		     /* pid, of who forked it; 0: the fork was not told */
	/* Two processes had this pid within one clock tick: two forks were told, or an act or an
	 * end before the only one that was. All else names a process by pid and start in ticks,
	 * which both have, so this stands for the two of them: it may be there from the first fork
	 * on, has surely ended only by an end after the last one, may be the child of either
	 * parent, and is named for no packet. */
	bool forked_twice;
	/* Known by its fork alone, whose start is one too high: a reading has that process under
	 * this number, and all that was told of it; NONE: this is one of its own. */
	uint32_t same_as;
	bool exit_known;
	int32_t exit_code;
	int64_t exit_ns;		 /* 0: not known */
	uint32_t images_at, image_count; /* private: in images_in_order */
	uint32_t born_frame;		 /* private: that told born_ns; while it is read */
};

struct timeline_holder {
	struct timeline_life life;
	uint32_t inode, process, fd, tid;
	uint32_t next_inode; /* next holder of the same inode, in order of first sighting */
	uint32_t tail;	     /* of the chain, in its first member only */
};

struct timeline_address {
	struct timeline_life life;
	uint64_t netns;
	uint32_t ifindex;
	struct endpoint_address address;
	uint8_t prefix_length;
	uint32_t next_address; /* next record of the same address */
	uint32_t tail;	       /* of the chain, in its first member only */
};

struct timeline_interface {
	struct timeline_life life;
	uint64_t netns;
	uint32_t ifindex, hardware_type;
	const char *name;
};

/* Something missing, for the coverage table. */
struct timeline_absence {
	uint32_t frame, until; /* until: NONE while it lasts to the end */
	const char *what, *subject, *reason;
	uint64_t netns;
	uint32_t pid;
	uint32_t before; /* while read: one like it that lasts too; NONE */
};

struct timeline_step {
	uint32_t frame;
	int64_t step_ns, suspend_ns;
};

struct timeline_meta {
	const char *key, *value; /* value: NULL where not known */
	size_t value_length;	 /* argv holds NULs between arguments */
};

/* Of an array of the timeline. */
struct timeline_places {
	const uint32_t *places;
	size_t count;
};

struct timeline_array_counts {
	size_t frames, sockets, images, processes, holders, addresses, interfaces, absences, steps,
		metas, uses, closes, execs;
};

struct timeline {
	struct timeline_frame *frames;
	struct timeline_socket *sockets;
	struct timeline_image *images;
	struct timeline_process *processes;
	struct timeline_holder *holders;
	struct timeline_address *addresses;
	struct timeline_interface *interfaces;
	struct timeline_absence *absences;
	struct timeline_step *steps;
	struct timeline_meta *metas;
	struct timeline_use *uses;
	struct timeline_exec *execs; /* by process and time */
	struct snap_closed *closes;
	struct timeline_array_counts count, capacity;

	struct snap_capture capture_first,
		capture_last; /* counters of the first and last frame with them */
	bool has_capture;
	uint64_t capture_netns; /* the namespace that was captured in; 0: not known */
	int64_t clock_ticks;
	bool sends_untold;     /* the kernel does not tell who sends on a stream (before 6.3) */
	int64_t told_until_ns; /* what the kernel told is complete up to here, but for untold */
	uint64_t unknown_records;
	uint32_t unreadable; /* processes whose descriptors could not be read, at any time */

	/* What lies before the first and after the last complete reading is not
	 * bracketed: readings began at these times. INT64_MAX and INT64_MIN without any. */
	int64_t first_full_ns, last_full_ns;

	/* private */
	uint64_t text_bytes; /* kept so far */
	struct hashindex by_identity, by_tuple, by_port, by_process, by_inode, by_address;
	struct hashindex by_told, by_opening, by_way; /* by_way: to places in datagrams */
	uint32_t *lifetimes;			      /* of connected sockets, by tuple and time */
	struct timeline_turn *turns;		      /* by socket and time */
	uint32_t *users;			      /* processes, by socket */
	uint32_t *by_pid;			      /* processes, by pid and start */
	uint32_t *images_in_order;		      /* by process and time */
	struct timeline_fork *forks;		      /* all, by parent and time */
	size_t fork_count, fork_capacity;
	uint32_t *closes_in_order; /* of datagram sockets, by protocol, port, peer and time */
	size_t closes_in_order_count;
	uint32_t *untold_closes; /* of streams that are no told sockets', by tuple and time */
	size_t untold_close_count;
	uint32_t *datagrams; /* their uses, by way and time */
	size_t datagram_count;
	struct timeline_call *calls;   /* of the same */
	struct timeline_block *blocks; /* of the strings */
	uint32_t last_full;
	uint32_t *full;			   /* the key and poll frames, in order */
	struct timeline_stretch *doubtful; /* where the clock went back */
	size_t doubtful_count, doubtful_capacity;
	struct timeline_untold { /* where uses may be missing */
		struct timeline_stretch *stretches;
		size_t count, capacity;
	} untold[2]; /* of streams: true, of datagrams: false */
	size_t full_count, full_capacity;
	struct hashindex by_holding, by_place, by_home, by_interface, by_absence;
	struct timeline_sighting *sightings; /* by events, until a full reading settles them: a
						heap, the first to be settled on top */
	size_t sighting_count, sighting_capacity;
	struct timeline_open { /* what a key frame may end */
		uint32_t *places;
		size_t count, capacity;
	} open[TIMELINE_KINDS];
	uint32_t *full_by_end; /* of the full readings those that no later one ended before */
	size_t full_by_end_count, full_by_end_capacity;
};

/* Reads all frames of one snapshot file. Damage: what precedes it is in the
 * timeline, and ERROR_DAMAGED is returned with its place; the timeline is
 * usable (may be empty). Other failures: the timeline is empty. stop: given up
 * when it is set (ERROR_INTERRUPTED); NULL: never. */
int timeline_read(struct snapfile_reader *reader, const volatile sig_atomic_t *stop,
		  struct timeline *out, struct error *error);
void timeline_init(struct timeline *timeline); /* empty: a capture without snapshots */
void timeline_release(struct timeline *timeline);

/* NULL: not there, or not known. length may be NULL. */
const char *timeline_meta(const struct timeline *timeline, const char *key, size_t *length);

/* Chains: the first lifetime of a connected tuple, of the unconnected sockets
 * of a local end, of the holders of an inode, of an address; NONE if there is none. */
uint32_t timeline_by_tuple(const struct timeline *timeline, uint8_t protocol,
			   const struct endpoint *local, const struct endpoint *remote);
uint32_t timeline_by_port(const struct timeline *timeline, uint8_t protocol,
			  const struct endpoint *local);
uint32_t timeline_holders(const struct timeline *timeline, uint32_t inode);
uint32_t timeline_by_address(const struct timeline *timeline,
			     const struct endpoint_address *address);

/* Whether a namespace was ever seen to have an address. */
bool timeline_has_address(const struct timeline *timeline, const struct endpoint_address *address,
			  uint64_t netns);

/* The first told lifetime of a tuple. */
uint32_t timeline_told(const struct timeline *timeline, uint8_t protocol,
		       const struct endpoint *local, const struct endpoint *remote);
/* All lifetimes of a tuple, from its first one; none for NONE. In order of when they began: a told
 * one with its opening, else with the first reading that had it. */
struct timeline_places timeline_lifetimes(const struct timeline *timeline, uint32_t head);
/* How many of them had begun by t. */
size_t timeline_lifetimes_begun(const struct timeline *timeline,
				const struct timeline_places *lifetimes, int64_t t_ns);
/* Whether the kernel told that process used a told lifetime, and not only shut it. */
bool timeline_used_by(const struct timeline *timeline, uint32_t socket, uint32_t process);
/* A turn's place in the stream; SNAP_UNKNOWN_BYTES. */
uint64_t timeline_position(const struct timeline_use *use, bool sent);
/* The uses of a way; count 0: none was told. Of local the port counts; its address
 * and namespace are the caller's to compare. */
struct timeline_way timeline_way(const struct timeline *timeline, uint8_t protocol,
				 const struct endpoint *local, const struct endpoint *remote);
/* Of the uses of a way without ports, one for each. */
const struct timeline_call *timeline_calls(const struct timeline *timeline,
					   const struct timeline_way *way);
/* The first fork of process after from, told or read; INT64_MAX: none. */
int64_t timeline_next_fork(const struct timeline *timeline, uint32_t process, int64_t from_ns);
/* Whether process forked in (from, until], and the child may use what it inherited. */
bool timeline_forked(const struct timeline *timeline, uint32_t process, int64_t from_ns,
		     int64_t until_ns);
/* Whether a stream of a told one's tuple and namespace, but of no told one, closed in
 * (from, until]. */
bool timeline_closed_untold(const struct timeline *timeline, uint32_t socket, int64_t from_ns,
			    int64_t until_ns);
/* How many sockets with the local port closed in (from, until], in the capture's namespace:
 * of this address, or of any; with this peer, or without one. */
size_t timeline_closed(const struct timeline *timeline, uint8_t protocol,
		       const struct endpoint *local, const struct endpoint *remote, int64_t from_ns,
		       int64_t until_ns);

/* Whether a use between the two times, both included, may not have been told. */
bool timeline_untold(const struct timeline *timeline, bool streams, int64_t from_ns,
		     int64_t until_ns);

/* The stretch around t in which all was told, or nothing was sure to be. */
struct timeline_stretch timeline_told_stretch(const struct timeline *timeline, bool streams,
					      int64_t t_ns);

/* The told lifetime of a socket, itself or the other one; NONE: only read. */
uint32_t timeline_told_of(const struct timeline *timeline, uint32_t socket);
/* From when on a socket is known to be: its opening if that was told, else the
 * end of the first reading that had it. */
int64_t timeline_known_ns(const struct timeline *timeline, uint32_t socket);

/* When a process was there first: to the tick, or exactly where its fork was told.
 * surely: by then it certainly was. INT64_MIN: not known. */
int64_t timeline_began(const struct timeline *timeline, uint32_t process, bool surely);

/* The latest process of that pid that had started by then; NONE. */
uint32_t timeline_process_of(const struct timeline *timeline, uint32_t pid, uint64_t until_ticks);
/* Whether who forked a process, and ran the same program, is known to have ended by then. */
bool timeline_orphaned(const struct timeline *timeline, uint32_t process, int64_t by_ns);

/* The latest key or poll frame whose reading had ended by t; NONE: none. */
uint32_t timeline_full_at(const struct timeline *timeline, int64_t t_ns);
/* How many readings of such frames had ended by t. */
size_t timeline_fulls_until(const struct timeline *timeline, int64_t t_ns);
/* How many such frames lie between two, themselves included. */
size_t timeline_fulls_between(const struct timeline *timeline, uint32_t first, uint32_t last);
/* From a frame on, itself included, the one behind so many of them; NONE: there are not so many. */
uint32_t timeline_full_after(const struct timeline *timeline, uint32_t frame, size_t count);

/* The image that a process ran at t: the latest seen by then, else its first; NONE: no facts. */
uint32_t timeline_image_at(const struct timeline *timeline, uint32_t process, int64_t t_ns);
/* Whether an image is there since an exec that the kernel told of: at its since_ns. */
bool timeline_exec_told(const struct timeline *timeline, uint32_t image);

/* The stretch around t for which the answer is the same. An image runs from the end of the
 * reading that has it first. An event's frame is collected for a while, and what it says of a
 * process holds for what it says of its uses: its begin. */
struct timeline_stretch timeline_image_stretch(const struct timeline *timeline, uint32_t process,
					       int64_t t_ns);

/* Whether the state current at t had it: first.end <= t < gone.end. */
bool timeline_current(const struct timeline *timeline, const struct timeline_life *life,
		      int64_t t_ns);

/* Whether the clock was set back over t: two different moments bear that time.
 * [*from_ns, *until_ns): the stretch around t for which the answer is the same. */
bool timeline_doubtful(const struct timeline *timeline, int64_t t_ns, int64_t *from_ns,
		       int64_t *until_ns);

/* Times of sightings, for rules and distances. */
static inline int64_t timeline_first_end(const struct timeline *timeline,
					 const struct timeline_life *life)
{
	return timeline->frames[life->first].end_ns;
}

/* It was still there at this time, or later. A long reading is written after the events that show
 * something while it is under way, and began before them. */
static inline int64_t timeline_shown_ns(const struct timeline *timeline,
					const struct timeline_life *life)
{
	int64_t first_ns = timeline->frames[life->first].begin_ns;
	int64_t last_ns = timeline->frames[life->last].begin_ns;

	return first_ns > last_ns ? first_ns : last_ns;
}

static inline int64_t timeline_gone_end(const struct timeline *timeline,
					const struct timeline_life *life)
{
	return life->gone == TIMELINE_NONE ? INT64_MAX : timeline->frames[life->gone].end_ns;
}

#endif
