/*
 * procfs.h - reads /proc/PID: what a process is, and which sockets it holds.
 *
 * The root of /proc is always a descriptor, so that tests give it a tree of
 * files (symbolic links such as fd/3 -> socket:[123] and ns/net -> net:[4]).
 * Every process is read through one descriptor of its directory, which the
 * kernel binds to that process and not to its number: a pid that is reused
 * meanwhile gives ESRCH and never another process's sockets.
 *
 * procfile.c: basics; procfacts.c: stat and facts; procfds.c: descriptors;
 * procfs.c: the walk.
 * Kernel threads are no processes here. Never writes, never signals.
 *
 * "0 or an errno" means what it says: the caller needs the reason for an
 * absent record more than a message. ESRCH and ENOENT: the process has gone.
 */
#ifndef SNAPSHOT_PROCFS_H
#define SNAPSHOT_PROCFS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/snapfile.h"

/* Larger than any command line that Linux accepts with the usual stack limit,
 * and small enough to fit SNAPFILE_MAX_LINE when every byte is escaped. */
#define PROCFS_MAX_CMDLINE (2u << 20)

/* ------------------------------------------------------------- basics -- */

/* A file's content, reused from file to file. {0} is an empty one. text ends
 * with a NUL that length does not count. */
struct procfs_text {
	char *text;
	size_t length, capacity;
};

/* Reads the file to its end, or to max_bytes (0: no limit). 0 or an errno. */
int procfs_read_file(int dirfd, const char *name, size_t max_bytes, struct procfs_text *out);
/* The same for a file of lines that are at most row_bytes long, of which the
 * kernel gives as many whole ones as a page holds (fs/seq_file.c): a call that
 * leaves room for another was the last. To ask once more would cost a walk
 * through the kernel's whole table. */
int procfs_read_table(int dirfd, const char *name, size_t row_bytes, struct procfs_text *out);
void procfs_text_release(struct procfs_text *text);

/* Room for at least need items: items itself or a larger copy, with *capacity
 * updated; NULL when out of memory, then items still stands. */
void *procfs_grow(void *items, size_t *capacity, size_t need, size_t item_bytes);

/* "EACCES"; a number as text for the rarer ones. buffer is used for those. */
#define PROCFS_ERRNO_SIZE 24
const char *procfs_errno_name(int number, char buffer[PROCFS_ERRNO_SIZE]);

/* Decimal digits at text up to the first other character, which *end is set
 * to. False when there are none or they exceed max. */
bool procfs_parse_number(const char *text, uint64_t max, uint64_t *out, const char **end);

/* A link's target as far as it fits, NUL-terminated. 0 or an errno. */
int procfs_read_link(int dirfd, const char *name, char *target, size_t size);

/* N of a text "PREFIX[N]". */
bool procfs_parse_link(const char *link, const char *prefix, uint64_t max, uint64_t *out);

/* In decimal; where it begins in buffer. */
#define PROCFS_NUMBER_SIZE 12 /* a u32 + NUL */
char *procfs_format_number(uint32_t number, char buffer[PROCFS_NUMBER_SIZE]);

struct procfs_numbers {
	uint32_t *items;
	size_t count, capacity;
};

/* The numbers among the names in an open directory, in its order. *listing is
 * room to work in, allocated when NULL and freed by the caller. 0 or an errno. */
int procfs_list_numbers(int fd, char **listing, struct procfs_numbers *out);
int procfs_list_directory(int dirfd, const char *name, char **listing, struct procfs_numbers *out);

/* Whether proc_fd is a kernel's procfs and shows the pids as the caller
 * has them; false for a tree of files. */
bool procfs_is_own(int proc_fd);

/* N of a link "net:[N]" at dirfd/name; 0 if it is none or cannot be read,
 * with *reason the errno (0: it was read). reason may be NULL. */
uint64_t procfs_read_netns(int dirfd, const char *name, int *reason);

/* --------------------------------------------------------------- stat -- */

