/* world_net.c - who talks to whom: servers, clients, and descriptors that change hands. */
#include <netinet/in.h>
#include <stdlib.h>

#include "analyze/decode.h"
#include "tests/model/model.h"

#define HOST_V4 "10.0.0.1"
#define PEER_V4 "10.0.0.2"
#define HOST_V6 "fd00::1"
#define PEER_V6 "fd00::2"

enum { OLD_PROCESSES = 5, TURNS = 8 };

/* One end of a conversation, and who uses it when. */
struct party {
	bool is_local;
	struct endpoint at;
	int socket;
	struct {
		int64_t from;
		int process;
	} turn[TURNS];
	unsigned turns;
	int64_t ready; /* nobody reads before */
	uint32_t seq;
	bool is_told_each; /* datagrams: it looks for its way each time */
};

/* What listens, or takes datagrams, on a port. */
struct service {
	bool is_stream, is_v6, is_wildcard, is_loopback;
	enum service_kind {
		SINGLE,
		PREFORK,
		REUSEPORT,
		FORKING,
		INETD,
		PASSING,
		SERVICE_KINDS
	} kind;
	uint16_t port;
	int64_t open, close;
	int process[3], socket[3];
	int workers;
};

/* ------------------------------------------------------------- builders -- */

static struct endpoint endpoint_of(const char *address, uint16_t port)
{
	struct endpoint out = {.port = port};

	endpoint_parse(address, &out.address);
	return out;
}

static uint32_t any_program(struct model_world *world)
{
	return (uint32_t)model_between(world, 0, 5);
}

static int add_process(struct model_world *world, int parent, int64_t born, uint32_t program)
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

static int fork_process(struct model_world *world, int parent, int64_t at)
{
	return add_process(world, parent, at, model_program(&world->processes.items[parent], at));
}

static void exec_process(struct model_world *world, int process, int64_t at)
{
	struct model_process *p = &world->processes.items[process];

	p->image[p->images].at = at;
	p->image[p->images++].program = any_program(world) + 10;
}

/* All that it had open is closed then. */
static void end_process(struct model_world *world, int process, int64_t at)
{
	struct model_process *p = &world->processes.items[process];

	if (p->stays)
		return;
	if (p->exit == MODEL_NEVER || p->exit < at)
		p->exit = at;
}

static int any_old(struct model_world *world)
{
	return (int)model_between(world, 0, OLD_PROCESSES - 1);
}

static void add_hold(struct model_world *world, int process, int socket, uint32_t fd, int64_t from,
		     int64_t until)
{
	struct model_hold *h = MODEL_ADD(&world->holds);

	*h = (struct model_hold){process, socket, fd, from, until};
}

static int add_socket(struct model_world *world, enum snap_table table,
		      const struct endpoint *bound, int64_t open)
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

static void close_socket(struct model_world *world, int socket, int64_t closed, int64_t gone)
{
	world->sockets.items[socket].closed = closed;
	world->sockets.items[socket].gone = gone;
}

/* ----------------------------------------------------------------- acts -- */

