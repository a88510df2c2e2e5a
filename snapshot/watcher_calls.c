#include "snapshot/watcher_calls.h"

void watcher_calls_look(struct watcher_calls *calls, const struct watcher_use *use, bool is_told)
{
	struct watcher_call *call = &calls->of[use->use.tid % WATCHER_CALLS];
	const struct snap_use *have = &call->use.use;

	/* IPv6 looks up two tables for one call; and a connect() looks like a call that goes on. */
	if (have->at_ns != 0 && have->local.port == use->use.local.port &&
	    have->tid == use->use.tid && have->pid == use->use.pid &&
	    have->protocol == use->use.protocol &&
	    endpoint_equal(&have->remote.address, &use->use.remote.address)) {
		call->is_told = call->is_told && is_told;
		return;
	}
	*call = (struct watcher_call){*use, is_told};
}

static struct watcher_call *find_call(struct watcher_calls *calls,
				      const struct tracepoint_event *event)
{
	struct watcher_call *call = &calls->of[event->tid % WATCHER_CALLS];
	const struct snap_use *use = &call->use.use;

	return use->at_ns != 0 && use->tid == event->tid && use->pid == event->pid &&
			       use->protocol == event->protocol
		       ? call
		       : NULL;
}

bool watcher_calls_take(struct watcher_calls *calls, const struct tracepoint_event *event,
			struct watcher_use *out)
{
	struct watcher_call *call = find_call(calls, event);

	if (!call)
		return false;
	*out = call->use;
	call->use.use.at_ns = 0;
	return true;
}

bool watcher_calls_end(struct watcher_calls *calls, const struct tracepoint_event *event,
		       int64_t real_ns, struct watcher_use *out)
{
	struct watcher_call *call = find_call(calls, event);
	struct watcher_use use;

	if (!call)
		return false;
	use = call->use;
	call->use.use.at_ns = 0;
	if (!call->is_told)
		return false;
	use.use.act = SNAP_SEND;
	use.use.opened_ns = use.use.at_ns;
	use.use.previous_ns = 0;
	use.use.at_ns = event->time_ns + real_ns;
	/* One that failed may have sent all the same: a driver says so too late. */
	if (event->u.length > 0)
		use.use.sent_bytes = (uint64_t)event->u.length;
	use.time_ns = event->time_ns;
	*out = use;
	return true;
}
