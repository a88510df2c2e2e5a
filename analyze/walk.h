/*
 * walk.h - counts the steps of walks and searches whose length the evidence
 * decides, so that tests can hold how the work grows with it. Never decides anything.
 */
#ifndef ANALYZE_WALK_H
#define ANALYZE_WALK_H

#include <stdint.h>

extern _Thread_local uint64_t walk_steps;

static inline void walk_step(void)
{
	walk_steps++;
}

#endif
