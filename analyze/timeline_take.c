#include "analyze/timeline_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

/* ------------------------------------------------------------- records -- */

static bool is_connected(const struct snap_socket *socket)
{
	if (socket->table == SNAP_RAW || socket->table == SNAP_RAW6 || socket->table == SNAP_ICMP ||
	    socket->table == SNAP_ICMP6 || socket->table == SNAP_PACKET)
		return false;
	return socket->remote.port != 0 && !endpoint_is_any(&socket->remote.address);
}

static uint8_t socket_protocol(enum snap_table table)
{
	if (table == SNAP_RAW || table == SNAP_RAW6)
		return IPPROTO_RAW;
	return snap_table_protocol(table);
}

/* The latest lifetime of a row, by its whole identity. */
static uint32_t find_socket(const struct timeline *tl, const struct timeline_socket *wanted)
{
	uint64_t hash = timeline_hash_identity(wanted);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_identity, hash, &probe)) != HASHINDEX_NONE) {
		const struct timeline_socket *s = &tl->sockets[i];

		if (s->inode == wanted->inode && s->table == wanted->table &&
		    s->netns == wanted->netns &&
		    timeline_endpoints_equal(&s->local, &wanted->local) &&
		    timeline_endpoints_equal(&s->remote, &wanted->remote))
			return i;
	}
	return TIMELINE_NONE;
}

static struct timeline_socket socket_of(const struct snap_socket *socket)
{
	return (struct timeline_socket){
		.netns = socket->netns,
		.table = socket->table,
		.protocol = socket_protocol(socket->table),
		.state = socket->state,
		.connected = is_connected(socket),
		.local = socket->local,
		.remote = socket->remote,
		.uid = socket->uid,
		.inode = socket->inode,
		.cookie = socket->cookie,
		.next_tuple = TIMELINE_NONE,
		.next_port = TIMELINE_NONE,
		.other = TIMELINE_NONE,
		.first_use = TIMELINE_NONE,
		.last_use = TIMELINE_NONE,
	};
}

/* replaced: the lifetime before of the same row; NONE. */
static int add_socket(struct timeline *tl, enum snap_op op, const struct timeline_socket *fresh,
		      uint32_t replaced)
{
	uint32_t place = (uint32_t)tl->count.sockets, head;
	struct timeline_socket *s;

	if (grow_one(&tl->sockets, tl->count.sockets, &tl->capacity.sockets,
		     sizeof(*tl->sockets)) != 0)
		return -1;
	s = &tl->sockets[tl->count.sockets++];
	*s = *fresh;
	s->life = timeline_life_begin(tl, op);
	s->tail = place;
	if (replaced != TIMELINE_NONE)
		hashindex_move(&tl->by_identity, timeline_hash_identity(s), replaced, place);
	else if (hashindex_add(&tl->by_identity, timeline_hash_identity(s), place,
			       timeline_hash_of_identity, tl) != 0)
		return -1;
	if (timeline_note_life(tl, op, TIMELINE_SOCKET, place) != 0)
		return -1;
	if (s->connected) {
		head = timeline_by_tuple(tl, s->protocol, &s->local, &s->remote);
		if (head == TIMELINE_NONE)
			return hashindex_add(
				&tl->by_tuple,
				timeline_hash_tuple(s->protocol, &s->local, &s->remote), place,
				timeline_hash_of_tuple, tl);
		tl->sockets[tl->sockets[head].tail].next_tuple = place;
	} else {
		head = timeline_by_port(tl, s->protocol, &s->local);
		if (head == TIMELINE_NONE)
			return hashindex_add(&tl->by_port,
					     timeline_hash_port(s->protocol, &s->local), place,
					     timeline_hash_of_port, tl);
		tl->sockets[tl->sockets[head].tail].next_port = place;
	}
	tl->sockets[head].tail = place;
	return 0;
}

