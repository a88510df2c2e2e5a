#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/watcher.h"
#include "snapshot/watcher_uses.h"

#define MS     INT64_C(1000000)
#define SECOND (1000 * MS)
#define T0     (1000 * SECOND)
#define REAL   INT64_C(1795290600000000000)
#define TOLD   128

enum { CLIENT = 10, SERVER, CHILD, KERNEL, STRANGER };

/* What the uses ask and tell: a pid is its own user, but for again. */
struct world {
	struct watcher_uses *uses;
	uint64_t epoch;
	uint64_t again; /* added to ids: every pid is another process */
	uint64_t asked;
	struct watcher_use told[TOLD];
	size_t count;
};

static enum watcher_known who(void *context, const struct tracepoint_event *event,
			      struct watcher_user *out)
{
	struct world *world = context;

	world->asked++;
	if (event->pid == STRANGER)
		return WATCHER_STRANGER;
	if (event->pid == KERNEL)
		return WATCHER_KERNEL;
	*out = (struct watcher_user){event->pid + world->again, 4, true};
	return WATCHER_KNOWN;
}

static uint64_t place(void *context, const struct watcher_user *user, const struct endpoint *local,
		      const struct endpoint *remote)
{
	(void)context;
	(void)remote;
	return local->address.bytes[15] == 99 ? 0 : user->netns;
}

static uint64_t epoch(void *context)
{
	return ((struct world *)context)->epoch;
}

static void tell(void *context, const struct watcher_use *use)
{
	struct world *world = context;

	world->told[world->count++ % TOLD] = *use;
}

static int begin(void **state, bool has_lengths)
{
	struct world *world = calloc(1, sizeof(*world));
	const struct watcher_uses_config config = {
		.has_lengths = has_lengths,
		.who = who,
		.place = place,
		.epoch = epoch,
		.tell = tell,
		.context = world,
	};

	if (!world)
		return -1;
	world->epoch = 1;
	world->uses = watcher_uses_new(&config);
	*state = world;
	if (!world->uses)
		return -1;
	watcher_uses_set_real(world->uses, REAL);
	return 0;
}

static int setup(void **state)
{
	return begin(state, true);
}

static int setup_old_kernel(void **state)
{
	return begin(state, false);
}

static int teardown(void **state)
{
	struct world *world = *state;

	watcher_uses_free(world->uses);
	free(world);
	return 0;
}

/* -------------------------------------------------------------- events -- */

static struct endpoint endpoint(const char *address, uint16_t port)
{
	struct endpoint result = {.port = port};

	assert_int_equal(endpoint_parse(address, &result.address), 0);
	return result;
}

static struct tracepoint_event socket_event(enum tracepoint_kind kind, int64_t time_ns,
					    uint32_t pid, uint64_t sk)
{
	struct tracepoint_event event = {.kind = kind,
					 .time_ns = time_ns,
					 .pid = pid,
					 .tid = pid + 100,
					 .in_task = true,
					 .sk = sk};

	event.u.socket.family = AF_INET;
	event.u.socket.protocol = IPPROTO_TCP;
	return event;
}

/* The client's sockets are odd, the server's even. */
static void state_at(struct world *world, int64_t time_ns, uint32_t pid, uint64_t sk, uint8_t from,
		     uint8_t to)
{
	struct tracepoint_event event = socket_event(TRACEPOINT_STATE, time_ns, pid, sk);

	event.in_task = pid != 0;
	event.u.socket.old_state = from;
	event.u.socket.new_state = to;
	event.u.socket.local = endpoint("10.0.0.1", sk % 2 ? 40000 : 443);
	event.u.socket.remote = endpoint("10.0.0.2", sk % 2 ? 443 : 40000);
	if (to == SNAP_SYN_SENT)
		event.u.socket.local.port = 0;
	watcher_uses_feed(world->uses, &event);
}

static void send_at(struct world *world, int64_t time_ns, uint32_t pid, uint64_t sk, int64_t length)
{
	struct tracepoint_event event = socket_event(TRACEPOINT_SEND, time_ns, pid, sk);

	memset(&event.u, 0, sizeof(event.u));
	event.u.length = length;
	watcher_uses_feed(world->uses, &event);
}

