-- As schema/queries/unattributed.sql, from table connection alone: what that one has to say.
WITH named AS (
	SELECT
		r.*,
		CASE WHEN EXISTS (SELECT 1 FROM recording q WHERE q.hostname = r.hostname
				AND coalesce(q.machine_id, '') <> coalesce(r.machine_id, ''))
			THEN r.hostname || '@' || coalesce(r.machine_id, '') ELSE r.hostname END AS name
	FROM recording r
), chosen AS (
	SELECT *
	FROM named
	WHERE :host IS NULL OR name = :host OR hostname || '@' || coalesce(machine_id, '') = :host
), mine AS (
	SELECT c.*, h.name, h.hostname, h.machine_id
	FROM connection c
	JOIN flow f ON f.flow_id = c.flow_id
	JOIN chosen h ON h.recording_id = f.recording_id
)
SELECT
	c.reason,
	count(*) AS connections,
	sum(c.sent_packets + c.received_packets) AS packets,
	sum(c.sent_bytes + c.received_bytes) AS bytes,
	round(100.0 * sum(c.sent_packets + c.received_packets)
		/ (SELECT sum(sent_packets + received_packets) FROM mine), 3) AS packets_percent,
	round(100.0 * sum(c.sent_bytes + c.received_bytes)
		/ (SELECT sum(sent_bytes + received_bytes) FROM mine), 3) AS bytes_percent,
	m.meaning
FROM mine c
LEFT JOIN reason m ON m.reason = c.reason
WHERE c.reason IS NOT NULL
GROUP BY c.reason
ORDER BY bytes DESC, c.reason
LIMIT coalesce(:limit, -1)
