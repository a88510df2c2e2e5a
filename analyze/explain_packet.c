/* One packet of a capture, as its file has it, and which one it is another sighting of. */
#include "analyze/explain_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/decode.h"
#include "analyze/grow.h"
#include "analyze/pcapin.h"
#include "analyze/repeats.h"

/* --------------------------------------------------------------- reading -- */

/* A capture from its beginning, decoded as replay.c does. */
struct reading {
	struct decode_fragments *fragments;
	struct pcapin *in;
	struct pcapin_packet raw;
	struct packet packet;
};

static int begin_reading(const struct explain_report *report, const char *pcap,
			 struct reading *reading, struct error *error)
{
	*reading = (struct reading){.fragments = decode_fragments_new()};
	return reading->fragments == NULL
		       ? explain_no_memory(error)
		       : pcapin_open(report->directory, pcap, &reading->in, error);
}

/* 1: there is a packet; 0: the end; negative: as pcapin_next. */
static int next_packet(struct reading *reading, struct error *error)
{
	const struct pcapin_packet *raw = &reading->raw;
	struct packet *packet = &reading->packet;
	int status = pcapin_next(reading->in, &reading->raw, error);

	if (status != 1)
		return status;
	decode_packet(raw->link_type, raw->data, raw->captured_bytes, raw->original_bytes, packet);
	packet->time_ns = raw->time_ns;
	packet->number = raw->number;
	packet->offset_bytes = raw->offset_bytes;
	if (packet->fragment_first || packet->fragment_later)
		decode_fragments_apply(reading->fragments, packet);
	return 1;
}

static void end_reading(struct reading *reading)
{
	pcapin_close(reading->in);
	decode_fragments_free(reading->fragments);
}

/* ------------------------------------------------------------ one packet -- */

static int keep_packet(const struct pcapin_packet *raw, const struct packet *packet,
		       struct explain_packet *out, struct error *error)
{
	struct flow_table table;
	uint32_t ended, place = FLOW_NONE;

	out->number = out->counted = raw->number;
	out->offset_bytes = raw->offset_bytes;
	out->time_ns = out->counted_ns = raw->time_ns;
	out->captured_bytes = raw->captured_bytes;
	out->original_bytes = raw->original_bytes;
	out->link_type = raw->link_type;
	out->data = malloc(raw->captured_bytes + 1);
	if (out->data == NULL)
		return explain_no_memory(error);
	memcpy(out->data, raw->data, raw->captured_bytes);
	if (packet->outcome != DECODE_FLOW) {
		out->outcome = decode_outcome_name(packet->outcome);
		return 0;
	}
	flow_table_init(&table, &flow_default_limits);
	place = flow_table_add(&table, packet, &out->sender, &ended);
	if (place != FLOW_NONE)
		out->key = table.flows[place].key;
	flow_table_release(&table);
	return place == FLOW_NONE ? explain_no_memory(error) : 0;
}

int explain_read_packet(struct explain_report *report, const char *pcap, uint64_t number,
			struct explain_packet *out, struct error *error)
{
	struct reading reading;
	uint64_t last = 0;
	int status = begin_reading(report, pcap, &reading, error);

	while (status == 0 && last < number && (status = next_packet(&reading, error)) == 1) {
		last = reading.raw.number;
		status =
			last == number ? keep_packet(&reading.raw, &reading.packet, out, error) : 0;
	}
	if (status == 0 && last < number)
		status = error_set(error, ERROR_NO_INPUT, pcap, -1,
				   "wanted packet %" PRIu64
				   ", found that it ends after packet %" PRIu64,
				   number, last);
	end_reading(&reading);
	return status;
}

/* ------------------------------------------------------- second sightings -- */

struct sighting {
	uint64_t number; /* 0: not known */
	int64_t time_ns;
};

/* The packets equal to one, up to it. */
struct sightings {
	struct repeats *repeats;
	struct packet wanted;
	struct sighting *firsts; /* by ordinal - 1 */
	size_t count, capacity;
};

/* The nth that was counted; where it was forgotten among too many, the one before. */
static struct sighting nth_of(const struct sightings *all, size_t ordinal)
{
	for (size_t i = ordinal < all->count ? ordinal : all->count; i > 0; i--) {
		if (all->firsts[i - 1].number != 0)
			return all->firsts[i - 1];
	}
	return (struct sighting){0};
}

static int note_first(struct sightings *all, size_t ordinal, const struct packet *packet)
{
	while (all->count < ordinal) {
		if (grow_one(&all->firsts, all->count, &all->capacity, sizeof(*all->firsts)) != 0)
			return -1;
		all->firsts[all->count++] = (struct sighting){0};
	}
	all->firsts[ordinal - 1] = (struct sighting){packet->number, packet->time_ns};
	return 0;
}

static int note_sighting(struct sightings *all, const struct packet *packet,
			 struct explain_packet *out)
{
	bool repeat = packet->outcome == DECODE_FLOW && repeats_seen(all->repeats, packet);
	struct repeats_sighting last = repeats_last(all->repeats);
	struct sighting first;

	if (packet->outcome != DECODE_FLOW || packet->ifindex == 0 ||
	    !repeats_equal(packet, &all->wanted))
		return 0;
	if (packet->number < out->number)
		return last.first ? note_first(all, last.ordinal, packet) : 0;
	first = nth_of(all, last.ordinal);
	if (repeat && first.number != 0) {
		out->counted = first.number;
		out->counted_ns = first.time_ns;
	}
	return 0;
}

int explain_find_first_sighting(struct explain_report *report, const char *pcap,
				struct explain_packet *out, struct error *error)
{
	struct sightings all = {.repeats = repeats_new()};
	struct reading reading = {0};
	int status = all.repeats == NULL ? explain_no_memory(error)
					 : begin_reading(report, pcap, &reading, error);

	decode_packet(out->link_type, out->data, out->captured_bytes, out->original_bytes,
		      &all.wanted);
	while (status == 0 && reading.raw.number < out->number &&
	       (status = next_packet(&reading, error)) == 1) {
		status = note_sighting(&all, &reading.packet, out);
		if (status != 0)
			status = explain_no_memory(error);
	}
	end_reading(&reading);
	repeats_free(all.repeats);
	free(all.firsts);
	return status;
}
