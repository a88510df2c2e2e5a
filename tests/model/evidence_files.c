/* evidence_files.c - the files of a recording: snapshots by the project's own
 * writer, packets, and the custody log. */
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/evidence.h"
#include "tests/model/model.h"

/* What the recorder restates of events at a rotation. */
#define RECENT_NS (2 * SEC)
#define SNAPLEN	  262144
#define LINK_SLL2 276

static void must(bool held, const char *what)
{
	if (held)
		return;
	fprintf(stderr, "model: cannot write: %s\n", what);
	exit(1);
}

/* -------------------------------------------------------------- packets -- */

struct bytes {
	uint8_t at[2048];
	size_t length;
};

static void put_be(struct bytes *b, uint64_t value, size_t bytes)
{
	for (size_t i = bytes; i > 0; i--)
		b->at[b->length++] = (uint8_t)(value >> (8 * (i - 1)));
}

static void put_le(struct bytes *b, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		b->at[b->length++] = (uint8_t)(value >> (8 * i));
}

static void put_address(struct bytes *b, const struct endpoint *e, uint8_t version)
{
	size_t from = version == 4 ? 12 : 0;

	memcpy(b->at + b->length, e->address.bytes + from, 16 - from);
	b->length += 16 - from;
}

static void put_ip(struct bytes *b, const struct model_packet *p)
{
	size_t transport = (p->protocol == IPPROTO_TCP ? 20 : 8) + p->payload_bytes;

	if (p->version == 4) {
		put_be(b, 0x4500, 2);
		put_be(b, 20 + transport, 2);
		put_be(b, 0, 4);
		put_be(b, 64, 1);
		put_be(b, p->protocol, 1);
		put_be(b, 0, 2);
	} else {
		put_be(b, 0x60000000, 4);
		put_be(b, transport, 2);
		put_be(b, p->protocol, 1);
		put_be(b, 64, 1);
	}
	put_address(b, &p->from, p->version);
	put_address(b, &p->to, p->version);
}

static void put_frame(struct bytes *b, const struct model_packet *p)
{
	bool is_loop = endpoint_is_loopback(&p->from.address);
	bool is_out = p->end[0].is_local && !p->end[1].is_local;

	put_be(b, p->protocol == 0 ? 0x0806 : p->version == 4 ? 0x0800 : 0x86dd, 2);
	put_be(b, 0, 2);
	put_be(b, is_loop || (p->end[0].is_local && p->end[1].is_local) ? 1 : 2, 4);
	put_be(b, is_loop ? 772 : 1, 2);
	put_be(b, is_out ? 4 : 0, 1);
	put_be(b, 6, 1);
	put_be(b, 0, 8);
	if (p->protocol == 0) {
		memset(b->at + b->length, 0, 28);
		b->length += 28;
		return;
	}
	put_ip(b, p);
	put_be(b, p->from.port, 2);
	put_be(b, p->to.port, 2);
	if (p->protocol == IPPROTO_UDP) {
		put_be(b, 8 + p->payload_bytes, 2);
		put_be(b, 0, 2);
	} else {
		put_be(b, p->seq, 4);
		put_be(b, p->ack, 4);
		put_be(b, 0x5000u | p->flags, 2);
		put_be(b, 65535, 6);
	}
	memset(b->at + b->length, 0xda, p->payload_bytes);
	b->length += p->payload_bytes;
}

/* Of those that were recorded before, or of all but what is drawn to be lost. */
static void write_packets(struct model_world *world, const char *path, uint64_t segment,
			  int64_t from, int64_t until, bool again)
{
	gzFile file = gzopen(path, strstr(path, ".gz") != NULL ? "wb1" : "wbT");
	struct bytes b = {.length = 0};
	uint64_t number = 0;

	must(file != NULL, path);
	put_le(&b, 0xa1b23c4d, 4);
	put_le(&b, 2 | 4 << 16, 4);
	put_le(&b, 0, 8);
	put_le(&b, SNAPLEN, 4);
	put_le(&b, LINK_SLL2, 4);
	must(gzwrite(file, b.at, (unsigned)b.length) == (int)b.length, path);
	for (size_t i = 0; i < world->packets.count; i++) {
		struct model_packet *p = &world->packets.items[i];
		uint64_t real_ns = (uint64_t)model_real(world, p->at);
		struct bytes head = {.length = 0};

		if (p->at < from || p->at >= until ||
		    (again ? p->segment == 0 : model_chance(world, world->drop_rate)))
			continue;
		b.length = 0;
		put_frame(&b, p);
		put_le(&head, real_ns / SEC, 4);
		put_le(&head, real_ns % SEC, 4);
		put_le(&head, b.length, 4);
		put_le(&head, b.length, 4);
		must(gzwrite(file, head.at, (unsigned)head.length) == (int)head.length, path);
		must(gzwrite(file, b.at, (unsigned)b.length) == (int)b.length, path);
		p->segment = segment;
		p->number = ++number;
	}
	must(gzclose(file) == Z_OK, path);
}

