-- As schema/queries/connections.sql, from table traffic alone: what that one has to say.
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
