#include "analyze/pcapng.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "snapshot/format/pcaphead.h"
#include "snapshot/format/quantity.h"

enum block_type {
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 2,
	BLOCK_SIMPLE = 3,
	BLOCK_ENHANCED = 6,
	BLOCK_SECTION = PCAPHEAD_PCAPNG,
};

#define ORDER_MAGIC	     0x1a2b3c4du
#define OPTION_END	     0
#define OPTION_RESOLUTION    9
#define OPTION_OFFSET	     14
#define BLOCK_HEAD_BYTES     8
#define BLOCK_FRAME_BYTES    12 /* head, and the length again */
#define SECTION_BODY_BYTES   16
#define INTERFACE_BODY_BYTES 8
#define SIMPLE_BODY_BYTES    4
#define PACKET_BODY_BYTES    20

/* The largest packet that any reader takes is D-Bus's of 128 MiB (Wireshark's
 * WTAP_MAX_PACKET_SIZE_DBUS); beside it stand options. */
#define BLOCK_MAX_BYTES (UINT32_C(136) << 20)

/* What a file may ask for without having the bytes for it. */
#define READ_STEP_BYTES (UINT32_C(1) << 20)

/* Of one section: as many as an obsolete packet block can name, and many times what a host
 * has. Without it a file of a few megabytes (gzip) could ask for any memory. */
#define MAX_INTERFACES 65536

struct interface {
	int link_type;
	uint32_t snaplen;
	uint64_t units; /* of its clock, in a second */
	int64_t offset_s;
};

struct pcapng {
	FILE *stream; /* borrowed */
	bool swapped; /* the section is of the other byte order */
	bool begun;   /* there was a section header */
	struct interface *interfaces;
	size_t interface_count, interface_capacity;
	struct interface first; /* of the file */
	uint8_t *body;		/* of the block in hand, with the trailing length */
	uint32_t body_bytes, body_capacity;
	uint32_t type;
	uint64_t offset_bytes, next_bytes; /* of the block in hand, and of the next one */
	bool pending;			   /* a block was read and not yet used */
	int status;			   /* 1 while blocks follow */
	char found[PCAPNG_TEXT_SIZE];
};

__attribute__((format(printf, 2, 3))) static int damaged(struct pcapng *ng, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(ng->found, sizeof(ng->found), format, arguments);
	va_end(arguments);
	return ng->status = -1;
}

static uint16_t u16(const struct pcapng *ng, uint32_t at)
{
	uint16_t value;

	memcpy(&value, ng->body + at, sizeof(value));
	return ng->swapped ? __builtin_bswap16(value) : value;
}

static uint32_t swap_u32(const struct pcapng *ng, const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return ng->swapped ? __builtin_bswap32(value) : value;
}

static uint32_t u32(const struct pcapng *ng, uint32_t at)
{
	return swap_u32(ng, ng->body + at);
}

static uint64_t u64(const struct pcapng *ng, uint32_t at)
{
	uint64_t value;

	memcpy(&value, ng->body + at, sizeof(value));
	return ng->swapped ? __builtin_bswap64(value) : value;
}

/* --------------------------------------------------------------- blocks -- */

static bool is_wanted(uint32_t type)
{
	return type == BLOCK_INTERFACE || type == BLOCK_PACKET || type == BLOCK_SIMPLE ||
	       type == BLOCK_ENHANCED || type == BLOCK_SECTION;
}

/* Reads on into the body, or past it if it is not wanted. */
static int read_more(struct pcapng *ng, uint32_t bytes, bool keep)
{
	while (bytes > 0) {
		uint32_t step = bytes < READ_STEP_BYTES ? bytes : READ_STEP_BYTES;
		uint32_t at = keep ? ng->body_bytes : 0;
		size_t got;

		if (at + step > ng->body_capacity) {
			uint32_t capacity = (at + step) * 2;
			uint8_t *body = realloc(ng->body, capacity);

			if (body == NULL)
				return damaged(ng, "a block too large for the memory there is");
			ng->body = body;
			ng->body_capacity = capacity;
		}
		got = fread(ng->body + at, 1, step, ng->stream);
		if (got != step)
			return damaged(ng, "a block of which %u bytes are missing",
				       bytes - (uint32_t)got);
		bytes -= step;
		ng->body_bytes = at + step;
	}
	return 1;
}

/* The length before and after a section header is of the order that it tells itself. */
static int read_order(struct pcapng *ng)
{
	if (read_more(ng, sizeof(uint32_t), true) != 1)
		return -1;
	ng->swapped = false;
	if (u32(ng, 0) == ORDER_MAGIC)
		return 1;
	ng->swapped = true;
	if (u32(ng, 0) == ORDER_MAGIC)
		return 1;
	return damaged(ng, "a section header of byte order %08x", u32(ng, 0));
}

