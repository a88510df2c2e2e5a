/* Any bytes as a tracepoint's format file and as records of a perf buffer. The
 * first byte chooses the tracepoint, the next two say how long the format is; none:
 * all tracepoints are known, each by a format made up here. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/tracepoint_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD_BYTES 3

static const char any_format[] = "\tfield:u16 common_type;\toffset:0;\tsize:2;\n"
				 "\tfield:u8 common_flags;\toffset:2;\tsize:1;\n"
				 "\tfield:void * sk;\toffset:8;\tsize:8;\n"
				 "\tfield:void * skaddr;\toffset:8;\tsize:8;\n"
				 "\tfield:int oldstate;\toffset:16;\tsize:4;\n"
				 "\tfield:int newstate;\toffset:20;\tsize:4;\n"
				 "\tfield:u16 family;\toffset:24;\tsize:2;\n"
				 "\tfield:u16 protocol;\toffset:26;\tsize:2;\n"
				 "\tfield:u8 proto;\toffset:26;\tsize:1;\n"
				 "\tfield:u16 sport;\toffset:28;\tsize:2;\n"
				 "\tfield:u16 dport;\toffset:30;\tsize:2;\n"
				 "\tfield:u8 saddr_v6[16];\toffset:32;\tsize:16;\n"
				 "\tfield:u8 daddr_v6[16];\toffset:48;\tsize:16;\n"
				 "\tfield:int ret;\toffset:16;\tsize:4;\n"
				 "\tfield:int flags;\toffset:20;\tsize:4;\n"
				 "\tfield:int iif;\toffset:16;\tsize:4;\n"
				 "\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\n";

/* fib and fib6 differ in the sizes of src and dst. */
static void know_all(struct tracepoint_layout *layout)
{
	for (int i = 0; i < TRACEPOINT_COUNT; i++) {
		char format[sizeof(any_format) + 128];
		int address = i == TRACEPOINT_FIB ? 4 : 16;

		snprintf(format, sizeof(format),
			 "%s\tfield:u8 src[];\toffset:32;\tsize:%d;\n"
			 "\tfield:u8 dst[];\toffset:48;\tsize:%d;\n",
			 any_format, address, address);
		if (tracepoint_layout_add(layout, (enum tracepoint_number)i, (uint16_t)(i + 1),
					  format, strlen(format)))
			abort();
	}
}

static void check(const struct tracepoint_event *event)
{
	if (event->kind < TRACEPOINT_STATE || event->kind > TRACEPOINT_LOST || event->cpu != 0)
		abort();
	if (event->kind == TRACEPOINT_EXEC && !memchr(event->u.exec.path, '\0', TRACEPOINT_PATH))
		abort();
	if (event->kind == TRACEPOINT_FORK && (event->u.child == 0 || event->u.child == event->pid))
		abort();
	if (event->kind == TRACEPOINT_NETNS && (event->u.netns == 0 || event->pid == 0))
		abort();
	if ((event->kind == TRACEPOINT_SEND || event->kind == TRACEPOINT_RECEIVE ||
	     event->kind == TRACEPOINT_ROUTE) &&
	    !event->in_task)
		abort();
}

/* Each record in memory of its own size, the last as it is cut. */
static void parse_records(const struct tracepoint_layout *layout, const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t length = size < 8 ? size : (size_t)(data[6] | data[7] << 8);
		struct tracepoint_event event;
		uint8_t *exact;

		if (length < 8 || length > size)
			length = size;
		exact = malloc(length);
		if (!exact)
			return;
		memcpy(exact, data, length);
		if (tracepoint_parse(layout, exact, length, &event) > 0)
			check(&event);
		free(exact);
		data += length;
		size -= length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tracepoint_layout layout = {0};
	size_t format_length;

	if (size < HEAD_BYTES)
		return 0;
	format_length = (size_t)(data[1] | data[2] << 8);
	if (format_length > size - HEAD_BYTES)
		format_length = size - HEAD_BYTES;
	if (format_length == 0) {
		know_all(&layout);
	} else {
		enum tracepoint_number number = data[0] % TRACEPOINT_COUNT;
		char *format = malloc(format_length);

		if (!format)
			return 0;
		memcpy(format, data + HEAD_BYTES, format_length);
		tracepoint_layout_add(&layout, number, 1, format, format_length);
		free(format);
	}
	parse_records(&layout, data + HEAD_BYTES + format_length,
		      size - HEAD_BYTES - format_length);
	return 0;
}
