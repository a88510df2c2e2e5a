#!/bin/bash
# memory.sh: the most memory that analyze has at a time: of a usual load, of one with many
# times the packets, and of a capture in which very many conversations live at a time,
# beside one with few. The evidence is made (history.c); its packets are short, as their
# length does not matter here.
# lib.bash assigns by name.
# shellcheck disable=SC2154
. "${BASH_SOURCE[0]%/*}/lib.bash"
options segments=8 packets=1000000 flows=20000 sockets=2000 rate=10000 times=10 jobs=4 live=1000000 -- "$@"
need_command sqlite3
need_program "$PCAPWHO" "$HELPERS/history" "$HELPERS/spent"

# peak NAME ARGUMENT…: leaves KiB in the file NAME of spent.
peak() {
	local name=$1
	shift
	rm -f "$TMP/db"
	spent "$name" "$PCAPWHO" analyze -q -o "$TMP/db" "$@" || failed "$name: analyze failed"
}
evidence=$TMP/evidence
made() { # SIZE…
	rm -rf "$evidence"
	"$HELPERS/history" "$evidence" bytes=66 "$@" || failed "no evidence"
}
mib() { calc "$(rss_kib "$1") / 1024"; }

made "segments=$segments" "packets=$packets" "flows=$flows" "sockets=$sockets" "rate=$rate"
peak usual "-j$jobs" "$evidence"
made "segments=$((segments * times))" "packets=$packets" "flows=$flows" "sockets=$sockets" "rate=$rate"
peak many "-j$jobs" "$evidence"

# The captures alone. Packets come in bursts of four, each of one flow that is drawn: most get some.
declare -A found
for name in few live; do
	count=$live
	[ "$name" = live ] || count=$sockets
	made segments=1 "packets=$((live * 8))" "flows=$count" "sockets=$count" rate=100000
	rm "$evidence"/*.snap.gz "$evidence/custody.log"
	peak "$name" "-j$jobs" "$evidence"/*.pcap
	found[$name]=$(sqlite3 -readonly "$TMP/db" 'SELECT count(*) FROM flow')
done

printf '%-58s  %10s\n' load 'peak, MiB'
row() { printf '%-58s  %10.1f\n' "$2" "$(mib "$1")"; }
row usual "$segments segments of $packets packets, $flows flows, -j$jobs"
row many "$((segments * times)) segments of $packets packets, $flows flows, -j$jobs"
row few "a capture of $((live * 8)) packets, ${found[few]} flows"
row live "a capture of $((live * 8)) packets, ${found[live]} flows"
goal "peak memory, MiB" "$(mib usual)" 128
goal "the same with $times times the packets, times that" "$(calc "$(mib many) / $(mib usual)")" 1.1
goal "bytes a live flow" "$(calc "($(rss_kib live) - $(rss_kib few)) * 1024 / (${found[live]} - ${found[few]})")" 300
goals_met
