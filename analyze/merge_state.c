#include "analyze/merge_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/arguments.h"
#include "analyze/grow.h"
#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

int merge_no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory while merging segments");
}

/* ----------------------------------------------------------- recording -- */

/* Of the segment's header; NULL. */
static const char *meta(const struct merge *merge, const char *key)
{
	return timeline_meta(merge->timeline, key, NULL);
}

int64_t merge_meta_number(const struct merge *merge, const char *key)
{
	const char *text = meta(merge, key);
	uint64_t number;

	if (text == NULL || quantity_parse_uint(text, INT64_MAX, &number) != 0)
		return STORE_NULL;
	return (int64_t)number;
}

#define UUID_OF_SNAP "snap-"
#define UUID_OF_PCAP "pcap-"

bool merge_uuid_is_made_up(const char *uuid)
{
	return strncmp(uuid, UUID_OF_SNAP, sizeof(UUID_OF_SNAP) - 1) == 0 ||
	       strncmp(uuid, UUID_OF_PCAP, sizeof(UUID_OF_PCAP) - 1) == 0;
}

/* Without a recorder's id, the evidence is its own recording. */
static void recording_uuid(const struct merge *merge, char uuid[80])
{
	const char *given = meta(merge, "recording");

	if (given != NULL)
		snprintf(uuid, 80, "%s", given);
	else if (merge->row.snap_sha256 != NULL)
		snprintf(uuid, 80, UUID_OF_SNAP "%s", merge->row.snap_sha256);
	else
		snprintf(uuid, 80, UUID_OF_PCAP "%s",
			 merge->row.pcap_sha256 != NULL ? merge->row.pcap_sha256 : "");
}

static int put_recording(struct merge *merge, int64_t recording_id, const char *uuid, bool insert,
			 struct error *error)
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
		.source = meta(merge, "source") != NULL	 ? meta(merge, "source")
			  : merge->row.snap_name != NULL ? "recorder"
							 : "pcap",
		.privilege = meta(merge, "privilege"),
		.watcher = meta(merge, "watcher"),
		.snaplen = merge_meta_number(merge, "snaplen"),
		.link_type = merge->row.link_type != STORE_NULL
				     ? merge->row.link_type
				     : merge_meta_number(merge, "link_type"),
		.clock_ticks = merge_meta_number(merge, "clock_ticks"),
		.net_namespace = tl->capture_netns != 0 ? (int64_t)tl->capture_netns : STORE_NULL,
		.interval_ns = merge_meta_number(merge, "interval_ns"),
	};
	int status = store_recording(merge->store, &row, insert, error);

	free(argv);
	return status;
}

static int name_recording(struct merge *merge, const char *uuid, struct merge_recording *recording,
			  struct error *error)
{
	const char *boot = meta(merge, "boot_id");
	/* One that does not say of which boot it is, is of none that another one names. */
	const struct merge_text texts[2] = {merge_text(boot), merge_text(uuid)};

	return merge_digest(&texts[1], 1, &recording->uuid, error) != 0 ||
			       merge_digest(texts, boot != NULL ? 1 : 2, &recording->boot_name,
					    error) != 0
		       ? error->code
		       : 0;
}

int merge_state_name(struct merge *merge, struct error *error)
{
	char uuid[80];

	if (!merge->is_unnamed)
		return 0;
	merge->is_unnamed = false;
	recording_uuid(merge, uuid);
	return name_recording(merge, uuid, merge->recording, error) != 0
		       ? error->code
		       : put_recording(merge, merge->recording->recording_id, uuid, false, error);
}

