#include "analyze/merge_internal.h"

#include "analyze/grow.h"

static uint64_t hash_socket(const struct merge_socket *s)
{
	uint64_t hash = hashindex_keyed(s->local.address.bytes, 16);

	hash = hashindex_mix(hash ^ hashindex_keyed(s->remote.address.bytes, 16) * 3);
	hash = hashindex_mix(
		hash ^ ((uint64_t)s->local.port << 16 | s->remote.port | (uint64_t)s->inode << 32));
	hash = hashindex_mix(hashindex_mix(hash ^ (uint64_t)s->opened_ns) ^ s->netns);
	return hashindex_mix(hash ^ hashindex_mix((uint64_t)s->recording_id ^ s->table * 77));
}

uint64_t merge_hash_of_socket(const void *context, uint32_t place)
{
	return hash_socket(&((const struct merge *)context)->sockets[place]);
}

bool merge_same_socket(const void *left, const void *right)
{
	const struct merge_socket *a = left, *b = right;

	return a->recording_id == b->recording_id && a->netns == b->netns && a->table == b->table &&
	       a->inode == b->inode && a->opened_ns == b->opened_ns &&
	       a->local.port == b->local.port && a->remote.port == b->remote.port &&
	       endpoint_equal(&a->local.address, &b->local.address) &&
	       endpoint_equal(&a->remote.address, &b->remote.address);
}

static struct merge_socket *find_socket(struct merge *merge, const struct merge_socket *wanted)
{
	uint64_t hash = hash_socket(wanted);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&merge->sockets_index, hash, &probe)) != HASHINDEX_NONE) {
		struct merge_socket *s = &merge->sockets[i];

		if (merge_same_socket(s, wanted))
			return s;
	}
	return NULL;
}

/* What the kernel counted, if it can have. */
static int64_t counted(uint64_t bytes)
{
	return bytes <= STORE_MAX_COUNT ? (int64_t)bytes : STORE_NULL;
}

static int put_socket(struct merge *merge, const struct merge_socket *s,
		      const struct timeline_socket *ts, bool insert, struct error *error)
{
	char local[ENDPOINT_TEXT_SIZE], remote[ENDPOINT_TEXT_SIZE];
	char protocol[ENDPOINT_PROTOCOL_SIZE];
	bool packet = ts->table == SNAP_PACKET;
	uint32_t told = ts->opened_ns != 0 ? (uint32_t)(ts - merge->timeline->sockets) : ts->other;
	struct store_socket row = {
		.socket_id = s->socket_id,
		.recording_id = s->recording_id,
		.net_namespace = (int64_t)s->netns,
		.protocol = packet ? "packet"
			    : ts->table == SNAP_RAW || ts->table == SNAP_RAW6
				    ? "raw"
				    : endpoint_protocol_name(ts->protocol, protocol),
		.family = snap_table_is_ipv6(ts->table) ? 6 : 4,
		.local_address = endpoint_format(&s->local.address, local),
		.local_port = s->local.port,
		.remote_address =
			ts->connected ? endpoint_format(&s->remote.address, remote) : NULL,
		.remote_port = ts->connected ? s->remote.port : STORE_NULL,
		.state = ts->state != SNAP_UNKNOWN_STATE ? ts->state : STORE_NULL,
		.uid = ts->uid != SNAP_UNKNOWN_UID ? (int64_t)ts->uid : STORE_NULL,
		.inode = s->inode != 0 ? (int64_t)s->inode : STORE_NULL,
		.opened_ns = told != TIMELINE_NONE ? merge->timeline->sockets[told].opened_ns
						   : STORE_NULL,
		.cookie = ts->cookie != 0 ? (int64_t)ts->cookie : STORE_NULL,
		.first_seen_ns = s->first_seen_ns,
		.last_seen_ns = merge_seen_last(merge, &ts->life),
		.first_snapshot_id = s->first_snapshot_id,
		.last_snapshot_id = merge->frame_ids[ts->life.last],
		.closed_ns = s->closed_ns,
		.kernel_bytes_acked = s->acked,
		.kernel_bytes_received = s->received,
		.kernel_bytes_sent = s->sent,
		.kernel_bytes_retransmitted = s->retransmitted,
	};

	return store_socket(merge->store, &row, insert, error);
}

