#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "snapshot/watcher_people.h"

#define MS     INT64_C(1000000)
#define TICK   (10 * MS)
#define SECOND (1000 * MS)
/* Where the tests' time begins: a process that begins then starts in this tick. */
#define T0     (1000 * SECOND)
#define TICKS0 (T0 / TICK)

static int setup(void **state)
{
	*state = watcher_people_new(TICK);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	watcher_people_free(*state);
	return 0;
}

/* ---------------------------------------------------------------- told -- */

static void fork_at(struct watcher_people *people, int64_t time_ns, uint32_t parent, uint32_t child)
{
	const struct tracepoint_event event = {.kind = TRACEPOINT_FORK,
					       .time_ns = time_ns,
					       .pid = parent,
					       .tid = parent,
					       .u.child = child};

	watcher_people_feed(people, &event);
}

static void exit_at(struct watcher_people *people, int64_t time_ns, uint32_t pid, uint32_t tid)
{
	const struct tracepoint_event event = {
		.kind = TRACEPOINT_EXIT, .time_ns = time_ns, .pid = pid, .tid = tid};

	watcher_people_feed(people, &event);
}

static void exec_at(struct watcher_people *people, int64_t time_ns, uint32_t pid, const char *path)
{
	struct tracepoint_event event = {
		.kind = TRACEPOINT_EXEC, .time_ns = time_ns, .pid = pid, .tid = pid};

	memcpy(event.u.exec.path, path, strlen(path));
	watcher_people_feed(people, &event);
}

static void lost_at(struct watcher_people *people, int64_t time_ns)
{
	const struct tracepoint_event event = {.kind = TRACEPOINT_LOST, .time_ns = time_ns};

	watcher_people_feed(people, &event);
}

static struct procfs_facts *make_facts(uint32_t pid, uint64_t start_ticks, const char *exe)
{
	struct procfs_facts *facts = calloc(1, sizeof(*facts));

	assert_non_null(facts);
	facts->references = 1;
	facts->record = (struct snap_process){.pid = pid,
					      .start_ticks = start_ticks,
					      .ppid = 1,
					      .uid = 33,
					      .comm = exe ? strrchr(exe, '/') + 1 : "zombie",
					      .exe = exe,
					      .cmdline = exe,
					      .cmdline_length = exe ? strlen(exe) : 0,
					      .netns = 4};
	return facts;
}

static void read_at(struct watcher_people *people, int64_t image_ns, int64_t read_ns, uint32_t pid,
		    uint64_t start_ticks, const char *exe)
{
	struct procfs_facts *facts = make_facts(pid, start_ticks, exe);

	watcher_people_read(people, facts, image_ns, read_ns, false);
	procfs_facts_unref(facts);
}

/* A poll with one process (exe NULL: none), begun at begin_ns. */
static void poll_at(struct watcher_people *people, int64_t begin_ns, uint32_t pid,
		    uint64_t start_ticks, const char *exe)
{
	struct procfs_process process = {0};
	struct pollstate state = {.head.monotonic_ns = begin_ns};

	if (exe) {
		process.facts = make_facts(pid, start_ticks, exe);
		state.walk.processes = &process;
		state.walk.process_count = 1;
	}
	watcher_people_learn(people, &state);
	procfs_facts_unref(process.facts);
}

/* --------------------------------------------------------------- asked -- */

static bool is_known(struct watcher_people *people, uint32_t pid, int64_t time_ns)
{
	struct watcher_person person;

	if (!watcher_people_find(people, pid, pid, time_ns, &person))
		return false;
	procfs_facts_unref(person.facts);
	return true;
}

static struct watcher_person person_at(struct watcher_people *people, uint32_t pid, int64_t time_ns)
{
	struct watcher_person person;

	assert_true(watcher_people_find(people, pid, pid, time_ns, &person));
	procfs_facts_unref(person.facts); /* the table has its own */
	return person;
}

static void expect_exe(struct watcher_people *people, uint32_t pid, int64_t time_ns,
		       const char *exe)
{
	struct watcher_person person = person_at(people, pid, time_ns);
	struct snap_process record = watcher_person_record(&person);

	if (!exe)
		assert_null(record.exe);
	else
		assert_string_equal(record.exe, exe);
}

/* --------------------------------------------------------------- forks -- */

