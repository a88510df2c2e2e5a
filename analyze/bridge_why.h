/*
 * bridge_why.h - why a judgement came out as it did, for who asks.
 *
 * While an observer is set, the bridge tells it what each rule said no to, in
 * the order in which the rules are tried; the verdict says which one held. All
 * reasons and their words stand here and in bridge_why.c. Without an observer it
 * costs a comparison for each judgement that says no.
 */
#ifndef ANALYZE_BRIDGE_WHY_H
#define ANALYZE_BRIDGE_WHY_H

#include <stdint.h>

#include "analyze/bridge.h"

enum bridge_why {
	/* a moment at which nothing is judged */
	BRIDGE_WHY_NO_FRAMES,
	BRIDGE_WHY_CLOCK,
	/* uses of the connection's own socket */
	BRIDGE_WHY_NOT_TOLD,
	BRIDGE_WHY_MULTIPATH,
	BRIDGE_WHY_SHARED,
	BRIDGE_WHY_AT_ONCE,
	BRIDGE_WHY_SENDS_UNTOLD,
	BRIDGE_WHY_USES_MISSING,
	BRIDGE_WHY_NO_TURN,
	/* rows of the very five-tuple */
	BRIDGE_WHY_OUTSIDE,
	BRIDGE_WHY_OTHER_NAMESPACE,
	BRIDGE_WHY_EARLIER_CONNECTION,
	BRIDGE_WHY_NO_INODE,
	BRIDGE_WHY_NO_ROW,
	BRIDGE_WHY_NOT_THEN,
	BRIDGE_WHY_SEVERAL,
	BRIDGE_WHY_HELD_OTHERWISE,
	BRIDGE_WHY_MAY_BE_CLOSED,
	BRIDGE_WHY_HANDED_ON,
	BRIDGE_WHY_MAY_HAND_ON,
	BRIDGE_WHY_NOT_ITS_USER,
	BRIDGE_WHY_NOT_ITS_TURN,
	BRIDGE_WHY_HEIR,
	BRIDGE_WHY_MAY_BE_HEIR,
	/* sockets that are not connected */
	BRIDGE_WHY_NO_SYN,
	BRIDGE_WHY_PORT_OUTSIDE,
	BRIDGE_WHY_NO_PORT,
	BRIDGE_WHY_PORT_MAY_BE_TAKEN,
	BRIDGE_WHY_NOT_ACCEPTOR,
	BRIDGE_WHY_KERNEL,
	/* after the rules */
	BRIDGE_WHY_CROWDED,
	BRIDGE_WHY_NOT_OUR_NAMESPACE,
	BRIDGE_WHY_CLOSED_BETWEEN,
	BRIDGE_WHY_FORKED_TWICE,
	/* datagrams that the kernel told of */
	BRIDGE_WHY_NO_WAY,
	BRIDGE_WHY_ENDED,
	BRIDGE_WHY_CONTRADICTED,
	BRIDGE_WHY_HAS_HEIR,
	BRIDGE_WHY_COMES_LATER,
	BRIDGE_WHY_RACE,
	BRIDGE_WHY_NO_SENDER,
	BRIDGE_WHY_NO_RECEIVER,
	BRIDGE_WHY_OTHER_HANDS,
	BRIDGE_WHYS
};

/* The rules that the reason speaks of, as "exact, ahead (uses told)"; never NULL. */
const char *bridge_why_rules(enum bridge_why why);
/* What was the matter, as half a sentence. */
const char *bridge_why_text(enum bridge_why why);

struct bridge_observer {
	/* socket: of the timeline, which the reason speaks of; TIMELINE_NONE. */
	void (*note)(enum bridge_why why, uint32_t socket, void *context);
	void *context;
};

static inline void bridge_tell(const struct bridge *bridge, enum bridge_why why, uint32_t socket)
{
	if (bridge->observer != NULL)
		bridge->observer->note(why, socket, bridge->observer->context);
}

#endif
