/*
 * What tunnels carry, as rows. A conversation in a tunnel goes on over segments as
 * the flow does that carries it, and by the same rules as that one.
 */
#include "analyze/merge_internal.h"

#include <stdlib.h>

#include "analyze/decode_tunnel.h"
#include "analyze/grow.h"

#define NONE UINT32_MAX

/* The key beyond the conversation's own. */
static uint64_t hash_carried(const struct merge_tunnel *t, const struct flow_key *key)
{
	const int64_t path[] = {t->flow_id, t->outer_tunnel_id, t->key, t->tunnel};

	return hashindex_mix(flow_key_hash(key) ^ hashindex_keyed(path, sizeof(path)));
}

uint64_t merge_hash_of_tunnel(const void *context, uint32_t place)
{
	const struct merge_tunnel *t = &((const struct merge *)context)->tunnels[place];

	return hash_carried(t, &t->flow.key);
}

static bool same_path(const struct merge_tunnel *a, const struct merge_tunnel *b)
{
	return a->flow_id == b->flow_id && a->outer_tunnel_id == b->outer_tunnel_id &&
	       a->key == b->key && a->tunnel == b->tunnel;
}

bool merge_same_tunnel(const void *left, const void *right)
{
	const struct merge_tunnel *a = left, *b = right;

	return same_path(a, b) && flow_key_equal(&a->flow.key, &b->flow.key);
}

/* The newest instance. */
static uint32_t find_live(const struct merge *merge, const struct merge_tunnel *wanted,
			  uint64_t hash)
{
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&merge->tunnels_index, hash, &probe)) != HASHINDEX_NONE) {
		if (merge_same_tunnel(&merge->tunnels[i], wanted))
			return i;
	}
	return NONE;
}

/* What a part's conversation at place is beyond its own packets. */
static struct merge_tunnel describe(const struct merge *merge, const struct tunnel_table *table,
				    uint32_t place, const int64_t *flow_ids, const uint32_t *lives)
{
	const struct tunnel_path *path = tunnel_path_of(table, place);
	struct merge_tunnel t = {
		.flow = table->flows.flows[place],
		.recording_id = merge->recording->recording_id,
		.segment_id = merge->row.segment_id,
		.key = path->key,
		.tunnel = path->tunnel,
		.depth = path->depth,
	};

	if (path->depth == 1) {
		t.flow_id = flow_ids[path->carrier];
	} else {
		const struct merge_tunnel *outer = &merge->tunnels[lives[path->carrier]];

		t.flow_id = outer->flow_id;
		t.outer_tunnel_id = outer->tunnel_id;
	}
	return t;
}

int merge_put_tunnel(struct merge *merge, const struct merge_tunnel *t, enum store_how how,
		     struct error *error)
{
	struct merge_texts texts;
	struct store_tunnel row = {
		.tunnel_id = t->tunnel_id,
		.outer_tunnel_id = t->outer_tunnel_id,
		.depth = t->depth,
		.tunnel_type = decode_tunnel_name((enum decode_tunnel)t->tunnel),
		.tunnel_key = t->key >= 0 ? t->key : STORE_NULL,
	};

	merge_flow_row(&t->flow, &texts, &row.flow);
	row.flow.flow_id = t->flow_id;
	row.flow.segment_id = t->segment_id;
	return store_tunnel(merge->store, &row, how, error);
}

/* Its place among the live ones; NONE without memory. */
static uint32_t take_tunnel(struct merge *merge, struct merge_tunnel *t, bool *insert)
{
	uint64_t hash = hash_carried(t, &t->flow.key);
	uint32_t earlier = find_live(merge, t, hash), place = (uint32_t)merge->tunnels_count;

	*insert = earlier == NONE ||
		  !flow_continues(&merge->tunnels[earlier].flow, &t->flow, &merge->limits);
	if (!*insert) {
		flow_join(&merge->tunnels[earlier].flow, &t->flow);
		return earlier;
	}
	if (grow_one(&merge->tunnels, merge->tunnels_count, &merge->tunnels_capacity,
		     sizeof(*merge->tunnels)) != 0)
		return NONE;
	t->tunnel_id = ++merge->tunnel_id;
	merge->tunnels[merge->tunnels_count++] = *t;
	if (earlier != NONE) {
		merge->tunnels[earlier].replaced = true;
		flow_follow(&merge->tunnels[place].flow, &merge->tunnels[earlier].flow,
			    &merge->limits);
		hashindex_move(&merge->tunnels_index, hash, earlier, place);
	} else if (hashindex_add(&merge->tunnels_index, hash, place, merge_hash_of_tunnel, merge) !=
		   0) {
		return NONE;
	}
	return place;
}

int merge_tunnels(struct merge *merge, const struct replay_part *part, const int64_t *flow_ids,
		  struct error *error)
{
	size_t count = part->tunnels.flows.count;
	uint32_t *lives;
	int status = 0;

	if (count == 0)
		return 0;
	lives = calloc(count, sizeof(*lives));
	if (lives == NULL)
		return merge_no_memory(error);
	/* A carrier stands before what it carries. */
	for (uint32_t i = 0; i < count && status == 0; i++) {
		struct merge_tunnel t = describe(merge, &part->tunnels, i, flow_ids, lives);
		bool insert;

		lives[i] = take_tunnel(merge, &t, &insert);
		status = lives[i] == NONE
				 ? merge_no_memory(error)
				 : merge_put_tunnel(merge, &merge->tunnels[lives[i]],
						    insert ? STORE_INSERT : STORE_REWRITE, error);
	}
	free(lives);
	return status;
}

int merge_forget_tunnels(struct merge *merge, struct error *error)
{
	size_t kept = 0;

	for (size_t i = 0; i < merge->tunnels_count; i++) {
		const struct merge_tunnel *t = &merge->tunnels[i];

		if (!t->replaced && !merge_is_silent(merge, &t->flow, t->recording_id))
			merge->tunnels[kept++] = *t;
	}
	merge->tunnels_count = kept;
	hashindex_clear(&merge->tunnels_index);
	for (uint32_t i = 0; i < kept; i++) {
		if (hashindex_add(&merge->tunnels_index, merge_hash_of_tunnel(merge, i), i,
				  merge_hash_of_tunnel, merge) != 0)
			return merge_no_memory(error);
	}
	return 0;
}
