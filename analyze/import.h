/*
 * import.h - makes an evidence directory of what was gathered by hand: a state
 * read from copies of /proc (import_state.h) and captures of tcpdump and others.
 *
 * Each capture becomes a segment with the state beside it; without captures
 * there is one segment that has a snapshot only. Captures are copied byte for
 * byte, so that their hashes stay what they were. Never prints.
 */
#ifndef ANALYZE_IMPORT_H
#define ANALYZE_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/import_state.h"
#include "snapshot/format/custody.h"
#include "snapshot/format/error.h"
#include "snapshot/format/evidence.h"

struct import_config {
	int64_t time_ns;      /* when the state was read: Unix time */
	const char *output;   /* evidence directory; made if missing, else added to */
	const char *hostname; /* of the recorded host; NULL: not known, as below */
	const char *boot_id;
	bool big_endian;	     /* byte order of the recorded host */
	uint64_t clock_ticks;	     /* a second, on the recorded host */
	const char *arguments;	     /* of this run, each ended by a NUL */
	size_t arguments_length;     /* without the last NUL */
	const char *const *captures; /* paths, pcap or pcapng, plain or gzip */
	size_t capture_count;
};

/* A segment that was made. */
struct import_segment {
	struct evidence_stem stem;
	const char *source; /* the capture's path, borrowed; NULL: none */
	char pcap[EVIDENCE_NAME_SIZE], snap[EVIDENCE_NAME_SIZE]; /* pcap "": none */
	char pcap_sha256[CUSTODY_HEX_SIZE], snap_sha256[CUSTODY_HEX_SIZE];
	uint64_t pcap_bytes, snap_bytes;
	uint64_t packets;
	int64_t first_packet_ns,
		last_packet_ns; /* earliest and latest; meaningless without packets */
	int link_type;		/* libpcap's DLT number */
	uint32_t snaplen;
	bool damaged; /* the capture breaks off; it was copied as it is */
};

struct import_result {
	struct import_segment *segments; /* owned */
	size_t count;
};

/* Writes the segments and their custody entries. state must be finished. When
 * it fails, what it made is removed again. Damage in a capture is noted, not a
 * failure; a file that is no capture is ERROR_DAMAGED. */
int import_write(const struct import_config *config, const struct import_state *state,
		 struct import_result *result, struct error *error);
void import_result_release(struct import_result *result);

#endif
