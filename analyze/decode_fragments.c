/*
 * decode_fragments.c - ports for the fragments that have none.
 *
 * A set-associative table: a key's hash picks a set, and within it the entry
 * that was noted longest ago makes room. So it never grows, no look-up costs
 * more than one set, and a flood of first fragments can only displace.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/decode.h"

/* Linux keeps at most 4 MiB of fragments a namespace (net.ipv4.ipfrag_high_thresh),
 * some 2,000 datagrams; 8192 leaves room for several namespaces and repeats. */
#define FRAGMENT_SETS 1024u /* a power of two */
#define FRAGMENT_WAYS 8u

#define FRAGMENT_AGE_NS UINT64_C(60000000000)

/* After its last fragment a datagram is only looked for this much longer: for
 * reordered fragments and for the same ones seen on another interface. An IPv4
 * id comes round within seconds on a fast link, and a datagram whose first
 * fragment was not captured must not get the ports of an older one. */
#define FRAGMENT_LINGER_NS UINT64_C(1000000000)

struct fragment_key {
	struct endpoint_address source, destination;
	uint32_t id;
	/* IPv4: the protocol. IPv6: 0, because a fragment header need not name the
	 * transport, and ids do not depend on it (RFC 8200 4.5). */
	uint8_t protocol;
	uint8_t ip_version; /* 0: the entry is empty */
	uint8_t zero[2];    /* keys are compared as bytes */
};

struct fragment_entry {
	struct fragment_key key;
	uint64_t noted; /* ordinal: the smallest of a set is the oldest */
	int64_t first_ns, last_ns;
	bool ended; /* last_ns is the time of the last fragment */
	uint8_t protocol, icmp_type, icmp_code;
	uint16_t icmp_id, source_port, destination_port;
};

struct decode_fragments {
	uint64_t notes;
	struct fragment_entry entries[FRAGMENT_SETS][FRAGMENT_WAYS];
};

struct decode_fragments *decode_fragments_new(void)
{
	return calloc(1, sizeof(struct decode_fragments));
}

void decode_fragments_free(struct decode_fragments *table)
{
	free(table);
}

static void key_of(const struct packet *packet, struct fragment_key *key)
{
	memset(key, 0, sizeof(*key));
	key->source = packet->source.address;
	key->destination = packet->destination.address;
	key->id = packet->fragment_id;
	key->ip_version = packet->ip_version;
	key->protocol = packet->ip_version == 4 ? packet->protocol : 0;
}

/* Mixed by 64-bit words. Not secret: the same evidence must give the same
 * result, and filling one set on purpose only displaces what is in it. */
static struct fragment_entry *set_of(struct decode_fragments *table, const struct fragment_key *key)
{
	uint64_t words[sizeof(*key) / sizeof(uint64_t)];
	uint64_t hash = 0;
	size_t i;

	_Static_assert(sizeof(words) == sizeof(*key), "a key is whole words");
	memcpy(words, key, sizeof(words));
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	hash *= UINT64_C(0xd6e8feb86659fd93); /* ids often count up: spread them once more */
	hash ^= hash >> 32;
	return table->entries[hash & (FRAGMENT_SETS - 1)];
}

static struct fragment_entry *find(struct fragment_entry *set, const struct fragment_key *key)
{
	size_t i;

	for (i = 0; i < FRAGMENT_WAYS; i++) {
		if (memcmp(&set[i].key, key, sizeof(*key)) == 0)
			return &set[i];
	}
	return NULL;
}

static struct fragment_entry *oldest(struct fragment_entry *set)
{
	struct fragment_entry *entry = &set[0];
	size_t i;

	for (i = 1; i < FRAGMENT_WAYS; i++) {
		if (set[i].noted < entry->noted)
			entry = &set[i];
	}
	return entry;
}

