#include "snapshot/watcher_uses_internal.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/watcher_calls.h"
#include "snapshot/watcher_hands.h"

#define FIRST_SOCKETS 1024 /* a power of two */
#define FIRST_CPUS    16

struct watcher_uses *watcher_uses_new(const struct watcher_uses_config *config)
{
	struct watcher_uses *uses = calloc(1, sizeof(*uses));

	if (!uses)
		return NULL;
	uses->config = *config;
	uses->gap[STREAMS] = uses->gap[DATAGRAMS] = 1;
	uses->slots = calloc(2 * FIRST_SOCKETS, sizeof(*uses->slots));
	uses->slot_count = 2 * FIRST_SOCKETS;
	uses->streams = calloc(FIRST_SOCKETS, sizeof(*uses->streams));
	uses->capacity = FIRST_SOCKETS;
	uses->ways = calloc(WATCHER_USES_WAYS / WATCHER_USES_SET, sizeof(*uses->ways));
	uses->calls = calloc(1, sizeof(*uses->calls));
	uses->hands = calloc(1, sizeof(*uses->hands));
	uses->ended = calloc(WATCHER_USES_LATE, sizeof(*uses->ended));
	uses->cpu_ns = calloc(FIRST_CPUS, sizeof(*uses->cpu_ns));
	uses->cpu_count = FIRST_CPUS;
	if (uses->slots && uses->streams && uses->ways && uses->calls && uses->hands &&
	    uses->ended && uses->cpu_ns)
		return uses;
	watcher_uses_free(uses);
	return NULL;
}

void watcher_uses_free(struct watcher_uses *uses)
{
	if (!uses)
		return;
	free(uses->slots);
	free(uses->streams);
	free(uses->ways);
	free(uses->calls);
	free(uses->hands);
	free(uses->ended);
	free(uses->cpu_ns);
	free(uses);
}

void watcher_uses_set_real(struct watcher_uses *uses, int64_t offset_ns)
{
	uses->real_ns = offset_ns;
}

size_t watcher_uses_sockets(const struct watcher_uses *uses)
{
	return uses->count;
}

/* ------------------------------------------------------------- missing -- */

void watcher_uses_miss(struct watcher_uses *uses, enum tracepoint_group group,
		       enum watcher_untold why, int64_t since_ns)
{
	if (!uses->missing[group] || since_ns < uses->missing_since_ns[group])
		uses->missing_since_ns[group] = since_ns;
	uses->missing[group] |= why;
}

unsigned watcher_uses_take_missing(struct watcher_uses *uses, enum tracepoint_group group,
				   int64_t *since_ns)
{
	unsigned missing = uses->missing[group];

	if (!missing)
		return 0;
	*since_ns = uses->missing_since_ns[group];
	uses->missing[group] = 0;
	uses->gap[group]++;
	return missing;
}

/* All that is lost of a processor came after the last event that it had room for. */
static void note_lost(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	int64_t since_ns = event->cpu < uses->cpu_count ? uses->cpu_ns[event->cpu] : 0;

	if (!since_ns)
		since_ns = uses->first_ns;
	watcher_uses_miss(uses, STREAMS, WATCHER_UNTOLD_LOST, since_ns);
	watcher_uses_miss(uses, DATAGRAMS, WATCHER_UNTOLD_LOST, since_ns);
}

static void note_cpu(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	if (!uses->first_ns)
		uses->first_ns = event->time_ns;
	if (event->cpu >= uses->cpu_count) {
		size_t count = 2 * (size_t)event->cpu;
		int64_t *grown = realloc(uses->cpu_ns, count * sizeof(*grown));

		if (!grown)
			return;
		memset(grown + uses->cpu_count, 0, (count - uses->cpu_count) * sizeof(*grown));
		uses->cpu_ns = grown;
		uses->cpu_count = count;
	}
	uses->cpu_ns[event->cpu] = event->time_ns;
}

