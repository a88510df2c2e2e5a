/* Where the host is: its addresses and interfaces, record by record. */
#include "analyze/timeline_internal.h"

#include "analyze/grow.h"
#include "analyze/walk.h"

static uint64_t hash_address_of(const void *context, uint32_t i)
{
	const struct timeline_address *a = &((const struct timeline *)context)->addresses[i];

	return hashindex_mix(
		timeline_hash_home(&a->address, a->netns) ^
		hashindex_mix(((uint64_t)a->ifindex << 8 | a->prefix_length) + hashindex_seed));
}

static uint64_t hash_of_home(const void *context, uint32_t i)
{
	const struct timeline_address *a = &((const struct timeline *)context)->addresses[i];

	return timeline_hash_home(&a->address, a->netns);
}

static uint32_t find_address(const struct timeline *tl, uint64_t hash,
			     const struct timeline_address *wanted)
{
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_place, hash, &probe)) != HASHINDEX_NONE) {
		const struct timeline_address *a = &tl->addresses[i];

		walk_step();
		if (endpoint_equal(&a->address, &wanted->address) && a->netns == wanted->netns &&
		    a->ifindex == wanted->ifindex && a->prefix_length == wanted->prefix_length)
			return i;
	}
	return TIMELINE_NONE;
}

int timeline_take_address(struct timeline *tl, enum snap_op op, const struct snap_address *address)
{
	uint32_t head = timeline_by_address(tl, &address->address), i, place;
	bool is_home = timeline_has_address(tl, &address->address, address->netns);

	/* Where it would stand, so that it can be looked for as it is. */
	if (grow_one(&tl->addresses, tl->count.addresses, &tl->capacity.addresses,
		     sizeof(*tl->addresses)) != 0)
		return -1;
	place = (uint32_t)tl->count.addresses;
	tl->addresses[place] = (struct timeline_address){
		.life = timeline_life_begin(tl, op),
		.netns = address->netns,
		.ifindex = address->ifindex,
		.address = address->address,
		.prefix_length = address->prefix_length,
		.next_address = TIMELINE_NONE,
		.tail = place,
	};
	i = find_address(tl, hash_address_of(tl, place), &tl->addresses[place]); /* the latest */
	if (op == SNAP_GONE) {
		if (i != TIMELINE_NONE && timeline_life_open(&tl->addresses[i].life))
			timeline_life_end(tl, &tl->addresses[i].life, true);
		return 0;
	}
	if (i != TIMELINE_NONE && timeline_life_resumes(tl, &tl->addresses[i].life, false)) {
		timeline_life_confirm(tl, &tl->addresses[i].life, op);
		return timeline_note_life(tl, SNAP_ADD, TIMELINE_ADDRESS, i);
	}
	tl->count.addresses++;
	if (timeline_note_life(tl, SNAP_ADD, TIMELINE_ADDRESS, place) != 0 ||
	    timeline_index_latest(tl, &tl->by_place, i, place, hash_address_of) != 0 ||
	    (!is_home &&
	     hashindex_add(&tl->by_home, hash_of_home(tl, place), place, hash_of_home, tl) != 0))
		return -1;
	if (head == TIMELINE_NONE)
		return hashindex_add(&tl->by_address, hashindex_keyed(address->address.bytes, 16),
				     place, timeline_hash_of_address, tl);
	tl->addresses[tl->addresses[head].tail].next_address = place;
	tl->addresses[head].tail = place;
	return 0;
}

static uint64_t hash_interface(uint64_t netns, uint32_t ifindex)
{
	return hashindex_mix(netns ^ hashindex_mix(ifindex + hashindex_seed));
}

static uint64_t hash_of_interface(const void *context, uint32_t i)
{
	const struct timeline_interface *f = &((const struct timeline *)context)->interfaces[i];

	return hash_interface(f->netns, f->ifindex);
}

static uint32_t find_interface(const struct timeline *tl, uint64_t netns, uint32_t ifindex)
{
	uint64_t hash = hash_interface(netns, ifindex);
	uint32_t probe = (uint32_t)hash, i;

	while ((i = hashindex_next(&tl->by_interface, hash, &probe)) != HASHINDEX_NONE) {
		walk_step();
		if (tl->interfaces[i].netns == netns && tl->interfaces[i].ifindex == ifindex)
			return i;
	}
	return TIMELINE_NONE;
}

int timeline_take_interface(struct timeline *tl, enum snap_op op,
			    const struct snap_interface *interface)
{
	uint32_t i = find_interface(tl, interface->netns, interface->ifindex), place;
	struct timeline_life *life = i == TIMELINE_NONE ? NULL : &tl->interfaces[i].life;
	bool failed = false;

	if (op == SNAP_GONE) {
		if (life != NULL && timeline_life_open(life))
			timeline_life_end(tl, life, true);
		return 0;
	}
	/* Or the index or the name went to another one. */
	if (life != NULL && timeline_same_text(tl->interfaces[i].name, interface->name)) {
		timeline_life_confirm(tl, life, op);
		return timeline_note_life(tl, SNAP_ADD, TIMELINE_INTERFACE, i);
	}
	if (grow_one(&tl->interfaces, tl->count.interfaces, &tl->capacity.interfaces,
		     sizeof(*tl->interfaces)) != 0)
		return -1;
	place = (uint32_t)tl->count.interfaces++;
	tl->interfaces[place] = (struct timeline_interface){
		.life = timeline_life_begin(tl, op),
		.netns = interface->netns,
		.ifindex = interface->ifindex,
		.hardware_type = interface->hardware_type,
		.name = timeline_keep_string(tl, interface->name, &failed),
	};
	if (failed || timeline_note_life(tl, SNAP_ADD, TIMELINE_INTERFACE, place) != 0)
		return -1;
	return timeline_index_latest(tl, &tl->by_interface, i, place, hash_of_interface);
}
