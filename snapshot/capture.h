/*
 * capture.h - packets from the kernel's ring into blocks of memory.
 *
 * One thread takes packets from libpcap and copies them, as records of a
 * pcap file, into large blocks; another thread takes whole blocks. The only
 * code of the recorder that knows libpcap. Never writes a file. While all blocks
 * are taken, packets stay in the kernel's ring, which counts those that it has
 * no room for.
 */
#ifndef SNAPSHOT_CAPTURE_H
#define SNAPSHOT_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/error.h"
#include "snapshot/format/pcaphead.h"

/* A block holds at least one packet of the largest snaplen, and is large
 * enough that handing it over and writing it cost nothing by the packet. */
#define CAPTURE_BLOCK_BYTES (1u << 20)
/* What a stalled disk may cost in memory beside the ring: a sixteenth of the host's (the page
 * cache, which held it otherwise, may have a fifth), but at least 64 blocks,
 * half a second at 1 Gbit/s, and at most four seconds of that. */
#define CAPTURE_MEMORY_SHARE 16
#define CAPTURE_MIN_BLOCKS   64
#define CAPTURE_MAX_BLOCKS   512
/* As many waiting: the disk is slower than the packets. */
#define CAPTURE_BEHIND_BLOCKS (CAPTURE_MIN_BLOCKS / 4)
/* How long a packet may wait in the ring or in a block on a quiet link. */
#define CAPTURE_TIMEOUT_MS 100

struct capture;

struct capture_config {
	const char *const *interfaces; /* none, or one of them "any": all */
	size_t interface_count;
	const char *filter; /* "" for none */
	uint32_t snaplen;
	uint32_t buffer_mib;
	unsigned max_blocks; /* 0: what the host's memory affords */
};

struct capture_block {
	struct capture_block *next;
	size_t length; /* bytes: whole records only */
	uint64_t packets;
	int64_t first_ns; /* the earliest CLOCK_REALTIME time stamp among them */
	bool full;	  /* the next packet had no room in it: another block follows soon */
	unsigned waiting; /* blocks behind it when it was taken */
	uint8_t bytes[CAPTURE_BLOCK_BYTES];
};

/* Cumulative since capture_open. */
struct capture_counters {
	uint64_t received, dropped, interface_dropped; /* as pcap_stats counts them */
	uint64_t lost;	    /* no memory for a block, or none free long after the stop */
	int64_t drained_ns; /* CLOCK_REALTIME when nothing was left, neither in the ring nor here */
};

/* Opens, activates and filters: from here on the kernel keeps packets. Errors
 * name the interface, the filter or the privilege that is missing. */
int capture_open(const struct capture_config *config, struct capture **out, struct error *error);
/* The header of a pcap file that takes the blocks' bytes. */
int capture_pcap_header(struct capture *capture, uint8_t header[PCAPHEAD_FILE_BYTES],
			struct error *error);
/* LINKTYPE_* number as it stands in such a header. */
uint32_t capture_link_type(const uint8_t header[PCAPHEAD_FILE_BYTES]);

int capture_start(struct capture *capture, struct error *error);
/* Asks the thread to end once it has what came until now. Returns at once. */
void capture_stop(struct capture *capture);
/* The next block: 1 (give it back with capture_give_back), 0 when none came
 * within timeout_ms, -1 when there will be none any more. */
int capture_take(struct capture *capture, unsigned timeout_ms, struct capture_block **block);
void capture_give_back(struct capture *capture, struct capture_block *block);
void capture_counters(struct capture *capture, struct capture_counters *out);
/* After capture_take said -1: 0, or why the capture ended by itself. */
int capture_failure(struct capture *capture, struct error *error);
/* Joins the thread if it was started, frees. NULL works. */
void capture_close(struct capture *capture);

/* The length of the longest run of whole records in bytes, a piece of a
 * block's content; *packets is their number. */
size_t capture_whole_records(const uint8_t *bytes, size_t length, uint64_t *packets);

#endif
