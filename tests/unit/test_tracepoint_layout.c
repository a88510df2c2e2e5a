/* Tracepoints from bytes: the text of format files, and records of perf buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/perf_event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/tracepoint_layout.h"
#include "tests/unit/record.h"

/* No kernel's: everything lies elsewhere than it does anywhere. */
#define HEAD                                                                                       \
	"name: some_event\nID: 77\nformat:\n"                                                      \
	"\tfield:unsigned short common_type;\toffset:2;\tsize:2;\tsigned:0;\n"                     \
	"\tfield:unsigned char common_flags;\toffset:1;\tsize:1;\tsigned:0;\n\n"
#define LINE(declaration, offset, size)                                                            \
	"\tfield:" declaration ";\toffset:" #offset ";\tsize:" #size ";\tsigned:0;\n"

#define SOCKET_LINES                                                                               \
	LINE("const void * skaddr", 40, 8)                                                         \
	LINE("__u16 sport", 10, 2)                                                                 \
	LINE("__u16 dport", 8, 2)                                                                  \
	LINE("__u16 family", 6, 2)                                                                 \
	LINE("__u8 saddr[4]", 12, 4)                                                               \
	LINE("__u8 daddr[4]", 16, 4)                                                               \
	LINE("__u8 saddr_v6[16]", 64, 16)                                                          \
	LINE("__u8 daddr_v6[16]", 48, 16)

static const char state_format[] =
	HEAD SOCKET_LINES LINE("int oldstate", 24, 4) LINE("int newstate", 20, 4)
		LINE("__u16 protocol", 80, 2) "\nprint fmt: \"family=%s\", REC->family\n";
static const char destroy_format[] = HEAD SOCKET_LINES LINE("__u64 sock_cookie", 88, 8);
static const char length_format[] = HEAD LINE("void * sk", 8, 8) LINE("__u16 protocol", 4, 2)
	LINE("int ret", 16, 4) LINE("int flags", 20, 4);
static const char fib_format[] =
	HEAD LINE("int iif", 4, 4) LINE("u8 proto", 8, 1) LINE("__u8 src[4]", 12, 4)
		LINE("__u8 dst[4]", 16, 4) LINE("u16 sport", 20, 2) LINE("u16 dport", 22, 2);
static const char fib6_format[] =
	HEAD LINE("int iif", 4, 4) LINE("u8 proto", 8, 1) LINE("__u8 src[16]", 12, 16)
		LINE("__u8 dst[16]", 28, 16) LINE("u16 sport", 44, 2) LINE("u16 dport", 46, 2);
static const char exec_format[] = HEAD LINE("__data_loc char[] filename", 4, 4);

#define ID(number) (uint16_t)(1000 + (number))

static struct tracepoint_layout layout;

static int set_up(void **state)
{
	static const char *const formats[TRACEPOINT_COUNT] = {
		[TRACEPOINT_SET_STATE] = state_format,
		[TRACEPOINT_DESTROY_SOCK] = destroy_format,
		[TRACEPOINT_SEND_LENGTH] = length_format,
		[TRACEPOINT_RECV_LENGTH] = length_format,
		[TRACEPOINT_SPACE_ADJUST] = destroy_format,
		[TRACEPOINT_FIB] = fib_format,
		[TRACEPOINT_FIB6] = fib6_format,
		[TRACEPOINT_PROCESS_EXEC] = exec_format,
	};

	(void)state;
	memset(&layout, 0, sizeof(layout));
	for (int i = 0; i < TRACEPOINT_COUNT; i++) {
		const char *missing = tracepoint_layout_add(&layout, (enum tracepoint_number)i,
							    ID(i), formats[i], strlen(formats[i]));

		if (missing)
			fail_msg("%s: %s", tracepoint_names[i].name, missing);
	}
	return 0;
}

/* ------------------------------------------------------ format files ---- */

static void assert_field(const char *format, const char *name, int offset, int size)
{
	struct tracepoint_field field = tracepoint_find_field(format, strlen(format), name);

	if (field.offset != offset || field.size != size)
		fail_msg("%s: %d bytes at %d", name, field.size, field.offset);
}

static void test_a_field_lies_where_the_format_says(void **state)
{
	(void)state;
	assert_field(state_format, "common_type", 2, 2);
	assert_field(state_format, "skaddr", 40, 8);
	assert_field(state_format, "newstate", 20, 4);
	assert_field(exec_format, "filename", 4, 4);
}

