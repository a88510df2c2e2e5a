/*
 * oracle.c - who must have sent or taken a packet, from the frames alone and by
 * the rules as they are written down: brute force, every frame for every packet.
 *
 * Of the truth it takes only what a reader of the packets has: times, tuples,
 * sequence numbers, and which SYN a packet comes after. It knows nothing of how
 * the analyzer keeps its state, and where a rule leaves two it says nothing.
 */
#include <netinet/in.h>

#include "analyze/decode.h"
#include "tests/model/model.h"

/* The clocks of packets and of uses differ by so much at most. */
#define CLOCKS_NS (5 * US)
/* A look-up of a way this close before a packet is the packet's own. */
#define AT_ONCE_NS (5 * MS)

struct question {
	const struct model_world *world;
	const struct model_evidence *evidence;
	const struct model_packet *packet;
	int side;
	struct endpoint local, remote;
	int64_t t_ns;
	/* TCP: the SYN of this conversation, and of the next one of the tuple. */
	const struct model_packet *syn;
	int64_t began_ns, next_ns;
};

bool model_same_end(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && endpoint_equal(&a->address, &b->address);
}

static bool is_stream(const struct question *q)
{
	return q->packet->protocol == IPPROTO_TCP;
}

static struct model_opinion nobody(const char *why)
{
	return (struct model_opinion){MODEL_NOBODY, why};
}

int model_process_of(const struct model_world *world, uint32_t pid, uint64_t start_ticks)
{
	for (size_t i = 0; i < world->processes.count; i++) {
		if (world->processes.items[i].pid == pid &&
		    world->processes.items[i].start_ticks == start_ticks)
			return (int)i;
	}
	return MODEL_NOBODY;
}

/* One process, or that there are several. */
struct set {
	int process;
	bool several;
};

static void put(struct set *set, int process)
{
	if (set->process != MODEL_NOBODY && set->process != process)
		set->several = true;
	set->process = process;
}

/* Latest moment at which a process can have begun, CLOCK_REALTIME: its start is cut to the tick. */
static int64_t surely_began(const struct question *q, int process)
{
	const struct model_world *world = q->world;

	return model_real(world, 0) - model_boot(world, 0) +
	       (int64_t)(world->processes.items[process].start_ticks + 1) * MODEL_TICK_NS;
}

/* ----------------------------------------------------------------- time -- */

/* The clock went back over t: two moments bear that time. After any jump a start in ticks
 * is no longer a time. */
static bool is_doubtful(const struct question *q)
{
	for (size_t i = 0; i < q->world->jumps.count; i++) {
		const struct model_jump *jump = &q->world->jumps.items[i];
		int64_t before_ns = model_real(q->world, jump->at - 1);
		int64_t after_ns = model_real(q->world, jump->at);
		/* Readings around the jump cannot tell when it was. */
		int64_t margin_ns = 2 * SEC;

		if (q->t_ns >= (before_ns < after_ns ? before_ns : after_ns) - margin_ns &&
		    q->t_ns <= (before_ns < after_ns ? after_ns : before_ns) + margin_ns)
			return true;
	}
	return false;
}

static bool is_blind(const struct question *q, int64_t from_ns, int64_t until_ns)
{
	for (size_t i = 0; i < q->evidence->blind.count; i++) {
		if (q->evidence->blind.items[i].from_ns <= until_ns &&
		    q->evidence->blind.items[i].until_ns >= from_ns)
			return true;
	}
	return false;
}

static int64_t last_reading_ns(const struct question *q)
{
	return q->evidence->readings.items[q->evidence->readings.count - 1].head.begin_ns;
}

static void find_syn(struct question *q)
{
	q->began_ns = INT64_MIN;
	q->next_ns = INT64_MAX;
	for (size_t i = 0; i < q->world->packets.count; i++) {
		const struct model_packet *p = &q->world->packets.items[i];
		int64_t at_ns = model_real(q->world, p->at);

		if (p->segment == 0 || p->protocol != IPPROTO_TCP || p->flags != DECODE_TCP_SYN)
			continue;
		if (p->conversation == q->packet->conversation) {
			q->syn = p;
			q->began_ns = at_ns;
		} else if (p->at > q->packet->at && at_ns < q->next_ns &&
			   ((model_same_end(&p->from, &q->local) &&
			     model_same_end(&p->to, &q->remote)) ||
			    (model_same_end(&p->from, &q->remote) &&
			     model_same_end(&p->to, &q->local)))) {
			q->next_ns = at_ns;
		}
	}
}

