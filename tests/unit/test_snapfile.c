/* test_snapfile.c - facts about snapshot files: what is written comes back, or the writing fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/format/snapfile_internal.h"
#include "tests/unit/sample.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what is written comes back ---- */

static void expect_tuple(const struct endpoint *got, const struct endpoint *wanted)
{
	assert_true(endpoint_equal(&got->address, &wanted->address));
	assert_int_equal(got->port, wanted->port);
}

static void expect_process(const struct snap_process *got, const struct snap_process *wanted)
{
	assert_int_equal(got->pid, wanted->pid);
	assert_int_equal(got->start_ticks, wanted->start_ticks);
	assert_int_equal(got->ppid, wanted->ppid);
	assert_int_equal(got->uid, wanted->uid);
	assert_string_equal(got->comm, wanted->comm);
	assert_string_equal(got->exe, wanted->exe);
	assert_int_equal(got->cmdline_length, wanted->cmdline_length);
	assert_memory_equal(got->cmdline, wanted->cmdline, wanted->cmdline_length);
	assert_string_equal(got->cgroup, wanted->cgroup);
	assert_int_equal(got->netns, wanted->netns);
	assert_int_equal(got->exit_known, wanted->exit_known);
	assert_int_equal(got->exit_code, wanted->exit_code);
	assert_int_equal(got->exit_ns, wanted->exit_ns);
}

static void expect_closed(const struct snap_closed *got, const struct snap_closed *wanted)
{
	assert_int_equal(got->netns, wanted->netns);
	assert_int_equal(got->table, wanted->table);
	expect_tuple(&got->local, &wanted->local);
	expect_tuple(&got->remote, &wanted->remote);
	assert_int_equal(got->inode, wanted->inode);
	assert_int_equal(got->cookie, wanted->cookie);
	assert_int_equal(got->closed_ns, wanted->closed_ns);
	assert_int_equal(got->bytes_acked, wanted->bytes_acked);
	assert_int_equal(got->bytes_received, wanted->bytes_received);
	assert_int_equal(got->bytes_sent, wanted->bytes_sent);
	assert_int_equal(got->bytes_retransmitted, wanted->bytes_retransmitted);
	assert_int_equal(got->segments_out, wanted->segments_out);
	assert_int_equal(got->segments_in, wanted->segments_in);
	assert_int_equal(got->data_segments_out, wanted->data_segments_out);
	assert_int_equal(got->data_segments_in, wanted->data_segments_in);
}

static void expect_socket(const struct snap_socket *got, const struct snap_socket *wanted)
{
	assert_int_equal(got->netns, wanted->netns);
	assert_int_equal(got->table, wanted->table);
	expect_tuple(&got->local, &wanted->local);
	expect_tuple(&got->remote, &wanted->remote);
	assert_int_equal(got->state, wanted->state);
	assert_int_equal(got->uid, wanted->uid);
	assert_int_equal(got->inode, wanted->inode);
	assert_int_equal(got->cookie, wanted->cookie);
	assert_int_equal(got->ifindex, wanted->ifindex);
}

static void expect_use(const struct snap_use *got, const struct snap_use *wanted)
{
	assert_int_equal(got->netns, wanted->netns);
	assert_int_equal(got->protocol, wanted->protocol);
	expect_tuple(&got->local, &wanted->local);
	expect_tuple(&got->remote, &wanted->remote);
	assert_int_equal(got->cookie, wanted->cookie);
	assert_int_equal(got->opened_ns, wanted->opened_ns);
	assert_int_equal(got->act, wanted->act);
	assert_int_equal(got->at_ns, wanted->at_ns);
	assert_int_equal(got->previous_ns, wanted->previous_ns);
	assert_int_equal(got->sent_bytes, wanted->sent_bytes);
	assert_int_equal(got->received_bytes, wanted->received_bytes);
	assert_int_equal(got->pid, wanted->pid);
	assert_int_equal(got->start_ticks, wanted->start_ticks);
	assert_int_equal(got->tid, wanted->tid);
}

