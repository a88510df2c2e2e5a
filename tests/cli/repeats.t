#!/bin/bash
# A packet that several interfaces saw is counted once: a bridge with two cables,
# all captured at once; the other sightings are kept on the conversation.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO" "$PCAPWHO_RECORD"
need_command ip ss socat tcpdump tshark capinfos sqlite3
own_network

# LEFT -- bridge of this host -- RIGHT; the bridge has an address, so that
# programs of this host talk over it too.
netns_add LEFT
netns_add RIGHT
ip link add bridge type bridge || skip_all "needs bridges"
veth_add "" left0 "" "$LEFT" left1 "192.0.2.1/24 2001:db8::1/64"
veth_add "" right0 "" "$RIGHT" right1 "192.0.2.2/24 2001:db8::2/64"
ip link set left0 master bridge
ip link set right0 master bridge
link_up "" bridge "192.0.2.3/24 2001:db8::3/64"

head -c 3000000 /dev/urandom >"$TMP/file"
sql() { sqlite3 -readonly -batch "$TMP/traffic.db" "$@"; }
frames() { zcat "$TMP"/evidence/*.snap.gz.part 2>/dev/null | grep -c "^end"; }
more_frames() { [ "$(frames)" -ge "$1" ]; }

spawn RECORDER "$PCAPWHO_RECORD" -q -o "$TMP/evidence" --interval 100ms --cpu-budget 50% -B 64 2>"$TMP/record.err"
wait_until 20 more_frames 1 || bail "no recording: $(<"$TMP/record.err")"
spawn PEER in_netns "$RIGHT" tcpdump -i right1 --immediate-mode -s 200 -w "$TMP/right.pcap" 2>"$TMP/tcpdump.err"
wait_until 20 grep -q "listening on" "$TMP/tcpdump.err"
spawn SERVER in_netns "$RIGHT" socat -u TCP6-LISTEN:8080,reuseaddr,fork OPEN:/dev/null
spawn DATAGRAMS in_netns "$RIGHT" socat -u UDP6-RECV:8081 OPEN:/dev/null
wait_until 20 listening 8080 "$RIGHT"
wait_until 20 listening 8081 "$RIGHT"
for to in TCP4:192.0.2.2:8080 "TCP6:[2001:db8::2]:8080"; do
	in_netns "$LEFT" socat -u "OPEN:$TMP/file" "$to" || diag "no transfer to $to"
	socat -u "OPEN:$TMP/file" "$to" || diag "no transfer of our own to $to"
done
for to in UDP4:192.0.2.2:8081 "UDP6:[2001:db8::2]:8081"; do
	for ((i = 0; i < 20; i++)); do echo "the same words"; done | socat -u - "$to" || diag "no datagrams to $to"
done
wait_until 20 more_frames $(($(frames) + 2))
end_group "$PEER"
kill -TERM "$RECORDER"
wait "$RECORDER"

run "$PCAPWHO" analyze -q "$TMP/evidence" -o "$TMP/traffic.db"
is "$status" 0 "it loads"
is "$(sql "SELECT sum(difference <> 0) FROM accounting")" 0 "every packet is accounted for"
is "$(sql "SELECT packets FROM accounting WHERE scope = 'total'")" \
	"$(capinfos -Mrc "$TMP"/evidence/*.pcap | awk '{sum += $NF} END {print sum}')" "those of the capture"
is "$(sql "SELECT min(repeat_packets) > 0 FROM flow WHERE protocol IN ('tcp', 'udp') AND resp_port IN (8080, 8081)")" 1 \
	"each conversation has been seen more than once"
# The capture at the far end of one cable has each packet once. A processor that
# is taken away between two interfaces may make a sighting too late to be known for
# a repeat: then it is counted, so the count may be above and never below. With each
# sighting counted it would be twice or three times as much.
near() { # GOT WANTED NAME
	[ "$1" -ge "$2" ] && [ $((($1 - $2) * 4)) -le "$2" ]
	result $? "$3" || diag "     got: $1, wanted: $2 or up to a quarter more"
}
counted() { sql "SELECT $1 FROM flow WHERE protocol = '$2' AND resp_port IN (8080, 8081)"; }
wire() { tshark -r "$TMP/right.pcap" -Y "$1" -T fields -e "$2" 2>/dev/null | awk "$3"; }
near "$(counted "sum(orig_packets + resp_packets)" tcp)" "$(wire tcp.port==8080 tcp.len 'END {print NR}')" \
	"as many segments as one interface saw"
near "$(counted "sum(orig_payload_bytes + resp_payload_bytes)" tcp)" \
	"$(wire tcp.port==8080 tcp.len '{bytes += $1} END {print bytes}')" "and as many bytes"
near "$(counted "sum(orig_packets + resp_packets)" udp)" "$(wire udp.port==8081 udp.length 'END {print NR}')" \
	"datagrams too"
# What TCP sent again is on the wire again.
of_ours="c.protocol = 'tcp' AND c.remote_port = 8080 AND c.direction = 'outbound' AND c.process = 'socat'
	AND c.local_address IN ('192.0.2.3', '2001:db8::3')"
wire_ours="tcp.dstport==8080 && (ip.src==192.0.2.3 || ipv6.src==2001:db8::3)"
near "$(sql "SELECT sum(sent_payload_bytes) FROM connections c WHERE $of_ours")" \
	"$(wire "$wire_ours" tcp.len '{bytes += $1} END {print bytes}')" "a program of this host sent each byte once"
in_buckets() { sql "SELECT sum(t.sent_bytes) FROM traffic t JOIN connections c USING (connection_id) $1"; }
four=$(wire "$wire_ours && ip" ip.len '{bytes += $1} END {print bytes}')
six=$(wire "$wire_ours && ipv6" ipv6.plen '{bytes += $1 + 40} END {print bytes}')
near "$(in_buckets "WHERE $of_ours")" $((four + six)) "in the buckets of time as well"
is "$(in_buckets "")" "$(sql "SELECT sum(sent_bytes) FROM connections")" "the buckets are all that was sent"
done_testing
