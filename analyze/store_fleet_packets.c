/* Whether the packets of what was merged are those of its flows. */
#include "analyze/store_fleet.h"

#include <inttypes.h>
#include <sqlite3.h>

#include "analyze/store_rows.h"
#include "analyze/storefile.h"

/* Rows of a unit stand together in each table. As the view has them, for that is what is
 * asked: it shows no packet that its connection's stretches leave out. */
static const char sql[] =
	"SELECT p.packets, CAST(f.packets AS INTEGER), CAST(p.bytes AS INTEGER), "
	"CAST(f.bytes AS INTEGER), p.unknown FROM "
	"(SELECT count(*) AS packets, total(bytes) AS bytes, count(*) FILTER (WHERE bytes < 0 OR "
	"NOT coalesce(rule_code IN (SELECT rule_code FROM rule), "
	"reason_code IN (SELECT reason_code FROM reason), 0)) AS unknown "
	"FROM packet WHERE segment_id BETWEEN ?1 AND ?2) p, "
	"(SELECT total(orig_packets + resp_packets) AS packets, "
	"total(orig_bytes + resp_bytes) AS bytes FROM flow WHERE flow_id BETWEEN ?3 AND ?4) f";

static void bind_range(sqlite3_stmt *statement, int first, const struct store_unit *unit,
		       enum store_numbered table)
{
	sqlite3_bind_int64(statement, first, unit->before[table] + 1);
	sqlite3_bind_int64(statement, first + 1, unit->before[table] + unit->rows[table]);
}

int store_fleet_check_packets(struct store *store, const struct store_unit *unit, const char *path,
			      struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int64_t found[5];
	int code = 0;

	if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
		return storefile_fail(store->db, store->path, "packets", error);
	bind_range(statement, 1, unit, STORE_OF_SEGMENT);
	bind_range(statement, 3, unit, STORE_OF_FLOW);
	if (sqlite3_step(statement) != SQLITE_ROW) {
		code = storefile_fail(store->db, store->path, "packets", error);
	} else {
		for (int i = 0; i < 5; i++)
			found[i] = sqlite3_column_int64(statement, i);
		if (found[0] != found[1] || found[2] != found[3] || found[4] != 0)
			code = error_damage(error, path, -1, "a row for each packet of its flows",
					    "rows for %" PRId64 " of %" PRId64 " packets and "
					    "%" PRId64 " of %" PRId64 " bytes, %" PRId64
					    " of them of no size or verdict that is known",
					    found[0], found[1], found[2], found[3], found[4]);
	}
	sqlite3_finalize(statement);
	return code;
}
