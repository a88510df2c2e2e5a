/* world_net.c - who talks to whom: servers and clients, streams and datagrams. */
#include <netinet/in.h>
#include <stdlib.h>

#include "analyze/decode.h"
#include "tests/model/parties.h"

#define HOST_V4 "10.0.0.1"
#define PEER_V4 "10.0.0.2"
#define HOST_V6 "fd00::1"
#define PEER_V6 "fd00::2"

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

/* -------------------------------------------------------------- services -- */

static const char *service_address(const struct service *v)
{
	if (v->is_wildcard)
		return v->is_v6 ? "::" : "0.0.0.0";
	return v->is_v6 ? HOST_V6 : HOST_V4;
}

static void open_service(struct model_world *world, struct service *v)
{
	struct endpoint bound = party_endpoint(service_address(v), v->port);
	enum snap_table table = v->is_stream ? (v->is_v6 ? SNAP_TCP6 : SNAP_TCP)
					     : (v->is_v6 ? SNAP_UDP6 : SNAP_UDP);
	int master =
		model_chance(world, 0.5) || v->open < 0
			? party_any_old(world)
			: party_add_process(world, 0, v->open - model_scaled(world, MS, 3 * SEC),
					    party_any_program(world));
	int64_t until = v->close;

	if (until == MODEL_NEVER)
		world->processes.items[master].stays = true;
	v->workers =
		v->kind == PREFORK || v->kind == REUSEPORT ? (int)model_between(world, 2, 3) : 1;
	for (int i = 0; i < v->workers; i++) {
		v->process[i] = v->workers == 1
					? master
					: party_fork(world, master, v->open + (i + 1) * 100 * US);
		if (i == 0 || v->kind == REUSEPORT) {
			v->socket[i] =
				party_add_socket(world, table, &bound, v->open + i * 150 * US);
			world->sockets.items[v->socket[i]].is_listener = true;
			party_close_socket(world, v->socket[i], until, until);
		} else {
			v->socket[i] = v->socket[0];
		}
		party_add_hold(world, v->process[i], v->socket[i], 3,
			       v->workers == 1 ? v->open : v->open + (i + 1) * 100 * US, until);
		if (until != MODEL_NEVER)
			party_end_process(world, v->process[i],
					  until + model_scaled(world, MS, SEC));
		else
			world->processes.items[v->process[i]].stays = true;
	}
	if (v->kind == PREFORK)
		party_add_hold(world, master, v->socket[0], 3, v->open, until);
	if (until != MODEL_NEVER)
		party_end_process(world, master, until + model_scaled(world, MS, SEC));
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

	/* What nobody has accepted when its listener closes, the kernel resets. */
	if (v->close != MODEL_NEVER && at >= v->close)
		at = established + (v->close - established) / 2;
	s->named = at;
	party->ready = at + 10 * US;
	if (v->kind == FORKING || v->kind == INETD) {
		int64_t forked = at + model_scaled(world, 5 * US, 200 * US);

		user = party_fork(world, acceptor, forked);
		party_add_hold(world, acceptor, party->socket, fd, at,
			       forked + model_scaled(world, 5 * US, 300 * US));
		party_add_hold(world, user, party->socket, fd, forked, MODEL_NEVER);
		party->ready = forked + 20 * US;
		if (v->kind == INETD) {
			party_add_hold(world, user, party->socket, 0, forked + 20 * US,
				       MODEL_NEVER);
			party_add_hold(world, user, party->socket, 1, forked + 21 * US,
				       MODEL_NEVER);
			party_exec(world, user, forked + 200 * US);
			party->ready = forked + 400 * US;
		}
		party_end_process(world, user, until + model_scaled(world, 10 * US, 100 * MS));
	} else if (v->kind == PASSING) {
		int64_t passed = at + model_scaled(world, 20 * US, MS);

		user = (acceptor + 1) % PARTY_OLD_PROCESSES;
		party_add_hold(world, acceptor, party->socket, fd, at,
			       passed + model_scaled(world, 5 * US, 300 * US));
		party_add_hold(world, user, party->socket, fd, passed, MODEL_NEVER);
		party->ready = passed + 20 * US;
	} else {
		party_add_hold(world, acceptor, party->socket, fd, at, MODEL_NEVER);
	}
	party_take_turn(party, user, party->ready);
}

