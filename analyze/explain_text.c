/*
 * An explanation for people: each link in a paragraph, its state in brackets.
 * Texts of the evidence may be hostile; none of it steers a terminal, also not by way of a
 * file or a pipe.
 */
#include "analyze/explain_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/decode_tunnel.h"
#include "analyze/tunnel.h"
#include "snapshot/format/endpoint.h"
#include "snapshot/format/escape.h"
#include "snapshot/format/quantity.h"

#define INDENT 4
/* Of the packet itself: its headers, and enough behind them to know it again. */
#define SHOWN_BYTES    128u
#define BYTES_PER_LINE 16u

struct page {
	const struct explain_report *report;
	unsigned width; /* 0: lines are not folded */
	bool terminal;
	unsigned column;
};

/* ----------------------------------------------------------------- words -- */

/* The character at <at, available>, made harmless. Returns its bytes. */
static size_t put_character(struct page *page, const uint8_t *at, size_t available, unsigned indent)
{
	char shown[ESCAPE_SHOWN_SIZE];
	size_t length, size = escape_show(at, available, shown, &length);

	unsigned columns = length > size ? (unsigned)length : 1;

	if (page->width != 0 && page->column + columns > page->width) {
		printf("\n%*s", (int)indent, "");
		page->column = indent;
	}
	fwrite(shown, 1, length, stdout);
	page->column += columns;
	return size;
}

/* One word, broken only where it is longer than a line. */
static void put_word(struct page *page, const char *text, size_t length, bool first,
		     unsigned indent)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + length;

	if (page->width != 0 && !first && page->column + 1 + length > page->width) {
		printf("\n%*s", (int)indent, "");
		page->column = indent;
	} else if (!first) {
		putchar(' ');
		page->column++;
	}
	while (at < end)
		at += put_character(page, at, (size_t)(end - at), indent);
}

/* Begins a line at indent and folds what does not fit below hang. */
static void put_paragraph(struct page *page, unsigned indent, unsigned hang, const char *text)
{
	const char *at = text;
	bool first = true;

	printf("%*s", (int)indent, "");
	page->column = indent;
	while (*at != '\0') {
		size_t length = strcspn(at, " \t");

		if (length > 0) {
			put_word(page, at, length, first, hang);
			first = false;
		}
		at += length;
		at += strspn(at, " \t");
	}
	putchar('\n');
}

static void say(struct page *page, unsigned indent, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void say(struct page *page, unsigned indent, const char *format, ...)
{
	va_list arguments;
	char *text = NULL;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) >= 0) {
		put_paragraph(page, indent, indent + 2, text);
		free(text);
	}
	va_end(arguments);
}

/* A line of the evidence on one line, its tabs as they are. */
static void put_record(struct page *page, unsigned indent, const char *text)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);

	printf("%*s", (int)indent, "");
	while (at < end) {
		if (*at == '\t')
			putchar(*at++);
		else
			at += put_character(page, at, (size_t)(end - at), indent);
	}
	putchar('\n');
}

/* A line of the evidence as it stands, but for what would steer a terminal; on one its tabs
 * are spaces. */
static void say_line(struct page *page, const struct explain_line *line)
{
	const struct witness *w = &line->witness;

	if (w->line == 0) {
		say(page, INDENT + 2, "[DIFFERS] %s: %s in %s", witness_kind(w->type),
		    line->remark != NULL ? line->remark : "not there", line->file);
		return;
	}
	say(page, INDENT + 2,
	    "line %" PRIu64 ", byte %" PRIu64 " of %s, in frame %" PRIu64 " [%s]%s%s", w->line,
	    w->offset_bytes, line->file, w->in_frame,
	    line->state == EXPLAIN_SAME ? "same" : "DIFFERS", line->remark != NULL ? ": " : "",
	    line->remark != NULL ? line->remark : "");
	if (page->terminal)
		put_paragraph(page, INDENT + 4, INDENT + 6, w->text != NULL ? w->text : "");
	else
		put_record(page, INDENT + 4, w->text != NULL ? w->text : "");
	if (w->length > WITNESS_TEXT_BYTES)
		say(page, INDENT + 4, "(%zu bytes in all)", w->length);
}

static const char *or_none(const char *text)
{
	return text != NULL ? text : "not known";
}

