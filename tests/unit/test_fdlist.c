/* Facts about listings of /proc/PID/fd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/fdlist.h"

#define ROW "lrwx------ 1 v0id v0id 64 11月 19 20:52 "

/* Everything that a text gives, as one line of words, so that a test is one comparison. */
static const char *read_all(const char *text, size_t length, uint32_t hint)
{
	static char out[4096];
	static struct fdlist list;
	/* On the heap and of exact size, so that a sanitizer sees a read past the end. */
	char *bytes = malloc(length ? length : 1);
	struct fdlist_row row;
	struct error error = ERROR_NONE;
	size_t used = 0;
	int status;

	assert_non_null(bytes);
	memcpy(bytes, text, length);
	out[0] = '\0';
	fdlist_init(&list, "listing", bytes, length, hint);
	while ((status = fdlist_next(&list, &row, &error))) {
		static const char *const names[] = {"", "process", "socket", "other", "unreadable"};

		assert_true(used < sizeof(out) - 128);
		if (status == ERROR_DAMAGED)
			used += (size_t)snprintf(out + used, sizeof(out) - used, "bad@%lld ",
						 (long long)error.offset_bytes);
		else if (status < 0)
			used += (size_t)snprintf(out + used, sizeof(out) - used, "error%d ",
						 status);
		else
			used += (size_t)snprintf(out + used, sizeof(out) - used, "%s:%u/%u:%u:%u ",
						 names[row.kind], row.pid, row.tid, row.fd,
						 row.inode);
		if (status < 0 && status != ERROR_DAMAGED)
			break;
	}
	free(bytes);
	return out;
}

#define assert_reads(text, hint, wanted)                                                           \
	assert_string_equal(read_all((text), sizeof(text) - 1, (hint)), (wanted))

static void date_columns_of_any_locale_do_not_matter(void **state)
{
	(void)state;
	assert_reads(
		"total 0\n"
		"lrwx------ 1 v0id v0id 64 11月 19 11:19 10 -> socket:[27273]\n"
		"lrwx------ 1 root root 64 Nov 21 22:28 11 -> socket:[2]\n"
		"lrwx------ 1 root root 64 2026-11-21 22:28:55.588540434 +0000 12 -> socket:[3]\n"
		"lrwx------ 1 root root 64 21. Nov 2014  13 -> socket:[4]\n"
		"lrwx------ 1 root root 64 14 -> socket:[5]\n",
		2143,
		"socket:2143/2143:10:27273 socket:2143/2143:11:2 socket:2143/2143:12:3 "
		"socket:2143/2143:13:4 socket:2143/2143:14:5 ");
}

static void columns_before_the_mode_and_marks_behind_it_are_accepted(void **state)
{
	(void)state;
	assert_reads("8981 lrwx------ 1 root root 64 Nov 21 22:28 0 -> socket:[1]\n"
		     "8981 0 lrwx------ 1 root root 64 Nov 21 22:28 1 -> socket:[2]\n"
		     "lrwx------. 1 root root unconfined_u:object_r:x_t:s0 64 Nov 21 22:28 2 -> "
		     "socket:[3]\n"
		     "lrwx------    1 root     root            64 Jan  1 00:00 3 -> socket:[4]\n",
		     7, "socket:7/7:0:1 socket:7/7:1:2 socket:7/7:2:3 socket:7/7:3:4 ");
}

static void quotes_colours_and_classifying_marks_are_taken_off(void **state)
{
	(void)state;
	assert_reads(ROW "4 -> 'socket:[12345]'\n" ROW "\"5\" -> \"socket:[6]\"\n" ROW
			 "\033[0m\033[01;36m7\033[0m -> \033[40;31;01msocket:[8]\033[0m\n" ROW
			 "9 -> socket:[10]=\n",
		     3, "socket:3/3:4:12345 socket:3/3:5:6 socket:3/3:7:8 socket:3/3:9:10 ");
}

static void headings_say_whose_the_rows_below_are(void **state)
{
	(void)state;
	assert_reads("/proc/1/fd:\ntotal 0\n" ROW "0 -> /dev/null\n\n"
		     "/proc/22/fd:\ntotal 0\n" ROW "5 -> socket:[6]\n\n"
		     "/proc/33/fd:\ntotal 0\n\n"
		     "44/fd:\n合計 0\n" ROW "5 -> socket:[7]\n"
		     "'/proc/55/fd':\n",
		     0,
		     "process:1/1:0:0 other:1/1:0:0 process:22/22:0:0 socket:22/22:5:6 "
		     "process:33/33:0:0 process:44/44:0:0 socket:44/44:5:7 process:55/55:0:0 ");
}

