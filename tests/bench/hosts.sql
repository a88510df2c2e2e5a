-- hosts.sql: the database of one host, without evidence, as analyze would have left it.
-- Into a database that has the schema. What is wanted stands in temp.wanted: host,
-- connections, buckets (rows of traffic of each connection), processes, version.
INSERT INTO setting (key, value)
SELECT 'bucket_ns', 1000000000 UNION ALL SELECT 'with_packets', 0
UNION ALL SELECT 'format_version', version FROM temp.wanted;

INSERT INTO recording (recording_id, recording_uuid, hostname, machine_id, boot_id, kernel, tool, source)
SELECT 1, printf('%032x', host), printf('host-%05d', host), printf('%032x', host),
	printf('%08x-0000-0000-0000-000000000000', host), '6.1.0', 'pcapwho-record 0.1.0', 'recorder'
FROM temp.wanted;

CREATE TEMP TABLE span AS
WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n, wanted WHERE n < connections)
SELECT
	n,
	1700000000 + n % 86400 AS start,
	(n * 7919) % processes + 1 AS process,
	(n - 1) % 100 + 1 AS snapshot
FROM n, wanted;

INSERT INTO segment (segment_id, recording_id, number, pcap_name, snap_name, pcap_bytes, snap_bytes,
	pcap_sha256, snap_sha256, content_sha256, link_type, first_packet_ns, last_packet_ns, packets,
	bytes, flow_packets, frames, state)
SELECT 1, 1, 1, '000001-20231114T221320.000000000Z.pcap', '000001-20231114T221320.000000000Z.snap.gz',
	1, 1, printf('%064x', host), printf('%064x', host), printf('%064x', host), 1, 0, 0,
	connections * buckets * 20, 0, connections * buckets * 20, 100, 'whole'
FROM wanted;

WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100)
INSERT INTO snapshot (snapshot_id, segment_id, sequence, kind, cause, begin_ns, end_ns, sockets,
	processes, line)
SELECT n, 1, n, 'poll', 'interval', 1700000000000000000 + n * 864000000000,
	1700000000000000000 + n * 864000000000 + 1000000, 2000, 200, n * 2000
FROM n;

WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n, wanted WHERE n < processes)
INSERT INTO process (process_id, recording_id, pid, start_ticks, start_ns, image, parent_process_id,
	ppid, uid, comm, exe, cmdline, first_seen_ns, last_seen_ns)
SELECT n, 1, n, n * 100, 1700000000000000000, 1, CASE WHEN n > 1 THEN 1 END, 1, n % 10,
	'program' || n % 50, '/usr/bin/program' || n % 50, 'program' || n % 50 || ' --number ' || n,
	1700000000000000000, 1700086400000000000
FROM n;

INSERT INTO socket (socket_id, recording_id, protocol, family, local_address, local_port,
	remote_address, remote_port, state, uid, inode, first_seen_ns, last_seen_ns, first_snapshot_id,
	last_snapshot_id)
SELECT n, 1, 'tcp', 4, '192.0.2.1', n % 60000 + 1024, printf('198.51.100.%d', n % 250), 443, 1, 0,
	n + 100000, start * 1000000000, start * 1000000000 + 60000000000, snapshot, snapshot
FROM span;

INSERT INTO holder (holder_id, socket_id, process_id, fd, first_seen_ns, last_seen_ns)
SELECT n, n, process, n % 1000 + 3, start * 1000000000, start * 1000000000 + 60000000000
FROM span;

INSERT INTO flow (flow_id, recording_id, segment_id, protocol, ip_version, orig_address,
	resp_address, orig_port, resp_port, start_ns, end_ns, orig_packets, orig_bytes,
	orig_payload_bytes, resp_packets, resp_bytes, resp_payload_bytes, repeat_packets, conn_state,
	history, community_id, first_packet_number, first_packet_offset)
SELECT n, 1, 1, 'tcp', 4, '192.0.2.1', printf('198.51.100.%d', n % 250), n % 60000 + 1024, 443,
	start * 1000000000, start * 1000000000 + buckets * 1000000000, buckets * 10, buckets * 700,
	buckets * 200, buckets * 10, buckets * 14000, buckets * 13500, 0, 'SF', 'ShADadFf',
	'1:' || hex(zeroblob(14)), n, n * 100
FROM span, wanted;

INSERT INTO connection (connection_id, flow_id, "end", process_id, socket_id, rule, reason,
	exact_packets, ahead_packets, behind_packets, bound_packets, wildcard_packets,
	listener_packets, quoted_packets, shared_by, snapshot_id, distance_ns, start_ns, end_ns,
	sent_packets, sent_bytes, sent_payload_bytes, received_packets, received_bytes,
	received_payload_bytes, remote_address)
SELECT n, n, 'orig', process, n, 'exact', NULL, buckets * 20, 0, 0, 0, 0, 0, 0, 1, snapshot,
	500000000, start * 1000000000, start * 1000000000 + buckets * 1000000000, buckets * 10,
	buckets * 700, buckets * 200, buckets * 10, buckets * 14000, buckets * 13500,
	printf('198.51.100.%d', n % 250)
FROM span, wanted;

WITH RECURSIVE b(b) AS (SELECT 0 UNION ALL SELECT b + 1 FROM b, wanted WHERE b < buckets - 1)
INSERT INTO traffic (connection_id, bucket, sent_packets, sent_bytes, received_packets,
	received_bytes)
SELECT n, start + b, 10, 700, 10, 14000
FROM span CROSS JOIN b;
