#include "snapshot/procnet.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

int procnet_read(int net_fd, uint64_t netns, struct procfs_text *scratch, struct procnet_rows *rows,
		 struct procnet_gaps *gaps, struct error *error)
{
	memset(gaps, 0, sizeof(*gaps));
	for (enum snap_table table = SNAP_TCP; table < SNAP_TABLE_END; table++) {
		const char *name = snap_table_name(table);
		size_t from = rows->count;
		int result = procfs_read_file(net_fd, name, 0, scratch);

		gaps->reason[table] = result;
		if (result == ENOMEM)
			return error_set(error, ERROR_MEMORY, name, -1, "out of memory");
		if (result)
			continue;
		result = procnet_text_parse(table, __BYTE_ORDER == __BIG_ENDIAN, netns, name,
					    scratch->text, scratch->length, rows,
					    &gaps->bad_rows[table], NULL);
		if (result)
			return error_set(error, result, name, -1, "out of memory");
		procnet_rows_sort(rows, from);
	}
	return 0;
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
	struct timespec cost;

	if (setns(entry->netns_fd, CLONE_NEWNET))
		entry->result = errno;
	else
		entry->run(entry->context);
	if (!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cost))
		entry->cost_ns = (int64_t)cost.tv_sec * 1000000000 + cost.tv_nsec;
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
