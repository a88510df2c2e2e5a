/*
 * snapfile.h - snapshot files: the records, a frame builder, a writer, a reader.
 *
 * FORMAT.md is the specification; this header is its shape in C. Text, one
 * record a line, tab-separated fields with escapes, gzip-compressed with a
 * flush after every frame. A file is a header, then frames; a frame is
 * delivered by the reader only when its closing line, record count and CRC-32
 * agree, so a torn tail costs the torn frame and nothing before it.
 *
 * Never reads /proc, never decides who owns what, never prints.
 */
#ifndef SNAPSHOT_FORMAT_SNAPFILE_H
#define SNAPSHOT_FORMAT_SNAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/endpoint.h"
#include "snapshot/format/error.h"

#define SNAPFILE_VERSION 1

/* Limits of the reader. A line: a command line may be up to 2 MiB on Linux
 * (ARG_MAX's usual value), escaped at worst fourfold. A frame: a key frame of two million
 * sockets with their holders and processes. */
#define SNAPFILE_MAX_LINE  (16u << 20)
#define SNAPFILE_MAX_FRAME (1u << 30)

/* ------------------------------------------------------------- records -- */

enum snap_kind {		 /* of a frame */
		 SNAP_KEY = 1,	 /* the whole state, every line an addition to nothing */
		 SNAP_POLL = 2,	 /* the whole state was read; lines are differences to the state
				    before */
		 SNAP_EVENT = 3, /* only what an event showed; absence here says nothing */
};

enum snap_op { /* field 2 of every stateful record */
	       SNAP_ADD = '+',
	       SNAP_CHANGE = '~', /* same identity, other fields differ; all fields given anew */
	       SNAP_GONE = '-',
	       SNAP_ONCE = '!', /* a momentary fact, no state */
};

/* The tables of /proc/net by their file names. */
enum snap_table {
	SNAP_TCP = 1,
	SNAP_TCP6,
	SNAP_UDP,
	SNAP_UDP6,
	SNAP_UDPLITE,
	SNAP_UDPLITE6,
	SNAP_RAW,
	SNAP_RAW6,
	SNAP_ICMP,
	SNAP_ICMP6,
	SNAP_PACKET,
	SNAP_SCTP_EPS,	  /* /proc/net/sctp/eps */
	SNAP_SCTP_ASSOCS, /* /proc/net/sctp/assocs: one record for each local x remote address pair
			   */
	SNAP_TABLE_END,
};
const char *snap_table_name(enum snap_table table); /* "tcp6", "sctp/eps" */
uint8_t snap_table_protocol(enum snap_table table); /* IPPROTO_*; raw: 0; packet: 0 */
bool snap_table_is_ipv6(enum snap_table table);

/* TCP states by the kernel's numbers (include/net/tcp_states.h). */
enum snap_tcp_state {
	SNAP_ESTABLISHED = 1,
	SNAP_SYN_SENT,
	SNAP_SYN_RECV,
	SNAP_FIN_WAIT1,
	SNAP_FIN_WAIT2,
	SNAP_TIME_WAIT,
	SNAP_CLOSE,
	SNAP_CLOSE_WAIT,
	SNAP_LAST_ACK,
	SNAP_LISTEN,
	SNAP_CLOSING,
	SNAP_NEW_SYN_RECV,
};

#define SNAP_UNKNOWN_UID   UINT32_MAX /* written \N */
#define SNAP_UNKNOWN_STATE 0
#define SNAP_UNKNOWN_BYTES UINT64_MAX /* written \N */

/* Identity: (netns, table, local, remote, inode), inode 0 included. When a
 * TCP socket becomes TIME_WAIT its row's inode becomes 0: that is one GONE and one ADD. */
