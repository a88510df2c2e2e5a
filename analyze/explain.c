#include "analyze/explain_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyze/explain_rows.h"
#include "analyze/grow.h"
#include "analyze/storefile.h"
#include "analyze/walk.h"

int explain_no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, NULL, -1, "out of memory");
}

struct explain_link *explain_add_link(struct explain_links *links, const char *name)
{
	if (grow_one(&links->items, links->count, &links->capacity, sizeof(*links->items)) != 0)
		return NULL;
	links->items[links->count] = (struct explain_link){.name = name};
	return &links->items[links->count++];
}

/* The first one is kept. */
void explain_remark(char **remark, const char *format, ...)
{
	va_list arguments;

	if (*remark != NULL)
		return;
	va_start(arguments, format);
	if (vasprintf(remark, format, arguments) < 0)
		*remark = NULL;
	va_end(arguments);
}

static void release_link(struct explain_link *link)
{
	chain_row_release(&link->database);
	chain_row_release(&link->evidence);
	free(link->remark);
}

/* ---------------------------------------------------------------- asking -- */

int explain_ask(struct explain_report *report, const char *sql, const struct chain_value *values,
		size_t count, struct chain_rows *out, struct error *error)
{
	return chain_query(report->database, report->options->database, sql, values, count, out,
			   error);
}

static int ask_anew(struct explain_report *report, const char *sql,
		    const struct chain_value *values, size_t count, struct chain_rows *out,
		    struct error *error)
{
	*out = (struct chain_rows){0};
	if (report->anew == NULL)
		return 0;
	return chain_query(report->anew, report->options->evidence, sql, values, count, out, error);
}

/* Whether what the evidence lacks may be in an earlier segment: a row that is
 * not there, or the time of a first sighting. */
static bool is_from_before(const struct explain_link *link)
{
	if (chain_field(&link->database, "first_seen_ns") == NULL)
		return strcmp(link->name, "frame") == 0 && link->evidence.count == 0;
	for (size_t i = 0; i < link->database.count && link->evidence.count > 0; i++) {
		const struct chain_field *f = &link->database.fields[i];

		if (!chain_is_internal(f) && strcmp(f->name, "first_seen_ns") != 0 &&
		    !chain_same_field(f, &link->evidence))
			return false;
	}
	return !chain_same(&link->database, &link->evidence);
}

static void compare(const struct explain_report *report, struct explain_link *link)
{
	if (report->options->evidence == NULL)
		return;
	if (report->missing != NULL && is_from_before(link)) {
		explain_remark(&link->remark, "first seen in %s, which is not in the evidence",
			       report->missing);
		return;
	}
	link->state = EXPLAIN_DIFFERS;
	if (link->evidence.count == 0)
		explain_remark(&link->remark, "the evidence gives no such row");
	else if (link->database.count == 0)
		explain_remark(&link->remark, "the database has no such row");
	else if (chain_same(&link->database, &link->evidence))
		link->state = EXPLAIN_SAME;
}

/* The rows of sql in both databases, side by side. */
static int add_rows(struct explain_report *report, struct explain_links *links, const char *name,
		    const char *sql, const struct chain_value *here,
		    const struct chain_value *there, size_t count, struct error *error)
{
	struct chain_rows rows, anew = {0};
	int status = explain_ask(report, sql, here, count, &rows, error);

	if (status == 0 && there[0].number != CHAIN_NULL)
		status = ask_anew(report, sql, there, count, &anew, error);
	for (size_t i = 0; status == 0 && (i < rows.count || i < anew.count); i++) {
		struct explain_link *link;

		if (report->row_count++ == CHAIN_MAX_ROWS) {
			status = chain_too_many(report->options->database, error);
			break;
		}
		link = explain_add_link(links, name);
		if (link == NULL) {
			status = explain_no_memory(error);
			break;
		}
		link->database = chain_take(&rows, i);
		link->evidence = chain_take(&anew, i);
		compare(report, link);
	}
	chain_rows_release(&rows);
	chain_rows_release(&anew);
	return status;
}

