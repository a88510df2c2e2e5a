-- judge.sql: holds what was found against what really happened. Run on a
-- database whose table truth is the journal, with the analyzed one attached as
-- found, and a table setting(shuffle). README.md says what the words mean.

-- A use: one line of the journal. Shuffled, to see that a wrong owner is seen,
-- each pid and start time is that of another use of the same kind.
CREATE TABLE use AS
SELECT
	t.rowid AS use_id,
	CASE (SELECT shuffle FROM setting) WHEN 0 THEN t.pid ELSE
		lead(t.pid, 1, t.pid + 1) OVER (PARTITION BY t.kind ORDER BY t.rowid) END AS pid,
	CASE (SELECT shuffle FROM setting) WHEN 0 THEN t.start_ticks ELSE
		lead(t.start_ticks, 1, 0) OVER (PARTITION BY t.kind ORDER BY t.rowid)
		END AS start_ticks,
	t.kind || ' ' || t.role AS kind,
	t.role, t.sharing, t.life_us, t.sent, t.received, t.disturbed, t.first_ns, t.last_ns,
	t.protocol || ' ' || t.local_address || ' ' || t.local_port || ' '
		|| t.remote_address || ' ' || t.remote_port AS tuple,
	t.protocol || ' ' || t.remote_address || ' ' || t.remote_port || ' '
		|| t.local_address || ' ' || t.local_port AS peer,
	t.protocol
FROM truth t;
CREATE INDEX use_tuple ON use (tuple);
CREATE INDEX use_peer ON use (peer);
CREATE INDEX use_pid ON use (pid, start_ticks);

-- An end: what has one right answer. Where several uses have one tuple, and
-- not one after the other, time does not tell them apart; bytes do.
CREATE TABLE part AS
SELECT use_id,
	CASE WHEN protocol = 'udp' OR sharing IN ('moved', 'shared')
	THEN min(use_id) OVER (PARTITION BY tuple) ELSE use_id END AS end_id
FROM use;
CREATE INDEX part_use ON part (use_id);
CREATE TABLE used AS SELECT part.end_id, use.* FROM use JOIN part USING (use_id);
CREATE INDEX used_end ON used (end_id, pid, start_ticks);
CREATE TABLE end AS
SELECT end_id, min(kind) AS kind, min(tuple) AS tuple, min(sharing) AS sharing,
	min(first_ns) AS first_ns, max(last_ns) AS last_ns,
	sum(sent) AS sent, sum(received) AS received, sum(sent) + sum(received) AS payload,
	EXISTS (SELECT 1 FROM use d WHERE d.disturbed > 0
		AND (d.tuple = used.tuple OR d.peer = used.tuple)) AS disturbed
FROM used GROUP BY end_id;
CREATE INDEX end_tuple ON end (tuple);

-- What was found: rows of the view connections, with the start of the process.
CREATE TABLE row AS
SELECT
	-- A start that is known from the fork alone may be one tick late.
	c.connection_id, c.pid, p.start_ticks - (
		NOT EXISTS (SELECT 1 FROM use u WHERE u.pid = c.pid AND u.start_ticks = p.start_ticks)
		AND EXISTS (SELECT 1 FROM use u WHERE u.pid = c.pid
			AND u.start_ticks = p.start_ticks - 1)) AS start_ticks, c.rule, c.reason, c.start_ns, c.end_ns,
	c.sent_payload_bytes AS sent, c.received_payload_bytes AS received,
	c.sent_packets + c.received_packets AS packets,
	c.protocol || ' ' || c.local_address || ' ' || coalesce(f.icmp_id, c.local_port, 0) || ' '
		|| c.remote_address || ' ' || coalesce(f.icmp_id, c.remote_port, 0) AS tuple
FROM found.connections c
JOIN found.connection x ON x.connection_id = c.connection_id
JOIN found.flow f ON f.flow_id = c.flow_id
LEFT JOIN found.process p ON p.process_id = x.process_id;
CREATE INDEX row_tuple ON row (tuple);