/* ------------------------------------------------------------ snapshots -- */

static bool same_identity(const struct snap_socket *a, const struct snap_socket *b)
{
	return a->table == b->table && a->inode == b->inode && a->local.port == b->local.port &&
	       a->remote.port == b->remote.port &&
	       endpoint_equal(&a->local.address, &b->local.address) &&
	       endpoint_equal(&a->remote.address, &b->remote.address);
}

static void add_rows(struct snapframe *frame, const struct model_reading *before,
		     const struct model_reading *now, enum snap_op op)
{
	for (size_t i = 0; i < now->rows.count; i++) {
		struct snap_record record = {.type = SNAP_TYPE_SOCKET, .op = op};
		const struct snap_socket *row = &now->rows.items[i].row, *same = NULL;

		for (size_t k = 0; before != NULL && k < before->rows.count; k++) {
			if (same_identity(row, &before->rows.items[k].row))
				same = &before->rows.items[k].row;
		}
		record.u.socket = *row;
		if (same != NULL && op == SNAP_ADD && same->state != row->state)
			record.op = SNAP_CHANGE;
		else if (same != NULL)
			continue;
		snapframe_add(frame, &record);
	}
}

static void add_processes(struct snapframe *frame, const struct model_reading *before,
			  const struct model_reading *now, enum snap_op op)
{
	for (size_t i = 0; i < now->processes.count; i++) {
		struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = op};
		const struct snap_process *p = &now->processes.items[i], *same = NULL;

		for (size_t k = 0; before != NULL && k < before->processes.count; k++) {
			const struct snap_process *q = &before->processes.items[k];

			if (p->pid == q->pid && p->start_ticks == q->start_ticks)
				same = q;
		}
		record.u.process = *p;
		if (same != NULL && op == SNAP_ADD && strcmp(same->exe, p->exe) != 0)
			record.op = SNAP_CHANGE;
		else if (same != NULL)
			continue;
		snapframe_add(frame, &record);
	}
}

static void add_holders(struct snapframe *frame, const struct model_reading *before,
			const struct model_reading *now, enum snap_op op)
{
	for (size_t i = 0; i < now->holders.count; i++) {
		struct snap_record record = {.type = SNAP_TYPE_HOLDER, .op = op};
		bool same = false;

		record.u.holder = now->holders.items[i];
		for (size_t k = 0; before != NULL && k < before->holders.count; k++)
			same = same || memcmp(&before->holders.items[k], &now->holders.items[i],
					      sizeof(struct snap_holder)) == 0;
		if (!same)
			snapframe_add(frame, &record);
	}
}

static void add_place(struct snapframe *frame)
{
	static const struct {
		const char *address;
		uint32_t ifindex;
		uint8_t prefix;
	} addresses[] = {
		{"127.0.0.1", 1, 8}, {"::1", 1, 128}, {"10.0.0.1", 2, 24}, {"fd00::1", 2, 64}};
	struct snap_record record = {.type = SNAP_TYPE_NETNS, .op = SNAP_ADD};

	record.u.netns = (struct snap_netns){MODEL_NETNS, 0, true};
	snapframe_add(frame, &record);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
		record.type = SNAP_TYPE_ADDRESS;
		record.u.address = (struct snap_address){
			.netns = MODEL_NETNS,
			.ifindex = addresses[i].ifindex,
			.prefix_length = addresses[i].prefix,
		};
		endpoint_parse(addresses[i].address, &record.u.address.address);
		snapframe_add(frame, &record);
	}
}

