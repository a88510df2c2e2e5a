/*
 * store.h - the database. The only code that writes SQLite.
 *
 * The caller gives rows with ids that it assigned (from 1, in evidence order:
 * that is what makes the bytes of a database depend on the evidence alone);
 * the store binds, inserts, updates and commits. Row structs mirror the
 * tables of schema/schema.sql column by column; 0 as an id, NULL as a string
 * and STORE_NULL as a number are written as SQL NULL where the column allows it.
 * Never decides anything about ownership.
 */
#ifndef ANALYZE_STORE_H
#define ANALYZE_STORE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/format/endpoint.h"
#include "snapshot/format/error.h"

#define STORE_NULL INT64_MIN

/* What a count can be, so that no two of them overflow that are added up or held against each
 * other. Counts of other programs that are more make no sense. */
#define STORE_MAX_COUNT (INT64_MAX / 2)

struct store;
struct serving_book;

struct store_recording {
	int64_t recording_id;
	const char *recording_uuid, *hostname, *machine_id, *boot_id, *kernel, *architecture;
	const char *argv, *interface, *filter, *time_zone, *tool, *source, *privilege, *watcher;
	int64_t snaplen, link_type, clock_ticks, net_namespace, interval_ns;
};

struct store_segment {
	int64_t segment_id, recording_id, number;
	const char *pcap_name, *snap_name; /* base names; NULL: none */
	int64_t pcap_bytes, snap_bytes;
	const char *pcap_sha256, *snap_sha256; /* hex; NULL: none */
	const char *content_sha256; /* of the capture as it was before gzip; NULL: not known */
	int64_t link_type;
	int64_t first_packet_ns, last_packet_ns; /* STORE_NULL: no packet */
	int64_t packets, bytes;	 /* bytes: as on the wire, frames' original lengths */
	int64_t flow_packets;	 /* of packets, those put into flows, repeats included */
	int64_t frames, dropped; /* dropped: by kernel or recorder in this window */
	const char *state;	 /* "whole" "repaired" "damaged" */
};

struct store_snapshot {
	int64_t snapshot_id, segment_id, sequence;
	const char *kind, *cause;
	int64_t begin_ns, end_ns, sockets, processes;
	int64_t line; /* of the frame line in the uncompressed snap file */
};

struct store_interface {
	int64_t interface_id, recording_id, net_namespace, ifindex;
	const char *name;
	int64_t hardware_type, first_seen_ns, last_seen_ns;
};

struct store_address {
	int64_t address_id, recording_id, net_namespace, ifindex;
	const char *address; /* text */
	int64_t prefix_length, first_seen_ns, last_seen_ns;
};

struct store_process {
	int64_t process_id, recording_id, pid, start_ticks, start_ns,
		image;		   /* image: 1, 2 after exec … */
	int64_t parent_process_id; /* 0: not known */
	int64_t ppid, uid;
	const char *comm, *exe;
	const char *cmdline; /* arguments joined by spaces, quoted where needed */
	const char *cgroup, *container_id;
	int64_t net_namespace, first_seen_ns, last_seen_ns, exit_ns, exit_code;
};

struct store_socket {
	int64_t socket_id, recording_id, net_namespace;
	const char *protocol; /* "tcp" "udp" … */
	int64_t family;	      /* 4 or 6: which table it stood in */
	const char *local_address;
	int64_t local_port;
	const char *remote_address; /* NULL: not connected */
	int64_t remote_port;
	int64_t state, uid, inode,
		cookie; /* inode: STORE_NULL where only uses were told; cookie: the u64's bits */
	int64_t first_seen_ns, last_seen_ns, first_snapshot_id, last_snapshot_id;
	int64_t opened_ns, closed_ns, kernel_bytes_acked, kernel_bytes_received, kernel_bytes_sent,
		kernel_bytes_retransmitted;
};

struct store_holder {
	int64_t holder_id, socket_id, process_id, fd, first_seen_ns, last_seen_ns;
};

struct store_flow {
	int64_t flow_id, recording_id, segment_id; /* segment: where it starts */
	const char *protocol;
	int64_t ip_version;
	const char *orig_address, *resp_address;
	int64_t orig_port, resp_port; /* ICMP: type and code, as in Zeek */
	int64_t icmp_id;	      /* STORE_NULL: none */
	int64_t start_ns, end_ns;
	int64_t orig_packets, orig_bytes, orig_payload_bytes;
	int64_t resp_packets, resp_bytes, resp_payload_bytes;
	int64_t repeat_packets; /* further sightings of packets already counted */
	const char *conn_state, *history, *community_id;
	int64_t ifindex, vlan, inner_vlan; /* STORE_NULL: none */
	int64_t first_packet_number;	   /* in its segment's pcap, from 1 */
	int64_t first_packet_offset;	   /* there, of its record's first byte */
	const char *carries; /* "Tunnel::IP" …; NULL: it is no tunnel, and the rest is STORE_NULL */
	int64_t carried_packets, carried_other_packets, carried_unreadable_packets;
};

