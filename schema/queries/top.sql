-- Processes by bytes
-- What each process sent and received, mean and peak rate (over whole
-- buckets, so that the peak is never below the mean), its share of all bytes, how many hosts it talked to over
-- how many connections, and by which rules its packets were attributed. The row
-- without a process is what has no owner, of all hosts or of the one asked for. The rules are those of the whole connections.
-- human: sent_bytes,received_bytes,mean_per_second,peak_per_second
WITH
-- part: host
-- part: scope
, level AS (
	SELECT 1 AS buckets, min(buckets) AS above FROM period
	UNION ALL
	SELECT p.buckets, (SELECT min(q.buckets) FROM period q WHERE q.buckets > p.buckets)
	FROM period p
), width AS (
	SELECT value AS ns, (SELECT max(buckets) FROM period) AS most
	FROM setting
	WHERE key = 'bucket_ns'
), span AS (
	-- Whole buckets, from and before; without a window, whole periods around all.
	SELECT
		coalesce(:since_ns / ns,
			(SELECT min(start_ns) FROM connection) / ns / most * most - 2 * most) AS first,
		coalesce((:until_ns - 1) / ns + 1,
			(SELECT max(end_ns) FROM connection) / ns / most * most + 2 * most) AS "end",
		ns
	FROM width
), range AS MATERIALIZED (
	SELECT first, "end", first * ns AS first_ns, "end" * ns AS end_ns
	FROM span
), bound AS (
	-- From here to slice as in timeline, there up to the cut, by no longer a period than its step.
	SELECT
		l.buckets,
		(r.first + l.buckets - 1) / l.buckets * l.buckets AS lower,
		r."end" / l.buckets * l.buckets AS upper,
		(r.first + l.above - 1) / l.above * l.above AS inner_lower,
		r."end" / l.above * l.above AS inner_upper
	FROM level l
	CROSS JOIN range r
), piece AS MATERIALIZED (
	-- The longest periods within the window, then shorter ones at both of its ends.
	SELECT
		buckets,
		lower / buckets AS lower,
		CASE WHEN inner_lower < inner_upper THEN inner_lower ELSE upper END / buckets AS upper
	FROM bound
	UNION ALL
	SELECT buckets, inner_upper / buckets, upper / buckets
	FROM bound
	WHERE inner_lower < inner_upper
), scale AS MATERIALIZED (
	-- The longest periods that are not longer than the window.
	SELECT max(p.buckets) AS buckets, r.first, r."end"
	FROM range r
	CROSS JOIN period p
	WHERE p.buckets <= max(r."end" - r.first, (SELECT min(buckets) FROM period))
)
-- part: own
, lost AS MATERIALIZED (
	-- What has no owner of the one host of several that is asked for: no sums are
	-- kept of that. By number, so that what is read for it stands together.
	SELECT n.connection_id
	FROM (
		SELECT connection_id
		FROM connection INDEXED BY connection_process
		WHERE process_id IS NULL AND NOT (SELECT is_whole FROM scope)
			AND start_ns < (SELECT end_ns FROM range) AND end_ns >= (SELECT first_ns FROM range)
		ORDER BY connection_id
		LIMIT -1
	) n
	CROSS JOIN connection c ON c.connection_id = n.connection_id
	CROSS JOIN flow f ON f.flow_id = c.flow_id
	WHERE f.recording_id IN host
), active AS MATERIALIZED (
	SELECT DISTINCT t.process_id
	FROM scale s
	CROSS JOIN process_period t INDEXED BY process_period_time ON t.buckets = s.buckets
		AND t.period BETWEEN s.first / s.buckets AND s."end" / s.buckets
	WHERE (SELECT is_whole FROM scope) OR t.process_id IN own
), slice AS (
	SELECT a.process_id, t.sent_bytes, t.received_bytes, t.peak_bytes
	FROM active a
	CROSS JOIN piece
	CROSS JOIN process_period t ON t.process_id = a.process_id AND t.buckets = piece.buckets
		AND t.period >= piece.lower AND t.period < piece.upper
	WHERE piece.lower < piece.upper AND piece.buckets > 1
	UNION ALL
	SELECT a.process_id, t.sent_bytes, t.received_bytes, t.sent_bytes + t.received_bytes
	FROM active a
	CROSS JOIN piece
	CROSS JOIN process_bucket t ON t.process_id = a.process_id
		AND t.bucket >= piece.lower AND t.bucket < piece.upper
	WHERE piece.lower < piece.upper AND piece.buckets = 1
	UNION ALL
	SELECT 0, sum(t.sent_bytes), sum(t.received_bytes), sum(t.sent_bytes + t.received_bytes)
	-- Compared with a table: by conditions on itself SQLite would read all of it for a filter.
	FROM lost u
	CROSS JOIN range r
	CROSS JOIN traffic t ON t.connection_id = u.connection_id
		AND t.bucket >= r.first AND t.bucket < r."end"
	GROUP BY t.bucket
), summed AS MATERIALIZED (
	SELECT
		process_id,
		sum(sent_bytes) AS sent_bytes,
		sum(received_bytes) AS received_bytes,
		max(peak_bytes) AS peak_bytes
	FROM slice
	GROUP BY process_id
), whole AS MATERIALIZED (
	SELECT sum(sent_bytes + received_bytes) AS bytes FROM summed
), wanted AS MATERIALIZED (
	SELECT process_id
	FROM processes
	WHERE :process IS NOT NULL AND (CAST(pid AS TEXT) = :process OR process GLOB :process
		OR exe GLOB :process OR exe GLOB '*/' || :process)
), shown AS MATERIALIZED (
	SELECT *
	FROM summed
	WHERE :process IS NULL OR process_id IN wanted
	ORDER BY sent_bytes + received_bytes DESC, process_id = 0, process_id
	LIMIT coalesce(:limit, -1)
), total AS MATERIALIZED (
	-- What began or ended within the window has traffic there; of what did neither
	-- that has to be seen. By the number of the process, so that nothing is sorted.
	SELECT
		s.process_id,
		count(DISTINCT c.remote_address) AS remote_hosts,
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
	FROM process s
	CROSS JOIN connection c INDEXED BY connection_process ON c.process_id = s.process_id
	WHERE +s.process_id IN (SELECT process_id FROM shown)
		AND c.start_ns < (SELECT end_ns FROM range) AND c.end_ns >= (SELECT first_ns FROM range)
		AND (c.start_ns >= (SELECT first_ns FROM range) OR c.end_ns < (SELECT end_ns FROM range) OR EXISTS (
			SELECT 1 FROM traffic t
			WHERE t.connection_id = c.connection_id
				AND t.bucket >= (SELECT first FROM range) AND t.bucket < (SELECT "end" FROM range)))
	GROUP BY s.process_id
	UNION ALL
	-- The same of what has no owner, which no row of process stands for.
	SELECT
		0,
		count(DISTINCT c.remote_address) AS remote_hosts,
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
	FROM connection c INDEXED BY connection_process
	WHERE c.process_id IS NULL AND 0 IN (SELECT process_id FROM shown)
		AND ((SELECT is_whole FROM scope) OR c.connection_id IN lost)
		AND c.start_ns < (SELECT end_ns FROM range) AND c.end_ns >= (SELECT first_ns FROM range)
		AND (c.start_ns >= (SELECT first_ns FROM range) OR c.end_ns < (SELECT end_ns FROM range) OR EXISTS (
			SELECT 1 FROM traffic t
			WHERE t.connection_id = c.connection_id
				AND t.bucket >= (SELECT first FROM range) AND t.bucket < (SELECT "end" FROM range)))
)
SELECT
	CASE s.process_id WHEN 0 THEN (SELECT hostname FROM scope)
		ELSE r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '') END AS hostname,
	CAST(coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
		AS TEXT) AS process,
	p.pid,
	p.uid,
	s.sent_bytes,
	s.received_bytes,
	CAST((s.sent_bytes + s.received_bytes) * 1e9 / ((t.last_ns / w.ns - t.first_ns / w.ns + 1) * w.ns)
		AS INTEGER) AS mean_per_second,
	CAST(s.peak_bytes * 1e9 / w.ns AS INTEGER) AS peak_per_second,
	round(100.0 * (s.sent_bytes + s.received_bytes) / whole.bytes, 1) AS share_percent,
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
FROM shown s
CROSS JOIN whole
CROSS JOIN width w
CROSS JOIN total t ON t.process_id = s.process_id
LEFT JOIN process p ON p.process_id = s.process_id
LEFT JOIN recording r ON r.recording_id = p.recording_id
ORDER BY s.sent_bytes + s.received_bytes DESC, s.process_id = 0, s.process_id
