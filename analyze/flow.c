#include "analyze/flow.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/decode_icmp.h"
#include "analyze/fetch.h"
#include "analyze/grow.h"
#include "snapshot/format/quantity.h"

const struct flow_limits flow_default_limits = {
	.idle_ns = 120 * NS_PER_SECOND,
	/* beyond the two hours of the default TCP keepalive */
	.tcp_idle_ns = 3 * 3600 * NS_PER_SECOND,
	/* TIME_WAIT lasts 60 s on Linux, 2 MSL by RFC 9293 */
	.tcp_closed_ns = 120 * NS_PER_SECOND,
	/* tcp_syn_retries 6: the last try is answered within 127 s */
	.tcp_attempt_ns = 300 * NS_PER_SECOND,
};

/* ----------------------------------------------------------------- key -- */

/* Eight bytes of an address as a number that is greater where they are. Written out, it is
 * one instruction. */
static inline uint64_t eight(const uint8_t *b)
{
	return (uint64_t)b[0] << 56 | (uint64_t)b[1] << 48 | (uint64_t)b[2] << 40 |
	       (uint64_t)b[3] << 32 | (uint64_t)b[4] << 24 | (uint64_t)b[5] << 16 |
	       (uint64_t)b[6] << 8 | b[7];
}

/* Whether a stands behind b, as memcmp would say it. */
static inline bool is_behind(const struct endpoint *a, const struct endpoint *b)
{
	const uint8_t *p = a->address.bytes, *q = b->address.bytes;
	uint64_t first = eight(p), other_first = eight(q);
	uint64_t last = eight(p + 8), other_last = eight(q + 8);

	if (first != other_first)
		return first > other_first;
	return last != other_last ? last > other_last : a->port > b->port;
}

uint8_t flow_key_make(uint8_t protocol, uint8_t ip_version, const struct endpoint *source,
		      const struct endpoint *destination, struct flow_key *key)
{
	uint8_t side = is_behind(source, destination);

	memcpy(key->address[side], source->address.bytes, 16);
	memcpy(key->address[!side], destination->address.bytes, 16);
	key->port[side] = source->port;
	key->port[!side] = destination->port;
	key->icmp_id = 0;
	key->protocol = protocol;
	key->ip_version = ip_version;
	return side;
}

static uint8_t packet_key(const struct packet *packet, struct flow_key *key)
{
	struct endpoint source, destination;
	uint8_t side;
	int counterpart;

	if (!decode_is_icmp(packet->protocol))
		return flow_key_make(packet->protocol, packet->ip_version, &packet->source,
				     &packet->destination, key);
	source = packet->source;
	destination = packet->destination;
	counterpart = decode_icmp_counterpart(packet->protocol, packet->icmp_type);
	source.port = packet->icmp_type;
	destination.port = counterpart >= 0 ? (uint16_t)counterpart : packet->icmp_code;
	side = flow_key_make(packet->protocol, packet->ip_version, &source, &destination, key);
	key->icmp_id = packet->icmp_id;
	return side;
}

uint64_t flow_key_hash(const struct flow_key *key)
{
	uint64_t words[5];

	memcpy(words, key->address, sizeof(key->address));
	/* What was just written in pieces is not read back as a whole at once. */
	words[4] = (uint64_t)key->port[0] << 48 | (uint64_t)key->port[1] << 32 |
		   (uint64_t)key->icmp_id << 16 | (uint64_t)key->protocol << 8 | key->ip_version;
	return hashindex_keyed_5(words);
}

bool flow_key_equal(const struct flow_key *a, const struct flow_key *b)
{
	uint64_t differ = 0;

	_Static_assert(sizeof(*a) == 5 * sizeof(uint64_t), "all of a key is compared");
	for (size_t i = 0; i < sizeof(*a); i += sizeof(uint64_t)) {
		uint64_t one, other;

		memcpy(&one, (const char *)a + i, sizeof(one));
		memcpy(&other, (const char *)b + i, sizeof(other));
		differ |= one ^ other;
	}
	return differ == 0;
}

/* ------------------------------------------------------------- history -- */

