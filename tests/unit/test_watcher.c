/* The watcher: which packets it wants, what it knows already, what it keeps away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "snapshot/watcher_tap.h"
#include "snapshot/watcher_tuples.h"

#define SECOND INT64_C(1000000000)

/* ------------------------------------------------------------- packets -- */

static const struct sockaddr_ll on_ether = {.sll_hatype = ARPHRD_ETHER,
					    .sll_pkttype = PACKET_OUTGOING};

static size_t make_ipv4(uint8_t *bytes, uint8_t protocol, const uint8_t *upper, size_t length)
{
	memset(bytes, 0, 20);
	bytes[0] = 0x45;
	bytes[9] = protocol;
	memcpy(bytes + 12, (uint8_t[]){10, 0, 0, 1}, 4);
	memcpy(bytes + 16, (uint8_t[]){10, 0, 0, 2}, 4);
	memcpy(bytes + 20, upper, length);
	return 20 + length;
}

static size_t make_tcp(uint8_t *bytes, uint8_t flags)
{
	uint8_t tcp[20] = {0x30, 0x39, 0x00, 0x50, 1, 2, 3, 4};

	tcp[13] = flags;
	return make_ipv4(bytes, IPPROTO_TCP, tcp, sizeof(tcp));
}

static size_t make_udp(uint8_t *bytes, uint16_t source, uint16_t destination)
{
	const uint8_t udp[8] = {(uint8_t)(source >> 8), (uint8_t)source,
				(uint8_t)(destination >> 8), (uint8_t)destination};

	return make_ipv4(bytes, IPPROTO_UDP, udp, sizeof(udp));
}

static void test_a_syn_is_a_first_packet(void **state)
{
	struct watcher_packet packet;
	uint8_t bytes[64];
	size_t length = make_tcp(bytes, 0x02);
	char text[ENDPOINT_TEXT_SIZE];

	(void)state;
	assert_true(watcher_tap_parse(bytes, length, &on_ether, &packet));
	assert_int_equal(packet.protocol, IPPROTO_TCP);
	assert_string_equal(endpoint_format(&packet.source.address, text), "10.0.0.1");
	assert_int_equal(packet.source.port, 12345);
	assert_int_equal(packet.destination.port, 80);
	assert_int_equal(packet.sequence, 0x01020304);
	assert_true(packet.outgoing);
	assert_false(packet.is_answer);
	assert_false(packet.loopback);
	length = make_tcp(bytes, 0x12);
	assert_true(watcher_tap_parse(bytes, length, &on_ether, &packet));
	assert_true(packet.is_answer);
	length = make_tcp(bytes, 0x10);
	assert_false(watcher_tap_parse(bytes, length, &on_ether, &packet));
}

static void test_a_later_fragment_is_none(void **state)
{
	struct watcher_packet packet;
	uint8_t bytes[64];
	size_t length = make_udp(bytes, 1, 2);

	(void)state;
	bytes[7] = 1;
	assert_false(watcher_tap_parse(bytes, length, &on_ether, &packet));
	bytes[7] = 0;
	bytes[6] = 0x20; /* more to come: the first */
	assert_true(watcher_tap_parse(bytes, length, &on_ether, &packet));
}

static void test_ipv6_headers_are_walked_over(void **state)
{
	uint8_t bytes[64] = {0x60};
	struct watcher_packet packet;

	(void)state;
	bytes[6] = 0;		 /* hop-by-hop */
	bytes[40] = IPPROTO_UDP; /* of 8 bytes */
	bytes[49] = 53;
	bytes[51] = 99;
	assert_true(watcher_tap_parse(bytes, 56, &on_ether, &packet));
	assert_true(packet.ipv6);
	assert_int_equal(packet.protocol, IPPROTO_UDP);
	assert_int_equal(packet.source.port, 53);
	assert_int_equal(packet.destination.port, 99);
	bytes[41] = 255; /* longer than the packet */
	assert_false(watcher_tap_parse(bytes, 56, &on_ether, &packet));
}