-- Each row goes to the end of its tuple that moved the same bytes, else to the
-- one with which it has most time in common; what comes late (the last FIN) may
-- lie after it.
CREATE TABLE matched AS
SELECT * FROM (
	SELECT r.*, e.end_id, e.kind, e.sharing, e.disturbed,
		min(r.end_ns, e.last_ns) - max(r.start_ns, e.first_ns) AS common_ns,
		row_number() OVER (PARTITION BY r.connection_id
			ORDER BY r.sent + r.received > 0 AND r.sent = e.sent AND r.received = e.received DESC,
				min(r.end_ns, e.last_ns) - max(r.start_ns, e.first_ns) DESC,
				e.end_id) AS place
	FROM row r JOIN end e ON e.tuple = r.tuple)
WHERE place = 1 AND common_ns > -5000000000;

CREATE TABLE judged AS
SELECT m.*,
	CASE
	WHEN m.pid IS NULL THEN 'none'
	WHEN m.sharing <> 'kernel' AND EXISTS (SELECT 1 FROM used u
		WHERE u.end_id = m.end_id AND u.pid = m.pid AND u.start_ticks = m.start_ticks)
	THEN 'right'
	ELSE 'wrong'
	END AS verdict
FROM matched m;
CREATE INDEX judged_end ON judged (end_id, pid, start_ticks);

-- Rows that may as well be of a program which runs beside the harness: it uses the same
-- port in another namespace, or the kernel gave its socket the place of ours.
CREATE TABLE strangers AS
SELECT DISTINCT c.connection_id
FROM found.candidate c JOIN found.process p USING (process_id)
WHERE NOT EXISTS (SELECT 1 FROM use u WHERE u.pid = p.pid)
	AND p.pid NOT IN (SELECT pid FROM found.process WHERE comm = 'talk');
CREATE INDEX strangers_connection ON strangers (connection_id);

-- Rows of a port that by the kernel's account a process of another kind uses as well. Kinds share
-- no sockets: the socket of that one got the place of this one in memory, and was used before a
-- way was looked up for it, which alone tells its port.
CREATE TABLE elsewhere AS
SELECT DISTINCT j.connection_id
FROM judged j JOIN found.connections c USING (connection_id)
JOIN told t ON t.protocol = c.protocol AND t.port = c.local_port
WHERE EXISTS (SELECT 1 FROM truth x WHERE x.pid = t.pid)
	AND NOT EXISTS (SELECT 1 FROM truth x WHERE x.pid = t.pid AND j.kind GLOB x.kind || ' *');
CREATE INDEX elsewhere_connection ON elsewhere (connection_id);

-- A right process that is given more bytes than it moved has another's.
-- Retransmitted and lost ones were on the wire without having been moved.
CREATE TABLE excess AS
SELECT j.end_id, j.pid, j.start_ticks,
	max(0, sum(j.sent) - (SELECT sum(u.sent) FROM used u WHERE u.end_id = j.end_id
		AND u.pid = j.pid AND u.start_ticks = j.start_ticks))
	+ max(0, sum(j.received) - (SELECT sum(u.received) FROM used u WHERE u.end_id = j.end_id
		AND u.pid = j.pid AND u.start_ticks = j.start_ticks)) AS bytes
FROM judged j
WHERE j.verdict = 'right' AND j.sharing IN ('own', 'moved') AND NOT j.disturbed
GROUP BY j.end_id, j.pid, j.start_ticks;
DELETE FROM excess WHERE bytes = 0;

-- Traffic given to our processes that none of them had.
CREATE TABLE stray AS
SELECT r.* FROM row r
WHERE r.pid IS NOT NULL
	AND NOT EXISTS (SELECT 1 FROM matched m WHERE m.connection_id = r.connection_id)
	AND EXISTS (SELECT 1 FROM use u WHERE u.pid = r.pid AND u.start_ticks = r.start_ticks)
	-- An ICMP error comes with the connection that it quotes.
	AND NOT (r.rule = 'quoted' AND EXISTS (SELECT 1 FROM use u
		WHERE u.pid = r.pid AND u.start_ticks = r.start_ticks AND u.kind LIKE '%refused %'));