static void test_a_child_has_what_its_parent_had(void **state)
{
	struct watcher_person person;
	struct snap_process record;

	poll_at(*state, T0, 7, 5, "/bin/server");
	fork_at(*state, T0 + 25 * MS, 7, 8);
	person = person_at(*state, 8, T0 + 26 * MS);
	record = watcher_person_record(&person);
	assert_string_equal(record.exe, "/bin/server");
	assert_int_equal(record.pid, 8);
	assert_int_equal(record.ppid, 7);
	assert_int_equal(record.uid, 33);
	assert_int_equal(record.start_ticks, TICKS0 + 2);
	assert_int_equal(record.netns, 4);
	assert_true(person.is_derived);
	assert_false(person.is_read);
	assert_false(person.is_told);
	assert_int_equal(person.born_ns, T0 + 25 * MS);
}

static void test_a_start_is_counted_from_the_boot(void **state)
{
	watcher_people_set_boot(*state, 3 * SECOND);
	fork_at(*state, T0, 7, 8);
	assert_int_equal(person_at(*state, 8, T0).start_ticks, (T0 + 3 * SECOND) / TICK);
}

static void test_a_reading_makes_the_start_exact(void **state)
{
	struct watcher_person person;

	fork_at(*state, T0 + 1, 7, 8);
	read_at(*state, 0, T0 + MS, 8, TICKS0 - 1, "/bin/a");
	person = person_at(*state, 8, T0 + MS);
	assert_int_equal(person.start_ticks, TICKS0 - 1);
	assert_false(person.is_derived);
	assert_true(person.is_read);
}

static void test_a_fork_told_after_its_reading_is_the_same(void **state)
{
	struct watcher_person person;

	read_at(*state, T0 + MS, T0 + 2 * MS, 8, TICKS0 - 1, "/bin/a");
	fork_at(*state, T0 + 1, 7, 8);
	person = person_at(*state, 8, T0 + 3 * MS);
	assert_int_equal(person.start_ticks, TICKS0 - 1);
	assert_false(person.is_derived);
	assert_int_equal(person.born_ns, T0 + 1);
	assert_int_equal(person.parent, 7);
	expect_exe(*state, 8, T0 + 3 * MS, "/bin/a");
}

static void test_a_start_two_ticks_away_is_another_process(void **state)
{
	uint64_t first;

	fork_at(*state, T0, 7, 8);
	first = person_at(*state, 8, T0).id;
	read_at(*state, 0, T0 + 40 * MS, 8, TICKS0 + 2, "/bin/b");
	assert_int_not_equal(person_at(*state, 8, T0 + 40 * MS).id, first);
	assert_int_equal(person_at(*state, 8, T0 + 5 * MS).id, first);
}

static void test_a_child_of_a_stranger_is_known_by_its_fork_alone(void **state)
{
	struct watcher_person person;
	struct snap_process record;

	fork_at(*state, T0, 7, 8);
	person = person_at(*state, 8, T0);
	record = watcher_person_record(&person);
	assert_null(record.comm);
	assert_null(record.exe);
	assert_int_equal(record.uid, SNAP_UNKNOWN_UID);
	assert_int_equal(record.ppid, 7);
	assert_int_equal(record.netns, 0);
}

static void enter_at(struct watcher_people *people, int64_t time_ns, uint32_t pid, uint32_t tid,
		     uint64_t netns)
{
	watcher_people_feed(people, &(struct tracepoint_event){.kind = TRACEPOINT_NETNS,
							       .time_ns = time_ns,
							       .pid = pid,
							       .tid = tid,
							       .in_task = true,
							       .u.netns = netns});
}

static void test_the_kernel_says_in_which_namespace_a_process_is(void **state)
{
	poll_at(*state, T0, 7, 5, "/bin/server");
	fork_at(*state, T0 + MS, 7, 8);
	assert_false(person_at(*state, 8, T0 + MS).is_placed);
	enter_at(*state, T0 + MS, 8, 8, 4);
	assert_true(person_at(*state, 8, T0 + MS).is_placed);
	enter_at(*state, T0 + 2 * MS, 8, 8, 77);
	assert_int_equal(person_at(*state, 8, T0 + 2 * MS).netns, 77);
	/* Read before the event was taken, of another thread's clock: it has the last word. */
	read_at(*state, 0, T0 + 3 * MS, 8, TICKS0, "/bin/server");
	assert_int_equal(person_at(*state, 8, T0 + 3 * MS).netns, 77);
	lost_at(*state, T0 + 4 * MS);
	read_at(*state, 0, T0 + 5 * MS, 8, TICKS0, "/bin/server");
	assert_int_equal(person_at(*state, 8, T0 + 5 * MS).netns, 4);
}