static const char *span_text(int64_t ns, char *buffer, size_t size)
{
	if (ns == CHAIN_NULL)
		snprintf(buffer, size, "a time not known");
	else if (ns < 1000)
		snprintf(buffer, size, "%" PRId64 " ns", ns);
	else if (ns < 1000000)
		snprintf(buffer, size, "%.3f us", (double)ns / 1e3);
	else if (ns < NS_PER_SECOND)
		snprintf(buffer, size, "%.3f ms", (double)ns / 1e6);
	else
		snprintf(buffer, size, "%.3f s", (double)ns / 1e9);
	return buffer;
}

/* Of two times, either of which a database may lack, or have far from the other. */
static const char *length_text(int64_t from_ns, int64_t until_ns, char *buffer, size_t size)
{
	int64_t ns;

	if (from_ns == CHAIN_NULL || until_ns == CHAIN_NULL ||
	    __builtin_sub_overflow(until_ns, from_ns, &ns))
		ns = CHAIN_NULL;
	return span_text(ns, buffer, size);
}

static const char *time_text(int64_t ns, char buffer[QUANTITY_TIME_SIZE])
{
	return ns == CHAIN_NULL ? "not known"
				: quantity_format_time(ns, buffer, QUANTITY_TIME_SIZE);
}

/* ---------------------------------------------------------------- states -- */