static void expect_small(const struct snap_record *got, const struct snap_record *wanted)
{
	switch (wanted->type) {
	case SNAP_TYPE_NETNS:
		assert_int_equal(got->u.netns.netns, wanted->u.netns.netns);
		assert_int_equal(got->u.netns.via_pid, wanted->u.netns.via_pid);
		assert_int_equal(got->u.netns.is_capture, wanted->u.netns.is_capture);
		break;
	case SNAP_TYPE_INTERFACE:
		assert_int_equal(got->u.interface.netns, wanted->u.interface.netns);
		assert_int_equal(got->u.interface.ifindex, wanted->u.interface.ifindex);
		assert_string_equal(got->u.interface.name, wanted->u.interface.name);
		assert_int_equal(got->u.interface.hardware_type, wanted->u.interface.hardware_type);
		break;
	case SNAP_TYPE_ADDRESS:
		assert_int_equal(got->u.address.netns, wanted->u.address.netns);
		assert_int_equal(got->u.address.ifindex, wanted->u.address.ifindex);
		assert_true(endpoint_equal(&got->u.address.address, &wanted->u.address.address));
		assert_int_equal(got->u.address.prefix_length, wanted->u.address.prefix_length);
		break;
	case SNAP_TYPE_HOLDER:
		assert_int_equal(got->u.holder.inode, wanted->u.holder.inode);
		assert_int_equal(got->u.holder.pid, wanted->u.holder.pid);
		assert_int_equal(got->u.holder.start_ticks, wanted->u.holder.start_ticks);
		assert_int_equal(got->u.holder.tid, wanted->u.holder.tid);
		assert_int_equal(got->u.holder.fd, wanted->u.holder.fd);
		break;
	case SNAP_TYPE_CAPTURE:
		assert_memory_equal(&got->u.capture, &wanted->u.capture, sizeof(got->u.capture));
		break;
	case SNAP_TYPE_CLOCK:
		assert_memory_equal(&got->u.clock, &wanted->u.clock, sizeof(got->u.clock));
		break;
	case SNAP_TYPE_USE:
		expect_use(&got->u.use, &wanted->u.use);
		break;
	case SNAP_TYPE_BORN:
		assert_int_equal(got->u.born.pid, wanted->u.born.pid);
		assert_int_equal(got->u.born.start_ticks, wanted->u.born.start_ticks);
		assert_int_equal(got->u.born.ppid, wanted->u.born.ppid);
		assert_int_equal(got->u.born.born_ns, wanted->u.born.born_ns);
		break;
	case SNAP_TYPE_EXEC:
		assert_int_equal(got->u.exec.pid, wanted->u.exec.pid);
		assert_int_equal(got->u.exec.start_ticks, wanted->u.exec.start_ticks);
		assert_int_equal(got->u.exec.exec_ns, wanted->u.exec.exec_ns);
		break;
	default:
		assert_int_equal(wanted->type, SNAP_TYPE_ABSENT);
		assert_string_equal(got->u.absent.what, wanted->u.absent.what);
		assert_int_equal(got->u.absent.netns, wanted->u.absent.netns);
		assert_int_equal(got->u.absent.pid, wanted->u.absent.pid);
		assert_string_equal(got->u.absent.subject, wanted->u.absent.subject);
		assert_string_equal(got->u.absent.reason, wanted->u.absent.reason);
	}
}

static void expect_record(const struct snap_record *got, const struct snap_record *wanted)
{
	assert_int_equal(got->type, wanted->type);
	assert_int_equal(got->op, wanted->op);
	if (wanted->type == SNAP_TYPE_PROCESS)
		expect_process(&got->u.process, &wanted->u.process);
	else if (wanted->type == SNAP_TYPE_CLOSED)
		expect_closed(&got->u.closed, &wanted->u.closed);
	else if (wanted->type == SNAP_TYPE_SOCKET)
		expect_socket(&got->u.socket, &wanted->u.socket);
	else
		expect_small(got, wanted);
}

static void expect_meta(struct snapfile_reader *reader, uint64_t line, const char *key,
			const char *value, size_t length)
{
	struct snap_record record;

	assert_int_equal(snapfile_next(reader, &record, NULL), 1);
	assert_int_equal(record.type, SNAP_TYPE_META);
	assert_int_equal(record.line, line);
	assert_string_equal(record.u.meta.key, key);
	assert_int_equal(record.u.meta.value_length, length);
	if (value)
		assert_memory_equal(record.u.meta.value, value, length + 1);
	else
		assert_null(record.u.meta.value);
}

