/* Which processes were started lately, by the kernel's process events. */
#include "snapshot/watcher_internal.h"

/* With the lock. The slot of pid, or NULL. */
static struct watcher_fork *find(struct watcher_recent *recent, uint32_t pid)
{
	uint32_t slot = recent->index[pid % WATCHER_RECENT_INDEX];
	struct watcher_fork *item = slot ? &recent->ring[slot - 1] : NULL;

	return item && item->pid == pid ? item : NULL;
}

static void note(struct watcher_recent *recent, const struct procevent *event)
{
	struct watcher_fork *item = find(recent, event->pid);

	switch (event->kind) {
	case PROCEVENT_EXIT:
		if (item && item->born_ns <= event->monotonic_ns)
			item->gone = true;
		break;
	case PROCEVENT_FORK: {
		size_t slot = recent->count++ % WATCHER_RECENT;

		recent->ring[slot] = (struct watcher_fork){
			.pid = event->pid, .parent = event->parent, .born_ns = event->monotonic_ns};
		recent->index[event->pid % WATCHER_RECENT_INDEX] = (uint32_t)slot + 1;
		break;
	}
	default:
		break;
	}
}

void watcher_recent_drain(struct watcher_recent *recent)
{
	struct procevent event;
	int result;

	pthread_mutex_lock(&recent->lock);
	while (recent->source && (result = procevent_next(recent->source, &event, NULL)) != 0) {
		if (result == 1) {
			note(recent, &event);
		} else if (result != ERROR_LIMIT) {
			procevent_close(recent->source);
			recent->source = NULL;
		}
	}
	pthread_mutex_unlock(&recent->lock);
}

size_t watcher_recent_list(struct watcher_recent *recent, int64_t since_ns, uint32_t parent,
			   uint32_t *pids, size_t max)
{
	size_t count = 0;

	pthread_mutex_lock(&recent->lock);
	for (uint64_t back = 1; back <= WATCHER_RECENT && back <= recent->count && count < max;
	     back++) {
		const struct watcher_fork *item =
			&recent->ring[(recent->count - back) % WATCHER_RECENT];

		if (item->born_ns < since_ns)
			break;
		if (!item->gone && (!parent || item->parent == parent))
			pids[count++] = item->pid;
	}
	pthread_mutex_unlock(&recent->lock);
	return count;
}