void watcher_uses_note_rate(struct watcher_uses *uses, enum tracepoint_group group, int64_t time_ns)
{
	struct rate *rate = &uses->rates[group];

	if (rate->window != time_ns / WATCHER_USES_WINDOW_NS) {
		rate->window = time_ns / WATCHER_USES_WINDOW_NS;
		rate->count = 0;
	}
	if (++rate->count > WATCHER_USES_HOT)
		rate->is_hot = true;
}

bool watcher_uses_is_hot(struct watcher_uses *uses, enum tracepoint_group group)
{
	bool is_hot = uses->rates[group].is_hot;

	uses->rates[group].is_hot = false;
	return is_hot;
}

/* ------------------------------------------------------------- streams -- */

uint64_t watcher_uses_mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
	return hash ^ hash >> 32;
}

static size_t slot_of(const struct watcher_uses *uses, uint64_t sk)
{
	return (size_t)watcher_uses_mix(0, sk) & (uses->slot_count - 1);
}

/* The slot of sk, or the free one where it would be. */
static size_t find_slot(const struct watcher_uses *uses, uint64_t sk)
{
	size_t slot = slot_of(uses, sk);

	while (uses->slots[slot] && uses->streams[uses->slots[slot] - 1].sk != sk)
		slot = (slot + 1) & (uses->slot_count - 1);
	return slot;
}

static struct stream *find_stream(const struct watcher_uses *uses, uint64_t sk)
{
	uint32_t place = uses->slots[find_slot(uses, sk)];

	return place ? &uses->streams[place - 1] : NULL;
}

static bool grow(struct watcher_uses *uses)
{
	size_t capacity = 2 * uses->capacity;
	uint32_t *slots = calloc(2 * capacity, sizeof(*slots));
	struct stream *streams = realloc(uses->streams, capacity * sizeof(*streams));

	if (streams)
		uses->streams = streams;
	if (!slots || !streams) {
		free(slots);
		return false;
	}
	uses->capacity = capacity;
	free(uses->slots);
	uses->slots = slots;
	uses->slot_count = 2 * capacity;
	for (size_t i = 0; i < uses->count; i++) {
		/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): count of them are set */
		slots[find_slot(uses, streams[i].sk)] = (uint32_t)i + 1;
	}
	return true;
}

/* Takes a slot out of its chain: what stands behind it moves up. */
static void clear_slot(struct watcher_uses *uses, size_t slot)
{
	size_t mask = uses->slot_count - 1;

	for (size_t next = (slot + 1) & mask; uses->slots[next]; next = (next + 1) & mask) {
		size_t home = slot_of(uses, uses->streams[uses->slots[next] - 1].sk);

		if (((next - home) & mask) < ((next - slot) & mask))
			continue;
		uses->slots[slot] = uses->slots[next];
		slot = next;
	}
	uses->slots[slot] = 0;
}

static void drop_stream(struct watcher_uses *uses, struct stream *stream)
{
	struct stream *last = &uses->streams[uses->count - 1];

	if (stream->was_used && !stream->is_pending && stream->gap == uses->gap[STREAMS]) {
		uses->ended[uses->ended_next] = (struct ended){stream->last, uses->event_ns};
		uses->ended_next = (uses->ended_next + 1) % WATCHER_USES_LATE;
	}
	clear_slot(uses, find_slot(uses, stream->sk));
	if (last != stream) {
		uses->slots[find_slot(uses, last->sk)] = (uint32_t)(stream - uses->streams) + 1;
		*stream = *last;
	}
	uses->count--;
}

