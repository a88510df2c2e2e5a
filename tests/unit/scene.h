/*
 * scene.h - evidence made by hand, for the tests of the analyzer: snapshots as
 * lines of text, packets as tuples, both as real bytes.
 *
 * One snapshot file is built at a time. The host is 10.0.0.1, its namespace 1; it
 * booted 1000 s before T(0), and has 100 clock ticks a second.
 */
#ifndef TESTS_UNIT_SCENE_H
#define TESTS_UNIT_SCENE_H

#include <stddef.h>
#include <stdint.h>

#include "analyze/bridge.h"
#include "analyze/serving.h"
#include "analyze/timeline.h"

#define SCENE_ZERO_NS INT64_C(1795290600000000000)
#define T(ms)	      (SCENE_ZERO_NS + (int64_t)(ms)*1000000)
/* Start time in ticks of a process that started at T(ms). */
#define TICKS(ms) (UINT64_C(100000) + (uint64_t)((ms) / 10))
#define OLD	  UINT64_C(500) /* start ticks: long before T(0) */

#define HOST "10.0.0.1"
#define PEER "10.0.0.2"

#define SYN 0x02u
#define FIN 0x11u /* with ACK */
#define RST 0x04u
#define ACK 0x10u

void scene_begin(void); /* a new file: header only */
void scene_meta(const char *key, const char *value);
/* A frame around [begin, end] ms; the one before is closed. Sequence numbers go on.
 * "restated" is a key frame, "rotate" the poll that a segment ends with. */
void scene_frame(const char *kind, int64_t begin_ms, int64_t end_ms);
extern uint64_t scene_sequence; /* of the next frame */
/* CLOCK_REALTIME was set by so much: of the frames from here on. */
void scene_set_clock(int64_t ms);
/* "+", "~", "-" or "!" is op. where: "tcp 10.0.0.1 40000 10.0.0.2 80 1", the last is the state. */
void scene_socket(char op, const char *where, uint32_t inode);
void scene_socket_in(char op, uint64_t netns, const char *where, uint32_t inode);
/* exe is /bin/NAME, the parent 1, the user 1000. */
void scene_process(char op, uint32_t pid, uint64_t start_ticks, const char *name);
void scene_holder(char op, uint32_t inode, uint32_t pid, uint64_t start_ticks, uint32_t fd);
/* What the kernel told: where is "6 10.0.0.1 40000 10.0.0.2 80", times in ms or
 * SCENE_NEVER (opened: of datagrams; previous: of a first use). */
#define SCENE_NEVER INT64_MIN
void scene_use(const char *where, int64_t opened_ms, const char *act, int64_t at_ms,
	       int64_t previous_ms, uint32_t pid, uint64_t start_ticks);
void scene_born(uint32_t pid, uint64_t start_ticks, uint32_t ppid, int64_t born_ms);
void scene_exec(uint32_t pid, uint64_t start_ticks, int64_t exec_ms);
/* Uses may be missing for the length of the frame. */
void scene_untold(void);
void scene_address(char op, uint64_t netns, const char *address, unsigned prefix_length);
/* Any record, fields separated by single spaces. */
void scene_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The file's text so far, all frames closed; valid until the next scene_ call. */
const char *scene_text(size_t *length);
/* The timeline of it; what timeline_read returns. */
int scene_read(struct timeline *out);
void scene_read_whole(struct timeline *out); /* asserts that there is no damage */
/* The join of a segment that stands alone. */
void scene_join(const struct timeline *tl, struct serving *serving, struct bridge *bridge);
/* As a gzip file. */
void scene_write_snap(const char *path);
void scene_free(void);

struct scene_packet {
	int64_t time_ns;
	const char *from;
	uint16_t from_port;
	const char *to;
	uint16_t to_port;
	uint8_t protocol, flags;
	uint32_t seq, ack, payload_bytes;
};

/* Of 10.0.0.1 to and from 10.0.0.2. */
struct scene_packet scene_out(int64_t ms, uint16_t port, uint16_t peer_port, uint8_t flags,
			      uint32_t seq, uint32_t ack, uint32_t payload_bytes);
struct scene_packet scene_in(int64_t ms, uint16_t port, uint16_t peer_port, uint8_t flags,
			     uint32_t seq, uint32_t ack, uint32_t payload_bytes);
/* Nanosecond pcap of cooked frames (SLL2). protocol 0: an ARP frame. ifindex: of the interface
 * of each packet; NULL: all on 2. */
void scene_write_pcap_of(const char *path, const struct scene_packet *packets,
			 const uint32_t *ifindex, size_t count);
void scene_write_pcap(const char *path, const struct scene_packet *packets, size_t count);

/* Small numbers from a seed, the same everywhere. */
uint32_t scene_random(uint64_t *seed, uint32_t below);

#endif
