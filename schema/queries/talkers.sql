-- Processes and the hosts they talked to
-- One row for each process and remote address, by bytes. The rows without a
-- process are what has no owner.
-- human: sent_bytes,received_bytes
WITH wanted AS MATERIALIZED (
	SELECT process_id
	FROM processes
	WHERE :process IS NOT NULL AND (CAST(pid AS TEXT) = :process OR process GLOB :process
		OR exe GLOB :process OR exe GLOB '*/' || :process)
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
	-- What began and ended within the window counts whole.
	SELECT
		c.process_id,
		c.remote_address,
		CASE WHEN c.start_ns >= (SELECT first_ns FROM range) OR c.end_ns < (SELECT end_ns FROM range)
			THEN 1
			ELSE EXISTS (SELECT 1 FROM traffic t
				WHERE t.connection_id = c.connection_id
					AND t.bucket >= (SELECT first FROM range) AND t.bucket < (SELECT "end" FROM range))
		END AS connections,
		CASE WHEN c.start_ns >= (SELECT first_ns FROM range) AND c.end_ns < (SELECT end_ns FROM range)
			THEN c.sent_bytes
			ELSE (SELECT sum(t.sent_bytes) FROM traffic t
				WHERE t.connection_id = c.connection_id
					AND t.bucket >= (SELECT first FROM range) AND t.bucket < (SELECT "end" FROM range))
		END AS sent_bytes,
		CASE WHEN c.start_ns >= (SELECT first_ns FROM range) AND c.end_ns < (SELECT end_ns FROM range)
			THEN c.received_bytes
			ELSE (SELECT sum(t.received_bytes) FROM traffic t
				WHERE t.connection_id = c.connection_id
					AND t.bucket >= (SELECT first FROM range) AND t.bucket < (SELECT "end" FROM range))
		END AS received_bytes
	FROM connection c INDEXED BY connection_process
	WHERE c.start_ns < (SELECT end_ns FROM range) AND c.end_ns >= (SELECT first_ns FROM range)
), pair AS (
	-- All connections in the order of the index, or those of some processes.
	SELECT
		process_id,
		remote_address,
		sum(connections) AS connections,
		sum(sent_bytes) AS sent_bytes,
		sum(received_bytes) AS received_bytes
	FROM seen
	WHERE :process IS NULL
	GROUP BY process_id, remote_address
	UNION ALL
	SELECT
		c.process_id,
		c.remote_address,
		sum(c.connections) AS connections,
		sum(c.sent_bytes) AS sent_bytes,
		sum(c.received_bytes) AS received_bytes
	FROM wanted w
	CROSS JOIN seen c ON c.process_id = w.process_id
	WHERE :process IS NOT NULL
	GROUP BY c.process_id, c.remote_address
), shown AS MATERIALIZED (
	SELECT *
	FROM pair
	WHERE connections > 0
	ORDER BY sent_bytes + received_bytes DESC, process_id IS NULL, process_id, remote_address
	LIMIT coalesce(:limit, -1)
)
SELECT
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
ORDER BY u.sent_bytes + u.received_bytes DESC, u.process_id IS NULL, u.process_id,
	u.remote_address
