/* One line of a snapshot file into one struct snap_record. */
#include "snapshot/format/snapfile_internal.h"

#include <string.h>

#include "snapshot/format/escape.h"
#include "snapshot/format/quantity.h"

/* The commonest first: types are looked up in this order. */
static const struct {
	const char *name;
	size_t length;
	enum snap_type type;
} kinds[] = {
	{"socket", 6, SNAP_TYPE_SOCKET},       {"holder", 6, SNAP_TYPE_HOLDER},
	{"process", 7, SNAP_TYPE_PROCESS},     {"end", 3, SNAP_TYPE_END},
	{"frame", 5, SNAP_TYPE_FRAME},	       {"closed", 6, SNAP_TYPE_CLOSED},
	{"capture", 7, SNAP_TYPE_CAPTURE},     {"clock", 5, SNAP_TYPE_CLOCK},
	{"absent", 6, SNAP_TYPE_ABSENT},       {"netns", 5, SNAP_TYPE_NETNS},
	{"interface", 9, SNAP_TYPE_INTERFACE}, {"address", 7, SNAP_TYPE_ADDRESS},
	{"meta", 4, SNAP_TYPE_META},	       {"use", 3, SNAP_TYPE_USE},
	{"born", 4, SNAP_TYPE_BORN},	       {"exec", 4, SNAP_TYPE_EXEC},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

const char *snaprecord_type_name(enum snap_type type)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (kinds[i].type == type)
			return kinds[i].name;
	}
	return NULL;
}

enum snap_type snaprecord_type(const char *line, size_t length)
{
	for (size_t i = 0; i < KINDS; i++) {
		size_t name_length = kinds[i].length;

		if (length >= name_length && memcmp(line, kinds[i].name, name_length) == 0 &&
		    (length == name_length || line[name_length] == '\t'))
			return kinds[i].type;
	}
	return SNAP_TYPE_OTHER;
}

/* The bounded cursor over the fields of one line. at is the start of the next
 * field, NULL behind the last. The takers return false at the first field
 * that is not what it has to be, and say so in *fault. */
struct cursor {
	char *at, *end;
	bool commit;
	struct snaprecord_fault *fault;
};

static bool refuse(struct cursor *cursor, const char *field, const char *wanted, const char *found)
{
	cursor->fault->field = field;
	cursor->fault->wanted = wanted;
	cursor->fault->found = found;
	cursor->fault->found_length = 0;
	if (found) {
		const char *tab = memchr(found, '\t', (size_t)(cursor->end - found));
		cursor->fault->found_length = (size_t)((tab ? tab : cursor->end) - found);
	}
	return false;
}

/* Steps behind the field that ends at stop. */
static void step(struct cursor *cursor, char *stop)
{
	cursor->at = stop < cursor->end ? stop + 1 : NULL;
}

static bool at_unknown(const struct cursor *cursor)
{
	const char *at = cursor->at;

	return at && cursor->end - at >= 2 && at[0] == '\\' && at[1] == 'N' &&
	       (at + 2 == cursor->end || at[2] == '\t');
}

static bool skip_unknown(struct cursor *cursor)
{
	if (!at_unknown(cursor))
		return false;
	step(cursor, cursor->at + 2);
	return true;
}

/* Decimal digits up to the end of the field, no leading zero, at most max. */
static bool take_digits(struct cursor *cursor, char *at, const char *field, uint64_t max,
			uint64_t *out)
{
	static const char wanted[] = "a decimal number in its range";
	uint64_t value = 0;
	unsigned int digit;
	char *start = at, *end = cursor->end;
	/* 19 digits always fit; the 20th has to be looked at. */
	char *safe = end - at > 19 ? at + 19 : end;

	for (; at < safe && (digit = (unsigned int)*at - '0') <= 9; at++)
		value = value * 10 + digit;
	for (; at == safe && at < end && (digit = (unsigned int)*at - '0') <= 9; safe = ++at) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return refuse(cursor, field, wanted, cursor->at);
	}
	if (at == start || (at < cursor->end && *at != '\t') || value > max ||
	    (*start == '0' && at - start > 1))
		return refuse(cursor, field, wanted, cursor->at);
	step(cursor, at);
	*out = value;
	return true;
}