/* The next block. 1, 0 at the end, -1. */
static int read_block(struct pcapng *ng)
{
	uint8_t head[BLOCK_HEAD_BYTES];
	size_t got = fread(head, 1, sizeof(head), ng->stream);
	uint32_t length;

	ng->offset_bytes = ng->next_bytes;
	ng->body_bytes = 0;
	if (got == 0)
		return ng->status = 0;
	if (got != sizeof(head))
		return damaged(ng, "only %zu bytes of a block", got);
	ng->type = swap_u32(ng, head);
	if (ng->type == BLOCK_SECTION && read_order(ng) != 1)
		return -1;
	length = swap_u32(ng, head + 4);
	if (length < BLOCK_FRAME_BYTES + ng->body_bytes || length % 4 != 0 ||
	    (is_wanted(ng->type) && length > BLOCK_MAX_BYTES))
		return damaged(ng, "a block of type %u with a length of %u bytes", ng->type,
			       length);
	if (read_more(ng, length - BLOCK_HEAD_BYTES - ng->body_bytes, is_wanted(ng->type)) != 1)
		return -1;
	if (swap_u32(ng, ng->body + ng->body_bytes - 4) != length)
		return damaged(ng, "a block of %u bytes that ends as one of %u", length,
			       swap_u32(ng, ng->body + ng->body_bytes - 4));
	ng->body_bytes -= 4;
	ng->next_bytes += length;
	return 1;
}

static int take_section(struct pcapng *ng)
{
	if (ng->body_bytes < SECTION_BODY_BYTES)
		return damaged(ng, "a section header of %u bytes", ng->body_bytes);
	/* 1.2 is 1.0 by a writer that was mistaken (draft, section 4.1). */
	if (u16(ng, 4) != 1 || (u16(ng, 6) != 0 && u16(ng, 6) != 2))
		return damaged(ng, "a section of pcapng version %u.%u", u16(ng, 4), u16(ng, 6));
	ng->interface_count = 0;
	ng->begun = true;
	return 1;
}

static int set_resolution(struct pcapng *ng, struct interface *interface, uint8_t code)
{
	uint8_t exponent = code & 0x7f;

	interface->units = 1;
	if (exponent > ((code & 0x80) ? 63 : 19)) /* what 64 bits hold */
		return damaged(ng, "a clock of resolution code %u", code);
	for (uint8_t i = 0; i < exponent; i++)
		interface->units *= (code & 0x80) ? 2 : 10;
	return 1;
}

static int take_interface(struct pcapng *ng)
{
	struct interface interface = {.units = 1000000};
	uint32_t at = INTERFACE_BODY_BYTES;

	if (ng->body_bytes < INTERFACE_BODY_BYTES)
		return damaged(ng, "an interface of %u bytes", ng->body_bytes);
	if (ng->interface_count == MAX_INTERFACES)
		return damaged(ng, "interface %d of one section, which may have %d",
			       MAX_INTERFACES + 1, MAX_INTERFACES);
	interface.link_type = u16(ng, 0);
	interface.snaplen = u32(ng, 4);
	while (ng->body_bytes - at >= 4 && u16(ng, at) != OPTION_END) {
		uint16_t code = u16(ng, at), length = u16(ng, at + 2);
		uint32_t padded = (length + 3u) & ~3u;

		at += 4;
		if (padded > ng->body_bytes - at)
			return damaged(ng, "an interface whose option %u has %u bytes", code,
				       length);
		if (code == OPTION_RESOLUTION && length == 1 &&
		    set_resolution(ng, &interface, ng->body[at]) != 1)
			return -1;
		if (code == OPTION_OFFSET && length == 8)
			interface.offset_s = (int64_t)u64(ng, at);
		at += padded;
	}
	if (grow_one(&ng->interfaces, ng->interface_count, &ng->interface_capacity,
		     sizeof(*ng->interfaces)) != 0)
		return damaged(ng, "more interfaces than there is memory for");
	ng->interfaces[ng->interface_count++] = interface;
	if (ng->first.units == 0)
		ng->first = interface;
	return 1;
}

/* -------------------------------------------------------------- packets -- */