static const char *state_text(enum explain_state state)
{
	return state == EXPLAIN_SAME ? " [same]" : state == EXPLAIN_DIFFERS ? " [DIFFERS]" : "";
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void say_differences(struct page *page, const struct explain_link *link)
{
	if (link->remark != NULL)
		say(page, INDENT + 2, "! %s", link->remark);
	if (link->state != EXPLAIN_DIFFERS || link->evidence.count == 0)
		return;
	for (size_t i = 0; i < link->database.count; i++) {
		const struct chain_field *f = &link->database.fields[i];
		const struct chain_field *other = chain_field(&link->evidence, f->name);

		if (chain_is_internal(f) || chain_same_field(f, &link->evidence))
			continue;
		say(page, INDENT + 2, "! %s: the database has %s, the evidence %s", f->name,
		    f->text != NULL ? f->text : "NULL",
		    other == NULL	  ? "nothing"
		    : other->text != NULL ? other->text
					  : "NULL");
	}
}

/* The row to show: the database's, or what the evidence has in its place. */
static const struct chain_row *shown(const struct explain_link *link)
{
	return link->database.count > 0 ? &link->database : &link->evidence;
}

/* ----------------------------------------------------------------- links -- */

static void say_bytes(struct page *page, const struct explain_packet *p)
{
	uint32_t count = p->captured_bytes < SHOWN_BYTES ? p->captured_bytes : SHOWN_BYTES;

	if (p->data == NULL)
		return;
	say(page, INDENT, "%u bytes on the wire, %u captured%s", p->original_bytes,
	    p->captured_bytes, count < p->captured_bytes ? ", the first of them:" : ":");
	for (uint32_t i = 0; i < count; i += BYTES_PER_LINE) {
		printf("%*s%04x ", INDENT + 2, "", i);
		for (uint32_t k = i; k < count && k < i + BYTES_PER_LINE; k++)
			printf(" %02x", p->data[k]);
		putchar('\n');
	}
}

/* What the packet carries for others, as it says itself. */
static void say_inside(struct page *page, const struct explain_packet *p)
{
	struct decode_carried inner[2]; /* one is the packet that the other is read from */
	struct packet outer = {0};
	const struct packet *at = &outer;

	if (p->data == NULL)
		return;
	decode_packet(p->link_type, p->data, p->captured_bytes, p->original_bytes, &outer);
	for (unsigned depth = 1;
	     depth <= TUNNEL_DEPTH && at->outcome == DECODE_FLOW && decode_may_carry(at); depth++) {
		struct decode_carried *now = &inner[depth % 2];
		char source[ENDPOINT_TEXT_SIZE], destination[ENDPOINT_TEXT_SIZE];
		char protocol[ENDPOINT_PROTOCOL_SIZE], key[32] = "";

		decode_carried(at, now);
		if (now->inside != DECODE_INSIDE_READ)
			return;
		at = &now->packet;
		if (now->key >= 0)
			snprintf(key, sizeof(key), " %" PRId64, now->key);
		say(page, INDENT, "carries (%s%s) %s %s port %u > %s port %u",
		    decode_tunnel_name(now->tunnel), key,
		    endpoint_protocol_name(at->protocol, protocol),
		    endpoint_format(&at->source.address, source), at->source.port,
		    endpoint_format(&at->destination.address, destination), at->destination.port);
	}
}

static void say_packet(struct page *page)
{
	const struct explain_report *r = page->report;
	const struct chain_row *row = shown(&r->packet), *read = &r->packet.evidence;
	const char *file = r->flow.database.count > 0 && r->options->packet == NULL
				   ? chain_text(&r->flow.database, "file")
				   : r->options->packet;
	int64_t offset = chain_number(read->count > 0 ? read : row, "offset_bytes");
	int64_t time_ns = chain_number(read->count > 0 ? read : row, "time_ns");
	char time[QUANTITY_TIME_SIZE];

	if (r->options->packet != NULL)
		say(page, 0, "packet %s%s", file, state_text(r->packet.state));
	else
		say(page, 0, "packet %s:%" PRIu64 ", the flow's first%s", or_none(file), r->number,
		    state_text(r->packet.state));
	if (time_ns != CHAIN_NULL)
		say(page, INDENT, "at byte %" PRId64 " of the capture, %s", offset,
		    time_text(time_ns, time));
	if (explain_is_repeat(&r->bytes))
		say(page, INDENT,
		    "a second sighting of packet %" PRIu64 " on another interface: that one is "
		    "counted and judged below, this one is among the flow's repeats",
		    r->bytes.counted);
	say_differences(page, &r->packet);
	say_inside(page, &r->bytes);
	say_bytes(page, &r->bytes);
}

static void say_flow(struct page *page)
{
	const struct explain_link *link = &page->report->flow;
	const struct chain_row *row = &link->database;
	char begin[QUANTITY_TIME_SIZE], length[32];
	int64_t start = chain_number(row, "start_ns"), end = chain_number(row, "end_ns");

	say(page, 0, "flow %" PRId64 "%s", page->report->flow_id, state_text(link->state));
	say(page, INDENT, "%s %s port %s > %s port %s, %s, history %s",
	    or_none(chain_text(row, "protocol")), or_none(chain_text(row, "orig_address")),
	    or_none(chain_text(row, "orig_port")), or_none(chain_text(row, "resp_address")),
	    or_none(chain_text(row, "resp_port")), or_none(chain_text(row, "conn_state")),
	    or_none(chain_text(row, "history")));
	say(page, INDENT, "from %s, for %s; %s packets there, %s back", time_text(start, begin),
	    length_text(start, end, length, sizeof(length)),
	    or_none(chain_text(row, "orig_packets")), or_none(chain_text(row, "resp_packets")));
	say(page, INDENT, "begins with packet %s of %s, at byte %s",
	    or_none(chain_text(row, "first_packet_number")), or_none(chain_text(row, "file")),
	    or_none(chain_text(row, "first_packet_offset")));
	if (chain_number(row, "repeat_packets") > 0)
		say(page, INDENT, "second sightings on other interfaces, which are not counted: %s",
		    chain_text(row, "repeat_packets"));
	if (chain_text(row, "carries") != NULL)
		say(page, INDENT,
		    "a tunnel (%s): of its packets %s have a packet in them that was read, %s "
		    "carry no "
		    "IP, %s could not be read",
		    chain_text(row, "carries"), or_none(chain_text(row, "carried_packets")),
		    or_none(chain_text(row, "carried_other_packets")),
		    or_none(chain_text(row, "carried_unreadable_packets")));
	say_differences(page, link);
}

static void say_lines(struct page *page, const struct explain_connection *c, enum snap_type type)
{
	for (size_t i = 0; i < c->lines.count; i++) {
		const struct explain_line *line = &c->lines.items[i];

		if (line->witness.type == type)
			say_line(page, line);
	}
}

static void say_frame(struct page *page, const struct explain_connection *c)
{
	for (size_t i = 0; i < c->frame.count; i++) {
		const struct explain_link *link = &c->frame.items[i];
		const struct chain_row *row = shown(link);
		char begin[QUANTITY_TIME_SIZE], length[32];
		int64_t from = chain_number(row, "begin_ns"), until = chain_number(row, "end_ns");

		say(page, 2, "frame %s of %s%s", or_none(chain_text(row, "sequence")),
		    or_none(chain_text(row, "file")), state_text(link->state));
		say(page, INDENT, "%s (%s), read from %s for %s, at line %s",
		    or_none(chain_text(row, "kind")), or_none(chain_text(row, "cause")),
		    time_text(from, begin), length_text(from, until, length, sizeof(length)),
		    or_none(chain_text(row, "line")));
		say_differences(page, link);
	}
	say_lines(page, c, SNAP_TYPE_FRAME);
}

static void say_socket(struct page *page, const struct explain_connection *c)
{
	for (size_t i = 0; i < c->socket.count; i++) {
		const struct explain_link *link = &c->socket.items[i];
		const struct chain_row *row = shown(link);
		const char *inode = chain_text(row, "inode");
		char first[QUANTITY_TIME_SIZE];

		if (inode != NULL)
			say(page, 2, "socket inode %s%s", inode, state_text(link->state));
		else
			say(page, 2, "socket known by its uses alone, no inode read%s",
			    state_text(link->state));
		say(page, INDENT, "%s %s port %s > %s port %s, namespace %s, uid %s, first seen %s",
		    or_none(chain_text(row, "protocol")), or_none(chain_text(row, "local_address")),
		    or_none(chain_text(row, "local_port")),
		    chain_text(row, "remote_address") ? chain_text(row, "remote_address") : "any",
		    chain_text(row, "remote_port") ? chain_text(row, "remote_port") : "any",
		    or_none(chain_text(row, "net_namespace")), or_none(chain_text(row, "uid")),
		    time_text(chain_number(row, "first_seen_ns"), first));
		say_differences(page, link);
	}
	say_lines(page, c, SNAP_TYPE_SOCKET);
}

static void say_holders(struct page *page, const struct explain_connection *c)
{
	for (size_t i = 0; i < c->holders.count; i++) {
		const struct explain_link *link = &c->holders.items[i];
		const struct chain_row *row = shown(link);
		const char *fd = chain_text(row, "fd");
		char first[QUANTITY_TIME_SIZE];

		if (fd != NULL)
			say(page, 2, "descriptor %s of pid %s, first seen %s%s", fd,
			    or_none(chain_text(row, "pid")),
			    time_text(chain_number(row, "first_seen_ns"), first),
			    state_text(link->state));
		else
			say(page, 2, "use by pid %s, first told %s%s",
			    or_none(chain_text(row, "pid")),
			    time_text(chain_number(row, "first_seen_ns"), first),
			    state_text(link->state));
		say_differences(page, link);
	}
	say_lines(page, c, SNAP_TYPE_HOLDER);
	say_lines(page, c, SNAP_TYPE_USE);
}

static void say_process(struct page *page, const struct explain_connection *c,
			const struct explain_link *link, const char *title)
{
	const struct chain_row *row = shown(link);

	say(page, 2, "%s %s, pid %s%s%s%s", title, or_none(chain_text(row, "comm")),
	    or_none(chain_text(row, "pid")), chain_text(row, "inode") != NULL ? ", of inode " : "",
	    chain_text(row, "inode") != NULL ? chain_text(row, "inode") : "",
	    state_text(link->state));
	say(page, INDENT, "%s, uid %s, started at tick %s: %s", or_none(chain_text(row, "exe")),
	    or_none(chain_text(row, "uid")), or_none(chain_text(row, "start_ticks")),
	    or_none(chain_text(row, "cmdline")));
	say_differences(page, link);
	if (link->line > 0)
		say_line(page, &c->lines.items[link->line - 1]);
}

/* ------------------------------------------------------------------- why -- */

static void say_note(struct page *page, const struct trace_note *note)
{
	if (note->first.sequence == 0)
		say(page, INDENT, "%s: no: %s", bridge_why_rules(note->why),
		    bridge_why_text(note->why));
	else
		say(page, INDENT, "%s: no: %s (inode %u, frames %" PRIu64 " to %" PRIu64 ")",
		    bridge_why_rules(note->why), bridge_why_text(note->why), note->inode,
		    note->first.sequence, note->last.sequence);
}

/* Why the stronger ones of the rules that read the same rows did not apply. */
static void say_weaker(struct page *page, const struct trace_end *end)
{
	char far[32];

	span_text(end->distance_ns, far, sizeof(far));
	if (end->rule == BRIDGE_AHEAD)
		say(page, INDENT, "exact: no: the first %s is %s after the packet",
		    end->act != 0 ? "use told" : "sighting", far);
	if (end->rule == BRIDGE_BEHIND) {
		say(page, INDENT, "exact: no: the last sighting is %s before the packet", far);
		say(page, INDENT, "ahead: no: nothing of it was sighted after the packet");
	}
	if (end->rule == BRIDGE_WILDCARD)
		say(page, INDENT, "bound: no: no socket is bound to this very address");
	if (end->rule == BRIDGE_LISTENER)
		say(page, INDENT, "bound, wildcard: no: they are not for connections");
}

static void say_holds(struct page *page, const struct trace_end *end, int64_t time_ns)
{
	char far[32], from_use[32], at[QUANTITY_TIME_SIZE];
	bool after = end->at_ns > time_ns;

	span_text(end->distance_ns, far, sizeof(far));
	span_text(after ? end->at_ns - time_ns : time_ns - end->at_ns, from_use, sizeof(from_use));
	if (end->reason != BRIDGE_OWNED)
		say(page, INDENT, "no rule gives one owner: %s", bridge_reason_name(end->reason));
	else if (end->act != 0)
		say(page, INDENT,
		    "%s: yes: the kernel told of %s by pid %u at %s, %s %s the packet",
		    bridge_rule_name(end->rule), snap_act_name(end->act), end->process.pid,
		    time_text(end->at_ns, at), from_use, after ? "after" : "before");
	else
		say(page, INDENT,
		    "%s: yes: inode %u, held by pid %u, in frame %" PRIu64 " (line %" PRIu64
		    "), %s from the packet",
		    bridge_rule_name(end->rule), end->inode, end->process.pid, end->frame.sequence,
		    end->frame.line, far);
	if (end->reason == BRIDGE_OWNED && end->act != 0 && !after &&
	    end->distance_ns < time_ns - end->at_ns)
		say(page, INDENT + 2,
		    "(told of nobody else until the snapshot %s before the packet)", far);
	if (end->taken_back != NULL)
		say(page, INDENT, "taken back, as the whole flow shows: %s (%s)", end->taken_back,
		    end->final_reason != BRIDGE_OWNED ? bridge_reason_name(end->final_reason)
						      : "owned");
}

static void say_why(struct page *page, const struct explain_connection *c)
{
	const struct trace_end *end;
	const struct chain_row *row = shown(&c->row);
	const char *reason;

	if (c->judged == NULL)
		return;
	end = &c->judged->end[c->side];
	say(page, 2, "rules tried for packet %s:%" PRIu64 ", byte %" PRIu64 ", which this end %s",
	    c->pcap, c->judged->number, c->judged->offset_bytes, end->sent ? "sent" : "received");
	for (size_t i = 0; i < end->note_count; i++) {
		if (i == 0 || end->notes[i].why != end->notes[i - 1].why ||
		    end->notes[i].inode != end->notes[i - 1].inode)
			say_note(page, &end->notes[i]);
	}
	if (end->notes_left_out > 0)
		say(page, INDENT, "(and %zu more such reasons)", end->notes_left_out);
	if (end->reason == BRIDGE_OWNED)
		say_weaker(page, end);
	say_holds(page, end, c->judged->time_ns);
	reason = chain_text(row, "reason");
	if ((end->final_reason == BRIDGE_OWNED) != (chain_text(row, "rule") != NULL) ||
	    (end->final_reason != BRIDGE_OWNED && reason != NULL &&
	     strcmp(bridge_reason_name(end->final_reason), reason) != 0))
		say(page, INDENT, "another segment of this flow settled it");
}

/* ------------------------------------------------------------ connections -- */

static void say_rules(struct page *page, const struct chain_row *row)
{
	static const char *const rules[] = {"exact",	"ahead",    "behind", "bound",
					    "wildcard", "listener", "quoted"};
	char counts[256] = "", field[32];
	size_t length = 0;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		int64_t packets;

		snprintf(field, sizeof(field), "%s_packets", rules[i]);
		packets = chain_number(row, field);
		if (packets > 0 && length < sizeof(counts))
			length += (size_t)snprintf(counts + length, sizeof(counts) - length,
						   "%s%s %" PRId64, length > 0 ? ", " : "",
						   rules[i], packets);
	}
	if (chain_text(row, "rule") != NULL) {
		char far[32];

		say(page, INDENT,
		    "rule %s (packets: %s), at most %s from its sighting, shared by %s",
		    chain_text(row, "rule"), counts,
		    span_text(chain_number(row, "distance_ns"), far, sizeof(far)),
		    or_none(chain_text(row, "shared_by")));
	} else {
		say(page, INDENT, "no owner: %s", or_none(chain_text(row, "reason")));
	}
	if (chain_text(row, "_meaning") != NULL)
		say(page, INDENT + 2, "(%s)", chain_text(row, "_meaning"));
}