/* A conversation that one was carried in. */
struct store_tunnel {
	int64_t tunnel_id;
	int64_t outer_tunnel_id; /* 0: carried by the flow itself */
	int64_t depth;
	const char *tunnel_type;
	int64_t tunnel_key;	/* STORE_NULL: none */
	struct store_flow flow; /* flow_id: that carries it; recording_id, repeat_packets,
				   ifindex and inner_vlan are not used */
};

enum store_rule {
	STORE_EXACT,
	STORE_AHEAD,
	STORE_BEHIND,
	STORE_BOUND,
	STORE_WILDCARD,
	STORE_LISTENER,
	STORE_QUOTED,
	STORE_RULES
};

struct store_connection {
	int64_t connection_id, flow_id;
	const char *end;		   /* "orig" or "resp" */
	int64_t process_id, socket_id;	   /* 0: none */
	const char *rule, *reason;	   /* one of them NULL */
	int64_t rule_packets[STORE_RULES]; /* exact_packets, ahead_packets, … */
	int64_t shared_by;		   /* holders of the socket; 0: no owner */
	int64_t snapshot_id;		   /* the sighting it rests on; 0: none */
	int64_t distance_ns;		   /* STORE_NULL: none */
	int64_t start_ns, end_ns;
	int64_t sent_packets, sent_bytes, sent_payload_bytes;
	int64_t received_packets, received_bytes, received_payload_bytes;
	const char *remote_address; /* of the flow's other end */
};

struct store_candidate {
	int64_t connection_id, process_id, socket_id;
};

struct store_traffic {
	int64_t connection_id, bucket; /* bucket: floor(time_ns / bucket_ns) */
	int64_t sent_packets, sent_bytes, received_packets, received_bytes;
};

struct store_packet {
	int64_t segment_id, number, offset_bytes, connection_id, time_ns, bytes;
	int64_t direction; /* 0: orig to resp, 1: resp to orig */
	int64_t verdict;   /* store_packet_verdict, at that connection's end */
};

struct store_other {
	int64_t segment_id;
	const char *reason;
	int64_t packets, bytes;
};

struct store_coverage {
	int64_t coverage_id, recording_id, segment_id;
	const char *kind; /* "damaged" "dropped" "gap" "clock-step" "suspended" "unreadable" "torn"
			     "expired" "no-snapshot" … */
	int64_t begin_ns, end_ns, count;
	const char *subject, *detail;
};

/* As struct serving_row has it (serving.h); times: STORE_NULL for never. */
struct store_serving {
	int64_t recording_id, port, pid, start_ticks;
	int64_t inode; /* STORE_NULL: serves_ns is */
	int64_t listens_ns, serves_ns, again_ns, others_ns, hands_ns;
};

/* Opens path for adding. If it exists it must be ours (application_id,
 * user_version; the message says what was found) and is added to in place.
 * If not, a temporary file beside it is filled and store_finish puts it in place
 * (VACUUM INTO, rename), so path is whole or absent. bucket_ns must equal the
 * existing database's (0 takes it as it is, new ones then get 1 s); with_packets
 * likewise is fixed at creation. */
int store_open(const char *path, int64_t bucket_ns, bool with_packets, struct store **out,
	       struct error *error);
/* A new database for what others have (store_fleet.h), put in place of the one that
 * stands at path if replaces is true; bucket_ns > 0. It says that it is merged, and
 * store_open refuses such a one: it lacks what loading goes on with. */
int store_open_merged(const char *path, bool replaces, int64_t bucket_ns, bool with_packets,
		      struct store **out, struct error *error);
/* What is under way fails (ERROR_INTERRUPTED) when it is set; NULL: never. */
void store_stop_when(struct store *store, const volatile sig_atomic_t *stop);
/* Removes the temporary files of path that runs left which were killed, and says
 * so, once for each; report may be NULL. One whose process lives, or that anybody
 * has locked, stays. */
void store_remove_stale(const char *path, void (*report)(const struct error *, void *),
			void *context);
/* Whether packet rows are wanted. An existing database decides that: asked for
 * them, one without is refused by store_open; not asked, one that has them goes on. */
