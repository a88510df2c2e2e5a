#!/bin/bash
# packets.sh: a database with a row for each packet, beside the same load without, and
# beside SQLite alone: one statement that writes as many rows of the same columns and
# sizes, and the index by which a connection's are found. In turns, from the page cache. The evidence is
# made (history.c); --keep DIRECTORY leaves it there for the next run.
# lib.bash assigns by name.
# shellcheck disable=SC2154
. "${BASH_SOURCE[0]%/*}/lib.bash"
options segments=2 packets=1000000 flows=20000 sockets=2000 rate=10000 bytes=700 runs=5 keep= -- "$@"
need_command sqlite3
need_program "$PCAPWHO" "$HELPERS/history" "$HELPERS/spent"

evidence=${keep:-$TMP/evidence}
[ -d "$evidence" ] || "$HELPERS/history" "$evidence" "segments=$segments" "packets=$packets" \
	"flows=$flows" "sockets=$sockets" "rate=$rate" "bytes=$bytes" || failed "no evidence"
total=$((segments * packets))
cat "$evidence"/*.pcap >/dev/null

# What a packet is, for who reads the view, in a table.
cat >"$TMP/plain.sql" <<-EOS
	PRAGMA journal_mode = OFF;
	PRAGMA synchronous = OFF;
	CREATE TABLE packet (segment_id INTEGER NOT NULL, number INTEGER NOT NULL,
		connection_id INTEGER NOT NULL, flow_id INTEGER NOT NULL, offset_bytes INTEGER,
		time_ns INTEGER NOT NULL, bytes INTEGER NOT NULL, direction INTEGER NOT NULL,
		rule_code INTEGER, reason_code INTEGER, PRIMARY KEY (segment_id, number)) STRICT, WITHOUT ROWID;
	INSERT INTO packet SELECT 1 + value / $packets, value % $packets + 1, value * 7919 % $flows + 1,
		value * 7919 % $flows + 1, value % $packets * $bytes, 1795290600000000000 + value * 100000,
		value * 7919 % 1500, value & 1, 1, NULL FROM generate_series(0, $total - 1);
	CREATE INDEX packet_connection ON packet (connection_id);
EOS

wall_us() { awk '{ print $4 }' "$TMP/$1"; }
declare -A wall cpu
take() {
	wall[$1]+="$(wall_us "$1") "
	cpu[$1]+="$(cpu_us "$1") "
}
for ((run = 0; run < runs; run++)); do
	for name in none j1 j2; do
		rm -f "$TMP/$name.db"
		case $name in
		none) how=(-j1) ;;
		*) how=(--packets "-${name}") ;;
		esac
		spent "$name" "$PCAPWHO" analyze -q "${how[@]}" -o "$TMP/$name.db" "$evidence" || failed "${how[*]} failed"
		take "$name"
	done
	rm -f "$TMP/plain.db"
	spent plain sqlite3 -bail "$TMP/plain.db" ".read $TMP/plain.sql" || failed "sqlite3 failed"
	take plain
done

size() { stat -c %s "$TMP/$1.db"; }
# shellcheck disable=SC2086
of() { median ${wall[$1]}; }
# shellcheck disable=SC2086
cpu_of() { median ${cpu[$1]}; }
row() {
	printf '%-38s  %8.2f  %8.2f  %12.2f  %13s\n' "$2" "$(calc "$(of "$1") / 1e6")" \
		"$(calc "$(cpu_of "$1") / 1e6")" "$(calc "$total / $(of "$1")")" "$3"
}
packet_bytes=$(calc "($(size j1) - $(size none)) / $total")
plain_bytes=$(calc "$(size plain) / $total")
echo "$total packets in $segments segments, $flows flows, $sockets sockets; medians of $runs"
printf '%-38s  %8s  %8s  %12s  %13s\n' program 'wall, s' 'CPU, s' 'M packets/s' 'bytes/packet'
row none 'pcapwho analyze -j1' -
row j1 'pcapwho analyze --packets -j1' "$packet_bytes"
row j2 'pcapwho analyze --packets -j2' "$packet_bytes"
row plain 'sqlite3, as many rows' "$plain_bytes"
goal "seconds for a million packets, -j1" "$(calc "$(of j1) / $total")" 1.0 \
	'sqlite3, as many rows' "$(calc "$(of plain) / $total")"
goal "seconds for a million packets, -j2" "$(calc "$(of j2) / $total")" 1.0 \
	'sqlite3, as many rows' "$(calc "$(of plain) / $total")"
goal "CPU of the packets, part of sqlite3's" "$(calc "($(cpu_of j1) - $(cpu_of none)) / $(cpu_of plain)")" 1.0 \
	'sqlite3, as many rows, s of CPU' "$(calc "$(cpu_of plain) / 1e6")"
goal "bytes a packet" "$packet_bytes" 24 'sqlite3, as many rows' "$plain_bytes"
goals_met
