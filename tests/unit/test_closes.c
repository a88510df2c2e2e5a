/* test_closes.c - facts about which socket a close event speaks of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/scene.h"

#define NEVER SCENE_NEVER
#define USED  "6 " HOST " 40000 " PEER " 80"
#define READ  "tcp " HOST " 40000 " PEER " 80"

static struct timeline tl;

static int begin(void **state)
{
	(void)state;
	scene_begin();
	scene_frame("key", 0, 1);
	return 0;
}

static int end(void **state)
{
	(void)state;
	timeline_release(&tl);
	scene_free();
	return 0;
}

static void settle(void)
{
	scene_frame("poll", 10000, 10001);
	scene_read_whole(&tl);
}

static void opened(int64_t ms)
{
	scene_use(USED, ms, "connect", ms, NEVER, 10, OLD);
}

/* bytes is what it sent, and tells it from others. */
static void closed(int64_t ms, unsigned cookie, unsigned bytes)
{
	scene_say("closed ! 1 " READ " 0 %u %lld 0 0 %u 0 1 1 1 1", cookie, (long long)T(ms),
		  bytes);
}

static void read_row(char op, uint32_t inode, unsigned cookie)
{
	scene_say("socket %c 1 " READ " 1 500 %u %u 0", op, inode, cookie);
}

/* Of the socket that was opened then, or has that inode; 0: none is known. */
static void assert_sent(int64_t opened_ms, uint32_t inode, uint64_t bytes)
{
	for (size_t i = 0; i < tl.count.sockets; i++) {
		const struct timeline_socket *s = &tl.sockets[i];

		if (inode != 0 ? s->inode != inode : s->opened_ns != T(opened_ms))
			continue;
		assert_int_equal(s->closed.closed_ns != 0, bytes != 0);
		if (bytes != 0)
			assert_int_equal(s->closed.bytes_sent, bytes);
		return;
	}
	fail_msg("no such socket");
}

static void what_a_reading_saw_does_not_take_the_close_of_the_next_one(void **state)
{
	(void)state;
	scene_frame("event", 100, 450);
	opened(100);
	opened(400);
	closed(150, 5, 11);
	closed(450, 6, 22);
	scene_frame("poll", 110, 111);
	read_row('+', 71, 0);
	settle();
	assert_sent(100, 0, 11);
	assert_sent(0, 71, 11);
	assert_sent(400, 0, 22);
}

static void closes_that_come_late_keep_their_order(void **state)
{
	(void)state;
	scene_frame("event", 100, 260);
	opened(100);
	opened(200);
	closed(210, 5, 11);
	closed(260, 6, 22);
	settle();
	assert_sent(100, 0, 11);
	assert_sent(200, 0, 22);
}

static void one_close_of_two_sockets_is_of_neither(void **state)
{
	(void)state;
	scene_frame("event", 100, 260);
	opened(100);
	opened(200);
	closed(260, 6, 22);
	settle();
	assert_sent(100, 0, 0);
	assert_sent(200, 0, 0);
}

static void two_closes_of_one_socket_are_of_none(void **state)
{
	(void)state;
	scene_frame("event", 100, 260);
	opened(100);
	closed(150, 5, 11);
	closed(260, 6, 22);
	settle();
	assert_sent(100, 0, 0);
}

static void a_close_that_is_said_twice_is_one(void **state)
{
	(void)state;
	scene_frame("event", 100, 260);
	opened(100);
	closed(150, 5, 11);
	closed(150, 5, 11);
	settle();
	assert_sent(100, 0, 11);
}

static void closes_that_wait_for_each_other_are_counted_once(void **state)
{
	(void)state;
	scene_frame("event", 100, 400);
	opened(100);
	opened(200);
	opened(300);
	closed(350, 5, 11);
	closed(360, 6, 22);
	closed(360, 6, 22);
	closed(370, 7, 33);
	settle();
	assert_sent(100, 0, 11);
	assert_sent(200, 0, 22);
	assert_sent(300, 0, 33);
}

/* The first one's close is lost; the second is known by its cookie, and the third
 * may be the first. */