static void test_a_name_is_compared_whole(void **state)
{
	(void)state;
	assert_field(state_format, "saddr", 12, 4);
	assert_field(state_format, "saddr_v6", 64, 16);
	assert_field(state_format, "port", 0, 0);
	assert_field(state_format, "addr_v6", 0, 0);
	assert_field(state_format, "spor", 0, 0);
	assert_field(state_format, "void", 0, 0);
	assert_field(state_format, "", 0, 0);
	/* The last line of it is no field. */
	assert_field(state_format, "REC->family", 0, 0);
}

static void test_a_field_that_fits_no_record_is_none(void **state)
{
	(void)state;
	assert_field(LINE("int a", 65531, 4), "a", 65531, 4);
	assert_field(LINE("int a", 65532, 4), "a", 0, 0);
	assert_field(LINE("int a", 4, 99999999999999999999), "a", 0, 0);
	assert_field(LINE("int a", -4, 4), "a", 0, 0);
	assert_field(LINE("int a", , 4), "a", 0, 0);
	assert_field("\tfield:int a;\tsize:4;\n", "a", 0, 0);
	assert_field("\tfield:int a;\n\toffset:4;\tsize:4;\n", "a", 0, 0);
	assert_field("field:int a;\toffset:4;\tsize:4;\n", "a", 0, 0);
	assert_field("\tfield:]", "a", 0, 0);
	assert_field("\tfield:];\toffset:4;\tsize:4;\n", "a", 0, 0);
}

static void test_a_format_cut_anywhere_gives_the_truth_or_nothing(void **state)
{
	size_t whole = sizeof(state_format) - 1;

	(void)state;
	for (size_t length = 0; length <= whole; length++) {
		char *cut = malloc(length ? length : 1);
		struct tracepoint_field field;

		memcpy(cut, state_format, length);
		field = tracepoint_find_field(cut, length, "daddr_v6");
		free(cut);
		assert_true(field.size == 0 || (field.size == 16 && field.offset == 48));
	}
	assert_field(state_format, "daddr_v6", 48, 16);
}

static const char *add(enum tracepoint_number number, const char *format)
{
	return tracepoint_layout_add(&layout, number, 5, format, strlen(format));
}

static void test_a_tracepoint_without_a_needed_field_is_not_known(void **state)
{
	(void)state;
	memset(&layout, 0, sizeof(layout));
	assert_string_equal(add(TRACEPOINT_SET_STATE, destroy_format), "oldstate");
	assert_string_equal(add(TRACEPOINT_FIB, HEAD LINE("int iif", 4, 4)), "proto");
	assert_string_equal(add(TRACEPOINT_FIB6, fib_format), "src");
	assert_string_equal(add(TRACEPOINT_PROCESS_EXEC, HEAD), "filename");
	assert_string_equal(add(TRACEPOINT_PROCESS_EXEC, ""), "common_type");
	for (int i = 0; i < TRACEPOINT_COUNT; i++)
		assert_false(layout.of[i].known);
	assert_null(add(TRACEPOINT_DESTROY_SOCK, HEAD SOCKET_LINES)); /* no cookie: older */
	assert_true(layout.of[TRACEPOINT_DESTROY_SOCK].known);
}

/* ----------------------------------------------------------- records ---- */

/* A sample of a tracepoint, 96 bytes of raw, by thread 101 of process 100. */
static uint8_t *sample(enum tracepoint_number number, uint8_t flags)
{
	uint16_t id = ID(number);
	uint8_t *raw;

	record_begin(PERF_RECORD_SAMPLE);
	record_put32(100);
	record_put32(101);
	record_put64(5000000000);
	record_put32(100);
	raw = record_bytes + record_length;
	raw[1] = flags;
	memcpy(raw + 2, &id, sizeof(id));
	record_length += 100;
	record_finish();
	return raw;
}

static void assert_at(const struct endpoint *endpoint, const char *text, uint16_t port)
{
	char buffer[ENDPOINT_TEXT_SIZE];

	assert_string_equal(endpoint_format(&endpoint->address, buffer), text);
	assert_int_equal(endpoint->port, port);
}

