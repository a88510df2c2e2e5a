/* Parts of a capture, and what goes over their borders. */
#include "analyze/replay_internal.h"

#include <stdlib.h>

#include "analyze/ahead.h"
#include "analyze/grow.h"

void replay_part_clear(struct replay_part *part)
{
	flow_table_clear(&part->flows);
	tunnel_table_clear(&part->tunnels);
	ledger_clear(&part->ledger);
	part->packets = part->bytes = part->flow_packets = 0;
	part->stray_count = 0;
	part->goes_on = false;
	hashindex_clear(&part->stray_index);
	part->first_ns = INT64_MAX;
	part->last_ns = INT64_MIN;
}

void replay_part_init(struct replay_part *part, const struct replay_options *options)
{
	*part = (struct replay_part){0};
	flow_table_init(&part->flows, &options->limits);
	tunnel_table_init(&part->tunnels, &options->limits);
	ledger_init(&part->ledger, options->bucket_ns, options->keep_packets);
	replay_part_clear(part);
}

void replay_part_release(struct replay_part *part)
{
	flow_table_release(&part->flows);
	tunnel_table_release(&part->tunnels);
	ledger_release(&part->ledger);
	free(part->strays);
	hashindex_release(&part->stray_index);
	replay_border_release(&part->before);
	replay_border_release(&part->after);
}

/* --------------------------------------------------------------- borders -- */

void replay_border_release(struct replay_border *border)
{
	decode_fragments_free(border->fragments);
	repeats_recent_release(&border->repeats);
	*border = (struct replay_border){0};
}

bool replay_border_equal(const struct replay_border *a, const struct replay_border *b)
{
	return decode_fragments_equal(a->fragments, b->fragments) &&
	       repeats_recent_equal(&a->repeats, &b->repeats);
}

static struct pcapin_place where(const struct replay *replay)
{
	return replay->in != NULL ? pcapin_where(replay->in) : (struct pcapin_place){0};
}

/* Whoever goes on from here has the tables that whoever begins here has, to the byte. */
static int settle(struct replay *replay, struct replay_border *border)
{
	border->last_ns = replay->last_ns;
	return repeats_settle(replay->repeats, replay->last_ns, &border->repeats) != 0 ||
			       decode_fragments_copy(&border->fragments, replay->fragments) != 0
		       ? -1
		       : 0;
}

int replay_begin_part(struct replay *replay, struct replay_part *part)
{
	part->place = where(replay);
	part->held = replay->held;
	return settle(replay, &part->before);
}

int replay_end_part(struct replay *replay, struct replay_part *part)
{
	part->next = where(replay);
	part->held = replay->held;
	return settle(replay, &part->after);
}

uint64_t replay_room(const struct replay *replay, const struct replay_part *part)
{
	const struct replay_options *options = &replay->options;
	const uint64_t packets = options->part_packets - replay->taken - part->packets;
	const uint64_t flows = part->flows.count < options->piece_flows
				       ? options->piece_flows - part->flows.count
				       : 0;

	return flows < packets ? flows : packets;
}

/* ---------------------------------------------------------------- strays -- */

static uint64_t hash_of_stray(const void *context, uint32_t place)
{
	const struct replay_part *part = context;

	return flow_key_hash(&part->strays[place].key);
}

static struct replay_stray *stray_of(struct replay_part *part, const struct flow_key *key)
{
	uint64_t hash = flow_key_hash(key);
	uint32_t probe = (uint32_t)hash, place;

	while ((place = hashindex_next(&part->stray_index, hash, &probe)) != HASHINDEX_NONE) {
		if (flow_key_equal(&part->strays[place].key, key))
			return &part->strays[place];
	}
	place = (uint32_t)part->stray_count;
	if (grow_one(&part->strays, part->stray_count, &part->stray_capacity,
		     sizeof(*part->strays)) != 0)
		return NULL;
	part->strays[place] = (struct replay_stray){.key = *key};
	if (hashindex_add(&part->stray_index, hash, place, hash_of_stray, part) != 0)
		return NULL;
	part->stray_count++;
	return &part->strays[place];
}

int replay_stray(struct replay_part *part, const struct packet *packet)
{
	struct replay_stray *stray;
	struct flow_key key;

	flow_key_of(packet, &key);
	stray = stray_of(part, &key);
	if (stray == NULL)
		return -1;
	stray->packets++;
	stray->bytes += packet->ip_bytes;
	return 0;
}

/* -------------------------------------------------------------- going on -- */

static int no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
}

