/* Whose an address is, and in which network namespace. */
#include "analyze/bridge_internal.h"

static bool address_at(const struct bridge *bridge, const struct endpoint_address *address,
		       int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;

	for (uint32_t i = timeline_by_address(tl, address); i != TIMELINE_NONE;
	     i = tl->addresses[i].next_address) {
		const struct timeline_life *life = &tl->addresses[i].life;

		if (bridge_may_precede(tl, life, t_ns) && t_ns < timeline_gone_end(tl, life))
			return true;
	}
	return false;
}

static bool prefix_broadcast(const struct timeline_address *own,
			     const struct endpoint_address *address)
{
	uint32_t a = 0, b = 0, host;

	if (!endpoint_is_ipv4(&own->address) || own->prefix_length > 30 || own->prefix_length == 0)
		return false;
	for (int i = 12; i < 16; i++) {
		a = a << 8 | own->address.bytes[i];
		b = b << 8 | address->bytes[i];
	}
	host = UINT32_MAX >> own->prefix_length;
	return b == (a | host);
}

static bool is_group(const struct bridge *bridge, const struct packet *packet)
{
	const struct endpoint_address *to = &packet->destination.address;

	if (endpoint_is_multicast(to) || endpoint_is_broadcast(to))
		return true;
	if (packet->direction == DECODE_BROADCAST || packet->direction == DECODE_MULTICAST)
		return true;
	if (!endpoint_is_ipv4(to))
		return false;
	for (size_t i = 0; i < bridge->timeline->count.addresses; i++) {
		if (prefix_broadcast(&bridge->timeline->addresses[i], to))
			return true;
	}
	return false;
}

enum bridge_locality bridge_locality(struct bridge *bridge, const struct packet *packet,
				     bool local[2], bool *group)
{
	const struct endpoint_address *from = &packet->source.address;
	const struct endpoint_address *to = &packet->destination.address;

	*group = is_group(bridge, packet);
	local[0] = endpoint_is_loopback(from);
	local[1] = endpoint_is_loopback(to);
	if (bridge->addresses_known) {
		local[0] = local[0] || address_at(bridge, from, packet->time_ns);
		local[1] = local[1] || address_at(bridge, to, packet->time_ns);
	} else {
		local[0] = local[0] || packet->direction == DECODE_OUTGOING;
		local[1] = local[1] || packet->direction == DECODE_TO_US;
	}
	/* Before it has an address (DHCP), a host sends from the unspecified one. */
	if (endpoint_is_any(from) && packet->direction == DECODE_OUTGOING)
		local[0] = true;
	if (*group) {
		local[1] = !local[0];
		return local[0] ? BRIDGE_LOCAL : BRIDGE_PLACE_GROUP;
	}
	if (local[0] || local[1])
		return BRIDGE_LOCAL;
	return bridge->addresses_known ? BRIDGE_PLACE_FORWARDED : BRIDGE_PLACE_UNKNOWN;
}

/* A loopback address belongs to the namespace of the capture; any other one
 * to the namespaces that have it. */
bool bridge_namespace_fits(const struct bridge *bridge, const struct bridge_subject *subject,
			   uint64_t netns)
{
	const struct timeline *tl = bridge->timeline;

	if (subject->group || tl->capture_netns == 0)
		return true;
	if (endpoint_is_loopback(&subject->local.address))
		return netns == tl->capture_netns;
	return timeline_by_address(tl, &subject->local.address) == TIMELINE_NONE ||
	       timeline_has_address(tl, &subject->local.address, netns);
}

bool bridge_is_ours(const struct bridge *bridge, const struct bridge_subject *subject)
{
	const struct timeline *tl = bridge->timeline;

	return tl->capture_netns != 0 &&
	       timeline_has_address(tl, &subject->local.address, tl->capture_netns);
}
