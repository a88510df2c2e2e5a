#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "snapshot/format/quantity.h"
#include "snapshot/format/snapfile.h"
#include "snapshot/format/snapfile_internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FIRST	     "pcapwho-snapshot\t1\n"

struct blob {
	char *bytes;
	size_t length;
};

/* ---- helpers ---- */

static struct blob contents(int fd)
{
	struct stat status;
	struct blob blob = {0};

	assert_int_equal(fstat(fd, &status), 0);
	blob.length = (size_t)status.st_size;
	blob.bytes = malloc(blob.length + 1);
	assert_non_null(blob.bytes);
	assert_int_equal(pread(fd, blob.bytes, blob.length, 0), blob.length);
	blob.bytes[blob.length] = '\0';
	return blob;
}

static struct blob unzipped(int fd)
{
	struct blob blob = {.bytes = malloc(64u << 20)};
	int copy = dup(fd);

	assert_non_null(blob.bytes);
	assert_int_equal(lseek(copy, 0, SEEK_SET), 0);
	gzFile file = gzdopen(copy, "rb");
	assert_non_null(file);
	int length = gzread(file, blob.bytes, (64u << 20) - 1);
	assert_true(length >= 0);
	gzclose(file);
	blob.length = (size_t)length;
	blob.bytes[length] = '\0';
	return blob;
}

static struct endpoint_address address(const char *text)
{
	struct endpoint_address out;

	assert_int_equal(endpoint_parse(text, &out), 0);
	return out;
}

static struct endpoint endpoint(const char *text, uint16_t port)
{
	return (struct endpoint){.address = address(text), .port = port};
}

/* One of each kind, with every field different from zero. */
static size_t sample_records(struct snap_record *records)
{
	size_t n = 0;

	records[n] = (struct snap_record){.type = SNAP_TYPE_NETNS, .op = SNAP_ADD};
	records[n++].u.netns = (struct snap_netns){4026531840, 12, true};
	records[n] = (struct snap_record){.type = SNAP_TYPE_INTERFACE, .op = SNAP_ADD};
	records[n++].u.interface = (struct snap_interface){4026531840, 2, "eth0", 1};
	records[n] = (struct snap_record){.type = SNAP_TYPE_ADDRESS, .op = SNAP_CHANGE};
	records[n++].u.address = (struct snap_address){4026531840, 2, address("2001:db8::7"), 64};
	records[n] = (struct snap_record){.type = SNAP_TYPE_SOCKET, .op = SNAP_ADD};
	records[n++].u.socket = (struct snap_socket){4026531840,
						     SNAP_TCP,
						     endpoint("10.0.0.1", 40000),
						     endpoint("192.0.2.9", 443),
						     SNAP_ESTABLISHED,
						     33,
						     12396,
						     UINT64_MAX,
						     2};
	records[n] = (struct snap_record){.type = SNAP_TYPE_PROCESS, .op = SNAP_GONE};
	records[n++].u.process = (struct snap_process){412,
						       2211,
						       1,
						       33,
						       "a\tb\\c",
						       "/usr/sbin/\xff\xc3\xa4",
						       "one\0two\0\0four",
						       13,
						       "/x;/y",
						       4026531840,
						       true,
						       -9,
						       1795290600123456789};
	records[n] = (struct snap_record){.type = SNAP_TYPE_HOLDER, .op = SNAP_ADD};
	records[n++].u.holder = (struct snap_holder){12396, 412, 2211, 413, 6};
	records[n] = (struct snap_record){.type = SNAP_TYPE_CLOSED, .op = SNAP_ONCE};
	records[n++].u.closed = (struct snap_closed){4026531840,
						     SNAP_TCP6,
						     endpoint("::ffff:10.0.0.1", 1),
						     endpoint("2001:db8::1", 65535),
						     UINT32_MAX,
						     7,
						     8,
						     9,
						     10,
						     11,
						     12,
						     13,
						     14,
						     15,
						     16};
	records[n] = (struct snap_record){.type = SNAP_TYPE_CAPTURE, .op = SNAP_ONCE};
	records[n++].u.capture = (struct snap_capture){1, 2, 3, 4, UINT64_MAX};
	records[n] = (struct snap_record){.type = SNAP_TYPE_CLOCK, .op = SNAP_ONCE};
	records[n++].u.clock = (struct snap_clock){INT64_MIN, 5};
	records[n] = (struct snap_record){.type = SNAP_TYPE_ABSENT, .op = SNAP_ADD};
	records[n++].u.absent =
		(struct snap_absent){"table", 4026531840, 9, "sctp/assocs", "ENOENT"};
	records[n] = (struct snap_record){.type = SNAP_TYPE_USE, .op = SNAP_ONCE};
	records[n++].u.use = (struct snap_use){.netns = 4026531840,
					       .protocol = 6,
					       .local = endpoint("10.0.0.1", 40000),
					       .remote = endpoint("192.0.2.9", 443),
					       .cookie = 17,
					       .opened_ns = 1795290600123456700,
					       .act = SNAP_RECEIVE,
					       .at_ns = 1795290600123456800,
					       .previous_ns = 1795290600123456750,
					       .sent_bytes = 5,
					       .received_bytes = SNAP_UNKNOWN_BYTES,
					       .pid = 412,
					       .start_ticks = 2211,
					       .tid = 413};
	records[n] = (struct snap_record){.type = SNAP_TYPE_BORN, .op = SNAP_ONCE};
	records[n++].u.born = (struct snap_born){413, 2212, 412, 1795290600123456777};
	records[n] = (struct snap_record){.type = SNAP_TYPE_EXEC, .op = SNAP_ONCE};
	records[n++].u.exec = (struct snap_exec){413, 2212, 1795290600123456778};
	return n;
}

