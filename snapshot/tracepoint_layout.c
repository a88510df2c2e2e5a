#include "snapshot/tracepoint_layout.h"

#include <linux/perf_event.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* --------------------------------------------------- the tracepoints ---- */

#define LOOPBACK_IFINDEX 1 /* iif of a look-up for what this host sends */

/* 216 is NOT_IN_TASK: what tunnels and the kernel's own answers look up. */
#define ROUTE_FILTER "iif == 1 && proto != 6 && proto != 0 && !(common_flags & 216)"

const struct tracepoint_name tracepoint_names[TRACEPOINT_COUNT] = {
	[TRACEPOINT_SET_STATE] = {"sock", "inet_sock_set_state",
				  "protocol == 6 || protocol == 132"},
	[TRACEPOINT_DESTROY_SOCK] = {"tcp", "tcp_destroy_sock", NULL},
	[TRACEPOINT_SEND_LENGTH] = {"sock", "sock_send_length",
				    "protocol == 6 || protocol == 17 || protocol == 136 || "
				    "protocol == 1 || protocol == 58"},
	[TRACEPOINT_RECV_LENGTH] = {"sock", "sock_recv_length",
				    "protocol == 6 || protocol == 17 || protocol == 136"},
	[TRACEPOINT_SPACE_ADJUST] = {"tcp", "tcp_rcv_space_adjust", NULL},
	[TRACEPOINT_FIB] = {"fib", "fib_table_lookup", ROUTE_FILTER},
	[TRACEPOINT_FIB6] = {"fib6", "fib6_table_lookup", ROUTE_FILTER},
	[TRACEPOINT_PROCESS_EXEC] = {"sched", "sched_process_exec", NULL},
};

/* What a field must be like. size 0: an integer of any width. */
struct wanted_field {
	const char *name;
	uint16_t size;
	bool optional;
};

/* The TCP tracepoints fill the 16-byte addresses for IPv4 too, mapped. */
#define SOCKET_FIELDS                                                                              \
	[FIELD_SK] = {"skaddr", 0, false}, [FIELD_FAMILY] = {"family", 0, false},                  \
	[FIELD_LOCAL] = {"saddr_v6", 16, false}, [FIELD_REMOTE] = {"daddr_v6", 16, false},         \
	[FIELD_LOCAL_PORT] = {"sport", 0, false}, [FIELD_REMOTE_PORT] = {"dport", 0, false}
#define LENGTH_FIELDS                                                                              \
	[FIELD_SK] = {"sk", 0, false}, [FIELD_PROTOCOL] = {"protocol", 0, false},                  \
	[FIELD_LENGTH] = {"ret", 4, false}, [FIELD_MESSAGE_FLAGS] = {"flags", 0, true}
#define ROUTE_FIELDS(address_size)                                                                 \
	[FIELD_INPUT] = {"iif", 0, false}, [FIELD_PROTOCOL] = {"proto", 0, false},                 \
	[FIELD_LOCAL] = {"src", address_size, false},                                              \
	[FIELD_REMOTE] = {"dst", address_size, false}, [FIELD_LOCAL_PORT] = {"sport", 0, false},   \
	[FIELD_REMOTE_PORT] = {"dport", 0, false}

static const struct wanted_field wanted_fields[TRACEPOINT_COUNT][FIELD_COUNT] = {
	[TRACEPOINT_SET_STATE] = {SOCKET_FIELDS, [FIELD_OLD_STATE] = {"oldstate", 0, false},
				  [FIELD_NEW_STATE] = {"newstate", 0, false},
				  [FIELD_PROTOCOL] = {"protocol", 0, false}},
	[TRACEPOINT_DESTROY_SOCK] = {SOCKET_FIELDS, [FIELD_COOKIE] = {"sock_cookie", 0, true}},
	[TRACEPOINT_SEND_LENGTH] = {LENGTH_FIELDS},
	[TRACEPOINT_RECV_LENGTH] = {LENGTH_FIELDS},
	[TRACEPOINT_SPACE_ADJUST] = {SOCKET_FIELDS, [FIELD_COOKIE] = {"sock_cookie", 0, true}},
	[TRACEPOINT_FIB] = {ROUTE_FIELDS(4)},
	[TRACEPOINT_FIB6] = {ROUTE_FIELDS(16)},
	[TRACEPOINT_PROCESS_EXEC] = {[FIELD_PATH] = {"filename", 4, false}},
};

