#include "analyze/merge_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/arguments.h"
#include "analyze/grow.h"
#include "snapshot/format/quantity.h"

int merge_no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory while merging segments");
}

static uint64_t hash_text(const char *text, uint64_t seed)
{
	return text == NULL ? hashindex_mix(seed ^ 1)
			    : hashindex_mix(hashindex_bytes(text, strlen(text)) ^ (seed << 1));
}

/* ----------------------------------------------------------- recording -- */

static const char *meta(const struct merge *merge, const char *key)
{
	return timeline_meta(merge->timeline, key, NULL);
}

static int64_t meta_number(const struct merge *merge, const char *key)
{
	const char *text = meta(merge, key);
	uint64_t number;

	if (text == NULL || quantity_parse_uint(text, INT64_MAX, &number) != 0)
		return STORE_NULL;
	return (int64_t)number;
}

/* Without a recorder's id, the evidence is its own recording. */
static void recording_uuid(const struct merge *merge, const struct merge_segment *segment,
			   char uuid[80])
{
	const char *given = meta(merge, "recording");

	if (given != NULL)
		snprintf(uuid, 80, "%s", given);
	else if (segment->snap_sha256 != NULL)
		snprintf(uuid, 80, "snap-%s", segment->snap_sha256);
	else
		snprintf(uuid, 80, "pcap-%s", segment->pcap_sha256 != NULL ? segment->pcap_sha256 : "");
}

static int store_new_recording(struct merge *merge, const struct merge_segment *segment,
			       int64_t recording_id, const char *uuid, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	size_t argv_length = 0;
	const char *argv_bytes = timeline_meta(tl, "argv", &argv_length);
	char *argv = arguments_join(argv_bytes, argv_length);
	struct store_recording row = {
		.recording_id = recording_id,
		.recording_uuid = uuid,
		.hostname = meta(merge, "hostname"),
		.machine_id = meta(merge, "machine_id"),
		.boot_id = meta(merge, "boot_id"),
		.kernel = meta(merge, "kernel"),
		.architecture = meta(merge, "architecture"),
		.argv = argv,
		.interface = meta(merge, "interface"),
		.filter = meta(merge, "filter"),
		.time_zone = meta(merge, "time_zone"),
		.tool = meta(merge, "tool"),
		.source = meta(merge, "source") != NULL ? meta(merge, "source")
			  : segment->snap_name != NULL	? "recorder"
							: "pcap",
		.privilege = meta(merge, "privilege"),
		.watcher = meta(merge, "watcher"),
		.snaplen = meta_number(merge, "snaplen"),
		.link_type = segment->pcap_name != NULL ? segment->link_type
							: meta_number(merge, "link_type"),
		.clock_ticks = meta_number(merge, "clock_ticks"),
		.net_namespace = tl->capture_netns != 0 ? (int64_t)tl->capture_netns : STORE_NULL,
		.interval_ns = meta_number(merge, "interval_ns"),
	};
	int status = store_recording(merge->store, &row, true, error);

	free(argv);
	return status;
}

static int need_recording(struct merge *merge, const struct merge_segment *segment,
			  struct error *error)
{
	const char *boot = meta(merge, "boot_id");
	struct merge_recording fresh = {.recording_id = merge->recording_id + 1};
	char uuid[80];

	recording_uuid(merge, segment, uuid);
	fresh.uuid_hash[0] = hash_text(uuid, 2);
	fresh.uuid_hash[1] = hash_text(uuid, 3);
	fresh.boot_hash[0] = hash_text(boot != NULL ? boot : uuid, 4);
	fresh.boot_hash[1] = hash_text(boot != NULL ? boot : uuid, 5);
	fresh.boot = fresh.recording_id;
	for (size_t i = 0; i < merge->recording_count; i++) {
		struct merge_recording *have = &merge->recordings[i];

		if (memcmp(have->uuid_hash, fresh.uuid_hash, sizeof(fresh.uuid_hash)) == 0) {
			merge->recording = have;
			return 0;
		}
		if (memcmp(have->boot_hash, fresh.boot_hash, sizeof(fresh.boot_hash)) == 0)
			fresh.boot = have->boot;
	}
	if (grow_one(&merge->recordings, merge->recording_count, &merge->recording_capacity,
			   sizeof(*merge->recordings)) != 0)
		return merge_no_memory(error);
	merge->recording_id++;
	merge->recordings[merge->recording_count] = fresh;
	merge->recording = &merge->recordings[merge->recording_count++];
	return store_new_recording(merge, segment, fresh.recording_id, uuid, error);
}

