/* Names of tables and kinds, and frames as text. */
#include "snapshot/format/snapfile.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/format/escape.h"
#include "snapshot/format/snapfile_internal.h"

static const struct {
	const char *name;
	size_t length;
	uint8_t protocol;
	bool is_ipv6;
} tables[SNAP_TABLE_END] = {
	[SNAP_TCP] = {"tcp", 3, 6, false},
	[SNAP_TCP6] = {"tcp6", 4, 6, true},
	[SNAP_UDP] = {"udp", 3, 17, false},
	[SNAP_UDP6] = {"udp6", 4, 17, true},
	[SNAP_UDPLITE] = {"udplite", 7, 136, false},
	[SNAP_UDPLITE6] = {"udplite6", 8, 136, true},
	[SNAP_RAW] = {"raw", 3, 0, false},
	[SNAP_RAW6] = {"raw6", 4, 0, true},
	[SNAP_ICMP] = {"icmp", 4, 1, false},
	[SNAP_ICMP6] = {"icmp6", 5, 58, true},
	[SNAP_PACKET] = {"packet", 6, 0, false},
	[SNAP_SCTP_EPS] = {"sctp/eps", 8, 132, false},
	[SNAP_SCTP_ASSOCS] = {"sctp/assocs", 11, 132, false},
};

const char *snap_table_name(enum snap_table table)
{
	assert(table >= SNAP_TCP && table < SNAP_TABLE_END);
	return tables[table].name;
}

const char *snap_act_name(enum snap_act act)
{
	static const char *const names[SNAP_ACT_END] = {
		[SNAP_CONNECT] = "connect", [SNAP_SEND] = "send",   [SNAP_RECEIVE] = "receive",
		[SNAP_SHUT] = "shut",	    [SNAP_ROUTE] = "route", [SNAP_SEVERAL] = "several",
	};

	assert(act >= SNAP_CONNECT && act < SNAP_ACT_END);
	return names[act];
}

bool snaprecord_table(const char *name, size_t length, enum snap_table *out)
{
	for (int i = SNAP_TCP; i < SNAP_TABLE_END; i++) {
		if (tables[i].length == length && memcmp(tables[i].name, name, length) == 0) {
			*out = (enum snap_table)i;
			return true;
		}
	}
	return false;
}

uint8_t snap_table_protocol(enum snap_table table)
{
	assert(table >= SNAP_TCP && table < SNAP_TABLE_END);
	return tables[table].protocol;
}

bool snap_table_is_ipv6(enum snap_table table)
{
	assert(table >= SNAP_TCP && table < SNAP_TABLE_END);
	return tables[table].is_ipv6;
}

const char *snapframe_kind_name(enum snap_kind kind)
{
	switch (kind) {
	case SNAP_KEY:
		return "key";
	case SNAP_POLL:
		return "poll";
	case SNAP_EVENT:
		return "event";
	}
	return NULL;
}

/* ---- fields into a buffer with room for them ---- */

/* The longest that all fields of a record but its strings can be together. */
#define FIXED_FIELDS_SIZE 1024

static char *put_text(char *out, const char *text)
{
	size_t length = strlen(text);

	memcpy(out, text, length);
	return out + length;
}

