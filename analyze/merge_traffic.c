/*
 * merge_traffic.c - a part's traffic, in the order of its table: rows that stand beside each
 * other there cost a third of what they cost as the packets came.
 *
 * There are many rows to a stretch, and those of one come in order of time but where the
 * capture does not. So the stretches are sorted and the rows laid into their places.
 */
#include <stdlib.h>

#include "analyze/merge_internal.h"

struct span_order {
	int64_t connection_id;
	uint32_t span;
};

static int compare_spans(const void *a, const void *b)
{
	const struct span_order *p = a, *q = b;

	if (p->connection_id != q->connection_id)
		return p->connection_id < q->connection_id ? -1 : 1;
	return p->span < q->span ? -1 : p->span > q->span;
}

static int compare_buckets(const void *a, const void *b)
{
	const struct store_traffic *p = a, *q = b;

	return p->bucket < q->bucket ? -1 : p->bucket > q->bucket;
}

/* counts[span]: its rows; becomes the place of the first one. */
static int find_places(const struct merge_mapping *map, size_t spans, size_t *counts)
{
	struct span_order *order = malloc((spans + 1) * sizeof(*order));
	size_t place = 0;

	if (order == NULL)
		return -1;
	for (size_t i = 0; i < spans; i++)
		order[i] = (struct span_order){map->span_ids[i], (uint32_t)i};
	qsort(order, spans, sizeof(*order), compare_spans);
	for (size_t i = 0; i < spans; i++) {
		size_t count = counts[order[i].span];

		counts[order[i].span] = place;
		place += count;
	}
	free(order);
	return 0;
}

static void lay_rows(const struct ledger *ledger, const struct merge_mapping *map, size_t *places,
		     struct store_traffic *rows)
{
	for (size_t i = 0; i < ledger->traffic_count; i++) {
		const struct ledger_traffic *t = &ledger->traffic[i];
		uint32_t span = ledger_final(ledger, t->span);
		bool swap = map->swapped[span];

		rows[places[span]++] = (struct store_traffic){
			.connection_id = map->span_ids[span],
			.bucket = t->bucket,
			.sent_packets = swap ? t->received_packets : t->sent_packets,
			.sent_bytes = (int64_t)(swap ? t->received_bytes : t->sent_bytes),
			.received_packets = swap ? t->sent_packets : t->received_packets,
			.received_bytes = (int64_t)(swap ? t->sent_bytes : t->received_bytes),
		};
	}
}

/* Those of one connection, where they are not in order. */
static void sort_buckets(struct store_traffic *rows, size_t count)
{
	size_t begin = 0;
	bool ordered = true;

	for (size_t i = 1; i <= count; i++) {
		if (i < count && rows[i].connection_id == rows[begin].connection_id) {
			ordered = ordered && rows[i - 1].bucket <= rows[i].bucket;
			continue;
		}
		if (!ordered)
			qsort(rows + begin, i - begin, sizeof(*rows), compare_buckets);
		begin = i;
		ordered = true;
	}
}

int merge_traffic(struct merge *merge, const struct replay_part *part,
		  const struct merge_mapping *map, struct error *error)
{
	const struct ledger *ledger = &part->ledger;
	struct store_traffic *rows = calloc(ledger->traffic_count + 1, sizeof(*rows));
	size_t *places = calloc(ledger->span_count + 1, sizeof(*places));
	int status;

	for (size_t i = 0; places != NULL && i < ledger->traffic_count; i++)
		places[ledger_final(ledger, ledger->traffic[i].span)]++;
	if (rows == NULL || places == NULL || find_places(map, ledger->span_count, places) != 0) {
		status = merge_no_memory(error);
		goto out;
	}
	lay_rows(ledger, map, places, rows);
	sort_buckets(rows, ledger->traffic_count);
	status = store_traffic(merge->store, rows, ledger->traffic_count, error);
out:
	free(rows);
	free(places);
	return status;
}
