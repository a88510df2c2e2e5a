/*
 * fleet_plan.h - which units of which databases become one, and in which order.
 *
 * Knows no database: it is told recordings and segments, and answers. Segments are the
 * same whose recording and name are. A capture of which nothing is known but its packets
 * is the same as any other with these packets, which then counts if it has snapshots.
 */
#ifndef ANALYZE_FLEET_PLAN_H
#define ANALYZE_FLEET_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/hashindex.h"
#include "snapshot/format/error.h"

#define FLEET_NONE SIZE_MAX

struct fleet_plan_segment {
	char *text;	     /* holds what follows */
	const char *key;     /* what makes it the same as another */
	const char *packets; /* SHA-256 of its packets; "": it has none */
	const char *name;    /* of a file, for messages */
	const char *pcap;    /* SHA-256 of the file; "": none */
	const char *content; /* of the packets; "": not known */
	const char *snap;    /* "": none */
	bool is_known;	     /* of which recording it is */
	size_t unit;
	size_t same; /* a number that all that are the same segment have */
};

/* Recordings that were analyzed together. */
struct fleet_plan_unit {
	size_t source;
	int64_t number;	  /* the source's number for it */
	char *host;	  /* "": not known */
	char *boot;	  /* its boot, or its recording's UUID */
	size_t *segments; /* by same */
	size_t segment_count, segment_capacity;
	bool wanted;
	size_t twin; /* a wanted unit with the same segments; FLEET_NONE */
};

struct fleet_plan {
	struct fleet_plan_unit *units;
	size_t unit_count, unit_capacity;
	struct hashindex unit_index; /* by source and number */
	struct fleet_plan_segment *segments;
	size_t segment_count, segment_capacity;
	size_t *order; /* of the wanted units: how many there are is wanted_count */
	size_t wanted_count;
};

/* A unit of a source by its number; made if new. FLEET_NONE: no memory. Texts are copied. */
size_t fleet_plan_unit(struct fleet_plan *plan, size_t source, int64_t number, const char *host,
		       const char *boot);

struct fleet_plan_facts {
	const char *recording; /* its UUID; NULL where that is made up */
	bool is_bare;
	bool has_packets;
	const char *pcap_name, *snap_name, *pcap_sha256, *snap_sha256, *content_sha256;
};
int fleet_plan_segment(struct fleet_plan *plan, size_t unit, const struct fleet_plan_facts *facts,
		       struct error *error);

/* Decides. paths: of the sources, for messages; the first may be what stands there. ERROR_DAMAGED:
 * a segment is in two of them and they are not the same, or neither unit has all of the
 * other. */
int fleet_plan_make(struct fleet_plan *plan, char *const *paths, struct error *error);

void fleet_plan_release(struct fleet_plan *plan);

#endif