static void every_record_comes_back(void **state)
{
	struct snap_record records[SAMPLE_RECORDS], record;
	struct snapfile_reader *reader;
	int fd = sample_file(3);
	struct sample_blob blob = sample_contents(fd);
	size_t count = sample_records(records);

	(void)state;
	assert_int_equal(snapfile_open_memory(blob.bytes, blob.length, "m", &reader, NULL), 0);
	expect_meta(reader, 2, "tool", "pcapwho-record 0.1.0", 20);
	expect_meta(reader, 3, "time_zone", NULL, 0);
	expect_meta(reader, 4, "argv", "record\0-i\0any", 13);
	uint64_t line = 5;
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(snapfile_next(reader, &record, NULL), 1);
		assert_int_equal(record.type, SNAP_TYPE_FRAME);
		assert_int_equal(record.line, line++);
		assert_int_equal(record.u.frame.sequence, i);
		assert_int_equal(record.u.frame.kind, i == 1 ? SNAP_KEY : SNAP_POLL);
		const char *cause = record.u.frame.cause;
		assert_string_equal(cause, i == 1 ? "start" : "interval");
		assert_int_equal(record.u.frame.begin_ns, 1795290600123456789);
		assert_int_equal(record.u.frame.end_ns, 1795290600124111222);
		assert_int_equal(record.u.frame.monotonic_ns, 99123456789);
		assert_int_equal(record.u.frame.boot_ns, 99123456790);
		for (size_t k = 0; i != 2 && k < count; k++) {
			assert_int_equal(snapfile_next(reader, &record, NULL), 1);
			assert_int_equal(record.line, line++);
			expect_record(&record, &records[k]);
		}
		assert_int_equal(snapfile_next(reader, &record, NULL), 1);
		assert_int_equal(record.type, SNAP_TYPE_END);
		assert_int_equal(record.line, line++);
		assert_int_equal(record.u.frame.sequence, i);
		assert_ptr_equal(record.u.frame.cause, cause);
	}
	assert_int_equal(snapfile_next(reader, &record, NULL), 0);
	assert_int_equal(snapfile_unknown_records(reader), 0);
	snapfile_close(reader);
	free(blob.bytes);
	close(fd);
}

/* The text itself is the format: what FORMAT.md shows, to the byte. */
static void lines_are_as_documented(void **state)
{
	static const char wanted[] =
		"netns\t+\t4026531840\t12\t1\n"
		"interface\t+\t4026531840\t2\teth0\t1\n"
		"address\t~\t4026531840\t2\t2001:db8::7\t64\n"
		"socket\t+\t4026531840\ttcp\t10.0.0.1\t40000\t192.0.2.9\t443\t1\t33\t12396\t"
		"18446744073709551615\t2\n"
		"process\t-\t412\t2211\t1\t33\ta\\tb\\\\c\t/usr/sbin/\\xff\xc3\xa4\t"
		"one\\x00two\\x00\\x00four\t/x;/y\t4026531840\t-9\t1795290600123456789\n"
		"holder\t+\t12396\t412\t2211\t413\t6\n"
		"closed\t!\t4026531840\ttcp6\t::ffff:10.0.0.1\t1\t2001:db8::1\t65535\t4294967295\t7"
		"\t8\t9\t10\t11\t12\t13\t14\t15\t16\n"
		"capture\t!\t1\t2\t3\t4\t18446744073709551615\n"
		"clock\t!\t-9223372036854775808\t5\n"
		"absent\t+\ttable\t4026531840\t9\tsctp/assocs\tENOENT\n"
		"use\t!\t4026531840\t6\t10.0.0.1\t40000\t192.0.2.9\t443\t17\t1795290600123456700"
		"\treceive\t1795290600123456800\t1795290600123456750\t5\t\\N\t412\t2211\t413\n"
		"born\t!\t413\t2212\t412\t1795290600123456777\n"
		"exec\t!\t413\t2212\t1795290600123456778\n";
	struct snap_record records[SAMPLE_RECORDS];
	struct snapframe frame;

	(void)state;
	snapframe_init(&frame, SNAP_KEY, "start");
	for (size_t i = 0, count = sample_records(records); i < count; i++)
		snapframe_add(&frame, &records[i]);
	assert_int_equal(frame.records, SAMPLE_RECORDS);
	assert_int_equal(frame.length, sizeof(wanted) - 1);
	assert_memory_equal(frame.text, wanted, frame.length);
	snapframe_release(&frame);
}

static void what_is_not_known_is_written_so(void **state)
{
	static const char wanted[] =
		"process\t+\t1\t2\t0\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n";
	struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_ADD};
	struct snapfile_reader *reader;
	struct snapframe frame;

	(void)state;
	record.u.process =
		(struct snap_process){.pid = 1, .start_ticks = 2, .uid = SNAP_UNKNOWN_UID};
	snapframe_init(&frame, SNAP_KEY, "start");
	snapframe_add(&frame, &record);
	assert_int_equal(frame.length, sizeof(wanted) - 1);
	assert_memory_equal(frame.text, wanted, frame.length);
	snapframe_release(&frame);

	char *body = sample_framed(1, wanted), *text = sample_joined(SAMPLE_FIRST_LINE, body, "");
	assert_int_equal(snapfile_open_memory(text, strlen(text), "m", &reader, NULL), 0);
	assert_int_equal(snapfile_next(reader, &record, NULL), 1);
	assert_int_equal(snapfile_next(reader, &record, NULL), 1);
	assert_null(record.u.process.comm);
	assert_null(record.u.process.cmdline);
	assert_int_equal(record.u.process.uid, SNAP_UNKNOWN_UID);
	assert_false(record.u.process.exit_known);
	snapfile_close(reader);
	free(body);
	free(text);
}

