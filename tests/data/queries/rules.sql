-- As schema/queries/rules.sql, from table traffic alone: what that one has to say.
, owned AS (
	SELECT
		sum(exact_packets) AS exact,
		sum(ahead_packets) AS ahead,
		sum(behind_packets) AS behind,
		sum(bound_packets) AS bound,
		sum(wildcard_packets) AS wildcard,
		sum(listener_packets) AS listener,
		sum(quoted_packets) AS quoted
	FROM mine
), counted AS (
	SELECT
		1 AS part,
		rule_code AS place,
		'rule' AS kind,
		rule AS verdict,
		coalesce(CASE rule
			WHEN 'exact' THEN exact
			WHEN 'ahead' THEN ahead
			WHEN 'behind' THEN behind
			WHEN 'bound' THEN bound
			WHEN 'wildcard' THEN wildcard
			WHEN 'listener' THEN listener
			WHEN 'quoted' THEN quoted
		END, 0) AS packets,
		meaning
	FROM rule CROSS JOIN owned
	UNION ALL
	SELECT
		2,
		r.reason_code,
		'reason',
		r.reason,
		(SELECT coalesce(sum(c.sent_packets + c.received_packets), 0)
			FROM mine c WHERE c.reason = r.reason),
		r.meaning
	FROM reason r
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
