-- Every packet accounted for
-- Packets of each pcap against those put into flows and those that are no flow's;
-- the last row holds all of them against the flows themselves. The difference is zero.
WITH twin AS MATERIALIZED (
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
), scope AS MATERIALIZED (
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
), total AS (
	SELECT
		coalesce((SELECT sum(packets) FROM segment
			WHERE :host IS NULL OR recording_id IN host), 0) AS packets,
		coalesce((SELECT sum(orig_packets + resp_packets + repeat_packets) FROM flow
			WHERE :host IS NULL OR recording_id IN host), 0) AS flow_packets,
		coalesce((SELECT sum(packets) FROM other
			WHERE :host IS NULL OR segment_id IN (
				SELECT segment_id FROM segment WHERE recording_id IN host)), 0)
			AS other_packets
)
SELECT
	a.scope,
	a.segment_id,
	a.packets,
	a.flow_packets,
	a.other_packets,
	a.difference,
	(SELECT r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '')
		FROM segment g
		JOIN recording r ON r.recording_id = g.recording_id
		WHERE g.segment_id = a.segment_id) AS hostname,
	a.pcap_name
FROM accounting a
WHERE a.scope = 'segment' AND (:host IS NULL
	OR (SELECT g.recording_id FROM segment g WHERE g.segment_id = a.segment_id) IN host)
UNION ALL
SELECT
	'total',
	NULL,
	t.packets,
	t.flow_packets,
	t.other_packets,
	t.packets - t.flow_packets - t.other_packets,
	s.hostname,
	NULL
FROM total t
CROSS JOIN scope s
ORDER BY 2 NULLS LAST
