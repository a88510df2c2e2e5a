#include "analyze/fleet_plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/grow.h"
#include "snapshot/format/evidence.h"

static int no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
}

/* --------------------------------------------------------------- telling -- */

static uint64_t hash_unit(size_t source, int64_t number)
{
	return hashindex_mix(hashindex_mix(hashindex_seed ^ (uint64_t)number) ^ source);
}

static uint64_t hash_of_unit(const void *context, uint32_t place)
{
	const struct fleet_plan_unit *unit = &((const struct fleet_plan *)context)->units[place];

	return hash_unit(unit->source, unit->number);
}

size_t fleet_plan_unit(struct fleet_plan *plan, size_t source, int64_t number, const char *host,
		       const char *boot)
{
	uint64_t hash = hash_unit(source, number);
	uint32_t probe = (uint32_t)hash, place;
	struct fleet_plan_unit *unit;

	while ((place = hashindex_next(&plan->unit_index, hash, &probe)) != HASHINDEX_NONE)
		if (plan->units[place].source == source && plan->units[place].number == number)
			return place;
	if (plan->unit_count >= HASHINDEX_NONE ||
	    grow_one(&plan->units, plan->unit_count, &plan->unit_capacity, sizeof(*plan->units)) !=
		    0)
		return FLEET_NONE;
	unit = &plan->units[plan->unit_count];
	*unit = (struct fleet_plan_unit){.source = source,
					 .number = number,
					 .host = strdup(host != NULL ? host : ""),
					 .boot = strdup(boot),
					 .twin = FLEET_NONE};
	plan->unit_count++; /* from here on released with the plan */
	if (unit->host == NULL || unit->boot == NULL ||
	    hashindex_add(&plan->unit_index, hash, (uint32_t)plan->unit_count - 1, hash_of_unit,
			  plan) != 0)
		return FLEET_NONE;
	return plan->unit_count - 1;
}

static const char *text_or_none(const char *text)
{
	return text != NULL ? text : "";
}

/* The name that both files of a segment have in common. */
static void take_stem(char stem[EVIDENCE_NAME_SIZE], const char *name)
{
	struct evidence_stem parsed;
	const char *suffix;

	if (evidence_parse_name(name, &parsed, &suffix) == 0)
		evidence_name(&parsed, "", stem);
	else
		snprintf(stem, EVIDENCE_NAME_SIZE, "%s", name);
}

/* The texts of a segment one after the other, each with its end, in one piece of memory. */
static char *join_texts(const struct fleet_plan_facts *f)
{
	const char *pcap = text_or_none(f->pcap_sha256), *snap = text_or_none(f->snap_sha256);
	const char *content = text_or_none(f->content_sha256);
	const char *packets = content[0] != '\0' ? content : pcap;
	const char *name = f->pcap_name != NULL ? f->pcap_name : text_or_none(f->snap_name);
	char stem[EVIDENCE_NAME_SIZE], *text = NULL, *key;
	int length;

	take_stem(stem, name);
	if (f->is_bare)
		length = asprintf(&text, "content %s", packets[0] != '\0' ? packets : snap);
	else if (f->recording == NULL)
		length = asprintf(&text, "files %s %s %s", stem, packets, snap);
	else
		length = asprintf(&text, "recording %s %s", f->recording, stem);
	if (length < 0)
		return NULL;
	key = text;
	length = asprintf(&text, "%s%c%s%c%s%c%s%c%s%c%s", key, 0, f->has_packets ? packets : "", 0,
			  name, 0, pcap, 0, content, 0, snap);
	free(key);
	return length < 0 ? NULL : text;
}

static const char *next_text(const char *text)
{
	return text + strlen(text) + 1;
}

int fleet_plan_segment(struct fleet_plan *plan, size_t unit, const struct fleet_plan_facts *facts,
		       struct error *error)
{
	struct fleet_plan_unit *of = &plan->units[unit];
	struct fleet_plan_segment segment = {
		.text = join_texts(facts), .unit = unit, .is_known = facts->recording != NULL};

	if (segment.text == NULL)
		return no_memory(error);
	segment.key = segment.text;
	segment.packets = next_text(segment.key);
	segment.name = next_text(segment.packets);
	segment.pcap = next_text(segment.name);
	segment.content = next_text(segment.pcap);
	segment.snap = next_text(segment.content);
	if (grow_one(&plan->segments, plan->segment_count, &plan->segment_capacity,
		     sizeof(*plan->segments)) != 0) {
		free(segment.text);
		return no_memory(error);
	}
	plan->segments[plan->segment_count++] = segment;
	if (grow_one(&of->segments, of->segment_count, &of->segment_capacity,
		     sizeof(*of->segments)) != 0)
		return no_memory(error);
	of->segments[of->segment_count++] = plan->segment_count - 1;
	return 0;
}

