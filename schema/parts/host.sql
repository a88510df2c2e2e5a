twin AS MATERIALIZED (
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
)
