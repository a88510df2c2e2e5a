/* test_timeline.c - facts about lives: what was seen, when, and when it was not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scene.h"

#define NONE	TIMELINE_NONE
#define CLIENT	"tcp " HOST " 40000 " PEER " 80 1"
#define WAITING "tcp " HOST " 40000 " PEER " 80 6"

static struct timeline tl;

static void assert_life(const struct timeline_life *life, uint32_t first, uint32_t last,
			uint32_t absent_before, uint32_t gone)
{
	assert_int_equal(life->first, first);
	assert_int_equal(life->last, last);
	assert_int_equal(life->absent_before, absent_before);
	assert_int_equal(life->gone, gone);
}

static int begin(void **state)
{
	(void)state;
	scene_begin();
	return 0;
}

static int end(void **state)
{
	(void)state;
	timeline_release(&tl);
	scene_free();
	return 0;
}

static void a_socket_lives_from_first_to_last_sighting(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_socket('-', CLIENT, 500);
	scene_frame("poll", 4000, 4001);
	scene_read_whole(&tl);
	assert_int_equal(tl.count.sockets, 1);
	assert_life(&tl.sockets[0].life, 1, 2, 0, 3);
	assert_int_equal(timeline_first_end(&tl, &tl.sockets[0].life), T(1001));
	assert_int_equal(timeline_gone_end(&tl, &tl.sockets[0].life), T(3001));
	assert_false(timeline_current(&tl, &tl.sockets[0].life, T(1001) - 1));
	assert_true(timeline_current(&tl, &tl.sockets[0].life, T(1001)));
	assert_true(timeline_current(&tl, &tl.sockets[0].life, T(3001) - 1));
	assert_false(timeline_current(&tl, &tl.sockets[0].life, T(3001)));
	assert_int_equal(tl.frames[0].sockets, 0);
	assert_int_equal(tl.frames[1].sockets, 1);
	assert_int_equal(tl.frames[2].sockets, 1);
	assert_int_equal(tl.frames[3].sockets, 0);
}

static void what_is_never_gone_was_seen_by_the_last_full_reading(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 1000, 1001);
	scene_frame("event", 1500, 1501);
	scene_read_whole(&tl);
	assert_life(&tl.sockets[0].life, 0, 1, NONE, NONE);
	assert_true(timeline_current(&tl, &tl.sockets[0].life, T(99999)));
}

static void a_row_missed_once_is_no_absence(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', CLIENT, 500);
	scene_socket('+', WAITING, 0);
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
	scene_socket('-', WAITING, 0);
	scene_holder('-', 500, 10, OLD, 3);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', CLIENT, 500);
	scene_socket('+', WAITING, 0);
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("poll", 3000, 3001);
	scene_read_whole(&tl);
	assert_int_equal(tl.count.sockets, 2);
	assert_life(&tl.sockets[0].life, 0, 3, NONE, NONE);
	assert_life(&tl.sockets[1].life, 0, 3, NONE, NONE);
	assert_int_equal(tl.count.holders, 1);
	assert_life(&tl.holders[0].life, 0, 3, NONE, NONE);
}

static void a_row_without_inode_that_was_missing_twice_is_another(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', WAITING, 0);
	scene_frame("poll", 1000, 1001);
	scene_socket('-', WAITING, 0);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_socket('+', WAITING, 0);
	scene_read_whole(&tl);
	assert_int_equal(tl.count.sockets, 2);
	assert_life(&tl.sockets[0].life, 0, 0, NONE, 1);
	assert_life(&tl.sockets[1].life, 3, 3, 2, NONE);
	assert_int_equal(tl.sockets[0].next_tuple, 1);
}

static void repeated_rows_are_one_socket(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', CLIENT, 500);
	scene_socket('+', CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 3);
	scene_holder('+', 500, 10, OLD, 3);
	scene_address('+', 1, HOST, 24);
	scene_address('+', 1, HOST, 24);
	scene_process('+', 10, OLD, "curl");
	scene_process('+', 10, OLD, "curl");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.sockets, 1);
	assert_int_equal(tl.count.holders, 1);
	assert_int_equal(tl.count.addresses, 1);
	assert_int_equal(tl.count.images, 1);
	assert_int_equal(tl.frames[0].sockets, 1);
	assert_int_equal(tl.frames[0].processes, 1);
}

static void time_wait_is_a_row_of_its_own(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
	scene_say("socket + 1 " WAITING " 0 0 0 0");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.sockets, 2);
	assert_life(&tl.sockets[0].life, 0, 0, NONE, 1);
	assert_int_equal(tl.sockets[0].uid, 1000);
	assert_int_equal(tl.sockets[1].inode, 0);
	assert_int_equal(timeline_holders(&tl, 0), NONE);
}

static void a_changed_row_keeps_its_life_and_shows_its_last_state(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_say("socket + 1 " CLIENT " 1000 500 0 0");
	scene_frame("event", 500, 501);
	scene_say("socket ~ 1 tcp " HOST " 40000 " PEER " 80 8 1000 500 77 0");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.sockets, 1);
	assert_life(&tl.sockets[0].life, 0, 1, NONE, NONE);
	assert_int_equal(tl.sockets[0].state, SNAP_CLOSE_WAIT);
	assert_int_equal(tl.sockets[0].cookie, 77);
}

static void a_later_key_frame_ends_what_it_has_not(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', CLIENT, 500);
	scene_socket('+', "udp 0.0.0.0 53 0.0.0.0 0 7", 501);
	scene_process('+', 10, OLD, "curl");
	scene_holder('+', 500, 10, OLD, 3);
	scene_address('+', 1, HOST, 24);
	scene_say("interface + 1 2 eth0 1");
	scene_frame("poll", 1000, 1001);
	scene_frame("key", 2000, 2001);
	scene_socket('+', "udp 0.0.0.0 53 0.0.0.0 0 7", 501);
	scene_read_whole(&tl);
	assert_life(&tl.sockets[0].life, 0, 1, NONE, 2);
	assert_life(&tl.sockets[1].life, 0, 2, NONE, NONE);
	assert_life(&tl.images[0].life, 0, 1, NONE, 2);
	assert_life(&tl.holders[0].life, 0, 1, NONE, 2);
	assert_life(&tl.addresses[0].life, 0, 1, NONE, 2);
	assert_life(&tl.interfaces[0].life, 0, 1, NONE, 2);
}

static void an_event_frame_says_nothing_by_absence(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', "udp 0.0.0.0 53 0.0.0.0 0 7", 501);
	scene_frame("event", 400, 401);
	scene_frame("event", 500, 501);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 1000, 1001);
	scene_socket('-', "udp 0.0.0.0 53 0.0.0.0 0 7", 501);
	scene_read_whole(&tl);
	assert_life(&tl.sockets[0].life, 0, 0, NONE, 3); /* not confirmed by the events */
	assert_life(&tl.sockets[1].life, 2, 3, 0, NONE); /* and they are no absence */
}

