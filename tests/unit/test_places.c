/* test_places.c - facts about places in a capture, from which reading goes on. */
#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/load_internal.h"
#include "analyze/pcapin.h"
#include "analyze/pcapwalk.h"
#include "tests/unit/frames.h"
#include "tests/unit/scene.h"

#define PACKETS 40

static char directory[] = "/tmp/test_places.XXXXXX", path[64];
static struct pcapin_place places[PACKETS + 1];
static int64_t times_ns[PACKETS];

static struct pcapin *open_capture(void)
{
	struct error error = ERROR_NONE;
	struct pcapin *in = NULL;

	assert_int_equal(pcapin_open(AT_FDCWD, path, &in, &error), 0);
	return in;
}

/* Of different lengths, and what stands where. */
static void write_capture(void)
{
	struct scene_packet packets[PACKETS];
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;
	struct pcapin *in;

	for (int i = 0; i < PACKETS; i++)
		packets[i] = scene_out(i, 40000, 80, ACK, (uint32_t)i, 0, (uint32_t)i * 7 % 50);
	scene_write_pcap(path, packets, PACKETS);
	in = open_capture();
	for (int i = 0; i < PACKETS; i++) {
		places[i] = pcapin_where(in);
		assert_int_equal(pcapin_next(in, &packet, &error), 1);
		assert_int_equal(places[i].offset_bytes, packet.offset_bytes);
		assert_int_equal(places[i].file_offset_bytes, packet.offset_bytes);
		assert_int_equal(places[i].number, i + 1);
		times_ns[i] = packet.time_ns;
	}
	places[PACKETS] = pcapin_where(in);
	assert_int_equal(pcapin_next(in, &packet, &error), 0);
	pcapin_close(in);
}

static void go_to(struct pcapin *in, int i)
{
	struct error error = ERROR_NONE;

	assert_int_equal(pcapin_seek(in, &places[i], &error), 0);
}

static void assert_packet(struct pcapin *in, int i)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;

	assert_int_equal(pcapin_next(in, &packet, &error), 1);
	assert_int_equal(packet.number, i + 1);
	assert_int_equal(packet.offset_bytes, places[i].offset_bytes);
	assert_int_equal(packet.time_ns, times_ns[i]);
	assert_int_equal(pcapin_where(in).offset_bytes, places[i + 1].offset_bytes);
}

static void reading_goes_on_from_any_place(void **state)
{
	struct pcapin_packet packet;
	struct error error = ERROR_NONE;
	struct pcapin *in;

	(void)state;
	write_capture();
	in = open_capture();
	for (int i = PACKETS - 1; i >= 0; i--) {
		go_to(in, i);
		assert_packet(in, i);
		if (i + 1 < PACKETS)
			assert_packet(in, i + 1);
	}
	go_to(in, PACKETS);
	assert_int_equal(pcapin_next(in, &packet, &error), 0);
	go_to(in, 3); /* the end is forgotten */
	assert_packet(in, 3);
	pcapin_close(in);
}

static void damage_is_told_alike_from_any_place(void **state)
{
	struct error wanted = ERROR_NONE;
	struct pcapin *in;

	(void)state;
	write_capture();
	assert_int_equal(truncate(path, (off_t)places[PACKETS].offset_bytes - 1), 0);
	in = open_capture();
	for (int from = 0; from < PACKETS; from++) {
		struct error error = ERROR_NONE;
		struct pcapin_packet packet;
		int i = from, status;

		go_to(in, from);
		while ((status = pcapin_next(in, &packet, &error)) == 1)
			i++;
		assert_int_equal(status, ERROR_DAMAGED);
		assert_int_equal(i, PACKETS - 1);
		assert_int_equal(error.offset_bytes, places[PACKETS - 1].offset_bytes);
		if (from == 0)
			wanted = error;
		assert_string_equal(error.message, wanted.message);
	}
	pcapin_close(in);
}

static void a_pipe_has_no_places(void **state)
{
	const struct pcapin_place place = {24, 24, 1};
	struct error error = ERROR_NONE;
	struct pcapin_packet packet;
	struct pcapin *in = NULL;
	int ends[2], fd, got;
	char content[4096], name[32];

	(void)state;
	write_capture();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = (int)read(fd, content, sizeof(content));
	close(fd);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], content, (size_t)got), got);
	close(ends[1]);
	snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
	assert_int_equal(pcapin_open(AT_FDCWD, name, &in, &error), 0);
	assert_int_equal(pcapin_seek(in, &place, &error), ERROR_SYSTEM);
	assert_int_equal(pcapin_where(in).file_offset_bytes, 0);
	assert_int_equal(pcapin_next(in, &packet, &error), 1);
	assert_int_equal(packet.number, 1);
	pcapin_close(in);
	close(ends[0]);
}

