/*
 * conversation.h - packets into one flow table, one at a time, for the tests of
 * flows: who says what to whom, each a millisecond after the one before.
 */
#ifndef TESTS_UNIT_CONVERSATION_H
#define TESTS_UNIT_CONVERSATION_H

#include <stdint.h>

#include "analyze/flow.h"
#include "tests/unit/scene.h"

#define A	   HOST, 40000
#define B	   PEER, 80
#define SYN_ACK	   (SYN | ACK)
#define RST_ACK	   (RST | ACK)
#define SECONDS(s) ((s)*1000)

extern struct flow_table table;
extern int64_t now_ms; /* of the next packet */
/* What flow_table_add said of the last one. */
extern uint8_t side;
extern uint32_t ended;

/* cmocka's setup and teardown: an empty table at 0 ms. */
int begin(void **state);
int end(void **state);

struct packet packet_of(const char *from, uint16_t from_port, const char *to, uint16_t to_port);
/* Each returns the place of the flow. */
uint32_t tcp(const char *from, uint16_t from_port, const char *to, uint16_t to_port, uint8_t flags,
	     uint32_t seq, uint32_t ack, uint32_t payload_bytes);
uint32_t other(uint8_t protocol, const char *from, uint16_t from_port, const char *to,
	       uint16_t to_port, uint32_t payload_bytes);
void handshake(void); /* of A with B, from 100 and 900 */
void assert_flow(uint32_t place, const char *conn_state, const char *history);

#endif