static struct model_act *add_act(struct model_world *world, int64_t at, int process, int socket,
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

static void tell_state(struct model_world *world, int64_t at, int process, int socket, uint8_t from,
		       uint8_t to)
{
	const struct model_socket *s = &world->sockets.items[socket];
	struct model_act *act = add_act(world, at, process, socket, TRACEPOINT_STATE);

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
	add_act(world, at, process, socket, sent ? TRACEPOINT_SEND : TRACEPOINT_RECEIVE)
		->event.u.length = bytes;
}

static void tell_route(struct model_world *world, int64_t at, int process,
		       const struct endpoint *local, const struct endpoint *remote,
		       bool bound_to_any)
{
	struct model_act *act = add_act(world, at, process, -1, TRACEPOINT_ROUTE);

	act->event.u.socket.protocol = IPPROTO_UDP;
	act->event.u.socket.local = *local;
	if (bound_to_any)
		act->event.u.socket.local.address =
			endpoint_of(endpoint_is_ipv4(&local->address) ? "0.0.0.0" : "::", 0)
				.address;
	act->event.u.socket.remote = *remote;
}

/* -------------------------------------------------------------- parties -- */

static int user_at(const struct party *party, int64_t at)
{
	int user = party->turns > 0 ? party->turn[0].process : MODEL_NOBODY;

	for (unsigned i = 1; i < party->turns && party->turn[i].from <= at; i++)
		user = party->turn[i].process;
	return user;
}

static void take_turn(struct party *party, int process, int64_t from)
{
	if (party->turns == TURNS)
		return;
	party->turn[party->turns].from = from;
	party->turn[party->turns++].process = process;
}

/* When what arrives is read. */
static int64_t read_at(struct model_world *world, const struct party *party, int64_t at)
{
	return (at > party->ready ? at : party->ready) + model_between(world, 2 * US, 20 * US);
}

static struct model_packet *carry(struct model_world *world, int conversation, int64_t at,
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
		.end = {{from->is_local, from->socket, user_at(from, at), MODEL_NOBODY},
			{to->is_local, to->socket, user_at(to, read), user_at(to, at)}},
		.conversation = conversation,
	};
	from->seq += payload_bytes + ((flags & (DECODE_TCP_SYN | DECODE_TCP_FIN)) != 0);
	if (stream && payload_bytes > 0 && from->is_local)
		tell_transfer(world, at + model_between(world, US, 15 * US), user_at(from, at),
			      from->socket, true, payload_bytes);
	if (stream && payload_bytes > 0 && to->is_local)
		tell_transfer(world, read, user_at(to, read), to->socket, false, payload_bytes);
	if (!stream && from->is_local && from->is_told_each)
		tell_route(world, at - model_between(world, US, 30 * US), user_at(from, at),
			   &from->at, &to->at, true);
	return p;
}

/* ---------------------------------------------------- what changes hands -- */

/* One of the ways in which an end goes from hand to hand, at a moment; when it is done. */
static int64_t change_hands(struct model_world *world, struct party *party, int64_t at,
			    int64_t until, bool may_pass)
{
	int user = user_at(party, at), other;
	struct model_hold *h = NULL;

	if (!party->is_local || party->turns == TURNS)
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
		other = fork_process(world, user, at);
		add_hold(world, other, party->socket, h->fd, at,
			 model_chance(world, 0.5) ? MODEL_NEVER
						  : at + model_scaled(world, 100 * US, 2 * SEC));
		if (model_chance(world, 0.5))
			exec_process(world, other, at + model_scaled(world, 50 * US, 5 * MS));
		end_process(world, other, until + model_scaled(world, 10 * US, SEC));
		return at + 60 * US;
	case 2: /* a child uses it too, in turn */
		other = fork_process(world, user, at);
		add_hold(world, other, party->socket, h->fd, at, MODEL_NEVER);
		take_turn(party, other, at + 20 * US);
		if (model_chance(world, 0.5))
			take_turn(party, user, at + model_scaled(world, 100 * US, 2 * SEC));
		end_process(world, other, until + model_scaled(world, 10 * US, SEC));
		return at + 60 * US;
	case 0: /* passed to one that is there */
		other = any_old(world);
		if (other == user)
			return at;
		h->until = at + model_scaled(world, 5 * US, 500 * US);
		add_hold(world, other, party->socket, (uint32_t)model_between(world, 3, 90),
			 at + 2 * US, MODEL_NEVER);
		take_turn(party, other, at + 20 * US);
		return at + 60 * US;
	default: /* the child goes on, the parent closes */
		other = fork_process(world, user, at);
		h->until = at + model_scaled(world, 5 * US, 500 * US);
		add_hold(world, other, party->socket, h->fd, at, MODEL_NEVER);
		take_turn(party, other, at + 20 * US);
		end_process(world, other, until + model_scaled(world, 10 * US, SEC));
		return at + 60 * US;
	}
}

