/*
 * inputs.h - what the paths given to analyze name: segments and captures, in
 * an order that depends on the evidence and not on how it was named.
 */
#ifndef ANALYZE_INPUTS_H
#define ANALYZE_INPUTS_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "snapshot/format/custody.h"
#include "analyze/absent.h"
#include "analyze/pcapin.h"
#include "snapshot/format/error.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/snapfile.h"

/* Recorders write 32 hex digits; what is longer is cut. */
#define INPUT_RECORDING_SIZE 80

/* Which file it was that was hashed, or believed. */
struct input_file {
	dev_t device;
	ino_t inode;
	off_t bytes;
	struct timespec modified, changed;
};

struct input {
	int dirfd;			   /* of inputs.directories; borrowed */
	const char *path;		   /* of the directory, for messages; borrowed */
	const volatile sig_atomic_t *stop; /* set: give up hashing it; NULL: never; borrowed */
	char *pcap, *snap;		   /* names in the directory; NULL: none */
	uint64_t number;		   /* 0: a bare capture */
	bool bare;			   /* given by itself, no evidence directory */
	/* A bare capture that nothing is to be compared with: pcap_sha256 is "" until
	 * input_hash_later. */
	bool hash_later;
	bool has_both;	  /* a .pcap.gz of it is there too, which is not read */
	bool repaired;	  /* the custody log says that a crash cut it short */
	int64_t group_ns; /* first opening in its directory; a bare capture's first packet */
	int64_t opened_ns;
	uint64_t pcap_bytes, snap_bytes;
	char pcap_sha256[CUSTODY_HEX_SIZE], snap_sha256[CUSTODY_HEX_SIZE];
	/* pcap_sha256 is the log's, for the size alone: the file may have another. */
	bool pcap_is_believed;
	struct input_file pcap_file, snap_file;
	/* Of the snapshot file's header, which could be read: whose it is. */
	bool snap_tells;
	char recording[INPUT_RECORDING_SIZE]; /* "": it does not say */
	/* What an unbroken custody log says last of each; sha256 "": nothing. */
	struct input_logged {
		uint64_t bytes;
		char sha256[CUSTODY_HEX_SIZE];
	} pcap_logged, snap_logged;
	/* And of the capture as it was recorded, compressed or not; "": nothing. */
	char recorded_sha256[CUSTODY_HEX_SIZE];
	/* What it says of the capture as it was before it was compressed; "": nothing, or the
	 * capture is not what it says, or it is not believed: then content_doubted has it. */
	char content_sha256[CUSTODY_HEX_SIZE], content_doubted[CUSTODY_HEX_SIZE];
	/* The other file of the pair, which the log has and the directory has not; "": none. */
	char missing[EVIDENCE_NAME_SIZE];
	bool missing_expired; /* as the log says */
	bool missing_went;    /* it was there when the directory was listed */
	bool verify;	      /* nothing is believed of it */
	/* Of a load that begins again without another one. */
	bool told, told_left_out; /* what is wrong with it; that another copy counts */
	bool is_done;		  /* an existing database has it, or nobody can have it any more */
	/* The snapshot file beside the capture says that it is another segment's: it is not read,
	 * snap is NULL, and snap_altered says so. */
	bool snap_is_foreign;
	struct error unreadable; /* why one of its files cannot be read; code 0: not known of any */
	/* Not what the log says; code 0: it is, or nothing is said. */
	struct error pcap_altered, snap_altered;
	char group_name[EVIDENCE_NAME_SIZE]; /* first stem in its directory; sorts what began at
						once */
};

struct input_directory {
	int fd;
	char *path; /* as it was given */
	/* Of the log, which does not hold or cannot be read; code 0: it holds, or there is none. */
	struct error log;
	size_t unfinished; /* .part files that were passed over, and the first */
	char unfinished_name[EVIDENCE_NAME_SIZE];
	size_t odd; /* names of segments' files that no regular file has, and the first */
	char odd_name[EVIDENCE_NAME_SIZE];
};

