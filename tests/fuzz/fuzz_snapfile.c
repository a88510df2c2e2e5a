/* Any bytes as a snapshot file: read to the end, nothing but whole frames. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "snapshot/format/snapfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink;

static void touch(const char *string)
{
	if (string)
		sink += strlen(string);
}

/* Reads all memory that a record points to. */
static void touch_strings(const struct snap_record *record)
{
	switch (record->type) {
	case SNAP_TYPE_META:
		touch(record->u.meta.key);
		for (size_t i = 0; record->u.meta.value && i <= record->u.meta.value_length; i++)
			sink += (uint8_t)record->u.meta.value[i];
		break;
	case SNAP_TYPE_FRAME:
	case SNAP_TYPE_END:
		touch(record->u.frame.cause);
		break;
	case SNAP_TYPE_INTERFACE:
		touch(record->u.interface.name);
		break;
	case SNAP_TYPE_PROCESS:
		touch(record->u.process.comm);
		touch(record->u.process.exe);
		touch(record->u.process.cgroup);
		for (size_t i = 0;
		     record->u.process.cmdline && i <= record->u.process.cmdline_length; i++)
			sink += (uint8_t)record->u.process.cmdline[i];
		break;
	case SNAP_TYPE_ABSENT:
		touch(record->u.absent.what);
		touch(record->u.absent.subject);
		touch(record->u.absent.reason);
		break;
	case SNAP_TYPE_SOCKET:
		touch(snap_table_name(record->u.socket.table));
		break;
	default:
		break;
	}
}

static void read_all(const void *bytes, size_t length)
{
	struct snapfile_reader *reader;
	struct snap_record record;
	struct error error = ERROR_NONE;
	bool is_open = false;
	int status;

	if (snapfile_open_memory(bytes, length, "input", &reader, &error) != 0)
		return;
	while ((status = snapfile_next(reader, &record, &error)) > 0) {
		bool is_in_frame = record.type > SNAP_TYPE_END;

		/* The promise of snapfile.h: no record outside of a frame, no open frame at the
		 * end. */
		if (record.type == SNAP_TYPE_OTHER || (is_in_frame && !is_open))
			abort();
		if (record.type == SNAP_TYPE_FRAME)
			is_open = true;
		if (record.type == SNAP_TYPE_END)
			is_open = false;
		touch_strings(&record);
	}
	if (is_open || (status < 0 && error.code != (enum error_code)status))
		abort();
	snapfile_close(reader);
}

/* The same bytes as the records of a frame whose count and CRC are right, which
 * a fuzzer does not find by itself. */
static void read_as_records(const uint8_t *data, size_t size)
{
	static const char first[] = "pcapwho-snapshot\t1\n";
	static const char head[] = "frame\t1\tkey\tstart\t1\t2\t3\t4\n";
	size_t begin = sizeof(first) - 1, length = begin + sizeof(head) - 1, records = 0;
	char *text = malloc(length + size + 100);

	if (!text)
		return;
	memcpy(text, first, begin);
	memcpy(text + begin, head, sizeof(head) - 1);
	memcpy(text + length, data, size);
	length += size;
	text[length++] = '\n';
	for (size_t i = begin + sizeof(head) - 1; i < length; i++)
		records += text[i] == '\n';
	uLong crc = crc32(0, (const Bytef *)text + begin, (uInt)(length - begin));
	length += (size_t)snprintf(text + length, 99, "end\t1\t%zu\t%08lx\n", records, crc);
	read_all(text, length);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_all(data, size);
	read_as_records(data, size);
	return 0;
}