static const enum tracepoint_kind kinds[TRACEPOINT_COUNT] = {
	[TRACEPOINT_SET_STATE] = TRACEPOINT_STATE,
	[TRACEPOINT_DESTROY_SOCK] = TRACEPOINT_DESTROY,
	[TRACEPOINT_SEND_LENGTH] = TRACEPOINT_SEND,
	[TRACEPOINT_RECV_LENGTH] = TRACEPOINT_RECEIVE,
	[TRACEPOINT_SPACE_ADJUST] = TRACEPOINT_RECEIVE,
	[TRACEPOINT_FIB] = TRACEPOINT_ROUTE,
	[TRACEPOINT_FIB6] = TRACEPOINT_ROUTE,
	[TRACEPOINT_PROCESS_EXEC] = TRACEPOINT_EXEC,
};

/* ------------------------------------------------------ format files ---- */

static bool is_name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* "\tfield:__u8 saddr[4]": whether it declares name. */
static bool declares(const char *declaration, size_t length, const char *name)
{
	size_t name_length = strlen(name), end = length;

	if (end && declaration[end - 1] == ']') {
		while (end && declaration[end - 1] != '[')
			end--;
		end -= end > 0;
	}
	return end > name_length && !is_name_character(declaration[end - name_length - 1]) &&
	       !memcmp(declaration + end - name_length, name, name_length);
}

/* The number of "key:12;" in a line; -1: there is none, or it has no place in 16 bits. */
static int find_number(const char *line, size_t length, const char *key)
{
	size_t key_length = strlen(key);
	const char *found = memmem(line, length, key, key_length), *end = line + length;
	int value = 0;

	if (!found || found + key_length == end || found[key_length] == ';')
		return -1;
	for (found += key_length; found < end && *found >= '0' && *found <= '9'; found++) {
		value = value * 10 + (*found - '0');
		if (value > UINT16_MAX)
			return -1;
	}
	return found < end && *found == ';' ? value : -1;
}

/* A line: "\tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;". */
struct tracepoint_field tracepoint_find_field(const char *format, size_t length, const char *name)
{
	static const char key[] = "\tfield:";
	const char *end = format + length, *line_end;

	for (const char *line = format; line < end; line = line_end + 1) {
		const char *semicolon;
		int offset, size;

		line_end = memchr(line, '\n', (size_t)(end - line));
		if (!line_end)
			line_end = end;
		length = (size_t)(line_end - line);
		semicolon = memchr(line, ';', length);
		if (!semicolon || length < sizeof(key) - 1 || memcmp(line, key, sizeof(key) - 1) ||
		    !declares(line, (size_t)(semicolon - line), name))
			continue;
		offset = find_number(semicolon, (size_t)(line_end - semicolon), "\toffset:");
		size = find_number(semicolon, (size_t)(line_end - semicolon), "\tsize:");
		if (offset < 0 || size < 0 || offset + size > UINT16_MAX)
			break;
		return (struct tracepoint_field){(uint16_t)offset, (uint16_t)size};
	}
	return (struct tracepoint_field){0, 0};
}

static bool is_integer(struct tracepoint_field field)
{
	return field.size == 1 || field.size == 2 || field.size == 4 || field.size == 8;
}

