/* test_flow.c - facts about conversations: where they begin and end, and that
 * it does not matter where the evidence was cut. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/flow.h"
#include "analyze/grow.h"
#include "tests/unit/scene.h"

#define A	   HOST, 40000
#define B	   PEER, 80
#define SYN_ACK	   (SYN | ACK)
#define RST_ACK	   (RST | ACK)
#define SECONDS(s) ((s)*1000)

static struct flow_table table;
static int64_t now_ms;
static uint8_t side;
static uint32_t ended;

static struct packet packet_of(const char *from, uint16_t from_port, const char *to,
			       uint16_t to_port)
{
	struct packet p = {.time_ns = T(now_ms), .ip_version = 4, .protocol = IPPROTO_TCP};

	assert_int_equal(endpoint_parse(from, &p.source.address), 0);
	assert_int_equal(endpoint_parse(to, &p.destination.address), 0);
	p.source.port = from_port;
	p.destination.port = to_port;
	if (!endpoint_is_ipv4(&p.source.address))
		p.ip_version = 6;
	return p;
}

static uint32_t tcp(const char *from, uint16_t from_port, const char *to, uint16_t to_port,
		    uint8_t flags, uint32_t seq, uint32_t ack, uint32_t payload_bytes)
{
	struct packet p = packet_of(from, from_port, to, to_port);

	p.tcp_flags = flags;
	p.tcp_seq = seq;
	p.tcp_ack = ack;
	p.payload_bytes = payload_bytes;
	p.ip_bytes = 40 + payload_bytes;
	now_ms++;
	return flow_table_add(&table, &p, &side, &ended);
}

static uint32_t other(uint8_t protocol, const char *from, uint16_t from_port, const char *to,
		      uint16_t to_port, uint32_t payload_bytes)
{
	struct packet p = packet_of(from, from_port, to, to_port);

	p.protocol = protocol;
	p.payload_bytes = payload_bytes;
	p.ip_bytes = 28 + payload_bytes;
	now_ms++;
	return flow_table_add(&table, &p, &side, &ended);
}

static int begin(void **state)
{
	(void)state;
	flow_table_init(&table, &flow_default_limits);
	now_ms = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	flow_table_release(&table);
	return 0;
}

static void assert_flow(uint32_t place, const char *conn_state, const char *history)
{
	char text[FLOW_HISTORY_SIZE];

	assert_in_range(place, 0, table.count - 1);
	flow_history(&table.flows[place], text);
	assert_string_equal(text, history);
	assert_string_equal(flow_conn_state(&table.flows[place]), conn_state);
}

static void handshake(void)
{
	tcp(A, B, SYN, 100, 0, 0);
	tcp(B, A, SYN_ACK, 900, 101, 0);
	tcp(A, B, ACK, 101, 901, 0);
}

/* ----------------------------------------------------------------- key -- */

static void both_directions_have_one_key(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	assert_int_equal(side, 0); /* 10.0.0.1 is less than 10.0.0.2 */
	tcp(B, A, SYN_ACK, 900, 101, 0);
	assert_int_equal(side, 1);
	assert_int_equal(table.count, 1);
	assert_int_equal(table.flows[0].key.port[0], 40000);
	assert_int_equal(table.flows[0].key.port[1], 80);
	assert_int_equal(table.flows[0].count[0].packets, 1);
	assert_int_equal(table.flows[0].count[1].bytes, 40);
	assert_int_equal(table.flows[0].originator, 0);
	assert_int_equal(table.flows[0].began_ns, T(0));
}

static void equal_addresses_are_ordered_by_port(void **state)
{
	(void)state;
	tcp("127.0.0.1", 40000, "127.0.0.1", 80, SYN, 100, 0, 0);
	assert_int_equal(side, 1);
	assert_int_equal(table.flows[0].key.port[0], 80);
	assert_int_equal(table.flows[0].originator, 1);
	tcp("127.0.0.1", 256, "127.0.0.1", 1, SYN, 100, 0, 0); /* as numbers, not as bytes */
	assert_int_equal(side, 1);
	tcp("127.0.0.1", 5, "127.0.0.1", 5, SYN, 100, 0, 0);
	assert_int_equal(side, 0);
	assert_int_equal(table.count, 3);
}

