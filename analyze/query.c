#include "analyze/query.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/query_print.h"
#include "analyze/storefile.h"

int query_parse_format(const char *name, enum query_format *out)
{
	static const char *const names[] = {
		[QUERY_TABLE] = "table", [QUERY_CSV] = "csv", [QUERY_JSON] = "json"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(names[i], name) == 0) {
			*out = (enum query_format)i;
			return 0;
		}
	}
	return -1;
}

const struct schema_query *query_find(const char *name)
{
	for (const struct schema_query *query = schema_queries; query->name; query++)
		if (strcmp(query->name, name) == 0)
			return query;
	return NULL;
}

char *query_directive(const char *text, const char *directive, char *buffer, size_t size)
{
	size_t length = strlen(directive);

	while (strncmp(text, "-- ", 3) == 0) {
		const char *value = text + 3, *end = strchr(text, '\n');

		if (!end)
			end = text + strlen(text);
		if (length == 0 ||
		    (strncmp(value, directive, length) == 0 && value[length] == ':')) {
			if (length > 0)
				value += length + 1;
			while (*value == ' ')
				value++;
			snprintf(buffer, size, "%.*s", (int)(end - value), value);
			return buffer;
		}
		text = *end ? end + 1 : end;
	}
	return NULL;
}

/* --------------------------------------------------------- what is allowed -- */

/* Pragmas that only tell. Those marked take an argument which names what to tell. */
static bool is_telling(const char *name, const char *argument)
{
	static const struct {
		const char *name;
		bool takes_argument;
	} telling[] = {
		{"application_id", false},  {"collation_list", false}, {"compile_options", false},
		{"database_list", false},   {"encoding", false},       {"foreign_key_check", true},
		{"foreign_key_list", true}, {"function_list", false},  {"index_info", true},
		{"index_list", true},	    {"index_xinfo", true},     {"integrity_check", true},
		{"journal_mode", false},    {"page_count", false},     {"page_size", false},
		{"quick_check", true},	    {"schema_version", false}, {"table_info", true},
		{"table_list", true},	    {"table_xinfo", true},     {"user_version", false},
	};

	for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
		if (sqlite3_stricmp(telling[i].name, name) == 0)
			return telling[i].takes_argument || !argument;
	return false;
}

static int authorize(void *context, int action, const char *first, const char *second,
		     const char *database, const char *view)
{
	(void)context;
	(void)database;
	(void)view;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		return second && sqlite3_stricmp(second, "load_extension") == 0 ? SQLITE_DENY
										: SQLITE_OK;
	case SQLITE_PRAGMA:
		return is_telling(first, second) ? SQLITE_OK : SQLITE_DENY;
	case SQLITE_UPDATE:
		/* A table-valued function (pragma_table_info, json_each) declares its
		 * columns so; a real one is refused by SQLite and by prepare_one. */
		return sqlite3_stricmp(first, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
	default:
		return SQLITE_DENY;
	}
}

/* ------------------------------------------------------------- statement -- */

static int fail_prepare(sqlite3 *db, const char *sql, struct error *error)
{
	int offset = -1;

	if (sqlite3_errcode(db) == SQLITE_AUTH)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "the SQL is refused: a query only reads");
#if SQLITE_VERSION_NUMBER >= 3038000
	offset = sqlite3_error_offset(db);
#endif
	if (offset < 0 || (size_t)offset > strlen(sql))
		return error_set(error, ERROR_USAGE, NULL, -1, "SQL: %s", sqlite3_errmsg(db));
	return error_set(error, ERROR_USAGE, NULL, -1, "SQL: %s, at character %d: %.60s",
			 sqlite3_errmsg(db), offset + 1, sql + offset);
}

static int prepare_one(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **out,
		       struct error *error)
{
	sqlite3_stmt *statement = NULL, *second = NULL;
	const char *rest = sql;
	int result = SQLITE_OK;
	bool more = false;

