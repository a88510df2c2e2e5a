-- What view kernel_check shows, from tables connection, socket and flow alone: what table
-- kernel_end has to say.
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
		max(recording_id) AS recording_id,
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
	SELECT
		g.recording_id,
		'cut',
		coalesce((SELECT max(n.last_packet_ns) FROM segment n
			WHERE n.recording_id = g.recording_id AND n.number < g.number), 0),
		coalesce((SELECT min(n.first_packet_ns) FROM segment n
			WHERE n.recording_id = g.recording_id AND n.number > g.number),
			9223372036854775807),
		0
	FROM segment g
	WHERE g.pcap_name IS NULL AND g.number IS NOT NULL
	UNION ALL
	SELECT g.recording_id, 'cut', max(g.last_packet_ns), 9223372036854775807, 0
	FROM segment g
	WHERE g.number IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM snapshot n
			WHERE n.cause = 'stop' AND n.segment_id = (SELECT l.segment_id FROM segment l
				WHERE l.recording_id = g.recording_id AND l.number IS NOT NULL
				ORDER BY l.number DESC, l.segment_id DESC LIMIT 1))
	GROUP BY g.recording_id
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
LEFT JOIN process p ON p.process_id = w.process_id
