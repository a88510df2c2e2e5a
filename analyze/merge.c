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
	if (merge->hand.stale == merge->round)
		return 0;
	if (grow_one(&merge->stale, merge->stale_count, &merge->stale_capacity,
		     sizeof(*merge->stale)) != 0)
		return merge_no_memory(error);
	merge->hand.stale = merge->round;
	merge->stale[merge->stale_count++] = place;
	return 0;
}

static int compare_places(const void *a, const void *b)
{
	const uint32_t *p = a, *q = b;

	return (*p > *q) - (*p < *q);
}

/* In the order of their rows, so that those of a page are rewritten together. */
static int rewrite_stale(struct merge *merge, struct error *error)
{
	int status = 0;

	if (merge->stale_count > 0)
		qsort(merge->stale, merge->stale_count, sizeof(*merge->stale), compare_places);

	for (size_t i = 0; i < merge->stale_count && status == 0; i++) {
		const struct merge_flow *live = &merge->hand;

		if (merge_take_live(merge, merge->stale[i]) != 0)
			return merge_no_memory(error);
		status = merge_put_flow(merge, live, STORE_REWRITE, error);
		for (uint32_t c = live->connections; c != NONE && status == 0;
		     c = merge->connections[c].next)
			status = merge_put_connection(merge, live, &merge->connections[c],
						      STORE_REWRITE, error);
	}
	merge->stale_count = 0;
	merge->round++;
	return status;
}

/* The one in hand is followed by a new one, which is taken in hand. */
static int follow(struct merge *merge, uint32_t place, const struct flow *flow,
		  const struct replay_part *part, struct merge_mapping *map, struct error *error)
{
	const struct flow earlier = merge->hand.flow;
	int status = merge_end_live(merge, &merge->hand, flow->first_ns, part, map, error);

	if (status != 0)
		return status;
	if (merge_keep_live(merge) != 0 || merge_begin_live(merge, flow, place) != 0)
		return merge_no_memory(error);
	flow_follow(&merge->hand.flow, &earlier, &merge->limits);
	return 0;
}

/* A flow of a part in hand: one that is live, or a new one. */
static int take_flow(struct merge *merge, const struct flow *flow, const struct replay_part *part,
		     struct merge_mapping *map, bool *insert, struct error *error)
{
	struct merge_flow *live = &merge->hand;
	uint32_t place;
	int status = 0;

	if (merge_find_live(merge, &flow->key, &place) != 0)
		return merge_no_memory(error);
	*insert = place == NONE || !flow_continues(&live->flow, flow, &merge->limits);
	if (*insert) {
		if (place != NONE)
			status = follow(merge, place, flow, part, map, error);
		else if (merge_begin_live(merge, flow, NONE) != 0)
			status = merge_no_memory(error);
		merge->totals.flows++;
		return status == 0 ? merge_put_flow(merge, live, STORE_INSERT, error) : status;
	}
	merge_note_said(merge, live);
	flow_join(&live->flow, flow);
	for (int e = 0; e < 2; e++)
		live->flow.end[e].local |= flow->end[e].local;
	return 0;
}

static int merge_flow_part(struct merge *merge, const struct replay_part *part, uint32_t i,
			   struct merge_mapping *map, struct error *error)
{
	const struct flow *flow = &part->flows.flows[i];
	struct merge_flow *live = &merge->hand;
	bool insert = false;
	int status = take_flow(merge, flow, part, map, &insert, error);

	if (status != 0)
		return status;
	map->flow_ids[i] = live->flow_id;
	map->places[i] = merge->hand_place;
	map->originators[i] = live->flow.originator;
	if (live->part == merge->part)
		map->siblings[i] = live->part_flow;
	live->part = merge->part;
	live->part_flow = i;
	merge_note_reading(merge, live);
	for (uint8_t side = 0; side < 2 && status == 0; side++)
		status = merge_flow_end(merge, merge->hand_place, part, flow, side, map, error);
	if (!insert && status == 0)
		status = merge_note_stale(merge, merge->hand_place, error);
	if (!insert && status == 0)
		status = merge_say_answered(merge, live, error);
	if (status == 0 && merge_keep_live(merge) != 0)
		status = merge_no_memory(error);
	return status;
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
		uint32_t place;

		if (merge_find_live(merge, &stray->key, &place) != 0)
			return merge_no_memory(error);
		if (place == NONE) {
			unknown->packets += stray->packets;
			unknown->bytes += stray->bytes;
			continue;
		}
		merge->hand.flow.repeats += stray->packets;
		if (merge_keep_live(merge) != 0)
			return merge_no_memory(error);
		status = merge_put_flow(merge, &merge->hand, STORE_REWRITE, error);
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
	if (status == 0 && !part->goes_on)
		status = rewrite_stale(merge, error);
	if (status == 0)
		status = merge_tunnels(merge, part, map.flow_ids, error);
	if (status == 0)
		status = merge_traffic(merge, part, &map, error);
	/* What it notes is of use to packets alone. */
	if (status == 0 && part->ledger.packet_count > 0)
		status = merge_note_answered(merge, part, &map, error);
	if (status == 0)
		status = merge_packets(merge, part, &map, error);
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

static int64_t time_or_null(int64_t since_ns)
{
	return since_ns == SERVING_NEVER ? STORE_NULL : since_ns;
}

/* What the segment adds to the book. */
static int put_serving(struct merge *merge, const struct serving *serving, struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < serving->told_count && status == 0; i++) {
		const struct serving_row *told = &serving->told[i];
		const struct serving_facts *facts = &told->facts;
		struct store_serving row = {
			.recording_id = merge->recording->recording_id,
			.port = told->port,
			.pid = told->pid,
			.start_ticks = (int64_t)told->start_ticks,
			.inode = facts->serves_ns == SERVING_NEVER ? STORE_NULL : facts->inode,
			.listens_ns = time_or_null(facts->listens_ns),
			.serves_ns = time_or_null(facts->serves_ns),
			.again_ns = time_or_null(facts->again_ns),
			.others_ns = time_or_null(facts->others_ns),
			.hands_ns = time_or_null(facts->hands_ns),
		};

		status = store_serving(merge->store, &row, error);
	}
	return status;
}

int merge_begin(struct merge *merge, const struct merge_segment *segment, struct error *error)
{
	int status;

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
	status = merge_state_begin(merge, segment, error);
	return status == 0 && segment->serving != NULL ? put_serving(merge, segment->serving, error)
						       : status;
}

bool merge_is_late(const struct merge *merge)
{
	return merge->row.number > 0 && (uint64_t)merge->row.number < merge->recording->last_number;
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

int merge_end(struct merge *merge, const char *content_sha256, struct error *error)
{
	int status = merge_state_name(merge, error);

	if (status == 0)
		status = merge_state_coverage(merge, error);
	merge->row.content_sha256 = content_sha256;
	if (status == 0)
		status = store_segment(merge->store, &merge->row, false, error);
	merge->last_ns =
		merge->row.last_packet_ns != STORE_NULL ? merge->row.last_packet_ns : INT64_MIN;
	if (status == 0 && merge_forget_live(merge) != 0)
		status = merge_no_memory(error);
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
	merge->hand_place = NONE;
	merge->round = 1;
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
	merge_release_live(merge);
	free(merge->stale);
	free(merge->tunnels);
	hashindex_release(&merge->processes_index);
	hashindex_release(&merge->sockets_index);
	hashindex_release(&merge->holders_index);
	hashindex_release(&merge->tunnels_index);
	hashindex_release(&merge->addresses_index);
	hashindex_release(&merge->interfaces_index);
	free(merge);
}
