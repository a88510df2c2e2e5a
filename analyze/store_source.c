#include "analyze/store_source.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/schema_sql.h"
#include "analyze/store_fleet.h"
#include "analyze/storefile.h"

struct store_source {
	sqlite3 *db;
	const struct store_ours *ours;
	char *path;
	struct store_source_facts facts;
};

struct store_ours {
	sqlite3 *db; /* in memory, without rows */
};

struct store_lock {
	sqlite3 *db;
};

const struct store_source_facts *store_source_facts(const struct store_source *source)
{
	return &source->facts;
}

void store_source_close(struct store_source *source)
{
	if (source == NULL)
		return;
	storefile_close(source->db);
	free(source->path);
	free(source);
}

/* What the database itself is to blame for is damage. */
static int fail_of(sqlite3 *db, const char *path, const char *what, struct error *error)
{
	int kind = sqlite3_errcode(db) & 0xff;

	if (kind == SQLITE_ERROR || kind == SQLITE_MISMATCH)
		return error_damage(error, path, -1, what, "%s", sqlite3_errmsg(db));
	return storefile_fail(db, path, what, error);
}

static int fail(struct store_source *source, const char *what, struct error *error)
{
	return fail_of(source->db, source->path, what, error);
}

static int prepare(struct store_source *source, const char *sql, sqlite3_stmt **out,
		   struct error *error)
{
	if (sqlite3_prepare_v2(source->db, sql, -1, out, NULL) == SQLITE_OK)
		return 0;
	return fail(source, "the tables of this version", error);
}

/* ------------------------------------------------------------- its schema -- */

