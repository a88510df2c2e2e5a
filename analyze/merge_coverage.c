#include "analyze/merge_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int merge_cover(struct merge *merge, struct store_coverage *row, struct error *error)
{
	row->coverage_id = ++merge->coverage_id;
	row->recording_id = merge->recording->recording_id;
	row->segment_id = merge->row.segment_id;
	return store_coverage(merge->store, row, error);
}

static int cover_absences(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;

	for (size_t i = 0; i < tl->count.absences; i++) {
		const struct timeline_absence *a = &tl->absences[i];
		uint32_t last = (uint32_t)tl->count.frames - 1;
		struct store_coverage row = {
			.kind = "unreadable",
			.begin_ns = tl->frames[a->frame].begin_ns,
			.end_ns = tl->frames[a->until == TIMELINE_NONE ? last : a->until].end_ns,
			.count = 1,
		};
		char subject[256];

		/* A table that the kernel does not have hides nothing. */
		if (a->what != NULL && a->reason != NULL && strcmp(a->what, "table") == 0 &&
		    strcmp(a->reason, "ENOENT") == 0)
			continue;
		if (a->pid != 0)
			snprintf(subject, sizeof(subject), "%s of pid %" PRIu32 "%s%s",
				 a->what != NULL ? a->what : "", a->pid,
				 a->subject != NULL && *a->subject != '\0' ? " " : "",
				 a->subject != NULL ? a->subject : "");
		else
			snprintf(subject, sizeof(subject), "%s%s%s", a->what != NULL ? a->what : "",
				 a->subject != NULL && *a->subject != '\0' ? " " : "",
				 a->subject != NULL ? a->subject : "");
		row.subject = subject;
		row.detail = a->reason;
		if (merge_cover(merge, &row, error) != 0)
			return error->code;
	}
	return 0;
}

static int cover_steps(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;

	for (size_t i = 0; i < tl->count.steps; i++) {
		const struct timeline_step *step = &tl->steps[i];
		const struct timeline_frame *frame = &tl->frames[step->frame];
		char detail[96];
		struct store_coverage row = {
			.kind = step->step_ns != 0 ? "clock-step" : "suspended",
			.begin_ns = step->frame > 0 ? tl->frames[step->frame - 1].end_ns
						    : frame->begin_ns,
			.end_ns = frame->end_ns,
			.count = 1,
			.detail = detail,
		};

		snprintf(detail, sizeof(detail), "step %" PRId64 " ns, suspended %" PRId64 " ns",
			 step->step_ns, step->suspend_ns);
		if (merge_cover(merge, &row, error) != 0)
			return error->code;
	}
	return 0;
}

/* Readings further apart than this many intervals are a gap. */
#define GAP_INTERVALS 5

static int cover_gaps(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	int64_t interval = merge_meta_number(merge, "interval_ns");
	uint32_t previous = TIMELINE_NONE;

	if (interval <= 0 || interval > INT64_MAX / GAP_INTERVALS)
		return 0;
	for (uint32_t i = 0; i < tl->count.frames; i++) {
		const struct timeline_frame *frame = &tl->frames[i];
		struct store_coverage row = {.kind = "gap", .count = 1};

		if (frame->kind == SNAP_EVENT)
			continue;
		if (previous != TIMELINE_NONE &&
		    frame->begin_ns - tl->frames[previous].end_ns > interval * GAP_INTERVALS) {
			row.begin_ns = tl->frames[previous].end_ns;
			row.end_ns = frame->begin_ns;
			row.detail = "no complete snapshot in between";
			if (merge_cover(merge, &row, error) != 0)
				return error->code;
		}
		previous = i;
	}
	return 0;
}

/* What a counter grew by; more than any count: it is none of one capture. */
static uint64_t growth(uint64_t from, uint64_t to)
{
	return to >= from && to - from <= STORE_MAX_COUNT ? to - from
							  : (uint64_t)STORE_MAX_COUNT + 1;
}

/* Counters are cumulative, and the reading at a rotation stands in both
 * segments: the first of them counts up to it, the second from it on. */
