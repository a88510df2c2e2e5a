/*
 * model.h - a made-up host: what really happened on it (world), what a recorder
 * would have written of that (evidence), and what the analyzer says of it.
 *
 * All is drawn from one seed, so that a history can be played again. True time
 * is in ns since the recorder began, and never steps; clocks are made of it.
 * Whatever is out of memory ends the program: this is a test.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/snapfile.h"
#include "snapshot/tracepoint.h"

#define MODEL_NEVER  INT64_MAX
#define MODEL_NOBODY (-1)
#define US	     INT64_C(1000)
#define MS	     INT64_C(1000000)
#define SEC	     INT64_C(1000000000)
/* A clock tick of the host: the unit of start times. */
#define MODEL_TICK_NS (10 * MS)
#define MODEL_NETNS   UINT64_C(4026531840)

enum model_mode {
	MODEL_SNAPSHOTS, /* polls alone (record --no-watch) */
	MODEL_LOOKUPS,	 /* and a look-up at the first packet of a conversation */
	MODEL_TOLD,	 /* and the kernel's tracepoints */
	MODEL_MODES,
};
extern const char *const model_mode_names[MODEL_MODES];

/* ---------------------------------------------------------------- world -- */

#define MODEL_IMAGES 4

struct model_process {
	int parent; /* MODEL_NOBODY: of old */
	int64_t born, exit;
	bool stays; /* does not end */
	struct {
		int64_t at;
		uint32_t program;
	} image[MODEL_IMAGES];
	unsigned images;
	/* Set when all is made. */
	uint32_t pid;
	uint64_t start_ticks;
};

struct model_socket {
	enum snap_table table;
	struct endpoint bound;	       /* its row while it is not connected */
	struct endpoint local, remote; /* and when it is */
	/* Its row is there in [open, gone); it is connected from connect on, has its inode in
	 * [named, closed), and is a mere rest of a connection in [closed, gone). */
	int64_t open, connect, named, closed, gone;
	bool is_listener;
	uint32_t inode;
	uint64_t cookie;
};

/* A descriptor. */
struct model_hold {
	int process, socket;
	uint32_t fd;
	int64_t from, until;
};

/* The truth of one end of a packet. */
struct model_end {
	bool is_local;
	int socket; /* MODEL_NOBODY: the kernel alone */
	int owner;  /* who sent it, or read it */
	int holder; /* who had the socket when it passed; MODEL_NOBODY: as owner */
};

struct model_packet {
	int64_t at;
	struct endpoint from, to;
	uint8_t protocol, version, flags;
	uint32_t seq, ack, payload_bytes;
	struct model_end end[2];  /* sender, receiver */
	int conversation;	  /* TCP: which; -1 */
	uint64_t segment, number; /* where it was recorded; 0: nowhere */
};

/* What the kernel would tell. */
struct model_act {
	int64_t at;
	int process;
	struct tracepoint_event event;
};

/* From here on the clocks run so much ahead. */
struct model_jump {
	int64_t at, step, suspend;
};

#define MODEL_LIST(type)                                                                           \
	struct {                                                                                   \
		type *items;                                                                       \
		size_t count, capacity;                                                            \
	}

struct model_world {
	uint64_t seed, random;
	enum model_mode mode;
	int64_t until; /* the recorder ends then */
	bool is_busy;  /* readings take long, and ports change hands often */
	double miss_rate, drop_rate;
	MODEL_LIST(struct model_process) processes;
	MODEL_LIST(struct model_socket) sockets;
	MODEL_LIST(struct model_hold) holds;
	MODEL_LIST(struct model_packet) packets;
	MODEL_LIST(struct model_act) acts;
	MODEL_LIST(struct model_jump) jumps;
	int conversations;
};

/* The next place of a list, zeroed. */
#define MODEL_ADD(list)                                                                            \
	((list)->items = model_grow((list)->items, (list)->count, &(list)->capacity,               \
				    sizeof(*(list)->items)),                                       \
	 &(list)->items[(list)->count++])
void *model_grow(void *items, size_t count, size_t *capacity, size_t size);

/* splitmix64: the same numbers everywhere. */
uint64_t model_random(struct model_world *world);
int64_t model_between(struct model_world *world, int64_t low, int64_t high); /* both included */
/* The same, each order of magnitude as likely as the others; low > 0. */
int64_t model_scaled(struct model_world *world, int64_t low, int64_t high);
bool model_chance(struct model_world *world, double probability);

int64_t model_real(const struct model_world *world, int64_t at); /* CLOCK_REALTIME */
int64_t model_monotonic(int64_t at);
int64_t model_boot(const struct model_world *world, int64_t at);
uint64_t model_ticks(const struct model_world *world, int64_t at);

bool model_lives(const struct model_process *process, int64_t at);
bool model_holds(const struct model_world *world, int process, int socket, int64_t at);
bool model_ever_held(const struct model_world *world, int process, int socket);
uint32_t model_program(const struct model_process *process, int64_t at);