/* opened_ns: CLOCK_REALTIME, 0: before it was followed. NULL: there is no room. */
static struct stream *open_stream(struct watcher_uses *uses, const struct tracepoint_event *event,
				  int64_t opened_ns)
{
	struct stream *stream = find_stream(uses, event->sk);

	if (!stream) {
		if (uses->count == WATCHER_USES_SOCKETS ||
		    (uses->count == uses->capacity && !grow(uses))) {
			watcher_uses_miss(uses, STREAMS, WATCHER_UNTOLD_SHED, event->time_ns);
			return NULL;
		}
		assert(uses->streams != NULL);
		stream = &uses->streams[uses->count++];
		uses->slots[find_slot(uses, event->sk)] = (uint32_t)uses->count;
	}
	*stream = (struct stream){.sk = event->sk,
				  .opened_ns = opened_ns,
				  .gap = uses->gap[STREAMS],
				  .is_counted = uses->config.has_lengths && opened_ns != 0};
	return stream;
}

static void take_tuple(struct stream *stream, const struct tracepoint_event *event)
{
	if (event->u.socket.cookie)
		stream->cookie = event->u.socket.cookie;
	if (stream->has_tuple || !event->u.socket.local.port || !event->u.socket.remote.port ||
	    endpoint_is_any(&event->u.socket.local.address) ||
	    endpoint_is_any(&event->u.socket.remote.address))
		return;
	stream->local = event->u.socket.local;
	stream->remote = event->u.socket.remote;
	stream->has_tuple = true;
}

/* Whoever acts may have to be asked for before the socket is looked at again. */
struct watcher_use watcher_uses_make(const struct watcher_uses *uses,
				     const struct tracepoint_event *event, enum snap_act act,
				     const struct watcher_user *user)
{
	return (struct watcher_use){
		.use = {.netns = user->netns,
			.protocol = IPPROTO_TCP,
			.act = act,
			.at_ns = event->time_ns + uses->real_ns,
			.sent_bytes = SNAP_UNKNOWN_BYTES,
			.received_bytes = SNAP_UNKNOWN_BYTES,
			.pid = event->pid,
			.tid = event->tid},
		.user = *user,
		.time_ns = event->time_ns,
	};
}

static void tell_stream(struct watcher_uses *uses, struct stream *stream, struct watcher_use *use)
{
	if (!stream->is_placed)
		stream->netns = uses->config.place(uses->config.context, &use->user, &stream->local,
						   &stream->remote);
	stream->is_placed = true;
	use->use.netns = stream->netns;
	use->use.local = stream->local;
	use->use.remote = stream->remote;
	use->use.cookie = stream->cookie;
	use->use.opened_ns = stream->opened_ns;
	stream->last = *use;
	uses->config.tell(uses->config.context, use);
}

static void tell_pending(struct watcher_uses *uses, struct stream *stream)
{
	struct watcher_use use = stream->last;

	if (!stream->is_pending || !stream->has_tuple)
		return;
	stream->is_pending = false;
	tell_stream(uses, stream, &use);
}

void watcher_uses_restate(struct watcher_uses *uses)
{
	uses->segment++;
	watcher_ways_restate(uses);
	for (size_t i = 0; i < WATCHER_USES_LATE; i++) {
		struct watcher_use use = uses->ended[i].last;

		if (uses->ended[i].ended_ns == 0 ||
		    uses->event_ns - uses->ended[i].ended_ns > WATCHER_USES_LATE_NS)
			continue;
		use.is_restated = true;
		uses->config.tell(uses->config.context, &use);
	}
	for (size_t i = 0; i < uses->count; i++) {
		struct watcher_use use = uses->streams[i].last;

		/* After a gap its next act is told anyway. */
		if (!uses->streams[i].was_used || uses->streams[i].is_pending ||
		    uses->streams[i].gap != uses->gap[STREAMS])
			continue;
		use.is_restated = true;
		uses->config.tell(uses->config.context, &use);
	}
}

enum watcher_known watcher_uses_ask(struct watcher_uses *uses, enum tracepoint_group group,
				    const struct tracepoint_event *event, struct watcher_user *user)
{
	enum watcher_known known = uses->config.who(uses->config.context, event, user);

	if (known == WATCHER_STRANGER)
		watcher_uses_miss(uses, group, WATCHER_UNTOLD_STRANGER, event->time_ns);
	return known;
}