const char *tracepoint_layout_add(struct tracepoint_layout *layout, enum tracepoint_number number,
				  uint16_t id, const char *format, size_t length)
{
	struct tracepoint_field fields[FIELD_COUNT] = {{0, 0}};
	struct tracepoint_field type = tracepoint_find_field(format, length, "common_type");
	int need = type.offset + type.size;

	if (type.size != 2 || (layout->type.size && layout->type.offset != type.offset))
		return "common_type";
	fields[FIELD_FLAGS] = tracepoint_find_field(format, length, "common_flags");
	if (fields[FIELD_FLAGS].size != 1)
		return "common_flags";
	for (int i = 0; i < FIELD_COUNT; i++) {
		const struct wanted_field *wanted = &wanted_fields[number][i];

		if (wanted->name) {
			fields[i] = tracepoint_find_field(format, length, wanted->name);
			if (wanted->size ? fields[i].size != wanted->size : !is_integer(fields[i]))
				fields[i].size = 0;
			if (!fields[i].size && !wanted->optional)
				return wanted->name;
		}
		if (fields[i].size && fields[i].offset + fields[i].size > need)
			need = fields[i].offset + fields[i].size;
	}
	layout->type = type;
	layout->of[number].known = true;
	layout->of[number].id = id;
	layout->of[number].need = (uint16_t)need;
	memcpy(layout->of[number].fields, fields, sizeof(fields));
	return NULL;
}

/* ----------------------------------------------------------- records ---- */

/* TRACE_FLAG_HARDIRQ, _SOFTIRQ, _NMI, _BH_OFF of enum trace_flag_type in
 * include/linux/trace_events.h. Before Linux 6.0 nobody said BH_OFF. */
#define NOT_IN_TASK (0x08 | 0x10 | 0x40 | 0x80)

#define SAMPLE_HEAD_BYTES (sizeof(struct perf_event_header) + 8 + 8 + 4)
#define ID_BYTES	  16 /* what sample_id_all puts at the end of other records */
#define TASK_BYTES	  (sizeof(struct perf_event_header) + 4 * 4 + 8 + ID_BYTES)
#define LOST_BYTES	  (sizeof(struct perf_event_header) + 8 + 8 + ID_BYTES)
#define NAMESPACES_BYTES  (sizeof(struct perf_event_header) + 4 + 4 + 8 + ID_BYTES) /* of none */

/* All reads are behind a check of the whole: need, or the sizes above. */
static uint32_t read32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t read64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* A field that is not there reads as 0. */
static uint64_t read_field(const uint8_t *raw, struct tracepoint_field field)
{
	uint16_t value;

	switch (field.size) {
	case 1:
		return raw[field.offset];
	case 2:
		memcpy(&value, raw + field.offset, sizeof(value));
		return value;
	case 4:
		return read32(raw + field.offset);
	case 8:
		return read64(raw + field.offset);
	default:
		return 0;
	}
}

/* A task that has no number in our namespace, or has none any more, is told as -1 or 0. */
static uint32_t read_pid(const uint8_t *at)
{
	uint32_t pid = read32(at);

	return pid == UINT32_MAX ? 0 : pid;
}

static int damaged(const char *wanted, size_t found)
{
	return error_damage(NULL, "perf", -1, wanted, "%zu bytes", found);
}

/* Protocols of which each call that sends or receives is. */
static bool is_told_of(uint64_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
}

/* What the kernel's filters would keep. */
static bool is_wanted(enum tracepoint_number number, const struct tracepoint_field *fields,
		      const uint8_t *raw, bool in_task)
{
	uint64_t protocol = read_field(raw, fields[FIELD_PROTOCOL]);

	switch (number) {
	case TRACEPOINT_SET_STATE:
		return protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP;
	case TRACEPOINT_SEND_LENGTH:
		return in_task && (is_told_of(protocol) || protocol == IPPROTO_ICMP ||
				   protocol == IPPROTO_ICMPV6);
	case TRACEPOINT_RECV_LENGTH:
		return in_task && is_told_of(protocol);
	case TRACEPOINT_SPACE_ADJUST:
		return in_task;
	case TRACEPOINT_FIB:
	case TRACEPOINT_FIB6:
		return in_task && protocol != IPPROTO_TCP && protocol != 0 &&
		       read_field(raw, fields[FIELD_INPUT]) == LOOPBACK_IFINDEX;
	default:
		return true;
	}
}

static struct endpoint read_endpoint(const uint8_t *raw, struct tracepoint_field address,
				     struct tracepoint_field port)
{
	const uint8_t *bytes = raw + address.offset;

	return (struct endpoint){
		.address =
			address.size == 4 ? endpoint_from_ipv4(bytes) : endpoint_from_ipv6(bytes),
		.port = (uint16_t)read_field(raw, port),
	};
}