static void a_heading_wins_over_the_hint(void **state)
{
	(void)state;
	assert_reads(ROW "1 -> socket:[5]\n\n/proc/22/fd:\n" ROW "5 -> socket:[6]\n", 99,
		     "socket:99/99:1:5 process:22/22:0:0 socket:22/22:5:6 ");
}

static void a_relative_heading_leaves_the_pid_to_the_hint(void **state)
{
	(void)state;
	assert_reads(".:\ntotal 0\n" ROW "5 -> socket:[6]\n", 9, "socket:9/9:5:6 ");
	assert_reads("fd:\ntotal 0\n" ROW "5 -> socket:[6]\n", 9, "socket:9/9:5:6 ");
	assert_reads("./fd:\n" ROW "5 -> socket:[6]\n", 9, "socket:9/9:5:6 ");
}

static void threads_keep_their_own_number(void **state)
{
	(void)state;
	assert_reads("/proc/22/task/25/fd:\n" ROW "5 -> socket:[6]\n"
		     "1 0 lrwx------ 1 a a 64 Nov 21 22:28 /proc/22/task/26/fd/7 -> socket:[8]\n",
		     0, "process:22/25:0:0 socket:22/25:5:6 socket:22/26:7:8 ");
}

static void rows_with_the_whole_path_need_no_heading(void **state)
{
	(void)state;
	assert_reads(
		"  8982  0 dr-x------   2 root root  6 Nov 21 22:28 /proc/12/fd\n"
		"  8987  0 lrwx------   1 root root 64 Nov 21 22:28 /proc/12/fd/0 -> socket:[9]\n"
		"  8988  0 lrwxrwxrwx   1 root root  0 Nov 21 22:28 /proc/12/exe -> /usr/bin/x\n"
		"lrwx------ 1 root root 64 Nov 21 22:28 /proc/13/fd/1 -> socket:[10]\n",
		0, "socket:12/12:0:9 socket:13/13:1:10 ");
}

static void other_directories_of_a_recursive_listing_are_passed_over(void **state)
{
	(void)state;
	assert_reads("/proc/12:\ntotal 0\nlrwxrwxrwx 1 a a 0 Nov 21 22:28 exe -> /usr/bin/x\n\n"
		     "/proc/12/attr:\ntotal 0\n-rw-rw-rw- 1 a a 0 Nov 21 22:28 current\n\n"
		     "/proc/12/fd:\ntotal 0\n" ROW "0 -> socket:[9]\n\n"
		     "/proc/12/fdinfo:\ntotal 0\n-r-------- 1 a a 0 Nov 21 22:28 0\n",
		     0, "process:12/12:0:0 socket:12/12:0:9 ");
}

static void a_row_without_any_pid_is_an_error_that_says_how_to_give_it(void **state)
{
	static const char text[] = "total 0\n" ROW "5 -> socket:[6]\n";
	static struct fdlist list;
	struct fdlist_row row;
	struct error error = ERROR_NONE;

	(void)state;
	fdlist_init(&list, "x.txt", text, sizeof(text) - 1, 0);
	assert_int_equal(fdlist_next(&list, &row, &error), ERROR_USAGE);
	assert_string_equal(error.path, "x.txt");
	assert_int_equal(error.offset_bytes, 8);
	assert_non_null(strstr(error.message, "--pid"));
	assert_int_equal(fdlist_next(&list, &row, &error), ERROR_USAGE);
}

static void a_listing_of_self_is_nobodys(void **state)
{
	(void)state;
	assert_reads("/proc/self/fd:\ntotal 0\n" ROW "5 -> socket:[6]\n\n/proc/3/fd:\n" ROW
		     "5 -> socket:[7]\n",
		     99, "bad@0 process:3/3:0:0 socket:3/3:5:7 ");
	assert_reads(ROW "/proc/self/fd/5 -> socket:[6]\n", 99, "bad@0 ");
}

