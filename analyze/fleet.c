#include "analyze/fleet.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "analyze/fleet_plan.h"
#include "analyze/grow.h"
#include "analyze/merge.h"
#include "analyze/store.h"
#include "analyze/store_fleet.h"
#include "analyze/store_source.h"
#include "snapshot/format/quantity.h"

/* A recording of a database. */
struct row {
	int64_t recording_id;
	uint32_t unit;
	bool is_made_up;
	char *uuid;
};

struct database {
	int64_t bucket_ns;
	bool with_packets;
	struct row *rows; /* by recording_id */
	size_t row_count, row_capacity;
	int64_t *recording_ids;
	uint32_t *recording_units;
	struct store_fleet_source source; /* its path is one of joining.paths */
	size_t place; /* of its first unit in the result; FLEET_NONE: nothing of it is taken */
	bool is_needed;
};

struct joining {
	const struct fleet_options *options;
	struct fleet_result *result;
	char *target; /* what is replaced, without symbolic links; or what is made */
	bool exists;  /* then it is the first database */
	struct store_lock *lock;
	struct store_ours *ours;
	struct database *databases;
	char **paths; /* of the databases */
	size_t count;
	struct fleet_plan plan;
	struct store *store;
	struct store_fleet fleet;
	struct fleet_progress progress;
	int64_t begun_ns;
};

static int no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
}

static void show_progress(struct joining *m)
{
	if (m->options->progress == NULL)
		return;
	m->progress.rows = m->fleet.rows_taken;
	m->progress.elapsed_ns = quantity_now_ns(CLOCK_MONOTONIC) - m->begun_ns;
	m->options->progress(&m->progress, m->options->context);
}

static void on_table(const struct store_fleet *fleet, void *context)
{
	(void)fleet;
	show_progress(context);
}

/* ------------------------------------------------------------- the files -- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int find_target(struct joining *m, const char *to, struct error *error)
{
	struct stat status;

	m->exists = stat(to, &status) == 0;
	if (!m->exists && errno != ENOENT)
		return error_errno(error, to, "open");
	/* The file that a symbolic link leads to is replaced, and not the link. */
	m->target = m->exists ? realpath(to, NULL) : strdup(to);
	return m->target != NULL ? 0 : error_errno(error, to, "open");
}

/* NULL: none of them is this file. */
static const struct database *find_file(const struct joining *m, const struct stat *status)
{
	for (size_t i = 0; i < m->count; i++)
		if (is_same_file(&m->databases[i].source.status, status))
			return &m->databases[i];
	return NULL;
}

static int add_database(struct joining *m, const char *path, const struct stat *status,
			struct error *error)
{
	struct database *database = &m->databases[m->count];

	m->paths[m->count] = strdup(path);
	if (m->paths[m->count] == NULL)
		return no_memory(error);
	*database = (struct database){.place = FLEET_NONE};
	database->source.path = m->paths[m->count++];
	database->source.status = *status;
	return 0;
}

/* One file under two names counts once. */
static int find_databases(struct joining *m, char *const *from, size_t count, struct error *error)
{
	struct stat found;
	int status = 0;

	m->databases = calloc(count + 1, sizeof(*m->databases));
	m->paths = calloc(count + 1, sizeof(*m->paths));
	if (m->databases == NULL || m->paths == NULL)
		return no_memory(error);
	if (m->exists)
		status = stat(m->target, &found) == 0 ? add_database(m, m->target, &found, error)
						      : error_errno(error, m->target, "open");
	for (size_t i = 0; i < count && status == 0; i++) {
		const struct database *same;

		if (stat(from[i], &found) != 0)
			return error_errno(error, from[i], "open");
		same = find_file(m, &found);
		if (same != NULL && m->exists && same == m->databases)
			return error_set(error, ERROR_USAGE, from[i], -1,
					 "is the database to merge into, and cannot be one of "
					 "those that are merged");
		if (same == NULL)
			status = add_database(m, from[i], &found, error);
	}
	m->result->databases = m->count - m->exists;
	return status;
}

/* ---------------------------------------------------------- reading them -- */

struct reading {
	struct joining *joining;
	struct database *database;
};

static int on_recording(const struct store_source_recording *r, void *context, struct error *error)
{
	struct reading *reading = context;
	struct joining *m = reading->joining;
	struct database *d = reading->database;
	size_t unit = fleet_plan_unit(&m->plan, (size_t)(d - m->databases), r->unit, r->hostname,
				      r->boot_id != NULL ? r->boot_id : r->uuid);
	struct row row = {.recording_id = r->recording_id,
			  .unit = (uint32_t)unit,
			  .is_made_up = merge_uuid_is_made_up(r->uuid)};

	if (unit == FLEET_NONE ||
	    grow_one(&d->rows, d->row_count, &d->row_capacity, sizeof(*d->rows)) != 0)
		return no_memory(error);
	row.uuid = strdup(r->uuid);
	if (row.uuid == NULL)
		return no_memory(error);
	d->rows[d->row_count++] = row;
	return 0;
}