/* The acts of one user in turn; what is not known of it is missing by now. */
static void take_turn(struct watcher_uses *uses, struct stream *stream,
		      const struct tracepoint_event *event, enum snap_act act,
		      const struct watcher_user *user)
{
	bool is_same = stream->user == user->id && stream->gap == uses->gap[STREAMS];
	bool is_other = stream->user != user->id;
	struct watcher_use use = watcher_uses_make(uses, event, act, user);

	if (is_same) {
		stream->pid = event->pid;
		stream->epoch = uses->config.epoch(uses->config.context);
		return;
	}
	/* A second user before the tuple is known. */
	if (!stream->has_tuple && stream->is_pending) {
		watcher_uses_miss(uses, STREAMS, WATCHER_UNTOLD_SEVERAL, event->time_ns);
		return;
	}
	if (is_other && ++stream->turns == SNAP_TURNS_MAX) {
		stream->is_silenced = true;
		use.use.act = SNAP_SEVERAL;
	}
	/* What another one did in a gap is not known. */
	if (stream->gap != uses->gap[STREAMS])
		stream->is_counted = false;
	if (stream->is_counted) {
		use.use.sent_bytes = stream->sent_bytes;
		use.use.received_bytes = stream->received_bytes;
	}
	if (stream->user && stream->gap == uses->gap[STREAMS])
		use.use.previous_ns = stream->last_ns;
	stream->user = user->id;
	stream->gap = uses->gap[STREAMS];
	stream->was_used = true;
	stream->pid = event->pid;
	stream->epoch = uses->config.epoch(uses->config.context);
	stream->last = use;
	stream->is_pending = true;
	tell_pending(uses, stream);
}

/* The kernel itself goes on with what a process began: nobody's from here on. */
static void silence(struct watcher_uses *uses, struct stream *stream,
		    const struct tracepoint_event *event)
{
	struct watcher_use use = stream->last;

	if (!stream->was_used || stream->is_pending)
		return;
	stream->is_silenced = true;
	use.use.act = SNAP_SEVERAL;
	use.use.previous_ns = stream->last_ns;
	use.use.at_ns = event->time_ns + uses->real_ns;
	use.use.sent_bytes = use.use.received_bytes = SNAP_UNKNOWN_BYTES;
	tell_stream(uses, stream, &use);
}

static void on_act(struct watcher_uses *uses, struct stream *stream,
		   const struct tracepoint_event *event, enum snap_act act)
{
	struct watcher_user user;

	if (stream->is_silenced)
		return;
	if (stream->pid != event->pid || stream->gap != uses->gap[STREAMS] ||
	    stream->epoch != uses->config.epoch(uses->config.context)) {
		enum watcher_known known = watcher_uses_ask(uses, STREAMS, event, &user);

		if (known == WATCHER_KERNEL)
			silence(uses, stream, event);
		if (known != WATCHER_KNOWN)
			return;
		take_turn(uses, stream, event, act, &user);
	}
	if (event->time_ns + uses->real_ns > stream->last_ns)
		stream->last_ns = event->time_ns + uses->real_ns;
}

/* Only these happen by close, shutdown or exit and nothing else. */
static bool is_shut(const struct tracepoint_event *event)
{
	uint8_t from = event->u.socket.old_state, to = event->u.socket.new_state;

	return event->in_task && ((from == SNAP_ESTABLISHED && to == SNAP_FIN_WAIT1) ||
				  (from == SNAP_CLOSE_WAIT && to == SNAP_LAST_ACK) ||
				  (from == SNAP_SYN_SENT && to == SNAP_CLOSE));
}

static void on_shut(struct watcher_uses *uses, struct stream *stream,
		    const struct tracepoint_event *event)
{
	struct watcher_user user;
	struct watcher_use use;

	if (stream->was_used || stream->was_shut || !stream->has_tuple ||
	    watcher_uses_ask(uses, STREAMS, event, &user) != WATCHER_KNOWN)
		return;
	stream->was_shut = true;
	use = watcher_uses_make(uses, event, SNAP_SHUT, &user);
	tell_stream(uses, stream, &use);
}

