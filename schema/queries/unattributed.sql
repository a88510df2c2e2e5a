-- What has no owner, by reason
-- Connections, packets and bytes without an owner and their share of all.
-- human: bytes
WITH
-- part: host
-- part: scope
-- part: own
, lost AS MATERIALIZED (
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