static bool stopped(const struct replay *replay)
{
	return replay->options.stop != NULL && *replay->options.stop != 0;
}

static int say_interrupted(struct error *error)
{
	return error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
}

void replay_hold(struct replay *replay, uint64_t number)
{
	struct replay_held *held = &replay->held;
	const struct pcapin_place *said;

	if (replay->members == NULL || held->lied || held->until == replay->members->count)
		return;
	said = &replay->members->places[held->until];
	if (said->number > number)
		return;
	held->found = pcapin_where(replay->in);
	if (pcapin_same_place(said, &held->found))
		held->until++;
	else
		held->lied = true;
}

uint64_t replay_until_held(const struct replay *replay, uint64_t number, uint64_t most)
{
	const struct replay_held *held = &replay->held;
	uint64_t next;

	if (replay->members == NULL || held->lied || held->until == replay->members->count)
		return most;
	next = replay->members->places[held->until].number;
	return next > number && next - number < most ? next - number : most;
}

int replay_seek_member(struct replay *replay, size_t member, struct error *error)
{
	/* Also if it cannot be sought: what it says rests on it. */
	replay->held = (struct replay_held){.rests_on = member + 1, .until = member + 1};
	return pcapin_seek(replay->in, &replay->members->places[member], error);
}

/* Whether it is this packet, nobody who only skips those before it could tell later. */
static int skip_to(struct replay *replay, const struct pcapin_place *place, struct error *error)
{
	struct pcapin_place at = pcapin_where(replay->in);
	struct pcapin_packet raw;
	int status = 1;

	while (at.number < place->number && status == 1) {
		status = pcapin_next(replay->in, &raw, error);
		if (stopped(replay))
			return say_interrupted(error);
		if (status == 1)
			replay_hold(replay, raw.number + 1);
		at = pcapin_where(replay->in);
	}
	if (!pcapin_same_place(&at, place))
		return error_set(error, ERROR_SYSTEM, NULL, -1,
				 "the capture was changed while it was read");
	return 0;
}

int replay_resume(struct replay *replay, uint64_t number, const struct pcapin_place *place,
		  const struct replay_border *border, struct error *error)
{
	int status = replay->in == NULL	       ? 0
		     : replay->members != NULL ? skip_to(replay, place, error)
					       : pcapin_seek(replay->in, place, error);

	if (status != 0)
		return status;
	replay->parts = number;
	replay->taken = 0;
	replay->last_ns = border->last_ns;
	repeats_restore(replay->repeats, &border->repeats);
	return decode_fragments_copy(&replay->fragments, border->fragments) != 0 ? no_memory(error)
										 : 0;
}

/* Nothing that these packets have is of use but what they repeat. */
static int look_back(struct replay *replay, uint64_t until, struct error *error)
{
	/* Whoever reads the part before tells of damage. */
	struct error ignored = ERROR_NONE;
	struct pcapin_packet raw;

	while (pcapin_where(replay->in).number < until &&
	       pcapin_next(replay->in, &raw, &ignored) == 1) {
		struct packet packet;

		ahead_decode(&raw, replay->fragments, &packet);
		replay->last_ns = raw.time_ns;
		if (packet.outcome == DECODE_FLOW)
			repeats_seen(replay->repeats, &packet);
		replay_hold(replay, raw.number + 1);
		if (stopped(replay))
			return say_interrupted(error);
	}
	return 0;
}

int replay_approach(struct replay *replay, uint64_t number, const struct pcapin_place *place,
		    const struct pcapin_place *start, const struct decode_fragments *fragments,
		    struct error *error)
{
	static const struct replay_border nothing = {.last_ns = INT64_MIN};
	int status = replay_resume(replay, number, start, &nothing, error);

	if (status == 0 && decode_fragments_copy(&replay->fragments, fragments) != 0)
		return no_memory(error);
	if (status == 0 && decode_tells_interface(pcapin_link_type(replay->in)))
		status = look_back(replay, place->number, error);
	if (status == 0)
		status = pcapin_seek(replay->in, place, error);
	if (status == 0 && decode_fragments_copy(&replay->fragments, fragments) != 0)
		return no_memory(error);
	return status;
}

int replay_approach_member(struct replay *replay, uint64_t number, size_t member,
			   struct error *error)
{
	static const struct replay_border nothing = {.last_ns = INT64_MIN};
	int status = replay_seek_member(replay, member, error);

	if (status == 0)
		status = replay_resume(replay, number, &replay->members->places[member], &nothing,
				       error);
	if (status == 0)
		status = look_back(replay, number * replay->options.part_packets + 1, error);
	return status;
}