static int compare_rows(const void *left, const void *right)
{
	const struct row *a = left, *b = right;

	return (a->recording_id > b->recording_id) - (a->recording_id < b->recording_id);
}

static int on_segment(const struct store_source_segment *s, void *context, struct error *error)
{
	struct reading *reading = context;
	const struct row wanted = {.recording_id = s->recording_id};
	const struct row *row =
		reading->database->row_count == 0
			? NULL
			: bsearch(&wanted, reading->database->rows, reading->database->row_count,
				  sizeof(wanted), compare_rows);
	struct fleet_plan_facts facts = {
		.is_bare = s->is_bare,
		.has_packets = s->packets > 0,
		.pcap_name = s->pcap_name,
		.snap_name = s->snap_name,
		.pcap_sha256 = s->pcap_sha256,
		.snap_sha256 = s->snap_sha256,
		.content_sha256 = s->content_sha256,
	};

	if (row == NULL)
		return error_damage(error, reading->database->source.path, -1,
				    "a recording of each segment", "none of number %" PRId64,
				    s->recording_id);
	facts.recording = row->is_made_up ? NULL : row->uuid;
	return fleet_plan_segment(&reading->joining->plan, row->unit, &facts, error);
}

static int check_settings(const struct joining *m, const struct database *d, struct error *error)
{
	const struct database *a = &m->databases[0];
	char mine[QUANTITY_DURATION_SIZE], theirs[QUANTITY_DURATION_SIZE];

	if (a->bucket_ns != d->bucket_ns)
		return error_set(error, ERROR_USAGE, d->source.path, -1,
				 "its buckets are of %s, those of %.180s of %s: analyze the "
				 "evidence of one of them anew, with --bucket",
				 quantity_format_duration(d->bucket_ns, mine, sizeof(mine)),
				 m->paths[0],
				 quantity_format_duration(a->bucket_ns, theirs, sizeof(theirs)));
	if (a->with_packets != d->with_packets)
		return error_set(error, ERROR_USAGE, d->source.path, -1,
				 "it has %s row for each packet, as %.180s has%s: analyze the "
				 "evidence of one of them anew, %s --packets",
				 d->with_packets ? "a" : "no", m->paths[0],
				 d->with_packets ? " not" : "",
				 d->with_packets ? "or this one without" : "with");
	return 0;
}

static int split_rows(struct database *d, struct error *error)
{
	d->recording_ids = calloc(d->row_count + 1, sizeof(*d->recording_ids));
	d->recording_units = calloc(d->row_count + 1, sizeof(*d->recording_units));
	if (d->recording_ids == NULL || d->recording_units == NULL)
		return no_memory(error);
	for (size_t i = 0; i < d->row_count; i++) {
		d->recording_ids[i] = d->rows[i].recording_id;
		d->recording_units[i] = d->rows[i].unit;
	}
	d->source.recording_ids = d->recording_ids;
	d->source.recording_units = d->recording_units;
	d->source.recording_count = d->row_count;
	return 0;
}

/* What stands there is held from now on, so that nothing is added to it that would be lost. */
static int hold_target(struct joining *m, struct store_source *source, struct error *error)
{
	struct stat now;
	int status;

	if (!store_source_facts(source)->is_merged)
		return error_set(error, ERROR_USAGE, m->target, -1,
				 "it was made by pcapwho analyze, which goes on adding to it: "
				 "merge it and the others into a new file");
	status = store_source_has_no_more(source, error);
	if (status == 0)
		status = store_lock_hold(m->lock, m->target, error);
	if (status == 0 && (stat(m->target, &now) != 0 ||
			    !is_same_file(&now, &store_source_facts(source)->status)))
		status = error_set(error, ERROR_SYSTEM, m->target, -1,
				   "was replaced meanwhile, by another merge perhaps: try again");
	return status;
}

