-- Notes what is written that a row of kernel_end depends on. Of sockets only those that
-- closed: the others count nothing yet, and whoever has a listening one has it together with
-- very many.
CREATE TEMP TRIGGER watch_flow_insert AFTER INSERT ON main.flow BEGIN
	INSERT OR IGNORE INTO checked_flow VALUES (NEW.flow_id);
END;
CREATE TEMP TRIGGER watch_flow_update AFTER UPDATE ON main.flow
WHEN OLD.history IS NOT NEW.history OR OLD.recording_id IS NOT NEW.recording_id BEGIN
	INSERT OR IGNORE INTO checked_flow VALUES (NEW.flow_id);
END;
CREATE TEMP TRIGGER watch_connection_insert AFTER INSERT ON main.connection BEGIN
	INSERT OR IGNORE INTO checked_flow VALUES (NEW.flow_id);
	INSERT OR IGNORE INTO checked_socket
		SELECT socket_id FROM socket WHERE socket_id = NEW.socket_id
			AND closed_ns IS NOT NULL AND protocol = 'tcp' AND remote_port IS NOT NULL;
END;
CREATE TEMP TRIGGER watch_connection_delete AFTER DELETE ON main.connection BEGIN
	INSERT OR IGNORE INTO checked_flow VALUES (OLD.flow_id);
	INSERT OR IGNORE INTO checked_socket
		SELECT socket_id FROM socket WHERE socket_id = OLD.socket_id
			AND closed_ns IS NOT NULL AND protocol = 'tcp' AND remote_port IS NOT NULL;
END;
CREATE TEMP TRIGGER watch_connection_update AFTER UPDATE ON main.connection BEGIN
	INSERT OR IGNORE INTO checked_flow VALUES (OLD.flow_id), (NEW.flow_id);
	INSERT OR IGNORE INTO checked_socket
		SELECT socket_id FROM socket WHERE socket_id IN (OLD.socket_id, NEW.socket_id)
			AND closed_ns IS NOT NULL AND protocol = 'tcp' AND remote_port IS NOT NULL;
END;
CREATE TEMP TRIGGER watch_socket_insert AFTER INSERT ON main.socket
WHEN NEW.closed_ns IS NOT NULL AND NEW.protocol = 'tcp' AND NEW.remote_port IS NOT NULL BEGIN
	INSERT OR IGNORE INTO checked_socket VALUES (NEW.socket_id);
END;
CREATE TEMP TRIGGER watch_socket_update AFTER UPDATE ON main.socket
WHEN (OLD.closed_ns IS NOT NULL AND OLD.protocol = 'tcp' AND OLD.remote_port IS NOT NULL)
	OR (NEW.closed_ns IS NOT NULL AND NEW.protocol = 'tcp' AND NEW.remote_port IS NOT NULL) BEGIN
	INSERT OR IGNORE INTO checked_socket VALUES (NEW.socket_id);
END;
CREATE TEMP TRIGGER watch_recording_update AFTER UPDATE ON main.recording
WHEN OLD.kernel IS NOT NEW.kernel OR OLD.filter IS NOT NEW.filter BEGIN
	INSERT OR IGNORE INTO checked_flow
		SELECT flow_id FROM kernel_end WHERE recording_id = NEW.recording_id;
END;
-- What a segment that is not whole lacks lies after its first packet; where the one before
-- ends, what is missing ends with the first packet of the next.
CREATE TEMP TRIGGER watch_segment_insert AFTER INSERT ON main.segment BEGIN
	INSERT INTO changed_hole VALUES (NEW.recording_id, NEW.number,
		coalesce(NEW.first_packet_ns, iif(NEW.state <> 'whole', 0, NULL)));
END;
CREATE TEMP TRIGGER watch_segment_update AFTER UPDATE ON main.segment BEGIN
	INSERT INTO changed_hole VALUES
		(OLD.recording_id, OLD.number,
			coalesce(OLD.first_packet_ns, iif(OLD.state <> 'whole', 0, NULL))),
		(NEW.recording_id, NEW.number,
			coalesce(NEW.first_packet_ns, iif(NEW.state <> 'whole', 0, NULL)));
END;
CREATE TEMP TRIGGER watch_coverage_insert AFTER INSERT ON main.coverage
WHEN NEW.kind IN ('dropped', 'missing') BEGIN
	INSERT INTO changed_hole
		SELECT recording_id, number, first_packet_ns FROM segment
		WHERE segment_id = NEW.segment_id AND NEW.kind = 'missing'
		UNION ALL
		SELECT NULL, NULL, NEW.begin_ns WHERE NEW.kind = 'dropped';
END;
CREATE TEMP TRIGGER watch_other_insert AFTER INSERT ON main.other BEGIN
	INSERT INTO changed_hole
		SELECT NULL, NULL, first_packet_ns FROM segment WHERE segment_id = NEW.segment_id;
END;
