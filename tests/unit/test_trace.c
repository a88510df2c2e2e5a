/* test_trace.c - facts about asking why: what is noted of a judgement, and that
 * asking changes nothing. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/walk.h"
#include "tests/unit/casefile.h"

#define CLIENT "tcp " HOST " 40000 " PEER " 80 1"

static struct trace trace;

static int begin(void **state)
{
	trace = (struct trace){0};
	return casefile_begin(state);
}

static int end(void **state)
{
	trace_release(&trace);
	return casefile_end(state);
}

static struct trace *ask(const char *name, void *context)
{
	(void)context;
	assert_non_null(strstr(casefile_pcap, name));
	return &trace;
}

static void analyze(const struct scene_packet *packets, size_t count, bool asking)
{
	struct load_options options = casefile_options();

	options.with_packets = true;
	options.trace = asking ? ask : NULL;
	casefile_load(packets, NULL, count, &options);
}

/* The one judgement that was asked for, at the end that is 10.0.0.1. */
static const struct trace_end *judged(void)
{
	assert_int_equal(trace.count, 1);
	assert_true(trace.items[0].settled);
	for (int side = 0; side < 2; side++) {
		if (trace.items[0].end[side].local)
			return &trace.items[0].end[side];
	}
	fail();
	return NULL;
}

static bool noted(const struct trace_end *end, enum bridge_why why)
{
	for (size_t i = 0; i < end->note_count; i++) {
		if (end->notes[i].why == why)
			return true;
	}
	return false;
}

static void a_connection_rests_on_its_row_its_holder_and_its_program(void **state)
{
	struct scene_packet packets[] = {scene_out(1500, 40000, 80, SYN, 100, 0, 0),
					 scene_in(1600, 40000, 80, SYN | 0x10, 500, 101, 0)};
	const struct trace_end *e;

	(void)state;
	scene_process('+', 10, OLD, "curl");
	scene_frame("poll", 1000, 1001);
	scene_socket('+', CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 5);
	trace.number = 2;
	analyze(packets, 2, true);
	assert_int_equal(trace.items[0].number, 2);
	e = judged();
	assert_false(e->sent);
	/* Seen before the SYN alone it would be another connection's; it goes on after. */
	assert_true(noted(e, BRIDGE_WHY_NOT_TOLD));
	assert_int_equal(e->rule, BRIDGE_EXACT);
	assert_int_equal(e->process.pid, 10);
	assert_int_equal(e->inode, 500);
	assert_int_equal(e->frame.sequence, 2);
	assert_int_equal(e->distance_ns, T(1600) - T(1001));
	assert_int_equal(e->witness_count, 3);
	assert_int_equal(e->witness[0].type, SNAP_TYPE_SOCKET);
	assert_int_equal(e->witness[0].sequence, 2);
	assert_int_equal(e->witness[1].type, SNAP_TYPE_HOLDER);
	assert_int_equal(e->witness[1].fd, 5);
	assert_int_equal(e->witness[2].type, SNAP_TYPE_PROCESS);
	assert_int_equal(e->witness[2].sequence, 1);
	assert_int_equal(e->final_reason, BRIDGE_OWNED);
	assert_int_equal(e->final_process.pid, 10);
}

static void a_use_that_was_told_is_a_witness(void **state)
{
	struct scene_packet packet = scene_out(1500, 40000, 80, SYN, 100, 0, 0);
	const struct trace_end *e;

	(void)state;
	scene_process('+', 10, OLD, "curl");
	scene_frame("event", 1499, 1500);
	scene_use("6 " HOST " 40000 " PEER " 80", 1499, "connect", 1499, SCENE_NEVER, 10, OLD);
	trace.number = 1;
	analyze(&packet, 1, true);
	e = judged();
	assert_int_equal(e->note_count, 0); /* the strongest rule held */
	assert_int_equal(e->act, SNAP_CONNECT);
	assert_int_equal(e->at_ns, T(1499));
	assert_int_equal(e->witness[0].type, SNAP_TYPE_USE);
	assert_int_equal(e->witness[0].at_ns, T(1499));
}

static void an_exec_that_the_image_rests_on_is_a_witness(void **state)
{
	struct scene_packet packet = scene_out(1500, 40000, 80, SYN, 100, 0, 0);
	const struct trace_end *e;

	(void)state;
	scene_process('+', 10, OLD, "sh");
	scene_frame("event", 1499, 1500);
	scene_use("6 " HOST " 40000 " PEER " 80", 1499, "connect", 1499, SCENE_NEVER, 10, OLD);
	scene_exec(10, OLD, 1400);
	scene_frame("event", 1600, 1601);
	scene_process('~', 10, OLD, "curl");
	trace.number = 1;
	analyze(&packet, 1, true);
	e = judged();
	assert_int_equal(e->witness_count, 3);
	assert_int_equal(e->witness[1].type, SNAP_TYPE_PROCESS);
	assert_int_equal(e->witness[1].sequence, 3);
	assert_int_equal(e->witness[2].type, SNAP_TYPE_EXEC);
	assert_int_equal(e->witness[2].at_ns, T(1400));
	assert_int_equal(e->witness[2].pid, 10);
}

