, scope AS MATERIALIZED (
	-- Whether that is all there is; and one host, whose is then what has no owner.
	SELECT
		coalesce(sum(recordings), 0) = (SELECT count(*) FROM recording) AS is_whole,
		coalesce(sum(recordings), 0) = (SELECT count(*) FROM recording) AND count(*) < 2
			AS is_all_of_one,
		CASE WHEN count(*) = 1 THEN min(hostname) END AS hostname
	FROM (
		SELECT
			r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '')
				AS hostname,
			count(*) AS recordings
		FROM recording r
		WHERE r.recording_id IN host
		GROUP BY r.hostname, r.machine_id
	)
)