#define SAMPLES 13

/* A file of header and frames, each with all samples; one frame has none. */
static int sample_file(int frames)
{
	struct snap_record records[SAMPLES];
	struct snapfile_writer *writer;
	size_t count = sample_records(records);
	int fd = memfd_create("sample", MFD_CLOEXEC);

	assert_int_equal(count, SAMPLES);
	assert_int_equal(snapfile_writer_open(dup(fd), "sample", &writer, NULL), 0);
	assert_int_equal(snapfile_writer_meta(writer, "tool", "pcapwho-record 0.1.0", NULL), 0);
	assert_int_equal(snapfile_writer_meta(writer, "time_zone", NULL, NULL), 0);
	assert_int_equal(snapfile_writer_meta_bytes(writer, "argv", "record\0-i\0any", 13, NULL),
			 0);
	for (int i = 0; i < frames; i++) {
		struct snapframe frame;
		snapframe_init(&frame, i == 0 ? SNAP_KEY : SNAP_POLL,
			       i == 0 ? "start" : "interval");
		frame.head.sequence = (uint64_t)i + 1;
		frame.head.begin_ns = 1795290600123456789;
		frame.head.end_ns = 1795290600124111222;
		frame.head.monotonic_ns = 99123456789;
		frame.head.boot_ns = 99123456790;
		for (size_t k = 0; i != 1 && k < count; k++)
			snapframe_add(&frame, &records[k]);
		assert_int_equal(snapfile_writer_frame(writer, &frame, NULL), 0);
		snapframe_release(&frame);
	}
	assert_int_equal(snapfile_writer_close(writer, NULL), 0);
	return fd;
}

/* "frame … end" around lines, with the right count and CRC. To be freed. */
static char *framed(uint64_t sequence, const char *lines)
{
	size_t room = strlen(lines) + 200, records = 0;
	char *text = malloc(room);

	assert_non_null(text);
	for (const char *at = lines; *at; at++)
		records += *at == '\n';
	int length = snprintf(text, room, "frame\t%" PRIu64 "\tpoll\tinterval\t1\t2\t3\t4\n%s",
			      sequence, lines);
	uLong crc = crc32(0, (const Bytef *)text, (uInt)length);
	snprintf(text + length, room - (size_t)length, "end\t%" PRIu64 "\t%zu\t%08lx\n", sequence,
		 records, crc);
	return text;
}

