/*
 * history DIRECTORY [NAME=NUMBER]…: an evidence directory of a busy host that
 * was never recorded, as the recorder would have written it, the same bytes
 * each time. segments, packets (a segment), flows and sockets (alive at a
 * time; each is one flow's) say how large; rate (packets a second of the
 * host's time) how long; bytes the mean length of a packet.
 *
 * TCP connections of 200 processes to other hosts follow each other, so that as
 * many are always open; their packets come in bursts of some, in turn. Snapshots
 * are taken each second, and each connection has its use.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/quantity.h"
#include "snapshot/format/snapfile.h"

#define BEGAN_NS       INT64_C(1795290600000000000)
#define NETNS	       UINT64_C(4026531840)
#define PROCESSES      200u
#define FIRST_PID      1000u
#define START_TICKS    UINT64_C(5000)
#define BURST	       4u      /* packets of one connection after each other */
#define PAUSE_NS       5000000 /* without packets, around a poll */
#define ETHERNET_BYTES 14
#define LINK_TYPE      1

enum { SEGMENTS, PACKETS, FLOWS, SOCKETS, RATE, BYTES, SIZES };
static uint64_t size[SIZES] = {8, 1000000, 20000, 2000, 10000, 700};
static const char *const size_names[SIZES] = {"segments", "packets", "flows",
					      "sockets",  "rate",    "bytes"};

/* A connection that is open; its number says all else of it. */
struct flow {
	uint64_t number;
	int64_t opened_ns;
	uint32_t sequence[2]; /* next, of each direction */
	bool begun;
};

static struct flow *flows;
static uint64_t next_flow, random_state = 1, frame_sequence;
static uint8_t filler[65536];
static int directory;
static struct custody *custody;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* That begin, and that end. */
static double flows_a_second(void)
{
	return (double)(size[FLOWS] - size[SOCKETS]) * (double)size[RATE] /
	       ((double)size[SEGMENTS] * (double)size[PACKETS]);
}

static uint32_t draw(uint32_t below) /* xorshift64* */
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)(((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) * below >> 32);
}

static struct endpoint local_of(uint64_t number)
{
	const uint8_t address[4] = {10, 0, 0, 1};

	return (struct endpoint){.address = endpoint_from_ipv4(address),
				 .port = (uint16_t)(10000 + number % 50000)};
}

static struct endpoint remote_of(uint64_t number)
{
	const uint8_t address[4] = {198, 18, (uint8_t)(number / 50000 % 256),
				    (uint8_t)(number * 7 % 251 + 1)};

	return (struct endpoint){.address = endpoint_from_ipv4(address), .port = 443};
}

static uint32_t pid_of(uint64_t number)
{
	return FIRST_PID + (uint32_t)(number % PROCESSES);
}

/* ------------------------------------------------------------ snapshots -- */

static void add_process(struct snapframe *frame, uint32_t pid)
{
	char name[16], exe[32];
	struct snap_record record = {.type = SNAP_TYPE_PROCESS, .op = SNAP_ADD};

	snprintf(name, sizeof(name), "worker%u", pid - FIRST_PID);
	snprintf(exe, sizeof(exe), "/usr/bin/%s", name);
	record.u.process = (struct snap_process){.pid = pid,
						 .start_ticks = START_TICKS,
						 .ppid = 1,
						 .uid = 1000,
						 .comm = name,
						 .exe = exe,
						 .cmdline = exe,
						 .cmdline_length = strlen(exe),
						 .cgroup = "/system.slice",
						 .netns = NETNS};
	snapframe_add(frame, &record);
}

static void add_socket(struct snapframe *frame, enum snap_op op, uint64_t number)
{
	struct snap_record record = {.type = SNAP_TYPE_SOCKET, .op = op};

	record.u.socket = (struct snap_socket){.netns = NETNS,
					       .table = SNAP_TCP,
					       .local = local_of(number),
					       .remote = remote_of(number),
					       .state = SNAP_ESTABLISHED,
					       .uid = 1000,
					       .inode = (uint32_t)(100000 + number)};
	snapframe_add(frame, &record);
	record.type = SNAP_TYPE_HOLDER;
	record.u.holder = (struct snap_holder){.inode = (uint32_t)(100000 + number),
					       .pid = pid_of(number),
					       .start_ticks = START_TICKS,
					       .tid = pid_of(number),
					       .fd = (uint32_t)(3 + number / PROCESSES % 1000)};
	snapframe_add(frame, &record);
}

