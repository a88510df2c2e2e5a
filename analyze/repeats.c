/*
 * repeats.c - a bounded table of what was just seen.
 *
 * A set-associative one, as decode_fragments.c has it: all that is noted of one
 * packet stands in one set, and a set that overflows forgets all of it, so that
 * nothing is taken for a repeat on half of what is known. Which set does not
 * depend on the run's seed; the keys do, so that nobody can make two packets alike.
 */
#include "analyze/repeats.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/fetch.h"
#include "analyze/grow.h"
#include "analyze/hashindex.h"

/* Some ten thousand packets in REPEATS_MARKED_NS at a million a second, two
 * entries each. Beyond that, packets are counted at each sighting. */
#define REPEATS_SETS 4096u /* a power of two */
#define REPEATS_WAYS 16u

#define IPV6_BYTES 40u
/* TCP's header with all of its options; of others the header and what tells
 * datagrams apart. */
#define TRANSPORT_BYTES 64u
#define IDENTITY_BYTES	(60u + TRANSPORT_BYTES)

struct repeats_entry {
	uint64_t key; /* 0: free */
	int64_t time_ns;
	uint32_t count; /* of equal packets */
	/* Of the order of a way: */
	uint32_t latest; /* sequence number */
	bool noted;
};

struct repeats {
	bool used; /* anything was ever noted */
	struct repeats_entry entries[REPEATS_SETS][REPEATS_WAYS];
	struct repeats_sighting last;
};

/* What tells a packet from every other one, with zeros for what differs by interface. */
struct identity {
	uint8_t bytes[IDENTITY_BYTES];
	uint32_t length;
	bool marked; /* numbered by its sender */
};

struct repeats *repeats_new(void)
{
	return calloc(1, sizeof(struct repeats));
}

void repeats_free(struct repeats *repeats)
{
	free(repeats);
}

/* Where offload may leave a checksum to the last interface; 0: nowhere. */
static uint32_t checksum_offset(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_SCTP:
		return 8;
	default:
		return 0;
	}
}

static void identify(const struct packet *packet, struct identity *identity)
{
	const uint8_t *ip = packet->ip;
	uint32_t header = packet->ip_version == 4 ? (ip[0] & 15u) * 4 : IPV6_BYTES;
	uint32_t checksum = checksum_offset(packet->protocol);
	uint32_t size = checksum == 8 ? 4 : 2; /* SCTP's is a CRC-32C */
	bool transport = !packet->fragment_first && !packet->fragment_later &&
			 (packet->ip_version == 4 || ip[6] == packet->protocol);

	identity->length = packet->ip_captured;
	if (identity->length > header + TRANSPORT_BYTES)
		identity->length = header + TRANSPORT_BYTES;
	memcpy(identity->bytes, ip, identity->length);
	if (packet->ip_version == 4) {
		identity->bytes[8] = identity->bytes[10] = identity->bytes[11] = 0;
		identity->marked = ip[4] != 0 || ip[5] != 0;
	} else {
		identity->bytes[7] = 0;
		identity->marked = false;
	}
	/* Where the snaplen cut the payload, the checksum stands for it. */
	if (transport && checksum != 0 && packet->ip_captured == packet->ip_bytes &&
	    header + checksum + size <= identity->length)
		memset(identity->bytes + header + checksum, 0, size);
}

