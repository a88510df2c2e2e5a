/* Which of several processes that use one stream at the same time moved some bytes of it, as far
 * as that can be told. */
#include "analyze/bridge_internal.h"

#include "snapshot/format/snapfile.h"

/* The turns of one process in which bytes of one direction were moved, by number. */
struct run {
	uint32_t process, first, last;
	uint32_t use; /* the first */
};

static bool moved_nothing(const struct timeline *tl, const struct timeline_socket *s, uint32_t turn,
			  bool sent)
{
	const struct timeline_turn *turns = &tl->turns[s->turns_at];
	uint64_t from = timeline_position(&tl->uses[turns[turn].use], sent);

	return turn + 1 < s->turn_count && from != SNAP_UNKNOWN_BYTES &&
	       from == timeline_position(&tl->uses[turns[turn + 1].use], sent);
}

/* Not more than there are turns. */
static size_t collect_runs(const struct timeline *tl, const struct timeline_socket *s, bool sent,
			   struct run runs[SNAP_TURNS_MAX])
{
	size_t count = 0;

	for (uint32_t turn = 0; turn < s->turn_count; turn++) {
		uint32_t process = tl->uses[tl->turns[s->turns_at + turn].use].process;
		size_t at = 0;

		if (moved_nothing(tl, s, turn, sent))
			continue;
		while (at < count && runs[at].process != process)
			at++;
		if (at == count)
			runs[count++] = (struct run){process, turn, turn,
						     tl->turns[s->turns_at + turn].use};
		runs[at].last = turn;
	}
	return count;
}

static void push(struct bridge *bridge, uint32_t socket, uint32_t process, int64_t t_ns)
{
	bridge_push_candidate(bridge, socket, process,
			      timeline_image_at(bridge->timeline, process, t_ns));
}

void bridge_push_users(struct bridge *bridge, const struct timeline_socket *s, uint32_t socket,
		       int64_t t_ns)
{
	uint32_t count = s->users < BRIDGE_CANDIDATES_MAX ? s->users : BRIDGE_CANDIDATES_MAX;

	for (uint32_t i = 0; i < count; i++)
		push(bridge, socket, bridge->timeline->users[s->users_at + i], t_ns);
}

/* Who was not there yet when the packet left, or when the turn was over, had no part in it.
 * next: the use of the next turn; NONE: there is none. */
static bool began_later(const struct timeline *tl, const struct bridge_subject *subject,
			uint32_t next, uint32_t process, int64_t t_ns)
{
	int64_t began_ns = timeline_began(tl, process, false);

	return (subject->sent && began_ns > t_ns + BRIDGE_CLOCKS_NS) ||
	       (next != TIMELINE_NONE && tl->uses[next].previous_ns != 0 &&
		began_ns > tl->uses[next].previous_ns);
}

/* Whether a was born with the socket of b, who went on using it. Of two of one pid and clock tick
 * either may have been. */
static bool is_heir(const struct timeline *tl, const struct timeline_socket *s, const struct run *a,
		    const struct run *b)
{
	const struct timeline_process *p = &tl->processes[a->process];

	return b->last < a->first && p->last_fork_ns > s->opened_ns &&
	       p->first_fork_ns < tl->uses[a->use].previous_ns;
}

static bool at_once(const struct timeline *tl, const struct timeline_socket *s, const struct run *a,
		    const struct run *b)
{
	return (a->first < b->last && b->first < a->last) || is_heir(tl, s, a, b) ||
	       is_heir(tl, s, b, a);
}

/* A call is told when it ends, with the place where the one that ended before it left off. One
 * that waits for room or for data lets others in between: where two processes come back to a
 * socket after each other, or one goes on after a child got it, their calls may have overlapped,
 * and their bytes are mixed. Where one leaves it to the next, bytes of the next that left before
 * show the same. */
void bridge_push_rivals(struct bridge *bridge, const struct bridge_subject *subject,
			const struct timeline_socket *s, uint32_t use, uint32_t socket,
			int64_t t_ns)
{
	const struct timeline *tl = bridge->timeline;
	uint32_t process = tl->uses[use].process, next = TIMELINE_NONE;
	struct run runs[SNAP_TURNS_MAX];
	const struct run *own = NULL;
	size_t count;

	if (s->turn_count > SNAP_TURNS_MAX ||
	    (subject->sent && t_ns + BRIDGE_CLOCKS_NS < tl->uses[use].previous_ns)) {
		bridge_push_users(bridge, s, socket, t_ns);
		return;
	}
	for (uint32_t turn = 0; turn + 1 < s->turn_count; turn++) {
		if (tl->turns[s->turns_at + turn].use == use)
			next = tl->turns[s->turns_at + turn + 1].use;
	}
	count = collect_runs(tl, s, subject->sent, runs);
	for (size_t i = 0; i < count && own == NULL; i++) {
		if (runs[i].process == process)
			own = &runs[i];
	}
	for (size_t i = 0; own != NULL && i < count; i++) {
		if (&runs[i] != own && at_once(tl, s, &runs[i], own) &&
		    !began_later(tl, subject, next, runs[i].process, t_ns))
			push(bridge, socket, runs[i].process, t_ns);
	}
}