/* Everything that happens, from the seed. */
void model_make(struct model_world *world, uint64_t seed);
void model_free(struct model_world *world);
void model_print(const struct model_world *world); /* what happened, for people */
/* world_net.c: conversations and what else passes. */
void model_make_traffic(struct model_world *world);

/* ------------------------------------------------------------- evidence -- */

struct model_row {
	int socket;
	struct snap_socket row;
};

/* One reading of the whole state, as it went: row by row, some missed. */
struct model_reading {
	struct snap_frame head;
	int64_t from, until; /* true time */
	MODEL_LIST(struct model_row) rows;
	MODEL_LIST(struct snap_process) processes;
	MODEL_LIST(struct snap_holder) holders;
};

/* Of an event frame. */
struct model_told {
	int64_t written; /* true time */
	struct snapframe frame;
	bool is_restated; /* stands in the segment that began then alone */
};

/* What a look-up found. */
struct model_found {
	struct snap_frame head;
	int64_t at;
	struct snap_socket row;
	struct snap_holder holder; /* inode 0: nobody */
};

struct model_use {
	struct snap_use use;
	int process;
	bool is_restated; /* told to the segment that begins, and to none before */
};

struct model_evidence {
	MODEL_LIST(struct model_reading) readings;
	MODEL_LIST(struct model_told) events; /* in order of writing */
	MODEL_LIST(struct model_found) found;
	MODEL_LIST(struct model_use) uses;
	MODEL_LIST(struct snap_closed) closes;
	MODEL_LIST(int64_t) rotations; /* true time; the first is the beginning */
	/* Rows that a reading should have had: a torn table. */
	MODEL_LIST(struct model_missed {
		int socket;
		int64_t at;
	})
	missed;
	/* Stretches (CLOCK_REALTIME) in which uses may be missing. */
	MODEL_LIST(struct model_blind {
		int64_t from_ns;
		int64_t until_ns;
	})
	blind;
};

/* Reads and tells, and writes the files into directory; packets are numbered. */
void model_record(struct model_world *world, struct model_evidence *evidence,
		  const char *directory);
void model_evidence_free(struct model_evidence *evidence);
/* The row that a reading at that moment finds; false: none. */
bool model_row_at(const struct model_socket *socket, int64_t at, struct snap_socket *row);
struct snap_process model_facts(const struct model_world *world,
				const struct model_process *process, int64_t at);
/* evidence_told.c: fills events, found, uses, closes and blind. */
void model_tell(struct model_world *world, struct model_evidence *evidence);
/* evidence_files.c */
void model_write(struct model_world *world, struct model_evidence *evidence, const char *directory);
/* The same packets and readings as one segment into directory, which is made. The packets become a
 * copy of world's own, to be freed, with their numbers there. */
void model_write_uncut(struct model_world *world, const struct model_evidence *evidence,
		       const char *directory);

/* --------------------------------------------------------------- oracle -- */

/* Who must have sent or taken a packet, by what the evidence shows and the
 * documented rules say: one process (pid and start), or why not. */
struct model_opinion {
	int process; /* MODEL_NOBODY */
	const char *why;
};
struct model_opinion model_ask(const struct model_world *world,
			       const struct model_evidence *evidence,
			       const struct model_packet *packet, int end);

/* Of what was recorded: the same address and port; who has the number, or MODEL_NOBODY. */
bool model_same_end(const struct endpoint *a, const struct endpoint *b);
int model_process_of(const struct model_world *world, uint32_t pid, uint64_t start_ticks);

/* excuses.c: why process may be taken for the owner, by what the documents say cannot be
 * known; NULL: it may not. */
const char *model_excuse(const struct model_world *world, const struct model_evidence *evidence,
			 const struct model_packet *packet, int end, int process);
/* Whether anything that was recorded shows that process has, or used, socket. */
bool model_was_seen(const struct model_world *world, const struct model_evidence *evidence,
		    int process, int socket);

/* ---------------------------------------------------------------- judge -- */

struct model_score {
	uint64_t histories, packets, ends, owned, wrong, uncounted, short_of, beyond, exempt,
		left_out;
	uint64_t exact_ends; /* the oracle names the owner */
	/* Ends in histories with rotations; of these nobody's only with them, only without, and
	 * another process's. */
	uint64_t compared, cut_unknown, uncut_unknown, cut_otherwise;
	struct model_reason {
		char text[160];
		uint64_t count, seed;
	} reasons[400];
	size_t reason_count;
};

/* Analyzes directory and holds the result against the truth. part_packets: load.h; complain: print
 * each packet that is wrong. True if nothing was. */
bool model_judge(const struct model_world *world, const struct model_evidence *evidence,
		 const char *directory, uint64_t part_packets, bool complain,
		 struct model_score *score);
void model_note(struct model_score *score, uint64_t seed, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
