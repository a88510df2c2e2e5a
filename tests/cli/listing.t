#!/bin/bash
# A /proc/net/tcp and an ls -l /proc/2143/fd as they were published in 2014, and
# packets of one of the connections in them: who sent these packets?
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl sqlite3

LISTING=$ROOT/tests/data/listing-2014
TIME=2014-11-19T12:52:00Z
T=1416401520000000000
OURS="192.168.7.151 57268" THEIRS="117.79.93.221 80" # inode 5248222

# The same by hand, with no program of ours: inodes of the table, and of these
# the ones that the listing of 2143's descriptors has.
awk 'NR > 1 {print $10}' "$LISTING/proc-net-tcp.txt" | sort >"$TMP/sockets"
sed -n 's/.*socket:\[\([0-9]*\)\].*/\1/p' "$LISTING/proc-2143-fd.txt" | sort >"$TMP/open"
comm -12 "$TMP/sockets" "$TMP/open" >"$TMP/held"
comm -23 "$TMP/sockets" "$TMP/open" >"$TMP/not-held"
is "$(wc -l <"$TMP/sockets") $(wc -l <"$TMP/held") $(wc -l <"$TMP/not-held")" "27 22 5" \
	"by hand: of 27 sockets 22 are open in 2143, five are not"

make_pcap() { perl "$ROOT/tests/make_pcap.pl" ether; }
sql() { sqlite3 -readonly -batch "$TMP/traffic.db" "$@"; }

# Around the time of the copies: the connection that is asked for, from its first
# packet to its last, a connection that no process listed holds (CLOSE_WAIT), one
# that nobody has (the same far end, another port), and one that a listener took
# which nobody listed holds.
make_pcap >"$TMP/capture.pcap" <<EOT
$((T - 2000000000)) tcp $OURS $THEIRS S 100 0 0
$((T - 1990000000)) tcp $THEIRS $OURS SA 900 101 0
$((T - 1980000000)) tcp $OURS $THEIRS A 101 901 0
$((T - 1970000000)) tcp $OURS $THEIRS PA 101 901 300
$((T + 10000000)) tcp $THEIRS $OURS PA 901 401 1400
$((T + 20000000)) tcp $THEIRS $OURS PA 2301 401 1000
$((T + 30000000)) tcp $OURS $THEIRS A 401 3301 0
$((T + 40000000)) tcp 192.168.7.151 60158 192.168.8.223 80 A 5 6 0
$((T + 50000000)) tcp 192.168.7.151 57999 $THEIRS S 5 0 0
$((T + 50500000)) tcp $THEIRS 192.168.7.151 57999 RA 0 6 0
$((T + 60000000)) tcp 127.0.0.1 40001 127.0.0.1 631 S 5 0 0
$((T + 60500000)) tcp 127.0.0.1 631 127.0.0.1 40001 SA 9 6 0
EOT

run "$PCAPWHO" import --time "$TIME" --tcp "$LISTING/proc-net-tcp.txt" \
	--fds "$LISTING/proc-2143-fd.txt" --pcap "$TMP/capture.pcap" -o "$TMP/evidence"
is "$status" 0 "import" || diag "$err"
run "$PCAPWHO" analyze "$TMP/evidence" -o "$TMP/traffic.db"
is "$status" 0 "analyze" || diag "$err"
like "$err" "12 packets of 1 segment in 4 flows" "takes in all packets"

# ---- the sockets ----
is "$(sql "SELECT count(*) FROM socket")" 27 "27 sockets"
is "$(sql "SELECT DISTINCT inode FROM socket JOIN holder USING (socket_id) JOIN process USING (process_id)
	WHERE pid = 2143" | sort)" "$(<"$TMP/held")" "22 are held by 2143, the same as by hand"
is "$(sql "SELECT count(*) FROM holder JOIN process USING (process_id) WHERE pid <> 2143")" 0 \
	"none by any other process"
is "$(sql "SELECT s.inode FROM socket s WHERE NOT EXISTS (SELECT 1 FROM holder h
	WHERE h.socket_id = s.socket_id)" | sort)" "$(<"$TMP/not-held")" "the other five by nobody"