struct procfs_stat {
	uint32_t pid, ppid;
	char comm[64]; /* NUL-terminated; may hold any byte */
	char state;    /* 'R' 'S' 'Z' … */
	uint64_t flags;
	uint32_t threads;
	uint64_t start_ticks;
	/* Where the program image lies (startcode endcode startstack arg_start
	 * arg_end): differs after an exec, and costs no further system call. Where
	 * it may not be read only the name and the owner tell. */
	uint64_t image; /* 0: no program (exiting, zombie) */
};

/* Text of /proc/PID/stat, NUL-terminated; the name may hold spaces and ')'. 0, or ERROR_DAMAGED.
 * error may be NULL. */
int procfs_parse_stat(const char *text, size_t length, struct procfs_stat *out,
		      struct error *error);
bool procfs_is_kernel_thread(const struct procfs_stat *stat);

/* -------------------------------------------------------- descriptors -- */

struct procfs_socket {
	uint32_t fd, inode;
};

/* How much a thread has run, from its schedstat. */
struct procfs_run {
	uint32_t tid;
	uint64_t times, run_ns; /* given a processor how often, ran for how long */
};

/* So long after it was noted, one that has run since shows it: while a thread has its processor
 * the kernel adds up at each tick (at least 100 a second) only. */
#define PROCFS_RUN_SHOWS_NS INT64_C(30000000)

/* The descriptors of one process as last read, and what its threads had run
 * ahead of that reading of all of the process. {0}: never read. */
struct procfs_fds {
	struct procfs_numbers numbers; /* all that are open, in the directory's order */
	struct procfs_socket *sockets;
	size_t socket_count, socket_capacity;
	struct procfs_run *runs; /* every thread's; run_count 0: not known */
	size_t run_count, run_capacity;
	int64_t noted_ns; /* CLOCK_MONOTONIC: when they were noted */
	/* Not noted for so many readings more, twice as many each time that it had run. */
	unsigned unnoted, patience;
};
void procfs_fds_release(struct procfs_fds *fds);

/* ------------------------------------------------------------ process -- */

/* What is known of one program image of one process. Shared by reference,
 * also between threads: nobody changes it, and fds is of the walk's thread
 * alone. The strings of record are its own and live as long. */
struct procfs_facts {
	atomic_uint references;
	struct snap_process record;
	bool cmdline_cut; /* longer than PROCFS_MAX_CMDLINE */
	struct procfs_fds fds;
};
/* One reference more, for the caller. NULL works. */
struct procfs_facts *procfs_facts_ref(struct procfs_facts *facts);
void procfs_facts_unref(struct procfs_facts *facts); /* NULL works */
/* Whether both are of the same name, program and arguments. */
bool procfs_facts_same_image(const struct procfs_facts *a, const struct procfs_facts *b);
/* What an execve(2) itself tells: the path it was given, and the name that comes of it. who:
 * pid, start_ticks, ppid and netns. One reference, or NULL without memory. */
struct procfs_facts *procfs_facts_of_exec(const struct snap_process *who, const char *path);

/* One process as one walk found it. */
struct procfs_process {
	struct procfs_stat stat;
	uint32_t euid;		    /* owner of /proc/PID: a change of it makes the facts stale */
	uint32_t via_tid;	    /* the leader's pid, or the thread it was read through because
				       the leader has exited; 0: a zombie with nothing to read */
	uint64_t netns;		    /* 0: could not be read */
	int descriptors_errno;	    /* why its descriptors could not be read; 0: they were */
	struct procfs_facts *facts; /* one reference; NULL: not even stat could be read */
};

/* A descriptor that refers to a network namespace (a file below /proc/PID/ns
 * or a bind mount of one, held open). */
struct procfs_netns_fd {
	uint64_t netns;
	uint32_t pid, fd;
};