static void protocols_versions_and_ports_are_apart(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	other(IPPROTO_UDP, A, B, 1);
	tcp(HOST, 40001, B, SYN, 100, 0, 0);
	tcp("2001:db8::1", 40000, "2001:db8::2", 80, SYN, 100, 0, 0);
	assert_int_equal(table.count, 4);
}

static void icmp_query_and_answer_are_one_flow(void **state)
{
	struct packet p = packet_of(HOST, 0, PEER, 0);

	(void)state;
	p.protocol = IPPROTO_ICMP;
	p.icmp_type = 8;
	p.icmp_id = 77;
	assert_int_equal(flow_table_add(&table, &p, &side, &ended), 0);
	p = packet_of(PEER, 0, HOST, 0);
	p.protocol = IPPROTO_ICMP;
	p.icmp_id = 77;
	assert_int_equal(flow_table_add(&table, &p, &side, &ended), 0);
	assert_int_equal(table.flows[0].key.port[table.flows[0].originator], 8);
	assert_string_equal(flow_conn_state(&table.flows[0]), "OTH");
	p.icmp_id = 78;
	assert_int_equal(flow_table_add(&table, &p, &side, &ended), 1);
	p.icmp_type = 3;
	p.icmp_code = 1;
	p.icmp_id = 0;
	assert_int_equal(flow_table_add(&table, &p, &side, &ended), 2);
}

static void the_newest_instance_is_found(void **state)
{
	struct flow_key key;
	struct packet p = packet_of(B, A);

	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	tcp(A, B, SYN, 5000, 0, 0);
	flow_key_make(IPPROTO_TCP, 4, &p.source, &p.destination, &key);
	assert_int_equal(flow_table_find(&table, &key), 1);
	key.port[0]++;
	assert_int_equal(flow_table_find(&table, &key), FLOW_NONE);
	flow_table_clear(&table);
	key.port[0]--;
	assert_int_equal(flow_table_find(&table, &key), FLOW_NONE);
}

/* --------------------------------------------------------- conn_state -- */

static void s0_nothing_came_back(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	assert_flow(0, "S0", "S");
}

static void s1_stands(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, ACK, 101, 901, 10);
	assert_flow(0, "S1", "ShAD");
}

static void sf_ended_by_both(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, ACK, 101, 901, 10);
	tcp(B, A, ACK, 901, 111, 20);
	tcp(A, B, FIN, 111, 921, 0);
	tcp(B, A, FIN, 921, 112, 0);
	tcp(A, B, ACK, 112, 922, 0);
	assert_flow(0, "SF", "ShADdFf");
	tcp(B, A, RST, 922, 0, 0); /* after both ended it changes nothing */
	assert_flow(0, "SF", "ShADdFfr");
}

/* Fast Open: the answer acknowledges the data that came with the SYN. */
static void data_with_the_syn_is_of_its_connection(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 700);
	tcp(B, A, SYN | ACK, 900, 801, 0);
	tcp(A, B, ACK, 801, 901, 0);
	assert_flow(0, "S1", "SDhA");
	tcp(B, A, SYN | ACK, 5000, 802, 0); /* beyond what was sent: another one's */
	assert_int_equal(table.count, 2);
}

static void s2_and_s3_half_closed(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, FIN, 101, 901, 0);
	assert_flow(0, "S2", "ShAF");
	tcp("10.0.0.1", 40001, B, SYN, 100, 0, 0);
	tcp(B, "10.0.0.1", 40001, SYN_ACK, 900, 101, 0);
	tcp(B, "10.0.0.1", 40001, FIN, 901, 101, 0);
	assert_flow(1, "S3", "Shf");
}

static void rej_refused(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	tcp(B, A, RST_ACK, 0, 101, 0);
	assert_flow(0, "REJ", "Sr");
	assert_true(flow_only_reset(&table.flows[0], 1));
	assert_false(flow_only_reset(&table.flows[0], 0));
}

static void rsto_rstr_broken_off(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, RST, 101, 0, 0);
	assert_flow(0, "RSTO", "ShAR");
	tcp("10.0.0.1", 40001, B, SYN, 100, 0, 0);
	tcp(B, "10.0.0.1", 40001, SYN_ACK, 900, 101, 0);
	tcp(B, "10.0.0.1", 40001, RST, 901, 0, 0);
	assert_flow(1, "RSTR", "Shr");
}

