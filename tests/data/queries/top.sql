-- As schema/queries/top.sql, from table traffic alone: what that one has to say.
, slice AS (
	SELECT connection_id, bucket, sent_bytes, received_bytes
	FROM traffic
	WHERE :since_ns IS NULL
	UNION ALL
	SELECT connection_id, bucket, sent_bytes, received_bytes
	FROM traffic
	WHERE bucket BETWEEN :since_ns / (SELECT value FROM setting WHERE key = 'bucket_ns')
		AND (:until_ns - 1) / (SELECT value FROM setting WHERE key = 'bucket_ns')
), part AS (
	SELECT
		connection_id,
		sum(sent_bytes) AS sent_bytes,
		sum(received_bytes) AS received_bytes
	FROM slice
	GROUP BY connection_id
), bucketed AS (
	SELECT c.process_id, sum(s.sent_bytes + s.received_bytes) AS bytes
	FROM slice s
	JOIN mine c ON c.connection_id = s.connection_id
	GROUP BY c.process_id, s.bucket
), peak AS (
	SELECT process_id, max(bytes) AS bytes
	FROM bucketed
	GROUP BY process_id
), total AS (
	SELECT
		c.process_id,
		max(c.name) AS name,
		sum(part.sent_bytes) AS sent_bytes,
		sum(part.received_bytes) AS received_bytes,
		count(DISTINCT CASE c."end" WHEN 'orig' THEN f.resp_address
			ELSE f.orig_address END) AS remote_hosts,
		count(*) AS connections,
		min(max(c.start_ns, coalesce(:since_ns, c.start_ns))) AS first_ns,
		max(min(c.end_ns, coalesce(:until_ns - 1, c.end_ns))) AS last_ns,
		sum(c.exact_packets) AS exact,
		sum(c.ahead_packets) AS ahead,
		sum(c.behind_packets) AS behind,
		sum(c.bound_packets) AS bound,
		sum(c.wildcard_packets) AS wildcard,
		sum(c.listener_packets) AS listener,
		sum(c.quoted_packets) AS quoted
	FROM part
	JOIN mine c ON c.connection_id = part.connection_id
	JOIN flow f ON f.flow_id = c.flow_id
	GROUP BY c.process_id
), whole AS (
	SELECT sum(sent_bytes + received_bytes) AS bytes FROM total
)
SELECT
	CASE WHEN t.process_id IS NULL THEN (SELECT CASE WHEN count(*) = 1 THEN min(name) END
		FROM (SELECT DISTINCT name, hostname, machine_id FROM chosen)) ELSE t.name END AS hostname,
	p.process,
	p.pid,
	p.uid,
	t.sent_bytes,
	t.received_bytes,
	CAST((t.sent_bytes + t.received_bytes) * 1e9 / ((t.last_ns / w.value - t.first_ns / w.value + 1) * w.value)
		AS INTEGER) AS mean_per_second,
	CAST(peak.bytes * 1e9 / w.value AS INTEGER) AS peak_per_second,
	round(100.0 * (t.sent_bytes + t.received_bytes) / whole.bytes, 1) AS share_percent,
	t.remote_hosts,
	t.connections,
	ltrim(
		CASE WHEN exact > 0 THEN ' exact:' || exact ELSE '' END
		|| CASE WHEN ahead > 0 THEN ' ahead:' || ahead ELSE '' END
		|| CASE WHEN behind > 0 THEN ' behind:' || behind ELSE '' END
		|| CASE WHEN bound > 0 THEN ' bound:' || bound ELSE '' END
		|| CASE WHEN wildcard > 0 THEN ' wildcard:' || wildcard ELSE '' END
		|| CASE WHEN listener > 0 THEN ' listener:' || listener ELSE '' END
		|| CASE WHEN quoted > 0 THEN ' quoted:' || quoted ELSE '' END
	) AS rules,
	p.cmdline
FROM total t
CROSS JOIN whole
JOIN setting w ON w.key = 'bucket_ns'
LEFT JOIN peak ON peak.process_id IS t.process_id
LEFT JOIN processes p ON p.process_id = t.process_id
WHERE :process IS NULL OR CAST(p.pid AS TEXT) = :process OR p.process GLOB :process
	OR p.exe GLOB :process OR p.exe GLOB '*/' || :process
ORDER BY t.sent_bytes + t.received_bytes DESC, t.process_id IS NULL, t.process_id
LIMIT coalesce(:limit, -1)
