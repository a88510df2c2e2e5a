/* What a database has of who serves, for the loads that go on from it and for explanations. */
#include <sqlite3.h>

#include "analyze/serving.h"
#include "analyze/store_rows.h"
#include "analyze/storefile.h"

static int64_t time_of(sqlite3_stmt *statement, int column)
{
	return sqlite3_column_type(statement, column) == SQLITE_NULL
		       ? SERVING_NEVER
		       : sqlite3_column_int64(statement, column);
}

static int add(sqlite3_stmt *statement, struct serving_book *book, uint32_t recording)
{
	return serving_book_add(
		book,
		&(struct serving_row){.recording = recording,
				      .port = (uint16_t)sqlite3_column_int64(statement, 0),
				      .pid = (uint32_t)sqlite3_column_int64(statement, 1),
				      .start_ticks = (uint64_t)sqlite3_column_int64(statement, 2),
				      .facts = {
					      .inode = (uint32_t)sqlite3_column_int64(statement, 3),
					      .listens_ns = time_of(statement, 4),
					      .serves_ns = time_of(statement, 5),
					      .again_ns = time_of(statement, 6),
					      .others_ns = time_of(statement, 7),
					      .hands_ns = time_of(statement, 8),
				      }});
}

int storefile_serving(struct sqlite3 *db, const char *path, int64_t recording_id, const char *uuid,
		      struct serving_book *book, struct error *error)
{
	static const char sql[] =
		"SELECT s.port, s.pid, s.start_ticks, s.inode, s.listens_ns, s.serves_ns, "
		"s.again_ns, s.others_ns, s.hands_ns FROM recording r JOIN serving s "
		"USING (recording_id) WHERE r.recording_uuid = ?1 AND ?2 IN (0, recording_id)";
	const uint32_t recording = serving_recording(book, uuid);
	sqlite3_stmt *statement = NULL;
	int code = 0, result = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

	if (result == SQLITE_OK)
		result = sqlite3_bind_text(statement, 1, uuid, -1, SQLITE_STATIC);
	if (result == SQLITE_OK)
		result = sqlite3_bind_int64(statement, 2, recording_id);
	while (code == 0 && (result == SQLITE_OK || result == SQLITE_ROW)) {
		result = sqlite3_step(statement);
		if (result == SQLITE_ROW &&
		    (recording == SERVING_NONE || add(statement, book, recording) != 0))
			code = storefile_fail(NULL, path, "serving", error);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = storefile_fail(db, path, "serving", error);
	sqlite3_finalize(statement);
	return code;
}

static int read_last_number(struct store *store, const char *uuid, struct serving_book *book,
			    struct error *error)
{
	static const char sql[] = "SELECT max(s.number) FROM recording r JOIN segment s "
				  "USING (recording_id) WHERE r.recording_uuid = ?1";
	sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

	if (result == SQLITE_OK)
		result = sqlite3_bind_text(statement, 1, uuid, -1, SQLITE_STATIC);
	if (result == SQLITE_OK)
		result = sqlite3_step(statement);
	if (result == SQLITE_ROW)
		serving_book_reached(book, serving_recording(book, uuid),
				     (uint64_t)sqlite3_column_int64(statement, 0));
	sqlite3_finalize(statement);
	return result == SQLITE_ROW ? 0 : storefile_fail(store->db, store->path, "segment", error);
}

int store_serving_read(struct store *store, const char *uuid, struct serving_book *book,
		       struct error *error)
{
	int code = storefile_serving(store->db, store->path, 0, uuid, book, error);

	return code == 0 ? read_last_number(store, uuid, book, error) : code;
}
