#!/bin/bash
# pcapwho analyze on captures made by others: no snapshots, several formats and
# link types, and that the same evidence gives the same bytes.
# lib.sh and spawn assign by name.
# shellcheck disable=SC2034,SC2154
. "${0%/*}/lib.sh"
need_program "$PCAPWHO"
need_command perl sqlite3 sha256sum editcap capinfos

T=1795290600000000000 # 2026-11-21T19:50:00Z
cat >"$TMP/packets" <<EOT
# A web request, IPv4: 3 ways to open, 2 of data, 3 to close.
$((T)) tcp 192.0.2.1 40000 198.51.100.2 80 S 1000 0 0
$((T + 1000000)) tcp 198.51.100.2 80 192.0.2.1 40000 SA 5000 1001 0
$((T + 2000000)) tcp 192.0.2.1 40000 198.51.100.2 80 A 1001 5001 0
$((T + 3000000)) tcp 192.0.2.1 40000 198.51.100.2 80 PA 1001 5001 100
$((T + 1204000000)) tcp 198.51.100.2 80 192.0.2.1 40000 PA 5001 1101 700
$((T + 1205000000)) tcp 192.0.2.1 40000 198.51.100.2 80 FA 1101 5701 0
$((T + 1206000000)) tcp 198.51.100.2 80 192.0.2.1 40000 FA 5701 1102 0
$((T + 1207000000)) tcp 192.0.2.1 40000 198.51.100.2 80 A 1102 5702 0
# A name, asked over IPv6.
$((T + 1300000000)) udp 2001:db8::1 40001 2001:db8::53 53 30
$((T + 1301000000)) udp 2001:db8::53 53 2001:db8::1 40001 90
# An echo, both families.
$((T + 2400000000)) icmp 192.0.2.1 198.51.100.2 8 0 77 1 56
$((T + 2401000000)) icmp 198.51.100.2 192.0.2.1 0 0 77 1 56
$((T + 2402000000)) icmp 2001:db8::1 2001:db8::53 128 0 78 1 56
$((T + 2403000000)) icmp 2001:db8::53 2001:db8::1 129 0 78 1 56
# The same tuple once more is another conversation.
$((T + 3000000000)) tcp 192.0.2.1 40000 198.51.100.2 80 S 900000 0 0
$((T + 3001000000)) tcp 198.51.100.2 80 192.0.2.1 40000 RA 0 900001 0
EOT
# Link layers that carry IP alone have no place for this one.
cp "$TMP/packets" "$TMP/packets-arp"
echo "$((T + 4000000000)) arp 192.0.2.1 192.0.2.9" >>"$TMP/packets-arp"

make_pcap() { perl "$ROOT/tests/make_pcap.pl" "$1" <"$2"; }
sql() { sqlite3 -readonly -batch "$@"; }
sha() { sha256sum <"$1"; }
temporary_files() { find "$1" -name '.*' -type f -o -name '*.tmp*' -o -name '*-journal' -o -name '*-wal'; }

# Everything that does not name the capture or depend on its link layer.
FLOWS="SELECT protocol, ip_version, orig_address, orig_port, resp_address, resp_port, icmp_id,
	start_ns, end_ns, orig_packets, orig_bytes, orig_payload_bytes, resp_packets, resp_bytes,
	resp_payload_bytes, repeat_packets, conn_state, history, community_id FROM flow
	ORDER BY start_ns"
EXPECTED_FLOWS="\
tcp|192.0.2.1|40000|198.51.100.2|80|5|300|100|3|820|700|SF
udp|2001:db8::1|40001|2001:db8::53|53|1|78|30|1|138|90|SF
icmp|192.0.2.1|8|198.51.100.2|0|1|84|56|1|84|56|OTH
icmp6|2001:db8::1|128|2001:db8::53|129|1|104|56|1|104|56|OTH
tcp|192.0.2.1|40000|198.51.100.2|80|1|40|0|1|40|0|REJ"

