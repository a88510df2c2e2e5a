-- As schema/queries/connections.sql, from table traffic alone: what that one has to say.
SELECT
	start,
	connection_id AS id,
	process,
	pid,
	protocol,
	local_address,
	local_port,
	remote_address,
	remote_port,
	direction,
	sent_bytes,
	received_bytes,
	coalesce(rule, reason) AS verdict,
	cmdline
FROM connections
WHERE end_ns >= coalesce(:since_ns, 0)
	AND start_ns < coalesce(:until_ns, 9223372036854775807)
	AND (:process IS NULL OR CAST(pid AS TEXT) = :process OR process GLOB :process
		OR exe GLOB :process OR exe GLOB '*/' || :process)
ORDER BY start_ns, connection_id
LIMIT coalesce(:limit, -1)
