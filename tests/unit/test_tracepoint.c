/* The kernel's account of real sockets and processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/format/snapfile.h"
#include "tests/unit/sockets.h"
#include "tests/unit/traced.h"

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && endpoint_equal(&a->address, &b->address);
}

/* The change to a state of the socket with these ends. */
static const struct tracepoint_event *find_state(int new_state, struct endpoint local,
						 struct endpoint remote)
{
	for (size_t i = 0; i < traced_count; i++) {
		const struct tracepoint_event *event = &traced_events[i];

		if (event->kind == TRACEPOINT_STATE && event->u.socket.new_state == new_state &&
		    same_endpoint(&event->u.socket.local, &local) &&
		    same_endpoint(&event->u.socket.remote, &remote))
			return event;
	}
	fail_msg("no change to state %d was told", new_state);
	return NULL;
}

/* --------------------------------------------------------------- TCP ---- */

/* One of a process's sends or receives on a socket, with that length. */
static void assert_transfer(enum tracepoint_kind kind, pid_t pid, uint64_t sk, int64_t length)
{
	const struct tracepoint_event *event;

	if (!tracepoint_has_lengths(traced_source) && kind == TRACEPOINT_SEND)
		return;
	for (size_t at = 0; (event = traced_find(kind, pid, &at)); at++) {
		assert_true(event->in_task);
		if (event->sk == sk &&
		    (!tracepoint_has_lengths(traced_source) || event->u.length == length))
			return;
	}
	fail_msg("no transfer of kind %d and %" PRId64 " bytes was told of %d", kind, length,
		 (int)pid);
}

/* The sockets' own last events come in soft interrupts, which need not have run
 * when the processes are gone. */
static void assert_destroyed(uint64_t sk)
{
	for (int64_t end_ns = quantity_now_ns(CLOCK_MONOTONIC) + 10000000000;
	     quantity_now_ns(CLOCK_MONOTONIC) < end_ns; traced_collect()) {
		for (size_t i = 0; i < traced_count; i++) {
			if (traced_events[i].kind == TRACEPOINT_DESTROY &&
			    traced_events[i].sk == sk)
				return;
		}
	}
	fail_msg("no end of a socket was told");
}

static void check_tcp(int family, const char *address)
{
	const struct tracepoint_event *opened, *client, *server;
	struct traced_conversation said;
	uint64_t sk, server_sk;
	size_t at = 0;

	traced_start();
	said = traced_converse(family, address);
	opened = traced_need(TRACEPOINT_STATE, said.client, &at);
	assert_int_equal(opened->u.socket.new_state, SNAP_SYN_SENT);
	assert_int_equal(opened->u.socket.old_state, SNAP_CLOSE);
	assert_int_equal(opened->u.socket.family, family);
	assert_int_equal(opened->u.socket.protocol, IPPROTO_TCP);
	assert_true(opened->in_task);
	assert_int_equal(opened->tid, said.client);
	assert_true(same_endpoint(&opened->u.socket.remote, &said.server_end));
	sk = opened->sk;
	assert_true(sk != 0);

	client = find_state(SNAP_ESTABLISHED, said.client_end, said.server_end);
	assert_true(client->sk == sk);
	assert_int_equal(client->u.socket.old_state, SNAP_SYN_SENT);
	server = find_state(SNAP_ESTABLISHED, said.server_end, said.client_end);
	server_sk = server->sk;
	assert_true(server_sk != sk && server_sk != 0);
	assert_false(server->in_task); /* the packet came in a soft interrupt */

	assert_transfer(TRACEPOINT_SEND, said.client, sk, 5);
	assert_transfer(TRACEPOINT_RECEIVE, said.server, server_sk, 5);
	assert_transfer(TRACEPOINT_SEND, said.server, server_sk, 7);
	assert_transfer(TRACEPOINT_RECEIVE, said.client, sk, 7);
	assert_destroyed(sk);
	assert_destroyed(server_sk);
}

static void test_tcp_over_ipv4(void **state)
{
	(void)state;
	check_tcp(AF_INET, "127.0.0.1");
}

static void test_tcp_over_ipv6(void **state)
{
	(void)state;
	check_tcp(AF_INET6, "::1");
}

static void test_tcp_over_mapped_ipv4(void **state)
{
	(void)state;
	check_tcp(AF_INET6, "::ffff:127.0.0.1");
}

/* ------------------------------------------------------------ routes ---- */

static int bound_child_socket(int family, const char *address)
{
	struct sockaddr_storage here;
	socklen_t length = sockets_fill(family, address, 0, &here);
	int fd = socket(family, SOCK_DGRAM, 0);

	traced_must(fd >= 0 && !bind(fd, (struct sockaddr *)&here, length));
	return fd;
}