	/* A comment or a lone semicolon gives no statement. */
	while (result == SQLITE_OK && !statement && *rest)
		result = sqlite3_prepare_v2(db, rest, -1, &statement, &rest);
	if (result == SQLITE_OK && !statement)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "SQL: there is no statement in \"%s\"", sql);
	/* What follows need not be right to be refused. */
	while (result == SQLITE_OK && !more && *rest) {
		more = sqlite3_prepare_v2(db, rest, -1, &second, &rest) != SQLITE_OK || second;
		sqlite3_finalize(second);
	}
	if (more) {
		sqlite3_finalize(statement);
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "SQL: one statement at a time, found more after its end");
	}
	if (result == SQLITE_ERROR || result == SQLITE_AUTH)
		return fail_prepare(db, sql, error);
	if (result != SQLITE_OK)
		return storefile_fail(db, path, "query", error);
	if (!sqlite3_stmt_readonly(statement)) {
		sqlite3_finalize(statement);
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "the SQL is refused: a query only reads");
	}
	*out = statement;
	return 0;
}

struct binding {
	const char *parameter, *option;
	bool given;
	int64_t number;
	const char *text;
};

static int bind(sqlite3_stmt *statement, const struct query_parameters *given, struct error *error)
{
	bool windowed = given->since_ns != QUERY_NULL || given->until_ns != QUERY_NULL;
	/* Both ends or none, so that a query can go by an index. */
	int64_t since = windowed && given->since_ns == QUERY_NULL ? 0 : given->since_ns;
	int64_t until = windowed && given->until_ns == QUERY_NULL ? INT64_MAX : given->until_ns;
	const struct binding bindings[] = {
		{":since_ns", "--since", given->since_ns != QUERY_NULL, since, NULL},
		{":until_ns", "--until", given->until_ns != QUERY_NULL, until, NULL},
		{":process", "--process", given->process != NULL, QUERY_NULL, given->process},
		{":limit", "--limit", given->limit != QUERY_NULL, given->limit, NULL},
		{":bucket", "--bucket", given->bucket_ns != QUERY_NULL, given->bucket_ns, NULL},
		{":host", "--host", given->host != NULL, QUERY_NULL, given->host},
	};
	const size_t count = sizeof bindings / sizeof *bindings;

	for (int i = 1; i <= sqlite3_bind_parameter_count(statement); i++) {
		const char *name = sqlite3_bind_parameter_name(statement, i);
		size_t known = 0;

		while (known < count && (!name || strcmp(bindings[known].parameter, name) != 0))
			known++;
		if (known == count)
			return error_set(error, ERROR_USAGE, NULL, -1,
					 "SQL: the parameter %s has no value; there are :since_ns "
					 ":until_ns :process :limit :bucket :host",
					 name ? name : "?");
		if (bindings[known].text)
			sqlite3_bind_text(statement, i, bindings[known].text, -1, SQLITE_STATIC);
		else if (bindings[known].number != QUERY_NULL)
			sqlite3_bind_int64(statement, i, bindings[known].number);
	}
	for (size_t i = 0; i < count; i++)
		if (bindings[i].given &&
		    sqlite3_bind_parameter_index(statement, bindings[i].parameter) == 0)
			return error_set(error, ERROR_USAGE, NULL, -1, "this query takes no %s",
					 bindings[i].option);
	return 0;
}

/* ------------------------------------------------------------------- hosts -- */

/* As many names as there is room for, and how many more there are. */
static void list_host(const char *name, char *list, size_t size, size_t *more)
{
	size_t length = strlen(list);
	/* The last words have room in any case. */
	const size_t kept = sizeof(" and 18446744073709551615 more: pcapwho query DATABASE hosts");

	if (*more > 0 || length + strlen(name) + 2 + kept > size)
		(*more)++;
	else
		snprintf(list + length, size - length, "%s%s", length > 0 ? ", " : "", name);
}

