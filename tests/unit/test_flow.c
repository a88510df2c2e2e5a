/* test_flow.c - facts about conversations: what is one, where it begins and ends. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/conversation.h"

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

/* Also keys that are alike but for the order of their ends, which a sum would not tell apart. */
static void every_bit_of_a_key_reaches_all_of_its_hash(void **state)
{
	struct flow_key key = {.protocol = IPPROTO_TCP, .ip_version = 4}, other;
	uint64_t hash, either = 0;

	(void)state;
	for (int i = 0; i < 32; i++)
		key.address[i / 16][i % 16] = (uint8_t)(i * 37);
	hash = flow_key_hash(&key);
	for (size_t bit = 0; bit < 8 * sizeof(key); bit++) {
		other = key;
		((uint8_t *)&other)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal((uint32_t)flow_key_hash(&other), (uint32_t)hash);
		assert_int_not_equal(flow_key_hash(&other) >> 32, hash >> 32);
		either |= flow_key_hash(&other) ^ hash;
	}
	assert_int_equal(~either, 0);
	other = key;
	memcpy(other.address[0], key.address[1], 16);
	memcpy(other.address[1], key.address[0], 16);
	assert_int_not_equal(flow_key_hash(&other), hash);
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

/* ----------------------------------------------------------- instances -- */

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

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(both_directions_have_one_key),
		FACT(equal_addresses_are_ordered_by_port),
		FACT(protocols_versions_and_ports_are_apart),
		FACT(every_bit_of_a_key_reaches_all_of_its_hash),
		FACT(icmp_query_and_answer_are_one_flow),
		FACT(the_newest_instance_is_found),
		FACT(data_with_the_syn_is_of_its_connection),
		FACT(a_new_initial_sequence_number_is_a_new_connection),
		FACT(a_repeated_syn_is_the_same_connection),
		FACT(a_simultaneous_open_is_one_connection),
		FACT(data_after_ones_own_fin_is_another_connection),
		FACT(sequence_numbers_wrap),
		FACT(silence_ends_a_flow),
		FACT(silence_of_tcp_depends_on_how_it_stands),
		FACT(a_later_fragment_begins_nothing),
		FACT(many_flows_are_all_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
