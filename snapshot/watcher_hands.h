/*
 * watcher_hands.h - sockets of datagrams that more than one process uses.
 *
 * Look-ups of ways tell who sends with an address of its own; who sends as
 * connected, to 0.0.0.0, or only receives, they do not. The kernel tells that a
 * task sent or received on a socket, but not on which port: that is known from
 * the look-up that a task made before it sent. Nothing is told of a socket as
 * long as one process alone uses it. Pure logic, as watcher_uses.h, which feeds it.
 *
 * A socket is known by its address in the kernel, which another one may get after
 * it; that it closed is not told here. So what is told may be of two sockets, the
 * second one of another port: readers hold it against the closes.
 */
#ifndef SNAPSHOT_WATCHER_HANDS_H
#define SNAPSHOT_WATCHER_HANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/watcher_uses.h"

/* Sockets that were used lately; the longest silent one of a set is forgotten. 8 MB, of
 * which only what is used is touched. */
#define WATCHER_HANDS	  32768
#define WATCHER_HANDS_SET 4
/* Users in turn that wait until somebody looks up the port: a dispatcher with its helpers, or
 * workers that receive at one moment before the first of them answers. Of more, none but the first
 * is told, as SNAP_SEVERAL. */
#define WATCHER_HANDS_WAITING 3
/* What one act can show: those that waited, the one before, and the one that acts. */
#define WATCHER_HANDS_TOLD (WATCHER_HANDS_WAITING + 2)

struct watcher_hands {
	struct watcher_hand {
		uint64_t sk, epoch, netns;
		int64_t since_ns; /* of the first act that was seen on this socket: it tells the
				   * sockets of one port apart */
		struct watcher_hand_act {
			struct watcher_user user;
			int64_t time_ns, at_ns; /* as in struct watcher_use; time_ns 0: none */
			uint32_t pid, tid;
			uint8_t protocol, act;		/* IPPROTO; enum snap_act */
		} last,					/* time_ns 0: free */
			waiting[WATCHER_HANDS_WAITING]; /* the users before, since the port was
							   looked up; each one's latest act */
		uint16_t port;				/* 0: not known */
		uint16_t turns;				/* that were told of this port */
		uint8_t waiting_count;
		bool has_more; /* than can wait */
		bool is_sure;  /* the port is one that this user looked up */
	} of[WATCHER_HANDS / WATCHER_HANDS_SET][WATCHER_HANDS_SET];
};

/* That of a socket; NULL: it was not used lately. */
struct watcher_hand *watcher_hands_find(struct watcher_hands *hands, uint64_t sk);
/* Takes an act of a process; look: the look-up it made before it sent, NULL: none. What is to be
 * told is in told[]; how many these are. *forgot: one that was used so lately that it may still
 * matter was forgotten for this one. */
size_t watcher_hands_take(struct watcher_hands *hands, uint64_t sk, const struct watcher_use *act,
			  const struct watcher_use *look,
			  struct watcher_use told[WATCHER_HANDS_TOLD], bool *forgot);

/* Of the place-th: whether it went from hand to hand, and *out, who has it now. */
bool watcher_hands_restate(const struct watcher_hands *hands, size_t place,
			   struct watcher_use *out);

#endif
