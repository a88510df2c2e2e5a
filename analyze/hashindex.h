/*
 * hashindex.h - an open-addressing index from hashes to positions in an array.
 *
 * Holds no keys: a slot is (tag, position + 1), and the caller compares what
 * stands at the position. Doubles at two thirds full. Entries are not
 * removed one by one; an array that forgets entries rebuilds its index.
 */
#ifndef ANALYZE_HASHINDEX_H
#define ANALYZE_HASHINDEX_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HASHINDEX_NONE UINT32_MAX

struct hashindex_slot {
	uint32_t tag;	/* upper half of the hash */
	uint32_t place; /* position + 1; 0: free */
};

struct hashindex {
	struct hashindex_slot *slots;
	uint32_t mask; /* number of slots - 1; meaningless while slots is NULL */
	uint32_t count;
};

/* Mixes 64 bits so that all of them reach all of them (splitmix64's finalizer). */
static inline uint64_t hashindex_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Random for each run, so that nobody can prepare keys that all collide. Only
 * the order of slots depends on it, never a result. Set before any thread starts. */
extern uint64_t hashindex_seed;

/* Any bytes whose length is a multiple of eight or not. The same on every
 * machine and in every run: for what is written down. */
static inline uint64_t hashindex_bytes(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t hash = length * UINT64_C(0x9e3779b97f4a7c15);

	for (; length >= 8; length -= 8, at += 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		hash = hashindex_mix(hash ^ word) + UINT64_C(0x9e3779b97f4a7c15);
	}
	if (length > 0) {
		uint64_t word = 0;

		memcpy(&word, at, length);
		hash = hashindex_mix(hash ^ word);
	}
	return hash;
}

/* The same under the run's seed: for indexes whose keys come from the evidence. */
static inline uint64_t hashindex_keyed(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t hash = hashindex_seed ^ length;

	for (; length >= 8; length -= 8, at += 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		hash = hashindex_mix(hash ^ word) + hashindex_seed;
	}
	if (length > 0) {
		uint64_t word = 0;

		memcpy(&word, at, length);
		hash = hashindex_mix(hash ^ word) + hashindex_seed;
	}
	return hash;
}

/* The two halves of a product, one over the other: all bits of both reach all of it. */
static inline uint64_t hashindex_fold(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Five words under the run's seed, for what is hashed for each packet: three products, two of
 * them at a time, where hashindex_keyed would wait for ten. Each word has a secret of its own,
 * or what is alike in two of them would cancel out. */
static inline uint64_t hashindex_keyed_5(const uint64_t words[5])
{
	const uint64_t seed = hashindex_seed;
	const uint64_t turned = seed << 32 | seed >> 32;
	uint64_t first = hashindex_fold(words[0] ^ seed ^ UINT64_C(0xe7037ed1a0b428db),
					words[1] ^ turned ^ UINT64_C(0xbf58476d1ce4e5b9));
	uint64_t second = hashindex_fold(words[2] ^ seed ^ UINT64_C(0x94d049bb133111eb),
					 words[3] ^ turned ^ UINT64_C(0x9e3779b97f4a7c15));

	return hashindex_fold(first ^ words[4] ^ seed,
			      second ^ turned ^ UINT64_C(0xd6e8feb86659fd93));
}

/* Walks the positions whose tag agrees with hash: start with *probe = (uint32_t)hash;
 * HASHINDEX_NONE ends the walk. */
static inline uint32_t hashindex_next(const struct hashindex *index, uint64_t hash, uint32_t *probe)
{
	if (index->slots == NULL)
		return HASHINDEX_NONE;
	for (;;) {
		const struct hashindex_slot *slot = &index->slots[*probe & index->mask];

		if (slot->place == 0)
			return HASHINDEX_NONE;
		(*probe)++;
		if (slot->tag == (uint32_t)(hash >> 32))
			return slot->place - 1;
	}
}

/* A hash whose halves are alike, so that a slot has all of it: for what is dear to hash anew. In
 * an index of millions some ten bits of it are left to tell neighbours apart. */
static inline uint64_t hashindex_double(uint64_t hash)
{
	return (hash >> 32) * UINT64_C(0x100000001);
}

/* Adds a position (equal keys may stand there already; the newest is not
 * first). hash_of gives the hashes anew when it grows; NULL: all are of hashindex_double.
 * 0, or -1 without memory. */
static inline int hashindex_add(struct hashindex *index, uint64_t hash, uint32_t position,
				uint64_t (*hash_of)(const void *context, uint32_t position),
				const void *context)
{
	if (index->slots == NULL || (uint64_t)index->count * 3 >= ((uint64_t)index->mask + 1) * 2) {
		uint64_t size = index->slots == NULL ? 64 : ((uint64_t)index->mask + 1) * 2;
		uint32_t mask = (uint32_t)(size - 1);
		struct hashindex_slot *slots;

		if (size > UINT64_C(1) << 31)
			return -1;
		slots = calloc((size_t)mask + 1, sizeof(*slots));
		if (slots == NULL)
			return -1;
		for (uint64_t i = 0; index->slots != NULL && i <= index->mask; i++) {
			struct hashindex_slot *old = &index->slots[i];
			uint32_t probe;

			if (old->place == 0)
				continue;
			probe = hash_of != NULL ? (uint32_t)hash_of(context, old->place - 1)
						: old->tag;
			while (slots[probe & mask].place != 0)
				probe++;
			slots[probe & mask] = *old;
		}
		free(index->slots);
		index->slots = slots;
		index->mask = mask;
	}
	uint32_t probe = (uint32_t)hash;

	while (index->slots[probe & index->mask].place != 0)
		probe++;
	index->slots[probe & index->mask] =
		(struct hashindex_slot){.tag = (uint32_t)(hash >> 32), .place = position + 1};
	index->count++;
	return 0;
}

/* An entry of that hash at one position now leads to another. */
static inline void hashindex_move(struct hashindex *index, uint64_t hash, uint32_t from,
				  uint32_t to)
{
	uint32_t probe = (uint32_t)hash;

	while (index->slots[probe & index->mask].place != from + 1)
		probe++;
	index->slots[probe & index->mask].place = to + 1;
}

static inline void hashindex_clear(struct hashindex *index)
{
	if (index->slots != NULL)
		memset(index->slots, 0, ((size_t)index->mask + 1) * sizeof(*index->slots));
	index->count = 0;
}

static inline void hashindex_release(struct hashindex *index)
{
	free(index->slots);
	*index = (struct hashindex){0};
}

#endif
