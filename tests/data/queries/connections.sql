-- As schema/queries/connections.sql, from table traffic alone: what that one has to say.
SELECT
	v.start,
	v.connection_id AS id,
	m.name AS hostname,
	v.process,
	v.pid,
	v.protocol,
	v.local_address,
	v.local_port,
	v.remote_address,
	v.remote_port,
	v.direction,
	v.sent_bytes,
	v.received_bytes,
	coalesce(v.rule, v.reason) AS verdict,
	v.cmdline
FROM connections v
JOIN mine m ON m.connection_id = v.connection_id
WHERE v.end_ns >= coalesce(:since_ns, 0)
	AND v.start_ns < coalesce(:until_ns, 9223372036854775807)
	AND (:process IS NULL OR CAST(v.pid AS TEXT) = :process OR v.process GLOB :process
		OR v.exe GLOB :process OR v.exe GLOB '*/' || :process)
ORDER BY v.start_ns, v.connection_id
LIMIT coalesce(:limit, -1)