static void say_connection(struct page *page, const struct explain_connection *c)
{
	const struct chain_row *row = shown(&c->row), *flow = &page->report->flow.database;
	const char *end = chain_text(row, "end");
	bool orig = end != NULL && strcmp(end, "orig") == 0;

	putchar('\n');
	if (c->row.database.count == 0)
		say(page, 0, "connection of the evidence alone, at the %s end%s", or_none(end),
		    state_text(c->row.state));
	else
		say(page, 0, "connection %s, the end %s port %s (%s)%s",
		    or_none(chain_text(row, "_connection_id")),
		    or_none(chain_text(flow, orig ? "orig_address" : "resp_address")),
		    or_none(chain_text(flow, orig ? "orig_port" : "resp_port")), or_none(end),
		    state_text(c->row.state));
	say_rules(page, row);
	say(page, INDENT, "sent %s packets, %s bytes; received %s packets, %s bytes",
	    or_none(chain_text(row, "sent_packets")), or_none(chain_text(row, "sent_bytes")),
	    or_none(chain_text(row, "received_packets")),
	    or_none(chain_text(row, "received_bytes")));
	say_differences(page, &c->row);
	say_why(page, c);
	say_frame(page, c);
	say_socket(page, c);
	say_holders(page, c);
	for (size_t i = 0; i < c->process.count; i++)
		say_process(page, c, &c->process.items[i], "process");
	say_lines(page, c, SNAP_TYPE_BORN);
	say_lines(page, c, SNAP_TYPE_EXEC);
	for (size_t i = 0; i < c->parents.count; i++)
		say_process(page, c, &c->parents.items[i], "started by");
	for (size_t i = 0; i < c->candidates.count; i++)
		say_process(page, c, &c->candidates.items[i], "candidate");
}

