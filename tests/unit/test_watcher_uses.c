/* test_watcher_uses.c - which uses of streams are told, and what is said to be missing. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/unit/played.h"

/* ---------------------------------------------------------------- streams -- */

static void test_a_connect_is_told_when_its_port_is_known(void **state)
{
	struct played_world *world = *state;
	const struct snap_use *use;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	assert_int_equal(world->count, 0);
	state_at(world, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	expect_told(world, 1, SNAP_CONNECT, CLIENT, T0, 0);
	use = &told_last(world)->use;
	assert_int_equal(use->local.port, 40000);
	assert_int_equal(use->remote.port, 443);
	assert_int_equal(use->protocol, IPPROTO_TCP);
	assert_int_equal(use->netns, 4);
	assert_int_equal(use->opened_ns, T0 + REAL);
	assert_int_equal(told_last(world)->user.id, CLIENT);
	expect_whole(world);
}

static void test_a_connect_that_fails_is_told_too(void **state)
{
	state_at(*state, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(*state, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_CLOSE);
	expect_told(*state, 1, SNAP_CONNECT, CLIENT, T0, 0);
}

static void test_the_same_user_is_told_once(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	for (int i = 0; i < 100; i++) {
		send_at(world, T0 + (2 + i) * MS, CLIENT, 1, 5);
		receive_at(world, T0 + (2 + i) * MS, CLIENT, 1, 5);
	}
	assert_int_equal(world->count, 1);
	assert_int_equal(world->asked, 1);
}

static void test_an_accepted_one_is_its_first_users(void **state)
{
	struct played_world *world = *state;

	accept_at(world, T0, 2);
	assert_int_equal(world->count, 0);
	receive_at(world, T0 + MS, SERVER, 2, 9);
	expect_told(world, 1, SNAP_RECEIVE, SERVER, T0 + MS, 0);
	assert_int_equal(told_last(world)->use.local.port, 443);
	assert_int_equal(told_last(world)->use.opened_ns, T0 + REAL);
}

static void test_a_child_that_takes_over_is_told_with_the_last_use_before(void **state)
{
	struct played_world *world = *state;

	accept_at(world, T0, 2);
	receive_at(world, T0 + MS, SERVER, 2, 9);
	send_at(world, T0 + 2 * MS, SERVER, 2, 9);
	receive_at(world, T0 + 5 * MS, CHILD, 2, 9);
	expect_told(world, 2, SNAP_RECEIVE, CHILD, T0 + 5 * MS, T0 + 2 * MS);
	assert_int_equal(told_last(world)->use.opened_ns, T0 + REAL);
	send_at(world, T0 + 6 * MS, SERVER, 2, 9);
	expect_told(world, 3, SNAP_SEND, SERVER, T0 + 6 * MS, T0 + 5 * MS);
}

static void test_a_forked_server_whose_parent_never_acts(void **state)
{
	accept_at(*state, T0, 2);
	receive_at(*state, T0 + MS, CHILD, 2, 9);
	expect_told(*state, 1, SNAP_RECEIVE, CHILD, T0 + MS, 0);
	state_at(*state, T0 + 2 * MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	assert_int_equal(((struct played_world *)*state)->count, 1);
}

static void test_a_child_that_only_inherits_is_never_told(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	send_at(world, T0 + 2 * MS, CLIENT, 1, 5);
	/* It has the last descriptor. */
	state_at(world, T0 + 9 * MS, CHILD, 1, SNAP_CLOSE_WAIT, SNAP_LAST_ACK);
	destroy_at(world, T0 + 10 * MS, 1);
	assert_int_equal(world->count, 1);
	assert_int_equal(watcher_uses_sockets(world->uses), 0);
}

static void test_what_failed_or_was_empty_is_no_act(void **state)
{
	struct played_world *world = *state;

	accept_at(world, T0, 2);
	receive_at(world, T0 + MS, SERVER, 2, -11);
	send_at(world, T0 + MS, SERVER, 2, -32);
	send_at(world, T0 + MS, SERVER, 2, 0);
	assert_int_equal(world->count, 0);
	receive_at(world, T0 + 2 * MS, SERVER, 2, 0); /* the end of the stream */
	expect_told(world, 1, SNAP_RECEIVE, SERVER, T0 + 2 * MS, 0);
}

static void test_who_closes_what_nobody_used_is_told(void **state)
{
	struct played_world *world = *state;

	accept_at(world, T0, 2);
	state_at(world, T0 + MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	expect_told(world, 1, SNAP_SHUT, SERVER, T0 + MS, 0);
	/* And is no user by that. */
	receive_at(world, T0 + 2 * MS, CHILD, 2, 3);
	expect_told(world, 2, SNAP_RECEIVE, CHILD, T0 + 2 * MS, 0);
}

static void test_only_what_a_task_does_by_closing_is_a_close(void **state)
{
	struct played_world *world = *state;

	accept_at(world, T0, 2);
	state_at(world, T0 + MS, 0, 2, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	state_at(world, T0 + MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_CLOSE_WAIT);
	state_at(world, T0 + MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_CLOSE);
	state_at(world, T0 + MS, SERVER, 2, SNAP_FIN_WAIT1, SNAP_FIN_WAIT2);
	assert_int_equal(world->count, 0);
	state_at(world, T0 + MS, SERVER, 2, SNAP_CLOSE_WAIT, SNAP_LAST_ACK);
	expect_told(world, 1, SNAP_SHUT, SERVER, T0 + MS, 0);
}

static void test_a_pid_that_is_another_process_is_another_user(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	world->again = 1000;
	world->epoch++;
	send_at(world, T0 + 2 * MS, CLIENT, 1, 5);
	expect_told(world, 2, SNAP_SEND, CLIENT, T0 + 2 * MS, T0);
	assert_int_equal(told_last(world)->user.id, 1000 + CLIENT);
}

static void test_another_epoch_alone_changes_nothing(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	world->epoch++;
	send_at(world, T0 + 2 * MS, CLIENT, 1, 5);
	send_at(world, T0 + 3 * MS, CLIENT, 1, 5);
	assert_int_equal(world->count, 1);
	assert_int_equal(world->asked, 2);
}

static void test_an_address_used_again_without_an_end_is_a_new_socket(void **state)
{
	struct played_world *world = *state;

	accept_at(world, T0, 2);
	receive_at(world, T0 + MS, SERVER, 2, 9);
	accept_at(world, T0 + 5 * MS, 2);
	receive_at(world, T0 + 6 * MS, SERVER, 2, 9);
	expect_told(world, 2, SNAP_RECEIVE, SERVER, T0 + 6 * MS, 0);
	assert_int_equal(told_last(world)->use.opened_ns, T0 + 5 * MS + REAL);
	state_at(world, T0 + 7 * MS, CLIENT, 2, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, T0 + 8 * MS, 0, 2, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	expect_told(world, 3, SNAP_CONNECT, CLIENT, T0 + 7 * MS, 0);
	assert_int_equal(watcher_uses_sockets(world->uses), 1);
}

static void test_a_listeners_child_is_new_wherever_it_is(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 2);
	state_at(world, T0 + 5 * MS, 0, 2, SNAP_LISTEN, SNAP_SYN_RECV);
	accept_at(world, T0 + 6 * MS, 2);
	receive_at(world, T0 + 7 * MS, SERVER, 2, 9);
	expect_told(world, 2, SNAP_RECEIVE, SERVER, T0 + 7 * MS, 0);
	assert_int_equal(told_last(world)->use.opened_ns, T0 + 5 * MS + REAL);
}

static void test_when_both_ends_call_it_stays_one_socket(void **state)
{
	struct played_world *world = *state;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_SYN_RECV);
	state_at(world, T0 + 2 * MS, 0, 1, SNAP_SYN_RECV, SNAP_ESTABLISHED);
	send_at(world, T0 + 3 * MS, CLIENT, 1, 5);
	expect_told(world, 1, SNAP_CONNECT, CLIENT, T0, 0);
	assert_int_equal(told_last(world)->use.opened_ns, T0 + REAL);
}

static void test_a_late_act_does_not_turn_the_clock_back(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	send_at(world, T0 + 9 * MS, CLIENT, 1, 5);
	send_at(world, T0 + 4 * MS, CLIENT, 1, 5);
	send_at(world, T0 + 10 * MS, CHILD, 1, 5);
	expect_told(world, 2, SNAP_SEND, CHILD, T0 + 10 * MS, T0 + 9 * MS);
}

static void test_what_was_open_before_is_not_followed(void **state)
{
	struct played_world *world = *state;

	send_at(world, T0, CLIENT, 1, 5);
	state_at(world, T0, CLIENT, 1, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	destroy_at(world, T0, 1);
	assert_int_equal(world->count, 0);
	expect_whole(world);
}

static void test_a_socket_is_where_its_address_is(void **state)
{
	struct played_world *world = *state;
	struct tracepoint_event event = played_event(TRACEPOINT_STATE, T0, 0, 2);

	event.u.socket.old_state = SNAP_SYN_RECV;
	event.u.socket.new_state = SNAP_ESTABLISHED;
	event.u.socket.local = played_endpoint("10.0.0.99", 443);
	event.u.socket.remote = played_endpoint("10.0.0.2", 40000);
	watcher_uses_feed(world->uses, &event);
	send_at(world, T0 + MS, SERVER, 2, 5);
	assert_int_equal(told_last(world)->use.netns, 0);
	assert_int_equal(world->count, 1);
}

static void test_kernel_threads_are_not_told(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, KERNEL, 1);
	send_at(world, T0 + 2 * MS, KERNEL, 1, 5);
	ping_at(world, T0 + 2 * MS, KERNEL);
	assert_int_equal(world->count, 0);
	expect_whole(world);
}

static void test_sctp_is_not_followed(void **state)
{
	struct played_world *world = *state;
	struct tracepoint_event event = played_event(TRACEPOINT_STATE, T0, CLIENT, 1);

	event.u.socket.protocol = IPPROTO_SCTP;
	event.u.socket.new_state = SNAP_SYN_SENT;
	watcher_uses_feed(world->uses, &event);
	assert_int_equal(watcher_uses_sockets(world->uses), 0);
}

static void test_an_old_kernel_tells_the_tuple_with_what_is_received(void **state)
{
	struct played_world *world = *state;
	struct tracepoint_event event = played_event(TRACEPOINT_RECEIVE, T0 + MS, SERVER, 2);

	accept_at(world, T0, 2);
	event.u.socket.local = played_endpoint("10.0.0.1", 443);
	event.u.socket.remote = played_endpoint("10.0.0.2", 40000);
	event.u.socket.cookie = 77;
	watcher_uses_feed(world->uses, &event);
	expect_told(world, 1, SNAP_RECEIVE, SERVER, T0 + MS, 0);
	assert_int_equal(told_last(world)->use.cookie, 77);
}

/* ----------------------------------------------------------------- limits -- */

static void test_too_many_turns_are_told_no_more(void **state)
{
	struct played_world *world = *state;
	int64_t end_ns = T0 + SNAP_TURNS_MAX * MS;

	accept_at(world, T0, 2);
	for (int i = 0; i < 2 * SNAP_TURNS_MAX; i++)
		send_at(world, T0 + (1 + i) * MS, i % 2 ? CHILD : SERVER, 2, 5);
	expect_told(world, SNAP_TURNS_MAX, SNAP_SEVERAL, CHILD, end_ns, end_ns - MS);
	expect_whole(world);
}

static void test_two_users_before_the_tuple_is_known_are_too_many(void **state)
{
	struct played_world *world = *state;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	send_at(world, T0 + MS, CHILD, 1, 5); /* with the SYN */
	expect_missing(world, WATCHER_UNTOLD_SEVERAL, T0 + MS);
	state_at(world, T0 + 2 * MS, 0, 1, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	send_at(world, T0 + 3 * MS, CHILD, 1, 5);
	expect_told(world, 2, SNAP_SEND, CHILD, T0 + 3 * MS, 0);
}

static void test_a_full_table_follows_no_more_and_says_so(void **state)
{
	struct played_world *world = *state;

	for (uint64_t i = 0; i < WATCHER_USES_SOCKETS; i++)
		accept_at(world, T0, 2 + 2 * i);
	expect_whole(world);
	accept_at(world, T0 + MS, 1000002);
	accept_at(world, T0 + 2 * MS, 1000004);
	expect_missing(world, WATCHER_UNTOLD_SHED, T0 + MS);
	accept_at(world, T0 + 3 * MS, 1000006);
	expect_missing(world, WATCHER_UNTOLD_SHED, T0 + 3 * MS);
	send_at(world, T0 + 4 * MS, SERVER, 1000006, 5);
	assert_int_equal(world->count, 0);
	for (uint64_t i = 0; i < WATCHER_USES_SOCKETS; i++)
		destroy_at(world, T0 + 5 * MS, 2 + 2 * i);
	assert_int_equal(watcher_uses_sockets(world->uses), 0);
	accept_at(world, T0 + 6 * MS, 1000008);
	send_at(world, T0 + 7 * MS, SERVER, 1000008, 5);
	assert_int_equal(world->count, 1);
}

/* A second, later stretch of a full table is missing too. */
static void test_a_full_table_is_missing_as_long_as_it_is_full(void **state)
{
	struct played_world *world = *state;
	int64_t since_ns;

	for (uint64_t i = 0; i < WATCHER_USES_SOCKETS; i++)
		accept_at(world, T0, 2 + 2 * i);
	accept_at(world, T0 + MS, 1000002);
	assert_int_not_equal(
		watcher_uses_take_missing(world->uses, TRACEPOINT_TRANSFERS, &since_ns), 0);
	accept_at(world, T0 + SECOND, 1000006);
	send_at(world, T0 + SECOND + MS, SERVER, 1000006, 5);
	assert_int_equal(world->count, 0);
	assert_int_not_equal(
		watcher_uses_take_missing(world->uses, TRACEPOINT_TRANSFERS, &since_ns), 0);
}

/* Fast Open: what was read before the handshake was over went through the socket too. */
static void test_what_was_read_before_the_handshake_counts(void **state)
{
	struct played_world *world = *state;

	state_at(world, T0, 0, 2, SNAP_LISTEN, SNAP_SYN_RECV);
	receive_at(world, T0 + MS, SERVER, 2, 100);
	state_at(world, T0 + 2 * MS, 0, 2, SNAP_SYN_RECV, SNAP_ESTABLISHED);
	receive_at(world, T0 + 3 * MS, CHILD, 2, 50);
	assert_int_equal(world->count, 2);
	assert_int_equal(world->told[1].use.received_bytes, 100);
}

/* A socket of a tuple that a kernel thread uses now is not its former user's any more. */
static void test_what_a_kernel_thread_does_ends_a_turn(void **state)
{
	struct played_world *world = *state;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	send_at(world, T0 + 2 * MS, KERNEL, 1, 500);
	send_at(world, T0 + 3 * MS, CLIENT, 1, 5);
	assert_true(world->count > 1); /* the 500 bytes are not CLIENT's */
}

/* Two calls that overlap: the one that ends first did not send first. */
static void test_sockets_are_found_whatever_others_come_and_go(void **state)
{
	struct played_world *world = *state;

	for (uint64_t i = 0; i < 20000; i++) {
		accept_at(world, T0, 2 + 2 * i);
		if (i % 3)
			destroy_at(world, T0, 2 + 2 * (i * 7919 % i));
	}
	for (uint64_t i = 0; i < 20000; i++) {
		size_t before = world->count;

		accept_at(world, T0, 1000000 + 2 * i);
		send_at(world, T0 + MS, SERVER, 1000000 + 2 * i, 5);
		assert_int_equal(world->count, before + 1);
	}
}

static void test_a_stranger_is_missing(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	send_at(world, T0 + 5 * MS, STRANGER, 1, 5);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 5 * MS);
}

static void test_after_a_gap_each_next_use_is_told_anew(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	udp_at(world, T0 + 2 * MS, CLIENT, 5000, 53);
	send_at(world, T0 + 5 * MS, STRANGER, 1, 5);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 5 * MS);
	send_at(world, T0 + 6 * MS, CLIENT, 1, 5);
	expect_told(world, 3, SNAP_SEND, CLIENT, T0 + 6 * MS, 0);
	send_at(world, T0 + 7 * MS, CLIENT, 1, 5);
	udp_at(world, T0 + 8 * MS, CLIENT, 5000, 53);
	expect_told(world, 3, SNAP_SEND, CLIENT, T0 + 6 * MS,
		    0); /* of datagrams nothing was missing */
	udp_at(world, T0 + 9 * MS, STRANGER, 5000, 53);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 9 * MS);
	udp_at(world, T0 + 10 * MS, CLIENT, 5000, 53);
	expect_told(world, 4, SNAP_ROUTE, CLIENT, T0 + 10 * MS, 0);
	send_at(world, T0 + 11 * MS, CLIENT, 1, 5);
	assert_int_equal(world->count, 4);
}

/* What a new file begins with: who has each stream, and the ways that a
 * connected socket may still use without looking again. */
static void test_a_restating_tells_the_living_once_more(void **state)
{
	struct played_world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	accept_at(world, T0 + MS, 2);
	udp_at(world, T0 + 2 * MS, CLIENT, 5000, 53);
	for (int i = 0; i < 3; i++)
		udp_at(world, T0 + 3 * MS + i, SERVER, 53, 5000);
	connect_at(world, T0 + 4 * MS, CLIENT, 3);
	destroy_at(world, T0 + 5 * MS, 3);
	assert_int_equal(world->count, 4);
	watcher_uses_restate(world->uses);
	assert_int_equal(world->count, 8); /* also what has ended, or may be told later */
	assert_true(world->told[(world->count - 1) % PLAYED_TOLD].is_restated);
	send_at(world, T0 + 3000 * MS, CLIENT, 1, 5);
	watcher_uses_restate(world->uses);
	assert_int_equal(world->count, 10);
	udp_at(world, T0 + 3001 * MS, SERVER, 53, 5000); /* told at its next look */
	expect_told(world, 11, SNAP_ROUTE, SERVER, T0 + 3001 * MS, 0);
	send_at(world, T0 + 3002 * MS, CLIENT, 1, 5);
	assert_int_equal(world->count, 11);
	send_at(world, T0 + 3003 * MS, SERVER, 1, 5); /* the turn before is not forgotten */
	expect_told(world, 12, SNAP_SEND, SERVER, T0 + 3003 * MS, T0 + 3002 * MS);
}

static void test_what_was_lost_came_after_the_last_event_of_its_processor(void **state)
{
	struct played_world *world = *state;
	struct tracepoint_event event = {.kind = TRACEPOINT_EXIT, .time_ns = T0, .cpu = 3};

	watcher_uses_feed(world->uses, &event);
	event.cpu = 40;
	event.time_ns = T0 + 5 * MS;
	watcher_uses_feed(world->uses, &event);
	lost_at(world, T0 + 9 * MS, 3);
	expect_missing(world, WATCHER_UNTOLD_LOST, T0);
	lost_at(world, T0 + 10 * MS, 40);
	expect_missing(world, WATCHER_UNTOLD_LOST, T0 + 5 * MS);
	/* Of this one there was none: since the begin. */
	lost_at(world, T0 + 11 * MS, 39);
	expect_missing(world, WATCHER_UNTOLD_LOST, T0);
}

static void test_what_is_missing_is_told_from_its_first_moment(void **state)
{
	struct played_world *world = *state;

	watcher_uses_miss(world->uses, TRACEPOINT_TRANSFERS, WATCHER_UNTOLD_SHED, T0 + MS);
	watcher_uses_miss(world->uses, TRACEPOINT_TRANSFERS, WATCHER_UNTOLD_FRAMES, T0);
	watcher_uses_miss(world->uses, TRACEPOINT_TRANSFERS, WATCHER_UNTOLD_SHED, T0 + 2 * MS);
	expect_missing(world, WATCHER_UNTOLD_SHED | WATCHER_UNTOLD_FRAMES, T0);
	expect_whole(world);
}

static void test_too_many_of_a_group_are_hot(void **state)
{
	struct played_world *world = *state;

	for (int i = 0; i < WATCHER_USES_HOT; i++)
		send_at(world, T0, CLIENT, 1, 5);
	assert_false(watcher_uses_is_hot(world->uses, TRACEPOINT_TRANSFERS));
	send_at(world, T0, CLIENT, 1, 5);
	assert_false(watcher_uses_is_hot(world->uses, TRACEPOINT_ROUTES));
	assert_true(watcher_uses_is_hot(world->uses, TRACEPOINT_TRANSFERS));
	assert_false(watcher_uses_is_hot(world->uses, TRACEPOINT_TRANSFERS));
	for (int i = 0; i <= WATCHER_USES_HOT; i++)
		udp_at(world, T0 + i * WATCHER_USES_WINDOW_NS / WATCHER_USES_HOT, CLIENT, 5, 6);
	assert_false(watcher_uses_is_hot(world->uses, TRACEPOINT_ROUTES));
	for (int i = 0; i <= WATCHER_USES_HOT; i++)
		udp_at(world, T0 + SECOND, CLIENT, 5, 6);
	assert_true(watcher_uses_is_hot(world->uses, TRACEPOINT_ROUTES));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, played_set_up, played_tear_down)
#define OLD_KERNEL(function)                                                                       \
	cmocka_unit_test_setup_teardown(function, played_set_up_old_kernel, played_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_connect_is_told_when_its_port_is_known),
		TEST(test_a_connect_that_fails_is_told_too),
		TEST(test_the_same_user_is_told_once),
		TEST(test_an_accepted_one_is_its_first_users),
		TEST(test_a_child_that_takes_over_is_told_with_the_last_use_before),
		TEST(test_a_forked_server_whose_parent_never_acts),
		TEST(test_a_child_that_only_inherits_is_never_told),
		TEST(test_what_failed_or_was_empty_is_no_act),
		TEST(test_who_closes_what_nobody_used_is_told),
		TEST(test_only_what_a_task_does_by_closing_is_a_close),
		TEST(test_a_pid_that_is_another_process_is_another_user),
		TEST(test_another_epoch_alone_changes_nothing),
		TEST(test_an_address_used_again_without_an_end_is_a_new_socket),
		TEST(test_a_listeners_child_is_new_wherever_it_is),
		TEST(test_when_both_ends_call_it_stays_one_socket),
		TEST(test_a_late_act_does_not_turn_the_clock_back),
		TEST(test_what_was_open_before_is_not_followed),
		TEST(test_a_socket_is_where_its_address_is),
		TEST(test_kernel_threads_are_not_told),
		TEST(test_sctp_is_not_followed),
		OLD_KERNEL(test_an_old_kernel_tells_the_tuple_with_what_is_received),
		TEST(test_too_many_turns_are_told_no_more),
		TEST(test_two_users_before_the_tuple_is_known_are_too_many),
		TEST(test_a_full_table_follows_no_more_and_says_so),
		TEST(test_a_full_table_is_missing_as_long_as_it_is_full),
		TEST(test_what_was_read_before_the_handshake_counts),
		TEST(test_what_a_kernel_thread_does_ends_a_turn),
		TEST(test_sockets_are_found_whatever_others_come_and_go),
		TEST(test_a_stranger_is_missing),
		TEST(test_after_a_gap_each_next_use_is_told_anew),
		TEST(test_a_restating_tells_the_living_once_more),
		TEST(test_what_was_lost_came_after_the_last_event_of_its_processor),
		TEST(test_what_is_missing_is_told_from_its_first_moment),
		TEST(test_too_many_of_a_group_are_hot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
