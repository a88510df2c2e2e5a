/* test_witness.c - facts about records that are read again. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/walk.h"
#include "analyze/witness.h"
#include "tests/unit/scene.h"

static char path[64];
static struct witness wanted[2];

static int begin(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/pcapwho-witness.XXXXXX");
	close(mkstemp(path));
	unlink(path);
	scene_begin();
	scene_sequence = 1;
	scene_frame("key", 0, 1);
	scene_process('+', 10, OLD, "bash");
	scene_socket('+', "tcp 10.0.0.1 40000 10.0.0.2 80 1", 500);
	scene_frame("poll", 1000, 1001);
	scene_process('~', 10, OLD, "curl");
	scene_holder('+', 500, 10, OLD, 5);
	scene_socket('-', "tcp 10.0.0.1 40000 10.0.0.2 80 1", 500);
	scene_frame("poll", 2000, 2001);
	memset(wanted, 0, sizeof(wanted));
	return 0;
}

static int end(void **state)
{
	(void)state;
	witness_release(wanted, 2);
	unlink(path);
	scene_free();
	return 0;
}

static int read_both(void)
{
	struct error error = ERROR_NONE;

	scene_write_snap(path);
	return witness_read(AT_FDCWD, path, wanted, 2, &error);
}

/* The line is there in the file as text, at its offset and its number. */
static void assert_stands(const struct witness *w, const char *beginning)
{
	size_t length, lines = 1;
	const char *text = scene_text(&length);

	assert_true(w->line != 0);
	assert_true(w->offset_bytes + w->length < length);
	assert_memory_equal(text + w->offset_bytes, w->text, w->length);
	assert_int_equal(text[w->offset_bytes + w->length], '\n');
	assert_memory_equal(w->text, beginning, strlen(beginning));
	for (size_t i = 0; i < w->offset_bytes; i++)
		lines += text[i] == '\n';
	assert_int_equal(w->line, lines);
}

static void want_socket(struct witness *w, uint64_t sequence)
{
	*w = (struct witness){.type = SNAP_TYPE_SOCKET,
			      .sequence = sequence,
			      .netns = 1,
			      .table = SNAP_TCP,
			      .inode = 500};
	endpoint_parse(HOST, &w->local.address);
	endpoint_parse(PEER, &w->remote.address);
	w->local.port = 40000;
	w->remote.port = 80;
}

static void a_record_is_found_as_it_stands(void **state)
{
	(void)state;
	want_socket(&wanted[0], 1);
	wanted[1] = (struct witness){.type = SNAP_TYPE_HOLDER,
				     .sequence = 2,
				     .inode = 500,
				     .pid = 10,
				     .start_ticks = OLD,
				     .fd = 5};
	assert_int_equal(read_both(), 0);
	assert_stands(&wanted[0], "socket\t+\t1\ttcp\t10.0.0.1\t40000");
	assert_stands(&wanted[1], "holder\t+\t500\t10");
	assert_int_equal(wanted[1].in_frame, 2);
}

static void one_line_may_be_wanted_twice(void **state)
{
	(void)state;
	want_socket(&wanted[0], 1);
	want_socket(&wanted[1], 1);
	assert_int_equal(read_both(), 0);
	assert_stands(&wanted[0], "socket");
	assert_stands(&wanted[1], "socket");
}

static void what_is_gone_is_no_witness(void **state)
{
	(void)state;
	want_socket(&wanted[0], 2);
	wanted[1] = (struct witness){.type = SNAP_TYPE_FRAME, .sequence = 9};
	assert_int_equal(read_both(), 0);
	assert_int_equal(wanted[0].line, 0);
	assert_int_equal(wanted[1].line, 0);
}

static void a_process_is_found_by_its_program(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		wanted[i] = (struct witness){.type = SNAP_TYPE_PROCESS,
					     .pid = 10,
					     .start_ticks = OLD,
					     .comm = "curl",
					     .exe = "/bin/curl",
					     .cmdline = "curl",
					     .only_program = i == 0};
	assert_int_equal(read_both(), 0);
	assert_true(wanted[0].same_program);
	assert_int_equal(wanted[0].in_frame, 2);
	assert_stands(&wanted[0], "process\t~\t10");
	assert_false(wanted[1].same_program); /* the first one, of another program */
	assert_int_equal(wanted[1].in_frame, 1);
}