/* ------------------------------------------------- which are the same one -- */

static int by_key(const void *a, const void *b, void *context)
{
	const struct fleet_plan_segment *segments = context;

	return strcmp(segments[*(const size_t *)a].key, segments[*(const size_t *)b].key);
}

/* Nothing but its packets is known of it. */
static bool is_packets_alone(const struct fleet_plan_segment *segment)
{
	return !segment->is_known && segment->snap[0] == '\0';
}

/* Those of which more is known first; of the same snapshots those of a known recording. */
static int by_packets(const void *left, const void *right, void *context)
{
	const struct fleet_plan_segment *segments = context;
	const struct fleet_plan_segment *a = &segments[*(const size_t *)left];
	const struct fleet_plan_segment *b = &segments[*(const size_t *)right];
	int difference = strcmp(a->packets, b->packets);

	if (difference == 0)
		difference = (int)is_packets_alone(a) - (int)is_packets_alone(b);
	if (difference == 0)
		difference = strcmp(a->snap, b->snap);
	if (difference == 0)
		difference = (int)b->is_known - (int)a->is_known;
	return difference != 0 ? difference : strcmp(a->key, b->key);
}

/* parents: by place in the order of keys; the lowest place of a group leads it. */
static size_t leader_of(size_t *parents, size_t place)
{
	while (parents[place] != place) {
		parents[place] = parents[parents[place]];
		place = parents[place];
	}
	return place;
}

static void put_together(size_t *parents, size_t a, size_t b)
{
	a = leader_of(parents, a);
	b = leader_of(parents, b);
	if (a < b)
		parents[b] = a;
	else
		parents[a] = b;
}

/* Packets alone are those of any segment that has them. One of which more is known, but not the
 * recording, is another's if it has its snapshots too: analyze takes the same packets with other
 * snapshots for another segment where it cannot tell beforehand (compressed, of which no log
 * says the content). */
static bool is_the_same(const struct fleet_plan_segment *before,
			const struct fleet_plan_segment *segment)
{
	return is_packets_alone(segment) ||
	       (!segment->is_known && strcmp(before->snap, segment->snap) == 0);
}

