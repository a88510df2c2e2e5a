/*
 * archive DATABASE [NAME=NUMBER]…: a database of months, filled by the loader's
 * own store, the same each time: connections (rows), rows of traffic for each
 * of them on average, processes, hosts that they talk to, days, and machines that
 * recorded all this, host-0 and so on.
 *
 * A tenth of the processes are there all the time and have seven tenths of the
 * connections, with some hosts much more than with others; the rest come one
 * after the other and talk to a few hosts each. Of the connections most are short
 * and busy, some last for minutes, and one of twenty says something now and then
 * for a day. One of twenty has no owner.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/store.h"
#include "snapshot/format/quantity.h"

#define BEGAN_NS     INT64_C(1795290600000000000)
#define NETNS	     4026531840
#define FIRST_PID    1000
#define LISTENERS    200
#define TUNNELS	     1000
#define SEGMENT_ROWS 200000 /* of traffic, in one transaction */
#define TCP_LISTEN   10

enum { CONNECTIONS, ROWS, PROCESSES, HOSTS, DAYS, MACHINES, SIZES };
static uint64_t size[SIZES] = {200000, 102, 5000, 5000, 30, 1};
static const char *const size_names[SIZES] = {"connections", "rows", "processes",
					      "hosts",	     "days", "machines"};

static uint64_t random_state = 1;
static struct store *store;
static struct error error = ERROR_NONE;
static int64_t segments, sockets, written, in_transaction, last_ns = BEGAN_NS;

static void must(int code)
{
	if (code == 0)
		return;
	fprintf(stderr, "archive: %s: %s\n", error.path, error.message);
	exit(1);
}

static double draw(void) /* from 0 to below 1; xorshift64* */
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (double)(random_state * UINT64_C(0x2545f4914f6cdd1d) >> 11) * 0x1p-53;
}

static int64_t draw_below(double below)
{
	return (int64_t)(draw() * below);
}

/* ------------------------------------------------------------ what is there -- */

/* The recording of a process, or of what has no owner, by its number. */
static int64_t recording_of(int64_t id)
{
	return 1 + id % (int64_t)size[MACHINES];
}

static void put_recordings(void)
{
	for (int64_t i = 0; i < (int64_t)size[MACHINES]; i++) {
		char hostname[32];
		const struct store_recording row = {.recording_id = 1 + i,
						    .hostname = hostname,
						    .kernel = "6.1.0",
						    .snaplen = STORE_NULL,
						    .link_type = STORE_NULL,
						    .clock_ticks = STORE_NULL,
						    .interval_ns = STORE_NULL};

		snprintf(hostname, sizeof(hostname), "host-%" PRId64, i);
		must(store_recording(store, &row, true, &error));
	}
}

static void put_segment(void)
{
	char name[32];
	const struct store_segment row = {.segment_id = segments + 1,
					  .recording_id = 1,
					  .number = segments + 1,
					  .pcap_name = name,
					  .first_packet_ns = BEGAN_NS,
					  .last_packet_ns = last_ns,
					  .packets = in_transaction,
					  .bytes = in_transaction,
					  .flow_packets = in_transaction,
					  .state = "whole"};

	segments++;
	snprintf(name, sizeof(name), "%06" PRId64 ".pcap", segments);
	must(store_segment(store, &row, true, &error));
	must(store_commit(store, &error));
	must(store_begin(store, &error));
	in_transaction = 0;
}

static void put_processes(void)
{
	for (int64_t i = 1; i <= (int64_t)size[PROCESSES]; i++) {
		char comm[16], exe[32], cmdline[64];
		const struct store_process row = {.process_id = i,
						  .recording_id = recording_of(i),
						  .pid = FIRST_PID + i,
						  .start_ns = BEGAN_NS,
						  .image = 1,
						  .uid = i % 7,
						  .comm = comm,
						  .exe = exe,
						  .cmdline = cmdline,
						  .exit_ns = STORE_NULL,
						  .exit_code = STORE_NULL};

		snprintf(comm, sizeof(comm), "worker%" PRId64, i % 97);
		snprintf(exe, sizeof(exe), "/usr/bin/worker%" PRId64, i % 97);
		snprintf(cmdline, sizeof(cmdline), "worker%" PRId64 " --number %" PRId64, i % 97,
			 i);
		must(store_process(store, &row, true, &error));
	}
}

static struct store_socket a_socket(int64_t recording, int64_t local_port)
{
	sockets++;
	return (struct store_socket){.socket_id = sockets,
				     .recording_id = recording,
				     .net_namespace = NETNS,
				     .protocol = "tcp",
				     .family = 4,
				     .local_address = "10.0.0.1",
				     .local_port = local_port,
				     .remote_port = STORE_NULL,
				     .state = TCP_LISTEN,
				     .inode = sockets,
				     .cookie = sockets,
				     .first_seen_ns = BEGAN_NS,
				     .last_seen_ns = BEGAN_NS,
				     .opened_ns = STORE_NULL,
				     .closed_ns = STORE_NULL,
				     .kernel_bytes_acked = STORE_NULL,
				     .kernel_bytes_received = STORE_NULL,
				     .kernel_bytes_sent = STORE_NULL,
				     .kernel_bytes_retransmitted = STORE_NULL};
}

