/* What the kernel says of sockets that close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/sockdiag.h"
#include "tests/unit/sockets.h"

static struct error error;

static int set_up(void **state)
{
	(void)state;
	error = (struct error)ERROR_NONE;
	return 0;
}

static struct sockdiag_close_listener *need_closes(void)
{
	struct sockdiag_close_listener *listener = NULL;

	if (sockdiag_listen(&listener, &error)) {
		print_message("%s\n", error.message);
		skip();
	}
	return listener;
}

/* The close of this cookie, among those of whoever else closes meanwhile. */
static void await_close(struct sockdiag_close_listener *listener, uint64_t cookie,
			struct snap_closed *out)
{
	struct pollfd ready = {.fd = sockdiag_listen_fd(listener), .events = POLLIN};
	int result;

	for (;;) {
		result = sockdiag_next_close(listener, out, &error);
		assert_true(result >= 0 || result == ERROR_LIMIT);
		if (result == 1 && out->cookie == cookie)
			return;
		/* A sanitizer's run on a busy machine is slow, but not this slow. */
		if (result == 0)
			assert_int_equal(poll(&ready, 1, 20000), 1);
	}
}

static void send_all(int fd, const char *bytes, size_t length)
{
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
}

static void receive_all(int fd, char *bytes, size_t length)
{
	assert_int_equal(recv(fd, bytes, length, MSG_WAITALL), length);
}

static void test_a_close_tells_the_kernel_s_byte_counts(void **state)
{
	struct sockdiag_close_listener *closes = need_closes();
	int listener = sockets_bound(AF_INET, SOCK_STREAM, "127.0.0.1");
	int client = sockets_connected(AF_INET, SOCK_STREAM, "127.0.0.1", LOCAL(listener).port);
	int server = accept(listener, NULL, NULL);
	struct endpoint local = LOCAL(server), remote = REMOTE(server);
	uint64_t cookie = sockets_cookie(server), connecting = sockets_cookie(client);
	int64_t before_ns = quantity_now_ns(CLOCK_REALTIME);
	struct snap_closed closed;
	char bytes[700] = {0};
	bool sent_again; /* TCP does so when a processor is away for long */

	(void)state;
	send_all(client, bytes, 300);
	receive_all(server, bytes, 300);
	send_all(server, bytes, 700);
	receive_all(client, bytes, 700);
	close(client);
	assert_int_equal(read(server, bytes, 1), 0);
	close(server);
	/* Into TIME_WAIT, which the socket itself does not live to see. */
	await_close(closes, connecting, &closed);
	assert_int_equal(closed.bytes_received, 700 + 1);
	assert_int_equal(closed.bytes_sent, 300 + closed.bytes_retransmitted);
	assert_int_equal(closed.bytes_acked, 1 + 300 + 1); /* SYN and FIN */
	sent_again = closed.bytes_retransmitted > 0;
	await_close(closes, cookie, &closed);
	assert_int_equal(closed.table, SNAP_TCP);
	assert_true(endpoint_equal(&closed.local.address, &local.address));
	assert_int_equal(closed.local.port, local.port);
	assert_true(endpoint_equal(&closed.remote.address, &remote.address));
	assert_int_equal(closed.remote.port, remote.port);
	assert_int_equal(closed.inode, 0);
	assert_int_equal(closed.bytes_received, 300 + 1); /* the FIN counts */
	assert_int_equal(closed.bytes_sent, 700 + closed.bytes_retransmitted);
	assert_int_equal(closed.bytes_acked, 700 + 1);
	assert_true(closed.bytes_retransmitted % 700 == 0);
	assert_true(closed.data_segments_in == 1 || sent_again);
	assert_int_equal(closed.data_segments_out, 1 + closed.bytes_retransmitted / 700);
	assert_true(closed.segments_in >= 3 && closed.segments_out >= 2);
	assert_true(closed.closed_ns >= before_ns &&
		    closed.closed_ns <= quantity_now_ns(CLOCK_REALTIME));
	close(listener);
	sockdiag_listen_close(closes);
}

static void test_closes_of_each_table(void **state)
{
	static const struct {
		int family, type;
		const char *address;
		enum snap_table table;
	} cases[] = {
		{AF_INET, SOCK_STREAM, "127.0.0.1", SNAP_TCP},
		{AF_INET6, SOCK_STREAM, "::1", SNAP_TCP6},
		{AF_INET, SOCK_DGRAM, "127.0.0.1", SNAP_UDP},
		{AF_INET6, SOCK_DGRAM, "::1", SNAP_UDP6},
		{AF_INET6, SOCK_DGRAM, "::ffff:127.0.0.1", SNAP_UDP6},
	};
	struct sockdiag_close_listener *closes = need_closes();
	struct snap_closed closed;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = sockets_bound(cases[i].family, cases[i].type, cases[i].address);
		struct endpoint local = LOCAL(fd);
		uint64_t cookie = sockets_cookie(fd);

		close(fd);
		await_close(closes, cookie, &closed);
		assert_int_equal(closed.table, cases[i].table);
		assert_true(endpoint_equal(&closed.local.address, &local.address));
		assert_int_equal(closed.local.port, local.port);
	}
	sockdiag_listen_close(closes);
}

static void test_no_close_is_0_and_at_once(void **state)
{
	struct sockdiag_close_listener *closes = need_closes();
	struct snap_closed closed;
	int fd = sockets_bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
	uint64_t cookie = sockets_cookie(fd);

	(void)state;
	close(fd);
	await_close(closes, cookie, &closed);
	while (sockdiag_next_close(closes, &closed, &error) == 1)
		;
	assert_int_equal(sockdiag_next_close(closes, &closed, &error), 0);
	sockdiag_listen_close(closes);
}

static void resize(int fd, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static void test_lost_closes_are_told_and_the_listener_goes_on(void **state)
{
	struct sockdiag_close_listener *closes = need_closes();
	int fd, result, last = 0, limits = 0;
	struct snap_closed closed;
	uint64_t cookie;

	(void)state;
	resize(sockdiag_listen_fd(closes), 1);
	/* Destruction is told from a work queue, so there is no number of closes
	 * after which the buffer must have overflowed: until it has. */
	for (int i = 0; i < 100000 && !limits; i++) {
		struct pollfd ready = {.fd = sockdiag_listen_fd(closes)};

		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_true(fd >= 0);
		close(fd);
		limits = poll(&ready, 1, 0) == 1 && ready.revents & POLLERR;
	}
	assert_int_equal(limits, 1);
	resize(sockdiag_listen_fd(closes), 8 << 20);
	for (limits = 0; (result = sockdiag_next_close(closes, &closed, &error)) != 0;) {
		assert_true(result == 1 || result == ERROR_LIMIT);
		limits += result == ERROR_LIMIT;
		last = result;
	}
	assert_true(limits >= 2);
	assert_int_equal(last, ERROR_LIMIT);
	assert_int_equal(error.code, ERROR_LIMIT);
	fd = sockets_bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
	cookie = sockets_cookie(fd);
	close(fd);
	await_close(closes, cookie, &closed);
	sockdiag_listen_close(closes);
}

int main(void)
{
#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, NULL)
	const struct CMUnitTest tests[] = {
		FACT(test_a_close_tells_the_kernel_s_byte_counts),
		FACT(test_closes_of_each_table),
		FACT(test_no_close_is_0_and_at_once),
		FACT(test_lost_closes_are_told_and_the_listener_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
