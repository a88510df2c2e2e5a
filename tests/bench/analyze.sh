#!/bin/bash
# analyze.sh: evidence into a database, beside what reads the same captures and
# builds flows or nothing, in turns, from the page cache. The evidence is made
# (history.c); --keep DIRECTORY leaves it there for the next run.
. "${BASH_SOURCE[0]%/*}/lib.bash"
options segments=8 packets=1000000 flows=20000 sockets=2000 rate=10000 bytes=700 runs=5 keep= -- "$@"
need_command tcpdump argus tshark
need_program "$PCAPWHO" "$HELPERS/history" "$HELPERS/spent"

evidence=${keep:-$TMP/evidence}
[ -d "$evidence" ] || "$HELPERS/history" "$evidence" "segments=$segments" "packets=$packets" \
	"flows=$flows" "sockets=$sockets" "rate=$rate" "bytes=$bytes" || failed "no evidence"
captures=("$evidence"/*.pcap)
total=$((segments * packets))
mapfile -t jobs < <(printf '%s\n' 1 "$(nproc)" 4 | sort -nu | awk -v most="$(nproc)" '$1 <= most')

wall_us() { awk '{ print $4 }' "$TMP/$1"; }
# each PROGRAM ARGUMENT…: once for each capture, in place of FILE.
cat >"$TMP/each" <<-'EOS'
	#!/bin/bash
	captures=$1
	shift
	for file in "$captures"/*.pcap; do
		"${@//FILE/"$file"}" || exit
	done
EOS
chmod +x "$TMP/each"
cat "${captures[@]}" >/dev/null

declare -A wall cpu
take() {
	wall[$1]+="$(wall_us "$1") "
	cpu[$1]+="$(cpu_us "$1") "
}
for ((run = 0; run < runs; run++)); do
	spent tcpdump "$TMP/each" "$evidence" tcpdump -r FILE -w /dev/null || failed "tcpdump failed"
	take tcpdump
	for n in "${jobs[@]}"; do
		rm -f "$TMP/db"
		spent "j$n" "$PCAPWHO" analyze -q "-j$n" -o "$TMP/db" "$evidence" || failed "-j$n failed"
		take "j$n"
		peak[n]=$(rss_kib "j$n")
	done
	spent argus "$TMP/each" "$evidence" argus -r FILE -w /dev/null || failed "argus failed"
	take argus
done
# One capture, once: it takes a minute.
spent tshark tshark -n -q -r "${captures[0]}" -z conv,tcp || failed "tshark failed"
wall[tshark]=$(calc "$(wall_us tshark) * $segments")
cpu[tshark]=$(calc "$(cpu_us tshark) * $segments")

# shellcheck disable=SC2086
of() { median ${wall[$1]}; }
row() {
	# shellcheck disable=SC2086
	printf '%-34s  %8.2f  %8.2f  %9.3f\n' "$2" "$(calc "$(of "$1") / 1e6")" \
		"$(calc "$(median ${cpu[$1]}) / 1e6")" "$(calc "$(of "$1") / $(of tcpdump)")"
	figure "$2, wall, s" "$(seconds "$1")"
}
seconds() { calc "$(of "$1") / 1e6"; }
echo "$total packets of $bytes bytes in $segments segments, $flows flows, $sockets sockets, $rate packets a second; medians of $runs"
printf '%-34s  %8s  %8s  %9s\n' program 'wall, s' 'CPU, s' '× tcpdump'
row tcpdump 'tcpdump -r FILE -w /dev/null'
for n in "${jobs[@]}"; do
	row "j$n" "pcapwho analyze -j$n"
done
row argus 'argus -r FILE'
row tshark 'tshark -z conv,tcp (of one capture)'
# against NAME JOBS PEER MOST
against() { goal "$1" "$(calc "$(of "$2") / $(of "$3")")" "$4" "$3, wall, s" "$(seconds "$3")"; }
against "-j1, times tcpdump" j1 tcpdump 1.0
[ ! -v 'wall[j4]' ] || against "-j4, times tcpdump" j4 tcpdump 0.35
against "-j1, part of argus" j1 argus "$(calc 1/6)"
against "-j1, part of tshark" j1 tshark "$(calc 1/50)"
goal "peak memory, MiB" "$(calc "$(printf '%s\n' "${peak[@]}" | sort -n | tail -1) / 1024")" 128
goal "database, percent of the captures" \
	"$(calc "100 * $(stat -c %s "$TMP/db") / $(cat "${captures[@]}" | wc -c)")" 1 \
	"the captures, bytes" "$(cat "${captures[@]}" | wc -c)"
goals_met