/* Every packet is accounted for, so a time out of range is moved to its nearer end. */
static int64_t time_of(const struct interface *interface, uint64_t units)
{
	__int128 ns = (__int128)interface->offset_s * NS_PER_SECOND +
		      (__int128)units * NS_PER_SECOND / interface->units;

	if (ns < 0)
		return 0;
	return ns < QUANTITY_MAX_TIME_NS ? (int64_t)ns : QUANTITY_MAX_TIME_NS;
}

static const struct interface *interface_of(struct pcapng *ng, uint32_t number)
{
	if (number < ng->interface_count)
		return &ng->interfaces[number];
	damaged(ng, "a packet of interface %u of %zu", number, ng->interface_count);
	return NULL;
}

/* An enhanced packet and an obsolete one differ in the first word alone. */
static int take_packet(struct pcapng *ng, struct pcapng_packet *packet)
{
	const struct interface *interface;

	if (ng->body_bytes < PACKET_BODY_BYTES)
		return damaged(ng, "a packet block of %u bytes", ng->body_bytes);
	interface = interface_of(ng, ng->type == BLOCK_PACKET ? u16(ng, 0) : u32(ng, 0));
	if (interface == NULL)
		return -1;
	packet->captured_bytes = u32(ng, 12);
	packet->original_bytes = u32(ng, 16);
	if (packet->captured_bytes > ng->body_bytes - PACKET_BODY_BYTES)
		return damaged(ng, "a packet of %u bytes in a block of %u", packet->captured_bytes,
			       ng->body_bytes);
	packet->time_ns = time_of(interface, (uint64_t)u32(ng, 4) << 32 | u32(ng, 8));
	packet->link_type = interface->link_type;
	packet->data = ng->body + PACKET_BODY_BYTES;
	return 1;
}

static int take_simple(struct pcapng *ng, struct pcapng_packet *packet)
{
	const struct interface *interface = interface_of(ng, 0);
	uint32_t there;

	if (interface == NULL)
		return -1;
	if (ng->body_bytes < SIMPLE_BODY_BYTES)
		return damaged(ng, "a simple packet block of %u bytes", ng->body_bytes);
	there = ng->body_bytes - SIMPLE_BODY_BYTES;
	packet->original_bytes = u32(ng, 0);
	packet->captured_bytes = packet->original_bytes;
	if (interface->snaplen != 0 && packet->captured_bytes > interface->snaplen)
		packet->captured_bytes = interface->snaplen;
	if (packet->captured_bytes > there)
		return damaged(ng, "a simple packet of %u bytes in a block of %u",
			       packet->captured_bytes, ng->body_bytes);
	packet->time_ns = 0;
	packet->link_type = interface->link_type;
	packet->data = ng->body + SIMPLE_BODY_BYTES;
	return 1;
}

static bool holds_packet(uint32_t type)
{
	return type == BLOCK_PACKET || type == BLOCK_SIMPLE || type == BLOCK_ENHANCED;
}

/* Reads on to a block that holds a packet, or to the first interface. */
static int advance(struct pcapng *ng, bool to_interface)
{
	while (ng->status == 1 && !ng->pending) {
		if (read_block(ng) != 1)
			break;
		if (ng->type == BLOCK_SECTION)
			take_section(ng);
		else if (!ng->begun)
			damaged(ng, "a block of type %u before any section", ng->type);
		else if (ng->type == BLOCK_INTERFACE)
			take_interface(ng);
		else
			ng->pending = holds_packet(ng->type);
		if (to_interface && ng->interface_count > 0)
			break;
	}
	return ng->status;
}

int pcapng_next(struct pcapng *ng, struct pcapng_packet *packet, uint64_t *offset_bytes,
		char found[PCAPNG_TEXT_SIZE])
{
	if (advance(ng, false) == 1) {
		ng->pending = false;
		if (ng->type == BLOCK_SIMPLE)
			take_simple(ng, packet);
		else
			take_packet(ng, packet);
	}
	*offset_bytes = ng->offset_bytes;
	if (ng->status < 0)
		memcpy(found, ng->found, sizeof(ng->found));
	return ng->status;
}

struct pcapng *pcapng_new(FILE *stream)
{
	struct pcapng *ng = calloc(1, sizeof(*ng));

	if (ng == NULL)
		return NULL;
	ng->stream = stream;
	ng->status = 1;
	advance(ng, true);
	return ng;
}

int pcapng_link_type(const struct pcapng *ng)
{
	return ng->first.units == 0 ? -1 : ng->first.link_type;
}

uint32_t pcapng_snaplen(const struct pcapng *ng)
{
	return ng->first.snaplen;
}

void pcapng_free(struct pcapng *ng)
{
	if (ng == NULL)
		return;
	free(ng->interfaces);
	free(ng->body);
	free(ng);
}
