/*
 * evidence_told.c - the event frames. What the kernel tells goes through the
 * recorder's own logic of uses (watcher_uses.h); who acts is known from the truth.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/watcher_uses.h"
#include "tests/model/model.h"

/* The recorder empties the kernel's buffers so often. */
#define DRAIN_NS (50 * MS)
/* It takes less for no step of the clock. */
#define STEP_NS MS

struct teller {
	struct model_world *world;
	struct model_evidence *evidence;
	struct watcher_uses *uses;
	struct snapframe frame;
	bool has_frame;
	int64_t now; /* true time of this drain */
	/* CLOCK_REALTIME less CLOCK_MONOTONIC, of the events at hand; measured: as read then. */
	int64_t offset_ns, measured_ns;
	uint64_t epoch;
	int *told; /* by process: the images told; 0: none */
	bool is_restating;
};

static void head(const struct model_world *world, struct snapframe *frame, const char *cause,
		 int64_t begin_ns, int64_t now)
{
	snapframe_init(frame, SNAP_EVENT, cause);
	frame->head.begin_ns = begin_ns;
	frame->head.end_ns = model_real(world, now);
	if (frame->head.end_ns < begin_ns)
		frame->head.end_ns = begin_ns;
	frame->head.monotonic_ns = begin_ns - model_real(world, now) + model_monotonic(now);
	frame->head.boot_ns = begin_ns - model_real(world, now) + model_boot(world, now);
}

static struct model_told *submit(struct model_evidence *evidence, const struct snapframe *frame,
				 int64_t now)
{
	struct model_told *told = MODEL_ADD(&evidence->events);

	told->written = now;
	told->frame = *frame;
	return told;
}

static void end_frame(struct teller *teller)
{
	struct snap_frame *head = &teller->frame.head;

	if (teller->has_frame) {
		head->monotonic_ns = head->begin_ns - teller->offset_ns;
		head->boot_ns = head->monotonic_ns + model_boot(teller->world, teller->now) -
				model_monotonic(teller->now);
		submit(teller->evidence, &teller->frame, teller->now)->is_restated =
			teller->is_restating;
	}
	teller->has_frame = false;
}

/* ----------------------------------------------------------------- told -- */

static bool was_read(const struct model_evidence *evidence, const struct model_process *p,
		     int64_t now)
{
	for (size_t i = 0; i < evidence->readings.count; i++) {
		const struct model_reading *r = &evidence->readings.items[i];

		if (r->until > now)
			break;
		for (size_t k = 0; k < r->processes.count; k++) {
			if (r->processes.items[k].pid == p->pid &&
			    r->processes.items[k].start_ticks == p->start_ticks)
				return true;
		}
	}
	return false;
}

/* A fork is told some microseconds after the start that /proc has. */
static uint64_t told_ticks(const struct teller *teller, const struct model_process *p)
{
	int64_t late = 1 * US + p->born % (15 * US);

	if (p->born < 0 || was_read(teller->evidence, p, teller->now))
		return p->start_ticks;
	return model_ticks(teller->world, p->born + late);
}

static void tell_person(struct teller *teller, int process, int64_t at)
{
	const struct model_process *p = &teller->world->processes.items[process];
	struct snap_record record = {.type = SNAP_TYPE_BORN, .op = SNAP_ONCE};
	int images = 1;

	while (images < (int)p->images && p->image[images].at <= at)
		images++;
	if (teller->told[process] == images)
		return;
	teller->told[process] = images;
	if (p->born >= 0) {
		record.u.born = (struct snap_born){
			.pid = p->pid,
			.start_ticks = told_ticks(teller, p),
			.ppid = teller->world->processes.items[p->parent].pid,
			.born_ns = model_monotonic(p->born) + 5 * US + teller->offset_ns,
		};
		snapframe_add(&teller->frame, &record);
	}
	record = (struct snap_record){.type = SNAP_TYPE_PROCESS, .op = SNAP_ONCE};
	record.u.process = model_facts(teller->world, p, at);
	record.u.process.start_ticks = told_ticks(teller, p);
	snapframe_add(&teller->frame, &record);
}

static void open_frame(struct teller *teller, const char *cause, int64_t begin_ns)
{
	if (teller->has_frame && begin_ns >= teller->frame.head.begin_ns)
		return;
	if (teller->has_frame) {
		teller->frame.head.begin_ns = begin_ns;
		return;
	}
	head(teller->world, &teller->frame, cause, begin_ns, teller->now);
	teller->has_frame = true;
}

