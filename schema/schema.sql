-- The tables. schema/columns.tsv describes every column; indexes.sql holds the
-- indexes, which a new database gets after its rows. Times end in _ns: Unix
-- time, UTC. Only INTEGER, TEXT, REAL and BLOB, so that other readers of
-- SQLite files can rely on the declared types.

CREATE TABLE setting (
	key TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE column_help (
	object TEXT NOT NULL,
	"column" TEXT NOT NULL,
	type TEXT NOT NULL,
	unit TEXT NOT NULL,
	description TEXT NOT NULL,
	PRIMARY KEY (object, "column")
) STRICT, WITHOUT ROWID;

CREATE TABLE rule (
	rule_code INTEGER PRIMARY KEY,
	rule TEXT NOT NULL UNIQUE,
	meaning TEXT NOT NULL
) STRICT;

INSERT INTO rule (rule_code, rule, meaning) VALUES
	(1, 'exact', 'connected socket of the same five-tuple in the snapshot current at the packet'),
	(2, 'ahead', 'same five-tuple, first sighted after the packet within the same flow'),
	(3, 'behind', 'same five-tuple, last sighted before the packet within the same flow'),
	(4, 'bound', 'not connected, bound to this address and port, alive at the packet'),
	(5, 'wildcard', 'not connected, bound to this port on any address'),
	(6, 'listener', 'TCP towards a listening socket'),
	(7, 'quoted', 'ICMP: the packet that an error quotes, or the ping or raw socket of an echo');

CREATE TABLE reason (
	reason_code INTEGER PRIMARY KEY,
	reason TEXT NOT NULL UNIQUE,
	meaning TEXT NOT NULL
) STRICT;

INSERT INTO reason (reason_code, reason, meaning) VALUES
	(1, 'forwarded', 'neither end belongs to the recorded host'),
	(2, 'multicast', 'to a group or broadcast address: any number of sockets may have received it'),
	(3, 'no-socket', 'no socket had this end: the kernel itself answered, or nobody did'),
	(4, 'no-holder', 'a socket had this end, but no process has it open'),
	(5, 'unreadable', 'the recorder was not permitted to read who holds it'),
	(6, 'gap', 'no snapshot is near enough'),
	(7, 'ambiguous', 'no one owner is certain: table candidate has who qualifies'),
	(8, 'before-start', 'before the first snapshot, and nothing later shows the owner');

-- What holding a connection against the kernel's count says, the gravest last.
CREATE TABLE verdict (
	verdict_code INTEGER PRIMARY KEY,
	verdict TEXT NOT NULL UNIQUE,
	meaning TEXT NOT NULL
) STRICT;

INSERT INTO verdict (verdict_code, verdict, meaning) VALUES
	(1, 'equal', 'the packets have what the kernel counted'),
	(2, 'retransmitted', 'what was sent more than once explains the difference'),
	(3, 'surplus', 'the packets have more than the kernel took'),
	(4, 'reset', 'data came after this end had closed, or a reset cleared the counters'),
	(5, 'dropped', 'packets are missing, and the capture dropped some'),
	(6, 'cut', 'packets are missing, and the evidence has only part of the flow'),
	(7, 'differs', 'nothing explains the difference');

CREATE TABLE recording (
	recording_id INTEGER PRIMARY KEY,
	recording_uuid TEXT,
	hostname TEXT,
	machine_id TEXT,
	boot_id TEXT,
	kernel TEXT,
	architecture TEXT,
	argv TEXT,
	interface TEXT,
	filter TEXT,
	time_zone TEXT,
	tool TEXT,
	source TEXT,
	privilege TEXT,
	watcher TEXT,
	snaplen INTEGER,
	link_type INTEGER,
	clock_ticks INTEGER,
	net_namespace INTEGER,
	interval_ns INTEGER
) STRICT;

CREATE TABLE segment (
	segment_id INTEGER PRIMARY KEY,
	recording_id INTEGER REFERENCES recording,
	number INTEGER,
	pcap_name TEXT,
	snap_name TEXT,
	pcap_bytes INTEGER,
	snap_bytes INTEGER,
	pcap_sha256 TEXT,
	snap_sha256 TEXT,
	content_sha256 TEXT,
	link_type INTEGER,
	first_packet_ns INTEGER,
	last_packet_ns INTEGER,
	packets INTEGER NOT NULL,
	bytes INTEGER NOT NULL,
	flow_packets INTEGER NOT NULL,
	frames INTEGER NOT NULL,
	dropped INTEGER,
	state TEXT NOT NULL CHECK (state IN ('whole', 'repaired', 'damaged'))
) STRICT;

CREATE TABLE snapshot (
	snapshot_id INTEGER PRIMARY KEY,
	segment_id INTEGER NOT NULL REFERENCES segment,
	sequence INTEGER NOT NULL,
	kind TEXT NOT NULL CHECK (kind IN ('key', 'poll', 'event')),
	cause TEXT,
	begin_ns INTEGER NOT NULL,
	end_ns INTEGER NOT NULL,
	sockets INTEGER,
	processes INTEGER,
	line INTEGER
) STRICT;

CREATE TABLE interface (
	interface_id INTEGER PRIMARY KEY,
	recording_id INTEGER NOT NULL REFERENCES recording,
	net_namespace INTEGER,
	ifindex INTEGER NOT NULL,
	name TEXT,
	hardware_type INTEGER,
	first_seen_ns INTEGER,
	last_seen_ns INTEGER
) STRICT;

CREATE TABLE address (
	address_id INTEGER PRIMARY KEY,
	recording_id INTEGER NOT NULL REFERENCES recording,
	net_namespace INTEGER,
	ifindex INTEGER,
	address TEXT NOT NULL,
	prefix_length INTEGER,
	first_seen_ns INTEGER,
	last_seen_ns INTEGER
) STRICT;

CREATE TABLE process (
	process_id INTEGER PRIMARY KEY,
	recording_id INTEGER NOT NULL REFERENCES recording,
	pid INTEGER NOT NULL,
	start_ticks INTEGER,
	start_ns INTEGER,
	image INTEGER NOT NULL,
	parent_process_id INTEGER REFERENCES process,
	ppid INTEGER,
	uid INTEGER,
	comm TEXT,
	exe TEXT,
	cmdline TEXT,
	cgroup TEXT,
	container_id TEXT,
	net_namespace INTEGER,
	first_seen_ns INTEGER,
	last_seen_ns INTEGER,
	exit_ns INTEGER,
	exit_code INTEGER
) STRICT;

CREATE TABLE socket (
	socket_id INTEGER PRIMARY KEY,
	recording_id INTEGER NOT NULL REFERENCES recording,
	net_namespace INTEGER,
	protocol TEXT NOT NULL,
	family INTEGER CHECK (family IN (4, 6)),
	local_address TEXT,
	local_port INTEGER,
	remote_address TEXT,
	remote_port INTEGER,
	state INTEGER,
	uid INTEGER,
	inode INTEGER,
	cookie INTEGER,
	first_seen_ns INTEGER,
	last_seen_ns INTEGER,
	first_snapshot_id INTEGER REFERENCES snapshot,
	last_snapshot_id INTEGER REFERENCES snapshot,
	opened_ns INTEGER,
	closed_ns INTEGER,
	kernel_bytes_acked INTEGER,
	kernel_bytes_received INTEGER,
	kernel_bytes_sent INTEGER,
	kernel_bytes_retransmitted INTEGER
) STRICT;

CREATE TABLE holder (
	holder_id INTEGER PRIMARY KEY,
	socket_id INTEGER NOT NULL REFERENCES socket,
	process_id INTEGER NOT NULL REFERENCES process,
	fd INTEGER,
	first_seen_ns INTEGER,
	last_seen_ns INTEGER
) STRICT;

CREATE TABLE flow (
	flow_id INTEGER PRIMARY KEY,
	recording_id INTEGER REFERENCES recording,
	segment_id INTEGER REFERENCES segment,
	protocol TEXT NOT NULL,
	ip_version INTEGER NOT NULL CHECK (ip_version IN (4, 6)),
	orig_address TEXT NOT NULL,
	resp_address TEXT NOT NULL,
	orig_port INTEGER CHECK (orig_port BETWEEN 0 AND 65535),
	resp_port INTEGER CHECK (resp_port BETWEEN 0 AND 65535),
	icmp_id INTEGER,
	start_ns INTEGER NOT NULL,
	end_ns INTEGER NOT NULL,
	orig_packets INTEGER NOT NULL,
	orig_bytes INTEGER NOT NULL,
	orig_payload_bytes INTEGER NOT NULL,
	resp_packets INTEGER NOT NULL,
	resp_bytes INTEGER NOT NULL,
	resp_payload_bytes INTEGER NOT NULL,
	repeat_packets INTEGER NOT NULL,
	conn_state TEXT,
	history TEXT,
	community_id TEXT,
	ifindex INTEGER,
	vlan INTEGER,
	inner_vlan INTEGER,
	first_packet_number INTEGER,
	first_packet_offset INTEGER,
	carries TEXT,
	carried_packets INTEGER,
	carried_other_packets INTEGER,
	carried_unreadable_packets INTEGER
) STRICT;

-- What a flow's packets carried for others. Their bytes are part of the flow's.
CREATE TABLE tunnel (
	tunnel_id INTEGER PRIMARY KEY,
	flow_id INTEGER NOT NULL REFERENCES flow,
	outer_tunnel_id INTEGER REFERENCES tunnel,
	depth INTEGER NOT NULL,
	tunnel_type TEXT NOT NULL,
	tunnel_key INTEGER,
	segment_id INTEGER REFERENCES segment,
	protocol TEXT NOT NULL,
	ip_version INTEGER NOT NULL CHECK (ip_version IN (4, 6)),
	orig_address TEXT NOT NULL,
	resp_address TEXT NOT NULL,
	orig_port INTEGER CHECK (orig_port BETWEEN 0 AND 65535),
	resp_port INTEGER CHECK (resp_port BETWEEN 0 AND 65535),
	icmp_id INTEGER,
	start_ns INTEGER NOT NULL,
	end_ns INTEGER NOT NULL,
	orig_packets INTEGER NOT NULL,
	orig_bytes INTEGER NOT NULL,
	orig_payload_bytes INTEGER NOT NULL,
	resp_packets INTEGER NOT NULL,
	resp_bytes INTEGER NOT NULL,
	resp_payload_bytes INTEGER NOT NULL,
	conn_state TEXT,
	history TEXT,
	community_id TEXT,
	vlan INTEGER,
	first_packet_number INTEGER,
	first_packet_offset INTEGER,
	carries TEXT,
	carried_packets INTEGER,
	carried_other_packets INTEGER,
	carried_unreadable_packets INTEGER,
	CHECK ((depth = 1) = (outer_tunnel_id IS NULL))
) STRICT;

-- An owner goes with a rule, its lack with a reason: never both, never neither.
CREATE TABLE connection (
	connection_id INTEGER PRIMARY KEY,
	flow_id INTEGER NOT NULL REFERENCES flow,
	"end" TEXT NOT NULL CHECK ("end" IN ('orig', 'resp')),
	process_id INTEGER REFERENCES process,
	socket_id INTEGER REFERENCES socket,
	rule TEXT REFERENCES rule (rule),
	reason TEXT REFERENCES reason (reason),
	exact_packets INTEGER NOT NULL,
	ahead_packets INTEGER NOT NULL,
	behind_packets INTEGER NOT NULL,
	bound_packets INTEGER NOT NULL,
	wildcard_packets INTEGER NOT NULL,
	listener_packets INTEGER NOT NULL,
	quoted_packets INTEGER NOT NULL,
	shared_by INTEGER NOT NULL,
	snapshot_id INTEGER REFERENCES snapshot,
	distance_ns INTEGER,
	start_ns INTEGER NOT NULL,
	end_ns INTEGER NOT NULL,
	sent_packets INTEGER NOT NULL,
	sent_bytes INTEGER NOT NULL,
	sent_payload_bytes INTEGER NOT NULL,
	received_packets INTEGER NOT NULL,
	received_bytes INTEGER NOT NULL,
	received_payload_bytes INTEGER NOT NULL,
	remote_address TEXT,
	CHECK ((rule IS NULL) <> (reason IS NULL)),
	CHECK ((rule IS NULL) = (process_id IS NULL))
) STRICT;

CREATE TABLE candidate (
	connection_id INTEGER NOT NULL REFERENCES connection,
	process_id INTEGER NOT NULL REFERENCES process,
	socket_id INTEGER REFERENCES socket,
	PRIMARY KEY (connection_id, process_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE traffic (
	connection_id INTEGER NOT NULL REFERENCES connection,
	bucket INTEGER NOT NULL,
	sent_packets INTEGER NOT NULL,
	sent_bytes INTEGER NOT NULL,
	received_packets INTEGER NOT NULL,
	received_bytes INTEGER NOT NULL,
	PRIMARY KEY (connection_id, bucket)
) STRICT, WITHOUT ROWID;

-- Sums of traffic that the loader keeps beside it, so that a question about
-- processes reads neither it nor what lies between the ends of a window.
CREATE TABLE period (
	buckets INTEGER PRIMARY KEY,
	part INTEGER NOT NULL
) STRICT;

INSERT INTO period (buckets, part) VALUES (600, 1), (3600, 600), (86400, 3600);

CREATE TABLE process_bucket (
	process_id INTEGER NOT NULL,
	bucket INTEGER NOT NULL,
	sent_packets INTEGER NOT NULL,
	sent_bytes INTEGER NOT NULL,
	received_packets INTEGER NOT NULL,
	received_bytes INTEGER NOT NULL,
	PRIMARY KEY (process_id, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE process_period (
	process_id INTEGER NOT NULL,
	buckets INTEGER NOT NULL,
	period INTEGER NOT NULL,
	sent_packets INTEGER NOT NULL,
	sent_bytes INTEGER NOT NULL,
	received_packets INTEGER NOT NULL,
	received_bytes INTEGER NOT NULL,
	peak_bytes INTEGER NOT NULL,
	PRIMARY KEY (process_id, buckets, period)
) STRICT, WITHOUT ROWID;

-- Each end of a flow whose socket closed, by its verdict: what view kernel_check shows.
-- The loader makes it of tables connection, socket and flow (schema/checks).
CREATE TABLE kernel_end (
	verdict_code INTEGER NOT NULL,
	flow_id INTEGER NOT NULL,
	"end" TEXT NOT NULL CHECK ("end" IN ('orig', 'resp')),
	recording_id INTEGER,
	process_id INTEGER,
	start_ns INTEGER NOT NULL,
	end_ns INTEGER NOT NULL,
	closed_ns INTEGER NOT NULL,
	sent_payload_bytes INTEGER NOT NULL,
	sent_difference INTEGER,
	received_payload_bytes INTEGER NOT NULL,
	received_difference INTEGER,
	retransmitted_bytes INTEGER,
	peer_retransmitted_bytes INTEGER,
	PRIMARY KEY (verdict_code, flow_id, "end")
) STRICT, WITHOUT ROWID;

-- Eight packets of a capture that follow each other: its numbers place * 8 + 1 to
-- place * 8 + 8. Times and offsets are differences to the row's; size is bytes << 6 |
-- verdict << 1 | direction, the verdict a rule_code or 16 + a reason_code. NULL where
-- the packet is in no flow, or a second sighting. View packet has one row for each.
CREATE TABLE packet_row (
	segment_id INTEGER NOT NULL REFERENCES segment,
	place INTEGER NOT NULL,
	time_ns INTEGER NOT NULL,
	offset_bytes INTEGER NOT NULL,
	connection_1 INTEGER REFERENCES connection,
	connection_2 INTEGER REFERENCES connection,
	connection_3 INTEGER REFERENCES connection,
	connection_4 INTEGER REFERENCES connection,
	connection_5 INTEGER REFERENCES connection,
	connection_6 INTEGER REFERENCES connection,
	connection_7 INTEGER REFERENCES connection,
	connection_8 INTEGER REFERENCES connection,
	size_1 INTEGER, size_2 INTEGER, size_3 INTEGER, size_4 INTEGER,
	size_5 INTEGER, size_6 INTEGER, size_7 INTEGER, size_8 INTEGER,
	time_1 INTEGER, time_2 INTEGER, time_3 INTEGER, time_4 INTEGER,
	time_5 INTEGER, time_6 INTEGER, time_7 INTEGER, time_8 INTEGER,
	offset_1 INTEGER, offset_2 INTEGER, offset_3 INTEGER, offset_4 INTEGER,
	offset_5 INTEGER, offset_6 INTEGER, offset_7 INTEGER, offset_8 INTEGER,
	number_1 INTEGER AS (place * 8 + 1),
	number_2 INTEGER AS (place * 8 + 2),
	number_3 INTEGER AS (place * 8 + 3),
	number_4 INTEGER AS (place * 8 + 4),
	number_5 INTEGER AS (place * 8 + 5),
	number_6 INTEGER AS (place * 8 + 6),
	number_7 INTEGER AS (place * 8 + 7),
	number_8 INTEGER AS (place * 8 + 8),
	PRIMARY KEY (segment_id, place)
) STRICT, WITHOUT ROWID;

-- Where a connection has packets: in which stretches of 128 numbers, 16 rows of packet_row.
CREATE TABLE packet_stretch (
	connection_id INTEGER NOT NULL REFERENCES connection,
	segment_id INTEGER NOT NULL REFERENCES segment,
	stretch INTEGER NOT NULL,
	PRIMARY KEY (connection_id, segment_id, stretch)
) STRICT, WITHOUT ROWID;

CREATE TABLE other (
	segment_id INTEGER NOT NULL REFERENCES segment,
	reason TEXT NOT NULL,
	packets INTEGER NOT NULL,
	bytes INTEGER NOT NULL,
	PRIMARY KEY (segment_id, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE coverage (
	coverage_id INTEGER PRIMARY KEY,
	recording_id INTEGER REFERENCES recording,
	segment_id INTEGER REFERENCES segment,
	kind TEXT NOT NULL,
	begin_ns INTEGER,
	end_ns INTEGER,
	count INTEGER,
	subject TEXT,
	detail TEXT
) STRICT;

-- Who listened on a TCP port, and from when on it counts what was seen of that: what the next
-- segments are judged by, and what an explanation needs of those before its own.
CREATE TABLE serving (
	recording_id INTEGER NOT NULL REFERENCES recording,
	port INTEGER NOT NULL,
	pid INTEGER NOT NULL,
	start_ticks INTEGER NOT NULL,
	inode INTEGER,
	listens_ns INTEGER,
	serves_ns INTEGER,
	again_ns INTEGER,
	others_ns INTEGER,
	hands_ns INTEGER,
	PRIMARY KEY (recording_id, port, pid, start_ticks)
) STRICT, WITHOUT ROWID;

CREATE TABLE carry (
	seq INTEGER PRIMARY KEY,
	kind INTEGER NOT NULL,
	state BLOB NOT NULL
) STRICT;