/* The last one closes it; what is not closed by then is. */
static int64_t close_all(struct model_world *world, int socket, int64_t at)
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

/* -------------------------------------------------------------- services -- */

static const char *service_address(const struct service *v)
{
	if (v->is_wildcard)
		return v->is_v6 ? "::" : "0.0.0.0";
	return v->is_v6 ? HOST_V6 : HOST_V4;
}

static void open_service(struct model_world *world, struct service *v)
{
	struct endpoint bound = endpoint_of(service_address(v), v->port);
	enum snap_table table = v->is_stream ? (v->is_v6 ? SNAP_TCP6 : SNAP_TCP)
					     : (v->is_v6 ? SNAP_UDP6 : SNAP_UDP);
	int master = model_chance(world, 0.5) || v->open < 0
			     ? any_old(world)
			     : add_process(world, 0, v->open - model_scaled(world, MS, 3 * SEC),
					   any_program(world));
	int64_t until = v->close;

	if (until == MODEL_NEVER)
		world->processes.items[master].stays = true;
	v->workers =
		v->kind == PREFORK || v->kind == REUSEPORT ? (int)model_between(world, 2, 3) : 1;
	for (int i = 0; i < v->workers; i++) {
		v->process[i] = v->workers == 1
					? master
					: fork_process(world, master, v->open + (i + 1) * 100 * US);
		if (i == 0 || v->kind == REUSEPORT) {
			v->socket[i] = add_socket(world, table, &bound, v->open + i * 150 * US);
			world->sockets.items[v->socket[i]].is_listener = true;
			close_socket(world, v->socket[i], until, until);
		} else {
			v->socket[i] = v->socket[0];
		}
		add_hold(world, v->process[i], v->socket[i], 3,
			 v->workers == 1 ? v->open : v->open + (i + 1) * 100 * US, until);
		if (until != MODEL_NEVER)
			end_process(world, v->process[i], until + model_scaled(world, MS, SEC));
		else
			world->processes.items[v->process[i]].stays = true;
	}
	if (v->kind == PREFORK)
		add_hold(world, master, v->socket[0], 3, v->open, until);
	if (until != MODEL_NEVER)
		end_process(world, master, until + model_scaled(world, MS, SEC));
}

static bool is_open(const struct service *v, int64_t at)
{
	return v->open + MS <= at && at < v->close - MS;
}

/* --------------------------------------------------------------- streams -- */

/* The moment from which on the connection is used, and by whom. */
static void accept_it(struct model_world *world, const struct service *v, struct party *party,
		      int64_t established, int64_t until)
{
	int which = (int)model_between(world, 0, v->workers - 1);
	int acceptor = v->process[which], user = acceptor;
	int64_t at = established + model_scaled(world, 10 * US, 100 * MS);
	uint32_t fd = (uint32_t)model_between(world, 4, 90);
	struct model_socket *s = &world->sockets.items[party->socket];

	s->named = at;
	party->ready = at + 10 * US;
	if (v->kind == FORKING || v->kind == INETD) {
		int64_t forked = at + model_scaled(world, 5 * US, 200 * US);

		user = fork_process(world, acceptor, forked);
		add_hold(world, acceptor, party->socket, fd, at,
			 forked + model_scaled(world, 5 * US, 300 * US));
		add_hold(world, user, party->socket, fd, forked, MODEL_NEVER);
		party->ready = forked + 20 * US;
		if (v->kind == INETD) {
			add_hold(world, user, party->socket, 0, forked + 20 * US, MODEL_NEVER);
			add_hold(world, user, party->socket, 1, forked + 21 * US, MODEL_NEVER);
			exec_process(world, user, forked + 200 * US);
			party->ready = forked + 400 * US;
		}
		end_process(world, user, until + model_scaled(world, 10 * US, 100 * MS));
	} else if (v->kind == PASSING) {
		int64_t passed = at + model_scaled(world, 20 * US, MS);

		user = (acceptor + 1) % OLD_PROCESSES;
		add_hold(world, acceptor, party->socket, fd, at,
			 passed + model_scaled(world, 5 * US, 300 * US));
		add_hold(world, user, party->socket, fd, passed, MODEL_NEVER);
		party->ready = passed + 20 * US;
	} else {
		add_hold(world, acceptor, party->socket, fd, at, MODEL_NEVER);
	}
	take_turn(party, user, party->ready);
}