/* ----------------------------------------------------------- snapshots -- */

static const char *kind_name(enum snap_kind kind)
{
	return kind == SNAP_KEY ? "key" : kind == SNAP_POLL ? "poll" : "event";
}

/* A reading that stands in two segments (at a rotation) is one snapshot. */
static int64_t known_snapshot(const struct merge *merge, uint64_t sequence)
{
	for (size_t i = merge->snapshot_count; i > 0; i--) {
		const struct merge_snapshot *have = &merge->snapshots[i - 1];

		if (have->recording_id == merge->recording->recording_id &&
		    have->sequence == sequence)
			return have->snapshot_id;
	}
	return 0;
}

static int merge_snapshots(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	size_t kept = 0, before;

	for (size_t i = 0; i < tl->count.frames; i++) {
		const struct timeline_frame *frame = &tl->frames[i];
		struct store_snapshot row = {
			.segment_id = merge->row.segment_id,
			.sequence = (int64_t)frame->sequence,
			.kind = kind_name(frame->kind),
			.cause = frame->cause,
			.begin_ns = frame->begin_ns,
			.end_ns = frame->end_ns,
			.sockets = frame->sockets,
			.processes = frame->processes,
			.line = (int64_t)frame->line,
		};

		merge->frame_ids[i] = known_snapshot(merge, frame->sequence);
		if (merge->frame_ids[i] != 0)
			continue;
		row.snapshot_id = merge->frame_ids[i] = ++merge->snapshot_id;
		if (store_snapshot(merge->store, &row, true, error) != 0)
			return error->code;
	}
	/* Only the readings around the next boundary can stand in the next segment. */
	for (size_t i = 0; i < merge->snapshot_count; i++) {
		if (merge->snapshots[i].recording_id != merge->recording->recording_id)
			merge->snapshots[kept++] = merge->snapshots[i];
	}
	merge->snapshot_count = kept;
	before = tl->count.frames > 64 ? tl->count.frames - 64 : 0;
	for (size_t i = before; i < tl->count.frames; i++) {
		if (grow_one(&merge->snapshots, merge->snapshot_count,
				   &merge->snapshot_capacity, sizeof(*merge->snapshots)) != 0)
			return merge_no_memory(error);
		merge->snapshots[merge->snapshot_count++] = (struct merge_snapshot){
			.recording_id = merge->recording->recording_id,
			.snapshot_id = merge->frame_ids[i],
			.sequence = tl->frames[i].sequence,
		};
	}
	return 0;
}

static int64_t seen_first(const struct merge *merge, const struct timeline_life *life)
{
	return merge->timeline->frames[life->first].begin_ns;
}

static int64_t seen_last(const struct merge *merge, const struct timeline_life *life)
{
	return merge->timeline->frames[life->last].end_ns;
}

/* ---------------------------------------------- interfaces and addresses -- */

static struct merge_place *find_place(struct merge_place *places, size_t count,
				      const struct merge_place *wanted)
{
	for (size_t i = 0; i < count; i++) {
		struct merge_place *have = &places[i];

		if (have->recording_id == wanted->recording_id && have->netns == wanted->netns &&
		    have->ifindex == wanted->ifindex && have->name == wanted->name &&
		    have->prefix_length == wanted->prefix_length &&
		    endpoint_equal(&have->address, &wanted->address))
			return have;
	}
	return NULL;
}

static int merge_addresses(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;

	for (size_t i = 0; i < tl->count.addresses; i++) {
		const struct timeline_address *a = &tl->addresses[i];
		struct merge_place place = {
			.recording_id = merge->recording->recording_id,
			.netns = a->netns,
			.ifindex = a->ifindex,
			.prefix_length = a->prefix_length,
			.address = a->address,
			.place_id = merge->address_id + 1,
			.first_seen_ns = seen_first(merge, &a->life),
			.seen = true,
		};
		struct merge_place *have =
			find_place(merge->addresses, merge->address_count, &place);
		char text[ENDPOINT_TEXT_SIZE];
		struct store_address row;

		if (have == NULL) {
			if (grow_one(&merge->addresses, merge->address_count,
					   &merge->address_capacity,
					   sizeof(*merge->addresses)) != 0)
				return merge_no_memory(error);
			merge->addresses[merge->address_count++] = place;
			merge->address_id++;
		} else {
			have->seen = true;
			place = *have;
		}
		row = (struct store_address){
			.address_id = place.place_id,
			.recording_id = place.recording_id,
			.net_namespace = (int64_t)a->netns,
			.ifindex = a->ifindex,
			.address = endpoint_format(&a->address, text),
			.prefix_length = a->prefix_length,
			.first_seen_ns = place.first_seen_ns,
			.last_seen_ns = seen_last(merge, &a->life),
		};
		if (store_address(merge->store, &row, have == NULL, error) != 0)
			return error->code;
	}
	return 0;
}