static void add_letter(struct flow *flow, uint8_t side, enum flow_letter letter)
{
	if (!flow_has_letter(flow, side, letter) && flow->history_length < FLOW_HISTORY_MAX)
		flow->history[flow->history_length++] = (uint8_t)(side << 3 | letter);
}

/* ----------------------------------------------------------------- TCP -- */

static bool is_closed(const struct flow *flow)
{
	return (flow_has_letter(flow, 0, FLOW_FIN) && flow_has_letter(flow, 1, FLOW_FIN)) ||
	       flow_has_letter(flow, 0, FLOW_RST) || flow_has_letter(flow, 1, FLOW_RST);
}

int64_t flow_idle_limit(const struct flow *flow, const struct flow_limits *limits)
{
	if (flow->key.protocol != IPPROTO_TCP)
		return limits->idle_ns;
	if (is_closed(flow))
		return limits->tcp_closed_ns;
	if (flow->count[0].packets == 0 || flow->count[1].packets == 0) {
		if (flow->history_length == 1 && (flow->history[0] & 7) == FLOW_SYN)
			return limits->tcp_attempt_ns;
	}
	return limits->tcp_idle_ns;
}

/* Whether a packet belongs to a flow. FLOW_MAY_BEGIN: it does by what the flow
 * shows, but packets from before could show that it does not. A flow that goes
 * on is always told; one that begins may be joined again. */
enum step { FLOW_GOES_ON, FLOW_MAY_BEGIN, FLOW_BEGINS };

/* A SYN without ACK begins a new instance unless it repeats this one's. */
static enum step syn_step(const struct flow *flow, const struct flow_head *e)
{
	const struct flow_tcp *tcp = &flow->tcp;

	if (tcp->isn_known[e->side] && e->seq != tcp->isn[e->side])
		return FLOW_BEGINS;
	if (tcp->isn_known[e->side])
		return tcp->isn_derived[e->side] ? FLOW_MAY_BEGIN : FLOW_GOES_ON;
	/* Simultaneous open: only the other side's SYN is there so far. */
	if (flow->history_length == 1 && flow->history[0] == ((!e->side) << 3 | FLOW_SYN))
		return FLOW_MAY_BEGIN;
	return FLOW_BEGINS;
}

/* It answers the SYN, and data that came with it (TCP Fast Open, RFC 7413). */
static enum step syn_ack_step(const struct flow *flow, const struct flow_head *e)
{
	const struct flow_tcp *tcp = &flow->tcp;
	uint8_t other = !e->side;

	if (tcp->isn_known[other]) {
		if (e->ack - 1 - tcp->isn[other] > flow->count[other].payload_bytes)
			return FLOW_BEGINS;
		return tcp->isn_derived[other] ? FLOW_MAY_BEGIN : FLOW_GOES_ON;
	}
	if (tcp->isn_known[e->side] && e->seq == tcp->isn[e->side])
		return FLOW_MAY_BEGIN;
	return FLOW_BEGINS; /* in the middle of a conversation whose start was not seen */
}

/* Where a sequence number lies beyond another one, and how far. */
static bool within(uint32_t seq, uint32_t from, uint32_t until)
{
	return seq - from <= until - from;
}

/* New data after one's own FIN belongs to another connection, the SYN of
 * which was not captured. */
static enum step data_step(const struct flow *flow, const struct flow_head *e)
{
	const struct flow_tcp *tcp = &flow->tcp;

	if (tcp->fin_known[e->side])
		return (int32_t)(e->seq - tcp->fin_end[e->side]) >= 0 ? FLOW_BEGINS : FLOW_GOES_ON;
	if (tcp->fin_moot[e->side] ||
	    (tcp->data_known[e->side] &&
	     within(e->seq, tcp->data_from[e->side], tcp->data_until[e->side])))
		return FLOW_GOES_ON;
	return FLOW_MAY_BEGIN;
}

static enum step tcp_step(const struct flow *flow, const struct flow_head *e)
{
	if ((e->flags & DECODE_TCP_SYN) != 0)
		return (e->flags & DECODE_TCP_ACK) != 0 ? syn_ack_step(flow, e) : syn_step(flow, e);
	return e->payload_bytes > 0 ? data_step(flow, e) : FLOW_GOES_ON;
}