static int take_socket(struct timeline *tl, enum snap_op op, const struct snap_socket *socket)
{
	struct timeline_socket fresh = socket_of(socket);
	uint32_t i = find_socket(tl, &fresh);

	if (op == SNAP_GONE) {
		if (i != TIMELINE_NONE && timeline_life_open(&tl->sockets[i].life))
			timeline_life_end(tl, &tl->sockets[i].life, true);
		return 0;
	}
	if (i == TIMELINE_NONE ||
	    !timeline_life_resumes(tl, &tl->sockets[i].life, socket->inode != 0))
		return add_socket(tl, op, &fresh, i);
	timeline_life_confirm(tl, &tl->sockets[i].life, op);
	tl->sockets[i].state = socket->state;
	/* TIME_WAIT prints uid 0 and request sockets their listener's. */
	if (socket->uid != SNAP_UNKNOWN_UID && socket->inode != 0)
		tl->sockets[i].uid = socket->uid;
	if (socket->cookie != 0)
		tl->sockets[i].cookie = socket->cookie;
	return timeline_note_life(tl, op, TIMELINE_SOCKET, i);
}

/* Which socket it speaks of is seen when all is read: the frame that tells of
 * its uses may stand behind this one. */
static int take_closed(struct timeline *tl, const struct snap_closed *closed)
{
	if (grow_one(&tl->closes, tl->count.closes, &tl->capacity.closes, sizeof(*tl->closes)) != 0)
		return -1;
	tl->closes[tl->count.closes] = *closed;
	if (closed->closed_ns == 0)
		tl->closes[tl->count.closes].closed_ns = tl->frames[tl->count.frames - 1].end_ns;
	tl->count.closes++;
	return 0;
}

uint32_t timeline_find_process(const struct timeline *tl, uint32_t pid, uint64_t start_ticks)
{
	uint64_t hash = timeline_hash_process(pid, start_ticks);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_process, hash, &probe)) != HASHINDEX_NONE) {
		if (tl->processes[i].pid == pid && tl->processes[i].start_ticks == start_ticks)
			return i;
	}
	return TIMELINE_NONE;
}

/* INT64_MIN: not known. Ticks that somebody made up may come to no time that is one. */
static int64_t start_of(const struct timeline *tl, uint64_t start_ticks)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];
	int64_t start_ns;

	if (start_ticks == 0 || frame->boot_ns <= 0 || tl->clock_ticks <= 0 ||
	    start_ticks / (uint64_t)tl->clock_ticks >= (uint64_t)INT64_MAX / NS_PER_SECOND / 4)
		return INT64_MIN;
	start_ns = frame->begin_ns - frame->boot_ns +
		   (int64_t)(start_ticks / (uint64_t)tl->clock_ticks) * NS_PER_SECOND +
		   (int64_t)(start_ticks % (uint64_t)tl->clock_ticks) *
			   (NS_PER_SECOND / tl->clock_ticks);
	return start_ns >= 0 && start_ns <= QUANTITY_MAX_TIME_NS ? start_ns : INT64_MIN;
}

uint32_t timeline_need_process(struct timeline *tl, uint32_t pid, uint64_t start_ticks)
{
	uint32_t i = timeline_find_process(tl, pid, start_ticks);

	if (i != TIMELINE_NONE)
		return i;
	if (grow_one(&tl->processes, tl->count.processes, &tl->capacity.processes,
		     sizeof(*tl->processes)) != 0)
		return TIMELINE_NONE;
	i = (uint32_t)tl->count.processes++;
	tl->processes[i] = (struct timeline_process){
		.pid = pid,
		.start_ticks = start_ticks,
		.start_ns = start_of(tl, start_ticks),
		.first_image = TIMELINE_NONE,
		.last_image = TIMELINE_NONE,
		.same_as = TIMELINE_NONE,
	};
	if (hashindex_add(&tl->by_process, timeline_hash_process(pid, start_ticks), i,
			  timeline_hash_of_process, tl) != 0)
		return TIMELINE_NONE;
	return i;
}

