/*
 * tunnel.h - the conversations that tunnels carry, by the flow that carries them.
 *
 * A packet in a tunnel is counted as the outer packet that it came in, and for
 * nothing else; here stands beside that what it says of itself. A conversation in
 * a tunnel is a flow like any other (flow.h), and may be a tunnel too: carried by
 * one that is carried, down to TUNNEL_DEPTH. Knows nothing of owners.
 */
#ifndef ANALYZE_TUNNEL_H
#define ANALYZE_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyze/decode.h"
#include "analyze/flow.h"

/* The limit that RFC 2473 4.1.1 wants of tunnels in tunnels, and Linux keeps. What is
 * deeper is unreadable. */
#define TUNNEL_DEPTH 4

/* All conversations that one flow carries with one kind and key of tunnel. */
struct tunnel_path {
	int64_t key;	  /* VNI or GRE key; -1: none */
	uint32_t carrier; /* its place: in the flows on the wire (depth 1), else in this table */
	uint8_t tunnel;	  /* enum decode_tunnel */
	uint8_t depth;	  /* from 1 */
	uint8_t zero[2];  /* paths are compared as bytes */
};

struct tunnel_table {
	struct flow_table flows; /* within: the place of its path, plus 1 */
	struct tunnel_path *paths;
	size_t path_count, path_capacity;
	struct hashindex path_index;
};

void tunnel_table_init(struct tunnel_table *table, const struct flow_limits *limits);
void tunnel_table_clear(struct tunnel_table *table); /* keeps the memory */
void tunnel_table_release(struct tunnel_table *table);

/* Looks into a packet that decode_may_carry, of the flow on the wire at place, and notes in it
 * and in the table what there is. 0, or -1 without memory. */
int tunnel_table_take(struct tunnel_table *table, struct flow *flow, uint32_t place,
		      const struct packet *packet);
/* That of the flow at place in table->flows. */
const struct tunnel_path *tunnel_path_of(const struct tunnel_table *table, uint32_t place);

#endif