static void receive_at(struct world *world, int64_t time_ns, uint32_t pid, uint64_t sk,
		       int64_t length)
{
	struct tracepoint_event event = socket_event(TRACEPOINT_RECEIVE, time_ns, pid, sk);

	memset(&event.u, 0, sizeof(event.u));
	event.u.length = length;
	watcher_uses_feed(world->uses, &event);
}

static void destroy_at(struct world *world, int64_t time_ns, uint64_t sk)
{
	struct tracepoint_event event = socket_event(TRACEPOINT_DESTROY, time_ns, 0, sk);

	watcher_uses_feed(world->uses, &event);
}

static void lost_at(struct world *world, int64_t time_ns, uint32_t cpu)
{
	struct tracepoint_event event = {.kind = TRACEPOINT_LOST, .time_ns = time_ns, .cpu = cpu};

	watcher_uses_feed(world->uses, &event);
}

static void route_to(struct world *world, int64_t time_ns, uint32_t pid, uint8_t protocol,
		     uint16_t local, const char *remote, uint16_t port)
{
	struct tracepoint_event event = socket_event(TRACEPOINT_ROUTE, time_ns, pid, 0);

	event.u.socket.protocol = protocol;
	event.u.socket.local = endpoint("0.0.0.0", local);
	event.u.socket.remote = endpoint(remote, port);
	watcher_uses_feed(world->uses, &event);
}

static void udp_at(struct world *world, int64_t time_ns, uint32_t pid, uint16_t local,
		   uint16_t remote)
{
	route_to(world, time_ns, pid, IPPROTO_UDP, local, "10.0.0.2", remote);
}

static void ping_at(struct world *world, int64_t time_ns, uint32_t pid)
{
	route_to(world, time_ns, pid, IPPROTO_ICMP, 0, "10.0.0.2", 0);
}

static void connect_at(struct world *world, int64_t time_ns, uint32_t pid, uint64_t sk)
{
	state_at(world, time_ns, pid, sk, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, time_ns + MS, 0, sk, SNAP_SYN_SENT, SNAP_ESTABLISHED);
}

static void accept_at(struct world *world, int64_t time_ns, uint64_t sk)
{
	state_at(world, time_ns, 0, sk, SNAP_SYN_RECV, SNAP_ESTABLISHED);
}

/* -------------------------------------------------------------- expect -- */

static const struct watcher_use *last(const struct world *world)
{
	assert_true(world->count > 0);
	return &world->told[(world->count - 1) % TOLD];
}

/* Times are given and told after T0; previous 0: none. */
static void expect(const struct world *world, size_t count, enum snap_act act, uint32_t pid,
		   int64_t at_ns, int64_t previous_ns)
{
	const struct snap_use *use = &last(world)->use;

	assert_int_equal(world->count, count);
	assert_int_equal(use->act, act);
	assert_int_equal(use->pid, pid);
	assert_int_equal(use->tid, pid + 100);
	assert_int_equal(use->at_ns, at_ns + REAL);
	assert_int_equal(use->previous_ns, previous_ns ? previous_ns + REAL : 0);
	assert_int_equal(last(world)->time_ns, at_ns);
}

/* Of whichever group: each test has one that misses something. */
static void expect_missing(struct world *world, unsigned why, int64_t since_ns)
{
	unsigned got = 0;

	for (int group = 0; group < WATCHER_USES_GROUPS; group++) {
		int64_t got_ns = 0;
		unsigned missing = watcher_uses_take_missing(world->uses,
							     (enum tracepoint_group)group, &got_ns);

		if (missing)
			assert_int_equal(got_ns, since_ns);
		got |= missing;
	}
	assert_int_equal(got, why);
}

static void expect_whole(struct world *world)
{
	expect_missing(world, 0, 0);
}

/* ------------------------------------------------------------- streams -- */