static uint8_t *make_state(uint8_t flags, uint16_t protocol)
{
	static const uint8_t local[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1};
	static const uint8_t remote[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
	uint8_t *raw = sample(TRACEPOINT_SET_STATE, flags);

	record_set(raw + 40, 0xffff888012345678, 8);
	record_set(raw + 10, 43210, 2);
	record_set(raw + 8, 443, 2);
	record_set(raw + 6, AF_INET6, 2);
	memcpy(raw + 64, local, 16);
	memcpy(raw + 48, remote, 16);
	record_set(raw + 24, 7, 4);
	record_set(raw + 20, 2, 4);
	record_set(raw + 80, protocol, 2);
	return raw;
}

static void test_a_change_of_state(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_state(0, IPPROTO_TCP);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_STATE);
	assert_true(event.time_ns == 5000000000);
	assert_int_equal(event.pid, 100);
	assert_int_equal(event.tid, 101);
	assert_int_equal(event.cpu, 0);
	assert_true(event.in_task);
	assert_true(event.sk == 0xffff888012345678);
	assert_int_equal(event.u.socket.family, AF_INET6);
	assert_int_equal(event.u.socket.protocol, IPPROTO_TCP);
	assert_int_equal(event.u.socket.old_state, 7);
	assert_int_equal(event.u.socket.new_state, 2);
	assert_at(&event.u.socket.local, "2001:db8::1", 43210);
	assert_at(&event.u.socket.remote, "192.0.2.1", 443);
	assert_true(event.u.socket.cookie == 0);
}

static void test_states_of_sctp_are_told_and_of_mptcp_not(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_state(0, IPPROTO_SCTP);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.u.socket.protocol, IPPROTO_SCTP);
	make_state(0, 262);
	assert_int_equal(record_parse(&layout, &event), 0);
}

static void test_interrupts_are_no_task(void **state)
{
	static const uint8_t interrupts[] = {0x08, 0x10, 0x40, 0x80, 0x98};
	static const uint8_t tasks[] = {0, 0x01, 0x02, 0x04, 0x20, 0x27};
	struct tracepoint_event event;

	(void)state;
	for (size_t i = 0; i < sizeof(interrupts); i++) {
		make_state(interrupts[i], IPPROTO_TCP);
		assert_int_equal(record_parse(&layout, &event), 1);
		assert_false(event.in_task);
	}
	for (size_t i = 0; i < sizeof(tasks); i++) {
		make_state(tasks[i], IPPROTO_TCP);
		assert_int_equal(record_parse(&layout, &event), 1);
		assert_true(event.in_task);
	}
}

static uint8_t *make_length(enum tracepoint_number number, int32_t ret, uint32_t message_flags)
{
	uint8_t *raw = sample(number, 0);

	record_set(raw + 8, 0xabc, 8);
	record_set(raw + 4, IPPROTO_TCP, 2);
	record_set(raw + 16, (uint32_t)ret, 4);
	record_set(raw + 20, message_flags, 4);
	return raw;
}

static void test_bytes_sent_and_received(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_length(TRACEPOINT_SEND_LENGTH, 1460, 0);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_SEND);
	assert_true(event.sk == 0xabc && event.u.length == 1460);
	make_length(TRACEPOINT_RECV_LENGTH, -11, 0);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_RECEIVE);
	assert_true(event.u.length == -11);
	record_set(make_length(TRACEPOINT_SEND_LENGTH, 64, 0) + 4, IPPROTO_ICMPV6, 2);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_true(event.protocol == IPPROTO_ICMPV6 && event.u.length == 64);
}

static void test_bytes_only_looked_at_count_nothing(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_length(TRACEPOINT_RECV_LENGTH, 1460, MSG_PEEK | MSG_DONTWAIT);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_true(event.u.length == 0);
	make_length(TRACEPOINT_RECV_LENGTH, -11, MSG_PEEK);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_true(event.u.length == -11);
}

static void test_transfers_of_interrupts_and_of_other_protocols_are_left_out(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_length(TRACEPOINT_SEND_LENGTH, 1, 0)[1] = 0x10;
	assert_int_equal(record_parse(&layout, &event), 0);
	record_set(make_length(TRACEPOINT_RECV_LENGTH, 1, 0) + 4, IPPROTO_ICMP, 2);
	assert_int_equal(record_parse(&layout, &event), 0);
	record_set(make_length(TRACEPOINT_SEND_LENGTH, 1, 0) + 4, IPPROTO_RAW, 2);
	assert_int_equal(record_parse(&layout, &event), 0);
	record_set(make_length(TRACEPOINT_RECV_LENGTH, 1, 0) + 4, IPPROTO_UDP, 2);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.protocol, IPPROTO_UDP);
}