static void what_an_event_showed_and_the_next_poll_had_not_is_gone(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("event", 500, 501);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
	scene_read_whole(&tl);
	assert_life(&tl.sockets[0].life, 1, 1, 0, 2);
}

/* The execs of several processes are told together: of one that was born meanwhile too. */
static void an_exec_is_after_the_fork_that_was_told_before(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("event", 1400, 1500);
	scene_born(10, OLD, 1, 1450);
	scene_process('!', 10, OLD, "sh");
	scene_frame("event", 1300, 1600);
	scene_process('!', 9, OLD, "curl");
	scene_process('!', 10, OLD, "dig");
	scene_frame("event", 1700, 1710);
	scene_exec(10, OLD, 1480);
	scene_read_whole(&tl);
	assert_string_equal(tl.images[timeline_image_at(&tl, 0, T(1479))].exe, "/bin/sh");
	assert_string_equal(tl.images[timeline_image_at(&tl, 0, T(1480))].exe, "/bin/dig");
	assert_string_equal(tl.images[timeline_image_at(&tl, 0, T(1700))].exe, "/bin/dig");
}

static void exec_makes_a_new_image_of_the_same_process(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_process('+', 10, OLD, "bash");
	scene_frame("poll", 1000, 1001);
	scene_frame("event", 1500, 1501);
	scene_process('~', 10, OLD, "curl");
	scene_frame("poll", 2000, 2001);
	scene_say("process - 10 500 1 1000 curl /bin/curl curl / 1 256 %lld", (long long)T(1900));
	scene_read_whole(&tl);
	assert_int_equal(tl.count.processes, 1);
	assert_int_equal(tl.count.images, 2);
	assert_life(&tl.images[0].life, 0, 1, NONE, 2);
	assert_life(&tl.images[1].life, 2, 2, 1, 3);
	assert_string_equal(tl.images[1].exe, "/bin/curl");
	assert_int_equal(tl.images[0].next, 1);
	assert_int_equal(timeline_image_at(&tl, 0, T(-5)), 0);
	assert_int_equal(timeline_image_at(&tl, 0, T(1500) - 1), 0);
	assert_int_equal(timeline_image_at(&tl, 0, T(1500)), 1);
	assert_int_equal(timeline_image_at(&tl, 0, T(9000)), 1);
	assert_true(tl.processes[0].exit_known);
	assert_int_equal(tl.processes[0].exit_code, 256);
	assert_int_equal(tl.processes[0].exit_ns, T(1900));
	assert_int_equal(tl.frames[2].processes, 1);
	assert_int_equal(tl.frames[3].processes, 0);
}

