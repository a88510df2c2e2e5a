/*
 * What is read back is written over rows, so each id must be one that was given, each
 * key stand there once, and no sum may overflow.
 */
#include "analyze/merge_internal.h"

#include <string.h>

#include "snapshot/format/quantity.h"

static bool is_id(int64_t id, int64_t last)
{
	return id > 0 && id <= last;
}

static bool is_id_or_none(int64_t id, int64_t last)
{
	return id >= 0 && id <= last;
}

static bool is_time(int64_t t_ns)
{
	return t_ns >= 0 && t_ns <= QUANTITY_MAX_TIME_NS;
}

static bool is_count(const struct flow_count *count)
{
	return count->packets <= STORE_MAX_COUNT && count->bytes <= STORE_MAX_COUNT &&
	       count->payload_bytes <= STORE_MAX_COUNT;
}

bool merge_check_recording(const struct merge *m, const struct merge_recording *r)
{
	return is_id(r->recording_id, m->recording_id) && is_id(r->boot, m->recording_id);
}

bool merge_check_process(const struct merge *m, const struct merge_process *p)
{
	return is_id(p->boot, m->recording_id) && is_id(p->recording_id, m->recording_id) &&
	       is_id(p->row_recording_id, m->recording_id) && is_id(p->process_id, m->process_id) &&
	       is_id_or_none(p->parent_process_id, m->process_id) &&
	       is_id_or_none(p->previous_id, m->process_id) && is_id(p->image, INT64_MAX / 2);
}

bool merge_check_socket(const struct merge *m, const struct merge_socket *s)
{
	return is_id(s->recording_id, m->recording_id) && is_id(s->socket_id, m->socket_id) &&
	       is_id_or_none(s->first_snapshot_id, m->snapshot_id);
}

bool merge_check_holder(const struct merge *m, const struct merge_holder *h)
{
	return is_id(h->recording_id, m->recording_id) && is_id(h->boot, m->recording_id) &&
	       is_id(h->socket_id, m->socket_id) && is_id(h->holder_id, m->holder_id) &&
	       is_id_or_none(h->process_id, m->process_id);
}

bool merge_check_place(const struct merge *m, const struct merge_place *p, int64_t last)
{
	return is_id(p->recording_id, m->recording_id) && is_id(p->place_id, last);
}

/* They are looked up by halves. */
bool merge_check_snapshot(const struct merge *m, const struct merge_snapshot *s)
{
	const struct merge_snapshot *before = s == m->snapshots ? NULL : s - 1;

	return is_id(s->recording_id, m->recording_id) && is_id(s->snapshot_id, m->snapshot_id) &&
	       (before == NULL || before->recording_id < s->recording_id ||
		(before->recording_id == s->recording_id && before->sequence <= s->sequence));
}

static bool is_flow(const struct flow *flow)
{
	const struct flow_carried *carried = &flow->carried;

	for (int i = 0; i < flow->history_length; i++) {
		uint8_t letter = flow->history[i] & 7;

		if (flow->history[i] >> 3 > 1 || letter < FLOW_SYN || letter > FLOW_RST)
			return false;
	}
	return is_count(&flow->count[0]) && is_count(&flow->count[1]) &&
	       flow->repeats <= STORE_MAX_COUNT && carried->read <= STORE_MAX_COUNT &&
	       carried->other <= STORE_MAX_COUNT && carried->unreadable <= STORE_MAX_COUNT &&
	       flow->first_number <= STORE_MAX_COUNT &&
	       flow->first_offset_bytes <= STORE_MAX_COUNT &&
	       (flow->key.ip_version == 4 || flow->key.ip_version == 6) &&
	       is_time(flow->first_ns) && is_time(flow->last_ns) &&
	       (flow->began_ns == INT64_MIN || is_time(flow->began_ns)) &&
	       flow->place <= BRIDGE_PLACE_GROUP && flow->group_side <= 2;
}

bool merge_check_flow(const struct merge *m, const struct merge_flow *f)
{
	return is_id(f->recording_id, m->recording_id) && is_id(f->flow_id, m->flow_id) &&
	       is_id(f->segment_id, m->segment_id) && is_flow(&f->flow) &&
	       (f->reading_ns == INT64_MAX ||
		(is_time(f->reading_ns) && f->reading_ns >= f->flow.first_ns));
}

bool merge_check_tunnel(const struct merge *m, const struct merge_tunnel *t)
{
	return is_id(t->recording_id, m->recording_id) && is_id(t->tunnel_id, m->tunnel_id) &&
	       is_id(t->segment_id, m->segment_id) && is_id(t->flow_id, m->flow_id) &&
	       is_id_or_none(t->outer_tunnel_id, m->tunnel_id) && t->key >= -1 &&
	       t->key <= UINT32_MAX && t->depth >= 1 && t->depth <= TUNNEL_DEPTH &&
	       (t->depth == 1) == (t->outer_tunnel_id == 0) && is_flow(&t->flow);
}

bool merge_check_connection(const struct merge *m, const struct merge_connection *k)
{
	uint64_t packets = k->sent.packets + k->received.packets, left = packets;

	if (!is_count(&k->sent) || !is_count(&k->received))
		return false;
	for (int i = 0; i < BRIDGE_RULES; i++) {
		if (k->rule_packets[i] < 0 || (uint64_t)k->rule_packets[i] > left)
			return false;
		left -= (uint64_t)k->rule_packets[i];
	}
	return is_id(k->connection_id, m->connection_id) &&
	       is_id_or_none(k->process_id, m->process_id) &&
	       is_id_or_none(k->socket_id, m->socket_id) &&
	       is_id_or_none(k->snapshot_id, m->snapshot_id) && k->shared_by >= 0 &&
	       k->shared_by <= UINT32_MAX &&
	       (k->distance_ns == STORE_NULL || is_time(k->distance_ns)) && is_time(k->start_ns) &&
	       is_time(k->end_ns) &&
	       (k->sighted_first_ns == INT64_MAX || is_time(k->sighted_first_ns)) &&
	       (k->sighted_last_ns == STORE_NULL || is_time(k->sighted_last_ns));
}