static enum watcher_known who(void *context, const struct tracepoint_event *event,
			      struct watcher_user *out)
{
	(void)context;
	*out = (struct watcher_user){event->tid, MODEL_NETNS, true};
	return WATCHER_KNOWN;
}

static uint64_t place(void *context, const struct watcher_user *user, const struct endpoint *local,
		      const struct endpoint *remote)
{
	(void)context, (void)local, (void)remote;
	return user->netns;
}

static uint64_t epoch(void *context)
{
	return ++((struct teller *)context)->epoch;
}

static void tell(void *context, const struct watcher_use *use)
{
	struct teller *teller = context;
	int process = (int)use->user.id - 1;
	const struct model_process *p = &teller->world->processes.items[process];
	struct snap_record record = {.type = SNAP_TYPE_USE, .op = SNAP_ONCE};

	/* Who has gone sends no more. */
	if (use->is_restated && use->use.act == SNAP_ROUTE && p->exit <= teller->now &&
	    model_monotonic(teller->now) - use->time_ns > WATCHER_USES_LATE_NS)
		return;
	open_frame(teller, use->is_restated ? "restated" : "use", use->use.at_ns);
	tell_person(teller, process, use->time_ns - model_monotonic(0));
	record.u.use = use->use;
	record.u.use.pid = record.u.use.tid = p->pid;
	record.u.use.start_ticks = told_ticks(teller, p);
	snapframe_add(&teller->frame, &record);
	*MODEL_ADD(&teller->evidence->uses) =
		(struct model_use){record.u.use, process, use->is_restated};
}

static void tell_missing(struct teller *teller, enum tracepoint_group group)
{
	struct snapframe frame;
	struct snap_record record = {.type = SNAP_TYPE_ABSENT, .op = SNAP_ONCE};
	int64_t since_ns;

	if (watcher_uses_take_missing(teller->uses, group, &since_ns) == 0)
		return;
	head(teller->world, &frame, "missed", since_ns + teller->offset_ns, teller->now);
	record.u.absent = (struct snap_absent){
		.what = "event",
		.subject = group == TRACEPOINT_TRANSFERS ? "uses of streams" : "uses of datagrams",
		.reason = "ENOBUFS",
	};
	snapframe_add(&frame, &record);
	submit(teller->evidence, &frame, teller->now);
	*MODEL_ADD(&teller->evidence->blind) =
		(struct model_blind){frame.head.begin_ns, frame.head.end_ns};
}

/* What processes that a use names fork is told. */
static void tell_heirs(struct teller *teller, int64_t from, int64_t until)
{
	for (size_t i = 0; i < teller->world->processes.count; i++) {
		const struct model_process *p = &teller->world->processes.items[i];

		if (p->born <= from || p->born > until || p->parent == MODEL_NOBODY ||
		    teller->told[p->parent] == 0 || teller->told[i] != 0)
			continue;
		open_frame(teller, "use", model_monotonic(p->born) + teller->offset_ns);
		tell_person(teller, (int)i, p->born);
	}
}

static bool is_blind(const struct teller *teller, const int64_t blind[2], int64_t at)
{
	(void)teller;
	return at >= blind[0] && at < blind[1];
}

/* The kernel says it before the first event that it has room for again. */
static void tell_lost(struct teller *teller, int64_t at)
{
	const struct tracepoint_event lost = {.kind = TRACEPOINT_LOST,
					      .time_ns = model_monotonic(at)};

	watcher_uses_feed(teller->uses, &lost);
}

/* As the recorder does: events before a step have the time that was true until then. */
static void set_clocks(struct teller *teller)
{
	int64_t before_ns = teller->measured_ns;

	teller->measured_ns = model_real(teller->world, teller->now) - model_monotonic(teller->now);
	teller->offset_ns = teller->measured_ns;
	if (before_ns != 0 && llabs(teller->measured_ns - before_ns) > STEP_NS)
		teller->offset_ns = before_ns;
	watcher_uses_set_real(teller->uses, teller->offset_ns);
}

