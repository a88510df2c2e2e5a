/* What is done over a flow that goes on over many parts: not all of its packets in each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <sqlite3.h>

#include "tests/unit/loading.h"

static uint64_t written; /* rows */

/* In place of the library's. */
int sqlite3_step(sqlite3_stmt *statement)
{
	int (*step)(sqlite3_stmt *), result;

	*(void **)&step = dlsym(RTLD_NEXT, "sqlite3_step");
	result = step(statement);
	if (result == SQLITE_DONE && !sqlite3_stmt_readonly(statement))
		written += (uint64_t)sqlite3_changes64(sqlite3_db_handle(statement));
	return result;
}

/* Rows that are written to load a SYN and its answer, again and again, in parts of ten packets. */
static uint64_t rows_for(const char *name, const char *database, size_t count, uint8_t answer)
{
	struct scene_packet *packets = calloc(count, sizeof(*packets));

	assert_non_null(packets);
	for (size_t i = 0; i < count; i++)
		packets[i] = i % 2 == 0 ? (struct scene_packet)TCP(100 + (int64_t)i, PEER, 50001,
								   HOST, 81, SYN, 100, 0, 0)
					: (struct scene_packet)TCP(100 + (int64_t)i, HOST, 81, PEER,
								   50001, answer, 0, 101, 0);
	loading_directory(name);
	loading_header(1);
	scene_frame("key", 0, 1);
	loading_addresses();
	scene_frame("poll", 5000, 5001);
	loading_write(name, 1, packets, count);
	free(packets);
	loading_part_packets = 10;
	written = 0;
	loading_run(database, 1, true, (const char *const[]){name, NULL});
	loading_part_packets = 0;
	return written;
}

static void refused_packets_are_said_to_be_once(void **state)
{
	uint64_t refused = rows_for("refused", "r.db", 2000, RST | ACK);
	uint64_t accepted = rows_for("accepted", "a.db", 2000, SYN | ACK);

	(void)state;
	if (refused > 2 * accepted)
		fail_msg("%llu rows written, and %llu of what is not refused",
			 (unsigned long long)refused, (unsigned long long)accepted);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, loading_begin, loading_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(refused_packets_are_said_to_be_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