bool store_with_packets(const struct store *store);
bool store_is_new(const struct store *store); /* made by this load: whole, or absent */
int64_t store_bucket_ns(const struct store *store);
/* A segment that is loaded. Texts live during the call; NULL as in struct store_segment. */
struct store_loaded {
	const char *pcap_name, *snap_name, *pcap_sha256, *snap_sha256, *content_sha256;
	const char *recording_uuid;
	int64_t packets;
	bool is_bare;  /* a capture outside any evidence directory */
	bool is_sound; /* all of it was read, and nothing says that it was altered */
};
/* Each of them, until each fails. */
int store_loaded_each(struct store *store,
		      int (*each)(const struct store_loaded *row, void *context,
				  struct error *error),
		      void *context, struct error *error);
/* Adds what is known of who serves in a recording to the book. */
int store_serving_read(struct store *store, const char *uuid, struct serving_book *book,
		       struct error *error);
/* Highest id in a table ("flow", …), 0 if empty. Negative on failure. */
int64_t store_last_id(struct store *store, const char *table, struct error *error);

/* One transaction each. */
int store_begin(struct store *store, struct error *error);
int store_commit(struct store *store, struct error *error);
void store_rollback(struct store *store);

/* insert: a new id; otherwise the row of that id is rewritten whole. New sockets, holders, flows
 * and connections are held back to be written together, so what the schema refuses of them is told
 * by a later call, at the latest by store_commit. */
int store_recording(struct store *store, const struct store_recording *row, bool insert,
		    struct error *error);
int store_segment(struct store *store, const struct store_segment *row, bool insert,
		  struct error *error);
int store_snapshot(struct store *store, const struct store_snapshot *row, bool insert,
		   struct error *error);
int store_interface(struct store *store, const struct store_interface *row, bool insert,
		    struct error *error);
int store_address(struct store *store, const struct store_address *row, bool insert,
		  struct error *error);
int store_process(struct store *store, const struct store_process *row, bool insert,
		  struct error *error);
int store_socket(struct store *store, const struct store_socket *row, bool insert,
		 struct error *error);
int store_holder(struct store *store, const struct store_holder *row, bool insert,
		 struct error *error);
enum store_how {
	STORE_REWRITE,
	STORE_INSERT,
	STORE_COMPARE, /* nothing is written: 1 if the row of that id is the same, 0 if not */
};
int store_flow(struct store *store, const struct store_flow *row, enum store_how how,
	       struct error *error);
int store_tunnel(struct store *store, const struct store_tunnel *row, enum store_how how,
		 struct error *error);
int store_connection(struct store *store, const struct store_connection *row, enum store_how how,
		     struct error *error);
int store_candidate(struct store *store, const struct store_candidate *row,
		    struct error *error); /* or ignore */
/* Each adds to the row of (connection, bucket) if there is one. In the order of the table they
 * cost a third of what they cost in another. */
int store_traffic(struct store *store, const struct store_traffic *rows, size_t count,
		  struct error *error);
/* The verdict of a packet as its row has it, from a rule or a reason; the other one is NULL.
 * Negative: neither table has it. */
int64_t store_packet_verdict(const struct store *store, const char *rule, const char *reason);
/* Packets of a segment come in the order of their numbers, each once. */
int store_packet(struct store *store, const struct store_packet *row, struct error *error);
int store_other(struct store *store, const struct store_other *row,
		struct error *error); /* adds up too */
int store_coverage(struct store *store, const struct store_coverage *row, struct error *error);
/* Or rewrites the row of that port and process. */
int store_serving(struct store *store, const struct store_serving *row, struct error *error);
/* Moves traffic, packets and candidates of connection from to connection to, then
 * deletes from: two stretches of one end turned out to have one owner. */
int store_fold_connection(struct store *store, int64_t from_id, int64_t to_id, struct error *error);
/* What connection_id's packets are now, after the folds into it. reason: all of them are nobody's
 * for that; NULL: those that no row of their own five-tuple was known for are its by rule. */
int store_restate_packets(struct store *store, int64_t connection_id, const char *reason,
			  enum store_rule rule, struct error *error);
/* Deletes its candidates: the kernel itself answered, or who it was became known. */
int store_drop_candidates(struct store *store, int64_t connection_id, struct error *error);

/* What the next segment goes on with (live flows, sockets, processes): opaque
 * records that the loader writes and reads back, in order. clear deletes all. */
int store_carry_clear(struct store *store, struct error *error);
int store_carry_put(struct store *store, int64_t kind, const void *bytes, size_t length,
		    struct error *error);
int store_carry_each(struct store *store,
		     int (*each)(int64_t kind, const void *bytes, size_t length, void *context,
				 struct error *error),
		     void *context, struct error *error);

/* Indexes, ANALYZE, and for a new database VACUUM INTO and rename. The store
 * is closed and freed, also on failure (a new file is then removed). */
int store_finish(struct store *store, struct error *error);
/* Gives up: closes, removes the temporary file of a new database. NULL works. */
void store_abandon(struct store *store);

#endif