static void addresses_have_the_form_of_their_table(void **state)
{
	static const struct endpoint_address zero;
	static const struct {
		enum snap_table table;
		const char *given; /* NULL: all zero bytes */
		const char *wanted;
	} cases[] = {
		{SNAP_TCP, "10.0.0.1", "10.0.0.1"},
		{SNAP_TCP, "0.0.0.0", "0.0.0.0"},
		{SNAP_UDP, NULL, "0.0.0.0"},
		{SNAP_PACKET, NULL, "0.0.0.0"},
		{SNAP_TCP6, NULL, "::"},
		{SNAP_TCP6, "10.0.0.1", "::ffff:10.0.0.1"},
		{SNAP_UDP6, "0.0.0.0", "::ffff:0.0.0.0"},
		{SNAP_RAW6, "fe80::1", "fe80::1"},
		{SNAP_SCTP_EPS, NULL, "::"},
		{SNAP_SCTP_EPS, "0.0.0.0", "0.0.0.0"},
		{SNAP_SCTP_ASSOCS, "2001:db8::1", "2001:db8::1"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct snap_record record = {.type = SNAP_TYPE_SOCKET, .op = SNAP_ADD};
		struct snapframe frame;
		char wanted[200];

		record.u.socket.table = cases[i].table;
		record.u.socket.local.address =
			cases[i].given ? sample_address(cases[i].given) : zero;
		record.u.socket.remote = record.u.socket.local;
		snprintf(wanted, sizeof(wanted), "socket\t+\t0\t%s\t%s\t0\t%s\t0\t0\t0\t0\t0\t0\n",
			 snap_table_name(cases[i].table), cases[i].wanted, cases[i].wanted);
		snapframe_init(&frame, SNAP_KEY, "start");
		snapframe_add(&frame, &record);
		assert_int_equal(frame.length, strlen(wanted));
		assert_memory_equal(frame.text, wanted, frame.length);
		snapframe_release(&frame);
	}
}

static void tables_have_names_protocols_and_families(void **state)
{
	enum snap_table table = SNAP_TABLE_END;

	(void)state;
	for (int i = SNAP_TCP; i < SNAP_TABLE_END; i++) {
		const char *name = snap_table_name((enum snap_table)i);

		assert_true(snaprecord_table(name, strlen(name), &table));
		assert_int_equal(table, i);
	}
	assert_false(snaprecord_table("tcp7", 4, &table));
	assert_false(snaprecord_table("", 0, &table));
	assert_int_equal(snap_table_protocol(SNAP_TCP6), 6);
	assert_int_equal(snap_table_protocol(SNAP_UDPLITE), 136);
	assert_int_equal(snap_table_protocol(SNAP_ICMP6), 58);
	assert_int_equal(snap_table_protocol(SNAP_RAW), 0);
	assert_int_equal(snap_table_protocol(SNAP_SCTP_ASSOCS), 132);
	assert_true(snap_table_is_ipv6(SNAP_RAW6));
	assert_false(snap_table_is_ipv6(SNAP_PACKET));
}

/* A process may give itself any command line; that must not stop a recording. */
static void a_monstrous_command_line_is_cut(void **state)
{
	struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_ADD};
	struct snapframe frame;
	struct sample_tally tally;
	size_t length = 24u << 20;

	(void)state;
	record.u.process.cmdline = calloc(1, length);
	record.u.process.cmdline_length = length;
	assert_non_null(record.u.process.cmdline);
	snapframe_init(&frame, SNAP_POLL, "interval");
	snapframe_add(&frame, &record);
	assert_false(frame.failed);
	char *lines = strndup(frame.text, frame.length);
	char *body = sample_framed(1, lines), *text = sample_joined(SAMPLE_FIRST_LINE, body, "");
	assert_int_equal(sample_read_text(text, &tally), 0);
	assert_int_equal(tally.records, 1);
	free((void *)(uintptr_t)record.u.process.cmdline);
	free(lines);
	free(body);
	free(text);
	snapframe_release(&frame);
}