# ---- a capture alone ----
make_pcap ether "$TMP/packets-arp" >"$TMP/ether.pcap"
is "$(capinfos -Mrc "$TMP/ether.pcap" | awk '/packets/ {print $NF}')" 17 "the capture is what other tools read"
run "$PCAPWHO" analyze "$TMP/ether.pcap" -o "$TMP/ether.db"
is "$status" 0 "a capture without snapshots loads"
is "$out" "" "results do not go to stdout: there are none"
is "$err" "$TMP/ether.db: 17 packets of 1 segment in 5 flows, 1 packet in none" "one line sums up"
is "$(sql "$TMP/ether.db" "SELECT protocol, orig_address, orig_port, resp_address, resp_port,
	orig_packets, orig_bytes, orig_payload_bytes, resp_packets, resp_bytes, resp_payload_bytes,
	conn_state FROM flow ORDER BY start_ns")" "$EXPECTED_FLOWS" "its conversations, counted by hand"
is "$(sql "$TMP/ether.db" "SELECT reason, packets FROM other")" "arp|1" "ARP is no conversation, and counted"
is "$(sql "$TMP/ether.db" "SELECT sum(difference <> 0), max(packets) FROM accounting")" "0|17" \
	"every packet is accounted for"
is "$(sql "$TMP/ether.db" "SELECT count(*) FROM connections WHERE pid IS NOT NULL")" 0 "nobody owns anything"
is "$(sql "$TMP/ether.db" "SELECT count(*) > 0, sum(reason IS NULL) FROM connections")" "1|0" \
	"and every connection says why"
is "$(sql "$TMP/ether.db" "SELECT DISTINCT reason FROM connections")" gap "for want of a snapshot"
is "$(sql "$TMP/ether.db" "SELECT count(*) FROM flow f WHERE NOT EXISTS
	(SELECT 1 FROM connection c WHERE c.flow_id = f.flow_id)")" 0 "no conversation is without a connection"
is "$(sql "$TMP/ether.db" "SELECT count(*) FROM coverage WHERE kind = 'no-snapshot'")" 1 \
	"coverage says that there were no snapshots"
is "$(sql "$TMP/ether.db" "PRAGMA integrity_check; PRAGMA foreign_key_check")" ok "the database is sound"
is "$(sql "$TMP/ether.db" "SELECT count(*) FROM packet")" 0 "no row for each packet unless asked for"

# ---- link types ----
sql "$TMP/ether.db" "$FLOWS" >"$TMP/flows"
for link in sll sll2 raw null; do
	make_pcap "$link" "$TMP/packets" >"$TMP/$link.pcap"
	run "$PCAPWHO" analyze -q "$TMP/$link.pcap" -o "$TMP/$link.db"
	is "$status$err" 0 "link type $link loads"
	is "$(sql "$TMP/$link.db" "$FLOWS")" "$(<"$TMP/flows")" "with the same conversations and bytes"
	is "$(sql "$TMP/$link.db" "SELECT packets, flow_packets FROM segment")" "16|16" "and all packets"
done
make_pcap ether "$TMP/packets" | perl -0777 -pe 'substr $_, 20, 4, pack "L<", 147' >"$TMP/unknown.pcap"
run "$PCAPWHO" analyze -q "$TMP/unknown.pcap" -o "$TMP/unknown.db"
is "$status" 0 "a link type that nobody knows loads"
is "$(sql "$TMP/unknown.db" "SELECT reason, packets FROM other")" "unknown-link|16" "its packets are counted"

# ---- file formats ----
editcap -F pcap "$TMP/ether.pcap" "$TMP/us.pcap"
editcap -F nsecpcap "$TMP/ether.pcap" "$TMP/ns.pcap"
editcap -F pcapng "$TMP/ether.pcap" "$TMP/ng.pcapng"
gzip -c "$TMP/ether.pcap" >"$TMP/ether.pcap.gz"
gzip -c "$TMP/ng.pcapng" >"$TMP/ng.pcapng.gz"
cat "$TMP/ether.pcap" >"$TMP/a name with spaces and no suffix"
for file in us.pcap ns.pcap ng.pcapng ether.pcap.gz ng.pcapng.gz "a name with spaces and no suffix"; do
	rm -f "$TMP/format.db"
	run "$PCAPWHO" analyze -q "$TMP/$file" -o "$TMP/format.db"
	is "$status$err" 0 "$file loads"
	is "$(sql "$TMP/format.db" "$FLOWS")" "$(<"$TMP/flows")" "with the same conversations"