static void test_a_thread_in_another_namespace_makes_its_process_uncertain(void **state)
{
	fork_at(*state, T0 + MS, 7, 8);
	enter_at(*state, T0 + MS, 8, 8, 4);
	enter_at(*state, T0 + 2 * MS, 8, 9, 4);
	assert_true(person_at(*state, 8, T0 + 2 * MS).is_placed);
	enter_at(*state, T0 + 3 * MS, 8, 9, 77);
	assert_false(person_at(*state, 8, T0 + 3 * MS).is_placed);
	assert_int_equal(person_at(*state, 8, T0 + 3 * MS).netns, 4);
}

/* ---------------------------------------------------- one pid, several -- */

static void test_the_time_tells_two_of_one_pid_apart(void **state)
{
	uint64_t first, second;

	fork_at(*state, T0, 7, 8);
	first = person_at(*state, 8, T0).id;
	exit_at(*state, T0 + 3 * MS, 8, 8);
	fork_at(*state, T0 + 4 * MS, 7, 8);
	second = person_at(*state, 8, T0 + 4 * MS).id;
	assert_int_not_equal(first, second);
	assert_int_equal(person_at(*state, 8, T0 + 2 * MS).id, first);
	assert_int_equal(person_at(*state, 8, T0 + 3 * MS + 1).id, first);
	assert_false(is_known(*state, 8, T0 - 1));
}

static void test_a_reading_of_the_next_one_takes_nothing_from_the_last(void **state)
{
	uint64_t first;

	fork_at(*state, T0, 7, 8);
	first = person_at(*state, 8, T0).id;
	/* Its exit is not taken yet. */
	read_at(*state, T0 + 57 * MS, T0 + 58 * MS, 8, TICKS0 + 5, "/bin/next");
	exit_at(*state, T0 + 54 * MS, 8, 8);
	assert_int_equal(person_at(*state, 8, T0 + 53 * MS).id, first);
	fork_at(*state, T0 + 56 * MS, 7, 8);
	assert_int_equal(person_at(*state, 8, T0 + 55 * MS).id, first);
	expect_exe(*state, 8, T0 + 57 * MS, "/bin/next");
	assert_false(person_at(*state, 8, T0 + 57 * MS).is_gone);
}

static void test_a_late_fork_stands_before_the_next_one(void **state)
{
	uint64_t second;

	fork_at(*state, T0 + 50 * MS, 7, 8);
	second = person_at(*state, 8, T0 + 50 * MS).id;
	fork_at(*state, T0, 7, 8);
	assert_int_equal(person_at(*state, 8, T0 + 51 * MS).id, second);
	assert_int_not_equal(person_at(*state, 8, T0 + 49 * MS).id, second);
}

static void test_the_epoch_tells_that_a_pid_may_be_another_now(void **state)
{
	uint64_t epoch;

	fork_at(*state, T0, 7, 8);
	epoch = watcher_people_epoch(*state);
	fork_at(*state, T0, 7, 9);
	exit_at(*state, T0 + MS, 8, 8);
	assert_int_equal(watcher_people_epoch(*state), epoch);
	fork_at(*state, T0 + 2 * MS, 7, 8);
	assert_int_not_equal(watcher_people_epoch(*state), epoch);
}

/* ---------------------------------------------------------------- ends -- */

static void test_acts_shortly_after_the_exit_are_its_own(void **state)
{
	fork_at(*state, T0, 7, 8);
	exit_at(*state, T0 + MS, 8, 8);
	assert_true(is_known(*state, 8, T0 + MS + SECOND));
	assert_true(person_at(*state, 8, T0 + MS).is_gone);
	assert_false(is_known(*state, 8, T0 + MS + SECOND + 1));
}

static void test_a_thread_outlives_its_leader(void **state)
{
	struct watcher_person person;

	fork_at(*state, T0, 7, 8);
	exit_at(*state, T0 + MS, 8, 8);
	assert_true(watcher_people_find(*state, 8, 88, T0 + 5 * SECOND, &person));
	assert_false(person.is_gone);
	assert_false(person_at(*state, 8, T0 + 6 * SECOND).is_gone);
	exit_at(*state, T0 + 7 * SECOND, 8, 88);
	assert_true(person_at(*state, 8, T0 + 7 * SECOND).is_gone);
}

