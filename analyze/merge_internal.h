/*
 * merge_internal.h - what the files of the merger share: merge.c (flows), merge_live.c (those that
 * packets may still come of, kept small),
 * merge_connection.c (their owners), merge_settle.c (owners over segments), merge_state.c,
 * merge_process.c and merge_socket.c (what snapshots tell), merge_digest.c, merge_traffic.c,
 * merge_tunnel.c (what flows carry for others), merge_packet.c (single packets), merge_coverage.c
 * (what is missing), and merge_carry.c, merge_codec.c and merge_check.c (writing it down for the
 * next load, and reading it).
 */
#ifndef ANALYZE_MERGE_INTERNAL_H
#define ANALYZE_MERGE_INTERNAL_H

#include "analyze/community.h"
#include "analyze/hashindex.h"
#include "analyze/merge.h"
#include "analyze/merge_codec.h"

/* Stands for texts that are not kept, also in the next load: who writes them can make two agree in
 * any short hash. */
struct merge_digest {
	uint64_t words[2];
};

struct merge_recording {
	int64_t recording_id;
	int64_t boot; /* the first recording of the same boot: processes live by boot */
	struct merge_digest uuid, boot_name;
	uint64_t last_number; /* of its segments */
};

/* A process by its newest program image. */
struct merge_process {
	int64_t boot, recording_id; /* recording: the one that last saw it */
	uint32_t pid;
	uint64_t start_ticks;
	struct merge_digest facts; /* of the image's texts; all zero: it has none */
	int64_t process_id, row_recording_id, image, parent_process_id;
	int64_t start_ns, first_seen_ns;
	/* The image before: a segment begins with a reading that the one before has
	 * gone beyond. 0: none. */
	struct merge_digest previous_facts;
	int64_t previous_id;
	bool seen;
};

struct merge_socket {
	int64_t recording_id;
	uint64_t netns;
	uint32_t table, inode;
	struct endpoint local, remote;
	int64_t opened_ns; /* told, not read; else 0 */
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
	uint64_t netns;
	struct merge_digest name; /* of an interface; all zero for addresses */
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
	bool by_tuple, refused;
	bool said; /* that it was answered, of its stored packets; while it is in hand */
	enum bridge_reason reason;
	int64_t connection_id, process_id, socket_id;
	int64_t rule_packets[BRIDGE_RULES];
	int64_t shared_by, snapshot_id, distance_ns;
	int64_t start_ns, end_ns;
	struct flow_count sent, received;
	int64_t sighted_first_ns; /* end of the first reading that had the socket; INT64_MAX: none
				   */
	int64_t sighted_last_ns;  /* of the last one; STORE_NULL: none */
};

struct merge_flow {
	struct flow flow;
	int64_t recording_id, flow_id, segment_id;
	uint32_t connections; /* first; NONE */
	bool replaced;	      /* a newer instance has the key */
	int64_t reading_ns;   /* end of the first complete reading that began after it did;
				 INT64_MAX: none yet */
	uint64_t part;	      /* the last one that it had packets in; not carried */
	uint32_t part_flow;   /* and the last of its flows there */
	uint64_t stale;	      /* the last round in which its rows, and those of its connections,
				 were to be rewritten; not carried */
};