CREATE TABLE measure AS
SELECT e.*,
	EXISTS (SELECT 1 FROM judged j WHERE j.end_id = e.end_id AND j.verdict = 'right') AS named,
	EXISTS (SELECT 1 FROM judged j WHERE j.end_id = e.end_id AND j.verdict = 'wrong')
		OR EXISTS (SELECT 1 FROM excess x WHERE x.end_id = e.end_id) AS misnamed,
	coalesce((SELECT j.reason || CASE WHEN j.connection_id IN (SELECT connection_id FROM strangers)
		THEN ' with a stranger' WHEN j.reason = 'ambiguous'
			AND j.connection_id IN (SELECT connection_id FROM elsewhere)
		THEN ' with another kind' ELSE '' END FROM judged j WHERE j.end_id = e.end_id AND j.verdict = 'none'
		ORDER BY j.packets DESC, j.connection_id LIMIT 1), 'unseen') AS reason,
	coalesce((SELECT sum(j.sent + j.received) FROM judged j WHERE j.end_id = e.end_id
		AND (j.verdict = 'right' OR e.sharing = 'kernel' AND j.verdict = 'none')), 0)
		- coalesce((SELECT sum(x.bytes) FROM excess x WHERE x.end_id = e.end_id), 0)
		AS right_bytes,
	coalesce((SELECT sum(j.sent + j.received) FROM judged j WHERE j.end_id = e.end_id
		AND j.verdict = 'wrong'), 0)
		+ coalesce((SELECT sum(x.bytes) FROM excess x WHERE x.end_id = e.end_id), 0)
		AS wrong_bytes
FROM end e;
-- An owner of the handshake alone is not an owner found.
CREATE TABLE outcome AS
SELECT *,
	CASE
	WHEN misnamed THEN 'wrong'
	WHEN sharing = 'kernel' OR named AND 2 * right_bytes >= payload THEN 'found'
	ELSE 'none'
	END AS verdict
FROM measure;
CREATE INDEX outcome_kind ON outcome (kind);

-- What gaps.pl found: TCP of which the capture has not every byte.
CREATE TABLE gapped AS
SELECT 'tcp ' || local_address || ' ' || local_port || ' ' || remote_address || ' '
	|| remote_port AS tuple, missing_bytes FROM gap
UNION ALL
SELECT 'tcp ' || remote_address || ' ' || remote_port || ' ' || local_address || ' '
	|| local_port, missing_bytes FROM gap;
CREATE INDEX gapped_tuple ON gapped (tuple);

-- Each process's payload, in all its talks: equal to the byte, less (some of
-- its packets have no owner), or more; gapped where the capture itself has not all
-- of it. Bytes of a shared descriptor can't tell.
CREATE TABLE process AS
WITH whole AS (
	SELECT min(u.kind) AS kind, u.pid, u.start_ticks, sum(u.sent) AS sent,
		sum(u.received) AS received, max(u.protocol = 'tcp') AS is_tcp,
		max(u.tuple IN (SELECT tuple FROM gapped)) AS gapped
	FROM used u JOIN end e USING (end_id)
	GROUP BY u.pid, u.start_ticks
	HAVING max(u.sharing = 'shared') = 0 AND max(u.sharing = 'kernel') = 0
		AND max(e.disturbed) = 0
), given AS (
	SELECT pid, start_ticks, sum(sent) AS sent, sum(received) AS received
	FROM judged WHERE pid IS NOT NULL GROUP BY pid, start_ticks
)
SELECT w.kind, w.pid, w.start_ticks, w.is_tcp,
	CASE
	WHEN w.gapped AND coalesce(g.sent, 0) <= w.sent AND coalesce(g.received, 0) <= w.received
	THEN 'gapped'
	WHEN coalesce(g.sent, 0) = w.sent AND coalesce(g.received, 0) = w.received THEN 'equal'
	WHEN coalesce(g.sent, 0) > w.sent OR coalesce(g.received, 0) > w.received THEN 'more'
	ELSE 'less'
	END AS payload
FROM whole w LEFT JOIN given g USING (pid, start_ticks);

-- Which one of several that share a socket took a datagram, or moved which bytes of
-- a stream at the same time, nobody outside the kernel knows; and what goes to a
-- group leaves without a word.
CREATE VIEW unknowable (kind) AS VALUES ('udpworkers bound'), ('udpzero4 client'),
	('udpzero6 client'), ('udppass client'), ('udphelper bound'), ('udpcast client'),
	('atonce client');

