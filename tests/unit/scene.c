/* scene.c - snapshots and captures made by hand. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "snapshot/format/snapfile.h"
#include "tests/unit/scene.h"

uint64_t scene_sequence;

static struct {
	char *text;
	size_t length, capacity, frame_at;
	unsigned records;
	uint64_t sequence;
	int64_t set_ms;
	bool in_frame;
} scene;

static void put(const char *text, size_t length)
{
	if (scene.length + length + 1 > scene.capacity) {
		scene.capacity = (scene.length + length + 1) * 2;
		scene.text = realloc(scene.text, scene.capacity);
		assert_non_null(scene.text);
	}
	memcpy(scene.text + scene.length, text, length);
	scene.length += length;
	scene.text[scene.length] = '\0';
}

static void put_line(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));
static void put_line(const char *format, va_list arguments)
{
	char line[1024];
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);

	assert_in_range(length, 1, sizeof(line) - 2);
	for (int i = 0; i < length; i++) {
		if (line[i] == ' ')
			line[i] = '\t';
	}
	line[length] = '\n';
	put(line, (size_t)length + 1);
}

static void put_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void put_format(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_line(format, arguments);
	va_end(arguments);
}

static void close_frame(void)
{
	uLong crc;

	if (!scene.in_frame)
		return;
	crc = crc32(0, (const Bytef *)scene.text + scene.frame_at,
		    (uInt)(scene.length - scene.frame_at));
	put_format("end %" PRIu64 " %u %08lx", scene.sequence, scene.records, (unsigned long)crc);
	scene.in_frame = false;
}

void scene_begin(void)
{
	scene.length = 0;
	scene.in_frame = false;
	scene.set_ms = 0;
	scene_sequence = 1;
	put_format("pcapwho-snapshot 1");
	scene_meta("clock_ticks", "100");
	scene_meta("netns", "1");
}

void scene_meta(const char *key, const char *value)
{
	put_format("meta %s %s", key, value);
}

void scene_frame(const char *kind, int64_t begin_ms, int64_t end_ms)
{
	close_frame();
	scene.frame_at = scene.length;
	scene.records = 0;
	scene.in_frame = true;
	scene.sequence = scene_sequence++;
	put_format("frame %" PRIu64 " %s %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
		   scene.sequence,
		   strcmp(kind, "restated") == 0 ? "key"
		   : strcmp(kind, "rotate") == 0 ? "poll"
						 : kind,
		   strcmp(kind, "restated") == 0 || strcmp(kind, "rotate") == 0 ? kind : "interval",
		   T(begin_ms), T(end_ms), T(begin_ms - scene.set_ms) - T(-1000000),
		   T(begin_ms - scene.set_ms) - T(-1000000));
}

void scene_set_clock(int64_t ms)
{
	scene.set_ms += ms;
}

void scene_say(const char *format, ...)
{
	va_list arguments;

	assert_true(scene.in_frame);
	va_start(arguments, format);
	put_line(format, arguments);
	va_end(arguments);
	scene.records++;
}

void scene_socket_in(char op, uint64_t netns, const char *where, uint32_t inode)
{
	scene_say("socket %c %" PRIu64 " %s 1000 %u 0 0", op, netns, where, inode);
}

void scene_socket(char op, const char *where, uint32_t inode)
{
	scene_socket_in(op, 1, where, inode);
}

void scene_process(char op, uint32_t pid, uint64_t start_ticks, const char *name)
{
	scene_say("process %c %u %" PRIu64 " 1 1000 %s /bin/%s %s / 1 \\N \\N", op, pid,
		  start_ticks, name, name, name);
}

void scene_holder(char op, uint32_t inode, uint32_t pid, uint64_t start_ticks, uint32_t fd)
{
	scene_say("holder %c %u %u %" PRIu64 " %u %u", op, inode, pid, start_ticks, pid, fd);
}

static int64_t time_of(int64_t ms)
{
	return ms == SCENE_NEVER ? 0 : T(ms);
}

void scene_use(const char *where, int64_t opened_ms, const char *act, int64_t at_ms,
	       int64_t previous_ms, uint32_t pid, uint64_t start_ticks)
{
	scene_say("use ! 1 %s 0 %" PRId64 " %s %" PRId64 " %" PRId64 " \\N \\N %u %" PRIu64 " %u",
		  where, time_of(opened_ms), act, time_of(at_ms), time_of(previous_ms), pid,
		  start_ticks, pid);
}

void scene_born(uint32_t pid, uint64_t start_ticks, uint32_t ppid, int64_t born_ms)
{
	scene_say("born ! %u %" PRIu64 " %u %" PRId64, pid, start_ticks, ppid, T(born_ms));
}

void scene_exec(uint32_t pid, uint64_t start_ticks, int64_t exec_ms)
{
	scene_say("exec ! %u %" PRIu64 " %" PRId64, pid, start_ticks, T(exec_ms));
}

void scene_untold(void)
{
	scene_say("absent ! event 1 0 uses\\x20of\\x20streams ENOBUFS");
	scene_say("absent ! event 1 0 uses\\x20of\\x20datagrams ENOBUFS");
}

void scene_address(char op, uint64_t netns, const char *address, unsigned prefix_length)
{
	scene_say("address %c %" PRIu64 " 2 %s %u", op, netns, address, prefix_length);
}

const char *scene_text(size_t *length)
{
	close_frame();
	*length = scene.length;
	return scene.text;
}

int scene_read(struct timeline *out)
{
	struct snapfile_reader *reader;
	struct error error = ERROR_NONE;
	size_t length;
	const char *text = scene_text(&length);
	int status = snapfile_open_memory(text, length, "scene", &reader, &error);

	if (status != 0)
		fail_msg("%s", error.message);
	status = timeline_read(reader, NULL, out, &error);
	snapfile_close(reader);
	return status;
}

void scene_read_whole(struct timeline *out)
{
	assert_int_equal(scene_read(out), 0);
}

void scene_join(const struct timeline *tl, struct serving *serving, struct bridge *bridge)
{
	assert_int_equal(serving_note(serving, tl, NULL, SERVING_NONE, 0), 0);
	assert_int_equal(bridge_init(bridge, tl, serving), 0);
}

void scene_write_snap(const char *path)
{
	size_t length;
	const char *text = scene_text(&length);
	gzFile file = gzopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(gzwrite(file, text, (unsigned)length), (int)length);
	assert_int_equal(gzclose(file), Z_OK);
}

void scene_free(void)
{
	free(scene.text);
	memset(&scene, 0, sizeof(scene));
}

/* ------------------------------------------------------------- packets -- */

