/* test_serving.c - facts about who serves on a port, and what the next segment knows of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "analyze/serving.h"
#include "analyze/walk.h"
#include "tests/unit/scene.h"
#include "tests/unit/work.h"

#define RECORDING "0123456789abcdef0123456789abcdef"

static struct serving_book book;
static struct timeline tl;
static struct serving serving;

static int begin(void **state)
{
	(void)state;
	assert_int_equal(serving_recording(&book, RECORDING), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	serving_release(&serving);
	serving_book_release(&book);
	timeline_release(&tl);
	return 0;
}

static void listens(uint32_t pid, unsigned port, uint32_t inode)
{
	char where[64];

	snprintf(where, sizeof(where), "tcp 0.0.0.0 %u 0.0.0.0 0 10", port);
	scene_socket('+', where, inode);
	scene_holder('+', inode, pid, OLD, inode);
}

static void accepted(char op, uint32_t pid, unsigned peer, uint32_t inode)
{
	char where[64];

	snprintf(where, sizeof(where), "tcp " HOST " 80 " PEER " %u 1", peer);
	scene_socket(op, where, inode);
	scene_holder(op, inode, pid, OLD, inode);
}

/* Ends the segment, and notes it. */
static void note(int64_t last_ms, uint32_t recording)
{
	scene_frame("rotate", last_ms, last_ms + 1);
	serving_release(&serving);
	timeline_release(&tl);
	scene_read_whole(&tl);
	scene_free();
	assert_int_equal(serving_note(&serving, &tl, &book, recording, 0), 0);
}

/* A segment in which 10 listens on 80, and 11 runs. */
static void segment(int64_t begin_ms)
{
	scene_begin();
	scene_frame(begin_ms == 0 ? "key" : "restated", begin_ms, begin_ms + 1);
	scene_process('+', 10, OLD, "server");
	scene_process('+', 11, OLD, "other");
	listens(10, 80, 500);
}

static struct serving_facts facts_of(uint16_t port, uint32_t pid)
{
	for (size_t i = 0; i < serving.user_count; i++) {
		const struct serving_user *u = &serving.users[i];

		if (u->port == port && tl.processes[u->process].pid == pid) {
			assert_ptr_equal(serving_find_user(&serving, port, u->process), u);
			return u->facts;
		}
	}
	fail_msg("nothing is known of %u on %u", pid, port);
	return (struct serving_facts){0};
}

static const struct serving_row *row_of(uint16_t port, uint32_t pid)
{
	for (size_t i = 0; i < book.count; i++)
		if (book.rows[i].port == port && book.rows[i].pid == pid)
			return &book.rows[i];
	return NULL;
}

/* ----------------------------------------------------------------- the book -- */

static struct serving_row row(uint16_t port, uint32_t pid, int64_t serves_ns, uint32_t inode)
{
	return (struct serving_row){.pid = pid,
				    .start_ticks = OLD,
				    .port = port,
				    .facts = {.listens_ns = 100,
					      .serves_ns = serves_ns,
					      .again_ns = SERVING_NEVER,
					      .others_ns = SERVING_NEVER,
					      .hands_ns = SERVING_NEVER,
					      .inode = inode}};
}

static void the_book_keeps_the_earliest(void **state)
{
	struct serving_row late = row(80, 10, 300, 7), early = row(80, 10, 200, 6);
	struct serving_row other = row(81, 10, SERVING_NEVER, 0);

	(void)state;
	other.facts.again_ns = 50;
	assert_int_equal(serving_book_add(&book, &late), 0);
	assert_int_equal(serving_book_add(&book, &other), 0);
	assert_int_equal(serving_book_add(&book, &early), 0);
	assert_int_equal(serving_book_add(&book, &late), 0);
	assert_int_equal(book.count, 2);
	assert_int_equal(row_of(80, 10)->facts.serves_ns, 200);
	assert_int_equal(row_of(80, 10)->facts.inode, 6);
	assert_int_equal(row_of(80, 10)->facts.again_ns, SERVING_NEVER);
	assert_int_equal(row_of(81, 10)->facts.again_ns, 50);
}

static void a_recording_has_one_number(void **state)
{
	(void)state;
	assert_int_equal(serving_recording(&book, "another"), 1);
	assert_int_equal(serving_recording(&book, RECORDING), 0);
	assert_int_equal(serving_recording(&book, "another"), 1);
	assert_int_equal(book.recording_count, 2);
}