static int need_recording(struct merge *merge, struct error *error)
{
	struct merge_recording fresh = {.recording_id = merge->recording_id + 1};
	char uuid[80];

	recording_uuid(merge, uuid);
	if (name_recording(merge, uuid, &fresh, error) != 0)
		return error->code;
	merge->is_unnamed = meta(merge, "recording") == NULL && merge->row.snap_sha256 == NULL &&
			    merge->row.pcap_sha256 != NULL && merge->row.pcap_sha256[0] == '\0';
	fresh.boot = fresh.recording_id;
	for (size_t i = 0; i < merge->recording_count; i++) {
		struct merge_recording *have = &merge->recordings[i];

		if (merge_same_digest(&have->uuid, &fresh.uuid)) {
			merge->recording = have;
			return 0;
		}
		if (merge_same_digest(&have->boot_name, &fresh.boot_name))
			fresh.boot = have->boot;
	}
	if (grow_one(&merge->recordings, merge->recording_count, &merge->recording_capacity,
		     sizeof(*merge->recordings)) != 0)
		return merge_no_memory(error);
	merge->recording_id++;
	merge->recordings[merge->recording_count] = fresh;
	merge->recording = &merge->recordings[merge->recording_count++];
	return put_recording(merge, fresh.recording_id, uuid, true, error);
}

/* ----------------------------------------------------------- snapshots -- */

static const char *kind_name(enum snap_kind kind)
{
	return kind == SNAP_KEY ? "key" : kind == SNAP_POLL ? "poll" : "event";
}

/* What a recorder repeats: readings, and events of two seconds. */
#define BOUNDARY_FRAMES 16384