static void read_socket(enum tracepoint_number number, const struct tracepoint_field *fields,
			const uint8_t *raw, struct tracepoint_event *out)
{
	if (fields[FIELD_FAMILY].size)
		out->u.socket.family = (uint16_t)read_field(raw, fields[FIELD_FAMILY]);
	else
		out->u.socket.family = fields[FIELD_LOCAL].size == 4 ? AF_INET : AF_INET6;
	out->u.socket.protocol = IPPROTO_TCP;
	if (fields[FIELD_PROTOCOL].size)
		out->u.socket.protocol = (uint16_t)read_field(raw, fields[FIELD_PROTOCOL]);
	out->u.socket.old_state = out->u.socket.new_state = 0;
	if (number == TRACEPOINT_SET_STATE) {
		out->u.socket.old_state = (uint8_t)read_field(raw, fields[FIELD_OLD_STATE]);
		out->u.socket.new_state = (uint8_t)read_field(raw, fields[FIELD_NEW_STATE]);
	}
	out->u.socket.local = read_endpoint(raw, fields[FIELD_LOCAL], fields[FIELD_LOCAL_PORT]);
	out->u.socket.remote = read_endpoint(raw, fields[FIELD_REMOTE], fields[FIELD_REMOTE_PORT]);
	out->u.socket.cookie = read_field(raw, fields[FIELD_COOKIE]);
}