struct inputs {
	struct input *items;
	size_t count, capacity;
	struct input_directory *directories; /* of what is evidence, in the order of names */
	size_t directory_count, directory_capacity;
	struct absent absent; /* of directories that were given as a whole */
};

/* Finds everything that paths name. A missing path is ERROR_NO_INPUT, a file
 * that is neither a capture nor a segment's ERROR_DAMAGED: nothing is loaded then. Of a bare
 * capture that cannot be read unreadable says so. */
int inputs_find(char *const *paths, size_t count, struct inputs *out, struct error *error);
/* Sizes and hashes of one input, and whose its snapshots are. A capture of the size that the
 * custody log has is taken for the one that was logged, and what is in a compressed one for what
 * was logged before that, unless verify: to hash it takes longer than to analyze it. Here and
 * later, ERROR_INTERRUPTED once *stop is not 0 (NULL: never). */
int input_identify(struct input *input, bool verify, const volatile sig_atomic_t *stop,
		   struct error *error);
/* The hash of what is hashed later, while others read it. ERROR_SYSTEM: it is not the file that was
 * identified, or it is being written. */
int input_hash_later(const struct input *input, const volatile sig_atomic_t *stop,
		     char sha256[CUSTODY_HEX_SIZE], struct error *error);
/* Once it is read as well: whether it is as it was then. What is gone since, or whose name is
 * another file's, was not changed. */
int input_look_again(const struct input *input, struct error *error);
struct input_file input_file_of(const struct stat *status);
/* Whether an error is that of a file, which is there and cannot be read, or not all of it: without
 * permission, or for what it lies on. Else the machine lacks something, it is what the file has,
 * or it is not about reading. */
bool input_is_unreadable(const struct error *error);
/* unreadable says so, if it is such an error. */
void input_note_unreadable(struct input *input, const struct error *why);
/* Whose the snapshots are, as their header says. */
void input_read_header(struct input *input);
/* After a file was not found: a recorder at work compresses and removes what was listed. 1: the
 * input names, and has identified, what is there now under another name, and what is not is
 * missing; both files may be. 0: nothing changed. Names are freed. */
int input_follow(struct input *input, struct error *error);
/* Hashes a capture whose hash is believed; of another there is nothing to do. What it
 * says of the input is then as --verify would have it. ERROR_NO_INPUT: it is gone, and was not
 * to be followed. Where it cannot be read unreadable says why, too. */
int input_hash_believed(struct input *input, bool follow, struct error *error);
/* What is in a compressed capture that was read whole: if that is doubted, and not what the log
 * says, pcap_altered says so. sha256 "": not known. */
void input_check_content(struct input *input, const char *sha256);
/* What its log says of what is in a compressed capture is to be compared with what is read. */
void input_doubt_content(struct input *input);
/* Opens a file that the input names, after it was identified. As pcapin_open and snapfile_open;
 * ERROR_SYSTEM where another file has its name now, or it was changed: what is known of it, and
 * what was decided by that, is not true of that one. */
int input_open_pcap(const struct input *input, bool hashed, struct pcapin **out,
		    struct error *error);
int input_open_snap(const struct input *input, struct snapfile_reader **out, struct error *error);
/* A file's name in its directory as a path, for messages. */
void input_path_in(const char *directory, const char *name, char out[PATH_MAX]);
void input_path(const struct input *input, const char *name, char out[PATH_MAX]);
/* Whether two captures are one file, or have one hash that neither only believes. */
bool input_same_pcap(const struct input *a, const struct input *b);
/* What the log beside a copy says holds for the one that counts in its place too: of its files,
 * and of the other one that neither of them has. */
void input_join(struct input *counts, const struct input *copy);
/* Sorts, once all are identified, and drops what was named twice. Two files that are the same
 * by a hash that is believed are hashed before. */
int inputs_sort(struct inputs *inputs, struct error *error);
void input_release(struct input *input); /* what it owns */
void inputs_release(struct inputs *inputs);

#endif