static char *joined(const char *a, const char *b, const char *c)
{
	size_t room = strlen(a) + strlen(b) + strlen(c) + 1;
	char *text = malloc(room);

	assert_non_null(text);
	snprintf(text, room, "%s%s%s", a, b, c);
	return text;
}

struct tally {
	int metas, frames, ends, records;
	struct error error;
};

/* Reads all, and checks what holds for every file: frames are whole. */
static int read_all(const void *bytes, size_t length, struct tally *tally)
{
	struct snapfile_reader *reader;
	struct snap_record record;
	int status;
	bool is_open = false;
	uint64_t line = 1;

	memset(tally, 0, sizeof(*tally));
	status = snapfile_open_memory(bytes, length, "memory", &reader, &tally->error);
	if (status != 0)
		return status;
	while ((status = snapfile_next(reader, &record, &tally->error)) > 0) {
		assert_true(record.line > line);
		line = record.line;
		if (record.type == SNAP_TYPE_META) {
			assert_int_equal(tally->frames, 0);
			tally->metas++;
		} else if (record.type == SNAP_TYPE_FRAME) {
			assert_false(is_open);
			is_open = true;
			tally->frames++;
		} else if (record.type == SNAP_TYPE_END) {
			assert_true(is_open);
			is_open = false;
			tally->ends++;
		} else {
			assert_true(is_open);
			tally->records++;
		}
	}
	assert_false(is_open);
	/* It stays at its end. */
	assert_int_equal(snapfile_next(reader, &record, NULL), status);
	snapfile_close(reader);
	return status;
}

static int read_text(const char *text, struct tally *tally)
{
	return read_all(text, strlen(text), tally);
}

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
	struct snap_record records[SAMPLES], record;
	struct snapfile_reader *reader;
	int fd = sample_file(3);
	struct blob blob = contents(fd);
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
	struct snap_record records[SAMPLES];
	struct snapframe frame;

	(void)state;
	snapframe_init(&frame, SNAP_KEY, "start");
	for (size_t i = 0, count = sample_records(records); i < count; i++)
		snapframe_add(&frame, &records[i]);
	assert_int_equal(frame.records, SAMPLES);
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

	char *body = framed(1, wanted), *text = joined(FIRST, body, "");
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
		record.u.socket.local.address = cases[i].given ? address(cases[i].given) : zero;
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
	struct tally tally;
	size_t length = 24u << 20;

	(void)state;
	record.u.process.cmdline = calloc(1, length);
	record.u.process.cmdline_length = length;
	assert_non_null(record.u.process.cmdline);
	snapframe_init(&frame, SNAP_POLL, "interval");
	snapframe_add(&frame, &record);
	assert_false(frame.failed);
	char *lines = strndup(frame.text, frame.length);
	char *body = framed(1, lines), *text = joined(FIRST, body, "");
	assert_int_equal(read_text(text, &tally), 0);
	assert_int_equal(tally.records, 1);
	free((void *)(uintptr_t)record.u.process.cmdline);
	free(lines);
	free(body);
	free(text);
	snapframe_release(&frame);
}

/* ---- damage ---- */

static void cut_anywhere_it_gives_its_whole_frames(void **state)
{
	int fd = sample_file(3);
	struct blob zipped = contents(fd), plain = unzipped(fd);
	uint64_t borders[3];
	struct tally tally;
	int found = 0;

	(void)state;
	for (const char *at = plain.bytes; (at = strstr(at, "\nend\t")) != NULL;) {
		at = strchr(at + 1, '\n');
		borders[found++] = (uint64_t)(at + 1 - plain.bytes);
	}
	assert_int_equal(found, 3);
	uint64_t header = (uint64_t)(strstr(plain.bytes, "frame\t") - plain.bytes);
	for (size_t length = 0; length <= plain.length; length++) {
		int status = read_all(plain.bytes, length, &tally);
		int whole = 0;
		while (whole < 3 && borders[whole] <= length)
			whole++;
		assert_int_equal(tally.frames, whole);
		assert_int_equal(tally.ends, whole);
		/* A header may end behind any of its lines; a frame only at its end. */
		bool clean = whole > 0 ? borders[whole - 1] == length
				       : length > 0 && length <= header &&
						 plain.bytes[length - 1] == '\n';
		assert_int_equal(status, clean ? 0 : ERROR_DAMAGED);
	}
	int most = 0;
	for (size_t length = 0; length < zipped.length; length++) {
		assert_int_equal(read_all(zipped.bytes, length, &tally), ERROR_DAMAGED);
		assert_true(tally.frames >= most);
		most = tally.frames;
	}
	/* The flush behind the last frame comes before the gzip trailer. */
	assert_int_equal(most, 3);
	assert_int_equal(read_all(zipped.bytes, zipped.length, &tally), 0);
	assert_int_equal(tally.frames, 3);
	free(zipped.bytes);
	free(plain.bytes);
	close(fd);
}

