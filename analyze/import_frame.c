/* What all inputs show together: each thing once, in order, with the addresses that sockets prove
 * and with what was not given; and the frame of it. */
#include "analyze/import_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/format/endpoint.h"

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_pids(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return compare_u64(*x, *y);
}

static int compare_holders(const void *a, const void *b)
{
	const struct snap_holder *x = a, *y = b;
	int order = compare_u64(x->inode, y->inode);

	if (!order)
		order = compare_u64(x->pid, y->pid);
	if (!order)
		order = compare_u64(x->tid, y->tid);
	return order ? order : compare_u64(x->fd, y->fd);
}

/* By address alone, longest prefix last: the one given by hand tells more
 * than the bare address that a socket proves, and stays. */
static int compare_addresses(const void *a, const void *b)
{
	const struct snap_address *x = a, *y = b;
	int order = memcmp(x->address.bytes, y->address.bytes, sizeof(x->address.bytes));

	return order ? order : compare_u64(x->prefix_length, y->prefix_length);
}

static int same_address(const void *a, const void *b)
{
	const struct snap_address *x = a, *y = b;

	return memcmp(x->address.bytes, y->address.bytes, sizeof(x->address.bytes));
}

static int compare_absences(const void *a, const void *b)
{
	const struct import_absence *x = a, *y = b;
	int order = strcmp(x->what, y->what);

	if (!order)
		order = compare_u64(x->pid, y->pid);
	if (!order)
		order = strcmp(x->subject, y->subject);
	return order ? order : strcmp(x->reason, y->reason);
}

/* Sorts and keeps the first of those that same() finds alike; returns how many. */
static size_t sort_unique(void *array, size_t count, size_t size,
			  int (*compare)(const void *, const void *),
			  int (*same)(const void *, const void *))
{
	char *rows = array;
	size_t kept = count ? 1 : 0;

	if (!count)
		return 0;
	qsort(array, count, size, compare);
	for (size_t i = 1; i < count; i++) {
		if (!same(rows + (kept - 1) * size, rows + i * size))
			continue;
		if (kept != i)
			memcpy(rows + kept * size, rows + i * size, size);
		kept++;
	}
	return kept;
}

/* A connected socket has its local end on this host, and so has a TCP listener
 * that is bound to one address. */
static bool proves_address(const struct snap_socket *socket)
{
	if (socket->table == SNAP_PACKET || endpoint_is_any(&socket->local.address) ||
	    endpoint_is_multicast(&socket->local.address) ||
	    endpoint_is_broadcast(&socket->local.address))
		return false;
	return !endpoint_is_any(&socket->remote.address) ||
	       (snap_table_protocol(socket->table) == IPPROTO_TCP && socket->state == SNAP_LISTEN);
}

static int add_proven_addresses(struct import_state *state, struct error *error)
{
	static const uint8_t v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
	struct endpoint_address loopback4 = endpoint_from_ipv4(v4);
	struct endpoint_address loopback6 = endpoint_from_ipv6(v6);
	const struct endpoint_address *last = NULL;
	int status = import_add_address(state, &loopback4, 8, error);

	if (!status)
		status = import_add_address(state, &loopback6, 128, error);
	for (size_t i = 0; i < state->sockets.count && !status; i++) {
		const struct snap_socket *socket = &state->sockets.rows[i];

		/* Rows are in order of their address: most repeat it. */
		if (!proves_address(socket) ||
		    (last && endpoint_equal(last, &socket->local.address)))
			continue;
		last = &socket->local.address;
		status = import_add_address(state, last, endpoint_is_ipv4(last) ? 32 : 128, error);
	}
	return status;
}

/* A packet of a protocol whose table was not given, or of a socket whose
 * holder nobody listed, has no owner for that reason and not for another. */
static int add_what_was_not_given(struct import_state *state, struct error *error)
{
	int status = import_add_absence(state, SNAP_ADD, "descriptors", 0,
					"processes that are not listed", "not given", error);

	for (int table = SNAP_TCP; table <= SNAP_PACKET && !status; table++)
		if (!state->tables_given[table])
			status = import_add_absence(state, SNAP_ADD, "table", 0,
						    snap_table_name((enum snap_table)table),
						    "not given", error);
	return status;
}

int import_state_finish(struct import_state *state, struct error *error)
{
	int status;

	procnet_rows_sort(&state->sockets, 0);
	status = add_proven_addresses(state, error);
	if (!status)
		status = add_what_was_not_given(state, error);
	if (status)
		return status;
	state->pid_count = sort_unique(state->pids, state->pid_count, sizeof(*state->pids),
				       compare_pids, compare_pids);
	state->holder_count =
		sort_unique(state->holders, state->holder_count, sizeof(*state->holders),
			    compare_holders, compare_holders);
	state->address_count =
		sort_unique(state->addresses, state->address_count, sizeof(*state->addresses),
			    compare_addresses, same_address);
	state->absence_count =
		sort_unique(state->absences, state->absence_count, sizeof(*state->absences),
			    compare_absences, compare_absences);
	return 0;
}

static int compare_inode(const void *key, const void *row)
{
	const uint32_t *inode = key;
	const struct snap_holder *holder = row;

	return compare_u64(*inode, holder->inode);
}

size_t import_state_held(const struct import_state *state)
{
	size_t held = 0;

	if (!state->holder_count)
		return 0;
	for (size_t i = 0; i < state->sockets.count; i++)
		held += bsearch(&state->sockets.rows[i].inode, state->holders, state->holder_count,
				sizeof(*state->holders), compare_inode) != NULL;
	return held;
}

static void frame_processes(const struct import_state *state, struct snapframe *frame)
{
	struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_ADD};

	for (size_t i = 0; i < state->pid_count; i++) {
		record.u.process =
			(struct snap_process){.pid = state->pids[i], .uid = SNAP_UNKNOWN_UID};
		snapframe_add(frame, &record);
	}
}

void import_state_frame(const struct import_state *state, struct snapframe *frame)
{
	struct snap_record record = {.type = SNAP_TYPE_NETNS, .op = SNAP_ADD};

	record.u.netns = (struct snap_netns){.netns = IMPORT_NETNS, .is_capture = true};
	snapframe_add(frame, &record);
	record.type = SNAP_TYPE_ADDRESS;
	for (size_t i = 0; i < state->address_count; i++) {
		record.u.address = state->addresses[i];
		snapframe_add(frame, &record);
	}
	record.type = SNAP_TYPE_SOCKET;
	for (size_t i = 0; i < state->sockets.count; i++) {
		record.u.socket = state->sockets.rows[i];
		snapframe_add(frame, &record);
	}
	frame_processes(state, frame);
	record.type = SNAP_TYPE_HOLDER;
	for (size_t i = 0; i < state->holder_count; i++) {
		record.u.holder = state->holders[i];
		snapframe_add(frame, &record);
	}
	record.type = SNAP_TYPE_ABSENT;
	for (size_t i = 0; i < state->absence_count; i++) {
		const struct import_absence *absence = &state->absences[i];

		record.op = absence->op;
		record.u.absent = (struct snap_absent){
			.what = absence->what,
			.netns = strcmp(absence->what, "table") ? 0 : IMPORT_NETNS,
			.pid = absence->pid,
			.subject = absence->subject,
			.reason = absence->reason,
		};
		snapframe_add(frame, &record);
	}
}
