/*
 * test_identity.c - that one program image is not taken for another, whoever chose its texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/loading.h"

#define OWNERS                                                                                     \
	"SELECT f.orig_port, p.pid, p.image, p.cmdline FROM connection c JOIN flow f "             \
	"USING (flow_id) JOIN process p USING (process_id) ORDER BY f.start_ns"

/* Two command lines of one process with what its program is called left as it is. Short hashes
 * without a key, as of hashindex_bytes, are the same of both, which anybody can reckon out. */
#define FIRST	"ngx-acu2FBWw2<4y"
#define SECOND	"socat\\x00-t\\x00001\\x00-\\x00U"
#define PROCESS "process %c 11 500 1 1000 work /bin/work %s / 1 \\N \\N"

static void texts_made_to_agree_are_two_images(void **state)
{
	const struct scene_packet packets[] = {UDP(500, HOST, 4000, PEER, 53),
					       UDP(2500, HOST, 4001, PEER, 53)};

	(void)state;
	loading_directory("texts");
	loading_header(1);
	scene_frame("key", 0, 1);
	loading_addresses();
	scene_say(PROCESS, '+', FIRST);
	scene_socket('+', "udp 0.0.0.0 4000 0.0.0.0 0 7", 400);
	scene_holder('+', 400, 11, OLD, 3);
	scene_frame("poll", 1000, 1001);
	scene_frame("poll", 2000, 2001);
	scene_say(PROCESS, '~', SECOND);
	scene_socket('+', "udp 0.0.0.0 4001 0.0.0.0 0 7", 401);
	scene_holder('+', 401, 11, OLD, 4);
	scene_frame("poll", 3000, 3001);
	loading_write("texts", 1, packets, 2);
	answers(LOAD("t.db", "texts"), OWNERS,
		"4000|11|1|ngx-acu2FBWw2<4y\n4001|11|2|socat -t 001 - U\n");
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, loading_begin, loading_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(texts_made_to_agree_are_two_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