/* ------------------------------------------------------- the next segment -- */

static void what_one_was_seen_with_before_is_known(void **state)
{
	(void)state;
	segment(0);
	scene_frame("poll", 1000, 1001);
	accepted('+', 10, 40000, 501);
	scene_frame("poll", 2000, 2001);
	accepted('-', 10, 40000, 501);
	accepted('+', 10, 40001, 502);
	note(3000, 0);
	assert_int_equal(serving.told_count, 1);
	segment(3000);
	note(4000, 0);
	/* What counts of the first one's last readings counts from the one before. */
	assert_int_equal(facts_of(80, 10).serves_ns, T(0));
	assert_int_equal(facts_of(80, 10).again_ns, T(1000));
	assert_int_equal(facts_of(80, 10).hands_ns, SERVING_NEVER);
	/* Nothing new is nothing to tell. */
	assert_int_equal(serving.told_count, 0);
}

/* One connection in the one, another in the other. */
static void two_segments_are_twice(void **state)
{
	(void)state;
	segment(0);
	scene_frame("event", 1000, 1001);
	accepted('!', 10, 40000, 501);
	note(3000, 0);
	assert_int_equal(facts_of(80, 10).again_ns, SERVING_NEVER);
	segment(3000);
	scene_frame("event", 3500, 3501);
	accepted('!', 10, 40001, 502);
	note(4000, 0);
	assert_int_equal(facts_of(80, 10).again_ns, T(3000));
	assert_int_equal(serving.told_count, 1);
	assert_int_equal(serving.told[0].facts.again_ns, T(3000));
	assert_int_equal(row_of(80, 10)->facts.again_ns, T(3000));
}

/* A child that is gone cannot be asked any more, and what it did is known of who listens. */
static void who_hands_on_is_known(void **state)
{
	(void)state;
	segment(0);
	scene_frame("poll", 1000, 1001);
	scene_say("process + 12 %llu 10 1000 child /bin/child child / 1 \\N \\N",
		  (unsigned long long)OLD);
	accepted('+', 12, 40000, 501);
	note(3000, 0);
	segment(3000);
	note(4000, 0);
	assert_int_equal(facts_of(80, 10).hands_ns, T(0));
	assert_int_equal(facts_of(80, 10).serves_ns, SERVING_NEVER);
	assert_null(row_of(80, 12));
}

/* It listened before, and has what it accepted: so it did not get it from another one. */
static void who_listened_before_is_no_heir(void **state)
{
	(void)state;
	scene_begin();
	scene_frame("key", 0, 1);
	scene_process('+', 10, OLD, "server");
	scene_process('+', 11, OLD, "other");
	listens(10, 80, 500);
	listens(11, 80, 600);
	note(3000, 0);
	segment(3000);
	accepted('+', 11, 40000, 501);
	note(4000, 0);
	assert_int_equal(facts_of(80, 11).listens_ns, T(0));
	assert_int_equal(serving_find_port(&serving, 80)->hands_ns, SERVING_NEVER);
	assert_int_equal(facts_of(80, 10).hands_ns, SERVING_NEVER);
	assert_int_equal(serving_find_port(&serving, 80)->others_ns, SERVING_NEVER);
	assert_int_equal(serving_find_port(&serving, 80)->serves_ns, INT64_MIN);
}

/* What the first reading shows of it was there before what only the second one does. That it was
 * handed something says nothing of what it does itself. */
static void who_listens_only_later_was_handed_it(void **state)
{
	(void)state;
	segment(0);
	accepted('+', 11, 40000, 501);
	scene_frame("poll", 1000, 1001);
	listens(11, 80, 600);
	note(4000, 0);
	assert_int_equal(facts_of(80, 11).listens_ns, T(0));
	assert_int_equal(facts_of(80, 11).serves_ns, INT64_MIN);
	assert_int_equal(serving_find_port(&serving, 80)->hands_ns, INT64_MIN);
	assert_int_equal(row_of(80, 10)->facts.hands_ns, T(0));
	assert_int_equal(row_of(80, 11)->facts.hands_ns, SERVING_NEVER);
}