/* -------------------------------------------------------------- evidence -- */

/* The segments that the answer rests on; those of its packets first in rank. */
static int choose_segments(struct explain_report *report, struct error *error)
{
	struct chain_value values[] = {{.number = report->flow_id}, {.number = report->segment_id}};
	struct chain_rows rows;
	int status = explain_ask(report, explain_segments_sql, values, 2, &rows, error);

	if (status != 0)
		return status;
	report->segments = calloc(rows.count + 1, sizeof(*report->segments));
	if (report->segments == NULL)
		status = explain_no_memory(error);
	for (size_t i = 0; i < rows.count && status == 0; i++) {
		struct explain_segment *s = &report->segments[report->segment_count++];

		s->row = chain_take(&rows, i);
		s->id = chain_number(&s->row, "_segment_id");
		s->of_flow = chain_number(&s->row, "_of_flow") == 1;
	}
	chain_rows_release(&rows);
	return status;
}

static void forget_segments(struct explain_report *report)
{
	for (size_t i = 0; i < report->segment_count; i++) {
		struct explain_segment *s = &report->segments[i];

		trace_release(&s->trace);
		chain_row_release(&s->row);
		free(s->pcap);
		free(s->snap);
	}
	free(report->segments);
	free(report->names);
	report->segments = NULL;
	report->names = NULL;
	report->name_count = 0;
	report->segment_count = 0;
	for (size_t i = 0; i < report->files.count; i++)
		release_link(&report->files.items[i]);
	report->files.count = 0;
	if (report->directory >= 0)
		close(report->directory);
	report->directory = -1;
}