static char *put_number(char *out, uint64_t value)
{
	char digits[20];
	size_t count = 0;

	do {
		digits[sizeof(digits) - ++count] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	memcpy(out, digits + sizeof(digits) - count, count);
	return out + count;
}

static char *put_u64(char *out, uint64_t value)
{
	*out++ = '\t';
	return put_number(out, value);
}

static char *put_i64(char *out, int64_t value)
{
	if (value >= 0)
		return put_u64(out, (uint64_t)value);
	*out++ = '\t';
	*out++ = '-';
	return put_number(out, 0 - (uint64_t)value);
}

static char *put_unknown(char *out)
{
	return put_text(out, "\t\\N");
}

/* UTF-8 is not cut in the middle of a character for a limit's sake: what is
 * left of one is written as \xHH. */
static char *put_bytes(char *out, const char *bytes, size_t length, size_t limit)
{
	if (!bytes)
		return put_unknown(out);
	*out++ = '\t';
	return out + escape_write(bytes, length < limit ? length : limit, out);
}

static char *put_string(char *out, const char *string)
{
	return put_bytes(out, string, string ? strlen(string) : 0, SNAPRECORD_MAX_STRING);
}

/* The text of a table's rows: rows of the IPv6 tables keep the IPv6 form, and
 * "no address" of an IPv4 table is its own wildcard. */
static char *put_table_address(char *out, enum snap_table table,
			       const struct endpoint_address *address)
{
	static const struct endpoint_address zero;
	char text[ENDPOINT_TEXT_SIZE];
	bool is_sctp = table == SNAP_SCTP_EPS || table == SNAP_SCTP_ASSOCS;

	*out++ = '\t';
	if (snap_table_is_ipv6(table) && endpoint_is_ipv4(address))
		out = put_text(out, "::ffff:");
	else if (!snap_table_is_ipv6(table) && !is_sctp && endpoint_equal(address, &zero))
		return put_text(out, "0.0.0.0");
	return put_text(out, endpoint_format(address, text));
}

static char *put_tuple(char *out, enum snap_table table, const struct endpoint *local,
		       const struct endpoint *remote)
{
	*out++ = '\t';
	out = put_text(out, snap_table_name(table));
	out = put_table_address(out, table, &local->address);
	out = put_u64(out, local->port);
	out = put_table_address(out, table, &remote->address);
	return put_u64(out, remote->port);
}

static char *put_uid(char *out, uint32_t uid)
{
	return uid == SNAP_UNKNOWN_UID ? put_unknown(out) : put_u64(out, uid);
}

static char *put_socket(char *out, const struct snap_socket *socket)
{
	out = put_u64(out, socket->netns);
	out = put_tuple(out, socket->table, &socket->local, &socket->remote);
	out = put_u64(out, socket->state);
	out = put_uid(out, socket->uid);
	out = put_u64(out, socket->inode);
	out = put_u64(out, socket->cookie);
	return put_u64(out, socket->ifindex);
}

static char *put_process(char *out, const struct snap_process *process)
{
	out = put_u64(out, process->pid);
	out = put_u64(out, process->start_ticks);
	out = put_u64(out, process->ppid);
	out = put_uid(out, process->uid);
	out = put_string(out, process->comm);
	out = put_string(out, process->exe);
	out = put_bytes(out, process->cmdline, process->cmdline_length, SNAPRECORD_MAX_CMDLINE);
	out = put_string(out, process->cgroup);
	out = process->netns ? put_u64(out, process->netns) : put_unknown(out);
	out = process->exit_known ? put_i64(out, process->exit_code) : put_unknown(out);
	return process->exit_ns ? put_i64(out, process->exit_ns) : put_unknown(out);
}

static char *put_holder(char *out, const struct snap_holder *holder)
{
	out = put_u64(out, holder->inode);
	out = put_u64(out, holder->pid);
	out = put_u64(out, holder->start_ticks);
	out = put_u64(out, holder->tid);
	return put_u64(out, holder->fd);
}

static char *put_address(char *out, const struct snap_address *address)
{
	char text[ENDPOINT_TEXT_SIZE];

	out = put_u64(out, address->netns);
	out = put_u64(out, address->ifindex);
	*out++ = '\t';
	out = put_text(out, endpoint_format(&address->address, text));
	return put_u64(out, address->prefix_length);
}

static char *put_closed(char *out, const struct snap_closed *closed)
{
	out = put_u64(out, closed->netns);
	out = put_tuple(out, closed->table, &closed->local, &closed->remote);
	out = put_u64(out, closed->inode);
	out = put_u64(out, closed->cookie);
	out = put_i64(out, closed->closed_ns);
	out = put_u64(out, closed->bytes_acked);
	out = put_u64(out, closed->bytes_received);
	out = put_u64(out, closed->bytes_sent);
	out = put_u64(out, closed->bytes_retransmitted);
	out = put_u64(out, closed->segments_out);
	out = put_u64(out, closed->segments_in);
	out = put_u64(out, closed->data_segments_out);
	return put_u64(out, closed->data_segments_in);
}

static char *put_capture(char *out, const struct snap_capture *capture)
{
	out = put_u64(out, capture->received);
	out = put_u64(out, capture->dropped);
	out = put_u64(out, capture->interface_dropped);
	out = put_u64(out, capture->written);
	return put_u64(out, capture->lost);
}

static char *put_absent(char *out, const struct snap_absent *absent)
{
	out = put_string(out, absent->what ? absent->what : "");
	out = put_u64(out, absent->netns);
	out = put_u64(out, absent->pid);
	out = put_string(out, absent->subject ? absent->subject : "");
	return put_string(out, absent->reason);
}

static char *put_position(char *out, uint64_t bytes)
{
	return bytes == SNAP_UNKNOWN_BYTES ? put_unknown(out) : put_u64(out, bytes);
}

static char *put_use(char *out, const struct snap_use *use)
{
	char text[ENDPOINT_TEXT_SIZE];

	out = put_u64(out, use->netns);
	out = put_u64(out, use->protocol);
	*out++ = '\t';
	out = put_text(out, endpoint_format(&use->local.address, text));
	out = put_u64(out, use->local.port);
	*out++ = '\t';
	out = put_text(out, endpoint_format(&use->remote.address, text));
	out = put_u64(out, use->remote.port);
	out = put_u64(out, use->cookie);
	out = put_i64(out, use->opened_ns);
	*out++ = '\t';
	out = put_text(out, snap_act_name(use->act));
	out = put_i64(out, use->at_ns);
	out = put_i64(out, use->previous_ns);
	out = put_position(out, use->sent_bytes);
	out = put_position(out, use->received_bytes);
	out = put_u64(out, use->pid);
	out = put_u64(out, use->start_ticks);
	return put_u64(out, use->tid);
}

static char *put_born(char *out, const struct snap_born *born)
{
	out = put_u64(out, born->pid);
	out = put_u64(out, born->start_ticks);
	out = put_u64(out, born->ppid);
	return put_i64(out, born->born_ns);
}

static char *put_exec(char *out, const struct snap_exec *exec)
{
	out = put_u64(out, exec->pid);
	out = put_u64(out, exec->start_ticks);
	return put_i64(out, exec->exec_ns);
}

static char *put_fields(char *out, const struct snap_record *record)
{
	switch (record->type) {
	case SNAP_TYPE_NETNS:
		out = put_u64(out, record->u.netns.netns);
		out = put_u64(out, record->u.netns.via_pid);
		return put_u64(out, record->u.netns.is_capture);
	case SNAP_TYPE_INTERFACE:
		out = put_u64(out, record->u.interface.netns);
		out = put_u64(out, record->u.interface.ifindex);
		out = put_string(out, record->u.interface.name);
		return put_u64(out, record->u.interface.hardware_type);
	case SNAP_TYPE_ADDRESS:
		return put_address(out, &record->u.address);
	case SNAP_TYPE_SOCKET:
		return put_socket(out, &record->u.socket);
	case SNAP_TYPE_PROCESS:
		return put_process(out, &record->u.process);
	case SNAP_TYPE_HOLDER:
		return put_holder(out, &record->u.holder);
	case SNAP_TYPE_CLOSED:
		return put_closed(out, &record->u.closed);
	case SNAP_TYPE_CAPTURE:
		return put_capture(out, &record->u.capture);
	case SNAP_TYPE_CLOCK:
		out = put_i64(out, record->u.clock.step_ns);
		return put_i64(out, record->u.clock.suspend_ns);
	case SNAP_TYPE_ABSENT:
		return put_absent(out, &record->u.absent);
	case SNAP_TYPE_USE:
		return put_use(out, &record->u.use);
	case SNAP_TYPE_BORN:
		return put_born(out, &record->u.born);
	case SNAP_TYPE_EXEC:
		return put_exec(out, &record->u.exec);
	default:
		assert(!"not a record of a frame");
		return out;
	}
}

static size_t string_room(const char *string, size_t length, size_t limit)
{
	return string ? ESCAPE_GROWTH * (length < limit ? length : limit) : 0;
}

static size_t room_of(const char *string)
{
	return string_room(string, string ? strlen(string) : 0, SNAPRECORD_MAX_STRING);
}

static size_t record_room(const struct snap_record *record)
{
	switch (record->type) {
	case SNAP_TYPE_INTERFACE:
		return FIXED_FIELDS_SIZE + room_of(record->u.interface.name);
	case SNAP_TYPE_PROCESS:
		return FIXED_FIELDS_SIZE + room_of(record->u.process.comm) +
		       room_of(record->u.process.exe) + room_of(record->u.process.cgroup) +
		       string_room(record->u.process.cmdline, record->u.process.cmdline_length,
				   SNAPRECORD_MAX_CMDLINE);
	case SNAP_TYPE_ABSENT:
		return FIXED_FIELDS_SIZE + room_of(record->u.absent.what) +
		       room_of(record->u.absent.subject) + room_of(record->u.absent.reason);
	default:
		return FIXED_FIELDS_SIZE;
	}
}

/* ---- frames ---- */

void snapframe_init(struct snapframe *frame, enum snap_kind kind, const char *cause)
{
	memset(frame, 0, sizeof(*frame));
	frame->head.kind = kind;
	frame->head.cause = cause;
}

void snapframe_release(struct snapframe *frame)
{
	free(frame->text);
	frame->text = NULL;
	frame->length = frame->capacity = 0;
	frame->records = 0;
}

static bool reserve(struct snapframe *frame, size_t room)
{
	size_t capacity = frame->capacity ? frame->capacity : 4096;

	if (frame->capacity - frame->length >= room)
		return true;
	while (capacity - frame->length < room)
		capacity *= 2;
	char *text = realloc(frame->text, capacity);
	if (!text)
		return false;
	frame->text = text;
	frame->capacity = capacity;
	return true;
}

void snapframe_add(struct snapframe *frame, const struct snap_record *record)
{
	if (frame->failed)
		return;
	if (!reserve(frame, record_room(record))) {
		frame->failed = true;
		return;
	}
	char *start = frame->text + frame->length;
	char *out = put_text(start, snaprecord_type_name(record->type));
	*out++ = '\t';
	*out++ = (char)record->op;
	out = put_fields(out, record);
	*out++ = '\n';
	frame->length += (size_t)(out - start);
	frame->records++;
}

size_t snapframe_head_text(const struct snap_frame *head, char **out)
{
	const char *cause = head->cause ? head->cause : "";
	char *text = malloc(FIXED_FIELDS_SIZE + room_of(cause));

	if (!text)
		return 0;
	char *at = put_text(text, "frame");
	at = put_u64(at, head->sequence);
	*at++ = '\t';
	at = put_text(at, snapframe_kind_name(head->kind));
	at = put_string(at, cause);
	at = put_i64(at, head->begin_ns);
	/* Unless the clock was set back meanwhile; what follows says by how much. */
	at = put_i64(at, head->end_ns > head->begin_ns ? head->end_ns : head->begin_ns);
	at = put_i64(at, head->monotonic_ns);
	at = put_i64(at, head->boot_ns);
	*at++ = '\n';
	*out = text;
	return (size_t)(at - text);
}
