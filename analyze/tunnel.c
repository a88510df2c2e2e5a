#include "analyze/tunnel.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/decode_tunnel.h"
#include "analyze/grow.h"
#include "analyze/hashindex.h"

void tunnel_table_init(struct tunnel_table *table, const struct flow_limits *limits)
{
	*table = (struct tunnel_table){0};
	flow_table_init(&table->flows, limits);
}

void tunnel_table_clear(struct tunnel_table *table)
{
	flow_table_clear(&table->flows);
	table->path_count = 0;
	hashindex_clear(&table->path_index);
}

void tunnel_table_release(struct tunnel_table *table)
{
	flow_table_release(&table->flows);
	free(table->paths);
	hashindex_release(&table->path_index);
	*table = (struct tunnel_table){0};
}

const struct tunnel_path *tunnel_path_of(const struct tunnel_table *table, uint32_t place)
{
	return &table->paths[table->flows.flows[place].within - 1];
}

static uint64_t hash_of_path(const void *context, uint32_t place)
{
	const struct tunnel_path *path = &((const struct tunnel_table *)context)->paths[place];

	return hashindex_keyed(path, sizeof(*path));
}

/* Its place plus 1; 0 without memory. */
static uint32_t find_path(struct tunnel_table *table, const struct tunnel_path *path)
{
	uint64_t hash = hashindex_keyed(path, sizeof(*path));
	uint32_t probe = (uint32_t)hash, place;

	_Static_assert(sizeof(*path) == 16, "a path has no padding");
	while ((place = hashindex_next(&table->path_index, hash, &probe)) != HASHINDEX_NONE) {
		if (memcmp(&table->paths[place], path, sizeof(*path)) == 0)
			return place + 1;
	}
	place = (uint32_t)table->path_count;
	if (table->path_count >= FLOW_NONE - 1 ||
	    grow_one(&table->paths, table->path_count, &table->path_capacity,
		     sizeof(*table->paths)) != 0)
		return 0;
	table->paths[place] = *path;
	if (hashindex_add(&table->path_index, hash, place, hash_of_path, table) != 0)
		return 0;
	table->path_count++;
	return place + 1;
}

static void note(struct flow_carried *carried, const struct decode_carried *inner, bool too_deep)
{
	if (inner->proven)
		carried->tunnel = (uint8_t)inner->tunnel;
	if (inner->inside == DECODE_INSIDE_READ && !too_deep)
		carried->read++;
	else if (inner->inside == DECODE_INSIDE_OTHER)
		carried->other++;
	else
		carried->unreadable++;
}

int tunnel_table_take(struct tunnel_table *table, struct flow *flow, uint32_t place,
		      const struct packet *packet)
{
	struct decode_carried inner[2]; /* one is the packet that the other is read from */

	for (uint8_t depth = 1;; depth++) {
		struct decode_carried *now = &inner[depth % 2];
		struct tunnel_path path = {.carrier = place, .depth = depth};
		uint32_t within, ended;
		uint8_t side;

		decode_carried(packet, now);
		note(&flow->carried, now, depth > TUNNEL_DEPTH);
		if (now->inside != DECODE_INSIDE_READ || depth > TUNNEL_DEPTH)
			return 0;
		path.tunnel = (uint8_t)now->tunnel;
		path.key = now->key;
		within = find_path(table, &path);
		if (within == 0)
			return -1;
		place = flow_table_add_within(&table->flows, &now->packet, within, &side, &ended);
		if (place == FLOW_NONE)
			return -1;
		packet = &now->packet;
		if (!decode_may_carry(packet))
			return 0;
		flow = &table->flows.flows[place];
	}
}