struct explain_segment *explain_segment_of(const struct explain_report *report, int64_t id)
{
	size_t low = 0, high = report->segment_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		walk_step();
		if (report->segments[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < report->segment_count && report->segments[low].id == id
		       ? &report->segments[low]
		       : NULL;
}

/* Which packet stands for the answer: the one asked for, else the flow's first. */
static int read_bytes(struct explain_report *report, struct error *error)
{
	const struct explain_segment *s = explain_segment_of(report, report->segment_id);
	struct error why = ERROR_NONE;
	int status;

	if (s == NULL || s->pcap == NULL)
		return 0;
	status = explain_read_packet(report, s->pcap, report->number, &report->bytes, &why);
	if (status == 0 && report->options->packet != NULL && report->bytes.outcome == NULL)
		status = explain_find_first_sighting(report, s->pcap, &report->bytes, &why);
	if (status == ERROR_DAMAGED || status == ERROR_NO_INPUT) {
		/* The evidence's fault: that is what there is to tell. */
		explain_remark(&report->packet.remark, "%s", why.message);
		return 0;
	}
	if (status != 0)
		*error = why;
	return status;
}

static void ask_traces(struct explain_report *report)
{
	int64_t from = chain_number(&report->flow.database, "start_ns");
	int64_t until = chain_number(&report->flow.database, "end_ns");
	bool repeat = explain_is_repeat(&report->bytes);

	for (size_t i = 0; i < report->segment_count; i++) {
		struct explain_segment *s = &report->segments[i];
		bool asked = s->id == report->segment_id;

		s->trace.key = report->bytes.key;
		s->trace.from_ns = from;
		s->trace.until_ns = until;
		if (report->options->packet == NULL)
			continue;
		s->trace.number = !asked   ? UINT64_MAX
				  : repeat ? report->bytes.counted
					   : report->number;
		s->trace.repeat = asked && repeat ? report->number : 0;
	}
}

/* A database without packets knows the flow of one only from the evidence. */
static int find_flow_in_evidence(struct explain_report *report, struct error *error)
{
	int status = choose_segments(report, error);

	if (status == 0)
		status = explain_find_files(report, error);
	if (status == 0)
		status = read_bytes(report, error);
	if (status == 0 && report->bytes.data != NULL && report->bytes.outcome == NULL)
		status = explain_find_flow_of_bytes(report, error);
	free(report->bytes.data);
	report->bytes = (struct explain_packet){0};
	forget_segments(report);
	return status;
}

/* ----------------------------------------------------------------- links -- */

static int load_flow(struct explain_report *report, struct error *error)
{
	struct chain_value id = {.number = report->flow_id};
	struct chain_rows rows;
	int status = explain_ask(report, explain_flow_sql, &id, 1, &rows, error);

	if (status != 0)
		return status;
	report->flow = (struct explain_link){.name = "flow", .database = chain_take(&rows, 0)};
	chain_rows_release(&rows);
	if (report->flow.database.count == 0)
		return error_damage(error, report->options->database, -1, "the flow of a row",
				    "no flow %" PRId64, report->flow_id);
	report->recording_id = chain_number(&report->flow.database, "_recording_id");
	if (report->options->packet == NULL) {
		int64_t number = chain_number(&report->flow.database, "first_packet_number");

		report->segment_id = chain_number(&report->flow.database, "_segment_id");
		report->number = number == CHAIN_NULL ? 0 : (uint64_t)number;
	}
	return 0;
}

static int compare_flow(struct explain_report *report, int64_t *anew_id, struct error *error)
{
	const struct chain_row *row = &report->flow.database;
	struct chain_value values[] = {{.text = chain_text(row, "file")},
				       {.number = chain_number(row, "first_packet_number")}};
	struct chain_value id = {.number = CHAIN_NULL};
	struct chain_rows rows;
	int status = ask_anew(report, explain_flow_by_packet_sql, values, 2, &rows, error);

	if (status == 0 && rows.count > 0)
		id.number = chain_number(&rows.rows[0], "flow_id");
	chain_rows_release(&rows);
	*anew_id = id.number;
	if (status == 0)
		status = ask_anew(report, explain_flow_sql, &id, 1, &rows, error);
	if (status == 0)
		report->flow.evidence = chain_take(&rows, 0);
	chain_rows_release(&rows);
	if (report->anew == NULL && report->anew_error.code != 0)
		explain_remark(&report->flow.remark, "the evidence cannot be analyzed: %s: %s",
			       report->anew_error.path, report->anew_error.message);
	compare(report, &report->flow);
	return status;
}

static int add_packet_facts(struct chain_row *row, const struct explain_packet *p)
{
	return chain_add_number(row, "number", (int64_t)p->number) != 0 ||
			       chain_add_number(row, "offset_bytes", (int64_t)p->offset_bytes) !=
				       0 ||
			       chain_add_number(row, "time_ns", p->time_ns) != 0
		       ? -1
		       : 0;
}

static int add_fields(struct chain_row *to, const struct chain_row *from)
{
	for (size_t i = 0; i < from->count; i++) {
		if (chain_field(to, from->fields[i].name) == NULL &&
		    chain_add(to, &from->fields[i]) != 0)
			return -1;
	}
	return 0;
}

/* What table packet has of it; without that table, of a flow's first packet, the flow's row. */
static int compare_packet(struct explain_report *report, struct error *error)
{
	const struct chain_row *flow = &report->flow.database;
	struct chain_value here[] = {{.number = report->segment_id},
				     {.number = (int64_t)report->number}};
	struct chain_rows rows, anew = {0};
	struct chain_row row;
	struct explain_segment *s = explain_segment_of(report, report->segment_id);
	struct chain_value name = {.text = s == NULL ? NULL : chain_text(&s->row, "pcap_name")};
	int status = explain_ask(report, explain_packet_sql, here, 2, &rows, error);

	if (status == 0 && name.text != NULL) {
		struct chain_value there[] = {{.number = CHAIN_NULL}, here[1], name};

		status = ask_anew(report, explain_packet_anew_sql, there, 3, &anew, error);
	}
	report->packet.name = "packet";
	report->packet.database = chain_take(&rows, 0);
	row = chain_take(&anew, 0);
	if (status == 0 && report->packet.database.count == 0 && flow->count > 0 &&
	    (int64_t)report->number == chain_number(flow, "first_packet_number") &&
	    report->segment_id == chain_number(flow, "_segment_id") &&
	    (chain_add_number(&report->packet.database, "number", (int64_t)report->number) != 0 ||
	     chain_add_number(&report->packet.database, "offset_bytes",
			      chain_number(flow, "first_packet_offset")) != 0 ||
	     chain_add_number(&report->packet.database, "time_ns",
			      chain_number(flow, "start_ns")) != 0))
		status = explain_no_memory(error);
	if (status == 0 && report->packet.database.count == 0 &&
	    chain_add_number(&report->packet.database, "number", (int64_t)report->number) != 0)
		status = explain_no_memory(error);
	if (status == 0 && report->bytes.data != NULL &&
	    (add_packet_facts(&report->packet.evidence, &report->bytes) != 0 ||
	     add_fields(&report->packet.evidence, &row) != 0))
		status = explain_no_memory(error);
	if (status == 0)
		compare(report, &report->packet);
	chain_row_release(&row);
	chain_rows_release(&rows);
	chain_rows_release(&anew);
	return status;
}

/* ------------------------------------------------------------ connections -- */

static int add_people(struct explain_report *report, struct explain_connection *c,
		      const struct chain_value *here, const struct chain_value *there,
		      struct error *error)
{
	struct explain_links people = {0};
	int status =
		add_rows(report, &people, "process", explain_process_sql, here, there, 1, error);

	for (size_t i = 0; i < people.count; i++) {
		struct explain_links *to = i == 0 ? &c->process : &c->parents;
		struct explain_link *link =
			status == 0 ? explain_add_link(to, i == 0 ? "process" : "parent") : NULL;

		if (link == NULL) {
			chain_row_release(&people.items[i].database);
			chain_row_release(&people.items[i].evidence);
			free(people.items[i].remark);
			status = status != 0 ? status : explain_no_memory(error);
			continue;
		}
		*link = people.items[i];
		link->name = i == 0 ? "process" : "parent";
	}
	free(people.items);
	return status;
}

static struct chain_value id_of(const struct chain_row *row, const char *name)
{
	return (struct chain_value){.number = chain_number(row, name)};
}

static int fill_connection(struct explain_report *report, struct explain_connection *c,
			   size_t connections, struct error *error)
{
	const struct chain_row *a = &c->row.database, *b = &c->row.evidence;
	struct chain_value frame[] = {id_of(a, "_snapshot_id"), id_of(b, "_snapshot_id")};
	struct chain_value socket[] = {id_of(a, "_socket_id"), id_of(b, "_socket_id")};
	struct chain_value process[] = {id_of(a, "_process_id"), id_of(b, "_process_id")};
	struct chain_value self[] = {id_of(a, "_connection_id"), id_of(b, "_connection_id")};
	struct chain_value holder[2][2] = {{socket[0], process[0]}, {socket[1], process[1]}};
	int status = add_rows(report, &c->frame, "frame", explain_frame_sql, &frame[0], &frame[1],
			      1, error);

	if (status == 0)
		status = add_rows(report, &c->socket, "socket", explain_socket_sql, &socket[0],
				  &socket[1], 1, error);
	if (status == 0)
		status = add_rows(report, &c->holders, "holder", explain_holder_sql, holder[0],
				  holder[1], 2, error);
	if (status == 0)
		status = add_people(report, c, &process[0], &process[1], error);
	if (status == 0)
		status = add_rows(report, &c->candidates, "candidate", explain_candidate_sql,
				  &self[0], &self[1], 1, error);
	if (status == 0 && report->options->evidence != NULL) {
		explain_find_judgement(report, c, connections);
		status = explain_want_lines(report, c, error);
	}
	return status;
}

/* Whether a connection is asked for: all of a flow, one by its number; by the database alone
 * those of a packet's time. */
static bool is_asked(const struct explain_report *report, const struct explain_link *row,
		     int64_t time_ns)
{
	const struct explain_options *o = report->options;
	const char *packet_end = chain_text(&report->packet.database, "end");
	const char *end = chain_text(&row->database, "end");
	const struct chain_row *r = row->database.count > 0 ? &row->database : &row->evidence;

	if (o->flow_id != 0)
		return true;
	if (o->connection_id != 0)
		return chain_number(&row->database, "_connection_id") == o->connection_id;
	if (packet_end != NULL && end != NULL && strcmp(packet_end, end) == 0)
		return chain_number(&row->database, "_connection_id") ==
		       chain_number(&report->packet.database, "_connection_id");
	return time_ns == CHAIN_NULL ||
	       (time_ns >= chain_number(r, "start_ns") && time_ns <= chain_number(r, "end_ns"));
}

static int keep_connection(struct explain_report *report, struct explain_link *row,
			   size_t connections, struct error *error)
{
	struct explain_connection *c;

	if (grow_one(&report->connections, report->connection_count, &report->connection_capacity,
		     sizeof(*report->connections)) != 0)
		return explain_no_memory(error);
	c = &report->connections[report->connection_count++];
	*c = (struct explain_connection){.row = *row};
	*row = (struct explain_link){0};
	return fill_connection(report, c, connections, error);
}

/* Which connections are asked for. */
static int choose_connections(struct explain_report *report, const struct explain_links *rows,
			      bool *asked, struct error *error)
{
	int64_t time_ns = chain_number(report->packet.database.count > 1 ? &report->packet.database
									 : &report->packet.evidence,
				       "time_ns");

	if (report->options->packet != NULL && report->anew != NULL)
		return explain_mark_judged(report, rows, asked, error);
	for (size_t i = 0; i < rows->count; i++)
		asked[i] = is_asked(report, &rows->items[i], time_ns);
	return 0;
}

/* Those of one end are in the same order in both databases. */
static int add_connections(struct explain_report *report, int64_t anew_id, struct error *error)
{
	struct chain_value here = {.number = report->flow_id}, there = {.number = anew_id};
	struct explain_links rows = {0};
	int status = add_rows(report, &rows, "connection", explain_connection_sql, &here, &there, 1,
			      error);
	bool *asked = calloc(rows.count + 1, sizeof(*asked));

	if (status == 0 && asked == NULL)
		status = explain_no_memory(error);
	if (status == 0)
		status = explain_sort_judgements(report, error);
	if (status == 0)
		status = choose_connections(report, &rows, asked, error);
	for (size_t i = 0; i < rows.count && status == 0; i++) {
		if (asked[i])
			status = keep_connection(report, &rows.items[i], rows.count, error);
	}
	if (status == 0 && report->options->evidence != NULL)
		status = explain_read_lines(report, error);
	for (size_t i = 0; i < rows.count; i++)
		release_link(&rows.items[i]);
	free(rows.items);
	free(asked);
	if (status == 0 && report->options->evidence != NULL && report->connection_count == 0) {
		report->packet.state = EXPLAIN_DIFFERS;
		explain_remark(&report->packet.remark,
			       "no connection of flow %" PRId64 " has this packet",
			       report->flow_id);
	}
	return status;
}

/* --------------------------------------------------------------- in short -- */

static void count_state(struct explain_report *report, enum explain_state state)
{
	report->same += state == EXPLAIN_SAME;
	report->differs += state == EXPLAIN_DIFFERS;
	report->unread += state == EXPLAIN_NOT_READ;
}

static void count_links(struct explain_report *report, const struct explain_links *links)
{
	for (size_t i = 0; i < links->count; i++)
		count_state(report, links->items[i].state);
}

static void count_all(struct explain_report *report)
{
	count_links(report, &report->files);
	count_links(report, &report->other);
	count_state(report, report->packet.state);
	if (report->flow.database.count > 0)
		count_state(report, report->flow.state);
	for (size_t i = 0; i < report->connection_count; i++) {
		const struct explain_connection *c = &report->connections[i];

		count_state(report, c->row.state);
		count_links(report, &c->frame);
		count_links(report, &c->socket);
		count_links(report, &c->holders);
		count_links(report, &c->process);
		count_links(report, &c->parents);
		count_links(report, &c->candidates);
		for (size_t n = 0; n < c->lines.count; n++)
			count_state(report, c->lines.items[n].state);
	}
}

/* A packet in no flow: its segment counts it by reason. */
static int add_other(struct explain_report *report, struct error *error)
{
	struct explain_segment *s = explain_segment_of(report, report->segment_id);
	struct chain_value here[] = {{.number = report->segment_id},
				     {.text = report->bytes.outcome, .number = CHAIN_NULL},
				     {.number = CHAIN_NULL}};
	struct chain_value there[] = {{.number = 0},
				      here[1],
				      {.text = s == NULL ? NULL : chain_text(&s->row, "pcap_name"),
				       .number = CHAIN_NULL}};

	return add_rows(report, &report->other, "other", explain_other_sql, here, there, 3, error);
}

/* What a part of the capture begins with is counted, even if the part before ended with an
 * equal packet: then it is judged itself. */
static bool was_counted(const struct explain_report *report)
{
	const struct explain_segment *s = explain_segment_of(report, report->segment_id);

	return explain_is_repeat(&report->bytes) && report->anew != NULL && s != NULL &&
	       !s->trace.repeated;
}

static int analyze_anew(struct explain_report *report, struct error *error)
{
	int status;

	ask_traces(report);
	status = explain_analyze_anew(report, error);
	if (status != 0 || !was_counted(report))
		return status;
	for (size_t i = 0; i < report->segment_count; i++) {
		trace_release(&report->segments[i].trace);
		report->segments[i].trace = (struct trace){0};
	}
	storefile_close(report->anew);
	report->anew = NULL;
	report->bytes.counted = report->number;
	report->bytes.counted_ns = report->bytes.time_ns;
	ask_traces(report);
	return explain_analyze_anew(report, error);
}

static int assemble(struct explain_report *report, struct error *error)
{
	int64_t anew_id = CHAIN_NULL;
	int status = 0;

	if (report->flow_id != 0)
		status = load_flow(report, error);
	if (status == 0 && report->options->evidence != NULL) {
		status = choose_segments(report, error);
		if (status == 0)
			status = explain_find_files(report, error);
		if (status == 0)
			status = read_bytes(report, error);
		if (status == 0)
			status = analyze_anew(report, error);
	}
	if (status == 0 && report->flow_id != 0)
		status = compare_flow(report, &anew_id, error);
	if (status == 0)
		status = compare_packet(report, error);
	if (status == 0 && report->flow_id != 0)
		status = add_connections(report, anew_id, error);
	if (status == 0 && report->flow_id == 0)
		status = add_other(report, error);
	if (status == 0)
		count_all(report);
	return status;
}

int explain_run(const struct explain_options *options, struct explain_report *report,
		struct error *error)
{
	int status;

	*report = (struct explain_report){.options = options, .directory = -1};
	status = storefile_open(options->database, &report->database, error);
	if (status == 0)
		status = explain_find_target(report, error);
	if (status == 0 && report->flow_id == 0 && options->evidence != NULL)
		status = find_flow_in_evidence(report, error);
	if (status == 0)
		status = assemble(report, error);
	return status;
}

static void release_links(struct explain_links *links)
{
	for (size_t i = 0; i < links->count; i++)
		release_link(&links->items[i]);
	free(links->items);
}

static void release_connection(struct explain_connection *c)
{
	struct explain_links *all[] = {&c->frame,   &c->socket,	 &c->holders,
				       &c->process, &c->parents, &c->candidates};

	release_link(&c->row);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		release_links(all[i]);
	for (size_t i = 0; i < c->lines.count; i++) {
		witness_release(&c->lines.items[i].witness, 1);
		free(c->lines.items[i].remark);
	}
	free(c->lines.items);
}

void explain_release(struct explain_report *report)
{
	for (size_t i = 0; i < report->connection_count; i++)
		release_connection(&report->connections[i]);
	free(report->connections);
	free(report->judged);
	release_link(&report->packet);
	release_link(&report->flow);
	release_links(&report->other);
	free(report->bytes.data);
	forget_segments(report);
	free(report->files.items);
	storefile_close(report->database);
	storefile_close(report->anew);
	*report = (struct explain_report){.directory = -1};
}
