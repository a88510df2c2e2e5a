#include "analyze/store.h"

#include <inttypes.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyze/schema_sql.h"
#include "analyze/store_rows.h"
#include "analyze/store_source.h"
#include "analyze/storefile.h"
#include "snapshot/format/quantity.h"

/* One thread uses a store, so nothing need be locked between threads. */
#define OPEN_FLAGS (SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX)
/* The file that is filled was made by us, and is no link. */
#define FILL_FLAGS (OPEN_FLAGS | SQLITE_OPEN_NOFOLLOW)
/* For the databases that are attached to one that is merged. */
#define MERGED_FLAGS (FILL_FLAGS | SQLITE_OPEN_URI)

/* While a new database is filled nobody else reads it and a crash leaves only
 * a temporary file, so nothing is synced; the journal in memory is for
 * store_rollback. What decides about the bytes of the file is said, not left
 * to how SQLite was compiled. A larger cache (in KiB) is no faster: rows come in the
 * order of their tables, and the system keeps the file in memory anyway. Rows of flows that go
 * on come between those that are there: a large page is split less often. */
static const char new_pragmas[] = "PRAGMA page_size = 16384;"
				  "PRAGMA encoding = 'UTF-8';"
				  "PRAGMA auto_vacuum = NONE;"
				  "PRAGMA locking_mode = EXCLUSIVE;"
				  "PRAGMA journal_mode = MEMORY;"
				  "PRAGMA synchronous = OFF;"
				  "PRAGMA cache_size = -4096;"
				  "PRAGMA foreign_keys = OFF;"
				  "PRAGMA secure_delete = OFF;"
				  "PRAGMA application_id = " STOREFILE_APPLICATION_ID_TEXT ";"
				  "PRAGMA user_version = " STOREFILE_VERSION_TEXT ";";
/* Here a page that has no room costs a sync. */
static const char place_pragmas[] = "PRAGMA journal_mode = DELETE;"
				    "PRAGMA synchronous = FULL;"
				    "PRAGMA cache_size = -65536;"
				    "PRAGMA foreign_keys = OFF;";
/* Of the copy that is put in place: a question reads, and a later load writes, no more than it
 * needs. */
static const char copy_pragma[] = "PRAGMA page_size = 4096";
/* Enough samples to choose between indexes, at a cost that does not grow with the rows. */
static const char analyze_sql[] = "PRAGMA analysis_limit = 1000; ANALYZE;"
				  "DROP TABLE IF EXISTS sqlite_stat4;";

/* Samples also tell how the pages were filled, which depends on what was written together. */
static const char analyze_sums_sql[] =
	"PRAGMA analysis_limit = 0; ANALYZE process_bucket; ANALYZE process_period;"
	"DROP TABLE IF EXISTS sqlite_stat4;";

/* Bytes 96 to 99 of a database hold the version of the SQLite that wrote it,
 * for information only. A fixed one, or two machines would write two files. */
#define HEADER_WRITER 96
#define HEADER_WRITER_VERSION                                                                      \
	{                                                                                          \
		0, 0x2e, 0x57, 0x4a                                                                \
	} /* 3.37.2, the oldest we can do with (STRICT) */

int store_execute(struct store *store, const char *sql, struct error *error)
{
	if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "database", error);
	return 0;
}

bool store_with_packets(const struct store *store)
{
	return store->with_packets;
}

bool store_is_new(const struct store *store)
{
	return store->is_new;
}

int64_t store_bucket_ns(const struct store *store)
{
	return store->bucket_ns;
}

/* ------------------------------------------------------------- opening -- */

static int insert_help_row(struct store *store, sqlite3_stmt *statement, const char *line,
			   size_t length, struct error *error)
{
	const char *end = line + length;

	for (int field = 1; field <= 5; field++) {
		const char *tab = memchr(line, '\t', (size_t)(end - line));
		const char *stop = field < 5 ? tab : end;

		assert(stop); /* the text is our own, and a test reads it */
		sqlite3_bind_text(statement, field, line, (int)(stop - line), SQLITE_STATIC);
		line = stop + (field < 5);
	}
	int code = sqlite3_step(statement) == SQLITE_DONE
			   ? 0
			   : storefile_fail(store->db, store->path, "column_help", error);
	sqlite3_reset(statement);
	return code;
}

