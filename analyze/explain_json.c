/* An explanation for programs: one JSON object. */
#include "analyze/explain_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "analyze/query_print.h"
#include "snapshot/format/endpoint.h"

static void text(const char *value)
{
	if (value == NULL)
		fputs("null", stdout);
	else
		query_json_text(stdout, value, strlen(value));
}

static void name(const char *key)
{
	text(key);
	putchar(':');
}

static void number_field(const char *key, int64_t value)
{
	putchar(',');
	name(key);
	printf("%" PRId64, value);
}

static void text_field(const char *key, const char *value)
{
	putchar(',');
	name(key);
	text(value);
}

/* A number only where it is one: who made the database may have put anything there. */
static void value(const struct chain_field *f)
{
	if (f == NULL || f->text == NULL)
		fputs("null", stdout);
	else if (f->number)
		fputs(f->text, stdout);
	else
		query_json_text(stdout, f->text, f->length);
}

static void row(const struct chain_row *fields)
{
	bool first = true;

	if (fields->count == 0) {
		fputs("null", stdout);
		return;
	}
	putchar('{');
	for (size_t i = 0; i < fields->count; i++) {
		const struct chain_field *f = &fields->fields[i];

		if (chain_is_internal(f))
			continue;
		if (!first)
			putchar(',');
		first = false;
		name(f->name);
		value(f);
	}
	putchar('}');
}

static const char *state_name(enum explain_state state)
{
	return state == EXPLAIN_SAME ? "same" : state == EXPLAIN_DIFFERS ? "differs" : "not read";
}

static void link_object(const struct explain_link *link)
{
	fputs("{\"state\":", stdout);
	text(state_name(link->state));
	if (link->remark != NULL)
		text_field("remark", link->remark);
	fputs(",\"database\":", stdout);
	row(&link->database);
	fputs(",\"evidence\":", stdout);
	row(&link->evidence);
	putchar('}');
}

static void link_field(const char *key, const struct explain_link *link)
{
	fputs(",\n", stdout);
	name(key);
	link_object(link);
}

static void links_field(const char *key, const struct explain_links *links)
{
	fputs(",\n", stdout);
	name(key);
	putchar('[');
	for (size_t i = 0; i < links->count; i++) {
		if (i > 0)
			fputs(",\n", stdout);
		link_object(&links->items[i]);
	}
	putchar(']');
}

static void bytes_field(const struct explain_packet *p)
{
	if (p->data == NULL)
		return;
	number_field("captured_bytes", p->captured_bytes);
	number_field("original_bytes", p->original_bytes);
	fputs(",\"data\":\"", stdout);
	for (uint32_t i = 0; i < p->captured_bytes; i++)
		printf("%02x", p->data[i]);
	putchar('"');
}

static void endpoint_field(const char *key, const struct endpoint *at)
{
	char address[ENDPOINT_TEXT_SIZE];

	putchar(',');
	name(key);
	printf("{\"address\":\"%s\",\"port\":%u}", endpoint_format(&at->address, address),
	       at->port);
}

static void note_object(const struct trace_note *note)
{
	fputs("{\"rules\":", stdout);
	text(bridge_why_rules(note->why));
	text_field("why", bridge_why_text(note->why));
	if (note->first.sequence != 0) {
		number_field("inode", note->inode);
		number_field("first_frame", (int64_t)note->first.sequence);
		number_field("last_frame", (int64_t)note->last.sequence);
	}
	putchar('}');
}

static void candidates_field(const struct trace_end *end)
{
	fputs(",\"candidates\":[", stdout);
	for (size_t i = 0; i < end->candidate_count; i++)
		printf("%s{\"pid\":%u,\"start_ticks\":%" PRIu64 ",\"inode\":%u}", i > 0 ? "," : "",
		       end->candidates[i].process.pid, end->candidates[i].process.start_ticks,
		       end->candidates[i].inode);
	putchar(']');
}

