/* Which program a process ran at a time: its execs where they were told, else
 * the readings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scene.h"

static struct timeline tl;

/* Process 10 ran bash when it was read at 0 to 10 ms, and curl when it was read
 * at some moment of 100 to 200 ms. */
static int begin(void **state)
{
	(void)state;
	scene_begin();
	scene_frame("key", 0, 10);
	scene_process('+', 10, OLD, "bash");
	return 0;
}

static int end(void **state)
{
	(void)state;
	timeline_release(&tl);
	scene_free();
	return 0;
}

static const char *program_of(uint32_t pid, int64_t ms)
{
	for (uint32_t p = 0; p < tl.count.processes; p++) {
		uint32_t image = timeline_image_at(&tl, p, T(ms));

		if (tl.processes[p].pid == pid)
			return image == TIMELINE_NONE ? NULL : tl.images[image].comm;
	}
	return NULL;
}

static const char *program_at(int64_t ms)
{
	return program_of(10, ms);
}

static void read_curl(void)
{
	scene_frame("poll", 100, 200);
	scene_process('~', 10, OLD, "curl");
}

static void without_an_exec_the_reading_has_to_be_over(void **state)
{
	(void)state;
	read_curl();
	scene_read_whole(&tl);
	assert_string_equal(program_at(199), "bash");
	assert_string_equal(program_at(200), "curl");
}

static void an_exec_tells_the_moment(void **state)
{
	(void)state;
	read_curl();
	scene_frame("event", 140, 210);
	scene_exec(10, OLD, 60);
	scene_read_whole(&tl);
	assert_string_equal(program_at(59), "bash");
	assert_string_equal(program_at(60), "curl");
}

static void an_exec_before_the_image_was_read_last_made_that_one(void **state)
{
	(void)state;
	scene_frame("event", 5, 8);
	scene_exec(10, OLD, -3);
	read_curl();
	scene_read_whole(&tl);
	assert_string_equal(program_at(150), "bash");
	assert_string_equal(program_at(200), "curl");
}

static void an_exec_of_another_process_says_nothing(void **state)
{
	(void)state;
	scene_frame("event", 50, 70);
	scene_process('!', 11, OLD, "sh");
	scene_exec(11, OLD, 60);
	read_curl();
	scene_read_whole(&tl);
	assert_string_equal(program_at(150), "bash");
}

/* The one of 150 ms may lie before or after the reading: it made the image that
 * is read next, which nothing else can have made. */
static void each_image_has_its_own_exec(void **state)
{
	(void)state;
	read_curl();
	scene_frame("poll", 300, 310);
	scene_process('~', 10, OLD, "wget");
	scene_frame("event", 300, 320);
	scene_exec(10, OLD, 60);
	scene_exec(10, OLD, 150);
	scene_read_whole(&tl);
	assert_string_equal(program_at(59), "bash");
	assert_string_equal(program_at(60), "curl");
	assert_string_equal(program_at(149), "curl");
	assert_string_equal(program_at(150), "wget");
}

/* What was executed in between is not known; the one before has gone by then. */
static void of_several_execs_the_last_one_made_it(void **state)
{
	(void)state;
	read_curl();
	scene_frame("event", 200, 210);
	scene_exec(10, OLD, 60);
	scene_exec(10, OLD, 90);
	scene_read_whole(&tl);
	assert_string_equal(program_at(90), "curl");
}

/* An event's frame is collected for a while before what it tells of. */
static void of_an_event_the_exec_counts_too(void **state)
{
	(void)state;
	scene_frame("event", 100, 150);
	scene_exec(10, OLD, 140);
	scene_process('!', 10, OLD, "curl");
	scene_frame("poll", 300, 310);
	scene_process('~', 10, OLD, "curl");
	scene_read_whole(&tl);
	assert_string_equal(program_at(139), "bash");
	assert_string_equal(program_at(140), "curl");
}

