-- Notes what is written that a row of kernel_end depends on. Of sockets only those that
-- closed: the others count nothing yet, and whoever has a listening one has it together with
-- very many. What is noted already is looked for: the policy of the statement that fires a
-- trigger on conflicts holds in that too, whatever it says itself.
CREATE TEMP TRIGGER watch_flow_insert AFTER INSERT ON main.flow BEGIN
	INSERT INTO checked_flow
		SELECT NEW.flow_id WHERE NEW.flow_id NOT IN (SELECT flow_id FROM checked_flow);
END;
CREATE TEMP TRIGGER watch_flow_update AFTER UPDATE ON main.flow
WHEN OLD.history IS NOT NEW.history OR OLD.recording_id IS NOT NEW.recording_id BEGIN
	INSERT INTO checked_flow
		SELECT NEW.flow_id WHERE NEW.flow_id NOT IN (SELECT flow_id FROM checked_flow);
END;
CREATE TEMP TRIGGER watch_connection_insert AFTER INSERT ON main.connection BEGIN
	INSERT INTO checked_flow
		SELECT NEW.flow_id WHERE NEW.flow_id NOT IN (SELECT flow_id FROM checked_flow);
	INSERT INTO checked_socket
		SELECT socket_id FROM socket WHERE socket_id = NEW.socket_id
			AND closed_ns IS NOT NULL AND protocol = 'tcp' AND remote_port IS NOT NULL
			AND socket_id NOT IN (SELECT socket_id FROM checked_socket);
END;
CREATE TEMP TRIGGER watch_connection_delete AFTER DELETE ON main.connection BEGIN
	INSERT INTO checked_flow
		SELECT OLD.flow_id WHERE OLD.flow_id NOT IN (SELECT flow_id FROM checked_flow);
	INSERT INTO checked_socket
		SELECT socket_id FROM socket WHERE socket_id = OLD.socket_id
			AND closed_ns IS NOT NULL AND protocol = 'tcp' AND remote_port IS NOT NULL
			AND socket_id NOT IN (SELECT socket_id FROM checked_socket);
END;
CREATE TEMP TRIGGER watch_connection_update AFTER UPDATE ON main.connection BEGIN
	INSERT INTO checked_flow
		SELECT flow_id FROM flow WHERE flow_id IN (OLD.flow_id, NEW.flow_id)
			AND flow_id NOT IN (SELECT flow_id FROM checked_flow);
	INSERT INTO checked_socket
		SELECT socket_id FROM socket WHERE socket_id IN (OLD.socket_id, NEW.socket_id)
			AND closed_ns IS NOT NULL AND protocol = 'tcp' AND remote_port IS NOT NULL
			AND socket_id NOT IN (SELECT socket_id FROM checked_socket);
END;
CREATE TEMP TRIGGER watch_socket_insert AFTER INSERT ON main.socket
WHEN NEW.closed_ns IS NOT NULL AND NEW.protocol = 'tcp' AND NEW.remote_port IS NOT NULL BEGIN
	INSERT INTO checked_socket
		SELECT NEW.socket_id WHERE NEW.socket_id NOT IN (SELECT socket_id FROM checked_socket);
END;
CREATE TEMP TRIGGER watch_socket_update AFTER UPDATE ON main.socket
WHEN (OLD.closed_ns IS NOT NULL AND OLD.protocol = 'tcp' AND OLD.remote_port IS NOT NULL)
	OR (NEW.closed_ns IS NOT NULL AND NEW.protocol = 'tcp' AND NEW.remote_port IS NOT NULL) BEGIN
	INSERT INTO checked_socket
		SELECT NEW.socket_id WHERE NEW.socket_id NOT IN (SELECT socket_id FROM checked_socket);
END;
CREATE TEMP TRIGGER watch_recording_update AFTER UPDATE ON main.recording
WHEN OLD.kernel IS NOT NEW.kernel OR OLD.filter IS NOT NEW.filter BEGIN
	INSERT INTO checked_flow
		SELECT DISTINCT flow_id FROM kernel_end WHERE recording_id = NEW.recording_id
			AND flow_id NOT IN (SELECT flow_id FROM checked_flow);
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