/* ------------------------------------------------------------------- walks -- */

static void start_walk(struct pcapwalk *walk, const struct pcapin *in, struct pcapin_layout *layout)
{
	const struct pcapin_place first = pcapin_where(in);

	assert_true(pcapin_layout(in, layout));
	assert_int_equal(pcapwalk_init(walk), 0);
	assert_int_equal(pcapwalk_begin(walk, &first, NULL), 0);
}

static void a_walk_finds_the_places_that_reading_finds(void **state)
{
	(void)state;
	write_capture();
	for (uint64_t step = 1; step <= PACKETS; step++) {
		struct pcapin *in = open_capture();
		struct pcapin_layout layout;
		struct pcapwalk walk;
		uint64_t at = 0;

		start_walk(&walk, in, &layout);
		for (; at + step <= PACKETS; at += step) {
			assert_int_equal(walk.place.file_offset_bytes,
					 places[at].file_offset_bytes);
			assert_int_equal(walk.place.offset_bytes, places[at].offset_bytes);
			assert_int_equal(walk.place.number, places[at].number);
			assert_int_equal(pcapwalk_go(&walk, &layout, step, NULL), PCAPWALK_THERE);
		}
		assert_int_equal(walk.place.number, places[at].number);
		assert_int_equal(pcapwalk_go(&walk, &layout, step, NULL), PCAPWALK_END);
		pcapwalk_release(&walk);
		pcapin_close(in);
	}
}

static void patch(uint64_t offset_bytes, uint32_t value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	value = htole32(value);
	assert_int_equal(pwrite(fd, &value, 4, (off_t)offset_bytes), 4);
	close(fd);
}

/* A record that libpcap would cut, or not read. */
static void a_walk_stops_where_a_record_is_unusual(void **state)
{
	const uint32_t lengths[] = {262145, 0x7fffffff, UINT32_MAX, 1000000};
	struct pcapin_layout layout;
	struct pcapwalk walk;
	struct pcapin *in;

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		write_capture();
		patch(places[7].offset_bytes + 8, lengths[i]);
		in = open_capture();
		start_walk(&walk, in, &layout);
		assert_int_equal(pcapwalk_go(&walk, &layout, 7, NULL), PCAPWALK_THERE);
		assert_int_equal(walk.place.offset_bytes, places[7].offset_bytes);
		assert_int_equal(pcapwalk_go(&walk, &layout, 1, NULL), PCAPWALK_STOPPED);
		pcapwalk_release(&walk);
		pcapin_close(in);
	}
	write_capture();
	patch(16, 40); /* the snaplen */
	in = open_capture();
	start_walk(&walk, in, &layout);
	assert_int_equal(pcapwalk_go(&walk, &layout, 1, NULL), PCAPWALK_STOPPED);
	pcapwalk_release(&walk);
	pcapin_close(in);
	write_capture();
	assert_int_equal(truncate(path, (off_t)places[PACKETS].offset_bytes - 1), 0);
	in = open_capture();
	start_walk(&walk, in, &layout);
	assert_int_equal(pcapwalk_go(&walk, &layout, PACKETS, NULL), PCAPWALK_STOPPED);
	pcapwalk_release(&walk);
	pcapin_close(in);
}

static void a_walk_is_stopped_from_outside(void **state)
{
	volatile sig_atomic_t stop = 1;
	struct pcapin_layout layout;
	struct pcapwalk walk;
	struct pcapin *in;

	(void)state;
	write_capture();
	in = open_capture();
	start_walk(&walk, in, &layout);
	assert_int_equal(pcapwalk_go(&walk, &layout, 1, &stop), PCAPWALK_STOPPED);
	pcapwalk_release(&walk);
	pcapin_close(in);
}