static void add_connected(struct model_world *world, struct party *party,
			  const struct endpoint *remote, bool in_v6_table, int64_t at)
{
	struct model_socket *s;

	party->socket = party_add_socket(world, in_v6_table ? SNAP_TCP6 : SNAP_TCP, &party->at, at);
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
	party_carry(world, conversation, at, client, server, DECODE_TCP_SYN, 0)->ack = 0;
	party_carry(world, conversation, answered, server, client, DECODE_TCP_SYN | DECODE_TCP_ACK,
		    0);
	party_carry(world, conversation, done, client, server, DECODE_TCP_ACK, 0);
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
			at = party_change_hands(world, party, at, until, true);
		}
		party_carry(world, conversation, at, from, to, DECODE_TCP_ACK | DECODE_TCP_PSH,
			    (uint32_t)model_between(world, 1, 400));
		if (model_chance(world, 0.5))
			party_carry(world, conversation,
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
	party_close_socket(world, party->socket, closed, gone);
	party_tell_state(world, closed + US, party_user_at(party, closed), party->socket,
			 first ? SNAP_ESTABLISHED : SNAP_CLOSE_WAIT,
			 first ? SNAP_FIN_WAIT1 : SNAP_LAST_ACK);
	party_add_act(world, closed + model_between(world, 40 * US, 2 * MS), MODEL_NOBODY,
		      party->socket, TRACEPOINT_DESTROY);
}

static void end_stream(struct model_world *world, int conversation, struct party *first,
		       struct party *second, int64_t at)
{
	const struct party *parties[2] = {first, second};
	int64_t closed, answered;

	for (int i = 0; i < 2; i++) {
		for (unsigned k = 0; k < parties[i]->turns; k++)
			party_end_process(world, parties[i]->turn[k].process,
					  at + model_scaled(world, 20 * US, 100 * MS));
	}
	closed = first->is_local ? party_close_all(world, first->socket, at) : at;
	if (model_chance(world, 0.15)) {
		party_carry(world, conversation, closed + 3 * US, first, second, DECODE_TCP_RST, 0);
		forget(world, first, closed, closed + 4 * US, true);
		if (second->is_local)
			party_close_all(world, second->socket, closed + 10 * US);
		forget(world, second, closed + 10 * US, closed + 10 * US, false);
		return;
	}
	party_carry(world, conversation, closed + 3 * US, first, second,
		    DECODE_TCP_FIN | DECODE_TCP_ACK, 0);
	answered = closed + model_scaled(world, 30 * US, 200 * MS);
	party_carry(world, conversation, closed + 15 * US, second, first, DECODE_TCP_ACK, 0);
	if (second->is_local)
		answered = party_close_all(world, second->socket, answered);
	party_carry(world, conversation, answered + 3 * US, second, first,
		    DECODE_TCP_FIN | DECODE_TCP_ACK, 0);
	party_carry(world, conversation, answered + 10 * US, first, second, DECODE_TCP_ACK, 0);
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
	int user = party_any_old(world);

