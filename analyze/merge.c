#include "analyze/merge_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/decode_icmp.h"
#include "analyze/decode_tunnel.h"
#include "analyze/grow.h"
#include "snapshot/format/quantity.h"

#define NONE UINT32_MAX

_Static_assert((int)STORE_RULES == (int)BRIDGE_RULES && (int)STORE_QUOTED == (int)BRIDGE_QUOTED &&
		       (int)STORE_BOUND == (int)BRIDGE_BOUND,
	       "the store counts packets by the bridge's rules");

/* ------------------------------------------------------------ live flows -- */

static uint64_t hash_live(int64_t recording_id, const struct flow_key *key)
{
	return hashindex_mix(flow_key_hash(key) ^ (uint64_t)recording_id * 31);
}

uint64_t merge_hash_of_flow(const void *context, uint32_t place)
{
	const struct merge_flow *f = &((const struct merge *)context)->flows[place];

	return hash_live(f->recording_id, &f->flow.key);
}

/* The newest instance of a key. */
static uint32_t find_live(const struct merge *merge, const struct flow_key *key)
{
	int64_t recording_id = merge->recording->recording_id;
	uint64_t hash = hash_live(recording_id, key);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&merge->flows_index, hash, &probe)) != HASHINDEX_NONE) {
		const struct merge_flow *f = &merge->flows[i];

		if (f->recording_id == recording_id && flow_key_equal(&f->flow.key, key))
			return i;
	}
	return NONE;
}

/* replaced: the instance before on this key, which the index then leads to no more; NONE. */
static uint32_t new_live(struct merge *merge, const struct flow *flow, uint32_t replaced)
{
	uint64_t hash = hash_live(merge->recording->recording_id, &flow->key);
	uint32_t place = (uint32_t)merge->flows_count;

	if (grow_one(&merge->flows, merge->flows_count, &merge->flows_capacity,
		     sizeof(*merge->flows)) != 0)
		return NONE;
	merge->flows[merge->flows_count++] = (struct merge_flow){
		.flow = *flow,
		.recording_id = merge->recording->recording_id,
		.flow_id = ++merge->flow_id,
		.segment_id = merge->row.segment_id,
		.connections = NONE,
		.reading_ns = INT64_MAX,
	};
	if (replaced != NONE)
		hashindex_move(&merge->flows_index, hash, replaced, place);
	else if (hashindex_add(&merge->flows_index, hash, place, merge_hash_of_flow, merge) != 0)
		return NONE;
	return place;
}

/* ----------------------------------------------------------------- flows -- */

void merge_flow_row(const struct flow *f, struct merge_texts *texts, struct store_flow *row)
{
	uint8_t o = f->originator;
	struct endpoint_address orig, resp;
	bool icmp = decode_is_icmp(f->key.protocol);
	bool tunnel = f->carried.tunnel != DECODE_NO_TUNNEL;

	memcpy(orig.bytes, f->key.address[o], 16);
	memcpy(resp.bytes, f->key.address[!o], 16);
	flow_history(f, texts->history);
	*row = (struct store_flow){
		.protocol = endpoint_protocol_name(f->key.protocol, texts->protocol),
		.ip_version = f->key.ip_version,
		.orig_address = endpoint_format(&orig, texts->orig),
		.resp_address = endpoint_format(&resp, texts->resp),
		.orig_port = f->key.port[o],
		.resp_port = f->key.port[!o],
		.icmp_id = icmp ? f->key.icmp_id : STORE_NULL,
		.start_ns = f->first_ns,
		.end_ns = f->last_ns,
		.orig_packets = (int64_t)f->count[o].packets,
		.orig_bytes = (int64_t)f->count[o].bytes,
		.orig_payload_bytes = (int64_t)f->count[o].payload_bytes,
		.resp_packets = (int64_t)f->count[!o].packets,
		.resp_bytes = (int64_t)f->count[!o].bytes,
		.resp_payload_bytes = (int64_t)f->count[!o].payload_bytes,
		.repeat_packets = (int64_t)f->repeats,
		.conn_state = flow_conn_state(f),
		.history = texts->history,
		.community_id = community_id(&f->key, o, texts->community),
		.ifindex = f->ifindex != 0 ? (int64_t)f->ifindex : STORE_NULL,
		.vlan = f->vlan != 0 ? f->vlan : STORE_NULL,
		.inner_vlan = f->inner_vlan != 0 ? f->inner_vlan : STORE_NULL,
		.first_packet_number = (int64_t)f->first_number,
		.first_packet_offset = (int64_t)f->first_offset_bytes,
		.carries = decode_tunnel_name((enum decode_tunnel)f->carried.tunnel),
		.carried_packets = tunnel ? (int64_t)f->carried.read : STORE_NULL,
		.carried_other_packets = tunnel ? (int64_t)f->carried.other : STORE_NULL,
		.carried_unreadable_packets = tunnel ? (int64_t)f->carried.unreadable : STORE_NULL,
	};
}