static void test_a_thread_that_ends_ends_nobody_else(void **state)
{
	fork_at(*state, T0, 7, 8);
	exit_at(*state, T0 + MS, 8, 88);
	assert_false(person_at(*state, 8, T0 + 2 * MS).is_gone);
}

static void test_an_exec_of_a_thread_takes_the_place_of_its_leader(void **state)
{
	fork_at(*state, T0, 7, 8);
	exit_at(*state, T0 + MS, 8, 8);
	exec_at(*state, T0 + MS, 8, "/bin/next");
	assert_true(is_known(*state, 8, T0 + 9 * SECOND));
}

static void test_the_gone_are_forgotten_in_their_order(void **state)
{
	for (uint32_t i = 0; i <= WATCHER_PEOPLE_GONE; i++) {
		fork_at(*state, T0 + i, 7, 1000 + i);
		exit_at(*state, T0 + i, 1000 + i, 1000 + i);
	}
	assert_false(is_known(*state, 1000, T0));
	assert_true(is_known(*state, 1001, T0 + 1));
	assert_true(is_known(*state, 1000 + WATCHER_PEOPLE_GONE, T0 + WATCHER_PEOPLE_GONE));
}

static void test_the_living_have_no_limit(void **state)
{
	for (uint32_t i = 1; i < 100000; i++)
		fork_at(*state, T0 + i, 7, 1000 + i);
	for (uint32_t i = 1; i < 100000; i++)
		assert_int_equal(person_at(*state, 1000 + i, T0 + i).born_ns, T0 + i);
}

static void test_a_poll_without_it_ends_one_whose_exit_was_lost(void **state)
{
	fork_at(*state, T0, 7, 8);
	fork_at(*state, T0 + 2 * SECOND, 7, 9);
	poll_at(*state, T0 + SECOND, 0, 0, NULL);
	assert_true(person_at(*state, 8, T0 + SECOND).is_gone);
	assert_false(person_at(*state, 9, T0 + 2 * SECOND).is_gone);
}

static void test_a_poll_does_not_end_kernel_threads(void **state)
{
	watcher_people_read_kernel(*state, 2, 1, T0);
	fork_at(*state, T0, 2, 40);
	poll_at(*state, T0 + SECOND, 0, 0, NULL);
	assert_true(person_at(*state, 40, T0 + 9 * SECOND).is_kernel);
}

/* ------------------------------------------------------------ programs -- */

static void test_an_exec_that_nobody_read_has_its_path_and_name_only(void **state)
{
	struct watcher_person person;
	struct snap_process record;

	poll_at(*state, T0, 7, 5, "/bin/server");
	fork_at(*state, T0 + MS, 7, 8);
	exec_at(*state, T0 + 2 * MS, 8, "/usr/bin/a-rather-long-name");
	person = person_at(*state, 8, T0 + 3 * MS);
	record = watcher_person_record(&person);
	assert_string_equal(record.exe, "/usr/bin/a-rather-long-name");
	assert_string_equal(record.comm, "a-rather-long-n");
	assert_null(record.cmdline);
	assert_int_equal(record.uid, SNAP_UNKNOWN_UID);
	exec_at(*state, T0 + 4 * MS, 8, "./here");
	person = person_at(*state, 8, T0 + 4 * MS);
	record = watcher_person_record(&person);
	assert_null(record.exe);
	assert_string_equal(record.comm, "here");
}

static void test_an_exec_that_was_read_at_once_stays_as_read(void **state)
{
	fork_at(*state, T0, 7, 8);
	read_at(*state, T0 + 2 * MS + 1, T0 + 2 * MS + 2, 8, TICKS0, "/bin/read");
	exec_at(*state, T0 + 2 * MS, 8, "/bin/path");
	expect_exe(*state, 8, T0 + 3 * MS, "/bin/read");
	assert_true(person_at(*state, 8, T0 + 3 * MS).is_read);
}

static void test_a_child_from_before_the_exec_has_the_program_before(void **state)
{
	poll_at(*state, T0, 7, 5, "/bin/old");
	read_at(*state, T0 + 5 * MS, T0 + 6 * MS, 7, 5, "/bin/new");
	fork_at(*state, T0 + 4 * MS, 7, 8);
	fork_at(*state, T0 + 7 * MS, 7, 9);
	expect_exe(*state, 8, T0 + 8 * MS, "/bin/old");
	expect_exe(*state, 9, T0 + 8 * MS, "/bin/new");
}