static int read_database(struct joining *m, struct database *d, struct error *error)
{
	struct reading reading = {m, d};
	struct store_source *source = NULL;
	bool is_target = m->exists && d == m->databases;
	int status = 0;

	if (is_target)
		status = store_lock_open(m->target, &m->lock, error);
	if (status == 0)
		status = store_source_open(d->source.path, m->ours, &source, error);
	if (status == 0 && is_target)
		status = hold_target(m, source, error);
	if (status == 0) {
		const struct store_source_facts *facts = store_source_facts(source);

		d->source.status = facts->status;
		d->source.changes = facts->changes;
		d->bucket_ns = facts->bucket_ns;
		d->with_packets = facts->with_packets;
		status = check_settings(m, d, error);
	}
	if (status == 0)
		status = store_source_recordings(source, on_recording, &reading, error);
	if (status == 0)
		status = store_source_segments(source, on_segment, &reading, error);
	store_source_close(source);
	return status == 0 ? split_rows(d, error) : status;
}

/* --------------------------------------------------------------- planning -- */

/* One analysis would have seen what goes on from one unit to the other. */
static void remark_units(struct joining *m)
{
	const struct fleet_plan *plan = &m->plan;
	size_t last;

	for (size_t first = 0; first < plan->wanted_count; first = last) {
		const struct fleet_plan_unit *unit = &plan->units[plan->order[first]];
		struct error remark = ERROR_NONE;

		for (last = first + 1; last < plan->wanted_count; last++)
			if (strcmp(plan->units[plan->order[last]].boot, unit->boot) != 0)
				break;
		if (last - first == 1 || m->options->report == NULL)
			continue;
		error_set(&remark, ERROR_USAGE, m->paths[unit->source], -1,
			  "%zu parts of what %.60s recorded in one boot were analyzed apart, this "
			  "one among them: processes and conversations that go on from one to "
			  "another have a row in each",
			  last - first, unit->host[0] != '\0' ? unit->host : "a host");
		m->options->report(&remark, m->options->context);
	}
}

static void mark_needed(struct joining *m)
{
	const struct fleet_plan *plan = &m->plan;

	for (size_t i = 0; i < plan->wanted_count; i++) {
		struct database *d = &m->databases[plan->units[plan->order[i]].source];

		d->is_needed = true;
		if (d->place == FLEET_NONE)
			d->place = i;
	}
	for (size_t i = 0; i < plan->unit_count; i++) {
		m->fleet.units[i].host = plan->units[i].host;
		m->fleet.units[i].boot = plan->units[i].boot;
		m->fleet.units[i].wanted = plan->units[i].wanted;
		if (plan->units[i].twin == FLEET_NONE)
			continue;
		m->fleet.units[i].compared = true;
		m->fleet.units[plan->units[i].twin].compared = true;
		m->databases[plan->units[i].source].is_needed = true;
	}
	for (size_t i = 0; i < m->count; i++)
		m->progress.wanted += m->databases[i].place != FLEET_NONE;
}

static int make_plan(struct joining *m, struct error *error)
{
	int status = fleet_plan_make(&m->plan, m->paths, error);

	if (status != 0)
		return status;
	m->fleet.ours = m->ours;
	m->fleet.units = calloc(m->plan.unit_count + 1, sizeof(*m->fleet.units));
	if (m->fleet.units == NULL)
		return no_memory(error);
	m->result->nothing_new = m->exists;
	for (size_t i = 0; i < m->plan.wanted_count; i++) {
		const struct fleet_plan_unit *unit = &m->plan.units[m->plan.order[i]];

		m->result->segments += unit->segment_count;
		m->result->nothing_new &= unit->source == 0;
	}
	mark_needed(m);
	if (!m->result->nothing_new)
		remark_units(m);
	return 0;
}

/* ---------------------------------------------------------------- merging -- */

static int compare_twins(const struct joining *m, struct error *error)
{
	for (size_t i = 0; i < m->plan.unit_count; i++) {
		const struct fleet_plan_unit *unit = &m->plan.units[i], *twin;
		const struct store_unit *mine = &m->fleet.units[i], *theirs;

		if (unit->twin == FLEET_NONE)
			continue;
		twin = &m->plan.units[unit->twin];
		theirs = &m->fleet.units[unit->twin];
		if (mine->digest != theirs->digest ||
		    memcmp(mine->rows, theirs->rows, sizeof(mine->rows)) != 0)
			return error_set(
				error, ERROR_DAMAGED, m->paths[unit->source], -1,
				"it has the same segments of %.60s as %.160s (%.60s), and other "
				"rows "
				"of them: analyzed with other options or by another version; leave "
				"one of the two out, or analyze anew",
				unit->host[0] != '\0' ? unit->host : "a host",
				m->paths[twin->source], m->plan.segments[unit->segments[0]].name);
	}
	return 0;
}