static void test_only_echo_requests(void **state)
{
	uint8_t icmp[8] = {8, 0, 0, 0, 0x12, 0x34}, bytes[64];
	struct watcher_packet packet;
	size_t length = make_ipv4(bytes, IPPROTO_ICMP, icmp, sizeof(icmp));

	(void)state;
	assert_true(watcher_tap_parse(bytes, length, &on_ether, &packet));
	assert_int_equal(packet.ident, 0x1234);
	assert_int_equal(packet.source.port, 0);
	bytes[20] = 0;
	assert_false(watcher_tap_parse(bytes, length, &on_ether, &packet));
}

static void test_cut_anywhere_is_none_and_reads_no_further(void **state)
{
	uint8_t bytes[64];
	size_t length = make_tcp(bytes, 0x02);

	(void)state;
	for (size_t cut = 0; cut < 34; cut++) {
		struct watcher_packet packet;
		uint8_t *copy = malloc(cut ? cut : 1);

		assert_true(cut <= length);
		memcpy(copy, bytes, cut);
		assert_false(watcher_tap_parse(copy, cut, &on_ether, &packet));
		free(copy);
	}
}

/* -------------------------------------------------------------- filter -- */

struct frame {
	const uint8_t *bytes;
	size_t length;
	uint32_t ifindex, type, hardware, protocol;
};

static uint32_t load(const struct frame *frame, uint32_t at, size_t size, bool *outside)
{
	uint32_t value = 0;

	if (at == (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX))
		return frame->ifindex;
	if (at == (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE))
		return frame->type;
	if (at == (uint32_t)(SKF_AD_OFF + SKF_AD_HATYPE))
		return frame->hardware;
	if (at == (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL))
		return frame->protocol;
	*outside = at + size > frame->length;
	for (size_t i = 0; i < size && !*outside; i++)
		value = value << 8 | frame->bytes[at + i];
	return value;
}

/* What the kernel would do (Documentation/networking/filter.rst), as far as it is used. */
static uint32_t run(const struct watcher_filter *filter, const struct frame *frame)
{
	static struct sock_filter program[WATCHER_TAP_PROGRAM];
	size_t length = watcher_filter_compile(filter, program);
	uint32_t a = 0, x = 0;

	for (size_t at = 0; at < length; at++) {
		const struct sock_filter *op = &program[at];
		size_t size = BPF_SIZE(op->code) == BPF_W ? 4 : BPF_SIZE(op->code) == BPF_H ? 2 : 1;
		bool met, outside = false;

		switch (BPF_CLASS(op->code)) {
		case BPF_LD:
			a = load(frame, BPF_MODE(op->code) == BPF_IND ? x + op->k : op->k, size,
				 &outside);
			break;
		case BPF_LDX:
			x = BPF_MODE(op->code) == BPF_IMM
				    ? op->k
				    : (load(frame, op->k, 1, &outside) & 15) * 4;
			break;
		case BPF_ALU:
			a &= op->k;
			break;
		case BPF_JMP:
			if (BPF_OP(op->code) == BPF_JA) {
				at += op->k;
				break;
			}
			met = BPF_OP(op->code) == BPF_JEQ ? a == op->k : (a & op->k) != 0;
			at += met ? op->jt : op->jf;
			break;
		default:
			return op->k;
		}
		if (outside)
			return 0;
	}
	fail_msg("ran off the end");
	return 0;
}

static struct frame outgoing(const uint8_t *bytes, size_t length)
{
	return (struct frame){bytes, length, 2, PACKET_OUTGOING, ARPHRD_ETHER, ETH_P_IP};
}