static void drain(struct teller *teller, int64_t from, int64_t until, const int64_t blind[2])
{
	bool is_lost = blind[1] > from && blind[1] <= until;

	teller->now = until;
	set_clocks(teller);
	for (size_t i = 0; i < teller->world->acts.count; i++) {
		const struct model_act *act = &teller->world->acts.items[i];
		struct tracepoint_event event = act->event;

		/* What was before the recorder nobody followed. */
		if (act->at <= from || act->at > until || act->at < 0)
			continue;
		event.time_ns = model_monotonic(act->at);
		if (act->process != MODEL_NOBODY) {
			event.pid = teller->world->processes.items[act->process].pid;
			event.tid = (uint32_t)act->process + 1;
		}
		if (is_lost && act->at >= blind[1]) {
			tell_lost(teller, blind[1]);
			is_lost = false;
		}
		if (!is_blind(teller, blind, act->at))
			watcher_uses_feed(teller->uses, &event);
	}
	if (is_lost)
		tell_lost(teller, blind[1]);
	tell_heirs(teller, from, until);
	end_frame(teller);
	tell_missing(teller, TRACEPOINT_TRANSFERS);
	tell_missing(teller, TRACEPOINT_ROUTES);
}

/* When the recorder asks for all until then: before a reading that ends a
 * segment; and at a rotation for all once more. */
static bool next_moment(const struct model_evidence *evidence, int64_t after, int64_t *at,
			bool *is_rotation)
{
	int64_t next = (after / DRAIN_NS + 1) * DRAIN_NS;

	*is_rotation = false;
	for (size_t i = 0; i < evidence->readings.count; i++) {
		const struct model_reading *r = &evidence->readings.items[i];

		if (strcmp(r->head.cause, "interval") != 0 && r->from > after && r->from < next)
			next = r->from;
	}
	for (size_t i = 1; i < evidence->rotations.count; i++) {
		if (evidence->rotations.items[i] > after && evidence->rotations.items[i] <= next) {
			next = evidence->rotations.items[i];
			*is_rotation = true;
		}
	}
	*at = next;
	return after < evidence->readings.items[evidence->readings.count - 1].from;
}

static void tell_uses(struct model_world *world, struct model_evidence *evidence)
{
	struct teller teller = {.world = world, .evidence = evidence};
	const struct watcher_uses_config config = {
		.has_lengths = true,
		.who = who,
		.place = place,
		.epoch = epoch,
		.tell = tell,
		.context = &teller,
	};
	int64_t blind[2] = {MODEL_NEVER, MODEL_NEVER}, from = -1, at;
	bool is_rotation;

	if (model_chance(world, 0.3)) {
		blind[0] = model_between(world, 0, world->until);
		blind[1] = blind[0] + model_scaled(world, MS, SEC);
	}
	teller.told = calloc(world->processes.count + 1, sizeof(*teller.told));
	teller.uses = watcher_uses_new(&config);
	while (next_moment(evidence, from, &at, &is_rotation)) {
		drain(&teller, from, at, blind);
		if (is_rotation) {
			teller.is_restating = true;
			memset(teller.told, 0, world->processes.count * sizeof(*teller.told));
			watcher_uses_restate(teller.uses);
			end_frame(&teller);
			teller.is_restating = false;
		}
		from = at;
	}
	watcher_uses_free(teller.uses);
	free(teller.told);
}

/* ------------------------------------------------------------- look-ups -- */

static void look_up(struct model_world *world, struct model_evidence *evidence,
		    const struct model_packet *packet, int side)
{
	const struct model_socket *s = &world->sockets.items[packet->end[side].socket];
	bool stream = packet->protocol == IPPROTO_TCP;
	bool accepts = stream && side == 1;
	int64_t at = packet->at + model_scaled(world, 60 * US, 5 * MS);
	struct model_found *found;
	struct snap_record record = {.type = SNAP_TYPE_SOCKET, .op = SNAP_ONCE};
	struct snapframe frame;
	int holder = MODEL_NOBODY;
	uint32_t fd = 0;

	if (accepts && s->named < MODEL_NEVER && at < s->named)
		at = s->named + model_scaled(world, 20 * US, 2 * MS);
	if (!model_row_at(s, at, &record.u.socket) || record.u.socket.inode == 0)
		return;
	for (size_t i = 0; i < world->holds.count; i++) {
		const struct model_hold *h = &world->holds.items[i];

		if (h->socket == packet->end[side].socket && h->from <= at && at < h->until &&
		    (holder == MODEL_NOBODY || model_chance(world, 0.5))) {
			holder = h->process;
			fd = h->fd;
		}
	}
	head(world, &frame,
	     accepts  ? "accept"
	     : stream ? "connect"
		      : "datagram",
	     model_real(world, at), at + 100 * US);
	snapframe_add(&frame, &record);
	found = MODEL_ADD(&evidence->found);
	found->head = frame.head;
	found->at = at;
	found->row = record.u.socket;
	if (holder != MODEL_NOBODY) {
		const struct model_process *p = &world->processes.items[holder];

		record = (struct snap_record){.type = SNAP_TYPE_PROCESS, .op = SNAP_ONCE};
		record.u.process = model_facts(world, p, at);
		snapframe_add(&frame, &record);
		record = (struct snap_record){.type = SNAP_TYPE_HOLDER, .op = SNAP_ONCE};
		record.u.holder = found->holder =
			(struct snap_holder){s->inode, p->pid, p->start_ticks, p->pid, fd};
		snapframe_add(&frame, &record);
	}
	submit(evidence, &frame, at + model_between(world, 100 * US, 50 * MS));
}