/* Bytes that went into or out of the stream: not those that stay in it, nor an error's. */
static int64_t read_length(const struct tracepoint_field *fields, const uint8_t *raw)
{
	int32_t length = (int32_t)read_field(raw, fields[FIELD_LENGTH]);

	if (length > 0 && read_field(raw, fields[FIELD_MESSAGE_FLAGS]) & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	return length;
}

/* __data_loc: the low half is where the text begins in raw, the high half how long it is. */
static int read_path(const uint8_t *raw, size_t raw_bytes, struct tracepoint_field field, char *out)
{
	uint32_t location = read32(raw + field.offset);
	size_t offset = location & UINT16_MAX, length = location >> 16;

	if (offset > raw_bytes || length > raw_bytes - offset)
		return damaged("an execve path inside its record", raw_bytes);
	length = strnlen((const char *)raw + offset, length);
	if (length > TRACEPOINT_PATH - 1)
		length = TRACEPOINT_PATH - 1;
	memcpy(out, raw + offset, length);
	out[length] = '\0';
	return 0;
}

static int find_number_of(const struct tracepoint_layout *layout, uint64_t id)
{
	for (int i = 0; i < TRACEPOINT_COUNT; i++) {
		if (layout->of[i].id == id && layout->of[i].known)
			return i;
	}
	return -1;
}

static int parse_sample(const struct tracepoint_layout *layout, const uint8_t *record,
			size_t length, struct tracepoint_event *out)
{
	const uint8_t *raw = record + SAMPLE_HEAD_BYTES;
	const struct tracepoint_field *fields;
	size_t raw_bytes;
	bool in_task;
	int number;

	if (length < SAMPLE_HEAD_BYTES)
		return damaged("a sample", length);
	raw_bytes = read32(record + 24);
	if (raw_bytes > length - SAMPLE_HEAD_BYTES)
		return damaged("a sample as long as it says", length);
	if (raw_bytes < (size_t)layout->type.offset + layout->type.size)
		return damaged("a tracepoint's type", raw_bytes);
	number = find_number_of(layout, read_field(raw, layout->type));
	if (number < 0)
		return 0;
	if (raw_bytes < layout->of[number].need)
		return damaged("all fields of a tracepoint", raw_bytes);
	fields = layout->of[number].fields;
	in_task = !(raw[fields[FIELD_FLAGS].offset] & NOT_IN_TASK);
	if (!is_wanted((enum tracepoint_number)number, fields, raw, in_task))
		return 0;
	if (number == TRACEPOINT_PROCESS_EXEC &&
	    read_path(raw, raw_bytes, fields[FIELD_PATH], out->u.exec.path))
		return ERROR_DAMAGED;
	out->kind = kinds[number];
	out->cpu = 0;
	out->pid = read_pid(record + 8);
	out->tid = read_pid(record + 12);
	out->time_ns = (int64_t)read64(record + 16);
	out->in_task = in_task;
	out->sk = read_field(raw, fields[FIELD_SK]);
	if (fields[FIELD_LOCAL].size)
		read_socket((enum tracepoint_number)number, fields, raw, out);
	else if (fields[FIELD_LENGTH].size)
		out->u.length = read_length(fields, raw);
	out->protocol = (uint8_t)read_field(raw, fields[FIELD_PROTOCOL]);
	return 1;
}

static int parse_task(uint32_t type, const uint8_t *record, size_t length,
		      struct tracepoint_event *out)
{
	uint32_t pid, parent;

	if (length < TASK_BYTES)
		return damaged("a fork or an exit", length);
	pid = read_pid(record + 8);
	parent = read_pid(record + 12);
	if (type == PERF_RECORD_FORK && (pid == parent || pid == 0))
		return 0;
	out->kind = type == PERF_RECORD_FORK ? TRACEPOINT_FORK : TRACEPOINT_EXIT;
	out->pid = type == PERF_RECORD_FORK ? parent : pid;
	out->tid = read_pid(record + (type == PERF_RECORD_FORK ? 20 : 16));
	out->time_ns = (int64_t)read64(record + 24);
	out->in_task = true;
	out->u.child = type == PERF_RECORD_FORK ? pid : 0;
	return 1;
}

/* Inode 0: the kernel has no such namespaces, or could not tell. */
static int parse_namespaces(const uint8_t *record, size_t length, struct tracepoint_event *out)
{
	const size_t each = sizeof(struct perf_ns_link_info);
	const uint8_t *links = record + NAMESPACES_BYTES - ID_BYTES;
	uint64_t count, netns;
	uint32_t pid;

	if (length < NAMESPACES_BYTES)
		return damaged("a task's namespaces", length);
	count = read64(record + 16);
	if (count > (length - NAMESPACES_BYTES) / each)
		return damaged("as many namespaces as it says", length);
	if (count <= NET_NS_INDEX)
		return 0;
	pid = read_pid(record + 8);
	netns = read64(links + NET_NS_INDEX * each + offsetof(struct perf_ns_link_info, ino));
	if (pid == 0 || netns == 0)
		return 0;
	out->kind = TRACEPOINT_NETNS;
	out->pid = pid;
	out->tid = read_pid(record + 12);
	out->time_ns = (int64_t)read64(record + length - 8);
	out->in_task = true;
	out->u.netns = netns;
	return 1;
}

/* Throttling, which does not happen to tracepoints at period 1, would be a loss too. */
static int parse_lost(uint32_t type, const uint8_t *record, size_t length,
		      struct tracepoint_event *out)
{
	if (length < LOST_BYTES)
		return damaged("a record of a loss", length);
	out->kind = TRACEPOINT_LOST;
	out->pid = out->tid = 0;
	out->time_ns = (int64_t)read64(record + length - 8);
	out->in_task = false;
	out->u.lost = type == PERF_RECORD_LOST ? read64(record + 16) : 0;
	return 1;
}

int tracepoint_parse(const struct tracepoint_layout *layout, const void *record, size_t length,
		     struct tracepoint_event *out)
{
	struct perf_event_header header;
	int got;

	if (length < sizeof(header))
		return damaged("a record's header", length);
	memcpy(&header, record, sizeof(header));
	if (header.size != length)
		return damaged("a record as long as it says", length);
	switch (header.type) {
	case PERF_RECORD_SAMPLE:
		return parse_sample(layout, record, length, out);
	case PERF_RECORD_FORK:
	case PERF_RECORD_EXIT:
		got = parse_task(header.type, record, length, out);
		break;
	case PERF_RECORD_NAMESPACES:
		got = parse_namespaces(record, length, out);
		break;
	case PERF_RECORD_LOST:
	case PERF_RECORD_THROTTLE:
	case PERF_RECORD_UNTHROTTLE:
		got = parse_lost(header.type, record, length, out);
		break;
	default:
		return 0;
	}
	if (got > 0) {
		out->cpu = 0;
		out->sk = 0;
	}
	return got;
}
