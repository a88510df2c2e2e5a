-- As schema/queries/timeline.sql, from table traffic alone: what that one has to say.
, slice AS (
	SELECT connection_id, bucket, sent_packets, sent_bytes, received_packets, received_bytes
	FROM traffic
	WHERE :since_ns IS NULL
	UNION ALL
	SELECT connection_id, bucket, sent_packets, sent_bytes, received_packets, received_bytes
	FROM traffic
	WHERE bucket BETWEEN :since_ns / (SELECT value FROM setting WHERE key = 'bucket_ns')
		AND (:until_ns - 1) / (SELECT value FROM setting WHERE key = 'bucket_ns')
), step AS (
	SELECT value AS bucket_ns, coalesce(:bucket, value) / value AS buckets
	FROM setting
	WHERE key = 'bucket_ns'
), summed AS (
	SELECT
		s.bucket / step.buckets * step.buckets * step.bucket_ns AS start_ns,
		c.process_id,
		max(c.name) AS name,
		sum(s.sent_packets) AS sent_packets,
		sum(s.sent_bytes) AS sent_bytes,
		sum(s.received_packets) AS received_packets,
		sum(s.received_bytes) AS received_bytes
	FROM slice s
	JOIN mine c ON c.connection_id = s.connection_id
	CROSS JOIN step
	GROUP BY 1, 2
)
SELECT
	strftime('%Y-%m-%dT%H:%M:%S', u.start_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', u.start_ns % 1000000000) AS start,
	CASE WHEN u.process_id IS NULL THEN (SELECT CASE WHEN count(*) = 1 THEN min(name) END
		FROM (SELECT DISTINCT name, hostname, machine_id FROM chosen)) ELSE u.name END AS hostname,
	p.process,
	p.pid,
	u.sent_packets,
	u.sent_bytes,
	u.received_packets,
	u.received_bytes
FROM summed u
LEFT JOIN processes p ON p.process_id = u.process_id
WHERE :process IS NULL OR CAST(p.pid AS TEXT) = :process OR p.process GLOB :process
	OR p.exe GLOB :process OR p.exe GLOB '*/' || :process
ORDER BY u.start_ns, u.process_id IS NULL, u.process_id
LIMIT coalesce(:limit, -1)
