/* evidence.c - the readings: row by row, each at a moment of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/model.h"

/* Of the readings: what is asked for, and how long one takes. */
#define INTERVAL_NS    SEC
#define READING_MIN_NS (500 * US)
#define READING_MAX_NS (80 * MS)
#define BUSY_MIN_NS    (30 * MS)
#define BUSY_MAX_NS    (300 * MS)
/* A rotation's own reading follows so soon. */
#define ROTATE_MAX_NS (20 * MS)

bool model_row_at(const struct model_socket *s, int64_t at, struct snap_socket *row)
{
	bool stream = s->table == SNAP_TCP || s->table == SNAP_TCP6;
	bool connected = at >= s->connect;

	if (at < s->open || at >= s->gone)
		return false;
	*row = (struct snap_socket){
		.netns = MODEL_NETNS,
		.table = s->table,
		.local = connected ? s->local : s->bound,
		.uid = 1000,
		.cookie = s->cookie,
	};
	endpoint_parse(s->table == SNAP_TCP6 || s->table == SNAP_UDP6 ? "::" : "0.0.0.0",
		       &row->remote.address);
	if (connected)
		row->remote = s->remote;
	if (stream)
		row->state = !connected	       ? SNAP_LISTEN
			     : at >= s->closed ? SNAP_TIME_WAIT
					       : SNAP_ESTABLISHED;
	else
		row->state = connected ? SNAP_ESTABLISHED : SNAP_CLOSE;
	if (at >= s->named && at < s->closed)
		row->inode = s->inode;
	else
		row->cookie = row->uid = 0;
	return true;
}

static void read_rows(struct model_world *world, struct model_evidence *evidence,
		      struct model_reading *r)
{
	int64_t half = r->from + (r->until - r->from) / 2;

	for (size_t i = 0; i < world->sockets.count; i++) {
		struct snap_socket row;
		int64_t at = model_between(world, r->from, half);

		if (!model_row_at(&world->sockets.items[i], at, &row))
			continue;
		if (model_chance(world, world->miss_rate)) {
			*MODEL_ADD(&evidence->missed) = (struct model_missed){(int)i, at};
			continue;
		}
		*MODEL_ADD(&r->rows) = (struct model_row){(int)i, row};
	}
}

static bool has_row(const struct model_reading *r, uint32_t inode)
{
	for (size_t i = 0; i < r->rows.count; i++) {
		if (r->rows.items[i].row.inode == inode)
			return true;
	}
	return false;
}

struct snap_process model_facts(const struct model_world *world, const struct model_process *p,
				int64_t at)
{
	static const char *const names[16] = {"init", "sh",   "curl", "nginx", "dig", "sshd",
					      "git",  "bash", "x8",   "x9",    "in0", "in1",
					      "in2",  "in3",  "in4",  "in5"};
	static const char *const paths[16] = {"/bin/init", "/bin/sh",	"/bin/curl", "/bin/nginx",
					      "/bin/dig",  "/bin/sshd", "/bin/git",  "/bin/bash",
					      "/bin/x8",   "/bin/x9",	"/bin/in0",  "/bin/in1",
					      "/bin/in2",  "/bin/in3",	"/bin/in4",  "/bin/in5"};
	uint32_t program = model_program(p, at) % 16;
	const struct model_process *parent =
		p->parent == MODEL_NOBODY ? NULL : &world->processes.items[p->parent];

	return (struct snap_process){
		.pid = p->pid,
		.start_ticks = p->start_ticks,
		/* Who has lost it is init's. */
		.ppid = parent != NULL && model_lives(parent, at) ? parent->pid : 1,
		.uid = 1000,
		.comm = names[program],
		.exe = paths[program],
		.cmdline = names[program],
		.cmdline_length = strlen(names[program]),
		.cgroup = "/",
		.netns = MODEL_NETNS,
	};
}