static bool same_image(const struct timeline_image *image, const struct snap_process *process)
{
	return image->uid == process->uid && timeline_same_text(image->comm, process->comm) &&
	       timeline_same_text(image->exe, process->exe) &&
	       (image->cmdline == NULL) == (process->cmdline == NULL) &&
	       image->cmdline_length == process->cmdline_length &&
	       (image->cmdline == NULL ||
		memcmp(image->cmdline, process->cmdline, process->cmdline_length) == 0);
}

/* A process that is ending has its name left and no program any more. */
static bool is_remnant(const char *exe, size_t cmdline_length)
{
	return exe == NULL && cmdline_length == 0;
}

/* Whether one of two readings has but the name, which is the other's. */
static bool completes(const struct timeline_image *image, const struct snap_process *process)
{
	return process->comm != NULL && timeline_same_text(image->comm, process->comm) &&
	       (is_remnant(image->exe, image->cmdline_length) ||
		is_remnant(process->exe, process->cmdline_length));
}

/* What the image lacks, of a fuller reading. 0, or -1 without memory. */
static int complete(struct timeline *tl, struct timeline_image *image,
		    const struct snap_process *process)
{
	bool failed = false;

	if (is_remnant(process->exe, process->cmdline_length))
		return 0;
	image->exe = timeline_keep_string(tl, process->exe, &failed);
	image->cmdline = timeline_keep(tl, process->cmdline, process->cmdline_length, &failed);
	image->cmdline_length = process->cmdline_length;
	if (process->uid != SNAP_UNKNOWN_UID)
		image->uid = process->uid;
	if (process->cgroup != NULL)
		image->cgroup = timeline_keep_string(tl, process->cgroup, &failed);
	if (process->netns != 0)
		image->netns = process->netns;
	return failed ? -1 : 0;
}

/* Whether the image in hand is the one that its process was born with: the same event tells the
 * fork, and no exec of it (which is told right before the image that it began). Such a one comes
 * first, whatever a poll has shown: a poll that was under way then is written before the event,
 * but may have read the process when it ran another program already. An event that tells of
 * execs alone may have begun before the fork. */
static bool is_of_fork(const struct timeline *tl, uint32_t p)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];
	const struct timeline_process *process = &tl->processes[p];
	const struct timeline_exec *exec =
		tl->count.execs > 0 ? &tl->execs[tl->count.execs - 1] : NULL;

	return frame->kind == SNAP_EVENT && process->born_ns >= frame->begin_ns &&
	       process->born_ns <= frame->end_ns && process->born_frame == tl->count.frames - 1 &&
	       (exec == NULL || exec->process != p);
}

/* The image in hand after those of its process that are there, or before them:
 * a long reading may have shown the next one already. */
static void link_image(struct timeline *tl, struct timeline_image *image, bool is_first)
{
	struct timeline_process *process = &tl->processes[image->process];
	uint32_t place = (uint32_t)(image - tl->images);

	if (process->last_image == TIMELINE_NONE) {
		process->first_image = process->last_image = place;
	} else if (is_first) {
		image->next = process->first_image;
		process->first_image = place;
		timeline_life_end(tl, &image->life, true);
	} else {
		timeline_life_end(tl, &tl->images[process->last_image].life, true);
		tl->images[process->last_image].next = place;
		process->last_image = place;
	}
}

