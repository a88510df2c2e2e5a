/* test_flow_cut.c - facts about conversations of which the evidence was cut: it
 * does not matter where. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/grow.h"
#include "tests/unit/conversation.h"

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

static void pass(struct flow_table *to, const struct packet *packets, int count, bool cut_before)
{
	flow_table_init(to, &flow_default_limits);
	to->cut_before = cut_before;
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
		if (live > 0)
			flow_follow(&to->flows[to->count - 1], &to->flows[live - 1],
				    &flow_default_limits);
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

/* Cut once, and once more in the middle of what follows. */
static bool same_when_cut(const struct flow_table *whole, const struct packet *packets, int cut)
{
	int again = (cut + PACKETS) / 2;
	struct flow_table first, second, third;
	bool same;

	pass(&first, packets, cut, false);
	pass(&second, packets + cut, again - cut, true);
	pass(&third, packets + again, PACKETS - again, true);
	join(&first, &second);
	join(&first, &third);
	same = first.count == whole->count;
	for (size_t i = 0; i < whole->count && same; i++)
		same = same_flow(&whole->flows[i], &first.flows[i]);
	flow_table_release(&first);
	flow_table_release(&second);
	flow_table_release(&third);
	return same;
}

static unsigned check_cuts(const struct packet *packets)
{
	struct flow_table whole;
	unsigned wrong = 0;

	pass(&whole, packets, PACKETS, false);
	for (int cut = 0; cut <= PACKETS; cut++) {
		if (!same_when_cut(&whole, packets, cut) && wrong++ == 0)
			tell(packets, cut);
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

/* A FIN at 111. Data that begins at 112 is another connection's, unless other data had the
 * place of the FIN, to the byte. */
static const struct {
	uint32_t seq, bytes;
	bool voids;
} beside_fin[] = {{101, 10, false}, {110, 1, false}, {101, 11, true}, {110, 2, true},
		  {111, 1, true},   {111, 10, true}, {1, 110, false}, {1, 111, true}};
#define BESIDE_FIN (sizeof(beside_fin) / sizeof(beside_fin[0]))

static void data_in_the_place_of_a_fin_voids_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < BESIDE_FIN; i++) {
		uint32_t place = tcp(A, B, FIN, 111, 901, 0);

		assert_int_equal(tcp(A, B, ACK, beside_fin[i].seq, 901, beside_fin[i].bytes),
				 place);
		assert_int_equal(tcp(A, B, ACK, 112, 901, 10) == place, beside_fin[i].voids);
		flow_table_clear(&table);
	}
}

static void data_in_the_place_of_a_fin_voids_it_over_a_cut(void **state)
{
	struct flow earlier, later;

	(void)state;
	for (size_t i = 0; i < BESIDE_FIN; i++) {
		tcp(A, B, FIN, 111, 901, 0);
		earlier = table.flows[0];
		flow_table_clear(&table);
		tcp(A, B, ACK, beside_fin[i].seq, 901, beside_fin[i].bytes);
		later = table.flows[0];
		assert_true(flow_continues(&earlier, &later, &flow_default_limits));
		flow_join(&earlier, &later);
		flow_table_clear(&table);
		tcp(A, B, ACK, 112, 901, 10);
		assert_int_equal(flow_continues(&earlier, &table.flows[0], &flow_default_limits),
				 beside_fin[i].voids);
		flow_table_clear(&table);
	}
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
	(void)state;
	cut_tcp(2, 8);
}

static void a_cut_changes_nothing_in_nonsense(void **state)
{
	(void)state;
	cut_random(1, false);
}

static void a_cut_changes_nothing_with_long_silences(void **state)
{
	(void)state;
	cut_random(2, true);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(what_a_later_part_knew_is_known_after_joining),
		FACT(data_in_the_place_of_a_fin_voids_it),
		FACT(data_in_the_place_of_a_fin_voids_it_over_a_cut),
		FACT(a_cut_changes_nothing),
		FACT(a_cut_changes_nothing_when_packets_are_missing),
		FACT(a_cut_changes_nothing_in_nonsense),
		FACT(a_cut_changes_nothing_with_long_silences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
