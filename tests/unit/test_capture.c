/* Packets from the kernel's ring into blocks: what waits where. */
#include "snapshot/capture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DATAGRAM_BYTES 32768
/* The blocks and a quarter more; on loopback the ring has each packet twice, and may
 * have to hold them all. */
#define BLOCKS	   16
#define DATAGRAMS  (BLOCKS * CAPTURE_BLOCK_BYTES / DATAGRAM_BYTES * 5 / 4)
#define BUFFER_MIB 64
/* What takes as long does not end: the program is killed, which fails it. */
#define FOREVER_SECONDS 120

static struct capture *open_capture(void)
{
	const struct capture_config config = {
		.filter = "udp", .snaplen = 262144, .buffer_mib = BUFFER_MIB, .max_blocks = BLOCKS};
	struct error error = ERROR_NONE;
	struct capture *capture;

	if (unshare(CLONE_NEWNET) || system("ip link set lo up"))
		skip();
	if (capture_open(&config, &capture, &error))
		skip();
	assert_int_equal(capture_start(capture, &error), 0);
	return capture;
}

static void send_datagrams(unsigned count)
{
	static const uint8_t bytes[DATAGRAM_BYTES];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(to);
	int from = socket(AF_INET, SOCK_DGRAM, 0), sink = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(bind(sink, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(getsockname(sink, (struct sockaddr *)&to, &length), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(
			sendto(from, bytes, sizeof(bytes), 0, (struct sockaddr *)&to, sizeof(to)),
			sizeof(bytes));
	close(from);
	close(sink);
}

static void test_what_finds_no_block_stays_in_the_ring(void **state)
{
	struct capture *capture = open_capture();
	struct capture_counters counters;
	struct capture_block *block;
	uint64_t packets = 0;
	int taken;

	(void)state;
	send_datagrams(DATAGRAMS);
	/* Nobody takes a block until all was counted. */
	do {
		capture_counters(capture, &counters);
		sched_yield();
	} while (counters.received < DATAGRAMS);
	capture_stop(capture);
	while ((taken = capture_take(capture, CAPTURE_TIMEOUT_MS, &block)) >= 0) {
		if (!taken)
			continue;
		packets += block->packets;
		capture_give_back(capture, block);
	}
	capture_counters(capture, &counters);
	assert_int_equal(counters.dropped, 0);
	assert_int_equal(counters.lost, 0);
	assert_int_equal(packets, DATAGRAMS);
	capture_close(capture);
}

/* Whoever took them does not come back: the stop waits for some seconds at most, and what
 * found no block by then is counted. */
static void test_a_stop_does_not_wait_for_blocks_that_nobody_gives_back(void **state)
{
	struct capture *capture = open_capture();
	struct capture_counters counters;
	struct capture_block *block;
	uint64_t packets = 0;
	int taken;

	(void)state;
	send_datagrams(DATAGRAMS);
	capture_stop(capture);
	alarm(FOREVER_SECONDS);
	while ((taken = capture_take(capture, CAPTURE_TIMEOUT_MS, &block)) >= 0) {
		if (!taken)
			continue;
		packets += block->packets;
		free(block);
	}
	alarm(0);
	assert_true(packets > 0 && packets < DATAGRAMS);
	capture_counters(capture, &counters);
	assert_int_equal(counters.dropped, 0);
	assert_int_equal(packets + counters.lost, DATAGRAMS);
	capture_close(capture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_finds_no_block_stays_in_the_ring),
		cmocka_unit_test(test_a_stop_does_not_wait_for_blocks_that_nobody_gives_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
