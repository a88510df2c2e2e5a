/* Single packets, for which the database has rows if it was made with --packets. */
#include "analyze/merge_internal.h"

#include <stdlib.h>

/* As the store has them. */
struct verdicts {
	int64_t rules[BRIDGE_RULES + 1], reasons[BRIDGE_REASONS];
};

static void learn_verdicts(const struct merge *merge, struct verdicts *verdicts)
{
	for (int i = 0; i <= BRIDGE_RULES; i++)
		verdicts->rules[i] = store_packet_verdict(
			merge->store, bridge_rule_name((enum bridge_rule)i), NULL);
	for (int i = 0; i < BRIDGE_REASONS; i++)
		verdicts->reasons[i] = store_packet_verdict(
			merge->store, NULL, bridge_reason_name((enum bridge_reason)i));
}

/* What the packets of a stretch have in common: small, as there may be millions of them. */
struct whose {
	int64_t connection_id;
	int8_t verdict; /* NO_VERDICT: by each packet's own rule */
	uint8_t originator;
};
#define NO_VERDICT (-1)

static struct whose whose_of(const struct verdicts *verdicts, const struct replay_part *part,
			     const struct merge_mapping *map, uint32_t span)
{
	const struct ledger_span *s = &part->ledger.spans[span];
	enum bridge_reason reason = map->reasons[span] != BRIDGE_REASONS
					    ? (enum bridge_reason)map->reasons[span]
				    : map->rules[span] != BRIDGE_NO_RULE ? BRIDGE_OWNED
									 : s->reason;
	struct whose whose = {
		.connection_id = map->span_ids[span],
		.verdict = NO_VERDICT,
		.originator = map->originators[s->flow],
	};

	if (reason != BRIDGE_OWNED)
		whose.verdict = (int8_t)verdicts->reasons[reason];
	else if (map->rules[span] != BRIDGE_NO_RULE)
		whose.verdict = (int8_t)verdicts->rules[map->rules[span]];
	return whose;
}

/* One without a rule of its own was one of several's, of whom one was left (ledger_own). */
static int64_t own_verdict(const struct verdicts *verdicts, const struct ledger_packet *p)
{
	return verdicts->rules[p->reason == BRIDGE_OWNED ? p->rule : BRIDGE_BEHIND];
}

int merge_packets(struct merge *merge, const struct replay_part *part,
		  const struct merge_mapping *map, struct error *error)
{
	const struct ledger *ledger = &part->ledger;
	struct verdicts verdicts;
	struct whose *all = NULL;
	int status = 0;

	if (ledger->packet_count == 0)
		return 0;
	all = calloc(ledger->span_count + 1, sizeof(*all));
	if (all == NULL)
		return merge_no_memory(error);
	learn_verdicts(merge, &verdicts);
	for (uint32_t i = 0; i < ledger->span_count; i++)
		all[i] = whose_of(&verdicts, part, map, ledger_final(ledger, i));
	for (size_t i = 0; i < ledger->packet_count && status == 0; i++) {
		const struct ledger_packet *p = &ledger->packets[i];
		const struct whose *whose = &all[p->span];
		struct store_packet row = {
			.segment_id = merge->row.segment_id,
			.number = (int64_t)(ledger->first_number + p->number),
			.offset_bytes = (int64_t)p->offset_bytes,
			.connection_id = whose->connection_id,
			.time_ns = p->time_ns,
			.bytes = p->bytes,
			.direction = p->side == whose->originator ? 0 : 1,
			.verdict = whose->verdict != NO_VERDICT ? whose->verdict
								: own_verdict(&verdicts, p),
		};

		status = store_packet(merge->store, &row, error);
	}
	free(all);
	return status;
}
