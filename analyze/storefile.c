#include "analyze/storefile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum error_code code_of(int result)
{
	switch (result & 0xff) {
	case SQLITE_NOMEM:
		return ERROR_MEMORY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERROR_DAMAGED;
	case SQLITE_INTERRUPT:
		return ERROR_INTERRUPTED;
	case SQLITE_TOOBIG:
		return ERROR_LIMIT;
	default:
		return ERROR_SYSTEM;
	}
}

#define TAKE_ANOTHER                                                                               \
	"take another copy of it, or make it anew, from the evidence (analyze) or the databases "  \
	"(merge)"

int storefile_fail(struct sqlite3 *db, const char *path, const char *what, struct error *error)
{
	if (!db)
		return error_set(error, ERROR_MEMORY, path, -1, "%s: out of memory", what);
	enum error_code code = code_of(sqlite3_errcode(db));
	if (code == ERROR_INTERRUPTED)
		return error_set(error, code, NULL, -1, "interrupted");
	if (code == ERROR_DAMAGED)
		return error_damage(error, path, -1, "a database that is whole",
				    "one that contradicts itself (%s: %s): " TAKE_ANOTHER, what,
				    sqlite3_errmsg(db));
	int number = sqlite3_system_errno(db);
	int kind = sqlite3_errcode(db) & 0xff;
	bool from_system = kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN || kind == SQLITE_FULL;

	if (from_system && number != 0)
		error_set(error, code, path, -1, "%s: %s (%s)", what, sqlite3_errmsg(db),
			  strerror(number));
	else
		error_set(error, code, path, -1, "%s: %s", what, sqlite3_errmsg(db));
	if (error && from_system)
		error->saved_errno = number;
	return code;
}

int storefile_integer(struct sqlite3 *db, const char *path, const char *sql, int64_t fallback,
		      int64_t *out, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

	if (result == SQLITE_OK)
		result = sqlite3_step(statement);
	if (result != SQLITE_ROW && result != SQLITE_DONE) {
		int code = storefile_fail(db, path, "read", error);
		sqlite3_finalize(statement);
		return code;
	}
	*out = result == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL
		       ? sqlite3_column_int64(statement, 0)
		       : fallback;
	sqlite3_finalize(statement);
	return 0;
}

/* The fields of SQLite's file header (https://www.sqlite.org/fileformat2.html 1.3). */
#define HEADER_BYTES	    100
#define HEADER_PAGE_SIZE    16 /* 2 bytes, of which 1 is 65536 */
#define MOST_PAGE_SIZE	    65536
#define HEADER_VERSIONS	    18 /* to write and to read */
#define HEADER_VERSION_WAL  2
#define HEADER_CHANGES	    24
#define HEADER_PAGES	    28
#define HEADER_PAGES_FOR    92 /* the number of changes when the pages were counted */
#define HEADER_USER_VERSION 60
#define HEADER_APPLICATION  68