/* What a frame's CRC covers is delivered as it was written or not at all. */
static void a_flipped_byte_costs_its_frame(void **state)
{
	static const uint8_t flips[] = {0x01, 0x80, 0x20, 0xff};
	int fd = sample_file(2);
	struct blob zipped = contents(fd), plain = unzipped(fd);
	struct tally tally;
	size_t first = (size_t)(strstr(plain.bytes, "frame\t") - plain.bytes);
	size_t end = (size_t)(strstr(plain.bytes, "\nend\t") - plain.bytes);

	(void)state;
	for (size_t i = 0; i < plain.length; i++) {
		for (size_t k = 0; k < COUNT(flips); k++) {
			plain.bytes[i] = (char)((uint8_t)plain.bytes[i] ^ flips[k]);
			int status = read_all(plain.bytes, plain.length, &tally);
			if (i >= first && i <= end) {
				assert_int_equal(status, ERROR_DAMAGED);
				assert_int_equal(tally.frames, 0);
			}
			plain.bytes[i] = (char)((uint8_t)plain.bytes[i] ^ flips[k]);
		}
	}
	for (size_t i = 0; i < zipped.length; i++) {
		for (size_t k = 0; k < COUNT(flips); k++) {
			zipped.bytes[i] = (char)((uint8_t)zipped.bytes[i] ^ flips[k]);
			read_all(zipped.bytes, zipped.length, &tally);
			zipped.bytes[i] = (char)((uint8_t)zipped.bytes[i] ^ flips[k]);
		}
	}
	free(zipped.bytes);
	free(plain.bytes);
	close(fd);
}

static void a_damaged_field_is_refused_with_its_whole_frame(void **state)
{
#define SOCKET "socket\t+\t1\t"
	static const char *const bad[] = {
		SOCKET "tcp\t1.2.3.4\t65536\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t256\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t4294967296\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t18446744073709551616\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t99999999999999999999\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t100000000000000000000\t0\n",
		SOCKET "tcp\t1.2.3.4\t01\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t+1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t-1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t\\N\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp7\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		SOCKET "tcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\n",
		"socket\n",
		"socket\t\n",
		"socket\t+\n",
		"socket\t*\t1\ttcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		"socket\t++\t1\ttcp\t1.2.3.4\t1\t0.0.0.0\t0\t1\t0\t1\t0\t0\n",
		"process\t+\t1\t2\t1\t0\ta\\\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\\q\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\\x0\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\\x00\tb\tc\td\t1\t\\N\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t2147483648\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t-0\t\\N\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t\\N\t9223372036854775808\n",
		"process\t+\t1\t2\t1\t0\ta\tb\tc\td\t1\t\\N\n",
		"address\t+\t1\t1\t10.0.0.1\t33\n",
		"address\t+\t1\t1\t::1\t129\n",
		"address\t+\t1\t1\t::1%lo\t128\n",
		"netns\t+\t1\t0\t2\n",
		"clock\t+\t1\t1\n",
		"clock\t!\t-9223372036854775809\t1\n",
		"clock\t!\t--1\t1\n",
		"capture\t~\t1\t2\t3\t4\t5\n",
		"absent\t+\t\\N\t0\t0\t\tENOENT\n",
		"meta\tlate\tline\n",
		"frame\t2\tpoll\tinterval\t1\t2\t3\t4\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		char *good = framed(1, "netns\t+\t1\t0\t1\n"), *body = framed(2, bad[i]);
		char *text = joined(FIRST, good, body);
		struct tally tally;

		if (read_text(text, &tally) != ERROR_DAMAGED || tally.frames != 1)
			fail_msg("accepted: %s", bad[i]);
		assert_true(tally.error.offset_bytes >= (int64_t)(strlen(FIRST) + strlen(good)));
		free(good);
		free(body);
		free(text);
	}
}

