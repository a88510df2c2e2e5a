-- Packets by rule and by reason
-- How many packets were attributed by each rule, and how many have no owner for
-- which reason. A packet of a loopback flow counts at both of its ends.
WITH
-- part: host
-- part: scope
-- part: own
, lost AS MATERIALIZED (
	-- By number, so that what is read for it stands together.
	SELECT c.reason, c.sent_packets + c.received_packets AS packets
	FROM (
		SELECT connection_id
		FROM connection INDEXED BY connection_process
		WHERE process_id IS NULL AND NOT (SELECT is_whole FROM scope)
		ORDER BY connection_id
		LIMIT -1
	) n
	CROSS JOIN connection c ON c.connection_id = n.connection_id
	CROSS JOIN flow f ON f.flow_id = c.flow_id
	WHERE f.recording_id IN host
), owned AS MATERIALIZED (
	-- All of the index, or what it has of a host's processes; nothing of the other.
	SELECT
		sum(exact_packets) AS exact,
		sum(ahead_packets) AS ahead,
		sum(behind_packets) AS behind,
		sum(bound_packets) AS bound,
		sum(wildcard_packets) AS wildcard,
		sum(listener_packets) AS listener,
		sum(quoted_packets) AS quoted
	FROM connection
	WHERE (SELECT is_whole FROM scope)
	UNION ALL
	SELECT
		sum(c.exact_packets),
		sum(c.ahead_packets),
		sum(c.behind_packets),
		sum(c.bound_packets),
		sum(c.wildcard_packets),
		sum(c.listener_packets),
		sum(c.quoted_packets)
	FROM own o
	CROSS JOIN connection c INDEXED BY connection_process ON c.process_id = o.process_id
), unowned AS (
	SELECT reason, sum(sent_packets + received_packets) AS packets
	FROM connection
	WHERE reason IS NOT NULL AND (SELECT is_whole FROM scope)
	GROUP BY reason
	UNION ALL
	SELECT reason, sum(packets)
	FROM lost
	GROUP BY reason
), counted AS MATERIALIZED (
	SELECT
		1 AS part,
		rule_code AS place,
		'rule' AS kind,
		rule AS verdict,
		coalesce(sum(CASE rule
			WHEN 'exact' THEN exact
			WHEN 'ahead' THEN ahead
			WHEN 'behind' THEN behind
			WHEN 'bound' THEN bound
			WHEN 'wildcard' THEN wildcard
			WHEN 'listener' THEN listener
			WHEN 'quoted' THEN quoted
		END), 0) AS packets,
		meaning
	FROM rule CROSS JOIN owned
	GROUP BY rule_code
	UNION ALL
	SELECT
		2,
		r.reason_code,
		'reason',
		r.reason,
		coalesce(u.packets, 0),
		r.meaning
	FROM reason r
	LEFT JOIN unowned u ON u.reason = r.reason
)
SELECT
	kind,
	verdict,
	packets,
	round(100.0 * packets / nullif((SELECT sum(packets) FROM counted), 0), 3) AS percent,
	meaning
FROM counted
ORDER BY part, place
LIMIT coalesce(:limit, -1)
