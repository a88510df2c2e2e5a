/* Sockets that are not connected: those of a port, listeners, and raw ones. */
#include "analyze/bridge_internal.h"

#include <netinet/in.h>

#include "analyze/decode_icmp.h"

/* What of the unconnected sockets of a port can matter: those on the address, and on any. */
static const struct bridge_near *near_port(struct bridge *bridge,
					   const struct bridge_subject *subject, uint8_t protocol,
					   uint16_t port, int64_t t_ns, struct bridge_verdict *v)
{
	static const uint8_t zero[4];
	const struct endpoint any[] = {{.address = endpoint_from_ipv4(zero), .port = port},
				       {.port = port}};
	struct endpoint local = {.address = subject->local.address, .port = port};

	bridge_near_clear(bridge, BRIDGE_CHAIN_PORT);
	if (!endpoint_is_any(&local.address))
		bridge_near_add(bridge, BRIDGE_CHAIN_PORT,
				timeline_by_port(bridge->timeline, protocol, &local), t_ns, v);
	bridge_near_add(bridge, BRIDGE_CHAIN_PORT,
			timeline_by_port(bridge->timeline, protocol, &any[0]), t_ns, v);
	return bridge_near_add(bridge, BRIDGE_CHAIN_PORT,
			       timeline_by_port(bridge->timeline, protocol, &any[1]), t_ns, v);
}

bool bridge_add_unconnected_rivals(struct bridge *bridge, const struct bridge_subject *subject,
				   int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t inode = tl->sockets[bridge->sockets[0]].inode;
	size_t before = bridge->socket_count;
	const struct bridge_near *near =
		near_port(bridge, subject, subject->protocol, subject->local.port, t_ns, v);

	for (size_t n = 0; n < near->count; n++) {
		uint32_t i = near->places[n];
		const struct timeline_socket *s = &tl->sockets[i];

		bridge_life_edges(tl, &s->life, t_ns, v);
		if (s->inode != inode && bridge_namespace_fits(bridge, subject, s->netns) &&
		    (timeline_current(tl, &s->life, t_ns) ||
		     (timeline_first_end(tl, &s->life) > t_ns &&
		      bridge_may_precede(tl, &s->life, t_ns))) &&
		    (endpoint_is_any(&s->local.address) ||
		     endpoint_equal(&s->local.address, &subject->local.address)))
			bridge_push_socket(bridge, i);
	}
	return bridge->socket_count > before;
}

bool bridge_has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

enum tier { TIER_ADDRESS, TIER_WILDCARD, TIER_DUAL_STACK, TIERS };

static enum tier tier_of(const struct bridge_subject *subject, const struct timeline_socket *s)
{
	if (endpoint_equal(&s->local.address, &subject->local.address))
		return TIER_ADDRESS;
	if (!endpoint_is_any(&s->local.address))
		return TIERS;
	if (snap_table_is_ipv6(s->table) == (subject->ip_version == 6))
		return TIER_WILDCARD;
	/* Raw and ping sockets take their own family only. */
	return subject->ip_version == 4 && bridge_has_ports(s->protocol) ? TIER_DUAL_STACK : TIERS;
}

static bool takes_unconnected(const struct bridge *bridge, const struct bridge_subject *subject,
			      const struct timeline_socket *s)
{
	if (s->protocol == IPPROTO_TCP && s->state != SNAP_LISTEN)
		return false;
	return s->inode != 0 && bridge_namespace_fits(bridge, subject, s->netns);
}

/* One missing row is no absence: what the last reading before t was the first not to have may have
 * been there still, where nothing else was. */
static void collect_missed(struct bridge *bridge, const struct bridge_subject *subject,
			   const struct bridge_near *near, int64_t t_ns, struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;

	for (size_t n = 0; n < near->count; n++) {
		const struct timeline_socket *s = &tl->sockets[near->places[n]];
		int64_t gone_ns = timeline_gone_end(tl, &s->life);
		size_t next = timeline_fulls_until(tl, gone_ns);
		int64_t until_ns =
			next < tl->full_count ? tl->frames[tl->full[next]].end_ns : INT64_MAX;

		if (gone_ns > t_ns || !takes_unconnected(bridge, subject, s) ||
		    tier_of(subject, s) == TIERS ||
		    (s->closed.closed_ns != 0 && s->closed.closed_ns <= gone_ns))
			continue;
		bridge_edge(v, t_ns, until_ns);
		if (t_ns < until_ns)
			bridge_push_socket(bridge, near->places[n]);
	}
}

/* Fills bridge->sockets with what qualifies at t on a port, by the strongest
 * tier that has any; a tier that is only ahead does not hide one that is there. */
static enum tier collect_unconnected(struct bridge *bridge, const struct bridge_subject *subject,
				     uint8_t protocol, uint16_t port, int64_t t_ns,
				     struct bridge_verdict *v)
{
	const struct timeline *tl = bridge->timeline;
	const struct bridge_near *near = near_port(bridge, subject, protocol, port, t_ns, v);
	enum tier found = TIERS;
	bool any_current = false;

