/* test_watcher_hands.c - facts about datagram sockets that several processes use. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "snapshot/watcher_hands.h"

#define SECOND INT64_C(1000000000)
#define SK     UINT64_C(0xffff888000001000)

enum { ONE = 10, OTHER, THIRD };

static struct watcher_hands hands;
static struct watcher_use told[2];
static int64_t now_ns;
static bool forgot;

static int begin(void **state)
{
	(void)state;
	memset(&hands, 0, sizeof(hands));
	now_ns = 1000 * SECOND;
	return 0;
}

/* port: what it looked up before; 0: nothing. How much is told. */
static size_t acts(uint32_t pid, uint64_t sk, enum snap_act act, uint16_t port)
{
	struct watcher_use use = {.use = {.protocol = IPPROTO_UDP, .act = act, .pid = pid},
				  .user = {.id = pid, .netns = 4},
				  .time_ns = ++now_ns};
	struct watcher_use look = {
		.use = {.protocol = IPPROTO_UDP, .netns = 5, .local = {.port = port}, .pid = pid}};

	use.use.at_ns = now_ns;
	return watcher_hands_take(&hands, sk, &use, port ? &look : NULL, told, &forgot);
}

static void assert_told(size_t place, uint32_t pid, enum snap_act act, uint16_t port)
{
	assert_int_equal(told[place].use.pid, pid);
	assert_int_equal(told[place].use.act, act);
	assert_int_equal(told[place].use.local.port, port);
	assert_int_equal(told[place].use.netns, 5);
}

static void of_one_process_alone_nothing_is_told(void **state)
{
	(void)state;
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 53), 0);
	assert_int_equal(acts(ONE, SK, SNAP_RECEIVE, 0), 0);
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 0), 0);
	assert_int_equal(acts(OTHER, SK + 64, SNAP_SEND, 54), 0);
}

static void a_second_user_is_told_with_the_first(void **state)
{
	int64_t first_ns;

	(void)state;
	acts(ONE, SK, SNAP_SEND, 53);
	acts(ONE, SK, SNAP_RECEIVE, 0);
	first_ns = now_ns;
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 0), 2);
	assert_told(0, ONE, SNAP_RECEIVE, 53);
	assert_true(told[0].use.at_ns == first_ns && told[0].use.previous_ns == 0);
	assert_told(1, OTHER, SNAP_SEND, 53);
	assert_true(told[1].use.at_ns == now_ns && told[1].use.previous_ns == first_ns);
	/* From here on each change. */
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 0), 0);
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 53), 1);
	assert_told(0, ONE, SNAP_SEND, 53);
}

/* A dispatcher receives; its port is known when its helper answers. */
static void who_only_receives_is_told_when_the_port_is_known(void **state)
{
	(void)state;
	assert_int_equal(acts(ONE, SK, SNAP_RECEIVE, 0), 0);
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 53), 2);
	assert_told(0, ONE, SNAP_RECEIVE, 53);
	assert_told(1, OTHER, SNAP_SEND, 53);
}

static void a_place_used_again_is_another_socket(void **state)
{
	(void)state;
	acts(ONE, SK, SNAP_SEND, 53);
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 54), 0);
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 0), 2);
	assert_told(0, OTHER, SNAP_SEND, 54);
}

/* What is told of the port before is of a socket that has closed; the close tells. */
static void in_a_place_used_again_who_receives_first_is_told_too(void **state)
{
	(void)state;
	acts(THIRD, SK, SNAP_SEND, 40);
	assert_int_equal(acts(ONE, SK, SNAP_RECEIVE, 0), 2);
	assert_told(1, ONE, SNAP_RECEIVE, 40);
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 53), 2);
	assert_told(0, ONE, SNAP_RECEIVE, 53);
	assert_told(1, OTHER, SNAP_SEND, 53);
}

static void the_same_process_may_have_another_socket_in_the_place(void **state)
{
	(void)state;
	acts(ONE, SK, SNAP_SEND, 53);
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 54), 0);
	acts(OTHER, SK, SNAP_SEND, 0);
	assert_told(0, ONE, SNAP_SEND, 54);
}

static void too_many_turns_are_told_no_more(void **state)
{
	size_t count = 0;

	(void)state;
	acts(ONE, SK, SNAP_SEND, 53);
	for (int i = 1; i < WATCHER_USES_TURNS; i++)
		count += acts(i % 2 ? OTHER : ONE, SK, SNAP_SEND, 0);
	assert_int_equal(count, WATCHER_USES_TURNS);
	assert_int_equal(acts(OTHER + THIRD, SK, SNAP_SEND, 0), 1);
	assert_told(0, OTHER + THIRD, SNAP_SEVERAL, 53);
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 0), 0);
}

static void who_has_it_now_is_told_to_a_new_file(void **state)
{
	struct watcher_use use;
	unsigned count = 0;

	(void)state;
	acts(THIRD, SK + 64, SNAP_SEND, 40); /* its own */
	acts(ONE, SK, SNAP_SEND, 53);
	acts(OTHER, SK, SNAP_SEND, 0);
	acts(OTHER, SK, SNAP_RECEIVE, 0);
	for (size_t i = 0; i < WATCHER_HANDS; i++) {
		if (!watcher_hands_restate(&hands, i, &use))
			continue;
		told[0] = use;
		count++;
	}
	assert_int_equal(count, 1);
	assert_told(0, OTHER, SNAP_RECEIVE, 53);
	assert_true(told[0].use.at_ns == now_ns);
}

static void what_was_used_lately_is_not_forgotten_without_a_word(void **state)
{
	bool any = false;

	(void)state;
	for (uint64_t i = 0; i < WATCHER_HANDS && !any; i++) {
		acts(ONE, SK + i * 64, SNAP_SEND, 53);
		any = forgot;
	}
	assert_true(any);
	memset(&hands, 0, sizeof(hands));
	for (uint64_t i = 0; i < WATCHER_HANDS; i++) {
		now_ns += WATCHER_USES_SILENT_NS;
		acts(ONE, SK + i * 64, SNAP_SEND, 53);
		assert_false(forgot);
	}
}

#define FACT(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(of_one_process_alone_nothing_is_told),
		FACT(a_second_user_is_told_with_the_first),
		FACT(who_only_receives_is_told_when_the_port_is_known),
		FACT(a_place_used_again_is_another_socket),
		FACT(in_a_place_used_again_who_receives_first_is_told_too),
		FACT(the_same_process_may_have_another_socket_in_the_place),
		FACT(too_many_turns_are_told_no_more),
		FACT(who_has_it_now_is_told_to_a_new_file),
		FACT(what_was_used_lately_is_not_forgotten_without_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