/* More packets than places are kept of, 1 ms between them. */
static void a_walk_keeps_places_behind_it(void **state)
{
	enum { MANY = PCAPWALK_STRIDE * (PCAPWALK_MARKS + 10) };
	struct scene_packet *packets = calloc(MANY, sizeof(*packets));
	struct pcapin_layout layout;
	struct pcapin_place back;
	struct pcapwalk walk;
	struct pcapin *in;

	(void)state;
	assert_non_null(packets);
	for (int i = 0; i < MANY; i++)
		packets[i] = scene_out(i, 40000, 80, ACK, 0, 0, 1);
	scene_write_pcap(path, packets, MANY);
	free(packets);
	in = open_capture();
	start_walk(&walk, in, &layout);
	back = pcapwalk_before(&walk, 0);
	assert_int_equal(back.number, 1);
	assert_int_equal(pcapwalk_go(&walk, &layout, 3 * PCAPWALK_STRIDE + 5, NULL),
			 PCAPWALK_THERE);
	back = pcapwalk_before(&walk, INT64_C(100) * 1000000);
	assert_int_equal(back.number, 2 * PCAPWALK_STRIDE);
	back = pcapwalk_before(&walk, INT64_C(1100) * 1000000);
	assert_int_equal(back.number, PCAPWALK_STRIDE);
	back = pcapwalk_before(&walk, INT64_MAX / 2);
	assert_int_equal(back.number, 1);
	assert_int_equal(back.offset_bytes, layout.record_header_bytes + 8);
	assert_int_equal(pcapwalk_go(&walk, &layout, MANY - 3 * PCAPWALK_STRIDE - 5, NULL),
			 PCAPWALK_THERE);
	back = pcapwalk_before(&walk, INT64_MAX / 2);
	assert_int_equal(back.number, 11 * PCAPWALK_STRIDE);
	pcapwalk_release(&walk);
	pcapin_close(in);
}

/* Nothing that decode_packet finds a fragment in is passed over, however it is cut; and what
 * every capture is full of is passed over. */
static void what_may_be_a_fragment_is_looked_at(void **state)
{
	unsigned fragments = 0;

	(void)state;
	for (size_t i = 0; i < frame_sample_count; i++) {
		frame_samples[i].make();
		for (uint32_t captured = 0; captured <= frame.length; captured++) {
			struct packet packet = frame_decode_cut(captured, frame.length);

			if (!packet.fragment_first && !packet.fragment_later)
				continue;
			fragments++;
			assert_true(decode_may_be_fragment(frame.link_type, frame.bytes, captured));
		}
	}
	assert_true(fragments > 0);
	frame_make_ethernet_tcp();
	assert_false(decode_may_be_fragment(frame.link_type, frame.bytes, frame.length));
	frame_make_sll2_udp6();
	assert_false(decode_may_be_fragment(frame.link_type, frame.bytes, frame.length));
	frame_make_sll_udp();
	assert_false(decode_may_be_fragment(frame.link_type, frame.bytes, frame.length));
}

static int begin(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/file", directory);
	return 0;
}

static int end(void **state)
{
	(void)state;
	scene_free();
	unlink(path);
	return rmdir(directory);
}

static ino_t inode_of(const struct pcapin *in)
{
	struct stat status;

	assert_int_equal(fstat(pcapin_descriptor(in), &status), 0);
	return status.st_ino;
}

/* Several workers open one capture, each when it comes to it: the one that was there at first,
 * also if a recorder has removed it since, or another one has its name. */
static void who_opens_a_capture_again_has_the_same_file(void **state)
{
	struct input input = {.dirfd = AT_FDCWD, .pcap = path};
	struct error error = ERROR_NONE;
	struct pcapin_packet packet;
	struct pcapin *first, *again = NULL;
	struct job job = {.input = &input};

	(void)state;
	write_capture();
	first = open_capture();
	job.capture_fd = pcapin_descriptor(first);
	assert_int_equal(pcapin_next(first, &packet, &error), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(unlink(path), 0);
		if (i == 1)
			write_capture();
		assert_int_equal(load_open_again(&job, &again, &error), 0);
		assert_int_equal(inode_of(again), inode_of(first));
		assert_int_equal(pcapin_next(again, &packet, &error), 1);
		assert_int_equal(packet.number, 1);
		pcapin_close(again);
		if (i == 0)
			write_capture();
	}
	pcapin_close(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading_goes_on_from_any_place),
		cmocka_unit_test(damage_is_told_alike_from_any_place),
		cmocka_unit_test(a_pipe_has_no_places),
		cmocka_unit_test(a_walk_finds_the_places_that_reading_finds),
		cmocka_unit_test(a_walk_stops_where_a_record_is_unusual),
		cmocka_unit_test(a_walk_is_stopped_from_outside),
		cmocka_unit_test(a_walk_keeps_places_behind_it),
		cmocka_unit_test(what_may_be_a_fragment_is_looked_at),
		cmocka_unit_test(who_opens_a_capture_again_has_the_same_file),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