static int fill_help(struct store *store, struct error *error)
{
	const char *line = strchr(schema_columns, '\n') + 1, *end;
	sqlite3_stmt *statement = NULL;
	int code = 0;

	if (sqlite3_prepare_v2(store->db, "INSERT INTO column_help VALUES (?1, ?2, ?3, ?4, ?5)", -1,
			       &statement, NULL) != SQLITE_OK)
		code = storefile_fail(store->db, store->path, "column_help", error);
	for (; code == 0 && *line; line = end + 1) {
		end = strchr(line, '\n');
		code = insert_help_row(store, statement, line, (size_t)(end - line), error);
	}
	sqlite3_finalize(statement);
	return code;
}

static int create_schema(struct store *store, struct error *error)
{
	int code = store_execute(store, new_pragmas, error);

	/* Its rows come out of other files. */
	if (code == 0 && store->is_merged)
		code = store_execute(store, STOREFILE_CHECK_PAGES, error);
	if (code == 0)
		code = store_execute(store, "BEGIN", error);
	if (code == 0)
		code = store_execute(store, schema_tables, error);
	if (code == 0)
		code = store_execute(store, schema_views, error);
	if (code == 0)
		code = fill_help(store, error);
	if (code != 0)
		return code;
	char *settings =
		sqlite3_mprintf("INSERT INTO setting (key, value) VALUES "
				"('bucket_ns', %lld), ('with_packets', %d), "
				"('format_version', %d)%s; COMMIT",
				(long long)store->bucket_ns, store->with_packets, STOREFILE_VERSION,
				store->is_merged ? ", ('merged', 1)" : "");
	code = settings ? store_execute(store, settings, error)
			: storefile_fail(NULL, store->path, "create", error);
	sqlite3_free(settings);
	return code;
}

static int fail_to_create(const char *path, struct error *error)
{
	/* A missing directory is no missing input. */
	if (errno == ENOENT)
		return error_set(error, ERROR_SYSTEM, path, -1,
				 "create: %s: make its directory first", strerror(ENOENT));
	return error_errno(error, path, "create");
}

/* Makes an empty file that nobody else has, on the way to path, which is what an error names.
 * Whoever looks for what dead processes left (store_stale.c) may not see ours, if it is in another
 * PID namespace, but sees the lock. SQLite locks other bytes, and loses its locks when any
 * descriptor of the file is closed: so *fd stays open until the file is done with. */
static int create_empty(const char *name, const char *path, int *fd, struct error *error)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

	if (!name)
		return storefile_fail(NULL, path, "open", error);
	*fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (*fd < 0)
		return errno == EEXIST ? error_errno(error, path, "create %s", name)
				       : fail_to_create(path, error);
	/* A file system without locks has none to respect either. */
	(void)fcntl(*fd, F_OFD_SETLK, &lock);
	return 0;
}

/* Whether name still is the file that was made under it. */
static bool is_still(const char *name, int fd)
{
	struct stat made, found;

	return fstat(fd, &made) == 0 && lstat(name, &found) == 0 && made.st_dev == found.st_dev &&
	       made.st_ino == found.st_ino;
}

static int check_still(const char *name, int fd, const char *path, struct error *error)
{
	if (is_still(name, fd))
		return 0;
	return error_set(error, ERROR_SYSTEM, path, -1,
			 "somebody removed or replaced %s, which was to be put in place: try again",
			 name);
}

/* It is made beside itself and put in its place at the end: what cannot be done then is told
 * before all the work. */
static int check_new_path(const char *path, struct error *error)
{
	struct stat status;

	if (path[0] == '\0')
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "wanted the name of a database, found an empty one");
	if (stat(path, &status) != 0 && lstat(path, &status) == 0)
		return error_set(error, ERROR_USAGE, path, -1,
				 "a symbolic link to nothing: remove it, or give the name that it "
				 "leads to");
	return storefile_check_alone(path, error);
}

/* Sets the names of what is filled and of its copy. Their directory's own name, for SQLite
 * follows no link in a name when it must follow none at its end. */
static int name_fill(struct store *store, struct error *error)
{
	const char *slash = strrchr(store->path, '/');
	char *named = slash ? sqlite3_mprintf("%.*s/", (int)(slash - store->path), store->path)
			    : sqlite3_mprintf(".");
	char *directory = named ? realpath(named, NULL) : NULL;
	uint32_t random;
	int code = 0;

	if (named && !directory) {
		code = fail_to_create(store->path, error);
	} else if (directory && getrandom(&random, sizeof random, 0) != sizeof random) {
		code = error_errno(error, store->path, "draw a random number");
	} else if (directory) {
		/* In two PID namespaces, two processes have one number. */
		store->fill_path = sqlite3_mprintf(
			"%s/%s.tmp-%d-%08x", strcmp(directory, "/") ? directory : "",
			slash ? slash + 1 : store->path, (int)getpid(), random);
		if (store->fill_path)
			store->copy_path = sqlite3_mprintf("%s-copy", store->fill_path);
	}
	if (code == 0 && !store->copy_path)
		code = storefile_fail(NULL, store->path, "open", error);
	sqlite3_free(named);
	free(directory);
	return code;
}

