-- Created after the rows of a new database; later loads keep them up to date.
CREATE INDEX snapshot_segment ON snapshot (segment_id, sequence);
CREATE INDEX process_pid ON process (pid);
CREATE INDEX socket_inode ON socket (inode);
CREATE INDEX holder_socket ON holder (socket_id);
CREATE INDEX holder_process ON holder (process_id);
CREATE INDEX flow_community ON flow (community_id);
CREATE INDEX tunnel_flow ON tunnel (flow_id);
CREATE INDEX tunnel_community ON tunnel (community_id);
CREATE INDEX connection_flow ON connection (flow_id);
CREATE INDEX connection_process ON connection (process_id);
-- A window in time: what ended after its begin, and of these what started before its end.
CREATE INDEX connection_time ON connection (end_ns, start_ns);
CREATE INDEX candidate_process ON candidate (process_id);
CREATE INDEX traffic_bucket ON traffic (bucket);
CREATE INDEX coverage_segment ON coverage (segment_id);
