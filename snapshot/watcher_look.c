/* The thread that looks up the first packet of each conversation. */
#include "snapshot/watcher_internal.h"

#include <endian.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/format/procnet_text.h"
#include "snapshot/format/quantity.h"

/* A socket whose holder was found this short ago is not told again for each
 * of its conversations. */
#define FRESH_NS INT64_C(500000000)

struct look {
	struct watcher *watcher;
	struct watcher_finder *finder;
	struct procfs_text text;
	struct procnet_rows rows;
	bool is_last; /* no further packet waits */
};

static bool is_fresh(struct watcher *watcher, const struct snap_socket *socket)
{
	struct watcher_cookies *cookies = watcher->cookies;
	size_t at = socket->cookie % WATCHER_COOKIES;
	bool fresh;

	if (!socket->cookie)
		return false;
	pthread_mutex_lock(&cookies->lock);
	fresh = cookies->items[at].cookie == socket->cookie && cookies->items[at].found_ns &&
		quantity_now_ns(CLOCK_MONOTONIC) - cookies->items[at].found_ns < FRESH_NS;
	pthread_mutex_unlock(&cookies->lock);
	return fresh;
}

/* sighting has begun and has its socket. */
static void find_and_tell(struct look *look, struct watcher_sighting *sighting)
{
	struct watcher *watcher = look->watcher;
	uint32_t first[8];
	size_t count = 0;

	if (is_fresh(watcher, &sighting->socket))
		return;
	if (sighting->socket.remote.port == 0)
		count = watcher_view_holders(&watcher->view, sighting->socket.inode, first, 8);
	if (sighting->socket.inode && !watcher_find_holder(look->finder, sighting, first, count) &&
	    watcher_push_lost(watcher, sighting))
		return;
	watcher_tell(look->finder, sighting, look->is_last);
}

static void look_up(struct look *look, const char *cause, uint64_t netns,
		    const struct watcher_packet *packet, const struct endpoint *local,
		    const struct endpoint *remote)
{
	struct watcher *watcher = look->watcher;
	struct watcher_sighting sighting;
	int result;

	watcher_begin(&sighting, cause);
	result = watcher_find_socket(look->finder, netns, packet->protocol, packet->ifindex, local,
				     remote, &sighting.socket);
	if (result < 0)
		watcher->config.want_poll(watcher->config.context);
	if (result <= 0)
		return;
	/* What the kernel told of the process that this may be of. */
	watcher_recent_drain(watcher->recent);
	find_and_tell(look, &sighting);
}

static void look_at_call(struct look *look, const struct watcher_packet *packet)
{
	uint64_t netns[WATCHER_HOMES];
	size_t count = watcher_homes_of(&look->watcher->calls, packet, &packet->source, netns);

	for (size_t i = 0; i < count; i++)
		look_up(look, "connect", netns[i], packet, &packet->source, &packet->destination);
}

static void look_at_datagram(struct look *look, const struct watcher_packet *packet)
{
	uint64_t netns[WATCHER_HOMES];
	size_t count = watcher_homes_of(&look->watcher->calls, packet, &packet->source, netns);

	for (size_t i = 0; i < count; i++)
		look_up(look, "datagram", netns[i], packet, &packet->source, &packet->destination);
	count = watcher_homes_of(&look->watcher->calls, packet, &packet->destination, netns);
	for (size_t i = 0; i < count; i++)
		look_up(look, "datagram", netns[i], packet, &packet->destination, &packet->source);
}

/* The kernel has no exact request for ping sockets, and several raw sockets
 * may take the same packet: their tables are short, and are read. */
static void look_at_table(struct look *look, const char *cause, enum snap_table table,
			  uint16_t port)
{
	struct watcher *watcher = look->watcher;
	struct watcher_sighting sighting, times;
	char path[32];
	uint64_t bad;

	watcher_begin(&times, cause);
	snprintf(path, sizeof(path), "self/net/%s", snap_table_name(table));
	look->rows.count = 0;
	if (procfs_read_file(watcher->config.proc_fd, path, 0, &look->text) ||
	    procnet_text_parse(table, __BYTE_ORDER == __BIG_ENDIAN, watcher->netns, path,
			       look->text.text, look->text.length, &look->rows, &bad, NULL))
		return;
	for (size_t i = 0; i < look->rows.count; i++) {
		if (look->rows.rows[i].local.port != port)
			continue;
		sighting = times;
		sighting.socket = look->rows.rows[i];
		watcher_recent_drain(watcher->recent);
		find_and_tell(look, &sighting);
	}
}

static void look_at(void *context, const struct watcher_packet *packet, bool is_last)
{
	struct look *look = context;
	bool echo = packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6;

	look->is_last = is_last;
	if (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_SCTP) {
		look_at_call(look, packet);
	} else if (packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_UDPLITE) {
		look_at_datagram(look, packet);
	} else if (echo && (packet->outgoing || packet->loopback)) {
		look_at_table(look, "echo", packet->ipv6 ? SNAP_ICMP6 : SNAP_ICMP, packet->ident);
		look_at_table(look, "echo", packet->ipv6 ? SNAP_RAW6 : SNAP_RAW, packet->protocol);
	} else if (!echo) {
		look_at_table(look, "datagram", packet->ipv6 ? SNAP_RAW6 : SNAP_RAW,
			      packet->protocol);
	}
}

void *watcher_look_thread(void *context)
{
	struct watcher *watcher = context;
	struct look look = {.watcher = watcher, .finder = &watcher->look};
	struct pollfd ready[2] = {{.fd = watcher->calls.fd, .events = POLLIN},
				  {.fd = watcher->stop_fd, .events = POLLIN}};

	while (!ready[1].revents) {
		poll(ready, 2, WATCHER_KEEP_MS);
		if (ready[0].revents) {
			atomic_store(&watcher->look_end_ns, INT64_MAX);
			watcher_intake_take(&watcher->calls, look_at, &look);
			watcher_describe_deferred(look.finder);
			atomic_store(&watcher->look_end_ns, quantity_now_ns(CLOCK_MONOTONIC));
		}
		watcher_intake_keep(&watcher->calls);
	}
	procfs_text_release(&look.text);
	procnet_rows_release(&look.rows);
	return NULL;
}