static void judgement_field(const struct explain_connection *c)
{
	const struct trace_end *end;

	if (c->judged == NULL)
		return;
	end = &c->judged->end[c->side];
	fputs(",\n\"judgement\":{\"pcap\":", stdout);
	text(c->pcap);
	number_field("number", (int64_t)c->judged->number);
	number_field("offset_bytes", (int64_t)c->judged->offset_bytes);
	number_field("time_ns", c->judged->time_ns);
	number_field("bytes", c->judged->bytes);
	endpoint_field("local", &end->address);
	endpoint_field("remote", &end->peer);
	printf(",\"sent\":%s,\"rule\":", end->sent ? "true" : "false");
	text(bridge_rule_name(end->rule));
	text_field("reason", bridge_reason_name(end->reason));
	fputs(",\"stronger\":[", stdout);
	for (size_t i = 0; i < end->note_count; i++) {
		if (i > 0)
			putchar(',');
		note_object(&end->notes[i]);
	}
	putchar(']');
	if (end->notes_left_out > 0)
		number_field("stronger_left_out", (int64_t)end->notes_left_out);
	if (end->process.pid != 0) {
		number_field("pid", end->process.pid);
		number_field("start_ticks", (int64_t)end->process.start_ticks);
	}
	number_field("inode", end->inode);
	number_field("shared_by", end->shared_by);
	if (end->frame.sequence != 0) {
		number_field("frame", (int64_t)end->frame.sequence);
		number_field("frame_line", (int64_t)end->frame.line);
		number_field("distance_ns", end->distance_ns);
	}
	if (end->act != 0) {
		text_field("act", snap_act_name(end->act));
		number_field("at_ns", end->at_ns);
	}
	candidates_field(end);
	text_field("taken_back", end->taken_back);
	text_field("final_reason", bridge_reason_name(end->final_reason));
	putchar('}');
}

static void line_object(const struct explain_line *line)
{
	const struct witness *w = &line->witness;

	fputs("{\"state\":", stdout);
	text(state_name(line->state));
	if (line->remark != NULL)
		text_field("remark", line->remark);
	text_field("record", witness_kind(w->type));
	text_field("file", line->file);
	if (w->line != 0) {
		number_field("frame", (int64_t)w->in_frame);
		number_field("line", (int64_t)w->line);
		number_field("offset_bytes", (int64_t)w->offset_bytes);
		number_field("bytes", (int64_t)w->length);
		text_field("text", w->text != NULL ? w->text : "");
	}
	putchar('}');
}

static void connection_object(const struct explain_connection *c)
{
	const struct chain_field *id = chain_field(&c->row.database, "_connection_id");

	fputs("{\"connection_id\":", stdout);
	value(id);
	link_field("connection", &c->row);
	judgement_field(c);
	links_field("frame", &c->frame);
	links_field("socket", &c->socket);
	links_field("holders", &c->holders);
	links_field("process", &c->process);
	links_field("parents", &c->parents);
	links_field("candidates", &c->candidates);
	fputs(",\n\"lines\":[", stdout);
	for (size_t i = 0; i < c->lines.count; i++) {
		if (i > 0)
			fputs(",\n", stdout);
		line_object(&c->lines.items[i]);
	}
	fputs("]}", stdout);
}

void explain_print_json(const struct explain_report *report)
{
	fputs("{\"database\":", stdout);
	text(report->options->database);
	text_field("directory", report->options->evidence);
	text_field("verdict", report->options->evidence == NULL ? "not read"
			      : report->differs == 0		? "same"
								: "differs");
	number_field("same", (int64_t)report->same);
	number_field("differs", (int64_t)report->differs);
	links_field("files", &report->files);
	link_field("packet", &report->packet);
	if (report->bytes.data != NULL) {
		fputs(",\n\"bytes\":{\"number\":", stdout);
		printf("%" PRIu64, report->bytes.number);
		bytes_field(&report->bytes);
		if (explain_is_repeat(&report->bytes))
			number_field("second_sighting_of", (int64_t)report->bytes.counted);
		putchar('}');
	}
	if (report->flow.database.count > 0) {
		number_field("flow_id", report->flow_id);
		link_field("flow", &report->flow);
	} else {
		text_field("outcome", report->bytes.outcome);
		links_field("other", &report->other);
	}
	fputs(",\n\"connections\":[", stdout);
	for (size_t i = 0; i < report->connection_count; i++) {
		if (i > 0)
			fputs(",\n", stdout);
		connection_object(&report->connections[i]);
	}
	fputs("]}\n", stdout);
}