int merge_put_flow(struct merge *merge, const struct merge_flow *live, enum store_how how,
		   struct error *error)
{
	struct merge_texts texts;
	struct store_flow row;

	merge_flow_row(&live->flow, &texts, &row);
	row.flow_id = live->flow_id;
	row.recording_id = live->recording_id;
	row.segment_id = live->segment_id;
	return store_flow(merge->store, &row, how, error);
}

int merge_note_stale(struct merge *merge, uint32_t place, struct error *error)
{
	if (merge->flows[place].stale)
		return 0;
	if (grow_one(&merge->stale, merge->stale_count, &merge->stale_capacity,
		     sizeof(*merge->stale)) != 0)
		return merge_no_memory(error);
	merge->flows[place].stale = true;
	merge->stale[merge->stale_count++] = place;
	return 0;
}

static int rewrite_stale(struct merge *merge, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < merge->stale_count && status == 0; i++) {
		struct merge_flow *live = &merge->flows[merge->stale[i]];

		live->stale = false;
		status = merge_put_flow(merge, live, STORE_REWRITE, error);
		for (uint32_t c = live->connections; c != NONE && status == 0;
		     c = merge->connections[c].next)
			status = merge_put_connection(merge, live, &merge->connections[c],
						      STORE_REWRITE, error);
	}
	merge->stale_count = 0;
	return status;
}

static int merge_flow_part(struct merge *merge, const struct replay_part *part, uint32_t i,
			   struct merge_mapping *map, struct error *error)
{
	const struct flow *flow = &part->flows.flows[i];
	uint32_t place = find_live(merge, &flow->key);
	bool insert =
		place == NONE || !flow_continues(&merge->flows[place].flow, flow, &merge->limits);
	uint32_t earlier;
	int status;

	if (insert) {
		if (place != NONE) {
			status = merge_end_live(merge, &merge->flows[place], flow->first_ns, part,
						map, error);
			if (status != 0)
				return status;
		}
		earlier = place;
		place = new_live(merge, flow, place);
		if (place == NONE)
			return merge_no_memory(error);
		if (earlier != NONE)
			flow_follow(&merge->flows[place].flow, &merge->flows[earlier].flow,
				    &merge->limits);
		merge->totals.flows++;
		status = merge_put_flow(merge, &merge->flows[place], STORE_INSERT, error);
		if (status != 0)
			return status;
	} else {
		status = merge_say_answered(merge, &merge->flows[place], false, error);
		if (status != 0)
			return status;
		flow_join(&merge->flows[place].flow, flow);
		for (int e = 0; e < 2; e++)
			merge->flows[place].flow.end[e].local |= flow->end[e].local;
	}
	map->flow_ids[i] = merge->flows[place].flow_id;
	map->places[i] = place;
	map->originators[i] = merge->flows[place].flow.originator;
	if (merge->flows[place].part == merge->part)
		map->siblings[i] = merge->flows[place].part_flow;
	merge->flows[place].part = merge->part;
	merge->flows[place].part_flow = i;
	merge_note_reading(merge, &merge->flows[place]);
	for (uint8_t side = 0; side < 2; side++) {
		status = merge_flow_end(merge, place, part, flow, side, map, error);
		if (status != 0)
			return status;
	}
	if (!insert) {
		status = merge_note_stale(merge, place, error);
		if (status == 0)
			status = merge_say_answered(merge, &merge->flows[place], true, error);
		return status;
	}
	return 0;
}

