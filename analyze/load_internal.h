/*
 * load_internal.h - what the files of the loader share: load.c (which evidence),
 * load_merge.c (merging it in order), load_job.c (the files of a segment or capture) and
 * load_work.c (the workers, and what each does next).
 *
 * A job is a segment or a bare capture. Its parts begin where the capture alone says
 * (replay.h), so that the result is the same for any number of workers. Usually one
 * worker reads a job from part to part. Where there are more workers than jobs, and the
 * capture can be walked (pcapwalk.h), whoever takes a part looks first where the next
 * one begins, and leaves that to the others. A compressed capture has places where to
 * begin in its index (members.h), which is a claim: a part counts if what it began from
 * was found by reading up to there, in the parts before it.
 *
 * A part of very many flows comes in pieces (replay.h), each in the slot of its part, when the
 * one before it is merged: so the memory of parts is bounded by flows too.
 */
#ifndef ANALYZE_LOAD_INTERNAL_H
#define ANALYZE_LOAD_INTERNAL_H

#include <pthread.h>
#include <signal.h>

#include "analyze/inputs.h"
#include "analyze/load.h"
#include "analyze/members.h"
#include "analyze/merge.h"
#include "analyze/pcapin.h"
#include "analyze/pcapwalk.h"
#include "analyze/replay.h"
#include "analyze/serving.h"
#include "analyze/store.h"
#include "analyze/timeline.h"

/* Parts that a worker may be ahead of the merger: one being filled, one being merged. All of
 * them together have one more than there are workers, as a rule (load_work.c). */
#define LOAD_PARTS_AHEAD 2

enum job_state {
	JOB_WAITING, /* not read yet */
	JOB_READY,   /* timeline read, capture open; parts follow */
	JOB_FAILED,  /* status says why: the load ends */
};

struct worker;

struct job {
	struct input *input;
	bool skip; /* another copy of it counts */
	struct timeline timeline;
	uint32_t recording; /* in the book; SERVING_NONE: it does not tell */
	struct serving serving;
	int link_type;
	int status; /* of JOB_FAILED */
	struct error error;
	bool snap_damaged, pcap_damaged;
	struct error snap_error, pcap_error;
	int capture_fd;	    /* of a divisible one: what was opened first, for all others; -1 */
	bool pcap_is_plain; /* it could be opened, and is no gzip */
	char content_sha256[CUSTODY_HEX_SIZE]; /* of gzip; "": not known, or its log says it */
	struct members members;		       /* of a divisible gzip; empty: of others */
	struct error index_error; /* why its index is of no use; code 0: it is, or none */
	/* under lock */
	enum job_state state;
	unsigned users;		     /* workers that have it open */
	bool merged;		     /* nobody needs its parts any more */
	bool divisible;		     /* among workers */
	bool wanted;		     /* somebody could help, if he knew where */
	bool ended;		     /* no part is left to be taken */
	const struct worker *holder; /* who alone knows, or is to find, where the next part
					begins; NULL: walk says it */
	uint64_t next_part;
	struct pcapwalk walk; /* at the next part; the holder's while there is one */
};

struct slot {
	struct replay_part part;
	uint64_t read_bytes; /* of the capture, up to the end of the part */
	int status;	     /* what replay_next said */
	struct error error;
	/* under lock */
	const struct job *job; /* whose part it holds, or will; NULL: free */
	const struct worker *owner;
	uint64_t number; /* of the part, from 0 */
	bool full;
	bool unwanted; /* the merger reads this part by itself; what is left of it is of no use */
};

struct worker {
	struct load *load;
	pthread_t thread;
	bool started;
	/* of the worker alone */
	struct job *job; /* whose capture is open; NULL: none */
	struct pcapin *in;
	struct replay replay;
	struct decode_fragments *fragments; /* before the part in hand */
};

/* What the merger does again by itself. */
struct load_again {
	const struct job *job; /* whose capture is open; NULL: none */
	struct pcapin *in;
	struct replay replay;
	struct replay_part part;
};

struct load_hasher {
	pthread_t thread;
	bool started;
	volatile sig_atomic_t stop;
	const struct input *input;
	char sha256[CUSTODY_HEX_SIZE];
	/* under lock */
	bool done;
	int status;
	struct error error;
};

struct load {
	const struct load_options *options;
	struct replay_options replay;
	struct inputs inputs;
	struct job *jobs;
	struct worker *workers;
	unsigned worker_count;
	struct slot *slots; /* LOAD_PARTS_AHEAD for each worker, in common */
	struct store *store;
	struct merge *merge;
	struct load_again again;
	struct load_hasher hasher;
	struct serving_book *book; /* of who noting says */
	struct serving_book own_book;
	struct load_result *result;
	struct load_progress progress;
	uint64_t left_out; /* inputs of which another copy counts */
	int64_t begun_ns;
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t next_job;  /* no worker has it yet */
	size_t noting;	  /* the job whose worker notes who serves: all before it have */
	size_t merging;	  /* the job that the merger is at */
	size_t open_jobs; /* of which parts are left to be taken */
	bool stop;
};

static inline bool load_interrupted(const struct load *load)
{
	return load->options->stop != NULL && *load->options->stop != 0;
}

/* load.c */
void load_report(struct load *load, const struct error *error);
/* What is wrong with an input, unless it was told before the load began again. */
void load_report_of(struct load *load, const struct input *input, const struct error *error);

/* load_merge.c: all jobs in order, and what is wrong with any as remarks and rows. */
int load_merge_all(struct load *load, struct error *error);

/* load_job.c */

/* The book as it is before the first job. */
int load_open_book(struct load *load, struct error *error);

/* Opens a job's capture; *in is NULL if it has none, or is no capture: then *error says why. */
int load_open_capture(const struct job *job, struct pcapin **in, struct error *error);
/* The same, of a divisible job, after somebody opened it first: that very file. */
int load_open_again(const struct job *job, struct pcapin **in, struct error *error);

/* What all of its workers need, by the first of them. */
int load_prepare_job(struct worker *worker, struct job *job);
/* NULL: it is not divided by an index. */
const struct members *load_members_of(const struct job *job);
/* What it was read with; of one that nobody reads. */
void load_forget_job(struct job *job);

/* load_hash.c */

/* Before anything is identified: whether the hash of a capture is made later. */
void load_hash_later(struct load *load);
/* Begins to make it, if so. */
void load_begin_hash(struct load *load);
/* Once all is read, or before it is compared with anything: the input has its hash. */
int load_end_hash(struct load *load, struct input *input, struct error *error);
void load_stop_hash(struct load *load);

/* load_work.c */

/* Under the lock: until something is announced, but not for long. */
void load_wait_a_little(struct load *load);

int load_start_workers(struct load *load, struct error *error);
void load_stop_workers(struct load *load);
/* Waits until a job is read, or failed, or until there is an interruption. */
void load_wait_ready(struct load *load, struct job *job);
/* Waits for a part of a job; NULL: no worker will have it, or there is an interruption. */
struct slot *load_wait_part(struct load *load, struct job *job, uint64_t number);
/* Gives a piece back that is merged, and waits for the next one of its part. False: there is an
 * interruption. */
bool load_wait_piece(struct load *load, struct slot *slot);
void load_free_slot(struct load *load, struct slot *slot);
/* No part of it is left to the workers that they have not begun: the merger reads them. */
void load_end_sharing(struct load *load, struct job *job);
/* Under the lock: nothing of it is left to be taken. */
void load_end_job(struct load *load, struct job *job);
/* The merger is done with a job. */
void load_job_merged(struct load *load, struct job *job);

#endif
