/*
 * fuzz_decode.c - any bytes as a frame of any link type, cut anywhere, and what it
 * carries for others.
 *
 * byte 0: link type, as an index into the table below
 * bytes 1-2: big endian, how many bytes the snaplen cut off
 * the rest: what was captured
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/decode.h"
#include "analyze/decode_tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int link_types[] = {1, 276, 113, 0, 108, 12, 14, 101, 228, 229, 9, 50, 147};

static void require(int holds)
{
	if (!holds)
		abort();
}

/* Each header that is read takes bytes, so the packets in each other end. */
static void look_inside(struct packet packet)
{
	while (packet.outcome == DECODE_FLOW && decode_may_carry(&packet)) {
		struct decode_carried carried, again;

		memset(&carried, 0, sizeof(carried));
		memset(&again, 0xff, sizeof(again));
		decode_carried(&packet, &carried);
		decode_carried(&packet, &again);
		require(carried.inside == again.inside && carried.key == again.key);
		require(decode_tunnel_name(carried.tunnel) != NULL);
		require(carried.key >= -1 && carried.key <= UINT32_MAX);
		if (carried.inside != DECODE_INSIDE_READ)
			return;
		require(carried.proven && carried.packet.outcome == DECODE_FLOW);
		require(memcmp(&carried.packet, &again.packet, sizeof(packet)) == 0);
		require(carried.packet.ip >= packet.ip);
		require(carried.packet.ip + carried.packet.ip_captured <=
			packet.ip + packet.ip_captured);
		require(carried.packet.ip_captured < packet.ip_captured);
		require(packet.fragment_first || carried.packet.ip_bytes < packet.ip_bytes);
		packet = carried.packet;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decode_fragments *table;
	struct packet packet, again;
	uint32_t captured, original;
	int link_type;

	if (!table)
		table = decode_fragments_new();
	if (size < 3 || size - 3 > UINT32_MAX / 2 || !table)
		return 0;
	link_type = link_types[data[0] % (sizeof(link_types) / sizeof(link_types[0]))];
	captured = (uint32_t)size - 3;
	original = captured + ((uint32_t)data[1] << 8 | data[2]);
	memset(&packet, 0, sizeof(packet));
	memset(&again, 0xff, sizeof(again));
	again.time_ns = again.number = again.offset_bytes = 0;
	decode_packet(link_type, data + 3, captured, original, &packet);
	decode_packet(link_type, data + 3, captured, original, &again);
	require(memcmp(&packet, &again, sizeof(packet)) == 0);
	require(packet.outcome < DECODE_OUTCOME_END && packet.outcome != DECODE_FRAGMENT);
	require(packet.ip_bytes <= original && packet.payload_bytes <= packet.ip_bytes);
	require(packet.outcome != DECODE_TRUNCATED || captured < original);
	require(packet.outcome != DECODE_FLOW || packet.ip_version == 4 || packet.ip_version == 6);
	require(!packet.fragment_first || !packet.fragment_later);
	require(packet.vlan < 4095 && packet.inner_vlan < 4095);
	decode_fragments_apply(table, &packet);
	require(packet.outcome < DECODE_OUTCOME_END);
	look_inside(packet);
	return 0;
}
