-- Connections with their owners
-- Each end of each flow that lies at the recorded host: who owns it, by which
-- rule or why nobody, and what it sent and received. --since and --until keep
-- what overlaps the window; the totals are those of the whole connection.
-- human: sent_bytes,received_bytes
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