CREATE VIEW result AS
SELECT
	o.kind,
	count(*) AS ends,
	sum(o.verdict = 'found') AS found,
	sum(o.verdict = 'none') AS none,
	sum(o.verdict = 'wrong') AS wrong,
	round(100.0 * sum(o.verdict = 'found') / count(*), 2) AS recall_percent,
	sum(o.payload) AS payload_bytes,
	sum(o.right_bytes) AS right_bytes,
	sum(o.wrong_bytes) AS wrong_bytes,
	(SELECT count(*) FROM process p WHERE p.kind = o.kind) AS processes,
	(SELECT count(*) FROM process p WHERE p.kind = o.kind AND p.payload = 'equal') AS equal,
	(SELECT count(*) FROM process p WHERE p.kind = o.kind AND p.payload = 'less') AS less,
	(SELECT count(*) FROM process p WHERE p.kind = o.kind AND p.payload = 'more') AS more,
	(SELECT count(*) FROM process p WHERE p.kind = o.kind AND p.payload = 'gapped') AS gapped,
	coalesce((SELECT group_concat(reason || ' ' || number, ', ') FROM (
		SELECT reason, count(*) AS number FROM outcome q
		WHERE q.kind = o.kind AND q.verdict = 'none' GROUP BY reason ORDER BY reason)), '')
		AS none_by_reason
FROM outcome o
GROUP BY o.kind;

CREATE VIEW total AS
SELECT
	count(*) AS ends,
	sum(verdict = 'found') AS found,
	sum(verdict = 'none') AS none,
	sum(verdict = 'wrong') + (SELECT count(*) FROM stray) AS wrong,
	round(100.0 * sum(verdict = 'found') / count(*), 2) AS recall_percent,
	sum(payload) AS payload_bytes,
	sum(right_bytes) AS right_bytes,
	sum(wrong_bytes) AS wrong_bytes
FROM outcome WHERE sharing <> 'kernel' AND kind NOT IN (SELECT kind FROM unknowable)
	OR verdict = 'wrong';

-- TCP, of which gaps in the capture can be told. missing_bytes: of the capture, whoever's.
CREATE VIEW payload AS
SELECT
	(SELECT count(*) FROM process WHERE is_tcp AND payload <> 'gapped') AS processes,
	(SELECT count(*) FROM process WHERE is_tcp AND payload = 'equal') AS equal,
	(SELECT count(*) FROM process WHERE is_tcp AND payload = 'gapped') AS gapped,
	(SELECT coalesce(sum(missing_bytes), 0) FROM gap) AS missing_bytes;

-- How long the socket was used decides how hard it is to find.
CREATE VIEW by_life AS
SELECT
	CASE
	WHEN last_ns - first_ns < 1000000 THEN '1 under 1 ms'
	WHEN last_ns - first_ns < 10000000 THEN '2 under 10 ms'
	WHEN last_ns - first_ns < 100000000 THEN '3 under 100 ms'
	WHEN last_ns - first_ns < 1000000000 THEN '4 under 1 s'
	ELSE '5 longer'
	END AS life,
	count(*) AS ends,
	sum(verdict = 'found') AS found,
	sum(verdict = 'none') AS none,
	sum(verdict = 'wrong') AS wrong,
	round(100.0 * sum(verdict = 'found') / count(*), 2) AS recall_percent
FROM outcome WHERE sharing <> 'kernel' AND kind NOT IN (SELECT kind FROM unknowable)
GROUP BY life;

-- For the one who looks for the fault.
CREATE VIEW wrongs AS
SELECT j.kind, 'owner' AS what, j.connection_id, j.tuple, j.pid AS named_pid, j.rule,
	j.start_ns, j.end_ns, j.sent, j.received,
	(SELECT group_concat(u.pid || '@' || u.start_ticks || ' ' || u.first_ns || '..'
		|| u.last_ns || ' sent ' || u.sent || ' received ' || u.received, '; ')
		FROM used u WHERE u.end_id = j.end_id) AS truth
FROM judged j WHERE j.verdict = 'wrong'
	OR EXISTS (SELECT 1 FROM excess x WHERE x.end_id = j.end_id)
UNION ALL
SELECT '', 'stray', connection_id, tuple, pid, rule, start_ns, end_ns, sent, received, ''
FROM stray;