static uint8_t *make_route(enum tracepoint_number number)
{
	bool ip6 = number == TRACEPOINT_FIB6;
	uint8_t *raw = sample(number, 0);

	record_set(raw + 4, 1, 4);
	record_set(raw + 8, IPPROTO_UDP, 1);
	for (int i = 0; i < (ip6 ? 16 : 4); i++) {
		raw[12 + i] = (uint8_t)(i + 1);
		raw[(ip6 ? 28 : 16) + i] = (uint8_t)(i + 17);
	}
	record_set(raw + (ip6 ? 44 : 20), 5353, 2);
	record_set(raw + (ip6 ? 46 : 22), 53, 2);
	return raw;
}

static void test_a_route_is_looked_up(void **state)
{
	struct tracepoint_event event;

	(void)state;
	make_route(TRACEPOINT_FIB);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_ROUTE);
	assert_int_equal(event.u.socket.family, AF_INET);
	assert_int_equal(event.u.socket.protocol, IPPROTO_UDP);
	assert_at(&event.u.socket.local, "1.2.3.4", 5353);
	assert_at(&event.u.socket.remote, "17.18.19.20", 53);
	assert_true(event.sk == 0 && event.u.socket.cookie == 0);
	assert_int_equal(event.u.socket.old_state | event.u.socket.new_state, 0);
	make_route(TRACEPOINT_FIB6);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.u.socket.family, AF_INET6);
	assert_at(&event.u.socket.local, "102:304:506:708:90a:b0c:d0e:f10", 5353);
	assert_at(&event.u.socket.remote, "1112:1314:1516:1718:191a:1b1c:1d1e:1f20", 53);
}

static void test_routes_of_others_are_left_out(void **state)
{
	struct tracepoint_event event;

	(void)state;
	record_set(make_route(TRACEPOINT_FIB) + 4, 2, 4); /* came in by an interface */
	assert_int_equal(record_parse(&layout, &event), 0);
	record_set(make_route(TRACEPOINT_FIB) + 8, IPPROTO_TCP, 1);
	assert_int_equal(record_parse(&layout, &event), 0);
	record_set(make_route(TRACEPOINT_FIB6) + 8, 0, 1);
	assert_int_equal(record_parse(&layout, &event), 0);
	make_route(TRACEPOINT_FIB)[1] = 0x80;
	assert_int_equal(record_parse(&layout, &event), 0);
}

static void test_a_socket_is_destroyed(void **state)
{
	uint8_t *raw = sample(TRACEPOINT_DESTROY_SOCK, 0x10);
	struct tracepoint_event event;

	(void)state;
	record_set(raw + 40, 0xdef, 8);
	record_set(raw + 88, 4711, 8);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_DESTROY);
	assert_false(event.in_task);
	assert_true(event.sk == 0xdef && event.u.socket.cookie == 4711);
	assert_int_equal(event.u.socket.protocol, IPPROTO_TCP);
	assert_int_equal(event.u.socket.old_state, 0);
}