static int merge_interfaces(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;

	for (size_t i = 0; i < tl->count.interfaces; i++) {
		const struct timeline_interface *f = &tl->interfaces[i];
		struct merge_place place = {
			.recording_id = merge->recording->recording_id,
			.netns = f->netns,
			.ifindex = f->ifindex,
			.name = hash_text(f->name, 6),
			.place_id = merge->interface_id + 1,
			.first_seen_ns = seen_first(merge, &f->life),
			.seen = true,
		};
		struct merge_place *have =
			find_place(merge->interfaces, merge->interface_count, &place);
		struct store_interface row;

		if (have == NULL) {
			if (grow_one(&merge->interfaces, merge->interface_count,
					   &merge->interface_capacity,
					   sizeof(*merge->interfaces)) != 0)
				return merge_no_memory(error);
			merge->interfaces[merge->interface_count++] = place;
			merge->interface_id++;
		} else {
			have->seen = true;
			place = *have;
		}
		row = (struct store_interface){
			.interface_id = place.place_id,
			.recording_id = place.recording_id,
			.net_namespace = (int64_t)f->netns,
			.ifindex = f->ifindex,
			.name = f->name,
			.hardware_type = f->hardware_type,
			.first_seen_ns = place.first_seen_ns,
			.last_seen_ns = seen_last(merge, &f->life),
		};
		if (store_interface(merge->store, &row, have == NULL, error) != 0)
			return error->code;
	}
	return 0;
}

/* ----------------------------------------------------------- processes -- */

static uint64_t hash_process(int64_t boot, uint32_t pid, uint64_t start_ticks)
{
	return hashindex_mix((uint64_t)boot ^ hashindex_mix(start_ticks ^ ((uint64_t)pid << 40)));
}

uint64_t merge_hash_of_process(const void *context, uint32_t place)
{
	const struct merge_process *p = &((const struct merge *)context)->processes[place];

	return hash_process(p->boot, p->pid, p->start_ticks);
}

static struct merge_process *find_process(struct merge *merge, uint32_t pid, uint64_t start_ticks)
{
	uint64_t hash = hash_process(merge->recording->boot, pid, start_ticks);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&merge->processes_index, hash, &probe)) != HASHINDEX_NONE) {
		struct merge_process *p = &merge->processes[i];

		if (p->boot == merge->recording->boot && p->pid == pid &&
		    p->start_ticks == start_ticks)
			return p;
	}
	return NULL;
}

static uint64_t image_facts(const struct timeline_image *image)
{
	uint64_t hash = hash_text(image->comm, image->uid);

	hash = hash_text(image->exe, hash);
	return image->cmdline == NULL
		       ? hash
		       : hashindex_mix(hash ^ hashindex_bytes(image->cmdline,
							      image->cmdline_length));
}

static int put_process(struct merge *merge, const struct merge_process *p, uint32_t process,
		       uint32_t image, bool insert, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_process *tp = &tl->processes[process];
	struct store_process row = {
		.process_id = p->process_id,
		.recording_id = p->row_recording_id,
		.pid = p->pid,
		.start_ticks = p->start_ticks <= INT64_MAX ? (int64_t)p->start_ticks : STORE_NULL,
		.start_ns = p->start_ns,
		.image = p->image,
		.parent_process_id = p->parent_process_id,
		.ppid = STORE_NULL,
		.uid = STORE_NULL,
		.net_namespace = STORE_NULL,
		.first_seen_ns = p->first_seen_ns,
		.last_seen_ns = STORE_NULL,
		.exit_ns = tp->exit_ns != 0 ? tp->exit_ns : STORE_NULL,
		.exit_code = tp->exit_known ? tp->exit_code : STORE_NULL,
	};
	char container[ARGUMENTS_CONTAINER_SIZE];
	char *cmdline = NULL;
	int status;

	if (image != TIMELINE_NONE) {
		const struct timeline_image *i = &tl->images[image];

		row.ppid = i->ppid;
		row.uid = i->uid != SNAP_UNKNOWN_UID ? (int64_t)i->uid : STORE_NULL;
		row.comm = i->comm;
		row.exe = i->exe;
		row.cmdline = cmdline = arguments_join(i->cmdline, i->cmdline_length);
		row.cgroup = i->cgroup;
		row.container_id = arguments_container(i->cgroup, container);
		row.net_namespace = i->netns != 0 ? (int64_t)i->netns : STORE_NULL;
		row.last_seen_ns = seen_last(merge, &i->life);
	}
	status = store_process(merge->store, &row, insert, error);
	free(cmdline);
	return status;
}

