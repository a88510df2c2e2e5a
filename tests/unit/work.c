/* work.c - how work grows with evidence. */
#include "tests/unit/work.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void work_compare(unsigned things, uint64_t small, uint64_t large)
{
	if (small < things || large >= 6 * small)
		fail_msg("%llu steps for %u things, %llu for %u", (unsigned long long)small, things,
			 (unsigned long long)large, 4 * things);
}
