/*
 * store_source.h - a database that is to be merged into another: what it says of itself.
 *
 * It comes from another machine and may be anything, so its tables must be the very
 * ones that this version makes: then no generated column, view or trigger of its own is
 * ever run, and what a row can hold is known. Other objects in it are not looked at.
 */
#ifndef ANALYZE_STORE_SOURCE_H
#define ANALYZE_STORE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "snapshot/format/error.h"

struct sqlite3;
struct store_source;

/* What the tables, views and indexes are to be like. Made once for all sources. */
struct store_ours;
int store_ours_new(struct store_ours **out, struct error *error);
void store_ours_free(struct store_ours *ours); /* NULL works */
/* Whether each table of that schema of db is the very one that this version makes. In a
 * transaction it holds for all that is read of it there. ERROR_DAMAGED: the message says which is
 * not. */
int store_ours_check(const struct store_ours *ours, struct sqlite3 *db, const char *schema,
		     const char *path, struct error *error);

struct store_source_facts {
	struct stat status; /* of the file when it was opened */
	uint32_t changes;   /* storefile_changes, of what was read */
	int64_t bucket_ns;
	bool with_packets;
	bool is_merged; /* made of others */
};

struct store_source_recording {
	int64_t recording_id;
	/* Recordings of the same unit were analyzed together, and rows of one may point to
	 * rows of the other; those of different units never. */
	int64_t unit;
	const char *uuid, *hostname, *boot_id; /* NULL: not known; uuid never */
};

struct store_source_segment {
	int64_t recording_id, packets;
	bool is_bare; /* a capture outside any evidence directory */
	const char *pcap_name, *snap_name, *pcap_sha256, *snap_sha256, *content_sha256;
};

/* Opens it to read, as it is now until store_source_close; ours lives longer.
 * ERROR_DAMAGED: it is not such a database, the message says what was found. */
int store_source_open(const char *path, const struct store_ours *ours, struct store_source **out,
		      struct error *error);
void store_source_close(struct store_source *source); /* NULL works */

const struct store_source_facts *store_source_facts(const struct store_source *source);

/* Each row by its number, until each fails; texts live during the call. */
int store_source_recordings(struct store_source *source,
			    int (*each)(const struct store_source_recording *row, void *context,
					struct error *error),
			    void *context, struct error *error);
int store_source_segments(struct store_source *source,
			  int (*each)(const struct store_source_segment *row, void *context,
				      struct error *error),
			  void *context, struct error *error);

/* Fails, naming it, when the database has a table, index, view or trigger that is not
 * ours: to replace the file would lose it. */
int store_source_has_no_more(struct store_source *source, struct error *error);

/* Keeps others from writing path, an existing database, until it is let go of: what is
 * read of it is what will be replaced. Opened before the source of the same path and held
 * after it: that reads the file's header by itself, and to close a file lets go of all
 * locks that the process has on it. */
struct store_lock;
int store_lock_open(const char *path, struct store_lock **out, struct error *error);
int store_lock_hold(struct store_lock *lock, const char *path, struct error *error);
void store_lock_release(struct store_lock *lock); /* NULL works */

#endif
