/*
 * excuses.c - what the analyzer cannot know: why another process may be named than the
 * one that the truth has. A wrong owner without an excuse fails the run.
 */
#include <netinet/in.h>

#include "tests/model/model.h"

bool model_was_seen(const struct model_world *world, const struct model_evidence *evidence,
		    int process, int socket)
{
	const struct model_process *p = &world->processes.items[process];
	const struct model_socket *s = &world->sockets.items[socket];

	for (size_t i = 0; i < evidence->readings.count; i++) {
		const struct model_reading *r = &evidence->readings.items[i];

		for (size_t h = 0; h < r->holders.count; h++) {
			if (r->holders.items[h].inode == s->inode &&
			    r->holders.items[h].pid == p->pid &&
			    r->holders.items[h].start_ticks == p->start_ticks)
				return true;
		}
	}
	for (size_t i = 0; i < evidence->found.count; i++) {
		if (evidence->found.items[i].holder.inode == s->inode &&
		    evidence->found.items[i].holder.pid == p->pid &&
		    evidence->found.items[i].holder.start_ticks == p->start_ticks)
			return true;
	}
	for (size_t i = 0; i < evidence->uses.count; i++) {
		const struct model_use *u = &evidence->uses.items[i];

		if (u->process == process && u->use.local.port == s->local.port &&
		    model_same_end(&u->use.remote, &s->remote) && s->connect != MODEL_NEVER)
			return true;
	}
	return false;
}

static bool socket_was_seen(const struct model_world *world, const struct model_evidence *evidence,
			    int socket)
{
	for (size_t i = 0; i < world->processes.count; i++) {
		if (model_was_seen(world, evidence, (int)i, socket))
			return true;
	}
	return false;
}

static bool is_handed_at_once(const struct model_world *world, int socket, int one, int other)
{
	for (size_t i = 0; i < world->holds.count; i++) {
		const struct model_hold *a = &world->holds.items[i];

		for (size_t k = 0; k < world->holds.count && a->socket == socket; k++) {
			const struct model_hold *b = &world->holds.items[k];

			if (b->socket == socket && a->process == one && b->process == other &&
			    a->from - b->from <= MODEL_TICK_NS &&
			    b->from - a->from <= MODEL_TICK_NS)
				return true;
		}
	}
	return false;
}

/* Whether a reading had process, or MODEL_NOBODY: anybody, with socket in [from, until]. */
static bool was_read(const struct model_world *world, const struct model_evidence *evidence,
		     int process, int socket, int64_t from, int64_t until)
{
	for (size_t i = 0; i < evidence->readings.count; i++) {
		const struct model_reading *r = &evidence->readings.items[i];

		for (size_t h = 0; r->from >= from && r->from <= until && h < r->holders.count;
		     h++) {
			if (r->holders.items[h].inode == world->sockets.items[socket].inode &&
			    (process == MODEL_NOBODY ||
			     model_process_of(world, r->holders.items[h].pid,
					      r->holders.items[h].start_ticks) == process))
				return true;
		}
	}
	return false;
}

/* A row was missing in the very reading that would have been the first, or the last, to show it
 * in these hands: to every reader it looks as if it had not been there. */
static bool is_missed(const struct model_world *world, const struct model_evidence *evidence,
		      int64_t then, int socket, int owner)
{
	for (size_t i = 0; i < evidence->missed.count; i++) {
		int64_t at = evidence->missed.items[i].at;

		if (evidence->missed.items[i].socket == socket &&
		    (at >= then ? !was_read(world, evidence, owner, socket, 0, at)
				: !was_read(world, evidence, owner, socket, at, MODEL_NEVER)))
			return true;
	}
	return false;
}

static bool listens(const struct model_socket *s, uint16_t port)
{
	return s->is_listener && (s->table == SNAP_TCP || s->table == SNAP_TCP6) &&
	       s->bound.port == port;
}

/* The same of the socket that listened when a connection was accepted: process, which has, or had,
 * the next best of the port, seems to have accepted it. */
