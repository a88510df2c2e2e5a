-- Of the flows in temp.checked_flow: what each socket that was closed had counted, held
-- against the payload of its end of the flow. An end may have several rows of connection
-- (it moved between processes), and they are added up here. Where the two differ, each
-- direction gets the first explanation that the evidence bears out; the verdict is the
-- graver of both. Verdicts are those of table verdict, by their codes.
DELETE FROM temp.counted;
INSERT INTO temp.counted
SELECT
	flow_id,
	"end",
	max(recording_id),
	max(closed_ns),
	-- No counter that somebody made up is more than can be reckoned with.
	CAST(iif(count(acked), max(min(total(acked), 1 << 61), -1 << 61), NULL) AS INTEGER),
	CAST(iif(count(received), max(min(total(received), 1 << 61), -1 << 61), NULL) AS INTEGER),
	CAST(iif(count(sent), max(min(total(sent), 1 << 61), -1 << 61), NULL) AS INTEGER),
	CAST(iif(count(retransmitted), max(min(total(retransmitted), 1 << 61), -1 << 61), NULL)
		AS INTEGER),
	max(is_spread)
FROM (
	-- A listening socket, to which the first packets of an accepted
	-- connection may have gone, counts nothing.
	SELECT DISTINCT
		t.flow_id,
		c."end",
		s.recording_id,
		s.closed_ns,
		s.kernel_bytes_acked AS acked,
		s.kernel_bytes_received AS received,
		s.kernel_bytes_sent AS sent,
		s.kernel_bytes_retransmitted AS retransmitted,
		-- One socket, several flows: a conversation that was silent for long, or
		-- one whose parts lie on both sides of a hole.
		(SELECT min(d.flow_id) FROM connection d WHERE d.socket_id = s.socket_id)
			<> (SELECT max(d.flow_id) FROM connection d WHERE d.socket_id = s.socket_id)
			AS is_spread
	FROM temp.checked_flow t
	CROSS JOIN connection c ON c.flow_id = t.flow_id
	CROSS JOIN socket s ON s.socket_id = c.socket_id
	-- In one term that needs both tables: otherwise SQLite may read all sockets first, to
	-- know which are of use.
	WHERE iif(c.socket_id IS NULL, 0,
		s.closed_ns IS NOT NULL AND s.protocol = 'tcp' AND s.remote_port IS NOT NULL)
)
GROUP BY flow_id, "end";

DELETE FROM temp.weighed;
INSERT INTO temp.weighed
WITH wire AS (
	SELECT
		k.*,
		min(c.start_ns) AS start_ns,
		max(c.end_ns) AS end_ns,
		sum(c.sent_payload_bytes) AS wire_sent,
		sum(c.received_payload_bytes) AS wire_received,
		iif(count(*) = 1, max(c.connection_id), NULL) AS connection_id
	FROM temp.counted k
	CROSS JOIN connection c ON c.flow_id = k.flow_id AND c."end" = k."end"
	GROUP BY k.flow_id, k."end"
), told AS (
	SELECT
		w.*,
		f.history,
		-- Not the same as 0: then this count is of use, else nobody made one.
		o.retransmitted AS peer_retransmitted,
		-- bytes_sent came with Linux 4.19. Before it there is only what the peer
		-- acknowledged, SYN and FIN included.
		w.sent = 0 AND w.acked > 0 AND (CAST(r.kernel AS INTEGER) < 4
			OR (CAST(r.kernel AS INTEGER) = 4
				AND CAST(substr(r.kernel, instr(r.kernel, '.') + 1) AS INTEGER) < 19))
			AS is_acked,
		CASE w."end" WHEN 'orig' THEN 1 ELSE 0 END AS own_syn,
		instr(f.history, CASE w."end" WHEN 'orig' THEN 'F' ELSE 'f' END) AS own_fin,
		instr(f.history, CASE w."end" WHEN 'orig' THEN 'R' ELSE 'r' END) AS own_reset,
		instr(f.history, CASE w."end" WHEN 'orig' THEN 'f' ELSE 'F' END) AS peer_fin,
		f.history IS NULL OR f.history NOT GLOB '*[SsHh]*' OR w.is_spread
			OR f.recording_id IS NOT w.recording_id AS is_part,
		-- A filter that looks at hosts and ports takes a conversation whole.
		coalesce(r.filter GLOB '*[[<>=]*' OR r.filter LIKE '%src%' OR r.filter LIKE '%dst%'
				OR r.filter LIKE '%less%' OR r.filter LIKE '%greater%'
				OR r.filter LIKE '%bound%', 0) AS is_filtered
	FROM wire w
	CROSS JOIN flow f ON f.flow_id = w.flow_id
	LEFT JOIN temp.counted o ON o.flow_id = w.flow_id
		AND o."end" = CASE w."end" WHEN 'orig' THEN 'resp' ELSE 'orig' END
	LEFT JOIN recording r ON r.recording_id = w.recording_id
), held AS (
	SELECT
		t.*,
		wire_sent - CASE
			WHEN NOT is_acked THEN sent
			WHEN own_fin = 0 OR acked - own_syn = wire_sent THEN acked - own_syn
			ELSE acked - own_syn - 1
		END AS sent_difference,
		-- A FIN is counted as one byte, but only while the socket is whole: one
		-- that closed first, or was reset, is gone when the peer's comes.
		wire_received - CASE
			WHEN peer_fin = 0 OR received = 0 THEN received
			WHEN ((own_fin > 0 AND own_fin < peer_fin)
				OR (own_reset > 0 AND own_reset < peer_fin))
				AND received = wire_received THEN received
			ELSE received - 1
		END AS received_difference,
		-- What went out more than once, or never: of a conversation that was
		-- closed and not reset all payload is acknowledged, and whatever was sent
		-- beyond it was a copy. A full queue in the host refuses segments that
		-- count as sent each time, and not as retransmitted.
		CASE
			WHEN own_fin > 0 AND history NOT GLOB '*[Rr]*'
			THEN max(retransmitted, sent - (acked - own_syn - 1))
			ELSE retransmitted
		END AS sent_again,
		-- Whoever disconnects with a reset takes the counters back to zero.
		own_reset > 0 AND acked = 0 AND sent = 0 AND received = 0 AS is_wiped
	FROM told t
)
SELECT
	flow_id,
	"end",
	recording_id,
	connection_id,
	start_ns,
	end_ns,
	closed_ns,
	wire_sent,
	sent_difference,
	wire_received,
	received_difference,
	retransmitted,
	peer_retransmitted,
	is_filtered,
	-- NULL: a hole decides, and without one what comes after it.
	CASE
		WHEN sent_difference = 0 THEN 1
		WHEN is_wiped THEN 4
		WHEN sent_difference > 0 AND is_acked THEN 3
		WHEN sent_difference > 0 THEN 7
		WHEN is_part THEN 6
	END,
	CASE WHEN -sent_difference <= sent_again THEN 2 ELSE 7 END,
	CASE
		WHEN received_difference = 0 THEN 1
		WHEN is_wiped THEN 4
		WHEN received_difference BETWEEN 1 AND peer_retransmitted THEN 2
		WHEN received_difference > 0 AND own_reset > 0 THEN 4
		WHEN received_difference > 0 AND peer_retransmitted IS NULL THEN 3
		WHEN received_difference > 0 THEN 7
		WHEN is_part THEN 6
	END,
	7
FROM held;
