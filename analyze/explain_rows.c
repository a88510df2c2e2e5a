#include "analyze/explain_rows.h"

const char explain_segment_sql[] =
	"SELECT segment_id, recording_id, packets FROM segment\n"
	"WHERE pcap_name IN (?1, ?1 || '.gz') OR pcap_name || '.gz' = ?1";

/* Those of its boot. In a merged database it may be there twice, of parts that were analyzed
 * apart, and neither knew what the other had. */
const char explain_recordings_sql[] =
	"SELECT r.recording_id, r.recording_uuid FROM recording mine JOIN recording r\n"
	"ON r.recording_id = mine.recording_id\n"
	" OR (r.boot_id = mine.boot_id AND r.recording_uuid <> mine.recording_uuid)\n"
	"WHERE mine.recording_id = ?1";

/* Those of its packets, the next one (a new connection on the tuple may begin
 * there), those of its frames, and those that first saw who is named. */
const char explain_segments_sql[] =
	"WITH RECURSIVE\n"
	" f AS (SELECT flow_id, recording_id, segment_id, start_ns, end_ns\n"
	"  FROM flow WHERE flow_id = ?1),\n"
	" boot AS (SELECT r.recording_id FROM f JOIN recording mine USING (recording_id)\n"
	"  JOIN recording r ON r.recording_id = mine.recording_id OR r.boot_id = mine.boot_id),\n"
	" c AS (SELECT * FROM connection WHERE flow_id = ?1),\n"
	" people(process_id) AS (SELECT process_id FROM c WHERE process_id IS NOT NULL\n"
	"  UNION SELECT k.process_id FROM candidate k JOIN c USING (connection_id)\n"
	"  UNION SELECT p.parent_process_id FROM people JOIN process p USING (process_id)\n"
	"   WHERE p.parent_process_id IS NOT NULL),\n"
	" times(t) AS (SELECT first_seen_ns FROM process JOIN people USING (process_id)\n"
	"  UNION SELECT s.first_seen_ns FROM socket s JOIN c USING (socket_id)\n"
	"  UNION SELECT h.first_seen_ns FROM holder h JOIN c USING (socket_id)),\n"
	" own(segment_id) AS (SELECT s.segment_id FROM segment s, f\n"
	"  WHERE s.segment_id = f.segment_id OR (s.recording_id = f.recording_id\n"
	"   AND s.last_packet_ns >= f.start_ns AND s.first_packet_ns <= f.end_ns)\n"
	"  UNION SELECT ?2 WHERE ?2 <> 0),\n"
	" all_of(segment_id) AS (SELECT segment_id FROM own\n"
	"  UNION SELECT min(s.segment_id) FROM segment s, f\n"
	"   WHERE s.recording_id = f.recording_id AND s.segment_id >\n"
	"    (SELECT max(segment_id) FROM own)\n"
	"  UNION SELECT n.segment_id FROM c JOIN snapshot n USING (snapshot_id)\n"
	"  UNION SELECT n.segment_id FROM snapshot n JOIN segment s USING (segment_id)\n"
	"   WHERE n.begin_ns IN (SELECT t FROM times)\n"
	"    AND s.recording_id IN (SELECT recording_id FROM boot))\n"
	"SELECT segment_id AS _segment_id, segment_id IN (SELECT segment_id FROM own) AS "
	"_of_flow,\n"
	" pcap_name, snap_name, pcap_sha256, snap_sha256\n"
	"FROM segment WHERE segment_id IN (SELECT segment_id FROM all_of) ORDER BY segment_id";

/* A capture may have been compressed since. */
#define PLAIN_NAME(segment)                                                                        \
	"CASE WHEN " segment ".pcap_name LIKE '%.gz'\n"                                            \
	"  THEN substr(" segment ".pcap_name, 1, length(" segment ".pcap_name) - 3)\n"             \
	"  ELSE " segment ".pcap_name END"