static int take_process(struct timeline *tl, enum snap_op op, const struct snap_process *process)
{
	uint32_t p = timeline_need_process(tl, process->pid, process->start_ticks);
	struct timeline_image *image;
	uint32_t last;
	bool failed = false, is_same = false;

	if (p == TIMELINE_NONE)
		return -1;
	last = tl->processes[p].last_image;
	if (op == SNAP_GONE) {
		if (last != TIMELINE_NONE && timeline_life_open(&tl->images[last].life))
			timeline_life_end(tl, &tl->images[last].life, true);
		if (process->exit_known) {
			tl->processes[p].exit_known = true;
			tl->processes[p].exit_code = process->exit_code;
		}
		if (process->exit_ns != 0) {
			tl->processes[p].exit_ns = process->exit_ns;
			timeline_note_before(&tl->processes[p], process->exit_ns);
		}
		return 0;
	}
	if (last != TIMELINE_NONE) {
		is_same = same_image(&tl->images[last], process);
		if (!is_same && completes(&tl->images[last], process)) {
			is_same = true;
			failed = complete(tl, &tl->images[last], process) != 0;
		}
	}
	if (is_same && !failed) {
		timeline_life_confirm(tl, &tl->images[last].life, op);
		tl->images[last].ppid = process->ppid;
		return timeline_note_life(tl, op, TIMELINE_IMAGE, last);
	}
	if (failed ||
	    grow_one(&tl->images, tl->count.images, &tl->capacity.images, sizeof(*tl->images)) != 0)
		return -1;
	image = &tl->images[tl->count.images];
	*image = (struct timeline_image){
		.life = timeline_life_begin(tl, op),
		.process = p,
		.next = TIMELINE_NONE,
		.ppid = process->ppid,
		.uid = process->uid,
		.comm = timeline_keep_string(tl, process->comm, &failed),
		.exe = timeline_keep_string(tl, process->exe, &failed),
		.cmdline = timeline_keep(tl, process->cmdline, process->cmdline_length, &failed),
		.cmdline_length = process->cmdline_length,
		.cgroup = timeline_keep_string(tl, process->cgroup, &failed),
		.netns = process->netns,
	};
	link_image(tl, image, is_of_fork(tl, p));
	last = (uint32_t)tl->count.images++;
	if (failed)
		return -1;
	return timeline_note_life(tl, op, TIMELINE_IMAGE, last);
}

static uint64_t hash_holding(const struct timeline_holder *h)
{
	return hashindex_mix(timeline_hash_inode(h->inode) ^
			     hashindex_mix(((uint64_t)h->process << 32 | h->fd) + hashindex_seed) ^
			     hashindex_mix(h->tid ^ hashindex_seed));
}

static uint64_t hash_of_holding(const void *context, uint32_t i)
{
	return hash_holding(&((const struct timeline *)context)->holders[i]);
}

static uint32_t find_holding(const struct timeline *tl, const struct timeline_holder *wanted)
{
	uint64_t hash = hash_holding(wanted);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_holding, hash, &probe)) != HASHINDEX_NONE) {
		const struct timeline_holder *h = &tl->holders[i];

		walk_step();
		if (h->inode == wanted->inode && h->process == wanted->process &&
		    h->fd == wanted->fd && h->tid == wanted->tid)
			return i;
	}
	return TIMELINE_NONE;
}

static int take_holder(struct timeline *tl, enum snap_op op, const struct snap_holder *holder)
{
	uint32_t process = timeline_need_process(tl, holder->pid, holder->start_ticks);
	const struct timeline_holder wanted = {
		.inode = holder->inode, .process = process, .fd = holder->fd, .tid = holder->tid};
	uint32_t head = timeline_holders(tl, holder->inode), place;
	uint32_t i = find_holding(tl, &wanted); /* the latest */

	if (process == TIMELINE_NONE)
		return -1;
	if (op == SNAP_GONE) {
		if (i != TIMELINE_NONE && timeline_life_open(&tl->holders[i].life))
			timeline_life_end(tl, &tl->holders[i].life, true);
		return 0;
	}
	/* What it gave away and got back later is another holding. */
	if (i != TIMELINE_NONE && timeline_life_resumes(tl, &tl->holders[i].life, false)) {
		timeline_life_confirm(tl, &tl->holders[i].life, op);
		return timeline_note_life(tl, op, TIMELINE_HOLDER, i);
	}
	if (grow_one(&tl->holders, tl->count.holders, &tl->capacity.holders,
		     sizeof(*tl->holders)) != 0)
		return -1;
	place = (uint32_t)tl->count.holders++;
	tl->holders[place] = (struct timeline_holder){
		.life = timeline_life_begin(tl, op),
		.inode = holder->inode,
		.process = process,
		.fd = holder->fd,
		.tid = holder->tid,
		.next_inode = TIMELINE_NONE,
		.tail = place,
	};
	if (timeline_note_life(tl, op, TIMELINE_HOLDER, place) != 0)
		return -1;
	if (timeline_index_latest(tl, &tl->by_holding, i, place, hash_of_holding) != 0)
		return -1;
	if (head == TIMELINE_NONE)
		return hashindex_add(&tl->by_inode, timeline_hash_inode(holder->inode), place,
				     timeline_hash_of_inode, tl);
	tl->holders[tl->holders[head].tail].next_inode = place;
	tl->holders[head].tail = place;
	return 0;
}