/* A fork that was told, and a start that was read: one tick apart. */
static void an_exec_under_a_told_start_counts(void **state)
{
	(void)state;
	scene_frame("event", 20, 30);
	scene_born(10, OLD + 1, 1, 15);
	scene_exec(10, OLD + 1, 25);
	read_curl();
	scene_read_whole(&tl);
	assert_string_equal(program_at(24), "bash");
	assert_string_equal(program_at(25), "curl");
}

/* A poll takes its time, and an event's frame that stands behind it in the file
 * may tell what was before. */
static void what_was_told_within_a_long_reading_counts(void **state)
{
	(void)state;
	read_curl();
	scene_frame("event", 150, 160);
	scene_process('!', 10, OLD, "wget");
	scene_exec(10, OLD, 140);
	scene_read_whole(&tl);
	assert_string_equal(program_at(139), "bash");
	assert_string_equal(program_at(140), "wget");
	assert_string_equal(program_at(300), "wget");
}

/* The poll read it after its exec, and stands before what was told of its fork. */
static void what_was_told_of_its_fork_comes_first(void **state)
{
	(void)state;
	scene_frame("poll", 100, 200);
	scene_process('+', 11, TICKS(120), "curl");
	scene_frame("event", 120, 130);
	scene_born(11, TICKS(120), 10, 120);
	scene_process('!', 11, TICKS(120), "bash");
	scene_frame("event", 150, 180);
	scene_exec(11, TICKS(120), 140);
	scene_frame("poll", 300, 310);
	scene_read_whole(&tl);
	assert_string_equal(program_of(11, 139), "bash");
	assert_string_equal(program_of(11, 140), "curl");
	assert_string_equal(program_of(11, 400), "curl");
}

static void what_was_told_with_its_exec_does_not(void **state)
{
	(void)state;
	scene_frame("poll", 100, 200);
	scene_process('+', 11, TICKS(120), "bash");
	scene_frame("event", 120, 180);
	scene_born(11, TICKS(120), 10, 120);
	scene_exec(11, TICKS(120), 140);
	scene_process('!', 11, TICKS(120), "curl");
	scene_read_whole(&tl);
	assert_string_equal(program_of(11, 139), "bash");
	assert_string_equal(program_of(11, 140), "curl");
}

static void read_remnant(const char *comm)
{
	scene_frame("poll", 100, 200);
	scene_say("process ~ 10 %llu 1 0 %s \\N  \\N 1 \\N \\N", (unsigned long long)OLD, comm);
}

static void what_ends_is_still_what_it_was(void **state)
{
	(void)state;
	read_remnant("bash");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.images, 1);
	assert_string_equal(tl.images[0].exe, "/bin/bash");
}

static void what_ends_under_another_name_is_another_program(void **state)
{
	(void)state;
	read_remnant("curl");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.images, 2);
	assert_string_equal(program_at(200), "curl");
}

static void what_was_told_of_it_completes_it(void **state)
{
	(void)state;
	read_remnant("curl");
	scene_frame("event", 150, 160);
	scene_exec(10, OLD, 60);
	scene_process('!', 10, OLD, "curl");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.images, 2);
	assert_string_equal(tl.images[1].exe, "/bin/curl");
	assert_string_equal(program_at(60), "curl");
	assert_string_equal(program_at(59), "bash");
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(without_an_exec_the_reading_has_to_be_over),
		FACT(an_exec_tells_the_moment),
		FACT(an_exec_before_the_image_was_read_last_made_that_one),
		FACT(an_exec_of_another_process_says_nothing),
		FACT(each_image_has_its_own_exec),
		FACT(of_several_execs_the_last_one_made_it),
		FACT(of_an_event_the_exec_counts_too),
		FACT(an_exec_under_a_told_start_counts),
		FACT(what_was_told_within_a_long_reading_counts),
		FACT(what_was_told_of_its_fork_comes_first),
		FACT(what_was_told_with_its_exec_does_not),
		FACT(what_ends_is_still_what_it_was),
		FACT(what_ends_under_another_name_is_another_program),
		FACT(what_was_told_of_it_completes_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