static void of_two_programs_in_a_frame_the_expected_one_is_found(void **state)
{
	static const char *const names[] = {"sh", "wget"}, *const files[] = {"/bin/sh",
									     "/bin/wget"};

	(void)state;
	scene_frame("event", 3000, 3001);
	scene_process('!', 12, OLD, "sh");
	scene_process('!', 12, OLD, "wget");
	for (int i = 0; i < 2; i++)
		wanted[i] = (struct witness){.type = SNAP_TYPE_PROCESS,
					     .sequence = scene_sequence - 1,
					     .pid = 12,
					     .start_ticks = OLD,
					     .comm = names[i],
					     .exe = files[i],
					     .cmdline = names[i]};
	assert_int_equal(read_both(), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(wanted[i].same_program);
		assert_non_null(strstr(wanted[i].text, files[i]));
	}
	assert_int_equal(wanted[1].line, wanted[0].line + 1);
}

static void an_exec_is_found_by_its_moment(void **state)
{
	(void)state;
	scene_exec(10, OLD, 1200);
	scene_exec(10, OLD, 1300);
	for (int i = 0; i < 2; i++)
		wanted[i] = (struct witness){.type = SNAP_TYPE_EXEC,
					     .pid = 10,
					     .start_ticks = OLD,
					     .at_ns = T(i == 0 ? 1300 : 1400)};
	assert_int_equal(read_both(), 0);
	assert_stands(&wanted[0], "exec\t!\t10\t");
	assert_non_null(strstr(wanted[0].text, "1795290601300000000"));
	assert_int_equal(wanted[1].line, 0);
}

static void before_damage_things_are_found(void **state)
{
	struct stat st;

	(void)state;
	want_socket(&wanted[0], 1);
	wanted[1] = (struct witness){.type = SNAP_TYPE_FRAME, .sequence = 3};
	scene_write_snap(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 40), 0); /* the last frame, and gzip's end */
	assert_int_equal(witness_read(AT_FDCWD, path, wanted, 2, NULL), ERROR_DAMAGED);
	assert_stands(&wanted[0], "socket");
	assert_int_equal(wanted[1].line, 0);
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(witness_read(AT_FDCWD, path, wanted, 0, NULL), ERROR_NO_INPUT);
}

/* One process of n programs, each of which is wanted, twice: steps that it takes. */
static uint64_t steps_for(size_t n)
{
	struct witness *all = calloc(2 * n, sizeof(*all));
	char(*names)[24] = calloc(n, sizeof(*names));
	uint64_t before;

	assert_non_null(all);
	assert_non_null(names);
	scene_frame("event", 3000, 3001);
	for (size_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		scene_say("process ! 77 77 1 1000 %s \\N %s / 1 \\N \\N", names[i], names[i]);
		all[2 * i] = (struct witness){.type = SNAP_TYPE_PROCESS,
					      .pid = 77,
					      .start_ticks = 77,
					      .comm = names[i],
					      .cmdline = names[i],
					      .only_program = true};
		all[2 * i + 1] = all[2 * i];
	}
	scene_write_snap(path);
	before = walk_steps;
	assert_int_equal(witness_read(AT_FDCWD, path, all, 2 * n, NULL), 0);
	for (size_t i = 0; i < 2 * n; i++) {
		assert_true(all[i].same_program);
		assert_int_equal(all[i].line, all[0].line + i / 2);
		assert_non_null(strstr(all[i].text, names[i / 2]));
	}
	witness_release(all, 2 * n);
	free(all);
	free(names);
	return walk_steps - before;
}

static void many_wanted_are_found_one_by_one(void **state)
{
	uint64_t small = steps_for(1000), large;

	(void)state;
	end(NULL);
	begin(NULL);
	large = steps_for(4000);
	if (small < 1000 || large >= 6 * small)
		fail_msg("%llu steps for 1,000, %llu for 4,000", (unsigned long long)small,
			 (unsigned long long)large);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_record_is_found_as_it_stands),
		FACT(one_line_may_be_wanted_twice),
		FACT(what_is_gone_is_no_witness),
		FACT(a_process_is_found_by_its_program),
		FACT(before_damage_things_are_found),
		FACT(a_file_that_is_not_there_is_an_error),
		FACT(an_exec_is_found_by_its_moment),
		FACT(many_wanted_are_found_one_by_one),
		FACT(of_two_programs_in_a_frame_the_expected_one_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
