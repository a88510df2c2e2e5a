/*
 * rows.h - small databases for tests: rows to begin with, and a directory for
 * each test. Failures of the fixture end the test.
 */
#ifndef TESTS_UNIT_ROWS_H
#define TESTS_UNIT_ROWS_H

#include <stdbool.h>

#include "analyze/store.h"

extern char rows_directory[64], rows_target[96]; /* set_up's; target is a name in it */
extern struct error rows_error;			 /* of the last call that failed */
extern const struct store_recording rows_recording;

#define OK(call)                                                                                   \
	do {                                                                                       \
		if ((call) != 0)                                                                   \
			fail_msg("%s: %s: %s", #call, rows_error.path, rows_error.message);        \
	} while (0)

int rows_set_up(void **state);
int rows_entries(bool remove_them);
int rows_tear_down(void **state);
struct store *rows_open(const char *path, int64_t bucket_ns, bool with_packets);
char *rows_ask(const char *path, const char *sql);
/* tests/data/queries/NAME.sql, behind what all of those begin with; freed with free. */
char *rows_plain_query(const char *name);
struct store_segment rows_segment(int64_t id, const char *pcap, const char *snap);
struct store_flow rows_flow(int64_t id);
struct store_process rows_process(int64_t id, int64_t pid, const char *comm, const char *exe,
				  int64_t uid);
struct store_connection rows_owned(int64_t id, int64_t flow_id, int64_t process_id);
struct store_connection rows_unowned(int64_t id, int64_t flow_id, const char *reason);
void rows_fill_small(struct store *store);
void rows_make_small(const char *path);
void rows_add_traffic(struct store *store, int64_t connection, int64_t bucket, int64_t bytes);
void rows_make_traffic(const char *path, int per_transaction);

#endif
