#include "analyze/load_begins.h"

#include <string.h>

#include "analyze/pcapin.h"
#include "snapshot/format/snapfile.h"

/* What the end of the one file, or a difference, means. */
static int judge(int of_damaged, int of_whole, bool same)
{
	if (of_damaged == 0 || of_damaged == ERROR_DAMAGED)
		return 1;
	if (of_damaged < 0)
		return of_damaged;
	if (of_whole == 0 || of_whole == ERROR_DAMAGED || of_whole == ERROR_NO_INPUT)
		return 0;
	return of_whole < 0 ? of_whole : same;
}

static int interrupted(const volatile sig_atomic_t *stop, struct error *error)
{
	return stop != NULL && *stop != 0
		       ? error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted")
		       : 0;
}

static bool same_packet(const struct pcapin_packet *a, const struct pcapin_packet *b)
{
	return a->time_ns == b->time_ns && a->captured_bytes == b->captured_bytes &&
	       a->original_bytes == b->original_bytes && a->link_type == b->link_type &&
	       memcmp(a->data, b->data, a->captured_bytes) == 0;
}

int load_begins_pcap(const struct input *damaged, const struct input *whole,
		     const volatile sig_atomic_t *stop, struct error *error)
{
	struct pcapin *of = NULL, *in = NULL;
	struct pcapin_packet a, b;
	int status, opened;

	/* It went away. */
	if (damaged->pcap == NULL)
		return 1;
	status = input_open_pcap(damaged, false, &of, error);
	if (status != 0)
		return status == ERROR_DAMAGED ? 1 : status;
	opened = whole->pcap == NULL ? ERROR_NO_INPUT : input_open_pcap(whole, false, &in, error);
	status = judge(1, opened == 0 ? 1 : opened, true);
	while (status == 1) {
		int of_damaged = pcapin_next(of, &a, error), of_whole = 1;

		if (of_damaged == 1)
			of_whole = pcapin_next(in, &b, error);
		status = judge(of_damaged, of_whole,
			       of_damaged == 1 && of_whole == 1 && same_packet(&a, &b));
		if (of_damaged != 1)
			break;
		if (status == 1 && interrupted(stop, error) != 0)
			status = ERROR_INTERRUPTED;
	}
	pcapin_close(of);
	pcapin_close(in);
	return status;
}

/* 1: the end of a frame, 0, negative. */
static int next_frame(struct snapfile_reader *reader, struct snap_frame *out, struct error *error)
{
	struct snap_record record;
	int status;

	do {
		status = snapfile_next(reader, &record, error);
	} while (status == 1 && record.type != SNAP_TYPE_END);
	if (status == 1)
		*out = record.u.frame;
	return status;
}

int load_begins_snap(const struct input *damaged, const struct input *whole,
		     const volatile sig_atomic_t *stop, struct error *error)
{
	struct snapfile_reader *of = NULL, *in = NULL;
	struct snap_frame a, b;
	int status, opened;

	if (damaged->snap == NULL)
		return 1;
	status = input_open_snap(damaged, &of, error);
	if (status != 0)
		return status == ERROR_DAMAGED ? 1 : status;
	opened = whole->snap == NULL ? ERROR_NO_INPUT : input_open_snap(whole, &in, error);
	status = judge(1, opened == 0 ? 1 : opened, true);
	while (status == 1) {
		int of_damaged = next_frame(of, &a, error), of_whole = 1;

		if (of_damaged == 1)
			of_whole = next_frame(in, &b, error);
		status = judge(of_damaged, of_whole,
			       of_damaged == 1 && of_whole == 1 && a.sequence == b.sequence &&
				       a.crc32 == b.crc32);
		if (of_damaged != 1)
			break;
		if (status == 1 && interrupted(stop, error) != 0)
			status = ERROR_INTERRUPTED;
	}
	snapfile_close(of);
	snapfile_close(in);
	return status;
}
