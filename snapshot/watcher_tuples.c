#include "snapshot/watcher_tuples.h"

#include <netinet/in.h>
#include <string.h>

/* -------------------------------------------------------------- tuples -- */

static int compare_ends(const struct endpoint *a, const struct endpoint *b)
{
	int result = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));

	return result ? result : (int)a->port - (int)b->port;
}

static bool is_handshake(const struct watcher_packet *packet)
{
	return packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_SCTP;
}

static struct watcher_tuple make_key(const struct watcher_packet *packet)
{
	struct watcher_tuple key = {.low = packet->source,
				    .high = packet->destination,
				    .protocol = packet->protocol,
				    .is_answer = packet->is_answer};

	if (is_handshake(packet))
		return key;
	if (compare_ends(&key.low, &key.high) > 0) {
		key.low = packet->destination;
		key.high = packet->source;
	}
	key.sequence = packet->ident; /* another ping is another conversation */
	return key;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	while (length) {
		size_t part = length < 8 ? length : 8;
		uint64_t word = 0;

		memcpy(&word, at, part);
		hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
		hash ^= hash >> 32;
		at += part;
		length -= part;
	}
	return hash;
}

static size_t set_of(const struct watcher_tuple *key)
{
	uint64_t hash =
		mix((uint64_t)key->protocol << 1 | key->is_answer, key->low.address.bytes, 16);
	uint32_t ports = (uint32_t)key->low.port << 16 | key->high.port;

	hash = mix(hash, key->high.address.bytes, 16);
	hash = mix(hash, &ports, sizeof(ports));
	return (size_t)(hash % (WATCHER_TUPLES / WATCHER_WAYS));
}

static bool same(const struct watcher_tuple *a, const struct watcher_tuple *b, bool handshake)
{
	return a->last_ns && a->protocol == b->protocol && a->is_answer == b->is_answer &&
	       !compare_ends(&a->low, &b->low) && !compare_ends(&a->high, &b->high) &&
	       (handshake || a->sequence == b->sequence);
}

bool watcher_tuples_see(struct watcher_tuples *table, const struct watcher_packet *packet,
			int64_t now_ns, struct watcher_tuple **out)
{
	struct watcher_tuple key = make_key(packet);
	struct watcher_tuple *set = table->sets[set_of(&key)], *oldest = set;
	bool handshake = is_handshake(packet);

	for (size_t i = 0; i < WATCHER_WAYS; i++) {
		int64_t idle_ns = now_ns - set[i].last_ns;

		if (set[i].last_ns < oldest->last_ns)
			oldest = &set[i];
		if (!same(&set[i], &key, handshake))
			continue;
		*out = &set[i];
		set[i].last_ns = now_ns;
		if (!handshake)
			return idle_ns > WATCHER_IDLE_NS;
		if (set[i].sequence == packet->sequence && idle_ns <= WATCHER_RESEND_NS)
			return false;
		set[i].sequence = packet->sequence;
		return true;
	}
	*oldest = key;
	if (handshake)
		oldest->sequence = packet->sequence;
	oldest->last_ns = now_ns;
	*out = oldest;
	return true;
}

/* --------------------------------------------------------------- rates -- */

static uint32_t pair_of(const struct watcher_packet *packet)
{
	return (uint32_t)packet->source.port << 16 | packet->destination.port;
}

static bool is_udp(const struct watcher_packet *packet)
{
	return packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_UDPLITE;
}

static bool is_excluded(const struct watcher_rates *rates, const struct watcher_packet *packet)
{
	uint32_t pair = pair_of(packet);

	if (packet->protocol == IPPROTO_TCP)
		return rates->tcp_until_ns != 0;
	if (is_udp(packet) && rates->udp_until_ns)
		return true;
	for (size_t i = 0; i < rates->excluded_count; i++) {
		uint32_t what = rates->excluded[i].what;

		switch (rates->excluded[i].by) {
		case WATCHER_BY_PAIR:
			if (is_udp(packet) && (pair == what || pair == (what << 16 | what >> 16)))
				return true;
			break;
		case WATCHER_BY_PORT:
			if (is_udp(packet) &&
			    (packet->source.port == what || packet->destination.port == what))
				return true;
			break;
		case WATCHER_BY_PROTOCOL:
			if (packet->protocol == what)
				return true;
			break;
		}
	}
	return false;
}

static void next_window(struct watcher_rates *rates, int64_t window)
{
	if (rates->window == window)
		return;
	rates->window = window;
	for (size_t i = 0; i < rates->touched_count; i++)
		rates->by_port[rates->touched[i]] = 0;
	rates->touched_count = 0;
	rates->tcp = rates->udp = 0;
	memset(rates->by_protocol, 0, sizeof(rates->by_protocol));
}

