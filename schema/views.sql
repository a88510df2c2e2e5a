-- The views: the stable interface for users and their scripts. Columns may be
-- added at the end of a view, never renamed or taken away.

CREATE VIEW connections AS
SELECT
	c.connection_id,
	c.flow_id,
	r.hostname,
	p.pid,
	-- Where no one owner is certain and all candidates agree on the program or the
	-- user, that much is certain; the pid is not.
	CAST(CASE
	WHEN p.process_id IS NOT NULL
	THEN coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
	WHEN c.reason = 'ambiguous' THEN (
		SELECT CASE
			WHEN count(*) = count(q.exe) AND min(q.exe) = max(q.exe) THEN
				CASE WHEN count(*) = count(q.comm) AND min(q.comm) = max(q.comm)
				THEN min(q.comm)
				ELSE substr(min(q.exe), length(rtrim(min(q.exe),
					replace(min(q.exe), '/', ''))) + 1)
				END
			WHEN count(q.exe) = 0 AND count(*) = count(q.comm)
				AND min(q.comm) = max(q.comm) THEN min(q.comm)
			END
		FROM candidate k JOIN process q ON q.process_id = k.process_id
		WHERE k.connection_id = c.connection_id)
	END AS TEXT) AS process,
	CAST(CASE
	WHEN c.reason = 'ambiguous' THEN (
		SELECT CASE WHEN count(*) = count(q.exe) AND min(q.exe) = max(q.exe)
			THEN min(q.exe) END
		FROM candidate k JOIN process q ON q.process_id = k.process_id
		WHERE k.connection_id = c.connection_id)
	ELSE p.exe
	END AS TEXT) AS exe,
	p.cmdline,
	CAST(CASE
	WHEN c.reason = 'ambiguous' THEN (
		SELECT CASE WHEN count(*) = count(q.uid) AND min(q.uid) = max(q.uid)
			THEN min(q.uid) END
		FROM candidate k JOIN process q ON q.process_id = k.process_id
		WHERE k.connection_id = c.connection_id)
	ELSE p.uid
	END AS INTEGER) AS uid,
	p.container_id,
	CAST(coalesce(s.net_namespace, p.net_namespace) AS INTEGER) AS net_namespace,
	f.protocol,
	CAST(CASE c."end" WHEN 'orig' THEN f.orig_address ELSE f.resp_address END AS TEXT)
		AS local_address,
	CAST(CASE c."end" WHEN 'orig' THEN f.orig_port ELSE f.resp_port END AS INTEGER)
		AS local_port,
	CAST(CASE c."end" WHEN 'orig' THEN f.resp_address ELSE f.orig_address END AS TEXT)
		AS remote_address,
	CAST(CASE c."end" WHEN 'orig' THEN f.resp_port ELSE f.orig_port END AS INTEGER)
		AS remote_port,
	CASE c."end" WHEN 'orig' THEN 'outbound' ELSE 'inbound' END AS direction,
	c.start_ns,
	c.end_ns,
	strftime('%Y-%m-%dT%H:%M:%S', c.start_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', c.start_ns % 1000000000) AS start,
	strftime('%Y-%m-%dT%H:%M:%S', c.end_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', c.end_ns % 1000000000) AS "end",
	c.sent_packets,
	c.sent_bytes,
	c.sent_payload_bytes,
	c.received_packets,
	c.received_bytes,
	c.received_payload_bytes,
	c.rule,
	c.reason,
	c.shared_by,
	f.conn_state,
	f.community_id
FROM connection c
JOIN flow f ON f.flow_id = c.flow_id
LEFT JOIN recording r ON r.recording_id = f.recording_id
LEFT JOIN process p ON p.process_id = c.process_id
LEFT JOIN socket s ON s.socket_id = c.socket_id;

CREATE VIEW processes AS
SELECT
	p.process_id,
	r.hostname,
	p.pid,
	p.image,
	CAST(coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
		AS TEXT) AS process,
	p.exe,
	p.cmdline,
	p.uid,
	p.container_id,
	p.net_namespace,
	p.ppid,
	p.parent_process_id,
	p.start_ns,
	strftime('%Y-%m-%dT%H:%M:%S', p.start_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', p.start_ns % 1000000000) AS start,
	p.exit_ns,
	strftime('%Y-%m-%dT%H:%M:%S', p.exit_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', p.exit_ns % 1000000000) AS exit,
	p.exit_code
FROM process p
JOIN recording r ON r.recording_id = p.recording_id;

CREATE VIEW process_traffic AS
WITH total AS (
	SELECT
		c.process_id,
		CAST(count(*) AS INTEGER) AS connections,
		CAST(count(DISTINCT c.remote_address) AS INTEGER) AS remote_hosts,
		CAST(sum(c.sent_packets) AS INTEGER) AS sent_packets,
		CAST(sum(c.sent_bytes) AS INTEGER) AS sent_bytes,
		CAST(sum(c.received_packets) AS INTEGER) AS received_packets,
		CAST(sum(c.received_bytes) AS INTEGER) AS received_bytes,
		CAST(min(c.start_ns) AS INTEGER) AS first_ns,
		CAST(max(c.end_ns) AS INTEGER) AS last_ns
	FROM connection c
	WHERE c.process_id IS NOT NULL
	GROUP BY c.process_id
), width AS (
	SELECT value AS ns FROM setting WHERE key = 'bucket_ns'
)
SELECT
	p.process_id,
	p.hostname,
	p.pid,
	p.process,
	p.exe,
	p.cmdline,
	p.uid,
	p.container_id,
	t.connections,
	t.remote_hosts,
	t.sent_packets,
	t.sent_bytes,
	t.received_packets,
	t.received_bytes,
	-- Over whole buckets, so that the peak is never below the mean.
	CAST((t.sent_bytes + t.received_bytes) * 1e9 / ((t.last_ns / width.ns - t.first_ns / width.ns + 1) * width.ns)
		AS INTEGER) AS mean_bytes_per_second,
	CAST((SELECT max(k.peak_bytes) FROM process_period k WHERE k.process_id = t.process_id
		AND k.buckets = (SELECT max(buckets) FROM period)) * 1e9 / width.ns AS INTEGER)
		AS peak_bytes_per_second,
	t.first_ns,
	t.last_ns,
	strftime('%Y-%m-%dT%H:%M:%S', t.first_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', t.first_ns % 1000000000) AS first,
	strftime('%Y-%m-%dT%H:%M:%S', t.last_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', t.last_ns % 1000000000) AS last
FROM total t
JOIN processes p ON p.process_id = t.process_id
CROSS JOIN width;

CREATE VIEW process_timeline AS
SELECT
	t.bucket,
	CAST(t.bucket * width.value AS INTEGER) AS start_ns,
	strftime('%Y-%m-%dT%H:%M:%S', t.bucket * width.value / 1000000000, 'unixepoch')
		|| printf('.%09dZ', t.bucket * width.value % 1000000000) AS start,
	CAST(p.process_id AS INTEGER) AS process_id,
	r.hostname,
	p.pid,
	CAST(coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
		AS TEXT) AS process,
	p.exe,
	t.sent_packets,
	t.sent_bytes,
	t.received_packets,
	t.received_bytes
-- Some of time is found for one process after the other.
FROM (SELECT process_id FROM process UNION ALL SELECT 0) o
CROSS JOIN process_bucket t ON t.process_id = o.process_id
JOIN setting width ON width.key = 'bucket_ns'
LEFT JOIN process p ON p.process_id = t.process_id
LEFT JOIN recording r ON r.recording_id = p.recording_id;

CREATE VIEW unattributed AS
WITH whole AS (
	SELECT
		CAST(sum(sent_packets + received_packets) AS INTEGER) AS packets,
		CAST(sum(sent_bytes + received_bytes) AS INTEGER) AS bytes
	FROM connection
)
SELECT
	c.reason,
	m.meaning,
	CAST(count(*) AS INTEGER) AS connections,
	CAST(sum(c.sent_packets + c.received_packets) AS INTEGER) AS packets,
	CAST(sum(c.sent_bytes + c.received_bytes) AS INTEGER) AS bytes,
	round(100.0 * sum(c.sent_packets + c.received_packets) / whole.packets, 3) AS packets_percent,
	round(100.0 * sum(c.sent_bytes + c.received_bytes) / whole.bytes, 3) AS bytes_percent
FROM connection c
CROSS JOIN whole
LEFT JOIN reason m ON m.reason = c.reason
WHERE c.reason IS NOT NULL
GROUP BY c.reason;

-- Each segment against what was counted while it was read; then all of them
-- against the rows of flow themselves, which may cross segments.
CREATE VIEW accounting AS
SELECT
	'segment' AS scope,
	g.segment_id,
	g.pcap_name,
	g.packets,
	g.flow_packets,
	CAST(coalesce((SELECT sum(o.packets) FROM other o WHERE o.segment_id = g.segment_id), 0)
		AS INTEGER) AS other_packets,
	CAST(g.packets - g.flow_packets
		- coalesce((SELECT sum(o.packets) FROM other o WHERE o.segment_id = g.segment_id), 0)
		AS INTEGER) AS difference
FROM segment g
UNION ALL
SELECT
	'total',
	NULL,
	NULL,
	total.packets,
	total.flow_packets,
	total.other_packets,
	total.packets - total.flow_packets - total.other_packets
FROM (
	SELECT
		coalesce((SELECT sum(packets) FROM segment), 0) AS packets,
		coalesce((SELECT sum(orig_packets + resp_packets + repeat_packets) FROM flow), 0)
			AS flow_packets,
		coalesce((SELECT sum(packets) FROM other), 0) AS other_packets
) total;

-- One row for each packet. That the place follows from the number, and the rows from
-- the stretch, is said so that a packet is found by its number and a connection's by
-- the connection, without reading all. The eight differ in a digit: which of its row's
-- places a packet has.
CREATE VIEW packet AS
SELECT
	k.segment_id,
	k.number,
	k.connection_id,
	k.flow_id,
	k.offset_bytes,
	k.time_ns,
	k.size >> 6 AS bytes,
	k.size & 1 AS direction,
	iif(k.size & 32, NULL, k.size >> 1 & 15) AS rule_code,
	iif(k.size & 32, k.size >> 1 & 15, NULL) AS reason_code
FROM (
	SELECT
		p.segment_id, number_1 AS number, s.connection_id, c.flow_id, size_1 AS size,
		time_ns + time_1 AS time_ns, offset_bytes + offset_1 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_1
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_1 - 1 >> 3
	UNION ALL
	SELECT
		p.segment_id, number_2 AS number, s.connection_id, c.flow_id, size_2 AS size,
		time_ns + time_2 AS time_ns, offset_bytes + offset_2 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_2
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_2 - 1 >> 3
	UNION ALL
	SELECT
		p.segment_id, number_3 AS number, s.connection_id, c.flow_id, size_3 AS size,
		time_ns + time_3 AS time_ns, offset_bytes + offset_3 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_3
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_3 - 1 >> 3
	UNION ALL
	SELECT
		p.segment_id, number_4 AS number, s.connection_id, c.flow_id, size_4 AS size,
		time_ns + time_4 AS time_ns, offset_bytes + offset_4 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_4
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_4 - 1 >> 3
	UNION ALL
	SELECT
		p.segment_id, number_5 AS number, s.connection_id, c.flow_id, size_5 AS size,
		time_ns + time_5 AS time_ns, offset_bytes + offset_5 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_5
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_5 - 1 >> 3
	UNION ALL
	SELECT
		p.segment_id, number_6 AS number, s.connection_id, c.flow_id, size_6 AS size,
		time_ns + time_6 AS time_ns, offset_bytes + offset_6 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_6
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_6 - 1 >> 3
	UNION ALL
	SELECT
		p.segment_id, number_7 AS number, s.connection_id, c.flow_id, size_7 AS size,
		time_ns + time_7 AS time_ns, offset_bytes + offset_7 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_7
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_7 - 1 >> 3
	UNION ALL
	SELECT
		p.segment_id, number_8 AS number, s.connection_id, c.flow_id, size_8 AS size,
		time_ns + time_8 AS time_ns, offset_bytes + offset_8 AS offset_bytes
	FROM packet_row p JOIN packet_stretch s ON s.connection_id = connection_8
		AND s.segment_id = p.segment_id AND s.stretch = place >> 4
		AND place BETWEEN s.stretch << 4 AND s.stretch << 4 | 15
	LEFT JOIN connection c ON c.connection_id = s.connection_id
	WHERE place = number_8 - 1 >> 3
) k;

CREATE VIEW packets AS
SELECT
	k.segment_id,
	g.pcap_name,
	k.number,
	k.offset_bytes,
	k.time_ns,
	strftime('%Y-%m-%dT%H:%M:%S', k.time_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', k.time_ns % 1000000000) AS time,
	k.flow_id,
	k.connection_id,
	CASE k.direction WHEN 0 THEN 'orig' ELSE 'resp' END AS sender,
	k.bytes,
	u.rule,
	m.reason
FROM packet k
JOIN segment g ON g.segment_id = k.segment_id
LEFT JOIN rule u ON u.rule_code = k.rule_code
LEFT JOIN reason m ON m.reason_code = k.reason_code;

-- What tunnels carried, with who owns what carried it. An outer flow with two
-- local ends, or an end that moved between processes, has its rows for each of
-- them, as in connections; table tunnel has them once.
CREATE VIEW tunnels AS
SELECT
	t.tunnel_id,
	t.flow_id,
	c.connection_id,
	c.hostname,
	c.pid,
	c.process,
	c.exe,
	c.rule,
	c.reason,
	c.local_address,
	c.local_port,
	c.remote_address,
	c.remote_port,
	c.direction,
	c.protocol AS outer_protocol,
	t.tunnel_type,
	t.tunnel_key,
	t.depth,
	t.outer_tunnel_id,
	t.protocol,
	t.orig_address,
	t.orig_port,
	t.resp_address,
	t.resp_port,
	t.start_ns,
	t.end_ns,
	strftime('%Y-%m-%dT%H:%M:%S', t.start_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', t.start_ns % 1000000000) AS start,
	strftime('%Y-%m-%dT%H:%M:%S', t.end_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', t.end_ns % 1000000000) AS "end",
	t.orig_packets,
	t.orig_bytes,
	t.resp_packets,
	t.resp_bytes,
	t.conn_state,
	t.community_id
FROM tunnel t
JOIN connections c ON c.flow_id = t.flow_id;

CREATE VIEW sockets AS
SELECT
	s.socket_id,
	r.hostname,
	s.protocol,
	s.local_address,
	s.local_port,
	s.remote_address,
	s.remote_port,
	s.state,
	s.uid,
	s.inode,
	s.net_namespace,
	h.fd,
	p.process_id,
	p.pid,
	p.process,
	p.exe,
	CASE
		WHEN h.holder_id IS NOT NULL THEN NULL
		WHEN EXISTS (SELECT 1 FROM coverage c WHERE c.recording_id = s.recording_id
			AND c.kind = 'unreadable' AND c.subject GLOB 'descriptors*') THEN 'unreadable'
		ELSE 'no-holder'
	END AS reason,
	s.first_seen_ns,
	s.last_seen_ns
FROM socket s
LEFT JOIN recording r ON r.recording_id = s.recording_id
LEFT JOIN holder h ON h.socket_id = s.socket_id
LEFT JOIN processes p ON p.process_id = h.process_id;

-- What each TCP socket's own counters said at its close against the payload of
-- its end of the flow.
CREATE VIEW kernel_check AS
SELECT
	k.flow_id,
	r.hostname,
	k.process_id,
	p.pid,
	CAST(coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
		AS TEXT) AS process,
	CAST(CASE k."end" WHEN 'orig' THEN f.orig_address ELSE f.resp_address END AS TEXT)
		AS local_address,
	CAST(CASE k."end" WHEN 'orig' THEN f.orig_port ELSE f.resp_port END AS INTEGER)
		AS local_port,
	CAST(CASE k."end" WHEN 'orig' THEN f.resp_address ELSE f.orig_address END AS TEXT)
		AS remote_address,
	CAST(CASE k."end" WHEN 'orig' THEN f.resp_port ELSE f.orig_port END AS INTEGER)
		AS remote_port,
	CASE k."end" WHEN 'orig' THEN 'outbound' ELSE 'inbound' END AS direction,
	k.start_ns,
	k.end_ns,
	k.closed_ns,
	k.sent_payload_bytes,
	CAST(k.sent_payload_bytes - k.sent_difference AS INTEGER) AS kernel_sent_bytes,
	k.sent_difference,
	k.received_payload_bytes,
	CAST(k.received_payload_bytes - k.received_difference AS INTEGER) AS kernel_received_bytes,
	k.received_difference,
	k.retransmitted_bytes AS kernel_retransmitted_bytes,
	k.peer_retransmitted_bytes,
	-- Counts that somebody made up can be more than can be added up.
	CAST((SELECT min(total(d."count"), 1 << 61) FROM coverage d
		WHERE d.kind = 'dropped' AND d.recording_id = k.recording_id
			AND d.begin_ns <= max(k.end_ns, k.closed_ns) AND d.end_ns >= k.start_ns)
		AS INTEGER) AS dropped_packets,
	f.history,
	v.verdict
FROM kernel_end k
JOIN verdict v ON v.verdict_code = k.verdict_code
JOIN flow f ON f.flow_id = k.flow_id
LEFT JOIN recording r ON r.recording_id = k.recording_id
LEFT JOIN process p ON p.process_id = k.process_id;
