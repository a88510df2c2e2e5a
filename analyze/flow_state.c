/* flow_state.c - what the history of a flow says of it, in Zeek's words. */
#include <ctype.h>
#include <netinet/in.h>

#include "analyze/flow.h"

void flow_history(const struct flow *flow, char history[FLOW_HISTORY_SIZE])
{
	static const char letters[] = "?shadfr?";

	for (uint8_t i = 0; i < flow->history_length; i++) {
		char letter = letters[flow->history[i] & 7];

		history[i] = (flow->history[i] >> 3) == flow->originator
				     ? (char)toupper((unsigned char)letter)
				     : letter;
	}
	history[flow->history_length] = '\0';
}

bool flow_only_reset(const struct flow *flow, uint8_t side)
{
	for (uint8_t i = 0; i < flow->history_length; i++) {
		if ((flow->history[i] >> 3) == side && (flow->history[i] & 7) != FLOW_RST)
			return false;
	}
	return true;
}

bool flow_refused(const struct flow *flow, uint8_t side)
{
	return flow->key.protocol == IPPROTO_TCP && side != flow->originator &&
	       flow->count[side].packets > 0 && flow_only_reset(flow, side);
}

static const char *reset_state(const struct flow *flow, bool by_originator)
{
	uint8_t o = flow->originator;
	bool syn = flow_has_letter(flow, o, FLOW_SYN),
	     answer = flow_has_letter(flow, !o, FLOW_SYN_ACK);

	if (syn && answer)
		return by_originator ? "RSTO" : "RSTR";
	if (by_originator)
		return syn ? "RSTOS0" : "OTH";
	if (syn)
		return "REJ";
	return answer ? "RSTRH" : "OTH";
}

static const char *tcp_state(const struct flow *flow)
{
	uint8_t o = flow->originator;
	bool fin[2] = {false, false}, syn, answer;

	for (uint8_t i = 0; i < flow->history_length; i++) {
		uint8_t side = flow->history[i] >> 3, letter = flow->history[i] & 7;

		if (letter == FLOW_FIN)
			fin[side] = true;
		if (letter == FLOW_RST && !(fin[0] && fin[1]))
			return reset_state(flow, side == o);
	}
	syn = flow_has_letter(flow, o, FLOW_SYN);
	answer = flow_has_letter(flow, !o, FLOW_SYN_ACK);
	if (syn && answer) {
		if (fin[0] && fin[1])
			return "SF";
		return fin[o] ? "S2" : fin[!o] ? "S3" : "S1";
	}
	if (syn && flow->count[!o].packets == 0)
		return fin[o] ? "SH" : "S0";
	if (!syn && answer && fin[!o])
		return "SHR";
	return "OTH";
}

const char *flow_conn_state(const struct flow *flow)
{
	uint8_t o = flow->originator;

	if (flow->key.protocol == IPPROTO_TCP)
		return tcp_state(flow);
	if (flow->key.protocol != IPPROTO_UDP)
		return "OTH";
	if (flow->count[0].packets > 0 && flow->count[1].packets > 0)
		return "SF";
	return flow->count[o].packets > 0 ? "S0" : "SHR";
}
