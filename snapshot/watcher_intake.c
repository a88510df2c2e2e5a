/* Packets to one of the watcher's threads: received, counted, sifted. */
#include "snapshot/watcher_internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

int watcher_intake_open(struct watcher_intake *intake, struct watcher *watcher, unsigned ifindex,
			struct error *error)
{
	intake->watcher = watcher;
	intake->tuples = calloc(1, sizeof(*intake->tuples));
	intake->rates = calloc(1, sizeof(*intake->rates));
	intake->messages = calloc(WATCHER_BATCH, sizeof(*intake->messages));
	intake->vectors = calloc(WATCHER_BATCH, sizeof(*intake->vectors));
	intake->from = calloc(WATCHER_BATCH, sizeof(*intake->from));
	intake->bytes = calloc(WATCHER_BATCH, sizeof(*intake->bytes));
	if (!intake->tuples || !intake->rates || !intake->messages || !intake->vectors ||
	    !intake->from || !intake->bytes)
		return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
	intake->fd = watcher_tap_open(&intake->filter, ifindex, error);
	return intake->fd < 0 ? intake->fd : 0;
}

void watcher_intake_release(struct watcher_intake *intake)
{
	if (intake->fd >= 0)
		close(intake->fd);
	free(intake->tuples);
	free(intake->rates);
	free(intake->messages);
	free(intake->vectors);
	free(intake->from);
	free(intake->bytes);
}

size_t watcher_homes_of(struct watcher_intake *intake, const struct watcher_packet *packet,
			const struct endpoint *end, uint64_t netns[WATCHER_HOMES])
{
	struct watcher *watcher = intake->watcher;
	bool is_source = end == &packet->source;
	uint64_t homes[WATCHER_HOMES - 1];
	size_t found, count = 0;

	if (packet->loopback || packet->outgoing == is_source)
		netns[count++] = watcher->netns;
	if (packet->loopback || !intake->filter.foreign)
		return count;
	found = watcher_view_homes(&watcher->view, &end->address, homes, WATCHER_HOMES - 1);
	for (size_t i = 0; i < found; i++) {
		if (homes[i] != watcher->netns)
			netns[count++] = homes[i];
	}
	return count;
}

static void change_filter(struct watcher_intake *intake)
{
	watcher_rates_apply(intake->rates, &intake->filter);
	/* A filter that cannot be set leaves the old one: more packets, no fewer. */
	watcher_tap_filter(intake->fd, &intake->filter, NULL);
}

/* True when it is to be looked up. */
static bool count(struct watcher_intake *intake, const struct watcher_packet *packet,
		  int64_t now_ns)
{
	struct watcher_tuple *tuple;
	bool is_new = watcher_tuples_see(intake->tuples, packet, now_ns, &tuple);

	switch (watcher_rates_count(intake->rates, packet, tuple, now_ns)) {
	case WATCHER_STALE:
		return false;
	case WATCHER_SHED:
		watcher_miss(intake->watcher, WATCHER_MISSED_SHED);
		change_filter(intake);
		return false;
	case WATCHER_FILTER:
		change_filter(intake);
		break;
	case WATCHER_PASS:
		break;
	}
	return is_new;
}

static int receive(struct watcher_intake *intake)
{
	for (size_t i = 0; i < WATCHER_BATCH; i++) {
		intake->vectors[i] = (struct iovec){intake->bytes[i], WATCHER_TAP_SNAPLEN};
		intake->messages[i].msg_hdr =
			(struct msghdr){.msg_name = &intake->from[i],
					.msg_namelen = sizeof(intake->from[i]),
					.msg_iov = &intake->vectors[i],
					.msg_iovlen = 1};
	}
	return recvmmsg(intake->fd, intake->messages, WATCHER_BATCH, MSG_DONTWAIT, NULL);
}

void watcher_intake_take(struct watcher_intake *intake,
			 void (*first)(void *context, const struct watcher_packet *packet,
				       bool is_last),
			 void *context)
{
	struct pollfd more = {.fd = intake->fd, .events = POLLIN};
	int received;

	while ((received = receive(intake)) > 0) {
		int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);

		for (int i = 0; i < received; i++) {
			struct watcher_packet packet;

			if (watcher_tap_parse(intake->bytes[i], intake->messages[i].msg_len,
					      &intake->from[i], &packet) &&
			    count(intake, &packet, now_ns))
				first(context, &packet,
				      i + 1 == received && poll(&more, 1, 0) == 0);
		}
	}
}

void watcher_intake_keep(struct watcher_intake *intake)
{
	struct watcher *watcher = intake->watcher;
	int64_t now_ns = quantity_now_ns(CLOCK_MONOTONIC);
	bool foreign = atomic_load(&watcher->foreign), changed;
	struct tpacket_stats stats;
	socklen_t size = sizeof(stats);

	if (now_ns - intake->kept_ns < WATCHER_KEEP_MS * NS_PER_MS)
		return;
	intake->kept_ns = now_ns;
	watcher_recent_drain(watcher->recent);
	changed = watcher_rates_expire(intake->rates, now_ns);
	if (changed || foreign != intake->filter.foreign) {
		intake->filter.foreign = foreign;
		change_filter(intake);
	}
	/* What the socket's buffer had no room for. */
	if (!getsockopt(intake->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) && stats.tp_drops)
		watcher_miss(watcher, WATCHER_MISSED_BUFFER);
}
