/* Which flow is asked for: by its number, a connection's, or a packet of it. */
#include "analyze/explain_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/community.h"
#include "analyze/explain_rows.h"
#include "analyze/storefile.h"
#include "snapshot/format/quantity.h"

static int no_such(struct explain_report *report, const char *what, int64_t id, const char *sql,
		   struct error *error)
{
	int64_t last = 0;
	int status = storefile_integer(report->database, report->options->database, sql, 0, &last,
				       error);

	if (status != 0)
		return status;
	return error_set(error, ERROR_NO_INPUT, report->options->database, -1,
			 "wanted %s %" PRId64 ", found none of that number: they go to %" PRId64
			 " (query it: SELECT %s_id FROM connections)",
			 what, id, last, what);
}

static int find_flow(struct explain_report *report, struct error *error)
{
	const struct explain_options *o = report->options;
	struct chain_value id = {.number = o->flow_id != 0 ? o->flow_id : o->connection_id};
	struct chain_rows rows;
	int status = explain_ask(report,
				 o->flow_id != 0 ? "SELECT flow_id FROM flow WHERE flow_id = ?1"
						 : "SELECT flow_id FROM connection WHERE "
						   "connection_id = ?1",
				 &id, 1, &rows, error);

	if (status != 0)
		return status;
	if (rows.count > 0)
		report->flow_id = chain_number(&rows.rows[0], "flow_id");
	else if (o->flow_id != 0)
		status =
			no_such(report, "flow", o->flow_id, "SELECT max(flow_id) FROM flow", error);
	else
		status = no_such(report, "connection", o->connection_id,
				 "SELECT max(connection_id) FROM connection", error);
	chain_rows_release(&rows);
	return status;
}

static int parse_packet(const char *text, char **file, uint64_t *number, struct error *error)
{
	const char *colon = strrchr(text, ':'), *slash;

	if (colon == NULL || colon == text ||
	    quantity_parse_uint(colon + 1, INT64_MAX, number) != 0 || *number == 0)
		return error_set(error, ERROR_USAGE, NULL, -1,
				 "--packet: wanted FILE:NUMBER, such as "
				 "000001-20261121T203000.123456789Z.pcap:17, found \"%.200s\"",
				 text);
	for (slash = colon; slash > text && slash[-1] != '/'; slash--)
		;
	*file = strndup(slash, (size_t)(colon - slash));
	return *file == NULL ? explain_no_memory(error) : 0;
}

static int find_segment(struct explain_report *report, const char *file, struct error *error)
{
	struct chain_value name = {.text = file};
	struct chain_rows rows;
	int64_t packets;
	int status = explain_ask(report, explain_segment_sql, &name, 1, &rows, error);

	if (status != 0)
		return status;
	packets = rows.count == 0 ? 0 : chain_number(&rows.rows[0], "packets");
	if (rows.count == 0) {
		status = error_set(error, ERROR_NO_INPUT, report->options->database, -1,
				   "wanted a capture named %.120s, found none of that name (query "
				   "it: SELECT pcap_name FROM segment)",
				   file);
	} else if (rows.count > 1) {
		status = error_set(error, ERROR_USAGE, report->options->database, -1,
				   "%zu captures are named %.120s: ask by --flow or --connection",
				   rows.count, file);
	} else if (report->number > (uint64_t)packets) {
		status = error_set(error, ERROR_NO_INPUT, file, -1,
				   "wanted packet %" PRIu64 ", found that it has %" PRId64,
				   report->number, packets);
	} else {
		report->segment_id = chain_number(&rows.rows[0], "segment_id");
		report->recording_id = chain_number(&rows.rows[0], "recording_id");
	}
	chain_rows_release(&rows);
	return status;
}

/* A packet without a row is in no flow, or was counted at its first sighting. */
static int check_repeats(struct explain_report *report, struct error *error)
{
	struct chain_value id = {.number = report->recording_id};
	struct chain_rows rows;
	int status = explain_ask(report,
				 "SELECT 1 FROM flow WHERE recording_id = ?1 AND repeat_packets > "
				 "0 LIMIT 1",
				 &id, 1, &rows, error);

	if (status == 0 && rows.count > 0)
		status = error_set(error, ERROR_USAGE, report->options->database, -1,
				   "it has no row of this packet, which is in no flow or a second "
				   "sighting of one: give --evidence DIR too");
	chain_rows_release(&rows);
	return status;
}

/* The flow of a packet that table packet has. */
static int find_packet_row(struct explain_report *report, struct error *error)
{
	struct chain_value values[] = {{.number = report->segment_id},
				       {.number = (int64_t)report->number}};
	struct chain_rows rows;
	int64_t kept = 0;
	int status = storefile_integer(report->database, report->options->database,
				       "SELECT value FROM setting WHERE key = 'with_packets'", 0,
				       &kept, error);

	if (status == 0 && kept == 0 && report->options->evidence == NULL)
		return error_set(error, ERROR_USAGE, report->options->database, -1,
				 "it was made without --packets, so it does not know single "
				 "packets: give --evidence DIR too");
	if (status == 0)
		status = explain_ask(
			report, "SELECT flow_id FROM packet WHERE segment_id = ?1 AND number = ?2",
			values, 2, &rows, error);
	if (status != 0)
		return status;
	if (rows.count > 0)
		report->flow_id = chain_number(&rows.rows[0], "flow_id");
	else if (report->options->evidence == NULL)
		status = check_repeats(report, error);
	chain_rows_release(&rows);
	return status;
}

int explain_find_target(struct explain_report *report, struct error *error)
{
	char *file = NULL;
	int status;

	if (report->options->packet == NULL)
		return find_flow(report, error);
	status = parse_packet(report->options->packet, &file, &report->number, error);
	if (status == 0)
		status = find_segment(report, file, error);
	if (status == 0)
		status = find_packet_row(report, error);
	free(file);
	return status;
}

int explain_find_flow_of_bytes(struct explain_report *report, struct error *error)
{
	const struct explain_packet *p = &report->bytes;
	char community[2][COMMUNITY_ID_SIZE], protocol[ENDPOINT_PROTOCOL_SIZE];
	char address[2][ENDPOINT_TEXT_SIZE];
	struct endpoint_address ends[2];
	struct chain_rows rows;
	int status;

	for (int side = 0; side < 2; side++) {
		memcpy(ends[side].bytes, p->key.address[side], 16);
		if (community_id(&p->key, (uint8_t)side, community[side]) == NULL)
			return error_set(error, ERROR_SYSTEM, NULL, -1, "libcrypto failed");
	}
	status = explain_ask(report, explain_flow_of_packet_sql,
			     (struct chain_value[]){
				     {.number = report->recording_id},
				     {.number = p->counted_ns},
				     {.text = community[0]},
				     {.text = community[1]},
				     {.text = endpoint_protocol_name(p->key.protocol, protocol)},
				     {.text = endpoint_format(&ends[0], address[0])},
				     {.text = endpoint_format(&ends[1], address[1])},
				     {.number = p->key.port[0]},
				     {.number = p->key.port[1]},
			     },
			     9, &rows, error);
	if (status != 0)
		return status;
	if (rows.count > 0)
		report->flow_id = chain_number(&rows.rows[0], "flow_id");
	else
		status =
			error_set(error, ERROR_SYSTEM, report->options->packet, -1,
				  "differs: the evidence has the packet (%s %s port %u and %s port "
				  "%u), and the database no flow that it is in: one of the two was "
				  "altered",
				  endpoint_protocol_name(p->key.protocol, protocol), address[0],
				  p->key.port[0], address[1], p->key.port[1]);
	chain_rows_release(&rows);
	return status;
}