static void add_use(struct snapframe *frame, uint64_t number, int64_t at_ns)
{
	struct snap_record record = {.type = SNAP_TYPE_USE, .op = SNAP_ONCE};

	record.u.use = (struct snap_use){.netns = NETNS,
					 .protocol = 6,
					 .local = local_of(number),
					 .remote = remote_of(number),
					 .opened_ns = at_ns,
					 .act = SNAP_CONNECT,
					 .at_ns = at_ns,
					 .pid = pid_of(number),
					 .start_ticks = START_TICKS,
					 .tid = pid_of(number)};
	snapframe_add(frame, &record);
}

static void add_host(struct snapframe *frame)
{
	struct snap_record record = {.type = SNAP_TYPE_NETNS, .op = SNAP_ADD};

	record.u.netns = (struct snap_netns){.netns = NETNS, .is_capture = true};
	snapframe_add(frame, &record);
	record.type = SNAP_TYPE_INTERFACE;
	record.u.interface = (struct snap_interface){
		.netns = NETNS, .ifindex = 2, .name = "eth0", .hardware_type = 1};
	snapframe_add(frame, &record);
	record.type = SNAP_TYPE_ADDRESS;
	record.u.address = (struct snap_address){
		.netns = NETNS, .ifindex = 2, .address = local_of(0).address, .prefix_length = 24};
	snapframe_add(frame, &record);
	for (uint32_t i = 0; i < PROCESSES; i++)
		add_process(frame, FIRST_PID + i);
}

static void begin_frame(struct snapframe *frame, enum snap_kind kind, const char *cause,
			int64_t at_ns)
{
	snapframe_init(frame, kind, cause);
	frame->head.sequence = ++frame_sequence;
	frame->head.begin_ns = at_ns;
	frame->head.end_ns = at_ns + 1000000;
	frame->head.monotonic_ns = frame->head.boot_ns = at_ns - BEGAN_NS + 100 * NS_PER_SECOND;
}

static void put_frame(struct snapfile_writer *writer, struct snapframe *frame)
{
	struct error error = ERROR_NONE;

	if (snapfile_writer_frame(writer, frame, &error) != 0) {
		fprintf(stderr, "history: %s\n", error.message);
		exit(1);
	}
	snapframe_release(frame);
}

static void put_header(struct snapfile_writer *writer, uint64_t segment)
{
	char number[24], netns[24];
	const char *const meta[][2] = {
		{"tool", "history"},
		{"recording", "00112233445566778899aabbccddeeff"},
		{"segment", number},
		{"hostname", "history"},
		{"boot_id", "f3d4e3d1-5c87-4fd0-ab23-579d8713f4a9"},
		{"byte_order", "little"},
		{"clock_ticks", "100"},
		{"interface", "eth0"},
		{"filter", ""},
		{"snaplen", "262144"},
		{"link_type", "1"},
		{"privilege", "full"},
		{"watcher", "on"},
		{"source", "recorder"},
		{"netns", netns},
		{"interval_ns", "1000000000"},
	};
	struct error error = ERROR_NONE;

	snprintf(number, sizeof(number), "%" PRIu64, segment);
	snprintf(netns, sizeof(netns), "%" PRIu64, NETNS);
	for (size_t i = 0; i < sizeof(meta) / sizeof(*meta); i++) {
		if (snapfile_writer_meta(writer, meta[i][0], meta[i][1], &error) != 0) {
			fprintf(stderr, "history: %s\n", error.message);
			exit(1);
		}
	}
}

/* With the uses of the sockets that live on, as after a rotation. */
static void put_key(struct snapfile_writer *writer, int64_t at_ns)
{
	struct snapframe frame, uses;

	begin_frame(&frame, SNAP_KEY, frame_sequence == 0 ? "start" : "restated", at_ns);
	add_host(&frame);
	begin_frame(&uses, SNAP_EVENT, "use", at_ns + 2000000);
	for (uint64_t i = 0; i < size[SOCKETS]; i++) {
		add_socket(&frame, SNAP_ADD, flows[i].number);
		add_use(&uses, flows[i].number, flows[i].opened_ns);
	}
	put_frame(writer, &frame);
	put_frame(writer, &uses);
}

/* -------------------------------------------------------------- packets -- */

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