static void test_bytes_received_on_an_older_kernel(void **state)
{
	struct tracepoint_event event;

	(void)state;
	record_set(sample(TRACEPOINT_SPACE_ADJUST, 0) + 40, 0xdef, 8);
	assert_int_equal(record_parse(&layout, &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_RECEIVE);
	assert_true(event.sk == 0xdef && event.u.socket.protocol == IPPROTO_TCP);
	sample(TRACEPOINT_SPACE_ADJUST, 0x10);
	assert_int_equal(record_parse(&layout, &event), 0);
}

static int parse_exec(uint32_t offset, uint32_t length, const char *path,
		      struct tracepoint_event *out)
{
	uint8_t *raw = sample(TRACEPOINT_PROCESS_EXEC, 0);
	uint32_t size = 8 + (uint32_t)strlen(path) + 1;

	record_set(raw - 4, size, 4);
	record_set(raw + 4, offset | length << 16, 4);
	memcpy(raw + 8, path, strlen(path) + 1);
	record_length = (size_t)(raw - record_bytes) + size;
	record_finish();
	return record_parse(&layout, out);
}

static void test_a_program_is_executed(void **state)
{
	struct tracepoint_event event;
	char path[400];

	(void)state;
	assert_int_equal(parse_exec(8, 10, "/bin/true", &event), 1);
	assert_int_equal(event.kind, TRACEPOINT_EXEC);
	assert_string_equal(event.u.exec.path, "/bin/true");
	assert_int_equal(parse_exec(8, 4, "/bin/true", &event), 1);
	assert_string_equal(event.u.exec.path, "/bin");
	assert_int_equal(parse_exec(8, 0, "", &event), 1);
	assert_string_equal(event.u.exec.path, "");
	memset(path, 'p', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(parse_exec(8, sizeof(path), path, &event), 1);
	assert_int_equal(strlen(event.u.exec.path), TRACEPOINT_PATH - 1);
}

static void test_a_path_outside_of_its_record_makes_no_sense(void **state)
{
	struct tracepoint_event event;

	(void)state;
	assert_int_equal(parse_exec(8, 11, "/bin/true", &event), ERROR_DAMAGED);
	assert_int_equal(parse_exec(18, 1, "/bin/true", &event), ERROR_DAMAGED);
	assert_int_equal(parse_exec(65535, 65535, "/bin/true", &event), ERROR_DAMAGED);
	assert_int_equal(parse_exec(18, 0, "/bin/true", &event), 1);
}

static void test_other_records_are_not_ours(void **state)
{
	struct tracepoint_event event;

	(void)state;
	record_begin(PERF_RECORD_COMM);
	for (int i = 0; i < 4; i++)
		record_put64(9);
	record_finish();
	assert_int_equal(record_parse(&layout, &event), 0);
	record_set(sample(TRACEPOINT_SET_STATE, 0) + 2, 999, 2);
	assert_int_equal(record_parse(&layout, &event), 0);
	/* Not even if the number is that of nothing known. */
	memset(&layout.of, 0, sizeof(layout.of));
	record_set(sample(TRACEPOINT_SET_STATE, 0) + 2, 0, 2);
	assert_int_equal(record_parse(&layout, &event), 0);
}

static void test_a_record_cut_anywhere_makes_no_sense(void **state)
{
	(void)state;
	make_state(0, IPPROTO_TCP);
	record_check_cut(&layout);
}

/* raw may end where the last field ends, and not before. */
static void test_raw_cut_anywhere_makes_no_sense(void **state)
{
	struct tracepoint_event event;

	(void)state;
	for (uint32_t size = 0; size <= 100; size++) {
		record_set(make_state(0, IPPROTO_TCP) - 4, size, 4);
		record_length = 28 + size;
		record_finish();
		assert_int_equal(record_parse(&layout, &event), size < 82 ? ERROR_DAMAGED : 1);
	}
	record_set(make_state(0, IPPROTO_TCP) - 4, 101, 4);
	assert_int_equal(record_parse(&layout, &event), ERROR_DAMAGED);
	record_set(make_state(0, IPPROTO_TCP) - 4, UINT32_MAX, 4);
	assert_int_equal(record_parse(&layout, &event), ERROR_DAMAGED);
}

#define TEST(name) cmocka_unit_test_setup(test_##name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_field_lies_where_the_format_says),
		TEST(a_name_is_compared_whole),
		TEST(a_field_that_fits_no_record_is_none),
		TEST(a_format_cut_anywhere_gives_the_truth_or_nothing),
		TEST(a_tracepoint_without_a_needed_field_is_not_known),
		TEST(a_change_of_state),
		TEST(states_of_sctp_are_told_and_of_mptcp_not),
		TEST(interrupts_are_no_task),
		TEST(bytes_sent_and_received),
		TEST(bytes_only_looked_at_count_nothing),
		TEST(transfers_of_interrupts_and_of_other_protocols_are_left_out),
		TEST(a_route_is_looked_up),
		TEST(routes_of_others_are_left_out),
		TEST(a_socket_is_destroyed),
		TEST(bytes_received_on_an_older_kernel),
		TEST(a_program_is_executed),
		TEST(a_path_outside_of_its_record_makes_no_sense),
		TEST(other_records_are_not_ours),
		TEST(a_record_cut_anywhere_makes_no_sense),
		TEST(raw_cut_anywhere_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