static void add_connected(struct model_world *world, struct party *party,
			  const struct endpoint *remote, bool in_v6_table, int64_t at)
{
	struct model_socket *s;

	party->socket = add_socket(world, in_v6_table ? SNAP_TCP6 : SNAP_TCP, &party->at, at);
	s = &world->sockets.items[party->socket];
	s->local = party->at;
	s->remote = *remote;
	s->connect = at;
}

static int64_t shake_hands(struct model_world *world, int conversation, struct party *client,
			   struct party *server, int64_t at, int64_t way)
{
	bool near = client->is_local;
	int64_t answered = at + (near && !server->is_local ? 2 * way : 10 * US);
	int64_t done = answered + (near ? 5 * US : 2 * way);

	client->seq = (uint32_t)model_random(world);
	server->seq = (uint32_t)model_random(world);
	carry(world, conversation, at, client, server, DECODE_TCP_SYN, 0)->ack = 0;
	carry(world, conversation, answered, server, client, DECODE_TCP_SYN | DECODE_TCP_ACK, 0);
	carry(world, conversation, done, client, server, DECODE_TCP_ACK, 0);
	return done + 2 * US;
}

/* Returns when it is over. */
static int64_t exchange(struct model_world *world, int conversation, struct party *client,
			struct party *server, int64_t at, int64_t until, int64_t way)
{
	int exchanges = (int)model_between(world, 0, 6);
	bool moves = model_chance(world, 0.3);

	for (int i = 0; i < exchanges && at < until; i++) {
		struct party *from = model_chance(world, 0.6) ? client : server;
		struct party *to = from == client ? server : client;

		/* Nobody sends, or hands on, what he has not yet. */
		if (at < from->ready)
			at = from->ready + 5 * US;
		if (moves && model_chance(world, 0.4)) {
			struct party *party = model_chance(world, 0.5) ? client : server;

			if (at < party->ready)
				at = party->ready + 5 * US;
			at = change_hands(world, party, at, until, true);
		}
		carry(world, conversation, at, from, to, DECODE_TCP_ACK | DECODE_TCP_PSH,
		      (uint32_t)model_between(world, 1, 400));
		if (model_chance(world, 0.5))
			carry(world, conversation,
			      at + (to->is_local ? 25 * US : 2 * way + 25 * US), to, from,
			      DECODE_TCP_ACK, 0);
		at += 2 * way + model_scaled(world, 60 * US,
					     until > at ? (until - at) / 2 + 100 * US : 100 * US);
	}
	if (at < server->ready + 100 * US)
		at = server->ready + 100 * US;
	return at;
}

static void forget(struct model_world *world, const struct party *party, int64_t closed,
		   int64_t gone, bool first)
{
	if (!party->is_local)
		return;
	close_socket(world, party->socket, closed, gone);
	tell_state(world, closed + US, user_at(party, closed), party->socket,
		   first ? SNAP_ESTABLISHED : SNAP_CLOSE_WAIT,
		   first ? SNAP_FIN_WAIT1 : SNAP_LAST_ACK);
	add_act(world, closed + model_between(world, 40 * US, 2 * MS), MODEL_NOBODY, party->socket,
		TRACEPOINT_DESTROY);
}

static void end_stream(struct model_world *world, int conversation, struct party *first,
		       struct party *second, int64_t at)
{
	const struct party *parties[2] = {first, second};
	int64_t closed, answered;