	bridge->socket_count = 0;
	for (enum tier tier = TIER_ADDRESS; tier < TIERS; tier++) {
		bool current = false, stale = true;

		for (size_t n = 0; n < near->count; n++) {
			uint32_t i = near->places[n];
			const struct timeline_socket *s = &tl->sockets[i];

			if (!takes_unconnected(bridge, subject, s) || tier_of(subject, s) != tier)
				continue;
			bridge_life_edges(tl, &s->life, t_ns, v);
			if (!timeline_current(tl, &s->life, t_ns))
				continue;
			bridge_push_socket(bridge, i);
			current = true;
			stale = stale && bridge_is_stale(tl, &s->life, t_ns);
		}
		for (size_t n = 0; n < near->count; n++) {
			uint32_t i = near->places[n];
			const struct timeline_socket *s = &tl->sockets[i];

			if (takes_unconnected(bridge, subject, s) && tier_of(subject, s) == tier &&
			    timeline_first_end(tl, &s->life) > t_ns &&
			    bridge_may_precede(tl, &s->life, t_ns)) {
				bridge_push_socket(bridge, i);
				if (found == TIERS)
					found = tier;
			}
		}
		if (current && found == TIERS)
			found = tier;
		any_current = any_current || current;
		/* Of a group's datagram each socket gets a copy. */
		if (current && !stale && !subject->group)
			return found;
	}
	if (found != TIERS && !any_current && !subject->group)
		collect_missed(bridge, subject, near, t_ns, v);
	return found;
}

/* A port that was last seen before t and is not there in the next reading may
 * have gone to another process in between. */
static bool any_stale(const struct bridge *bridge, int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;

	for (size_t i = 0; i < bridge->socket_count; i++) {
		const struct timeline_life *life = &tl->sockets[bridge->sockets[i]].life;

		if (timeline_current(tl, life, t_ns) && bridge_is_stale(tl, life, t_ns))
			return true;
	}
	return false;
}

bool bridge_judge_unconnected(struct bridge *bridge, const struct bridge_subject *subject,
			      uint8_t protocol, uint16_t port, enum bridge_rule rule, int64_t t_ns,
			      struct bridge_verdict *v)
{
	enum tier tier;

	if (!bridge_bracketed(bridge->timeline, t_ns)) {
		bridge_tell(bridge, BRIDGE_WHY_PORT_OUTSIDE, TIMELINE_NONE);
		return false;
	}
	tier = collect_unconnected(bridge, subject, protocol, port, t_ns, v);
	if (bridge->socket_count == 0) {
		bridge_tell(bridge, BRIDGE_WHY_NO_PORT, TIMELINE_NONE);
		return false;
	}
	if (rule == BRIDGE_NO_RULE)
		rule = tier == TIER_ADDRESS ? BRIDGE_BOUND : BRIDGE_WILDCARD;
	bridge_judge_several(bridge, subject, rule, t_ns, v);
	if (v->reason == BRIDGE_OWNED && any_stale(bridge, t_ns)) {
		bridge_tell(bridge, BRIDGE_WHY_PORT_MAY_BE_TAKEN, v->socket);
		bridge_say_lapsed(v);
	}
	if (v->reason == BRIDGE_OWNED && rule == BRIDGE_LISTENER &&
	    !bridge_serves(bridge, port, v->process, t_ns, v)) {
		bridge_tell(bridge, BRIDGE_WHY_NOT_ACCEPTOR, v->socket);
		bridge_say_ambiguous(bridge, subject, v);
	}
	return true;
}

void bridge_judge_raw(struct bridge *bridge, const struct bridge_subject *subject, int64_t t_ns,
		      struct bridge_verdict *v)
{
	bool icmp = decode_is_icmp(subject->protocol);

	if (subject->icmp_query && !subject->responder &&
	    bridge_judge_unconnected(bridge, subject, subject->protocol, subject->local.port,
				     BRIDGE_QUOTED, t_ns, v))
		return;
	if (!(icmp && (subject->responder || !subject->icmp_query)) &&
	    bridge_judge_unconnected(bridge, subject, IPPROTO_RAW, subject->protocol,
				     icmp ? BRIDGE_QUOTED : BRIDGE_NO_RULE, t_ns, v))
		return;
	bridge_tell(bridge, BRIDGE_WHY_KERNEL, TIMELINE_NONE);
	bridge_say_no(v, BRIDGE_NO_SOCKET);
}

bool bridge_judge_listener(struct bridge *bridge, const struct bridge_subject *subject,
			   struct bridge_verdict *v)
{
	int64_t from_ns = v->from_ns, until_ns = v->until_ns;
	bool judged;

	if (subject->began_ns == INT64_MIN) {
		bridge_tell(bridge, BRIDGE_WHY_NO_SYN, TIMELINE_NONE);
		return false;
	}
	judged = bridge_judge_unconnected(bridge, subject, subject->protocol, subject->local.port,
					  BRIDGE_LISTENER, subject->began_ns, v);
	v->from_ns = from_ns;
	v->until_ns = until_ns;
	return judged;
}