/* A file with one empty frame of these times. */
static int read_times(int64_t begin_ns, int64_t end_ns, int64_t monotonic_ns, int64_t boot_ns,
		      struct tally *tally)
{
	struct snapframe frame;
	struct snapfile_writer *writer;
	int fd = memfd_create("x", MFD_CLOEXEC), status;
	struct blob blob;

	snapframe_init(&frame, SNAP_KEY, "start");
	frame.head =
		(struct snap_frame){1, SNAP_KEY, "start", begin_ns, end_ns, monotonic_ns, boot_ns};
	assert_int_equal(snapfile_writer_open(dup(fd), "x", &writer, NULL), 0);
	assert_int_equal(snapfile_writer_frame(writer, &frame, NULL), 0);
	assert_int_equal(snapfile_writer_close(writer, NULL), 0);
	blob = contents(fd);
	status = read_all(blob.bytes, blob.length, tally);
	free(blob.bytes);
	close(fd);
	snapframe_release(&frame);
	return status;
}

static void times_are_of_this_era(void **state)
{
	const int64_t last = QUANTITY_MAX_TIME_NS;
	struct tally tally;

	(void)state;
	assert_int_equal(read_times(0, 0, 0, 0, &tally), 0);
	assert_int_equal(read_times(last, last, last, last, &tally), 0);
	assert_int_equal(read_times(-1, 0, 0, 0, &tally), ERROR_DAMAGED);
	assert_non_null(strstr(tally.error.message, "a time of this era"));
	assert_int_equal(read_times(0, last + 1, 0, 0, &tally), ERROR_DAMAGED);
	assert_int_equal(read_times(0, 0, INT64_MIN, 0, &tally), ERROR_DAMAGED);
	assert_int_equal(read_times(0, 0, 0, INT64_MAX, &tally), ERROR_DAMAGED);
	/* The writer's clock was set back in between; no reader meets such a frame. */
	assert_int_equal(read_times(5, 4, 0, 0, &tally), 0);
	assert_int_equal(
		read_text(FIRST "frame\t1\tkey\tstart\t5\t4\t0\t0\nend\t1\t0\t6653dc08\n", &tally),
		ERROR_DAMAGED);
	assert_non_null(strstr(tally.error.message, "not before begin_ns"));
}

static void the_extremes_of_fields_are_fine(void **state)
{
	static const char *const good[] = {
		SOCKET "tcp\t1.2.3.4\t65535\t0.0.0.0\t0\t255\t4294967295\t4294967295\t"
		       "18446744073709551615\t4294967295\n",
		SOCKET "udp6\t::\t0\t::ffff:255.255.255.255\t0\t\\N\t\\N\t0\t\\N\t\\N\n",
		"process\t-\t1\t2\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t-2147483648\t0\n",
		"process\t+\t1\t2\t1\t0\t\t\t\t\t1\t0\t0\n",
		"process\t+\t1\t2\t1\t0\t\\\\N\tb\tc\td\t1\t0\t4611686018427387903\n",
		"address\t+\t1\t1\t0.0.0.0\t0\n",
		"absent\t!\tevent\t0\t0\t\t\\N\n",
		"netns\t+\t1\t0\t1\ta later version's field\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		char *body = framed(1, good[i]), *text = joined(FIRST, body, "");
		struct tally tally;

		if (read_text(text, &tally) != 0 || tally.records != 1)
			fail_msg("refused: %s%s", good[i], tally.error.message);
		free(body);
		free(text);
	}
}

