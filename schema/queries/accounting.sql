-- Every packet accounted for
-- Packets of each pcap against those put into flows and those that are no flow's;
-- the last row holds all of them against the flows themselves. The difference is zero.
WITH
-- part: host
-- part: scope
, total AS (
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