static bool is_listener_missed(const struct model_world *world,
			       const struct model_evidence *evidence,
			       const struct model_socket *accepted, int process)
{
	bool is_missing = false, has_other = false;

	for (size_t i = 0; i < world->sockets.count; i++) {
		const struct model_socket *s = &world->sockets.items[i];

		if (!listens(s, accepted->local.port))
			continue;
		has_other = has_other || model_ever_held(world, process, (int)i);
		is_missing = is_missing ||
			     (s->open <= accepted->open && s->closed > accepted->open &&
			      is_missed(world, evidence, accepted->open, (int)i, MODEL_NOBODY));
	}
	return is_missing && has_other;
}

/* Its parent, itself an heir, has not looked for the way: what it forks after a rotation
 * the recorder does not tell. */
static bool is_heir_of_heir(const struct model_world *world, const struct model_evidence *evidence,
			    int owner, int named, const struct endpoint *remote)
{
	for (size_t i = 0; i < evidence->uses.count; i++) {
		if (evidence->uses.items[i].process == named &&
		    model_same_end(&evidence->uses.items[i].use.remote, remote))
			return false;
	}
	return world->processes.items[owner].parent == named && evidence->rotations.count > 1;
}

/* The socket of the port that process had was closed by then, and the recorder heard of it
 * only afterwards. */
static bool is_close_late(const struct model_world *world, const struct model_evidence *evidence,
			  const struct model_packet *packet, uint16_t port, int process)
{
	int64_t t_ns = model_real(world, packet->at);

	for (size_t i = 0; i < evidence->closes.count; i++) {
		const struct snap_closed *closed = &evidence->closes.items[i];
		int socket = (int)closed->cookie - 1;

		if (closed->local.port == port && closed->closed_ns > t_ns &&
		    world->sockets.items[socket].closed <= packet->at &&
		    model_ever_held(world, process, socket))
			return true;
	}
	return false;
}

const char *model_excuse(const struct model_world *world, const struct model_evidence *evidence,
			 const struct model_packet *packet, int side, int process)
{
	const struct model_end *e = &packet->end[side];
	const struct model_socket *s;
	bool is_followed;

	if (e->socket == MODEL_NOBODY)
		return NULL;
	s = &world->sockets.items[e->socket];
	/* The kernel tells of what was opened while the recorder ran, and listened. */
	is_followed = world->mode == MODEL_TOLD && s->open >= 0;
	for (size_t i = 0; i < evidence->blind.count; i++)
		is_followed = is_followed &&
			      (evidence->blind.items[i].until_ns < model_real(world, s->open) ||
			       evidence->blind.items[i].from_ns > model_real(world, packet->at));
	if (world->mode == MODEL_TOLD && packet->protocol == IPPROTO_UDP &&
	    is_heir_of_heir(world, evidence, e->owner, process,
			    side == 0 ? &packet->to : &packet->from))
		return "inherited from an heir, after a rotation";
	if (packet->protocol == IPPROTO_UDP && side == 1 &&
	    is_close_late(world, evidence, packet, packet->to.port, process))
		return "the close of the socket before was heard of late";
	if (is_followed && (packet->protocol == IPPROTO_TCP || side == 0))
		return NULL;
	if (is_missed(world, evidence, packet->at, e->socket, e->owner) ||
	    (packet->protocol == IPPROTO_TCP && is_listener_missed(world, evidence, s, process)))
		return "the first or last row of its socket was missed";
	for (size_t i = 0; i < world->jumps.count; i++) {
		if (world->jumps.items[i].step != 0 && world->jumps.items[i].at > packet->at &&
		    world->jumps.items[i].at < packet->at + 2 * SEC &&
		    model_ever_held(world, process, e->socket))
			return "the clock was set before its holders were read";
	}
	if (model_holds(world, process, e->socket, packet->at))
		return "another one had it too, and used it";
	if (model_ever_held(world, process, e->socket) &&
	    !model_was_seen(world, evidence, e->owner, e->socket))
		return "it went from hand to hand, and only the other was seen with it";
	if (model_ever_held(world, process, e->socket) &&
	    packet->at >= world->processes.items[process].born - MODEL_TICK_NS &&
	    packet->at <= world->processes.items[process].born + MODEL_TICK_NS)
		return "it was inherited within a clock tick";
	if (is_handed_at_once(world, e->socket, process, e->owner))
		return "it went from hand to hand within a clock tick";
	if (packet->protocol == IPPROTO_UDP && !socket_was_seen(world, evidence, e->socket) &&
	    world->processes.items[process].born <= packet->at)
		return "nothing shows the socket, and who is named was there";
	return NULL;
}
