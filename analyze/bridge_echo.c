/* Echoes: who sent one, where several ping one host. */
#include "analyze/bridge_internal.h"

#include "analyze/walk.h"
#include "snapshot/format/quantity.h"

#define ICMP_HEADER_BYTES 8
/* Uses of a way around a moment that are looked at, those in other namespaces counted: the recorder
 * tells fewer of a second in each of them. Of more nobody is named. */
#define LOOKED_AT 1024

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
	const struct timeline_use *look = &tl->uses[way->uses[place]], *end;
	uint32_t next = timeline_calls(tl, way)[place].next_send;

	if (next == TIMELINE_NONE)
		return false;
	end = &tl->uses[way->uses[next]];
	return end->at_ns <= look->at_ns + TIMELINE_CALL_NS && end->looked_ns <= look->at_ns &&
	       !timeline_untold(tl, true, look->at_ns, end->at_ns) &&
	       !timeline_untold(tl, false, look->at_ns, end->at_ns);
}

/* Whether who is named for what is sent at once was there, and all of it was told. */
static bool is_whole(const struct timeline *tl, const struct timeline_use *use, int64_t t_ns)
{
	bool has_call = use->act == SNAP_SEND;
	int64_t since_ns = has_call ? use->looked_ns : use->at_ns;

	return since_ns >= t_ns - (has_call ? TIMELINE_CALL_NS : BRIDGE_AT_ONCE_NS) &&
	       !bridge_is_gone(tl, use->process, t_ns) && t_ns <= tl->told_until_ns &&
	       !timeline_untold(tl, false, since_ns, t_ns);
}

/* What is asked of a way. */
struct echo {
	const struct bridge *bridge;
	const struct bridge_subject *subject;
	const struct endpoint *local;
	const struct timeline_way *way;
	int64_t t_ns;
};

static bool is_here(const struct echo *echo, const struct timeline_use *use)
{
	return bridge_use_fits(echo->bridge, echo->subject, use->netns) &&
	       (endpoint_is_any(&use->local.address) ||
		endpoint_equal(&use->local.address, &echo->local->address));
}

/* Whether others sent this way of whom nothing is told: within the longest call, the recorder says
 * that there were too many. */
static bool has_others(const struct echo *echo)
{
	const struct timeline *tl = echo->bridge->timeline;
	const struct timeline_call *calls = timeline_calls(tl, echo->way);
	size_t i = bridge_first_after(tl, echo->way, echo->t_ns + BRIDGE_CLOCKS_NS);
	unsigned looked = 0;

	for (; i > 0 && calls[i - 1].several != TIMELINE_NONE; i = calls[i - 1].several) {
		const struct timeline_use *use = &tl->uses[echo->way->uses[calls[i - 1].several]];

		walk_step();
		if (use->at_ns <= echo->t_ns - TIMELINE_CALL_NS - BRIDGE_RACE_NS)
			return false;
		if (is_here(echo, use) || looked++ == LOOKED_AT)
			return true;
	}
	return false;
}

/* Whether the packet may have left in the call that a use tells of: its end, or, where that is not
 * told, its look-up. */
static bool may_send(const struct echo *echo, size_t place)
{
	const struct timeline *tl = echo->bridge->timeline;
	const struct timeline_use *use = &tl->uses[echo->way->uses[place]];
	int64_t t_ns = echo->t_ns;

	if (use->act == SNAP_SEND)
		return use->looked_ns <= t_ns + BRIDGE_CLOCKS_NS &&
		       use->at_ns >= t_ns - BRIDGE_RACE_NS &&
		       use->at_ns <= t_ns + TIMELINE_CALL_NS &&
		       is_length(echo->subject, use->sent_bytes) && is_here(echo, use);
	return use->at_ns <= t_ns + BRIDGE_CLOCKS_NS &&
	       use->at_ns >= t_ns - BRIDGE_AT_ONCE_NS - BRIDGE_RACE_NS && is_here(echo, use) &&
	       !has_end(tl, echo->way, place);
}

uint32_t bridge_choose_echoer(const struct bridge *bridge, const struct bridge_subject *subject,
			      const struct endpoint *local, const struct timeline_way *way,
			      int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	const struct timeline_call *calls = timeline_calls(tl, way);
	const struct echo echo = {bridge, subject, local, way, t_ns};
	uint32_t named = TIMELINE_NONE;
	unsigned looked = 0;

	if (has_others(&echo))
		return TIMELINE_NONE;
	for (size_t i = bridge_first_after(tl, way, t_ns - BRIDGE_AT_ONCE_NS - BRIDGE_RACE_NS - 1);
	     i < way->count; i++) {
		const struct timeline_use *use = &tl->uses[way->uses[i]];

		walk_step();
		if (use->at_ns > t_ns + BRIDGE_CLOCKS_NS &&
		    calls[i].looked_ns > t_ns + BRIDGE_CLOCKS_NS)
			break;
		if (looked++ == LOOKED_AT)
			return TIMELINE_NONE;
		if (!may_send(&echo, i))
			continue;
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