/* ------------------------------------------------- streams, as was told -- */

static bool is_use_of(const struct question *q, const struct snap_use *use)
{
	bool accepted = model_same_end(&q->syn->to, &q->local);

	return use->protocol == IPPROTO_TCP && use->act != SNAP_SHUT &&
	       model_same_end(&use->local, &q->local) && model_same_end(&use->remote, &q->remote) &&
	       use->opened_ns < q->next_ns &&
	       (accepted ? use->opened_ns >= q->began_ns - CLOCKS_NS
			 : use->opened_ns <= q->began_ns + CLOCKS_NS &&
				   use->opened_ns >= q->began_ns - MS);
}

/* Whose bytes these are: of the last turn that begins at or before them, if they end
 * before the next one's. */
static struct model_opinion by_bytes(const struct question *q)
{
	const struct model_packet *p = q->packet;
	bool from_client = model_same_end(&p->from, &q->syn->from);
	uint64_t begin, end, next = UINT64_MAX, best = 0;
	uint32_t isn = q->syn->seq;
	int process = MODEL_NOBODY;

	for (size_t i = 0; !from_client && i < q->world->packets.count; i++) {
		const struct model_packet *answer = &q->world->packets.items[i];

		if (answer->conversation == p->conversation && answer->segment != 0 &&
		    answer->protocol == IPPROTO_TCP &&
		    answer->flags == (DECODE_TCP_SYN | DECODE_TCP_ACK))
			isn = answer->seq;
	}
	/* The SYN-ACK may be lost; its number stands in the answer to it. */
	if (!from_client && isn == q->syn->seq)
		return nobody("several used it, and the place of the bytes is not known");
	begin = p->seq - isn - 1;
	end = begin + p->payload_bytes;
	for (size_t i = 0; i < q->evidence->uses.count; i++) {
		const struct snap_use *use = &q->evidence->uses.items[i].use;
		uint64_t at = q->side == 0 ? use->sent_bytes : use->received_bytes;

		if (!is_use_of(q, use))
			continue;
		if (at == SNAP_UNKNOWN_BYTES)
			return nobody("several used it, not all places are told");
		if (at <= begin && (process == MODEL_NOBODY || at >= best)) {
			best = at;
			process = q->evidence->uses.items[i].process;
		}
	}
	for (size_t i = 0; i < q->evidence->uses.count; i++) {
		const struct snap_use *use = &q->evidence->uses.items[i].use;
		uint64_t at = q->side == 0 ? use->sent_bytes : use->received_bytes;

		if (is_use_of(q, use) && q->evidence->uses.items[i].process != process &&
		    at > best && at < next)
			next = at;
	}
	if (process == MODEL_NOBODY || end > next)
		return nobody("several used it for these bytes");
	return (struct model_opinion){process, "told, by its bytes"};
}

/* false: nothing was told of it. */
static bool ask_told(const struct question *q, struct model_opinion *opinion)
{
	struct set users = {MODEL_NOBODY, false};
	int64_t opened_ns = INT64_MAX, last_ns = INT64_MIN;

	for (size_t i = 0; i < q->evidence->uses.count; i++) {
		const struct snap_use *use = &q->evidence->uses.items[i].use;

		if (!is_use_of(q, use))
			continue;
		put(&users, q->evidence->uses.items[i].process);
		if (use->opened_ns < opened_ns)
			opened_ns = use->opened_ns;
		if (use->at_ns > last_ns)
			last_ns = use->at_ns;
	}
	if (users.process == MODEL_NOBODY)
		return false;
	if (is_blind(q, opened_ns, q->t_ns > last_ns ? q->t_ns : last_ns))
		*opinion = nobody("uses may be missing");
	else if (q->t_ns >= last_reading_ns(q))
		*opinion = nobody("after the last word of the kernel");
	else if (!users.several)
		*opinion = (struct model_opinion){users.process, "told, one user"};
	else if (q->packet->payload_bytes == 0)
		*opinion = nobody("several used it");
	else if (q->syn->segment != q->packet->segment)
		*opinion = nobody("several used it, and it began in another segment");
	else
		*opinion = by_bytes(q);
	return true;
}