/* Both hashes in one pass: each waits for its own multiplications, not for the other's. */
static void hash_identity(const struct identity *identity, uint64_t *key, uint64_t *place)
{
	uint64_t keyed = hashindex_seed ^ identity->length, plain = identity->length;

	for (uint32_t at = 0; at < identity->length; at += 8) {
		uint32_t left = identity->length - at;
		uint64_t word = 0;

		memcpy(&word, identity->bytes + at, left < 8 ? left : 8);
		keyed = hashindex_mix(keyed ^ word) + hashindex_seed;
		plain = (plain ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		plain ^= plain >> 29;
	}
	*key = keyed;
	*place = plain;
}

static uint64_t distance_ns(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static size_t set_number(uint64_t hash)
{
	return hashindex_mix(hash) & (REPEATS_SETS - 1);
}

/* The entry of a key, with count 0 if it is not of the time within limit. */
static struct repeats_entry *entry_of(struct repeats_entry *set, uint64_t key, int64_t now_ns,
				      int64_t limit_ns)
{
	struct repeats_entry *entry = NULL;

	key += key == 0;
	for (uint32_t i = 0; i < REPEATS_WAYS; i++) {
		if (set[i].key == key) {
			entry = &set[i];
			if (distance_ns(now_ns, entry->time_ns) > (uint64_t)limit_ns)
				break;
			return entry;
		}
		if (entry == NULL && (set[i].key == 0 || distance_ns(now_ns, set[i].time_ns) >
								 (uint64_t)REPEATS_MARKED_NS))
			entry = &set[i];
	}
	if (entry == NULL) {
		memset(set, 0, REPEATS_WAYS * sizeof(*set));
		entry = set;
	}
	*entry = (struct repeats_entry){.key = key, .time_ns = now_ns};
	return entry;
}

/* Notes a segment's place on the way through its interface: whether a later
 * one of the same sender passed there before. */
static bool out_of_order(struct repeats *repeats, const struct packet *packet)
{
	struct {
		struct endpoint source, destination;
		uint32_t ifindex;
	} way;
	struct repeats_entry *entry;
	bool late;

	memset(&way, 0, sizeof(way));
	way.source = packet->source;
	way.destination = packet->destination;
	way.ifindex = packet->ifindex;
	entry = entry_of(repeats->entries[set_number(hashindex_bytes(&way, sizeof(way)))],
			 hashindex_keyed(&way, sizeof(way)), packet->time_ns, REPEATS_MARKED_NS);
	late = entry->noted && (int32_t)(entry->latest - packet->tcp_seq) > 0;
	if (!late)
		entry->latest = packet->tcp_seq;
	entry->noted = true;
	entry->time_ns = packet->time_ns;
	return late;
}

/* Whether an equal packet can be one that was sent again, or to each interface. */
static bool is_doubtful(struct repeats *repeats, const struct packet *packet)
{
	if (packet->protocol == IPPROTO_TCP && !packet->fragment_later)
		return out_of_order(repeats, packet);
	return endpoint_is_multicast(&packet->destination.address) ||
	       endpoint_is_broadcast(&packet->destination.address);
}

void repeats_look(const struct packet *packet, struct repeats_look *look)
{
	struct identity identity;

	*look = (struct repeats_look){0};
	look->applies = packet->ifindex != 0 && packet->ip != NULL &&
			!endpoint_is_loopback(&packet->destination.address);
	if (!look->applies)
		return;
	identify(packet, &identity);
	look->marked = identity.marked;
	hash_identity(&identity, &look->key, &look->place);
	look->key ^= packet->ip_bytes;
}

void repeats_fetch(const struct repeats *repeats, const struct repeats_look *look)
{
	if (look->applies)
		fetch(repeats->entries[set_number(look->place)], sizeof(repeats->entries[0]));
}

bool repeats_seen_looked(struct repeats *repeats, const struct packet *packet,
			 const struct repeats_look *look)
{
	int64_t limit_ns = look->marked ? REPEATS_MARKED_NS : REPEATS_UNMARKED_NS;
	struct repeats_entry *set, *all, *here;
	uint32_t count;
	bool doubtful;

	if (!look->applies)
		return false;
	repeats->used = true;
	doubtful = !look->marked && is_doubtful(repeats, packet);
	set = repeats->entries[set_number(look->place)];
	here = entry_of(set, hashindex_mix(look->key ^ packet->ifindex), packet->time_ns, limit_ns);
	count = ++here->count;
	here->time_ns = packet->time_ns;
	all = entry_of(set, look->key, packet->time_ns, limit_ns);
	repeats->last = (struct repeats_sighting){count, count > all->count};
	if (count <= all->count && !doubtful)
		return true;
	if (count > all->count)
		all->count = count;
	all->time_ns = packet->time_ns;
	return false;
}

bool repeats_seen(struct repeats *repeats, const struct packet *packet)
{
	struct repeats_look look;

	repeats_look(packet, &look);
	return repeats_seen_looked(repeats, packet, &look);
}

struct repeats_sighting repeats_last(const struct repeats *repeats)
{
	return repeats->last;
}

bool repeats_equal(const struct packet *a, const struct packet *b)
{
	struct identity one, other;

	if (a->ip == NULL || b->ip == NULL || a->ip_bytes != b->ip_bytes)
		return false;
	identify(a, &one);
	identify(b, &other);
	return one.length == other.length && memcmp(one.bytes, other.bytes, one.length) == 0;
}

/* --------------------------------------------------------------- borders -- */

static int write_down(struct repeats_recent *recent, uint32_t set,
		      const struct repeats_entry *entry)
{
	struct repeats_note *note, *first;

	if (grow_one(&recent->notes, recent->count, &recent->capacity, sizeof(*recent->notes)) != 0)
		return -1;
	first = recent->notes;
	note = &first[recent->count++];
	for (; note > first && note[-1].set == set && note[-1].key > entry->key; note--)
		note[0] = note[-1];
	*note = (struct repeats_note){
		.key = entry->key,
		.time_ns = entry->time_ns,
		.set = set,
		.count = entry->count,
		.latest = entry->latest,
		.noted = entry->noted,
	};
	return 0;
}

int repeats_settle(struct repeats *repeats, int64_t now_ns, struct repeats_recent *recent)
{
	recent->count = 0;
	for (uint32_t set = 0; repeats->used && set < REPEATS_SETS; set++) {
		for (uint32_t i = 0; i < REPEATS_WAYS; i++) {
			const struct repeats_entry *entry = &repeats->entries[set][i];

			if (entry->key != 0 &&
			    distance_ns(now_ns, entry->time_ns) <= (uint64_t)REPEATS_MARKED_NS &&
			    write_down(recent, set, entry) != 0)
				return -1;
		}
	}
	/* The order within a set may come to matter where times step back. */
	repeats_restore(repeats, recent);
	return 0;
}

void repeats_restore(struct repeats *repeats, const struct repeats_recent *recent)
{
	uint32_t way = 0;

	if (repeats->used)
		memset(repeats->entries, 0, sizeof(repeats->entries));
	repeats->used = recent->count > 0;
	for (size_t i = 0; i < recent->count; i++) {
		const struct repeats_note *note = &recent->notes[i];

		way = i > 0 && note[-1].set == note->set ? way + 1 : 0;
		repeats->entries[note->set][way] = (struct repeats_entry){
			.key = note->key,
			.time_ns = note->time_ns,
			.count = note->count,
			.latest = note->latest,
			.noted = note->noted,
		};
	}
}

static bool note_equal(const struct repeats_note *a, const struct repeats_note *b)
{
	return a->key == b->key && a->time_ns == b->time_ns && a->set == b->set &&
	       a->count == b->count && a->latest == b->latest && a->noted == b->noted;
}

bool repeats_recent_equal(const struct repeats_recent *a, const struct repeats_recent *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!note_equal(&a->notes[i], &b->notes[i]))
			return false;
	}
	return true;
}

void repeats_recent_release(struct repeats_recent *recent)
{
	free(recent->notes);
	*recent = (struct repeats_recent){0};
}