static uint32_t big_endian(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int storefile_changes(struct sqlite3 *db, const char *schema, const char *path, uint32_t *out,
		      struct error *error)
{
	sqlite3_file *file = NULL;
	uint8_t bytes[4];

	/* By SQLite's own descriptor: to close another one would let go of its locks. */
	if (sqlite3_file_control(db, schema, SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
	    !file || !file->pMethods ||
	    file->pMethods->xRead(file, bytes, sizeof bytes, HEADER_CHANGES) != SQLITE_OK)
		return error_set(error, ERROR_SYSTEM, path, -1, "its header cannot be read");
	*out = big_endian(bytes);
	return 0;
}

static int check_header(const uint8_t *header, size_t length, const char *path, struct error *error)
{
	static const char magic[16] = "SQLite format 3";

	if (length == 0)
		return error_damage(error, path, -1, "a pcapwho database", "an empty file");
	if (length < HEADER_BYTES || memcmp(header, magic, sizeof magic) != 0)
		return error_damage(
			error, path, 0, "a pcapwho database",
			"a file that is not a database (%zu bytes read, the first 0x%02x)", length,
			header[0]);
	uint32_t application = big_endian(header + HEADER_APPLICATION);
	if (application != STOREFILE_APPLICATION_ID)
		return error_damage(error, path, HEADER_APPLICATION,
				    "a pcapwho database (application_id 0x70637768)",
				    "an SQLite database of application_id 0x%08x", application);
	uint32_t version = big_endian(header + HEADER_USER_VERSION);
	if (version != STOREFILE_VERSION)
		return error_damage(error, path, HEADER_USER_VERSION,
				    "a database of version " STOREFILE_VERSION_TEXT,
				    "version %u, made by another pcapwho: analyze the evidence "
				    "anew with this one",
				    version);
	return 0;
}

/* The name of SQLite's own file to the database at path: beside the file that a symbolic
 * link leads to. */
static char *name_beside(const char *path, const char *suffix)
{
	char *real = realpath(path, NULL);
	char *name = sqlite3_mprintf("%s%s", real ? real : path, suffix);

	free(real);
	return name;
}

static bool has_content(const char *path, const char *suffix)
{
	char *name = name_beside(path, suffix);
	struct stat status;
	bool found = name && stat(name, &status) == 0 && status.st_size > 0;

	sqlite3_free(name);
	return found;
}

/* A copy that broke off has a header that tells what is not there. One that is being written
 * has a journal until it is as its header says, so that is looked for before its size. */
static int check_size(const uint8_t *header, int fd, const char *path, struct error *error)
{
	int64_t page = header[HEADER_PAGE_SIZE] << 8 | header[HEADER_PAGE_SIZE + 1] << 16;
	int64_t wanted = big_endian(header + HEADER_PAGES) * page;
	struct stat status;
	char text[48];

	/* What makes no sense at all SQLite refuses. */
	if (page > MOST_PAGE_SIZE ||
	    big_endian(header + HEADER_CHANGES) != big_endian(header + HEADER_PAGES_FOR) ||
	    has_content(path, "-journal") || has_content(path, "-wal"))
		return 0;
	if (fstat(fd, &status) != 0)
		return error_errno(error, path, "stat");
	if (status.st_size >= wanted)
		return 0;
	snprintf(text, sizeof text, "a database of %" PRId64 " bytes", wanted);
	return error_damage(error, path, status.st_size, text,
			    "the end of the file, which was cut off: " TAKE_ANOTHER);
}

static int identify(const char *path, uint8_t header[HEADER_BYTES], struct error *error)
{
	struct stat status;
	size_t length = 0;
	ssize_t got = 1;
	int code;
	/* Opening a FIFO must not wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return error_errno(error, path, "open");
	if (fstat(fd, &status) != 0) {
		code = error_errno(error, path, "stat");
		goto out;
	}
	if (!S_ISREG(status.st_mode)) {
		code = error_damage(error, path, -1, "a pcapwho database", "%s",
				    S_ISDIR(status.st_mode) ? "a directory" : "no regular file");
		goto out;
	}
	while (length < HEADER_BYTES && got > 0) {
		got = read(fd, header + length, HEADER_BYTES - length);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			length += (size_t)got;
	}
	code = got < 0 ? error_errno(error, path, "read")
		       : check_header(header, length, path, error);
	if (code == 0)
		code = check_size(header, fd, path, error);
out:
	close(fd);
	return code;
}

int storefile_identify(const char *path, struct error *error)
{
	uint8_t header[HEADER_BYTES];

	return identify(path, header, error);
}

char *storefile_name(const char *path)
{
	return sqlite3_mprintf("%s%s", path[0] == '/' ? "" : "./", path);
}

/* A journal of a transaction over several databases ends with the name of another file,
 * its length, its checksum and these bytes (https://www.sqlite.org/fileformat2.html 3). */
static const uint8_t journal_magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};

int storefile_check_journal(const char *path, struct error *error)
{
	char *name = name_beside(path, "-journal");
	uint8_t last[sizeof journal_magic];
	struct stat status;
	int code = 0, fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;

	if (!name) {
		code = storefile_fail(NULL, path, "open", error);
	} else if (fd < 0) {
		code = errno == ENOENT ? 0 : error_errno(error, name, "open");
	} else if (fstat(fd, &status) != 0) {
		code = error_errno(error, name, "open");
	} else if (status.st_size > (off_t)sizeof last) {
		off_t at = status.st_size - (off_t)sizeof last;

		if (pread(fd, last, sizeof last, at) == (ssize_t)sizeof last &&
		    memcmp(last, journal_magic, sizeof last) == 0)
			code = error_damage(error, name, at, "the journal of one database",
					    "one that names another file, which SQLite would "
					    "remove: pcapwho makes none such");
	}
	if (fd >= 0)
		close(fd);
	sqlite3_free(name);
	return code;
}

int storefile_check_alone(const char *path, struct error *error)
{
	static const char *const suffixes[] = {"-journal", "-wal"};
	struct stat status;
	int code = 0;

	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && code == 0; i++) {
		char *name = sqlite3_mprintf("%s%s", path, suffixes[i]);

		if (!name)
			code = storefile_fail(NULL, path, "open", error);
		else if (lstat(name, &status) == 0)
			code = error_set(error, ERROR_USAGE, name, -1,
					 "belongs to a database that is gone, and would be "
					 "written into the new one: remove it");
		sqlite3_free(name);
	}
	return code;
}

/* "file:" URI of a path: whatever has a meaning in a URI is written %HH. */
static char *uri_of(const char *path, const char *parameters)
{
	sqlite3_str *uri = sqlite3_str_new(NULL);

	/* Two slashes would begin the name of a host. */
	while (path[0] == '/' && path[1] == '/')
		path++;
	sqlite3_str_appendall(uri, "file:");
	for (const char *at = path; *at; at++) {
		if (strchr("?#%", *at))
			sqlite3_str_appendf(uri, "%%%02X", (unsigned char)*at);
		else
			sqlite3_str_appendchar(uri, 1, *at);
	}
	sqlite3_str_appendall(uri, parameters);
	return sqlite3_str_finish(uri);
}

/* *kind is SQLite's primary result code where it fails. */
static int open_as(const char *name, const char *path, int flags, struct sqlite3 **out, int *kind,
		   struct error *error)
{
	sqlite3 *db = NULL;
	int64_t objects;
	int code = 0;

	if (sqlite3_open_v2(name, &db, SQLITE_OPEN_READONLY | flags, NULL) != SQLITE_OK) {
		code = storefile_fail(db, path, "open", error);
		goto out;
	}
	sqlite3_busy_timeout(db, 10000);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	storefile_distrust(db);
	/* SQLite opens the file when it is first asked something. */
	code = storefile_integer(db, path, "SELECT count(*) FROM sqlite_schema", 0, &objects,
				 error);
out:
	*kind = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
	if (code == 0)
		*out = db;
	else
		sqlite3_close(db);
	return code;
}

/* What SQLite could not lock or make its own files for may be read as it is; what is
 * locked is being written. */
static bool may_be_read_as_it_is(int kind)
{
	return kind == SQLITE_CANTOPEN || kind == SQLITE_READONLY || kind == SQLITE_IOERR;
}

/* A load that was killed left its journal: SQLite undoes it when the file is
 * next opened for writing, where that is allowed. */
static int undo_interrupted_load(const char *name, const char *path, struct error *error)
{
	sqlite3 *db = NULL;
	int code = storefile_check_journal(path, error);

	if (code != 0)
		return code;
	if (sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
		sqlite3_busy_timeout(db, 10000);
		sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
	}
	sqlite3_close(db);
	return 0;
}

static int open_to_read(const char *path, bool may_undo, struct sqlite3 **out, struct error *error)
{
	int kind, code;
	char *plain = storefile_name(path);
	char *uri = plain ? uri_of(plain, "?immutable=1") : NULL;
	if (!uri) {
		code = storefile_fail(NULL, path, "open", error);
		goto out;
	}
	code = open_as(plain, path, 0, out, &kind, error);
	if (code != 0 && kind == SQLITE_READONLY && may_undo) {
		code = undo_interrupted_load(plain, path, error);
		if (code != 0)
			goto out;
		code = open_as(plain, path, 0, out, &kind, error);
	}
	if (code == 0 || !may_be_read_as_it_is(kind))
		goto out;
	if (has_content(path, "-journal") || has_content(path, "-wal"))
		code = error_set(
			error, ERROR_SYSTEM, path, -1,
			"an interrupted load has to be undone first: query it once where it "
			"can be written");
	else
		code = open_as(uri, path, SQLITE_OPEN_URI, out, &kind, error);
out:
	sqlite3_free(plain);
	sqlite3_free(uri);
	return code;
}

void storefile_configure(void)
{
	/* Nobody asks SQLite how much memory it has, and the sum takes a lock for each piece.
	 * Where it runs already it stays as it is. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

void storefile_distrust(struct sqlite3 *db)
{
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
}

int storefile_open(const char *path, struct sqlite3 **out, struct error *error)
{
	int code = storefile_identify(path, error);

	return code == 0 ? open_to_read(path, true, out, error) : code;
}

int storefile_identify_plain(const char *path, struct error *error)
{
	uint8_t header[HEADER_BYTES];
	int code = identify(path, header, error);

	if (code != 0)
		return code;
	/* SQLite reads a log that is there whatever the header says, and makes files of its own
	 * beside one in WAL mode. */
	if (header[HEADER_VERSIONS] == HEADER_VERSION_WAL ||
	    header[HEADER_VERSIONS + 1] == HEADER_VERSION_WAL || has_content(path, "-wal"))
		return error_set(error, ERROR_USAGE, path, -1,
				 "it is in WAL mode, in which pcapwho makes none, or has a log of "
				 "that beside it (-wal): take it back with sqlite3, by PRAGMA "
				 "journal_mode = DELETE, where it can be written");
	return 0;
}

int storefile_open_untouched(const char *path, struct sqlite3 **out, struct error *error)
{
	int code = storefile_identify_plain(path, error);

	return code == 0 ? open_to_read(path, false, out, error) : code;
}

static int attach_as(struct sqlite3 *db, const char *schema, const char *plain,
		     const char *parameters, const char *path, int *kind, struct error *error)
{
	char *uri = uri_of(plain, parameters);
	char *attach = uri ? sqlite3_mprintf("ATTACH %Q AS %s", uri, schema) : NULL;
	char *look = sqlite3_mprintf("SELECT count(*) FROM %s.sqlite_schema", schema);
	int64_t objects;
	int code = 0;

	if (!attach || !look)
		code = storefile_fail(NULL, path, "open", error);
	else if (sqlite3_exec(db, attach, NULL, NULL, NULL) != SQLITE_OK)
		code = storefile_fail(db, path, "open", error);
	else
		code = storefile_integer(db, path, look, 0, &objects, error);
	*kind = sqlite3_errcode(db) & 0xff;
	sqlite3_free(uri);
	sqlite3_free(attach);
	sqlite3_free(look);
	return code;
}

int storefile_attach(struct sqlite3 *db, const char *schema, const char *path, struct error *error)
{
	/* db may be one whose own file must be no link, and that is then asked of this too. */
	char *plain = realpath(path, NULL);
	int kind, code;

	if (!plain)
		return error_errno(error, path, "open");
	code = attach_as(db, schema, plain, "?mode=ro", path, &kind, error);
	if (code != 0 && may_be_read_as_it_is(kind) && !has_content(path, "-journal") &&
	    !has_content(path, "-wal")) {
		storefile_detach(db, schema);
		code = attach_as(db, schema, plain, "?immutable=1", path, &kind, error);
	}
	if (code != 0)
		storefile_detach(db, schema);
	free(plain);
	return code;
}

void storefile_detach(struct sqlite3 *db, const char *schema)
{
	char *sql = sqlite3_mprintf("DETACH %s", schema);

	if (sql)
		sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_free(sql);
}

void storefile_close(struct sqlite3 *db)
{
	sqlite3_close(db);
}
