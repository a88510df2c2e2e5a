-- Created after the rows of a new database; later loads keep them up to date.
-- What comes before and after a segment.
CREATE INDEX segment_number ON segment (recording_id, number, first_packet_ns, last_packet_ns);
CREATE INDEX snapshot_segment ON snapshot (segment_id, sequence);
CREATE INDEX process_pid ON process (pid);
CREATE INDEX socket_inode ON socket (inode);
CREATE INDEX socket_listening ON socket (protocol, local_port) WHERE (protocol = 'tcp' AND state = 10)
	OR (protocol IN ('udp', 'udplite', 'sctp') AND remote_address IS NULL);
CREATE INDEX holder_socket ON holder (socket_id);
CREATE INDEX holder_process ON holder (process_id);
CREATE INDEX flow_community ON flow (community_id);
CREATE INDEX tunnel_flow ON tunnel (flow_id);
CREATE INDEX tunnel_community ON tunnel (community_id);
CREATE INDEX connection_flow ON connection (flow_id);
-- What queries by process need of each connection, all of it, in the order of their groups.
CREATE INDEX connection_process ON connection (process_id, remote_address, start_ns, end_ns,
	sent_bytes, received_bytes, sent_packets, received_packets, exact_packets, ahead_packets,
	behind_packets, bound_packets, wildcard_packets, listener_packets, quoted_packets);
CREATE INDEX connection_reason ON connection (reason, sent_packets, received_packets, sent_bytes,
	received_bytes) WHERE reason IS NOT NULL;
-- In the order in which they are listed.
CREATE INDEX connection_start ON connection (start_ns, connection_id, end_ns, process_id);
-- A window in time: what ended after its begin, and of these what started before its end.
CREATE INDEX connection_time ON connection (end_ns, start_ns);
-- The flows of one socket.
CREATE INDEX connection_socket ON connection (socket_id, flow_id);
CREATE INDEX candidate_process ON candidate (process_id);
CREATE INDEX process_period_time ON process_period (buckets, period, process_id);
CREATE INDEX coverage_segment ON coverage (segment_id);
CREATE INDEX coverage_dropped ON coverage (recording_id, end_ns, begin_ns, "count")
	WHERE kind = 'dropped';
CREATE INDEX coverage_missing ON coverage (segment_id) WHERE kind = 'missing';
-- What a hole in the capture may explain.
CREATE INDEX kernel_end_missing ON kernel_end (max(end_ns, closed_ns))
	WHERE (sent_difference >= 0 AND received_difference >= 0) IS NOT TRUE;
