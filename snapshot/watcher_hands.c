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

static void begin_hand(struct watcher_hand *hand, uint64_t sk, const struct watcher_use *act,
		       const struct watcher_use *look)
{
	*hand = (struct watcher_hand){
		.sk = sk,
		.last = *act,
		.netns = look ? look->use.netns : 0,
		.port = look ? look->use.local.port : 0,
		.is_sure = look != NULL,
	};
}

static struct watcher_use make_told(const struct watcher_hand *hand, const struct watcher_use *act)
{
	struct watcher_use told = *act;

	told.use.netns = hand->netns;
	told.use.local.port = hand->port;
	return told;
}

size_t watcher_hands_take(struct watcher_hands *hands, uint64_t sk, const struct watcher_use *act,
			  const struct watcher_use *look, struct watcher_use told[2], bool *forgot)
{
	struct watcher_hand *hand = watcher_hands_find(hands, sk);
	int64_t before_ns;
	size_t count = 0;

	*forgot = false;
	/* Of another port: the socket of before has closed, and this one has its place. */
	if (!hand || (look && hand->is_sure && look->use.local.port != hand->port)) {
		begin_hand(hand ? hand : make_room(hands, sk, act->time_ns, forgot), sk, act, look);
		return 0;
	}
	if (look) {
		if (hand->port != look->use.local.port) {
			hand->was_told = false;
			hand->turns = 0;
		}
		hand->port = look->use.local.port;
		hand->netns = look->use.netns;
	}
	if (hand->last.user.id == act->user.id) {
		hand->is_sure = hand->is_sure || look;
		hand->last = *act;
		return 0;
	}
	before_ns = hand->last.use.at_ns;
	if (hand->port != 0 && hand->turns < WATCHER_USES_TURNS) {
		if (!hand->was_told)
			told[count++] = make_told(hand, &hand->last);
		told[count] = make_told(hand, act);
		told[count].use.previous_ns = before_ns;
		if (++hand->turns == WATCHER_USES_TURNS)
			told[count].use.act = SNAP_SEVERAL;
		hand->was_told = true;
		count++;
	}
	hand->last = *act;
	hand->is_sure = look != NULL;
	return count;
}

bool watcher_hands_restate(const struct watcher_hands *hands, size_t place, struct watcher_use *out)
{
	const struct watcher_hand *hand =
		&hands->of[place / WATCHER_HANDS_SET][place % WATCHER_HANDS_SET];

	if (hand->last.time_ns == 0 || !hand->was_told)
		return false;
	*out = make_told(hand, &hand->last);
	if (hand->turns == WATCHER_USES_TURNS)
		out->use.act = SNAP_SEVERAL;
	return true;
}
