/*
 * merge.h - the parts of all segments, in order, as rows (the verb merge is fleet.h).
 *
 * Gives ids, recognises what goes on from an earlier segment (flows, sockets,
 * processes, holders, addresses), and settles the owners of flows that cross a
 * boundary. One thread uses it, and error is never NULL here; what it remembers between segments is
 * what is alive, and it is kept in the database so that a later load goes on from there.
 */
#ifndef ANALYZE_MERGE_H
#define ANALYZE_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "analyze/replay.h"
#include "analyze/serving.h"
#include "analyze/store.h"
#include "analyze/timeline.h"
#include "snapshot/format/error.h"

struct merge;

/* A segment as its files are. */
struct merge_segment {
	const char *pcap_name, *snap_name;     /* base names; NULL: none */
	const char *pcap_sha256, *snap_sha256; /* as they are at merge_end are they stored; "" until
						  then: it is not known yet */
	int64_t pcap_bytes, snap_bytes;
	uint64_t number; /* 0: not in an evidence directory */
	bool repaired;	 /* closed up after a crash of the recorder */
	int link_type;
	const struct timeline *timeline;
	const struct serving *serving;
};

/* Whether recording.recording_uuid stands for evidence that does not tell its recording. */
bool merge_uuid_is_made_up(const char *uuid);

/* Something missing or skipped that only the loader knows. */
struct merge_damage {
	const char *kind; /* "damaged" "torn" "missing" "altered" "late" */
	const char *subject, *detail;
	bool is_whole; /* all of the file was read */
};

int merge_new(struct store *store, const struct flow_limits *limits, struct merge **out,
	      struct error *error);
void merge_free(struct merge *merge);

/* A segment is begin, its parts in order, end; the caller has a transaction open. */
int merge_begin(struct merge *merge, const struct merge_segment *segment, struct error *error);
int merge_part(struct merge *merge, const struct replay_part *part, struct error *error);
/* Between begin and end: whether a segment of a higher number of its recording was loaded before,
 * so that the rows may be others than those of one load of all. */
bool merge_is_late(const struct merge *merge);
int merge_damaged(struct merge *merge, const struct merge_damage *damage, struct error *error);
/* content_sha256: of the capture as it was before gzip; NULL: not known. */
int merge_end(struct merge *merge, const char *content_sha256, struct error *error);
/* Writes what the next load goes on with. In the same transaction as the last segment before it. */
int merge_carry(struct merge *merge, struct error *error);

struct merge_totals {
	uint64_t segments, packets, flow_packets, flows, connections;
};
const struct merge_totals *merge_totals(const struct merge *merge);

#endif