/* -------------------------------------------------- streams, as was read -- */

static bool is_row_of(const struct question *q, const struct snap_socket *row)
{
	bool tcp = row->table == SNAP_TCP || row->table == SNAP_TCP6;

	return tcp == is_stream(q) && row->inode != 0 && model_same_end(&row->local, &q->local) &&
	       model_same_end(&row->remote, &q->remote);
}

/* Whether a reading had process with a listening socket of the port. */
static bool has_listener(const struct question *q, int process)
{
	const struct model_process *p = &q->world->processes.items[process];

	for (size_t i = 0; i < q->evidence->readings.count; i++) {
		const struct model_reading *r = &q->evidence->readings.items[i];

		for (size_t k = 0; k < r->rows.count; k++) {
			if (r->rows.items[k].row.state != SNAP_LISTEN ||
			    r->rows.items[k].row.local.port != q->local.port)
				continue;
			for (size_t h = 0; h < r->holders.count; h++) {
				if (r->holders.items[h].inode == r->rows.items[k].row.inode &&
				    r->holders.items[h].pid == p->pid &&
				    r->holders.items[h].start_ticks == p->start_ticks)
					return true;
			}
		}
	}
	return false;
}

/* Whether process has a child, by any reading, that began since the last reading before the packet
 * and since the SYN. */
static bool forked_unread(const struct question *q, int process)
{
	const struct model_process *parent = &q->world->processes.items[process];
	int64_t since_ns = q->began_ns;

	for (size_t i = 0; i < q->evidence->readings.count; i++) {
		const struct snap_frame *head = &q->evidence->readings.items[i].head;

		if (head->end_ns <= q->t_ns && head->begin_ns > since_ns)
			since_ns = head->begin_ns;
	}
	for (size_t i = 0; i < q->evidence->readings.count; i++) {
		const struct model_reading *r = &q->evidence->readings.items[i];

		for (size_t k = 0; k < r->processes.count; k++) {
			int child = model_process_of(q->world, r->processes.items[k].pid,
						     r->processes.items[k].start_ticks);

			if (child != MODEL_NOBODY && r->processes.items[k].ppid == parent->pid &&
			    surely_began(q, child) > since_ns &&
			    surely_began(q, child) - MODEL_TICK_NS <= q->t_ns)
				return true;
		}
	}
	return false;
}

static struct model_opinion ask_read(const struct question *q)
{
	struct set holders = {MODEL_NOBODY, false};
	uint32_t inode = 0;
	unsigned readings = 0;
	bool is_several = false;

	for (size_t i = 0; i < q->evidence->readings.count; i++) {
		const struct model_reading *r = &q->evidence->readings.items[i];
		bool is_read = false;

		/* Within the conversation: after its SYN, before the next. */
		if (r->head.begin_ns < q->began_ns || r->head.end_ns >= q->next_ns)
			continue;
		for (size_t k = 0; k < r->rows.count; k++) {
			if (!is_row_of(q, &r->rows.items[k].row))
				continue;
			is_several =
				is_several || (inode != 0 && inode != r->rows.items[k].row.inode);
			inode = r->rows.items[k].row.inode;
			for (size_t h = 0; h < r->holders.count; h++) {
				if (r->holders.items[h].inode != inode)
					continue;
				is_read = true;
				put(&holders, model_process_of(q->world, r->holders.items[h].pid,
							       r->holders.items[h].start_ticks));
			}
		}
		readings += is_read;
	}
	for (size_t i = 0; i < q->evidence->found.count; i++) {
		const struct model_found *f = &q->evidence->found.items[i];

		if (!is_row_of(q, &f->row) || f->holder.inode == 0 ||
		    f->head.begin_ns < q->began_ns || f->head.end_ns >= q->next_ns)
			continue;
		is_several = is_several || (inode != 0 && inode != f->row.inode);
		inode = f->row.inode;
		put(&holders, model_process_of(q->world, f->holder.pid, f->holder.start_ticks));
	}
	if (is_several)
		return nobody("several sockets of the tuple");
	if (holders.process == MODEL_NOBODY)
		return nobody("not read with a holder");
	if (holders.several)
		return nobody("several had it");
	if (model_same_end(&q->syn->to, &q->local)) {
		/* Who accepts may hand on at once, and one reading may come in between. */
		if (readings < 2)
			return nobody("only caught accepting");
		if (!has_listener(q, holders.process))
			return nobody("who has it does not listen");
	}
	if (surely_began(q, holders.process) > q->began_ns)
		return nobody("who has it may have begun after the connection");
	if (q->packet->payload_bytes > 0 && forked_unread(q, holders.process))
		return nobody("a child of who has it may have moved the bytes");
	return (struct model_opinion){holders.process, "one had it in every reading"};
}

