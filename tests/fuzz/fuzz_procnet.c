/* Any bytes as a copy of a table below /proc/net. The first byte chooses table
 * and byte order. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/format/procnet_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct procnet_rows rows = {0};
	struct error first_bad = ERROR_NONE;
	uint64_t bad_rows = 0;
	enum snap_table table;

	if (size == 0)
		return 0;
	table = (enum snap_table)(SNAP_TCP + (data[0] >> 1) % (SNAP_TABLE_END - SNAP_TCP));
	if (procnet_text_parse(table, data[0] & 1, 1, "input", (const char *)data + 1, size - 1,
			       &rows, &bad_rows, &first_bad))
		abort();
	/* What is bad is described, and where it says. */
	if (bad_rows && (first_bad.code != ERROR_DAMAGED || first_bad.offset_bytes < 0 ||
			 (size_t)first_bad.offset_bytes >= size))
		abort();
	for (size_t i = 0; i < rows.count; i++) {
		if (rows.rows[i].table != table || rows.rows[i].state > 15)
			abort();
	}
	procnet_rows_sort(&rows, 0);
	for (size_t i = 1; i < rows.count; i++) {
		if (procnet_socket_compare(&rows.rows[i - 1], &rows.rows[i]) >= 0)
			abort();
	}
	procnet_rows_release(&rows);
	return 0;
}