static uint64_t hash_absence(const struct timeline_absence *a)
{
	uint64_t hash = hashindex_mix(a->netns ^ hashindex_mix(a->pid + hashindex_seed));

	if (a->what != NULL)
		hash ^= hashindex_keyed(a->what, strlen(a->what));
	if (a->subject != NULL)
		hash = hashindex_mix(hash + hashindex_keyed(a->subject, strlen(a->subject)));
	return hash;
}

static uint64_t hash_of_absence(const void *context, uint32_t i)
{
	return hash_absence(&((const struct timeline *)context)->absences[i]);
}

/* The latest of those like it that last, or the last one that did. */
static uint32_t find_absence(const struct timeline *tl, const struct timeline_absence *wanted)
{
	uint64_t hash = hash_absence(wanted);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_absence, hash, &probe)) != HASHINDEX_NONE) {
		const struct timeline_absence *have = &tl->absences[i];

		walk_step();
		if (have->pid == wanted->pid && have->netns == wanted->netns &&
		    timeline_same_text(have->what, wanted->what) &&
		    timeline_same_text(have->subject, wanted->subject))
			return i;
	}
	return TIMELINE_NONE;
}

static void end_absence(struct timeline *tl, uint32_t i)
{
	struct timeline_absence *have = &tl->absences[i];

	if (have->until != TIMELINE_NONE)
		return;
	have->until = (uint32_t)tl->count.frames - 1;
	if (have->before != TIMELINE_NONE)
		hashindex_move(&tl->by_absence, hash_absence(have), i, have->before);
}

static int take_absent(struct timeline *tl, enum snap_op op, const struct snap_absent *absent)
{
	const struct timeline_absence wanted = {.what = absent->what,
						.subject = absent->subject,
						.netns = absent->netns,
						.pid = absent->pid};
	uint32_t now = (uint32_t)tl->count.frames - 1, place = (uint32_t)tl->count.absences;
	uint32_t like = op == SNAP_ONCE ? TIMELINE_NONE : find_absence(tl, &wanted);
	bool failed = false;

	if (op == SNAP_GONE) {
		if (like != TIMELINE_NONE)
			end_absence(tl, like);
		return 0;
	}
	if (grow_one(&tl->absences, tl->count.absences, &tl->capacity.absences,
		     sizeof(*tl->absences)) != 0)
		return -1;
	tl->absences[tl->count.absences++] = (struct timeline_absence){
		.frame = now,
		.until = op == SNAP_ONCE ? now : TIMELINE_NONE,
		.what = timeline_keep_string(tl, absent->what, &failed),
		.subject = timeline_keep_string(tl, absent->subject, &failed),
		.reason = timeline_keep_string(tl, absent->reason, &failed),
		.netns = absent->netns,
		.pid = absent->pid,
		.before = like != TIMELINE_NONE && tl->absences[like].until == TIMELINE_NONE
				  ? like
				  : TIMELINE_NONE,
	};
	if (!failed && op != SNAP_ONCE &&
	    timeline_index_latest(tl, &tl->by_absence, like, place, hash_of_absence) != 0)
		return -1;
	if (absent->what != NULL && strcmp(absent->what, "descriptors") == 0)
		tl->unreadable++;
	if (failed)
		return -1;
	if (!timeline_same_text(absent->what, "event") || absent->subject == NULL)
		return 0;
	if (strcmp(absent->subject, "uses of streams") == 0)
		return timeline_take_untold(tl, true);
	/* A port that is still in the same hands is known by its not having closed. */
	if (strcmp(absent->subject, "uses of datagrams") == 0 ||
	    strcmp(absent->subject, "close events") == 0)
		return timeline_take_untold(tl, false);
	return 0;
}