	for (int i = 0; i < 2; i++) {
		for (unsigned k = 0; k < parties[i]->turns; k++)
			end_process(world, parties[i]->turn[k].process,
				    at + model_scaled(world, 20 * US, 100 * MS));
	}
	closed = first->is_local ? close_all(world, first->socket, at) : at;
	if (model_chance(world, 0.15)) {
		carry(world, conversation, closed + 3 * US, first, second, DECODE_TCP_RST, 0);
		forget(world, first, closed, closed + 4 * US, true);
		if (second->is_local)
			close_all(world, second->socket, closed + 10 * US);
		forget(world, second, closed + 10 * US, closed + 10 * US, false);
		return;
	}
	carry(world, conversation, closed + 3 * US, first, second, DECODE_TCP_FIN | DECODE_TCP_ACK,
	      0);
	answered = closed + model_scaled(world, 30 * US, 200 * MS);
	carry(world, conversation, closed + 15 * US, second, first, DECODE_TCP_ACK, 0);
	if (second->is_local)
		answered = close_all(world, second->socket, answered);
	carry(world, conversation, answered + 3 * US, second, first,
	      DECODE_TCP_FIN | DECODE_TCP_ACK, 0);
	carry(world, conversation, answered + 10 * US, first, second, DECODE_TCP_ACK, 0);
	forget(world, first, closed, answered + model_scaled(world, 100 * MS, 2 * SEC), true);
	forget(world, second, answered, answered + 12 * US, false);
}

/* Whether two ends have been apart for a while. */
static bool is_free(const struct model_world *world, const struct endpoint *local,
		    const struct endpoint *remote, int64_t at)
{
	for (size_t i = 0; i < world->sockets.count; i++) {
		const struct model_socket *s = &world->sockets.items[i];

		if (s->gone > at - MS && s->connect != MODEL_NEVER &&
		    s->local.port == local->port && s->remote.port == remote->port &&
		    endpoint_equal(&s->local.address, &local->address) &&
		    endpoint_equal(&s->remote.address, &remote->address))
			return false;
	}
	return true;
}

static int make_client(struct model_world *world, int64_t at, int64_t until)
{
	int user = any_old(world);

	if (model_chance(world, 0.4))
		return user;
	user = fork_process(world, user, at - model_scaled(world, 100 * US, 500 * MS));
	if (model_chance(world, 0.5))
		exec_process(world, user, world->processes.items[user].born + 50 * US);
	end_process(world, user, until + model_scaled(world, 10 * US, 500 * MS));
	return user;
}

/* The addresses of a conversation: with a service of ours (v) or a peer's. */
static void choose_ends(struct model_world *world, const struct service *v, struct party *client,
			struct party *server, uint16_t peer_port, int64_t at)
{
	enum { FIRST_PORT = 40000, PORTS = 5 };
	bool v6 = v == NULL  ? model_chance(world, 0.4)
		  : v->is_v6 ? !v->is_wildcard || model_chance(world, 0.5)
			     : false;
	const char *host = v6 ? HOST_V6 : HOST_V4, *peer = v6 ? PEER_V6 : PEER_V4;
	uint16_t port = (uint16_t)(FIRST_PORT + model_between(world, 0, PORTS - 1));

	if (client->is_local && server->is_local && v->is_wildcard && model_chance(world, 0.5))
		host = v6 ? "::1" : "127.0.0.1";
	client->at = endpoint_of(client->is_local ? host : peer, port);
	server->at = endpoint_of(server->is_local ? host : peer, v != NULL ? v->port : peer_port);
	while (!is_free(world, &client->at, &server->at, at - SEC / 1000) ||
	       !is_free(world, &server->at, &client->at, at - SEC / 1000))
		client->at.port++;
}

