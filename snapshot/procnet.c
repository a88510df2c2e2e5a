#include "snapshot/procnet.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/quantity.h"
#include "snapshot/tcpdiag.h"

/* tcp6 has rows of at most 210 bytes (net/ipv6/tcp_ipv6.c), tcp of 150. */
#define TCP_ROW_BYTES 256

static bool is_tcp(enum snap_table table)
{
	return snap_table_protocol(table) == IPPROTO_TCP;
}

static int read_table(int net_fd, uint64_t netns, enum snap_table table,
		      struct procfs_text *scratch, struct procnet_rows *rows,
		      struct procnet_gaps *gaps, struct error *error)
{
	const char *name = snap_table_name(table);
	int result = procfs_read_table(net_fd, name, is_tcp(table) ? TCP_ROW_BYTES : 0, scratch);

	gaps->reason[table] = result;
	if (result == ENOMEM)
		return error_set(error, ERROR_MEMORY, name, -1, "out of memory");
	if (result)
		return 0;
	result = procnet_text_parse(table, __BYTE_ORDER == __BIG_ENDIAN, netns, name, scratch->text,
				    scratch->length, rows, &gaps->bad_rows[table], NULL);
	return result ? error_set(error, result, name, -1, "out of memory") : 0;
}

static int read_tables(int net_fd, uint64_t netns, bool dumped, size_t first,
		       struct procfs_text *scratch, struct procnet_rows *rows,
		       struct procnet_gaps *gaps, struct error *error)
{
	int result = 0;

	memset(gaps, 0, sizeof(*gaps));
	for (enum snap_table table = SNAP_TCP; table < SNAP_TABLE_END && !result; table++) {
		if (!dumped || !is_tcp(table))
			result = read_table(net_fd, netns, table, scratch, rows, gaps, error);
		else if (faccessat(net_fd, snap_table_name(table), F_OK, 0))
			gaps->reason[table] = errno; /* a kernel without IPv6 */
	}
	procnet_rows_sort(rows, first);
	return result;
}

int procnet_read(int net_fd, uint64_t netns, struct procfs_text *scratch, struct procnet_rows *rows,
		 struct procnet_gaps *gaps, struct error *error)
{
	return read_tables(net_fd, netns, false, rows->count, scratch, rows, gaps, error);
}

int procnet_read_inside(int net_fd, uint64_t netns, struct procfs_text *scratch,
			struct procnet_rows *rows, struct procnet_gaps *gaps, struct error *error)
{
	size_t first = rows->count;
	bool dumped = tcpdiag_read(netns, scratch, rows) == 0;

	return read_tables(net_fd, netns, dumped, first, scratch, rows, gaps, error);
}

struct entry {
	int netns_fd;
	void (*run)(void *context);
	void *context;
	int result;
	int64_t cost_ns;
};

static void *enter(void *argument)
{
	struct entry *entry = argument;

	if (setns(entry->netns_fd, CLONE_NEWNET))
		entry->result = errno;
	else
		entry->run(entry->context);
	entry->cost_ns = quantity_now_ns(CLOCK_THREAD_CPUTIME_ID);
	return NULL;
}

int procnet_enter(int netns_fd, void (*run)(void *context), void *context, int64_t *cost_ns)
{
	struct entry entry = {.netns_fd = netns_fd, .run = run, .context = context};
	sigset_t all, before;
	pthread_t thread;
	int result;

	/* Signals belong to the threads that wait for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&thread, NULL, enter, &entry);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result)
		return result;
	pthread_join(thread, NULL);
	*cost_ns += entry.cost_ns;
	return entry.result;
}