static void what_ls_could_not_read_is_said(void **state)
{
	(void)state;
	assert_reads(
		"ls: cannot open directory '/proc/1/fd': Permission denied\n"
		"ls: 无法读取符号链接'/proc/12/fd/3': 权限不够\n"
		"find: '/proc/13/fd': Permission denied\n" ROW "8\n",
		4,
		"unreadable:1/1:0:0 unreadable:12/12:0:0 unreadable:13/13:0:0 unreadable:4/4:8:0 ");
}

static void messages_may_stand_wherever_ls_and_find_put_them(void **state)
{
	(void)state;
	assert_reads(
		"/proc/1/fd:\nls: cannot read symbolic link '/proc/1/fd/0': Permission denied\n"
		"total 0\n" ROW "0\n" ROW "1 -> socket:[9]\n",
		0, "process:1/1:0:0 unreadable:1/1:0:0 unreadable:1/1:0:0 socket:1/1:1:9 ");
	assert_reads("  1 0 dr-x------ 2 a a 292 Nov 21 22:28 /proc/1/fd\n"
		     "  2 0 lrwx------ 1 a a 64 Nov 21 22:28 /proc/1/fd/7find: /proc/1/fd/7: "
		     "Permission denied\n\n"
		     "  3 0 lrwx------ 1 a a 64 Nov 21 22:28 /proc/2/fd/8 -> socket:[9]\n",
		     0, "unreadable:1/1:7:0 socket:2/2:8:9 ");
}

static void a_damaged_row_costs_itself_alone(void **state)
{
	(void)state;
	assert_reads(ROW "4 -> socket:[5\n" ROW "5 -> socket:[6]\n", 3, "bad@0 socket:3/3:5:6 ");
	assert_reads(ROW "4 -> socket:[]\n" ROW "5 -> socket:[6]\n", 3, "bad@0 socket:3/3:5:6 ");
	assert_reads(ROW "4 -> socket:\n" ROW "5 -> socket:[6]\n", 3, "bad@0 socket:3/3:5:6 ");
	assert_reads(ROW "4 -> socket:[4294967296]\n", 3, "bad@0 ");
	assert_reads(ROW "4 -> socket:[0]\n", 3, "bad@0 ");
	assert_reads(ROW "x -> socket:[1]\n", 3, "bad@0 ");
	assert_reads(ROW "-4 -> socket:[1]\n", 3, "bad@0 ");
	assert_reads(ROW "4294967296 -> socket:[1]\n", 3, "bad@0 ");
	assert_reads("drwx------ 1 a a 64 Nov 1 1:1 4 -> socket:[1]\n", 3, "bad@0 ");
}

static void a_zero_byte_or_an_endless_line_is_damage(void **state)
{
	static char text[FDLIST_MAX_LINE + 2];

	(void)state;
	assert_reads(ROW "4 -> sock\0et:[5]\n" ROW "5 -> socket:[6]\n", 3, "bad@0 socket:3/3:5:6 ");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\n';
	assert_string_equal(read_all(text, sizeof(text), 3), "bad@0 ");
}

static void a_text_cut_anywhere_never_gives_another_inode_or_descriptor(void **state)
{
	static const char text[] = ROW "54 -> socket:[5249281]\n";

	(void)state;
	for (size_t length = 0; length < sizeof(text); length++) {
		const char *found = read_all(text, length, 3);

		if (strstr(found, "socket"))
			assert_string_equal(found, "socket:3/3:54:5249281 ");
		assert_null(strstr(found, "unreadable"));
	}
}

static void lines_may_end_with_cr_and_the_last_one_with_nothing(void **state)
{
	(void)state;
	assert_reads("total 0\r\n" ROW "4 -> socket:[5]\r\n" ROW "6 -> socket:[7]", 3,
		     "socket:3/3:4:5 socket:3/3:6:7 ");
}

static void an_arrow_in_a_target_is_part_of_it(void **state)
{
	(void)state;
	assert_reads(ROW "4 -> /tmp/1 -> socket:[5]\n", 3, "other:3/3:4:0 ");
}

