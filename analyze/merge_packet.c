/* Single packets, for which the database has rows if it was made with --packets. */
#include "analyze/merge_internal.h"

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

/* By which rule a packet is its connection's. One without a rule of its own was one of several's,
 * of whom one was left (ledger_own). */
static enum bridge_rule rule_of(const struct merge_mapping *map, uint32_t span,
				const struct ledger_packet *p)
{
	if (map->rules[span] != BRIDGE_NO_RULE)
		return (enum bridge_rule)map->rules[span];
	return p->reason == BRIDGE_OWNED ? (enum bridge_rule)p->rule : BRIDGE_BEHIND;
}

static int64_t verdict_of(const struct verdicts *verdicts, const struct ledger_packet *p,
			  const struct ledger_span *s, const struct merge_mapping *map,
			  uint32_t span)
{
	enum bridge_reason reason = map->reasons[span] != BRIDGE_REASONS
					    ? (enum bridge_reason)map->reasons[span]
				    : map->rules[span] != BRIDGE_NO_RULE ? BRIDGE_OWNED
									 : s->reason;

	return reason == BRIDGE_OWNED ? verdicts->rules[rule_of(map, span, p)]
				      : verdicts->reasons[reason];
}

int merge_packets(struct merge *merge, const struct replay_part *part,
		  const struct merge_mapping *map, struct error *error)
{
	struct verdicts verdicts;
	int status = 0;

	learn_verdicts(merge, &verdicts);
	for (size_t i = 0; i < part->ledger.packet_count && status == 0; i++) {
		const struct ledger_packet *p = &part->ledger.packets[i];
		uint32_t span = ledger_final(&part->ledger, p->span);
		const struct ledger_span *s = &part->ledger.spans[span];
		struct store_packet row = {
			.segment_id = merge->row.segment_id,
			.number = (int64_t)(part->ledger.first_number + p->number),
			.offset_bytes = (int64_t)p->offset_bytes,
			.connection_id = map->span_ids[span],
			.time_ns = p->time_ns,
			.bytes = p->bytes,
			.direction = p->side == map->originators[s->flow] ? 0 : 1,
			.verdict = verdict_of(&verdicts, p, s, map, span),
		};

		status = store_packet(merge->store, &row, error);
	}
	return status;
}
