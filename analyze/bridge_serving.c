/* What it means for a judgement who serves on a TCP port (serving.h). */
#include "analyze/bridge_internal.h"

/* Whether what counts from since on does at t. */
static bool counts(int64_t since_ns, int64_t t_ns, struct bridge_verdict *v)
{
	bridge_edge(v, t_ns, since_ns);
	return since_ns <= t_ns;
}

static bool either(int64_t a_ns, int64_t b_ns, int64_t t_ns, struct bridge_verdict *v)
{
	return counts(a_ns < b_ns ? a_ns : b_ns, t_ns, v);
}

bool bridge_listened(const struct bridge *bridge, uint16_t port, int64_t t_ns,
		     struct bridge_verdict *v)
{
	const struct serving_port *p = serving_find_port(bridge->serving, port);

	return p != NULL && counts(p->listens_ns, t_ns, v);
}

bool bridge_held_listener(const struct bridge *bridge, uint16_t port, uint32_t process,
			  int64_t t_ns, struct bridge_verdict *v)
{
	const struct serving_user *u = serving_find_user(bridge->serving, port, process);

	return u != NULL && counts(u->facts.listens_ns, t_ns, v);
}

bool bridge_serves(const struct bridge *bridge, uint16_t port, uint32_t process, int64_t t_ns,
		   struct bridge_verdict *v)
{
	const struct serving_port *p = serving_find_port(bridge->serving, port);
	const struct serving_user *u = serving_find_user(bridge->serving, port, process);
	bool again, others;

	if (p == NULL || u == NULL || p->server != process)
		return false;
	again = counts(u->facts.again_ns, t_ns, v);
	others = either(u->facts.others_ns, p->others_ns, t_ns, v);
	return again && !others;
}

bool bridge_hands_on(const struct bridge *bridge, uint16_t port, uint32_t process, int64_t t_ns,
		     struct bridge_verdict *v)
{
	const struct serving_port *p = serving_find_port(bridge->serving, port);
	const struct serving_user *u = serving_find_user(bridge->serving, port, process);
	uint32_t pid = bridge->timeline->processes[process].pid;

	if (p == NULL || u == NULL || !counts(u->facts.listens_ns, t_ns, v))
		return false;
	return either(p->hands_ns, u->facts.hands_ns, t_ns, v) ||
	       counts(serving_fathers(bridge->serving, port, pid), t_ns, v);
}