static void another_kind_of_text_is_not_recognised(void **state)
{
	static const char text[] = "  sl  local_address rem_address   st\n"
				   "0: 0101007F:0035 00000000:0000 0A\nhello:\nworld\n";
	static struct fdlist list;
	struct fdlist_row row;
	struct error error = ERROR_NONE;

	(void)state;
	fdlist_init(&list, "x", text, sizeof(text) - 1, 5);
	assert_int_equal(fdlist_next(&list, &row, &error), ERROR_DAMAGED);
	assert_int_equal(fdlist_next(&list, &row, &error), ERROR_DAMAGED);
	assert_int_equal(fdlist_next(&list, &row, &error), 0);
	assert_int_equal(list.recognised, 0);
}

static void a_process_without_descriptors_is_recognised(void **state)
{
	static const char text[] = "insgesamt 0\n";
	static struct fdlist list;
	struct fdlist_row row;

	(void)state;
	fdlist_init(&list, "x", text, sizeof(text) - 1, 5);
	assert_int_equal(fdlist_next(&list, &row, NULL), 0);
	assert_int_equal(list.recognised, 1);
}

static uint32_t pid_of(const char *path)
{
	uint32_t pid = 0;

	return fdlist_pid_from_name(path, &pid) ? 0 : pid;
}

static void a_file_name_may_carry_the_pid(void **state)
{
	(void)state;
	assert_int_equal(pid_of("proc-2143-fd.txt"), 2143);
	assert_int_equal(pid_of("/a/b-77/proc-2143-fd.txt"), 2143);
	assert_int_equal(pid_of("2143"), 2143);
	assert_int_equal(pid_of("2143.fd"), 2143);
	assert_int_equal(pid_of("fd_2143"), 2143);
	assert_int_equal(pid_of("fds.2143.lst"), 2143);
	assert_int_equal(pid_of("pid2143.txt"), 2143);
	assert_int_equal(pid_of("copy/proc/2143/fd"), 2143);
	assert_int_equal(pid_of("copy/proc/2143/fd.txt"), 2143);
}

static void a_number_that_may_be_something_else_is_no_pid(void **state)
{
	(void)state;
	assert_int_equal(pid_of("fd-2014-11-19.txt"), 0);
	assert_int_equal(pid_of("2014-11-19-fd.txt"), 0);
	assert_int_equal(pid_of("listing-2014.txt"), 0);
	assert_int_equal(pid_of("listing-2014/fds.d/x.txt"), 0);
	assert_int_equal(pid_of("fd-20141119.txt"), 0);
	assert_int_equal(pid_of("fd-0.txt"), 0);
	assert_int_equal(pid_of("proc-99999999999999999999999-fd"), 0);
	assert_int_equal(pid_of("fds.txt"), 0);
	assert_int_equal(pid_of(""), 0);
	assert_int_equal(pid_of("/"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(date_columns_of_any_locale_do_not_matter),
		cmocka_unit_test(columns_before_the_mode_and_marks_behind_it_are_accepted),
		cmocka_unit_test(quotes_colours_and_classifying_marks_are_taken_off),
		cmocka_unit_test(headings_say_whose_the_rows_below_are),
		cmocka_unit_test(a_heading_wins_over_the_hint),
		cmocka_unit_test(a_relative_heading_leaves_the_pid_to_the_hint),
		cmocka_unit_test(threads_keep_their_own_number),
		cmocka_unit_test(rows_with_the_whole_path_need_no_heading),
		cmocka_unit_test(other_directories_of_a_recursive_listing_are_passed_over),
		cmocka_unit_test(a_row_without_any_pid_is_an_error_that_says_how_to_give_it),
		cmocka_unit_test(a_listing_of_self_is_nobodys),
		cmocka_unit_test(what_ls_could_not_read_is_said),
		cmocka_unit_test(messages_may_stand_wherever_ls_and_find_put_them),
		cmocka_unit_test(a_damaged_row_costs_itself_alone),
		cmocka_unit_test(a_zero_byte_or_an_endless_line_is_damage),
		cmocka_unit_test(a_text_cut_anywhere_never_gives_another_inode_or_descriptor),
		cmocka_unit_test(lines_may_end_with_cr_and_the_last_one_with_nothing),
		cmocka_unit_test(an_arrow_in_a_target_is_part_of_it),
		cmocka_unit_test(another_kind_of_text_is_not_recognised),
		cmocka_unit_test(a_process_without_descriptors_is_recognised),
		cmocka_unit_test(a_file_name_may_carry_the_pid),
		cmocka_unit_test(a_number_that_may_be_something_else_is_no_pid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