struct scene_packet scene_out(int64_t ms, uint16_t port, uint16_t peer_port, uint8_t flags,
			      uint32_t seq, uint32_t ack, uint32_t payload_bytes)
{
	return (struct scene_packet){T(ms), HOST,  port, PEER, peer_port,
				     6,	    flags, seq,	 ack,  payload_bytes};
}

struct scene_packet scene_in(int64_t ms, uint16_t port, uint16_t peer_port, uint8_t flags,
			     uint32_t seq, uint32_t ack, uint32_t payload_bytes)
{
	return (struct scene_packet){T(ms), PEER,  peer_port, HOST, port,
				     6,	    flags, seq,	      ack,  payload_bytes};
}

static size_t put_le(uint8_t *at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
	return bytes;
}

static size_t put_be(uint8_t *at, uint64_t value, size_t bytes)
{
	for (size_t i = bytes; i > 0; i--, value >>= 8)
		at[i - 1] = (uint8_t)value;
	return bytes;
}

static size_t put_ipv4(uint8_t *at, const struct scene_packet *p, size_t transport_bytes)
{
	struct endpoint_address from, to;
	size_t n = 0;

	assert_int_equal(endpoint_parse(p->from, &from), 0);
	assert_int_equal(endpoint_parse(p->to, &to), 0);
	n += put_be(at + n, 0x4500, 2);
	n += put_be(at + n, 20 + transport_bytes + p->payload_bytes, 2);
	n += put_be(at + n, 0, 4);
	n += put_be(at + n, 64, 1);
	n += put_be(at + n, p->protocol, 1);
	n += put_be(at + n, 0, 2);
	memcpy(at + n, from.bytes + 12, 4);
	memcpy(at + n + 4, to.bytes + 12, 4);
	return n + 8;
}