int store_ours_new(struct store_ours **out, struct error *error)
{
	struct store_ours *ours = calloc(1, sizeof(*ours));
	int code;

	if (ours == NULL)
		return storefile_fail(NULL, NULL, "make the tables", error);
	storefile_configure();
	if (sqlite3_open_v2(":memory:", &ours->db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_exec(ours->db, schema_tables, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(ours->db, schema_views, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(ours->db, schema_indexes, NULL, NULL, NULL) == SQLITE_OK) {
		*out = ours;
		return 0;
	}
	code = storefile_fail(ours->db, NULL, "make the tables", error);
	store_ours_free(ours);
	return code;
}

void store_ours_free(struct store_ours *ours)
{
	if (ours == NULL)
		return;
	sqlite3_close(ours->db);
	free(ours);
}

static int check_table(sqlite3 *db, const char *path, sqlite3_stmt *theirs, const char *name,
		       const char *wanted, struct error *error)
{
	int code = 0, result;

	sqlite3_bind_text(theirs, 1, name, -1, SQLITE_STATIC);
	result = sqlite3_step(theirs);
	if (result == SQLITE_DONE) {
		code = error_damage(error, path, -1, "the tables of this version", "no table %s",
				    name);
	} else if (result != SQLITE_ROW) {
		code = fail_of(db, path, "its tables", error);
	} else {
		const char *found = (const char *)sqlite3_column_text(theirs, 0);

		if (found == NULL || strcmp(found, wanted) != 0)
			code = error_damage(error, path, -1, "the tables of this version",
					    "another table %s: analyze the evidence anew with "
					    "this pcapwho",
					    name);
	}
	sqlite3_reset(theirs);
	return code;
}

int store_ours_check(const struct store_ours *ours_all, sqlite3 *db, const char *schema,
		     const char *path, struct error *error)
{
	char *sql = sqlite3_mprintf(
		"SELECT sql FROM %w.sqlite_schema WHERE type = 'table' AND name = ?1", schema);
	sqlite3_stmt *ours = NULL, *theirs = NULL;
	int code = 0, result = SQLITE_DONE;

	if (sql == NULL)
		code = storefile_fail(NULL, path, "the tables of this version", error);
	else if (sqlite3_prepare_v2(db, sql, -1, &theirs, NULL) != SQLITE_OK)
		code = fail_of(db, path, "the tables of this version", error);
	else if (sqlite3_prepare_v2(ours_all->db,
				    "SELECT name, sql FROM sqlite_schema WHERE type = 'table' "
				    "AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
				    -1, &ours, NULL) != SQLITE_OK)
		code = storefile_fail(ours_all->db, path, "list the tables", error);
	while (code == 0 && (result = sqlite3_step(ours)) == SQLITE_ROW)
		code = check_table(db, path, theirs, (const char *)sqlite3_column_text(ours, 0),
				   (const char *)sqlite3_column_text(ours, 1), error);
	if (code == 0 && result != SQLITE_DONE)
		code = storefile_fail(ours_all->db, path, "list the tables", error);
	sqlite3_finalize(ours);
	sqlite3_finalize(theirs);
	sqlite3_free(sql);
	return code;
}

/* One text of all rows of the result. */
static char *text_of(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	char *text = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		text = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	return text;
}

/* Verdicts are written as what these tables say, in rows and in codes. */
static int check_verdicts(struct store_source *source, struct error *error)
{
	static const char *const tables[] = {
		"SELECT group_concat(rule_code || rule, ' ') FROM (SELECT * FROM rule ORDER BY 1)",
		"SELECT group_concat(reason_code || reason, ' ') FROM (SELECT * FROM reason "
		"ORDER BY 1)",
	};
	int code = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && code == 0; i++) {
		char *ours = text_of(source->ours->db, tables[i]);
		char *theirs = text_of(source->db, tables[i]);

		if (ours == NULL || theirs == NULL || strcmp(ours, theirs) != 0)
			code = error_damage(error, source->path, -1,
					    "the rules and reasons of this version", "others");
		sqlite3_free(ours);
		sqlite3_free(theirs);
	}
	return code;
}

static int read_setting(struct store_source *source, const char *key, int64_t fallback,
			int64_t least, int64_t *out, struct error *error)
{
	char *sql = sqlite3_mprintf(
		"SELECT value FROM setting INDEXED BY sqlite_autoindex_setting_1 WHERE key = %Q",
		key);
	int64_t value = 0;
	int code = sql != NULL ? storefile_integer(source->db, source->path, sql, fallback, &value,
						   error)
			       : storefile_fail(NULL, source->path, key, error);

	sqlite3_free(sql);
	if (code == 0 && value < least)
		code = error_damage(error, source->path, -1, "settings of the database",
				    "%s %" PRId64, key, value);
	if (code == 0)
		*out = value;
	return code;
}

static int read_settings(struct store_source *source, struct error *error)
{
	int64_t with_packets = 0, merged = 0;
	int code = read_setting(source, "bucket_ns", 0, 1, &source->facts.bucket_ns, error);

	if (code == 0)
		code = read_setting(source, "with_packets", -1, 0, &with_packets, error);
	if (code == 0)
		code = read_setting(source, "merged", 0, 0, &merged, error);
	source->facts.with_packets = with_packets != 0;
	source->facts.is_merged = merged != 0;
	return code;
}

/* SQLite has read the schema when the file was opened, in a transaction of its own, and reads it
 * again only when its number has changed, which not every change of it does. What is checked
 * must be what is gone by, so it is read once more in the transaction that has begun. */
static int begin(struct store_source *source, struct error *error)
{
	if (sqlite3_exec(source->db,
			 STOREFILE_CHECK_PAGES "BEGIN; SELECT count(*) FROM sqlite_schema;"
					       "PRAGMA writable_schema = RESET",
			 NULL, NULL, NULL) != SQLITE_OK)
		return storefile_fail(source->db, source->path, "read", error);
	return storefile_changes(source->db, "main", source->path, &source->facts.changes, error);
}

int store_source_open(const char *path, const struct store_ours *ours, struct store_source **out,
		      struct error *error)
{
	struct store_source *source = calloc(1, sizeof(*source));
	int code = 0;

	if (source != NULL)
		source->path = strdup(path);
	if (source == NULL || source->path == NULL) {
		free(source);
		return error_set(error, ERROR_MEMORY, path, -1, "open: out of memory");
	}
	source->ours = ours;
	code = storefile_open_untouched(path, &source->db, error);
	if (code == 0 && stat(path, &source->facts.status) != 0)
		code = error_errno(error, path, "open");
	if (code == 0)
		code = begin(source, error);
	if (code == 0)
		code = store_ours_check(ours, source->db, "main", path, error);
	if (code == 0)
		code = check_verdicts(source, error);
	if (code == 0)
		code = read_settings(source, error);
	if (code == 0)
		*out = source;
	else
		store_source_close(source);
	return code;
}

int store_source_has_no_more(struct store_source *source, struct error *error)
{
	static const char sql[] =
		"SELECT group_concat(name, char(10)) FROM (SELECT name FROM sqlite_schema WHERE "
		"name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name)";
	sqlite3_stmt *statement = NULL;
	int code = prepare(source,
			   "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE "
			   "'sqlite!_%' ESCAPE '!' AND instr(char(10) || ?1 || char(10), "
			   "char(10) || name || char(10)) = 0 ORDER BY name",
			   &statement, error);
	char *ours = text_of(source->ours->db, sql);

	if (code == 0 && ours == NULL)
		code = storefile_fail(NULL, source->path, "list the tables", error);
	if (code == 0) {
		sqlite3_bind_text(statement, 1, ours, -1, SQLITE_STATIC);
		if (sqlite3_step(statement) == SQLITE_ROW)
			code = error_set(error, ERROR_USAGE, source->path, -1,
					 "it has the %s %.100s, which pcapwho did not make and "
					 "which would be lost: merge into another file",
					 (const char *)sqlite3_column_text(statement, 0),
					 (const char *)sqlite3_column_text(statement, 1));
	}
	sqlite3_finalize(statement);
	sqlite3_free(ours);
	return code;
}

/* --------------------------------------------------------------- its rows -- */

/* The recordings of one boot share processes, and what is taken for one (merge_state.c) is one
 * here too; in a merged database each says with which it was analyzed. */
#define UNIT_OF_BOOT                                                                               \
	"min(r.recording_id) OVER (PARTITION BY r.boot_id, "                                       \
	"iif(r.boot_id IS NULL, r.recording_uuid, NULL))"
#define UNIT_OF_MERGED                                                                             \
	"(SELECT CAST(CAST(c.state AS TEXT) AS INTEGER) FROM carry c "                             \
	"WHERE c.seq = r.recording_id AND c.kind = " STOREFILE_TEXT(STORE_CARRY_UNIT) ")"
#define RECORDINGS                                                                                 \
	", r.recording_uuid, r.hostname, r.boot_id FROM recording r NOT INDEXED "                  \
	"ORDER BY r.recording_id"

static const char *text_at(sqlite3_stmt *statement, int column)
{
	return (const char *)sqlite3_column_text(statement, column);
}

int store_source_recordings(struct store_source *source,
			    int (*each)(const struct store_source_recording *row, void *context,
					struct error *error),
			    void *context, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int result = SQLITE_ROW;
	int code = prepare(source,
			   source->facts.is_merged
				   ? "SELECT r.recording_id, " UNIT_OF_MERGED RECORDINGS
				   : "SELECT r.recording_id, " UNIT_OF_BOOT RECORDINGS,
			   &statement, error);

	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		struct store_source_recording row = {
			.recording_id = sqlite3_column_int64(statement, 0),
			.unit = sqlite3_column_int64(statement, 1),
			.uuid = text_at(statement, 2),
			.hostname = text_at(statement, 3),
			.boot_id = text_at(statement, 4),
		};

		if (row.uuid == NULL || row.unit < 1 || row.recording_id < 1)
			code = error_damage(
				error, source->path, -1, "recordings as they are written",
				"recording %" PRId64 " of unit %" PRId64 "%s", row.recording_id,
				row.unit, row.uuid == NULL ? " without a UUID" : "");
		else
			code = each(&row, context, error);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = fail(source, "its recordings", error);
	sqlite3_finalize(statement);
	return code;
}

int store_source_segments(struct store_source *source,
			  int (*each)(const struct store_source_segment *row, void *context,
				      struct error *error),
			  void *context, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int result = SQLITE_ROW;
	int code = prepare(source,
			   "SELECT recording_id, packets, number IS NULL, pcap_name, snap_name, "
			   "pcap_sha256, snap_sha256, content_sha256 FROM segment NOT INDEXED "
			   "ORDER BY segment_id",
			   &statement, error);

	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		struct store_source_segment row = {
			.recording_id = sqlite3_column_int64(statement, 0),
			.packets = sqlite3_column_int64(statement, 1),
			.is_bare = sqlite3_column_int64(statement, 2) != 0,
			.pcap_name = text_at(statement, 3),
			.snap_name = text_at(statement, 4),
			.pcap_sha256 = text_at(statement, 5),
			.snap_sha256 = text_at(statement, 6),
			.content_sha256 = text_at(statement, 7),
		};

		if (row.pcap_sha256 == NULL && row.snap_sha256 == NULL)
			code = error_damage(error, source->path, -1, "the SHA-256 of each segment",
					    "a segment without any");
		else
			code = each(&row, context, error);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = fail(source, "its segments", error);
	sqlite3_finalize(statement);
	return code;
}

/* ---------------------------------------------------------------- the lock -- */

int store_lock_open(const char *path, struct store_lock **out, struct error *error)
{
	struct store_lock *lock = calloc(1, sizeof(*lock));
	char *name = storefile_name(path);
	/* The log of one in WAL mode would stay beside the new file and be taken for its own; to
	 * take it back is to change the file before anything is merged. */
	int code = storefile_identify_plain(path, error);

	if (lock == NULL || name == NULL) {
		code = storefile_fail(NULL, path, "open", error);
		goto out;
	}
	if (code == 0)
		code = storefile_check_journal(path, error);
	if (code != 0)
		goto out;
	if (sqlite3_open_v2(name, &lock->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
		code = storefile_fail(lock->db, path, "open", error);
		goto out;
	}
	sqlite3_busy_timeout(lock->db, 10000);
	storefile_distrust(lock->db);
	if (sqlite3_db_readonly(lock->db, "main") == 1)
		code = error_set(error, ERROR_SYSTEM, path, -1,
				 "cannot be written, so nothing can be merged into it");
	/* Reading undoes what was interrupted. */
	else if (sqlite3_exec(lock->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL) !=
		 SQLITE_OK)
		code = storefile_fail(lock->db, path, "lock", error);
out:
	sqlite3_free(name);
	if (code == 0)
		*out = lock;
	else
		store_lock_release(lock);
	return code;
}

int store_lock_hold(struct store_lock *lock, const char *path, struct error *error)
{
	if (sqlite3_exec(lock->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return storefile_fail(lock->db, path, "lock", error);
	return 0;
}

void store_lock_release(struct store_lock *lock)
{
	if (lock == NULL)
		return;
	sqlite3_close(lock->db);
	free(lock);
}
