#include "tests/unit/asked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool told[BRIDGE_WHYS];

static void note(enum bridge_why why, uint32_t socket, void *context)
{
	(void)socket;
	(void)context;
	told[why] = true;
}

/* What makes an end ambiguous. */
static bool is_of_several(enum bridge_why why)
{
	return why == BRIDGE_WHY_SHARED || why == BRIDGE_WHY_AT_ONCE || why == BRIDGE_WHY_SEVERAL ||
	       why == BRIDGE_WHY_HANDED_ON || why == BRIDGE_WHY_MAY_HAND_ON ||
	       why == BRIDGE_WHY_NOT_ACCEPTOR || why == BRIDGE_WHY_OTHER_HANDS;
}

/* What is told on the way to a rule that may still name somebody. */
static bool is_on_the_way(enum bridge_why why)
{
	return why == BRIDGE_WHY_NOT_TOLD || why == BRIDGE_WHY_MULTIPATH ||
	       why == BRIDGE_WHY_NO_WAY || why == BRIDGE_WHY_NO_SENDER ||
	       why == BRIDGE_WHY_NO_RECEIVER;
}

/* What takes an owner away whom readings name. */
static bool is_refusal(enum bridge_why why)
{
	switch (why) {
	case BRIDGE_WHY_CLOCK:
	case BRIDGE_WHY_SHARED:
	case BRIDGE_WHY_SENDS_UNTOLD:
	case BRIDGE_WHY_USES_MISSING:
	case BRIDGE_WHY_NO_TURN:
	case BRIDGE_WHY_NOT_ITS_USER:
	case BRIDGE_WHY_NOT_ITS_TURN:
	case BRIDGE_WHY_HEIR:
	case BRIDGE_WHY_MAY_BE_HEIR:
	case BRIDGE_WHY_CROWDED:
	case BRIDGE_WHY_CLOSED_BETWEEN:
	case BRIDGE_WHY_FORKED_TWICE:
	case BRIDGE_WHY_NOT_OUR_NAMESPACE:
	case BRIDGE_WHY_CONTRADICTED:
	case BRIDGE_WHY_HAS_HEIR:
	case BRIDGE_WHY_COMES_LATER:
	case BRIDGE_WHY_RACE:
	case BRIDGE_WHY_OTHER_HANDS:
		return true;
	default:
		return false;
	}
}

void asked_judge(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		 struct bridge_verdict *v)
{
	const struct bridge_observer observer = {.note = note};
	bool several = false, final = false, refused = false;

	memset(told, 0, sizeof(told));
	bridge->observer = &observer;
	bridge_judge(bridge, subject, t_ns, v);
	bridge->observer = NULL;
	for (int why = 0; why < BRIDGE_WHYS; why++) {
		if (!told[why])
			continue;
		several = several || is_of_several((enum bridge_why)why);
		final = final || !is_on_the_way((enum bridge_why)why);
		refused = refused || is_refusal((enum bridge_why)why);
	}
	assert_true(v->reason != BRIDGE_AMBIGUOUS || several);
	assert_true(!v->refused || refused);
	assert_true(v->reason != BRIDGE_GAP || final);
}

bool asked_told(enum bridge_why why)
{
	return told[why];
}