struct snap_socket {
	uint64_t netns; /* inode of the network namespace */
	enum snap_table table;
	struct endpoint local, remote;
	/* raw: local.port is the IP protocol; icmp: local.port is the ident;
	 * packet: local.port is the ethertype, addresses are any. */
	uint8_t state;	  /* enum snap_tcp_state, also for UDP (1 connected, 7 not) */
	uint32_t uid;	  /* SNAP_UNKNOWN_UID where not known */
	uint32_t inode;	  /* 0: TIME_WAIT, not yet accepted, orphan */
	uint64_t cookie;  /* 0: not known */
	uint32_t ifindex; /* bound device, 0: none or not known */
};

/* Identity: (pid, start_ticks). A CHANGE is a new program image (exec) or new
 * credentials; all fields are given anew. */
struct snap_process {
	uint32_t pid;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat: clock ticks since boot */
	uint32_t ppid;
	uint32_t uid;	       /* real uid; SNAP_UNKNOWN_UID where not known */
	const char *comm;      /* strings: NULL where they could not be read (\N) */
	const char *exe;       /* target of /proc/PID/exe */
	const char *cmdline;   /* NUL-separated arguments */
	size_t cmdline_length; /* bytes, without the last NUL */
	const char *cgroup;    /* the v2 path, else all lines of /proc/PID/cgroup joined by ';' */
	uint64_t netns;	       /* 0: not known */
	/* GONE only: */
	bool exit_known;
	int32_t exit_code; /* wait status word as in exit_code of the kernel's exit event */
	int64_t exit_ns;   /* CLOCK_REALTIME; 0: not known */
};

/* Identity: all fields. One line for each descriptor. */
struct snap_holder {
	uint32_t inode;
	uint32_t pid;	      /* thread group leader */
	uint64_t start_ticks; /* of the leader */
	uint32_t tid;	      /* pid, or the thread whose own descriptor table it is */
	uint32_t fd;
};

struct snap_netns {
	uint64_t netns;
	uint32_t via_pid; /* through which process its tables were read; 0: own or setns */
	bool is_capture;  /* the namespace that the capture runs in */
};

struct snap_interface {
	uint64_t netns;
	uint32_t ifindex;
	const char *name;
	uint32_t hardware_type; /* ARPHRD_* */
};

struct snap_address {
	uint64_t netns;
	uint32_t ifindex;
	struct endpoint_address address;
	uint8_t prefix_length; /* of the family's own length: 0..32 or 0..128 */
};

/* Cumulative since the capture opened (pcap_stats). */
struct snap_capture {
	uint64_t received, dropped, interface_dropped; /* as libpcap counts them */
	uint64_t written;			       /* packets put into segments */
	uint64_t lost; /* taken from libpcap and then not written: stalled or full disk */
};

struct snap_clock {
	int64_t step_ns;    /* REALTIME minus MONOTONIC moved by this much */
	int64_t suspend_ns; /* BOOTTIME minus MONOTONIC moved by this much */
};

/* The kernel's own count at a TCP socket's close. */
struct snap_closed {
	uint64_t netns;
	enum snap_table table;
	struct endpoint local, remote;
	uint32_t inode;
	uint64_t cookie;
	int64_t closed_ns; /* CLOCK_REALTIME */
	uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retransmitted;
	uint32_t segments_out, segments_in, data_segments_out, data_segments_in;
};

/* How a process used a socket. */
enum snap_act {
	SNAP_CONNECT = 1,
	SNAP_SEND,
	SNAP_RECEIVE,
	SNAP_SHUT,    /* closed it or shut it down: a holder, if not a user */
	SNAP_ROUTE,   /* looked up the way for a datagram: sends, or connects */
	SNAP_SEVERAL, /* used it, as many others did in turn: no further use of it is told */
	SNAP_ACT_END,
};
const char *snap_act_name(enum snap_act act); /* "connect" */

/* Users of one socket in turn that are told, the first one counted too and the last one as
 * SNAP_SEVERAL. */
#define SNAP_TURNS_MAX 64

/* The kernel's word (tracepoint.h) on who used which socket, exact in time: told when a socket is
 * used first, and when it is used by another process than last time. Always ONCE. */