/* Numbers that depend on the keys alone, and not on the order of the segments. */
static void find_same(struct fleet_plan *plan, size_t *order, size_t *parents)
{
	struct fleet_plan_segment *segments = plan->segments;
	size_t count = plan->segment_count;

	for (size_t i = 0; i < count; i++)
		order[i] = i;
	qsort_r(order, count, sizeof(*order), by_key, segments);
	for (size_t i = 0; i < count; i++) {
		parents[i] = i;
		segments[order[i]].same = i;
		if (i > 0 && strcmp(segments[order[i]].key, segments[order[i - 1]].key) == 0)
			put_together(parents, i - 1, i);
	}
	qsort_r(order, count, sizeof(*order), by_packets, segments);
	for (size_t i = 0, first = 0; i < count; i++) {
		const struct fleet_plan_segment *a = &segments[order[first]];
		const struct fleet_plan_segment *b = &segments[order[i]];

		if (strcmp(a->packets, b->packets) != 0) {
			first = i;
			continue;
		}
		if (!is_packets_alone(b))
			a = &segments[order[i > first ? i - 1 : i]];
		if (a->packets[0] != '\0' && is_the_same(a, b))
			put_together(parents, a->same, b->same);
	}
	for (size_t i = 0; i < count; i++)
		segments[i].same = leader_of(parents, segments[i].same);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static int check_alike(const struct fleet_plan *plan, const struct fleet_plan_segment *a,
		       const struct fleet_plan_segment *b, char *const *paths, struct error *error)
{
	bool same_packets = same_text(a->pcap, b->pcap) ||
			    (a->content[0] != '\0' && same_text(a->content, b->content));
	const char *differs = same_packets ? "snapshots" : "packets";
	const char *mine = same_packets ? a->snap : a->pcap;
	const char *theirs = same_packets ? b->snap : b->pcap;

	if (same_packets &&
	    (same_text(a->snap, b->snap) || is_packets_alone(a) || is_packets_alone(b)))
		return 0;
	return error_set(error, ERROR_DAMAGED, paths[plan->units[a->unit].source], -1,
			 "its segment %.80s has other %s than that of %.160s (SHA-256 %.16s and "
			 "%.16s): one is damaged or was changed; leave its database out",
			 a->name, differs, paths[plan->units[b->unit].source],
			 mine[0] != '\0' ? mine : "none", theirs[0] != '\0' ? theirs : "none");
}

/* firsts: by number of a group, its first segment: of those with more than packets, where there
 * are any, for packets alone are alike to what differs in all else. */
static int check_all_alike(const struct fleet_plan *plan, size_t *firsts, char *const *paths,
			   struct error *error)
{
	int status = 0;

	for (size_t i = 0; i < plan->segment_count; i++)
		firsts[i] = FLEET_NONE;
	for (size_t i = 0; i < plan->segment_count; i++) {
		const struct fleet_plan_segment *segment = &plan->segments[i];
		size_t *first = &firsts[segment->same];

		if (*first == FLEET_NONE ||
		    (is_packets_alone(&plan->segments[*first]) && !is_packets_alone(segment)))
			*first = i;
	}
	for (size_t i = 0; i < plan->segment_count && status == 0; i++) {
		const struct fleet_plan_segment *segment = &plan->segments[i];

		if (firsts[segment->same] != i)
			status = check_alike(plan, segment, &plan->segments[firsts[segment->same]],
					     paths, error);
	}
	return status;
}

/* ---------------------------------------------------------------- choosing -- */

static int by_same(const void *a, const void *b, void *context)
{
	const struct fleet_plan_segment *segments = context;
	size_t x = segments[*(const size_t *)a].same, y = segments[*(const size_t *)b].same;

	return (x > y) - (x < y);
}

/* The larger ones first; of those with the same segments always the same one, whatever
 * the order of databases, unless they do not differ. */
static int by_size(const void *left, const void *right, void *context)
{
	const struct fleet_plan *plan = context;
	size_t at = *(const size_t *)left, bt = *(const size_t *)right;
	const struct fleet_plan_unit *a = &plan->units[at], *b = &plan->units[bt];

	if (a->segment_count != b->segment_count)
		return a->segment_count > b->segment_count ? -1 : 1;
	/* What is packets alone has one segment. */
	if (a->segment_count == 1 && is_packets_alone(&plan->segments[a->segments[0]]) !=
					     is_packets_alone(&plan->segments[b->segments[0]]))
		return is_packets_alone(&plan->segments[a->segments[0]]) ? 1 : -1;
	for (size_t i = 0; i < a->segment_count; i++) {
		const struct fleet_plan_segment *x = &plan->segments[a->segments[i]];
		const struct fleet_plan_segment *y = &plan->segments[b->segments[i]];
		int difference = (x->same > y->same) - (x->same < y->same);

		if (difference == 0)
			difference = strcmp(x->pcap, y->pcap);
		if (difference == 0)
			difference = strcmp(x->name, y->name);
		if (difference != 0)
			return difference;
	}
	return (at > bt) - (at < bt);
}

static int refuse_overlap(const struct fleet_plan *plan, const struct fleet_plan_unit *mine,
			  const struct fleet_plan_unit *other, const size_t *owners,
			  char *const *paths, struct error *error)
{
	const struct fleet_plan_segment *shared = NULL, *alone = NULL;

	for (size_t i = 0; i < mine->segment_count; i++) {
		const struct fleet_plan_segment *s = &plan->segments[mine->segments[i]];

		if (owners[s->same] != FLEET_NONE && &plan->units[owners[s->same]] == other)
			shared = shared == NULL ? s : shared;
		else
			alone = alone == NULL ? s : alone;
	}
	assert(shared && alone);
	return error_set(error, ERROR_DAMAGED, paths[mine->source], -1,
			 "of the recording of %.60s, %.60s is in it and in %.140s, and each has "
			 "segments that the other lacks (%.60s): analyze the evidence of both into "
			 "one database and merge that",
			 mine->host[0] != '\0' ? mine->host : "a host", shared->name,
			 paths[other->source], alone->name);
}

/* Whether one that has all segments of the other was analyzed from the same. What was an
 * evidence directory's has other rows than a capture alone, and so has a copy of another number. */
static bool has_same(const struct fleet_plan *plan, const struct fleet_plan_unit *all,
		     const struct fleet_plan_unit *some)
{
	bool same = all->segment_count == some->segment_count;

	for (size_t i = 0; i < some->segment_count && same; i++)
		same = same_text(plan->segments[all->segments[i]].key,
				 plan->segments[some->segments[i]].key);
	return same;
}

/* owners: by number of a segment, the unit that counts. */
static int choose(struct fleet_plan *plan, struct fleet_plan_unit *unit, size_t *owners,
		  char *const *paths, struct error *error)
{
	size_t taken = 0, first = FLEET_NONE;
	bool several = false;

	for (size_t i = 0; i < unit->segment_count; i++) {
		size_t owner = owners[plan->segments[unit->segments[i]].same];

		if (owner == FLEET_NONE)
			continue;
		taken++;
		if (first == FLEET_NONE)
			first = owner;
		several |= owner != first;
	}
	if (taken > 0 && (several || taken < unit->segment_count))
		return refuse_overlap(plan, unit, &plan->units[first], owners, paths, error);
	if (taken > 0) {
		if (has_same(plan, &plan->units[first], unit))
			unit->twin = first;
		return 0;
	}
	for (size_t i = 0; i < unit->segment_count; i++)
		owners[plan->segments[unit->segments[i]].same] = (size_t)(unit - plan->units);
	unit->wanted = true;
	plan->wanted_count++;
	return 0;
}

/* The first in the order of keys, which hangs on nothing but the unit. */
static const char *first_key(const struct fleet_plan *plan, const struct fleet_plan_unit *unit)
{
	const char *first = plan->segments[unit->segments[0]].key;

	for (size_t i = 1; i < unit->segment_count; i++) {
		const char *key = plan->segments[unit->segments[i]].key;

		if (strcmp(key, first) < 0)
			first = key;
	}
	return first;
}

/* By what is the same wherever the unit was found, and whatever else was. */
static int by_nature(const void *left, const void *right, void *context)
{
	const struct fleet_plan *plan = context;
	const struct fleet_plan_unit *a = &plan->units[*(const size_t *)left];
	const struct fleet_plan_unit *b = &plan->units[*(const size_t *)right];
	int difference = strcmp(a->host, b->host);

	if (difference == 0)
		difference = strcmp(a->boot, b->boot);
	/* No two wanted ones have a segment in common. */
	if (difference == 0)
		difference = strcmp(first_key(plan, a), first_key(plan, b));
	return difference;
}

/* Its packets would count twice. */
static int check_once(const struct fleet_plan *plan, const struct fleet_plan_unit *unit,
		      char *const *paths, struct error *error)
{
	for (size_t i = 1; i < unit->segment_count; i++) {
		const struct fleet_plan_segment *before = &plan->segments[unit->segments[i - 1]];
		const struct fleet_plan_segment *segment = &plan->segments[unit->segments[i]];

		if (before->same == segment->same)
			return error_damage(error, paths[unit->source], -1, "each segment once",
					    "%.80s twice, as %.80s: analyze the evidence anew",
					    before->name, segment->name);
	}
	return 0;
}

static int choose_all(struct fleet_plan *plan, size_t *order, size_t *owners, char *const *paths,
		      struct error *error)
{
	size_t kept = 0;
	int status = 0;

	for (size_t i = 0; i < plan->segment_count; i++)
		owners[i] = FLEET_NONE;
	for (size_t i = 0; i < plan->unit_count; i++) {
		struct fleet_plan_unit *unit = &plan->units[i];

		if (unit->segment_count == 0)
			return error_damage(error, paths[unit->source], -1,
					    "segments of each recording", "none of one of %.60s",
					    unit->host);
		qsort_r(unit->segments, unit->segment_count, sizeof(*unit->segments), by_same,
			plan->segments);
		status = check_once(plan, unit, paths, error);
		if (status != 0)
			return status;
		order[i] = i;
	}
	qsort_r(order, plan->unit_count, sizeof(*order), by_size, plan);
	for (size_t i = 0; i < plan->unit_count && status == 0; i++)
		status = choose(plan, &plan->units[order[i]], owners, paths, error);
	if (status != 0)
		return status;
	for (size_t i = 0; i < plan->unit_count; i++)
		if (plan->units[order[i]].wanted)
			order[kept++] = order[i];
	qsort_r(order, kept, sizeof(*order), by_nature, plan);
	return 0;
}

int fleet_plan_make(struct fleet_plan *plan, char *const *paths, struct error *error)
{
	size_t *a = calloc(plan->segment_count + 1, sizeof(*a));
	size_t *b = calloc(plan->segment_count + 1, sizeof(*b));
	int status = 0;

	plan->order = calloc(plan->unit_count + 1, sizeof(*plan->order));
	if (a == NULL || b == NULL || plan->order == NULL) {
		status = no_memory(error);
		goto out;
	}
	find_same(plan, a, b);
	status = check_all_alike(plan, a, paths, error);
	if (status == 0)
		status = choose_all(plan, plan->order, a, paths, error);
out:
	free(a);
	free(b);
	return status;
}

void fleet_plan_release(struct fleet_plan *plan)
{
	for (size_t i = 0; i < plan->segment_count; i++)
		free(plan->segments[i].text);
	for (size_t i = 0; i < plan->unit_count; i++) {
		free(plan->units[i].host);
		free(plan->units[i].boot);
		free(plan->units[i].segments);
	}
	free(plan->units);
	free(plan->segments);
	free(plan->order);
	hashindex_release(&plan->unit_index);
	*plan = (struct fleet_plan){0};
}
