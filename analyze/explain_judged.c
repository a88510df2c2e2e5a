/* Which judgement of the analysis anew stands for a connection. */
#include "analyze/explain_internal.h"

#include <string.h>

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
	return 1 + (is_owner(e, row) ? 8 : 0) +
	       (rule != NULL && e->rule < BRIDGE_RULES &&
				strcmp(rule, bridge_rule_name(e->rule)) == 0
			? 4
			: 0) +
	       ((int64_t)e->frame.sequence == chain_number(row, "_sequence") ? 2 : 0);
}

int explain_find_judgement(const struct explain_report *report, struct explain_connection *c)
{
	const struct chain_row *row =
		c->row.evidence.count > 0 ? &c->row.evidence : &c->row.database;
	int best = 0;

	for (size_t i = 0; i < report->segment_count; i++) {
		const struct explain_segment *s = &report->segments[i];

		for (size_t n = 0; n < s->trace.count; n++) {
			for (int side = 0; side < 2; side++) {
				int score = fits(report, row, &s->trace.items[n], side);

				if (score <= best)
					continue;
				best = score;
				c->judged = &s->trace.items[n];
				c->side = side;
				c->pcap = s->pcap;
				c->snap = s->snap;
			}
		}
	}
	return best;
}

static int score_of(const struct explain_report *report, const struct explain_link *row)
{
	struct explain_connection probe = {.row = *row};

	return explain_find_judgement(report, &probe);
}

static bool same_end(const struct explain_link *a, const struct explain_link *b)
{
	const char *p = chain_text(a->database.count > 0 ? &a->database : &a->evidence, "end");
	const char *q = chain_text(b->database.count > 0 ? &b->database : &b->evidence, "end");

	return p != NULL && q != NULL && strcmp(p, q) == 0;
}

bool explain_is_judged(const struct explain_report *report, const struct explain_links *rows,
		       size_t which)
{
	int score = score_of(report, &rows->items[which]);

	for (size_t i = 0; i < rows->count; i++) {
		if (same_end(&rows->items[i], &rows->items[which]) &&
		    score_of(report, &rows->items[i]) > score)
			return false;
	}
	return score > 0;
}