struct snap_use {
	uint64_t netns;		       /* of the process; 0: not known */
	uint8_t protocol;	       /* IPPROTO_* */
	struct endpoint local, remote; /* ROUTE: the local address may be any; without ports: 0 */
	uint64_t cookie;	       /* 0: not known */
	int64_t opened_ns; /* TCP: when it began to connect, or the handshake was over; 0: not
			      known. Tells the sockets of one tuple apart */
	enum snap_act act;
	int64_t at_ns;
	int64_t previous_ns; /* last use by the process that used it before; 0: nobody did */
	/* TCP: payload bytes that had been sent and received through it before this
	 * use; SNAP_UNKNOWN_BYTES where that was not followed. */
	uint64_t sent_bytes, received_bytes;
	uint32_t pid;
	uint64_t start_ticks; /* may be one too high; see struct snap_born */
	uint32_t tid;
};

/* A process that no reading had, known from its fork alone. Always ONCE. */
struct snap_born {
	uint32_t pid;
	uint64_t start_ticks; /* from born_ns, which is some microseconds late: its own, or one more
			       */
	uint32_t ppid;
	int64_t born_ns;
};

/* A process that executed a program. Always ONCE. */
struct snap_exec {
	uint32_t pid;
	uint64_t start_ticks; /* may be one too high; see struct snap_born */
	int64_t exec_ns;      /* from here on its image is the new one */
};

/* What could not be read, and why. ADD/GONE while it lasts, ONCE for a moment. */
struct snap_absent {
	const char *what;    /* "table" "descriptors" "process" "exe" "cmdline" "netns" "processes"
				"event" … */
	uint64_t netns;	     /* 0 where it does not apply */
	uint32_t pid;	     /* 0 where it does not apply */
	const char *subject; /* the file or thing, e.g. "sctp/assocs"; may be "" */
	const char *reason;  /* "EACCES", "ENOENT", "ENOBUFS", "hidepid", … */
};

enum snap_type {
	SNAP_TYPE_META = 1, /* header only */
	SNAP_TYPE_FRAME,
	SNAP_TYPE_END,
	SNAP_TYPE_NETNS,
	SNAP_TYPE_INTERFACE,
	SNAP_TYPE_ADDRESS,
	SNAP_TYPE_SOCKET,
	SNAP_TYPE_PROCESS,
	SNAP_TYPE_HOLDER,
	SNAP_TYPE_CLOSED,
	SNAP_TYPE_CAPTURE,
	SNAP_TYPE_CLOCK,
	SNAP_TYPE_ABSENT,
	SNAP_TYPE_USE,
	SNAP_TYPE_BORN,
	SNAP_TYPE_EXEC,
	SNAP_TYPE_OTHER, /* a record kind of a later version: skipped, counted */
};

struct snap_frame {
	uint64_t sequence; /* from 1 in each recording, never reused; see "restated" */
	enum snap_kind kind;
	const char *cause; /* "start" "interval" "rotate" "miss" "connect" "exec" "restated" … */
	int64_t begin_ns, end_ns;      /* CLOCK_REALTIME around the reading */
	int64_t monotonic_ns, boot_ns; /* CLOCK_MONOTONIC and CLOCK_BOOTTIME at begin */
	uint32_t crc32;		       /* of END that was read: of the frame's lines */
};

struct snap_record {
	enum snap_type type;
	enum snap_op op;
	uint64_t line; /* 1-based line in the uncompressed file */
	union {
		struct {
			const char *key, *value; /* value: NULL where not known */
			size_t value_length;	 /* bytes; argv holds NULs between arguments */
		} meta;
		struct snap_frame frame; /* also of END: the frame that it closes */
		struct snap_netns netns;
		struct snap_interface interface;
		struct snap_address address;
		struct snap_socket socket;
		struct snap_process process;
		struct snap_holder holder;
		struct snap_closed closed;
		struct snap_capture capture;
		struct snap_clock clock;
		struct snap_absent absent;
		struct snap_use use;
		struct snap_born born;
		struct snap_exec exec;
	} u;
};