/* One row for an image: the known one goes on if it is the same program. */
static int merge_image(struct merge *merge, uint32_t process, uint32_t image, int64_t *id,
		       struct error *error)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_process *tp = &tl->processes[process];
	uint64_t facts = image == TIMELINE_NONE ? 0 : image_facts(&tl->images[image]);
	struct merge_process *have = find_process(merge, tp->pid, tp->start_ticks);
	bool insert = have == NULL || have->facts != facts;

	if (have != NULL && image == TIMELINE_NONE)
		insert = false; /* its facts were seen before */
	if (have == NULL) {
		uint32_t place = (uint32_t)merge->processes_count;

		if (grow_one(&merge->processes, merge->processes_count,
				   &merge->processes_capacity, sizeof(*merge->processes)) != 0)
			return merge_no_memory(error);
		have = &merge->processes[merge->processes_count++];
		*have = (struct merge_process){
			.boot = merge->recording->boot,
			.pid = tp->pid,
			.start_ticks = tp->start_ticks,
			.start_ns = tp->start_ns != INT64_MIN ? tp->start_ns : STORE_NULL,
		};
		if (hashindex_add(&merge->processes_index,
				  hash_process(have->boot, have->pid, have->start_ticks), place,
				  merge_hash_of_process, merge) != 0)
			return merge_no_memory(error);
	}
	if (insert) {
		have->process_id = ++merge->process_id;
		have->row_recording_id = merge->recording->recording_id;
		have->image++;
		have->facts = facts;
		have->first_seen_ns = image == TIMELINE_NONE
					      ? STORE_NULL
					      : seen_first(merge, &tl->images[image].life);
	}
	have->recording_id = merge->recording->recording_id;
	have->seen = true;
	*id = have->process_id;
	if (!insert && image == TIMELINE_NONE)
		return 0;
	return put_process(merge, have, process, image, insert, error);
}

/* The latest process of that pid that had started when the child did. */
static int64_t parent_of(const struct merge *merge, const uint32_t *by_pid, size_t count,
			 uint32_t ppid, uint64_t child_start)
{
	const struct timeline *tl = merge->timeline;
	size_t low = 0, high = count;
	int64_t parent = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tl->processes[by_pid[middle]].pid < ppid)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < count && tl->processes[by_pid[low]].pid == ppid; low++) {
		if (tl->processes[by_pid[low]].start_ticks <= child_start)
			parent = merge->process_ids[by_pid[low]];
	}
	return parent;
}

static int compare_pids(const void *a, const void *b, void *context)
{
	const struct timeline *tl = context;
	const struct timeline_process *p = &tl->processes[*(const uint32_t *)a];
	const struct timeline_process *q = &tl->processes[*(const uint32_t *)b];

	if (p->pid != q->pid)
		return p->pid < q->pid ? -1 : 1;
	return p->start_ticks < q->start_ticks ? -1 : p->start_ticks > q->start_ticks;
}

static int merge_parents(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	uint32_t *by_pid = malloc((tl->count.processes + 1) * sizeof(*by_pid));
	int status = 0;

	if (by_pid == NULL)
		return merge_no_memory(error);
	for (size_t i = 0; i < tl->count.processes; i++)
		by_pid[i] = (uint32_t)i;
	qsort_r(by_pid, tl->count.processes, sizeof(*by_pid), compare_pids,
		(void *)(uintptr_t)tl);
	for (size_t i = 0; i < tl->count.processes && status == 0; i++) {
		const struct timeline_process *tp = &tl->processes[i];
		struct merge_process *have = find_process(merge, tp->pid, tp->start_ticks);
		uint32_t last = tp->last_image;
		int64_t parent;

		if (have == NULL || have->parent_process_id != 0 || last == TIMELINE_NONE)
			continue;
		parent = parent_of(merge, by_pid, tl->count.processes, tl->images[last].ppid,
				   tp->start_ticks);
		if (parent == 0 || parent == have->process_id)
			continue;
		have->parent_process_id = parent;
		status = put_process(merge, have, (uint32_t)i, last, false, error);
	}
	free(by_pid);
	return status;
}

