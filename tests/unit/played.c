/* played.c - kernel events, played to the uses. */
#include "tests/unit/played.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static enum watcher_known who(void *context, const struct tracepoint_event *event,
			      struct watcher_user *out)
{
	struct played_world *world = context;

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
	return ((struct played_world *)context)->epoch;
}

static void tell(void *context, const struct watcher_use *use)
{
	struct played_world *world = context;

	world->told[world->count++ % PLAYED_TOLD] = *use;
}

static int begin(void **state, bool has_lengths)
{
	struct played_world *world = calloc(1, sizeof(*world));
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

int played_set_up(void **state)
{
	return begin(state, true);
}

int played_set_up_old_kernel(void **state)
{
	return begin(state, false);
}

int played_tear_down(void **state)
{
	struct played_world *world = *state;

	watcher_uses_free(world->uses);
	free(world);
	return 0;
}

struct endpoint played_endpoint(const char *address, uint16_t port)
{
	struct endpoint result = {.port = port};

	assert_int_equal(endpoint_parse(address, &result.address), 0);
	return result;
}

struct tracepoint_event played_event(enum tracepoint_kind kind, int64_t time_ns, uint32_t pid,
				     uint64_t sk)
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

void state_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk, uint8_t from,
	      uint8_t to)
{
	struct tracepoint_event event = played_event(TRACEPOINT_STATE, time_ns, pid, sk);

	event.in_task = pid != 0;
	event.u.socket.old_state = from;
	event.u.socket.new_state = to;
	event.u.socket.local = played_endpoint("10.0.0.1", sk % 2 ? 40000 : 443);
	event.u.socket.remote = played_endpoint("10.0.0.2", sk % 2 ? 443 : 40000);
	if (to == SNAP_SYN_SENT)
		event.u.socket.local.port = 0;
	watcher_uses_feed(world->uses, &event);
}

void send_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk, int64_t length)
{
	struct tracepoint_event event = played_event(TRACEPOINT_SEND, time_ns, pid, sk);

	memset(&event.u, 0, sizeof(event.u));
	event.u.length = length;
	watcher_uses_feed(world->uses, &event);
}

void receive_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk,
		int64_t length)
{
	struct tracepoint_event event = played_event(TRACEPOINT_RECEIVE, time_ns, pid, sk);

	memset(&event.u, 0, sizeof(event.u));
	event.u.length = length;
	watcher_uses_feed(world->uses, &event);
}

void destroy_at(struct played_world *world, int64_t time_ns, uint64_t sk)
{
	struct tracepoint_event event = played_event(TRACEPOINT_DESTROY, time_ns, 0, sk);

	watcher_uses_feed(world->uses, &event);
}

void lost_at(struct played_world *world, int64_t time_ns, uint32_t cpu)
{
	struct tracepoint_event event = {.kind = TRACEPOINT_LOST, .time_ns = time_ns, .cpu = cpu};

	watcher_uses_feed(world->uses, &event);
}

void route_to(struct played_world *world, int64_t time_ns, uint32_t pid, uint8_t protocol,
	      uint16_t local, const char *remote, uint16_t port)
{
	struct tracepoint_event event = played_event(TRACEPOINT_ROUTE, time_ns, pid, 0);

	event.u.socket.protocol = protocol;
	event.u.socket.local = played_endpoint("0.0.0.0", local);
	event.u.socket.remote = played_endpoint(remote, port);
	watcher_uses_feed(world->uses, &event);
}

void udp_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint16_t local,
	    uint16_t remote)
{
	route_to(world, time_ns, pid, IPPROTO_UDP, local, "10.0.0.2", remote);
}

void ping_at(struct played_world *world, int64_t time_ns, uint32_t pid)
{
	route_to(world, time_ns, pid, IPPROTO_ICMP, 0, "10.0.0.2", 0);
}

void connect_at(struct played_world *world, int64_t time_ns, uint32_t pid, uint64_t sk)
{
	state_at(world, time_ns, pid, sk, SNAP_CLOSE, SNAP_SYN_SENT);
	state_at(world, time_ns + MS, 0, sk, SNAP_SYN_SENT, SNAP_ESTABLISHED);
}

void accept_at(struct played_world *world, int64_t time_ns, uint64_t sk)
{
	state_at(world, time_ns, 0, sk, SNAP_SYN_RECV, SNAP_ESTABLISHED);
}

const struct watcher_use *told_last(const struct played_world *world)
{
	assert_true(world->count > 0);
	return &world->told[(world->count - 1) % PLAYED_TOLD];
}

void expect_told(const struct played_world *world, size_t count, enum snap_act act, uint32_t pid,
		 int64_t at_ns, int64_t previous_ns)
{
	const struct snap_use *use = &told_last(world)->use;

	assert_int_equal(world->count, count);
	assert_int_equal(use->act, act);
	assert_int_equal(use->pid, pid);
	assert_int_equal(use->tid, pid + 100);
	assert_int_equal(use->at_ns, at_ns + REAL);
	assert_int_equal(use->previous_ns, previous_ns ? previous_ns + REAL : 0);
	assert_int_equal(told_last(world)->time_ns, at_ns);
}

void expect_missing(struct played_world *world, unsigned why, int64_t since_ns)
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

void expect_whole(struct played_world *world)
{
	expect_missing(world, 0, 0);
}
