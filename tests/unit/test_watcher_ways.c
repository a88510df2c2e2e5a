/* test_watcher_ways.c - which uses of ways, and of datagram sockets, are told. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/played.h"

static void test_a_new_way_is_told_once(void **state)
{
	struct played_world *world = *state;

	udp_at(world, T0, CLIENT, 5000, 53);
	expect_told(world, 1, SNAP_ROUTE, CLIENT, T0, 0);
	assert_int_equal(told_last(world)->use.local.port, 5000);
	assert_int_equal(told_last(world)->use.remote.port, 53);
	assert_int_equal(told_last(world)->use.protocol, IPPROTO_UDP);
	assert_int_equal(told_last(world)->use.opened_ns, 0);
	udp_at(world, T0 + MS, CLIENT, 5000, 53);
	assert_int_equal(world->count, 1);
	udp_at(world, T0 + MS, CLIENT, 5000, 54);
	udp_at(world, T0 + MS, CLIENT, 5001, 53);
	route_to(world, T0 + MS, CLIENT, IPPROTO_UDP, 5000, "10.0.0.3", 53);
	assert_int_equal(world->count, 4);
}

static void test_another_process_on_a_way_is_told(void **state)
{
	struct played_world *world = *state;

	udp_at(world, T0, CLIENT, 5000, 53);
	udp_at(world, T0 + 3 * MS, CLIENT, 5000, 53);
	udp_at(world, T0 + 5 * MS, CHILD, 5000, 53);
	expect_told(world, 2, SNAP_ROUTE, CHILD, T0 + 5 * MS, T0 + 3 * MS);
}

static void test_a_silent_way_is_told_again(void **state)
{
	struct played_world *world = *state;

	udp_at(world, T0, CLIENT, 5000, 53);
	udp_at(world, T0 + WATCHER_USES_SILENT_NS, CLIENT, 5000, 53);
	assert_int_equal(world->count, 1);
	udp_at(world, T0 + 2 * WATCHER_USES_SILENT_NS + 1, CLIENT, 5000, 53);
	expect_told(world, 2, SNAP_ROUTE, CLIENT, T0 + 2 * WATCHER_USES_SILENT_NS + 1, 0);
}

static void test_choosing_an_address_is_no_use(void **state)
{
	struct played_world *world = *state;

	udp_at(world, T0, CLIENT, 0, 0);
	udp_at(world, T0, CLIENT, 0, 53);
	udp_at(world, T0, CLIENT, 5000, 0);
	route_to(world, T0, CLIENT, IPPROTO_TCP, 5000, "10.0.0.2", 53);
	assert_int_equal(world->count, 0);
	expect_whole(world);
}

static void test_the_longest_silent_way_is_forgotten(void **state)
{
	struct played_world *world = *state;
	size_t count = 3 * WATCHER_USES_WAYS;

	udp_at(world, T0, CLIENT, 1, 60000);
	for (unsigned i = 0; i < count; i++) {
		udp_at(world, T0 + i, CLIENT, (uint16_t)(i % 60000 + 1), (uint16_t)(i / 60000 + 1));
		udp_at(world, T0 + i, CLIENT, 1, 60000);
	}
	assert_int_equal(world->count, count + 1);
	udp_at(world, T0 + SECOND, CLIENT, 1, 1);
	assert_int_equal(world->count, count + 2);
}

static void test_pings_are_told_each_while_they_are_few(void **state)
{
	struct played_world *world = *state;

	for (int i = 0; i < WATCHER_USES_PORTLESS; i++)
		ping_at(world, T0 + i * MS, CLIENT);
	assert_int_equal(world->count, WATCHER_USES_PORTLESS);
	/* Beyond, the same process goes on, and that is known. */
	ping_at(world, T0 + 500 * MS, CLIENT);
	assert_int_equal(world->count, WATCHER_USES_PORTLESS);
	expect_whole(world);
	ping_at(world, T0 + 501 * MS, CHILD);
	ping_at(world, T0 + 502 * MS, CLIENT);
	assert_int_equal(world->count, WATCHER_USES_PORTLESS + 1);
	assert_int_equal(told_last(world)->use.act, SNAP_SEVERAL);
	expect_whole(world);
	ping_at(world, T0 + SECOND, CLIENT);
	assert_int_equal(world->count, WATCHER_USES_PORTLESS + 2);
	assert_int_equal(told_last(world)->use.act, SNAP_ROUTE);
}

