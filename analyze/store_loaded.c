/* What a database has already. */
#include "analyze/store_rows.h"

#include "analyze/storefile.h"

int store_loaded_each(struct store *store,
		      int (*each)(const struct store_loaded *row, void *context,
				  struct error *error),
		      void *context, struct error *error)
{
	static const char sql[] =
		"SELECT s.pcap_name, s.snap_name, s.pcap_sha256, s.snap_sha256, s.content_sha256, "
		"r.recording_uuid, s.packets, s.number IS NULL, s.state <> 'damaged' AND NOT "
		"EXISTS (SELECT 1 FROM coverage c WHERE c.segment_id = s.segment_id AND "
		"c.kind = 'altered') FROM segment s LEFT JOIN recording r USING (recording_id) "
		"ORDER BY s.segment_id";
	sqlite3_stmt *statement = NULL;
	int code = 0, result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

	while (code == 0 && (result == SQLITE_OK || result == SQLITE_ROW)) {
		const char *texts[6];

		result = sqlite3_step(statement);
		if (result != SQLITE_ROW)
			break;
		for (int i = 0; i < 6; i++)
			texts[i] = (const char *)sqlite3_column_text(statement, i);
		code = each(
			&(struct store_loaded){
				.pcap_name = texts[0],
				.snap_name = texts[1],
				.pcap_sha256 = texts[2],
				.snap_sha256 = texts[3],
				.content_sha256 = texts[4],
				.recording_uuid = texts[5],
				.packets = sqlite3_column_int64(statement, 6),
				.is_bare = sqlite3_column_int64(statement, 7) != 0,
				.is_sound = sqlite3_column_int64(statement, 8) != 0,
			},
			context, error);
	}
	if (code == 0 && result != SQLITE_DONE)
		code = storefile_fail(store->db, store->path, "segment", error);
	sqlite3_finalize(statement);
	return code;
}
