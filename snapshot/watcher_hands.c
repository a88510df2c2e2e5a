#include "snapshot/watcher_hands.h"

static struct watcher_hand *set_of(struct watcher_hands *hands, uint64_t sk)
{
	/* The kernel's objects are aligned: the low bits are always the same. */
	uint64_t hash = (sk >> 6) * UINT64_C(0x9E3779B97F4A7C15);

	return hands->of[(hash >> 32) % (WATCHER_HANDS / WATCHER_HANDS_SET)];
}

struct watcher_hand *watcher_hands_find(struct watcher_hands *hands, uint64_t sk)
{
	struct watcher_hand *set = set_of(hands, sk);

	for (size_t i = 0; i < WATCHER_HANDS_SET; i++) {
		if (set[i].sk == sk && set[i].last.time_ns != 0)
			return &set[i];
	}
	return NULL;
}

static struct watcher_hand *make_room(struct watcher_hands *hands, uint64_t sk, int64_t time_ns,
				      bool *forgot)
{
	struct watcher_hand *set = set_of(hands, sk), *oldest = set;

	for (size_t i = 1; i < WATCHER_HANDS_SET; i++) {
		if (set[i].last.time_ns < oldest->last.time_ns)
			oldest = &set[i];
	}
	*forgot = oldest->last.time_ns != 0 &&
		  time_ns - oldest->last.time_ns <= WATCHER_USES_SILENT_NS;
	return oldest;
}

static struct watcher_hand_act keep_act(const struct watcher_use *use)
{
	return (struct watcher_hand_act){
		.user = use->user,
		.time_ns = use->time_ns,
		.at_ns = use->use.at_ns,
		.pid = use->use.pid,
		.tid = use->use.tid,
		.protocol = use->use.protocol,
		.act = (uint8_t)use->use.act,
	};
}

static void begin_hand(struct watcher_hand *hand, uint64_t sk, const struct watcher_use *act,
		       const struct watcher_use *look)
{
	*hand = (struct watcher_hand){
		.sk = sk,
		.since_ns = act->use.at_ns,
		.last = keep_act(act),
		.netns = look ? look->use.netns : 0,
		.port = look ? look->use.local.port : 0,
		.is_sure = look != NULL,
	};
}

static struct watcher_use make_told(const struct watcher_hand *hand,
				    const struct watcher_hand_act *act)
{
	return (struct watcher_use){
		.use = {.netns = hand->netns,
			.protocol = act->protocol,
			.local = {.port = hand->port},
			.opened_ns = hand->since_ns,
			.act = hand->turns == SNAP_TURNS_MAX ? SNAP_SEVERAL
							     : (enum snap_act)act->act,
			.at_ns = act->at_ns,
			.sent_bytes = SNAP_UNKNOWN_BYTES,
			.received_bytes = SNAP_UNKNOWN_BYTES,
			.pid = act->pid,
			.tid = act->tid},
		.user = act->user,
		.time_ns = act->time_ns,
	};
}

/* One more user of the port, unless there were too many. */
static size_t tell(struct watcher_hand *hand, const struct watcher_hand_act *act,
		   struct watcher_use told[WATCHER_HANDS_TOLD], size_t count)
{
	struct watcher_use *out = told + count;

	if (hand->turns == SNAP_TURNS_MAX)
		return count;
	hand->turns++;
	*out = make_told(hand, act);
	if (out > told)
		out->use.previous_ns = (out - 1)->use.at_ns;
	return count + 1;
}

/* The user before gives way to another one. One who did not look up the port may have had the
 * socket that has this place now, whose port is not known yet. */
static void let_wait(struct watcher_hand *hand)
{
	if (hand->is_sure)
		hand->waiting_count = 0;
	else if (hand->waiting_count < WATCHER_HANDS_WAITING)
		hand->waiting[hand->waiting_count++] = hand->last;
	else
		hand->has_more = true;
	hand->is_sure = false;
}

/* Another port than the one that was known, if any: all who acted since are its users. */
static size_t take_port(struct watcher_hand *hand, const struct watcher_hand_act *now,
			const struct watcher_use *look, struct watcher_use told[WATCHER_HANDS_TOLD])
{
	size_t count = 0;

	hand->port = look->use.local.port;
	hand->netns = look->use.netns;
	hand->since_ns = now->at_ns;
	hand->turns = hand->has_more ? SNAP_TURNS_MAX - 1 : 0;
	for (size_t i = 0; i < hand->waiting_count; i++)
		count = tell(hand, &hand->waiting[i], told, count);
	if (hand->last.user.id != now->user.id)
		count = tell(hand, &hand->last, told, count);
	return hand->waiting_count > 0 || hand->last.user.id != now->user.id
		       ? tell(hand, now, told, count)
		       : 0;
}

/* Another one than before uses the socket of a port. */
static size_t take_turn(struct watcher_hand *hand, const struct watcher_hand_act *now,
			struct watcher_use told[WATCHER_HANDS_TOLD])
{
	int64_t before_ns = hand->last.at_ns;
	size_t first = hand->turns == 0 ? tell(hand, &hand->last, told, 0) : 0;
	size_t count = tell(hand, now, told, first);

	if (count > first)
		told[first].use.previous_ns = before_ns;
	return count;
}

size_t watcher_hands_take(struct watcher_hands *hands, uint64_t sk, const struct watcher_use *act,
			  const struct watcher_use *look,
			  struct watcher_use told[WATCHER_HANDS_TOLD], bool *forgot)
{
	struct watcher_hand *hand = watcher_hands_find(hands, sk);
	const struct watcher_hand_act now = keep_act(act);
	size_t count = 0;
	bool is_other;

	*forgot = false;
	/* Of another port: the socket of before has closed, and this one has its place. */
	if (!hand || (look && hand->is_sure && look->use.local.port != hand->port)) {
		begin_hand(hand ? hand : make_room(hands, sk, act->time_ns, forgot), sk, act, look);
		return 0;
	}
	is_other = hand->last.user.id != now.user.id;
	if (look && look->use.local.port != hand->port)
		count = take_port(hand, &now, look, told);
	else if (is_other && hand->port != 0)
		count = take_turn(hand, &now, told);
	if (look) {
		hand->waiting_count = 0;
		hand->has_more = false;
		hand->is_sure = true;
	} else if (is_other) {
		let_wait(hand);
	}
	hand->last = now;
	return count;
}

bool watcher_hands_restate(const struct watcher_hands *hands, size_t place, struct watcher_use *out)
{
	const struct watcher_hand *hand =
		&hands->of[place / WATCHER_HANDS_SET][place % WATCHER_HANDS_SET];

	if (hand->last.time_ns == 0 || hand->turns == 0)
		return false;
	*out = make_told(hand, &hand->last);
	return true;
}