static int merge_one_socket(struct merge *merge, uint32_t i, struct error *error)
{
	const struct timeline_socket *ts = &merge->timeline->sockets[i];
	struct merge_socket s = {
		.recording_id = merge->recording->recording_id,
		.netns = ts->netns,
		.table = ts->table,
		.inode = ts->inode,
		.opened_ns = ts->opened_ns,
		.local = ts->local,
		.remote = ts->remote,
		.first_seen_ns = merge_seen_first(merge, &ts->life),
		.first_snapshot_id = merge->frame_ids[ts->life.first],
		.closed_ns = STORE_NULL,
		.acked = STORE_NULL,
		.received = STORE_NULL,
		.sent = STORE_NULL,
		.retransmitted = STORE_NULL,
		.seen = true,
	};
	struct merge_socket *have = find_socket(merge, &s);
	bool insert = have == NULL;

	if (insert) {
		uint32_t place = (uint32_t)merge->sockets_count;

		if (grow_one(&merge->sockets, merge->sockets_count, &merge->sockets_capacity,
			     sizeof(*merge->sockets)) != 0)
			return merge_no_memory(error);
		s.socket_id = ++merge->socket_id;
		merge->sockets[merge->sockets_count++] = s;
		if (hashindex_add(&merge->sockets_index, hash_socket(&s), place,
				  merge_hash_of_socket, merge) != 0)
			return merge_no_memory(error);
		have = &merge->sockets[place];
	}
	have->seen = true;
	if (ts->closed.closed_ns != 0) {
		have->closed_ns = ts->closed.closed_ns;
		have->acked = counted(ts->closed.bytes_acked);
		have->received = counted(ts->closed.bytes_received);
		have->sent = counted(ts->closed.bytes_sent);
		have->retransmitted = counted(ts->closed.bytes_retransmitted);
	}
	merge->socket_ids[i] = have->socket_id;
	return put_socket(merge, have, ts, insert, error);
}

#define BY_USE UINT32_MAX /* instead of a descriptor */

static uint64_t hash_holder(int64_t socket_id, uint32_t pid, uint64_t start_ticks, uint32_t fd)
{
	return hashindex_mix((uint64_t)socket_id ^ hashindex_mix(start_ticks ^ hashindex_seed) ^
			     hashindex_mix(((uint64_t)pid << 32 | fd) + hashindex_seed));
}

uint64_t merge_hash_of_holder(const void *context, uint32_t place)
{
	const struct merge_holder *h = &((const struct merge *)context)->holders[place];

	return hash_holder(h->socket_id, h->pid, h->start_ticks, h->fd);
}

bool merge_same_holder(const void *left, const void *right)
{
	const struct merge_holder *a = left, *b = right;

	return a->socket_id == b->socket_id && a->pid == b->pid &&
	       a->start_ticks == b->start_ticks && a->fd == b->fd;
}

static struct merge_holder *need_holder(struct merge *merge, int64_t socket_id, uint32_t process,
					uint32_t fd, int64_t first_ns, bool *insert)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_process *p = &tl->processes[process];
	const struct merge_holder wanted = {
		.socket_id = socket_id, .pid = p->pid, .start_ticks = p->start_ticks, .fd = fd};
	uint64_t hash = hash_holder(socket_id, p->pid, p->start_ticks, fd);
	uint32_t probe = (uint32_t)hash, i, image;
	int64_t process_id;

	*insert = false;
	while ((i = hashindex_next(&merge->holders_index, hash, &probe)) != HASHINDEX_NONE) {
		struct merge_holder *have = &merge->holders[i];

		if (merge_same_holder(have, &wanted))
			return have;
	}
	if (grow_one(&merge->holders, merge->holders_count, &merge->holders_capacity,
		     sizeof(*merge->holders)) != 0)
		return NULL;
	image = timeline_image_at(tl, process, first_ns);
	process_id = image == TIMELINE_NONE ? merge->process_ids[process] : merge->image_ids[image];
	i = (uint32_t)merge->holders_count++;
	merge->holders[i] = (struct merge_holder){
		.recording_id = merge->recording->recording_id,
		.socket_id = socket_id,
		.boot = merge->recording->boot,
		.start_ticks = p->start_ticks,
		.pid = p->pid,
		.fd = fd,
		.holder_id = ++merge->holder_id,
		.process_id = process_id,
		.first_seen_ns = first_ns,
	};
	*insert = true;
	if (hashindex_add(&merge->holders_index, hash, i, merge_hash_of_holder, merge) != 0)
		return NULL;
	return &merge->holders[i];
}

