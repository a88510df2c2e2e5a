/* The command line of the recorder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "snapshot/options.h"

#define PARSE(...) parse((char *[]){(char *)(uintptr_t) "pcapwho-record", __VA_ARGS__, NULL})
#define WORD(text) ((char *)(uintptr_t)(text))

static struct options options;
static struct error error;

static int parse(char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	error = (struct error)ERROR_NONE;
	options_release(&options);
	return options_parse(argc, argv, &options, &error);
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(PARSE(WORD("-o"), WORD("dir")), 0);
	assert_string_equal(options.output, "dir");
	assert_int_equal(options.interface_count, 0);
	assert_string_equal(options.filter, "");
	assert_int_equal(options.snaplen, 262144);
	assert_int_equal(options.buffer_mib, 16);
	assert_int_equal(options.interval_ns, 1000000000);
	assert_int_equal(options.cpu_budget_ppm, 20000);
	assert_int_equal(options.rotate_time_ns, INT64_C(60000000000));
	assert_int_equal(options.rotate_size, 256 << 20);
	assert_int_equal(options.keep_size, 0);
	assert_int_equal(options.keep_time_ns, 0);
	assert_int_equal(options.keep_free_bytes, 0);
	assert_int_equal(options.keep_free_ppm, 0);
	assert_false(options.compress);
	assert_null(options.command);
}

static void test_every_option(void **state)
{
	(void)state;
	assert_int_equal(PARSE(WORD("--output=d"), WORD("-i"), WORD("eth0"), WORD("--interface"),
			       WORD("lo"), WORD("-f"), WORD("tcp port 80"), WORD("-s"), WORD("96"),
			       WORD("-B"), WORD("64"), WORD("--interval"), WORD("500ms"),
			       WORD("--cpu-budget"), WORD("5%"), WORD("--rotate-time"), WORD("5m"),
			       WORD("--rotate-size"), WORD("1G"), WORD("--keep-size"), WORD("10G"),
			       WORD("--keep-time"), WORD("7d"), WORD("--keep-free"), WORD("5%"),
			       WORD("--compress"), WORD("--duration"), WORD("10s"), WORD("--user"),
			       WORD("alice"), WORD("-q")),
			 0);
	assert_int_equal(options.interface_count, 2);
	assert_string_equal(options.interfaces[1], "lo");
	assert_string_equal(options.filter, "tcp port 80");
	assert_int_equal(options.snaplen, 96);
	assert_int_equal(options.buffer_mib, 64);
	assert_int_equal(options.interval_ns, 500000000);
	assert_int_equal(options.cpu_budget_ppm, 50000);
	assert_int_equal(options.rotate_time_ns, INT64_C(300000000000));
	assert_int_equal(options.rotate_size, 1 << 30);
	assert_int_equal(options.keep_size, INT64_C(10) << 30);
	assert_int_equal(options.keep_time_ns, INT64_C(7) * 86400 * 1000000000);
	assert_int_equal(options.keep_free_ppm, 50000);
	assert_true(options.compress);
	assert_true(options.quiet);
	assert_int_equal(options.duration_ns, INT64_C(10000000000));
	assert_string_equal(options.user, "alice");
}

static void test_keep_free_takes_a_size_too(void **state)
{
	(void)state;
	assert_int_equal(PARSE(WORD("-o"), WORD("d"), WORD("--keep-free"), WORD("2G")), 0);
	assert_int_equal(options.keep_free_bytes, INT64_C(2) << 30);
	assert_int_equal(options.keep_free_ppm, 0);
}

static void test_command_follows_two_dashes(void **state)
{
	(void)state;
	assert_int_equal(PARSE(WORD("-o"), WORD("d"), WORD("--"), WORD("curl"), WORD("-s")), 0);
	assert_non_null(options.command);
	assert_string_equal(options.command[0], "curl");
	assert_string_equal(options.command[1], "-s");
	assert_null(options.command[2]);
}

static void test_snaplen_zero_means_everything(void **state)
{
	(void)state;
	assert_int_equal(PARSE(WORD("-o"), WORD("d"), WORD("-s"), WORD("0")), 0);
	assert_int_equal(options.snaplen, 262144);
}

static void test_help_and_version_need_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(PARSE(WORD("-h")), 0);
	assert_int_equal(options.action, OPTIONS_HELP);
	assert_int_equal(PARSE(WORD("--help")), 0);
	assert_int_equal(options.action, OPTIONS_HELP);
	assert_int_equal(PARSE(WORD("--version")), 0);
	assert_int_equal(options.action, OPTIONS_VERSION);
}

static void refuses(int status, const char *words)
{
	assert_int_equal(status, ERROR_USAGE);
	assert_non_null(strstr(error.message, words));
}

static void test_refuses(void **state)
{
	(void)state;
	refuses(PARSE(WORD("-q")), "-o DIR");
	refuses(PARSE(WORD("-o")), "-o needs a value; see pcapwho-record --help");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("-x")),
		"unknown option \"-x\"; see pcapwho-record --help");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("--nope")),
		"unknown option \"--nope\"; see pcapwho-record --help");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("curl")), "\"curl\"");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("--")), "command");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("-i"), WORD("")), "--interface");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("-s"), WORD("262145")), "--snaplen");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("-B"), WORD("0")),
		"--buffer: wanted MiB, 1 to 2047, found \"0\"");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("-B"), WORD("2048")), "--buffer");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("--interval"), WORD("soon")), "found \"soon\"");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("--cpu-budget"), WORD("0%")),
		"--cpu-budget: wanted a percentage above 0%, at most 100%");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("--rotate-size"), WORD("-1")), "--rotate-size");
	refuses(PARSE(WORD("-o"), WORD("d"), WORD("--keep-free"), WORD("x%")), "--keep-free");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_keep_free_takes_a_size_too),
		cmocka_unit_test(test_command_follows_two_dashes),
		cmocka_unit_test(test_snaplen_zero_means_everything),
		cmocka_unit_test(test_help_and_version_need_nothing_else),
		cmocka_unit_test(test_refuses),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	options_release(&options);
	return failed;
}