static void an_image_that_was_only_read_has_no_exec(void **state)
{
	struct scene_packet packet = scene_out(1500, 40000, 80, SYN, 100, 0, 0);
	const struct trace_end *e;

	(void)state;
	scene_process('+', 10, OLD, "sh");
	scene_frame("event", 1300, 1301);
	scene_process('~', 10, OLD, "curl");
	scene_frame("event", 1499, 1500);
	scene_use("6 " HOST " 40000 " PEER " 80", 1499, "connect", 1499, SCENE_NEVER, 10, OLD);
	scene_exec(10, OLD, 1350); /* of the same program: no reading shows another */
	trace.number = 1;
	analyze(&packet, 1, true);
	e = judged();
	assert_int_equal(e->witness_count, 2);
	assert_int_equal(e->witness[1].type, SNAP_TYPE_PROCESS);
}

static void the_row_of_an_earlier_connection_is_named(void **state)
{
	struct scene_packet packet = scene_out(3000, 40000, 80, SYN, 100, 0, 0);
	const struct trace_end *e;

	(void)state;
	scene_socket('+', CLIENT, 500);
	scene_frame("poll", 1000, 1001);
	scene_socket('-', CLIENT, 500);
	scene_frame("poll", 2000, 2001);
	trace.number = 1;
	analyze(&packet, 1, true);
	e = judged();
	assert_true(noted(e, BRIDGE_WHY_EARLIER_CONNECTION));
	assert_true(noted(e, BRIDGE_WHY_NO_ROW));
	assert_int_equal(e->notes[1].inode, 500);
	assert_int_equal(e->notes[1].first.sequence, 1);
	assert_int_equal(e->reason, BRIDGE_GAP);
	assert_int_equal(e->witness_count, 0);
}

/* Of a kernel before Linux 6.3. */
#define SENDS_UNTOLD "on:\\x20without\\x20sock:sock_send_length"

static void that_the_kernel_does_not_tell_who_sends_is_named(void **state)
{
	struct scene_packet packets[] = {scene_out(1500, 40000, 80, SYN, 100, 0, 0),
					 scene_in(1501, 40000, 80, SYN | ACK, 500, 101, 0),
					 scene_out(1600, 40000, 80, ACK, 101, 501, 10)};
	const struct trace_end *e;

	(void)state;
	casefile_scene(SENDS_UNTOLD);
	scene_process('+', 10, OLD, "curl");
	scene_frame("event", 1499, 1500);
	scene_use("6 " HOST " 40000 " PEER " 80", 1499, "connect", 1499, SCENE_NEVER, 10, OLD);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 5);
	trace.number = 3;
	analyze(packets, 3, true);
	e = judged();
	assert_int_equal(e->note_count, 1);
	assert_int_equal(e->notes[0].why, BRIDGE_WHY_SENDS_UNTOLD);
	assert_int_equal(e->process.pid, 10); /* whom readings name */
	assert_int_equal(e->act, 0);
}

static void a_holder_out_of_turn_is_named(void **state)
{
	struct scene_packet packets[] = {scene_out(1500, 40000, 80, SYN, 100, 0, 0),
					 scene_in(1501, 40000, 80, SYN | ACK, 500, 101, 0),
					 scene_out(1600, 40000, 80, ACK, 101, 501, 100),
					 scene_out(2500, 40000, 80, ACK, 201, 501, 10)};
	const struct trace_end *e;

	(void)state;
	casefile_scene(SENDS_UNTOLD);
	scene_process('+', 10, OLD, "sh");
	scene_process('+', 11, OLD, "cat");
	scene_frame("event", 1499, 1500);
	scene_say("use ! 1 6 " HOST " 40000 " PEER " 80 0 %" PRId64 " connect %" PRId64
		  " 0 0 0 10 %" PRIu64 " 10",
		  T(1499), T(1499), OLD);
	scene_frame("poll", 1700, 1701);
	scene_socket('+', CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 5);
	scene_frame("event", 2000, 2001);
	scene_say("use ! 1 6 " HOST " 40000 " PEER " 80 0 %" PRId64 " receive %" PRId64 " %" PRId64
		  " 100 0 11 %" PRIu64 " 11",
		  T(1499), T(2000), T(1600), OLD);
	trace.number = 4;
	analyze(packets, 4, true);
	e = judged();
	assert_true(noted(e, BRIDGE_WHY_SENDS_UNTOLD));
	assert_true(noted(e, BRIDGE_WHY_NOT_ITS_TURN));
	assert_int_equal(e->reason, BRIDGE_GAP);
}