/* ------------------------------------------------------- frame builder -- */

/* A frame as text in memory, built by whichever thread read the state. */
struct snapframe {
	struct snap_frame
		head; /* sequence is set by the writer's owner; cause must outlive the frame */
	char *text;   /* the records, owned */
	size_t length, capacity;
	uint64_t records;
	bool failed; /* an allocation failed; the frame cannot be written */
};

void snapframe_init(struct snapframe *frame, enum snap_kind kind, const char *cause);
void snapframe_release(struct snapframe *frame);
/* Appends one record (any type but META, FRAME and END). Strings are copied and escaped. */
void snapframe_add(struct snapframe *frame, const struct snap_record *record);

/* -------------------------------------------------------------- writer -- */

struct snapfile_writer; /* a gzip stream on a descriptor */

/* Takes fd over (also on failure). path is for messages, copied. */
int snapfile_writer_open(int fd, const char *path, struct snapfile_writer **out,
			 struct error *error);
/* Header lines; only before the first frame. value may be NULL (\N). */
int snapfile_writer_meta(struct snapfile_writer *writer, const char *key, const char *value,
			 struct error *error);
/* The same for a value with NULs in it (argv); value is not NULL. */
int snapfile_writer_meta_bytes(struct snapfile_writer *writer, const char *key, const char *value,
			       size_t value_length, struct error *error);
/* Writes the frame with its closing line and flushes, so that what is on disk
 * ends with a whole frame. After a failure (disk full) every later call fails
 * too: close it, salvage what is there, and open another file. */
int snapfile_writer_frame(struct snapfile_writer *writer, const struct snapframe *frame,
			  struct error *error);
/* The same without the flush: what is on disk ends with a whole frame only after
 * the next snapfile_writer_flush or snapfile_writer_frame. */
int snapfile_writer_frame_unflushed(struct snapfile_writer *writer, const struct snapframe *frame,
				    struct error *error);
/* Z_SYNC_FLUSH: what was put so far can be read back from the disk. */
int snapfile_writer_flush(struct snapfile_writer *writer, struct error *error);
uint64_t snapfile_writer_bytes(const struct snapfile_writer *writer); /* on disk so far */
/* Ends the gzip stream, fsyncs, closes the descriptor, frees. NULL works. */
int snapfile_writer_close(struct snapfile_writer *writer, struct error *error);

/* -------------------------------------------------------------- reader -- */

struct snapfile_reader;

/* Opens gzip or plain text. Fails with ERROR_DAMAGED when it is no regular file,
 * or the first line is not a snapshot's of a version we read. */
int snapfile_open(int dirfd, const char *name, struct snapfile_reader **out, struct error *error);
/* The same of an open file, which is taken over, also on failure; name is for messages. */
int snapfile_open_descriptor(int fd, const char *name, struct snapfile_reader **out,
			     struct error *error);
/* The same over memory, for tests and fuzzing; the bytes are borrowed. */
int snapfile_open_memory(const void *bytes, size_t length, const char *path,
			 struct snapfile_reader **out, struct error *error);
/* Next record: 1, 0 at the end, negative on damage: then everything returned
 * before is good and the reader stays at its end. META records come first;
 * each FRAME is followed by its records and one END. Pointers inside *record
 * stay valid until the END of their frame has been returned and next is called again
 * (META: until the next call). */
int snapfile_next(struct snapfile_reader *reader, struct snap_record *record, struct error *error);
uint64_t snapfile_unknown_records(const struct snapfile_reader *reader);
void snapfile_close(struct snapfile_reader *reader);

/* Repair: copies header and whole frames of (dirfd, from) to (dirfd, to),
 * which must not exist; synced. Links are not followed. *frames_out: how many. Damage in from is
 * not an error: what precedes it is copied. A file without a whole header is ERROR_DAMAGED. */
int snapfile_salvage(int dirfd, const char *from, const char *to, uint64_t *frames_out,
		     struct error *error);

#endif