/* A SYN that begins nothing shows that no FIN before it counts. */
static void note_syn(struct flow *flow, const struct packet *packet, uint8_t side)
{
	struct flow_tcp *tcp = &flow->tcp;
	bool answer = (packet->tcp_flags & DECODE_TCP_ACK) != 0;

	tcp->isn[side] = packet->tcp_seq;
	tcp->isn_known[side] = true;
	tcp->isn_derived[side] = false;
	if (answer && !tcp->isn_known[!side]) {
		tcp->isn[!side] = packet->tcp_ack - 1;
		tcp->isn_known[!side] = tcp->isn_derived[!side] = true;
	}
	for (int i = 0; i < 2; i++) {
		tcp->fin_known[i] = false;
		tcp->fin_moot[i] = true;
	}
	if (!flow->originator_sure) {
		flow->originator = answer ? !side : side;
		flow->originator_sure = true;
	}
	add_letter(flow, side, answer ? FLOW_SYN_ACK : FLOW_SYN);
}

/* Data in the place of a FIN voids it. Half of all sequence numbers without a
 * hole would have passed any. */
static void note_data(struct flow_tcp *tcp, uint32_t seq, uint32_t bytes, uint8_t side)
{
	uint32_t *from = &tcp->data_from[side], *until = &tcp->data_until[side];

	if (tcp->fin_known[side] && tcp->fin_end[side] - 1 - seq < bytes)
		tcp->fin_known[side] = false;
	if (tcp->fin_moot[side])
		return;
	if (!tcp->data_known[side] || !within(seq, *from, *until)) {
		*from = *until = seq;
		tcp->data_known[side] = true;
	}
	if (!within(seq + bytes, *from, *until))
		*until = seq + bytes;
	if (*until - *from > INT32_MAX)
		tcp->fin_moot[side] = true;
}

static void tcp_note(struct flow *flow, const struct packet *packet, uint8_t side)
{
	uint8_t flags = packet->tcp_flags;

	if (packet->fragment_later)
		return;
	flow->tcp.multipath[side] = flow->tcp.multipath[side] || packet->tcp_multipath;
	flow->tcp.urgent[side] = flow->tcp.urgent[side] || (flags & DECODE_TCP_URG) != 0;
	if ((flags & DECODE_TCP_SYN) != 0)
		note_syn(flow, packet, side);
	if (packet->payload_bytes > 0) {
		note_data(&flow->tcp, packet->tcp_seq, packet->payload_bytes, side);
		add_letter(flow, side, FLOW_DATA);
	}
	if ((flags & DECODE_TCP_FIN) != 0) {
		flow->tcp.fin_end[side] = packet->tcp_seq + packet->payload_bytes + 1;
		flow->tcp.fin_known[side] = flow->tcp.fin_moot[side] = true;
		add_letter(flow, side, FLOW_FIN);
	}
	if ((flags & DECODE_TCP_RST) != 0)
		add_letter(flow, side, FLOW_RST);
	if ((flags & (DECODE_TCP_SYN | DECODE_TCP_FIN | DECODE_TCP_RST)) == 0 &&
	    packet->payload_bytes == 0 && (flags & DECODE_TCP_ACK) != 0)
		add_letter(flow, side, FLOW_ACK);
}

static void join_tcp(struct flow_tcp *earlier, const struct flow_tcp *later)
{
	for (int i = 0; i < 2; i++) {
		if (later->isn_known[i] && (!later->isn_derived[i] || !earlier->isn_known[i])) {
			earlier->isn[i] = later->isn[i];
			earlier->isn_known[i] = true;
			earlier->isn_derived[i] = later->isn_derived[i];
		}
		if (later->fin_moot[i]) {
			earlier->fin_end[i] = later->fin_end[i];
			earlier->fin_known[i] = later->fin_known[i];
			earlier->fin_moot[i] = true;
		} else if (later->data_known[i] && earlier->fin_known[i] &&
			   earlier->fin_end[i] - 1 - later->data_from[i] <
				   later->data_until[i] - later->data_from[i]) {
			earlier->fin_known[i] = false;
		}
	}
}

/* What is known of FINs from before holds on the other side of a division too,
 * unless the part before it has one itself. */