static void a_cookie_decides(void **state)
{
	(void)state;
	scene_frame("event", 100, 300);
	opened(100);
	opened(200);
	closed(250, 6, 22);
	closed(260, 7, 33);
	scene_frame("poll", 210, 211);
	read_row('+', 72, 6);
	settle();
	assert_sent(0, 72, 22);
	assert_sent(200, 0, 22);
	assert_sent(100, 0, 0);
}

/* The first one was not told, and its close comes when the next has opened. */
static void the_close_of_an_untold_socket_is_not_the_next_ones(void **state)
{
	(void)state;
	scene_frame("event", 100, 300);
	opened(200);
	closed(250, 5, 11);
	scene_frame("poll", 210, 211);
	read_row('+', 72, 6);
	settle();
	assert_sent(0, 72, 0);
	assert_sent(200, 0, 0);
}

/* Both are told at about one time, the later socket's first. */
static void closes_out_of_order_are_told_apart_by_a_cookie_that_was_read(void **state)
{
	(void)state;
	scene_frame("event", 100, 450);
	opened(100);
	opened(400);
	closed(450, 6, 22);
	closed(451, 5, 11);
	scene_frame("poll", 110, 111);
	read_row('+', 71, 5);
	settle();
	assert_sent(100, 0, 11);
	assert_sent(0, 71, 11);
	assert_sent(400, 0, 22);
	assert_false(timeline_closed_untold(&tl, 0, T(0), T(1000)));
}

static void a_told_cookie_decides_too(void **state)
{
	(void)state;
	scene_frame("event", 100, 300);
	opened(200);
	scene_say("use ! 1 " USED " 6 %lld send %lld 0 \\N \\N 10 %llu 10", (long long)T(200),
		  (long long)T(205), (unsigned long long)OLD);
	closed(210, 5, 11);
	scene_frame("poll", 220, 221);
	read_row('+', 72, 0);
	settle();
	assert_sent(200, 0, 0);
	assert_int_equal(tl.sockets[tl.sockets[0].other].inode, 72);
}

/* Its close was told while the reading was under way. */
static void a_reading_around_the_close_is_of_the_same_socket(void **state)
{
	(void)state;
	scene_frame("event", 100, 300);
	opened(100);
	closed(150, 6, 22);
	scene_frame("poll", 140, 160);
	read_row('+', 72, 6);
	settle();
	assert_sent(0, 72, 22);
	assert_sent(100, 0, 22);
	assert_int_equal(tl.sockets[tl.sockets[0].other].other, 0);
}

/* It may have seen either. */
static void a_reading_around_an_opening_is_of_neither_socket(void **state)
{
	(void)state;
	scene_frame("event", 100, 300);
	opened(100);
	opened(150);
	scene_frame("poll", 140, 160);
	read_row('+', 72, 0);
	settle();
	for (size_t i = 0; i < tl.count.sockets; i++)
		assert_int_equal(tl.sockets[i].other, TIMELINE_NONE);
}

static void without_a_cookie_it_is_the_first_after_the_last_sighting(void **state)
{
	(void)state;
	scene_frame("poll", 100, 101);
	read_row('+', 71, 0);
	scene_frame("event", 50, 400);
	closed(50, 4, 44);
	closed(150, 5, 11);
	closed(400, 6, 22);
	scene_frame("poll", 500, 501);
	read_row('-', 71, 0);
	settle();
	assert_sent(0, 71, 11);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(what_a_reading_saw_does_not_take_the_close_of_the_next_one),
		FACT(closes_that_come_late_keep_their_order),
		FACT(one_close_of_two_sockets_is_of_neither),
		FACT(two_closes_of_one_socket_are_of_none),
		FACT(a_close_that_is_said_twice_is_one),
		FACT(closes_that_wait_for_each_other_are_counted_once),
		FACT(a_cookie_decides),
		FACT(the_close_of_an_untold_socket_is_not_the_next_ones),
		FACT(closes_out_of_order_are_told_apart_by_a_cookie_that_was_read),
		FACT(a_told_cookie_decides_too),
		FACT(a_reading_around_the_close_is_of_the_same_socket),
		FACT(a_reading_around_an_opening_is_of_neither_socket),
		FACT(without_a_cookie_it_is_the_first_after_the_last_sighting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