static void rstos0_rstrh_broken_off_early(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	tcp(A, B, RST, 101, 0, 0);
	assert_flow(0, "RSTOS0", "SR");
	tcp(B, "10.0.0.1", 40001, SYN_ACK, 900, 101, 0);
	tcp(B, "10.0.0.1", 40001, RST, 901, 0, 0);
	assert_flow(1, "RSTRH", "hr");
	assert_int_equal(table.flows[1].originator, 0);
}

static void sh_shr_one_sided(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	tcp(A, B, FIN, 101, 0, 0);
	assert_flow(0, "SH", "SF");
	tcp(B, "10.0.0.1", 40001, SYN_ACK, 900, 101, 0);
	tcp(B, "10.0.0.1", 40001, FIN, 901, 101, 0);
	assert_flow(1, "SHR", "hf");
}

static void oth_midstream(void **state)
{
	(void)state;
	tcp(B, A, ACK, 5, 6, 10);
	tcp(A, B, ACK, 6, 15, 0);
	assert_flow(0, "OTH", "Da");
	assert_int_equal(table.flows[0].began_ns, INT64_MIN);
}

static void udp_states(void **state)
{
	(void)state;
	other(IPPROTO_UDP, A, B, 10);
	assert_flow(0, "S0", "D");
	other(IPPROTO_UDP, B, A, 0);
	assert_flow(0, "SF", "Dd");
	table.flows[0].count[0].packets = 0;
	assert_flow(0, "SHR", "Dd");
	other(IPPROTO_SCTP, A, B, 10);
	assert_flow(1, "OTH", "D");
}

/* ----------------------------------------------------------- instances -- */

static void a_new_initial_sequence_number_is_a_new_connection(void **state)
{
	(void)state;
	handshake();
	assert_int_equal(tcp(A, B, SYN, 5000, 0, 0), 1);
	assert_int_equal(ended, 0);
	assert_int_equal(tcp(B, A, SYN_ACK, 7000, 5001, 0), 1);
	assert_int_equal(ended, FLOW_NONE);
	assert_flow(0, "S1", "ShA");
	assert_flow(1, "S1", "Sh");
	/* the other end may open the next one */
	assert_int_equal(tcp(B, A, SYN, 9000, 0, 0), 2);
	assert_int_equal(table.flows[2].originator, 1);
}

static void a_repeated_syn_is_the_same_connection(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	assert_int_equal(tcp(A, B, SYN, 100, 0, 0), 0);
	tcp(B, A, SYN_ACK, 900, 101, 0);
	assert_int_equal(tcp(B, A, SYN_ACK, 900, 101, 0), 0);
	assert_int_equal(tcp(A, B, SYN, 100, 0, 0), 0);
	assert_flow(0, "S1", "Sh");
	assert_int_equal(table.flows[0].began_ns, T(0));
}

static void a_simultaneous_open_is_one_connection(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	assert_int_equal(tcp(B, A, SYN, 900, 0, 0), 0);
	assert_int_equal(tcp(A, B, SYN_ACK, 100, 901, 0), 0);
	assert_int_equal(tcp(B, A, SYN_ACK, 900, 101, 0), 0);
	assert_int_equal(table.count, 1);
	assert_int_equal(table.flows[0].originator, 0);
}

static void data_after_ones_own_fin_is_another_connection(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, FIN, 101, 901, 10);
	assert_int_equal(tcp(A, B, FIN, 101, 901, 10), 0);  /* again */
	assert_int_equal(tcp(B, A, ACK, 901, 112, 100), 0); /* half closed */
	assert_int_equal(tcp(A, B, ACK, 112, 1001, 0), 0);
	assert_int_equal(tcp(A, B, ACK, 112, 1001, 5), 1);
	assert_int_equal(ended, 0);
}

static void sequence_numbers_wrap(void **state)
{
	(void)state;
	tcp(A, B, SYN, 0xfffffff0, 0, 0);
	tcp(B, A, SYN_ACK, 900, 0xfffffff1, 0);
	tcp(A, B, FIN, 0xfffffff1, 901, 100);
	assert_int_equal(tcp(A, B, ACK, 0xfffffff1, 901, 50), 0); /* retransmitted */
	assert_int_equal(tcp(A, B, ACK, 0x56, 901, 50), 1);
}

