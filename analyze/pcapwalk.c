#include "analyze/pcapwalk.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"

/* A read, of which most stays in the processor's cache until it is walked over. The largest
 * record of a network (PCAPHEAD_MAX_SNAPLEN) fits; who reads takes larger ones. */
#define BUFFER_BYTES (512u << 10)

/* What every kind of record header begins with: seconds, fraction, captured, original. */
struct record {
	uint32_t seconds, fraction, captured_bytes, original_bytes;
};

/* Where the walk is in the bytes that were read. */
struct window {
	const struct pcapin_layout *layout;
	uint8_t *buffer;
	size_t at, have;
};

int pcapwalk_init(struct pcapwalk *walk)
{
	*walk = (struct pcapwalk){
		.fragments = decode_fragments_new(),
		.buffer = malloc(BUFFER_BYTES),
	};
	return walk->fragments == NULL || walk->buffer == NULL ? -1 : 0;
}

void pcapwalk_release(struct pcapwalk *walk)
{
	decode_fragments_free(walk->fragments);
	free(walk->buffer);
	*walk = (struct pcapwalk){0};
}

int pcapwalk_begin(struct pcapwalk *walk, const struct pcapin_place *place,
		   const struct decode_fragments *fragments)
{
	walk->place = *place;
	walk->mark_count = 0;
	walk->last_ns = INT64_MIN;
	return decode_fragments_copy(&walk->fragments, fragments);
}

static void keep_mark(struct pcapwalk *walk, int64_t time_ns)
{
	walk->marks[walk->mark_count++ % PCAPWALK_MARKS] =
		(struct pcapwalk_mark){.place = walk->place, .time_ns = time_ns};
}

struct pcapin_place pcapwalk_before(const struct pcapwalk *walk, int64_t back_ns)
{
	uint64_t oldest = walk->mark_count > PCAPWALK_MARKS ? walk->mark_count - PCAPWALK_MARKS : 0;

	for (uint64_t i = walk->mark_count; i > oldest; i--) {
		const struct pcapwalk_mark *mark = &walk->marks[(i - 1) % PCAPWALK_MARKS];

		if (i - 1 == oldest || mark->time_ns <= walk->last_ns - back_ns)
			return mark->place;
	}
	return walk->place;
}

static uint32_t field(const struct window *window, size_t offset)
{
	uint32_t value;

	memcpy(&value, window->buffer + window->at + offset, sizeof(value));
	return window->layout->big_endian ? be32toh(value) : le32toh(value);
}

/* Reads on until there are so many bytes from the place on; fewer: the file ends. */
static int have_bytes(const struct pcapwalk *walk, struct window *window, size_t bytes)
{
	size_t have = window->have - window->at;

	if (have >= bytes)
		return 0;
	memmove(window->buffer, window->buffer + window->at, have);
	window->at = 0;
	window->have = have;
	while (window->have < bytes) {
		ssize_t got = pread(window->layout->fd, window->buffer + window->have,
				    BUFFER_BYTES - window->have,
				    (off_t)(walk->place.file_offset_bytes + window->have));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			return 0;
		window->have += (size_t)got;
	}
	return 0;
}

/* The record at the place, whole: 1; 0 at the end of the file, -1 if it is unusual. */
static int next_record(const struct pcapwalk *walk, struct window *window, struct record *record)
{
	const size_t header = window->layout->record_header_bytes;

	if (have_bytes(walk, window, header) != 0)
		return -1;
	if (window->have == window->at)
		return 0;
	if (window->have - window->at < header)
		return -1;
	*record = (struct record){field(window, 0), field(window, 4), field(window, 8),
				  field(window, 12)};
	if (record->captured_bytes > window->layout->snaplen ||
	    record->captured_bytes > BUFFER_BYTES - header ||
	    have_bytes(walk, window, header + record->captured_bytes) != 0 ||
	    window->have - window->at < header + record->captured_bytes)
		return -1;
	return 1;
}

static void take_fragment(struct pcapwalk *walk, const struct window *window,
			  const struct record *record, int64_t time_ns)
{
	const uint8_t *data = window->buffer + window->at + window->layout->record_header_bytes;
	struct packet packet;

	if (!decode_may_be_fragment(window->layout->link_type, data, record->captured_bytes))
		return;
	decode_packet(window->layout->link_type, data, record->captured_bytes,
		      record->original_bytes, &packet);
	packet.time_ns = time_ns;
	if (packet.fragment_first || packet.fragment_later)
		decode_fragments_apply(walk->fragments, &packet);
}

enum pcapwalk_status pcapwalk_go(struct pcapwalk *walk, const struct pcapin_layout *layout,
				 uint64_t packets, const volatile sig_atomic_t *stop)
{
	struct window window = {.layout = layout, .buffer = walk->buffer};

	if (walk->fragments == NULL && (walk->fragments = decode_fragments_new()) == NULL)
		return PCAPWALK_STOPPED;
	for (; packets > 0; packets--) {
		struct record record;
		int status = next_record(walk, &window, &record);
		uint64_t bytes;
		int64_t time_ns;

		if (status <= 0)
			return status == 0 ? PCAPWALK_END : PCAPWALK_STOPPED;
		if (stop != NULL && *stop != 0)
			return PCAPWALK_STOPPED;
		time_ns = record.seconds * NS_PER_SECOND + record.fraction * layout->unit_ns;
		if (walk->mark_count == 0 || walk->place.number % PCAPWALK_STRIDE == 0)
			keep_mark(walk, time_ns);
		take_fragment(walk, &window, &record, time_ns);
		bytes = layout->record_header_bytes + (uint64_t)record.captured_bytes;
		walk->place.file_offset_bytes += bytes;
		walk->place.offset_bytes += bytes;
		walk->place.number++;
		walk->last_ns = time_ns;
		window.at += bytes;
	}
	return PCAPWALK_THERE;
}