static bool exclude(struct watcher_rates *rates, int by, uint32_t what, int64_t now_ns)
{
	if (rates->excluded_count == WATCHER_TAP_EXCLUDED)
		return false;
	rates->excluded[rates->excluded_count].by = by;
	rates->excluded[rates->excluded_count].what = what;
	rates->excluded[rates->excluded_count++].until_ns = now_ns + WATCHER_EXCLUDE_NS;
	return true;
}

/* Each port is put down once in a window; before the list is full UDP is shed. */
static uint32_t count_port(struct watcher_rates *rates, uint16_t port)
{
	if (rates->by_port[port] == 0 &&
	    rates->touched_count < sizeof(rates->touched) / sizeof(*rates->touched))
		rates->touched[rates->touched_count++] = port;
	return ++rates->by_port[port];
}

static enum watcher_verdict count_udp(struct watcher_rates *rates,
				      const struct watcher_packet *packet,
				      struct watcher_tuple *tuple, int64_t now_ns)
{
	uint16_t source = packet->source.port, destination = packet->destination.port;
	uint32_t by_source = count_port(rates, source);
	uint32_t by_destination = count_port(rates, destination);
	bool done;

	if (tuple->window != rates->window) {
		tuple->window = rates->window;
		tuple->packets = 0;
	}
	if (++tuple->packets >= WATCHER_PAIR_LIMIT) {
		done = exclude(rates, WATCHER_BY_PAIR, pair_of(packet), now_ns);
	} else if (by_source >= WATCHER_PORT_LIMIT || by_destination >= WATCHER_PORT_LIMIT) {
		done = exclude(rates, WATCHER_BY_PORT,
			       by_source > by_destination ? source : destination, now_ns);
	} else {
		rates->udp++;
		if (rates->udp < WATCHER_UDP_LIMIT)
			return WATCHER_PASS;
		done = false;
	}
	if (done)
		return WATCHER_FILTER;
	rates->udp_until_ns = now_ns + WATCHER_SHED_NS;
	return WATCHER_SHED;
}

enum watcher_verdict watcher_rates_count(struct watcher_rates *rates,
					 const struct watcher_packet *packet,
					 struct watcher_tuple *tuple, int64_t now_ns)
{
	if (is_excluded(rates, packet))
		return WATCHER_STALE;
	next_window(rates, now_ns / WATCHER_WINDOW_NS);
	if (is_udp(packet))
		return count_udp(rates, packet, tuple, now_ns);
	if (packet->protocol == IPPROTO_TCP) {
		if (++rates->tcp < WATCHER_TCP_LIMIT)
			return WATCHER_PASS;
		rates->tcp_until_ns = now_ns + WATCHER_SHED_NS;
		return WATCHER_SHED;
	}
	if (++rates->by_protocol[packet->protocol] < WATCHER_OTHER_LIMIT)
		return WATCHER_PASS;
	if (!exclude(rates, WATCHER_BY_PROTOCOL, packet->protocol, now_ns)) {
		rates->excluded[0].by = WATCHER_BY_PROTOCOL;
		rates->excluded[0].what = packet->protocol;
		rates->excluded[0].until_ns = now_ns + WATCHER_EXCLUDE_NS;
	}
	return WATCHER_SHED;
}

bool watcher_rates_expire(struct watcher_rates *rates, int64_t now_ns)
{
	size_t kept = 0;
	bool changed = false;

	for (size_t i = 0; i < rates->excluded_count; i++) {
		if (rates->excluded[i].until_ns > now_ns)
			rates->excluded[kept++] = rates->excluded[i];
	}
	changed = kept != rates->excluded_count;
	rates->excluded_count = kept;
	if (rates->tcp_until_ns && rates->tcp_until_ns <= now_ns) {
		rates->tcp_until_ns = 0;
		changed = true;
	}
	if (rates->udp_until_ns && rates->udp_until_ns <= now_ns) {
		rates->udp_until_ns = 0;
		changed = true;
	}
	return changed;
}

void watcher_rates_apply(const struct watcher_rates *rates, struct watcher_filter *filter)
{
	filter->no_tcp = rates->tcp_until_ns != 0;
	filter->no_udp = rates->udp_until_ns != 0;
	filter->pair_count = filter->port_count = filter->protocol_count = 0;
	for (size_t i = 0; i < rates->excluded_count; i++) {
		const struct watcher_exclusion *item = &rates->excluded[i];

		if (item->by == WATCHER_BY_PAIR)
			filter->pairs[filter->pair_count++] = item->what;
		else if (item->by == WATCHER_BY_PORT)
			filter->ports[filter->port_count++] = (uint16_t)item->what;
		else
			filter->protocols[filter->protocol_count++] = (uint8_t)item->what;
	}
}