/* ------------------------------------------------------------- datagrams -- */

static const struct model_reading *reading_before(const struct question *q)
{
	const struct model_reading *found = NULL;

	for (size_t i = 0; i < q->evidence->readings.count; i++) {
		if (q->evidence->readings.items[i].head.end_ns <= q->t_ns)
			found = &q->evidence->readings.items[i];
	}
	return found;
}

static const struct model_reading *reading_after(const struct question *q)
{
	for (size_t i = 0; i < q->evidence->readings.count; i++) {
		if (q->evidence->readings.items[i].head.begin_ns >= q->t_ns)
			return &q->evidence->readings.items[i];
	}
	return NULL;
}

/* 0: the address, 1: any of the family, 2: any of both; 3: it does not take it. */
static int tier_of(const struct question *q, const struct snap_socket *row)
{
	bool v6 = row->table == SNAP_UDP6;

	if (endpoint_equal(&row->local.address, &q->local.address))
		return 0;
	if (!endpoint_is_any(&row->local.address))
		return 3;
	if (v6 == (q->packet->version == 6))
		return 1;
	return v6 ? 2 : 3;
}

/* The inode that takes a datagram by one reading; 0: none or several. Connected first,
 * then by address, then any. */
static uint32_t taker(const struct question *q, const struct model_reading *r)
{
	uint32_t found[5] = {0};
	bool several[5] = {false};

	for (size_t i = 0; i < r->rows.count; i++) {
		const struct snap_socket *row = &r->rows.items[i].row;
		int rank;

		if ((row->table != SNAP_UDP && row->table != SNAP_UDP6) ||
		    row->local.port != q->local.port)
			continue;
		if (row->remote.port != 0)
			rank = is_row_of(q, row) ? 0 : 4;
		else
			rank = tier_of(q, row) + 1;
		several[rank] = several[rank] || found[rank] != 0;
		found[rank] = row->inode;
	}
	for (int rank = 0; rank < 4; rank++) {
		if (found[rank] != 0)
			return several[rank] ? 0 : found[rank];
	}
	return 0;
}

static bool has_port(const struct question *q, const struct model_reading *r)
{
	for (size_t i = 0; i < r->rows.count; i++) {
		const struct snap_socket *row = &r->rows.items[i].row;

		if ((row->table == SNAP_UDP || row->table == SNAP_UDP6) &&
		    row->local.port == q->local.port)
			return true;
	}
	return false;
}

/* One missed row in one reading is no absence: the one beyond it counts. */
static const struct model_reading *beyond_missed(const struct question *q,
						 const struct model_reading *r, int step)
{
	size_t at = (size_t)(r - q->evidence->readings.items);

	if (has_port(q, r) || (step < 0 ? at == 0 : at + 1 == q->evidence->readings.count))
		return r;
	return r + step;
}

