#include "analyze/bridge_why.h"

#define USES  "exact, ahead (uses told)"
#define ROWS  "exact, ahead, behind (rows read)"
#define PORTS "bound, wildcard, listener"

static const struct {
	const char *rules, *text;
} whys[BRIDGE_WHYS] = {
	[BRIDGE_WHY_NO_FRAMES] = {"all", "there are no snapshots beside these packets"},
	[BRIDGE_WHY_CLOCK] = {"all", "the clock was set back over this moment, which came twice"},

	[BRIDGE_WHY_NOT_TOLD] = {USES, "the kernel told of no use of this connection's socket"},
	[BRIDGE_WHY_MULTIPATH] = {USES, "the kernel does not tell who uses a connection of MPTCP"},
	[BRIDGE_WHY_SHARED] = {USES, "several processes used the socket, and whose bytes "
				     "these are is not told"},
	[BRIDGE_WHY_AT_ONCE] = {USES, "several processes called at the same time: these bytes may "
				      "be of any of them"},
	[BRIDGE_WHY_SENDS_UNTOLD] = {USES, "this kernel does not tell who sends"},
	[BRIDGE_WHY_USES_MISSING] = {USES, "uses of the socket up to here may not have been told"},
	[BRIDGE_WHY_NO_TURN] = {USES, "none of the uses that were told covers this packet"},

	[BRIDGE_WHY_OUTSIDE] = {ROWS,
				"complete snapshots do not stand on both sides of the packet"},
	[BRIDGE_WHY_OTHER_NAMESPACE] = {ROWS, "a row of this five-tuple is of another namespace"},
	[BRIDGE_WHY_EARLIER_CONNECTION] = {ROWS,
					   "a row of this five-tuple was seen only before this "
					   "flow began"},
	[BRIDGE_WHY_NO_INODE] = {ROWS, "a row of this five-tuple has no inode (closing, or not yet "
				       "accepted)"},
	[BRIDGE_WHY_NO_ROW] =
		{ROWS, "no snapshot has a socket with an inode of this five-tuple for this flow"},
	[BRIDGE_WHY_NOT_THEN] = {ROWS,
				 "the rows of this five-tuple are not of the time of the packet"},
	[BRIDGE_WHY_SEVERAL] = {"all", "several processes had a socket that fits, or one went from "
				       "hand to hand"},
	[BRIDGE_WHY_HELD_OTHERWISE] = {"all", "who was seen to hold the socket cannot have held it "
					      "then"},
	[BRIDGE_WHY_MAY_BE_CLOSED] = {ROWS,
				      "the next complete snapshot has the socket no more: it may "
				      "have closed before the packet"},
	[BRIDGE_WHY_HANDED_ON] = {ROWS, "the socket went from one process to another between two "
					"snapshots"},
	[BRIDGE_WHY_MAY_HAND_ON] = {ROWS,
				    "who was caught accepting it may have handed it on at once"},
	[BRIDGE_WHY_NOT_ITS_USER] = {ROWS, "its holder is not who was told to use it"},
	[BRIDGE_WHY_NOT_ITS_TURN] = {ROWS, "by the kernel's account it may have been the turn of "
					   "another process to use it"},
	[BRIDGE_WHY_HEIR] = {ROWS, "all its holders began after the connection did"},
	[BRIDGE_WHY_MAY_BE_HEIR] = {ROWS, "its holder may have begun after the connection did, and "
					  "who forked it has gone since"},

	[BRIDGE_WHY_NO_SYN] = {"listener", "the SYN of this connection was not captured"},
	[BRIDGE_WHY_PORT_OUTSIDE] = {PORTS, "complete snapshots do not stand on both sides of that "
					    "moment"},
	[BRIDGE_WHY_NO_PORT] = {PORTS, "no unconnected socket had this port then"},
	[BRIDGE_WHY_PORT_MAY_BE_TAKEN] = {PORTS,
					  "the next complete snapshot has that socket no more: its "
					  "port may have gone to another one before the packet"},
	[BRIDGE_WHY_NOT_ACCEPTOR] = {"listener", "who listens was not seen to hold what this port "
						 "accepts"},

	[BRIDGE_WHY_KERNEL] = {"quoted", "no ping or raw socket sends or takes this: the kernel "
					 "itself does"},

	[BRIDGE_WHY_CROWDED] = {"all", "so many could have had it that not all were looked at"},
	[BRIDGE_WHY_CLOSED_BETWEEN] = {"all", "a socket of this port closed between the packet and "
					      "the first sighting of this one"},
	[BRIDGE_WHY_FORKED_TWICE] = {"all", "two processes bear this pid and start, and which one "
					    "it was is not known"},
	[BRIDGE_WHY_NOT_OUR_NAMESPACE] = {"all", "the socket is of another namespace than the "
						 "address"},

	[BRIDGE_WHY_NO_WAY] = {USES, "the kernel told of no datagram sent this way"},
	[BRIDGE_WHY_ENDED] = {"all",
			      "the process that snapshots name had ended: it received nothing "
			      "any more"},
	[BRIDGE_WHY_CONTRADICTED] = {"all", "the kernel told of another user of this way than "
					    "snapshots show"},
	[BRIDGE_WHY_HAS_HEIR] = {ROWS, "its holder has forked since the snapshot: the child has "
				       "the socket too"},
	[BRIDGE_WHY_COMES_LATER] = {"all", "another process used this way before the packet, and "
					   "nothing says that its socket closed"},
	[BRIDGE_WHY_RACE] = {"all", "two processes looked up this way at once, and which of them "
				    "sends first is not told"},
	[BRIDGE_WHY_NO_SENDER] = {USES, "who was told to send this way is not surely the "
					"sender of this packet"},
	[BRIDGE_WHY_NO_RECEIVER] = {USES, "who was told to send this way is not surely "
					  "the receiver of this packet"},
	[BRIDGE_WHY_OTHER_HANDS] = {"all", "another process was told to use the socket of this "
					   "port, and may be the one"},
};

const char *bridge_why_rules(enum bridge_why why)
{
	return why < BRIDGE_WHYS ? whys[why].rules : "";
}

const char *bridge_why_text(enum bridge_why why)
{
	return why < BRIDGE_WHYS ? whys[why].text : "";
}