/* ----------------------------------------------------------------- other -- */

/* Sightings of packets that the parts before this one counted. unknown: of those that no
 * flow is there for, as can be where fragments are made up. */
static int merge_strays(struct merge *merge, const struct replay_part *part,
			struct ledger_other *unknown, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < part->stray_count && status == 0; i++) {
		const struct replay_stray *stray = &part->strays[i];
		uint32_t place = find_live(merge, &stray->key);

		if (place == NONE) {
			unknown->packets += stray->packets;
			unknown->bytes += stray->bytes;
			continue;
		}
		merge->flows[place].flow.repeats += stray->packets;
		status = merge_put_flow(merge, &merge->flows[place], STORE_REWRITE, error);
	}
	return status;
}

static int merge_other(struct merge *merge, const struct replay_part *part,
		       const struct ledger_other *unknown, struct error *error)
{
	for (int i = 0; i < DECODE_OUTCOME_END; i++) {
		struct store_other row = {
			.segment_id = merge->row.segment_id,
			.reason = decode_outcome_name((enum decode_outcome)i),
			.packets = (int64_t)part->ledger.other[i].packets,
			.bytes = (int64_t)part->ledger.other[i].bytes,
		};
		int status;

		if (i == DECODE_FRAGMENT) {
			row.packets += (int64_t)unknown->packets;
			row.bytes += (int64_t)unknown->bytes;
		}
		if (row.packets == 0)
			continue;
		status = store_other(merge->store, &row, error);
		if (status != 0)
			return status;
	}
	return 0;
}

static void count_totals(struct merge *merge, const struct replay_part *part,
			 const struct ledger_other *unknown)
{
	const uint64_t flow_packets = part->flow_packets - unknown->packets;
	struct merge_totals *t = &merge->totals;

	t->packets += part->packets;
	t->flow_packets += flow_packets;
	merge->row.packets += (int64_t)part->packets;
	merge->row.bytes += (int64_t)part->bytes;
	merge->row.flow_packets += (int64_t)flow_packets;
	if (part->packets == 0)
		return;
	if (merge->row.first_packet_ns == STORE_NULL || part->first_ns < merge->row.first_packet_ns)
		merge->row.first_packet_ns = part->first_ns;
	if (merge->row.last_packet_ns == STORE_NULL || part->last_ns > merge->row.last_packet_ns)
		merge->row.last_packet_ns = part->last_ns;
}

