/*
 * bridge_internal.h - what the files of the bridge share. bridge.c has the order of a judgement
 * and what is said of an owner. Who is named, by readings: bridge_tuple.c by the sockets of the
 * very five-tuple, bridge_port.c by those of the port that are not connected, bridge_holders.c by
 * who held a socket, bridge_serving.c what it means who serves on a port, bridge_crowd.c knows what
 * of a long chain can matter, bridge_place.c whose an address is. By what the kernel told of uses:
 * bridge_told.c of a connection, bridge_sharing.c who used one at the same time, bridge_datagram.c
 * of datagrams, bridge_echo.c of echoes, bridge_hands.c who else has a socket of datagrams.
 */
#ifndef ANALYZE_BRIDGE_INTERNAL_H
#define ANALYZE_BRIDGE_INTERNAL_H

#include "analyze/bridge.h"
#include "analyze/bridge_why.h"

/* A judgement holds between the moments at which anything it looked at changes. */
static inline void bridge_edge(struct bridge_verdict *v, int64_t t_ns, int64_t at_ns)
{
	if (at_ns > t_ns && at_ns < v->until_ns)
		v->until_ns = at_ns;
	if (at_ns <= t_ns && at_ns > v->from_ns)
		v->from_ns = at_ns;
}

/* Or within a stretch in which none of it does. */
static inline void bridge_narrow(struct bridge_verdict *v, struct timeline_stretch same)
{
	if (same.from_ns > v->from_ns)
		v->from_ns = same.from_ns;
	if (same.until_ns < v->until_ns)
		v->until_ns = same.until_ns;
}

static inline int64_t bridge_last_end(const struct timeline *tl, const struct timeline_life *life)
{
	return tl->frames[life->last].end_ns;
}

static inline void bridge_life_edges(const struct timeline *tl, const struct timeline_life *life,
				     int64_t t_ns, struct bridge_verdict *v)
{
	bridge_edge(v, t_ns, timeline_first_end(tl, life));
	if (life->gone != TIMELINE_NONE) {
		bridge_edge(v, t_ns, timeline_gone_end(tl, life));
		bridge_edge(v, t_ns, tl->frames[life->last].begin_ns + 1);
	}
	if (life->absent_before != TIMELINE_NONE)
		bridge_edge(v, t_ns, tl->frames[life->absent_before].begin_ns);
}

/* Whether something first seen after t can have been there at t: no complete
 * reading that began after t had it not. */
static inline bool bridge_may_precede(const struct timeline *tl, const struct timeline_life *life,
				      int64_t t_ns)
{
	return life->absent_before == TIMELINE_NONE ||
	       tl->frames[life->absent_before].begin_ns <= t_ns;
}

/* Whether it is in the current state only because the next reading, which
 * has it no more, is still to come. */
static inline bool bridge_is_stale(const struct timeline *tl, const struct timeline_life *life,
				   int64_t t_ns)
{
	return life->gone != TIMELINE_NONE && t_ns > tl->frames[life->last].begin_ns;
}

/* So long after it was sent is an answer surely its sender's, in whose hands
 * the port has been; and so long before its answer a request. */
#define BRIDGE_ANSWER_NS INT64_C(30000000000)
/* The kernel tells that a socket closed, and the recorder when it heard of it, so late. */
#define BRIDGE_LATE_CLOSE_NS INT64_C(200000000)
/* The look-up of a way is this close to its packet. */
#define BRIDGE_AT_ONCE_NS INT64_C(5000000)
/* Between its look-up and its packet a process may lose the processor for so long, and so may
 * the kernel before it passes on what a call has sent. */
#define BRIDGE_RACE_NS INT64_C(5000000)

struct bridge_holding {
	enum bridge_rule rule; /* exact, ahead, behind; NO_RULE: none */
	bool moved;	       /* between two readings it went from one process to another */
	int64_t first_ns, last_ns;
};

/* Whether the capture's own namespace has the local address: then nobody else's socket is
 * meant for sure, as anybody may give a namespace of his own any address. */
bool bridge_is_ours(const struct bridge *bridge, const struct bridge_subject *subject);
bool bridge_namespace_fits(const struct bridge *bridge, const struct bridge_subject *subject,
			   uint64_t netns);

