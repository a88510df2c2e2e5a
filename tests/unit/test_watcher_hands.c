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
static struct watcher_use told[WATCHER_HANDS_TOLD];
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

static void the_sockets_of_one_port_are_told_apart(void **state)
{
	int64_t first_ns;

	(void)state;
	acts(ONE, SK, SNAP_SEND, 53);
	acts(ONE, SK + 64, SNAP_SEND, 53);
	acts(OTHER, SK, SNAP_SEND, 0);
	first_ns = told[0].use.opened_ns;
	assert_true(first_ns != 0 && told[1].use.opened_ns == first_ns);
	acts(OTHER, SK + 64, SNAP_SEND, 0);
	assert_true(told[0].use.opened_ns != 0 && told[0].use.opened_ns != first_ns);
	/* One of another port, and one of that port again. */
	acts(ONE, SK, SNAP_SEND, 54);
	acts(OTHER, SK, SNAP_SEND, 53);
	acts(ONE, SK, SNAP_SEND, 0);
	assert_told(1, ONE, SNAP_SEND, 53);
	assert_true(told[1].use.opened_ns != 0 && told[1].use.opened_ns != first_ns);
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
	for (int i = 1; i < SNAP_TURNS_MAX - 1; i++)
		count += acts(i % 2 ? OTHER : ONE, SK, SNAP_SEND, 0);
	assert_int_equal(count, SNAP_TURNS_MAX - 1);
	assert_int_equal(acts(THIRD, SK, SNAP_SEND, 0), 1);
	assert_told(0, THIRD, SNAP_SEVERAL, 53);
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 0), 0);
}

static void all_who_received_before_the_port_was_known_are_told(void **state)
{
	int64_t at_ns[WATCHER_HANDS_TOLD];

	(void)state;
	for (uint32_t i = 0; i < WATCHER_HANDS_WAITING + 1; i++) {
		assert_int_equal(acts(ONE + i, SK, SNAP_RECEIVE, 0), 0);
		at_ns[i] = now_ns;
	}
	assert_int_equal(acts(1, SK, SNAP_SEND, 53), WATCHER_HANDS_TOLD);
	at_ns[WATCHER_HANDS_TOLD - 1] = now_ns;
	for (uint32_t i = 0; i < WATCHER_HANDS_TOLD; i++) {
		bool is_last = i == WATCHER_HANDS_TOLD - 1;

		assert_told(i, is_last ? 1 : ONE + i, is_last ? SNAP_SEND : SNAP_RECEIVE, 53);
		assert_true(told[i].use.at_ns == at_ns[i]);
		assert_true(told[i].use.previous_ns == (i > 0 ? at_ns[i - 1] : 0));
	}
	/* Once. */
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 53), 1);
	assert_told(0, ONE, SNAP_SEND, 53);
}

/* The second one alone looks up the port. */
static void the_user_before_the_one_that_looked_is_told(void **state)
{
	(void)state;
	acts(ONE, SK, SNAP_RECEIVE, 0);
	acts(OTHER, SK, SNAP_RECEIVE, 0);
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 53), 2);
	assert_told(0, ONE, SNAP_RECEIVE, 53);
	assert_told(1, OTHER, SNAP_SEND, 53);
	assert_int_equal(acts(ONE, SK, SNAP_RECEIVE, 0), 1);
}

/* The places of those who wait are taken: it is told that they are not all. */
static void of_too_many_before_the_port_was_known_the_first_is_told_as_several(void **state)
{
	int64_t first_ns;

	(void)state;
	acts(ONE, SK, SNAP_RECEIVE, 0);
	first_ns = now_ns;
	for (uint32_t i = 0; i <= WATCHER_HANDS_WAITING; i++)
		acts(i % 2 ? THIRD : OTHER, SK, SNAP_RECEIVE, 0);
	assert_int_equal(acts(ONE, SK, SNAP_SEND, 53), 1);
	assert_told(0, ONE, SNAP_SEVERAL, 53);
	assert_true(told[0].use.at_ns == first_ns);
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 53), 0);
	/* Of the next socket in the place all is known again. */
	acts(OTHER, SK, SNAP_SEND, 54);
	assert_int_equal(acts(ONE, SK, SNAP_RECEIVE, 0), 2);
	assert_told(1, ONE, SNAP_RECEIVE, 54);
}

/* Two had the socket that has the place now, of a port that nobody had looked up. */
static void in_a_place_used_again_all_are_told_of_the_new_port(void **state)
{
	(void)state;
	acts(THIRD, SK, SNAP_SEND, 40);
	acts(ONE, SK, SNAP_RECEIVE, 0);
	acts(OTHER, SK, SNAP_RECEIVE, 0);
	assert_int_equal(acts(OTHER, SK, SNAP_SEND, 53), 2);
	assert_told(0, ONE, SNAP_RECEIVE, 53);
	assert_told(1, OTHER, SNAP_SEND, 53);
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
		FACT(the_sockets_of_one_port_are_told_apart),
		FACT(in_a_place_used_again_who_receives_first_is_told_too),
		FACT(the_same_process_may_have_another_socket_in_the_place),
		FACT(too_many_turns_are_told_no_more),
		FACT(all_who_received_before_the_port_was_known_are_told),
		FACT(the_user_before_the_one_that_looked_is_told),
		FACT(of_too_many_before_the_port_was_known_the_first_is_told_as_several),
		FACT(in_a_place_used_again_all_are_told_of_the_new_port),
		FACT(who_has_it_now_is_told_to_a_new_file),
		FACT(what_was_used_lately_is_not_forgotten_without_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
