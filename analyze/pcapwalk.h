/*
 * pcapwalk.h - over the records of a plain pcap by their headers, ahead of who reads
 * the packets: where a stretch of so many ends, and what somebody who begins there
 * has to know of those before.
 *
 * It finds places and judges nothing: where a record is unusual it stops, and
 * whoever reads the packets (pcapin.h) tells of damage.
 */
#ifndef ANALYZE_PCAPWALK_H
#define ANALYZE_PCAPWALK_H

#include <signal.h>
#include <stdint.h>

#include "analyze/decode.h"
#include "analyze/pcapin.h"

/* Places are kept of every so many packets, and so many of them. */
#define PCAPWALK_STRIDE 1024u
#define PCAPWALK_MARKS	64u

struct pcapwalk_mark {
	struct pcapin_place place;
	int64_t time_ns; /* of the packet there */
};

struct pcapwalk {
	struct pcapin_place place;	    /* of the next record */
	struct decode_fragments *fragments; /* as the packets before it leave it; owned */
	/* private */
	struct pcapwalk_mark marks[PCAPWALK_MARKS]; /* the newest overwrite the oldest */
	uint64_t mark_count;			    /* ever */
	int64_t last_ns;			    /* of the record before place */
	uint8_t *buffer;			    /* owned */
};

enum pcapwalk_status {
	PCAPWALK_THERE,	  /* behind as many packets as were asked for */
	PCAPWALK_END,	  /* the file ends before, or there */
	PCAPWALK_STOPPED, /* not known: an unusual record, a failure, *stop is set */
};

/* 0, or -1 without memory; to be released either way. */
int pcapwalk_init(struct pcapwalk *walk);
void pcapwalk_release(struct pcapwalk *walk);
/* The next record is at place, where fragments (NULL: none) is what the packets before leave.
 * 0, or -1 without memory. */
int pcapwalk_begin(struct pcapwalk *walk, const struct pcapin_place *place,
		   const struct decode_fragments *fragments);
/* Goes over so many packets. What it knows is of use after PCAPWALK_THERE only. */
enum pcapwalk_status pcapwalk_go(struct pcapwalk *walk, const struct pcapin_layout *layout,
				 uint64_t packets, const volatile sig_atomic_t *stop);
/* The latest of the places kept from which on there are packets for back_ns, or the earliest. */
struct pcapin_place pcapwalk_before(const struct pcapwalk *walk, int64_t back_ns);

#endif