static void put_listeners(void)
{
	for (int64_t i = 1; i <= LISTENERS; i++) {
		int64_t process = 1 + i % (int64_t)size[PROCESSES];
		const struct store_socket row = a_socket(recording_of(process), i);
		const struct store_holder holder = {.holder_id = i,
						    .socket_id = row.socket_id,
						    .process_id = process,
						    .fd = 3,
						    .first_seen_ns = BEGAN_NS,
						    .last_seen_ns = BEGAN_NS};

		must(store_socket(store, &row, true, &error));
		must(store_holder(store, &holder, true, &error));
	}
}

/* ------------------------------------------------------------- connections -- */

struct pattern {
	double share;			 /* of all connections */
	double rows;			 /* on average, in hundredths of all connections' */
	int64_t least_pause, most_pause; /* from one row to the next, in buckets */
};
static const struct pattern patterns[] = {
	{0.80, 40, 1, 1},
	{0.15, 200, 1, 10},
	{0.05, 760, 30, 300},
};

static int64_t put_traffic(struct store_connection *c, int64_t start_bucket)
{
	double kind = draw();
	const struct pattern *pattern = patterns;
	int64_t bucket = start_bucket, rows;

	while (kind >= pattern->share && pattern < patterns + 2)
		kind -= pattern++->share;
	rows = 1 + draw_below(2 * pattern->rows * (double)size[ROWS] / 100);
	for (int64_t i = 0; i < rows; i++) {
		const struct store_traffic row = {c->connection_id,   bucket,
						  1 + draw_below(20), 100 + draw_below(20000),
						  1 + draw_below(20), 100 + draw_below(20000)};

		must(store_traffic(store, &row, 1, &error));
		c->sent_packets += row.sent_packets;
		c->sent_bytes += row.sent_bytes;
		c->received_packets += row.received_packets;
		c->received_bytes += row.received_bytes;
		in_transaction += row.sent_packets + row.received_packets;
		c->end_ns = bucket * NS_PER_SECOND + 500000000;
		bucket += pattern->least_pause +
			  draw_below((double)(pattern->most_pause - pattern->least_pause + 1));
	}
	written += rows;
	return rows;
}

/* What has no owner is one of twenty: by the number of these. */
static int64_t recording_of_connection(const struct store_connection *c)
{
	return recording_of(c->process_id != 0 ? c->process_id : c->connection_id / 20);
}

static void put_flow(const struct store_connection *c, int64_t port)
{
	const struct store_flow row = {.flow_id = c->flow_id,
				       .recording_id = recording_of_connection(c),
				       .segment_id = segments + 1,
				       .protocol = "tcp",
				       .ip_version = 4,
				       .orig_address = "10.0.0.1",
				       .resp_address = c->remote_address,
				       .orig_port = port,
				       .resp_port = 443,
				       .icmp_id = STORE_NULL,
				       .start_ns = c->start_ns,
				       .end_ns = c->end_ns,
				       .orig_packets = c->sent_packets,
				       .orig_bytes = c->sent_bytes,
				       .orig_payload_bytes = c->sent_payload_bytes,
				       .resp_packets = c->received_packets,
				       .resp_bytes = c->received_bytes,
				       .resp_payload_bytes = c->received_payload_bytes,
				       .conn_state = "SF",
				       .history = "ShADadFf",
				       .ifindex = STORE_NULL,
				       .vlan = STORE_NULL,
				       .inner_vlan = STORE_NULL,
				       .carried_packets = STORE_NULL,
				       .carried_other_packets = STORE_NULL,
				       .carried_unreadable_packets = STORE_NULL};

	must(store_flow(store, &row, STORE_INSERT, &error));
}

/* The kernel counts what the packets have, but of one of a hundred. */
static void put_socket(struct store_connection *c, int64_t port)
{
	struct store_socket row = a_socket(recording_of_connection(c), port);

	row.remote_address = c->remote_address;
	row.remote_port = 443;
	row.state = 1;
	row.first_seen_ns = c->start_ns;
	row.last_seen_ns = row.closed_ns = c->end_ns;
	row.kernel_bytes_sent = c->sent_payload_bytes + (c->connection_id % 100 == 0);
	row.kernel_bytes_acked = row.kernel_bytes_sent + 2;
	row.kernel_bytes_received = c->received_payload_bytes + 1;
	row.kernel_bytes_retransmitted = c->connection_id % 200 == 0;
	must(store_socket(store, &row, true, &error));
	c->socket_id = row.socket_id;
}