static void test_a_reading_from_before_the_exec_comes_too_late(void **state)
{
	read_at(*state, T0 + 5 * MS, T0 + 6 * MS, 7, 5, "/bin/new");
	poll_at(*state, T0 + 4 * MS, 7, 5, "/bin/old");
	expect_exe(*state, 7, T0 + 8 * MS, "/bin/new");
}

static void test_what_is_left_of_a_zombie_is_less_than_what_is_known(void **state)
{
	poll_at(*state, T0, 7, 5, "/bin/server");
	fork_at(*state, T0 + MS, 7, 8);
	read_at(*state, 0, T0 + 2 * MS, 8, TICKS0, NULL);
	expect_exe(*state, 8, T0 + 2 * MS, "/bin/server");
	assert_false(person_at(*state, 8, T0 + 2 * MS).is_derived);
}

static void test_a_kernel_thread_that_executes_a_program_is_none_any_more(void **state)
{
	watcher_people_read_kernel(*state, 2, 1, T0);
	fork_at(*state, T0, 2, 40);
	assert_true(person_at(*state, 40, T0).is_kernel);
	exec_at(*state, T0 + MS, 40, "/sbin/modprobe");
	assert_false(person_at(*state, 40, T0 + MS).is_kernel);
}

/* ---------------------------------------------------------------- told -- */

static void test_told_lasts_until_a_program_nobody_told(void **state)
{
	struct watcher_person person;
	int64_t exit_ns;

	fork_at(*state, T0, 7, 8);
	person = person_at(*state, 8, T0);
	assert_int_equal(watcher_people_named_start(*state, 8, T0, &exit_ns), 0);
	watcher_people_told(*state, 8, person.id);
	assert_true(person_at(*state, 8, T0).is_told);
	assert_int_equal(watcher_people_named_start(*state, 8, T0, &exit_ns), TICKS0);
	exec_at(*state, T0 + MS, 8, "/bin/next");
	assert_false(person_at(*state, 8, T0 + MS).is_told);
	assert_true(person_at(*state, 8, T0 + MS).is_named);
}

static void test_an_exec_is_told_once(void **state)
{
	struct watcher_person person;

	poll_at(*state, T0, 7, 5, "/bin/server");
	assert_int_equal(person_at(*state, 7, T0).exec_ns, 0);
	exec_at(*state, T0 + MS, 7, "/bin/next");
	person = person_at(*state, 7, T0 + MS);
	assert_int_equal(person.exec_ns, T0 + MS);
	/* A poll tells the program, but not since when. */
	poll_at(*state, T0 + 2 * MS, 7, 5, "/bin/next");
	person = person_at(*state, 7, T0 + 2 * MS);
	assert_true(person.is_told);
	assert_int_equal(person.exec_ns, T0 + MS);
	watcher_people_told(*state, 7, person.id);
	assert_int_equal(person_at(*state, 7, T0 + 2 * MS).exec_ns, 0);
	watcher_people_forget_told(*state);
	assert_int_equal(person_at(*state, 7, T0 + 2 * MS).exec_ns, T0 + MS);
}

static void test_a_lost_frame_told_nothing(void **state)
{
	poll_at(*state, T0, 7, 5, "/bin/server");
	assert_true(person_at(*state, 7, T0).is_told);
	watcher_people_forget_told(*state);
	assert_false(person_at(*state, 7, T0).is_told);
}

/* Its parent has ended; or this is the next of that pid and tick. */
static void test_whom_another_parent_is_read_of_is_told_by_its_fork(void **state)
{
	fork_at(*state, T0, 7, 8);
	poll_at(*state, T0 + MS, 8, TICKS0, "/bin/next"); /* a child of 1 */
	assert_false(person_at(*state, 8, T0).is_told);
	assert_true(person_at(*state, 8, T0).is_named);
	fork_at(*state, T0, 1, 9);
	poll_at(*state, T0 + 2 * MS, 9, TICKS0, "/bin/next");
	assert_true(person_at(*state, 9, T0).is_told);
}

/* A reading that some frame has does not say who forked it. */
static void test_a_fork_is_told_though_its_child_was_read(void **state)
{
	fork_at(*state, T0, 1, 9);
	poll_at(*state, T0 + MS, 9, TICKS0, "/bin/next");
	assert_true(person_at(*state, 9, T0).is_told);
	assert_false(person_at(*state, 9, T0).is_fork_told);
	watcher_people_fork_told(*state, 9, person_at(*state, 9, T0).id);
	assert_true(person_at(*state, 9, T0).is_fork_told);
	watcher_people_forget_told(*state);
	assert_false(person_at(*state, 9, T0).is_fork_told);
	/* Of one that was there before nothing is to be told. */
	poll_at(*state, T0 + MS, 5, TICKS0, "/bin/old");
	assert_true(person_at(*state, 5, T0 + MS).is_fork_told);
}

