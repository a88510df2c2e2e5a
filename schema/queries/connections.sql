-- Connections with their owners
-- Each end of each flow that lies at the recorded host: who owns it, by which
-- rule or why nobody, and what it sent and received. --since and --until keep
-- what overlaps the window; the totals are those of the whole connection.
-- human: sent_bytes,received_bytes
WITH
-- part: host
, wanted AS MATERIALIZED (
	SELECT process_id
	FROM processes
	WHERE :process IS NOT NULL AND (CAST(pid AS TEXT) = :process OR process GLOB :process
		OR exe GLOB :process OR exe GLOB '*/' || :process)
), likely AS MATERIALIZED (
	-- A program that all candidates run is a candidate's.
	SELECT k.connection_id
	FROM wanted w
	CROSS JOIN candidate k ON k.process_id = w.process_id
)
SELECT
	v.start,
	v.connection_id AS id,
	v.hostname || CASE WHEN v.hostname IN twin THEN (
		SELECT '@' || coalesce(r.machine_id, '')
		FROM flow f
		JOIN recording r ON r.recording_id = f.recording_id
		WHERE f.flow_id = v.flow_id)
	ELSE '' END AS hostname,
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
FROM connection c INDEXED BY connection_start
CROSS JOIN connections v ON v.connection_id = c.connection_id
WHERE c.start_ns < coalesce(:until_ns, 9223372036854775807)
	AND c.end_ns >= coalesce(:since_ns, 0)
	AND (:process IS NULL OR c.process_id IN wanted
		OR (c.process_id IS NULL AND c.connection_id IN likely))
	AND (:host IS NULL
		OR (SELECT f.recording_id FROM flow f WHERE f.flow_id = v.flow_id) IN host)
	AND (:process IS NULL OR CAST(v.pid AS TEXT) = :process OR v.process GLOB :process
		OR v.exe GLOB :process OR v.exe GLOB '*/' || :process)
ORDER BY c.start_ns, c.connection_id
LIMIT coalesce(:limit, -1)
