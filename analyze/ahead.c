#include "analyze/ahead.h"

void ahead_decode(const struct pcapin_packet *raw, struct decode_fragments *fragments,
		  struct packet *packet)
{
	decode_packet(raw->link_type, raw->data, raw->captured_bytes, raw->original_bytes, packet);
	packet->time_ns = raw->time_ns;
	packet->number = raw->number;
	packet->offset_bytes = raw->offset_bytes;
	if (packet->fragment_first || packet->fragment_later)
		decode_fragments_apply(fragments, packet);
}

int ahead_read(struct ahead *ahead, struct pcapin *in, uint64_t most,
	       struct decode_fragments *fragments, struct error *error)
{
	size_t room = most < AHEAD_PACKETS ? (size_t)most : AHEAD_PACKETS;
	int status;

	ahead->count = pcapin_next_few(in, ahead->raw, room, &status, error);
	for (size_t i = 0; i < ahead->count; i++)
		ahead_decode(&ahead->raw[i], fragments, &ahead->packet[i]);
	return status;
}

/* Packets of one flow often come together. */
static inline bool is_of_last(const struct ahead *ahead, size_t i)
{
	size_t last = i > 0 ? i - 1 : 0;

	return last != i && ahead->packet[last].outcome == DECODE_FLOW &&
	       ahead->look[last].hash == ahead->look[i].hash;
}

void ahead_fetch(struct ahead *ahead, const struct flow_table *flows, const struct ledger *ledger,
		 const struct repeats *repeats)
{
	uint32_t places[AHEAD_PACKETS];

	for (size_t i = 0; i < ahead->count; i++) {
		if (ahead->packet[i].outcome != DECODE_FLOW)
			continue;
		repeats_look(&ahead->packet[i], &ahead->sighting[i]);
		repeats_fetch(repeats, &ahead->sighting[i]);
		flow_look(&ahead->packet[i], &ahead->look[i]);
		if (!is_of_last(ahead, i))
			flow_table_fetch_slot(flows, &ahead->look[i]);
	}
	for (size_t i = 0; i < ahead->count; i++)
		places[i] = ahead->packet[i].outcome == DECODE_FLOW && !is_of_last(ahead, i)
				    ? flow_table_fetch(flows, &ahead->look[i])
				    : FLOW_NONE;
	for (size_t i = 0; i < ahead->count; i++) {
		if (places[i] != FLOW_NONE)
			ledger_fetch(ledger, &flows->flows[places[i]]);
	}
}