static void the_same_tuple_of_another_namespace_is_named(void **state)
{
	struct scene_packet packet = scene_out(1500, 40000, 80, SYN, 100, 0, 0);
	const struct trace_end *e;

	(void)state;
	scene_address('+', 2, HOST, 24);
	scene_process('+', 10, OLD, "curl");
	scene_frame("poll", 2000, 2001);
	scene_socket_in('+', 2, CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 5);
	trace.number = 1;
	analyze(&packet, 1, true);
	e = judged();
	assert_true(noted(e, BRIDGE_WHY_NOT_OUR_NAMESPACE));
	assert_int_equal(e->reason, BRIDGE_GAP);
	assert_int_equal(e->process.pid, 0);
}

static void a_datagram_on_a_way_that_nobody_looked_up_is_named(void **state)
{
	struct scene_packet packet = {.time_ns = T(1500),
				      .from = HOST,
				      .from_port = 53,
				      .to = PEER,
				      .to_port = 40000,
				      .protocol = 17,
				      .payload_bytes = 30};
	const struct trace_end *e;

	(void)state;
	scene_process('+', 10, OLD, "dns");
	scene_socket('+', "udp 0.0.0.0 53 0.0.0.0 0 7", 500);
	scene_holder('+', 500, 10, OLD, 5);
	scene_frame("event", 1000, 1001);
	scene_use("17 0.0.0.0 54 " PEER " 40001", SCENE_NEVER, "route", 1000, SCENE_NEVER, 10, OLD);
	trace.number = 1;
	analyze(&packet, 1, true);
	e = judged();
	assert_true(noted(e, BRIDGE_WHY_NO_WAY));
	assert_int_equal(e->rule, BRIDGE_WILDCARD);
	assert_int_equal(e->process.pid, 10);
}

static void what_the_whole_flow_takes_back_is_told(void **state)
{
	struct scene_packet packets[] = {scene_in(1500, 80, 40000, SYN, 100, 0, 0),
					 scene_out(1501, 80, 40000, RST | 0x10, 0, 101, 0)};
	const struct trace_end *e;

	(void)state;
	trace.number = 1;
	analyze(packets, 2, true);
	e = judged();
	assert_int_equal(e->reason, BRIDGE_GAP);
	assert_int_equal(e->final_reason, BRIDGE_NO_SOCKET);
	assert_non_null(strstr(e->taken_back, "resets"));
}

static void of_a_flow_one_packet_of_each_rule_is_kept(void **state)
{
	struct scene_packet packets[6];
	struct endpoint from, to;

	(void)state;
	scene_process('+', 10, OLD, "curl");
	scene_frame("poll", 3000, 3001);
	scene_socket('+', CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 5);
	packets[0] = scene_out(1500, 40000, 80, SYN, 100, 0, 0);
	for (uint32_t i = 1; i < 6; i++)
		packets[i] = scene_out(1500 + 1000 * i, 40000, 80, ACK, 100 + i, 1, 0);
	endpoint_parse(HOST, &from.address);
	endpoint_parse(PEER, &to.address);
	from.port = 40000;
	to.port = 80;
	flow_key_make(6, 4, &from, &to, &trace.key);
	trace.from_ns = T(0);
	trace.until_ns = T(9000);
	analyze(packets, 6, true);
	assert_int_equal(trace.count, 2);
	assert_int_equal(trace.items[0].number, 1);
	assert_int_equal(trace.items[0].end[0].rule, BRIDGE_AHEAD);
	assert_int_equal(trace.items[1].number, 3);
	assert_int_equal(trace.items[1].end[0].rule, BRIDGE_EXACT);
}

static char *read_all(const char *path, size_t *length)
{
	FILE *in = fopen(path, "rb");
	char *bytes;

	assert_non_null(in);
	fseek(in, 0, SEEK_END);
	*length = (size_t)ftell(in);
	rewind(in);
	bytes = malloc(*length);
	assert_int_equal(fread(bytes, 1, *length, in), *length);
	fclose(in);
	return bytes;
}

