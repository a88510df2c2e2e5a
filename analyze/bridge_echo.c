/* Echoes: who sent one, where several ping one host. */
#include "analyze/bridge_internal.h"

#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

/* No call that sends an echo lasts longer: it waits for nobody. And within such a time the
 * recorder has told of each look-up, or that there were too many. */
#define CALL_NS		  INT64_C(1000000000)
#define ICMP_HEADER_BYTES 8

/* Whether a call that sent so many bytes may have sent this packet: they are all of it but the
 * header of IP, or all where the caller writes that himself. */
static bool is_length(const struct bridge_subject *subject, uint64_t sent_bytes)
{
	return sent_bytes == SNAP_UNKNOWN_BYTES || subject->ip_bytes == 0 ||
	       sent_bytes == subject->ip_bytes ||
	       sent_bytes == (uint64_t)subject->payload_bytes + ICMP_HEADER_BYTES;
}

/* Whether the end of the call that a look-up belongs to was told. */
static bool has_end(const struct timeline *tl, const struct timeline_way *way, size_t place)
{
	const struct timeline_use *look = &tl->uses[way->uses[place]];

	for (size_t i = place + 1; i < way->count; i++) {
		const struct timeline_use *end = &tl->uses[way->uses[i]];

		walk_step();
		if (end->at_ns > look->at_ns + CALL_NS)
			return false;
		if (end->act == SNAP_SEND && end->process == look->process &&
		    end->tid == look->tid && end->looked_ns <= look->at_ns)
			return !timeline_untold(tl, true, look->at_ns, end->at_ns) &&
			       !timeline_untold(tl, false, look->at_ns, end->at_ns);
	}
	return false;
}

/* Whether who is named for what is sent at once was there, and all of it was told. */
static bool is_whole(const struct timeline *tl, const struct timeline_use *use, int64_t t_ns)
{
	bool has_call = use->act == SNAP_SEND;
	int64_t since_ns = has_call ? use->looked_ns : use->at_ns;

	return since_ns >= t_ns - (has_call ? CALL_NS : BRIDGE_AT_ONCE_NS) &&
	       !bridge_is_gone(tl, use->process, t_ns) && t_ns <= tl->told_until_ns &&
	       !timeline_untold(tl, false, since_ns, t_ns);
}

uint32_t bridge_choose_echoer(const struct bridge *bridge, const struct bridge_subject *subject,
			      const struct endpoint *local, const struct timeline_way *way,
			      int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t named = TIMELINE_NONE;

	for (size_t i = bridge_first_after(tl, way, t_ns - CALL_NS - BRIDGE_RACE_NS);
	     i < way->count; i++) {
		const struct timeline_use *use = &tl->uses[way->uses[i]];

		walk_step();
		if (use->at_ns > t_ns + CALL_NS)
			break;
		if (!bridge_use_fits(bridge, subject, use->netns) ||
		    (!endpoint_is_any(&use->local.address) &&
		     !endpoint_equal(&use->local.address, &local->address)))
			continue;
		if (use->act == SNAP_SEND) {
			if (use->looked_ns > t_ns + BRIDGE_CLOCKS_NS ||
			    use->at_ns < t_ns - BRIDGE_RACE_NS ||
			    !is_length(subject, use->sent_bytes))
				continue;
		} else if (use->at_ns > t_ns + BRIDGE_CLOCKS_NS) {
			continue;
		} else if (use->act == SNAP_SEVERAL) {
			return TIMELINE_NONE;
		} else if (use->at_ns < t_ns - BRIDGE_AT_ONCE_NS - BRIDGE_RACE_NS ||
			   has_end(tl, way, i)) {
			continue;
		}
		if (named != TIMELINE_NONE && tl->uses[named].process != use->process)
			return TIMELINE_NONE;
		named = way->uses[i];
	}
	return named != TIMELINE_NONE && is_whole(tl, &tl->uses[named], t_ns) ? named
									      : TIMELINE_NONE;
}

bool bridge_awaits_echo(const struct bridge *bridge, uint32_t process, int64_t since_ns,
			int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;

	return t_ns - since_ns <= BRIDGE_ANSWER_NS && t_ns <= tl->told_until_ns &&
	       !bridge_is_gone(tl, process, t_ns) && !timeline_untold(tl, false, since_ns, t_ns) &&
	       !timeline_forked(tl, process, since_ns, t_ns);
}
