-- Fills temp.hole, see there, for what was weighed.
DELETE FROM temp.hole;
INSERT INTO temp.hole
WITH open AS (
	SELECT recording_id, min(start_ns) AS since_ns
	FROM temp.weighed
	WHERE sent_verdict IS NULL OR received_verdict IS NULL
	GROUP BY recording_id
), tail AS (
	-- What a segment lacks that is not whole lies between what was read of it and the first
	-- packet of all that come after it. So where one that began before does, it ends there.
	SELECT
		g.segment_id,
		g.recording_id,
		g.number,
		g.pcap_name,
		g.state,
		g.first_packet_ns,
		min(g.first_packet_ns) OVER (PARTITION BY g.recording_id ORDER BY g.number DESC
			GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS next_ns
	FROM open o
	CROSS JOIN segment g ON g.recording_id = o.recording_id AND g.number >= coalesce(
		(SELECT n.number FROM segment n
			WHERE n.recording_id = o.recording_id AND n.first_packet_ns < o.since_ns
				AND n.number IS NOT NULL
			ORDER BY n.number DESC LIMIT 1), -9223372036854775808)
), missing AS MATERIALIZED (
	SELECT g.segment_id, g.recording_id, g.number, g.first_packet_ns
	FROM coverage v
	CROSS JOIN segment g ON g.segment_id = v.segment_id
	CROSS JOIN open o ON o.recording_id = g.recording_id
	WHERE v.kind = 'missing'
		AND coalesce(g.first_packet_ns, 9223372036854775807) >= o.since_ns
), absent AS MATERIALIZED (
	-- Only its snapshots are there: it lacks all between the packets of those around it.
	SELECT segment_id, recording_id, next_ns FROM tail
	WHERE pcap_name IS NULL AND number IS NOT NULL
), preceded AS (
	SELECT
		segment_id,
		recording_id,
		first_packet_ns,
		max(last_packet_ns) OVER (PARTITION BY recording_id ORDER BY number
			GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS previous_ns
	FROM segment
	WHERE number IS NOT NULL AND recording_id IN
		(SELECT recording_id FROM missing UNION SELECT recording_id FROM absent)
), found (recording_id, kind, begin_ns, end_ns) AS (
	SELECT v.recording_id, 'dropped', v.begin_ns, v.end_ns
	FROM open o
	CROSS JOIN coverage v ON v.recording_id = o.recording_id AND v.end_ns >= o.since_ns
	WHERE v.kind = 'dropped' AND v."count" > 0
	UNION ALL
	SELECT
		recording_id,
		'cut',
		coalesce(first_packet_ns, 0),
		coalesce(next_ns, 9223372036854775807)
	FROM tail
	WHERE state <> 'whole'
	UNION ALL
	-- Of a bare capture nobody knows what came before or after.
	SELECT g.recording_id, 'cut', coalesce(g.first_packet_ns, 0), 9223372036854775807
	FROM open o
	CROSS JOIN segment g ON g.recording_id = o.recording_id
	WHERE g.number IS NULL AND g.state <> 'whole'
	UNION ALL
	SELECT
		recording_id,
		'cut',
		coalesce(previous_ns, 0),
		coalesce(first_packet_ns, 9223372036854775807)
	FROM preceded
	WHERE segment_id IN (SELECT segment_id FROM missing)
	UNION ALL
	SELECT
		a.recording_id,
		'cut',
		coalesce(p.previous_ns, 0),
		coalesce(a.next_ns, 9223372036854775807)
	FROM absent a
	CROSS JOIN preceded p ON p.segment_id = a.segment_id
	UNION ALL
	SELECT recording_id, 'cut', 0, coalesce(first_packet_ns, 9223372036854775807)
	FROM missing
	WHERE number IS NULL
	UNION ALL
	-- Nobody knows what comes behind the last segment, unless the recording ends with it.
	SELECT g.recording_id, 'cut', max(g.last_packet_ns), 9223372036854775807
	FROM open o
	CROSS JOIN segment g ON g.recording_id = o.recording_id AND g.number IS NOT NULL
	WHERE NOT EXISTS (SELECT 1 FROM snapshot n
		WHERE n.cause = 'stop' AND n.segment_id = (SELECT l.segment_id FROM segment l
			WHERE l.recording_id = o.recording_id AND l.number IS NOT NULL
			ORDER BY l.number DESC, l.segment_id DESC LIMIT 1))
	GROUP BY g.recording_id
	UNION ALL
	SELECT g.recording_id, 'cut', g.first_packet_ns, g.last_packet_ns
	FROM open o
	CROSS JOIN segment g ON g.recording_id = o.recording_id AND g.last_packet_ns >= o.since_ns
	CROSS JOIN other x ON x.segment_id = g.segment_id
	WHERE x.reason IN ('truncated', 'malformed', 'fragment')
), ending AS (
	SELECT recording_id, kind, end_ns, min(begin_ns) AS begin_ns
	FROM found
	WHERE begin_ns IS NOT NULL AND end_ns IS NOT NULL
	GROUP BY recording_id, kind, end_ns
)
SELECT
	recording_id,
	kind,
	end_ns,
	min(begin_ns) OVER (PARTITION BY recording_id, kind ORDER BY end_ns DESC)
FROM ending;
