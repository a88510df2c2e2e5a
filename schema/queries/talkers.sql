-- Processes and the hosts they talked to
-- One row for each process and remote address, by bytes. The rows without a
-- process are what has no owner, of each host.
-- human: sent_bytes,received_bytes
WITH
-- part: host
-- part: scope
-- part: own
, wanted AS MATERIALIZED (
	SELECT process_id
	FROM processes
	WHERE :process IS NOT NULL AND (CAST(pid AS TEXT) = :process OR process GLOB :process
			OR exe GLOB :process OR exe GLOB '*/' || :process)
		AND ((SELECT is_whole FROM scope) OR process_id IN own)
	UNION ALL
	SELECT process_id
	FROM own
	WHERE :process IS NULL
), range AS MATERIALIZED (
	-- Whole buckets, from and before.
	SELECT
		coalesce(:since_ns / value, -9223372036854775808) AS first,
		coalesce((:until_ns - 1) / value + 1, 9223372036854775807) AS "end",
		coalesce(:since_ns / value * value, -9223372036854775808) AS first_ns,
		coalesce(((:until_ns - 1) / value + 1) * value, 9223372036854775807) AS end_ns
	FROM setting
	WHERE key = 'bucket_ns'
), seen AS NOT MATERIALIZED (
	-- All that overlaps the window, whole; of what reaches over an end of it, what
	-- it may have within is open.
	SELECT
		connection_id,
		process_id,
		remote_address,
		sent_bytes,
		received_bytes,
		CASE WHEN start_ns < (SELECT first_ns FROM range) OR end_ns >= (SELECT end_ns FROM range)
			THEN sent_bytes + received_bytes
		END AS open_bytes
	FROM connection INDEXED BY connection_process
	WHERE start_ns < (SELECT end_ns FROM range) AND end_ns >= (SELECT first_ns FROM range)
), pair AS MATERIALIZED (
	-- All connections in the order of the index, or those of some processes; what has
	-- no owner is that of all hosts here.
	SELECT
		process_id,
		remote_address,
		count(*) AS connections,
		sum(sent_bytes) AS sent_bytes,
		sum(received_bytes) AS received_bytes,
		sum(open_bytes) AS open_bytes
	FROM seen
	WHERE :process IS NULL AND (SELECT is_whole FROM scope)
	GROUP BY process_id, remote_address
	UNION ALL
	SELECT
		NULL,
		remote_address,
		count(*) AS connections,
		sum(sent_bytes) AS sent_bytes,
		sum(received_bytes) AS received_bytes,
		sum(open_bytes) AS open_bytes
	FROM seen
	WHERE process_id IS NULL AND :process IS NULL AND NOT (SELECT is_whole FROM scope)
	GROUP BY remote_address
	UNION ALL
	SELECT
		c.process_id,
		c.remote_address,
		count(*) AS connections,
		sum(c.sent_bytes) AS sent_bytes,
		sum(c.received_bytes) AS received_bytes,
		sum(c.open_bytes) AS open_bytes
	FROM wanted w
	CROSS JOIN seen c ON c.process_id = w.process_id
	GROUP BY c.process_id, c.remote_address
), least AS MATERIALIZED (
	-- As many pairs as are asked for have at least so much, whatever is open: traffic
	-- is read of those alone that may come up to it.
	SELECT sent_bytes + received_bytes - coalesce(open_bytes, 0) AS bytes
	FROM pair
	WHERE process_id IS NOT NULL OR (SELECT is_all_of_one FROM scope)
	ORDER BY bytes DESC
	LIMIT 1 OFFSET coalesce(:limit - 1, 9223372036854775807)
), large AS NOT MATERIALIZED (
	SELECT *
	FROM pair
	WHERE sent_bytes + received_bytes >= coalesce((SELECT bytes FROM least), 0)
), near AS MATERIALIZED (
	SELECT process_id, NULL AS hostname, NULL AS machine_id, remote_address, connections,
		sent_bytes, received_bytes, open_bytes
	FROM large
	WHERE process_id IS NOT NULL OR (SELECT is_all_of_one FROM scope)
	UNION ALL
	-- What has no owner is told apart by the hosts.
	SELECT
		NULL,
		r.hostname,
		r.machine_id,
		u.remote_address,
		count(*),
		sum(u.sent_bytes),
		sum(u.received_bytes),
		sum(u.open_bytes)
	FROM (
		-- By number, so that what is read for it stands together.
		SELECT s.*
		FROM large n
		CROSS JOIN seen s ON s.process_id IS n.process_id
			AND s.remote_address IS n.remote_address
		WHERE n.process_id IS NULL AND NOT (SELECT is_all_of_one FROM scope)
		ORDER BY s.connection_id
		LIMIT -1
	) u
	CROSS JOIN connection c ON c.connection_id = u.connection_id
	CROSS JOIN flow f ON f.flow_id = c.flow_id
	LEFT JOIN recording r ON r.recording_id = f.recording_id
	WHERE :host IS NULL OR f.recording_id IN host
	GROUP BY r.hostname, r.machine_id, u.remote_address
), part AS MATERIALIZED (
	-- What of a pair's connections reaches over an end, and what it had within. Compared
	-- with a table: by conditions on itself SQLite would read all of the index for a filter.
	SELECT
		n.process_id,
		n.hostname,
		n.machine_id,
		n.remote_address,
		n.connections,
		n.sent_bytes,
		n.received_bytes,
		c.sent_bytes AS whole_sent_bytes,
		c.received_bytes AS whole_received_bytes,
		(SELECT sum(t.sent_bytes) FROM traffic t
			WHERE t.connection_id = c.connection_id
				AND t.bucket >= (SELECT first FROM range) AND t.bucket < (SELECT "end" FROM range))
			AS part_sent_bytes,
		(SELECT sum(t.received_bytes) FROM traffic t
			WHERE t.connection_id = c.connection_id
				AND t.bucket >= (SELECT first FROM range) AND t.bucket < (SELECT "end" FROM range))
			AS part_received_bytes
	FROM near n
	CROSS JOIN range r
	CROSS JOIN connection c INDEXED BY connection_process ON c.process_id IS n.process_id
		AND c.remote_address IS n.remote_address
		AND c.start_ns < r.end_ns AND c.end_ns >= r.first_ns
		AND (c.start_ns < r.first_ns OR c.end_ns >= r.end_ns)
	WHERE n.open_bytes IS NOT NULL AND (n.process_id IS NOT NULL
		OR (SELECT is_all_of_one FROM scope)
		OR (SELECT r.hostname IS n.hostname AND r.machine_id IS n.machine_id
			FROM flow f
			LEFT JOIN recording r ON r.recording_id = f.recording_id
			WHERE f.flow_id = c.flow_id))
), shown AS MATERIALIZED (
	SELECT *
	FROM (
		SELECT process_id, hostname, machine_id, remote_address, connections, sent_bytes,
			received_bytes
		FROM near
		WHERE open_bytes IS NULL
		UNION ALL
		SELECT
			process_id,
			hostname,
			machine_id,
			remote_address,
			connections - sum(part_sent_bytes IS NULL) AS connections,
			sent_bytes - sum(whole_sent_bytes) + coalesce(sum(part_sent_bytes), 0),
			received_bytes - sum(whole_received_bytes) + coalesce(sum(part_received_bytes), 0)
		FROM part
		GROUP BY process_id, hostname, machine_id, remote_address, connections, sent_bytes,
			received_bytes
	)
	WHERE connections > 0
	ORDER BY sent_bytes + received_bytes DESC, process_id IS NULL, process_id, hostname,
		machine_id, remote_address
	LIMIT coalesce(:limit, -1)
)
SELECT
	CASE WHEN u.process_id IS NULL AND (SELECT is_all_of_one FROM scope)
		THEN (SELECT hostname FROM scope)
		ELSE coalesce(r.hostname, u.hostname) || iif(coalesce(r.hostname, u.hostname) IN twin,
			'@' || coalesce(r.machine_id, u.machine_id, ''), '') END AS hostname,
	CAST(coalesce(p.comm, substr(p.exe, length(rtrim(p.exe, replace(p.exe, '/', ''))) + 1))
		AS TEXT) AS process,
	p.pid,
	u.remote_address,
	u.connections,
	u.sent_bytes,
	u.received_bytes,
	p.cmdline
FROM shown u
LEFT JOIN process p ON p.process_id = u.process_id
LEFT JOIN recording r ON r.recording_id = p.recording_id
ORDER BY u.sent_bytes + u.received_bytes DESC, u.process_id IS NULL, u.process_id, u.hostname,
	u.machine_id, u.remote_address
