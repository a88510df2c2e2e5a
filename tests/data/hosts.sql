-- What the plain queries begin with: the hosts that are asked for, and their connections.
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