int merge_part(struct merge *merge, const struct replay_part *part, struct error *error)
{
	struct merge_mapping map = {
		.flow_ids = calloc(part->flows.count + 1, sizeof(*map.flow_ids)),
		.span_ids = calloc(part->ledger.span_count + 1, sizeof(*map.span_ids)),
		.originators = calloc(part->flows.count + 1, sizeof(*map.originators)),
		.swapped = calloc(part->ledger.span_count + 1, sizeof(*map.swapped)),
		.places = calloc(part->flows.count + 1, sizeof(*map.places)),
		.siblings = malloc((part->flows.count + 1) * sizeof(*map.siblings)),
		.rules = malloc(part->ledger.span_count + 1),
		.reasons = malloc(part->ledger.span_count + 1),
	};
	struct ledger_other unknown = {0};
	int status = 0;

	if (map.flow_ids == NULL || map.span_ids == NULL || map.originators == NULL ||
	    map.swapped == NULL || map.places == NULL || map.siblings == NULL ||
	    map.rules == NULL || map.reasons == NULL) {
		status = merge_no_memory(error);
		goto out;
	}
	memset(map.rules, BRIDGE_NO_RULE, part->ledger.span_count + 1);
	memset(map.reasons, BRIDGE_REASONS, part->ledger.span_count + 1);
	for (uint32_t i = 0; i < part->flows.count; i++)
		map.siblings[i] = NONE;
	merge->part++;
	status = merge_strays(merge, part, &unknown, error);
	for (uint32_t i = 0; i < part->flows.count && status == 0; i++)
		status = merge_flow_part(merge, part, i, &map, error);
	if (status == 0)
		status = rewrite_stale(merge, error);
	if (status == 0)
		status = merge_tunnels(merge, part, map.flow_ids, error);
	if (status == 0)
		status = merge_traffic(merge, part, &map, error);
	if (status == 0) {
		merge_note_answered(merge, part, &map);
		status = merge_packets(merge, part, &map, error);
	}
	if (status == 0)
		status = merge_other(merge, part, &unknown, error);
	count_totals(merge, part, &unknown);
out:
	free(map.flow_ids);
	free(map.span_ids);
	free(map.originators);
	free(map.swapped);
	free(map.places);
	free(map.siblings);
	free(map.rules);
	free(map.reasons);
	return status;
}

/* -------------------------------------------------------------- segments -- */

int merge_begin(struct merge *merge, const struct merge_segment *segment, struct error *error)
{
	merge->row = (struct store_segment){
		.segment_id = ++merge->segment_id,
		.number = segment->number != 0 ? (int64_t)segment->number : STORE_NULL,
		.pcap_name = segment->pcap_name,
		.snap_name = segment->snap_name,
		.pcap_bytes = segment->pcap_name != NULL ? segment->pcap_bytes : STORE_NULL,
		.snap_bytes = segment->snap_name != NULL ? segment->snap_bytes : STORE_NULL,
		.pcap_sha256 = segment->pcap_sha256,
		.snap_sha256 = segment->snap_sha256,
		.link_type = segment->link_type >= 0 ? segment->link_type : STORE_NULL,
		.first_packet_ns = STORE_NULL,
		.last_packet_ns = STORE_NULL,
		.dropped = STORE_NULL,
		.state = segment->repaired ? "repaired" : "whole",
	};
	merge->totals.segments++;
	return merge_state_begin(merge, segment, error);
}

int merge_damaged(struct merge *merge, const struct merge_damage *damage, struct error *error)
{
	struct store_coverage row = {
		.kind = damage->kind,
		.begin_ns = damage->is_whole ? STORE_NULL : merge->row.last_packet_ns,
		.end_ns = STORE_NULL,
		.count = 1,
		.subject = damage->subject,
		.detail = damage->detail,
	};

	if (!damage->is_whole)
		merge->row.state = "damaged";
	return merge_cover(merge, &row, error);
}

bool merge_is_silent(const struct merge *merge, const struct flow *flow, int64_t recording_id)
{
	return recording_id == merge->recording->recording_id && merge->last_ns != INT64_MIN &&
	       merge->last_ns > flow->last_ns &&
	       merge->last_ns - flow->last_ns > flow_idle_limit(flow, &merge->limits);
}

static bool is_finished(const struct merge *merge, const struct merge_flow *live)
{
	return live->replaced || merge_is_silent(merge, &live->flow, live->recording_id);
}