static int open_new(struct store *store, int64_t bucket_ns, bool with_packets, struct error *error)
{
	int code = check_new_path(store->path, error);

	store->is_new = true;
	store->bucket_ns = bucket_ns ? bucket_ns : NS_PER_SECOND;
	store->with_packets = with_packets;
	if (code == 0)
		code = name_fill(store, error);
	if (code != 0)
		return code;
	code = create_empty(store->fill_path, store->path, &store->fill_fd, error);
	if (code != 0)
		return code;
	if (sqlite3_open_v2(store->fill_path, &store->db,
			    store->is_merged ? MERGED_FLAGS : FILL_FLAGS, NULL) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "open", error);
	storefile_distrust(store->db);
	return create_schema(store, error);
}

static int read_setting(struct store *store, const char *key, int64_t *out, struct error *error)
{
	char *sql = sqlite3_mprintf("SELECT value FROM setting WHERE key = %Q", key);
	int code;

	*out = -1;
	code = sql ? storefile_integer(store->db, store->path, sql, -1, out, error)
		   : storefile_fail(NULL, store->path, key, error);

	sqlite3_free(sql);
	if (code == 0 && *out < 0)
		code = error_damage(error, store->path, -1, "settings of the database", "no %s",
				    key);
	return code;
}

/* What its rows came from is not there to go on with. */
static int refuse_merged(struct store *store, struct error *error)
{
	int64_t merged;
	int code = storefile_integer(store->db, store->path,
				     "SELECT value FROM setting WHERE key = 'merged'", 0, &merged,
				     error);

	if (code == 0 && merged != 0)
		code = error_set(error, ERROR_USAGE, store->path, -1,
				 "it was made by pcapwho merge, so no evidence can be added to "
				 "it: analyze into the database of its host (-o), and merge "
				 "that again");
	return code;
}

static int refuse_bucket(const struct store *store, int64_t wanted_ns, struct error *error)
{
	char mine[QUANTITY_DURATION_SIZE], wanted[QUANTITY_DURATION_SIZE];

	return error_set(error, ERROR_USAGE, store->path, -1,
			 "its buckets are of %s, and not of %s: write another file, or leave "
			 "--bucket out",
			 quantity_format_duration(store->bucket_ns, mine, sizeof mine),
			 quantity_format_duration(wanted_ns, wanted, sizeof wanted));
}

/* Whoever made it may have put a view that never ends in a table's place. */
static int check_tables(struct store *store, struct error *error)
{
	struct store_ours *ours = NULL;
	int code = store_ours_new(&ours, error);

	if (code == 0)
		code = store_ours_check(ours, store->db, "main", store->path, error);
	store_ours_free(ours);
	return code;
}

static int open_in_place(struct store *store, int64_t bucket_ns, bool with_packets,
			 struct error *error)
{
	char *name = storefile_name(store->path);
	int64_t packets;
	int code = name ? storefile_check_journal(store->path, error)
			: storefile_fail(NULL, store->path, "open", error);

	if (code == 0 && sqlite3_open_v2(name, &store->db, OPEN_FLAGS, NULL) != SQLITE_OK)
		code = storefile_fail(store->db, store->path, "open", error);
	sqlite3_free(name);
	if (code != 0)
		return code;
	sqlite3_busy_timeout(store->db, 10000);
	if (sqlite3_db_readonly(store->db, "main") == 1)
		return error_set(error, ERROR_SYSTEM, store->path, -1,
				 "cannot be written, so nothing can be added to it");
	storefile_distrust(store->db);
	code = check_tables(store, error);
	if (code == 0)
		code = refuse_merged(store, error);
	if (code == 0)
		code = store_execute(store, place_pragmas, error);
	if (code == 0)
		code = read_setting(store, "bucket_ns", &store->bucket_ns, error);
	if (code == 0 && store->bucket_ns <= 0)
		code = error_damage(error, store->path, -1, "a bucket of some nanoseconds",
				    "bucket_ns %" PRId64, store->bucket_ns);
	if (code == 0)
		code = read_setting(store, "with_packets", &packets, error);
	if (code != 0)
		return code;
	store->with_packets = packets != 0;
	if (bucket_ns && bucket_ns != store->bucket_ns)
		return refuse_bucket(store, bucket_ns, error);
	if (with_packets && !store->with_packets)
		return error_set(error, ERROR_USAGE, store->path, -1,
				 "it was made without packets: write another file to have them");
	return 0;
}