static size_t put_transport(uint8_t *at, const struct scene_packet *p)
{
	size_t n = 0;

	if (p->protocol == 1) { /* flags is the type, from_port the ident */
		n += put_be(at + n, (uint64_t)p->flags << 8, 2);
		n += put_be(at + n, 0, 2);
		n += put_be(at + n, p->from_port, 2);
		return n + put_be(at + n, 1, 2);
	}
	n += put_be(at + n, p->from_port, 2);
	n += put_be(at + n, p->to_port, 2);
	if (p->protocol == 17) {
		n += put_be(at + n, 8 + p->payload_bytes, 2);
		return n + put_be(at + n, 0, 2);
	}
	n += put_be(at + n, p->seq, 4);
	n += put_be(at + n, p->ack, 4);
	n += put_be(at + n, 0x5000u | p->flags, 2);
	return n + put_be(at + n, 65535, 6);
}

static size_t put_frame(uint8_t *at, const struct scene_packet *p, uint32_t ifindex)
{
	bool outgoing = p->from != NULL && strcmp(p->from, HOST) == 0;
	size_t n = 0, transport_bytes = p->protocol == 6 ? 20 : 8;

	n += put_be(at + n, p->protocol == 0 ? 0x0806 : 0x0800, 2);
	n += put_be(at + n, 0, 2);
	n += put_be(at + n, ifindex, 4);
	n += put_be(at + n, 1, 2);
	n += put_be(at + n, outgoing ? 4 : 0, 1);
	n += put_be(at + n, 6, 1);
	n += put_be(at + n, 0, 8);
	if (p->protocol == 0)
		return n + put_be(at + n, 0, 28);
	n += put_ipv4(at + n, p, transport_bytes);
	n += put_transport(at + n, p);
	memset(at + n, 0xda, p->payload_bytes);
	return n + p->payload_bytes;
}

void scene_write_pcap(const char *path, const struct scene_packet *packets, size_t count)
{
	scene_write_pcap_of(path, packets, NULL, count);
}

void scene_write_pcap_of(const char *path, const struct scene_packet *packets,
			 const uint32_t *ifindex, size_t count)
{
	FILE *file = fopen(path, "wb");
	uint8_t bytes[4096], head[24];
	size_t n = 0;

	assert_non_null(file);
	n += put_le(head + n, 0xa1b23c4d, 4);
	n += put_le(head + n, 2 | 4 << 16, 4);
	n += put_le(head + n, 0, 8);
	n += put_le(head + n, 262144, 4);
	n += put_le(head + n, 276, 4);
	assert_int_equal(fwrite(head, 1, n, file), n);
	for (size_t i = 0; i < count; i++) {
		size_t length;

		assert_in_range(packets[i].payload_bytes, 0, 2000);
		length = put_frame(bytes, &packets[i], ifindex != NULL ? ifindex[i] : 2);
		n = put_le(head, (uint64_t)packets[i].time_ns / 1000000000, 4);
		n += put_le(head + n, (uint64_t)packets[i].time_ns % 1000000000, 4);
		n += put_le(head + n, length, 4);
		n += put_le(head + n, length, 4);
		assert_int_equal(fwrite(head, 1, n, file), n);
		assert_int_equal(fwrite(bytes, 1, length, file), length);
	}
	assert_int_equal(fclose(file), 0);
}

uint32_t scene_random(uint64_t *seed, uint32_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*seed >> 33) % below);
}
