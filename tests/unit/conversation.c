#include "tests/unit/conversation.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct flow_table table;
int64_t now_ms;
uint8_t side;
uint32_t ended;

struct packet packet_of(const char *from, uint16_t from_port, const char *to, uint16_t to_port)
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

uint32_t tcp(const char *from, uint16_t from_port, const char *to, uint16_t to_port, uint8_t flags,
	     uint32_t seq, uint32_t ack, uint32_t payload_bytes)
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

uint32_t other(uint8_t protocol, const char *from, uint16_t from_port, const char *to,
	       uint16_t to_port, uint32_t payload_bytes)
{
	struct packet p = packet_of(from, from_port, to, to_port);

	p.protocol = protocol;
	p.payload_bytes = payload_bytes;
	p.ip_bytes = 28 + payload_bytes;
	now_ms++;
	return flow_table_add(&table, &p, &side, &ended);
}

int begin(void **state)
{
	(void)state;
	flow_table_init(&table, &flow_default_limits);
	now_ms = 0;
	return 0;
}

int end(void **state)
{
	(void)state;
	flow_table_release(&table);
	return 0;
}

void assert_flow(uint32_t place, const char *conn_state, const char *history)
{
	char text[FLOW_HISTORY_SIZE];

	assert_in_range(place, 0, table.count - 1);
	flow_history(&table.flows[place], text);
	assert_string_equal(text, history);
	assert_string_equal(flow_conn_state(&table.flows[place]), conn_state);
}

void handshake(void)
{
	tcp(A, B, SYN, 100, 0, 0);
	tcp(B, A, SYN_ACK, 900, 101, 0);
	tcp(A, B, ACK, 101, 901, 0);
}