static void make_stream(struct model_world *world, const struct service *v, int64_t at,
			bool from_here, int64_t life)
{
	struct party client = {.is_local = from_here, .socket = MODEL_NOBODY};
	struct party server = {.is_local = v != NULL, .socket = MODEL_NOBODY};
	int conversation = world->conversations++;
	int64_t way, done, connects = at - model_between(world, 5 * US, 40 * US);
	bool is_second;

	choose_ends(world, v, &client, &server, 443, at);
	way = from_here && v != NULL ? 5 * US : model_scaled(world, 50 * US, 10 * MS);
	if (from_here) {
		int user = make_client(world, connects, at + life);
		bool mapped = !endpoint_is_ipv4(&client.at.address) || model_chance(world, 0.2);

		add_connected(world, &client, &server.at, mapped, connects);
		add_hold(world, user, client.socket, (uint32_t)model_between(world, 3, 90),
			 connects, MODEL_NEVER);
		take_turn(&client, user, connects);
		tell_state(world, connects, user, client.socket, SNAP_CLOSE, SNAP_SYN_SENT);
	}
	if (v != NULL) {
		add_connected(world, &server, &client.at, v->is_v6, at + 5 * US);
		/* Never before it is accepted. */
		world->sockets.items[server.socket].named = MODEL_NEVER;
	}
	done = shake_hands(world, conversation, &client, &server, at, way);
	if (from_here)
		tell_state(world, done - 6 * US, MODEL_NOBODY, client.socket, SNAP_SYN_SENT,
			   SNAP_ESTABLISHED);
	if (v != NULL) {
		tell_state(world, done, MODEL_NOBODY, server.socket, SNAP_SYN_RECV,
			   SNAP_ESTABLISHED);
		accept_it(world, v, &server, done, at + life);
		/* Those of the handshake are his, too. */
		for (size_t i = world->packets.count - 3; i < world->packets.count; i++)
			world->packets.items[i].end[i != world->packets.count - 2].owner =
				server.turn[0].process;
	}
	done = exchange(world, conversation, &client, &server,
			done + model_scaled(world, 10 * US, 50 * MS), at + life, way);
	if (done < at + life && model_chance(world, 0.5))
		done = at + life;
	is_second = model_chance(world, 0.5);
	end_stream(world, conversation, is_second ? &server : &client,
		   is_second ? &client : &server, done);
}

/* ------------------------------------------------------------- datagrams -- */

static void open_client(struct model_world *world, struct party *client,
			const struct endpoint *remote, int64_t at, int64_t until)
{
	bool v6 = !endpoint_is_ipv4(&client->at.address);
	struct endpoint bound = endpoint_of(v6 ? "::" : "0.0.0.0", client->at.port);
	int user = make_client(world, at - 50 * US, until);
	int64_t open = at - 40 * US;
	struct model_socket *s;

	if (model_chance(world, 0.3))
		bound = client->at;
	client->is_told_each = model_chance(world, 0.5);
	client->socket = add_socket(world, v6 ? SNAP_UDP6 : SNAP_UDP, &bound, open);
	s = &world->sockets.items[client->socket];
	if (!client->is_told_each) {
		s->connect = open;
		s->local = client->at;
		s->remote = *remote;
		tell_route(world, open, user, &client->at, remote, true);
	}
	add_hold(world, user, client->socket, (uint32_t)model_between(world, 3, 90), open,
		 MODEL_NEVER);
	take_turn(client, user, open);
}

static bool is_bound(const struct model_world *world, uint16_t port, int64_t at)
{
	for (size_t i = 0; i < world->sockets.count; i++) {
		const struct model_socket *s = &world->sockets.items[i];

		if (s->bound.port == port && s->gone > at &&
		    (s->table == SNAP_UDP || s->table == SNAP_UDP6))
			return true;
	}
	return false;
}

