#!/bin/bash
# large.sh: one large capture, with its snapshots (the pair) and without (bare), by one worker
# and by several, beside tcpdump, which builds nothing, in turns, from the page cache. It is
# made (history.c); --keep DIRECTORY leaves it there for the next run. What a bare capture costs
# more is its hash, which is made while it is read: the pair's is vouched for by the log.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options packets=8000000 flows=20000 sockets=2000 rate=10000 bytes=700 runs=5 keep= -- "$@"
need_command tcpdump
need_program "$PCAPWHO" "$HELPERS/history" "$HELPERS/spent"

evidence=${keep:-$TMP/evidence}
[ -d "$evidence" ] || "$HELPERS/history" "$evidence" segments=1 "packets=$packets" "flows=$flows" \
	"sockets=$sockets" "rate=$rate" "bytes=$bytes" || failed "no evidence"
captures=("$evidence"/*.pcap)
mkdir "$TMP/bare"
ln -s "${captures[0]}" "$TMP/bare/capture.pcap"
mapfile -t jobs < <(printf '%s\n' 1 "$(nproc)" 4 | sort -nu | awk -v most="$(nproc)" '$1 <= most')
cat "${captures[0]}" >/dev/null

wall_us() { awk '{ print $4 }' "$TMP/$1"; }
declare -A wall cpu
take() {
	wall[$1]+="$(wall_us "$1") "
	cpu[$1]+="$(cpu_us "$1") "
}
for ((run = 0; run < runs; run++)); do
	spent tcpdump tcpdump -r "${captures[0]}" -w /dev/null || failed "tcpdump failed"
	take tcpdump
	for n in "${jobs[@]}"; do
		for kind in pair bare; do
			input=$evidence
			[ $kind = pair ] || input=$TMP/bare/capture.pcap
			rm -f "$TMP/$kind$n.db"
			spent "$kind$n" "$PCAPWHO" analyze -q "-j$n" -o "$TMP/$kind$n.db" "$input" || failed "-j$n failed"
			take "$kind$n"
			peak+=("$(rss_kib "$kind$n")")
			cmp -s "$TMP/$kind$n.db" "$TMP/${kind}1.db" || failed "-j$n: another database than -j1"
		done
	done
done

# shellcheck disable=SC2086
of() { median ${wall[$1]}; }
row() {
	# shellcheck disable=SC2086
	printf '%-34s  %8.2f  %8.2f  %9.3f\n' "$2" "$(calc "$(of "$1") / 1e6")" \
		"$(calc "$(median ${cpu[$1]}) / 1e6")" "$(calc "$(of "$1") / $(of tcpdump)")"
}
echo "one capture, $packets packets of $bytes bytes, $flows flows, $sockets sockets, $rate packets a second; medians of $runs"
printf '%-34s  %8s  %8s  %9s\n' program 'wall, s' 'CPU, s' '× tcpdump'
row tcpdump 'tcpdump -r FILE -w /dev/null'
for n in "${jobs[@]}"; do
	row "pair$n" "pcapwho analyze -j$n, a segment"
	row "bare$n" "pcapwho analyze -j$n, bare"
done
if [ -v 'wall[bare4]' ]; then
	goal "-j4, bare, times tcpdump" "$(calc "$(of bare4) / $(of tcpdump)")" 0.45
	goal "-j4, a segment, times tcpdump" "$(calc "$(of pair4) / $(of tcpdump)")" 0.45
fi
goal "peak memory, MiB" "$(calc "$(printf '%s\n' "${peak[@]}" | sort -n | tail -1) / 1024")" 128
goals_met
