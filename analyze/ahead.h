/*
 * ahead.h - some packets that follow each other, decoded before the first of them is counted.
 *
 * Most of the time of a packet would be spent waiting for memory, for one thing after the
 * other: its sightings, the slot of its flow, the flow, its stretches. So these are fetched for all
 * of them first. Nothing that is counted depends on it.
 */
#ifndef ANALYZE_AHEAD_H
#define ANALYZE_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "analyze/decode.h"
#include "analyze/flow.h"
#include "analyze/ledger.h"
#include "analyze/pcapin.h"
#include "analyze/repeats.h"
#include "snapshot/format/error.h"

/* Enough that what the first one leads to has come by the time that it is counted, and few
 * enough that it is still in the processor's first cache. */
#define AHEAD_PACKETS 16

struct ahead {
	size_t count;
	struct pcapin_packet raw[AHEAD_PACKETS];
	struct packet packet[AHEAD_PACKETS];
	/* Of those with DECODE_FLOW: */
	struct flow_look look[AHEAD_PACKETS];
	struct repeats_look sighting[AHEAD_PACKETS];
};

/* One packet; of a later fragment with the ports that fragments knows. */
void ahead_decode(const struct pcapin_packet *raw, struct decode_fragments *fragments,
		  struct packet *packet);
/* Reads and decodes as many as there are, at most most of them. Returns as pcapin_next of the
 * first one, which is not 1 only where there is none. What they point to is valid until the
 * next call. */
int ahead_read(struct ahead *ahead, struct pcapin *in, uint64_t most,
	       struct decode_fragments *fragments, struct error *error);
/* Fetches what counting them will need. */
void ahead_fetch(struct ahead *ahead, const struct flow_table *flows, const struct ledger *ledger,
		 const struct repeats *repeats);

#endif
