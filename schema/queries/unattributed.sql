-- What has no owner, by reason
-- Connections, packets and bytes without an owner and their share of all.
-- human: bytes
SELECT reason, connections, packets, bytes, packets_percent, bytes_percent, meaning
FROM unattributed
ORDER BY bytes DESC, reason
LIMIT coalesce(:limit, -1)
