/* Which columns have the number of a row. */
#include "analyze/store_fleet.h"

#include <string.h>

const char *const store_numbered_tables[STORE_NUMBERED] = {
	"recording", "segment", "snapshot", "interface", "address",    "process",
	"socket",    "holder",	"flow",	    "tunnel",	 "connection", "coverage",
};

const struct store_reference store_references[] = {
	{"recording", "recording_id", STORE_OWN_NUMBER, STORE_OF_RECORDING},
	{"segment", "segment_id", STORE_OWN_NUMBER, STORE_OF_SEGMENT},
	{"segment", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{"snapshot", "snapshot_id", STORE_OWN_NUMBER, STORE_OF_SNAPSHOT},
	{"snapshot", "segment_id", STORE_OWNER, STORE_OF_SEGMENT},
	{"interface", "interface_id", STORE_OWN_NUMBER, STORE_OF_INTERFACE},
	{"interface", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{"address", "address_id", STORE_OWN_NUMBER, STORE_OF_ADDRESS},
	{"address", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{"process", "process_id", STORE_OWN_NUMBER, STORE_OF_PROCESS},
	{"process", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{"process", "parent_process_id", STORE_POINTER, STORE_OF_PROCESS},
	{"socket", "socket_id", STORE_OWN_NUMBER, STORE_OF_SOCKET},
	{"socket", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{"socket", "first_snapshot_id", STORE_POINTER, STORE_OF_SNAPSHOT},
	{"socket", "last_snapshot_id", STORE_POINTER, STORE_OF_SNAPSHOT},
	{"holder", "holder_id", STORE_OWN_NUMBER, STORE_OF_HOLDER},
	{"holder", "socket_id", STORE_OWNER, STORE_OF_SOCKET},
	{"holder", "process_id", STORE_POINTER, STORE_OF_PROCESS},
	{"flow", "flow_id", STORE_OWN_NUMBER, STORE_OF_FLOW},
	{"flow", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{"flow", "segment_id", STORE_POINTER, STORE_OF_SEGMENT},
	{"tunnel", "tunnel_id", STORE_OWN_NUMBER, STORE_OF_TUNNEL},
	{"tunnel", "flow_id", STORE_OWNER, STORE_OF_FLOW},
	{"tunnel", "outer_tunnel_id", STORE_POINTER, STORE_OF_TUNNEL},
	{"tunnel", "segment_id", STORE_POINTER, STORE_OF_SEGMENT},
	{"connection", "connection_id", STORE_OWN_NUMBER, STORE_OF_CONNECTION},
	{"connection", "flow_id", STORE_OWNER, STORE_OF_FLOW},
	{"connection", "process_id", STORE_POINTER, STORE_OF_PROCESS},
	{"connection", "socket_id", STORE_POINTER, STORE_OF_SOCKET},
	{"connection", "snapshot_id", STORE_POINTER, STORE_OF_SNAPSHOT},
	{"candidate", "connection_id", STORE_OWNER, STORE_OF_CONNECTION},
	{"candidate", "process_id", STORE_POINTER, STORE_OF_PROCESS},
	{"candidate", "socket_id", STORE_POINTER, STORE_OF_SOCKET},
	{"traffic", "connection_id", STORE_OWNER, STORE_OF_CONNECTION},
	{"packet_row", "segment_id", STORE_OWNER, STORE_OF_SEGMENT},
	{"packet_row", "connection_1", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_row", "connection_2", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_row", "connection_3", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_row", "connection_4", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_row", "connection_5", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_row", "connection_6", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_row", "connection_7", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_row", "connection_8", STORE_POINTER, STORE_OF_CONNECTION},
	{"packet_stretch", "connection_id", STORE_OWNER, STORE_OF_CONNECTION},
	{"packet_stretch", "segment_id", STORE_POINTER, STORE_OF_SEGMENT},
	{"other", "segment_id", STORE_OWNER, STORE_OF_SEGMENT},
	{"coverage", "coverage_id", STORE_OWN_NUMBER, STORE_OF_COVERAGE},
	{"coverage", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{"coverage", "segment_id", STORE_POINTER, STORE_OF_SEGMENT},
	{"serving", "recording_id", STORE_OWNER, STORE_OF_RECORDING},
	{NULL, NULL, STORE_POINTER, STORE_NUMBERED},
};

const struct store_verdict_column store_verdict_columns[] = {
	{"connection", "rule", "rule", "rule"},
	{"connection", "reason", "reason", "reason"},
	{NULL, NULL, NULL, NULL},
};

/* What may differ between two analyses of the same packets: whether the capture was
 * compressed when it was analyzed. */
static const struct {
	const char *table, *column;
} not_compared[] = {
	{"recording", "recording_uuid"}, {"segment", "pcap_name"},	{"segment", "pcap_bytes"},
	{"segment", "pcap_sha256"},	 {"segment", "content_sha256"}, {"coverage", "subject"},
};

bool store_reference_is_first(const struct store_reference *r)
{
	return r == store_references || strcmp(r->table, r[-1].table) != 0;
}

const struct store_reference *store_reference_of(const char *table, const char *column)
{
	for (const struct store_reference *r = store_references; r->table != NULL; r++)
		if (strcmp(r->table, table) == 0 && strcmp(r->column, column) == 0)
			return r;
	return NULL;
}

const struct store_reference *store_reference_by_kind(const char *table,
						      enum store_reference_kind kind)
{
	for (const struct store_reference *r = store_references; r->table != NULL; r++)
		if (strcmp(r->table, table) == 0 && r->kind == kind)
			return r;
	return NULL;
}

const struct store_reference *store_reference_of_unit(const char *table)
{
	const struct store_reference *own = store_reference_by_kind(table, STORE_OWN_NUMBER);

	return own != NULL ? own : store_reference_by_kind(table, STORE_OWNER);
}

bool store_column_is_compared(const char *table, const char *column)
{
	for (size_t i = 0; i < sizeof(not_compared) / sizeof(*not_compared); i++)
		if (strcmp(not_compared[i].table, table) == 0 &&
		    strcmp(not_compared[i].column, column) == 0)
			return false;
	return true;
}