static void another_start_is_another_process(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_process('+', 10, OLD, "old");
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("poll", 1000, 1001);
	scene_process('-', 10, OLD, "old");
	scene_holder('-', 500, 10, OLD, 3);
	scene_process('+', 10, TICKS(700), "new");
	scene_holder('+', 501, 10, TICKS(700), 3);
	scene_read_whole(&tl);
	assert_int_equal(tl.count.processes, 2);
	assert_int_equal(tl.holders[timeline_holders(&tl, 500)].process, 0);
	assert_int_equal(tl.holders[timeline_holders(&tl, 501)].process, 1);
	assert_life(&tl.images[0].life, 0, 0, NONE, 1);
}

static void start_times_come_from_ticks_and_the_boot_clock(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_process('+', 10, TICKS(-500), "a");
	scene_frame("poll", 1000, 1001);
	scene_process('+', 11, TICKS(730), "b");
	scene_holder('+', 500, 12, 0, 3); /* imported: not known */
	scene_read_whole(&tl);
	assert_int_equal(tl.processes[0].start_ns, T(-500));
	assert_int_equal(tl.processes[1].start_ns, T(730));
	assert_true(tl.processes[2].start_ns == INT64_MIN);
	assert_int_equal(tl.processes[2].first_image, NONE);
	assert_int_equal(timeline_image_at(&tl, 2, T(0)), NONE);
}

static void ticks_that_do_not_fit_have_no_time(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_process('+', 10, UINT64_C(18446744073709551615), "a");
	scene_read_whole(&tl);
	assert_true(tl.processes[0].start_ns == INT64_MIN);
}

static void a_mapped_row_is_found_by_the_packet(void **state)
{
	struct endpoint local, remote;

	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', "tcp6 ::ffff:10.0.0.1 80 ::ffff:10.0.0.2 40000 1", 500);
	scene_socket('+', "raw 0.0.0.0 1 0.0.0.0 0 7", 501);
	scene_socket('+', "icmp 0.0.0.0 77 0.0.0.0 0 7", 502);
	scene_socket('+', "packet 0.0.0.0 3 0.0.0.0 0 0", 503);
	scene_read_whole(&tl);
	assert_int_equal(endpoint_parse(HOST, &local.address), 0);
	assert_int_equal(endpoint_parse(PEER, &remote.address), 0);
	local.port = 80;
	remote.port = 40000;
	assert_int_equal(timeline_by_tuple(&tl, 6, &local, &remote), 0);
	assert_int_equal(timeline_by_tuple(&tl, 17, &local, &remote), NONE);
	assert_int_equal(timeline_by_tuple(&tl, 6, &remote, &local), NONE);
	assert_int_equal(endpoint_parse("0.0.0.0", &local.address), 0);
	local.port = 1;
	assert_int_equal(timeline_by_port(&tl, 255, &local), 1);
	local.port = 77;
	assert_int_equal(timeline_by_port(&tl, 1, &local), 2);
	assert_false(tl.sockets[3].connected);
}

static void addresses_and_interfaces_have_lives(void **state)
{
	struct endpoint_address host;

	(void)state;
	assert_int_equal(endpoint_parse(HOST, &host), 0);
	scene_frame("key", 0, 1);
	scene_address('+', 1, HOST, 24);
	scene_say("interface + 1 2 eth0 1");
	scene_frame("poll", 1000, 1001);
	scene_address('-', 1, HOST, 24);
	scene_address('+', 7, HOST, 24);
	scene_say("interface + 1 2 wan0 1");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.addresses, 2);
	assert_int_equal(timeline_by_address(&tl, &host), 0);
	assert_int_equal(tl.addresses[0].next_address, 1);
	assert_life(&tl.addresses[0].life, 0, 0, NONE, 1);
	assert_int_equal(tl.count.interfaces, 2);
	assert_string_equal(tl.interfaces[1].name, "wan0");
}