/* --------------------------------------------------------------- the page -- */

static void say_files(struct page *page)
{
	const struct explain_report *r = page->report;

	if (r->files.count == 0)
		return;
	say(page, 0, "evidence in %s", r->options->evidence);
	for (size_t i = 0; i < r->files.count; i++) {
		const struct explain_link *link = &r->files.items[i];

		say(page, INDENT, "%s%s", or_none(chain_text(&link->evidence, "file")),
		    state_text(link->state));
		if (chain_text(&link->evidence, "sha256") != NULL)
			say(page, INDENT + 2, "%s", chain_text(&link->evidence, "sha256"));
		say_differences(page, link);
	}
	putchar('\n');
}

static void say_other(struct page *page)
{
	const struct explain_report *r = page->report;

	if (r->bytes.outcome != NULL)
		say(page, 0, "in no flow: %s", r->bytes.outcome);
	else
		say(page, 0, "in no flow; its segment has of these:");
	for (size_t i = 0; i < r->other.count; i++) {
		const struct chain_row *row = shown(&r->other.items[i]);

		say(page, INDENT, "%s: %s packets in this segment%s",
		    or_none(chain_text(row, "reason")), or_none(chain_text(row, "packets")),
		    state_text(r->other.items[i].state));
		say_differences(page, &r->other.items[i]);
	}
}

void explain_print_text(const struct explain_report *report, const struct explain_output *output)
{
	struct page page = {.report = report, .width = output->width, .terminal = output->terminal};

	say_files(&page);
	say_packet(&page);
	if (report->flow.database.count > 0)
		say_flow(&page);
	else
		say_other(&page);
	for (size_t i = 0; i < report->connection_count; i++)
		say_connection(&page, &report->connections[i]);
	putchar('\n');
	if (report->options->evidence == NULL && report->options->packet != NULL &&
	    report->connection_count > 2)
		say(&page, 0,
		    "One end had several owners then; which of them has this packet, "
		    "the evidence tells.");
	if (report->options->evidence == NULL)
		say(&page, 0, "From the database alone; --evidence DIR reads it all again.");
	else if (report->differs == 0)
		say(&page, 0, "All %zu links are the same in the evidence.", report->same);
	else
		say(&page, 0, "%zu of %zu links DIFFER from the evidence.", report->differs,
		    report->same + report->differs);
	if (report->options->evidence != NULL && report->unread > 0)
		say(&page, 0, "%zu link%s could not be read again.", report->unread,
		    plural(report->unread));
}
