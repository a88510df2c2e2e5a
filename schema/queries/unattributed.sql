-- What has no owner, by reason
-- Connections, packets and bytes without an owner and their share of all.
-- human: bytes
WITH twin AS MATERIALIZED (
	-- Names that several machines have: these are shown with the machine.
	SELECT hostname
	FROM recording
	WHERE hostname IS NOT NULL
	GROUP BY hostname
	HAVING min(coalesce(machine_id, '')) <> max(coalesce(machine_id, ''))
), host AS MATERIALIZED (
	-- The recordings of the host that is asked for, or all.
	SELECT recording_id
	FROM recording
	WHERE :host IS NULL OR (hostname = :host AND hostname NOT IN twin)
		OR hostname || '@' || coalesce(machine_id, '') = :host
), scope AS MATERIALIZED (
	-- Whether that is all there is; and one host, whose is then what has no owner.
	SELECT
		coalesce(sum(recordings), 0) = (SELECT count(*) FROM recording) AS is_whole,
		coalesce(sum(recordings), 0) = (SELECT count(*) FROM recording) AND count(*) < 2
			AS is_all_of_one,
		CASE WHEN count(*) = 1 THEN min(hostname) END AS hostname
	FROM (
		SELECT
			r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '')
				AS hostname,
			count(*) AS recordings
		FROM recording r
		WHERE r.recording_id IN host
		GROUP BY r.hostname, r.machine_id
	)
), own AS MATERIALIZED (
	-- The processes of the one host of several that is asked for.
	SELECT process_id
	FROM process
	WHERE NOT (SELECT is_whole FROM scope) AND recording_id IN host
), lost AS MATERIALIZED (
	-- By number, so that what is read for it stands together.
	SELECT
		c.reason,
		c.sent_packets + c.received_packets AS packets,
		c.sent_bytes + c.received_bytes AS bytes
	FROM (
		SELECT connection_id
		FROM connection INDEXED BY connection_process
		WHERE process_id IS NULL AND NOT (SELECT is_whole FROM scope)
		ORDER BY connection_id
		LIMIT -1
	) n
	CROSS JOIN connection c ON c.connection_id = n.connection_id
	CROSS JOIN flow f ON f.flow_id = c.flow_id
	WHERE f.recording_id IN host
), whole AS (
	SELECT sum(packets) AS packets, sum(bytes) AS bytes
	FROM (
		SELECT packets, bytes
		FROM lost
		UNION ALL
		SELECT c.sent_packets + c.received_packets, c.sent_bytes + c.received_bytes
		FROM own o
		CROSS JOIN connection c INDEXED BY connection_process
			ON c.process_id = o.process_id
	)
)
SELECT reason, connections, packets, bytes, packets_percent, bytes_percent, meaning
FROM unattributed
WHERE (SELECT is_whole FROM scope)
UNION ALL
SELECT
	u.reason,
	count(*),
	sum(u.packets),
	sum(u.bytes),
	round(100.0 * sum(u.packets) / w.packets, 3),
	round(100.0 * sum(u.bytes) / w.bytes, 3),
	m.meaning
FROM lost u
CROSS JOIN whole w
LEFT JOIN reason m ON m.reason = u.reason
GROUP BY u.reason
ORDER BY bytes DESC, reason
LIMIT coalesce(:limit, -1)