/* Whether a holder's life and a socket's can be of the same socket: an inode
 * may come back after all others were used. */
static bool lives_meet(const struct timeline_life *a, const struct timeline_life *b)
{
	return (a->gone == TIMELINE_NONE || b->first <= a->gone) &&
	       (b->gone == TIMELINE_NONE || a->first <= b->gone);
}

static int merge_holders(struct merge *merge, uint32_t socket, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_socket *ts = &tl->sockets[socket];

	for (uint32_t i = timeline_holders(tl, ts->inode); i != TIMELINE_NONE;
	     i = tl->holders[i].next_inode) {
		const struct timeline_holder *h = &tl->holders[i];
		struct merge_holder *have;
		struct store_holder row;
		bool insert;

		if (!lives_meet(&h->life, &ts->life))
			continue;
		if (merge->holders_left == 0)
			return 0;
		merge->holders_left--;
		have = need_holder(merge, merge->socket_ids[socket], h->process, h->fd,
				   merge_seen_first(merge, &h->life), &insert);
		if (have == NULL)
			return merge_no_memory(error);
		if (have->seen)
			continue; /* the same descriptor in another thread's table */
		have->seen = true;
		row = (struct store_holder){
			.holder_id = have->holder_id,
			.socket_id = have->socket_id,
			.process_id = have->process_id,
			.fd = have->fd,
			.first_seen_ns = have->first_seen_ns,
			.last_seen_ns = merge_seen_last(merge, &h->life),
		};
		if (store_holder(merge->store, &row, insert, error) != 0)
			return error->code;
	}
	return 0;
}

/* Who used it without being seen to hold it, or when it was. */
static int merge_users(struct merge *merge, uint32_t socket, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_socket *ts = &tl->sockets[socket];
	int64_t socket_id = merge->socket_ids[ts->other != TIMELINE_NONE ? ts->other : socket];

	for (uint32_t i = ts->first_use; i != TIMELINE_NONE; i = tl->uses[i].next) {
		bool insert;
		struct merge_holder *have = need_holder(merge, socket_id, tl->uses[i].process,
							BY_USE, tl->uses[i].at_ns, &insert);
		struct store_holder row;

		if (have == NULL)
			return merge_no_memory(error);
		have->seen = true;
		row = (struct store_holder){
			.holder_id = have->holder_id,
			.socket_id = have->socket_id,
			.process_id = have->process_id,
			.fd = STORE_NULL,
			.first_seen_ns = have->first_seen_ns,
			.last_seen_ns = tl->uses[i].at_ns,
		};
		if (store_holder(merge->store, &row, insert, error) != 0)
			return error->code;
	}
	return 0;
}

/* A socket is one inode, and a connection of several addresses (SCTP) a few
 * rows of one; evidence in which every holder has every row is made up. */
#define HOLDERS_PER_ROW 64

int merge_sockets(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	int status = 0;

	merge->holders_left = (tl->count.sockets + tl->count.holders) * HOLDERS_PER_ROW;

	for (uint32_t i = 0; i < tl->count.sockets && status == 0; i++) {
		/* Rows that name no socket, and what readings have under its inode. */
		if (tl->sockets[i].inode == 0 &&
		    (tl->sockets[i].opened_ns == 0 || tl->sockets[i].other != TIMELINE_NONE))
			continue;
		status = merge_one_socket(merge, i, error);
		if (status == 0 && tl->sockets[i].inode != 0)
			status = merge_holders(merge, i, error);
	}
	for (uint32_t i = 0; i < tl->count.sockets && status == 0; i++) {
		if (tl->sockets[i].opened_ns != 0)
			status = merge_users(merge, i, error);
	}
	return status;
}
