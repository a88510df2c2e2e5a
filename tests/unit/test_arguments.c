/* test_arguments.c - facts about argument vectors and control groups as people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analyze/arguments.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"

/* bytes from memory of exactly that size, so that a sanitizer sees each step too far */
static void joins(const char *bytes, size_t length, const char *line)
{
	char *copy = malloc(length > 0 ? length : 1), *joined;

	assert_non_null(copy);
	memcpy(copy, bytes, length);
	joined = arguments_join(copy, length);
	assert_non_null(joined);
	assert_string_equal(joined, line);
	free(joined);
	free(copy);
}

static void arguments_are_joined_by_spaces(void **state)
{
	(void)state;
	joins("curl\0-s\0http://x/", 17, "curl -s http://x/");
	joins("curl", 4, "curl");
	joins("", 0, "");
}

static void what_a_shell_would_split_is_quoted(void **state)
{
	(void)state;
	joins("sh\0-c\0a b;c", 11, "sh -c 'a b;c'");
	joins("x\0it's", 6, "x 'it'\\''s'");
	joins("x\0\0y", 4, "x '' y");
	joins("x\0", 2, "x ''");
	joins("x\0$HOME\0*", 9, "x '$HOME' '*'");
	joins("\0", 1, "'' ''");
}

static void many_quotes_fit(void **state)
{
	(void)state;
	joins("\0''''''''", 9, "'' ''\\'''\\'''\\'''\\'''\\'''\\'''\\'''\\'''");
	joins("\0\0\0\0", 4, "'' '' '' '' ''");
}

static void a_title_stands_as_it_is(void **state)
{
	(void)state;
	joins("nginx: worker process", 21, "nginx: worker process");
}

static void other_bytes_are_kept(void **state)
{
	(void)state;
	joins("x\0\xc3\xa9\x80", 5, "x \xc3\xa9\x80");
	joins("x\0a\nb", 5, "x 'a\nb'");
}

static void nothing_is_nothing(void **state)
{
	(void)state;
	assert_null(arguments_join(NULL, 0));
}

static void is_container(const char *cgroup, const char *id)
{
	char container[ARGUMENTS_CONTAINER_SIZE];

	if (id == NULL) {
		assert_null(arguments_container(cgroup, container));
		assert_string_equal(container, "");
	} else {
		assert_ptr_equal(arguments_container(cgroup, container), container);
		assert_string_equal(container, id);
	}
}

static void containers_are_found(void **state)
{
	(void)state;
	is_container("/docker/" HEX, HEX);
	is_container("/system.slice/docker-" HEX ".scope", HEX);
	is_container("/kubepods.slice/kubepods-pod1.slice/cri-containerd-" HEX ".scope", HEX);
	is_container("/machine.slice/libpod-" HEX ".scope/container", HEX);
	is_container("/kubepods/besteffort/pod2a/crio-" HEX, HEX);
	is_container("12:cpu:/docker/" HEX ";11:memory:/docker/" HEX, HEX);
	is_container("cri-containerd:" HEX, HEX);
	is_container(HEX, HEX);
}

static void other_groups_are_none(void **state)
{
	(void)state;
	is_container(NULL, NULL);
	is_container("", NULL);
	is_container("/", NULL);
	is_container("/user.slice/user-1000.slice/session-2.scope", NULL);
	is_container("/x/a" HEX, NULL); /* 65 digits */
	is_container("/docker/" HEX "0", NULL);
	is_container("/dockerX" HEX, NULL);
	is_container("/docker/0123456789ab", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_are_joined_by_spaces),
		cmocka_unit_test(what_a_shell_would_split_is_quoted),
		cmocka_unit_test(many_quotes_fit),
		cmocka_unit_test(a_title_stands_as_it_is),
		cmocka_unit_test(other_bytes_are_kept),
		cmocka_unit_test(nothing_is_nothing),
		cmocka_unit_test(containers_are_found),
		cmocka_unit_test(other_groups_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