static void kinds_of_later_versions_are_counted(void **state)
{
	char *body = framed(1, "tunnel\t+\tx\nnetns\t+\t1\t0\t1\nsockets\n\n");
	char *text = joined(FIRST "notice\tx\nmeta\tkey\tvalue\n", body, "between\tframes\n");
	struct snapfile_reader *reader;
	struct snap_record record;
	int records = 0, status;

	(void)state;
	assert_int_equal(snapfile_open_memory(text, strlen(text), "m", &reader, NULL), 0);
	while ((status = snapfile_next(reader, &record, NULL)) > 0) {
		assert_int_not_equal(record.type, SNAP_TYPE_OTHER);
		records++;
		if (record.type == SNAP_TYPE_NETNS)
			assert_int_equal(record.line, 6);
	}
	assert_int_equal(status, 0);
	assert_int_equal(records, 4);
	assert_int_equal(snapfile_unknown_records(reader), 5);
	snapfile_close(reader);
	free(body);
	free(text);
}

static void a_frame_must_close_as_it_opened(void **state)
{
	static const char *const bad[] = {
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t1\t00000000\n",
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t2\t0\t00000000\n",
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t0\t00000000\n",
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t0\t0000000\n",
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\t1\t0\n",
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\t4\nend\n",
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\t4\n",
		FIRST "frame\t1\tfull\tstart\t1\t2\t3\t4\n",
		FIRST "frame\t1\tkey\t\\N\t1\t2\t3\t4\n",
		FIRST "frame\t1\tkey\tstart\t1\t2\t3\n",
		FIRST "frame\n",
		FIRST "end\t1\t0\t00000000\n",
		FIRST "socket\t+\n",
		FIRST "meta\n",
		FIRST "meta\tkey\n",
		FIRST "meta\tkey\t\\z\n",
	};
	struct tally tally;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (read_text(bad[i], &tally) != ERROR_DAMAGED || tally.frames + tally.metas != 0)
			fail_msg("accepted: %s", bad[i]);
	}
	char *body = framed(1, "");
	char *text = joined(FIRST, body, "");
	assert_int_equal(read_text(text, &tally), 0);
	/* The CRC does not cover the closing line: its numbers count by themselves. */
	char *end = strstr(text, "end\t1\t0\t");
	end[4] = '2';
	assert_int_equal(read_text(text, &tally), ERROR_DAMAGED);
	end[4] = '1';
	end[6] = '1';
	assert_int_equal(read_text(text, &tally), ERROR_DAMAGED);
	end[6] = '0';
	assert_int_equal(read_text(text, &tally), 0);
	char *late = joined(FIRST, body, "meta\tkey\tvalue\n");
	assert_int_equal(read_text(late, &tally), ERROR_DAMAGED);
	assert_int_equal(tally.frames, 1);
	free(body);
	free(text);
	free(late);
}

static void only_our_files_of_our_version_open(void **state)
{
	static const char *const bad[] = {
		"",
		"\x1f",
		"\x1f\x8b",
		"p",
		"pcapwho-snapshot",
		"pcapwho-snapshot\t",
		"pcapwho-snapshot\t1",
		"pcapwho-snapshot\t\n",
		"pcapwho-snapshot\t2\n",
		"pcapwho-snapshot\t10\n",
		"pcapwho-snapshot\t01\n",
		"pcapwho-snapshot 1\n",
		"\nframe\t1\n",
		"SQLite format 3\0 and so on, which has no line at all",
	};
	struct snapfile_reader *reader;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		error.code = 0;
		if (snapfile_open_memory(bad[i], strlen(bad[i]), "m", &reader, &error) !=
			    ERROR_DAMAGED ||
		    error.code != ERROR_DAMAGED)
			fail_msg("opened: %s", bad[i]);
	}
	assert_int_equal(snapfile_open_memory("pcapwho-snapshot\t2\n", 19, "m", &reader, &error),
			 ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "wanted snapshot version 1, found version \"2\""));
	assert_int_equal(snapfile_open(AT_FDCWD, "/nonexistent/x", &reader, &error),
			 ERROR_NO_INPUT);
	assert_int_equal(snapfile_open(AT_FDCWD, "/", &reader, &error), ERROR_DAMAGED);
	assert_int_equal(snapfile_open(AT_FDCWD, "/dev/null", &reader, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "regular file"));
	struct tally tally;
	assert_int_equal(read_text(FIRST, &tally), 0);
	assert_int_equal(read_text("pcapwho-snapshot\t1\tmore\nmeta\ta\tb\n", &tally), 0);
	assert_int_equal(tally.metas, 1);
}