static int number_all(struct joining *m, struct error *error)
{
	int status = 0;

	m->progress.databases = m->count;
	for (size_t i = 0; i < m->count && status == 0; i++) {
		if (m->databases[i].is_needed)
			status = store_fleet_number(m->store, &m->fleet, &m->databases[i].source,
						    error);
		m->progress.numbered++;
		show_progress(m);
	}
	return status == 0 ? compare_twins(m, error) : status;
}

static void place_units(struct joining *m)
{
	int64_t before[STORE_NUMBERED] = {0};

	for (size_t i = 0; i < m->plan.wanted_count; i++) {
		struct store_unit *unit = &m->fleet.units[m->plan.order[i]];

		unit->position = (int64_t)i + 1;
		for (int t = 0; t < STORE_NUMBERED; t++) {
			unit->before[t] = before[t];
			before[t] += unit->rows[t];
		}
	}
	m->result->recordings = (size_t)before[STORE_OF_RECORDING];
}

static int by_place(const void *left, const void *right)
{
	const struct database *a = *(struct database *const *)left;
	const struct database *b = *(struct database *const *)right;

	return (a->place > b->place) - (a->place < b->place);
}

/* In the order of the result, in which rows cost least. */
static int take_all(struct joining *m, struct error *error)
{
	struct database **order = calloc(m->count + 1, sizeof(struct database *));
	int status = 0;

	if (order == NULL)
		return no_memory(error);
	for (size_t i = 0; i < m->count; i++)
		order[i] = &m->databases[i];
	qsort(order, m->count, sizeof(struct database *), by_place);
	for (size_t i = 0; i < m->count && order[i]->place != FLEET_NONE && status == 0; i++) {
		status = store_fleet_take(m->store, &m->fleet, &order[i]->source, on_table, m,
					  error);
		m->progress.taken++;
		show_progress(m);
	}
	free(order);
	m->result->rows = m->fleet.rows_taken;
	return status;
}

/* A row of packets holds eight, so nothing is counted of them while they are taken. */
static int check_packets(const struct joining *m, struct error *error)
{
	int status = 0;

	if (!store_with_packets(m->store))
		return 0;
	for (size_t i = 0; i < m->plan.wanted_count && status == 0; i++) {
		size_t unit = m->plan.order[i];

		status = store_fleet_check_packets(m->store, &m->fleet.units[unit],
						   m->paths[m->plan.units[unit].source], error);
	}
	return status;
}

static int fill_store(struct joining *m, struct error *error)
{
	const struct fleet_options *o = m->options;
	int status;

	if (o->begin != NULL)
		o->begin(o->context);
	store_remove_stale(m->target, o->report, o->context);
	status = store_open_merged(m->target, m->exists, m->databases[0].bucket_ns,
				   m->databases[0].with_packets, &m->store, error);
	if (status != 0)
		return status;
	store_stop_when(m->store, o->stop);
	status = number_all(m, error);
	if (status == 0 && !m->result->nothing_new) {
		place_units(m);
		status = take_all(m, error);
		if (status == 0)
			status = check_packets(m, error);
	}
	if (status == ERROR_INTERRUPTED || (status == 0 && o->stop != NULL && *o->stop != 0))
		status = error_set(error, ERROR_INTERRUPTED, NULL, -1, "interrupted");
	if (status == 0 && !m->result->nothing_new)
		return store_finish(m->store, error);
	store_abandon(m->store);
	return status;
}

static void release(struct joining *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct database *d = &m->databases[i];

		for (size_t r = 0; r < d->row_count; r++)
			free(d->rows[r].uuid);
		free(d->rows);
		free(d->recording_ids);
		free(d->recording_units);
		store_fleet_source_release(&d->source);
		free(m->paths[i]);
	}
	free(m->databases);
	free(m->paths);
	free(m->fleet.units);
	fleet_plan_release(&m->plan);
	store_lock_release(m->lock);
	store_ours_free(m->ours);
	free(m->target);
}

int fleet_merge(const char *to, char *const *from, size_t count,
		const struct fleet_options *options, struct fleet_result *result,
		struct error *error)
{
	struct joining m = {
		.options = options,
		.result = result,
		.begun_ns = quantity_now_ns(CLOCK_MONOTONIC),
	};
	int status;

	*result = (struct fleet_result){0};
	status = find_target(&m, to, error);
	if (status == 0)
		status = find_databases(&m, from, count, error);
	if (status == 0)
		status = store_ours_new(&m.ours, error);
	for (size_t i = 0; i < m.count && status == 0; i++)
		status = read_database(&m, &m.databases[i], error);
	if (status == 0)
		status = make_plan(&m, error);
	if (status == 0)
		status = fill_store(&m, error);
	release(&m);
	return status;
}
