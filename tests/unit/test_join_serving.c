/* test_join_serving.c - facts about who serves, over the segments of a recording. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/explain.h"
#include "analyze/fleet.h"
#include "tests/unit/loading.h"

#define OWNERS                                                                                     \
	"SELECT f.orig_port, p.pid, c.rule, c.reason FROM connection c JOIN flow f "               \
	"USING (flow_id) LEFT JOIN process p USING (process_id) ORDER BY 1"
#define KNOWN                                                                                      \
	"SELECT port, pid, serves_ns IS NOT NULL, again_ns IS NOT NULL FROM serving ORDER BY 1, 2"

#define SEGMENTS 3

/* In the first segment another process listens and serves too. */
static bool with_another;

static void another(char op)
{
	scene_process(op, 11, OLD, "server");
	scene_holder(op, 500, 11, OLD, 5);
	scene_socket(op, "tcp " HOST " 80 " PEER " 39998 1", 502);
	scene_holder(op, 502, 11, OLD, 6);
}

/* Of each segment the listener; of the first one a connection that it kept. And of each a
 * connection that no reading has. */
static void write_segment(const char *directory, unsigned number)
{
	const int64_t begin = 3000 * (int64_t)(number - 1);
	const uint16_t port = (uint16_t)(40000 + number);
	const struct scene_packet packets[] = {
		TCP(begin + 1500, PEER, port, HOST, 80, SYN, 100, 0, 0),
		TCP(begin + 1501, HOST, 80, PEER, port, SYN | ACK, 900, 101, 0),
		TCP(begin + 1502, PEER, port, HOST, 80, ACK, 101, 901, 5),
		TCP(begin + 1503, HOST, 80, PEER, port, FIN, 901, 106, 5),
		TCP(begin + 1504, PEER, port, HOST, 80, FIN, 106, 907, 0),
		TCP(begin + 1505, HOST, 80, PEER, port, ACK, 907, 107, 0)};

	loading_header(number);
	scene_sequence = (uint64_t)begin / 1000 + 1;
	scene_frame(number == 1 ? "key" : "restated", begin, begin + 1);
	loading_addresses();
	scene_process('+', 10, OLD, "server");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 500);
	scene_holder('+', 500, 10, OLD, 5);
	if (number == 1) {
		scene_socket('+', "tcp " HOST " 80 " PEER " 39999 1", 501);
		scene_holder('+', 501, 10, OLD, 6);
		if (with_another)
			another('+');
	}
	scene_frame("poll", begin + 1000, begin + 1001);
	scene_frame("poll", begin + 2000, begin + 2001);
	if (number == 1) {
		scene_socket('-', "tcp " HOST " 80 " PEER " 39999 1", 501);
		scene_holder('-', 501, 10, OLD, 6);
		if (with_another)
			another('-');
	}
	scene_frame("rotate", begin + 3000, begin + 3001);
	loading_write(directory, number, packets, sizeof(packets) / sizeof(*packets));
}

static void write_all(const char *directory)
{
	loading_directory(directory);
	for (unsigned i = 1; i <= SEGMENTS; i++)
		write_segment(directory, i);
}

static void who_served_before_serves_in_the_next_segments(void **state)
{
	const char *one, *four;

	(void)state;
	write_all("all");
	one = loading_run("one.db", 1, true, (const char *const[]){"all", NULL});
	answers(one, OWNERS, "40001|10|listener|\n40002|10|listener|\n40003|10|listener|\n");
	answers(one, KNOWN, "80|10|1|1\n");
	four = loading_run("four.db", 4, true, (const char *const[]){"all", NULL});
	same_bytes(one, four);
}

/* One like it may have been there again, and no reading has it. */
static void who_was_not_alone_is_not_sure_to_serve(void **state)
{
	(void)state;
	with_another = true;
	write_all("both");
	with_another = false;
	answers(LOAD("both.db", "both"), OWNERS,
		"40001|||ambiguous\n40002|||ambiguous\n40003|||ambiguous\n");
}

/* Nothing of that segment shows it. */
static void alone_it_is_not_known(void **state)
{
	(void)state;
	loading_directory("third");
	write_segment("third", 3);
	answers(LOAD("third.db", "third"), OWNERS, "40003|||ambiguous\n");
	answers(loading_path("third.db"), KNOWN, "80|10|0|0\n");
}

