-- What went through tunnels, and who owns the tunnel
-- Each conversation that was carried (IP in IP, GRE, VXLAN, Geneve), with the ends and
-- the owner of the outer packets, or why there is none. Where two outer flows of the
-- recorded host carry the two directions, as of VXLAN, they are one row. --since and
-- --until keep what overlaps the window; the totals are those of the whole conversation.
-- --process keeps what that one has a part in: where others have too, no owner is named.
-- human: orig_bytes,resp_bytes
WITH
-- part: host
, once AS (
	-- An end of the outer flow may have several owners.
	SELECT
		t.*,
		r.machine_id,
		CASE WHEN count(t.pid) = count(*) AND min(t.pid) = max(t.pid) THEN t.pid END AS owner,
		CASE WHEN count(t.process) = count(*) AND min(t.process) = max(t.process)
			THEN t.process END AS program,
		max(:process IS NULL OR CAST(t.pid AS TEXT) IS :process
			OR coalesce(t.process GLOB :process, 0) OR coalesce(t.exe GLOB :process, 0)
			OR coalesce(t.exe GLOB '*/' || :process, 0)) AS is_wanted,
		min(coalesce(t.rule, t.reason)) AS first_verdict,
		max(coalesce(t.rule, t.reason)) AS last_verdict,
		t.orig_address || ' ' || t.orig_port AS orig,
		t.resp_address || ' ' || t.resp_port AS resp
	FROM tunnels t
	JOIN flow f ON f.flow_id = t.flow_id
	LEFT JOIN recording r ON r.recording_id = f.recording_id
	WHERE t.end_ns >= coalesce(:since_ns, 0)
		AND t.start_ns < coalesce(:until_ns, 9223372036854775807)
		AND (:host IS NULL OR f.recording_id IN host)
	GROUP BY t.tunnel_id, t.direction
), placed AS (
	-- The first to speak in any of them is the originator.
	SELECT
		o.*,
		first_value(o.orig) OVER conversation AS first_orig,
		first_value(o.tunnel_id) OVER conversation AS id,
		first_value(o.direction) OVER conversation AS first_direction
	FROM once o
	WINDOW conversation AS (
		PARTITION BY o.hostname, o.machine_id, o.local_address, o.remote_address,
			o.tunnel_type, o.tunnel_key, o.depth, o.protocol, min(o.orig, o.resp),
			max(o.orig, o.resp)
		ORDER BY o.start_ns, o.tunnel_id, o.direction
	)
)
SELECT
	strftime('%Y-%m-%dT%H:%M:%S', min(start_ns) / 1000000000, 'unixepoch')
		|| printf('.%09dZ', min(start_ns) % 1000000000) AS start,
	id,
	hostname || iif(hostname IN twin, '@' || coalesce(machine_id, ''), '') AS hostname,
	CASE WHEN count(program) = count(*) AND min(program) = max(program)
		THEN max(program) END AS process,
	CASE WHEN count(owner) = count(*) AND min(owner) = max(owner) THEN max(owner) END AS pid,
	CASE WHEN min(first_verdict) = max(last_verdict) THEN min(first_verdict)
		ELSE min(first_verdict) || ', ' || max(last_verdict) END AS verdict,
	local_address,
	remote_address,
	tunnel_type,
	tunnel_key,
	depth,
	protocol,
	max(CASE orig WHEN first_orig THEN orig_address ELSE resp_address END) AS orig_address,
	max(CASE orig WHEN first_orig THEN orig_port ELSE resp_port END) AS orig_port,
	max(CASE orig WHEN first_orig THEN resp_address ELSE orig_address END) AS resp_address,
	max(CASE orig WHEN first_orig THEN resp_port ELSE orig_port END) AS resp_port,
	sum(CASE orig WHEN first_orig THEN orig_packets ELSE resp_packets END) AS orig_packets,
	sum(CASE orig WHEN first_orig THEN orig_bytes ELSE resp_bytes END) AS orig_bytes,
	sum(CASE orig WHEN first_orig THEN resp_packets ELSE orig_packets END) AS resp_packets,
	sum(CASE orig WHEN first_orig THEN resp_bytes ELSE orig_bytes END) AS resp_bytes
FROM placed
GROUP BY id, first_direction, local_address
HAVING max(is_wanted)
ORDER BY min(start_ns), id, first_direction
LIMIT coalesce(:limit, -1)