/* ---- files larger than any buffer ---- */

static void many_frames_of_all_sizes_come_through(void **state)
{
	char path[] = "/tmp/test_snapfile.XXXXXX";
	int fd = mkstemp(path);
	struct snapfile_writer *writer;
	struct snapfile_reader *reader;
	struct snap_record record = {.type = SNAP_TYPE_HOLDER, .op = SNAP_ADD};
	struct error error = ERROR_NONE;
	uint32_t sizes[] = {0, 1, 40000, 3, 100000, 0, 7, 20000}, next = 0;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(snapfile_writer_open(fd, path, &writer, NULL), 0);
	uint64_t before = snapfile_writer_bytes(writer);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct snapframe frame;
		snapframe_init(&frame, SNAP_EVENT, "miss");
		frame.head.sequence = i + 1;
		for (uint32_t k = 0; k < sizes[i]; k++) {
			record.u.holder.inode = next++;
			snapframe_add(&frame, &record);
		}
		assert_int_equal(snapfile_writer_frame(writer, &frame, &error), 0);
		/* Flushed: it is on disk before the next one. */
		assert_true(snapfile_writer_bytes(writer) > before);
		before = snapfile_writer_bytes(writer);
		snapframe_release(&frame);
	}
	assert_int_equal(snapfile_writer_close(writer, &error), 0);
	assert_int_equal(snapfile_open(AT_FDCWD, path, &reader, &error), 0);
	next = 0;
	size_t frames = 0;
	int status;
	while ((status = snapfile_next(reader, &record, &error)) > 0) {
		if (record.type == SNAP_TYPE_HOLDER)
			assert_int_equal(record.u.holder.inode, next++);
		frames += record.type == SNAP_TYPE_END;
	}
	assert_int_equal(status, 0);
	assert_int_equal(frames, COUNT(sizes));
	assert_int_equal(next, 160011);
	snapfile_close(reader);
	unlink(path);
}

/* ---- writing fails ---- */

static void a_full_disk_fails_this_and_every_later_call(void **state)
{
	struct snapfile_writer *writer;
	struct snapframe frame;
	struct error error = ERROR_NONE;

	(void)state;
	assert_int_equal(snapfile_writer_open(open("/dev/full", O_WRONLY | O_CLOEXEC), "full",
					      &writer, &error),
			 0);
	snapframe_init(&frame, SNAP_KEY, "start");
	for (int i = 0; i < 2; i++) {
		memset(&error, 0, sizeof(error));
		assert_int_equal(snapfile_writer_frame(writer, &frame, &error), ERROR_SYSTEM);
		assert_int_equal(error.saved_errno, ENOSPC);
		assert_string_equal(error.path, "full");
	}
	assert_int_equal(snapfile_writer_bytes(writer), 0);
	assert_int_equal(snapfile_writer_close(writer, &error), ERROR_SYSTEM);
	assert_int_equal(snapfile_writer_close(NULL, NULL), 0);
	snapframe_release(&frame);
}

static void a_frame_that_lacked_memory_is_refused_and_the_file_goes_on(void **state)
{
	int fd = memfd_create("x", MFD_CLOEXEC);
	struct snapfile_writer *writer;
	struct snapframe frame;
	struct sample_tally tally;

	(void)state;
	assert_int_equal(snapfile_writer_open(dup(fd), "x", &writer, NULL), 0);
	snapframe_init(&frame, SNAP_KEY, "start");
	frame.failed = true;
	assert_int_equal(snapfile_writer_frame(writer, &frame, NULL), ERROR_MEMORY);
	frame.failed = false;
	assert_int_equal(snapfile_writer_frame(writer, &frame, NULL), 0);
	assert_int_equal(snapfile_writer_close(writer, NULL), 0);
	struct sample_blob blob = sample_contents(fd);
	assert_int_equal(sample_read(blob.bytes, blob.length, &tally), 0);
	assert_int_equal(tally.frames, 1);
	free(blob.bytes);
	snapframe_release(&frame);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_record_comes_back),
		cmocka_unit_test(lines_are_as_documented),
		cmocka_unit_test(what_is_not_known_is_written_so),
		cmocka_unit_test(addresses_have_the_form_of_their_table),
		cmocka_unit_test(tables_have_names_protocols_and_families),
		cmocka_unit_test(a_monstrous_command_line_is_cut),
		cmocka_unit_test(many_frames_of_all_sizes_come_through),
		cmocka_unit_test(a_full_disk_fails_this_and_every_later_call),
		cmocka_unit_test(a_frame_that_lacked_memory_is_refused_and_the_file_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