const char explain_flow_sql[] =
	"SELECT flow_id AS _flow_id, f.recording_id AS _recording_id, segment_id AS _segment_id,\n"
	" pcap_name AS _pcap_name,\n"
	" " PLAIN_NAME("s") " AS file,\n"
			    " first_packet_number, first_packet_offset, protocol, ip_version, "
			    "orig_address, "
			    "orig_port,\n"
			    " resp_address, resp_port, icmp_id, start_ns, end_ns, orig_packets, "
			    "orig_bytes,\n"
			    " orig_payload_bytes, resp_packets, resp_bytes, resp_payload_bytes, "
			    "repeat_packets,\n"
			    " conn_state, history, community_id, ifindex, vlan, inner_vlan,\n"
			    " carries, carried_packets, carried_other_packets, "
			    "carried_unreadable_packets\n"
			    "FROM flow f LEFT JOIN segment s USING (segment_id) WHERE flow_id = ?1";

const char explain_flow_by_packet_sql[] =
	"SELECT flow_id FROM flow JOIN segment USING (segment_id)\n"
	"WHERE pcap_name IN (?1, ?1 || '.gz') AND first_packet_number = ?2";

const char explain_flow_of_packet_sql[] =
	"SELECT flow_id FROM flow\n"
	"WHERE recording_id = ?1 AND start_ns <= ?2 AND end_ns >= ?2\n"
	" AND community_id IN (?3, ?4) AND protocol = ?5\n"
	" AND ((orig_address = ?6 AND resp_address = ?7 AND orig_port = ?8 AND resp_port = ?9)\n"
	"  OR (orig_address = ?7 AND resp_address = ?6 AND orig_port = ?9 AND resp_port = ?8))\n"
	"ORDER BY start_ns DESC";

/* A flow is known by the packet that it begins with, an owner by its pid. */
#define PACKET_COLUMNS                                                                             \
	"SELECT p.connection_id AS _connection_id, p.number, p.offset_bytes, p.time_ns, "          \
	"p.bytes,\n"                                                                               \
	" p.direction, rule.rule, reason.reason, c.\"end\", who.pid AS owner_pid,\n"               \
	" who.start_ticks AS owner_start_ticks, " PLAIN_NAME(                                      \
		"begun") " AS flow_file,\n"                                                        \
			 " f.first_packet_number AS flow_first_packet\n"                           \
			 "FROM packet p LEFT JOIN connection c USING (connection_id)\n"            \
			 "LEFT JOIN process who USING (process_id)\n"                              \
			 "LEFT JOIN flow f ON f.flow_id = p.flow_id\n"                             \
			 "LEFT JOIN segment begun ON begun.segment_id = f.segment_id\n"            \
			 "LEFT JOIN rule USING (rule_code) LEFT JOIN reason USING (reason_code)\n"

const char explain_packet_sql[] = PACKET_COLUMNS "WHERE p.segment_id = ?1 AND p.number = ?2";

const char explain_packet_anew_sql[] =
	PACKET_COLUMNS "JOIN segment s ON s.segment_id = p.segment_id\n"
		       "WHERE s.pcap_name IN (?3, ?3 || '.gz') AND p.number = ?2";

const char explain_connection_sql[] =
	"SELECT c.connection_id AS _connection_id, c.process_id AS _process_id,\n"
	" c.socket_id AS _socket_id, c.snapshot_id AS _snapshot_id,\n"
	" coalesce((SELECT meaning FROM rule WHERE rule.rule = c.rule),\n"
	"  (SELECT meaning FROM reason WHERE reason.reason = c.reason)) AS _meaning,\n"
	" n.sequence AS _sequence, p.pid AS _pid, p.start_ticks AS _start_ticks, p.comm AS _comm,\n"
	" \"end\", rule, reason, exact_packets, ahead_packets, behind_packets, bound_packets,\n"
	" wildcard_packets, listener_packets, quoted_packets, shared_by, distance_ns, c.start_ns,\n"
	" c.end_ns, sent_packets, sent_bytes, sent_payload_bytes, received_packets,\n"
	" received_bytes, received_payload_bytes\n"
	"FROM connection c LEFT JOIN process p USING (process_id)\n"
	"LEFT JOIN snapshot n USING (snapshot_id)\n"
	"WHERE c.flow_id = ?1 ORDER BY c.\"end\", c.connection_id";

