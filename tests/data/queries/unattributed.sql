-- As schema/queries/unattributed.sql, from table connection alone: what that one has to say.
SELECT
	c.reason,
	count(*) AS connections,
	sum(c.sent_packets + c.received_packets) AS packets,
	sum(c.sent_bytes + c.received_bytes) AS bytes,
	round(100.0 * sum(c.sent_packets + c.received_packets)
		/ (SELECT sum(sent_packets + received_packets) FROM mine), 3) AS packets_percent,
	round(100.0 * sum(c.sent_bytes + c.received_bytes)
		/ (SELECT sum(sent_bytes + received_bytes) FROM mine), 3) AS bytes_percent,
	m.meaning
FROM mine c
LEFT JOIN reason m ON m.reason = c.reason
WHERE c.reason IS NOT NULL
GROUP BY c.reason
ORDER BY bytes DESC, c.reason
LIMIT coalesce(:limit, -1)