static int take_step(struct timeline *tl, const struct snap_clock *clock)
{
	if (grow_one(&tl->steps, tl->count.steps, &tl->capacity.steps, sizeof(*tl->steps)) != 0)
		return -1;
	tl->steps[tl->count.steps++] = (struct timeline_step){
		.frame = (uint32_t)tl->count.frames - 1,
		.step_ns = clock->step_ns,
		.suspend_ns = clock->suspend_ns,
	};
	return 0;
}

static int take_meta(struct timeline *tl, const char *key, const char *value, size_t length)
{
	bool failed = false;
	uint64_t number;

	if (grow_one(&tl->metas, tl->count.metas, &tl->capacity.metas, sizeof(*tl->metas)) != 0)
		return -1;
	tl->metas[tl->count.metas++] = (struct timeline_meta){
		.key = timeline_keep_string(tl, key, &failed),
		.value = timeline_keep(tl, value, length, &failed),
		.value_length = length,
	};
	if (failed)
		return -1;
	if (value != NULL && strcmp(key, "clock_ticks") == 0 &&
	    quantity_parse_uint(value, 1000000, &number) == 0 && number > 0)
		tl->clock_ticks = (int64_t)number;
	if (value != NULL && strcmp(key, "watcher") == 0 &&
	    strstr(value, "sock_send_length") != NULL)
		tl->sends_untold = true;
	if (value != NULL && strcmp(key, "netns") == 0 &&
	    quantity_parse_uint(value, UINT64_MAX, &number) == 0)
		tl->capture_netns = number;
	return 0;
}

static int take_frame(struct timeline *tl, const struct snap_record *record)
{
	const struct snap_frame *frame = &record->u.frame;
	bool failed = false;

	if (grow_one(&tl->frames, tl->count.frames, &tl->capacity.frames, sizeof(*tl->frames)) != 0)
		return -1;
	tl->frames[tl->count.frames++] = (struct timeline_frame){
		.sequence = frame->sequence,
		.line = record->line,
		.kind = frame->kind,
		.restated = frame->kind == SNAP_KEY && strcmp(frame->cause, "restated") == 0,
		.cause = timeline_keep_string(tl, frame->cause, &failed),
		.begin_ns = frame->begin_ns,
		.end_ns = frame->end_ns,
		.monotonic_ns = frame->monotonic_ns,
		.boot_ns = frame->boot_ns,
	};
	return failed ? -1 : 0;
}

/* Whether the frame in hand says that the clock was set back since the last reading. */
static bool says_step_back(const struct timeline *tl)
{
	const struct timeline_step *last =
		tl->count.steps > 0 ? &tl->steps[tl->count.steps - 1] : NULL;

	return last != NULL && last->frame == tl->count.frames - 1 && last->step_ns < 0;
}

/* The clock was set back at some time between the two, and what lies in between came twice. */
static int note_doubtful(struct timeline *tl, const struct timeline_frame *before,
			 const struct timeline_frame *after)
{
	int64_t between_ns = after->monotonic_ns - before->monotonic_ns;

	if (between_ns < 0)
		between_ns = 0;
	if (grow_one(&tl->doubtful, tl->doubtful_count, &tl->doubtful_capacity,
		     sizeof(*tl->doubtful)) != 0)
		return -1;
	tl->doubtful[tl->doubtful_count++] =
		timeline_stretch_between(after->begin_ns - between_ns, before->end_ns + between_ns);
	return 0;
}