is "$(sql "SELECT local_address, local_port, remote_address, remote_port, pid, fd FROM socket
	JOIN holder USING (socket_id) JOIN process USING (process_id) WHERE inode = 5248222")" \
	"192.168.7.151|57268|117.79.93.221|80|2143|90" "inode 5248222 is that connection, descriptor 90 of 2143"
is "$(sql "SELECT start_ns, comm, exe, cmdline, uid FROM process")" "||||" \
	"what the listings do not say of the process stays unknown"

# ---- the packets ----
is "$(sql "SELECT pid, local_port, remote_address, sent_packets, received_packets,
	sent_payload_bytes, received_payload_bytes, reason FROM connections
	WHERE local_port = 57268")" "2143|57268|117.79.93.221|4|3|300|2400|" \
	"the packets of that connection are those of 2143, before and after the copies too"
is "$(sql "SELECT ahead_packets + exact_packets + behind_packets, inode FROM connection
	JOIN socket USING (socket_id) WHERE process_id IS NOT NULL")" "7|5248222" "all of them, by its inode"
is "$(sql "SELECT count(*) FROM connections WHERE pid IS NOT NULL")" 1 "no other packet is given an owner"
is "$(sql "SELECT pid, reason FROM connections WHERE local_port = 60158")" "|unreadable" \
	"a socket that no process listed holds: the others were not read"
is "$(sql "SELECT inode FROM connection JOIN socket USING (socket_id) WHERE reason = 'unreadable'
	AND inode = 2102209")" 2102209 "and it is named by its inode"
like "$(sql "SELECT pid, reason FROM connections WHERE local_port = 57999")" "^\|(gap|no-socket|before-start)$" \
	"a port that no socket had: no owner, and a reason"
like "$(sql "SELECT pid, reason FROM connections WHERE local_port = 631")" "^\|(unreadable|gap)$" \
	"the listener that took a connection: no owner, and a reason"
is "$(sql "SELECT sum(difference <> 0) FROM accounting")" 0 "every packet is accounted for"
is "$(sql "SELECT count(*) FROM connection WHERE process_id IS NULL AND reason IS NULL")" 0 \
	"nothing is without owner and without reason"

# ---- the five sockets, each with a reason ----
if [ "$(sql "SELECT count(*) FROM sqlite_schema WHERE type = 'view' AND name = 'sockets'")" = 1 ]; then
	is "$(sql "SELECT count(*), count(DISTINCT inode) FROM sockets WHERE pid IS NULL AND reason IS NOT NULL")" \
		"5|5" "view sockets: five without owner, with a reason"
	is "$(sql "SELECT count(DISTINCT inode) FROM sockets WHERE pid = 2143 AND reason IS NULL")" 22 \
		"and 22 of 2143"
else
	skip 2 "the schema has no view sockets"
fi

# ---- without packets ----
run "$PCAPWHO" import --time "$TIME" --tcp "$LISTING/proc-net-tcp.txt" \
	--fds "$LISTING/proc-2143-fd.txt" -o "$TMP/dry"
run "$PCAPWHO" analyze -q "$TMP/dry" -o "$TMP/dry.db"
is "$status$err" 0 "evidence of snapshots alone loads"
is "$(sqlite3 -readonly "$TMP/dry.db" "SELECT count(DISTINCT socket_id) FROM holder;
	SELECT count(*) FROM socket; SELECT count(*) FROM flow")" $'22\n27\n0' "with the same 22 of 27"

# ---- the time that was given is what counts ----
for shift in -3600 86400; do
	at=$(date -u -d "@$((T / 1000000000 + shift))" +%Y-%m-%dT%H:%M:%SZ)
	"$PCAPWHO" import --time "$at" --tcp "$LISTING/proc-net-tcp.txt" --fds "$LISTING/proc-2143-fd.txt" \
		--pcap "$TMP/capture.pcap" -o "$TMP/shift$shift" >"$TMP/out" 2>&1 || diag "$(<"$TMP/out")"
	run "$PCAPWHO" analyze -q "$TMP/shift$shift" -o "$TMP/shift$shift.db"
	is "$status" 0 "copies made $shift s from the packets load"
	unlike "$(sqlite3 -readonly "$TMP/shift$shift.db" "SELECT pid FROM connections")" "[0-9]" \
		"and own none of them: too far away to be certain"
done
done_testing