/* bridge_crowd.c: the members of a chain that can matter at t, those already there with them. Of a
 * short one all are; of a long one what is there at t and the nearest before and after it, and
 * *v is narrowed to where that is so. Valid until the next call for that kind of chain. */
const struct bridge_near *bridge_near_add(struct bridge *bridge, enum bridge_chain chain,
					  uint32_t head, int64_t t_ns, struct bridge_verdict *v);
void bridge_near_clear(struct bridge *bridge, enum bridge_chain chain);
/* First sighting of a process as a holder of an inode, and whether as a standard descriptor. */
uint32_t bridge_held_since(struct bridge *bridge, uint32_t head, uint32_t process, bool *standard);
void bridge_release_crowds(struct bridge *bridge);

/* Whether readings had the socket whose holders were collected last in a process's hands twice,
 * and not only once or for an event. */
bool bridge_kept(const struct bridge *bridge, uint32_t process);

/* bridge_serving.c: what counts at t, and the moments at which that changes, as edges of *v. */

/* Whether somebody was seen to listen on a TCP port. */
bool bridge_listened(const struct bridge *bridge, uint16_t port, int64_t t_ns,
		     struct bridge_verdict *v);
/* Whether process was seen to hold a socket that listens on the port. */
bool bridge_held_listener(const struct bridge *bridge, uint16_t port, uint32_t process,
			  int64_t t_ns, struct bridge_verdict *v);
/* Whether it was seen with several connections that the port accepted, or with one in two complete
 * readings, and nobody else with any. */
bool bridge_serves(const struct bridge *bridge, uint16_t port, uint32_t process, int64_t t_ns,
		   struct bridge_verdict *v);
/* Whether process, that accepts on the port, was seen to leave to others what it accepts. */
bool bridge_hands_on(const struct bridge *bridge, uint16_t port, uint32_t process, int64_t t_ns,
		     struct bridge_verdict *v);

void bridge_empty_pool(struct bridge *bridge);
/* Once for each process. */
void bridge_push_candidate(struct bridge *bridge, uint32_t socket, uint32_t process,
			   uint32_t image);
/* The owner is which of the pool, which all share it. */
void bridge_say_owner(struct bridge *bridge, enum bridge_rule rule, size_t which,
		      struct bridge_verdict *v);
/* No owner, and why. */
void bridge_say_no(struct bridge_verdict *v, enum bridge_reason reason);
/* The owner is only who had it last. */
void bridge_say_lapsed(struct bridge_verdict *v);
/* Nobody, with the pool as candidates. */
void bridge_say_ambiguous(struct bridge *bridge, const struct bridge_subject *subject,
			  struct bridge_verdict *v);
/* Nobody, though readings name somebody, as they may be wrong: the socket and the sighting stay. */
void bridge_refuse_owner(const struct bridge *bridge, enum bridge_why why,
			 struct bridge_verdict *v);
/* The same, and the socket goes too. */
void bridge_disown(const struct bridge *bridge, enum bridge_why why, struct bridge_verdict *v);
/* Nobody held the socket; the reason is what readings could see of descriptors. */
void bridge_say_no_holder(const struct bridge *bridge, uint32_t socket, struct bridge_verdict *v);
/* The sighting it rests on, for socket and holder together. */
void bridge_rest_on(const struct bridge *bridge, uint32_t socket,
		    const struct bridge_holding *holding, enum bridge_rule rule, int64_t t_ns,
		    struct bridge_verdict *v);
/* Puts the processes that held the socket at t into the pool. */
struct bridge_holding bridge_collect_holders(struct bridge *bridge, uint32_t socket, int64_t t_ns,
					     struct bridge_verdict *v);
/* Which of the pool is named for a connected socket. */
size_t bridge_pick_holder(struct bridge *bridge, uint32_t inode);

/* Whether complete readings stand on both sides of t (a segment begins and ends
 * with one). Outside, only what one connection's own packets show holds. */
bool bridge_bracketed(const struct timeline *tl, int64_t t_ns);
/* Adds to bridge->sockets. */
void bridge_push_socket(struct bridge *bridge, uint32_t socket);
/* Several sockets of one tuple cannot be told apart at t, unless one process has them all. */
void bridge_judge_several(struct bridge *bridge, const struct bridge_subject *subject,
			  enum bridge_rule rule, int64_t t_ns, struct bridge_verdict *v);

/* bridge_tuple.c: by the sockets of the very five-tuple. 1: judged. 0: there is none of it. -1:
 * there are rows without inode only. */