/* Readings follow each other; if one begins before the last one ended, or says so, the
 * clock was set back, and the times in between came twice: it may have been set back just before
 * this one, or just after the last. */
static int note_step_back(struct timeline *tl, const struct timeline_frame *frame)
{
	const struct timeline_frame *previous;

	if (tl->full_count == 0)
		return 0;
	previous = &tl->frames[tl->full[tl->full_count - 1]];
	if (frame->begin_ns >= previous->end_ns && !says_step_back(tl))
		return 0;
	return note_doubtful(tl, previous, frame);
}

/* A segment that begins after the clock was set back tells again what was before, with the times of
 * before. */
static int note_told_before(struct timeline *tl, const struct timeline_frame *event)
{
	const struct timeline_frame *full;

	if (tl->full_count == 0)
		return 0;
	full = &tl->frames[tl->full[tl->full_count - 1]];
	if (event->monotonic_ns >= full->monotonic_ns || event->begin_ns < full->begin_ns)
		return 0;
	return note_doubtful(tl, event, full);
}

static int take_end(struct timeline *tl)
{
	const struct timeline_frame *frame = &tl->frames[tl->count.frames - 1];

	if (frame->kind == SNAP_EVENT)
		return note_told_before(tl, frame);
	if (frame->kind == SNAP_KEY)
		timeline_end_unseen(tl);
	timeline_settle_sightings(tl);
	if (note_step_back(tl, frame) != 0)
		return -1;
	if (tl->full_count == 0)
		tl->first_full_ns = frame->begin_ns;
	tl->last_full_ns = frame->begin_ns;
	return timeline_note_full(tl);
}

static void take_capture(struct timeline *tl, const struct snap_capture *capture)
{
	if (!tl->has_capture)
		tl->capture_first = *capture;
	tl->capture_last = *capture;
	tl->has_capture = true;
}

int timeline_take(struct timeline *tl, const struct snap_record *record)
{
	switch (record->type) {
	case SNAP_TYPE_META:
		return take_meta(tl, record->u.meta.key, record->u.meta.value,
				 record->u.meta.value_length);
	case SNAP_TYPE_FRAME:
		return take_frame(tl, record);
	case SNAP_TYPE_END:
		return take_end(tl);
	case SNAP_TYPE_NETNS:
		if (record->u.netns.is_capture && tl->capture_netns == 0)
			tl->capture_netns = record->u.netns.netns;
		return 0;
	case SNAP_TYPE_INTERFACE:
		return timeline_take_interface(tl, record->op, &record->u.interface);
	case SNAP_TYPE_ADDRESS:
		return timeline_take_address(tl, record->op, &record->u.address);
	case SNAP_TYPE_SOCKET:
		return take_socket(tl, record->op, &record->u.socket);
	case SNAP_TYPE_PROCESS:
		return take_process(tl, record->op, &record->u.process);
	case SNAP_TYPE_HOLDER:
		return take_holder(tl, record->op, &record->u.holder);
	case SNAP_TYPE_CLOSED:
		return take_closed(tl, &record->u.closed);
	case SNAP_TYPE_CAPTURE:
		take_capture(tl, &record->u.capture);
		return 0;
	case SNAP_TYPE_CLOCK:
		return take_step(tl, &record->u.clock);
	case SNAP_TYPE_ABSENT:
		return take_absent(tl, record->op, &record->u.absent);
	case SNAP_TYPE_USE:
		return timeline_take_use(tl, &record->u.use);
	case SNAP_TYPE_BORN:
		return timeline_take_born(tl, &record->u.born);
	case SNAP_TYPE_EXEC:
		return timeline_take_exec(tl, &record->u.exec);
	case SNAP_TYPE_OTHER:
		return 0;
	}
	return 0;
}