static void test_of_a_ping_its_length_is_told(void **state)
{
	struct played_world *world = *state;
	struct tracepoint_event event = played_event(TRACEPOINT_SEND, T0 + MS, CLIENT, 1);

	event.protocol = IPPROTO_ICMP;
	event.u.length = 64;
	ping_at(world, T0, CLIENT);
	watcher_uses_feed(world->uses, &event);
	assert_int_equal(world->count, 2);
	assert_int_equal(told_last(world)->use.act, SNAP_SEND);
	assert_true(told_last(world)->use.sent_bytes == 64);
	assert_int_equal(told_last(world)->use.opened_ns, T0 + REAL);
	assert_int_equal(told_last(world)->use.at_ns, T0 + MS + REAL);
	assert_int_equal(told_last(world)->use.remote.address.bytes[15], 2);
}

static void datagram_at(struct played_world *world, int64_t time_ns, uint32_t pid,
			enum tracepoint_kind kind)
{
	struct tracepoint_event event = played_event(kind, time_ns, pid, 1);

	event.protocol = IPPROTO_UDP;
	event.u.length = 30;
	watcher_uses_feed(world->uses, &event);
}

static void test_a_second_user_of_a_datagram_socket_is_told(void **state)
{
	struct played_world *world = *state;

	udp_at(world, T0, CLIENT, 5, 6);
	datagram_at(world, T0 + MS, CLIENT, TRACEPOINT_SEND);
	datagram_at(world, T0 + 2 * MS, CLIENT, TRACEPOINT_RECEIVE);
	datagram_at(world, T0 + 3 * MS, KERNEL, TRACEPOINT_SEND);
	assert_int_equal(world->count, 1);
	datagram_at(world, T0 + 4 * MS, CHILD, TRACEPOINT_SEND);
	assert_int_equal(world->count, 3);
	assert_int_equal(told_last(world)->use.act, SNAP_SEND);
	assert_int_equal(told_last(world)->use.pid, CHILD);
	assert_int_equal(told_last(world)->use.protocol, IPPROTO_UDP);
	assert_int_equal(told_last(world)->use.local.port, 5);
	assert_int_equal(told_last(world)->use.previous_ns, T0 + 2 * MS + REAL);
	assert_true(endpoint_is_any(&told_last(world)->use.remote.address));
	watcher_uses_restate(world->uses);
	assert_true(told_last(world)->is_restated);
	assert_int_equal(told_last(world)->use.pid, CHILD);
	datagram_at(world, T0 + 5 * MS, STRANGER, TRACEPOINT_SEND);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 5 * MS);
}

static void test_the_look_up_of_one_with_the_same_pid_is_not_its_own(void **state)
{
	struct played_world *world = *state;

	udp_at(world, T0, CLIENT, 5, 6);
	udp_at(world, T0, CHILD, 7, 8);
	datagram_at(world, T0 + MS, CHILD, TRACEPOINT_SEND);
	world->again = 1000;
	world->epoch++;
	datagram_at(world, T0 + 2 * MS, CLIENT, TRACEPOINT_SEND);
	assert_int_equal(world->count, 4);
	assert_int_equal(told_last(world)->use.local.port, 7);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, played_set_up, played_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_new_way_is_told_once),
		TEST(test_another_process_on_a_way_is_told),
		TEST(test_a_silent_way_is_told_again),
		TEST(test_choosing_an_address_is_no_use),
		TEST(test_the_longest_silent_way_is_forgotten),
		TEST(test_pings_are_told_each_while_they_are_few),
		TEST(test_of_a_ping_its_length_is_told),
		TEST(test_a_second_user_of_a_datagram_socket_is_told),
		TEST(test_the_look_up_of_one_with_the_same_pid_is_not_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
