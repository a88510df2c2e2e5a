/*
 * replay_internal.h - what the files of the replay share: replay.c (packets to owners)
 * and replay_part.c (parts, and what goes over their borders).
 */
#ifndef ANALYZE_REPLAY_INTERNAL_H
#define ANALYZE_REPLAY_INTERNAL_H

#include "analyze/replay.h"

/* replay_part.c */
void replay_part_clear(struct replay_part *part); /* keeps the memory */
/* Having read up to a packet: holds against where it is what the index says of that. */
void replay_hold(struct replay *replay, uint64_t number);
/* So many packets, at most `most`, until the index says something again. */
uint64_t replay_until_held(const struct replay *replay, uint64_t number, uint64_t most);
/* Packets that a piece may still have: each may begin a flow. */
uint64_t replay_room(const struct replay *replay, const struct replay_part *part);
/* Writes down what goes over the borders of a part. 0, or -1 without memory. */
int replay_begin_part(struct replay *replay, struct replay_part *part);
int replay_end_part(struct replay *replay, struct replay_part *part);
/* Notes a repeated sighting of a flow that has packets before the part only. */
int replay_stray(struct replay_part *part, const struct packet *packet);

#endif