/* A child sends a datagram, or only connects, to a socket of ours. */
static void check_udp(int family, const char *address, bool connects)
{
	int receiver = sockets_bound(family, SOCK_DGRAM, address), ends[2];
	struct endpoint there = LOCAL(receiver), here;
	const struct tracepoint_event *event;
	size_t at = 0;
	pid_t child;

	traced_start();
	assert_int_equal(pipe(ends), 0);
	child = traced_fork();
	if (child == 0) {
		struct sockaddr_storage to;
		socklen_t length = sockets_fill(family, address, there.port, &to);
		int fd = bound_child_socket(family, address);

		here = LOCAL(fd);
		traced_must(write(ends[1], &here, sizeof(here)) == sizeof(here));
		if (connects)
			traced_must(!connect(fd, (struct sockaddr *)&to, length));
		else
			traced_must(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, length) == 1);
		_exit(0);
	}
	traced_wait(child);
	assert_int_equal(read(ends[0], &here, sizeof(here)), sizeof(here));
	close(ends[0]);
	close(ends[1]);
	close(receiver);
	traced_collect();
	for (; (event = traced_need(TRACEPOINT_ROUTE, child, &at)); at++) {
		assert_true(event->in_task);
		assert_int_equal(event->u.socket.protocol, IPPROTO_UDP);
		if (event->u.socket.remote.port == there.port)
			break;
	}
	assert_int_equal(event->u.socket.family, family);
	assert_true(endpoint_equal(&event->u.socket.remote.address, &there.address));
	assert_int_equal(event->u.socket.local.port, here.port);
	assert_true(event->sk == 0);
}

static void test_a_datagram_sent_over_ipv4(void **state)
{
	(void)state;
	check_udp(AF_INET, "127.0.0.1", false);
}

static void test_a_datagram_socket_connected_over_ipv4(void **state)
{
	(void)state;
	check_udp(AF_INET, "127.0.0.1", true);
}

static void test_a_datagram_sent_over_ipv6(void **state)
{
	(void)state;
	check_udp(AF_INET6, "::1", false);
}

static void test_a_datagram_socket_connected_over_ipv6(void **state)
{
	(void)state;
	check_udp(AF_INET6, "::1", true);
}

/* --------------------------------------------------------- processes ---- */

static void test_a_child_is_told_before_what_it_does(void **state)
{
	struct traced_conversation said;
	size_t at, first;

	(void)state;
	traced_start();
	said = traced_converse(AF_INET, "127.0.0.1");
	at = traced_need_fork(said.client);
	assert_int_equal(traced_events[at].pid, getpid());
	assert_int_equal(traced_events[at].tid, getpid());
	for (first = 0; traced_events[first].pid != (uint32_t)said.client; first++)
		assert_true(first + 1 < traced_count);
	assert_true(at < first);
	traced_need(TRACEPOINT_EXIT, said.client, &first);
}

static void *nothing(void *context)
{
	return context;
}

static void test_a_thread_is_told_at_its_end_only(void **state)
{
	const struct tracepoint_event *first, *second;
	size_t forks = 0, at = 0;
	pid_t child;

	(void)state;
	traced_start();
	child = traced_fork();
	if (child == 0) {
		pthread_t thread;

		traced_must(!pthread_create(&thread, NULL, nothing, NULL) &&
			    !pthread_join(thread, NULL));
		_exit(0);
	}
	traced_wait(child);
	traced_collect();
	/* The thread is joined before the kernel tells of its end: they may come in either order.
	 */
	first = traced_need(TRACEPOINT_EXIT, child, &at);
	at++;
	second = traced_need(TRACEPOINT_EXIT, child, &at);
	assert_true((first->tid == first->pid) != (second->tid == second->pid));
	at++;
	assert_null(traced_find(TRACEPOINT_EXIT, child, &at));
	for (size_t i = 0; i < traced_count; i++)
		forks += traced_events[i].kind == TRACEPOINT_FORK &&
			 traced_events[i].pid == (uint32_t)child;
	assert_int_equal(forks, 0);
}

static void test_an_exec_tells_its_path_and_wakes(void **state)
{
	const struct tracepoint_event *event;
	struct pollfd ready;
	size_t at = 0;
	pid_t child;

	(void)state;
	traced_start();
	child = traced_fork();
	if (child == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	traced_wait(child);
	ready = (struct pollfd){.fd = tracepoint_fd(traced_source), .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	traced_collect();
	event = traced_need(TRACEPOINT_EXEC, child, &at);
	assert_string_equal(event->u.exec.path, "/bin/true");
	assert_int_equal(event->tid, child);
	assert_true(event->in_task);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, traced_set_up, traced_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tcp_over_ipv4),
		TEST(tcp_over_ipv6),
		TEST(tcp_over_mapped_ipv4),
		TEST(a_datagram_sent_over_ipv4),
		TEST(a_datagram_socket_connected_over_ipv4),
		TEST(a_datagram_sent_over_ipv6),
		TEST(a_datagram_socket_connected_over_ipv6),
		TEST(a_child_is_told_before_what_it_does),
		TEST(a_thread_is_told_at_its_end_only),
		TEST(an_exec_tells_its_path_and_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
