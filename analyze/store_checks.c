/*
 * store_checks.c - table kernel_end: connections held against the kernel's count.
 *
 * A row depends on the rows of its flow and of its sockets, and where packets are missing
 * also on the holes in the capture. A new database gets all rows once it is filled and has
 * its indexes. In one that is added to, triggers note the flows that are written, and each
 * transaction makes those rows anew, and those that may lie in a hole that came or went.
 */
#include "analyze/store_rows.h"

#include "analyze/schema_sql.h"
#include "analyze/storefile.h"

static const char any_open[] = "SELECT EXISTS (SELECT 1 FROM temp.weighed "
			       "WHERE sent_verdict IS NULL OR received_verdict IS NULL)";

/* Whoever ended before what changed knows nothing of it. */
static const char flows_of_holes[] =
	"WITH changed AS (SELECT recording_id, min(coalesce(number, 0)) AS number FROM "
	"temp.changed_hole WHERE recording_id IS NOT NULL GROUP BY recording_id), since AS ("
	"SELECT begin_ns FROM temp.changed_hole UNION ALL "
	"SELECT coalesce((SELECT max(last_packet_ns) FROM segment g "
	"WHERE g.recording_id = c.recording_id AND g.number < c.number), 0) FROM changed c "
	"WHERE c.number > 0 OR EXISTS (SELECT 1 FROM coverage v INDEXED BY coverage_missing "
	"CROSS JOIN segment g ON g.segment_id = v.segment_id WHERE v.kind = 'missing' "
	"AND g.recording_id = c.recording_id)) "
	"INSERT OR IGNORE INTO temp.checked_flow SELECT flow_id FROM kernel_end "
	"INDEXED BY kernel_end_missing "
	"WHERE (sent_difference >= 0 AND received_difference >= 0) IS NOT TRUE "
	"AND max(end_ns, closed_ns) >= (SELECT min(begin_ns) FROM since)";

static const char all_flows[] =
	"INSERT OR IGNORE INTO temp.checked_flow SELECT c.flow_id FROM socket s "
	"CROSS JOIN connection c ON c.socket_id = s.socket_id "
	"WHERE s.closed_ns IS NOT NULL AND s.protocol = 'tcp' AND s.remote_port IS NOT NULL";

static const char flows_of_sockets[] =
	"INSERT OR IGNORE INTO temp.checked_flow SELECT c.flow_id FROM temp.checked_socket s "
	"CROSS JOIN connection c ON c.socket_id = s.socket_id";

static const char clear[] = "DELETE FROM temp.checked_flow; DELETE FROM temp.checked_socket;"
			    "DELETE FROM temp.changed_hole; DELETE FROM temp.counted;"
			    "DELETE FROM temp.weighed;";

int store_checks_open(struct store *store, struct error *error)
{
	int code = store_execute(store, schema_checks_open, error);

	return code == 0 && !store->is_new ? store_execute(store, schema_checks_watch, error)
					   : code;
}

/* Of the flows that are noted. */
static int check_flows(struct store *store, struct error *error)
{
	int64_t open = 0;
	int code = store_execute(store, schema_checks_weigh, error);

	if (code == 0)
		code = storefile_integer(store->db, store->path, any_open, 0, &open, error);
	if (code == 0 && open != 0)
		code = store_execute(store, schema_checks_holes, error);
	if (code == 0)
		code = store_execute(store, schema_checks_keep, error);
	return code == 0 ? store_execute(store, clear, error) : code;
}

int store_checks_commit(struct store *store, struct error *error)
{
	int code;

	if (store->is_new)
		return 0;
	code = store_execute(store, flows_of_sockets, error);
	if (code == 0)
		code = store_execute(store, flows_of_holes, error);
	return code == 0 ? check_flows(store, error) : code;
}

int store_checks_finish(struct store *store, struct error *error)
{
	int code = store_execute(store, "BEGIN", error);

	if (code == 0)
		code = store_execute(store, all_flows, error);
	if (code == 0)
		code = check_flows(store, error);
	return code == 0 ? store_execute(store, "COMMIT", error) : code;
}