static void who_is_gone_is_forgotten(void **state)
{
	(void)state;
	segment(0);
	listens(11, 443, 600);
	note(3000, 0);
	assert_non_null(row_of(443, 11));
	scene_begin();
	scene_frame("restated", 3000, 3001);
	scene_process('+', 10, OLD, "server");
	scene_process('+', 11, OLD + 1, "stranger");
	listens(10, 80, 500);
	note(4000, 0);
	assert_null(serving_find_port(&serving, 443));
	assert_non_null(serving_find_port(&serving, 80));
}

/* Where it listened, and somebody still does. */
static void all_ports_of_a_process_are_known(void **state)
{
	(void)state;
	segment(0);
	listens(10, 443, 510);
	listens(10, 8080, 520);
	listens(10, 9090, 530);
	note(3000, 0);
	segment(3000);
	listens(11, 443, 610);
	listens(11, 8080, 620);
	note(4000, 0);
	assert_int_equal(facts_of(443, 10).listens_ns, T(0));
	assert_int_equal(facts_of(8080, 10).listens_ns, T(0));
	assert_int_equal(facts_of(80, 10).listens_ns, INT64_MIN);
	assert_int_equal(serving.port_count, 3);
}

/* Another server had the port, and its children served: that is not the new one's. */
static void what_others_handed_before_is_not_its_own(void **state)
{
	(void)state;
	segment(0);
	scene_frame("poll", 1000, 1001);
	accepted('+', 12, 40000, 501);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	listens(11, 80, 600);
	scene_frame("poll", 4000, 4001);
	accepted('+', 13, 40001, 502);
	note(5000, 0);
	assert_int_equal(row_of(80, 10)->facts.hands_ns, T(0));
	assert_int_equal(row_of(80, 11)->facts.listens_ns, T(2000));
	assert_int_equal(row_of(80, 11)->facts.hands_ns, T(3000));
}

/* Another like the one that is gone may come and go, and no reading has it. */
static void that_another_one_served_stays_known(void **state)
{
	(void)state;
	segment(0);
	listens(11, 80, 600);
	accepted('+', 10, 40000, 501);
	scene_frame("poll", 1000, 1001);
	accepted('+', 11, 40001, 502);
	note(3000, 0);
	assert_int_equal(row_of(80, 10)->facts.others_ns, T(0));
	assert_int_equal(row_of(80, 11)->facts.others_ns, T(0));
	assert_int_equal(row_of(80, 10)->facts.hands_ns, SERVING_NEVER);
	scene_begin();
	scene_frame("restated", 3000, 3001);
	scene_process('+', 10, OLD, "server");
	listens(10, 80, 500);
	note(4000, 0);
	assert_int_equal(facts_of(80, 10).again_ns, T(0));
	assert_int_equal(facts_of(80, 10).others_ns, T(0));
}

/* It served before the new one listened, and that is alone since. */
static void who_served_before_it_is_no_other(void **state)
{
	(void)state;
	segment(0);
	accepted('+', 10, 40000, 501);
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	listens(11, 80, 600);
	accepted('+', 11, 40001, 502);
	note(3000, 0);
	assert_int_equal(row_of(80, 11)->facts.listens_ns, T(1000));
	assert_int_equal(row_of(80, 11)->facts.others_ns, SERVING_NEVER);
	assert_int_equal(row_of(80, 10)->facts.others_ns, T(1000));
}

static void another_recording_is_not_asked(void **state)
{
	(void)state;
	segment(0);
	listens(11, 443, 600);
	note(3000, 0);
	segment(3000);
	note(4000, serving_recording(&book, "another"));
	assert_null(serving_find_port(&serving, 443));
	segment(3000);
	note(4000, SERVING_NONE);
	assert_null(serving_find_port(&serving, 443));
	assert_int_equal(serving.told_count, 0);
}

/* The book may have it, if segments are loaded in another order. */
static void a_later_segment_changes_nothing(void **state)
{
	(void)state;
	segment(3000);
	listens(11, 443, 600);
	scene_frame("poll", 3500, 3501);
	accepted('+', 11, 40000, 501);
	note(4000, 0);
	segment(0);
	note(3000, 0);
	assert_null(serving_find_port(&serving, 443));
	assert_int_equal(facts_of(80, 10).listens_ns, INT64_MIN);
	assert_int_equal(facts_of(80, 10).hands_ns, SERVING_NEVER);
	assert_int_equal(row_of(80, 10)->facts.listens_ns, T(0));
}