/* Few long ones and many without payload, as bulk transfers have them. */
static uint32_t draw_payload(void)
{
	uint32_t longest = 1448, shortest_ip = 52;
	uint32_t mean = size[BYTES] > ETHERNET_BYTES + shortest_ip
				? (uint32_t)size[BYTES] - ETHERNET_BYTES - shortest_ip
				: 0;

	return draw(longest) < mean ? longest : 0;
}

static void put_packet(FILE *pcap, struct flow *flow, unsigned from, int64_t at_ns)
{
	uint8_t head[16 + ETHERNET_BYTES + 52] = {0}, *link = head + 16,
					   *ip = link + ETHERNET_BYTES, *tcp = ip + 20;
	struct endpoint ends[2] = {local_of(flow->number), remote_of(flow->number)};
	uint32_t payload = flow->begun ? draw_payload() : 0;
	uint32_t length = ETHERNET_BYTES + 52 + payload, words[4];

	words[0] = (uint32_t)(at_ns / NS_PER_SECOND);
	words[1] = (uint32_t)(at_ns % NS_PER_SECOND);
	words[2] = words[3] = length;
	memcpy(head, words, sizeof(words));
	link[from == 0 ? 6 : 0] = 2; /* locally administered: our own address */
	put16(link + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, 52 + payload);
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, ends[from].address.bytes + 12, 4);
	memcpy(ip + 16, ends[!from].address.bytes + 12, 4);
	put16(tcp, ends[from].port);
	put16(tcp + 2, ends[!from].port);
	put32(tcp + 4, flow->sequence[from]);
	put32(tcp + 8, flow->begun ? flow->sequence[!from] : 0);
	tcp[12] = 0x80;
	tcp[13] = flow->begun ? 0x10 : 0x02;
	put16(tcp + 14, 0xffff);
	flow->sequence[from] += flow->begun ? payload : 1;
	flow->begun = true;
	if (fwrite(head, sizeof(head), 1, pcap) != 1 ||
	    (payload > 0 && fwrite(filler, payload, 1, pcap) != 1))
		fail("history: pcap");
}

static FILE *open_pcap(const char *name)
{
	const uint32_t head[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 262144, LINK_TYPE};
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *pcap = fd < 0 ? NULL : fdopen(fd, "wb");

	if (pcap == NULL || fwrite(head, sizeof(head), 1, pcap) != 1)
		fail(name);
	return pcap;
}

/* ------------------------------------------------------------- segments -- */

static void note(const char *name)
{
	char hex[CUSTODY_HEX_SIZE];
	struct error error = ERROR_NONE;
	uint64_t bytes;
	struct custody_entry entry = {.event = "close", .file = name, .detail = ""};

	if (custody_hash_file(directory, name, hex, &bytes, &error) != 0)
		fail(name);
	entry.bytes = (int64_t)bytes;
	entry.sha256 = hex;
	if (custody_append(custody, &entry, &error) != 0)
		fail(name);
}

/* Connections that opened since the last poll, in slots after each other; the
 * last `unbegun` of them have no packet yet. */
static uint64_t opened_slot, opened, unbegun;

/* What happens in a second: a poll finds the connections that opened since the
 * last one, the oldest ones end, and as many begin, one at each of the packets
 * from next_ns on. */
static void turn_over(struct snapfile_writer *writer, uint64_t count, int64_t at_ns,
		      int64_t next_ns, int64_t gap_ns)
{
	struct snapframe poll, uses;

	begin_frame(&poll, SNAP_POLL, "interval", at_ns);
	begin_frame(&uses, SNAP_EVENT, "use", next_ns - 1000000);
	uses.head.end_ns = next_ns + (int64_t)count * gap_ns;
	for (uint64_t i = 0; i < opened; i++)
		add_socket(&poll, SNAP_ADD, flows[(opened_slot + i) % size[SOCKETS]].number);
	opened_slot = (opened_slot + opened) % size[SOCKETS];
	opened = unbegun = count;
	for (uint64_t i = 0; i < count; i++) {
		struct flow *flow = &flows[(opened_slot + i) % size[SOCKETS]];

		add_socket(&poll, SNAP_GONE, flow->number);
		*flow = (struct flow){.number = next_flow++,
				      .opened_ns = next_ns + (int64_t)i * gap_ns - 1000,
				      .sequence = {draw(1u << 30), 1000}};
		add_use(&uses, flow->number, flow->opened_ns);
	}
	put_frame(writer, &poll);
	if (count > 0)
		put_frame(writer, &uses);
	else
		snapframe_release(&uses);
}

