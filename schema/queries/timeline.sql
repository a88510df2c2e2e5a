-- Traffic by time and process
-- Packets and bytes of each process in each step of time (--bucket, else the
-- database's). The rows without a process are what has no owner, of all hosts or of
-- the one asked for.
-- human: sent_bytes,received_bytes
WITH
-- part: host
-- part: scope
-- part: own
, wanted AS MATERIALIZED (
	SELECT process_id
	FROM processes
	WHERE (:process IS NULL OR CAST(pid AS TEXT) = :process OR process GLOB :process
			OR exe GLOB :process OR exe GLOB '*/' || :process)
		AND ((SELECT is_whole FROM scope) OR process_id IN own)
	UNION ALL
	SELECT 0
	WHERE :process IS NULL AND (SELECT is_whole FROM scope)
), step AS MATERIALIZED (
	SELECT
		value AS ns,
		coalesce(:bucket, value) / value AS buckets,
		-- The longest period that steps are made of.
		coalesce((SELECT max(p.buckets) FROM period p
			WHERE coalesce(:bucket, value) / value % p.buckets = 0), 1) AS period,
		(SELECT max(buckets) FROM period) AS most
	FROM setting
	WHERE key = 'bucket_ns'
), range AS MATERIALIZED (
	-- Whole buckets, from and before; without a window, whole periods around all.
	SELECT
		coalesce(:since_ns / ns,
			(SELECT min(start_ns) FROM connection) / ns / most * most - 2 * most) AS first,
		coalesce((:until_ns - 1) / ns + 1,
			(SELECT max(end_ns) FROM connection) / ns / most * most + 2 * most) AS "end",
		ns
	FROM step
), edge AS MATERIALIZED (
	SELECT first * ns AS first_ns, "end" * ns AS end_ns
	FROM range
), lost AS MATERIALIZED (
	-- What has no owner of the one host of several that is asked for: no sums are
	-- kept of that. By number, so that what is read for it stands together.
	SELECT n.connection_id, n.start_ns
	FROM (
		SELECT connection_id, start_ns
		FROM connection INDEXED BY connection_process
		WHERE process_id IS NULL AND NOT (SELECT is_whole FROM scope) AND :process IS NULL
			AND start_ns < (SELECT end_ns FROM edge) AND end_ns >= (SELECT first_ns FROM edge)
		ORDER BY connection_id
		LIMIT -1
	) n
	CROSS JOIN connection c ON c.connection_id = n.connection_id
	CROSS JOIN flow f ON f.flow_id = c.flow_id
	WHERE f.recording_id IN host
), enough AS MATERIALIZED (
	SELECT coalesce(:limit, 0) * (buckets / (SELECT min(buckets) FROM period) + 2) AS rows
	FROM step
), cut ("end", part) AS (
	-- What --limit leaves, by the longest periods, then within it by shorter ones: a
	-- process has at least one row in each of its periods, and no row lies in more of
	-- them than its step touches. What comes later in time is not read.
	SELECT "end", (SELECT max(buckets) FROM period)
	FROM range
	UNION ALL
	SELECT
		coalesce(min(c."end", CASE WHEN :process IS NULL
			AND (SELECT is_whole FROM scope) THEN (
			SELECT ((t.period + 1) * c.part / step.buckets + 1) * step.buckets
			FROM process_period t INDEXED BY process_period_time
			WHERE t.buckets = c.part
				AND t.period > range.first / c.part AND t.period < c."end" / c.part
			ORDER BY t.period
			LIMIT 1
			OFFSET (SELECT rows FROM enough)
		) ELSE (
			SELECT ((t.period + 1) * c.part / step.buckets + 1) * step.buckets
			FROM wanted w
			CROSS JOIN process_period t ON t.process_id = w.process_id AND t.buckets = c.part
				AND t.period > range.first / c.part AND t.period < c."end" / c.part
			ORDER BY t.period
			LIMIT 1
			OFFSET (SELECT rows FROM enough)
		) END), c."end"),
		(SELECT max(p.buckets) FROM period p WHERE p.buckets < c.part)
	FROM cut c
	CROSS JOIN step
	CROSS JOIN range
	WHERE :limit IS NOT NULL AND c.part IS NOT NULL
), last AS MATERIALIZED (
	-- What of a host has no owner has a row in each step in which something of it begins.
	SELECT min(c."end") AS "end"
	FROM (
		SELECT "end"
		FROM cut
		UNION ALL
		SELECT *
		FROM (
			SELECT (u.start_ns / step.ns / step.buckets + 1) * step.buckets
			FROM lost u
			CROSS JOIN step
			WHERE :limit IS NOT NULL AND u.start_ns >= (SELECT first_ns FROM edge)
			GROUP BY 1
			ORDER BY 1
			LIMIT 1 OFFSET coalesce(:limit, 0)
		)
	) c
), bound AS (
	-- From here to slice as in top, which has no cut and no step.
	SELECT
		l.buckets,
		(r.first + l.buckets - 1) / l.buckets * l.buckets AS lower,
		c."end" / l.buckets * l.buckets AS upper,
		(r.first + l.above - 1) / l.above * l.above AS inner_lower,
		c."end" / l.above * l.above AS inner_upper
	FROM step
	CROSS JOIN (
		SELECT 1 AS buckets, min(buckets) AS above
		FROM period
		WHERE buckets <= (SELECT period FROM step)
		UNION ALL
		SELECT
			p.buckets,
			(SELECT min(q.buckets) FROM period q
				WHERE q.buckets > p.buckets AND q.buckets <= (SELECT period FROM step))
		FROM period p
		WHERE p.buckets <= (SELECT period FROM step)
	) l
	CROSS JOIN range r
	CROSS JOIN last c
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
	-- The longest periods that are not longer than what is looked at.
	SELECT max(p.buckets) AS buckets, r.first, c."end"
	FROM range r
	CROSS JOIN last c
	CROSS JOIN period p
	WHERE p.buckets <= max(c."end" - r.first, (SELECT min(buckets) FROM period))
), active AS MATERIALIZED (
	SELECT DISTINCT t.process_id
	FROM scale s
	CROSS JOIN process_period t INDEXED BY process_period_time ON t.buckets = s.buckets
		AND t.period BETWEEN s.first / s.buckets AND s."end" / s.buckets
	WHERE t.process_id IN wanted
), slice AS (
	SELECT w.process_id, t.period * t.buckets AS bucket, t.sent_packets, t.sent_bytes,
		t.received_packets, t.received_bytes
	FROM active w
	CROSS JOIN piece
	CROSS JOIN process_period t ON t.process_id = w.process_id AND t.buckets = piece.buckets
		AND t.period >= piece.lower AND t.period < piece.upper
	WHERE piece.lower < piece.upper AND piece.buckets > 1
	UNION ALL
	SELECT w.process_id, t.bucket, t.sent_packets, t.sent_bytes, t.received_packets,
		t.received_bytes
	FROM active w
	CROSS JOIN piece
	CROSS JOIN process_bucket t ON t.process_id = w.process_id
		AND t.bucket >= piece.lower AND t.bucket < piece.upper
	WHERE piece.lower < piece.upper AND piece.buckets = 1
	UNION ALL
	SELECT 0, t.bucket, t.sent_packets, t.sent_bytes, t.received_packets, t.received_bytes
	-- Compared with tables: by conditions on itself SQLite would read all of it for a filter.
	FROM lost u
	CROSS JOIN range r
	CROSS JOIN last l
	CROSS JOIN traffic t ON t.connection_id = u.connection_id
		AND t.bucket >= r.first AND t.bucket < l."end"
), summed AS (
	SELECT
		s.bucket / step.buckets * step.buckets * step.ns AS start_ns,
		s.process_id,
		sum(s.sent_packets) AS sent_packets,
		sum(s.sent_bytes) AS sent_bytes,
		sum(s.received_packets) AS received_packets,
		sum(s.received_bytes) AS received_bytes
	FROM slice s
	CROSS JOIN step
	GROUP BY 1, 2
)
SELECT
	strftime('%Y-%m-%dT%H:%M:%S', u.start_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', u.start_ns % 1000000000) AS start,
	CASE u.process_id WHEN 0 THEN (SELECT hostname FROM scope)
		ELSE r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '') END AS hostname,
	CAST(coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
		AS TEXT) AS process,
	p.pid,
	u.sent_packets,
	u.sent_bytes,
	u.received_packets,
	u.received_bytes
FROM summed u
LEFT JOIN process p ON p.process_id = u.process_id
LEFT JOIN recording r ON r.recording_id = p.recording_id
ORDER BY u.start_ns, u.process_id = 0, u.process_id
LIMIT coalesce(:limit, -1)