static void asking_changes_nothing(void **state)
{
	struct scene_packet packets[] = {scene_in(1500, 80, 40000, SYN, 100, 0, 0),
					 scene_out(1501, 80, 40000, SYN | 0x10, 7, 101, 0),
					 scene_out(2500, 40000, 80, SYN, 100, 0, 0)};
	size_t length[2];
	char *bytes[2];

	(void)state;
	scene_process('+', 10, OLD, "curl");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 400);
	scene_holder('+', 400, 10, OLD, 3);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 5);
	trace.number = 2;
	analyze(packets, 3, false);
	bytes[0] = read_all(casefile_database, &length[0]);
	unlink(casefile_database);
	casefile_scene(NULL);
	scene_process('+', 10, OLD, "curl");
	scene_socket('+', "tcp 0.0.0.0 80 0.0.0.0 0 10", 400);
	scene_holder('+', 400, 10, OLD, 3);
	scene_frame("poll", 2000, 2001);
	scene_socket('+', CLIENT, 500);
	scene_holder('+', 500, 10, OLD, 5);
	analyze(packets, 3, true);
	assert_int_equal(trace.count, 1);
	bytes[1] = read_all(casefile_database, &length[1]);
	assert_int_equal(length[0], length[1]);
	assert_memory_equal(bytes[0], bytes[1], length[0]);
	free(bytes[0]);
	free(bytes[1]);
}

/* A flow of n owners in turn, three packets of each: steps of asking. */
static uint64_t steps_for(uint32_t n)
{
	struct ledger ledger = {.spans = calloc(n, sizeof(*ledger.spans)), .span_count = n};
	struct flow flow = {.key = {.protocol = 17}};
	struct timeline timeline = {0};
	struct packet packet = {.time_ns = T(1)};
	struct bridge_verdict v = {.rule = BRIDGE_NO_RULE,
				   .reason = BRIDGE_GAP,
				   .socket = TIMELINE_NONE,
				   .process = TIMELINE_NONE,
				   .frame = TIMELINE_NONE};
	uint64_t before = walk_steps;

	assert_non_null(ledger.spans);
	trace = (struct trace){.key = flow.key, .until_ns = T(2)};
	flow.end[1].span = LEDGER_NONE;
	for (uint32_t i = 0; i < 3 * n; i++) {
		flow.end[0].span = i % n;
		ledger.spans[i % n].rule = BRIDGE_NO_RULE;
		assert_int_equal(trace_wants(&trace, &ledger, &flow, &packet), i < n);
		if (i >= n)
			continue;
		assert_int_equal(trace_begin(&trace, &ledger, &flow, &packet, 0), 0);
		assert_int_equal(trace_verdict(&trace, &timeline, 0, &v, 0), 0);
	}
	for (uint32_t i = 0; i < n; i += 2)
		trace_taken_back(&trace, i, "test");
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(trace.items[i].end[0].taken_back != NULL, i % 2 == 0);
	trace_release(&trace);
	free(ledger.spans);
	return walk_steps - before;
}

static void a_flow_of_many_owners_is_asked_one_by_one(void **state)
{
	uint64_t small = steps_for(1000), large = steps_for(4000);

	(void)state;
	if (small < 1000 || large >= 6 * small)
		fail_msg("%" PRIu64 " steps for 1,000 owners, %" PRIu64 " for 4,000", small, large);
}

static void no_more_rows_are_noted_than_somebody_reads(void **state)
{
	struct timeline timeline = {0};
	const struct bridge_observer *observer;

	(void)state;
	trace.items = calloc(1, sizeof(*trace.items));
	trace.count = 1;
	observer = trace_observer(&trace, &timeline, 0);
	for (int i = 0; i < TRACE_MAX_NOTES + 7; i++)
		observer->note(BRIDGE_WHY_NO_INODE, TIMELINE_NONE, observer->context);
	assert_int_equal(trace.items[0].end[0].note_count, TRACE_MAX_NOTES);
	assert_int_equal(trace.items[0].end[0].notes_left_out, 7);
}

static void each_reason_has_words(void **state)
{
	(void)state;
	for (int why = 0; why < BRIDGE_WHYS; why++) {
		assert_non_null(bridge_why_rules((enum bridge_why)why));
		assert_non_null(bridge_why_text((enum bridge_why)why));
		assert_true(bridge_why_text((enum bridge_why)why)[0] != '\0');
	}
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FACT(a_connection_rests_on_its_row_its_holder_and_its_program),
		FACT(a_use_that_was_told_is_a_witness),
		FACT(an_exec_that_the_image_rests_on_is_a_witness),
		FACT(an_image_that_was_only_read_has_no_exec),
		FACT(the_row_of_an_earlier_connection_is_named),
		FACT(that_the_kernel_does_not_tell_who_sends_is_named),
		FACT(a_holder_out_of_turn_is_named),
		FACT(the_same_tuple_of_another_namespace_is_named),
		FACT(a_datagram_on_a_way_that_nobody_looked_up_is_named),
		FACT(what_the_whole_flow_takes_back_is_told),
		FACT(of_a_flow_one_packet_of_each_rule_is_kept),
		FACT(asking_changes_nothing),
		FACT(a_flow_of_many_owners_is_asked_one_by_one),
		FACT(no_more_rows_are_noted_than_somebody_reads),
		cmocka_unit_test(each_reason_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