/* What else stands there is not ours to remove. */
static void remove_ours(const char *name, int fd)
{
	if (fd < 0)
		return;
	if (is_still(name, fd))
		unlink(name);
	close(fd);
}

static void release(struct store *store)
{
	store_finalize_all(store);
	store_held_release(store);
	store_packets_release(store);
	store_sums_release(store);
	sqlite3_close(store->db);
	remove_ours(store->fill_path, store->fill_fd);
	remove_ours(store->copy_path, store->copy_fd);
	sqlite3_free(store->fill_path);
	sqlite3_free(store->copy_path);
	free(store->path);
	free(store);
}

int store_open(const char *path, int64_t bucket_ns, bool with_packets, struct store **out,
	       struct error *error)
{
	struct store *store = calloc(1, sizeof *store);
	struct stat status;
	int code;

	storefile_configure();
	if (store) {
		store->fill_fd = store->copy_fd = -1;
		store->path = strdup(path);
	}
	if (!store || !store->path) {
		free(store);
		return error_set(error, ERROR_MEMORY, path, -1, "open: out of memory");
	}
	if (bucket_ns < 0)
		code = error_set(error, ERROR_USAGE, path, -1, "a bucket of %lld ns",
				 (long long)bucket_ns);
	else if (stat(path, &status) == 0)
		code = storefile_identify(path, error);
	else if (errno == ENOENT)
		code = open_new(store, bucket_ns, with_packets, error);
	else
		code = error_errno(error, path, "open");
	if (code == 0 && !store->is_new)
		code = open_in_place(store, bucket_ns, with_packets, error);
	if (code == 0)
		code = store_load_codes(store, error);
	if (code == 0)
		code = store_sums_open(store, error);
	if (code == 0)
		code = store_checks_open(store, error);
	if (code != 0) {
		release(store);
		return code;
	}
	*out = store;
	return 0;
}

int store_open_merged(const char *path, bool replaces, int64_t bucket_ns, bool with_packets,
		      struct store **out, struct error *error)
{
	struct store *store = calloc(1, sizeof *store);
	int code;

	if (store) {
		store->fill_fd = store->copy_fd = -1;
		store->path = strdup(path);
	}
	if (!store || !store->path) {
		free(store);
		return error_set(error, ERROR_MEMORY, path, -1, "open: out of memory");
	}
	store->is_merged = true;
	store->replaces = replaces;
	code = open_new(store, bucket_ns, with_packets, error);
	if (code == 0)
		code = store_load_codes(store, error);
	if (code == 0)
		code = store_sums_open(store, error);
	if (code == 0)
		code = store_checks_open(store, error);
	if (code != 0) {
		release(store);
		return code;
	}
	*out = store;
	return 0;
}

/* -------------------------------------------------------- transactions -- */

int store_begin(struct store *store, struct error *error)
{
	return store_execute(store, "BEGIN IMMEDIATE", error);
}

int store_commit(struct store *store, struct error *error)
{
	int code = store_held_flush(store, error);

	if (code == 0)
		code = store_packets_flush(store, error);
	if (code == 0)
		code = store_sums_commit(store, false, error);
	if (code == 0)
		code = store_checks_commit(store, error);
	return code == 0 ? store_execute(store, "COMMIT", error) : code;
}

/* So many steps of SQLite's machine are done in well under a millisecond. */
#define STOP_STEPS 10000

static int is_stopped(void *context)
{
	const volatile sig_atomic_t *stop = context;

	return *stop != 0;
}

void store_stop_when(struct store *store, const volatile sig_atomic_t *stop)
{
	sqlite3_progress_handler(store->db, stop == NULL ? 0 : STOP_STEPS, is_stopped,
				 (void *)(uintptr_t)stop);
}

