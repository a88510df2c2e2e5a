/* Datagrams: who last looked up each way. */
#include "snapshot/watcher_uses_internal.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#include "snapshot/watcher_calls.h"
#include "snapshot/watcher_hands.h"

#define SECOND_NS INT64_C(1000000000)

/* The connect() of a datagram socket looks for its way once or twice, and what it sends then
 * does not; one that is not connected looks each time, and is told then. */
#define RESTATED_LOOKS 2

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP;
}

static bool is_way(const struct way *way, const struct way *key)
{
	return way->time_ns && way->protocol == key->protocol && way->netns == key->netns &&
	       way->local_port == key->local_port && way->remote_port == key->remote_port &&
	       endpoint_equal(&way->remote, &key->remote);
}

/* The way of key; a new one has user 0. */
static struct way *need_way(struct watcher_uses *uses, const struct way *key)
{
	uint64_t words[2], hash;
	struct way *set, *oldest;

	memcpy(words, key->remote.bytes, sizeof(words));
	hash = watcher_uses_mix(
		watcher_uses_mix(watcher_uses_mix(key->protocol, key->netns), words[0]), words[1]);
	hash = watcher_uses_mix(hash, (uint64_t)key->local_port << 16 | key->remote_port);
	set = oldest = uses->ways[hash % (WATCHER_USES_WAYS / WATCHER_USES_SET)];
	for (size_t i = 0; i < WATCHER_USES_SET; i++) {
		if (is_way(&set[i], key))
			return &set[i];
		if (set[i].time_ns < oldest->time_ns)
			oldest = &set[i];
	}
	*oldest = *key;
	return oldest;
}

static bool is_rare(struct way *way, int64_t time_ns)
{
	if (way->second != time_ns / SECOND_NS) {
		way->second = time_ns / SECOND_NS;
		way->told = 0;
		way->is_crowded = false;
	}
	return ++way->told <= WATCHER_USES_PORTLESS;
}

static struct watcher_use make_look(const struct watcher_uses *uses, const struct way *way,
				    const struct tracepoint_event *event,
				    const struct watcher_user *user, enum snap_act act)
{
	struct watcher_use use = watcher_uses_make(uses, event, act, user);

	use.use.protocol = way->protocol;
	use.use.local = event->u.socket.local;
	use.use.remote = event->u.socket.remote;
	use.use.previous_ns = way->previous_ns;
	return use;
}

static void tell_way(struct watcher_uses *uses, const struct way *way,
		     const struct tracepoint_event *event, const struct watcher_user *user,
		     enum snap_act act)
{
	struct watcher_use use = make_look(uses, way, event, user, act);

	uses->config.tell(uses->config.context, &use);
}

static void take_way(struct watcher_uses *uses, struct way *way,
		     const struct tracepoint_event *event, const struct watcher_user *user)
{
	bool is_known = way->user && way->gap == uses->gap[DATAGRAMS];
	bool is_other = way->user != user->id;
	bool is_told = !is_known || is_other || way->segment != uses->segment ||
		       event->time_ns - way->time_ns > WATCHER_USES_SILENT_NS;
	struct watcher_use look;

	if (!has_ports(way->protocol)) {
		is_told = is_rare(way, event->time_ns);
		/* From here on to the end of the second nobody is known to be who sends. */
		if (!is_told && (is_other || !is_known) && !way->is_crowded) {
			way->is_crowded = true;
			tell_way(uses, way, event, user, SNAP_SEVERAL);
		}
	}
	if (!is_known)
		way->previous_ns = 0;
	else if (is_other)
		way->previous_ns = way->last_ns;
	if (is_other)
		way->looks = 0;
	way->looks += way->looks <= RESTATED_LOOKS;
	way->user = user->id;
	way->pid = event->pid;
	way->tid = event->tid;
	way->is_placed = user->is_placed;
	if (!way->time_ns || !endpoint_is_any(&event->u.socket.local.address))
		way->local = event->u.socket.local.address;
	way->gap = uses->gap[DATAGRAMS];
	way->segment = uses->segment;
	if (event->time_ns > way->time_ns) {
		way->time_ns = event->time_ns;
		way->last_ns = event->time_ns + uses->real_ns;
	}
	if (is_told)
		tell_way(uses, way, event, user, SNAP_ROUTE);
	look = make_look(uses, way, event, user, SNAP_ROUTE);
	watcher_calls_look(uses->calls, &look, is_told);
}