static int compare_snapshots(const void *left, const void *right)
{
	const struct merge_snapshot *a = left, *b = right;

	if (a->recording_id != b->recording_id)
		return a->recording_id < b->recording_id ? -1 : 1;
	return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

/* A frame that stands in two segments (at a rotation) is one snapshot. */
static int64_t known_snapshot(const struct merge *merge, uint64_t sequence)
{
	const struct merge_snapshot wanted = {.recording_id = merge->recording->recording_id,
					      .sequence = sequence};
	const struct merge_snapshot *have =
		merge->snapshot_count == 0
			? NULL
			: bsearch(&wanted, merge->snapshots, merge->snapshot_count, sizeof(wanted),
				  compare_snapshots);

	return have == NULL ? 0 : have->snapshot_id;
}

static int merge_snapshots(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	size_t kept = 0, before;

	merge->first_new_snapshot_id = merge->snapshot_id + 1;
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
	/* Only the frames around the next boundary can stand in the next segment. */
	for (size_t i = 0; i < merge->snapshot_count; i++) {
		if (merge->snapshots[i].recording_id != merge->recording->recording_id)
			merge->snapshots[kept++] = merge->snapshots[i];
	}
	merge->snapshot_count = kept;
	before = tl->count.frames > BOUNDARY_FRAMES ? tl->count.frames - BOUNDARY_FRAMES : 0;
	for (size_t i = before; i < tl->count.frames; i++) {
		if (grow_one(&merge->snapshots, merge->snapshot_count, &merge->snapshot_capacity,
			     sizeof(*merge->snapshots)) != 0)
			return merge_no_memory(error);
		merge->snapshots[merge->snapshot_count++] = (struct merge_snapshot){
			.recording_id = merge->recording->recording_id,
			.snapshot_id = merge->frame_ids[i],
			.sequence = tl->frames[i].sequence,
		};
	}
	if (merge->snapshot_count > 0)
		qsort(merge->snapshots, merge->snapshot_count, sizeof(*merge->snapshots),
		      compare_snapshots);
	return 0;
}

int64_t merge_seen_first(const struct merge *merge, const struct timeline_life *life)
{
	return merge->timeline->frames[life->first].begin_ns;
}

int64_t merge_seen_last(const struct merge *merge, const struct timeline_life *life)
{
	return merge->timeline->frames[life->last].end_ns;
}

/* ---------------------------------------------- interfaces and addresses -- */

static uint64_t hash_place(const struct merge_place *p)
{
	uint64_t hash = hashindex_keyed(p->address.bytes, 16);

	hash = hashindex_mix(hashindex_mix(hash ^ p->netns) ^ (uint64_t)p->recording_id);
	return hashindex_mix(hashindex_mix(hash ^ p->name.words[0]) ^
			     ((uint64_t)p->ifindex << 16 | p->prefix_length));
}

uint64_t merge_hash_of_address(const void *context, uint32_t place)
{
	return hash_place(&((const struct merge *)context)->addresses[place]);
}

uint64_t merge_hash_of_interface(const void *context, uint32_t place)
{
	return hash_place(&((const struct merge *)context)->interfaces[place]);
}

bool merge_same_place(const void *left, const void *right)
{
	const struct merge_place *a = left, *b = right;

	return a->recording_id == b->recording_id && a->netns == b->netns &&
	       a->ifindex == b->ifindex && merge_same_digest(&a->name, &b->name) &&
	       a->prefix_length == b->prefix_length && endpoint_equal(&a->address, &b->address);
}

static struct merge_place *find_place(struct merge_place *places, const struct hashindex *index,
				      const struct merge_place *wanted)
{
	uint64_t hash = hash_place(wanted);
	uint32_t probe = (uint32_t)hash, i;

	walk_step();
	while ((i = hashindex_next(index, hash, &probe)) != HASHINDEX_NONE) {
		struct merge_place *have = &places[i];

		walk_step();
		if (merge_same_place(have, wanted))
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
			.first_seen_ns = merge_seen_first(merge, &a->life),
			.seen = true,
		};
		struct merge_place *have =
			find_place(merge->addresses, &merge->addresses_index, &place);
		char text[ENDPOINT_TEXT_SIZE];
		struct store_address row;

		if (have == NULL) {
			if (grow_one(&merge->addresses, merge->addresses_count,
				     &merge->addresses_capacity, sizeof(*merge->addresses)) != 0)
				return merge_no_memory(error);
			merge->addresses[merge->addresses_count++] = place;
			if (hashindex_add(&merge->addresses_index, hash_place(&place),
					  (uint32_t)merge->addresses_count - 1,
					  merge_hash_of_address, merge) != 0)
				return merge_no_memory(error);
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
			.last_seen_ns = merge_seen_last(merge, &a->life),
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
			.place_id = merge->interface_id + 1,
			.first_seen_ns = merge_seen_first(merge, &f->life),
			.seen = true,
		};
		const struct merge_text name = merge_text(f->name);
		struct merge_place *have;
		struct store_interface row;

		if (merge_digest(&name, 1, &place.name, error) != 0)
			return error->code;
		have = find_place(merge->interfaces, &merge->interfaces_index, &place);
		if (have == NULL) {
			if (grow_one(&merge->interfaces, merge->interfaces_count,
				     &merge->interfaces_capacity, sizeof(*merge->interfaces)) != 0)
				return merge_no_memory(error);
			merge->interfaces[merge->interfaces_count++] = place;
			if (hashindex_add(&merge->interfaces_index, hash_place(&place),
					  (uint32_t)merge->interfaces_count - 1,
					  merge_hash_of_interface, merge) != 0)
				return merge_no_memory(error);
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
			.last_seen_ns = merge_seen_last(merge, &f->life),
		};
		if (store_interface(merge->store, &row, have == NULL, error) != 0)
			return error->code;
	}
	return 0;
}

/* ---------------------------------------------------------- begin, end -- */

int merge_state_begin(struct merge *merge, const struct merge_segment *segment, struct error *error)
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
	status = need_recording(merge, error);
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

void merge_state_end(struct merge *merge)
{
	/* A capture without snapshots shows nothing of what is alive. */
	if (merge->timeline->count.frames > 0) {
		FORGET(merge, processes, merge_hash_of_process);
		FORGET(merge, sockets, merge_hash_of_socket);
		FORGET(merge, holders, merge_hash_of_holder);
		FORGET(merge, addresses, merge_hash_of_address);
		FORGET(merge, interfaces, merge_hash_of_interface);
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
