/* work.h - how work grows with evidence, in steps (analyze/walk.h): time says nothing on a busy
 * machine. */
#ifndef TESTS_UNIT_WORK_H
#define TESTS_UNIT_WORK_H

#include <stdint.h>

/* Steps for so many things, and for four times as many: at most six times the work, for searches
 * that are two steps longer. A walk for each of them would be sixteen times as long. At least a
 * step for each says that they were counted at all. */
void work_compare(unsigned things, uint64_t small, uint64_t large);

#endif