static void inherit_tcp(struct flow_tcp *later, const struct flow_tcp *earlier)
{
	for (int i = 0; i < 2; i++) {
		if (earlier->fin_known[i])
			continue;
		later->fin_moot[i] = earlier->fin_moot[i];
		later->data_known[i] = earlier->data_known[i];
		later->data_from[i] = earlier->data_from[i];
		later->data_until[i] = earlier->data_until[i];
	}
}

/* --------------------------------------------------------------- table -- */

static inline uint64_t hash_of_within(uint32_t within)
{
	return within * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_of_flow(const void *context, uint32_t place)
{
	const struct flow *flow = &((const struct flow_table *)context)->flows[place];

	return flow_key_hash(&flow->key) ^ hash_of_within(flow->within);
}

void flow_table_init(struct flow_table *table, const struct flow_limits *limits)
{
	*table = (struct flow_table){.limits = *limits};
}

void flow_table_clear(struct flow_table *table)
{
	table->count = 0;
	hashindex_clear(&table->index);
}

void flow_table_release(struct flow_table *table)
{
	free(table->flows);
	hashindex_release(&table->index);
	*table = (struct flow_table){0};
}

/* The slot of a key always leads to its newest instance. */
static inline struct hashindex_slot *find_slot(const struct flow_table *table,
					       const struct flow_key *key, uint32_t within,
					       uint64_t hash)
{
	const struct hashindex *index = &table->index;

	if (index->slots == NULL)
		return NULL;
	for (uint32_t probe = (uint32_t)hash;; probe++) {
		struct hashindex_slot *slot = &index->slots[probe & index->mask];

		if (slot->place == 0)
			return NULL;
		if (slot->tag == (uint32_t)(hash >> 32) &&
		    table->flows[slot->place - 1].within == within &&
		    flow_key_equal(&table->flows[slot->place - 1].key, key))
			return slot;
	}
}

uint32_t flow_table_find(const struct flow_table *table, const struct flow_key *key)
{
	struct hashindex_slot *slot = find_slot(table, key, 0, flow_key_hash(key));

	return slot == NULL ? FLOW_NONE : slot->place - 1;
}

uint8_t flow_key_of(const struct packet *packet, struct flow_key *key)
{
	return packet_key(packet, key);
}

bool flow_table_repeat(struct flow_table *table, const struct packet *packet)
{
	struct flow_key key;
	uint32_t place;

	packet_key(packet, &key);
	place = flow_table_find(table, &key);
	if (place == FLOW_NONE)
		return false;
	table->flows[place].repeats++;
	return true;
}

static struct flow_head packet_head(const struct packet *packet, uint8_t side)
{
	return (struct flow_head){
		.time_ns = packet->time_ns,
		.side = side,
		.flags = packet->tcp_flags,
		.seq = packet->tcp_seq,
		.ack = packet->tcp_ack,
		.payload_bytes = packet->payload_bytes,
		.ports_only = packet->fragment_later,
	};
}

static bool is_silent(const struct flow *flow, int64_t time_ns, int64_t limit_ns)
{
	return time_ns > flow->last_ns && time_ns - flow->last_ns > limit_ns;
}

/* Of all that flow_idle_limit may say: which of them it is need not be asked for each packet. */
static inline int64_t shortest_limit(const struct flow_limits *limits)
{
	int64_t other = limits->idle_ns, open = limits->tcp_idle_ns;
	int64_t closed = limits->tcp_closed_ns, attempt = limits->tcp_attempt_ns;
	int64_t tcp = closed < attempt ? closed : attempt;

	if (open < tcp)
		tcp = open;
	return other < tcp ? other : tcp;
}

static enum step step_of(const struct flow *flow, const struct flow_head *head,
			 const struct flow_limits *limits)
{
	int64_t shortest_ns = limits->tcp_closed_ns < limits->tcp_attempt_ns
				      ? limits->tcp_closed_ns
				      : limits->tcp_attempt_ns;
	enum step step;

	if (is_silent(flow, head->time_ns, shortest_limit(limits)) &&
	    is_silent(flow, head->time_ns, flow_idle_limit(flow, limits)))
		return FLOW_BEGINS;
	if (flow->key.protocol != IPPROTO_TCP)
		return FLOW_GOES_ON;
	step = head->ports_only ? FLOW_GOES_ON : tcp_step(flow, head);
	/* What came before may have closed it. */
	if (step == FLOW_GOES_ON && is_silent(flow, head->time_ns, shortest_ns))
		return FLOW_MAY_BEGIN;
	return step;
}

void flow_follow(struct flow *later, const struct flow *earlier, const struct flow_limits *limits)
{
	bool syn = (later->head.flags & (DECODE_TCP_SYN | DECODE_TCP_ACK)) == DECODE_TCP_SYN &&
		   !later->head.ports_only;

	if (later->key.protocol != IPPROTO_TCP || syn)
		return;
	/* Begun by a sequence number and not by silence: another connection than before. */
	later->began_ns = is_silent(earlier, later->head.time_ns, flow_idle_limit(earlier, limits))
				  ? INT64_MIN
				  : earlier->last_ns;
}

static void begin_flow(struct flow *flow, const struct flow_key *key, const struct packet *packet,
		       const struct flow_head *head)
{
	*flow = (struct flow){
		.key = *key,
		.first_ns = packet->time_ns,
		.last_ns = packet->time_ns,
		.began_ns = INT64_MIN,
		.originator = head->side,
		.head = *head,
		.vlan = packet->vlan,
		.inner_vlan = packet->inner_vlan,
		.ifindex = packet->ifindex,
		.first_number = packet->number,
		.first_offset_bytes = packet->offset_bytes,
		.before = FLOW_NONE,
	};
	if (packet->protocol == IPPROTO_TCP && !packet->fragment_later &&
	    (packet->tcp_flags & (DECODE_TCP_SYN | DECODE_TCP_ACK)) == DECODE_TCP_SYN)
		flow->began_ns = packet->time_ns;
	for (int i = 0; i < 2; i++) {
		flow->end[i].from_ns = INT64_MAX;
		flow->end[i].until_ns = INT64_MIN;
		flow->end[i].span = FLOW_NONE;
		flow->end[i].first_span = FLOW_NONE;
		flow->end[i].sent_span = FLOW_NONE;
		flow->end[i].bucket = INT64_MIN;
	}
}

static void count_packet(struct flow *flow, const struct packet *packet, uint8_t side)
{
	flow->count[side].packets++;
	flow->count[side].bytes += packet->ip_bytes;
	flow->count[side].payload_bytes += packet->payload_bytes;
	if (packet->time_ns > flow->last_ns)
		flow->last_ns = packet->time_ns;
	if (packet->time_ns < flow->first_ns)
		flow->first_ns = packet->time_ns;
	if (packet->protocol == IPPROTO_TCP)
		tcp_note(flow, packet, side);
	else if (packet->payload_bytes > 0 || packet->protocol == IPPROTO_UDP)
		add_letter(flow, side, FLOW_DATA);
}

/* A flow that is not yet counted nor found. */
static uint32_t new_flow(struct flow_table *table, const struct flow_key *key,
			 const struct packet *packet, const struct flow_head *head)
{
	if (table->count >= FLOW_NONE - 1 ||
	    grow_one(&table->flows, table->count, &table->capacity, sizeof(*table->flows)) != 0)
		return FLOW_NONE;
	begin_flow(&table->flows[table->count], key, packet, head);
	return (uint32_t)table->count;
}

void flow_look(const struct packet *packet, struct flow_look *look)
{
	look->side = packet_key(packet, &look->key);
	look->hash = flow_key_hash(&look->key);
}

void flow_table_fetch_slot(const struct flow_table *table, const struct flow_look *look)
{
	if (table->index.slots != NULL)
		fetch(&table->index.slots[(uint32_t)look->hash & table->index.mask],
		      sizeof(struct hashindex_slot));
}

uint32_t flow_table_fetch(const struct flow_table *table, const struct flow_look *look)
{
	uint32_t probe = (uint32_t)look->hash;
	uint32_t place = hashindex_next(&table->index, look->hash, &probe);

	if (place == HASHINDEX_NONE)
		return FLOW_NONE;
	fetch(&table->flows[place], sizeof(struct flow));
	return place;
}

/* Twice, so that what is on the wire costs nothing for what is carried. */
static inline __attribute__((always_inline)) uint32_t add_within(struct flow_table *table,
								 const struct packet *packet,
								 const struct flow_look *look,
								 uint32_t within, uint32_t *ended)
{
	struct flow_head head = packet_head(packet, look->side);
	struct hashindex_slot *slot;
	enum step step = FLOW_BEGINS;
	uint32_t place, earlier = FLOW_NONE;
	uint64_t hash = look->hash ^ hash_of_within(within);

	*ended = FLOW_NONE;
	slot = find_slot(table, &look->key, within, hash);
	if (slot != NULL) {
		earlier = slot->place - 1;
		step = step_of(&table->flows[earlier], &head, &table->limits);
		if (step == FLOW_GOES_ON || (step == FLOW_MAY_BEGIN && !table->cut_before)) {
			count_packet(&table->flows[earlier], packet, look->side);
			return earlier;
		}
	}
	place = new_flow(table, &look->key, packet, &head);
	if (place == FLOW_NONE)
		return FLOW_NONE;
	table->flows[place].within = within;
	if (slot == NULL) {
		if (hashindex_add(&table->index, hash, place, hash_of_flow, table) != 0)
			return FLOW_NONE;
	} else {
		slot->place = place + 1;
		if (step == FLOW_BEGINS) {
			*ended = earlier;
			flow_follow(&table->flows[place], &table->flows[earlier], &table->limits);
		} else {
			table->flows[place].before = earlier;
			table->flows[earlier].divided = true;
			inherit_tcp(&table->flows[place].tcp, &table->flows[earlier].tcp);
		}
	}
	table->count++;
	count_packet(&table->flows[place], packet, look->side);
	return place;
}

uint32_t flow_table_add_looked(struct flow_table *table, const struct packet *packet,
			       const struct flow_look *look, uint32_t *ended)
{
	return add_within(table, packet, look, 0, ended);
}

uint32_t flow_table_add(struct flow_table *table, const struct packet *packet, uint8_t *side,
			uint32_t *ended)
{
	struct flow_look look;

	flow_look(packet, &look);
	*side = look.side;
	return flow_table_add_looked(table, packet, &look, ended);
}

uint32_t flow_table_add_within(struct flow_table *table, const struct packet *packet,
			       uint32_t within, uint8_t *side, uint32_t *ended)
{
	struct flow_look look;

	flow_look(packet, &look);
	*side = look.side;
	return add_within(table, packet, &look, within, ended);
}

/* ------------------------------------------------------------- joining -- */

bool flow_continues(const struct flow *earlier, const struct flow *later,
		    const struct flow_limits *limits)
{
	return step_of(earlier, &later->head, limits) != FLOW_BEGINS;
}

void flow_join(struct flow *earlier, const struct flow *later)
{
	for (int i = 0; i < 2; i++) {
		earlier->count[i].packets += later->count[i].packets;
		earlier->count[i].bytes += later->count[i].bytes;
		earlier->count[i].payload_bytes += later->count[i].payload_bytes;
	}
	join_tcp(&earlier->tcp, &later->tcp);
	if (!earlier->originator_sure && later->originator_sure) {
		earlier->originator = later->originator;
		earlier->originator_sure = true;
	}
	for (uint8_t i = 0; i < later->history_length; i++)
		add_letter(earlier, later->history[i] >> 3, later->history[i] & 7);
	if (later->last_ns > earlier->last_ns)
		earlier->last_ns = later->last_ns;
	if (later->first_ns < earlier->first_ns)
		earlier->first_ns = later->first_ns;
	earlier->repeats += later->repeats;
	earlier->carried.read += later->carried.read;
	earlier->carried.other += later->carried.other;
	earlier->carried.unreadable += later->carried.unreadable;
	if (earlier->carried.tunnel == 0)
		earlier->carried.tunnel = later->carried.tunnel;
}

struct flow flow_table_whole(const struct flow_table *table, uint32_t place)
{
	const struct flow *last = &table->flows[place];
	struct flow whole, later = *last;

	/* Backwards: each part takes up what follows it. */
	for (uint32_t i = last->before; i != FLOW_NONE; i = table->flows[i].before) {
		whole = table->flows[i];
		flow_join(&whole, &later);
		later = whole;
	}
	memcpy(later.end, last->end, sizeof(later.end));
	return later;
}