int bridge_judge_tuple(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		       struct bridge_verdict *v);

/* bridge_port.c */
bool bridge_has_ports(uint8_t protocol);
/* A socket that connects after its first packets stood unconnected before, and
 * one that was last seen before may have gone: a different one on its port
 * that was or may have been there then may have taken them. Adds those to bridge->sockets;
 * whether there are any. */
bool bridge_add_unconnected_rivals(struct bridge *bridge, const struct bridge_subject *subject,
				   int64_t t_ns, struct bridge_verdict *v);
/* By the unconnected sockets of a port; NO_RULE: by how they are bound. false: there is none. */
bool bridge_judge_unconnected(struct bridge *bridge, const struct bridge_subject *subject,
			      uint8_t protocol, uint16_t port, enum bridge_rule rule, int64_t t_ns,
			      struct bridge_verdict *v);
/* What the kernel itself sends and answers unless a raw socket is open. */
void bridge_judge_raw(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		      struct bridge_verdict *v);
/* It is the listener of the moment of the SYN that took the connection, so the
 * verdict does not change with t. false: there is none. */
bool bridge_judge_listener(struct bridge *bridge, const struct bridge_subject *subject,
			   struct bridge_verdict *v);

/* bridge_told.c: fills bridge->told. 0, or -1 without memory. */
int bridge_note_told(struct bridge *bridge);
/* Whether a use in this namespace may be of the end that is asked for. */
bool bridge_use_fits(const struct bridge *bridge, const struct bridge_subject *subject,
		     uint64_t netns);
/* The owner is who made the use at that place of the timeline. */
void bridge_name_user(const struct bridge *bridge, uint32_t place, enum bridge_rule rule,
		      int64_t t_ns, struct bridge_verdict *v);
/* By uses told of the connection's own socket: true and *v, else *v is as it was. */
bool bridge_judge_stream(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			 struct bridge_verdict *v);
/* Whether process was told to use the connection's socket; *any: whether anybody was. */
bool bridge_told_user(const struct bridge *bridge, const struct bridge_subject *subject,
		      int64_t t_ns, uint32_t process, bool *any);
/* Whether others were told to use it, or, where nobody was, another one to shut it. */
bool bridge_told_others(const struct bridge *bridge, const struct bridge_subject *subject,
			int64_t t_ns, uint32_t process);

/* Whether a process had ended by t. Where it stands for two (forked_twice), an end before the last
 * fork is the first one's, and the second lives. */
static inline bool bridge_is_gone(const struct timeline *tl, uint32_t process, int64_t t_ns)
{
	const struct timeline_process *p = &tl->processes[process];

	return p->exit_ns != 0 && p->exit_ns < t_ns &&
	       (!p->forked_twice || p->exit_ns >= p->last_fork_ns);
}

/* bridge_sharing.c: puts into the pool who may have moved bytes of a packet beside the process of
 * use, whose turn it was by their place in the stream; and all users of a stream. */
void bridge_push_rivals(struct bridge *bridge, const struct bridge_subject *subject,
			const struct timeline_socket *s, uint32_t use, uint32_t socket,
			int64_t t_ns);
void bridge_push_users(struct bridge *bridge, const struct timeline_socket *s, uint32_t socket,
		       int64_t t_ns);

/* bridge_datagram.c: by uses told of the way that it went, after the readings said what is in *v:
 * where they name nobody, or a socket that any peer may use; else uses may only take their
 * owner away. */
void bridge_judge_datagram(struct bridge *bridge, const struct bridge_subject *subject,
			   int64_t t_ns, struct bridge_verdict *v);
/* The place in the way of the first use after t. */
size_t bridge_first_after(const struct timeline *tl, const struct timeline_way *way, int64_t t_ns);

/* bridge_echo.c: of an echo that is sent, the use of the one process that was in a call that sends
 * a message of this length to this host, or may have been; NONE: there are several, or it is
 * not known. */
uint32_t bridge_choose_echoer(const struct bridge *bridge, const struct bridge_subject *subject,
			      const struct endpoint *local, const struct timeline_way *way,
			      int64_t t_ns);

/* bridge_hands.c: takes an owner of a datagram away where another process has the same socket, and
 * may be the one: both are candidates then. */
void bridge_check_hands(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
			struct bridge_verdict *v);

#endif