static int merge_processes(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	int status = 0;

	for (uint32_t p = 0; p < tl->count.processes && status == 0; p++) {
		uint32_t image = tl->processes[p].first_image;

		if (image == TIMELINE_NONE)
			status = merge_image(merge, p, image, &merge->process_ids[p], error);
		for (; image != TIMELINE_NONE && status == 0; image = tl->images[image].next) {
			status = merge_image(merge, p, image, &merge->image_ids[image], error);
			merge->process_ids[p] = merge->image_ids[image];
		}
	}
	return status == 0 ? merge_parents(merge, error) : status;
}

/* ------------------------------------------------- sockets and holders -- */

static uint64_t hash_socket(const struct merge_socket *s)
{
	uint64_t hash = hashindex_bytes(s->local.address.bytes, 16);

	hash = hashindex_mix(hash ^ hashindex_bytes(s->remote.address.bytes, 16) * 3);
	hash ^= (uint64_t)s->local.port << 16 | s->remote.port | (uint64_t)s->inode << 32;
	return hashindex_mix(hash ^ hashindex_mix((uint64_t)s->recording_id ^ s->table * 77));
}

uint64_t merge_hash_of_socket(const void *context, uint32_t place)
{
	return hash_socket(&((const struct merge *)context)->sockets[place]);
}

static struct merge_socket *find_socket(struct merge *merge, const struct merge_socket *wanted)
{
	uint64_t hash = hash_socket(wanted);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&merge->sockets_index, hash, &probe)) != HASHINDEX_NONE) {
		struct merge_socket *s = &merge->sockets[i];

		if (s->recording_id == wanted->recording_id && s->netns == wanted->netns &&
		    s->table == wanted->table && s->inode == wanted->inode &&
		    s->local.port == wanted->local.port && s->remote.port == wanted->remote.port &&
		    endpoint_equal(&s->local.address, &wanted->local.address) &&
		    endpoint_equal(&s->remote.address, &wanted->remote.address))
			return s;
	}
	return NULL;
}

static int put_socket(struct merge *merge, const struct merge_socket *s,
		      const struct timeline_socket *ts, bool insert, struct error *error)
{
	char local[ENDPOINT_TEXT_SIZE], remote[ENDPOINT_TEXT_SIZE];
	char protocol[ENDPOINT_PROTOCOL_SIZE];
	bool packet = ts->table == SNAP_PACKET;
	struct store_socket row = {
		.socket_id = s->socket_id,
		.recording_id = s->recording_id,
		.net_namespace = (int64_t)s->netns,
		.protocol = packet				     ? "packet"
			    : ts->table == SNAP_RAW || ts->table == SNAP_RAW6
				    ? "raw"
				    : endpoint_protocol_name(ts->protocol, protocol),
		.family = snap_table_is_ipv6(ts->table) ? 6 : 4,
		.local_address = endpoint_format(&s->local.address, local),
		.local_port = s->local.port,
		.remote_address = ts->connected ? endpoint_format(&s->remote.address, remote) : NULL,
		.remote_port = ts->connected ? s->remote.port : STORE_NULL,
		.state = ts->state != SNAP_UNKNOWN_STATE ? ts->state : STORE_NULL,
		.uid = ts->uid != SNAP_UNKNOWN_UID ? (int64_t)ts->uid : STORE_NULL,
		.inode = s->inode,
		.cookie = ts->cookie != 0 ? (int64_t)ts->cookie : STORE_NULL,
		.first_seen_ns = s->first_seen_ns,
		.last_seen_ns = seen_last(merge, &ts->life),
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
		.local = ts->local,
		.remote = ts->remote,
		.first_seen_ns = seen_first(merge, &ts->life),
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
		have->acked = (int64_t)ts->closed.bytes_acked;
		have->received = (int64_t)ts->closed.bytes_received;
		have->sent = (int64_t)ts->closed.bytes_sent;
		have->retransmitted = (int64_t)ts->closed.bytes_retransmitted;
	}
	merge->socket_ids[i] = have->socket_id;
	return put_socket(merge, have, ts, insert, error);
}