static void test_an_exit_has_the_start_that_was_told(void **state)
{
	int64_t exit_ns = 0;

	fork_at(*state, T0, 7, 8);
	watcher_people_told(*state, 8, person_at(*state, 8, T0).id);
	exit_at(*state, T0 + MS, 8, 8);
	exit_at(*state, T0 + 3 * MS, 8, 88);
	fork_at(*state, T0 + 50 * MS, 7, 8);
	assert_int_equal(watcher_people_named_start(*state, 8, T0 + MS, &exit_ns), TICKS0);
	assert_int_equal(exit_ns, T0 + 3 * MS);
	assert_int_equal(watcher_people_named_start(*state, 8, T0 + 51 * MS, &exit_ns), 0);
}

/* ---------------------------------------------------------------- lost -- */

static void test_after_a_loss_nobody_is_known_until_seen_again(void **state)
{
	uint64_t epoch;

	fork_at(*state, T0, 7, 8);
	epoch = watcher_people_epoch(*state);
	lost_at(*state, T0 + MS);
	assert_int_not_equal(watcher_people_epoch(*state), epoch);
	assert_false(is_known(*state, 8, T0 + 2 * MS));
	fork_at(*state, T0 + 2 * MS, 8, 9);
	assert_true(is_known(*state, 9, T0 + 2 * MS));
	read_at(*state, 0, T0 + 3 * MS, 8, TICKS0, "/bin/a");
	assert_true(is_known(*state, 8, T0 + 3 * MS));
}

static void test_who_began_later_cannot_have_acted(void **state)
{
	assert_true(watcher_people_could_act(*state, TICKS0, T0));
	assert_true(watcher_people_could_act(*state, TICKS0 + 1, T0));
	assert_false(watcher_people_could_act(*state, TICKS0 + 2, T0));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_child_has_what_its_parent_had),
		TEST(test_a_start_is_counted_from_the_boot),
		TEST(test_a_reading_makes_the_start_exact),
		TEST(test_a_fork_told_after_its_reading_is_the_same),
		TEST(test_a_start_two_ticks_away_is_another_process),
		TEST(test_a_child_of_a_stranger_is_known_by_its_fork_alone),
		TEST(test_the_kernel_says_in_which_namespace_a_process_is),
		TEST(test_a_thread_in_another_namespace_makes_its_process_uncertain),
		TEST(test_the_time_tells_two_of_one_pid_apart),
		TEST(test_a_reading_of_the_next_one_takes_nothing_from_the_last),
		TEST(test_a_late_fork_stands_before_the_next_one),
		TEST(test_the_epoch_tells_that_a_pid_may_be_another_now),
		TEST(test_acts_shortly_after_the_exit_are_its_own),
		TEST(test_a_thread_outlives_its_leader),
		TEST(test_a_thread_that_ends_ends_nobody_else),
		TEST(test_an_exec_of_a_thread_takes_the_place_of_its_leader),
		TEST(test_the_gone_are_forgotten_in_their_order),
		TEST(test_the_living_have_no_limit),
		TEST(test_a_poll_without_it_ends_one_whose_exit_was_lost),
		TEST(test_a_poll_does_not_end_kernel_threads),
		TEST(test_an_exec_that_nobody_read_has_its_path_and_name_only),
		TEST(test_an_exec_that_was_read_at_once_stays_as_read),
		TEST(test_a_child_from_before_the_exec_has_the_program_before),
		TEST(test_a_reading_from_before_the_exec_comes_too_late),
		TEST(test_what_is_left_of_a_zombie_is_less_than_what_is_known),
		TEST(test_a_kernel_thread_that_executes_a_program_is_none_any_more),
		TEST(test_told_lasts_until_a_program_nobody_told),
		TEST(test_whom_another_parent_is_read_of_is_told_by_its_fork),
		TEST(test_a_fork_is_told_though_its_child_was_read),
		TEST(test_an_exec_is_told_once),
		TEST(test_a_lost_frame_told_nothing),
		TEST(test_an_exit_has_the_start_that_was_told),
		TEST(test_after_a_loss_nobody_is_known_until_seen_again),
		TEST(test_who_began_later_cannot_have_acted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