/* A conversation in a tunnel. */
struct merge_tunnel {
	struct flow flow;
	int64_t recording_id, tunnel_id, segment_id;
	int64_t flow_id;	 /* on the wire */
	int64_t outer_tunnel_id; /* what carries it in that; 0: that itself */
	int64_t key;		 /* -1: none */
	uint8_t tunnel, depth;
	bool replaced; /* a newer instance has its place */
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
	MERGE_ARRAY(merge_place, addresses);
	MERGE_ARRAY(merge_place, interfaces);
	struct merge_snapshot *snapshots; /* of each recording's latest segment */
	size_t snapshot_count, snapshot_capacity;
	/* live flows (merge_live.c): each packed, and the one in hand, with its connections */
	uint8_t **flows;
	size_t flows_count, flows_capacity;
	struct hashindex flows_index;
	struct merge_codec packing;
	uint64_t packed_first[MERGE_MAX_NUMBERS]; /* of the first one ever packed, by which others
						     are; 0 before there is one */
	bool packed_any;
	struct merge_flow hand;
	uint32_t hand_place; /* NONE: it is none of them */
	/* In the order of their list and of their ids; one that is in it no more has no reason
	 * (BRIDGE_REASONS), and nothing finds it. */
	struct merge_connection *connections;
	size_t connection_count, connection_capacity;
	struct hashindex connections_index; /* by end and owner, once many were asked for */
	bool connections_indexed;	    /* those of the flow in hand are in it */
	MERGE_ARRAY(merge_tunnel, tunnels);
	uint32_t *stale; /* flows whose rows are to be rewritten at the end of this round */
	size_t stale_count, stale_capacity;
	uint64_t round; /* of rewriting, from 1: all pieces of a part are one */

	/* the highest ids given */
	int64_t recording_id, segment_id, snapshot_id, interface_id, address_id, process_id,
		socket_id, holder_id, flow_id, connection_id, coverage_id, tunnel_id;

	/* the segment in hand */
	const struct timeline *timeline;
	struct merge_recording *recording;
	bool is_unnamed; /* the hash that it is named after is not known yet */
	struct store_segment row;
	int64_t first_new_snapshot_id; /* those of frames that no segment before had, and up */
	int64_t *frame_ids;	       /* by timeline frame: snapshot_id */
	int64_t *image_ids;	       /* by timeline image: process_id */
	int64_t *process_ids;	       /* by timeline process: its latest image's process_id */
	int64_t *socket_ids;	       /* by timeline socket; 0: not stored (no inode) */
	int64_t last_ns;	       /* latest packet */
	uint64_t part;		       /* the one in hand, counted */
	uint64_t holders_left;	       /* rows that this segment may still make */
};

/* merge_state.c */
int merge_state_begin(struct merge *merge, const struct merge_segment *segment,
		      struct error *error);
/* Gives the recording the name that it could not have yet. */
int merge_state_name(struct merge *merge, struct error *error);
int merge_state_coverage(struct merge *merge, struct error *error); /* merge_coverage.c */
void merge_state_end(struct merge *merge);
void merge_state_release(struct merge *merge);
int merge_cover(struct merge *merge, struct store_coverage *row, struct error *error);
int merge_no_memory(struct error *error);
uint64_t merge_hash_of_process(const void *merge, uint32_t place);
uint64_t merge_hash_of_socket(const void *merge, uint32_t place);
uint64_t merge_hash_of_holder(const void *merge, uint32_t place);
uint64_t merge_hash_of_address(const void *merge, uint32_t place);
uint64_t merge_hash_of_interface(const void *merge, uint32_t place);
/* Of two merge_process and so on: whether their keys are the same. */
bool merge_same_process(const void *a, const void *b);
bool merge_same_socket(const void *a, const void *b);
bool merge_same_holder(const void *a, const void *b);
bool merge_same_place(const void *a, const void *b);

int64_t merge_meta_number(const struct merge *merge, const char *key); /* STORE_NULL: none */
int64_t merge_seen_first(const struct merge *merge, const struct timeline_life *life);
int64_t merge_seen_last(const struct merge *merge, const struct timeline_life *life);

/* merge_digest.c */

/* bytes: NULL: not known, which is another text than an empty one. */
struct merge_text {
	const void *bytes;
	size_t length;
};
struct merge_text merge_text(const char *text);
/* The same in every run. */
int merge_digest(const struct merge_text *texts, size_t count, struct merge_digest *out,
		 struct error *error);
bool merge_same_digest(const struct merge_digest *a, const struct merge_digest *b);

/* merge_process.c, merge_socket.c: the timeline's, as rows */
int merge_processes(struct merge *merge, struct error *error);
int merge_sockets(struct merge *merge, struct error *error);