static bool take_max(struct cursor *cursor, const char *field, uint64_t max, uint64_t *out)
{
	if (!cursor->at)
		return refuse(cursor, field, "one more field", NULL);
	return take_digits(cursor, cursor->at, field, max, out);
}

static bool take_u64(struct cursor *cursor, const char *field, uint64_t *out)
{
	return take_max(cursor, field, UINT64_MAX, out);
}

static bool take_u32(struct cursor *cursor, const char *field, uint32_t *out)
{
	uint64_t value = 0;

	if (!take_max(cursor, field, UINT32_MAX, &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

static bool take_u16(struct cursor *cursor, const char *field, uint16_t *out)
{
	uint64_t value = 0;

	if (!take_max(cursor, field, UINT16_MAX, &value))
		return false;
	*out = (uint16_t)value;
	return true;
}

/* Lines of things gone may not know every number. */
static bool take_u32_or(struct cursor *cursor, const char *field, uint32_t unknown, uint32_t *out)
{
	if (!skip_unknown(cursor))
		return take_u32(cursor, field, out);
	*out = unknown;
	return true;
}

static bool take_u64_or(struct cursor *cursor, const char *field, uint64_t unknown, uint64_t *out)
{
	if (!skip_unknown(cursor))
		return take_u64(cursor, field, out);
	*out = unknown;
	return true;
}

static bool take_i64(struct cursor *cursor, const char *field, int64_t *out)
{
	uint64_t value = 0;
	char *at = cursor->at;

	if (!at)
		return refuse(cursor, field, "one more field", NULL);
	if (at == cursor->end || *at != '-') {
		if (!take_digits(cursor, at, field, INT64_MAX, &value))
			return false;
		*out = (int64_t)value;
		return true;
	}
	if (!take_digits(cursor, at + 1, field, (uint64_t)INT64_MAX + 1, &value))
		return false;
	if (value == 0)
		return refuse(cursor, field, "a number without a needless sign", at);
	*out = -(int64_t)(value - 1) - 1;
	return true;
}

/* 0..QUANTITY_MAX_TIME_NS, so that whoever adds or subtracts times need not look again. */
static bool take_time(struct cursor *cursor, const char *field, int64_t *out)
{
	const char *at = cursor->at;
	int64_t value = 0;

	if (!take_i64(cursor, field, &value))
		return false;
	if (value < 0 || value > QUANTITY_MAX_TIME_NS)
		return refuse(cursor, field, "a time of this era", at);
	*out = value;
	return true;
}

/* One character of a fixed set. */
static bool take_op(struct cursor *cursor, bool is_momentary, enum snap_op *out)
{
	const char *at = cursor->at;

	if (!at)
		return refuse(cursor, "operation", "one more field", NULL);
	bool is_one = at < cursor->end && (at + 1 == cursor->end || at[1] == '\t');
	bool is_known = is_one &&
			(*at == '!' || (!is_momentary && (*at == '+' || *at == '~' || *at == '-')));
	if (!is_known)
		return refuse(cursor, "operation", is_momentary ? "!" : "one of + ~ - !", at);
	*out = (enum snap_op) * at;
	step(cursor, cursor->at + 1);
	return true;
}

/* A string of any bytes. *length_out may be NULL, then it holds no NUL. */
static bool take_bytes(struct cursor *cursor, const char *field, bool may_be_unknown,
		       const char **out, size_t *length_out)
{
	char *at = cursor->at;
	bool has_nul;

	if (!at)
		return refuse(cursor, field, "one more field", NULL);
	*out = NULL;
	if (length_out)
		*length_out = 0;
	if (may_be_unknown && skip_unknown(cursor))
		return true;
	char *stop = memchr(at, '\t', (size_t)(cursor->end - at));
	if (!stop)
		stop = cursor->end;
	ptrdiff_t length =
		escape_read(at, (size_t)(stop - at), cursor->commit ? at : NULL, &has_nul);
	if (length < 0 || (has_nul && !length_out))
		return refuse(cursor, field, "text with whole escapes", at);
	step(cursor, stop);
	if (cursor->commit) {
		at[length] = '\0';
		*out = at;
	}
	if (length_out)
		*length_out = (size_t)length;
	return true;
}

static bool take_string(struct cursor *cursor, const char *field, bool may_be_unknown,
			const char **out)
{
	return take_bytes(cursor, field, may_be_unknown, out, NULL);
}

/* A field that has no escapes. */
static bool find_field(struct cursor *cursor, const char *field, size_t *length)
{
	const char *at = cursor->at;

	if (!at)
		return refuse(cursor, field, "one more field", NULL);
	while (at < cursor->end && *at != '\t')
		at++;
	*length = (size_t)(at - cursor->at);
	return true;
}

static bool take_address(struct cursor *cursor, const char *field, struct endpoint_address *out)
{
	size_t length;

	if (!find_field(cursor, field, &length))
		return false;
	if (endpoint_parse_bytes(cursor->at, length, out) != 0)
		return refuse(cursor, field, "an IPv4 or IPv6 address", cursor->at);
	step(cursor, cursor->at + length);
	return true;
}

static bool take_table(struct cursor *cursor, enum snap_table *out)
{
	size_t length;

	if (!find_field(cursor, "table", &length))
		return false;
	if (!snaprecord_table(cursor->at, length, out))
		return refuse(cursor, "table", "the name of a table of /proc/net", cursor->at);
	step(cursor, cursor->at + length);
	return true;
}

static bool take_tuple(struct cursor *cursor, enum snap_table *table, struct endpoint *local,
		       struct endpoint *remote)
{
	return take_table(cursor, table) && take_address(cursor, "local", &local->address) &&
	       take_u16(cursor, "local_port", &local->port) &&
	       take_address(cursor, "remote", &remote->address) &&
	       take_u16(cursor, "remote_port", &remote->port);
}

static bool take_kind(struct cursor *cursor, enum snap_kind *out)
{
	static const enum snap_kind all[] = {SNAP_KEY, SNAP_POLL, SNAP_EVENT};
	size_t length;

	if (!find_field(cursor, "kind", &length))
		return false;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *name = snapframe_kind_name(all[i]);

		if (strlen(name) != length || memcmp(name, cursor->at, length) != 0)
			continue;
		*out = all[i];
		step(cursor, cursor->at + length);
		return true;
	}
	return refuse(cursor, "kind", "key, poll or event", cursor->at);
}

static bool parse_frame(struct cursor *cursor, struct snap_frame *frame)
{
	const char *end;

	if (!take_u64(cursor, "sequence", &frame->sequence) || !take_kind(cursor, &frame->kind) ||
	    !take_string(cursor, "cause", false, &frame->cause) ||
	    !take_time(cursor, "begin_ns", &frame->begin_ns))
		return false;
	end = cursor->at;
	if (!take_time(cursor, "end_ns", &frame->end_ns))
		return false;
	if (frame->end_ns < frame->begin_ns)
		return refuse(cursor, "end_ns", "a time not before begin_ns", end);
	return take_time(cursor, "monotonic_ns", &frame->monotonic_ns) &&
	       take_time(cursor, "boot_ns", &frame->boot_ns);
}

/* Eight hex digits, as "%08x" writes them. */
static bool take_crc(struct cursor *cursor, uint32_t *out)
{
	uint32_t value = 0;
	size_t length;

	if (!find_field(cursor, "CRC-32", &length))
		return false;
	bool is_good = length == 8;
	for (size_t i = 0; is_good && i < length; i++) {
		char digit = cursor->at[i];

		if (digit >= '0' && digit <= '9')
			value = value << 4 | (uint32_t)(digit - '0');
		else if (digit >= 'a' && digit <= 'f')
			value = value << 4 | (uint32_t)(digit - 'a' + 10);
		else
			is_good = false;
	}
	if (!is_good)
		return refuse(cursor, "CRC-32", "8 hex digits", cursor->at);
	step(cursor, cursor->at + length);
	*out = value;
	return true;
}

static bool parse_end(struct cursor *cursor, struct snaprecord_end *end)
{
	return take_u64(cursor, "sequence", &end->sequence) &&
	       take_u64(cursor, "number of records", &end->records) && take_crc(cursor, &end->crc);
}

static bool parse_netns(struct cursor *cursor, struct snap_netns *netns)
{
	uint64_t is_capture;

	if (!take_u64(cursor, "netns", &netns->netns) ||
	    !take_u32_or(cursor, "via_pid", 0, &netns->via_pid) ||
	    !take_max(cursor, "is_capture", 1, &is_capture))
		return false;
	netns->is_capture = is_capture != 0;
	return true;
}

static bool parse_interface(struct cursor *cursor, struct snap_interface *interface)
{
	return take_u64(cursor, "netns", &interface->netns) &&
	       take_u32(cursor, "ifindex", &interface->ifindex) &&
	       take_string(cursor, "name", true, &interface->name) &&
	       take_u32_or(cursor, "hardware_type", 0, &interface->hardware_type);
}

static bool parse_address(struct cursor *cursor, struct snap_address *address)
{
	uint64_t prefix_length;

	if (!take_u64(cursor, "netns", &address->netns) ||
	    !take_u32(cursor, "ifindex", &address->ifindex) ||
	    !take_address(cursor, "address", &address->address))
		return false;
	if (!take_max(cursor, "prefix_length", endpoint_is_ipv4(&address->address) ? 32 : 128,
		      &prefix_length))
		return false;
	address->prefix_length = (uint8_t)prefix_length;
	return true;
}

static bool parse_socket(struct cursor *cursor, struct snap_socket *socket)
{
	uint64_t state = SNAP_UNKNOWN_STATE;

	if (!take_u64(cursor, "netns", &socket->netns) ||
	    !take_tuple(cursor, &socket->table, &socket->local, &socket->remote) ||
	    (!skip_unknown(cursor) && !take_max(cursor, "state", UINT8_MAX, &state)))
		return false;
	socket->state = (uint8_t)state;
	return take_u32_or(cursor, "uid", SNAP_UNKNOWN_UID, &socket->uid) &&
	       take_u32(cursor, "inode", &socket->inode) &&
	       take_u64_or(cursor, "cookie", 0, &socket->cookie) &&
	       take_u32_or(cursor, "ifindex", 0, &socket->ifindex);
}

static bool parse_process(struct cursor *cursor, struct snap_process *process)
{
	if (!take_u32(cursor, "pid", &process->pid) ||
	    !take_u64(cursor, "start_ticks", &process->start_ticks) ||
	    !take_u32_or(cursor, "ppid", 0, &process->ppid) ||
	    !take_u32_or(cursor, "uid", SNAP_UNKNOWN_UID, &process->uid) ||
	    !take_string(cursor, "comm", true, &process->comm) ||
	    !take_string(cursor, "exe", true, &process->exe) ||
	    !take_bytes(cursor, "cmdline", true, &process->cmdline, &process->cmdline_length) ||
	    !take_string(cursor, "cgroup", true, &process->cgroup) ||
	    !take_u64_or(cursor, "netns", 0, &process->netns))
		return false;
	process->exit_known = false;
	process->exit_code = 0;
	process->exit_ns = 0;
	if (!skip_unknown(cursor)) {
		int64_t code;
		char *at = cursor->at;
		if (!take_i64(cursor, "exit_code", &code))
			return false;
		if (code < INT32_MIN || code > INT32_MAX)
			return refuse(cursor, "exit_code", "a number of 32 bits", at);
		process->exit_known = true;
		process->exit_code = (int32_t)code;
	}
	return skip_unknown(cursor) || take_time(cursor, "exit_ns", &process->exit_ns);
}

static bool parse_holder(struct cursor *cursor, struct snap_holder *holder)
{
	return take_u32(cursor, "inode", &holder->inode) && take_u32(cursor, "pid", &holder->pid) &&
	       take_u64(cursor, "start_ticks", &holder->start_ticks) &&
	       take_u32(cursor, "tid", &holder->tid) && take_u32(cursor, "fd", &holder->fd);
}

static bool parse_closed(struct cursor *cursor, struct snap_closed *closed)
{
	return take_u64(cursor, "netns", &closed->netns) &&
	       take_tuple(cursor, &closed->table, &closed->local, &closed->remote) &&
	       take_u32_or(cursor, "inode", 0, &closed->inode) &&
	       take_u64_or(cursor, "cookie", 0, &closed->cookie) &&
	       take_time(cursor, "closed_ns", &closed->closed_ns) &&
	       take_u64(cursor, "bytes_acked", &closed->bytes_acked) &&
	       take_u64(cursor, "bytes_received", &closed->bytes_received) &&
	       take_u64(cursor, "bytes_sent", &closed->bytes_sent) &&
	       take_u64(cursor, "bytes_retransmitted", &closed->bytes_retransmitted) &&
	       take_u32(cursor, "segments_out", &closed->segments_out) &&
	       take_u32(cursor, "segments_in", &closed->segments_in) &&
	       take_u32(cursor, "data_segments_out", &closed->data_segments_out) &&
	       take_u32(cursor, "data_segments_in", &closed->data_segments_in);
}

static bool parse_capture(struct cursor *cursor, struct snap_capture *capture)
{
	return take_u64(cursor, "received", &capture->received) &&
	       take_u64(cursor, "dropped", &capture->dropped) &&
	       take_u64(cursor, "interface_dropped", &capture->interface_dropped) &&
	       take_u64(cursor, "written", &capture->written) &&
	       take_u64(cursor, "lost", &capture->lost);
}

static bool parse_absent(struct cursor *cursor, struct snap_absent *absent)
{
	return take_string(cursor, "what", false, &absent->what) &&
	       take_u64_or(cursor, "netns", 0, &absent->netns) &&
	       take_u32_or(cursor, "pid", 0, &absent->pid) &&
	       take_string(cursor, "subject", false, &absent->subject) &&
	       take_string(cursor, "reason", true, &absent->reason);
}

static bool take_act(struct cursor *cursor, enum snap_act *out)
{
	size_t length;

	if (!find_field(cursor, "act", &length))
		return false;
	for (enum snap_act act = SNAP_CONNECT; act < SNAP_ACT_END; act++) {
		const char *name = snap_act_name(act);

		if (strlen(name) != length || memcmp(name, cursor->at, length) != 0)
			continue;
		*out = act;
		step(cursor, cursor->at + length);
		return true;
	}
	return refuse(cursor, "act", "connect, send, receive, shut, route or several", cursor->at);
}

static bool parse_use(struct cursor *cursor, struct snap_use *use)
{
	uint64_t protocol = 0;

	if (!take_u64_or(cursor, "netns", 0, &use->netns) ||
	    !take_max(cursor, "protocol", UINT8_MAX, &protocol))
		return false;
	use->protocol = (uint8_t)protocol;
	return take_address(cursor, "local", &use->local.address) &&
	       take_u16(cursor, "local_port", &use->local.port) &&
	       take_address(cursor, "remote", &use->remote.address) &&
	       take_u16(cursor, "remote_port", &use->remote.port) &&
	       take_u64_or(cursor, "cookie", 0, &use->cookie) &&
	       take_time(cursor, "opened_ns", &use->opened_ns) && take_act(cursor, &use->act) &&
	       take_time(cursor, "at_ns", &use->at_ns) &&
	       take_time(cursor, "previous_ns", &use->previous_ns) &&
	       take_u64_or(cursor, "sent_bytes", SNAP_UNKNOWN_BYTES, &use->sent_bytes) &&
	       take_u64_or(cursor, "received_bytes", SNAP_UNKNOWN_BYTES, &use->received_bytes) &&
	       take_u32(cursor, "pid", &use->pid) &&
	       take_u64(cursor, "start_ticks", &use->start_ticks) &&
	       take_u32(cursor, "tid", &use->tid);
}

static bool parse_born(struct cursor *cursor, struct snap_born *born)
{
	return take_u32(cursor, "pid", &born->pid) &&
	       take_u64(cursor, "start_ticks", &born->start_ticks) &&
	       take_u32(cursor, "ppid", &born->ppid) &&
	       take_time(cursor, "born_ns", &born->born_ns);
}

static bool parse_exec(struct cursor *cursor, struct snap_exec *exec)
{
	return take_u32(cursor, "pid", &exec->pid) &&
	       take_u64(cursor, "start_ticks", &exec->start_ticks) &&
	       take_time(cursor, "exec_ns", &exec->exec_ns);
}

static bool is_momentary(enum snap_type type)
{
	return type == SNAP_TYPE_CLOSED || type == SNAP_TYPE_CAPTURE || type == SNAP_TYPE_CLOCK ||
	       type == SNAP_TYPE_USE || type == SNAP_TYPE_BORN || type == SNAP_TYPE_EXEC;
}

/* Records that open with an operation. */
static bool parse_stateful(struct cursor *cursor, struct snap_record *record)
{
	if (!take_op(cursor, is_momentary(record->type), &record->op))
		return false;
	switch (record->type) {
	case SNAP_TYPE_NETNS:
		return parse_netns(cursor, &record->u.netns);
	case SNAP_TYPE_INTERFACE:
		return parse_interface(cursor, &record->u.interface);
	case SNAP_TYPE_ADDRESS:
		return parse_address(cursor, &record->u.address);
	case SNAP_TYPE_SOCKET:
		return parse_socket(cursor, &record->u.socket);
	case SNAP_TYPE_PROCESS:
		return parse_process(cursor, &record->u.process);
	case SNAP_TYPE_HOLDER:
		return parse_holder(cursor, &record->u.holder);
	case SNAP_TYPE_CLOSED:
		return parse_closed(cursor, &record->u.closed);
	case SNAP_TYPE_CAPTURE:
		return parse_capture(cursor, &record->u.capture);
	case SNAP_TYPE_CLOCK:
		return take_i64(cursor, "step_ns", &record->u.clock.step_ns) &&
		       take_i64(cursor, "suspend_ns", &record->u.clock.suspend_ns);
	case SNAP_TYPE_USE:
		return parse_use(cursor, &record->u.use);
	case SNAP_TYPE_BORN:
		return parse_born(cursor, &record->u.born);
	case SNAP_TYPE_EXEC:
		return parse_exec(cursor, &record->u.exec);
	default:
		return parse_absent(cursor, &record->u.absent);
	}
}

bool snaprecord_parse(char *line, size_t length, bool commit, struct snap_record *record,
		      struct snaprecord_end *end, struct snaprecord_fault *fault)
{
	enum snap_type type = snaprecord_type(line, length);
	const char *name = snaprecord_type_name(type);
	struct cursor cursor = {.end = line + length, .commit = commit, .fault = fault};
	struct snaprecord_end unused;

	record->type = type;
	record->op = 0;
	if (type == SNAP_TYPE_OTHER)
		return true;
	cursor.at = line + strlen(name);
	step(&cursor, cursor.at);
	switch (type) {
	case SNAP_TYPE_META:
		return take_string(&cursor, "key", false, &record->u.meta.key) &&
		       take_bytes(&cursor, "value", true, &record->u.meta.value,
				  &record->u.meta.value_length);
	case SNAP_TYPE_FRAME:
		return parse_frame(&cursor, &record->u.frame);
	case SNAP_TYPE_END:
		return parse_end(&cursor, end ? end : &unused);
	default:
		return parse_stateful(&cursor, record);
	}
}