void watcher_ways_take(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	struct way key = {
		.remote = event->u.socket.remote.address,
		.local_port = event->u.socket.local.port,
		.remote_port = event->u.socket.remote.port,
		.protocol = (uint8_t)event->u.socket.protocol,
	};
	struct watcher_user user;

	watcher_uses_note_rate(uses, TRACEPOINT_ROUTES, event->time_ns);
	/* Without a remote port nothing is sent: an address is being chosen. */
	if (key.protocol == IPPROTO_TCP ||
	    (has_ports(key.protocol) && (!key.remote_port || !key.local_port)))
		return;
	if (watcher_uses_ask(uses, DATAGRAMS, event, &user) != WATCHER_KNOWN)
		return;
	key.netns = uses->config.place(uses->config.context, &user, &event->u.socket.local,
				       &event->u.socket.remote);
	user.netns = key.netns;
	take_way(uses, need_way(uses, &key), event, &user);
}

void watcher_ways_echo(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	struct watcher_use use;

	if (watcher_calls_end(uses->calls, event, uses->real_ns, &use))
		uses->config.tell(uses->config.context, &use);
}

void watcher_ways_datagram(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	bool receives = event->kind == TRACEPOINT_RECEIVE, forgot;
	struct watcher_hand *hand = watcher_hands_find(uses->hands, event->sk);
	struct watcher_use act, look, told[WATCHER_HANDS_TOLD];
	uint64_t epoch = uses->config.epoch(uses->config.context);
	bool has_look = !receives && watcher_calls_take(uses->calls, event, &look);
	struct watcher_user user;
	size_t count;

	if (event->u.length < 0 || (receives && event->u.length == 0))
		return;
	if (hand && hand->last.pid == event->pid && hand->epoch == epoch)
		user = hand->last.user;
	else if (watcher_uses_ask(uses, DATAGRAMS, event, &user) != WATCHER_KNOWN)
		return;
	/* One of before with the same pid made it. */
	has_look = has_look && look.user.id == user.id;
	act = watcher_uses_make(uses, event, receives ? SNAP_RECEIVE : SNAP_SEND, &user);
	act.use.protocol = event->protocol;
	count = watcher_hands_take(uses->hands, event->sk, &act, has_look ? &look : NULL, told,
				   &forgot);
	if (forgot)
		watcher_uses_miss(uses, DATAGRAMS, WATCHER_UNTOLD_SHED, event->time_ns);
	hand = watcher_hands_find(uses->hands, event->sk);
	assert(hand != NULL);
	hand->epoch = epoch;
	for (size_t i = 0; i < count; i++)
		uses->config.tell(uses->config.context, &told[i]);
}

static void restate_way(struct watcher_uses *uses, const struct way *way)
{
	struct watcher_use use = {
		.use = {.netns = way->netns,
			.protocol = way->protocol,
			.local = {way->local, way->local_port},
			.remote = {way->remote, way->remote_port},
			.act = SNAP_ROUTE,
			.at_ns = way->last_ns,
			.previous_ns = way->previous_ns,
			.sent_bytes = SNAP_UNKNOWN_BYTES,
			.received_bytes = SNAP_UNKNOWN_BYTES,
			.pid = way->pid,
			.tid = way->tid},
		.user = {way->user, way->netns, way->is_placed},
		.time_ns = way->time_ns,
		.is_restated = true,
	};
	bool is_late = uses->event_ns - way->time_ns <= WATCHER_USES_LATE_NS;

	if (way->user && way->gap == uses->gap[DATAGRAMS] &&
	    (is_late || (way->looks <= RESTATED_LOOKS && has_ports(way->protocol))))
		uses->config.tell(uses->config.context, &use);
}

/* Who has a socket now that went from hand to hand. */
static void restate_hands(struct watcher_uses *uses)
{
	for (size_t i = 0; i < WATCHER_HANDS; i++) {
		struct watcher_use use;

		if (!watcher_hands_restate(uses->hands, i, &use))
			continue;
		use.is_restated = true;
		uses->config.tell(uses->config.context, &use);
	}
}

void watcher_ways_restate(struct watcher_uses *uses)
{
	for (size_t i = 0; i < WATCHER_USES_WAYS; i++)
		restate_way(uses, &uses->ways[i / WATCHER_USES_SET][i % WATCHER_USES_SET]);
	restate_hands(uses);
}