static void test_a_connect_is_told_when_its_port_is_known(void **state)
{
	struct world *world = *state;
	const struct snap_use *use;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	assert_int_equal(world->count, 0);
	state_at(world, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	expect(world, 1, SNAP_CONNECT, CLIENT, T0, 0);
	use = &last(world)->use;
	assert_int_equal(use->local.port, 40000);
	assert_int_equal(use->remote.port, 443);
	assert_int_equal(use->protocol, IPPROTO_TCP);
	assert_int_equal(use->netns, 4);
	assert_int_equal(use->opened_ns, T0 + REAL);
	assert_int_equal(last(world)->user.id, CLIENT);
	expect_whole(world);
}

static void test_a_connect_that_fails_is_told_too(void **state)
{
	state_at(*state, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(*state, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_CLOSE);
	expect(*state, 1, SNAP_CONNECT, CLIENT, T0, 0);
}

static void test_the_same_user_is_told_once(void **state)
{
	struct world *world = *state;

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
	struct world *world = *state;

	accept_at(world, T0, 2);
	assert_int_equal(world->count, 0);
	receive_at(world, T0 + MS, SERVER, 2, 9);
	expect(world, 1, SNAP_RECEIVE, SERVER, T0 + MS, 0);
	assert_int_equal(last(world)->use.local.port, 443);
	assert_int_equal(last(world)->use.opened_ns, T0 + REAL);
}

static void test_a_child_that_takes_over_is_told_with_the_last_use_before(void **state)
{
	struct world *world = *state;

	accept_at(world, T0, 2);
	receive_at(world, T0 + MS, SERVER, 2, 9);
	send_at(world, T0 + 2 * MS, SERVER, 2, 9);
	receive_at(world, T0 + 5 * MS, CHILD, 2, 9);
	expect(world, 2, SNAP_RECEIVE, CHILD, T0 + 5 * MS, T0 + 2 * MS);
	assert_int_equal(last(world)->use.opened_ns, T0 + REAL);
	send_at(world, T0 + 6 * MS, SERVER, 2, 9);
	expect(world, 3, SNAP_SEND, SERVER, T0 + 6 * MS, T0 + 5 * MS);
}

static void test_a_forked_server_whose_parent_never_acts(void **state)
{
	accept_at(*state, T0, 2);
	receive_at(*state, T0 + MS, CHILD, 2, 9);
	expect(*state, 1, SNAP_RECEIVE, CHILD, T0 + MS, 0);
	state_at(*state, T0 + 2 * MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	assert_int_equal(((struct world *)*state)->count, 1);
}

static void test_a_child_that_only_inherits_is_never_told(void **state)
{
	struct world *world = *state;

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
	struct world *world = *state;

	accept_at(world, T0, 2);
	receive_at(world, T0 + MS, SERVER, 2, -11);
	send_at(world, T0 + MS, SERVER, 2, -32);
	send_at(world, T0 + MS, SERVER, 2, 0);
	assert_int_equal(world->count, 0);
	receive_at(world, T0 + 2 * MS, SERVER, 2, 0); /* the end of the stream */
	expect(world, 1, SNAP_RECEIVE, SERVER, T0 + 2 * MS, 0);
}

static void test_who_closes_what_nobody_used_is_told(void **state)
{
	struct world *world = *state;

	accept_at(world, T0, 2);
	state_at(world, T0 + MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	expect(world, 1, SNAP_SHUT, SERVER, T0 + MS, 0);
	/* And is no user by that. */
	receive_at(world, T0 + 2 * MS, CHILD, 2, 3);
	expect(world, 2, SNAP_RECEIVE, CHILD, T0 + 2 * MS, 0);
}

static void test_only_what_a_task_does_by_closing_is_a_close(void **state)
{
	struct world *world = *state;

	accept_at(world, T0, 2);
	state_at(world, T0 + MS, 0, 2, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	state_at(world, T0 + MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_CLOSE_WAIT);
	state_at(world, T0 + MS, SERVER, 2, SNAP_ESTABLISHED, SNAP_CLOSE);
	state_at(world, T0 + MS, SERVER, 2, SNAP_FIN_WAIT1, SNAP_FIN_WAIT2);
	assert_int_equal(world->count, 0);
	state_at(world, T0 + MS, SERVER, 2, SNAP_CLOSE_WAIT, SNAP_LAST_ACK);
	expect(world, 1, SNAP_SHUT, SERVER, T0 + MS, 0);
}

static void test_a_pid_that_is_another_process_is_another_user(void **state)
{
	struct world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	world->again = 1000;
	world->epoch++;
	send_at(world, T0 + 2 * MS, CLIENT, 1, 5);
	expect(world, 2, SNAP_SEND, CLIENT, T0 + 2 * MS, T0);
	assert_int_equal(last(world)->user.id, 1000 + CLIENT);
}

static void test_another_epoch_alone_changes_nothing(void **state)
{
	struct world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	world->epoch++;
	send_at(world, T0 + 2 * MS, CLIENT, 1, 5);
	send_at(world, T0 + 3 * MS, CLIENT, 1, 5);
	assert_int_equal(world->count, 1);
	assert_int_equal(world->asked, 2);
}

static void test_an_address_used_again_without_an_end_is_a_new_socket(void **state)
{
	struct world *world = *state;

	accept_at(world, T0, 2);
	receive_at(world, T0 + MS, SERVER, 2, 9);
	accept_at(world, T0 + 5 * MS, 2);
	receive_at(world, T0 + 6 * MS, SERVER, 2, 9);
	expect(world, 2, SNAP_RECEIVE, SERVER, T0 + 6 * MS, 0);
	assert_int_equal(last(world)->use.opened_ns, T0 + 5 * MS + REAL);
	state_at(world, T0 + 7 * MS, CLIENT, 2, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, T0 + 8 * MS, 0, 2, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	expect(world, 3, SNAP_CONNECT, CLIENT, T0 + 7 * MS, 0);
	assert_int_equal(watcher_uses_sockets(world->uses), 1);
}

static void test_a_listeners_child_is_new_wherever_it_is(void **state)
{
	struct world *world = *state;

	connect_at(world, T0, CLIENT, 2);
	state_at(world, T0 + 5 * MS, 0, 2, SNAP_LISTEN, SNAP_SYN_RECV);
	accept_at(world, T0 + 6 * MS, 2);
	receive_at(world, T0 + 7 * MS, SERVER, 2, 9);
	expect(world, 2, SNAP_RECEIVE, SERVER, T0 + 7 * MS, 0);
	assert_int_equal(last(world)->use.opened_ns, T0 + 5 * MS + REAL);
}

static void test_when_both_ends_call_it_stays_one_socket(void **state)
{
	struct world *world = *state;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_SYN_RECV);
	state_at(world, T0 + 2 * MS, 0, 1, SNAP_SYN_RECV, SNAP_ESTABLISHED);
	send_at(world, T0 + 3 * MS, CLIENT, 1, 5);
	expect(world, 1, SNAP_CONNECT, CLIENT, T0, 0);
	assert_int_equal(last(world)->use.opened_ns, T0 + REAL);
}

static void test_a_late_act_does_not_turn_the_clock_back(void **state)
{
	struct world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	send_at(world, T0 + 9 * MS, CLIENT, 1, 5);
	send_at(world, T0 + 4 * MS, CLIENT, 1, 5);
	send_at(world, T0 + 10 * MS, CHILD, 1, 5);
	expect(world, 2, SNAP_SEND, CHILD, T0 + 10 * MS, T0 + 9 * MS);
}

static void test_what_was_open_before_is_not_followed(void **state)
{
	struct world *world = *state;

	send_at(world, T0, CLIENT, 1, 5);
	state_at(world, T0, CLIENT, 1, SNAP_ESTABLISHED, SNAP_FIN_WAIT1);
	destroy_at(world, T0, 1);
	assert_int_equal(world->count, 0);
	expect_whole(world);
}

static void test_a_socket_is_where_its_address_is(void **state)
{
	struct world *world = *state;
	struct tracepoint_event event = socket_event(TRACEPOINT_STATE, T0, 0, 2);

	event.u.socket.old_state = SNAP_SYN_RECV;
	event.u.socket.new_state = SNAP_ESTABLISHED;
	event.u.socket.local = endpoint("10.0.0.99", 443);
	event.u.socket.remote = endpoint("10.0.0.2", 40000);
	watcher_uses_feed(world->uses, &event);
	send_at(world, T0 + MS, SERVER, 2, 5);
	assert_int_equal(last(world)->use.netns, 0);
	assert_int_equal(world->count, 1);
}

static void test_kernel_threads_are_not_told(void **state)
{
	struct world *world = *state;

	connect_at(world, T0, KERNEL, 1);
	send_at(world, T0 + 2 * MS, KERNEL, 1, 5);
	ping_at(world, T0 + 2 * MS, KERNEL);
	assert_int_equal(world->count, 0);
	expect_whole(world);
}

static void test_sctp_is_not_followed(void **state)
{
	struct world *world = *state;
	struct tracepoint_event event = socket_event(TRACEPOINT_STATE, T0, CLIENT, 1);

	event.u.socket.protocol = IPPROTO_SCTP;
	event.u.socket.new_state = SNAP_SYN_SENT;
	watcher_uses_feed(world->uses, &event);
	assert_int_equal(watcher_uses_sockets(world->uses), 0);
}

static void test_an_old_kernel_tells_the_tuple_with_what_is_received(void **state)
{
	struct world *world = *state;
	struct tracepoint_event event = socket_event(TRACEPOINT_RECEIVE, T0 + MS, SERVER, 2);

	accept_at(world, T0, 2);
	event.u.socket.local = endpoint("10.0.0.1", 443);
	event.u.socket.remote = endpoint("10.0.0.2", 40000);
	event.u.socket.cookie = 77;
	watcher_uses_feed(world->uses, &event);
	expect(world, 1, SNAP_RECEIVE, SERVER, T0 + MS, 0);
	assert_int_equal(last(world)->use.cookie, 77);
}

/* -------------------------------------------------------------- limits -- */

static void test_too_many_turns_are_told_no_more(void **state)
{
	struct world *world = *state;
	int64_t end_ns = T0 + SNAP_TURNS_MAX * MS;

	accept_at(world, T0, 2);
	for (int i = 0; i < 2 * SNAP_TURNS_MAX; i++)
		send_at(world, T0 + (1 + i) * MS, i % 2 ? CHILD : SERVER, 2, 5);
	expect(world, SNAP_TURNS_MAX, SNAP_SEVERAL, CHILD, end_ns, end_ns - MS);
	expect_whole(world);
}

static void test_two_users_before_the_tuple_is_known_are_too_many(void **state)
{
	struct world *world = *state;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	send_at(world, T0 + MS, CHILD, 1, 5); /* with the SYN */
	expect_missing(world, WATCHER_UNTOLD_SEVERAL, T0 + MS);
	state_at(world, T0 + 2 * MS, 0, 1, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	send_at(world, T0 + 3 * MS, CHILD, 1, 5);
	expect(world, 2, SNAP_SEND, CHILD, T0 + 3 * MS, 0);
}

static void test_a_full_table_follows_no_more_and_says_so(void **state)
{
	struct world *world = *state;

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
	struct world *world = *state;
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
	struct world *world = *state;

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
	struct world *world = *state;

	state_at(world, T0, CLIENT, 1, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, T0 + MS, 0, 1, SNAP_SYN_SENT, SNAP_ESTABLISHED);
	send_at(world, T0 + 2 * MS, KERNEL, 1, 500);
	send_at(world, T0 + 3 * MS, CLIENT, 1, 5);
	assert_true(world->count > 1); /* the 500 bytes are not CLIENT's */
}

/* Two calls that overlap: the one that ends first did not send first. */
static void test_sockets_are_found_whatever_others_come_and_go(void **state)
{
	struct world *world = *state;

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
	struct world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	send_at(world, T0 + 5 * MS, STRANGER, 1, 5);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 5 * MS);
}

static void test_after_a_gap_each_next_use_is_told_anew(void **state)
{
	struct world *world = *state;

	connect_at(world, T0, CLIENT, 1);
	udp_at(world, T0 + 2 * MS, CLIENT, 5000, 53);
	send_at(world, T0 + 5 * MS, STRANGER, 1, 5);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 5 * MS);
	send_at(world, T0 + 6 * MS, CLIENT, 1, 5);
	expect(world, 3, SNAP_SEND, CLIENT, T0 + 6 * MS, 0);
	send_at(world, T0 + 7 * MS, CLIENT, 1, 5);
	udp_at(world, T0 + 8 * MS, CLIENT, 5000, 53);
	expect(world, 3, SNAP_SEND, CLIENT, T0 + 6 * MS, 0); /* of datagrams nothing was missing */
	udp_at(world, T0 + 9 * MS, STRANGER, 5000, 53);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 9 * MS);
	udp_at(world, T0 + 10 * MS, CLIENT, 5000, 53);
	expect(world, 4, SNAP_ROUTE, CLIENT, T0 + 10 * MS, 0);
	send_at(world, T0 + 11 * MS, CLIENT, 1, 5);
	assert_int_equal(world->count, 4);
}

/* What a new file begins with: who has each stream, and the ways that a
 * connected socket may still use without looking again. */
static void test_a_restating_tells_the_living_once_more(void **state)
{
	struct world *world = *state;

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
	assert_true(world->told[(world->count - 1) % TOLD].is_restated);
	send_at(world, T0 + 3000 * MS, CLIENT, 1, 5);
	watcher_uses_restate(world->uses);
	assert_int_equal(world->count, 10);
	udp_at(world, T0 + 3001 * MS, SERVER, 53, 5000); /* told at its next look */
	expect(world, 11, SNAP_ROUTE, SERVER, T0 + 3001 * MS, 0);
	send_at(world, T0 + 3002 * MS, CLIENT, 1, 5);
	assert_int_equal(world->count, 11);
	send_at(world, T0 + 3003 * MS, SERVER, 1, 5); /* the turn before is not forgotten */
	expect(world, 12, SNAP_SEND, SERVER, T0 + 3003 * MS, T0 + 3002 * MS);
}

static void test_what_was_lost_came_after_the_last_event_of_its_processor(void **state)
{
	struct world *world = *state;
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
	struct world *world = *state;

	watcher_uses_miss(world->uses, TRACEPOINT_TRANSFERS, WATCHER_UNTOLD_SHED, T0 + MS);
	watcher_uses_miss(world->uses, TRACEPOINT_TRANSFERS, WATCHER_UNTOLD_FRAMES, T0);
	watcher_uses_miss(world->uses, TRACEPOINT_TRANSFERS, WATCHER_UNTOLD_SHED, T0 + 2 * MS);
	expect_missing(world, WATCHER_UNTOLD_SHED | WATCHER_UNTOLD_FRAMES, T0);
	expect_whole(world);
}

static void test_too_many_of_a_group_are_hot(void **state)
{
	struct world *world = *state;

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

/* ----------------------------------------------------------- datagrams -- */

static void test_a_new_way_is_told_once(void **state)
{
	struct world *world = *state;

	udp_at(world, T0, CLIENT, 5000, 53);
	expect(world, 1, SNAP_ROUTE, CLIENT, T0, 0);
	assert_int_equal(last(world)->use.local.port, 5000);
	assert_int_equal(last(world)->use.remote.port, 53);
	assert_int_equal(last(world)->use.protocol, IPPROTO_UDP);
	assert_int_equal(last(world)->use.opened_ns, 0);
	udp_at(world, T0 + MS, CLIENT, 5000, 53);
	assert_int_equal(world->count, 1);
	udp_at(world, T0 + MS, CLIENT, 5000, 54);
	udp_at(world, T0 + MS, CLIENT, 5001, 53);
	route_to(world, T0 + MS, CLIENT, IPPROTO_UDP, 5000, "10.0.0.3", 53);
	assert_int_equal(world->count, 4);
}

static void test_another_process_on_a_way_is_told(void **state)
{
	struct world *world = *state;

	udp_at(world, T0, CLIENT, 5000, 53);
	udp_at(world, T0 + 3 * MS, CLIENT, 5000, 53);
	udp_at(world, T0 + 5 * MS, CHILD, 5000, 53);
	expect(world, 2, SNAP_ROUTE, CHILD, T0 + 5 * MS, T0 + 3 * MS);
}

static void test_a_silent_way_is_told_again(void **state)
{
	struct world *world = *state;

	udp_at(world, T0, CLIENT, 5000, 53);
	udp_at(world, T0 + WATCHER_USES_SILENT_NS, CLIENT, 5000, 53);
	assert_int_equal(world->count, 1);
	udp_at(world, T0 + 2 * WATCHER_USES_SILENT_NS + 1, CLIENT, 5000, 53);
	expect(world, 2, SNAP_ROUTE, CLIENT, T0 + 2 * WATCHER_USES_SILENT_NS + 1, 0);
}

static void test_choosing_an_address_is_no_use(void **state)
{
	struct world *world = *state;

	udp_at(world, T0, CLIENT, 0, 0);
	udp_at(world, T0, CLIENT, 0, 53);
	udp_at(world, T0, CLIENT, 5000, 0);
	route_to(world, T0, CLIENT, IPPROTO_TCP, 5000, "10.0.0.2", 53);
	assert_int_equal(world->count, 0);
	expect_whole(world);
}

static void test_the_longest_silent_way_is_forgotten(void **state)
{
	struct world *world = *state;
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
	struct world *world = *state;

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
	assert_int_equal(last(world)->use.act, SNAP_SEVERAL);
	expect_whole(world);
	ping_at(world, T0 + SECOND, CLIENT);
	assert_int_equal(world->count, WATCHER_USES_PORTLESS + 2);
	assert_int_equal(last(world)->use.act, SNAP_ROUTE);
}

static void test_of_a_ping_its_length_is_told(void **state)
{
	struct world *world = *state;
	struct tracepoint_event event = socket_event(TRACEPOINT_SEND, T0 + MS, CLIENT, 1);

	event.protocol = IPPROTO_ICMP;
	event.u.length = 64;
	ping_at(world, T0, CLIENT);
	watcher_uses_feed(world->uses, &event);
	assert_int_equal(world->count, 2);
	assert_int_equal(last(world)->use.act, SNAP_SEND);
	assert_true(last(world)->use.sent_bytes == 64);
	assert_int_equal(last(world)->use.opened_ns, T0 + REAL);
	assert_int_equal(last(world)->use.at_ns, T0 + MS + REAL);
	assert_int_equal(last(world)->use.remote.address.bytes[15], 2);
}

static void datagram_at(struct world *world, int64_t time_ns, uint32_t pid,
			enum tracepoint_kind kind)
{
	struct tracepoint_event event = socket_event(kind, time_ns, pid, 1);

	event.protocol = IPPROTO_UDP;
	event.u.length = 30;
	watcher_uses_feed(world->uses, &event);
}

static void test_a_second_user_of_a_datagram_socket_is_told(void **state)
{
	struct world *world = *state;

	udp_at(world, T0, CLIENT, 5, 6);
	datagram_at(world, T0 + MS, CLIENT, TRACEPOINT_SEND);
	datagram_at(world, T0 + 2 * MS, CLIENT, TRACEPOINT_RECEIVE);
	datagram_at(world, T0 + 3 * MS, KERNEL, TRACEPOINT_SEND);
	assert_int_equal(world->count, 1);
	datagram_at(world, T0 + 4 * MS, CHILD, TRACEPOINT_SEND);
	assert_int_equal(world->count, 3);
	assert_int_equal(last(world)->use.act, SNAP_SEND);
	assert_int_equal(last(world)->use.pid, CHILD);
	assert_int_equal(last(world)->use.protocol, IPPROTO_UDP);
	assert_int_equal(last(world)->use.local.port, 5);
	assert_int_equal(last(world)->use.previous_ns, T0 + 2 * MS + REAL);
	assert_true(endpoint_is_any(&last(world)->use.remote.address));
	watcher_uses_restate(world->uses);
	assert_true(last(world)->is_restated);
	assert_int_equal(last(world)->use.pid, CHILD);
	datagram_at(world, T0 + 5 * MS, STRANGER, TRACEPOINT_SEND);
	expect_missing(world, WATCHER_UNTOLD_STRANGER, T0 + 5 * MS);
}

static void test_the_look_up_of_one_with_the_same_pid_is_not_its_own(void **state)
{
	struct world *world = *state;

	udp_at(world, T0, CLIENT, 5, 6);
	udp_at(world, T0, CHILD, 7, 8);
	datagram_at(world, T0 + MS, CHILD, TRACEPOINT_SEND);
	world->again = 1000;
	world->epoch++;
	datagram_at(world, T0 + 2 * MS, CLIENT, TRACEPOINT_SEND);
	assert_int_equal(world->count, 4);
	assert_int_equal(last(world)->use.local.port, 7);
}

/* ---------------------------------------------------------------- live -- */

struct frames {
	pthread_mutex_t lock;
	char text[1 << 18];
	size_t length;
};

static int keep_frame(void *context, struct snapframe *frame)
{
	struct frames *frames = context;

	pthread_mutex_lock(&frames->lock);
	if (frames->length + frame->length < sizeof(frames->text)) {
		memcpy(frames->text + frames->length, frame->text, frame->length);
		frames->length += frame->length;
	}
	pthread_mutex_unlock(&frames->lock);
	snapframe_release(frame);
	return 0;
}

static void no_poll(void *context)
{
	(void)context;
}

/* A child that talks to us and is gone. Its pid. */
static pid_t play_client(int listener, const struct sockaddr_in *address)
{
	int accepted, status;
	char byte = 'x';
	pid_t pid = fork();

	if (pid == 0) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (const void *)address, sizeof(*address)) ||
		    send(fd, &byte, 1, 0) != 1)
			_exit(1);
		_exit(0);
	}
	accepted = accept(listener, NULL, NULL);
	assert_int_equal(recv(accepted, &byte, 1, 0), 1);
	close(accepted);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return pid;
}

/* Whether a line begins with kind and has pid at field. */
static bool has_line(const char *text, const char *kind, unsigned field, pid_t pid)
{
	char wanted[16];
	int length = snprintf(wanted, sizeof(wanted), "%d", (int)pid);

	for (; text && *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL) {
		const char *at = text;

		if (strncmp(text, kind, strlen(kind)) != 0)
			continue;
		for (unsigned i = 1; i < field && at; i++) {
			at = strchr(at, '\t');
			at = at ? at + 1 : NULL;
		}
		if (at && !strncmp(at, wanted, (size_t)length) && strchr("\t\n", at[length]))
			return true;
	}
	return false;
}

static void test_the_kernel_tells_who_connected_and_who_received(void **state)
{
	static struct frames frames = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct watcher_config config = {.cpu_budget_ppm = 20000,
					.submit = keep_frame,
					.want_poll = no_poll,
					.context = &frames};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct watcher *watcher;
	struct error error;
	pid_t client;

	(void)state;
	config.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (watcher_open(&config, &watcher, &error) ||
	    strstr(watcher_status(watcher), "tracepoints")) {
		print_message("no tracepoints here\n");
		close(listener);
		close(config.proc_fd);
		skip();
	}
	assert_int_equal(bind(listener, (const void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (void *)&address, &length), 0);
	assert_int_equal(watcher_start(watcher, &error), 0);
	client = play_client(listener, &address);
	watcher_close(watcher);
	close(listener);
	close(config.proc_fd);
	frames.text[frames.length] = '\0';
	assert_true(has_line(frames.text, "use\t!\t", 16, client));
	assert_non_null(strstr(frames.text, "\tconnect\t"));
	assert_true(has_line(frames.text, "process\t!\t", 3, client));
	assert_true(has_line(frames.text, "process\t-\t", 3, client));
	assert_true(has_line(frames.text, "use\t!\t", 16, getpid()));
	assert_non_null(strstr(frames.text, "\treceive\t"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

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
		cmocka_unit_test_setup_teardown(
			test_an_old_kernel_tells_the_tuple_with_what_is_received, setup_old_kernel,
			teardown),
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
		TEST(test_a_new_way_is_told_once),
		TEST(test_another_process_on_a_way_is_told),
		TEST(test_a_silent_way_is_told_again),
		TEST(test_choosing_an_address_is_no_use),
		TEST(test_the_longest_silent_way_is_forgotten),
		TEST(test_pings_are_told_each_while_they_are_few),
		TEST(test_of_a_ping_its_length_is_told),
		TEST(test_a_second_user_of_a_datagram_socket_is_told),
		TEST(test_the_look_up_of_one_with_the_same_pid_is_not_its_own),
		cmocka_unit_test(test_the_kernel_tells_who_connected_and_who_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