const char explain_frame_sql[] =
	"SELECT s.snap_name AS file, n.sequence, n.kind, n.cause, n.begin_ns, n.end_ns, n.line\n"
	"FROM snapshot n JOIN segment s USING (segment_id) WHERE snapshot_id = ?1";

const char explain_socket_sql[] =
	"SELECT net_namespace, protocol, family, local_address, local_port, remote_address,\n"
	" remote_port, inode, uid, first_seen_ns\n"
	"FROM socket WHERE socket_id = ?1";

const char explain_holder_sql[] =
	"SELECT p.pid, p.start_ticks, h.fd, h.first_seen_ns\n"
	"FROM holder h JOIN process p USING (process_id)\n"
	"JOIN process owner ON owner.process_id = ?2\n"
	"WHERE h.socket_id = ?1 AND p.pid = owner.pid AND p.start_ticks IS owner.start_ticks\n"
	"ORDER BY h.fd, h.first_seen_ns";

/* The segments that saw the processes of a set first. Gathered once, as nothing finds a frame by
 * its time but a walk over all. */
#define FIRST_SEEN_IN(people)                                                                      \
	" seen(recording_id, first_seen_ns, _segment_id) AS MATERIALIZED (\n"                      \
	"  SELECT segment.recording_id, n.begin_ns, min(segment_id)\n"                             \
	"  FROM snapshot n JOIN segment USING (segment_id) WHERE n.begin_ns IN\n"                  \
	"   (SELECT first_seen_ns FROM " people " JOIN process USING (process_id))\n"              \
	"  GROUP BY 1, 2)\n"

/* UNION, so that parents in a circle, which no kernel has, come to an end. */
const char explain_process_sql[] =
	"WITH RECURSIVE line(process_id) AS MATERIALIZED (SELECT ?1\n"
	" UNION SELECT p.parent_process_id FROM line JOIN process p USING (process_id)\n"
	"  WHERE p.parent_process_id IS NOT NULL),\n" FIRST_SEEN_IN(
		"line") "SELECT p.pid, p.start_ticks, p.uid, p.comm, p.exe, p.cmdline, "
			"p.first_seen_ns, _segment_id\n"
			"FROM line CROSS JOIN process p USING (process_id)\n"
			"LEFT JOIN seen USING (recording_id, first_seen_ns)";

const char explain_candidate_sql[] =
	"WITH several(process_id, socket_id) AS MATERIALIZED (\n"
	"  SELECT process_id, socket_id FROM candidate WHERE connection_id = ?1),\n" FIRST_SEEN_IN(
		"several") "SELECT p.pid, p.start_ticks, p.uid, p.comm, p.exe, p.cmdline, "
			   "p.first_seen_ns,\n"
			   " s.inode, _segment_id\n"
			   "FROM several k JOIN process p USING (process_id)\n"
			   "LEFT JOIN socket s USING (socket_id)\n"
			   "LEFT JOIN seen ON seen.recording_id = p.recording_id\n"
			   " AND seen.first_seen_ns = p.first_seen_ns\n"
			   "ORDER BY p.pid, p.start_ticks, p.first_seen_ns, s.inode";

const char explain_other_sql[] =
	"SELECT o.reason, o.packets, o.bytes FROM other o JOIN segment s USING (segment_id)\n"
	"WHERE (s.segment_id = ?1 OR (?1 = 0 AND s.pcap_name IN (?3, ?3 || '.gz')))\n"
	" AND (?2 IS NULL OR o.reason = ?2) ORDER BY o.reason";
