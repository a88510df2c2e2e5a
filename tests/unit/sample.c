/* sample.c - snapshot files for tests of their format. */
#include "tests/unit/sample.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
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

struct sample_blob sample_contents(int fd)
{
	struct stat status;
	struct sample_blob blob = {0};

	assert_int_equal(fstat(fd, &status), 0);
	blob.length = (size_t)status.st_size;
	blob.bytes = malloc(blob.length + 1);
	assert_non_null(blob.bytes);
	assert_int_equal(pread(fd, blob.bytes, blob.length, 0), blob.length);
	blob.bytes[blob.length] = '\0';
	return blob;
}

struct sample_blob sample_unzipped(int fd)
{
	struct sample_blob blob = {.bytes = malloc(64u << 20)};
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

struct endpoint_address sample_address(const char *text)
{
	struct endpoint_address out;

	assert_int_equal(endpoint_parse(text, &out), 0);
	return out;
}

struct endpoint sample_endpoint(const char *text, uint16_t port)
{
	return (struct endpoint){.address = sample_address(text), .port = port};
}

size_t sample_records(struct snap_record *records)
{
	size_t n = 0;

	records[n] = (struct snap_record){.type = SNAP_TYPE_NETNS, .op = SNAP_ADD};
	records[n++].u.netns = (struct snap_netns){4026531840, 12, true};
	records[n] = (struct snap_record){.type = SNAP_TYPE_INTERFACE, .op = SNAP_ADD};
	records[n++].u.interface = (struct snap_interface){4026531840, 2, "eth0", 1};
	records[n] = (struct snap_record){.type = SNAP_TYPE_ADDRESS, .op = SNAP_CHANGE};
	records[n++].u.address =
		(struct snap_address){4026531840, 2, sample_address("2001:db8::7"), 64};
	records[n] = (struct snap_record){.type = SNAP_TYPE_SOCKET, .op = SNAP_ADD};
	records[n++].u.socket = (struct snap_socket){4026531840,
						     SNAP_TCP,
						     sample_endpoint("10.0.0.1", 40000),
						     sample_endpoint("192.0.2.9", 443),
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
						     sample_endpoint("::ffff:10.0.0.1", 1),
						     sample_endpoint("2001:db8::1", 65535),
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
					       .local = sample_endpoint("10.0.0.1", 40000),
					       .remote = sample_endpoint("192.0.2.9", 443),
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

int sample_file(int frames)
{
	struct snap_record records[SAMPLE_RECORDS];
	struct snapfile_writer *writer;
	size_t count = sample_records(records);
	int fd = memfd_create("sample", MFD_CLOEXEC);

	assert_int_equal(count, SAMPLE_RECORDS);
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

char *sample_framed(uint64_t sequence, const char *lines)
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

char *sample_joined(const char *a, const char *b, const char *c)
{
	size_t room = strlen(a) + strlen(b) + strlen(c) + 1;
	char *text = malloc(room);

	assert_non_null(text);
	snprintf(text, room, "%s%s%s", a, b, c);
	return text;
}

int sample_read(const void *bytes, size_t length, struct sample_tally *tally)
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

int sample_read_text(const char *text, struct sample_tally *tally)
{
	return sample_read(text, strlen(text), tally);
}
