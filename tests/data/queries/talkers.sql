-- As schema/queries/talkers.sql, from table traffic alone: what that one has to say.
, slice AS (
	SELECT connection_id, sent_bytes, received_bytes
	FROM traffic
	WHERE :since_ns IS NULL
	UNION ALL
	SELECT connection_id, sent_bytes, received_bytes
	FROM traffic
	WHERE bucket BETWEEN :since_ns / (SELECT value FROM setting WHERE key = 'bucket_ns')
		AND (:until_ns - 1) / (SELECT value FROM setting WHERE key = 'bucket_ns')
), pair AS (
	SELECT
		c.process_id,
		c.hostname,
		c.machine_id,
		max(c.name) AS name,
		CASE c."end" WHEN 'orig' THEN f.resp_address ELSE f.orig_address END
			AS remote_address,
		count(DISTINCT c.connection_id) AS connections,
		sum(s.sent_bytes) AS sent_bytes,
		sum(s.received_bytes) AS received_bytes
	FROM slice s
	JOIN mine c ON c.connection_id = s.connection_id
	JOIN flow f ON f.flow_id = c.flow_id
	GROUP BY c.process_id, c.hostname, c.machine_id, 5
)
SELECT
	u.name AS hostname,
	p.process,
	p.pid,
	u.remote_address,
	u.connections,
	u.sent_bytes,
	u.received_bytes,
	p.cmdline
FROM pair u
LEFT JOIN processes p ON p.process_id = u.process_id
WHERE :process IS NULL OR CAST(p.pid AS TEXT) = :process OR p.process GLOB :process
	OR p.exe GLOB :process OR p.exe GLOB '*/' || :process
ORDER BY u.sent_bytes + u.received_bytes DESC, u.process_id IS NULL, u.process_id,
	CASE WHEN u.process_id IS NULL THEN u.hostname END,
	CASE WHEN u.process_id IS NULL THEN u.machine_id END, u.remote_address
LIMIT coalesce(:limit, -1)