static void put_segment(uint64_t number, int64_t *now_ns, double *turns)
{
	struct evidence_stem stem = {.number = number, .opened_ns = *now_ns};
	char pcap_name[EVIDENCE_NAME_SIZE], snap_name[EVIDENCE_NAME_SIZE];
	int64_t gap_ns = NS_PER_SECOND / (int64_t)size[RATE];
	struct snapfile_writer *writer = NULL;
	struct error error = ERROR_NONE;
	struct flow *flow = flows;
	FILE *pcap;
	int fd;

	evidence_name(&stem, EVIDENCE_PCAP, pcap_name);
	evidence_name(&stem, EVIDENCE_SNAP, snap_name);
	pcap = open_pcap(pcap_name);
	fd = openat(directory, snap_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || snapfile_writer_open(fd, snap_name, &writer, &error) != 0)
		fail(snap_name);
	put_header(writer, number);
	put_key(writer, *now_ns);
	*now_ns += PAUSE_NS;
	for (uint64_t i = 0; i < size[PACKETS]; i++, *now_ns += gap_ns) {
		if (i % size[RATE] == 0 && i > 0) {
			uint64_t before = (uint64_t)*turns;

			*turns += flows_a_second();
			turn_over(writer, (uint64_t)*turns - before, *now_ns, *now_ns + PAUSE_NS,
				  gap_ns);
			*now_ns += PAUSE_NS;
		}
		if (unbegun > 0)
			flow = &flows[(opened_slot + opened - unbegun--) % size[SOCKETS]];
		else if (i % BURST == 0)
			flow = &flows[draw((uint32_t)size[SOCKETS])];
		put_packet(pcap, flow, flow->begun ? draw(2) : 0, *now_ns);
	}
	turn_over(writer, 0, *now_ns + PAUSE_NS, *now_ns + PAUSE_NS, gap_ns);
	*now_ns += 2 * PAUSE_NS;
	if (fclose(pcap) != 0 || snapfile_writer_close(writer, &error) != 0)
		fail(pcap_name);
	note(pcap_name);
	note(snap_name);
}

static void wrong_usage(const char *word, const char *wanted)
{
	fprintf(stderr,
		"history: %s: wanted %s\n"
		"Usage: history DIRECTORY [NAME=NUMBER]..., NAME one of",
		word, wanted);
	for (int i = 0; i < SIZES; i++)
		fprintf(stderr, " %s", size_names[i]);
	fputs("\n", stderr);
	exit(2);
}

static void take_size(const char *argument)
{
	for (int i = 0; i < SIZES; i++) {
		size_t length = strlen(size_names[i]);

		if (strncmp(argument, size_names[i], length) == 0 && argument[length] == '=' &&
		    quantity_parse_uint(argument + length + 1, UINT32_MAX, &size[i]) == 0 &&
		    size[i] > 0)
			return;
	}
	wrong_usage(argument, "NAME=NUMBER, a number from 1");
}

int main(int argc, char **argv)
{
	struct error error = ERROR_NONE;
	uint64_t repaired, broken;
	int64_t now_ns = BEGAN_NS;
	double turns = 0;

	if (argc < 2 || argv[1][0] == '-')
		wrong_usage(argc < 2 ? "nothing" : argv[1], "a directory");
	for (int i = 2; i < argc; i++)
		take_size(argv[i]);
	if (size[FLOWS] < size[SOCKETS] || size[RATE] > (uint64_t)NS_PER_SECOND ||
	    flows_a_second() > (double)size[SOCKETS] || flows_a_second() > (double)size[RATE]) {
		wrong_usage("these numbers",
			    "at least as many flows as sockets, and time for them");
	}
	flows = calloc(size[SOCKETS], sizeof(*flows));
	if (flows == NULL || mkdir(argv[1], 0700) != 0 ||
	    (directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		fail(argv[1]);
	if (custody_open(directory, argv[1], &custody, &repaired, &broken, &error) != 0)
		fail(CUSTODY_LOG);
	for (size_t i = 0; i < sizeof(filler); i++)
		filler[i] = (uint8_t)draw(256);
	for (; next_flow < size[SOCKETS]; next_flow++)
		flows[next_flow] = (struct flow){.number = next_flow,
						 .opened_ns = BEGAN_NS - NS_PER_SECOND,
						 .sequence = {draw(1u << 30), 1000},
						 .begun = true};
	for (uint64_t i = 1; i <= size[SEGMENTS]; i++)
		put_segment(i, &now_ns, &turns);
	custody_close(custody);
	free(flows);
	return 0;
}
