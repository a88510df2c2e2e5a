/* Which judgement of the analysis anew stands for a connection. */
#include "analyze/explain_internal.h"

#include <stdlib.h>
#include <string.h>

#include "analyze/walk.h"

static bool is_side(const struct trace_judgement *j, int side, const struct chain_row *flow,
		    const char *end)
{
	char text[ENDPOINT_TEXT_SIZE];
	bool orig = strcmp(end, "orig") == 0;
	const char *address = chain_text(flow, orig ? "orig_address" : "resp_address");
	int64_t port = chain_number(flow, orig ? "orig_port" : "resp_port");

	return address != NULL &&
	       strcmp(endpoint_format(&j->end[side].address.address, text), address) == 0 &&
	       (port == CHAIN_NULL || port == (int64_t)j->end[side].address.port);
}

static bool is_owner(const struct trace_end *end, const struct chain_row *row)
{
	const char *reason = chain_text(row, "reason");

	if (reason != NULL)
		return end->final_reason != BRIDGE_OWNED &&
		       strcmp(bridge_reason_name(end->final_reason), reason) == 0;
	return end->final_reason == BRIDGE_OWNED &&
	       chain_number(row, "_pid") == (int64_t)end->final_process.pid &&
	       chain_number(row, "_start_ticks") == (int64_t)end->final_process.start_ticks;
}

/* What the owner counts for: more than all else together. */
#define OWNER 8

/* How well a judgement stands for a connection; 0: it is not of it. */
static int fits(const struct explain_report *report, const struct chain_row *row,
		const struct trace_judgement *j, int side)
{
	const struct chain_row *flow =
		report->flow.evidence.count > 0 ? &report->flow.evidence : &report->flow.database;
	const char *rule = chain_text(row, "rule"), *end = chain_text(row, "end");
	const struct trace_end *e = &j->end[side];

	if (end == NULL || !j->settled || !e->local || !is_side(j, side, flow, end) ||
	    j->time_ns < chain_number(row, "start_ns") || j->time_ns > chain_number(row, "end_ns"))
		return 0;
	return 1 + (is_owner(e, row) ? OWNER : 0) +
	       (rule != NULL && e->rule < BRIDGE_RULES &&
				strcmp(rule, bridge_rule_name(e->rule)) == 0
			? 4
			: 0) +
	       ((int64_t)e->frame.sequence == chain_number(row, "_sequence") ? 2 : 0);
}

/* ---------------------------------------------------------------- in order -- */

/* So many judgements are looked at for all connections of a flow together: thousands of owners
 * with thousands of turns are not all held against each other. */
#define LOOKS	  10000000
#define MIN_LOOKS 100

/* One end as it was judged. */
struct explain_judged {
	const struct trace_judgement *judgement;
	const struct explain_segment *segment;
	size_t place; /* in order of time */
	int side;
};

static const struct trace_end *end_of(const struct explain_judged *item)
{
	return &item->judgement->end[item->side];
}

/* By owner, and of one owner by time. */
static int compare_owners(const struct trace_process *p, enum bridge_reason p_reason,
			  const struct trace_process *q, enum bridge_reason q_reason)
{
	if (p_reason != q_reason)
		return p_reason < q_reason ? -1 : 1;
	if (p->pid != q->pid)
		return p->pid < q->pid ? -1 : 1;
	return (p->start_ticks > q->start_ticks) - (p->start_ticks < q->start_ticks);
}

static int compare_judged(const void *a, const void *b)
{
	const struct explain_judged *p = a, *q = b;
	int order = compare_owners(&end_of(p)->final_process, end_of(p)->final_reason,
				   &end_of(q)->final_process, end_of(q)->final_reason);

	return order != 0 ? order : (p->place > q->place) - (p->place < q->place);
}