static void test_filter_lets_first_packets_through(void **state)
{
	struct watcher_filter calls = {.side = WATCHER_CALLS}, answers = {.side = WATCHER_ANSWERS};
	uint8_t bytes[64];
	struct frame frame = outgoing(bytes, make_tcp(bytes, 0x02));

	(void)state;
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
	assert_int_equal(run(&answers, &frame), 0);
	make_tcp(bytes, 0x12);
	assert_int_equal(run(&calls, &frame), 0);
	assert_int_equal(run(&answers, &frame), WATCHER_TAP_SNAPLEN);
	make_tcp(bytes, 0x18);
	assert_int_equal(run(&calls, &frame), 0);
	assert_int_equal(run(&answers, &frame), 0);
	frame.length = make_udp(bytes, 7, 9);
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
	assert_int_equal(run(&answers, &frame), 0);
}

static void test_filter_sees_a_loopback_packet_once(void **state)
{
	struct watcher_filter calls = {.side = WATCHER_CALLS};
	uint8_t bytes[64];
	struct frame frame = outgoing(bytes, make_tcp(bytes, 0x02));

	(void)state;
	frame.hardware = ARPHRD_LOOPBACK;
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
	frame.type = PACKET_HOST;
	assert_int_equal(run(&calls, &frame), 0);
}

static void test_filter_wants_others_syn_only_with_namespaces(void **state)
{
	struct watcher_filter calls = {.side = WATCHER_CALLS};
	uint8_t bytes[64];
	struct frame frame = outgoing(bytes, make_tcp(bytes, 0x02));

	(void)state;
	frame.type = PACKET_HOST;
	assert_int_equal(run(&calls, &frame), 0);
	calls.foreign = true;
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
}

static void test_filter_keeps_to_the_interfaces(void **state)
{
	struct watcher_filter calls = {
		.side = WATCHER_CALLS, .interfaces = {5, 2, 9}, .interface_count = 3};
	uint8_t bytes[64];
	struct frame frame = outgoing(bytes, make_tcp(bytes, 0x02));

	(void)state;
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
	frame.ifindex = 5;
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
	frame.ifindex = 9;
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
	frame.ifindex = 3;
	assert_int_equal(run(&calls, &frame), 0);
}

static void test_filter_excludes_pairs_both_ways_and_ports(void **state)
{
	struct watcher_filter calls = {.side = WATCHER_CALLS,
				       .pairs = {7u << 16 | 9},
				       .pair_count = 1,
				       .ports = {53},
				       .port_count = 1};
	uint8_t bytes[64];
	struct frame frame = outgoing(bytes, make_udp(bytes, 7, 9));

	(void)state;
	assert_int_equal(run(&calls, &frame), 0);
	make_udp(bytes, 9, 7);
	assert_int_equal(run(&calls, &frame), 0);
	make_udp(bytes, 9, 8);
	assert_int_equal(run(&calls, &frame), WATCHER_TAP_SNAPLEN);
	make_udp(bytes, 53, 8);
	assert_int_equal(run(&calls, &frame), 0);
	make_udp(bytes, 8, 53);
	assert_int_equal(run(&calls, &frame), 0);
}

static void test_kernel_takes_the_longest_filter(void **state)
{
	struct watcher_filter full = {.interface_count = WATCHER_TAP_INTERFACES,
				      .pair_count = WATCHER_TAP_EXCLUDED,
				      .port_count = WATCHER_TAP_EXCLUDED,
				      .protocol_count = WATCHER_TAP_EXCLUDED};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(watcher_tap_filter(fd, &full, NULL), 0);
	close(fd);
}

/* -------------------------------------------------------------- tuples -- */

static struct watcher_packet udp_packet(uint16_t source, uint16_t destination)
{
	return (struct watcher_packet){
		.protocol = IPPROTO_UDP, .source.port = source, .destination.port = destination};
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct watcher_tuples));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_a_conversation_is_new_once(void **state)
{
	struct watcher_packet there = udp_packet(1, 2), back = udp_packet(2, 1);
	struct watcher_tuple *tuple;

	assert_true(watcher_tuples_see(*state, &there, SECOND, &tuple));
	assert_false(watcher_tuples_see(*state, &there, SECOND, &tuple));
	assert_false(watcher_tuples_see(*state, &back, SECOND, &tuple));
	there.source.port = 3;
	assert_true(watcher_tuples_see(*state, &there, SECOND, &tuple));
}