static void a_line_without_an_end_is_not_read_forever(void **state)
{
	size_t length = 40u << 20;
	char *text = malloc(length);
	struct tally tally;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', length);
	memcpy(text, FIRST, strlen(FIRST));
	assert_int_equal(read_all(text, length, &tally), ERROR_DAMAGED);
	assert_non_null(strstr(tally.error.message, "16 MiB"));
	free(text);
}

static void gzip_members_may_follow_each_other_but_nothing_else(void **state)
{
	int fd = sample_file(0);
	struct blob blob = contents(fd);
	struct tally tally;
	char *twice = malloc(blob.length * 2);

	(void)state;
	assert_non_null(twice);
	memcpy(twice, blob.bytes, blob.length);
	memcpy(twice + blob.length, blob.bytes, blob.length);
	/* The second one's first line is a line of unknown kind. */
	assert_int_equal(read_all(twice, blob.length * 2, &tally), 0);
	assert_int_equal(tally.metas, 6);
	twice[blob.length] = 'x';
	assert_int_equal(read_all(twice, blob.length + 1, &tally), ERROR_DAMAGED);
	assert_int_equal(tally.metas, 3);
	free(twice);
	free(blob.bytes);
	close(fd);
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
	struct tally tally;

	(void)state;
	assert_int_equal(snapfile_writer_open(dup(fd), "x", &writer, NULL), 0);
	snapframe_init(&frame, SNAP_KEY, "start");
	frame.failed = true;
	assert_int_equal(snapfile_writer_frame(writer, &frame, NULL), ERROR_MEMORY);
	frame.failed = false;
	assert_int_equal(snapfile_writer_frame(writer, &frame, NULL), 0);
	assert_int_equal(snapfile_writer_close(writer, NULL), 0);
	struct blob blob = contents(fd);
	assert_int_equal(read_all(blob.bytes, blob.length, &tally), 0);
	assert_int_equal(tally.frames, 1);
	free(blob.bytes);
	snapframe_release(&frame);
	close(fd);
}

/* ---- salvage ---- */

struct room {
	char path[40];
	int dirfd;
};

static struct room make_room(void)
{
	struct room room = {.path = "/tmp/test_snapfile.XXXXXX"};