static uint64_t hash_holder(int64_t socket_id, uint32_t pid, uint64_t start_ticks, uint32_t fd)
{
	return hashindex_mix((uint64_t)socket_id ^
			     hashindex_mix(start_ticks ^ ((uint64_t)pid << 32) ^ fd));
}

uint64_t merge_hash_of_holder(const void *context, uint32_t place)
{
	const struct merge_holder *h = &((const struct merge *)context)->holders[place];

	return hash_holder(h->socket_id, h->pid, h->start_ticks, h->fd);
}

static struct merge_holder *need_holder(struct merge *merge, uint32_t socket,
					const struct timeline_holder *h, bool *insert)
{
	const struct timeline *tl = merge->timeline;
	const struct timeline_process *p = &tl->processes[h->process];
	int64_t socket_id = merge->socket_ids[socket], process_id;
	uint64_t hash = hash_holder(socket_id, p->pid, p->start_ticks, h->fd);
	uint32_t probe = (uint32_t)hash, i, image;

	*insert = false;
	while ((i = hashindex_next(&merge->holders_index, hash, &probe)) != HASHINDEX_NONE) {
		struct merge_holder *have = &merge->holders[i];

		if (have->socket_id == socket_id && have->pid == p->pid &&
		    have->start_ticks == p->start_ticks && have->fd == h->fd)
			return have;
	}
	if (grow_one(&merge->holders, merge->holders_count, &merge->holders_capacity,
			   sizeof(*merge->holders)) != 0)
		return NULL;
	image = timeline_image_at(tl, h->process, timeline_first_end(tl, &h->life));
	process_id = image == TIMELINE_NONE ? merge->process_ids[h->process]
					    : merge->image_ids[image];
	i = (uint32_t)merge->holders_count++;
	merge->holders[i] = (struct merge_holder){
		.recording_id = merge->recording->recording_id,
		.socket_id = socket_id,
		.boot = merge->recording->boot,
		.start_ticks = p->start_ticks,
		.pid = p->pid,
		.fd = h->fd,
		.holder_id = ++merge->holder_id,
		.process_id = process_id,
		.first_seen_ns = seen_first(merge, &h->life),
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
		have = need_holder(merge, socket, h, &insert);
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
			.last_seen_ns = seen_last(merge, &h->life),
		};
		if (store_holder(merge->store, &row, insert, error) != 0)
			return error->code;
	}
	return 0;
}

static int merge_sockets(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	int status = 0;

	for (uint32_t i = 0; i < tl->count.sockets && status == 0; i++) {
		if (tl->sockets[i].inode == 0)
			continue;
		status = merge_one_socket(merge, i, error);
		if (status == 0)
			status = merge_holders(merge, i, error);
	}
	return status;
}

/* ---------------------------------------------------------- begin, end -- */

int merge_state_begin(struct merge *merge, const struct merge_segment *segment,
		      struct error *error)
{
	const struct timeline *tl = segment->timeline;
	int status;

	merge->timeline = tl;
	merge->frame_ids = calloc(tl->count.frames + 1, sizeof(int64_t));
	merge->image_ids = calloc(tl->count.images + 1, sizeof(int64_t));
	merge->process_ids = calloc(tl->count.processes + 1, sizeof(int64_t));
	merge->socket_ids = calloc(tl->count.sockets + 1, sizeof(int64_t));
	if (merge->frame_ids == NULL || merge->image_ids == NULL || merge->process_ids == NULL ||
	    merge->socket_ids == NULL)
		return merge_no_memory(error);
	status = need_recording(merge, segment, error);
	if (status != 0)
		return status;
	merge->row.recording_id = merge->recording->recording_id;
	merge->row.frames = (int64_t)tl->count.frames;
	status = store_segment(merge->store, &merge->row, true, error);
	if (status == 0)
		status = merge_snapshots(merge, error);
	if (status == 0)
		status = merge_interfaces(merge, error);
	if (status == 0)
		status = merge_addresses(merge, error);
	if (status == 0)
		status = merge_processes(merge, error);
	if (status == 0)
		status = merge_sockets(merge, error);
	return status;
}