static void test_a_silent_one_is_new_again(void **state)
{
	struct watcher_packet packet = udp_packet(1, 2);
	struct watcher_tuple *tuple;

	watcher_tuples_see(*state, &packet, SECOND, &tuple);
	assert_false(watcher_tuples_see(*state, &packet, 3 * SECOND, &tuple));
	assert_true(watcher_tuples_see(*state, &packet, 5 * SECOND + 1, &tuple));
}

static void test_a_syn_with_another_number_is_another_connection(void **state)
{
	struct watcher_packet syn = {.protocol = IPPROTO_TCP, .sequence = 1};
	struct watcher_tuple *tuple;

	assert_true(watcher_tuples_see(*state, &syn, SECOND, &tuple));
	assert_false(watcher_tuples_see(*state, &syn, 2 * SECOND, &tuple));
	syn.sequence = 2;
	assert_true(watcher_tuples_see(*state, &syn, 2 * SECOND, &tuple));
	syn.is_answer = true;
	assert_true(watcher_tuples_see(*state, &syn, 2 * SECOND, &tuple));
}

static void test_a_full_table_forgets_and_goes_on(void **state)
{
	struct watcher_tuple *tuple;

	for (uint32_t i = 0; i < 3 * WATCHER_TUPLES; i++) {
		struct watcher_packet packet = udp_packet((uint16_t)i, (uint16_t)(i >> 16));

		packet.source.address.bytes[0] = 1;
		watcher_tuples_see(*state, &packet, SECOND + i, &tuple);
		assert_false(watcher_tuples_see(*state, &packet, SECOND + i, &tuple));
	}
}

/* --------------------------------------------------------------- rates -- */

struct watch {
	struct watcher_tuples tuples;
	struct watcher_rates rates;
	struct watcher_filter filter;
};

static int setup_watch(void **state)
{
	*state = calloc(1, sizeof(struct watch));
	return *state ? 0 : -1;
}

static enum watcher_verdict count(struct watch *watch, struct watcher_packet packet, int64_t now_ns)
{
	struct watcher_tuple *tuple;

	watcher_tuples_see(&watch->tuples, &packet, now_ns, &tuple);
	return watcher_rates_count(&watch->rates, &packet, tuple, now_ns);
}

static void test_a_hot_pair_is_kept_away_for_a_while(void **state)
{
	struct watch *watch = *state;

	for (unsigned i = 1; i < WATCHER_PAIR_LIMIT; i++)
		assert_int_equal(count(watch, udp_packet(7, 9), SECOND), WATCHER_PASS);
	assert_int_equal(count(watch, udp_packet(9, 7), SECOND), WATCHER_FILTER);
	assert_int_equal(count(watch, udp_packet(9, 7), SECOND), WATCHER_STALE);
	assert_int_equal(count(watch, udp_packet(9, 8), SECOND), WATCHER_PASS);
	watcher_rates_apply(&watch->rates, &watch->filter);
	assert_int_equal(watch->filter.pair_count, 1);
	assert_false(watcher_rates_expire(&watch->rates, 10 * SECOND));
	assert_true(watcher_rates_expire(&watch->rates, 11 * SECOND));
	assert_int_equal(count(watch, udp_packet(7, 9), 11 * SECOND), WATCHER_PASS);
}

static void test_a_slow_pair_never_is(void **state)
{
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(
			count(*state, udp_packet(7, 9), SECOND + i * (WATCHER_WINDOW_NS / 40)),
			WATCHER_PASS);
}

static void test_a_hot_port_of_many_peers_is_kept_away(void **state)
{
	struct watch *watch = *state;

	for (unsigned i = 1; i < WATCHER_PORT_LIMIT; i++)
		assert_int_equal(count(watch, udp_packet((uint16_t)(2000 + i), 53), SECOND),
				 WATCHER_PASS);
	assert_int_equal(count(watch, udp_packet(53, 1999), SECOND), WATCHER_FILTER);
	watcher_rates_apply(&watch->rates, &watch->filter);
	assert_int_equal(watch->filter.port_count, 1);
	assert_int_equal(watch->filter.ports[0], 53);
}