static struct set holders_in(const struct question *q, const struct model_reading *r,
			     uint32_t inode)
{
	struct set out = {MODEL_NOBODY, false};

	for (size_t i = 0; i < r->holders.count; i++) {
		if (r->holders.items[i].inode == inode)
			put(&out, model_process_of(q->world, r->holders.items[i].pid,
						   r->holders.items[i].start_ticks));
	}
	return out;
}

/* Of what is sent: who looked for this way just before. */
static struct model_opinion ask_way(const struct question *q)
{
	const struct model_use *best = NULL;
	bool is_race = false;

	for (size_t i = 0; i < q->evidence->uses.count; i++) {
		const struct model_use *u = &q->evidence->uses.items[i];

		if (u->is_restated || u->use.protocol != IPPROTO_UDP ||
		    u->use.local.port != q->local.port ||
		    !model_same_end(&u->use.remote, &q->remote) ||
		    (!endpoint_is_any(&u->use.local.address) &&
		     !endpoint_equal(&u->use.local.address, &q->local.address)) ||
		    u->use.at_ns > q->t_ns + CLOCKS_NS)
			continue;
		if (best == NULL || u->use.at_ns > best->use.at_ns)
			best = u;
	}
	for (size_t i = 0; best != NULL && i < q->evidence->uses.count; i++) {
		const struct model_use *u = &q->evidence->uses.items[i];

		is_race =
			is_race || (u->process != best->process && u->use.protocol == IPPROTO_UDP &&
				    u->use.local.port == q->local.port &&
				    model_same_end(&u->use.remote, &q->remote) &&
				    u->use.at_ns > best->use.at_ns - AT_ONCE_NS &&
				    u->use.at_ns <= q->t_ns + CLOCKS_NS);
	}
	if (best == NULL || q->t_ns - best->use.at_ns > AT_ONCE_NS || is_race)
		return nobody("nobody looked for its way just before");
	/* A child may have sent it. */
	for (size_t i = 0; i < q->world->processes.count; i++) {
		int64_t born_ns = model_real(q->world, q->world->processes.items[i].born);

		if (q->world->processes.items[i].parent == best->process &&
		    born_ns >= best->use.at_ns && born_ns <= q->t_ns)
			return nobody("who looked for its way forked since");
	}
	if (is_blind(q, best->use.at_ns, q->t_ns) || q->t_ns >= last_reading_ns(q))
		return nobody("uses may be missing");
	return (struct model_opinion){best->process, "told, its own look-up"};
}

static struct model_opinion ask_datagram(const struct question *q)
{
	const struct model_reading *before = reading_before(q), *after = reading_after(q);
	struct model_opinion opinion = nobody("told nothing");
	struct set had, has;
	uint32_t inode;

	if (q->world->mode == MODEL_TOLD && q->side == 0)
		opinion = ask_way(q);
	if (opinion.process != MODEL_NOBODY)
		return opinion;
	if (before == NULL || after == NULL)
		return nobody("not between two readings");
	before = beyond_missed(q, before, -1);
	after = beyond_missed(q, after, 1);
	inode = taker(q, before);
	if (inode == 0 || inode != taker(q, after))
		return nobody("not one and the same socket before and after");
	had = holders_in(q, before, inode);
	has = holders_in(q, after, inode);
	if (had.process == MODEL_NOBODY || had.several || has.several || had.process != has.process)
		return nobody("not in the same hands before and after");
	return (struct model_opinion){had.process, "the same socket and holder before and after"};
}

struct model_opinion model_ask(const struct model_world *world,
			       const struct model_evidence *evidence,
			       const struct model_packet *packet, int side)
{
	struct question q = {
		.world = world,
		.evidence = evidence,
		.packet = packet,
		.side = side,
		.local = side == 0 ? packet->from : packet->to,
		.remote = side == 0 ? packet->to : packet->from,
		.t_ns = model_real(world, packet->at),
	};
	struct model_opinion opinion;

	if (is_doubtful(&q))
		return nobody("the clock jumped");
	if (!is_stream(&q))
		return ask_datagram(&q);
	find_syn(&q);
	if (q.syn == NULL)
		return nobody("no SYN");
	if (world->mode == MODEL_TOLD && ask_told(&q, &opinion))
		return opinion;
	return ask_read(&q);
}