static void read_processes(struct model_world *world, struct model_reading *r)
{
	int64_t half = r->from + (r->until - r->from) / 2;

	for (size_t i = 0; i < world->processes.count; i++) {
		const struct model_process *p = &world->processes.items[i];
		int64_t at = model_between(world, half, r->until);

		if (!model_lives(p, at))
			continue;
		*MODEL_ADD(&r->processes) = model_facts(world, p, at);
		for (size_t k = 0; k < world->holds.count; k++) {
			const struct model_hold *h = &world->holds.items[k];
			uint32_t inode = world->sockets.items[h->socket].inode;

			if (h->process == (int)i && h->from <= at && at < h->until &&
			    has_row(r, inode))
				*MODEL_ADD(&r->holders) = (struct snap_holder){
					inode, p->pid, p->start_ticks, p->pid, h->fd};
		}
	}
}

static void read_all(struct model_world *world, struct model_evidence *evidence, const char *cause,
		     int64_t at)
{
	struct model_reading *r = MODEL_ADD(&evidence->readings);

	r->from = at;
	r->until = at + (world->is_busy ? model_scaled(world, BUSY_MIN_NS, BUSY_MAX_NS)
					: model_scaled(world, READING_MIN_NS, READING_MAX_NS));
	r->head = (struct snap_frame){
		.kind = evidence->readings.count == 1 ? SNAP_KEY : SNAP_POLL,
		.cause = cause,
		.begin_ns = model_real(world, r->from),
		.end_ns = model_real(world, r->until),
		.monotonic_ns = model_monotonic(r->from),
		.boot_ns = model_boot(world, r->from),
	};
	if (r->head.end_ns < r->head.begin_ns)
		r->head.end_ns = r->head.begin_ns;
	read_rows(world, evidence, r);
	read_processes(world, r);
}

static void choose_rotations(struct model_world *world, struct model_evidence *evidence)
{
	int64_t at = model_between(world, SEC, 3 * SEC);

	if (model_chance(world, 0.4))
		return;
	while (at < world->until - SEC / 2 && evidence->rotations.count < 4) {
		*MODEL_ADD(&evidence->rotations) = at;
		at += model_between(world, SEC / 4, 3 * SEC);
	}
}

void model_record(struct model_world *world, struct model_evidence *evidence, const char *directory)
{
	size_t rotation = 1;
	int64_t at = 0, done;

	*evidence = (struct model_evidence){0};
	*MODEL_ADD(&evidence->rotations) = 0;
	choose_rotations(world, evidence);
	read_all(world, evidence, "start", at);
	for (;;) {
		const char *cause = "interval";

		done = evidence->readings.items[evidence->readings.count - 1].until;
		at += model_chance(world, 0.1) ? model_between(world, 100 * MS, INTERVAL_NS)
					       : INTERVAL_NS;
		if (at < done)
			at = done + MS;
		if (rotation < evidence->rotations.count &&
		    evidence->rotations.items[rotation] < at) {
			at = evidence->rotations.items[rotation++];
			/* One that falls into a reading waits for it. */
			if (at < done)
				at = evidence->rotations.items[rotation - 1] = done + US;
			at += model_between(world, 50 * US, ROTATE_MAX_NS);
			cause = "rotate";
		}
		if (at >= world->until)
			break;
		read_all(world, evidence, cause, at);
	}
	evidence->rotations.count = rotation;
	if (world->until < done)
		world->until = done + US;
	read_all(world, evidence, "stop", world->until);
	model_tell(world, evidence);
	model_write(world, evidence, directory);
}

void model_evidence_free(struct model_evidence *evidence)
{
	for (size_t i = 0; i < evidence->readings.count; i++) {
		free(evidence->readings.items[i].rows.items);
		free(evidence->readings.items[i].processes.items);
		free(evidence->readings.items[i].holders.items);
	}
	for (size_t i = 0; i < evidence->events.count; i++)
		snapframe_release(&evidence->events.items[i].frame);
	free(evidence->readings.items);
	free(evidence->events.items);
	free(evidence->found.items);
	free(evidence->uses.items);
	free(evidence->closes.items);
	free(evidence->rotations.items);
	free(evidence->blind.items);
	free(evidence->missed.items);
	*evidence = (struct model_evidence){0};
}