/* The second segment begins before the child was seen, by a clock that was set back meanwhile. */
static void handed_before_the_clock_was_set_back(void)
{
	segment(0);
	accepted('+', 10, 40000, 501);
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_say("process + 12 %llu 10 1000 child /bin/child child / 1 \\N \\N",
		  (unsigned long long)OLD);
	accepted('+', 12, 40001, 502);
	note(4000, 0);
	assert_int_equal(row_of(80, 10)->facts.again_ns, T(0));
	assert_int_equal(row_of(80, 10)->facts.others_ns, T(2000));
	assert_int_equal(row_of(80, 10)->facts.hands_ns, T(2000));
	segment(1500);
	note(2500, 0);
	assert_int_equal(facts_of(80, 10).again_ns, T(0));
}

static void what_is_known_against_it_stands_when_the_clock_is_set_back(void **state)
{
	(void)state;
	handed_before_the_clock_was_set_back();
	assert_int_equal(facts_of(80, 10).others_ns, T(1500) - 1);
	assert_int_equal(facts_of(80, 10).hands_ns, T(1500) - 1);
	/* For later segments, and for who explains. */
	assert_int_equal(row_of(80, 10)->facts.others_ns, T(1500) - 1);
	assert_int_equal(row_of(80, 10)->facts.hands_ns, T(1500) - 1);
	assert_int_equal(serving.told_count, 1);
}

/* Which of the two did what is not known, and only one of them can be there later. */
static void who_stands_for_two_is_not_told_of(void **state)
{
	(void)state;
	segment(0);
	scene_frame("event", 500, 501);
	scene_born(12, TICKS(110), 1, 111);
	scene_born(12, TICKS(110), 1, 117);
	scene_frame("poll", 1000, 1001);
	scene_process('+', 12, TICKS(110), "server");
	scene_socket('+', "tcp 0.0.0.0 443 0.0.0.0 0 10", 520);
	scene_holder('+', 520, 12, TICKS(110), 3);
	note(2000, 0);
	assert_int_equal(facts_of(443, 12).listens_ns, T(0));
	assert_null(row_of(443, 12));
}

/* As an explanation has it: of all segments. */
static void what_later_segments_showed_is_told_by_its_time(void **state)
{
	(void)state;
	book.has_later = true;
	handed_before_the_clock_was_set_back();
	assert_int_equal(facts_of(80, 10).others_ns, SERVING_NEVER);
	assert_int_equal(facts_of(80, 10).hands_ns, SERVING_NEVER);
}

/* A process listens on n ports, and in n segments more it is still there. */
static uint64_t steps_for(unsigned n)
{
	uint64_t before = walk_steps;

	segment(0);
	for (unsigned i = 0; i < n; i++)
		listens(11, 1000 + i, 1000 + i);
	note(1000, 0);
	segment(1000);
	note(2000, 0);
	for (unsigned i = 0; i < n; i++) {
		serving_release(&serving);
		assert_int_equal(serving_note(&serving, &tl, &book, 0, 0), 0);
	}
	assert_int_equal(book.count, n + 1);
	assert_int_equal(serving.user_count, 1);
	before = walk_steps - before;
	serving_book_release(&book);
	assert_int_equal(serving_recording(&book, RECORDING), 0);
	return before;
}

static void many_ports_and_many_segments_of_one_process(void **state)
{
	(void)state;
	work_compare(500, steps_for(500), steps_for(2000));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(the_book_keeps_the_earliest),
		FACT(a_recording_has_one_number),
		FACT(what_one_was_seen_with_before_is_known),
		FACT(two_segments_are_twice),
		FACT(who_hands_on_is_known),
		FACT(who_listened_before_is_no_heir),
		FACT(who_listens_only_later_was_handed_it),
		FACT(who_is_gone_is_forgotten),
		FACT(all_ports_of_a_process_are_known),
		FACT(what_others_handed_before_is_not_its_own),
		FACT(that_another_one_served_stays_known),
		FACT(who_served_before_it_is_no_other),
		FACT(another_recording_is_not_asked),
		FACT(a_later_segment_changes_nothing),
		FACT(what_is_known_against_it_stands_when_the_clock_is_set_back),
		FACT(what_later_segments_showed_is_told_by_its_time),
		FACT(who_stands_for_two_is_not_told_of),
		FACT(many_ports_and_many_segments_of_one_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