static int cover_drops(struct merge *merge, struct error *error)
{
	const struct timeline *tl = merge->timeline;
	struct snap_capture base = {0};
	const struct snap_capture *now = &tl->capture_last;
	uint64_t dropped;
	char detail[160];
	struct store_coverage row = {.kind = "dropped", .detail = detail};

	merge->row.dropped = tl->has_capture ? 0 : STORE_NULL;
	if (!tl->has_capture)
		return 0;
	if (tl->frames[0].restated)
		base = tl->capture_first;
	dropped = growth(base.dropped, now->dropped) +
		  growth(base.interface_dropped, now->interface_dropped) +
		  growth(base.lost, now->lost);
	if (dropped > STORE_MAX_COUNT)
		dropped = 0; /* no counters of one capture */
	merge->row.dropped = (int64_t)dropped;
	if (dropped == 0)
		return 0;
	row.begin_ns = tl->frames[0].begin_ns;
	row.end_ns = tl->frames[tl->count.frames - 1].end_ns;
	row.count = (int64_t)dropped;
	snprintf(detail, sizeof(detail),
		 "%" PRIu64 " by the kernel, %" PRIu64 " by the interface, %" PRIu64
		 " by the recorder",
		 now->dropped - base.dropped, now->interface_dropped - base.interface_dropped,
		 now->lost - base.lost);
	return merge_cover(merge, &row, error);
}

static int cover_missing(struct merge *merge, const struct merge_segment *segment,
			 struct error *error)
{
	struct merge_recording *recording = merge->recording;
	uint64_t previous = recording->last_number;
	char subject[64];
	struct store_coverage row = {
		.kind = "missing",
		.begin_ns = STORE_NULL,
		.end_ns = STORE_NULL,
		.subject = subject,
		.detail = "expired, not given to analyze, or it could not be read"};

	if (segment->number == 0)
		return 0;
	if (segment->number > previous)
		recording->last_number = segment->number;
	if (previous == 0 || segment->number <= previous + 1)
		return 0;
	row.count = (int64_t)(segment->number - previous - 1);
	snprintf(subject, sizeof(subject), "segments %" PRIu64 " to %" PRIu64, previous + 1,
		 segment->number - 1);
	return merge_cover(merge, &row, error);
}

static int cover_limit(struct merge *merge, struct error *error)
{
	struct store_coverage row = {.kind = "limit",
				     .begin_ns = STORE_NULL,
				     .end_ns = STORE_NULL,
				     .count = 1,
				     .subject = "holders",
				     .detail = "far more holders than sockets can have: the rest "
					       "are not stored"};

	return merge->holders_left > 0 || merge->timeline->count.holders == 0
		       ? 0
		       : merge_cover(merge, &row, error);
}

/* Written by a later version: what they say is not known here. */
static int cover_unknown(struct merge *merge, struct error *error)
{
	uint64_t count = merge->timeline->unknown_records;
	struct store_coverage row = {.kind = "unknown-records",
				     .begin_ns = STORE_NULL,
				     .end_ns = STORE_NULL,
				     .count = (int64_t)count,
				     .subject = merge->row.snap_name,
				     .detail = "records of kinds that this version does not read: "
					       "a later one does"};

	return count == 0 ? 0 : merge_cover(merge, &row, error);
}

int merge_state_coverage(struct merge *merge, struct error *error)
{
	struct merge_segment segment = {
		.number = (uint64_t)(merge->row.number > 0 ? merge->row.number : 0)};
	struct store_coverage none = {.kind = "no-snapshot",
				      .begin_ns = merge->row.first_packet_ns,
				      .end_ns = merge->row.last_packet_ns,
				      .count = merge->row.packets,
				      .detail = "no snapshots: nothing can be attributed"};
	struct store_coverage torn = {.kind = "torn",
				      .begin_ns = merge->row.last_packet_ns,
				      .end_ns = STORE_NULL,
				      .count = 1,
				      .subject = merge->row.pcap_name,
				      .detail = "closed up after a crash of the recorder; "
						"custody.log says what was cut"};
	int status = cover_missing(merge, &segment, error);

	if (status == 0 && strcmp(merge->row.state, "repaired") == 0)
		status = merge_cover(merge, &torn, error);
	if (status == 0)
		status = cover_unknown(merge, error);
	if (status == 0 && merge->timeline->count.frames == 0)
		return merge_cover(merge, &none, error);
	if (status == 0)
		status = cover_absences(merge, error);
	if (status == 0)
		status = cover_limit(merge, error);
	if (status == 0)
		status = cover_steps(merge, error);
	if (status == 0)
		status = cover_gaps(merge, error);
	if (status == 0)
		status = cover_drops(merge, error);
	return status;
}