done

# ---- the same evidence, the same bytes ----
run "$PCAPWHO" analyze "$TMP/ether.pcap" -o "$TMP/again.db"
is "$(sha "$TMP/again.db")" "$(sha "$TMP/ether.db")" "the same capture gives the same bytes"
mkdir "$TMP/parts"
for part in 0 1 2 3 4 5; do
	sed -n "$((part * 3 + 1)),$((part * 3 + 3))p" < <(grep -v '^#' "$TMP/packets-arp") >"$TMP/part"
	make_pcap ether "$TMP/part" >"$TMP/parts/part$part.pcap"
done
run "$PCAPWHO" analyze -j 1 "$TMP"/parts/*.pcap -o "$TMP/j1.db"
is "$status" 0 "six captures in one load"
run "$PCAPWHO" analyze -j 4 "$TMP"/parts/*.pcap -o "$TMP/j4.db"
is "$(sha "$TMP/j4.db")" "$(sha "$TMP/j1.db")" "-j 4 gives the bytes of -j 1"
cp -r "$TMP/parts" "$TMP/elsewhere"
run "$PCAPWHO" analyze "$TMP"/elsewhere/part{3,1,5,0,2,4}.pcap -o "$TMP/moved.db"
is "$(sha "$TMP/moved.db")" "$(sha "$TMP/j1.db")" "so do copies elsewhere, named in another order"
is "$(sql "$TMP/j1.db" "SELECT count(*), sum(packets) FROM segment; SELECT count(*) FROM recording
	WHERE source = 'pcap'")" $'6|17\n6' "each capture is a recording of its own: nothing says that they are of one host"
for part in 0 1 2 3 4 5; do
	"$PCAPWHO" analyze -q "$TMP/parts/part$part.pcap" -o "$TMP/steps.db" || diag "part $part failed"
done
is "$(sql "$TMP/steps.db" "$FLOWS")" "$(sql "$TMP/j1.db" "$FLOWS")" "loaded in six runs: the same conversations"
# What is carried from load to load has the numbers of its rows; the rows are what counts.
dump() { sqlite3 -readonly "$1" .dump | grep -v '^INSERT INTO \(sqlite_stat\|carry\)'; }
is "$(dump "$TMP/steps.db" | sort | sha256sum)" "$(dump "$TMP/j1.db" | sort | sha256sum)" \
	"and every row of every table"

# ---- again ----
before=$(sha "$TMP/ether.db")
run "$PCAPWHO" analyze "$TMP/ether.pcap" -o "$TMP/ether.db"
is "$status" 0 "loading it again is no error"
like "$err" "nothing new" "it says that nothing is new"
is "$(printf '%s\n' "$err" | wc -l)" 1 "in one line"
is "$(sha "$TMP/ether.db")" "$before" "and changes nothing"
cp "$TMP/ether.pcap" "$TMP/renamed.pcap"
run "$PCAPWHO" analyze "$TMP/renamed.pcap" "$TMP/ether.pcap" -o "$TMP/ether.db"
like "$status $err" "^0 .*nothing new" "nor does a copy under another name"
run "$PCAPWHO" analyze "$TMP/ether.pcap" "$TMP/renamed.pcap" "$TMP/ether.pcap" -o "$TMP/twice.db"
is "$(sql "$TMP/twice.db" "SELECT count(*), sum(packets) FROM segment")" "1|17" "named thrice, loaded once"

# ---- --packets ----
run "$PCAPWHO" analyze -q --packets "$TMP/ether.pcap" -o "$TMP/packets.db"
is "$status" 0 "--packets"
is "$(sql "$TMP/packets.db" "SELECT count(DISTINCT number), min(number), max(number), count(reason)=count(*)
	FROM packets")" "16|1|16|1" "keeps a row for each packet of a conversation, with its reason"
sql "$TMP/packets.db" "SELECT DISTINCT number, time_ns, offset_bytes FROM packets ORDER BY number" >"$TMP/rows"
perl -e 'local $/; open my $f, "<:raw", $ARGV[0] or die; my $b = <$f>; my ($at, $n) = (24, 0);
	while ($at < length $b) { my ($s, $ns, $c) = unpack "L<3", substr $b, $at, 12; $n++;
	printf "%d|%d%09d|%d\n", $n, $s, $ns, $at; $at += 16 + $c }' "$TMP/ether.pcap" | head -16 >"$TMP/records"
ok "each with the time and place of its record in the file" cmp "$TMP/rows" "$TMP/records"
is "$(sql "$TMP/packets.db" "SELECT sum(n) FROM (SELECT max(bytes) n FROM packets GROUP BY number)")" \
	"$(sql "$TMP/packets.db" "SELECT sum(orig_bytes + resp_bytes) FROM flow")" "their bytes are the flows' bytes"
is "$(sql "$TMP/packets.db" "$FLOWS")" "$(<"$TMP/flows")" "and the rest is as without"

# ---- --bucket ----
for bucket in 100ms 1s 10s; do
	run "$PCAPWHO" analyze -q --bucket "$bucket" "$TMP/ether.pcap" -o "$TMP/bucket-$bucket.db"
	is "$(sql "$TMP/bucket-$bucket.db" "SELECT sum(t.sent_packets + t.received_packets) =
		(SELECT sum(sent_packets + received_packets) FROM connection),
		sum(t.sent_bytes + t.received_bytes) = (SELECT sum(sent_bytes + received_bytes) FROM connection)
		FROM traffic t")" "1|1" "--bucket $bucket: the buckets add up to the connections"
done
# The request of T + 0 s and its answer of T + 1.2 s.
is "$(sql "$TMP/bucket-1s.db" "SELECT DISTINCT bucket FROM traffic JOIN connection USING (connection_id)
	WHERE flow_id = 1 ORDER BY 1" | tr '\n' ' ')" "1795290600 1795290601 " "1s: two buckets of one conversation"
is "$(sql "$TMP/bucket-100ms.db" "SELECT DISTINCT bucket FROM traffic JOIN connection USING (connection_id)
	WHERE flow_id = 1 ORDER BY 1" | tr '\n' ' ')" "17952906000 17952906012 " "100ms: the same two"
is "$(sql "$TMP/bucket-10s.db" "SELECT DISTINCT bucket FROM traffic JOIN connection USING (connection_id)
	WHERE flow_id = 1" | tr '\n' ' ')" "179529060 " "10s: one"
is "$(sql "$TMP/bucket-100ms.db" "$FLOWS")" "$(<"$TMP/flows")" "conversations do not depend on it"
before=$(sha "$TMP/bucket-1s.db")
run "$PCAPWHO" analyze -q --bucket 10s "$TMP/us.pcap" -o "$TMP/bucket-1s.db"
is "$status" 64 "another bucket than the database has"
is "$(printf '%s\n' "$err" | wc -l)" 1 "is one line of error"
is "$(sha "$TMP/bucket-1s.db")" "$before" "and changes nothing"

# ---- -o ----
run "$PCAPWHO" analyze "$TMP/ether.pcap" -o "$TMP/missing/x.db"
is "$status" 1 "-o in a directory that is not there"
like "$err" "missing" "names it"
is "$(printf '%s\n' "$err" | wc -l)" 1 "in one line"
not_ok "and does not make it" test -e "$TMP/missing"
mkdir "$TMP/here"
(cd "$TMP/here" && "$PCAPWHO" analyze -q ../ether.pcap)
ok "without -o it is traffic.db where one is" cmp "$TMP/here/traffic.db" "$TMP/ether.db"
is "$(temporary_files "$TMP/here")$(find "$TMP" -maxdepth 1 -name '*.db?*')" "" "no temporary file is left"
is "$(stat -c %a "$TMP/here/traffic.db")" "$(umask | perl -ne 'printf "%o", 0666 & ~oct')" \
	"its mode is the umask's"
done_testing