static void silence_ends_a_flow(void **state)
{
	(void)state;
	other(IPPROTO_UDP, A, B, 1);
	now_ms += SECONDS(119);
	assert_int_equal(other(IPPROTO_UDP, B, A, 1), 0);
	now_ms += SECONDS(121);
	assert_int_equal(other(IPPROTO_UDP, A, B, 1), 1);
	assert_int_equal(ended, 0);
}

static void silence_of_tcp_depends_on_how_it_stands(void **state)
{
	(void)state;
	handshake();
	now_ms += SECONDS(3 * 3600 - 1);
	assert_int_equal(tcp(A, B, ACK, 101, 901, 1), 0);
	tcp(A, B, FIN, 102, 901, 0);
	tcp(B, A, FIN, 901, 103, 0);
	now_ms += SECONDS(119);
	assert_int_equal(tcp(A, B, ACK, 103, 902, 0), 0);
	now_ms += SECONDS(121);
	assert_int_equal(tcp(A, B, ACK, 103, 902, 0), 1);
	assert_int_equal(tcp("10.0.0.1", 9, B, SYN, 1, 0, 0), 2);
	now_ms += SECONDS(299);
	assert_int_equal(tcp("10.0.0.1", 9, B, SYN, 1, 0, 0), 2);
	now_ms += SECONDS(301);
	assert_int_equal(tcp("10.0.0.1", 9, B, SYN, 1, 0, 0), 3);
}

static void a_later_fragment_begins_nothing(void **state)
{
	struct packet p = packet_of(A, B);

	(void)state;
	handshake();
	p.fragment_later = true;
	p.payload_bytes = 1000;
	p.tcp_flags = SYN; /* there is no header: not to be looked at */
	assert_int_equal(flow_table_add(&table, &p, &side, &ended), 0);
	assert_flow(0, "S1", "ShA");
	assert_int_equal(table.flows[0].count[0].payload_bytes, 1000);
}

static void many_flows_are_all_found_again(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 20000; i++)
			assert_int_equal(other(IPPROTO_UDP, HOST, (uint16_t)(i + 1), PEER,
					       (uint16_t)(i % 7), 1),
					 i);
	}
	assert_int_equal(table.count, 20000);
}

/* ------------------------------------------------------------- joining -- */

#define PACKETS 14

static void random_packets(uint64_t *seed, struct packet *packets, bool long_silences)
{
	static const uint8_t flags[] = {SYN, SYN_ACK, ACK, ACK, ACK, ACK, FIN, RST};
	uint32_t seq[2] = {100, 900};

	now_ms = 0;
	for (int i = 0; i < PACKETS; i++) {
		bool forth = scene_random(seed, 2);
		struct packet *p = &packets[i];

		now_ms += scene_random(seed, 40);
		if (long_silences && scene_random(seed, 5) == 0)
			now_ms += SECONDS(scene_random(seed, 400));
		*p = forth ? packet_of(A, B) : packet_of(B, A);
		if (scene_random(seed, 4) == 0)
			p->protocol = IPPROTO_UDP;
		p->number = (uint64_t)i + 1;
		p->tcp_flags = flags[scene_random(seed, 8)];
		if ((p->tcp_flags & SYN) != 0 && scene_random(seed, 3) == 0)
			seq[!forth] = scene_random(seed, 5000);
		p->tcp_seq = seq[!forth];
		p->tcp_ack = seq[forth] + 1;
		p->payload_bytes = (p->tcp_flags & SYN) != 0 ? 0 : scene_random(seed, 3) * 10;
		p->ip_bytes = 40 + p->payload_bytes;
		seq[!forth] += p->payload_bytes;
	}
}

struct writer {
	struct packet *packets;
	int count;
	uint64_t *seed;
	uint32_t seq[2];
	uint32_t losses; /* one in so many is not captured; 0: all are */
};

static void emit(struct writer *w, bool forth, uint8_t flags, uint32_t payload_bytes)
{
	struct packet *p = &w->packets[w->count];

	now_ms += scene_random(w->seed, 40);
	if (w->count < PACKETS && (w->losses == 0 || scene_random(w->seed, w->losses) != 0)) {
		*p = forth ? packet_of(A, B) : packet_of(B, A);
		p->number = (uint64_t)++w->count;
		p->tcp_flags = flags;
		p->tcp_seq = w->seq[!forth];
		p->tcp_ack = (flags & ACK) != 0 ? w->seq[forth] : 0;
		p->payload_bytes = payload_bytes;
		p->ip_bytes = 40 + payload_bytes;
	}
	w->seq[!forth] += payload_bytes + ((flags & (SYN | 1)) != 0);
}