void store_rollback(struct store *store)
{
	store_stop_when(store, NULL);
	store_held_drop(store);
	store_packets_forget(store);
	store_sums_drop(store);
	/* SQLite has rolled back by itself after some failures. */
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

/* ------------------------------------------------------------- closing -- */

static int copy_database(struct store *store, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int code = create_empty(store->copy_path, store->path, &store->copy_fd, error);

	if (code == 0)
		code = store_execute(store, copy_pragma, error);
	if (code != 0)
		return code;
	if (sqlite3_prepare_v2(store->db, "VACUUM INTO ?1", -1, &statement, NULL) != SQLITE_OK ||
	    sqlite3_bind_text(statement, 1, store->copy_path, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_step(statement) != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, "write", error);
	sqlite3_finalize(statement);
	return code;
}

/* Through the descriptor: the file that was made, whatever has its name now. */
static int seal_copy(const struct store *store, struct error *error)
{
	static const unsigned char version[4] = HEADER_WRITER_VERSION;
	int fd = store->copy_fd;
	int code = check_still(store->copy_path, fd, store->path, error);

	if (code == 0 &&
	    (pwrite(fd, version, sizeof version, HEADER_WRITER) != (ssize_t)sizeof version ||
	     fsync(fd) != 0))
		code = error_errno(error, store->path, "write");
	return code;
}

static int sync_directory_of(const char *path, struct error *error)
{
	char *copy = strdup(path);
	int code = 0, fd;

	if (!copy)
		return error_set(error, ERROR_MEMORY, path, -1, "sync: out of memory");
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* EINVAL: a file system that cannot sync a directory. */
	if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
		code = error_errno(error, path, "sync its directory");
	if (fd >= 0)
		close(fd);
	free(copy);
	return code;
}

/* With the permissions of the file that it replaces, and its owner where that is allowed. */
static int replace(const char *from, int fd, const char *to, struct error *error)
{
	struct stat status;
	int code = 0;

	/* No set-user-ID bits and the like: a database is run by nobody. */
	if (stat(to, &status) != 0 || fchmod(fd, status.st_mode & ACCESSPERMS) != 0)
		code = error_errno(error, to, "keep its permissions");
	else if (fchown(fd, status.st_uid, status.st_gid) != 0 && errno != EPERM)
		code = error_errno(error, to, "keep its owner");
	if (code == 0)
		code = storefile_check_alone(to, error);
	if (code == 0)
		code = check_still(from, fd, to, error);
	if (code == 0 && rename(from, to) != 0)
		code = error_errno(error, to, "put the database in place");
	return code == 0 ? sync_directory_of(to, error) : code;
}

/* link() and not rename(): a file that appeared there meanwhile is not ours to replace. */
static int put_in_place(const char *from, int fd, const char *to, struct error *error)
{
	int code = storefile_check_alone(to, error);

	if (code == 0)
		code = check_still(from, fd, to, error);
	if (code != 0)
		return code;
	if (link(from, to) != 0) {
		struct stat status;
		bool has_no_links =
			errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK;

		if (!has_no_links)
			return error_errno(error, to, "put the database in place");
		if (lstat(to, &status) == 0) {
			errno = EEXIST;
			return error_errno(error, to, "put the database in place");
		}
		if (rename(from, to) != 0)
			return error_errno(error, to, "put the database in place");
	}
	return sync_directory_of(to, error);
}

static int sum_all(struct store *store, struct error *error)
{
	int code = store_execute(store, "BEGIN", error);

	if (code == 0)
		code = store_sums_commit(store, true, error);
	return code == 0 ? store_execute(store, "COMMIT", error) : code;
}

int store_finish(struct store *store, struct error *error)
{
	int code = 0;

	assert(sqlite3_get_autocommit(store->db));
	if (store->is_new)
		code = sum_all(store, error);
	store_finalize_all(store);
	if (code == 0 && store->is_new)
		code = store_execute(store, schema_indexes, error);
	if (code == 0 && store->is_new)
		code = store_checks_finish(store, error);
	/* Where nothing was added, not a byte changes. */
	if (code == 0 && (store->is_new || sqlite3_total_changes(store->db) > 0))
		code = store_execute(store, analyze_sql, error);
	if (code == 0 && store->is_new)
		code = store_execute(store, analyze_sums_sql, error);
	if (code == 0 && store->is_new) {
		code = copy_database(store, error);
		if (code == 0)
			code = seal_copy(store, error);
		if (code == 0)
			code = (store->replaces ? replace : put_in_place)(
				store->copy_path, store->copy_fd, store->path, error);
	}
	release(store);
	return code;
}

void store_abandon(struct store *store)
{
	if (!store)
		return;
	store_rollback(store);
	release(store);
}