	if (model_chance(world, 0.4))
		return user;
	user = party_fork(world, user, at - model_scaled(world, 100 * US, 500 * MS));
	if (model_chance(world, 0.5))
		party_exec(world, user, world->processes.items[user].born + 50 * US);
	party_end_process(world, user, until + model_scaled(world, 10 * US, 500 * MS));
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
	client->at = party_endpoint(client->is_local ? host : peer, port);
	server->at =
		party_endpoint(server->is_local ? host : peer, v != NULL ? v->port : peer_port);
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
	/* It is established while there is somebody to accept it. */
	if (v != NULL && v->close != MODEL_NEVER && way > (v->close - at) / 4)
		way = (v->close - at) / 4;
	if (from_here) {
		int user = make_client(world, connects, at + life);
		bool mapped = !endpoint_is_ipv4(&client.at.address) || model_chance(world, 0.2);

		add_connected(world, &client, &server.at, mapped, connects);
		party_add_hold(world, user, client.socket, (uint32_t)model_between(world, 3, 90),
			       connects, MODEL_NEVER);
		party_take_turn(&client, user, connects);
		party_tell_state(world, connects, user, client.socket, SNAP_CLOSE, SNAP_SYN_SENT);
	}
	if (v != NULL) {
		add_connected(world, &server, &client.at, v->is_v6, at + 5 * US);
		/* Never before it is accepted. */
		world->sockets.items[server.socket].named = MODEL_NEVER;
	}
	done = shake_hands(world, conversation, &client, &server, at, way);
	if (from_here)
		party_tell_state(world, done - 6 * US, MODEL_NOBODY, client.socket, SNAP_SYN_SENT,
				 SNAP_ESTABLISHED);
	if (v != NULL) {
		party_tell_state(world, done, MODEL_NOBODY, server.socket, SNAP_SYN_RECV,
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
	struct endpoint bound = party_endpoint(v6 ? "::" : "0.0.0.0", client->at.port);
	int user = make_client(world, at - 50 * US, until);
	int64_t open = at - 40 * US;
	struct model_socket *s;

	if (model_chance(world, 0.3))
		bound = client->at;
	client->is_told_each = model_chance(world, 0.5);
	client->socket = party_add_socket(world, v6 ? SNAP_UDP6 : SNAP_UDP, &bound, open);
	s = &world->sockets.items[client->socket];
	if (!client->is_told_each) {
		s->connect = open;
		s->local = client->at;
		s->remote = *remote;
		party_tell_route(world, open, user, &client->at, remote, true);
	}
	party_add_hold(world, user, client->socket, (uint32_t)model_between(world, 3, 90), open,
		       MODEL_NEVER);
	party_take_turn(client, user, open);
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
			at = party_change_hands(world, &client, at, until, false);
		party_carry(world, -1, at, &client, &server, 0,
			    (uint32_t)model_between(world, 1, 300));
		/* Who has closed answers nothing. */
		if (model_chance(world, 0.7) && (v == NULL || at + 2 * way + 60 * US < v->close))
			party_carry(world, -1, at + 2 * way + 60 * US, &server, &client, 0,
				    (uint32_t)model_between(world, 1, 300));
		at += 2 * way + 100 * US +
		      model_scaled(world, 60 * US,
				   until > at ? (until - at) / 2 + 100 * US : 100 * US);
	}
	if (!from_here)
		return;
	at = at > until || model_chance(world, 0.5) ? at : until;
	for (unsigned k = 0; k < client.turns; k++)
		party_end_process(world, client.turn[k].process,
				  at + model_scaled(world, 20 * US, MS));
	at = party_close_all(world, client.socket, at);
	party_close_socket(world, client.socket, at, at);
}

/* ---------------------------------------------------------- other packets -- */

/* What no process of ours has a hand in. */
static void make_others(struct model_world *world, int64_t at)
{
	struct party here = {.is_local = true, .socket = MODEL_NOBODY};
	struct party there = {.socket = MODEL_NOBODY};

	there.at = party_endpoint(PEER_V4, (uint16_t)(45000 + model_between(world, 0, 9999)));
	switch (model_between(world, 0, 4)) {
	case 0: /* nobody listens */
		here.at = party_endpoint(HOST_V4, 81);
		party_carry(world, world->conversations, at, &there, &here, DECODE_TCP_SYN, 0);
		party_carry(world, world->conversations++, at + 10 * US, &here, &there,
			    DECODE_TCP_RST | DECODE_TCP_ACK, 0);
		return;
	case 1:
		here.at = party_endpoint(HOST_V4, 82);
		party_carry(world, -1, at, &there, &here, 0, 20);
		return;
	case 2: /* passes through */
		here.is_local = false;
		here.at = party_endpoint("192.0.2.7", 82);
		party_carry(world, -1, at, &there, &here, 0, 20);
		return;
	case 3:
		here.is_local = false;
		here.at = party_endpoint("224.0.0.251", 5353);
		party_carry(world, -1, at, &there, &here, 0, 20);
		return;
	default:
		party_carry(world, -1, at, &there, &here, 0, 0)->protocol = 0; /* ARP */
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

	if (v->close != MODEL_NEVER && v->close > SEC) {
		starts[count].at = v->close - model_between(world, 1200 * US, 50 * MS);
		count += is_open(v, starts[count].at);
	}
	if (v->open > 0) {
		starts[count].at = v->open + model_between(world, 1200 * US, 50 * MS);
		count += is_open(v, starts[count].at);
	}
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

	for (int i = 0; i < PARTY_OLD_PROCESSES; i++)
		party_add_process(world, MODEL_NOBODY, -(i + 2) * 10 * SEC,
				  party_any_program(world));
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