static void repeat_last(struct writer *w)
{
	if (w->count > 0 && w->count < PACKETS && scene_random(w->seed, 5) == 0) {
		w->packets[w->count] = w->packets[w->count - 1];
		w->packets[w->count].time_ns = T(now_ms += 3);
		w->packets[w->count].number = (uint64_t)w->count + 1;
		w->count++;
	}
}

/* Connections one after the other on one tuple, each as TCP has them. */
static void tcp_packets(uint64_t *seed, struct packet *packets, uint32_t losses)
{
	struct writer w = {.packets = packets, .seed = seed, .losses = losses};

	now_ms = 0;
	while (w.count < PACKETS) {
		bool forth = scene_random(seed, 8) != 0;

		w.seq[0] += 1000 + scene_random(seed, 100000);
		w.seq[1] += 1000 + scene_random(seed, 100000);
		emit(&w, forth, SYN, 0);
		repeat_last(&w);
		if (scene_random(seed, 6) == 0) {
			emit(&w, !forth, RST_ACK, 0);
			continue;
		}
		emit(&w, !forth, SYN_ACK, 0);
		repeat_last(&w);
		emit(&w, forth, ACK, 0);
		for (uint32_t n = scene_random(seed, 4); n > 0; n--) {
			emit(&w, scene_random(seed, 2), ACK, 10);
			repeat_last(&w);
		}
		if (scene_random(seed, 4) == 0) {
			emit(&w, scene_random(seed, 2), RST, 0);
			continue;
		}
		emit(&w, forth, FIN, scene_random(seed, 2) * 5);
		repeat_last(&w);
		emit(&w, !forth, ACK, scene_random(seed, 2) * 7);
		emit(&w, !forth, FIN, 0);
		emit(&w, forth, ACK, 0);
	}
}

static void pass(struct flow_table *to, const struct packet *packets, int count)
{
	flow_table_init(to, &flow_default_limits);
	for (int i = 0; i < count; i++)
		assert_int_not_equal(flow_table_add(to, &packets[i], &side, &ended), FLOW_NONE);
}

/* The second part's flows onto the first's, as a merger does it. */
static void join(struct flow_table *to, const struct flow_table *later)
{
	for (size_t i = 0; i < later->count; i++) {
		const struct flow *flow = &later->flows[i];
		size_t live = to->count;

		while (live > 0 && !flow_key_equal(&to->flows[live - 1].key, &flow->key))
			live--;
		if (live > 0 && flow_continues(&to->flows[live - 1], flow, &flow_default_limits)) {
			flow_join(&to->flows[live - 1], flow);
			continue;
		}
		assert_int_equal(grow_one(&to->flows, to->count, &to->capacity, sizeof(*to->flows)),
				 0);
		to->flows[to->count++] = *flow;
	}
}

static bool same_flow(const struct flow *a, const struct flow *b)
{
	char h[FLOW_HISTORY_SIZE], g[FLOW_HISTORY_SIZE];

	flow_history(a, h);
	flow_history(b, g);
	return strcmp(h, g) == 0 && strcmp(flow_conn_state(a), flow_conn_state(b)) == 0 &&
	       memcmp(a->count, b->count, sizeof(a->count)) == 0 && a->first_ns == b->first_ns &&
	       a->last_ns == b->last_ns && a->originator == b->originator &&
	       a->began_ns == b->began_ns && a->first_number == b->first_number &&
	       flow_idle_limit(a, &flow_default_limits) == flow_idle_limit(b, &flow_default_limits);
}

static void tell(const struct packet *packets, int cut)
{
	for (int i = 0; i < PACKETS; i++)
		print_message("%s%d %s %lld ms flags %02x seq %u ack %u payload %u\n",
			      i == cut ? "-- cut --\n" : "", i,
			      packets[i].source.port == 80 ? "b>a" : "a>b",
			      (long long)(packets[i].time_ns - T(0)) / 1000000,
			      packets[i].protocol == IPPROTO_UDP ? 0 : packets[i].tcp_flags,
			      packets[i].tcp_seq, packets[i].tcp_ack, packets[i].payload_bytes);
}

