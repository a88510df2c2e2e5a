/*
 * merge_internal.h - what merge.c (flows), merge_state.c (everything that
 * snapshots tell) and merge_carry.c (writing it down) share.
 */
#ifndef ANALYZE_MERGE_INTERNAL_H
#define ANALYZE_MERGE_INTERNAL_H

#include "analyze/hashindex.h"
#include "analyze/merge.h"

struct merge_recording {
	int64_t recording_id;
	int64_t boot;	      /* the first recording of the same boot: processes live by boot */
	uint64_t uuid_hash[2], boot_hash[2];
	uint64_t last_number; /* of its segments */
};

/* A process by its newest program image. */
struct merge_process {
	int64_t boot, recording_id; /* recording: the one that last saw it */
	uint32_t pid;
	uint64_t start_ticks, facts; /* facts: hash of the image's texts */
	int64_t process_id, row_recording_id, image, parent_process_id;
	int64_t start_ns, first_seen_ns;
	bool seen;
};

struct merge_socket {
	int64_t recording_id;
	uint64_t netns;
	uint32_t table, inode;
	struct endpoint local, remote;
	int64_t socket_id, first_seen_ns, first_snapshot_id;
	int64_t closed_ns, acked, received, sent, retransmitted; /* STORE_NULL: no close event */
	bool seen;
};

struct merge_holder {
	int64_t recording_id, socket_id, boot;
	uint64_t start_ticks;
	uint32_t pid, fd;
	int64_t holder_id, process_id, first_seen_ns;
	bool seen;
};

/* An address or an interface. */
struct merge_place {
	int64_t recording_id;
	uint64_t netns, name; /* name: hash of an interface's; 0 for addresses */
	uint32_t ifindex, prefix_length;
	struct endpoint_address address;
	int64_t place_id, first_seen_ns;
	bool seen;
};

struct merge_snapshot {
	int64_t recording_id, snapshot_id;
	uint64_t sequence;
};

/* A connection row of a live flow. */
struct merge_connection {
	uint32_t next; /* of the same flow; NONE */
	uint8_t side;
	bool by_tuple;
	enum bridge_reason reason;
	bool listener; /* its only rule was listener */
	int64_t connection_id, process_id, socket_id;
	int64_t rule_packets[BRIDGE_RULES];
	int64_t shared_by, snapshot_id, distance_ns;
	int64_t start_ns, end_ns;
	struct flow_count sent, received;
	int64_t sighted_last_ns; /* end of the last reading that had the socket */
};

struct merge_flow {
	struct flow flow;
	int64_t recording_id, flow_id, segment_id;
	uint32_t connections; /* first; NONE */
	bool replaced;	      /* a newer instance has the key */
};

#define MERGE_ARRAY(type, name)                                                                    \
	struct type *name;                                                                         \
	size_t name##_count, name##_capacity;                                                      \
	struct hashindex name##_index

struct merge {
	struct store *store;
	struct flow_limits limits;
	struct merge_totals totals;

	struct merge_recording *recordings;
	size_t recording_count, recording_capacity;
	MERGE_ARRAY(merge_process, processes);
	MERGE_ARRAY(merge_socket, sockets);
	MERGE_ARRAY(merge_holder, holders);
	struct merge_place *addresses, *interfaces;
	size_t address_count, address_capacity, interface_count, interface_capacity;
	struct merge_snapshot *snapshots; /* of each recording's latest segment */
	size_t snapshot_count, snapshot_capacity;
	MERGE_ARRAY(merge_flow, flows);
	struct merge_connection *connections;
	size_t connection_count, connection_capacity;

	/* the highest ids given */
	int64_t recording_id, segment_id, snapshot_id, interface_id, address_id, process_id,
		socket_id, holder_id, flow_id, connection_id, coverage_id;

	/* the segment in hand */
	const struct timeline *timeline;
	struct merge_recording *recording;
	struct store_segment row;
	int64_t *frame_ids;	/* by timeline frame: snapshot_id */
	int64_t *image_ids;	/* by timeline image: process_id */
	int64_t *process_ids;	/* by timeline process: its latest image's process_id */
	int64_t *socket_ids;	/* by timeline socket; 0: not stored (no inode) */
	int64_t last_ns;	/* latest packet */
};

/* merge_state.c */
int merge_state_begin(struct merge *merge, const struct merge_segment *segment,
		      struct error *error);
int merge_state_coverage(struct merge *merge, struct error *error);
void merge_state_end(struct merge *merge);
void merge_state_release(struct merge *merge);
int merge_cover(struct merge *merge, struct store_coverage *row, struct error *error);
int merge_no_memory(struct error *error);
uint64_t merge_hash_of_process(const void *merge, uint32_t place);
uint64_t merge_hash_of_socket(const void *merge, uint32_t place);
uint64_t merge_hash_of_holder(const void *merge, uint32_t place);

/* merge.c */
uint64_t merge_hash_of_flow(const void *merge, uint32_t place);

/* merge_carry.c */
int merge_carry_read(struct merge *merge, struct error *error);

#endif
