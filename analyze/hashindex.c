#include "analyze/hashindex.h"

#include <sys/random.h>

uint64_t hashindex_seed;

/* Before main: every program and test has it. Without randomness this early in
 * a boot the seed stays a constant, which costs no more than protection. */
__attribute__((constructor)) static void choose_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed))
		hashindex_seed = seed;
}