/* Distance, not difference: packet times may step back, and may be anything. */
static uint64_t distance_ns(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static bool is_current(const struct fragment_entry *entry, int64_t time_ns)
{
	if (distance_ns(time_ns, entry->first_ns) > FRAGMENT_AGE_NS)
		return false;
	return !entry->ended || distance_ns(time_ns, entry->last_ns) <= FRAGMENT_LINGER_NS;
}

/* An entry of the same key is replaced: it is an older datagram, a repeat, or
 * an overlapping first fragment, of which the later word counts. */
static void note_first(struct decode_fragments *table, const struct packet *packet)
{
	struct fragment_entry *set, *entry;
	struct fragment_key key;

	key_of(packet, &key);
	set = set_of(table, &key);
	entry = find(set, &key);
	if (!entry)
		entry = oldest(set);
	entry->key = key;
	entry->noted = ++table->notes;
	entry->first_ns = packet->time_ns;
	entry->last_ns = 0;
	entry->ended = false;
	entry->protocol = packet->protocol;
	entry->icmp_type = packet->icmp_type;
	entry->icmp_code = packet->icmp_code;
	entry->icmp_id = packet->icmp_id;
	entry->source_port = packet->source.port;
	entry->destination_port = packet->destination.port;
}

/* IPv4 protocols whose flows need nothing that only a first fragment has. In IPv6
 * further extension headers may hide the transport. */
static bool is_complete_alone(const struct packet *packet)
{
	if (packet->ip_version != 4)
		return false;
	switch (packet->protocol) {
	case 1:	  /* ICMP */
	case 6:	  /* TCP */
	case 17:  /* UDP */
	case 33:  /* DCCP */
	case 132: /* SCTP */
	case 136: /* UDP-Lite */
		return false;
	default:
		return true;
	}
}

static void complete_later(struct decode_fragments *table, struct packet *packet)
{
	struct fragment_entry *entry;
	struct fragment_key key;

	if (is_complete_alone(packet))
		return;
	key_of(packet, &key);
	entry = find(set_of(table, &key), &key);
	if (!entry || !is_current(entry, packet->time_ns)) {
		packet->outcome = DECODE_FRAGMENT;
		return;
	}
	if (packet->fragment_last && !entry->ended) {
		entry->ended = true;
		entry->last_ns = packet->time_ns;
	}
	packet->protocol = entry->protocol;
	packet->icmp_type = entry->icmp_type;
	packet->icmp_code = entry->icmp_code;
	packet->icmp_id = entry->icmp_id;
	packet->source.port = entry->source_port;
	packet->destination.port = entry->destination_port;
}

void decode_fragments_apply(struct decode_fragments *table, struct packet *packet)
{
	if (packet->outcome != DECODE_FLOW)
		return;
	if (packet->fragment_first)
		note_first(table, packet);
	else if (packet->fragment_later)
		complete_later(table, packet);
}

int decode_fragments_copy(struct decode_fragments **to, const struct decode_fragments *from)
{
	if (*to == from)
		return 0;
	/* Nearly always both are empty, and of one that is no page is there. */
	if (from == NULL || from->notes == 0) {
		if (*to != NULL && (*to)->notes != 0)
			memset(*to, 0, sizeof(**to));
		return 0;
	}
	if (*to == NULL)
		*to = decode_fragments_new();
	if (*to == NULL)
		return -1;
	memcpy(*to, from, sizeof(*from));
	return 0;
}

static bool same_entry(const struct fragment_entry *a, const struct fragment_entry *b)
{
	return memcmp(&a->key, &b->key, sizeof(a->key)) == 0 && a->noted == b->noted &&
	       a->first_ns == b->first_ns && a->last_ns == b->last_ns && a->ended == b->ended &&
	       a->protocol == b->protocol && a->icmp_type == b->icmp_type &&
	       a->icmp_code == b->icmp_code && a->icmp_id == b->icmp_id &&
	       a->source_port == b->source_port && a->destination_port == b->destination_port;
}

bool decode_fragments_equal(const struct decode_fragments *a, const struct decode_fragments *b)
{
	uint64_t a_notes = a == NULL ? 0 : a->notes, b_notes = b == NULL ? 0 : b->notes;

	if (a_notes != b_notes)
		return false;
	for (size_t i = 0; a_notes != 0 && i < (size_t)FRAGMENT_SETS * FRAGMENT_WAYS; i++) {
		if (!same_entry(&a->entries[i / FRAGMENT_WAYS][i % FRAGMENT_WAYS],
				&b->entries[i / FRAGMENT_WAYS][i % FRAGMENT_WAYS]))
			return false;
	}
	return true;
}