int explain_sort_judgements(struct explain_report *report, struct error *error)
{
	size_t count = 0;

	for (size_t i = 0; i < report->segment_count; i++)
		count += 2 * report->segments[i].trace.count;
	report->judged = calloc(count + 1, sizeof(*report->judged));
	if (report->judged == NULL)
		return explain_no_memory(error);
	for (size_t i = 0; i < report->segment_count; i++) {
		const struct explain_segment *s = &report->segments[i];

		for (size_t n = 0; n < 2 * s->trace.count; n++) {
			size_t place = report->judged_count++;

			report->judged[place] = (struct explain_judged){
				.judgement = &s->trace.items[n / 2],
				.segment = s,
				.place = place,
				.side = (int)(n % 2),
			};
		}
	}
	qsort(report->judged, report->judged_count, sizeof(*report->judged), compare_judged);
	return 0;
}

/* Where the judgements of a connection's owner begin. */
static size_t first_of_owner(const struct explain_report *report, const struct chain_row *row)
{
	const char *text = chain_text(row, "reason");
	struct trace_process owner = {0};
	enum bridge_reason reason = BRIDGE_OWNED;
	size_t low = 0, high = report->judged_count;

	for (int r = 0; text != NULL && r < BRIDGE_REASONS; r++) {
		const char *name = bridge_reason_name((enum bridge_reason)r);

		if (name != NULL && strcmp(name, text) == 0)
			reason = (enum bridge_reason)r;
	}
	if (text == NULL) {
		owner.pid = (uint32_t)chain_number(row, "_pid");
		owner.start_ticks = (uint64_t)chain_number(row, "_start_ticks");
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct trace_end *end = end_of(&report->judged[middle]);

		walk_step();
		if (compare_owners(&end->final_process, end->final_reason, &owner, reason) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int explain_find_judgement(const struct explain_report *report, struct explain_connection *c,
			   size_t connections)
{
	const struct chain_row *row =
		c->row.evidence.count > 0 ? &c->row.evidence : &c->row.database;
	size_t first = first_of_owner(report, row), looks = LOOKS / (connections + 1);
	size_t place = SIZE_MAX;
	int best = 0;

	if (looks < MIN_LOOKS)
		looks = MIN_LOOKS;
	/* The owner's come first, and if one fits, no other's does better. */
	for (size_t i = 0; i < report->judged_count && i < looks; i++) {
		const struct explain_judged *item =
			&report->judged[(first + i) % report->judged_count];
		int score = fits(report, row, item->judgement, item->side);

		walk_step();
		if (best >= OWNER && score < OWNER && !is_owner(end_of(item), row))
			break;
		if (score == 0 || score < best || (score == best && item->place > place))
			continue;
		best = score;
		place = item->place;
		c->judged = item->judgement;
		c->side = item->side;
		c->pcap = item->segment->pcap;
		c->snap = item->segment->snap;
	}
	return best;
}

/* ------------------------------------------------------- owners of one packet -- */

static const char *end_of_row(const struct explain_link *row)
{
	const char *end =
		chain_text(row->database.count > 0 ? &row->database : &row->evidence, "end");

	return end == NULL ? "" : end;
}

int explain_mark_judged(const struct explain_report *report, const struct explain_links *rows,
			bool *judged, struct error *error)
{
	static const char *const ends[] = {"orig", "resp"};
	int *scores = calloc(rows->count + 1, sizeof(*scores)), best[2] = {0, 0};

	if (scores == NULL)
		return explain_no_memory(error);
	for (size_t i = 0; i < rows->count; i++) {
		struct explain_connection probe = {.row = rows->items[i]};

		scores[i] = explain_find_judgement(report, &probe, rows->count);
		for (int e = 0; e < 2; e++) {
			if (strcmp(end_of_row(&rows->items[i]), ends[e]) == 0 &&
			    scores[i] > best[e])
				best[e] = scores[i];
		}
	}
	for (size_t i = 0; i < rows->count; i++) {
		const char *end = end_of_row(&rows->items[i]);
		int most = strcmp(end, ends[0]) == 0   ? best[0]
			   : strcmp(end, ends[1]) == 0 ? best[1]
						       : scores[i];

		judged[i] = scores[i] > 0 && scores[i] == most;
	}
	free(scores);
	return 0;
}