static void the_kernels_count_goes_to_the_socket_that_closed(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_say("socket + 1 " CLIENT " 1000 500 71 0");
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
	scene_say("socket + 1 " CLIENT " 1000 600 72 0");
	scene_say("closed ! 1 tcp " HOST " 40000 " PEER " 80 0 71 %lld 1 2 3 4 5 6 7 8",
		  (long long)T(900));
	scene_read_whole(&tl);
	assert_int_equal(tl.sockets[0].closed.closed_ns, T(900));
	assert_int_equal(tl.sockets[0].closed.bytes_received, 2);
	assert_int_equal(tl.sockets[1].closed.closed_ns, 0);
}

static void absences_steps_counters_and_headers_are_kept(void **state)
{
	(void)state;
	scene_meta("hostname", "alpha");
	scene_meta("kernel", "\\N");
	scene_frame("key", 0, 1);
	scene_say("absent + descriptors 0 10  EACCES");
	scene_say("capture ! 100 1 0 99 0");
	scene_frame("poll", 1000, 1001);
	scene_say("absent - descriptors 0 10  EACCES");
	scene_say("clock ! -5000 0");
	scene_say("capture ! 200 2 0 198 0");
	scene_say("weather ! fine");
	scene_read_whole(&tl);
	assert_string_equal(timeline_meta(&tl, "hostname", NULL), "alpha");
	assert_null(timeline_meta(&tl, "kernel", NULL));
	assert_null(timeline_meta(&tl, "nothing", NULL));
	assert_int_equal(tl.count.absences, 1);
	assert_int_equal(tl.absences[0].until, 1);
	assert_int_equal(tl.unreadable, 1);
	assert_int_equal(tl.count.steps, 1);
	assert_int_equal(tl.steps[0].step_ns, -5000);
	assert_int_equal(tl.capture_first.received, 100);
	assert_int_equal(tl.capture_last.received, 200);
	assert_int_equal(tl.unknown_records, 1);
	assert_int_equal(tl.capture_netns, 1);
}

/* Whose ticks make no time; it ended before the fork that was told, more than once. */
static void a_start_that_is_no_time_is_not_known(void **state)
{
	(void)state;
	scene_frame("event", 6000, 6001);
	scene_born(10, UINT64_MAX, 1, 5000);
	for (int64_t ms = 20; ms > 0; ms -= 10)
		scene_say("process - 10 %llu 1 1000 x /bin/x x \\N 1 0 %lld",
			  (unsigned long long)UINT64_MAX, (long long)T(ms));
	scene_process('!', 11, UINT64_MAX / 100 / 4, "y");
	scene_process('!', 12, TICKS(10), "z");
	scene_read_whole(&tl);
	assert_int_equal(tl.count.processes, 3);
	assert_int_equal(tl.processes[0].start_ns, INT64_MIN);
	assert_true(tl.processes[0].forked_twice);
	assert_int_equal(timeline_began(&tl, 0, false), INT64_MIN);
	assert_int_equal(tl.processes[1].start_ns, INT64_MIN);
	assert_int_equal(tl.processes[2].start_ns, T(10));
}

static void a_torn_tail_costs_the_torn_frame_only(void **state)
{
	struct snapfile_reader *reader;
	struct error error = ERROR_NONE;
	size_t whole, torn;
	char *copy;

	(void)state;
	scene_frame("key", 0, 1);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 1000, 1001);
	(void)scene_text(&whole);
	scene_frame("poll", 2000, 2001);
	scene_socket('-', CLIENT, 500);
	copy = strdup(scene_text(&torn));
	for (size_t cut = whole + 1; cut < torn; cut++) {
		assert_int_equal(snapfile_open_memory(copy, cut, "torn", &reader, &error), 0);
		assert_int_equal(timeline_read(reader, NULL, &tl, &error), ERROR_DAMAGED);
		snapfile_close(reader);
		assert_int_equal(tl.count.frames, 2);
		assert_life(&tl.sockets[0].life, 0, 1, NONE, NONE);
		assert_int_equal(tl.frames[1].sockets, 1);
		timeline_release(&tl);
	}
	free(copy);
	timeline_init(&tl);
}

static void full_readings_are_found_by_time(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("event", 500, 501);
	scene_frame("poll", 1000, 1001);
	scene_read_whole(&tl);
	assert_int_equal(timeline_full_at(&tl, T(1) - 1), NONE);
	assert_int_equal(timeline_full_at(&tl, T(1)), 0);
	assert_int_equal(timeline_full_at(&tl, T(700)), 0);
	assert_int_equal(timeline_full_at(&tl, T(1001) - 1), 0);
	assert_int_equal(timeline_full_at(&tl, T(1001)), 2);
	assert_int_equal(timeline_full_at(&tl, INT64_MAX), 2);
}