/* Who, and with whom. */
static void choose(struct store_connection *c, double at)
{
	static char remote[48];
	uint64_t lasting = size[PROCESSES] / 10, host;
	double skew = draw();

	if (draw() < 0.7) {
		skew = draw() * skew;
		c->process_id = 1 + draw_below((double)lasting * draw());
		host = (uint64_t)c->process_id * 7 + (uint64_t)(skew * 40);
	} else {
		c->process_id =
			(int64_t)lasting + 1 + (int64_t)(at * (double)(size[PROCESSES] - lasting));
		host = (uint64_t)c->process_id * 3 + (uint64_t)(skew * 5);
	}
	host %= size[HOSTS];
	snprintf(remote, sizeof(remote), "192.%d.%d.%d", 1 + (int)(host >> 16),
		 (int)(host >> 8 & 255), (int)(host & 255));
	c->remote_address = remote;
	c->rule = "exact";
	c->shared_by = 1;
	if (c->connection_id % 20 == 0) {
		c->process_id = c->shared_by = 0;
		c->rule = NULL;
		c->reason = c->connection_id % 40 == 0 ? "ambiguous" : "gap";
	}
}

static void put_connection(int64_t id)
{
	double at = (double)id / (double)size[CONNECTIONS];
	int64_t start = BEGAN_NS / NS_PER_SECOND + (int64_t)(at * (double)size[DAYS] * 86400);
	int64_t port = 1024 + id % 60000;
	struct store_connection row = {.connection_id = id,
				       .flow_id = id,
				       .end = "orig",
				       .distance_ns = STORE_NULL,
				       .start_ns = start * NS_PER_SECOND + draw_below(5e8)};

	choose(&row, at);
	must(store_connection(store, &row, STORE_INSERT, &error)); /* its traffic has its owner */
	put_traffic(&row, start);
	row.sent_payload_bytes = row.sent_bytes / 2;
	row.received_payload_bytes = row.received_bytes / 2;
	row.rule_packets[id % STORE_QUOTED] =
		row.process_id != 0 ? row.sent_packets + row.received_packets : 0;
	if (row.end_ns > last_ns)
		last_ns = row.end_ns;
	put_flow(&row, port);
	put_socket(&row, port);
	must(store_connection(store, &row, STORE_REWRITE, &error));
	for (int64_t i = 1; row.reason && id % 40 == 0 && i <= 2; i++)
		must(store_candidate(store, &(struct store_candidate){id, i + id % 97, 0}, &error));
}

static void put_tunnel(int64_t id)
{
	struct store_tunnel row = {.tunnel_id = id,
				   .depth = 1,
				   .tunnel_type = "Tunnel::VXLAN",
				   .tunnel_key = id % 5,
				   .flow = {.flow_id = id * (int64_t)(size[CONNECTIONS] / TUNNELS),
					    .protocol = "tcp",
					    .ip_version = 4,
					    .orig_address = "10.9.0.1",
					    .resp_address = "10.9.0.2",
					    .orig_port = id,
					    .resp_port = 80,
					    .icmp_id = STORE_NULL,
					    .start_ns = BEGAN_NS,
					    .end_ns = BEGAN_NS + NS_PER_SECOND,
					    .orig_packets = 1,
					    .resp_packets = 1,
					    .vlan = STORE_NULL,
					    .carried_packets = STORE_NULL,
					    .carried_other_packets = STORE_NULL,
					    .carried_unreadable_packets = STORE_NULL}};

	must(store_tunnel(store, &row, STORE_INSERT, &error));
}

static void fill(void)
{
	must(store_begin(store, &error));
	put_recordings();
	put_processes();
	put_listeners();
	for (int64_t id = 1; id <= (int64_t)size[CONNECTIONS]; id++) {
		int64_t before = written;

		put_connection(id);
		if (before / SEGMENT_ROWS != written / SEGMENT_ROWS)
			put_segment();
	}
	for (int64_t id = 1; id <= TUNNELS && size[CONNECTIONS] >= TUNNELS; id++)
		put_tunnel(id);
	put_segment();
	must(store_commit(store, &error));
}

static int parse(int argc, char **argv)
{
	if (argc < 2)
		return -1;
	for (int i = 2; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		int which = 0;

		while (equals && which < SIZES &&
		       (strlen(size_names[which]) != (size_t)(equals - argv[i]) ||
			strncmp(size_names[which], argv[i], (size_t)(equals - argv[i])) != 0))
			which++;
		if (!equals || which == SIZES ||
		    quantity_parse_uint(equals + 1, UINT32_MAX, &size[which]) != 0)
			return -1;
	}
	return size[PROCESSES] < 10 || size[HOSTS] == 0 || size[ROWS] == 0 || size[MACHINES] == 0
		       ? -1
		       : 0;
}

int main(int argc, char **argv)
{
	if (parse(argc, argv) != 0) {
		fputs("Usage: archive DATABASE [connections=N] [rows=N] [processes=N] [hosts=N] "
		      "[days=N] [machines=N]\n",
		      stderr);
		return 64;
	}
	must(store_open(argv[1], 0, false, &store, &error));
	fill();
	must(store_finish(store, &error));
	printf("%" PRId64 " rows of traffic\n", written);
	return 0;
}
