-- Every packet accounted for
-- Packets of each pcap against those put into flows and those that are no flow's;
-- the last row holds all of them against the flows themselves. The difference is zero.
SELECT scope, segment_id, packets, flow_packets, other_packets, difference, pcap_name
FROM accounting
ORDER BY segment_id IS NULL, segment_id