/* What the flows and stretches of a part became. */
struct merge_mapping {
	int64_t *flow_ids, *span_ids;
	uint8_t *originators; /* by flow: of the whole flow, not of the part */
	bool *swapped;	      /* by span: seen from the other end */
	uint32_t *places;     /* by flow: of the live one */
	uint32_t *siblings;   /* by flow: the one before of the same live one; NONE */
	uint8_t *rules; /* by span: the rule by which it joined its connection; NO_RULE: its own */
	uint8_t *reasons; /* by span: why it is nobody's, whatever it was; REASONS: its own */
};

/* merge_connection.c: the rows of a live flow's ends */

/* A stretch in the terms of the database. */
struct merge_stretch {
	uint32_t span;
	int64_t process_id, socket_id;
	int64_t process_start_ns; /* INT64_MIN: not known */
	int64_t sighted_first_ns; /* INT64_MAX: no socket */
	int64_t sighted_last_ns;  /* STORE_NULL: no socket */
};
struct merge_stretch merge_describe(const struct merge *merge, const struct replay_part *part,
				    uint32_t span);
/* The row of one owner, or of one reason, of the flow in hand; the first one, if there are several.
 * 0, or -1 without memory. *out: NULL if there is none. */
int merge_find_connection(struct merge *merge, uint8_t side, enum bridge_reason reason,
			  int64_t process_id, struct merge_connection **out);
/* The one of that id; NULL: there is none. */
const struct merge_connection *merge_by_id(const struct merge *merge, int64_t connection_id);
/* NULL without memory. It has no owner until merge_own. */
struct merge_connection *merge_new_connection(struct merge *merge, uint8_t side);
/* Takes the one that *link leads to out of the list. */
void merge_unlink_connection(struct merge *merge, uint32_t *link);
/* After each change of whose a row is, of the flow in hand. 0, or -1 without memory. */
int merge_note_owner(struct merge *merge, const struct merge_connection *c);
/* Another flow is in hand. */
void merge_forget_owners(struct merge *merge);
void merge_own(struct merge *merge, struct merge_connection *c, const struct ledger_span *span,
	       const struct merge_stretch *stretch);
/* Adds a stretch to its row. */
void merge_add_span(struct merge_connection *c, const struct ledger_span *span,
		    const struct merge_stretch *stretch);
void merge_add_count(struct flow_count *to, const struct flow_count *from);
/* Whether the row names who listens, for nothing better was seen. */
bool merge_is_listeners(const struct merge_connection *c);
/* Whether the flow, as far as it is known, was answered by the kernel itself on the end of a
 * connection that nothing of the very five-tuple was seen for: its row says so, while the
 * connection keeps what it goes back to if more of the flow shows otherwise. */
bool merge_is_answered(const struct merge_flow *live, const struct merge_connection *c);
/* Says of the packets that are stored what the row says. */
int merge_restate(struct merge *merge, struct merge_connection *c, bool answered,
		  struct error *error);
/* Before a flow goes on: notes which connections are said to be answered. */
void merge_note_said(struct merge *merge, const struct merge_flow *live);
/* After it: says so, or what the connections are without it, of the packets that are stored, where
 * that changed: a flow goes on over many parts. Candidates are gone with the first: who begins anew
 * is judged anew. */
int merge_say_answered(struct merge *merge, const struct merge_flow *live, struct error *error);
/* Which stretches of a part belong to such connections. */
int merge_note_answered(struct merge *merge, const struct replay_part *part,
			struct merge_mapping *map, struct error *error);
int merge_put_connection(struct merge *merge, const struct merge_flow *live,
			 const struct merge_connection *c, enum store_how how, struct error *error);

/* merge_settle.c */

/* Adds one end of a part's flow to the connections of the live flow at place. */
int merge_flow_end(struct merge *merge, uint32_t place, const struct replay_part *part,
		   const struct flow *flow, uint8_t side, struct merge_mapping *map,
		   struct error *error);
/* The next connection on the same tuple began at next_ns: what was first seen
 * of a socket after that is not of the flow before. */
int merge_end_live(struct merge *merge, struct merge_flow *live, int64_t next_ns,
		   const struct replay_part *part, struct merge_mapping *map, struct error *error);
/* Fills reading_ns by the segment in hand. */
void merge_note_reading(const struct merge *merge, struct merge_flow *live);