/* None, or several, is it: which ones there are. */
static int fail_host(sqlite3_stmt *hosts, const char *path, const char *name, struct error *error)
{
	char list[sizeof(error->message) - 128] = "";
	size_t more = 0, length;
	int result;

	sqlite3_reset(hosts);
	sqlite3_clear_bindings(hosts);
	while ((result = sqlite3_step(hosts)) == SQLITE_ROW) {
		const char *host = (const char *)sqlite3_column_text(hosts, 0);

		if (host)
			list_host(host, list, sizeof list, &more);
	}
	if (result != SQLITE_DONE)
		return storefile_fail(sqlite3_db_handle(hosts), path, "hosts", error);
	length = strlen(list);
	if (more > 0)
		snprintf(list + length, sizeof list - length,
			 " and %zu more: pcapwho query DATABASE hosts", more);
	return error_set(error, ERROR_USAGE, path, -1, "--host: found \"%.60s\", wanted one of: %s",
			 name, list[0] ? list : "(no host has a name)");
}

/* How many hosts it is, or two where more, and the name of the first. */
static int match_host(sqlite3_stmt *hosts, const char *path, const char *name, char **out,
		      int *count, struct error *error)
{
	int result;

	*count = 0;
	sqlite3_bind_text(hosts, sqlite3_bind_parameter_index(hosts, ":host"), name, -1,
			  SQLITE_STATIC);
	while ((result = sqlite3_step(hosts)) == SQLITE_ROW && ++*count == 1) {
		const char *host = (const char *)sqlite3_column_text(hosts, 0);

		*out = host ? strdup(host) : NULL;
		if (!*out)
			return storefile_fail(NULL, path, "hosts", error);
	}
	return result == SQLITE_ROW || result == SQLITE_DONE
		       ? 0
		       : storefile_fail(sqlite3_db_handle(hosts), path, "hosts", error);
}

int query_find_host(struct sqlite3 *db, const char *path, const char *name, char **out,
		    struct error *error)
{
	sqlite3_stmt *hosts = NULL;
	char *found = NULL;
	int code, count = 0;

	if (sqlite3_prepare_v2(db, query_find("hosts")->text, -1, &hosts, NULL) != SQLITE_OK)
		return storefile_fail(db, path, "hosts", error);
	code = match_host(hosts, path, name, &found, &count, error);
	if (code == 0 && count != 1)
		code = fail_host(hosts, path, name, error);
	sqlite3_finalize(hosts);
	if (code == 0)
		*out = found;
	else
		free(found);
	return code;
}

/* ------------------------------------------------------------------ result -- */

static int print_rows(sqlite3_stmt *statement, const char *path, const struct query_output *output,
		      struct error *error)
{
	struct query_printer *printer = query_printer_new(statement, output);
	int code = printer ? 0 : ERROR_MEMORY, result = SQLITE_DONE;
	uint64_t rows = 0;

	while (code == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW &&
	       !ferror(output->stream)) {
		code = query_printer_row(printer);
		rows++;
	}
	if (output->rows)
		*output->rows = rows;
	/* Rows that came before a failure are shown: they are right. */
	if (code == 0)
		code = query_printer_end(printer);
	query_printer_free(printer);
	if (code != 0)
		return error_set(error, ERROR_MEMORY, path, -1, "query: out of memory");
	if (result != SQLITE_DONE && result != SQLITE_ROW)
		return storefile_fail(sqlite3_db_handle(statement), path, "query", error);
	if (fflush(output->stream) != 0 || ferror(output->stream)) {
		error_errno(error, NULL, "cannot write the result");
		return ERROR_SYSTEM;
	}
	return 0;
}

int query_run(struct sqlite3 *db, const char *path, const char *sql,
	      const struct query_parameters *parameters, const struct query_output *output,
	      struct error *error)
{
	sqlite3_stmt *statement = NULL;

	sqlite3_set_authorizer(db, authorize, NULL);
	int code = prepare_one(db, path, sql, &statement, error);
	if (code == 0)
		code = bind(statement, parameters, error);
	if (code == 0)
		code = print_rows(statement, path, output, error);
	sqlite3_finalize(statement);
	sqlite3_set_authorizer(db, NULL, NULL);
	return code;
}