static void test_a_flood_of_random_ports_sheds_udp_for_a_second(void **state)
{
	struct watch *watch = *state;
	enum watcher_verdict verdict = WATCHER_PASS;
	unsigned i;

	for (i = 1; i <= WATCHER_UDP_LIMIT && verdict == WATCHER_PASS; i++)
		verdict = count(watch, udp_packet((uint16_t)i, (uint16_t)(i + 10000)), SECOND);
	assert_int_equal(verdict, WATCHER_SHED);
	assert_int_equal(i, WATCHER_UDP_LIMIT + 1);
	watcher_rates_apply(&watch->rates, &watch->filter);
	assert_true(watch->filter.no_udp);
	assert_int_equal(count(watch, udp_packet(1, 2), SECOND), WATCHER_STALE);
	assert_true(watcher_rates_expire(&watch->rates, 2 * SECOND));
	assert_int_equal(count(watch, udp_packet(1, 2), 2 * SECOND), WATCHER_PASS);
}

static void test_a_syn_flood_sheds_tcp(void **state)
{
	struct watcher_packet syn = {.protocol = IPPROTO_TCP};

	for (; syn.sequence < WATCHER_TCP_LIMIT - 1; syn.sequence++)
		assert_int_equal(count(*state, syn, SECOND), WATCHER_PASS);
	assert_int_equal(count(*state, syn, SECOND), WATCHER_SHED);
	assert_int_equal(count(*state, syn, SECOND), WATCHER_STALE);
	assert_int_equal(count(*state, udp_packet(1, 2), SECOND), WATCHER_PASS);
}

static void test_another_protocol_is_kept_away_by_its_number(void **state)
{
	struct watcher_packet gre = {.protocol = IPPROTO_GRE}, esp = {.protocol = IPPROTO_ESP};

	for (unsigned i = 1; i < WATCHER_OTHER_LIMIT; i++)
		assert_int_equal(count(*state, gre, SECOND), WATCHER_PASS);
	assert_int_equal(count(*state, gre, SECOND), WATCHER_SHED);
	assert_int_equal(count(*state, gre, SECOND), WATCHER_STALE);
	assert_int_equal(count(*state, esp, SECOND), WATCHER_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_syn_is_a_first_packet),
		cmocka_unit_test(test_a_later_fragment_is_none),
		cmocka_unit_test(test_ipv6_headers_are_walked_over),
		cmocka_unit_test(test_only_echo_requests),
		cmocka_unit_test(test_cut_anywhere_is_none_and_reads_no_further),
		cmocka_unit_test(test_filter_lets_first_packets_through),
		cmocka_unit_test(test_filter_sees_a_loopback_packet_once),
		cmocka_unit_test(test_filter_wants_others_syn_only_with_namespaces),
		cmocka_unit_test(test_filter_keeps_to_the_interfaces),
		cmocka_unit_test(test_filter_excludes_pairs_both_ways_and_ports),
		cmocka_unit_test(test_kernel_takes_the_longest_filter),
		cmocka_unit_test_setup_teardown(test_a_conversation_is_new_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_silent_one_is_new_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_syn_with_another_number_is_another_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_table_forgets_and_goes_on, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_hot_pair_is_kept_away_for_a_while,
						setup_watch, teardown),
		cmocka_unit_test_setup_teardown(test_a_slow_pair_never_is, setup_watch, teardown),
		cmocka_unit_test_setup_teardown(test_a_hot_port_of_many_peers_is_kept_away,
						setup_watch, teardown),
		cmocka_unit_test_setup_teardown(test_a_flood_of_random_ports_sheds_udp_for_a_second,
						setup_watch, teardown),
		cmocka_unit_test_setup_teardown(test_a_syn_flood_sheds_tcp, setup_watch, teardown),
		cmocka_unit_test_setup_teardown(test_another_protocol_is_kept_away_by_its_number,
						setup_watch, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
