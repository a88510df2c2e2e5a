-- Listening sockets and who holds them
-- TCP sockets that listened and bound, unconnected datagram sockets, one row for
-- each process that had one open (none: process is NULL), with the time it was seen.
WITH
-- part: host
SELECT
	r.hostname || iif(r.hostname IN twin, '@' || coalesce(r.machine_id, ''), '') AS hostname,
	s.protocol,
	s.local_address,
	s.local_port,
	s.net_namespace,
	s.uid,
	p.pid,
	p.process,
	count(DISTINCT h.fd) AS descriptors,
	strftime('%Y-%m-%dT%H:%M:%S', s.first_seen_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', s.first_seen_ns % 1000000000) AS first_seen,
	strftime('%Y-%m-%dT%H:%M:%S', s.last_seen_ns / 1000000000, 'unixepoch')
		|| printf('.%09dZ', s.last_seen_ns % 1000000000) AS last_seen,
	p.cmdline
FROM socket s
LEFT JOIN recording r ON r.recording_id = s.recording_id
LEFT JOIN holder h ON h.socket_id = s.socket_id
LEFT JOIN processes p ON p.process_id = h.process_id
WHERE ((s.protocol = 'tcp' AND s.state = 10)
		OR (s.protocol IN ('udp', 'udplite', 'sctp') AND s.remote_address IS NULL))
	AND coalesce(s.last_seen_ns, 9223372036854775807) >= coalesce(:since_ns, 0)
	AND coalesce(s.first_seen_ns, 0) < coalesce(:until_ns, 9223372036854775807)
	AND (:host IS NULL OR s.recording_id IN host)
	AND (:process IS NULL OR CAST(p.pid AS TEXT) = :process OR p.process GLOB :process
		OR p.exe GLOB :process OR p.exe GLOB '*/' || :process)
GROUP BY s.socket_id, h.process_id
ORDER BY s.protocol, s.local_port, s.local_address, s.socket_id, h.process_id
LIMIT coalesce(:limit, -1)