static void make_datagrams(struct model_world *world, const struct service *v, int64_t at,
			   bool from_here, int64_t life)
{
	struct party client = {.is_local = from_here, .socket = MODEL_NOBODY};
	struct party server = {.is_local = v != NULL, .socket = MODEL_NOBODY, .is_told_each = true};
	int exchanges = (int)model_between(world, 1, 5), which = 0;
	int64_t way, until = at + life;

	choose_ends(world, v, &client, &server, 53, at);
	while (from_here && is_bound(world, client.at.port, at - MS))
		client.at.port++;
	way = from_here && v != NULL ? 5 * US : model_scaled(world, 50 * US, 10 * MS);
	if (from_here)
		open_client(world, &client, &server.at, at, until);
	if (v != NULL) {
		/* By a hash of the tuple, as the kernel does for a group. */
		which = (client.at.port + client.at.address.bytes[15]) % v->workers;
		server.socket = v->socket[which];
		server.turns = 1;
		if (v->close != MODEL_NEVER && until > v->close - 2 * MS)
			until = v->close - 2 * MS;
	}
	for (int i = 0; i < exchanges && (at < until || i == 0); i++) {
		if (v != NULL)
			server.turn[0].process =
				v->process[v->kind == PREFORK
						   ? model_between(world, 0, v->workers - 1)
						   : which];
		if (i > 0 && from_here && model_chance(world, 0.15))
			at = change_hands(world, &client, at, until, false);
		carry(world, -1, at, &client, &server, 0, (uint32_t)model_between(world, 1, 300));
		if (model_chance(world, 0.7))
			carry(world, -1, at + 2 * way + 60 * US, &server, &client, 0,
			      (uint32_t)model_between(world, 1, 300));
		at += 2 * way + 100 * US +
		      model_scaled(world, 60 * US,
				   until > at ? (until - at) / 2 + 100 * US : 100 * US);
	}
	if (!from_here)
		return;
	at = at > until || model_chance(world, 0.5) ? at : until;
	for (unsigned k = 0; k < client.turns; k++)
		end_process(world, client.turn[k].process, at + model_scaled(world, 20 * US, MS));
	at = close_all(world, client.socket, at);
	close_socket(world, client.socket, at, at);
}

/* ---------------------------------------------------------- other packets -- */

/* What no process of ours has a hand in. */
static void make_others(struct model_world *world, int64_t at)
{
	struct party here = {.is_local = true, .socket = MODEL_NOBODY};
	struct party there = {.socket = MODEL_NOBODY};

	there.at = endpoint_of(PEER_V4, (uint16_t)(45000 + model_between(world, 0, 9999)));
	switch (model_between(world, 0, 4)) {
	case 0: /* nobody listens */
		here.at = endpoint_of(HOST_V4, 81);
		carry(world, world->conversations, at, &there, &here, DECODE_TCP_SYN, 0);
		carry(world, world->conversations++, at + 10 * US, &here, &there,
		      DECODE_TCP_RST | DECODE_TCP_ACK, 0);
		return;
	case 1:
		here.at = endpoint_of(HOST_V4, 82);
		carry(world, -1, at, &there, &here, 0, 20);
		return;
	case 2: /* passes through */
		here.is_local = false;
		here.at = endpoint_of("192.0.2.7", 82);
		carry(world, -1, at, &there, &here, 0, 20);
		return;
	case 3:
		here.is_local = false;
		here.at = endpoint_of("224.0.0.251", 5353);
		carry(world, -1, at, &there, &here, 0, 20);
		return;
	default:
		carry(world, -1, at, &there, &here, 0, 0)->protocol = 0; /* ARP */
	}
}

/* ------------------------------------------------------------------- all -- */

