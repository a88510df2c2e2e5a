/*
 * tracepoint_layout.h - what tracepoints there are, where their fields lie, and
 * how a record of a perf buffer becomes an event. No system calls: whoever has
 * the text of the format files and some bytes can use it.
 *
 * Sources: Documentation/trace/events.rst (format files);
 * include/uapi/linux/perf_event.h (records); include/linux/trace_events.h and
 * tracing_gen_ctx_irq_test() in kernel/trace/trace.c (common_flags).
 *
 * A record, in the byte order of the host, each multiple of 8 bytes long:
 *
 *   SAMPLE        header 8 | pid u32, tid u32 | time u64 | raw size u32 | raw
 *   FORK, EXIT    header 8 | pid, parent's pid, tid, parent's tid u32 | time u64 | id
 *   NAMESPACES    header 8 | pid, tid u32 | count u64 | count times (device, inode u64) | id
 *   LOST          header 8 | id of the perf event u64 | lost u64 | id
 *   id (sample_id_all)       pid u32, tid u32 | time u64
 *
 * raw is what the format file describes. Of the namespaces the first is the
 * network's (NET_NS_INDEX).
 */
#ifndef SNAPSHOT_TRACEPOINT_LAYOUT_H
#define SNAPSHOT_TRACEPOINT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/tracepoint.h"

enum tracepoint_number {
	TRACEPOINT_SET_STATE,
	TRACEPOINT_DESTROY_SOCK,
	TRACEPOINT_SEND_LENGTH,
	TRACEPOINT_RECV_LENGTH,
	TRACEPOINT_SPACE_ADJUST,
	TRACEPOINT_FIB,
	TRACEPOINT_FIB6,
	TRACEPOINT_PROCESS_EXEC,
	TRACEPOINT_COUNT
};

struct tracepoint_name {
	const char *system, *name;
	const char *filter; /* for the kernel, to have fewer records; NULL: none. What it would
			       leave out, the parser leaves out too */
};

extern const struct tracepoint_name tracepoint_names[TRACEPOINT_COUNT];

/* Where a field lies in a record's raw part: offset and size in bytes; size 0: there is none. */
struct tracepoint_field {
	uint16_t offset, size;
};

enum tracepoint_field_number {
	FIELD_FLAGS,
	FIELD_SK,
	FIELD_OLD_STATE,
	FIELD_NEW_STATE,
	FIELD_FAMILY,
	FIELD_PROTOCOL,
	FIELD_LOCAL,
	FIELD_REMOTE,
	FIELD_LOCAL_PORT,
	FIELD_REMOTE_PORT,
	FIELD_COOKIE,
	FIELD_LENGTH,
	FIELD_MESSAGE_FLAGS,
	FIELD_INPUT,
	FIELD_PATH,
	FIELD_COUNT
};

/* All zero: no tracepoint is known. */
struct tracepoint_layout {
	struct tracepoint_field type; /* common_type, the same in all */
	struct {
		bool known;
		uint16_t id;   /* its common_type */
		uint16_t need; /* bytes of raw up to the end of its last field */
		struct tracepoint_field fields[FIELD_COUNT];
	} of[TRACEPOINT_COUNT];
};

/* Finds a field in the text of a tracepoint's format file. */
struct tracepoint_field tracepoint_find_field(const char *format, size_t length, const char *name);

/* Makes a tracepoint known by the text of its format file. NULL, or the name of
 * the field that is missing or is not of a size that can be used (static);
 * then it stays as it was. */
const char *tracepoint_layout_add(struct tracepoint_layout *layout, enum tracepoint_number number,
				  uint16_t id, const char *format, size_t length);

/* One whole record with its perf_event_header: 1 and *out (its cpu is 0), 0: not one of
 * ours, or not meant for us; ERROR_DAMAGED: it makes no sense. */
int tracepoint_parse(const struct tracepoint_layout *layout, const void *record, size_t length,
		     struct tracepoint_event *out);

#endif
