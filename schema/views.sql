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
-- its end of the flow. An end may have several rows of connection (it moved
-- between processes), and they are added up here. Where the two differ, each
-- direction gets the first explanation that the evidence bears out; the
-- verdict is the graver of both.
CREATE VIEW kernel_check AS
WITH spread AS (
	-- One socket, several flows: a conversation that was silent for long, or
	-- one whose parts lie on both sides of a hole.
	SELECT c.socket_id
	FROM connection c
	JOIN socket s ON s.socket_id = c.socket_id
	WHERE s.closed_ns IS NOT NULL AND s.protocol = 'tcp'
	GROUP BY c.socket_id
	HAVING min(c.flow_id) <> max(c.flow_id)
), closed AS (
	-- A listening socket, to which the first packets of an accepted
	-- connection may have gone, counts nothing.
	SELECT DISTINCT
		c.flow_id,
		c."end",
		s.recording_id,
		s.closed_ns,
		s.kernel_bytes_acked AS acked,
		s.kernel_bytes_received AS received,
		s.kernel_bytes_sent AS sent,
		s.kernel_bytes_retransmitted AS retransmitted,
		s.socket_id IN (SELECT socket_id FROM spread) AS is_spread
	FROM connection c
	JOIN socket s ON s.socket_id = c.socket_id
	WHERE s.closed_ns IS NOT NULL AND s.protocol = 'tcp' AND s.remote_port IS NOT NULL
), kernel AS (
	SELECT
		flow_id,
		"end",
		recording_id,
		max(closed_ns) AS closed_ns,
		sum(acked) AS acked,
		sum(received) AS received,
		sum(sent) AS sent,
		sum(retransmitted) AS retransmitted,
		max(is_spread) AS is_spread
	FROM closed
	GROUP BY flow_id, "end"
), wire AS (
	SELECT
		c.flow_id,
		c."end",
		min(c.start_ns) AS start_ns,
		max(c.end_ns) AS end_ns,
		sum(c.sent_payload_bytes) AS sent,
		sum(c.received_payload_bytes) AS received
	FROM connection c
	GROUP BY c.flow_id, c."end"
), hole AS (
	-- Times of which packets are missing or were not put into flows.
	SELECT recording_id, 'dropped' AS kind, begin_ns, end_ns, "count" AS packets
	FROM coverage
	WHERE kind = 'dropped'
	UNION ALL
	SELECT
		g.recording_id,
		'cut',
		coalesce(g.first_packet_ns, 0),
		coalesce((SELECT min(n.first_packet_ns) FROM segment n
			WHERE n.recording_id = g.recording_id AND n.number > g.number),
			9223372036854775807),
		0
	FROM segment g
	WHERE g.state <> 'whole'
	UNION ALL
	SELECT
		g.recording_id,
		'cut',
		coalesce((SELECT max(n.last_packet_ns) FROM segment n
			WHERE n.recording_id = g.recording_id AND n.number < g.number), 0),
		coalesce(g.first_packet_ns, 9223372036854775807),
		0
	FROM coverage v
	JOIN segment g ON g.segment_id = v.segment_id
	WHERE v.kind = 'missing'
	UNION ALL
	SELECT g.recording_id, 'cut', g.first_packet_ns, g.last_packet_ns, 0
	FROM other o
	JOIN segment g ON g.segment_id = o.segment_id
	WHERE o.reason IN ('truncated', 'malformed', 'fragment')
), told AS (
	SELECT
		k.flow_id,
		k."end",
		r.hostname,
		(SELECT c.process_id FROM connection c
			WHERE c.flow_id = k.flow_id AND c."end" = k."end"
			ORDER BY c.process_id IS NULL, c.sent_packets + c.received_packets DESC,
				c.connection_id
			LIMIT 1) AS process_id,
		f.history,
		w.start_ns,
		w.end_ns,
		k.closed_ns,
		w.sent AS wire_sent,
		w.received AS wire_received,
		k.acked,
		k.sent,
		k.received,
		k.retransmitted,
		-- Not the same as 0: then this count is of use, else nobody made one.
		o.retransmitted AS peer_retransmitted,
		-- bytes_sent came with Linux 4.19. Before it there is only what the peer
		-- acknowledged, SYN and FIN included.
		k.sent = 0 AND k.acked > 0 AND (CAST(r.kernel AS INTEGER) < 4
			OR (CAST(r.kernel AS INTEGER) = 4
				AND CAST(substr(r.kernel, instr(r.kernel, '.') + 1) AS INTEGER) < 19))
			AS is_acked,
		CASE k."end" WHEN 'orig' THEN 1 ELSE 0 END AS own_syn,
		instr(f.history, CASE k."end" WHEN 'orig' THEN 'F' ELSE 'f' END) AS own_fin,
		instr(f.history, CASE k."end" WHEN 'orig' THEN 'R' ELSE 'r' END) AS own_reset,
		instr(f.history, CASE k."end" WHEN 'orig' THEN 'f' ELSE 'F' END) AS peer_fin,
		(SELECT coalesce(sum(h.packets), 0) FROM hole h
			WHERE h.kind = 'dropped' AND h.recording_id = k.recording_id
				AND h.begin_ns <= max(w.end_ns, k.closed_ns)
				AND h.end_ns >= w.start_ns) AS dropped,
		f.history IS NULL OR f.history NOT GLOB '*[SsHh]*' OR k.is_spread
			OR f.recording_id IS NOT k.recording_id AS is_part,
		-- A filter that looks at hosts and ports takes a conversation whole.
		coalesce(r.filter GLOB '*[[<>=]*' OR r.filter LIKE '%src%' OR r.filter LIKE '%dst%'
				OR r.filter LIKE '%less%' OR r.filter LIKE '%greater%'
				OR r.filter LIKE '%bound%', 0)
			OR EXISTS (SELECT 1 FROM hole h
				WHERE h.kind = 'cut' AND h.recording_id = k.recording_id
					AND h.begin_ns <= max(w.end_ns, k.closed_ns)
					AND h.end_ns >= w.start_ns) AS has_hole
	FROM kernel k
	JOIN wire w ON w.flow_id = k.flow_id AND w."end" = k."end"
	JOIN flow f ON f.flow_id = k.flow_id
	LEFT JOIN kernel o ON o.flow_id = k.flow_id AND o."end" <> k."end"
	LEFT JOIN recording r ON r.recording_id = k.recording_id
), counted AS (
	SELECT
		t.*,
		CASE
			WHEN NOT is_acked THEN sent
			WHEN own_fin = 0 OR acked - own_syn = wire_sent THEN acked - own_syn
			ELSE acked - own_syn - 1
		END AS kernel_sent,
		-- A FIN is counted as one byte, but only while the socket is whole: one
		-- that closed first, or was reset, is gone when the peer's comes.
		CASE
			WHEN peer_fin = 0 OR received = 0 THEN received
			WHEN ((own_fin > 0 AND own_fin < peer_fin)
				OR (own_reset > 0 AND own_reset < peer_fin))
				AND received = wire_received THEN received
			ELSE received - 1
		END AS kernel_received,
		-- What went out more than once, or never: of a conversation that was
		-- closed and not reset all payload is acknowledged, and whatever was sent
		-- beyond it was a copy. A full queue in the host refuses segments that
		-- count as sent each time, and not as retransmitted.
		CASE
			WHEN own_fin > 0 AND history NOT GLOB '*[Rr]*'
			THEN max(retransmitted, sent - (acked - own_syn - 1))
			ELSE retransmitted
		END AS sent_again,
		-- Whoever disconnects with a reset takes the counters back to zero.
		own_reset > 0 AND acked = 0 AND sent = 0 AND received = 0 AS is_wiped
	FROM told t
), weighed AS (
	SELECT
		n.*,
		wire_sent - kernel_sent AS sent_difference,
		wire_received - kernel_received AS received_difference,
		CASE
			WHEN wire_sent = kernel_sent THEN 0
			WHEN is_wiped THEN 3
			WHEN wire_sent > kernel_sent AND is_acked THEN 2
			WHEN wire_sent > kernel_sent THEN 6
			WHEN is_part THEN 5
			WHEN dropped > 0 THEN 4
			WHEN has_hole THEN 5
			WHEN kernel_sent - wire_sent <= sent_again THEN 1
			ELSE 6
		END AS sent_grade,
		CASE
			WHEN wire_received = kernel_received THEN 0
			WHEN is_wiped THEN 3
			WHEN wire_received - kernel_received BETWEEN 1 AND peer_retransmitted THEN 1
			WHEN wire_received > kernel_received AND own_reset > 0 THEN 3
			WHEN wire_received > kernel_received AND peer_retransmitted IS NULL THEN 2
			WHEN wire_received > kernel_received THEN 6
			WHEN is_part THEN 5
			WHEN dropped > 0 THEN 4
			WHEN has_hole THEN 5
			ELSE 6
		END AS received_grade
	FROM counted n
)
SELECT
	w.flow_id,
	w.hostname,
	w.process_id,
	p.pid,
	CAST(coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
		AS TEXT) AS process,
	CAST(CASE w."end" WHEN 'orig' THEN f.orig_address ELSE f.resp_address END AS TEXT)
		AS local_address,
	CAST(CASE w."end" WHEN 'orig' THEN f.orig_port ELSE f.resp_port END AS INTEGER)
		AS local_port,
	CAST(CASE w."end" WHEN 'orig' THEN f.resp_address ELSE f.orig_address END AS TEXT)
		AS remote_address,
	CAST(CASE w."end" WHEN 'orig' THEN f.resp_port ELSE f.orig_port END AS INTEGER)
		AS remote_port,
	CASE w."end" WHEN 'orig' THEN 'outbound' ELSE 'inbound' END AS direction,
	w.start_ns,
	w.end_ns,
	w.closed_ns,
	CAST(w.wire_sent AS INTEGER) AS sent_payload_bytes,
	CAST(w.kernel_sent AS INTEGER) AS kernel_sent_bytes,
	CAST(w.sent_difference AS INTEGER) AS sent_difference,
	CAST(w.wire_received AS INTEGER) AS received_payload_bytes,
	CAST(w.kernel_received AS INTEGER) AS kernel_received_bytes,
	CAST(w.received_difference AS INTEGER) AS received_difference,
	CAST(w.retransmitted AS INTEGER) AS kernel_retransmitted_bytes,
	CAST(w.peer_retransmitted AS INTEGER) AS peer_retransmitted_bytes,
	CAST(w.dropped AS INTEGER) AS dropped_packets,
	w.history,
	CASE max(w.sent_grade, w.received_grade)
		WHEN 0 THEN 'equal'
		WHEN 1 THEN 'retransmitted'
		WHEN 2 THEN 'surplus'
		WHEN 3 THEN 'reset'
		WHEN 4 THEN 'dropped'
		WHEN 5 THEN 'cut'
		ELSE 'differs'
	END AS verdict
FROM weighed w
JOIN flow f ON f.flow_id = w.flow_id
LEFT JOIN process p ON p.process_id = w.process_id;
