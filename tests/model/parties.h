/*
 * parties.h - what the makers of the world's traffic share: processes, their descriptors,
 * what the kernel sees them do, and the ends of conversations, which go from hand to hand.
 */
#ifndef TESTS_MODEL_PARTIES_H
#define TESTS_MODEL_PARTIES_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/model/model.h"

enum { PARTY_OLD_PROCESSES = 5, PARTY_TURNS = 8 };

/* One end of a conversation, and who uses it when. */
struct party {
	bool is_local;
	struct endpoint at;
	int socket;
	struct {
		int64_t from;
		int process;
	} turn[PARTY_TURNS];
	unsigned turns;
	int64_t ready; /* nobody reads before */
	uint32_t seq;
	bool is_told_each; /* datagrams: it looks for its way each time */
};

struct endpoint party_endpoint(const char *address, uint16_t port);
uint32_t party_any_program(struct model_world *world);
/* Processes begin, fork, execute and end; parent MODEL_NOBODY: it stays for ever. */
int party_add_process(struct model_world *world, int parent, int64_t born, uint32_t program);
int party_fork(struct model_world *world, int parent, int64_t at);
void party_exec(struct model_world *world, int process, int64_t at);
/* All that it had open is closed then. */
void party_end_process(struct model_world *world, int process, int64_t at);
/* One of the first PARTY_OLD_PROCESSES, which stay. */
int party_any_old(struct model_world *world);
/* process has socket open, as descriptor fd, in [from, until). */
void party_add_hold(struct model_world *world, int process, int socket, uint32_t fd, int64_t from,
		    int64_t until);
int party_add_socket(struct model_world *world, enum snap_table table, const struct endpoint *bound,
		     int64_t open);
void party_close_socket(struct model_world *world, int socket, int64_t closed, int64_t gone);
/* What the kernel sees a process do, or nobody: to be told, or not. */
struct model_act *party_add_act(struct model_world *world, int64_t at, int process, int socket,
				enum tracepoint_kind kind);
void party_tell_state(struct model_world *world, int64_t at, int process, int socket, uint8_t from,
		      uint8_t to);
void party_tell_route(struct model_world *world, int64_t at, int process,
		      const struct endpoint *local, const struct endpoint *remote,
		      bool bound_to_any);
int party_user_at(const struct party *party, int64_t at);
void party_take_turn(struct party *party, int process, int64_t from);
/* A packet, which who uses its ends sends and reads. conversation below 0: a datagram. */
struct model_packet *party_carry(struct model_world *world, int conversation, int64_t at,
				 struct party *from, struct party *to, uint8_t flags,
				 uint32_t payload_bytes);
/* One of the ways in which an end goes from hand to hand, at a moment; when it is done. */
int64_t party_change_hands(struct model_world *world, struct party *party, int64_t at,
			   int64_t until, bool may_pass);
/* The last one closes it; what is not closed by then is. Returns when. */
int64_t party_close_all(struct model_world *world, int socket, int64_t at);

#endif
