-- TCP connections against the kernel's own count
-- Each end whose payload in the pcaps is not what the kernel had counted when its
-- socket closed, the unexplained ones first, then how many ends there are of each
-- verdict. The differences are packets minus kernel; --limit is about the ends.
-- human: sent_payload_bytes,received_payload_bytes
WITH
-- part: host
-- part: scope
, wanted AS MATERIALIZED (
	SELECT process_id
	FROM processes
	WHERE :process IS NOT NULL AND (CAST(pid AS TEXT) = :process OR process GLOB :process
		OR exe GLOB :process OR exe GLOB '*/' || :process)
), shown AS MATERIALIZED (
	SELECT *
	FROM kernel_end
	WHERE verdict_code > 1 AND end_ns >= coalesce(:since_ns, 0)
		AND start_ns < coalesce(:until_ns, 9223372036854775807)
		AND (:process IS NULL OR process_id IN (SELECT process_id FROM wanted))
		AND (:host IS NULL OR recording_id IN host)
	ORDER BY verdict_code DESC, abs(sent_difference) + abs(received_difference) DESC, flow_id,
		"end" DESC
	LIMIT coalesce(:limit, -1)
), total AS (
	SELECT
		verdict_code,
		count(*) AS ends,
		sum(sent_payload_bytes) AS sent_payload_bytes,
		-- Of counters that somebody made up the sum can be more than a number holds.
		CAST(max(min(total(sent_difference), 1 << 61), -1 << 61) AS INTEGER) AS sent_difference,
		sum(received_payload_bytes) AS received_payload_bytes,
		CAST(max(min(total(received_difference), 1 << 61), -1 << 61) AS INTEGER)
			AS received_difference,
		CAST(min(total(retransmitted_bytes), 1 << 61) AS INTEGER) AS retransmitted_bytes
	FROM kernel_end
	WHERE end_ns >= coalesce(:since_ns, 0)
		AND start_ns < coalesce(:until_ns, 9223372036854775807)
		AND (:process IS NULL OR process_id IN (SELECT process_id FROM wanted))
		AND (:host IS NULL OR recording_id IN host)
	GROUP BY verdict_code
), listed AS (
	SELECT
		1 AS part,
		u.verdict_code,
		abs(u.sent_difference) + abs(u.received_difference) AS size,
		'end' AS scope,
		k.verdict,
		1 AS ends,
		r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '') AS hostname,
		k.process,
		k.pid,
		k.local_address,
		k.local_port,
		k.remote_address,
		k.remote_port,
		k.sent_payload_bytes,
		k.sent_difference,
		k.received_payload_bytes,
		k.received_difference,
		k.kernel_retransmitted_bytes AS retransmitted_bytes,
		k.peer_retransmitted_bytes,
		k.dropped_packets,
		k.flow_id,
		k.direction
	FROM shown u
	CROSS JOIN verdict v ON v.verdict_code = u.verdict_code
	CROSS JOIN kernel_check k ON k.verdict = v.verdict AND k.flow_id = u.flow_id
		AND k.direction = CASE u."end" WHEN 'orig' THEN 'outbound' ELSE 'inbound' END
	LEFT JOIN recording r ON r.recording_id = u.recording_id
	UNION ALL
	SELECT
		2,
		v.verdict_code,
		0,
		'total',
		v.verdict,
		coalesce(t.ends, 0),
		s.hostname,
		NULL,
		NULL,
		NULL,
		NULL,
		NULL,
		NULL,
		coalesce(t.sent_payload_bytes, 0),
		coalesce(t.sent_difference, 0),
		coalesce(t.received_payload_bytes, 0),
		coalesce(t.received_difference, 0),
		coalesce(t.retransmitted_bytes, 0),
		NULL,
		NULL,
		NULL,
		NULL
	FROM verdict v
	LEFT JOIN total t ON t.verdict_code = v.verdict_code
	CROSS JOIN scope s
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
ORDER BY part, verdict_code DESC, size DESC, flow_id, direction
