#include "snapshot/quota.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/format/pcapindex.h"
#include "snapshot/format/quantity.h"

static uint64_t size_of(const struct evidence_segment *segment)
{
	return segment->pcap_bytes + segment->both_bytes + segment->snap_bytes +
	       segment->index_bytes;
}

static uint64_t wanted_free(const struct quota *quota, const struct quota_space *space)
{
	/* Divided first: a file system of petabytes times a million overflows. */
	uint64_t share = space->total_bytes / 1000000 * quota->keep_free_ppm;

	return share > quota->keep_free_bytes ? share : quota->keep_free_bytes;
}

static bool is_finished(const struct evidence_segment *segment)
{
	return (*segment->pcap || *segment->snap) && !segment->pcap_is_part &&
	       !segment->snap_is_part;
}

/* What is being written is newer than all that is finished; a .pcap.gz.part is what a
 * compression made. */
static bool is_recording(const struct evidence_segment *segment)
{
	return segment->snap_is_part ||
	       (segment->pcap_is_part &&
		!evidence_has_suffix(segment->pcap, EVIDENCE_PCAP_GZ EVIDENCE_PART));
}

/* How many of the list can go, as far as their age says: those before the last finished one,
 * and it too while a newer one is being written. used: bytes of all that counts. */
static size_t count_old(const struct evidence_list *list, uint64_t *used)
{
	size_t count = list->count;
	bool recording = false;

	*used = 0;
	for (; count > 0 && !is_finished(&list->segments[count - 1]); count--) {
		if (!is_recording(&list->segments[count - 1]))
			continue;
		recording = true;
		*used += size_of(&list->segments[count - 1]);
	}
	for (size_t i = 0; i < count; i++) {
		if (is_finished(&list->segments[i]))
			*used += size_of(&list->segments[i]);
	}
	return count > 0 && !recording ? count - 1 : count;
}

size_t quota_choose(const struct quota *quota, const struct evidence_list *list,
		    const struct quota_space *space, int64_t now_ns,
		    const struct evidence_segment **first, const char **reason)
{
	uint64_t used, free_bytes = space->free_bytes;
	size_t old = count_old(list, &used), chosen = 0;

	*first = NULL;
	*reason = NULL;
	for (size_t i = 0; i < old; i++) {
		const struct evidence_segment *segment = &list->segments[i];
		int64_t end_ns = segment[1].stem.opened_ns;

		if (!is_finished(segment))
			continue;
		if (quota->keep_size && used > quota->keep_size)
			*reason = "more than --keep-size";
		else if (quota->keep_time_ns && now_ns - end_ns > quota->keep_time_ns)
			*reason = "older than --keep-time";
		else if (free_bytes < wanted_free(quota, space))
			*reason = "less than --keep-free left";
		else
			break;
		if (chosen++ == 0)
			*first = segment;
		used -= size_of(segment);
		free_bytes += size_of(segment);
	}
	return chosen;
}

static int expire_file(struct segment_store *store, const char *name, uint64_t bytes,
		       const char *reason, struct error *error)
{
	int status;

	if (!*name)
		return 0;
	status = segment_log(store, "expire", name, (int64_t)bytes, NULL, reason, error);
	if (status)
		return status;
	if (unlinkat(store->dirfd, name, 0) != 0 && errno != ENOENT)
		return error_errno(error, store->path, "deleting %s", name);
	return 0;
}

/* Before the file that it is of; not logged, as it says nothing of its own. */
static int expire_index(struct segment_store *store, const struct evidence_segment *segment,
			struct error *error)
{
	char pcap[EVIDENCE_NAME_SIZE], name[PCAPINDEX_NAME_SIZE];

	evidence_name(&segment->stem, EVIDENCE_PCAP_GZ, pcap);
	pcapindex_name(pcap, name);
	if (unlinkat(store->dirfd, name, 0) != 0 && errno != ENOENT)
		return error_errno(error, store->path, "deleting %s", name);
	return 0;
}

/* A compressed pcap beside the plain one. */
static int expire_other(struct segment_store *store, const struct evidence_segment *segment,
			const char *reason, struct error *error)
{
	char name[EVIDENCE_NAME_SIZE];

	if (!segment->has_both)
		return 0;
	evidence_name(&segment->stem, EVIDENCE_PCAP_GZ, name);
	return expire_file(store, name, segment->both_bytes, reason, error);
}

/* What a compression holds is not there for long, and no reason that anything else goes. */
static struct quota_space look_at_space(struct segment_store *store)
{
	struct quota_space space = {0, UINT64_MAX};
	struct statvfs fs;

	pthread_mutex_lock(&store->lending);
	if (fstatvfs(store->dirfd, &fs) == 0)
		space = (struct quota_space){(uint64_t)fs.f_blocks * fs.f_frsize,
					     (uint64_t)fs.f_bavail * fs.f_frsize +
						     store->lent_bytes};
	pthread_mutex_unlock(&store->lending);
	return space;
}

/* One segment at a time, and the limits looked at anew: the reason is each one's own. With the
 * store's lock. */
static int expire_first(const struct quota *quota, struct segment_store *store, bool *done,
			struct error *error)
{
	const struct evidence_segment *first;
	struct evidence_list list;
	struct quota_space space;
	const char *reason;
	int status = evidence_list_read(store->dirfd, store->path, &list, error);

	if (status)
		return status;
	space = look_at_space(store);
	*done = quota_choose(quota, &list, &space, quantity_now_ns(CLOCK_REALTIME), &first,
			     &reason) == 0;
	if (*done)
		goto out;
	status = expire_index(store, first, error);
	if (!status)
		status = expire_other(store, first, reason, error);
	if (!status)
		status = expire_file(store, first->pcap, first->pcap_bytes, reason, error);
	if (!status)
		status = expire_file(store, first->snap, first->snap_bytes, reason, error);
	if (!status && fsync(store->dirfd) != 0)
		status = error_errno(error, store->path, "syncing the directory");
out:
	evidence_list_release(&list);
	return status;
}

int quota_apply(const struct quota *quota, struct segment_store *store, uint64_t *expired,
		struct error *error)
{
	bool done = false;
	int status = 0;

	*expired = 0;
	if (!quota->keep_size && !quota->keep_time_ns && !quota->keep_free_bytes &&
	    !quota->keep_free_ppm)
		return 0;
	while (!status && !done) {
		pthread_mutex_lock(&store->finished);
		status = expire_first(quota, store, &done, error);
		pthread_mutex_unlock(&store->finished);
		if (!status && !done)
			++*expired;
	}
	return status;
}
