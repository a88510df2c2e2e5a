#include "snapshot/watcher_uses.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS	  TRACEPOINT_TRANSFERS
#define DATAGRAMS TRACEPOINT_ROUTES

#define FIRST_SOCKETS 1024 /* a power of two */
#define FIRST_CPUS    16
#define SECOND_NS     INT64_C(1000000000)

/* A TCP socket. */
struct stream {
	uint64_t sk, cookie;
	struct endpoint local, remote;
	uint64_t netns;		    /* of whoever was told first, so that all its uses agree */
	int64_t opened_ns, last_ns; /* CLOCK_REALTIME; last: of user's last act */
	uint64_t user;		    /* 0: nobody yet */
	uint64_t epoch;		    /* in which pid was user */
	uint64_t gap;		    /* the state of uses.gap when user was told */
	uint32_t pid;
	uint16_t turns;
	uint8_t state;
	bool has_tuple, is_placed, was_used, was_shut, is_silenced;
	bool is_counted; /* sent and received are all that there was */
	uint64_t sent_bytes, received_bytes;
	bool is_pending;	 /* to be told when the tuple is known */
	struct watcher_use last; /* what was told, or is to be, when user became it */
};

/* A way of datagrams. */
struct way {
	struct endpoint_address remote;
	uint64_t netns;
	uint16_t local_port, remote_port;
	uint8_t protocol;
	uint32_t pid;
	uint64_t user, epoch, gap, segment;
	int64_t time_ns;	      /* CLOCK_MONOTONIC of the last event; 0: free */
	int64_t last_ns, previous_ns; /* CLOCK_REALTIME */
	int64_t second;
	uint32_t told; /* in that second */
	/* To tell it once more. */
	struct endpoint_address local;
	uint32_t tid;
	uint8_t looks; /* so far, up to RESTATED_LOOKS + 1 */
	bool is_placed;
	bool is_crowded; /* too many in this second, and not of one process */
};

/* The connect() of a datagram socket looks for its way once or twice, and what it sends then
 * does not; one that is not connected looks each time, and is told then. */
#define RESTATED_LOOKS 2

struct rate {
	int64_t window;
	uint32_t count;
	bool is_hot;
};

struct watcher_uses {
	struct watcher_uses_config config;
	int64_t real_ns;
	/* Streams by sk: open addressing, places + 1. */
	uint32_t *slots;
	size_t slot_count;
	struct stream *streams;
	size_t count, capacity;
	struct way (*ways)[WATCHER_USES_SET];
	struct ended { /* streams, a ring */
		struct watcher_use last;
		int64_t ended_ns; /* CLOCK_MONOTONIC; 0: none */
	} * ended;
	size_t ended_next;
	int64_t event_ns; /* the latest */
	struct rate rates[WATCHER_USES_GROUPS];
	uint64_t segment; /* grows with each restating */
	uint64_t
		gap[WATCHER_USES_GROUPS]; /* grow with each stretch in which something is missing */
	unsigned missing[WATCHER_USES_GROUPS];
	int64_t missing_since_ns[WATCHER_USES_GROUPS];
	int64_t *cpu_ns; /* time of each processor's last event */
	size_t cpu_count;
	int64_t first_ns; /* of all */
};

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
	uses->ended = calloc(WATCHER_USES_LATE, sizeof(*uses->ended));
	uses->cpu_ns = calloc(FIRST_CPUS, sizeof(*uses->cpu_ns));
	uses->cpu_count = FIRST_CPUS;
	if (uses->slots && uses->streams && uses->ways && uses->ended && uses->cpu_ns)
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

static void note_rate(struct watcher_uses *uses, enum tracepoint_group group, int64_t time_ns)
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

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP;
}

/* ------------------------------------------------------------- streams -- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
	return hash ^ hash >> 32;
}

static size_t slot_of(const struct watcher_uses *uses, uint64_t sk)
{
	return (size_t)mix(0, sk) & (uses->slot_count - 1);
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
static struct watcher_use make_use(const struct watcher_uses *uses,
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

void watcher_uses_restate(struct watcher_uses *uses)
{
	uses->segment++;
	for (size_t i = 0; i < WATCHER_USES_WAYS; i++)
		restate_way(uses, &uses->ways[i / WATCHER_USES_SET][i % WATCHER_USES_SET]);
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

static enum watcher_known ask(struct watcher_uses *uses, enum tracepoint_group group,
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
	bool is_other = stream->user && stream->user != user->id;
	struct watcher_use use = make_use(uses, event, act, user);

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
	if (is_other && ++stream->turns >= WATCHER_USES_TURNS - 1) {
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
		enum watcher_known known = ask(uses, STREAMS, event, &user);

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
	    ask(uses, STREAMS, event, &user) != WATCHER_KNOWN)
		return;
	stream->was_shut = true;
	use = make_use(uses, event, SNAP_SHUT, &user);
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
	struct stream *stream = find_stream(uses, event->sk);

	note_rate(uses, TRACEPOINT_TRANSFERS, event->time_ns);
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

/* ----------------------------------------------------------- datagrams -- */

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
	hash = mix(mix(mix(key->protocol, key->netns), words[0]), words[1]);
	hash = mix(hash, (uint64_t)key->local_port << 16 | key->remote_port);
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

static void tell_way(struct watcher_uses *uses, struct way *way,
		     const struct tracepoint_event *event, const struct watcher_user *user,
		     enum snap_act act)
{
	struct watcher_use use = make_use(uses, event, act, user);

	use.use.protocol = way->protocol;
	use.use.local = event->u.socket.local;
	use.use.remote = event->u.socket.remote;
	use.use.previous_ns = way->previous_ns;
	uses->config.tell(uses->config.context, &use);
}

static void take_way(struct watcher_uses *uses, struct way *way,
		     const struct tracepoint_event *event, const struct watcher_user *user)
{
	bool is_known = way->user && way->gap == uses->gap[DATAGRAMS];
	bool is_other = way->user != user->id;
	bool is_told = !is_known || is_other || way->segment != uses->segment ||
		       event->time_ns - way->time_ns > WATCHER_USES_SILENT_NS;

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
}

static void on_route(struct watcher_uses *uses, const struct tracepoint_event *event)
{
	struct way key = {
		.remote = event->u.socket.remote.address,
		.local_port = event->u.socket.local.port,
		.remote_port = event->u.socket.remote.port,
		.protocol = (uint8_t)event->u.socket.protocol,
	};
	struct watcher_user user;

	note_rate(uses, TRACEPOINT_ROUTES, event->time_ns);
	/* Without a remote port nothing is sent: an address is being chosen. */
	if (key.protocol == IPPROTO_TCP ||
	    (has_ports(key.protocol) && (!key.remote_port || !key.local_port)))
		return;
	if (ask(uses, DATAGRAMS, event, &user) != WATCHER_KNOWN)
		return;
	key.netns = uses->config.place(uses->config.context, &user, &event->u.socket.local,
				       &event->u.socket.remote);
	user.netns = key.netns;
	take_way(uses, need_way(uses, &key), event, &user);
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
		on_route(uses, event);
		break;
	case TRACEPOINT_LOST:
		note_lost(uses, event);
		break;
	default:
		break;
	}
	note_cpu(uses, event);
}
