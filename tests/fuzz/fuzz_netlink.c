/* Any bytes as what the kernel says over netlink. The first byte chooses the
 * parser. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/procevent.h"
#include "snapshot/sockdiag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_reply(const uint8_t *bytes, size_t size)
{
	struct snap_socket row, untouched;
	int result;

	memset(&row, 0x5a, sizeof(row));
	memset(&untouched, 0x5a, sizeof(untouched));
	result = sockdiag_parse_reply(bytes, size, &row);
	if (result > 1 || (result < 0 && result != ERROR_DAMAGED))
		abort();
	if (result <= 0 && memcmp(&row, &untouched, sizeof(row)))
		abort();
	if (result == 1 && (row.table < SNAP_TCP || row.table >= SNAP_TABLE_END || row.netns))
		abort();
}

static void parse_close(const uint8_t *bytes, size_t size)
{
	struct snap_closed row, untouched;
	int result;

	memset(&row, 0x5a, sizeof(row));
	memset(&untouched, 0x5a, sizeof(untouched));
	result = sockdiag_parse_close(bytes, size, &row);
	if (result > 1 || (result < 0 && result != ERROR_DAMAGED))
		abort();
	if (result <= 0 && memcmp(&row, &untouched, sizeof(row)))
		abort();
	if (result == 1 && (row.table < SNAP_TCP || row.table > SNAP_UDP6 || row.inode))
		abort();
}

static void count(const struct procevent *event, void *context)
{
	size_t *events = context;

	if (event->kind < PROCEVENT_FORK || event->kind > PROCEVENT_UID ||
	    (event->parent && event->kind != PROCEVENT_FORK && event->kind != PROCEVENT_EXIT))
		abort();
	(*events)++;
}

static void parse_events(const uint8_t *bytes, size_t size)
{
	size_t events = 0;
	int result = procevent_parse(bytes, size, count, &events);

	/* Headers of netlink, connector and event, and two ids: 60 bytes at least. */
	if ((result && result != ERROR_DAMAGED) || events > size / 60)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		parse_reply(data + 1, size - 1);
		break;
	case 1:
		parse_close(data + 1, size - 1);
		break;
	case 2:
		parse_events(data + 1, size - 1);
		break;
	}
	return 0;
}