/* merge.c */

/* What a row points to. */
struct merge_texts {
	char orig[ENDPOINT_TEXT_SIZE], resp[ENDPOINT_TEXT_SIZE];
	char protocol[ENDPOINT_PROTOCOL_SIZE], history[FLOW_HISTORY_SIZE];
	char community[COMMUNITY_ID_SIZE];
};
/* A flow as a row, but for its ids. */
void merge_flow_row(const struct flow *flow, struct merge_texts *texts, struct store_flow *row);
/* It had no packet for so long before the end of the segment that none will be its. */
bool merge_is_silent(const struct merge *merge, const struct flow *flow, int64_t recording_id);

/* merge_live.c: flows that packets may still come of, of which there may be millions: each is
 * packed as a record for the next load is, and unpacked while it is in hand. All that stands in
 * merge->hand and merge->connections is lost with the next one that is taken, unless it is kept. */

/* Takes the flow at place in hand. 0, or -1 without memory, as the next ones. */
int merge_take_live(struct merge *merge, uint32_t place);
/* Packs the one in hand again, as it is now. */
int merge_keep_live(struct merge *merge);
/* Takes the newest flow of a key, in the recording in hand. *place: NONE if there is none. */
int merge_find_live(struct merge *merge, const struct flow_key *key, uint32_t *place);
/* Begins one, and takes it in hand. replaced: the one before on this key, which is found no more;
 * NONE. */
int merge_begin_live(struct merge *merge, const struct flow *flow, uint32_t replaced);
/* Makes what was read into the hand one of them, unless its key stands there already. */
int merge_add_live(struct merge *merge, bool *is_there);
/* Forgets those that packets will not come of. */
int merge_forget_live(struct merge *merge);
void merge_release_live(struct merge *merge);

/* merge_traffic.c: what a part's flows sent and received by time, as rows */
int merge_traffic(struct merge *merge, const struct replay_part *part,
		  const struct merge_mapping *map, struct error *error);

/* merge_packet.c: with --packets, what map has made of the packets of a part */
int merge_packets(struct merge *merge, const struct replay_part *part,
		  const struct merge_mapping *map, struct error *error);

/* merge_tunnel.c */
uint64_t merge_hash_of_tunnel(const void *merge, uint32_t place);
/* What the flows of a part carry; flow_ids: what these became. */
int merge_tunnels(struct merge *merge, const struct replay_part *part, const int64_t *flow_ids,
		  struct error *error);
int merge_put_tunnel(struct merge *merge, const struct merge_tunnel *tunnel, enum store_how how,
		     struct error *error);
bool merge_same_tunnel(const void *a, const void *b);
int merge_forget_tunnels(struct merge *merge, struct error *error);
int merge_put_flow(struct merge *merge, const struct merge_flow *live, enum store_how how,
		   struct error *error);
/* What changed of the live flow in hand, at place, or of its connections, is to stand in their rows
 * by the end of the part: many a flow changes several times in one. */
int merge_note_stale(struct merge *merge, uint32_t place, struct error *error);

/* merge_check.c: whether a record that was read back can be one that was written, by
 * itself and, of recordings and snapshots, beside those before it in its array. */
bool merge_check_recording(const struct merge *merge, const struct merge_recording *recording);
bool merge_check_process(const struct merge *merge, const struct merge_process *process);
bool merge_check_socket(const struct merge *merge, const struct merge_socket *socket);
bool merge_check_holder(const struct merge *merge, const struct merge_holder *holder);
bool merge_check_place(const struct merge *merge, const struct merge_place *place, int64_t last_id);
bool merge_check_snapshot(const struct merge *merge, const struct merge_snapshot *snapshot);
bool merge_check_flow(const struct merge *merge, const struct merge_flow *flow);
bool merge_check_tunnel(const struct merge *merge, const struct merge_tunnel *tunnel);
bool merge_check_connection(const struct merge *merge, const struct merge_connection *connection);

/* merge_carry.c */
int merge_carry_read(struct merge *merge, struct error *error);

#endif