static void add_jumps(struct snapframe *frame, const struct model_world *world, int64_t from,
		      int64_t until)
{
	for (size_t i = 0; i < world->jumps.count; i++) {
		struct snap_record record = {.type = SNAP_TYPE_CLOCK, .op = SNAP_ONCE};
		const struct model_jump *jump = &world->jumps.items[i];

		if (jump->at <= from || jump->at > until)
			continue;
		record.u.clock = (struct snap_clock){jump->step + jump->suspend, jump->suspend};
		snapframe_add(frame, &record);
	}
}

/* before: NULL for the whole state. */
static void put_reading(struct snapfile_writer *writer, const struct model_world *world,
			const struct model_reading *before, const struct model_reading *now,
			bool is_restated)
{
	struct error error = ERROR_NONE;
	struct snapframe frame;

	snapframe_init(&frame, before == NULL ? SNAP_KEY : SNAP_POLL,
		       is_restated ? "restated" : now->head.cause);
	frame.head = now->head;
	frame.head.kind = before == NULL ? SNAP_KEY : SNAP_POLL;
	if (is_restated)
		frame.head.cause = "restated";
	if (before == NULL) {
		add_place(&frame);
	} else {
		add_rows(&frame, now, before, SNAP_GONE);
		add_processes(&frame, now, before, SNAP_GONE);
		add_holders(&frame, now, before, SNAP_GONE);
		add_jumps(&frame, world, before->from, now->from);
	}
	add_processes(&frame, before, now, SNAP_ADD);
	add_rows(&frame, before, now, SNAP_ADD);
	add_holders(&frame, before, now, SNAP_ADD);
	must(snapfile_writer_frame_unflushed(writer, &frame, &error) == 0, error.message);
	snapframe_release(&frame);
}

static struct snapfile_writer *open_snap(const struct model_world *world, const char *path,
					 uint64_t segment)
{
	struct error error = ERROR_NONE;
	struct snapfile_writer *writer;
	char text[64];
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	must(fd >= 0, path);
	must(snapfile_writer_open(fd, path, &writer, &error) == 0, error.message);
	snprintf(text, sizeof(text), "%" PRIu64, segment);
	snapfile_writer_meta(writer, "segment", text, &error);
	snapfile_writer_meta(writer, "tool", "model", &error);
	snprintf(text, sizeof(text), "%032" PRIx64, world->seed);
	snapfile_writer_meta(writer, "recording", text, &error);
	snapfile_writer_meta(writer, "boot_id", "f3d4e3d1-5c87-4fd0-ab23-579d8713f4a9", &error);
	snapfile_writer_meta(writer, "clock_ticks", "100", &error);
	snapfile_writer_meta(writer, "byte_order", "little", &error);
	snapfile_writer_meta(writer, "link_type", "276", &error);
	snapfile_writer_meta(writer, "watcher",
			     world->mode == MODEL_SNAPSHOTS ? "off: not wanted" : "on", &error);
	snapfile_writer_meta(writer, "source", "recorder", &error);
	snprintf(text, sizeof(text), "%" PRIu64, MODEL_NETNS);
	snapfile_writer_meta(writer, "netns", text, &error);
	snapfile_writer_meta(writer, "interval_ns", "1000000000", &error);
	return writer;
}

/* Its own reading is the last that a segment has. */
static int64_t last_written(const struct model_evidence *evidence, size_t k)
{
	const struct model_reading *last = &evidence->readings.items[evidence->readings.count - 1];

	for (size_t i = 0; i < evidence->readings.count && k + 1 < evidence->rotations.count; i++) {
		if (evidence->readings.items[i].from >= evidence->rotations.items[k + 1]) {
			last = &evidence->readings.items[i];
			break;
		}
	}
	return last->until;
}

static bool belongs(const struct model_told *told, int64_t opened, int64_t until, bool is_first)
{
	if (told->is_restated)
		return told->written == opened;
	if (told->written > until)
		return false;
	if (told->written >= opened)
		return true;
	return !is_first && told->written >= opened - RECENT_NS;
}