/* What this segment did not show any more will not come back: forget it. */
#define FORGET(merge, array, hash_of)                                                              \
	do {                                                                                       \
		size_t kept_ = 0;                                                                  \
		for (size_t i_ = 0; i_ < (merge)->array##_count; i_++) {                           \
			if ((merge)->array[i_].recording_id == (merge)->recording->recording_id && \
			    !(merge)->array[i_].seen)                                              \
				continue;                                                          \
			(merge)->array[i_].seen = false;                                           \
			(merge)->array[kept_++] = (merge)->array[i_];                              \
		}                                                                                  \
		(merge)->array##_count = kept_;                                                    \
		hashindex_clear(&(merge)->array##_index);                                          \
		for (size_t i_ = 0; i_ < kept_; i_++)                                              \
			(void)hashindex_add(&(merge)->array##_index,                               \
					    hash_of((merge), (uint32_t)i_), (uint32_t)i_, hash_of, \
					    (merge));                                              \
	} while (0)

static size_t forget_places(struct merge_place *places, size_t count, int64_t recording_id)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (places[i].recording_id == recording_id && !places[i].seen)
			continue;
		places[i].seen = false;
		places[kept++] = places[i];
	}
	return kept;
}

void merge_state_end(struct merge *merge)
{
	/* A capture without snapshots shows nothing of what is alive. */
	if (merge->timeline->count.frames > 0) {
		FORGET(merge, processes, merge_hash_of_process);
		FORGET(merge, sockets, merge_hash_of_socket);
		FORGET(merge, holders, merge_hash_of_holder);
		merge->address_count = forget_places(merge->addresses, merge->address_count,
						     merge->recording->recording_id);
		merge->interface_count = forget_places(merge->interfaces, merge->interface_count,
						       merge->recording->recording_id);
	}
	merge_state_release(merge);
}

void merge_state_release(struct merge *merge)
{
	free(merge->frame_ids);
	free(merge->image_ids);
	free(merge->process_ids);
	free(merge->socket_ids);
	merge->frame_ids = merge->image_ids = merge->process_ids = merge->socket_ids = NULL;
	merge->timeline = NULL;
}

/* ------------------------------------------------------------ coverage -- */

int merge_cover(struct merge *merge, struct store_coverage *row, struct error *error)
{
	row->coverage_id = ++merge->coverage_id;
	row->recording_id = merge->recording->recording_id;
	row->segment_id = merge->row.segment_id;
	return store_coverage(merge->store, row, error);
}

static int cover_absences(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;

	for (size_t i = 0; i < tl->count.absences; i++) {
		const struct timeline_absence *a = &tl->absences[i];
		uint32_t last = (uint32_t)tl->count.frames - 1;
		struct store_coverage row = {
			.kind = "unreadable",
			.begin_ns = tl->frames[a->frame].begin_ns,
			.end_ns = tl->frames[a->until == TIMELINE_NONE ? last : a->until].end_ns,
			.count = 1,
		};
		char subject[256];

		/* A table that the kernel does not have hides nothing. */
		if (a->what != NULL && a->reason != NULL && strcmp(a->what, "table") == 0 &&
		    strcmp(a->reason, "ENOENT") == 0)
			continue;
		if (a->pid != 0)
			snprintf(subject, sizeof(subject), "%s of pid %" PRIu32 "%s%s",
				 a->what != NULL ? a->what : "", a->pid,
				 a->subject != NULL && *a->subject != '\0' ? " " : "",
				 a->subject != NULL ? a->subject : "");
		else
			snprintf(subject, sizeof(subject), "%s%s%s", a->what != NULL ? a->what : "",
				 a->subject != NULL && *a->subject != '\0' ? " " : "",
				 a->subject != NULL ? a->subject : "");
		row.subject = subject;
		row.detail = a->reason;
		if (merge_cover(merge, &row, error) != 0)
			return error->code;
	}
	return 0;
}

static int cover_steps(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;

	for (size_t i = 0; i < tl->count.steps; i++) {
		const struct timeline_step *step = &tl->steps[i];
		const struct timeline_frame *frame = &tl->frames[step->frame];
		char detail[96];
		struct store_coverage row = {
			.kind = step->step_ns != 0 ? "clock-step" : "suspended",
			.begin_ns = step->frame > 0 ? tl->frames[step->frame - 1].end_ns
						    : frame->begin_ns,
			.end_ns = frame->end_ns,
			.count = 1,
			.detail = detail,
		};

		snprintf(detail, sizeof(detail), "step %" PRId64 " ns, suspended %" PRId64 " ns",
			 step->step_ns, step->suspend_ns);
		if (merge_cover(merge, &row, error) != 0)
			return error->code;
	}
	return 0;
}

/* Readings further apart than this many intervals are a gap. */
#define GAP_INTERVALS 5

