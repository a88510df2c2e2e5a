/* parties.c - processes, descriptors, acts, and ends that change hands. */
#include "tests/model/parties.h"

#include <netinet/in.h>

#include "analyze/decode.h"

/* ------------------------------------------------------------- builders -- */

struct endpoint party_endpoint(const char *address, uint16_t port)
{
	struct endpoint out = {.port = port};

	endpoint_parse(address, &out.address);
	return out;
}

uint32_t party_any_program(struct model_world *world)
{
	return (uint32_t)model_between(world, 0, 5);
}

int party_add_process(struct model_world *world, int parent, int64_t born, uint32_t program)
{
	struct model_process *p = MODEL_ADD(&world->processes);

	p->parent = parent;
	p->born = born;
	p->exit = MODEL_NEVER;
	p->stays = parent == MODEL_NOBODY;
	p->image[0].at = born;
	p->image[0].program = program;
	p->images = 1;
	return (int)world->processes.count - 1;
}

int party_fork(struct model_world *world, int parent, int64_t at)
{
	return party_add_process(world, parent, at,
				 model_program(&world->processes.items[parent], at));
}

void party_exec(struct model_world *world, int process, int64_t at)
{
	struct model_process *p = &world->processes.items[process];

	p->image[p->images].at = at;
	p->image[p->images++].program = party_any_program(world) + 10;
}

void party_end_process(struct model_world *world, int process, int64_t at)
{
	struct model_process *p = &world->processes.items[process];

	if (p->stays)
		return;
	if (p->exit == MODEL_NEVER || p->exit < at)
		p->exit = at;
}

int party_any_old(struct model_world *world)
{
	return (int)model_between(world, 0, PARTY_OLD_PROCESSES - 1);
}

void party_add_hold(struct model_world *world, int process, int socket, uint32_t fd, int64_t from,
		    int64_t until)
{
	struct model_hold *h = MODEL_ADD(&world->holds);

	*h = (struct model_hold){process, socket, fd, from, until};
}

int party_add_socket(struct model_world *world, enum snap_table table, const struct endpoint *bound,
		     int64_t open)
{
	struct model_socket *s = MODEL_ADD(&world->sockets);
	uint32_t count = (uint32_t)world->sockets.count;

	s->table = table;
	s->bound = *bound;
	s->open = s->named = open;
	s->connect = s->closed = s->gone = MODEL_NEVER;
	s->inode = 70000 + count * 7 % 1000 + 1000 * (count / 1000);
	s->cookie = count;
	return (int)count - 1;
}

void party_close_socket(struct model_world *world, int socket, int64_t closed, int64_t gone)
{
	world->sockets.items[socket].closed = closed;
	world->sockets.items[socket].gone = gone;
}

/* ----------------------------------------------------------------- acts -- */

struct model_act *party_add_act(struct model_world *world, int64_t at, int process, int socket,
				enum tracepoint_kind kind)
{
	struct model_act *act = MODEL_ADD(&world->acts);

	act->at = at;
	act->process = process;
	act->event.kind = kind;
	act->event.sk = (uint64_t)socket + 1;
	act->event.in_task = process != MODEL_NOBODY;
	return act;
}

void party_tell_state(struct model_world *world, int64_t at, int process, int socket, uint8_t from,
		      uint8_t to)
{
	const struct model_socket *s = &world->sockets.items[socket];
	struct model_act *act = party_add_act(world, at, process, socket, TRACEPOINT_STATE);

	act->event.u.socket.protocol = IPPROTO_TCP;
	act->event.u.socket.old_state = from;
	act->event.u.socket.new_state = to;
	act->event.u.socket.local = s->local;
	act->event.u.socket.remote = s->remote;
	act->event.u.socket.cookie = s->cookie;
}

static void tell_transfer(struct model_world *world, int64_t at, int process, int socket, bool sent,
			  uint32_t bytes)
{
	party_add_act(world, at, process, socket, sent ? TRACEPOINT_SEND : TRACEPOINT_RECEIVE)
		->event.u.length = bytes;
}

void party_tell_route(struct model_world *world, int64_t at, int process,
		      const struct endpoint *local, const struct endpoint *remote,
		      bool bound_to_any)
{
	struct model_act *act = party_add_act(world, at, process, -1, TRACEPOINT_ROUTE);

	act->event.u.socket.protocol = IPPROTO_UDP;
	act->event.u.socket.local = *local;
	if (bound_to_any)
		act->event.u.socket.local.address =
			party_endpoint(endpoint_is_ipv4(&local->address) ? "0.0.0.0" : "::", 0)
				.address;
	act->event.u.socket.remote = *remote;
}

/* -------------------------------------------------------------- parties -- */

int party_user_at(const struct party *party, int64_t at)
{
	int user = party->turns > 0 ? party->turn[0].process : MODEL_NOBODY;

	for (unsigned i = 1; i < party->turns && party->turn[i].from <= at; i++)
		user = party->turn[i].process;
	return user;
}