static void a_momentary_sighting_is_gone_when_a_later_reading_has_it_not(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("event", 500, 501);
	scene_socket('!', CLIENT, 500);
	scene_holder('!', 500, 10, OLD, 3);
	scene_process('!', 10, OLD, "curl");
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_read_whole(&tl);
	assert_life(&tl.sockets[0].life, 1, 1, 0, 2);
	assert_life(&tl.holders[0].life, 1, 1, 0, 2);
	assert_life(&tl.images[0].life, 1, 1, 0, 2);
}

static void a_momentary_sighting_goes_on_when_a_later_reading_has_it(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("event", 500, 501);
	scene_socket('!', CLIENT, 500);
	scene_frame("poll", 1000, 1001);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 2000, 2001);
	scene_read_whole(&tl);
	assert_int_equal(tl.count.sockets, 1);
	assert_life(&tl.sockets[0].life, 1, 3, 0, NONE);
}

/* What was seen while a poll was under way may have come after the poll had looked. */
static void a_reading_under_way_is_no_absence(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("event", 1010, 1011);
	scene_socket('!', CLIENT, 500);
	scene_frame("poll", 1000, 1020);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 3000, 3001);
	scene_read_whole(&tl);
	assert_life(&tl.sockets[0].life, 1, 4, 0, NONE);
}

static void a_reading_that_ended_after_the_event_is_no_absence_before_it(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_frame("poll", 1000, 1020);
	scene_frame("event", 1010, 1030); /* written after the poll, begun within it */
	scene_socket('!', CLIENT, 500);
	scene_read_whole(&tl);
	assert_int_equal(tl.sockets[0].life.absent_before, 0);
}

/* Seen by A, by B twice, and by A again: two of A's, with B's between them. */
static void a_descriptor_that_came_back_later_is_held_anew(void **state)
{
	(void)state;
	scene_frame("key", 0, 1);
	scene_holder('+', 500, 10, OLD, 3);
	scene_frame("poll", 1000, 1001);
	scene_holder('-', 500, 10, OLD, 3);
	scene_holder('+', 500, 11, OLD, 3);
	scene_frame("poll", 2000, 2001);
	scene_frame("poll", 3000, 3001);
	scene_holder('-', 500, 11, OLD, 3);
	scene_holder('+', 500, 10, OLD, 3);
	scene_read_whole(&tl);
	assert_int_equal(tl.count.holders, 3);
	assert_life(&tl.holders[0].life, 0, 0, NONE, 1);
	assert_life(&tl.holders[2].life, 3, 3, 2, NONE);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_socket_lives_from_first_to_last_sighting),
		FACT(what_is_never_gone_was_seen_by_the_last_full_reading),
		FACT(a_row_missed_once_is_no_absence),
		FACT(a_row_without_inode_that_was_missing_twice_is_another),
		FACT(repeated_rows_are_one_socket),
		FACT(time_wait_is_a_row_of_its_own),
		FACT(a_changed_row_keeps_its_life_and_shows_its_last_state),
		FACT(a_later_key_frame_ends_what_it_has_not),
		FACT(an_event_frame_says_nothing_by_absence),
		FACT(what_an_event_showed_and_the_next_poll_had_not_is_gone),
		FACT(exec_makes_a_new_image_of_the_same_process),
		FACT(an_exec_is_after_the_fork_that_was_told_before),
		FACT(another_start_is_another_process),
		FACT(start_times_come_from_ticks_and_the_boot_clock),
		FACT(ticks_that_do_not_fit_have_no_time),
		FACT(a_mapped_row_is_found_by_the_packet),
		FACT(addresses_and_interfaces_have_lives),
		FACT(the_kernels_count_goes_to_the_socket_that_closed),
		FACT(absences_steps_counters_and_headers_are_kept),
		FACT(a_start_that_is_no_time_is_not_known),
		FACT(a_torn_tail_costs_the_torn_frame_only),
		FACT(full_readings_are_found_by_time),
		FACT(a_momentary_sighting_is_gone_when_a_later_reading_has_it_not),
		FACT(a_momentary_sighting_goes_on_when_a_later_reading_has_it),
		FACT(a_reading_under_way_is_no_absence),
		FACT(a_reading_that_ended_after_the_event_is_no_absence_before_it),
		FACT(a_descriptor_that_came_back_later_is_held_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
