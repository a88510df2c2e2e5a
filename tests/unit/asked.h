/*
 * asked.h - judgements with somebody who asks why: each that names no owner has
 * told a reason for it.
 */
#ifndef TESTS_UNIT_ASKED_H
#define TESTS_UNIT_ASKED_H

#include <stdbool.h>

#include "analyze/bridge_why.h"

/* bridge_judge, which must tell why it names nobody. */
void asked_judge(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		 struct bridge_verdict *v);
/* Whether the last judgement told this. */
bool asked_told(enum bridge_why why);

#endif