/* What has been silent for longer than it may is finished. */
static int forget_flows(struct merge *merge, struct error *error)
{
	size_t kept = 0, moved = 0;
	struct merge_connection *connections = NULL;
	size_t capacity = 0;

	for (size_t i = 0; i < merge->flows_count; i++) {
		for (uint32_t c = merge->flows[i].connections; c != NONE;
		     c = merge->connections[c].next)
			moved += !is_finished(merge, &merge->flows[i]);
	}
	capacity = moved > 0 ? moved : 1;
	connections = calloc(capacity, sizeof(*connections));
	if (connections == NULL)
		return merge_no_memory(error);
	moved = 0;
	for (size_t i = 0; i < merge->flows_count; i++) {
		struct merge_flow live = merge->flows[i];
		uint32_t *link = &live.connections, c = live.connections;

		if (is_finished(merge, &live))
			continue;
		for (; c != NONE; c = merge->connections[c].next) {
			connections[moved] = merge->connections[c];
			*link = (uint32_t)moved;
			link = &connections[moved++].next;
		}
		*link = NONE;
		merge->flows[kept++] = live;
	}
	free(merge->connections);
	merge->connections = connections;
	merge->connection_count = moved;
	merge->connection_capacity = capacity;
	merge->flows_count = kept;
	hashindex_clear(&merge->flows_index);
	for (uint32_t i = 0; i < kept; i++) {
		if (hashindex_add(&merge->flows_index, merge_hash_of_flow(merge, i), i,
				  merge_hash_of_flow, merge) != 0)
			return merge_no_memory(error);
	}
	return 0;
}

int merge_end(struct merge *merge, const char *content_sha256, struct error *error)
{
	int status = merge_state_coverage(merge, error);

	merge->row.content_sha256 = content_sha256;
	if (status == 0)
		status = store_segment(merge->store, &merge->row, false, error);
	merge->last_ns =
		merge->row.last_packet_ns != STORE_NULL ? merge->row.last_packet_ns : INT64_MIN;
	if (status == 0)
		status = forget_flows(merge, error);
	if (status == 0)
		status = merge_forget_tunnels(merge, error);
	merge_state_end(merge);
	merge->recording = NULL;
	return status;
}

const struct merge_totals *merge_totals(const struct merge *merge)
{
	return &merge->totals;
}

int merge_new(struct store *store, const struct flow_limits *limits, struct merge **out,
	      struct error *error)
{
	struct merge *merge = calloc(1, sizeof(*merge));
	const struct {
		const char *table;
		size_t offset;
	} ids[] = {
		{"recording", offsetof(struct merge, recording_id)},
		{"segment", offsetof(struct merge, segment_id)},
		{"snapshot", offsetof(struct merge, snapshot_id)},
		{"interface", offsetof(struct merge, interface_id)},
		{"address", offsetof(struct merge, address_id)},
		{"process", offsetof(struct merge, process_id)},
		{"socket", offsetof(struct merge, socket_id)},
		{"holder", offsetof(struct merge, holder_id)},
		{"flow", offsetof(struct merge, flow_id)},
		{"connection", offsetof(struct merge, connection_id)},
		{"coverage", offsetof(struct merge, coverage_id)},
		{"tunnel", offsetof(struct merge, tunnel_id)},
	};
	int status;

	if (merge == NULL)
		return merge_no_memory(error);
	merge->store = store;
	merge->limits = *limits;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		int64_t last = store_last_id(store, ids[i].table, error);

		if (last < 0) {
			merge_free(merge);
			return (int)last;
		}
		memcpy((char *)merge + ids[i].offset, &last, sizeof(last));
	}
	status = merge_carry_read(merge, error);
	if (status != 0) {
		merge_free(merge);
		return status;
	}
	*out = merge;
	return 0;
}

void merge_free(struct merge *merge)
{
	if (merge == NULL)
		return;
	merge_state_release(merge);
	free(merge->recordings);
	free(merge->processes);
	free(merge->sockets);
	free(merge->holders);
	free(merge->addresses);
	free(merge->interfaces);
	free(merge->snapshots);
	free(merge->flows);
	free(merge->connections);
	free(merge->stale);
	free(merge->tunnels);
	hashindex_release(&merge->processes_index);
	hashindex_release(&merge->sockets_index);
	hashindex_release(&merge->holders_index);
	hashindex_release(&merge->flows_index);
	hashindex_release(&merge->tunnels_index);
	hashindex_release(&merge->addresses_index);
	hashindex_release(&merge->interfaces_index);
	free(merge);
}