/* A walk's result: all owned, reused from walk to walk. {0} is an empty one. */
struct procfs_walk {
	struct procfs_process *processes; /* by pid */
	size_t process_count, process_capacity;
	struct snap_holder *holders; /* every socket, in no order */
	size_t holder_count, holder_capacity;
	struct procfs_netns_fd *netns_fds;
	size_t netns_fd_count, netns_fd_capacity;
	/* Room to work in: */
	struct procfs_text stat, cmdline, cgroup;
	struct procfs_numbers pids, tids, fds;
	char *listing;
};
void procfs_walk_reset(struct procfs_walk *walk); /* empty, memory kept */
void procfs_walk_release(struct procfs_walk *walk);

/* Walks all processes of proc_fd into *out, which is reset first. known (by
 * pid, may be empty) is the walk before: facts are read again only where pid
 * and start, name, image, owner or namespace differ from it. A process that
 * vanishes meanwhile is left out whole. 0, or negative when /proc cannot be
 * listed or memory is short. */
int procfs_walk(int proc_fd, const struct procfs_walk *known, struct procfs_walk *out,
		struct error *error);

/* Appends to walk the sockets and network namespaces among the descriptors
 * below base/fd. holder has all but inode and fd. 0 or an errno. */
int procfs_fds_read(int base, struct snap_holder holder, struct procfs_walk *walk);
/* The same of the process with the directory dir, whose leader is alive, with
 * what was read of it before, which is brought up to date. While their number
 * stays and all of them are still there, they are not listed again, but their
 * links read. */
int procfs_fds_reread(int dir, struct snap_holder holder, struct procfs_fds *fds,
		      struct procfs_walk *walk);

/* Ahead of a reading of all of a process, which had so many threads: notes what
 * each has run. 0 or ENOMEM. */
int procfs_fds_note(int dir, uint32_t pid, uint32_t threads, struct procfs_fds *fds,
		    struct procfs_walk *walk);
/* Whether no thread of the process, found below proc_fd, has run since. Then
 * nothing of it need be read: it changes by what its threads do, but for its
 * parent's end and its control group, and for descriptors that another process
 * has in common with it (clone(2), CLONE_FILES without CLONE_THREAD). */
bool procfs_fds_sleeps(int proc_fd, uint32_t pid, struct procfs_fds *fds);
/* Appends the sockets that were read last. holder as above. 0 or ENOMEM. */
int procfs_fds_repeat(const struct procfs_fds *fds, struct snap_holder holder,
		      struct procfs_walk *walk);

/* Facts of process (all but facts set), one reference, or NULL without memory.
 * dir: /proc/PID; base: the same, or the directory of a living thread where
 * the leader has exited, or -1. For the walk's own use. */
struct procfs_facts *procfs_facts_read(int dir, int base, const struct procfs_process *process,
				       struct procfs_walk *walk);

/* Looks for the holders of inodes (sorted) among the threads with a descriptor
 * table of their own, and adds them to walk->holders. Asks kcmp(2) which
 * threads those are where proc_fd is the caller's own /proc, else reads the
 * table of every thread. 0 or ERROR_MEMORY. */
int procfs_walk_threads(int proc_fd, struct procfs_walk *walk, const uint32_t *inodes,
			size_t inode_count, struct error *error);

/* By inode, pid, start_ticks, tid, fd. <0, 0, >0. */
int procfs_holder_compare(const struct snap_holder *a, const struct snap_holder *b);

/* One process by its number, for whoever cannot wait for a walk: facts and
 * descriptors are appended to walk (facts taken from known where they still
 * hold; known may be NULL). 0 or an errno, with ESRCH for a process that has
 * gone or is a kernel thread. walk->processes stays sorted only if the caller
 * reads by rising pid. */
int procfs_read_process(int proc_fd, uint32_t pid, const struct procfs_process *known,
			struct procfs_walk *walk);

/* The process of that pid in a finished walk, or NULL. */
const struct procfs_process *procfs_find(const struct procfs_walk *walk, uint32_t pid);

#endif
