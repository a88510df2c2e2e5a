/*
 * loading.h - directories of evidence, loaded into databases, and what these answer:
 * for the tests of the whole way. Segments are written from the scene (scene.h), all
 * paths are below a directory of each test.
 */
#ifndef TESTS_UNIT_LOADING_H
#define TESTS_UNIT_LOADING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/load.h"
#include "tests/unit/scene.h"

#define UDP(ms, from, from_port, to, to_port)                                                      \
	{                                                                                          \
		T(ms), from, from_port, to, to_port, 17, 0, 0, 0, 30                               \
	}
#define TCP(ms, from, from_port, to, to_port, flags, seq, ack, payload)                            \
	{                                                                                          \
		T(ms), from, from_port, to, to_port, 6, flags, seq, ack, payload                   \
	}
#define OUT(ms, port, flags, seq, ack, payload)                                                    \
	TCP(ms, HOST, port, PEER, 80, flags, seq, ack, payload)
#define IN(ms, port, flags, seq, ack, payload)                                                     \
	TCP(ms, PEER, 80, HOST, port, flags, seq, ack, payload)
#define HANDSHAKE(ms, port)                                                                        \
	OUT(ms, port, SYN, 100, 0, 0), IN((ms) + 1, port, SYN | ACK, 900, 101, 0),                 \
		OUT((ms) + 2, port, ACK, 101, 901, 0)
#define LOCAL(ms, from_port, to_port, flags, seq, ack, payload)                                    \
	TCP(ms, "127.0.0.1", from_port, "127.0.0.1", to_port, flags, seq, ack, payload)

/* Of the last load_run, and how often it reported. */
extern struct load_result loading_result;
extern unsigned loading_reports;
/* How much of the capture files it said was read, each time that was more. */
extern uint64_t loading_progress[8];
extern size_t loading_progress_count;

/* cmocka's setup and teardown. */
int loading_begin(void **state);
int loading_end(void **state);

/* Below the directory; valid for the next seven calls. */
const char *loading_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
void loading_directory(const char *name);
/* Of the files of a segment, without suffix; as loading_path. */
const char *loading_stem(const char *directory, unsigned number);
/* A new scene: the header of the segment's snapshot file. */
void loading_header(unsigned number);
/* The host's addresses, into the frame in hand. */
void loading_addresses(void);
/* The scene and these packets, as a segment. */
void loading_write(const char *directory, unsigned number, const struct scene_packet *packets,
		   size_t count);

/* Packets in a part of a capture; 0: as many as there are for users. */
extern uint64_t loading_part_packets;
/* Flows in a piece of one, just so. */
extern uint32_t loading_piece_flows;
/* names: below the directory, up to a NULL. Returns the database. */
const char *loading_run(const char *database, unsigned workers, bool with_packets,
			const char *const *names);
#define LOAD(database, ...)                                                                        \
	loading_run(database, 1, false, (const char *const[]){__VA_ARGS__, NULL})

#define CONNECTIONS                                                                                \
	"SELECT f.protocol, f.orig_port, f.resp_port, c.\"end\", p.pid, c.rule, c.reason, "        \
	"c.exact_packets, c.ahead_packets, c.behind_packets, c.bound_packets, "                    \
	"c.wildcard_packets, c.listener_packets, c.sent_packets, c.received_packets "              \
	"FROM connection c JOIN flow f USING (flow_id) LEFT JOIN process p USING (process_id) "    \
	"ORDER BY f.start_ns, c.\"end\", c.start_ns"

/* All rows, a line each, with | between the columns. The caller frees it. */
char *loading_ask(const char *database, const char *sql);
/* wanted: a line for each row, its values with | between them. */
void answers(const char *database, const char *sql, const char *wanted);
/* Both answer the same, and something. */
void agree(const char *a, const char *b, const char *sql);
/* In every table that rows are counted on. */
void same_rows(const char *a, const char *b);
void same_bytes(const char *a, const char *b);

#endif
