-- What the loader needs for table kernel_end, beside the database: which flows are to be
-- held against the kernel's count anew, and what it knows on the way there.
CREATE TEMP TABLE checked_flow (flow_id INTEGER PRIMARY KEY);
CREATE TEMP TABLE checked_socket (socket_id INTEGER PRIMARY KEY);
-- Whether packets are missing may have changed from begin_ns on, and where a segment is said
-- to be missing from the end of those before it on.
CREATE TEMP TABLE changed_hole (recording_id, number, begin_ns);

-- By flow and end.
CREATE TEMP TABLE counted (
	flow_id, "end", recording_id, closed_ns, acked, received, sent, retransmitted, is_spread,
	PRIMARY KEY (flow_id, "end")
) WITHOUT ROWID;
CREATE TEMP TABLE weighed (
	flow_id, "end", recording_id, connection_id, start_ns, end_ns, closed_ns, sent_payload_bytes,
	sent_difference, received_payload_bytes, received_difference, retransmitted_bytes,
	peer_retransmitted_bytes, is_filtered, sent_verdict, sent_verdict_whole, received_verdict,
	received_verdict_whole,
	PRIMARY KEY (flow_id, "end")
) WITHOUT ROWID;

-- Times of which packets are missing or were not put into flows, as far as they end when
-- the first end began that has no verdict yet, or later. begin_ns is the least one of all
-- that end there or later, so that one row tells whether any meets a stretch of time.
CREATE TEMP TABLE hole (
	recording_id, kind, end_ns, begin_ns,
	PRIMARY KEY (recording_id, kind, end_ns)
) WITHOUT ROWID;