static void look_up_all(struct model_world *world, struct model_evidence *evidence)
{
	bool *done = calloc(world->sockets.count + 1, sizeof(*done));

	for (size_t i = 0; i < world->packets.count; i++) {
		const struct model_packet *p = &world->packets.items[i];

		for (int side = 0; side < 2; side++) {
			int socket = p->end[side].socket;

			if (p->at < 0 || p->at > world->until || socket == MODEL_NOBODY ||
			    done[socket] || model_chance(world, 0.2))
				continue;
			done[socket] = true;
			look_up(world, evidence, p, side);
		}
	}
	free(done);
}

/* --------------------------------------------------- processes and closes -- */

static void tell_exits(struct model_world *world, struct model_evidence *evidence)
{
	for (size_t i = 0; i < world->processes.count; i++) {
		const struct model_process *p = &world->processes.items[i];
		struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_GONE};
		int64_t late = model_between(world, 20 * US, 2 * MS);
		struct snapframe frame;

		if (p->exit < 0 || p->exit >= world->until || !was_read(evidence, p, p->exit))
			continue;
		head(world, &frame, "exit", model_real(world, p->exit), p->exit + late);
		record.u.process = model_facts(world, p, p->exit);
		record.u.process.exit_known = true;
		record.u.process.exit_ns = model_real(world, p->exit);
		snapframe_add(&frame, &record);
		submit(evidence, &frame, p->exit + late);
	}
}

static void tell_closes(struct model_world *world, struct model_evidence *evidence)
{
	for (size_t i = 0; i < world->sockets.count; i++) {
		const struct model_socket *s = &world->sockets.items[i];
		struct snap_record record = {.type = SNAP_TYPE_CLOSED, .op = SNAP_ONCE};
		bool connected = s->connect <= s->closed;
		int64_t now;
		struct snapframe frame;

		if (s->closed < 0 || s->closed >= world->until)
			continue;
		now = s->closed + model_scaled(world, 50 * US, 100 * MS);
		record.u.closed = (struct snap_closed){
			.netns = MODEL_NETNS,
			.table = s->table,
			.local = connected ? s->local : s->bound,
			.cookie = s->cookie,
			.closed_ns = model_real(world, now),
		};
		endpoint_parse(s->table == SNAP_TCP6 || s->table == SNAP_UDP6 ? "::" : "0.0.0.0",
			       &record.u.closed.remote.address);
		if (connected)
			record.u.closed.remote = s->remote;
		head(world, &frame, "close", model_real(world, now), now + 10 * US);
		snapframe_add(&frame, &record);
		*MODEL_ADD(&evidence->closes) = record.u.closed;
		submit(evidence, &frame, now + model_between(world, 10 * US, 20 * MS));
	}
}

static int compare_written(const void *left, const void *right)
{
	const struct model_told *a = left, *b = right;

	if (a->written != b->written)
		return a->written < b->written ? -1 : 1;
	return a->frame.head.begin_ns < b->frame.head.begin_ns
		       ? -1
		       : a->frame.head.begin_ns > b->frame.head.begin_ns;
}

void model_tell(struct model_world *world, struct model_evidence *evidence)
{
	if (world->mode == MODEL_SNAPSHOTS)
		return;
	if (world->mode == MODEL_TOLD)
		tell_uses(world, evidence);
	else
		look_up_all(world, evidence);
	tell_exits(world, evidence);
	tell_closes(world, evidence);
	qsort(evidence->events.items, evidence->events.count, sizeof(*evidence->events.items),
	      compare_written);
}