void party_take_turn(struct party *party, int process, int64_t from)
{
	if (party->turns == PARTY_TURNS)
		return;
	party->turn[party->turns].from = from;
	party->turn[party->turns++].process = process;
}

/* When what arrives is read. */
static int64_t read_at(struct model_world *world, const struct party *party, int64_t at)
{
	return (at > party->ready ? at : party->ready) + model_between(world, 2 * US, 20 * US);
}

struct model_packet *party_carry(struct model_world *world, int conversation, int64_t at,
				 struct party *from, struct party *to, uint8_t flags,
				 uint32_t payload_bytes)
{
	bool stream = conversation >= 0;
	int64_t read = payload_bytes > 0 || !stream ? read_at(world, to, at) : at;
	struct model_packet *p = MODEL_ADD(&world->packets);

	*p = (struct model_packet){
		.at = at,
		.from = from->at,
		.to = to->at,
		.protocol = stream ? IPPROTO_TCP : IPPROTO_UDP,
		.version = endpoint_is_ipv4(&from->at.address) ? 4 : 6,
		.flags = flags,
		.seq = from->seq,
		.ack = to->seq,
		.payload_bytes = payload_bytes,
		.end = {{from->is_local, from->socket, party_user_at(from, at), MODEL_NOBODY},
			{to->is_local, to->socket, party_user_at(to, read), party_user_at(to, at)}},
		.conversation = conversation,
	};
	from->seq += payload_bytes + ((flags & (DECODE_TCP_SYN | DECODE_TCP_FIN)) != 0);
	if (stream && payload_bytes > 0 && from->is_local)
		tell_transfer(world, at + model_between(world, US, 15 * US),
			      party_user_at(from, at), from->socket, true, payload_bytes);
	if (stream && payload_bytes > 0 && to->is_local)
		tell_transfer(world, read, party_user_at(to, read), to->socket, false,
			      payload_bytes);
	if (!stream && from->is_local && from->is_told_each)
		party_tell_route(world, at - model_between(world, US, 30 * US),
				 party_user_at(from, at), &from->at, &to->at, true);
	return p;
}

/* ---------------------------------------------------- what changes hands -- */

int64_t party_change_hands(struct model_world *world, struct party *party, int64_t at,
			   int64_t until, bool may_pass)
{
	int user = party_user_at(party, at), other;
	struct model_hold *h = NULL;

	if (!party->is_local || party->turns == PARTY_TURNS)
		return at;
	for (size_t i = 0; i < world->holds.count; i++) {
		if (world->holds.items[i].process == user &&
		    world->holds.items[i].socket == party->socket)
			h = &world->holds.items[i];
	}
	if (h == NULL || h->until != MODEL_NEVER)
		return at;
	switch (model_between(world, may_pass ? 0 : 1, 3)) {
	case 1: /* a child inherits it, and never uses it */
		other = party_fork(world, user, at);
		party_add_hold(world, other, party->socket, h->fd, at,
			       model_chance(world, 0.5)
				       ? MODEL_NEVER
				       : at + model_scaled(world, 100 * US, 2 * SEC));
		if (model_chance(world, 0.5))
			party_exec(world, other, at + model_scaled(world, 50 * US, 5 * MS));
		party_end_process(world, other, until + model_scaled(world, 10 * US, SEC));
		return at + 60 * US;
	case 2: /* a child uses it too, in turn */
		other = party_fork(world, user, at);
		party_add_hold(world, other, party->socket, h->fd, at, MODEL_NEVER);
		party_take_turn(party, other, at + 20 * US);
		if (model_chance(world, 0.5))
			party_take_turn(party, user, at + model_scaled(world, 100 * US, 2 * SEC));
		party_end_process(world, other, until + model_scaled(world, 10 * US, SEC));
		return at + 60 * US;
	case 0: /* passed to one that is there */
		other = party_any_old(world);
		if (other == user)
			return at;
		h->until = at + model_scaled(world, 5 * US, 500 * US);
		party_add_hold(world, other, party->socket, (uint32_t)model_between(world, 3, 90),
			       at + 2 * US, MODEL_NEVER);
		party_take_turn(party, other, at + 20 * US);
		return at + 60 * US;
	default: /* the child goes on, the parent closes */
		other = party_fork(world, user, at);
		h->until = at + model_scaled(world, 5 * US, 500 * US);
		party_add_hold(world, other, party->socket, h->fd, at, MODEL_NEVER);
		party_take_turn(party, other, at + 20 * US);
		party_end_process(world, other, until + model_scaled(world, 10 * US, SEC));
		return at + 60 * US;
	}
}

int64_t party_close_all(struct model_world *world, int socket, int64_t at)
{
	int64_t last = at;

	for (size_t i = 0; i < world->holds.count; i++) {
		struct model_hold *h = &world->holds.items[i];
		int64_t exit;

		if (h->socket != socket)
			continue;
		exit = world->processes.items[h->process].exit;
		if (h->until == MODEL_NEVER)
			h->until = exit < at ? exit : at;
		if (h->until > exit)
			h->until = exit;
		if (h->until > last)
			last = h->until;
	}
	return last;
}