	assert_non_null(mkdtemp(room.path));
	room.dirfd = open(room.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(room.dirfd >= 0);
	return room;
}

static void put_file(const struct room *room, const char *name, const void *bytes, size_t length)
{
	int fd = openat(room->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

static void remove_room(struct room *room)
{
	unlinkat(room->dirfd, "from", 0);
	unlinkat(room->dirfd, "to", 0);
	close(room->dirfd);
	assert_int_equal(rmdir(room->path), 0);
}

static void salvage_keeps_every_whole_frame(void **state)
{
	struct room room = make_room();
	int fd = sample_file(3);
	struct blob zipped = contents(fd), plain = unzipped(fd);
	struct tally tally;

	(void)state;
	for (size_t cut = 0; cut <= zipped.length; cut += cut + 8 < zipped.length ? 7 : 1) {
		uint64_t frames = 99;
		put_file(&room, "from", zipped.bytes, cut);
		read_all(zipped.bytes, cut, &tally);
		int status = snapfile_salvage(room.dirfd, "from", "to", &frames, NULL);
		if (status != 0) {
			assert_int_equal(status, ERROR_DAMAGED);
			assert_int_equal(tally.frames, 0);
			assert_int_equal(frames, 99);
			assert_int_equal(faccessat(room.dirfd, "to", F_OK, 0), -1);
			continue;
		}
		assert_int_equal(frames, tally.frames);
		int to = openat(room.dirfd, "to", O_RDONLY | O_CLOEXEC);
		struct blob again = contents(to), text = unzipped(to);
		assert_true(text.length <= plain.length);
		assert_memory_equal(text.bytes, plain.bytes, text.length);
		assert_int_equal(read_all(again.bytes, again.length, &tally), 0);
		assert_int_equal(tally.frames, frames);
		struct stat file;
		assert_int_equal(fstat(to, &file), 0);
		assert_int_equal(file.st_mode & 0777, 0600);
		free(again.bytes);
		free(text.bytes);
		close(to);
		unlinkat(room.dirfd, "to", 0);
	}
	assert_int_equal(tally.frames, 3);
	free(zipped.bytes);
	free(plain.bytes);
	close(fd);
	remove_room(&room);
}

static void salvage_needs_a_whole_header(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"pcapwho-snap", ERROR_DAMAGED},
		{FIRST "meta\tto", ERROR_DAMAGED},
		{FIRST "meta\tkey\t\\q\n", ERROR_DAMAGED},
		{FIRST "socket\t+\n", ERROR_DAMAGED},
		{FIRST "meta\tkey\tvalue\n", 0},
		{FIRST "meta\tkey\tvalue\nfra", 0},
		{FIRST "meta\tkey\tvalue\nframe\t1\tkey\tst", 0},
		{FIRST "meta\tkey\tvalue\nframe\t1\tkey\tstart\t1\t2\t3\t4\nsocket\t*", 0},
	};
	struct room room = make_room();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t frames = 99;
		put_file(&room, "from", cases[i].text, strlen(cases[i].text));
		if (snapfile_salvage(room.dirfd, "from", "to", &frames, NULL) != cases[i].status)
			fail_msg("not %d: %s", cases[i].status, cases[i].text);
		assert_int_equal(frames, cases[i].status == 0 ? 0 : 99);
		unlinkat(room.dirfd, "to", 0);
	}
	remove_room(&room);
}

static void salvage_never_writes_over_a_file(void **state)
{
	struct room room = make_room();
	struct error error = ERROR_NONE;
	uint64_t frames;

	(void)state;
	put_file(&room, "from", FIRST, strlen(FIRST));
	put_file(&room, "to", "precious", 8);
	assert_int_equal(snapfile_salvage(room.dirfd, "from", "to", &frames, &error), ERROR_SYSTEM);
	assert_int_equal(error.saved_errno, EEXIST);
	int fd = openat(room.dirfd, "to", O_RDONLY | O_CLOEXEC);
	struct blob blob = contents(fd);
	assert_string_equal(blob.bytes, "precious");
	free(blob.bytes);
	close(fd);
	assert_int_equal(snapfile_salvage(room.dirfd, "none", "new", &frames, &error),
			 ERROR_NO_INPUT);
	remove_room(&room);
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
		cmocka_unit_test(cut_anywhere_it_gives_its_whole_frames),
		cmocka_unit_test(a_flipped_byte_costs_its_frame),
		cmocka_unit_test(a_damaged_field_is_refused_with_its_whole_frame),
		cmocka_unit_test(times_are_of_this_era),
		cmocka_unit_test(the_extremes_of_fields_are_fine),
		cmocka_unit_test(kinds_of_later_versions_are_counted),
		cmocka_unit_test(a_frame_must_close_as_it_opened),
		cmocka_unit_test(only_our_files_of_our_version_open),
		cmocka_unit_test(a_line_without_an_end_is_not_read_forever),
		cmocka_unit_test(gzip_members_may_follow_each_other_but_nothing_else),
		cmocka_unit_test(many_frames_of_all_sizes_come_through),
		cmocka_unit_test(a_full_disk_fails_this_and_every_later_call),
		cmocka_unit_test(a_frame_that_lacked_memory_is_refused_and_the_file_goes_on),
		cmocka_unit_test(salvage_keeps_every_whole_frame),
		cmocka_unit_test(salvage_needs_a_whole_header),
		cmocka_unit_test(salvage_never_writes_over_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