/* The socket whose state it is, made where it begins. NULL: not followed. */
static struct stream *stream_of_state(struct watcher_uses *uses,
				      const struct tracepoint_event *event)
{
	uint8_t from = event->u.socket.old_state, to = event->u.socket.new_state;
	int64_t real_ns = event->time_ns + uses->real_ns;
	struct stream *stream;

	if (to == SNAP_SYN_SENT)
		return open_stream(uses, event, real_ns);
	stream = find_stream(uses, event->sk);
	/* A child of a listener, where another socket was: its end comes late, or not. */
	if (stream &&
	    (from == SNAP_LISTEN || (from == SNAP_SYN_RECV && stream->state != SNAP_SYN_RECV))) {
		drop_stream(uses, stream);
		stream = NULL;
	}
	/* With Fast Open data is read before the handshake is over. */
	if ((from == SNAP_LISTEN || (from == SNAP_SYN_RECV && to == SNAP_ESTABLISHED)) && !stream &&
	    to != SNAP_CLOSE)
		return open_stream(uses, event, real_ns);
	if (from == SNAP_SYN_SENT && to == SNAP_ESTABLISHED && !stream)
		return open_stream(uses, event, 0);
	return stream;
}

static void on_state(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	struct stream *stream;

	/* SCTP's have no DESTROY, and nobody tells who uses them. */
	if (event->u.socket.protocol != IPPROTO_TCP)
		return;
	stream = stream_of_state(uses, event);
	if (!stream)
		return;
	stream->state = event->u.socket.new_state;
	if (stream->state != SNAP_SYN_SENT)
		take_tuple(stream, event);
	tell_pending(uses, stream);
	if (stream->state == SNAP_SYN_SENT && event->in_task)
		on_act(uses, stream, event, SNAP_CONNECT);
	else if (is_shut(event))
		on_shut(uses, stream, event);
}

static void on_transfer(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	bool receives = event->kind == TRACEPOINT_RECEIVE;
	struct stream *stream;

	watcher_uses_note_rate(uses, TRACEPOINT_TRANSFERS, event->time_ns);
	if (event->protocol == IPPROTO_ICMP || event->protocol == IPPROTO_ICMPV6) {
		watcher_ways_echo(uses, event);
		return;
	}
	if (event->protocol == IPPROTO_UDP || event->protocol == IPPROTO_UDPLITE) {
		watcher_ways_datagram(uses, event);
		return;
	}
	stream = find_stream(uses, event->sk);
	if (!stream)
		return;
	if (receives && !uses->config.has_lengths) {
		take_tuple(stream, event);
		tell_pending(uses, stream);
	} else if (event->u.length < 0 || (!receives && event->u.length == 0)) {
		return;
	}
	on_act(uses, stream, event, receives ? SNAP_RECEIVE : SNAP_SEND);
	if (uses->config.has_lengths)
		*(receives ? &stream->received_bytes : &stream->sent_bytes) +=
			(uint64_t)event->u.length;
}

static void on_destroy(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	struct stream *stream = find_stream(uses, event->sk);

	if (stream)
		drop_stream(uses, stream);
}

/* ---------------------------------------------------------------- feed -- */

void watcher_uses_feed(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	if (event->time_ns > uses->event_ns)
		uses->event_ns = event->time_ns;
	switch (event->kind) {
	case TRACEPOINT_STATE:
		on_state(uses, event);
		break;
	case TRACEPOINT_SEND:
	case TRACEPOINT_RECEIVE:
		on_transfer(uses, event);
		break;
	case TRACEPOINT_DESTROY:
		on_destroy(uses, event);
		break;
	case TRACEPOINT_ROUTE:
		watcher_ways_take(uses, event);
		break;
	case TRACEPOINT_LOST:
		note_lost(uses, event);
		break;
	default:
		break;
	}
	note_cpu(uses, event);
}
