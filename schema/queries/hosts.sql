-- The hosts that were recorded
-- One row for each name and machine, with how much there is of it. The first column
-- is what --host takes: where several machines have one name, the machine-id is in it.
-- The row without a name is captures of which nobody wrote down the host.
-- human: bytes
WITH
-- part: host
, held AS MATERIALIZED (
	SELECT
		recording_id,
		count(*) AS segments,
		sum(packets) AS packets,
		sum(bytes) AS bytes,
		min(first_packet_ns) AS first_ns,
		max(last_packet_ns) AS last_ns
	FROM segment
	GROUP BY recording_id
)
SELECT
	r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '') AS hostname,
	r.machine_id,
	count(DISTINCT r.boot_id) AS boots,
	count(*) AS recordings,
	coalesce(sum(s.segments), 0) AS segments,
	coalesce(sum(s.packets), 0) AS packets,
	coalesce(sum(s.bytes), 0) AS bytes,
	strftime('%Y-%m-%dT%H:%M:%S', min(s.first_ns) / 1000000000, 'unixepoch')
		|| printf('.%09dZ', min(s.first_ns) % 1000000000) AS first,
	strftime('%Y-%m-%dT%H:%M:%S', max(s.last_ns) / 1000000000, 'unixepoch')
		|| printf('.%09dZ', max(s.last_ns) % 1000000000) AS last
FROM recording r
LEFT JOIN held s ON s.recording_id = r.recording_id
WHERE r.recording_id IN host
GROUP BY r.hostname, r.machine_id
ORDER BY r.hostname IS NULL, r.hostname, r.machine_id
LIMIT coalesce(:limit, -1)