static void write_snap(const struct model_world *world, const struct model_evidence *evidence,
		       const char *path, size_t k)
{
	struct snapfile_writer *writer = open_snap(world, path, k + 1);
	int64_t opened = evidence->rotations.items[k], until = last_written(evidence, k);
	struct error error = ERROR_NONE;
	const struct model_reading *before = NULL;
	size_t next = 0;

	for (size_t i = 0; i < evidence->readings.count; i++) {
		const struct model_reading *now = &evidence->readings.items[i];
		bool is_last_before = k > 0 && now->until <= opened &&
				      (i + 1 == evidence->readings.count ||
				       evidence->readings.items[i + 1].until > opened);

		if (now->until > until)
			break;
		if (now->until <= opened && !is_last_before)
			continue;
		for (; !is_last_before && next < evidence->events.count &&
		       evidence->events.items[next].written <= now->until;
		     next++) {
			if (belongs(&evidence->events.items[next], opened, until, k == 0))
				must(snapfile_writer_frame_unflushed(
					     writer, &evidence->events.items[next].frame, &error) ==
					     0,
				     error.message);
		}
		put_reading(writer, world, before, now, is_last_before);
		before = now;
	}
	must(snapfile_writer_close(writer, &error) == 0, error.message);
}

/* ------------------------------------------------------------------ all -- */

static void number_frames(struct model_evidence *evidence)
{
	size_t next = 0;
	uint64_t sequence = 0;

	for (size_t i = 0; i < evidence->readings.count; i++) {
		for (; next < evidence->events.count &&
		       evidence->events.items[next].written <= evidence->readings.items[i].until;
		     next++)
			evidence->events.items[next].frame.head.sequence = ++sequence;
		evidence->readings.items[i].head.sequence = ++sequence;
	}
}

static void log_custody(const struct model_world *world, const struct model_evidence *evidence,
			const char *directory)
{
	int dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error error = ERROR_NONE;
	struct custody *custody = NULL;
	uint64_t ignored, broken;
	struct custody_entry entry = {
		.time_ns = model_real(world, 0), .event = "start", .bytes = -1, .detail = "model"};

	must(dirfd >= 0 && custody_open(dirfd, directory, &custody, &ignored, &broken, &error) == 0,
	     directory);
	must(custody_append(custody, &entry, &error) == 0, error.message);
	for (size_t k = 0; k < evidence->rotations.count; k++) {
		entry.time_ns = model_real(world, evidence->rotations.items[k]);
		entry.event = "open";
		must(custody_append(custody, &entry, &error) == 0, error.message);
	}
	custody_close(custody);
	close(dirfd);
}

static void write_all(struct model_world *world, struct model_evidence *evidence,
		      const char *directory, bool again)
{
	const struct model_reading *first = &evidence->readings.items[0];

	number_frames(evidence);
	for (size_t k = 0; k < evidence->rotations.count; k++) {
		struct evidence_stem stem = {k + 1,
					     model_real(world, evidence->rotations.items[k])};
		bool is_gz = !again && model_chance(world, 0.5);
		char name[EVIDENCE_NAME_SIZE], path[512];
		int64_t until = k + 1 < evidence->rotations.count ? evidence->rotations.items[k + 1]
								  : world->until;

		evidence_name(&stem, is_gz ? EVIDENCE_PCAP_GZ : EVIDENCE_PCAP, name);
		snprintf(path, sizeof(path), "%s/%s", directory, name);
		write_packets(world, path, k + 1,
			      k == 0 ? first->until : evidence->rotations.items[k], until, again);
		evidence_name(&stem, EVIDENCE_SNAP, name);
		snprintf(path, sizeof(path), "%s/%s", directory, name);
		write_snap(world, evidence, path, k);
	}
	log_custody(world, evidence, directory);
}

void model_write(struct model_world *world, struct model_evidence *evidence, const char *directory)
{
	write_all(world, evidence, directory, false);
}

void model_write_uncut(struct model_world *world, const struct model_evidence *evidence,
		       const char *directory)
{
	struct model_evidence uncut = *evidence;
	struct model_packet *packets = calloc(world->packets.count + 1, sizeof(*packets));

	must(mkdir(directory, 0700) == 0, directory);
	must(packets != NULL, directory);
	memcpy(packets, world->packets.items, world->packets.count * sizeof(*packets));
	world->packets.items = packets;
	uncut.rotations.count = 1;
	uncut.events.items = calloc(evidence->events.count + 1, sizeof(*uncut.events.items));
	must(uncut.events.items != NULL, directory);
	uncut.events.count = 0;
	for (size_t i = 0; i < evidence->events.count; i++) {
		const struct model_told *told = &evidence->events.items[i];

		if (!told->is_restated || told->written == evidence->rotations.items[0])
			uncut.events.items[uncut.events.count++] = *told;
	}
	write_all(world, &uncut, directory, true);
	free(uncut.events.items);
}