static void loaded_one_after_another_it_is_known(void **state)
{
	const char *parts, *whole;

	(void)state;
	loading_directory("parts");
	for (unsigned i = 1; i <= SEGMENTS; i++) {
		write_segment("parts", i);
		parts = loading_run("parts.db", 1, true, (const char *const[]){"parts", NULL});
	}
	whole = loading_run("whole.db", 1, true, (const char *const[]){"parts", NULL});
	same_rows(whole, parts);
	answers(parts, OWNERS, "40001|10|listener|\n40002|10|listener|\n40003|10|listener|\n");
}

static void take_away(const char *directory, unsigned number, const char *suffix)
{
	char path[300];

	snprintf(path, sizeof(path), "%s%s", loading_stem(directory, number), suffix);
	assert_int_equal(unlink(path), 0);
}

/* From the segments that its flow is in, and what the database has of those before them. */
static void an_explanation_knows_it(void **state)
{
	struct error error = ERROR_NONE;
	struct explain_report report;
	char database[300], evidence[300], packet[300];

	(void)state;
	write_all("all");
	snprintf(database, sizeof(database), "%s", LOAD("all.db", "all"));
	snprintf(evidence, sizeof(evidence), "%s", loading_path("all"));
	snprintf(packet, sizeof(packet), "%s.pcap:3", loading_stem("all", 3));
	take_away("all", 1, ".pcap");
	take_away("all", 1, ".snap.gz");
	if (explain_run(&(struct explain_options){.database = database,
						  .evidence = evidence,
						  .packet = packet,
						  .limits = flow_default_limits,
						  .workers = 1},
			&report, &error) != 0)
		fail_msg("%s", error.message);
	assert_int_equal(report.differs, 0);
	explain_release(&report);
}

/* The third segment, analyzed by itself, and merged with those before it. */
static void what_was_analyzed_apart_is_explained_apart(void **state)
{
	struct error error = ERROR_NONE;
	struct explain_report report;
	struct fleet_result result;
	char merged[300], first[300], last[300], evidence[300], packet[300];
	char *const parts[] = {first, last};

	(void)state;
	loading_directory("first");
	loading_directory("last");
	write_segment("first", 1);
	write_segment("first", 2);
	write_segment("last", 3);
	snprintf(first, sizeof(first), "%s", LOAD("first.db", "first"));
	snprintf(last, sizeof(last), "%s", LOAD("last.db", "last"));
	snprintf(merged, sizeof(merged), "%s", loading_path("merged.db"));
	if (fleet_merge(merged, parts, 2, &(struct fleet_options){0}, &result, &error) != 0)
		fail_msg("%s", error.message);
	assert_int_equal(result.recordings, 2);
	answers(merged, OWNERS, "40001|10|listener|\n40002|10|listener|\n40003|||ambiguous\n");
	snprintf(evidence, sizeof(evidence), "%s", loading_path("last"));
	snprintf(packet, sizeof(packet), "%s.pcap:3", loading_stem("last", 3));
	if (explain_run(&(struct explain_options){.database = merged,
						  .evidence = evidence,
						  .packet = packet,
						  .limits = flow_default_limits,
						  .workers = 1},
			&report, &error) != 0)
		fail_msg("%s", error.message);
	assert_int_equal(report.differs, 0);
	explain_release(&report);
}

/* Those after it were judged without it, and are explained so. */
static void what_comes_late_tells_nothing_of_those_after_it(void **state)
{
	const char *parts;
	char *before;

	(void)state;
	loading_directory("parts");
	write_segment("parts", 2);
	write_segment("parts", 3);
	parts = LOAD("parts.db", "parts");
	before = loading_ask(parts, "SELECT * FROM serving");
	write_segment("parts", 1);
	parts = LOAD("parts.db", "parts");
	answers(parts, "SELECT * FROM serving", before);
	answers(parts, OWNERS, "40001|10|listener|\n40002|||ambiguous\n40003|||ambiguous\n");
	free(before);
}

#define FACT(test) cmocka_unit_test_setup_teardown(test, loading_begin, loading_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(who_served_before_serves_in_the_next_segments),
		FACT(who_was_not_alone_is_not_sure_to_serve),
		FACT(alone_it_is_not_known),
		FACT(loaded_one_after_another_it_is_known),
		FACT(an_explanation_knows_it),
		FACT(what_comes_late_tells_nothing_of_those_after_it),
		FACT(what_was_analyzed_apart_is_explained_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
