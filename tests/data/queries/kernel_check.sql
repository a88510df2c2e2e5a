-- As schema/queries/kernel_check.sql, by view kernel_check alone.
, grade (verdict, place) AS (
	VALUES ('differs', 1), ('cut', 2), ('dropped', 3), ('reset', 4), ('surplus', 5),
		('retransmitted', 6), ('equal', 7)
), checked AS MATERIALIZED (
	SELECT k.*, g.place, h.name
	FROM kernel_check k
	JOIN grade g ON g.verdict = k.verdict
	LEFT JOIN process p ON p.process_id = k.process_id
	JOIN kernel_end e ON e.flow_id = k.flow_id
		AND e."end" = CASE k.direction WHEN 'outbound' THEN 'orig' ELSE 'resp' END
	JOIN chosen h ON h.recording_id = e.recording_id
	WHERE k.end_ns >= coalesce(:since_ns, 0)
		AND k.start_ns < coalesce(:until_ns, 9223372036854775807)
		AND (:process IS NULL OR CAST(k.pid AS TEXT) = :process OR k.process GLOB :process
			OR p.exe GLOB :process OR p.exe GLOB '*/' || :process)
), shown AS (
	SELECT *
	FROM checked
	WHERE verdict <> 'equal'
	ORDER BY place, abs(sent_difference) + abs(received_difference) DESC, flow_id, direction
	LIMIT coalesce(:limit, -1)
), listed AS (
	SELECT
		1 AS part,
		place,
		abs(sent_difference) + abs(received_difference) AS size,
		'end' AS scope,
		verdict,
		1 AS ends,
		name AS hostname,
		process,
		pid,
		local_address,
		local_port,
		remote_address,
		remote_port,
		sent_payload_bytes,
		sent_difference,
		received_payload_bytes,
		received_difference,
		kernel_retransmitted_bytes AS retransmitted_bytes,
		peer_retransmitted_bytes,
		dropped_packets,
		flow_id,
		direction
	FROM shown
	UNION ALL
	SELECT
		2,
		g.place,
		0,
		'total',
		g.verdict,
		count(c.flow_id),
		(SELECT CASE WHEN count(*) = 1 THEN min(name) END
		FROM (SELECT DISTINCT name, hostname, machine_id FROM chosen)),
		NULL,
		NULL,
		NULL,
		NULL,
		NULL,
		NULL,
		coalesce(sum(c.sent_payload_bytes), 0),
		coalesce(sum(c.sent_difference), 0),
		coalesce(sum(c.received_payload_bytes), 0),
		coalesce(sum(c.received_difference), 0),
		coalesce(sum(c.kernel_retransmitted_bytes), 0),
		NULL,
		NULL,
		NULL,
		NULL
	FROM grade g
	LEFT JOIN checked c ON c.verdict = g.verdict
	GROUP BY g.verdict
)
SELECT
	scope,
	verdict,
	ends,
	hostname,
	process,
	pid,
	local_address,
	local_port,
	remote_address,
	remote_port,
	sent_payload_bytes,
	sent_difference,
	received_payload_bytes,
	received_difference,
	retransmitted_bytes,
	peer_retransmitted_bytes,
	dropped_packets,
	flow_id
FROM listed
ORDER BY part, place, size DESC, flow_id, direction
