/* test_connstate.c - one fact for each conn_state, in the words of Zeek's
 * documentation (base/protocols/conn/main.zeek), and what else they depend on. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/conversation.h"

/* S0: connection attempt seen, no reply. */
static void s0(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	assert_flow(0, "S0", "S");
	tcp(A, B, SYN, 100, 0, 0); /* tried again */
	assert_flow(0, "S0", "S");
}

/* S1: connection established, not terminated. */
static void s1(void **state)
{
	(void)state;
	handshake();
	assert_flow(0, "S1", "ShA");
	tcp(A, B, ACK, 101, 901, 10);
	tcp(B, A, ACK, 901, 111, 20);
	assert_flow(0, "S1", "ShADd");
}

/* SF: normal establishment and termination. */
static void sf(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, ACK, 101, 901, 10);
	tcp(B, A, ACK, 901, 111, 20);
	tcp(A, B, FIN, 111, 921, 0);
	tcp(B, A, FIN, 921, 112, 0);
	tcp(A, B, ACK, 112, 922, 0);
	assert_flow(0, "SF", "ShADdFf");
	assert_int_equal(table.flows[0].count[0].packets, 5);
	assert_int_equal(table.flows[0].count[1].packets, 3);
}

/* REJ: connection attempt rejected. */
static void rej(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	tcp(B, A, RST_ACK, 0, 101, 0);
	assert_flow(0, "REJ", "Sr");
	assert_true(flow_only_reset(&table.flows[0], 1));
	assert_false(flow_only_reset(&table.flows[0], 0));
}

/* S2: established, close attempt by the originator seen, no reply from the responder. */
static void s2(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, FIN, 101, 901, 0);
	tcp(B, A, ACK, 901, 102, 0);
	assert_flow(0, "S2", "ShAFa");
}

/* S3: established, close attempt by the responder seen, no reply from the originator. */
static void s3(void **state)
{
	(void)state;
	handshake();
	tcp(B, A, FIN, 901, 101, 0);
	tcp(A, B, ACK, 101, 902, 0);
	assert_flow(0, "S3", "ShAf");
}

/* RSTO: established, the originator aborted (sent a RST). */
static void rsto(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, ACK, 101, 901, 10);
	tcp(A, B, RST, 111, 0, 0);
	assert_flow(0, "RSTO", "ShADR");
}

/* RSTR: the responder sent a RST. */
static void rstr(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, ACK, 101, 901, 10);
	tcp(B, A, RST, 901, 0, 0);
	assert_flow(0, "RSTR", "ShADr");
}

/* RSTOS0: the originator sent a SYN followed by a RST, never a SYN-ACK from the responder. */
static void rstos0(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	tcp(A, B, RST, 101, 0, 0);
	assert_flow(0, "RSTOS0", "SR");
}

/* RSTRH: the responder sent a SYN-ACK followed by a RST, never a SYN from the originator. */
static void rstrh(void **state)
{
	(void)state;
	tcp(B, A, SYN_ACK, 900, 101, 0);
	tcp(B, A, RST, 901, 0, 0);
	assert_flow(0, "RSTRH", "hr");
	assert_int_equal(table.flows[0].originator, 0);
}

/* SH: the originator sent a SYN followed by a FIN, never a SYN-ACK from the responder. */
static void sh(void **state)
{
	(void)state;
	tcp(A, B, SYN, 100, 0, 0);
	tcp(A, B, FIN, 101, 0, 0);
	assert_flow(0, "SH", "SF");
}

/* SHR: the responder sent a SYN-ACK followed by a FIN, never a SYN from the originator. */
static void shr(void **state)
{
	(void)state;
	tcp(B, A, SYN_ACK, 900, 101, 0);
	tcp(B, A, FIN, 901, 101, 0);
	assert_flow(0, "SHR", "hf");
	assert_int_equal(table.flows[0].originator, 0);
}

/* OTH: no SYN seen, just midstream traffic. */
static void oth(void **state)
{
	(void)state;
	tcp(B, A, ACK, 5, 6, 10);
	tcp(A, B, ACK, 6, 15, 0);
	assert_flow(0, "OTH", "Da");
	assert_int_equal(table.flows[0].began_ns, INT64_MIN);
	tcp(A, B, FIN, 6, 15, 0);
	tcp(B, A, FIN, 15, 7, 0);
	assert_flow(0, "OTH", "DafF");
}

static void what_follows_both_fins_changes_nothing(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, FIN, 101, 901, 0);
	tcp(B, A, FIN, 901, 102, 0);
	tcp(B, A, RST, 902, 0, 0);
	assert_flow(0, "SF", "ShAFfr");
}

static void a_reset_between_the_fins_is_an_abort(void **state)
{
	(void)state;
	handshake();
	tcp(A, B, FIN, 101, 901, 0);
	tcp(B, A, RST, 901, 0, 0);
	assert_flow(0, "RSTR", "ShAFr");
}

static void the_one_who_sent_the_syn_is_the_originator_wherever_its_address_sorts(void **state)
{
	(void)state;
	tcp(B, A, SYN, 100, 0, 0);
	tcp(A, B, SYN_ACK, 900, 101, 0);
	tcp(B, A, ACK, 101, 901, 0);
	tcp(B, A, RST, 101, 0, 0);
	assert_flow(0, "RSTO", "ShAR");
	assert_int_equal(table.flows[0].originator, 1);
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

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(s0),
		FACT(s1),
		FACT(sf),
		FACT(rej),
		FACT(s2),
		FACT(s3),
		FACT(rsto),
		FACT(rstr),
		FACT(rstos0),
		FACT(rstrh),
		FACT(sh),
		FACT(shr),
		FACT(oth),
		FACT(what_follows_both_fins_changes_nothing),
		FACT(a_reset_between_the_fins_is_an_abort),
		FACT(the_one_who_sent_the_syn_is_the_originator_wherever_its_address_sorts),
		FACT(udp_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
