/* Rows of traffic, many in one statement. */
#include <stddef.h>

#include "analyze/store_rows.h"
#include "analyze/storefile.h"

static const char insert_sql[] = "INSERT OR FAIL INTO traffic SELECT c0, c1, c2, c3, c4, c5 "
				 "FROM given WHERE true " ADD_TRAFFIC;

int store_traffic(struct store *store, const struct store_traffic *rows, size_t count,
		  struct error *error)
{
	const struct store_given given = {
		.rows = (const char *)rows, .row_bytes = sizeof(*rows), .count = count};
	int code;

	_Static_assert(sizeof(*rows) == 6 * sizeof(int64_t) &&
			       offsetof(struct store_traffic, connection_id) == 0 &&
			       offsetof(struct store_traffic, sent_packets) == 2 * sizeof(int64_t),
		       "numbers in the order of the columns");
	for (size_t i = 0; i < count; i++) {
		if (rows[i].connection_id <= 0)
			return error_set(error, ERROR_USAGE, store->path, -1,
					 "table traffic: %lld is no connection_id",
					 (long long)rows[i].connection_id);
	}
	code = store_give(store, STORE_TRAFFIC, insert_sql, &given, "traffic", error);
	for (size_t i = 0; i < count && code == 0; i++)
		code = store_sums_add(store, &rows[i], error);
	return code;
}