static void choose_service(struct model_world *world, struct service *v, bool is_stream,
			   uint16_t port)
{
	*v = (struct service){
		.is_stream = is_stream,
		.is_v6 = model_chance(world, 0.5),
		.is_wildcard = model_chance(world, 0.7),
		.port = port,
		.kind = (enum service_kind)model_between(world, 0,
							 is_stream ? SERVICE_KINDS - 1 : REUSEPORT),
		.open = model_chance(world, 0.6) ? -SEC : model_between(world, 0, world->until / 2),
		.close = MODEL_NEVER,
	};
	if (model_chance(world, world->is_busy ? 0.8 : 0.4))
		v->close = v->open + 2 * SEC + model_between(world, 0, world->until / 2);
	/* While a reading is under way: those begin at whole seconds, mostly. */
	if (world->is_busy && v->close != MODEL_NEVER)
		v->close = v->close / SEC * SEC + model_between(world, 5 * MS, 60 * MS);
}

/* Of another program, on the same port, soon after. */
static void succeed_service(struct model_world *world, const struct service *before,
			    struct service *v)
{
	choose_service(world, v, before->is_stream, before->port);
	v->kind = SINGLE;
	v->open =
		before->close + model_scaled(world, 100 * US, world->is_busy ? 20 * MS : 300 * MS);
	v->close = model_chance(world, 0.5) ? MODEL_NEVER
					    : v->open + model_scaled(world, 5 * MS, 3 * SEC);
}

struct start {
	int64_t at;
	const struct service *service; /* NULL: any */
};

static int compare_starts(const void *left, const void *right)
{
	const struct start *a = left, *b = right;

	return (a->at > b->at) - (a->at < b->at);
}

static void begin_conversation(struct model_world *world, const struct start *start,
			       const struct service *services, int service_count)
{
	int64_t life = model_scaled(world, 200 * US, 4 * SEC);
	const struct service *v = &services[model_between(world, 0, service_count - 1)];
	bool from_here = model_chance(world, 0.5);

	if (!is_open(v, start->at) || model_chance(world, 0.3))
		v = NULL;
	if (start->service != NULL) {
		v = start->service;
		from_here = false;
	}
	if (v == NULL && !from_here)
		make_others(world, start->at);
	else if (v != NULL ? v->is_stream : model_chance(world, 0.6))
		make_stream(world, v, start->at, from_here, life);
	else
		make_datagrams(world, v, start->at, from_here, life);
}

/* Peers that talk to a service just before it closes, and to the next on its port. */
static int haunt(struct model_world *world, const struct service *v, struct start *starts)
{
	int count = 0;

	if (v->close != MODEL_NEVER && v->close > SEC)
		starts[count++].at = v->close - model_between(world, 1200 * US, 50 * MS);
	if (v->open > 0 && is_open(v, v->open + 2 * MS))
		starts[count++].at = v->open + model_between(world, 1200 * US, 50 * MS);
	for (int i = 0; i < count; i++)
		starts[i].service = v;
	return count;
}

void model_make_traffic(struct model_world *world)
{
	enum { SERVICES = 8, STARTS = 40, HAUNTS = 2 };
	struct service services[2 * SERVICES];
	struct start starts[STARTS + 2 * SERVICES * HAUNTS] = {{0}};
	int count = (int)model_between(world, 8, STARTS), service_count = 0;

	for (int i = 0; i < OLD_PROCESSES; i++)
		add_process(world, MODEL_NOBODY, -(i + 2) * 10 * SEC, any_program(world));
	for (int i = 0; i < SERVICES; i++) {
		struct service *v = &services[service_count++];

		choose_service(world, v, i % 2 == 0, (uint16_t)(8000 + i));
		open_service(world, v);
		if (v->close != MODEL_NEVER && model_chance(world, 0.6)) {
			succeed_service(world, v, &services[service_count]);
			open_service(world, &services[service_count++]);
		}
	}
	for (int i = 0; i < count; i++)
		starts[i].at = model_between(world, -SEC, world->until);
	for (int i = 0; world->is_busy && i < service_count; i++)
		count += haunt(world, &services[i], &starts[count]);
	qsort(starts, (size_t)count, sizeof(*starts), compare_starts);
	for (int i = 0; i < count; i++)
		begin_conversation(world, &starts[i], services, service_count);
}
