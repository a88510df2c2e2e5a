/*
 * members.h - where a compressed capture can be read from: by its index, or by
 * reading all of it to make that index.
 *
 * What an index says is a claim. Only its file is looked at here; who reads from a place holds
 * what he finds against it (pcapin_seek).
 */
#ifndef ANALYZE_MEMBERS_H
#define ANALYZE_MEMBERS_H

#include <stddef.h>

#include "analyze/pcapin.h"
#include "snapshot/format/error.h"
#include "snapshot/format/pcapindex.h"

/* What an index says of a capture. */
struct members {
	struct pcapin_place *places; /* from its second member on, in their order; owned */
	int64_t *times_ns;	     /* of the packets there; owned */
	size_t count;
	uint64_t packets; /* of the capture */
};

/* Of the index beside the capture. 0: to be released. ERROR_NO_INPUT: there is no index.
 * ERROR_DAMAGED: one that is damaged, or of another file: worth a remark, and the capture is
 * read without it; or another failure. *out is untouched then. */
int members_places(int dirfd, const char *pcap, struct members *out, struct error *error);
void members_release(struct members *members);
/* How many of the places are at or before a packet: the last of them is where to begin that
 * wants that packet. */
size_t members_until(const struct members *members, uint64_t number);

/* Makes the index of a capture by reading it. ERROR_DAMAGED: it is damaged; ERROR_USAGE: it has
 * no places, being no gzip or no classic pcap. *out is empty then. */
int members_index(int dirfd, const char *pcap, struct pcapindex *out, struct error *error);

#endif
