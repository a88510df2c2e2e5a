-- The rows of kernel_end of what was weighed.
DELETE FROM kernel_end
WHERE verdict_code IN (SELECT verdict_code FROM verdict)
	AND flow_id IN (SELECT flow_id FROM temp.checked_flow);
INSERT INTO kernel_end
SELECT
	max(coalesce(sent_verdict, hole_verdict, sent_verdict_whole),
		coalesce(received_verdict, hole_verdict, received_verdict_whole)),
	flow_id,
	"end",
	recording_id,
	-- Mostly there is one.
	iif(connection_id IS NOT NULL,
		(SELECT c.process_id FROM connection c WHERE c.connection_id = h.connection_id),
		(SELECT c.process_id FROM connection c
			WHERE c.flow_id = h.flow_id AND c."end" = h."end"
			ORDER BY c.process_id IS NULL, c.sent_packets + c.received_packets DESC,
				c.connection_id
			LIMIT 1)),
	start_ns,
	end_ns,
	closed_ns,
	sent_payload_bytes,
	sent_difference,
	received_payload_bytes,
	received_difference,
	retransmitted_bytes,
	peer_retransmitted_bytes
FROM (
	SELECT
		w.*,
		CASE
			WHEN sent_verdict IS NOT NULL AND received_verdict IS NOT NULL THEN NULL
			WHEN (SELECT d.begin_ns FROM temp.hole d
				WHERE d.recording_id = w.recording_id AND d.kind = 'dropped'
					AND d.end_ns >= w.start_ns
				ORDER BY d.end_ns LIMIT 1) <= max(end_ns, closed_ns) THEN 5
			WHEN is_filtered THEN 6
			WHEN (SELECT d.begin_ns FROM temp.hole d
				WHERE d.recording_id = w.recording_id AND d.kind = 'cut'
					AND d.end_ns >= w.start_ns
				ORDER BY d.end_ns LIMIT 1) <= max(end_ns, closed_ns) THEN 6
		END AS hole_verdict
	FROM temp.weighed w
) h;
