/* test_places.c - facts about places in a capture, from which reading goes on. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/pcapin.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading_goes_on_from_any_place),
		cmocka_unit_test(damage_is_told_alike_from_any_place),
		cmocka_unit_test(a_pipe_has_no_places),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
