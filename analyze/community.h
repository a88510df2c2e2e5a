/*
 * community.h - Community ID v1 of a flow, seed 0.
 */
#ifndef ANALYZE_COMMUNITY_H
#define ANALYZE_COMMUNITY_H

#include "analyze/flow.h"

#define COMMUNITY_ID_SIZE 31 /* "1:" + 28 base64 characters + NUL */

/* https://github.com/corelight/community-id-spec: SHA-1 over the ordered
 * tuple of the addresses on the wire, base64. originator: the side of the key that is
 * the source (matters for one-way ICMP only). Returns id, or NULL if libcrypto fails. */
const char *community_id(const struct flow_key *key, uint8_t originator,
			 char id[COMMUNITY_ID_SIZE]);

#endif