static int cover_gaps(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	int64_t interval = meta_number(merge, "interval_ns");
	uint32_t previous = TIMELINE_NONE;

	if (interval <= 0 || interval > INT64_MAX / GAP_INTERVALS)
		return 0;
	for (uint32_t i = 0; i < tl->count.frames; i++) {
		const struct timeline_frame *frame = &tl->frames[i];
		struct store_coverage row = {.kind = "gap", .count = 1};

		if (frame->kind == SNAP_EVENT)
			continue;
		if (previous != TIMELINE_NONE &&
		    frame->begin_ns - tl->frames[previous].end_ns > interval * GAP_INTERVALS) {
			row.begin_ns = tl->frames[previous].end_ns;
			row.end_ns = frame->begin_ns;
			row.detail = "no complete snapshot in between";
			if (merge_cover(merge, &row, error) != 0)
				return error->code;
		}
		previous = i;
	}
	return 0;
}

/* Counters are cumulative, and the reading at a rotation stands in both
 * segments: the first of them counts up to it, the second from it on. */
static int cover_drops(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	struct snap_capture base = {0};
	const struct snap_capture *now = &tl->capture_last;
	uint64_t dropped;
	char detail[160];
	struct store_coverage row = {.kind = "dropped", .detail = detail};

	merge->row.dropped = tl->has_capture ? 0 : STORE_NULL;
	if (!tl->has_capture)
		return 0;
	if (tl->frames[0].restated)
		base = tl->capture_first;
	dropped = now->dropped - base.dropped + (now->interface_dropped - base.interface_dropped) +
		  (now->lost - base.lost);
	if (now->dropped < base.dropped || now->interface_dropped < base.interface_dropped ||
	    now->lost < base.lost || dropped > INT64_MAX)
		dropped = 0; /* no counters of one capture */
	merge->row.dropped = (int64_t)dropped;
	if (dropped == 0)
		return 0;
	row.begin_ns = tl->frames[0].begin_ns;
	row.end_ns = tl->frames[tl->count.frames - 1].end_ns;
	row.count = (int64_t)dropped;
	snprintf(detail, sizeof(detail),
		 "%" PRIu64 " by the kernel, %" PRIu64 " by the interface, %" PRIu64
		 " by the recorder",
		 now->dropped - base.dropped, now->interface_dropped - base.interface_dropped,
		 now->lost - base.lost);
	return merge_cover(merge, &row, error);
}

static int cover_missing(struct merge *merge, const struct merge_segment *segment,
			 struct error *error)
{
	struct merge_recording *recording = merge->recording;
	uint64_t previous = recording->last_number;
	char subject[64];
	struct store_coverage row = {.kind = "missing", .begin_ns = STORE_NULL,
				     .end_ns = STORE_NULL, .subject = subject,
				     .detail = "expired, or not given to analyze"};

	if (segment->number == 0)
		return 0;
	if (segment->number > previous)
		recording->last_number = segment->number;
	if (previous == 0 || segment->number <= previous + 1)
		return 0;
	row.count = (int64_t)(segment->number - previous - 1);
	snprintf(subject, sizeof(subject), "segments %" PRIu64 " to %" PRIu64, previous + 1,
		 segment->number - 1);
	return merge_cover(merge, &row, error);
}

int merge_state_coverage(struct merge *merge, struct error *error)
{
	struct merge_segment segment = {.number = (uint64_t)(merge->row.number > 0 ? merge->row.number : 0)};
	struct store_coverage none = {.kind = "no-snapshot", .begin_ns = merge->row.first_packet_ns,
				      .end_ns = merge->row.last_packet_ns,
				      .count = merge->row.packets,
				      .detail = "no snapshots: nothing can be attributed"};
	struct store_coverage torn = {.kind = "torn", .begin_ns = merge->row.last_packet_ns,
				      .end_ns = STORE_NULL, .count = 1,
				      .subject = merge->row.pcap_name,
				      .detail = "closed up after a crash of the recorder; "
						"custody.log says what was cut"};
	int status = cover_missing(merge, &segment, error);

	if (status == 0 && strcmp(merge->row.state, "repaired") == 0)
		status = merge_cover(merge, &torn, error);

	if (status == 0 && merge->timeline->count.frames == 0)
		return merge_cover(merge, &none, error);
	if (status == 0)
		status = cover_absences(merge, error);
	if (status == 0)
		status = cover_steps(merge, error);
	if (status == 0)
		status = cover_gaps(merge, error);
	if (status == 0)
		status = cover_drops(merge, error);
	return status;
}
