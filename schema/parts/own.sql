, own AS MATERIALIZED (
	-- The processes of the one host of several that is asked for.
	SELECT process_id
	FROM process
	WHERE NOT (SELECT is_whole FROM scope) AND recording_id IN host
)