static unsigned check_cuts(const struct packet *packets)
{
	struct flow_table whole, first, second;
	unsigned wrong = 0;

	pass(&whole, packets, PACKETS);
	for (int cut = 0; cut <= PACKETS; cut++) {
		bool same;

		pass(&first, packets, cut);
		pass(&second, packets + cut, PACKETS - cut);
		join(&first, &second);
		same = first.count == whole.count;
		for (size_t i = 0; i < whole.count && same; i++)
			same = same_flow(&whole.flows[i], &first.flows[i]);
		if (!same && wrong++ == 0)
			tell(packets, cut);
		flow_table_release(&first);
		flow_table_release(&second);
	}
	flow_table_release(&whole);
	return wrong;
}

static void what_a_later_part_knew_is_known_after_joining(void **state)
{
	struct flow earlier, later;

	(void)state;
	tcp(A, B, ACK, 101, 901, 10);
	earlier = table.flows[0];
	flow_table_clear(&table);
	tcp(A, B, FIN, 111, 901, 0);
	later = table.flows[0];
	assert_true(flow_continues(&earlier, &later, &flow_default_limits));
	flow_join(&earlier, &later);
	flow_table_clear(&table);
	tcp(A, B, ACK, 112, 901, 10);
	assert_false(flow_continues(&earlier, &table.flows[0], &flow_default_limits));
	flow_table_clear(&table);
	tcp(A, B, FIN, 111, 901, 0);
	assert_true(flow_continues(&earlier, &table.flows[0], &flow_default_limits));
}

static void cut_random(uint64_t seed, bool long_silences)
{
	struct packet packets[PACKETS];

	for (int round = 0; round < 3000; round++) {
		random_packets(&seed, packets, long_silences);
		assert_int_equal(check_cuts(packets), 0);
	}
}

static void cut_tcp(uint64_t seed, uint32_t losses)
{
	struct packet packets[PACKETS + 1];

	for (int round = 0; round < 5000; round++) {
		tcp_packets(&seed, packets, losses);
		assert_int_equal(check_cuts(packets), 0);
	}
}

static void a_cut_changes_nothing(void **state)
{
	(void)state;
	cut_tcp(1, 0);
}

static void a_cut_changes_nothing_when_packets_are_missing(void **state)
{
	SCENE_OPEN(state);
	cut_tcp(2, 8);
}

static void a_cut_changes_nothing_in_nonsense(void **state)
{
	SCENE_OPEN(state);
	cut_random(1, false);
}

static void a_cut_changes_nothing_with_long_silences(void **state)
{
	SCENE_OPEN(state);
	cut_random(2, true);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(both_directions_have_one_key),
		FACT(equal_addresses_are_ordered_by_port),
		FACT(protocols_versions_and_ports_are_apart),
		FACT(icmp_query_and_answer_are_one_flow),
		FACT(the_newest_instance_is_found),
		FACT(s0_nothing_came_back),
		FACT(s1_stands),
		FACT(sf_ended_by_both),
		FACT(data_with_the_syn_is_of_its_connection),
		FACT(s2_and_s3_half_closed),
		FACT(rej_refused),
		FACT(rsto_rstr_broken_off),
		FACT(rstos0_rstrh_broken_off_early),
		FACT(sh_shr_one_sided),
		FACT(oth_midstream),
		FACT(udp_states),
		FACT(a_new_initial_sequence_number_is_a_new_connection),
		FACT(a_repeated_syn_is_the_same_connection),
		FACT(a_simultaneous_open_is_one_connection),
		FACT(data_after_ones_own_fin_is_another_connection),
		FACT(sequence_numbers_wrap),
		FACT(silence_ends_a_flow),
		FACT(silence_of_tcp_depends_on_how_it_stands),
		FACT(a_later_fragment_begins_nothing),
		FACT(many_flows_are_all_found_again),
		FACT(what_a_later_part_knew_is_known_after_joining),
		FACT(a_cut_changes_nothing),
		FACT(a_cut_changes_nothing_when_packets_are_missing),
		FACT(a_cut_changes_nothing_in_nonsense),
		FACT(a_cut_changes_nothing_with_long_silences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
